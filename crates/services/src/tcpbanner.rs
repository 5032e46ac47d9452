//! TCP banner: any number of ports that say what the operator wants and report who comes.
//!
//! Each slot (`tcpbanner_1`, `tcpbanner_2`, …) is a port of its own. A client sees the slot's
//! greeting, then its answer to every segment, for as long as it likes; nothing is ever understood
//! of what it sends. A slot works in one of three ways: *plain* reports connections; with an
//! *alert string* it reports only segments that hold that string; with *keep-alive* it reports
//! connections and every segment, until the peer sends the secret that makes it known.
//!
//! There is no specification; the behaviour is OpenCanary's, with strings also found when they are
//! split over segments or stand late in one, and with an empty secret taken for none.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use serin_event::{Event, Kind, Tainted, bytes_literal, kinds};

use crate::conf::{Complaint, Conf, Key, wrong};
use crate::dialogue::{Actions, Broken, Dialogue, Opening};
use crate::probe::{Probe, Script, Step};
use crate::{KeepAlive, Listening, Service, Tls};

pub(crate) static SERVICE: Service = Service {
    name: "tcpbanner",
    about: "Ports that say what you want and report who comes",
    opencanary: Some(("CanaryTCPBanner", "tcpbanner")),
    port: 8001,
    opencanary_port: 8001,
    keys: &KEYS,
    events: &[
        &kinds::BANNER_CONNECTION,
        &kinds::BANNER_KEEP_ALIVE,
        &kinds::BANNER_SECRET,
        &kinds::BANNER_KEEP_ALIVE_DATA,
        &kinds::BANNER_DATA,
    ],
    // Nothing is held: every segment is dealt with when it comes.
    backlog: 64,
    // Connections are meant to be kept open: the keep-alive mode exists for it.
    idle: Duration::from_hours(24),
    probe: Probe {
        tls: false,
        client: |_| Script::boxed(&[Step::Say(b"serin-selftest\r\n")]),
        proof: &[&kinds::BANNER_CONNECTION, &kinds::BANNER_KEEP_ALIVE],
    },
    build,
};

#[allow(clippy::indexing_slicing, reason = "done by the compiler: what is out of bounds does not compile")]
static KEYS: [Key; all::Settings::KEYS.len() + slot::Settings::KEYS.len()] = {
    let mut keys = [all::Settings::KEYS[0]; all::Settings::KEYS.len() + slot::Settings::KEYS.len()];
    let mut at = 0;
    while at < slot::Settings::KEYS.len() {
        keys[at + all::Settings::KEYS.len()] = slot::Settings::KEYS[at];
        at += 1;
    }
    keys
};
/// [`KEYS`] repeats the first of them into its head, so there must be just one.
const _: () = assert!(all::Settings::KEYS.len() == 1);

mod all {
    crate::settings! { "tcpbanner" {
        /// How many slots are looked at: `tcpbanner_1` to this one.
        maxnum: u16 = 10;
    } }
}

mod slot {
    use std::time::Duration;

    crate::settings! { "tcpbanner_N" {
        /// Whether this slot is open.
        enabled: bool = false;
        /// The port of this slot; 8000 and its number, unless set.
        port: u16 = 8001;
        /// What is sent when a client connects. The two characters `\r` and `\n` stand for a return and a line feed.
        initbanner: String = String::new();
        /// What is sent after each segment that a client sends, written like the greeting.
        datareceivedbanner: String = String::new();
        /// Whether segments that hold the alert string are reported, and nothing else.
        alertstring_enabled ["alertstring.enabled"]: bool = false;
        /// What is looked for; an empty string is in every segment.
        alertstring: String = String::new();
        /// Whether connections are kept alive and everything that comes is reported. Outranks the alert string.
        keep_alive_enabled ["keep_alive.enabled"]: bool = false;
        /// Whoever sends this is known: its connection reports nothing more. Empty: nobody is.
        keep_alive_secret: String = String::new();
        /// Unanswered keep-alive probes after which a connection is dead, at most 127.
        keep_alive_probes: u32 = 11;
        /// Seconds between keep-alive probes, at most 32767.
        keep_alive_interval: Duration = Duration::from_mins(5);
        /// Seconds of silence before the first keep-alive probe, at most 32767.
        keep_alive_idle: Duration = Duration::from_mins(5);
    } }
}

fn build(conf: &Conf) -> Result<Vec<Listening>, Vec<Complaint>> {
    let slots = all::Settings::read(conf)?.maxnum;
    let (mut listening, mut complaints) = (Vec::new(), Vec::new());
    for number in 1..=slots {
        match slot(conf, number) {
            Ok(found) => listening.extend(found),
            Err(more) => complaints.extend(more),
        }
    }
    if complaints.is_empty() { Ok(listening) } else { Err(complaints) }
}

