//! Puts a sensor together, changes it while it runs, and takes it apart.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, TcpListener as BoundSocket};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use parking_lot::RwLock;
use serin_event::kinds;
use serin_services::conf::Conf;
use serin_services::{Listening, Service, Tls};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::certificates::Certificates;
use super::connection::STOPPING;
use super::floods::Floods;
use super::host_keys::{KeyFiles, Made};
use super::journal::Journal;
use super::listener::{bind, serve};
use super::metrics::Metrics;
use super::port::{Limits, Port, TlsMode};
use super::recorder::{Recorder, Rules};
use super::seats::Seats;
use crate::benign::Labeller;
use crate::config::Config;
use crate::enrich::Enricher;
use crate::ignore::Counters;
use crate::state::StateDir;

/// One port that the configuration wants.
pub(crate) struct Wanted {
    pub(crate) service: &'static Service,
    pub(crate) address: IpAddr,
    pub(crate) listening: Listening,
    pub(crate) tls: TlsMode,
}

/// A port that the configuration wants and that cannot be had.
#[derive(Debug, Clone)]
pub(crate) struct Unavailable {
    pub(crate) service: &'static str,
    /// What is wrong and what to do: `ftp.port: 21 is taken by another program; …`.
    pub(crate) why: String,
}

/// What stands for a service's name where the console cannot be served.
pub(crate) const CONSOLE: &str = "console";

/// All ports that `config` wants. What cannot be had is told and left out.
pub(crate) fn wanted(
    config: &Config,
    certificates: &mut Certificates,
    host_keys: &KeyFiles,
) -> (Vec<Wanted>, Vec<Unavailable>) {
    let mut conf = Conf::clone(&config.services).with_identity(certificates.identity().clone());
    conf.set_host_keys(host_keys.keys());
    let conf = &conf;
    let (mut ports, mut unavailable) = (Vec::new(), Vec::new());
    for service in serin_services::ALL.iter().copied().filter(|it| conf.enabled(it)) {
        if service.name == SSH && host_keys.is_hopeless() {
            let why = "ssh: none of its host keys can be read or made; what is wrong with each is an alarm of its own";
            unavailable.push(Unavailable { service: SSH, why: why.to_owned() });
            continue;
        }
        // An opener cannot be cloned: each address gets a build of its own.
        for address in &config.listen {
            match (service.build)(conf) {
                Ok(built) => {
                    for listening in built {
                        match tls_mode(&listening.tls, certificates) {
                            Ok(tls) => ports.push(Wanted { service, address: *address, listening, tls }),
                            Err(why) => unavailable.push(Unavailable { service: service.name, why }),
                        }
                    }
                }
                Err(complaints) => unavailable.extend(complaints.iter().map(|it| Unavailable {
                    service: service.name,
                    why: format!("{}: {}", it.key, it.text),
                })),
            }
        }
    }
    // What is wrong with a service is wrong on each of its addresses.
    unavailable.dedup_by(|one, other| one.why == other.why);
    (ports, unavailable)
}

fn tls_mode(tls: &Tls, certificates: &mut Certificates) -> Result<TlsMode, String> {
    let mut config = |wanted| certificates.get(wanted).map_err(|it| it.to_string());
    Ok(match tls {
        Tls::No => TlsMode::Never,
        Tls::OnRequest(certificate) => TlsMode::OnRequest(config(certificate)?),
        Tls::AtOnce(certificate) => TlsMode::AtOnce(config(certificate)?),
    })
}

/// Opens the socket of one port, or says why not and what to do.
pub(crate) fn open(wanted: &Wanted, only_v6: bool) -> Result<BoundSocket, Unavailable> {
    let port = wanted.listening.port;
    let bound = match bind(wanted.address, port, only_v6) {
        // A host without IPv6: all addresses are the IPv4 ones.
        Err(error)
            if wanted.address.is_unspecified()
                && wanted.address.is_ipv6()
                && error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) =>
        {
            bind(Ipv4Addr::UNSPECIFIED.into(), port, false)
        }
        other => other,
    };
    bound.map_err(|error| {
        let key = &wanted.listening.key;
        let why = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!("{key}: {port} is taken by another program on {}; choose another port, or stop it", wanted.address)
            }
            std::io::ErrorKind::PermissionDenied => format!(
                "{key}: {port} needs CAP_NET_BIND_SERVICE; start as root or through the service manager, or choose a port from 1024 up; a running sensor has given that right up, so restart it"
            ),
            std::io::ErrorKind::AddrNotAvailable => {
                format!("device.listen_addr: this host does not have the address {}", wanted.address)
            }
            _ => format!("{key}: {port} on {} cannot be opened: {error}", wanted.address),
        };
        Unavailable { service: wanted.service.name, why }
    })
}

/// Whether `::` leaves IPv4 to a socket of its own.
pub(crate) fn only_v6(config: &Config) -> bool {
    config.listen.iter().any(|it| it.is_ipv4() && it.is_unspecified())
}

