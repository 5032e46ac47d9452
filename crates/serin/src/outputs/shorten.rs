//! Events that are too large for a receiver: the longest texts in them are shortened, never the
//! encoded form, which would be of no use to anybody.

use serde_json::Value;
use serin_event::{Record, python_json, quoted};

/// A text keeps at least so many characters.
const KEPT: usize = 16;
/// Texts are shortened and members left out so often; an event that is still too large then stays so.
const ROUNDS: usize = 256;

/// One event in at most `most` bytes, and whether something was left out for that. Where even that
/// does not help, it is longer.
pub(super) fn fit(record: &Record, most: usize, encode: impl Fn(&Record) -> Vec<u8>) -> (Vec<u8>, bool) {
    let mut body = encode(record);
    if body.len() <= most {
        return (body, false);
    }
    let read = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    let mut parts = vec![read(&record.logdata)];
    let mut short = Record { details: "{}".into(), ..record.clone() };
    // Most forms leave the details out anyway.
    if encode(&short).len() < body.len() {
        parts.push(read(&record.details));
    }
    for _ in 0..ROUNDS {
        let excess = body.len().saturating_sub(most);
        if excess == 0 || !(shorten(&mut parts, excess) || leave_out(&mut parts)) {
            break;
        }
        let mut parts = parts.iter().map(python_json);
        short.logdata = parts.next().unwrap_or_default().into();
        short.details = parts.next().unwrap_or_else(|| "{}".to_owned()).into();
        body = encode(&short);
    }
    (body, true)
}

/// Takes so many bytes out of the longest text. `false`: all texts are short.
fn shorten(parts: &mut [Value], excess: usize) -> bool {
    let longest = parts.iter().map(longest).max().unwrap_or(0);
    let mark = |left: usize| format!("...[{left} more]");
    let Some(text) = parts.iter_mut().find_map(|it| find(it, longest)) else { return false };
    let (kept, before) = split_mark(text);
    let target = longest.saturating_sub(excess.saturating_add(mark(longest).len()));
    let (mut end, mut size) = (0, 0);
    for (count, (at, character)) in kept.char_indices().enumerate() {
        end = at;
        size += weight(character.encode_utf8(&mut [0; 4]));
        if size > target && count >= KEPT {
            break;
        }
        end = at + character.len_utf8();
    }
    let (head, tail) = kept.split_at_checked(end).unwrap_or((kept, ""));
    let shortened = format!("{head}{}", mark(tail.chars().count().saturating_add(before)));
    if weight(&shortened) >= longest {
        return false;
    }
    *text = shortened;
    true
}

/// A text that was shortened before, without the mark, and how many characters it lacks.
fn split_mark(text: &str) -> (&str, usize) {
    let marked = || {
        let (kept, mark) = text.rsplit_once("...[")?;
        Some((kept, mark.strip_suffix(" more]")?.parse().ok()?))
    };
    marked().unwrap_or((text, 0))
}

/// Leaves out the member that takes most room. `false`: there is none.
fn leave_out(parts: &mut [Value]) -> bool {
    let size = |members: &Value| {
        members.as_object().map_or(0, |it| if it.is_empty() { 0 } else { python_json(members).len() })
    };
    let Some(Value::Object(members)) = parts.iter_mut().max_by_key(|it| size(it)) else { return false };
    let Some(name) =
        members.iter().max_by_key(|it| it.0.len() + python_json(it.1).len()).map(|it| it.0.clone())
    else {
        return false;
    };
    members.remove(&name).is_some()
}

/// Bytes that the longest text takes as JSON.
fn longest(value: &Value) -> usize {
    match value {
        Value::String(text) => weight(text),
        Value::Array(values) => values.iter().map(longest).max().unwrap_or(0),
        Value::Object(members) => members.values().map(longest).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// A text of this length.
fn find(value: &mut Value, length: usize) -> Option<&mut String> {
    match value {
        Value::String(text) => (weight(text) == length).then_some(text),
        Value::Array(values) => values.iter_mut().find_map(|it| find(it, length)),
        Value::Object(members) => members.values_mut().find_map(|it| find(it, length)),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn weight(text: &str) -> usize {
    quoted(text).len().saturating_sub(2)
}

#[cfg(test)]
mod tests {
    use serin_event::{Event, Tainted, Timestamp, kinds};

    use super::*;

    fn login(user: &[u8], password: &[u8]) -> Record {
        let event = Event::new(&kinds::FTP_LOGIN)
            .with("USERNAME", Tainted::new(user, 4096))
            .with("PASSWORD", Tainted::new(password, 4096));
        Record::of(&event, Timestamp(1_795_296_991_777_389), 0, "node")
    }

    fn line(record: &Record) -> Vec<u8> {
        record.line().into_bytes()
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let record = login(b"admin", b"s3cret");
        let size = record.line().len();
        assert_eq!(fit(&record, size, line), (line(&record), false));
    }

    #[test]
    fn the_longest_text_is_shortened_and_says_so() {
        let record = login(b"admin", &[b'x'; 1000]);
        let (body, cut) = fit(&record, 600, line);
        let read: Value = serde_json::from_slice(&body).unwrap();
        let password = read["logdata"]["PASSWORD"].as_str().unwrap();
        let (kept, missing) = split_mark(password);
        assert!(cut && body.len() <= 600 && body.len() > 560, "{}", body.len());
        assert_eq!((kept.len() + missing, kept.trim_matches('x')), (1000, ""));
        assert_eq!(read["logdata"]["USERNAME"], "admin");
    }

    #[test]
    fn whatever_a_peer_sends_it_fits_and_stays_json() {
        let hostile = "\u{1f600}\"\\\u{0}".repeat(500);
        let mark = "...[77 more]".repeat(100);
        for (user, password) in [(hostile.as_str(), mark.as_str()), (&mark, &hostile), (&mark, &mark)] {
            let record = login(user.as_bytes(), password.as_bytes());
            for most in [400, 512, 777, 1024, 4000] {
                let (body, _) = fit(&record, most, line);
                assert!(body.len() <= most, "{} > {most}", body.len());
                serde_json::from_slice::<Value>(&body).unwrap();
            }
        }
    }

    #[test]
    fn nothing_is_left_to_leave_out_in_the_end() {
        let record = login(b"admin", b"s3cret");
        let (body, cut) = fit(&record, 10, line);
        assert!(cut && String::from_utf8(body).unwrap().contains("\"logdata\": {}"));
    }
}