/// The port of one slot; none where the slot is off.
fn slot(conf: &Conf, number: u16) -> Result<Option<Listening>, Vec<Complaint>> {
    let section = format!("tcpbanner_{number}");
    let settings = slot::Settings::read_section(conf, &section)?;
    if !settings.enabled {
        return Ok(None);
    }
    let key = format!("{section}.port");
    let port = match conf.get(&key) {
        Some(_) => settings.port,
        None => PORTS_FROM.checked_add(number).ok_or_else(|| {
            vec![Complaint {
                key: key.clone(),
                text: "wants a port: there is none left to take by itself".into(),
            }]
        })?,
    };
    let keep_alive =
        settings.keep_alive_enabled.then(|| keep_alive(conf, &section, &settings)).transpose()?;
    let slot = Arc::new(Slot::new(number, &settings));
    let open = Box::new(move || -> Box<dyn Dialogue> {
        Box::new(Banner { slot: slot.clone(), watch: Watch::default() })
    });
    Ok(Some(Listening { port, key, tls: Tls::No, keep_alive, open }))
}

/// What the kernel is asked for, within what it takes: tcp(7).
fn keep_alive(conf: &Conf, section: &str, settings: &slot::Settings) -> Result<KeepAlive, Vec<Complaint>> {
    const PROBES_MAX: u32 = 127;
    const SECONDS: std::ops::RangeInclusive<u64> = 1..=32_767;
    let fits = [
        ("keep_alive_probes", "1 to 127", (1..=PROBES_MAX).contains(&settings.keep_alive_probes)),
        (
            "keep_alive_interval",
            "1 to 32767 seconds",
            SECONDS.contains(&settings.keep_alive_interval.as_secs()),
        ),
        ("keep_alive_idle", "1 to 32767 seconds", SECONDS.contains(&settings.keep_alive_idle.as_secs())),
    ];
    let complaints: Vec<_> = fits
        .iter()
        .filter(|it| !it.2)
        .map(|&(name, wants, _)| {
            let key = format!("{section}.{name}");
            let text = wrong(wants, conf.get(&key).unwrap_or(&Json::Null));
            Complaint { key, text }
        })
        .collect();
    if !complaints.is_empty() {
        return Err(complaints);
    }
    Ok(KeepAlive {
        probes: settings.keep_alive_probes,
        interval: settings.keep_alive_interval,
        idle: settings.keep_alive_idle,
    })
}

/// What all connections of one slot share.
struct Slot {
    number: String,
    greeting: Vec<u8>,
    answer: Vec<u8>,
    mode: Mode,
}

/// What a slot reports.
enum Mode {
    /// Connections.
    Plain,
    /// Segments with this string.
    AlertString(String),
    /// Connections and segments, until the secret comes.
    KeepAlive { secret: String },
}

impl Slot {
    fn new(number: u16, settings: &slot::Settings) -> Self {
        let mode = if settings.keep_alive_enabled {
            Mode::KeepAlive { secret: settings.keep_alive_secret.clone() }
        } else if settings.alertstring_enabled {
            Mode::AlertString(settings.alertstring.clone())
        } else {
            Mode::Plain
        };
        Self {
            number: number.to_string(),
            greeting: unescape(&settings.initbanner),
            answer: unescape(&settings.datareceivedbanner),
            mode,
        }
    }

    fn event(&self, kind: &'static Kind, function: &'static str) -> Event {
        Event::new(kind).with("BANNER_ID", self.number.clone()).with("FUNCTION", function)
    }

    fn connection(&self, kind: &'static Kind) -> Event {
        let data: String = bytes_literal(&self.greeting, true).chars().take(DATA_MAX).collect();
        self.event(kind, "CONNECTION_MADE").with("DATA", data)
    }

    fn data(&self, kind: &'static Kind, data: &[u8]) -> Event {
        let data = Tainted::new(data.get(..DATA_MAX).unwrap_or(data).trim_ascii_end(), DATA_MAX);
        self.event(kind, "DATA_RECEIVED").with("DATA", data)
    }
}

struct Banner {
    slot: Arc<Slot>,
    watch: Watch,
}

impl Dialogue for Banner {
    fn open(&mut self, _opening: &Opening, out: &mut Actions) {
        match self.slot.mode {
            Mode::Plain => out.report(self.slot.connection(&kinds::BANNER_CONNECTION)),
            Mode::AlertString(_) => {}
            Mode::KeepAlive { .. } => out.report(self.slot.connection(&kinds::BANNER_KEEP_ALIVE)),
        }
        if !self.slot.greeting.is_empty() {
            out.send(self.slot.greeting.clone());
        }
    }

