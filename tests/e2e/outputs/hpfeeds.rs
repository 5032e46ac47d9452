//! hpfeeds: the reference broker gets every event, also after it was gone, and its words are told.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use serin_tests::{Sensor, Setup, client, eventually, free_port};

use super::log_in;

const CHANNEL: &str = "oc.events";

/// A program that ends when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The reference broker: two accounts, one of which may only listen.
struct Broker {
    port: u16,
    metrics: u16,
    _running: Running,
}

impl Broker {
    fn start(folder: &Path, port: u16) -> Self {
        let accounts = folder.join("accounts.json");
        let account = |publishes: &[&str]| json!({ "owner": "test", "secret": "s3cret-of-ident", "pubchans": publishes, "subchans": [CHANNEL] });
        let all = json!({ "sensor1": account(&[CHANNEL]), "listener": account(&[]) });
        fs::write(&accounts, all.to_string()).unwrap();
        let metrics = free_port();
        let child = Command::new("hpfeeds-broker")
            .args(["-e", &format!("tcp:interface=127.0.0.1:port={port}"), "--auth"])
            .arg(&accounts)
            .args(["--exporter", &format!("127.0.0.1:{metrics}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("hpfeeds-broker is installed; ./test tools installs it");
        let broker = Self { port, metrics, _running: Running(child) };
        eventually("the broker to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
        broker
    }

    /// How many messages of our account it took.
    fn published(&self) -> u64 {
        let Ok(mut socket) = TcpStream::connect(("127.0.0.1", self.metrics)) else { return 0 };
        let mut text = String::new();
        let _ = socket.write_all(b"GET /metrics HTTP/1.0\r\n\r\n");
        let _ = socket.read_to_string(&mut text);
        let ours = |it: &&str| {
            it.starts_with("hpfeeds_broker_receive_publish_count_total{") && it.contains("sensor1")
        };
        let count = text.lines().find(ours).and_then(|it| it.rsplit(' ').next()?.parse::<f64>().ok());
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
        count.map_or(0, |it| it as u64)
    }
}

/// The reference client, listening. What it hears, line by line.
fn listener(port: u16) -> (Running, Receiver<String>) {
    const SCRIPT: &str = "import hpfeeds, sys\n\
        client = hpfeeds.new('127.0.0.1', int(sys.argv[1]), 'listener', 's3cret-of-ident')\n\
        client.subscribe('oc.events')\n\
        print('listening', flush=True)\n\
        client.run(lambda ident, channel, payload: print(payload.decode(), flush=True), print)\n";
    let mut child = Command::new("python3")
        .args(["-u", "-c", SCRIPT, &port.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (said, heard) = channel();
    thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if said.send(line).is_err() {
                break;
            }
        }
    });
    assert_eq!(heard.recv_timeout(Duration::from_secs(20)).unwrap(), "listening");
    (Running(child), heard)
}

fn settings(port: u16, more: &Value) -> Value {
    let mut settings = json!({
        "type": "hpfeeds", "host": "127.0.0.1", "port": port, "ident": "sensor1",
        "secret": "s3cret-of-ident", "channels": [CHANNEL], "min_severity": "high",
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

fn status(sensor: &Sensor) -> Value {
    let said =
        sensor.ask(&["outputs", "status", "--json", "--config", &sensor.config().display().to_string()]);
    let all: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{}", said.words()));
    all.as_array().unwrap().iter().find(|it| it["name"] == "feed").unwrap().clone()
}

#[test]
fn a_listener_hears_every_event_of_opencanarys_handler() {
    let setup = Setup::of(&["ftp"]);
    let broker = Broker::start(setup.folder(), free_port());
    let (_running, heard) = listener(broker.port);
    let handlers = json!({
        "file": { "class": "logging.FileHandler", "filename": setup.folder().join("log.json") },
        "feed": {
            "class": "opencanary.logger.HpfeedsHandler", "host": "127.0.0.1", "port": broker.port,
            "ident": "sensor1", "secret": "s3cret-of-ident", "channels": [CHANNEL],
        },
    });
    let sensor =
        setup.with("logger", json!({ "class": "PyLogger", "kwargs": { "handlers": handlers } })).start();
    log_in(&sensor, 5);
    let mut users = Vec::new();
    while users.len() < 5 {
        let line = heard.recv_timeout(Duration::from_secs(20)).expect("five logins");
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["logtype"] == 2000 {
            assert!(sensor.events().iter().any(|it| it.line == line), "not the log's line: {line}");
            users.push(event["logdata"]["USERNAME"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(users, ["user0", "user1", "user2", "user3", "user4"]);
}

#[test]
fn a_broker_that_was_gone_gets_everything_once_with_echoes() {
    let setup = Setup::of(&["ftp"]);
    let (port, folder) = (free_port(), setup.folder().to_owned());
    // The sensor starts although nobody is there.
    let sensor = setup.output("feed", settings(port, &json!({ "confirm": "echo" }))).start();
    log_in(&sensor, 2);
    eventually("a failure", || Some(()).filter(|()| status(&sensor)["state"] == "backing-off"));
    let broker = Broker::start(&folder, port);
    eventually("two messages", || Some(()).filter(|()| broker.published() == 2));
    log_in(&sensor, 1);
    eventually("a third", || Some(()).filter(|()| broker.published() == 3));
    drop(broker);
    log_in(&sensor, 2);
    let broker = Broker::start(&folder, port);
    eventually("the two from meanwhile", || Some(()).filter(|()| broker.published() == 2));
    eventually("five echoes", || Some(()).filter(|()| status(&sensor)["sent"] == 5));
    assert_eq!(broker.published(), 2);
}

#[test]
fn a_wrong_secret_is_held_with_the_brokers_words_and_without_the_secret() {
    let setup = Setup::of(&["ftp"]);
    let broker = Broker::start(setup.folder(), free_port());
    let sensor = setup.output("feed", settings(broker.port, &json!({ "secret": "not-the-secret" }))).start();
    log_in(&sensor, 1);
    let held = eventually("hold", || Some(status(&sensor)).filter(|it| it["state"] == "hold"));
    assert_eq!(held["last_error"], "the broker says: Authentication failed for sensor1");
    assert_eq!((&held["sent"], &held["rejected"]), (&json!(0), &json!(0)));
    assert!(!sensor.said().contains("not-the-secret"));

    let setup = Setup::of(&["ftp"]);
    let listening = settings(broker.port, &json!({ "ident": "listener" }));
    let sensor = setup.output("feed", listening).start();
    log_in(&sensor, 1);
    let held = eventually("hold", || Some(status(&sensor)).filter(|it| it["state"] == "hold"));
    let words = held["last_error"].as_str().unwrap();
    assert!(words.starts_with("the broker says: Authkey not allowed to pub here."), "{words}");
}

#[test]
fn through_tls_only_to_a_broker_that_proves_itself() {
    let setup = Setup::of(&["ftp"]);
    let broker = Broker::start(setup.folder(), free_port());
    let (port, folder) = (free_port(), setup.folder().to_owned());
    let path = |name: &str| folder.join(name).display().to_string();
    let made = |more: &[&str], key: &str, certificate: &str| {
        let (key, certificate) = (path(key), path(certificate));
        let mut arguments = vec!["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"];
        arguments.extend(["-keyout", &key, "-out", &certificate]);
        arguments.extend(more);
        let made = client("openssl", &arguments);
        assert_eq!(made.status, 0, "{}", made.words());
    };
    made(&["-subj", "/CN=Authority"], "ca.key", "ca.pem");
    let (ca, ca_key) = (path("ca.pem"), path("ca.key"));
    let leaf = ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"];
    let issued = ["-subj", "/CN=localhost", "-CA", &ca, "-CAkey", &ca_key];
    made(&[&issued[..], &leaf[..]].concat(), "key.pem", "cert.pem");
    let conf = format!(
        "foreground = yes\npid =\n[hpfeeds]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{}\ncert = {}\nkey = {}\n",
        broker.port,
        path("cert.pem"),
        path("key.pem")
    );
    fs::write(path("stunnel.conf"), conf).unwrap();
    let child = Command::new("stunnel4")
        .arg(path("stunnel.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("stunnel4 is installed; ./test tools installs it");
    let _stunnel = Running(child);
    eventually("stunnel to listen", || TcpStream::connect(("127.0.0.1", port)).ok());

    let tls = json!({ "tls": true, "host": "localhost", "ca": ca, "confirm": "echo" });
    let sensor = setup.output("feed", settings(port, &tls)).start();
    log_in(&sensor, 3);
    eventually("three echoes", || Some(()).filter(|()| status(&sensor)["sent"] == 3));
    assert_eq!(broker.published(), 3);

    // The system's authorities do not know this one.
    let setup = Setup::of(&["ftp"]);
    let sensor = setup.output("feed", settings(port, &json!({ "tls": true, "host": "localhost" }))).start();
    log_in(&sensor, 1);
    let held = eventually("hold", || Some(status(&sensor)).filter(|it| it["state"] == "hold"));
    assert!(held["last_error"].as_str().unwrap().contains("certificate"), "{held}");
    assert_eq!(broker.published(), 3);
}
