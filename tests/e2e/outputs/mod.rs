//! Outputs: everything arrives at the receiver, in its form, through outages.

mod abuseipdb;
mod alerts;
mod chats;
mod crowdsec;
mod dshield;
mod elastic;
mod faults;
mod gelf;
mod handlers;
mod hpfeeds;
mod isc;
mod journald;
mod kafka;
mod loki;
mod mail;
mod misp;
mod mqtt;
mod nats;
mod otlp;
mod relp;
mod slack;
mod splunk;
mod syslog;
mod tcp;
mod webhook;

use std::path::Path;

use serde_json::Value;
use serin_event::{Endpoint, Event, Kind, Record, Timestamp};
use serin_store::{Options, Store};
use serin_tests::{Sensor, Setup, Talk};

/// Tries this many passwords on FTP, one connection each.
pub(crate) fn log_in(sensor: &Sensor, times: usize) {
    for number in 0..times {
        let mut talk = Talk::to(sensor.port("ftp"));
        talk.until("220 ");
        talk.say(format!("USER user{number}\r\n"));
        talk.until("331 ");
        talk.say("PASS s3cret-pw\r\n");
        talk.until("530 ");
    }
}

/// What `serin outputs status` says of one output; null before it said anything.
pub(crate) fn status(sensor: &Sensor, name: &str) -> Value {
    let answer = sensor.ask(&["outputs", "status", "--json"]);
    let all: Value = serde_json::from_str(&answer.out).unwrap_or_default();
    let found = all.as_array().into_iter().flatten().find(|it| it["name"] == name);
    found.cloned().unwrap_or_default()
}

/// A public address that nobody has since RFC 7526: whoever can touch a sensor here has a private one.
pub(crate) fn stranger(number: usize) -> String {
    format!("192.88.99.{number}")
}

/// What such a stranger did a second ago.
pub(crate) fn strangers(kind: &'static Kind, source: &str, target: &str) -> Record {
    let mut event = Event::new(kind);
    if kind.declares("USERNAME") {
        event = event.with("USERNAME", "root").with("PASSWORD", "pa\"ss\u{e4}");
    }
    if kind.declares("PATH") {
        event = event.with("PATH", "/wp-login.php").with("USERAGENT", "curl/8.5").with("METHOD", "GET");
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let time = Timestamp(i64::try_from(now.as_micros()).unwrap() - 1_000_000);
    Record {
        source: Endpoint { host: source.parse().ok(), port: Some(42350) },
        target: Endpoint {
            host: target.parse().ok(),
            port: Some(if kind.service == "http" { 80 } else { 22 }),
        },
        ..Record::of(&event, time, 0, "opencanary-1")
    }
}

/// What a sensor finds in its store when it starts.
pub(crate) fn store(setup: &Setup, records: Vec<Record>) {
    store_at(setup.folder(), records);
}

/// The same in the folder of a sensor that is stopped.
pub(crate) fn store_at(folder: &Path, mut records: Vec<Record>) {
    let state = folder.join("state");
    std::fs::create_dir_all(&state).unwrap();
    let (mut store, _) = Store::open(&Options::new(state.join("serin.db"))).unwrap();
    store.append(&mut records, &[]).unwrap();
}
