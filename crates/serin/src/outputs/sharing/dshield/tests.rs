//! What is told and what never; posts without an answer; restarts. Time is the tests' own.

use std::cell::Cell;
use std::sync::Arc;

use serde_json::json;
use serin_event::{Endpoint, Event, SELFTEST, kinds};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(1_795_296_991_000_000) };
}

fn test_clock() -> Timestamp {
    Timestamp(NOW.get())
}

fn pass(seconds: i64) {
    NOW.set(NOW.get() + seconds * 1_000_000);
}

fn output(port: u16, more: &[(&str, Value)]) -> DShield {
    let mut conf = Conf::new();
    conf.set("dshield.userid", 12345);
    conf.set("dshield.apikey", "secretkey");
    conf.set("dshield.url", format!("http://127.0.0.1:{port}/submitapi/"));
    for (key, value) in more {
        conf.set(format!("dshield.{key}"), value.clone());
    }
    let policy = AddressPolicy::for_documentation(&["203.0.113.200/32"], &["198.51.100.9"]);
    DShield { clock: test_clock, ..DShield::new(&conf, policy).unwrap() }
}

fn event(kind: &'static serin_event::Kind) -> Event {
    if kind.declares("USERNAME") {
        Event::new(kind).with("USERNAME", "root").with("PASSWORD", "123456")
    } else {
        Event::new(kind)
    }
}

fn record(seq: u64, kind: &'static serin_event::Kind, source: &str, target: &str) -> Record {
    Record {
        seq,
        session: 7,
        source: Endpoint { host: source.parse().ok(), port: Some(42350) },
        target: Endpoint { host: target.parse().ok(), port: Some(22) },
        ..Record::of(&event(kind), test_clock(), 0, "node")
    }
}

/// At a private address: it has no row that names the destination.
fn login(seq: u64) -> Record {
    record(seq, &kinds::SSH_LOGIN, "203.0.113.7", "10.0.0.1")
}

fn visit(seq: u64) -> Record {
    record(seq, &kinds::HTTP_GET, "203.0.113.7", "198.51.100.9")
}

fn item(output: &DShield, record: Record) -> Item {
    let body = output.encode(&record).expect("a row");
    Item { record: Arc::new(record), body }
}

/// Answers each request with the next text; nothing: closes after reading.
async fn isc(answers: &[Option<&str>]) -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers: Vec<_> = answers.iter().map(|it| it.map(str::to_owned)).collect();
    let (said, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            let whole = |bytes: &[u8]| {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let (front, body) = text.split_once("\r\n\r\n")?;
                let length = front
                    .to_lowercase()
                    .split_once("content-length: ")?
                    .1
                    .lines()
                    .next()?
                    .parse::<usize>()
                    .ok()?;
                (body.len() == length).then(|| body.to_owned())
            };
            while whole(&bytes).is_none() {
                assert!(socket.read_buf(&mut bytes).await.unwrap() > 0);
            }
            said.send(whole(&bytes).unwrap()).unwrap();
            if let Some(answer) = answer {
                let length = answer.len();
                let text = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}"
                );
                socket.write_all(text.as_bytes()).await.unwrap();
            }
        }
    });
    (port, heard)
}

/// One delivery, with the wait for the note of its post.
async fn deliver(output: &mut DShield, items: &[Item]) -> Vec<Outcome> {
    let Delivery::Each(outcomes) = output.deliver(items).await else { panic!("whole") };
    if outcomes.iter().all(|it| *it == Outcome::Wait(NOTED)) {
        pass(2);
        let Delivery::Each(outcomes) = output.deliver(items).await else { panic!("whole") };
        return outcomes;
    }
    outcomes
}

