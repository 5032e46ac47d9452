//! Mattermost's incoming webhooks: the shape of Slack's, with Markdown in it.
//! <https://developers.mattermost.com/integrate/webhooks/incoming/>

use serde_json::{Value, json};
use serin_event::Record;
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;

use super::attachment::attachment;
use super::webhook::{Form, MARKDOWN, Webhook, address, backslashed, not_like};
use crate::outputs::alert::{self, Card};
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{self, Answer};
use crate::outputs::transport::tls;
use crate::outputs::{Carries, Outcome, Output, OutputType, Passwords};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "mattermost",
    about: "Messages in a Mattermost channel, through an incoming webhook",
    keys: &[Settings::KEYS, alert::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Incidents,
    passwords: Passwords::Drop,
    batch: alert::BATCH,
    build,
};

settings! { "mattermost" {
    /// The webhook's address. Whoever knows it can post, so it is a secret.
    webhook_url: Secret = Secret::default();
} }

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let url = address("mattermost.webhook_url", &settings.webhook_url)?;
    Webhook::channel(conf, url, Mattermost)
}

#[derive(Debug)]
struct Mattermost;

impl Form for Mattermost {
    fn message(&self, card: &Card, _: Option<&Record>) -> Value {
        json!({ "attachments": [attachment(card, escaped)] })
    }

    /// Success is the word `ok`. An error names itself; those of the webhook are not the message's.
    fn judge(&self, answer: &Answer) -> Outcome {
        match answer.status {
            200 if answer.text().trim() != "ok" => not_like("Mattermost", answer),
            400 if answer.text().contains("incoming_webhook") => Outcome::Hold(answer.told()),
            _ => answer.outcome(),
        }
    }

    fn confirms(&self) -> &'static str {
        "accepted by Mattermost"
    }
}

/// Markdown, and `@all`: an invisible character makes it a word.
pub(super) fn escaped(text: &str) -> String {
    backslashed(text, MARKDOWN).replace('@', "@\u{200b}")
}
