//! OpenCanary's file: everything that it takes loads, and what it gets wrong is put right.

use serde_json::json;

use super::*;

/// Every key of every service that OpenCanary reads, with the value of its sample file or, where it
/// has none there, of its code.
fn every_key() -> serde_json::Map<String, serde_json::Value> {
    let value: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/configs/every-key.conf")).unwrap();
    value.as_object().unwrap().clone()
}

fn whole(text: &str) -> Config {
    let path = Path::new("opencanary.conf");
    Config::parse(Catalogue::whole(), path, text, &Environment::default(), &folder).unwrap()
}

#[test]
fn every_key_is_known() {
    let keys = every_key();
    let config = whole(&serde_json::to_string_pretty(&keys).unwrap());
    let notes: Vec<_> = config.notes.iter().map(|it| format!("{}: {}", it.key, it.text)).collect();
    assert_eq!(notes, ["portscan.iptables_path: is no longer read, by OpenCanary neither"]);
    assert_eq!(config.node_id, "opencanary-1");
    assert_eq!(config.listen, ["0.0.0.0".parse::<IpAddr>().unwrap()]);
    // And each key under each prefix that takes bait.
    for service in [
        "ftp",
        "git",
        "http",
        "https",
        "httpproxy",
        "llmnr",
        "mongodb",
        "mssql",
        "mysql",
        "ntp",
        "portscan",
        "rdp",
        "redis",
        "smb",
        "ssh",
        "tcpbanner",
        "telnet",
        "tftp",
        "sip",
        "SIP",
        "SNMP",
        "VNC",
    ] {
        let config = opencanary(&format!("\"{service}.honeycreds\": [{{\"username\": \"x\"}}]")).unwrap();
        assert_eq!(notes_of(&config), [""; 0], "{service}");
        assert!(config.honeycreds.of(&service.to_lowercase()).is_some(), "{service}");
    }
}

fn notes_of(config: &Config) -> Vec<String> {
    notes(config)
}

#[test]
fn services_that_come_later_are_named_and_stop_nothing() {
    // As in the compose file: ftp, http, https, mongodb and portscan are on.
    let mut keys = every_key();
    for on in ["http.enabled", "https.enabled", "mongodb.enabled", "portscan.enabled"] {
        keys.insert(on.to_owned(), true.into());
    }
    keys.remove("portscan.iptables_path");
    let config = whole(&serde_json::Value::from(keys).to_string());
    let named: Vec<_> = config.notes.iter().map(|it| it.key.as_str()).collect();
    for (service, key) in
        [("mongodb", "mongodb.enabled"), ("portscan", "portscan.enabled"), ("ftp", "ftp.enabled")]
    {
        let here = serin_services::find(service).is_some();
        assert_eq!(named.contains(&key), !here, "{named:?}");
    }
}

#[test]
fn what_is_absent_is_what_opencanary_takes() {
    let config = opencanary("\"tcpbanner_2.enabled\": true").unwrap();
    let value = |key: &str| config.services.get(key).cloned();
    assert_eq!(value("telnet.port"), Some(json!(8023)));
    assert_eq!(value("ftp.banner"), Some(json!("FTP Ready.")));
    assert_eq!(
        (value("tcpbanner_2.initbanner"), value("tcpbanner_1.initbanner")),
        (Some(json!("old")), None)
    );
    let config = opencanary("\"ftp.banner\": \"mine\", \"device.listen_addr\": \"::\"").unwrap();
    assert_eq!(config.services.get("ftp.banner"), Some(&json!("mine")));
    assert_eq!(config.listen, ["::".parse::<IpAddr>().unwrap()]);
}

