//! One request as a forward proxy reads it: as tolerant as Squid 5.7, measured beside it.
//!
//! Blank lines before the request are skipped, a line may end in a bare LF, words may be parted by
//! tabs, and a GET without a version is HTTP/0.9. What is refused is refused with the page that
//! Squid has for it.

use crate::http_syntax::{content_length, is_token};
use crate::wire::{first_line, split_once};

/// What stands at the beginning of the stream.
#[derive(Debug)]
pub(super) enum Parsed<'a> {
    /// No request that could be answered with anything but this; the connection ends.
    Bad(Fault),
    /// More has to come after these bytes.
    Partial(&'a [u8]),
    /// A request without its body, and what follows its head.
    Whole(Request<'a>, &'a [u8]),
}

/// Why a request cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The first line is no request.
    NotHttp,
    /// A character in the target that has no place there.
    BadTarget,
    /// A header that is none; with method, target and version of the request.
    BadHeader(Start),
    /// Over 64 KiB before the first line ends.
    LongLine,
    /// Over 64 KiB before the headers end.
    LongHead,
}

/// The first line of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) method: Vec<u8>,
    pub(super) target: Vec<u8>,
    pub(super) version: Version,
}

/// The version that a request claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// No headers, no version: `GET http://example.com/`.
    Http09,
    /// 1.0 and what is said to be older.
    Http10,
    /// 1.1 and later 1.x.
    Http11,
    /// Anything else.
    Other,
}

/// A request whose head can be read.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) start: Start,
    pub(super) headers: Vec<Header<'a>>,
    pub(super) body: Body,
}

/// Name and value; a value folded over several lines is one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: Vec<u8>,
}

/// What follows the head of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// As many bytes.
    Length(u64),
    /// Chunks: RFC 9112, section 7.1.
    Chunked,
    /// A coding that the proxy does not know.
    Unknown,
    /// Two lengths, or one that is no number.
    Unreadable,
}

impl<'a> Parsed<'a> {
    pub(super) fn from(bytes: &'a [u8]) -> Self {
        let bytes = skip_blank_lines(bytes);
        let window = bytes.get(..HEAD_MAX).unwrap_or(bytes);
        let Some((line, rest)) = first_line(window) else {
            return match bytes.len() {
                0..HEAD_MAX => Self::Partial(bytes),
                _ if method(bytes).is_some() => Self::Bad(Fault::LongLine),
                _ => Self::Bad(Fault::NotHttp),
            };
        };
        let start = match Start::parse(line) {
            Ok(start) => start,
            Err(fault) => return Self::Bad(fault),
        };
        // What is not 1.x has no headers that could be read.
        if matches!(start.version, Version::Http09 | Version::Other) {
            return Self::Whole(Request { start, headers: Vec::new(), body: Body::Length(0) }, &[]);
        }
        let Some(length) = head_length(rest) else {
            return if bytes.len() < HEAD_MAX { Self::Partial(bytes) } else { Self::Bad(Fault::LongHead) };
        };
        let (head, _) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        let used = window.len().saturating_sub(rest.len()).saturating_add(length);
        if used >= HEAD_MAX {
            return Self::Bad(Fault::LongHead);
        }
        let after = bytes.get(used..).unwrap_or_default();
        let (headers, well_formed) = headers(head);
        if !well_formed {
            return Self::Bad(Fault::BadHeader(start));
        }
        let body = Body::of(&headers);
        Self::Whole(Request { start, headers, body }, after)
    }
}

/// What the peer asked for with a request that is refused unread, for the record: nothing that has
/// a method and a target is too odd for that. As far as it has come.
pub(super) fn lenient(bytes: &[u8]) -> Option<Request<'_>> {
    let bytes = skip_blank_lines(bytes);
    let bytes = bytes.get(..HEAD_MAX).unwrap_or(bytes);
    let (line, rest, ended) = match first_line(bytes) {
        Some((line, rest)) => (line, rest, true),
        None => (bytes, &[][..], false),
    };
    let (method, words) = method(line)?;
    let (target, version) = match version(words) {
        Some((target, version)) => (target.trim_ascii_end(), version),
        None if method == b"GET" || !ended => (words, Version::Http09),
        None => return None,
    };
    if target.is_empty() {
        return None;
    }
    let start = Start { method: method.to_vec(), target: target.to_vec(), version };
    let head = head_length(rest).and_then(|length| rest.get(..length)).unwrap_or(rest);
    let (headers, _) = headers(head);
    Some(Request { start, headers, body: Body::Length(0) })
}

