//! Recorded sessions: read, played at a dialogue, compared.
//!
//! A session is text that a person can read, in `sessions/SERVICE/what-happens.session`:
//!
//! ```text
//! # curl 7.88.1, recorded 2026-11-22 against vsftpd 3.0.3
//! @ set ftp.banner "(vsFTPd 3.0.3)"
//! < 220 (vsFTPd 3.0.3)
//! > USER root
//! < 331 Please specify the password.
//! > PASS hunter2
//! ! 2000 PASSWORD="hunter2" USERNAME="root"
//! ~ 3s
//! < 530 Login incorrect.
//! = closed
//! ```
//!
//! | line | means |
//! |---|---|
//! | `# …` | a remark: which client and server spoke, when, how it was recorded |
//! | `@ set KEY JSON` | a setting, instead of its default |
//! | `@ file KEY PATH TEXT` | a file in the folder that KEY names, escaped as below |
//! | `@ plain` | the client speaks plainly to a port that wants TLS from the first byte |
//! | `@ segments` | each run of client lines is one segment, and is never cut up differently |
//! | `> TEXT`, `< TEXT` | a line that the client says, that we must say; ends in CR LF |
//! | `>> TEXT`, `<< TEXT` | the same without a line ending |
//! | `! LOGTYPE FIELD=JSON …` | we must report; fields of `logdata`, sorted |
//! | `+ FIELD=JSON …` | details of the report before; compared only where this line stands |
//! | `~ 3s` | we must wait for about so long (jitter of a quarter is allowed) |
//! | `= closed`, `= reset`, `= starttls`, `= broken TEXT` | we must hang up, and how |
//! | `= gone` | the client hangs up here |
//!
//! In the text, `\r`, `\n`, `\t`, `\\` and `\xNN` are the usual escapes. Time stands still at
//! 2026-11-22 00:00:00 UTC but for waiting, the peer is 192.0.2.7:40000, we are 192.0.2.1,
//! and our SSH host keys are those of `sessions/ssh/keys`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serin_event::{Event, Timestamp, Value};

use crate::conf::{Conf, File, Folder};
use crate::dialogue::{Action, Actions, Closed, Dialogue, ENOUGH, Opening, TlsPeer};
use crate::ssh::hostkey::{HostKey, HostKeys};
use crate::{Listening, Service, Tls};

/// 2026-11-22 00:00:00 UTC.
pub const NOW: Timestamp = Timestamp(1_795_305_600_000_000);

/// The recorded sessions of a service: name and text, sorted.
///
/// # Panics
///
/// When the repository's session folder cannot be read: only tests call this.
#[must_use]
#[allow(clippy::disallowed_methods, clippy::expect_used, reason = "reads this repository's own test data")]
pub fn sessions_of(service: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sessions").join(service);
    let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
    let mut sessions: Vec<_> = entries
        .map(|it| it.expect("the session folder lists").path())
        .filter(|it| it.extension().is_some_and(|end| end == "session"))
        .map(|it| (it.display().to_string(), std::fs::read_to_string(&it).expect("a session is UTF-8 text")))
        .collect();
    sessions.sort();
    sessions
}

/// All bytes that the client says in a session.
#[must_use]
pub fn client_bytes(session: &str) -> Vec<u8> {
    session.lines().filter_map(client_line).flatten().collect()
}

fn client_line(line: &str) -> Option<Vec<u8>> {
    let (text, ending): (_, &[u8]) = if let Some(text) = line.strip_prefix(">>") {
        (text, b"")
    } else {
        (line.strip_prefix('>')?, b"\r\n")
    };
    let mut bytes = unescape(text.strip_prefix(' ').unwrap_or(text));
    bytes.extend_from_slice(ending);
    Some(bytes)
}

/// Plays a session whole, then cut up: how TCP slices the stream must change nothing.
///
/// # Panics
///
/// When what the service does differs from what the session says.
#[track_caller]
#[allow(clippy::panic, reason = "a test's assertion")]
pub fn check(service: &Service, name: &str, session: &str) {
    let expected = expected(session);
    let slices: &[usize] =
        if session.lines().any(|it| it.trim() == "@ segments") { &[0] } else { &[0, 1, 2, 7] };
    for &slice in slices {
        let played = play(service, session, slice);
        if let Err(difference) = compare(&expected, &played) {
            panic!("{name}, in slices of {slice}: {difference}\n--- what happened:\n{}", rendered(&played));
        }
    }
}

