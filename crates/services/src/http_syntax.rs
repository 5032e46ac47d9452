//! What HTTP lays down for every server, whichever product is played: tokens, chunk sizes, lengths
//! and credentials. RFC 9110, RFC 9112.
//!
//! How requests are split into lines and fields, and what is refused, differs by product and stands
//! with the products.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::memchr;

use crate::wire::{hexadecimal, split_once};

/// Whether a token may have this byte: RFC 9110, section 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The size in a chunk's first line, without the extensions after it: RFC 9112, section 7.1.
pub(crate) fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|it| b"; \t".contains(it)).next()?;
    // More would be an exbibyte and over.
    if digits.len() > 15 { None } else { hexadecimal(digits) }
}

/// One value of `Content-Length`: RFC 9110, section 8.6. Servers count in 63 bits.
pub(crate) fn content_length(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|it| i64::try_from(*it).is_ok())
}

/// User name and password of Basic: RFC 7617. No password where no colon stands.
pub(crate) fn basic(token: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let mut user = base64_decoded(token)?;
    let password = memchr(b':', &user).map(|colon| user.split_off(colon));
    Some((user, password.map(|it| it.get(1..).unwrap_or_default().to_vec())))
}

/// Decodes base64 as leniently as clients encode: padding may be missing or wrong, and the last
/// digit may have bits that belong to no byte.
pub(crate) fn base64_decoded(text: &[u8]) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let digits: Vec<u8> = text.iter().copied().filter(|it| *it != b'=').collect();
    LENIENT.decode(digits).ok()
}

/// One parameter of a list like `username="a", realm="b"`, out of its quotes: RFC 9110, section
/// 11.2.
pub(crate) fn auth_parameter(list: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut rest = list;
    loop {
        let (found, after) = split_once(rest, b'=')?;
        let (value, after) = unquoted(after);
        let key = found.rsplit(|&it| it == b',').next().unwrap_or(found).trim_ascii();
        if key.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = after;
    }
}

/// A value up to the comma, or up to the closing quote; and what follows it.
fn unquoted(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let bytes = bytes.trim_ascii_start();
    let Some(mut rest) = bytes.strip_prefix(b"\"") else {
        let end = memchr(b',', bytes).unwrap_or(bytes.len());
        let (value, after) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        return (value.trim_ascii().to_vec(), after);
    };
    let mut value = Vec::new();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after.split_first()) {
            (b'"', _) => break,
            (b'\\', Some((&escaped, after))) => {
                value.push(escaped);
                rest = after;
            }
            _ => value.push(byte),
        }
    }
    (value, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_a_size_of_hexadecimal_digits() {
        for (line, size) in [
            ("0", Some(0)),
            ("1f;name=value", Some(0x1f)),
            ("00A \t", Some(10)),
            ("fffffffffffffff", Some(0x0fff_ffff_ffff_ffff)),
            ("0fffffffffffffff", None),
            ("", None),
            (";x", None),
            ("+1", None),
            ("0x1", None),
        ] {
            assert_eq!(chunk_size(line.as_bytes()), size, "{line}");
        }
    }

    #[test]
    fn a_length_is_digits_that_fit_63_bits() {
        for (text, length) in [
            ("0", Some(0)),
            ("9223372036854775807", Some(i64::MAX.cast_unsigned())),
            ("9223372036854775808", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("1 ", None),
        ] {
            assert_eq!(content_length(text.as_bytes()), length, "{text}");
        }
    }

    #[test]
    fn base64_is_decoded_whatever_became_of_its_padding() {
        for text in ["YTpi", "YTpiYw==", "YTpiYw=", "YTpiYw", "YTpiYw===", "YTpiYx"] {
            let decoded = base64_decoded(text.as_bytes());
            let wanted = if text.len() == 4 { &b"a:b"[..] } else { b"a:bc" };
            assert_eq!(decoded.as_deref(), Some(wanted), "{text}");
        }
        for text in ["Y", "YTpi!", "YT pi"] {
            assert_eq!(base64_decoded(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn basic_is_split_at_the_first_colon() {
        let said = |token: &str| basic(token.as_bytes());
        assert_eq!(said("YWxpY2U6YTpi"), Some((b"alice".to_vec(), Some(b"a:b".to_vec()))));
        assert_eq!(said("YWxpY2U6"), Some((b"alice".to_vec(), Some(Vec::new()))));
        assert_eq!(said("YWxpY2U"), Some((b"alice".to_vec(), None)));
        assert_eq!(said("!!!!"), None);
    }

    #[test]
    fn a_parameter_is_found_behind_others_that_quote_its_name() {
        let list = br#"realm="a, username=b", USERNAME="al\"ice", qop=auth "#;
        assert_eq!(auth_parameter(list, b"username").as_deref(), Some(&b"al\"ice"[..]));
        assert_eq!(auth_parameter(list, b"qop").as_deref(), Some(&b"auth"[..]));
        assert_eq!(auth_parameter(list, b"nonce"), None);
        assert_eq!(auth_parameter(b"username=\"open", b"username").as_deref(), Some(&b"open"[..]));
    }
}
