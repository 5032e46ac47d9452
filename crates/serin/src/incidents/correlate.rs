//! What sources did lately, and what that amounts to.
//!
//! A [`Finding`] says which incidents belong together and what further events belong to them; the
//! engine does the rest. The memory is bounded: a source's oldest touches give way to new ones, and
//! the sources that were quiet for longest to others. It holds nothing that the journal does not, so
//! that after a restart it is made anew from there.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use super::incident::Key;
use super::rule::Rule;
use super::settings::{Settings, micros};
use super::touch::{Touch, fingerprint};

/// That events belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) rule: Rule,
    /// Whose incidents become one.
    pub(super) ties: Ties,
    /// Further events with this key belong to it as well.
    pub(super) catches: Option<Key>,
}

/// Which incidents become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ties {
    /// The one that the event belongs to, alone.
    This,
    /// All of the event's source.
    Source,
    /// Those of these sources in which somebody tried to log in.
    Logins(Vec<IpAddr>),
}

/// What happened lately.
#[derive(Debug, Default)]
pub(super) struct Memory {
    sources: HashMap<IpAddr, Source>,
    credentials: HashMap<u64, Tries>,
}

/// What one source did.
#[derive(Debug, Default)]
struct Source {
    /// Different places, each with when it was last touched, the latest last.
    places: Vec<(Place, i64)>,
    /// Different logins, likewise.
    logins: Vec<(Login, i64)>,
    seen_at: i64,
}

/// Who tried the same credentials, and when last.
#[derive(Debug, Default)]
struct Tries {
    sources: Vec<(IpAddr, i64)>,
    seen_at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    target: IpAddr,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Login {
    service: String,
    user: u64,
    /// `None`: none was sent.
    password: Option<u64>,
}

impl Memory {
    /// Keeps one event in mind. With what it amounts to, together with those before.
    pub(super) fn observe(&mut self, touch: &Touch<'_>, at: i64, settings: &Settings) -> Vec<Finding> {
        let Some(address) = touch.source() else { return Vec::new() };
        let forgotten = at.saturating_sub(settings.memory());
        make_room(&mut self.sources, &address, SOURCES, |it| it.seen_at);
        let source = self.sources.entry(address).or_default();
        source.seen_at = at;
        source.places.retain(|it| it.1 >= forgotten);
        let mut findings = Vec::new();
        if let (Some(target), Some(port)) = (touch.record.target.host, touch.record.target.port) {
            let place = Place { target, port };
            renew(&mut source.places, place, at, PLACES);
            findings.extend(source.scans(place, at, settings));
        }
        if touch.is_login() {
            source.logins.retain(|it| it.1 >= forgotten);
            findings.extend(source.sprays(touch, at, settings));
            findings.extend(self.distributed(touch, address, at, settings));
        }
        findings
    }

    /// Many sources with the same credentials.
    fn distributed(
        &mut self,
        touch: &Touch<'_>,
        source: IpAddr,
        at: i64,
        settings: &Settings,
    ) -> Option<Finding> {
        let least = enabled(settings.distributed_sources)?;
        let print = credentials(touch)?;
        make_room(&mut self.credentials, &print, CREDENTIALS, |it| it.seen_at);
        let tries = self.credentials.entry(print).or_default();
        tries.seen_at = at;
        let since = at.saturating_sub(micros(settings.distributed_period));
        tries.sources.retain(|it| it.1 >= since);
        renew(&mut tries.sources, source, at, TRIES.max(least));
        (tries.sources.len() >= least).then(|| Finding {
            rule: Rule::Distributed,
            ties: Ties::Logins(tries.sources.iter().map(|it| it.0).collect()),
            catches: Some(Key::Credentials(print)),
        })
    }
}

impl Source {
    fn scans(&self, here: Place, at: i64, settings: &Settings) -> Vec<Finding> {
        let within = |period: i64| {
            let since = at.saturating_sub(period);
            self.places.iter().filter(move |it| it.1 >= since).map(|it| it.0)
        };
        let scan = |rule| Finding { rule, ties: Ties::Source, catches: None };
        let host = enabled(settings.host_scan_ports).filter(|least| {
            let period = micros(settings.host_scan_period);
            within(period).filter(|it| it.target == here.target).count() >= *least
        });
        let network = enabled(settings.network_scan_targets).filter(|least| {
            let period = micros(settings.network_scan_period);
            within(period).filter(|it| it.port == here.port).count() >= *least
        });
        host.map(|_| scan(Rule::HostScan))
            .into_iter()
            .chain(network.map(|_| scan(Rule::NetworkScan)))
            .collect()
    }

    fn sprays(&mut self, touch: &Touch<'_>, at: i64, settings: &Settings) -> Option<Finding> {
        let password = touch.password.as_deref().filter(|it| !it.is_empty()).map(|it| fingerprint(&[it]));
        let user = fingerprint(&[touch.user.as_deref().unwrap_or_default()]);
        let login = Login { service: touch.service.as_ref().to_owned(), user, password };
        renew(&mut self.logins, login, at, LOGINS);
        let since = at.saturating_sub(micros(settings.spray_period));
        let recent = || self.logins.iter().filter(|it| it.1 >= since).map(|it| &it.0);
        let spray = |ties| Some(Finding { rule: Rule::Spray, ties, catches: None });
        if let Some(least) = enabled(settings.spray_services)
            && different(recent().map(|it| &it.service)) >= least
        {
            return spray(Ties::Source);
        }
        let same = recent().filter(|it| password.is_some() && it.password == password);
        if let Some(least) = enabled(settings.spray_users)
            && different(same.map(|it| it.user)) >= least
        {
            return spray(Ties::This);
        }
        None
    }
}

/// What stands for the credentials of an event, where a password was sent.
pub(super) fn credentials(touch: &Touch<'_>) -> Option<u64> {
    let password = touch.password.as_deref().filter(|it| touch.is_login() && !it.is_empty())?;
    Some(fingerprint(&[touch.user.as_deref().unwrap_or_default(), password]))
}

/// A number from which on something counts; zero switches it off.
fn enabled(number: u32) -> Option<usize> {
    usize::try_from(number).ok().filter(|it| *it > 0)
}

/// How many of these differ.
fn different<T: Ord>(values: impl Iterator<Item = T>) -> usize {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.dedup();
    values.len()
}

/// Notes that this was seen now, as the latest.
fn renew<T: PartialEq>(list: &mut Vec<(T, i64)>, value: T, at: i64, limit: usize) {
    list.retain(|it| it.0 != value);
    if list.len() >= limit {
        list.remove(0);
    }
    list.push((value, at));
}

/// Makes room for one more, where there is none: a quarter of all goes, those that were quiet for
/// longest.
fn make_room<K: Copy + Eq + Ord + Hash, V>(
    map: &mut HashMap<K, V>,
    key: &K,
    limit: usize,
    seen_at: impl Fn(&V) -> i64,
) {
    if map.len() < limit || map.contains_key(key) {
        return;
    }
    let mut ages: Vec<(i64, K)> = map.iter().map(|(key, it)| (seen_at(it), *key)).collect();
    ages.sort_unstable();
    for (_, key) in ages.into_iter().take(limit / 4) {
        map.remove(&key);
    }
}

/// Sources that are kept in mind.
const SOURCES: usize = 4096;
/// Places that are kept of one.
const PLACES: usize = 128;
/// Logins that are kept of one.
const LOGINS: usize = 128;
/// Credentials that are kept in mind.
const CREDENTIALS: usize = 4096;
/// Sources that are kept of one.
const TRIES: usize = 32;
