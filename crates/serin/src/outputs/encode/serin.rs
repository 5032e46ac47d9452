//! Serin's own shape: everything that is known of a record, each value in its own type.
//!
//! `docs/event.schema.json` is its JSON Schema. New members may appear; what is there keeps its name
//! and meaning for as long as `version` stays.

use serde_json::{Map, Value, json};
use serin_event::{Endpoint, Record};

use super::event_id;

/// Counts the incompatible changes of this shape. OpenCanary's line is what comes before it.
const VERSION: u32 = 2;

/// One record.
pub(super) fn encode(record: &Record) -> Value {
    let mut event = Map::new();
    let mut set = |name: &str, value: Value| event.insert(name.to_owned(), value);
    set("version", json!(VERSION));
    set("id", json!(event_id(record)));
    set("seq", json!(record.seq));
    set("time", json!(record.time.rfc3339()));
    set("node", json!(&*record.node_id));
    set("kind", json!(record.kind.name));
    set("logtype", json!(record.kind.logtype));
    set("service", json!(record.kind.service));
    set("intent", json!(record.intent().name()));
    set("severity", json!(record.severity().name()));
    set("sentence", json!(record.sentence()));
    set("source", endpoint(record.source));
    set("target", endpoint(record.target));
    set("logdata", object(&record.logdata));
    set("details", object(&record.details));
    if record.session != 0 {
        // Text: the numbers exceed what JSON readers keep exactly.
        set("session", json!(format!("{:x}", record.session)));
    }
    if let Some(bait) = record.honeycred {
        set("honeycred", json!(bait));
    }
    if record.is_selftest() {
        set("selftest", json!(true));
    }
    event.into()
}

/// `null` when nothing is known of it.
fn endpoint(end: Endpoint) -> Value {
    match (end.host, end.port) {
        (None, None) => Value::Null,
        (host, port) => json!({ "ip": host.map(|it| it.to_string()), "port": port }),
    }
}

fn object(text: &str) -> Value {
    let members: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    members.into()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serin_event::{Event, Tainted, Timestamp, kinds, python_json};

    use super::*;

    const TIME: Timestamp = Timestamp(1_795_296_991_777_389);

    #[test]
    fn an_event_tells_everything_in_its_own_type() {
        let event = Event::new(&kinds::FTP_LOGIN)
            .with("USERNAME", Tainted::new("\u{e9}".as_bytes(), 64))
            .with("PASSWORD", Tainted::new(b"s3cret", 64));
        let end = |port| Endpoint { host: Some(Ipv4Addr::LOCALHOST.into()), port: Some(port) };
        let mut record = Record {
            seq: 7,
            session: u64::MAX,
            source: end(42350),
            target: end(21),
            honeycred: Some(true),
            ..Record::of(&event, TIME, 3600, "node")
        };
        record.add_detail(serin_event::SELFTEST, json!("1"));
        assert_eq!(
            python_json(&encode(&record)),
            r#"{"details": {"SELFTEST": "1"}, "honeycred": true, "id": "node-7", "intent": "bait", "kind": "ftp.login", "logdata": {"PASSWORD": "s3cret", "USERNAME": "\u00e9"}, "logtype": 2000, "node": "node", "selftest": true, "sentence": "127.0.0.1 tried to log in to FTP as \u00e9", "seq": 7, "service": "ftp", "session": "ffffffffffffffff", "severity": "critical", "source": {"ip": "127.0.0.1", "port": 42350}, "target": {"ip": "127.0.0.1", "port": 21}, "time": "2026-11-21T21:36:31.777389Z", "version": 2}"#
        );
    }

    #[test]
    fn what_is_not_known_is_null_or_absent() {
        let record = Record::of(&Event::saying(&kinds::MESSAGE, "hello"), TIME, 0, "node");
        let encoded = encode(&record);
        assert_eq!((&encoded["source"], &encoded["target"]), (&Value::Null, &Value::Null));
        assert_eq!((encoded.get("session"), encoded.get("selftest")), (None, None));
    }

    /// Both are read here, so that neither changes alone.
    #[test]
    fn the_published_schema_knows_every_member() {
        let schema = include_str!("../../../../../docs/event.schema.json");
        let schema: Value = serde_json::from_str(schema).unwrap();
        let record = Record {
            session: 1,
            honeycred: Some(false),
            ..Record::of(&Event::new(&kinds::FTP_LOGIN), TIME, 0, "node")
        };
        let encoded = encode(&record);
        for name in encoded.as_object().unwrap().keys() {
            assert!(schema["properties"].get(name).is_some(), "{name} is not in the schema");
        }
        for name in schema["required"].as_array().unwrap() {
            assert!(encoded.get(name.as_str().unwrap()).is_some(), "{name} is required");
        }
        assert_eq!(schema["properties"]["version"]["const"], json!(VERSION));
        let words = |name: &str| schema["properties"][name]["enum"].clone();
        assert_eq!(words("intent"), json!(serin_event::Intent::ALL.map(serin_event::Intent::name)));
        assert_eq!(words("severity"), json!(serin_event::Severity::ALL.map(serin_event::Severity::name)));
    }
}
