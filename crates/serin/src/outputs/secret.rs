//! Tokens and passwords for receivers: taken from the configuration, a file or the environment, and
//! never shown again.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use serin_services::conf::{Complaint, Setting};

use super::OutputConf;

/// A secret as a setting: the text itself, `file:PATH` or `env:NAME`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Secret()" } else { "Secret(…)" })
    }
}

impl Secret {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret itself; from a file without the line ending.
    ///
    /// # Errors
    ///
    /// Why it cannot be had, in words that do not tell it.
    pub(crate) fn reveal(&self) -> Result<String, String> {
        if let Some(path) = self.0.strip_prefix("file:") {
            let text = std::fs::read_to_string(path).map_err(|error| format!("reading {path}: {error}"))?;
            let text = text.trim_end_matches(['\r', '\n']).to_owned();
            return if text.is_empty() { Err(format!("{path} is empty")) } else { Ok(text) };
        }
        if let Some(name) = self.0.strip_prefix("env:") {
            return std::env::var(name).map_err(|_| format!("the variable {name} is not set"));
        }
        Ok(self.0.clone())
    }

    /// The same, with a complaint about `key` when it cannot be had; then it is empty.
    pub(crate) fn reveal_or_complain(&self, key: &str, complaints: &mut Vec<Complaint>) -> String {
        self.reveal().unwrap_or_else(|text| {
            complaints.push(Complaint { key: key.to_owned(), text });
            String::new()
        })
    }
}

impl Setting for Secret {
    const WANTS: &'static str = "a secret, or file:PATH or env:NAME where it is to be found";

    fn read(value: &Value) -> Result<Self, ()> {
        value.as_str().map(|it| Self(it.to_owned())).ok_or(())
    }

    fn complain(_: &Value) -> String {
        format!("wants {}", Self::WANTS)
    }

