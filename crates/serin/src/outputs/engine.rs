//! One output's task: reads the journal, hands batches over, acts on what became of them.
//!
//! At least once and in order: the cursor moves only past events that the receiver confirmed, that
//! it had already, that it does not want, or that are dead letters. An event that waits holds the
//! cursor, not the events of the same batch that got through. Nothing in here can reach another
//! output: it has its own task, its deliveries have a deadline, and a panic in one is a failure of
//! that delivery.

mod resume;
mod saving;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use serin_event::Record;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::backoff::Backoff;
use super::call::{Call, Lag, TICK, deliver, guard};
use super::delivery::Policy;
use super::feed::Feed;
use super::secret::Redactor;
use super::status::{OutputStatus, State, TestSeen};
use super::window::Window;
use super::{Delivery, Item, Outcome, Output, OutputConf};

/// What the manager wants of a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    /// Counts the requests to open everything anew.
    pub(crate) reopen: u64,
    /// Finish, by then.
    pub(crate) stop: Option<Instant>,
    /// Go on behind this number.
    pub(crate) go_to: Option<GoTo>,
}

/// The operator moves an output's cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GoTo {
    /// Tells this wish from the ones before.
    pub(crate) nth: u64,
    pub(crate) cursor: u64,
}

/// One output at work.
pub(crate) struct Task {
    conf: OutputConf,
    output: Box<dyn Output>,
    policy: Policy,
    redactor: Redactor,
    feed: Arc<dyn Feed>,
    stored: watch::Receiver<u64>,
    orders: watch::Receiver<Orders>,
    reopened: u64,
    went_to: Option<GoTo>,
    status: Arc<RwLock<OutputStatus>>,
    window: Window,
    backoff: Backoff,
    /// Most events of the next batch: less than the type's while a spoiled event is looked for.
    limit: usize,
    /// Panics in a row.
    panics: u32,
    /// The cursor as it was last saved, and when.
    saved: u64,
    /// How far that reached beyond what waits.
    saved_high: u64,
    saved_at: Instant,
    /// How many events were settled since it was known that the disk has it.
    unsaved: usize,
    saved_state: State,
    saved_memory: Option<String>,
    disabled: bool,
    /// Whether it is known where to start.
    begun: bool,
}

/// How long to wait before the next delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pause {
    time: Duration,
    /// Whether the output asked for it ([`Outcome::Wait`]), and so wants to see new events meanwhile.
    wanted: bool,
}

/// However little an output wants to wait: it must not become a busy loop.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);
/// Records asked for at once.
const FETCH: usize = 512;
/// How long to wait when stored records cannot be read.
const UNREADABLE: Duration = Duration::from_millis(250);
/// An event that makes its delivery panic so often, alone in its batch, is a dead letter.
const PANICS_MAX: u32 = 3;

impl Task {
    pub(crate) fn new(
        conf: OutputConf,
        output: Box<dyn Output>,
        policy: Policy,
        feed: Arc<dyn Feed>,
        orders: watch::Receiver<Orders>,
        status: Arc<RwLock<OutputStatus>>,
    ) -> Self {
        let stored = feed.stored();
        let newest = *stored.borrow();
        let Orders { reopen: reopened, go_to: went_to, .. } = *orders.borrow();
        let limit = conf.output.batch.events.max(1);
        let redactor = Redactor::new(&conf);
        let mut task = Self {
            conf,
            output,
            policy,
            redactor,
            feed,
            stored,
            orders,
            reopened,
            went_to,
            status,
            window: Window::after(newest),
            backoff: Backoff::new(),
            limit,
            panics: 0,
            saved: newest,
            saved_high: newest,
            saved_at: Instant::now(),
            unsaved: 0,
            saved_state: State::Ok,
            saved_memory: None,
            disabled: false,
            begun: false,
        };
        // Decided here if possible, so that what is stored from now on is not missed.
        let _ = task.begin();
        task
    }

    /// Finds out where to start. A cursor that cannot be read just now is not one that is not there.
    fn begin(&mut self) -> Result<(), String> {
        let saved = self.feed.saved(&self.conf.name)?;
        // When this task was made before the store was open, it is the store's end that counts.
        let end = self.window.read.max(self.feed.began().unwrap_or(0));
        let start = match saved {
            Some(cursor) => cursor.min(*self.stored.borrow()),
            None if self.policy.starts_at_beginning => 0,
            None => end,
        };
        self.window.read = start;
        self.saved = start;
        self.recall()?;
        self.begun = true;
        self.feed.save(&self.conf.name, start, self.state_text());
        Ok(())
    }

