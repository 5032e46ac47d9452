//! What a TLS client tells of itself before anything is agreed: JA3, JA4 and the name it asks for.
//!
//! The `ClientHello` (RFC 8446, section 4.1.2) is read from the wire by ourselves, so that the
//! fingerprint of a handshake that fails is known too. JA3: <https://github.com/salesforce/ja3>;
//! JA4 (the client fingerprint alone, which is under a free licence): `FoxIO`'s technical details.

use aws_lc_rs::digest;
use md5::Digest as _;
use serin_services::dialogue::TlsPeer;
use serin_services::wire::{Reader, Short};

use crate::hex::hex;

/// The record type of a handshake: RFC 8446, section 5.1.
pub(crate) const HANDSHAKE: u8 = 22;

/// Whether `bytes` hold a whole `ClientHello`, or can never do so.
pub(crate) fn hello_is_whole(bytes: &[u8]) -> bool {
    if bytes.first().is_some_and(|it| *it != HANDSHAKE) || bytes.len() > HELLO_MAX {
        return true;
    }
    match handshake(bytes) {
        Ok(message) => {
            let mut reader = Reader(&message);
            match (reader.u8("type"), reader.array::<3>("length")) {
                (Ok(1), Ok(length)) => {
                    let length = u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
                    reader.0.len() >= length || length > HELLO_MAX
                }
                (Ok(1), Err(_)) | (Err(_), _) => false,
                (Ok(_), _) => true,
            }
        }
        Err(Short(_)) => false,
    }
}

/// What a `ClientHello` tells; empty where it is none.
pub(crate) fn fingerprint(bytes: &[u8]) -> TlsPeer {
    let hello = handshake(bytes).ok().and_then(|message| Hello::read(&message).ok());
    hello.map(|it| it.describe()).unwrap_or_default()
}

/// Whether a whole `ClientHello` offers TLS 1.2 or later. Nonsense counts as yes: rustls judges it.
pub(crate) fn is_recent(bytes: &[u8]) -> bool {
    let hello = handshake(bytes).ok().and_then(|message| Hello::read(&message).ok());
    hello.is_none_or(|it| it.newest() >= 0x0303)
}

/// What OpenSSL answers a client that is too old for it: a fatal `protocol_version` alert, in a
/// record of the client's own version. RFC 5246, section 7.2.2.
pub(crate) fn too_old(bytes: &[u8]) -> Vec<u8> {
    let version = bytes.get(1..3).unwrap_or(&[3, 1]);
    [&[21][..], version, &[0, 2, 2, 70]].concat()
}

/// The handshake message, put together from the records that carry it. Incomplete records count:
/// whether all is there, the message's own length says.
fn handshake(bytes: &[u8]) -> Result<Vec<u8>, Short> {
    let mut message = Vec::new();
    let mut reader = Reader(bytes);
    while !reader.0.is_empty() {
        let kind = reader.u8("record type")?;
        reader.u16("record version")?;
        let length = usize::from(reader.u16("record length")?);
        if kind != HANDSHAKE {
            break;
        }
        let body = reader.take(length.min(reader.0.len()), "record")?;
        message.extend_from_slice(body);
    }
    Ok(message)
}

#[derive(Debug, Default, PartialEq)]
struct Hello {
    version: u16,
    ciphers: Vec<u16>,
    extensions: Vec<u16>,
    groups: Vec<u16>,
    formats: Vec<u8>,
    signatures: Vec<u16>,
    versions: Vec<u16>,
    alpn: Vec<Vec<u8>>,
    sni: String,
}

