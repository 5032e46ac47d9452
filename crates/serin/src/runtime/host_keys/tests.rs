//! Key files in a folder, as they are found at a start, at a change and after being made.

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

#[test]
fn what_a_change_wants_while_keys_are_made_is_made_after_them() {
    let place = Place::new();
    let mut files = place.read(&FEW);
    let first = files.making().unwrap();
    files.read_wanted(&ALL, "");
    files.add(first());
    assert!(!files.is_whole());
    let second = files.making().unwrap();
    files.add(second());
    assert!(files.is_whole());
    assert_eq!(files.keys.len(), 4);
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
