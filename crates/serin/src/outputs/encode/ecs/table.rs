//! What each kind of event means in the words of the Elastic Common Schema, and where its fields go.

use serin_event::Kind;

/// One row.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// `event.category`.
    pub(crate) category: &'static [&'static str],
    /// `event.type`. Where the category is intrusion detection, `info` is among them: that category
    /// allows few others.
    pub(crate) types: &'static [&'static str],
    /// `event.action`.
    pub(crate) action: &'static str,
    /// A field that says more precisely what was done.
    pub(crate) action_field: &'static str,
    /// `event.outcome`; empty where there is none.
    pub(crate) outcome: &'static str,
    /// `threat.technique.id`, of MITRE ATT&CK.
    pub(crate) techniques: &'static [&'static str],
    /// Fields and details, and where they go. What is not named here goes below `opencanary.logdata`
    /// and `opencanary.details`.
    pub(crate) fields: &'static [(&'static str, &'static str)],
}

/// For the sensor's own words.
const SENSOR: Mapping = Mapping {
    category: &["host"],
    types: &["info"],
    action: "message",
    action_field: "",
    outcome: "",
    techniques: &[],
    fields: &[],
};
const LOGIN: Mapping = Mapping {
    category: &["authentication", "intrusion_detection"],
    types: &["start", "info"],
    action: "login-attempt",
    outcome: "failure",
    techniques: &["T1110"],
    fields: &[("USERNAME", "user.name"), ("PASSWORD", "opencanary.logdata.password")],
    ..SENSOR
};
const CONNECTION: Mapping = Mapping {
    category: &["network", "intrusion_detection"],
    types: &["connection", "start", "info"],
    action: "connection",
    techniques: &["T1046"],
    ..SENSOR
};
const WEB_FIELDS: &[(&str, &str)] = &[
    ("PATH", "url.path"),
    ("QUERY", "url.query"),
    ("HOSTNAME", "url.domain"),
    ("REQUEST_TYPE", "http.request.method"),
    ("METHOD", "http.request.method"),
    ("STATUS", "http.response.status_code"),
    ("BODY", "http.request.body.content"),
    ("USERAGENT", "user_agent.original"),
    ("SKIN", "opencanary.skin"),
    ("USERNAME", "user.name"),
    ("PASSWORD", "opencanary.logdata.password"),
];
const WEB: Mapping = Mapping {
    category: &["web", "intrusion_detection"],
    types: &["access", "info"],
    action: "http-request",
    techniques: &["T1190", "T1595"],
    fields: WEB_FIELDS,
    ..SENSOR
};
const SSH_FIELDS: &[(&str, &str)] = &[
    ("USERNAME", "user.name"),
    ("PASSWORD", "opencanary.logdata.password"),
    ("NEWPASSWORD", "opencanary.logdata.newpassword"),
    ("REMOTEVERSION", "opencanary.ssh.remote_version"),
    ("LOCALVERSION", "opencanary.ssh.local_version"),
    ("METHOD", "opencanary.ssh.method"),
    ("ACCEPTED", "opencanary.ssh.accepted"),
    ("FINGERPRINT", "opencanary.ssh.key.fingerprint"),
    ("KEYTYPE", "opencanary.ssh.key.type"),
    ("ALGORITHM", "opencanary.ssh.key.algorithm"),
    ("BITS", "opencanary.ssh.key.bits"),
    ("KEY", "opencanary.ssh.key.blob"),
    ("SIGNED", "opencanary.ssh.key.signed"),
    ("PROVED", "opencanary.ssh.key.proved"),
    ("REQUEST", "opencanary.ssh.request"),
    ("COMMAND", "process.command_line"),
    ("BYTES", "source.bytes"),
];
const SSH: Mapping = Mapping {
    category: &["network"],
    types: &["protocol", "info"],
    action: "ssh-version",
    fields: SSH_FIELDS,
    ..SENSOR
};
const SSH_LOGIN: Mapping =
    Mapping { category: &["authentication"], types: &["start"], fields: SSH_FIELDS, ..LOGIN };
