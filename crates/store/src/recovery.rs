//! Opening: what kind of file is there, is it whole, and what to do when it is not.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use serin_event::{Record, Timestamp};

use crate::error::Error;
use crate::incidents::IncidentQuery;
use crate::mark::{BLOCK, Mark, Noted, beside};
use crate::reader::Reader;
use crate::schema::{APPLICATION_ID, STEPS, VERSION};
use crate::writer::{Durability, Found, Opened, Options, Store};

/// How long to wait for another connection: only a checkpoint can make one wait, and briefly.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens the store; `damaged` says what is wrong with the file, if that is known already.
pub(crate) fn open(options: &Options, damaged: Option<&str>) -> Result<(Store, Opened), Error> {
    let path = &options.path;
    let synced = options.durability == Durability::Full;
    let (mark, noted) = Mark::lock(path, synced)?;
    let reserved = noted.map_or(0, |it| it.reserved);
    if !path.exists() {
        let store = fresh(options, mark, reserved)?;
        return Ok((
            store,
            Opened { found: Found::Fresh, last_seq: reserved, lost: noted.map_or(0, |it| it.acknowledged) },
        ));
    }
    let clean = noted.map_or_else(|| !beside(path, "-wal").exists(), |it| it.clean);
    let found = match damaged {
        // Left by a replacement that failed half-way: nothing to move aside.
        Some(_) if is_empty(path) => Ok(None),
        Some(reason) => Err(Error::Corrupt { path: path.clone(), reason: reason.to_owned() }),
        None => existing(options, clean).map_err(|error| damage(error, path)),
    };
    match found {
        Ok(Some((connection, last))) => {
            let next = continue_after(last, noted);
            // What a cut power took was never noted: under `Full` there is nothing of the kind.
            let missing = noted.map_or(0, |it| it.acknowledged.saturating_sub(last));
            let mut store = Store::new(connection, mark, path, last);
            store.skip_to(next)?;
            Ok((store, Opened { found: Found::Existing { clean }, last_seq: next, lost: missing }))
        }
        Ok(None) => {
            let store = fresh(options, mark, reserved)?;
            Ok((
                store,
                Opened {
                    found: Found::Fresh,
                    last_seq: reserved,
                    lost: noted.map_or(0, |it| it.acknowledged),
                },
            ))
        }
        Err(Error::Corrupt { reason, .. }) => replace(options, mark, noted, reason),
        Err(error) => Err(error),
    }
}

/// The number after which to go on, when the database ends with `last`.
fn continue_after(last: u64, noted: Option<Noted>) -> u64 {
    let Some(noted) = noted else { return last };
    if noted.clean && last >= noted.acknowledged {
        last
    } else if noted.same_boot {
        // Notes are only lost with the machine, so no higher number was used.
        last.max(noted.acknowledged)
    } else if noted.synced && last >= noted.acknowledged {
        last
    } else {
        last.max(noted.reserved)
    }
}

impl Store {
    /// Numbers up to `last` are used up.
    fn skip_to(&mut self, last: u64) -> Result<(), Error> {
        self.mark.reserve(last)?;
        self.mark.acknowledge(last);
        if last > self.last {
            self.change(|transaction| {
                transaction
                    .execute("UPDATE counters SET value = ?1 WHERE name = 'last_seq'", [last.cast_signed()])
            })?;
            self.last = last;
        }
        Ok(())
    }
}

/// A new store whose first event gets the number after `last`.
fn fresh(options: &Options, mark: Mark, last: u64) -> Result<Store, Error> {
    let path = &options.path;
    for ending in ["-wal", "-shm"] {
        // Of a database that is gone; SQLite would delete them as well.
        let _ = std::fs::remove_file(beside(path, ending));
    }
    if !path.exists() {
        // SQLite gives its other files the same mode.
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(Error::io("create", path))?;
    }
    let connection = connect(options)?;
    let mut store = Store::new(connection, mark, path, 0);
    store.skip_to(last)?;
    Ok(store)
}

