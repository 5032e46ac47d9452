//! FTP: asks who you are, refuses you, and reports what you tried.
//!
//! A client sees the banner and the texts of the server that the banner claims (`product.rs`), TLS
//! where it is switched on, and a refusal of every login after the time that server takes. There
//! is no data connection and no file system behind it, and nobody gets in, not even `anonymous`.
//! RFC 959 section 4, RFC 4217.

mod product;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use memchr::{memchr, memmem};
use serin_event::{Event, Tainted, Value, kinds};

use crate::conf::{Complaint, Conf};
use crate::dialogue::{Action, Actions, Broken, Dialogue, ENOUGH, Opening, TlsPeer, jitter};
use crate::probe::{Probe, Script, Step};
use crate::{Certificate, Listening, Service, Tls, settings};
use product::{After, Lines, Product};

pub(crate) static SERVICE: Service = Service {
    name: "ftp",
    about: "A file server that refuses every login",
    opencanary: Some(("CanaryFTP", "ftp")),
    port: 21,
    opencanary_port: 21,
    keys: Settings::KEYS,
    events: &[&kinds::FTP_LOGIN, &kinds::FTP_AUTH_INITIATED],
    backlog: BACKLOG,
    // Above the longest time limit among the products, which have their own words for it.
    idle: Duration::from_mins(20),
    probe: Probe {
        tls: false,
        client: |_| {
            Script::boxed(&[
                Step::Hear(&[b"\r\n"]),
                Step::Say(b"USER serin-selftest\r\n"),
                Step::Hear(&[b"\r\n"]),
                Step::Say(b"PASS serin-selftest\r\n"),
            ])
        },
        proof: &[&kinds::FTP_LOGIN],
    },
    build,
};

settings! { "ftp" {
    /// Greeting, sent after `220 `. It also chooses whose texts a client sees: vsFTPd's, unless it
    /// names ProFTPD, Pure-FTPd or Microsoft FTP.
    banner: String = "(vsFTPd 3.0.3)".into(), opencanary "FTP Ready.";
    /// Also report that a password came in, before reporting the attempt itself.
    log_auth_attempt_initiated: bool = false;
    /// Speak TLS to clients that ask for it with AUTH.
    tls: bool = false;
    /// Seconds until a wrong password is refused, varied by a quarter, where the server in the
    /// banner lets a client wait; 0 refuses at once.
    login_delay: Duration = Duration::from_secs(3);
} }

fn build(conf: &Conf) -> Result<Vec<Listening>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let tls = settings.tls;
    let face = Arc::new(Face { product: product::claimed(&settings.banner), settings });
    let mut listening = Listening::tcp(&SERVICE, conf, Box::new(move || Box::new(Ftp::new(face.clone()))));
    if tls {
        for it in &mut listening {
            it.tls = Tls::OnRequest(Certificate { files: None, name: None, alpn: &[] });
        }
    }
    Ok(listening)
}

/// What all connections share.
struct Face {
    settings: Settings,
    product: &'static Product,
}

struct Ftp {
    face: Arc<Face>,
    /// Set between USER and PASS.
    user: Option<Tainted>,
    /// Refused so far.
    refused: u8,
    /// The verbs since the last report, at most [`COMMANDS_MAX`].
    commands: Vec<Value>,
    /// What TLS told of the client.
    tls: Option<Box<TlsPeer>>,
    seed: u64,
    now: Stage,
}

/// Where a conversation stands.
#[derive(PartialEq)]
enum Stage {
    Commands,
    /// In a line that is too long for anybody to read.
    Skipping,
    /// TLS was agreed on; what comes next is not for us.
    Handshake,
    Over,
}

impl Dialogue for Ftp {
    fn open(&mut self, opening: &Opening, out: &mut Actions) {
        self.seed = opening.seed;
        out.text(greeting(&self.face, opening, out));
        out.push(Action::Timer(self.face.product.clock.limit));
    }

