//! Makes a record of what a dialogue reports, unless the operator wants it dropped.
//!
//! Bait passwords that are kept as hashes cost up to half a second each to check. That is done on
//! the side: the peer's conversation goes on, and its event is recorded when the answer is known, or
//! after a second without it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use parking_lot::{Mutex, RwLock};
use serin_event::{Event, Kind, Record, SELFTEST, Tainted, Value, kinds};
use tokio::sync::Semaphore;

use super::clock;
use super::floods::Floods;
use super::journal::Journal;
use super::metrics::Metrics;
use crate::benign::Labeller;
use crate::config::{Honeycreds, Ignore};
use crate::enrich::{About, SOURCE};
use crate::ignore::{self, Action, Counters, Ruleset};
use crate::incidents::Notice;
use crate::selftest::Marks;

/// One connection, as records name it.
#[derive(Debug, Clone)]
pub(crate) struct Conversation {
    pub(crate) session: u64,
    pub(crate) service: &'static str,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// What of the configuration decides how events are recorded; replaced on reload.
#[derive(Default)]
pub(crate) struct Rules {
    pub(crate) node_id: Arc<str>,
    pub(crate) ignore: Ignore,
    pub(crate) harmless: Ruleset,
    pub(crate) labeller: Labeller,
    /// Says who a source is.
    pub(crate) about: Option<About>,
    pub(crate) honeycreds: Honeycreds,
    /// What hashed bait said of credentials that were tried before.
    pub(crate) verdicts: Mutex<HashMap<[u8; 32], bool>>,
}

impl Rules {
    /// The record with what was decided about it; `None`: it is not kept.
    fn judge(&self, mut record: Record, counters: &Counters, metrics: &Metrics) -> Option<Record> {
        self.labeller.label(&mut record);
        if let Some(rule) = self.harmless.decide(&record) {
            counters.hit(&rule.name, record.time);
            if rule.action == Action::Drop {
                metrics.ignored.inc();
                return None;
            }
            ignore::note(&mut record, &rule.name, rule.action);
        }
        if let (Some(about), Some(source)) = (&self.about, record.source.host)
            && !record.kind.is_incident()
        {
            let facts = about(source);
            if !facts.is_empty() {
                record.add_detail(SOURCE, facts.into());
            }
        }
        Some(record)
    }

    fn remember(&self, key: [u8; 32], verdict: bool) {
        let mut verdicts = self.verdicts.lock();
        if verdicts.len() >= VERDICTS {
            verdicts.clear();
        }
        verdicts.insert(key, verdict);
    }
}

/// Makes records and hands them to the journal.
pub(crate) struct Recorder {
    rules: RwLock<Arc<Rules>>,
    journal: Journal,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) floods: Floods,
    /// Which connections are the sensor's own.
    pub(crate) marks: Marks,
    /// How often each ignore rule was met.
    pub(crate) counters: Arc<Counters>,
    /// Where the first bytes of a conversation are kept that made a dialogue panic.
    panics: PathBuf,
    session: AtomicU64,
    /// Events that wait for their bait check.
    pending: Arc<Semaphore>,
    /// Bait checks at work.
    checks: Arc<Semaphore>,
}