/// Opens a database that is there and looks whether it is whole. With the highest number in it;
/// nothing if it is empty.
fn existing(options: &Options, clean: bool) -> Result<Option<(Connection, u64)>, Error> {
    let path = &options.path;
    let failed = |source| Error::from_sqlite(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let first = Connection::open_with_flags(path, flags).map_err(failed)?;
    if let State::Empty = state(&first, path)? {
        return Ok(None);
    }
    drop(first);
    let mut connection = connect(options)?;
    // After an orderly end only the medium can have done harm: a shorter look must do.
    let limit = if clean { options.check_limit / 25 } else { options.check_limit };
    quick_check(&mut connection, path, limit)?;
    let number = |sql| connection.query_row(sql, (), |row| row.get::<_, i64>(0)).map_err(failed);
    let last = number("SELECT value FROM counters WHERE name = 'last_seq'")?;
    let highest = number("SELECT coalesce(max(seq), 0) FROM events")?;
    if last < highest || last >= i64::MAX / 4 {
        return Err(Error::Corrupt { path: path.clone(), reason: "the count of events is wrong".to_owned() });
    }
    Ok(Some((connection, last.cast_unsigned())))
}

/// A damaged header can ask to be read only although the file can be written.
fn damage(error: Error, path: &Path) -> Error {
    match &error {
        Error::Sqlite { source, .. }
            if source.sqlite_error_code() == Some(ErrorCode::ReadOnly)
                && OpenOptions::new().write(true).open(path).is_ok() =>
        {
            Error::Corrupt { path: path.to_owned(), reason: source.to_string() }
        }
        _ => error,
    }
}

/// Opens for writing, and makes or brings up to date what is inside.
fn connect(options: &Options) -> Result<Connection, Error> {
    let path = &options.path;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connected = (|| {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(32);
        // The first two only have a meaning before there is anything in the file.
        connection.pragma_update(None, "page_size", 4096)?;
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let synchronous = match options.durability {
            Durability::Full => "FULL",
            Durability::Normal => "NORMAL",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        // Pages. A checkpoint copies and syncs at most about so many, which is what the one append
        // that runs into it waits for.
        connection.pragma_update(None, "wal_autocheckpoint", 1000)?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        connection.pragma_update(None, "cache_size", -16 * 1024)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        // Rows of a damaged file are checked while they are read.
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        migrate(&connection)?;
        Ok(connection)
    })();
    connected.map_err(|source| Error::from_sqlite(path, source))
}

fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    let from: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if from >= VERSION {
        return Ok(());
    }
    let transaction = connection.unchecked_transaction()?;
    for step in STEPS.iter().skip(usize::try_from(from).unwrap_or_default()) {
        transaction.execute_batch(step)?;
    }
    transaction.execute("UPDATE counters SET value = ?1 WHERE name = 'format'", [VERSION])?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()
}

/// What a file that SQLite can open is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing in it yet.
    Empty,
    /// A store of this format.
    Version(i32),
}

/// What the database is, as far as its header and its list of tables say.
pub(crate) fn state(connection: &Connection, path: &Path) -> Result<State, Error> {
    let failed = |source| Error::from_sqlite(path, source);
    let number = |sql| connection.query_row(sql, (), |row| row.get::<_, i32>(0)).map_err(failed);
    let corrupt = |reason: &str| Err(Error::Corrupt { path: path.to_owned(), reason: reason.to_owned() });
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let ours = number(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('counters', 'events', 'readers')",
    )? == 3;
    if tables == 0 && (application == 0 || application == APPLICATION_ID) {
        // A new file has a header page and perhaps a second one. More pages without tables, or less
        // than a page, are what is left of something.
        let bytes = std::fs::metadata(path).map_or(0, |it| it.len());
        if bytes == 0 || (bytes >= 512 && number("PRAGMA page_count")? <= 2) {
            return Ok(State::Empty);
        }
        return corrupt("its tables are missing");
    }
    match (application == APPLICATION_ID, ours) {
        (false, false) => return Err(Error::Foreign { path: path.to_owned() }),
        (true, false) => return corrupt("its tables are missing"),
        (false, true) => return corrupt("its application id is wrong"),
        (true, true) => {}
    }
    // Twice, so that a flipped bit does not pass for a newer version.
    if number("SELECT value FROM counters WHERE name = 'format'")? != version {
        return corrupt("its format is written in two ways");
    }
    if version > VERSION {
        return Err(Error::TooNew { path: path.to_owned(), found: version, known: VERSION });
    }
    Ok(State::Version(version))
}

fn is_empty(path: &Path) -> bool {
    Reader::open_unchecked(path).is_ok_and(|it| it.state().is_ok_and(|it| it == State::Empty))
}

