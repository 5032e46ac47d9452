//! The command line, and the verbs of `opencanaryd`.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use serin_tests::{Sensor, Setup, binary, client, client_in, eventually, free_port, serin};

fn visited() -> Sensor {
    let sensor = Setup::of(&["ftp", "git"]).start();
    let url = format!("ftp://alice:secret-word@127.0.0.1:{}/", sensor.port("ftp"));
    assert_eq!(client("curl", &["-sS", &url]).status, 67);
    assert_eq!(sensor.wait_for(2000, 1).len(), 1);
    sensor
}

#[test]
fn events_are_told_in_the_form_that_is_asked_for() {
    let sensor = visited();
    let json = sensor.ask(&["events", "--json"]);
    assert_eq!(json.status, 0, "{json:?}");
    let log: Vec<_> = sensor.lines().iter().map(|it| it.line.clone()).collect();
    let lines: Vec<_> = json.out.lines().collect();
    assert!(lines.contains(&log.last().expect("a line").as_str()), "{json:?}");
    let words = sensor.ask(&["events"]);
    assert!(words.out.contains("127.0.0.1 tried to log in to FTP as alice"), "{words:?}");
    assert!(!words.out.contains("secret-word"), "a password on a screen: {words:?}");
    let csv = sensor.ask(&["events", "--csv", "--service", "ftp"]);
    assert!(csv.out.starts_with("seq,time,kind,"), "{csv:?}");
    assert_eq!(csv.out.lines().count(), 2, "{csv:?}");
    let none = sensor.ask(&["events", "--json", "--source", "192.0.2.0/24"]);
    assert_eq!((none.status, none.out.as_str()), (0, ""));
    let wrong = sensor.ask(&["events", "--kind", "ftp.lgoin"]);
    assert_ne!(wrong.status, 0);
    assert!(wrong.err.contains("ftp.login"), "{wrong:?}");
}

