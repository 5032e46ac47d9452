//! Who a source is, as far as can be known without asking it: its name by reverse DNS, its hardware by
//! the neighbour table, its place by databases of the operator's.
//!
//! Nothing here delays an event. Databases are in memory; names and hardware are looked up by threads of
//! their own, bounded in number, queue and memory, and what they found is there for the next event and
//! for the incident. Nothing is sent to a source.

mod names;
mod neighbours;
mod places;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use serde_json::{Map, Value as Json};
use serin_services::choices;

use crate::config::rules::Files;
use neighbours::Neighbours;
use places::Places;

pub(crate) use neighbours::VENDOR_FILES;

/// The detail that says who the source of an event is.
pub(crate) const SOURCE: &str = "SOURCE";

choices! {
    /// Whose names are asked for.
    ReverseDns { Off = "off", Private = "private", All = "all" } wants "off, private or all"
}

serin_services::settings! { "enrich" {
    /// Whose names are asked of the system's resolver: those of private addresses, of all, or of none.
    /// Whoever owns a public address may run its name server, and would see that you ask.
    reverse_dns: ReverseDns = ReverseDns::Private;
    /// Whether the hardware address of a neighbour is noted, with its vendor.
    neighbours: bool = true;
    /// File of hardware vendors: the IEEE's oui.txt, nmap's or Wireshark's. Empty: where those programs
    /// have it.
    vendors: String = String::new();
    /// Databases of places and networks in MaxMind's format (.mmdb), one after the other; later ones fill
    /// in what earlier ones do not know. They are read again when they change.
    databases: Files = Files::default();
} }

/// Looks sources up.
pub(crate) struct Enricher {
    settings: Settings,
    shared: Arc<Shared>,
    places: Places,
    asks: SyncSender<IpAddr>,
}

struct Shared {
    cache: Mutex<HashMap<IpAddr, Entry>>,
    neighbours: RwLock<Neighbours>,
    /// What [`ReverseDns`] allows, and hardware.
    names: ReverseDns,
    hardware: bool,
    /// A test must not talk to the name servers of the machine that it runs on.
    loopback_only: bool,
}

/// What was found of one address.
struct Entry {
    facts: Map<String, Json>,
    /// When it is asked for again.
    until: Instant,
    /// Whether somebody is asking.
    asking: bool,
}

impl Enricher {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        let shared = Arc::new(Shared {
            cache: Mutex::default(),
            neighbours: RwLock::new(Neighbours::new(&settings.vendors)),
            names: settings.reverse_dns,
            hardware: settings.neighbours,
            loopback_only: std::env::var_os("SERIN_TEST").is_some(),
        });
        let (asks, queue) = sync_channel(QUEUE);
        let places = Places::new(settings.databases.0.iter().map(PathBuf::from).collect());
        if shared.names != ReverseDns::Off || shared.hardware {
            let queue = Arc::new(Mutex::new(queue));
            for _ in 0..THREADS {
                let (shared, queue) = (shared.clone(), queue.clone());
                // Without a thread, nothing is found out; everything else goes on.
                let _ = std::thread::Builder::new()
                    .name("enrich".to_owned())
                    .spawn(move || work(&shared, &queue));
            }
        }
        Arc::new(Self { settings, shared, places, asks })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is known of an address by now: `name`, `mac`, `vendor`, `country`, `asn`, `organisation`.
    /// Never waits; what is not known yet is looked up for the next time.
    pub(crate) fn about(&self, address: IpAddr) -> Map<String, Json> {
        let address = address.to_canonical();
        let mut facts = self.cached(address);
        for (name, value) in self.places.about(address) {
            facts.entry(name).or_insert(value);
        }
        facts
    }

    /// The same as a function, for whoever knows nothing of enrichment.
    pub(crate) fn hook(self: &Arc<Self>) -> About {
        let enricher = self.clone();
        Arc::new(move |address| enricher.about(address))
    }

    /// Reads databases again that have changed. Blocks on the disk. Returns what is wrong with them that
    /// was not told before.
    pub(crate) fn refresh(&self) -> Vec<String> {
        self.places.refresh()
    }

    fn cached(&self, address: IpAddr) -> Map<String, Json> {
        if !self.shared.may_ask(address) {
            return Map::new();
        }
        let now = Instant::now();
        let mut cache = self.shared.cache.lock();
        if let Some(entry) = cache.get_mut(&address)
            && (entry.until > now || entry.asking)
        {
            return entry.facts.clone();
        }
        if cache.len() >= CACHE && !cache.contains_key(&address) {
            cache.retain(|_, it| it.until > now);
            if cache.len() >= CACHE {
                cache.clear();
            }
        }
        // With a full queue, the next event of this source asks.
        if self.asks.try_send(address).is_ok() {
            let entry = cache.entry(address).or_insert_with(|| Entry::new(Map::new(), now));
            entry.asking = true;
            return entry.facts.clone();
        }
        cache.get(&address).map(|it| it.facts.clone()).unwrap_or_default()
    }
}

