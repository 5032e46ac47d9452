//! Reads the head of an HTTP request as the server in the banner reads it.
//!
//! Real servers differ most in what they refuse: nginx takes several blanks and lines without a
//! colon, Apache wants every CR, both count bytes differently. RFC 9112 is the common ground; the
//! differences were measured against nginx 1.22.1, Apache 2.4.71 and lighttpd 1.4.69.

use std::borrow::Cow;

use memchr::memchr;

use super::line::request_line;
use super::product::Family;
use crate::http_syntax::{content_length, is_token};
use crate::wire::split_once;

/// A request's head, or as much of it as was understood before the fault.
#[derive(Debug, Default)]
pub(crate) struct Head<'a> {
    /// As sent.
    pub(crate) method: &'a [u8],
    /// As sent, with the query.
    pub(crate) target: &'a [u8],
    /// What the request line claims.
    pub(crate) version: Version,
    /// Header fields in order.
    pub(crate) fields: Vec<Field<'a>>,
    /// How much body follows.
    pub(crate) body: Framing,
    /// Why the server does not go on.
    pub(crate) fault: Option<Fault>,
    /// The client wants no further request on this connection.
    pub(crate) close: bool,
    /// The client asked in so many words that the connection be kept.
    pub(crate) keep: bool,
}

/// One header field.
#[derive(Debug)]
pub(crate) struct Field<'a> {
    /// As sent.
    pub(crate) name: &'a [u8],
    /// Without blanks around it; folded lines joined.
    pub(crate) value: Cow<'a, [u8]>,
}

/// The version of a request, as far as it changes the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Version {
    /// A request line without a version: the answer has no head.
    V09,
    /// The connection closes unless asked to stay.
    V10,
    /// And everything later that the server lets pass.
    #[default]
    V11,
}

/// How the body is delimited. RFC 9112, section 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Framing {
    /// There is none.
    #[default]
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// What is wrong with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The request line.
    Line,
    /// A header field, the host or the framing.
    Fields,
    /// The request line is too long.
    LineTooLong,
    /// A header field is, or all together are.
    FieldTooLarge,
    /// There are too many fields.
    TooManyFields,
    /// The version.
    Version,
    /// The transfer coding.
    Coding,
    /// A method that this server refuses before it looks at the target.
    Method,
    /// An `Expect` that is not 100-continue.
    Expectation,
    /// The request came too slowly.
    Timeout,
    /// The target has a scheme that is not served.
    Scheme,
    /// A body must come, and its length is not told.
    Length,
    /// It came without TLS to a port that wants it.
    Plain,
    /// The body is no chunked body.
    Body,
    /// The body is too large.
    BodyTooLarge,
}

/// What came of reading.
#[derive(Debug)]
pub(crate) enum Reading<'a> {
    /// More must come first; the number of bytes that need not be looked at again.
    Partial(usize),
    /// A head (possibly at fault) and what follows it.
    Whole(Head<'a>, &'a [u8]),
}

impl<'a> Head<'a> {
    /// The first field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields
            .iter()
            .find(|it| it.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|it| it.value.as_ref())
    }

    fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|it| it.name.eq_ignore_ascii_case(name.as_bytes())).count()
    }

    /// The target's path and query, without scheme and host.
    pub(crate) fn path_and_query(&self) -> (&'a [u8], &'a [u8]) {
        let local = match authority_of(self.target) {
            Some((_, b"")) => b"/",
            Some((_, rest)) => rest,
            None => self.target,
        };
        split_once(local, b'?').unwrap_or((local, b""))
    }

    /// The host asked for: of an absolute target, else of the `Host` field; with its port.
    pub(crate) fn host(&self) -> Option<&[u8]> {
        let absolute = authority_of(self.target).map(|it| it.0);
        let authority = if self.method == b"CONNECT" { Some(self.target) } else { None };
        absolute.or(authority).or_else(|| self.field("Host")).filter(|it| !it.is_empty())
    }

    /// Whether an answer carries a body.
    pub(crate) fn wants_body(&self) -> bool {
        self.method != b"HEAD"
    }
}

/// Splits `http://host/path` into host and the rest.
pub(super) fn authority_of(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = target.windows(3).take(16).position(|it| it == b"://")?;
    let scheme = target.get(..colon)?;
    if !scheme.first().is_some_and(u8::is_ascii_alphabetic) {
        return None;
    }
    let rest = target.get(colon.saturating_add(3)..)?;
    let end = rest.iter().position(|it| matches!(it, b'/' | b'?')).unwrap_or(rest.len());
    rest.split_at_checked(end)
}

