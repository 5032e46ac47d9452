//! Incidents as they follow the journal: what the engine decides, and what is stored of it.

use std::sync::Arc;
use std::time::Duration;

use serin_event::{Endpoint, Record, Timestamp};
use serin_store::{Error, IncidentQuery, Reader, ReaderState};

use super::engine::{Engine, Totals};
use super::notice::Notice;
use super::settings::Settings;
use crate::enrich::About;
use crate::runtime::clock;
use crate::runtime::journal::follow::{Follower, Following, Step};
use crate::runtime::metrics::Metrics;

/// The name of its cursor.
pub(crate) const READER: &str = "@incidents";

/// The incidents of a running sensor.
pub(crate) type Incidents = Following<Task>;

/// What is wanted of them.
#[derive(Clone)]
pub(crate) struct Orders {
    settings: Arc<Settings>,
    /// Says what is known of an address.
    about: About,
    node: Arc<str>,
}

impl Orders {
    pub(crate) fn new(settings: &Settings, node: &str, about: About) -> Self {
        Self { settings: Arc::new(settings.clone()), about, node: node.into() }
    }
}

/// The engine and what it counted.
pub(crate) struct Task {
    engine: Engine,
    orders: Orders,
    counted: Totals,
}

impl Follower for Task {
    type Orders = Orders;
    const READER: &'static str = READER;
    const WORK: &'static str = "incidents wait";

    fn new(orders: &Orders) -> Self {
        let engine = Engine::new(orders.settings.clone(), orders.about.clone());
        Self { engine, orders: orders.clone(), counted: Totals::default() }
    }

    fn recall(&mut self, reader: &Reader, place: &ReaderState) -> Result<(), Error> {
        let open = IncidentQuery { open: Some(true), limit: usize::MAX, ..IncidentQuery::default() };
        let rows = reader.incidents(&open)?;
        let Orders { settings, about, .. } = &self.orders;
        self.engine = Engine::restore(settings.clone(), about.clone(), &place.status, &rows);
        let since = self.engine.remembers_since();
        reader.replay(place.cursor, REMEMBERED, &mut |record| {
            if record.time >= since {
                self.engine.remember(record);
            }
        })
    }

    async fn obey(&mut self, orders: &Orders) {
        self.orders = orders.clone();
        self.engine.set(orders.settings.clone(), orders.about.clone());
    }

    fn take(&mut self, record: &Record) {
        self.engine.take(record);
    }

    fn tick(&mut self, now: Timestamp) {
        self.engine.tick(now);
    }

    fn has_news(&self) -> bool {
        self.engine.has_news()
    }

    fn has_changed(&self) -> bool {
        self.engine.has_changed()
    }

    fn due_in(&self) -> Option<Duration> {
        self.engine.due_in()
    }

    fn step(&mut self, now: Timestamp, hurry: bool) -> Step {
        let step = self.engine.step(hurry);
        let records = step.notices.iter().map(|it| record_of(it, &self.orders.node, now)).collect();
        Step { records, incidents: step.rows, gone: step.gone, status: self.engine.status() }
    }

    fn written(&mut self, metrics: &Metrics) {
        let totals = self.engine.totals();
        metrics.incidents(self.engine.open(), totals, self.counted);
        self.counted = totals;
    }
}

fn record_of(notice: &Notice, node: &Arc<str>, now: Timestamp) -> Record {
    let target = notice.targets.first().and_then(|it| it.parse().ok());
    Record {
        source: Endpoint { host: notice.source, port: None },
        target: Endpoint { host: target, port: notice.ports.first().copied() },
        ..Record::of(&notice.to_event(), now, clock::utc_offset(now), node.clone())
    }
}

/// Events that are looked at again after a start, for correlations.
const REMEMBERED: u64 = 50_000;
