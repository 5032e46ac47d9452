//! ISC's submit API as a double: it recomputes the credentials, wants each nonce once, and throws away
//! silently what is no row of the type, as the real one does; but it counts that.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serin_tests::{Receiver, Reply, Request};

pub(crate) const USERID: u32 = 12345;
pub(crate) const APIKEY: &str = "kqX7rV2b+9dTz/w0Lm==";
pub(crate) const EMAIL: &str = "me@example.com";
/// From where it sees the sensor come.
pub(crate) const PUBLIC: &str = "192.88.99.77";
/// What the sensor must keep between two posts.
const FLOOR: Duration = Duration::from_mins(1);

/// One accepted post.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) kind: String,
    pub(crate) rows: Vec<Value>,
}

#[derive(Debug, Default)]
struct Ledger {
    posts: Vec<Post>,
    nonces: HashSet<String>,
    /// Rows that fit no schema.
    discarded: Vec<Value>,
    /// Posts with wrong credentials or envelopes, and why.
    refused: Vec<String>,
    /// Answered instead, one for each post.
    faults: VecDeque<Reply>,
}

/// The double.
pub(crate) struct Isc {
    receiver: Receiver,
    ledger: Arc<Mutex<Ledger>>,
}

impl Isc {
    /// Answers the first posts with these faults.
    pub(crate) fn start(faults: impl IntoIterator<Item = Reply>) -> Self {
        let ledger = Ledger { faults: faults.into_iter().collect(), ..Ledger::default() };
        let ledger = Arc::new(Mutex::new(ledger));
        let serving = ledger.clone();
        let receiver = Receiver::start(move |request| answer(request, &mut serving.lock().unwrap()));
        Self { receiver, ledger }
    }

    pub(crate) fn url(&self) -> String {
        self.receiver.url("/submitapi/")
    }

    pub(crate) fn check_url(&self) -> String {
        self.receiver.url("/api/checkapikey")
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.ledger.lock().unwrap().posts.clone()
    }

    pub(crate) fn refused(&self) -> Vec<String> {
        self.ledger.lock().unwrap().refused.clone()
    }

    /// How often it was asked for an address.
    pub(crate) fn asked_for_address(&self) -> usize {
        self.receiver.seen().iter().filter(|it| it.path.starts_with("/api/myip")).count()
    }

    /// Requests, whatever became of them.
    pub(crate) fn requests(&self) -> usize {
        self.receiver.seen().len()
    }

    /// Rows by source address.
    pub(crate) fn sources(&self) -> BTreeMap<String, usize> {
        let mut sources = BTreeMap::new();
        for row in self.posts().iter().flat_map(|it| &it.rows) {
            *sources.entry(text(row, &["source_ip", "sip"])).or_default() += 1;
        }
        sources
    }

    /// Nothing was thrown away, no address or key left that must not, and nothing came too fast.
    #[track_caller]
    pub(crate) fn assert_manners(&self) {
        let seen = self.receiver.seen();
        let posts: Vec<_> = seen.iter().filter(|it| it.method == "POST").collect();
        assert!(posts.windows(2).all(|it| it[1].at.duration_since(it[0].at) >= FLOOR), "posts too close");
        self.assert_contents();
    }

    /// The same, where a test pretends that time went by.
    #[track_caller]
    pub(crate) fn assert_contents(&self) {
        for request in &self.receiver.seen() {
            let all = format!("{} {:?} {}", request.path, request.headers, request.text());
            assert!(!all.contains(APIKEY), "the key left: {all}");
        }
        let ledger = self.ledger.lock().unwrap();
        assert_eq!(ledger.discarded, Vec::<Value>::new(), "rows that fit no schema");
        for row in ledger.posts.iter().flat_map(|it| &it.rows) {
            for name in ["source_ip", "sip", "dip"] {
                let Some(address) = row.get(name).and_then(Value::as_str) else { continue };
                assert!(is_public(address), "{name} {address} left: {row}");
            }
        }
    }
}

/// By rules of its own, not by those under test.
fn is_public(address: &str) -> bool {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(it)) => {
            !(it.is_private()
                || it.is_loopback()
                || it.is_link_local()
                || it.is_unspecified()
                || it.is_multicast()
                || it.is_broadcast()
                || it.is_documentation())
        }
        Ok(IpAddr::V6(it)) => {
            !(it.is_loopback() || it.is_unique_local() || it.is_unicast_link_local() || it.is_multicast())
        }
        Err(_) => false,
    }
}

fn answer(request: &Request, ledger: &mut Ledger) -> Reply {
    if request.method == "GET" {
        return asked(request);
    }
    if let Some(fault) = ledger.faults.pop_front() {
        return fault;
    }
    if request.path != "/submitapi/" {
        return Reply::new(200, "<!DOCTYPE html><title>SANS ISC</title>").header("Content-Type", "text/html");
    }
    match accepted(request, ledger) {
        Ok(post) => {
            let (rows, discarded) = post.rows.into_iter().partition(|it| fits(&post.kind, it));
            ledger.discarded.extend::<Vec<Value>>(discarded);
            ledger.posts.push(Post { kind: post.kind, rows });
            Reply::new(200, format!("OK {} Bytes received\n", request.body.len()))
        }
        Err(why) => {
            ledger.refused.push(why.clone());
            Reply::new(200, format!("ERROR: {why}\n"))
        }
    }
}

