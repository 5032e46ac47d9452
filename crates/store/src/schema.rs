//! The tables, and how events become rows and rows become events.
//!
//! Reading is lenient: a value that is not what was written (a flipped byte, a newer version)
//! becomes the nearest thing that can be shown, and never fails the other events.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serin_event::kinds::{self, Intent, Kind, Ports, Severity};
use serin_event::{Endpoint, Record, Timestamp};

/// Marks the file as ours: "Sern".
pub(crate) const APPLICATION_ID: i32 = 0x5365_726e;

/// The newest format that this version writes and reads.
pub(crate) const VERSION: i32 = 2;

/// Events per row of `spans`.
pub(crate) const SPAN: u64 = 1024;

/// One step for each format: the script at place `n` makes format `n + 1` of format `n`.
pub(crate) const STEPS: [&str; VERSION as usize] = [FIRST, INCIDENTS];

const FIRST: &str = "
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('format', 0), ('last_seq', 0), ('events', 0);

-- Kinds with all that a version needs which does not know them.
CREATE TABLE kinds (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, logtype INTEGER NOT NULL,
    intent TEXT NOT NULL, severity TEXT NOT NULL, ports TEXT NOT NULL
);
CREATE TABLE nodes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,          -- microseconds since 1970, UTC
    utc_offset INTEGER NOT NULL,    -- seconds east of UTC
    node INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    session INTEGER NOT NULL,       -- unsigned, wrapped
    src_host BLOB,                  -- 4 or 16 bytes
    src_port INTEGER,
    dst_host BLOB,
    dst_port INTEGER,
    honeycred INTEGER,
    logdata TEXT NOT NULL,
    details TEXT                    -- NULL for an empty object
);
CREATE INDEX events_by_source ON events (src_host) WHERE src_host IS NOT NULL;
CREATE INDEX events_by_kind ON events (kind);
CREATE INDEX events_with_bait ON events (honeycred) WHERE honeycred = 1;

-- The earliest and latest time in each run of 1024 events. A question about a time looks here which
-- numbers can be meant; the clock may have been set back any number of times.
CREATE TABLE spans (span INTEGER PRIMARY KEY, earliest INTEGER NOT NULL, latest INTEGER NOT NULL);

-- Source: 4 or 16 bytes; empty where there is none; one byte for all beyond the limit per hour.
CREATE TABLE rollups (
    hour INTEGER NOT NULL, kind INTEGER NOT NULL, source BLOB NOT NULL,
    count INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (hour, kind, source)
) WITHOUT ROWID;

CREATE TABLE readers (
    name TEXT PRIMARY KEY, cursor INTEGER NOT NULL, status TEXT NOT NULL, updated INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE dead_letters (
    reader TEXT NOT NULL, seq INTEGER NOT NULL, time INTEGER NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (reader, seq)
) WITHOUT ROWID;
";

const INCIDENTS: &str = "
CREATE TABLE incidents (
    id TEXT NOT NULL UNIQUE,
    seq INTEGER NOT NULL,           -- of the first event
    opened INTEGER NOT NULL,        -- microseconds since 1970, UTC, as all times
    updated INTEGER NOT NULL,
    closed INTEGER,                 -- NULL while it is open
    severity INTEGER NOT NULL,      -- 0 informational to 4 critical
    intent TEXT NOT NULL,
    service TEXT NOT NULL,
    rule TEXT NOT NULL,
    source BLOB,                    -- 4 or 16 bytes
    count INTEGER NOT NULL,
    sentence TEXT NOT NULL,
    test INTEGER NOT NULL,
    notice TEXT NOT NULL,           -- JSON
    state TEXT NOT NULL,            -- JSON of whoever keeps it open; empty when closed
    acknowledged_by TEXT,
    acknowledged_at INTEGER,
    note TEXT
);
CREATE INDEX incidents_by_seq ON incidents (seq);
CREATE INDEX incidents_by_source ON incidents (source) WHERE source IS NOT NULL;
CREATE INDEX incidents_open ON incidents (seq) WHERE closed IS NULL;
";

/// The columns that [`Names::record`] reads, in its order.
pub(crate) const COLUMNS: &str = "seq, time, utc_offset, node, kind, session, src_host, src_port, dst_host, dst_port, honeycred, logdata, details";

/// An address as it is stored: its bytes, without allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    V4([u8; 4]),
    V6([u8; 16]),
}

