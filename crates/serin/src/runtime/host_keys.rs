//! SSH host keys: kept in the state folder in `ssh-keygen`'s form, taken over once from where
//! OpenCanary had them, made where there are none.
//!
//! Who the host is never changes silently. A file that cannot be read is left alone, and its kind is
//! not offered; one that is no key is put aside and replaced, which is told at every start until
//! somebody has looked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;
use serin_services::conf::Conf;
use serin_services::ssh::hostkey::{HostKey, HostKeyError, HostKeys, Kind, Wanted, wanted};

use crate::state::{StateDir, write_private, write_public};

/// The host keys of a sensor, and their files.
pub(crate) struct KeyFiles {
    folder: PathBuf,
    /// What stands behind a public key: `root@host`.
    comment: String,
    keys: Vec<Arc<HostKey>>,
    /// What the claimed server has and nobody has made yet.
    missing: Vec<Wanted>,
    /// What an operator must hear of, as long as it is so.
    alarms: Vec<String>,
}

/// Keys that are new, and what went wrong.
pub(crate) struct Made {
    /// What was to be made.
    tried: Vec<Wanted>,
    keys: Vec<Arc<HostKey>>,
    alarms: Vec<String>,
}

impl KeyFiles {
    /// None yet.
    pub(crate) fn new(state: &StateDir, host: &str) -> Self {
        Self {
            folder: state.host_keys(),
            comment: format!("root@{host}"),
            keys: Vec::new(),
            missing: Vec::new(),
            alarms: Vec::new(),
        }
    }

    /// Reads what there is, takes over what OpenCanary has, and notes what is to be made. Nothing,
    /// where there is no SSH.
    pub(crate) fn read(&mut self, conf: &Conf) {
        if conf.get("ssh.enabled").and_then(serde_json::Value::as_bool) == Some(true) {
            let old = conf.get("ssh.key_path").and_then(|it| it.as_str()).unwrap_or_default();
            self.read_wanted(&wanted(conf), old);
        }
    }

    fn read_wanted(&mut self, wanted: &[Wanted], old: &str) {
        let before = std::mem::take(&mut self.keys);
        self.alarms.clear();
        let mut closed = Vec::new();
        let mut absent = Vec::new();
        for name in NAMES {
            let path = self.folder.join(name);
            match read_own(&path) {
                Ok(Some(key)) => self.keys.push(Arc::new(key)),
                Ok(None) => absent.push(name),
                Err(why) => {
                    self.alarms.push(format!("{} is not used: {why}", path.display()));
                    closed.push(name);
                }
            }
        }
        // What was there a moment ago still is who we are.
        for key in before {
            if absent.contains(&name_of(key.kind())) {
                self.take(key);
            } else if closed.contains(&name_of(key.kind())) {
                self.keys.push(key);
            }
        }
        absent.retain(|it| !self.has(it));
        if !old.is_empty() && !absent.is_empty() {
            self.take_over(Path::new(old), &absent);
        }
        for key in self.keys.iter().filter(|it| !closed.contains(&name_of(it.kind()))) {
            if let Err(error) = publish(&self.folder, key, &self.comment) {
                tracing::warn!("the public half of {} was not written: {error}", name_of(key.kind()));
            }
        }
        self.alarms.extend(put_aside(&self.folder));
        let wanted =
            wanted.iter().filter(|it| !self.has(name_of(it.kind)) && !closed.contains(&name_of(it.kind)));
        self.missing = wanted.copied().collect();
    }

    /// Whether there is a key that belongs into the file of this name.
    fn has(&self, name: &str) -> bool {
        self.keys.iter().any(|it| name_of(it.kind()) == name)
    }

