//! GELF 1.1, Graylog's format: over UDP in chunks, over TCP or TLS with a NUL byte after each, over
//! HTTP.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Url;
use serde_json::{Map, Value, json};
use serin_event::{Record, python_json};
use serin_services::conf::{Complaint, Conf};
use serin_services::{choices, settings};
use tokio::time::Instant;

use super::shorten::fit;
use super::transport::datagrams::{self, Datagrams};
use super::transport::http::{self, Http, Request};
use super::transport::sender::{self, Sender};
use super::transport::stream::Address;
use super::transport::tls;
use super::{Batch, Carries, Delivery, Item, Later, Outcome, Output, OutputType, Passwords, event_id};
use crate::outputs::syslog::message::severity;

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "gelf",
    about: "Graylog, or whatever takes GELF, over UDP, TCP, TLS or HTTP",
    keys: &[Settings::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Keep,
    batch: Batch { events: 128, bytes: 256 * 1024, linger: Duration::ZERO },
    build,
};

choices! {
    /// What messages travel over.
    Transport { Udp = "udp", Tcp = "tcp", Tls = "tls" } wants "udp, tcp or tls"
}

settings! { "gelf" {
    /// Where the receiver listens: a host, a host and a port (usually 12201), or for HTTP an address
    /// such as https://graylog.example:12201/gelf.
    address: String = String::new();
    /// What messages travel over when the address is not one of HTTP: udp, tcp or tls.
    transport: Transport = Transport::Udp;
    /// The most bytes of one datagram; larger messages are sent in chunks of this size.
    chunk_size: u32 = 1420;
    /// The host in messages; empty takes the sensor's name (`device.node_id`).
    hostname: String = String::new();
    /// Whether what a broken connection took is sent again over tcp and tls, since it may be lost.
    /// Receivers can get some messages twice.
    replay: bool = true;
} }

/// Bytes of one message before compression. In larger ones the longest texts are shortened.
const SIZE_MAX: usize = 64 * 1024;
/// What begins a chunk.
const MAGIC: [u8; 2] = [0x1e, 0x0f];
/// Magic, id, number and count.
const CHUNK_HEAD: usize = 12;
/// Most chunks of one message.
const CHUNKS_MAX: usize = 128;
/// No new request of a batch begins after this time; the rest of the batch comes again at once.
const REQUESTS: Duration = Duration::from_secs(10);

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    const USUAL_PORT: u16 = 12201;
    let settings = Settings::read(conf)?;
    let complain =
        |key: &str, text: &str| vec![Complaint { key: format!("gelf.{key}"), text: text.to_owned() }];
    let chunk = usize::try_from(settings.chunk_size).unwrap_or(0);
    if !(576..=8192).contains(&chunk) {
        return Err(complain("chunk_size", "wants 576 to 8192"));
    }
    let mut warning = None;
    let route = if settings.address.contains("://") {
        let url = http::url("gelf.address", &settings.address).map_err(|it| vec![it])?;
        warning = tls::warning(conf).filter(|_| url.scheme() == "https");
        Route::Http(Http::new(conf)?, url)
    } else {
        let address = Address::parse(&settings.address, USUAL_PORT);
        let Ok(address @ Address::Tcp(..)) = address else {
            return Err(complain("address", "wants HOST:PORT, HOST or an address of HTTP"));
        };
        match settings.transport {
            Transport::Udp => Route::Udp(Datagrams::new(address), chunk),
            Transport::Tcp => Route::Stream(Sender::new(address, None, settings.replay)),
            Transport::Tls => {
                warning = tls::warning(conf);
                Route::Stream(Sender::new(address, Some(tls::config(conf)?), settings.replay))
            }
        }
    };
    Ok(Box::new(Gelf { hostname: settings.hostname, route, warning, shortened: AtomicU64::new(0) }))
}

#[derive(Debug)]
struct Gelf {
    hostname: String,
    route: Route,
    warning: Option<String>,
    /// How many events lack something that did not fit.
    shortened: AtomicU64,
}

#[derive(Debug)]
enum Route {
    Udp(Datagrams, usize),
    Stream(Sender),
    Http(Http, Url),
}

