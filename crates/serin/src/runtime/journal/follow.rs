//! Whoever makes something of every record: incidents, detections.
//!
//! A follower takes the records in the order of their numbers. What it makes of them is written in one
//! transaction with how far it has read. So after a crash, and after any failure, it begins with what was
//! written and takes in what follows: nothing is told twice, and nothing is missed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serin_event::{Record, Timestamp};
use serin_store::{Error, Incident, Reader, ReaderState};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Journal, Settlement};
use crate::runtime::clock;
use crate::runtime::metrics::Metrics;

/// What follows the journal. It knows neither the clock nor how it is stored.
pub(crate) trait Follower: Send + Sized + 'static {
    /// What the operator wants of it.
    type Orders: Clone + Send + Sync + 'static;
    /// The name of its cursor: no output has such a name by accident.
    const READER: &'static str;
    /// What waits when the store cannot be used, for the log.
    const WORK: &'static str;

    /// One that has seen nothing, at the first start.
    fn new(orders: &Self::Orders) -> Self;

    /// Brings back what it needs of the time up to `place`. May take its time.
    fn recall(&mut self, reader: &Reader, place: &ReaderState) -> Result<(), Error>;

    /// Follows these orders from now on; asked before each round, so it should be cheap when nothing has
    /// changed.
    fn obey(&mut self, orders: &Self::Orders) -> impl Future<Output = ()> + Send;

    /// Takes in the next record.
    fn take(&mut self, record: &Record);

    /// It is this late, and everything stored was taken in.
    fn tick(&mut self, now: Timestamp);

    /// Whether there is something to tell at this moment.
    fn has_news(&self) -> bool;

    /// Whether anything is to be written beside how far it has read.
    fn has_changed(&self) -> bool;

    /// How long until there is something to do though nothing happens; `None`: for ever.
    fn due_in(&self) -> Option<Duration>;

    /// What is to be written now. `hurry`: nothing waits for company, since the sensor stops.
    fn step(&mut self, now: Timestamp, hurry: bool) -> Step;

    /// The step was written.
    fn written(&mut self, metrics: &Metrics);
}

/// What is to be written, all of it together.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// What is told.
    pub(crate) records: Vec<Record>,
    /// Incidents that are new or have changed.
    pub(crate) incidents: Vec<Incident>,
    /// Ids of incidents that are to be forgotten.
    pub(crate) gone: Vec<String>,
    /// What is to be found again at the next start, as JSON text.
    pub(crate) status: String,
}

/// A follower at work.
pub(crate) struct Following<F: Follower> {
    orders: watch::Sender<(F::Orders, bool)>,
    task: JoinHandle<()>,
}

impl<F: Follower> Following<F> {
    /// Begins where the last run stopped; the first run, with what is stored from now on.
    pub(crate) fn start(orders: F::Orders, journal: Journal, metrics: Arc<Metrics>) -> Self {
        let (orders, wanted) = watch::channel((orders, false));
        let task = Task::<F> { stored: journal.stored(), journal, metrics, orders: wanted };
        Self { orders, task: tokio::spawn(task.run()) }
    }

    /// Other orders from now on.
    pub(crate) fn set(&self, orders: F::Orders) {
        self.orders.send_modify(|it| it.0 = orders);
    }

