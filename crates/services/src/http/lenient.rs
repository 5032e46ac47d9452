//! Reads a request that is refused once more, for the record.
//!
//! A server stops at the first byte that it does not take; what its answer needs of the request is
//! in [`super::request`]. The record tells what was sent: every field, and the body as far as it has
//! come. Nothing here decides about an answer.

use std::borrow::Cow;

use memchr::memrchr;

use super::body::{BODY_KEPT, Body, Progress};
use super::request::{Field, Framing, Head, split_blank, trim, trim_end};
use crate::http_syntax::{chunk_size, content_length, is_token};
use crate::wire::split_once;

/// What a refused request says.
#[derive(Debug, Default)]
pub(crate) struct Said<'a> {
    /// Method, target and fields; the rest has no meaning here.
    pub(crate) head: Head<'a>,
    /// The body's first bytes.
    pub(crate) body: Cow<'a, [u8]>,
    /// Whether more of the request must come, by its own account.
    pub(crate) unfinished: bool,
}

/// Reads a request from its first byte. What has no method and no target says nothing.
pub(crate) fn read(bytes: &[u8]) -> Said<'_> {
    let start = bytes.iter().take_while(|it| matches!(it, b'\r' | b'\n')).count();
    let bytes = bytes.get(start..).unwrap_or_default();
    let mut said = Said::default();
    let Some((line, mut rest)) = split_once(bytes, b'\n') else {
        request_line(bytes, &mut said.head);
        said.unfinished = !said.head.target.is_empty();
        return said;
    };
    let versioned = request_line(line, &mut said.head);
    if said.head.target.is_empty() {
        return said;
    }
    let mut ended = false;
    while let Some((line, after)) = split_once(rest, b'\n') {
        rest = after;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            ended = true;
            break;
        }
        field(line, &mut said.head);
    }
    if ended {
        let (body, unfinished) = body(&said.head, rest);
        said.body = body;
        said.unfinished = unfinished;
    } else {
        if !rest.is_empty() {
            field(rest, &mut said.head);
        }
        // What names no version may well have no fields.
        said.unfinished = versioned;
    }
    said
}

/// Takes the line apart; whether it ends in the version of a protocol.
fn request_line<'a>(line: &'a [u8], head: &mut Head<'a>) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (method, rest) = split_blank(line);
    if method.is_empty() || !method.iter().all(|it| is_token(*it)) {
        return false;
    }
    let rest = trim(rest);
    let last = memrchr(b' ', rest).and_then(|at| rest.split_at_checked(at));
    head.method = method;
    match last {
        Some((target, version)) if is_version(trim(version)) => {
            head.target = trim_end(target);
            true
        }
        _ => {
            head.target = rest;
            false
        }
    }
}

/// `HTTP/1.1`, and what other protocols of this shape write there.
fn is_version(word: &[u8]) -> bool {
    split_once(word, b'/').is_some_and(|(name, number)| {
        !name.is_empty()
            && name.iter().all(u8::is_ascii_alphabetic)
            && number.first().is_some_and(u8::is_ascii_digit)
    })
}

fn field<'a>(line: &'a [u8], head: &mut Head<'a>) {
    if head.fields.len() >= FIELDS_MAX {
        return;
    }
    if line.first().is_some_and(|it| matches!(it, b' ' | b'\t'))
        && let Some(last) = head.fields.last_mut()
    {
        let value = last.value.to_mut();
        value.push(b' ');
        value.extend_from_slice(trim(line));
        return;
    }
    let (name, value) = split_once(line, b':').unwrap_or((line, b""));
    head.fields.push(Field { name: trim(name), value: Cow::Borrowed(trim(value)) });
}

