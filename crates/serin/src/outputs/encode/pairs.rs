//! CEF and LEEF: a header, then pairs of names and values.

use serin_event::{Record, Severity};

use super::ecs;
use super::event_id;
use super::facts::{Facts, mac};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Common Event Format, version 0. Names: ArcSight's extension dictionary.
pub(super) fn cef(record: &Record) -> String {
    let facts = Facts::new(record);
    let name = cef_header(record.kind.name);
    let severity = severity(record.severity());
    let mut text = format!("CEF:0|Serin|Serin|{VERSION}|{}|{name}|{severity}|", record.kind.logtype);
    for (at, (name, value)) in cef_pairs(&facts).into_iter().enumerate() {
        text.push_str(if at == 0 { "" } else { " " });
        text.extend([name, "=", &cef_value(&value)]);
    }
    text
}

fn cef_pairs(facts: &Facts<'_>) -> Vec<(&'static str, String)> {
    let record = facts.record;
    let mut pairs = Vec::new();
    let mut pair = |name, value: Option<String>| pairs.extend(value.map(|it| (name, it)));
    let port = |port: Option<u16>| port.map(|it| it.to_string());
    let millis = record.time.0 / 1000;
    pair("rt", Some(millis.to_string()));
    pair("dvchost", Some(record.node_id.to_string()));
    pair("externalId", Some(event_id(record)));
    // `src` and `dst` hold IPv4 only; IPv6 has fields with labels.
    for (end, four, six, label, text) in [
        (record.source, "src", "c6a2", "c6a2Label", "Source IPv6 Address"),
        (record.target, "dst", "c6a3", "c6a3Label", "Destination IPv6 Address"),
    ] {
        if let Some(host) = end.host {
            pair(if host.is_ipv4() { four } else { six }, Some(host.to_string()));
            pair(label, host.is_ipv6().then(|| text.to_owned()));
        }
    }
    pair("spt", port(record.source.port));
    pair("dpt", port(record.target.port));
    pair("shost", facts.about_source("name"));
    pair("smac", source_mac(facts));
    pair("proto", facts.transport().map(str::to_ascii_uppercase));
    pair("app", Some(facts.service()).filter(|it| !it.is_empty()));
    pair("cat", Some(record.intent().name().to_owned()));
    let mapping = ecs::mapping(record.kind);
    pair("act", Some(ecs::action(facts, &mapping)));
    pair("outcome", ecs::outcome(facts, &mapping).map(str::to_owned));
    pair("duser", facts.user());
    pair("requestMethod", facts.http_method());
    pair("request", facts.text("URL").or_else(|| facts.text("PATH")));
    pair("requestClientApplication", facts.text("USERAGENT"));
    pair("fname", facts.text("FILENAME"));
    pair("msg", Some(record.sentence()));
    let custom = [
        ("cs1", "cs1Label", "password", facts.password()),
        ("cs2", "cs2Label", "command", command(facts)),
        ("cs3", "cs3Label", "rule", rule(facts)),
        ("cs4", "cs4Label", "labels", Some(facts.tags().join(",")).filter(|it| !it.is_empty())),
        ("cs5", "cs5Label", "honeycred", record.honeycred.map(|it| it.to_string())),
        ("cs6", "cs6Label", "client", facts.text("HASSH").or_else(|| facts.text("JA4"))),
    ];
    for (name, label, text, value) in custom {
        if value.is_some() {
            pair(label, Some(text.to_owned()));
        }
        pair(name, value);
    }
    pairs
}

/// Log Event Extended Format 2.0, with `^` between the pairs. Names: IBM's predefined attributes.
pub(super) fn leef(record: &Record) -> String {
    let facts = Facts::new(record);
    let mut text = format!("LEEF:2.0|Serin|Serin|{VERSION}|{}|^|", record.kind.name);
    for (at, (name, value)) in leef_pairs(&facts).into_iter().enumerate() {
        text.push_str(if at == 0 { "" } else { "^" });
        text.extend([name, "=", &leef_value(&value)]);
    }
    text
}

