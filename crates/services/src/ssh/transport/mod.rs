//! The state of one connection: identification, key exchange, and what ends it (RFC 4253).
//!
//! What belongs to a login is handed to [`Auth`]; what it wants is done here, in order, under the
//! keys of the moment. Faults are answered as the product answers them: OpenSSH hangs up on most
//! without a word, Dropbear on all.

#[cfg(test)]
mod exchange_tests;
mod keys;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serin_event::{Event, Tainted, kinds};

use super::auth::Auth;
use super::compression::{self, DELAYED};
use super::identification::{self, Heard, Refusal};
use super::kex::Exchange;
use super::kexinit::Shown;
use super::packet::{self, Receiving, Sending};
use super::places::Place;
use super::profile::Product;
use super::random::Random;
use super::tell::introduce;
use super::unexpected::{self, Answer, Phase};
use super::wire::{Message, number};
use super::{Client, Face, Want};
use crate::dialogue::{Action, Actions, Broken, Closed, Dialogue, ENOUGH, Opening, jitter, random};
use crate::wire::Reader;
use keys::Kex;

/// Bytes kept of an identification line.
const IDENTIFICATION_MAX: usize = 512;

/// Messages of ours that wait until new keys are agreed on, and bytes of them.
const HELD_MAX: usize = 64;
const HELD_BYTES_MAX: usize = 64 * 1024;

/// Extensions that a client may name: OpenSSH's bound in kex.c.
const EXTENSIONS_MAX: u32 = 1024;

/// Bytes that OpenSSH reads at once (packet.c).
const READ_AHEAD: usize = 8192;

/// RFC 4253 section 11.1: `SSH_DISCONNECT_PROTOCOL_ERROR`, the only code that OpenSSH gives.
const PROTOCOL_ERROR: u32 = 2;

pub(super) struct Ssh {
    face: Arc<Face>,
    stage: Stage,
    seed: u64,
    random: Random,
    sending: Sending,
    receiving: Receiving,
    /// The client's identification line, or what stood in its place.
    theirs: Vec<u8>,
    /// What the client offered first.
    offered: Option<Shown>,
    kex: Kex,
    /// What both agreed on last: from the client to us, and back.
    compression: [String; 2],
    /// Its place among those that compress.
    compressed: Option<Place>,
    /// The hash of the first exchange; empty before.
    session_id: Vec<u8>,
    /// The blob of the host key that signed the first exchange, until somebody asks for a login.
    host_key: Vec<u8>,
    /// Messages that wait for the end of a key exchange.
    held: Vec<Message>,
    /// Its place among those who have not logged in, where they are counted.
    waiting: Option<Place>,
    /// Whether the first keys are in force both ways.
    secured: bool,
    /// `EXT_INFO` for a client that wants it with the answer to its first request.
    late_ext_info: Option<Message>,
    auth: Option<Box<Auth>>,
    /// Whether an event has told more than that there is a connection.
    told: bool,
    /// `SESSION` of this connection's events.
    session: u64,
    /// Why the conversation could not go on.
    reason: Option<&'static str>,
}

/// Where a conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Identification,
    Packets,
    Over,
}

