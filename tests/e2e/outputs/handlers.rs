//! An OpenCanary configuration with every handler class there is, as it stands: it is accepted, it
//! starts, receivers that are down delay nothing, and those that are there get their events.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use serde_json::{Value, json};
use serin_tests::{Receiver, Reply, Request, Setup, eventually, free_port, serin};

use super::log_in;

/// The classes and arguments of OpenCanary's documentation; nobody listens on `dead`.
fn handlers(dead: u16, web: &Receiver, syslog: u16, correlator: u16, log: &str) -> Value {
    json!({
        "console": { "class": "logging.StreamHandler", "stream": "ext://sys.stdout" },
        "file": { "class": "logging.FileHandler", "filename": log },
        "rotating": {
            "class": "logging.handlers.RotatingFileHandler", "filename": format!("{log}.rotating"),
            "maxBytes": 100_000, "backupCount": 2,
        },
        "syslog-unix": {
            "class": "logging.handlers.SysLogHandler", "formatter": "syslog_rfc",
            "address": ["127.0.0.1", syslog], "socktype": "ext://socket.SOCK_DGRAM",
        },
        "json-tcp": { "class": "opencanary.logger.SocketJSONHandler", "host": "127.0.0.1", "port": correlator },
        "hpfeeds": {
            "class": "opencanary.logger.HpfeedsHandler", "host": "127.0.0.1", "port": dead,
            "ident": "test", "secret": "12345", "channels": ["test.events"],
        },
        "Slack": { "class": "opencanary.logger.SlackHandler", "webhook_url": web.url("/slack") },
        "teams": { "class": "opencanary.logger.TeamsHandler", "webhook_url": web.url("/teams") },
        "Webhook": {
            "class": "opencanary.logger.WebhookHandler", "url": web.url("/webhook"), "method": "POST",
            "data": { "message": "%(message)s" }, "status_code": 200,
            "headers": { "Content-Type": "application/json" },
        },
        "SMTP": {
            "class": "logging.handlers.SMTPHandler", "mailhost": ["127.0.0.1", dead],
            "fromaddr": "noreply@example.com", "toaddrs": ["you@example.com"], "subject": "OpenCanary Alert",
            "credentials": ["myusername", "password1"], "secure": [],
        },
        "dshield": {
            "class": "opencanary.logger.DShieldHandler", "dshield_userid": "12345",
            "dshield_authkey": "c2VjcmV0", "allowed_ports": "22,23",
            "dshield_url": format!("http://127.0.0.1:{dead}/submitapi/"),
        },
    })
}

#[test]
fn every_handler_of_opencanarys_works_as_it_is_configured() {
    let web = Receiver::start(|it| Reply::new(if it.path == "/teams" { 202 } else { 200 }, "ok"));
    let syslog = UdpSocket::bind("127.0.0.1:0").unwrap();
    syslog.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let correlator = TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = (syslog.local_addr().unwrap().port(), correlator.local_addr().unwrap().port());
    let setup = Setup::of(&["ftp"]);
    let log = setup.folder().join("log.json").display().to_string();
    let handlers = handlers(free_port(), &web, ports.0, ports.1, &log);
    let count = handlers.as_object().unwrap().len();
    let format = "opencanaryd[%(process)-5s:%(thread)d]: %(name)s %(levelname)-5s %(message)s";
    let sensor = setup
        .with(
            "logger",
            json!({ "class": "PyLogger", "kwargs": {
                "formatters": { "plain": { "format": "%(message)s" }, "syslog_rfc": { "format": format } },
                "handlers": handlers,
            } }),
        )
        .start();
    let checked = serin(sensor.folder(), &["check", "--config", sensor.config().to_str().unwrap()]);
    assert!(checked.status == 0 && !checked.words().contains("does not have"), "{}", checked.words());
    log_in(&sensor, 1);

    let mut datagram = [0; 4096];
    let text = eventually("the login by syslog", || {
        let size = syslog.recv(&mut datagram).ok()?;
        Some(String::from_utf8_lossy(&datagram[..size]).into_owned())
            .filter(|it| it.contains("\"logtype\": 2000"))
    });
    assert!(text.starts_with("<12>opencanaryd[") && text.ends_with("}\0"), "{text:?}");
    let (stream, _) = correlator.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut lines = BufReader::new(stream).lines();
    let found = lines.find(|it| it.as_ref().is_ok_and(|it| it.contains("\"logtype\": 2000")));
    let line: Value = serde_json::from_str(&found.unwrap().unwrap()).unwrap();
    assert_eq!(line["logdata"]["USERNAME"], "user0");
    for path in ["/slack", "/teams", "/webhook"] {
        eventually(path, || {
            web.seen().iter().any(|it| it.path == path && it.text().contains("user0")).then_some(())
        });
    }
    let status: Value = serde_json::from_str(&sensor.ask(&["outputs", "status", "--json"]).out).unwrap();
    assert_eq!(status.as_array().unwrap().len(), count, "{status:#}");
}

/// A form's value, percent-decoded; `+` is a blank.
fn field(form: &str, name: &str) -> String {
    let value = form.split('&').find_map(|it| it.strip_prefix(name)?.strip_prefix('=')).expect("the field");
    let mut bytes = value.replace('+', " ").into_bytes();
    while let Some(at) = bytes.iter().position(|it| *it == b'%') {
        let digits = String::from_utf8(bytes[at + 1..at + 3].to_vec()).unwrap();
        // No % is encoded here, or this would not end.
        bytes.splice(at..at + 3, [u8::from_str_radix(&digits, 16).unwrap()]);
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn pythons_http_handler_sends_each_event_as_a_form() {
    let web = Receiver::start(|it| Reply::new(if it.path == "/post" { 302 } else { 200 }, ""));
    let host = format!("127.0.0.1:{}", web.port());
    let class = "logging.handlers.HTTPHandler";
    let setup = Setup::of(&["ftp"]);
    let handlers = json!({
        "get": { "class": class, "host": host, "url": "/get?key=1" },
        "post": {
            "class": class, "host": host, "url": "/post", "method": "POST", "credentials": ["me", "s3cret"],
        },
        "file": { "class": "logging.FileHandler", "filename": setup.folder().join("log.json") },
    });
    let logger = json!({ "class": "PyLogger", "kwargs": { "handlers": handlers } });
    let sensor = setup.with("logger", logger).start();
    log_in(&sensor, 1);
    let seen = |method: &str| {
        eventually(method, || {
            let login = |it: &Request| format!("{}{}", it.path, it.text()).contains("%22logtype%22%3A+2000");
            web.seen().into_iter().find(|it| it.method == method && login(it))
        })
    };
    let (get, post) = (seen("GET"), seen("POST"));
    let form = get.path.strip_prefix("/get?key=1&").expect("the address's own query first");
    for form in [form, &post.text()] {
        let line: Value = serde_json::from_str(&field(form, "msg")).unwrap();
        assert_eq!((&line["logtype"], &line["logdata"]["USERNAME"]), (&json!(2000), &json!("user0")));
        assert_eq!(field(form, "name"), line["node_id"].as_str().unwrap());
        assert_eq!((field(form, "levelname"), field(form, "levelno")), ("WARNING".into(), "30".into()));
    }
    assert_eq!((post.path.as_str(), get.body.len()), ("/post", 0));
    assert_eq!(post.header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(post.header("authorization"), "Basic bWU6czNjcmV0");
}
