//! What each receiver is sent: compared with `golden.json`, which `UPDATE=1` writes anew.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use serin_event::{Endpoint, Event, Intent, Record, Severity, Tainted, Timestamp, kinds};
use serin_services::conf::Conf;

use crate::incidents::{Change, Notice};
use crate::outputs::{Output, by_name};

const NAMES: [&str; 10] = [
    "discord",
    "googlechat",
    "mattermost",
    "ntfy",
    "pagerduty",
    "pushover",
    "rocketchat",
    "slack",
    "teams",
    "telegram",
];

/// What somebody might call himself.
const HOSTILE: &str =
    "@everyone <!channel> *b* _i_ ](http://x.example) <b>&amp;\u{1b}[31m\u{202e}`|~ <users/all>";

fn output(name: &str, settings: &[(&str, Value)]) -> Box<dyn Output> {
    let mut conf = Conf::new();
    for (key, value) in [
        ("webhook_url", "https://chat.example/hidden"),
        ("token", "hidden"),
        ("user", "whom"),
        ("topic", "alerts"),
        ("chat", "-100"),
        ("routing_key", "hidden"),
    ] {
        let key = format!("{name}.{key}");
        if by_name(name).unwrap().settings().any(|it| it.name == key) && key != "ntfy.user" {
            conf.set(key, value);
        }
    }
    conf.set("alerts.link", "https://canary.example:8737");
    for (key, value) in settings {
        conf.set(*key, value.clone());
    }
    (by_name(name).unwrap().build)(&conf).unwrap()
}

fn notice(change: Change) -> Notice {
    let time = |seconds: i64| Timestamp(1_795_296_991_000_000 + seconds * 1_000_000);
    let about = json!({ "name": "laptop-7", "vendor": "Dell", "country": "NL", "asn": 64_500 });
    Notice {
        id: "node-7".to_owned(),
        change,
        severity: Severity::High,
        intent: Intent::Login,
        service: "ssh".to_owned(),
        rule: "touch".to_owned(),
        sentence: format!("10.0.0.5 tried 3 passwords on SSH as {HOSTILE}"),
        source: "10.0.0.5".parse().ok(),
        about_source: about.as_object().unwrap().clone(),
        targets: vec!["10.0.0.9".to_owned()],
        ports: vec![22],
        count: 3,
        first: time(0),
        last: time(61),
        users: vec!["root".to_owned(), HOSTILE.to_owned()],
        labels: vec!["nessus".to_owned()],
        samples: vec!["10.0.0.5 connected to SSH".to_owned(), format!("10.0.0.5 tried {HOSTILE}")],
        test: false,
        ..Notice::test(String::new(), time(61))
    }
}

fn record(notice: &Notice, seq: u64) -> Record {
    let source = Endpoint { host: notice.source, port: None };
    Record { seq, source, ..Record::of(&notice.to_event(), notice.last, 3600, "node") }
}

fn message(name: &str, record: &Record) -> Value {
    serde_json::from_slice(&output(name, &[]).encode(record).unwrap()).unwrap()
}

#[test]
fn cards_look_as_they_did() {
    let mut found = Map::new();
    for name in NAMES {
        found.insert(name.to_owned(), message(name, &record(&notice(Change::Opened), 7)));
    }
    found.insert("pagerduty, closed".to_owned(), message("pagerduty", &record(&notice(Change::Closed), 9)));
    let text = serde_json::to_string_pretty(&found).unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/outputs/chat/golden.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert!(text == golden, "cards have changed; see the difference with UPDATE=1:\n{text}");
}

#[test]
fn nothing_that_a_peer_chose_has_power() {
    for name in NAMES {
        let text = message(name, &record(&notice(Change::Opened), 7)).to_string();
        assert!(!text.contains('\u{202e}') && !text.contains("\\u001b["), "{name}: {text}");
        let powers: &[&str] = match name {
            // Plain text without anything that could have power.
            "ntfy" | "pushover" | "telegram" | "pagerduty" => &["parse_mode", "\"html\"", "\"markdown\""],
            "slack" => &["<!channel>", "<b>", "<users"],
            "googlechat" => &["<b>", "<users/all>"],
            "discord" | "mattermost" | "rocketchat" => &["@everyone", " *b", " _i_", "](", " <"],
            _ => &[" *b", " _i_", "](", " <"],
        };
        for power in powers {
            assert!(!text.contains(power), "{name} gives power to {power}: {text}");
        }
    }
    let discord = message("discord", &record(&notice(Change::Opened), 7));
    assert_eq!(discord["allowed_mentions"], json!({ "parse": [] }));
    let slack = message("slack", &record(&notice(Change::Opened), 7));
    assert_eq!(slack["attachments"][0]["mrkdwn_in"], json!([]));
    let telegram = message("telegram", &record(&notice(Change::Opened), 7));
    assert!(
        telegram.get("parse_mode").is_none() && telegram["text"].as_str().unwrap().contains("<!channel>")
    );
}