    /// Waits until it is known where to start. `false`: told to stop before that.
    async fn begin_at_last(&mut self) -> bool {
        while !self.begun {
            let before = self.status();
            match self.begin() {
                Ok(()) => self.status.write().state = State::Ok,
                Err(_) if self.stop().is_some() => return false,
                Err(why) => {
                    self.status.write().failed(State::BackingOff, &why);
                    sleep(UNREADABLE).await;
                }
            }
            self.tell_change(&before);
        }
        true
    }

    /// Works until it is told to stop.
    pub(crate) async fn run(mut self) {
        if !self.begin_at_last().await {
            return;
        }
        self.skip_delivered().await;
        while !self.is_over() {
            // An attempt that a stop overtakes did not know that it should hurry: it gets another.
            let stopping = self.stop().is_some();
            self.fill().await;
            let pause = if self.window.items.is_empty() {
                self.idle().await;
                None
            } else {
                self.linger().await;
                self.attempt().await
            };
            self.save_if_due().await;
            if let Some(pause) = pause {
                if stopping {
                    break;
                }
                let room = self.window.items.len() < self.conf.output.batch.events;
                self.wait(Instant::now() + pause.time, pause.wanted && room).await;
            }
        }
        self.finish().await;
    }

    fn stop(&self) -> Option<Instant> {
        self.orders.borrow().stop
    }

    /// Told to stop, and either done or out of time.
    fn is_over(&self) -> bool {
        let done = self.window.items.is_empty() && *self.stored.borrow() <= self.window.read;
        self.stop().is_some_and(|by| done || self.disabled || Instant::now() >= by)
    }

    /// Reads from the journal until there is a batch, or nothing more.
    async fn fill(&mut self) {
        let batch = self.conf.output.batch;
        let newest = *self.stored.borrow_and_update();
        if self.disabled {
            self.status.write().lost += newest.saturating_sub(self.window.read);
            self.window.read = newest;
            return;
        }
        while self.window.items.len() < batch.events.max(1)
            && self.window.bytes < batch.bytes
            && self.window.read < newest
        {
            let room = batch.events.max(1) - self.window.items.len();
            let records = self.feed.after(self.window.read, room.min(FETCH)).await;
            if records.is_empty() {
                break;
            }
            for record in records {
                self.take(record).await;
            }
        }
        self.show_lag();
    }

    async fn take(&mut self, record: Arc<Record>) {
        // Numbers have no gaps, unless retention or a damaged database took the events.
        let missing = record.seq.saturating_sub(self.window.read.saturating_add(1));
        if missing > 0 {
            self.status.write().lost += missing;
        }
        self.window.read = record.seq;
        if self.window.is_done(record.seq) || !self.policy.wants(&record) {
            return;
        }
        let record = self.policy.conceal(record);
        match catch_unwind(AssertUnwindSafe(|| self.output.encode(&record))) {
            Ok(Some(body)) => self.window.push(Item { record, body }),
            Ok(None) => {}
            Err(_) => self.bury(&record, "it cannot be encoded").await,
        }
    }

    async fn bury(&mut self, record: &Record, reason: &str) {
        let reason = self.redactor.clean(reason);
        let reason = reason.as_str();
        tracing::warn!(output = self.conf.name, seq = record.seq, reason, "an event was rejected");
        self.feed.dead(&self.conf.name, record, reason).await;
        let mut status = self.status.write();
        status.rejected += 1;
        status.last_error = Some(reason.to_owned());
    }

    /// Nothing to do: until something is stored, the cursor is to be saved, or an order comes.
    async fn idle(&mut self) {
        let unread = *self.stored.borrow() > self.window.read;
        let until = if unread {
            Instant::now() + UNREADABLE
        } else if self.has_moved() {
            self.next_save()
        } else {
            Instant::now() + TICK
        };
        self.wait(until, !unread).await;
        if self.disabled {
            // At its pace, not at that of an attack.
            self.wait(Instant::now() + TICK, false).await;
        }
    }

    /// Gives the first event company, where the type of output wants that.
    async fn linger(&mut self) {
        let batch = self.conf.output.batch;
        let until = Instant::now() + batch.linger;
        while !batch.linger.is_zero()
            && self.stop().is_none()
            && self.window.items.len() < self.limit.min(batch.events)
            && self.window.bytes < batch.bytes
            && self.wait(until, true).await == Woken::Stored
        {
            self.fill().await;
        }
    }