const SCAN: Mapping = Mapping {
    category: &["network", "intrusion_detection"],
    types: &["connection", "info"],
    action: "port-scan",
    techniques: &["T1046", "T1595.001"],
    fields: &[("IN", "observer.ingress.interface.name")],
    ..SENSOR
};
const BANNER: Mapping = Mapping {
    category: &["network"],
    types: &["info"],
    action: "tcp-banner",
    action_field: "FUNCTION",
    techniques: &["T1046"],
    fields: &[
        ("BANNER_ID", "opencanary.tcp_banner.banner_id"),
        ("DATA", "opencanary.tcp_banner.data"),
        ("SECRET_STRING", "opencanary.tcp_banner.secret_string"),
        ("ALERT_STRING", "opencanary.tcp_banner.alert_string"),
        ("FUNCTION", "opencanary.tcp_banner.function"),
    ],
    ..SENSOR
};
const MONGODB_FIELDS: &[(&str, &str)] = &[
    ("username", "user.name"),
    ("auth_data", "opencanary.mongodb.auth_data"),
    ("mechanism", "opencanary.mongodb.mechanism"),
    ("command", "opencanary.mongodb.command"),
    ("query", "opencanary.mongodb.query"),
    ("error", "error.message"),
    ("action", "opencanary.mongodb.action"),
];
const DATABASE: Mapping = Mapping {
    category: &["database", "intrusion_detection"],
    types: &["access", "info"],
    action: "database-command",
    techniques: &["T1190"],
    ..SENSOR
};
const TOUCH_FIELDS: &[(&str, &str)] = &[
    ("BYTES", "source.bytes"),
    ("DATA", "opencanary.connection.data"),
    ("REASON", "event.reason"),
    ("COUNT", "opencanary.connection.count"),
    ("SECONDS", "opencanary.connection.seconds"),
];
const INCIDENT: Mapping = Mapping {
    category: &["intrusion_detection"],
    action: "incident",
    fields: &[
        ("RULE", "rule.name"),
        ("FIRST", "event.start"),
        ("LAST", "event.end"),
        ("ID", "opencanary.incident.id"),
        ("CHANGE", "opencanary.incident.change"),
        ("COUNT", "opencanary.incident.count"),
        ("INTENT", "opencanary.incident.intent"),
        ("SAMPLES", "opencanary.incident.samples"),
        ("PASSWORDS", "opencanary.incident.passwords"),
        ("PORTS", "opencanary.incident.ports"),
        ("TARGETS", "opencanary.incident.targets"),
        ("EVENTS", "opencanary.incident.events"),
        ("DETECTIONS", "opencanary.incident.detections"),
        ("USERS", "related.user"),
    ],
    ..SENSOR
};
const DETECTION: Mapping = Mapping {
    category: &["intrusion_detection"],
    action: "detection",
    fields: &[
        ("TITLE", "rule.name"),
        ("RULE_ID", "rule.id"),
        ("AUTHOR", "rule.author"),
        ("LICENSE", "rule.license"),
        ("REFERENCES", "rule.reference"),
        ("TIME", "event.start"),
        ("ID", "opencanary.detection.id"),
        ("COUNT", "opencanary.detection.count"),
        ("CORRELATION", "opencanary.detection.correlation"),
        ("EVENTS", "opencanary.detection.events"),
        ("FIGURE", "opencanary.detection.figure"),
        ("GROUP", "opencanary.detection.group"),
        ("LATE", "opencanary.detection.late"),
        ("LEVEL", "opencanary.detection.level"),
        ("PLACE", "opencanary.detection.place"),
        ("RAISES", "opencanary.detection.raises"),
        ("SATURATED", "opencanary.detection.saturated"),
        ("SOURCES", "opencanary.detection.sources"),
        ("TAGS", "opencanary.detection.tags"),
    ],
    ..SENSOR
};
/// What a module of the operator's own, or a newer version, reported.
pub(super) const OTHER: Mapping =
    Mapping { category: &["intrusion_detection"], action: "interaction", ..SENSOR };