impl Request<'_> {
    /// This request with the headers that the proxy does not read, because the version has none or
    /// is unknown; `bytes` are those it was read from.
    pub(super) fn unread<'a>(&self, bytes: &'a [u8]) -> Option<Request<'a>> {
        match self.start.version {
            Version::Http10 | Version::Http11 => None,
            Version::Http09 | Version::Other => lenient(bytes),
        }
    }

    /// The first header of this name.
    pub(super) fn header(&self, name: &str) -> Option<&[u8]> {
        header(&self.headers, name)
    }

    /// Whether the connection stays open after the answer.
    pub(super) fn keeps_open(&self) -> bool {
        let wish = self.header("Connection").or_else(|| self.header("Proxy-Connection")).unwrap_or_default();
        let has = |token: &str| list(wish).any(|it| it.eq_ignore_ascii_case(token.as_bytes()));
        match self.start.version {
            Version::Http11 => !has("close"),
            Version::Http10 => has("keep-alive") && !has("close"),
            Version::Http09 | Version::Other => false,
        }
    }
}

impl Start {
    fn parse(line: &[u8]) -> Result<Self, Fault> {
        let (method, rest) = method(line).ok_or(Fault::NotHttp)?;
        let (target, version) = match version(rest) {
            Some((target, version)) => (target.trim_ascii_end(), version),
            None if method == b"GET" => (rest, Version::Http09),
            None => return Err(Fault::NotHttp),
        };
        if target.is_empty() {
            return Err(Fault::NotHttp);
        }
        if target.iter().any(|&it| it.is_ascii_control() && !is_blank(it)) {
            return Err(Fault::BadTarget);
        }
        Ok(Self { method: method.to_vec(), target: target.to_vec(), version })
    }
}

