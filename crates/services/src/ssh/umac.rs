//! UMAC (RFC 4418) with tags of 64 and 128 bits.
//!
//! OpenSSH puts `umac-64-etm@openssh.com` first in its list of MACs, so a client may well choose it
//! of a server that claims to be OpenSSH; and no published crate has it. It is built on the block
//! function of the `aes` crate. Messages are SSH packets, thus far shorter than the 16 MiB from
//! which on the second layer would need its 128 bit polynomial: that is left out.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "sums of products of 36 and 16 bits, and 128 bit arithmetic below a 64 bit prime, cannot overflow"
)]

use aes::Aes128Enc;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};

/// Bytes of a message that the first layer hashes at once.
const CHUNK: usize = 1024;
/// 2^64 - 59 and 2^36 - 5: the primes of RFC 4418 section 5.1.
const PRIME_64: u64 = u64::MAX - 58;
const PRIME_36: u64 = (1 << 36) - 5;
/// A word of this size or more is not below the prime (RFC 4418 section 5.3.2).
const WORD_RANGE: u64 = u64::MAX - 0xffff_ffff;

/// UMAC with a key and a length of tag.
pub(crate) struct Umac {
    /// One key of the first layer; each stream starts four words later.
    first: Vec<u32>,
    streams: Vec<Stream>,
    /// Encrypts nonces.
    pad: Aes128Enc,
}

/// Each makes four bytes of the tag.
struct Stream {
    second: u64,
    third: [u64; 8],
    mask: u32,
}

impl Umac {
    /// For tags of `tag` bytes: 8 or 16.
    pub(crate) fn new(key: [u8; 16], tag: usize) -> Self {
        let key = Aes128Enc::new(&key.into());
        let streams = tag / 4;
        let first = derive(&key, 1, CHUNK + (streams - 1) * 16);
        let second = derive(&key, 2, streams * 24);
        let third = derive(&key, 3, streams * 64);
        let masks = derive(&key, 4, streams * 4);
        let mut pad = [0; 16];
        pad.copy_from_slice(&derive(&key, 0, 16));
        let streams = second
            .chunks_exact(24)
            .zip(third.chunks_exact(64).zip(masks.chunks_exact(4)))
            .map(|(second, (third, mask))| Stream::new(second, third, mask))
            .collect();
        let first = words(&first).map(u32::from_be_bytes).collect();
        Self { first, streams, pad: Aes128Enc::new(&pad.into()) }
    }

    /// Writes the tag of a message of less than 16 MiB; `out` is as long as the tag.
    pub(crate) fn tag(&self, message: &[u8], nonce: [u8; 8], out: &mut [u8]) {
        for (index, (stream, tag)) in self.streams.iter().zip(out.chunks_exact_mut(4)).enumerate() {
            let key = self.first.get(index * 4..).unwrap_or_default();
            tag.copy_from_slice(&stream.hash(key, message));
        }
        for (byte, pad) in out.iter_mut().zip(self.nonce_pad(nonce)) {
            *byte ^= pad;
        }
    }

    /// What the tag is hidden with (RFC 4418 section 3.3.1). A short tag takes one half of a block,
    /// which of them the last bit of the nonce says.
    fn nonce_pad(&self, nonce: [u8; 8]) -> impl Iterator<Item = u8> + use<> {
        let mut block = [0; 16];
        let mut skip = 0;
        for (to, from) in block.iter_mut().zip(nonce) {
            *to = from;
        }
        if self.streams.len() == 2 {
            skip = usize::from(block[7] & 1) * 8;
            block[7] &= !1;
        }
        let mut block = block.into();
        self.pad.encrypt_block(&mut block);
        block.into_iter().skip(skip)
    }
}

