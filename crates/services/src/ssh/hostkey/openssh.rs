//! `OPENSSH PRIVATE KEY`, as OpenSSH's `PROTOCOL.key` describes it: read and written without a
//! passphrase.

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::dsa::Dsa;
use super::ecdsa::{Curve, Ecdsa};
use super::rsa::{Numbers, Rsa};
use super::{HostKey, HostKeyError, Secret};
use crate::ssh::wire::Message;
use crate::wire::{Reader, Short};

pub(super) fn read(bytes: &[u8]) -> Result<Secret, HostKeyError> {
    let damaged = |_: Short| HostKeyError::Damaged("OpenSSH");
    let mut reader = Reader(bytes.strip_prefix(MAGIC).ok_or(HostKeyError::Damaged("OpenSSH"))?);
    let mut next = |field| reader.string(field).map_err(damaged);
    let (cipher, _kdf, _options) = (next("cipher")?, next("kdf")?, next("kdf options")?);
    if cipher != b"none" {
        return Err(HostKeyError::Encrypted);
    }
    let count = reader.u32("number of keys").map_err(damaged)?;
    reader.string("public key").map_err(damaged)?;
    let mut private = Reader(reader.string("private key").map_err(damaged)?);
    let checks = (private.u32("check").map_err(damaged)?, private.u32("check").map_err(damaged)?);
    if count != 1 || checks.0 != checks.1 {
        return Err(HostKeyError::Damaged("OpenSSH"));
    }
    let name = private.string("name").map_err(damaged)?;
    match name {
        b"ssh-ed25519" => ed25519(private).map_err(damaged)?.map(Secret::Ed25519),
        b"ssh-rsa" => rsa(private).map_err(damaged)?.map(|it| Secret::Rsa(Box::new(it))),
        b"ssh-dss" => dsa(private).map_err(damaged)?.map(|it| Secret::Dsa(Box::new(it))),
        name if name.starts_with(b"ecdsa-sha2-") => ecdsa(private).map_err(damaged)?.map(Secret::Ecdsa),
        other => Err(HostKeyError::Unknown(String::from_utf8_lossy(other).into_owned())),
    }
}

fn ed25519(mut reader: Reader<'_>) -> Result<Result<Ed25519KeyPair, HostKeyError>, Short> {
    let (public, secret) = (reader.string("public")?, reader.string("secret")?);
    let seed = secret.get(..32).ok_or(Short("secret"))?;
    let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public);
    Ok(pair.map_err(|_| HostKeyError::Damaged("Ed25519")))
}

fn rsa(mut reader: Reader<'_>) -> Result<Result<Rsa, HostKeyError>, Short> {
    let mut next = |field| reader.string(field).map(digits);
    let numbers = Numbers {
        n: next("n")?,
        e: next("e")?,
        d: next("d")?,
        inverse: next("inverse")?,
        p: next("p")?,
        q: next("q")?,
    };
    Ok(Rsa::from_numbers(&numbers))
}

fn dsa(mut reader: Reader<'_>) -> Result<Result<Dsa, HostKeyError>, Short> {
    let mut next = |field| reader.string(field);
    Ok(Dsa::from_parts([next("p")?, next("q")?, next("g")?, next("y")?, next("x")?]))
}

fn ecdsa(mut reader: Reader<'_>) -> Result<Result<Ecdsa, HostKeyError>, Short> {
    let (curve, point, secret) = (reader.string("curve")?, reader.string("point")?, reader.string("secret")?);
    Ok(match Curve::named(curve) {
        Some(curve) => Ecdsa::from_parts(curve, secret, point),
        None => Err(HostKeyError::Unknown(String::from_utf8_lossy(curve).into_owned())),
    })
}

/// An `mpint` without leading zeroes.
fn digits(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|&it| it != 0).unwrap_or(number.len());
    number.get(start..).unwrap_or_default()
}

pub(super) fn write(key: &HostKey, comment: &str) -> Option<String> {
    let fields = match &key.secret {
        Secret::Rsa(it) => it.fields(),
        Secret::Dsa(it) => it.fields(),
        Secret::Ecdsa(it) => it.fields()?,
        Secret::Ed25519(pair) => {
            let (public, seed) = (pair.public_key(), pair.seed().ok()?);
            let seed = seed.as_be_bytes().ok()?;
            Message::part().string(public).string([seed.as_ref(), public.as_ref()].concat())
        }
    };
    // Equal numbers show that a passphrase was right; without one any will do.
    let mut private =
        Message::part().u32(CHECK).u32(CHECK).string(key.kind.name()).raw(&fields.0).string(comment).0;
    let padding = private.len().wrapping_neg() % BLOCK;
    private.extend((1..=BLOCK).take(padding).filter_map(|it| u8::try_from(it).ok()));
    let file = Message::part()
        .raw(MAGIC)
        .string("none")
        .string("none")
        .string("")
        .u32(1)
        .string(&key.blob)
        .string(private)
        .0;
    let encoded = STANDARD.encode(file);
    let lines: Vec<_> =
        encoded.as_bytes().chunks(LINE).map(|it| String::from_utf8_lossy(it).into_owned()).collect();
    Some(format!(
        "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
        lines.join("\n")
    ))
}

const MAGIC: &[u8] = b"openssh-key-v1\0";
const CHECK: u32 = 0x5ec2_e75e;
/// What the private part is padded to where there is no cipher.
const BLOCK: usize = 8;
/// Characters on a line.
const LINE: usize = 70;
