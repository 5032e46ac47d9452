//! What a person reads: a title, a sentence, a table. Made once, rendered by every courier.

use std::collections::BTreeMap;

use serde_json::Value;
use serin_event::{Intent, Record, Severity, Tainted, Timestamp};

use crate::incidents::{Change, Notice};
use crate::outputs::event_id;

/// One alert, ready to be put into any receiver's form. Its texts hold no control characters and are
/// bounded, but they are not escaped for any receiver: that is the courier's duty.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Card {
    /// The same for all cards of one incident.
    pub(crate) id: String,
    /// The same for each delivery of this card, and for no other card.
    pub(crate) key: String,
    /// The numbers of all records that it tells.
    pub(crate) events: Vec<u64>,
    pub(crate) kind: CardKind,
    pub(crate) severity: Severity,
    /// A few words of our own, without anything that a peer chose: fit for a mail's subject.
    pub(crate) title: String,
    /// What happened.
    pub(crate) sentence: String,
    pub(crate) rows: Vec<Row>,
    /// More sentences: what happened one by one, or the incidents of a digest.
    pub(crate) details: Vec<String>,
    /// When it happened.
    pub(crate) time: Timestamp,
    /// The same, as a person reads it: local time with its distance from UTC.
    pub(crate) when: String,
    /// Which service, or `several`.
    pub(crate) service: String,
    /// Who did it, when that is one address.
    pub(crate) source: Option<String>,
    /// Which sensor tells it.
    pub(crate) node: String,
    /// Where to read on: the console's page of the incident.
    pub(crate) link: Option<String>,
    /// Nothing happened: somebody, or the sensor itself, tries whether alerts arrive.
    pub(crate) test: bool,
}

/// What a card tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CardKind {
    /// A new incident, or a single event.
    Opened,
    /// More of an incident that was told before.
    Updated,
    /// An incident is over.
    Closed,
    /// Several at once.
    Digest,
}

impl CardKind {
    /// The word for it in forms that programs read.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Updated => "updated",
            Self::Closed => "closed",
            Self::Digest => "digest",
        }
    }
}

/// One line of a card's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) label: &'static str,
    pub(crate) value: String,
}

/// One thing that a card may tell: what became of an incident, and the record that says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) notice: &'a Notice,
    pub(crate) record: &'a Record,
}

/// So long is a value of a table or a sentence at most, in characters.
const VALUE_MAX: usize = 300;
const SENTENCE_MAX: usize = 500;
/// So many values of a list are shown.
const LIST_MAX: usize = 5;
/// So many sentences follow the table.
const DETAILS_MAX: usize = 20;

impl Card {
    /// The card of what this record tells, without a link.
    pub(crate) fn of_record(record: &Record) -> Self {
        Self::of(Told { notice: &Notice::of(record), record }, false, "")
    }

    /// The card of one incident. `first`: whether nobody was told of it before; `console`: where the
    /// console is, without a slash at the end; empty: unknown.
    pub(crate) fn of(told: Told<'_>, first: bool, console: &str) -> Self {
        let Told { notice, record } = told;
        let kind = match notice.change {
            Change::Closed => CardKind::Closed,
            _ if first => CardKind::Opened,
            Change::Opened => CardKind::Opened,
            Change::Updated => CardKind::Updated,
        };
        let node = shown(&record.node_id, VALUE_MAX);
        let labelled = if notice.test { "Test: " } else { "" };
        let lead = match kind {
            CardKind::Updated => "Update: ",
            CardKind::Closed => "Over: ",
            CardKind::Opened | CardKind::Digest => "",
        };
        let severity = notice.severity.name();
        let title = if notice.rule == "test" {
            format!("Test alert of {node}")
        } else {
            format!("{labelled}{lead}{}, {severity}, on {node}", subject(notice))
        };
        let details = if notice.samples.len() > 1 { notice.samples.as_slice() } else { &[] };
        Self {
            id: notice.id.clone(),
            key: event_id(record),
            events: vec![record.seq],
            kind,
            severity: notice.severity,
            title,
            sentence: shown(&notice.sentence, SENTENCE_MAX),
            rows: rows(notice, record),
            details: details.iter().take(DETAILS_MAX).map(|it| shown(it, VALUE_MAX)).collect(),
            time: notice.last,
            when: local(notice.last, record.utc_offset),
            service: shown(&notice.service, VALUE_MAX),
            source: notice.source.map(|it| it.to_string()),
            node,
            link: link(console, &notice.id),
            test: notice.test,
        }
    }