/// Reads one head. `scanned` is what [`Reading::Partial`] gave for a shorter run of the same bytes.
pub(crate) fn read(bytes: &[u8], scanned: usize, family: Family) -> Reading<'_> {
    let start = match skip_blank_lines(bytes, family) {
        Ok(start) => start,
        Err(fault) => return Reading::Whole(Head { fault: Some(fault), ..Head::default() }, b""),
    };
    let bytes_after = bytes.get(start..).unwrap_or_default();
    let Some(end) = memchr(b'\n', bytes_after) else {
        return unfinished_line(bytes_after, family);
    };
    let (line, rest) = bytes_after.split_at_checked(end).unwrap_or((bytes_after, b""));
    let rest = rest.get(1..).unwrap_or_default();
    let mut head = Head::default();
    if line.len() > family.line_max() {
        head.fault = Some(Fault::LineTooLong);
        return Reading::Whole(head, b"");
    }
    request_line(line, &mut head, family);
    // lighttpd looks at nothing before the head is whole.
    let patient = family == Family::Lighttpd && line.first().is_none_or(|it| *it >= b' ');
    if head.fault.is_some() && !patient {
        return Reading::Whole(head, b"");
    }
    if head.version == Version::V09 {
        head.close = true;
        return Reading::Whole(head, rest);
    }
    let rest_at = start.saturating_add(end).saturating_add(1);
    match find_end(bytes, rest_at, scanned, family) {
        End::At(_) if head.fault.is_some() => Reading::Whole(head, b""),
        End::At(at) => {
            let (fields, after) = bytes.split_at_checked(at).unwrap_or((bytes, b""));
            read_fields(fields.get(rest_at..).unwrap_or_default(), line.len(), &mut head, family);
            Reading::Whole(head, after)
        }
        End::TooLarge(at) => {
            let fields = bytes.get(rest_at..at).unwrap_or_default();
            read_fields(fields, line.len(), &mut head, family);
            head.fault = Some(Fault::FieldTooLarge);
            Reading::Whole(head, b"")
        }
        End::NotYet(scanned) => Reading::Partial(scanned),
    }
}

/// Where the request line begins.
fn skip_blank_lines(bytes: &[u8], family: Family) -> Result<usize, Fault> {
    if family == Family::Nginx {
        return Ok(bytes.iter().position(|it| !matches!(it, b'\r' | b'\n')).unwrap_or(bytes.len()));
    }
    let mut at: usize = 0;
    let mut lines: usize = 0;
    while bytes.get(at..).is_some_and(|it| it.starts_with(b"\r\n")) {
        at = at.saturating_add(2);
        lines = lines.saturating_add(1);
        if lines > family.blank_lines() {
            return Err(Fault::Line);
        }
    }
    if bytes.get(at) == Some(&b'\n') { Err(Fault::Line) } else { Ok(at) }
}

/// A request line that has not ended yet: some servers refuse it before it does.
fn unfinished_line(line: &[u8], family: Family) -> Reading<'_> {
    let odd = match family {
        Family::Nginx => line.iter().take_while(|it| **it != b' ').any(|it| !nginx_method_byte(*it)),
        Family::Lighttpd => line.first().is_some_and(|it| *it < b' '),
        Family::Apache | Family::Iis => false,
    };
    let fault =
        if line.len() > family.line_max() { Some(Fault::LineTooLong) } else { odd.then_some(Fault::Line) };
    match fault {
        Some(_) => Reading::Whole(Head { fault, ..Head::default() }, b""),
        None => Reading::Partial(0),
    }
}

enum End {
    NotYet(usize),
    At(usize),
    TooLarge(usize),
}

/// Looks for the empty line that ends the head, from the start of a line.
fn find_end(bytes: &[u8], first: usize, scanned: usize, family: Family) -> End {
    let mut at = scanned.max(first);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(end) = memchr(b'\n', rest) else {
            let too_large = rest.len() > family.field_max() || bytes.len() > family.head_max();
            return if too_large { End::TooLarge(at) } else { End::NotYet(at) };
        };
        let next = at.saturating_add(end).saturating_add(1);
        let line = rest.get(..end).unwrap_or_default();
        if line.is_empty() || line == b"\r" {
            return End::At(next);
        }
        if line.len() > family.field_max() || next > family.head_max() {
            return End::TooLarge(at);
        }
        at = next;
    }
}

