//! Finds a user name and a password in what a browser, a script or a brute-forcer sends.
//!
//! Forms as `application/x-www-form-urlencoded` and `multipart/form-data` (RFC 7578), the query,
//! and the `Authorization` field (RFC 7617, RFC 7616). Nothing is ever refused here: what cannot be
//! decoded is kept as it came.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use super::request::trim;
use crate::http_syntax::{auth_parameter, basic};
use crate::wire::split_once;

/// What was found; each may be missing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) username: Option<Vec<u8>>,
    pub(crate) password: Option<Vec<u8>>,
}

impl Credentials {
    /// Whether nothing was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.username.is_none() && self.password.is_none()
    }

    /// Takes from `other` what is missing here.
    pub(crate) fn or(self, other: Self) -> Self {
        Self { username: self.username.or(other.username), password: self.password.or(other.password) }
    }
}

/// The credentials in a request's body.
pub(crate) fn in_body(content_type: &[u8], body: &[u8]) -> Credentials {
    let kind = content_type.split(|it| *it == b';').next().map(trim).unwrap_or_default();
    let latin = parameter(content_type, "charset").is_some_and(|it| {
        it.eq_ignore_ascii_case(b"iso-8859-1")
            || it.eq_ignore_ascii_case(b"latin-1")
            || it.eq_ignore_ascii_case(b"windows-1252")
    });
    let mut found = if kind.eq_ignore_ascii_case(b"multipart/form-data") {
        match parameter(content_type, "boundary") {
            Some(boundary) if !boundary.is_empty() => in_parts(boundary, body),
            _ => Credentials::default(),
        }
    } else if kind.eq_ignore_ascii_case(b"application/json") {
        Credentials::default()
    } else {
        in_pairs(body)
    };
    if latin {
        for value in [&mut found.username, &mut found.password].into_iter().flatten() {
            *value = value.iter().map(|it| char::from(*it)).collect::<String>().into_bytes();
        }
    }
    found
}

/// The credentials in `a=b&c=d`.
pub(crate) fn in_pairs(pairs: &[u8]) -> Credentials {
    let mut found = Credentials::default();
    for pair in pairs.split(|it| *it == b'&') {
        let Some((name, value)) = split_once(pair, b'=') else { continue };
        let place = match decoded(name).as_ref() {
            b"username" => &mut found.username,
            b"password" => &mut found.password,
            _ => continue,
        };
        if place.is_none() {
            // Files of text editors and `curl -d @file` end in a line ending that nobody typed.
            let value = decoded(value);
            *place = Some(value.strip_suffix(b"\r\n").unwrap_or(&value).to_vec());
        }
    }
    found
}

/// Percent sequences and `+` decoded; a broken sequence stays as it is.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|it| matches!(it, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        match rest {
            [] => return Cow::Owned(out),
            [b'+', after @ ..] => {
                out.push(b' ');
                rest = after;
            }
            [b'%', high, low, after @ ..] => {
                if let Some(byte) = hex_pair(*high, *low) {
                    out.push(byte);
                    rest = after;
                } else {
                    out.push(b'%');
                    rest = rest.get(1..).unwrap_or_default();
                }
            }
            [byte, after @ ..] => {
                out.push(*byte);
                rest = after;
            }
        }
    }
}

/// The byte that two hexadecimal digits stand for.
pub(crate) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |it: u8| char::from(it).to_digit(16).and_then(|it| u8::try_from(it).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// `name=value` or `name="value"` among the parameters of a header field.
fn parameter<'a>(field: &'a [u8], name: &str) -> Option<&'a [u8]> {
    field.split(|it| *it == b';').skip(1).find_map(|part| {
        let part = trim(part);
        let (key, value) = split_once(part, b'=')?;
        if !trim(key).eq_ignore_ascii_case(name.as_bytes()) {
            return None;
        }
        let value = trim(value);
        Some(value.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\"")).unwrap_or(value))
    })
}

/// The credentials in a multipart body.
fn in_parts(boundary: &[u8], body: &[u8]) -> Credentials {
    let mut found = Credentials::default();
    let delimiter = [b"--", boundary].concat();
    let finder = memmem::Finder::new(&delimiter);
    let mut starts = finder.find_iter(body).map(|at| at.saturating_add(delimiter.len())).peekable();
    for _ in 0..PARTS_MAX {
        let Some(start) = starts.next() else { break };
        let end = starts.peek().map_or(body.len(), |it| it.saturating_sub(delimiter.len()));
        let part = body.get(start..end).unwrap_or_default();
        let Some((head, value)) = split_part(part) else { continue };
        let place = match part_name(head) {
            Some(b"username") => &mut found.username,
            Some(b"password") => &mut found.password,
            _ => continue,
        };
        if place.is_none() {
            *place = Some(value.to_vec());
        }
    }
    found
}

