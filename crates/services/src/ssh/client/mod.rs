//! A small SSH client of our own, without a socket: bytes in, bytes out.
//!
//! For tests of what lies behind the keys, for load, for fuzzing, and for a sensor that tries itself.
//! It says what it is told to say, in order and with the algorithms it is told to offer; it decides
//! nothing about whom to trust.
//!
//! ```
//! use serin_services::ssh::client::{self, Client, Heard, Offer};
//!
//! # fn main() -> Result<(), client::Failure> {
//! let mut client = Client::new(Offer::default(), [7; 32]);
//! let mut out = client.open();
//! for heard in client.input(b"SSH-2.0-OpenSSH_9.2\r\n", &mut out)? {
//!     if let Heard::Keys(_) = heard {
//!         client.send(&client::service_request("ssh-userauth"), &mut out);
//!     }
//! }
//! // The identification and a KEXINIT are in `out` now, for the server.
//! assert!(out.starts_with(b"SSH-2.0-"));
//! # Ok(())
//! # }
//! ```

mod exchange;
mod messages;
#[cfg(test)]
mod tests;

pub use messages::{
    answers, channel_data, channel_request, disconnect, global_request, interactive, none, offer_key,
    open_session, password, ping, service_request,
};

use super::compression;
use super::hostkey::HostKey;
use super::packet::{self, Padding, Receiving, Sending};
use super::random::Random;
use super::wire::{Message, number};
use crate::wire::first_line;
use exchange::Exchange;

/// Bytes of text that a server may send before it identifies itself.
const LINES_MAX: usize = 64 * 1024;

/// What a client says of itself, and what it offers: sent as it stands, known or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The identification line, without its ending.
    pub identification: String,
    /// Key exchange methods, and markers such as `ext-info-c`.
    pub kex: Vec<String>,
    /// Host key algorithms.
    pub host_keys: Vec<String>,
    /// Ciphers, for both directions.
    pub ciphers: Vec<String>,
    /// MACs, for both directions.
    pub macs: Vec<String>,
    /// Compression, for both directions.
    pub compression: Vec<String>,
    /// Bits of the group to ask for in a group exchange.
    pub group_bits: u32,
    /// Send KEXINIT at once, instead of after the server's identification.
    pub eager: bool,
}

impl Default for Offer {
    /// What any server of the last ten years can answer cheaply.
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(|&it| it.to_owned()).collect();
        Self {
            identification: "SSH-2.0-Serin".into(),
            kex: list(&[
                "curve25519-sha256",
                "curve25519-sha256@libssh.org",
                "ecdh-sha2-nistp256",
                "diffie-hellman-group14-sha256",
                "diffie-hellman-group14-sha1",
                "ext-info-c",
                "kex-strict-c-v00@openssh.com",
            ]),
            host_keys: list(&[
                "ssh-ed25519",
                "ecdsa-sha2-nistp256",
                "rsa-sha2-512",
                "rsa-sha2-256",
                "ssh-rsa",
            ]),
            ciphers: list(&[
                "chacha20-poly1305@openssh.com",
                "aes128-gcm@openssh.com",
                "aes128-ctr",
                "aes128-cbc",
                "3des-cbc",
            ]),
            macs: list(&["hmac-sha2-256-etm@openssh.com", "hmac-sha2-256", "hmac-sha1"]),
            compression: list(&["none"]),
            group_bits: 3072,
            eager: false,
        }
    }
}

/// What came from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A line of text, before or instead of an identification.
    Line(Vec<u8>),
    /// Its identification line, without the ending.
    Identification(Vec<u8>),
    /// New keys are in use in both directions.
    Keys(Agreement),
    /// A message that is not part of a key exchange, from its number on.
    Message(Vec<u8>),
}

/// What client and server agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// Key exchange method.
    pub kex: String,
    /// Host key algorithm.
    pub host_key: String,
    /// Ciphers: to the server, and back.
    pub ciphers: [String; 2],
    /// MACs, the same; empty where the cipher brings its own.
    pub macs: [String; 2],
    /// Compression, the same.
    pub compression: [String; 2],
    /// The server's public key, as it stands in messages.
    pub public_key: Vec<u8>,
    /// Whether the signature was checked; it is not for kinds of key that only old servers have.
    pub proved: bool,
}

