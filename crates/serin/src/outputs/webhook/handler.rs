//! The arguments of OpenCanary's `WebhookHandler`, which hands those it does not know to Python's
//! requests.

use reqwest::Url;
use serde_json::{Map, Value, json};
use serin_services::conf::wrong;

use super::printf::query;
use crate::outputs::handlers::Reader;

/// Every event, as OpenCanary's handler sends it.
///
/// What changes nothing here is taken in silence: `allow_redirects` (redirects are never followed),
/// `stream`. What requests would do and this does not is refused: `files`, `hooks`, `json`.
pub(crate) fn from_handler(reader: &mut Reader<'_>) {
    reader.each_event();
    reader.conf.set("webhook.layout", "opencanary");
    reader.required("url", "webhook.url", "the address of the webhook");
    if let Some(data) = reader.take_in_order("data") {
        reader.conf.set("webhook.data", data);
    }
    match reader.take("method") {
        None => {}
        Some(Value::String(method)) => reader.conf.set("webhook.method", method.to_ascii_uppercase()),
        Some(other) => reader.complain("method", wrong("a method such as POST", other)),
    }
    // OpenCanary's default is 200 exactly; but it never sent an event again either, so a receiver
    // that says 204 has it, and all that is spared is the complaint on the console.
    match reader.take("status_code") {
        None => {}
        Some(value) if value.as_u64().is_some_and(|it| (100..1000).contains(&it)) => {
            reader.conf.set("webhook.status_code", value.clone());
        }
        Some(other) => reader.complain("status_code", wrong("a status such as 200", other)),
    }
    match reader.take("ignore") {
        None | Some(Value::Null) => {}
        Some(Value::Array(texts)) if texts.iter().all(Value::is_string) => {
            reader.conf.set("webhook.ignore", texts.clone());
        }
        Some(other) => reader.complain("ignore", wrong("a list of texts", other)),
    }
    headers(reader);
    params(reader);
    credentials(reader);
    timeout(reader);
    tls(reader);
    proxies(reader);
    for argument in ["allow_redirects", "stream"] {
        let _: bool = reader.read(argument, false);
    }
}

/// `headers`, and `cookies`, which are one.
fn headers(reader: &mut Reader<'_>) {
    let mut headers = Map::new();
    match reader.take("headers") {
        None | Some(Value::Null) => {}
        Some(Value::Object(table)) => {
            // `null` takes one of requests' own headers away: there are none to take away.
            headers.extend(table.iter().filter(|it| !it.1.is_null()).map(|it| (it.0.clone(), it.1.clone())));
        }
        Some(other) => reader.complain("headers", wrong("an object of names and texts", other)),
    }
    match reader.take("cookies") {
        None | Some(Value::Null) => {}
        Some(Value::Object(table)) if table.values().all(Value::is_string) => {
            let cookies =
                table.iter().map(|(name, it)| format!("{name}={}", it.as_str().unwrap_or_default()));
            headers.insert("Cookie".to_owned(), cookies.collect::<Vec<_>>().join("; ").into());
        }
        Some(other) => reader.complain("cookies", wrong("an object of names and texts", other)),
    }
    if let Some((name, other)) = headers.iter().find(|it| !it.1.is_string()) {
        let text = format!("{name} {}", wrong("a text", other));
        reader.complain("headers", text);
    } else if !headers.is_empty() {
        reader.conf.set("webhook.headers", headers);
    }
}

/// Behind the address, where requests puts them.
fn params(reader: &mut Reader<'_>) {
    let Some(params) = reader.take_in_order("params").filter(|it| it != "null") else { return };
    let query = match query(&params) {
        Ok(query) => query,
        Err(text) => return reader.complain("params", text),
    };
    let url = reader.conf.get("webhook.url").and_then(Value::as_str).and_then(|it| Url::parse(it).ok());
    let (Some(mut url), false) = (url, query.is_empty()) else { return };
    let whole = match url.query() {
        Some(own) if !own.is_empty() => format!("{own}&{query}"),
        _ => query,
    };
    url.set_query(Some(&whole));
    reader.conf.set("webhook.url", url.as_str());
}