/// The post, where header, credentials and envelope are as they must be.
fn accepted(request: &Request, ledger: &mut Ledger) -> Result<Post, String> {
    let header = request.header("x-isc-authorization");
    let words: Vec<&str> = header.split(' ').collect();
    let [scheme, credentials, userid, nonce] = words[..] else { return Err("no authinfo".to_owned()) };
    let value = |word: &str, name: &str| word.strip_prefix(name).map(str::to_owned).ok_or("no authinfo");
    let credentials = value(credentials, "Credentials=")?;
    let (userid, nonce) = (value(userid, "Userid=")?, value(nonce, "Nonce=")?);
    if scheme != "ISC-HMAC-SHA256" || userid != USERID.to_string() {
        return Err("no such user".to_owned());
    }
    let fresh = STANDARD.decode(&nonce).is_ok_and(|it| it.len() == 8) && ledger.nonces.insert(nonce.clone());
    let key = hmac::Key::new(hmac::HMAC_SHA256, format!("{nonce}{userid}").as_bytes());
    let given = STANDARD.decode(credentials).map_err(|_| "credentials are no base64")?;
    if !fresh || hmac::verify(&key, APIKEY.as_bytes(), &given).is_err() {
        return Err("credentials do not match".to_owned());
    }
    let body: Value = serde_json::from_slice(&request.body).map_err(|it| it.to_string())?;
    let members = body.as_object().ok_or("no object")?;
    let names: Vec<_> = members.keys().map(String::as_str).collect();
    if names != ["authheader", "logs", "type"] || body["authheader"] != header {
        return Err("no authinfo".to_owned());
    }
    let kind = body["type"].as_str().unwrap_or_default().to_owned();
    if request.header("content-type") != "application/json" || request.header("x-isc-logtype") != kind {
        return Err("wrong headers".to_owned());
    }
    if !request.header("user-agent").starts_with("Serin/") {
        return Err("no user agent".to_owned());
    }
    let rows = body["logs"].as_array().cloned().ok_or("no logs")?;
    if ["cowrie", "webhoneypot", "firewall"].contains(&kind.as_str()) {
        Ok(Post { kind, rows })
    } else {
        Err(format!("type {kind}"))
    }
}

/// Whether a row has exactly the keys of its type, of their JSON types.
fn fits(kind: &str, row: &Value) -> bool {
    let Some(members) = row.as_object() else { return false };
    let wanted: &[(&str, char)] = match kind {
        "cowrie" => &[
            ("timestamp", 'n'),
            ("source_ip", 's'),
            ("user", 's'),
            ("password", 's'),
            ("lastcommand", 's'),
            ("hassh", 's'),
            ("banner", 's'),
        ],
        "webhoneypot" => &[
            ("time", 'n'),
            ("headers", 'o'),
            ("sip", 's'),
            ("dip", 's'),
            ("method", 's'),
            ("url", 's'),
            ("useragent", 's'),
            ("data", 's'),
            ("version", 's'),
        ],
        _ => &[
            ("time", 'n'),
            ("sip", 's'),
            ("dip", 's'),
            ("proto", 'n'),
            ("sport", 's'),
            ("dport", 's'),
            ("flags", 's'),
            ("version", 'n'),
        ],
    };
    let typed = |value: &Value, kind: char| match kind {
        'n' => value.is_u64(),
        'o' => value.as_object().is_some_and(|it| it.values().all(Value::is_string)),
        _ => value.is_string(),
    };
    members.len() == wanted.len()
        && wanted.iter().all(|(name, kind)| members.get(*name).is_some_and(|it| typed(it, *kind)))
}

/// The sensor's public address, and the account check.
fn asked(request: &Request) -> Reply {
    if request.path == "/api/myip?json" {
        return Reply::new(200, format!("{{\"ip\":\"{PUBLIC}\"}}"));
    }
    let parts: Vec<&str> = request.path.split('/').collect();
    let ["", "api", "checkapikey", email, nonce, hash, _version, piid] = parts[..] else {
        return Reply::new(404, "");
    };
    let key = hmac::Key::new(hmac::HMAC_SHA512, nonce.as_bytes());
    let right = hmac::sign(&key, format!("{EMAIL}:{APIKEY}").as_bytes());
    let right = right.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    if email != "me%40example.com" || nonce.len() != 20 || hash != right || piid.len() != 20 {
        return Reply::new(200, "<apikey><result>bad</result></apikey>");
    }
    Reply::new(
        200,
        format!(
            "<?xml version=\"1.0\"?><apikey><result>ok</result><id>{USERID}</id><lastssh>2026-11-22 07:00:00</lastssh>\
             <last404></last404></apikey>"
        ),
    )
}

fn text(row: &Value, names: &[&str]) -> String {
    names.iter().find_map(|it| row.get(*it)?.as_str()).unwrap_or_default().to_owned()
}

/// Unused time since; kept here so that tests need not know the floor.
pub(crate) fn within_floor(since: Instant) -> bool {
    since.elapsed() < FLOOR
}
