//! `USERAUTH_REQUEST`, taken apart so that whatever can be read of a broken one is still known.

use super::super::profile::Product;
use crate::wire::Reader;

/// One `USERAUTH_REQUEST` (RFC 4252 section 5). What could not be read is empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    pub(super) user: &'a [u8],
    pub(super) service: &'a [u8],
    pub(super) method: &'a [u8],
    pub(super) how: How<'a>,
    pub(super) faults: Faults,
}

/// What a request brings, by its method.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum How<'a> {
    /// RFC 4252 section 5.2.
    Nothing,
    /// RFC 4252 section 8. The second is the new password of a change.
    Password(&'a [u8], Option<&'a [u8]>),
    /// RFC 4252 section 7.
    Key(Key<'a>),
    /// The submethods of RFC 4256.
    Interactive(&'a [u8]),
    /// Another method, or one whose first field is not there.
    Other,
}

/// A public key, and what came with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    pub(super) signed: bool,
    pub(super) algorithm: &'a [u8],
    pub(super) blob: &'a [u8],
    /// The server's key that the client saw, in OpenSSH's variant of the method.
    pub(super) bound_to: Option<&'a [u8]>,
    /// The part of the message that is signed, and the signature.
    pub(super) signature: (&'a [u8], &'a [u8]),
}

/// What is wrong with a message.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::ssh) struct Faults {
    /// It ends within this field.
    pub(in crate::ssh) short: Option<&'static str>,
    /// A text has a NUL before its end, which OpenSSH takes for a broken message.
    pub(in crate::ssh) nul: Option<&'static str>,
    /// Bytes follow the last field.
    pub(in crate::ssh) tail: bool,
}

impl Faults {
    /// Whether a server of this product ends over such a message.
    pub(in crate::ssh) fn end(self, product: Product) -> bool {
        self.short.is_some() || product == Product::OpenSsh && (self.nul.is_some() || self.tail)
    }

    /// For an event.
    pub(super) fn problem(self) -> Option<String> {
        match self {
            Self { short: Some(field), .. } => Some(format!("ends within the {field}")),
            Self { nul: Some(field), .. } => Some(format!("has a NUL in the {field}")),
            Self { tail: true, .. } => Some("has bytes behind its end".to_owned()),
            _ => None,
        }
    }
}

impl<'a> Request<'a> {
    /// Reads what follows the message number.
    pub(super) fn read(payload: &'a [u8]) -> Self {
        let mut fields = Fields::new(payload);
        let (user, service) = (fields.text("user name"), fields.text("service"));
        let method = fields.text("method");
        let how = match method {
            _ if fields.faults.short.is_some() => How::Other,
            b"none" => {
                fields.end();
                How::Nothing
            }
            b"password" => fields.password(),
            b"publickey" => fields.key(false, payload),
            BOUND => fields.key(true, payload),
            b"keyboard-interactive" => {
                fields.text("language");
                let submethods = fields.text("submethods");
                fields.end();
                if fields.faults.short.is_some() { How::Other } else { How::Interactive(submethods) }
            }
            _ => How::Other,
        };
        Self { user, service, method, how, faults: fields.faults }
    }

    /// The account's name: OpenSSH takes what follows a colon for something else.
    pub(super) fn account(&self) -> &'a [u8] {
        self.user.split(|&it| it == b':').next().unwrap_or_default()
    }
}

/// Reads fields as far as they go.
pub(in crate::ssh) struct Fields<'a> {
    rest: Reader<'a>,
    pub(in crate::ssh) faults: Faults,
}

impl<'a> Fields<'a> {
    pub(in crate::ssh) fn new(payload: &'a [u8]) -> Self {
        Self { rest: Reader(payload), faults: Faults::default() }
    }

    /// A number; 0 where it is not there.
    pub(in crate::ssh) fn u32(&mut self, field: &'static str) -> u32 {
        self.take(field, |rest| rest.u32(field).ok()).unwrap_or_default()
    }

    /// A `boolean`; false where it is not there.
    pub(in crate::ssh) fn boolean(&mut self, field: &'static str) -> bool {
        self.take(field, |rest| rest.boolean(field).ok()).unwrap_or_default()
    }

    /// A `string` of any bytes.
    pub(in crate::ssh) fn string(&mut self, field: &'static str) -> &'a [u8] {
        self.take(field, |rest| rest.string(field).ok()).unwrap_or_default()
    }

    /// A `string` that OpenSSH takes for text, which may end in a NUL but have none inside.
    pub(in crate::ssh) fn text(&mut self, field: &'static str) -> &'a [u8] {
        let text = self.string(field);
        let text = text.strip_suffix(b"\0").unwrap_or(text);
        if text.contains(&0) {
            self.faults.nul.get_or_insert(field);
        }
        text
    }

    /// Whether nothing is left, or nothing can be read any more.
    pub(in crate::ssh) fn is_over(&self) -> bool {
        self.rest.0.is_empty() || self.faults.short.is_some()
    }

    /// Nothing more is expected.
    pub(in crate::ssh) fn end(&mut self) {
        self.faults.tail = self.faults.short.is_none() && !self.rest.0.is_empty();
    }

    fn take<T>(&mut self, field: &'static str, read: impl FnOnce(&mut Reader<'a>) -> Option<T>) -> Option<T> {
        if self.faults.short.is_some() {
            return None;
        }
        let value = read(&mut self.rest);
        if value.is_none() {
            self.faults.short = Some(field);
        }
        value
    }

    fn password(&mut self) -> How<'a> {
        let change = self.boolean("password change");
        let password = self.text("password");
        if self.faults.short.is_some() {
            return How::Other;
        }
        let new = change.then(|| self.string("new password"));
        self.end();
        How::Password(password, new)
    }

    fn key(&mut self, bound: bool, payload: &'a [u8]) -> How<'a> {
        let signed = self.boolean("signature mark");
        let algorithm = self.text("key algorithm");
        let blob = self.string("key");
        if self.faults.short.is_some() {
            return How::Other;
        }
        let bound_to = bound.then(|| self.string("host key"));
        let said = payload.len().saturating_sub(self.rest.0.len());
        let signature = if signed { self.string("signature") } else { &[] };
        self.end();
        let signature = (payload.get(..said).unwrap_or_default(), signature);
        How::Key(Key { signed, algorithm, blob, bound_to, signature })
    }
}

/// OpenSSH 8.9's variant of `publickey`, whose signature covers the server's key.
pub(super) const BOUND: &[u8] = b"publickey-hostbound-v00@openssh.com";
