//! Google Chat's incoming webhooks: a card of the second kind, in which nobody can be called.
//! <https://developers.google.com/workspace/chat/api/reference/rest/v1/cards>

use serde_json::{Value, json};
use serin_event::Record;
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;

use super::webhook::{Form, Webhook, address, answered, not_like};
use crate::outputs::alert::{self, Card};
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{self, Answer};
use crate::outputs::transport::tls;
use crate::outputs::{Carries, Outcome, Output, OutputType, Passwords};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "googlechat",
    about: "Messages in a Google Chat space, through an incoming webhook",
    keys: &[Settings::KEYS, alert::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Incidents,
    passwords: Passwords::Drop,
    batch: alert::BATCH,
    build,
};

settings! { "googlechat" {
    /// The webhook's address. Whoever knows it can post, so it is a secret.
    webhook_url: Secret = Secret::default();
} }

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let url = address("googlechat.webhook_url", &settings.webhook_url)?;
    Webhook::channel(conf, url, GoogleChat)
}

#[derive(Debug)]
struct GoogleChat;

impl Form for GoogleChat {
    fn message(&self, card: &Card, _: Option<&Record>) -> Value {
        let mut widgets = vec![json!({ "textParagraph": { "text": escaped(&card.sentence) } })];
        widgets.extend(
            card.rows.iter().map(|it| json!({ "decoratedText": { "topLabel": it.label, "text": escaped(&it.value), "wrapText": true } })),
        );
        if !card.details.is_empty() {
            let lines: Vec<_> = card.details.iter().map(|it| format!("\u{2022} {}", escaped(it))).collect();
            widgets.push(json!({ "textParagraph": { "text": lines.join("<br>") } }));
        }
        if let Some(link) = &card.link {
            let button = json!({ "text": "Open the console", "onClick": { "openLink": { "url": link } } });
            widgets.push(json!({ "buttonList": { "buttons": [button] } }));
        }
        let header = json!({ "title": card.title, "subtitle": format!("Serin, {}", card.label()) });
        let inner = json!({ "header": header, "sections": [{ "widgets": widgets }] });
        json!({ "fallbackText": card.title, "cardsV2": [{ "cardId": card.key, "card": inner }] })
    }

    fn limit(&self) -> usize {
        ALL
    }

    fn judge(&self, answer: &Answer) -> Outcome {
        match answer.status {
            200 if answered(answer).get("name").is_none() => not_like("Google Chat", answer),
            // The key or the space is wrong, and Google calls that a bad request.
            400 if answer.text().contains("API key") => Outcome::Hold(answer.told()),
            _ => answer.outcome(),
        }
    }

    fn confirms(&self) -> &'static str {
        "accepted by Google Chat"
    }
}

/// A message has at most 32,000 bytes.
const ALL: usize = 31_000;

/// Texts of cards are a little HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