    fn input<'b>(&mut self, bytes: &'b [u8], out: &mut Actions) -> Result<&'b [u8], Broken> {
        let mut rest = bytes;
        let mut heard = false;
        while self.now == Stage::Commands || self.now == Stage::Skipping {
            let Some((line, after)) = self.line(rest) else { break };
            let whole = rest.len().saturating_sub(after.len());
            rest = after;
            match self.now {
                Stage::Skipping => self.now = Stage::Commands,
                _ if whole > self.face.product.line_max.0 => {
                    self.too_long(false, out);
                }
                _ => self.command(line, out),
            }
            heard = true;
            if out.queued() >= ENOUGH && self.now == Stage::Commands {
                return Ok(rest);
            }
        }
        match self.now {
            Stage::Over => return Ok(&[]),
            Stage::Handshake => return Ok(rest),
            Stage::Skipping => rest = last(rest),
            Stage::Commands if rest.len() >= self.face.product.line_max.0 => {
                self.too_long(true, out);
                rest = last(rest);
            }
            Stage::Commands => {}
        }
        if heard && self.face.product.clock.rewound {
            out.push(Action::Timer(self.face.product.clock.limit));
        }
        Ok(rest)
    }

    fn secured(&mut self, tls: &TlsPeer, _out: &mut Actions) {
        self.tls = Some(Box::new(tls.clone()));
        self.now = Stage::Commands;
    }

    fn timer(&mut self, out: &mut Actions) {
        out.send(self.face.product.clock.words.as_bytes());
        self.over(out);
    }
}

impl Ftp {
    fn new(face: Arc<Face>) -> Self {
        Self { face, user: None, refused: 0, commands: Vec::new(), tls: None, seed: 0, now: Stage::Commands }
    }

