//! The settings of the sensor itself: what is not a service and not an output.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use serin_services::conf::{Complaint, Key, Setting};

use crate::outputs::transport::http;

/// Addresses to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses(pub Vec<IpAddr>);

impl Setting for Addresses {
    const WANTS: &'static str = "an IP address of this host, or a list of them";

    fn read(value: &Value) -> Result<Self, ()> {
        let one = |text: &str| text.trim().parse::<IpAddr>().map_err(drop);
        match value {
            // OpenCanary's way to say: everywhere.
            Value::String(text) if text.is_empty() => Ok(Self(Vec::new())),
            Value::String(text) => text.split(',').map(one).collect::<Result<_, _>>().map(Self),
            Value::Array(list) => {
                list.iter().map(|it| it.as_str().ok_or(()).and_then(one)).collect::<Result<_, _>>().map(Self)
            }
            _ => Err(()),
        }
    }

    fn show(&self) -> Value {
        self.0.iter().map(ToString::to_string).collect()
    }

    fn schema() -> Value {
        json!({ "type": ["string", "array"], "items": { "type": "string" } })
    }
}

/// Where the console listens, if anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door(pub Option<SocketAddr>);

impl Setting for Door {
    const WANTS: &'static str = "an address and port such as 127.0.0.1:8737, or \"\" for none";

    fn read(value: &Value) -> Result<Self, ()> {
        match value.as_str().ok_or(())? {
            "" => Ok(Self(None)),
            text => text.parse().map(|it| Self(Some(it))).map_err(drop),
        }
    }

    fn show(&self) -> Value {
        self.0.map(|it| it.to_string()).unwrap_or_default().into()
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

/// How careful the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// What is stored survives a power cut.
    Full,
    /// What is stored survives a crash of the process; a power cut may cost the last moments.
    Normal,
}

impl Setting for Durability {
    const WANTS: &'static str = "full or normal";

    fn read(value: &Value) -> Result<Self, ()> {
        match value.as_str() {
            Some("full") => Ok(Self::Full),
            Some("normal") => Ok(Self::Normal),
            _ => Err(()),
        }
    }

    fn show(&self) -> Value {
        match self {
            Self::Full => "full".into(),
            Self::Normal => "normal".into(),
        }
    }

    fn schema() -> Value {
        json!({ "enum": ["full", "normal"] })
    }
}

/// Names of the sensor.
pub(crate) mod device {
    use super::Addresses;

    serin_services::settings! { "device" {
        /// Name of this sensor; every record carries it.
        node_id: String = "serin-1".into();
        /// Addresses that the services listen on. Empty: all of this host.
        listen_addr: Addresses = Addresses(Vec::new());
        /// Host name that the services show. Empty: one is made at the first start and kept.
        hostname: String = String::new();
        /// A name for the device. OpenCanary checks it and uses it nowhere.
        name: String = String::new();
        /// A description of the device. OpenCanary checks it and uses it nowhere.
        desc: String = String::new();
    } }
}

/// The web console.
pub(crate) mod console {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::Door;

    serin_services::settings! { "console" {
        /// Where the web console, health and metrics are served. Empty: nowhere.
        listen: Door = Door(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8737))));
    } }
}

/// What peers may use up.
pub(crate) mod limits {
    use std::time::Duration;

    serin_services::settings! { "limits" {
        /// Connections at one time, over all services. 0: no limit.
        connections: u32 = 50_000;
        /// Connections at one time from one source. 0: no limit.
        connections_per_source: u32 = 12_000;
        /// Bytes that one connection may send. 0: no limit.
        session_bytes: u32 = 16_777_216;
        /// Seconds that one connection may last. 0: no limit.
        session_time: Duration = Duration::from_hours(1);
        /// Seconds that a connection may wait with its first byte. 0: no limit.
        first_byte: Duration = Duration::from_mins(5);
        /// Events in one second from one source that are kept one by one; more are counted. 0: no limit.
        events_per_second: u32 = 50_000;
    } }
}

/// Where and for how long events are kept.
pub(crate) mod store {
    use super::Durability;

    serin_services::settings! { "store" {
        /// Days that events are kept. 0: for ever.
        keep_days: u32 = 90;
        /// Most megabytes that the database may take. 0: no limit.
        max_size_mb: u32 = 2048;
        /// `full`: an event counts as stored when it survives a power cut; `normal`: when it
        /// survives the end of the process.
        durability: Durability = Durability::Full;
        /// Folder of the database, keys and certificates. Empty: `$STATE_DIRECTORY`,
        /// `/var/lib/serin` or the user's own state folder.
        state_dir: String = String::new();
    } }
}

/// How the process runs.
pub(crate) mod run {
    serin_services::settings! { "run" {
        /// User to become after the ports are open, by name or number. Empty: `serin` or `nobody`
        /// when started as root.
        user: String = String::new();
        /// Group to become, by name or number. Empty: the user's own.
        group: String = String::new();
        /// Whether the process locks itself in (Landlock, seccomp) where the system can.
        sandbox: bool = true;
    } }
}

/// Signs of life.
pub(crate) mod heartbeat {
    use std::time::Duration;

    use crate::outputs::secret::Secret;

    serin_services::settings! { "heartbeat" {
        /// Seconds between two events that say that the sensor is alive. 0: none.
        every: Duration = Duration::from_hours(1), opencanary 0;
        /// An address that is asked for while all is well, at a service that tells you when that stops:
        /// a dead man's switch. Empty: none. Whoever knows it can pretend to be alive, so it is a secret.
        url: Secret = Secret::default();
        /// Seconds between two such requests.
        url_every: Duration = Duration::from_mins(1);
    } }
}

