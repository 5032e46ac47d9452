//! Packets that a peer sends.

use super::super::cipher::Opening;
use super::super::compression::Inflate;
use super::{CLEAR_BLOCK, Fault, HEAD, Limits, Protection};

/// What a peer sends. Clear until the first [`rekey`](Self::rekey).
pub(crate) struct Receiving {
    limits: &'static Limits,
    protection: Option<Protection<Opening>>,
    compression: Option<Inflate>,
    /// Of the next packet.
    pub(super) sequence: u32,
    /// Set once the length of the next packet is known.
    head: Option<Head>,
    /// So many bytes more are read before the peer is told that a packet was wrong.
    reading_on: Option<usize>,
}

/// The beginning of a packet that has not come whole.
struct Head {
    length: u32,
    /// Its first block, decrypted and no longer among what is to be taken. Empty where the length is
    /// apart from the blocks.
    block: Vec<u8>,
}

impl Receiving {
    /// In the clear.
    pub(crate) fn new(limits: &'static Limits) -> Self {
        Self { limits, protection: None, compression: None, sequence: 0, head: None, reading_on: None }
    }

    /// The payload of the next packet, of at least one byte. Takes from `bytes` what it has used;
    /// when it gives none, what is left there must come again with more behind it. Allocates once a
    /// packet is there, and only as much.
    ///
    /// # Errors
    ///
    /// When the packet is wrong; the connection is over.
    pub(crate) fn packet(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        if let Some(left) = self.reading_on {
            return self.read_on(left, bytes);
        }
        let found = match self.next(bytes) {
            Ok(found) => found,
            Err((fault, read)) => return self.fail(fault, read, bytes),
        };
        let Some(packet) = found else { return Ok(None) };
        self.sequence = self.sequence.wrapping_add(1);
        self.payload(packet).map(Some)
    }

    /// The next packet, decrypted and found genuine, from its length on. A fault comes with what was
    /// read of the packet as far as OpenSSH counts it.
    fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, (Fault, usize)> {
        if self.head.is_none() {
            self.head = self.read_head(bytes)?;
        }
        let Some(head) = &self.head else { return Ok(None) };
        let tag = self.protection.as_ref().map_or(0, |it| it.tag);
        let whole = whole(head.length);
        let decrypted = head.block.len();
        let Some((rest, tag_and_after)) = bytes.split_at_checked(whole.saturating_sub(decrypted)) else {
            return Ok(None);
        };
        let Some((tag, after)) = tag_and_after.split_at_checked(tag) else { return Ok(None) };
        let mut packet = Vec::with_capacity(whole.saturating_add(tag.len()));
        packet.extend_from_slice(&head.block);
        packet.extend_from_slice(rest);
        self.head = None;
        if let Some(protection) = &mut self.protection
            && !protection.open(self.sequence, &mut packet, decrypted, tag)
        {
            *bytes = if self.limits.reads_on { tag_and_after } else { after };
            return Err((Fault::Mac, whole));
        }
        *bytes = after;
        Ok(Some(packet))
    }

    /// The length of the next packet, and its first block where the length is part of it.
    fn read_head(&mut self, bytes: &mut &[u8]) -> Result<Option<Head>, (Fault, usize)> {
        let block_size = self.protection.as_ref().map_or(CLEAR_BLOCK, |it| it.algorithm.block);
        let apart = self.protection.as_ref().is_some_and(|it| it.length_apart);
        let mut block = Vec::new();
        let length = if apart {
            let Some(length) = bytes.first_chunk::<4>() else { return Ok(None) };
            match self.protection.as_ref().map(|it| &it.cipher) {
                Some(Opening::ChaCha20Poly1305(key)) => key.decrypt_packet_length(self.sequence, *length),
                _ => *length,
            }
        } else {
            let Some((first, rest)) = bytes.split_at_checked(block_size) else { return Ok(None) };
            block.extend_from_slice(first);
            if let Some(Opening::Running(cipher, _)) = self.protection.as_mut().map(|it| &mut it.cipher) {
                cipher.apply(&mut block);
            }
            *bytes = rest;
            block.first_chunk::<4>().copied().unwrap_or_default()
        };
        let length = u32::from_be_bytes(length);
        let (whole, tag) = (whole(length), self.protection.as_ref().map_or(0, |it| it.tag));
        let in_all = whole.saturating_add(tag);
        if length < 5 || length > self.limits.longest || in_all > self.limits.longest_in_all {
            return Err((Fault::Length(length), block.len()));
        }
        let in_blocks = whole.saturating_sub(if apart { 4 } else { 0 });
        if !in_blocks.is_multiple_of(block_size) {
            return Err((Fault::Alignment(length), block.len()));
        }
        Ok(Some(Head { length, block }))
    }

