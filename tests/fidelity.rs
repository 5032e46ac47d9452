//! Side by side with the genuine servers: each script under `tests/fidelity/` starts one, sends the
//! same bytes to it and to us, and names every difference.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serin_tests::{Setup, binary, client_in};

/// Scripts that are run below; the others are parts of them.
const SCRIPTS: &[&str] = &["ftp.py", "git.py", "squid.py", "ssh.py", "telnet.py", "web.py"];
const PARTS: &[&str] = &["peer.py", "ssh_client.py", "ssh_login_probes.py", "ssh_probes.py", "web_probes.py"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fidelity")
}

/// Where the genuine servers are.
fn genuine() -> String {
    serin_tests::genuine().display().to_string()
}

/// Runs a script and shows what it found.
#[track_caller]
fn compare(script: &str, arguments: &[&str]) {
    let path = folder().join(script).display().to_string();
    // The locale of a service on Debian; some servers tell theirs.
    let mut all = vec!["LC_ALL=C.UTF-8", "python3", "-B", &path];
    all.extend(arguments);
    let outcome = client_in(&folder(), "env", &all, "");
    println!("{}", outcome.words());
    assert_eq!(outcome.status, 0, "{script} {arguments:?}: {}", outcome.words());
}

fn at(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn ftp(banner: &str) -> Setup {
    // Waiting before a refusal is part of what is compared.
    Setup::of(&["ftp"]).with("ftp.banner", banner).with("ftp.login_delay", 3)
}

#[test]
fn every_script_is_run() {
    let found: BTreeSet<String> = fs::read_dir(folder())
        .expect("a folder of scripts")
        .map(|it| it.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|it| Path::new(it).extension().is_some_and(|end| end == "py"))
        .collect();
    let known: BTreeSet<String> = SCRIPTS.iter().chain(PARTS).map(|it| (*it).to_owned()).collect();
    assert_eq!(found, known);
}

#[test]
fn ftp_beside_vsftpd() {
    let sensor = ftp("(vsFTPd 3.0.3)").start();
    compare("ftp.py", &["--ours", &at(sensor.port("ftp"))]);
}

#[test]
fn ftp_beside_vsftpd_with_tls() {
    let sensor = ftp("(vsFTPd 3.0.3)").with("ftp.tls", true).start();
    compare("ftp.py", &["--ours", &at(sensor.port("ftp")), "--tls"]);
}

#[test]
fn ftp_beside_proftpd() {
    let sensor = ftp("ProFTPD Server (Debian) [127.0.0.1]").start();
    compare("ftp.py", &["--ours", &at(sensor.port("ftp")), "--server", "proftpd", "--root", &genuine()]);
}

#[test]
fn ftp_beside_pure_ftpd() {
    let sensor = ftp("--------- Welcome to Pure-FTPd [privsep] [TLS] ----------").start();
    compare("ftp.py", &["--ours", &at(sensor.port("ftp")), "--server", "pure-ftpd", "--root", &genuine()]);
}

#[test]
fn git_beside_git_daemon() {
    let sensor = Setup::of(&["git"]).start();
    compare("git.py", &["--ours", &at(sensor.port("git"))]);
}

#[test]
fn proxy_beside_squid() {
    let sensor = Setup::of(&["httpproxy"]).start();
    compare("squid.py", &["--ours", &at(sensor.port("httpproxy"))]);
}

#[test]
fn ssh_beside_openssh() {
    compare("ssh.py", &["--serin", &binary().display().to_string()]);
}

#[test]
fn ssh_beside_dropbear() {
    // Its accounts need a shell and a home on this machine, so nobody logs in.
    let serin = binary().display().to_string();
    compare("ssh.py", &["--serin", &serin, "--server", "dropbear", "--skip", "session"]);
}

#[test]
fn telnet_beside_busybox() {
    let sensor =
        Setup::of(&["telnet"]).with("telnet.product", "busybox").with("telnet.login_delay", 3).start();
    let busybox = Path::new(&genuine()).join("bin/busybox").display().to_string();
    compare("telnet.py", &["--ours", &at(sensor.port("telnet")), "--busybox", &busybox]);
}

#[test]
fn web_beside_nginx_and_apache() {
    compare("web.py", &["--serin", &binary().display().to_string()]);
}