#[tokio::test]
async fn a_post_without_an_answer_is_repeated_three_times_also_across_restarts() {
    let (port, mut heard) = isc(&[None, None, None, None, Some("OK")]).await;
    let mut output = output(port, &[("interval", json!(60))]);
    let items = [item(&output, login(5))];
    pass(70);
    for post in 1..=4 {
        let outcomes = deliver(&mut output, &items).await;
        assert!(matches!(&outcomes[..], [Outcome::Retry { .. }]), "{post}: {outcomes:?}");
        assert!(heard.recv().await.unwrap().contains("\"authheader\""));
        if post == 4 {
            break;
        }
        // At once: nothing is posted before the minute is over.
        let [Outcome::Wait(time)] = deliver(&mut output, &items).await[..] else { panic!("posted") };
        assert!(time > Duration::from_secs(55), "{time:?}");
        pass(70);
        let memory = output.memory().unwrap();
        output = self::output(port, &[("interval", json!(60))]);
        output.recall(Some(&memory));
    }
    pass(70);
    let outcomes = deliver(&mut output, &items).await;
    let [Outcome::Reject(why)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(why, "posted 4 times without an answer; not posted again");
    assert!(heard.try_recv().is_err(), "five posts");
}

#[tokio::test]
async fn a_refused_connection_is_no_post() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut output = output(port, &[("interval", json!(60))]);
    let items = [item(&output, login(5))];
    for _ in 0..6 {
        pass(70);
        let outcomes = deliver(&mut output, &items).await;
        assert!(matches!(&outcomes[..], [Outcome::Retry { .. }]), "{outcomes:?}");
        assert!(output.memory.lock().unanswered.is_empty());
    }
}

#[tokio::test]
async fn what_isc_confirms_is_told_and_what_it_refuses_is_held() {
    let (port, mut heard) = isc(&[Some("OK 300 Bytes received"), Some("ERROR: no secretkey")]).await;
    let mut output = output(port, &[("interval", json!(60)), ("granularity", json!("session"))]);
    let items = [item(&output, login(1)), item(&output, login(2))];
    pass(70);
    assert_eq!(deliver(&mut output, &items).await, [Outcome::Delivered, Outcome::Delivered]);
    let body: Value = serde_json::from_str(&heard.recv().await.unwrap()).unwrap();
    assert_eq!(body["logs"].as_array().unwrap().len(), 1, "one row of a session");
    let told = output.receipt().unwrap();
    assert!(told.starts_with("ISC confirmed 1 rows (1 cowrie), the last at 2026-"), "{told}");
    assert!(told.contains(": OK 300 Bytes received; withheld: 1 private destination"), "{told}");
    pass(70);
    let outcomes = deliver(&mut output, &items).await;
    assert_eq!(outcomes, vec![Outcome::Hold("ISC says: ERROR: no …".to_owned()); 2]);
    assert!(output.memory.lock().unanswered.is_empty());
}

#[tokio::test]
async fn a_stop_posts_what_waits_unless_the_last_post_was_just_now() {
    let (port, _heard) = isc(&[Some("OK"), Some("OK")]).await;
    let mut output = output(port, &[]);
    let items = [item(&output, login(1))];
    let [Outcome::Wait(time)] = deliver(&mut output, &items).await[..] else { panic!("posted") };
    assert!(time > Duration::from_mins(13), "{time:?}");
    output.hurry();
    assert_eq!(deliver(&mut output, &items).await, [Outcome::Delivered]);
    let items = [item(&output, login(2))];
    assert_eq!(deliver(&mut output, &items).await, [Outcome::Wait(schedule::FLOOR)]);
}

#[tokio::test]
async fn rows_that_grew_old_are_not_posted() {
    let mut output = output(1, &[]);
    let items = [item(&output, login(1))];
    pass(86_401);
    let outcomes = deliver(&mut output, &items).await;
    assert!(
        matches!(&outcomes[..], [Outcome::Reject(why)] if why.starts_with("older than 24 h")),
        "{outcomes:?}"
    );
}

#[test]
fn what_must_not_be_told_is_counted_by_reason() {
    let output = output(1, &[("allowed_ports", json!([22]))]);
    let own = "198.51.100.9";
    let mut selftest = login(1);
    selftest.add_detail(SELFTEST, json!(1));
    let mut elsewhere = login(2);
    elsewhere.target.port = Some(2222);
    let mut old = login(3);
    old.time = Timestamp(old.time.0 - 86_401_000_000);
    for withheld in [
        record(4, &kinds::SSH_LOGIN, "10.0.0.1", own),
        record(5, &kinds::SSH_LOGIN, "203.0.113.200", own),
        record(6, &kinds::SSH_LOGIN, own, own),
        record(7, &kinds::HTTP_GET, "203.0.113.7", "10.0.0.1"),
        Record { honeycred: Some(true), ..login(8) },
        selftest,
        elsewhere,
        old,
    ] {
        assert_eq!(output.encode(&withheld), None, "{withheld:?}");
    }
    // Neither wanted nor worth a word.
    assert_eq!(output.encode(&record(9, &kinds::PING, "203.0.113.7", own)), None);
    let withheld = output.memory.lock().withheld.clone();
    let reasons: Vec<_> = withheld.iter().map(|(why, count)| (why.as_str(), *count)).collect();
    assert_eq!(
        reasons,
        [
            ("bait credentials", 1),
            ("in admin_nets", 1),
            ("older than 24 h", 1),
            ("own address", 1),
            ("own self-test", 1),
            ("port not in allowed_ports", 1),
            // A web request, and the connection that it came with.
            ("private destination without replace_honeypot_ip", 2),
            ("private or special address", 1),
        ]
    );
    assert!(output.warning().unwrap().contains("2 rows were withheld"));
    // A login names no destination.
    assert!(output.encode(&record(10, &kinds::SSH_LOGIN, "203.0.113.7", "10.0.0.1")).is_some());
}