/// What we do, as a session writes it.
#[derive(Debug, Clone, PartialEq)]
enum Did {
    Said(Vec<u8>),
    Reported { line: String, details: String },
    Waited(Duration),
    Ended(String),
}

fn expected(session: &str) -> Vec<Did> {
    let mut did: Vec<Did> = Vec::new();
    for line in session.lines() {
        let (mark, text) = line.split_at_checked(1).unwrap_or((line, ""));
        let text = text.strip_prefix(' ').unwrap_or(text);
        match mark {
            "<" => {
                let mut bytes = match line.strip_prefix("<<") {
                    Some(raw) => unescape(raw.strip_prefix(' ').unwrap_or(raw)),
                    None => unescape(text),
                };
                if !line.starts_with("<<") {
                    bytes.extend_from_slice(b"\r\n");
                }
                said(&mut did, &bytes);
            }
            "!" => did.push(Did::Reported { line: text.trim().to_owned(), details: String::new() }),
            "+" => {
                if let Some(Did::Reported { details, .. }) = did.last_mut() {
                    text.trim().clone_into(details);
                }
            }
            "~" => did.push(Did::Waited(seconds(text))),
            "=" if text.trim() != "gone" => did.push(Did::Ended(text.trim().to_owned())),
            _ => {}
        }
    }
    did
}

fn seconds(text: &str) -> Duration {
    let number = text.trim().strip_suffix('s').unwrap_or(text).trim().parse().unwrap_or(0.0);
    Duration::from_secs_f64(number)
}

fn said(did: &mut Vec<Did>, bytes: &[u8]) {
    if let Some(Did::Said(before)) = did.last_mut() {
        before.extend_from_slice(bytes);
    } else {
        did.push(Did::Said(bytes.to_vec()));
    }
}

fn compare(expected: &[Did], played: &[Did]) -> Result<(), String> {
    for at in 0..expected.len().max(played.len()) {
        let same = match (expected.get(at), played.get(at)) {
            (Some(Did::Waited(wanted)), Some(Did::Waited(real))) => {
                real.abs_diff(*wanted) <= wanted.mul_f64(0.25).max(Duration::from_millis(50))
            }
            (
                Some(Did::Reported { line: wanted, details: more }),
                Some(Did::Reported { line: real, details: have }),
            ) => wanted == real && (more.is_empty() || more == have),
            (wanted, real) => wanted == real,
        };
        if !same {
            let show = |it: Option<&Did>| {
                it.map_or("nothing more".to_owned(), |it| rendered(std::slice::from_ref(it)))
            };
            return Err(format!(
                "step {at}\n--- expected:\n{}\n--- got:\n{}",
                show(expected.get(at)),
                show(played.get(at))
            ));
        }
    }
    Ok(())
}

/// Writes a session down while a client speaks with a service: for protocols whose client must hear
/// what exactly this replay will say, such as those that agree on keys.
pub struct Recording {
    service: &'static Service,
    player: Player,
    held: Vec<u8>,
    text: String,
}

impl Recording {
    /// Opens a conversation. `head` are the session's first lines: remarks and settings. What the
    /// client hears first comes with it.
    ///
    /// # Panics
    ///
    /// When the service refuses its settings.
    #[must_use]
    #[allow(clippy::panic, reason = "a session that does not fit its service is a mistake in a test")]
    pub fn new(service: &'static Service, head: &str) -> (Self, Vec<u8>) {
        let Ok(listening) = (service.build)(&settings_of(head)) else {
            panic!("{} refuses its settings", service.name)
        };
        let Some(first) = listening.first() else { panic!("{} opens no port", service.name) };
        let player = Player::new(first, false);
        let mut recording = Self { service, player, held: Vec::new(), text: head.to_owned() };
        let said = recording.write_down();
        (recording, said)
    }

