//! The thread that writes.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use serin_event::{Event, Record, kinds};
use serin_store::{DeadLetter, Error, Found, Lost, Options, Retention, Store};
use tokio::sync::{mpsc, oneshot};

use super::ring::Ring;
use super::{Command, RETRY_FIRST, Settlement, Shared, WAITING, WAITING_BYTES};
use crate::runtime::clock;

/// What the writer knows. A panic in it is survived: nothing here is half-done for long.
pub(super) struct Writer {
    /// `None` as long as it cannot be opened.
    pub(super) store: Option<Store>,
    /// What is wrong with the database, which is to be replaced.
    damage: Option<String>,
    pub(super) options: Options,
    /// For records in which the store speaks of itself.
    node_id: Arc<str>,
    shared: Arc<Shared>,
    /// Records that could not be written yet, oldest first.
    pub(super) waiting: Ring<Record>,
    /// Records that are just being written.
    pub(super) in_hand: Vec<Record>,
    /// Records given up, by kind.
    lost: BTreeMap<&'static str, u64>,
    pub(super) retry_at: Option<Instant>,
    failures: u32,
    /// Most records of the next transaction: fewer while one that makes us panic is looked for.
    limit: usize,
    /// Panics in a row.
    panics: u32,
    /// A deletion that was left unfinished, so that appending does not wait for it.
    more_to_retire: Option<Retention>,
    /// What readers will never see of what was deleted so far, to be told together.
    missed: BTreeMap<String, Lost>,
    /// Sees what is about to be written, and may panic.
    #[cfg(test)]
    pub(super) trap: fn(&[Record]),
}

