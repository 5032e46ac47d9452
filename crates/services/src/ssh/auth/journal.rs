//! What of authentication becomes an event, and what is no news.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use serin_event::kinds;
use serin_event::{Event, Tainted};

use super::super::fields::Faults;
use super::super::tell::{FIELD_MAX, tell};
use super::super::{Client, Face, Want};
use super::key;
use super::request::{How, Key, Request};

/// Reports requests, each as soon as it comes. Keys and unusual methods are reported once; `none`,
/// with which many clients begin, at the end or with the next name, and only where nothing else was
/// tried for its user.
pub(super) struct Journal {
    face: Arc<Face>,
    client: Arc<Client>,
    /// Who was asked about last with `none`, and with nothing else.
    only_none: Option<Tainted>,
    /// Digests of what was reported and is not again.
    reported: Vec<Digest>,
    /// Signatures that were checked.
    checked: u8,
}

/// SHA-256 of several parts.
pub(super) type Digest = [u8; 32];

impl Journal {
    pub(super) fn new(face: Arc<Face>, client: Arc<Client>) -> Self {
        Self { face, client, only_none: None, reported: Vec::new(), checked: 0 }
    }

    /// Reports a request before anything is made of it, unless the client is asked something first.
    pub(super) fn request(
        &mut self,
        request: &Request<'_>,
        accepted: bool,
        asks: bool,
        wants: &mut Vec<Want>,
    ) {
        let user = request.user;
        match &request.how {
            How::Password(password, new) => {
                self.password(user, password, *new, "password", accepted, wants);
            }
            How::Key(key) => self.key(key, user, wants),
            How::Nothing if request.faults == Faults::default() => {
                if self.is_new(&[b"user", user]) {
                    let before = self.only_none.replace(Tainted::new(user, FIELD_MAX));
                    self.none(before, wants);
                }
            }
            How::Interactive(_) if asks => {}
            _ => self.method(user, request.method, request.faults.problem(), wants),
        }
    }

    /// Reports a password.
    pub(super) fn password(
        &mut self,
        user: &[u8],
        password: &[u8],
        new: Option<&[u8]>,
        method: &'static str,
        accepted: bool,
        wants: &mut Vec<Want>,
    ) {
        self.more_than_none(user);
        let event = Event::new(&kinds::SSH_LOGIN).with("METHOD", method).with("ACCEPTED", accepted);
        let mut said = vec![("PASSWORD", password), ("USERNAME", user)];
        said.extend(new.map(|it| ("NEWPASSWORD", it)));
        wants.push(Want::Report(tell(self.client.tell(&self.face, event), &said)));
    }

    /// Reports an attempt that shows no secret.
    pub(super) fn method(
        &mut self,
        user: &[u8],
        method: &[u8],
        problem: Option<String>,
        wants: &mut Vec<Want>,
    ) {
        self.more_than_none(user);
        if !self.is_new(&[b"method", user, method, problem.as_deref().unwrap_or_default().as_bytes()]) {
            return;
        }
        let mut event = self.client.tell(&self.face, Event::new(&kinds::SSH_METHOD));
        if let Some(problem) = problem {
            event = event.with("PROBLEM", problem);
        }
        wants.push(Want::Report(tell(event, &[("METHOD", method), ("USERNAME", user)])));
    }

    /// The connection is over.
    pub(super) fn closed(&mut self, wants: &mut Vec<Want>) {
        let user = self.only_none.take();
        self.none(user, wants);
    }

    /// Reports who was asked about with nothing but `none`.
    fn none(&self, user: Option<Tainted>, wants: &mut Vec<Want>) {
        if let Some(user) = user {
            let event = self.client.tell(&self.face, Event::new(&kinds::SSH_METHOD));
            wants.push(Want::Report(event.with("METHOD", "none").with("USERNAME", user)));
        }
    }

    fn key(&mut self, key: &Key<'_>, user: &[u8], wants: &mut Vec<Want>) {
        self.more_than_none(user);
        let signed: &[u8] = if key.signed { b"+" } else { b"-" };
        if !self.is_new(&[b"key", user, key.blob, signed]) {
            return;
        }
        let described = key::describe(key.algorithm, key.blob);
        let mut event = Event::new(&kinds::SSH_PUBLICKEY)
            .with("FINGERPRINT", described.fingerprint)
            .with("KEYTYPE", described.kind)
            .with("KEY", key::shown(key.blob))
            .with("SIGNED", key.signed);
        if let Some(bits) = described.bits {
            event = event.with("BITS", i64::try_from(bits).unwrap_or(i64::MAX));
        }
        if key.signed
            && self.may_check()
            && let Some(proved) = key::proved(key, &self.client.session_id)
        {
            event = event.with("PROVED", proved);
        }
        let event = self.client.tell(&self.face, event);
        wants.push(Want::Report(tell(event, &[("ALGORITHM", key.algorithm), ("USERNAME", user)])));
    }

    fn more_than_none(&mut self, user: &[u8]) {
        self.is_new(&[b"user", user]);
        self.only_none.take_if(|it| *it == Tainted::new(user, FIELD_MAX));
    }

    /// Whether one more signature is checked: that costs up to half a millisecond, and Dropbear takes
    /// any number of keys.
    fn may_check(&mut self) -> bool {
        self.checked = self.checked.saturating_add(1);
        self.checked <= CHECKED_MAX
    }

    /// Whether this was not noted yet on this connection, as far as that is remembered.
    fn is_new(&mut self, what: &[&[u8]]) -> bool {
        let digest = digest(what);
        if self.reported.contains(&digest) {
            return false;
        }
        if self.reported.len() < REPORTED_MAX {
            self.reported.push(digest);
        }
        true
    }
}

/// Different for different parts, wherever one ends and the next begins.
pub(super) fn digest(parts: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    let mut digest = Digest::default();
    digest.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    digest
}

/// Signatures that are checked on one connection: of the keys after these it is not known whether the
/// client holds them.
const CHECKED_MAX: u8 = 64;
/// Events that are remembered, so that they are not reported again.
const REPORTED_MAX: usize = 64;
