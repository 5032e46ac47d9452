//! Message authentication codes: their names and sizes, and how each is made.
//!
//! RFC 4253 section 6.4, RFC 6668, and OpenSSH's PROTOCOL file for `umac-*` and the names with
//! `-etm`, which cover what is sent instead of what is said.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac as aws;
use hmac::digest::array::Array;
use hmac::{Hmac, KeyInit as _};
use md5::Md5;
use ripemd::Ripemd160;

use super::umac::Umac;

/// A MAC by name.
#[derive(Debug)]
pub(crate) struct Algorithm {
    /// As negotiated.
    pub(crate) name: &'static str,
    /// Bytes of key.
    pub(crate) key: usize,
    /// Bytes that follow each packet.
    pub(crate) tag: usize,
    /// Whether it covers the encrypted packet, whose length stays readable.
    pub(crate) encrypt_then_mac: bool,
    hash: Hash,
}

#[derive(Debug, Clone, Copy)]
enum Hash {
    Sha1,
    Sha256,
    Sha512,
    Md5,
    Ripemd160,
    Umac,
}

/// The MAC of this name, if it is known.
pub(crate) fn find(name: &str) -> Option<&'static Algorithm> {
    ALL.iter().find(|it| it.name == name)
}

/// All MACs that are known.
pub(crate) static ALL: &[Algorithm] = &[
    plain("umac-64@openssh.com", Hash::Umac, 16, 8),
    plain("umac-128@openssh.com", Hash::Umac, 16, 16),
    plain("hmac-sha2-256", Hash::Sha256, 32, 32),
    plain("hmac-sha2-512", Hash::Sha512, 64, 64),
    plain("hmac-sha2-256-96", Hash::Sha256, 32, 12),
    plain("hmac-sha2-512-96", Hash::Sha512, 64, 12),
    plain("hmac-sha1", Hash::Sha1, 20, 20),
    plain("hmac-sha1-96", Hash::Sha1, 20, 12),
    plain("hmac-md5", Hash::Md5, 16, 16),
    plain("hmac-md5-96", Hash::Md5, 16, 12),
    plain("hmac-ripemd160", Hash::Ripemd160, 20, 20),
    plain("hmac-ripemd160@openssh.com", Hash::Ripemd160, 20, 20),
    etm("umac-64-etm@openssh.com", Hash::Umac, 16, 8),
    etm("umac-128-etm@openssh.com", Hash::Umac, 16, 16),
    etm("hmac-sha2-256-etm@openssh.com", Hash::Sha256, 32, 32),
    etm("hmac-sha2-512-etm@openssh.com", Hash::Sha512, 64, 64),
    etm("hmac-sha1-etm@openssh.com", Hash::Sha1, 20, 20),
    etm("hmac-sha1-96-etm@openssh.com", Hash::Sha1, 20, 12),
    etm("hmac-md5-etm@openssh.com", Hash::Md5, 16, 16),
    etm("hmac-md5-96-etm@openssh.com", Hash::Md5, 16, 12),
    etm("hmac-ripemd160-etm@openssh.com", Hash::Ripemd160, 20, 20),
];

const fn plain(name: &'static str, hash: Hash, key: usize, tag: usize) -> Algorithm {
    Algorithm { name, key, tag, encrypt_then_mac: false, hash }
}

const fn etm(name: &'static str, hash: Hash, key: usize, tag: usize) -> Algorithm {
    Algorithm { name, key, tag, encrypt_then_mac: true, hash }
}

/// A MAC with its key.
pub(crate) struct Mac {
    /// Which one.
    pub(crate) algorithm: &'static Algorithm,
    state: State,
}

enum State {
    Aws(Box<aws::Key>),
    Md5(Box<Hmac<Md5>>),
    Ripemd160(Box<Hmac<Ripemd160>>),
    Umac(Box<Umac>),
}

impl Mac {
    /// With this key; `None` if its size is wrong.
    pub(crate) fn keyed(algorithm: &'static Algorithm, key: &[u8]) -> Option<Self> {
        if key.len() != algorithm.key {
            return None;
        }
        let state = match algorithm.hash {
            Hash::Sha1 => State::Aws(Box::new(aws::Key::new(aws::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key))),
            Hash::Sha256 => State::Aws(Box::new(aws::Key::new(aws::HMAC_SHA256, key))),
            Hash::Sha512 => State::Aws(Box::new(aws::Key::new(aws::HMAC_SHA512, key))),
            Hash::Md5 => State::Md5(Box::new(Hmac::new_from_slice(key).ok()?)),
            Hash::Ripemd160 => State::Ripemd160(Box::new(Hmac::new_from_slice(key).ok()?)),
            Hash::Umac => State::Umac(Box::new(Umac::new(key.try_into().ok()?, algorithm.tag))),
        };
        Some(Self { algorithm, state })
    }

    /// Appends the tag of what stands in `out` from `start` on.
    pub(crate) fn append(&self, sequence: u32, out: &mut Vec<u8>, start: usize) {
        let mut tag = [0; LONGEST_TAG];
        self.compute(sequence, out.get(start..).unwrap_or_default(), &mut tag);
        out.extend(tag.iter().take(self.algorithm.tag));
    }

    /// Whether `tag` is the tag of `bytes`. Takes as long for any that is not.
    pub(crate) fn verify(&self, sequence: u32, bytes: &[u8], tag: &[u8]) -> bool {
        let mut right = [0; LONGEST_TAG];
        self.compute(sequence, bytes, &mut right);
        right.get(..self.algorithm.tag).is_some_and(|it| verify_slices_are_equal(it, tag).is_ok())
    }

    fn compute(&self, sequence: u32, bytes: &[u8], tag: &mut [u8; LONGEST_TAG]) {
        match &self.state {
            State::Aws(key) => {
                let mut context = aws::Context::with_key(key);
                context.update(&sequence.to_be_bytes());
                context.update(bytes);
                copy(context.sign().as_ref(), tag);
            }
            State::Md5(keyed) => copy(&chained(keyed.as_ref(), sequence, bytes), tag),
            State::Ripemd160(keyed) => copy(&chained(keyed.as_ref(), sequence, bytes), tag),
            // The sequence number is the nonce.
            State::Umac(umac) => {
                if let Some(tag) = tag.get_mut(..self.algorithm.tag) {
                    umac.tag(bytes, u64::from(sequence).to_be_bytes(), tag);
                }
            }
        }
    }
}

/// Bytes of the longest tag.
const LONGEST_TAG: usize = 64;

fn chained<M: hmac::Mac + Clone>(keyed: &M, sequence: u32, bytes: &[u8]) -> Array<u8, M::OutputSize> {
    keyed.clone().chain_update(sequence.to_be_bytes()).chain_update(bytes).finalize().into_bytes()
}

fn copy(from: &[u8], to: &mut [u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}
