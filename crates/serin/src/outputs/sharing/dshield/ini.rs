//! `dshield.ini`, the file of ISC's own honeypot: its credentials and addresses.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The keys of the section `[DShield]`, in lower case, and what is to be said about the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ini {
    keys: BTreeMap<String, String>,
    pub(super) warning: Option<String>,
}

impl Ini {
    /// Reads a file; `auto` looks at the places where ISC's own client does.
    ///
    /// # Errors
    ///
    /// Why there is nothing to be read.
    pub(super) fn read(path: &str) -> Result<Self, String> {
        let path = if path == "auto" { found(&usual())? } else { PathBuf::from(path) };
        let said = |error: std::io::Error| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(&path).map_err(said)?;
        let mode = std::fs::metadata(&path).map_err(said)?.permissions().mode();
        // It holds the key.
        let open = mode & 0o027 != 0;
        let warning =
            open.then(|| format!("{} can be read or changed by others; use chmod 640", path.display()));
        Ok(Self { keys: parse(&text), warning })
    }

    /// One key's value, where it says something.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.keys.get(key).map(String::as_str).filter(|it| !it.is_empty())
    }
}

/// Where ISC's client looks, in its order.
fn usual() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let at_home = |below: &str| home.as_ref().map(|it| it.join(below));
    let system = |it: &str| Some(PathBuf::from(it));
    let all = [
        at_home("etc/dshield.ini"),
        system("/etc/dshield.ini"),
        system("/etc/dshield/dshield.ini"),
        at_home(".dshield.ini"),
    ];
    all.into_iter().flatten().collect()
}

fn found(places: &[PathBuf]) -> Result<PathBuf, String> {
    let shown = || places.iter().map(|it| it.display().to_string()).collect::<Vec<_>>().join(", ");
    let found = places.iter().find(|it| Path::is_file(it)).cloned();
    found.ok_or_else(|| format!("there is none of {}", shown()))
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    let mut ours = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            ours = section.trim().eq_ignore_ascii_case("dshield");
        } else if ours
            && !line.starts_with(['#', ';'])
            && let Some((key, value)) = line.split_once('=')
        {
            keys.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[DShield]\ninterface=eth0\nversion=96\n# email=old@example.com\nuserid=12345\n\
        email = me@example.com\napikey=ab/cd+ef==\nhoneypotip=10.0.0.5\nreplacehoneypotip=\nanonymizeip=10.0.0.0/8\n\
        [plugin:tcp:http]\nuserid=99999\nsubmit_log_rate=900\n";

    #[test]
    fn the_installers_file_is_read() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("dshield.ini");
        std::fs::write(&path, FILE).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let ini = Ini::read(path.to_str().unwrap()).unwrap();
        assert_eq!(ini.get("userid"), Some("12345"));
        assert_eq!(ini.get("apikey"), Some("ab/cd+ef=="));
        assert_eq!(ini.get("email"), Some("me@example.com"));
        assert_eq!((ini.get("replacehoneypotip"), ini.get("submit_log_rate")), (None, None));
        assert_eq!(ini.warning, None);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Ini::read(path.to_str().unwrap()).unwrap().warning.unwrap().ends_with("use chmod 640"));
    }

    #[test]
    fn the_first_of_the_usual_places_counts() {
        let folder = tempfile::TempDir::new().unwrap();
        let (first, second) = (folder.path().join("a.ini"), folder.path().join("b.ini"));
        std::fs::write(&second, FILE).unwrap();
        assert_eq!(found(&[first.clone(), second.clone()]).unwrap(), second);
        assert!(found(&[first]).unwrap_err().starts_with("there is none of "));
    }
}
