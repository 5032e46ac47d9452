//! The `data` of OpenCanary's `WebhookHandler`: a JSON value whose strings are printf-style templates,
//! sent as JSON or as a form, byte for byte as Python's requests sends it.
//!
//! Members keep their order, which is why this is not a `serde_json::Value`. What Python would raise
//! at each event (a lone `%`, a name that does not exist) is refused when the configuration is read,
//! and so is what a form cannot hold.

use std::fmt;
use std::fmt::Write as _;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serin_event::quoted;

/// A JSON value that knows the order of its members.
#[derive(Debug, Clone, PartialEq)]
enum Tree<T> {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(T),
    List(Vec<Self>),
    Members(Vec<(String, Self)>),
}

/// One piece of a template.
#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Literal(String),
    /// `%(message)s`, with printf's width and precision.
    Message {
        left: bool,
        width: usize,
        precision: Option<usize>,
    },
}

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// `json=` of requests.
    Json,
    /// `data=` of requests: a form, or a string as it is.
    Form,
}

/// A checked `data`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Data {
    tree: Tree<Vec<Piece>>,
    encoding: Encoding,
}

/// Widths and precisions beyond this are a mistake, not a layout.
const WIDEST: usize = 100_000;

impl Data {
    /// From the JSON text of `data`; an empty text or `null` is OpenCanary's default.
    ///
    /// # Errors
    ///
    /// What Python would raise at each event, in words.
    pub(super) fn new(json: &str, encoding: Encoding) -> Result<Self, String> {
        const DEFAULT: &str = r#"{"message": "%(message)s"}"#;
        let json = if matches!(json.trim(), "" | "null") { DEFAULT } else { json };
        let tree: Tree<String> =
            serde_json::from_str(json).map_err(|error| format!("is not JSON: {error}"))?;
        let data = Self { tree: compiled(tree)?, encoding };
        data.form_check()?;
        Ok(data)
    }

    /// Whether the body is JSON; requests sends none for `null`.
    pub(super) fn is_json(&self) -> bool {
        self.encoding == Encoding::Json
    }

    /// Whether requests says of itself that the body is a form.
    pub(super) fn is_form(&self) -> bool {
        self.encoding == Encoding::Form
            && matches!(self.tree, Tree::Members(_) | Tree::List(_))
            && !self.is_empty()
    }

    /// Whether there is no body at all: what Python takes for false is not sent as a form.
    fn is_empty(&self) -> bool {
        match &self.tree {
            Tree::Null | Tree::Bool(false) | Tree::Integer(0) => true,
            Tree::Float(number) => *number == 0.0,
            Tree::Text(pieces) => pieces.is_empty(),
            Tree::List(values) => values.is_empty(),
            Tree::Members(members) => members.is_empty(),
            _ => false,
        }
    }

    /// The body with this message.
    pub(super) fn body(&self, message: &str) -> Vec<u8> {
        let tree = filled(&self.tree, message);
        match (self.encoding, tree) {
            (Encoding::Json, tree) => {
                let mut out = String::with_capacity(message.len() + 256);
                json_into(&mut out, &tree);
                out.into_bytes()
            }
            (Encoding::Form, Tree::Text(text)) => text.into_bytes(),
            (Encoding::Form, tree) => form(&tree).into_bytes(),
        }
    }

    /// What a form cannot hold.
    fn form_check(&self) -> Result<(), String> {
        const DEEP: &str = "is nested too deeply for a form; for JSON, set the header \"Content-Type\" to \
                            application/json";
        if self.encoding == Encoding::Json || self.is_empty() {
            return Ok(());
        }
        let values: Vec<&Tree<_>> = match &self.tree {
            Tree::Text(_) => return Ok(()),
            Tree::Members(members) => members.iter().map(|it| &it.1).collect(),
            Tree::List(pairs) => pairs
                .iter()
                .map(pair)
                .collect::<Option<Vec<_>>>()
                .ok_or(
                    "is a list, which a form can hold only when it is made of pairs of a name and a value",
                )?
                .into_iter()
                .map(|it| it.1)
                .collect(),
            _ => return Err("is neither an object nor a string, and cannot be sent as a form".to_owned()),
        };
        let plain = |it: &Tree<_>| !matches!(it, Tree::List(_) | Tree::Members(_));
        let shallow = |it: &Tree<_>| match it {
            Tree::List(inner) => inner.iter().all(plain),
            _ => true,
        };
        let fits = values.iter().all(|it| match it {
            Tree::List(inner) => inner.iter().all(shallow),
            _ => true,
        });
        if fits { Ok(()) } else { Err(DEEP.to_owned()) }
    }
}

