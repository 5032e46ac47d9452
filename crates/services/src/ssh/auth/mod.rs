//! User authentication (RFC 4252, 4256): refuses everybody whom `ssh.accept` does not name, and
//! reports what they tried.
//!
//! A client sees what the claimed server does with each method: which it offers, what counts
//! towards its limit, how long a refusal takes, and where it hangs up without a word. OpenSSH's
//! part is from its sources (`auth2.c`, `auth2-pubkey.c`, `auth2-chall.c`, `auth-pam.c`), as is
//! Dropbear's (`svr-auth.c`); Cisco's is from documents. No key is ever authorised, so that no
//! client learns of one that would do.

mod journal;
mod key;
mod pace;
mod request;
#[cfg(test)]
pub(super) mod tests;

use std::sync::Arc;

use serin_event::Event;
use serin_event::kinds;

use super::fields::{Faults, Fields};
use super::profile::{Farewell, Product};
use super::session::Session;
use super::tell::{FIELD_MAX, introduce};
use super::wire::{Message, number};
use super::{Client, Face, Want};
use journal::{Digest, Journal, digest};
use pace::{Pace, What};
use request::{How, Key, Request};

/// One connection's side of authentication, and of the session that follows where somebody is let
/// in.
pub(crate) struct Auth {
    face: Arc<Face>,
    client: Arc<Client>,
    /// `EXT_INFO` that waits for a user's name.
    late_ext_info: Option<Message>,
    pace: Pace,
    stage: Stage,
    /// Whether it was reported who asks for the service, and nobody has asked for a login since.
    introduced: bool,
    /// Whom the first request was for.
    first: Option<First>,
    attempts: u32,
    failures: u8,
    /// Who was asked for a password and has not answered.
    asked: Option<Vec<u8>>,
    journal: Journal,
}

/// How far a client has come.
enum Stage {
    /// It has not asked for authentication.
    Start,
    Requests,
    Accepted(Box<Session>),
    Over,
}

/// A user and a service. Both are kept as far as a text shows them.
struct First {
    account: Vec<u8>,
    service: Vec<u8>,
    whole: Digest,
}

/// What becomes of an attempt.
#[derive(Clone, Copy)]
enum Outcome {
    Refused(What),
    /// Refused, and not counted.
    Excused(What),
    /// A question is asked.
    Asked,
    LetIn,
    /// The server ends without a word.
    Broken,
}

impl Auth {
    /// For a client with which keys are agreed on. The same seed gives the same delays.
    pub(super) fn new(face: Arc<Face>, mut client: Client, seed: u64) -> Self {
        let pace = Pace::new(face.profile, face.settings.login_delay, face.timing_secret, seed);
        let late_ext_info = client.late_ext_info.take();
        let client = Arc::new(client);
        Self {
            journal: Journal::new(face.clone(), client.clone()),
            face,
            client,
            late_ext_info,
            pace,
            stage: Stage::Start,
            introduced: false,
            first: None,
            attempts: 0,
            failures: 0,
            asked: None,
        }
    }

    /// Takes a message: `SERVICE_REQUEST`, and all from 50 on. False where the claimed server does not
    /// know it at this point, which is answered with UNIMPLEMENTED.
    ///
    /// Compression that waits for a login (`zlib@openssh.com`) begins behind `USERAUTH_SUCCESS`, which
    /// may be followed by other messages among what is wanted.
    pub(super) fn message(&mut self, number: u8, payload: &[u8], wants: &mut Vec<Want>) -> bool {
        match &mut self.stage {
            Stage::Over => return true,
            Stage::Accepted(session) => {
                let known = session.message(number, payload, wants);
                if number == number::USERAUTH_REQUEST {
                    self.overhear(payload, wants);
                }
                return known;
            }
            Stage::Start | Stage::Requests => {}
        }
        let started = matches!(self.stage, Stage::Requests) || !self.openssh();
        match number {
            number::SERVICE_REQUEST => self.service(payload, wants),
            number::USERAUTH_REQUEST if started => self.request(payload, wants),
            number::USERAUTH_REQUEST => {
                self.journal.request(&Request::read(payload), false, false, wants);
                return false;
            }
            number::USERAUTH_INFO_RESPONSE if self.asked.is_some() => self.answer(payload, wants),
            _ => return self.unexpected(number, wants),
        }
        true
    }

