//! GELF over its three transports, into receivers that put together what Graylog's inputs would.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use serin_tests::{Receiver, Reply, Sensor, Setup, certificates, eventually, free_port};

use super::faults::Front;
use super::{log_in, status};

fn sensor(settings: &Value) -> Sensor {
    let mut all = json!({ "type": "gelf", "hostname": "canary.example" });
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    Setup::of(&["ftp", "http"]).output("graylog", all).start()
}

/// A message as Graylog takes it: version, host and `short_message` must be there, and names of
/// additional fields must be what GELF 1.1 allows.
#[track_caller]
fn message(bytes: &[u8]) -> Value {
    let message: Value = serde_json::from_slice(bytes).expect("JSON");
    assert_eq!(message["version"], "1.1");
    assert_eq!(message["host"], "canary.example");
    assert!(!message["short_message"].as_str().unwrap().is_empty());
    assert!(message["timestamp"].as_f64().is_some_and(|it| it > 1.7e9));
    for (name, value) in message.as_object().unwrap() {
        let own = ["version", "host", "short_message", "timestamp", "level"].contains(&name.as_str());
        let fits = |it: char| it.is_ascii_alphanumeric() || "_-.".contains(it);
        assert!(own || name.starts_with('_') && name != "_id" && name.chars().all(fits), "{name}");
        assert!(value.is_string() || value.is_number(), "{name}: {value}");
    }
    message
}

/// Puts chunks together and unpacks, as Graylog's UDP input does.
#[derive(Default)]
struct Assembly {
    open: BTreeMap<Vec<u8>, BTreeMap<u8, Vec<u8>>>,
    /// Messages that came in more than one datagram.
    chunked: usize,
}

impl Assembly {
    fn take(&mut self, datagram: &[u8]) -> Option<Value> {
        let whole = if datagram.starts_with(&[0x1e, 0x0f]) {
            let (id, number, count) = (datagram[2..10].to_vec(), datagram[10], datagram[11]);
            assert!(number < count && count <= 128, "chunk {number} of {count}");
            let parts = self.open.entry(id.clone()).or_default();
            parts.insert(number, datagram[12..].to_vec());
            if parts.len() < usize::from(count) {
                return None;
            }
            self.chunked += 1;
            self.open.remove(&id)?.into_values().flatten().collect()
        } else {
            datagram.to_vec()
        };
        if whole.starts_with(&[0x1f, 0x8b]) {
            let mut text = Vec::new();
            GzDecoder::new(whole.as_slice()).read_to_end(&mut text).expect("gzip");
            return Some(message(&text));
        }
        Some(message(&whole))
    }
}

/// The names somebody tried on FTP, of all messages.
fn users(messages: &[Value]) -> Vec<&str> {
    let logins = messages.iter().filter(|it| it["_logtype"] == 2000);
    logins.map(|it| it["_logdata_USERNAME"].as_str().unwrap()).collect()
}

#[test]
fn udp_comes_whole_compressed_and_in_chunks() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let sensor = sensor(&json!({ "address": socket.local_addr().unwrap().to_string(), "chunk_size": 576 }));
    log_in(&sensor, 2);
    // A name of which gzip cannot make much.
    let numbers = (1..400_u64).map(|it| it.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ it);
    let noise = numbers.map(|it| it.to_string()).collect::<Vec<_>>().concat();
    let mut talk = serin_tests::Talk::to(sensor.port("http"));
    talk.say(format!("GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: {noise}\r\n\r\n"));
    talk.until("HTTP/1.1 ");
    let mut assembly = Assembly::default();
    let mut messages = Vec::new();
    while users(&messages).len() < 2 || !messages.iter().any(|it| it["_service"] == "http") {
        let mut datagram = vec![0; 65536];
        let (count, _) = socket.recv_from(&mut datagram).expect("a datagram in time");
        assert!(count <= 576, "{count} bytes");
        messages.extend(assembly.take(&datagram[..count]));
    }
    assert_eq!(users(&messages), ["user0", "user1"]);
    assert!(assembly.chunked > 0, "{messages:?}");
    let request = messages.iter().find(|it| it["_service"] == "http").unwrap();
    let agent = request["_logdata_USERAGENT"].as_str().unwrap();
    assert!(agent.len() > 1000 && noise.starts_with(agent), "{agent}");
}

#[test]
fn tcp_has_a_nul_after_each_message() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let sensor = sensor(&json!({ "address": address, "transport": "tcp" }));
    log_in(&sensor, 3);
    let (socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut messages = Vec::new();
    for part in BufReader::new(socket).split(0) {
        messages.push(message(&part.expect("a message in time")));
        if users(&messages).len() == 3 {
            break;
        }
    }
    assert_eq!(users(&messages), ["user0", "user1", "user2"]);
}

#[test]
fn http_counts_what_was_accepted_and_asks_again() {
    let receiver = Receiver::start(|_| Reply::new(503, "starting"));
    let sensor = sensor(&json!({ "address": receiver.url("/gelf") }));
    log_in(&sensor, 2);
    eventually("a refusal", || (status(&sensor, "graylog")["retried"].as_u64()? > 0).then_some(()));
    let refused = receiver.seen().len();
    receiver.answer(|_| Reply::new(202, ""));
    eventually("everything sent", || (status(&sensor, "graylog")["lag_events"] == 0).then_some(()));
    let accepted: Vec<Value> =
        receiver.seen().get(refused..).unwrap().iter().map(|it| message(it.text().as_bytes())).collect();
    assert_eq!(users(&accepted), ["user0", "user1"]);
}

#[test]
fn over_tls_only_to_a_receiver_that_proves_itself() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free_port();
    let _front = Front::start(folder.path(), port, listener.local_addr().unwrap().port(), "server");
    let address = format!("localhost:{port}");
    let stranger = sensor(&json!({ "address": address, "transport": "tls" }));
    log_in(&stranger, 1);
    eventually("the output to hold", || {
        let told = status(&stranger, "graylog");
        let why = told["last_error"].as_str()?;
        (told["state"] == "hold" && why.contains("certificate")).then_some(())
    });
    drop(stranger);
    let ca = folder.path().join("ca.pem").display().to_string();
    let sensor = sensor(&json!({ "address": address, "transport": "tls", "ca": ca }));
    log_in(&sensor, 3);
    // Each try of the stranger's was a connection, too; not one of them said anything.
    let mut messages = Vec::new();
    while users(&messages).len() < 3 {
        let (socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        for part in BufReader::new(socket).split(0) {
            messages.push(message(&part.expect("a message in time")));
            if users(&messages).len() == 3 {
                break;
            }
        }
    }
    assert_eq!(users(&messages), ["user0", "user1", "user2"]);
}
