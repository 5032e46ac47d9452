//! What goes wrong between a sensor and its receivers, with the real binary: nothing is lost, little
//! comes twice, and nobody else notices.
//!
//! What time and chance alone decide (back-off, bisecting, hanging, panics, clocks) is tested beside
//! the engine; full disks and damaged stores are in `crash`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use serin_tests::{Receiver, Reply, Request, Sensor, Setup, client, eventually, free_port};

use super::{log_in, status};

/// A sensor that sends every event by OpenCanary's webhook, one request each.
fn hooked(url: &str, more: &Value) -> Setup {
    let setup = Setup::of(&["ftp"]);
    let log = setup.folder().join("log.json");
    let mut hook = json!({ "class": "opencanary.logger.WebhookHandler", "url": url });
    for (key, value) in more.as_object().into_iter().flatten() {
        hook[key] = value.clone();
    }
    let handlers = json!({ "file": { "class": "logging.FileHandler", "filename": log }, "hook": hook });
    setup.with("logger", json!({ "class": "PyLogger", "kwargs": { "handlers": handlers } }))
}

fn fine() -> Reply {
    Reply::new(200, "ok")
}

/// One login, which may be broken off.
fn attempt(port: u16) -> io::Result<()> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(&stream).lines();
    for said in ["USER admin\r\n", "PASS s3cret-pw\r\n", "QUIT\r\n"] {
        lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
        (&stream).write_all(said.as_bytes())?;
    }
    lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
    Ok(())
}

/// How often each event came: by its identity.
fn times(requests: &[Request]) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for request in requests {
        *times.entry(request.header("idempotency-key").to_owned()).or_default() += 1;
    }
    times
}

/// The identities of all logins in the store.
fn logins(sensor: &Sensor) -> BTreeSet<String> {
    let rows = sensor.ask(&["events", "--csv", "--all", "--limit", "1000000"]).out;
    let login = |row: &str| {
        let mut fields = row.split(',');
        let seq = fields.next()?;
        (fields.nth(2)? == "2000").then(|| format!("opencanary-1-{seq}"))
    };
    rows.lines().filter_map(login).collect()
}

/// Waits until the receiver has every login, and returns how often each came.
fn all_there(sensor: &Sensor, receiver: &Receiver, count: usize) -> BTreeMap<String, usize> {
    eventually("every login at the receiver", || {
        let (wanted, times) = (logins(sensor), times(&receiver.seen()));
        (wanted.len() >= count && wanted.iter().all(|it| times.contains_key(it))).then_some(times)
    })
}