    fn input<'b>(&mut self, bytes: &'b [u8], out: &mut Actions) -> Result<&'b [u8], Broken> {
        let slot = &self.slot;
        match &slot.mode {
            Mode::Plain => {}
            Mode::AlertString(wanted) => {
                if let Some(data) = self.watch.look(bytes, wanted.as_bytes()) {
                    let event = slot.data(&kinds::BANNER_DATA, &data);
                    out.report(event.with("ALERT_STRING", wanted.clone()));
                }
            }
            Mode::KeepAlive { .. } if self.watch.known => {}
            Mode::KeepAlive { secret } => {
                let told = if secret.is_empty() { None } else { self.watch.look(bytes, secret.as_bytes()) };
                if let Some(data) = told {
                    let event = slot.data(&kinds::BANNER_SECRET, &data);
                    out.report(event.with("SECRET_STRING", secret.clone()));
                    self.watch = Watch { known: true, ..Watch::default() };
                } else {
                    out.report(slot.data(&kinds::BANNER_KEEP_ALIVE_DATA, bytes));
                }
            }
        }
        if !slot.answer.is_empty() {
            out.send(slot.answer.clone());
        }
        Ok(&[])
    }
}

/// Looks for a string in a stream that comes in segments.
#[derive(Default)]
struct Watch {
    /// The end of what came before: as much as can be the beginning of the string.
    tail: Vec<u8>,
    /// Whether the peer has sent the secret.
    known: bool,
}

impl Watch {
    /// What to show of a segment that completes `wanted`: the segment, and before it the part of
    /// the string that had already come.
    fn look(&mut self, segment: &[u8], wanted: &[u8]) -> Option<Vec<u8>> {
        let carried = self.tail.len();
        let mut stream = std::mem::take(&mut self.tail);
        stream.extend_from_slice(segment);
        let found = memchr::memmem::find(&stream, wanted);
        let keep = wanted.len().saturating_sub(1).min(stream.len());
        self.tail = stream.get(stream.len().saturating_sub(keep)..).unwrap_or_default().to_vec();
        found.map(|at| stream.get(at.min(carried)..).unwrap_or_default().to_vec())
    }
}

/// Takes the two characters `\r` and `\n` for what they stand for, and leaves everything else.
fn unescape(text: &str) -> Vec<u8> {
    text.replace("\\n", "\n").replace("\\r", "\r").into_bytes()
}

