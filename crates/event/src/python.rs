//! Python's text form of byte strings, which leaks into fields of OpenCanary's log.

use std::fmt::Write as _;

/// What Python prints for a byte string, without the `b'…'` around it: the field text of MySQL user
/// names. With `wrapped`, the whole literal: the `DATA` of TCP banner connections.
#[must_use]
pub fn bytes_literal(bytes: &[u8], wrapped: bool) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut text = String::with_capacity(bytes.len() + 3);
    if wrapped {
        text.push('b');
        text.push(quote);
    }
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'\t' => text.push_str("\\t"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            _ if char::from(byte) == quote => {
                text.push('\\');
                text.push(quote);
            }
            0x20..0x7f => text.push(char::from(byte)),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    if wrapped {
        text.push(quote);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_follow_python() {
        assert_eq!(bytes_literal(b"Welcome\r\n", true), r"b'Welcome\r\n'");
        assert_eq!(bytes_literal(b"", true), "b''");
        assert_eq!(bytes_literal(b"it's", true), r#"b"it's""#);
        let mixed = [0x6a, 0xc3, 0xbc, 0x72, 0x27, 0x5c, 0x01, 0x22];
        assert_eq!(bytes_literal(&mixed, false), r#"j\xc3\xbcr\'\\\x01""#);
    }
}
