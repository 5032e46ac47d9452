//! The data types of SSH (RFC 4251 section 5), read and written, and the message numbers.

use crate::wire::{Reader, Short};

/// Message numbers (RFC 4250 section 4.1, RFC 5656, RFC 4419, RFC 8308).
pub(crate) mod number {
    #![allow(missing_docs, reason = "the names are those of the documents")]
    pub(crate) const DISCONNECT: u8 = 1;
    pub(crate) const IGNORE: u8 = 2;
    pub(crate) const UNIMPLEMENTED: u8 = 3;
    pub(crate) const DEBUG: u8 = 4;
    pub(crate) const SERVICE_REQUEST: u8 = 5;
    pub(crate) const SERVICE_ACCEPT: u8 = 6;
    pub(crate) const EXT_INFO: u8 = 7;
    pub(crate) const KEXINIT: u8 = 20;
    pub(crate) const NEWKEYS: u8 = 21;
    /// The first number of a key exchange method's own messages; the last is 49.
    pub(crate) const KEX_FIRST: u8 = 30;
    pub(crate) const KEX_LAST: u8 = 49;
    pub(crate) const USERAUTH_REQUEST: u8 = 50;
    pub(crate) const USERAUTH_FAILURE: u8 = 51;
    pub(crate) const USERAUTH_SUCCESS: u8 = 52;
    pub(crate) const USERAUTH_BANNER: u8 = 53;
    pub(crate) const USERAUTH_PK_OK: u8 = 60;
    pub(crate) const USERAUTH_INFO_REQUEST: u8 = 60;
    pub(crate) const USERAUTH_INFO_RESPONSE: u8 = 61;
    pub(crate) const GLOBAL_REQUEST: u8 = 80;
    pub(crate) const REQUEST_SUCCESS: u8 = 81;
    pub(crate) const REQUEST_FAILURE: u8 = 82;
    pub(crate) const CHANNEL_OPEN: u8 = 90;
    pub(crate) const CHANNEL_OPEN_CONFIRMATION: u8 = 91;
    pub(crate) const CHANNEL_OPEN_FAILURE: u8 = 92;
    pub(crate) const CHANNEL_WINDOW_ADJUST: u8 = 93;
    pub(crate) const CHANNEL_DATA: u8 = 94;
    pub(crate) const CHANNEL_EXTENDED_DATA: u8 = 95;
    pub(crate) const CHANNEL_EOF: u8 = 96;
    pub(crate) const CHANNEL_CLOSE: u8 = 97;
    pub(crate) const CHANNEL_REQUEST: u8 = 98;
    pub(crate) const CHANNEL_SUCCESS: u8 = 99;
    pub(crate) const CHANNEL_FAILURE: u8 = 100;
    /// `ping@openssh.com` and its answer.
    pub(crate) const PING: u8 = 192;
    pub(crate) const PONG: u8 = 193;
}

impl<'a> Reader<'a> {
    /// A `string`: four bytes of length, and so many bytes.
    pub(crate) fn string(&mut self, field: &'static str) -> Result<&'a [u8], Short> {
        let length = self.u32(field)?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX), field)
    }

    /// A `boolean`: anything but zero is true.
    pub(crate) fn boolean(&mut self, field: &'static str) -> Result<bool, Short> {
        Ok(self.u8(field)? != 0)
    }
}

/// The members of a `name-list`. An empty list has none.
pub(crate) fn names(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&it| it == b',').filter(|it| !it.is_empty())
}

/// Writes a message, field by field.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    /// One of this number, without fields yet.
    pub(crate) fn new(number: u8) -> Self {
        Self(vec![number])
    }

    /// A part of a message: fields without a number before them.
    pub(crate) fn part() -> Self {
        Self::default()
    }

    /// A `byte`.
    pub(crate) fn byte(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    /// A `boolean`.
    pub(crate) fn boolean(self, value: bool) -> Self {
        self.byte(value.into())
    }

    /// A `uint32`.
    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Bytes as they are.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A `string`.
    pub(crate) fn string(self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).raw(bytes)
    }

    /// A positive `mpint` from big-endian bytes: leading zeroes dropped, one added where the first
    /// bit is set.
    pub(crate) fn mpint(self, bytes: &[u8]) -> Self {
        let start = bytes.iter().position(|&it| it != 0).unwrap_or(bytes.len());
        let digits = bytes.get(start..).unwrap_or_default();
        let sign = digits.first().is_some_and(|it| it & 0x80 != 0);
        let length = digits.len().saturating_add(sign.into());
        let head = self.u32(u32::try_from(length).unwrap_or(u32::MAX));
        if sign { head.byte(0).raw(digits) } else { head.raw(digits) }
    }

    /// A `name-list`.
    pub(crate) fn names<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let list: Vec<&str> = names.into_iter().collect();
        self.string(list.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_document_shows() {
        let written = |bytes: &[u8]| Message::part().mpint(bytes).0;
        assert_eq!(written(&[0, 0]), [0, 0, 0, 0]);
        assert_eq!(written(&[0x80]), [0, 0, 0, 2, 0, 0x80]);
        assert_eq!(
            written(&[0, 9, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7]),
            [0, 0, 0, 8, 9, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7]
        );
    }

    #[test]
    fn a_string_longer_than_what_is_there_is_short() {
        assert_eq!(Reader(&[0, 0, 0, 3, b'a', b'b']).string("user"), Err(Short("user")));
        assert_eq!(Reader(&[0xff; 8]).string("user"), Err(Short("user")));
        assert_eq!(Reader(&[0, 0, 0, 1, b'a', b'b']).string("user"), Ok(&b"a"[..]));
    }

    #[test]
    fn an_empty_list_has_no_names() {
        assert_eq!(names(b"").count(), 0);
        assert_eq!(names(b"zlib,none").collect::<Vec<_>>(), [&b"zlib"[..], b"none"]);
    }
}
