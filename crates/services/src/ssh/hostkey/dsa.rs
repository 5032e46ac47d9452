//! DSA of 1024 bits with SHA-1 (RFC 4253 section 6.6): for servers and clients of before 2015.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use crypto_bigint::BoxedUint;
use dsa::pkcs8::PrivateKeyInfoRef;
use dsa::signature::hazmat::RandomizedPrehashSigner as _;
use dsa::{Components, KeySize, Signature, SigningKey, VerifyingKey};

use super::ecdsa::padded;
use super::{HostKeyError, Kind};
use crate::ssh::random::Random;
use crate::ssh::wire::Message;

/// A private key.
pub(super) struct Dsa(SigningKey);

impl Dsa {
    /// From the numbers as they stand in key files: p, q, g, the public y and the private x.
    pub(super) fn from_parts(
        [prime, order, generator, public, secret]: [&[u8]; 5],
    ) -> Result<Self, HostKeyError> {
        let damaged = |_| HostKeyError::Damaged(NAME);
        let components =
            Components::from_components(number(prime), number(order), number(generator)).map_err(damaged)?;
        let public = VerifyingKey::from_components(components, number(public)).map_err(damaged)?;
        Self::usable(SigningKey::from_components(public, number(secret)).map_err(damaged)?)
    }

    pub(super) fn from_pkcs8(info: PrivateKeyInfoRef<'_>) -> Result<Self, HostKeyError> {
        Self::usable(SigningKey::try_from(info).map_err(|_| HostKeyError::Damaged(NAME))?)
    }

    /// Signatures of SSH have room for numbers of 160 bits only.
    fn usable(key: SigningKey) -> Result<Self, HostKeyError> {
        let components = key.verifying_key().components();
        if (components.p().bits(), components.q().bits()) == (BITS, GROUP_BITS) {
            return Ok(Self(key));
        }
        let bits = usize::try_from(components.p().bits()).unwrap_or_default();
        Err(HostKeyError::Size { kind: NAME, bits, wants: "only 1024" })
    }

    pub(super) fn generate() -> Option<Self> {
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).ok()?;
        let mut random = Random::new(seed);
        #[allow(deprecated, reason = "the one size that SSH has")]
        let Ok(components) =
            Components::try_generate_from_rng_with_key_size(random.source(), KeySize::DSA_1024_160);
        let Ok(key) = SigningKey::try_generate_from_rng_with_components(random.source(), components);
        Some(Self(key))
    }

    pub(super) fn blob(&self) -> Vec<u8> {
        self.public(Message::part().string(Kind::Dsa.name())).0
    }

    fn public(&self, message: Message) -> Message {
        let public = self.0.verifying_key();
        let components = public.components();
        message
            .mpint(&components.p().to_be_bytes())
            .mpint(&components.q().to_be_bytes())
            .mpint(&components.g().to_be_bytes())
            .mpint(&public.y().to_be_bytes())
    }

    /// What stands in a private key of OpenSSH's form after the name.
    pub(super) fn fields(&self) -> Message {
        self.public(Message::part()).mpint(&self.0.x().to_be_bytes())
    }

    pub(super) fn sign(&self, data: &[u8], random: &mut Random) -> Option<Vec<u8>> {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, data);
        let signature: Signature = self.0.sign_prehash_with_rng(random.source(), hash.as_ref()).ok()?;
        let mut bytes = padded(&signature.r().to_be_bytes(), HALF)?;
        bytes.extend(padded(&signature.s().to_be_bytes(), HALF)?);
        Some(bytes)
    }
}

fn number(bytes: &[u8]) -> BoxedUint {
    let start = bytes.iter().position(|&it| it != 0).unwrap_or(bytes.len());
    BoxedUint::from_be_slice_vartime(bytes.get(start..).unwrap_or_default())
}

const NAME: &str = "DSA";
/// Of p.
const BITS: u32 = 1024;
/// Of q.
const GROUP_BITS: u32 = 160;
/// Bytes of each of the two numbers of a signature.
const HALF: usize = 20;