impl Recorder {
    pub(crate) fn new(
        rules: Rules,
        journal: Journal,
        metrics: Arc<Metrics>,
        floods: Floods,
        counters: Counters,
        panics: PathBuf,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            rules: RwLock::new(Arc::new(rules)),
            journal,
            metrics,
            floods,
            marks: Marks::default(),
            counters: Arc::new(counters),
            panics,
            // Sessions of different runs must not meet in the store.
            session: AtomicU64::new(clock::now().0.unsigned_abs() << 10),
            pending: Arc::new(Semaphore::new(PENDING_CHECKS)),
            checks: Arc::new(Semaphore::new(cores.div_ceil(2))),
        }
    }

    /// Uses other rules from here on.
    pub(crate) fn replace_rules(&self, rules: Rules) {
        self.counters.tidy(&rules.harmless);
        *self.rules.write() = Arc::new(rules);
    }

    /// A new conversation of `peer` with `service`.
    pub(crate) fn conversation(
        &self,
        service: &'static str,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Conversation {
        let session = self.session.fetch_add(1, Ordering::Relaxed);
        Conversation { session, service, peer: unmapped(peer), local: unmapped(local) }
    }

    /// Records one event of a conversation.
    pub(crate) async fn record(&self, event: Event, at: &Conversation) {
        let source = at.peer.ip();
        let rules = self.rules.read().clone();
        if let Some(run) = self.marks.of(at.peer) {
            let mut record = make(&rules, &event, Some(at));
            record.add_detail(SELFTEST, run.into());
            return self.keep(&rules, record).await;
        }
        if rules.ignore.drops(Some(source), event.kind.logtype) {
            self.metrics.ignored.inc();
            return;
        }
        if !self.floods.admits(source, at.service) {
            return;
        }
        let mut record = make(&rules, &event, Some(at));
        let Some(tried) = credentials(&event) else {
            return self.keep(&rules, record).await;
        };
        let Some(bait) = rules.honeycreds.of(at.service) else {
            return self.keep(&rules, record).await;
        };
        if bait.needs_hashing(tried.name()) {
            return self.check_aside(record, at.service, tried, rules.clone()).await;
        }
        record.honeycred = Some(bait.check(tried.name(), tried.word()));
        self.keep(&rules, record).await;
    }

    /// Checks hashed bait beside the conversation, then records. The event is not durable before, so
    /// it waits a second at most, and when many wait it is recorded at once: without a verdict, which
    /// is what the absent field says.
    async fn check_aside(&self, mut record: Record, service: &'static str, tried: Tried, rules: Arc<Rules>) {
        let key = tried.digest(service);
        let known = rules.verdicts.lock().get(&key).copied();
        if let Some(verdict) = known {
            record.honeycred = Some(verdict);
            return self.keep(&rules, record).await;
        }
        let Ok(pending) = self.pending.clone().try_acquire_owned() else {
            self.metrics.unchecked.inc();
            return self.keep(&rules, record).await;
        };
        let (journal, checks, metrics) = (self.journal.clone(), self.checks.clone(), self.metrics.clone());
        let counters = self.counters.clone();
        tokio::spawn(async move {
            let _pending = pending;
            let checking = async {
                let check = checks.acquire_owned().await.ok()?;
                let rules = rules.clone();
                let answer = tokio::task::spawn_blocking(move || {
                    let _check = check;
                    rules.honeycreds.of(service).is_some_and(|it| it.check(tried.name(), tried.word()))
                });
                answer.await.ok()
            };
            record.honeycred = tokio::time::timeout(CHECK_PATIENCE, checking).await.ok().flatten();
            match record.honeycred {
                Some(verdict) => rules.remember(key, verdict),
                None => drop(metrics.unchecked.inc()),
            }
            if let Some(record) = rules.judge(record, &counters, &metrics) {
                metrics.count(record.kind);
                journal.append(record).await;
            }
        });
    }

    /// Waits until no event waits for its bait check: before the journal stops.
    pub(crate) async fn settle(&self) {
        let all = u32::try_from(PENDING_CHECKS).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(CHECK_PATIENCE * 2, self.pending.acquire_many(all)).await;
    }

    /// Records what the sensor says of itself, in the shape of OpenCanary's internal messages.
    pub(crate) async fn tell(&self, kind: &'static Kind, text: String) {
        let rules = self.rules.read().clone();
        if rules.ignore.drops(None, kind.logtype) {
            return;
        }
        let record = make(&rules, &Event::saying(kind, text), None);
        self.keep(&rules, record).await;
    }

    /// Records what is told of an incident that the sensor itself opened; `run`: by a self-test.
    pub(crate) async fn tell_notice(&self, notice: &Notice, run: Option<&str>) {
        let rules = self.rules.read().clone();
        let mut record = make(&rules, &notice.to_event(), None);
        record.source.host = notice.source;
        if let Some(run) = run {
            record.add_detail(SELFTEST, run.into());
        }
        self.keep(&rules, record).await;
    }

    /// Counts a panic in a dialogue, keeps what led to it, and says so.
    pub(crate) async fn panicked(&self, at: &Conversation, first: &[u8]) {
        self.metrics.panics.inc();
        let path = self.panics.join(format!("{}-{:x}.bin", at.service, at.session));
        let kept = std::fs::read_dir(&self.panics).map_or(0, Iterator::count) < PANICS_KEPT
            && std::fs::write(&path, first).is_ok();
        let wherefore =
            if kept { format!("; its first bytes are in {}", path.display()) } else { String::new() };
        tracing::error!(service = at.service, "a dialogue panicked{wherefore}");
        self.tell(&kinds::ERROR, format!("{} failed in one conversation{wherefore}", at.service)).await;
    }

    /// Records what the floods' count says.
    pub(crate) async fn tell_floods(&self, all: bool) {
        for flood in self.floods.due(all) {
            let rules = self.rules.read().clone();
            if rules.ignore.drops(flood.source, kinds::CONNECTION_FLOOD.logtype) {
                continue;
            }
            let event = Event::new(&kinds::CONNECTION_FLOOD)
                .with("COUNT", flood.count)
                .with("REASON", flood.reason)
                .with("SECONDS", flood.seconds)
                .with("SERVICE", flood.service);
            let mut record = make(&rules, &event, None);
            record.source.host = flood.source;
            self.keep(&rules, record).await;
        }
    }

    /// Tells of rules that have expired.
    pub(crate) async fn tell_expired(&self) {
        let (rules, now) = (self.rules.read().clone(), clock::now());
        for text in self.counters.newly_expired(&rules.harmless, now, clock::utc_offset(now)) {
            tracing::warn!("{text}");
            self.tell(&kinds::MESSAGE, text).await;
        }
    }

    async fn keep(&self, rules: &Rules, record: Record) {
        if let Some(record) = rules.judge(record, &self.counters, &self.metrics) {
            self.metrics.count(record.kind);
            self.journal.append(record).await;
        }
    }
}

