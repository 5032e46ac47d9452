//! A line of JSON as an event's fields.
//!
//! Texts without escapes are borrowed from the line. Whatever a line holds, time and memory are in
//! proportion to its length, which is bounded.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::event::{Fields, Value};

/// The longest line, in bytes.
pub const LINE_BYTES: usize = 1024 * 1024;
/// Members nested deeper are left out.
pub const DEPTH_MAX: usize = 64;
/// Values beyond this number are left out.
pub const VALUES_MAX: usize = 4096;
/// Paths of fields are cut after so many bytes.
pub const PATH_BYTES: usize = 512;

/// A line's fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Line<'l> {
    /// By dotted path. A member whose own name has a dot wins over one that comes to the same path.
    /// Members of objects in a list are lists.
    pub fields: Fields<'l>,
    /// Some of the line was beyond a bound and is not there.
    pub cut: bool,
}

/// Why a line is no event.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Over [`LINE_BYTES`].
    #[error("a line of {0} bytes, and {LINE_BYTES} are the most")]
    Long(usize),
    /// Not an object in JSON.
    #[error("not a JSON object: {0}")]
    Json(#[from] serde_json::Error),
}

/// Reads a line. Bytes that are not UTF-8 and halves of surrogate pairs become U+FFFD: Python's logger
/// writes what attackers send, and such a line must not be lost.
///
/// # Errors
///
/// If the line is too long or is no JSON object.
pub fn read(line: &[u8]) -> Result<Line<'_>, Error> {
    if line.len() > LINE_BYTES {
        return Err(Error::Long(line.len()));
    }
    parse(line).or_else(|error| {
        let mended = without_lone_surrogates(&String::from_utf8_lossy(line));
        if mended.as_bytes() == line {
            return Err(error.into());
        }
        let owned = parse(mended.as_bytes())?;
        let mut fields = Fields::new();
        for (name, value) in owned.fields.iter() {
            fields.push(name.to_owned(), value.to_owned_value());
        }
        Ok(Line { fields, cut: owned.cut })
    })
}

fn parse(line: &[u8]) -> Result<Line<'_>, serde_json::Error> {
    let mut parser = serde_json::Deserializer::from_slice(line);
    let mut reader =
        Reader { line: Line { fields: Fields::with_capacity(24), cut: false }, left: VALUES_MAX };
    parser.deserialize_map(Object { reader: &mut reader, path: None, depth: 0, listed: false })?;
    parser.end()?;
    Ok(reader.line)
}

/// Each `\uXXXX` that is half of a character becomes U+FFFD.
fn without_lone_surrogates(line: &str) -> String {
    let mut mended = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\\') {
        mended.push_str(before);
        let high = surrogate(after, HIGH);
        let pair = high.and_then(|it| surrogate(it.strip_prefix('\\')?, LOW));
        let next = match (pair, high.or_else(|| surrogate(after, LOW))) {
            (Some(after), _) => after,
            (None, Some(after)) => {
                mended.push('\u{fffd}');
                rest = after;
                continue;
            }
            // Whatever is escaped, a second backslash above all, is not looked at again.
            (None, None) => after.get(after.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default(),
        };
        mended.push('\\');
        mended.push_str(after.get(..after.len().saturating_sub(next.len())).unwrap_or_default());
        rest = next;
    }
    mended.push_str(rest);
    mended
}

/// The first halves of surrogate pairs, and the second.
const HIGH: Range<u16> = 0xd800..0xdc00;
const LOW: Range<u16> = 0xdc00..0xe000;

/// What follows a `uXXXX` within these numbers.
fn surrogate(text: &str, within: Range<u16>) -> Option<&str> {
    let (digits, after) = text.strip_prefix('u')?.split_at_checked(4)?;
    let number = u16::from_str_radix(digits, 16).ok()?;
    within.contains(&number).then_some(after)
}

struct Reader<'l> {
    line: Line<'l>,
    /// How many more values there may be.
    left: usize,
}

impl<'l> Reader<'l> {
    /// Counts a value; false if it is one too many.
    fn take(&mut self) -> bool {
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or(0);
        self.line.cut |= left.is_none();
        left.is_some()
    }

    fn push(&mut self, name: Cow<'l, str>, value: Value<'l>, listed: bool, own: bool) {
        if !self.take() {
            return;
        }
        let fields = &mut self.line.fields;
        let before = if listed || own { fields.get_mut(&name) } else { None };
        match before {
            None => fields.push(name, value),
            Some(Value::List(values)) if listed => values.push(value),
            Some(one) if listed => *one = Value::List(vec![std::mem::replace(one, Value::Null), value]),
            Some(other) => *other = value,
        }
    }

