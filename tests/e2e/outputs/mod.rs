//! Outputs: everything arrives at the receiver, in its form, through outages.

mod chats;
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
mod mqtt;
mod nats;
mod otlp;
mod relp;
mod slack;
mod splunk;
mod syslog;
mod tcp;
mod webhook;

use serde_json::Value;
use serin_tests::{Sensor, Talk};

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