    /// The first whole line without its ending, and what follows it.
    fn line<'b>(&self, bytes: &'b [u8]) -> Option<(&'b [u8], &'b [u8])> {
        if self.face.product.lines == Lines::Both {
            let at = memmem::find(bytes, b"\r\n")?;
            let (line, after) = bytes.split_at_checked(at)?;
            return Some((line, after.get(ENDING..).unwrap_or_default()));
        }
        crate::wire::first_line(bytes)
    }

    fn too_long(&mut self, unfinished: bool, out: &mut Actions) {
        if let Some(words) = self.face.product.line_max.1 {
            out.send(words.as_bytes());
            self.over(out);
        } else if unfinished {
            self.now = Stage::Skipping;
        }
    }

    fn over(&mut self, out: &mut Actions) {
        out.close();
        self.now = Stage::Over;
    }

    fn command(&mut self, line: &[u8], out: &mut Actions) {
        let product = self.face.product;
        let heard = if product.lines == Lines::Both { unoffered(line, out) } else { Cow::Borrowed(line) };
        let Some((verb, argument)) = words(&heard, product.lines) else { return };
        if verb.is_empty() && product.lines != Lines::Feed || heard.is_empty() {
            return out.send(product.empty.as_bytes());
        }
        match verb.len() {
            4 if verb.eq_ignore_ascii_case(b"USER") => {
                self.note(verb);
                self.user(argument, out);
            }
            4 if verb.eq_ignore_ascii_case(b"PASS") => self.pass(verb, argument, out),
            4 if verb.eq_ignore_ascii_case(b"QUIT") => {
                out.send(product.goodbye.as_bytes());
                self.over(out);
            }
            _ => {
                self.note(verb);
                self.other(verb, argument, out);
            }
        }
    }

    fn user(&mut self, name: &[u8], out: &mut Actions) {
        let product = self.face.product;
        if name.is_empty() {
            self.user = None;
            out.send(product.nobody.0.as_bytes());
            if product.nobody.1 == After::HangsUp {
                self.over(out);
            }
            return;
        }
        self.user = Some(text(name));
        let shown = if product.lines == Lines::Both { first_word(name) } else { name };
        out.send(filled(product.user, shown, b""));
    }

    fn pass(&mut self, verb: &[u8], password: &[u8], out: &mut Actions) {
        let product = self.face.product;
        let user = if product.remembers { self.user.clone() } else { self.user.take() };
        let Some(user) = user else {
            self.note(verb);
            return out.send(product.pass_first.as_bytes());
        };
        if self.face.settings.log_auth_attempt_initiated {
            out.report(Event::new(&kinds::FTP_AUTH_INITIATED));
        }
        let name = user.text();
        let asked = name.len() <= PAM_NAME_MAX && !name.contains(' ');
        let mut event = Event::new(&kinds::FTP_LOGIN)
            .with("PASSWORD", text(password))
            .with("USERNAME", user)
            .with("COMMANDS", Value::List(std::mem::take(&mut self.commands)));
        if let Some(tls) = &self.tls {
            event = event.with("JA3", tls.ja3.clone()).with("JA4", tls.ja4.clone());
        }
        out.report(event);
        let (first, more) = product.patience;
        let times = (first + more * f64::from(self.refused)) * if asked { 1.0 } else { product.unasked };
        let wait = self.face.settings.login_delay.mul_f64(times);
        out.wait(jitter(wait, 0.25, self.seed, self.refused.into()));
        out.send(product.refused.as_bytes());
        self.refused = self.refused.saturating_add(1);
        if self.refused == product.attempts {
            self.over(out);
        }
    }

    fn other(&mut self, verb: &[u8], argument: &[u8], out: &mut Actions) {
        let product = self.face.product;
        let is = |it: &str| verb.eq_ignore_ascii_case(it.as_bytes());
        let secure = self.face.settings.tls;
        if product.strangers.0.iter().any(|it| is(it) || it.ends_with('-') && verb.starts_with(it.as_bytes()))
        {
            out.send(filled(product.strangers.1, b"", &verb.to_ascii_lowercase()));
            return self.over(out);
        }
        if is("FEAT") {
            let [without, with] = product.features;
            return out.send(if secure { with } else { without }.as_bytes());
        }
        if is("OPTS") {
            let known = product.options.iter().find(|it| argument.eq_ignore_ascii_case(it.0.as_bytes()));
            return out.send(known.or(product.options.last()).map_or("", |it| it.1).as_bytes());
        }
        if secure && is("AUTH") {
            if product::MECHANISMS.iter().any(|it| argument.eq_ignore_ascii_case(it.as_bytes())) {
                out.send(product.security.accepted.as_bytes());
                out.push(Action::StartTls);
                self.now = Stage::Handshake;
                return;
            }
            return out.send(filled(product.security.unknown, argument, verb));
        }
        if secure && (is("PBSZ") || is("PROT")) {
            let [before, within] = match argument.first().map(u8::to_ascii_uppercase) {
                _ if is("PBSZ") => product.security.pbsz,
                Some(b'P') => product.security.private,
                Some(b'C') => product.security.clear,
                _ => product.security.other,
            };
            let reply = if self.tls.is_some() { within } else { before };
            return out.send(filled(reply, argument, verb));
        }
        let reply = product.replies.iter().find(|it| is(it.0)).map_or(product.unknown, |it| it.1);
        out.send(filled(reply, argument, verb));
    }

    /// Keeps a verb for the next report.
    fn note(&mut self, verb: &[u8]) {
        if self.commands.len() < COMMANDS_MAX {
            let known = product::VERBS.iter().find(|it| verb.eq_ignore_ascii_case(it.as_bytes()));
            self.commands.push(
                known.map_or_else(|| text(verb.get(..VERB_MAX).unwrap_or(verb)).into(), |&it| it.into()),
            );
        }
    }
}

