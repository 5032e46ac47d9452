//! What the process may still do once it serves.

use std::fs;

use serin_tests::{Setup, client};

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
    use std::os::unix::fs::PermissionsExt as _;
    let sensor = Setup::of(&["ftp", "https"]).start();
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
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
