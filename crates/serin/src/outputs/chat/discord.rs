//! Discord's webhooks: a card is an embed. <https://discord.com/developers/docs/resources/webhook>

use serde_json::{Value, json};
use serin_event::Record;
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;

use super::webhook::{Form, MARKDOWN, Webhook, address, again, answered, backslashed, colour, cut, not_like};
use crate::outputs::alert::{self, Card};
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{self, Answer};
use crate::outputs::transport::tls;
use crate::outputs::{Carries, Outcome, Output, OutputType, Passwords};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "discord",
    about: "Messages in a Discord channel, through a webhook",
    keys: &[Settings::KEYS, alert::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Incidents,
    passwords: Passwords::Drop,
    batch: alert::BATCH,
    build,
};

settings! { "discord" {
    /// The webhook's address. Whoever knows it can post, so it is a secret.
    webhook_url: Secret = Secret::default();
} }

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let mut url = address("discord.webhook_url", &settings.webhook_url)?;
    // Then it answers after it has kept the message, and not before.
    if !url.query_pairs().any(|it| it.0 == "wait") {
        url.query_pairs_mut().append_pair("wait", "true");
    }
    Webhook::channel(conf, url, Discord)
}

#[derive(Debug)]
struct Discord;

impl Form for Discord {
    fn message(&self, card: &Card, _: Option<&Record>) -> Value {
        let fields: Vec<_> = card
            .rows
            .iter()
            .take(FIELDS)
            .map(|it| {
                let value = cut(&escaped(&it.value), FIELD);
                json!({ "name": it.label, "value": value, "inline": it.value.len() < 40 })
            })
            .collect();
        let mut text = escaped(&card.sentence);
        for detail in &card.details {
            text.push_str("\n\u{2022} ");
            text.push_str(&escaped(detail));
        }
        let mut embed = json!({
            "title": cut(&escaped(&card.title), TITLE),
            "description": cut(&text, DESCRIPTION),
            "color": colour(card.severity),
            "fields": fields,
            "footer": { "text": format!("Serin, {}", card.label()) },
            "timestamp": card.time.rfc3339(),
        });
        if let Some(link) = &card.link {
            embed["url"] = json!(link);
        }
        // Nobody is called, whatever names stand in the text.
        json!({ "embeds": [embed], "allowed_mentions": { "parse": [] } })
    }

    fn limit(&self) -> usize {
        ALL
    }

    fn judge(&self, answer: &Answer) -> Outcome {
        match answer.status {
            204 => Outcome::Delivered,
            200 if answered(answer).get("id").is_none() => not_like("Discord", answer),
            429 => again(answer, answered(answer).get("retry_after").and_then(Value::as_f64)),
            _ => answer.outcome(),
        }
    }

    fn confirms(&self) -> &'static str {
        "kept by Discord"
    }
}

/// All texts of a message together have at most 6,000 characters; so have its bytes.
const ALL: usize = 6000;
const TITLE: usize = 256;
const DESCRIPTION: usize = 4096;
const FIELDS: usize = 25;
const FIELD: usize = 1024;

fn escaped(text: &str) -> String {
    backslashed(text, MARKDOWN).replace('@', "@\u{200b}")
}
