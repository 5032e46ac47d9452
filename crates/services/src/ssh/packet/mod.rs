//! Binary packets (RFC 4253 section 6): clear, encrypted, authenticated and compressed, in both
//! directions.

mod drive;
mod receiving;
mod sending;
#[cfg(test)]
mod tests;

pub use drive::drive;
pub(crate) use receiving::Receiving;
pub(crate) use sending::Sending;

use super::cipher::{self, Keyed};
use super::mac::{self, Mac};

/// Who a packet is for: it decides which keys protect it (RFC 4253 section 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// The keys of one direction, and what they are for.
pub(crate) struct Protection<C> {
    cipher: C,
    algorithm: &'static cipher::Algorithm,
    /// Whether the length of a packet is not among its blocks: it stays readable, or is encrypted
    /// apart from them.
    length_apart: bool,
    /// Bytes that follow a packet.
    tag: usize,
}

impl<C: Keyed> Protection<C> {
    /// For these algorithms. `derive` makes so many bytes for a letter of RFC 4253 section 7.2. A
    /// cipher that authenticates ignores the MAC. `None` where `derive` gives another number of
    /// bytes, or where a MAC is needed and there is none.
    pub(crate) fn new(
        direction: Direction,
        cipher: &'static cipher::Algorithm,
        mac: Option<&'static mac::Algorithm>,
        mut derive: impl FnMut(u8, usize) -> Vec<u8>,
    ) -> Option<Self> {
        let [iv, key, integrity] = match direction {
            Direction::ToServer => *b"ACE",
            Direction::ToClient => *b"BDF",
        };
        let mut material = |letter, size| {
            let bytes = if size == 0 { Vec::new() } else { derive(letter, size) };
            (bytes.len() == size).then_some(bytes)
        };
        let (key, iv) = (material(key, cipher.key)?, material(iv, cipher.iv)?);
        let mac = mac.filter(|_| !cipher.authenticates());
        let keyed_mac = match mac {
            Some(mac) => Some(Mac::keyed(mac, &material(integrity, mac.key)?)?),
            None => None,
        };
        Some(Self {
            cipher: C::keyed(cipher, &key, &iv, keyed_mac)?,
            algorithm: cipher,
            length_apart: mac.is_none_or(|it| it.encrypt_then_mac),
            tag: mac.map_or(cipher::TAG, |it| it.tag),
        })
    }
}

/// The smallest block: that of packets in the clear, and of stream ciphers.
const CLEAR_BLOCK: usize = 8;
/// The length field and the length of the padding.
const HEAD: usize = 5;
/// Fewest bytes of padding.
const LEAST_PADDING: usize = 4;

/// How a product pads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding {
    /// OpenSSH (packet.c): zeroes while packets are clear, random bytes once they are encrypted.
    ZeroWhileClear,
    /// Dropbear (packet.c): random bytes always, and at least 16 bytes of packet, which only those
    /// with the length apart from the blocks could be shorter than.
    Random,
}

/// What a product takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Largest value of the length field.
    pub(crate) longest: u32,
    /// Largest packet in all, with its length field and its tag.
    pub(crate) longest_in_all: usize,
    /// Fewest bytes of padding; it is not looked at where this is 0.
    pub(crate) least_padding: u8,
    /// Largest payload, decompressed.
    pub(crate) longest_payload: usize,
    /// Whether it reads on for a while when a packet encrypted with CBC turns out wrong, so that a
    /// peer learns nothing from when it ends the connection (OpenSSH 5.2 and later).
    pub(crate) reads_on: bool,
}

/// OpenSSH: `PACKET_MAX_SIZE` in packet.c. It would decompress up to 128 MiB; no client compresses
/// more than a packet's worth.
pub(crate) static OPENSSH: Limits = Limits {
    longest: 256 * 1024,
    longest_in_all: usize::MAX,
    least_padding: 4,
    longest_payload: 256 * 1024,
    reads_on: true,
};

/// Most bytes that any product waits for before it has a whole packet.
pub(crate) const LONGEST_WHOLE: usize = 4 + 256 * 1024 + 64;

/// Dropbear: `RECV_MAX_PACKET_LEN` and `RECV_MAX_PAYLOAD_LEN` in sysoptions.h.
pub(crate) static DROPBEAR: Limits = Limits {
    longest: 35_000,
    longest_in_all: 35_000,
    least_padding: 0,
    longest_payload: 32_768,
    reads_on: false,
};

/// What was wrong with a packet. The connection is over.
///
/// OpenSSH 9.2 hangs up without a word on all but one; so it did for clear packets and for lengths
/// under each kind of protection, and the rest was read in packet.c. (It queues "Packet corrupt" for
/// three, but exits before it is sent.) Dropbear says nothing either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The length field is outside the limits. OpenSSH logs "Bad packet length".
    Length(u32),
    /// The encrypted part is no multiple of the cipher's block. OpenSSH logs "padding error".
    Alignment(u32),
    /// The tag or MAC is wrong. OpenSSH logs "Corrupted MAC on input.".
    Mac,
    /// One of these in a packet encrypted with CBC, found earlier: what OpenSSH reads before it says
    /// so has now come.
    ReadOn,
    /// So few bytes of padding. OpenSSH disconnects with "Corrupted padlen %d on input.".
    Padding(u8),
    /// The padding is longer than the packet, or there is no payload. OpenSSH logs "incomplete
    /// message".
    Incomplete,
    /// The payload does not decompress, or is too long.
    Compression,
}
