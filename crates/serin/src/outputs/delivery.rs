//! What every output can be told: which records it takes, and what it learns of passwords.

use std::sync::Arc;

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use serin_event::{Intent, Record, Severity};
use serin_services::conf::{Complaint, Conf, Key, Setting};
use serin_services::{choices, settings};

use super::OutputType;
use crate::hex::hex;
use crate::ignore;

choices! {
    /// Where an output starts that has no cursor yet.
    Start { End = "end", Beginning = "beginning" } wants "end or beginning"
}

/// What an output takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// Every event, one by one.
    Events,
    /// What a person is told: each incident when it opens, grows and closes.
    Incidents,
    /// Both.
    Both,
}

/// What an output gets of passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passwords {
    /// As they were typed.
    Keep,
    /// A keyed hash: the same password gives the same text at the same sensor, and nothing else.
    Hmac,
    /// Nothing: the fields are empty.
    Drop,
}

choices! {
    /// What to send.
    Send { Default = "default", Events = "events", Incidents = "incidents", Both = "both" }
    wants "default, events, incidents or both"
}

choices! {
    /// What to do with passwords.
    PasswordsSetting { Default = "default", Keep = "keep", Hmac = "hmac", Drop = "drop" }
    wants "default, keep, hmac or drop"
}

settings! { "delivery" {
    /// Where it starts when it is new: at the end of what is stored, or at the beginning.
    start: Start = Start::End;
    /// What it gets: every event, or incidents alone (what a person is told), or both. By default
    /// chats, mail and pagers get incidents and everything else gets events.
    send: Send = Send::Default;
    /// Whether it gets detections as well, where it gets events: records of their own (logtype 22101) that
    /// name the rule that fired, and on what. By default it does not, since a SIEM with rules of its own
    /// would find everything twice.
    detections: bool = false;
    /// Leaves out what matters less: informational, low, medium, high or critical.
    min_severity: Level = Level(Severity::Informational);
    /// Leaves out what does not belong to these services; empty: takes all.
    services: Names = Names(Vec::new());
    /// What it learns of passwords: keep sends them as typed, hmac sends a keyed hash that is the same
    /// for the same password, drop sends nothing. By default logs and SIEMs keep them, chats drop them.
    passwords: PasswordsSetting = PasswordsSetting::Default;
} }

/// The settings that belong to every type of output.
pub(crate) const KEYS: &[Key] = Settings::KEYS;

/// A severity as a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level(pub(crate) Severity);

impl Setting for Level {
    const WANTS: &'static str = "informational, low, medium, high or critical";

    fn read(value: &Value) -> Result<Self, ()> {
        value.as_str().and_then(Severity::by_name).map(Self).ok_or(())
    }

    fn show(&self) -> Value {
        json!(self.0.name())
    }

    fn schema() -> Value {
        json!({ "enum": Severity::ALL.map(Severity::name) })
    }
}

/// Several names as a setting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names(pub(crate) Vec<String>);

impl Setting for Names {
    const WANTS: &'static str = "a list of names";

    fn read(value: &Value) -> Result<Self, ()> {
        let names = value.as_array().ok_or(())?;
        names.iter().map(|it| it.as_str().map(str::to_owned).ok_or(())).collect::<Result<_, _>>().map(Self)
    }

    fn show(&self) -> Value {
        json!(self.0)
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": { "type": "string" } })
    }
}

/// What one output takes, and in what form.
#[derive(Debug)]
pub(super) struct Policy {
    carries: Carries,
    /// Whether the type alerts people, who never get what the sensor says of itself.
    alerts: bool,
    min_severity: Severity,
    detections: bool,
    services: Vec<String>,
    passwords: Passwords,
    /// For [`Passwords::Hmac`].
    key: Option<hmac::Key>,
    pub(super) starts_at_beginning: bool,
}

impl Policy {
    /// From the output's settings; `key` makes the keyed hashes of this sensor.
    pub(super) fn new(
        output: &OutputType,
        conf: &Conf,
        key: impl FnOnce() -> Vec<u8>,
    ) -> Result<Self, Vec<Complaint>> {
        let settings = Settings::read(conf)?;
        let carries = match settings.send {
            Send::Default => output.carries,
            Send::Events => Carries::Events,
            Send::Incidents => Carries::Incidents,
            Send::Both => Carries::Both,
        };
        let passwords = match settings.passwords {
            PasswordsSetting::Default => output.passwords,
            PasswordsSetting::Keep => Passwords::Keep,
            PasswordsSetting::Hmac => Passwords::Hmac,
            PasswordsSetting::Drop => Passwords::Drop,
        };
        Ok(Self {
            carries,
            alerts: output.carries == Carries::Incidents,
            min_severity: settings.min_severity.0,
            detections: settings.detections,
            services: settings.services.0,
            passwords,
            key: (passwords == Passwords::Hmac).then(|| hmac::Key::new(hmac::HMAC_SHA256, &key())),
            starts_at_beginning: settings.start == Start::Beginning,
        })
    }

