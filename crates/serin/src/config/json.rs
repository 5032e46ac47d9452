//! Reads OpenCanary's JSON file: strict JSON, but kinder, and with a place for everything.
//!
//! Comments, trailing commas and a byte order mark are blanked out in place first, so that
//! `serde_json` sees strict JSON and every offset stays that of the file.

use serde_json::Value;

use super::entries::{Entries, Places};
use super::report::{Lines, Note};

/// Reads one JSON object.
///
/// # Errors
///
/// The first syntax error, with the likely cause.
pub(crate) fn read(text: &str) -> Result<Entries, Note> {
    let lines = Lines::new(text);
    let mut loose = Loose::new(text);
    loose.run();
    let whole = |place, text: String| Note { place, key: String::new(), text };
    let value: Value = match serde_json::from_slice(&loose.bytes) {
        Ok(value) => value,
        Err(error) => {
            let offset = offset_of(text, error.line(), error.column());
            return Err(whole(lines.place(offset), cause(&loose.bytes, offset, &error)));
        }
    };
    let Value::Object(map) = value else {
        return Err(whole(lines.place(0), "wants one JSON object, in { and }".to_owned()));
    };
    let mut entries = Entries::default();
    for (offset, remark) in loose.remarks {
        entries.notes.push(whole(lines.place(offset), remark.to_owned()));
    }
    let mut scan = Scan { text, bytes: &loose.bytes, at: 0, found: Vec::new() };
    scan.value("", 0);
    let found = std::mem::take(&mut scan.found);
    for Found { path, depth, key, value } in found {
        let places = Places { key: lines.place(key), value: lines.place(value) };
        let written = text.get(value..).unwrap_or_default();
        if let Some(word) = ["NaN", "Infinity", "-Infinity"].into_iter().find(|it| written.starts_with(it)) {
            entries.word(&path, word);
        }
        let twice = depth == 1 && entries.get(&path).is_some();
        if twice {
            let text = "is written twice; this one counts".to_owned();
            entries.notes.push(Note { place: places.key.clone(), key: path.clone(), text });
        }
        match map.get(&path) {
            Some(value) if depth == 1 => entries.set(&path, value.clone(), places),
            _ => entries.place(path, places),
        }
    }
    Ok(entries)
}

/// Byte offset of a line and column as `serde_json` counts them: from 1, columns in bytes.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    // Column 0 is the line break before the line.
    (start + column).saturating_sub(1).min(text.len())
}

/// What the likely mistake is, for a person.
fn cause(bytes: &[u8], offset: usize, error: &serde_json::Error) -> String {
    let before = bytes.get(..offset).unwrap_or_default().trim_ascii_end();
    let rest = bytes.get(offset..).unwrap_or_default();
    let at = rest.first().copied();
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    if error.is_eof() {
        return if message.contains("string") {
            "the file ends inside a string: a \" is missing".to_owned()
        } else {
            "the file ends too early: a } or ] is missing".to_owned()
        };
    }
    let ended = before.last().is_some_and(|it| matches!(it, b'"' | b'}' | b']' | b'e' | b'l' | b'0'..=b'9'));
    let begins = at.is_some_and(|it| matches!(it, b'"' | b'{' | b'['));
    if message.starts_with("expected `,`") && ended && begins {
        return "a comma is missing before this".to_owned();
    }
    if message.starts_with("expected `:`") {
        return "a colon is missing between key and value".to_owned();
    }
    if message.starts_with("control character") {
        return "a string must not go over the end of a line: a \" is missing, or write \\n".to_owned();
    }
    if message.starts_with("trailing characters") {
        return "something follows the closing }".to_owned();
    }
    if at == Some(b'\'') {
        return "strings stand in \", not in '".to_owned();
    }
    if rest.starts_with(b"True") || rest.starts_with(b"False") || rest.starts_with(b"None") {
        return "JSON spells these true, false and null".to_owned();
    }
    if message.starts_with("key must be a string") {
        return "a key must stand in \"".to_owned();
    }
    if message.starts_with("invalid escape") {
        return "a backslash in a string is written \\\\".to_owned();
    }
    format!("not JSON: {message}")
}

/// Blanks out what is not strict JSON but clear enough.
struct Loose {
    bytes: Vec<u8>,
    remarks: Vec<(usize, &'static str)>,
}

impl Loose {
    fn new(text: &str) -> Self {
        Self { bytes: text.as_bytes().to_vec(), remarks: Vec::new() }
    }

