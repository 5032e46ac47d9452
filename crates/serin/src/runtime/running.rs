//! A sensor from its first breath to its last: what it says at the start, what it does each second,
//! how it takes a new configuration, how it ends.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::RwLock;
use sd_notify::NotifyState;
use serin_event::kinds;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};

use super::clock;
use super::control::{self, Asked, Request};
use super::greeting::{Greeting, shown};
use super::heartbeat::Beats;
use super::host_keys::Made;
use super::journal::Journal;
use super::management::{Facts, View, router};
use super::privileges;
use super::sensor::{CONSOLE, Sensor, Unavailable};
use super::teller::Teller;
use crate::config::{Complaints, Config, search};
use crate::detections::{self, Detections};
use crate::incidents::{self, Change, Incidents};
use crate::outputs::health::Watch;
use crate::outputs::manager::Manager;
use crate::selftest::Tester;

/// Files of rules, and when each was last changed.
type RulesChanged = Vec<(PathBuf, Option<SystemTime>)>;

/// How a configuration is read again.
pub(crate) type Reload = Box<dyn Fn() -> Result<Config, Complaints> + Send + Sync>;

/// A running sensor with everything around it.
pub(crate) struct Running {
    reload: Reload,
    config: Config,
    sensor: Sensor,
    detections: Detections,
    incidents: Incidents,
    outputs: Manager,
    journal: Journal,
    unavailable: Vec<Unavailable>,
    view: Arc<View>,
    /// When the configuration file was last changed.
    config_changed: Option<SystemTime>,
    /// When each file of ignore rules was last changed.
    rules_changed: RulesChanged,
    seconds: u64,
    /// Records what the floods' count says.
    telling: Option<JoinHandle<()>>,
    /// Makes host keys.
    making: Option<JoinHandle<Made>>,
    /// What the operator has heard of.
    told: Vec<String>,
    /// Looks whether the database is still whole.
    inspecting: Option<JoinHandle<()>>,
    beats: Beats,
    /// Records what is found out each second.
    teller: Teller,
    /// How long outputs have been in trouble.
    watch: Watch,
    /// What other processes ask; `None`: they cannot.
    asked: Option<mpsc::Receiver<Asked>>,
    /// A self-test at work.
    testing: Option<JoinHandle<()>>,
}

impl Running {
    /// A sensor whose ports are served and whose outputs are at work.
    pub(crate) fn start(
        reload: Reload,
        config: Config,
        sensor: Sensor,
        outputs: Manager,
        journal: Journal,
        unavailable: Vec<Unavailable>,
    ) -> Self {
        let view = Arc::new(View {
            journal: journal.clone(),
            metrics: sensor.metrics.clone(),
            seats: sensor.seats.clone(),
            facts: RwLock::default(),
        });
        let config_changed = config.file.as_deref().and_then(modified);
        let rules_changed = search::rules_changed(&config.rule_files);
        let orders = detections::Orders::new(&config.detection, &config.node_id);
        let detections = Detections::start(orders, journal.clone(), sensor.metrics.clone());
        let orders = incidents::Orders::new(&config.incidents, &config.node_id, sensor.enricher.hook());
        let incidents = Incidents::start(orders, journal.clone(), sensor.metrics.clone());
        let teller = Teller::new(sensor.recorder.clone());
        let mut running = Self {
            reload,
            config,
            sensor,
            detections,
            incidents,
            outputs,
            journal,
            unavailable,
            view,
            config_changed,
            rules_changed,
            seconds: 0,
            telling: None,
            making: None,
            told: Vec::new(),
            inspecting: None,
            beats: Beats::default(),
            teller,
            watch: Watch::default(),
            asked: None,
            testing: None,
        };
        running.beats.set(&running.config.heartbeat);
        running.make_host_keys();
        running.refresh_view();
        running
    }