impl Hello {
    fn read(message: &[u8]) -> Result<Self, Short> {
        let mut reader = Reader(message);
        reader.array::<4>("message header")?;
        let mut hello = Self { version: reader.u16("version")?, ..Self::default() };
        reader.array::<32>("random")?;
        let session = reader.u8("session id length")?;
        reader.take(session.into(), "session id")?;
        let ciphers = reader.u16("cipher suites length")?;
        hello.ciphers = numbers(reader.take(ciphers.into(), "cipher suites")?);
        let compressions = reader.u8("compression length")?;
        reader.take(compressions.into(), "compression")?;
        if reader.0.is_empty() {
            return Ok(hello);
        }
        let length = reader.u16("extensions length")?;
        let mut extensions = Reader(reader.take(length.into(), "extensions")?);
        while !extensions.0.is_empty() {
            let kind = extensions.u16("extension")?;
            let length = extensions.u16("extension length")?;
            let body = extensions.take(length.into(), "extension body")?;
            hello.extensions.push(kind);
            // A malformed extension is left empty; the rest still tells the client.
            let _ = hello.extension(kind, Reader(body));
        }
        Ok(hello)
    }

    fn extension(&mut self, kind: u16, mut body: Reader<'_>) -> Result<(), Short> {
        match kind {
            SERVER_NAME => {
                body.array::<3>("list length and type")?;
                let length = body.u16("name length")?;
                self.sni = String::from_utf8_lossy(body.take(length.into(), "name")?).into_owned();
            }
            SUPPORTED_GROUPS => {
                let length = body.u16("groups length")?;
                self.groups = numbers(body.take(length.into(), "groups")?);
            }
            POINT_FORMATS => {
                let length = body.u8("formats length")?;
                self.formats = body.take(length.into(), "formats")?.to_vec();
            }
            SIGNATURE_ALGORITHMS => {
                let length = body.u16("signatures length")?;
                self.signatures = numbers(body.take(length.into(), "signatures")?);
            }
            ALPN => {
                body.u16("protocols length")?;
                while !body.0.is_empty() {
                    let length = body.u8("protocol length")?;
                    self.alpn.push(body.take(length.into(), "protocol")?.to_vec());
                }
            }
            SUPPORTED_VERSIONS => {
                let length = body.u8("versions length")?;
                self.versions = numbers(body.take(length.into(), "versions")?);
            }
            _ => {}
        }
        Ok(())
    }

    fn describe(&self) -> TlsPeer {
        TlsPeer { ja3: self.ja3(), ja4: self.ja4(), sni: self.sni.clone(), alpn: String::new() }
    }

    fn ja3(&self) -> String {
        let formats: Vec<u16> = self.formats.iter().map(|it| u16::from(*it)).collect();
        let parts = [
            self.version.to_string(),
            decimal(&self.ciphers),
            decimal(&self.extensions),
            decimal(&self.groups),
            decimal(&formats),
        ];
        md5_hex(parts.join(",").as_bytes())
    }

    /// The newest version that the client speaks.
    fn newest(&self) -> u16 {
        self.versions.iter().copied().filter(|it| !is_grease(*it)).max().unwrap_or(self.version)
    }

    fn ja4(&self) -> String {
        let version = match self.newest() {
            0x0304 => "13",
            0x0303 => "12",
            0x0302 => "11",
            0x0301 => "10",
            0x0300 => "s3",
            _ => "00",
        };
        let mut ciphers: Vec<u16> = without_grease(&self.ciphers);
        let extensions: Vec<u16> = without_grease(&self.extensions);
        let named = if self.extensions.contains(&SERVER_NAME) { 'd' } else { 'i' };
        let counts = format!("{:02}{:02}", ciphers.len().min(99), extensions.len().min(99));
        let alpn = self.alpn.first().map_or_else(|| "00".to_owned(), |it| first_and_last(it));
        ciphers.sort_unstable();
        let mut hashed: Vec<u16> =
            extensions.into_iter().filter(|it| !matches!(*it, SERVER_NAME | ALPN)).collect();
        hashed.sort_unstable();
        let mut extensions = hexadecimal(&hashed);
        if !self.signatures.is_empty() {
            extensions = format!("{extensions}_{}", hexadecimal(&without_grease(&self.signatures)));
        }
        let ciphers = short_hash(&hexadecimal(&ciphers));
        let extensions = if hashed.is_empty() { ZERO_HASH.to_owned() } else { short_hash(&extensions) };
        format!("t{version}{named}{counts}{alpn}_{ciphers}_{extensions}")
    }
}