impl Stream {
    fn new(second: &[u8], third: &[u8], mask: &[u8]) -> Self {
        let long = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |it| u64::from_be_bytes(*it));
        // What follows these eight bytes is for the polynomial of 128 bits.
        let second = long(second.first_chunk()) & 0x01ff_ffff_01ff_ffff;
        let (third, _none) = third.as_chunks();
        let third = std::array::from_fn(|at| long(third.get(at)) % PRIME_36);
        Self { second, third, mask: u32::from_be_bytes(mask.try_into().unwrap_or_default()) }
    }

    /// UHASH, one iteration (RFC 4418 section 5.1).
    fn hash(&self, key: &[u32], message: &[u8]) -> [u8; 4] {
        let hashed = if message.len() <= CHUNK {
            chunk_hash(key, message)
        } else {
            message.chunks(CHUNK).fold(1, |sum, chunk| self.polynomial(sum, chunk_hash(key, chunk)))
        };
        // The third layer takes 16 bytes, of which the first 8 are zero for messages this short.
        let [.., a, b, c, d] = self.third;
        let sum = [a, b, c, d]
            .iter()
            .zip([hashed >> 48, hashed >> 32, hashed >> 16, hashed])
            .fold(0, |sum, (key, part)| sum + key * (part & 0xffff));
        let folded = u32::try_from((sum % PRIME_36) & 0xffff_ffff).unwrap_or(0);
        (folded ^ self.mask).to_be_bytes()
    }

    /// One step of POLY (RFC 4418 section 5.3.2).
    fn polynomial(&self, sum: u64, word: u64) -> u64 {
        let step = |sum: u64, word: u64| {
            let wide = u128::from(self.second) * u128::from(sum) + u128::from(word);
            u64::try_from(wide % u128::from(PRIME_64)).unwrap_or(0)
        };
        if word >= WORD_RANGE { step(step(sum, PRIME_64 - 1), word - 59) } else { step(sum, word) }
    }
}

/// NH of up to 1024 bytes, and their length in bits (RFC 4418 section 5.2).
fn chunk_hash(key: &[u32], chunk: &[u8]) -> u64 {
    let bits = u64::try_from(chunk.len() * 8).unwrap_or(0);
    let (whole, rest) = chunk.as_chunks::<32>();
    let mut last = [0; 32];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let padded = (!rest.is_empty() || whole.is_empty()).then_some(&last);
    whole
        .iter()
        .chain(padded)
        .zip(key.chunks_exact(8))
        .fold(bits, |sum, (block, key)| sum.wrapping_add(block_hash(key, block)))
}

/// One step of NH: eight words of each.
fn block_hash(key: &[u32], block: &[u8; 32]) -> u64 {
    let mut sums = [0_u32; 8];
    for ((sum, word), key) in sums.iter_mut().zip(words(block)).zip(key) {
        *sum = u32::from_le_bytes(word).wrapping_add(*key);
    }
    let (left, right) = sums.split_at(4);
    left.iter()
        .zip(right)
        .fold(0, |sum: u64, (left, right)| sum.wrapping_add(u64::from(*left) * u64::from(*right)))
}

fn words(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    bytes.as_chunks::<4>().0.iter().copied()
}

/// KDF (RFC 4418 section 3.2.1).
fn derive(key: &Aes128Enc, index: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length.next_multiple_of(16));
    let mut counter: u64 = 0;
    while bytes.len() < length {
        counter += 1;
        let mut block = [0; 16];
        for (to, from) in block.iter_mut().zip(index.to_be_bytes().into_iter().chain(counter.to_be_bytes())) {
            *to = from;
        }
        let mut block = block.into();
        key.encrypt_block(&mut block);
        bytes.extend_from_slice(&block);
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(message: &[u8], size: usize) -> String {
        let mut tag = vec![0; size];
        Umac::new(*b"abcdefghijklmnop", size).tag(message, *b"bcdefghi", &mut tag);
        let digits: Vec<String> = tag.iter().map(|it| format!("{it:02X}")).collect();
        digits.concat()
    }

    /// RFC 4418 appendix; the last 32 bits of the 128 bit tags are from the test suite of Nettle.
    #[test]
    fn the_documents_vectors() {
        let vectors: [(Vec<u8>, &str, &str); 7] = [
            (vec![], "6E155FAD26900BE1", "32FEDB100C79AD58F07FF7643CC60465"),
            (vec![b'a'; 3], "44B5CB542F220104", "185E4FE905CBA7BD85E4C2DC3D117D8D"),
            (vec![b'a'; 1 << 10], "26BF2F5D60118BD9", "7A54ABE04AF82D60FB298C3CBD195BCB"),
            (vec![b'a'; 1 << 15], "27F8EF643B0D118D", "7B136BD911E4B734286EF2BE501F2C3C"),
            (vec![b'a'; 1 << 20], "A4477E87E9F55853", "F8ACFA3AC31CFEEA047F7B115B03BEF5"),
            (b"abc".to_vec(), "D4D7B9F6BD4FBFCF", "883C3D4B97A61976FFCF232308CBA5A5"),
            (b"abc".repeat(500), "D4CF26DDEFD5C01A", "8824A260C53C66A36C9260A62CB83AA1"),
        ];
        for (message, short, long) in vectors {
            assert_eq!(tag(&message, 8), short, "{} bytes", message.len());
            assert_eq!(tag(&message, 16), long, "{} bytes", message.len());
        }
    }
}