/// A port that is served.
struct Running {
    port: Arc<RwLock<Arc<Port>>>,
    task: JoinHandle<()>,
}

/// A running sensor.
pub(crate) struct Sensor {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) seats: Arc<Seats>,
    pub(crate) metrics: Arc<Metrics>,
    /// Says who a source is.
    pub(crate) enricher: Arc<Enricher>,
    certificates: Certificates,
    host_keys: KeyFiles,
    /// Whether SSH has its keys. Until then its clients wait to be accepted.
    keys_there: watch::Sender<bool>,
    listeners: HashMap<(IpAddr, u16), Running>,
    next_id: u64,
}

impl Sensor {
    /// A sensor that serves nothing yet.
    pub(crate) fn new(
        config: &Config,
        certificates: Certificates,
        host_keys: KeyFiles,
        state: &StateDir,
        journal: &Journal,
    ) -> Self {
        let metrics = Arc::new(Metrics::new());
        let (total, per_source) = connection_bounds(config);
        let seats = Seats::new(total, per_source);
        let floods = Floods::new(config.limits.events_per_second.unwrap_or(0));
        let enricher = Enricher::new(config.enrich.clone());
        let counters = Counters::open(state.ignore_hits());
        let recorder = Recorder::new(
            rules(config, &enricher),
            journal.clone(),
            metrics.clone(),
            floods,
            counters,
            state.panics(),
        );
        Self {
            recorder: Arc::new(recorder),
            enricher,
            seats,
            metrics,
            certificates,
            keys_there: watch::Sender::new(host_keys.is_whole()),
            host_keys,
            listeners: HashMap::new(),
            next_id: 1,
        }
    }

    /// Serves a port whose socket is open.
    pub(crate) fn serve(
        &mut self,
        wanted: Wanted,
        socket: BoundSocket,
        config: &Config,
    ) -> Result<(), Unavailable> {
        let place = (wanted.address, wanted.listening.port);
        let service = wanted.service.name;
        let listener = TcpListener::from_std(socket)
            .map_err(|it| Unavailable { service, why: format!("{}: {it}", wanted.listening.key) })?;
        let port = Arc::new(RwLock::new(Arc::new(self.port(wanted, config, None))));
        let task = match service {
            SSH => {
                let (mut keys_there, port) = (self.keys_there.subscribe(), port.clone());
                tokio::spawn(async move {
                    // An error means that the sensor is gone.
                    if keys_there.wait_for(|it| *it).await.is_ok() {
                        serve(listener, port).await;
                    }
                })
            }
            _ => tokio::spawn(serve(listener, port.clone())),
        };
        self.listeners.insert(place, Running { port, task });
        Ok(())
    }

    fn port(&mut self, wanted: Wanted, config: &Config, id: Option<u64>) -> Port {
        let id = id.unwrap_or(self.next_id);
        self.next_id += 1;
        let limits = Limits {
            session_bytes: config.limits.session_bytes.map_or(u64::MAX, u64::from),
            session_time: config.limits.session_time.unwrap_or(FOR_EVER),
            first_byte: config.limits.first_byte.unwrap_or(FOR_EVER),
        };
        Port {
            id,
            service: wanted.service,
            open: wanted.listening.open,
            tls: wanted.tls,
            keep_alive: wanted.listening.keep_alive,
            limits,
            recorder: self.recorder.clone(),
            seats: self.seats.clone(),
            connections: self.metrics.connections(wanted.service.name),
        }
    }

    /// Changes what is served to what `config` wants. Conversations under way keep their settings;
    /// those of a port that is gone are ended. What cannot be had is returned.
    pub(crate) async fn reload(&mut self, config: &Config) -> Vec<Unavailable> {
        self.host_keys.read(&config.services);
        self.keys_there.send_replace(self.host_keys.is_whole());
        self.take(config).await
    }

