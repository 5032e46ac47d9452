//! What the process may still do once it serves.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::json;
use serin_tests::{Sensor, Setup, Talk, client, eventually, serin};
use tempfile::TempDir;

/// The value of a line in `/proc/PID/status`. proc(5).
fn status(pid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = text.lines().find(|it| it.starts_with(&format!("{name}:"))).expect("a line of that name");
    line.split_once(':').expect("a colon").1.trim().to_owned()
}

#[test]
fn root_is_left_behind_and_nothing_is_kept() {
    if !nix::unistd::geteuid().is_root() {
        println!("not run: only root has something to leave behind");
        return;
    }
    let sensor = Setup::of(&["ftp", "http"]).with("run.user", "nobody").start();
    let pid = sensor.pid();
    let tasks: Vec<u32> = fs::read_dir(format!("/proc/{pid}/task"))
        .expect("a process")
        .map(|it| it.expect("a thread").file_name().to_string_lossy().parse().expect("a number"))
        .collect();
    assert!(tasks.len() > 1, "{tasks:?}");
    for task in tasks {
        for user in status(task, "Uid").split_whitespace() {
            assert_ne!(user, "0", "thread {task}");
        }
        for group in status(task, "Gid").split_whitespace() {
            assert_ne!(group, "0", "thread {task}");
        }
        assert_eq!(status(task, "CapEff"), "0000000000000000", "thread {task}");
        assert_eq!(status(task, "CapPrm"), "0000000000000000", "thread {task}");
        assert_eq!(status(task, "NoNewPrivs"), "1", "thread {task}");
        assert_eq!(status(task, "Seccomp"), "2", "thread {task}: {}", sensor.said());
    }
    // And it still does its work: the log, the store, a login.
    let url = format!("ftp://u:p@127.0.0.1:{}/", sensor.port("ftp"));
    assert_eq!(client("curl", &["-sS", &url]).status, 67);
    assert_eq!(sensor.wait_for(2000, 1).len(), 1);
}

#[test]
fn what_it_keeps_is_closed_to_others() {
    let sensor = Setup::of(&["ftp", "https"]).start();
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&sensor.state()), 0o700);
    assert_eq!(mode(&sensor.log()) & 0o027, 0, "the log holds credentials: {:o}", mode(&sensor.log()));
    let key = sensor.folder().join("https.key");
    assert_eq!(mode(&key) & 0o077, 0, "a private key: {:o}", mode(&key));
}

#[test]
fn nothing_a_peer_sends_makes_it_connect_or_start_a_program() {
    let sensor = Setup::of(&["httpproxy", "http", "ftp", "git"]).start();
    let trap = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let bait = trap.local_addr().expect("an address");
    let proxy = format!("http://u:p@127.0.0.1:{}", sensor.port("httpproxy"));
    for arguments in [
        vec!["-sS", "-x", &proxy, &format!("http://{bait}/")],
        vec!["-sS", "-x", &proxy, "-p", &format!("http://{bait}/")],
        vec!["-sS", &format!("http://127.0.0.1:{}/index.html?url=http://{bait}/", sensor.port("http"))],
        vec!["-sS", "-P", "-", &format!("ftp://u:p@127.0.0.1:{}/", sensor.port("ftp"))],
    ] {
        let outcome = client("curl", &arguments);
        assert_ne!(outcome.status, 7, "{outcome:?}");
    }
    trap.set_nonblocking(true).expect("a socket");
    assert!(trap.accept().is_err(), "somebody came");
    let children =
        fs::read_to_string(format!("/proc/{0}/task/{0}/children", sensor.pid())).unwrap_or_default();
    assert_eq!(children, "", "it started a program");
}

/// A folder that everybody may read and only its owner may write to.
fn folder_for_all() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("a folder");
    folder
}

/// Changes the banner, asks for a reload, and waits until it is said.
#[track_caller]
fn takes_a_new_banner(mut sensor: Sensor) {
    sensor.set("ftp.banner", "after the reload");
    sensor.signal(Signal::SIGHUP);
    let port = sensor.port("ftp");
    eventually("the new banner", || {
        let banner = Talk::to(port).until("\r\n");
        (banner == b"220 after the reload\r\n").then_some(())
    });
}

