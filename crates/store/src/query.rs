//! Questions about events, typed, so that nobody outside writes SQL.
//!
//! A question becomes one or more SELECTs that each walk an index in the order of numbers, so that
//! a page of results costs a page of work wherever an index helps: by source, by kind, by bait. Their
//! results are merged. Times are narrowed to ranges of numbers first; see `spans` in `schema.rs`.

use std::fmt::Write as _;

use ipnet::IpNet;
use rusqlite::params_from_iter;
use rusqlite::types::Value;
use serin_event::{Intent, Kind, Record, Severity, Timestamp, escape_into};

use crate::Error;
use crate::reader::{Reader, limit_of};
use crate::rollup::listed;
use crate::schema::{COLUMNS, Host, Names, SPAN, address, maybe_integer};

/// Which events. Each field that is set narrows the result; in a list, one of its values must match.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// From these addresses or networks.
    pub sources: Vec<IpNet>,
    /// To these services, by the names that kinds give them.
    pub services: Vec<String>,
    /// Of these kinds, by name.
    pub kinds: Vec<String>,
    /// With these OpenCanary numbers.
    pub logtypes: Vec<u32>,
    /// To these ports of ours.
    pub target_ports: Vec<u16>,
    /// Of this conversation.
    pub session: Option<u64>,
    /// With bait credentials, or with others where bait is configured.
    pub honeycred: Option<bool>,
    /// At least this severe.
    pub min_severity: Option<Severity>,
    /// At least this far.
    pub min_intent: Option<Intent>,
    /// With this text anywhere in `logdata` or `details`; ASCII letters match in both cases. Of a text
    /// over 10,000 bytes the beginning counts.
    pub text: Option<String>,
    /// With a higher number than this.
    pub after: Option<u64>,
    /// With a lower number than this.
    pub before: Option<u64>,
    /// The highest number first. The order is always that of numbers, since the clock may jump.
    pub newest_first: bool,
    /// At most so many; [`Reader::count`] ignores it.
    pub limit: usize,
}

impl Default for Query {
    /// All events, the oldest first, at most 1,000.
    fn default() -> Self {
        Self {
            since: None,
            until: None,
            sources: Vec::new(),
            services: Vec::new(),
            kinds: Vec::new(),
            logtypes: Vec::new(),
            target_ports: Vec::new(),
            session: None,
            honeycred: None,
            min_severity: None,
            min_intent: None,
            text: None,
            after: None,
            before: None,
            newest_first: false,
            limit: 1000,
        }
    }
}

/// Kinds that are looked up one by one and merged; with more, few events do not match.
const MERGED_KINDS_MAX: usize = 24;

/// Addresses of a network that are looked up one by one and merged.
const MERGED_HOSTS_MAX: usize = if cfg!(test) { 4 } else { 256 };

/// Events read for that at most; so that a large limit does not fill the memory.
const MERGED_EVENTS_MAX: usize = if cfg!(test) { 150 } else { 50_000 };

