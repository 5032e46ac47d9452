//! Each server that `ssh.version` may name: stock clients get as far as a password with all of them,
//! and scanners read the name that was given.

use serin_tests::{Sensor, client_in};

use super::{apart, each, logins, own_version, python, speaking_as, with_password};

const PARAMIKO: &str = "import paramiko, sys
c = paramiko.SSHClient()
c.set_missing_host_key_policy(paramiko.AutoAddPolicy())
try:
  c.connect('127.0.0.1', int(sys.argv[1]), 'root', 'paramiko', allow_agent=False, look_for_keys=False)
except Exception as e:
  print(type(e).__name__, e)";

/// Identification, what ssh(1) needs so as to agree with so old a server, and nmap's name for it.
const VERSIONS: &[(&str, &[&str], &str)] = &[
    ("SSH-2.0-OpenSSH_7.4", &[], "OpenSSH 7.4 (protocol 2.0)"),
    (
        "SSH-2.0-OpenSSH_8.2p1 Ubuntu-4ubuntu0.13",
        &[],
        "OpenSSH 8.2p1 Ubuntu 4ubuntu0.13 (Ubuntu Linux; protocol 2.0)",
    ),
    (
        "SSH-2.0-OpenSSH_8.9p1 Ubuntu-3ubuntu0.13",
        &[],
        "OpenSSH 8.9p1 Ubuntu 3ubuntu0.13 (Ubuntu Linux; protocol 2.0)",
    ),
    (
        "SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.14",
        &[],
        "OpenSSH 9.6p1 Ubuntu 3ubuntu13.14 (Ubuntu Linux; protocol 2.0)",
    ),
    ("SSH-2.0-OpenSSH_10.0p2 Debian-7", &[], "OpenSSH 10.0p2 Debian 7 (protocol 2.0)"),
    ("SSH-2.0-dropbear_2022.83", &[], "Dropbear sshd 2022.83 (protocol 2.0)"),
    (
        "SSH-2.0-Cisco-1.25",
        &[
            // It asks in two ways, and each would be a question.
            "-o",
            "PreferredAuthentications=keyboard-interactive",
            "-o",
            "KexAlgorithms=+diffie-hellman-group14-sha1",
            "-o",
            "HostKeyAlgorithms=+ssh-rsa",
            "-o",
            "Ciphers=+aes128-cbc",
            "-o",
            "RequiredRSASize=1024",
        ],
        "Cisco SSH 1.25 (protocol 2.0)",
    ),
    // What an OpenCanary configuration says when it says nothing.
    ("SSH-2.0-OpenSSH_5.1p1 Debian-4", &[], "OpenSSH 5.1p1 Debian 4 (protocol 2.0)"),
];

fn tried_by_ssh(sensor: &Sensor, options: &[&str]) {
    let apart = apart(sensor.port("ssh"));
    let mut all = vec!["ssh"];
    all.extend(options);
    all.extend(apart.iter().map(String::as_str));
    all.extend(["root@127.0.0.1", "true"]);
    let outcome = with_password(sensor.folder(), "openssh", &all);
    assert_eq!(outcome.status, 255, "{outcome:?}");
}

#[test]
fn each_version_is_believed_and_records_passwords() {
    each(VERSIONS, |(version, options, named)| {
        let sensor = speaking_as(version).start();
        tried_by_ssh(&sensor, options);
        let outcome = python(&sensor, PARAMIKO);
        assert_eq!(outcome.out, "AuthenticationException Authentication failed.\n", "{version}: {outcome:?}");
        let wanted = ["openssh", "paramiko"].map(|it| ("root".to_owned(), it.to_owned()));
        assert_eq!(logins(&sensor, 2), wanted, "{version}");
        for event in sensor.wait_for(4002, 2) {
            assert_eq!(event.json["logdata"]["LOCALVERSION"], *version, "{}", event.line);
        }
        let port = sensor.port("ssh").to_string();
        let nmap = client_in(sensor.folder(), "nmap", &["-n", "-Pn", "-sV", "-p", &port, "127.0.0.1"], "");
        let line = nmap.out.lines().find(|it| it.starts_with(&port)).unwrap_or_default();
        let line = line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
        assert_eq!(line, format!("open ssh {named}"), "{version}");
    });
}

/// Dropbear's client sends its key at once, for the method that it guesses: wrong with the later ones.
#[test]
fn dropbears_own_client_is_understood_by_each_dropbear() {
    let versions = ["SSH-2.0-dropbear_2022.83", "SSH-2.0-dropbear_2025.89"];
    each(&versions, |version| {
        let sensor = speaking_as(version).start();
        let port = sensor.port("ssh").to_string();
        let all = ["DROPBEAR_PASSWORD=db", "dbclient", "-y", "-y", "-p", &port, "root@127.0.0.1", "true"];
        let outcome = client_in(sensor.folder(), "env", &all, "");
        assert!(outcome.err.contains("exited: "), "{version}: {outcome:?}");
        let first = &sensor.wait_for(4002, 1)[0];
        assert_eq!(first.json["logdata"]["PASSWORD"], "db", "{version}: {}", first.line);
    });
}

/// Nothing but `ssh.enabled` and a port: the old default version, for the clients of today.
#[test]
fn an_unmodified_opencanary_configuration_serves_todays_clients() {
    let sensor = serin_tests::Setup::of(&["ssh"]).start();
    tried_by_ssh(&sensor, &[]);
    let outcome = python(&sensor, PARAMIKO);
    assert_eq!(outcome.out, "AuthenticationException Authentication failed.\n", "{outcome:?}");
    let lists = ["users", "passwords"].map(|it| sensor.folder().join(it));
    std::fs::write(&lists[0], "root\n").expect("a file");
    std::fs::write(&lists[1], "hydra\n").expect("a file");
    let target = format!("ssh://127.0.0.1:{}", sensor.port("ssh"));
    let [users, passwords] = lists.map(|it| it.display().to_string());
    let hydra =
        client_in(sensor.folder(), "hydra", &["-I", "-t", "4", "-L", &users, "-P", &passwords, &target], "");
    assert!(hydra.out.contains("0 valid password found"), "{hydra:?}");
    let wanted = ["hydra", "openssh", "paramiko"].map(|it| ("root".to_owned(), it.to_owned()));
    assert_eq!(logins(&sensor, 3), wanted);
    let event = &sensor.wait_for(4002, 1)[0];
    assert_eq!(event.json["logdata"]["LOCALVERSION"], "SSH-2.0-OpenSSH_5.1p1 Debian-5", "{}", event.line);
    assert_eq!(event.json["logdata"]["REMOTEVERSION"], own_version(), "{}", event.line);
}
