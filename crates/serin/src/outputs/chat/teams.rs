//! Microsoft Teams: Adaptive Cards through a workflow's webhook. OpenCanary's `TeamsHandler` becomes
//! this, with its payload to the letter: that layout alone has the image which every Teams client
//! then fetches from OpenCanary's vendor. <https://adaptivecards.io/explorer/AdaptiveCard.html>

use std::fmt::Write as _;

use serde_json::{Value, json};
use serin_event::{Record, Severity};
use serin_services::conf::{Complaint, Conf};
use serin_services::{choices, settings};

use super::webhook::{Form, MARKDOWN, Webhook, address, again, backslashed, not_like};
use crate::outputs::alert::{self, Card};
use crate::outputs::handlers::Reader;
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{self, Answer};
use crate::outputs::transport::tls;
use crate::outputs::{Carries, Outcome, Output, OutputType, Passwords};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "teams",
    about: "Cards in a Microsoft Teams channel, through a workflow's webhook",
    keys: &[Settings::KEYS, alert::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Incidents,
    passwords: Passwords::Drop,
    batch: alert::BATCH,
    build,
};

choices! {
    /// What a card looks like.
    Layout { Card = "card", OpenCanary = "opencanary" } wants "card or opencanary"
}

settings! { "teams" {
    /// The address of the workflow's webhook. Whoever knows it can post, so it is a secret.
    webhook_url: Secret = Secret::default();
    /// What a card looks like: ours for people, or the facts of one event as OpenCanary's TeamsHandler
    /// sends them, with an image from its vendor's server.
    layout: Layout = Layout::Card;
} }

/// Every event, as OpenCanary's handler sends it. It ignores formatters.
pub(crate) fn from_handler(reader: &mut Reader<'_>) {
    reader.each_event();
    reader.formatter_counts = false;
    reader.conf.set("teams.layout", "opencanary");
    reader.required("webhook_url", "teams.webhook_url", "the address of the webhook");
}

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let url = address("teams.webhook_url", &settings.webhook_url)?;
    Webhook::channel(conf, url, Teams { layout: settings.layout })
}

#[derive(Debug)]
struct Teams {
    layout: Layout,
}

impl Form for Teams {
    fn message(&self, card: &Card, record: Option<&Record>) -> Value {
        let content = match (self.layout, record) {
            (Layout::OpenCanary, Some(record)) => opencanary(record),
            _ => dressed(card),
        };
        let attachment =
            json!({ "contentType": "application/vnd.microsoft.card.adaptive", "content": content });
        match self.layout {
            Layout::OpenCanary => json!({ "attachments": [attachment] }),
            Layout::Card => json!({ "type": "message", "attachments": [attachment] }),
        }
    }

    fn limit(&self) -> usize {
        ALL
    }

    /// 202: the workflow has it. What came before workflows answered 200 and hid Teams' own answer in
    /// the text.
    fn judge(&self, answer: &Answer) -> Outcome {
        match answer.status {
            202 => Outcome::Delivered,
            200..=299 if answer.text().contains("429") => again(answer, None),
            200..=299 => not_like("a workflow of Teams", answer),
            _ => answer.outcome(),
        }
    }

    fn confirms(&self) -> &'static str {
        "accepted by the workflow"
    }
}

/// A message has at most 28 KB.
const ALL: usize = 27_000;

fn dressed(card: &Card) -> Value {
    let style = match card.severity {
        Severity::Critical | Severity::High => "attention",
        Severity::Medium => "warning",
        Severity::Low => "accent",
        Severity::Informational => "emphasis",
    };
    let head = json!({
        "type": "Container",
        "style": style,
        "bleed": true,
        "items": [
            { "type": "TextBlock", "text": escaped(&card.title), "weight": "Bolder", "size": "Medium", "wrap": true },
            { "type": "TextBlock", "text": escaped(&format!("Serin, {}", card.label())), "size": "Small",
              "isSubtle": true, "spacing": "None" },
        ],
    });
    let facts: Vec<_> =
        card.rows.iter().map(|it| json!({ "title": it.label, "value": escaped(&it.value) })).collect();
    let mut body = vec![
        head,
        json!({ "type": "TextBlock", "text": escaped(&card.sentence), "wrap": true }),
        json!({ "type": "FactSet", "facts": facts }),
    ];
    body.extend(card.details.iter().map(|it| {
        json!({ "type": "TextBlock", "text": format!("\u{2022} {}", escaped(it)), "wrap": true,
                "spacing": "Small", "size": "Small" })
    }));
    let mut content = json!({
        "type": "AdaptiveCard",
        "$schema": SCHEMA,
        "version": "1.5",
        "fallbackText": card.title,
        "body": body,
    });
    if let Some(link) = &card.link {
        let action = json!({ "type": "Action.OpenUrl", "title": "Open the console", "url": link });
        content["actions"] = json!([action]);
    }
    content
}

const SCHEMA: &str = "https://adaptivecards.io/schemas/adaptive-card.json";

/// Texts of cards are Markdown.
fn escaped(text: &str) -> String {
    backslashed(text, MARKDOWN)
}

/// OpenCanary's card: every member of its line is a fact, nested ones with `__` between the names.
fn opencanary(record: &Record) -> Value {
    let line: Value = serde_json::from_str(&record.line()).unwrap_or_default();
    let mut facts = Vec::new();
    gather("", &line, &mut facts);
    let logo = json!({
        "type": "Image",
        "url": "https://resources.canary.tools/images/open-canary-green_logo.png",
        "width": "82px",
        "horizontalAlignment": "Left",
    });
    let title = json!([
        { "type": "TextBlock", "text": "\u{a0}", "size": "Small" },
        { "type": "TextBlock", "text": "OpenCanary Alert", "weight": "Bolder", "size": "ExtraLarge" },
    ]);
    let columns = json!([
        { "type": "Column", "width": "auto", "items": [logo] },
        { "type": "Column", "items": title },
    ]);
    json!({
        "type": "AdaptiveCard",
        "$schema": SCHEMA,
        "version": "1.5",
        "body": [{ "type": "ColumnSet", "columns": columns }, { "type": "FactSet", "facts": facts }],
    })
}

fn gather(name: &str, value: &Value, facts: &mut Vec<Value>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                let nested = if name.is_empty() { member.clone() } else { format!("{name}__{member}") };
                gather(&nested, value, facts);
            }
        }
        Value::String(text) => facts.push(json!({ "title": name.to_lowercase(), "value": text })),
        other => facts.push(json!({ "title": name.to_lowercase(), "value": python(other) })),
    }
}

/// What Python's `repr` makes of a value that came from JSON.
pub(super) fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => python_text(text),
        Value::Array(values) => format!("[{}]", values.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let members =
                members.iter().map(|(name, value)| format!("{}: {}", python_text(name), python(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
    }
}

fn python_text(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut literal = String::from(quote);
    for character in text.chars() {
        match character {
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            it if it == quote => literal.extend(['\\', it]),
            it if it.is_control() && u32::from(it) < 256 => {
                {
                    // Writing to a String cannot fail.
                    let _ = write!(literal, "\\x{:02x}", u32::from(it));
                }
            }
            it => literal.push(it),
        }
    }
    literal.push(quote);
    literal
}
