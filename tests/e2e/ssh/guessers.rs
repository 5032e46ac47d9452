//! What guesses passwords: nothing is found, and each guess is in the log once.

use std::fs;

use serin_tests::{Outcome, Sensor, client_in};

use super::{debian, logins};

/// Lists of two users and two passwords, and the four guesses.
fn guesses(sensor: &Sensor) -> (String, String, Vec<(String, String)>) {
    let (users, passwords) = (sensor.folder().join("users"), sensor.folder().join("passwords"));
    fs::write(&users, "root\nadmin\n").expect("a file");
    fs::write(&passwords, "alpha1\nbeta2\n").expect("a file");
    let all = [("admin", "alpha1"), ("admin", "beta2"), ("root", "alpha1"), ("root", "beta2")];
    let all = all.iter().map(|(user, password)| ((*user).to_owned(), (*password).to_owned())).collect();
    (users.display().to_string(), passwords.display().to_string(), all)
}

/// Lets a program guess; it must end well and find nothing.
#[track_caller]
fn guess(program: &str, arguments: impl Fn(&str, &str, &str) -> Vec<String>) -> (Sensor, Outcome) {
    let sensor = debian();
    let (users, passwords, all) = guesses(&sensor);
    let arguments = arguments(&sensor.port("ssh").to_string(), &users, &passwords);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let outcome = client_in(sensor.folder(), program, &arguments, "");
    assert_eq!(outcome.status, 0, "{outcome:?}");
    for found in ["ACCOUNT FOUND", "Discovered credentials", "1 valid password", "Valid credentials"] {
        assert!(!outcome.words().contains(found), "{outcome:?}");
    }
    assert_eq!(logins(&sensor, 4), all);
    (sensor, outcome)
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|it| (*it).to_owned()).collect()
}

#[test]
fn hydra_guesses_in_vain() {
    let (sensor, outcome) = guess("hydra", |port, users, passwords| {
        let target = format!("ssh://127.0.0.1:{port}");
        words(&["-I", "-t", "4", "-L", users, "-P", passwords, &target])
    });
    assert!(outcome.out.contains("0 valid password found"), "{outcome:?}");
    // It looks whether passwords are accepted at all, then comes four times.
    assert_eq!(sensor.wait_for(4000, 5).len(), 5);
}

#[test]
fn medusa_guesses_in_vain() {
    let (_sensor, outcome) = guess("medusa", |port, users, passwords| {
        words(&["-h", "127.0.0.1", "-n", port, "-U", users, "-P", passwords, "-M", "ssh", "-t", "2"])
    });
    assert_eq!(outcome.words().matches("ACCOUNT CHECK: [ssh]").count(), 4, "{outcome:?}");
    assert!(!outcome.words().contains("ERROR"), "{outcome:?}");
}

#[test]
fn ncrack_guesses_in_vain() {
    let (_sensor, outcome) = guess("ncrack", |port, users, passwords| {
        words(&["-U", users, "-P", passwords, &format!("ssh://127.0.0.1:{port}")])
    });
    assert!(outcome.out.contains("Ncrack done: 1 service scanned"), "{outcome:?}");
}

#[test]
fn nmap_guesses_in_vain() {
    let sensor = debian();
    let (users, passwords, mut wanted) = guesses(&sensor);
    let port = sensor.port("ssh").to_string();
    let lists = format!("userdb={users},passdb={passwords}");
    let arguments =
        ["-n", "-Pn", "-p", &port, "--script", "+ssh-brute", "--script-args", &lists, "127.0.0.1"];
    let outcome = client_in(sensor.folder(), "nmap", &arguments, "");
    assert!(outcome.out.contains("Accounts: No valid accounts found"), "{outcome:?}");
    assert!(outcome.out.contains("Performed 6 guesses"), "{outcome:?}");
    // Each user's own name first.
    wanted.extend(["admin", "root"].map(|it| (it.to_owned(), it.to_owned())));
    wanted.sort();
    assert_eq!(logins(&sensor, 6), wanted);
}
