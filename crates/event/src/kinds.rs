//! Every kind of event, once: number, name, fields, sentence, intent and severity.
//!
//! The numbers and field names up to 20001 and from 99000 are OpenCanary's and never change their
//! meaning. Serin's own kinds stand at 21001 and above. `catalogue.golden` beside this crate's
//! manifest lists them all, so that no output changes unseen.

use std::sync::{Mutex, PoisonError};

/// How far a peer went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Intent {
    /// The sensor speaks of itself: starts, stops, errors. Never sent to alerting outputs.
    Housekeeping,
    /// Opened a connection, or sent what a scanner sends.
    Connect,
    /// Asked for something.
    Interact,
    /// Tried credentials.
    Login,
    /// Took the bait: credentials or files that only a thief can know.
    Bait,
}

impl Intent {
    /// All, from the least.
    pub const ALL: [Self; 5] = [Self::Housekeeping, Self::Connect, Self::Interact, Self::Login, Self::Bait];

    /// The intent of this word.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// The word for it in the store and in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Housekeeping => "housekeeping",
            Self::Connect => "connect",
            Self::Interact => "interact",
            Self::Login => "login",
            Self::Bait => "bait",
        }
    }
}

/// How much an event matters, in Sigma's words for levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing to do.
    Informational,
    /// Somebody looked.
    Low,
    /// Somebody asked for something.
    Medium,
    /// Somebody tried to get in.
    High,
    /// Somebody used what only a thief can know.
    Critical,
}

impl Severity {
    /// All, from the least.
    pub const ALL: [Self; 5] = [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The severity of this word.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// The word for it in the store and in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Which of a line's two ports are numbers; consumers rely on these oddities of OpenCanary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// Both are numbers.
    Numbers,
    /// Both are strings: port scans.
    Text,
    /// Only the source port is a string: the file share.
    SourceText,
}

/// One kind of event.
#[derive(Debug, PartialEq)]
pub struct Kind {
    /// OpenCanary's number.
    pub logtype: u32,
    /// A name that never changes: `service.what`.
    pub name: &'static str,
    /// The service it belongs to; `sensor` for the sensor itself.
    pub service: &'static str,
    /// The keys of `logdata`.
    pub fields: &'static [&'static str],
    /// What is kept beside OpenCanary's line: in the store, in `tail`, in outputs of our own shape.
    pub details: &'static [&'static str],
    /// For a person; `{src}`, `{port}` and field names in braces are filled in.
    pub sentence: &'static str,
    /// How far the peer went.
    pub intent: Intent,
    /// How much it matters.
    pub severity: Severity,
    /// Which ports are strings.
    pub ports: Ports,
}

impl Kind {
    /// Whether records of this kind tell of incidents: what a person is told of events, made by the
    /// sensor and not by a peer.
    #[must_use]
    pub fn is_incident(&self) -> bool {
        self.service == INCIDENT_LOW.service
    }

    /// Whether records of this kind tell that a detection rule fired: made by the sensor, of what peers
    /// did.
    #[must_use]
    pub fn is_detection(&self) -> bool {
        self.service == DETECTION_LOW.service
    }

    /// Whether a field of this name may be set.
    #[must_use]
    pub fn declares(&self, field: &str) -> bool {
        self.fields.contains(&field) || self.details.contains(&field)
    }
}

/// The kind of record that tells of an incident of this severity.
#[must_use]
pub fn incident(severity: Severity) -> &'static Kind {
    match severity {
        Severity::Informational => &INCIDENT_INFORMATIONAL,
        Severity::Low => &INCIDENT_LOW,
        Severity::Medium => &INCIDENT_MEDIUM,
        Severity::High => &INCIDENT_HIGH,
        Severity::Critical => &INCIDENT_CRITICAL,
    }
}

/// The kind of record that tells of a detection by a rule of this level.
#[must_use]
pub fn detection(level: Severity) -> &'static Kind {
    match level {
        Severity::Informational => &DETECTION_INFORMATIONAL,
        Severity::Low => &DETECTION_LOW,
        Severity::Medium => &DETECTION_MEDIUM,
        Severity::High => &DETECTION_HIGH,
        Severity::Critical => &DETECTION_CRITICAL,
    }
}

/// The kind of this stable name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|it| it.name == name)
}

