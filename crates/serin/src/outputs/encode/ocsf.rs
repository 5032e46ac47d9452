//! The Open Cybersecurity Schema Framework. <https://schema.ocsf.io/1.3.0/>.
//!
//! Each kind has a class; what a class requires is there even where a peer told nothing. What has no
//! place in the class stands below `unmapped`, and OpenCanary's line in `raw_data`.

use serde_json::{Map, Value, json};
use serin_event::{Endpoint, Kind, Record, Timestamp};

use super::ecs::{self, number};
use super::event_id;
use super::facts::{Facts, community_id, constant, mac};

/// The released schema that the names come from.
const VERSION: &str = "1.3.0";

const BASE_EVENT: u32 = 0;
const DETECTION_FINDING: u32 = 2004;
const AUTHENTICATION: u32 = 3002;
const NETWORK_ACTIVITY: u32 = 4001;
const HTTP_ACTIVITY: u32 = 4002;
const DNS_ACTIVITY: u32 = 4003;
const RDP_ACTIVITY: u32 = 4005;
const SMB_ACTIVITY: u32 = 4006;
const SSH_ACTIVITY: u32 = 4007;
const NTP_ACTIVITY: u32 = 4013;
const APPLICATION_LIFECYCLE: u32 = 6002;
const DATASTORE_ACTIVITY: u32 = 6005;

/// The category whose classes tell of connections.
const NETWORK: u32 = 4;

/// An activity that the class has no number for.
const OTHER: u32 = 99;

/// The class of a kind and the activity in it; `None` for kinds that this table does not have.
fn class(kind: &Kind) -> Option<(u32, u32)> {
    const OPEN: u32 = 1;
    const CLOSE: u32 = 2;
    const FAIL: u32 = 4;
    const TRAFFIC: u32 = 6;
    Some(match kind.name {
        "sensor.boot" => (APPLICATION_LIFECYCLE, 3),
        "sensor.config" => (APPLICATION_LIFECYCLE, 8),
        "sensor.message" | "sensor.debug" | "sensor.error" | "sensor.ping" | "example.login" => {
            (BASE_EVENT, OTHER)
        }
        "ftp.login"
        | "http.login"
        | "ssh.login"
        | "ssh.publickey"
        | "ssh.method"
        | "telnet.login"
        | "httpproxy.login"
        | "mysql.login"
        | "mssql.sql_login"
        | "mssql.windows_login"
        | "vnc.login"
        | "rdp.login"
        | "mongodb.login" => (AUTHENTICATION, 1),
        "ssh.connection" | "ssh.version" | "ssh.handshake" => (SSH_ACTIVITY, OPEN),
        "ssh.request" | "ssh.input" => (SSH_ACTIVITY, TRAFFIC),
        // The activity is the method.
        "http.get" | "http.unimplemented_method" | "http.redirect" | "httpproxy.request" => {
            (HTTP_ACTIVITY, OTHER)
        }
        "ftp.auth_initiated"
        | "telnet.connection"
        | "mysql.connection"
        | "tcpbanner.connection"
        | "tcpbanner.keep_alive_connection"
        | "mongodb.connection"
        | "portscan.syn"
        | "portscan.nmap_os"
        | "portscan.nmap_null"
        | "portscan.nmap_xmas"
        | "portscan.nmap_fin"
        | "connection.touched" => (NETWORK_ACTIVITY, OPEN),
        "mongodb.disconnect" => (NETWORK_ACTIVITY, CLOSE),
        "connection.broken" => (NETWORK_ACTIVITY, FAIL),
        "tcpbanner.keep_alive_secret"
        | "tcpbanner.keep_alive_data"
        | "tcpbanner.data"
        | "snmp.request"
        | "sip.request"
        | "git.clone"
        | "tftp.request"
        | "mongodb.error"
        | "connection.flood" => (NETWORK_ACTIVITY, TRAFFIC),
        "smb.file_open" => (SMB_ACTIVITY, 2),
        "ntp.monlist" => (NTP_ACTIVITY, 7),
        "llmnr.response" => (DNS_ACTIVITY, 2),
        "redis.command" | "mongodb.command" => (DATASTORE_ACTIVITY, 4),
        "incident.informational"
        | "incident.low"
        | "incident.medium"
        | "incident.high"
        | "incident.critical"
        | "detection.informational"
        | "detection.low"
        | "detection.medium"
        | "detection.high"
        | "detection.critical" => (DETECTION_FINDING, OTHER),
        "user.0" | "user.1" | "user.2" | "user.3" | "user.4" | "user.5" | "user.6" | "user.7" | "user.8"
        | "user.9" => (NETWORK_ACTIVITY, OTHER),
        _ => return None,
    })
}

