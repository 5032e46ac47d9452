//! Benign patterns: what a well-known harmless tool looks like. They label events; they hide nothing
//! unless the operator says so, because whoever wants to can look the same.
//!
//! A source that matched keeps its label for a while, so that what a scanner does next on other services
//! carries it too. State is bounded, and depends on nothing but the events and their times.

mod library;
mod reading;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use parking_lot::Mutex;
use serde_json::json;
use serin_event::{Intent, Record};

use crate::ignore::{Conditions, Facts, LABEL};

pub(crate) use library::built_in;
pub(crate) use reading::parse;

/// One harmless tool.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(crate) name: String,
    /// Any of these shows it.
    marks: Vec<Mark>,
    /// Microseconds for which a source that matched keeps the label.
    spread: i64,
}

/// What an event, or a burst of them, is like.
#[derive(Debug, Clone)]
struct Mark {
    conditions: Conditions,
    burst: Option<Burst>,
}

/// What one source touches within a time. Each number asks for at least so many different ones.
#[derive(Debug, Clone, Copy)]
struct Burst {
    services: usize,
    ports: usize,
    /// Microseconds.
    within: i64,
}

/// What is known of a source.
#[derive(Debug, Default)]
struct Seen {
    /// When, which service, which port: the last ones.
    touches: VecDeque<(i64, &'static str, u16)>,
    /// Labels by the place of their pattern, and until when they stay.
    labels: Vec<(usize, i64)>,
    last: i64,
}

/// All patterns, and what they have seen.
#[derive(Debug, Default)]
pub(crate) struct Labeller {
    patterns: Vec<Pattern>,
    /// Places of patterns by the names of kinds that can match.
    by_kind: HashMap<&'static str, Vec<usize>>,
    bursts: bool,
    sources: Mutex<HashMap<IpAddr, Seen>>,
}

impl Labeller {
    pub(crate) fn new(patterns: Vec<Pattern>) -> Self {
        let mut by_kind: HashMap<&'static str, Vec<usize>> = HashMap::new();
        for kind in serin_event::kinds::ALL {
            let may = |it: &Pattern| it.marks.iter().any(|it| it.conditions.may_meet(kind));
            let meant: Vec<_> = patterns.iter().enumerate().filter(|it| may(it.1)).map(|it| it.0).collect();
            if !meant.is_empty() {
                by_kind.insert(kind.name, meant);
            }
        }
        let bursts = patterns.iter().flat_map(|it| &it.marks).any(|it| it.burst.is_some());
        Self { patterns, by_kind, bursts, sources: Mutex::default() }
    }

    /// Adds the labels that an event has earned, by itself or by what its source did before.
    pub(crate) fn label(&self, record: &mut Record) {
        let Some(source) = record.source.host else { return };
        if record.kind.intent == Intent::Housekeeping || record.is_selftest() {
            return;
        }
        let names = self.labels(source, record);
        if !names.is_empty() {
            record.add_detail(LABEL, json!(names));
        }
    }

