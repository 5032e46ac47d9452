//! What events are grouped and counted by: texts with their case folded, addresses in one spelling.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::ops::Deref;

use sha2::{Digest as _, Sha256};

use super::groups::heap;
use crate::event::{Fields, Value};
use crate::pattern::fold;

/// The longest text of a group's value, in bytes. A longer one is told by its beginning and its
/// SHA-256, so that a peer cannot fill the memory with one group.
const TEXT_MAX: usize = 256;
/// How much of a longer one is kept.
const TEXT_KEPT: usize = 192;

/// The longest key that needs no memory of its own: an IPv4 address has room, and most names.
const INLINE_MAX: usize = 22;

/// The values of a group, one after the other, each behind its length.
#[derive(Clone)]
pub(crate) enum Key {
    /// A short one.
    Inline(u8, [u8; INLINE_MAX]),
    /// Any other.
    Heap(Box<[u8]>),
}

impl Key {
    /// What it takes besides itself, in bytes.
    pub(crate) fn heap(&self) -> usize {
        match self {
            Self::Inline(..) => 0,
            Self::Heap(bytes) => heap::<u8>(bytes.len()),
        }
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE_MAX];
        match (inline.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(bytes);
                Self::Inline(length, inline)
            }
            _ => Self::Heap(bytes.into()),
        }
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline(length, bytes) => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Heap(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(values(self)).finish()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

/// A distinct value: itself when it is short, otherwise its SHA-256.
pub(crate) type Token = [u8; 16];

/// Appends a value in the one spelling that it has here. False when there is no value: null, or an
/// empty list. The members of a list count as one value.
fn spell(value: &Value<'_>, out: &mut String) -> bool {
    match value {
        Value::Null => return false,
        // Writing to a text cannot fail.
        Value::Int(number) => drop(write!(out, "{number}")),
        Value::Text(text) => spell_text(text, out),
        Value::Bool(_) | Value::Float(_) => out.push_str(&value.text().unwrap_or_default()),
        Value::List(members) => {
            let mut some = false;
            for member in members {
                if some {
                    out.push(',');
                }
                some |= spell(member, out);
            }
            return some;
        }
    }
    true
}

fn spell_text(text: &str, out: &mut String) {
    match address(text) {
        // It has one spelling only.
        Some(IpAddr::V4(_)) if !text.contains(':') => out.push_str(text),
        Some(address) => drop(write!(out, "{address}")),
        None => out.push_str(&fold(text)),
    }
}

fn address(text: &str) -> Option<IpAddr> {
    let first = *text.as_bytes().first()?;
    let may_be = (first.is_ascii_hexdigit() || first == b':') && (2..=45).contains(&text.len());
    let address: IpAddr = may_be.then(|| text.parse().ok())??;
    Some(address.to_canonical())
}

/// Builds keys and tokens. Kept between events for its memory.
#[derive(Debug, Default)]
pub(crate) struct Speller {
    text: String,
    key: Vec<u8>,
}

impl Speller {
    /// The group of these fields' values; `None` when one is missing or null.
    pub(crate) fn key<'f>(
        &mut self,
        names: impl Iterator<Item = &'f str>,
        fields: &Fields<'_>,
    ) -> Option<Key> {
        self.spell(names, fields).map(Key::from)
    }

    /// The token of these fields' values together; `None` when one is missing or null.
    pub(crate) fn token<'f>(
        &mut self,
        names: impl Iterator<Item = &'f str>,
        fields: &Fields<'_>,
    ) -> Option<Token> {
        self.spell(names, fields).map(token)
    }

    fn spell<'f>(&mut self, names: impl Iterator<Item = &'f str>, fields: &Fields<'_>) -> Option<&[u8]> {
        self.key.clear();
        for name in names {
            self.text.clear();
            if !spell(fields.get(name)?, &mut self.text) {
                return None;
            }
            shorten(&mut self.text);
            append(&mut self.key, &self.text);
        }
        Some(&self.key)
    }
}

/// The token of a key.
pub(crate) fn token(key: &[u8]) -> Token {
    let mut token = Token::default();
    let [mark, place @ ..] = &mut token;
    if let Some(place) = place.get_mut(..key.len()) {
        place.copy_from_slice(key);
        *mark = u8::try_from(key.len()).unwrap_or(u8::MAX);
    } else {
        let digest: [u8; 32] = Sha256::digest(key).into();
        *place = digest.first_chunk().copied().unwrap_or_default();
        *mark = u8::MAX;
    }
    token
}