impl Host {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::V4(bytes) => bytes,
            Self::V6(bytes) => bytes,
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(it) => Self::V4(it.octets()),
            IpAddr::V6(it) => Self::V6(it.octets()),
        }
    }
}

/// The address of 4 or 16 bytes.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

/// The table of kinds and of node names, as far as it was read.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// By their number in this store.
    pub(crate) kinds: HashMap<i64, &'static Kind>,
    nodes: HashMap<i64, Arc<str>>,
}

impl Names {
    /// Reads both tables.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut names = Self::default();
        let mut statement =
            connection.prepare_cached("SELECT id, name, logtype, intent, severity, ports FROM kinds")?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            names.kinds.insert(integer(row, 0), kind(row));
        }
        let mut statement = connection.prepare_cached("SELECT id, name FROM nodes")?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            names.nodes.insert(integer(row, 0), text(row, 1).into());
        }
        Ok(names)
    }

    /// Whether both names that a row of [`COLUMNS`] refers to are known.
    pub(crate) fn cover(&self, row: &Row<'_>) -> bool {
        self.nodes.contains_key(&integer(row, 3)) && self.kinds.contains_key(&integer(row, 4))
    }

    /// The record of a row of [`COLUMNS`].
    pub(crate) fn record(&self, row: &Row<'_>) -> Record {
        let details = text(row, 12);
        Record {
            seq: integer(row, 0).cast_unsigned(),
            time: Timestamp(integer(row, 1)),
            utc_offset: i32::try_from(integer(row, 2)).unwrap_or_default(),
            node_id: self.nodes.get(&integer(row, 3)).cloned().unwrap_or_else(|| "".into()),
            kind: self.kinds.get(&integer(row, 4)).copied().unwrap_or(&kinds::UNKNOWN),
            session: integer(row, 5).cast_unsigned(),
            source: endpoint(row, 6),
            target: endpoint(row, 8),
            honeycred: maybe_integer(row, 10).map(|it| it != 0),
            logdata: text(row, 11).into(),
            details: if details.is_empty() { "{}".into() } else { details.into() },
        }
    }
}

fn kind(row: &Row<'_>) -> &'static Kind {
    const INTENTS: [Intent; 5] =
        [Intent::Housekeeping, Intent::Connect, Intent::Interact, Intent::Login, Intent::Bait];
    const SEVERITIES: [Severity; 5] =
        [Severity::Informational, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
    let (intent, severity, ports) = (text(row, 3), text(row, 4), text(row, 5));
    kinds::stored(
        &text(row, 1),
        u32::try_from(integer(row, 2)).unwrap_or_default(),
        INTENTS.into_iter().find(|it| it.name() == intent).unwrap_or(kinds::UNKNOWN.intent),
        SEVERITIES.into_iter().find(|it| it.name() == severity).unwrap_or(kinds::UNKNOWN.severity),
        match ports.as_str() {
            "text" => Ports::Text,
            "source_text" => Ports::SourceText,
            _ => Ports::Numbers,
        },
    )
}

/// The word for it in the table of kinds.
pub(crate) fn ports_name(ports: Ports) -> &'static str {
    match ports {
        Ports::Numbers => "numbers",
        Ports::Text => "text",
        Ports::SourceText => "source_text",
    }
}

fn endpoint(row: &Row<'_>, at: usize) -> Endpoint {
    let host = match row.get_ref(at) {
        Ok(ValueRef::Blob(bytes)) => address(bytes),
        _ => None,
    };
    Endpoint { host, port: maybe_integer(row, at + 1).and_then(|it| u16::try_from(it).ok()) }
}

pub(crate) fn maybe_integer(row: &Row<'_>, at: usize) -> Option<i64> {
    match row.get_ref(at) {
        Ok(ValueRef::Integer(number)) => Some(number),
        _ => None,
    }
}

pub(crate) fn integer(row: &Row<'_>, at: usize) -> i64 {
    maybe_integer(row, at).unwrap_or_default()
}

pub(crate) fn unsigned(row: &Row<'_>, at: usize) -> u64 {
    u64::try_from(integer(row, at)).unwrap_or_default()
}

pub(crate) fn text(row: &Row<'_>, at: usize) -> String {
    match row.get_ref(at) {
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}
