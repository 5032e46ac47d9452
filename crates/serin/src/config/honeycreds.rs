//! Bait credentials: user names and passwords that nobody has any business to use.
//!
//! A password may be given in clear or as a hash of one of three forms; checking a hash takes
//! milliseconds to a second, so the caller is told beforehand whether it must.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::alphabet::Alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

/// No hash that these libraries make is of a longer password, and hashing longer ones only costs.
const LONGEST_PASSWORD: usize = 4096;

/// Most rounds or cost that a hash may ask for: beyond them one attempt takes minutes.
const MOST_ROUNDS: u32 = 10_000_000;
const MOST_COST: u32 = 18;

/// The bait of one configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Honeycreds {
    services: BTreeMap<String, Arc<[Credential]>>,
    everywhere: Arc<[Credential]>,
}

/// One bait credential. What is absent matches anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The user name.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
}

/// A password, as the operator gave it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// In clear.
    Plain(String),
    /// `$pbkdf2-sha512$rounds$salt$digest`.
    Pbkdf2 {
        /// Iterations.
        rounds: NonZeroU32,
        /// Salt.
        salt: Vec<u8>,
        /// The hash.
        digest: Vec<u8>,
    },
    /// `$2b$cost$...`.
    Bcrypt(String),
    /// `$6$salt$digest`.
    Sha512Crypt {
        /// Iterations.
        rounds: usize,
        /// Salt.
        salt: String,
        /// The hash, in crypt's own base 64.
        digest: String,
    },
}

/// Says which form it is in, never what it is: configurations end up in logs.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "plain",
            Self::Pbkdf2 { .. } => "pbkdf2-sha512",
            Self::Bcrypt(_) => "bcrypt",
            Self::Sha512Crypt { .. } => "sha512-crypt",
        })
    }
}

impl Honeycreds {
    /// The bait of one service, where it has any: its own, and what counts everywhere.
    #[must_use]
    pub fn of(&self, service: &str) -> Option<Bait<'_>> {
        let own = self.services.get(service).map_or(&[][..], AsRef::as_ref);
        let bait = Bait { own, everywhere: &self.everywhere };
        (bait.credentials().next().is_some()).then_some(bait)
    }

    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.everywhere.is_empty()
    }

    /// The services that have bait whose check takes long; `None`: all have.
    pub(crate) fn hashed(&self) -> impl Iterator<Item = Option<&str>> {
        let any = |list: &[Credential]| list.iter().any(Credential::hashed);
        let own = self.services.iter().filter(move |it| any(it.1)).map(|it| Some(it.0.as_str()));
        own.chain(any(&self.everywhere).then_some(None))
    }

    /// Sets the bait of one service, or of all where none is named.
    pub(crate) fn set(&mut self, service: Option<&str>, list: Vec<Credential>) {
        match service {
            Some(name) if !list.is_empty() => {
                self.services.insert(name.to_owned(), list.into());
            }
            Some(_) => {}
            None => self.everywhere = list.into(),
        }
    }
}

/// The bait of one service.
#[derive(Debug, Clone, Copy)]
pub struct Bait<'a> {
    own: &'a [Credential],
    everywhere: &'a [Credential],
}

impl<'a> Bait<'a> {
    /// All credentials, in the order in which they are tried. For protocols that never reveal a
    /// password and check a challenge's answer instead.
    pub fn credentials(&self) -> impl Iterator<Item = &'a Credential> + use<'a> {
        self.own.iter().chain(self.everywhere)
    }

    /// Whether the user name and password are bait. Takes long where [`Bait::needs_hashing`].
    #[must_use]
    pub fn check(&self, username: Option<&[u8]>, password: Option<&[u8]>) -> bool {
        // What costs nothing first.
        let (dear, cheap): (Vec<_>, Vec<_>) =
            self.credentials().filter(|it| it.fits(username)).partition(|it| it.hashed());
        let matches = |it: &Credential| match &it.password {
            None => true,
            Some(secret) => password.is_some_and(|it| secret.is(it)),
        };
        cheap.into_iter().any(matches) || dear.into_iter().any(matches)
    }

    /// Whether checking an attempt of this user may have to compute a hash.
    #[must_use]
    pub fn needs_hashing(&self, username: Option<&[u8]>) -> bool {
        self.credentials().any(|it| it.hashed() && it.fits(username))
    }
}

