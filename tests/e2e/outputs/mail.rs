//! Mail, handed to aiosmtpd: secret, told apart, each recipient for itself; and OpenCanary's mails,
//! compared with what Python's `SMTPHandler` sends.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use serin_tests::{Receiver, Reply, Sensor, Setup, Talk, client_in, eventually, free_port};
use tempfile::TempDir;

use super::log_in;

/// A running mail server; ended when dropped.
struct Smtpd {
    folder: TempDir,
    port: u16,
    child: Child,
}

impl Smtpd {
    fn start(options: &Value) -> Self {
        let folder = tempfile::Builder::new().prefix("serin-smtpd-").tempdir().unwrap();
        // The sensor leaves root behind and reads the certificate.
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let port = free_port();
        let mut options = options.clone();
        options["port"] = port.into();
        let child = Command::new("python3")
            .args(["-c", include_str!("smtpd.py")])
            .arg(folder.path())
            .arg(options.to_string())
            .stdin(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let smtpd = Self { folder, port, child };
        eventually("the mail server", || smtpd.folder.path().join("ready").exists().then_some(()));
        smtpd
    }

    /// An output that sends each event to it.
    fn output(&self, more: &Value) -> Value {
        let mut settings = json!({
            "type": "mail", "host": "localhost", "port": self.port, "send": "events",
            "from": "Canary <canary@example.org>", "to": ["soc@example.org"], "reply_timeout": 5,
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    }

    fn ca(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    fn seen(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("mails")).unwrap_or_default();
        text.lines().filter_map(|it| serde_json::from_str(it).ok()).collect()
    }

    /// The mails once there are so many.
    fn mails(&self, count: usize) -> Vec<Value> {
        eventually("mails", || Some(self.seen()).filter(|it| it.len() >= count))
    }
}

impl Drop for Smtpd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A mail as Python's `email` reads it: headers by name in lower case, and the parts by type.
fn parsed(mail: &Value) -> Value {
    let script = r#"
import email, email.policy, json, sys
mail = email.message_from_bytes(json.load(sys.stdin).encode("latin-1"), policy=email.policy.default)
headers = {}
for name, value in mail.items():
    headers.setdefault(name.lower(), []).append(str(value))
parts = {it.get_content_type(): it.get_content() for it in mail.walk() if not it.is_multipart()}
defects = [str(it) for part in mail.walk() for it in part.defects]
print(json.dumps({"headers": headers, "parts": parts, "defects": defects}))
"#;
    let python = client_in(Path::new("/"), "python3", &["-c", script], &mail["text"].to_string());
    assert_eq!((python.status, &python.err[..]), (0, ""));
    serde_json::from_str(&python.out).unwrap()
}

fn status(sensor: &Sensor, wanted: &str) -> String {
    eventually(wanted, || Some(sensor.ask(&["outputs", "status"]).out).filter(|it| it.contains(wanted)))
}

const HOSTILE: &str = "{{7*7}}%(message)s<script>&\u{e9}=?utf-8?q?x?=\".";

fn hostile_log_in(sensor: &Sensor) {
    let mut talk = Talk::to(sensor.port("ftp"));
    talk.until("220 ");
    talk.say(format!("USER {HOSTILE}\r\n"));
    talk.until("331 ");
    talk.say("PASS s3cret-pw\r\n");
    talk.until("530 ");
}

#[test]
fn a_mail_goes_out_over_tls_and_says_nothing_of_a_strangers_in_its_head() {
    let smtpd = Smtpd::start(&json!({ "tls": "starttls", "user": "canary", "password": "pass word" }));
    let output = smtpd.output(&json!({ "user": "canary", "password": "pass word", "ca": smtpd.ca() }));
    let sensor = Setup::of(&["ftp"]).output("mail", output).start();
    hostile_log_in(&sensor);
    let mail = smtpd.mails(1).remove(0);
    assert_eq!((&mail["tls"], &mail["login"]), (&json!(true), &json!(true)));
    assert_eq!((&mail["from"], &mail["to"]), (&json!("canary@example.org"), &json!(["soc@example.org"])));
    assert_eq!(mail["hello"], "[127.0.0.1]");
    let text = mail["text"].as_str().unwrap();
    assert!(text.is_ascii() && text.lines().all(|it| it.len() <= 78), "{text}");
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("script") && !head.contains("7*7") && !head.contains("49"), "{head}");
    let read = parsed(&mail);
    assert_eq!(read["defects"], json!([]));
    let header = |name: &str| read["headers"][name][0].as_str().unwrap_or_default().to_owned();
    assert_eq!(header("from"), "Canary <canary@example.org>");
    assert!(header("subject").starts_with("[canary] "), "{}", header("subject"));
    assert_eq!(header("auto-submitted"), "auto-generated");
    assert!(
        header("message-id").starts_with("<opencanary-1-")
            && header("message-id").ends_with("@opencanary-1>")
    );
    let plain = read["parts"]["text/plain"].as_str().unwrap();
    assert!(plain.contains("tried to log in to FTP as {{7*7}}%(message)s<script>&"), "{plain}");
    assert!(!plain.contains("s3cret-pw"), "{plain}");
    let html = read["parts"]["text/html"].as_str().unwrap();
    assert!(html.contains("{{7*7}}%(message)s&lt;script&gt;&amp;"), "{html}");
    assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("s3cret-pw"), "{html}");
}

#[test]
fn implicit_tls_wants_a_certificate_that_convinces() {
    let smtpd = Smtpd::start(&json!({ "tls": "implicit" }));
    let good = smtpd.output(&json!({ "tls": "implicit", "ca": smtpd.ca() }));
    let bad = smtpd.output(&json!({ "tls": "implicit", "from": "bad@example.org" }));
    let sensor = Setup::of(&["ftp"]).output("good", good).output("bad", bad).start();
    log_in(&sensor, 1);
    assert_eq!(smtpd.mails(1)[0]["tls"], true);
    status(&sensor, "invalid peer certificate");
    assert!(smtpd.seen().iter().all(|it| it["from"] != "bad@example.org"));
}

#[test]
fn each_recipient_has_a_fate_of_its_own() {
    let smtpd = Smtpd::start(&json!({ "faults": ["greylist"] }));
    let more =
        json!({ "tls": "none", "to": ["first@example.org", "gone@example.org", "second@example.org"] });
    let sensor = Setup::of(&["ftp"]).output("mail", smtpd.output(&more)).start();
    log_in(&sensor, 1);
    // The first is turned away once: the second has the mail at once, the first when it comes again.
    let mails = smtpd.mails(2);
    assert_eq!(mails[0]["to"], json!(["second@example.org"]));
    assert_eq!(mails[1]["to"], json!(["first@example.org"]));
    assert_eq!(mails[0]["text"], mails[1]["text"]);
    let status = status(&sensor, "No such user");
    assert!(status.contains("gone@example.org"), "{status}");
}

#[test]
fn who_has_a_mail_does_not_get_it_again_after_a_crash_nor_waits_for_others() {
    let smtpd = Smtpd::start(&json!({}));
    let full = smtpd.folder.path().join("full");
    fs::write(&full, "").unwrap();
    let more = json!({ "tls": "none", "to": ["first@example.org", "full@example.org"] });
    let mut sensor = Setup::of(&["ftp"]).output("mail", smtpd.output(&more)).start();
    log_in(&sensor, 1);
    smtpd.mails(1);
    status(&sensor, "does not take mail for full@example.org yet: 452");
    sensor.crash();
    sensor.start();
    // What happens meanwhile is told.
    log_in(&sensor, 1);
    smtpd.mails(2);
    fs::remove_file(&full).unwrap();
    let mails = smtpd.mails(4);
    let ids = |to: &str| {
        let ours = mails.iter().filter(|it| it["to"] == json!([to]));
        let mut ids: Vec<_> = ours.map(|it| parsed(it)["headers"]["message-id"][0].to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids("first@example.org").len(), 2, "{mails:#?}");
    assert_eq!(ids("first@example.org"), ids("full@example.org"));
    eventually("the lag to end", || (super::status(&sensor, "mail")["lag_events"] == 0).then_some(()));
    assert_eq!(smtpd.seen().len(), 4);
}

#[test]
fn what_nobody_takes_is_a_dead_letter_and_the_next_goes_out() {
    let smtpd = Smtpd::start(&json!({ "faults": ["reject"] }));
    let sensor = Setup::of(&["ftp"]).output("mail", smtpd.output(&json!({ "tls": "none" }))).start();
    log_in(&sensor, 1);
    smtpd.mails(1);
    log_in(&sensor, 1);
    let mails = smtpd.mails(2);
    assert_eq!((&mails[0]["fault"], &mails[1]["fault"]), (&json!("reject"), &json!("ok")));
    assert_ne!(parsed(&mails[0])["headers"]["message-id"], parsed(&mails[1])["headers"]["message-id"]);
}

#[test]
fn a_connection_cut_after_the_mail_doubles_it_under_the_same_id() {
    let smtpd = Smtpd::start(&json!({ "faults": ["cut"] }));
    let sensor = Setup::of(&["ftp"]).output("mail", smtpd.output(&json!({ "tls": "none" }))).start();
    log_in(&sensor, 1);
    let mails = smtpd.mails(2);
    assert_eq!(mails[0]["text"], mails[1]["text"]);
    eventually("the lag to end", || {
        let status: Value = serde_json::from_str(&sensor.ask(&["outputs", "status", "--json"]).out).ok()?;
        let mail = status.as_array()?.iter().find(|it| it["name"] == "mail")?.clone();
        (mail["lag_events"] == 0).then_some(())
    });
    assert_eq!(smtpd.seen().len(), 2);
}

#[test]
fn a_server_that_says_nothing_delays_nothing_else() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let settings = json!({
        "type": "mail", "host": "127.0.0.1", "port": port, "tls": "none", "send": "events",
        "from": "a@example.org", "to": ["b@example.org"], "reply_timeout": 1,
    });
    let sensor = Setup::of(&["ftp"]).output("mail", settings).start();
    log_in(&sensor, 3);
    assert_eq!(sensor.wait_for(2000, 3).len(), 3);
    status(&sensor, "the server does not answer");
}

#[test]
fn a_password_never_goes_out_in_the_clear() {
    // It says all the right things, but what it offers is no TLS.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let _ = socket.write_all(b"220 mail\r\n250-mail\r\n250 AUTH PLAIN LOGIN\r\n");
            let mut said = String::new();
            let _ = socket.read_to_string(&mut said);
            let _ = tell.send(said);
        }
    });
    let settings = json!({
        "type": "mail", "host": "127.0.0.1", "port": port, "tls": "opportunistic", "send": "events",
        "user": "canary", "password": "hunter22", "from": "a@example.org", "to": ["b@example.org"],
    });
    let sensor = Setup::of(&["ftp"]).output("mail", settings).start();
    log_in(&sensor, 1);
    let status = status(&sensor, "the password was not sent");
    assert!(!status.contains("hunter22"), "{status}");
    assert_eq!(said.recv_timeout(Duration::from_secs(10)).unwrap(), "EHLO [127.0.0.1]\r\n");
}