/// The conversation cannot go on: how it ends, and why.
struct Over(Answer, &'static str);

impl Over {
    /// Without a word.
    fn silently(reason: &'static str) -> Self {
        Self(Answer::Close, reason)
    }
}

impl Dialogue for Ssh {
    fn open(&mut self, opening: &Opening, out: &mut Actions) {
        self.seed = opening.seed;
        self.random = Random::new(opening.secret);
        self.session = self.face.count();
        out.report(Event::new(&kinds::SSH_CONNECTION).with("SESSION", self.session.to_string()));
        out.wait(jitter(self.face.profile.start(), 0.25, opening.seed, 2));
        if self.face.settings.turn_away {
            self.waiting = self.face.waiting.join(random(opening.seed, 1));
            if let (None, Some(words)) = (&self.waiting, self.face.profile.crowded) {
                out.text(words);
                self.over("too many who had not logged in");
                return out.close();
            }
        }
        out.text(format!("{}\r\n", self.face.settings.version));
        if self.face.profile.speaks_first {
            self.send_kexinit(out);
        }
        out.push(Action::Timer(self.face.profile.time_to_log_in(random(opening.seed, 2))));
    }

    fn input<'b>(&mut self, bytes: &'b [u8], out: &mut Actions) -> Result<&'b [u8], Broken> {
        let (mut rest, mut readable) = (bytes, true);
        if self.stage == Stage::Identification {
            rest = self.identification(rest, out);
        }
        while self.stage == Stage::Packets && out.queued() < ENOUGH {
            match self.receiving.packet(&mut rest) {
                Ok(None) => break,
                Ok(Some(payload)) => {
                    if let Err(Over(answer, reason)) = self.packet(&payload, out) {
                        self.leave(answer, reason, out);
                    }
                }
                Err(fault) => {
                    self.fault(fault, out);
                    readable = false;
                }
            }
            if self.laborious() {
                break;
            }
        }
        if self.stage == Stage::Over {
            self.end(rest.len(), out);
            if readable {
                self.overhear(rest, out);
            }
        }
        Ok(if self.stage == Stage::Over { &[] } else { rest })
    }

    fn laborious(&self) -> bool {
        self.kex.exchange.as_ref().is_some_and(Exchange::laborious)
    }

    fn timer(&mut self, out: &mut Actions) {
        if self.phase() != Phase::LoggedIn {
            self.over("the time to log in was over");
            out.close();
        }
    }

    fn closed(&mut self, _why: Closed, out: &mut Actions) {
        let mut wants = Vec::new();
        if let Some(auth) = &mut self.auth {
            auth.closed(&mut wants);
        }
        self.report(wants, out);
        if self.stage == Stage::Identification {
            self.reason = Some("no whole identification came");
        }
        let silent = self.stage == Stage::Identification && self.theirs.is_empty();
        if !self.told && !silent {
            out.report(self.handshake());
        }
    }
}

impl Ssh {
    pub(super) fn new(face: Arc<Face>) -> Self {
        let limits = match face.profile.product {
            Product::Dropbear => &packet::DROPBEAR,
            Product::OpenSsh | Product::Cisco => &packet::OPENSSH,
        };
        let padding = face.profile.padding;
        Self {
            face,
            stage: Stage::Identification,
            seed: 0,
            random: Random::new([0; 32]),
            sending: Sending::new(padding),
            receiving: Receiving::new(limits),
            theirs: Vec::new(),
            offered: None,
            kex: Kex::default(),
            compression: Default::default(),
            compressed: None,
            session_id: Vec::new(),
            host_key: Vec::new(),
            held: Vec::new(),
            waiting: None,
            secured: false,
            late_ext_info: None,
            auth: None,
            told: false,
            session: 0,
            reason: None,
        }
    }

    fn phase(&self) -> Phase {
        match &self.auth {
            Some(auth) if auth.accepted() => Phase::LoggedIn,
            _ if self.secured => Phase::LoggingIn,
            _ if self.kex.said.is_none() => Phase::Start,
            _ => Phase::FirstKeys,
        }
    }

    fn over(&mut self, reason: &'static str) {
        self.reason = Some(reason);
        self.stage = Stage::Over;
    }

    /// Hangs up, with so many bytes of the client's unread: a server that stops reading in the middle
    /// resets the connection. OpenSSH reads ahead, Dropbear takes what a packet needs.
    fn end(&self, unread: usize, out: &mut Actions) {
        let ahead = if self.face.profile.product == Product::Dropbear { 0 } else { READ_AHEAD };
        if unread > ahead {
            out.push(Action::Reset);
        }
        out.close();
    }

    /// Reports the logins that a client has sent already and that nobody answers any more.
    fn overhear(&mut self, mut rest: &[u8], out: &mut Actions) {
        let Some(auth) = self.auth.as_mut().filter(|it| !it.accepted()) else { return };
        let mut wants = Vec::new();
        while let Ok(Some(payload)) = self.receiving.packet(&mut rest) {
            if let [number::USERAUTH_REQUEST, fields @ ..] = payload.as_slice() {
                auth.overhear(fields, &mut wants);
            }
        }
        self.report(wants, out);
    }

