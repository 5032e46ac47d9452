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
        // What could not be made is not tried again before the next start or configuration.
        self.missing.clear();
        self.alarms.extend(made.alarms);
    }
}

fn make(folder: &Path, comment: &str, missing: &[Wanted]) -> Made {
    let mut made = Made { keys: Vec::new(), alarms: Vec::new() };
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
mod tests {
    use super::*;

    const ALL: [Wanted; 4] = [
        Wanted { kind: Kind::Rsa, bits: 2048 },
        Wanted { kind: Kind::EcdsaP256, bits: 256 },
        Wanted { kind: Kind::Ed25519, bits: 256 },
        Wanted { kind: Kind::Dsa, bits: 1024 },
    ];
    const FEW: [Wanted; 2] = [ALL[1], ALL[2]];

    struct Place {
        folder: tempfile::TempDir,
        state: StateDir,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let state = StateDir::choose(Some(&folder.path().join("state")));
            state.create().unwrap();
            fs::create_dir(folder.path().join("old")).unwrap();
            Self { folder, state }
        }

        fn old(&self) -> PathBuf {
            self.folder.path().join("old")
        }

        fn file(&self, name: &str) -> PathBuf {
            self.state.host_keys().join(name)
        }

        /// As at a start.
        fn read(&self, wanted: &[Wanted]) -> KeyFiles {
            let mut files = KeyFiles::new(&self.state, "web-02");
            files.read_wanted(wanted, self.old().to_str().unwrap());
            files
        }

        /// As some time after a start.
        fn made(&self, wanted: &[Wanted]) -> KeyFiles {
            let mut files = self.read(wanted);
            if let Some(work) = files.making() {
                files.add(work());
            }
            files
        }

        /// A key of OpenCanary's, written as it writes one.
        fn put_old(&self, name: &str, wanted: Wanted, mode: u32) -> String {
            let key = HostKey::generate(wanted).unwrap();
            fs::write(self.old().join(name), key.to_openssh("").unwrap()).unwrap();
            fs::set_permissions(self.old().join(name), fs::Permissions::from_mode(mode)).unwrap();
            key.fingerprint()
        }
    }

    fn prints(files: &KeyFiles) -> Vec<String> {
        let mut prints: Vec<_> = files.keys.iter().map(|it| it.fingerprint()).collect();
        prints.sort();
        prints
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn keys_are_made_once_and_kept() {
        let place = Place::new();
        assert!(!place.read(&ALL).is_whole());
        let made = place.made(&ALL);
        assert!(made.is_whole() && made.alarms().is_empty(), "{:?}", made.alarms());
        let again = place.read(&ALL);
        assert!(again.is_whole());
        assert_eq!((prints(&again), again.keys.len()), (prints(&made), 4));
        for name in NAMES {
            assert_eq!(mode(&place.file(name)), 0o600, "{name}");
            let public = fs::read_to_string(place.file(&format!("{name}.pub"))).unwrap();
            assert!(public.ends_with(" root@web-02\n"), "{public}");
        }
        assert_eq!(mode(&place.state.host_keys()), 0o700);
    }

    /// Where OpenSSH is installed: the files are its own.
    #[test]
    fn ssh_keygen_reads_what_is_written() {
        let place = Place::new();
        let made = place.made(&ALL);
        for key in &made.keys {
            let path = place.file(name_of(key.kind()));
            let run = |arguments: &[&str]| {
                std::process::Command::new("ssh-keygen").args(arguments).arg(&path).output().ok()
            };
            let Some(told) = run(&["-lf"]) else {
                println!("not run: there is no ssh-keygen");
                return;
            };
            let told = String::from_utf8_lossy(&told.stdout).into_owned();
            let wanted = format!("{} {} root@web-02", key.bits(), key.fingerprint());
            assert!(told.starts_with(&wanted), "{told}");
            // From the private half alone.
            fs::remove_file(place.file(&format!("{}.pub", name_of(key.kind())))).unwrap();
            let line = run(&["-yf"]).unwrap();
            assert_eq!(String::from_utf8_lossy(&line.stdout).trim(), key.public_line("root@web-02"));
        }
    }

    #[test]
    fn a_kind_that_a_new_version_has_is_made_beside_the_others() {
        let place = Place::new();
        let few = prints(&place.made(&FEW));
        let all = place.made(&ALL);
        assert_eq!(all.keys.len(), 4);
        assert!(few.iter().all(|it| prints(&all).contains(it)));
        assert_eq!(place.read(&FEW).keys.len(), 4, "what there is stays");
    }

    #[test]
    fn keys_of_opencanary_are_taken_over_once() {
        let place = Place::new();
        let rsa = place.put_old("id_rsa", ALL[0], 0o600);
        let dsa = place.put_old("id_dsa", ALL[3], 0o644);
        let first = place.made(&FEW);
        assert!(first.alarms().is_empty());
        assert!(prints(&first).contains(&rsa) && prints(&first).contains(&dsa));
        assert_eq!(mode(&place.file("ssh_host_dsa_key")), 0o600);
        place.put_old("id_rsa", ALL[0], 0o600);
        fs::write(place.old().join("id_dsa"), "gone bad").unwrap();
        let second = place.read(&FEW);
        assert_eq!((prints(&second), second.alarms().len()), (prints(&first), 0));
    }

    #[test]
    fn keys_of_openssh_are_taken_over_by_its_names() {
        let place = Place::new();
        let ed25519 = place.put_old("ssh_host_ed25519_key", ALL[2], 0o600);
        // Another kind than its name says: what is in it counts.
        let ecdsa = place.put_old("id_rsa", ALL[1], 0o600);
        let files = place.made(&FEW);
        let mut both = vec![ed25519, ecdsa];
        both.sort();
        assert_eq!(prints(&files), both);
    }

    #[test]
    fn a_key_that_somebody_else_may_have_put_there_is_refused() {
        let place = Place::new();
        let written = place.put_old("id_rsa", ALL[0], 0o620);
        let target = place.put_old("target", ALL[3], 0o600);
        std::os::unix::fs::symlink(place.old().join("target"), place.old().join("id_dsa")).unwrap();
        let mut foreign = String::new();
        if nix::unistd::geteuid().is_root() {
            foreign = place.put_old("ssh_host_ed25519_key", ALL[2], 0o600);
            std::os::unix::fs::chown(place.old().join("ssh_host_ed25519_key"), Some(1234), None).unwrap();
        }
        let files = place.made(&ALL);
        for print in [&written, &target, &foreign] {
            assert!(!prints(&files).contains(print));
        }
        assert_eq!(files.keys.len(), 4, "others are made in their place");
        let told = files.alarms().join("\n");
        assert!(told.contains("chmod go-w") && told.contains("it is a link"), "{told}");
        assert!(told.contains("state/ssh/ssh_host_rsa_key and start again"), "{told}");
        assert!(foreign.is_empty() || told.contains("belongs to uid 1234"), "{told}");
        assert!(place.read(&ALL).alarms().is_empty(), "told once: they are in place");
    }

    #[test]
    fn no_old_folder_is_no_news() {
        let place = Place::new();
        fs::remove_dir(place.old()).unwrap();
        assert!(place.made(&FEW).alarms().is_empty());
    }

    #[test]
    fn a_damaged_key_is_put_aside_and_told_until_somebody_looks() {
        let place = Place::new();
        let before = prints(&place.made(&FEW));
        let path = place.file("ssh_host_ed25519_key");
        fs::write(&path, "").unwrap();
        let after = place.made(&FEW);
        assert_eq!(after.keys.len(), 2);
        assert_eq!(prints(&after).iter().filter(|it| before.contains(it)).count(), 1);
        let aside = place.file("ssh_host_ed25519_key.damaged-1");
        for files in [after, place.read(&FEW)] {
            let told = files.alarms().join("\n");
            assert!(told.contains("ssh_host_ed25519_key.damaged-1 was a host key"), "{told}");
        }
        fs::remove_file(aside).unwrap();
        assert!(place.read(&FEW).alarms().is_empty());
    }

    #[test]
    fn while_the_sensor_runs_it_stays_who_it_is() {
        let place = Place::new();
        let mut files = place.made(&FEW);
        let before = prints(&files);
        fs::write(place.file("ssh_host_ed25519_key"), "damaged").unwrap();
        fs::remove_file(place.file("ssh_host_ecdsa_key")).unwrap();
        files.read_wanted(&FEW, "");
        assert_eq!(prints(&files), before);
        assert!(files.is_whole());
        assert_eq!(prints(&place.read(&FEW)), before, "and what was lost is written again");
    }

    #[test]
    fn a_key_with_a_passphrase_is_left_alone() {
        let place = Place::new();
        let path = place.file("ssh_host_rsa_key");
        fs::write(&path, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n").unwrap();
        let files = place.made(&ALL);
        assert_eq!(files.keys.len(), 3);
        assert!(files.alarms().join("").contains("passphrase"), "{:?}", files.alarms());
        assert_eq!(fs::read_to_string(&path).unwrap(), "-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
    }

    #[test]
    fn a_folder_that_takes_nothing_is_told() {
        let place = Place::new();
        fs::remove_dir(place.state.host_keys()).unwrap();
        fs::write(place.state.host_keys(), "").unwrap();
        let files = place.made(&FEW);
        assert!(files.is_hopeless(), "files in it cannot be read");
        fs::remove_file(place.state.host_keys()).unwrap();
        let files = place.made(&FEW);
        assert_eq!(files.keys.len(), 2);
        let told = files.alarms().join("\n");
        assert!(told.contains("clients will see another host after the next start"), "{told}");
    }

    #[test]
    fn a_key_that_others_can_read_is_closed_to_them() {
        let place = Place::new();
        place.made(&FEW);
        let path = place.file("ssh_host_ecdsa_key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        place.read(&FEW);
        assert_eq!(mode(&path), 0o600);
    }
}