impl Body {
    fn of(headers: &[Header<'_>]) -> Self {
        let coding = header(headers, "Transfer-Encoding").unwrap_or_default();
        if coding.eq_ignore_ascii_case(b"chunked") {
            Self::Chunked
        } else if coding.is_empty() || coding.eq_ignore_ascii_case(b"identity") {
            length(headers).map_or(Self::Unreadable, Self::Length)
        } else {
            Self::Unknown
        }
    }
}

/// The length that a request gives its body; `None`: it is no number, or there are two.
fn length(headers: &[Header<'_>]) -> Option<u64> {
    let mut length = None;
    for it in headers.iter().filter(|it| it.name.eq_ignore_ascii_case(b"Content-Length")) {
        for number in list(&it.value) {
            let number = content_length(number)?;
            if length.is_some_and(|it| it != number) {
                return None;
            }
            length = Some(number);
        }
    }
    Some(length.unwrap_or(0))
}

/// The first header of this name.
fn header<'h>(headers: &'h [Header<'_>], name: &str) -> Option<&'h [u8]> {
    headers.iter().find(|it| it.name.eq_ignore_ascii_case(name.as_bytes())).map(|it| it.value.as_slice())
}

/// The members of a comma-separated list.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&it| it == b',').map(<[u8]>::trim_ascii).filter(|it| !it.is_empty())
}

fn skip_blank_lines(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_prefix(b"\r\n").or_else(|| bytes.strip_prefix(b"\n")) {
        bytes = rest;
    }
    bytes
}

/// The method, and what follows the blanks after it.
fn method(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = line.iter().position(|&it| !is_token(it))?;
    let (method, rest) = line.split_at_checked(end)?;
    let blanks = rest.iter().take_while(|&&it| is_blank(it)).count();
    if blanks == 0 || !(1..=METHOD_MAX).contains(&method.len()) {
        return None;
    }
    Some((method, rest.get(blanks..)?))
}

/// What stands before the version at the end of a line, and the version.
fn version(rest: &[u8]) -> Option<(&[u8], Version)> {
    let digits = |text: &[u8]| text.iter().rev().take_while(|it| it.is_ascii_digit()).count();
    let (before, minor) = rest.split_at_checked(rest.len().checked_sub(digits(rest))?)?;
    let before = before.strip_suffix(b".")?;
    let (before, major) = before.split_at_checked(before.len().checked_sub(digits(before))?)?;
    let target = before.strip_suffix(b"HTTP/")?;
    let version = match (major, minor) {
        (b"", _) | (_, b"") => return None,
        (b"0", [_]) | (b"1", b"0") => Version::Http10,
        (b"1", [_]) => Version::Http11,
        _ => Version::Other,
    };
    // `GET http://example.com/HTTP/1.1` has a version, but no target: both are one word.
    let parted = target.is_empty() || target.last().copied().is_some_and(is_blank);
    Some((if parted { target } else { &[] }, version))
}

/// As many bytes as the headers and the empty line after them have. Fast, because it is asked again
/// with every segment.
fn head_length(bytes: &[u8]) -> Option<usize> {
    if let Some((b"", after)) = first_line(bytes) {
        return Some(bytes.len().saturating_sub(after.len()));
    }
    let end = |mark: &[u8]| memchr::memmem::find(bytes, mark)?.checked_add(mark.len());
    match (end(b"\n\r\n"), end(b"\n\n")) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The headers, and whether each line is one.
fn headers(head: &[u8]) -> (Vec<Header<'_>>, bool) {
    let mut headers: Vec<Header<'_>> = Vec::new();
    let mut well_formed = true;
    let mut rest = head;
    while let Some((line, after)) = first_line(rest) {
        rest = after;
        well_formed &= !line.contains(&0);
        match line.first() {
            None => break,
            Some(b' ' | b'\t') => {
                // A continuation; before the first header there is nothing to continue.
                if let Some(last) = headers.last_mut() {
                    last.value.push(b' ');
                    last.value.extend_from_slice(line.trim_ascii());
                }
            }
            Some(_) => {
                let colon = split_once(line, b':');
                let (name, value) = colon.unwrap_or((line, &[]));
                well_formed &= colon.is_some() && !name.is_empty() && name.iter().all(|&it| is_token(it));
                headers.push(Header { name: name.trim_ascii(), value: value.trim_ascii().to_vec() });
            }
        }
    }
    (headers, well_formed)
}

/// What parts the words of a request line: RFC 9112, section 3.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c | b'\r')
}

/// Squid's `request_header_max_size`, by default: a head must be shorter.
pub(super) const HEAD_MAX: usize = 65_536;
/// Longer words are no methods.
const METHOD_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Parsed<'_> {
        Parsed::from(text.as_bytes())
    }