    /// Reports the events among what is wanted.
    fn report(&mut self, wants: Vec<Want>, out: &mut Actions) {
        for want in wants {
            if let Want::Report(event) = want {
                self.told = true;
                out.report(event);
            }
        }
    }

    fn leave(&mut self, answer: Answer, reason: &'static str, out: &mut Actions) {
        if let Answer::Disconnect(text) = answer {
            self.disconnect(text.as_bytes(), out);
        }
        self.over(reason);
    }

    fn disconnect(&mut self, text: &[u8], out: &mut Actions) {
        self.send(&Message::new(number::DISCONNECT).u32(PROTOCOL_ERROR).string(text).string(""), out);
    }

    /// A packet that could not be read.
    fn fault(&mut self, fault: packet::Fault, out: &mut Actions) {
        let answer = match fault {
            packet::Fault::Padding(length) if !self.secured => {
                Answer::Disconnect(format!("Corrupted padlen {length} on input."))
            }
            _ => Answer::Close,
        };
        self.leave(answer, reason(fault), out);
    }

    /// Reads the client's identification line.
    fn identification<'b>(&mut self, bytes: &'b [u8], out: &mut Actions) -> &'b [u8] {
        match identification::read(self.face.profile, bytes) {
            Heard::More => {
                self.theirs = bytes.get(..IDENTIFICATION_MAX).unwrap_or(bytes).to_vec();
                bytes
            }
            Heard::Line(line, after) => {
                self.theirs = line.to_vec();
                self.stage = Stage::Packets;
                if self.kex.ours.is_empty() {
                    self.send_kexinit(out);
                }
                after
            }
            Heard::Refused(why, line, unread) => {
                self.theirs = line.to_vec();
                let profile = self.face.profile;
                let (words, reason) = match why {
                    Refusal::Invalid => (profile.invalid, "it is no SSH identification"),
                    Refusal::Version => (profile.other_version, "another version of the protocol"),
                    Refusal::Scanner => (None, "a scanner that is hung up on"),
                };
                out.send(words.unwrap_or_default().as_bytes());
                if !unread.is_empty() {
                    // A server that stops reading in the middle resets the connection. OpenSSH writes
                    // CR LF on its own, so that the reset overtakes it where the client is slow to
                    // acknowledge; most see it.
                    out.push(Action::Reset);
                }
                self.over(reason);
                &[]
            }
        }
    }

    /// Handles one message.
    fn packet(&mut self, payload: &[u8], out: &mut Actions) -> Result<(), Over> {
        let Some((&kind, fields)) = payload.split_first() else {
            return Err(Over::silently("an empty packet"));
        };
        let profile = self.face.profile;
        if std::mem::take(&mut self.kex.drop_guess) {
            return Ok(());
        }
        if let Some(answer) = unexpected::invalid(profile, kind) {
            return Err(Over(answer, "a message of a number that nobody may send"));
        }
        self.strict_order(kind)?;
        match kind {
            number::IGNORE => Ok(()),
            // Dropbear does not look at them.
            number::DEBUG | number::UNIMPLEMENTED if profile.product == Product::Dropbear => Ok(()),
            number::DEBUG | number::UNIMPLEMENTED => aside(kind, fields),
            number::DISCONNECT => Err(Over::silently("the client said that it leaves")),
            number::PING if unexpected::pings(profile) => self.pong(fields, out),
            number::KEXINIT if self.may_exchange() => self.kexinit(payload, fields, out),
            number::NEWKEYS if self.kex.next.is_some() => self.newkeys(fields, out),
            number::KEX_FIRST..=number::KEX_LAST if self.kex.exchange.is_some() => {
                self.exchange(kind, fields, out)
            }
            number::EXT_INFO if profile.ext_info_in_auth && self.secured && self.auth.is_none() => {
                self.extended(fields)
            }
            _ => self.beyond(kind, fields, out),
        }
    }

    /// Holds a client to the order that both promised for the first key exchange.
    fn strict_order(&self, kind: u8) -> Result<(), Over> {
        if !self.kex.strict || self.secured {
            return Ok(());
        }
        let expected = match kind {
            number::DISCONNECT => true,
            number::NEWKEYS => self.kex.next.is_some(),
            number::KEX_FIRST..=number::KEX_LAST => self.kex.next.is_none(),
            // Dropbear is strict until it has sent its own NEWKEYS.
            number::IGNORE | number::DEBUG | number::UNIMPLEMENTED => {
                self.kex.next.is_some() && self.face.profile.product == Product::Dropbear
            }
            _ => false,
        };
        if expected { Ok(()) } else { Err(self.violation(kind)) }
    }

    /// Why the conversation is over after a message that broke the order.
    fn violation(&self, kind: u8) -> Over {
        let answer = unexpected::violation(self.face.profile, kind, self.receiving.sequence());
        Over(answer, "a message that has no place in a strict key exchange")
    }

    /// Whether a client's KEXINIT is taken. OpenSSH renews no keys before somebody has logged in.
    fn may_exchange(&self) -> bool {
        self.kex.said.is_none()
            && match self.phase() {
                Phase::Start | Phase::LoggedIn => true,
                Phase::FirstKeys => false,
                Phase::LoggingIn => self.face.profile.product != Product::OpenSsh,
            }
    }

    /// Answers a PING, as OpenSSH does for those who are logged in.
    fn pong(&mut self, fields: &[u8], out: &mut Actions) -> Result<(), Over> {
        let data = Reader(fields).string("data").map_err(|_| Over::silently("a ping cut short"))?;
        if self.phase() != Phase::LoggedIn {
            return Ok(());
        }
        self.fulfil(vec![Want::Send(Message::new(number::PONG).string(data))], out);
        Ok(())
    }

    /// The client's `EXT_INFO`. OpenSSH looks for one name in it.
    fn extended(&mut self, fields: &[u8]) -> Result<(), Over> {
        let malformed = |_| Over::silently("an EXT_INFO that is malformed");
        let mut fields = Reader(fields);
        let count = fields.u32("count").map_err(malformed)?;
        for _ in 0..count.min(EXTENSIONS_MAX) {
            let name = fields.string("name").map_err(malformed)?;
            fields.string("value").map_err(malformed)?;
            if name == b"ext-info-in-auth@openssh.com" {
                self.late_ext_info = self.face.profile.ext_info_in_auth();
            }
        }
        Ok(())
    }

    /// Messages that are none of the transport's.
    fn beyond(&mut self, kind: u8, fields: &[u8], out: &mut Actions) -> Result<(), Over> {
        let mut wants = Vec::new();
        let of_auth = kind == number::SERVICE_REQUEST || kind >= number::USERAUTH_REQUEST;
        if self.secured && self.auth.is_none() && of_auth {
            self.auth = self.client().map(|client| Box::new(Auth::new(self.face.clone(), client, self.seed)));
        }
        let known = self.auth.as_mut().is_some_and(|it| it.message(kind, fields, &mut wants));
        // What is not understood may be worth an event all the same.
        self.fulfil(wants, out);
        if known {
            return Ok(());
        }
        match unexpected::answer(self.face.profile, self.phase(), kind) {
            Answer::Nothing => Ok(()),
            Answer::Unimplemented => {
                let message = Message::new(number::UNIMPLEMENTED).u32(self.receiving.sequence());
                self.send(&message, out);
                Ok(())
            }
            answer => Err(Over(answer, "a message that has no place here")),
        }
    }

    /// Does what authentication wants.
    fn fulfil(&mut self, wants: Vec<Want>, out: &mut Actions) {
        for want in wants {
            match want {
                Want::Send(message) if self.kex.ours.is_empty() => self.send(&message, out),
                Want::Send(message) if self.has_room_for(&message) => self.held.push(message),
                Want::Send(_) => self.over("too much asked for in the middle of a key exchange"),
                Want::Wait(time) => out.wait(time),
                Want::Report(event) => {
                    self.told = true;
                    out.report(event);
                }
                Want::Disconnect(text) => {
                    self.disconnect(&text, out);
                    self.over("it was told to leave");
                }
                Want::Close => self.over("the conversation was over"),
            }
        }
    }

    /// Whether one more message can wait for the end of a key exchange.
    fn has_room_for(&self, message: &Message) -> bool {
        let bytes = self.held.iter().fold(message.0.len(), |sum, it| sum.saturating_add(it.0.len()));
        self.held.len() < HELD_MAX && bytes <= HELD_BYTES_MAX
    }

    fn send(&mut self, message: &Message, out: &mut Actions) {
        let mut bytes = Vec::new();
        self.sending.packet(&message.0, &mut self.random, &mut bytes);
        out.send(bytes);
        if message.0.first() == Some(&number::USERAUTH_SUCCESS) {
            self.waiting = None;
            let [to_us, from_us] = self.compression.clone();
            if (to_us == DELAYED || from_us == DELAYED)
                && let Err(Over(answer, reason)) = self.make_room_to_compress()
            {
                return self.leave(answer, reason, out);
            }
            if to_us == DELAYED {
                self.receiving.decompress();
            }
            if from_us == DELAYED {
                self.sending.compress();
            }
        }
    }

    /// Takes one of the places there are for connections that compress, unless it has one.
    fn make_room_to_compress(&mut self) -> Result<(), Over> {
        if self.compressed.is_none() {
            self.compressed = self.face.compressing.join();
        }
        let full = Over::silently("more compressed connections than there is room for");
        if self.compressed.is_some() { Ok(()) } else { Err(full) }
    }

    /// Whether a compression of this name starts with new keys.
    fn starts_with_keys(&self, name: &str) -> bool {
        compression::starts_with_keys(name, self.phase() == Phase::LoggedIn)
    }

    /// Who wants to log in.
    fn client(&mut self) -> Option<Client> {
        Some(Client {
            identification: Tainted::new(&self.theirs, IDENTIFICATION_MAX),
            offered: self.offered.clone()?,
            session_id: self.session_id.clone(),
            session: self.session,
            host_key: std::mem::take(&mut self.host_key),
            late_ext_info: self.late_ext_info.take(),
        })
    }

    /// For a client that left before keys were agreed on.
    fn handshake(&self) -> Event {
        let theirs = Tainted::new(&self.theirs, IDENTIFICATION_MAX);
        let mut event = introduce(Event::new(&kinds::SSH_HANDSHAKE), &self.face, theirs, self.session);
        if let Some(offered) = &self.offered {
            event = offered.tell(event);
        }
        if let Some(reason) = self.reason {
            event = event.with("REASON", reason);
        }
        event
    }
}

/// What was wrong with a packet, in words.
fn reason(fault: packet::Fault) -> &'static str {
    match fault {
        packet::Fault::Length(_) => "a packet of an impossible length",
        packet::Fault::Alignment(_) => "a packet that is no whole number of blocks",
        packet::Fault::Mac | packet::Fault::ReadOn => "a packet under other keys",
        packet::Fault::Padding(_) => "a packet with too little padding",
        packet::Fault::Incomplete => "a packet with more padding than there is of it",
        packet::Fault::Compression => "a packet that does not decompress",
    }
}

/// A DEBUG or UNIMPLEMENTED message: of no consequence, but it must be whole.
fn aside(kind: u8, fields: &[u8]) -> Result<(), Over> {
    let mut fields = Reader(fields);
    let whole = if kind == number::DEBUG {
        fields
            .boolean("display")
            .and_then(|_| fields.string("text"))
            .and_then(|_| fields.string("language"))
            .is_ok()
    } else {
        fields.u32("sequence").is_ok()
    };
    if whole { Ok(()) } else { Err(Over::silently("a message cut short")) }
}
