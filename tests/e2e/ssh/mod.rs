//! SSH, played by the programs that people and intruders use. Each ends as it does with the OpenSSH
//! of Debian 12, under whose name the sensor speaks where nothing else is said.

mod accepted;
mod algorithms;
mod guessers;
mod host_keys;
mod keys;
mod scanners;
mod stock;
mod strangers;
mod versions;

use std::path::Path;

use serde_json::{Value, json};
use serin_tests::{Outcome, Sensor, Setup, client_in};

/// OpenSSH of Debian 12.
const DEBIAN: &str = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10";

/// What ssh(1) says when nobody is left to ask.
const DENIED: &str = "root@127.0.0.1: Permission denied (publickey,password).";

/// A sensor that introduces itself so.
fn speaking_as(version: &str) -> Setup {
    Setup::of(&["ssh"]).with("ssh.version", version)
}

/// A sensor that says it is Debian 12.
fn debian() -> Sensor {
    speaking_as(DEBIAN).start()
}

/// The options that keep ssh(1), scp(1) and sftp(1) from this machine's own settings, keys and
/// questions.
///
/// One password is asked for: sshpass leaves at a second question by hanging up the terminal, and
/// whether ssh dies of that or sends an empty password first is a race between the two of them.
fn apart(port: u16) -> Vec<String> {
    let mut all = vec!["-F".to_owned(), "none".to_owned()];
    for option in [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "GlobalKnownHostsFile=/dev/null",
        "IdentityAgent=none",
        "IdentityFile=none",
        "ConnectTimeout=20",
        "NumberOfPasswordPrompts=1",
        "LogLevel=ERROR",
        &format!("Port={port}"),
    ] {
        all.extend(["-o".to_owned(), option.to_owned()]);
    }
    all
}

/// Runs ssh(1) as `root` with these options before the others, for the command `true`.
#[track_caller]
fn ssh(sensor: &Sensor, options: &[&str]) -> Outcome {
    let apart = apart(sensor.port("ssh"));
    let mut all = options.to_vec();
    all.extend(apart.iter().map(String::as_str));
    all.extend(["root@127.0.0.1", "true"]);
    client_in(sensor.folder(), "ssh", &all, "")
}

/// Runs a program of the OpenSSH family with a password to give.
#[track_caller]
fn with_password(folder: &Path, password: &str, program: &[&str]) -> Outcome {
    client_in(folder, "sshpass", &[&["-p", password], program].concat(), "")
}

/// Runs a Python script that finds the port in `sys.argv[1]`.
#[track_caller]
fn python(sensor: &Sensor, script: &str) -> Outcome {
    client_in(sensor.folder(), "python3", &["-c", script, &sensor.port("ssh").to_string()], "")
}

/// Does the same with each, some at a time.
fn each<I: Sync, T: Send>(items: &[I], play: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let mut found = Vec::new();
    for some in items.chunks(8) {
        std::thread::scope(|scope| {
            let players: Vec<_> = some.iter().map(|it| scope.spawn(|| play(it))).collect();
            found.extend(players.into_iter().map(|it| it.join().expect("a player's findings")));
        });
    }
    found
}

/// How ssh(1) of this machine introduces itself.
fn own_version() -> String {
    let said = client_in(Path::new("/"), "ssh", &["-V"], "").err;
    let (version, _) = said.split_once(',').expect("a version and a library");
    format!("SSH-2.0-{version}")
}

/// `logdata` of an event 4002.
fn login(sensor: &Sensor, remote: &str, user: &str, password: &str) -> Value {
    json!({
        "LOCALVERSION": local_version(sensor), "PASSWORD": password, "REMOTEVERSION": remote, "USERNAME": user,
    })
}

/// `ssh.version` of a sensor.
fn local_version(sensor: &Sensor) -> Value {
    let text = std::fs::read_to_string(sensor.config()).expect("a configuration");
    let conf: Value = serde_json::from_str(&text).expect("JSON");
    conf["ssh.version"].clone()
}

/// User and password of each login, sorted; as many as wanted and no more.
#[track_caller]
fn logins(sensor: &Sensor, count: usize) -> Vec<(String, String)> {
    let found = sensor.wait_for(4002, count);
    assert_eq!(found.len(), count, "more logins than were tried: {found:#?}");
    let text = |it: &Value| it.as_str().expect("a text").to_owned();
    let mut found: Vec<_> = found
        .iter()
        .map(|it| (text(&it.json["logdata"]["USERNAME"]), text(&it.json["logdata"]["PASSWORD"])))
        .collect();
    found.sort();
    found
}
