//! The output around every courier: which cards there are, and when they go.
//!
//! What is held back stays in the journal: nothing is called delivered before the receiver has
//! confirmed the message that tells it, alone or among others. `plan` decides what goes; what has
//! gone is remembered until the engine has heard of it, so that a delivery that was interrupted
//! does not repeat its first messages.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;
use serin_event::{Record, Severity, Timestamp};
use serin_services::conf::{Complaint, Conf, Key};
use serin_services::settings;
use tokio::time::Instant;

use super::card::Told;
use super::plan::{Company, Message, Moment, Plan, Urgency, Waiting};
use super::quiet::Quiet;
use super::rate::Rate;
use super::{Card, Courier};
use crate::incidents::{Change, Notice};
use crate::outputs::delivery::Level;
use crate::outputs::transport::http;
use crate::outputs::{Batch, Delivery, Item, Later, Outcome, Output};
use crate::runtime::clock::now;

settings! { "alerts" {
    /// At most so many messages a minute; what is more goes together in one. 0: no limit. Outputs that
    /// send every event have no limit unless this is set.
    rate: u32 = 12;
    /// So many messages may go at once before the rate counts.
    burst: u32 = 5;
    /// Seconds to gather what happens into one message. 0: each incident is told at once.
    digest: Duration = Duration::ZERO;
    /// When nobody is to be disturbed, in local time: 22:00-07:00, or Mon-Fri 22:00-07:00, Sat-Sun
    /// 00:00-24:00. Afterwards one message tells what happened.
    quiet: Quiet = Quiet::default();
    /// What is told in quiet hours all the same: this severity, and above.
    quiet_severity: Level = Level(Severity::Critical);
    /// Seconds. What is older when it can be sent, after an outage for example, goes together in one
    /// message. 0: never.
    max_age: Duration = Duration::from_hours(1);
    /// Also tell when an incident grows or becomes more severe.
    updates: bool = true;
    /// Also tell when an incident is over.
    closed: bool = false;
    /// Where people reach the console, such as https://canary.example:8737; cards then link to it.
    link: String = String::new();
} }

/// The settings of every channel.
pub(crate) const KEYS: &[Key] = Settings::KEYS;

/// How much a channel looks at. When all of it waits, the rest goes together in one message.
pub(crate) const BATCH: Batch = Batch { events: 1000, bytes: 16 * 1024 * 1024, linger: Duration::ZERO };
/// With so many bytes a batch counts as full: the engine may have cut it here, as the next would not fit.
const FULL: usize = BATCH.bytes / 2;
/// A delivery begins no further message after this time, and has no more of them than so many, so that
/// a crash repeats little.
const SENDING: Duration = Duration::from_millis(250);
const MESSAGES: usize = 32;
/// How long the clock on the wall is believed.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// A courier, and what it is given.
#[derive(Debug)]
pub(crate) struct Channel<C> {
    courier: C,
    settings: Settings,
    company: Company,
    rate: Rate,
    clock: Clock,
    zone: TimeZone,
    /// What was offered and is not settled, by number.
    pending: HashMap<u64, Pending>,
    /// So many incidents one message may tell: fewer after the receiver refused one.
    most: usize,
    hurry: bool,
}

/// Tells the time on the wall.
pub(super) type Clock = fn() -> Timestamp;

/// One record that was offered.
#[derive(Debug)]
struct Pending {
    notice: Notice,
    since: Instant,
    /// What became of it, when the engine may not have heard.
    settled: Option<Outcome>,
}

#[cfg(test)]
impl<C: Courier> Channel<C> {
    /// The same with another clock, in UTC.
    pub(super) fn with_clock(self, clock: Clock) -> Self {
        Self { clock, zone: TimeZone::UTC, ..self }
    }
}

