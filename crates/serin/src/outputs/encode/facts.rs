//! What the shapes for SIEMs need to know of a record, read once.

use std::net::IpAddr;

use serde_json::{Map, Value};
use serin_event::{Kind, Record};

/// A record with its fields parsed.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) record: &'a Record,
    pub(super) logdata: Map<String, Value>,
    pub(super) details: Map<String, Value>,
}

/// Fields that hold the name somebody tried to log in with.
const USERS: &[&str] = &["USERNAME", "UserName", "username", "USER"];
/// Fields that hold the password somebody tried to log in with.
const PASSWORDS: &[&str] = &["PASSWORD", "Password", "VNC Password"];

impl<'a> Facts<'a> {
    pub(super) fn new(record: &'a Record) -> Self {
        let read = |text: &str| serde_json::from_str(text).unwrap_or_default();
        Self { record, logdata: read(&record.logdata), details: read(&record.details) }
    }

    /// A field, or else a detail.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.logdata.get(name).or_else(|| self.details.get(name))
    }

    /// The text of a field or a detail; `None` when it is absent or empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(text)
    }

    /// The texts of a list; a single text is a list of one.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Some(Value::Array(values)) => values.iter().filter_map(text).collect(),
            Some(other) => text(other).into_iter().collect(),
            None => Vec::new(),
        }
    }

    pub(super) fn user(&self) -> Option<String> {
        USERS.iter().find_map(|it| self.text(it))
    }

    pub(super) fn password(&self) -> Option<String> {
        PASSWORDS.iter().find_map(|it| self.text(it))
    }

    /// The decoy that was touched.
    pub(super) fn service(&self) -> String {
        match self.record.kind.service {
            "connection" | "incident" | "detection" => self.text("SERVICE").unwrap_or_default(),
            service => service.to_owned(),
        }
    }

    /// `tcp` or `udp`; `None` where there was no packet, or where it is not known.
    pub(super) fn transport(&self) -> Option<&'static str> {
        let tcp = |text: String| match text.to_ascii_lowercase().as_str() {
            "tcp" => Some("tcp"),
            "udp" => Some("udp"),
            _ => None,
        };
        match self.service().as_str() {
            "sensor" | "user" | "example" | "several" | "" => None,
            "portscan" => self.text("PROTO").and_then(tcp),
            "tftp" | "ntp" | "snmp" | "sip" | "llmnr" => Some("udp"),
            _ => Some("tcp"),
        }
    }

    /// The protocol on top of that, by its usual name in lower case.
    pub(super) fn protocol(&self) -> Option<&'static str> {
        Some(match self.service().as_str() {
            "ftp" => "ftp",
            "http" | "httpproxy" => "http",
            "https" => "https",
            "ssh" => "ssh",
            "smb" => "smb",
            "telnet" => "telnet",
            "mysql" => "mysql",
            "mssql" => "tds",
            "tftp" => "tftp",
            "ntp" => "ntp",
            "vnc" => "rfb",
            "snmp" => "snmp",
            "rdp" => "rdp",
            "sip" => "sip",
            "git" => "git",
            "redis" => "redis",
            "llmnr" => "llmnr",
            "mongodb" => "mongodb",
            _ => return None,
        })
    }

    /// What enrichment knows of the source: `name`, `mac`, `vendor`, `country`, `asn`,
    /// `organisation`.
    pub(super) fn about_source(&self, what: &str) -> Option<String> {
        self.get("SOURCE").and_then(|it| text(it.get(what)?))
    }

    /// The number in `asn`, which may begin with `AS`.
    pub(super) fn source_as(&self) -> Option<u64> {
        self.about_source("asn")?.trim_start_matches(['A', 'S', 'a', 's']).trim().parse().ok()
    }

    /// Benign patterns that it matches, whether an ignore rule decided on it, and the mark of a
    /// self-test.
    pub(super) fn tags(&self) -> Vec<String> {
        let of_incident = self.record.kind.is_incident();
        let mut tags = self.texts(if of_incident { "LABELS" } else { "LABEL" });
        if self.details.contains_key("IGNORED") {
            tags.push("ignored".to_owned());
        }
        if self.is_test() {
            tags.push("selftest".to_owned());
        }
        tags
    }

    /// Whether the sensor itself caused it, so that nobody should be alarmed.
    pub(super) fn is_test(&self) -> bool {
        self.record.is_selftest() || self.get("TEST") == Some(&Value::Bool(true))
    }

    /// Whether the credentials opened a door: only SSH has one.
    pub(super) fn let_in(&self) -> bool {
        self.record.kind.service == "ssh"
            && (self.details.get("ACCEPTED") == Some(&Value::Bool(true))
                || self.record.honeycred == Some(true))
    }

    /// The method of a web request.
    pub(super) fn http_method(&self) -> Option<String> {
        let usual = match self.record.kind.name {
            "http.get" => Some("GET"),
            "http.login" => Some("POST"),
            _ => None,
        };
        let web = matches!(self.record.kind.service, "http" | "httpproxy");
        let told = if web { self.text("REQUEST_TYPE").or_else(|| self.text("METHOD")) } else { None };
        told.or_else(|| usual.map(str::to_owned))
    }
}

/// A value as text; what is nested becomes JSON. `None` when there is nothing.
pub(super) fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(values) if values.is_empty() => return None,
        Value::Object(members) if members.is_empty() => return None,
        Value::Array(_) | Value::Object(_) => serin_event::python_json(value),
    };
    (!text.is_empty()).then_some(text)
}

