//! FTP, Telnet, Git and TCP banner, played by the programs that people and intruders use.

use std::fs;

use serin_tests::{Sensor, Setup, Talk, client, client_in};

fn ftp() -> Sensor {
    Setup::of(&["ftp"]).with("ftp.banner", "(vsFTPd 3.0.3)").start()
}

fn login(user: &str, password: &str) -> String {
    format!(r#"{{"PASSWORD": "{password}", "USERNAME": "{user}"}}"#)
}

#[test]
fn curl_is_refused_by_ftp() {
    let sensor = ftp();
    let outcome = client("curl", &["-sS", &format!("ftp://admin:s3cret@127.0.0.1:{}/", sensor.port("ftp"))]);
    assert_eq!(outcome.status, 67, "{outcome:?}");
    assert!(outcome.err.contains("Access denied: 530"), "{outcome:?}");
    assert_eq!(sensor.logdata(2000, 1), [login("admin", "s3cret")]);
}

#[test]
fn wget_is_refused_by_ftp() {
    let sensor = ftp();
    let url = format!("ftp://bob:hunter2@127.0.0.1:{}/file", sensor.port("ftp"));
    let outcome = client("wget", &["-t", "1", "-O", "/dev/null", &url]);
    assert_eq!(outcome.status, 6, "{outcome:?}");
    assert!(outcome.err.contains("Login incorrect"), "{outcome:?}");
    assert_eq!(sensor.logdata(2000, 1), [login("bob", "hunter2")]);
}

#[test]
fn lftp_is_refused_by_ftp() {
    let sensor = ftp();
    let port = sensor.port("ftp").to_string();
    let script = "set net:max-retries 1; set net:timeout 10; set ftp:ssl-allow false; ls; quit";
    let outcome = client("lftp", &["-u", "carol,pa ss", "-p", &port, "-e", script, "127.0.0.1"]);
    assert_ne!(outcome.status, 124, "{outcome:?}");
    assert!(outcome.err.contains("530 Login incorrect."), "{outcome:?}");
    assert_eq!(sensor.logdata(2000, 1), [login("carol", "pa ss")]);
}

#[test]
fn the_ftp_program_is_refused() {
    let sensor = ftp();
    let port = sensor.port("ftp").to_string();
    let input = "user dave topsecret\nsyst\nquit\n";
    let outcome = client_in(sensor.folder(), "ftp", &["-n", "-v", "127.0.0.1", &port], input);
    assert!(outcome.words().contains("220 (vsFTPd 3.0.3)"), "{outcome:?}");
    assert!(outcome.words().contains("530 Login incorrect."), "{outcome:?}");
    assert!(outcome.words().contains("221 Goodbye."), "{outcome:?}");
    assert_eq!(sensor.logdata(2000, 1), [login("dave", "topsecret")]);
}

#[test]
fn pythons_ftplib_is_refused() {
    let sensor = ftp();
    let script = format!(
        "import ftplib\nf = ftplib.FTP()\nprint(f.connect('127.0.0.1', {}, 10))\ntry:\n  f.login('erin', 'jürgen')\n\
         except ftplib.error_perm as e:\n  print(e)\nprint(f.quit())",
        sensor.port("ftp")
    );
    let outcome = client("python3", &["-c", &script]);
    assert_eq!(outcome.out, "220 (vsFTPd 3.0.3)\n530 Login incorrect.\n221 Goodbye.\n", "{outcome:?}");
    assert_eq!(sensor.logdata(2000, 1), [login("erin", "j\\u00fcrgen")]);
}

/// Writes two users and two passwords; the four guesses in the order of the log's text.
fn guesses(sensor: &Sensor) -> (String, String, Vec<String>) {
    let (users, passwords) = (sensor.folder().join("users"), sensor.folder().join("passwords"));
    fs::write(&users, "root\nadmin\n").expect("a file");
    fs::write(&passwords, "alpha1\nbeta2\n").expect("a file");
    let all = [("root", "alpha1"), ("admin", "alpha1"), ("root", "beta2"), ("admin", "beta2")];
    let mut all: Vec<_> = all.iter().map(|(user, password)| login(user, password)).collect();
    all.sort();
    (users.display().to_string(), passwords.display().to_string(), all)
}

#[track_caller]
fn same_guesses(mut logged: Vec<String>, wanted: &[String]) {
    logged.sort();
    assert_eq!(logged, wanted);
}

#[test]
fn hydra_guesses_at_ftp_in_vain() {
    let sensor = ftp();
    let (users, passwords, all) = guesses(&sensor);
    let target = format!("ftp://127.0.0.1:{}", sensor.port("ftp"));
    let outcome =
        client_in(sensor.folder(), "hydra", &["-I", "-t", "4", "-L", &users, "-P", &passwords, &target], "");
    assert!(outcome.out.contains("0 valid password found"), "{outcome:?}");
    same_guesses(sensor.logdata(2000, 4), &all);
}

#[test]
fn medusa_guesses_at_ftp_in_vain() {
    let sensor = ftp();
    let (users, passwords, all) = guesses(&sensor);
    let port = sensor.port("ftp").to_string();
    let outcome = client_in(
        sensor.folder(),
        "medusa",
        &["-h", "127.0.0.1", "-n", &port, "-U", &users, "-P", &passwords, "-M", "ftp", "-t", "2"],
        "",
    );
    assert!(!outcome.words().contains("ACCOUNT FOUND"), "{outcome:?}");
    same_guesses(sensor.logdata(2000, 4), &all);
}

#[test]
fn ncrack_guesses_at_ftp_in_vain() {
    let sensor = ftp();
    let (users, passwords, all) = guesses(&sensor);
    let target = format!("ftp://127.0.0.1:{}", sensor.port("ftp"));
    let outcome = client_in(sensor.folder(), "ncrack", &["-U", &users, "-P", &passwords, &target], "");
    assert!(!outcome.words().contains("Discovered credentials"), "{outcome:?}");
    same_guesses(sensor.logdata(2000, 4), &all);
}

/// nmap's line for the port: `21021/tcp open ftp vsftpd 3.0.3`.
fn named_by_nmap(sensor: &Sensor, service: &str) -> String {
    let port = sensor.port(service).to_string();
    let outcome = client_in(sensor.folder(), "nmap", &["-n", "-Pn", "-sV", "-p", &port, "127.0.0.1"], "");
    let wanted = format!("{port}/tcp");
    let line = outcome.out.lines().find(|it| it.starts_with(&wanted)).unwrap_or_default();
    let line = line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    assert!(!outcome.out.contains("services unrecognized") || service == "git", "{}", outcome.out);
    line
}

#[test]
fn nmap_names_the_ftp_server_of_the_banner() {
    assert_eq!(named_by_nmap(&ftp(), "ftp"), "open ftp vsftpd 3.0.3");
    let sensor = Setup::of(&["ftp"]).with("ftp.banner", "ProFTPD Server (Debian) [127.0.0.11]").start();
    assert_eq!(named_by_nmap(&sensor, "ftp"), "open ftp ProFTPD");
}

#[test]
fn telnet_asks_a_person_and_refuses() {
    let sensor = Setup::of(&["telnet"]).start();
    let script = format!(
        "set timeout 20\nspawn telnet 127.0.0.1 {}\nexpect -re {{(ogin|sername): }} {{send \"root\\r\"}}\n\
         expect \"assword: \" {{send \"toor\\r\"}}\n\
         expect -re {{incorrect|invalid|failed}} {{puts REFUSED}}\n\
         expect -re {{(ogin|sername): }} {{puts AGAIN}}\nclose\n",
        sensor.port("telnet")
    );
    let outcome = client_in(sensor.folder(), "expect", &["-"], &script);
    assert!(outcome.out.contains("REFUSED") && outcome.out.contains("AGAIN"), "{outcome:?}");
    assert_eq!(sensor.logdata(6001, 1), [login("root", "toor")]);
}

#[test]
fn brute_forcers_guess_at_telnet_in_vain() {
    for program in ["hydra", "medusa", "ncrack"] {
        let sensor = Setup::of(&["telnet"]).with("telnet.product", "busybox").start();
        let (users, passwords, all) = guesses(&sensor);
        let port = sensor.port("telnet").to_string();
        let target = format!("telnet://127.0.0.1:{port}");
        let outcome = match program {
            "medusa" => client_in(
                sensor.folder(),
                program,
                &["-h", "127.0.0.1", "-n", &port, "-U", &users, "-P", &passwords, "-M", "telnet", "-t", "1"],
                "",
            ),
            "hydra" => client_in(
                sensor.folder(),
                program,
                &["-I", "-t", "4", "-L", &users, "-P", &passwords, &target],
                "",
            ),
            _ => client_in(sensor.folder(), program, &["-U", &users, "-P", &passwords, &target], ""),
        };
        assert_eq!(outcome.status, 0, "{program}: {outcome:?}");
        for found in ["ACCOUNT FOUND", "Discovered credentials", "1 valid password"] {
            assert!(!outcome.words().contains(found), "{program}: {outcome:?}");
        }
        same_guesses(sensor.logdata(6001, 4), &all);
    }
}

#[test]
fn nmap_takes_telnet_for_telnet() {
    let sensor = Setup::of(&["telnet"]).start();
    let named = named_by_nmap(&sensor, "telnet");
    assert!(named.starts_with("open telnet"), "{named}");
}

#[test]
fn git_is_refused_as_by_a_genuine_daemon() {
    let sensor = Setup::of(&["git"]).start();
    let url = format!("git://127.0.0.1:{}/team/secrets.git", sensor.port("git"));
    for arguments in [vec!["clone", "-q", &url, "copy"], vec!["ls-remote", &url]] {
        let outcome = client_in(sensor.folder(), "git", &arguments, "");
        assert_eq!(outcome.status, 128, "{outcome:?}");
        let words = "fatal: remote error: access denied or repository not exported: /team/secrets.git";
        assert!(outcome.err.contains(words), "{outcome:?}");
    }
    let wanted = format!(r#"{{"HOST": "127.0.0.1:{}", "REPO": "team/secrets.git"}}"#, sensor.port("git"));
    assert_eq!(sensor.logdata(16001, 2), [wanted.clone(), wanted]);
}

#[test]
fn a_push_to_git_is_seen_too() {
    let sensor = Setup::of(&["git"]).start();
    let url = format!("git://127.0.0.1:{}/team/secrets.git", sensor.port("git"));
    let run = |arguments: &[&str]| client_in(sensor.folder(), "git", arguments, "");
    assert_eq!(run(&["init", "-q", "mine"]).status, 0);
    let identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"];
    let commit = [&["-C", "mine"][..], &identity, &["commit", "-q", "--allow-empty", "-m", "x"]].concat();
    assert_eq!(run(&commit).status, 0);
    let outcome = run(&["-C", "mine", "push", &url, "HEAD:main"]);
    assert_eq!(outcome.status, 128, "{outcome:?}");
    assert!(outcome.err.contains("access denied or repository not exported"), "{outcome:?}");
    assert_eq!(sensor.wait_for(16001, 1).len(), 1);
}

#[test]
fn a_banner_speaks_first_and_reports_what_it_was_asked_to() {
    let sensor = Setup::of(&["tcpbanner"])
        .with("tcpbanner_1.initbanner", "Welcome\\r\\n")
        .with("tcpbanner_1.datareceivedbanner", "OK\\r\\n")
        .with("tcpbanner_1.alertstring.enabled", true)
        .with("tcpbanner_1.alertstring", "ALERT")
        .start();
    let mut talk = Talk::to(sensor.port("tcpbanner"));
    talk.until("Welcome\r\n");
    talk.say("nothing to see\n");
    talk.until("OK\r\n");
    talk.say("an ALERT \"x\" é\n");
    talk.until("OK\r\n");
    let wanted = r#"{"ALERT_STRING": "ALERT", "BANNER_ID": "1", "DATA": "an ALERT \"x\" \u00e9", "FUNCTION": "DATA_RECEIVED"}"#;
    assert_eq!(sensor.logdata(18005, 1), [wanted]);
}

#[test]
fn a_peer_over_ipv6_is_named_by_its_address() {
    let sensor = Setup::of(&["ftp"]).with("device.listen_addr", "::").start();
    let url = format!("ftp://six:pw6@[::1]:{}/", sensor.port("ftp"));
    assert_eq!(client("curl", &["-sS", "-g", &url]).status, 67);
    let four = format!("ftp://four:pw4@127.0.0.1:{}/", sensor.port("ftp"));
    assert_eq!(client("curl", &["-sS", &four]).status, 67);
    let events = sensor.wait_for(2000, 2);
    let ends = |at: usize| (events[at].json["src_host"].clone(), events[at].json["dst_host"].clone());
    assert_eq!(ends(0), ("::1".into(), "::1".into()));
    assert_eq!(ends(1), ("127.0.0.1".into(), "127.0.0.1".into()));
}
