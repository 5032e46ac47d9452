//! The one folder in which a sensor keeps everything: database, keys, certificates, identity.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{Gid, Uid, fchownat};
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

    /// Makes the folder (mode 0700) where it is missing, and its parts. What was there before keeps
    /// its mode: each file in it is private by itself.
    ///
    /// # Errors
    ///
    /// When it cannot be made, is no folder, or is somebody else's: it would be handed over to the
    /// user that the sensor becomes.
    pub fn create(&self) -> Result<(), StateError> {
        match fs::read_dir(&self.0) {
            Ok(entries) => self.refuse_strangers(entries)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(self.wrong(&error)),
        }
        for folder in [self.0.clone(), self.0.join(CERTIFICATES), self.panics(), self.host_keys()] {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|it| self.wrong(&it))?;
        }
        Ok(())
    }

    /// A folder that holds anything holds a sensor's things, or it is not for us.
    fn refuse_strangers(&self, entries: fs::ReadDir) -> Result<(), StateError> {
        let mut stranger = None;
        for entry in entries {
            let name = entry.map_err(|it| self.wrong(&it))?.file_name();
            if name == IDENTITY || name == DATABASE {
                return Ok(());
            }
            // What a new file system begins with.
            if !is_ours(&name) && name != "lost+found" {
                stranger.get_or_insert(name);
            }
        }
        match stranger {
            Some(name) => {
                Err(self
                    .wrong(&io::Error::other(format!("it holds {} and is not a sensor's", name.display()))))
            }
            None => Ok(()),
        }
    }

    /// Makes `user` and `group` the owners of the folder and of what a sensor keeps in it; of
    /// nothing else that may be there. Every file is held open while it is looked at and handed
    /// over, so that nobody can put another in its place, and links are not followed.
    ///
    /// # Errors
    ///
    /// When an owner cannot be changed, or a file has another name, which may be anywhere.
    pub(crate) fn hand_over(&self, user: Uid, group: Gid) -> io::Result<()> {
        // The folder itself may be a link: systemd makes one for a service with a dynamic user.
        let folder = fs::OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_PATH | OFlag::O_DIRECTORY).bits())
            .open(&self.0)?;
        give(&folder, &fstat(&folder)?, user, group)?;
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            if !is_ours(&name) {
                continue;
            }
            let Some((part, found)) = look_at(&folder, &name)? else { continue };
            if !is(&found, SFlag::S_IFDIR) {
                give_file(&part, &found, user, group).map_err(|it| named(&name, &it))?;
            } else if FOLDERS.iter().any(|it| name == *it) {
                give(&part, &found, user, group)?;
                for entry in fs::read_dir(self.0.join(&name))? {
                    let name = entry?.file_name();
                    if let Some((file, found)) = look_at(&part, &name)? {
                        give_file(&file, &found, user, group).map_err(|it| named(&name, &it))?;
                    }
                }
            }
        }
        Ok(())
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
        self.0.join(DATABASE)
    }

    /// A file for a certificate or its key.
    #[must_use]
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.0.join(CERTIFICATES).join(name)
    }

    /// Where SSH host keys are kept.
    #[must_use]
    pub fn host_keys(&self) -> PathBuf {
        self.0.join(HOST_KEYS)
    }

    /// Where the beginnings of conversations are kept that made a dialogue panic.
    #[must_use]
    pub fn panics(&self) -> PathBuf {
        self.0.join(PANICS)
    }

    /// How often each ignore rule was met.
    #[must_use]
    pub fn ignore_hits(&self) -> PathBuf {
        self.0.join(IGNORE_HITS)
    }

    /// What a sensor says that `opencanaryd` started in the background.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.0.join(LOG)
    }

    /// Who this host claims to be: read, or made at the first start. `hostname` from the
    /// configuration wins over the made name.
    ///
    /// # Errors
    ///
    /// When the file is there and cannot be used. Where it cannot be written, who the host is does not
    /// outlast the sensor, which the log tells.
    pub fn identity(&self, hostname: &str) -> Result<Identity, StateError> {
        let path = self.0.join(IDENTITY);
        let kept = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|it| self.wrong(&io::Error::other(format!("identity.json: {it}"))))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = KeptIdentity::make();
                let text = serde_json::to_vec_pretty(&made).unwrap_or_default();
                // A full disk, say: a sensor that runs is worth more than one that keeps its name.
                if let Err(error) = write_private(&path, &text) {
                    tracing::error!(
                        "{} cannot be written ({error}): this sensor goes by the name {} only until it ends",
                        path.display(),
                        made.host
                    );
                }
                made
            }
            Err(error) => return Err(self.wrong(&error)),
        };
        let host = if hostname.is_empty() { kept.host } else { hostname.to_owned() };
        Ok(Identity { host, seed: kept.seed })
    }
}

