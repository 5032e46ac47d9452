//! The arguments of Python's `SMTPHandler`, as OpenCanary's configurations have them.

use serde_json::{Value, json};
use serin_services::conf::wrong;

use crate::outputs::handlers::Reader;

/// One mail for each event, with OpenCanary's line in it.
///
/// Python never verifies the server's certificate, and an old configuration must go on delivering, so
/// neither does this, unless `verify` or `ca` stand among the arguments; the status says so. Where
/// credentials come without `secure`, Python sends them in the clear. This uses STARTTLS where it is
/// offered, and gives up where it is not, except on this machine.
pub(crate) fn from_handler(reader: &mut Reader<'_>) {
    reader.each_event();
    reader.conf.set("mail.layout", "opencanary");
    server(reader);
    match reader.take("fromaddr") {
        Some(Value::String(from)) => reader.conf.set("mail.from", from.clone()),
        Some(other) => reader.complain("fromaddr", wrong("an address", other)),
        None => reader.complain("fromaddr", "is missing: whom mails come from".to_owned()),
    }
    match reader.take("toaddrs") {
        Some(Value::String(one)) => reader.conf.set("mail.to", json!([one])),
        Some(Value::Array(all)) if all.iter().all(Value::is_string) => {
            reader.conf.set("mail.to", all.clone());
        }
        Some(other) => reader.complain("toaddrs", wrong("an address or a list of them", other)),
        None => reader.complain("toaddrs", "is missing: whom mails go to".to_owned()),
    }
    match reader.take("subject") {
        Some(Value::String(subject)) => reader.conf.set("mail.subject", subject.clone()),
        Some(other) => reader.complain("subject", wrong("a text", other)),
        None => reader.complain("subject", "is missing".to_owned()),
    }
    match reader.take("timeout") {
        None | Some(Value::Null) => {}
        Some(value) if value.as_f64().is_some_and(|it| (0.0..=86_400.0).contains(&it)) => {
            reader.conf.set("mail.reply_timeout", value.clone());
        }
        Some(other) => reader.complain("timeout", wrong("a number of seconds", other)),
    }
    login(reader);
}

/// `mailhost`: a name, or a list of name and port.
fn server(reader: &mut Reader<'_>) {
    let (host, port) = match reader.take("mailhost") {
        Some(Value::String(host)) => match host.rsplit_once(':').map(|it| (it.0, it.1.parse::<u16>())) {
            // smtplib reads a port behind a colon.
            Some((host, Ok(port))) if !host.contains(':') => (host.to_owned(), port),
            _ => (host.clone(), 25),
        },
        Some(Value::Array(two)) => match two.as_slice() {
            [Value::String(host), port] if port.as_u64().is_some_and(|it| it <= 65535) => {
                let port = port.as_u64().and_then(|it| u16::try_from(it).ok()).unwrap_or(0);
                (host.clone(), if port == 0 { 25 } else { port })
            }
            _ => {
                return reader.complain("mailhost", wrong("a host, or a list of host and port", &json!(two)));
            }
        },
        Some(other) => {
            return reader.complain("mailhost", wrong("a host, or a list of host and port", other));
        }
        None => return reader.complain("mailhost", "is missing: the mail server".to_owned()),
    };
    reader.conf.set("mail.host", host);
    reader.conf.set("mail.port", port);
}

/// `credentials` and `secure`, which Python heeds only together.
fn login(reader: &mut Reader<'_>) {
    let secure = match reader.take("secure") {
        None | Some(Value::Null) => None,
        Some(Value::Array(files)) => Some(files.clone()),
        Some(other) => {
            return reader.complain("secure", wrong("a list: empty, or of a key and a certificate", other));
        }
    };
    let credentials = match reader.take("credentials") {
        None | Some(Value::Null) => {
            reader.conf.set("mail.tls", "none");
            return;
        }
        Some(Value::Array(two)) => match two.as_slice() {
            [Value::String(user), Value::String(password)] => Some((user.clone(), password.clone())),
            _ => None,
        },
        Some(_) => None,
    };
    let Some((user, password)) = credentials else {
        // Not shown: one of them is a password.
        return reader.complain("credentials", "wants a list of a user and a password".to_owned());
    };
    reader.conf.set("mail.user", user);
    reader.conf.set("mail.password", password);
    if secure.is_some() {
        reader.conf.set("mail.tls", "starttls");
    } else {
        reader.conf.set("mail.tls", "opportunistic");
        reader.conf.set("mail.clear_password", true);
    }
    match secure.as_deref() {
        None | Some([]) => {}
        // Both in one file, or one each.
        Some([Value::String(both)]) => {
            reader.conf.set("tls.key", both.clone());
            reader.conf.set("tls.certificate", both.clone());
        }
        Some([Value::String(key), Value::String(certificate)]) => {
            reader.conf.set("tls.key", key.clone());
            reader.conf.set("tls.certificate", certificate.clone());
        }
        Some(_) => reader.complain("secure", "wants a list: empty, or of a key and a certificate".to_owned()),
    }
    let verify = match (reader.take("verify"), reader.take("ca")) {
        (Some(verify), ca) => {
            if let Some(ca) = ca {
                reader.conf.set("tls.ca", ca.clone());
            }
            verify.clone()
        }
        (None, Some(ca)) => {
            reader.conf.set("tls.ca", ca.clone());
            true.into()
        }
        (None, None) => false.into(),
    };
    reader.conf.set("tls.verify", verify);
}