    /// A `USERAUTH_REQUEST` that nobody heeds, because the server is about to hang up or has let
    /// somebody in: it is reported.
    pub(super) fn overhear(&mut self, payload: &[u8], wants: &mut Vec<Want>) {
        self.journal.request(&Request::read(payload), false, false, wants);
    }

    /// The connection is over: reports what was not worth an event until now.
    pub(super) fn closed(&mut self, wants: &mut Vec<Want>) {
        self.unanswered(wants);
        self.journal.closed(wants);
        if let Stage::Accepted(session) = &mut self.stage {
            session.closed(wants);
        }
    }

    /// Whether somebody was let in.
    pub(super) fn accepted(&self) -> bool {
        matches!(self.stage, Stage::Accepted(_))
    }

    fn openssh(&self) -> bool {
        self.face.profile.product == Product::OpenSsh
    }

    fn since(&self, major: u16, minor: u16) -> bool {
        self.openssh() && self.face.profile.version >= (major, minor)
    }

    fn introduction(&self) -> Event {
        let Client { identification, offered, session, .. } = &*self.client;
        let event = Event::new(&kinds::SSH_VERSION);
        offered.tell(introduce(event, &self.face, identification.clone(), *session))
    }

    fn service(&mut self, payload: &[u8], wants: &mut Vec<Want>) {
        let mut fields = Fields::new(payload);
        let service = if self.openssh() { fields.text("service") } else { fields.string("service") };
        fields.end();
        if fields.faults.tail && self.openssh() && !self.since(8, 0) {
            self.disconnect(&[b"Packet integrity error."], wants);
        } else if self.breaks(fields.faults) {
            self.close(wants);
        } else if service == b"ssh-userauth" {
            if matches!(self.stage, Stage::Start) {
                self.stage = Stage::Requests;
            }
            if !std::mem::replace(&mut self.introduced, true) {
                wants.push(Want::Report(self.introduction()));
            }
            wants.push(Want::Send(Message::new(number::SERVICE_ACCEPT).string(service)));
        } else if self.openssh() {
            self.disconnect(&[b"bad service request ", service], wants);
        } else {
            self.close(wants);
        }
    }

    fn request(&mut self, payload: &[u8], wants: &mut Vec<Want>) {
        self.introduced = false;
        let request = Request::read(payload);
        self.unanswered(wants);
        let accepted = self.accepts(&request);
        let asks = matches!(request.how, How::Interactive(_))
            && self.offers("keyboard-interactive")
            && !self.breaks(request.faults);
        self.journal.request(&request, accepted, asks, wants);
        self.decide(&request, accepted, wants);
        if asks && self.asked.is_none() {
            self.journal.method(request.user, request.method, None, wants);
        }
    }

    /// What becomes of a request that is reported.
    fn decide(&mut self, request: &Request<'_>, accepted: bool, wants: &mut Vec<Want>) {
        let texts = if self.openssh() { &HEAD[..] } else { &["user name"] };
        let broken = request.faults.short.is_some_and(|it| HEAD.contains(&it))
            || request.faults.nul.is_some_and(|it| texts.contains(&it));
        if broken {
            return self.close(wants);
        }
        let greeting = if self.attempts == 0 { self.greeting() } else { Vec::new() };
        if self.changes(request, wants) {
            return;
        }
        if self.attempts >= ATTEMPTS_MAX {
            return self.give_up(request.account(), wants);
        }
        self.attempts = self.attempts.saturating_add(1);
        let outcome = self.judge(request, accepted);
        self.carry_out(outcome, request.account(), request.how == How::Nothing, greeting, wants);
    }