fn leef_pairs(facts: &Facts<'_>) -> Vec<(&'static str, String)> {
    let record = facts.record;
    let mut pairs = Vec::new();
    let mut pair = |name, value: Option<String>| pairs.extend(value.map(|it| (name, it)));
    let port = |port: Option<u16>| port.map(|it| it.to_string());
    let millis = record.time.0 / 1000;
    pair("devTime", Some(millis.to_string()));
    pair("sev", Some(severity(record.severity()).to_string()));
    pair("cat", Some(record.intent().name().to_owned()));
    pair("src", record.source.host.map(|it| it.to_string()));
    pair("srcPort", port(record.source.port));
    pair("dst", record.target.host.map(|it| it.to_string()));
    pair("dstPort", port(record.target.port));
    pair("srcMAC", source_mac(facts));
    pair("proto", facts.transport().map(str::to_ascii_uppercase));
    pair("usrName", facts.user());
    pair("resource", Some(record.node_id.to_string()));
    pair("url", facts.text("URL").or_else(|| facts.text("PATH")));
    let mapping = ecs::mapping(record.kind);
    pair("action", Some(ecs::action(facts, &mapping)));
    pair("outcome", ecs::outcome(facts, &mapping).map(str::to_owned));
    pair("service", Some(facts.service()).filter(|it| !it.is_empty()));
    pair("password", facts.password());
    pair("command", command(facts));
    pair("fileName", facts.text("FILENAME"));
    pair("rule", rule(facts));
    pair("labels", Some(facts.tags().join(",")).filter(|it| !it.is_empty()));
    pair("honeycred", record.honeycred.map(|it| it.to_string()));
    pair("logtype", Some(record.kind.logtype.to_string()));
    pair("eventId", Some(event_id(record)));
    pair("msg", Some(record.sentence()));
    pairs
}

fn command(facts: &Facts<'_>) -> Option<String> {
    let command = ["COMMAND", "CMD", "command"].iter().find_map(|it| facts.text(it))?;
    let rest = facts.text("ARGS").unwrap_or_default();
    Some(format!("{command} {rest}").trim_end().to_owned())
}

/// `00:1b:2c:3d:4e:5f`.
fn source_mac(facts: &Facts<'_>) -> Option<String> {
    let address = facts.about_source("mac")?;
    let octets: Vec<_> = address.split([':', '-']).collect();
    mac(&octets).map(|it| it.replace('-', ":").to_ascii_lowercase())
}

/// 0 to 10; from 7 on it is high, from 9 on very high.
const fn severity(severity: Severity) -> u8 {
    match severity {
        Severity::Informational => 1,
        Severity::Low => 3,
        Severity::Medium => 5,
        Severity::High => 8,
        Severity::Critical => 10,
    }
}

fn cef_header(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|")
}

fn cef_value(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '=' => value.extend(['\\', character]),
            '\n' => value.push_str("\\n"),
            '\r' => value.push_str("\\r"),
            it if it.is_control() => value.push('\u{fffd}'),
            it => value.push(it),
        }
    }
    value
}

/// The format has no escape for its own delimiter: it is written as in a URL.
fn leef_value(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '^' => value.push_str("%5E"),
            '\n' => value.push_str("\\n"),
            '\r' => value.push_str("\\r"),
            it if it.is_control() => value.push('\u{fffd}'),
            it => value.push(it),
        }
    }
    value
}

/// What made an incident one, or the rule that fired.
fn rule(facts: &Facts<'_>) -> Option<String> {
    let kind = facts.record.kind;
    facts
        .text("RULE")
        .filter(|_| kind.is_incident())
        .or_else(|| facts.text("TITLE").filter(|_| kind.is_detection()))
}

#[cfg(test)]
mod tests {
    use serin_event::{Endpoint, Event, Tainted, Timestamp, kinds};

    use super::*;

    #[test]
    fn nothing_that_a_peer_sends_makes_a_pair_or_a_line() {
        let hostile = b"a|b=c\\d^src=1.2.3.4\r\nCEF:0|\x1b";
        let event = Event::new(&kinds::FTP_LOGIN)
            .with("USERNAME", Tainted::new(hostile, 64))
            .with("PASSWORD", Tainted::new(b"", 64));
        let record = Record::of(&event, Timestamp(0), 0, "node");
        let line = cef(&record);
        assert!(line.contains(r"duser=a|b\=c\\d^src\=1.2.3.4\r\nCEF:0|"), "{line}");
        let line = leef(&record);
        assert!(line.contains(r"^usrName=a|b=c\d%5Esrc=1.2.3.4\r\nCEF:0|"), "{line}");
        for line in [cef(&record), leef(&record)] {
            assert!(!line.contains(char::is_control) && !line.contains("password"), "{line}");
        }
    }

    #[test]
    fn addresses_of_both_kinds_have_their_fields() {
        let end = |host: &str| Endpoint { host: host.parse().ok(), port: Some(1) };
        let event = Event::new(&kinds::TELNET_CONNECTION);
        let record = Record {
            source: end("2001:db8::5"),
            target: end("10.0.0.9"),
            ..Record::of(&event, Timestamp(0), 0, "node")
        };
        let line = cef(&record);
        assert!(line.contains("c6a2=2001:db8::5 c6a2Label=Source IPv6 Address dst=10.0.0.9 spt=1"), "{line}");
    }
}
