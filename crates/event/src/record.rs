//! An event as a dialogue reports it, and as it is kept and sent.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp as Instant;
use jiff::tz::Offset;

use crate::json::{escape_into, python_json};
use crate::kinds::{Intent, Kind, Ports, Severity};
use crate::tainted::{Tainted, show};
use crate::value::{Value, encode_members};

/// Microseconds since 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// `YYYY-MM-DD HH:MM:SS.ffffff` at `offset` seconds east of UTC; always 26 characters.
    #[must_use]
    pub fn civil(self, offset: i32) -> String {
        let time = self.datetime(offset);
        format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}",
            time.year(),
            time.month(),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.subsec_nanosecond() / 1000
        )
    }

    /// The form of HTTP's `Date` header: `Sun, 22 Nov 2026 00:26:32 GMT`. RFC 9110, section 5.6.7.
    #[must_use]
    pub fn http_date(self) -> String {
        self.datetime(0).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// RFC 3339 with microseconds and `Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        self.civil(0).replacen(' ', "T", 1) + "Z"
    }

    /// The civil time at `offset` seconds east of UTC. What lies outside the years that the
    /// calendar library knows becomes the epoch.
    #[must_use]
    pub fn datetime(self, offset: i32) -> jiff::civil::DateTime {
        let instant = Instant::from_microsecond(self.0).unwrap_or(Instant::UNIX_EPOCH);
        let offset = Offset::from_seconds(offset).unwrap_or(Offset::UTC);
        offset.to_datetime(instant)
    }
}

/// One end of a conversation, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// The address; IPv4 in IPv6 already unwrapped.
    pub host: Option<IpAddr>,
    /// The port.
    pub port: Option<u16>,
}

impl From<std::net::SocketAddr> for Endpoint {
    fn from(address: std::net::SocketAddr) -> Self {
        Self { host: Some(address.ip().to_canonical()), port: Some(address.port()) }
    }
}

impl Endpoint {
    /// The address as text; empty when unknown.
    #[must_use]
    pub fn host_text(self) -> String {
        self.host.map(|it| it.to_string()).unwrap_or_default()
    }
}

/// What a dialogue reports: a kind, and what this peer put into its fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Which kind of event this is.
    pub kind: &'static Kind,
    /// The fields, in any order; each is declared by the kind.
    pub fields: Vec<(&'static str, Value)>,
}

impl Event {
    /// An event without fields yet.
    #[must_use]
    pub fn new(kind: &'static Kind) -> Self {
        Self { kind, fields: Vec::new() }
    }

    /// What the sensor says of itself, nested as OpenCanary's consumers expect it. `kind` is one of
    /// the housekeeping kinds, which all have the field `msg`.
    #[must_use]
    pub fn saying(kind: &'static Kind, text: impl Into<Value>) -> Self {
        Self::new(kind).with("msg", Value::Map(vec![(Tainted::new(b"logdata", 16), text.into())]))
    }

    /// Adds one field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        debug_assert!(self.kind.declares(name), "{} has no field {name}", self.kind.name);
        self.fields.push((name, value.into()));
        self
    }

    /// One field's value.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|it| it.0 == name).map(|it| &it.1)
    }

    /// The JSON text of the fields that OpenCanary's line has: the record's `logdata`.
    #[must_use]
    pub fn logdata(&self) -> String {
        self.encode(|name| self.kind.fields.contains(&name))
    }

    /// The JSON text of the fields that are kept beside that line.
    #[must_use]
    pub fn details(&self) -> String {
        self.encode(|name| self.kind.details.contains(&name))
    }

    fn encode(&self, wanted: impl Fn(&'static str) -> bool) -> String {
        let mut fields: Vec<_> = self.fields.iter().filter(|it| wanted(it.0)).collect();
        fields.sort_by_key(|it| it.0);
        let mut text = String::with_capacity(128);
        encode_members(fields.iter().map(|it| (it.0, &it.1)), &mut text);
        text
    }
}

/// The detail that marks the events of a self-test: the number of its run.
pub const SELFTEST: &str = "SELFTEST";

/// One event with everything that is known of it: what the store keeps and the outputs send.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its place in the store, counted from 1 and never used again; 0 until it is stored.
    pub seq: u64,
    /// When it was recorded.
    pub time: Timestamp,
    /// Seconds by which the host's zone was east of UTC at that moment.
    pub utc_offset: i32,
    /// The sensor's name: `device.node_id`.
    pub node_id: Arc<str>,
    /// The conversation it belongs to; 0 for events without one.
    pub session: u64,
    /// What happened.
    pub kind: &'static Kind,
    /// Who did it.
    pub source: Endpoint,
    /// Whom it was done to.
    pub target: Endpoint,
    /// Whether the credentials are bait, where bait is configured and credentials were sent.
    pub honeycred: Option<bool>,
    /// The fields of OpenCanary's line, as JSON text.
    pub logdata: Box<str>,
    /// What else is known, as JSON text of an object.
    pub details: Box<str>,
}