/// `auth`: JSON has no tuples, which is what requests wants, so it never worked; what is meant is
/// clear.
fn credentials(reader: &mut Reader<'_>) {
    match reader.take("auth") {
        None | Some(Value::Null) => {}
        Some(Value::Array(two)) => match two.as_slice() {
            [Value::String(user), Value::String(password)] => {
                let (user, password) = (user.clone(), password.clone());
                reader.conf.set("webhook.user", user);
                reader.conf.set("webhook.password", password);
            }
            // Not shown: one of them is a password.
            _ => reader.complain("auth", "wants a list of a user and a password".to_owned()),
        },
        Some(_) => reader.complain("auth", "wants a list of a user and a password".to_owned()),
    }
}

fn timeout(reader: &mut Reader<'_>) {
    const WANTS: &str = "a number of seconds, or a list of two: to connect, to answer";
    let number = |it: &Value| it.as_f64().filter(|it| (0.0..86_400.0).contains(it) && *it > 0.0);
    match reader.take("timeout") {
        None | Some(Value::Null) => {}
        Some(Value::Array(two)) => match two.iter().map(number).collect::<Option<Vec<_>>>().as_deref() {
            Some([connect, answer]) => {
                let whole = json!(connect + answer);
                reader.conf.set("http.timeout", whole);
            }
            _ => reader.complain("timeout", wrong(WANTS, &json!(two))),
        },
        Some(value) if number(value).is_some() => reader.conf.set("http.timeout", value.clone()),
        Some(other) => reader.complain("timeout", wrong(WANTS, other)),
    }
}

/// `verify` and `cert`.
fn tls(reader: &mut Reader<'_>) {
    match reader.take("verify") {
        None | Some(Value::Null) => {}
        Some(Value::Bool(verify)) => reader.conf.set("tls.verify", *verify),
        Some(Value::String(path)) => reader.conf.set("tls.ca", path.clone()),
        Some(other) => reader.complain("verify", wrong("true, false or the path of a file", other)),
    }
    let files = match reader.take("cert") {
        None | Some(Value::Null) => return,
        Some(Value::String(both)) => Some((both.clone(), both.clone())),
        Some(Value::Array(two)) => match two.as_slice() {
            [Value::String(certificate), Value::String(key)] => Some((certificate.clone(), key.clone())),
            _ => None,
        },
        Some(_) => None,
    };
    match files {
        Some((certificate, key)) => {
            reader.conf.set("tls.certificate", certificate);
            reader.conf.set("tls.key", key);
        }
        None => {
            reader
                .complain("cert", "wants the path of a file, or a list of two: certificate, key".to_owned());
        }
    }
}

/// Of `proxies`, the one that requests would choose for this address.
fn proxies(reader: &mut Reader<'_>) {
    let table = match reader.take("proxies") {
        None | Some(Value::Null) => return,
        Some(Value::Object(table)) => table,
        Some(other) => return reader.complain("proxies", wrong("an object of schemes and addresses", other)),
    };
    let url = reader.conf.get("webhook.url").and_then(Value::as_str).and_then(|it| Url::parse(it).ok());
    let Some(url) = url else { return };
    let (scheme, host) = (url.scheme(), url.host_str().unwrap_or_default());
    let names = [format!("{scheme}://{host}"), scheme.to_owned(), format!("all://{host}"), "all".to_owned()];
    match names.iter().find_map(|it| table.get(it)) {
        None | Some(Value::Null) => {}
        Some(Value::String(proxy)) => reader.conf.set("http.proxy", proxy.clone()),
        Some(other) => reader.complain("proxies", wrong("an object of schemes and addresses", other)),
    }
}
