//! Host keys: what a server proves its identity with, and how a client's keys are checked.
//!
//! Keys are read from text, made, written in OpenSSH's form, and signed with. Ed25519, ECDSA and
//! RSA are aws-lc-rs; what a client of 2010 wants and aws-lc-rs does not sign, RSA with SHA-1 and
//! DSA, is in `rsa` and `dsa`. Certificates are not offered.

mod dsa;
mod ecdsa;
mod openssh;
mod pem;
mod rsa;
#[cfg(test)]
mod tests;
mod verify;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::random::Random;
use super::wire::Message;
use super::{Settings, profile};
use crate::conf::Conf;
use dsa::Dsa;
use ecdsa::Ecdsa;
use rsa::Rsa;

pub(crate) use verify::{Unproved, bits, verify};

/// What kind of key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// RSA of 1024 to 8192 bits.
    Rsa,
    /// DSA of 1024 bits: no server made after 2015 has one.
    Dsa,
    /// ECDSA on the curve nistp256.
    EcdsaP256,
    /// ECDSA on the curve nistp384.
    EcdsaP384,
    /// ECDSA on the curve nistp521.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
}

impl Kind {
    /// The name that is inside the public key (RFC 4253 section 6.6, RFC 5656, RFC 8709).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rsa => "ssh-rsa",
            Self::Dsa => "ssh-dss",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::EcdsaP521 => "ecdsa-sha2-nistp521",
            Self::Ed25519 => "ssh-ed25519",
        }
    }

    /// The kind of key that signs with this algorithm.
    fn of_algorithm(name: &str) -> Option<Self> {
        const ALL: [Kind; 6] =
            [Kind::Rsa, Kind::Dsa, Kind::EcdsaP256, Kind::EcdsaP384, Kind::EcdsaP521, Kind::Ed25519];
        ALL.into_iter().find(|it| it.algorithms().contains(&name))
    }

    /// The signature algorithms of such a key.
    #[must_use]
    pub fn algorithms(self) -> &'static [&'static str] {
        match self {
            Self::Rsa => &["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"],
            Self::Dsa => &["ssh-dss"],
            Self::EcdsaP256 => &["ecdsa-sha2-nistp256"],
            Self::EcdsaP384 => &["ecdsa-sha2-nistp384"],
            Self::EcdsaP521 => &["ecdsa-sha2-nistp521"],
            Self::Ed25519 => &["ssh-ed25519"],
        }
    }
}

/// Why a text is not a host key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// It has no `-----BEGIN … PRIVATE KEY-----`, or what follows is not base64.
    #[error("this is not a private key in PEM form")]
    NotPem,
    /// A passphrase protects it.
    #[error("a passphrase protects this key: take it off with `ssh-keygen -p`")]
    Encrypted,
    /// A kind that no server here has.
    #[error("{0} keys are not known: RSA, ECDSA, Ed25519 and DSA are")]
    Unknown(String),
    /// Its parts are missing or do not belong together.
    #[error("this {0} key is damaged")]
    Damaged(&'static str),
    /// Of a size that cannot be used.
    #[error("this {kind} key has {bits} bits: {wants} can be used")]
    Size {
        /// `RSA` or `DSA`.
        kind: &'static str,
        /// Its size.
        bits: usize,
        /// What could be used instead.
        wants: &'static str,
    },
    /// The system's random source is missing.
    #[error("no key can be made: there is no randomness")]
    NotMade,
}

/// A private key and its public half.
pub struct HostKey {
    kind: Kind,
    secret: Secret,
    blob: Vec<u8>,
}

enum Secret {
    Rsa(Box<Rsa>),
    Dsa(Box<Dsa>),
    Ecdsa(Ecdsa),
    Ed25519(Ed25519KeyPair),
}

/// A signature could not be made: the key has no such algorithm, or its parts do not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotSigned;

impl HostKey {
    fn new(secret: Secret) -> Self {
        let (kind, blob) = match &secret {
            Secret::Rsa(key) => (Kind::Rsa, key.blob()),
            Secret::Dsa(key) => (Kind::Dsa, key.blob()),
            Secret::Ecdsa(key) => (key.kind(), key.blob()),
            Secret::Ed25519(pair) => (
                Kind::Ed25519,
                Message::part().string(Kind::Ed25519.name()).string(pair.public_key().as_ref()).0,
            ),
        };
        Self { kind, secret, blob }
    }

    /// Reads a private key without a passphrase: PKCS#1 (`RSA PRIVATE KEY`), PKCS#8 (`PRIVATE KEY`),
    /// `EC PRIVATE KEY`, `DSA PRIVATE KEY` or `OPENSSH PRIVATE KEY`. What stands before and after it
    /// is skipped.
    ///
    /// # Errors
    ///
    /// When it is not one of these, or cannot be used.
    pub fn from_pem(text: &str) -> Result<Self, HostKeyError> {
        pem::read(text).map(Self::new)
    }