    /// What goes out before the answer to the first request, and together with it.
    fn greeting(&mut self) -> Vec<Want> {
        let mut greeting = Vec::new();
        let banner = &self.face.settings.preauth_banner;
        if !banner.is_empty() {
            let language = if self.face.profile.product == Product::Dropbear { "en" } else { "" };
            let banner = banner.replace("\\r", "\r").replace("\\n", "\n") + "\r\n";
            greeting.push(Want::Send(Message::new(number::USERAUTH_BANNER).string(banner).string(language)));
        }
        greeting.extend(self.late_ext_info.take().map(Want::Send));
        greeting
    }

    /// Whether this is for somebody or something else than the first request was, which is the end.
    fn changes(&mut self, request: &Request<'_>, wants: &mut Vec<Want>) -> bool {
        let (account, service) = (request.account(), request.service);
        let whole = digest(&[account, service]);
        let kept = |bytes: &[u8]| bytes.get(..TEXT_MAX).unwrap_or(bytes).to_vec();
        let first = || First { account: kept(account), service: kept(service), whole };
        let first = self.first.get_or_insert_with(first);
        if first.whole == whole {
            // Only OpenSSH takes any service, and refuses it like a password.
            let refused = self.face.profile.product != Product::OpenSsh && service != b"ssh-connection";
            if refused {
                self.close(wants);
            }
            return refused;
        }
        if self.face.profile.product == Product::OpenSsh {
            let before = [first.account.as_slice(), b",", &first.service].concat();
            let now = [account, b",", service].concat();
            let text = b"Change of username or service not allowed: (";
            self.disconnect(&[text, &before, b") -> (", &now, b")"], wants);
        } else {
            self.close(wants);
        }
        true
    }

    /// Whether the credentials are among those that `ssh.accept` names.
    fn accepts(&self, request: &Request<'_>) -> bool {
        match request.how {
            How::Password(password, None) => {
                self.offers("password") && self.lets_in(request.account(), password) && self.takes(request)
            }
            _ => false,
        }
    }

    fn lets_in(&self, account: &[u8], password: &[u8]) -> bool {
        self.face.settings.accept.accept(account, password)
    }

    /// Whether a request is looked at, broken ones and those for another user being none of those.
    fn takes(&self, request: &Request<'_>) -> bool {
        let same = |first: &First| first.whole == digest(&[request.account(), request.service]);
        !self.breaks(request.faults)
            && request.service == b"ssh-connection"
            && self.first.as_ref().is_none_or(same)
            && self.failures < self.face.profile.max_tries
    }

    fn offers(&self, method: &str) -> bool {
        self.face.methods().any(|it| it == method)
    }

    /// Whether the claimed server ends over a message like this.
    fn breaks(&self, faults: Faults) -> bool {
        faults.end(self.face.profile.product)
    }

    fn judge(&self, request: &Request<'_>, accepted: bool) -> Outcome {
        let broken = self.breaks(request.faults);
        match &request.how {
            _ if accepted => Outcome::LetIn,
            // OpenSSH forgets the method after its first use.
            How::Nothing if broken && self.attempts == 1 => Outcome::Broken,
            How::Nothing if self.openssh() && self.attempts > 1 => Outcome::Refused(What::Nothing),
            How::Nothing => Outcome::Excused(What::Nothing),
            How::Password(..) if !self.offers("password") => Outcome::Refused(What::Other),
            // Dropbear knows no change of passwords, and reads no further.
            How::Password(_, Some(_)) if !self.openssh() => Outcome::Refused(What::Password),
            How::Password(..) if broken => Outcome::Broken,
            How::Password(password, change) => {
                let looked_up = change.is_none()
                    && !password.is_empty()
                    && (password.len() <= PASSWORD_MAX || !self.openssh());
                Outcome::Refused(if looked_up || !self.openssh() { What::Password } else { What::Other })
            }
            How::Key(key) if self.offers("publickey") => self.judge_key(key, request),
            How::Interactive(_) if !self.offers("keyboard-interactive") => Outcome::Refused(What::Other),
            How::Interactive(_) if broken => Outcome::Broken,
            How::Interactive(_) if !self.openssh() => Outcome::Asked,
            How::Interactive(submethods) if self.face.asks() && pam(submethods) => Outcome::Asked,
            How::Other if broken && std::str::from_utf8(request.method).is_ok_and(|it| self.offers(it)) => {
                Outcome::Broken
            }
            // Without a ticket for this host, OpenSSH takes the blame.
            How::Other if request.method == b"gssapi-with-mic" && self.offers("gssapi-with-mic") => {
                if known(request.account()) {
                    Outcome::Excused(What::Other)
                } else {
                    Outcome::Refused(What::Other)
                }
            }
            _ => Outcome::Refused(What::Other),
        }
    }

