//! How state is written down: numbers of fixed width and byte strings behind their lengths.
//!
//! What is read back may be anything: every length is checked against what is left.

use sha2::{Digest as _, Sha256};

/// What a snapshot begins with; the last byte is its version.
const MAGIC: &[u8; 8] = b"sigstat\x01";

/// A snapshot cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the saved state of detection is damaged or of another version")]
pub struct Broken;

/// Writes.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn signed(&mut self, number: i64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn unsigned(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn float(&mut self, number: f64) {
        self.unsigned(number.to_bits());
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(crate) fn count(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&count.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn string(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.bytes(bytes);
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(Broken)?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(crate) fn signed(&mut self) -> Result<i64, Broken> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn unsigned(&mut self) -> Result<u64, Broken> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn float(&mut self) -> Result<f64, Broken> {
        self.unsigned().map(f64::from_bits)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Broken> {
        self.array::<1>().map(|it| it[0])
    }

    /// How many things of at least `size` bytes follow: never more than there is room for.
    pub(crate) fn count(&mut self, size: usize) -> Result<usize, Broken> {
        let count = u32::from_le_bytes(self.array()?) as usize;
        let fits = count.checked_mul(size).is_some_and(|it| it <= self.rest.len());
        fits.then_some(count).ok_or(Broken)
    }

    pub(crate) fn string(&mut self) -> Result<&'b [u8], Broken> {
        let length = self.count(1)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Broken)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Puts name, version and check sum around what was written.
pub(crate) fn seal(body: Writer) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.append(&mut body.into_bytes());
    let check = check(&bytes);
    bytes.extend_from_slice(&check);
    bytes
}

/// What [`seal`] was given.
pub(crate) fn open(bytes: &[u8]) -> Result<Reader<'_>, Broken> {
    let (sealed, own) = bytes.split_last_chunk::<32>().ok_or(Broken)?;
    let body = sealed.strip_prefix(MAGIC).ok_or(Broken)?;
    (check(sealed) == *own).then_some(Reader::new(body)).ok_or(Broken)
}

fn check(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_and_nothing_else_does() {
        let mut body = Writer::default();
        body.string(b"abc");
        body.signed(-5);
        let sealed = seal(body);
        let mut reader = open(&sealed).expect("it is whole");
        assert_eq!(reader.string(), Ok(&b"abc"[..]));
        assert_eq!(reader.signed(), Ok(-5));
        assert!(reader.is_at_end());
        for at in 0..sealed.len() {
            let mut other = sealed.clone();
            other[at] ^= 1;
            assert!(open(&other).is_err() && open(&sealed[..at]).is_err());
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        let mut body = Writer::default();
        body.count(1 << 30);
        let bytes = body.into_bytes();
        assert_eq!(Reader::new(&bytes).count(1), Err(Broken));
        assert_eq!(Reader::new(&bytes).string(), Err(Broken));
    }
}
