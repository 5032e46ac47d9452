//! What a syslog message looks like: RFC 5424, RFC 3164, and what OpenCanary's handler sends.

use serin_event::{Intent, Record};
use serin_services::conf::{Complaint, Conf, Key};
use serin_services::{choices, settings};

use super::Protocol;
use crate::outputs::encode::Format;
use crate::outputs::event_id;
use crate::outputs::formatter::Formatter;

choices! {
    /// Which part of a system speaks, as RFC 5424 numbers them.
    Facility {
        Kern = "kern", User = "user", Mail = "mail", Daemon = "daemon", Auth = "auth", Syslog = "syslog",
        Lpr = "lpr", News = "news", Uucp = "uucp", Cron = "cron", Authpriv = "authpriv", Ftp = "ftp",
        Ntp = "ntp", Security = "security", Console = "console", SolarisCron = "solaris-cron",
        Local0 = "local0", Local1 = "local1", Local2 = "local2", Local3 = "local3", Local4 = "local4",
        Local5 = "local5", Local6 = "local6", Local7 = "local7",
    }
    wants "kern, user, mail, daemon, auth, syslog, lpr, news, uucp, cron, authpriv, ftp, ntp, security, \
           console, solaris-cron or local0 to local7"
}

choices! {
    /// How urgent messages are.
    Severity {
        Emerg = "emerg", Alert = "alert", Crit = "crit", Err = "err", Warning = "warning",
        Notice = "notice", Info = "info", Debug = "debug", Auto = "auto",
    }
    wants "auto, emerg, alert, crit, err, warning, notice, info or debug"
}

settings! { "message" {
    /// The facility: local0 to local7, or the name of a system's part.
    facility: Facility = Facility::Local0;
    /// The severity: auto means warning, notice for mere connections and info for what the sensor says
    /// of itself; any other is the same for all.
    severity: Severity = Severity::Auto;
    /// The name under which messages come: APP-NAME, or the tag in RFC 3164.
    app: String = "serin".into();
    /// The host name in messages; empty takes this machine's.
    hostname: String = String::new();
    /// Whether RFC 5424 messages have structured data: the event's identity, who, where, which service.
    structured_data: bool = true;
    /// The private enterprise number in the structured data's name. 32473 is the one for
    /// documentation: take your organisation's if it has one.
    enterprise: u32 = 32473;
} }

/// The settings, for outputs that send syslog messages.
pub(crate) const KEYS: &[Key] = Settings::KEYS;

/// No event without its fields is larger, unless the sensor's name is very long.
pub(crate) const SIZE_MIN: usize = 1024;

/// How events become messages.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) protocol: Protocol,
    /// 0 to 23.
    pub(crate) facility: u8,
    /// 0 to 7; `None`: by what happened.
    pub(crate) severity: Option<u8>,
    pub(crate) app: String,
    /// This machine's name; empty: not known.
    pub(crate) host: String,
    /// Whether RFC 3164 leaves out the host: the receiver is on this machine.
    pub(crate) local: bool,
    /// The enterprise number of the structured data; `None`: there is none.
    pub(crate) enterprise: Option<u32>,
    pub(crate) process: u32,
    pub(crate) payload: Payload,
}

/// What a message says.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    Shape(Format),
    /// A format of the operator's, as in Python's logging.
    Text(Formatter),
}

impl Payload {
    fn text(&self, record: &Record) -> String {
        match self {
            Self::Shape(format) => format.encode(record),
            Self::Text(formatter) => formatter.format(record),
        }
    }
}

