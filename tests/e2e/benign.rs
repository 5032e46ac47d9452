//! Labels for well-known harmless tools, and who a source is, with the real program.

use std::fs;

use serde_json::{Value, json};
use serin_tests::{Sensor, Setup, client, eventually};

use super::outputs::log_in;

/// Asks the web server for a page with this user agent.
fn browse(sensor: &Sensor, agent: &str) {
    let page = format!("http://127.0.0.1:{}/index.html", sensor.port("http"));
    assert_eq!(client("curl", &["-sS", "-o", "/dev/null", "-A", agent, &page]).status, 0);
}

#[test]
fn a_scanner_is_labelled_with_all_it_does_and_hidden_only_on_request() {
    let mut sensor = Setup::of(&["ftp", "http"]).start();
    log_in(&sensor, 1);
    browse(&sensor, "Nessus SOAP");
    log_in(&sensor, 1);
    assert_eq!(sensor.wait_for(2000, 2).len(), 2);
    assert_eq!(sensor.wait_for(3000, 1).len(), 1);
    let labels = |kind| -> Vec<Value> { sensor.details(kind).iter().map(|it| it["LABEL"].clone()).collect() };
    assert_eq!(labels(2000), [Value::Null, json!(["nessus"])]);
    assert_eq!(labels(3000), [json!(["nessus"])]);
    assert!(sensor.details(3000)[0].get("IGNORED").is_none(), "a label alone hides nothing");

    sensor.set("benign.suppress", json!(["nesus"]));
    eventually("a word on the mistake", || {
        let told = "there is no pattern \\\"nesus\\\"; there are: appspider, censys, cups, expanse, insightvm, nagios, nessus";
        sensor.lines().iter().any(|it| it.line.contains(told)).then_some(())
    });
    sensor.set("benign.suppress", json!(["nessus"]));
    eventually("the reload", || {
        sensor.lines().iter().any(|it| it.line.contains("Configuration reloaded")).then_some(())
    });
    browse(&sensor, "Mozilla/5.0 (X11, U; Nessus)");
    assert_eq!(sensor.wait_for(3000, 2).len(), 2);
    let decided = json!({ "rule": "benign:nessus", "action": "suppress" });
    assert_eq!(sensor.details(3000)[1]["IGNORED"], decided);
}

/// A database in `MaxMind`'s format that knows a country for 0.0.0.0 to 127.255.255.255.
fn database(country: &str) -> Vec<u8> {
    let string = |text: &str| {
        let mut bytes = vec![0x40 | u8::try_from(text.len()).expect("a short text")];
        bytes.extend(text.as_bytes());
        bytes
    };
    let mut bytes = vec![0, 0, 17, 0, 0, 1];
    bytes.extend([0; 16]);
    // { "country": { "iso_code": … } }
    bytes.extend([vec![0xe1], string("country"), vec![0xe1], string("iso_code"), string(country)].concat());
    bytes.extend(b"\xab\xcd\xefMaxMind.com");
    let metadata: [(&str, Vec<u8>); 9] = [
        ("node_count", vec![0xc1, 1]),
        ("record_size", vec![0xa1, 24]),
        ("ip_version", vec![0xa1, 4]),
        ("database_type", string("Test")),
        ("languages", vec![0, 4]),
        ("binary_format_major_version", vec![0xa1, 2]),
        ("binary_format_minor_version", vec![0xa0]),
        ("build_epoch", vec![1, 2, 1]),
        ("description", vec![0xe0]),
    ];
    bytes.push(0xe9);
    for (name, value) in metadata {
        bytes.extend(string(name));
        bytes.extend(value);
    }
    bytes
}

#[test]
fn a_source_has_its_name_and_place_though_the_sensor_is_confined() {
    // The name is in /etc/hosts; started as root, the sensor is nobody and sandboxed when it looks.
    let mut setup = Setup::of(&["ftp"]);
    if nix::unistd::geteuid().is_root() {
        setup = setup.with("run.user", "nobody");
    }
    let path = setup.folder().join("own.mmdb");
    fs::write(&path, "no database at all").expect("a file");
    let sensor = setup.with("enrich.databases", json!([path])).start();
    eventually("a word on the broken database", || {
        let told =
            |it: &serin_tests::Event| it.logtype() == 1003 && it.line.contains("own.mmdb cannot be used");
        sensor.lines().iter().any(told).then_some(())
    });
    fs::write(&path, database("NL")).expect("a file");
    eventually("name and country", || {
        log_in(&sensor, 1);
        let details = sensor.details(2000);
        let source = &details.last()?["SOURCE"];
        let name = source["name"].as_str()?;
        (name.contains("localhost") && source["country"] == "NL").then_some(())
    });
    let complaints = sensor.lines().iter().filter(|it| it.line.contains("own.mmdb")).count();
    assert_eq!(complaints, 1, "told once");
}