#[test]
fn of_many_connections_the_first_of_a_minute_is_a_row() {
    let output = output(1, &[]);
    let seq = Cell::new(0);
    let taken = |kind, source: &str| {
        seq.set(seq.get() + 1);
        output.encode(&record(seq.get(), kind, source, "198.51.100.9")).is_some()
    };
    let scanned = || taken(&kinds::PORTSCAN_NMAP_FIN, "203.0.113.7");
    let taken = |source: &str| taken(&kinds::FTP_LOGIN, source);
    assert_eq!([taken("203.0.113.7"), taken("203.0.113.7"), taken("203.0.113.8")], [true, false, true]);
    assert_eq!([scanned(), scanned()], [true, true], "a packet is a row");
    pass(60);
    assert!(taken("203.0.113.7"));
}

#[test]
fn a_clock_that_is_set_back_stops_nothing_for_longer_than_a_minute() {
    let mut output = output(1, &[]);
    output.memory.lock().posted = Some(NOW.get() + 3_600_000_000);
    let waiting = vec![Waiting { kind: Kind::Cowrie, time: test_clock() }; 100];
    assert_eq!(output.plan(&waiting, test_clock()), Plan::Wait(schedule::FLOOR));
    pass(60);
    assert_eq!(output.plan(&waiting, test_clock()), Plan::Wait(NOTED));
    pass(2);
    assert_eq!(output.plan(&waiting, test_clock()), Plan::Post(Kind::Cowrie));
}

/// The rows of a post: type, and how many.
async fn posted(heard: &mut mpsc::UnboundedReceiver<String>) -> (String, Vec<Value>) {
    let body: Value = serde_json::from_str(&heard.recv().await.unwrap()).unwrap();
    (body["type"].as_str().unwrap().to_owned(), body["logs"].as_array().unwrap().clone())
}

fn restarted(output: &DShield, port: u16) -> DShield {
    let memory = output.memory().unwrap();
    let mut output = self::output(port, &[("interval", json!(60))]);
    output.recall(Some(&memory));
    output
}

#[tokio::test]
async fn a_web_request_and_its_connection_are_posted_once_each_also_across_restarts() {
    let (port, mut heard) = isc(&[Some("OK"), Some("OK"), Some("OK")]).await;
    let mut output = output(port, &[("interval", json!(60))]);
    let (first, alike) = (visit(5), visit(6));
    let items = [item(&output, first.clone()), item(&output, alike.clone())];
    pass(70);
    // The second one came with the same connection, as far as ISC is concerned.
    let outcomes = deliver(&mut output, &items).await;
    assert_eq!(outcomes, [Outcome::Wait(schedule::FLOOR), Outcome::Delivered]);
    let (kind, rows) = posted(&mut heard).await;
    assert_eq!((kind.as_str(), rows.len()), ("webhoneypot", 2));
    assert_eq!(output.memory.lock().partly.get(&5), Some(&Kind::Webhoneypot));

    let mut output = restarted(&output, port);
    let items = [item(&output, first.clone())];
    let [Outcome::Wait(time)] = deliver(&mut output, &items).await[..] else { panic!("posted") };
    assert!(time > Duration::from_secs(55), "{time:?}");
    pass(70);
    assert_eq!(deliver(&mut output, &items).await, [Outcome::Delivered]);
    let (kind, rows) = posted(&mut heard).await;
    assert_eq!((kind.as_str(), rows.len(), &rows[0]["sport"]), ("firewall", 1, &json!("42350")));
    assert!(output.memory.lock().partly.is_empty());

    // What comes after a restart, still of that minute, has no connection of its own to tell of.
    let mut output = restarted(&output, port);
    let late = Record { seq: 7, ..first };
    let items = [item(&output, late)];
    pass(70);
    assert_eq!(deliver(&mut output, &items).await, [Outcome::Delivered]);
    assert_eq!(posted(&mut heard).await.0, "webhoneypot");
    let mut memory = output.memory.lock();
    assert_eq!(memory.confirmed.values().sum::<u64>(), 4);
    assert!(memory.unanswered.is_empty() && memory.partly.is_empty());
    assert_eq!(memory.connections.len(), 1);
    first::forget(&mut memory.connections, test_clock(), test_clock());
    assert_eq!(memory.connections.len(), 1, "kept for a while");
}

