//! The least of an SSH client that reaches a password: curve25519-sha256, any host key,
//! chacha20-poly1305@openssh.com, no compression. It is ours and not the sensor's own code, so that
//! no fault of that hides itself. RFC 4253, RFC 4252, RFC 8731, OpenSSH's PROTOCOL.chacha20poly1305.

use anyhow::{Context as _, Result, anyhow, bail};
use aws_lc_rs::aead::chacha20_poly1305_openssh::{OpeningKey, SealingKey, TAG_LEN};
use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::rand::SystemRandom;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Who the client says it is.
const IDENTIFICATION: &[u8] = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7";
/// RFC 4253 section 6.1.
const PACKET_MAX: usize = 35_000;

pub(crate) const KEXINIT: u8 = 20;
const SERVICE_REQUEST: u8 = 5;
const SERVICE_ACCEPT: u8 = 6;
const NEWKEYS: u8 = 21;
const KEX_ECDH_INIT: u8 = 30;
pub(crate) const KEX_ECDH_REPLY: u8 = 31;
const USERAUTH_REQUEST: u8 = 50;
const USERAUTH_FAILURE: u8 = 51;
const USERAUTH_BANNER: u8 = 53;

/// Tries one password for this user, and is refused.
pub(crate) async fn login(stream: TcpStream, user: &str) -> Result<()> {
    // As ssh(1) does before the login: two messages in a row do not wait for an acknowledgement.
    stream.set_nodelay(true)?;
    let mut peer = Peer::new(stream);
    peer.agree().await?;
    peer.send(&[&[SERVICE_REQUEST], &string(b"ssh-userauth")[..]].concat()).await?;
    peer.expect(SERVICE_ACCEPT).await?;
    let request = [
        &[USERAUTH_REQUEST],
        &string(user.as_bytes())[..],
        &string(b"ssh-connection"),
        &string(b"password"),
        &[0],
        &string(b"hunter2"),
    ];
    peer.send(&request.concat()).await?;
    loop {
        match peer.receive().await?.first() {
            Some(&USERAUTH_FAILURE) => return Ok(()),
            Some(&USERAUTH_BANNER) => {}
            other => bail!("{other:?} instead of a refusal"),
        }
    }
}

/// A server, as far as the conversation has come.
pub(crate) struct Peer {
    stream: TcpStream,
    heard: Vec<u8>,
    /// Packets sent and received so far.
    sent: u32,
    received: u32,
    keys: Option<(SealingKey, OpeningKey)>,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, heard: Vec::new(), sent: 0, received: 0, keys: None }
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Introduces us; returns how the server introduces itself.
    pub(crate) async fn introduce(&mut self) -> Result<Vec<u8>> {
        self.stream.write_all(&[IDENTIFICATION, b"\r\n"].concat()).await?;
        loop {
            if let Some(end) = self.heard.iter().position(|it| *it == b'\n') {
                let line: Vec<_> = self.heard.drain(..=end).collect();
                return Ok(line.trim_ascii_end().to_vec());
            }
            self.more().await?;
        }
    }

    /// Agrees on keys and takes them into use.
    async fn agree(&mut self) -> Result<()> {
        let theirs = self.introduce().await?;
        let offer = kexinit();
        self.send(&offer).await?;
        let their_offer = self.expect(KEXINIT).await?;
        let random = SystemRandom::new();
        let private = EphemeralPrivateKey::generate(&X25519, &random)?;
        let point = private.compute_public_key()?;
        self.send(&ecdh_init(point.as_ref())).await?;
        let reply = self.expect(KEX_ECDH_REPLY).await?;
        let (host_key, rest) = take_string(reply.get(1..).unwrap_or_default())?;
        let (their_point, _) = take_string(rest)?;
        self.expect(NEWKEYS).await?;
        self.send(&[NEWKEYS]).await?;
        let secret = agree_ephemeral(
            private,
            UnparsedPublicKey::new(&X25519, their_point),
            anyhow!("a point that is none"),
            |secret| Ok(number(secret)),
        )?;
        let mut hash = Context::new(&SHA256);
        for part in [IDENTIFICATION, &theirs, &offer, &their_offer, host_key, point.as_ref(), their_point] {
            hash.update(&string(part));
        }
        hash.update(&secret);
        let hash = hash.finish();
        let key = |letter| key(&secret, hash.as_ref(), letter);
        self.keys = Some((SealingKey::new(&key(b'C')), OpeningKey::new(&key(b'D'))));
        Ok(())
    }

    pub(crate) async fn send(&mut self, payload: &[u8]) -> Result<()> {
        let packet = match &self.keys {
            None => packet(payload, 5),
            Some((sealing, _)) => {
                // The length is encrypted beside, and not part of what is padded.
                let mut packet = packet(payload, 1);
                let mut tag = [0; TAG_LEN];
                sealing.seal_in_place(self.sent, &mut packet, &mut tag);
                packet.extend_from_slice(&tag);
                packet
            }
        };
        self.sent = self.sent.wrapping_add(1);
        Ok(self.stream.write_all(&packet).await?)
    }

    /// The next message, which must be this one.
    pub(crate) async fn expect(&mut self, number: u8) -> Result<Vec<u8>> {
        let message = self.receive().await?;
        if message.first() != Some(&number) {
            bail!("message {:?} instead of {number}", message.first());
        }
        Ok(message)
    }

    async fn receive(&mut self) -> Result<Vec<u8>> {
        let tag = if self.keys.is_some() { TAG_LEN } else { 0 };
        let first = loop {
            match self.heard.first_chunk::<4>() {
                Some(first) => break *first,
                None => self.more().await?,
            }
        };
        let length = match &self.keys {
            None => first,
            Some((_, opening)) => opening.decrypt_packet_length(self.received, first),
        };
        let length = usize::try_from(u32::from_be_bytes(length))?;
        if length > PACKET_MAX {
            bail!("a packet of {length} bytes");
        }
        while self.heard.len() < 4 + length + tag {
            self.more().await?;
        }
        let mut packet: Vec<_> = self.heard.drain(..4 + length + tag).collect();
        let plain = match &self.keys {
            None => packet.get(4..).unwrap_or_default(),
            Some((_, opening)) => {
                let (sealed, tag) = packet.split_last_chunk_mut::<TAG_LEN>().context("a tag")?;
                opening.open_in_place(self.received, sealed, tag)?
            }
        };
        self.received = self.received.wrapping_add(1);
        let (padding, rest) = plain.split_first().context("an empty packet")?;
        let end = rest.len().checked_sub(usize::from(*padding)).context("too much padding")?;
        Ok(rest.get(..end).unwrap_or_default().to_vec())
    }

    async fn more(&mut self) -> Result<()> {
        if self.stream.read_buf(&mut self.heard).await? == 0 {
            bail!("hung up after {}", self.heard.escape_ascii());
        }
        Ok(())
    }
}