/// What a client sees first.
fn greeting(face: &Face, opening: &Opening, out: &Actions) -> String {
    let banner = &face.settings.banner;
    let mut lines: Vec<Cow<'_, str>> = banner.lines().map(Cow::Borrowed).collect();
    if face.product.claim == "pure-ftpd" && lines.len() == 1 && banner.contains("----") {
        let seconds = out.now.0 / 1_000_000;
        let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
        let port = opening.local.port();
        lines.extend([
            Cow::Borrowed("You are user number 1 of 50 allowed."),
            format!("Local time is now {hour:02}:{minute:02}. Server port: {port}.").into(),
            Cow::Borrowed("This is a private system - No anonymous login"),
            Cow::Borrowed("You will be disconnected after 15 minutes of inactivity."),
        ]);
    }
    let mut text = String::with_capacity(banner.len().saturating_add(8));
    let end = lines.len().saturating_sub(1);
    for (at, line) in lines.iter().enumerate() {
        text.push_str(if at == end { "220 " } else { "220-" });
        text.push_str(line);
        text.push_str("\r\n");
    }
    if text.is_empty() { "220 \r\n".to_owned() } else { text }
}

/// Verb and argument of a line; nothing where the server does not answer such a line at all.
fn words(line: &[u8], lines: Lines) -> Option<(&[u8], &[u8])> {
    if lines == Lines::Both {
        let line = memchr(0, line).and_then(|at| line.get(..at)).unwrap_or(line).trim_ascii_end();
        let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let (verb, argument) = line.split_at_checked(end)?;
        return Some((verb, argument.trim_ascii_start()));
    }
    let end = memchr(b' ', line).unwrap_or(line.len());
    let (verb, argument) = line.split_at_checked(end)?;
    if lines == Lines::Letters && !verb.iter().all(u8::is_ascii_alphabetic) {
        return None;
    }
    Some((verb, argument.get(1..).unwrap_or_default()))
}

fn first_word(text: &[u8]) -> &[u8] {
    text.split(u8::is_ascii_whitespace).next().unwrap_or_default()
}

/// Takes Telnet's commands out of a line and refuses the options it offers. RFC 854.
fn unoffered<'a>(line: &'a [u8], out: &mut Actions) -> Cow<'a, [u8]> {
    if memchr(0xff, line).is_none() {
        return Cow::Borrowed(line);
    }
    let mut kept = Vec::with_capacity(line.len());
    let mut rest = line;
    loop {
        rest = match rest {
            [0xff, 0xfb | 0xfc, option, after @ ..] => {
                out.send(vec![0xff, 0xfe, *option]);
                after
            }
            [0xff, 0xfd | 0xfe, option, after @ ..] => {
                out.send(vec![0xff, 0xfc, *option]);
                after
            }
            [0xff, 0xf2 | 0xf4, after @ ..] => after,
            [0xff, 0xff, after @ ..] => {
                kept.push(0xff);
                after
            }
            [byte, after @ ..] => {
                kept.push(*byte);
                after
            }
            [] => return Cow::Owned(kept),
        };
    }
}

/// The reply with the client's words filled in.
fn filled(reply: &'static str, argument: &[u8], verb: &[u8]) -> Cow<'static, [u8]> {
    let Some((before, after)) = reply.split_once('%') else { return Cow::Borrowed(reply.as_bytes()) };
    let said = if after.starts_with('u') { argument } else { verb };
    Cow::Owned([before.as_bytes(), said, after.as_bytes().get(1..).unwrap_or_default()].concat())
}

/// The client's words: UTF-8 as it is, anything else read as Latin-1, as OpenCanary reads all of it.
fn text(bytes: &[u8]) -> Tainted {
    if std::str::from_utf8(bytes).is_ok() {
        return Tainted::new(bytes, FIELD_MAX);
    }
    let latin: String = bytes.iter().copied().map(char::from).collect();
    Tainted::new(latin.as_bytes(), FIELD_MAX)
}

/// What may be the first half of a line's ending.
fn last(bytes: &[u8]) -> &[u8] {
    if bytes.ends_with(b"\r") { b"\r" } else { &[] }
}

/// CR LF.
const ENDING: usize = 2;
/// Above every product's longest line.
const BACKLOG: usize = 4352;
/// Twice the longest line: Latin-1 grows when it is written as UTF-8.
const FIELD_MAX: usize = 8704;
const VERB_MAX: usize = 32;
/// The longest name that vsftpd asks PAM about.
const PAM_NAME_MAX: usize = 128;
const COMMANDS_MAX: usize = 64;

#[cfg(test)]
mod tests;