#[test]
fn kills_at_random_points_lose_nothing_and_repeat_little() {
    let receiver = Receiver::start(|_| fine());
    let mut sensor = hooked(&receiver.url("/"), &json!({})).start();
    let port = sensor.port("ftp");
    let kills = 2;
    for _ in 0..kills {
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let stop = stop.clone();
                thread::spawn(move || {
                    for _ in 0..500 {
                        // The kill comes in the middle of some conversations.
                        if stop.load(Ordering::Relaxed) || attempt(port).is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        // Somewhere between two of these requests, by the nanoseconds of the clock.
        let chance = std::time::UNIX_EPOCH.elapsed().map_or(0, |it| it.subsec_nanos() / 7 % 1000);
        let enough = receiver.seen().len() + 200 + usize::try_from(chance).expect("a small number");
        eventually("the time for the kill", || (receiver.seen().len() >= enough).then_some(()));
        sensor.crash();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("a client ends");
        }
        sensor.start();
    }
    log_in(&sensor, 1);
    let times = all_there(&sensor, &receiver, 100);
    let stored = logins(&sensor);
    let unknown: Vec<_> = times.keys().filter(|it| !stored.contains(*it)).collect();
    assert!(unknown.is_empty(), "delivered, and not stored: {unknown:?}");
    let repeated: usize = times.values().map(|it| it - 1).sum();
    // At most so many had been sent when a kill came that the disk did not know of: 31 that it did not
    // have to know yet, and one delivery of 32.
    let most = 63 * kills;
    assert!(repeated <= most, "{repeated} came again after {kills} kills");
}

/// One login while the receiver misbehaves in these ways, then well.
fn survives(faults: Vec<Reply>) -> (Sensor, Vec<Request>) {
    let count = faults.len() + 1;
    let mut faults = faults.into_iter();
    let receiver = Receiver::start(move |_| faults.next().unwrap_or_else(fine));
    let sensor = hooked(&receiver.url("/"), &json!({})).start();
    log_in(&sensor, 1);
    let seen = eventually("the login to get through", || {
        let seen = receiver.seen();
        (seen.len() >= count && status(&sensor, "hook")["state"] == "ok").then_some(seen)
    });
    assert_eq!(times(&seen).len(), 1, "one identity: {:?}", times(&seen));
    assert_eq!(seen.len(), count, "once more than it failed");
    assert_eq!(status(&sensor, "hook")["rejected"], 0);
    (sensor, seen)
}

#[test]
fn a_reply_without_a_status_is_none() {
    survives(vec![
        Reply::cut(),
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Le"),
        Reply::raw("220 mail.example ESMTP\r\n"),
        Reply::raw("HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nhalf"),
    ]);
}

#[test]
fn a_success_whose_words_are_cut_is_one_and_nothing_comes_twice() {
    let receiver = Receiver::start(|_| Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"));
    let sensor = hooked(&receiver.url("/"), &json!({})).start();
    log_in(&sensor, 2);
    eventually("both to be delivered", || (status(&sensor, "hook")["sent"] == 2).then_some(()));
    assert_eq!(status(&sensor, "hook")["state"], "ok");
    let times = times(&receiver.seen());
    assert!(times.len() == 2 && times.values().all(|it| *it == 1), "{times:?}");
}

#[test]
fn errors_that_pass_are_waited_for() {
    let busy = Reply::new(429, "slow down").header("Retry-After", "2");
    let (_, seen) = survives(vec![busy, Reply::new(500, "oops"), Reply::new(503, "")]);
    let gap = seen[1].at.duration_since(seen[0].at);
    assert!(gap >= Duration::from_secs(2), "it asked for two seconds and got {gap:?}");
}

#[test]
fn a_redirect_is_not_followed_and_waits_for_the_operator() {
    let elsewhere = Receiver::start(|_| fine());
    let target = elsewhere.url("/stolen");
    let receiver = Receiver::start(move |_| Reply::new(307, "").header("Location", &target));
    let sensor = hooked(&receiver.url("/"), &json!({})).start();
    log_in(&sensor, 2);
    eventually("the output to hold", || (status(&sensor, "hook")["state"] == "hold").then_some(()));
    assert!(elsewhere.seen().is_empty());
    receiver.answer(|_| fine());
    // The operator has put it right, and does not wait for the back-off.
    sensor.signal(Signal::SIGHUP);
    let times = all_there(&sensor, &receiver, 2);
    assert!(!times.contains_key(""), "every request has its identity");
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn an_outage_longer_than_a_restart_loses_nothing() {
    let receiver = Receiver::start(|_| fine());
    let port = receiver.port();
    let mut sensor = hooked(&receiver.url("/"), &json!({})).start();
    drop(receiver);
    log_in(&sensor, 3);
    eventually("the output to notice", || (status(&sensor, "hook")["state"] == "backing-off").then_some(()));
    // In the middle of a back-off, once in order and once not.
    assert!(sensor.stop().success());
    sensor.start();
    log_in(&sensor, 3);
    eventually("all six in the store", || (logins(&sensor).len() == 6).then_some(()));
    sensor.crash();
    let receiver = Receiver::on(port, |_| fine());
    sensor.start();
    let times = all_there(&sensor, &receiver, 6);
    assert!(times.values().all(|it| *it == 1), "{times:?}");
}

#[test]
fn a_slow_receiver_slows_nobody_down() {
    let receiver = Receiver::start(|_| fine().after(Duration::from_millis(300)));
    let sensor = hooked(&receiver.url("/"), &json!({})).start();
    let began = Instant::now();
    log_in(&sensor, 15);
    let took = began.elapsed();
    assert!(receiver.seen().len() < 15, "the receiver keeps up, and the test shows nothing");
    assert_eq!(sensor.wait_for(2000, 15).len(), 15, "the other output has them all");
    assert!(took < Duration::from_millis(15 * 300), "15 logins took {took:?}");
    all_there(&sensor, &receiver, 15);
}

#[test]
fn what_a_receiver_refuses_is_put_aside_listed_and_offered_again() {
    // Refuses the second login for good.
    let poison = |request: &Request| request.text().contains("user1");
    let receiver =
        Receiver::start(move |it| if poison(it) { Reply::new(400, "bad s3cret-path") } else { fine() });
    let sensor = hooked(&receiver.url("/s3cret-path"), &json!({})).start();
    log_in(&sensor, 3);
    eventually("two to be delivered and one not", || {
        let status = status(&sensor, "hook");
        (status["sent"] == 2 && status["rejected"] == 1).then_some(())
    });
    let listed = sensor.ask(&["outputs", "dead", "hook"]);
    assert!(listed.status == 0 && listed.out.contains("user1") && listed.out.contains("400"), "{listed:?}");
    assert!(!listed.out.contains("s3cret-path"), "{listed:?}");

    let config = sensor.config().display().to_string();
    let retry = |sensor: &Sensor| sensor.ask(&["outputs", "retry-dead", "hook", "--config", &config]);
    let refused = retry(&sensor);
    assert!(refused.status == 1 && refused.out.contains("0 delivered, 1 refused again"), "{refused:?}");
    receiver.answer(|_| fine());
    let taken = retry(&sensor);
    assert!(taken.status == 0 && taken.out.contains("1 delivered, 0 refused again"), "{taken:?}");
    assert_eq!(sensor.ask(&["outputs", "dead", "hook"]).out, "nothing was put aside\n");
    let of_poison: BTreeSet<_> = receiver
        .seen()
        .iter()
        .filter(|it| poison(it))
        .map(|it| it.header("idempotency-key").to_owned())
        .collect();
    assert_eq!(of_poison.len(), 1, "one identity throughout");
    let unknown = sensor.ask(&["outputs", "dead", "nobody"]);
    assert!(unknown.status == 1 && unknown.err.contains("nobody"), "{unknown:?}");
}

#[test]
fn an_event_that_is_too_large_for_its_receiver_is_found_among_others() {
    let large = |request: &Request| request.text().contains("user1");
    let receiver =
        Receiver::start(move |it| if large(it) { Reply::new(413, "too large") } else { Reply::new(204, "") });
    let loki = json!({ "type": "loki", "url": receiver.url(""), "gzip": false, "services": ["ftp"] });
    receiver.answer(|_| Reply::new(503, "later"));
    let sensor = Setup::of(&["ftp"]).output("logs", loki).start();
    // All of them are in one batch when it takes something.
    log_in(&sensor, 6);
    eventually("all to wait", || {
        let sent = receiver.seen().last()?.text();
        (0..6).all(|it| sent.contains(&format!("user{it}"))).then_some(())
    });
    receiver.answer(move |it| if large(it) { Reply::new(413, "too large") } else { Reply::new(204, "") });
    sensor.signal(Signal::SIGHUP);
    let told = eventually("five to be delivered and one not", || {
        let status = status(&sensor, "logs");
        (status["rejected"] == 1 && status["lag_events"] == 0).then_some(status)
    });
    assert!(told["last_error"].as_str().unwrap_or_default().contains("HTTP 413: too large"), "{told}");
    let alone = receiver.seen().iter().rfind(|it| large(it)).expect("a request").text();
    assert!(!alone.contains("user0") && !alone.contains("user2"), "it was refused alone: {alone}");
    let listed = sensor.ask(&["outputs", "dead", "logs"]);
    assert!(listed.out.contains("user1") && listed.out.lines().count() < 4, "{listed:?}");
}

#[test]
fn a_name_that_leads_nowhere_is_waited_for() {
    let receiver = Receiver::start(|_| fine());
    // Longer than a label may be: no server of names is asked.
    let nowhere = format!("{}.example", "x".repeat(70));
    let collector = json!({ "type": "tcp", "address": format!("{nowhere}:1514") });
    let datagrams = json!({ "type": "syslog", "address": format!("{nowhere}:514") });
    let hook = json!({ "type": "webhook", "send": "events", "url": format!("http://{nowhere}/") });
    let mut sensor = Setup::of(&["ftp"])
        .output("collector", collector)
        .output("datagrams", datagrams)
        .output("hook", hook)
        .start();
    log_in(&sensor, 3);
    assert_eq!(sensor.wait_for(2000, 3).len(), 3, "the other output has them all");
    for name in ["collector", "datagrams", "hook"] {
        let told = eventually("the output to notice", || {
            Some(status(&sensor, name)).filter(|it| it["state"] == "backing-off")
        });
        let why = told["last_error"].as_str().unwrap_or_default();
        assert!(
            why.contains("lookup") || why.contains("not known") || why.contains("resolve"),
            "{name}: {why}"
        );
        assert_eq!(told["rejected"], 0, "{told}");
    }
    sensor.set("outputs.hook.url", receiver.url("/"));
    sensor.signal(Signal::SIGHUP);
    all_there(&sensor, &receiver, 3);
}

#[test]
fn an_output_is_sent_back_and_forth_with_and_without_a_sensor() {
    let receiver = Receiver::start(|_| fine());
    let mut sensor = hooked(&receiver.url("/"), &json!({})).start();
    let config = sensor.config().display().to_string();
    let reset = |sensor: &Sensor, to: &str| {
        let done = sensor.ask(&["outputs", "reset", "hook", "--to", to, "--config", &config]);
        assert_eq!(done.status, 0, "{done:?}");
    };
    log_in(&sensor, 3);
    all_there(&sensor, &receiver, 3);
    reset(&sensor, "begin");
    eventually("each to come twice", || times(&receiver.seen()).values().all(|it| *it == 2).then_some(()));
    assert!(sensor.stop().success());
    reset(&sensor, "begin");
    sensor.start();
    eventually("each to come three times", || {
        times(&receiver.seen()).values().all(|it| *it == 3).then_some(())
    });

    receiver.answer(|_| Reply::new(500, ""));
    log_in(&sensor, 2);
    eventually("the output to back off", || {
        (status(&sensor, "hook")["state"] == "backing-off").then_some(())
    });
    reset(&sensor, "end");
    receiver.answer(|_| fine());
    let before = receiver.seen().len();
    log_in(&sensor, 1);
    eventually("the new login alone", || (receiver.seen().len() == before + 1).then_some(()));
    eventually("the output to be done", || (status(&sensor, "hook")["lag_events"] == 0).then_some(()));
    assert_eq!(receiver.seen().len(), before + 1, "what lies between is left out");
}

/// TLS before a receiver, by stunnel; killed when dropped.
pub(super) struct Front(Child);

impl Front {
    /// With CERTIFICATE.pem and CERTIFICATE.key of this folder.
    pub(super) fn start(folder: &Path, port: u16, behind: u16, certificate: &str) -> Self {
        let path = |name: &str| folder.join(name).display().to_string();
        let text = format!(
            "foreground = yes\npid =\n[front]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{behind}\n\
             cert = {}\nkey = {}\n",
            path(&format!("{certificate}.pem")),
            path(&format!("{certificate}.key"))
        );
        fs::write(folder.join("stunnel.conf"), text).expect("a file");
        let child = Command::new("stunnel4")
            .arg(folder.join("stunnel.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("stunnel4 starts; ./test tools installs it");
        eventually("stunnel4 to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self(child)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A certificate for localhost that vouches for itself, valid for so many days.
fn certify(folder: &Path, name: &str, days: &str) {
    let path = |ending: &str| folder.join(format!("{name}.{ending}")).display().to_string();
    let (key, request, certificate) = (path("key"), path("csr"), path("pem"));
    let san = "subjectAltName=DNS:localhost";
    let curve = "ec_paramgen_curve:P-256";
    let asked = [
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        curve,
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-addext",
        san,
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-keyout",
        &key,
        "-out",
        &request,
    ];
    let signed = [
        "x509",
        "-req",
        "-in",
        &request,
        "-signkey",
        &key,
        "-days",
        days,
        "-copy_extensions",
        "copy",
        "-out",
        &certificate,
    ];
    for arguments in [asked.as_slice(), &signed] {
        let outcome = client("openssl", arguments);
        assert_eq!(outcome.status, 0, "{outcome:?}");
    }
}

#[test]
fn a_certificate_that_is_swapped_or_expired_holds_everything() {
    let receiver = Receiver::start(|_| fine());
    let port = free_port();
    let folder = tempfile::Builder::new().prefix("serin-front-").tempdir().expect("a folder");
    let folder = folder.path();
    certify(folder, "ours", "2");
    certify(folder, "strangers", "2");
    certify(folder, "expired", "-1");
    let front = Front::start(folder, port, receiver.port(), "ours");
    // Whoever runs it trusts two of them, one of which is too old by now.
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("a certificate");
    let ca = folder.join("trusted.pem");
    fs::write(&ca, format!("{}{}", read("ours.pem"), read("expired.pem"))).expect("a file");
    let url = format!("https://localhost:{port}/");
    let sensor = hooked(&url, &json!({ "verify": ca.display().to_string() })).start();
    log_in(&sensor, 1);
    all_there(&sensor, &receiver, 1);
    drop(front);
    for wrong in ["strangers", "expired"] {
        let _front = Front::start(folder, port, receiver.port(), wrong);
        log_in(&sensor, 1);
        sensor.signal(Signal::SIGHUP);
        let said = eventually("the output to hold", || {
            let status = status(&sensor, "hook");
            (status["state"] == "hold").then(|| status["last_error"].as_str().unwrap_or_default().to_owned())
        });
        assert!(said.contains("certificate"), "{said}");
    }
    assert_eq!(receiver.seen().len(), 1, "nothing was told to a stranger");
    let _front = Front::start(folder, port, receiver.port(), "ours");
    sensor.signal(Signal::SIGHUP);
    let times = all_there(&sensor, &receiver, 3);
    assert!(times.values().all(|it| *it == 1), "{times:?}");
}
