//! What an accepted login may ask for (RFC 4254): everything, and it gets what an account without a
//! shell gets.
//!
//! A client can open sessions, ask for terminals, programs and subsystems, and forward ports and
//! sockets. Each is an event. A program is never run: the account's shell says that the account is
//! not available, and ends. Nothing is forwarded or connected to, what a client sends is counted and
//! dropped. OpenSSH 9.2 and Dropbear 2022.83 were measured (`tests/fidelity`).

mod channel;
mod manner;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use serin_event::{Event, Tainted, kinds};

use super::fields::Fields;
use super::hostkey::Kind;
use super::profile::Product;
use super::random::Random;
use super::tell::{FIELD_MAX, tell};
use super::wire::{Message, number};
use super::{Client, Face, Want};
use channel::{Channel, Stage};
use manner::{Manner, PROHIBITED, forwards_x11, takes_variable};

/// The sessions of one connection.
pub(crate) struct Session {
    face: Arc<Face>,
    client: Arc<Client>,
    user: Tainted,
    manner: &'static Manner,
    /// By their numbers.
    channels: Vec<Option<Channel>>,
    /// The client has opened all it wants.
    no_more: bool,
    /// Names of unusual requests that were reported.
    reported: Vec<Vec<u8>>,
    over: bool,
}

impl Session {
    /// For a user who was let in; says what the server says then.
    pub(super) fn new(face: Arc<Face>, client: Arc<Client>, account: &[u8], wants: &mut Vec<Want>) -> Self {
        if face.profile.product == Product::OpenSsh && face.profile.version >= (6, 8) {
            let head = Message::new(number::GLOBAL_REQUEST).string("hostkeys-00@openssh.com").boolean(false);
            if !face.settings.login_delay.is_zero() {
                wants.push(Want::Wait(START));
            }
            wants.push(Want::Send(
                face.host_keys.iter().fold(head, |message, key| message.string(key.blob())),
            ));
        }
        Self {
            user: Tainted::new(account, FIELD_MAX),
            manner: Manner::of(face.profile),
            face,
            client,
            channels: Vec::new(),
            no_more: false,
            reported: Vec::new(),
            over: false,
        }
    }

    /// Takes a message; false where the claimed server does not know it.
    pub(super) fn message(&mut self, number: u8, payload: &[u8], wants: &mut Vec<Want>) -> bool {
        if self.over {
            return true;
        }
        let mut fields = Fields::new(payload);
        match number {
            number::GLOBAL_REQUEST => self.global(&mut fields, wants),
            number::CHANNEL_OPEN => self.open(&mut fields, wants),
            number::CHANNEL_OPEN_CONFIRMATION => {
                self.on_channel("open confirmation", &mut fields, wants, |_, _| {});
            }
            number::CHANNEL_OPEN_FAILURE => self.on_channel("open failure", &mut fields, wants, |_, _| {}),
            number::CHANNEL_WINDOW_ADJUST => self.widen(&mut fields, wants),
            number::CHANNEL_DATA => self.data("data", &mut fields, wants),
            number::CHANNEL_EXTENDED_DATA => self.data("extended data", &mut fields, wants),
            number::CHANNEL_EOF => self.eof(&mut fields, wants),
            number::CHANNEL_CLOSE => self.shut(&mut fields, wants),
            number::CHANNEL_REQUEST => self.request(&mut fields, wants),
            // Answers to what was not asked: keep-alives of ours would have them.
            number::REQUEST_SUCCESS
            | number::REQUEST_FAILURE
            | number::CHANNEL_SUCCESS
            | number::CHANNEL_FAILURE => {}
            number::USERAUTH_REQUEST if self.is(Product::Dropbear) => {}
            _ => return false,
        }
        true
    }

    /// The connection is over.
    pub(super) fn closed(&mut self, wants: &mut Vec<Want>) {
        for channel in std::mem::take(&mut self.channels).into_iter().flatten() {
            self.forget(&channel, wants);
        }
    }

    fn is(&self, product: Product) -> bool {
        self.face.profile.product == product
    }

    /// Whether the server ends over a message like this, which it then does.
    fn ends(&mut self, fields: &Fields<'_>, wants: &mut Vec<Want>) -> bool {
        let ends = fields.faults.end(self.face.profile.product);
        if ends {
            self.end(wants);
        }
        ends
    }

