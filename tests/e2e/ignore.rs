//! Ignore rules with the real program: what is kept quiet, what is not kept, what is counted.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use serin_store::{Query, Reader};
use serin_tests::{Receiver, Reply, Sensor, Setup, eventually};

use super::outputs::log_in;

/// Every stored login, oldest first: its user, and what was decided about it.
fn logins(sensor: &Sensor) -> Vec<(String, Value)> {
    let reader = Reader::open(sensor.state().join("serin.db")).expect("a store");
    let query = Query { logtypes: vec![2000], ..Query::default() };
    let records = reader.query(&query).expect("a store that can be read");
    let text = |it: &str| serde_json::from_str::<Value>(it).expect("JSON");
    records
        .iter()
        .map(|it| {
            let user = text(&it.logdata)["USERNAME"].as_str().expect("a user").to_owned();
            (user, text(&it.details)["IGNORED"].clone())
        })
        .collect()
}

/// The rules and their hits, as `serin ignore list` tells them.
fn hits(sensor: &Sensor, rule: &str) -> Value {
    let config = sensor.config().display().to_string();
    let outcome = sensor.ask(&["ignore", "list", "--json", "--config", &config]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let rows: Vec<Value> = serde_json::from_str(&outcome.out).expect("JSON");
    rows.into_iter().find(|it| it["name"] == rule).expect("the rule is listed")
}

#[test]
fn a_suppressed_login_is_stored_and_told_but_alerts_nobody() {
    let slack = Receiver::start(|_| Reply::new(200, "ok"));
    let mut sensor = Setup::of(&["ftp"])
        .output("chat", json!({ "type": "slack", "webhook_url": slack.url("/services/x"), "send": "events" }))
        .with(
            "ignore",
            json!([
                { "name": "quiet", "user": "USER0", "service": "ftp", "comment": "the backup" },
                { "name": "gone", "user": "user1", "action": "drop" },
                { "name": "less", "user": "user2", "action": "lower" },
                { "name": "old", "user": "user3", "expires": "2020-01-31" },
            ]),
        )
        .start();
    log_in(&sensor, 5);
    let seen = eventually("three alerts", || Some(slack.seen()).filter(|it| it.len() >= 3));
    let told: Vec<_> = seen.iter().map(|it| String::from_utf8_lossy(&it.body).into_owned()).collect();
    for (user, wanted) in
        [("user0", false), ("user1", false), ("user2", true), ("user3", true), ("user4", true)]
    {
        assert_eq!(told.iter().any(|it| it.contains(user)), wanted, "{user} in {told:#?}");
    }
    let stored = logins(&sensor);
    let users: Vec<_> = stored.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(users, ["user0", "user2", "user3", "user4"], "what is dropped is nowhere");
    assert_eq!(stored[0].1, json!({ "rule": "quiet", "action": "suppress" }));
    assert_eq!(stored[1].1, json!({ "rule": "less", "action": "lower" }));
    assert_eq!((&stored[2].1, &stored[3].1), (&Value::Null, &Value::Null));
    // The log has all that the store has.
    assert_eq!(sensor.wait_for(2000, 4).len(), 4);
    let expired = || sensor.lines().iter().filter(|it| it.line.contains("expired (2020-01-31)")).count();
    eventually("the expiry", || (expired() == 1).then_some(()));

    assert_eq!(hits(&sensor, "old")["expired"], true);
    assert_eq!(sensor.stop().code(), Some(0));
    for rule in ["quiet", "gone", "less"] {
        assert_eq!(hits(&sensor, rule)["hits"], 1, "{rule}");
    }
    sensor.start();
    log_in(&sensor, 1);
    // Saved while it runs, so that not even a crash costs them.
    eventually("the second hit", || (hits(&sensor, "quiet")["hits"] == 2).then_some(()));
    assert!(hits(&sensor, "quiet")["last_hit"].is_string());
    sensor.crash();
    assert_eq!(hits(&sensor, "quiet")["hits"], 2);
    let expired = sensor.lines().iter().filter(|it| it.line.contains("expired (2020-01-31)")).count();
    assert_eq!(expired, 1, "told once, restarts or not");
}

#[test]
fn a_file_of_rules_is_taken_when_it_changes_and_one_with_mistakes_is_not() {
    let setup = Setup::of(&["ftp"]);
    let folder = setup.folder().join("rules");
    fs::create_dir(&folder).expect("a folder");
    let write = |text: &str| fs::write(folder.join("own.toml"), text).expect("a file");
    write("");
    let sensor = setup.with("rules.files", folder.display().to_string()).start();
    log_in(&sensor, 1);
    write("[[ignore]]\nname = \"all of it\"\nservice = \"ftp\"\naction = \"drop\"\n");
    let said = |text: &str, times: usize| {
        eventually(text, || {
            let count = sensor.lines().iter().filter(|it| it.line.contains(text)).count();
            (count == times).then_some(())
        });
    };
    said("Configuration reloaded", 1);
    log_in(&sensor, 1);
    write("[[ignore]]\nname = \"all of it\"\nservic = \"ftp\"\nport = 99999\n");
    said("own.toml:3:1  ignore.0.servic: no such key; did you mean service?; and 1 more", 1);
    log_in(&sensor, 1);
    assert_eq!(hits_in_file(&sensor), 2, "the rules from before are still in force");
    fs::remove_file(folder.join("own.toml")).expect("a file");
    said("Configuration reloaded", 2);
    log_in(&sensor, 1);
    assert_eq!(sensor.wait_for(2000, 2).len(), 2);
    assert_eq!(logins(&sensor).len(), 2);
}

/// The hits that the sensor has saved, of all rules.
fn hits_in_file(sensor: &Sensor) -> u64 {
    let file = sensor.state().join("ignore.json");
    eventually("two hits", || {
        let tallies: Value = serde_json::from_slice(&fs::read(&file).ok()?).ok()?;
        let sum = tallies.as_object()?.values().filter_map(|it| it["hits"].as_u64()).sum::<u64>();
        (sum >= 2).then_some(sum)
    })
}

#[test]
fn a_rule_can_be_tried_on_what_is_stored_and_an_event_says_why() {
    let sensor = Setup::of(&["ftp"])
        .with("ignore", json!([{ "name": "quiet", "user": "user0" }, { "name": "gone", "user": "user2", "action": "drop" }]))
        .start();
    log_in(&sensor, 2);
    assert_eq!(sensor.wait_for(2000, 2).len(), 2);
    let config = sensor.config().display().to_string();
    let tried = sensor.ask(&["ignore", "test", "--toml", "service = \"ftp\"; user = \"user*\""]);
    assert_eq!(tried.status, 0, "{tried:?}");
    assert!(
        tried.out.contains("rule \"--toml\": 2 of these, from 1 sources, would have been kept quiet"),
        "{tried:?}"
    );
    assert!(tried.out.contains("tried to log in to FTP as user1"), "{tried:?}");
    let named = sensor.ask(&["ignore", "test", "--rule", "gone", "--config", &config]);
    assert!(
        named.out.contains("rule \"gone\": 0 of these, from 0 sources, would not have been stored"),
        "{named:?}"
    );
    let wrong = sensor.ask(&["ignore", "test", "--toml", "sevice = \"ftp\""]);
    assert_eq!(wrong.status, 1);
    assert!(wrong.err.contains("did you mean service?"), "{wrong:?}");

    let reader = Reader::open(sensor.state().join("serin.db")).expect("a store");
    let query = Query { logtypes: vec![2000], ..Query::default() };
    let numbers: Vec<_> = reader.query(&query).expect("events").iter().map(|it| it.seq.to_string()).collect();
    let why = |seq: &str| sensor.ask(&["events", "--why", seq, "--config", &config]);
    let listed = sensor.ask(&["events", "--kind", "ftp.login"]);
    assert!(listed.out.contains("as user0 (kept quiet by quiet)\n"), "{listed:?}");
    let first = why(&numbers[0]);
    assert!(
        first.out.contains("the ignore rule \"quiet\" decided when it was recorded (suppress)"),
        "{first:?}"
    );
    let second = why(&numbers[1]);
    assert!(
        second.out.contains("no ignore rule touched it") && second.out.contains("today, no ignore rule"),
        "{second:?}"
    );
    assert_eq!(why("999999").status, 1);
}

#[test]
fn opencanarys_lists_still_drop() {
    let mut sensor = Setup::of(&["ftp"]).with("ip.ignorelist", json!(["127.0.0.0/8"])).start();
    log_in(&sensor, 1);
    sensor.set("ip.ignorelist", json!([]));
    sensor.signal(Signal::SIGHUP);
    eventually("the reload", || {
        sensor.lines().iter().any(|it| it.line.contains("Configuration reloaded")).then_some(())
    });
    log_in(&sensor, 1);
    assert_eq!(sensor.wait_for(2000, 1).len(), 1);
    assert_eq!(logins(&sensor).len(), 1);
}
