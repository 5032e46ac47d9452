//! The real rsyslogd, as a receiver in a folder of its own.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::client::client_in;
use crate::{eventually, free_port};

/// A running rsyslogd; ended when dropped. Every message it gets is one line of JSON in `got`.
#[derive(Debug)]
pub struct Rsyslog {
    dir: TempDir,
    /// Where it listens: the port of each input, in the order of the inputs.
    pub ports: Vec<u16>,
    child: Option<Child>,
}

impl Rsyslog {
    /// Starts it with these inputs, such as `input(type="imtcp" port="PORT")`, each on a free port.
    /// `globals` is what must stand before them: modules, and settings of modules.
    #[track_caller]
    #[must_use]
    pub fn start(globals: &str, inputs: &[&str]) -> Self {
        Self::with(|_| globals.to_owned(), inputs)
    }

    /// The same with globals that name files in its folder.
    #[track_caller]
    #[must_use]
    pub fn with(globals: impl FnOnce(&Path) -> String, inputs: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("serin-rsyslog-").tempdir().expect("a folder");
        let folder = dir.path();
        let ports: Vec<u16> = inputs.iter().map(|_| free_port()).collect();
        let mut conf = format!("global(workDirectory=\"{}\")\n{}\n", folder.display(), globals(folder));
        conf.push_str(
            r#"template(name="line" type="list" option.jsonf="on") {
  property(outname="pri" name="pri" format="jsonf")
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="msgid" name="msgid" format="jsonf")
  property(outname="data" name="structured-data" format="jsonf")
  property(outname="msg" name="msg" format="jsonf")
  property(outname="raw" name="rawmsg" format="jsonf")
}
"#,
        );
        for (input, port) in inputs.iter().zip(&ports) {
            let _ = writeln!(conf, "{}", input.replace("PORT", &port.to_string()));
        }
        let _ = writeln!(
            conf,
            "action(type=\"omfile\" file=\"{}/got\" template=\"line\" asyncWriting=\"off\" flushOnTXEnd=\"on\")",
            folder.display()
        );
        fs::write(folder.join("rsyslog.conf"), conf).expect("a configuration");
        let mut rsyslog = Self { dir, ports, child: None };
        rsyslog.restart();
        rsyslog
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Starts it (again), and waits until it listens.
    #[track_caller]
    pub fn restart(&mut self) {
        let path = |name: &str| self.dir.path().join(name);
        let said = fs::File::create(path("said")).expect("a file");
        let _ = fs::remove_file(path("pid"));
        let child = Command::new("rsyslogd")
            .arg("-n")
            .arg("-f")
            .arg(path("rsyslog.conf"))
            .arg("-i")
            .arg(path("pid"))
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a file"))
            .stderr(said)
            .spawn()
            .expect("rsyslogd is installed; ./test tools installs it");
        self.child = Some(child);
        let listening = || {
            let ports: Vec<String> = self.ports.iter().map(|it| format!(":{it:04X} ")).collect();
            let tables: String = ["tcp", "tcp6", "udp", "udp6"]
                .iter()
                .map(|it| fs::read_to_string(format!("/proc/net/{it}")).unwrap_or_default())
                .collect();
            // Only what listens or is bound: the remote end is all zeros.
            let own: Vec<&str> = tables.lines().filter(|it| it.contains(":0000 ")).collect();
            ports.iter().all(|port| own.iter().any(|it| it.contains(port.as_str()))).then_some(())
        };
        eventually(&format!("rsyslogd to listen: {}", self.said()), listening);
    }

    /// What it said.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join("said")).unwrap_or_default()
    }

    /// Ends it without warning.
    pub fn crash(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// All messages so far.
    #[must_use]
    pub fn got(&self) -> Vec<serde_json::Value> {
        let text = fs::read(self.path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
        let read =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        whole.lines().map(read).collect()
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("got")
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- rsyslogd said:\n{}", self.said());
        }
        self.crash();
    }
}

/// Makes an authority, and below it a certificate for `localhost` and 127.0.0.1 and one for a client,
/// in `folder`: `ca.pem`, `server.pem` and `server.key`, `client.pem` and `client.key`.
#[track_caller]
pub fn certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let words: Vec<&str> = arguments.split(' ').collect();
        let outcome = client_in(folder, "openssl", &words, "");
        assert_eq!(outcome.status, 0, "openssl {arguments}: {}", outcome.err);
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(&format!("req -x509 {key} -subj /CN=ca -keyout ca.key -out ca.pem"));
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").expect("a file");
    fs::write(folder.join("usage"), "extendedKeyUsage=clientAuth\n").expect("a file");
    for (name, extra) in [("server", "names"), ("client", "usage")] {
        let request = key.replace(" -days 2", "");
        openssl(&format!("req {request} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out {name}.pem -extfile {extra}"
        ));
    }
}
