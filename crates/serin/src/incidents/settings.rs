//! What the operator decides about incidents.

use std::time::Duration;

use serde_json::{Value, json};
use serin_event::{Intent, Severity};
use serin_services::conf::Setting;

use super::rule::Rule;

serin_services::settings! { "incidents" {
    /// Whether events are put together to incidents. Without it nobody is alerted of incidents; events
    /// are stored and sent as ever.
    enabled: bool = true;
    /// Seconds after the last event of an incident until it is over. What the same source does on
    /// the same service before that belongs to it.
    window: Duration = Duration::from_mins(5);
    /// Other windows for some services or severities, such as `["ssh=600", "critical=3600"]`. A
    /// service's goes before a severity's.
    windows: Windows = Windows(Vec::new());
    /// How far somebody must go before it is an incident: connect, interact, login or bait. What
    /// stays below is stored and tells nobody.
    threshold: Threshold = Threshold(Intent::Connect);
    /// Other thresholds for some services, such as `["http=login"]`.
    thresholds: Thresholds = Thresholds(Vec::new());
    /// Seconds between two messages of an incident that merely goes on. When it gets worse, that is
    /// told at once.
    update_every: Duration = Duration::from_mins(15);
    /// Whether it is told that an incident is over, with its totals.
    tell_close: bool = true;
    /// Seconds that a new incident waits before it is told, so that a scan of many services is told
    /// as one. Logins and bait never wait.
    gather: Duration = Duration::from_millis(700);
    /// Most incidents that are open at one time; beyond it the one that was quiet for longest ends.
    max_open: u32 = 2000;
    /// New incidents within a minute from which on further ones are told together as one, bait
    /// excepted. 0: never.
    flood: u32 = 50;
    /// Ports of one target that one source touches within `host_scan_period`, to make it a scan. 0:
    /// no scan is told.
    host_scan_ports: u32 = 5;
    /// Seconds.
    host_scan_period: Duration = Duration::from_secs(50);
    /// Addresses of ours on which one source touches the same port within `network_scan_period`, to
    /// make it a scan of the network. 0: none is told.
    network_scan_targets: u32 = 2;
    /// Seconds.
    network_scan_period: Duration = Duration::from_hours(1);
    /// Logins from one source on one service within an incident, to make it brute force. 0: none is
    /// told.
    brute_force_logins: u32 = 10;
    /// Users for whom one source tries the same password within `spray_period`, to make it a spray.
    /// 0: none is told.
    spray_users: u32 = 5;
    /// Services on which one source tries to log in within `spray_period`, to make it a spray. 0:
    /// none is told.
    spray_services: u32 = 3;
    /// Seconds.
    spray_period: Duration = Duration::from_mins(10);
    /// Sources that try the same user with the same password within `distributed_period`, to tell
    /// them as one. 0: each is told alone.
    distributed_sources: u32 = 5;
    /// Seconds.
    distributed_period: Duration = Duration::from_hours(1);
} }

impl Default for Settings {
    fn default() -> Self {
        let defaults = Self::read(&serin_services::conf::Conf::new());
        defaults.unwrap_or_else(|it| unreachable!("the defaults are of their types: {it:?}"))
    }
}

impl Settings {
    /// How far somebody must go on this service.
    pub(super) fn threshold_of(&self, service: &str) -> Intent {
        let own = self.thresholds.0.iter().find(|it| it.0 == service);
        own.map_or(self.threshold.0, |it| it.1)
    }

    /// How long an incident waits for another event, in microseconds. One of several services waits
    /// as long as the most patient of them.
    pub(super) fn window_of(&self, services: &[String], severity: Severity) -> i64 {
        let named = |name: &str| self.windows.0.iter().find(|it| it.0 == name).map(|it| it.1);
        let by_severity = named(severity.name()).unwrap_or(self.window);
        let of = |service: &String| named(service).unwrap_or(by_severity);
        micros(services.iter().map(of).max().unwrap_or(by_severity))
    }

    /// For how long what happened is kept in mind for correlations, in microseconds.
    pub(super) fn memory(&self) -> i64 {
        let periods =
            [self.host_scan_period, self.network_scan_period, self.spray_period, self.distributed_period];
        micros(periods.into_iter().max().unwrap_or_default())
    }

    /// How long an incident that this rule made may wait before it is told, in microseconds.
    pub(super) fn gather_of(&self, intent: Intent, rules: &[Rule]) -> i64 {
        let at_once = intent >= Intent::Login && !rules.contains(&Rule::Flood);
        if at_once { 0 } else { micros(self.gather) }
    }
}

/// In microseconds.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// How far somebody must go, as a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Threshold(pub(crate) Intent);

