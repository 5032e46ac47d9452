//! Tokens and passwords for receivers: taken from the configuration, a file or the environment, and
//! never shown again.

use std::fmt;

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

/// Takes the secrets of one output out of whatever is said about it: receivers repeat them in their
/// error messages, and so do libraries.
#[derive(Debug, Default)]
pub(super) struct Redactor(Vec<Secret>);

/// Shorter than this, a text says nothing, and removing it would spoil every message.
const SHORTEST: usize = 4;

impl Redactor {
    pub(super) fn new(conf: &OutputConf) -> Self {
        let mut secrets = Vec::new();
        for key in conf.output.settings().filter(|it| it.wants == Secret::WANTS) {
            let Some(secret) = conf.conf.get(key.name).and_then(|it| Secret::read(it).ok()) else { continue };
            let Ok(text) = secret.reveal() else { continue };
            // Of an address, the part behind the host is the secret, and may be told without the rest.
            if let Some(path) = text.split_once("://").and_then(|it| it.1.split_once('/')).map(|it| it.1) {
                secrets.push(path.to_owned());
            }
            secrets.push(text);
        }
        secrets.retain(|it| it.len() >= SHORTEST);
        secrets.sort_by_key(|it| std::cmp::Reverse(it.len()));
        Self(secrets.into_iter().map(Secret).collect())
    }

    /// The text without the secrets.
    pub(super) fn clean(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(&secret.0, "…"))
    }
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
        let redactor = Redactor(vec![secret("T000/B000/xyzzy"), secret("hunter2")]);
        assert_eq!(
            redactor.clean("404 for https://hooks.example/T000/B000/xyzzy with hunter2"),
            "404 for https://hooks.example/… with …"
        );
        assert_eq!(format!("{:?}", secret("hunter2")), "Secret(…)");
    }
}
