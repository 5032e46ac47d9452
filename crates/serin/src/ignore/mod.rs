//! Ignore rules: what an operator knows to be harmless is kept quiet, made less of, or not kept at all.
//!
//! The first rule that an event meets decides, in the order of the configuration. The decision is taken
//! when the event is recorded and stays with it (the detail [`IGNORED`]), so that everybody who reads the
//! event later sees the same, whatever the rules have become. Matching is pure; counting and telling are
//! in `counters`.

mod conditions;
mod counters;
mod dry_run;
pub(crate) mod reading;
mod schedule;
mod wildcard;

use std::collections::HashMap;
use std::fmt;

use serde_json::json;
use serin_event::{Record, Severity, Timestamp, kinds};

pub(crate) use conditions::{Conditions, Facts, LABEL};
pub(crate) use counters::{Counters, Tally};
pub(crate) use dry_run::DryRun;

/// The detail that says which rule an event met, and what that means: `{"rule": …, "action": …}`.
pub(crate) const IGNORED: &str = "IGNORED";

/// What becomes of an event that meets a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is stored, and nobody is alerted.
    Suppress,
    /// It counts one step less severe.
    Lower,
    /// It is not stored.
    Drop,
}

impl Action {
    pub(crate) const ALL: [Self; 3] = [Self::Suppress, Self::Lower, Self::Drop];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Suppress => "suppress",
            Self::Lower => "lower",
            Self::Drop => "drop",
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// When a rule ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// After this day of the host's own zone.
    Day(jiff::civil::Date),
    /// At this moment.
    Moment(Timestamp),
}

impl Expiry {
    /// RFC 3339: a full-date or a date-time.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        const DATE: usize = "2027-01-31".len();
        if text.len() == DATE {
            return text.parse().ok().map(Self::Day);
        }
        text.parse().ok().map(|it: jiff::Timestamp| Self::Moment(Timestamp(it.as_microsecond())))
    }

    /// Whether it is over, in a zone that is so many seconds east of UTC.
    pub(crate) fn is_past(self, time: Timestamp, utc_offset: i32) -> bool {
        match self {
            Self::Day(last) => time.datetime(utc_offset).date() > last,
            Self::Moment(end) => time >= end,
        }
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(day) => write!(f, "{day}"),
            Self::Moment(time) => f.write_str(time.rfc3339().replacen(".000000", "", 1).as_str()),
        }
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    /// No two rules have the same.
    pub(crate) name: String,
    pub(crate) conditions: Conditions,
    pub(crate) action: Action,
    pub(crate) expires: Option<Expiry>,
    /// Whether events with bait credentials are meant too: whoever has those is no harmless scanner.
    pub(crate) bait: bool,
    pub(crate) comment: String,
}

impl Rule {
    /// Suppresses whatever has this label.
    pub(crate) fn of_label(label: &str) -> Self {
        let texts = vec![(conditions::Text::Label, vec![wildcard::Wildcard::new(label, true)])];
        Self {
            name: format!("benign:{label}"),
            conditions: Conditions { texts, ..Conditions::default() },
            action: Action::Suppress,
            expires: None,
            bait: false,
            comment: "benign.suppress".to_owned(),
        }
    }

    /// Whether an event meets it, expiry aside.
    pub(crate) fn is_met(&self, facts: &Facts<'_>) -> bool {
        self.conditions.may_meet(facts.record.kind) && self.is_met_by_kind(facts)
    }

    /// The same, where the kind is known to do.
    fn is_met_by_kind(&self, facts: &Facts<'_>) -> bool {
        (self.bait || facts.record.honeycred != Some(true)) && self.conditions.meet(facts)
    }
}

/// All rules, in order, with an index by kind: an event of a kind that no rule asks for costs one
/// look-up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ruleset {
    rules: Vec<Rule>,
    by_kind: HashMap<&'static str, Vec<usize>>,
}

impl Ruleset {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        let mut by_kind: HashMap<&'static str, Vec<usize>> = HashMap::new();
        for kind in kinds::ALL {
            let meant = rules.iter().enumerate().filter(|it| it.1.conditions.may_meet(kind));
            let meant: Vec<usize> = meant.map(|it| it.0).collect();
            if !meant.is_empty() {
                by_kind.insert(kind.name, meant);
            }
        }
        Self { rules, by_kind }
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule that decides about an event; `None`: it is as any other. What the sensor's own self-test
    /// does is never ignored.
    pub(crate) fn decide(&self, record: &Record) -> Option<&Rule> {
        let candidates = self.by_kind.get(record.kind.name)?;
        let facts = Facts::of(record);
        let mut met = candidates.iter().filter_map(|it| self.rules.get(*it)).filter(|it| {
            let over = it.expires.is_some_and(|it| it.is_past(record.time, record.utc_offset));
            !over && it.is_met_by_kind(&facts)
        });
        met.next().filter(|_| !record.is_selftest())
    }
}

/// Notes a decision in the event.
pub(crate) fn note(record: &mut Record, rule: &str, action: Action) {
    record.add_detail(IGNORED, json!({ "rule": rule, "action": action.name() }));
}

/// What was decided about a recorded event: the rule's name, and what it means.
pub(crate) fn decision(record: &Record) -> Option<(String, Action)> {
    let noted = record.detail(IGNORED)?;
    let text = |name: &str| noted.get(name).and_then(|it| it.as_str());
    Some((text("rule")?.to_owned(), Action::by_name(text("action")?)?))
}

/// Whether nobody is to be alerted to this event.
pub(crate) fn is_suppressed(record: &Record) -> bool {
    decision(record).is_some_and(|it| it.1 != Action::Lower)
}

