//! Tokens of OAuth 2 (RFC 6749) instead of a password: Microsoft 365 and Google take nothing else.
//!
//! With a refresh token the grant is `refresh_token`, without one it is `client_credentials`. A token
//! is kept until shortly before it ends; a login that fails with one throws it away.

use std::time::{Duration, Instant};

use reqwest::Url;
use serde_json::Value;

use crate::outputs::Outcome;
use crate::outputs::transport::http::{Http, Request};

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
        Self { grant, http, kept: None }
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
        let answer = self.http.send(self.request()).await?;
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
        // Some servers give a new one each time, and forget the old one in the end.
        if !text("refresh_token").is_empty() && !self.grant.refresh_token.is_empty() {
            text("refresh_token").clone_into(&mut self.grant.refresh_token);
        }
        let holds = json.get("expires_in").and_then(|it| it.as_u64().or_else(|| it.as_str()?.parse().ok()));
        let holds = holds.map_or(USUAL, Duration::from_secs).min(LONGEST);
        self.kept = Some((token.clone(), Instant::now() + holds.saturating_sub(MARGIN)));
        Ok(token)
    }

    fn request(&self) -> Request {
        let grant = &self.grant;
        let kind = if grant.refresh_token.is_empty() { "client_credentials" } else { "refresh_token" };
        let members = [
            ("grant_type", kind),
            ("client_id", &grant.client_id),
            ("client_secret", &grant.client_secret),
            ("refresh_token", &grant.refresh_token),
            ("scope", &grant.scope),
        ];
        let mut form = Url::clone(&grant.url);
        form.query_pairs_mut().clear().extend_pairs(members.iter().filter(|it| !it.1.is_empty()));
        let body = form.query().unwrap_or_default().as_bytes().to_vec();
        Request::post(grant.url.clone(), "application/x-www-form-urlencoded", body)
    }
}
