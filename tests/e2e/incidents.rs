//! Incidents: what a person is told, once, whatever happens in between.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use serin_store::{IncidentQuery, Query, Reader};
use serin_tests::{Receiver, Reply, Sensor, Setup, Talk, client, eventually};

fn log_in(sensor: &Sensor, user: &str) {
    let mut talk = Talk::to(sensor.port("ftp"));
    talk.until("220 ");
    talk.say(format!("USER {user}\r\nPASS s3cret-pw\r\n"));
    talk.until("530 ");
}

/// What was told so far: id, change, count and sentence of each notice.
fn told(sensor: &Sensor) -> Vec<(String, String, u64, String)> {
    let Ok(reader) = Reader::open(sensor.state().join("serin.db")) else { return Vec::new() };
    let notices = reader.query(&Query { logtypes: vec![22001], limit: 100_000, ..Query::default() });
    let read = |logdata: &str| {
        let it: Value = serde_json::from_str(logdata).expect("JSON");
        let text = |name: &str| it[name].as_str().unwrap_or_default().to_owned();
        (text("ID"), text("CHANGE"), it["COUNT"].as_u64().unwrap_or_default(), text("SENTENCE"))
    };
    notices.expect("a store").iter().map(|it| read(&it.logdata)).collect()
}

#[test]
fn a_thousand_failed_logins_are_one_incident_and_a_handful_of_messages() {
    let slack = Receiver::start(|_| Reply::new(200, "ok"));
    let sensor = Setup::of(&["ftp"])
        .with("incidents.window", 2)
        .output("chat", json!({ "type": "slack", "webhook_url": slack.url("/services/T0/B0/hidden") }))
        .start();
    let sensor = &sensor;
    std::thread::scope(|scope| {
        for nth in 0..10 {
            scope.spawn(move || (0..100).for_each(|it| log_in(sensor, &format!("u{}", (nth + it) % 4))));
        }
    });
    let all = eventually("the end of the incident", || {
        Some(told(sensor)).filter(|it| it.last().is_some_and(|it| it.1 == "closed"))
    });
    assert_eq!(all.iter().filter(|it| it.1 == "opened").count(), 1, "{all:#?}");
    assert!(all.len() <= 5, "{all:#?}");
    let end = all.last().expect("the last");
    assert_eq!(end.2, 1000, "{end:?}");
    assert!(end.3.starts_with("127.0.0.1 ") && end.3.ends_with(" and others"), "{end:?}");
    assert!(end.3.contains("is guessing passwords on FTP of opencanary-1: 1,000 tries for u"), "{end:?}");
    let listed = sensor.ask(&["incidents", "--json"]).out;
    assert_eq!(listed.lines().count(), 1, "{listed}");
    // The channel leaves out what a chat need not be told.
    eventually("a message", || (!slack.seen().is_empty()).then_some(()));
    assert!(slack.seen().len() <= all.len());
    let metrics = format!("http://127.0.0.1:{}/metrics", sensor.port("console"));
    let metrics = client("curl", &["-sS", &metrics]).out;
    assert!(metrics.contains("serin_incidents_opened_total 1"), "{metrics}");
    assert!(metrics.contains("serin_incidents_open 0"), "{metrics}");
}

#[test]
fn kills_at_any_moment_open_nothing_twice_and_lose_nothing() {
    let mut sensor = Setup::of(&["ftp", "git"]).with("incidents.window", 3600).start();
    let mut logins = 0;
    for round in 0..6_u64 {
        for _ in 0..=round {
            log_in(&sensor, "root");
            logins += 1;
        }
        let (url, folder) = (format!("git://127.0.0.1:{}/x.git", sensor.port("git")), sensor.folder());
        assert_eq!(serin_tests::client_in(folder, "git", &["ls-remote", &url], "").status, 128);
        // Durable is what the log has; what is made of it may be half-way, or told.
        let _ = sensor.wait_for(2000, logins);
        let _ = sensor.wait_for(16001, usize::try_from(round).expect("small") + 1);
        if round % 2 == 1 {
            eventually("something told", || (!told(&sensor).is_empty()).then_some(()));
        }
        sensor.crash();
        sensor.start();
    }
    let reader = Reader::open(sensor.state().join("serin.db")).expect("a store");
    let open = eventually("all events in incidents", || {
        let open = reader.incidents(&IncidentQuery::default()).expect("a store");
        let count: u64 = open.iter().map(|it| it.count).sum();
        (count >= logins as u64 + 6).then_some(open)
    });
    assert_eq!(open.iter().map(|it| it.count).sum::<u64>(), logins as u64 + 6, "{open:#?}");
    assert_eq!(open.len(), 2, "{open:#?}");
    let all = told(&sensor);
    let mut opened: BTreeMap<&str, usize> = BTreeMap::new();
    for (id, change, ..) in &all {
        *opened.entry(id).or_default() += usize::from(change == "opened");
    }
    assert_eq!(opened.len(), 2, "{all:#?}");
    assert!(opened.values().all(|it| *it == 1), "{all:#?}");
    assert!(all.len() <= 4, "two are opened, and one becomes brute force: {all:#?}");
}

