//! Incidents: what a person is told of events, one row each.
//!
//! Whoever decides what an incident is keeps its own state here too (`state`), so that incidents, what
//! is told of them and how far the deciding reader has read are written in one transaction
//! ([`Store::settle`]).

use std::path::Path;

use ipnet::IpNet;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Row, Transaction, params, params_from_iter};
use serin_event::{Intent, Record, Severity, Timestamp};

use crate::Error;
use crate::reader::{Reader, limit_of};
use crate::recovery::{BUSY_TIMEOUT, State, state};
use crate::schema::{Host, address, integer, maybe_integer, text, unsigned};
use crate::writer::{ReaderState, Store};

/// One incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// The same as in all that is told of it.
    pub id: String,
    /// The number of its first event; incidents are listed in this order.
    pub seq: u64,
    /// When its first event happened.
    pub opened: Timestamp,
    /// When its last event happened.
    pub updated: Timestamp,
    /// When it was closed; `None`: it is open.
    pub closed: Option<Timestamp>,
    /// How much it matters.
    pub severity: Severity,
    /// How far the peer went.
    pub intent: Intent,
    /// The service, or `several`.
    pub service: String,
    /// What tied its events together.
    pub rule: String,
    /// Who did it, where it was one.
    pub source: Option<std::net::IpAddr>,
    /// How many events belong to it.
    pub count: u64,
    /// What happened, for a person.
    pub sentence: String,
    /// Whether it is a test and nothing happened.
    pub test: bool,
    /// What was last told of it: JSON text.
    pub notice: String,
    /// What its keeper wants to find again while it is open: JSON text, its own business.
    pub state: String,
    /// Who has seen it, when and with what note. [`Store::settle`] leaves this as it is.
    pub acknowledged: Option<Acknowledged>,
}

/// That somebody has seen an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What they want to remember; may be empty.
    pub note: String,
}

/// Which incidents. Each field that is set narrows the result; in a list, one of its values must
/// match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentQuery {
    /// With an event not before this time.
    pub since: Option<Timestamp>,
    /// Opened before this time.
    pub until: Option<Timestamp>,
    /// Open ones, or closed ones.
    pub open: Option<bool>,
    /// Acknowledged ones, or those that nobody has looked at.
    pub acknowledged: Option<bool>,
    /// At least this severe.
    pub min_severity: Option<Severity>,
    /// On these services.
    pub services: Vec<String>,
    /// From these addresses or networks.
    pub sources: Vec<IpNet>,
    /// Whose first event has a lower number than this: the next page.
    pub before: Option<u64>,
    /// At most so many, the newest of them.
    pub limit: usize,
}

impl Default for IncidentQuery {
    /// All incidents, at most 1,000.
    fn default() -> Self {
        Self {
            since: None,
            until: None,
            open: None,
            acknowledged: None,
            min_severity: None,
            services: Vec::new(),
            sources: Vec::new(),
            before: None,
            limit: 1000,
        }
    }
}

/// The columns that [`incident`] reads, in its order.
const COLUMNS: &str = "id, seq, opened, updated, closed, severity, intent, service, rule, source, count, \
    sentence, test, notice, state, acknowledged_by, acknowledged_at, note";

impl Store {
    /// Stores records and incidents and where one reader stands, in one transaction: after a crash
    /// all of it is there or nothing. Gives each record its number, without gaps. An incident that is
    /// there already is replaced, except for who acknowledged it; those of the ids `gone` are forgotten,
    /// since they became part of others before anybody was told of them.
    ///
    /// # Errors
    ///
    /// As [`Store::append`]; nothing is stored then.
    pub fn settle(
        &mut self,
        records: &mut [Record],
        incidents: &[Incident],
        gone: &[String],
        reader: &ReaderState,
    ) -> Result<(), Error> {
        self.append_with(records, std::slice::from_ref(reader), |transaction| {
            write(transaction, incidents)?;
            let mut statement = transaction.prepare_cached("DELETE FROM incidents WHERE id = ?1")?;
            gone.iter().try_for_each(|it| statement.execute([it]).map(drop))
        })
    }

