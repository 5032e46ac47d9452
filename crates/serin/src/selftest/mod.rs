//! The sensor tries itself.
//!
//! It plays a client at each of its services through the network stack, from a port that it knows to
//! be its own, so that nobody else can pass for a test. The events are marked
//! ([`serin_event::SELFTEST`]) and followed to the store and to every output; then one notice tells
//! the people behind the alerting outputs how it went.

mod marks;
mod report;
mod talk;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use serin_event::{Record, SELFTEST, Severity, Timestamp};
use serin_services::Service;
use serin_services::probe::Probe;
use tokio::time::timeout;

pub(crate) use marks::Marks;
pub use report::{OutputTried, Report, ServiceTried};

use crate::incidents::Notice;
use crate::outputs::{OutputStatus, State};
use crate::runtime::clock::now;
use crate::runtime::journal::Journal;
use crate::runtime::recorder::Recorder;

/// Within this time a service must have recorded its visitor.
const SERVICE_PATIENCE: Duration = Duration::from_secs(10);
/// Within this time an output must have delivered what it takes of the test.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(20);

/// An output that was in trouble before the test gets this long.
const OUTAGE: Duration = Duration::from_secs(2);

/// What a test needs of the sensor.
pub(crate) struct Tester {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) journal: Journal,
    /// Service, address, port.
    pub(crate) services: Vec<(&'static str, IpAddr, u16)>,
    /// What should be served and is not.
    pub(crate) unavailable: Vec<(&'static str, String)>,
    pub(crate) outputs: Vec<Arc<RwLock<OutputStatus>>>,
    pub(crate) node_id: String,
}

impl Tester {
    /// Tries everything, or these services alone, and tells it.
    pub(crate) async fn run(self, only: &[String]) -> Report {
        let began = now();
        let run = began.0.to_string();
        let first = *self.journal.stored().borrow();
        let wanted = |name: &str| only.is_empty() || only.iter().any(|it| it == name);
        let mut services = Vec::new();
        for (name, address, port) in &self.services {
            if let Some(service) = serin_services::find(name).filter(|it| wanted(it.name)) {
                services.push(self.try_service(&run, service, *address, *port).await);
            }
        }
        let missing = self.unavailable.iter().filter(|it| wanted(it.0));
        services.extend(missing.map(|(name, why)| ServiceTried::failed(name, None, why.clone())));
        let unknown = only.iter().filter(|it| services.iter().all(|tried| tried.service != **it));
        let unknown: Vec<_> =
            unknown.map(|it| ServiceTried::failed(it, None, "is not served here".to_owned())).collect();
        services.extend(unknown);
        let told = self.tell(&run, &services, began).await;
        let outputs = match told {
            Some(last) => self.follow(first, last).await,
            None => Vec::new(),
        };
        Report { node_id: self.node_id, time: began.rfc3339(), services, stored: told.is_some(), outputs }
    }

    async fn try_service(&self, run: &str, service: &Service, address: IpAddr, port: u16) -> ServiceTried {
        let began = Instant::now();
        let from = *self.journal.stored().borrow();
        let outcome = async {
            let talk = talk::begin(service.probe, address, port, |own| self.recorder.marks.add(own, run))
                .await
                .map_err(|error| format!("cannot be connected to: {error}"))?;
            let proof = self.proof(from, run, service.probe, talk.own_port());
            match timeout(SERVICE_PATIENCE, proof).await {
                Ok(record) => Ok(record.kind.name),
                Err(_) => {
                    Err(format!("recorded nothing within {} s{}", SERVICE_PATIENCE.as_secs(), talk.told()))
                }
            }
        };
        match outcome.await {
            Ok(event) => ServiceTried {
                service: service.name.to_owned(),
                port: Some(port),
                event: Some(event.to_owned()),
                milliseconds: Some(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)),
                problem: None,
            },
            Err(why) => ServiceTried::failed(service.name, Some(port), why),
        }
    }

    /// The durable record that proves a conversation.
    async fn proof(&self, from: u64, run: &str, probe: Probe, own_port: u16) -> Arc<Record> {
        let is_proof = |it: &Record| {
            it.source.port == Some(own_port)
                && probe.proof.iter().any(|kind| kind.name == it.kind.name)
                && it.detail(SELFTEST).is_some_and(|it| it == run)
        };
        self.record_after(from, is_proof).await
    }

    async fn record_after(&self, mut from: u64, wanted: impl Fn(&Record) -> bool) -> Arc<Record> {
        let mut stored = self.journal.stored();
        loop {
            stored.borrow_and_update();
            loop {
                let records = self.journal.after(from, PAGE).await;
                let Some(last) = records.last() else { break };
                from = last.seq;
                if let Some(found) = records.iter().find(|it| wanted(it)) {
                    return found.clone();
                }
            }
            // Never without a sender while the sensor runs; then whoever waits gives up by the clock.
            if timeout(Duration::from_millis(250), stored.changed()).await.is_ok_and(|it| it.is_err()) {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Tells the people how the services did. The number of that record, when it is durable.
    async fn tell(&self, run: &str, services: &[ServiceTried], began: Timestamp) -> Option<u64> {
        let from = *self.journal.stored().borrow();
        let failed: Vec<_> = services.iter().filter(|it| it.problem.is_some()).collect();
        let mut notice = Notice {
            id: format!("selftest-{run}"),
            rule: "selftest".to_owned(),
            count: services.len() as u64,
            samples: services.iter().map(ServiceTried::sentence).collect(),
            ..Notice::test(String::new(), began)
        };
        notice.sentence = if failed.is_empty() {
            let count = services.len();
            let all = if count == 1 { "the service".to_owned() } else { format!("all {count} services") };
            format!("Self-test: {all} recorded the visitor; nothing happened")
        } else {
            notice.test = false;
            notice.severity = Severity::High;
            notice.service = failed.iter().map(|it| it.service.as_str()).collect::<Vec<_>>().join(", ");
            format!(
                "Self-test failed: {}",
                failed.iter().map(|it| it.sentence()).collect::<Vec<_>>().join("; ")
            )
        };
        let id = notice.id.clone();
        self.recorder.tell_notice(&notice, Some(run)).await;
        let is_it = |it: &Record| it.kind.is_incident() && it.logdata.contains(&id);
        timeout(SERVICE_PATIENCE, self.record_after(from, is_it)).await.ok().map(|it| it.seq)
    }

    /// Waits until every output is done with the test's records, or has had its time.
    async fn follow(&self, first: u64, last: u64) -> Vec<OutputTried> {
        let began = Instant::now();
        loop {
            let statuses: Vec<_> = self.outputs.iter().map(|it| it.read().clone()).collect();
            let behind = |it: &OutputStatus| it.state == State::BackingOff && it.cursor < first;
            let patient = began.elapsed() < OUTAGE;
            let over = statuses.iter().all(|it| {
                it.tested >= last
                    || matches!(it.state, State::Hold | State::Disabled)
                    || (behind(it) && !patient)
            });
            if over || began.elapsed() >= OUTPUT_PATIENCE {
                return statuses.iter().map(|it| OutputTried::of(it, first, last)).collect();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Records looked at at once.
const PAGE: usize = 512;
