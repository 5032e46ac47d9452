//! Diffie-Hellman on Curve25519 (RFC 8731) and the NIST curves (RFC 5656 section 4).

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey};

use super::{Answer, Fault};
use crate::ssh::random::Random;
use crate::ssh::wire::Message;

/// An elliptic curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    X25519,
    P256,
    P384,
    P521,
}

impl Curve {
    fn algorithm(self) -> &'static agreement::Algorithm {
        match self {
            Self::X25519 => &agreement::X25519,
            Self::P256 => &agreement::ECDH_P256,
            Self::P384 => &agreement::ECDH_P384,
            Self::P521 => &agreement::ECDH_P521,
        }
    }

    /// Bytes of a private key and of a coordinate.
    fn size(self) -> usize {
        match self {
            Self::X25519 | Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// A private key with its public value.
pub(super) struct Pair {
    curve: Curve,
    private: PrivateKey,
    pub(super) public: Vec<u8>,
}

impl Pair {
    /// Draws one.
    pub(super) fn new(curve: Curve, random: &mut Random) -> Result<Self, Fault> {
        let mut bytes = vec![0; curve.size()];
        for _ in 0..DRAWS {
            random.fill(&mut bytes);
            if let (Curve::P521, Some(first)) = (curve, bytes.first_mut()) {
                *first &= 1;
            }
            if let Ok(private) = PrivateKey::from_private_key(curve.algorithm(), &bytes)
                && let Ok(public) = private.compute_public_key()
            {
                return Ok(Self { curve, private, public: public.as_ref().to_vec() });
            }
        }
        Err(Fault::Format)
    }

    /// The secret that is shared with the owner of `theirs`: the coordinate at its full length.
    pub(super) fn agree(&self, theirs: &[u8]) -> Result<Vec<u8>, Fault> {
        let refused = check(self.curve, theirs)?;
        let theirs = UnparsedPublicKey::new(self.curve.algorithm(), theirs);
        agreement::agree(&self.private, theirs, refused, |secret| Ok(secret.to_vec()))
    }
}

/// Whether it has the form of a public value, and what it is to be called if it is none all the same.
fn check(curve: Curve, theirs: &[u8]) -> Result<Fault, Fault> {
    match (curve, theirs) {
        (Curve::X25519, _) if theirs.len() == curve.size() => Ok(Fault::LowOrder),
        (Curve::X25519, _) => Err(Fault::Signature),
        (_, []) => Err(Fault::PointTooLarge),
        (_, _) if theirs.len() > POINT_MAX => Err(Fault::PointTooLarge),
        // Uncompressed points only, as RFC 5656 lets a server choose.
        (_, [4, coordinates @ ..]) if coordinates.len() == curve.size().saturating_mul(2) => {
            Ok(Fault::Format)
        }
        _ => Err(Fault::Format),
    }
}

/// The server's side of a whole exchange.
pub(super) fn answer(curve: Curve, theirs: &[u8], random: &mut Random) -> Result<Answer, Fault> {
    check(curve, theirs)?;
    let pair = Pair::new(curve, random)?;
    let secret = pair.agree(theirs)?;
    Ok(Answer { public: Message::part().string(&pair.public).0, shared: Message::part().mpint(&secret).0 })
}

/// Draws of a private key. One is enough but for one time in at least 2^32.
const DRAWS: usize = 8;
/// OpenSSH: `SSHBUF_MAX_ECPOINT`.
const POINT_MAX: usize = 133;
