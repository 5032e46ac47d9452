//! Compression of payloads (RFC 4253 section 6.2): one zlib stream in each direction, flushed after
//! each packet.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::places::{Place, Places};

/// Starts with the keys that it was agreed on with.
pub(crate) const IMMEDIATE: &str = "zlib";
/// Starts with a login (OpenSSH's PROTOCOL file, section 1.2).
pub(crate) const DELAYED: &str = "zlib@openssh.com";

/// Whether a compression of this name starts with new keys.
pub(crate) fn starts_with_keys(name: &str, logged_in: bool) -> bool {
    name == IMMEDIATE || name == DELAYED && logged_in
}

/// Compresses what we send. Costs a few hundred KiB.
pub(crate) struct Deflate(Compress);

impl Deflate {
    /// A new stream, at the level that OpenSSH uses.
    pub(crate) fn new() -> Self {
        Self(Compress::new(Compression::new(6), true))
    }

    /// Compresses one payload.
    pub(crate) fn payload(&mut self, mut payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len().saturating_add(64));
        loop {
            let before = self.0.total_in();
            let compressed = self.0.compress_vec(payload, &mut out, FlushCompress::Partial);
            let used = self.0.total_in().saturating_sub(before);
            payload = payload.get(usize::try_from(used).unwrap_or(0)..).unwrap_or_default();
            // An error would be a state that cannot be; what is left of the payload is then lost.
            if compressed.is_err() || (payload.is_empty() && out.len() < out.capacity()) {
                return out;
            }
            out.reserve(out.len().max(STEP));
        }
    }
}

/// Decompresses what a peer sends. Costs about 43 KiB.
pub(crate) struct Inflate(Decompress);

impl Inflate {
    /// A new stream.
    pub(crate) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// Decompresses one payload; `None` if it is not part of a zlib stream, ends the stream (for
    /// OpenSSH both are the end of the connection), or is of more than `longest` bytes.
    pub(crate) fn payload(&mut self, mut compressed: &[u8], longest: usize) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(compressed.len().saturating_mul(2).min(longest));
        loop {
            let (taken, written) = (self.0.total_in(), out.len());
            let status = self.0.decompress_vec(compressed, &mut out, FlushDecompress::Sync).ok()?;
            let used = usize::try_from(self.0.total_in().saturating_sub(taken)).ok()?;
            compressed = compressed.get(used..)?;
            let stuck = used == 0 && out.len() == written;
            match status {
                Status::StreamEnd => return None,
                _ if out.len() > longest => return None,
                // There is room, and yet nothing more comes.
                _ if out.len() < out.capacity() && (compressed.is_empty() || stuck) => return Some(out),
                _ => out.reserve(STEP),
            }
        }
    }
}

/// The connections of one listener that compress, in either direction. Dropbear of 2025 lets anybody,
/// before there is a login.
#[derive(Debug, Clone, Default)]
pub(super) struct Compressing(Places);

impl Compressing {
    /// One more, unless there are as many as there is memory for.
    pub(super) fn join(&self) -> Option<Place> {
        self.0.take(|before| before < COMPRESSED_MAX)
    }
}

/// Connections of one listener that compress: some 50 MiB.
const COMPRESSED_MAX: usize = 256;
/// Bytes by which room for output grows.
const STEP: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_compress_as_there_is_memory_for() {
        let compressing = Compressing::default();
        let mut all: Vec<_> = (0..COMPRESSED_MAX).filter_map(|_| compressing.join()).collect();
        assert_eq!(all.len(), COMPRESSED_MAX);
        assert!(compressing.join().is_none() && compressing.join().is_none());
        all.pop();
        assert!(compressing.join().is_some());
    }

    #[test]
    fn what_was_compressed_comes_back_packet_by_packet() {
        let (mut deflate, mut inflate) = (Deflate::new(), Inflate::new());
        let noise: Vec<u8> = (0..40_000_u32).map(|it| (it.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for payload in [&b"a"[..], &vec![b'a'; 32_768], &noise, b"root", &noise, b"root"] {
            let compressed = deflate.payload(payload);
            assert_eq!(inflate.payload(&compressed, 40_000).as_deref(), Some(payload));
        }
        assert!(deflate.payload(&noise).len() < 1000, "what came before is used");
    }

    /// What zlib 1.2.13 makes of two payloads, sent twice, with `Z_PARTIAL_FLUSH` (as OpenSSH does)
    /// and of the first with `Z_SYNC_FLUSH` (as Dropbear does): the ends of the former are not those
    /// of bytes.
    #[test]
    fn streams_of_zlib_are_read() {
        let first: Vec<u8> = (1..41).collect();
        let second = b"\x05\0\0\0\x0cssh-userauth";
        let mut inflate = Inflate::new();
        for (payload, compressed) in [
            (
                &first[..],
                &b"\x78\x9c\x62\x64\x62\x66\x61\x65\x63\xe7\xe0\xe4\xe2\xe6\xe1\xe5\xe3\x17\x10\x14\x12\x16\
                  \x11\x15\x13\x97\x90\x94\x92\x96\x91\x95\x93\x57\x50\x54\x52\x56\x51\x55\x53\xd7\x00\x08"[..],
            ),
            (second, b"\x20\x56\x06\x06\x06\x9e\xe2\xe2\x0c\xdd\xd2\xe2\xd4\xa2\xc4\xd2\x92\x0c\x80\x00"),
            (&first, b"\x62\x24\x52\x23\x40"),
            (second, b"\x00\x61\x68\x04\x08"),
        ] {
            assert_eq!(inflate.payload(compressed, 100).as_deref(), Some(payload));
        }
        let synced =
            b"\x78\x9c\x62\x64\x62\x66\x61\x65\x63\xe7\xe0\xe4\xe2\xe6\xe1\xe5\xe3\x17\x10\x14\x12\x16\
            \x11\x15\x13\x97\x90\x94\x92\x96\x91\x95\x93\x57\x50\x54\x52\x56\x51\x55\x53\xd7\0\0\0\0\xff\xff";
        assert_eq!(Inflate::new().payload(synced, 100), Some(first));
    }

    #[test]
    fn what_is_too_long_or_no_zlib_is_refused() {
        let bomb = Deflate::new().payload(&vec![0; 10_000_000]);
        assert!(bomb.len() < 20_000);
        assert_eq!(Inflate::new().payload(&bomb, 262_144), None);
        let mut inflate = Inflate::new();
        assert_eq!(inflate.payload(b"no zlib at all", 262_144), None);
        // A stream that ends: its last block and checksum.
        assert_eq!(Inflate::new().payload(b"\x78\x9c\x03\0\0\0\0\x01", 100), None);
    }
}
