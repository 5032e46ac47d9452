//! Pushover: push messages to phones. <https://pushover.net/api>

use serde_json::{Value, json};
use serin_event::{Record, Severity};
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;

use super::webhook::{Form, Webhook, again, answered, cut, not_like, plain, revealed};
use crate::outputs::alert::{self, Card};
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{self, Answer};
use crate::outputs::transport::tls;
use crate::outputs::{Carries, Outcome, Output, OutputType, Passwords};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "pushover",
    about: "Push messages through Pushover",
    keys: &[Settings::KEYS, alert::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Incidents,
    passwords: Passwords::Drop,
    batch: alert::BATCH,
    build,
};

settings! { "pushover" {
    /// The application's token.
    token: Secret = Secret::default();
    /// The key of the user or group.
    user: Secret = Secret::default();
    /// Where the API is.
    url: String = "https://api.pushover.net".to_owned();
} }

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let token = revealed("pushover.token", &settings.token)?;
    let user = revealed("pushover.user", &settings.user)?;
    let mut url = http::url("pushover.url", &settings.url).map_err(|it| vec![it])?;
    url.set_path("/1/messages.json");
    Webhook::channel(conf, url, Pushover { token, user })
}

struct Pushover {
    token: String,
    user: String,
}

impl std::fmt::Debug for Pushover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pushover")
    }
}

impl Form for Pushover {
    /// Without `html`: then nothing in the text is special.
    fn message(&self, card: &Card, _: Option<&Record>) -> Value {
        let mut message = json!({
            "token": self.token,
            "user": self.user,
            "title": cut(&card.title, TITLE),
            "message": plain(&Card { link: None, ..card.clone() }, false, TEXT),
            "priority": priority(card),
            "timestamp": card.time.0 / 1_000_000,
        });
        if let Some(link) = card.link.as_ref().filter(|it| it.len() <= LINK) {
            message["url"] = json!(link);
            message["url_title"] = json!("Open the console");
        }
        message
    }

    fn judge(&self, answer: &Answer) -> Outcome {
        let said = answered(answer);
        match answer.status {
            200 if said.get("status") != Some(&json!(1)) => not_like("Pushover", answer),
            400 if ["token", "user"].iter().any(|it| said.get(*it) == Some(&json!("invalid"))) => {
                Outcome::Hold(answer.told())
            }
            // The messages of this month are used up. Its end is in a header.
            429 => again(answer, until(answer)),
            _ => answer.outcome(),
        }
    }

    fn confirms(&self) -> &'static str {
        "accepted by Pushover"
    }
}

/// A message has at most 1,024 characters; so have its bytes.
const TEXT: usize = 1024;
const TITLE: usize = 250;
const LINK: usize = 512;

/// -1: no sound, 1: also in the phone's quiet hours.
fn priority(card: &Card) -> i8 {
    match card.severity {
        _ if card.test => 0,
        Severity::Critical => 1,
        Severity::High | Severity::Medium => 0,
        Severity::Low | Severity::Informational => -1,
    }
}

fn until(answer: &Answer) -> Option<f64> {
    let reset: i64 = answer.headers.get("X-Limit-App-Reset")?.to_str().ok()?.parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "seconds, bounded where they are used")]
    let seconds = reset.saturating_sub(jiff::Timestamp::now().as_second()) as f64;
    Some(seconds)
}
