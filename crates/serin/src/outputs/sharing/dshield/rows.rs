//! Which row of DShield's an event becomes.
//!
//! Only types whose schema a client of ISC's produces. ISC throws away silently what does not fit a
//! schema, so each row has all keys of its type.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use serin_event::Record;

use crate::outputs::sharing::own::{self, Own};
use crate::outputs::sharing::policy::{TCP, UDP, protocol};

/// A type of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// User names and passwords.
    Cowrie,
    /// Web requests.
    Webhoneypot,
    /// Connections and packets.
    Firewall,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Cowrie, Self::Webhoneypot, Self::Firewall];

    /// As ISC calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cowrie => "cowrie",
            Self::Webhoneypot => "webhoneypot",
            Self::Firewall => "firewall",
        }
    }

    /// Most rows of one post.
    pub(super) fn rows_max(self) -> usize {
        if self == Self::Firewall { 1000 } else { 100 }
    }
}

/// One row, complete but for the address of the host that was visited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) kind: Kind,
    /// Whom it was done to, as recorded; not yet fit to be told.
    pub(super) target: Option<IpAddr>,
    pub(super) members: Map<String, Value>,
}

/// Longer texts are cut.
const CREDENTIAL_MAX: usize = 256;
pub(super) const LINE_MAX: usize = 1024;
const DATA_MAX: usize = 16 * 1024;

/// Which types an event may have rows of, one each; none: DShield has no type for it.
pub(super) fn kinds(record: &Record) -> &'static [Kind] {
    match record.kind.logtype {
        4002 | 6001 => &[Kind::Cowrie, Kind::Firewall],
        3000..=3003 => &[Kind::Webhoneypot, Kind::Firewall],
        // What the sensor says of itself, opened files, whoever answers for a name, incidents, and kinds
        // of the operator's own.
        0..=1999 | 5000 | 19001 | 22000..=22999 | 99000.. => &[],
        _ => &[Kind::Firewall],
    }
}

/// Whether it is a packet that was seen, and not a conversation.
pub(super) fn is_packet(record: &Record) -> bool {
    (5001..=5005).contains(&record.kind.logtype)
}

/// The event as a row.
///
/// # Errors
///
/// What it lacks, in words.
pub(super) fn row(record: &Record, source: IpAddr, kind: Kind) -> Result<Row, &'static str> {
    let fields: Value = serde_json::from_str(&record.logdata).unwrap_or_default();
    let details: Value = serde_json::from_str(&record.details).unwrap_or_default();
    let (row, target) = match kind {
        Kind::Cowrie => (cowrie(record, source, &fields, &details)?, None),
        Kind::Webhoneypot => (webhoneypot(record, source, &fields, &details), target(record)?),
        Kind::Firewall => (firewall(record, source, &fields)?, target(record)?),
    };
    let Value::Object(members) = row else { return Err("no row") };
    Ok(Row { kind, target, members })
}

fn target(record: &Record) -> Result<Option<IpAddr>, &'static str> {
    record.target.host.map(Some).ok_or("destination unknown")
}

fn seconds(record: &Record) -> i64 {
    record.time.0.div_euclid(1_000_000)
}

fn cowrie(record: &Record, source: IpAddr, fields: &Value, details: &Value) -> Result<Value, &'static str> {
    let credential = |name: &str| fields.get(name).and_then(Value::as_str).map(|it| cut(it, CREDENTIAL_MAX));
    Ok(json!({
        "timestamp": seconds(record),
        "source_ip": source.to_string(),
        "user": credential("USERNAME").ok_or("no user name and password")?,
        "password": credential("PASSWORD").ok_or("no user name and password")?,
        "lastcommand": "",
        "hassh": text(details, "HASSH", LINE_MAX),
        "banner": text(fields, "REMOTEVERSION", LINE_MAX),
    }))
}