    /// One card for several incidents, each named once. `more`: others are told beside it.
    pub(crate) fn digest(told: &[Told<'_>], more: bool, console: &str) -> Option<Self> {
        let (first, last) = (told.first()?, told.last()?);
        let mut by_severity: Vec<_> = told.to_vec();
        by_severity.sort_by_key(|it| std::cmp::Reverse(it.notice.severity));
        let worst = by_severity.first()?.notice.severity;
        let begin = told.iter().map(|it| it.notice.first).min()?;
        let end = told.iter().map(|it| it.notice.last).max()?;
        let offset = last.record.utc_offset;
        let node = shown(&last.record.node_id, VALUE_MAX);
        let test = told.iter().all(|it| it.notice.test);
        let count = told.len();
        let what = if told.iter().all(|it| !it.record.kind.is_incident()) { "events" } else { "incidents" };
        let labelled = if test { "Test: " } else { "" };
        let number = if more { format!("and {count} more {what}") } else { format!("{count} {what}") };
        let title = format!("{labelled}{}, up to {}, on {node}", capital(&number), worst.name());
        let sources = counted(told, |it| it.source.map(|it| it.to_string()).unwrap_or_default());
        let services = counted(told, |it| shown(&it.service, VALUE_MAX));
        let severities = severities(told);
        let span = format!("from {} to {}", local(begin, offset), local(end, offset));
        let sentence = format!("{} {span}: {severities}", capital(&number));
        let mut details: Vec<_> = by_severity.iter().take(DETAILS_MAX).map(|it| line(*it)).collect();
        if count > details.len() {
            details.push(format!("… and {} more", count - details.len()));
        }
        let mut rows = Vec::new();
        push(&mut rows, "Severity", severities);
        push(&mut rows, "Sources", sources);
        push(&mut rows, "Services", services);
        push(
            &mut rows,
            "Events",
            told.iter().fold(0, |sum: u64, it| sum.saturating_add(it.notice.count)).to_string(),
        );
        push(&mut rows, "First seen", local(begin, offset));
        push(&mut rows, "Last seen", local(end, offset));
        push(&mut rows, "Sensor", node.clone());
        let key = format!("{}-to-{}-{count}", event_id(first.record), last.record.seq);
        Some(Self {
            id: format!("digest-{key}"),
            key,
            events: told.iter().map(|it| it.record.seq).collect(),
            kind: CardKind::Digest,
            severity: worst,
            title,
            sentence,
            rows,
            details,
            time: end,
            when: local(end, offset),
            service: "several".to_owned(),
            source: None,
            node,
            link: link(console, ""),
            test,
        })
    }

    /// What kind of card it is, in a word for its reader.
    pub(crate) fn label(&self) -> &'static str {
        match self.kind {
            _ if self.test => "test",
            CardKind::Opened => "new",
            CardKind::Updated => "update",
            CardKind::Closed => "over",
            CardKind::Digest => "digest",
        }
    }
}

fn rows(notice: &Notice, record: &Record) -> Vec<Row> {
    let mut rows = Vec::new();
    push(&mut rows, "Severity", notice.severity.name().to_owned());
    push(&mut rows, "Source", source(notice));
    push(&mut rows, "Target", target(notice));
    push(&mut rows, "Service", shown(&notice.service, VALUE_MAX));
    push(&mut rows, "Users", list(&notice.users));
    push(&mut rows, "Passwords", list(&notice.passwords));
    push(&mut rows, "Events", notice.count.to_string());
    let (first, last) = (local(notice.first, record.utc_offset), local(notice.last, record.utc_offset));
    if first == last {
        push(&mut rows, "Time", last);
    } else {
        push(&mut rows, "First seen", first);
        push(&mut rows, "Last seen", last);
    }
    push(&mut rows, "Labels", list(&notice.labels));
    push(&mut rows, "Rules", list(&notice.detections));
    push(&mut rows, "Sensor", shown(&record.node_id, VALUE_MAX));
    rows
}

fn push(rows: &mut Vec<Row>, label: &'static str, value: String) {
    if !value.is_empty() {
        rows.push(Row { label, value });
    }
}

