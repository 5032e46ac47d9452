//! Outputs: everything arrives at the receiver, in its form, through outages.

mod elastic;
mod hpfeeds;
mod loki;
mod otlp;
mod slack;
mod splunk;
mod webhook;

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
