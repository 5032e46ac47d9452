//! Bytes a peer sent, as a type of their own.
//!
//! There is no `Display`, no `Deref` and no conversion to `String`: whoever shows or encodes what
//! an attacker sent has to say how.

use std::borrow::Cow;
use std::fmt;

/// Bytes a peer sent. Printing escapes them, so no peer can write to our terminal or our log.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Tainted(Box<[u8]>);

impl Tainted {
    /// Keeps at most `limit` bytes.
    #[must_use]
    pub fn new(bytes: &[u8], limit: usize) -> Self {
        Self(bytes.get(..limit).unwrap_or(bytes).into())
    }

    /// The bytes as they came. Only for encoders of a format that does its own escaping, and for
    /// comparing with what the operator configured.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.0
    }

    /// Whether the peer sent nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The form in which a record carries these bytes: what is UTF-8 stays as it is, every other
    /// byte becomes the four characters `\xNN`, so that no event is lost to an odd byte.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        if let Ok(text) = std::str::from_utf8(&self.0) {
            return Cow::Borrowed(text);
        }
        let mut text = String::with_capacity(self.0.len() + 16);
        for chunk in self.0.utf8_chunks() {
            text.push_str(chunk.valid());
            for byte in chunk.invalid() {
                text.push_str("\\x");
                for nibble in [byte >> 4, byte & 15] {
                    text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('?'));
                }
            }
        }
        Cow::Owned(text)
    }

    /// For a person's eyes: one line, at most `limit` characters, no control characters and
    /// nothing that reorders text on a terminal.
    #[must_use]
    pub fn shown(&self, limit: usize) -> String {
        show(&self.text(), limit)
    }
}

/// `text` on one line, at most `limit` characters, without anything that steers a terminal.
pub(crate) fn show(text: &str, limit: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(limit));
    for (count, character) in text.chars().enumerate() {
        if count == limit {
            shown.push('…');
            break;
        }
        // Bidirectional controls can make a log line read as something it is not.
        let reorders =
            matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || reorders {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

impl fmt::Debug for Tainted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_stays_and_other_bytes_are_spelled_out() {
        assert_eq!(Tainted::new("jürgen".as_bytes(), 64).text(), "jürgen");
        assert_eq!(Tainted::new(b"a\xff\xfeb\xc3", 64).text(), "a\\xff\\xfeb\\xc3");
    }

    #[test]
    fn what_is_shown_cannot_steer_a_terminal() {
        assert_eq!(Tainted::new(b"a\x1b[2Jb\r\n", 64).shown(64), "a\\u{1b}[2Jb\\r\\n");
        assert_eq!(Tainted::new("a\u{202e}b".as_bytes(), 64).shown(64), "a\\u{202e}b");
        assert_eq!(Tainted::new(b"abcdef", 64).shown(3), "abc…");
        assert_eq!(format!("{:?}", Tainted::new(b"\x00\"", 64)), r#""\x00\"""#);
    }

    #[test]
    fn nothing_beyond_the_limit_is_kept() {
        assert_eq!(Tainted::new(&[b'x'; 100], 10).raw().len(), 10);
    }
}