#[test]
fn tail_shows_what_happens() {
    let sensor = visited();
    let mut tail = Command::new(binary())
        .args(["tail", "--state-dir"])
        .arg(sensor.state())
        .stdout(Stdio::piped())
        .spawn()
        .expect("serin starts");
    let mut out = tail.stdout.take().expect("a pipe");
    let url = format!("git://127.0.0.1:{}/live.git", sensor.port("git"));
    assert_eq!(client("git", &["ls-remote", &url]).status, 128);
    let mut heard = String::new();
    while !heard.contains("live.git") {
        let mut buffer = [0; 512];
        let count = out.read(&mut buffer).expect("a pipe");
        assert!(count > 0, "tail ended: {heard}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    tail.kill().expect("a running tail");
    tail.wait().expect("its end");
    assert!(heard.contains("alice"), "what was before is shown first: {heard}");
}

#[test]
fn outputs_tell_how_they_are() {
    let sensor = visited();
    let status = sensor.ask(&["outputs", "status"]);
    assert_eq!(status.status, 0, "{status:?}");
    assert!(status.out.contains("file"), "{status:?}");
    let config = sensor.config().display().to_string();
    let test = sensor.ask(&["outputs", "test", "file", "--config", &config]);
    assert_eq!(test.status, 0, "{test:?}");
    eventually("the test event in the file", || {
        sensor.lines().iter().any(|it| it.line.to_lowercase().contains("test")).then_some(())
    });
    let wrong = sensor.ask(&["outputs", "test", "fiel", "--config", &config]);
    assert_eq!(wrong.status, 1, "{wrong:?}");
    assert!(wrong.err.contains("file"), "{wrong:?}");
}

#[test]
fn a_configuration_is_made_checked_and_carried_over() {
    let setup = Setup::of(&[]);
    let folder = setup.folder();
    let made = serin(folder, &["init", "--out", "serin.toml"]);
    assert_eq!(made.status, 0, "{made:?}");
    let checked = serin(folder, &["check", "--config", "serin.toml"]);
    assert_eq!(checked.status, 0, "{checked:?}");
    let again = serin(folder, &["init", "--out", "serin.toml"]);
    assert_ne!(again.status, 0, "an existing file is kept: {again:?}");

    let old = r#"{"device.node_id": "branch-7", "ftp.enabled": true, "ftp.port": 2121, "ftp.banner": "Hello there",
        "logger": {"class": "PyLogger", "kwargs": {"handlers": {"file": {"class": "logging.FileHandler", "filename": "/var/tmp/opencanary.log"}}}}}"#;
    fs::write(folder.join("old.conf"), old).expect("a file");
    let imported = serin(folder, &["import", "old.conf"]);
    assert_eq!(imported.status, 0, "{imported:?}");
    for wanted in ["branch-7", "2121", "Hello there", "/var/tmp/opencanary.log"] {
        assert!(imported.out.contains(wanted), "{wanted}: {imported:?}");
    }
    fs::write(folder.join("new.toml"), &imported.out).expect("a file");
    let checked = serin(folder, &["check", "--config", "new.toml"]);
    assert_eq!(checked.status, 0, "{checked:?}");
}

#[test]
fn what_is_generated_is_whole() {
    let setup = Setup::of(&[]);
    let schema = serin(setup.folder(), &["schema"]);
    let schema: Value = serde_json::from_str(&schema.out).expect("JSON");
    assert!(schema.to_string().contains("login_delay"), "{schema}");
    let completions = serin(setup.folder(), &["completions", "bash"]);
    assert!(completions.out.contains("_serin()"), "{completions:?}");
    let man = serin(setup.folder(), &["man"]);
    assert!(man.out.contains(".TH") && man.out.contains("events"), "{man:?}");
    let version = serin(setup.folder(), &["--version"]);
    assert!(version.out.starts_with("serin "), "{version:?}");
    for command in ["run", "check", "init", "import", "schema", "tail", "events", "outputs"] {
        let help = serin(setup.folder(), &[command, "--help"]);
        assert_eq!(help.status, 0, "{help:?}");
    }
}

fn opencanaryd() -> String {
    let path = binary().with_file_name("opencanaryd");
    assert!(path.is_file(), "{} is missing; `./test build` makes it", path.display());
    path.display().to_string()
}

#[test]
fn opencanaryds_small_verbs() {
    let setup = Setup::of(&[]);
    let run = |arguments: &[&str]| client_in(setup.folder(), &opencanaryd(), arguments, "");
    assert_eq!(run(&["--version"]).out, "0.9.9\n");
    assert_ne!(run(&[]).status, 0);
    assert_ne!(run(&["--strat"]).status, 0);
    if nix::unistd::geteuid().is_root() {
        // With an /etc of its own, which is gone with the process.
        let script = format!(
            "mount -t tmpfs none /etc && '{0}' --copyconfig && cat /etc/opencanaryd/opencanary.conf && '{0}' --copyconfig",
            opencanaryd()
        );
        let copied = client("unshare", &["-m", "sh", "-c", &script]);
        assert_ne!(copied.status, 0, "a second copy is refused: {copied:?}");
        assert!(copied.out.contains("[*] A sample config file is ready"), "{copied:?}");
        assert!(copied.out.contains("device.node_id"), "{copied:?}");
    } else {
        println!("--copyconfig not run: only root can mount an /etc of its own");
    }
}

/// Does something when a test ends, however it ends.
struct AtTheEnd<'a>(&'a dyn Fn());

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn opencanaryd_starts_restarts_and_stops() {
    let setup = Setup::of(&[]);
    let folder = setup.folder();
    let (port, config) = (free_port(), folder.join("oc.conf"));
    let log = folder.join("oc.log");
    let conf = serde_json::json!({ "device.node_id": "oc", "device.listen_addr": "127.0.0.1", "ftp.enabled": true, "ftp.port": port,
        "console.listen": "", "store.state_dir": folder.join("oc-state"),
        "logger": { "class": "PyLogger", "kwargs": { "handlers": { "file": { "class": "logging.FileHandler", "filename": log } } } } });
    fs::write(&config, conf.to_string()).expect("a file");
    let (config, pid_file) = (format!("--config={}", config.display()), folder.join("oc.pid"));
    let pid_option = format!("--pidfile={}", pid_file.display());
    let run = |verb: &str| client_in(folder, &opencanaryd(), &[verb, &config, &pid_option], "");
    let pid = || fs::read_to_string(&pid_file).unwrap_or_default().trim().to_owned();
    let serves = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();

    // Also when a step below fails.
    let _end = AtTheEnd(&|| drop(run("--stop")));
    let started = run("--start");
    assert_eq!(started.status, 0, "{started:?}");
    let first = pid();
    assert!(serves());
    assert_ne!(run("--start").status, 0, "one is running already");
    let restarted = run("--restart");
    assert_eq!(restarted.status, 0, "{restarted:?}");
    assert!(serves() && pid() != first);
    let stopped = run("--stop");
    assert_eq!(stopped.status, 0, "{stopped:?}");
    assert!(!serves());
    let lines = fs::read_to_string(&log).expect("a log");
    assert_eq!(lines.matches("Canary running!!!").count(), 2, "{lines}");
}