    fn end(&mut self, wants: &mut Vec<Want>) {
        wants.push(Want::Close);
        self.over = true;
    }

    /// OpenSSH says why, others do not.
    fn disconnect(&mut self, text: String, wants: &mut Vec<Want>) {
        if self.is(Product::OpenSsh) {
            wants.push(Want::Disconnect(text.into_bytes()));
            self.over = true;
        } else {
            self.end(wants);
        }
    }

    fn global(&mut self, fields: &mut Fields<'_>, wants: &mut Vec<Want>) {
        let name = fields.text("request");
        let reply = fields.boolean("reply");
        if self.ends(fields, wants) {
            return;
        }
        let mut answer = Message::new(number::REQUEST_FAILURE);
        match name {
            b"tcpip-forward" | b"cancel-tcpip-forward" => {
                let (host, port) = (fields.text("host"), fields.u32("port"));
                let said = [host, b":", port.to_string().as_bytes()].concat();
                let event = self.event(name, &said).with("PORT", i64::from(port));
                wants.push(Want::Report(tell(event, &[("HOST", host)])));
                if self.ends(fields, wants) {
                    return;
                }
                if name == b"tcpip-forward" && self.is(Product::OpenSsh) {
                    wants.push(debug("Server has disabled port forwarding."));
                }
            }
            b"streamlocal-forward@openssh.com" | b"cancel-streamlocal-forward@openssh.com" => {
                let path = fields.text("path");
                let event = self.event(name, path);
                wants.push(Want::Report(tell(event, &[("HOST", path)])));
                if self.is(Product::OpenSsh) && self.ends(fields, wants) {
                    return;
                }
                if name == b"streamlocal-forward@openssh.com" && self.is(Product::OpenSsh) {
                    wants.push(debug("Server has disabled streamlocal forwarding."));
                }
            }
            b"no-more-sessions@openssh.com" if self.is(Product::OpenSsh) => {
                self.no_more = true;
                answer = Message::new(number::REQUEST_SUCCESS);
            }
            b"hostkeys-prove-00@openssh.com" if self.is(Product::OpenSsh) => {
                answer = self.prove(fields).unwrap_or(answer);
            }
            _ => self.unusual(name, wants),
        }
        if reply {
            wants.push(Want::Send(answer));
        }
    }

    /// Shows that the host keys are ours, as OpenSSH's `PROTOCOL` says in section 2.5.
    fn prove(&self, fields: &mut Fields<'_>) -> Option<Message> {
        let mut answer = Message::new(number::REQUEST_SUCCESS);
        let offered = self.client.offered.host_keys.text();
        let listed = |algorithm: &str| offered.split(',').any(|it| it == algorithm);
        for _ in 0..PROOFS_MAX {
            if fields.is_over() {
                break;
            }
            let blob = fields.string("key");
            // What DSA would draw from must be as random as its secret.
            let key = self.face.host_keys.iter().find(|it| it.blob() == blob && it.kind() != Kind::Dsa)?;
            let algorithm = key.kind().algorithms().iter().find(|it| listed(it));
            let algorithm = algorithm.or(key.kind().algorithms().last())?;
            let data = Message::part().string("hostkeys-prove-00@openssh.com");
            let data = data.string(&self.client.session_id).string(blob);
            answer = answer.string(key.sign(algorithm, &data.0, &mut Random::new([0; 32])).ok()?);
        }
        Some(answer)
    }

    fn open(&mut self, fields: &mut Fields<'_>, wants: &mut Vec<Want>) {
        let kind = fields.text("kind");
        let theirs = fields.u32("channel");
        let (window, packet) = (fields.u32("window"), fields.u32("packet"));
        if self.ends(fields, wants) {
            return;
        }
        let mut reason = self.manner.unknown;
        match kind {
            b"session" => return self.open_session(theirs, window, packet, fields, wants),
            b"direct-tcpip" => {
                let (host, port) = (fields.text("host"), fields.u32("port"));
                let (origin, from) = (fields.text("origin"), fields.u32("origin port"));
                fields.end();
                let said = [host, b":", port.to_string().as_bytes()].concat();
                let origin = [origin, b":", from.to_string().as_bytes()].concat();
                let event = self.event(kind, &said).with("PORT", i64::from(port));
                wants.push(Want::Report(tell(event, &[("HOST", host), ("ORIGIN", &origin)])));
                reason = PROHIBITED;
            }
            b"direct-streamlocal@openssh.com" => {
                let path = fields.text("path");
                let event = self.event(kind, path);
                wants.push(Want::Report(tell(event, &[("HOST", path)])));
            }
            b"tun@openssh.com" if self.is(Product::OpenSsh) => {
                self.unusual(kind, wants);
                wants.push(debug("Server has rejected tunnel device forwarding"));
            }
            _ => self.unusual(kind, wants),
        }
        if !self.ends(fields, wants) {
            self.refuse(theirs, reason, wants);
        }
    }