/// The largest that a peer can bring about fits into what each receiver takes.
#[test]
fn the_largest_message_fits() {
    let wide = "\u{10348}*".repeat(4000);
    let large = Notice {
        sentence: wide.clone(),
        users: vec![wide.clone(); 50],
        labels: vec![wide.clone(); 50],
        targets: vec![wide.clone(); 50],
        samples: vec![wide; 50],
        ..notice(Change::Opened)
    };
    for name in NAMES {
        let message = message(name, &record(&large, 7));
        let most = match name {
            "discord" => 6000,
            "teams" => 28_000,
            "googlechat" => 32_000,
            "pagerduty" => 512 * 1024,
            _ => 64 * 1024,
        };
        assert!(message.to_string().len() <= most, "{name}: {}", message.to_string().len());
        let length = |pointer: &str| message.pointer(pointer).map_or(0, |it| it.as_str().unwrap().len());
        assert!(length("/text") <= 4096 && length("/payload/summary") <= 4 * 1024, "{name}");
        let most = if name == "pushover" { 1024 } else { 4096 };
        assert!(length("/message") <= most, "{name}: {}", length("/message"));
        for field in message.pointer("/embeds/0/fields").and_then(Value::as_array).into_iter().flatten() {
            assert!(field["value"].as_str().unwrap().chars().count() <= 1024);
        }
    }
}

#[test]
fn opencanarys_card_for_teams_is_kept_to_the_letter() {
    let event = Event::new(&kinds::FTP_LOGIN)
        .with("USERNAME", Tainted::new(b"admin", 64))
        .with("PASSWORD", Tainted::new(b"s3cret", 64));
    let record = Record {
        source: Endpoint { host: "10.0.0.5".parse().ok(), port: Some(42_350) },
        target: Endpoint { host: "10.0.0.9".parse().ok(), port: Some(21) },
        honeycred: Some(false),
        ..Record::of(&event, Timestamp(1_795_296_991_777_389), 0, "opencanary-1")
    };
    let settings = [("teams.layout", json!("opencanary")), ("delivery.send", json!("events"))];
    let message: Value =
        serde_json::from_slice(&output("teams", &settings).encode(&record).unwrap()).unwrap();
    let fact = |title: &str, value: &str| json!({ "title": title, "value": value });
    let time = "2026-11-21 21:36:31.777389";
    let wanted = json!({ "attachments": [{
        "contentType": "application/vnd.microsoft.card.adaptive",
        "content": {
            "type": "AdaptiveCard",
            "$schema": "https://adaptivecards.io/schemas/adaptive-card.json",
            "version": "1.5",
            "body": [
                { "type": "ColumnSet", "columns": [
                    { "type": "Column", "width": "auto", "items": [{
                        "type": "Image",
                        "url": "https://resources.canary.tools/images/open-canary-green_logo.png",
                        "width": "82px",
                        "horizontalAlignment": "Left",
                    }] },
                    { "type": "Column", "items": [
                        { "type": "TextBlock", "text": "\u{a0}", "size": "Small" },
                        { "type": "TextBlock", "text": "OpenCanary Alert", "weight": "Bolder", "size": "ExtraLarge" },
                    ] },
                ] },
                { "type": "FactSet", "facts": [
                    fact("dst_host", "10.0.0.9"), fact("dst_port", "21"), fact("honeycred", "False"),
                    fact("local_time", time), fact("local_time_adjusted", time),
                    fact("logdata__password", "s3cret"), fact("logdata__username", "admin"),
                    fact("logtype", "2000"), fact("node_id", "opencanary-1"), fact("src_host", "10.0.0.5"),
                    fact("src_port", "42350"), fact("utc_time", time),
                ] },
            ],
        },
    }] });
    assert_eq!(message, wanted);
    assert_eq!(
        super::teams::python(&json!([null, true, "it's", { "a\n": 1 }])),
        r#"[None, True, "it's", {'a\n': 1}]"#
    );
}

#[test]
fn what_is_missing_is_said() {
    for name in NAMES {
        let complaints = (by_name(name).unwrap().build)(&Conf::new()).unwrap_err();
        let mut told = String::new();
        for complaint in complaints {
            let _ = write!(told, "{}: {}; ", complaint.key, complaint.text);
        }
        assert!(told.contains(name) && told.contains("missing"), "{name}: {told}");
    }
}
