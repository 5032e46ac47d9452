//! Python's own logging classes: streams and files.

use serde_json::Value;
use serin_services::conf::{Setting, wrong};

use super::reader::Reader;
use crate::outputs::rotation::{ClockTime, Every};

pub(super) fn stream(reader: &mut Reader<'_>) {
    reader.conf.set("console.form", "json");
    match reader.take("stream") {
        None | Some(Value::Null) => reader.conf.set("console.stream", "stderr"),
        Some(Value::String(text)) if text == "ext://sys.stdout" => {
            reader.conf.set("console.stream", "stdout");
        }
        Some(Value::String(text)) if text == "ext://sys.stderr" => {
            reader.conf.set("console.stream", "stderr");
        }
        Some(other) => reader.complain("stream", wrong("ext://sys.stdout or ext://sys.stderr", other)),
    }
}

pub(super) fn plain_file(reader: &mut Reader<'_>) {
    common_file(reader);
    reader.file_mode(true);
}

pub(super) fn rotating(reader: &mut Reader<'_>) {
    common_file(reader);
    let most: u32 = reader.number("maxBytes", 0);
    let keep: u32 = reader.number("backupCount", 0);
    // Python never rolls when it may keep nothing, and empties the file only when it never rolls.
    if keep > 0 {
        reader.conf.set("file.max_size", most);
        reader.conf.set("file.keep", keep);
    }
    reader.file_mode(most == 0);
}

pub(super) fn timed(reader: &mut Reader<'_>) {
    common_file(reader);
    match reader.take("when") {
        None => reader.conf.set("file.every", "H"),
        Some(value) => match value.as_str().map(str::to_ascii_uppercase).as_deref().and_then(Every::python) {
            Some(every) => reader.conf.set("file.every", every.show()),
            None => reader.complain("when", wrong("S, M, H, D, midnight or W0 to W6", value)),
        },
    }
    let interval = reader.number("interval", 1);
    if interval == 0 {
        reader.complain("interval", wrong("a whole number, 1 or more", &interval.into()));
    }
    reader.conf.set("file.interval", interval);
    let keep: u32 = reader.number("backupCount", 0);
    reader.conf.set("file.keep", keep);
    let utc: bool = reader.read("utc", false);
    reader.conf.set("file.utc", utc);
    match reader.take("atTime") {
        None | Some(Value::Null) => {}
        Some(value) => match ClockTime::read(value) {
            Ok(time) => reader.conf.set("file.at_time", time.show()),
            Err(()) => reader.complain("atTime", wrong(ClockTime::WANTS, value)),
        },
    }
}

fn common_file(reader: &mut Reader<'_>) {
    reader.conf.set("file.form", "json");
    match reader.take("filename") {
        Some(Value::String(path)) if !path.is_empty() => reader.conf.set("file.path", path.clone()),
        Some(other) => reader.complain("filename", wrong("the path of a file", other)),
        None => reader.complain("filename", "is missing: the path of the file".to_owned()),
    }
    // Lines are ASCII unless a format brings in more, so any encoding that agrees with ASCII does.
    match reader.take("encoding") {
        Some(Value::String(name)) if !like_ascii(name) => {
            reader.complain(
                "encoding",
                wrong("utf-8 or another name that begins with ASCII", &name[..].into()),
            );
        }
        Some(Value::String(_) | Value::Null) | None => {}
        Some(other) => reader.complain("encoding", wrong("a string", other)),
    }
    // What to do with characters that the encoding lacks: there are none.
    reader.take("errors");
    let delay: bool = reader.read("delay", false);
    reader.conf.set("file.delay", delay);
}

fn like_ascii(encoding: &str) -> bool {
    let name: String = encoding.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    ["utf8", "ascii", "usascii", "latin", "iso8859", "cp125", "windows125", "locale"]
        .iter()
        .any(|it| name.starts_with(it))
}