    fn show(&self) -> Value {
        json!(self.0)
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

/// Names and values as a setting, each value a [`Secret`]: headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SecretTable(pub(crate) BTreeMap<String, Secret>);

impl Setting for SecretTable {
    const WANTS: &'static str = "a table of names and texts; a text may be file:PATH or env:NAME";

    fn read(value: &Value) -> Result<Self, ()> {
        let table = value.as_object().ok_or(())?;
        let entries = table.iter().map(|(name, it)| Ok((name.clone(), Secret::read(it)?)));
        entries.collect::<Result<_, _>>().map(Self)
    }

    fn complain(_: &Value) -> String {
        format!("wants {}", Self::WANTS)
    }

    fn show(&self) -> Value {
        self.0.iter().map(|(name, it)| (name.clone(), it.show())).collect()
    }

    fn schema() -> Value {
        json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}

/// Takes the secrets of one output out of whatever is said about it: receivers repeat them in their
/// error messages, and so do libraries.
#[derive(Debug, Default)]
pub(crate) struct Redactor {
    /// Where secrets are in files, which may change.
    conf: Option<OutputConf>,
    /// Oldest first.
    known: Mutex<Vec<Secret>>,
}

/// Shorter than this, a text says nothing, and removing it would spoil every message.
const SHORTEST: usize = 4;

impl Redactor {
    pub(super) fn new(conf: &OutputConf) -> Self {
        let known = Self::of(secrets_of(conf));
        let in_files = conf.conf.iter().any(|it| it.1.to_string().contains("file:"));
        Self { conf: in_files.then(|| conf.clone()), ..known }
    }

    /// Of an address that is a secret itself.
    pub(crate) fn of_address(address: &str) -> Self {
        let mut secrets = vec![address.to_owned()];
        parts_of_address(address, &mut secrets);
        Self::of(secrets)
    }

    fn of(secrets: Vec<String>) -> Self {
        let redactor = Self::default();
        redactor.learn(secrets);
        redactor
    }

    fn learn(&self, secrets: Vec<String>) {
        let mut known = self.known.lock();
        for secret in secrets.into_iter().filter(|it| it.len() >= SHORTEST).map(Secret) {
            if !known.contains(&secret) {
                known.push(secret);
            }
        }
        // Each file has a few secrets, and few change often.
        let spare = known.len().saturating_sub(KNOWN_MAX);
        known.drain(..spare);
    }

    /// The text without the secrets, as they are now or were before.
    pub(crate) fn clean(&self, text: &str) -> String {
        if let Some(conf) = &self.conf {
            self.learn(secrets_of(conf));
        }
        // One may be a part of another.
        let mut known: Vec<_> = self.known.lock().clone();
        known.sort_by_key(|it| std::cmp::Reverse(it.0.len()));
        known.iter().fold(text.to_owned(), |text, secret| text.replace(&secret.0, "…"))
    }
}

/// So many secrets of one output are known at once, in all their forms.
const KNOWN_MAX: usize = 1000;

fn secrets_of(conf: &OutputConf) -> Vec<String> {
    let mut secrets = Vec::new();
    for key in conf.output.settings() {
        let Some(value) = conf.conf.get(key.name) else { continue };
        if key.wants == Secret::WANTS {
            let Some(text) = Secret::read(value).ok().and_then(|it| it.reveal().ok()) else { continue };
            parts_of_address(&text, &mut secrets);
            let user = key.name.strip_suffix(".password").map(|it| format!("{it}.user"));
            if let Some(user) = user.and_then(|it| conf.conf.get(&it)?.as_str()) {
                // As Basic authentication and SMTP send them.
                secrets.push(STANDARD.encode(format!("{user}:{text}")));
                secrets.push(STANDARD.encode(format!("\0{user}\0{text}")));
                secrets.push(STANDARD.encode(&text));
            }
            secrets.push(text);
        } else if key.wants == SecretTable::WANTS {
            let table = SecretTable::read(value).unwrap_or_default().0;
            let told = |name: &str| TOLD.iter().any(|it| it.eq_ignore_ascii_case(name));
            for (_, secret) in table.iter().filter(|it| !told(it.0)) {
                let Ok(text) = secret.reveal() else { continue };
                // Of `Bearer abc`, the receiver may repeat the last word alone.
                secrets.extend(text.split_once(' ').map(|it| it.1.to_owned()));
                secrets.push(text);
            }
        } else if let Some(text) = value.as_str() {
            // Of a proxy's address, say.
            secrets.extend(credentials(text));
        }
    }
    secrets
}

/// Headers whose values are no secrets.
const TOLD: &[&str] = &["accept", "content-type", "user-agent"];

/// Of an address, the part behind the host is a secret and may be told without the rest; so may its
/// query, and its password.
fn parts_of_address(text: &str, secrets: &mut Vec<String>) {
    let Some(path) = text.split_once("://").and_then(|it| it.1.split_once('/')).map(|it| it.1) else {
        return;
    };
    if let Some((path, query)) = path.split_once('?') {
        secrets.extend([path, query].map(str::to_owned));
    }
    secrets.push(path.to_owned());
    secrets.extend(credentials(text));
}

/// The password in `scheme://user:password@host`.
fn credentials(text: &str) -> Option<String> {
    let host = text.split_once("://")?.1.split(['/', '?', '#']).next()?;
    Some(host.rsplit_once('@')?.0.split_once(':')?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::read(&text.into()).unwrap()
    }

    #[test]
    fn a_secret_comes_from_the_text_a_file_or_the_environment() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "abc123\n").unwrap();
        assert_eq!(secret("plain").reveal().unwrap(), "plain");
        assert_eq!(secret(&format!("file:{}", path.display())).reveal().unwrap(), "abc123");
        assert_eq!(
            secret("env:SERIN_NO_SUCH_VARIABLE").reveal().unwrap_err(),
            "the variable SERIN_NO_SUCH_VARIABLE is not set"
        );
        assert!(secret("file:/nowhere").reveal().unwrap_err().starts_with("reading /nowhere: "));
    }

    #[test]
    fn nothing_that_is_shown_tells_it() {
        let redactor = Redactor::of(vec!["T000/B000/xyzzy".to_owned(), "hunter2".to_owned()]);
        assert_eq!(
            redactor.clean("404 for https://hooks.example/T000/B000/xyzzy with hunter2"),
            "404 for https://hooks.example/… with …"
        );
        assert_eq!(format!("{:?}", secret("hunter2")), "Secret(…)");
    }

    #[test]
    fn a_secret_that_is_changed_in_its_file_is_known_as_well_as_the_old_one() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "first-token\n").unwrap();
        let mut conf = serin_services::conf::Conf::new();
        conf.set("ntfy.token", format!("file:{}", path.display()));
        let output = crate::outputs::by_name("ntfy").unwrap();
        let redactor = Redactor::new(&OutputConf { name: "x".to_owned(), output, conf });
        std::fs::write(&path, "second-token\n").unwrap();
        assert_eq!(redactor.clean("first-token second-token"), "… …");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(redactor.clean("first-token second-token"), "… …");
    }

    #[test]
    fn secrets_in_headers_and_addresses_are_known_too() {
        let mut conf = serin_services::conf::Conf::new();
        conf.set("webhook.url", "https://bob:pass-word@hooks.example/T0/hidden?key=abcdef");
        conf.set("webhook.headers", json!({ "Authorization": "Bearer tokentoken", "Accept": "text/plain" }));
        conf.set("webhook.user", "canary");
        conf.set("webhook.password", "s3cret-word");
        conf.set("http.proxy", "http://me:proxypass@proxy.example:3128");
        let output = crate::outputs::by_name("webhook").unwrap();
        let redactor = Redactor::new(&OutputConf { name: "x".to_owned(), output, conf });
        assert_eq!(
            redactor.clean("pass-word T0/hidden key=abcdef tokentoken text/plain proxypass"),
            "… … … … text/plain …"
        );
        let of_address = Redactor::of_address("https://alive.example/ping/0b1c-2d");
        assert_eq!(of_address.clean("HTTP 404: Cannot GET /ping/0b1c-2d"), "HTTP 404: Cannot GET /…");
        assert_eq!(redactor.clean("Basic Y2FuYXJ5OnMzY3JldC13b3Jk"), "Basic …");
    }
}
