//! The values that an event's fields can have.

use std::borrow::Cow;

use crate::json::escape_into;
use crate::tainted::Tainted;

/// One field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// The service has this field, and the peer sent nothing for it.
    Null,
    /// A yes or no.
    Bool(bool),
    /// A count, a port, a version.
    Number(i64),
    /// Our own words.
    Text(Cow<'static, str>),
    /// The peer's words.
    Tainted(Tainted),
    /// Several values, in order of appearance.
    List(Vec<Value>),
    /// Named values; written sorted by name. The names may be the peer's.
    Map(Vec<(Tainted, Value)>),
}

impl Value {
    /// Appends this value's JSON text: keys sorted by code point at every depth, `", "` and `": "`
    /// between, ASCII only.
    pub fn encode(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(number) => out.push_str(&number.to_string()),
            Self::Text(text) => encode_text(text, out),
            Self::Tainted(bytes) => encode_text(&bytes.text(), out),
            Self::List(values) => {
                out.push('[');
                for (at, value) in values.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { ", " });
                    value.encode(out);
                }
                out.push(']');
            }
            Self::Map(members) => {
                let mut members: Vec<_> = members.iter().map(|(name, value)| (name.text(), value)).collect();
                members.sort_by(|a, b| a.0.cmp(&b.0));
                encode_members(members.iter().map(|(name, value)| (name.as_ref(), *value)), out);
            }
        }
    }
}

/// Appends an object with its members in the order given.
pub(crate) fn encode_members<'a>(members: impl Iterator<Item = (&'a str, &'a Value)>, out: &mut String) {
    out.push('{');
    for (at, (name, value)) in members.enumerate() {
        out.push_str(if at == 0 { "" } else { ", " });
        encode_text(name, out);
        out.push_str(": ");
        value.encode(out);
    }
    out.push('}');
}

fn encode_text(text: &str, out: &mut String) {
    out.push('"');
    escape_into(out, text);
    out.push('"');
}

impl From<Tainted> for Value {
    fn from(bytes: Tainted) -> Self {
        Self::Tainted(bytes)
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_sorted_at_every_depth() {
        let inner = Value::Map(vec![
            (Tainted::new(b"b", 9), Value::Null),
            (Tainted::new(b"B", 9), Value::List(vec![1.into(), true.into()])),
        ]);
        let outer = Value::Map(vec![(Tainted::new(b"z", 9), "x".into()), (Tainted::new(b"a", 9), inner)]);
        let mut text = String::new();
        outer.encode(&mut text);
        assert_eq!(text, r#"{"a": {"B": [1, true], "b": null}, "z": "x"}"#);
    }
}