/// What it is about, in our own words: a peer chooses neither rule nor intent nor service.
fn subject(notice: &Notice) -> String {
    let what = match notice.rule.as_str() {
        "host-scan" => "port scan of one host",
        "network-scan" => "scan of the network",
        "brute-force" => "password guessing",
        "spray" => "password spraying",
        _ => match notice.intent {
            Intent::Bait => "bait taken",
            Intent::Login => "login attempts",
            Intent::Interact => "requests",
            Intent::Connect => "connections",
            Intent::Housekeeping => return "Word from the sensor".to_owned(),
        },
    };
    let place = match notice.service.as_str() {
        "" | "several" => "several services".to_owned(),
        service => shown(&service.to_uppercase(), VALUE_MAX),
    };
    format!("{} on {place}", capital(what))
}

/// Address, names, hardware and place, as far as they are known.
fn source(notice: &Notice) -> String {
    let Some(address) = notice.source else { return String::new() };
    let known = |name: &str| match notice.about_source.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let asn = known("asn");
    let asn = if asn.is_empty() || asn.starts_with("AS") { asn } else { format!("AS{asn}") };
    let about = [known("name"), known("mac"), known("vendor"), known("country"), asn, known("organisation")];
    let about: Vec<_> = about.into_iter().filter(|it| !it.is_empty()).collect();
    if about.is_empty() {
        address.to_string()
    } else {
        shown(&format!("{address} ({})", about.join(", ")), VALUE_MAX)
    }
}

fn target(notice: &Notice) -> String {
    let ports: Vec<_> = notice.ports.iter().map(ToString::to_string).collect();
    match (list(&notice.targets), list(&ports)) {
        (hosts, ports) if ports.is_empty() => hosts,
        (hosts, ports) if hosts.is_empty() => format!("port {ports}"),
        (hosts, ports) => format!("{hosts}, port {ports}"),
    }
}

/// The first ones, and how many there are beyond them.
fn list(texts: &[String]) -> String {
    const ONE_MAX: usize = 60;
    let shown: Vec<_> =
        texts.iter().filter(|it| !it.is_empty()).take(LIST_MAX).map(|it| shown(it, ONE_MAX)).collect();
    let more = texts.len().saturating_sub(LIST_MAX);
    let joined = shown.join(", ");
    if more > 0 { format!("{joined} and {more} more") } else { joined }
}

/// One incident of a digest.
fn line(told: Told<'_>) -> String {
    let Told { notice, record } = told;
    let label = if notice.test { "test, " } else { "" };
    let time = local(notice.last, record.utc_offset);
    let count = if notice.count == 1 { String::new() } else { format!(" ({} events)", notice.count) };
    format!("{label}{}, {time}: {}{count}", notice.severity.name(), shown(&notice.sentence, VALUE_MAX))
}

/// `2 critical, 5 low`.
fn severities(told: &[Told<'_>]) -> String {
    let count = |severity| told.iter().filter(|it| it.notice.severity == severity).count();
    let counts = Severity::ALL.iter().rev().map(|it| (count(*it), it.name()));
    counts.filter(|it| it.0 > 0).map(|(count, name)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

/// The most frequent values: `10.0.0.5 (12), 10.0.0.6 (1) and 3 more`.
fn counted(told: &[Told<'_>], value: impl Fn(&Notice) -> String) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for it in told {
        *counts.entry(value(it.notice)).or_default() += 1;
    }
    counts.remove("");
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let more = counts.len().saturating_sub(LIST_MAX);
    let shown: Vec<_> =
        counts.iter().take(LIST_MAX).map(|(value, count)| format!("{value} ({count})")).collect();
    let joined = shown.join(", ");
    if more > 0 { format!("{joined} and {more} more") } else { joined }
}

/// `2026-11-22 08:14:40 +01:00`.
fn local(time: Timestamp, offset: i32) -> String {
    let minutes = offset.unsigned_abs() / 60;
    let sign = if offset < 0 { '-' } else { '+' };
    let civil = time.datetime(offset).strftime("%Y-%m-%d %H:%M:%S");
    if minutes == 0 {
        format!("{civil} UTC")
    } else {
        format!("{civil} {sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// The console's page of one incident; of all when there is no id.
fn link(console: &str, id: &str) -> Option<String> {
    let mut url = reqwest::Url::parse(console).ok()?;
    {
        let mut path = url.path_segments_mut().ok()?;
        path.pop_if_empty().push("incidents");
        if !id.is_empty() {
            path.push(id);
        }
    }
    Some(url.into())
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|it| it.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// On one line, without what steers a terminal or reorders text, and not too long.
fn shown(text: &str, limit: usize) -> String {
    Tainted::new(text.as_bytes(), text.len()).shown(limit)
}