    /// Serves health and metrics.
    pub(crate) fn open_console(&self, listener: TcpListener) {
        let pages = router(self.view.clone());
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, pages).await {
                tracing::error!(%error, "the console ended");
            }
        });
    }

    /// Lets other processes of the operator's ask things of the sensor with this state folder.
    pub(crate) fn open_control(&mut self, state: &Path) {
        match control::listen(state) {
            Ok(asked) => self.asked = Some(asked),
            Err(error) => {
                let path = control::path(state);
                tracing::warn!(%error, path = %path.display(), "`serin selftest` cannot reach this sensor");
            }
        }
    }

    fn refresh_view(&self) {
        let services = self.sensor.services().into_iter();
        *self.view.facts.write() = Facts {
            node_id: self.config.node_id.clone(),
            services: services.map(|(name, address, port)| (name, shown(address, port))).collect(),
            unavailable: self.unavailable.iter().map(|it| it.why.clone()).collect(),
            alarms: self.sensor.alarms().to_vec(),
            outputs: self.outputs.statuses(),
        };
    }

    /// Tells the operator and the log that the sensor runs, and what does not.
    pub(crate) async fn announce(
        &mut self,
        replaced: Option<String>,
        privileges: &privileges::Outcome,
        began: Instant,
    ) {
        for warning in privileges.warnings.iter().chain(&replaced) {
            tracing::warn!("{warning}");
        }
        for note in &self.config.notes {
            tracing::info!("{note}");
        }
        self.greet(privileges, began);
        self.tell_alarms().await;
        self.tell_started(replaced).await;
        // Only where a service manager asked for it.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
    }

    /// OpenCanary's start-up records, which consumers use as signs of life.
    async fn tell_started(&self, replaced: Option<String>) {
        let recorder = &self.sensor.recorder;
        if let Some(text) = replaced {
            recorder.tell(&kinds::ERROR, text).await;
        }
        for problem in &self.unavailable {
            recorder.tell(&kinds::ERROR, problem.why.clone()).await;
        }
        let mut started: Vec<_> =
            self.sensor.services().iter().filter_map(|it| serin_services::find(it.0)).collect();
        started.sort_by_key(|it| STARTED_ORDER.iter().position(|name| *name == it.name));
        started.dedup_by_key(|it| it.name);
        for service in started {
            if let Some((class, module)) = service.opencanary {
                let text = format!("Added service from class {class} in opencanary.modules.{module} to fake");
                recorder.tell(&kinds::MESSAGE, text).await;
            }
        }
        recorder.tell(&kinds::MESSAGE, "Canary running!!!".to_owned()).await;
    }

    /// What listens where, for whoever started this by hand.
    fn greet(&self, privileges: &privileges::Outcome, began: Instant) {
        let mut err = std::io::stderr().lock();
        let text = Greeting {
            config: &self.config,
            services: &self.sensor.services(),
            unavailable: &self.unavailable,
            outputs: &self.outputs.describe(),
            database: self.journal.path(),
            confined: &privileges.summary,
            took: began.elapsed(),
            bold: err.is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        // Nobody may be reading.
        let _ = writeln!(err, "{text}");
    }

    /// Serves until a signal says otherwise.
    pub(crate) async fn until_stopped(mut self) -> anyhow::Result<()> {
        let mut signals = Signals::new()?;
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.hang_up.recv() => {
                    self.outputs.reopen();
                    self.look_for_configuration(true).await;
                }
                Some(asked) = next(&mut self.asked) => self.answer(asked),
                made = outcome(&mut self.making) => self.take_host_keys(made).await,
                _ = second.tick() => self.each_second().await,
            }
        }
        self.stop(&mut signals).await;
        Ok(())
    }

    async fn each_second(&mut self) {
        self.seconds += 1;
        self.show_life().await;
        self.tell_outputs();
        let every = self.config.selftest_every.as_secs();
        if every > 0 && self.seconds.is_multiple_of(every) {
            self.begin_test(Vec::new(), None);
        }
        // Beside the loop: recording may wait for the disk, and signals must not.
        if self.telling.as_ref().is_none_or(JoinHandle::is_finished) {
            let recorder = self.sensor.recorder.clone();
            let save = self.seconds.is_multiple_of(SAVE_HITS_EVERY);
            let refresh = self.seconds % REFRESH_EVERY == 1;
            let enricher = self.sensor.enricher.clone();
            self.telling = Some(tokio::spawn(async move {
                recorder.tell_floods(false).await;
                recorder.tell_expired().await;
                if refresh {
                    let news = tokio::task::spawn_blocking(move || enricher.refresh()).await;
                    for text in news.unwrap_or_default() {
                        tracing::error!("{text}");
                        recorder.tell(&kinds::ERROR, text).await;
                    }
                }
                if save {
                    let counters = recorder.counters.clone();
                    let _ = tokio::task::spawn_blocking(move || counters.save()).await;
                }
            }));
        }
        self.journal.save();
        if self.seconds.is_multiple_of(INSPECT_EVERY)
            && self.inspecting.as_ref().is_none_or(JoinHandle::is_finished)
        {
            let journal = self.journal.clone();
            self.inspecting = Some(tokio::task::spawn_blocking(move || journal.inspect()));
        }
        if self.seconds % RETIRE_EVERY == 1 {
            self.journal.retire(self.config.store.retention());
        }
        self.look_for_configuration(false).await;
        // The console is not tried again, and alone is no reason to build every service anew.
        let missing = self.unavailable.iter().any(|it| it.service != CONSOLE);
        if missing && self.seconds.is_multiple_of(RETRY_EVERY) {
            self.retry_unavailable().await;
        }
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    }

    /// Outputs that have been in trouble for long are told to those that work.
    fn tell_outputs(&mut self) {
        let statuses: Vec<_> = self.outputs.statuses().iter().map(|it| it.read().clone()).collect();
        for notice in self.watch.look(&statuses, tokio::time::Instant::now(), clock::now()) {
            let kind = if notice.change == Change::Closed { &kinds::MESSAGE } else { &kinds::ERROR };
            self.teller.tell(kind, notice.sentence.clone());
            self.teller.tell_notice(notice);
        }
    }

    /// An event, and a sign to the dead man's switch, when they are due.
    async fn show_life(&mut self) {
        if self.beats.tick() {
            let services = self.sensor.services().len();
            let text =
                format!("alive: {services} ports served, {} events stored", *self.journal.stored().borrow());
            self.teller.tell(&kinds::PING, text);
        }
        let well = self.journal.health().trouble.is_none() && self.unavailable.is_empty();
        if let Some(news) = self.beats.tell_switch(well).await {
            tracing::warn!("{news}");
            self.teller.tell(&kinds::ERROR, news);
        }
    }

    fn answer(&mut self, asked: Asked) {
        match asked.request {
            Request::Selftest { services } => self.begin_test(services, Some(asked.answer)),
            Request::MoveOutput { output, cursor } => {
                // Whoever asked may have gone, here and below.
                let _ = asked.answer.send(self.outputs.go_to(&output, cursor).map(|()| cursor.into()));
            }
            Request::ForgetDead { output, seqs } => {
                let journal = self.journal.clone();
                tokio::spawn(async move {
                    let gone = journal.unbury(output, seqs).await;
                    let _ = asked.answer.send(gone.map(Into::into));
                });
            }
        }
    }

    /// Starts a self-test beside everything else; one at a time.
    fn begin_test(&mut self, only: Vec<String>, answer: Option<Answering>) {
        if self.testing.as_ref().is_some_and(|it| !it.is_finished()) {
            if let Some(answer) = answer {
                let _ = answer.send(Err("a self-test is at work already".to_owned()));
            }
            return;
        }
        let tester = Tester {
            recorder: self.sensor.recorder.clone(),
            journal: self.journal.clone(),
            services: self.sensor.services(),
            unavailable: self.unavailable.iter().map(|it| (it.service, it.why.clone())).collect(),
            outputs: self.outputs.statuses(),
            node_id: self.config.node_id.clone(),
        };
        let recorder = self.sensor.recorder.clone();
        self.testing = Some(tokio::spawn(async move {
            let report = tester.run(&only).await;
            for output in report.outputs.iter().filter(|it| !it.well) {
                let text = format!("self-test: output {}: {}", output.output, output.outcome);
                recorder.tell(&kinds::ERROR, text).await;
            }
            if let Some(answer) = answer {
                // Whoever asked may have gone.
                let _ = answer.send(serde_json::to_value(&report).map_err(|it| it.to_string()));
            }
        }));
    }

    /// The console is opened at the start alone; what was wrong with it stays wrong.
    fn console_problem(&self) -> Option<Unavailable> {
        self.unavailable.iter().find(|it| it.service == CONSOLE).cloned()
    }

    /// What could not be served at the start may be possible by now.
    async fn retry_unavailable(&mut self) {
        let console = self.console_problem();
        let (served, still) = self.sensor.retry(&self.config);
        self.unavailable = still.into_iter().chain(console).collect();
        for text in served {
            tracing::info!("{text}");
            self.sensor.recorder.tell(&kinds::MESSAGE, text).await;
            self.refresh_view();
        }
    }

    /// Reads the configuration again if it changed, or if somebody asked for it. A file that has not
    /// changed and that we may not read any more, since we are not root any more, is left alone.
    async fn look_for_configuration(&mut self, asked: bool) {
        let Some(file) = &self.config.file else { return };
        let changed = modified(file);
        let rules = search::rules_changed(&self.config.rule_files);
        let fresh = (changed.is_some() && changed != self.config_changed) || rules != self.rules_changed;
        if fresh || (asked && std::fs::File::open(file).is_ok()) {
            self.config_changed = changed;
            self.rules_changed = rules;
            self.take_new_configuration().await;
        } else if asked {
            let file = file.display();
            tracing::info!(
                "{file} has not changed, and only root may read it: outputs reopened, nothing else"
            );
        }
    }

    /// Reads the configuration again. One with mistakes changes nothing.
    async fn take_new_configuration(&mut self) {
        let config = match (self.reload)() {
            Ok(config) => config,
            Err(complaints) => {
                eprint!("{complaints}");
                let text = format!("the changed configuration was not taken: {}", complaints.summary());
                tracing::error!("{text}");
                self.sensor.recorder.tell(&kinds::ERROR, text).await;
                return;
            }
        };
        let later = self.config.at_next_start(&config);
        let console = self.console_problem();
        self.unavailable = self.sensor.reload(&config).await.into_iter().chain(console).collect();
        self.detections.set(detections::Orders::new(&config.detection, &config.node_id));
        let about = self.sensor.enricher.hook();
        self.incidents.set(incidents::Orders::new(&config.incidents, &config.node_id, about));
        self.outputs.reload(&config.outputs, &self.journal).await;
        self.rules_changed = search::rules_changed(&config.rule_files);
        self.config = config;
        self.beats.set(&self.config.heartbeat);
        self.make_host_keys();
        self.refresh_view();
        self.tell_alarms().await;
        for problem in &self.unavailable {
            tracing::error!("{}", problem.why);
            self.sensor.recorder.tell(&kinds::ERROR, problem.why.clone()).await;
        }
        let mut text = "Configuration reloaded".to_owned();
        if !later.is_empty() {
            text = format!("{text}; at the next start: {}", later.join(", "));
        }
        tracing::info!("{text}");
        self.sensor.recorder.tell(&kinds::CONFIG_SAVE, text).await;
    }

    /// Starts making host keys where some are missing, beside everything else.
    fn make_host_keys(&mut self) {
        if self.making.is_none() {
            self.making = self.sensor.host_keys_to_make().map(tokio::task::spawn_blocking);
        }
    }

    async fn take_host_keys(&mut self, made: Result<Made, JoinError>) {
        match made {
            Ok(made) => {
                let console = self.console_problem();
                let unavailable = self.sensor.take_host_keys(made, &self.config).await;
                self.unavailable = unavailable.into_iter().chain(console).collect();
                self.make_host_keys();
                self.refresh_view();
                self.tell_alarms().await;
            }
            Err(error) => tracing::error!("host keys were not made: {error}"),
        }
    }

    /// Tells what is new of what the operator must hear of.
    async fn tell_alarms(&mut self) {
        let alarms = self.sensor.alarms().to_vec();
        for text in alarms.iter().filter(|it| !self.told.contains(it)) {
            tracing::error!("{text}");
            self.sensor.recorder.tell(&kinds::ERROR, text.clone()).await;
        }
        self.told = alarms;
    }

    async fn stop(mut self, signals: &mut Signals) {
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        let orderly = async {
            self.sensor.stop().await;
            self.teller.finish().await;
            self.journal.flush().await;
            self.detections.stop().await;
            self.incidents.stop().await;
            self.outputs.stop().await;
            self.journal.stop().await;
        };
        // A second signal means: now.
        tokio::select! {
            () = orderly => {}
            _ = signals.terminate.recv() => {}
            _ = signals.interrupt.recv() => {}
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

type Answering = oneshot::Sender<Result<serde_json::Value, String>>;

/// What is asked next; never, where nobody can ask.
async fn next(asked: &mut Option<mpsc::Receiver<Asked>>) -> Option<Asked> {
    match asked {
        Some(asked) => asked.recv().await,
        None => std::future::pending().await,
    }
}

/// What a task came to; never, where there is none.
async fn outcome<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    let Some(running) = task else { return std::future::pending().await };
    let outcome = running.await;
    *task = None;
    outcome
}

fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|it| it.modified()).ok()
}

/// The order in which OpenCanary tells that it added its services.
const STARTED_ORDER: [&str; 19] = [
    "ftp",
    "git",
    "http",
    "https",
    "mongodb",
    "mysql",
    "ntp",
    "rdp",
    "redis",
    "sip",
    "ssh",
    "tcpbanner",
    "tftp",
    "vnc",
    "httpproxy",
    "mssql",
    "telnet",
    "snmp",
    "llmnr",
];
/// Seconds between two looks for events that are too old.
const RETIRE_EVERY: u64 = 60;
/// Seconds between two looks whether the database is still whole.
const INSPECT_EVERY: u64 = 10;
/// Seconds between two looks whether databases of places have changed.
const REFRESH_EVERY: u64 = 5;
/// Seconds between two times that hits of ignore rules are saved.
const SAVE_HITS_EVERY: u64 = 5;
/// Seconds between two tries to open a port that could not be had.
const RETRY_EVERY: u64 = 10;