    /// The path of a member.
    fn path(&mut self, before: Option<&str>, name: Cow<'l, str>) -> Cow<'l, str> {
        let path = match before {
            None if name.len() <= PATH_BYTES => return name,
            None => name,
            Some(before) => {
                let mut path =
                    String::with_capacity(before.len().saturating_add(name.len()).saturating_add(1));
                path.push_str(before);
                path.push('.');
                path.push_str(&name);
                Cow::Owned(path)
            }
        };
        if path.len() <= PATH_BYTES {
            return path;
        }
        self.line.cut = true;
        Cow::Owned(path.get(..path.floor_char_boundary(PATH_BYTES)).unwrap_or_default().to_owned())
    }
}

/// The members of an object, each under its path.
struct Object<'r, 'l> {
    reader: &'r mut Reader<'l>,
    path: Option<&'r str>,
    depth: usize,
    /// Whether it stands in a list.
    listed: bool,
}

impl<'l> Visitor<'l> for Object<'_, 'l> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'l>>(self, mut members: A) -> Result<(), A::Error> {
        let mut empty = true;
        while let Some(name) = members.next_key_seed(Name)? {
            empty = false;
            if self.depth >= DEPTH_MAX || self.reader.left == 0 {
                self.reader.line.cut = true;
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            let own = name.contains('.');
            let path = self.reader.path(self.path, name);
            let depth = self.depth.saturating_add(1);
            let member = Member { reader: &mut *self.reader, path: &path, depth, listed: self.listed };
            if let Some(value) = members.next_value_seed(member)? {
                self.reader.push(path, value, self.listed, own);
            }
        }
        // An object without members is there all the same.
        if let (true, Some(path)) = (empty, self.path) {
            self.reader.push(path.to_owned().into(), Value::List(Vec::new()), self.listed, false);
        }
        Ok(())
    }
}

/// One value: handed back, or, if it is an object, read into the fields.
struct Member<'r, 'l> {
    reader: &'r mut Reader<'l>,
    path: &'r str,
    depth: usize,
    listed: bool,
}

impl<'l> DeserializeSeed<'l> for Member<'_, 'l> {
    type Value = Option<Value<'l>>;

    fn deserialize<D: Deserializer<'l>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'l> Visitor<'l> for Member<'_, 'l> {
    type Value = Option<Value<'l>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Some(Value::Null))
    }

    fn visit_bool<E>(self, it: bool) -> Result<Self::Value, E> {
        Ok(Some(Value::Bool(it)))
    }

    fn visit_i64<E>(self, it: i64) -> Result<Self::Value, E> {
        Ok(Some(Value::Int(it)))
    }

    #[expect(clippy::cast_precision_loss, reason = "so large a number is as exact as a double")]
    fn visit_u64<E>(self, it: u64) -> Result<Self::Value, E> {
        Ok(Some(i64::try_from(it).map_or(Value::Float(it as f64), Value::Int)))
    }

    fn visit_f64<E>(self, it: f64) -> Result<Self::Value, E> {
        Ok(Some(Value::Float(it)))
    }

    fn visit_borrowed_str<E>(self, it: &'l str) -> Result<Self::Value, E> {
        Ok(Some(Value::Text(Cow::Borrowed(it))))
    }

    fn visit_str<E>(self, it: &str) -> Result<Self::Value, E> {
        Ok(Some(Value::Text(Cow::Owned(it.to_owned()))))
    }

    fn visit_map<A: MapAccess<'l>>(self, members: A) -> Result<Self::Value, A::Error> {
        let Self { reader, path, depth, listed } = self;
        Object { reader, path: Some(path), depth, listed }.visit_map(members)?;
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'l>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        let mut objects = false;
        let depth = self.depth.saturating_add(1);
        loop {
            if depth >= DEPTH_MAX || self.reader.left == 0 {
                while members.next_element::<IgnoredAny>()?.is_some() {
                    self.reader.line.cut = true;
                }
                break;
            }
            let member = Member { reader: &mut *self.reader, path: self.path, depth, listed: true };
            match members.next_element_seed(member)? {
                None => break,
                Some(None) => objects = true,
                Some(Some(value)) => {
                    if self.reader.take() {
                        values.push(value);
                    }
                }
            }
        }
        // A list of nothing but objects is in the fields already.
        Ok((!objects || !values.is_empty()).then_some(Value::List(values)))
    }
}

/// The name of a member.
struct Name;

impl<'l> DeserializeSeed<'l> for Name {
    type Value = Cow<'l, str>;

