//! `opencanaryd`: the verbs that scripts and service files of OpenCanary use.
//!
//! It is a thin starter of the `serin` beside it. Differences to the original, each for a reason:
//! `--start` returns only when the sensor serves (or says why it does not), `--restart` waits for
//! the old one to end, `--help` succeeds. What the sensor says of itself is in `serin.log` of its
//! state folder, anew with each start.

use std::fs::{File, Permissions};
use std::io::{self, Read as _, Seek as _, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Sensor, fail};
use crate::config::NOTHING_STARTED;
use crate::state::StateDir;

/// What was asked for.
#[derive(Debug, PartialEq)]
struct Request {
    verb: Verb,
    user: Option<String>,
    group: Option<String>,
    config: Option<PathBuf>,
    pid_file: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Start,
    Dev,
    Stop,
    Restart,
    CopyConfig,
    UserModule,
    Version,
    Help,
}

/// Runs the verb in the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let request = match read(&arguments) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("opencanaryd: {error}\n\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    let done = match request.verb {
        Verb::Start => start(&request),
        Verb::Dev => foreground(&request),
        Verb::Stop => stop(&request),
        Verb::Restart => stop(&request).and_then(|()| start(&request)),
        Verb::CopyConfig => copy_config(Path::new(CONFIG)),
        Verb::UserModule => {
            Err(io::Error::other("Python modules cannot be loaded; logtypes 99000 to 99009 stay reserved"))
        }
        Verb::Version => writeln!(io::stdout(), "{COMPATIBLE}"),
        Verb::Help => write!(io::stdout(), "{USAGE}"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn read(arguments: &[String]) -> Result<Request, String> {
    let verb = match arguments.first().map(String::as_str) {
        Some("--start") => Verb::Start,
        Some("--dev") => Verb::Dev,
        Some("--stop") => Verb::Stop,
        Some("--restart") => Verb::Restart,
        Some("--copyconfig") => Verb::CopyConfig,
        Some("--usermodule") => Verb::UserModule,
        Some("--version") => Verb::Version,
        Some("--help" | "-h") => Verb::Help,
        Some(other) => return Err(format!("the first argument must be a verb, not {other}")),
        None => return Err("a verb is missing".to_owned()),
    };
    let mut request = Request { verb, user: None, group: None, config: None, pid_file: PID_FILE.into() };
    for argument in arguments.iter().skip(1) {
        match argument.split_once('=') {
            Some(("--uid", user)) => request.user = Some(user.to_owned()),
            Some(("--gid", group)) => request.group = Some(group.to_owned()),
            Some(("--config", file)) => request.config = Some(file.into()),
            Some(("--pidfile", file)) => request.pid_file = file.into(),
            _ if argument == "--allow-run-as-root" => {}
            _ => return Err(format!("unknown option {argument}")),
        }
    }
    Ok(request)
}

/// The `serin` that is to run, with what the request says.
fn serin(request: &Request) -> io::Result<Command> {
    let program = std::env::current_exe()?.with_file_name("serin");
    let mut command = Command::new(program);
    command.arg("run");
    if let Some(config) = &request.config {
        command.arg("--config").arg(config);
    }
    for (variable, value) in [("SERIN_RUN__USER", &request.user), ("SERIN_RUN__GROUP", &request.group)] {
        if let Some(value) = value {
            command.env(variable, value);
        }
    }
    Ok(command)
}

/// Replaces this process by the sensor. Its pid is ours, so the pid file is right already.
fn foreground(request: &Request) -> io::Result<()> {
    refuse_second(request)?;
    std::fs::write(&request.pid_file, std::process::id().to_string())?;
    Err(serin(request)?.exec())
}

/// Starts the sensor in the background and waits until it serves.
fn start(request: &Request) -> io::Result<()> {
    refuse_second(request)?;
    let state_dir = std::env::var_os("SERIN_STATE_DIR").filter(|it| !it.is_empty()).map(PathBuf::from);
    let sensor = Sensor { config: request.config.clone(), state_dir };
    let config = sensor.load().map_err(|it| io::Error::other(format!("{it}\n{NOTHING_STARTED}")))?;
    let state = sensor.state_beside(config.store.state_dir);
    state.create().map_err(io::Error::other)?;
    let folder = std::env::temp_dir().join(format!("opencanaryd-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let started = start_and_wait(request, &folder, &state);
    // The socket in it has served its purpose.
    let _ = std::fs::remove_dir_all(&folder);
    started
}

/// What the sensor says goes to a file of the state folder, which replaces the one of the last start
/// once this one has come to something. A sensor that does not come to serve is ended.
fn start_and_wait(request: &Request, folder: &Path, state: &StateDir) -> io::Result<()> {
    let ready = folder.join("ready");
    let socket = UnixDatagram::bind(&ready)?;
    // Whoever the sensor has become by then may say that it is ready, whatever our umask is.
    std::fs::set_permissions(folder, Permissions::from_mode(0o711))?;
    std::fs::set_permissions(&ready, Permissions::from_mode(0o777))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let new_log = state.log().with_extension("log.new");
    // Left over from a start that was cut short.
    let _ = std::fs::remove_file(&new_log);
    let mut log = File::options().read(true).append(true).create_new(true).mode(0o600).open(&new_log)?;
    let mut command = serin(request)?;
    command.env("NOTIFY_SOCKET", &ready).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(log.try_clone()?).process_group(0);
    let mut child = command.spawn()?;
    let served = wait_until_ready(&mut child, &socket)
        .and_then(|()| std::fs::rename(&new_log, state.log()))
        .and_then(|()| write_pid(&request.pid_file, child.id()));
    if served.is_ok() {
        // The table of what is served, and what could not be.
        eprint!("{}", read_from_start(&mut log).unwrap_or_default());
    }
    served.map_err(|error| {
        // It may have ended by itself; nothing of it stays behind either way.
        let _ = child.kill();
        let _ = child.wait();
        let said = read_from_start(&mut log).unwrap_or_default();
        let _ = std::fs::remove_file(&new_log);
        io::Error::other(format!("{error}\n{said}"))
    })
}

fn write_pid(file: &Path, pid: u32) -> io::Result<()> {
    std::fs::write(file, pid.to_string())
        .map_err(|it| io::Error::other(format!("{} cannot be written: {it}", file.display())))
}

fn read_from_start(log: &mut File) -> io::Result<String> {
    let mut said = Vec::new();
    log.rewind()?;
    log.take(MOST_SAID).read_to_end(&mut said)?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

fn wait_until_ready(child: &mut Child, socket: &UnixDatagram) -> io::Result<()> {
    let deadline = Instant::now() + START_PATIENCE;
    let mut message = [0; 256];
    loop {
        if socket
            .recv(&mut message)
            .is_ok_and(|it| message.get(..it).is_some_and(|it| it.starts_with(b"READY=1")))
        {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            let how = status.signal().map_or_else(|| format!("{status}"), |it| format!("signal {it}"));
            return Err(io::Error::other(format!("the sensor ended ({how})")));
        }
        if Instant::now() > deadline {
            let waited = START_PATIENCE.as_secs();
            return Err(io::Error::other(format!("the sensor was not ready after {waited} s and was ended")));
        }
    }
}

fn refuse_second(request: &Request) -> io::Result<()> {
    match running(&request.pid_file)? {
        Some(pid) => {
            Err(io::Error::other(format!("already running as pid {pid}; stop it first with --stop")))
        }
        None => Ok(()),
    }
}

/// The sensor that the pid file names, if it is alive. A pid of some other program counts as gone.
fn running(pid_file: &Path) -> io::Result<Option<Pid>> {
    let text = match std::fs::read_to_string(pid_file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let Ok(number) = text.trim().parse::<i32>() else { return Ok(None) };
    let name = std::fs::read_to_string(format!("/proc/{number}/comm")).unwrap_or_default();
    Ok((name.trim() == "serin" && number > 1).then(|| Pid::from_raw(number)))
}

fn stop(request: &Request) -> io::Result<()> {
    let Some(pid) = running(&request.pid_file)? else {
        return if request.verb == Verb::Restart { Ok(()) } else { Err(io::Error::other("not running")) };
    };
    kill(pid, Signal::SIGTERM)?;
    let deadline = Instant::now() + STOP_PATIENCE;
    while kill(pid, None) != Err(Errno::ESRCH) && running(&request.pid_file)?.is_some() {
        if Instant::now() > deadline {
            return Err(io::Error::other(format!(
                "pid {pid} has not ended after {} s",
                STOP_PATIENCE.as_secs()
            )));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    std::fs::remove_file(&request.pid_file)
}

fn copy_config(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Err(io::Error::other(format!("a configuration exists already: {}", path.display())));
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, SAMPLE)?;
    writeln!(io::stdout(), "[*] A sample config file is ready ({})", path.display())?;
    writeln!(io::stdout(), "[*] Edit it, then run: opencanaryd --start")
}

/// The version whose configuration and log we keep to.
const COMPATIBLE: &str = "0.9.9";
const CONFIG: &str = "/etc/opencanaryd/opencanary.conf";
const PID_FILE: &str = "/var/run/opencanaryd.pid";
const SAMPLE: &str = include_str!("../../opencanary.conf");
/// Bytes of what a sensor said before it failed that are shown.
const MOST_SAID: u64 = 64 * 1024;
const START_PATIENCE: Duration = Duration::from_secs(20);
const STOP_PATIENCE: Duration = Duration::from_secs(15);
const USAGE: &str = "\
Runs Serin with the verbs of OpenCanary.

  opencanaryd --start [OPTIONS]     start in the background
  opencanaryd --dev [OPTIONS]       run in the foreground
  opencanaryd --stop                stop
  opencanaryd --restart [OPTIONS]   stop, then start
  opencanaryd --copyconfig          write a sample to /etc/opencanaryd/opencanary.conf
  opencanaryd --version             the version of OpenCanary that this is compatible with

  --uid=USER --gid=GROUP            whom to become once the ports are open
  --config=FILE                     another configuration than the usual ones
  --pidfile=FILE                    another pid file than /var/run/opencanaryd.pid
";

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_verb_comes_first_and_options_anywhere_after() {
        let request = read(&words("--start --uid=nobody --gid=nogroup --allow-run-as-root")).unwrap();
        assert_eq!((request.verb, request.user.as_deref()), (Verb::Start, Some("nobody")));
        assert_eq!(request.group.as_deref(), Some("nogroup"));
        assert!(read(&words("--uid=nobody --start")).unwrap_err().contains("verb"));
        assert!(read(&words("--stop --what")).unwrap_err().contains("--what"));
        assert!(read(&[]).is_err());
    }

    #[test]
    fn a_pid_file_that_names_another_program_counts_as_gone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        assert_eq!(running(&file).unwrap(), None);
        for content in ["1", "not a number", ""] {
            std::fs::write(&file, content).unwrap();
            assert_eq!(running(&file).unwrap(), None, "{content:?}");
        }
    }

    #[test]
    fn a_sample_is_written_once_and_loads() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("etc/opencanary.conf");
        copy_config(&file).unwrap();
        assert!(copy_config(&file).unwrap_err().to_string().contains("exists"));
        let text = std::fs::read_to_string(&file).unwrap();
        let none = |_: &Path| Err(io::Error::other("no folders here"));
        let (all, environment) = (crate::config::Catalogue::whole(), crate::config::Environment::default());
        let config = crate::config::Config::parse(all, &file, &text, &environment, &none).unwrap();
        assert_eq!(config.node_id, "opencanary-1");
    }
}
