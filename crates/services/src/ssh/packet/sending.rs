//! Packets that we send.

use super::super::cipher::Sealing;
use super::super::compression::Deflate;
use super::super::random::Random;
use super::{CLEAR_BLOCK, HEAD, LEAST_PADDING, Padding, Protection};

/// Fewest bytes of a packet (RFC 4253 section 6), for those who keep to it.
const LEAST_PACKET: usize = 16;

/// What we send. Clear until the first [`rekey`](Self::rekey).
pub(crate) struct Sending {
    padding: Padding,
    protection: Option<Protection<Sealing>>,
    compression: Option<Deflate>,
    pub(super) sequence: u32,
}

impl Sending {
    /// In the clear.
    pub(crate) fn new(padding: Padding) -> Self {
        Self { padding, protection: None, compression: None, sequence: 0 }
    }

    /// Appends a packet with this payload to `out`.
    pub(crate) fn packet(&mut self, payload: &[u8], random: &mut Random, out: &mut Vec<u8>) {
        let start = out.len();
        let compressed = self.compression.as_mut().map(|it| it.payload(payload));
        self.frame(compressed.as_deref().unwrap_or(payload), random, out);
        if let Some(protection) = &mut self.protection {
            protection.seal(self.sequence, out, start);
        }
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Length, padding length, payload and padding.
    fn frame(&self, payload: &[u8], random: &mut Random, out: &mut Vec<u8>) {
        let (block, apart) = match &self.protection {
            Some(it) => (it.algorithm.block, it.length_apart),
            None => (CLEAR_BLOCK, false),
        };
        let unpadded = payload.len().saturating_add(HEAD);
        let in_blocks = unpadded.saturating_sub(if apart { 4 } else { 0 });
        let padded = in_blocks.saturating_add(LEAST_PADDING).next_multiple_of(block);
        let mut padding = padded.saturating_sub(in_blocks);
        if self.padding == Padding::Random && unpadded.saturating_add(padding) < LEAST_PACKET {
            padding = padding.saturating_add(block);
        }
        let length = unpadded.saturating_sub(4).saturating_add(padding);
        out.reserve(length.saturating_add(4 + MOST_TAG));
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        out.push(u8::try_from(padding).unwrap_or(u8::MAX));
        out.extend_from_slice(payload);
        let end = out.len();
        out.resize(end.saturating_add(padding), 0);
        if self.protection.is_some() || self.padding == Padding::Random {
            random.fill(out.get_mut(end..).unwrap_or_default());
        }
    }

    /// Protects what follows with new keys, counted from 0 again where both sides offered
    /// `kex-strict` (OpenSSH's PROTOCOL file, section 1.10).
    pub(crate) fn rekey(&mut self, protection: Protection<Sealing>, reset_sequence: bool) {
        self.protection = Some(protection);
        if reset_sequence {
            self.sequence = 0;
        }
    }

    /// Compresses what follows, in a new stream: after each change of keys for `zlib`, after a
    /// successful login for `zlib@openssh.com`. Costs memory that only a peer that logged in should
    /// be able to ask for.
    pub(crate) fn compress(&mut self) {
        self.compression = Some(Deflate::new());
    }

    /// No longer compresses what follows: where a change of keys agreed on none.
    pub(crate) fn stop_compressing(&mut self) {
        self.compression = None;
    }

    /// The number of the next packet.
    pub(crate) fn sequence(&self) -> u32 {
        self.sequence
    }
}

/// Bytes of the longest tag.
const MOST_TAG: usize = 64;

impl Protection<Sealing> {
    /// Encrypts the packet that stands in `out` from `start` on, and appends its tag.
    fn seal(&mut self, sequence: u32, out: &mut Vec<u8>, start: usize) {
        let apart = self.length_apart;
        let Some(packet) = out.get_mut(start..) else { return };
        match &mut self.cipher {
            Sealing::ChaCha20Poly1305(key) => {
                let mut tag = [0; 16];
                key.seal_in_place(sequence, packet, &mut tag);
                out.extend_from_slice(&tag);
            }
            Sealing::Gcm(key) => {
                let Some((length, rest)) = packet.split_first_chunk_mut::<4>() else { return };
                match key.seal(*length, rest) {
                    Some(tag) => out.extend_from_slice(tag.as_ref()),
                    // Rather nothing than something readable.
                    None => out.truncate(start),
                }
            }
            Sealing::Running(cipher, mac) if apart => {
                cipher.apply(packet.get_mut(4..).unwrap_or_default());
                mac.append(sequence, out, start);
            }
            Sealing::Running(cipher, mac) => {
                let end = start.saturating_add(packet.len());
                mac.append(sequence, out, start);
                cipher.apply(out.get_mut(start..end).unwrap_or_default());
            }
        }
    }
}
