//! Conversations over real loopback sockets, with dialogues that misbehave on purpose.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream as Client};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use serin_event::{Event, Record, Tainted, kinds};
use serin_services::Service;
use serin_services::dialogue::{Action, Actions, Broken, Closed, Dialogue, Opener, Opening};
use serin_services::probe::{Probe, Script};
use tokio::net::TcpListener;

use super::connection::UNCOUNTED;
use super::floods::Floods;
use super::journal::Journal;
use super::listener::{bind, serve};
use super::metrics::Metrics;
use super::port::{Limits, Port, TlsMode};
use super::recorder::{Recorder, Rules};
use super::seats::{HELD_MAX, Seats};
use crate::ignore::Counters;

static SERVICE: Service = Service {
    name: "template",
    about: "For tests",
    opencanary: None,
    port: 1,
    opencanary_port: 1,
    keys: &[],
    events: &[&kinds::EXAMPLE],
    backlog: 8192,
    idle: Duration::from_millis(400),
    probe: Probe { tls: false, client: |_| Script::boxed(&[]), proof: &[] },
    build: |_| Ok(Vec::new()),
};

/// Does what the peer's letters say.
struct Obedient {
    closed: Option<Closed>,
}

impl Dialogue for Obedient {
    fn open(&mut self, _: &Opening, out: &mut Actions) {
        out.text("hello\n");
    }

    fn input<'b>(&mut self, bytes: &'b [u8], out: &mut Actions) -> Result<&'b [u8], Broken> {
        let Some(letter) = bytes.first() else { return Ok(bytes) };
        match letter {
            b'r' => out.report(Event::new(&kinds::EXAMPLE).with("PASSWORD", Tainted::new(bytes, 64))),
            b'w' => {
                out.text("ok\n");
                out.wait(Duration::from_secs(20));
                out.report(Event::new(&kinds::EXAMPLE).with("PASSWORD", Tainted::new(b"late", 64)));
            }
            b'b' => return Err(Broken("a rule of the house")),
            b'h' => return Ok(bytes),
            b'p' => panic!("as asked"),
            b'c' => out.close(),
            b'l' => out.send(vec![b'.'; 8_000_000]),
            b'q' => {
                out.report(Event::new(&kinds::EXAMPLE).with("PASSWORD", Tainted::new(b"before", 64)));
                panic!("as asked, after a report");
            }
            // A piece at a time.
            b's' => {
                out.text("s");
                return Ok(bytes.get(1..).unwrap_or_default());
            }
            b'e' => {
                out.text("bye\n");
                out.push(Action::Reset);
            }
            _ => out.text("what?\n"),
        }
        Ok(&[])
    }

    fn closed(&mut self, why: Closed, _: &mut Actions) {
        self.closed = Some(why);
    }
}

struct House {
    journal: Journal,
    address: std::net::SocketAddr,
    seats: Arc<Seats>,
    folder: tempfile::TempDir,
}

impl House {
    /// A port of the obedient service, with `session_bytes` and `per_source` as its limits.
    fn open(session_bytes: u64, per_source: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = serin_store::Options::new(folder.path().join("serin.db"));
        let (journal, _) = Journal::start(options, "n".into()).unwrap();
        let metrics = Arc::new(Metrics::new());
        let recorder = Recorder::new(
            Rules::default(),
            journal.clone(),
            metrics.clone(),
            Floods::new(0),
            Counters::open(folder.path().join("ignore.json")),
            folder.path().to_owned(),
        );
        let seats = Seats::new(0, per_source);
        let open: Opener = Box::new(|| Box::new(Obedient { closed: None }));
        let port = Port {
            id: 1,
            service: &SERVICE,
            open,
            tls: TlsMode::Never,
            keep_alive: None,
            limits: Limits {
                session_bytes,
                session_time: Duration::from_secs(30),
                first_byte: Duration::from_millis(300),
            },
            recorder: Arc::new(recorder),
            seats: seats.clone(),
            connections: metrics.connections("template"),
        };
        let listener = TcpListener::from_std(bind([127, 0, 0, 1].into(), 0, false).unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Arc::new(RwLock::new(Arc::new(port)))));
        Self { journal, address, seats, folder }
    }

    /// Says `words`, reads until the end, and returns what came and the first `count` records.
    async fn visit(&self, words: &'static [u8], count: u64) -> (String, Vec<Arc<Record>>) {
        let address = self.address;
        let talk = tokio::task::spawn_blocking(move || {
            let mut client = Client::connect(address).unwrap();
            client.write_all(words).unwrap();
            let mut answer = Vec::new();
            // A peer that is hung up on may see a reset instead of an end.
            let _ = client.read_to_end(&mut answer);
            String::from_utf8(answer).unwrap()
        });
        let answer = talk.await.unwrap();
        (answer, self.records(count).await)
    }

    async fn records(&self, count: u64) -> Vec<Arc<Record>> {
        let stored = self.journal.stored();
        let patience = Duration::from_secs(10);
        tokio::time::timeout(patience, stored.clone().wait_for(|it| *it >= count)).await.unwrap().unwrap();
        self.journal.after(0, 100).await
    }
}

