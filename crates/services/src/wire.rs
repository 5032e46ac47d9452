//! Taking messages apart without panicking and without reading past their end.

/// The message ended inside the named field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short(pub &'static str);

/// Takes a message apart. Cannot panic and cannot read past the end.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `N` bytes.
    ///
    /// # Errors
    ///
    /// When fewer are left.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<&'a [u8; N], Short> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Short(field))?;
        self.0 = rest;
        Ok(head)
    }

    /// The next byte.
    ///
    /// # Errors
    ///
    /// When none is left.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, Short> {
        self.array::<1>(field).map(|it| it[0])
    }

    /// The next two bytes, big-endian.
    ///
    /// # Errors
    ///
    /// When fewer are left.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, Short> {
        self.array(field).map(|it| u16::from_be_bytes(*it))
    }

    /// The next four bytes, big-endian.
    ///
    /// # Errors
    ///
    /// When fewer are left.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, Short> {
        self.array(field).map(|it| u32::from_be_bytes(*it))
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    ///
    /// When fewer are left.
    pub fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], Short> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(Short(field))?;
        self.0 = rest;
        Ok(head)
    }
}

/// The first whole line without its ending (LF or CR LF), and what follows it.
#[must_use]
pub fn first_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, rest) = split_once(bytes, b'\n')?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest))
}

/// What stands before the first `mark`, and what after it.
#[must_use]
pub fn split_once(bytes: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let (before, after) = bytes.split_at_checked(memchr::memchr(mark, bytes)?)?;
    Some((before, after.get(1..)?))
}

/// The number that hexadecimal digits write. The standard library's parser takes a sign as well.
#[must_use]
pub fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    if digits.bytes().all(|it| it.is_ascii_hexdigit()) { u64::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_stops_at_the_end() {
        let mut reader = Reader(&[1, 2, 3, 4]);
        assert_eq!(reader.u16("first"), Ok(0x0102));
        assert_eq!(reader.take(1, "second"), Ok(&[3][..]));
        assert_eq!(reader.u16("third"), Err(Short("third")));
        assert_eq!(reader.u8("fourth"), Ok(4));
    }

    #[test]
    fn lines_end_with_either_ending() {
        assert_eq!(first_line(b"a\r\nb\n"), Some((&b"a"[..], &b"b\n"[..])));
        assert_eq!(first_line(b"b\n"), Some((&b"b"[..], &b""[..])));
        assert_eq!(first_line(b"b\r"), None);
    }

    #[test]
    fn bytes_are_split_at_the_first_mark() {
        assert_eq!(split_once(b"a:b:c", b':'), Some((&b"a"[..], &b"b:c"[..])));
        assert_eq!(split_once(b":", b':'), Some((&b""[..], &b""[..])));
        assert_eq!(split_once(b"a", b':'), None);
    }

    #[test]
    fn hexadecimal_numbers_have_neither_sign_nor_prefix() {
        assert_eq!(hexadecimal(b"00fF"), Some(255));
        assert_eq!(hexadecimal(b"ffffffffffffffff"), Some(u64::MAX));
        for digits in ["", "+1", "-1", "0x1", " 1", "g", "10000000000000000"] {
            assert_eq!(hexadecimal(digits.as_bytes()), None, "{digits}");
        }
    }
}
