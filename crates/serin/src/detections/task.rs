//! Feeds the rules from the journal, and writes what they find.
//!
//! What is told and how far it has read are written in one transaction. After a crash the rules look
//! again at what correlations can still see of the time before, and tell nothing of it: so nothing is
//! told twice, and nothing is missed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serin_detect::Pack;
use serin_event::{Record, Timestamp, kinds};
use serin_store::{Query, Reader, ReaderState};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, timeout_at};

use super::engine::{Engine, pack};
use super::settings::Settings;
use super::{files, library};
use crate::runtime::clock;
use crate::runtime::journal::{Journal, Settlement};
use crate::runtime::metrics::Metrics;

/// The name of its cursor. No output has such a name by accident.
pub(crate) const READER: &str = "@detections";

/// The detection of a running sensor.
pub(crate) struct Detections {
    orders: watch::Sender<Orders>,
    task: JoinHandle<()>,
}

/// What is wanted of the task.
#[derive(Clone)]
struct Orders {
    settings: Arc<Settings>,
    node: Arc<str>,
    /// Counts the changes of the settings.
    edition: u64,
    stop: bool,
}

impl Detections {
    /// Begins where the last run stopped; the first run, with what is stored from now on.
    pub(crate) fn start(settings: &Settings, node: &str, journal: Journal, metrics: Arc<Metrics>) -> Self {
        let orders =
            Orders { settings: Arc::new(settings.clone()), node: node.into(), edition: 0, stop: false };
        let (orders, wanted) = watch::channel(orders);
        let task = Task {
            stored: journal.stored(),
            journal,
            metrics,
            orders: wanted,
            changed: Vec::new(),
            looked: Instant::now(),
        };
        Self { orders, task: tokio::spawn(task.run()) }
    }

    /// Other settings from now on.
    pub(crate) fn set(&self, settings: &Settings, node: &str) {
        self.orders.send_modify(|it| {
            it.settings = Arc::new(settings.clone());
            it.node = node.into();
            it.edition = it.edition.wrapping_add(1);
        });
    }

