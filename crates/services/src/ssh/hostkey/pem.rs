//! Private keys in PEM: PKCS#1, PKCS#8, SEC 1, DSA's own form, and OpenSSH's.

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dsa::pkcs8::der::asn1::{AnyRef, UintRef};
use dsa::pkcs8::der::{Decode as _, SliceReader};
use dsa::pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};

use super::dsa::Dsa;
use super::ecdsa::Ecdsa;
use super::rsa::Rsa;
use super::{HostKeyError, Secret, openssh};

/// The first private key of a text.
pub(super) fn read(text: &str) -> Result<Secret, HostKeyError> {
    let (label, bytes) = block(text)?;
    match label {
        "RSA PRIVATE KEY" => Rsa::from_der(&bytes).map(|it| Secret::Rsa(Box::new(it))),
        "EC PRIVATE KEY" => Ecdsa::from_der(&bytes).map(Secret::Ecdsa),
        "DSA PRIVATE KEY" => {
            let [_version, numbers @ ..]: [_; 6] = numbers(&bytes).ok_or(HostKeyError::Damaged("DSA"))?;
            Dsa::from_parts(numbers).map(|it| Secret::Dsa(Box::new(it)))
        }
        "OPENSSH PRIVATE KEY" => openssh::read(&bytes),
        "PRIVATE KEY" => pkcs8(&bytes),
        other => Err(HostKeyError::Unknown(other.trim_end_matches(" PRIVATE KEY").to_owned())),
    }
}

/// The label and the contents of the first private key, past `EC PARAMETERS` and the like.
fn block(text: &str) -> Result<(&str, Vec<u8>), HostKeyError> {
    let mut lines = text.lines().map(str::trim);
    let label = lines
        .by_ref()
        .filter_map(|it| it.strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
        .find(|it| it.ends_with("PRIVATE KEY"))
        .ok_or(HostKeyError::NotPem)?;
    if label == "ENCRYPTED PRIVATE KEY" {
        return Err(HostKeyError::Encrypted);
    }
    let mut contents = String::new();
    for line in lines {
        if line.starts_with("-----END ") {
            let bytes = STANDARD.decode(&contents).map_err(|_| HostKeyError::NotPem)?;
            return Ok((label, bytes));
        }
        if line.starts_with("Proc-Type:") && line.ends_with("ENCRYPTED") {
            return Err(HostKeyError::Encrypted);
        }
        contents.push_str(line);
    }
    Err(HostKeyError::NotPem)
}

fn pkcs8(der: &[u8]) -> Result<Secret, HostKeyError> {
    const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
    const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
    const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
    let info = PrivateKeyInfoRef::try_from(der).map_err(|_| HostKeyError::Damaged("PKCS#8"))?;
    match info.algorithm.oid {
        RSA => Rsa::from_der(info.private_key.as_bytes()).map(|it| Secret::Rsa(Box::new(it))),
        EC => Ecdsa::from_der(der).map(Secret::Ecdsa),
        dsa::OID => Dsa::from_pkcs8(info).map(|it| Secret::Dsa(Box::new(it))),
        ED25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map(Secret::Ed25519)
            .map_err(|_| HostKeyError::Damaged("Ed25519")),
        other => Err(HostKeyError::Unknown(format!("PKCS#8 {other}"))),
    }
}

/// What PKCS#8 wraps.
pub(super) fn pkcs8_contents(der: &[u8]) -> Option<&[u8]> {
    PrivateKeyInfoRef::try_from(der).ok().map(|it| it.private_key.as_bytes())
}

/// The first numbers of a SEQUENCE of positive INTEGERs, without leading zeroes.
pub(super) fn numbers<const N: usize>(der: &[u8]) -> Option<[&[u8]; N]> {
    let mut reader = SliceReader::new(AnyRef::from_der(der).ok()?.value()).ok()?;
    let mut numbers = [&[][..]; N];
    for number in &mut numbers {
        *number = UintRef::decode(&mut reader).ok()?.as_bytes();
    }
    Some(numbers)
}
