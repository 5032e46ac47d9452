//! Ciphers: their names and sizes, and how each encrypts a packet.
//!
//! RFC 4253 section 6.3 (CBC, `arcfour`), RFC 4344 (counter mode), RFC 4345 (`arcfour128`,
//! `arcfour256`), RFC 5647 as OpenSSH's PROTOCOL file changes it (`aes*-gcm@openssh.com`), and
//! OpenSSH's PROTOCOL.chacha20poly1305. What only old products offer is here because a client that
//! asks an old product for it gets it.

use aes::cipher::array::Array;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128Dec, Aes128Enc, Aes192Dec, Aes192Enc, Aes256Dec, Aes256Enc};
use aws_lc_rs::aead::chacha20_poly1305_openssh::{OpeningKey, SealingKey};
use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use blowfish::Blowfish;
use cast5::Cast5;
use ctr::{Ctr64BE, Ctr128BE};
use des::TdesEde3;
use rc4::Rc4;

use super::mac::Mac;

/// Bytes of the tag that the authenticating ciphers append.
pub(crate) const TAG: usize = 16;

/// A cipher by name.
#[derive(Debug)]
pub(crate) struct Algorithm {
    /// As negotiated.
    pub(crate) name: &'static str,
    /// Bytes of key.
    pub(crate) key: usize,
    /// Bytes of initialisation vector.
    pub(crate) iv: usize,
    /// What the encrypted part of a packet is a multiple of.
    pub(crate) block: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Goes on from packet to packet; needs a MAC beside it.
    Running {
        seal: Make,
        open: Make,
        cbc: bool,
    },
    Gcm(&'static aead::Algorithm),
    ChaCha20Poly1305,
}

type Make = fn(key: &[u8], iv: &[u8]) -> Option<Box<dyn Running>>;

impl Algorithm {
    /// Whether it authenticates packets itself, so that no MAC is used beside it.
    pub(crate) fn authenticates(&self) -> bool {
        !matches!(self.kind, Kind::Running { .. })
    }

    /// Whether it chains blocks (CBC).
    pub(crate) fn is_cbc(&self) -> bool {
        matches!(self.kind, Kind::Running { cbc: true, .. })
    }
}

/// The cipher of this name, if it is known.
pub(crate) fn find(name: &str) -> Option<&'static Algorithm> {
    ALL.iter().find(|it| it.name == name)
}

/// All ciphers that are known.
pub(crate) static ALL: &[Algorithm] = &[
    Algorithm {
        name: "chacha20-poly1305@openssh.com",
        key: 64,
        iv: 0,
        block: 8,
        kind: Kind::ChaCha20Poly1305,
    },
    gcm("aes128-gcm@openssh.com", 16, &aead::AES_128_GCM),
    gcm("aes256-gcm@openssh.com", 32, &aead::AES_256_GCM),
    stream("aes128-ctr", 16, 16, iv_keyed::<Ctr128BE<Aes128Enc>>),
    stream("aes192-ctr", 24, 16, iv_keyed::<Ctr128BE<Aes192Enc>>),
    stream("aes256-ctr", 32, 16, iv_keyed::<Ctr128BE<Aes256Enc>>),
    stream("3des-ctr", 24, 8, iv_keyed::<Ctr64BE<TdesEde3>>),
    cbc("aes128-cbc", 16, 16, encryptor::<cbc::Encryptor<Aes128Enc>>, decryptor::<cbc::Decryptor<Aes128Dec>>),
    cbc("aes192-cbc", 24, 16, encryptor::<cbc::Encryptor<Aes192Enc>>, decryptor::<cbc::Decryptor<Aes192Dec>>),
    cbc("aes256-cbc", 32, 16, encryptor::<cbc::Encryptor<Aes256Enc>>, decryptor::<cbc::Decryptor<Aes256Dec>>),
    // The name that AES-256 had in OpenSSH before it was standardised.
    cbc(
        "rijndael-cbc@lysator.liu.se",
        32,
        16,
        encryptor::<cbc::Encryptor<Aes256Enc>>,
        decryptor::<cbc::Decryptor<Aes256Dec>>,
    ),
    cbc("3des-cbc", 24, 8, encryptor::<cbc::Encryptor<TdesEde3>>, decryptor::<cbc::Decryptor<TdesEde3>>),
    cbc("blowfish-cbc", 16, 8, encryptor::<cbc::Encryptor<Blowfish>>, decryptor::<cbc::Decryptor<Blowfish>>),
    cbc("cast128-cbc", 16, 8, encryptor::<cbc::Encryptor<Cast5>>, decryptor::<cbc::Decryptor<Cast5>>),
    arcfour("arcfour", 16, arcfour_from_start),
    arcfour("arcfour128", 16, arcfour_later),
    arcfour("arcfour256", 32, arcfour_later),
];