/// What came in one go.
#[derive(Default)]
struct Round {
    records: usize,
    save: bool,
    flushed: Vec<oneshot::Sender<()>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Writer {
    /// One without a store yet.
    pub(super) fn new(options: Options, node_id: Arc<str>, shared: Arc<Shared>) -> Self {
        Self {
            store: None,
            damage: None,
            options,
            node_id,
            shared,
            waiting: Ring::new(WAITING, WAITING_BYTES),
            in_hand: Vec::new(),
            lost: BTreeMap::new(),
            retry_at: None,
            failures: 0,
            limit: BATCH,
            panics: 0,
            more_to_retire: None,
            missed: BTreeMap::new(),
            #[cfg(test)]
            trap: |_| (),
        }
    }

    /// Works until it is told to stop. Outlives its own mistakes.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        while catch_unwind(AssertUnwindSafe(|| self.serve(&mut queue))).is_err() {
            self.recover();
        }
    }

    fn serve(&mut self, queue: &mut mpsc::Receiver<Command>) {
        let mut last_batch = 0;
        while let Some(command) = queue.blocking_recv() {
            // Under load, a little patience makes one transaction of many; a lone event goes at once.
            if last_batch > 1 {
                thread::sleep(GATHER);
            }
            let mut round = Round::default();
            let mut next = Some(command);
            while let Some(command) = next {
                self.take(command, &mut round);
                next = if round.stop.is_some() {
                    // Nothing gets in any more, and what is in is not forgotten.
                    queue.close();
                    queue.blocking_recv()
                } else if round.records < BATCH {
                    queue.try_recv().ok()
                } else {
                    None
                };
            }
            last_batch = round.records;
            self.finish(round);
        }
    }

    fn take(&mut self, command: Command, round: &mut Round) {
        match command {
            Command::Append(record, _room) => {
                round.records += 1;
                self.line_up(*record);
            }
            Command::Save => round.save = true,
            Command::Retire(retention) => self.retire(retention),
            Command::Bury(letter) => self.bury(&letter),
            Command::Unbury { reader, seqs, done } => {
                let store = self.store.as_mut().ok_or_else(|| "the event store is not open".to_owned());
                let gone = store.and_then(|it| it.unbury(&reader, &seqs).map_err(|it| it.to_string()));
                // Whoever asked may have gone.
                let _ = done.send(gone);
            }
            Command::Settle(settlement, done) => {
                let _ = done.send(self.settle(*settlement));
            }
            Command::Damaged { reason, generation } => self.damaged(&reason, generation),
            Command::Flush(done) => round.flushed.push(done),
            Command::Stop(done) => round.stop = Some(done),
            #[cfg(test)]
            Command::Panic => panic!("on purpose"),
        }
    }

    fn finish(&mut self, round: Round) {
        if round.stop.is_some() {
            // The last chance.
            self.retry_at = None;
        }
        self.write();
        if round.save || round.stop.is_some() || !round.flushed.is_empty() {
            self.save_readers();
        }
        for done in round.flushed {
            let _ = done.send(());
        }
        if let Some(retention) = self.more_to_retire.take() {
            self.retire(retention);
        }
        if let Some(done) = round.stop {
            // Closed before anybody hears of it: the next sensor may open it at once.
            self.store = None;
            let _ = done.send(());
        }
    }

    /// Writes what waits.
    pub(super) fn write(&mut self) {
        // While it cannot write, the store is asked again only now and then.
        let patient = self.retry_at.is_some_and(|it| Instant::now() < it);
        if !patient && (self.store.is_some() || self.reopen()) {
            while !self.waiting.is_empty() && self.write_some() {}
        }
        self.shared.health.lock().waiting = self.waiting.len() + self.in_hand.len();
    }

    /// Writes one transaction's worth. Whether it could be.
    fn write_some(&mut self) -> bool {
        let Some(store) = &mut self.store else { return false };
        self.in_hand = self.waiting.take(self.limit);
        let started = Instant::now();
        #[cfg(test)]
        (self.trap)(&self.in_hand);
        // Cursors that moved go along: what was delivered is sent again after a crash otherwise.
        let moved = self.shared.moved.swap(false, Ordering::Relaxed);
        let states = if moved { self.shared.cursors() } else { Vec::new() };
        match store.append(&mut self.in_hand, &states) {
            Ok(()) => self.written(started.elapsed()),
            Err(error) => {
                self.shared.moved.fetch_or(moved, Ordering::Relaxed);
                self.put_back();
                self.failed(&error);
                return false;
            }
        }
        true
    }

    /// Writes what a reader found out, after what waits. A failure is the reader's to deal with.
    fn settle(&mut self, settlement: Settlement) -> Result<(), String> {
        self.write();
        let Settlement { mut records, incidents, gone, reader } = settlement;
        let Some(store) = &mut self.store else { return Err("the event store is not open".to_owned()) };
        let started = Instant::now();
        if let Err(error) = store.settle(&mut records, &incidents, &gone, &reader) {
            self.failed(&error);
            return Err(error.to_string());
        }
        // Here and not by the reader, so that an older state is never saved over this one.
        self.shared.readers.lock().states.insert(reader.name.clone(), reader);
        if !records.is_empty() {
            self.in_hand = records;
            self.written(started.elapsed());
        }
        Ok(())
    }

    /// Puts a record behind those that wait; the oldest give way when there are too many.
    pub(super) fn line_up(&mut self, record: Record) {
        self.waiting.push_back(record);
        while self.waiting.is_over()
            && let Some(given_up) = self.waiting.pop_front()
        {
            self.give_up(&given_up);
        }
    }

    fn give_up(&mut self, record: &Record) {
        *self.lost.entry(record.kind.name).or_default() += 1;
        self.shared.health.lock().lost += 1;
    }

    /// What was to be written waits again, before all others.
    fn put_back(&mut self) {
        for mut unwritten in std::mem::take(&mut self.in_hand).into_iter().rev() {
            unwritten.seq = 0;
            self.waiting.push_front(unwritten);
        }
    }

    fn written(&mut self, took: Duration) {
        self.shared.health.lock().last_commit = took;
        self.well();
        self.panics = 0;
        self.limit = self.limit.saturating_mul(2).min(BATCH);
        let batch = std::mem::take(&mut self.in_hand);
        let newest = batch.last().map_or(0, |it| it.seq);
        {
            let mut tail = self.shared.tail.lock();
            for record in batch {
                tail.push_back(Arc::new(record));
            }
            while tail.is_over() {
                tail.pop_front();
            }
        }
        self.shared.stored.send_replace(newest);
        if !self.lost.is_empty() {
            let lost = std::mem::take(&mut self.lost);
            let count: u64 = lost.values().sum();
            let kinds: Vec<_> = lost.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            self.alarm(&format!(
                "{count} events were lost while the store could not write: {}",
                kinds.join(", ")
            ));
        }
    }

    /// Nothing hinders any more.
    fn well(&mut self) {
        self.retry_at = None;
        self.failures = 0;
        if self.shared.health.lock().trouble.take().is_some() {
            tracing::info!("store writes again");
        }
    }

    fn failed(&mut self, error: &Error) {
        self.in_trouble(&error.to_string());
        if let Error::Corrupt { .. } = error {
            self.replace(&error.to_string());
        }
    }

    /// Notes that nothing can be written, and when to try again.
    pub(super) fn in_trouble(&mut self, why: &str) {
        self.failures = self.failures.saturating_add(1);
        let pause = RETRY_FIRST.saturating_mul(1 << self.failures.min(6)).min(RETRY_LAST);
        self.retry_at = Some(Instant::now() + pause);
        let first = self.shared.health.lock().trouble.replace(why.to_owned()).is_none();
        if first {
            tracing::error!("the store cannot write, events wait in memory: {why}");
        }
    }

    /// Somebody could not read. Two who meet one damage speak of one database.
    pub(super) fn damaged(&mut self, reason: &str, generation: u64) {
        if generation == self.shared.view.lock().generation && self.damage.is_none() {
            self.replace(reason);
        }
    }

    /// Moves a damaged database aside and starts a new one.
    pub(super) fn replace(&mut self, reason: &str) {
        self.store = None;
        self.damage = Some(reason.to_owned());
        self.reopen();
    }

    /// Opens the store, or replaces it where it is damaged. Whether that succeeded.
    fn reopen(&mut self) -> bool {
        let outcome = match &self.damage {
            Some(reason) => Store::replace(&self.options, reason),
            None => Store::open(&self.options),
        };
        let (store, opened) = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                self.in_trouble(&error.to_string());
                return false;
            }
        };
        self.damage = None;
        let last = store.last_seq();
        self.use_store(store);
        // After a panic: whatever has a number that is used up was stored.
        let stored = matches!(opened.found, Found::Existing { .. })
            && self.in_hand.last().is_some_and(|it| 0 < it.seq && it.seq <= last);
        if stored {
            self.written(Duration::ZERO);
        } else {
            self.put_back();
        }
        if let Some(text) = opened.alarm() {
            self.alarm(&text);
        }
        if self.waiting.is_empty() {
            self.well();
        }
        true
    }

    /// Writes to this store from now on.
    pub(super) fn use_store(&mut self, store: Store) {
        let last = store.last_seq();
        self.store = Some(store);
        self.retry_at = None;
        {
            let mut view = self.shared.view.lock();
            view.reader = None;
            view.generation += 1;
        }
        if self.shared.began.get().is_none() {
            self.shared.stored.send_replace(last);
            let _ = self.shared.began.set(last);
        }
        // A new database may not have them.
        self.shared.moved.store(true, Ordering::Relaxed);
    }

    /// After a panic: nothing of the store's own state is believed any more.
    pub(super) fn recover(&mut self) {
        const WHY: &str = "the event store failed in an unexpected way";
        self.store = None;
        self.panics += 1;
        if !self.in_hand.is_empty() {
            self.limit = (self.in_hand.len() / 2).max(1);
        }
        if self.panics == 1 {
            self.alarm(&format!("{WHY} and is opened anew"));
        }
        self.in_trouble(WHY);
        if self.panics >= PANICS_MAX && self.in_hand.len() == 1 {
            self.panics = 0;
            for spoiled in std::mem::take(&mut self.in_hand) {
                self.give_up(&spoiled);
            }
        }
    }

    pub(super) fn retire(&mut self, retention: Retention) {
        let floor = self.shared.readers.lock().floor();
        let Some(store) = &mut self.store else { return };
        match store.retain(&retention, clock::now(), floor) {
            Ok(swept) => {
                // Readers that nobody uses any more are still in the store, and miss nothing.
                let used = |name: &str| self.shared.readers.lock().is_used(name);
                for lost in swept.lost.into_iter().filter(|it| used(&it.reader)) {
                    let all =
                        self.missed.entry(lost.reader.clone()).or_insert(Lost { events: 0, ..lost.clone() });
                    all.events += lost.events;
                    (all.seqs.1, all.times.1) = (lost.seqs.1, lost.times.1);
                }
                if !swept.more {
                    self.tell_missed();
                }
                self.more_to_retire = swept.more.then_some(retention);
            }
            Err(error) => tracing::warn!(%error, "old events could not be deleted"),
        }
    }

    /// One event for each output that missed something.
    fn tell_missed(&mut self) {
        for (output, lost) in std::mem::take(&mut self.missed) {
            self.alarm(&format!(
                "output {output} lost {} events, {} to {}, from {} to {}: the store reached its largest size",
                lost.events,
                lost.seqs.0,
                lost.seqs.1,
                lost.times.0.rfc3339(),
                lost.times.1.rfc3339()
            ));
        }
    }

    pub(super) fn save_readers(&mut self) {
        let Some(store) = &mut self.store else { return };
        if !self.shared.moved.swap(false, Ordering::Relaxed) {
            return;
        }
        let states = self.shared.cursors();
        if let Err(error) = store.save_readers(&states) {
            self.shared.moved.store(true, Ordering::Relaxed);
            tracing::warn!(%error, "outputs' positions could not be saved");
        }
    }

    fn bury(&mut self, letter: &DeadLetter) {
        let buried = match &mut self.store {
            Some(store) => store.bury(std::slice::from_ref(letter)).map_err(|it| it.to_string()),
            None => Err("the event store is not open".to_owned()),
        };
        if let Err(why) = buried {
            let (output, seq) = (&letter.reader, letter.seq);
            tracing::error!(why, output, seq, "a rejected event could not be put aside");
        }
    }

    /// Says it in the log and as an event.
    fn alarm(&mut self, text: &str) {
        tracing::error!("{text}");
        self.line_up(self.note(text));
    }

    /// A record in which the store speaks of itself.
    fn note(&self, text: &str) -> Record {
        let time = clock::now();
        let event = Event::saying(&kinds::ERROR, text.to_owned());
        Record::of(&event, time, clock::utc_offset(time), self.node_id.clone())
    }
}

/// Most records of one transaction.
const BATCH: usize = 1000;
/// How long the writer gathers under load.
const GATHER: Duration = Duration::from_millis(4);
const RETRY_LAST: Duration = Duration::from_secs(5);
/// A record that makes the store panic so often, alone in its transaction, is given up.
const PANICS_MAX: u32 = 3;
