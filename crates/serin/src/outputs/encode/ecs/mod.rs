//! The Elastic Common Schema, with the field names of Elastic's own OpenCanary integration, so that
//! its dashboards work.
//!
//! What peers name themselves (headers, environments) never becomes a field name, because each new
//! name would grow the receiver's mapping until it refuses: nested values are JSON text. Below
//! `opencanary.logdata` everything is text for the same reason: a field has one type for all kinds.
//!
//! <https://www.elastic.co/docs/reference/ecs>.

mod table;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};
use serin_event::{Intent, Kind, Record, Severity};

pub(super) use table::Mapping;

use super::event_id;
use super::facts::{Facts, community_id, constant, mac, text};

/// The version of the schema that the names come from.
const VERSION: &str = "8.17.0";

/// Details that mean the same in every kind.
const COMMON: &[(&str, &str)] = &[
    ("JA3", "tls.client.ja3"),
    ("JA4", "opencanary.tls.ja4"),
    ("SNI", "tls.client.server_name"),
    ("HASSH", "opencanary.ssh.hassh"),
    ("SESSION", "opencanary.ssh.session"),
];
/// What has its own treatment below.
const TREATED: &[&str] =
    &["DURATION_MS", "LABEL", "LABELS", "MAC", "SELFTEST", "SENTENCE", "SERVICE", "SOURCE", "TEST", "msg"];

/// What a kind means; kinds of newer versions are some interaction.
pub(super) fn mapping(kind: &Kind) -> Mapping {
    table::row(kind).unwrap_or(table::OTHER)
}

/// `event.action`.
pub(super) fn action(facts: &Facts<'_>, mapping: &Mapping) -> String {
    let told = facts.text(mapping.action_field);
    told.unwrap_or_else(|| match facts.text("CHANGE") {
        Some(change) if facts.record.kind.is_incident() => format!("incident-{change}"),
        _ => mapping.action.to_owned(),
    })
}

