//! Public keys as clients offer them (RFC 4253 section 6.6, RFC 5656, RFC 8709, OpenSSH's
//! `PROTOCOL.u2f` and `PROTOCOL.certkeys`): described for events, never used.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::hostkey::{self, Unproved};
use super::super::wire::{Message, number};
use super::request::Key;
use crate::wire::Reader;

/// What is known of a key from its blob.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// `ED25519`, `RSA-CERT`; `unknown` where the blob cannot be read.
    pub(super) kind: String,
    /// Its size, where the blob can be read.
    pub(super) bits: Option<usize>,
    /// As `ssh-keygen -l` shows it; that of a certificate is that of its key.
    pub(super) fingerprint: String,
    /// Whether it is a key of this algorithm, of a size that OpenSSH takes.
    pub(super) usable: bool,
}

/// Describes the key in `blob`, which is offered for `algorithm`.
pub(super) fn describe(algorithm: &[u8], blob: &[u8]) -> Described {
    let Some((kind, certified, fields)) = fields(blob) else {
        return Described {
            kind: "unknown".to_owned(),
            bits: None,
            fingerprint: hostkey::fingerprint(blob),
            usable: false,
        };
    };
    let plain = fields.iter().fold(Message::part().string(kind.name), Message::string);
    let bits = hostkey::bits(blob);
    let (offered_for, offered_certified) = stem(algorithm);
    let named = [kind.name].iter().chain(kind.others).any(|it| stem(it.as_bytes()).0 == offered_for);
    Described {
        kind: format!("{}{}", kind.shown, if certified { "-CERT" } else { "" }),
        bits,
        fingerprint: hostkey::fingerprint(&plain.0),
        usable: named && certified == offered_certified && (kind.shown != "RSA" || bits >= Some(RSA_LEAST)),
    }
}

/// The blob itself for an event, at most [`BLOB_MAX`] bytes of it.
pub(super) fn shown(blob: &[u8]) -> String {
    STANDARD.encode(blob.get(..BLOB_MAX).unwrap_or(blob))
}

/// Whether the signature that came with a key is its own: the proof that the client holds it. None:
/// not known for such a key.
pub(super) fn proved(key: &Key<'_>, session_id: &[u8]) -> Option<bool> {
    let (said, signature) = key.signature;
    let signed = Message::part().string(session_id).byte(number::USERAUTH_REQUEST).raw(said);
    match hostkey::verify(key.blob, signature, &signed.0) {
        Ok(()) => Some(true),
        Err(Unproved::Unknown) => None,
        Err(Unproved::Malformed | Unproved::Wrong) => Some(false),
    }
}

/// One type of key.
struct Kind {
    name: &'static str,
    /// Other algorithms that sign with such a key.
    others: &'static [&'static str],
    shown: &'static str,
    /// The fields of the key.
    fields: usize,
}

const fn kind(name: &'static str, shown: &'static str, fields: usize) -> Kind {
    Kind { name, others: &[], shown, fields }
}

static KINDS: [Kind; 8] = [
    Kind { name: "ssh-rsa", others: &["rsa-sha2-256", "rsa-sha2-512"], shown: "RSA", fields: 2 },
    kind("ssh-dss", "DSA", 4),
    kind("ecdsa-sha2-nistp256", "ECDSA", 2),
    kind("ecdsa-sha2-nistp384", "ECDSA", 2),
    kind("ecdsa-sha2-nistp521", "ECDSA", 2),
    kind("ssh-ed25519", "ED25519", 1),
    Kind {
        name: "sk-ecdsa-sha2-nistp256@openssh.com",
        others: &["webauthn-sk-ecdsa-sha2-nistp256@openssh.com"],
        shown: "ECDSA-SK",
        fields: 3,
    },
    kind("sk-ssh-ed25519@openssh.com", "ED25519-SK", 2),
];

/// The type of the key in a blob, whether it is in a certificate, and its fields.
fn fields(blob: &[u8]) -> Option<(&'static Kind, bool, Vec<&[u8]>)> {
    let mut rest = Reader(blob);
    let name = rest.string("type").ok()?;
    let (plain, certified) = stem(name);
    let kind = KINDS.iter().find(|it| stem(it.name.as_bytes()).0 == plain)?;
    if certified {
        rest.string("nonce").ok()?;
    }
    let fields = (0..kind.fields).map(|_| rest.string("key").ok()).collect::<Option<Vec<_>>>()?;
    (certified || rest.0.is_empty()).then_some((kind, certified, fields))
}

/// A name without what stands for its domain or for a certificate, and whether it is of one.
fn stem(name: &[u8]) -> (&[u8], bool) {
    match name.strip_suffix(CERTIFIED) {
        Some(stem) => (stem, true),
        None => (name.strip_suffix(b"@openssh.com").unwrap_or(name), false),
    }
}

const CERTIFIED: &[u8] = b"-cert-v01@openssh.com";
/// OpenSSH's `SSH_RSA_MINIMUM_MODULUS_SIZE`.
const RSA_LEAST: usize = 1024;
/// Bytes of a key that an event carries: those of RSA with 16384 bits fit twice.
const BLOB_MAX: usize = 4096;
