//! The engine against outputs that follow a script, and real files against the engine.

mod engine;
mod faults;
mod files;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serin_event::{Endpoint, Event, Kind, Record, Tainted, Timestamp, kinds};
use serin_services::conf::{Complaint, Conf};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::delivery::Policy;
use super::engine::{Orders, Task};
use super::feed::Feed;
use super::status::OutputStatus;
use super::{Batch, Carries, Delivery, Item, Later, Outcome, Output, OutputConf, OutputType, Passwords};

/// A journal in memory.
#[derive(Clone)]
struct Memory(Arc<Shared>);

struct Shared {
    records: Mutex<Vec<Arc<Record>>>,
    stored: watch::Sender<u64>,
    cursors: Mutex<BTreeMap<String, (u64, String)>>,
    dead: Mutex<Vec<(String, u64, String)>>,
    saves: AtomicU64,
    /// Up to where the cursor is on the disk for certain.
    durable: AtomicU64,
    began: Mutex<u64>,
    /// Whether nobody can be told where it stands.
    unreadable: AtomicBool,
    forgotten: Mutex<Vec<String>>,
}

impl Memory {
    fn new() -> Self {
        Self(Arc::new(Shared {
            records: Mutex::default(),
            stored: watch::Sender::new(0),
            cursors: Mutex::default(),
            dead: Mutex::default(),
            saves: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            began: Mutex::new(0),
            unreadable: AtomicBool::new(false),
            forgotten: Mutex::default(),
        }))
    }

    /// With a cursor at the beginning for the output of this name.
    fn read_by(name: &str) -> Self {
        let memory = Self::new();
        memory.save(name, 0, String::new());
        memory
    }

    /// Stores so many more events.
    fn store(&self, count: u64) {
        let last = *self.0.stored.borrow();
        for seq in last + 1..=last + count {
            self.store_record(record(seq, &kinds::FTP_LOGIN));
        }
    }

    fn store_record(&self, record: Record) {
        let seq = record.seq;
        self.0.records.lock().push(Arc::new(record));
        self.0.stored.send_replace(seq);
    }

    /// What retention does.
    fn forget_up_to(&self, seq: u64) {
        self.0.records.lock().retain(|it| it.seq > seq);
    }

    fn cursor(&self, name: &str) -> u64 {
        self.cursor_if_any(name).unwrap()
    }

    fn cursor_if_any(&self, name: &str) -> Option<u64> {
        self.0.cursors.lock().get(name).map(|it| it.0)
    }

    fn dead(&self) -> Vec<(String, u64, String)> {
        self.0.dead.lock().clone()
    }

    fn records(&self) -> Vec<Arc<Record>> {
        self.0.records.lock().clone()
    }
}

impl Feed for Memory {
    fn after(&self, seq: u64, most: usize) -> Later<'_, Vec<Arc<Record>>> {
        let records: Vec<_> =
            self.0.records.lock().iter().filter(|it| it.seq > seq).take(most).cloned().collect();
        Box::pin(std::future::ready(records))
    }

    fn stored(&self) -> watch::Receiver<u64> {
        self.0.stored.subscribe()
    }

    fn began(&self) -> Option<u64> {
        Some(*self.0.began.lock())
    }

    fn saved(&self, reader: &str) -> Result<Option<u64>, String> {
        if self.0.unreadable.load(Ordering::Relaxed) {
            return Err("on purpose".to_owned());
        }
        Ok(self.0.cursors.lock().get(reader).map(|it| it.0))
    }

    fn status(&self, reader: &str) -> Result<Option<String>, String> {
        Ok(self.0.cursors.lock().get(reader).map(|it| it.1.clone()))
    }

    fn save(&self, reader: &str, seq: u64, status: String) {
        self.0.saves.fetch_add(1, Ordering::Relaxed);
        self.0.cursors.lock().insert(reader.to_owned(), (seq, status));
    }

    fn folder(&self) -> PathBuf {
        PathBuf::from("/nowhere")
    }

    fn flush(&self) -> Later<'_, ()> {
        let cursor = self.0.cursors.lock().values().map(|it| it.0).min().unwrap_or(0);
        self.0.durable.store(cursor, Ordering::Relaxed);
        Box::pin(std::future::ready(()))
    }

    fn forget(&self, reader: &str) {
        self.0.forgotten.lock().push(reader.to_owned());
    }

    fn key(&self) -> Vec<u8> {
        b"key".to_vec()
    }

    fn dead<'a>(&'a self, reader: &'a str, record: &'a Record, reason: &'a str) -> Later<'a, ()> {
        self.0.dead.lock().push((reader.to_owned(), record.seq, reason.to_owned()));
        Box::pin(std::future::ready(()))
    }
}

fn record(seq: u64, kind: &'static Kind) -> Record {
    let event = if kind.fields.contains(&"USERNAME") {
        Event::new(kind).with("USERNAME", Tainted::new(format!("user{seq}").as_bytes(), 64))
    } else {
        Event::new(kind)
    };
    let time = Timestamp(1_795_296_991_000_000 + i64::try_from(seq).unwrap());
    Record {
        seq,
        source: Endpoint { host: "192.0.2.7".parse().ok(), port: Some(42350) },
        target: Endpoint { host: "192.0.2.1".parse().ok(), port: Some(21) },
        ..Record::of(&event, time, 0, "opencanary-1")
    }
}

/// What a scripted receiver does with one batch.
enum Reply {
    Say(Delivery),
    /// Never answers.
    Hang,
    Panic,
}

fn all(outcome: Outcome) -> Reply {
    Reply::Say(Delivery::Whole(outcome))
}

type Behaviour = Box<dyn FnMut(&[u64]) -> Reply + Send>;