/// `event.outcome`, where there is one.
pub(super) fn outcome(facts: &Facts<'_>, mapping: &Mapping) -> Option<&'static str> {
    match mapping.outcome {
        "" => None,
        _ if facts.let_in() => Some("success"),
        outcome => Some(outcome),
    }
}

/// One record.
pub(in crate::outputs) fn encode(record: &Record) -> Value {
    let facts = Facts::new(record);
    let mapping = mapping(record.kind);
    let mut document = Document::default();
    document.about_event(&facts, &mapping);
    document.about_network(&facts);
    document.about_source(&facts);
    document.fields(&facts, &mapping);
    document.odd_fields(&facts);
    document.related(&facts);
    document.0.into()
}

/// An object whose members are set by dotted paths.
#[derive(Debug, Default)]
struct Document(Map<String, Value>);

impl Document {
    /// Sets one member, unless there is nothing to set.
    fn set(&mut self, path: &str, value: Value) {
        if text(&value).is_none() {
            return;
        }
        let (mut here, mut rest) = (&mut self.0, path);
        while let Some((first, after)) = rest.split_once('.') {
            let next = here.entry(first).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(next) = next else { return };
            (here, rest) = (next, after);
        }
        here.insert(rest.to_owned(), value);
    }

    fn set_text(&mut self, path: &str, value: Option<String>) {
        if let Some(value) = value {
            self.set(path, value.into());
        }
    }

    fn about_event(&mut self, facts: &Facts<'_>, mapping: &Mapping) {
        let record = facts.record;
        let time = record.time.rfc3339();
        let told = record.kind.is_incident() || record.kind.is_detection();
        let of_sensor = record.kind.intent == Intent::Housekeeping && !told;
        self.set("@timestamp", json!(time));
        self.set("event.created", json!(time));
        self.set("ecs.version", json!(VERSION));
        self.set("message", json!(record.sentence()));
        self.set("log.logger", json!(constant(record.kind)));
        self.set("log.level", json!(level(record.severity())));
        self.set("event.kind", json!(if of_sensor || facts.is_test() { "event" } else { "alert" }));
        self.set("event.id", json!(event_id(record)));
        self.set("event.sequence", json!(record.seq));
        self.set("event.code", json!(record.kind.logtype.to_string()));
        self.set("event.provider", json!(constant(record.kind)));
        self.set("event.module", json!("opencanary"));
        self.set("event.dataset", json!("opencanary.events"));
        self.set("data_stream.type", json!("logs"));
        self.set("data_stream.dataset", json!("opencanary.events"));
        self.set("data_stream.namespace", json!("default"));
        self.set("event.category", json!(mapping.category));
        self.set("event.type", json!(mapping.types));
        self.set("event.action", json!(action(facts, mapping)));
        self.set("event.outcome", json!(outcome(facts, mapping)));
        self.set("event.severity", json!(number(record.severity())));
        if !mapping.techniques.is_empty() {
            self.set("threat.framework", json!("MITRE ATT&CK"));
            self.set("threat.technique.id", json!(mapping.techniques));
        }
        self.set("tags", json!(facts.tags()));
        self.set("observer.vendor", json!("Serin"));
        self.set("observer.product", json!("Serin"));
        self.set("observer.version", json!(env!("CARGO_PKG_VERSION")));
        self.set("observer.type", json!("honeypot"));
        self.set("observer.name", json!(&*record.node_id));
        self.set("opencanary.node.id", json!(&*record.node_id));
        self.set("opencanary.logtype", json!(record.kind.logtype.to_string()));
        self.set("opencanary.kind", json!(record.kind.name));
        self.set("opencanary.intent", json!(record.intent().name()));
        self.set("opencanary.honeycred", json!(record.honeycred));
        if record.session != 0 {
            self.set("opencanary.session.id", json!(format!("{:x}", record.session)));
        }
    }

    fn about_network(&mut self, facts: &Facts<'_>) {
        let (from, to) = (facts.record.source, facts.record.target);
        for (name, end) in [("source", from), ("destination", to)] {
            let host = end.host.map(|it| it.to_string());
            self.set(&format!("{name}.ip"), json!(host));
            self.set(&format!("{name}.address"), json!(host));
            self.set(&format!("{name}.port"), json!(end.port));
        }
        self.set("service.type", json!(facts.service()));
        self.set("network.transport", json!(facts.transport()));
        self.set("network.protocol", json!(facts.protocol()));
        if let Some(source) = from.host {
            self.set("network.direction", json!("ingress"));
            self.set("network.type", json!(if source.is_ipv4() { "ipv4" } else { "ipv6" }));
        }
        if let (Some(source), Some(source_port), Some(target), Some(target_port), Some(transport)) =
            (from.host, from.port, to.host, to.port, facts.transport())
        {
            let id = community_id((source, source_port), (target, target_port), transport);
            self.set("network.community_id", json!(id));
        }
    }

    /// What enrichment found.
    fn about_source(&mut self, facts: &Facts<'_>) {
        self.set_text("source.domain", facts.about_source("name"));
        self.set_text("opencanary.source.vendor", facts.about_source("vendor"));
        self.set_text("source.as.organization.name", facts.about_source("organisation"));
        self.set("source.as.number", json!(facts.source_as()));
        if let Some(address) = facts.about_source("mac") {
            let octets: Vec<_> = address.split([':', '-']).collect();
            self.set("source.mac", json!(mac(&octets)));
        }
        if let Some(country) = facts.about_source("country") {
            let code = country.len() == 2;
            self.set(
                if code { "source.geo.country_iso_code" } else { "source.geo.country_name" },
                json!(country),
            );
        }
    }

    fn fields(&mut self, facts: &Facts<'_>, mapping: &Mapping) {
        for (place, members) in [("logdata", &facts.logdata), ("details", &facts.details)] {
            for (name, value) in members.iter().filter(|it| !TREATED.contains(&it.0.as_str())) {
                let home = mapping.fields.iter().chain(COMMON).find(|it| it.0 == name);
                if let Some((_, path)) = home {
                    self.set(path, flat(value));
                    continue;
                }
                let name = name.to_ascii_lowercase().replace([' ', '.'], "_");
                let value = match flat(value) {
                    list @ Value::Array(_) => list,
                    other => json!(text(&other)),
                };
                self.set(&format!("opencanary.{place}.{name}"), value);
            }
        }
    }

    /// What does not go from one field into another as it is.
    fn odd_fields(&mut self, facts: &Facts<'_>) {
        const NANOS_PER_MILLI: u64 = 1_000_000;
        if facts.record.kind.service == "http" {
            let (path, query) = (facts.text("PATH"), facts.text("QUERY"));
            let original = path.map(|it| query.map_or(it.clone(), |query| format!("{it}?{query}")));
            self.set_text("url.original", original);
            self.set_text("http.request.method", facts.http_method());
        }
        if facts.record.kind.name == "llmnr.response" {
            self.set("dns.type", json!("answer"));
        }
        self.set_text("rule.id", facts.text("RULE").filter(|_| facts.record.kind.is_incident()));
        let millis = facts.get("DURATION_MS").and_then(Value::as_u64);
        self.set("event.duration", json!(millis.map(|it| it.saturating_mul(NANOS_PER_MILLI))));
        // Netfilter's: destination, source, protocol.
        if let Some(macs) = facts.text("MAC") {
            let octets: Vec<_> = macs.split(':').collect();
            self.set("destination.mac", json!(octets.get(..6).and_then(mac)));
            self.set("source.mac", json!(octets.get(6..12).and_then(mac)));
        }
    }

    fn related(&mut self, facts: &Facts<'_>) {
        let mut addresses: Vec<String> = [facts.record.source, facts.record.target]
            .iter()
            .filter_map(|it| it.host)
            .map(|it| it.to_string())
            .collect();
        if facts.record.kind.is_incident() {
            addresses.extend(facts.texts("TARGETS"));
        } else {
            self.set("related.user", json!(facts.user().map(|it| [it])));
        }
        addresses.sort_unstable();
        addresses.dedup();
        self.set("related.ip", json!(addresses));
        let hashes: Vec<_> = ["JA3", "JA4", "HASSH"].iter().filter_map(|it| facts.text(it)).collect();
        self.set("related.hash", json!(hashes));
        let hosts = ["HOSTNAME", "HostName", "REMOTENAME", "query_hostname"];
        let mut hosts: Vec<_> = hosts.iter().filter_map(|it| facts.text(it)).collect();
        hosts.extend(facts.about_source("name"));
        self.set("related.hosts", json!(hosts));
    }
}

/// Scalars stay, lists of scalars become lists of texts, everything else JSON text.
fn flat(value: &Value) -> Value {
    match value {
        Value::Array(values) if values.iter().all(|it| !it.is_array() && !it.is_object()) => {
            values.iter().filter_map(text).collect()
        }
        Value::Array(_) | Value::Object(_) => json!(text(value)),
        scalar => scalar.clone(),
    }
}

/// `log.level`, in syslog's words.
const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Informational => "info",
        Severity::Low => "notice",
        Severity::Medium => "warning",
        Severity::High => "error",
        Severity::Critical => "critical",
    }
}

/// 1 to 5, as in OCSF.
pub(super) const fn number(severity: Severity) -> u8 {
    match severity {
        Severity::Informational => 1,
        Severity::Low => 2,
        Severity::Medium => 3,
        Severity::High => 4,
        Severity::Critical => 5,
    }
}
