//! Key exchange methods: what client and server tell each other to share a secret.
//!
//! RFC 4253 section 8, RFC 4419, RFC 5656, RFC 8268, RFC 8731, draft-ietf-sshm-ntruprime-ssh,
//! draft-ietf-sshm-mlkem-hybrid-kex. The checks and their order are those of OpenSSH 9.2
//! (kexgen.c, kexgexs.c and what they call).
//!
//! The exchange hash, the host key and its signature are the transport's business. Everything
//! secret is drawn from the connection's generator, so that a session replays.

mod curve;
mod group;
mod hybrid;
pub(crate) mod initiator;
mod primes;

use aws_lc_rs::digest;

pub(crate) use aws_lc_rs::digest::Algorithm as Hash;
pub(crate) use group::Groups;

use curve::Curve;
use group::{Group, Request};
use hybrid::Kem;

use super::random::Random;
use super::wire::Message;
use crate::wire::Reader;

/// Bytes of a prime from which on an exchange takes milliseconds.
const LABORIOUS: usize = 3072 / 8;

/// One key exchange method.
#[derive(Debug)]
pub(crate) struct Method {
    /// As in the name-list of KEXINIT.
    pub(crate) name: &'static str,
    /// Makes the exchange hash and derives the keys.
    pub(crate) hash: &'static Hash,
    kind: Kind,
}

/// What a method computes.
#[derive(Debug)]
enum Kind {
    /// Diffie-Hellman on this curve.
    Curve(Curve),
    /// Diffie-Hellman in this group.
    Group(Group),
    /// Diffie-Hellman in a group of the server's choice.
    GroupExchange,
    /// Curve25519 and this.
    Hybrid(Kem),
}

/// All methods there are.
static METHODS: &[Method] = &[
    Method { name: "mlkem768x25519-sha256", hash: &digest::SHA256, kind: Kind::Hybrid(Kem::MlKem768) },
    Method { name: "sntrup761x25519-sha512", hash: &digest::SHA512, kind: Kind::Hybrid(Kem::Sntrup761) },
    Method {
        name: "sntrup761x25519-sha512@openssh.com",
        hash: &digest::SHA512,
        kind: Kind::Hybrid(Kem::Sntrup761),
    },
    Method { name: "curve25519-sha256", hash: &digest::SHA256, kind: Kind::Curve(Curve::X25519) },
    Method { name: "curve25519-sha256@libssh.org", hash: &digest::SHA256, kind: Kind::Curve(Curve::X25519) },
    Method { name: "ecdh-sha2-nistp256", hash: &digest::SHA256, kind: Kind::Curve(Curve::P256) },
    Method { name: "ecdh-sha2-nistp384", hash: &digest::SHA384, kind: Kind::Curve(Curve::P384) },
    Method { name: "ecdh-sha2-nistp521", hash: &digest::SHA512, kind: Kind::Curve(Curve::P521) },
    Method { name: "diffie-hellman-group1-sha1", hash: SHA1, kind: Kind::Group(primes::GROUP1) },
    Method { name: "diffie-hellman-group14-sha1", hash: SHA1, kind: Kind::Group(primes::GROUP14) },
    Method {
        name: "diffie-hellman-group14-sha256",
        hash: &digest::SHA256,
        kind: Kind::Group(primes::GROUP14),
    },
    Method {
        name: "diffie-hellman-group15-sha512",
        hash: &digest::SHA512,
        kind: Kind::Group(primes::GROUP15),
    },
    Method {
        name: "diffie-hellman-group16-sha512",
        hash: &digest::SHA512,
        kind: Kind::Group(primes::GROUP16),
    },
    Method {
        name: "diffie-hellman-group17-sha512",
        hash: &digest::SHA512,
        kind: Kind::Group(primes::GROUP17),
    },
    Method {
        name: "diffie-hellman-group18-sha512",
        hash: &digest::SHA512,
        kind: Kind::Group(primes::GROUP18),
    },
    Method { name: "diffie-hellman-group-exchange-sha1", hash: SHA1, kind: Kind::GroupExchange },
    Method { name: "diffie-hellman-group-exchange-sha256", hash: &digest::SHA256, kind: Kind::GroupExchange },
];

/// Only for methods that name it.
static SHA1: &Hash = &digest::SHA1_FOR_LEGACY_USE_ONLY;

/// The method of this name.
pub(crate) fn find(name: &[u8]) -> Option<&'static Method> {
    METHODS.iter().find(|it| it.name.as_bytes() == name)
}