    fn deserialize<D: Deserializer<'l>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'l> Visitor<'l> for Name {
    type Value = Cow<'l, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, it: &'l str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(it))
    }

    fn visit_str<E>(self, it: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(it.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(line: &str) -> Vec<(String, Value<'_>)> {
        let line = read(line.as_bytes()).unwrap();
        assert!(!line.cut);
        line.fields.iter().map(|(name, value)| (name.to_owned(), value.to_owned_value())).collect()
    }

    fn text(it: &str) -> Value<'_> {
        Value::Text(it.into())
    }

    fn is(line: &str, expected: &[(&str, Value<'_>)]) {
        let expected: Vec<_> = expected.iter().map(|it| (it.0.to_owned(), it.1.clone())).collect();
        assert_eq!(fields(line), expected, "{line}");
    }

    #[test]
    fn members_have_dotted_paths_and_types() {
        is(
            r#"{"logtype": 4002, "logdata": {"USERNAME": "r\n", "a": {"b": null}}, "x": true, "y": 1.5}"#,
            &[
                ("logtype", Value::Int(4002)),
                ("logdata.USERNAME", text("r\n")),
                ("logdata.a.b", Value::Null),
                ("x", Value::Bool(true)),
                ("y", Value::Float(1.5)),
            ],
        );
        is(
            r#"{"a": -9223372036854775808, "b": 1e3}"#,
            &[("a", Value::Int(i64::MIN)), ("b", Value::Float(1000.0))],
        );
        is("{}", &[]);
        is(r#"{"a": {}, "b": []}"#, &[("a", Value::List(vec![])), ("b", Value::List(vec![]))]);
    }

    #[test]
    fn the_own_name_wins_over_the_path() {
        is(r#"{"A.B": 1, "A": {"B": 2}}"#, &[("A.B", Value::Int(1)), ("A.B", Value::Int(2))]);
        is(r#"{"A": {"B": 2}, "A.B": 1}"#, &[("A.B", Value::Int(1))]);
    }

    #[test]
    fn lists_keep_their_members() {
        let list = |it: &[i64]| Value::List(it.iter().map(|it| Value::Int(*it)).collect());
        is(r#"{"a": [1, 2]}"#, &[("a", list(&[1, 2]))]);
        is(r#"{"a": [[1], 2]}"#, &[("a", Value::List(vec![list(&[1]), Value::Int(2)]))]);
        is(
            r#"{"a": [{"b": 1}, {"b": 2, "c": 3}, {"b": 4}]}"#,
            &[("a.b", list(&[1, 2, 4])), ("a.c", Value::Int(3))],
        );
        is(r#"{"a": [{"b": 1}, 7]}"#, &[("a.b", Value::Int(1)), ("a", list(&[7]))]);
    }

    #[test]
    fn what_is_not_unicode_does_not_lose_a_line() {
        let line = read(b"{\"a\": \"x\xffy\", \"b\": 1}").unwrap();
        assert_eq!(line.fields.get("a"), Some(&text("x\u{fffd}y")));
        let cases = [
            (r"x\udc80y", "x\u{fffd}y"),
            (r"\ud83d\ude00", "\u{1f600}"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}\u{1f600}"),
            (r"\\udc80\udc80", "\\udc80\u{fffd}"),
            (r"\ud83dx\n\udc80", "\u{fffd}x\n\u{fffd}"),
        ];
        for (written, meant) in cases {
            let line = format!(r#"{{"a": "{written}", "b": "\udfff"}}"#);
            assert_eq!(read(line.as_bytes()).unwrap().fields.get("a"), Some(&text(meant)), "{written}");
        }
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for line in
            ["", "1", "[]", "{", "{\"a\": }", "{} x", "{\"a\": 1e999}", "\u{fffd}", "{\"a\": \"\\ud8\"}"]
        {
            assert!(matches!(read(line.as_bytes()), Err(Error::Json(_))), "{line}");
        }
        assert!(matches!(read(&vec![b' '; LINE_BYTES + 1]), Err(Error::Long(_))));
    }

    #[test]
    fn depth_number_and_names_are_bounded() {
        for (open, close) in [("{\"a\":", "}"), ("[", "]")] {
            for depth in [100, 100_000] {
                let line = format!("{{\"x\": {}1{}, \"y\": 2}}", open.repeat(depth), close.repeat(depth));
                let line = read(line.as_bytes()).unwrap();
                assert!(line.cut && line.fields.get("y") == Some(&Value::Int(2)), "{open} {depth}");
            }
        }
        let many: Vec<_> = (0..VALUES_MAX + 2).map(|it| format!("\"{it}\": 1")).collect();
        let line = format!("{{{}}}", many.join(","));
        let line = read(line.as_bytes()).unwrap();
        assert!(line.cut && line.fields.iter().count() == VALUES_MAX);
        let line = format!("{{\"a\": [{}1]}}", "1,".repeat(VALUES_MAX + 2));
        assert!(read(line.as_bytes()).unwrap().cut);
        let long = format!("{{\"{}\": {{\"b\": 1}}}}", "ä".repeat(400));
        let long = read(long.as_bytes()).unwrap();
        assert!(long.cut && long.fields.iter().all(|it| it.0.len() <= PATH_BYTES));
    }

    #[test]
    fn plain_texts_are_borrowed() {
        let line = read(br#"{"a": "x", "b": {"c": "y"}}"#).unwrap();
        let borrowed = |it: &Value<'_>| matches!(it, Value::Text(Cow::Borrowed(_)));
        assert!(line.fields.iter().all(|it| borrowed(it.1)));
    }
}
