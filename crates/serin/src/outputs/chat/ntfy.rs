//! ntfy: push messages to phones. <https://docs.ntfy.sh/publish/#publish-as-json>

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use serin_event::{Record, Severity};
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;

use super::webhook::{Form, Webhook, answered, cut, not_like, plain, revealed};
use crate::outputs::alert::{self, Card};
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{self, Answer};
use crate::outputs::transport::tls;
use crate::outputs::{Carries, Outcome, Output, OutputType, Passwords};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "ntfy",
    about: "Push messages through ntfy",
    keys: &[Settings::KEYS, alert::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Incidents,
    passwords: Passwords::Drop,
    batch: alert::BATCH,
    build,
};

settings! { "ntfy" {
    /// The server.
    url: String = "https://ntfy.sh".to_owned();
    /// The topic. On a public server whoever knows it can read along, so it is a secret.
    topic: Secret = Secret::default();
    /// An access token (Bearer).
    token: Secret = Secret::default();
    /// A user name (Basic), instead of a token.
    user: String = String::new();
    /// The user's password.
    password: Secret = Secret::default();
} }

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let mut complaints = Vec::new();
    let token = settings.token.reveal_or_complain("ntfy.token", &mut complaints);
    let password = settings.password.reveal_or_complain("ntfy.password", &mut complaints);
    if !token.is_empty() && !settings.user.is_empty() {
        let text = "is there beside a token; one of them is enough".to_owned();
        complaints.push(Complaint { key: "ntfy.user".to_owned(), text });
    }
    if !complaints.is_empty() {
        return Err(complaints);
    }
    let authorization = match (token.is_empty(), settings.user.is_empty()) {
        (false, _) => Some(format!("Bearer {token}")),
        (true, false) => {
            Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{password}", settings.user))))
        }
        (true, true) => None,
    };
    let topic = revealed("ntfy.topic", &settings.topic)?;
    let url = http::url("ntfy.url", &settings.url).map_err(|it| vec![it])?;
    Webhook::channel(conf, url, Ntfy { topic, authorization })
}

struct Ntfy {
    topic: String,
    authorization: Option<String>,
}

impl std::fmt::Debug for Ntfy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ntfy")
    }
}

impl Form for Ntfy {
    /// The JSON form: headers could not hold every text.
    fn message(&self, card: &Card, _: Option<&Record>) -> Value {
        let mut message = json!({
            "topic": self.topic,
            "title": cut(&card.title, TITLE),
            "message": plain(card, false, TEXT),
            "priority": priority(card),
            "tags": [card.label(), card.severity.name()],
        });
        if let Some(link) = &card.link {
            message["click"] = json!(link);
        }
        message
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        self.authorization.iter().map(|it| ("Authorization", it.clone())).collect()
    }

    fn judge(&self, answer: &Answer) -> Outcome {
        match answer.status {
            200 if answered(answer).get("id").is_none() => not_like("ntfy", answer),
            _ => answer.outcome(),
        }
    }

    fn confirms(&self) -> &'static str {
        "accepted by ntfy"
    }
}

/// A message has at most 4,096 bytes; longer ones become files.
const TEXT: usize = 4096;
const TITLE: usize = 200;

/// 1 is the least and 5 the most.
fn priority(card: &Card) -> u8 {
    match card.severity {
        _ if card.test => 3,
        Severity::Critical => 5,
        Severity::High => 4,
        Severity::Medium => 3,
        Severity::Low => 2,
        Severity::Informational => 1,
    }
}
