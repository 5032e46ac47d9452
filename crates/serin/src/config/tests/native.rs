//! `serin.toml`.

use super::*;

#[test]
fn a_file_says_everything() {
    let text = r#"
honeycreds = [{ username = "svc", password = "planted" }]

[device]
node_id = "web-dmz"
listen_addr = ["10.0.0.1", "fe80::1"]
hostname = "srv01"

[ip]
ignorelist = ["10.9.0.0/16"]

[logtype]
ignorelist = [2001]

[limits]
connections = 0
session_time = 90

[store]
durability = "normal"

[console]
listen = ""

[ftp]
enabled = true
port = 2121

[http]
enabled = true
skindir = "/skins/mine"

[tcpbanner]
enabled = true
[tcpbanner_3]
enabled = true
port = 25
alertstring = "x"
"alertstring.enabled" = true
"#;
    let config = parse("serin.toml", text, &[("SERIN_FTP__PORT", "2222")]).unwrap();
    assert_eq!(notes(&config), [""; 0]);
    assert_eq!(
        (config.node_id.as_str(), config.hostname.as_str(), config.listen.len()),
        ("web-dmz", "srv01", 2)
    );
    assert!(config.ignore.drops("10.9.1.1".parse().ok(), 1) && config.ignore.drops(None, 2001));
    assert!(config.honeycreds.of("ftp").unwrap().check(Some(b"svc"), Some(b"planted")));
    assert_eq!(
        (config.limits.connections, config.limits.session_time),
        (None, Some(std::time::Duration::from_secs(90)))
    );
    assert_eq!((config.store.durability, config.console), (Durability::Normal, None));
    assert_eq!(config.services.get("ftp.port"), Some(&2222.into()), "the environment wins");
    assert_eq!(config.services.folder("http.skindir").unwrap().0.len(), 1);
    assert_eq!(config.services.get("tcpbanner_3.alertstring.enabled"), Some(&true.into()));
}

#[test]
fn nothing_said_is_every_default() {
    let config = parse("serin.toml", "[device]", &[]).unwrap();
    assert_eq!(config.listen, ["0.0.0.0", "::"].map(|it| it.parse::<IpAddr>().unwrap()));
    assert_eq!((config.node_id.as_str(), config.services.iter().count()), ("serin-1", 0));
    assert_eq!(config.run, sensor::Run { user: None, group: None, sandbox: true });
    assert!(config.honeycreds.is_empty());
}

#[test]
fn every_mistake_has_its_own_words() {
    let text = r#"
[device]
listen_addr = "eth0"
[ftp]
port = "21"
banner = 5
[ftq]
enabled = true
[http]
skindir = "/skins/other"
[tcpbanner_2]
prot = 25
[telnet]
honeycreds = [{ username = 1 }, { password = "$2b$10$x" }]
[ip]
ignorelist = ["10.0.0.0/255.0.0.0", "office"]
[logtype]
ignorelist = ["1001"]
[limits]
session_time = 90000
"#;
    assert_eq!(
        complaints(parse("serin.toml", text, &[("SERIN_FTP__PROT", "1")])),
        [
            r#"3:15  device.listen_addr: wants an IP address of this host, or a list of them, got "eth0""#,
            r#"5:8  ftp.port: wants a port from 1 to 65535, got "21""#,
            "6:10  ftp.banner: wants a string, got 5",
            "8:1  ftq.enabled: no such setting; did you mean ftp.enabled?",
            "10:11  http.skindir: /skins/other cannot be read: entity not found",
            "12:1  tcpbanner_2.prot: no such setting; did you mean tcpbanner_2.port?",
            "14:28  telnet.honeycreds.0.username: wants a string, got a number",
            "14:46  telnet.honeycreds.1.password: is not a whole bcrypt hash",
            r#"16:14  ip.ignorelist: "10.0.0.0/255.0.0.0" wants a prefix length, such as 10.0.0.0/8, not a mask"#,
            r#"16:14  ip.ignorelist: "office" is no address and never matches"#,
            r#"18:14  logtype.ignorelist: "1001" is a string and never matches; write 1001"#,
            "20:16  limits.session_time: wants a number of seconds, at most a day, got 90000",
            "SERIN_FTP__PROT  ftp.prot: no such setting; did you mean ftp.port?",
        ]
    );
}

#[test]
fn one_port_is_for_one_service() {
    let text = "[ftp]\nenabled = true\nport = 8737\n[telnet]\nenabled = true\nport = 80\n[http]\nenabled = true\n[console]\nlisten = \"127.0.0.1:8737\"";
    assert_eq!(
        complaints(parse("serin.toml", text, &[])),
        [
            "6:8  telnet.port: 80 is the port of http.port too",
            "10:10  console.listen: 8737 is the port of ftp.port too",
        ]
    );
    let usual = parse("serin.toml", "[ftp]\nenabled = true\nport = 8737\n", &[]).unwrap();
    assert_eq!(usual.console, None, "the usual port gives way");
    assert_eq!(
        notes(&usual),
        ["console.listen: 8737 is the port of ftp.port too; there is no console until this is set"]
    );
    let off = "[ftp]\nenabled = true\n[telnet]\nenabled = false\nport = 21\n";
    assert!(parse("serin.toml", off, &[]).is_ok(), "a service that is off holds no port");
    let apart = format!("{text}\n[device]\nlisten_addr = \"10.0.0.1\"\n").replace("port = 80\n", "");
    assert!(parse("serin.toml", &apart, &[]).is_ok(), "nor does one on another address");
}

#[test]
fn outputs_are_named_tables() {
    let config = parse("serin.toml", "[device]", &[]).unwrap();
    let name = |config: &Config| config.outputs.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    assert_eq!(name(&config), ["console"], "where none is named, events are printed");
    assert_eq!(name(&parse("serin.toml", "[outputs]", &[]).unwrap()), [""; 0], "unless none is wanted");
    let text = "[outputs.siem]\ntype = 'file'\npath = '/x'\n[outputs.\"b c\"]\ntype = 'console'\n";
    let config = parse("serin.toml", text, &[("SERIN_OUTPUTS__SIEM__KEEP", "3")]).unwrap();
    assert_eq!(name(&config), ["b c", "siem"]);
    assert_eq!(config.outputs[1].conf.get("file.keep"), Some(&3.into()));
    let text = "[outputs.a]\npath = 1\n[outputs.b]\ntype = 'fax'\n[outputs.c]\ntype = 'file'\npaht = '/x'\n[outputs.d]\ntype = 'file'\npath = 5\n[outputs]\ne = 5\n";
    let kinds: Vec<_> = crate::outputs::ALL.iter().map(|it| it.name).collect();
    let kinds = kinds.join(", ");
    let complaints = complaints(parse("serin.toml", text, &[]));
    assert_eq!(complaints.len(), 6, "{complaints:#?}");
    assert_eq!(complaints[0], format!("1:10  outputs.a: wants a type, one of: {kinds}"));
    assert_eq!(complaints[1], format!("4:8  outputs.b.type: wants one of: {kinds}, got \"fax\""));
    assert_eq!(complaints[3], "7:1  outputs.c.paht: no such setting; did you mean outputs.c.path?");
    assert_eq!(complaints[4], "10:8  outputs.d.path: wants a string, got 5");
    assert_eq!(complaints[5], "12:5  outputs.e: wants a table with a type, got 5");
}