fn make(rules: &Rules, event: &Event, at: Option<&Conversation>) -> Record {
    let time = clock::now();
    let record = Record::of(event, time, clock::utc_offset(time), rules.node_id.clone());
    match at {
        None => record,
        Some(at) => Record { session: at.session, source: at.peer.into(), target: at.local.into(), ..record },
    }
}

/// The credentials of one event.
struct Tried {
    user: Option<Tainted>,
    password: Option<Tainted>,
}

impl Tried {
    fn name(&self) -> Option<&[u8]> {
        self.user.as_ref().map(Tainted::raw)
    }

    fn word(&self) -> Option<&[u8]> {
        self.password.as_ref().map(Tainted::raw)
    }

    /// Stands for them in memory, where no more passwords are kept than must be.
    fn digest(&self, service: &str) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [Some(service.as_bytes()), self.name(), self.word()] {
            let length = part.map_or(u64::MAX, |it| it.len() as u64);
            context.update(&length.to_le_bytes());
            context.update(part.unwrap_or_default());
        }
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        key
    }
}

/// What OpenCanary calls credentials: `USERNAME` or `PASSWORD`, at least one of them not empty.
fn credentials(event: &Event) -> Option<Tried> {
    let field = |name| match event.field(name) {
        Some(Value::Tainted(bytes)) => Some(bytes.clone()),
        Some(Value::Text(text)) => Some(Tainted::new(text.as_bytes(), usize::MAX)),
        _ => None,
    };
    let (user, password) = (field("USERNAME"), field("PASSWORD"));
    let filled = |it: &Option<Tainted>| it.as_ref().is_some_and(|it| !it.is_empty());
    (filled(&user) || filled(&password)).then_some(Tried { user, password })
}

fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Events that wait for their bait check; further ones are recorded without a verdict.
const PENDING_CHECKS: usize = 32;
/// An event that has waited so long is recorded without a verdict.
const CHECK_PATIENCE: Duration = Duration::from_secs(1);
/// Verdicts remembered.
const VERDICTS: usize = 1024;
/// Files kept of conversations that made a dialogue panic.
const PANICS_KEPT: usize = 100;