fn intent(text: &str) -> Option<Intent> {
    Intent::by_name(text).filter(|it| *it != Intent::Housekeeping)
}

impl Setting for Threshold {
    const WANTS: &'static str = "connect, interact, login or bait";

    fn read(value: &Value) -> Result<Self, ()> {
        value.as_str().and_then(intent).map(Self).ok_or(())
    }

    fn show(&self) -> Value {
        json!(self.0.name())
    }

    fn schema() -> Value {
        json!({ "enum": ["connect", "interact", "login", "bait"] })
    }
}

/// The pairs of a list such as `["ssh=600", "critical=3600"]`, or of one text with commas between.
fn pairs<T>(
    value: &Value,
    known: impl Fn(&str) -> bool,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<(String, T)>, ()> {
    let texts: Vec<&str> = match value {
        Value::String(text) => text.split(',').filter(|it| !it.trim().is_empty()).collect(),
        Value::Array(list) => list.iter().map(|it| it.as_str().ok_or(())).collect::<Result<_, _>>()?,
        _ => return Err(()),
    };
    let pair = |text: &&str| {
        let (name, value) = text.split_once('=').ok_or(())?;
        let name = name.trim();
        if !known(name) {
            return Err(());
        }
        Ok((name.to_owned(), read(value.trim()).ok_or(())?))
    };
    texts.iter().map(pair).collect()
}

fn is_service(name: &str) -> bool {
    serin_event::kinds::ALL.iter().any(|it| it.service == name) || serin_services::find(name).is_some()
}

/// Windows of services and severities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Windows(pub(crate) Vec<(String, Duration)>);

impl Setting for Windows {
    const WANTS: &'static str =
        "a list of services or severities with seconds, such as [\"ssh=600\", \"critical=3600\"]";

    fn read(value: &Value) -> Result<Self, ()> {
        let known = |name: &str| is_service(name) || Severity::by_name(name).is_some();
        let seconds = |text: &str| Duration::read(&json!(text.parse::<f64>().ok()?)).ok();
        pairs(value, known, seconds).map(Self)
    }

    fn show(&self) -> Value {
        self.0.iter().map(|(name, it)| format!("{name}={}", it.as_secs_f64())).collect()
    }

    fn schema() -> Value {
        json!({ "type": ["array", "string"], "items": { "type": "string" } })
    }
}

/// Thresholds of services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thresholds(pub(crate) Vec<(String, Intent)>);

impl Setting for Thresholds {
    const WANTS: &'static str =
        "a list of services with connect, interact, login or bait, such as [\"http=login\"]";

    fn read(value: &Value) -> Result<Self, ()> {
        pairs(value, is_service, intent).map(Self)
    }

    fn show(&self) -> Value {
        self.0.iter().map(|(name, it)| format!("{name}={}", it.name())).collect()
    }

    fn schema() -> Value {
        json!({ "type": ["array", "string"], "items": { "type": "string" } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_goes_before_a_severity_and_both_before_the_rest() {
        let windows = Windows::read(&json!(["ssh=600", "critical = 3600.5"])).unwrap();
        assert_eq!(windows.show(), json!(["ssh=600", "critical=3600.5"]));
        let settings = Settings { windows, ..Settings::default() };
        let window = |services: &[&str], severity| {
            let services: Vec<_> = services.iter().map(|it| (*it).to_owned()).collect();
            settings.window_of(&services, severity) / 1000
        };
        assert_eq!(window(&["ftp"], Severity::High), 300_000);
        assert_eq!(window(&["ftp"], Severity::Critical), 3_600_500);
        assert_eq!(window(&["ssh"], Severity::Critical), 600_000);
        assert_eq!(window(&["ftp", "ssh"], Severity::High), 600_000);
    }

    #[test]
    fn pairs_are_checked() {
        assert_eq!(Thresholds::read(&json!("http=login, ssh=bait")).unwrap().0.len(), 2);
        assert_eq!(Thresholds::read(&json!("")).unwrap().0, []);
        for wrong in
            [json!(["htp=login"]), json!(["http=housekeeping"]), json!(["http"]), json!([1]), json!(5)]
        {
            assert_eq!(Thresholds::read(&wrong), Err(()), "{wrong}");
        }
        assert_eq!(Windows::read(&json!(["ssh=-1"])), Err(()));
        assert_eq!(Windows::read(&json!(["ssh=86401"])), Err(()));
        let settings =
            Settings { thresholds: Thresholds(vec![("http".into(), Intent::Login)]), ..Settings::default() };
        assert_eq!(settings.threshold_of("http"), Intent::Login);
        assert_eq!(settings.threshold_of("ftp"), Intent::Connect);
    }
}
