//! Webhooks: signed, told apart, patient; and OpenCanary's bodies, compared with what Python's requests
//! sends.

use std::time::Duration;

use serde_json::{Value, json};
use serin_tests::{Receiver, Reply, Request, Sensor, Setup, Talk, client_in, eventually};

use super::log_in;

/// A user name with everything that has a meaning to somebody.
const HOSTILE: &str = "{{7*7}}%(message)s<script>&a=b'\"\u{e9}\\";

fn hostile_log_in(sensor: &Sensor) {
    let mut talk = Talk::to(sensor.port("ftp"));
    talk.until("220 ");
    talk.say(format!("USER {HOSTILE}\r\n"));
    talk.until("331 ");
    talk.say("PASS \u{ff}\r\n");
    talk.until("530 ");
}

fn ok() -> Receiver {
    Receiver::start(|_| Reply::new(200, "ok"))
}

/// All requests once there are so many.
fn requests(receiver: &Receiver, count: usize) -> Vec<Request> {
    eventually("requests", || Some(receiver.seen()).filter(|it| it.len() >= count))
}

/// Each event as its own request.
fn events(url: &str, more: &Value) -> Value {
    let mut settings = json!({ "type": "webhook", "url": url, "send": "events", "timeout": 2 });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

/// What `serin outputs status` says of an output, once it says `wanted`.
fn status(sensor: &Sensor, wanted: &str) -> String {
    eventually(wanted, || Some(sensor.ask(&["outputs", "status"]).out).filter(|it| it.contains(wanted)))
}

/// What requests sends for the same arguments: names, data (as text, so that its members keep their
/// order) and headers.
const CASES: &[(&str, &str, &str)] = &[
    ("default", "null", "{}"),
    ("default-json", "null", r#"{"Content-Type": "application/json"}"#),
    (
        "order",
        r#"{"zebra": "%(message)s", "ant": {"y": 1, "b": [1.0, 1e16, 1e-7, -0.0, true, null, "%%"]}}"#,
        r#"{"Content-Type": "application/json"}"#,
    ),
    ("any-header", r#"{"é": "%(message)s"}"#, r#"{"Accept": "application/json"}"#),
    ("charset", r#"{"text": "%(message)s"}"#, r#"{"Content-Type": "application/json; charset=utf-8"}"#),
    (
        "list",
        r#"["%(message)s", {"z": "x", "a": "%(message).10s"}]"#,
        r#"{"Content-Type": "application/json"}"#,
    ),
    (
        "form",
        r#"{"z": ["a b", 2, 1.5, null, true], "a": {"k": 1, "j": 2}, "n": null, "m": "<%(message)s>", "e": ""}"#,
        "{}",
    ),
    ("string", r#""{\"text\": \"%(message)-5s\"}""#, "{}"),
    ("string-typed", r#""é%(message)s""#, r#"{"content-type": "text/plain"}"#),
    ("pairs", r#"[["k", "%(message)s"], ["k", "2~*"]]"#, "{}"),
    ("empty", "{}", "{}"),
    ("empty-json", "{}", r#"{"X": "application/json"}"#),
];

#[test]
fn bodies_are_those_of_requests() {
    let (ours, theirs) = (ok(), ok());
    let mut setup = Setup::of(&["ftp"]);
    for (name, data, headers) in CASES {
        let headers: Value = serde_json::from_str(headers).unwrap();
        let more = json!({ "layout": "opencanary", "data": data, "headers": headers, "passwords": "keep" });
        setup = setup.output(name, events(&ours.url(&format!("/{name}")), &more));
    }
    let sensor = setup.start();
    hostile_log_in(&sensor);
    let seen = requests(&ours, CASES.len());
    let line = sensor.wait_for(2000, 1).remove(0).line;
    let cases: Vec<_> = CASES.iter().map(|it| format!("[{:?}, {}, {}]", it.0, it.1, it.2)).collect();
    let script = r#"
import copy, json, sys, requests
def mapped(data, mapping):
    if isinstance(data, dict):
        return {key: mapped(value, mapping) for key, value in data.items()}
    if isinstance(data, list):
        return [mapped(it, mapping) for it in data]
    return data % mapping if isinstance(data, str) else data
mapping = {"message": json.loads(sys.stdin.readline())}
for name, data, headers in json.loads(sys.stdin.readline()):
    data = mapping if data is None else mapped(data, mapping)
    how = "json" if "application/json" in headers.values() else "data"
    requests.request("POST", sys.argv[1] + name, headers=headers, **{how: data})
"#;
    let input = format!("{}\n[{}]\n", json!(line), cases.join(", "));
    let python = client_in(sensor.folder(), "python3", &["-c", script, &theirs.url("/")], &input);
    assert_eq!((python.status, &python.err[..]), (0, ""));
    let wanted = theirs.seen();
    assert_eq!(wanted.len(), CASES.len());
    for wanted in wanted {
        let ours = seen.iter().find(|it| it.path == wanted.path).unwrap();
        assert_eq!(ours.text(), wanted.text(), "{}", wanted.path);
        assert_eq!(ours.header("content-type"), wanted.header("content-type"), "{}", wanted.path);
        assert_eq!(ours.header("content-length"), wanted.header("content-length"), "{}", wanted.path);
    }
}

#[test]
fn opencanarys_handler_works_as_it_is() {
    let receiver = ok();
    let handler = json!({
        "class": "opencanary.logger.WebhookHandler", "url": receiver.url("/hook?own=1"), "method": "PUT",
        "data": { "text": "%(message)s" }, "headers": { "Content-Type": "application/json", "X-Key": "abcdef" },
        "params": { "q": ["a b", 1] }, "auth": ["canary", "s3cret"], "timeout": 2.5, "verify": true,
        "allow_redirects": false, "cookies": { "c": "d" }, "status_code": 200, "ignore": ["user0"],
        "formatter": "short",
    });
    let setup = Setup::of(&["ftp"]);
    let log = setup.folder().join("log.json");
    let logger = json!({ "class": "PyLogger", "kwargs": {
        "formatters": { "short": { "format": "%(name)s: %(message)s" } },
        "handlers": { "hook": handler, "file": { "class": "logging.FileHandler", "filename": log } },
    } });
    let sensor = setup.with("logger", logger).start();
    log_in(&sensor, 2);
    let events = sensor.wait_for(2000, 2);
    let request = requests(&receiver, 1).remove(0);
    assert_eq!((&request.method[..], &request.path[..]), ("PUT", "/hook?own=1&q=a+b&q=1"));
    assert_eq!(request.json(), json!({ "text": format!("opencanary-1: {}", events[1].line) }));
    assert_eq!(request.header("authorization"), "Basic Y2FuYXJ5OnMzY3JldA==");
    assert_eq!((request.header("x-key"), request.header("cookie")), ("abcdef", "c=d"));
}

#[test]
fn a_signed_alert_comes_again_under_the_same_key() {
    let mut answers = 0;
    let receiver = Receiver::start(move |_| {
        answers += 1;
        match answers {
            1 => Reply::new(500, "down"),
            2 => Reply::new(429, "slow down").header("Retry-After", "2"),
            3 => Reply::cut(),
            4 => Reply::new(200, "late").after(Duration::from_secs(3)),
            _ => Reply::new(204, ""),
        }
    });
    let more = json!({ "hmac_secret": "k3y", "headers": { "Authorization": "Bearer tokentoken" } });
    let sensor = Setup::of(&["ftp"]).output("hook", events(&receiver.url("/"), &more)).start();
    hostile_log_in(&sensor);
    let seen = requests(&receiver, 5);
    assert!(seen[2].at - seen[1].at >= Duration::from_secs(2), "{:?}", seen[2].at - seen[1].at);
    for request in &seen {
        assert_eq!(request.header("idempotency-key"), seen[0].header("idempotency-key"));
        assert_eq!(request.body, seen[0].body);
        assert_eq!(request.header("authorization"), "Bearer tokentoken");
    }
    assert!(seen[0].header("idempotency-key").starts_with("opencanary-1-"));
    // Signed as another implementation signs.
    let script = "import hashlib, hmac, sys; print(hmac.new(b'k3y', sys.stdin.buffer.read(), hashlib.sha256).hexdigest())";
    let python = client_in(sensor.folder(), "python3", &["-c", script], &seen[0].text());
    assert_eq!(seen[0].header("x-signature"), format!("sha256={}", python.out.trim()));
    let body = seen[0].json();
    assert_eq!((&body["version"], &body["event"]["logdata"]["USERNAME"]), (&json!(1), &json!(HOSTILE)));
    assert_eq!(body["event"]["logdata"]["PASSWORD"], "");
    assert_eq!(body["incident"]["users"], json!([HOSTILE]));

    // Another one comes after it, under its own key.
    log_in(&sensor, 1);
    let next = requests(&receiver, 6);
    assert_ne!(next[5].header("idempotency-key"), next[0].header("idempotency-key"));
}

#[test]
fn a_redirect_is_never_followed_and_no_secret_is_told() {
    let elsewhere = ok();
    let to = elsewhere.url("/stolen");
    let receiver = Receiver::start(move |request| {
        Reply::new(307, format!("moved, {}", request.header("authorization"))).header("Location", &to)
    });
    let more = json!({ "headers": { "Authorization": "Bearer tokentoken" } });
    let sensor = Setup::of(&["ftp"]).output("hook", events(&receiver.url("/hidden-path"), &more)).start();
    log_in(&sensor, 1);
    requests(&receiver, 2);
    let status = status(&sensor, "redirects are not followed");
    assert!(!status.contains("tokentoken") && !status.contains("hidden-path"), "{status}");
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn a_template_is_filled_without_being_broken() {
    let receiver = ok();
    let more = json!({ "body": "{\"text\": {{ sentence }}, \"user\": {{ event.logdata.USERNAME }}, \"n\": {{ incident.count }}}" });
    let sensor = Setup::of(&["ftp"]).output("hook", events(&receiver.url("/"), &more)).start();
    hostile_log_in(&sensor);
    let body = requests(&receiver, 1)[0].json();
    assert_eq!((&body["user"], &body["n"]), (&json!(HOSTILE), &json!(1)));
    assert!(body["text"].as_str().unwrap().starts_with("127.0.0.1 tried to log in to FTP as {{7*7}}"));
}
