//! One record of each kind in every shape, compared with what was published.
//!
//! `UPDATE=1 cargo test` rewrites the golden files; their diff shows what users' parsers will see.

use serde_json::json;
use serin_event::{Endpoint, Event, Kind, Record, Tainted, Timestamp, Value, kinds};

use super::Format;
use crate::incidents::{Change, Notice};

const TIME: Timestamp = Timestamp(1_795_296_991_777_389);

/// A value such as a peer would send.
fn sample(kind: &Kind, name: &'static str) -> Value {
    let tainted = |text: &str| Value::from(Tainted::new(text.as_bytes(), 4096));
    let list = |texts: &[&str]| Value::List(texts.iter().map(|it| tainted(it)).collect());
    let map = |name: &str, value: Value| Value::Map(vec![(Tainted::new(name.as_bytes(), 64), value)]);
    match name {
        "USERNAME" | "UserName" | "username" | "USER" => tainted("root"),
        "PASSWORD" | "Password" | "VNC Password" => tainted("p=w|d\\ \u{e9}"),
        "msg" => map("logdata", "all is \"well\"".into()),
        "PATH" => tainted("/index.html"),
        "QUERY" => tainted("a=1&b=2"),
        "HEADERS" if kind.service == "sip" => map("via", list(&["SIP/2.0/UDP 10.0.0.5"])),
        "HEADERS" | "ENVIRONMENT" => map("X-Odd.Name", tainted("value")),
        "ARGS" if kind.service == "redis" => tainted("key\r\nvalue"),
        "REQUESTS" | "COMMANDS" | "OPTIONS" | "CIPHERS" => list(&["one", "two"]),
        "BYTES" | "BITS" | "DURATION_MS" | "COUNT" | "SECONDS" => 1500.into(),
        "STATUS" if kind.service == "http" => 200.into(),
        "ACCEPTED" | "SIGNED" | "PROVED" => false.into(),
        "TITLE" => "Somebody is in".into(),
        "TIME" if kind.is_detection() => TIME.rfc3339().into(),
        "GROUP" => map("src_host", tainted("10.0.0.5")),
        "EVENTS" => Value::List(vec![7.into(), 8.into()]),
        "SOURCES" => list(&["10.0.0.5"]),
        "TAGS" | "REFERENCES" => list(&["attack.t1110", "attack.t1021.004"]),
        "CORRELATION" | "LATE" | "RAISES" | "SATURATED" => true.into(),
        "SERVICE" => "ssh".into(),
        "PROTO" => "TCP".into(),
        "MAC" => "00:1b:2c:3d:4e:5f:0a:0b:0c:0d:0e:0f:08:00".into(),
        "METHOD" if kind.service.starts_with("http") => tainted("HEAD"),
        "REQUEST_TYPE" => tainted("DELETE"),
        "JA3" | "HASSH" => "0123456789abcdef0123456789abcdef".into(),
        "JA4" => "t13d1516h2_8daaf6152771_b186095e22b6".into(),
        "URL" => tainted("http://198.51.100.1/"),
        _ => tainted(&format!("some {}", name.to_ascii_lowercase())),
    }
}

fn event(kind: &'static Kind) -> Event {
    if !kind.is_incident() {
        let names = kind.fields.iter().chain(kind.details);
        return names.fold(Event::new(kind), |event, name| event.with(name, sample(kind, name)));
    }
    let notice = Notice {
        id: "node-7".into(),
        change: Change::Updated,
        severity: kind.severity,
        service: "ssh".into(),
        rule: "brute-force".into(),
        targets: vec!["10.0.0.9".into()],
        ports: vec![22],
        count: 12,
        users: vec!["root".into(), "admin".into()],
        passwords: vec!["p=w|d".into()],
        labels: vec!["nessus".into()],
        samples: vec!["10.0.0.5 tried to log in".into()],
        detections: vec!["Somebody is in".into()],
        events: vec![7, 8],
        about_source: json!({ "name": "laptop-7" }).as_object().unwrap().clone(),
        test: false,
        ..Notice::test("10.0.0.5 tried 12 passwords on SSH".into(), TIME)
    };
    notice.to_event()
}

/// A record of this kind with every field it can have.
pub(super) fn record(kind: &'static Kind) -> Record {
    let end = |host: &str, port| Endpoint { host: host.parse().ok(), port };
    let plain = Record { seq: 7, ..Record::of(&event(kind), TIME, 3600, "node") };
    match kind.service {
        "sensor" => plain,
        "incident" => Record { source: end("10.0.0.5", None), ..plain },
        _ => Record {
            session: 0x1f,
            source: end("10.0.0.5", Some(42350)),
            target: end("10.0.0.9", Some(22)),
            ..plain
        },
    }
}

#[track_caller]
fn compare(format: Format, name: &str, wanted: impl Fn(&Kind) -> bool) {
    let mut text = String::new();
    for kind in kinds::ALL.iter().filter(|it| wanted(it)) {
        let line = format.encode(&record(kind));
        let json = format.content_type() == "application/json";
        assert!(line.is_ascii() || !json, "{}: {line}", kind.name);
        assert!(!line.contains(char::is_control), "{}: {line}", kind.name);
        text.extend([kind.name, " ", &line, "\n"]);
    }
    let path = format!("{}/src/outputs/encode/{name}.golden", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (line, expected) in text.lines().zip(golden.lines()) {
        assert_eq!(line, expected, "run with UPDATE=1 and review the diff");
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "run with UPDATE=1 and review the diff");
}

#[test]
fn events_look_as_published() {
    let all = |_: &Kind| true;
    compare(Format::Serin, "serin", all);
    compare(Format::Cef, "cef", all);
    compare(Format::Leef, "leef", all);
    // Two files each, because one would be large: OpenCanary's kinds, and ours.
    let ours = |kind: &Kind| (21001..99000).contains(&kind.logtype);
    compare(Format::Ecs, "ecs", |it| !ours(it));
    compare(Format::Ecs, "ecs_own", ours);
    compare(Format::Ocsf, "ocsf", |it| !ours(it));
    compare(Format::Ocsf, "ocsf_own", ours);
}
