//! The client's side of a key exchange, for our own small client.

use super::{Agreed, Fault, Kind, Method, curve, group, hybrid};
use super::{GEX_GROUP, GEX_INIT, GEX_REPLY, GEX_REQUEST, INIT, REPLY, end, string};
use crate::ssh::random::Random;
use crate::ssh::wire::Message;
use crate::wire::Reader;

/// One running exchange on the client's side.
pub(crate) struct Initiator {
    method: &'static Method,
    /// Bits of the group that it asks for, where it may.
    group_bits: u32,
    state: State,
}

/// What the client keeps until the server answers.
enum State {
    Curve(curve::Pair),
    Group(group::Pair),
    Hybrid(hybrid::Pair),
    /// Has asked for a group.
    Requested,
    /// Has sent a public value in the group that the server chose; what stands before the public
    /// values in the exchange hash.
    Chosen(group::Pair, Message),
    Done,
}

/// What a server's message means.
pub(crate) enum Heard {
    /// Send this, and wait for the next.
    Send(Message),
    /// The secret is there.
    Reply {
        /// The server's public key, without its length.
        host_key: Vec<u8>,
        /// What both sides share; `reply` and `public` as the server had them.
        agreed: Agreed,
        /// Made over the exchange hash.
        signature: Vec<u8>,
    },
}

impl Initiator {
    /// Starts, with the message to send.
    ///
    /// # Errors
    ///
    /// None in practice.
    pub(crate) fn new(
        method: &'static Method,
        group_bits: u32,
        random: &mut Random,
    ) -> Result<(Self, Message), Fault> {
        let (state, message) = match method.kind {
            Kind::Curve(curve) => {
                let pair = curve::Pair::new(curve, random)?;
                let message = Message::new(INIT).string(&pair.public);
                (State::Curve(pair), message)
            }
            Kind::Group(group) => {
                let pair = group::Pair::new(group.prime(), &[group.generator], random)?;
                let message = Message::new(INIT).mpint(&pair.public);
                (State::Group(pair), message)
            }
            Kind::Hybrid(kem) => {
                let pair = hybrid::Pair::new(kem, random)?;
                let message = Message::new(INIT).string(&pair.public);
                (State::Hybrid(pair), message)
            }
            Kind::GroupExchange => (State::Requested, Message::new(GEX_REQUEST).raw(&request(group_bits).0)),
        };
        Ok((Self { method, group_bits, state }, message))
    }

    /// Takes a message between 30 and 49, without its number.
    ///
    /// # Errors
    ///
    /// See [`Fault`].
    pub(crate) fn message(&mut self, number: u8, fields: &[u8], random: &mut Random) -> Result<Heard, Fault> {
        let state = std::mem::replace(&mut self.state, State::Done);
        match (state, number) {
            (State::Curve(pair), REPLY) => self.reply(number, fields, |theirs| {
                let shared = Message::part().mpint(&pair.agree(theirs)?);
                Ok((Message::part().string(&pair.public).string(theirs), shared))
            }),
            (State::Group(pair), REPLY) => self.reply(number, fields, |theirs| {
                let shared = Message::part().mpint(&pair.agree(group::positive(theirs)?)?);
                Ok((Message::part().mpint(&pair.public).string(theirs), shared))
            }),
            (State::Hybrid(pair), REPLY) => self.reply(number, fields, |theirs| {
                let shared = Message(pair.agree(self.method.hash, theirs)?);
                Ok((Message::part().string(&pair.public).string(theirs), shared))
            }),
            (State::Requested, GEX_GROUP) => {
                let mut rest = Reader(fields);
                let prime = group::positive(string(&mut rest)?)?;
                let generator = group::positive(string(&mut rest)?)?;
                end(rest)?;
                if !(128..=1024).contains(&prime.len()) {
                    return Err(Fault::Range);
                }
                let pair = group::Pair::new(prime.to_vec(), generator, random)?;
                let message = Message::new(GEX_INIT).mpint(&pair.public);
                self.state = State::Chosen(pair, request(self.group_bits).mpint(prime).mpint(generator));
                Ok(Heard::Send(message))
            }
            (State::Chosen(pair, before), GEX_REPLY) => self.reply(number, fields, |theirs| {
                let theirs = group::positive(theirs)?;
                let shared = Message::part().mpint(&pair.agree(theirs)?);
                Ok((before.mpint(&pair.public).mpint(theirs), shared))
            }),
            (state, _) => {
                self.state = state;
                Err(Fault::Unexpected)
            }
        }
    }

    /// Host key, public value, signature. `share` makes of the public value what is exchanged, and
    /// the secret.
    fn reply(
        &self,
        number: u8,
        fields: &[u8],
        share: impl FnOnce(&[u8]) -> Result<(Message, Message), Fault>,
    ) -> Result<Heard, Fault> {
        let mut fields = Reader(fields);
        let host_key = string(&mut fields)?.to_vec();
        let theirs = string(&mut fields)?;
        let signature = string(&mut fields)?.to_vec();
        end(fields)?;
        let (exchanged, shared) = share(theirs)?;
        let agreed = Agreed {
            hash: self.method.hash,
            exchanged: exchanged.0,
            shared: shared.0,
            reply: number,
            public: Message::part().string(theirs).0,
        };
        Ok(Heard::Reply { host_key, agreed, signature })
    }
}

/// The sizes our client asks for: the smallest and the largest are OpenSSH's.
fn request(group_bits: u32) -> Message {
    Message::part().u32(2048).u32(group_bits).u32(8192)
}