fn append(key: &mut Vec<u8>, text: &str) {
    // Texts are short by now: the length always fits.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    key.extend_from_slice(&length.to_le_bytes());
    key.extend(text.bytes().take(usize::from(length)));
}

fn shorten(text: &mut String) {
    if text.len() <= TEXT_MAX {
        return;
    }
    let digest = Sha256::digest(text.as_bytes());
    text.truncate(text.floor_char_boundary(TEXT_KEPT));
    text.push('…');
    for byte in digest.iter().take(16) {
        let _ = write!(text, "{byte:02x}");
    }
}

/// The values of a key.
pub(crate) fn values(key: &[u8]) -> impl Iterator<Item = &str> {
    let mut rest = key;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (value, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        rest = after;
        Some(std::str::from_utf8(value).unwrap_or_default())
    })
}

/// A value as a number: a number, or a text that is one in JSON's spelling.
pub(crate) fn number(value: &Value<'_>) -> Option<f64> {
    let number = match value {
        #[expect(clippy::cast_precision_loss, reason = "figures are floats")]
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        Value::Text(text) => {
            let text = text.trim();
            let first = text.trim_start_matches('-').bytes().next()?;
            // Not `inf`, `nan`, `.5` or `+1`, which Rust reads and JSON does not.
            first.is_ascii_digit().then(|| text.parse().ok())??
        }
        Value::Null | Value::Bool(_) | Value::List(_) => return None,
    };
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: Value<'_>) -> Option<Vec<String>> {
        let mut fields = Fields::new();
        fields.push("a", value);
        let key = Speller::default().key(["a"].into_iter(), &fields)?;
        Some(values(&key).map(str::to_owned).collect())
    }

    fn text(text: &str) -> Value<'_> {
        Value::Text(text.into())
    }

    #[test]
    fn one_value_has_one_spelling() {
        for (value, spelt) in [
            (text("Root"), "root"),
            (text("ÄPFEL"), "äpfel"),
            (text("ΣΑΣ"), "σασ"),
            (text("::FFFF:10.0.0.1"), "10.0.0.1"),
            (text("2001:0DB8:0:0::1"), "2001:db8::1"),
            (text("10.0.0.1:80"), "10.0.0.1:80"),
            (Value::Int(22), "22"),
            (Value::Float(22.0), "22"),
            (Value::Float(1.5), "1.5"),
            (Value::Bool(true), "true"),
            (text(""), ""),
            (Value::List(vec![text("A"), Value::Int(1)]), "a,1"),
        ] {
            assert_eq!(key(value.clone()), Some(vec![spelt.to_owned()]), "{value:?}");
        }
    }

    #[test]
    fn what_is_not_there_makes_no_group() {
        assert_eq!(key(Value::Null), None);
        assert_eq!(key(Value::List(Vec::new())), None);
        assert_eq!(Speller::default().key(["b"].into_iter(), &Fields::new()), None);
        assert_eq!(Speller::default().key(std::iter::empty(), &Fields::new()).as_deref(), Some(&[][..]));
    }

    #[test]
    fn a_long_value_is_bounded_and_still_itself() {
        let (one, other) = ("é".repeat(5000), "é".repeat(5001));
        let (one, other) = (key(text(&one)).unwrap(), key(text(&other)).unwrap());
        assert_ne!(one, other);
        assert!(one[0].len() <= TEXT_MAX && one[0].starts_with("éé"));
    }

    #[test]
    fn tuples_do_not_run_into_each_other() {
        let pair = |a: &'static str, b: &'static str| {
            let mut fields = Fields::new();
            fields.push("a", text(a));
            fields.push("b", text(b));
            Speller::default().key(["a", "b"].into_iter(), &fields).unwrap()
        };
        assert_ne!(pair("ab", "c"), pair("a", "bc"));
        assert_ne!(token(&pair("ab", "c")), token(&pair("a", "bc")));
        let long = "x".repeat(40);
        assert_ne!(token(long.as_bytes()), token(&long.as_bytes()[1..]));
    }

    #[test]
    fn numbers_are_json_s() {
        for (value, number_of) in [
            (text("1.5"), Some(1.5)),
            (text(" 7 "), Some(7.0)),
            (text("-3e2"), Some(-300.0)),
            (Value::Int(-1), Some(-1.0)),
            (text("inf"), None),
            (text("nan"), None),
            (text("0x10"), None),
            (text("1e999"), None),
            (text("+1"), None),
            (text(""), None),
            (Value::Bool(true), None),
            (Value::Float(f64::NAN), None),
        ] {
            assert_eq!(number(&value), number_of, "{value:?}");
        }
    }
}
