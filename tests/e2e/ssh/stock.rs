//! The OpenSSH family as it is installed: ssh, scp, sftp, and what runs over them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serin_tests::{Outcome, Sensor, Setup, client_in};

use super::{
    DEBIAN, DENIED, apart, debian, each, login, logins, own_version, speaking_as, ssh, with_password,
};

/// Of 25 visits of a stock client, OpenCanary loses about twelve before the password.
#[test]
fn twenty_five_in_a_row_are_refused_and_none_is_lost() {
    let sensor = debian();
    let passwords: Vec<_> = (0..25).map(|it| format!("guess{it:02}")).collect();
    let outcomes = each(&passwords, |password| {
        let apart = apart(sensor.port("ssh"));
        let mut all = vec!["ssh"];
        all.extend(apart.iter().map(String::as_str));
        all.extend(["root@127.0.0.1", "true"]);
        with_password(sensor.folder(), password, &all)
    });
    for outcome in outcomes {
        assert_eq!((outcome.status, outcome.err.trim_end()), (255, DENIED), "{outcome:?}");
    }
    let wanted: Vec<_> = passwords.iter().map(|it| ("root".to_owned(), it.clone())).collect();
    assert_eq!(logins(&sensor, 25), wanted);
    assert_eq!(sensor.wait_for(4000, 25).len(), 25);
    assert_eq!(sensor.wait_for(4001, 25).len(), 25);
    let event = &sensor.wait_for(4002, 25)[0];
    let password = event.json["logdata"]["PASSWORD"].as_str().expect("a text");
    assert_eq!(event.json["logdata"], login(&sensor, &own_version(), "root", password));
}

/// Plays ssh(1) with a new password at each question, and what it was asked.
fn answering(sensor: &Sensor, options: &[&str]) -> (Outcome, String) {
    let folder = sensor.folder();
    let asked = folder.join("asked");
    let helper = folder.join("askpass");
    let script = format!(
        "#!/bin/sh\necho \"$1\" >> {0}\necho \"pw$(grep -c '' {0})\"\n",
        asked.to_str().expect("a path")
    );
    fs::write(&helper, script).expect("a script");
    fs::set_permissions(&helper, Permissions::from_mode(0o755)).expect("a script");
    let apart = apart(sensor.port("ssh"));
    let helper = format!("SSH_ASKPASS={}", helper.display());
    let mut all = vec![helper.as_str(), "SSH_ASKPASS_REQUIRE=force", "ssh"];
    all.extend(options);
    all.extend(apart.iter().map(String::as_str));
    all.extend(["root@127.0.0.1", "true"]);
    let outcome = client_in(folder, "env", &all, "");
    (outcome, fs::read_to_string(&asked).unwrap_or_default())
}

/// Distributions switch it off; their servers refuse it at once.
#[test]
fn keyboard_interactive_asks_where_it_is_switched_on() {
    let try_it = |setup: Setup| {
        let sensor = setup.start();
        let apart = apart(sensor.port("ssh"));
        let mut all = vec!["ssh", "-o", "PreferredAuthentications=keyboard-interactive"];
        all.extend(apart.iter().map(String::as_str));
        all.extend(["root@127.0.0.1", "true"]);
        let outcome = with_password(sensor.folder(), "hunter2", &all);
        (sensor, outcome)
    };
    let (sensor, outcome) = try_it(speaking_as(DEBIAN).with("ssh.keyboard_interactive", true));
    assert_eq!(outcome.status, 255, "{outcome:?}");
    assert_eq!(logins(&sensor, 1), [("root".to_owned(), "hunter2".to_owned())]);
    assert_eq!(sensor.details(4002)[0]["METHOD"], "keyboard-interactive");
    let (sensor, outcome) = try_it(speaking_as(DEBIAN));
    assert_eq!((outcome.status, outcome.err.trim()), (255, DENIED), "{outcome:?}");
    assert_eq!(sensor.wait_for(21112, 1).len(), 1, "the attempt without an answer");
    assert_eq!(logins(&sensor, 0), []);
}

#[test]
fn three_passwords_are_asked_for_and_refused() {
    let sensor = debian();
    let (outcome, asked) = answering(&sensor, &["-o", "NumberOfPasswordPrompts=3"]);
    assert_eq!(outcome.status, 255, "{outcome:?}");
    let again = "Permission denied, please try again.\r\n";
    assert_eq!(outcome.err, format!("{again}{again}{DENIED}\r\n"));
    assert_eq!(asked, "root@127.0.0.1's password: \n".repeat(3));
    let wanted = ["pw1", "pw2", "pw3"].map(|it| ("root".to_owned(), it.to_owned()));
    assert_eq!(logins(&sensor, 3), wanted);
    // One connection, one introduction.
    assert_eq!((sensor.wait_for(4000, 1).len(), sensor.wait_for(4001, 1).len()), (1, 1));
}