impl Query {
    /// Whether a record is meant: the same answer that the store gives, for records that just came in.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        let within =
            |list: &[IpNet]| record.source.host.is_some_and(|it| list.iter().any(|net| net.contains(&it)));
        self.since.is_none_or(|it| record.time >= it)
            && self.until.is_none_or(|it| record.time < it)
            && (self.sources.is_empty() || within(&self.sources))
            && self.names(record.kind)
            && (self.target_ports.is_empty()
                || record.target.port.is_some_and(|it| self.target_ports.contains(&it)))
            && self.session.is_none_or(|it| record.session == it)
            && self.honeycred.is_none_or(|it| record.honeycred == Some(it))
            && self.min_severity.is_none_or(|it| record.severity() >= it)
            && self.min_intent.is_none_or(|it| record.intent() >= it)
            && self.after.is_none_or(|it| record.seq > it)
            && self.before.is_none_or(|it| record.seq < it)
            && self.text.as_deref().is_none_or(|it| {
                let needle = needle(it).to_ascii_lowercase();
                [&record.logdata, &record.details].iter().any(|it| it.to_ascii_lowercase().contains(&needle))
            })
    }

    /// Whether a kind is among those that were named.
    fn names(&self, kind: &Kind) -> bool {
        let among = |list: &[String], name| list.is_empty() || list.iter().any(|it| it == name);
        among(&self.services, kind.service)
            && among(&self.kinds, kind.name)
            && (self.logtypes.is_empty() || self.logtypes.contains(&kind.logtype))
    }

    /// Whether events of a kind reach the asked severity and intent without bait, which reaches any.
    fn reached_by(&self, kind: &Kind) -> bool {
        self.min_severity.is_none_or(|it| kind.severity >= it)
            && self.min_intent.is_none_or(|it| kind.intent >= it)
    }

    fn asks_for_kinds(&self) -> bool {
        !(self.services.is_empty() && self.kinds.is_empty() && self.logtypes.is_empty())
    }

    fn asks_for_rank(&self) -> bool {
        self.min_severity.is_some() || self.min_intent.is_some()
    }
}

/// A text as it stands inside JSON that was written by this program, or its beginning.
fn needle(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    escape_into(&mut escaped, text);
    // All of it is ASCII.
    escaped.truncate(TEXT_MAX);
    escaped
}

/// Bytes of a text that count; SQLite refuses patterns over 50,000.
const TEXT_MAX: usize = 10_000;

impl Reader {
    /// The events that `query` means.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the file is damaged there, [`Error::Slow`] if the question took longer than
    /// [`Reader::set_patience`] allows.
    pub fn query(&self, query: &Query) -> Result<Vec<Record>, Error> {
        let direction = if query.newest_first { "DESC" } else { "ASC" };
        let mut found = Vec::new();
        let sources = self.spread(query)?;
        let branches = self.branches(query, &sources)?;
        let alone = branches.len() == 1;
        for Branch { index, condition, mut values } in branches {
            let sql = format!(
                "SELECT {COLUMNS} FROM events {index} WHERE {condition} ORDER BY seq {direction} LIMIT ?"
            );
            values.push(Value::Integer(limit_of(query.limit)));
            found.extend(self.records(&sql, params_from_iter(values))?);
        }
        if !alone {
            found.sort_unstable_by_key(|it| it.seq);
            if query.newest_first {
                found.reverse();
            }
            found.truncate(query.limit);
        }
        Ok(found)
    }

    /// How many events `query` means. Looks at each of them, or at least at their index: for overviews
    /// see [`Reader::rollups`].
    ///
    /// # Errors
    ///
    /// As [`Reader::query`].
    pub fn count(&self, query: &Query) -> Result<u64, Error> {
        if *query == (Query { newest_first: query.newest_first, limit: query.limit, ..Query::default() }) {
            return Ok(self.stats()?.events);
        }
        let mut count = 0;
        let sources = IpNet::aggregate(&query.sources);
        for Branch { index, condition, values } in self.branches(query, &sources)? {
            let sql = format!("SELECT count(*) FROM events {index} WHERE {condition}");
            count += self.ask(|connection, _| {
                let mut statement = connection.prepare_cached(&sql)?;
                statement.query_row(params_from_iter(values), |row| row.get::<_, i64>(0))
            })?;
        }
        Ok(count.unsigned_abs())
    }

    /// The SELECTs that answer a question; no event is in two of them.
    fn branches(&self, query: &Query, sources: &[IpNet]) -> Result<Vec<Branch>, Error> {
        let Some((low, high)) = self.numbers(query)? else { return Ok(Vec::new()) };
        self.ask(|_, names| Ok(branches(query, sources, names, low, high)))
    }