    /// Takes in what is stored, tells what is to be told of it, and ends. What cannot be done within
    /// seconds is done at the next start.
    pub(crate) async fn stop(&mut self) {
        self.orders.send_modify(|it| it.stop = true);
        if timeout_at(Instant::now() + GRACE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

struct Task {
    journal: Journal,
    metrics: Arc<Metrics>,
    orders: watch::Receiver<Orders>,
    stored: watch::Receiver<u64>,
    /// When the operator's rule files were last changed.
    changed: Vec<(PathBuf, Option<SystemTime>)>,
    looked: Instant,
}

/// The engine and how far it has read.
struct Session {
    /// `None`: detection is switched off.
    engine: Option<Engine>,
    edition: u64,
    cursor: u64,
    /// What was last written.
    written: u64,
    written_at: Instant,
}

impl Task {
    async fn run(mut self) {
        let mut complained = false;
        loop {
            let Err(why) = self.session(&mut complained).await else { return };
            if self.orders.borrow().stop {
                return;
            }
            if !complained {
                tracing::warn!(why, "detection waits for the event store");
            }
            complained = true;
            sleep(AGAIN).await;
        }
    }

    /// Works until it is told to stop, or until something cannot be read or written.
    async fn session(&mut self, complained: &mut bool) -> Result<(), String> {
        let mut session = self.begin().await?;
        loop {
            let newest = *self.stored.borrow_and_update();
            let orders = self.orders.borrow_and_update().clone();
            self.take_rules(&mut session, &orders).await;
            let caught_up = self.read(&mut session, newest).await;
            if let Some(engine) = session.engine.as_mut().filter(|_| caught_up) {
                engine.tick(clock::now());
            }
            let ending = orders.stop && caught_up;
            let late = session.written_at.elapsed() >= SAVE_EVERY;
            let has_news = session.engine.as_ref().is_some_and(Engine::has_news);
            if has_news || (session.cursor > session.written && (late || ending)) {
                self.write(&mut session, &orders.node).await?;
                *complained = false;
            }
            // Nobody is left to give orders when the sensor ends in a hurry.
            if ending || self.orders.has_changed().is_err() {
                return Ok(());
            }
            if caught_up {
                self.wait().await;
            }
        }
    }

    /// With what the store says of the last run, or of the time before a failure.
    async fn begin(&mut self) -> Result<Session, String> {
        let Some(began) = self.journal.began() else { return Err("the event store is not open yet".into()) };
        let orders = self.orders.borrow().clone();
        let pack = self.rules(&orders.settings).await?;
        let path = self.journal.path().to_owned();
        let settings = orders.settings.clone();
        let load = spawn_blocking(move || {
            let mut engine = settings.enabled.then(|| Engine::new(pack, &settings));
            load(&path, began, engine.as_mut()).map(|place| (engine, place))
        });
        let (engine, place) = load.await.map_err(|it| it.to_string())?.map_err(|it| it.to_string())?;
        let cursor = place.cursor;
        // From now on nothing is deleted that was not read.
        self.journal.advance(place);
        let written_at = Instant::now();
        Ok(Session { engine, edition: orders.edition, cursor, written: cursor, written_at })
    }

    /// The rules as the settings want them and as the files are now.
    async fn rules(&mut self, settings: &Arc<Settings>) -> Result<Pack, String> {
        let settings = settings.clone();
        let read = spawn_blocking(move || {
            let (files, wrongs) = library::files(&settings);
            (pack(&files, &settings), wrongs, files::changed(&library::paths(&settings)))
        });
        let (pack, wrongs, changed) = read.await.map_err(|it| it.to_string())?;
        for wrong in wrongs {
            tracing::warn!("detection.rules: {wrong}");
        }
        if let Some(first) = pack.refused.first() {
            let many = pack.refused.len();
            tracing::warn!(
                "{many} detection rules are not used, the first: {first}; see `serin rules check`"
            );
        }
        self.changed = changed;
        self.looked = Instant::now();
        Ok(pack)
    }

    /// Takes other rules where settings or files have changed.
    async fn take_rules(&mut self, session: &mut Session, orders: &Orders) {
        let same = session.edition == orders.edition;
        if same && (self.looked.elapsed() < LOOK_EVERY || orders.stop) {
            return;
        }
        self.looked = Instant::now();
        let paths = library::paths(&orders.settings);
        if same && (paths.is_empty() || !self.files_changed(paths).await) {
            return;
        }
        session.edition = orders.edition;
        let Ok(pack) = self.rules(&orders.settings).await else { return };
        match session.engine.as_mut().filter(|_| orders.settings.enabled) {
            Some(engine) => engine.set(pack, &orders.settings),
            None => session.engine = orders.settings.enabled.then(|| Engine::new(pack, &orders.settings)),
        }
        tracing::info!("the detection rules were read again");
    }

    async fn files_changed(&self, paths: Vec<PathBuf>) -> bool {
        let now = spawn_blocking(move || files::changed(&paths)).await;
        now.is_ok_and(|it| it != self.changed)
    }

    /// Takes in what follows. Whether that was all there is.
    async fn read(&self, session: &mut Session, newest: u64) -> bool {
        if session.cursor >= newest {
            return true;
        }
        let records = self.journal.after(session.cursor, PAGE).await;
        for record in &records {
            session.cursor = record.seq;
            let Some(engine) = session.engine.as_mut() else { continue };
            if catch_unwind(AssertUnwindSafe(|| engine.take(record))).is_err() {
                tracing::error!(event = record.seq, "the detection rules failed on an event");
            }
        }
        records.is_empty() || session.cursor >= newest
    }

    async fn write(&self, session: &mut Session, node: &Arc<str>) -> Result<(), String> {
        let now = clock::now();
        let reports = session.engine.as_mut().map(Engine::reports).unwrap_or_default();
        let records: Vec<Record> = reports.iter().map(|it| it.record(node, now)).collect();
        let kinds: Vec<_> = records.iter().map(|it| it.kind).collect();
        let reader = ReaderState {
            name: READER.to_owned(),
            cursor: session.cursor,
            status: status(session.engine.as_ref()),
            updated: now,
        };
        let settlement = Settlement { records, incidents: Vec::new(), gone: Vec::new(), reader };
        self.journal.settle(settlement).await?;
        session.written = session.cursor;
        session.written_at = Instant::now();
        for kind in kinds {
            self.metrics.count(kind);
        }
        Ok(())
    }

    /// Until something is stored, or correlations may have waited long enough for what is late.
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.stored.changed() => {}
            _ = self.orders.changed() => {}
            () = sleep(TICK) => {}
        }
    }
}

/// Where it stands, once the engine has looked at what correlations can still see of what it has read.
fn load(
    path: &std::path::Path,
    began: u64,
    engine: Option<&mut Engine>,
) -> Result<ReaderState, serin_store::Error> {
    let reader = Reader::open(path)?;
    let saved = reader.readers()?.into_iter().find(|it| it.name == READER);
    let Some(place) = saved else {
        return Ok(ReaderState {
            name: READER.to_owned(),
            cursor: began,
            status: status(None),
            updated: clock::now(),
        });
    };
    if let Some(engine) = engine {
        let since = Some(Timestamp(clock::now().0.saturating_sub(engine.memory())));
        let lately = Query { since, newest_first: true, limit: REMEMBERED, ..Query::default() };
        // What was told stands behind the events that it tells of.
        let told = Query { logtypes: vec![kinds::DETECTION_LOW.logtype], ..lately.clone() };
        let seen = Query { before: Some(place.cursor.saturating_add(1)), ..lately };
        for query in [told, seen] {
            for record in reader.query(&query)?.iter().rev() {
                engine.remember(record);
            }
        }
    }
    Ok(place)
}

/// For whoever asks how detection is doing.
fn status(engine: Option<&Engine>) -> String {
    let Some(engine) = engine else { return "{}".to_owned() };
    let pack = engine.detector().pack();
    serde_json::json!({
        "rules": pack.rules.len(),
        "correlations": pack.correlations.len(),
        "refused": pack.refused.len(),
        "fired": engine.fired(),
    })
    .to_string()
}

/// Records taken in at once.
const PAGE: usize = 1000;
/// What merely moves on is written so often; a crash costs reading it again.
const SAVE_EVERY: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(250);
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(5);
/// Events that are looked at again after a start, for correlations.
const REMEMBERED: usize = 50_000;
