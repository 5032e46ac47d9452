//! Conversations that nobody should have: slow, endless, garbled, all at once.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serin_tests::{Setup, Talk, binary, client};

const SERVICES: [&str; 7] = ["ftp", "git", "http", "httpproxy", "https", "tcpbanner", "telnet"];

fn everything() -> Setup {
    Setup::of(&SERVICES)
        .with("tcpbanner_1.initbanner", "hello\\r\\n")
        .with("tcpbanner_1.datareceivedbanner", "thanks\\r\\n")
        .with("tcpbanner_1.alertstring.enabled", true)
        .with("tcpbanner_1.alertstring", "ALERT")
}

/// Resident memory in KiB.
fn resident(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = text.lines().find(|it| it.starts_with("VmRSS:")).expect("a size");
    line.split_whitespace().nth(1).and_then(|it| it.parse().ok()).expect("a number")
}

/// No peer's mistake is an error of ours.
#[track_caller]
fn no_error_is_told(said: &str) {
    let errors: Vec<_> = said.lines().filter(|it| it.contains("ERROR") || it.contains("panicked")).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn bytes_that_are_no_text_lose_no_event() {
    let sensor = everything().start();
    let mut ftp = Talk::to(sensor.port("ftp"));
    ftp.until("220 ");
    ftp.say(b"USER r\xff\xfet\r\nPASS p\x80\x00\xc3\x28\r\n");
    ftp.until("530 ");
    // FTP is Latin-1 where it is no UTF-8, as OpenCanary has it.
    let wanted = r#"{"PASSWORD": "p\u0080\u0000\u00c3(", "USERNAME": "r\u00ff\u00fet"}"#;
    assert_eq!(sensor.logdata(2000, 1), [wanted]);

    let mut telnet = Talk::to(sensor.port("telnet"));
    telnet.until("sername: ");
    telnet.say(b"\xfe\xc0root\r\n");
    telnet.until("assword: ");
    telnet.say(b"a\x9c\r\n");
    let event = &sensor.wait_for(6001, 1)[0];
    assert_eq!(event.json["logdata"]["PASSWORD"], "a\\x9c", "{}", event.line);

    let mut http = Talk::to(sensor.port("http"));
    http.say(b"POST /index.html HTTP/1.1\r\nHost: a\r\nUser-Agent: \xffx\r\nContent-Length: 25\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\nusername=%FF&password=%C3");
    http.until("HTTP/1.1 ");
    let event = &sensor.wait_for(3001, 1)[0];
    assert_eq!(event.json["logdata"]["USERNAME"], "\\xff", "{}", event.line);
    assert_eq!(event.json["logdata"]["PASSWORD"], "\\xc3", "{}", event.line);

    let mut git = Talk::to(sensor.port("git"));
    git.say(b"0024git-upload-pack /\xff\xfe.git\0host=a\0\0");
    git.rest();
    let event = &sensor.wait_for(16001, 1)[0];
    assert_eq!(event.json["logdata"]["REPO"], "\\xff\\xfe.git", "{}", event.line);
    no_error_is_told(&sensor.said());
}

#[test]
fn one_byte_at_a_time_changes_nothing() {
    let sensor = everything().start();
    let mut ftp = Talk::to(sensor.port("ftp"));
    for byte in b"USER slow\r\nPASS coach\r\n" {
        ftp.say([*byte]);
        // A segment of its own: the next byte is sent when this one has left.
        std::thread::yield_now();
    }
    ftp.until("530 ");
    assert_eq!(sensor.logdata(2000, 1), [r#"{"PASSWORD": "coach", "USERNAME": "slow"}"#]);

    let mut http = Talk::to(sensor.port("http"));
    for byte in b"GET /index.html HTTP/1.1\r\nHost: nas.local\r\nConnection: close\r\n\r\n" {
        http.say([*byte]);
    }
    http.until("HTTP/1.1 200 OK\r\n");
    assert_eq!(sensor.wait_for(3000, 1)[0].json["logdata"]["HOSTNAME"], "nas.local");
}

#[test]
fn an_endless_line_ends_and_takes_no_memory() {
    let sensor = everything().start();
    let bench = binary().with_file_name("serin-bench").display().to_string();
    let before = resident(sensor.pid());
    for service in SERVICES {
        let target = format!("127.0.0.1:{}", sensor.port(service));
        let outcome = client(&bench, &["endless", "--target", &target, "--mebibytes", "64"]);
        assert_eq!(outcome.status, 0, "{service}: {outcome:?}");
        let report: serde_json::Value = serde_json::from_str(&outcome.out).expect("JSON");
        assert_eq!(report["hung_up_on"], true, "{service}: {report}");
    }
    let after = resident(sensor.pid());
    assert!(after < before + 24 * 1024, "grew from {before} to {after} KiB");
    no_error_is_told(&sensor.said());
}

#[test]
fn silence_ends_by_the_named_limit() {
    let sensor = everything().with("limits.first_byte", 1).start();
    for service in ["ftp", "git", "http", "httpproxy", "telnet"] {
        let mut talk = Talk::to(sensor.port(service));
        assert!(talk.rest().is_some(), "{service} holds on to a client that says nothing");
    }
    no_error_is_told(&sensor.said());
}

/// A byte now and then, for ever: never silent, never done.
#[test]
fn a_drip_ends_by_the_named_limit() {
    const DRIPPED: [&str; 5] = ["ftp", "http", "httpproxy", "tcpbanner", "telnet"];
    let sensor = everything().with("limits.session_time", 2).start();
    std::thread::scope(|scope| {
        for service in DRIPPED {
            let port = sensor.port(service);
            scope.spawn(move || assert!(drips_until_hung_up_on(port), "{service} lets it drip"));
        }
    });
    let mut told: Vec<String> =
        sensor.wait_for(21002, DRIPPED.len()).iter().map(|it| it.logdata().to_owned()).collect();
    told.sort_by_key(|it| it.split("\"SERVICE\": ").nth(1).map(str::to_owned));
    for (service, event) in DRIPPED.iter().zip(&told) {
        assert!(event.contains(&format!("\"SERVICE\": \"{service}\"")), "{told:#?}");
        assert!(event.contains("longer than one session may last"), "{event}");
    }
    no_error_is_told(&sensor.said());
}

/// Whether the server hangs up within ten seconds on a client that sends a byte five times a second.
fn drips_until_hung_up_on(port: u16) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_nonblocking(true).expect("a socket of ours");
    let mut answer = [0; 512];
    (0..50).any(|_| {
        // The slowness is what is played here.
        std::thread::sleep(Duration::from_millis(200));
        let gone = stream.write_all(b"a").is_err();
        gone || match stream.read(&mut answer) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    })
}

#[test]
fn garbage_is_nobodys_error() {
    let sensor = everything().start();
    let garbage: [&[u8]; 6] = [
        b"\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\x16\x03\x01\x00\xf0\x01\x00\x00\xec\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n\r\n\r\n",
        b"\xff\xff\xff\xff\xff\xff\xff\xfa\xff\xff",
        b"0000000400000000zzzz",
        b"\r\n\r\n\r\n\n\n\n%s%s%n\\x41\xc0\x80",
    ];
    for service in SERVICES {
        for bytes in garbage {
            let mut talk = Talk::to(sensor.port(service));
            talk.say(bytes);
            talk.while_it_speaks(Duration::from_millis(50));
        }
    }
    // Everything still serves.
    for service in SERVICES {
        drop(Talk::to(sensor.port(service)));
    }
    let url = format!("ftp://u:p@127.0.0.1:{}/", sensor.port("ftp"));
    assert_eq!(client("curl", &["-sS", &url]).status, 67);
    no_error_is_told(&sensor.said());
}

#[test]
fn of_256_clients_at_once_none_is_refused_and_no_event_is_lost() {
    let sensor = everything().start();
    let bench = binary().with_file_name("serin-bench").display().to_string();
    let log = sensor.log().display().to_string();
    for service in SERVICES {
        let target = format!("127.0.0.1:{}", sensor.port(service));
        let outcome = client(
            &bench,
            &[
                "load",
                "--service",
                service,
                "--target",
                &target,
                "--clients",
                "256",
                "--count",
                "1500",
                "--run",
                &format!("crowd{service}"),
                "--patience",
                "30",
                "--check",
                &log,
            ],
        );
        assert_eq!(outcome.status, 0, "{service}: {outcome:?}");
        let report: serde_json::Value = serde_json::from_str(&outcome.out).expect("JSON");
        let wanted = [
            ("completed", 1500),
            ("refused", 0),
            ("failed", 0),
            ("timeouts", 0),
            ("lost", 0),
            ("duplicates", 0),
        ];
        for (what, count) in wanted {
            assert_eq!(report[what], count, "{service}: {report}");
        }
    }
    no_error_is_told(&sensor.said());
}

#[test]
fn one_source_past_its_limit_is_counted_not_recorded() {
    let sensor = Setup::of(&["ftp"]).with("limits.events_per_second", 5).start();
    for number in 0..60 {
        let mut talk = Talk::to(sensor.port("ftp"));
        talk.until("220 ");
        talk.say(format!("USER u{number}\r\nPASS x\r\n"));
        talk.until("530 ");
    }
    let told = serin_tests::eventually("an event that counts the rest", || {
        sensor.events().into_iter().find(|it| it.logtype() != 2000)
    });
    assert!(told.line.contains("more events in a second"), "{}", told.line);
    assert!(sensor.events().iter().filter(|it| it.logtype() == 2000).count() < 60);
}
