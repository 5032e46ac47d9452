//! Tokens of OAuth 2 (RFC 6749) instead of a password: Microsoft 365 and Google take nothing else.
//!
//! With a refresh token the grant is `refresh_token`, without one it is `client_credentials`. A token
//! is kept until shortly before it ends; a login that fails with one throws it away. Some servers give
//! a new refresh token each time and forget the old one in the end: the new one is kept in the state
//! folder, readable by the sensor alone, until another one is configured.

use std::io;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::hex::hex;
use crate::outputs::Outcome;
use crate::outputs::transport::http::{Http, Request};
use crate::state::write_private;

/// What is sent for a token.
#[derive(Clone)]
pub(super) struct Grant {
    pub(super) url: Url,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) refresh_token: String,
    pub(super) scope: String,
}

/// Where tokens come from.
pub(super) struct Tokens {
    grant: Grant,
    http: Http,
    kept: Option<(String, Instant)>,
    /// Where the refresh token is kept that took the place of the configured one.
    file: Option<PathBuf>,
    /// A refresh token that could not be kept.
    problem: Option<String>,
    rotated: Option<String>,
    /// All tokens that were had since the start; none of them is to be told.
    had: Vec<String>,
}

/// A refresh token, and for which configured one it was had.
#[derive(Serialize, Deserialize)]
struct Rotated {
    /// SHA-256, in hexadecimal.
    of: String,
    token: String,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("client_id", &self.grant.client_id).finish_non_exhaustive()
    }
}

/// A token is used no longer than until so long before its end.
const MARGIN: Duration = Duration::from_mins(1);
/// How long a token holds whose end is not told.
const USUAL: Duration = Duration::from_mins(5);
/// So much of what the token server says is shown to a person.
const SHOWN: usize = 300;
/// However long the server says that it holds.
const LONGEST: Duration = Duration::from_hours(24);

impl Tokens {
    pub(super) fn new(grant: Grant, http: Http) -> Self {
        Self { grant, http, kept: None, file: None, problem: None, rotated: None, had: Vec::new() }
    }

    /// Where an output of this name keeps its refresh token.
    pub(super) fn keep_in(&mut self, folder: &Path, name: &str) {
        let name: String = digest_of(name).chars().take(16).collect();
        self.file = Some(folder.join(format!("oauth-{name}.token")));
    }

    /// What the operator should know.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The text without any token.
    pub(super) fn clean(&self, text: &str) -> String {
        self.had.iter().fold(text.to_owned(), |text, it| text.replace(it, "\u{2026}"))
    }

    fn note(&mut self, token: &str) {
        const MOST: usize = 20;
        if !self.had.iter().any(|it| it == token) {
            self.had.push(token.to_owned());
        }
        if self.had.len() > MOST {
            self.had.remove(0);
        }
    }

    /// The newest refresh token: another process may have got it.
    fn refresh_token(&self) -> String {
        let rotated = || {
            let text = std::fs::read(self.file.as_ref()?).ok()?;
            let rotated: Rotated = serde_json::from_slice(&text).ok()?;
            (rotated.of == digest_of(&self.grant.refresh_token)).then_some(rotated.token)
        };
        rotated().unwrap_or_else(|| self.rotated.clone().unwrap_or_else(|| self.grant.refresh_token.clone()))
    }

    /// Keeps a refresh token that takes the place of the configured one.
    fn rotate(&mut self, token: &str) {
        self.rotated = Some(token.to_owned());
        let Some(path) = &self.file else { return };
        let rotated = Rotated { of: digest_of(&self.grant.refresh_token), token: token.to_owned() };
        let text = serde_json::to_vec(&rotated).unwrap_or_default();
        let written = write_private(path, &text).and_then(|()| give_to_owner_of_folder(path));
        self.problem = written.err().map(|it| {
            format!(
                "the new refresh token could not be written to {} and is lost at the next start: {it}",
                path.display()
            )
        });
    }

    /// How long [`Tokens::token`] may take.
    pub(super) fn deadline(&self) -> Duration {
        self.http.deadline()
    }

