//! Whole configurations: what loads, what does not, and what is said of it.

mod catalogue;
mod native;
mod opencanary;
mod printed;
mod ssh;
mod told;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serin_services::conf::{File, Folder};

use super::*;
use catalogue::CATALOGUE;

/// An environment of these variables.
fn environment(variables: &[(&str, &str)]) -> Environment {
    let variables = variables.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect();
    Environment { variables }
}

/// A disk with one folder, `/skins/mine`.
fn folder(path: &Path) -> io::Result<Folder> {
    if path != Path::new("/skins/mine") {
        return Err(io::ErrorKind::NotFound.into());
    }
    let file = File { bytes: Arc::from(&b"<p>"[..]), modified: 1 };
    Ok(Folder(BTreeMap::from([("index.html".to_owned(), file)])))
}

fn parse(file: &str, text: &str, variables: &[(&str, &str)]) -> Result<Config, Complaints> {
    Config::parse(CATALOGUE, Path::new(file), text, &environment(variables), &folder)
}

/// An OpenCanary file with a name, a place for events, and `more` members.
fn opencanary(more: &str) -> Result<Config, Complaints> {
    parse("opencanary.conf", &opencanary_text(more), &[])
}

fn opencanary_text(more: &str) -> String {
    format!(
        "{{\n\"device.node_id\": \"n\",\n\"logger\": {{\"class\": \"PyLogger\", \"kwargs\": {{\"handlers\": {{}}}}}},\n{more}\n}}"
    )
}

/// What there is to know of a configuration, beside that nothing is on in it and that its events go
/// nowhere else.
fn notes(config: &Config) -> Vec<String> {
    let usual =
        |it: &&Note| [draft::NOTHING_ENABLED, super::opencanary::NO_HANDLERS].contains(&it.text.as_str());
    config.notes.iter().filter(|it| !usual(it)).map(ToString::to_string).collect()
}

#[test]
fn a_configuration_in_which_nothing_is_on_is_told_so() {
    let told = |text: &str| {
        let config = parse("serin.toml", text, &[]).unwrap();
        config.notes.iter().any(|it| it.to_string() == draft::NOTHING_ENABLED)
    };
    assert!(told("[ftp]\nport = 21") && !told("[ftp]\nenabled = true"));
}

/// The complaints, without heading.
fn complaints(result: Result<Config, Complaints>) -> Vec<String> {
    result.unwrap_err().list.iter().map(ToString::to_string).collect()
}

#[test]
fn a_broken_file_is_reported_whole() {
    let text = "[ftp]\nenabled = \"yes please\"\nbaner = 'x'\n\n[console]\nlisten = \"everywhere\"\n";
    let mut out = Vec::new();
    check::tell(&parse("serin.toml", text, &[]), &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"serin.toml: 3 things to put right

  2:11  ftp.enabled: wants true or false, got "yes please"
  3:1  ftp.baner: no such setting; did you mean ftp.banner?
  6:10  console.listen: wants an address and port such as 127.0.0.1:8737, or "" for none, got "everywhere"

Nothing was started.
"#
    );
    let summary = parse("serin.toml", text, &[]).unwrap_err().summary();
    assert_eq!(summary, "2:11  ftp.enabled: wants true or false, got \"yes please\"; and 2 more");
}

#[test]
fn a_good_file_is_told_with_what_there_is_to_know() {
    let mut out = Vec::new();
    check::tell(&parse("serin.toml", "[ftp]\nenabled = true\n", &[]), &mut out).unwrap();
    check::tell(&parse("serin.toml", "[snmp]\nenabled = true\n[ftp]\nenabled = true\n", &[]), &mut out)
        .unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "serin.toml: fine\nserin.toml: fine, with 1 thing to know\n\n  \
         2:1  snmp.enabled: this version does not have snmp yet; everything else runs\n"
    );
}