    fn judge_key(&self, key: &Key<'_>, request: &Request<'_>) -> Outcome {
        let faults = request.faults;
        if !self.openssh() {
            // Dropbear does not look for the signature of a key that is not authorised.
            let broken = faults.short.is_some_and(|it| it != "signature");
            return if broken { Outcome::Broken } else { Outcome::Excused(What::Key) };
        }
        if key.bound_to.is_some() && !self.since(8, 9) {
            return Outcome::Refused(What::Other);
        }
        if faults.nul.is_some() || key.bound_to.is_some_and(|it| it != self.client.host_key) {
            return Outcome::Broken;
        }
        // The end of the message is not looked at for a key that cannot be read.
        let end_counts = key::describe(key.algorithm, key.blob).usable;
        if end_counts && (faults.short.is_some() || faults.tail) {
            return Outcome::Broken;
        }
        Outcome::Refused(What::Key)
    }

    /// Answers, after what the server takes for that; `greeting` goes with the answer.
    fn carry_out(
        &mut self,
        outcome: Outcome,
        account: &[u8],
        none: bool,
        greeting: Vec<Want>,
        wants: &mut Vec<Want>,
    ) {
        let wait = match outcome {
            Outcome::Broken => return self.close(wants),
            Outcome::Asked => self.pace.question(),
            Outcome::LetIn => self.pace.welcome(account),
            Outcome::Refused(what) | Outcome::Excused(what) => self.pace.refusal(what, account),
        };
        if !wait.is_zero() {
            wants.push(Want::Wait(wait));
        }
        wants.extend(greeting);
        match outcome {
            Outcome::Broken => {}
            Outcome::Asked => {
                self.asked = Some(account.get(..FIELD_MAX).unwrap_or(account).to_vec());
                let question = Message::new(number::USERAUTH_INFO_REQUEST).string("").string("").string("");
                wants.push(Want::Send(question.u32(1).string(PROMPT).boolean(false)));
            }
            Outcome::LetIn => {
                wants.push(Want::Send(Message::new(number::USERAUTH_SUCCESS)));
                let session = Session::new(self.face.clone(), self.client.clone(), account, wants);
                self.stage = Stage::Accepted(Box::new(session));
            }
            Outcome::Refused(_) | Outcome::Excused(_) => {
                let first_none = none && self.attempts == 1;
                if matches!(outcome, Outcome::Refused(_)) && !first_none {
                    self.failures = self.failures.saturating_add(1);
                }
                if self.failures >= self.face.profile.max_tries {
                    return self.give_up(account, wants);
                }
                let methods = self.face.methods();
                let failure = Message::new(number::USERAUTH_FAILURE).names(methods).boolean(false);
                wants.push(Want::Send(failure));
            }
        }
    }