    /// The next token is a new one.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    /// A token that still holds.
    ///
    /// # Errors
    ///
    /// [`Outcome::Hold`] when the server refuses, else [`Outcome::Retry`].
    pub(super) async fn token(&mut self) -> Result<String, Outcome> {
        if let Some((token, end)) = &self.kept
            && Instant::now() < *end
        {
            return Ok(token.clone());
        }
        let used = self.refresh_token();
        self.note(&used);
        let answer = self.http.send(self.request(&used)).await?;
        let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let text = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default();
        if answer.status != 200 {
            let why = format!(
                "the token server answers {} {} {}",
                answer.status,
                text("error"),
                text("error_description")
            );
            let why: String = why.chars().filter(|it| !it.is_control()).take(SHOWN).collect();
            return Err(match answer.status {
                408 | 425 | 429 | 500..=599 => Outcome::Retry { why, after: answer.retry_after() },
                _ => Outcome::Hold(why),
            });
        }
        let token = text("access_token").to_owned();
        // It becomes part of a line to the mail server.
        if token.is_empty() || !token.bytes().all(|it| it.is_ascii_graphic()) {
            return Err(Outcome::retry("the token server answers without a token"));
        }
        self.note(&token);
        let fresh = text("refresh_token");
        if !fresh.is_empty() && !self.grant.refresh_token.is_empty() && fresh != used {
            self.note(fresh);
            self.rotate(fresh);
        }
        let holds = json.get("expires_in").and_then(|it| it.as_u64().or_else(|| it.as_str()?.parse().ok()));
        let holds = holds.map_or(USUAL, Duration::from_secs).min(LONGEST);
        self.kept = Some((token.clone(), Instant::now() + holds.saturating_sub(MARGIN)));
        Ok(token)
    }

    fn request(&self, refresh_token: &str) -> Request {
        let grant = &self.grant;
        let kind = if grant.refresh_token.is_empty() { "client_credentials" } else { "refresh_token" };
        let members = [
            ("grant_type", kind),
            ("client_id", &grant.client_id),
            ("client_secret", &grant.client_secret),
            ("refresh_token", refresh_token),
            ("scope", &grant.scope),
        ];
        let mut form = Url::clone(&grant.url);
        form.query_pairs_mut().clear().extend_pairs(members.iter().filter(|it| !it.1.is_empty()));
        let body = form.query().unwrap_or_default().as_bytes().to_vec();
        Request::post(grant.url.clone(), "application/x-www-form-urlencoded", body)
    }
}

fn digest_of(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

/// `serin outputs test` may be root's, and the sensor is not root any more.
fn give_to_owner_of_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    let (ours, wanted) = (std::fs::metadata(path)?, std::fs::metadata(folder)?);
    if ours.uid() == wanted.uid() {
        return Ok(());
    }
    chown(path, Some(wanted.uid()), Some(wanted.gid()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serin_services::conf::Conf;

    use super::*;

    fn tokens(refresh_token: &str, folder: &Path) -> Tokens {
        let url = Url::parse("http://127.0.0.1:1/").unwrap();
        let (client_id, client_secret, scope) = Default::default();
        let grant = Grant { url, client_id, client_secret, refresh_token: refresh_token.to_owned(), scope };
        let mut tokens = Tokens::new(grant, Http::new(&Conf::new()).unwrap());
        tokens.keep_in(folder, "mail/../x");
        tokens
    }

    #[test]
    fn a_refresh_token_outlives_the_sensor_until_another_is_configured() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut one = tokens("configured", folder.path());
        assert_eq!(one.refresh_token(), "configured");
        one.rotate("second");
        let two = tokens("configured", folder.path());
        assert_eq!(two.refresh_token(), "second");
        // Another process has been faster.
        tokens("configured", folder.path()).rotate("third");
        assert_eq!((one.refresh_token(), two.refresh_token()), ("third".to_owned(), "third".to_owned()));
        assert_eq!(tokens("other", folder.path()).refresh_token(), "other");
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap()).collect();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn where_nothing_can_be_written_it_is_kept_in_memory_and_told() {
        let mut tokens = tokens("configured", Path::new("/nowhere"));
        tokens.rotate("second");
        assert_eq!(tokens.refresh_token(), "second");
        assert!(tokens.problem().unwrap().contains("is lost at the next start"));
    }
}