/// A kind as a stored event names it: the table's own where the name is known. What a newer version
/// wrote gets a kind with its number, intent, severity and ports, but no fields of its own.
///
/// Such kinds live as long as the process. A process remembers [`FOREIGN_MAX`] of them; more, which
/// only a damaged store can name, all become [`UNKNOWN`].
#[must_use]
pub fn stored(name: &str, logtype: u32, intent: Intent, severity: Severity, ports: Ports) -> &'static Kind {
    static FOREIGN: Mutex<Vec<&'static Kind>> = Mutex::new(Vec::new());
    if let Some(kind) = by_name(name) {
        return kind;
    }
    let mut foreign = FOREIGN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kind) = foreign.iter().find(|it| it.name == name) {
        return kind;
    }
    if foreign.len() >= FOREIGN_MAX || name.len() > FOREIGN_NAME_MAX {
        return &UNKNOWN;
    }
    let name: &'static str = Box::leak(name.into());
    let kind: &'static Kind = Box::leak(Box::new(Kind {
        logtype,
        name,
        service: before_dot(name),
        fields: &[],
        details: &[],
        sentence: "{src} did something that a newer version of Serin reported",
        intent,
        severity,
        ports,
    }));
    foreign.push(kind);
    kind
}

/// How many kinds of other versions a process remembers: several times as many as there are.
pub const FOREIGN_MAX: usize = 512;

/// Bytes of such a kind's name.
const FOREIGN_NAME_MAX: usize = 64;

/// Stands for a kind of which nothing could be read. Nobody reports it, so it is not in [`ALL`].
pub static UNKNOWN: Kind = Kind {
    logtype: 0,
    name: "unknown.unknown",
    service: "unknown",
    fields: &[],
    details: &[],
    sentence: "{src} did something that cannot be read any more",
    intent: Intent::Interact,
    severity: Severity::Medium,
    ports: Ports::Numbers,
};

macro_rules! kinds {
    ($($constant:ident = $logtype:literal $name:literal $intent:ident $severity:ident
        $(($fields:ident))? $([$($field:literal)*])? $(details [$($detail:literal)*])? $(ports $ports:ident)? $sentence:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $sentence)]
            pub static $constant: Kind = Kind {
                logtype: $logtype,
                name: $name,
                service: before_dot($name),
                fields: kinds!(@fields $($fields)? $($($field)*)?),
                details: &[$($($detail),*)?],
                sentence: $sentence,
                intent: Intent::$intent,
                severity: Severity::$severity,
                ports: kinds!(@ports $($ports)?),
            };
        )*
        /// Every kind, in the order of their numbers.
        pub static ALL: &[&Kind] = &[$(&$constant),*];
    };
    (@fields $fields:ident) => { $fields };
    (@fields $($field:literal)*) => { &[$($field),*] };
    (@ports) => { Ports::Numbers };
    (@ports $ports:ident) => { Ports::$ports };
}

/// The part of a kind's name that names the service.
const fn before_dot(name: &'static str) -> &'static str {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'.' {
            return name.split_at(at).0;
        }
        at += 1;
    }
    name
}

/// What an incident says: the same at every severity.
const INCIDENT_FIELDS: &[&str] = &[
    "CHANGE",
    "COUNT",
    "DETECTIONS",
    "EVENTS",
    "FIRST",
    "ID",
    "INTENT",
    "LABELS",
    "LAST",
    "PASSWORDS",
    "PORTS",
    "RULE",
    "SAMPLES",
    "SENTENCE",
    "SERVICE",
    "SOURCE",
    "TARGETS",
    "TEST",
    "USERS",
];

/// What a detection says: the same at every level.
const DETECTION_FIELDS: &[&str] = &[
    "AUTHOR",
    "COUNT",
    "CORRELATION",
    "EVENTS",
    "FIGURE",
    "GROUP",
    "ID",
    "LATE",
    "LEVEL",
    "LICENSE",
    "PLACE",
    "RAISES",
    "REFERENCES",
    "RULE_ID",
    "SATURATED",
    "SENTENCE",
    "SERVICE",
    "SOURCES",
    "TAGS",
    "TIME",
    "TITLE",
];