#[test]
fn incidents_are_listed_shown_and_acknowledged_beside_the_sensor() {
    let sensor = Setup::of(&["ftp"]).start();
    log_in(&sensor, "alice");
    log_in(&sensor, "=cmd()");
    let (id, ..) = eventually("an incident", || told(&sensor).into_iter().next());
    let list = sensor.ask(&["incidents", "--open", "--severity", "high", "--source", "127.0.0.0/8"]);
    assert_eq!(list.status, 0, "{list:?}");
    assert!(list.out.contains(&id) && list.out.contains("for alice"), "{list:?}");
    assert!(!list.out.contains("s3cret-pw"), "a password on a screen: {list:?}");
    let csv = sensor.ask(&["incidents", "--csv", "--service", "ftp", "--since", "1h"]).out;
    assert_eq!(csv.lines().count(), 2, "{csv}");
    assert_eq!(sensor.ask(&["incidents", "--service", "ssh"]).out, "");
    let ack = sensor.ask(&["incidents", "ack", &id, "--note", "a drill", "--by", "ann"]);
    assert_eq!((ack.status, ack.out), (0, format!("{id} is acknowledged by ann\n")));
    let shown = sensor.ask(&["incidents", "show", &id]);
    for wanted in ["seen by      ann", "note         a drill", "tried to log in to FTP as alice"] {
        assert!(shown.out.contains(wanted), "{wanted} in {shown:?}");
    }
    let json: Value =
        serde_json::from_str(&sensor.ask(&["incidents", "show", &id, "--json"]).out).expect("JSON");
    assert_eq!((&json["acknowledged_by"], &json["events"][0]["logtype"]), (&json!("ann"), &json!(2000)));
    let wrong = sensor.ask(&["incidents", "ack", "nothing-1"]);
    assert_eq!(wrong.status, 1);
    assert!(wrong.err.contains("there is no incident"), "{wrong:?}");
    // The sensor goes on with the incident, and keeps who has seen it.
    log_in(&sensor, "carol");
    assert_eq!(sensor.ask(&["incidents", "show", &id]).out.matches("seen by").count(), 1);
}

#[test]
fn settings_apply_without_a_restart() {
    let mut sensor = Setup::of(&["ftp"]).with("incidents.enabled", false).start();
    log_in(&sensor, "before");
    let _ = sensor.wait_for(2000, 1);
    eventually("the login to be passed over", || {
        let reader = Reader::open(sensor.state().join("serin.db")).ok()?;
        let login = reader.query(&Query { logtypes: vec![2000], ..Query::default() }).ok()?.pop()?;
        let place = reader.readers().ok()?.into_iter().find(|it| it.name == "@incidents")?;
        (place.cursor >= login.seq).then_some(())
    });
    sensor.set("incidents.enabled", true);
    sensor.set("incidents.window", 1);
    sensor.signal(nix::sys::signal::Signal::SIGHUP);
    let _ = sensor.wait_for(1005, 1);
    log_in(&sensor, "after");
    let all = eventually("the end of the incident", || {
        Some(told(&sensor)).filter(|it| it.last().is_some_and(|it| it.1 == "closed"))
    });
    assert!(all.iter().all(|it| it.2 == 1 && it.3.contains("after")), "{all:#?}");
}