    /// Puts incidents of another store into this one, with who acknowledged them.
    pub(crate) fn adopt(&mut self, incidents: &[Incident]) -> Result<(), Error> {
        self.change(|transaction| {
            write(transaction, incidents)?;
            for incident in incidents {
                if let Some(seen) = &incident.acknowledged {
                    acknowledge_in(transaction, &incident.id, seen)?;
                }
            }
            Ok(())
        })
    }
}

fn write(transaction: &Transaction<'_>, incidents: &[Incident]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO incidents (id, seq, opened, updated, closed, severity, intent, service, rule, source, count, \
         sentence, test, notice, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) \
         ON CONFLICT (id) DO UPDATE SET opened = ?3, updated = ?4, closed = ?5, severity = ?6, intent = ?7, \
         service = ?8, rule = ?9, source = ?10, count = ?11, sentence = ?12, test = ?13, notice = ?14, state = ?15",
    )?;
    for it in incidents {
        statement.execute(params![
            it.id,
            it.seq.cast_signed(),
            it.opened.0,
            it.updated.0,
            it.closed.map(|it| it.0),
            severity_number(it.severity),
            it.intent.name(),
            it.service,
            it.rule,
            it.source.map(Host::from).as_ref().map(Host::bytes),
            limit_of(usize::try_from(it.count).unwrap_or(usize::MAX)),
            it.sentence,
            it.test,
            it.notice,
            it.state,
        ])?;
    }
    Ok(())
}

fn acknowledge_in(connection: &Connection, id: &str, seen: &Acknowledged) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(
        "UPDATE incidents SET acknowledged_by = ?2, acknowledged_at = ?3, note = ?4 WHERE id = ?1",
    )?;
    Ok(statement.execute(params![id, seen.by, seen.at.0, seen.note])? > 0)
}

/// Notes that somebody has seen an incident, beside whoever writes the store at `path`: a connection of
/// its own, one short transaction. Whether there is such an incident.
///
/// # Errors
///
/// [`Error::Missing`] if there is no store, [`Error::Foreign`] and [`Error::TooNew`] if it is not for
/// us, [`Error::Locked`] if the writer keeps it busy for seconds.
pub fn acknowledge(path: &Path, id: &str, seen: &Acknowledged) -> Result<bool, Error> {
    if !path.exists() {
        return Err(Error::Missing { path: path.to_owned() });
    }
    let failed = |source| Error::from_sqlite(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    match state(&connection, path)? {
        State::Empty => return Err(Error::Missing { path: path.to_owned() }),
        State::Version(version) if version < FIRST_VERSION => return Ok(false),
        State::Version(_) => {}
    }
    acknowledge_in(&connection, id, seen).map_err(failed)
}

impl Reader {
    /// The incidents that `query` means, the newest first.
    ///
    /// # Errors
    ///
    /// As [`Reader::after`].
    pub fn incidents(&self, query: &IncidentQuery) -> Result<Vec<Incident>, Error> {
        let (condition, mut values) = conditions(query);
        values.push(Value::Integer(limit_of(query.limit)));
        let sql = format!("SELECT {COLUMNS} FROM incidents WHERE {condition} ORDER BY seq DESC, id LIMIT ?");
        self.listed_incidents(&sql, values)
    }

    /// How many incidents `query` means; its `limit` does not count.
    ///
    /// # Errors
    ///
    /// As [`Reader::after`].
    pub fn count_incidents(&self, query: &IncidentQuery) -> Result<u64, Error> {
        if !self.knows_incidents()? {
            return Ok(0);
        }
        let (condition, values) = conditions(query);
        self.ask(|connection, _| {
            let sql = format!("SELECT count(*) FROM incidents WHERE {condition}");
            connection.prepare_cached(&sql)?.query_row(params_from_iter(values), |row| Ok(unsigned(row, 0)))
        })
    }

    /// The incident of this id.
    ///
    /// # Errors
    ///
    /// As [`Reader::after`].
    pub fn incident(&self, id: &str) -> Result<Option<Incident>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM incidents WHERE id = ?");
        Ok(self.listed_incidents(&sql, vec![Value::Text(id.to_owned())])?.pop())
    }

    fn listed_incidents(&self, sql: &str, values: Vec<Value>) -> Result<Vec<Incident>, Error> {
        if !self.knows_incidents()? {
            return Ok(Vec::new());
        }
        self.ask(|connection, _| {
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params_from_iter(values), |row| Ok(incident(row)))?;
            rows.collect()
        })
    }

    /// A store that no version with incidents has opened for writing has no table of them.
    fn knows_incidents(&self) -> Result<bool, Error> {
        Ok(matches!(self.state()?, State::Version(version) if version >= FIRST_VERSION))
    }
}