    /// The asked sources, without what another of them contains. A network becomes the addresses in it
    /// that sent something, if they are few: each is walked in order, while the whole must be sorted.
    fn spread(&self, query: &Query) -> Result<Vec<IpNet>, Error> {
        let mut spread = Vec::new();
        for net in IpNet::aggregate(&query.sources) {
            let single = net.prefix_len() == net.max_prefix_len();
            let hosts = if single { None } else { self.hosts_in(&net)? };
            match hosts {
                Some(hosts) if hosts.len().saturating_mul(query.limit) <= MERGED_EVENTS_MAX => {
                    spread.extend(hosts);
                }
                _ => spread.push(net),
            }
        }
        Ok(spread)
    }

    /// The addresses of a network that sent something; nothing if they are many.
    fn hosts_in(&self, net: &IpNet) -> Result<Option<Vec<IpNet>>, Error> {
        self.ask(|connection, _| {
            let mut statement = connection.prepare_cached(
                "SELECT min(src_host) FROM events INDEXED BY events_by_source \
                 WHERE src_host IS NOT NULL AND src_host >= ?1 AND src_host <= ?2",
            )?;
            let last = Host::from(net.broadcast());
            let mut from = Host::from(net.network()).bytes().to_vec();
            let mut hosts = Vec::new();
            // An address of the other family can lie between in the order of bytes; it is stepped over.
            for _ in 0..MERGED_HOSTS_MAX {
                let mut rows = statement.query((&from, last.bytes()))?;
                let bytes = match rows.next()? {
                    Some(row) => row.get_ref(0)?.as_blob_or_null().ok().flatten().map(<[u8]>::to_vec),
                    None => None,
                };
                let Some(bytes) = bytes else { return Ok(Some(hosts)) };
                hosts.extend(address(&bytes).filter(|it| net.contains(it)).map(IpNet::from));
                from = bytes;
                // The next one in the order of bytes.
                from.push(0);
            }
            Ok(None)
        })
    }

    /// The lowest and the highest number that can be meant.
    fn numbers(&self, query: &Query) -> Result<Option<(i64, i64)>, Error> {
        let mut low = query.after.map_or(0, |it| it.saturating_add(1)).min(i64::MAX as u64).cast_signed();
        let mut high = match query.before {
            Some(before) => before.min(i64::MAX as u64).cast_signed() - 1,
            None => i64::MAX,
        };
        if query.since.is_some() || query.until.is_some() {
            let since = query.since.map_or(i64::MIN, |it| it.0);
            let until = query.until.map_or(i64::MAX, |it| it.0);
            let spans = self.ask(|connection, _| {
                let mut statement = connection.prepare_cached(
                    "SELECT min(span), max(span) FROM spans WHERE latest >= ?1 AND earliest < ?2",
                )?;
                statement.query_row([since, until], |row| Ok((maybe_integer(row, 0), maybe_integer(row, 1))))
            })?;
            let (Some(first), Some(last)) = spans else { return Ok(None) };
            let span = SPAN.cast_signed();
            low = low.max(first.saturating_mul(span));
            high = high.min(last.saturating_mul(span).saturating_add(span - 1));
        }
        Ok((low <= high).then_some((low, high)))
    }
}

/// One SELECT's FROM and WHERE.
#[derive(Debug, Clone, Default)]
struct Branch {
    index: &'static str,
    condition: String,
    values: Vec<Value>,
}

impl Branch {
    /// A further branch with one more condition, on an index.
    fn with(&self, index: &'static str, condition: &str, values: impl IntoIterator<Item = Value>) -> Self {
        let mut branch = self.clone();
        branch.index = index;
        let _ = write!(branch.condition, " AND {condition}");
        branch.values.extend(values);
        branch
    }
}