impl Layout {
    /// RFC 5424 to a receiver elsewhere, as the settings want it.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub(crate) fn of(conf: &Conf) -> Result<Self, Vec<Complaint>> {
        let settings = Settings::read(conf)?;
        let host = if settings.hostname.is_empty() { machine() } else { settings.hostname };
        Ok(Self {
            protocol: Protocol::Rfc5424,
            facility: settings.facility as u8,
            severity: (settings.severity != Severity::Auto).then_some(settings.severity as u8),
            app: settings.app,
            host,
            local: false,
            enterprise: settings.structured_data.then_some(settings.enterprise),
            process: std::process::id(),
            payload: Payload::Shape(Format::of(conf)?),
        })
    }

    /// One message without framing; never with a line feed, unless in OpenCanary's own form.
    pub(crate) fn encode(&self, record: &Record) -> Vec<u8> {
        let text = self.payload.text(record);
        let priority = u32::from(self.facility) * 8 + u32::from(self.severity(record));
        let message = match self.protocol {
            Protocol::Rfc5424 => format!("<{priority}>1 {} {}", self.header(record), one_line(&text)),
            Protocol::Rfc3164 => format!("<{priority}>{} {}", self.old_header(record), one_line(&text)),
            // Python's handler ends every message with a NUL byte, over any transport.
            Protocol::OpenCanary => format!("<{priority}>{text}\0"),
        };
        message.into_bytes()
    }

    fn severity(&self, record: &Record) -> u8 {
        self.severity.unwrap_or_else(|| match self.protocol {
            Protocol::Rfc5424 | Protocol::Rfc3164 => severity(record),
            Protocol::OpenCanary => WARNING,
        })
    }

    /// RFC 5424, section 6.2, and the structured data.
    fn header(&self, record: &Record) -> String {
        let host = word(&self.host, 255);
        let app = word(&self.app, 48);
        let time = record.time.rfc3339();
        let process = self.process;
        let kind = record.kind.logtype;
        let data = self.enterprise.map_or_else(|| "-".to_owned(), |it| structured_data(record, it));
        format!("{time} {host} {app} {process} {kind} {data}")
    }

    /// RFC 3164, section 4.1.2: local time, the day padded with a blank.
    fn old_header(&self, record: &Record) -> String {
        let time = record.time.datetime(record.utc_offset).strftime("%b %e %H:%M:%S").to_string();
        let tag: String = self.app.chars().filter(char::is_ascii_alphanumeric).take(TAG_MAX).collect();
        let process = self.process;
        if self.local {
            return format!("{time} {tag}[{process}]:");
        }
        // Without the domain.
        let host = self.host.split('.').next().unwrap_or_default();
        format!("{time} {} {tag}[{process}]:", word(host, 255))
    }
}

/// This machine's name; empty when it has none.
fn machine() -> String {
    let name = nix::sys::utsname::uname().map(|it| it.nodename().to_string_lossy().into_owned());
    name.unwrap_or_default()
}

/// Characters of a tag.
const TAG_MAX: usize = 32;

