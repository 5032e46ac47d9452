//! RSA (RFC 8017) for `ssh-rsa`, `rsa-sha2-256` and `rsa-sha2-512` (RFC 8332).
//!
//! aws-lc-rs signs with keys of 2048 bits and more, and not with SHA-1. For the rest the private
//! operation is put together here from crypto-bigint's constant-time exponentiation, by the Chinese
//! remainder theorem (section 5.1.2). Each such signature is verified by aws-lc-rs before it leaves:
//! a wrong one would give the factors away.

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeyPairComponents, KeySize};
use aws_lc_rs::signature::{
    RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaParameters,
    RsaPublicKeyComponents, RsaSignatureEncoding,
};
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, ConcatenatingMul as _, NonZero, Odd};

use super::ecdsa::padded;
use super::{HostKeyError, Kind, pem};
use crate::ssh::wire::Message;

/// What one algorithm does.
pub(super) struct Algorithm {
    name: &'static str,
    hash: &'static digest::Algorithm,
    /// What stands before the hash (RFC 8017 section 9.2, note 1).
    prefix: &'static [u8],
    /// Where aws-lc-rs signs so.
    signing: Option<&'static RsaSignatureEncoding>,
    pub(super) verification: &'static RsaParameters,
}

static ALGORITHMS: &[Algorithm] = &[
    Algorithm {
        name: "rsa-sha2-512",
        hash: &SHA512,
        prefix: b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
        signing: Some(&RSA_PKCS1_SHA512),
        verification: &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    },
    Algorithm {
        name: "rsa-sha2-256",
        hash: &SHA256,
        prefix: b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
        signing: Some(&RSA_PKCS1_SHA256),
        verification: &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    },
    Algorithm {
        name: "ssh-rsa",
        hash: &SHA1_FOR_LEGACY_USE_ONLY,
        prefix: b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14",
        signing: None,
        verification: &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    },
];

impl Algorithm {
    pub(super) fn named(name: &[u8]) -> Option<&'static Self> {
        ALGORITHMS.iter().find(|it| it.name.as_bytes() == name)
    }
}

/// The numbers of a private key, big-endian without leading zeroes.
pub(super) struct Numbers<'a> {
    pub(super) n: &'a [u8],
    pub(super) e: &'a [u8],
    pub(super) d: &'a [u8],
    pub(super) p: &'a [u8],
    pub(super) q: &'a [u8],
    /// The inverse of q, modulo p.
    pub(super) inverse: &'a [u8],
}

/// A private key.
pub(super) struct Rsa {
    n: Vec<u8>,
    e: Vec<u8>,
    d: Vec<u8>,
    p: Prime,
    q: Prime,
    inverse: BoxedUint,
    /// Missing below 2048 bits.
    pair: Option<KeyPair>,
}

/// One of the two factors.
struct Prime {
    modulus: BoxedMontyParams,
    /// The private exponent, modulo one less than the factor.
    exponent: BoxedUint,
}

impl Rsa {
    pub(super) fn from_numbers(numbers: &Numbers<'_>) -> Result<Self, HostKeyError> {
        let bits = bit_length(numbers.n);
        if !(SMALLEST..=LARGEST).contains(&bits) {
            return Err(HostKeyError::Size { kind: NAME, bits, wants: "1024 to 8192" });
        }
        let mut key = Self::assemble(numbers).ok_or(HostKeyError::Damaged(NAME))?;
        if bits >= SMALLEST_PAIR {
            key.pair = Some(key.checked_pair().ok_or(HostKeyError::Damaged(NAME))?);
        } else {
            // Whether the numbers belong together shows in what they sign.
            Algorithm::named(b"ssh-rsa")
                .and_then(|it| key.sign_here(it, b""))
                .ok_or(HostKeyError::Damaged(NAME))?;
        }
        Ok(key)
    }

    fn assemble(numbers: &Numbers<'_>) -> Option<Self> {
        let d = whole(numbers.d, numbers.n.len())?;
        let (p, q) = (Prime::new(numbers.p, &d)?, Prime::new(numbers.q, &d)?);
        let inverse = BoxedUint::from_be_slice(numbers.inverse, p.modulus.bits_precision()).ok()?;
        Some(Self {
            n: numbers.n.to_vec(),
            e: numbers.e.to_vec(),
            d: numbers.d.to_vec(),
            p,
            q,
            inverse,
            pair: None,
        })
    }

    /// From `RSAPrivateKey` (RFC 8017 appendix A.1.2).
    pub(super) fn from_der(der: &[u8]) -> Result<Self, HostKeyError> {
        let [version, n, e, secret, factors @ .., _, _, inverse]: [_; 9] =
            pem::numbers(der).ok_or(HostKeyError::Damaged(NAME))?;
        if version != [0] {
            return Err(HostKeyError::Unknown("RSA with more than two factors".to_owned()));
        }
        let [p, q] = factors;
        Self::from_numbers(&Numbers { n, e, d: secret, p, q, inverse })
    }