    /// Whether the output gets this record at all.
    pub(super) fn wants(&self, record: &Record) -> bool {
        if ignore::severity(record) < self.min_severity && !record.is_selftest() {
            return false;
        }
        if self.alerts && ignore::is_suppressed(record) {
            return false;
        }
        if record.kind.is_incident() {
            return self.carries != Carries::Events;
        }
        if record.kind.is_detection() {
            return self.carries != Carries::Incidents && self.detections;
        }
        let of_sensor = record.kind.intent == Intent::Housekeeping;
        let of_service =
            || self.services.is_empty() || self.services.iter().any(|it| it == record.kind.service);
        self.carries != Carries::Incidents && if of_sensor { !self.alerts } else { of_service() }
    }

    /// The record as the receiver may have it.
    pub(super) fn conceal(&self, record: Arc<Record>) -> Arc<Record> {
        match self.passwords {
            Passwords::Keep => record,
            Passwords::Drop => Arc::new(record.concealed(&|_| None)),
            Passwords::Hmac => Arc::new(record.concealed(&|secret| self.pseudonym(secret))),
        }
    }

    fn pseudonym(&self, secret: &str) -> Option<String> {
        const BYTES: usize = 16;
        let tag = hmac::sign(self.key.as_ref()?, secret.as_bytes());
        Some(format!("hmac:{}", hex(tag.as_ref().get(..BYTES)?)))
    }
}

#[cfg(test)]
mod tests {
    use serin_event::{Event, Tainted, Timestamp, kinds};

    use super::*;
    use crate::outputs::by_name;

    fn policy(settings: &[(&str, &str)]) -> Policy {
        let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, json!(value))).collect();
        policy_of(&settings)
    }

    fn policy_of(settings: &[(&str, Value)]) -> Policy {
        let mut conf = Conf::new();
        for (key, value) in settings {
            conf.set(format!("delivery.{key}"), value.clone());
        }
        Policy::new(by_name("file").unwrap(), &conf, || b"key".to_vec()).unwrap()
    }

    fn login() -> Record {
        let event = Event::new(&kinds::FTP_LOGIN)
            .with("USERNAME", Tainted::new(b"admin", 64))
            .with("PASSWORD", Tainted::new(b"s3cret", 64));
        Record::of(&event, Timestamp(0), 0, "node")
    }

    #[test]
    fn each_output_gets_what_it_asked_for() {
        let incident = Record::of(&Event::new(&kinds::INCIDENT_HIGH), Timestamp(0), 0, "node");
        let started = Record::of(&Event::saying(&kinds::MESSAGE, "x"), Timestamp(0), 0, "node");
        let detection = Record::of(&Event::new(&kinds::DETECTION_HIGH), Timestamp(0), 0, "node");
        assert!(!policy(&[]).wants(&detection));
        assert!(policy_of(&[("detections", json!(true))]).wants(&detection));
        let all = |policy: &Policy| [&login(), &incident, &started].map(|it| policy.wants(it));
        assert_eq!(all(&policy(&[])), [true, false, true]);
        assert_eq!(all(&policy(&[("send", "incidents")])), [false, true, false]);
        assert_eq!(all(&policy(&[("send", "both"), ("min_severity", "high")])), [true, true, false]);
        assert_eq!(all(&policy(&[("min_severity", "critical")])), [false, false, false]);
    }

    #[test]
    fn passwords_go_out_as_the_operator_wants() {
        let concealed = |how| policy(&[("passwords", how)]).conceal(Arc::new(login())).logdata.clone();
        assert_eq!(&*concealed("keep"), r#"{"PASSWORD": "s3cret", "USERNAME": "admin"}"#);
        assert_eq!(&*concealed("drop"), r#"{"PASSWORD": "", "USERNAME": "admin"}"#);
        // echo -n s3cret | openssl dgst -sha256 -hmac key
        assert!(concealed("hmac").starts_with(r#"{"PASSWORD": "hmac:"#), "{}", concealed("hmac"));
        assert_eq!(concealed("hmac"), concealed("hmac"));
    }
}
