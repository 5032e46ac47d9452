//! Entries in the journal of the real systemd-journald, started beside the machine's own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use serin_tests::{Setup, client, eventually};
use tempfile::TempDir;

use super::log_in;

/// A journal in a mount namespace of its own, whose `/run` is a folder of ours. Ended when dropped.
struct Journal {
    dir: TempDir,
    child: Option<Child>,
}

impl Journal {
    /// `None` where we are not root: nobody else can start a journal.
    fn start() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            println!("not run: only root can start a journal");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("serin-journal-").tempdir().expect("a folder");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("a folder for all");
        for folder in ["systemd/journal", "log/journal"] {
            fs::create_dir_all(dir.path().join(folder)).expect("a folder");
        }
        let mut journal = Self { dir, child: None };
        journal.restart();
        Some(journal)
    }

    fn restart(&mut self) {
        const SCRIPT: &str = "mount --bind \"$0\" /run && exec /lib/systemd/systemd-journald";
        let _ = fs::remove_file(self.socket());
        let child = Command::new("unshare")
            .args(["-m", "sh", "-c", SCRIPT])
            .arg(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare");
        self.child = Some(child);
        eventually("the journal's socket", || self.socket().exists().then_some(()));
    }

    fn crash(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("systemd/journal/socket")
    }

    /// What journalctl finds under these fields.
    fn found(&self, fields: &[&str]) -> Vec<Value> {
        let folder = self.dir.path().join("log/journal").display().to_string();
        let mut arguments = vec!["-D", &folder, "-o", "json", "--all", "--no-pager", "--quiet"];
        arguments.extend(fields);
        let told = client("journalctl", &arguments).out;
        told.lines().map(|it| serde_json::from_str(it).expect("JSON")).collect()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.crash();
    }
}

#[test]
fn the_journal_has_every_field_also_after_it_was_killed() {
    let Some(mut journal) = Journal::start() else { return };
    let sensor =
        Setup::of(&["ftp"]).output("log", json!({ "type": "journald", "socket": journal.socket() })).start();
    log_in(&sensor, 2);
    let logins = ["SYSLOG_IDENTIFIER=serin", "SERIN_LOGTYPE=2000"];
    let two =
        eventually("two logins in the journal", || Some(journal.found(&logins)).filter(|it| it.len() >= 2));
    let first = &two[0];
    for (name, value) in [
        ("PRIORITY", "4"),
        ("SERIN_KIND", "ftp.login"),
        ("SERIN_SERVICE", "ftp"),
        ("SERIN_SRC_HOST", "127.0.0.1"),
        ("SERIN_USERNAME", "user0"),
        ("SERIN_NODE_ID", "opencanary-1"),
        ("_TRANSPORT", "journal"),
    ] {
        assert_eq!(first[name], value, "{name} in {first}");
    }
    assert_eq!(journal.found(&["SERIN_USERNAME=user1"]).len(), 1);

    journal.crash();
    log_in(&sensor, 2);
    journal.restart();
    let four =
        eventually("four logins in the journal", || Some(journal.found(&logins)).filter(|it| it.len() >= 4));
    let log: Vec<String> = sensor.wait_for(2000, 4).into_iter().map(|it| it.line).collect();
    let said: Vec<&str> = four.iter().map(|it| it["MESSAGE"].as_str().unwrap()).collect();
    assert_eq!(said, log);
}

#[test]
fn an_entry_larger_than_any_datagram_arrives_whole() {
    let Some(journal) = Journal::start() else { return };
    // Nothing that an attacker may say is as long, so the name of the entries is.
    let name = "x".repeat(400_000);
    let sensor = Setup::of(&["ftp"])
        .output("log", json!({ "type": "journald", "socket": journal.socket(), "identifier": name }))
        .start();
    log_in(&sensor, 2);
    let found = eventually("two logins in the journal", || {
        Some(journal.found(&["SERIN_LOGTYPE=2000"])).filter(|it| it.len() >= 2)
    });
    for (entry, user) in found.iter().zip(["user0", "user1"]) {
        assert_eq!((&entry["SYSLOG_IDENTIFIER"], &entry["SERIN_USERNAME"]), (&json!(name), &json!(user)));
    }
    assert_eq!(found.len(), 2);
}
