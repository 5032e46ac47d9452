//! Whether whoever shows a public key holds the private one (RFC 4252 section 7).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, RsaPublicKeyComponents, UnparsedPublicKey};

use super::ecdsa::{Curve, padded};
use super::rsa::{self, Algorithm};
use crate::ssh::wire::Message;
use crate::wire::{Reader, Short};

/// Why a signature proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unproved {
    /// A kind of key, or of signature, that is not checked here: DSA, `webauthn`, what is newer.
    Unknown,
    /// The message ends early, or its parts contradict each other.
    Malformed,
    /// It is not this key's signature of this data.
    Wrong,
}

impl From<Short> for Unproved {
    fn from(_: Short) -> Self {
        Self::Malformed
    }
}

/// The public keys that are looked into.
enum Public<'a> {
    Rsa { n: &'a [u8], e: &'a [u8] },
    Dsa { p: &'a [u8] },
    Ecdsa { curve: &'static Curve, point: &'a [u8], application: Option<&'a [u8]> },
    Ed25519 { key: &'a [u8], application: Option<&'a [u8]> },
}

impl<'a> Public<'a> {
    /// Certificates (`…-cert-v01@openssh.com`) have a nonce and then the fields of the key.
    fn read(blob: &'a [u8]) -> Result<Self, Unproved> {
        let mut reader = Reader(blob);
        let mut name = reader.string("name")?;
        if let Some(plain) = name.strip_suffix(b"-cert-v01@openssh.com") {
            reader.string("nonce")?;
            name = plain;
        }
        let name = name.strip_suffix(b"@openssh.com").unwrap_or(name);
        let (plain, hardware) = match name.strip_prefix(b"sk-") {
            Some(plain) => (plain, true),
            None => (name, false),
        };
        match plain {
            b"ssh-rsa" if !hardware => {
                let (e, n) = (number(&mut reader)?, number(&mut reader)?);
                Ok(Self::Rsa { n, e })
            }
            b"ssh-dss" if !hardware => Ok(Self::Dsa { p: number(&mut reader)? }),
            b"ssh-ed25519" => {
                let key = reader.string("key")?;
                if key.len() != ED25519_KEY {
                    return Err(Unproved::Malformed);
                }
                let application = if hardware { Some(reader.string("application")?) } else { None };
                Ok(Self::Ed25519 { key, application })
            }
            _ => {
                let named = plain.strip_prefix(b"ecdsa-sha2-").ok_or(Unproved::Unknown)?;
                let curve = Curve::named(named).ok_or(Unproved::Unknown)?;
                if reader.string("curve")? != named {
                    return Err(Unproved::Malformed);
                }
                let point = reader.string("point")?;
                // Whole points only, as OpenSSH: the library would take other forms too.
                let whole =
                    curve.width.checked_mul(2).is_some_and(|it| point.len().checked_sub(1) == Some(it));
                if !whole || point.first() != Some(&UNCOMPRESSED) {
                    return Err(Unproved::Malformed);
                }
                let application = if hardware { Some(reader.string("application")?) } else { None };
                Ok(Self::Ecdsa { curve, point, application })
            }
        }
    }
}

fn number<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Short> {
    let bytes = reader.string("number")?;
    let start = bytes.iter().position(|&it| it != 0).unwrap_or(bytes.len());
    Ok(bytes.get(start..).unwrap_or_default())
}

/// The size of a public key, as `ssh-keygen -l` counts it; `None`: not known.
pub(crate) fn bits(blob: &[u8]) -> Option<usize> {
    match Public::read(blob).ok()? {
        Public::Rsa { n, .. } => Some(rsa::bit_length(n)),
        Public::Dsa { p } => Some(rsa::bit_length(p)),
        Public::Ecdsa { curve, .. } => Some(curve.bits),
        Public::Ed25519 { .. } => Some(256),
    }
}

/// Checks that `signature` (the algorithm's name and what it made, as in messages) of `data` was made
/// with the private half of `blob`. Which algorithm was agreed on is for the caller to compare.
///
/// # Errors
///
/// When it was not, or cannot be told.
pub(crate) fn verify(blob: &[u8], signature: &[u8], data: &[u8]) -> Result<(), Unproved> {
    let public = Public::read(blob)?;
    let mut reader = Reader(signature);
    let algorithm = reader.string("algorithm")?;
    let value = reader.string("signature")?;
    match public {
        Public::Rsa { n, e } => {
            let algorithm = Algorithm::named(algorithm).ok_or(Unproved::Unknown)?;
            // PuTTY of old leaves leading zeroes out.
            let value = padded(value, n.len()).ok_or(Unproved::Wrong)?;
            RsaPublicKeyComponents { n, e }
                .verify(algorithm.verification, data, &value)
                .map_err(|_| Unproved::Wrong)
        }
        Public::Dsa { .. } => Err(Unproved::Unknown),
        Public::Ed25519 { key, application } => {
            let name: &[u8] = match application {
                Some(_) => b"sk-ssh-ed25519@openssh.com",
                None => b"ssh-ed25519",
            };
            expect(algorithm, name)?;
            let signed = signed_data(data, application, &mut reader)?;
            UnparsedPublicKey::new(&ED25519, key).verify(&signed, value).map_err(|_| Unproved::Wrong)
        }
        Public::Ecdsa { curve, point, application } => {
            let name = match application {
                Some(_) => format!("sk-{}@openssh.com", curve.kind.name()),
                None => curve.kind.name().to_owned(),
            };
            expect(algorithm, name.as_bytes())?;
            let signed = signed_data(data, application, &mut reader)?;
            let mut parts = Reader(value);
            let mut fixed = padded(parts.string("r")?, curve.width).ok_or(Unproved::Wrong)?;
            fixed.extend(padded(parts.string("s")?, curve.width).ok_or(Unproved::Wrong)?);
            UnparsedPublicKey::new(curve.verification, point)
                .verify(&signed, &fixed)
                .map_err(|_| Unproved::Wrong)
        }
    }
}

fn expect(algorithm: &[u8], name: &[u8]) -> Result<(), Unproved> {
    if algorithm == name { Ok(()) } else { Err(Unproved::Unknown) }
}

/// What was signed. A security key signs the hash of the data between what it is for and how often
/// it was used (OpenSSH's `PROTOCOL.u2f`).
fn signed_data(
    data: &[u8],
    application: Option<&[u8]>,
    reader: &mut Reader<'_>,
) -> Result<Vec<u8>, Unproved> {
    let Some(application) = application else { return Ok(data.to_vec()) };
    let (flags, counter) = (reader.u8("flags")?, reader.u32("counter")?);
    let signed = Message::part()
        .raw(digest(&SHA256, application).as_ref())
        .byte(flags)
        .u32(counter)
        .raw(digest(&SHA256, data).as_ref());
    Ok(signed.0)
}

/// Bytes of a public key.
const ED25519_KEY: usize = 32;
/// The first byte of a point with both its coordinates (SEC 1, section 2.3.3).
const UNCOMPRESSED: u8 = 4;
