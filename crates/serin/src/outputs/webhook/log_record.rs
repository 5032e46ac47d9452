//! What Python's `logging.handlers.HTTPHandler` sends: its `LogRecord`, attribute by attribute, as a
//! form. It neither formats nor filters. <https://docs.python.org/3/library/logging.handlers.html#httphandler>

use serde_json::Value;
use serin_event::Timestamp;
use serin_services::conf::wrong;

use super::printf::quote_plus;
use crate::outputs::handlers::Reader;

/// Every event, as Python sends it.
pub(crate) fn from_handler(reader: &mut Reader<'_>) {
    reader.each_event();
    reader.formatter_counts = false;
    reader.conf.set("webhook.layout", "logrecord");
    let secure: bool = reader.read("secure", false);
    let text = |it: Option<&Value>| it.and_then(Value::as_str).map(str::to_owned);
    let given = reader.take("host");
    let host = text(given).filter(|it| !it.is_empty() && !it.contains(['/', '@', '?', '#']));
    if host.is_none() {
        let found = given.unwrap_or(&Value::Null);
        reader.complain("host", wrong("a host, or HOST:PORT", found));
    }
    let given = reader.take("url");
    let path = text(given).filter(|it| it.starts_with('/'));
    if path.is_none() {
        let found = given.unwrap_or(&Value::Null);
        reader.complain("url", wrong("the path of a page, such as /log", found));
    }
    if let (Some(host), Some(path)) = (host, path) {
        let scheme = if secure { "https" } else { "http" };
        reader.conf.set("webhook.url", format!("{scheme}://{host}{path}"));
    }
    match reader.take("method").map(|it| it.as_str().map(str::to_ascii_uppercase)) {
        None => reader.conf.set("webhook.method", "GET"),
        Some(Some(method)) if matches!(&method[..], "GET" | "POST") => {
            reader.conf.set("webhook.method", method);
        }
        Some(_) => reader.complain("method", "wants GET or POST".to_owned()),
    }
    // JSON has no tuples, which is what Python wants, so it never worked; what is meant is clear.
    match reader.take("credentials") {
        None | Some(Value::Null) => {}
        Some(given) => match given.as_array().map(Vec::as_slice) {
            Some([Value::String(user), Value::String(password)]) => {
                reader.conf.set("webhook.user", user.clone());
                reader.conf.set("webhook.password", password.clone());
            }
            // Not shown: one of them is a password.
            _ => reader.complain("credentials", "wants a list of a user and a password".to_owned()),
        },
    }
    if reader.take("context").is_some_and(|it| !it.is_null()) {
        reader.complain("context", "cannot be given in a file; use ca, certificate and key".to_owned());
    }
}

/// The attributes of a record in Python's order, as a form. `message` is there because OpenCanary's other
/// handlers format the same record before; what speaks of Python's source names no line.
pub(super) fn form(name: &str, message: &str, time: Timestamp, process: u32, started: Timestamp) -> String {
    let micros = time.0;
    let process = process.to_string();
    let created = float(micros, 6);
    let msecs = float(micros.rem_euclid(1_000_000).div_euclid(1000), 0);
    let relative = float(micros.saturating_sub(started.0), 3);
    let attributes = [
        ("name", name),
        ("msg", message),
        ("args", "()"),
        ("levelname", "WARNING"),
        ("levelno", "30"),
        ("pathname", "opencanary/logger.py"),
        ("filename", "logger.py"),
        ("module", "logger"),
        ("exc_info", "None"),
        ("exc_text", "None"),
        ("stack_info", "None"),
        ("lineno", "0"),
        ("funcName", "log"),
        ("created", &created),
        ("msecs", &msecs),
        ("relativeCreated", &relative),
        // On Linux the first thread's number is the process's.
        ("thread", &process),
        ("threadName", "MainThread"),
        ("processName", "MainProcess"),
        ("process", &process),
        ("message", message),
    ];
    let mut form = String::with_capacity(message.len() * 3 + 512);
    for (name, value) in attributes {
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(name);
        form.push('=');
        quote_plus(&mut form, value);
    }
    form
}

/// A number without its last `places` digits, which stand behind the point: as Python shows a float.
fn float(number: i64, places: u32) -> String {
    let unit = 10_i64.pow(places);
    let sign = if number < 0 { "-" } else { "" };
    let (whole, rest) =
        (number.unsigned_abs() / unit.unsigned_abs(), number.unsigned_abs() % unit.unsigned_abs());
    let digits = format!("{rest:0width$}", width = usize::try_from(places).unwrap_or(0));
    let digits = digits.trim_end_matches('0');
    format!("{sign}{whole}.{}", if digits.is_empty() { "0" } else { digits })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by `log_record_golden.py` beside it, with Python's own handler.
    const GOLDEN: &str = include_str!("log_record.golden");

    #[test]
    fn the_form_is_what_python_makes_of_a_record() {
        let line = "{\"dst_port\": 21, \"logdata\": {\"PASSWORD\": \"100% \\u00e9&=+~/\"}, \"x\": \"\u{e9} \u{20ac}\"}";
        let started = Timestamp(1_795_296_990_757_389);
        let form = form("opencanary-1", line, Timestamp(1_795_296_991_007_389), 4711, started);
        assert_eq!(form, GOLDEN.trim_end());
    }

    #[test]
    fn numbers_look_like_pythons() {
        for (number, places, text) in [
            (1_795_296_991_000_000, 6, "1795296991.0"),
            (1_795_296_991_500_000, 6, "1795296991.5"),
            (7, 0, "7.0"),
            (-1500, 3, "-1.5"),
            (i64::MIN, 3, "-9223372036854775.808"),
        ] {
            assert_eq!(float(number, places), text);
        }
    }
}
