//! Reads the request line as the server in the banner reads it. RFC 9112, section 3.

use memchr::{memchr, memrchr};

use super::product::Family;
use super::request::{
    Fault, Head, Version, authority_of, nginx_method_byte, split_blank, trim_end, trim_start,
};
use crate::http_syntax::is_token;

/// Takes the line, without its LF, apart into `head`; what is wrong with it becomes its fault.
pub(super) fn request_line<'a>(line: &'a [u8], head: &mut Head<'a>, family: Family) {
    let (line, ended) = match line.strip_suffix(b"\r") {
        Some(line) => (line, true),
        None => (line, false),
    };
    let read = match family {
        Family::Nginx => nginx_line(line, head),
        _ if !ended => Err(Fault::Line),
        _ => strict_line(line, head, family),
    };
    head.fault = read.err();
}

/// nginx: method of capitals, `-` and `_`; blanks may be many; the version's numbers may be long.
fn nginx_line<'a>(line: &'a [u8], head: &mut Head<'a>) -> Result<(), Fault> {
    let (method, rest) = split_blank(line);
    if method.is_empty() || rest.is_empty() || !method.iter().all(|it| nginx_method_byte(*it)) {
        return Err(Fault::Line);
    }
    head.method = method;
    let rest = trim_start(rest);
    let (target, rest) = split_blank(rest);
    head.target = target;
    let absolute = authority_of(target).is_some();
    if !(target.starts_with(b"/") || absolute) || target.iter().any(|it| *it < b' ' || *it == 0x7f) {
        return Err(Fault::Line);
    }
    let version = trim_start(rest);
    if version.is_empty() {
        head.version = Version::V09;
        return if method == b"GET" { Ok(()) } else { Err(Fault::Line) };
    }
    head.version = nginx_version(trim_end(version))?;
    Ok(())
}

fn nginx_version(version: &[u8]) -> Result<Version, Fault> {
    let numbers = version.strip_prefix(b"HTTP/").ok_or(Fault::Line)?;
    match numbers {
        [b'1', b'.', minor @ ..] if !minor.is_empty() && minor.iter().all(u8::is_ascii_digit) => {
            Ok(if minor.iter().all(|it| *it == b'0') { Version::V10 } else { Version::V11 })
        }
        [b'1', second, ..] if second.is_ascii_digit() => Err(Fault::Version),
        [b'2'..=b'9', next, ..] if *next == b'.' || next.is_ascii_digit() => Err(Fault::Version),
        _ => Err(Fault::Line),
    }
}

/// Apache and its like: one blank, a token, a version of exactly `HTTP/d.d`.
fn strict_line<'a>(line: &'a [u8], head: &mut Head<'a>, family: Family) -> Result<(), Fault> {
    let lighttpd = family == Family::Lighttpd;
    let (method, rest) = split_blank(line);
    let rest = rest.get(1..).unwrap_or_default();
    // lighttpd lets a target have blanks.
    let blank = if lighttpd { memrchr(b' ', rest) } else { memchr(b' ', rest) };
    let (target, version) = match blank.and_then(|at| rest.split_at_checked(at)) {
        Some((target, version)) => (target, version.get(1..)),
        None => (rest, None),
    };
    head.method = method;
    head.target = target;
    // lighttpd counts a bad target among the bad fields.
    let bad_target = if lighttpd { Fault::Fields } else { Fault::Line };
    if lighttpd && head.method.first().is_some_and(|it| *it < b' ') {
        return Err(Fault::Line);
    }
    if rest.is_empty() || version.is_some_and(|it| it.contains(&b' ')) {
        return Err(Fault::Line);
    }
    if head.target.is_empty() {
        return Err(bad_target);
    }
    if head.method.is_empty() || !head.method.iter().all(|it| is_token(*it)) {
        return Err(if lighttpd { Fault::Coding } else { Fault::Line });
    }
    match version {
        None if head.method == b"GET" && !lighttpd => head.version = Version::V09,
        None => return Err(Fault::Line),
        Some(version) => head.version = strict_version(version, family)?,
    }
    if head.target.iter().any(|it| *it < b' ' || *it == 0x7f || (*it == b'#' && !lighttpd)) {
        return Err(bad_target);
    }
    let origin = head.target.starts_with(b"/") || authority_of(head.target).is_some();
    let fits = match head.method {
        b"OPTIONS" => origin || head.target == b"*",
        b"CONNECT" if !lighttpd => !origin && memchr(b':', head.target).is_some(),
        _ => origin,
    };
    if fits { Ok(()) } else { Err(bad_target) }
}

fn strict_version(version: &[u8], family: Family) -> Result<Version, Fault> {
    match version.strip_prefix(b"HTTP/") {
        Some(b"1.0") => Ok(Version::V10),
        Some(b"1.1") => Ok(Version::V11),
        Some([b'1', b'.', b'0' | b'1', ..]) if family == Family::Lighttpd => Err(Fault::Line),
        Some([b'0'..=b'9', ..]) if matches!(family, Family::Lighttpd | Family::Iis) => Err(Fault::Version),
        Some([b'1'..=b'9', b'.', b'0'..=b'9']) => Ok(Version::V11),
        _ => Err(Fault::Line),
    }
}