/// Checks every page, until `limit` is over. What lies beyond is checked when it is read.
fn quick_check(connection: &mut Connection, path: &Path, limit: Duration) -> Result<(), Error> {
    let failed = |source| Error::from_sqlite(path, source);
    let deadline = Instant::now() + limit;
    connection.progress_handler(1000, Some(move || Instant::now() > deadline)).map_err(failed)?;
    let verdict = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get::<_, String>(0));
    connection.progress_handler(0, None::<fn() -> bool>).map_err(failed)?;
    match verdict.map_err(failed) {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(reason) => Err(Error::Corrupt { path: path.to_owned(), reason }),
        Err(Error::Slow) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Moves the damaged database aside and starts a new one with what can be read of the old.
fn replace(
    options: &Options,
    mark: Mark,
    noted: Option<Noted>,
    reason: String,
) -> Result<(Store, Opened), Error> {
    let to = move_aside(&options.path)?;
    let old = Reader::open_unchecked(&to).ok();
    let last = match noted {
        Some(noted) => noted.reserved,
        None => old
            .as_ref()
            .and_then(|it| it.before(u64::MAX / 4, 1).ok()?.pop())
            .map_or(BLOCK, |highest| highest.seq.saturating_add(BLOCK)),
    };
    let mut store = fresh(options, mark, last)?;
    let (mut salvaged, mut cursors) = (0, false);
    if let Some(old) = old {
        cursors = old.readers().is_ok_and(|readers| {
            // A cursor beyond the highest number would hide events for ever.
            let believable: Vec<_> = readers.into_iter().filter(|it| it.cursor <= last).collect();
            store.save_readers(&believable).is_ok()
        });
        if let Ok(readers) = old.readers() {
            for reader in readers {
                let letters = old.dead_letters(&reader.name, usize::MAX).unwrap_or_default();
                // They are the least: their loss does not hinder the rest.
                let _ = store.bury(&letters);
            }
        }
        // An incident that is still open is told of further; who acknowledged what is a person's work.
        if let Ok(incidents) = old.incidents(&IncidentQuery { limit: usize::MAX, ..IncidentQuery::default() })
        {
            let _ = store.adopt(&incidents);
        }
        salvaged = salvage(&old, &mut store, options.salvage_limit);
    }
    let found = Found::MovedAside { to, reason, salvaged, cursors };
    Ok((store, Opened { found, last_seq: last, lost: 0 }))
}

fn move_aside(path: &Path) -> Result<PathBuf, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp(i64::try_from(now.as_micros()).unwrap_or_default()).civil(0);
    let stamp: String = now.chars().take(19).filter(|it| !matches!(it, '-' | ':')).collect();
    let stamp = stamp.replace(' ', "-");
    let mut to = beside(path, &format!(".corrupt-{stamp}"));
    for again in 2..100 {
        if !to.exists() {
            break;
        }
        to = beside(path, &format!(".corrupt-{stamp}-{again}"));
    }
    std::fs::rename(path, &to).map_err(Error::io("move aside", path))?;
    let log = beside(path, "-wal");
    if log.exists() {
        std::fs::rename(&log, beside(&to, "-wal")).map_err(Error::io("move aside", &log))?;
    }
    // Only an index of the other; SQLite makes it anew.
    let _ = std::fs::remove_file(beside(path, "-shm"));
    Ok(to)
}

/// Copies events from a damaged store, from its end down to the first place that cannot be read, then
/// from its beginning up to it. How many.
fn salvage(old: &Reader, store: &mut Store, limit: Duration) -> u64 {
    let deadline = Instant::now() + limit;
    old.set_patience(Some(limit));
    let (mut low, mut high) = (store.last + 1, 0);
    let mut saved = 0;
    for downwards in [true, false] {
        let mut most = 500;
        while Instant::now() < deadline && high + 1 < low {
            let found = if downwards { old.before(low, most) } else { old.after(high, most) };
            let Ok(mut found) = found else {
                if most == 1 {
                    break;
                }
                // Nearer to the damage in smaller steps.
                most = (most / 8).max(1);
                continue;
            };
            if !downwards {
                found.reverse();
            }
            // A damaged tree can give anything, in any order.
            found.retain(|it| high < it.seq && it.seq < low);
            found.dedup_by(|next, kept| next.seq >= kept.seq);
            let (Some(first), Some(last)) = (found.last(), found.first()) else { break };
            (low, high) = if downwards { (first.seq, high) } else { (low, last.seq) };
            saved += restore(store, &found);
        }
    }
    saved
}

/// Stores what can be stored of `records`. How many.
fn restore(store: &mut Store, records: &[Record]) -> u64 {
    if store.restore(records).is_ok() {
        return records.len() as u64;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_where_none_can_have_been_used() {
        let killed =
            Noted { reserved: 10_000, acknowledged: 500, clean: false, synced: true, same_boot: true };
        let closed = Noted { reserved: 500, clean: true, ..killed };
        let power_cut = Noted { same_boot: false, ..killed };
        let power_cut_unsynced = Noted { synced: false, ..power_cut };
        for (last, noted, next, why) in [
            (500, Some(closed), 500, "closed"),
            (500, Some(killed), 500, "killed after the last note"),
            (510, Some(killed), 510, "killed between a commit and its note"),
            (400, Some(killed), 500, "the end of the log is damaged"),
            (400, Some(closed), 500, "an older file was put in place"),
            (500, Some(power_cut), 500, "each commit was synced"),
            (510, Some(power_cut), 510, "each commit was synced, the note was not"),
            (400, Some(power_cut), 10_000, "nobody knows how far it was"),
            (500, Some(power_cut_unsynced), 10_000, "later commits may have been lost with their notes"),
            (500, None, 500, "no mark"),
        ] {
            assert_eq!(continue_after(last, noted), next, "{why}");
        }
    }
}