const fn gcm(name: &'static str, key: usize, algorithm: &'static aead::Algorithm) -> Algorithm {
    Algorithm { name, key, iv: 12, block: 16, kind: Kind::Gcm(algorithm) }
}

const fn stream(name: &'static str, key: usize, block: usize, make: Make) -> Algorithm {
    Algorithm { name, key, iv: block, block, kind: Kind::Running { seal: make, open: make, cbc: false } }
}

const fn cbc(name: &'static str, key: usize, block: usize, seal: Make, open: Make) -> Algorithm {
    Algorithm { name, key, iv: block, block, kind: Kind::Running { seal, open, cbc: true } }
}

/// A stream cipher has no blocks; RFC 4253 section 6 rounds packets to 8 bytes then.
const fn arcfour(name: &'static str, key: usize, make: Make) -> Algorithm {
    Algorithm { name, key, iv: 0, block: 8, kind: Kind::Running { seal: make, open: make, cbc: false } }
}

/// A cipher whose state goes on from packet to packet.
trait Running: Send {
    /// Encrypts or decrypts whole blocks in place.
    fn apply(&mut self, blocks: &mut [u8]);
}

struct Stream<C>(C);

impl<C: StreamCipher + Send> Running for Stream<C> {
    fn apply(&mut self, blocks: &mut [u8]) {
        // Cannot end: a counter of 64 bits and more outlives every connection.
        self.0.apply_keystream(blocks);
    }
}

struct Encryptor<C>(C);

impl<C: BlockModeEncrypt + Send> Running for Encryptor<C> {
    fn apply(&mut self, blocks: &mut [u8]) {
        let (blocks, _none) = Array::slice_as_chunks_mut(blocks);
        self.0.encrypt_blocks(blocks);
    }
}

struct Decryptor<C>(C);

impl<C: BlockModeDecrypt + Send> Running for Decryptor<C> {
    fn apply(&mut self, blocks: &mut [u8]) {
        let (blocks, _none) = Array::slice_as_chunks_mut(blocks);
        self.0.decrypt_blocks(blocks);
    }
}

fn iv_keyed<C: StreamCipher + KeyIvInit + Send + 'static>(key: &[u8], iv: &[u8]) -> Option<Box<dyn Running>> {
    Some(Box::new(Stream(C::new_from_slices(key, iv).ok()?)))
}

fn encryptor<C: BlockModeEncrypt + KeyIvInit + Send + 'static>(
    key: &[u8],
    iv: &[u8],
) -> Option<Box<dyn Running>> {
    Some(Box::new(Encryptor(C::new_from_slices(key, iv).ok()?)))
}

fn decryptor<C: BlockModeDecrypt + KeyIvInit + Send + 'static>(
    key: &[u8],
    iv: &[u8],
) -> Option<Box<dyn Running>> {
    Some(Box::new(Decryptor(C::new_from_slices(key, iv).ok()?)))
}

fn arcfour_from_start(key: &[u8], _iv: &[u8]) -> Option<Box<dyn Running>> {
    Some(Box::new(Stream(Rc4::new_from_slice(key).ok()?)))
}

/// Without the first 1536 bytes of the key stream, as RFC 4345 section 4 asks.
fn arcfour_later(key: &[u8], _iv: &[u8]) -> Option<Box<dyn Running>> {
    let mut cipher = Rc4::new_from_slice(key).ok()?;
    cipher.apply_keystream(&mut [0; 1536]);
    Some(Box::new(Stream(cipher)))
}

