//! What whoever runs a sensor does: mistakes in the file, taken ports, reloads, looking after it.

use std::fs;
use std::net::TcpListener;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use serin_tests::{Setup, Talk, client, eventually, free_port, serin};

fn greeting(port: u16) -> String {
    String::from_utf8_lossy(&Talk::to(port).until("\r\n")).into_owned()
}

#[test]
fn a_taken_port_fails_its_service_alone() {
    let port = free_port();
    let _other = TcpListener::bind(("127.0.0.1", port)).expect("the port was free");
    let sensor = Setup::of(&["git"]).with("ftp.enabled", true).with("ftp.port", port).start();
    let told = sensor.wait_for(1003, 1);
    assert!(told[0].line.contains("ftp.port") && told[0].line.contains(&port.to_string()), "{told:#?}");
    assert!(sensor.said().contains("ftp.port"), "{}", sensor.said());
    let url = format!("git://127.0.0.1:{}/x.git", sensor.port("git"));
    assert_eq!(client("git", &["ls-remote", &url]).status, 128);
    assert_eq!(sensor.wait_for(16001, 1).len(), 1);
    let health = format!("http://127.0.0.1:{}/health", sensor.port("console"));
    let answer = client("curl", &["-sS", "-w", "%{http_code}", &health]).out;
    assert!(answer.ends_with("503") && answer.contains("ftp.port"), "{answer}");
}

#[test]
fn a_wrong_configuration_starts_nothing_and_tells_everything() {
    let setup = Setup::of(&["ftp"]);
    let port = free_port();
    let text = format!(
        "{{\n  \"device.node_id\": \"x\",\n  \"ftp.enabled\": \"yes please\",\n  \"ftp.port\": {port},\n  \
         \"http.enabled\": true,\n  \"http.port\": 99999,\n  \"git.enabled\": 1,\n  \"logger\": {{}}\n}}\n"
    );
    let file = setup.folder().join("wrong.conf");
    fs::write(&file, text).expect("a file");
    let (file, state) = (file.display().to_string(), setup.folder().join("state").display().to_string());
    for arguments in [vec!["run", "--config", &file, "--state-dir", &state], vec!["check", "--config", &file]]
    {
        let outcome = serin(setup.folder(), &arguments);
        assert_eq!(outcome.status, 1, "{outcome:?}");
        for wanted in ["ftp.enabled", "http.port", "git.enabled", "logger", "yes please", "99999"] {
            assert!(outcome.words().contains(wanted), "{wanted}: {outcome:?}");
        }
    }
    assert!(TcpListener::bind(("127.0.0.1", port)).is_ok(), "something was started");
}

#[test]
fn a_file_that_is_no_json_names_the_place() {
    let setup = Setup::of(&[]);
    let file = setup.folder().join("broken.conf");
    fs::write(&file, "{\n  \"ftp.enabled\": true,\n  \"ftp.port\" 21\n}\n").expect("a file");
    let outcome = serin(setup.folder(), &["check", "--config", &file.display().to_string()]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.words().contains('3'), "the line: {outcome:?}");
}

#[test]
fn a_service_of_later_versions_is_named_and_does_not_stop_the_rest() {
    let sensor = Setup::of(&["ftp"])
        .with("ssh.enabled", true)
        .with("ssh.port", free_port())
        .with("mysql.enabled", true)
        .start();
    assert_eq!(greeting(sensor.port("ftp")), "220 FTP Ready.\r\n");
    for name in ["ssh", "mysql"] {
        assert!(sensor.said().contains(name), "{name} is not named: {}", sensor.said());
    }
}

#[test]
fn a_reload_changes_what_is_said_and_a_wrong_one_nothing() {
    let mut sensor = Setup::of(&["ftp"]).with("ftp.banner", "first").start();
    assert_eq!(greeting(sensor.port("ftp")), "220 first\r\n");
    sensor.set("ftp.banner", "second");
    sensor.signal(Signal::SIGHUP);
    eventually("the second banner", || (greeting(sensor.port("ftp")) == "220 second\r\n").then_some(()));
    sensor.set("ftp.enabled", "perhaps");
    sensor.signal(Signal::SIGHUP);
    eventually("a word about ftp.enabled", || sensor.said().contains("ftp.enabled").then_some(()));
    let told = sensor.wait_for(1003, 1);
    assert!(told.iter().any(|it| it.line.contains("ftp.enabled")), "{told:#?}");
    assert_eq!(greeting(sensor.port("ftp")), "220 second\r\n");
}

