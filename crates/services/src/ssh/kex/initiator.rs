//! The client's side of a key exchange, for our own small client.

use super::curve;
use super::{Agreed, Fault, INIT, Kind, Method, REPLY, end, string};
use crate::ssh::random::Random;
use crate::ssh::wire::Message;
use crate::wire::Reader;

/// One running exchange on the client's side.
#[derive(Debug)]
pub(crate) struct Initiator {
    method: &'static Method,
    state: State,
}

/// What the client keeps until the server answers.
#[derive(Debug)]
enum State {
    Curve(curve::Pair),
    Done,
}

/// What a server's message means.
#[derive(Debug)]
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
    pub(crate) fn new(method: &'static Method, random: &mut Random) -> Result<(Self, Message), Fault> {
        let (state, public) = match method.kind {
            Kind::Curve(curve) => {
                let pair = curve::Pair::new(curve, random)?;
                let public = pair.public.clone();
                (State::Curve(pair), public)
            }
        };
        Ok((Self { method, state }, Message::new(INIT).string(public)))
    }

    /// Takes a message between 30 and 49, without its number.
    ///
    /// # Errors
    ///
    /// See [`Fault`].
    pub(crate) fn message(&mut self, number: u8, fields: &[u8]) -> Result<Heard, Fault> {
        let state = std::mem::replace(&mut self.state, State::Done);
        match (state, number) {
            (State::Curve(pair), REPLY) => self.reply(number, fields, &pair.public, |theirs| {
                Ok(Message::part().mpint(&pair.agree(theirs)?).0)
            }),
            (state, _) => {
                self.state = state;
                Err(Fault::Unexpected)
            }
        }
    }

    /// Host key, public value, signature.
    fn reply(
        &self,
        number: u8,
        fields: &[u8],
        ours: &[u8],
        share: impl FnOnce(&[u8]) -> Result<Vec<u8>, Fault>,
    ) -> Result<Heard, Fault> {
        let mut fields = Reader(fields);
        let host_key = string(&mut fields)?.to_vec();
        let theirs = string(&mut fields)?;
        let signature = string(&mut fields)?.to_vec();
        end(fields)?;
        let shared = share(theirs)?;
        let public = Message::part().string(theirs).0;
        let exchanged = Message::part().string(ours).raw(&public).0;
        let agreed = Agreed { hash: self.method.hash, exchanged, shared, reply: number, public };
        Ok(Heard::Reply { host_key, agreed, signature })
    }
}