fn split_part(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, value) = if let Some(at) = memmem::find(part, b"\r\n\r\n") {
        (part.get(..at)?, part.get(at.checked_add(4)?..)?)
    } else {
        let at = memmem::find(part, b"\n\n")?;
        (part.get(..at)?, part.get(at.checked_add(2)?..)?)
    };
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    Some((head, value.strip_suffix(b"\r").unwrap_or(value)))
}

fn part_name(head: &[u8]) -> Option<&[u8]> {
    head.split(|it| *it == b'\n').find_map(|line| {
        let (name, value) = split_once(line, b':')?;
        if !trim(name).eq_ignore_ascii_case(b"content-disposition") {
            return None;
        }
        let value = value.strip_suffix(b"\r").unwrap_or(value);
        parameter(value, "name")
    })
}

/// The credentials in an `Authorization` field: both of Basic, the name of Digest.
pub(crate) fn in_authorization(field: &[u8]) -> Credentials {
    let at = memchr(b' ', field).unwrap_or(field.len());
    let (scheme, rest) = field.split_at_checked(at).unwrap_or((field, b""));
    let rest = trim(rest);
    if scheme.eq_ignore_ascii_case(b"basic") {
        // Undecodable, but an attempt all the same.
        let (username, password) = basic(rest).unwrap_or_else(|| (rest.to_vec(), None));
        return Credentials { username: Some(username), password };
    }
    if scheme.eq_ignore_ascii_case(b"digest") {
        return Credentials { username: auth_parameter(rest, b"username"), password: None };
    }
    Credentials::default()
}

/// Parts of a multipart body that are looked at.
const PARTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(username: &[u8], password: &[u8]) -> Credentials {
        Credentials { username: Some(username.to_vec()), password: Some(password.to_vec()) }
    }

    #[test]
    fn the_first_value_counts_and_is_decoded() {
        assert_eq!(in_pairs(b"x=1&username=a%40b+c&password=p%26w&username=other"), found(b"a@b c", b"p&w"));
        assert_eq!(in_pairs(b"user%6eame=%zz%4&password="), found(b"%zz%4", b""));
        assert_eq!(in_pairs(b"username&passwor"), Credentials::default());
    }

    #[test]
    fn latin_1_becomes_utf_8_where_the_client_says_so() {
        let body = b"username=j%FCrgen&password=\xe9";
        assert_eq!(
            in_body(b"application/x-www-form-urlencoded; charset=ISO-8859-1", body),
            found("jürgen".as_bytes(), "é".as_bytes())
        );
        assert_eq!(in_body(b"application/x-www-form-urlencoded", body), found(b"j\xfcrgen", b"\xe9"));
    }

    #[test]
    fn parts_are_found_with_either_line_ending() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nroot\r\n--b\r\nContent-Disposition: form-data; name=password\r\nContent-Type: text/plain\r\n\r\na\r\nb\r\n--b--\r\n";
        assert_eq!(in_body(b"multipart/form-data; boundary=b", body), found(b"root", b"a\r\nb"));
        let lines = b"--b\ncontent-disposition: form-data; name=username\n\nroot\n--b\nContent-Disposition: form-data; name=password\n\nx";
        assert_eq!(in_body(b"Multipart/Form-Data; Boundary=\"b\"", lines), found(b"root", b"x"));
        assert_eq!(in_body(b"multipart/form-data", body), Credentials::default());
    }

    #[test]
    fn authorization_gives_up_what_it_holds() {
        assert_eq!(in_authorization(b"Basic cm9vdDp0bzpvcg=="), found(b"root", b"to:or"));
        assert_eq!(in_authorization(b"basic cm9vdDp0bzpvcg"), found(b"root", b"to:or"));
        assert_eq!(in_authorization(b"Basic !!").username, Some(b"!!".to_vec()));
        assert_eq!(in_authorization(b"Digest realm=\"x\", username=\"bob\"").username, Some(b"bob".to_vec()));
        let tricky = br#"Digest realm="a, username=b", username="bob""#;
        assert_eq!(in_authorization(tricky).username, Some(b"bob".to_vec()));
        assert!(in_authorization(b"Bearer abc").is_empty());
    }
}