/// The sensor's own tries of itself.
pub(crate) mod selftest {
    use std::time::Duration;

    serin_services::settings! { "selftest" {
        /// Seconds between two self-tests: a day is 86400. 0: only when asked for with `serin selftest`.
        every: Duration = Duration::ZERO;
    } }
}

/// All settings of the sensor, section by section.
pub(crate) const KEYS: [&[Key]; 12] = [
    device::Settings::KEYS,
    console::Settings::KEYS,
    limits::Settings::KEYS,
    store::Settings::KEYS,
    crate::incidents::settings::Settings::KEYS,
    crate::detections::settings::Settings::KEYS,
    run::Settings::KEYS,
    heartbeat::Settings::KEYS,
    selftest::Settings::KEYS,
    super::rules::settings::Settings::KEYS,
    super::rules::benign::Settings::KEYS,
    crate::enrich::Settings::KEYS,
];

/// What peers may use up; `None` means no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at one time, over all services.
    pub connections: Option<u32>,
    /// Connections at one time from one source.
    pub connections_per_source: Option<u32>,
    /// Bytes that one connection may send.
    pub session_bytes: Option<u32>,
    /// How long one connection may last.
    pub session_time: Option<Duration>,
    /// How long a connection may wait with its first byte.
    pub first_byte: Option<Duration>,
    /// Events in one second from one source that are kept one by one.
    pub events_per_second: Option<u32>,
}

/// Where and for how long events are kept; `None` means no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Days that events are kept.
    pub keep_days: Option<u32>,
    /// Most megabytes that the database may take.
    pub max_size_mb: Option<u32>,
    /// How careful the store is.
    pub durability: Durability,
    /// Folder of the database, keys and certificates, where one is named.
    pub state_dir: Option<String>,
}

/// How the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// User to become after the ports are open, by name or number.
    pub user: Option<String>,
    /// Group to become, by name or number.
    pub group: Option<String>,
    /// Whether the process locks itself in.
    pub sandbox: bool,
}

/// Signs of life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Between two events; zero: none.
    pub every: Duration,
    /// The dead man's switch.
    pub(crate) url: Option<reqwest::Url>,
    /// Between two requests to it.
    pub url_every: Duration,
}

impl Heartbeat {
    /// From the settings, which may be wrong about the address.
    pub(crate) fn read(settings: &heartbeat::Settings) -> Result<Self, Vec<Complaint>> {
        const KEY: &str = "heartbeat.url";
        let mut complaints = Vec::new();
        let text = settings.url.reveal_or_complain(KEY, &mut complaints);
        let url = if text.is_empty() { None } else { Some(http::url(KEY, &text)) };
        let url = url.transpose().unwrap_or_else(|it| {
            complaints.push(it);
            None
        });
        if complaints.is_empty() {
            Ok(Self { every: settings.every, url, url_every: settings.url_every })
        } else {
            Err(complaints)
        }
    }
}

fn above_zero<T: Default + PartialEq>(value: T) -> Option<T> {
    Some(value).filter(|it| *it != T::default())
}

impl From<limits::Settings> for Limits {
    fn from(it: limits::Settings) -> Self {
        Self {
            connections: above_zero(it.connections),
            connections_per_source: above_zero(it.connections_per_source),
            session_bytes: above_zero(it.session_bytes),
            session_time: above_zero(it.session_time),
            first_byte: above_zero(it.first_byte),
            events_per_second: above_zero(it.events_per_second),
        }
    }
}

impl From<store::Settings> for Store {
    fn from(it: store::Settings) -> Self {
        Self {
            keep_days: above_zero(it.keep_days),
            max_size_mb: above_zero(it.max_size_mb),
            durability: it.durability,
            state_dir: above_zero(it.state_dir),
        }
    }
}

impl Store {
    /// How long and how much to keep, in the store's own terms.
    pub(crate) fn retention(&self) -> serin_store::Retention {
        const DAY: Duration = Duration::from_hours(24);
        const MEGABYTE: u64 = 1_000_000;
        serin_store::Retention {
            keep: self.keep_days.map_or(Duration::MAX, |it| DAY.saturating_mul(it)),
            // Counts by hour are small and show what the events no longer can.
            keep_counts: self.keep_days.map_or(Duration::MAX, |it| DAY.saturating_mul(it).saturating_mul(4)),
            max_bytes: self.max_size_mb.map_or(u64::MAX, |it| u64::from(it) * MEGABYTE),
        }
    }
}

impl From<run::Settings> for Run {
    fn from(it: run::Settings) -> Self {
        Self { user: above_zero(it.user), group: above_zero(it.group), sandbox: it.sandbox }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_one_or_several() {
        let read = |it: Value| Addresses::read(&it).map(|it| it.0.len());
        assert_eq!(read(json!("")), Ok(0));
        assert_eq!(read(json!("::")), Ok(1));
        assert_eq!(read(json!("10.0.0.1, fe80::1")), Ok(2));
        assert_eq!(read(json!(["10.0.0.1"])), Ok(1));
        assert_eq!(read(json!("eth0")), Err(()));
        assert_eq!(read(json!([1])), Err(()));
    }

    #[test]
    fn zero_is_no_limit_and_the_console_can_be_off() {
        let mut conf = serin_services::conf::Conf::new();
        conf.set("limits.session_time", 0);
        let limits = Limits::from(limits::Settings::read(&conf).unwrap());
        assert_eq!((limits.session_time, limits.connections), (None, Some(50_000)));
        assert_eq!(Door::read(&json!("")), Ok(Door(None)));
        assert_eq!(Door::read(&json!("localhost")), Err(()));
        assert_eq!(Door::read(&json!("[::1]:80")).map(|it| it.show()), Ok(json!("[::1]:80")));
    }
}
