//! Diffie-Hellman in groups modulo a prime: fixed ones (RFC 4253 section 8, RFC 8268), and those
//! that a client asks a server to choose (RFC 4419).

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};

use super::{Answer, Fault, primes};
use crate::ssh::profile::{Product, Profile};
use crate::ssh::random::Random;
use crate::ssh::wire::Message;
use crate::wire::Reader;

/// A prime and what is raised modulo it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) generator: u8,
    /// In hexadecimal, its first bit set.
    pub(super) prime: &'static str,
}

impl Group {
    /// Bytes of the prime.
    pub(super) fn size(self) -> usize {
        self.prime.len() / 2
    }

    /// The prime, big-endian.
    pub(super) fn prime(self) -> Vec<u8> {
        let digits = self.prime.as_bytes().chunks(2);
        digits.filter_map(|it| crate::wire::hexadecimal(it).and_then(|it| it.try_into().ok())).collect()
    }
}

/// Which groups a server hands out in a group exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Groups {
    /// Bits of the smallest.
    pub(crate) min: u32,
    /// Bits of the largest.
    pub(crate) max: u32,
    /// Whether it takes the request of the drafts, message 30 with a single size. OpenSSH did
    /// until 6.8.
    pub(crate) old_request: bool,
}

impl Groups {
    /// OpenSSH since 7.2.
    #[cfg(test)]
    pub(crate) const OPENSSH: Self = Self { min: 2048, max: 8192, old_request: false };

    /// Those of this server.
    pub(crate) fn of(profile: &Profile) -> Self {
        let (min, max) = profile.group_exchange;
        Self { min, max, old_request: profile.product == Product::OpenSsh && profile.version < (6, 9) }
    }

    /// The group for a request: of those between `min` and `max` bits the smallest that has the
    /// wanted size, or the largest; one of several of that size by chance.
    pub(super) fn choose(self, request: Request, random: &mut Random) -> Result<Group, Fault> {
        let Request { min, wanted, max } = request;
        if max < min || wanted < min || max < wanted || max < self.min {
            return Err(Fault::Range);
        }
        let (min, max) = (min.max(self.min), max.min(self.max));
        let wanted = wanted.clamp(self.min, self.max);
        if max < wanted || wanted < min {
            return Err(Fault::Range);
        }
        let sizes = || moduli().map(|(bits, _)| bits).filter(|bits| (min..=max).contains(bits));
        let best = sizes().filter(|&it| it >= wanted).min().or_else(|| sizes().max());
        let mut of_size = moduli().filter(|(bits, _)| Some(*bits) == best).map(|(_, group)| group);
        let number = u64::try_from(of_size.clone().count()).unwrap_or_default();
        let which = u64::from_be_bytes(random.bytes()).checked_rem(number).unwrap_or_default();
        // OpenSSH takes these when its file has none, even where they are larger than `max`.
        let fixed = match max {
            ..3072 => primes::GROUP14,
            3072..6144 => primes::GROUP16,
            6144.. => primes::GROUP18,
        };
        Ok(of_size.nth(usize::try_from(which).unwrap_or_default()).unwrap_or(fixed))
    }
}

/// The sizes a client asks for, in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) min: u32,
    pub(super) wanted: u32,
    pub(super) max: u32,
}

impl Request {
    /// `SSH_MSG_KEX_DH_GEX_REQUEST`, as it stands in the exchange hash as well.
    pub(super) fn read(fields: &mut Reader<'_>) -> Result<Self, Fault> {
        let mut next = || fields.u32("bits").map_err(|_| Fault::Incomplete);
        Ok(Self { min: next()?, wanted: next()?, max: next()? })
    }
}

/// Sizes and groups of the list that comes with this program, and one group for servers of a time
/// when 1024 bits were enough.
fn moduli() -> impl Iterator<Item = (u32, Group)> + Clone {
    let listed = include_str!("moduli").lines().filter_map(|line| {
        let mut words = line.split(' ');
        let bits = words.next()?.parse().ok()?;
        Some((bits, Group { generator: words.next()?.parse().ok()?, prime: words.next()? }))
    });
    listed.chain([(1024, primes::GROUP1)])
}