/// The row of this kind; `None` for kinds that this table does not have.
#[allow(clippy::too_many_lines, reason = "a table with a row for each kind")]
pub(super) fn row(kind: &Kind) -> Option<Mapping> {
    Some(match kind.name {
        "sensor.boot" => Mapping { types: &["start"], action: "boot", ..SENSOR },
        "sensor.message" | "sensor.debug" | "sensor.error" => SENSOR,
        "sensor.ping" => Mapping { action: "ping", ..SENSOR },
        "sensor.config" => {
            Mapping { category: &["configuration"], types: &["change"], action: "config-save", ..SENSOR }
        }
        "example.login" => Mapping { action: "example", ..OTHER },
        "ftp.login" | "telnet.login" | "mysql.login" => LOGIN,
        "httpproxy.login" => Mapping {
            fields: &[
                ("USERNAME", "user.name"),
                ("PASSWORD", "opencanary.logdata.password"),
                ("URL", "url.original"),
                ("METHOD", "http.request.method"),
            ],
            ..LOGIN
        },
        "httpproxy.request" => Mapping {
            fields: &[("URL", "url.original"), ("METHOD", "http.request.method")],
            techniques: &["T1090"],
            ..WEB
        },
        "ftp.auth_initiated" | "telnet.connection" | "mysql.connection" => CONNECTION,
        "mongodb.connection" => Mapping { fields: MONGODB_FIELDS, ..CONNECTION },
        "http.get" | "http.unimplemented_method" | "http.redirect" => WEB,
        "http.login" => Mapping {
            category: &["authentication", "web"],
            types: &["start", "info"],
            action: LOGIN.action,
            outcome: LOGIN.outcome,
            techniques: LOGIN.techniques,
            ..WEB
        },
        "ssh.connection" => Mapping {
            category: &["network"],
            types: &["connection", "start"],
            fields: SSH_FIELDS,
            ..CONNECTION
        },
        "ssh.version" => SSH,
        "ssh.handshake" => Mapping { action: "ssh-handshake", techniques: &["T1046"], ..SSH },
        "ssh.login" | "ssh.publickey" | "ssh.method" => SSH_LOGIN,
        "ssh.request" | "ssh.input" => Mapping {
            category: &["network", "intrusion_detection"],
            action: "ssh-session",
            action_field: "REQUEST",
            techniques: &["T1021.004"],
            ..SSH
        },
        "smb.file_open" => Mapping {
            category: &["file", "network"],
            types: &["access"],
            action: "open",
            action_field: "AUDITACTION",
            techniques: &["T1021.002", "T1039"],
            fields: &[
                ("FILENAME", "file.name"),
                ("USER", "user.name"),
                ("DOMAIN", "user.domain"),
                ("LOCALNAME", "destination.domain"),
                ("REMOTENAME", "source.domain"),
                ("SHARENAME", "opencanary.smb.share_name"),
                ("SMBVER", "opencanary.smb.smb_version"),
                ("SMBARCH", "opencanary.smb.smb_arch"),
                ("STATUS", "opencanary.smb.status"),
                ("AUDITACTION", "opencanary.smb.audit_action"),
            ],
            ..SENSOR
        },
        "portscan.syn" | "portscan.nmap_os" | "portscan.nmap_null" | "portscan.nmap_xmas"
        | "portscan.nmap_fin" => SCAN,
        "mssql.sql_login" => Mapping {
            fields: &[
                ("UserName", "user.name"),
                ("Password", "opencanary.logdata.password"),
                ("AppName", "opencanary.mssql.app_name"),
                ("HostName", "opencanary.mssql.host_name"),
                ("CltIntName", "opencanary.mssql.client_interface_name"),
                ("Database", "opencanary.mssql.database"),
                ("Language", "opencanary.mssql.language"),
                ("ServerName", "opencanary.mssql.server_name"),
            ],
            ..LOGIN
        },
        "mssql.windows_login" => Mapping {
            fields: &[
                ("USERNAME", "user.name"),
                ("PASSWORD", "opencanary.logdata.password"),
                ("DOMAINNAME", "user.domain"),
                ("HOSTNAME", "opencanary.mssql.host_name"),
            ],
            ..LOGIN
        },
        "tftp.request" => Mapping {
            category: &["network", "file"],
            types: &["access"],
            action: "tftp-request",
            action_field: "OPCODE",
            techniques: &["T1105"],
            fields: &[
                ("FILENAME", "file.name"),
                ("MODE", "opencanary.tftp.mode"),
                ("OPCODE", "opencanary.tftp.opcode"),
            ],
            ..SENSOR
        },
        "ntp.monlist" => Mapping {
            category: &["network"],
            types: &["protocol", "info"],
            action: "monlist",
            techniques: &["T1498.002"],
            fields: &[("NTP CMD", "opencanary.ntp.cmd")],
            ..SENSOR
        },
        "vnc.login" => Mapping {
            category: &["authentication"],
            types: &["start"],
            techniques: &["T1110", "T1021.005"],
            fields: &[
                ("VNC Password", "opencanary.vnc.password"),
                ("VNC Server Challenge", "opencanary.vnc.server_challenge"),
                ("VNC Client Response", "opencanary.vnc.client_response"),
            ],
            ..LOGIN
        },
        "snmp.request" => Mapping {
            category: &["network"],
            types: &["protocol", "info"],
            action: "snmp-get",
            techniques: &["T1602.001"],
            fields: &[
                ("COMMUNITY_STRING", "opencanary.snmp.community"),
                ("REQUESTS", "opencanary.snmp.requests"),
            ],
            ..SENSOR
        },
        "rdp.login" => Mapping {
            category: &["authentication", "network"],
            types: &["start", "info"],
            techniques: &["T1110", "T1021.001"],
            ..LOGIN
        },
        "sip.request" => Mapping {
            category: &["network"],
            types: &["protocol", "info"],
            action: "sip-request",
            techniques: &["T1595"],
            fields: &[("HEADERS", "opencanary.sip.headers")],
            ..SENSOR
        },
        "git.clone" => Mapping {
            category: &["network", "file"],
            types: &["access"],
            action: "git-clone",
            techniques: &["T1213.003"],
            fields: &[
                ("REPO", "opencanary.git.repo"),
                ("HOST", "opencanary.git.host"),
                ("COMMAND", "opencanary.git.command"),
            ],
            ..SENSOR
        },
        "redis.command" => Mapping {
            action: "redis-command",
            action_field: "CMD",
            fields: &[("CMD", "opencanary.redis.command"), ("ARGS", "opencanary.redis.args")],
            ..DATABASE
        },
        "tcpbanner.connection" => Mapping {
            category: CONNECTION.category,
            types: CONNECTION.types,
            action: CONNECTION.action,
            action_field: "",
            ..BANNER
        },
        "tcpbanner.keep_alive_connection"
        | "tcpbanner.keep_alive_secret"
        | "tcpbanner.keep_alive_data"
        | "tcpbanner.data" => BANNER,
        "llmnr.response" => Mapping {
            category: &["network", "intrusion_detection"],
            types: &["protocol", "info"],
            action: "llmnr-response",
            techniques: &["T1557.001"],
            fields: &[("query_hostname", "dns.question.name"), ("response", "opencanary.llmnr.response")],
            ..SENSOR
        },
        "mongodb.disconnect" => Mapping {
            category: &["network"],
            types: &["connection", "end"],
            action: "disconnection",
            fields: MONGODB_FIELDS,
            ..SENSOR
        },
        "mongodb.login" => Mapping { fields: MONGODB_FIELDS, ..LOGIN },
        "mongodb.command" => Mapping { action: "mongodb-command", fields: MONGODB_FIELDS, ..DATABASE },
        "mongodb.error" => Mapping {
            category: &["network"],
            types: &["protocol", "info"],
            action: "protocol-error",
            fields: MONGODB_FIELDS,
            ..SENSOR
        },
        "connection.touched" | "connection.flood" => Mapping { fields: TOUCH_FIELDS, ..CONNECTION },
        "connection.broken" => {
            Mapping { types: &["connection", "end", "info"], fields: TOUCH_FIELDS, ..CONNECTION }
        }
        "incident.informational"
        | "incident.low"
        | "incident.medium"
        | "incident.high"
        | "incident.critical" => INCIDENT,
        "detection.informational"
        | "detection.low"
        | "detection.medium"
        | "detection.high"
        | "detection.critical" => DETECTION,
        "user.0" | "user.1" | "user.2" | "user.3" | "user.4" | "user.5" | "user.6" | "user.7" | "user.8"
        | "user.9" => Mapping { action: "user-module", ..OTHER },
        _ => return None,
    })
}