fn conditions(query: &IncidentQuery) -> (String, Vec<Value>) {
    let mut conditions = vec!["TRUE".to_owned()];
    let mut values = Vec::new();
    let mut also = |condition: &str, value: Option<i64>| {
        if let Some(value) = value {
            conditions.push(condition.to_owned());
            values.push(Value::Integer(value));
        }
    };
    also("updated >= ?", query.since.map(|it| it.0));
    also("opened < ?", query.until.map(|it| it.0));
    also("severity >= ?", query.min_severity.map(severity_number));
    also("seq < ?", query.before.map(|it| it.min(i64::MAX as u64).cast_signed()));
    let mut is_null = |column: &str, null: Option<bool>| match null {
        Some(true) => conditions.push(format!("{column} IS NULL")),
        Some(false) => conditions.push(format!("{column} IS NOT NULL")),
        None => {}
    };
    is_null("closed", query.open);
    is_null("acknowledged_at", query.acknowledged.map(|it| !it));
    if !query.services.is_empty() {
        let marks = vec!["?"; query.services.len()].join(", ");
        conditions.push(format!("service IN ({marks})"));
        values.extend(query.services.iter().cloned().map(Value::Text));
    }
    if !query.sources.is_empty() {
        let mut nets = Vec::new();
        for net in &query.sources {
            let blob = |address| Value::Blob(Host::from(address).bytes().to_vec());
            let width = net.max_prefix_len() / 8;
            nets.push(format!("(source BETWEEN ? AND ? AND length(source) = {width})"));
            values.extend([blob(net.network()), blob(net.broadcast())]);
        }
        conditions.push(format!("({})", nets.join(" OR ")));
    }
    (conditions.join(" AND "), values)
}

fn incident(row: &Row<'_>) -> Incident {
    let acknowledged = maybe_integer(row, 16).map(|at| Acknowledged {
        by: text(row, 15),
        at: Timestamp(at),
        note: text(row, 17),
    });
    Incident {
        id: text(row, 0),
        seq: unsigned(row, 1),
        opened: Timestamp(integer(row, 2)),
        updated: Timestamp(integer(row, 3)),
        closed: maybe_integer(row, 4).map(Timestamp),
        severity: severity(integer(row, 5)),
        intent: Intent::by_name(&text(row, 6)).unwrap_or(Intent::Connect),
        service: text(row, 7),
        rule: text(row, 8),
        source: match row.get_ref(9) {
            Ok(rusqlite::types::ValueRef::Blob(bytes)) => address(bytes),
            _ => None,
        },
        count: unsigned(row, 10),
        sentence: text(row, 11),
        test: integer(row, 12) != 0,
        notice: text(row, 13),
        state: text(row, 14),
        acknowledged,
    }
}

/// Severities stand in the table as numbers, so that they compare.
fn severity_number(severity: Severity) -> i64 {
    Severity::ALL.iter().position(|it| *it == severity).map_or(0, limit_of)
}

fn severity(number: i64) -> Severity {
    let at = usize::try_from(number).ok().and_then(|it| Severity::ALL.get(it));
    at.copied().unwrap_or(Severity::Critical)
}

/// The first format with incidents.
const FIRST_VERSION: i32 = 2;