#[test]
fn a_reload_opens_and_closes_ports() {
    let mut sensor = Setup::of(&["ftp"]).start();
    let git = free_port();
    sensor.set("git.enabled", true);
    sensor.set("git.port", git);
    sensor.set("ftp.enabled", false);
    sensor.signal(Signal::SIGHUP);
    let open = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    eventually("git to be served and FTP not", || (open(git) && !open(sensor.port("ftp"))).then_some(()));
}

#[test]
fn the_environment_overrides_the_file() {
    let port = free_port();
    let sensor = Setup::of(&["ftp"])
        .env("SERIN_FTP__PORT", &port.to_string())
        .env("SERIN_FTP__BANNER", "from outside")
        .start();
    assert_eq!(greeting(port), "220 from outside\r\n");
    drop(sensor);
}

#[test]
fn ignored_sources_and_kinds_leave_no_line() {
    let sensor = Setup::of(&["ftp", "git"])
        .with("ftp.log_auth_attempt_initiated", true)
        .with("ip.ignorelist", json!(["127.0.0.2/32"]))
        .with("logtype.ignorelist", json!([2001]))
        .start();
    let visit = |source: &str, user: &str| {
        let url = format!("ftp://{user}:x@127.0.0.1:{}/", sensor.port("ftp"));
        assert_eq!(client("curl", &["-sS", "--interface", source, &url]).status, 67);
    };
    visit("127.0.0.2", "ignored");
    visit("127.0.0.3", "seen");
    let events = sensor.wait_for(2000, 1);
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(
        (&events[0].json["src_host"], &events[0].json["logdata"]["USERNAME"]),
        (&json!("127.0.0.3"), &json!("seen"))
    );
    assert!(sensor.events().iter().all(|it| it.logtype() != 2001));
}

#[test]
fn health_and_metrics_answer() {
    let sensor = Setup::of(&["ftp"]).start();
    let url = format!("ftp://u:p@127.0.0.1:{}/", sensor.port("ftp"));
    assert_eq!(client("curl", &["-sS", &url]).status, 67);
    assert_eq!(sensor.wait_for(2000, 1).len(), 1);
    let base = format!("http://127.0.0.1:{}", sensor.port("console"));
    let health = client("curl", &["-sSf", &format!("{base}/health")]);
    assert_eq!(health.status, 0, "{health:?}");
    let health: Value = serde_json::from_str(&health.out).expect("JSON");
    assert_eq!(health["status"], "ok", "{health}");
    assert_eq!(health["node_id"], "opencanary-1", "{health}");
    let metrics = client("curl", &["-sSf", &format!("{base}/metrics")]);
    assert_eq!(metrics.status, 0, "{metrics:?}");
    assert!(
        metrics.out.lines().any(|it| it.starts_with("serin_events_total{")
            && it.contains("ftp.login")
            && it.ends_with(" 1")),
        "{}",
        metrics.out
    );
    assert!(metrics.out.ends_with("# EOF\n"), "{}", metrics.out);
}

#[test]
fn a_second_sensor_on_the_same_state_is_refused() {
    let sensor = Setup::of(&["ftp"]).start();
    let other = Setup::of(&["git"]);
    let file = other.folder().join("other.conf");
    let conf = json!({ "device.node_id": "two", "git.enabled": true, "git.port": free_port(), "console.listen": "",
        "logger": { "class": "PyLogger", "kwargs": { "handlers": {} } } });
    fs::write(&file, conf.to_string()).expect("a file");
    let state = sensor.state().display().to_string();
    let outcome =
        serin(other.folder(), &["run", "--config", &file.display().to_string(), "--state-dir", &state]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
}