#[tokio::test]
async fn a_row_without_an_answer_keeps_no_other_from_its_post() {
    let (port, mut heard) = isc(&[None, None, None, None, Some("OK")]).await;
    let mut output = output(port, &[("interval", json!(60))]);
    let items = [item(&output, visit(5))];
    for post in 1..=4 {
        pass(70);
        let outcomes = deliver(&mut output, &items).await;
        assert!(matches!(&outcomes[..], [Outcome::Retry { .. }]), "{post}: {outcomes:?}");
        assert_eq!(posted(&mut heard).await.0, "webhoneypot");
    }
    pass(70);
    assert_eq!(deliver(&mut output, &items).await, [Outcome::Delivered]);
    assert_eq!(posted(&mut heard).await.0, "firewall");
    let withheld: Vec<_> = output.memory.lock().withheld.clone().into_iter().collect();
    assert_eq!(withheld, [("posted 4 times without an answer; not posted again".to_owned(), 1)]);
}

fn command(
    seq: u64,
    kind: &'static serin_event::Kind,
    name: &'static str,
    text: impl Into<serin_event::Value>,
) -> Record {
    let event = Event::new(kind).with(name, text);
    let event = if kind.declares("REQUEST") { event.with("REQUEST", "exec") } else { event };
    let Record { logdata, .. } = Record::of(&event, Timestamp(0), 0, "");
    Record { kind, logdata, ..record(seq, &kinds::HTTP_GET, "203.0.113.7", "198.51.100.9") }
}

#[tokio::test]
async fn the_last_command_of_a_session_stands_in_the_row_of_its_last_login() {
    let (port, mut heard) = isc(&[Some("OK")]).await;
    let mut output = output(port, &[("interval", json!(60)), ("own_names", json!(["corp.example"]))]);
    let logins = [login(1), login(2)];
    let items = logins.clone().map(|it| item(&output, it));
    let told = [
        command(3, &kinds::SSH_REQUEST, "COMMAND", "id"),
        command(4, &kinds::SSH_REQUEST, "COMMAND", "wget 10.0.0.5/x 198.51.100.9 192.0.2.4 www.corp.example"),
    ];
    for command in &told {
        output.encode(command);
    }
    let memory = output.memory().unwrap();
    output.recall(Some(&memory));
    let items = items.map(|it| item(&output, Record::clone(&it.record)));
    // What a rule suppresses or comes from elsewhere is no command to tell of.
    let bait = Record { honeycred: Some(true), ..command(5, &kinds::SSH_REQUEST, "COMMAND", "secret") };
    let elsewhere = Record { session: 8, ..command(6, &kinds::SSH_REQUEST, "COMMAND", "other") };
    for command in [bait, elsewhere] {
        output.encode(&command);
    }
    pass(70);
    let outcomes = deliver(&mut output, &items).await;
    assert_eq!(outcomes, [Outcome::Delivered, Outcome::Delivered]);
    let (kind, rows) = posted(&mut heard).await;
    let told: Vec<_> = rows.iter().map(|it| it["lastcommand"].as_str().unwrap()).collect();
    assert_eq!((kind.as_str(), told), ("cowrie", vec!["", "wget …/x … 192.0.2.4 www.…"]));
    assert_eq!(output.memory.lock().commands, commands::Commands::default());
    item(&output, login(7));
    output.encode(&command(8, &kinds::SSH_INPUT, "DATA", "ä".repeat(2000)));
    let memory = output.memory.lock();
    assert!(memory.commands.after(7).unwrap().len() < 1040, "cut");
}
