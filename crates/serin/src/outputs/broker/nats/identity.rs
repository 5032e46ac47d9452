//! Who we are to a NATS server: a user and password, a token, an `NKey`, or a JWT with its `NKey`.
//!
//! An `NKey` is an Ed25519 key pair in base 32: a byte for what it is, the key, a CRC-16 (of XMODEM,
//! little-endian). The server sends a nonce, which we sign.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use serin_services::conf::Complaint;

use super::Settings;

/// How we log in.
#[derive(Debug, Default)]
pub(super) enum Identity {
    #[default]
    Nobody,
    User {
        name: String,
        password: String,
    },
    Token(String),
    Key(Key),
    Jwt {
        jwt: String,
        key: Key,
    },
}

/// The key pair of an `NKey`.
pub(super) struct Key(Ed25519KeyPair);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Identity {
    /// As the settings want it; complains when they want more than one or hold nonsense.
    pub(super) fn read(settings: &Settings, complaints: &mut Vec<Complaint>) -> Self {
        let mut found = Vec::new();
        if !settings.user.is_empty() {
            let password = settings.password.reveal_or_complain("nats.password", complaints);
            found.push(("nats.user", Self::User { name: settings.user.clone(), password }));
        }
        let mut complain = |key: &str, text: &str| {
            complaints.push(Complaint { key: key.to_owned(), text: text.to_owned() });
        };
        let mut reveal = |key: &'static str, secret: &crate::outputs::secret::Secret| {
            let text = (!secret.is_empty()).then(|| secret.reveal())?;
            text.map_err(|text| complain(key, &text)).ok()
        };
        if let Some(token) = reveal("nats.token", &settings.token) {
            found.push(("nats.token", Self::Token(token)));
        }
        let nkey = reveal("nats.nkey", &settings.nkey);
        let credentials = reveal("nats.credentials", &settings.credentials);
        if let Some(seed) = nkey {
            match Key::from_seed(&seed) {
                Some(key) => found.push(("nats.nkey", Self::Key(key))),
                None => complain("nats.nkey", "wants the seed of a user's NKey: it begins with SU"),
            }
        }
        if let Some(text) = credentials {
            match Self::from_credentials(&text) {
                Some(identity) => found.push(("nats.credentials", identity)),
                None => complain(
                    "nats.credentials",
                    "wants the contents of a credentials file: a JWT and the seed of an NKey",
                ),
            }
        }
        for (key, _) in found.iter().skip(1) {
            complain(key, "is one way too many to log in");
        }
        found.into_iter().next().map(|it| it.1).unwrap_or_default()
    }

    /// A credentials file: two blocks between lines of dashes, the JWT first.
    fn from_credentials(text: &str) -> Option<Self> {
        let mut blocks = Vec::new();
        let mut within = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("---") {
                within = line.contains("BEGIN");
            } else if within && !line.is_empty() {
                blocks.push(line);
                within = false;
            }
        }
        let [jwt, seed] = blocks[..] else { return None };
        Some(Self::Jwt { jwt: jwt.to_owned(), key: Key::from_seed(seed)? })
    }

    /// The members of CONNECT that log us in.
    pub(super) fn introduce(&self, nonce: &str, into: &mut Map<String, Value>) {
        let mut put = |name: &str, value: String| into.insert(name.to_owned(), json!(value));
        match self {
            Self::Nobody => {}
            Self::User { name, password } => {
                put("user", name.clone());
                put("pass", password.clone());
            }
            Self::Token(token) => {
                put("auth_token", token.clone());
            }
            Self::Key(key) => {
                put("nkey", key.public());
                put("sig", key.sign(nonce));
            }
            Self::Jwt { jwt, key } => {
                put("jwt", jwt.clone());
                put("sig", key.sign(nonce));
            }
        }
    }
}

/// What the first byte says: 18 for a seed, 20 for a user, both in the upper five bits.
const SEED: u8 = 18 << 3;
const USER: u8 = 20 << 3;

