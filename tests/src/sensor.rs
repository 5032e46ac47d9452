//! A running Serin.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Map, Value, json};
use serin_store::{Query, Reader};
use tempfile::TempDir;

use crate::client::{Outcome, client_in};
use crate::ports::free_port;

/// What is waited for at most.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test: built beside this one, never by it.
#[must_use]
pub fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its path");
    // target/debug/deps/e2e-0123 → target/debug/serin
    let path = own.parent().and_then(Path::parent).map(|it| it.join("serin")).expect("a target folder");
    assert!(path.is_file(), "{} is missing; `./test build` makes it", path.display());
    path
}

/// The folder where `./test tools` unpacked the programs that cannot be installed beside others.
#[must_use]
pub fn genuine() -> PathBuf {
    let beside = || binary().parent().and_then(Path::parent).map(|it| it.join("genuine")).unwrap_or_default();
    let folder = std::env::var_os("SERIN_GENUINE").map_or_else(beside, PathBuf::from);
    assert!(folder.is_dir(), "{} is missing; `./test tools` unpacks it", folder.display());
    folder
}

/// Runs `serin` with these arguments to its end.
#[track_caller]
#[must_use]
pub fn serin(folder: &Path, arguments: &[&str]) -> Outcome {
    client_in(folder, &binary().display().to_string(), arguments, "")
}

/// Calls `look` until it finds something; gives up after twenty seconds with `what` was wanted.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// As it stands in the file.
    pub line: String,
    /// The same, read.
    pub json: Value,
}

impl Event {
    /// Its number.
    #[must_use]
    pub fn logtype(&self) -> u64 {
        self.json["logtype"].as_u64().unwrap_or(0)
    }

    /// The text of its `logdata`, as it stands in the file.
    #[must_use]
    pub fn logdata(&self) -> &str {
        let (_, after) = self.line.split_once("\"logdata\": ").expect("a line with logdata");
        after.rsplit_once(", \"logtype\": ").expect("logtype follows logdata").0
    }

    /// Whether the sensor speaks of itself.
    #[must_use]
    pub fn is_housekeeping(&self) -> bool {
        (1000..=1005).contains(&self.logtype())
    }
}

/// A Serin that is not running yet: an OpenCanary configuration with free ports.
#[derive(Debug)]
pub struct Setup {
    dir: TempDir,
    conf: Map<String, Value>,
    ports: BTreeMap<String, u16>,
    environment: Vec<(String, String)>,
    inside: Vec<String>,
}

impl Setup {
    /// These services on free ports, no waiting before a refusal, and a log file.
    #[must_use]
    pub fn of(services: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("serin-e2e-").tempdir().expect("a folder");
        // The sensor leaves root behind when it is started as root.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("a folder for all");
        let log = dir.path().join("log.json");
        let console = free_port();
        let mut setup = Self {
            dir,
            conf: Map::new(),
            ports: BTreeMap::new(),
            environment: Vec::new(),
            inside: Vec::new(),
        };
        setup.ports.insert("console".to_owned(), console);
        setup = setup
            .with("device.node_id", "opencanary-1")
            .with("device.listen_addr", "127.0.0.1")
            .with("console.listen", format!("127.0.0.1:{console}"))
            .with(
                "logger",
                json!({ "class": "PyLogger", "kwargs": { "handlers": {
                    "file": { "class": "logging.FileHandler", "filename": log },
                } } }),
            );
        for service in services {
            let port = free_port();
            setup.ports.insert((*service).to_owned(), port);
            setup = setup.with(&format!("{service}.enabled"), true);
            if *service == "tcpbanner" {
                setup = setup.with("tcpbanner_1.enabled", true).with("tcpbanner_1.port", port);
            } else {
                setup = setup.with(&format!("{service}.port"), port);
            }
            if ["ftp", "ssh", "telnet"].contains(service) {
                setup = setup.with(&format!("{service}.login_delay"), 0);
            }
            if *service == "ssh" {
                let keys = setup.dir.path().join("opencanary-keys").display().to_string();
                setup = setup.with("ssh.key_path", keys);
            }
            if *service == "https" {
                let file = |name| setup.dir.path().join(name).display().to_string();
                let (certificate, key) = (file("https.pem"), file("https.key"));
                setup = setup.with("https.certificate", certificate).with("https.key", key);
            }
        }
        setup
    }

    /// Sets one key.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.conf.insert(key.to_owned(), value.into());
        self
    }

    /// Adds an output: its settings as `serin.toml` has them, with its `type`.
    #[must_use]
    pub fn output(mut self, name: &str, settings: Value) -> Self {
        let Value::Object(settings) = settings else { panic!("settings are a table") };
        for (key, value) in settings {
            self.conf.insert(format!("outputs.{name}.{key}"), value);
        }
        self
    }

    /// Sets one environment variable for the sensor.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the sensor through this command, which must end in executing its arguments.
    #[must_use]
    pub fn inside(mut self, command: &[&str]) -> Self {
        self.inside = command.iter().map(|it| (*it).to_owned()).collect();
        self
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Writes the configuration, starts the sensor and waits until it is ready.
    #[track_caller]
    #[must_use]
    pub fn start(self) -> Sensor {
        let mut sensor = Sensor { setup: self, child: None };
        sensor.write_config();
        sensor.start();
        sensor
    }
}