fn numbers(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks().0.iter().map(|it| u16::from_be_bytes(*it)).collect()
}

/// RFC 8701's reserved values, which clients sprinkle in at random.
fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

fn without_grease(numbers: &[u16]) -> Vec<u16> {
    numbers.iter().copied().filter(|it| !is_grease(*it)).collect()
}

fn decimal(numbers: &[u16]) -> String {
    without_grease(numbers).iter().map(u16::to_string).collect::<Vec<_>>().join("-")
}

fn hexadecimal(numbers: &[u16]) -> String {
    numbers.iter().map(|it| format!("{it:04x}")).collect::<Vec<_>>().join(",")
}

/// JA4's two characters of a protocol name.
fn first_and_last(name: &[u8]) -> String {
    let (Some(&first), Some(&last)) = (name.first(), name.last()) else { return "00".to_owned() };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        [first, last].map(char::from).iter().collect()
    } else {
        let (first, last) = (format!("{first:02x}"), format!("{last:02x}"));
        first.chars().take(1).chain(last.chars().skip(1)).collect()
    }
}

fn short_hash(text: &str) -> String {
    if text.is_empty() {
        return ZERO_HASH.to_owned();
    }
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()).chars().take(12).collect()
}

fn md5_hex(bytes: &[u8]) -> String {
    hex(&md5::Md5::digest(bytes))
}

const ZERO_HASH: &str = "000000000000";
/// A `ClientHello` larger than this is none: post-quantum shares and padding stay below 4 KiB.
const HELLO_MAX: usize = 16 * 1024;
const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const POINT_FORMATS: u16 = 11;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of JA4's own description: Chrome of 2023.
    fn chrome() -> Hello {
        let numbers = |text: &str| text.split(',').map(|it| u16::from_str_radix(it, 16).unwrap()).collect();
        Hello {
            version: 0x0303,
            ciphers: numbers(
                "0a0a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035",
            ),
            extensions: numbers(
                "2a2a,001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015",
            ),
            signatures: numbers("0403,0804,0401,0503,0805,0501,0806,0601"),
            versions: numbers("3a3a,0304,0303"),
            alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            sni: "example.com".to_owned(),
            ..Hello::default()
        }
    }

    #[test]
    fn ja4_is_as_its_description_has_it() {
        assert_eq!(chrome().ja4(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn ja3_is_as_its_description_has_it() {
        let hello = Hello {
            version: 769,
            ciphers: vec![47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4],
            extensions: vec![0, 10, 11],
            groups: vec![23, 24, 25],
            formats: vec![0],
            ..Hello::default()
        };
        assert_eq!(hello.ja3(), "ada70206e40642a3e4461f35503241d5");
    }

    /// A `ClientHello` as rustls sends it.
    fn from_rustls() -> Vec<u8> {
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = "intranet.example".try_into().unwrap();
        let mut client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_real_hello_is_read_and_known_to_be_whole_only_at_its_end() {
        let hello = from_rustls();
        assert!(hello_is_whole(&hello));
        for at in 0..hello.len() {
            assert!(!hello_is_whole(&hello[..at]), "whole after {at} of {}", hello.len());
        }
        let peer = fingerprint(&hello);
        assert_eq!(peer.sni, "intranet.example");
        assert!(peer.ja4.starts_with("t13d") && peer.ja3.len() == 32, "{peer:?}");
    }

    #[test]
    fn nonsense_is_no_hello_and_harms_nobody() {
        assert!(hello_is_whole(b"GET / HTTP/1.1"));
        assert_eq!(fingerprint(b"GET / HTTP/1.1"), TlsPeer::default());
        let hello = from_rustls();
        for at in 0..hello.len() {
            let mut damaged = hello.clone();
            damaged[at] ^= 0xff;
            let _ = (hello_is_whole(&damaged), fingerprint(&damaged));
            let _ = fingerprint(&hello[..at]);
        }
        // A length that never comes is given up at the bound.
        let endless = [[22, 3, 1, 0xff, 0xff].as_slice(), &[0; HELLO_MAX]].concat();
        assert!(hello_is_whole(&endless));
    }
}
