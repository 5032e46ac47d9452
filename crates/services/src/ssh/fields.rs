//! Fields of a message, read as far as they go, so that whatever can be read of a broken one is still
//! known.

use super::profile::Product;
use crate::wire::Reader;

/// What is wrong with a message.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Faults {
    /// It ends within this field.
    pub(super) short: Option<&'static str>,
    /// A text has a NUL before its end, which OpenSSH takes for a broken message.
    pub(super) nul: Option<&'static str>,
    /// Bytes follow the last field.
    pub(super) tail: bool,
}

impl Faults {
    /// Whether a server of this product ends over such a message.
    pub(super) fn end(self, product: Product) -> bool {
        self.short.is_some() || product == Product::OpenSsh && (self.nul.is_some() || self.tail)
    }

    /// For an event.
    pub(super) fn problem(self) -> Option<String> {
        match self {
            Self { short: Some(field), .. } => Some(format!("ends within the {field}")),
            Self { nul: Some(field), .. } => Some(format!("has a NUL in the {field}")),
            Self { tail: true, .. } => Some("has bytes behind its end".to_owned()),
            _ => None,
        }
    }
}

/// Reads fields as far as they go.
pub(super) struct Fields<'a> {
    rest: Reader<'a>,
    pub(super) faults: Faults,
}

impl<'a> Fields<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Self {
        Self { rest: Reader(payload), faults: Faults::default() }
    }

    /// A number; 0 where it is not there.
    pub(super) fn u32(&mut self, field: &'static str) -> u32 {
        self.take(field, |rest| rest.u32(field).ok()).unwrap_or_default()
    }

    /// A `boolean`; false where it is not there.
    pub(super) fn boolean(&mut self, field: &'static str) -> bool {
        self.take(field, |rest| rest.boolean(field).ok()).unwrap_or_default()
    }

    /// A `string` of any bytes.
    pub(super) fn string(&mut self, field: &'static str) -> &'a [u8] {
        self.take(field, |rest| rest.string(field).ok()).unwrap_or_default()
    }

    /// A `string` that OpenSSH takes for text, which may end in a NUL but have none inside.
    pub(super) fn text(&mut self, field: &'static str) -> &'a [u8] {
        let text = self.string(field);
        let text = text.strip_suffix(b"\0").unwrap_or(text);
        if text.contains(&0) {
            self.faults.nul.get_or_insert(field);
        }
        text
    }

    /// Whether nothing is left, or nothing can be read any more.
    pub(super) fn is_over(&self) -> bool {
        self.rest.0.is_empty() || self.faults.short.is_some()
    }

    /// Nothing more is expected.
    pub(super) fn end(&mut self) {
        self.faults.tail = self.faults.short.is_none() && !self.rest.0.is_empty();
    }

    fn take<T>(&mut self, field: &'static str, read: impl FnOnce(&mut Reader<'a>) -> Option<T>) -> Option<T> {
        if self.faults.short.is_some() {
            return None;
        }
        let value = read(&mut self.rest);
        if value.is_none() {
            self.faults.short = Some(field);
        }
        value
    }

    /// Bytes that were not read yet.
    pub(super) fn left(&self) -> usize {
        self.rest.0.len()
    }
}
