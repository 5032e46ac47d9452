//! ECDSA on the NIST curves (RFC 5656).

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
    ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair as _,
};

use super::{HostKeyError, Kind};
use crate::ssh::wire::Message;

/// One of the curves.
#[derive(Debug)]
pub(super) struct Curve {
    pub(super) kind: Kind,
    /// As in messages: `nistp256`.
    pub(super) name: &'static str,
    pub(super) bits: usize,
    /// Bytes of one number.
    pub(super) width: usize,
    signing: &'static EcdsaSigningAlgorithm,
    pub(super) verification: &'static EcdsaVerificationAlgorithm,
}

pub(super) static CURVES: &[Curve] = &[
    Curve {
        kind: Kind::EcdsaP256,
        name: "nistp256",
        bits: 256,
        width: 32,
        signing: &ECDSA_P256_SHA256_FIXED_SIGNING,
        verification: &ECDSA_P256_SHA256_FIXED,
    },
    Curve {
        kind: Kind::EcdsaP384,
        name: "nistp384",
        bits: 384,
        width: 48,
        signing: &ECDSA_P384_SHA384_FIXED_SIGNING,
        verification: &ECDSA_P384_SHA384_FIXED,
    },
    Curve {
        kind: Kind::EcdsaP521,
        name: "nistp521",
        bits: 521,
        width: 66,
        signing: &ECDSA_P521_SHA512_FIXED_SIGNING,
        verification: &ECDSA_P521_SHA512_FIXED,
    },
];

impl Curve {
    pub(super) fn named(name: &[u8]) -> Option<&'static Self> {
        CURVES.iter().find(|it| it.name.as_bytes() == name)
    }
}

/// A private key.
pub(super) struct Ecdsa {
    curve: &'static Curve,
    pair: EcdsaKeyPair,
}

impl Ecdsa {
    /// From `ECPrivateKey` (RFC 5915) or PKCS#8.
    pub(super) fn from_der(der: &[u8]) -> Result<Self, HostKeyError> {
        CURVES
            .iter()
            .find_map(|curve| {
                let pair = EcdsaKeyPair::from_private_key_der(curve.signing, der).ok()?;
                Some(Self { curve, pair })
            })
            .ok_or(HostKeyError::Damaged(NAME))
    }

    /// From the private number and the point.
    pub(super) fn from_parts(
        curve: &'static Curve,
        secret: &[u8],
        point: &[u8],
    ) -> Result<Self, HostKeyError> {
        let secret = padded(secret, curve.width).ok_or(HostKeyError::Damaged(NAME))?;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(curve.signing, &secret, point);
        Ok(Self { curve, pair: pair.map_err(|_| HostKeyError::Damaged(NAME))? })
    }

    pub(super) fn generate(kind: Kind) -> Option<Self> {
        let curve = CURVES.iter().find(|it| it.kind == kind)?;
        Some(Self { curve, pair: EcdsaKeyPair::generate(curve.signing).ok()? })
    }

    pub(super) fn kind(&self) -> Kind {
        self.curve.kind
    }

    pub(super) fn blob(&self) -> Vec<u8> {
        Message::part().string(self.kind().name()).string(self.curve.name).string(self.pair.public_key()).0
    }

    /// What stands in a private key of OpenSSH's form after the name.
    pub(super) fn fields(&self) -> Option<Message> {
        let secret = self.pair.private_key().as_be_bytes().ok()?;
        Some(Message::part().string(self.curve.name).string(self.pair.public_key()).mpint(secret.as_ref()))
    }

    pub(super) fn sign(&self, data: &[u8]) -> Option<Vec<u8>> {
        let signature = self.pair.sign(&SystemRandom::new(), data).ok()?;
        let (r, s) = signature.as_ref().split_at_checked(self.curve.width)?;
        Some(Message::part().mpint(r).mpint(s).0)
    }
}

/// A number in so many bytes; `None` where it is larger.
pub(super) fn padded(number: &[u8], width: usize) -> Option<Vec<u8>> {
    let start = number.iter().position(|&it| it != 0).unwrap_or(number.len());
    let digits = number.get(start..)?;
    let mut bytes = vec![0; width.checked_sub(digits.len())?];
    bytes.extend_from_slice(digits);
    Some(bytes)
}

const NAME: &str = "ECDSA";
