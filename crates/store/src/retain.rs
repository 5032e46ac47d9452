//! Forgetting: by age, and by size.
//!
//! In small steps, because the writer waits meanwhile: each call of [`Store::retain`] works for a few
//! milliseconds and says whether there is more to do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rusqlite::{Transaction, params};
use serin_event::Timestamp;

use crate::reader::USED_BYTES;
use crate::rollup::HOUR;
use crate::schema::{SPAN, integer, text, unsigned};
use crate::{Error, Store};

/// How much to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Events older than this go, once all readers are past them.
    pub keep: Duration,
    /// Counts by hour, and incidents closed, that are older than this go.
    pub keep_counts: Duration,
    /// Bytes of the database. Beyond it counts from before the oldest event go, then the oldest
    /// events, whether readers are past them or not.
    pub max_bytes: u64,
}

/// What one step did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retained {
    /// Events deleted.
    pub events: u64,
    /// Rows of counts deleted.
    pub counts: u64,
    /// Incidents deleted.
    pub incidents: u64,
    /// What readers will never see, because the size was exceeded.
    pub lost: Vec<Lost>,
    /// Whether there is more to delete or to give back: call again after the next batch.
    pub more: bool,
}

/// Events that were deleted before a reader had seen them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The reader's name. It may be one that is not used any more.
    pub reader: String,
    /// How many.
    pub events: u64,
    /// Lowest and highest number among them.
    pub seqs: (u64, u64),
    /// Times of these two.
    pub times: (Timestamp, Timestamp),
}

/// How long a step works before it commits. A commit and its sync come on top.
const STEP: Duration = Duration::from_millis(5);

/// Rows deleted between two looks at the clock.
const ROWS: i64 = 200;

/// Incidents kept at most, however young.
const INCIDENTS_MAX: i64 = 100_000;

/// Free pages that stay in the file for the next events.
const SPARE_PAGES: i64 = 256;

/// Free pages given back to the file system in one step.
const VACUUM_PAGES: i64 = 64;

impl Store {
    /// Deletes some of what is too old or too much. `floor` is the number up to which every reader that
    /// is in use is done; anything above the highest number where there is none.
    ///
    /// # Errors
    ///
    /// As [`Store::append`]; nothing is deleted then.
    pub fn retain(&mut self, retention: &Retention, now: Timestamp, floor: u64) -> Result<Retained, Error> {
        let until = Instant::now() + STEP;
        let floor = floor.min(self.last);
        let mut retained = self.change(|transaction| {
            let mut step = Step { transaction, until, retained: Retained::default() };
            step.by_size(retention.max_bytes)?;
            step.by_age(before(now, retention.keep), floor)?;
            step.old_counts(before(now, retention.keep_counts).div_euclid(HOUR))?;
            step.old_incidents(before(now, retention.keep_counts))?;
            let deleted = step.retained.events.cast_signed();
            if deleted > 0 {
                transaction
                    .prepare_cached("UPDATE counters SET value = value - ?1 WHERE name = 'events'")?
                    .execute([deleted])?;
            }
            Ok(step.retained)
        })?;
        retained.more |= self.give_back()?;
        Ok(retained)
    }

    /// Shortens the file a little. Whether it could be shortened further.
    fn give_back(&self) -> Result<bool, Error> {
        let vacuumed = (|| {
            let free = |it: &rusqlite::Connection| {
                it.query_row("PRAGMA freelist_count", (), |row| row.get::<_, i64>(0))
            };
            let spare = free(&self.connection)? - SPARE_PAGES;
            if spare <= 0 {
                return Ok(false);
            }
            let pages = spare.min(VACUUM_PAGES);
            let mut statement = self.connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut rows = statement.query(())?;
            while rows.next()?.is_some() {}
            Ok(spare > pages)
        })();
        vacuumed.map_err(|source| Error::from_sqlite(&self.path, source))
    }
}

fn before(now: Timestamp, age: Duration) -> i64 {
    now.0.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX))
}

/// One call's work, inside its transaction.
struct Step<'t> {
    transaction: &'t Transaction<'t>,
    until: Instant,
    retained: Retained,
}