impl Record {
    /// The record of an event that belongs to no connection: without ends, and not stored yet.
    #[must_use]
    pub fn of(event: &Event, time: Timestamp, utc_offset: i32, node_id: impl Into<Arc<str>>) -> Self {
        let details = if event.kind.details.is_empty() { "{}".to_owned() } else { event.details() };
        Self {
            seq: 0,
            time,
            utc_offset,
            node_id: node_id.into(),
            session: 0,
            kind: event.kind,
            source: Endpoint::default(),
            target: Endpoint::default(),
            honeycred: None,
            logdata: event.logdata().into(),
            details: details.into(),
        }
    }

    /// OpenCanary's line for this record, without the line ending: keys sorted, `", "` and `": "`
    /// between, ASCII only.
    #[must_use]
    pub fn line(&self) -> String {
        let mut out = String::with_capacity(360 + self.logdata.len());
        let utc = self.time.civil(0);
        out.push_str("{\"dst_host\": \"");
        out.push_str(&self.target.host_text());
        out.push_str("\", \"dst_port\": ");
        push_port(&mut out, self.target.port, self.kind.ports == Ports::Text);
        if let Some(bait) = self.honeycred {
            out.push_str(if bait { ", \"honeycred\": true" } else { ", \"honeycred\": false" });
        }
        out.push_str(", \"local_time\": \"");
        out.push_str(&utc);
        out.push_str("\", \"local_time_adjusted\": \"");
        if self.utc_offset == 0 {
            out.push_str(&utc);
        } else {
            out.push_str(&self.time.civil(self.utc_offset));
        }
        out.push_str("\", \"logdata\": ");
        out.push_str(&self.logdata);
        out.push_str(", \"logtype\": ");
        out.push_str(&self.kind.logtype.to_string());
        out.push_str(", \"node_id\": \"");
        escape_into(&mut out, &self.node_id);
        // Only on the sensor's own self-test, so that no consumer takes it for an intruder.
        out.push_str(if self.is_selftest() { "\", \"selftest\": true" } else { "\"" });
        out.push_str(", \"src_host\": \"");
        out.push_str(&self.source.host_text());
        out.push_str("\", \"src_port\": ");
        push_port(&mut out, self.source.port, self.kind.ports != Ports::Numbers);
        out.push_str(", \"utc_time\": \"");
        out.push_str(&utc);
        out.push_str("\"}");
        out
    }

    /// What happened, for a person: one sentence without a full stop, safe on a terminal.
    #[must_use]
    pub fn sentence(&self) -> String {
        let fields: serde_json::Value = serde_json::from_str(&self.logdata).unwrap_or_default();
        let details: serde_json::Value = serde_json::from_str(&self.details).unwrap_or_default();
        let mut sentence = String::new();
        let mut rest = self.kind.sentence;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, tail) = after.split_once('}').unwrap_or((after, ""));
            sentence.push_str(before);
            let value = match name {
                "src" => self.source.host.map_or_else(|| "someone".to_owned(), |it| it.to_string()),
                "port" => self.target.port.map_or_else(|| "?".to_owned(), |it| it.to_string()),
                "SENTENCE" => {
                    fields.get(name).and_then(|it| it.as_str()).map(|it| show(it, 400)).unwrap_or_default()
                }
                _ => readable(fields.get(name).or_else(|| details.get(name))),
            };
            sentence.push_str(&value);
            rest = tail;
        }
        sentence.push_str(rest);
        sentence
    }

    /// Whether the sensor's own self-test caused this: [`SELFTEST`] is among its details.
    #[must_use]
    pub fn is_selftest(&self) -> bool {
        self.detail(SELFTEST).is_some()
    }

    /// One member of the details.
    #[must_use]
    pub fn detail(&self, name: &str) -> Option<serde_json::Value> {
        // Most records lack most details, and looking is much cheaper than reading.
        if !self.details.contains(name) {
            return None;
        }
        let details: serde_json::Value = serde_json::from_str(&self.details).ok()?;
        details.get(name).cloned()
    }

    /// Adds one member to the details, which its kind need not declare: what the sensor knows of any
    /// event, such as [`SELFTEST`].
    pub fn add_detail(&mut self, name: &str, value: serde_json::Value) {
        let mut details: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&self.details).unwrap_or_default();
        details.insert(name.to_owned(), value);
        self.details = python_json(&details.into()).into();
    }

    /// How far the peer went; bait credentials outrank everything.
    #[must_use]
    pub fn intent(&self) -> Intent {
        if self.honeycred == Some(true) { Intent::Bait } else { self.kind.intent }
    }

    /// How much it matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        if self.honeycred == Some(true) { Severity::Critical } else { self.kind.severity }
    }
}

fn push_port(out: &mut String, port: Option<u16>, quoted: bool) {
    let port = port.map_or_else(|| "-1".to_owned(), |it| it.to_string());
    if quoted {
        out.push('"');
        out.push_str(&port);
        out.push('"');
    } else {
        out.push_str(&port);
    }
}