#[test]
fn the_form_is_seen_from_the_content() {
    let dialect = |text: &str| parse("x", text, &[]).map(|it| it.dialect);
    assert_eq!(dialect("[ftp]"), Ok(Dialect::Native));
    assert_eq!(dialect("# a comment\n[ftp]\nport = 2121"), Ok(Dialect::Native));
    assert_eq!(
        dialect(&format!("\u{feff}// hi\n/* there */ {}", opencanary_text("\"ftp.port\": 1"))),
        Ok(Dialect::OpenCanary)
    );
    let complaint = parse("opencanary.conf", "\"ftp.port\": 21", &[]).unwrap_err().summary();
    assert!(
        complaint.starts_with("1:11  an OpenCanary file begins with {; taken as a serin.toml, not TOML: "),
        "{complaint}"
    );
}

#[test]
fn without_a_file_everything_runs_on_loopback_without_privileges() {
    let config = Config::demo(CATALOGUE, &environment(&[("SERIN_TELNET__ENABLED", "false")])).unwrap();
    assert_eq!(config.dialect, Dialect::Demo);
    assert_eq!(config.listen, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    let values: Vec<_> = config.services.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(
        values,
        [
            "ftp.enabled=true",
            "ftp.port=20021",
            "http.enabled=true",
            "http.port=20080",
            "tcpbanner.enabled=true",
            "tcpbanner_1.enabled=true",
            "tcpbanner_1.initbanner=\"220 ESMTP ready\\r\\n\"",
            "tcpbanner_1.port=20025",
            "telnet.enabled=false",
            "telnet.port=20023",
        ]
    );
    assert_eq!(config.console, Some("127.0.0.1:8737".parse().unwrap()));
    assert_eq!(config.limits.connections_per_source, Some(12_000));
    let complaint = complaints(Config::demo(CATALOGUE, &environment(&[("SERIN_FTP__PORT", "zero")])));
    assert_eq!(complaint, [r#"SERIN_FTP__PORT  ftp.port: wants a port from 1 to 65535, got "zero""#]);
}

#[test]
fn the_demo_profile_of_this_version_is_sound() {
    let config = Config::demo(Catalogue::whole(), &Environment::default()).unwrap();
    for service in serin_services::ALL {
        assert!(config.services.enabled(service), "{}", service.name);
        for listening in (service.build)(&config.services).unwrap() {
            assert!(listening.port >= 1024, "{} needs privileges", listening.key);
        }
    }
}

/// What a fuzzer would try first: every cut, every byte turned over or doubled.
#[test]
fn no_text_breaks_the_reader() {
    let json = opencanary_text(
        r#""ip.ignorelist": ["10/8", "::1/33"], "SIP.honeycreds": [{"password": "$6$a$b"}], // x
        "tcpbanner_1.enabled": true, "http.skindir": "/skins/${HOME}", "a": [NaN, -1.5e3, "\u00e4", null],}"#,
    );
    let toml = "[ftp]\nport = 21 # x\n\"a.b\" = [1, { c = '''x\n''' }]\n[[telnet.honeycreds]]\nusername = \"ä\"\n[outputs.x]\ntype = 1979-05-27\n";
    for text in [json.as_str(), toml] {
        let bytes = text.as_bytes();
        for at in 0..bytes.len() {
            let (before, after) = bytes.split_at(at);
            let mut texts = vec![before.to_vec(), after.to_vec(), [before, &[0], after].concat()];
            for turned in [b'"', b'{', b'[', b',', b'/', b'\\', b'$', b'.', b'\n', 0xff, b'9', b'_'] {
                let mut bytes = bytes.to_vec();
                bytes[at] = turned;
                texts.push(bytes);
            }
            for text in texts {
                let text = String::from_utf8_lossy(&text);
                let _ = parse("x.conf", &text, &[("HOME", "/x")]).map_err(|it| it.to_string());
            }
        }
    }
    for nested in ["[", "{\"a\":", "/*", "{\"a\":[", "a={b=", "[[a."] {
        let _ = parse("x", &nested.repeat(20_000), &[]);
        let _ = parse("x", &format!("{{{}", nested.repeat(20_000)), &[]);
    }
}