/// Length, padding length, payload, padding: what follows the first `outside` - 1 bytes is whole
/// blocks. RFC 4253 section 6.
fn packet(payload: &[u8], outside: usize) -> Vec<u8> {
    let padding = 8 - (payload.len() + outside) % 8 + 8;
    let length = u32::try_from(1 + payload.len() + padding).unwrap_or(u32::MAX);
    let mut packet = length.to_be_bytes().to_vec();
    packet.push(u8::try_from(padding).unwrap_or(u8::MAX));
    packet.extend_from_slice(payload);
    packet.resize(packet.len() + padding, 0);
    packet
}

/// KEXINIT of a client that leaves one of each to choose.
pub(crate) fn kexinit() -> Vec<u8> {
    let cipher = "chacha20-poly1305@openssh.com";
    let mac = "hmac-sha2-256";
    let lists = ["curve25519-sha256", "ssh-ed25519", cipher, cipher, mac, mac, "none", "none", "", ""];
    let lists: Vec<_> = lists.iter().flat_map(|it| string(it.as_bytes())).collect();
    [&[KEXINIT], &[7; 16][..], &lists, &[0; 5]].concat()
}

/// `KEX_ECDH_INIT` with a public key.
pub(crate) fn ecdh_init(point: &[u8]) -> Vec<u8> {
    [&[KEX_ECDH_INIT], &string(point)[..]].concat()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes(), bytes].concat()
}

fn take_string(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>().context("a length")?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length))?).context("a whole string")
}

/// A positive number as RFC 4251 section 5 writes it.
fn number(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|it| *it != 0).unwrap_or(bytes.len());
    let bytes = bytes.get(start..).unwrap_or_default();
    let sign: &[u8] = if bytes.first().is_some_and(|it| *it >= 0x80) { &[0] } else { &[] };
    string(&[sign, bytes].concat())
}

/// 64 bytes of key material. RFC 4253 section 7.2.
fn key(secret: &[u8], hash: &[u8], letter: u8) -> [u8; 64] {
    let of = |more: &[u8]| {
        let mut context = Context::new(&SHA256);
        for part in [secret, hash, more] {
            context.update(part);
        }
        context.finish()
    };
    // The first exchange hash is the session's identifier too.
    let first = of(&[&[letter], hash].concat());
    let second = of(first.as_ref());
    let mut key = [0; 64];
    let (left, right) = key.split_at_mut(32);
    left.copy_from_slice(first.as_ref());
    right.copy_from_slice(second.as_ref());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_whole_blocks() {
        for (length, outside) in (0..40).flat_map(|it| [(it, 5), (it, 1)]) {
            let packet = packet(&vec![1; length], outside);
            assert_eq!((packet.len() + outside - 5) % 8, 0, "{length}");
            assert!(packet[4] >= 4 && usize::from(packet[4]) + length + 5 == packet.len());
        }
    }

    #[test]
    fn numbers_are_short_and_positive() {
        assert_eq!(number(&[0, 0, 0x7f]), [0, 0, 0, 1, 0x7f]);
        assert_eq!(number(&[0x80, 1]), [0, 0, 0, 3, 0, 0x80, 1]);
    }
}
