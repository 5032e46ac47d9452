//! JSON text as OpenCanary writes it: ASCII only, and one blank after a comma or a colon.
//!
//! `serde_json` cannot be told to escape everything above 0x7E, which consumers of the log rely
//! on, so the few lines that differ are here.

use std::fmt::Write as _;

/// Appends `text` as a JSON string without its quotes: `"` and `\` escaped, short forms where JSON
/// has them, and every other control character, 0x7F and everything above as `\uXXXX`.
pub fn escape_into(out: &mut String, text: &str) {
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\' {
            continue;
        }
        // A byte inside a longer character: its first byte has dealt with it.
        if !text.is_char_boundary(at) {
            continue;
        }
        out.push_str(text.get(plain..at).unwrap_or_default());
        let rest = text.get(at..).unwrap_or_default();
        let Some(character) = rest.chars().next() else { break };
        escape_char(out, character);
        plain = at + character.len_utf8();
    }
    out.push_str(text.get(plain..).unwrap_or_default());
}

/// A JSON value in OpenCanary's form: members sorted, `", "` and `": "` between, ASCII only.
#[must_use]
pub fn python_json(value: &serde_json::Value) -> String {
    let mut out = String::with_capacity(128);
    python_json_into(&mut out, value);
    out
}

fn python_json_into(out: &mut String, value: &serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::String(text) => {
            out.push('"');
            escape_into(out, text);
            out.push('"');
        }
        Value::Array(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                python_json_into(out, value);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|it| it.0);
            out.push('{');
            for (at, (name, value)) in members.into_iter().enumerate() {
                out.push_str(if at == 0 { "\"" } else { ", \"" });
                escape_into(out, name);
                out.push_str("\": ");
                python_json_into(out, value);
            }
            out.push('}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
    }
}

fn escape_char(out: &mut String, character: char) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
}

/// `text` as a JSON string with its quotes.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    escape_into(&mut out, text);
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_as_opencanary_does() {
        assert_eq!(quoted("\u{2028}\u{7f}/\u{1f600}"), r#""\u2028\u007f/\ud83d\ude00""#);
        assert_eq!(quoted("a\"b\\c\u{8}\u{c}\n\r\t\u{0}\u{1f}"), r#""a\"b\\c\b\f\n\r\t\u0000\u001f""#);
        assert_eq!(quoted("p&wéx"), r#""p&w\u00e9x""#);
        assert_eq!(quoted(""), r#""""#);
    }

    #[test]
    fn what_is_written_reads_back() {
        let every: String =
            (0..0x2100).filter_map(char::from_u32).chain(['\u{1f600}', '\u{10ffff}']).collect();
        assert_eq!(serde_json::from_str::<String>(&quoted(&every)).unwrap(), every);
        assert!(quoted(&every).is_ascii());
    }
}