#[test]
fn what_upstream_overlooks_is_told_and_loads() {
    let config = opencanary(
        r#""ftp.baner": "x", "logtype.ignorelist": 1001, "ip.ignorelist": "10.0.0.0/8,office",
"telnet.port": "2323", "snmp.enabled": true, "http.skindir": "/skins/other", "nothing.like_it": 1,
"ftp.port": true, "ftp.port": 2121,"#,
    )
    .unwrap();
    assert_eq!(
        notes(&config),
        [
            "4:1  ftp.baner: no such setting; did you mean ftp.banner? It is ignored, as OpenCanary does",
            "4:19  logtype.ignorelist: is no list; taken as one, where OpenCanary would not have matched",
            "4:47  ip.ignorelist: is no list; taken as one, where OpenCanary would not have matched",
            "4:47  ip.ignorelist: \"office\" is no address and never matches",
            "5:1  telnet.port: \"2323\" is read as 2323",
            "5:24  snmp.enabled: this version does not have snmp yet; everything else runs",
            "5:46  http.skindir: /skins/other is not used: entity not found",
            "5:78  nothing.like_it: no such setting; ignored, as OpenCanary does",
            "6:19  ftp.port: is written twice; this one counts",
            "6:35  a comma before a closing bracket is not JSON; read without it",
        ]
    );
    assert!(config.ignore.drops("10.1.1.1".parse().ok(), 2000) && config.ignore.drops(None, 1001));
    assert_eq!(config.services.get("telnet.port"), Some(&json!(2323)));
}

#[test]
fn what_upstream_refuses_is_refused_in_words() {
    let text = r#"{
"device.name": "a b", "device.desc": "", "device.node_id": 5,
"ftp.enabled": "true", "telnet.enabled": 1, "snmp.enabled": null,
"ftp.port": 0, "telnet.port": 23.0, "snmp.port": "abc", "http.port": 65536,
"ssh.version": "OpenSSH", "ip.ignorelist": ["10.0.0.0/255.0.0.0"],
"telnet.honeycreds": {"username": "x"}, "http.enabled": true, "http.honeycreds": [5]
}"#;
    assert_eq!(
        complaints(parse("opencanary.conf", text, &[])),
        [
            r#"2:16  device.name: wants 1 to 100 letters, digits or any of +-#_, got "a b""#,
            r#"2:38  device.desc: wants 1 to 100 letters, digits, blanks or any of +-#_, got """#,
            "2:60  device.node_id: wants a string, got 5",
            r#"3:16  ftp.enabled: wants true or false, got "true""#,
            "3:42  telnet.enabled: wants true or false, got 1",
            "3:61  snmp.enabled: wants true or false, got null",
            "4:13  ftp.port: wants a port from 1 to 65535, got 0",
            "4:31  telnet.port: wants a port from 1 to 65535, got 23.0",
            r#"4:50  snmp.port: wants a port from 1 to 65535, got "abc""#,
            "4:70  http.port: wants a port from 1 to 65535, got 65536",
            r#"5:16  ssh.version: wants an identification such as SSH-2.0-OpenSSH_9.2p1, in one line of at most 253 characters, got "OpenSSH""#,
            r#"5:44  ip.ignorelist: "10.0.0.0/255.0.0.0" wants a prefix length, such as 10.0.0.0/8, not a mask"#,
            "6:22  telnet.honeycreds: wants a list of objects with username and password, got an object",
            "6:83  http.honeycreds.0: wants an object with username and password, got a number",
            "logger: is missing: it says where events go",
        ]
    );
    let complaint = complaints(parse("opencanary.conf", "{\"logger\": {}}", &[]));
    assert_eq!(
        complaint,
        [
            "1:12  logger: wants a class: \"PyLogger\"",
            "1:12  logger: wants kwargs, with handlers",
            "device.node_id: is missing: the name of this sensor, in every record",
        ]
    );
}

#[test]
fn texts_that_are_checked_take_what_upstream_takes_and_more() {
    for good in [
        r#""ssh.version": "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3""#,
        r#""ssh.version": "SSH-1.99-x""#,
        r#""ssh.version": "SSH-2x0-dropbear:1""#,
        r#""mysql.banner": "8.0.35""#,
        r#""mysql.banner": "10.11.6-MariaDB-0+deb12u1""#,
        r#""mssql.version": "2019""#,
        r#""mssql.version": "2008R2""#,
        r#""device.name": "A-1_#+", "device.desc": "a floor""#,
    ] {
        assert!(opencanary(good).is_ok(), "{good}");
    }
    for bad in [
        r#""ssh.version": "SSH-2.0-""#,
        r#""ssh.version": "SSH-2.0-a\r\nb""#,
        r#""ssh.version": "SSH-3.0-a""#,
        r#""ssh.version": "SSH-2.0-é""#,
    ] {
        assert_eq!(complaints(opencanary(bad)).len(), 1, "{bad}");
    }
}