kinds! {
    BOOT = 1000 "sensor.boot" Housekeeping Informational ["msg"] "the sensor started";
    MESSAGE = 1001 "sensor.message" Housekeeping Informational ["msg"] "the sensor says: {msg}";
    DEBUG = 1002 "sensor.debug" Housekeeping Informational ["msg"] "the sensor notes: {msg}";
    ERROR = 1003 "sensor.error" Housekeeping High ["msg"] "the sensor has a problem: {msg}";
    PING = 1004 "sensor.ping" Housekeeping Informational ["msg"] "the sensor is alive";
    CONFIG_SAVE = 1005 "sensor.config" Housekeeping Informational ["msg"] "the configuration changed: {msg}";
    EXAMPLE = 1006 "example.login" Housekeeping Informational ["PASSWORD"] "{src} talked to the example service";

    FTP_LOGIN = 2000 "ftp.login" Login High ["PASSWORD" "USERNAME"] details ["COMMANDS" "JA3" "JA4"]
        "{src} tried to log in to FTP as {USERNAME}";
    FTP_AUTH_INITIATED = 2001 "ftp.auth_initiated" Interact Medium
        "{src} sent a password to FTP";

    HTTP_GET = 3000 "http.get" Interact Medium ["HOSTNAME" "PATH" "SKIN" "USERAGENT"] details ["HEADERS" "JA3" "JA4" "METHOD" "QUERY" "SNI" "STATUS"]
        "{src} asked the web server for {PATH}";
    HTTP_LOGIN = 3001 "http.login" Login High ["HOSTNAME" "PASSWORD" "PATH" "SKIN" "USERAGENT" "USERNAME"] details ["BODY" "HEADERS" "JA3" "JA4" "METHOD" "QUERY" "SNI" "STATUS"]
        "{src} tried to log in to the web page {PATH} as {USERNAME}";
    HTTP_METHOD = 3002 "http.unimplemented_method" Interact Medium ["HOSTNAME" "PATH" "REQUEST_TYPE" "SKIN" "USERAGENT"] details ["HEADERS" "JA3" "JA4" "QUERY" "SNI" "STATUS"]
        "{src} sent {REQUEST_TYPE} {PATH} to the web server";
    HTTP_REDIRECT = 3003 "http.redirect" Interact Low ["HOSTNAME" "PATH" "USERAGENT"] details ["HEADERS" "JA3" "JA4" "METHOD" "QUERY" "SNI" "STATUS"]
        "{src} was sent on from the web server's {PATH}";

    SSH_CONNECTION = 4000 "ssh.connection" Connect High ["SESSION"]
        "{src} connected to SSH";
    SSH_VERSION = 4001 "ssh.version" Connect Medium ["LOCALVERSION" "REMOTEVERSION"]
        details ["CIPHERS" "COMPRESSION" "HASSH" "HOSTKEYALGORITHMS" "KEXALGORITHMS" "MACS" "SESSION"]
        "{src} introduced itself to SSH as {REMOTEVERSION}";
    SSH_LOGIN = 4002 "ssh.login" Login High ["LOCALVERSION" "PASSWORD" "REMOTEVERSION" "USERNAME"]
        details ["ACCEPTED" "CUT" "HASSH" "METHOD" "NEWPASSWORD" "SESSION"]
        "{src} tried to log in to SSH as {USERNAME}";

    SMB_FILE_OPEN = 5000 "smb.file_open" Interact High
        ["AUDITACTION" "DOMAIN" "FILENAME" "LOCALNAME" "REMOTENAME" "SHARENAME" "SMBARCH" "SMBVER" "STATUS" "USER"] ports SourceText
        "{src} opened {FILENAME} on the share {SHARENAME} as {USER}";
    PORTSCAN_SYN = 5001 "portscan.syn" Connect Medium
        ["DF" "FIN" "ID" "IN" "LEN" "MAC" "OUT" "PREC" "PROTO" "PSH" "RES" "RST" "SYN" "TOS" "TTL" "URG" "URGP" "WINDOW" "ACK"] ports Text
        "{src} probed port {port}";
    PORTSCAN_NMAP_OS = 5002 "portscan.nmap_os" Connect High
        ["DF" "FIN" "ID" "IN" "LEN" "MAC" "OUT" "PREC" "PROTO" "PSH" "RES" "RST" "SYN" "TOS" "TTL" "URG" "URGP" "WINDOW" "ACK"] ports Text
        "{src} tried to tell this host's operating system with nmap";
    PORTSCAN_NMAP_NULL = 5003 "portscan.nmap_null" Connect High
        ["DF" "FIN" "ID" "IN" "LEN" "MAC" "OUT" "PREC" "PROTO" "PSH" "RES" "RST" "SYN" "TOS" "TTL" "URG" "URGP" "WINDOW" "ACK"] ports Text
        "{src} scanned port {port} with NULL packets";
    PORTSCAN_NMAP_XMAS = 5004 "portscan.nmap_xmas" Connect High
        ["DF" "FIN" "ID" "IN" "LEN" "MAC" "OUT" "PREC" "PROTO" "PSH" "RES" "RST" "SYN" "TOS" "TTL" "URG" "URGP" "WINDOW" "ACK"] ports Text
        "{src} scanned port {port} with XMAS packets";
    PORTSCAN_NMAP_FIN = 5005 "portscan.nmap_fin" Connect High
        ["DF" "FIN" "ID" "IN" "LEN" "MAC" "OUT" "PREC" "PROTO" "PSH" "RES" "RST" "SYN" "TOS" "TTL" "URG" "URGP" "WINDOW" "ACK"] ports Text
        "{src} scanned port {port} with FIN packets";

    TELNET_LOGIN = 6001 "telnet.login" Login High ["PASSWORD" "USERNAME"] details ["ENVIRONMENT" "OPTIONS" "TERMINAL" "WINDOW"]
        "{src} tried to log in to Telnet as {USERNAME}";
    TELNET_CONNECTION = 6002 "telnet.connection" Connect Medium
        "{src} connected to Telnet";

    HTTPPROXY_LOGIN = 7001 "httpproxy.login" Login High ["METHOD" "PASSWORD" "URL" "USERNAME"] details ["HEADERS" "SCHEME" "NTLM"]
        "{src} tried to log in to the web proxy as {USERNAME}, for {URL}";

    MYSQL_LOGIN = 8001 "mysql.login" Login High ["PASSWORD" "USERNAME"]
        "{src} tried to log in to MySQL as {USERNAME}";

    MSSQL_SQL_LOGIN = 9001 "mssql.sql_login" Login High
        ["AppName" "CltIntName" "Database" "HostName" "Language" "Password" "ServerName" "UserName"]
        "{src} tried to log in to SQL Server as {UserName}";
    MSSQL_WINDOWS_LOGIN = 9002 "mssql.windows_login" Login High ["DOMAINNAME" "HOSTNAME" "PASSWORD" "USERNAME"]
        "{src} tried to log in to SQL Server with the Windows account {USERNAME}";
    MYSQL_CONNECTION = 9003 "mysql.connection" Connect Medium
        "{src} connected to MySQL";

    TFTP_REQUEST = 10001 "tftp.request" Interact Medium ["FILENAME" "MODE" "OPCODE"]
        "{src} asked TFTP to {OPCODE} {FILENAME}";
    NTP_MONLIST = 11001 "ntp.monlist" Interact Medium ["NTP CMD"]
        "{src} sent an NTP monlist request";
    VNC_LOGIN = 12001 "vnc.login" Login High ["VNC Client Response" "VNC Password" "VNC Server Challenge"]
        "{src} tried to log in to VNC";
    SNMP_REQUEST = 13001 "snmp.request" Interact Medium ["COMMUNITY_STRING" "REQUESTS"]
        "{src} sent an SNMP request with community {COMMUNITY_STRING}";
    RDP_LOGIN = 14001 "rdp.login" Login High ["USERNAME"]
        "{src} tried Remote Desktop as {USERNAME}";
    SIP_REQUEST = 15001 "sip.request" Interact Medium ["HEADERS"]
        "{src} sent a SIP request";
    GIT_CLONE = 16001 "git.clone" Interact High ["HOST" "REPO"] details ["COMMAND" "PARAMETERS"]
        "{src} sent {COMMAND} for the git repository {REPO}";
    REDIS_COMMAND = 17001 "redis.command" Interact High ["ARGS" "CMD"]
        "{src} sent {CMD} to Redis";

    BANNER_CONNECTION = 18001 "tcpbanner.connection" Connect Medium ["BANNER_ID" "DATA" "FUNCTION"]
        "{src} connected to port {port}";
    BANNER_KEEP_ALIVE = 18002 "tcpbanner.keep_alive_connection" Connect Medium ["BANNER_ID" "DATA" "FUNCTION"]
        "{src} connected to port {port}";
    BANNER_SECRET = 18003 "tcpbanner.keep_alive_secret" Interact Informational ["BANNER_ID" "DATA" "FUNCTION" "SECRET_STRING"]
        "{src} sent the keep-alive secret to port {port}";
    BANNER_KEEP_ALIVE_DATA = 18004 "tcpbanner.keep_alive_data" Interact High ["BANNER_ID" "DATA" "FUNCTION"]
        "{src} sent data to port {port}";
    BANNER_DATA = 18005 "tcpbanner.data" Interact High ["ALERT_STRING" "BANNER_ID" "DATA" "FUNCTION"]
        "{src} sent {ALERT_STRING} to port {port}";

    LLMNR_RESPONSE = 19001 "llmnr.response" Interact High ["query_hostname" "response"]
        "{src} answered for the name {query_hostname}, which nobody has";

    MONGODB_CONNECTION = 20001 "mongodb.connection" Connect Medium ["action"]
        "{src} connected to MongoDB";
    MONGODB_DISCONNECT = 20001 "mongodb.disconnect" Connect Informational ["action"]
        "{src} left MongoDB";
    MONGODB_LOGIN = 20001 "mongodb.login" Login High ["action" "auth_data" "mechanism" "username"]
        "{src} tried to log in to MongoDB as {username}";
    MONGODB_COMMAND = 20001 "mongodb.command" Interact High ["action" "command" "query"]
        "{src} sent {command} to MongoDB";
    MONGODB_ERROR = 20001 "mongodb.error" Interact Medium ["action" "error"]
        "{src} confused MongoDB: {error}";

    CONNECTION_TOUCHED = 21001 "connection.touched" Connect Low ["BYTES" "DATA" "DURATION_MS" "SERVICE"] details ["JA3" "JA4" "SNI"]
        "{src} connected to {SERVICE} and left no login or command";
    CONNECTION_BROKEN = 21002 "connection.broken" Connect Low ["BYTES" "DATA" "DURATION_MS" "REASON" "SERVICE"] details ["JA3" "JA4" "SNI"]
        "{src} broke off with {SERVICE}: {REASON}";
    CONNECTION_FLOOD = 21003 "connection.flood" Connect High ["COUNT" "REASON" "SECONDS" "SERVICE"]
        "{src} sent {COUNT} more to {SERVICE}: {REASON}";
    HTTPPROXY_REQUEST = 21101 "httpproxy.request" Interact Medium ["METHOD" "URL"] details ["HEADERS"]
        "{src} asked the web proxy for {URL} without a password";
    SSH_PUBLICKEY = 21111 "ssh.publickey" Login High
        ["ALGORITHM" "FINGERPRINT" "KEYTYPE" "LOCALVERSION" "REMOTEVERSION" "SIGNED" "USERNAME"]
        details ["BITS" "CUT" "HASSH" "KEY" "PROVED" "SESSION"]
        "{src} offered SSH the key {FINGERPRINT} of {USERNAME}";
    SSH_METHOD = 21112 "ssh.method" Interact Medium ["LOCALVERSION" "METHOD" "REMOTEVERSION" "USERNAME"]
        details ["CUT" "HASSH" "PROBLEM" "SESSION"]
        "{src} tried to log in to SSH as {USERNAME} by {METHOD}";
    SSH_HANDSHAKE = 21113 "ssh.handshake" Connect Medium ["HASSH" "LOCALVERSION" "REMOTEVERSION"]
        details ["CIPHERS" "COMPRESSION" "HOSTKEYALGORITHMS" "KEXALGORITHMS" "MACS" "REASON" "SESSION"]
        "{src} looked at what SSH offers as {REMOTEVERSION} and left";
    SSH_REQUEST = 21114 "ssh.request" Interact High ["COMMAND" "REQUEST" "USERNAME"]
        details ["CHANNEL" "CUT" "ENVIRONMENT" "HASSH" "HOST" "ORIGIN" "PORT" "SESSION" "TERMINAL" "WINDOW"]
        "{src} asked SSH as {USERNAME} for {REQUEST} {COMMAND}";
    SSH_INPUT = 21115 "ssh.input" Interact High ["BYTES" "DATA" "USERNAME"]
        details ["CHANNEL" "HASSH" "SESSION"]
        "{src} sent {BYTES} bytes to an SSH session of {USERNAME}";

    INCIDENT_INFORMATIONAL = 22001 "incident.informational" Housekeeping Informational
        (INCIDENT_FIELDS) "{SENTENCE}";
    INCIDENT_LOW = 22001 "incident.low" Housekeeping Low
        (INCIDENT_FIELDS) "{SENTENCE}";
    INCIDENT_MEDIUM = 22001 "incident.medium" Housekeeping Medium
        (INCIDENT_FIELDS) "{SENTENCE}";
    INCIDENT_HIGH = 22001 "incident.high" Housekeeping High
        (INCIDENT_FIELDS) "{SENTENCE}";
    INCIDENT_CRITICAL = 22001 "incident.critical" Housekeeping Critical
        (INCIDENT_FIELDS) "{SENTENCE}";
    DETECTION_INFORMATIONAL = 22101 "detection.informational" Housekeeping Informational
        (DETECTION_FIELDS) "{SENTENCE}";
    DETECTION_LOW = 22101 "detection.low" Housekeeping Low
        (DETECTION_FIELDS) "{SENTENCE}";
    DETECTION_MEDIUM = 22101 "detection.medium" Housekeeping Medium
        (DETECTION_FIELDS) "{SENTENCE}";
    DETECTION_HIGH = 22101 "detection.high" Housekeeping High
        (DETECTION_FIELDS) "{SENTENCE}";
    DETECTION_CRITICAL = 22101 "detection.critical" Housekeeping Critical
        (DETECTION_FIELDS) "{SENTENCE}";

    USER_0 = 99000 "user.0" Interact Medium "{src} did something that a module of your own reports";
    USER_1 = 99001 "user.1" Interact Medium "{src} did something that a module of your own reports";
    USER_2 = 99002 "user.2" Interact Medium "{src} did something that a module of your own reports";
    USER_3 = 99003 "user.3" Interact Medium "{src} did something that a module of your own reports";
    USER_4 = 99004 "user.4" Interact Medium "{src} did something that a module of your own reports";
    USER_5 = 99005 "user.5" Interact Medium "{src} did something that a module of your own reports";
    USER_6 = 99006 "user.6" Interact Medium "{src} did something that a module of your own reports";
    USER_7 = 99007 "user.7" Interact Medium "{src} did something that a module of your own reports";
    USER_8 = 99008 "user.8" Interact Medium "{src} did something that a module of your own reports";
    USER_9 = 99009 "user.9" Interact Medium "{src} did something that a module of your own reports";
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn names_are_unique_and_numbers_ascend() {
        assert!(ALL.iter().map(|it| it.logtype).is_sorted());
        let mut names: Vec<_> = ALL.iter().map(|it| it.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn every_sentence_fills_in_fields_that_exist() {
        for kind in ALL {
            for part in kind.sentence.split('{').skip(1) {
                let name = part.split('}').next().unwrap();
                assert!(matches!(name, "src" | "port") || kind.declares(name), "{}: {{{name}}}", kind.name);
            }
            assert!(!kind.sentence.contains("{PASSWORD}"), "{} tells a password", kind.name);
        }
    }

    #[test]
    fn kinds_of_other_versions_keep_what_is_known_of_them() {
        let as_stored = |name| stored(name, 22001, Intent::Login, Severity::High, Ports::Text);
        assert!(std::ptr::eq(as_stored("ftp.login"), &raw const FTP_LOGIN));
        let newer = as_stored("teapot.brew");
        assert_eq!((newer.service, newer.logtype, newer.ports), ("teapot", 22001, Ports::Text));
        assert!(std::ptr::eq(newer, as_stored("teapot.brew")), "remembered, not made again");
        assert_eq!(as_stored(&"x".repeat(65)), &UNKNOWN);
    }

    /// `UPDATE=1 cargo test` rewrites the file; its diff shows what users' parsers will see.
    #[test]
    fn the_catalogue_is_as_published() {
        let mut text = String::from("# logtype\tname\tintent\tseverity\tlogdata\tdetails\tsentence\n");
        for kind in ALL {
            let mut fields = kind.fields.to_vec();
            fields.sort_unstable();
            writeln!(
                text,
                "{}\t{}\t{}\t{}\t{}\t{}\t{}",
                kind.logtype,
                kind.name,
                kind.intent.name(),
                kind.severity.name(),
                fields.join(","),
                kind.details.join(","),
                kind.sentence
            )
            .unwrap();
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/catalogue.golden");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(path).unwrap(), "run with UPDATE=1 and review the diff");
    }
}
