//! Settings that OpenCanary knows, and which this version may have no use for: those of services
//! that come later, and those that nothing reads any more.

/// The services of OpenCanary, with their settings beside `enabled`, `port` and `honeycreds`. Of
/// one that has arrived, the table of all settings is asked first, and this one no more.
const SERVICES: &[(&str, &[&str])] = &[
    ("ftp", &["banner", "log_auth_attempt_initiated"]),
    ("git", &[]),
    ("http", &["banner", "skin", "skindir", "log_unimplemented_method_requests", "log_redirect_request"]),
    ("https", &["skin", "certificate", "key", "domain_name"]),
    ("httpproxy", &["skin", "banner"]),
    ("llmnr", &["hostname", "query_interval", "query_splay"]),
    ("mongodb", &["version"]),
    ("mssql", &["version"]),
    ("mysql", &["banner", "log_connection_made"]),
    ("ntp", &[]),
    ("portscan", &["logfile", "synrate", "nmaposrate", "lorate", "ignore_localhost", "ignore_ports"]),
    ("rdp", &[]),
    ("redis", &["max_arg_length"]),
    ("sip", &[]),
    ("smb", &["auditfile"]),
    ("snmp", &[]),
    ("ssh", &["version", "key_path", "preauth_banner"]),
    ("tcpbanner", &["maxnum"]),
    (
        "tcpbanner_N",
        &[
            "initbanner",
            "datareceivedbanner",
            "alertstring.enabled",
            "alertstring",
            "keep_alive.enabled",
            "keep_alive_secret",
            "keep_alive_probes",
            "keep_alive_interval",
            "keep_alive_idle",
        ],
    ),
    ("telnet", &["banner", "log_tcp_connection"]),
    ("tftp", &[]),
    ("vnc", &[]),
];

/// Settings that stand in files of the field and that OpenCanary itself does not read.
pub(crate) const UNUSED: &[&str] = &["http.skin.list", "httproxy.skin.list", "portscan.iptables_path"];

/// Whether `key` belongs to a service that comes later, and to which.
pub(crate) fn service_of(key: &str) -> Option<&'static str> {
    let (section, rest) = key.split_once('.')?;
    SERVICES.iter().find_map(|(name, keys)| {
        let common = ["enabled", "port", "honeycreds"].contains(&rest);
        let base = name.trim_end_matches("_N");
        let here = *name == section || (base != *name && super::keys::is_slot(section, base));
        (here && (common || keys.contains(&rest))).then_some(base)
    })
}

/// All keys of all services of OpenCanary, slots as `N`.
pub(crate) fn names() -> impl Iterator<Item = String> {
    SERVICES.iter().flat_map(|(name, keys)| {
        ["enabled", "port", "honeycreds"].iter().chain(*keys).map(move |it| format!("{name}.{it}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_and_dotted_names_are_found() {
        assert_eq!(service_of("tcpbanner_3.keep_alive.enabled"), Some("tcpbanner"));
        assert_eq!(service_of("snmp.port"), Some("snmp"));
        assert_eq!(service_of("tcpbanner_x.port"), None);
        assert_eq!(service_of("ssh.nothing"), None);
    }
}