    fn open_session(
        &mut self,
        theirs: u32,
        window: u32,
        packet: u32,
        fields: &mut Fields<'_>,
        wants: &mut Vec<Want>,
    ) {
        fields.end();
        if self.ends(fields, wants) {
            return;
        }
        if self.no_more {
            let text = "Possible attack: attempt to open a session after additional sessions disabled";
            return self.disconnect(text.to_owned(), wants);
        }
        let at = self.channels.iter().position(Option::is_none).unwrap_or(self.channels.len());
        if at >= self.manner.sessions {
            return self.refuse(theirs, self.manner.too_many, wants);
        }
        let ours = u32::try_from(at).unwrap_or(u32::MAX);
        let confirmation = Message::new(number::CHANNEL_OPEN_CONFIRMATION).u32(theirs).u32(ours);
        wants.push(Want::Send(confirmation.u32(self.manner.window).u32(self.manner.packet)));
        let channel = Channel::new(ours, theirs, window, packet, self.manner);
        match self.channels.get_mut(at) {
            Some(free) => *free = Some(channel),
            None => self.channels.push(Some(channel)),
        }
    }

    fn refuse(&self, theirs: u32, reason: u32, wants: &mut Vec<Want>) {
        let failure = Message::new(number::CHANNEL_OPEN_FAILURE).u32(theirs).u32(reason);
        wants.push(Want::Send(failure.string(self.manner.refusal).string("")));
    }

    /// Does something with the channel that a message begins with the number of.
    fn on_channel(
        &mut self,
        what: &str,
        fields: &mut Fields<'_>,
        wants: &mut Vec<Want>,
        act: impl FnOnce(&mut Channel, &mut Vec<Want>),
    ) {
        let id = fields.u32("channel");
        if self.ends(fields, wants) {
            return;
        }
        let at = usize::try_from(id).unwrap_or(usize::MAX);
        match self.channels.get_mut(at).and_then(Option::as_mut) {
            Some(channel) => act(channel, wants),
            None => self.disconnect(self.nonexistent(what, id), wants),
        }
    }

    fn nonexistent(&self, what: &str, id: u32) -> String {
        if self.face.profile.version >= (7, 6) {
            return format!("{what} packet referred to nonexistent channel {id}");
        }
        match what {
            "extended data" => format!("Received extended_data for bad channel {id}."),
            _ => format!("Received {what} for nonexistent channel {id}."),
        }
    }

    fn widen(&mut self, fields: &mut Fields<'_>, wants: &mut Vec<Want>) {
        let (id, by) = (fields.u32("channel"), fields.u32("bytes"));
        fields.end();
        if self.ends(fields, wants) {
            return;
        }
        // For a channel that is not open, this alone does no harm.
        let at = usize::try_from(id).unwrap_or(usize::MAX);
        if let Some(channel) = self.channels.get_mut(at).and_then(Option::as_mut)
            && !channel.widen(by, wants)
        {
            self.end(wants);
        }
    }

    fn data(&mut self, what: &'static str, fields: &mut Fields<'_>, wants: &mut Vec<Want>) {
        let manner = self.manner;
        let mut ours = None;
        self.on_channel(what, fields, wants, |channel, _| {
            ours = Some(channel.ours);
        });
        let Some(ours) = ours else { return };
        if what == "extended data" {
            fields.u32("type");
        }
        let data = fields.string("data");
        fields.end();
        let at = usize::try_from(ours).unwrap_or(usize::MAX);
        let channel = self.channels.get_mut(at).and_then(Option::as_mut);
        let within = channel.is_none_or(|it| it.hear(data, manner));
        if self.ends(fields, wants) {
            return;
        }
        if !within {
            self.disconnect(format!("channel {ours}: peer ignored channel window"), wants);
        }
    }