/// A running Serin; ended when dropped.
#[derive(Debug)]
pub struct Sensor {
    setup: Setup,
    child: Option<Child>,
}

impl Sensor {
    /// Writes the configuration file anew.
    pub fn write_config(&self) {
        let text = serde_json::to_string_pretty(&self.setup.conf).expect("JSON");
        fs::write(self.config(), text).expect("a configuration file");
    }

    /// Starts it, and waits until it says that it runs.
    #[track_caller]
    pub fn start(&mut self) {
        let running =
            |it: &Self| it.lines().iter().filter(|it| it.line.contains("Canary running!!!")).count();
        let before = running(self);
        let said = File::create(self.said_path()).expect("a file");
        let mut command = match self.setup.inside.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(binary());
                command
            }
            None => Command::new(binary()),
        };
        let child = command
            .arg("run")
            .arg("--config")
            .arg(self.config())
            .arg("--state-dir")
            .arg(self.state())
            .current_dir(self.folder())
            .env("SERIN_TEST", "1")
            .envs(self.setup.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a file"))
            .stderr(said)
            .spawn()
            .expect("serin starts");
        self.child = Some(child);
        let began = Instant::now();
        while running(self) == before {
            let ended = self.child.as_mut().and_then(|it| it.try_wait().expect("a child"));
            assert!(ended.is_none(), "serin ended with {ended:?}:\n{}", self.said());
            assert!(began.elapsed() < PATIENCE, "serin is not ready:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The port of a service; `console` has one as well.
    #[must_use]
    pub fn port(&self, service: &str) -> u16 {
        self.setup.ports[service]
    }

    /// Its folder, for clients to work in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.setup.dir.path()
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder().join("opencanary.conf")
    }

    /// Its state folder.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder().join("state")
    }

    /// Its log file.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder().join("log.json")
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running sensor").id()
    }

    /// Changes one key of the configuration file.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.setup.conf.insert(key.to_owned(), value.into());
        self.write_config();
    }

    fn said_path(&self) -> PathBuf {
        self.folder().join("said.txt")
    }

    /// What it said on standard output and standard error since it was started.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.said_path()).unwrap_or_default()
    }

    /// The whole lines of the log, in order.
    #[must_use]
    pub fn lines(&self) -> Vec<Event> {
        read_events(&self.log())
    }

    /// The log without what the sensor says of itself.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.lines().into_iter().filter(|it| !it.is_housekeeping()).collect()
    }

    /// Waits until the log holds `count` events of a kind, and returns all of that kind.
    #[track_caller]
    #[must_use]
    pub fn wait_for(&self, logtype: u64, count: usize) -> Vec<Event> {
        eventually(&format!("{count} events {logtype} in {}", self.log().display()), || {
            let found: Vec<_> = self.lines().into_iter().filter(|it| it.logtype() == logtype).collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// The texts of `logdata` of the first `count` events of a kind, which must be all there are.
    #[track_caller]
    #[must_use]
    pub fn logdata(&self, logtype: u64, count: usize) -> Vec<String> {
        let found: Vec<_> = self.wait_for(logtype, count).iter().map(|it| it.logdata().to_owned()).collect();
        assert_eq!(found.len(), count, "more than wanted: {found:#?}");
        found
    }

    /// What the store holds beyond the log of each event of a kind, in order.
    #[track_caller]
    #[must_use]
    pub fn details(&self, logtype: u32) -> Vec<Value> {
        let store = Reader::open(self.state().join("serin.db")).expect("a store");
        let query = Query { logtypes: vec![logtype], ..Query::default() };
        let found = store.query(&query).expect("a store that can be read");
        found.iter().map(|it| serde_json::from_str(&it.details).expect("JSON")).collect()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process number");
        kill(Pid::from_raw(pid), signal).expect("a signal");
    }

    /// Asks it to stop and waits for its end.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.ended()
    }

    /// Ends it without warning.
    pub fn crash(&mut self) {
        self.signal(Signal::SIGKILL);
        self.ended();
    }

    #[track_caller]
    fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a running sensor");
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("a child") {
                return status;
            }
            if began.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                panic!("serin does not end:\n{}", self.said());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Runs a command of `serin` that reads this sensor's state.
    #[track_caller]
    #[must_use]
    pub fn ask(&self, arguments: &[&str]) -> Outcome {
        let state = self.state().display().to_string();
        let mut all = arguments.to_vec();
        all.extend(["--state-dir", &state]);
        serin(self.folder(), &all)
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            eprintln!("--- the sensor's log:\n{log}--- what it said:\n{}", self.said());
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn read_events(log: &Path) -> Vec<Event> {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8(text).expect("a log is ASCII");
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    whole
        .lines()
        .map(|line| Event {
            line: line.to_owned(),
            json: serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in the line {line}")),
        })
        .collect()
}