/// One record.
pub(super) fn encode(record: &Record) -> Value {
    let facts = Facts::new(record);
    let (class, activity) = class_of(&facts);
    let mut event = Map::new();
    event.insert("category_uid".to_owned(), json!(class / 1000));
    event.insert("class_uid".to_owned(), json!(class));
    event.insert("activity_id".to_owned(), json!(activity));
    event.insert("type_uid".to_owned(), json!(class * 100 + activity));
    event.insert("severity_id".to_owned(), json!(number(record.severity())));
    event.insert("time".to_owned(), json!(millis(record.time)));
    event.insert("message".to_owned(), json!(record.sentence()));
    event.insert("metadata".to_owned(), metadata(&facts));
    event.insert("raw_data".to_owned(), json!(record.line()));
    event.insert("unmapped".to_owned(), unmapped(&facts));
    if activity == OTHER {
        let name = ecs::action(&facts, &ecs::mapping(record.kind));
        event.insert("activity_name".to_owned(), json!(facts.http_method().unwrap_or(name)));
    }
    if class != BASE_EVENT && class != APPLICATION_LIFECYCLE && class != DETECTION_FINDING {
        about_ends(&facts, &mut event);
    }
    if class / 1000 == NETWORK {
        event.insert("connection_info".to_owned(), connection(&facts));
    }
    about_class(&facts, class, &mut event);
    let mut event = event.into();
    prune(&mut event);
    event
}

/// Takes out what is null: the schema has no such values. The details are not ours to change.
fn prune(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|_, value| !value.is_null());
        members.iter_mut().filter(|it| it.0 != "unmapped").for_each(|it| prune(it.1));
    }
}

/// With what only the record itself tells.
fn class_of(facts: &Facts<'_>) -> (u32, u32) {
    match class(facts.record.kind).unwrap_or((NETWORK_ACTIVITY, OTHER)) {
        (HTTP_ACTIVITY, _) => (HTTP_ACTIVITY, method_number(facts)),
        (DETECTION_FINDING, _) => {
            let change = facts.text("CHANGE").unwrap_or_default();
            let activity = match change.as_str() {
                "opened" => 1,
                "closed" => 3,
                _ => 2,
            };
            (DETECTION_FINDING, activity)
        }
        // A client that named nobody only opened the conversation.
        (AUTHENTICATION, _) if facts.record.kind.name == "rdp.login" && facts.user().is_none() => {
            (RDP_ACTIVITY, 1)
        }
        usual => usual,
    }
}

fn method_number(facts: &Facts<'_>) -> u32 {
    match facts.http_method().unwrap_or_default().as_str() {
        "CONNECT" => 1,
        "DELETE" => 2,
        "GET" => 3,
        "HEAD" => 4,
        "OPTIONS" => 5,
        "POST" => 6,
        "PUT" => 7,
        "TRACE" => 8,
        _ => OTHER,
    }
}

fn millis(time: Timestamp) -> i64 {
    time.0 / 1000
}

fn metadata(facts: &Facts<'_>) -> Value {
    let record = facts.record;
    let product = json!({
        "name": "Serin", "vendor_name": "Serin", "version": env!("CARGO_PKG_VERSION"),
    });
    let mut metadata = json!({
        "version": VERSION,
        "product": product,
        "uid": event_id(record),
        "sequence": record.seq,
        "log_name": constant(record.kind),
        "log_provider": &*record.node_id,
        "event_code": record.kind.logtype.to_string(),
        "original_time": record.time.rfc3339(),
    });
    let tags = facts.tags();
    if !tags.is_empty() {
        metadata["labels"] = json!(tags);
    }
    metadata
}

fn unmapped(facts: &Facts<'_>) -> Value {
    let record = facts.record;
    let mut unmapped = json!({ "kind": record.kind.name, "intent": record.intent().name() });
    if record.session != 0 {
        unmapped["session"] = json!(format!("{:x}", record.session));
    }
    if !facts.details.is_empty() {
        unmapped["details"] = facts.details.clone().into();
    }
    if let Some(bait) = record.honeycred {
        unmapped["honeycred"] = json!(bait);
    }
    unmapped
}

fn about_ends(facts: &Facts<'_>, event: &mut Map<String, Value>) {
    event.insert("src_endpoint".to_owned(), source(facts));
    let mut target = endpoint(facts.record.target);
    if let Some(members) = target.as_object_mut() {
        members.insert("svc_name".to_owned(), json!(facts.service()));
    }
    event.insert("dst_endpoint".to_owned(), target);
}