    /// Copies the keys of another place, once: what is kept here goes before.
    fn take_over(&mut self, old: &Path, absent: &[&str]) {
        if !old.is_dir() {
            let old = old.display();
            tracing::warn!("ssh.key_path: there is no folder {old}, so no host key is taken over");
        }
        let names = OLD_NAMES.iter().chain(&NAMES);
        for name in names.filter(|it| absent.contains(&new_name(it))) {
            let path = old.join(name);
            let (key, warning) = match read_foreign(&path) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err(why) => {
                    self.alarms.push(format!(
                        "ssh.key_path: {} is not taken over: {why}. Then delete {} and start again",
                        path.display(),
                        self.folder.join(new_name(name)).display(),
                    ));
                    continue;
                }
            };
            let kind = name_of(key.kind());
            if !absent.contains(&kind) || self.has(kind) {
                continue;
            }
            let (bits, print) = (key.bits(), key.fingerprint());
            tracing::info!("{} is now a host key of this sensor: {bits} bits, {print}", path.display());
            if let Some(warning) = warning {
                tracing::warn!(
                    "{} {warning}: whoever did can pass for this host. To have a new one made, delete it, its .pub and {}",
                    path.display(),
                    self.folder.join(kind).display()
                );
            }
            self.take(Arc::new(key));
        }
    }

    /// Keeps a key, in the folder too.
    fn take(&mut self, key: Arc<HostKey>) {
        if let Err(error) = keep(&self.folder, &key, &self.comment) {
            self.alarms.push(not_kept(&self.folder, &key, &error));
        }
        self.keys.push(key);
    }

    /// Whether all keys are there that can be had.
    pub(crate) fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }

    /// Whether there is none, and will be none.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.keys.is_empty() && self.missing.is_empty()
    }

    /// What to hand to the services.
    pub(crate) fn keys(&self) -> HostKeys {
        HostKeys::new(self.keys.clone())
    }

    /// What an operator must hear of.
    pub(crate) fn alarms(&self) -> &[String] {
        &self.alarms
    }

    /// Makes what is missing; `None`: nothing is. It takes up to a second.
    pub(crate) fn making(&self) -> Option<impl FnOnce() -> Made + Send + 'static> {
        let (folder, comment, missing) = (self.folder.clone(), self.comment.clone(), self.missing.clone());
        (!missing.is_empty()).then_some(move || make(&folder, &comment, &missing))
    }

    /// Takes what was made.
    pub(crate) fn add(&mut self, made: Made) {
        for key in made.keys {
            if !self.has(name_of(key.kind())) {
                self.keys.push(key);
            }
        }
        // What could not be made is not tried again before the next start or configuration. What a
        // configuration that came meanwhile wants is still missing.
        let keys = &self.keys;
        let has = |it: &Wanted| keys.iter().any(|key| name_of(key.kind()) == name_of(it.kind));
        self.missing.retain(|it| !made.tried.contains(it) && !has(it));
        self.alarms.extend(made.alarms);
    }
}

fn make(folder: &Path, comment: &str, missing: &[Wanted]) -> Made {
    let mut made = Made { tried: missing.to_vec(), keys: Vec::new(), alarms: Vec::new() };
    for wanted in missing {
        match HostKey::generate(*wanted).map(Arc::new) {
            Ok(key) => {
                match keep(folder, &key, comment).and_then(|()| publish(folder, &key, comment)) {
                    Ok(()) => {
                        let name = folder.join(name_of(key.kind()));
                        tracing::info!("{} is made: {}", name.display(), key.fingerprint());
                    }
                    // A sensor that runs is worth more than one that keeps its keys.
                    Err(error) => made.alarms.push(not_kept(folder, &key, &error)),
                }
                made.keys.push(key);
            }
            Err(error) => made.alarms.push(format!("{}: {error}", name_of(wanted.kind))),
        }
    }
    made
}

fn not_kept(folder: &Path, key: &HostKey, error: &io::Error) -> String {
    format!(
        "{} cannot be written ({error}): clients will see another host after the next start",
        folder.join(name_of(key.kind())).display()
    )
}

/// Reads a key of ours. One that is none is put aside.
fn read_own(path: &Path) -> Result<Option<HostKey>, String> {
    let mut file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("it cannot be read: {error}")),
    };
    let text = text_of(&mut file).map_err(|it| format!("it cannot be read: {it}"))?;
    if file.metadata().is_ok_and(|it| it.mode() & OTHERS != 0) {
        // As when it came out of a backup.
        let _ = file.set_permissions(fs::Permissions::from_mode(0o600));
    }
    match HostKey::from_pem(&text) {
        Ok(key) => Ok(Some(key)),
        Err(error @ HostKeyError::Encrypted) => Err(error.to_string()),
        Err(error) => {
            let aside = aside(path);
            tracing::error!("{}: {error}; it is put aside as {}", path.display(), aside.display());
            match fs::rename(path, &aside) {
                Ok(()) => Ok(None),
                Err(error) => Err(format!("it is damaged, and cannot be put aside: {error}")),
            }
        }
    }
}