impl Output for Gelf {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        let (body, cut) = fit(record, SIZE_MAX, |it| message(it, &self.hostname).into_bytes());
        self.shortened.fetch_add(u64::from(cut), Ordering::Relaxed);
        Some(body)
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        match &mut self.route {
            Route::Stream(sender) => {
                let frames = batch.iter().map(|it| [it.body.as_slice(), b"\0"].concat()).collect();
                Box::pin(sender.send(frames))
            }
            Route::Udp(datagrams, chunk) => Box::pin(over_udp(datagrams, *chunk, batch)),
            Route::Http(http, url) => Box::pin(over_http(http, url, batch)),
        }
    }

    fn receipt(&self) -> Option<String> {
        let count = self.shortened.load(Ordering::Relaxed);
        (count > 0).then(|| format!("{count} messages were shortened to {SIZE_MAX} bytes"))
    }

    fn reopen(&mut self) -> Later<'_, ()> {
        self.close()
    }

    fn close(&mut self) -> Later<'_, ()> {
        Box::pin(async {
            match &mut self.route {
                Route::Udp(datagrams, _) => datagrams.reopen(),
                Route::Stream(sender) => sender.close().await,
                Route::Http(..) => {}
            }
        })
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    fn confirms(&self) -> &'static str {
        match self.route {
            Route::Udp(..) => {
                "sent as datagrams; GELF over UDP confirms nothing, so look for it at the receiver"
            }
            Route::Stream(_) => {
                "written to the connection; GELF over TCP confirms nothing, so look for it at the receiver"
            }
            Route::Http(..) => "accepted by the receiver",
        }
    }

    fn deadline(&self) -> Duration {
        match &self.route {
            Route::Udp(..) => datagrams::DEADLINE,
            Route::Stream(_) => sender::DEADLINE,
            Route::Http(http, _) => http.deadline() + REQUESTS,
        }
    }
}

async fn over_udp(datagrams: &mut Datagrams, size: usize, batch: &[Item]) -> Delivery {
    let mut outcomes = Vec::with_capacity(batch.len());
    for item in batch {
        let outcome = match chunks(&item.body, &item.event_id(), size) {
            None => Outcome::Reject(format!("more than {CHUNKS_MAX} chunks of {size} bytes")),
            Some(chunks) => match datagrams.send(&chunks).await {
                Ok(Delivery::Each(parts)) => {
                    parts.into_iter().find(|it| *it != Outcome::Delivered).unwrap_or(Outcome::Delivered)
                }
                Ok(Delivery::Whole(outcome)) => outcome,
                Err(_) => Outcome::Hold("the address is not one of UDP".to_owned()),
            },
        };
        let failed = matches!(outcome, Outcome::Retry { .. } | Outcome::Hold(_));
        outcomes.push(outcome.clone());
        if failed {
            outcomes.resize(batch.len(), outcome);
            break;
        }
    }
    Delivery::Each(outcomes)
}

async fn over_http(http: &Http, url: &Url, batch: &[Item]) -> Delivery {
    let until = Instant::now() + REQUESTS;
    let mut outcomes = Vec::with_capacity(batch.len());
    for item in batch {
        if Instant::now() > until {
            outcomes.resize(batch.len(), Outcome::Wait(Duration::ZERO));
            break;
        }
        let request = Request::post(url.clone(), "application/json", item.body.clone());
        let outcome = match http.send(request).await {
            Ok(answer) => answer.outcome(),
            Err(outcome) => outcome,
        };
        let failed = matches!(outcome, Outcome::Retry { .. } | Outcome::Hold(_));
        outcomes.push(outcome.clone());
        if failed {
            outcomes.resize(batch.len(), outcome);
            break;
        }
    }
    Delivery::Each(outcomes)
}