    /// Takes the answer to the question for a password.
    fn answer(&mut self, payload: &[u8], wants: &mut Vec<Want>) {
        let Some(account) = self.asked.take() else { return };
        let mut fields = Fields::new(payload);
        let count = fields.u32("number of answers");
        let mut answers = Vec::new();
        for _ in 0..count.min(ANSWERS_MAX) {
            let answer = fields.text("answer");
            if fields.faults.short.is_some() {
                break;
            }
            answers.push(answer);
        }
        fields.end();
        let broken = count != 1 || self.breaks(fields.faults);
        let accepted = !broken && answers.first().is_some_and(|it| self.lets_in(&account, it));
        for answer in &answers {
            self.journal.password(&account, answer, None, "keyboard-interactive", accepted, wants);
        }
        if answers.is_empty() {
            let problem = fields.faults.problem().unwrap_or_else(|| format!("has {count} answers"));
            self.journal.method(&account, b"keyboard-interactive", Some(problem), wants);
        }
        let outcome = match (broken, accepted) {
            (true, _) => Outcome::Broken,
            (_, true) => Outcome::LetIn,
            _ => Outcome::Refused(What::Answer),
        };
        self.carry_out(outcome, &account, false, Vec::new(), wants);
    }

    /// Reports a question that was not answered.
    fn unanswered(&mut self, wants: &mut Vec<Want>) {
        if let Some(account) = self.asked.take() {
            self.journal.method(&account, b"keyboard-interactive", Some("has no answer".to_owned()), wants);
        }
    }

    fn unexpected(&mut self, number: u8, wants: &mut Vec<Want>) -> bool {
        let closes = match self.face.profile.product {
            // What belongs to a conversation has no handler once a request has ended it, which OpenSSH
            // takes for the end; it does not get to send the DISCONNECT (`dispatch.c`).
            Product::OpenSsh => self.attempts > 0 && matches!(number, 61 | 63),
            Product::Dropbear => number > number::USERAUTH_PK_OK,
            Product::Cisco => false,
        };
        if closes {
            self.close(wants);
        }
        closes
    }

    /// One refusal too many.
    fn give_up(&mut self, account: &[u8], wants: &mut Vec<Want>) {
        match self.face.profile.farewell {
            Farewell::Says(text) => self.disconnect(&[text.as_bytes()], wants),
            Farewell::Names(text) => {
                self.disconnect(&[text.as_bytes(), account.get(..100).unwrap_or(account)], wants);
            }
            Farewell::Silent => self.close(wants),
        }
    }

    /// Says why in at most as many bytes as OpenSSH does, and ends.
    fn disconnect(&mut self, text: &[&[u8]], wants: &mut Vec<Want>) {
        let text = text.concat();
        wants.push(Want::Disconnect(text.get(..TEXT_MAX).unwrap_or(&text).to_vec()));
        self.stage = Stage::Over;
    }

    fn close(&mut self, wants: &mut Vec<Want>) {
        wants.push(Want::Close);
        self.stage = Stage::Over;
    }
}

/// Whether the claimed server has this account, where a client could tell the difference: those
/// that each Linux has.
fn known(account: &[u8]) -> bool {
    matches!(account, b"root" | b"daemon" | b"bin" | b"mail" | b"nobody" | b"sshd")
}

/// Whether these submethods choose PAM, as `auth2-chall.c` reads them: by prefix.
fn pam(submethods: &[u8]) -> bool {
    if submethods.is_empty() {
        return true;
    }
    submethods.split(|&it| it == b',').take_while(|it| !it.is_empty()).any(|it| b"pam".starts_with(it))
}

/// The fields without which a request is none.
const HEAD: [&str; 3] = ["user name", "service", "method"];
/// `pam_unix` asks so, and so does Cisco IOS.
const PROMPT: &str = "Password: ";
/// Bytes of a text in a DISCONNECT of OpenSSH's.
const TEXT_MAX: usize = 1023;
/// OpenSSH does not look a longer password up.
const PASSWORD_MAX: usize = 1024;
/// Requests after which OpenSSH gives up, counted or not. Others take any number of those that they do
/// not count, which nobody has: here they end as well.
const ATTEMPTS_MAX: u32 = 1024;
/// Answers that OpenSSH reads.
const ANSWERS_MAX: u32 = 100;
