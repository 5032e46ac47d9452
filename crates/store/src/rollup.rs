//! Counts by hour, kind and source, so that overviews need not look at each event.
//!
//! They are written with the events, in the same transaction. Sources can be forged, so an hour
//! keeps at most [`SOURCES_MAX`] of them for each kind; all further ones share one row.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::IpAddr;

use rusqlite::{Row, Transaction, params};
use serin_event::{Kind, Record, Timestamp};

use crate::reader::Reader;
use crate::schema::{Host, address, integer, unsigned};
use crate::{Error, schema};

/// Sources that are counted one by one in an hour, for each kind.
#[cfg(not(test))]
pub(crate) const SOURCES_MAX: u32 = 10_000;
#[cfg(test)]
pub(crate) const SOURCES_MAX: u32 = 50;

/// Microseconds.
pub(crate) const HOUR: i64 = 3_600_000_000;

/// Stands for all sources beyond the limit; no address has one byte.
const OTHERS: &[u8] = &[0];

/// What the batch at hand adds.
#[derive(Debug, Default)]
pub(crate) struct Rollups {
    batch: BTreeMap<(i64, i64, Option<Host>), Tally>,
    /// Sources so far by hour and kind, of hours that were written lately.
    sources: HashMap<(i64, i64), u32>,
}

#[derive(Debug)]
struct Tally {
    count: u64,
    first: i64,
    last: i64,
}

impl Rollups {
    pub(crate) fn add(&mut self, record: &Record, kind: i64, source: Option<Host>) {
        let time = record.time.0;
        let tally = self.batch.entry((time.div_euclid(HOUR), kind, source)).or_insert(Tally {
            count: 0,
            first: time,
            last: time,
        });
        tally.count += 1;
        tally.first = tally.first.min(time);
        tally.last = tally.last.max(time);
    }

    pub(crate) fn write(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut update = transaction.prepare_cached(
            "UPDATE rollups SET count = count + ?4, first = min(first, ?5), last = max(last, ?6) \
             WHERE hour = ?1 AND kind = ?2 AND source = ?3",
        )?;
        let mut insert = transaction.prepare_cached(
            "INSERT INTO rollups (hour, kind, source, count, first, last) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (hour, kind, source) DO UPDATE \
             SET count = count + ?4, first = min(first, ?5), last = max(last, ?6)",
        )?;
        // The clock may jump between hours; what is forgotten here is only counted again.
        if self.sources.len() > 1000 {
            self.sources.clear();
        }
        for ((hour, kind, source), tally) in std::mem::take(&mut self.batch) {
            let source = source.as_ref().map_or(&[][..], Host::bytes);
            let count = tally.count.cast_signed();
            if update.execute(params![hour, kind, source, count, tally.first, tally.last])? > 0 {
                continue;
            }
            let known = match self.sources.get(&(hour, kind)) {
                Some(known) => *known,
                None => transaction
                    .prepare_cached("SELECT count(*) FROM rollups WHERE hour = ?1 AND kind = ?2")?
                    .query_row([hour, kind], |row| row.get(0))?,
            };
            let full = known >= SOURCES_MAX;
            let source = if full { OTHERS } else { source };
            insert.execute(params![hour, kind, source, count, tally.first, tally.last])?;
            self.sources.insert((hour, kind), if full { known } else { known + 1 });
        }
        Ok(())
    }
}

/// Which counts, and summed over what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RollupQuery {
    /// From the hour that contains this time.
    pub since: Option<Timestamp>,
    /// Up to the hour that contains the moment before this time.
    pub until: Option<Timestamp>,
    /// Only these kinds, by name; empty for all.
    pub kinds: Vec<String>,
    /// Only this source.
    pub source: Option<IpAddr>,
    /// One row for each hour, in order of time.
    pub by_hour: bool,
    /// One row for each kind.
    pub by_kind: bool,
    /// One row for each source.
    pub by_source: bool,
    /// At most so many rows, the largest counts first; without it all, by hour, kind and source.
    pub top: Option<usize>,
}

