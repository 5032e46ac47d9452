//! Slack's incoming webhooks. OpenCanary's `SlackHandler` becomes this.
//!
//! A card is an attachment with the colour of its severity. Slack formats nothing in it
//! (`mrkdwn_in`), calls nobody (`<` is escaped) and fetches no address that a peer sent (`unfurl_*`).
//! <https://docs.slack.dev/messaging/formatting-message-text>

use serde_json::{Value, json};
use serin_event::Record;
use serin_services::conf::{Complaint, Conf};
use serin_services::{choices, settings};

use super::attachment::attachment;
use super::webhook::{Form, Webhook, address};
use crate::outputs::alert::{self, Card};
use crate::outputs::handlers::Reader;
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{self, Answer};
use crate::outputs::transport::tls;
use crate::outputs::{Carries, Outcome, Output, OutputType, Passwords};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "slack",
    about: "Messages in a Slack channel, through an incoming webhook",
    keys: &[Settings::KEYS, alert::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Incidents,
    passwords: Passwords::Drop,
    batch: alert::BATCH,
    build,
};

choices! {
    /// What a message looks like.
    Layout { Card = "card", OpenCanary = "opencanary" } wants "card or opencanary"
}

settings! { "slack" {
    /// The webhook's address. Whoever knows it can post, so it is a secret.
    webhook_url: Secret = Secret::default();
    /// What a message looks like: a card for people, or the fields of one event as OpenCanary's
    /// SlackHandler sends them.
    layout: Layout = Layout::Card;
} }

/// Every event, as OpenCanary's handler sends it. It ignores formatters.
pub(crate) fn from_handler(reader: &mut Reader<'_>) {
    reader.each_event();
    reader.formatter_counts = false;
    reader.conf.set("slack.layout", "opencanary");
    reader.required("webhook_url", "slack.webhook_url", "the address of the webhook");
}

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let url = address("slack.webhook_url", &settings.webhook_url)?;
    Webhook::channel(conf, url, Slack { layout: settings.layout })
}

#[derive(Debug)]
struct Slack {
    layout: Layout,
}

impl Form for Slack {
    fn message(&self, card: &Card, record: Option<&Record>) -> Value {
        match (self.layout, record) {
            (Layout::OpenCanary, Some(record)) => opencanary(record),
            _ => dressed(card),
        }
    }

    /// Success is the word `ok`. OpenCanary's handler is content with the status, and its users post
    /// to what merely resembles Slack.
    fn judge(&self, answer: &Answer) -> Outcome {
        let said = answer.text();
        match answer.status {
            200 if self.layout == Layout::Card && !is_ok(&said) => {
                Outcome::Hold(format!("this does not answer like Slack: {}", answer.told()))
            }
            400 if !["invalid_", "no_text", "too_many_"].iter().any(|it| said.starts_with(it)) => {
                Outcome::Hold(answer.told())
            }
            _ => answer.outcome(),
        }
    }

    fn confirms(&self) -> &'static str {
        "accepted by Slack"
    }
}

/// `ok` from a webhook, `{"ok":true}` from a workflow.
fn is_ok(said: &str) -> bool {
    let json =
        || serde_json::from_str::<Value>(said).is_ok_and(|it| it.get("ok") == Some(&Value::Bool(true)));
    said.trim() == "ok" || json()
}

fn dressed(card: &Card) -> Value {
    let mut attachment = attachment(card, escaped);
    attachment["ts"] = json!(card.time.0 / 1_000_000);
    attachment["mrkdwn_in"] = json!([]);
    json!({ "attachments": [attachment], "unfurl_links": false, "unfurl_media": false })
}

/// Slack's three special characters; `<!channel>` would call everybody.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// One field for each member of OpenCanary's line, in its order; objects as JSON text.
fn opencanary(record: &Record) -> Value {
    let line: Value = serde_json::from_str(&record.line()).unwrap_or_default();
    let members = line.as_object().into_iter().flatten();
    let fields: Vec<_> = members
        .map(|(name, value)| {
            let value = match value {
                Value::Object(_) => json!(serin_event::python_json(value)),
                other => other.clone(),
            };
            json!({ "title": name, "value": value })
        })
        .collect();
    json!({ "attachments": [{ "pretext": "OpenCanary Alert", "fields": fields }] })
}