    /// Waits, and carries out orders meanwhile. An order ends the wait.
    async fn wait(&mut self, until: Instant, for_events: bool) -> Woken {
        if self.stop().is_some() {
            return Woken::Ordered;
        }
        loop {
            let mut tick = (Instant::now() + TICK).min(until);
            if self.has_moved() {
                tick = tick.min(self.next_save());
            }
            let woken = tokio::select! {
                biased;
                order = self.orders.changed() => if order.is_ok() { Woken::Ordered } else { Woken::Gone },
                _ = self.stored.changed(), if for_events => Woken::Stored,
                () = sleep_until(tick) => Woken::Time,
            };
            self.show_lag();
            match woken {
                Woken::Ordered => {
                    self.carry_out().await;
                    return woken;
                }
                // Without a manager there is nobody to stop for; never with the real one.
                Woken::Gone => sleep_until(tick).await,
                Woken::Time if Instant::now() < until => self.save_if_due().await,
                Woken::Stored | Woken::Time => return woken,
            }
        }
    }

    /// The operator's wish to open everything anew is also one to try again now.
    async fn carry_out(&mut self) {
        let Orders { reopen, go_to, .. } = *self.orders.borrow_and_update();
        if let Some(place) = go_to.filter(|_| go_to != self.went_to) {
            self.went_to = go_to;
            self.window.clear();
            self.window.read = place.cursor.min(*self.stored.borrow());
            self.backoff.reset();
            self.save().await;
        }
        if reopen != self.reopened {
            self.reopened = reopen;
            self.backoff.reset();
            let deadline = self.output.deadline();
            let _ = guard(self.output.reopen(), deadline).await;
        }
    }

    /// Hands one batch over. Returns how long to wait before the next.
    async fn attempt(&mut self) -> Option<Pause> {
        let count = self.window.batch(self.limit, self.conf.output.batch.bytes);
        if count == 0 {
            // An order took what had been read.
            return None;
        }
        let mut patience = self.output.deadline();
        if let Some(by) = self.stop() {
            patience = patience.min(by.saturating_duration_since(Instant::now()));
            self.output.hurry();
        }
        self.status.write().in_flight = count as u64;
        self.window.items.make_contiguous();
        let batch = self.window.items.as_slices().0.get(..count).unwrap_or_default();
        let lag = Lag {
            status: self.status.clone(),
            stored: self.stored.clone(),
            front: self.window.items.front().map(|it| &it.record),
        };
        let call = deliver(self.output.as_mut(), batch, patience, self.orders.clone(), &lag).await;
        self.status.write().in_flight = 0;
        let delivery = match call {
            Call::Done(delivery) => {
                self.panics = 0;
                delivery
            }
            Call::Late(after) => {
                Delivery::Whole(Outcome::retry(format!("no answer within {} s", after.as_secs())))
            }
            Call::Panicked => self.after_panic(count),
        };
        let before = self.status();
        let clean = |it: String| self.redactor.clean(&it);
        let (warning, receipt) = (self.output.warning().map(clean), self.output.receipt().map(clean));
        {
            let mut status = self.status.write();
            status.warning = warning;
            status.receipt = receipt;
            status.memory = self.output.memory();
        }
        let pause = self.settle(count, delivery).await;
        self.tell_change(&before);
        self.show_lag();
        pause
    }

    fn status(&self) -> OutputStatus {
        self.status.read().clone()
    }

    /// One line in the log for each change, not for each attempt.
    fn tell_change(&self, before: &OutputStatus) {
        let (output, now) = (&self.conf.name, self.status());
        let why = now.last_error.as_deref().unwrap_or_default();
        match now.state {
            state if state == before.state => {}
            State::Ok => tracing::info!(output, "the output delivers again"),
            State::BackingOff => {
                tracing::warn!(output, why, "the output cannot deliver just now; events are kept");
            }
            State::Hold => tracing::error!(output, why, "the output needs attention; events are kept"),
            State::Disabled => tracing::warn!(output, why, "the output is switched off until the next start"),
        }
        if let Some(warning) = now.warning.filter(|it| before.warning.as_ref() != Some(it)) {
            tracing::warn!(output, "{warning}");
        }
    }

    /// The output is of no use any more; a new one takes over.
    fn after_panic(&mut self, count: usize) -> Delivery {
        const WHY: &str = "the output failed in an unexpected way";
        self.panics += 1;
        if let Ok(fresh) = (self.conf.output.build)(&self.conf.conf) {
            self.output = fresh;
            self.output.keep_in(&self.feed.folder(), &self.conf.name);
            let memory = self.status.read().memory.clone();
            self.output.recall(memory.as_deref());
        }
        let spoiled = self.panics >= PANICS_MAX && count == 1;
        if spoiled {
            self.panics = 0;
        }
        // Which event it was is found like one that the receiver rejects.
        self.limit = (count / 2).max(1);
        Delivery::Whole(if spoiled { Outcome::Reject(WHY.to_owned()) } else { Outcome::retry(WHY) })
    }