    fn eof(&mut self, fields: &mut Fields<'_>, wants: &mut Vec<Want>) {
        let dropbear = self.is(Product::Dropbear);
        self.on_channel("ieof", fields, wants, |channel, wants| {
            // Dropbear has nothing more to wait for, OpenSSH waits for a program.
            if dropbear && channel.stage == Stage::Waiting {
                wants.push(Want::Send(Message::new(number::CHANNEL_EOF).u32(channel.theirs)));
                channel.close(wants);
            }
        });
    }

    fn shut(&mut self, fields: &mut Fields<'_>, wants: &mut Vec<Want>) {
        let mut ours = None;
        self.on_channel("oclose", fields, wants, |channel, wants| {
            channel.close(wants);
            ours = Some(channel.ours);
        });
        let at = ours.and_then(|it| usize::try_from(it).ok());
        if let Some(channel) = at.and_then(|it| self.channels.get_mut(it)).and_then(Option::take) {
            self.forget(&channel, wants);
        }
    }

    /// Reports what of a channel has not been an event yet.
    fn forget(&self, channel: &Channel, wants: &mut Vec<Want>) {
        if channel.unreported {
            let name: &[u8] = if channel.terminal.is_some() { b"pty-req" } else { b"env" };
            wants.push(Want::Report(channel.tell(self.event(name, b""))));
        }
        if channel.sent > 0 {
            let event = Event::new(&kinds::SSH_INPUT)
                .with("BYTES", i64::try_from(channel.sent).unwrap_or(i64::MAX))
                .with("DATA", Tainted::new(&channel.input, FIELD_MAX))
                .with("USERNAME", self.user.clone())
                .with("CHANNEL", i64::from(channel.ours));
            wants.push(Want::Report(self.client.tell(&self.face, event)));
        }
    }

    /// A request, and what it names.
    fn event(&self, request: &[u8], command: &[u8]) -> Event {
        let event = Event::new(&kinds::SSH_REQUEST)
            .with("USERNAME", self.user.clone())
            .with("REQUEST", Tainted::new(request, NAME_MAX));
        tell(self.client.tell(&self.face, event), &[("COMMAND", command)])
    }

    /// Reports what few clients ask for, once; not what some ask for by themselves.
    fn unusual(&mut self, name: &[u8], wants: &mut Vec<Want>) {
        if name == b"keepalive@openssh.com" || name.ends_with(b"@putty.projects.tartarus.org") {
            return;
        }
        let name = name.get(..NAME_MAX).unwrap_or(name);
        if self.reported.len() < REPORTED_MAX && !self.reported.iter().any(|it| it == name) {
            self.reported.push(name.to_vec());
            wants.push(Want::Report(self.event(name, b"")));
        }
    }

    fn request(&mut self, fields: &mut Fields<'_>, wants: &mut Vec<Want>) {
        let id = fields.u32("channel");
        let name = fields.text("request");
        let reply = fields.boolean("reply");
        if self.ends(fields, wants) {
            return;
        }
        let at = usize::try_from(id).unwrap_or(usize::MAX);
        let Some(mut channel) = self.channels.get_mut(at).and_then(Option::take) else {
            let what = if matches!(name, b"exec" | b"subsystem") { fields.text("command") } else { &[] };
            wants.push(Want::Report(self.event(name, what)));
            return self.disconnect(format!("server_input_channel_req: unknown channel {id}"), wants);
        };
        let outcome = self.ask(&mut channel, name, reply, fields, wants);
        if let Some(success) = outcome
            && reply
            && channel.stage != Stage::Closed
        {
            channel.reply(success, wants);
        }
        if let Some(slot) = self.channels.get_mut(at) {
            *slot = Some(channel);
        }
    }

