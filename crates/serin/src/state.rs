//! The one folder in which a sensor keeps everything: database, keys, certificates, identity.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serin_services::conf::Identity;

/// A sensor's state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir(PathBuf);

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("state folder {}: {why}", path.display())]
pub struct StateError {
    path: PathBuf,
    why: String,
}

impl StateDir {
    /// The folder to use: `wanted`, else `$STATE_DIRECTORY` (systemd), else `/var/lib/serin` for
    /// root, else the user's own state folder (XDG Base Directory Specification).
    #[must_use]
    pub fn choose(wanted: Option<&Path>) -> Self {
        let variable = |name| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
        if let Some(path) = wanted {
            return Self(path.to_owned());
        }
        if let Some(path) = variable("STATE_DIRECTORY") {
            return Self(path);
        }
        if nix::unistd::geteuid().is_root() {
            return Self("/var/lib/serin".into());
        }
        let base = variable("XDG_STATE_HOME")
            .or_else(|| variable("HOME").map(|it| it.join(".local/state")))
            .unwrap_or_else(|| ".".into());
        Self(base.join("serin"))
    }

    /// Makes the folder (mode 0700) where it is missing, and its parts.
    ///
    /// # Errors
    ///
    /// When it cannot be made or is no folder.
    pub fn create(&self) -> Result<(), StateError> {
        for folder in [self.0.clone(), self.0.join("certificates"), self.panics()] {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|it| self.wrong(&it))?;
        }
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700)).map_err(|it| self.wrong(&it))
    }

    fn wrong(&self, error: &io::Error) -> StateError {
        StateError { path: self.0.clone(), why: format!("{error}; choose another with --state-dir") }
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The database: journal, index and cursors.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.0.join("serin.db")
    }

    /// A file for a certificate or its key.
    #[must_use]
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.0.join("certificates").join(name)
    }

    /// Where the beginnings of conversations are kept that made a dialogue panic.
    #[must_use]
    pub fn panics(&self) -> PathBuf {
        self.0.join("panics")
    }

    /// Who this host claims to be: read, or made at the first start. `hostname` from the
    /// configuration wins over the made name.
    ///
    /// # Errors
    ///
    /// When the file is there and cannot be used, or cannot be written.
    pub fn identity(&self, hostname: &str) -> Result<Identity, StateError> {
        let path = self.0.join("identity.json");
        let kept = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|it| self.wrong(&io::Error::other(format!("identity.json: {it}"))))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = KeptIdentity::make();
                let text = serde_json::to_vec_pretty(&made).unwrap_or_default();
                write_private(&path, &text).map_err(|it| self.wrong(&it))?;
                made
            }
            Err(error) => return Err(self.wrong(&error)),
        };
        let host = if hostname.is_empty() { kept.host } else { hostname.to_owned() };
        Ok(Identity { host, seed: kept.seed })
    }
}

#[derive(Serialize, Deserialize)]
struct KeptIdentity {
    host: String,
    seed: u64,
}

impl KeptIdentity {
    /// A name such as an administrator gives, and a seed from the system's random source.
    fn make() -> Self {
        let mut random = [0; 8];
        // Without randomness nothing of ours is safe; the clock still tells installations apart.
        let seed = match aws_lc_rs::rand::fill(&mut random) {
            Ok(()) => u64::from_le_bytes(random),
            Err(_) => std::time::UNIX_EPOCH.elapsed().map_or(0, |it| it.as_secs()),
        };
        let pick = |list: &[&str], by: u64| {
            let at = usize::try_from(by % list.len() as u64).unwrap_or(0);
            list.get(at).copied().unwrap_or_default().to_owned()
        };
        let place = pick(&["srv", "hq", "lan", "core", "dc1", "it"], seed >> 8);
        let role = pick(&["files", "backup", "archive", "intra", "media", "tools", "build"], seed >> 16);
        Self { host: format!("{place}-{role}{:02}", seed % 19 + 1), seed }
    }
}

/// Writes a new file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    // Left over from a start that was cut short.
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir(folder.path().join("state"));
        state.create().unwrap();
        let first = state.identity("").unwrap();
        assert_eq!(state.identity("").unwrap(), first);
        assert_eq!(state.identity("fs01").unwrap(), Identity { host: "fs01".to_owned(), ..first });
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(state.path()), 0o700);
        assert_eq!(mode(&state.path().join("identity.json")), 0o600);
    }

    #[test]
    fn a_damaged_identity_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir(folder.path().to_owned());
        fs::write(folder.path().join("identity.json"), "{").unwrap();
        let error = state.identity("").unwrap_err().to_string();
        assert!(error.contains("identity.json") && error.contains("--state-dir"), "{error}");
    }
}