const CERTIFICATES: &str = "certificates";
const DATABASE: &str = "serin.db";
const HOST_KEYS: &str = "ssh";
const IDENTITY: &str = "identity.json";
const IGNORE_HITS: &str = "ignore.json";
const LOG: &str = "serin.log";
const PANICS: &str = "panics";
/// What there is in folders of their own.
const FOLDERS: [&str; 3] = [CERTIFICATES, HOST_KEYS, PANICS];

/// Whether a name in the state folder is one that a sensor gives. The database has companions and
/// damaged predecessors, the identity and the log a `.new` one.
fn is_ours(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    FOLDERS.iter().any(|it| it.as_bytes() == name)
        || [DATABASE, IDENTITY, IGNORE_HITS, LOG].iter().any(|it| name.starts_with(it.as_bytes()))
}

/// What stands under this name, held open without reading it; `None`: nothing any more.
fn look_at(folder: impl AsFd, name: &OsStr) -> io::Result<Option<(OwnedFd, FileStat)>> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(folder, name, flags, Mode::empty()) {
        Ok(entry) => {
            let found = fstat(&entry)?;
            Ok(Some((entry, found)))
        }
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is(found: &FileStat, kind: SFlag) -> bool {
    found.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

/// Hands over a regular file; links and devices are none of ours.
fn give_file(file: impl AsFd, found: &FileStat, user: Uid, group: Gid) -> io::Result<()> {
    if !is(found, SFlag::S_IFREG) {
        return Ok(());
    }
    if found.st_nlink > 1 && found.st_uid != user.as_raw() {
        return Err(io::Error::other("it has another name elsewhere (a hard link)"));
    }
    give(file, found, user, group)
}

fn give(file: impl AsFd, found: &FileStat, user: Uid, group: Gid) -> io::Result<()> {
    if (found.st_uid, found.st_gid) != (user.as_raw(), group.as_raw()) {
        fchownat(file, "", Some(user), Some(group), AtFlags::AT_EMPTY_PATH)?;
    }
    Ok(())
}

fn named(name: &OsStr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", name.display()))
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
        Self { host: host_name(seed), seed }
    }
}

/// A short host name, in one of the ways that administrators name hosts.
fn host_name(seed: u64) -> String {
    const PLACES: &[&str] = &[
        "srv", "hq", "lan", "core", "dc1", "dc2", "it", "ops", "prod", "corp", "br1", "main", "office", "eu",
        "us",
    ];
    const ROLES: &[&str] = &[
        "files", "backup", "archive", "intra", "media", "tools", "build", "store", "docs", "share", "print",
        "web", "app", "nas", "data", "repo", "cam", "erp", "wiki", "mon", "vault", "proxy", "lab", "dev",
    ];
    let pick = |list: &'static [&str], shift: u32| {
        let number = usize::try_from(seed.rotate_right(shift) & 0xffff).unwrap_or(0);
        list.get(number % list.len()).copied().unwrap_or_default()
    };
    let (place, role) = (pick(PLACES, 1), pick(ROLES, 19));
    let number = 1 + seed.rotate_left(21) % 49;
    match seed.rotate_left(40) % 6 {
        0 => format!("{place}-{role}{number:02}"),
        1 => format!("{role}{number}"),
        2 => format!("{role}-{place}-{number:02}"),
        3 => format!("{place}{role}{number}"),
        4 => format!("vm-{role}-{:04x}", seed.rotate_left(13) & 0xffff),
        _ => format!("{role}{:03}.{place}", number * 7 % 200).replace('.', "-"),
    }
}

/// Writes a new file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, 0o600)
}