fn webhoneypot(record: &Record, source: IpAddr, fields: &Value, details: &Value) -> Value {
    let method = match text(details, "METHOD", LINE_MAX) {
        it if !it.is_empty() => it,
        _ => text(fields, "REQUEST_TYPE", LINE_MAX),
    };
    let path = decoded(&text(fields, "PATH", LINE_MAX));
    let query = text(details, "QUERY", LINE_MAX);
    let url = if query.is_empty() { path } else { format!("{path}?{}", decoded(&query)) };
    json!({
        "time": seconds(record),
        "headers": headers(details),
        "sip": source.to_string(),
        "dip": "",
        "method": if method.is_empty() { "GET".to_owned() } else { method },
        "url": url,
        "useragent": text(fields, "USERAGENT", LINE_MAX),
        "data": text(details, "BODY", DATA_MAX),
        "version": "HTTP/1.1",
    })
}

/// Header names and values; of several with one name the last.
fn headers(details: &Value) -> Map<String, Value> {
    let lines = details.get("HEADERS").and_then(Value::as_array).into_iter().flatten();
    let pairs = lines.filter_map(|it| it.as_str()?.split_once(':'));
    pairs.map(|(name, value)| (cut(name.trim(), LINE_MAX), cut(value.trim(), LINE_MAX).into())).collect()
}

/// Takes our addresses and names out of what a visitor wrote: a proxy in front of the sensor names hosts
/// of ours in its headers, whoever came through it does, and `Host` says where the visitor found us. In
/// a browser's name addresses stay: its version may look like one. Credentials lose what the operator
/// listed.
pub(super) fn conceal(row: &mut Row, own: &Own, hidden: &dyn Fn(IpAddr) -> bool) {
    let headers = row.members.get("headers").and_then(Value::as_object).into_iter().flatten();
    let hosts = headers.filter(|it| it.0.eq_ignore_ascii_case("host")).filter_map(|it| it.1.as_str());
    let host: Vec<IpAddr> = hosts.flat_map(own::named).collect();
    let target = row.target;
    let hidden = |it: IpAddr| hidden(it) || host.contains(&it) || target == Some(it);
    for (name, value) in &mut row.members {
        match (name.as_str(), value) {
            ("url" | "data" | "lastcommand", Value::String(text)) => *text = own.clean(text, &hidden),
            ("useragent" | "banner", Value::String(text)) => *text = own.clean(text, &|_| false),
            ("user" | "password", Value::String(text)) => *text = own.clean_credential(text),
            ("headers", Value::Object(headers)) => {
                for (name, value) in headers {
                    let Value::String(text) = value else { continue };
                    let browser = name.eq_ignore_ascii_case("user-agent");
                    *text = own.clean(text, if browser { &|_| false } else { &hidden });
                }
            }
            _ => {}
        }
    }
}

fn firewall(record: &Record, source: IpAddr, fields: &Value) -> Result<Value, &'static str> {
    let proto = protocol(record);
    if proto != TCP && proto != UDP {
        return Err("neither TCP nor UDP");
    }
    let (Some(sport), Some(dport)) = (record.source.port, record.target.port) else {
        return Err("port unknown");
    };
    let flags = match () {
        () if proto != TCP => String::new(),
        () if is_packet(record) => flags(fields),
        // A conversation began with one.
        () => "S".to_owned(),
    };
    Ok(json!({
        "time": seconds(record),
        "sip": source.to_string(),
        "dip": "",
        "proto": proto,
        "sport": sport.to_string(),
        "dport": dport.to_string(),
        "flags": flags,
        "version": if source.is_ipv4() { 4 } else { 6 },
    }))
}

/// TCP flags in ISC's order. A packet log names those that were set.
fn flags(fields: &Value) -> String {
    const ORDER: [(&str, char); 8] = [
        ("CWR", '1'),
        ("ECE", '2'),
        ("URG", 'U'),
        ("ACK", 'A'),
        ("PSH", 'P'),
        ("RST", 'R'),
        ("SYN", 'S'),
        ("FIN", 'F'),
    ];
    ORDER.iter().filter(|it| fields.get(it.0).is_some()).map(|it| it.1).collect()
}

fn text(fields: &Value, name: &str, most: usize) -> String {
    fields.get(name).and_then(Value::as_str).map(|it| cut(it, most)).unwrap_or_default()
}