#[test]
fn a_wrong_password_waits_for_the_operator() {
    let smtpd = Smtpd::start(&json!({ "tls": "starttls", "user": "canary", "password": "right" }));
    let output = smtpd.output(&json!({ "user": "canary", "password": "wrong-one", "ca": smtpd.ca() }));
    let sensor = Setup::of(&["ftp"]).output("mail", output).start();
    log_in(&sensor, 1);
    let status = status(&sensor, "the login with 535");
    assert!(status.contains("hold") && !status.contains("wrong-one"), "{status}");
    assert!(smtpd.seen().is_empty());
}

#[test]
fn tokens_of_oauth_take_the_place_of_a_password() {
    let smtpd =
        Smtpd::start(&json!({ "tls": "starttls", "user": "canary@example.org", "token": "ya29.good" }));
    let mut asked = 0;
    let tokens = Receiver::start(move |request| {
        asked += 1;
        let wanted = "grant_type=refresh_token&client_id=id-1&client_secret=s%263cret&refresh_token=r-1&scope=mail.send";
        match (asked, request.text() == wanted) {
            (_, false) => Reply::new(400, r#"{"error": "invalid_client", "error_description": "s&3cret"}"#),
            (1, true) => Reply::new(200, r#"{"access_token": "ya29.stale", "expires_in": 3600}"#),
            (_, true) => Reply::new(200, r#"{"access_token": "ya29.good", "expires_in": 3600}"#),
        }
    });
    let output = smtpd.output(&json!({
        "user": "canary@example.org", "token_url": tokens.url("/token"), "client_id": "id-1",
        "client_secret": "s&3cret", "refresh_token": "r-1", "scope": "mail.send", "ca": smtpd.ca(),
    }));
    let sensor = Setup::of(&["ftp"]).output("mail", output).start();
    log_in(&sensor, 1);
    // The first token does not do: it is thrown away, and a new one had.
    assert_eq!(smtpd.mails(1)[0]["login"], true);
    log_in(&sensor, 1);
    smtpd.mails(2);
    assert_eq!(tokens.seen().len(), 2, "the second token is kept");
}

#[test]
fn a_refresh_token_that_is_replaced_outlives_the_sensor_and_is_never_told() {
    let smtpd =
        Smtpd::start(&json!({ "tls": "starttls", "user": "canary@example.org", "token": "ya29.good" }));
    let mut valid = 1;
    let tokens = Receiver::start(move |request| {
        // Each is good for one request.
        if !request.text().ends_with(&format!("&refresh_token=refresh-{valid}")) {
            return Reply::new(400, r#"{"error": "invalid_grant"}"#);
        }
        valid += 1;
        let token = if valid == 4 { "ya29.stale" } else { "ya29.good" };
        let answer = json!({ "access_token": token, "refresh_token": format!("refresh-{valid}") });
        Reply::new(200, answer.to_string())
    });
    let secret = smtpd.folder.path().join("configured");
    fs::write(&secret, "refresh-1\n").unwrap();
    let output = smtpd.output(&json!({
        "user": "canary@example.org", "token_url": tokens.url("/token"), "client_id": "id-1",
        "refresh_token": format!("file:{}", secret.display()), "ca": smtpd.ca(),
    }));
    let mut sensor = Setup::of(&["ftp"]).output("mail", output).start();
    log_in(&sensor, 1);
    smtpd.mails(1);
    // Another process uses it up, and the sensor is not told.
    let config = sensor.config().display().to_string();
    let tested = sensor.ask(&["outputs", "test", "mail", "--config", &config]);
    assert_eq!(tested.status, 0, "{}", tested.words());
    assert!(sensor.stop().success());
    sensor.start();
    log_in(&sensor, 1);
    // This token is refused, and the next refresh token is there all the same.
    smtpd.mails(3);
    assert_eq!(tokens.seen().len(), 4);
    let told = format!("{}{}", sensor.said(), sensor.ask(&["outputs", "status", "--json"]).out);
    assert!(!told.contains("refresh-") && !told.contains("ya29."), "{told}");
}

#[test]
fn opencanarys_handler_sends_what_python_sends() {
    let (ours, theirs) = (Smtpd::start(&json!({})), Smtpd::start(&json!({})));
    let handler = json!({
        "class": "logging.handlers.SMTPHandler", "mailhost": ["127.0.0.1", ours.port],
        "fromaddr": "canary@example.org", "toaddrs": ["a@example.org", "b@example.org"],
        "subject": "OpenCanary {{ title }} %(message)s", "timeout": 5.0,
    });
    let setup = Setup::of(&["ftp"]);
    let log = setup.folder().join("log.json");
    let logger = json!({ "class": "PyLogger", "kwargs": { "handlers": {
        "SMTP": handler, "file": { "class": "logging.FileHandler", "filename": log },
    } } });
    let sensor = setup.with("logger", logger).start();
    hostile_log_in(&sensor);
    let ours = ours.mails(1).remove(0);
    let line = sensor.wait_for(2000, 1).remove(0).line;
    let script = r#"
import logging, logging.handlers, sys
handler = logging.handlers.SMTPHandler(
    ("127.0.0.1", int(sys.argv[1])), "canary@example.org", ["a@example.org", "b@example.org"],
    "OpenCanary {{ title }} %(message)s", timeout=5.0)
logger = logging.getLogger("opencanary-1")
logger.addHandler(handler)
logger.warning("%s", sys.stdin.read())
"#;
    let port = theirs.port.to_string();
    let python = client_in(sensor.folder(), "python3", &["-c", script, &port], &line);
    assert_eq!((python.status, &python.err[..]), (0, ""));
    let theirs = theirs.mails(1).remove(0);
    let without = |mail: &Value, names: &[&str]| -> String {
        let text = mail["text"].as_str().unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let kept = head.lines().filter(|it| !names.iter().any(|name| it.starts_with(name)));
        format!("{}\n\n{body}", kept.collect::<Vec<_>>().join("\n"))
    };
    // aiosmtpd adds headers of the envelope; the date is that of each.
    let own = ["Date:", "X-Peer:", "X-MailFrom:", "X-RcptTo:"];
    let also = ["Date:", "X-Peer:", "X-MailFrom:", "X-RcptTo:", "Message-ID:"];
    assert_eq!(without(&ours, &also), without(&theirs, &own));
    assert_eq!((&ours["from"], &ours["to"]), (&theirs["from"], &theirs["to"]));
    let date = parsed(&ours)["headers"]["date"][0].as_str().unwrap().to_owned();
    assert!(date.ends_with("+0000") && date.contains(" 20"), "{date}");
}

#[test]
fn opencanarys_handler_with_credentials_works_as_it_is() {
    let smtpd = Smtpd::start(&json!({ "tls": "starttls", "user": "canary", "password": "pass" }));
    let handler = json!({
        "class": "logging.handlers.SMTPHandler", "mailhost": ["127.0.0.1", smtpd.port],
        "fromaddr": "canary@example.org", "toaddrs": "a@example.org", "subject": "Alert",
        "credentials": ["canary", "pass"], "secure": [],
    });
    let setup = Setup::of(&["ftp"]);
    let log = setup.folder().join("log.json");
    let logger = json!({ "class": "PyLogger", "kwargs": { "handlers": {
        "SMTP": handler, "file": { "class": "logging.FileHandler", "filename": log },
    } } });
    let sensor = setup.with("logger", logger).start();
    log_in(&sensor, 1);
    let mail = smtpd.mails(1).remove(0);
    assert_eq!((&mail["tls"], &mail["login"]), (&json!(true), &json!(true)));
    status(&sensor, "certificate is not verified");
}