/// Writes a new file that everybody can read, whole or not at all.
pub(crate) fn write_public(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, 0o644)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    // Left over from a start that was cut short.
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let written = written.and_then(|()| fs::rename(&temporary, path));
    if let Some(folder) = path.parent().filter(|_| written.is_ok()) {
        // Lest the name be gone after a power cut. Where a file system cannot, the file is there.
        let _ = fs::File::open(folder).and_then(|it| it.sync_all());
    }
    if written.is_err() {
        // It may be in the way of others where room is scarce.
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn an_identity_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir(folder.path().join("state"));
        state.create().unwrap();
        let first = state.identity("").unwrap();
        assert_eq!(state.identity("").unwrap(), first);
        assert_eq!(state.identity("fs01").unwrap(), Identity { host: "fs01".to_owned(), ..first });
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(state.path()), 0o700);
        assert_eq!(mode(&state.path().join("identity.json")), 0o600);
    }

    #[test]
    fn an_identity_that_cannot_be_written_is_used_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir(folder.path().join("not there"));
        let first = state.identity("").unwrap();
        assert!(!first.host.is_empty());
        assert_ne!(state.identity("").unwrap().seed, first.seed, "nothing was kept");
        assert_eq!(state.identity("fs01").unwrap().host, "fs01");
    }

    #[test]
    fn a_damaged_identity_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir(folder.path().to_owned());
        fs::write(folder.path().join("identity.json"), "{").unwrap();
        let error = state.identity("").unwrap_err().to_string();
        assert!(error.contains("identity.json") && error.contains("--state-dir"), "{error}");
    }

    #[test]
    fn a_folder_with_other_things_in_it_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let state = StateDir(folder.path().to_owned());
        fs::write(folder.path().join("payroll.ods"), "x").unwrap();
        let error = state.create().unwrap_err().to_string();
        assert!(error.contains("payroll.ods") && error.contains("--state-dir"), "{error}");
        assert!(!state.panics().exists());
        fs::write(folder.path().join(IDENTITY), "{}").unwrap();
        state.create().unwrap();
        assert!(state.panics().is_dir());
        assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o755, "it was not made here");
    }

    #[test]
    fn an_empty_folder_and_one_from_a_start_cut_short_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir(folder.path().to_owned());
        fs::create_dir(folder.path().join("lost+found")).unwrap();
        state.create().unwrap();
        fs::write(state.log(), "ended early").unwrap();
        state.create().unwrap();
    }

    #[test]
    fn only_what_is_a_sensors_is_handed_over() {
        if !Uid::effective().is_root() {
            println!("not run: only root can hand anything over");
            return;
        }
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let state = StateDir(folder.path().join("state"));
        state.create().unwrap();
        state.identity("").unwrap();
        let [other, foreign] = ["other", "foreign"].map(|it| elsewhere.path().join(it));
        fs::write(&other, "").unwrap();
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("deep"), "").unwrap();
        let (theirs, mine) = (state.path().join("theirs.txt"), state.certificate("a.key"));
        fs::write(&theirs, "").unwrap();
        fs::write(&mine, "").unwrap();
        symlink(&other, state.path().join("serin.db-wal")).unwrap();
        symlink(&other, state.certificate("b.key")).unwrap();
        fs::remove_dir(state.panics()).unwrap();
        symlink(&foreign, state.panics()).unwrap();
        let (user, group) = (Uid::from_raw(65_534), Gid::from_raw(65_533));
        state.hand_over(user, group).unwrap();
        let owner = |it: &Path| fs::symlink_metadata(it).map(|it| (it.uid(), it.gid())).unwrap();
        let identity = state.path().join(IDENTITY);
        for ours in [state.path(), &identity, &mine] {
            assert_eq!(owner(ours), (65_534, 65_533), "{}", ours.display());
        }
        for not_ours in [&theirs, &other, &foreign, &foreign.join("deep")] {
            assert_eq!(owner(not_ours).0, 0, "{}", not_ours.display());
        }
        fs::hard_link(&other, state.path().join("serin.db-shm")).unwrap();
        let error = state.hand_over(user, group).unwrap_err().to_string();
        assert!(error.contains("serin.db-shm") && error.contains("hard link"), "{error}");
        assert_eq!(owner(&other).0, 0);
    }
}