    fn run(&mut self) {
        if self.bytes.starts_with("\u{feff}".as_bytes()) {
            self.blank(0, 3);
            self.remark(0, "starts with a byte order mark, which OpenCanary refuses; read without it");
        }
        let mut at = 0;
        while let Some(&byte) = self.bytes.get(at) {
            at = match byte {
                b'"' => end_of_string(&self.bytes, at),
                b'#' | b'/' => self.comment(at),
                b'N' | b'I' => self.not_a_number(at),
                _ => at + 1,
            };
        }
        self.trailing_commas();
    }

    /// Blanks out a comment that begins at `at`; where there is none, steps over the byte.
    fn comment(&mut self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let length = if rest.starts_with(b"#") || rest.starts_with(b"//") {
            rest.iter().position(|it| *it == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            match rest.windows(2).skip(2).position(|it| it == b"*/") {
                Some(inside) => inside + 4,
                None => return at + 1,
            }
        } else {
            return at + 1;
        };
        self.blank(at, length);
        self.remark(at, "comments are not JSON, and OpenCanary refuses them; read without them");
        at + length
    }

    /// Python reads these as numbers. No setting can use one.
    fn not_a_number(&mut self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let Some(word) = [b"NaN".as_slice(), b"Infinity"].into_iter().find(|it| rest.starts_with(it)) else {
            return at + 1;
        };
        let length = word.len();
        self.blank(at, length);
        if let Some(byte) = self.bytes.get_mut(at) {
            *byte = b'0';
        }
        self.remark(at, "NaN and Infinity are no use as a setting; read as 0");
        at + length
    }

    /// After the comments are gone: a comma with nothing between it and the closing bracket.
    fn trailing_commas(&mut self) {
        let mut at = 0;
        let mut comma = None;
        while let Some(&byte) = self.bytes.get(at) {
            match byte {
                b'"' => {
                    comma = None;
                    at = end_of_string(&self.bytes, at);
                    continue;
                }
                b',' => comma = Some(at),
                b'}' | b']' => {
                    if let Some(comma) = comma.take() {
                        self.blank(comma, 1);
                        self.remark(comma, "a comma before a closing bracket is not JSON; read without it");
                    }
                }
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ => comma = None,
            }
            at += 1;
        }
    }

    fn blank(&mut self, at: usize, length: usize) {
        for byte in self.bytes.iter_mut().skip(at).take(length).filter(|it| **it != b'\n') {
            *byte = b' ';
        }
    }

    /// Says each thing once, where it came first.
    fn remark(&mut self, at: usize, text: &'static str) {
        if !self.remarks.iter().any(|it| it.1 == text) {
            self.remarks.push((at, text));
        }
    }
}

/// The offset behind the string that begins at `at`.
fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(&byte) = bytes.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    at.min(bytes.len())
}

/// A key and where it stands.
struct Found {
    path: String,
    depth: usize,
    key: usize,
    value: usize,
}

/// Walks JSON that is known to be well-formed, and not deeper than `serde_json` goes (128).
struct Scan<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    found: Vec<Found>,
}