    fn labels(&self, source: IpAddr, record: &Record) -> Vec<&str> {
        let now = record.time.0;
        let candidates = self.by_kind.get(record.kind.name).map(Vec::as_slice).unwrap_or_default();
        let mut sources = self.sources.lock();
        if self.bursts {
            make_room(&mut sources, source);
            let seen = sources.entry(source).or_default();
            seen.touches.push_back((now, record.kind.service, record.target.port.unwrap_or(0)));
            if seen.touches.len() > TOUCHES {
                seen.touches.pop_front();
            }
            seen.last = now;
        }
        let facts = Facts::of(record);
        let touches = sources.get(&source).map(|it| &it.touches);
        let met = |it: &Mark| {
            it.conditions.may_meet(record.kind)
                && it.conditions.meet(&facts)
                && it.burst.is_none_or(|it| touches.is_some_and(|touches| it.is_met(touches, now)))
        };
        let fresh: Vec<usize> = candidates
            .iter()
            .copied()
            .filter(|at| self.patterns.get(*at).is_some_and(|it| it.marks.iter().any(met)))
            .collect();
        if !fresh.is_empty() {
            make_room(&mut sources, source);
            let seen = sources.entry(source).or_default();
            seen.last = now;
            for at in fresh {
                let until = now.saturating_add(self.patterns.get(at).map_or(0, |it| it.spread));
                seen.labels.retain(|it| it.0 != at);
                seen.labels.push((at, until));
            }
            seen.labels.sort_unstable();
        }
        let Some(seen) = sources.get_mut(&source) else { return Vec::new() };
        seen.labels.retain(|it| it.1 >= now);
        seen.labels.iter().filter_map(|it| self.patterns.get(it.0)).map(|it| it.name.as_str()).collect()
    }
}

impl Burst {
    fn is_met(&self, touches: &VecDeque<(i64, &'static str, u16)>, now: i64) -> bool {
        let recent = || touches.iter().filter(|it| now.saturating_sub(it.0) <= self.within);
        let mut services: Vec<_> = recent().map(|it| it.1).collect();
        let mut ports: Vec<_> = recent().map(|it| it.2).collect();
        services.sort_unstable();
        services.dedup();
        ports.sort_unstable();
        ports.dedup();
        services.len() >= self.services && ports.len() >= self.ports
    }
}

/// Forgets the sources that were silent for longest, where there is no room for another.
fn make_room(sources: &mut HashMap<IpAddr, Seen>, wanted: IpAddr) {
    if sources.len() < SOURCES || sources.contains_key(&wanted) {
        return;
    }
    let mut ages: Vec<_> = sources.iter().map(|(address, it)| (it.last, *address)).collect();
    ages.sort_unstable();
    for (_, address) in ages.into_iter().take(SOURCES / 4) {
        sources.remove(&address);
    }
}

/// Sources that are remembered.
const SOURCES: usize = 4096;
/// Touches of one source that are remembered.
const TOUCHES: usize = 64;

#[cfg(test)]
mod tests {
    use serin_event::{Endpoint, Event, Tainted, Timestamp, Value, kinds};

    use super::*;

    fn at(seconds: i64, host: &str, event: &Event) -> Record {
        Record {
            source: Endpoint { host: host.parse().ok(), port: Some(40_000) },
            target: Endpoint { host: "192.0.2.1".parse().ok(), port: Some(21) },
            ..Record::of(event, Timestamp(seconds * 1_000_000), 0, "node")
        }
    }

    fn labels(labeller: &Labeller, mut record: Record) -> Vec<String> {
        labeller.label(&mut record);
        let labels = record.detail(LABEL).unwrap_or_default();
        labels.as_array().into_iter().flatten().filter_map(|it| it.as_str()).map(str::to_owned).collect()
    }

    fn page(agent: &str) -> Event {
        Event::new(&kinds::HTTP_GET).with("USERAGENT", Value::from(agent.to_owned()))
    }

    fn login() -> Event {
        Event::new(&kinds::FTP_LOGIN).with("USERNAME", Tainted::new(b"root", 64))
    }

    #[test]
    fn a_source_keeps_its_label_for_a_while_and_others_do_not_get_it() {
        let labeller = Labeller::new(built_in());
        assert!(labels(&labeller, at(0, "10.0.0.5", &login())).is_empty());
        assert_eq!(labels(&labeller, at(1, "10.0.0.5", &page("Nessus SOAP"))), ["nessus"]);
        assert_eq!(labels(&labeller, at(60, "10.0.0.5", &login())), ["nessus"]);
        assert!(labels(&labeller, at(60, "10.0.0.6", &login())).is_empty());
        assert!(labels(&labeller, at(100_000, "10.0.0.5", &login())).is_empty());
    }

    #[test]
    fn a_burst_is_many_services_within_its_time() {
        let text = "name = 'sweep'\nabout = 'x'\nsources = ['own']\n[[match]]\nburst = { services = 2, seconds = 10 }\n";
        let labeller = Labeller::new(vec![parse(text).unwrap()]);
        assert!(labels(&labeller, at(0, "10.0.0.5", &login())).is_empty());
        assert!(labels(&labeller, at(20, "10.0.0.5", &page("x"))).is_empty(), "too slow");
        assert_eq!(labels(&labeller, at(25, "10.0.0.5", &login())), ["sweep"]);
    }

    #[test]
    fn sources_without_end_take_no_memory_without_end() {
        let labeller = Labeller::new(built_in());
        for number in 0..20_000u32 {
            let host = std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string();
            assert_eq!(labels(&labeller, at(i64::from(number), &host, &page("Nessus SOAP"))), ["nessus"]);
        }
        assert!(labeller.sources.lock().len() <= SOURCES);
    }
}