fn read_fields<'a>(fields: &'a [u8], line: usize, head: &mut Head<'a>, family: Family) {
    head.fields.reserve(12);
    let mut rest = fields;
    let mut room = nginx_room(line);
    while let Some((line, after)) = split_once(rest, b'\n') {
        rest = after;
        if line.is_empty() || line == b"\r" {
            break;
        }
        let read = match family {
            Family::Nginx => room.take(line.len().saturating_add(1)).and_then(|()| nginx_field(line, head)),
            _ => strict_field(line, head, family),
        };
        if let Err(fault) = read {
            head.fault = Some(fault);
            return;
        }
    }
    if let Err(fault) =
        framing(head, family).and_then(|()| host(head, family)).and_then(|()| rules(head, family))
    {
        head.fault = Some(fault);
    }
    connection(head);
    // Apache hangs up when somebody waits for leave to send nothing.
    head.close |= family == Family::Apache && head.body == Framing::None && head.field("Expect").is_some();
}

/// nginx's header buffers: one of 1 KiB, then at most four of 8 KiB; a line never spans two.
struct Room {
    left: usize,
    large: usize,
}

fn nginx_room(line: usize) -> Room {
    let mut room = Room { left: 1024, large: 4 };
    let _ = room.take(line.saturating_add(1));
    room
}

impl Room {
    fn take(&mut self, size: usize) -> Result<(), Fault> {
        if size > self.left {
            self.large = self.large.checked_sub(1).ok_or(Fault::FieldTooLarge)?;
            self.left = 8192;
        }
        self.left = self.left.checked_sub(size).ok_or(Fault::FieldTooLarge)?;
        Ok(())
    }
}

fn nginx_field<'a>(line: &'a [u8], head: &mut Head<'a>) -> Result<(), Fault> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (name, value) = split_colon(line);
    if name.is_empty() || line.iter().any(|it| matches!(it, 0 | b'\r')) {
        return Err(Fault::Fields);
    }
    if name.iter().any(|it| *it <= b' ' || *it == 0x7f) {
        return Err(Fault::Fields);
    }
    head.fields.push(Field { name, value: Cow::Borrowed(value.unwrap_or_default()) });
    Ok(())
}

fn strict_field<'a>(line: &'a [u8], head: &mut Head<'a>, family: Family) -> Result<(), Fault> {
    let line = line.strip_suffix(b"\r").ok_or(Fault::Fields)?;
    if line.iter().any(|it| (*it < b' ' && *it != b'\t') || *it == 0x7f) {
        return Err(Fault::Fields);
    }
    if line.first().is_some_and(|it| matches!(it, b' ' | b'\t')) {
        let last = head.fields.last_mut().ok_or(Fault::Fields)?;
        let value = last.value.to_mut();
        value.push(b' ');
        value.extend_from_slice(trim(line));
        return Ok(());
    }
    let (name, value) = split_colon(line);
    let value = value.ok_or(Fault::Fields)?;
    if name.is_empty() || !name.iter().all(|it| is_token(*it)) {
        return Err(Fault::Fields);
    }
    if head.fields.len() >= family.fields_max() {
        return Err(Fault::TooManyFields);
    }
    head.fields.push(Field { name, value: Cow::Borrowed(value) });
    Ok(())
}

/// Decides how the body is delimited.
fn framing(head: &mut Head<'_>, family: Family) -> Result<(), Fault> {
    let length = match head.field("Content-Length") {
        None => None,
        Some(b"") if family == Family::Lighttpd => None,
        Some(_) if head.count("Content-Length") > 1 => return Err(Fault::Fields),
        Some(text) => Some(content_length(text).ok_or(Fault::Fields)?),
    };
    let chunked = match head.field("Transfer-Encoding") {
        None => false,
        Some(coding) => {
            let last = coding.rsplit(|it| *it == b',').next().map(trim).unwrap_or_default();
            let chunked = last.eq_ignore_ascii_case(b"chunked");
            let alone = coding.len() == last.len() && head.count("Transfer-Encoding") == 1;
            match family {
                Family::Apache if chunked => true,
                Family::Apache => return Err(Fault::Fields),
                Family::Nginx | Family::Lighttpd
                    if head.version < Version::V11
                        || head.count("Transfer-Encoding") > 1
                        || (length.is_some() && family == Family::Nginx) =>
                {
                    return Err(Fault::Fields);
                }
                _ if !chunked || !alone => return Err(Fault::Coding),
                _ if length.is_some() => return Err(Fault::Fields),
                _ => true,
            }
        }
    };
    let bodiless = family == Family::Lighttpd && matches!(head.method, b"GET" | b"HEAD");
    if bodiless && (chunked || length.is_some_and(|it| it > 0)) {
        return Err(Fault::Fields);
    }
    // Apache ignores the length, and hangs up afterwards. RFC 9112, section 6.3.
    head.close |= chunked && (length.is_some() || head.version < Version::V11);
    head.body = match (chunked, length) {
        (true, _) => Framing::Chunked,
        (false, None | Some(0)) => Framing::None,
        (false, Some(length)) => Framing::Length(length),
    };
    Ok(())
}

