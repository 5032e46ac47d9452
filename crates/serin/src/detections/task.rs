//! Detection as it follows the journal: which rules there are, and what is stored of what they find.
//!
//! After a start the rules look again at what correlations can still see of the time before, and tell
//! nothing of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serin_detect::Pack;
use serin_event::{Event, Record, Timestamp, kinds};
use serin_store::{Error, Query, Reader, ReaderState};
use tokio::task::spawn_blocking;

use super::engine::{Engine, pack};
use super::settings::Settings;
use super::{files, library};
use crate::runtime::clock;
use crate::runtime::journal::follow::{Follower, Following, Step};
use crate::runtime::metrics::Metrics;

/// The name of its cursor.
pub(crate) const READER: &str = "@detections";

/// The detection of a running sensor.
pub(crate) type Detections = Following<Task>;

/// What is wanted of it.
#[derive(Clone)]
pub(crate) struct Orders {
    settings: Arc<Settings>,
    node: Arc<str>,
}

impl Orders {
    pub(crate) fn new(settings: &Settings, node: &str) -> Self {
        Self { settings: Arc::new(settings.clone()), node: node.into() }
    }
}

/// The engine, and the rules that it was given.
pub(crate) struct Task {
    /// `None`: detection is switched off.
    engine: Option<Engine>,
    orders: Orders,
    /// When the operator's rule files were last changed.
    changed: Changed,
    looked: Instant,
    /// What the operator is to hear of memory.
    complaint: Option<String>,
}

type Changed = Vec<(PathBuf, Option<SystemTime>)>;

impl Task {
    /// Takes the rules of new orders, or of files that have changed.
    async fn take_rules(&mut self) {
        self.looked = Instant::now();
        let settings = self.orders.settings.clone();
        let Ok((pack, changed)) = spawn_blocking(move || rules(&settings)).await else { return };
        self.changed = changed;
        let settings = &self.orders.settings;
        match self.engine.as_mut().filter(|_| settings.enabled) {
            Some(engine) => engine.set(pack, settings),
            None => self.engine = settings.enabled.then(|| Engine::new(pack, settings)),
        }
        tracing::info!("the detection rules were read again");
    }

    /// Whether files were changed since they were read.
    async fn files_changed(&mut self) -> bool {
        self.looked = Instant::now();
        let paths = library::paths(&self.orders.settings);
        let now = spawn_blocking(move || files::changed(&paths)).await;
        now.is_ok_and(|it| it != self.changed)
    }
}

/// The rules as the settings want them and as the files are now.
fn rules(settings: &Settings) -> (Pack, Changed) {
    let changed = files::changed(&library::paths(settings));
    let (files, wrongs) = library::files(settings);
    for wrong in wrongs {
        tracing::warn!("detection.rules: {wrong}");
    }
    let pack = pack(&files, settings);
    if let Some(first) = pack.refused.first() {
        let many = pack.refused.len();
        tracing::warn!("{many} detection rules are not used, the first: {first}; see `serin rules check`");
    }
    (pack, changed)
}

impl Follower for Task {
    type Orders = Orders;
    const READER: &'static str = READER;
    const WORK: &'static str = "detection waits";

    fn new(orders: &Orders) -> Self {
        let settings = &orders.settings;
        let (pack, changed) = rules(settings);
        let engine = settings.enabled.then(|| Engine::new(pack, settings));
        Self { engine, orders: orders.clone(), changed, looked: Instant::now(), complaint: None }
    }

    fn recall(&mut self, reader: &Reader, place: &ReaderState) -> Result<(), Error> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        let now = clock::now();
        let since = Timestamp(now.min(place.updated).0.saturating_sub(engine.memory()));
        reader.replay(place.cursor, REMEMBERED, &mut |record| {
            if record.time >= since {
                engine.remember(record, now);
            }
        })?;
        // What was told stands behind the events that it tells of.
        let mut told =
            Query { logtypes: vec![kinds::DETECTION_LOW.logtype], limit: PAGE, ..Query::default() };
        told.after = Some(place.cursor);
        loop {
            let records = reader.query(&told)?;
            let Some(last) = records.last() else { return Ok(()) };
            told.after = Some(last.seq);
            for record in &records {
                engine.remember(record, now);
            }
        }
    }

    async fn obey(&mut self, orders: &Orders) {
        let is_new = !Arc::ptr_eq(&self.orders.settings, &orders.settings);
        self.orders = orders.clone();
        let due = self.looked.elapsed() >= LOOK_EVERY && !orders.settings.rules.0.is_empty();
        if is_new || (due && self.files_changed().await) {
            self.take_rules().await;
        }
    }

    fn take(&mut self, record: &Record) {
        if let Some(engine) = &mut self.engine {
            engine.take(record);
        }
    }

    fn tick(&mut self, now: Timestamp) {
        if let Some(engine) = &mut self.engine {
            engine.tick(now);
            self.complaint = self.complaint.take().or_else(|| engine.complaint());
        }
    }

    fn has_news(&self) -> bool {
        self.complaint.is_some() || self.engine.as_ref().is_some_and(Engine::has_news)
    }

    fn has_changed(&self) -> bool {
        self.has_news()
    }

    /// Correlations may have waited long enough for what is late.
    fn due_in(&self) -> Option<Duration> {
        self.engine.as_ref().map(|_| TICK)
    }

    fn step(&mut self, now: Timestamp, _hurry: bool) -> Step {
        let reports = self.engine.as_mut().map(Engine::reports).unwrap_or_default();
        let mut records: Vec<_> = reports.iter().map(|it| it.record(&self.orders.node, now)).collect();
        if let Some(text) = self.complaint.take() {
            tracing::warn!("{text}");
            let event = Event::saying(&kinds::ERROR, text);
            records.push(Record::of(&event, now, clock::utc_offset(now), self.orders.node.clone()));
        }
        Step { records, status: status(self.engine.as_ref()), ..Step::default() }
    }

    fn written(&mut self, _metrics: &Metrics) {}
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

const TICK: Duration = Duration::from_millis(250);
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Events that are looked at again after a start, for correlations.
const REMEMBERED: u64 = 50_000;
const PAGE: usize = 500;
