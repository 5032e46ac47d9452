//! `serin selftest`: every service recorded its visitor, every output delivered it, and what fails is
//! named. Signs of life.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use serin_tests::{Receiver, Reply, Setup, client, eventually};

use crate::outputs::{log_in, status};

const SERVICES: [&str; 8] = ["ftp", "git", "http", "https", "httpproxy", "ssh", "tcpbanner", "telnet"];

#[test]
fn every_service_and_output_is_tried_and_nothing_looks_like_an_intruder() {
    let slack = Receiver::start(|_| Reply::new(200, "ok"));
    let sensor = Setup::of(&SERVICES)
        .output("ops", json!({ "type": "slack", "webhook_url": slack.url("/services/hidden") }))
        .with("ip.ignorelist", json!(["127.0.0.1"]))
        .with("ssh.honeycreds", json!([{ "username": "serin-selftest", "password": "serin-selftest" }]))
        .start();
    let report = sensor.ask(&["selftest", "--json"]);
    let told: Value = serde_json::from_str(&report.out).unwrap_or_else(|_| panic!("{}", report.words()));
    assert_eq!(report.status, 0, "{told:#}");
    let services = told["services"].as_array().unwrap();
    let names: Vec<_> = services.iter().map(|it| it["service"].as_str().unwrap()).collect();
    assert_eq!(names, ["ftp", "git", "http", "httpproxy", "https", "ssh", "tcpbanner", "telnet"]);
    let outputs = told["outputs"].as_array().unwrap();
    let outcome = |name: &str| outputs.iter().find(|it| it["output"] == name).unwrap()["outcome"].clone();
    assert_eq!(outcome("file"), "delivered: written to the file and synced to the disk");
    assert_eq!(outcome("ops"), "delivered: accepted by Slack");
    // Labelled in the log, for whoever would take it for an attack.
    let events = sensor.events();
    let touches: Vec<_> = events.iter().filter(|it| it.json["src_host"] == "127.0.0.1").collect();
    assert!(touches.len() >= SERVICES.len(), "{touches:#?}");
    assert!(touches.iter().all(|it| it.json["selftest"] == true), "{touches:#?}");
    assert!(touches.iter().all(|it| it.json["honeycred"] != true));
    let seen = slack.seen();
    assert_eq!(seen.len(), 1, "one message tells the whole test");
    assert!(seen[0].text().contains("Self-test: all 8 services recorded the visitor; nothing happened"));
    // Somebody else on the same address is an intruder, or would be if he were not ignored.
    let _ = client("curl", &["-s", "-m", "5", &format!("http://127.0.0.1:{}/x", sensor.port("http"))]);
    let printed = sensor.ask(&["selftest", "ftp"]);
    assert_eq!(printed.status, 0, "{}", printed.words());
    assert!(printed.out.contains("recorded ftp.login in "), "{}", printed.out);
    assert!(sensor.events().iter().all(|it| it.json["logdata"]["PATH"] != "/x"));
}

#[test]
fn what_fails_is_named_and_is_an_alert_itself() {
    let dead = Receiver::start(|_| Reply::new(404, "no_service"));
    let works = Receiver::start(|_| Reply::new(200, "ok"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sensor = Setup::of(&["ftp", "git"])
        .output("dead", json!({ "type": "slack", "webhook_url": dead.url("/services/hidden-dead") }))
        .output("works", json!({ "type": "slack", "webhook_url": works.url("/services/hidden") }))
        .with("telnet.enabled", true)
        .with("telnet.port", taken.local_addr().unwrap().port())
        .start();
    let report = sensor.ask(&["selftest"]);
    assert_eq!(report.status, 1, "{}", report.words());
    let line = |name: &str| report.out.lines().find(|it| it.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("telnet").contains("FAILED: telnet.port: "), "{}", report.out);
    assert!(line("ftp").contains("recorded ftp.login"), "{}", report.out);
    assert!(line("dead").contains("NOT delivered, needs attention: HTTP 404: no_service"), "{}", report.out);
    assert!(line("works").contains("delivered: accepted by Slack"), "{}", report.out);
    assert!(!report.out.contains("hidden"), "{}", report.out);
    assert!(works.seen().iter().any(|it| it.text().contains("Self-test failed: telnet telnet.port: ")));
    let unknown = sensor.ask(&["selftest", "gopher"]);
    assert!(unknown.status == 1 && unknown.out.contains("is not served here"), "{}", unknown.words());
}

#[test]
fn what_waits_from_before_delays_no_test_and_an_outage_is_told_at_once() {
    let gathers = Receiver::start(|_| Reply::new(200, "ok"));
    let down = Receiver::start(|_| Reply::new(503, "down"));
    let settings =
        |receiver: &Receiver| json!({ "type": "slack", "webhook_url": receiver.url("/services/hidden") });
    let mut digest = settings(&gathers);
    digest["digest"] = json!(3600);
    let sensor = Setup::of(&["ftp"]).output("gathers", digest).output("down", settings(&down)).start();
    log_in(&sensor, 1);
    eventually("the outage to show", || (status(&sensor, "down")["state"] == "backing-off").then_some(()));
    let began = Instant::now();
    let report = sensor.ask(&["selftest"]);
    assert!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
    assert_eq!(report.status, 1, "{}", report.words());
    let line = |name: &str| report.out.lines().find(|it| it.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("gathers").contains("delivered: accepted by Slack"), "{}", report.out);
    let told = line("down");
    assert!(told.contains("events behind, is tried again: HTTP 503: down"), "{}", report.out);
    assert_eq!(gathers.seen().len(), 1, "the incident still gathers");
}

#[test]
fn without_a_sensor_there_is_nobody_to_ask() {
    let mut sensor = Setup::of(&["ftp"]).start();
    sensor.stop();
    let told = sensor.ask(&["selftest"]);
    assert_eq!(told.status, 1);
    assert!(told.err.contains("no sensor is running with the state folder"), "{}", told.words());
}

#[test]
fn a_sensor_shows_that_it_lives_and_tries_itself_on_schedule() {
    let switch = Receiver::start(|_| Reply::new(200, "OK"));
    let sensor = Setup::of(&["ftp"])
        .with("heartbeat.every", 1)
        .with("heartbeat.url", switch.url("/ping/hidden"))
        .with("heartbeat.url_every", 1)
        .with("selftest.every", 1)
        .start();
    let beat = &sensor.wait_for(1004, 2)[0];
    assert!(beat.logdata().contains("alive: 1 ports served"), "{}", beat.line);
    let seen = eventually("two signs of life", || Some(switch.seen()).filter(|it| it.len() >= 2));
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("GET", "/ping/hidden"));
    let tested = sensor.wait_for(2000, 1);
    assert_eq!(tested[0].json["selftest"], true);
    switch.answer(|_| Reply::new(500, "down"));
    let told = eventually("that the switch is out of reach", || {
        sensor.lines().into_iter().find(|it| it.logtype() == 1003)
    });
    assert!(told.line.contains("did not take the sign of life: HTTP 500: down"), "{}", told.line);
    assert!(!sensor.said().contains("hidden"));
}
