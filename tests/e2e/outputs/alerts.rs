//! What people are told of real incidents, and when: pagers that open and resolve, quiet hours, digests.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use serin_store::{IncidentQuery, Reader};
use serin_tests::{Receiver, Reply, Sensor, Setup, Talk, client_in, eventually};

use super::{log_in, status};

fn taken() -> Reply {
    Reply::new(202, r#"{"status":"success","message":"Event processed"}"#)
}

fn pagerduty(receiver: &Receiver) -> Value {
    json!({ "type": "pagerduty", "routing_key": "R0UT1NG-KEY-0F-32-CHARACTERS-000", "url": receiver.url("/v2/enqueue") })
}

/// Action, key and severity of each event that the pager took.
fn paged(receiver: &Receiver) -> Vec<(String, String, String)> {
    let text = |it: &Value, pointer: &str| {
        it.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let of = |it: &Value| (text(it, "/event_action"), text(it, "/dedup_key"), text(it, "/payload/severity"));
    receiver.seen().iter().map(|it| of(&it.json())).collect()
}

#[test]
fn a_pager_opens_what_gets_worse_and_resolves_when_it_is_over() {
    let duty = Receiver::start(|_| taken());
    let sensor = Setup::of(&["ftp"]).with("incidents.window", 2).output("duty", pagerduty(&duty)).start();
    log_in(&sensor, 1);
    eventually("a page", || (!duty.seen().is_empty()).then_some(()));
    // More of the same becomes brute force, which is told at once.
    log_in(&sensor, 12);
    let all = eventually("the end of the incident", || {
        Some(paged(&duty)).filter(|it| it.last().is_some_and(|it| it.0 == "resolve"))
    });
    assert!(all.len() >= 3, "{all:#?}");
    assert_eq!(all.iter().filter(|it| it.0 == "resolve").count(), 1, "{all:#?}");
    assert!(!all[0].1.is_empty() && all.iter().all(|it| it.1 == all[0].1), "one key: {all:#?}");
    assert!(all[..all.len() - 1].iter().all(|it| it.0 == "trigger"), "{all:#?}");
    assert_eq!(all[0].2, "error", "{all:#?}");
}

#[test]
fn a_pager_that_was_away_learns_what_began_and_then_that_it_is_over() {
    let duty = Receiver::start(|_| Reply::new(503, "later"));
    let sensor = Setup::of(&["ftp"]).with("incidents.window", 1).output("duty", pagerduty(&duty)).start();
    log_in(&sensor, 1);
    eventually("the incident to be over", || {
        let reader = Reader::open(sensor.state().join("serin.db")).ok()?;
        let all = reader.incidents(&IncidentQuery::default()).ok()?;
        all.first().filter(|it| it.closed.is_some()).map(|_| ())
    });
    eventually("a refusal", || (!duty.seen().is_empty()).then_some(()));
    duty.answer(|_| taken());
    let before = duty.seen().len();
    sensor.signal(Signal::SIGHUP);
    let all = eventually("the end", || {
        let all = paged(&duty).split_off(before);
        all.last().is_some_and(|it| it.0 == "resolve").then_some(all)
    });
    let actions: Vec<_> = all.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(actions, ["trigger", "resolve"], "{all:#?}");
    assert_eq!(all[0].1, all[1].1);
}

fn slack(receiver: &Receiver, more: &Value) -> Value {
    let mut settings = json!({ "type": "slack", "webhook_url": receiver.url("/services/T0/B0/hidden") });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

/// One login each on FTP and telnet, and a look at git: three incidents.
fn three_incidents(sensor: &Sensor) {
    log_in(sensor, 1);
    let mut talk = Talk::to(sensor.port("telnet"));
    talk.until(": ");
    talk.say("operator\r\n");
    talk.until("assword: ");
    talk.say("s3cret-pw\r\n");
    let url = format!("git://127.0.0.1:{}/x.git", sensor.port("git"));
    assert_eq!(client_in(sensor.folder(), "git", &["ls-remote", &url], "").status, 128);
    eventually("three incidents at the output", || {
        let reader = Reader::open(sensor.state().join("serin.db")).ok()?;
        let told = reader.incidents(&IncidentQuery::default()).ok()?.len();
        let waiting = status(sensor, "chat")["lag_events"].as_u64()?;
        (told == 3 && waiting >= 3).then_some(())
    });
}

#[test]
fn a_digest_tells_three_incidents_in_one_message_at_the_latest_when_the_sensor_stops() {
    let chat = Receiver::start(|_| Reply::new(200, "ok"));
    let mut sensor =
        Setup::of(&["ftp", "git", "telnet"]).output("chat", slack(&chat, &json!({ "digest": 3600 }))).start();
    three_incidents(&sensor);
    assert!(chat.seen().is_empty(), "it gathers");
    assert!(sensor.stop().success());
    let seen = chat.seen();
    assert_eq!(seen.len(), 1);
    let text = seen[0].text();
    assert!(text.contains("3 incidents"), "{text}");
    for service in ["FTP", "telnet", "git"] {
        assert!(text.to_lowercase().contains(&service.to_lowercase()), "{service} in {text}");
    }
}

#[test]
fn in_quiet_hours_only_bait_is_told_and_the_rest_afterwards() {
    let chat = Receiver::start(|_| Reply::new(200, "ok"));
    let bait = json!([{ "username": "backup", "password": "Winter2026" }]);
    let mut sensor = Setup::of(&["ftp", "git", "telnet"])
        .with("ftp.honeycreds", bait)
        .output("chat", slack(&chat, &json!({ "quiet": "00:00-24:00" })))
        .start();
    three_incidents(&sensor);
    assert!(chat.seen().is_empty(), "people sleep");
    let mut talk = Talk::to(sensor.port("ftp"));
    talk.until("220 ");
    talk.say("USER backup\r\nPASS Winter2026\r\n");
    talk.until("530 ");
    eventually("the bait to be told", || (chat.seen().len() == 1).then_some(()));
    let text = chat.seen()[0].text();
    assert!(text.contains("backup") && text.contains("ritical"), "{text}");
    // The end of a sensor is no reason to wake anybody.
    assert!(sensor.stop().success());
    assert_eq!(chat.seen().len(), 1);
    sensor.set("outputs.chat.quiet", "");
    sensor.start();
    let told = eventually("the others", || {
        let all: String = chat.seen().iter().skip(1).map(|it| it.text().to_lowercase()).collect();
        (all.contains("telnet") && all.contains("git")).then_some(all)
    });
    assert!(told.contains("operator"), "{told}");
}
