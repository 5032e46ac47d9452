//! `USERAUTH_REQUEST`, taken apart so that whatever can be read of a broken one is still known.

use super::super::fields::{Faults, Fields};

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
            b"password" => password(&mut fields),
            b"publickey" => key(&mut fields, false, payload),
            BOUND => key(&mut fields, true, payload),
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

fn password<'a>(fields: &mut Fields<'a>) -> How<'a> {
    let change = fields.boolean("password change");
    let password = fields.text("password");
    if fields.faults.short.is_some() {
        return How::Other;
    }
    let new = change.then(|| fields.string("new password"));
    fields.end();
    How::Password(password, new)
}

fn key<'a>(fields: &mut Fields<'a>, bound: bool, payload: &'a [u8]) -> How<'a> {
    let signed = fields.boolean("signature mark");
    let algorithm = fields.text("key algorithm");
    let blob = fields.string("key");
    if fields.faults.short.is_some() {
        return How::Other;
    }
    let bound_to = bound.then(|| fields.string("host key"));
    let said = payload.len().saturating_sub(fields.left());
    let signature = if signed { fields.string("signature") } else { &[] };
    fields.end();
    let signature = (payload.get(..said).unwrap_or_default(), signature);
    How::Key(Key { signed, algorithm, blob, bound_to, signature })
}

/// OpenSSH 8.9's variant of `publickey`, whose signature covers the server's key.
pub(super) const BOUND: &[u8] = b"publickey-hostbound-v00@openssh.com";