    /// The client said this in one segment; returns what it hears.
    pub fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let _ = writeln!(self.text, ">> {}", escape(bytes));
        self.player.feed(&mut self.held, bytes, self.service);
        self.write_down()
    }

    /// Whether the service hung up.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.player.ended
    }

    /// The session as text, once it is over.
    #[must_use]
    pub fn finish(mut self) -> String {
        let why = if self.player.ended { Closed::ByUs } else { Closed::ByPeer };
        if why == Closed::ByPeer {
            self.text.push_str("= gone\n");
        }
        self.player.dialogue.closed(why, &mut self.player.out);
        self.player.reports_only();
        self.write_down();
        self.text
    }

    fn write_down(&mut self) -> Vec<u8> {
        let did = std::mem::take(&mut self.player.did);
        self.text.push_str(&rendered(&did));
        let said =
            did.into_iter().filter_map(|it| if let Did::Said(bytes) = it { Some(bytes) } else { None });
        said.flatten().collect()
    }
}

/// In the form of a session file.
fn rendered(did: &[Did]) -> String {
    let mut text = String::new();
    for step in did {
        let _ = match step {
            Did::Said(bytes) => {
                let mut rest = bytes.as_slice();
                while let Some(at) = rest.windows(2).position(|it| it == b"\r\n") {
                    let (line, after) = rest.split_at(at);
                    let _ = writeln!(text, "< {}", escape(line));
                    rest = after.get(2..).unwrap_or_default();
                }
                if rest.is_empty() { Ok(()) } else { writeln!(text, "<< {}", escape(rest)) }
            }
            Did::Reported { line, details } => {
                let more = if details.is_empty() { String::new() } else { format!("+ {details}\n") };
                write!(text, "! {line}\n{more}")
            }
            Did::Waited(time) => writeln!(text, "~ {}s", time.as_secs_f64()),
            Did::Ended(how) => writeln!(text, "= {how}"),
        };
    }
    text
}

/// The settings that a session asks for.
#[must_use]
pub fn settings_of(session: &str) -> Conf {
    let mut conf = Conf::new();
    let mut folders: BTreeMap<String, Folder> = BTreeMap::new();
    for line in session.lines() {
        if let Some((key, value)) = line.strip_prefix("@ set ").and_then(|it| it.split_once(' ')) {
            conf.set(key, serde_json::from_str::<serde_json::Value>(value).unwrap_or_else(|_| value.into()));
        } else if let Some((key, rest)) = line.strip_prefix("@ file ").and_then(|it| it.split_once(' ')) {
            let (path, text) = rest.split_once(' ').unwrap_or((rest, ""));
            let file = File { bytes: unescape(text).into(), modified: NOW.0 / 1_000_000 };
            folders.entry(key.to_owned()).or_default().0.insert(path.to_owned(), file);
        }
    }
    for (key, folder) in folders {
        conf.set_folder(key, Arc::new(folder));
    }
    conf.set_host_keys(host_keys());
    conf
}

/// The host keys of all sessions. The private halves are in this repository: for tests only.
#[must_use]
#[allow(clippy::expect_used, reason = "reads this repository's own test data")]
pub fn host_keys() -> HostKeys {
    static KEYS: LazyLock<HostKeys> = LazyLock::new(|| {
        let read = |text| Arc::new(HostKey::from_pem(text).expect("a key of ours"));
        HostKeys::new(vec![
            read(include_str!("../sessions/ssh/keys/ssh_host_rsa_key")),
            read(include_str!("../sessions/ssh/keys/ssh_host_ecdsa_key")),
            read(include_str!("../sessions/ssh/keys/ssh_host_ed25519_key")),
        ])
    });
    KEYS.clone()
}

#[allow(clippy::panic, reason = "a session that does not fit its service is a mistake in a test")]
fn play(service: &Service, session: &str, slice: usize) -> Vec<Did> {
    let conf = settings_of(session);
    let listening = match (service.build)(&conf) {
        Ok(listening) => listening,
        Err(complaints) => panic!("{}: {complaints:?}", service.name),
    };
    let Some(first) = listening.first() else {
        panic!("{}: the session's settings open no port", service.name)
    };
    let mut player = Player::new(first, session.lines().any(|it| it.trim() == "@ plain"));
    let mut held = Vec::new();
    let mut run: Vec<u8> = Vec::new();
    let mut gone = false;
    for line in session.lines().chain(["#"]) {
        if let Some(bytes) = client_line(line) {
            run.extend_from_slice(&bytes);
            continue;
        }
        let cut = if slice == 0 { run.len().max(1) } else { slice };
        for piece in run.chunks(cut) {
            player.feed(&mut held, piece, service);
        }
        run.clear();
        gone |= line.trim() == "= gone";
    }
    let why = if player.ended && !gone { Closed::ByUs } else { Closed::ByPeer };
    player.dialogue.closed(why, &mut player.out);
    player.reports_only();
    player.did
}

