//! Formats against what Python's own logging makes of them.

use serde_json::Value as Json;
use serin_event::{Endpoint, Event, Tainted, Timestamp, kinds};
use serin_services::conf::Setting as _;

use super::*;

fn record(utc_offset: i32) -> Record {
    let event = Event::new(&kinds::FTP_LOGIN)
        .with("USERNAME", Tainted::new(b"admin", 64))
        .with("PASSWORD", Tainted::new("100% é".as_bytes(), 64));
    Record {
        source: Endpoint { host: "192.0.2.7".parse().ok(), port: Some(42350) },
        target: Endpoint { host: "192.0.2.1".parse().ok(), port: Some(21) },
        ..Record::of(&event, Timestamp(1_795_296_991_007_389), utc_offset, "opencanary-1")
    }
}

/// `python.golden` was written by Python's own logging, see `python_golden.py`.
#[test]
fn every_format_gives_what_python_gives() {
    let mut wrong = Vec::new();
    for case in include_str!("python.golden").lines() {
        let case: Json = serde_json::from_str(case).unwrap();
        let text = |at: usize| case[at].as_str().unwrap();
        let offset = i32::try_from(case[3].as_i64().unwrap()).unwrap();
        let formatter = Formatter::new(text(1), text(2), Style::read(&case[0]).unwrap());
        let got = formatter.map(|it| Formatter { process: 4242, ..it }.format(&record(offset))).ok();
        if got.as_deref() != case[4].as_str() {
            wrong.push(format!("{case}\n  got {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_cannot_be_printed_is_refused_in_words() {
    let refused = |style, format, datefmt| Formatter::new(format, datefmt, style).unwrap_err();
    assert!(refused(Style::Percent, "%(lineno)d", "").starts_with("names \"lineno\"; known are asctime, "));
    assert_eq!(
        refused(Style::Percent, "%(message)r", ""),
        "asks for message as \"r\"; known are s d i u f F o x X"
    );
    assert_eq!(refused(Style::Percent, "%(message)9999s", ""), "has a width of 9999; at most 1000");
    assert_eq!(refused(Style::Percent, "text", ""), "has no directive, such as %(message)s");
    assert!(refused(Style::Percent, "%(asctime)s", "%J").starts_with("has a datefmt that cannot be used: "));
    assert_eq!(
        refused(Style::Percent, "%(message)*d", ""),
        "asks for message as \"*\"; known are s d i u f F o x X"
    );
}

#[test]
fn only_formats_with_the_whole_line_tell_events_apart() {
    let tells = |format| Formatter::new(format, "", Style::Percent).unwrap().tells_events_apart();
    assert!(tells("") && tells("%(process)d %(message)s"));
    assert!(!tells("%(asctime)s") && !tells("%(message).80s") && !tells("%(message)s\n%(name)s"));
}

#[test]
fn rounding_is_exact() {
    assert_eq!(fixed(2_500_000, 0), "2");
    assert_eq!(fixed(3_500_000, 0), "4");
    assert_eq!(fixed(1_999_999, 2), "2.00");
    assert_eq!(fixed(7, 9), "0.000007000");
    assert_eq!(float_text(-1_500_000), "-1.5");
}
