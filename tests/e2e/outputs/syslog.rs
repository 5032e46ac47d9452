//! Syslog into the real rsyslogd, and what OpenCanary's handler sends.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use serin_tests::{Rsyslog, Sensor, Setup, certificates, eventually, free_port};

use super::log_in;

/// The messages about logins that rsyslogd has, once there are so many.
#[track_caller]
fn logins(rsyslog: &Rsyslog, count: usize) -> Vec<Value> {
    eventually(&format!("{count} logins at rsyslogd"), || {
        let found: Vec<Value> = rsyslog.got().into_iter().filter(|it| it["msgid"] == "2000").collect();
        (found.len() >= count).then_some(found)
    })
}

/// What the log file has of logins must be what the messages say, in order.
#[track_caller]
fn same_as_the_log(sensor: &Sensor, got: &[Value]) {
    let log: Vec<String> = sensor.wait_for(2000, got.len()).iter().map(|it| it.line.clone()).collect();
    let said: Vec<&str> = got.iter().map(|it| it["msg"].as_str().unwrap().trim_start()).collect();
    assert_eq!(said, log);
}

#[test]
fn rsyslogd_understands_rfc_5424_over_udp_and_tcp() {
    let rsyslog = Rsyslog::start(
        "module(load=\"imudp\")\nmodule(load=\"imtcp\")",
        &[
            r#"input(type="imudp" port="PORT" address="127.0.0.1")"#,
            r#"input(type="imtcp" port="PORT" address="127.0.0.1")"#,
        ],
    );
    for (transport, port) in [("udp", rsyslog.ports[0]), ("tcp", rsyslog.ports[1])] {
        let sensor = Setup::of(&["ftp"])
            .output(
                "log",
                json!({
                    "type": "syslog", "address": format!("127.0.0.1:{port}"), "transport": transport,
                    "hostname": "canary.example", "app": transport, "enterprise": 4711, "facility": "local3",
                }),
            )
            .start();
        log_in(&sensor, 3);
        let mut got = logins(&rsyslog, 3);
        got.retain(|it| it["app"] == transport);
        let got = eventually("three logins", || {
            let found = logins(&rsyslog, 3);
            let own: Vec<_> = found.into_iter().filter(|it| it["app"] == transport).collect();
            (own.len() == 3).then_some(own)
        });
        same_as_the_log(&sensor, &got);
        let first = &got[0];
        assert_eq!((&first["pri"], &first["host"]), (&json!("156"), &json!("canary.example")));
        let data = first["data"].as_str().unwrap();
        assert!(
            data.starts_with("[serin@4711 id=\"opencanary-1-") && data.contains("svc=\"ftp\"]"),
            "{data}"
        );
        assert!(!first["raw"].as_str().unwrap().contains('\u{feff}'));
    }
}

#[test]
fn rsyslogd_understands_a_unix_stream() {
    let rsyslog = Rsyslog::with(
        |folder| {
            // The sensor leaves root behind before it connects.
            fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            let path = folder.join("stream").display().to_string();
            format!("module(load=\"imptcp\")\ninput(type=\"imptcp\" path=\"{path}\" fileCreateMode=\"0666\")")
        },
        &[],
    );
    let path = rsyslog.folder().join("stream");
    eventually("the socket", || path.exists().then_some(()));
    let output = json!({ "type": "syslog", "address": path.display().to_string(), "transport": "unix" });
    let sensor = Setup::of(&["ftp"]).output("log", output).start();
    log_in(&sensor, 3);
    same_as_the_log(&sensor, &logins(&rsyslog, 3));
}

#[test]
fn rsyslogd_understands_lines_that_end_and_the_old_form() {
    let rsyslog = Rsyslog::start(
        "module(load=\"imudp\")\nmodule(load=\"imtcp\")",
        &[
            r#"input(type="imudp" port="PORT" address="127.0.0.1")"#,
            // It would take our octet counts as well.
            r#"input(type="imtcp" port="PORT" address="127.0.0.1" supportOctetCountedFraming="off")"#,
        ],
    );
    let output = |at: usize, transport: &str, protocol: &str| {
        json!({
            "type": "syslog", "address": format!("127.0.0.1:{}", rsyslog.ports[at]), "transport": transport,
            "protocol": protocol, "framing": if transport == "tcp" { "newline" } else { "auto" },
            "hostname": "canary", "app": format!("{protocol}{transport}"), "max_size": 8192, "facility": "local3",
        })
    };
    let sensor = Setup::of(&["ftp"])
        .output("new", output(1, "tcp", "rfc5424"))
        .output("old", output(1, "tcp", "rfc3164"))
        .output("old-udp", output(0, "udp", "rfc3164"))
        .start();
    log_in(&sensor, 3);
    for app in ["rfc5424tcp", "rfc3164tcp", "rfc3164udp"] {
        let got = eventually(&format!("three logins of {app}"), || {
            let own = rsyslog.got().into_iter().filter(|it| it["app"] == app);
            let own: Vec<_> = own
                .filter(|it| it["msg"].as_str().is_some_and(|it| it.contains("\"logtype\": 2000")))
                .collect();
            (own.len() == 3).then_some(own)
        });
        same_as_the_log(&sensor, &got);
        assert!(got.iter().all(|it| it["pri"] == "156" && it["host"] == "canary"), "{got:#?}");
    }
}

/// What rsyslogd says of a peer that closes TCP without closing TLS.
const NO_FAREWELL: &str = "non-properly terminated";