/// Why a conversation cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Too much text, and no identification.
    #[error("the server does not identify itself")]
    Identification,
    /// A packet that cannot be read.
    #[error("a wrong packet: {0}")]
    Packet(String),
    /// A message that cannot be read: this one.
    #[error("a malformed {0}")]
    Malformed(&'static str),
    /// Nothing in common: of what, in words.
    #[error("{0}")]
    NothingInCommon(&'static str),
    /// The server chose something that is not known here.
    #[error("{0} is not known")]
    Unknown(String),
    /// The key exchange went wrong.
    #[error("key exchange: {0}")]
    Exchange(&'static str),
    /// The host key's signature is not right.
    #[error("the host key's signature is wrong")]
    Signature,
    /// A message that may not come now.
    #[error("message {0} is out of place")]
    OutOfPlace(u8),
}

/// One connection.
pub struct Client {
    offer: Offer,
    random: Random,
    sending: Sending,
    receiving: Receiving,
    /// What has come and was not used yet.
    waiting: Vec<u8>,
    /// The server's identification line, once it has come.
    server: Option<Vec<u8>>,
    exchange: Exchange,
    /// The hash of the first exchange; empty before.
    session_id: Vec<u8>,
    /// Messages that wait for the end of a key exchange.
    held: Vec<Vec<u8>>,
    /// What was agreed on for each direction.
    compression: [String; 2],
    logged_in: bool,
}

impl Client {
    /// A client whose random choices follow from `secret`.
    #[must_use]
    pub fn new(offer: Offer, secret: [u8; 32]) -> Self {
        Self {
            offer,
            random: Random::new(secret),
            sending: Sending::new(Padding::Random),
            receiving: Receiving::new(&packet::OPENSSH),
            waiting: Vec::new(),
            server: None,
            exchange: Exchange::default(),
            session_id: Vec::new(),
            held: Vec::new(),
            compression: Default::default(),
            logged_in: false,
        }
    }

    /// What to send first.
    pub fn open(&mut self) -> Vec<u8> {
        let mut out = format!("{}\r\n", self.offer.identification).into_bytes();
        if self.offer.eager {
            self.rekey(&mut out);
        }
        out
    }

    /// Takes what has come; adds what is to be sent to `out`.
    ///
    /// # Errors
    ///
    /// When the server broke the rules; the connection is over. What was heard before is lost.
    pub fn input(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Vec<Heard>, Failure> {
        let mut heard = Vec::new();
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.extend_from_slice(bytes);
        let mut rest = &waiting[..];
        while self.server.is_none() {
            let Some((line, after)) = first_line(rest) else { break };
            rest = after;
            heard.push(self.line(line, out));
        }
        while self.server.is_some() {
            let packet = self.receiving.packet(&mut rest).map_err(|it| Failure::Packet(format!("{it:?}")))?;
            let Some(payload) = packet else { break };
            heard.extend(self.payload(payload, out)?);
        }
        if self.server.is_none() && rest.len() > LINES_MAX {
            return Err(Failure::Identification);
        }
        self.waiting = rest.to_vec();
        Ok(heard)
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Heard {
        if !line.starts_with(b"SSH-") {
            return Heard::Line(line.to_vec());
        }
        self.server = Some(line.to_vec());
        self.rekey(out);
        Heard::Identification(line.to_vec())
    }

    fn payload(&mut self, payload: Vec<u8>, out: &mut Vec<u8>) -> Result<Option<Heard>, Failure> {
        let Some((&kind, fields)) = payload.split_first() else { return Ok(None) };
        match kind {
            number::KEXINIT => {
                self.rekey(out);
                self.kexinit(&payload, out)?;
            }
            number::KEX_FIRST..=number::KEX_LAST => self.exchanged(kind, fields, out)?,
            number::NEWKEYS => return self.newkeys().map(Some),
            number::USERAUTH_SUCCESS => {
                self.logged_in = true;
                if self.compression[0] == compression::DELAYED {
                    self.sending.compress();
                }
                if self.compression[1] == compression::DELAYED {
                    self.receiving.decompress();
                }
                return Ok(Some(Heard::Message(payload)));
            }
            _ => return Ok(Some(Heard::Message(payload))),
        }
        Ok(None)
    }

    /// Begins a key exchange with a KEXINIT, unless one is under way.
    pub fn rekey(&mut self, out: &mut Vec<u8>) {
        if !self.exchange.is_under_way() {
            let message = self.kexinit_message();
            self.send_now(&message, out);
            self.exchange.begin(message);
        }
    }

    /// Sends a message, from its number on; after the key exchange, if one is under way.
    pub fn send(&mut self, message: &[u8], out: &mut Vec<u8>) {
        if self.exchange.is_under_way() {
            self.held.push(message.to_vec());
        } else {
            self.send_now(message, out);
        }
    }

    /// Sends a message now, whether it may be sent or not.
    pub fn send_now(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.sending.packet(message, &mut self.random, out);
    }

    /// The hash of the first key exchange; empty before there is one.
    #[must_use]
    pub fn session_id(&self) -> &[u8] {
        &self.session_id
    }

    /// The number of the next packet to the server.
    #[must_use]
    pub fn sequence(&self) -> u32 {
        self.sending.sequence()
    }

    /// A request to log in with this key, signed (RFC 4252 section 7). `None` before there are keys,
    /// or if the key has no such algorithm.
    #[must_use]
    pub fn sign_in(&mut self, user: impl AsRef<[u8]>, algorithm: &str, key: &HostKey) -> Option<Vec<u8>> {
        if self.session_id.is_empty() {
            return None;
        }
        let request = messages::public_key(user.as_ref(), true, algorithm, key.blob());
        let data = Message::part().string(&self.session_id).raw(&request.0);
        let signature = key.sign(algorithm, &data.0, &mut self.random).ok()?;
        Some(request.string(signature).0)
    }
}