    /// Takes in what is stored, tells what is to be told of it, and ends. What cannot be done within
    /// seconds is done at the next start.
    pub(crate) async fn stop(&mut self) {
        self.orders.send_modify(|it| it.1 = true);
        if timeout_at(Instant::now() + GRACE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

struct Task<F: Follower> {
    journal: Journal,
    metrics: Arc<Metrics>,
    /// And whether it is to end.
    orders: watch::Receiver<(F::Orders, bool)>,
    stored: watch::Receiver<u64>,
}

/// The follower and how far it has read.
struct Session<F> {
    follower: F,
    cursor: u64,
    /// What was last written.
    written: u64,
    written_at: Instant,
}

impl<F: Follower> Task<F> {
    async fn run(mut self) {
        let mut complained = false;
        loop {
            let Err(why) = self.session(&mut complained).await else { return };
            if self.orders.borrow().1 {
                return;
            }
            if !complained {
                tracing::warn!(why, "{} for the event store", F::WORK);
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
            let (orders, stop) = self.orders.borrow_and_update().clone();
            session.follower.obey(&orders).await;
            let caught_up = self.read(&mut session, newest).await;
            if caught_up {
                session.follower.tick(clock::now());
            }
            let ending = stop && caught_up;
            let moved = session.cursor > session.written || session.follower.has_changed();
            let late = session.written_at.elapsed() >= SAVE_EVERY;
            if session.follower.has_news() || (moved && (late || ending)) {
                self.write(&mut session, ending).await?;
                *complained = false;
            }
            // Nobody is left to give orders when the sensor ends in a hurry.
            if ending || self.orders.has_changed().is_err() {
                return Ok(());
            }
            if caught_up {
                let due = session.follower.due_in().unwrap_or(SECOND);
                self.wait(due.clamp(SHORTEST, SECOND)).await;
            }
        }
    }

    /// With what the store says of the last run, or of the time before a failure.
    async fn begin(&self) -> Result<Session<F>, String> {
        let Some(began) = self.journal.began() else { return Err("the event store is not open yet".into()) };
        let path = self.journal.path().to_owned();
        let orders = self.orders.borrow().0.clone();
        let load = spawn_blocking(move || load::<F>(&path, began, &orders));
        let (follower, place) = load.await.map_err(|it| it.to_string())?.map_err(|it| it.to_string())?;
        let cursor = place.cursor;
        // From now on nothing is deleted that was not read.
        self.journal.advance(place);
        Ok(Session { follower, cursor, written: cursor, written_at: Instant::now() })
    }

    /// Takes in what follows. Whether that was all there is.
    async fn read(&self, session: &mut Session<F>, newest: u64) -> bool {
        if session.cursor >= newest {
            return true;
        }
        let records = self.journal.after(session.cursor, PAGE).await;
        for (nth, record) in records.iter().enumerate() {
            session.cursor = record.seq;
            // Records may be large, and others have work to do as well.
            if nth % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            let follower = &mut session.follower;
            if catch_unwind(AssertUnwindSafe(|| follower.take(record))).is_err() {
                tracing::error!(event = record.seq, reader = F::READER, "failed on an event");
            }
        }
        records.is_empty() || session.cursor >= newest
    }

    async fn write(&self, session: &mut Session<F>, hurry: bool) -> Result<(), String> {
        let now = clock::now();
        let Step { records, incidents, gone, status } = session.follower.step(now, hurry);
        let kinds: Vec<_> = records.iter().map(|it| it.kind).collect();
        let reader = ReaderState { name: F::READER.to_owned(), cursor: session.cursor, status, updated: now };
        self.journal.settle(Settlement { records, incidents, gone, reader }).await?;
        session.written = session.cursor;
        session.written_at = Instant::now();
        for kind in kinds {
            self.metrics.count(kind);
        }
        session.follower.written(&self.metrics);
        Ok(())
    }

    /// Until something is stored, or so long.
    async fn wait(&mut self, pause: Duration) {
        tokio::select! {
            _ = self.stored.changed() => {}
            _ = self.orders.changed() => {}
            () = sleep(pause) => {}
        }
    }
}

/// The follower as the store has it, and where it stands.
fn load<F: Follower>(path: &Path, began: u64, orders: &F::Orders) -> Result<(F, ReaderState), Error> {
    let reader = Reader::open(path)?;
    let saved = reader.readers()?.into_iter().find(|it| it.name == F::READER);
    let mut follower = F::new(orders);
    let Some(place) = saved else {
        let place = ReaderState {
            name: F::READER.to_owned(),
            cursor: began,
            status: "{}".to_owned(),
            updated: clock::now(),
        };
        return Ok((follower, place));
    };
    follower.recall(&reader, &place)?;
    Ok((follower, place))
}

/// Records taken in at once.
const PAGE: usize = 1000;
/// Records taken in before others have their turn.
const TURN: usize = 32;
/// What only adds up is written so often; a crash costs reading it again.
const SAVE_EVERY: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(5);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(5);