/// What both sides share once a method is through.
pub(crate) struct Agreed {
    /// The method's hash.
    pub(crate) hash: &'static Hash,
    /// The fields of the exchange hash between the host key and the secret, encoded.
    pub(crate) exchanged: Vec<u8>,
    /// The secret, encoded as the last field of the exchange hash: `mpint`, or `string` of the hybrids.
    pub(crate) shared: Vec<u8>,
    /// Number of the server's last message.
    pub(crate) reply: u8,
    /// Its field between the host key and the signature, encoded.
    pub(crate) public: Vec<u8>,
}

impl Agreed {
    /// The exchange hash, H of RFC 4253 section 8, for what was [`said`] before and a server with
    /// this public key.
    pub(crate) fn exchange_hash(&self, mut said: digest::Context, host_key: &[u8]) -> Vec<u8> {
        said.update(&Message::part().string(host_key).raw(&self.exchanged).raw(&self.shared).0);
        said.finish().as_ref().to_vec()
    }
}

/// What every exchange hash begins with: the identification of the client and of the server, and
/// the KEXINIT of both.
pub(crate) fn said(
    hash: &'static Hash,
    identifications: [&[u8]; 2],
    kexinits: [&[u8]; 2],
) -> digest::Context {
    let mut said = digest::Context::new(hash);
    for part in identifications.into_iter().chain(kexinits) {
        said.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        said.update(part);
    }
    said
}

/// What to do after a client's message.
pub(crate) enum Step {
    /// Send this, and wait for the next.
    Send(Message),
    /// The secret is there: sign and reply.
    Agreed(Agreed),
}

/// What is wrong with a message. All but the first end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No message of this number is expected now. The exchange goes on.
    Unexpected,
    /// It ends within a field, or a finite-field public value is out of range or too simple.
    Incomplete,
    /// Something follows its last field.
    Trailing,
    /// A string claims more than any packet could hold.
    StringTooLarge,
    /// A number that must be positive is negative.
    Negative,
    /// A number of more than 16384 bits.
    NumberTooLarge,
    /// A group exchange for sizes that contradict each other, or that the server has not.
    Range,
    /// A curve point of no or more than 133 bytes.
    PointTooLarge,
    /// Not a curve point.
    Format,
    /// A Curve25519 or hybrid public value of the wrong length, or an ML-KEM key out of range.
    Signature,
    /// A Curve25519 public value of low order: everyone would know the secret.
    LowOrder,
}

impl Fault {
    /// OpenSSH's words for it (ssherr.c), as its log has them.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Unexpected => "protocol error",
            Self::Incomplete => "incomplete message",
            Self::Trailing => "unexpected bytes remain after decoding",
            Self::StringTooLarge => "string is too large",
            Self::Negative => "bignum is negative",
            Self::NumberTooLarge => "bignum is too large",
            Self::Range => "DH GEX group out of range",
            Self::PointTooLarge => "elliptic curve point is too large",
            Self::Format => "invalid format",
            Self::Signature => "incorrect signature",
            Self::LowOrder => "invalid elliptic curve value",
        }
    }
}

/// One running exchange on the server's side.
pub(crate) struct Exchange {
    method: &'static Method,
    groups: Groups,
    state: State,
}

/// What is expected of the client.
enum State {
    /// The sizes of the group it wants (message 34, or 30).
    Request,
    /// Its public value in this group (message 32). The request is kept as it came.
    Chosen { request: Vec<u8>, group: Group },
    /// Its public value (message 30).
    Public,
    /// Nothing more.
    Done,
}

impl Exchange {
    /// One that has not heard anything yet. `groups` matter to group exchanges only.
    pub(crate) fn new(method: &'static Method, groups: Groups) -> Self {
        let state = if let Kind::GroupExchange = method.kind { State::Request } else { State::Public };
        Self { method, groups, state }
    }

    /// Whether a public value means milliseconds of computing: a group of 3,072 bits or more, or of
    /// any size that the client likes.
    pub(crate) fn laborious(&self) -> bool {
        match self.method.kind {
            Kind::Group(group) => group.size() >= LABORIOUS,
            Kind::GroupExchange => true,
            Kind::Curve(_) | Kind::Hybrid(_) => false,
        }
    }