/// The first slot takes the port after this one.
const PORTS_FROM: u16 = 8000;
/// As much of a segment, or of a banner, as an event carries.
const DATA_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay;

    const ALERT: &str =
        "@ segments\n@ set tcpbanner_1.enabled true\n@ set tcpbanner_1.alertstring.enabled true\n";
    const KEEP_ALIVE: &str =
        "@ segments\n@ set tcpbanner_1.enabled true\n@ set tcpbanner_1.keep_alive.enabled true\n";

    #[track_caller]
    fn check(session: &str) {
        replay::check(&SERVICE, "inline", session);
    }

    #[test]
    fn nothing_is_open_unless_a_slot_is() {
        assert!(build(&Conf::new()).unwrap().is_empty());
    }

    #[test]
    fn each_slot_has_its_port_and_slots_above_the_highest_are_not_looked_at() {
        let mut conf = Conf::new();
        for number in [0, 2, 4, 5] {
            conf.set(format!("tcpbanner_{number}.enabled"), true);
        }
        conf.set("tcpbanner_4.port", 4444);
        conf.set("tcpbanner_4.keep_alive.enabled", true);
        conf.set("tcpbanner_4.keep_alive_probes", 3);
        conf.set("tcpbanner.maxnum", 4);
        let found: Vec<_> =
            build(&conf).unwrap().into_iter().map(|it| (it.key, it.port, it.keep_alive)).collect();
        let probes = KeepAlive { probes: 3, interval: Duration::from_mins(5), idle: Duration::from_mins(5) };
        assert_eq!(
            found,
            [
                ("tcpbanner_2.port".to_owned(), 8002, None),
                ("tcpbanner_4.port".to_owned(), 4444, Some(probes))
            ]
        );
    }

    #[test]
    fn all_slots_complain_at_once() {
        let mut conf = Conf::new();
        conf.set("tcpbanner.maxnum", 60_000);
        conf.set("tcpbanner_1.port", "http");
        conf.set("tcpbanner_2.enabled", true);
        conf.set("tcpbanner_2.keep_alive.enabled", true);
        conf.set("tcpbanner_2.keep_alive_probes", 128);
        conf.set("tcpbanner_2.keep_alive_idle", 0.5);
        conf.set("tcpbanner_60000.enabled", true);
        let complaints = build(&conf).err().unwrap();
        let texts: Vec<_> = complaints.iter().map(|it| format!("{}: {}", it.key, it.text)).collect();
        assert_eq!(
            texts,
            [
                r#"tcpbanner_1.port: wants a whole number from 0 to 65535, got "http""#,
                "tcpbanner_2.keep_alive_probes: wants 1 to 127, got 128",
                "tcpbanner_2.keep_alive_idle: wants 1 to 32767 seconds, got 0.5",
                "tcpbanner_60000.port: wants a port: there is none left to take by itself",
            ]
        );
    }

    #[test]
    fn the_table_has_the_keys_of_the_service_and_of_a_slot() {
        let names: Vec<_> = SERVICE.keys.iter().map(|it| it.name).collect();
        assert_eq!(names.len(), 12);
        assert_eq!(names[..3], ["tcpbanner.maxnum", "tcpbanner_N.enabled", "tcpbanner_N.port"]);
        assert!(names.contains(&"tcpbanner_N.alertstring.enabled"));
        assert_eq!(names[11], "tcpbanner_N.keep_alive_idle");
    }

    #[test]
    fn an_alert_string_is_found_split_over_segments_and_late_in_one() {
        let late = format!("{}ALERT", "x".repeat(300));
        check(&format!(
            "{ALERT}@ set tcpbanner_1.alertstring \"ALERT\"\n>> AL\n# next\n>> E\n# next\n>> RT now\n! 18005 ALERT_STRING=\"ALERT\" BANNER_ID=\"1\" DATA=\"ALERT now\" FUNCTION=\"DATA_RECEIVED\"\n"
        ));
        check(&format!(
            "{ALERT}@ set tcpbanner_1.alertstring \"ALERT\"\n>> {late}\n! 18005 ALERT_STRING=\"ALERT\" BANNER_ID=\"1\" DATA=\"{}\" FUNCTION=\"DATA_RECEIVED\"\n# next\n>> ALER\n# next\n>> X\n# next\n>> TALERT\n! 18005 ALERT_STRING=\"ALERT\" BANNER_ID=\"1\" DATA=\"TALERT\" FUNCTION=\"DATA_RECEIVED\"\n",
            "x".repeat(255)
        ));
    }

    #[test]
    fn one_occurrence_is_reported_once() {
        check(&format!(
            "{ALERT}@ set tcpbanner_1.alertstring \"aa\"\n>> xaa\n! 18005 ALERT_STRING=\"aa\" BANNER_ID=\"1\" DATA=\"xaa\" FUNCTION=\"DATA_RECEIVED\"\n# next\n>> b\n"
        ));
    }

    #[test]
    fn an_empty_alert_string_is_in_everything() {
        check(&format!(
            "{ALERT}>> one\n! 18005 ALERT_STRING=\"\" BANNER_ID=\"1\" DATA=\"one\" FUNCTION=\"DATA_RECEIVED\"\n# next\n>> two\n! 18005 ALERT_STRING=\"\" BANNER_ID=\"1\" DATA=\"two\" FUNCTION=\"DATA_RECEIVED\"\n"
        ));
    }

    #[test]
    fn without_a_secret_everything_is_reported_for_ever() {
        check(&format!(
            "{KEEP_ALIVE}! 18002 BANNER_ID=\"1\" DATA=\"b''\" FUNCTION=\"CONNECTION_MADE\"\n>> one\n! 18004 BANNER_ID=\"1\" DATA=\"one\" FUNCTION=\"DATA_RECEIVED\"\n# next\n>> two\n! 18004 BANNER_ID=\"1\" DATA=\"two\" FUNCTION=\"DATA_RECEIVED\"\n"
        ));
    }

    #[test]
    fn bytes_that_are_no_text_and_escapes_of_the_peer_stay_what_they_are() {
        check(&format!(
            "{KEEP_ALIVE}! 18002 BANNER_ID=\"1\" DATA=\"b''\" FUNCTION=\"CONNECTION_MADE\"\n>> \\xff\\\\x41\\\\\n! 18004 BANNER_ID=\"1\" DATA=\"\\\\xff\\\\x41\\\\\" FUNCTION=\"DATA_RECEIVED\"\n"
        ));
    }

    #[test]
    fn a_long_greeting_is_cut_in_the_event_and_sent_whole() {
        let greeting = "g".repeat(300);
        check(&format!(
            "@ set tcpbanner_1.enabled true\n@ set tcpbanner_1.initbanner \"{greeting}\"\n! 18001 BANNER_ID=\"1\" DATA=\"b'{}\" FUNCTION=\"CONNECTION_MADE\"\n<< {greeting}\n",
            "g".repeat(253)
        ));
    }
}