/// At most so many bytes, marked where something is missing.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|it| text.is_char_boundary(*it)).unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// Percent-decoded; what is no UTF-8 then is replaced.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let byte = match tail {
            [high, low, after @ ..] if *first == b'%' => hex(*high).zip(hex(*low)).map(|it| (it, after)),
            _ => None,
        };
        if let Some(((high, low), after)) = byte {
            bytes.push(high << 4 | low);
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok())
}

#[cfg(test)]
mod tests {
    use serin_event::{Endpoint, Event, Tainted, Timestamp, kinds};

    use super::*;

    fn record(event: &Event) -> Record {
        Record {
            source: Endpoint { host: "203.0.113.7".parse().ok(), port: Some(42350) },
            target: Endpoint { host: "198.51.100.9".parse().ok(), port: Some(22) },
            ..Record::of(event, Timestamp(1_795_296_991_777_389), 0, "node")
        }
    }

    fn made(event: &Event) -> Row {
        let record = record(event);
        row(&record, record.source.host.unwrap(), kinds(&record)[0]).unwrap()
    }

    #[test]
    fn a_login_has_all_seven_keys() {
        let event = Event::new(&kinds::SSH_LOGIN)
            .with("USERNAME", "root")
            .with("PASSWORD", "123456")
            .with("REMOTEVERSION", "SSH-2.0-Go")
            .with("HASSH", "0a07365cc01fa9fc82608ba4019af499");
        assert_eq!(
            Value::Object(made(&event).members),
            json!({
                "timestamp": 1_795_296_991, "source_ip": "203.0.113.7", "user": "root", "password": "123456",
                "lastcommand": "", "hassh": "0a07365cc01fa9fc82608ba4019af499", "banner": "SSH-2.0-Go",
            })
        );
        let telnet = Event::new(&kinds::TELNET_LOGIN).with("USERNAME", "").with("PASSWORD", "x");
        let row = made(&telnet).members;
        assert_eq!(row.len(), 7);
        assert_eq!((&row["user"], &row["hassh"], &row["banner"]), (&json!(""), &json!(""), &json!("")));
    }

    #[test]
    fn a_web_request_keeps_its_headers_and_body() {
        let event = Event::new(&kinds::HTTP_LOGIN)
            .with("PATH", "/cgi-bin/%2e%2e/login")
            .with("USERAGENT", "curl/8.5")
            .with("METHOD", "POST")
            .with("QUERY", "a=%20b")
            .with("BODY", "user=root&password=x")
            .with(
                "HEADERS",
                serin_event::Value::List(vec!["Host: 198.51.100.9".into(), "User-Agent: curl/8.5".into()]),
            );
        let row = made(&event);
        assert_eq!((row.kind, row.target), (Kind::Webhoneypot, "198.51.100.9".parse().ok()));
        assert_eq!(
            Value::Object(row.members),
            json!({
                "time": 1_795_296_991, "sip": "203.0.113.7", "dip": "", "method": "POST",
                "url": "/cgi-bin/../login?a= b", "useragent": "curl/8.5", "data": "user=root&password=x",
                "version": "HTTP/1.1", "headers": { "Host": "198.51.100.9", "User-Agent": "curl/8.5" },
            })
        );
    }

    #[test]
    fn what_a_visitor_wrote_names_no_host_of_ours() {
        let event = Event::new(&kinds::HTTP_LOGIN)
            .with("PATH", "/?to=http://10.0.0.5:8080/a")
            .with("USERAGENT", "Mozilla/5.0 Chrome/127.0.0.0")
            .with("BODY", "std::face 192.168.1.1. at 12:30:45, v1.2.3.4.5, 203.0.113.7")
            .with(
                "HEADERS",
                serin_event::Value::List(vec![
                    "Host: 172.16.3.4:8443".into(),
                    "X-Forwarded-For: 203.0.113.7, 10.1.2.3, [fd00::12]:80".into(),
                    "User-Agent: Mozilla/5.0 Chrome/127.0.0.0".into(),
                ]),
            );
        let mut row = made(&event);
        conceal(&mut row, &Own::default(), &|it| it.to_string() != "203.0.113.7");
        let members = Value::Object(row.members);
        assert_eq!(members["url"], "/?to=http://…/a");
        assert_eq!(members["data"], "std::face … at 12:30:45, v1.2.3.4.5, 203.0.113.7");
        assert_eq!(
            members["headers"],
            json!({
                "Host": "…",
                "X-Forwarded-For": "203.0.113.7, …, […]:80",
                "User-Agent": "Mozilla/5.0 Chrome/127.0.0.0",
            })
        );
    }

