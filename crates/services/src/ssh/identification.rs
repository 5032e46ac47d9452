//! Identification lines (RFC 4253 section 4.2), read as each product reads them.

use memchr::memmem;

use super::profile::{Product, Profile};

/// What a client's first bytes amount to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard<'b> {
    /// Not a whole line yet.
    More,
    /// An identification, and what follows it.
    Line(&'b [u8], &'b [u8]),
    /// No identification, or none that can be spoken with: what was read of it, and what follows.
    Refused(Refusal, &'b [u8], &'b [u8]),
}

/// Why there will be no conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is no identification.
    Invalid,
    /// It is one of another major version.
    Version,
    /// It is that of a scanner which OpenSSH hangs up on without a word.
    Scanner,
}

/// Most bytes of a line, without its ending: OpenSSH's `SSH_MAX_BANNER_LEN`.
pub(crate) const LINE_MAX: usize = 8192;

/// Reads as this product does.
pub(crate) fn read<'b>(profile: &Profile, bytes: &'b [u8]) -> Heard<'b> {
    match profile.product {
        Product::Dropbear => read_as_dropbear(bytes),
        Product::OpenSsh if profile.version < (8, 0) => read_as_old_openssh(bytes),
        Product::OpenSsh | Product::Cisco => read_as_openssh(bytes),
    }
}

/// OpenSSH before 8.0 (`sshd_exchange_identification` in sshd.c): up to LF, or 255 bytes without one;
/// what stands behind a CR or NUL does not count.
fn read_as_old_openssh(bytes: &[u8]) -> Heard<'_> {
    const OLD_LINE_MAX: usize = 255;
    let read = bytes.get(..OLD_LINE_MAX).unwrap_or(bytes);
    let (line, used) = match memchr::memchr(b'\n', read) {
        Some(end) => (read.get(..end).unwrap_or(read), end.saturating_add(1)),
        None if read.len() == OLD_LINE_MAX => (read, OLD_LINE_MAX),
        None => return Heard::More,
    };
    let line = line.split(|it| matches!(it, b'\r' | 0)).next().unwrap_or_default();
    let after = bytes.get(used..).unwrap_or_default();
    // It looks for scanners first.
    match parts(line) {
        Some((_, _, software)) if is_scanner(software) => Heard::Refused(Refusal::Scanner, line, after),
        _ => whole(line, after),
    }
}

/// Dropbear (`ident_readln` and `read_session_identification` in common-session.c): up to LF, or 255
/// bytes without one, not counting CR; what it claims is all that counts. What is left of a longer
/// line is taken for a packet.
fn read_as_dropbear(bytes: &[u8]) -> Heard<'_> {
    const DROPBEAR_LINE_MAX: usize = 255;
    let mut kept: usize = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let (line, rest) = bytes.split_at_checked(at).unwrap_or((bytes, b""));
        match byte {
            b'\n' => return claims(line, rest.get(1..).unwrap_or_default()),
            b'\r' => {}
            _ => kept = kept.saturating_add(1),
        }
        if kept == DROPBEAR_LINE_MAX {
            let (line, rest) = bytes.split_at_checked(at.saturating_add(1)).unwrap_or((bytes, b""));
            return claims(line, rest);
        }
    }
    Heard::More
}

/// Judges a line as Dropbear does.
fn claims<'b>(line: &'b [u8], after: &'b [u8]) -> Heard<'b> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.starts_with(b"SSH-") {
        Heard::Refused(Refusal::Invalid, line, after)
    } else if line.starts_with(b"SSH-2.") || line.starts_with(b"SSH-1.99-") {
        Heard::Line(line, after)
    } else {
        Heard::Refused(Refusal::Version, line, after)
    }
}

/// Reads as OpenSSH since 8.0 does (`kex_exchange_identification`): up to LF, one CR before it; a NUL
/// or anything between CR and LF ends it at once.
fn read_as_openssh(bytes: &[u8]) -> Heard<'_> {
    let mut carriage = false;
    for (at, &byte) in bytes.iter().enumerate() {
        let after = bytes.get(at.saturating_add(1)..).unwrap_or_default();
        let line = bytes.get(..at).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match byte {
            b'\n' => return whole(line, after),
            b'\r' => carriage = true,
            _ if byte == 0 || carriage || at >= LINE_MAX => {
                return Heard::Refused(Refusal::Invalid, line, after);
            }
            _ => {}
        }
    }
    Heard::More
}

/// Judges a whole line.
fn whole<'b>(line: &'b [u8], after: &'b [u8]) -> Heard<'b> {
    let Some((major, minor, software)) = parts(line) else {
        return Heard::Refused(Refusal::Invalid, line, after);
    };
    if !(major == 2 || major == 1 && minor == 99) {
        return Heard::Refused(Refusal::Version, line, after);
    }
    // OpenSSH's compat.c knows two scanners by name.
    if is_scanner(software) {
        return Heard::Refused(Refusal::Scanner, line, after);
    }
    Heard::Line(line, after)
}