    /// Host keys that are yet to be made: work that takes up to a second, and whose outcome is for
    /// [`Sensor::take_host_keys`].
    pub(crate) fn host_keys_to_make(&self) -> Option<impl FnOnce() -> Made + Send + 'static> {
        self.host_keys.making()
    }

    /// Goes on with keys that were made.
    pub(crate) async fn take_host_keys(&mut self, made: Made, config: &Config) -> Vec<Unavailable> {
        self.host_keys.add(made);
        let unavailable = self.take(config).await;
        self.keys_there.send_replace(self.host_keys.is_whole());
        unavailable
    }

    /// What an operator must hear of, beside what is not served.
    pub(crate) fn alarms(&self) -> &[String] {
        self.host_keys.alarms()
    }

    async fn take(&mut self, config: &Config) -> Vec<Unavailable> {
        if *self.enricher.settings() != config.enrich {
            self.enricher = Enricher::new(config.enrich.clone());
        }
        self.recorder.replace_rules(rules(config, &self.enricher));
        let (total, per_source) = connection_bounds(config);
        self.seats.set_bounds(total, per_source);
        self.recorder.floods.set_bound(config.limits.events_per_second.unwrap_or(0));
        let (ports, mut unavailable) = wanted(config, &mut self.certificates, &self.host_keys);
        let kept: HashSet<_> = ports.iter().map(|it| (it.address, it.listening.port)).collect();
        self.close_others(&kept).await;
        for wanted in ports {
            let place = (wanted.address, wanted.listening.port);
            if let Some(running) = self.listeners.remove(&place) {
                let before = running.port.read().clone();
                // The same number as long as it is the same service, so that all its conversations
                // can be ended, however often it was changed.
                let id = (before.service.name == wanted.service.name).then_some(before.id);
                *running.port.write() = Arc::new(self.port(wanted, config, id));
                self.listeners.insert(place, running);
                continue;
            }
            if let Err(error) = self.open_and_serve(wanted, config) {
                unavailable.push(error);
            }
        }
        unavailable
    }

    fn open_and_serve(&mut self, wanted: Wanted, config: &Config) -> Result<(), Unavailable> {
        let socket = open(&wanted, only_v6(config))?;
        self.serve(wanted, socket, config)
    }

    /// Stops serving all ports but `kept`. Their sockets are closed when this returns, so that
    /// another address of the same port can be opened.
    async fn close_others(&mut self, kept: &HashSet<(IpAddr, u16)>) {
        let all = std::mem::take(&mut self.listeners);
        for (place, running) in all {
            if kept.contains(&place) {
                self.listeners.insert(place, running);
                continue;
            }
            running.task.abort();
            let _ = running.task.await;
            self.seats.clear(Some(running.port.read().id), STOPPING);
        }
    }

    /// Tries again to open what could not be had: whoever held the port may have gone. Returns what
    /// is served now, and what is still missing.
    pub(crate) fn retry(&mut self, config: &Config) -> (Vec<String>, Vec<Unavailable>) {
        let (ports, mut unavailable) = wanted(config, &mut self.certificates, &self.host_keys);
        let mut served = Vec::new();
        for wanted in ports {
            let place = (wanted.address, wanted.listening.port);
            if self.listeners.contains_key(&place) {
                continue;
            }
            let name = format!("{} is served on port {} now", wanted.service.name, wanted.listening.port);
            match self.open_and_serve(wanted, config) {
                Ok(()) => served.push(name),
                Err(error) => unavailable.push(error),
            }
        }
        (served, unavailable)
    }

    /// What is served, by service and port.
    pub(crate) fn services(&self) -> Vec<(&'static str, IpAddr, u16)> {
        let mut services: Vec<_> = self
            .listeners
            .iter()
            .map(|((address, port), running)| (running.port.read().service.name, *address, *port))
            .collect();
        services.sort_unstable();
        services
    }

    /// Stops accepting, lets conversations end, and records how they ended.
    pub(crate) async fn stop(&mut self) {
        for running in self.listeners.values() {
            running.task.abort();
        }
        self.seats.clear(None, STOPPING);
        let patience = tokio::time::Instant::now() + STOP_PATIENCE;
        while self.seats.count() > 0 && tokio::time::Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.recorder.settle().await;
        self.recorder.tell_floods(true).await;
        self.recorder.tell(&kinds::MESSAGE, "Canary stopped".to_owned()).await;
        self.recorder.counters.save();
    }
}

fn rules(config: &Config, enricher: &Arc<Enricher>) -> Rules {
    Rules {
        node_id: config.node_id.as_str().into(),
        ignore: config.ignore.clone(),
        harmless: config.rules.clone(),
        labeller: Labeller::new(config.patterns.clone()),
        about: Some(enricher.hook()),
        honeycreds: config.honeycreds.clone(),
        verdicts: parking_lot::Mutex::default(),
    }
}

/// Most connections in all and of one source; 0: no bound. Never so many that no descriptor is left
/// for the store, the outputs and the console.
fn connection_bounds(config: &Config) -> (usize, usize) {
    let bound = |it: Option<u32>| it.map_or(0, |it| usize::try_from(it).unwrap_or(usize::MAX));
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |it| it.0);
    let most = usize::try_from(descriptors).unwrap_or(usize::MAX).saturating_sub(DESCRIPTORS_OF_OURS).max(1);
    let total = match bound(config.limits.connections) {
        0 => most,
        wanted => wanted.min(most),
    };
    (total, bound(config.limits.connections_per_source))
}

/// The one service that has keys of its own.
const SSH: &str = "ssh";
/// Where no limit is configured: longer than any process lives.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);
/// Files and sockets that are not peers'.
const DESCRIPTORS_OF_OURS: usize = 96;
const STOP_PATIENCE: Duration = Duration::from_secs(2);