impl Credential {
    fn fits(&self, username: Option<&[u8]>) -> bool {
        self.username.as_ref().is_none_or(|it| Some(it.as_bytes()) == username)
    }

    fn hashed(&self) -> bool {
        self.password.as_ref().is_some_and(|it| !matches!(it, Secret::Plain(_)))
    }
}

impl Secret {
    /// Tells hashes from passwords in clear.
    ///
    /// # Errors
    ///
    /// When it begins like a hash and is none.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(rest) = text.strip_prefix("$pbkdf2-sha512$") {
            return pbkdf2_hash(rest).ok_or("is not a whole $pbkdf2-sha512$ hash");
        }
        if text.starts_with("$2a$") || text.starts_with("$2b$") || text.starts_with("$2y$") {
            return bcrypt_hash(text).ok_or("is not a whole bcrypt hash");
        }
        if let Some(rest) = text.strip_prefix("$6$") {
            return sha512_hash(rest).ok_or("is not a whole SHA512-crypt ($6$) hash");
        }
        Ok(Self::Plain(text.to_owned()))
    }

    /// Whether `password` is it. Never fails, whatever the peer sent.
    fn is(&self, password: &[u8]) -> bool {
        if let Self::Plain(text) = self {
            return text.as_bytes() == password;
        }
        if password.len() > LONGEST_PASSWORD {
            return false;
        }
        match self {
            Self::Plain(_) => false,
            Self::Pbkdf2 { rounds, salt, digest } => {
                pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA512, *rounds, salt, password, digest).is_ok()
            }
            // Both end at a NUL in C; nothing with one inside was ever hashed.
            Self::Bcrypt(_) | Self::Sha512Crypt { .. } if password.contains(&0) => false,
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Sha512Crypt { rounds, salt, digest } => sha_crypt::Sha512Params::new(*rounds)
                .and_then(|it| sha_crypt::sha512_crypt_b64(password, salt.as_bytes(), &it))
                .is_ok_and(|it| it == *digest),
        }
    }
}

/// `rounds$salt$digest`, in passlib's base 64: `.` for `+`, no padding.
fn pbkdf2_hash(rest: &str) -> Option<Secret> {
    const DIGEST: usize = 64;
    let alphabet = Alphabet::new("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./").ok()?;
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&alphabet, config);
    let mut parts = rest.split('$');
    let (rounds, salt, digest) = (parts.next()?, parts.next()?, parts.next()?);
    let rounds: NonZeroU32 = rounds.parse().ok()?;
    let (salt, digest) = (engine.decode(salt).ok()?, engine.decode(digest).ok()?);
    let whole = parts.next().is_none() && digest.len() == DIGEST && rounds.get() <= MOST_ROUNDS;
    whole.then_some(Secret::Pbkdf2 { rounds, salt, digest })
}

/// `$2b$cost$`, then 53 characters.
fn bcrypt_hash(text: &str) -> Option<Secret> {
    let hash: bcrypt::HashParts = text.parse().ok()?;
    let digits = text.get(7..)?;
    let plain =
        digits.len() == 53 && digits.bytes().all(|it| it.is_ascii_alphanumeric() || b"./".contains(&it));
    (plain && (4..=MOST_COST).contains(&hash.get_cost())).then(|| Secret::Bcrypt(text.to_owned()))
}

/// `[rounds=N$]salt$digest`.
fn sha512_hash(rest: &str) -> Option<Secret> {
    const DIGEST: usize = 86;
    const LONGEST_SALT: usize = 16;
    let (rounds, rest) = match rest.strip_prefix("rounds=") {
        Some(rest) => {
            let (rounds, rest) = rest.split_once('$')?;
            (rounds.parse().ok()?, rest)
        }
        None => (5000, rest),
    };
    let (salt, digest) = rest.split_once('$')?;
    let digits = digest.bytes().all(|it| it.is_ascii_alphanumeric() || b"./".contains(&it));
    let whole = digest.len() == DIGEST && digits && salt.len() <= LONGEST_SALT;
    let bounded = (1000..=usize::try_from(MOST_ROUNDS).ok()?).contains(&rounds);
    (whole && bounded).then(|| Secret::Sha512Crypt {
        rounds,
        salt: salt.to_owned(),
        digest: digest.to_owned(),
    })
}