/// One well-formed host, which HTTP/1.1 must name.
fn host(head: &Head<'_>, family: Family) -> Result<(), Fault> {
    match head.count("Host") {
        0 if head.version >= Version::V11 => return Err(Fault::Fields),
        0 | 1 => {}
        _ => return Err(Fault::Fields),
    }
    let Some(host) = head.field("Host") else { return Ok(()) };
    let well_formed = match family {
        Family::Nginx => nginx_host(host),
        Family::Lighttpd => strict_host(host) && !host.contains(&b'_'),
        _ => strict_host(host),
    };
    if well_formed { Ok(()) } else { Err(Fault::Fields) }
}

fn nginx_host(host: &[u8]) -> bool {
    let name = if host.starts_with(b"[") { host } else { split_colon_raw(host).0 };
    let dots = name.windows(2).any(|it| it == b"..");
    !name.is_empty() && !dots && !host.iter().any(|it| *it <= b' ' || matches!(it, b'/' | 0x7f))
}

fn strict_host(host: &[u8]) -> bool {
    let (name, port) = match host.strip_prefix(b"[") {
        Some(rest) => match split_once(rest, b']') {
            Some((address, after)) => {
                let hex = address.iter().all(|it| it.is_ascii_hexdigit() || matches!(it, b':' | b'.'));
                if !hex || address.is_empty() {
                    return false;
                }
                (&b"v6"[..], after.strip_prefix(b":"))
            }
            None => return false,
        },
        None => split_colon_raw(host),
    };
    let word = |it: &u8| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'-' | b'_');
    let dots = name.windows(2).any(|it| it == b"..");
    !name.is_empty()
        && name.iter().all(word)
        && !dots
        && port.is_none_or(|it| it.iter().all(u8::is_ascii_digit))
}

/// What a server refuses before it looks at the target.
fn rules(head: &Head<'_>, family: Family) -> Result<(), Fault> {
    let early = matches!(head.method, b"TRACE" | b"CONNECT");
    if family == Family::Nginx && early {
        return Err(Fault::Method);
    }
    let expects = head.field("Expect").filter(|it| !it.eq_ignore_ascii_case(b"100-continue"));
    if family == Family::Apache && expects.is_some() {
        return Err(Fault::Expectation);
    }
    if family == Family::Lighttpd {
        lighttpd_rules(head)?;
    }
    let web = head.target.get(..4).is_some_and(|it| it.eq_ignore_ascii_case(b"http"));
    if family == Family::Apache && authority_of(head.target).is_some() && !web {
        return Err(Fault::Scheme);
    }
    Ok(())
}

/// lighttpd: a POST tells its length, an absolute target names the same host as the `Host` field.
fn lighttpd_rules(head: &Head<'_>) -> Result<(), Fault> {
    if head.method == b"POST" && head.body == Framing::None && head.field("Content-Length").is_none() {
        return Err(Fault::Length);
    }
    let foreign = authority_of(head.target).is_some_and(|(host, rest)| {
        rest.is_empty() || head.field("Host") != Some(host) || !head.target.starts_with(b"http")
    });
    if foreign || std::str::from_utf8(head.target).is_err() { Err(Fault::Fields) } else { Ok(()) }
}

fn connection(head: &mut Head<'_>) {
    let mut close = false;
    let mut keep = false;
    for field in head.fields.iter().filter(|it| it.name.eq_ignore_ascii_case(b"Connection")) {
        for word in field.value.split(|it| *it == b',').map(trim) {
            close |= word.eq_ignore_ascii_case(b"close");
            keep |= word.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    head.keep = keep && !close;
    head.close |= close || (head.version < Version::V11 && !keep);
}

pub(super) fn split_blank(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = memchr(b' ', bytes).unwrap_or(bytes.len());
    bytes.split_at_checked(at).unwrap_or((bytes, b""))
}

fn split_colon(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    let (name, value) = split_colon_raw(line);
    (name, value.map(trim))
}

fn split_colon_raw(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    split_once(line, b':').map_or((line, None), |(name, value)| (name, Some(value)))
}

/// Without blanks and tabs around.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

pub(super) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

pub(super) fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

pub(super) fn nginx_method_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-')
}

/// Most bytes of a request's head: what nginx holds (33 KiB) fits, and what browsers send.
pub(crate) const HEAD_MAX: usize = 48 * 1024;