/// How much an event matters to a person after the rules had their say.
pub(crate) fn severity(record: &Record) -> Severity {
    let severity = record.severity();
    match decision(record) {
        Some((_, Action::Lower)) => {
            let lower = Severity::ALL.into_iter().rev().find(|it| *it < severity);
            lower.unwrap_or(severity)
        }
        _ => severity,
    }
}

#[cfg(test)]
mod tests {
    use serin_event::{Endpoint, Event, Tainted};

    use super::*;

    const NOON: Timestamp = Timestamp(1_795_348_800_000_000);

    fn ruleset(value: &serde_json::Value) -> Ruleset {
        let reading = reading::rules(value);
        assert_eq!((&reading.complaints, &reading.unknown), (&Vec::new(), &Vec::new()));
        Ruleset::new(reading.rules)
    }

    fn login(user: &str) -> Record {
        let event = Event::new(&kinds::FTP_LOGIN)
            .with("USERNAME", Tainted::new(user.as_bytes(), 64))
            .with("PASSWORD", Tainted::new(b"s3cret", 64));
        Record {
            source: Endpoint { host: "10.0.0.5".parse().ok(), port: Some(40_000) },
            target: Endpoint { host: "192.0.2.1".parse().ok(), port: Some(21) },
            ..Record::of(&event, NOON, 0, "node")
        }
    }

    fn name(rules: &serde_json::Value, record: &Record) -> Option<String> {
        ruleset(rules).decide(record).map(|it| it.name.clone())
    }

    #[test]
    fn all_conditions_must_hold_and_the_first_rule_decides() {
        let rules = json!([
            { "name": "other user", "source": "10.0.0.5", "user": "backup" },
            { "name": "other port", "source": "10.0.0.5", "port": "22-23" },
            { "name": "right", "source": "10.0.0.0/24", "user": "SVC_*", "service": "ftp" },
            { "name": "later", "source": "10.0.0.5" },
        ]);
        assert_eq!(name(&rules, &login("svc_scan")).as_deref(), Some("right"));
        assert_eq!(name(&rules, &login("root")).as_deref(), Some("later"));
        let elsewhere =
            Record { source: Endpoint { host: "10.9.0.5".parse().ok(), port: None }, ..login("svc_scan") };
        assert_eq!(name(&rules, &elsewhere), None);
        for (key, value) in [("destination", "192.0.2.2"), ("kind", "ssh.login"), ("password", "S3CRET")] {
            assert_eq!(name(&json!([{ "name": "x", key: value }]), &login("root")), None, "{key}");
        }
    }

    #[test]
    fn bait_selftests_and_the_sensor_itself_are_not_hidden_by_chance() {
        let broad = json!([{ "name": "broad", "source": "0.0.0.0/0" }]);
        let bait = Record { honeycred: Some(true), ..login("root") };
        assert_eq!(name(&broad, &bait), None);
        let too = json!([{ "name": "too", "source": "0.0.0.0/0", "bait": true }]);
        assert_eq!(name(&too, &bait).as_deref(), Some("too"));
        let mut own = login("root");
        own.add_detail(serin_event::SELFTEST, json!("run-1"));
        assert_eq!(name(&broad, &own), None);
        let said = Record::of(&Event::saying(&kinds::ERROR, "disk full"), NOON, 0, "node");
        assert_eq!(name(&json!([{ "name": "x", "service": "sensor" }]), &said), None);
        assert_eq!(name(&json!([{ "name": "x", "logtype": 1003 }]), &said).as_deref(), Some("x"));
    }

    #[test]
    fn a_rule_ends_with_its_last_day_or_at_its_moment() {
        for (expires, met) in [
            ("2026-11-22", true),
            ("2026-11-21", false),
            ("2026-11-22T12:00:01Z", true),
            ("2026-11-22T12:00:00Z", false),
        ] {
            let rules = json!([{ "name": "x", "service": "ftp", "expires": expires }]);
            assert_eq!(name(&rules, &login("root")).is_some(), met, "{expires}");
        }
        // In Auckland it is the 23rd already.
        let rules = ruleset(&json!([{ "name": "x", "service": "ftp", "expires": "2026-11-22" }]));
        assert!(rules.decide(&Record { utc_offset: 13 * 3600, ..login("root") }).is_none());
    }

    #[test]
    fn a_decision_stays_with_the_event() {
        let mut record = login("root");
        assert_eq!((decision(&record), severity(&record)), (None, Severity::High));
        note(&mut record, "quiet", Action::Lower);
        assert_eq!(severity(&record), Severity::Medium);
        assert!(!is_suppressed(&record));
        note(&mut record, "quiet", Action::Suppress);
        assert_eq!(decision(&record), Some(("quiet".to_owned(), Action::Suppress)));
        assert!(is_suppressed(&record) && severity(&record) == Severity::High);
    }

    #[test]
    fn events_that_no_rule_asks_for_cost_next_to_nothing() {
        let many: Vec<_> =
            (0..1000).map(|it| json!({ "name": format!("r{it}"), "service": "ssh", "user": "x" })).collect();
        let rules = ruleset(&many.into());
        let record = login("root");
        let began = std::time::Instant::now();
        for _ in 0..100_000 {
            assert!(rules.decide(std::hint::black_box(&record)).is_none());
        }
        let each = began.elapsed() / 100_000;
        println!("{each:?} an event with 1000 rules that ask for others");
        // Unoptimised and on a busy machine; what would walk the rules takes a hundred times as long.
        assert!(each < std::time::Duration::from_micros(5), "{each:?}");
    }
}