/// The body as far as it is in `bytes`, and whether more of it must come.
fn body<'a>(head: &Head<'_>, bytes: &'a [u8]) -> (Cow<'a, [u8]>, bool) {
    let named = |name: &'static [u8]| head.fields.iter().filter(move |it| it.name.eq_ignore_ascii_case(name));
    let chunked = named(b"Transfer-Encoding").any(|it| it.value.to_ascii_lowercase().ends_with(b"chunked"));
    let length = named(b"Content-Length").find_map(|it| content_length(&it.value));
    // Who asks for leave waits for it.
    let asks = head.field("Expect").is_some();
    let mut framings =
        [chunked.then_some(Framing::Chunked), length.map(Framing::Length)].into_iter().flatten();
    framings
        .find_map(|framing| {
            let mut body = Body::new(framing);
            match body.feed(bytes) {
                Progress::Done(_) => Some((body.kept.into(), false)),
                // `email=` begins like the size of a chunk, and is none.
                Progress::More(rest) if framing == Framing::Chunked && !begins_chunk(rest) => None,
                Progress::More(_) => Some((body.kept.into(), !asks)),
                Progress::Broken => None,
            }
        })
        // A login without a length that can be read; after other requests the next one follows.
        .unwrap_or_else(|| {
            let rest = if head.method == b"POST" { bytes } else { b"" };
            (rest.get(..BODY_KEPT).unwrap_or(rest).into(), false)
        })
}

/// Whether the rest of an unfinished chunked body can be the beginning of a line in it.
fn begins_chunk(rest: &[u8]) -> bool {
    let digits = rest.strip_suffix(b"\r").unwrap_or(rest);
    digits.is_empty() || chunk_size(digits).is_some()
}

/// As many fields as any of the servers reads.
const FIELDS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Method, target, the `X` field and the body, and whether more must come.
    fn said(bytes: &[u8]) -> (String, bool) {
        let said = read(bytes);
        let parts = [said.head.method, said.head.target, said.head.field("X").unwrap_or(b"-"), &said.body];
        (parts.map(|it| it.escape_ascii().to_string()).join("|"), said.unfinished)
    }

    #[test]
    fn what_was_sent_is_read_whatever_is_wrong_with_it() {
        for (bytes, parts) in [
            (&b"GET /\xff\x7f HTTP/1.1\r\nX: c\x00\x1b\r\n\r\n"[..], "GET|/\\xff\\x7f|c\\x00\\x1b|"),
            (b"\r\n\nGET / HTTP/1.1\nX: a\n\n", "GET|/|a|"),
            (b"GET / HTTP/1.1\r\nX: a\r\r\n\r\n", "GET|/|a\\r|"),
            (b"GET / HTTP/1.1\r\nno field\r\nX : a\r\n b\r\n\r\n", "GET|/|a b|"),
            (b"GET /a b HTTP/9.9\r\nX: a\r\n\r\n", "GET|/a b|a|"),
            (b"POST /a\r\nX: a\r\n\r\nb=c", "POST|/a|a|b=c"),
            (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\nb=c", "POST|/|-|b=c"),
            (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nb=cGET /", "POST|/|-|b=c"),
            (
                b"PUT / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: x, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
                "PUT|/|-|a",
            ),
            (b"PUT / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nb=c", "PUT|/|-|b=c"),
            (b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", "GET|/|-|"),
            (b"HELP\r\n", "HELP||-|"),
            (b"\x16\x03\x01 / HTTP/1.1\r\n\r\n", "||-|"),
            (b"", "||-|"),
        ] {
            assert_eq!(said(bytes), (parts.to_owned(), false), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn more_is_expected_where_the_request_says_so() {
        let whole = b"POST /a HTTP/1.1\nX: a\r\nContent-Length: 3\r\n\r\nb=c";
        for end in 6..whole.len() {
            assert!(read(&whole[..end]).unfinished, "{}", whole[..end].escape_ascii());
        }
        assert_eq!(said(whole), ("POST|/a|a|b=c".to_owned(), false));
        let asking = b"POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
        assert!(!read(asking).unfinished);
        assert!(!read(b"GET").unfinished);
    }
}