impl<C: Courier> Channel<C> {
    /// # Errors
    ///
    /// What is wrong with the settings under `alerts`.
    pub(crate) fn new(conf: &Conf, courier: C) -> Result<Self, Vec<Complaint>> {
        let mut settings = Settings::read(conf)?;
        if !settings.link.is_empty() {
            http::url("alerts.link", &settings.link).map_err(|it| vec![it])?;
        }
        // Whoever wants every event wants OpenCanary's behaviour.
        let single = conf.get("delivery.send").is_some_and(|it| it == "events" || it == "both");
        if single && conf.get("alerts.rate").is_none() {
            settings.rate = 0;
        }
        if single && conf.get("alerts.max_age").is_none() {
            settings.max_age = Duration::ZERO;
        }
        let company = match (settings.digest.is_zero(), single) {
            (false, _) => Company::Everything,
            (true, true) => Company::Nothing,
            (true, false) => Company::Usual,
        };
        Ok(Self {
            courier,
            rate: Rate::new(settings.rate, settings.burst),
            settings,
            company,
            clock: now,
            zone: TimeZone::system(),
            pending: HashMap::new(),
            most: usize::MAX,
            hurry: false,
        })
    }

    /// Whether this moment is within quiet hours.
    fn is_quiet(&self, time: Timestamp) -> bool {
        let time = jiff::Timestamp::from_microsecond(time.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        self.settings.quiet.holds(time.to_zoned(self.zone.clone()).datetime())
    }

    /// Whether it is no news any more, or waited for the end of quiet hours.
    fn is_late(&self, record: &Record, test: bool, now: Timestamp) -> bool {
        let age = Duration::from_micros(u64::try_from(now.0.saturating_sub(record.time.0)).unwrap_or(0));
        let old = !self.settings.max_age.is_zero() && age > self.settings.max_age;
        let held = !test && record.severity() < self.settings.quiet_severity.0 && self.is_quiet(record.time);
        old || held
    }

    /// How long this record still waits for company.
    fn gathers(&self, record: &Record, since: Instant, now: Timestamp) -> Duration {
        let age = Duration::from_micros(u64::try_from(now.0.saturating_sub(record.time.0)).unwrap_or(0));
        // Offered again after a restart, its time has passed; after the clock was set back, it has not.
        self.settings.digest.saturating_sub(since.elapsed().max(age))
    }

    fn wants(&self, notice: &Notice) -> bool {
        match notice.change {
            _ if notice.test => true,
            Change::Opened => true,
            Change::Updated => self.settings.updates,
            Change::Closed => self.settings.closed || self.courier.resolves(),
        }
    }

    fn moment(&self, batch: &[Item], now: Timestamp) -> Moment {
        let instant = Instant::now();
        let bytes: usize = batch.iter().map(|it| it.body.len()).sum();
        let urgency = match batch.len() >= BATCH.events || bytes >= FULL {
            true => Urgency::Full,
            false if self.hurry => Urgency::Hurry,
            false => Urgency::Usual,
        };
        Moment {
            quiet: self.is_quiet(now).then_some(LOOK_AGAIN),
            quiet_severity: self.settings.quiet_severity.0,
            company: self.company,
            room: self.rate.room(instant),
            room_in: self.rate.wait(instant),
            most: self.most,
            urgency,
        }
    }

    /// What goes now of what is not settled yet; `places` leads from its places to those of the batch.
    fn plan(&self, batch: &[Item], places: &[usize]) -> Plan {
        let now = (self.clock)();
        let waiting: Vec<_> = places
            .iter()
            .filter_map(|it| batch.get(*it))
            .filter_map(|item| {
                let Pending { notice, since, .. } = self.pending.get(&item.record.seq)?;
                Some(Waiting {
                    incident: &notice.id,
                    severity: notice.severity,
                    test: notice.test,
                    resolves: notice.change == Change::Closed && self.courier.resolves(),
                    late: self.is_late(&item.record, notice.test, now),
                    gathers: self.gathers(&item.record, *since, now).min(LOOK_AGAIN),
                })
            })
            .collect();
        Plan::of(&waiting, &self.moment(batch, now))
    }

    /// Takes note of what is offered, and forgets what is not any more.
    fn meet(&mut self, batch: &[Item]) {
        let mut before = std::mem::take(&mut self.pending);
        let met = batch.iter().map(|it| {
            let seq = it.record.seq;
            let fresh = || Pending { notice: Notice::of(&it.record), since: Instant::now(), settled: None };
            (seq, before.remove(&seq).unwrap_or_else(fresh))
        });
        self.pending = met.collect();
    }

    /// The card of a message, and its form.
    fn dress(&self, items: &[&Item], more: bool) -> Option<(Card, Vec<u8>)> {
        let link = self.settings.link.as_str();
        let all: Vec<_> = items
            .iter()
            .filter_map(|it| {
                Some(Told { notice: &self.pending.get(&it.record.seq)?.notice, record: &it.record })
            })
            .collect();
        // The last word on each incident.
        let mut at = HashMap::new();
        let mut newest: Vec<(Told<'_>, bool)> = Vec::new();
        for told in all {
            let opens = told.notice.change == Change::Opened;
            let index = *at.entry((told.notice.test, told.notice.id.as_str())).or_insert(newest.len());
            match newest.get_mut(index) {
                Some(known) => *known = (told, known.1 || opens),
                None => newest.push((told, opens)),
            }
        }
        if let [(told, first)] = newest.as_slice() {
            let card = Card::of(*told, *first, link);
            let message = match items {
                [only] => only.body.clone(),
                _ => self.courier.message(&card, Some(told.record))?,
            };
            return Some((card, message));
        }
        let newest: Vec<_> = newest.into_iter().map(|it| it.0).collect();
        let card = Card::digest(&newest, more, link)?;
        let message = self.courier.message(&card, None)?;
        Some((card, message))
    }

    /// Sends one message. Whatever it told is settled then, unless it comes again.
    async fn send(&mut self, message: &Message, items: &[&Item]) -> Sent {
        let outcome = match self.dress(items, message.more) {
            Some((mut card, bytes)) => {
                card.events = items.iter().map(|it| it.record.seq).collect();
                self.courier.send(&card, bytes).await
            }
            None if items.len() == 1 => Outcome::Delivered,
            None => Outcome::Reject("it has no form for several at once".to_owned()),
        };
        match &outcome {
            Outcome::Delivered | Outcome::Duplicate => {
                self.most = self.most.saturating_mul(2);
                self.count(message);
            }
            Outcome::Wait(_) => {
                self.count(message);
                return Sent::Partly(outcome);
            }
            // One of them may spoil it: they go again, fewer at a time.
            Outcome::Reject(_) if self.incidents(items) > 1 => {
                self.most = self.incidents(items) / 2;
                return Sent::Again;
            }
            Outcome::Reject(_) => {}
            Outcome::Retry { .. } | Outcome::Hold(_) | Outcome::Gone(_) => {
                return Sent::Failed(outcome);
            }
        }
        for item in items {
            if let Some(pending) = self.pending.get_mut(&item.record.seq) {
                pending.settled = Some(outcome.clone());
            }
        }
        Sent::Settled
    }

    fn count(&mut self, message: &Message) {
        if message.counts {
            self.rate.spend(Instant::now());
        }
    }

    fn incidents(&self, items: &[&Item]) -> usize {
        let ids =
            items.iter().filter_map(|it| self.pending.get(&it.record.seq)).map(|it| it.notice.id.as_str());
        ids.collect::<std::collections::HashSet<_>>().len()
    }

    /// Whether something of the same incident that came before `place` is not settled.
    fn is_early(&self, batch: &[Item], place: usize) -> bool {
        let pending = |item: &Item| self.pending.get(&item.record.seq);
        let Some(it) = batch.get(place).and_then(pending) else { return false };
        let before = batch.iter().take(place).filter_map(pending);
        before.filter(|other| other.notice.id == it.notice.id).any(|other| other.settled.is_none())
    }

    async fn tell(&mut self, batch: &[Item]) -> Vec<Outcome> {
        let began = Instant::now();
        self.meet(batch);
        self.courier.forget_before(batch.first().map_or(0, |it| it.record.seq));
        let partly = self.courier.partly();
        let is_partly = |seq: u64| partly.iter().any(|it| it.0.contains(&seq));
        let is_open = |it: &Item| {
            let seq = it.record.seq;
            !is_partly(seq) && self.pending.get(&seq).is_some_and(|it| it.settled.is_none())
        };
        let open: Vec<_> = (0..batch.len()).filter(|it| batch.get(*it).is_some_and(is_open)).collect();
        let plan = self.plan(batch, &open);
        let place = |it: &usize| open.get(*it).copied();
        // What is not even tried in this delivery comes again at once.
        let mut outcomes = Outcomes(vec![Outcome::Wait(Duration::ZERO); batch.len()]);
        for (it, time) in &plan.waits {
            outcomes.note(place(it).as_slice(), &Outcome::Wait(*time));
        }
        let mut messages: Vec<(Vec<usize>, Message)> =
            plan.messages.into_iter().map(|it| (it.places.iter().filter_map(place).collect(), it)).collect();
        for (events, rest) in &partly {
            let told = places(batch, events);
            if rest.is_zero() {
                messages.push((told, Message::default()));
            } else {
                outcomes.note(&told, &Outcome::Wait(*rest));
            }
        }
        for (told, message) in messages.into_iter().filter(|it| !it.0.is_empty()).take(MESSAGES) {
            if began.elapsed() >= SENDING {
                break;
            }
            if message.ends && told.iter().any(|it| self.is_early(batch, *it)) {
                outcomes.note(&told, &Outcome::Wait(LOOK_AGAIN));
                continue;
            }
            let items: Vec<_> = told.iter().filter_map(|it| batch.get(*it)).collect();
            match self.send(&message, &items).await {
                Sent::Failed(outcome) => {
                    outcomes.note(&told, &outcome);
                    break;
                }
                Sent::Partly(outcome) => outcomes.note(&told, &outcome),
                Sent::Settled | Sent::Again => {}
            }
        }
        for (place, item) in batch.iter().enumerate() {
            if let Some(settled) = self.pending.get(&item.record.seq).and_then(|it| it.settled.as_ref()) {
                outcomes.note(&[place], settled);
            }
        }
        outcomes.0
    }
}

/// Where these records stand in a batch.
fn places(batch: &[Item], events: &[u64]) -> Vec<usize> {
    let of_them = batch.iter().enumerate().filter(|it| events.contains(&it.1.record.seq));
    of_them.map(|it| it.0).collect()
}

/// One for each item of a batch.
struct Outcomes(Vec<Outcome>);

impl Outcomes {
    fn note(&mut self, places: &[usize], outcome: &Outcome) {
        for place in places {
            if let Some(slot) = self.0.get_mut(*place) {
                slot.clone_from(outcome);
            }
        }
    }
}

/// How sending one message ended.
enum Sent {
    Settled,
    /// It comes again, in other company.
    Again,
    /// Some have it; to the others it goes again.
    Partly(Outcome),
    Failed(Outcome),
}

impl<C: Courier> Output for Channel<C> {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        let notice = Notice::of(record);
        if !self.wants(&notice) {
            return None;
        }
        let card = Card::of(Told { notice: &notice, record }, false, &self.settings.link);
        self.courier.message(&card, Some(record))
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(async move {
            let outcomes = self.tell(batch).await;
            // The engine hears of it now; should it offer them again, then because somebody wants that.
            self.pending.retain(|_, it| it.settled.is_none());
            Delivery::Each(outcomes)
        })
    }

    fn unsaved_max(&self) -> usize {
        MESSAGES
    }

    fn hurry(&mut self) {
        self.hurry = true;
    }

    fn keep_in(&mut self, folder: &Path, name: &str) {
        self.courier.keep_in(folder, name);
    }

    fn recall(&mut self, memory: Option<&str>) {
        self.courier.recall(memory);
    }

    fn memory(&self) -> Option<String> {
        self.courier.memory()
    }

    fn confirms(&self) -> &'static str {
        self.courier.confirms()
    }

    fn deadline(&self) -> Duration {
        self.courier.deadline() + SENDING
    }

    fn warning(&self) -> Option<String> {
        self.courier.warning()
    }
}
