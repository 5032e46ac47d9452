//! RELP into rsyslogd's imrelp, through its death, and what becomes of refusals.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};
use serin_tests::{Rsyslog, Sensor, Setup, certificates, eventually};

use super::{log_in, status};

/// What was received counts as received only when it is written down: no queue in memory.
const IMRELP: &str = "module(load=\"imrelp\")\nmain_queue(queue.type=\"Direct\")";
/// Events that an output has under way at most.
const WINDOW: usize = 128;

fn sensor(settings: &Value) -> Sensor {
    let mut all = json!({ "type": "relp", "hostname": "canary.example" });
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    Setup::of(&["ftp"]).output("log", all).start()
}

/// The text of every message about a login, in order, repetitions included.
fn logins(rsyslog: &Rsyslog) -> Vec<String> {
    let got = rsyslog.got().into_iter().filter(|it| it["msgid"] == "2000");
    got.map(|it| it["msg"].as_str().unwrap().trim_start().to_owned()).collect()
}

#[test]
fn imrelp_acknowledges_every_event() {
    let rsyslog = Rsyslog::start(IMRELP, &[r#"input(type="imrelp" port="PORT" address="127.0.0.1")"#]);
    let mut sensor = sensor(&json!({ "address": format!("127.0.0.1:{}", rsyslog.ports[0]) }));
    log_in(&sensor, 5);
    let log: Vec<String> = sensor.wait_for(2000, 5).into_iter().map(|it| it.line).collect();
    eventually("five logins at rsyslogd", || (logins(&rsyslog) == log).then_some(()));
    let receipt = eventually("acknowledgements", || {
        let status = status(&sensor, "log");
        (status["lag_events"] == 0).then(|| status["receipt"].as_str().unwrap_or_default().to_owned())
    });
    assert!(receipt.contains("events acknowledged since the start"), "{receipt}");
    assert!(sensor.stop().success());
    assert_eq!(logins(&rsyslog), log);
}

#[test]
fn imrelp_asks_for_our_certificate() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let input = format!(
        "input(type=\"imrelp\" port=\"PORT\" address=\"127.0.0.1\" tls=\"on\" tls.authMode=\"certvalid\" \
         tls.caCert=\"{}\" tls.myCert=\"{}\" tls.myPrivKey=\"{}\")",
        file("ca.pem"),
        file("server.pem"),
        file("server.key")
    );
    let rsyslog = Rsyslog::start(IMRELP, &[&input]);
    let sensor = sensor(&json!({
        "address": format!("localhost:{}", rsyslog.ports[0]), "tls": true, "ca": file("ca.pem"),
        "certificate": file("client.pem"), "key": file("client.key"),
    }));
    log_in(&sensor, 3);
    let log: Vec<String> = sensor.wait_for(2000, 3).into_iter().map(|it| it.line).collect();
    eventually("three logins at rsyslogd", || (logins(&rsyslog) == log).then_some(()));
}

#[test]
fn nothing_is_missing_when_rsyslogd_is_killed_in_the_middle() {
    const LOGINS: usize = 400;
    let mut rsyslog = Rsyslog::start(IMRELP, &[r#"input(type="imrelp" port="PORT" address="127.0.0.1")"#]);
    let sensor = sensor(&json!({ "address": format!("127.0.0.1:{}", rsyslog.ports[0]) }));
    let log: Vec<String> = thread::scope(|scope| {
        let flood = scope.spawn(|| log_in(&sensor, LOGINS));
        eventually("the first logins at rsyslogd", || (logins(&rsyslog).len() >= 50).then_some(()));
        rsyslog.crash();
        assert!(logins(&rsyslog).len() < LOGINS, "killed too late");
        flood.join().expect("logins");
        sensor.wait_for(2000, LOGINS).into_iter().map(|it| it.line).collect()
    });
    let before = logins(&rsyslog).len();
    rsyslog.restart();
    let wanted: BTreeSet<&String> = log.iter().collect();
    let got = eventually("all logins at rsyslogd", || {
        let got = logins(&rsyslog);
        (got.iter().collect::<BTreeSet<_>>().len() >= LOGINS).then_some(got)
    });
    assert_eq!(got.iter().collect::<BTreeSet<_>>(), wanted);
    let twice = got.len() - LOGINS;
    assert!(twice <= WINDOW, "{twice} came twice; {before} were there before the end");
}

/// Reads one frame: its number and its command.
fn frame(socket: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut word = || {
        let mut word = Vec::new();
        socket.read_until(b' ', &mut word).ok()?;
        Some(String::from_utf8(word).ok()?.trim().to_owned())
    };
    let (number, command) = (word()?, word()?);
    let mut length = String::new();
    loop {
        let mut byte = [0];
        socket.read_exact(&mut byte).ok()?;
        if !byte[0].is_ascii_digit() {
            break;
        }
        length.push(char::from(byte[0]));
    }
    let length: usize = length.parse().ok()?;
    if length > 0 {
        let mut body = vec![0; length + 1];
        socket.read_exact(&mut body).ok()?;
    }
    Some((number, command))
}

#[test]
fn a_refusal_puts_one_event_aside_and_an_odd_answer_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        // The fate of the messages, in the order in which they come.
        let mut answers = ["500 I refuse", "409 come again"].into_iter();
        for socket in listener.incoming().map_while(Result::ok) {
            let mut socket = BufReader::new(socket);
            while let Some((number, command)) = frame(&mut socket) {
                let answer = match command.as_str() {
                    "open" => "200 OK\nrelp_version=0\ncommands=syslog",
                    "syslog" => answers.next().unwrap_or("200 OK"),
                    _ => "200 OK",
                };
                let text = format!("{number} rsp {} {answer}\n", answer.len());
                if socket.get_mut().write_all(text.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    let sensor = sensor(&json!({ "address": format!("127.0.0.1:{port}") }));
    log_in(&sensor, 3);
    let all = sensor.lines().len();
    let status = eventually("everything dealt with", || {
        let status = status(&sensor, "log");
        (status["lag_events"] == 0 && status["sent"].as_u64()? + 1 >= u64::try_from(all).ok()?)
            .then_some(status)
    });
    assert_eq!((&status["rejected"], &status["retried"]), (&json!(1), &json!(1)), "{status}");
}
