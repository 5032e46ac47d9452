//! Feeds the engine from the journal, and writes what it says.
//!
//! Notices, incidents, the engine's own state and how far it has read are written in one transaction.
//! So after a crash, and after any failure, it begins with what was written and takes in what follows:
//! nothing is told twice, and nothing is missed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use serin_event::{Endpoint, Intent, Record};
use serin_store::{IncidentQuery, Query, Reader, ReaderState};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::engine::{Engine, Totals};
use super::notice::Notice;
use super::settings::Settings;
use crate::enrich::About;
use crate::runtime::clock;
use crate::runtime::journal::{Journal, Settlement};
use crate::runtime::metrics::Metrics;

/// The name of its cursor. No output has such a name by accident.
pub(crate) const READER: &str = "@incidents";

/// The incidents of a running sensor.
pub(crate) struct Incidents {
    orders: watch::Sender<Orders>,
    task: JoinHandle<()>,
}

/// What is wanted of the task.
#[derive(Clone)]
struct Orders {
    settings: Arc<Settings>,
    /// Says what is known of an address.
    about: About,
    node: Arc<str>,
    stop: bool,
}

impl Incidents {
    /// Begins where the last run stopped; the first run, with what is stored from now on.
    pub(crate) fn start(
        settings: &Settings,
        node: &str,
        about: About,
        journal: Journal,
        metrics: Arc<Metrics>,
    ) -> Self {
        let orders = Orders { settings: Arc::new(settings.clone()), about, node: node.into(), stop: false };
        let (orders, wanted) = watch::channel(orders);
        let task = Task { stored: journal.stored(), journal, metrics, orders: wanted };
        Self { orders, task: tokio::spawn(task.run()) }
    }

    /// Other settings from now on.
    pub(crate) fn set(&self, settings: &Settings, node: &str, about: About) {
        self.orders.send_modify(|it| {
            it.settings = Arc::new(settings.clone());
            it.node = node.into();
            it.about = about;
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
}

/// The engine and how far it has read.
struct Session {
    engine: Engine,
    cursor: u64,
    /// What was last written.
    written: u64,
    written_at: Instant,
    counted: Totals,
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
                tracing::warn!(why, "incidents wait for the event store");
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
            session.engine.set(orders.settings, orders.about);
            let caught_up = self.read(&mut session, newest).await;
            if caught_up {
                session.engine.tick(clock::now());
            }
            let ending = orders.stop && caught_up;
            let moved = session.cursor > session.written || session.engine.has_changed();
            let late = session.written_at.elapsed() >= SAVE_EVERY;
            if session.engine.has_news() || (moved && (late || ending)) {
                self.write(&mut session, &orders.node, ending).await?;
                *complained = false;
            }
            // Nobody is left to give orders when the sensor ends in a hurry.
            if ending || self.orders.has_changed().is_err() {
                return Ok(());
            }
            if caught_up {
                self.wait(&session).await;
            }
        }
    }

    /// With what the store says of the last run, or of the time before a failure.
    async fn begin(&self) -> Result<Session, String> {
        let Some(began) = self.journal.began() else { return Err("the event store is not open yet".into()) };
        let path = self.journal.path().to_owned();
        let Orders { settings, about, .. } = self.orders.borrow().clone();
        let load = tokio::task::spawn_blocking(move || load(&path, began, settings, &about));
        let (engine, place) = load.await.map_err(|it| it.to_string())?.map_err(|it| it.to_string())?;
        let cursor = place.cursor;
        // From now on nothing is deleted that was not read.
        self.journal.advance(place);
        Ok(Session {
            engine,
            cursor,
            written: cursor,
            written_at: Instant::now(),
            counted: Totals::default(),
        })
    }

    /// Takes in what follows. Whether that was all there is.
    async fn read(&self, session: &mut Session, newest: u64) -> bool {
        if session.cursor >= newest {
            return true;
        }
        let records = self.journal.after(session.cursor, PAGE).await;
        for record in &records {
            session.cursor = record.seq;
            let engine = &mut session.engine;
            if catch_unwind(AssertUnwindSafe(|| engine.take(record))).is_err() {
                tracing::error!(event = record.seq, "an event could not be put to an incident");
            }
        }
        records.is_empty() || session.cursor >= newest
    }

    async fn write(&self, session: &mut Session, node: &Arc<str>, hurry: bool) -> Result<(), String> {
        let now = clock::now();
        let step = session.engine.step(hurry);
        let records: Vec<Record> = step.notices.iter().map(|it| record_of(it, node)).collect();
        let kinds: Vec<_> = records.iter().map(|it| it.kind).collect();
        let reader = ReaderState {
            name: READER.to_owned(),
            cursor: session.cursor,
            status: session.engine.status(),
            updated: now,
        };
        self.journal.settle(Settlement { records, incidents: step.rows, gone: step.gone, reader }).await?;
        session.written = session.cursor;
        session.written_at = Instant::now();
        for kind in kinds {
            self.metrics.count(kind);
        }
        let totals = session.engine.totals();
        self.metrics.incidents(session.engine.open(), totals, session.counted);
        session.counted = totals;
        Ok(())
    }

    /// Until something is stored, something is due, or a second is over.
    async fn wait(&mut self, session: &Session) {
        let pause = session.engine.due_in().unwrap_or(SECOND).clamp(SHORTEST, SECOND);
        tokio::select! {
            _ = self.stored.changed() => {}
            _ = self.orders.changed() => {}
            () = sleep(pause) => {}
        }
    }
}

/// The engine as the store has it, and where it stands.
fn load(
    path: &std::path::Path,
    began: u64,
    settings: Arc<Settings>,
    about: &About,
) -> Result<(Engine, ReaderState), serin_store::Error> {
    let reader = Reader::open(path)?;
    let saved = reader.readers()?.into_iter().find(|it| it.name == READER);
    let Some(place) = saved else {
        let place = ReaderState {
            name: READER.to_owned(),
            cursor: began,
            status: "{}".to_owned(),
            updated: clock::now(),
        };
        return Ok((Engine::new(settings, about.clone()), place));
    };
    let open = IncidentQuery { open: Some(true), limit: usize::MAX, ..IncidentQuery::default() };
    let rows = reader.incidents(&open)?;
    let mut engine = Engine::restore(settings, about.clone(), &place.status, &rows);
    let lately = Query {
        since: Some(engine.remembers_since()),
        before: Some(place.cursor.saturating_add(1)),
        min_intent: Some(Intent::Connect),
        newest_first: true,
        limit: REMEMBERED,
        ..Query::default()
    };
    for record in reader.query(&lately)?.iter().rev() {
        engine.remember(record);
    }
    Ok((engine, place))
}

fn record_of(notice: &Notice, node: &Arc<str>) -> Record {
    let time = clock::now();
    let target = notice.targets.first().and_then(|it| it.parse().ok());
    Record {
        source: Endpoint { host: notice.source, port: None },
        target: Endpoint { host: target, port: notice.ports.first().copied() },
        ..Record::of(&notice.to_event(), time, clock::utc_offset(time), node.clone())
    }
}

/// Records taken in at once.
const PAGE: usize = 1000;
/// What only adds up is written so often; a crash costs reading it again.
const SAVE_EVERY: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(5);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(5);
/// Events that are looked at again after a start, for correlations.
const REMEMBERED: usize = 50_000;
