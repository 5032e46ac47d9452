//! Lines over TCP, TLS or a socket in the file system: what Logstash, Vector and Fluent Bit take as
//! `json_lines`, and OpenCanary's correlator on port 1514. OpenCanary's `SocketJSONHandler` becomes
//! this.
//!
//! There is no acknowledgement; what is done about that stands at `transport::sender`. One
//! connection at a time, so events arrive in order.

use std::time::Duration;

use serin_event::Record;
use serin_services::conf::{Complaint, Conf, wrong};
use serin_services::settings;

use super::encode::{self, Format};
use super::handlers::Reader;
use super::transport::sender::{self, Sender};
use super::transport::stream::Address;
use super::transport::tls;
use super::{Batch, Carries, Delivery, Item, Later, Output, OutputType, Passwords};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "tcp",
    about: "JSON lines over TCP, TLS or a local socket: Logstash, Vector, Fluent Bit, a correlator",
    keys: &[Settings::KEYS, encode::KEYS, tls::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Keep,
    batch: Batch { events: 256, bytes: 64 * 1024, linger: Duration::ZERO },
    build,
};

settings! { "tcp" {
    /// Where the receiver listens: a host, a host and a port (usually 1514), or the path of a stream
    /// socket.
    address: String = String::new();
    /// Whether to speak TLS.
    tls: bool = false;
    /// Whether what a broken connection took is sent again, since it may be lost. Receivers can get some
    /// lines twice.
    replay: bool = true;
} }

/// OpenCanary's lines over plain TCP; only that nothing is dropped. It ignores formatters.
pub(crate) fn from_handler(reader: &mut Reader<'_>) {
    reader.each_event();
    reader.formatter_counts = false;
    let host = match reader.take("host") {
        Some(serde_json::Value::String(host)) if !host.is_empty() => host.clone(),
        Some(other) => {
            reader.complain("host", wrong("a host", other));
            return;
        }
        None => {
            reader.complain("host", "is missing: the collector's host".to_owned());
            return;
        }
    };
    match reader.take("port").map(|it| (it, it.as_u64().and_then(|it| u16::try_from(it).ok()))) {
        Some((_, Some(port))) if port > 0 => {
            let text = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
            reader.conf.set("tcp.address", text);
        }
        Some((other, _)) => reader.complain("port", wrong("a port", other)),
        None => reader.complain("port", "is missing: the collector's port, usually 1514".to_owned()),
    }
}

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    const USUAL_PORT: u16 = 1514;
    let settings = Settings::read(conf)?;
    let complain = |text: &str| vec![Complaint { key: "tcp.address".to_owned(), text: text.to_owned() }];
    let address = Address::parse(&settings.address, USUAL_PORT).map_err(complain)?;
    let format = Format::of(conf)?;
    let tls = if settings.tls { Some(tls::config(conf)?) } else { None };
    let warning = tls.as_ref().and_then(|_| tls::warning(conf));
    let sender = Sender::new(address, tls, settings.replay);
    Ok(Box::new(Lines { format, sender, warning }))
}

#[derive(Debug)]
struct Lines {
    format: Format,
    sender: Sender,
    warning: Option<String>,
}

impl Output for Lines {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        let mut line = self.format.encode(record);
        line.push('\n');
        Some(line.into_bytes())
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        let lines = batch.iter().map(|it| it.body.clone()).collect();
        Box::pin(self.sender.send(lines))
    }

    fn reopen(&mut self) -> Later<'_, ()> {
        self.close()
    }

    fn close(&mut self) -> Later<'_, ()> {
        Box::pin(self.sender.close())
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    fn confirms(&self) -> &'static str {
        "written to the connection; TCP does not tell whether the receiver read it, so look for it there"
    }

    fn deadline(&self) -> Duration {
        sender::DEADLINE
    }
}