impl Step<'_> {
    /// Whether the time is over; then there is more to do.
    fn over(&mut self) -> bool {
        self.retained.more = Instant::now() > self.until;
        self.retained.more
    }

    fn by_size(&mut self, max_bytes: u64) -> rusqlite::Result<()> {
        let mut readers = Vec::new();
        {
            let mut statement = self.transaction.prepare_cached("SELECT name, cursor FROM readers")?;
            let mut rows = statement.query(())?;
            while let Some(row) = rows.next()? {
                readers.push((text(row, 0), unsigned(row, 1)));
            }
        }
        let mut lost = BTreeMap::new();
        loop {
            let used =
                self.transaction.prepare_cached(USED_BYTES)?.query_row((), |row| Ok(unsigned(row, 0)))?;
            if used <= max_bytes {
                break;
            }
            // At least one round even when late, so that every call makes progress.
            if self.counts_before_events()? == 0 && self.oldest_events(&readers, &mut lost)? == 0 {
                break;
            }
            if self.over() {
                break;
            }
        }
        self.retained.lost = lost.into_values().collect();
        Ok(())
    }

    /// Deletes counts of hours of which no event is left. How many rows.
    fn counts_before_events(&mut self) -> rusqlite::Result<usize> {
        let earliest: Option<i64> = self
            .transaction
            .prepare_cached("SELECT min(earliest) FROM spans")?
            .query_row((), |row| row.get(0))?;
        self.delete_counts(earliest.map_or(i64::MAX, |it| it.div_euclid(HOUR)))
    }

    fn delete_counts(&mut self, before_hour: i64) -> rusqlite::Result<usize> {
        let mut statement = self.transaction.prepare_cached(
            "DELETE FROM rollups WHERE (hour, kind, source) IN \
             (SELECT hour, kind, source FROM rollups WHERE hour < ?1 ORDER BY hour LIMIT ?2)",
        )?;
        let rows = statement.execute([before_hour, ROWS])?;
        self.retained.counts += rows as u64;
        Ok(rows)
    }

    fn old_counts(&mut self, before_hour: i64) -> rusqlite::Result<()> {
        while !self.over() && self.delete_counts(before_hour)? > 0 {}
        Ok(())
    }

    /// Deletes incidents that were closed before `time`, and the oldest of too many. Open ones stay.
    fn old_incidents(&mut self, time: i64) -> rusqlite::Result<()> {
        while !self.over() {
            let mut statement = self.transaction.prepare_cached(
                "DELETE FROM incidents WHERE rowid IN (SELECT rowid FROM incidents WHERE closed < ?1 \
                 OR (closed IS NOT NULL AND seq <= (SELECT seq FROM incidents ORDER BY seq DESC LIMIT 1 OFFSET ?2)) \
                 ORDER BY seq LIMIT ?3)",
            )?;
            let rows = statement.execute([time, INCIDENTS_MAX, ROWS])?;
            self.retained.incidents += rows as u64;
            if rows == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Deletes the events with the lowest numbers. How many.
    fn oldest_events(
        &mut self,
        readers: &[(String, u64)],
        lost: &mut BTreeMap<String, Lost>,
    ) -> rusqlite::Result<usize> {
        let mut statement =
            self.transaction.prepare_cached("SELECT seq, time FROM events ORDER BY seq LIMIT ?1")?;
        let mut rows = statement.query([ROWS])?;
        let mut highest = None;
        while let Some(row) = rows.next()? {
            let (seq, time) = (unsigned(row, 0), Timestamp(integer(row, 1)));
            highest = Some(seq);
            for (reader, _) in readers.iter().filter(|it| it.1 < seq) {
                let entry = lost.entry(reader.clone()).or_insert_with(|| Lost {
                    reader: reader.clone(),
                    events: 0,
                    seqs: (seq, seq),
                    times: (time, time),
                });
                entry.events += 1;
                entry.seqs.1 = seq;
                entry.times.1 = time;
            }
        }
        let Some(highest) = highest else { return Ok(0) };
        let mut statement = self.transaction.prepare_cached("DELETE FROM events WHERE seq <= ?1")?;
        let deleted = statement.execute([highest.cast_signed()])?;
        // The span of `highest` may now say too much, which costs a look and nothing else.
        let mut statement = self.transaction.prepare_cached("DELETE FROM spans WHERE span < ?1")?;
        statement.execute([(highest / SPAN).cast_signed()])?;
        self.retained.events += deleted as u64;
        Ok(deleted)
    }

    /// Deletes events from before `time` with numbers up to `floor`. Span by span, so that an event
    /// whose time lies in the future because of a wrong clock keeps none of the others.
    fn by_age(&mut self, time: i64, floor: u64) -> rusqlite::Result<()> {
        let mut from = 0;
        while !self.over() {
            let span: Option<i64> = self
                .transaction
                .prepare_cached(
                    "SELECT min(span) FROM spans WHERE span >= ?1 AND span <= ?2 AND earliest < ?3",
                )?
                .query_row(params![from, (floor / SPAN).cast_signed(), time], |row| row.get(0))?;
            let Some(span) = span else { break };
            from = span + i64::from(self.old_in_span(span, time, floor)? < ROWS.unsigned_abs());
        }
        Ok(())
    }

    fn old_in_span(&mut self, span: i64, time: i64, floor: u64) -> rusqlite::Result<u64> {
        let first = span * SPAN.cast_signed();
        let last = first + SPAN.cast_signed() - 1;
        let mut statement = self.transaction.prepare_cached(
            "DELETE FROM events WHERE seq IN (SELECT seq FROM events NOT INDEXED \
             WHERE seq >= ?1 AND seq <= ?2 AND time < ?3 ORDER BY seq LIMIT ?4)",
        )?;
        let deleted = statement.execute(params![first, last.min(floor.cast_signed()), time, ROWS])? as u64;
        self.retained.events += deleted;
        if deleted < ROWS.unsigned_abs() {
            let earliest: Option<i64> = self
                .transaction
                .prepare_cached("SELECT min(time) FROM events NOT INDEXED WHERE seq >= ?1 AND seq <= ?2")?
                .query_row([first, last], |row| row.get(0))?;
            match earliest {
                Some(earliest) => self
                    .transaction
                    .prepare_cached("UPDATE spans SET earliest = ?2 WHERE span = ?1")?
                    .execute([span, earliest])?,
                None => {
                    self.transaction.prepare_cached("DELETE FROM spans WHERE span = ?1")?.execute([span])?
                }
            };
        }
        Ok(deleted)
    }
}