/// A configuration for `opencanaryd` with FTP on this port and its state in `state`.
fn small_config(folder: &Path, port: u16) -> String {
    let conf = json!({ "device.node_id": "oc", "device.listen_addr": "127.0.0.1", "ftp.enabled": true,
        "ftp.port": port, "console.listen": "", "store.state_dir": folder.join("state"),
        "logger": { "class": "PyLogger", "kwargs": { "handlers": {} } } });
    let config = folder.join("oc.conf");
    fs::write(&config, conf.to_string()).expect("a file");
    config.display().to_string()
}

#[test]
fn opencanaryd_hears_of_the_start_whatever_the_umask_and_keeps_what_is_said() {
    let setup = Setup::of(&[]);
    let (folder, port) = (setup.folder(), free_port());
    let config = small_config(folder, port);
    let run = |verb: &str| {
        let script =
            format!("umask 077; exec '{}' {verb} --config='{config}' --pidfile=oc.pid", opencanaryd());
        client_in(folder, "sh", &["-c", &script], "")
    };
    let started = run("--start");
    assert_eq!(started.status, 0, "{started:?}");
    let said = folder.join("state/serin.log");
    let heard = || fs::read_to_string(&said).unwrap_or_default();
    assert!(heard().contains("ftp"), "{}", heard());
    assert_eq!(fs::metadata(&said).expect("a log").permissions().mode() & 0o777, 0o600);
    assert!(!folder.join("state/serin.log.new").exists());
    fs::write(&config, "{ \"ftp.enabled\": perhaps }").expect("a file");
    eventually("a word about the mistake", || heard().contains("was not taken").then_some(()));
    let stopped = run("--stop");
    assert_eq!(stopped.status, 0, "{stopped:?}");
    let refused = run("--start");
    assert!(refused.status == 1 && refused.err.contains("oc.conf"), "{refused:?}");
    assert!(heard().contains("was not taken"), "a failed start keeps the log of the last one");
}

#[test]
fn opencanaryd_leaves_nothing_running_when_it_fails() {
    let setup = Setup::of(&[]);
    let (folder, port) = (setup.folder(), free_port());
    let config = format!("--config={}", small_config(folder, port));
    let outcome = client_in(folder, &opencanaryd(), &["--start", &config, "--pidfile=no/such/oc.pid"], "");
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.err.contains("no/such/oc.pid"), "{outcome:?}");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "it serves all the same");
    let state: Vec<_> = fs::read_dir(folder.join("state")).expect("a folder").flatten().collect();
    assert!(state.iter().all(|it| it.file_name() != "serin.log.new"), "{state:?}");
}

#[test]
fn opencanaryd_runs_in_the_foreground() {
    let setup = Setup::of(&["ftp"]);
    let pid_file = format!("--pidfile={}", setup.folder().join("oc.pid").display());
    let mut sensor = setup.start();
    assert!(sensor.stop().success());
    let config = format!("--config={}", sensor.config().display());
    let mut child = Command::new(opencanaryd())
        .args(["--dev", &config, &pid_file])
        .env("SERIN_STATE_DIR", sensor.state())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("opencanaryd starts");
    let port = sensor.port("ftp");
    eventually("FTP to be served", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    let url = format!("ftp://dev:x@127.0.0.1:{port}/");
    assert_eq!(client("curl", &["-sS", &url]).status, 67);
    assert_eq!(sensor.wait_for(2000, 1).len(), 1);
    let pid = i32::try_from(child.id()).expect("a process number");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM)
        .expect("a signal");
    child.wait().expect("its end");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}