/// A name and a value, of a list of two.
fn pair<T>(tree: &Tree<T>) -> Option<(&T, &Tree<T>)> {
    match tree {
        Tree::List(two) => match two.as_slice() {
            [Tree::Text(name), value] => Some((name, value)),
            _ => None,
        },
        _ => None,
    }
}

fn compiled(tree: Tree<String>) -> Result<Tree<Vec<Piece>>, String> {
    Ok(match tree {
        Tree::Null => Tree::Null,
        Tree::Bool(it) => Tree::Bool(it),
        Tree::Integer(it) => Tree::Integer(it),
        Tree::Float(it) => Tree::Float(it),
        Tree::Text(text) => Tree::Text(pieces(&text)?),
        Tree::List(values) => Tree::List(values.into_iter().map(compiled).collect::<Result<_, _>>()?),
        Tree::Members(members) => Tree::Members(
            members.into_iter().map(|(name, it)| Ok((name, compiled(it)?))).collect::<Result<_, String>>()?,
        ),
    })
}

/// One template, as Python's `%` with a mapping reads it.
fn pieces(template: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('%') {
        literal.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let (piece, after) = directive(after).ok_or_else(|| {
            format!("has a % in {template:?} that is not %(message)s; a % that stays is written %%")
        })?;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(piece);
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// What follows the `%` of `%(message)-20.10s`, and the rest.
fn directive(text: &str) -> Option<(Piece, &str)> {
    let number = |text: &'_ str| -> Option<(Option<usize>, usize)> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return Some((None, 0));
        }
        let number: usize = text.get(..digits)?.parse().ok()?;
        (number <= WIDEST).then_some((Some(number), digits))
    };
    let rest = text.strip_prefix("(message)")?;
    let flags = rest.bytes().take_while(|it| b"-+ #0".contains(it)).count();
    let left = rest.get(..flags)?.contains('-');
    let rest = rest.get(flags..)?;
    let (width, digits) = number(rest)?;
    let rest = rest.get(digits..)?;
    let (precision, rest) = match rest.strip_prefix('.') {
        Some(rest) => {
            let (precision, digits) = number(rest)?;
            (Some(precision.unwrap_or(0)), rest.get(digits..)?)
        }
        None => (None, rest),
    };
    let rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest).strip_prefix('s')?;
    Some((Piece::Message { left, width: width.unwrap_or(0), precision }, rest))
}

fn filled(tree: &Tree<Vec<Piece>>, message: &str) -> Tree<String> {
    match tree {
        Tree::Null => Tree::Null,
        Tree::Bool(it) => Tree::Bool(*it),
        Tree::Integer(it) => Tree::Integer(*it),
        Tree::Float(it) => Tree::Float(*it),
        Tree::Text(pieces) => Tree::Text(text(pieces, message)),
        Tree::List(values) => Tree::List(values.iter().map(|it| filled(it, message)).collect()),
        Tree::Members(members) => {
            Tree::Members(members.iter().map(|(name, it)| (name.clone(), filled(it, message))).collect())
        }
    }
}

fn text(pieces: &[Piece], message: &str) -> String {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(text) => out.push_str(text),
            Piece::Message { left, width, precision } => {
                let cut: String = message.chars().take(precision.unwrap_or(usize::MAX)).collect();
                // Writing to a String cannot fail.
                let _ = if *left { write!(out, "{cut:<width$}") } else { write!(out, "{cut:>width$}") };
            }
        }
    }
    out
}

