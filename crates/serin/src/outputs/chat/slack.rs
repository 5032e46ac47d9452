//! Slack's incoming webhooks. OpenCanary's `SlackHandler` becomes this.

use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};
use serin_event::Record;
use serin_services::conf::{Complaint, Conf};
use serin_services::{choices, settings};

use crate::outputs::alert::{self, Card, Channel, Courier};
use crate::outputs::handlers::Reader;
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{self, Http, Request};
use crate::outputs::transport::tls;
use crate::outputs::{Batch, Carries, Later, Outcome, Output, OutputType, Passwords};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "slack",
    about: "Messages in a Slack channel, through an incoming webhook",
    keys: &[Settings::KEYS, alert::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Incidents,
    passwords: Passwords::Drop,
    batch: Batch { events: 1000, bytes: 1024 * 1024, linger: Duration::ZERO },
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
    let mut complaints = Vec::new();
    let text = settings.webhook_url.reveal_or_complain("slack.webhook_url", &mut complaints);
    if !complaints.is_empty() {
        return Err(complaints);
    }
    let url = http::url("slack.webhook_url", &text).map_err(|it| vec![it])?;
    let slack = Slack { url, layout: settings.layout, http: Http::new(conf)? };
    Ok(Box::new(Channel::new(conf, slack)?))
}

#[derive(Debug)]
struct Slack {
    url: Url,
    layout: Layout,
    http: Http,
}

impl Courier for Slack {
    fn message(&self, card: &Card, record: Option<&Record>) -> Option<Vec<u8>> {
        let message = match (self.layout, record) {
            (Layout::OpenCanary, Some(record)) => opencanary(record),
            _ => dressed(card),
        };
        Some(message.to_string().into_bytes())
    }

    fn send<'a>(&'a mut self, _: &'a Card, message: Vec<u8>) -> Later<'a, Outcome> {
        let request = Request::post(self.url.clone(), "application/json", message);
        Box::pin(async move {
            match self.http.send(request).await {
                Ok(answer) => answer.outcome(),
                Err(outcome) => outcome,
            }
        })
    }

    fn confirms(&self) -> &'static str {
        "accepted by Slack"
    }

    fn deadline(&self) -> Duration {
        self.http.deadline()
    }
}

fn dressed(card: &Card) -> Value {
    let rows: Vec<_> = card
        .rows
        .iter()
        .map(|it| json!({ "title": it.label, "value": escaped(&it.value), "short": it.value.len() < 40 }))
        .collect();
    json!({ "attachments": [{ "title": card.title, "text": escaped(&card.sentence), "fields": rows }] })
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
