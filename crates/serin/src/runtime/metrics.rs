//! What Prometheus can ask for.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serin_event::{Kind, kinds};

use crate::incidents::Totals;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabels {
    service: &'static str,
    kind: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ServiceLabels {
    service: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutputLabels {
    output: String,
}

/// All counts of a running sensor.
pub(crate) struct Metrics {
    registry: Registry,
    /// Looked up once, so that counting an event is one addition.
    by_kind: HashMap<&'static str, Counter>,
    connections: Family<ServiceLabels, Counter>,
    pub(crate) ignored: Counter,
    pub(crate) unchecked: Counter,
    pub(crate) panics: Counter,
    pub(crate) refused: Counter,
    open: Gauge,
    stored: Gauge,
    waiting: Gauge,
    lost: Gauge,
    commit_seconds: Gauge<f64, AtomicU64>,
    lag: Family<OutputLabels, Gauge>,
    incidents_open: Gauge,
    incidents_opened: Counter,
    incidents_suppressed: Counter,
}

/// What is measured at the moment of asking.
pub(crate) struct Now {
    pub(crate) open: usize,
    pub(crate) stored: u64,
    pub(crate) health: super::journal::Health,
    /// Each output's name and how many events it is behind.
    pub(crate) lag: Vec<(String, u64)>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("serin");
        let events = Family::<KindLabels, Counter>::default();
        let by_kind = kinds::ALL
            .iter()
            .map(|it| {
                (it.name, events.get_or_create_owned(&KindLabels { service: it.service, kind: it.name }))
            })
            .collect();
        let new = Self {
            by_kind,
            connections: Family::default(),
            ignored: Counter::default(),
            unchecked: Counter::default(),
            panics: Counter::default(),
            refused: Counter::default(),
            open: Gauge::default(),
            stored: Gauge::default(),
            waiting: Gauge::default(),
            lost: Gauge::default(),
            commit_seconds: Gauge::default(),
            lag: Family::default(),
            incidents_open: Gauge::default(),
            incidents_opened: Counter::default(),
            incidents_suppressed: Counter::default(),
            registry: Registry::default(),
        };
        registry.register("events", "Events recorded, by kind", events);
        registry.register("connections", "Connections accepted", new.connections.clone());
        let unchecked = "Events recorded before their bait check was done, because of too many";
        registry.register("bait_unchecked", unchecked, new.unchecked.clone());
        registry.register("events_ignored", "Events dropped by ignore lists", new.ignored.clone());
        registry.register("connections_refused", "Connections refused by a limit", new.refused.clone());
        registry.register("dialogue_panics", "Conversations that ended by our mistake", new.panics.clone());
        registry.register("connections_open", "Connections open now", new.open.clone());
        registry.register("events_stored", "Number of the last durable event", new.stored.clone());
        registry.register(
            "events_waiting",
            "Events waiting for the store to write again",
            new.waiting.clone(),
        );
        registry.register("events_lost", "Events lost because the store could not write", new.lost.clone());
        registry.register("store_commit_seconds", "Duration of the last commit", new.commit_seconds.clone());
        registry.register("output_lag_events", "Events an output has yet to deliver", new.lag.clone());
        new.register_incidents(&mut registry);
        Self { registry, ..new }
    }

    fn register_incidents(&self, registry: &mut Registry) {
        registry.register("incidents_open", "Incidents that are going on", self.incidents_open.clone());
        registry.register("incidents_opened", "Incidents told", self.incidents_opened.clone());
        let suppressed = "Events that an ignore rule kept from becoming an incident";
        registry.register("incidents_suppressed", suppressed, self.incidents_suppressed.clone());
    }

    /// How many incidents are open, and what was counted since it was last said.
    pub(crate) fn incidents(&self, open: usize, now: Totals, before: Totals) {
        self.incidents_open.set(i64::try_from(open).unwrap_or(i64::MAX));
        self.incidents_opened.inc_by(now.opened.saturating_sub(before.opened));
        self.incidents_suppressed.inc_by(now.suppressed.saturating_sub(before.suppressed));
    }

    /// Counts one recorded event.
    pub(crate) fn count(&self, kind: &Kind) {
        if let Some(counter) = self.by_kind.get(kind.name) {
            counter.inc();
        }
    }

    /// The counter of one service's connections.
    pub(crate) fn connections(&self, service: &'static str) -> Counter {
        self.connections.get_or_create_owned(&ServiceLabels { service })
    }

    /// Everything in the `OpenMetrics` text format.
    pub(crate) fn text(&self, now: &Now) -> String {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.open.set(signed(now.open as u64));
        self.stored.set(signed(now.stored));
        self.waiting.set(signed(now.health.waiting as u64));
        self.lost.set(signed(now.health.lost));
        self.commit_seconds.set(now.health.last_commit.as_secs_f64());
        for (output, lag) in &now.lag {
            self.lag.get_or_create(&OutputLabels { output: output.clone() }).set(signed(*lag));
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