/// As Python's `json.dumps` writes it.
fn json_into(out: &mut String, tree: &Tree<String>) {
    match tree {
        Tree::Null => out.push_str("null"),
        Tree::Bool(it) => out.push_str(if *it { "true" } else { "false" }),
        Tree::Integer(_) | Tree::Float(_) => out.push_str(&scalar(tree)),
        Tree::Text(text) => out.push_str(&quoted(text)),
        Tree::List(values) => {
            out.push('[');
            for (at, it) in values.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                json_into(out, it);
            }
            out.push(']');
        }
        Tree::Members(members) => {
            out.push('{');
            for (at, (name, it)) in members.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                out.push_str(&quoted(name));
                out.push_str(": ");
                json_into(out, it);
            }
            out.push('}');
        }
    }
}

/// As Python's `str` writes it, of what is neither a list nor an object.
fn scalar(tree: &Tree<String>) -> String {
    match tree {
        Tree::Null => "None".to_owned(),
        Tree::Bool(it) => if *it { "True" } else { "False" }.to_owned(),
        Tree::Integer(it) => it.to_string(),
        Tree::Float(it) => float(*it),
        Tree::Text(text) => text.clone(),
        Tree::List(_) | Tree::Members(_) => String::new(),
    }
}

/// Python's `repr` of a float: the shortest digits that read back, with an exponent below 1e-4 and
/// from 1e16 on.
fn float(number: f64) -> String {
    let shortest = format!("{number:e}");
    let Some((digits, exponent)) = shortest.split_once('e') else { return shortest };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = number.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

/// As requests encodes `data` and urllib's `urlencode` with `doseq` writes it: a list gives its name
/// once for each value, an object its names, `None` nothing.
fn form(tree: &Tree<String>) -> String {
    let members: Vec<(&String, &Tree<String>)> = match tree {
        Tree::Members(members) => members.iter().map(|it| (&it.0, &it.1)).collect(),
        Tree::List(pairs) => pairs.iter().filter_map(pair).collect(),
        _ => Vec::new(),
    };
    let mut out = String::new();
    let mut put = |name: &str, value: &str| {
        out.push_str(if out.is_empty() { "" } else { "&" });
        quote_plus(&mut out, name);
        out.push('=');
        quote_plus(&mut out, value);
    };
    for (name, value) in members {
        match value {
            Tree::Members(inner) => inner.iter().for_each(|it| put(name, &it.0)),
            Tree::List(inner) => {
                for value in inner {
                    match value {
                        Tree::Null => {}
                        Tree::Members(innermost) => innermost.iter().for_each(|it| put(name, &it.0)),
                        Tree::List(innermost) => innermost.iter().for_each(|it| put(name, &scalar(it))),
                        other => put(name, &scalar(other)),
                    }
                }
            }
            Tree::Null => {}
            other => put(name, &scalar(other)),
        }
    }
    out
}

/// Python's `quote_plus` of UTF-8.
pub(super) fn quote_plus(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'_' | b'.' | b'-' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => out.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

/// The query that requests makes of `params`, given as JSON text; a string stands as it is.
///
/// # Errors
///
/// What cannot be a query.
pub(super) fn query(json: &str) -> Result<String, String> {
    let tree: Tree<String> = serde_json::from_str(json).map_err(|error| format!("is not JSON: {error}"))?;
    if let Tree::Text(text) = tree {
        return Ok(text);
    }
    // The same rules as for a form; nothing in it is a template.
    let literal = Data { tree: literal(tree.clone()), encoding: Encoding::Form };
    literal.form_check()?;
    Ok(form(&tree))
}

fn literal(tree: Tree<String>) -> Tree<Vec<Piece>> {
    match tree {
        Tree::Null => Tree::Null,
        Tree::Bool(it) => Tree::Bool(it),
        Tree::Integer(it) => Tree::Integer(it),
        Tree::Float(it) => Tree::Float(it),
        Tree::Text(text) => Tree::Text(vec![Piece::Literal(text)]),
        Tree::List(values) => Tree::List(values.into_iter().map(literal).collect()),
        Tree::Members(members) => {
            Tree::Members(members.into_iter().map(|(name, it)| (name, literal(it))).collect())
        }
    }
}

impl<'de> Deserialize<'de> for Tree<String> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Tree<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, it: bool) -> Result<Self::Value, E> {
        Ok(Tree::Bool(it))
    }

    fn visit_i64<E>(self, it: i64) -> Result<Self::Value, E> {
        Ok(Tree::Integer(it.into()))
    }

    fn visit_u64<E>(self, it: u64) -> Result<Self::Value, E> {
        Ok(Tree::Integer(it.into()))
    }

    fn visit_f64<E>(self, it: f64) -> Result<Self::Value, E> {
        Ok(Tree::Float(it))
    }

    fn visit_str<E>(self, it: &str) -> Result<Self::Value, E> {
        Ok(Tree::Text(it.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(it) = access.next_element()? {
            values.push(it);
        }
        Ok(Tree::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(String, Tree<String>)> = Vec::new();
        while let Some((name, it)) = access.next_entry::<String, _>()? {
            // Of two equal names the last value counts, in the place of the first.
            match members.iter_mut().find(|it| it.0 == name) {
                Some(slot) => slot.1 = it,
                None => members.push((name, it)),
            }
        }
        Ok(Tree::Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(data: &str, encoding: Encoding, message: &str) -> String {
        String::from_utf8(Data::new(data, encoding).unwrap().body(message)).unwrap()
    }

    #[test]
    fn json_keeps_the_order_and_escapes_as_python_does() {
        assert_eq!(body("", Encoding::Json, "a\"b"), r#"{"message": "a\"b"}"#);
        assert_eq!(
            body(
                r#"{"z": "<%(message)s>", "a": [1, 1.0, 1e16, 1e-5, 0.0001, -0.0, true, null, "100%%"], "%(message)s": {}, "é": []}"#,
                Encoding::Json,
                "é\r\n%(message)s{{7*7}}"
            ),
            r#"{"z": "<\u00e9\r\n%(message)s{{7*7}}>", "a": [1, 1.0, 1e+16, 1e-05, 0.0001, -0.0, true, null, "100%"], "%(message)s": {}, "\u00e9": []}"#
        );
    }

    #[test]
    fn forms_are_what_urlencode_makes() {
        assert_eq!(body("null", Encoding::Form, "{\"a\": 1}&é~"), "message=%7B%22a%22%3A+1%7D%26%C3%A9~");
        assert_eq!(
            body(
                r#"{"b": ["x y", 2, null, ["p", null]], "a": {"k1": 1, "k2": 2}, "n": null, "t": true, "e": ""}"#,
                Encoding::Form,
                "m"
            ),
            "b=x+y&b=2&b=p&b=None&a=k1&a=k2&t=True&e="
        );
        assert_eq!(body(r#"[["k", "%(message)s"], ["k", 2]]"#, Encoding::Form, "m"), "k=m&k=2");
        assert_eq!(body(r#""{\"text\": \"%(message)s\"}""#, Encoding::Form, "a\"b"), "{\"text\": \"a\"b\"}");
        assert_eq!(body(r#""%(message)5.2s|%(message)-5s|""#, Encoding::Form, "abc"), "   ab|abc  |");
    }

    #[test]
    fn what_python_raises_at_each_event_is_told_at_the_start() {
        for wrong in [
            r#""100% x""#,
            r#"{"a": ["%(msg)s"]}"#,
            r#""%s""#,
            r#""%(message)d""#,
            r#""%(message)"#,
            r#""%""#,
        ] {
            assert!(Data::new(wrong, Encoding::Json).is_err(), "{wrong}");
        }
        assert_eq!(
            Data::new(r#"{"a": "100% sure"}"#, Encoding::Json).unwrap_err(),
            "has a % in \"100% sure\" that is not %(message)s; a % that stays is written %%"
        );
        for wrong in ["5", "true", "[1]", r#"["ab"]"#, r#"{"a": [[["x"]]]}"#] {
            assert!(Data::new(wrong, Encoding::Form).is_err(), "{wrong}");
            assert!(Data::new(wrong, Encoding::Json).is_ok(), "{wrong}");
        }
        assert!(Data::new("{", Encoding::Json).unwrap_err().starts_with("is not JSON"));
    }

    #[test]
    fn params_become_a_query() {
        assert_eq!(
            query(r#"{"z": "a b", "a": [1, 2], "p": "%(message)s"}"#).unwrap(),
            "z=a+b&a=1&a=2&p=%25%28message%29s"
        );
        assert_eq!(query(r#""x=1&y""#).unwrap(), "x=1&y");
        assert!(query("7").is_err());
    }
}