/// Made from a key: one direction of a cipher.
pub(crate) trait Keyed: Sized {
    /// With this key; `None` if a size is wrong, or if the cipher needs a MAC and there is none.
    fn keyed(algorithm: &'static Algorithm, key: &[u8], iv: &[u8], mac: Option<Mac>) -> Option<Self>;
}

/// Encrypts packets.
pub(crate) enum Sealing {
    /// One that goes on from packet to packet, and the MAC beside it.
    Running(RunningCipher, Mac),
    /// AES in Galois counter mode.
    Gcm(Gcm),
    /// chacha20-poly1305.
    ChaCha20Poly1305(SealingKey),
}

/// Decrypts packets.
pub(crate) enum Opening {
    /// One that goes on from packet to packet, and the MAC beside it.
    Running(RunningCipher, Mac),
    /// AES in Galois counter mode.
    Gcm(Gcm),
    /// chacha20-poly1305.
    ChaCha20Poly1305(OpeningKey),
}

impl Keyed for Sealing {
    fn keyed(algorithm: &'static Algorithm, key: &[u8], iv: &[u8], mac: Option<Mac>) -> Option<Self> {
        Some(match algorithm.kind {
            Kind::Running { seal, .. } => Self::Running(RunningCipher(seal(key, iv)?), mac?),
            Kind::Gcm(kind) => Self::Gcm(Gcm::new(kind, key, iv)?),
            Kind::ChaCha20Poly1305 => Self::ChaCha20Poly1305(SealingKey::new(key.try_into().ok()?)),
        })
    }
}

impl Keyed for Opening {
    fn keyed(algorithm: &'static Algorithm, key: &[u8], iv: &[u8], mac: Option<Mac>) -> Option<Self> {
        Some(match algorithm.kind {
            Kind::Running { open, .. } => Self::Running(RunningCipher(open(key, iv)?), mac?),
            Kind::Gcm(kind) => Self::Gcm(Gcm::new(kind, key, iv)?),
            Kind::ChaCha20Poly1305 => Self::ChaCha20Poly1305(OpeningKey::new(key.try_into().ok()?)),
        })
    }
}

/// A cipher whose state goes on from packet to packet.
pub(crate) struct RunningCipher(Box<dyn Running>);

impl RunningCipher {
    /// Encrypts or decrypts whole blocks in place.
    pub(crate) fn apply(&mut self, blocks: &mut [u8]) {
        self.0.apply(blocks);
    }
}

/// AES-GCM: the length of a packet stays readable, and the nonce counts packets.
pub(crate) struct Gcm {
    key: LessSafeKey,
    /// Four fixed bytes, then a counter (RFC 5647 section 7.1).
    nonce: [u8; 12],
}

impl Gcm {
    fn new(kind: &'static aead::Algorithm, key: &[u8], iv: &[u8]) -> Option<Self> {
        let key = LessSafeKey::new(UnboundKey::new(kind, key).ok()?);
        Some(Self { key, nonce: iv.try_into().ok()? })
    }

    fn next_nonce(&mut self) -> Nonce {
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        if let Some(counter) = self.nonce.last_chunk_mut::<8>() {
            *counter = u64::from_be_bytes(*counter).wrapping_add(1).to_be_bytes();
        }
        nonce
    }

    /// Encrypts what follows the length; gives the tag. `None` beyond what the cipher can take,
    /// which is far more than a packet.
    pub(crate) fn seal(&mut self, length: [u8; 4], rest: &mut [u8]) -> Option<aead::Tag> {
        let nonce = self.next_nonce();
        self.key.seal_in_place_separate_tag(nonce, Aad::from(length), rest).ok()
    }

    /// Decrypts what follows the length, with its tag at the end. `None` if the tag is wrong.
    pub(crate) fn open(&mut self, length: [u8; 4], rest_and_tag: &mut [u8]) -> Option<()> {
        let nonce = self.next_nonce();
        self.key.open_in_place(nonce, Aad::from(length), rest_and_tag).ok().map(|_| ())
    }
}