    /// What becomes of a request: whether it succeeds, where that is still to be said.
    fn ask(
        &mut self,
        channel: &mut Channel,
        name: &[u8],
        reply: bool,
        fields: &mut Fields<'_>,
        wants: &mut Vec<Want>,
    ) -> Option<bool> {
        match name {
            b"shell" | b"exec" | b"subsystem" => {
                let what = if name == b"shell" { &[] } else { fields.text("command") };
                fields.end();
                wants.push(Want::Report(channel.tell(self.event(name, what))));
                channel.unreported = false;
                if self.ends(fields, wants) {
                    return None;
                }
                if channel.stage != Stage::Waiting || name == b"subsystem" && what != b"sftp" {
                    return Some(false);
                }
                let openssh = self.is(Product::OpenSsh)
                    && self.client.identification.text().starts_with("SSH-2.0-OpenSSH");
                let time = if self.face.settings.login_delay.is_zero() { Duration::ZERO } else { RUN };
                channel.run(reply, time, openssh, self.manner, wants);
                None
            }
            b"pty-req" => self.terminal(channel, fields, wants),
            b"env" => {
                let (variable, value) = (fields.text("name"), fields.text("value"));
                fields.end();
                channel.set(variable, value);
                (!self.ends(fields, wants))
                    .then(|| channel.stage == Stage::Waiting && takes_variable(self.face.profile, variable))
            }
            b"x11-req" | b"auth-agent-req@openssh.com" => self.forwarding(channel, name, fields, wants),
            b"window-change" => {
                let size = (fields.u32("columns"), fields.u32("rows"));
                fields.u32("width");
                fields.u32("height");
                fields.end();
                if let Some((_, shown)) = &mut channel.terminal {
                    *shown = format!("{}x{}", size.0, size.1);
                }
                (!self.ends(fields, wants)).then(|| self.is(Product::OpenSsh))
            }
            b"eow@openssh.com" | b"signal" | b"break" => Some(false),
            _ => {
                self.unusual(name, wants);
                Some(false)
            }
        }
    }

    /// X11 and the client's agent: nobody connects to either, so nothing comes back through them.
    fn forwarding(
        &mut self,
        channel: &mut Channel,
        name: &[u8],
        fields: &mut Fields<'_>,
        wants: &mut Vec<Want>,
    ) -> Option<bool> {
        wants.push(Want::Report(channel.tell(self.event(name, b""))));
        let agent = name != b"x11-req";
        if !agent {
            fields.boolean("single");
            fields.text("protocol");
            fields.text("cookie");
            fields.u32("screen");
        }
        fields.end();
        if self.ends(fields, wants) {
            return None;
        }
        let again = channel.x11 && !agent;
        channel.x11 |= !agent;
        let x11 = forwards_x11(self.face.profile) && !again;
        Some(channel.stage == Stage::Waiting && if agent { !self.is(Product::Cisco) } else { x11 })
    }

    fn terminal(
        &mut self,
        channel: &mut Channel,
        fields: &mut Fields<'_>,
        wants: &mut Vec<Want>,
    ) -> Option<bool> {
        let kind = fields.text("terminal");
        let (columns, rows) = (fields.u32("columns"), fields.u32("rows"));
        fields.u32("width");
        fields.u32("height");
        fields.string("modes");
        fields.end();
        if self.ends(fields, wants) {
            return None;
        }
        if channel.stage != Stage::Waiting {
            return Some(false);
        }
        if channel.terminal.is_some() {
            if self.is(Product::OpenSsh) {
                self.disconnect("Protocol error: you already have a pty.".to_owned(), wants);
                return None;
            }
            return Some(false);
        }
        channel.terminal = Some((Tainted::new(kind, VALUE_MAX), format!("{columns}x{rows}")));
        channel.unreported = true;
        Some(true)
    }
}

/// A DEBUG message that is not to be shown.
fn debug(text: &str) -> Want {
    Want::Send(Message::new(number::DEBUG).boolean(false).string(text).string(""))
}

/// From a login until the server is ready, measured.
const START: Duration = Duration::from_millis(40);
/// What a shell takes to say that there is none, measured.
const RUN: Duration = Duration::from_millis(2);
/// Keys that are proved in one request: more than a server has.
const PROOFS_MAX: usize = 8;
/// Bytes of a name that is not the peer's to choose.
const NAME_MAX: usize = 256;
/// Bytes of a variable's value or a terminal's kind.
const VALUE_MAX: usize = 1024;
/// Names of unusual requests that are reported.
const REPORTED_MAX: usize = 32;
