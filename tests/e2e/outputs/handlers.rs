//! An OpenCanary configuration with every handler class there is, as it stands: it is accepted, it
//! starts, receivers that are down delay nothing, and those that are there get their events.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use serde_json::{Value, json};
use serin_tests::{Receiver, Reply, Setup, eventually, free_port, serin};

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