/// What a scripted receiver saw: when, and which events.
type Seen = Arc<Mutex<Vec<(Instant, Vec<u64>)>>>;

type Script = (Arc<Mutex<Behaviour>>, Seen);

/// Scripts by number, so that an output that is built anew after a panic finds its own.
static SCRIPTS: Mutex<BTreeMap<u64, Script>> = Mutex::new(BTreeMap::new());
static NEXT_SCRIPT: AtomicU64 = AtomicU64::new(1);

struct Scripted {
    unsaved_max: usize,
    behaviour: Arc<Mutex<Behaviour>>,
    seen: Seen,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl Output for Scripted {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        match record.kind.name {
            "ntp.monlist" => None,
            "tftp.request" => panic!("on purpose"),
            _ => Some(record.seq.to_string().into_bytes()),
        }
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        let numbers: Vec<u64> =
            batch.iter().map(|it| std::str::from_utf8(&it.body).unwrap().parse().unwrap()).collect();
        self.seen.lock().push((Instant::now(), numbers.clone()));
        let reply = (self.behaviour.lock())(&numbers);
        Box::pin(async move {
            match reply {
                Reply::Say(delivery) => delivery,
                Reply::Hang => std::future::pending().await,
                Reply::Panic => panic!("on purpose"),
            }
        })
    }

    fn unsaved_max(&self) -> usize {
        self.unsaved_max
    }

    fn confirms(&self) -> &'static str {
        "scripted"
    }
}

#[allow(clippy::unnecessary_wraps, reason = "every output's build has this shape")]
fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let number = conf.get("scripted.number").unwrap().as_u64().unwrap();
    let unsaved = conf.get("scripted.unsaved").and_then(serde_json::Value::as_u64);
    let unsaved_max = unsaved.map_or(usize::MAX, |it| usize::try_from(it).unwrap());
    let (behaviour, seen) = SCRIPTS.lock()[&number].clone();
    Ok(Box::new(Scripted { unsaved_max, behaviour, seen }))
}

static SCRIPTED: OutputType = OutputType {
    name: "scripted",
    about: "For tests",
    keys: &[],
    carries: Carries::Events,
    passwords: Passwords::Keep,
    batch: Batch { events: 1000, bytes: 1_000_000, linger: Duration::ZERO },
    build,
};

static ALERTING: OutputType = OutputType { name: "scripted", carries: Carries::Incidents, ..copy(&SCRIPTED) };
static FIVE: OutputType =
    OutputType { batch: Batch { events: 5, bytes: 1_000_000, linger: Duration::ZERO }, ..copy(&SCRIPTED) };
static LINGERING: OutputType = OutputType {
    batch: Batch { events: 5, bytes: 1_000_000, linger: Duration::from_secs(10) },
    ..copy(&SCRIPTED)
};

const fn copy(it: &OutputType) -> OutputType {
    OutputType {
        name: it.name,
        about: it.about,
        keys: it.keys,
        carries: it.carries,
        passwords: it.passwords,
        batch: it.batch,
        build: it.build,
    }
}

/// One engine task under test.
struct Bench {
    memory: Memory,
    conf: OutputConf,
    seen: Seen,
    status: Arc<RwLock<OutputStatus>>,
    orders: watch::Sender<Orders>,
    task: JoinHandle<()>,
}

fn conf(
    output: &'static OutputType,
    behaviour: impl FnMut(&[u64]) -> Reply + Send + 'static,
) -> (OutputConf, Seen) {
    let number = NEXT_SCRIPT.fetch_add(1, Ordering::Relaxed);
    let seen = Seen::default();
    let behaviour: Behaviour = Box::new(behaviour);
    SCRIPTS.lock().insert(number, (Arc::new(Mutex::new(behaviour)), seen.clone()));
    let mut conf = Conf::new();
    conf.set("scripted.number", number);
    (OutputConf { name: "it".to_owned(), output, conf }, seen)
}

impl Bench {
    fn start(
        memory: &Memory,
        output: &'static OutputType,
        behaviour: impl FnMut(&[u64]) -> Reply + Send + 'static,
    ) -> Self {
        let (conf, seen) = conf(output, behaviour);
        Self::run(memory, conf, seen)
    }

    fn run(memory: &Memory, conf: OutputConf, seen: Seen) -> Self {
        let output = (conf.output.build)(&conf.conf).unwrap();
        let status = Arc::new(RwLock::new(OutputStatus::default()));
        let (orders, wanted) = watch::channel(Orders::default());
        let policy = Policy::new(conf.output, &conf.conf, || memory.key()).unwrap();
        let feed = Arc::new(memory.clone());
        let task = Task::new(conf.clone(), output, policy, feed, wanted, status.clone());
        let task = tokio::spawn(task.run());
        Self { memory: memory.clone(), conf, seen, status, orders, task }
    }

    /// Waits until everything stored is dealt with and the cursor is saved.
    async fn settled(&self) {
        self.cursor_reaches(*self.memory.0.stored.borrow()).await;
    }

    async fn cursor_reaches(&self, seq: u64) {
        let reached = async {
            while self.memory.cursor_if_any(&self.conf.name).is_none_or(|it| it < seq) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let patience = Duration::from_hours(24);
        assert!(tokio::time::timeout(patience, reached).await.is_ok(), "stuck: {:?}", self.status.read());
    }

    fn status(&self) -> OutputStatus {
        self.status.read().clone()
    }

    /// Every event, in the order in which it was handed over.
    fn handed_over(&self) -> Vec<u64> {
        self.seen.lock().iter().flat_map(|it| it.1.clone()).collect()
    }

    async fn stop(self) {
        self.orders.send_modify(|it| it.stop = Some(Instant::now() + Duration::from_secs(5)));
        self.task.await.unwrap();
    }

    /// As `kill -9` does: nothing is saved any more.
    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}