    #[test]
    fn where_a_visitor_found_us_and_whom_he_knows_stays_with_us() {
        let event = Event::new(&kinds::HTTP_LOGIN)
            .with("PATH", "/?u=http%3A%2F%2F198.51.100%2E77/~jsmith")
            .with("USERAGENT", "corp.example scanner 198.51.100.77")
            .with("BODY", "to=198%252E51.100.9&from=203.0.113.7")
            .with(
                "HEADERS",
                serin_event::Value::List(vec![
                    "hOST: 198.51.100.77:8080".into(),
                    "Referer: https://www.corp.example/".into(),
                ]),
            );
        let own = Own::new(&["corp.example".to_owned(), "jsmith".to_owned()]);
        let mut row = made(&event);
        conceal(&mut row, &own, &|_| false);
        let members = Value::Object(row.members);
        assert_eq!(members["url"], "/?u=http://…/~…");
        assert_eq!(members["useragent"], "… scanner 198.51.100.77");
        assert_eq!(members["data"], "to=…&from=203.0.113.7");
        assert_eq!(members["headers"], json!({ "hOST": "…", "Referer": "https://www.…/" }));
        let login =
            Event::new(&kinds::SSH_LOGIN).with("USERNAME", "jsmith").with("PASSWORD", "corp.example1");
        let mut row = made(&login);
        conceal(&mut row, &own, &|_| false);
        assert_eq!((&row.members["user"], &row.members["password"]), (&json!("…"), &json!("corp.example1")));
    }

    #[test]
    fn a_packet_has_its_flags_and_a_conversation_a_syn() {
        let scan = Event::new(&kinds::PORTSCAN_NMAP_XMAS)
            .with("PROTO", "TCP")
            .with("URG", "")
            .with("PSH", "")
            .with("FIN", "")
            .with("URGP", "0");
        assert_eq!(
            Value::Object(made(&scan).members),
            json!({
                "time": 1_795_296_991, "sip": "203.0.113.7", "dip": "", "proto": 6, "sport": "42350",
                "dport": "22", "flags": "UPF", "version": 4,
            })
        );
        assert_eq!(made(&Event::new(&kinds::PORTSCAN_NMAP_NULL)).members["flags"], "");
        assert_eq!(made(&Event::new(&kinds::FTP_LOGIN)).members["flags"], "S");
        let udp = made(&Event::new(&kinds::SNMP_REQUEST)).members;
        assert_eq!((&udp["flags"], &udp["proto"]), (&json!(""), &json!(17)));
    }

    #[test]
    fn what_dshield_has_no_row_for_is_left_out() {
        for event in [
            &kinds::BOOT,
            &kinds::PING,
            &kinds::SMB_FILE_OPEN,
            &kinds::LLMNR_RESPONSE,
            &kinds::INCIDENT_HIGH,
            &kinds::USER_0,
        ] {
            assert_eq!(kinds(&record(&Event::new(event))), [], "{}", event.name);
        }
        let icmp = record(&Event::new(&kinds::PORTSCAN_SYN).with("PROTO", "ICMP"));
        assert!(row(&icmp, icmp.source.host.unwrap(), Kind::Firewall).is_err());
        let nameless = record(&Event::new(&kinds::SSH_LOGIN).with("USERNAME", "root"));
        assert!(row(&nameless, nameless.source.host.unwrap(), Kind::Cowrie).is_err());
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let event = Event::new(&kinds::TELNET_LOGIN)
            .with("USERNAME", Tainted::new("ä".repeat(200).as_bytes(), 1000))
            .with("PASSWORD", "x");
        let row = made(&event).members;
        assert_eq!(row["user"].as_str().unwrap(), format!("{}…", "ä".repeat(128)));
        assert_eq!(decoded("%zz%4"), "%zz%4");
    }
}