/// Says what it got by its kind alone: there may be a password in it.
fn wrong(wants: &str, got: &Value) -> String {
    let got = match got {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    format!("wants {wants}, got {got}")
}

/// What a `honeycreds` list says. Each remark is a path below the key, and a sentence.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The bait; incomplete where there are complaints.
    pub(crate) credentials: Vec<Credential>,
    /// What is wrong.
    pub(crate) complaints: Vec<(String, String)>,
    /// Keys that mean nothing, and which were perhaps meant.
    pub(crate) unknown: Vec<(String, String)>,
    /// Bait that is meant to be taken by everybody, it seems.
    pub(crate) notes: Vec<(String, String)>,
}

/// The keys of one credential.
pub(crate) const KEYS: [&str; 2] = ["username", "password"];

/// Reads a `honeycreds` list.
pub(crate) fn read(value: &Value) -> Reading {
    let mut reading = Reading::default();
    let Some(list) = value.as_array() else {
        let text = wrong("a list of objects with username and password", value);
        reading.complaints.push((String::new(), text));
        return reading;
    };
    for (index, entry) in list.iter().enumerate() {
        let path = format!(".{index}");
        match entry.as_object() {
            Some(entry) => reading.entry(&path, entry),
            None => reading.complaints.push((path, wrong("an object with username and password", entry))),
        }
    }
    reading
}

impl Reading {
    fn entry(&mut self, path: &str, entry: &Map<String, Value>) {
        let before = self.complaints.len();
        let [username, password] = KEYS.map(|name| match entry.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => {
                self.complaints.push((format!("{path}.{name}"), wrong("a string", other)));
                None
            }
        });
        let password = password.map(|it| Secret::parse(&it)).transpose().unwrap_or_else(|why| {
            // The text may hold a secret: it is not repeated.
            self.complaints.push((format!("{path}.password"), why.to_owned()));
            None
        });
        for key in entry.keys().filter(|it| !KEYS.contains(&it.as_str())) {
            self.unknown.push((format!("{path}.{key}"), no_such_key(key)));
        }
        let fine = self.complaints.len() == before;
        if fine && username.is_none() && password.is_none() {
            let text = "has neither username nor password, so that every login counts as bait";
            self.notes.push((path.to_owned(), text.to_owned()));
        }
        self.credentials.push(Credential { username, password });
    }
}

