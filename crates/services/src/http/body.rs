//! Takes a request's body off the stream: by length or in chunks. RFC 9112, sections 6 and 7.1.
//!
//! Keeps the first [`BODY_KEPT`] bytes and lets the rest pass, so that an endless upload costs
//! nothing.

use super::request::Framing;
use crate::http_syntax::chunk_size;
use crate::wire::first_line;

/// Where the stream stands within a body.
#[derive(Debug)]
pub(crate) struct Body {
    state: State,
    /// The first bytes of the content.
    pub(crate) kept: Vec<u8>,
    /// How many bytes of content there were.
    pub(crate) total: u64,
}

#[derive(Debug)]
enum State {
    /// So many bytes are missing.
    Length(u64),
    /// A chunk's size is next.
    Size,
    /// So many bytes of a chunk are missing.
    Data(u64),
    /// The line ending after a chunk is next.
    DataEnd,
    /// After the last chunk: lines up to an empty one.
    Trailer,
    Done,
}

/// What came of a run of bytes.
#[derive(Debug, PartialEq)]
pub(crate) enum Progress<'b> {
    /// The body is whole; this follows it.
    Done(&'b [u8]),
    /// More must come; this was not used yet.
    More(&'b [u8]),
    /// This is no chunked body.
    Broken,
}

impl Body {
    /// A body that is delimited so.
    pub(crate) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
        };
        Self { state, kept: Vec::new(), total: 0 }
    }

    /// Takes what belongs to the body.
    pub(crate) fn feed<'b>(&mut self, bytes: &'b [u8]) -> Progress<'b> {
        let mut rest = bytes;
        loop {
            match self.state {
                State::Done => return Progress::Done(rest),
                State::Length(missing) => {
                    let (left, after) = self.content(missing, rest);
                    rest = after;
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                    if left > 0 {
                        return Progress::More(rest);
                    }
                }
                State::Data(missing) => {
                    let (left, after) = self.content(missing, rest);
                    rest = after;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    if left > 0 {
                        return Progress::More(rest);
                    }
                }
                State::Size | State::DataEnd | State::Trailer => {
                    let Some((line, after)) = first_line(rest) else {
                        let broken = rest.len() > LINE_MAX || !self.plausible(rest);
                        return if broken { Progress::Broken } else { Progress::More(rest) };
                    };
                    if !self.line(line) {
                        return Progress::Broken;
                    }
                    rest = after;
                }
            }
        }
    }

    /// Takes up to `missing` bytes of content; returns how many are still missing, and the rest.
    fn content<'b>(&mut self, missing: u64, bytes: &'b [u8]) -> (u64, &'b [u8]) {
        let here = usize::try_from(missing).unwrap_or(usize::MAX).min(bytes.len());
        let (content, rest) = bytes.split_at_checked(here).unwrap_or((bytes, b""));
        let room = BODY_KEPT.saturating_sub(self.kept.len()).min(content.len());
        self.kept.extend_from_slice(content.get(..room).unwrap_or_default());
        let taken = u64::try_from(content.len()).unwrap_or(u64::MAX);
        self.total = self.total.saturating_add(taken);
        (missing.saturating_sub(taken), rest)
    }

    /// Whether an unfinished line can still become what is wanted.
    fn plausible(&self, start: &[u8]) -> bool {
        match self.state {
            State::Size => start.first().is_none_or(u8::is_ascii_hexdigit),
            State::DataEnd => start.first().is_none_or(|it| *it == b'\r'),
            _ => true,
        }
    }

    fn line(&mut self, line: &[u8]) -> bool {
        match self.state {
            State::DataEnd if line.is_empty() => self.state = State::Size,
            State::Trailer if line.is_empty() => self.state = State::Done,
            State::Trailer => {}
            State::Size => match chunk_size(line) {
                Some(0) => self.state = State::Trailer,
                Some(size) => self.state = State::Data(size),
                None => return false,
            },
            _ => return false,
        }
        true
    }
}

/// How much of a body is kept: enough for any login form and most exploits.
pub(crate) const BODY_KEPT: usize = 64 * 1024;
/// A chunk's size line with its extensions.
const LINE_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked(text: &[u8], slice: usize) -> (Result<Vec<u8>, ()>, Vec<u8>) {
        let mut body = Body::new(Framing::Chunked);
        let mut held = Vec::new();
        for piece in text.chunks(slice) {
            held.extend_from_slice(piece);
            let taken = std::mem::take(&mut held);
            match body.feed(&taken) {
                Progress::Done(rest) | Progress::More(rest) => held = rest.to_vec(),
                Progress::Broken => return (Err(()), Vec::new()),
            }
        }
        (Ok(body.kept), held)
    }

    #[test]
    fn chunks_are_joined_and_trailers_skipped_however_they_arrive() {
        for slice in [1, 2, 3, 7, 100] {
            let text = b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\nGET";
            assert_eq!(
                chunked(text, slice),
                (Ok(b"abcde".to_vec()), b"GET".to_vec()),
                "in slices of {slice}"
            );
        }
    }

    #[test]
    fn what_is_no_chunk_is_broken() {
        for text in [&b"xyz\r\n"[..], b"-1\r\n", b"3\r\nabcd\r\n", b"\r\n", b"1234567890abcdef1\r\n"] {
            assert_eq!(chunked(text, 100).0, Err(()), "{text:?}");
        }
        let mut endless = Body::new(Framing::Chunked);
        assert_eq!(endless.feed(&[b'1'; 2000]), Progress::Broken);
    }

    #[test]
    fn only_the_beginning_of_a_large_body_is_kept() {
        let mut body = Body::new(Framing::Length(1 << 20));
        for _ in 0..1 << 10 {
            let _ = body.feed(&[b'a'; 1 << 10]);
        }
        assert_eq!((body.kept.len(), body.total), (BODY_KEPT, 1 << 20));
        assert_eq!(body.feed(b"next"), Progress::Done(b"next"));
    }
}
