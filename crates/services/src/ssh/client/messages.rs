//! What a client may say, as messages from their number on.

use crate::ssh::wire::{Message, number};

/// Asks for a service, such as `ssh-userauth`.
#[must_use]
pub fn service_request(name: &str) -> Vec<u8> {
    Message::new(number::SERVICE_REQUEST).string(name).0
}

/// Asks to be let in without anything, and thereby for the methods there are (RFC 4252 section 5.2).
#[must_use]
pub fn none(user: impl AsRef<[u8]>) -> Vec<u8> {
    login(user.as_ref(), "none").0
}

/// Tries a password.
#[must_use]
pub fn password(user: impl AsRef<[u8]>, password: impl AsRef<[u8]>) -> Vec<u8> {
    login(user.as_ref(), "password").boolean(false).string(password).0
}

/// Asks whether a public key would do, without a signature. [`Client::sign_in`] makes one with.
///
/// [`Client::sign_in`]: super::Client::sign_in
#[must_use]
pub fn offer_key(user: impl AsRef<[u8]>, algorithm: &str, key: &[u8]) -> Vec<u8> {
    public_key(user.as_ref(), false, algorithm, key).0
}

/// Asks to be asked (RFC 4256 section 3.1).
#[must_use]
pub fn interactive(user: impl AsRef<[u8]>) -> Vec<u8> {
    login(user.as_ref(), "keyboard-interactive").string("").string("").0
}

/// Answers what was asked.
#[must_use]
pub fn answers<'a>(answers: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let answers: Vec<&[u8]> = answers.into_iter().collect();
    let count = u32::try_from(answers.len()).unwrap_or(u32::MAX);
    let message = Message::new(number::USERAUTH_INFO_RESPONSE).u32(count);
    answers.into_iter().fold(message, Message::string).0
}

/// Opens a session with this number.
#[must_use]
pub fn open_session(channel: u32) -> Vec<u8> {
    Message::new(number::CHANNEL_OPEN).string("session").u32(channel).u32(0x20_0000).u32(0x8000).0
}

/// Asks for something in a channel, such as `exec` with a command as `string`, and wants an answer.
#[must_use]
pub fn channel_request(channel: u32, kind: &str, fields: &[u8]) -> Vec<u8> {
    Message::new(number::CHANNEL_REQUEST).u32(channel).string(kind).boolean(true).raw(fields).0
}

/// Says something in a channel.
#[must_use]
pub fn channel_data(channel: u32, data: &[u8]) -> Vec<u8> {
    Message::new(number::CHANNEL_DATA).u32(channel).string(data).0
}

/// Asks for something outside of channels, and wants an answer.
#[must_use]
pub fn global_request(kind: &str, fields: &[u8]) -> Vec<u8> {
    Message::new(number::GLOBAL_REQUEST).string(kind).boolean(true).raw(fields).0
}

/// `ping@openssh.com`.
#[must_use]
pub fn ping(data: &[u8]) -> Vec<u8> {
    Message::new(number::PING).string(data).0
}

/// Says goodbye (RFC 4253 section 11.1).
#[must_use]
pub fn disconnect(code: u32, text: &str) -> Vec<u8> {
    Message::new(number::DISCONNECT).u32(code).string(text).string("").0
}

fn login(user: &[u8], method: &str) -> Message {
    Message::new(number::USERAUTH_REQUEST).string(user).string("ssh-connection").string(method)
}

pub(super) fn public_key(user: &[u8], signed: bool, algorithm: &str, key: &[u8]) -> Message {
    login(user, "publickey").boolean(signed).string(algorithm).string(key)
}
