//! JSON lines over TCP: OpenCanary's correlator protocol, with collectors that come and go.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use serde_json::json;
use serin_tests::{Sensor, Setup, Talk, certificates, eventually, free_port};

use super::faults::Front;
use super::{log_in, status};

/// A sensor under OpenCanary's configuration with a `SocketJSONHandler` to this port.
fn sensor(port: u16) -> Sensor {
    let setup = Setup::of(&["ftp"]);
    let log = setup.folder().join("log.json");
    setup
        .with("logger", json!({ "class": "PyLogger", "kwargs": { "handlers": {
            "file": { "class": "logging.FileHandler", "filename": log },
            "collector": { "class": "opencanary.logger.SocketJSONHandler", "host": "127.0.0.1", "port": port },
        } } }))
        .start()
}

/// A collector in Python, as the correlator is one: lines come back over its standard output, and it
/// does what its standard input says: `close` hangs up, `half` hangs up in one direction.
struct Collector {
    child: Child,
    lines: mpsc::Receiver<String>,
}

const COLLECTOR: &str = r#"
import socket, sys, threading
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
current = []
def serve(peer):
    for line in peer.makefile("rb"):
        sys.stdout.write(line.decode("ascii")); sys.stdout.flush()
    peer.close()
def accept():
    while True:
        peer, _ = server.accept()
        current.append(peer)
        threading.Thread(target=serve, args=(peer,), daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
print("ready", flush=True)
for order in sys.stdin:
    peer = current.pop()
    peer.shutdown(socket.SHUT_WR if order == "half\n" else socket.SHUT_RDWR)
    print("done", flush=True)
"#;

impl Collector {
    fn start(port: u16) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", COLLECTOR, &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let (sender, lines) = mpsc::channel();
        let out = child.stdout.take().expect("a pipe");
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let collector = Self { child, lines };
        assert_eq!(collector.line(), "ready");
        collector
    }

    #[track_caller]
    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(15)).expect("a line")
    }

    /// The user of the next login.
    #[track_caller]
    fn login(&self) -> String {
        loop {
            let line: serde_json::Value = serde_json::from_str(&self.line()).expect("a line of JSON");
            if line["logtype"] == 2000 {
                return line["logdata"]["USERNAME"].as_str().unwrap().to_owned();
            }
        }
    }

    fn order(&mut self, what: &str) {
        use std::io::Write as _;
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{what}").expect("an order");
        assert_eq!(self.line(), "done");
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_in_as(sensor: &Sensor, user: &str) {
    let mut talk = Talk::to(sensor.port("ftp"));
    talk.until("220 ");
    talk.say(format!("USER {user}\r\n"));
    talk.until("331 ");
    talk.say("PASS s3cret-pw\r\n");
    talk.until("530 ");
}

#[test]
fn nothing_is_lost_or_doubled_when_the_collector_comes_late_closes_and_returns() {
    let port = free_port();
    let sensor = sensor(port);
    log_in_as(&sensor, "early");
    let mut collector = Collector::start(port);
    assert_eq!(collector.login(), "early");
    for (round, order) in ["close", "half", "close"].iter().enumerate() {
        // The first write after a close is the one that OpenCanary loses.
        collector.order(order);
        let user = format!("after-{order}-{round}");
        log_in_as(&sensor, &user);
        assert_eq!(collector.login(), user);
    }
    drop(collector);
    for number in 0..5 {
        log_in_as(&sensor, &format!("away-{number}"));
    }
    let collector = Collector::start(port);
    for number in 0..5 {
        assert_eq!(collector.login(), format!("away-{number}"));
    }
}

#[test]
fn a_collector_that_never_reads_slows_nobody_and_gets_everything_in_the_end() {
    const LOGINS: usize = 600;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Its kernel takes little for it.
    setsockopt(&listener, sockopt::RcvBuf, &8192).unwrap();
    let sensor = sensor(listener.local_addr().unwrap().port());
    let (socket, _) = listener.accept().unwrap();
    let began = Instant::now();
    log_in(&sensor, LOGINS);
    let taken = began.elapsed();
    let lines: Vec<String> = sensor.wait_for(2000, LOGINS).into_iter().map(|it| it.line).collect();
    assert!(taken < Duration::from_secs(8), "{LOGINS} logins took {taken:?}");
    // Most of it waits at the sensor: this is what a receiver that does not read looks like.
    let lag = status(&sensor, "collector")["lag_events"].as_u64().unwrap();
    assert!(lag > 100, "only {lag} events wait");
    let got = users_until(socket, lines.len());
    assert_eq!(got, lines);
}

/// The lines about logins, once there are so many.
fn users_until(socket: TcpStream, count: usize) -> Vec<String> {
    socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let reader = BufReader::new(socket);
    let lines = reader.lines().map(|it| it.expect("a line in time"));
    lines.filter(|it| it.contains("\"logtype\": 2000")).take(count).collect()
}

#[test]
fn a_reset_connection_loses_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sensor = sensor(listener.local_addr().unwrap().port());
    log_in_as(&sensor, "unread");
    // It reads nothing, and leaves when the login is there: its kernel resets the connection.
    let (socket, _) = listener.accept().unwrap();
    eventually("the login in the receiver's kernel", || {
        let mut seen = vec![0; 16384];
        let count = socket.peek(&mut seen).unwrap();
        String::from_utf8_lossy(&seen[..count]).contains("unread").then_some(())
    });
    drop(socket);
    log_in_as(&sensor, "next");
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let mut told = String::new();
    let mut buffer = [0; 4096];
    while !told.contains("\"next\"") {
        let count = socket.read(&mut buffer).unwrap();
        assert!(count > 0, "hung up after {told}");
        told.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(told.contains("\"unread\""), "{told}");
}

#[test]
fn over_tls_only_to_a_collector_that_proves_itself() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let (port, behind) = (free_port(), free_port());
    let _front = Front::start(folder.path(), port, behind, "server");
    let collector = Collector::start(behind);
    let tls = |more: serde_json::Value| {
        let mut settings = json!({ "type": "tcp", "address": format!("localhost:{port}"), "tls": true });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Setup::of(&["ftp"]).output("collector", settings).start()
    };
    let stranger = tls(json!({}));
    log_in_as(&stranger, "stranger");
    eventually("the output to hold", || {
        let told = status(&stranger, "collector");
        let why = told["last_error"].as_str()?;
        (told["state"] == "hold" && why.contains("certificate")).then_some(())
    });
    let sensor = tls(json!({ "ca": folder.path().join("ca.pem").display().to_string() }));
    for user in ["one", "two"] {
        log_in_as(&sensor, user);
        assert_eq!(collector.login(), user);
    }
}