fn branches(query: &Query, sources: &[IpNet], names: &Names, low: i64, high: i64) -> Vec<Branch> {
    let base = base(query, low, high);
    let mut meant: Vec<_> = names.kinds.iter().filter(|it| query.names(it.1)).collect();
    meant.sort_unstable_by_key(|it| *it.0);
    let (enough, others): (Vec<_>, Vec<_>) = meant.iter().partition(|it| query.reached_by(it.1));
    // No kind has the number -1. An empty list would make SQLite refuse the index.
    let ids = |kinds: &[&(&i64, &&Kind)]| listed(std::iter::once(-1).chain(kinds.iter().map(|it| *it.0)));
    let kinds = match (query.asks_for_kinds(), query.asks_for_rank()) {
        (false, false) => "TRUE".to_owned(),
        (_, false) => format!("+kind IN ({})", ids(&enough)),
        (_, true) => {
            format!("(+kind IN ({}) OR (honeycred IS 1 AND +kind IN ({})))", ids(&enough), ids(&others))
        }
    };
    if !query.sources.is_empty() {
        return by_source(sources, &base, &kinds);
    }
    if query.honeycred == Some(true) {
        return vec![base.with("INDEXED BY events_with_bait", &kinds, [])];
    }
    if kinds == "TRUE" || enough.len() > MERGED_KINDS_MAX {
        return vec![base.with("NOT INDEXED", &kinds, [])];
    }
    let of_kind =
        |it: &&(&i64, &&Kind)| base.with("INDEXED BY events_by_kind", "kind = ?", [Value::Integer(*it.0)]);
    let mut branches: Vec<_> = enough.iter().map(of_kind).collect();
    if query.asks_for_rank() && !others.is_empty() {
        let bait = format!("honeycred = 1 AND +kind IN ({})", ids(&others));
        branches.push(base.with("INDEXED BY events_with_bait", &bait, []));
    }
    branches
}

fn by_source(nets: &[IpNet], base: &Branch, kinds: &str) -> Vec<Branch> {
    let branch = |net: &IpNet| {
        let blob = |address| Value::Blob(Host::from(address).bytes().to_vec());
        if net.prefix_len() == net.max_prefix_len() {
            let condition = format!("src_host = ? AND {kinds}");
            return base.with("INDEXED BY events_by_source", &condition, [blob(net.addr())]);
        }
        // In a large network there is nothing to gain from a walk that must be sorted afterwards.
        let large = net.prefix_len() < net.max_prefix_len() / 4;
        let index = if large { "NOT INDEXED" } else { "INDEXED BY events_by_source" };
        let width = Value::Integer(i64::from(net.max_prefix_len() / 8));
        let condition = format!("src_host BETWEEN ? AND ? AND length(src_host) = ? AND {kinds}");
        base.with(index, &condition, [blob(net.network()), blob(net.broadcast()), width])
    };
    nets.iter().map(branch).collect()
}

/// What all branches have in common.
fn base(query: &Query, low: i64, high: i64) -> Branch {
    let mut branch = Branch {
        condition: "seq BETWEEN ? AND ?".to_owned(),
        values: vec![Value::Integer(low), Value::Integer(high)],
        ..Branch::default()
    };
    let mut also = |condition: &str, value: Option<i64>| {
        if let Some(value) = value {
            let _ = write!(branch.condition, " AND {condition}");
            branch.values.push(Value::Integer(value));
        }
    };
    also("time >= ?", query.since.map(|it| it.0));
    also("time < ?", query.until.map(|it| it.0));
    also("session = ?", query.session.map(u64::cast_signed));
    also("honeycred = ?", query.honeycred.filter(|it| !it).map(i64::from));
    if query.honeycred == Some(true) {
        // A constant, which the partial index wants to see.
        branch.condition += " AND honeycred = 1";
    }
    if !query.target_ports.is_empty() {
        let ports = listed(query.target_ports.iter().copied().map(i64::from));
        let _ = write!(branch.condition, " AND dst_port IN ({ports})");
    }
    if let Some(text) = &query.text {
        let mut pattern = String::from("%");
        for character in needle(text).chars() {
            if matches!(character, '%' | '_' | '!') {
                pattern.push('!');
            }
            pattern.push(character);
        }
        pattern.push('%');
        branch.condition += " AND (logdata LIKE ? ESCAPE '!' OR coalesce(details, '{}') LIKE ? ESCAPE '!')";
        branch.values.extend([Value::Text(pattern.clone()), Value::Text(pattern)]);
    }
    branch
}
