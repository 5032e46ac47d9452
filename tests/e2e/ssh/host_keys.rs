//! Who the server says it is: the same after every start, another on every installation, and
//! OpenCanary's where there was one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serin_tests::{Sensor, client_in, eventually};

use super::{debian, speaking_as};

/// The public host keys by their type.
#[track_caller]
fn host_keys(sensor: &Sensor) -> BTreeMap<String, String> {
    let port = sensor.port("ssh").to_string();
    let types = ["-t", "rsa,ecdsa,ed25519", "-p", &port, "127.0.0.1"];
    let outcome = client_in(sensor.folder(), "ssh-keyscan", &types, "");
    let lines = outcome.out.lines().filter(|it| !it.starts_with('#'));
    let keys: BTreeMap<_, _> = lines
        .filter_map(|it| {
            let mut words = it.split(' ').skip(1);
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        })
        .collect();
    assert_eq!(keys.len(), 3, "{outcome:?}");
    keys
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|it| it.expect("an entry").path()) {
        if entry.is_dir() {
            found.extend(files(&entry));
        } else {
            found.push(entry);
        }
    }
    found
}

#[test]
fn they_outlive_a_restart_and_nobody_else_reads_them() {
    let mut sensor = debian();
    let before = host_keys(&sensor);
    let private: Vec<_> = files(&sensor.state())
        .into_iter()
        .filter(|it| fs::read(it).is_ok_and(|it| it.windows(12).any(|it| it == b" PRIVATE KEY")))
        .collect();
    assert!(!private.is_empty(), "host keys in {:?}", files(&sensor.state()));
    for file in private {
        let mode = fs::metadata(&file).expect("a file").permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
    sensor.stop();
    sensor.start();
    eventually("the port", || std::net::TcpStream::connect(("127.0.0.1", sensor.port("ssh"))).ok());
    assert_eq!(host_keys(&sensor), before);
    let other = host_keys(&debian());
    for (kind, key) in before {
        assert_ne!(other[&kind], key, "{kind} is the same on two installations");
    }
}

/// `id_rsa` and `id_dsa` in PEM, as OpenCanary's library writes them.
#[test]
fn opencanarys_keys_are_taken_over() {
    let setup = speaking_as(super::DEBIAN);
    let folder = setup.folder().join("keys");
    fs::create_dir(&folder).expect("a folder");
    let run = |program: &str, arguments: &[&str]| {
        let outcome = client_in(&folder, program, arguments, "");
        assert_eq!(outcome.status, 0, "{outcome:?}");
        outcome.out
    };
    run("ssh-keygen", &["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", "id_rsa"]);
    run("ssh-keygen", &["-q", "-t", "dsa", "-m", "PEM", "-N", "", "-f", "id_dsa"]);
    let public = fs::read_to_string(folder.join("id_rsa.pub")).expect("a public key");
    let public = public.split(' ').nth(1).expect("a key").to_owned();
    // The sensor no longer is who started it when it reads them, and OpenCanary's files are open to all.
    for file in files(&folder) {
        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).expect("a mode");
    }
    let mut sensor = setup.with("ssh.key_path", folder.display().to_string()).start();
    assert_eq!(host_keys(&sensor)["ssh-rsa"], public, "{}", sensor.said());
    // From then on they are ours.
    sensor.stop();
    fs::remove_dir_all(&folder).expect("a folder");
    sensor.start();
    assert_eq!(host_keys(&sensor)["ssh-rsa"], public, "{}", sensor.said());
}