/// A word of a header: printable ASCII, bounded, or `-`.
fn word(text: &str, most: usize) -> String {
    let word: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

/// RFC 5424, section 6.3: what receivers filter by, and the identity of the event.
fn structured_data(record: &Record, enterprise: u32) -> String {
    let port = |port: Option<u16>| port.map(|it| it.to_string()).unwrap_or_default();
    let mut data = format!("[serin@{enterprise}");
    for (name, value) in [
        ("id", event_id(record)),
        ("node", record.node_id.to_string()),
        ("src", record.source.host_text()),
        ("spt", port(record.source.port)),
        ("dst", record.target.host_text()),
        ("dpt", port(record.target.port)),
        ("svc", record.kind.service.to_owned()),
        ("selftest", if record.is_selftest() { "true".to_owned() } else { String::new() }),
    ] {
        if value.is_empty() {
            continue;
        }
        data.extend([" ", name, "=\""]);
        for character in value.chars().map(|it| if it.is_control() { ' ' } else { it }) {
            if matches!(character, '"' | '\\' | ']') {
                data.push('\\');
            }
            data.push(character);
        }
        data.push('"');
    }
    data.push(']');
    data
}

/// Whatever a format brings in: one message is one line.
fn one_line(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}

/// OpenCanary logs everything as this.
const WARNING: u8 = 4;

/// A record's severity in syslog's numbers (RFC 5424, section 6.2.1): 4 warning, 5 notice for a mere
/// connection, 6 informational for what the sensor says of itself.
pub(in crate::outputs) fn severity(record: &Record) -> u8 {
    match record.intent() {
        Intent::Housekeeping => 6,
        Intent::Connect => 5,
        Intent::Interact | Intent::Login | Intent::Bait => WARNING,
    }
}

#[cfg(test)]
mod tests {
    use serin_event::{Endpoint, Event, Tainted, Timestamp, kinds};

    use super::*;
    use crate::outputs::formatter::Style;

    const LINE: &str = r#"{"dst_host": "10.0.0.9", "dst_port": 21, "local_time": "2026-11-05 21:36:31.777389", "local_time_adjusted": "2026-11-05 22:36:31.777389", "logdata": {"PASSWORD": "a\nb", "USERNAME": "admin"}, "logtype": 2000, "node_id": "nod]e", "src_host": "192.0.2.7", "src_port": 42350, "utc_time": "2026-11-05 21:36:31.777389"}"#;

    fn login() -> Record {
        let event = Event::new(&kinds::FTP_LOGIN)
            .with("USERNAME", Tainted::new(b"admin", 64))
            .with("PASSWORD", Tainted::new(b"a\nb", 64));
        Record {
            seq: 7,
            source: Endpoint { host: "192.0.2.7".parse().ok(), port: Some(42350) },
            target: Endpoint { host: "10.0.0.9".parse().ok(), port: Some(21) },
            ..Record::of(&event, Timestamp(1_793_914_591_777_389), 3600, "nod]e")
        }
    }

    fn layout(protocol: Protocol) -> Layout {
        Layout {
            protocol,
            facility: 16,
            severity: None,
            app: "serin".to_owned(),
            host: "canary.example".to_owned(),
            local: false,
            enterprise: Some(32473),
            process: 99,
            payload: Payload::Shape(Format::OpenCanary),
        }
    }

    fn text(layout: &Layout, record: &Record) -> String {
        String::from_utf8(layout.encode(record)).unwrap()
    }

    #[test]
    fn rfc_5424() {
        let expected = r#"<132>1 2026-11-05T21:36:31.777389Z canary.example serin 99 2000 [serin@32473 id="nod\]e-7" node="nod\]e" src="192.0.2.7" spt="42350" dst="10.0.0.9" dpt="21" svc="ftp"] "#;
        assert_eq!(text(&layout(Protocol::Rfc5424), &login()), format!("{expected}{LINE}"));
        let bare = Layout { enterprise: None, host: String::new(), ..layout(Protocol::Rfc5424) };
        let expected = "<132>1 2026-11-05T21:36:31.777389Z - serin 99 2000 - ";
        assert_eq!(text(&bare, &login()), format!("{expected}{LINE}"));
    }

    #[test]
    fn rfc_3164() {
        let expected = "<132>Nov  5 22:36:31 canary serin[99]: ";
        assert_eq!(text(&layout(Protocol::Rfc3164), &login()), format!("{expected}{LINE}"));
        let local = Layout { local: true, ..layout(Protocol::Rfc3164) };
        assert_eq!(text(&local, &login()), format!("<132>Nov  5 22:36:31 serin[99]: {LINE}"));
    }

    #[test]
    fn opencanarys_form_is_text_and_nul() {
        let plain = Layout { facility: 1, ..layout(Protocol::OpenCanary) };
        assert_eq!(text(&plain, &login()), format!("<12>{LINE}\0"));
        let started = Record::of(&Event::saying(&kinds::MESSAGE, "x"), Timestamp(0), 0, "node");
        assert!(text(&plain, &started).starts_with("<12>{"));
        let formatter = Formatter::new("%(name)s %(levelname)-8s\n%(message)s", "", Style::Percent).unwrap();
        let other = Layout { facility: 23, payload: Payload::Text(formatter), ..plain };
        assert_eq!(text(&other, &login()), format!("<188>nod]e WARNING \n{LINE}\0"));
    }

    #[test]
    fn severities_follow_what_happened() {
        let layout = layout(Protocol::Rfc5424);
        let severity = |kind| layout.severity(&Record::of(&Event::new(kind), Timestamp(0), 0, "node"));
        assert_eq!(severity(&kinds::FTP_LOGIN), 4);
        assert_eq!(severity(&kinds::PORTSCAN_SYN), 5);
        assert_eq!(severity(&kinds::MESSAGE), 6);
        let fixed = Layout { severity: Some(1), ..layout.clone() };
        assert!(text(&fixed, &login()).starts_with("<129>1 "));
    }

    #[test]
    fn one_message_is_one_line() {
        let formatter = Formatter::new("a\nb\r%(message)s", "", Style::Percent).unwrap();
        for protocol in [Protocol::Rfc5424, Protocol::Rfc3164] {
            let layout = Layout { payload: Payload::Text(formatter.clone()), ..layout(protocol) };
            let record = Record { node_id: "no\nde".into(), ..login() };
            assert!(!text(&layout, &record).contains(char::is_control));
        }
    }
}
