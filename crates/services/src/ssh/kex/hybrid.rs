//! Curve25519 together with a key encapsulation that quantum computers do not break:
//! draft-ietf-sshm-ntruprime-ssh, draft-ietf-sshm-mlkem-hybrid-kex.

use aws_lc_rs::digest;
use ml_kem::kem::{Decapsulate as _, KeyExport as _};
use ml_kem::ml_kem_768;
use sntrup::sntrup761;

use super::curve::{self, Curve};
use super::{Answer, Fault, Hash};
use crate::ssh::random::Random;
use crate::ssh::wire::Message;

/// A key encapsulation mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kem {
    /// Streamlined NTRU Prime.
    Sntrup761,
    /// FIPS 203.
    MlKem768,
}

impl Kem {
    /// Bytes of a public key.
    fn key(self) -> usize {
        match self {
            Self::Sntrup761 => sntrup761::PUBLIC_KEY_SIZE,
            Self::MlKem768 => 1184,
        }
    }

    /// Bytes of a ciphertext.
    fn ciphertext(self) -> usize {
        match self {
            Self::Sntrup761 => sntrup761::CIPHERTEXT_SIZE,
            Self::MlKem768 => 1088,
        }
    }

    /// A ciphertext for the owner of a public key, and the secret in it.
    fn encapsulate(self, key: &[u8], random: &mut Random) -> Result<(Vec<u8>, Vec<u8>), Fault> {
        match self {
            Self::Sntrup761 => {
                let key = sntrup761::EncapsulationKey::try_from(key).map_err(|_| Fault::Signature)?;
                let (ciphertext, secret) = key.encapsulate(random.source());
                Ok((ciphertext.as_ref().to_vec(), secret.as_ref().to_vec()))
            }
            Self::MlKem768 => {
                let key = key.try_into().map_err(|_| Fault::Signature)?;
                let key = ml_kem_768::EncapsulationKey::new(key).map_err(|_| Fault::Signature)?;
                let (ciphertext, secret) = key.encapsulate_deterministic(&random.bytes().into());
                Ok((ciphertext.to_vec(), secret.to_vec()))
            }
        }
    }
}

/// The server's side of a whole exchange.
pub(super) fn answer(
    kem: Kem,
    hash: &'static Hash,
    theirs: &[u8],
    random: &mut Random,
) -> Result<Answer, Fault> {
    let (key, point) = split(theirs, kem.key())?;
    let pair = curve::Pair::new(Curve::X25519, random)?;
    let second = pair.agree(point)?;
    let (ciphertext, first) = kem.encapsulate(key, random)?;
    let public = Message::part().string([ciphertext, pair.public].concat()).0;
    Ok(Answer { public, shared: combine(hash, &first, &second) })
}

/// A client's keys.
pub(super) struct Pair {
    private: Private,
    curve: curve::Pair,
    pub(super) public: Vec<u8>,
}

/// Opens ciphertexts.
enum Private {
    Sntrup761(Box<sntrup761::DecapsulationKey>),
    MlKem768(Box<ml_kem_768::DecapsulationKey>),
}

impl Pair {
    /// Draws them.
    pub(super) fn new(kem: Kem, random: &mut Random) -> Result<Self, Fault> {
        let (private, key) = match kem {
            Kem::Sntrup761 => {
                let (key, private) = sntrup761::generate_key_deterministic(&random.bytes());
                (Private::Sntrup761(Box::new(private)), key.as_ref().to_vec())
            }
            Kem::MlKem768 => {
                let private = ml_kem_768::DecapsulationKey::from_seed(random.bytes().into());
                let key = private.encapsulation_key().to_bytes().to_vec();
                (Private::MlKem768(Box::new(private)), key)
            }
        };
        let curve = curve::Pair::new(Curve::X25519, random)?;
        let public = [&key[..], &curve.public].concat();
        Ok(Self { private, curve, public })
    }

    /// The secret in a server's answer, encoded.
    pub(super) fn agree(&self, hash: &'static Hash, theirs: &[u8]) -> Result<Vec<u8>, Fault> {
        let kem = match self.private {
            Private::Sntrup761(_) => Kem::Sntrup761,
            Private::MlKem768(_) => Kem::MlKem768,
        };
        let (ciphertext, point) = split(theirs, kem.ciphertext())?;
        let first = match &self.private {
            Private::Sntrup761(private) => {
                let ciphertext = ciphertext.try_into().map_err(|_| Fault::Signature)?;
                private.decapsulate(&ciphertext).as_ref().to_vec()
            }
            Private::MlKem768(private) => {
                let ciphertext = ciphertext.try_into().map_err(|_| Fault::Signature)?;
                private.decapsulate(ciphertext).to_vec()
            }
        };
        Ok(combine(hash, &first, &self.curve.agree(point)?))
    }
}

/// What belongs to the encapsulation, and the point behind it.
fn split(value: &[u8], length: usize) -> Result<(&[u8], &[u8]), Fault> {
    value.split_at_checked(length).filter(|(_, point)| point.len() == 32).ok_or(Fault::Signature)
}

/// Both secrets in one, as a `string`.
fn combine(hash: &'static Hash, first: &[u8], second: &[u8]) -> Vec<u8> {
    Message::part().string(digest::digest(hash, &[first, second].concat())).0
}
