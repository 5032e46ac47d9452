//! NATS: a real server with a stream keeps what it acknowledged, and each event once.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use serin_tests::{Sensor, Setup, client, eventually, free_port};
use tempfile::TempDir;

use super::{log_in, status};

/// A server with its store in a folder of its own; killed when dropped.
struct Server {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts one with these lines in its configuration, besides its port and its store.
    fn start(more: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("serin-nats-").tempdir().expect("a folder");
        Self::start_in(folder, more)
    }

    fn start_in(folder: TempDir, more: &str) -> Self {
        let port = free_port();
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {:?} }}\n{more}\n",
            folder.path().join("store").display().to_string()
        );
        fs::write(folder.path().join("nats.conf"), text).expect("a file");
        let mut server = Self { folder, port, child: None };
        server.run();
        server
    }

    fn run(&mut self) {
        let child = Command::new("nats-server")
            .arg("-c")
            .arg(self.folder.path().join("nats.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server starts; ./test tools installs it");
        self.child = Some(child);
        eventually("nats-server to listen", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks the interface of streams; the answer's headers (text, perhaps empty) and its bytes.
    fn ask(&self, subject: &str, question: &Value) -> (String, Vec<u8>) {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).expect("a server");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        let question = question.to_string();
        let hello = r#"CONNECT {"verbose":false,"headers":true,"no_responders":true,"user":"admin","pass":"adminpw"}"#;
        write!(
            socket,
            "{hello}\r\nSUB answers 1\r\nPUB {subject} answers {}\r\n{question}\r\n",
            question.len()
        )
        .expect("a server that listens");
        let mut from = BufReader::new(socket);
        loop {
            let mut line = String::new();
            assert!(from.read_line(&mut line).expect("an answer") > 0, "the server hung up");
            let words: Vec<_> = line.split_whitespace().collect();
            let sizes: Vec<usize> = words.iter().skip(3).filter_map(|it| it.parse().ok()).collect();
            let headers = match words.first() {
                Some(&"HMSG") => sizes[0],
                Some(&"MSG") => 0,
                _ => continue,
            };
            let mut bytes = vec![0; *sizes.last().expect("a size")];
            from.read_exact(&mut bytes).expect("the answer");
            let body = bytes.split_off(headers);
            return (String::from_utf8_lossy(&bytes).into_owned(), body);
        }
    }

    fn make_stream(&self) {
        let config = json!({ "name": "CANARY", "subjects": ["opencanary.>"], "storage": "file",
            "allow_direct": true });
        let (_, answer) = self.ask("$JS.API.STREAM.CREATE.CANARY", &config);
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        assert!(answer.get("error").is_none(), "{answer}");
    }

    fn count(&self) -> u64 {
        let (_, answer) = self.ask("$JS.API.STREAM.INFO.CANARY", &json!({}));
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        answer["state"]["messages"].as_u64().unwrap_or(0)
    }

    /// Headers and body of every message.
    fn messages(&self) -> Vec<(String, Value)> {
        (1..=self.count())
            .map(|seq| {
                let (headers, body) = self.ask("$JS.API.DIRECT.GET.CANARY", &json!({ "seq": seq }));
                (headers, serde_json::from_slice(&body).expect("JSON"))
            })
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The value of a header.
fn header<'a>(headers: &'a str, name: &str) -> &'a str {
    let line = headers.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim()
}

fn setup(server: &Server) -> Setup {
    let address = format!("127.0.0.1:{}", server.port);
    Setup::of(&["ftp"]).output("fleet", json!({ "type": "nats", "server": address, "services": ["ftp"] }))
}

fn with_settings(server: &Server, settings: &Value) -> Sensor {
    let mut all = json!({ "type": "nats", "server": format!("localhost:{}", server.port) });
    for (key, value) in settings.as_object().expect("a table") {
        all[key] = value.clone();
    }
    Setup::of(&["ftp"]).output("fleet", all).start()
}

fn users(messages: &[(String, Value)]) -> Vec<String> {
    let logins = messages.iter().filter(|it| it.1["logtype"] == 2000);
    logins.map(|it| it.1["logdata"]["USERNAME"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn everything_arrives_once_through_kills_of_both_ends() {
    let mut server = Server::start("");
    server.make_stream();
    let mut sensor = setup(&server).start();
    log_in(&sensor, 3);
    eventually("three logins in the stream", || (users(&server.messages()).len() == 3).then_some(()));
    server.kill();
    log_in(&sensor, 3);
    eventually("the output to notice", || (status(&sensor, "fleet")["state"] == "backing-off").then_some(()));
    sensor.crash();
    server.run();
    sensor.start();
    log_in(&sensor, 3);
    eventually("all logins in the stream", || (users(&server.messages()).len() >= 9).then_some(()));
    let messages = server.messages();
    assert_eq!(users(&messages), ["user0", "user1", "user2"].repeat(3), "each once and in order");
    let mut ids: Vec<_> = messages.iter().map(|it| header(&it.0, "Nats-Msg-Id").to_owned()).collect();
    assert!(ids.iter().all(|it| it.starts_with("opencanary-1-")), "{ids:?}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), messages.len());
    let login = messages.iter().find(|it| it.1["logtype"] == 2000).expect("a login");
    assert_eq!(header(&login.0, "Nats-Subject"), "opencanary.opencanary-1.ftp.2000");
    assert_eq!(header(&login.0, "Content-Type"), "application/json");
}

#[test]
fn what_comes_twice_is_dropped_by_its_id() {
    let server = Server::start("");
    server.make_stream();
    let address = format!("127.0.0.1:{}", server.port);
    // Two outputs to one stream send every event twice.
    let again = json!({ "type": "nats", "server": address, "services": ["ftp"] });
    let sensor = setup(&server).output("again", again).start();
    log_in(&sensor, 5);
    let (sent, dropped) = eventually("both outputs to be done", || {
        let both = [status(&sensor, "fleet"), status(&sensor, "again")];
        let sum = |key: &str| both.iter().map(|it| it[key].as_u64().unwrap_or(0)).sum::<u64>();
        let (sent, dropped) = (sum("sent"), sum("duplicate"));
        (sent + dropped == 2 * server.count() && users(&server.messages()).len() == 5)
            .then_some((sent, dropped))
    });
    assert_eq!(sent, dropped, "what one delivers, the other finds there");
}

#[test]
fn a_subject_without_a_stream_waits_for_one() {
    let server = Server::start("");
    let sensor = setup(&server).start();
    log_in(&sensor, 2);
    eventually("the output to tell what is missing", || {
        let status = status(&sensor, "fleet");
        let said = status["last_error"].as_str().unwrap_or_default().to_owned();
        (status["state"] != "ok" && said.contains("no stream takes the subject opencanary.opencanary-1."))
            .then_some(())
    });
    server.make_stream();
    eventually("both logins in the stream", || (users(&server.messages()).len() == 2).then_some(()));
}

#[test]
fn a_wrong_password_waits_for_the_operator() {
    let server = Server::start(
        "authorization { users = [ { user: admin, password: adminpw }, { user: canary, password: s3same } ] }",
    );
    server.make_stream();
    let mut sensor = with_settings(&server, &json!({ "user": "canary", "password": "wr0ng-one" }));
    log_in(&sensor, 1);
    let said = eventually("the output to hold", || {
        let status = status(&sensor, "fleet");
        (status["state"] == "hold").then(|| status["last_error"].as_str().unwrap_or_default().to_owned())
    });
    assert!(said.contains("Authorization Violation"), "{said}");
    assert!(!sensor.said().contains("wr0ng-one"), "{}", sensor.said());
    assert!(sensor.stop().success());
    sensor.set("outputs.fleet.password", "s3same");
    sensor.start();
    eventually("the login in the stream", || (users(&server.messages()) == ["user0"]).then_some(()));
}

/// A certificate for localhost that vouches for itself, and its key.
fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join("tls.pem"), folder.join("tls.key"));
    let made = client(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            &key.display().to_string(),
            "-out",
            &certificate.display().to_string(),
        ],
    );
    assert_eq!(made.status, 0, "{made:?}");
    (certificate, key)
}

#[test]
fn an_nkey_logs_in_over_tls_that_is_verified() {
    // The pair of NATS's documentation.
    const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    const USER: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let folder = tempfile::Builder::new().prefix("serin-nats-").tempdir().expect("a folder");
    let (certificate, key) = certificate(folder.path());
    let more = format!(
        "tls {{ cert_file: {:?}, key_file: {:?} }}\nauthorization {{ users = [ {{ nkey: {USER} }} ] }}",
        certificate.display().to_string(),
        key.display().to_string()
    );
    let server = Server::start_in(folder, &more);
    let ca = certificate.display().to_string();
    // Plain NATS: nobody who could make a stream is let in.
    let settings = json!({ "nkey": SEED, "ca": ca, "jetstream": false });
    let sensor = with_settings(&server, &settings);
    log_in(&sensor, 1);
    eventually("the login to be read by the server", || {
        let status = status(&sensor, "fleet");
        (status["state"] == "ok" && status["sent"].as_u64() >= Some(1)).then_some(())
    });

    let stranger = with_settings(&server, &json!({ "nkey": SEED, "jetstream": false }));
    log_in(&stranger, 1);
    let said = eventually("the output to hold", || {
        let status = status(&stranger, "fleet");
        (status["state"] == "hold").then(|| status["last_error"].as_str().unwrap_or_default().to_owned())
    });
    assert!(said.contains("certificate"), "{said}");
}

/// The output's last error, once it holds.
fn held(sensor: &Sensor) -> String {
    eventually("the output to hold", || {
        let status = status(sensor, "fleet");
        (status["state"] == "hold").then(|| status["last_error"].as_str().unwrap_or_default().to_owned())
    })
}

/// The server answers for what it has read.
fn is_read(sensor: &Sensor) {
    log_in(sensor, 1);
    eventually("the login to be read by the server", || {
        let status = status(sensor, "fleet");
        (status["state"] == "ok" && status["sent"].as_u64() >= Some(1)).then_some(())
    });
}

#[test]
fn a_token_logs_in_and_no_other_does() {
    let server = Server::start("authorization { token: \"t0ken-of-the-fleet\" }");
    let settings = |token: &str| json!({ "token": token, "jetstream": false });
    is_read(&with_settings(&server, &settings("t0ken-of-the-fleet")));
    let stranger = with_settings(&server, &settings("wr0ng-t0ken"));
    log_in(&stranger, 1);
    let said = held(&stranger);
    assert!(said.contains("Authorization Violation") && !said.contains("wr0ng-t0ken"), "{said}");
}

#[test]
fn a_jwt_of_an_operators_account_logs_in_and_a_strangers_does_not() {
    let folder = tempfile::Builder::new().prefix("serin-nats-").tempdir().expect("a folder");
    let path = folder.path().to_owned();
    let made = client("python3", &["-c", include_str!("nats_jwt.py"), &path.display().to_string()]);
    assert_eq!((made.status, &made.err[..]), (0, ""));
    let trust = fs::read_to_string(path.join("trust")).expect("a file");
    let server = Server::start_in(folder, &trust);
    let settings = |name: &str| {
        let file = format!("file:{}", path.join(name).display());
        json!({ "credentials": file, "jetstream": false })
    };
    is_read(&with_settings(&server, &settings("canary.creds")));
    let stranger = with_settings(&server, &settings("stranger.creds"));
    log_in(&stranger, 1);
    let said = held(&stranger);
    assert!(said.contains("Authorization Violation"), "{said}");
}