    /// The payload of a decrypted packet.
    fn payload(&mut self, mut packet: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let padding = packet.get(4).copied().unwrap_or(0);
        if padding < self.limits.least_padding {
            return Err(Fault::Padding(padding));
        }
        let end = packet.len().checked_sub(padding.into()).ok_or(Fault::Incomplete)?;
        packet.truncate(end);
        let payload = packet.get(HEAD..).ok_or(Fault::Incomplete)?;
        let payload = if let Some(compression) = &mut self.compression {
            compression.payload(payload, self.limits.longest_payload).ok_or(Fault::Compression)?
        } else {
            packet.drain(..HEAD);
            packet
        };
        if payload.is_empty() { Err(Fault::Incomplete) } else { Ok(payload) }
    }

    /// Ends with a fault: at once, or after reading on.
    fn fail(&mut self, fault: Fault, read: usize, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let cbc = self.protection.as_ref().is_some_and(|it| it.algorithm.is_cbc() && !it.length_apart);
        if !cbc || !self.limits.reads_on {
            return Err(fault);
        }
        let most = usize::try_from(self.limits.longest).unwrap_or(usize::MAX);
        self.read_on(most.saturating_sub(read), bytes)
    }

    fn read_on(&mut self, left: usize, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let left = left.saturating_sub(bytes.len());
        *bytes = &[];
        self.reading_on = Some(left);
        if left == 0 { Err(Fault::ReadOn) } else { Ok(None) }
    }

    /// Expects new keys from the next packet on, counted from 0 again where both sides offered
    /// `kex-strict` (OpenSSH's PROTOCOL file, section 1.10).
    pub(crate) fn rekey(&mut self, protection: Protection<Opening>, reset_sequence: bool) {
        self.protection = Some(protection);
        if reset_sequence {
            self.sequence = 0;
        }
    }

    /// Decompresses what follows, as a new stream: see [`Sending::compress`](super::Sending::compress).
    pub(crate) fn decompress(&mut self) {
        self.compression = Some(Inflate::new());
    }

    /// No longer decompresses what follows: where a change of keys agreed on none.
    pub(crate) fn stop_decompressing(&mut self) {
        self.compression = None;
    }

    /// The number of the packet last taken, which a peer is told that it was not understood
    /// (RFC 4253 section 11.4). Ask before [`rekey`](Self::rekey).
    pub(crate) fn sequence(&self) -> u32 {
        self.sequence.wrapping_sub(1)
    }
}

impl Protection<Opening> {
    /// Decrypts a packet, of which the first `decrypted` bytes already are; false if its tag is
    /// wrong.
    fn open(&mut self, sequence: u32, packet: &mut Vec<u8>, decrypted: usize, tag: &[u8]) -> bool {
        match &mut self.cipher {
            Opening::ChaCha20Poly1305(key) => {
                tag.try_into().is_ok_and(|tag| key.open_in_place(sequence, packet, tag).is_ok())
            }
            Opening::Gcm(key) => {
                packet.extend_from_slice(tag);
                let opened = packet
                    .split_first_chunk_mut()
                    .and_then(|(length, rest)| key.open(*length, rest))
                    .is_some();
                packet.truncate(packet.len().saturating_sub(tag.len()));
                opened
            }
            Opening::Running(cipher, mac) if mac.algorithm.encrypt_then_mac => {
                let genuine = mac.verify(sequence, packet, tag);
                cipher.apply(packet.get_mut(4..).unwrap_or_default());
                genuine
            }
            Opening::Running(cipher, mac) => {
                cipher.apply(packet.get_mut(decrypted..).unwrap_or_default());
                mac.verify(sequence, packet, tag)
            }
        }
    }
}

/// Bytes of a packet with this value in its length field.
fn whole(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX).saturating_add(4)
}