    /// Takes a message between 30 and 49, without its number. Everything costly happens in the one
    /// that carries a public value, and there is one of those.
    ///
    /// # Errors
    ///
    /// See [`Fault`].
    pub(crate) fn message(&mut self, number: u8, fields: &[u8], random: &mut Random) -> Result<Step, Fault> {
        let state = std::mem::replace(&mut self.state, State::Done);
        match (state, number) {
            (State::Public, INIT) => self.public(fields, random).map(Step::Agreed),
            (State::Request, GEX_REQUEST) => {
                let mut rest = Reader(fields);
                let request = Request::read(&mut rest)?;
                end(rest)?;
                self.choose(request, fields, random).map(Step::Send)
            }
            (State::Request, INIT) if self.groups.old_request => {
                let mut rest = Reader(fields);
                let wanted = rest.u32("n").map_err(|_| Fault::Incomplete)?;
                end(rest)?;
                let Groups { min, max, .. } = self.groups;
                self.choose(Request { min, wanted: wanted.clamp(min, max), max }, fields, random)
                    .map(Step::Send)
            }
            (State::Chosen { request, group }, GEX_INIT) => {
                self.chosen(&request, group, fields, random).map(Step::Agreed)
            }
            (state, _) => {
                self.state = state;
                Err(Fault::Unexpected)
            }
        }
    }

    /// Both public values of a method that takes one message from each side.
    fn public(&self, fields: &[u8], random: &mut Random) -> Result<Agreed, Fault> {
        let mut fields = Reader(fields);
        let theirs = string(&mut fields)?;
        end(fields)?;
        let Answer { public, shared } = match self.method.kind {
            Kind::Curve(curve) => curve::answer(curve, theirs, random)?,
            Kind::Group(group) => group::answer(group, group::positive(theirs)?, random)?,
            Kind::Hybrid(kem) => hybrid::answer(kem, self.method.hash, theirs, random)?,
            Kind::GroupExchange => return Err(Fault::Unexpected),
        };
        // The client's value as it came, even with leading zeros.
        let exchanged = Message::part().string(theirs).raw(&public).0;
        Ok(Agreed { hash: self.method.hash, exchanged, shared, reply: REPLY, public })
    }

    /// Chooses a group: `SSH_MSG_KEX_DH_GEX_GROUP`.
    fn choose(&mut self, request: Request, fields: &[u8], random: &mut Random) -> Result<Message, Fault> {
        let group = self.groups.choose(request, random)?;
        self.state = State::Chosen { request: fields.to_vec(), group };
        Ok(Message::new(GEX_GROUP).mpint(&group.prime()).mpint(&[group.generator]))
    }

    /// Both public values in the chosen group.
    fn chosen(
        &self,
        request: &[u8],
        group: Group,
        fields: &[u8],
        random: &mut Random,
    ) -> Result<Agreed, Fault> {
        let mut fields = Reader(fields);
        let theirs = group::positive(string(&mut fields)?)?;
        end(fields)?;
        let Answer { public, shared } = group::answer(group, theirs, random)?;
        let exchanged = Message::part().raw(request).mpint(&group.prime()).mpint(&[group.generator]);
        let exchanged = exchanged.mpint(theirs).raw(&public).0;
        Ok(Agreed { hash: self.method.hash, exchanged, shared, reply: GEX_REPLY, public })
    }
}

/// A server's answer to a public value, both encoded.
struct Answer {
    public: Vec<u8>,
    shared: Vec<u8>,
}

/// The next string.
fn string<'a>(fields: &mut Reader<'a>) -> Result<&'a [u8], Fault> {
    let length = fields.u32("length").map_err(|_| Fault::Incomplete)?;
    if length > STRING_MAX {
        return Err(Fault::StringTooLarge);
    }
    let length = usize::try_from(length).map_err(|_| Fault::StringTooLarge)?;
    fields.take(length, "string").map_err(|_| Fault::Incomplete)
}

/// Nothing follows.
fn end(rest: Reader<'_>) -> Result<(), Fault> {
    if rest.0.is_empty() { Ok(()) } else { Err(Fault::Trailing) }
}

/// `SSH_MSG_KEXDH_INIT`, `SSH_MSG_KEX_ECDH_INIT`, `SSH_MSG_KEX_HYBRID_INIT`.
const INIT: u8 = 30;
/// The answer.
const REPLY: u8 = 31;
/// `SSH_MSG_KEX_DH_GEX_GROUP`.
const GEX_GROUP: u8 = 31;
/// `SSH_MSG_KEX_DH_GEX_INIT`.
const GEX_INIT: u8 = 32;
/// `SSH_MSG_KEX_DH_GEX_REPLY`.
const GEX_REPLY: u8 = 33;
/// `SSH_MSG_KEX_DH_GEX_REQUEST`.
const GEX_REQUEST: u8 = 34;
/// OpenSSH: `SSHBUF_SIZE_MAX - 4`.
const STRING_MAX: u32 = 0x800_0000 - 4;

#[cfg(test)]
mod tests;
