//! What the golden file cannot say: rules that hold for every kind.

use serde_json::json;
use serin_event::{Event, Tainted, Timestamp, kinds};

use super::super::tests::record;
use super::*;

#[test]
fn every_kind_has_its_row_and_every_row_fields_that_exist() {
    for kind in kinds::ALL {
        let row = table::row(kind);
        assert!(row.is_some(), "{} has no mapping", kind.name);
    }
    let declared = |name: &str| kinds::ALL.iter().any(|kind| kind.declares(name));
    for row in kinds::ALL.iter().filter_map(|it| table::row(it)) {
        for (name, _) in row.fields {
            assert!(declared(name), "no kind has a field {name}");
        }
        assert!(row.action_field.is_empty() || declared(row.action_field), "{}", row.action_field);
    }
}

/// <https://www.elastic.co/docs/reference/ecs/ecs-category-field-values-reference>: which types a
/// category allows.
#[test]
fn categories_go_with_types_that_they_allow() {
    let allowed = |category: &str| -> &[&str] {
        match category {
            "authentication" => &["start", "end", "info"],
            "database" => &["access", "change", "info", "error"],
            "configuration" | "file" => &["access", "change", "creation", "deletion", "info"],
            "host" => &["access", "change", "end", "info", "start"],
            "intrusion_detection" => &["allowed", "denied", "info"],
            "network" => &["access", "allowed", "connection", "denied", "end", "info", "protocol", "start"],
            "web" => &["access", "error", "info"],
            _ => panic!("{category} is no category"),
        }
    };
    for kind in kinds::ALL {
        let row = mapping(kind);
        for it in row.category {
            let common = row.types.iter().any(|one| allowed(it).contains(one));
            assert!(common, "{}: {it} allows none of {:?}", kind.name, row.types);
        }
    }
}

#[test]
fn an_outcome_and_a_kind_say_what_really_happened() {
    let login = record(&kinds::SSH_LOGIN);
    assert_eq!(encode(&login)["event"]["outcome"], "failure");
    let bait = Record { honeycred: Some(true), ..login.clone() };
    assert_eq!(encode(&bait)["event"]["outcome"], "success");
    let ftp = Record { honeycred: Some(true), ..record(&kinds::FTP_LOGIN) };
    assert_eq!(encode(&ftp)["event"]["outcome"], "failure", "nobody gets into FTP");
    assert_eq!(encode(&ftp)["opencanary"]["honeycred"], true);
    let mut known = login.clone();
    known.add_detail("LABEL", json!(["nessus"]));
    known.add_detail("IGNORED", json!({ "rule": "scanner", "action": "suppress" }));
    assert_eq!(encode(&known)["tags"], json!(["nessus", "ignored"]));
    let mut test = login;
    test.add_detail(serin_event::SELFTEST, json!("1"));
    let test = encode(&test);
    assert_eq!((&test["event"]["kind"], &test["tags"]), (&json!("event"), &json!(["selftest"])));
}

#[test]
fn enrichment_has_its_homes() {
    let mut record = record(&kinds::FTP_LOGIN);
    record.add_detail(
        "SOURCE",
        json!({ "name": "laptop-7", "mac": "00:1b:2c:3d:4e:5f", "vendor": "Acme", "country": "DE",
                "asn": "AS64496", "organisation": "Example" }),
    );
    let source = &encode(&record)["source"];
    assert_eq!(
        source,
        &json!({ "address": "10.0.0.5", "ip": "10.0.0.5", "port": 42350, "domain": "laptop-7",
                 "mac": "00-1B-2C-3D-4E-5F", "geo": { "country_iso_code": "DE" },
                 "as": { "number": 64496, "organization": { "name": "Example" } } })
    );
}

#[test]
fn what_peers_name_themselves_is_never_a_field_name() {
    let event = Event::new(&kinds::SIP_REQUEST).with(
        "HEADERS",
        serin_event::Value::Map(vec![(Tainted::new(b"x-evil.name", 64), Tainted::new(b"1", 64).into())]),
    );
    let document = encode(&Record::of(&event, Timestamp(0), 0, "node"));
    assert_eq!(document["opencanary"]["sip"], json!({ "headers": "{\"x-evil.name\": \"1\"}" }));
}