/// A private exponent with its public value.
pub(super) struct Pair {
    /// The prime, big-endian.
    prime: Vec<u8>,
    params: BoxedMontyParams,
    exponent: BoxedUint,
    exponent_bits: u32,
    /// Big-endian, of the prime's length.
    pub(super) public: Vec<u8>,
}

impl Pair {
    /// Draws one. The prime comes without leading zeros.
    pub(super) fn new(prime: Vec<u8>, generator: &[u8], random: &mut Random) -> Result<Self, Fault> {
        let bits = u32::try_from(prime.len().saturating_mul(8)).map_err(|_| Fault::NumberTooLarge)?;
        let number =
            |bytes: &[u8], bits| BoxedUint::from_be_slice(bytes, bits).map_err(|_| Fault::Incomplete);
        let modulus = Odd::new(number(&prime, bits)?).into_option().ok_or(Fault::Incomplete)?;
        let params = BoxedMontyParams::new_vartime(modulus);
        let generator = BoxedMontyForm::new(number(generator, bits)?, &params);
        let mut drawn = vec![0; exponent_size(bits)];
        random.fill(&mut drawn);
        let exponent_bits =
            u32::try_from(drawn.len().saturating_mul(8)).map_err(|_| Fault::NumberTooLarge)?;
        let exponent = number(&drawn, exponent_bits)?;
        let public = generator.pow_bounded_exp(&exponent, exponent_bits).retrieve().to_be_bytes().into_vec();
        Ok(Self { prime, params, exponent, exponent_bits, public })
    }

    /// The secret that is shared with the owner of a public value without leading zeros.
    pub(super) fn agree(&self, theirs: &[u8]) -> Result<Vec<u8>, Fault> {
        check(&self.prime, theirs)?;
        let theirs =
            BoxedUint::from_be_slice(theirs, self.params.bits_precision()).map_err(|_| Fault::Incomplete)?;
        let secret =
            BoxedMontyForm::new(theirs, &self.params).pow_bounded_exp(&self.exponent, self.exponent_bits);
        Ok(secret.retrieve().to_be_bytes().into_vec())
    }
}

/// Bytes of a private exponent for a prime of so many bits: at least twice the strength of the group
/// (NIST SP 800-56A revision 3, appendix D). OpenSSH takes 64 bytes or more whatever the group, which
/// nobody sees, but costs up to twice as much.
fn exponent_size(bits: u32) -> usize {
    match bits {
        ..=2048 => 32,
        2049..=4096 => 40,
        4097.. => 56,
    }
}

/// Whether a value is between 1 and p - 1 and has more than three bits set. OpenSSH calls any
/// other an incomplete message.
fn check(prime: &[u8], theirs: &[u8]) -> Result<(), Fault> {
    let mut last = prime.to_vec();
    if let Some(it) = last.last_mut() {
        *it &= 0xfe;
    }
    let small = (theirs.len(), theirs) < (last.len(), last.as_slice());
    let bits: u32 = theirs.iter().map(|it| it.count_ones()).sum();
    if small && bits > 3 { Ok(()) } else { Err(Fault::Incomplete) }
}

/// The server's side: its public value and the secret, encoded.
pub(super) fn answer(group: Group, theirs: &[u8], random: &mut Random) -> Result<Answer, Fault> {
    let prime = group.prime();
    check(&prime, theirs)?;
    let pair = Pair::new(prime, &[group.generator], random)?;
    let secret = pair.agree(theirs)?;
    Ok(Answer { public: Message::part().mpint(&pair.public).0, shared: Message::part().mpint(&secret).0 })
}

/// The content of an `mpint` that must be positive, without leading zeros.
pub(super) fn positive(content: &[u8]) -> Result<&[u8], Fault> {
    match content {
        [first, ..] if first & 0x80 != 0 => Err(Fault::Negative),
        [first, rest @ ..] if rest.len() > NUMBER_MAX || rest.len() == NUMBER_MAX && *first != 0 => {
            Err(Fault::NumberTooLarge)
        }
        _ => {
            let start = content.iter().position(|&it| it != 0).unwrap_or(content.len());
            Ok(content.get(start..).unwrap_or_default())
        }
    }
}

/// OpenSSH: `SSHBUF_MAX_BIGNUM`, 16384 bits.
const NUMBER_MAX: usize = 2048;