fn told(record: &Record) -> String {
    format!("{} {}", record.kind.name, record.logdata)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_peer_is_an_event_that_names_the_limit() {
    let house = House::open(1000, 0);
    let (answer, records) = house.visit(b"", 1).await;
    assert_eq!(answer, "hello\n");
    assert!(told(&records[0]).starts_with("connection.broken "), "{}", told(&records[0]));
    assert!(records[0].logdata.contains("no first byte in time"), "{}", records[0].logdata);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_leaves_is_a_touch_with_its_first_bytes() {
    let house = House::open(1000, 0);
    let mut client = Client::connect(house.address).unwrap();
    client.write_all(b"x\xff\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let records = house.records(1).await;
    assert!(told(&records[0]).starts_with("connection.touched "), "{}", told(&records[0]));
    assert!(records[0].logdata.contains(r#""DATA": "x\\xff\n""#), "{}", records[0].logdata);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_rules_are_events_that_name_them() {
    let house = House::open(10_000, 0);
    let (_, records) = house.visit(b"b", 1).await;
    assert!(records[0].logdata.contains("a rule of the house"), "{}", records[0].logdata);
    let (_, records) = house.visit(&[b'h'; 9000], 2).await;
    assert!(records[1].logdata.contains("more bytes of one message than are held"), "{}", records[1].logdata);
    let (_, records) = house.visit(&[b'x'; 10_001], 3).await;
    assert!(records[2].logdata.contains("more bytes than one session may send"), "{}", records[2].logdata);
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_messages_are_bounded_over_all_peers() {
    let house = House::open(10_000, 0);
    let other = house.seats.take([192, 0, 2, 1].into(), 0).unwrap_or_else(|_| panic!("no seat"));
    let _most = other.hold(HELD_MAX - UNCOUNTED);
    let (_, records) = house.visit(&[b'h'; UNCOUNTED + 1], 1).await;
    let wanted = "more unfinished messages than are held for all peers";
    assert!(records[0].logdata.contains(wanted), "{}", records[0].logdata);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_comes_after_what_was_said_and_without_a_farewell() {
    let house = House::open(1000, 0);
    let address = house.address;
    let talk = tokio::task::spawn_blocking(move || {
        let mut client = Client::connect(address).unwrap();
        client.write_all(b"e").unwrap();
        let mut answer = Vec::new();
        let end = client.read_to_end(&mut answer).map_err(|it| it.kind());
        (String::from_utf8(answer).unwrap(), end)
    });
    let wanted = ("hello\nbye\n".to_owned(), Err(std::io::ErrorKind::ConnectionReset));
    assert_eq!(talk.await.unwrap(), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_one_conversation_and_is_told() {
    let house = House::open(1000, 0);
    let (_, records) = house.visit(b"p", 2).await;
    let lines: Vec<String> = records.iter().map(|it| told(it)).collect();
    assert!(lines.iter().any(|it| it.starts_with("sensor.error ")), "{lines:?}");
    assert!(lines.iter().any(|it| it.contains("our mistake")), "{lines:?}");
    let kept = std::fs::read_dir(house.folder.path())
        .unwrap()
        .filter(|it| it.as_ref().unwrap().file_name().to_string_lossy().starts_with("template-"))
        .count();
    assert_eq!(kept, 1, "the first bytes are kept");
    let (answer, _) = house.visit(b"c", 3).await;
    assert_eq!(answer, "hello\n", "others are served as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_recorded_though_the_service_stops_during_the_wait_before_it() {
    let house = House::open(1000, 0);
    let mut client = Client::connect(house.address).unwrap();
    client.write_all(b"w").unwrap();
    // Once this has come, the conversation is waiting.
    let mut heard = [0; "hello\nok\n".len()];
    client.read_exact(&mut heard).unwrap();
    house.seats.clear(None, super::connection::STOPPING);
    let records = house.records(1).await;
    assert!(told(&records[0]).contains("late"), "{}", told(&records[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_is_asked_for_again_without_new_bytes() {
    let house = House::open(1000, 0);
    let (answer, _) = house.visit(b"ssssc", 1).await;
    assert_eq!(answer, "hello\nssss");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_before_a_panic_is_recorded() {
    let house = House::open(1000, 0);
    let (_, records) = house.visit(b"q", 3).await;
    assert!(records.iter().any(|it| it.logdata.contains("before")), "{records:?}");
}

/// A peer that reads nothing can be told to leave, and its place is free at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_reads_nothing_can_be_told_to_leave() {
    let house = House::open(1000, 0);
    let mut client = Client::connect(house.address).unwrap();
    client.write_all(b"l").unwrap();
    // The first of the answer has come: the rest waits for us.
    let mut heard = [0; 1000];
    client.read_exact(&mut heard).unwrap();
    house.seats.clear(None, "no room");
    let records = house.records(1).await;
    assert!(records[0].logdata.contains("no room"), "{}", records[0].logdata);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_source_has_so_many_connections_and_no_more() {
    let house = House::open(1000, 2);
    let mut clients: Vec<Client> = (0..2).map(|_| Client::connect(house.address).unwrap()).collect();
    let mut hello = [0; 6];
    for client in &mut clients {
        client.read_exact(&mut hello).unwrap();
    }
    let mut third = Client::connect(house.address).unwrap();
    let mut answer = Vec::new();
    let _ = third.read_to_end(&mut answer);
    assert!(answer.is_empty(), "a third connection was served");
}

/// What a connection keeps while nothing happens; it grows unseen when a rare path is not boxed.
#[test]
fn an_idle_conversation_is_small() {
    fn size<A, B, C, D, F: Future>(_: fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }
    let bytes = size(super::connection::converse);
    assert!(bytes <= 1450, "{bytes} bytes");
}