/// One connection, and what is wanted at its beginning. Where the port speaks TLS from the first
/// byte, what is played is what is inside it, unless `plain`.
pub(crate) fn opened(listening: &Listening, plain: bool) -> (Box<dyn Dialogue>, Actions) {
    let inside = matches!(listening.tls, Tls::AtOnce(_)) && !plain;
    let opening = Opening {
        peer: ([192, 0, 2, 7], 40000).into(),
        local: ([192, 0, 2, 1], listening.port).into(),
        seed: 1,
        secret: [1; 32],
        tls: inside.then(TlsPeer::default),
    };
    let (mut dialogue, mut out) = ((listening.open)(), Actions::new(NOW));
    dialogue.open(&opening, &mut out);
    (dialogue, out)
}

struct Player {
    dialogue: Box<dyn Dialogue>,
    did: Vec<Did>,
    ended: bool,
    out: Actions,
}

impl Player {
    fn new(listening: &Listening, plain: bool) -> Self {
        let (dialogue, out) = opened(listening, plain);
        let mut player = Self { dialogue, did: Vec::new(), ended: false, out };
        player.act();
        player
    }

    fn feed(&mut self, held: &mut Vec<u8>, piece: &[u8], service: &Service) {
        if self.ended {
            return;
        }
        held.extend_from_slice(piece);
        let mut taken = std::mem::take(held);
        let result = loop {
            let result = self.dialogue.input(&taken, &mut self.out).map(<[u8]>::to_vec);
            self.act();
            match result {
                Ok(rest) if !rest.is_empty() && rest.len() < taken.len() && !self.ended => taken = rest,
                result => break result,
            }
        };
        match result {
            Ok(rest) if rest.len() > service.backlog && !self.ended => {
                self.end(&format!("broken more than {} bytes held", service.backlog));
            }
            Ok(rest) => *held = rest,
            Err(broken) if !self.ended => self.end(&format!("broken {}", broken.0)),
            Err(_) => {}
        }
    }

    fn end(&mut self, how: &str) {
        self.did.push(Did::Ended(how.to_owned()));
        self.ended = true;
    }

    fn act(&mut self) {
        let actions: Vec<_> = self.out.drain().collect();
        for action in actions {
            match action {
                Action::Report(event) => self.did.push(reported(&event)),
                _ if self.ended => {}
                Action::Close => self.end("closed"),
                Action::Reset => self.end("reset"),
                Action::Send(bytes) => said(&mut self.did, &bytes),
                Action::StartTls => self.end("starttls"),
                Action::Timer(_) => {}
                Action::Wait(time) => self.did.push(Did::Waited(time)),
            }
        }
    }

    fn reports_only(&mut self) {
        let actions: Vec<_> = self.out.drain().collect();
        for action in actions {
            if let Action::Report(event) = action {
                self.did.push(reported(&event));
            }
        }
    }
}

fn reported(event: &Event) -> Did {
    let fields = |wanted: &[&str]| {
        let mut fields: Vec<_> = event.fields.iter().filter(|it| wanted.contains(&it.0)).collect();
        fields.sort_by_key(|it| it.0);
        fields.iter().map(|(name, value)| format!("{name}={}", text_of(value))).collect::<Vec<_>>().join(" ")
    };
    let line = format!("{} {}", event.kind.logtype, fields(event.kind.fields));
    Did::Reported { line: line.trim().to_owned(), details: fields(event.kind.details) }
}

fn text_of(value: &Value) -> String {
    let mut text = String::new();
    value.encode(&mut text);
    text
}