/// Tells what is known of an address, without waiting.
pub(crate) type About = Arc<dyn Fn(IpAddr) -> Map<String, Json> + Send + Sync>;

impl Entry {
    fn new(facts: Map<String, Json>, until: Instant) -> Self {
        Self { facts, until, asking: false }
    }
}

impl Shared {
    /// Whether anything may be asked of this address.
    fn may_ask(&self, address: IpAddr) -> bool {
        self.may_ask_for_name(address) || (self.hardware && is_private(address))
    }

    fn may_ask_for_name(&self, address: IpAddr) -> bool {
        (!self.loopback_only || address.is_loopback())
            && match self.names {
                ReverseDns::Off => false,
                ReverseDns::Private => is_private(address),
                ReverseDns::All => !address.is_unspecified() && !address.is_multicast(),
            }
    }
}

/// Looks up one address after the other, until nobody asks any more.
fn work(shared: &Shared, queue: &Mutex<Receiver<IpAddr>>) {
    loop {
        let asked = queue.lock().recv();
        let Ok(address) = asked else { return };
        let mut facts = Map::new();
        if shared.hardware {
            facts.extend(shared.neighbours.write().about(address));
        }
        if shared.may_ask_for_name(address)
            && let Some(name) = names::of(address)
        {
            facts.insert("name".to_owned(), name.into());
        }
        let known = if facts.is_empty() { UNKNOWN_FOR } else { KNOWN_FOR };
        shared.cache.lock().insert(address, Entry::new(facts, Instant::now() + known));
    }
}

/// Whether an address can be of a network of one's own: RFC 1918, RFC 4193, RFC 6598, link-local,
/// loopback.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => {
            let [first, second, ..] = it.octets();
            let shared = first == 100 && (64..128).contains(&second);
            it.is_private() || it.is_loopback() || it.is_link_local() || shared
        }
        IpAddr::V6(it) => it.is_unique_local() || it.is_loopback() || it.is_unicast_link_local(),
    }
}

/// Threads that look up, and so look-ups that can hang at a dead name server.
const THREADS: usize = 2;
/// Addresses that wait for one.
const QUEUE: usize = 256;
/// Addresses of which something is remembered.
const CACHE: usize = 10_000;
/// How long what was found counts.
const KNOWN_FOR: Duration = Duration::from_hours(1);
/// How long it counts that nothing was found.
const UNKNOWN_FOR: Duration = Duration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        let mut conf = serin_services::conf::Conf::new();
        conf.set("enrich.reverse_dns", text);
        Settings::read(&conf).unwrap()
    }

    #[test]
    fn public_sources_are_asked_for_only_where_that_is_wanted() {
        for (setting, address, expected) in [
            ("private", "10.0.0.5", true),
            ("private", "100.64.0.1", true),
            ("private", "8.8.8.8", false),
            ("private", "fd00::1", true),
            ("private", "2001:db8::1", false),
            ("off", "10.0.0.5", false),
            ("all", "8.8.8.8", true),
        ] {
            let names = settings(setting).reverse_dns;
            let shared = Shared {
                cache: Mutex::default(),
                neighbours: RwLock::new(Neighbours::new("")),
                names,
                hardware: false,
                loopback_only: false,
            };
            assert_eq!(shared.may_ask(address.parse().unwrap()), expected, "{setting} {address}");
        }
    }

    #[test]
    fn the_first_question_does_not_wait_and_a_later_one_has_the_answer() {
        let enricher = Enricher::new(settings("private"));
        let began = Instant::now();
        let _ = enricher.about(std::net::Ipv4Addr::LOCALHOST.into());
        assert!(began.elapsed() < Duration::from_millis(200));
        let patience = Instant::now() + Duration::from_secs(10);
        let name = loop {
            let facts = enricher.about(std::net::Ipv4Addr::LOCALHOST.into());
            if let Some(name) = facts.get("name") {
                break name.clone();
            }
            assert!(Instant::now() < patience, "/etc/hosts names 127.0.0.1");
            std::thread::yield_now();
        };
        assert!(name.as_str().is_some_and(|it| it.contains("localhost")), "{name}");
    }
}