#[test]
fn equal_ports_matter_where_both_are_on() {
    for fine in [
        r#""sip.enabled": true, "sip.port": 80, "http.enabled": true"#,
        r#""ftp.enabled": true, "telnet.port": 21"#,
        r#""telnet.port": 21, "ftp.port": 21"#,
    ] {
        assert!(opencanary(fine).is_ok(), "{fine}");
    }
    let same = r#""ftp.enabled": true, "telnet.enabled": true, "telnet.port": 21"#;
    assert_eq!(complaints(opencanary(same)), ["4:61  telnet.port: 21 is the port of ftp.port too"]);
}

#[test]
fn settings_of_services_that_are_off_are_not_judged() {
    assert!(opencanary("\"ftp.banner\": 5").is_ok());
    let on = complaints(opencanary("\"ftp.enabled\": true, \"ftp.banner\": 5"));
    assert_eq!(on, ["4:36  ftp.banner: wants a string, got 5"]);
}

#[test]
fn the_environment_fills_in_and_overrides() {
    let text = opencanary_text(r#""ftp.banner": "on $HOST ($NOBODY)", "ftp.port": "$PORT""#);
    let variables = [("HOST", "srv"), ("PORT", "2121"), ("SERIN_TELNET__BANNER", "hello")];
    let config = parse("opencanary.conf", &text, &variables).unwrap();
    assert_eq!(config.services.get("ftp.banner"), Some(&json!("on srv ($NOBODY)")));
    assert_eq!(config.services.get("ftp.port"), Some(&json!(2121)), "OpenCanary would refuse the string");
    assert_eq!(config.services.get("telnet.banner"), Some(&json!("hello")));
    assert_eq!(
        notes(&config),
        [
            "4:1  ftp.banner: was filled in from the environment",
            "4:37  ftp.port: was filled in from the environment",
            "4:37  ftp.port: \"2121\" is read as 2121",
        ]
    );
}

fn handlers(handlers: &str, more: &str) -> Result<Config, Complaints> {
    let text = format!(
        "{{\"device.node_id\": \"n\", {more} \"logger\": {{\"class\": \"PyLogger\", \"kwargs\": {{\n\"formatters\": {{\"f\": {{\"format\": \"%(nonsense)s\"}}}},\n\"handlers\": {{\n{handlers}\n}}}}}}}}"
    );
    parse("opencanary.conf", &text, &[])
}

#[test]
fn handlers_become_outputs() {
    let config = handlers(
        r#""console": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
"file": {"class": "logging.FileHandler", "filename": "/var/tmp/x.log", "mode": "a"},
"hook": {"class": "opencanary.logger.WebhookHandler", "url": "http://x/", "data": {"z": 1, "a": "%(message)s"}},
"mail": {"class": "logging.handlers.SMTPHandler", "mailhost": ["x", 2525], "fromaddr": "a@x", "toaddrs": "b@x",
    "subject": "s"}"#,
        "",
    )
    .unwrap();
    let outputs: Vec<_> = config.outputs.iter().map(|it| (it.name.as_str(), it.output.name)).collect();
    assert_eq!(outputs, [("console", "console"), ("file", "file"), ("hook", "webhook"), ("mail", "mail")]);
    assert_eq!(config.outputs[1].conf.get("file.path"), Some(&json!("/var/tmp/x.log")));
    // In the order of the file.
    assert_eq!(config.outputs[2].conf.get("webhook.data"), Some(&json!(r#"{"z":1,"a":"%(message)s"}"#)));
    assert_eq!(config.outputs[3].conf.get("mail.port"), Some(&json!(2525)));
    assert!(notes(&config).is_empty(), "{:?}", notes(&config));
}

#[test]
fn what_is_wrong_with_a_handler_has_a_place() {
    let wrong = handlers(
        r#""a": {"class": "my.own.Handler"},
"b": {"class": "logging.FileHandler", "filenam": "x"},
"c": {"class": "logging.StreamHandler", "formatter": "g"},
"d": {"class": "logging.StreamHandler", "formatter": "f"},
"e": "file",
"f": {"filename": "x"}"#,
        "",
    );
    let wrong = complaints(wrong);
    let starts = [
        "4:16  logger.kwargs.handlers.a.class: my.own.Handler is not a handler; this version has logging.FileHandler, logging.StreamHandler, ",
        "5:6  logger.kwargs.handlers.b.filename: is missing: the path of the file",
        "5:50  logger.kwargs.handlers.b.filenam: logging.FileHandler has no such argument; it takes ",
        "6:54  logger.kwargs.handlers.c.formatter: there is no formatter \"g\"; there are: f",
        "7:54  logger.kwargs.handlers.d.formatter: ",
        "8:6  logger.kwargs.handlers.e: wants a class, such as logging.FileHandler",
        "9:6  logger.kwargs.handlers.f: wants a class, such as logging.FileHandler",
    ];
    assert_eq!(wrong.len(), starts.len(), "{wrong:#?}");
    for (wrong, start) in wrong.iter().zip(starts) {
        assert!(wrong.starts_with(start), "{wrong}");
    }
}

#[test]
fn what_is_wrong_with_the_logger_is_told_at_once() {
    for (logger, wanted) in [
        (
            r#"{"class": "X"}"#,
            &[
                "1:40  logger: wants kwargs, with handlers",
                "1:50  logger.class: wants \"PyLogger\", got \"X\"",
            ][..],
        ),
        (r#"{"class": "PyLogger"}"#, &["1:40  logger: wants kwargs, with handlers"]),
        (
            r#"{"class": "X", "kwargs": {"handlers": {"a": {"class": "logging.StreamHandler", "steam": 1}}}}"#,
            &[
                "1:50  logger.class: wants \"PyLogger\", got \"X\"",
                "1:128  logger.kwargs.handlers.a.steam: logging.StreamHandler has no such argument; it takes stream",
            ],
        ),
        (
            r#"{"class": "PyLogger", "kwargs": {"handlers": []}}"#,
            &["1:72  logger.kwargs: wants handlers: an object of names and definitions"],
        ),
        ("5", &["1:40  logger: wants a class: \"PyLogger\"", "1:40  logger: wants kwargs, with handlers"]),
    ] {
        let text = format!("{{\"device.node_id\": \"canary\", \"logger\": {logger}}}");
        assert_eq!(complaints(parse("opencanary.conf", &text, &[])), wanted);
    }
}

#[test]
fn outputs_can_be_added_by_the_environment() {
    let text = opencanary_text("\"ftp.port\": 21");
    let variables = [("SERIN_OUTPUTS__MORE__TYPE", "file"), ("SERIN_OUTPUTS__MORE__PATH", "/x")];
    let config = parse("opencanary.conf", &text, &variables).unwrap();
    assert_eq!(config.outputs.len(), 1);
    assert_eq!(config.outputs[0].conf.get("file.path"), Some(&json!("/x")));
}

#[test]
fn what_python_takes_for_what_was_meant_is_taken_so() {
    let config = opencanary(
        r#""ftp.log_auth_attempt_initiated": 1, "ftp.banner": null, "device.listen_addr": null,
"ip.ignorelist": null, "telnet.honeycreds": "", "http.honeycreds": [5], "ftp.enabled": true,
"limits.connections": "12""#,
    )
    .unwrap();
    assert_eq!(config.services.get("ftp.log_auth_attempt_initiated"), Some(&json!(true)));
    assert_eq!(config.services.get("ftp.banner"), Some(&json!("FTP Ready.")));
    assert_eq!(config.limits.connections, Some(12));
    assert_eq!(
        notes(&config),
        [
            "4:1  ftp.log_auth_attempt_initiated: 1 is read as true",
            "4:38  ftp.banner: is null; taken as absent",
            "4:58  device.listen_addr: is null; taken as absent",
            "5:1  ip.ignorelist: is null; taken as absent",
            "5:69  http.honeycreds.0: wants an object with username and password, got a number",
            "6:1  limits.connections: \"12\" is read as 12",
        ]
    );
}