    /// Makes a new key. `bits` counts for RSA only: 2048, 3072 and 4096 can be made, and the nearest
    /// larger one is.
    ///
    /// # Errors
    ///
    /// When the system's random source fails.
    pub fn generate(wanted: Wanted) -> Result<Self, HostKeyError> {
        let secret = match wanted.kind {
            Kind::Rsa => Rsa::generate(wanted.bits).map(|it| Secret::Rsa(Box::new(it))),
            Kind::Dsa => Dsa::generate().map(|it| Secret::Dsa(Box::new(it))),
            Kind::Ed25519 => Ed25519KeyPair::generate().ok().map(Secret::Ed25519),
            curve => Ecdsa::generate(curve).map(Secret::Ecdsa),
        };
        secret.map(Self::new).ok_or(HostKeyError::NotMade)
    }

    /// The Ed25519 key that belongs to this number.
    fn from_seed(seed: u64) -> Option<Self> {
        let secret = digest(&SHA256, &seed.to_be_bytes());
        let pair = Ed25519KeyPair::from_seed_unchecked(secret.as_ref()).ok()?;
        Some(Self::new(Secret::Ed25519(pair)))
    }

    /// The private key as `ssh-keygen` writes it: `-----BEGIN OPENSSH PRIVATE KEY-----`, without a
    /// passphrase.
    ///
    /// # Errors
    ///
    /// When the key does not give its parts out.
    pub fn to_openssh(&self, comment: &str) -> Result<String, HostKeyError> {
        openssh::write(self, comment).ok_or(HostKeyError::Damaged(self.kind.name()))
    }

    /// What kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its size in bits, as `ssh-keygen -l` counts.
    #[must_use]
    pub fn bits(&self) -> usize {
        bits(&self.blob).unwrap_or_default()
    }

    /// The public half as a line of an `authorized_keys` or `.pub` file, without the line ending.
    #[must_use]
    pub fn public_line(&self, comment: &str) -> String {
        let line = format!("{} {} {comment}", self.kind.name(), STANDARD.encode(&self.blob));
        line.trim_end().to_owned()
    }

    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.blob)
    }

    /// The public half as it stands in messages.
    pub(crate) fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// Signs `data`. Gives the signature as it stands in messages: the algorithm's name and what it
    /// made. Ed25519 and RSA signatures are always the same for the same data; DSA draws from
    /// `random`, ECDSA from the system.
    ///
    /// # Errors
    ///
    /// When the key cannot sign with this algorithm.
    pub(crate) fn sign(
        &self,
        algorithm: &str,
        data: &[u8],
        random: &mut Random,
    ) -> Result<Vec<u8>, NotSigned> {
        if !self.kind.algorithms().contains(&algorithm) {
            return Err(NotSigned);
        }
        let signature = match &self.secret {
            Secret::Rsa(key) => key.sign(algorithm, data).ok_or(NotSigned)?,
            Secret::Dsa(key) => key.sign(data, random).ok_or(NotSigned)?,
            Secret::Ecdsa(key) => key.sign(data).ok_or(NotSigned)?,
            Secret::Ed25519(pair) => pair.try_sign(data).map_err(|_| NotSigned)?.as_ref().to_vec(),
        };
        Ok(Message::part().string(algorithm).string(signature).0)
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey({} {})", self.kind.name(), self.fingerprint())
    }
}

/// `SHA256:…` of any public key, as `ssh-keygen -l` prints it: of a host's or of a client's.
#[must_use]
pub fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(digest(&SHA256, blob)))
}

/// The host keys of this installation.
#[derive(Debug, Clone, Default)]
pub struct HostKeys(Vec<Arc<HostKey>>);

impl HostKeys {
    /// These keys. Of two of one kind the first counts.
    #[must_use]
    pub fn new(keys: Vec<Arc<HostKey>>) -> Self {
        Self(keys)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys, in the order they were handed in.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<HostKey>> {
        self.0.iter()
    }

    /// The key that signs with this algorithm.
    pub(crate) fn find(&self, algorithm: &str) -> Option<&Arc<HostKey>> {
        self.0.iter().find(|it| it.kind.algorithms().contains(&algorithm))
    }

    /// The keys that were handed in with `conf`. Where none were, as when a configuration is only
    /// checked, an Ed25519 key that follows from who the host is: a running sensor hands its own in.
    pub(crate) fn of(conf: &Conf) -> Self {
        let keys = conf.host_keys();
        if keys.is_empty() {
            Self(HostKey::from_seed(conf.identity.seed).map(Arc::new).into_iter().collect())
        } else {
            keys.clone()
        }
    }
}

/// A key that a server has when it is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Of what kind.
    pub kind: Kind,
    /// Of what size.
    pub bits: usize,
}

/// The keys that a default install of the server has which `ssh.version` names, and those that
/// clients of today need beside them.
#[must_use]
pub fn wanted(conf: &Conf) -> Vec<Wanted> {
    let settings = Settings::read(conf).ok();
    let version = settings.map(|it| it.version).unwrap_or_default();
    let profile = profile::nearest(&version);
    let mut wanted: Vec<Wanted> = Vec::new();
    for kind in profile.offered_host_keys().filter_map(Kind::of_algorithm) {
        let bits = match kind {
            Kind::Rsa => profile.rsa_bits.into(),
            Kind::Dsa => 1024,
            Kind::EcdsaP256 | Kind::Ed25519 => 256,
            Kind::EcdsaP384 => 384,
            Kind::EcdsaP521 => 521,
        };
        if !wanted.iter().any(|it| it.kind == kind) {
            wanted.push(Wanted { kind, bits });
        }
    }
    wanted
}