/// Octets of a hardware address as ECS and OCSF want them: `AA-BB-CC-DD-EE-FF`.
pub(super) fn mac(octets: &[&str]) -> Option<String> {
    let whole = octets.len() == 6
        && octets.iter().all(|it| it.len() == 2 && it.bytes().all(|byte| byte.is_ascii_hexdigit()));
    whole.then(|| octets.join("-").to_ascii_uppercase())
}

/// The name that OpenCanary's source has for a kind; ours are made alike.
pub(super) fn constant(kind: &Kind) -> String {
    let name = match kind.logtype {
        1000 => "BASE_BOOT",
        1001 => "BASE_MSG",
        1002 => "BASE_DEBUG",
        1003 => "BASE_ERROR",
        1004 => "BASE_PING",
        1005 => "BASE_CONFIG_SAVE",
        1006 => "BASE_EXAMPLE",
        2000 => "FTP_LOGIN_ATTEMPT",
        2001 => "FTP_AUTH_ATTEMPT_INITIATED",
        3000 => "HTTP_GET",
        3001 => "HTTP_POST_LOGIN_ATTEMPT",
        3002 => "HTTP_UNIMPLEMENTED_METHOD",
        3003 => "HTTP_REDIRECT",
        4000 => "SSH_NEW_CONNECTION",
        4001 => "SSH_REMOTE_VERSION_SENT",
        4002 => "SSH_LOGIN_ATTEMPT",
        5000 => "SMB_FILE_OPEN",
        5001 => "PORT_SYN",
        5002 => "PORT_NMAPOS",
        5003 => "PORT_NMAPNULL",
        5004 => "PORT_NMAPXMAS",
        5005 => "PORT_NMAPFIN",
        6001 => "TELNET_LOGIN_ATTEMPT",
        6002 => "TELNET_CONNECTION_MADE",
        7001 => "HTTPPROXY_LOGIN_ATTEMPT",
        8001 => "MYSQL_LOGIN_ATTEMPT",
        9001 => "MSSQL_LOGIN_SQLAUTH",
        9002 => "MSSQL_LOGIN_WINAUTH",
        9003 => "MYSQL_CONNECTION_MADE",
        10001 => "TFTP",
        11001 => "NTP_MONLIST",
        12001 => "VNC",
        13001 => "SNMP_CMD",
        14001 => "RDP",
        15001 => "SIP_REQUEST",
        16001 => "GIT_CLONE_REQUEST",
        17001 => "REDIS_COMMAND",
        18001 => "TCP_BANNER_CONNECTION_MADE",
        18002 => "TCP_BANNER_KEEP_ALIVE_CONNECTION_MADE",
        18003 => "TCP_BANNER_KEEP_ALIVE_SECRET_RECEIVED",
        18004 => "TCP_BANNER_KEEP_ALIVE_DATA_RECEIVED",
        18005 => "TCP_BANNER_DATA_RECEIVED",
        19001 => "LLMNR_QUERY_RESPONSE",
        20001 => "MONGODB_LOGIN_ATTEMPT",
        _ => return format!("LOG_{}", kind.name.replace('.', "_").to_ascii_uppercase()),
    };
    format!("LOG_{name}")
}

/// Community ID version 1 of a flow, with seed 0: what Zeek and Suricata call it too.
/// <https://github.com/corelight/community-id-spec>.
pub(super) fn community_id(from: (IpAddr, u16), to: (IpAddr, u16), transport: &str) -> Option<String> {
    use base64::Engine as _;
    let protocol = match transport {
        "tcp" => 6,
        "udp" => 17,
        _ => return None,
    };
    let octets = |address: IpAddr| match address {
        IpAddr::V4(it) => it.octets().to_vec(),
        IpAddr::V6(it) => it.octets().to_vec(),
    };
    let (mut first, mut second) = ((octets(from.0), from.1), (octets(to.0), to.1));
    if first.0.len() != second.0.len() {
        return None;
    }
    if second < first {
        std::mem::swap(&mut first, &mut second);
    }
    let mut input = vec![0, 0];
    input.extend(first.0);
    input.extend(second.0);
    input.extend([protocol, 0]);
    input.extend(first.1.to_be_bytes());
    input.extend(second.1.to_be_bytes());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &input);
    Some(format!("1:{}", base64::engine::general_purpose::STANDARD.encode(digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's own examples.
    #[test]
    fn flows_have_the_ids_that_other_tools_give_them() {
        let id = |from: (&str, u16), to: (&str, u16), transport| {
            let end = |it: (&str, u16)| (it.0.parse().unwrap(), it.1);
            community_id(end(from), end(to), transport)
        };
        let one = ("128.232.110.120", 34855);
        let two = ("66.35.250.204", 80);
        let expected = Some("1:LQU9qZlK+B5F3KDmev6m5PMibrg=".to_owned());
        assert_eq!((id(one, two, "tcp"), id(two, one, "tcp")), (expected.clone(), expected));
        assert_eq!(
            id(("192.168.1.52", 54585), ("8.8.8.8", 53), "udp").as_deref(),
            Some("1:d/FP5EW3wiY1vCndhwleRRKHowQ=")
        );
        assert_eq!(id(one, ("::1", 80), "tcp"), None);
    }

    #[test]
    fn only_whole_hardware_addresses_count() {
        assert_eq!(mac(&["00", "1b", "2c", "3d", "4e", "5f"]).as_deref(), Some("00-1B-2C-3D-4E-5F"));
        assert_eq!((mac(&["00"]), mac(&["00", "1", "2c", "3d", "4e", "5f"])), (None, None));
    }
}