/// A field's value inside a sentence.
fn readable(value: Option<&serde_json::Value>) -> String {
    const LONGEST: usize = 80;
    match value {
        None | Some(serde_json::Value::Null) => "nothing".to_owned(),
        Some(serde_json::Value::String(text)) if text.is_empty() => "\"\"".to_owned(),
        Some(serde_json::Value::String(text)) => show(text, LONGEST),
        // What the sensor says of itself is nested once more: OpenCanary's consumers expect it so.
        Some(serde_json::Value::Object(message)) if message.len() == 1 && message.contains_key("logdata") => {
            message
                .get("logdata")
                .and_then(|it| it.as_str())
                .map_or_else(String::new, |it| show(it, 4 * LONGEST))
        }
        Some(other) => show(&other.to_string(), LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    fn record(event: &Event) -> Record {
        Record {
            session: 7,
            source: Endpoint { host: "127.0.0.1".parse().ok(), port: Some(42350) },
            target: Endpoint { host: "127.0.0.1".parse().ok(), port: Some(21021) },
            ..Record::of(event, Timestamp(1_795_296_991_777_389), 0, "opencanary-1")
        }
    }

    fn login() -> Event {
        Event::new(&kinds::FTP_LOGIN)
            .with("USERNAME", Tainted::new(b"admin", 64))
            .with("PASSWORD", Tainted::new(b"s3cret", 64))
    }

    #[test]
    fn a_line_is_opencanarys_byte_for_byte() {
        assert_eq!(
            record(&login()).line(),
            r#"{"dst_host": "127.0.0.1", "dst_port": 21021, "local_time": "2026-11-21 21:36:31.777389", "local_time_adjusted": "2026-11-21 21:36:31.777389", "logdata": {"PASSWORD": "s3cret", "USERNAME": "admin"}, "logtype": 2000, "node_id": "opencanary-1", "src_host": "127.0.0.1", "src_port": 42350, "utc_time": "2026-11-21 21:36:31.777389"}"#
        );
    }

    #[test]
    fn bait_and_the_hosts_zone_show_in_the_line() {
        let bait = Record { honeycred: Some(true), utc_offset: -5 * 3600, ..record(&login()) };
        let line = bait.line();
        assert!(line.contains(r#""dst_port": 21021, "honeycred": true, "local_time": "2026-11-21 21:36:31.777389", "local_time_adjusted": "2026-11-21 16:36:31.777389""#), "{line}");
        assert_eq!((bait.intent(), bait.severity()), (Intent::Bait, Severity::Critical));
    }

    #[test]
    fn unknown_ends_and_odd_port_types_keep_their_shape() {
        let nothing = Endpoint::default();
        let started = Event::saying(&kinds::MESSAGE, "Canary running!!!");
        let line = Record { source: nothing, target: nothing, ..record(&started) }.line();
        assert!(line.starts_with(r#"{"dst_host": "", "dst_port": -1, "#), "{line}");
        assert!(
            line.contains(r#""logdata": {"msg": {"logdata": "Canary running!!!"}}, "logtype": 1001"#),
            "{line}"
        );
        assert!(line.contains(r#""src_host": "", "src_port": -1, "#), "{line}");

        let scan = record(&Event::new(&kinds::PORTSCAN_SYN)).line();
        assert!(scan.contains(r#""dst_port": "21021""#) && scan.contains(r#""src_port": "42350""#), "{scan}");
        let smb = Record {
            source: Endpoint { port: None, ..nothing },
            ..record(&Event::new(&kinds::SMB_FILE_OPEN))
        };
        let smb = smb.line();
        assert!(smb.contains(r#""dst_port": 21021"#) && smb.contains(r#""src_port": "-1""#), "{smb}");
    }

    #[test]
    fn a_sentence_names_who_and_what_but_never_the_password() {
        assert_eq!(record(&login()).sentence(), "127.0.0.1 tried to log in to FTP as admin");
        let started = record(&Event::saying(&kinds::MESSAGE, "Canary running!!!"));
        assert_eq!(started.sentence(), "the sensor says: Canary running!!!");
        let hostile = Event::new(&kinds::FTP_LOGIN).with("USERNAME", Tainted::new(b"\x1b[31m\xff", 64));
        assert_eq!(record(&hostile).sentence(), "127.0.0.1 tried to log in to FTP as \\u{1b}[31m\\xff");
    }

    #[test]
    fn addresses_in_ipv6_clothes_are_unwrapped() {
        let mapped: std::net::SocketAddr = "[::ffff:10.0.0.5]:99".parse().unwrap();
        assert_eq!(Endpoint::from(mapped).host_text(), "10.0.0.5");
    }

    #[test]
    fn times_have_their_fixed_forms() {
        assert_eq!(Timestamp(0).civil(0), "1970-01-01 00:00:00.000000");
        assert_eq!(Timestamp(i64::MAX).civil(0), "1970-01-01 00:00:00.000000");
        assert_eq!(Timestamp(1_795_296_991_777_389).http_date(), "Sat, 21 Nov 2026 21:36:31 GMT");
        assert_eq!(Timestamp(1_795_296_991_777_389).rfc3339(), "2026-11-21T21:36:31.777389Z");
    }
}