fn connection(facts: &Facts<'_>) -> Value {
    let record = facts.record;
    // The direction is required: all of it comes in.
    let mut connection = json!({ "direction_id": 1 });
    if let Some(transport) = facts.transport() {
        connection["protocol_name"] = json!(transport);
        connection["protocol_num"] = json!(if transport == "udp" { 17 } else { 6 });
        if let (Some(from), Some(from_port), Some(to), Some(to_port)) =
            (record.source.host, record.source.port, record.target.host, record.target.port)
        {
            connection["community_uid"] = json!(community_id((from, from_port), (to, to_port), transport));
        }
    }
    if record.session != 0 {
        connection["uid"] = json!(format!("{:x}", record.session));
    }
    connection
}

fn endpoint(end: Endpoint) -> Value {
    let mut members = Map::new();
    if let Some(host) = end.host {
        members.insert("ip".to_owned(), json!(host.to_string()));
    }
    if let Some(port) = end.port {
        members.insert("port".to_owned(), json!(port));
    }
    members.into()
}

fn source(facts: &Facts<'_>) -> Value {
    let mut source = endpoint(facts.record.source);
    let Some(members) = source.as_object_mut() else { return source };
    if let Some(name) = facts.about_source("name") {
        members.insert("hostname".to_owned(), json!(name));
    }
    if let Some(address) = facts.about_source("mac") {
        let octets: Vec<_> = address.split([':', '-']).collect();
        members.insert("mac".to_owned(), json!(mac(&octets)));
    }
    if let Some(country) = facts.about_source("country") {
        let name = if country.len() == 2 { "country" } else { "desc" };
        members.insert("location".to_owned(), json!({ name: country }));
    }
    if let Some(number) = facts.source_as() {
        let system = json!({ "number": number, "name": facts.about_source("organisation") });
        members.insert("autonomous_system".to_owned(), system);
    }
    source
}

/// What the class requires or has a place for.
fn about_class(facts: &Facts<'_>, class: u32, event: &mut Map<String, Value>) {
    let mut set = |name: &str, value: Value| event.insert(name.to_owned(), value);
    let user = || json!({ "name": facts.user().unwrap_or_default(), "domain": facts.text("DOMAINNAME") });
    match class {
        AUTHENTICATION => {
            set("user", user());
            set("service", json!({ "name": facts.service() }));
            set("is_remote", json!(true));
            set("logon_type_id", json!(3));
            set("auth_protocol", json!(facts.protocol()));
            set("status_id", json!(if facts.let_in() { 1 } else { 2 }));
        }
        SSH_ACTIVITY => {
            set("protocol_ver", json!(facts.text("REMOTEVERSION")));
            set("client_hassh", json!(facts.text("HASSH").map(|it| hassh(facts, &it))));
        }
        HTTP_ACTIVITY => {
            let url = json!({ "path": facts.text("PATH"), "hostname": facts.text("HOSTNAME"),
                              "query_string": facts.text("QUERY"), "url_string": facts.text("URL") });
            set(
                "http_request",
                json!({ "http_method": facts.http_method(), "url": url,
                                        "user_agent": facts.text("USERAGENT") }),
            );
            set(
                "http_response",
                json!(facts.get("STATUS").filter(|it| it.is_u64()).map(|it| json!({ "code": it }))),
            );
        }
        SMB_ACTIVITY => {
            let name = facts.text("FILENAME").unwrap_or_default();
            set("file", json!({ "name": name, "type_id": 1 }));
            set("share", json!(facts.text("SHARENAME")));
            set("dialect", json!(facts.text("SMBVER")));
        }
        // Which version a request claimed is not recorded.
        NTP_ACTIVITY => {
            set("version", json!("unknown"));
        }
        DNS_ACTIVITY => {
            set("query", json!({ "hostname": facts.text("query_hostname").unwrap_or_default() }));
            set("answers", json!([{ "rdata": facts.text("response").unwrap_or_default() }]));
        }
        DATASTORE_ACTIVITY => {
            let session = format!("{:x}", facts.record.session);
            set("actor", json!({ "session": { "uid": session } }));
            let query = facts.text("CMD").or_else(|| facts.text("command")).unwrap_or_default();
            let rest = facts.text("ARGS").or_else(|| facts.text("query")).unwrap_or_default();
            set("query_info", json!({ "query_string": format!("{query} {rest}").trim() }));
            set("type_id", json!(1));
            // 6: neither Redis nor MongoDB is relational.
            set("database", json!({ "name": facts.service(), "type_id": 6 }));
        }
        APPLICATION_LIFECYCLE => {
            let version = env!("CARGO_PKG_VERSION");
            set("app", json!({ "name": "Serin", "vendor_name": "Serin", "version": version }));
        }
        DETECTION_FINDING => about_finding(facts, event),
        _ => {}
    }
}