    /// A new key of 2048, 3072 or 4096 bits, whichever has at least so many.
    pub(super) fn generate(bits: usize) -> Option<Self> {
        let size = match bits {
            ..2049 => KeySize::Rsa2048,
            2049..3073 => KeySize::Rsa3072,
            _ => KeySize::Rsa4096,
        };
        let made: Pkcs8V1Der<'_> = KeyPair::generate(size).ok()?.as_der().ok()?;
        pem::pkcs8_contents(made.as_ref()).and_then(|it| Self::from_der(it).ok())
    }

    /// The key in aws-lc-rs, which checks that all its numbers belong together.
    fn checked_pair(&self) -> Option<KeyPair> {
        let [p, q] = [&self.p, &self.q].map(|it| it.modulus.modulus().to_be_bytes());
        let [first, second] = [&self.p, &self.q].map(|it| it.exponent.to_be_bytes());
        let inverse = self.inverse.to_be_bytes();
        KeyPair::from_components(&KeyPairComponents {
            public_key: self.public(),
            d: self.d.as_slice(),
            p: &p,
            q: &q,
            dP: &first,
            dQ: &second,
            qInv: &inverse,
        })
        .ok()
    }

    fn public(&self) -> RsaPublicKeyComponents<&[u8]> {
        RsaPublicKeyComponents { n: &self.n, e: &self.e }
    }

    pub(super) fn blob(&self) -> Vec<u8> {
        Message::part().string(Kind::Rsa.name()).mpint(&self.e).mpint(&self.n).0
    }

    /// What stands in a private key of OpenSSH's form after the name.
    pub(super) fn fields(&self) -> Message {
        Message::part()
            .mpint(&self.n)
            .mpint(&self.e)
            .mpint(&self.d)
            .mpint(&self.inverse.to_be_bytes())
            .mpint(&self.p.modulus.modulus().to_be_bytes())
            .mpint(&self.q.modulus.modulus().to_be_bytes())
    }

    pub(super) fn sign(&self, algorithm: &str, data: &[u8]) -> Option<Vec<u8>> {
        let algorithm = Algorithm::named(algorithm.as_bytes())?;
        let (Some(pair), Some(encoding)) = (&self.pair, algorithm.signing) else {
            return self.sign_here(algorithm, data);
        };
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), data, &mut signature).ok()?;
        Some(signature)
    }

    /// RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2.1).
    fn sign_here(&self, algorithm: &Algorithm, data: &[u8]) -> Option<Vec<u8>> {
        let hash = digest(algorithm.hash, data);
        let tail: Vec<u8> = [&[0], algorithm.prefix, hash.as_ref()].concat();
        let mut message = vec![0xff; self.n.len().checked_sub(tail.len())?];
        message.get_mut(..2)?.copy_from_slice(&[0, 1]);
        message.extend_from_slice(&tail);
        let signature = self.raise(&message)?;
        self.public().verify(algorithm.verification, data, &signature).ok()?;
        Some(signature)
    }

    /// `message` to the private exponent, modulo n.
    fn raise(&self, message: &[u8]) -> Option<Vec<u8>> {
        let message = whole(message, self.n.len())?;
        let (first, second) = (self.p.raise(&message), self.q.raise(&message));
        let factor = &self.p.modulus;
        let reduced = second.rem(factor.modulus().as_nz_ref());
        let [first, reduced, inverse] =
            [first, reduced, self.inverse.clone()].map(|it| BoxedMontyForm::new(it, factor));
        let difference = first.sub(&reduced).mul(&inverse).retrieve();
        let product = difference.concatenating_mul(self.q.modulus.modulus().as_ref());
        padded(&product.wrapping_add(&second).to_be_bytes(), self.n.len())
    }
}

impl Prime {
    fn new(factor: &[u8], d: &BoxedUint) -> Option<Self> {
        let factor = whole(factor, factor.len())?;
        let less = NonZero::new(factor.wrapping_sub(BoxedUint::one())).into_option()?;
        let exponent = d.rem(&less);
        Some(Self { modulus: BoxedMontyParams::new(Odd::new(factor).into_option()?), exponent })
    }

    /// `message` to the exponent, modulo this factor.
    fn raise(&self, message: &BoxedUint) -> BoxedUint {
        let reduced = message.rem(self.modulus.modulus().as_nz_ref());
        BoxedMontyForm::new(reduced, &self.modulus).pow(&self.exponent).retrieve()
    }
}

/// A number with room for so many bytes.
fn whole(bytes: &[u8], width: usize) -> Option<BoxedUint> {
    BoxedUint::from_be_slice(bytes, u32::try_from(width.checked_mul(8)?).ok()?).ok()
}

/// Bits of a number without leading zeroes.
pub(super) fn bit_length(number: &[u8]) -> usize {
    let start = number.iter().position(|&it| it != 0).unwrap_or(number.len());
    let digits = number.get(start..).unwrap_or_default();
    let spare = digits.first().map_or(0, |it| it.leading_zeros());
    digits.len().saturating_mul(8).saturating_sub(usize::try_from(spare).unwrap_or_default())
}

const NAME: &str = "RSA";
const SMALLEST: usize = 1024;
/// Of keys that aws-lc-rs signs with.
const SMALLEST_PAIR: usize = 2048;
const LARGEST: usize = 8192;