impl Scan<'_> {
    fn blanks(&mut self) {
        while self.bytes.get(self.at).is_some_and(|it| it.is_ascii_whitespace() || matches!(it, b',' | b':'))
        {
            self.at += 1;
        }
    }

    fn value(&mut self, path: &str, depth: usize) {
        self.blanks();
        match self.bytes.get(self.at) {
            Some(b'{') => self.members(path, depth, b'}'),
            Some(b'[') => self.members(path, depth, b']'),
            Some(b'"') => self.at = end_of_string(self.bytes, self.at),
            _ => {
                let ends = |it: &u8| it.is_ascii_whitespace() || matches!(it, b',' | b'}' | b']');
                while self.bytes.get(self.at).is_some_and(|it| !ends(it)) {
                    self.at += 1;
                }
            }
        }
    }

    fn members(&mut self, path: &str, depth: usize, end: u8) {
        self.at += 1;
        let mut index = 0;
        loop {
            self.blanks();
            match self.bytes.get(self.at) {
                None => return,
                Some(byte) if *byte == end => {
                    self.at += 1;
                    return;
                }
                _ => {}
            }
            let key = self.at;
            let name = if end == b']' {
                index += 1;
                (index - 1).to_string()
            } else {
                self.at = end_of_string(self.bytes, key);
                let raw = self.text.get(key..self.at).unwrap_or_default();
                serde_json::from_str(raw).unwrap_or_default()
            };
            self.blanks();
            let path = if path.is_empty() { name } else { format!("{path}.{name}") };
            self.found.push(Found { path: path.clone(), depth: depth + 1, key, value: self.at });
            self.value(&path, depth + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::report::Place;
    use super::*;

    fn complaint(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    fn notes(text: &str) -> Vec<String> {
        read(text).unwrap().notes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn keys_and_values_have_places() {
        let text = "{\n  \"ftp.port\": 21,\n  \"logger\": {\"kwargs\": {\"a\": [1, {\"x\": 2}]}}\n}";
        let entries = read(text).unwrap();
        assert_eq!(entries.get("ftp.port"), Some(&json!(21)));
        let places = entries.find("ftp.port").unwrap();
        assert_eq!(
            (&places.key, &places.value),
            (&Place::At { line: 2, column: 3 }, &Place::At { line: 2, column: 15 })
        );
        assert_eq!(entries.find("logger.kwargs.a.1.x").unwrap().value, Place::At { line: 3, column: 40 });
        let around = &entries.find("logger.kwargs.a.7.y").unwrap().key;
        assert_eq!(around, &Place::At { line: 3, column: 25 });
    }

    #[test]
    fn members_keep_the_order_of_the_file() {
        let text = r#"{"x": {"zebra": 1, "ant": [{"b": "é", "a": null}], "m.n": {"2": true, "1": 1.5}}}"#;
        let entries = read(text).unwrap();
        assert_eq!(
            entries.in_order("x", entries.get("x").unwrap()),
            r#"{"zebra":1,"ant":[{"b":"é","a":null}],"m.n":{"2":true,"1":1.5}}"#
        );
    }

    #[test]
    fn a_syntax_error_names_the_likely_mistake() {
        let complaints = [
            "{\"a\": 1\n \"b\": 2}",
            "{\"a\": \"x\n\"}",
            "{\"a\": \"x",
            "{\"a\": [1",
            "{\"a\" 1}",
            "{'a': 1}",
            "{\"a\": 'b'}",
            "{\"a\": True}",
            "{a: 1}",
            "{\"a\": \"C:\\x\"}",
            "{\"a\": 1}}",
            "{\"a\": wrong}",
            "[1]",
        ]
        .map(complaint);
        assert_eq!(
            complaints,
            [
                "2:2  a comma is missing before this",
                "1:9  a string must not go over the end of a line: a \" is missing, or write \\n",
                "1:8  the file ends inside a string: a \" is missing",
                "1:8  the file ends too early: a } or ] is missing",
                "1:6  a colon is missing between key and value",
                "1:2  strings stand in \", not in '",
                "1:7  strings stand in \", not in '",
                "1:7  JSON spells these true, false and null",
                "1:2  a key must stand in \"",
                "1:11  a backslash in a string is written \\\\",
                "1:9  something follows the closing }",
                "1:7  not JSON: expected value",
                "1:1  wants one JSON object, in { and }",
            ]
        );
    }

    #[test]
    fn what_is_clear_enough_is_read_with_a_note() {
        let text =
            "\u{feff}{ // one\n \"a\": [1, 2,], # two\n /* three */ \"b\": \"//#,}\", \"c\": -Infinity,\n}";
        let entries = read(text).unwrap();
        let values: Vec<_> = entries.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        assert_eq!(values, [("a", json!([1, 2])), ("b", json!("//#,}")), ("c", json!(-0.0))]);
        assert_eq!(
            notes(text),
            [
                "1:1  starts with a byte order mark, which OpenCanary refuses; read without it",
                "1:3  comments are not JSON, and OpenCanary refuses them; read without them",
                "3:34  NaN and Infinity are no use as a setting; read as 0",
                "2:12  a comma before a closing bracket is not JSON; read without it",
            ]
        );
    }

    #[test]
    fn of_two_equal_keys_the_last_counts() {
        let text = "{\"a\": 1, \"b\": 0, \"\\u0061\": 2}";
        assert_eq!(read(text).unwrap().get("a"), Some(&json!(2)));
        assert_eq!(notes(text), ["1:18  a: is written twice; this one counts"]);
    }
}
