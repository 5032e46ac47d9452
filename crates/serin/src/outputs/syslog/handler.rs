//! Python's `logging.handlers.SysLogHandler`.

use serde_json::Value;
use serin_services::conf::{Setting as _, wrong};

use super::message::Facility;
use crate::outputs::handlers::Reader;

/// Everything as OpenCanary sends it; only that a receiver that is down stops nothing.
pub(crate) fn from_handler(reader: &mut Reader<'_>) {
    reader.each_event();
    reader.format_key = "template";
    reader.conf.set("syslog.protocol", "opencanary");
    let stream = match reader.take("socktype") {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) if text == "ext://socket.SOCK_DGRAM" => false,
        Some(Value::String(text)) if text == "ext://socket.SOCK_STREAM" => true,
        Some(other) => {
            const WANTS: &str = "ext://socket.SOCK_DGRAM or ext://socket.SOCK_STREAM";
            reader.complain("socktype", wrong(WANTS, other));
            false
        }
    };
    reader.conf.set("syslog.transport", if stream { "tcp" } else { "udp" });
    address(reader);
    facility(reader);
    // Seconds that Python waits for a connection, since 3.14: nothing waits here.
    reader.take("timeout");
}

fn address(reader: &mut Reader<'_>) {
    const WANTS: &str = "a list of host and port, or the path of a socket";
    match reader.take("address") {
        None => reader.conf.set("syslog.address", "localhost:514"),
        Some(Value::String(path)) if path.starts_with('/') => {
            reader.conf.set("syslog.address", path.clone());
            reader.conf.set("syslog.transport", "unix");
        }
        Some(value) => match pair(value) {
            Some(text) => reader.conf.set("syslog.address", text),
            None => reader.complain("address", wrong(WANTS, value)),
        },
    }
}

/// `["log.example", 514]` as one text.
fn pair(value: &Value) -> Option<String> {
    let [host, port] = value.as_array()?.as_slice() else { return None };
    let port = u16::try_from(port.as_u64()?).ok().filter(|it| *it > 0)?;
    match host.as_str()? {
        "" => None,
        host if host.contains(':') => Some(format!("[{host}]:{port}")),
        host => Some(format!("{host}:{port}")),
    }
}

/// A name of Python's, or its number.
fn facility(reader: &mut Reader<'_>) {
    let Some(value) = reader.take("facility") else {
        reader.conf.set("message.facility", "user");
        return;
    };
    let by_number = || {
        let names = Facility::schema();
        names.get("enum")?.get(usize::try_from(value.as_u64()?).ok()?).cloned()
    };
    match by_number().or_else(|| Facility::read(value).ok().map(|it| it.show())) {
        Some(name) => reader.conf.set("message.facility", name),
        None => reader.complain("facility", wrong(Facility::WANTS, value)),
    }
}
