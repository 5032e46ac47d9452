//! `serin run`: from a configuration to a running sensor, and back to nothing.

use std::io::{self, IsTerminal as _};
use std::net::TcpListener as BoundSocket;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serin_services::Tls;

use super::{Sensor as Arguments, fail};
use crate::config::{Config, NOTHING_STARTED};
use crate::enrich::VENDOR_FILES;
use crate::outputs::manager::Manager;
use crate::outputs::{self, OutputConf, Owner};
use crate::runtime::certificates::Certificates;
use crate::runtime::host_keys::KeyFiles;
use crate::runtime::journal::Journal;
use crate::runtime::privileges::{self, Plan};
use crate::runtime::running::Running;
use crate::runtime::sensor::{self, Sensor, Unavailable, Wanted};
use crate::state::StateDir;

/// Runs the sensor until it is told to stop.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    start_log();
    let config = match arguments.load() {
        Ok(config) => config,
        Err(complaints) => {
            eprintln!("{complaints}\n{NOTHING_STARTED}");
            return ExitCode::FAILURE;
        }
    };
    match prepare(arguments, config).and_then(Prepared::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn start_log() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("SERIN_LOG").unwrap_or_else(|_| EnvFilter::new("warn,serin=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// Everything that is done before there are threads: sockets open, privileges given up.
struct Prepared {
    arguments: Arguments,
    config: Config,
    state: StateDir,
    certificates: Certificates,
    host_keys: KeyFiles,
    ports: Vec<(Wanted, BoundSocket)>,
    unavailable: Vec<Unavailable>,
    console: Option<BoundSocket>,
    outputs: outputs::manager::Prepared,
    privileges: privileges::Outcome,
    began: Instant,
}

fn prepare(arguments: &Arguments, config: Config) -> anyhow::Result<Prepared> {
    let began = Instant::now();
    let state = arguments.state_beside(config.store.state_dir.clone());
    state.create()?;
    let identity = state.identity(&config.hostname)?;
    raise_descriptor_limit();
    // As root still: the files that OpenCanary left may be root's.
    let mut host_keys = KeyFiles::new(&state, &identity.host);
    host_keys.read(&config.services);
    let mut certificates = Certificates::new(state.clone(), identity);
    let (wanted, mut unavailable) = sensor::wanted(&config, &mut certificates, &host_keys);
    let mut ports = Vec::new();
    for port in wanted {
        match sensor::open(&port, sensor::only_v6(&config)) {
            Ok(socket) => ports.push((port, socket)),
            Err(error) => unavailable.push(error),
        }
    }
    let console = match config.console.map(|it| (it, BoundSocket::bind(it))) {
        Some((_, Ok(socket))) => Some(socket),
        Some((address, Err(error))) => {
            let why = format!(
                "console.listen: {address} cannot be opened: {error}; choose another, or \"\" for none"
            );
            unavailable.push(Unavailable { service: sensor::CONSOLE, why });
            None
        }
        None => None,
    };
    let plan = Plan {
        user: config.run.user.as_deref(),
        group: config.run.group.as_deref(),
        sandbox: config.run.sandbox,
        state: &state,
        logs: config.outputs.iter().filter_map(OutputConf::file).collect(),
        readable: read_again(&config),
    };
    let next = privileges::next_user(&plan)?;
    let owner = next.map(|(uid, gid)| Owner { uid: uid.as_raw(), gid: gid.as_raw() });
    let outputs = Manager::prepare(&config.outputs, owner);
    let privileges = privileges::give_up(&plan, next)?;
    Ok(Prepared {
        arguments: arguments.clone(),
        config,
        state,
        certificates,
        host_keys,
        ports,
        unavailable,
        console,
        outputs,
        privileges,
        began,
    })
}

/// The files and folders that are read again with a new configuration.
fn read_again(config: &Config) -> Vec<PathBuf> {
    let conf = &config.services;
    let folders = conf.iter().filter(|it| conf.folder(it.0).is_some()).filter_map(|it| it.1.as_str());
    let enabled = serin_services::ALL.iter().filter(|it| conf.enabled(it));
    let certificates =
        enabled.filter_map(|it| (it.build)(conf).ok()).flatten().filter_map(|it| match it.tls {
            Tls::AtOnce(certificate) | Tls::OnRequest(certificate) => certificate.files,
            Tls::No => None,
        });
    let certificates = certificates.flat_map(|(chain, key)| [chain, key]).map(PathBuf::from);
    let outputs = config.outputs.iter().flat_map(OutputConf::reads);
    let vendors = Some(config.enrich.vendors.as_str()).filter(|it| !it.is_empty());
    let vendors: Vec<PathBuf> = match vendors {
        Some(file) => vec![file.into()],
        None => VENDOR_FILES.iter().map(PathBuf::from).filter(|it| it.exists()).collect(),
    };
    let looked_up = config.enrich.databases.0.iter().map(PathBuf::from).chain(vendors);
    let detection = crate::detections::library::paths(&config.detection);
    let own = config.file.iter().chain(&config.rule_files).cloned().chain(looked_up).chain(detection);
    own.chain(folders.map(PathBuf::from)).chain(certificates).chain(outputs).collect()
}

/// As many connections as the system lets us have.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, soft, "the limit of open files stays");
    }
}

impl Prepared {
    fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("serin")
            .build()
            .context("worker threads")?;
        let outcome = runtime.block_on(self.serve());
        // What is still at work (a name look-up of an output, say) must not hold up the end.
        runtime.shutdown_timeout(Duration::from_secs(1));
        outcome
    }

    async fn serve(self) -> anyhow::Result<()> {
        let (journal, replaced) = open_journal(&self.config, &self.state)?;
        let mut sensor = Sensor::new(&self.config, self.certificates, self.host_keys, &self.state, &journal);
        let mut unavailable = self.unavailable;
        for (wanted, socket) in self.ports {
            if let Err(error) = sensor.serve(wanted, socket, &self.config) {
                unavailable.push(error);
            }
        }
        let arguments = self.arguments;
        let reload = Box::new(move || arguments.load());
        let mut running =
            Running::start(reload, self.config, sensor, self.outputs.start(&journal), journal, unavailable);
        if let Some(socket) = self.console {
            socket.set_nonblocking(true).context("console.listen")?;
            running.open_console(tokio::net::TcpListener::from_std(socket).context("console.listen")?);
        }
        running.open_control(self.state.path());
        running.announce(replaced, &self.privileges, self.began).await;
        running.until_stopped().await
    }
}

/// Opens the store and starts its writer. With what the operator must hear of it.
fn open_journal(config: &Config, state: &StateDir) -> anyhow::Result<(Journal, Option<String>)> {
    let mut options = serin_store::Options::new(state.database());
    options.durability = match config.store.durability {
        crate::config::Durability::Full => serin_store::Durability::Full,
        crate::config::Durability::Normal => serin_store::Durability::Normal,
    };
    Journal::start(options, config.node_id.as_str().into())
}