    async fn settle(&mut self, count: usize, delivery: Delivery) -> Option<Pause> {
        let outcomes = match delivery {
            Delivery::Whole(Outcome::Reject(_)) if count > 1 => {
                self.limit = (count / 2).max(1);
                return None;
            }
            Delivery::Whole(outcome) => vec![outcome; count],
            Delivery::Each(outcomes) => outcomes,
        };
        let mut outcomes = outcomes.into_iter();
        let (mut at, mut good) = (0, false);
        let mut wait: Option<Duration> = None;
        let mut trouble: Option<(State, String, Option<Duration>)> = None;
        for _ in 0..count {
            let outcome =
                outcomes.next().unwrap_or_else(|| Outcome::retry("the output did not say what became of it"));
            match outcome {
                Outcome::Delivered | Outcome::Duplicate => {
                    good = true;
                    self.unsaved += 1;
                    let record = self.window.remove(at);
                    self.note_test(record.as_deref(), None);
                    let mut status = self.status.write();
                    match outcome {
                        Outcome::Duplicate => status.duplicate += 1,
                        _ => status.sent += 1,
                    }
                }
                Outcome::Reject(why) => {
                    if let Some(record) = self.window.remove(at) {
                        self.note_test(Some(&record), Some(&why));
                        self.bury(&record, &why).await;
                    }
                }
                Outcome::Retry { why, after } => {
                    at += 1;
                    self.status.write().retried += 1;
                    let before = trouble.take();
                    let after = before.as_ref().and_then(|it| it.2).max(after);
                    trouble = Some(match before {
                        Some((State::Hold, why, _)) => (State::Hold, why, after),
                        _ => (State::BackingOff, why, after),
                    });
                }
                Outcome::Wait(time) => {
                    at += 1;
                    wait = Some(wait.map_or(time, |it| it.min(time)));
                }
                Outcome::Hold(why) => {
                    at += 1;
                    trouble = Some((State::Hold, why, trouble.and_then(|it| it.2)));
                }
                Outcome::Gone(why) => return self.disable(&why),
            }
        }
        if good {
            self.backoff.reset();
            self.limit = self.limit.saturating_mul(2).min(self.conf.output.batch.events.max(1));
            self.status.write().succeeded();
        }
        let Some((state, why, after)) = trouble else {
            // Where something went, the rest need not wait for the sake of the processor.
            let wait = wait.filter(|it| !(good && it.is_zero()));
            return wait.map(|time| Pause { time: time.max(SHORTEST_WAIT), wanted: true });
        };
        self.failed(state, &why);
        Some(Pause { time: self.backoff.next(after), wanted: false })
    }

    /// Whoever makes a self-test wants to know what became of it here.
    fn note_test(&self, record: Option<&Record>, problem: Option<&str>) {
        if let Some(record) = record.filter(|it| it.is_selftest()) {
            let problem = problem.map(|it| self.redactor.clean(it));
            let confirmed = self.output.confirms().to_owned();
            self.status.write().selftest = Some(TestSeen { seq: record.seq, confirmed, problem });
        }
    }

    /// Notes what went wrong, without the secrets in it.
    fn failed(&self, state: State, why: &str) {
        let why = self.redactor.clean(why);
        self.status.write().failed(state, &why);
    }

    fn disable(&mut self, why: &str) -> Option<Pause> {
        self.disabled = true;
        self.status.write().lost += self.window.items.len() as u64;
        self.failed(State::Disabled, why);
        self.window.clear();
        None
    }

    async fn finish(&mut self) {
        self.show_lag();
        self.save().await;
        let _ = guard(self.output.close(), LAST_SYNC).await;
    }

    fn show_lag(&self) {
        if !self.has_moved() {
            self.status.write().tested = self.window.tested();
        }
        let front = self.window.items.front().map(|it| &it.record);
        Lag { status: self.status.clone(), stored: self.stored.clone(), front }.show(self.window.low_mark());
    }
}

/// A disk gets this long for the last sync, and a receiver for the farewell, even when the time for
/// stopping is over.
const LAST_SYNC: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    Stored,
    Time,
    Ordered,
    Gone,
}