/// A name that is free, or the last one that there is.
fn aside(path: &Path) -> PathBuf {
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!("{ASIDE}-{number}"));
        PathBuf::from(name)
    };
    (1..MOST_ASIDE).map(name).find(|it| !it.exists()).unwrap_or_else(|| name(MOST_ASIDE))
}

/// What was put aside, now or before.
fn put_aside(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> =
        entries.map(|it| it.path()).filter(|it| it.to_string_lossy().contains(ASIDE)).collect();
    files.sort();
    let told = |it: &PathBuf| {
        format!(
            "{} was a host key and could not be read; clients see another one in its place. Put it right and back under its name, or delete it",
            it.display()
        )
    };
    files.iter().map(told).collect()
}

/// Reads a key that somebody else made, with what is doubtful of it. Only what root or we own and
/// nobody else can write is trusted: in a folder such as `/var/tmp` anybody can put one.
fn read_foreign(path: &Path) -> Result<Option<(HostKey, Option<&'static str>)>, String> {
    let mut file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => {
            return Err("it is a link; put the key itself there".to_owned());
        }
        Err(error) => return Err(format!("{error}; make it readable")),
    };
    let found = file.metadata().map_err(|it| it.to_string())?;
    let us = nix::unistd::geteuid().as_raw();
    let name = path.display();
    if !found.is_file() {
        return Err("it is no file".to_owned());
    }
    if found.uid() != 0 && found.uid() != us {
        return Err(format!(
            "it belongs to uid {}, who may know it: if it is yours, chown {us} {name}",
            found.uid()
        ));
    }
    if found.mode() & OTHERS_WRITE != 0 {
        return Err(format!("others may write to it: if it is yours, chmod go-w {name}"));
    }
    let text = text_of(&mut file).map_err(|it| it.to_string())?;
    let key = HostKey::from_pem(&text).map_err(|it| it.to_string())?;
    let readable = (found.mode() & OTHERS_READ != 0).then_some("could be read by others");
    Ok(Some((key, readable)))
}

/// Never a link, and never waiting for a pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

/// What is not UTF-8 is no key, and is told as such.
fn text_of(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes the private half.
fn keep(folder: &Path, key: &HostKey, comment: &str) -> io::Result<()> {
    let text = key.to_openssh(comment).map_err(io::Error::other)?;
    write_private(&folder.join(name_of(key.kind())), text.as_bytes())
}

/// Writes the public half where it is not there or another.
fn publish(folder: &Path, key: &HostKey, comment: &str) -> io::Result<()> {
    let path = folder.join(format!("{}.pub", name_of(key.kind())));
    if fs::read_to_string(&path).is_ok_and(|it| it.starts_with(&key.public_line(""))) {
        return Ok(());
    }
    write_public(&path, format!("{}\n", key.public_line(comment)).as_bytes())
}

/// The file of such a key, as OpenSSH names it. There is one of ECDSA, whatever its curve.
fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Rsa => "ssh_host_rsa_key",
        Kind::EcdsaP256 | Kind::EcdsaP384 | Kind::EcdsaP521 => "ssh_host_ecdsa_key",
        Kind::Ed25519 => "ssh_host_ed25519_key",
        Kind::Dsa => "ssh_host_dsa_key",
    }
}

/// Our name for a file of OpenCanary's.
fn new_name(old: &str) -> &str {
    match old {
        "id_rsa" => name_of(Kind::Rsa),
        "id_dsa" => name_of(Kind::Dsa),
        same => same,
    }
}

const NAMES: [&str; 4] =
    ["ssh_host_rsa_key", "ssh_host_ecdsa_key", "ssh_host_ed25519_key", "ssh_host_dsa_key"];
/// OpenCanary's.
const OLD_NAMES: [&str; 2] = ["id_rsa", "id_dsa"];
const ASIDE: &str = ".damaged";
const MOST_ASIDE: u32 = 9;
/// Of a key file, in bytes: one of 16,384 bits has 12,000.
const LARGEST: u64 = 64 * 1024;
const OTHERS: u32 = 0o077;
const OTHERS_READ: u32 = 0o044;
const OTHERS_WRITE: u32 = 0o022;

#[cfg(test)]
mod tests;