/// A peer with the client's certificate that sends one message and is killed.
fn vanish_from(rsyslog: &Rsyslog) {
    let address = format!("localhost:{}", rsyslog.ports[0]);
    let mut peer = Command::new("openssl")
        .args(["s_client", "-quiet", "-cert", "client.pem", "-key", "client.key", "-connect", &address])
        .current_dir(rsyslog.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    let mut stdin = peer.stdin.take().expect("a pipe");
    stdin.write_all(b"<13>1 - - vanishing - - - -\n").expect("a message");
    eventually("the message of a peer that vanishes", || {
        rsyslog.got().iter().any(|it| it["app"] == "vanishing").then_some(())
    });
    peer.kill().and_then(|()| peer.wait()).expect("an end");
}

#[test]
fn rsyslogd_asks_for_our_certificate_and_gets_a_farewell() {
    let rsyslog = Rsyslog::with(
        |folder| {
            certificates(folder);
            let file = |name: &str| folder.join(name).display().to_string();
            format!(
                "global(processInternalMessages=\"on\" defaultNetstreamDriverCAFile=\"{}\" defaultNetstreamDriverCertFile=\"{}\" \
                 defaultNetstreamDriverKeyFile=\"{}\")\n\
                 module(load=\"imtcp\" streamDriver.name=\"gtls\" streamDriver.mode=\"1\" \
                 streamDriver.authMode=\"x509/certvalid\")\n\
                 syslog.* {}",
                file("ca.pem"),
                file("server.pem"),
                file("server.key"),
                file("own")
            )
        },
        &[r#"input(type="imtcp" port="PORT" address="127.0.0.1")"#],
    );
    let file = |name: &str| rsyslog.folder().join(name).display().to_string();
    let output = |certificate: bool, ca: &str| {
        let mut settings = json!({
            "type": "syslog", "address": format!("localhost:{}", rsyslog.ports[0]), "transport": "tls", "ca": ca,
        });
        if certificate {
            settings["certificate"] = json!(file("client.pem"));
            settings["key"] = json!(file("client.key"));
        }
        settings
    };
    let mut sensor = Setup::of(&["ftp"]).output("log", output(true, &file("ca.pem"))).start();
    log_in(&sensor, 3);
    same_as_the_log(&sensor, &logins(&rsyslog, 3));
    assert!(sensor.stop().success());
    // rsyslogd complains of peers that close without close_notify: of this one, and not of the sensor.
    vanish_from(&rsyslog);
    let own = eventually("a complaint of rsyslogd", || {
        let own = fs::read_to_string(file("own")).unwrap_or_default();
        own.contains(NO_FAREWELL).then_some(own)
    });
    assert_eq!(own.matches(NO_FAREWELL).count(), 1, "{own}");

    // A certificate of nobody we trust: held, and said so.
    let stranger = tempfile::tempdir().unwrap();
    certificates(stranger.path());
    let ca = stranger.path().join("ca.pem").display().to_string();
    let sensor = Setup::of(&["ftp"]).output("log", output(true, &ca)).start();
    log_in(&sensor, 1);
    eventually("the output to be held", || {
        let told = sensor.ask(&["outputs", "status"]).out;
        (told.contains("certificate") && told.contains("hold")).then_some(())
    });
    assert_eq!(logins(&rsyslog, 3).len(), 3);
}

#[test]
fn opencanarys_handler_sends_the_bare_text_and_nul() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // Nobody listens there yet: OpenCanary would not start.
    let late = free_port();
    let setup = Setup::of(&["ftp"]);
    let log = setup.folder().join("log.json");
    let sensor = setup
        .with("logger", json!({ "class": "PyLogger", "kwargs": {
            "formatters": { "syslog_rfc": {
                "format": "opencanaryd[%(process)-5s:%(thread)d]: %(name)s %(levelname)-5s %(message)s",
            } },
            "handlers": {
                "file": { "class": "logging.FileHandler", "filename": log },
                "udp": {
                    "class": "logging.handlers.SysLogHandler", "formatter": "syslog_rfc", "facility": "local7",
                    "address": ["127.0.0.1", udp.local_addr().unwrap().port()],
                    "socktype": "ext://socket.SOCK_DGRAM",
                },
                "tcp": {
                    "class": "logging.handlers.SysLogHandler", "address": ["127.0.0.1", late],
                    "socktype": "ext://socket.SOCK_STREAM",
                },
            },
        } }))
        .start();
    log_in(&sensor, 2);
    let lines: Vec<String> = sensor.lines().into_iter().map(|it| it.line).collect();
    let logins: Vec<String> = sensor.wait_for(2000, 2).into_iter().map(|it| it.line).collect();
    let mut buffer = vec![0; 65536];
    let mut told = Vec::new();
    while told.len() < 2 {
        let (count, _) = udp.recv_from(&mut buffer).unwrap();
        let text = String::from_utf8(buffer[..count].to_vec()).unwrap();
        if text.contains("\"logtype\": 2000") {
            told.push(text);
        }
    }
    let pid = sensor.pid();
    let expected: Vec<String> = logins
        .iter()
        .map(|it| format!("<188>opencanaryd[{pid:<5}:{pid}]: opencanary-1 WARNING {it}\0"))
        .collect();
    assert_eq!(told, expected);

    let listener = TcpListener::bind(("127.0.0.1", late)).unwrap();
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut told = Vec::new();
    while told.split(|it| *it == 0).count() <= lines.len().max(3) {
        let count = socket.read(&mut buffer).unwrap();
        assert!(count > 0, "hung up");
        told.extend_from_slice(&buffer[..count]);
    }
    let told = String::from_utf8(told).unwrap();
    for login in logins {
        assert!(told.contains(&format!("<12>{login}\0")), "{told}");
    }
}