#[test]
fn the_sixth_wrong_password_ends_the_connection() {
    let sensor = debian();
    let (outcome, asked) = answering(&sensor, &["-o", "NumberOfPasswordPrompts=9"]);
    assert_eq!(outcome.status, 255, "{outcome:?}");
    let farewell = format!(
        "Received disconnect from 127.0.0.1 port {}:2: Too many authentication failures\r\n",
        sensor.port("ssh")
    );
    let again = "Permission denied, please try again.\r\n".repeat(5);
    assert!(outcome.err.starts_with(&format!("{again}{farewell}")), "{outcome:?}");
    assert_eq!(asked.lines().count(), 6);
    let wanted: Vec<_> = (1..=6).map(|it| ("root".to_owned(), format!("pw{it}"))).collect();
    assert_eq!(logins(&sensor, 6), wanted);
}

/// Without a password to give, a client still learns what there would be to try.
#[test]
fn who_has_nothing_to_offer_is_told_the_methods() {
    let sensor = debian();
    for options in [
        &["-o", "BatchMode=yes"][..],
        &["-o", "PreferredAuthentications=keyboard-interactive"],
        &["-o", "PreferredAuthentications=none"],
        &["-o", "BatchMode=yes", "-o", "PreferredAuthentications=hostbased"],
    ] {
        let outcome = ssh(&sensor, options);
        assert_eq!((outcome.status, outcome.err.trim_end()), (255, DENIED), "{options:?}: {outcome:?}");
    }
    assert_eq!(sensor.wait_for(4001, 4).len(), 4);
    assert_eq!(sensor.events().iter().filter(|it| it.logtype() == 4002).count(), 0);
}

#[test]
fn copying_and_fetching_are_refused_as_logins() {
    let sensor = debian();
    let apart = apart(sensor.port("ssh"));
    let apart: Vec<_> = apart.iter().map(String::as_str).collect();
    let shell = format!("ssh {}", apart.join(" "));
    let git = format!("ssh://git@127.0.0.1:{}/team/x.git", sensor.port("ssh"));
    let folder = sensor.folder();
    fs::write(folder.join("loot"), "x").expect("a file");
    let commands: [(&str, Vec<&str>, &str); 5] = [
        ("scp1", [&["scp"], &apart[..], &["loot", "root@127.0.0.1:/tmp/loot"]].concat(), DENIED),
        ("scp2", [&["scp", "-O"], &apart[..], &["root@127.0.0.1:/etc/shadow", "."]].concat(), DENIED),
        ("sftp", [&["sftp"], &apart[..], &["root@127.0.0.1"]].concat(), DENIED),
        ("rsync", vec!["rsync", "-e", &shell, "loot", "root@127.0.0.1:/tmp/loot"], DENIED),
        ("git", vec!["git", "ls-remote", &git], "fatal: Could not read from remote repository."),
    ];
    let outcomes = each(&commands, |(password, command, _)| {
        if *password == "git" {
            let ssh = format!("GIT_SSH_COMMAND=sshpass -p {password} {shell}");
            return client_in(folder, "env", &[&[ssh.as_str()], &command[..]].concat(), "");
        }
        with_password(folder, password, command)
    });
    for ((name, _, words), outcome) in commands.iter().zip(outcomes) {
        // With which status they fail depends on whether they see ssh end or their pipe close first.
        assert_ne!(outcome.status, 0, "{name}: {outcome:?}");
        assert!(outcome.err.contains(words), "{name}: {outcome:?}");
    }
    let wanted = [("git", "git"), ("root", "rsync"), ("root", "scp1"), ("root", "scp2"), ("root", "sftp")];
    assert_eq!(logins(&sensor, 5), wanted.map(|(user, password)| (user.to_owned(), password.to_owned())));
}

#[test]
fn the_banner_before_the_login_is_shown() {
    let sensor = speaking_as(super::DEBIAN)
        .with("ssh.preauth_banner", "Authorised use only.\\r\\nAll else is watched.\\r\\n")
        .start();
    let outcome = ssh(&sensor, &["-o", "BatchMode=yes", "-o", "LogLevel=INFO"]);
    assert_eq!(outcome.status, 255, "{outcome:?}");
    assert!(outcome.err.contains("Authorised use only.\r\nAll else is watched.\r\n"), "{outcome:?}");
}

#[test]
fn bait_is_marked() {
    let bait = serde_json::json!([{ "username": "backup", "password": "hunter2" }]);
    let sensor = speaking_as(super::DEBIAN).with("ssh.honeycreds", bait).start();
    let apart = apart(sensor.port("ssh"));
    let pairs = [("backup", "hunter2"), ("backup", "other"), ("root", "hunter2")];
    each(&pairs, |(user, password)| {
        let mut all = vec!["ssh"];
        all.extend(apart.iter().map(String::as_str));
        let target = format!("{user}@127.0.0.1");
        all.extend([&target, "true"]);
        assert_eq!(with_password(sensor.folder(), password, &all).status, 255);
    });
    for event in sensor.wait_for(4002, 3) {
        let data = &event.json["logdata"];
        let is_bait = data["USERNAME"] == "backup" && data["PASSWORD"] == "hunter2";
        assert_eq!(event.json["honeycred"], is_bait, "{}", event.line);
    }
}