/// Plays arbitrary bytes at a service and checks what must hold of every service.
///
/// # Panics
///
/// When a dialogue panics, holds too much, answers far more than it is asked, or reports a field
/// that its kind does not declare.
pub fn drive(service: &Service, bytes: &[u8]) {
    drive_with(service, &Conf::new(), bytes);
}

/// The same with settings of one's own: for what the defaults leave off.
///
/// # Panics
///
/// As [`drive`] does.
#[allow(clippy::panic, clippy::arithmetic_side_effects, reason = "a test's assertions")]
pub fn drive_with(service: &Service, conf: &Conf, bytes: &[u8]) {
    let Ok(listening) = (service.build)(conf) else { panic!("{} refuses its settings", service.name) };
    for listening in &listening {
        let (mut dialogue, mut out) = opened(listening, false);
        let mut held = Vec::new();
        let mut ended = false;
        let mut answered = 0;
        for chunk in bytes.chunks(7) {
            held.extend_from_slice(chunk);
            let taken = std::mem::take(&mut held);
            match dialogue.input(&taken, &mut out) {
                Ok(rest) => held = rest.to_vec(),
                Err(_) => ended = true,
            }
            assert!(held.len() <= service.backlog, "{}: holds {} bytes", service.name, held.len());
            for action in out.drain() {
                match action {
                    Action::Close | Action::Reset | Action::StartTls => ended = true,
                    Action::Send(bytes) => answered += bytes.len(),
                    Action::Report(event) => is_declared(service, &event),
                    Action::Timer(_) | Action::Wait(_) => {}
                }
            }
            if ended {
                break;
            }
        }
        dialogue.closed(Closed::ByPeer, &mut out);
        let allowed = 65_536 + 4096 * bytes.len();
        assert!(answered <= allowed, "{}: answers {answered} bytes to {}", service.name, bytes.len());
        drive_at_once(service, listening, bytes);
    }
}

/// Checks that an event is one that its service declares, with fields that its kind declares.
#[track_caller]
pub(crate) fn is_declared(service: &Service, event: &Event) {
    assert!(service.events.contains(&event.kind), "{}: {}", service.name, event.kind.name);
    for (name, _) in &event.fields {
        assert!(event.kind.declares(name), "{}: {name}", event.kind.name);
    }
}

/// The same bytes again and again in one segment: what is queued for a peer that reads nothing
/// stays bounded.
fn drive_at_once(service: &Service, listening: &Listening, bytes: &[u8]) {
    const SEGMENT: usize = 16 * 1024;
    let pile: Vec<u8> =
        bytes.iter().copied().cycle().take(if bytes.is_empty() { 0 } else { SEGMENT }).collect();
    let (mut dialogue, mut out) = opened(listening, false);
    let mut rest = pile.as_slice();
    while let Ok(left) = dialogue.input(rest, &mut out) {
        let most = ENOUGH.saturating_add(QUEUED_MAX);
        assert!(out.queued() <= most, "{}: {} bytes queued at once", service.name, out.queued());
        let ended = out.drain().any(|it| matches!(it, Action::Close | Action::Reset | Action::StartTls));
        if ended || left.len() == rest.len() || left.is_empty() {
            break;
        }
        rest = left;
    }
}

/// What one segment of a service's ordinary traffic may make it queue: many small answers, or one
/// page beyond [`ENOUGH`].
const QUEUED_MAX: usize = 240 * 1024;

/// Takes `\r`, `\n`, `\t`, `\\` and `\xNN` for what they stand for.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let Some((&code, after)) = rest.split_first() else { break };
        rest = after;
        match code {
            b'r' => bytes.push(b'\r'),
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'x' => {
                let digits = rest.get(..2).and_then(|it| std::str::from_utf8(it).ok());
                if let Some(byte) = digits.and_then(|it| u8::from_str_radix(it, 16).ok()) {
                    bytes.push(byte);
                }
                rest = rest.get(2..).unwrap_or_default();
            }
            other => bytes.push(other),
        }
    }
    bytes
}

fn escape(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|&byte| match byte {
            b'\r' => "\\r".to_owned(),
            b'\n' => "\\n".to_owned(),
            b'\t' => "\\t".to_owned(),
            b'\\' => "\\\\".to_owned(),
            0x20..0x7f => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect()
}