/// The fingerprint with what it is made of, where that was noted.
fn hassh(facts: &Facts<'_>, fingerprint: &str) -> Value {
    let parts = ["KEXALGORITHMS", "CIPHERS", "MACS", "COMPRESSION"].map(|it| facts.texts(it).join(","));
    let whole = parts.iter().all(|it| !it.is_empty());
    // 1: MD5.
    let fingerprint = json!({ "algorithm_id": 1, "value": fingerprint });
    json!({ "algorithm": whole.then(|| parts.join(";")), "fingerprint": fingerprint })
}

fn about_finding(facts: &Facts<'_>, event: &mut Map<String, Value>) {
    let record = facts.record;
    let time = |name: &str| {
        let text = facts.text(name)?;
        text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
    };
    // An incident's, or a detection's.
    let rule = facts.text("RULE").or_else(|| facts.text("TITLE")).unwrap_or_default();
    let finding = json!({
        "uid": facts.text("ID").unwrap_or_else(|| event_id(record)),
        "title": record.sentence(),
        "analytic": { "type_id": 1, "name": rule, "uid": facts.text("RULE_ID") },
        "first_seen_time": time("FIRST").or_else(|| time("TIME")),
        "last_seen_time": time("LAST").or_else(|| time("TIME")),
    });
    let targets = facts.texts("TARGETS");
    let evidences: Vec<_> = if targets.is_empty() {
        vec![json!({ "src_endpoint": source(facts) })]
    } else {
        let evidence = |it: &String| json!({ "src_endpoint": source(facts), "dst_endpoint": { "ip": it } });
        targets.iter().map(evidence).collect()
    };
    let mut set = |name: &str, value: Value| event.insert(name.to_owned(), value);
    set("finding_info", finding);
    set("evidences", json!(evidences));
    let closed = facts.text("CHANGE").is_some_and(|it| it == "closed");
    set("is_alert", json!(!facts.is_test() && !closed));
    // High: nobody has business with a decoy.
    set("confidence_id", json!(3));
    set("count", json!(facts.get("COUNT")));
    // New: nobody has looked at it yet.
    set("status_id", json!(1));
}

#[cfg(test)]
mod tests {
    use serin_event::kinds;

    use super::super::tests::record;
    use super::*;

    /// What the schema requires of every event, and of each class beside that.
    #[test]
    fn what_a_class_requires_is_there() {
        const ALWAYS: &[&str] =
            &["category_uid", "class_uid", "activity_id", "type_uid", "severity_id", "time", "metadata"];
        for kind in kinds::ALL {
            assert!(class(kind).is_some(), "{} has no class", kind.name);
            let event = encode(&record(kind));
            let required: &[&str] = match class_of(&Facts::new(&record(kind))).0 {
                AUTHENTICATION => &["user", "service", "dst_endpoint"],
                HTTP_ACTIVITY => &["http_request", "dst_endpoint"],
                DNS_ACTIVITY => &["query", "answers", "dst_endpoint"],
                SMB_ACTIVITY => &["file", "share", "dst_endpoint"],
                NTP_ACTIVITY => &["version", "dst_endpoint"],
                NETWORK_ACTIVITY | RDP_ACTIVITY | SSH_ACTIVITY => &["src_endpoint", "dst_endpoint"],
                DATASTORE_ACTIVITY => &["actor", "src_endpoint", "query_info", "database"],
                APPLICATION_LIFECYCLE => &["app"],
                DETECTION_FINDING => &["finding_info", "evidences", "is_alert", "confidence_id"],
                _ => &[],
            };
            for name in ALWAYS.iter().chain(required) {
                assert!(event.get(name).is_some(), "{} lacks {name}", kind.name);
            }
            let number = |name: &str| event[name].as_u64().unwrap();
            assert_eq!(number("category_uid"), number("class_uid") / 1000, "{}", kind.name);
            assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"));
            if let Some(connection) = event.get("connection_info") {
                assert!(connection.get("direction_id").is_some(), "{}", kind.name);
            }
            for name in ["version", "product", "uid"] {
                assert!(event["metadata"].get(name).is_some(), "{}: metadata lacks {name}", kind.name);
            }
        }
    }

    #[test]
    fn a_finding_tells_rule_and_time() {
        let event = encode(&record(&kinds::DETECTION_HIGH));
        assert_eq!(event["finding_info"]["analytic"]["name"], "Somebody is in");
        assert_eq!(event["finding_info"]["last_seen_time"], json!(1_795_296_991_777_i64));
        let event = encode(&record(&kinds::INCIDENT_HIGH));
        let finding = &event["finding_info"];
        assert_eq!(finding["analytic"], json!({ "type_id": 1, "name": "brute-force" }));
        assert_eq!((&finding["uid"], &event["type_uid"]), (&json!("node-7"), &json!(200_402)));
        assert_eq!(finding["first_seen_time"], json!(1_795_296_991_777_i64));
    }
}