    fn whole(text: &str) -> Request<'_> {
        match parse(text) {
            Parsed::Whole(request, _) => request,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn fault(text: &str) -> Fault {
        match parse(text) {
            Parsed::Bad(fault) => fault,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_request_line_is_read_as_squid_reads_it() {
        for (line, target, version) in [
            ("GET http://a/ HTTP/1.1", "http://a/", Version::Http11),
            ("GET\thttp://a/\t HTTP/1.0", "http://a/", Version::Http10),
            ("GET http://a/ HTTP/1.2", "http://a/", Version::Http11),
            ("GET http://a/ HTTP/0.9", "http://a/", Version::Http10),
            ("GET http://a/ HTTP/2.0", "http://a/", Version::Other),
            ("GET http://a/ HTTP/1.10", "http://a/", Version::Other),
            ("GET http://a/", "http://a/", Version::Http09),
            ("GET http://a/ HTTP/1", "http://a/ HTTP/1", Version::Http09),
            ("GET http://a/ HTTP/1.1 ", "http://a/ HTTP/1.1 ", Version::Http09),
            ("M-SEARCH /x y HTTP/1.1", "/x y", Version::Http11),
        ] {
            let text = format!("\r\n\n{line}\r\n\r\n");
            let request = whole(&text);
            assert_eq!(
                (request.start.target.as_slice(), request.start.version),
                (target.as_bytes(), version),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_no_request_line_is_refused_before_the_headers_come() {
        let long = format!("{} http://a/ HTTP/1.1\n", "A".repeat(33));
        for line in [
            "HELP\r\n",
            "GET\r\n",
            "GET  HTTP/1.1\r\n",
            "GET http://a/HTTP/1.1\r\n",
            "POST http://a/\r\n",
            "G(T http://a/ HTTP/1.1\r\n",
            " GET http://a/ HTTP/1.1\r\n",
            long.as_str(),
        ] {
            assert_eq!(fault(line), Fault::NotHttp, "{line:?}");
        }
        assert_eq!(fault("GET http://a/\u{1} HTTP/1.1\r\n"), Fault::BadTarget);
    }

    #[test]
    fn headers_fold_and_bad_ones_are_refused() {
        let request = whole("GET http://a/ HTTP/1.1\r\n lost\r\nX: a\r\n b\r\nY:\r\n\r\n");
        assert_eq!(request.header("x"), Some(&b"a b"[..]));
        assert_eq!(request.header("Y"), Some(&b""[..]));
        for line in ["foo", "X : a", ": a", "X: a\0b", "X(): a", "X\u{e9}: a", "\rX: a"] {
            let text = format!("GET http://a/ HTTP/1.1\r\n{line}\r\n\r\n");
            assert!(matches!(fault(&text), Fault::BadHeader(_)), "{line}");
        }
    }

    #[test]
    fn a_head_ends_at_its_first_empty_line() {
        for (head, length) in [
            ("\r\nx", Some(2)),
            ("\nx", Some(1)),
            ("A: b\r\n\r\nx\n\n", Some(8)),
            ("A: b\n\nx\r\n\r\n", Some(6)),
            ("A: b\n\r\nx", Some(7)),
            ("A: b\r\n\r", None),
            ("", None),
        ] {
            assert_eq!(head_length(head.as_bytes()), length, "{head:?}");
        }
    }

    #[test]
    fn a_body_has_one_length_or_comes_in_chunks() {
        let body = |headers: &str| whole(&format!("POST http://a/ HTTP/1.1\r\n{headers}\r\n\r\n")).body;
        assert_eq!(body("X: y"), Body::Length(0));
        assert_eq!(body("Content-Length: 5\r\nContent-length: 5, 5"), Body::Length(5));
        assert_eq!(body("Transfer-Encoding: Chunked\r\nContent-Length: x"), Body::Chunked);
        assert_eq!(body("Transfer-Encoding: gzip, chunked"), Body::Unknown);
        for bad in ["-5", "+5", "5, 6", "99999999999999999999", "5 5"] {
            assert_eq!(body(&format!("Content-Length: {bad}")), Body::Unreadable, "{bad}");
        }
    }

    #[test]
    fn the_limits_are_squids() {
        let request = |target: usize, header: usize| {
            format!("GET http://a/{} HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(target), "b".repeat(header))
        };
        let fixed = request(0, 0).len();
        assert!(matches!(parse(&request(0, HEAD_MAX - 1 - fixed)), Parsed::Whole(..)));
        assert_eq!(fault(&request(0, HEAD_MAX - fixed)), Fault::LongHead);
        assert!(matches!(parse(&request(HEAD_MAX - 1 - fixed, 0)), Parsed::Whole(..)));
        assert_eq!(fault(&request(HEAD_MAX, 0)), Fault::LongLine);
        assert_eq!(fault(&"a".repeat(HEAD_MAX)), Fault::NotHttp);
        assert!(matches!(parse(&"a".repeat(HEAD_MAX - 1)), Parsed::Partial(_)));
    }

    #[test]
    fn connections_stay_open_as_the_version_and_the_client_say() {
        for (version, header, open) in [
            ("1.1", "X: y", true),
            ("1.1", "Proxy-Connection: close", false),
            ("1.1", "Proxy-Connection: close\r\nConnection: keep-alive", true),
            ("1.1", "Connection: keep-alive, close", false),
            ("1.0", "X: y", false),
            ("1.0", "Connection: TE, Keep-Alive", true),
        ] {
            let text = format!("GET http://a/ HTTP/{version}\r\n{header}\r\n\r\n");
            assert_eq!(whole(&text).keeps_open(), open, "{version} {header}");
        }
    }
}
