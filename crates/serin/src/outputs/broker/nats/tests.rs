//! What a stream answers, and what settings are refused.

use serin_services::conf::Conf;

use super::*;
use crate::outputs;

fn nats() -> Nats {
    Nats {
        address: Address::read("nats.server", "127.0.0.1", 4222).unwrap(),
        tls: tls::config(&Conf::new()).unwrap(),
        insist_on_tls: false,
        identity: Identity::default(),
        subject: "opencanary".to_owned(),
        jetstream: true,
        format: Format::OpenCanary,
        connection: None,
        patience: Patience::default(),
        stream: None,
        warning: None,
    }
}

#[test]
fn a_streams_answer_decides() {
    let mut nats = nats();
    let mut judge = |text: &str| nats.judge(text.as_bytes());
    assert_eq!(judge(r#"{"stream":"CANARY","seq":7}"#), Outcome::Delivered);
    assert_eq!(judge(r#"{"stream":"CANARY","seq":7,"duplicate":true}"#), Outcome::Duplicate);
    let refused = |code, err_code| {
        format!(
            r#"{{"error":{{"code":{code},"err_code":{err_code},"description":"no"}},"stream":"X","seq":0}}"#
        )
    };
    assert!(matches!(judge(&refused(503, 10077)), Outcome::Retry { .. }), "the disk of the store is full");
    assert!(matches!(judge(&refused(400, 10054)), Outcome::Reject(_)));
    assert!(matches!(judge(&refused(503, 10076)), Outcome::Hold(_)), "JetStream is not enabled");
    assert!(matches!(judge(&refused(400, 10109)), Outcome::Hold(_)), "the stream is sealed");
    assert!(matches!(judge("hello"), Outcome::Hold(_)));
    assert!(matches!(judge("{}"), Outcome::Hold(_)));
    assert_eq!(nats.receipt().unwrap(), "stream CANARY has it as number 7");
}

#[test]
fn settings_are_checked() {
    let complaints = |settings: &[(&str, &str)]| {
        let mut conf = Conf::new();
        for (key, value) in settings {
            conf.set((*key).to_owned(), *value);
        }
        let complaints = outputs::check(&OUTPUT, &conf).err().unwrap_or_default();
        complaints.into_iter().map(|it| it.key).collect::<Vec<_>>()
    };
    assert_eq!(complaints(&[]), ["nats.server"]);
    assert_eq!(complaints(&[("nats.server", "a")]), Vec::<String>::new());
    assert_eq!(complaints(&[("nats.server", "a"), ("nats.subject", "a.>")]), ["nats.subject"]);
    assert_eq!(complaints(&[("nats.server", "a"), ("nats.subject", "a..b")]), ["nats.subject"]);
    assert_eq!(complaints(&[("nats.server", "a"), ("nats.nkey", "SUnonsense")]), ["nats.nkey"]);
    assert_eq!(complaints(&[("nats.server", "a"), ("nats.credentials", "x")]), ["nats.credentials"]);
    assert_eq!(
        complaints(&[("nats.server", "a"), ("nats.token", "t"), ("nats.user", "u")]),
        ["nats.token"],
        "one way to log in"
    );
}