/// A setup whose configuration is a link to `real.conf` in this folder, where nothing else is.
fn linked_to(elsewhere: &Path) -> Setup {
    let setup = Setup::of(&["ftp"]);
    let link = setup.folder().join("opencanary.conf");
    std::os::unix::fs::symlink(elsewhere.join("real.conf"), link).expect("a link");
    setup
}

#[test]
fn a_reload_finds_a_configuration_without_a_folder_in_its_name() {
    let elsewhere = folder_for_all();
    // The harness names the whole path of a link; the shell goes where the file is.
    let script =
        "cd \"$(dirname \"$(realpath \"$3\")\")\" && exec \"$0\" run --config real.conf --state-dir \"$5\"";
    takes_a_new_banner(linked_to(elsewhere.path()).inside(&["sh", "-c", script]).start());
}

#[test]
fn a_reload_follows_a_link_to_the_configuration() {
    let elsewhere = folder_for_all();
    takes_a_new_banner(linked_to(elsewhere.path()).start());
}

#[test]
fn a_reload_reads_the_folders_that_the_configuration_names() {
    let skin = folder_for_all();
    fs::write(skin.path().join("index.html"), "<p>first page</p>").expect("a file");
    let setup = Setup::of(&["ftp", "http"]).with("http.skindir", skin.path().display().to_string());
    let sensor = setup.start();
    let page = format!("http://127.0.0.1:{}/index.html", sensor.port("http"));
    assert!(client("curl", &["-sS", &page]).out.contains("first page"));
    fs::write(skin.path().join("index.html"), "<p>second page</p>").expect("a file");
    sensor.signal(Signal::SIGHUP);
    eventually("the second page", || {
        client("curl", &["-sS", &page]).out.contains("second page").then_some(())
    });
    takes_a_new_banner(sensor);
}

#[test]
fn a_log_that_cannot_be_rotated_is_told_at_the_start() {
    if !nix::unistd::geteuid().is_root() {
        println!("not run: only root can have a log where it may not go later");
        return;
    }
    let closed = folder_for_all();
    let (setup, log) = (Setup::of(&["ftp"]), closed.path().join("canary.log"));
    let own = setup.folder().join("log.json");
    let sensor = setup
        .with("run.user", "nobody")
        .with(
            "logger",
            json!({ "class": "PyLogger", "kwargs": { "handlers": {
                "file": { "class": "logging.FileHandler", "filename": own },
                "rotating": { "class": "logging.handlers.RotatingFileHandler", "filename": log,
                    "maxBytes": 1_000_000, "backupCount": 3 },
                "device": { "class": "logging.FileHandler", "filename": "/dev/null" },
            } } }),
        )
        .start();
    let told: Vec<_> =
        sensor.said().lines().filter(|it| it.contains("neither rotate")).map(str::to_owned).collect();
    assert_eq!(told.len(), 1, "{}", sensor.said());
    assert!(told[0].contains(&log.display().to_string()), "{told:?}");
    let health = format!("http://127.0.0.1:{}/health", sensor.port("console"));
    eventually("the same in /health", || {
        let answer = client("curl", &["-sS", &health]).out;
        (answer.contains("degraded") && answer.contains("cannot rotate")).then_some(())
    });
}

#[test]
fn a_folder_with_other_things_in_it_is_not_taken_over() {
    let setup = Setup::of(&[]);
    let (folder, config) = (folder_for_all(), setup.folder().join("serin.toml"));
    fs::write(folder.path().join("payroll.ods"), "").expect("a file");
    fs::write(&config, "[console]\nlisten = \"\"\n").expect("a file");
    let before = |it: &Path| fs::metadata(it).map(|it| (it.mode(), it.uid(), it.gid())).expect("it is there");
    let [was, file_was] = [folder.path(), &folder.path().join("payroll.ods")].map(before);
    let [config, state] = [&config, folder.path()].map(|it| it.display().to_string());
    let outcome = serin(setup.folder(), &["run", "--config", &config, "--state-dir", &state]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.err.contains("payroll.ods"), "{outcome:?}");
    assert_eq!(before(folder.path()), was);
    assert_eq!(before(&folder.path().join("payroll.ods")), file_was);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "something was put there");
}