/// One message: GELF's own fields, ours, and every member of `logdata`.
fn message(record: &Record, hostname: &str) -> String {
    let host = if hostname.is_empty() { &*record.node_id } else { hostname };
    let mut fields = Map::new();
    let logdata: Value = serde_json::from_str(&record.logdata).unwrap_or_default();
    for (name, value) in logdata.as_object().into_iter().flatten() {
        // Letters, digits, underscores, hyphens and dots are all that a name may have.
        let fits = |it: char| it.is_ascii_alphanumeric() || "_-.".contains(it);
        let name: String = name.chars().map(|it| if fits(it) { it } else { '_' }).collect();
        let value = match value {
            Value::String(_) | Value::Number(_) => value.clone(),
            other => json!(python_json(other)),
        };
        fields.insert(format!("_logdata_{name}"), value);
    }
    let micros = record.time.0;
    let (seconds, fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let time = format!("{seconds}.{fraction:06}").parse::<serde_json::Number>();
    for (name, value) in [
        ("version", json!("1.1")),
        ("host", json!(host)),
        ("short_message", json!(record.sentence())),
        ("timestamp", time.map_or(Value::Null, Value::Number)),
        ("level", json!(severity(record))),
        ("_event_id", json!(event_id(record))),
        ("_node_id", json!(&*record.node_id)),
        ("_logtype", json!(record.kind.logtype)),
        ("_kind", json!(record.kind.name)),
        ("_service", json!(record.kind.service)),
        ("_severity", json!(record.severity().name())),
        ("_src_host", text(&record.source.host_text())),
        ("_src_port", record.source.port.map_or(Value::Null, |it| json!(it))),
        ("_dst_host", text(&record.target.host_text())),
        ("_dst_port", record.target.port.map_or(Value::Null, |it| json!(it))),
        ("_selftest", if record.is_selftest() { json!("true") } else { Value::Null }),
    ] {
        if !value.is_null() {
            fields.insert(name.to_owned(), value);
        }
    }
    python_json(&fields.into())
}

fn text(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

/// The datagrams of one message, compressed where it would need more than one; `None`: too many.
fn chunks(message: &[u8], id: &str, size: usize) -> Option<Vec<Vec<u8>>> {
    if message.len() <= size {
        return Some(vec![message.to_vec()]);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(message).ok()?;
    let body = encoder.finish().ok()?;
    if body.len() <= size {
        return Some(vec![body]);
    }
    // The same for every delivery, so that chunks of two of them fit together.
    let hash = digest::digest(&digest::SHA256, id.as_bytes());
    let id = hash.as_ref().get(..8).unwrap_or_default();
    let pieces: Vec<&[u8]> = body.chunks(size.saturating_sub(CHUNK_HEAD).max(1)).collect();
    let count = u8::try_from(pieces.len()).ok().filter(|it| usize::from(*it) <= CHUNKS_MAX)?;
    let chunk = |(number, piece): (u8, &&[u8])| [&MAGIC, id, &[number, count], piece].concat();
    Some((0..count).zip(&pieces).map(chunk).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use serin_event::{Endpoint, Event, Tainted, Timestamp, kinds};

    use super::*;

    #[test]
    fn a_message_has_gelfs_fields_and_ours() {
        let event = Event::new(&kinds::FTP_LOGIN)
            .with("USERNAME", Tainted::new(b"admin", 64))
            .with("PASSWORD", Tainted::new(b"a\nb", 64));
        let record = Record {
            seq: 7,
            source: Endpoint { host: "192.0.2.7".parse().ok(), port: Some(42350) },
            target: Endpoint { host: "10.0.0.9".parse().ok(), port: Some(21) },
            ..Record::of(&event, Timestamp(1_795_296_991_077_389), 0, "node")
        };
        assert_eq!(
            message(&record, ""),
            r#"{"_dst_host": "10.0.0.9", "_dst_port": 21, "_event_id": "node-7", "_kind": "ftp.login", "_logdata_PASSWORD": "a\nb", "_logdata_USERNAME": "admin", "_logtype": 2000, "_node_id": "node", "_service": "ftp", "_severity": "high", "_src_host": "192.0.2.7", "_src_port": 42350, "host": "node", "level": 4, "short_message": "192.0.2.7 tried to log in to FTP as admin", "timestamp": 1795296991.077389, "version": "1.1"}"#
        );
    }

    #[test]
    fn large_messages_come_in_chunks_that_fit_together() {
        assert_eq!(chunks(b"small", "n-1", 576), Some(vec![b"small".to_vec()]));
        let flat = vec![b'x'; 10_000];
        assert_eq!(chunks(&flat, "n-1", 576).unwrap().len(), 1);
        // Hardly to be compressed.
        let noise: Vec<u8> =
            (0..2000_u32).flat_map(|it| it.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let parts = chunks(&noise, "n-1", 576).unwrap();
        assert!(parts.len() > 2 && parts.iter().all(|it| it.len() <= 576));
        let mut body = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            assert_eq!((&part[..2], &part[2..10]), (&MAGIC[..], &parts[0][2..10]));
            assert_eq!((usize::from(part[10]), usize::from(part[11])), (number, parts.len()));
            body.extend_from_slice(&part[CHUNK_HEAD..]);
        }
        let mut message = Vec::new();
        GzDecoder::new(body.as_slice()).read_to_end(&mut message).unwrap();
        assert_eq!(message, noise);
        let noise: Vec<u8> = (0..80_000_u32)
            .flat_map(|it| it.wrapping_mul(it).wrapping_mul(2_654_435_761).rotate_left(it % 32).to_be_bytes())
            .collect();
        assert_eq!(chunks(&noise, "n-1", 576), None);
    }
}