impl Key {
    /// `SU…`: of the first two bytes, five bits say that it is a seed and eight what for.
    fn from_seed(text: &str) -> Option<Self> {
        let bytes = base32_decode(text.trim())?;
        let (body, sum) = bytes.split_last_chunk::<2>()?;
        if crc16(body) != u16::from_le_bytes(*sum) {
            return None;
        }
        let ([first, second], seed) = body.split_first_chunk::<2>()?;
        let is_of_user = first & 0xf8 == SEED && (first & 7) << 5 | second >> 3 == USER;
        let key = is_of_user.then(|| Ed25519KeyPair::from_seed_unchecked(seed).ok())?;
        key.map(Self)
    }

    /// `U…`
    fn public(&self) -> String {
        let mut bytes = vec![USER];
        bytes.extend_from_slice(self.0.public_key().as_ref());
        bytes.extend_from_slice(&crc16(&bytes).to_le_bytes());
        base32_encode(&bytes)
    }

    fn sign(&self, nonce: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.0.sign(nonce.as_bytes()))
    }
}

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// RFC 4648 section 6, without padding.
fn base32_encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut bits, mut count) = (0_u16, 0);
    for byte in bytes {
        // At most 4 bits are left of the bytes before.
        bits = (bits << 8) | u16::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(digit(bits >> count));
        }
    }
    if count > 0 {
        text.push(digit(bits << (5 - count)));
    }
    text
}

fn digit(bits: u16) -> char {
    ALPHABET.get(usize::from(bits & 31)).copied().map_or('A', char::from)
}

fn base32_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u16, 0);
    for digit in text.bytes() {
        let value = ALPHABET.iter().position(|it| *it == digit)?;
        bits = (bits << 5) | u16::try_from(value).ok()?;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

/// CRC-16 of XMODEM: polynomial 0x1021, from 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ (u16::from(*byte) << 8), |sum, _| {
            if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pair that the documentation of NATS shows for authentication by `NKey`.
    const SEED_TEXT: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    const PUBLIC_TEXT: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

    #[test]
    fn an_nkey_is_read_as_everybody_else_reads_it() {
        let key = Key::from_seed(SEED_TEXT).unwrap();
        assert_eq!(key.public(), PUBLIC_TEXT);
        assert!(Key::from_seed(PUBLIC_TEXT).is_none(), "no seed");
        assert!(Key::from_seed(&SEED_TEXT.replace("SUAC", "SUAD")).is_none(), "the sum is wrong");
        assert!(
            Key::from_seed("").is_none() && Key::from_seed("SU").is_none() && Key::from_seed("ä").is_none()
        );
    }

    #[test]
    fn base32_goes_both_ways() {
        // RFC 4648 section 10, without the padding.
        for (text, encoded) in
            [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")]
        {
            assert_eq!(base32_encode(text.as_bytes()), encoded);
            assert_eq!(base32_decode(encoded).unwrap(), text.as_bytes());
        }
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn a_credentials_file_holds_a_token_and_a_key() {
        let file = format!(
            "-----BEGIN NATS USER JWT-----\neyJ0.eyJq.sig\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\nNKEY Seed printed below\n\n\
             -----BEGIN USER NKEY SEED-----\n{SEED_TEXT}\n------END USER NKEY SEED------\n"
        );
        let identity = Identity::from_credentials(&file).unwrap();
        let mut said = Map::new();
        identity.introduce("nonce", &mut said);
        assert_eq!(said["jwt"], "eyJ0.eyJq.sig");
        // Ed25519 signatures have 64 bytes.
        assert_eq!(said["sig"].as_str().unwrap().len(), 86);
        assert!(!said.contains_key("nkey"));
        assert!(Identity::from_credentials("eyJ0").is_none());
        assert!(!format!("{:?}", Key::from_seed(SEED_TEXT)).contains("SUAC"));
    }
}