fn is_scanner(software: &[u8]) -> bool {
    software.starts_with(b"Probe-") || memmem::find(software, b"SSH_Version_Mapper").is_some()
}

/// `SSH-MAJOR.MINOR-SOFTWARE`, as C's `sscanf` takes it: numbers may have signs and blanks before
/// them, and the software at least one character.
fn parts(line: &[u8]) -> Option<(i64, i64, &[u8])> {
    let (major, rest) = integer(line.strip_prefix(b"SSH-")?)?;
    let (minor, rest) = integer(rest.strip_prefix(b".")?)?;
    let software = rest.strip_prefix(b"-").filter(|it| !it.is_empty())?;
    Some((major, minor, software))
}

/// What `%d` takes. Larger numbers than fit are as good as any other that is no version.
fn integer(text: &[u8]) -> Option<(i64, &[u8])> {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let end = digits.iter().position(|it| !it.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at_checked(end).filter(|it| !it.0.is_empty())?;
    let number = digits.iter().fold(0_i64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(i64::from(digit.saturating_sub(b'0')))
    });
    Some((if negative { number.saturating_neg() } else { number }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> Option<Refusal> {
        match read_as_openssh(bytes) {
            Heard::Refused(why, ..) => Some(why),
            _ => None,
        }
    }

    #[test]
    fn the_usual_line_is_taken_with_either_ending() {
        assert_eq!(read_as_openssh(b"SSH-2.0-x y\r\nrest"), Heard::Line(b"SSH-2.0-x y", b"rest"));
        assert_eq!(read_as_openssh(b"SSH-2.0-x\n"), Heard::Line(b"SSH-2.0-x", b""));
        assert_eq!(read_as_openssh(b"SSH-1.99-x\n"), Heard::Line(b"SSH-1.99-x", b""));
        assert_eq!(read_as_openssh(b"SSH-2.0-x\r"), Heard::More);
    }

    #[test]
    fn what_openssh_refuses_is_refused_for_the_same_reason() {
        for line in
            [&b"\n"[..], b"GET / HTTP/1.0\r\n", b"SSH-2.0\n", b"SSH-2.0-\r\n", b"SSH-2.0-a\r \n", b"S\0"]
        {
            assert_eq!(refused(line), Some(Refusal::Invalid), "{}", line.escape_ascii());
        }
        assert_eq!(refused(b"SSH-1.5-x\n"), Some(Refusal::Version));
        assert_eq!(refused(b"SSH-1337.0-x\n"), Some(Refusal::Version));
        assert_eq!(refused(b"SSH-2.0-Probe-1\n"), Some(Refusal::Scanner));
    }

    #[test]
    fn dropbear_looks_at_less() {
        let read = read_as_dropbear;
        assert_eq!(read(b"SSH-2.0\nrest"), Heard::Line(b"SSH-2.0", b"rest"));
        assert_eq!(read(b"SSH-1.5-x\r\n"), Heard::Refused(Refusal::Version, b"SSH-1.5-x", b""));
        assert_eq!(read(b"\n\n"), Heard::Refused(Refusal::Invalid, b"", b"\n"));
        assert_eq!(read(&[b'x'; 254]), Heard::More);
        assert_eq!(read(&[b'x'; 256]), Heard::Refused(Refusal::Invalid, &[b'x'; 255], b"x"));
        let long = [&b"SSH-2.0-\r"[..], &[b'x'; 300]].concat();
        assert_eq!(read(&long), Heard::Line(&long[..256], &long[256..]));
    }

    #[test]
    fn an_old_openssh_reads_255_bytes() {
        let read = read_as_old_openssh;
        assert_eq!(read(b"SSH-2.0-x\r y\nrest"), Heard::Line(b"SSH-2.0-x", b"rest"));
        let long = [&b"SSH-2.0-"[..], &[b'x'; 300]].concat();
        assert_eq!(read(&long[..254]), Heard::More);
        assert_eq!(read(&long), Heard::Line(&long[..255], &long[255..]));
        assert_eq!(read(b"SSH-2.0-\n"), Heard::Refused(Refusal::Invalid, b"SSH-2.0-", b""));
    }

    #[test]
    fn an_endless_line_ends_where_openssh_ends_it() {
        assert_eq!(read_as_openssh(&[b'x'; LINE_MAX]), Heard::More);
        assert_eq!(refused(&[b'x'; LINE_MAX + 1]), Some(Refusal::Invalid));
    }
}