/// A count of events. What was not asked for by [`RollupQuery`] is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollup {
    /// When the hour begins.
    pub hour: Option<Timestamp>,
    /// The kind.
    pub kind: Option<&'static Kind>,
    /// The source.
    pub source: Option<RollupSource>,
    /// How many events.
    pub count: u64,
    /// The time of the earliest of them.
    pub first: Timestamp,
    /// The time of the latest of them.
    pub last: Timestamp,
}

/// Whose events were counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollupSource {
    /// This address's.
    Host(IpAddr),
    /// Nobody's: the sensor's own.
    None,
    /// Those of all sources beyond the number that is kept for an hour.
    Others,
}

impl Reader {
    /// Counts by hour, kind and source, or sums over some of them. Takes the same time however many
    /// events there are; the counts outlive the events (see [`crate::Retention::keep_counts`]).
    ///
    /// # Errors
    ///
    /// As [`Reader::query`].
    pub fn rollups(&self, query: &RollupQuery) -> Result<Vec<Rollup>, Error> {
        let mut columns = Vec::new();
        for (wanted, column) in
            [(query.by_hour, "hour"), (query.by_kind, "kind"), (query.by_source, "source")]
        {
            if wanted {
                columns.push(column);
            }
        }
        let mut sql = String::from("SELECT ");
        for (wanted, column) in
            [(query.by_hour, "hour"), (query.by_kind, "kind"), (query.by_source, "source")]
        {
            sql += if wanted { column } else { "NULL" };
            sql += ", ";
        }
        sql += "sum(count), min(first), max(last) FROM rollups WHERE hour >= ?1 AND hour <= ?2";
        let since = query.since.map_or(i64::MIN, |it| it.0.div_euclid(HOUR));
        let until = query.until.map_or(i64::MAX, |it| it.0.saturating_sub(1).div_euclid(HOUR));
        let host = query.source.map(Host::from);
        if host.is_some() {
            sql += " AND source = ?3";
        } else {
            sql += " AND ?3 IS NULL";
        }
        self.ask(|connection, names| {
            if !query.kinds.is_empty() {
                let ids = names.kinds.iter().filter(|it| query.kinds.iter().any(|name| name == it.1.name));
                let _ = write!(sql, " AND kind IN ({})", listed(ids.map(|it| *it.0)));
            }
            if columns.is_empty() {
                // Without a group, sum() makes a row of nothing.
                sql += " HAVING count(*) > 0";
            } else {
                let _ = write!(sql, " GROUP BY {}", columns.join(", "));
            }
            match query.top {
                Some(top) => {
                    let _ = write!(sql, " ORDER BY sum(count) DESC, min(first) LIMIT {top}");
                }
                None if !columns.is_empty() => {
                    let _ = write!(sql, " ORDER BY {}", columns.join(", "));
                }
                None => {}
            }
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![since, until, host.as_ref().map(Host::bytes)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(rollup(row, query, names));
            }
            Ok(found)
        })
    }
}

fn rollup(row: &Row<'_>, query: &RollupQuery, names: &schema::Names) -> Rollup {
    let unknown = &serin_event::kinds::UNKNOWN;
    let source = || match row.get_ref(2).ok().and_then(|it| it.as_blob().ok()) {
        Some(OTHERS) => RollupSource::Others,
        Some(bytes) => address(bytes).map_or(RollupSource::None, RollupSource::Host),
        None => RollupSource::None,
    };
    Rollup {
        hour: query.by_hour.then(|| Timestamp(integer(row, 0).saturating_mul(HOUR))),
        kind: query.by_kind.then(|| names.kinds.get(&integer(row, 1)).copied().unwrap_or(unknown)),
        source: query.by_source.then(source),
        count: unsigned(row, 3),
        first: Timestamp(integer(row, 4)),
        last: Timestamp(integer(row, 5)),
    }
}

/// Numbers as SQL lists them.
pub(crate) fn listed(numbers: impl Iterator<Item = i64>) -> String {
    let mut text = String::new();
    for number in numbers {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{number}");
    }
    text
}