/// `no such key; did you mean username?` Short forms (`user`, `pwd`) are far from the whole word by
/// their letters, but begin as it does.
fn no_such_key(key: &str) -> String {
    const FARTHEST: usize = 3;
    let lower = key.to_ascii_lowercase();
    let meant = |name: &&&str| {
        let begins = lower.starts_with(name.get(..2).unwrap_or(name))
            || (lower.starts_with("pw") && **name == KEYS[1]);
        begins || strsim::damerau_levenshtein(name, &lower) <= FARTHEST
    };
    match KEYS.iter().find(meant) {
        Some(name) => format!("no such key; did you mean {name}?"),
        None => "no such key; there are username and password".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Of `password`, made with Python's `hashlib`.
    const PBKDF2: &str = "$pbkdf2-sha512$19000$c2VyaW4tdGVzdC1zYWx0IQ$7AN2fN1owxZ8OY8nIj0qElQKsh73JtHAVpKEySpOR3szzM31KuWJiaIrwW4SNxWEnSVjf/Z1N9hZbqRojsr.3Q";

    fn taken(list: &Value) -> Vec<Credential> {
        let reading = read(list);
        assert_eq!(reading.complaints, []);
        reading.credentials
    }

    fn bait(list: &Value) -> Honeycreds {
        let mut honeycreds = Honeycreds::default();
        honeycreds.set(Some("telnet"), taken(list));
        honeycreds
    }

    fn check(list: &Value, username: &str, password: &str) -> bool {
        let (username, password) = (username.as_bytes(), password.as_bytes());
        bait(list).of("telnet").unwrap().check(Some(username), Some(password))
    }

    #[test]
    fn clear_passwords_are_compared_as_bytes() {
        let list = json!([{ "username": "admin", "password": "hunter2" }]);
        assert!(check(&list, "admin", "hunter2"));
        assert!(!check(&list, "admin", "hunter3"));
        assert!(!check(&list, "root", "hunter2"));
        let bait = bait(&list);
        assert!(!bait.of("telnet").unwrap().check(Some(b"admin"), None));
        assert!(!bait.of("telnet").unwrap().check(Some(b"admin"), Some(b"\xff\x00")));
        assert!(bait.of("ftp").is_none());
    }

    #[test]
    fn what_is_absent_matches_anything() {
        assert!(check(&json!([{}]), "who", "ever"));
        assert!(check(&json!([{ "password": "x" }]), "who", "x"));
        assert!(check(&json!([{ "username": "who" }]), "who", "ever"));
        let anything = bait(&json!([{}]));
        assert!(anything.of("telnet").unwrap().check(None, None));
    }

    #[test]
    fn the_three_hash_forms_match_their_passwords() {
        let bcrypt = bcrypt::hash("secret", 4).unwrap();
        // From the specification of SHA-crypt.
        let sha512 = "$6$rounds=1400$anotherlongsalts$POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1";
        let sha512_password =
            "a very much longer text to encrypt.  This one even stretches over morethan one line.";
        for (hash, password) in [(PBKDF2, "password"), (&bcrypt, "secret"), (sha512, sha512_password)] {
            let list = json!([{ "username": "admin", "password": hash }]);
            assert!(check(&list, "admin", password), "{hash}");
            assert!(!check(&list, "admin", "wrong"), "{hash}");
            assert!(!check(&list, "root", password), "{hash}");
            let bait = bait(&list);
            let bait = bait.of("telnet").unwrap();
            assert!(bait.needs_hashing(Some(b"admin")) && !bait.needs_hashing(Some(b"root")));
            for odd in [&b"\0"[..], b"\xff", &[b'x'; 5000], b""] {
                assert!(!bait.check(Some(b"admin"), Some(odd)), "{hash}");
            }
        }
    }

    #[test]
    fn other_hashes_are_taken_literally_and_broken_ones_refused() {
        assert!(check(&json!([{ "password": "$1$abc$def" }]), "x", "$1$abc$def"));
        let broken = json!([
            { "password": "$6$salt$short" },
            { "password": "$2b$10$short" },
            { "password": "$pbkdf2-sha512$0$aa$bb" },
            { "username": 5 },
            "admin",
        ]);
        let complaints: Vec<_> =
            read(&broken).complaints.into_iter().map(|(at, text)| format!("{at} {text}")).collect();
        assert_eq!(
            complaints,
            [
                ".0.password is not a whole SHA512-crypt ($6$) hash",
                ".1.password is not a whole bcrypt hash",
                ".2.password is not a whole $pbkdf2-sha512$ hash",
                ".3.username wants a string, got a number",
                ".4 wants an object with username and password, got a string",
            ]
        );
        let complaints = read(&json!({ "username": "x" })).complaints;
        assert_eq!(complaints[0].1, "wants a list of objects with username and password, got an object");
    }

    #[test]
    fn a_misspelt_key_and_bait_for_everybody_are_told() {
        let list = json!([
            { "user": "svc", "passwd": "x" },
            { "Username": "a", "pwd": "x", "comment": "mine" },
            {},
            { "username": null, "password": null },
            { "username": 5 },
        ]);
        let told = |list: Vec<(String, String)>| -> Vec<String> {
            list.into_iter().map(|(at, text)| format!("{at} {text}")).collect()
        };
        let reading = read(&list);
        assert_eq!(
            told(reading.unknown),
            [
                ".0.passwd no such key; did you mean password?",
                ".0.user no such key; did you mean username?",
                ".1.Username no such key; did you mean username?",
                ".1.comment no such key; there are username and password",
                ".1.pwd no such key; did you mean password?",
            ]
        );
        let everybody = |at: usize| {
            format!(".{at} has neither username nor password, so that every login counts as bait")
        };
        assert_eq!(told(reading.notes), [0, 1, 2, 3].map(everybody));
        assert_eq!(told(reading.complaints), [".4.username wants a string, got a number"]);
    }

    #[test]
    fn bait_without_a_service_counts_everywhere() {
        let mut honeycreds = bait(&json!([{ "username": "a" }]));
        honeycreds.set(None, taken(&json!([{ "username": "b" }])));
        assert_eq!(honeycreds.of("telnet").unwrap().credentials().count(), 2);
        assert!(honeycreds.of("ftp").unwrap().check(Some(b"b"), None));
    }

    #[test]
    fn a_configuration_that_is_printed_shows_no_password() {
        let shown = format!("{:?}", bait(&json!([{ "username": "a", "password": "hunter2" }])));
        assert!(shown.contains("plain") && !shown.contains("hunter2"), "{shown}");
    }
}
