//! The Events API v2 of `PagerDuty`: an incident of ours is an alert there, under the same key until its end.
//! <https://developer.pagerduty.com/docs/events-api-v2-overview>

use serde_json::{Value, json};
use serin_event::{Record, Severity};
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;

use super::webhook::{Form, Webhook, answered, cut, not_like, revealed};
use crate::outputs::alert::{self, Card, CardKind};
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{self, Answer};
use crate::outputs::transport::tls;
use crate::outputs::{Carries, Outcome, Output, OutputType, Passwords};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "pagerduty",
    about: "Incidents at PagerDuty, resolved when they are over",
    keys: &[Settings::KEYS, alert::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Incidents,
    passwords: Passwords::Drop,
    batch: alert::BATCH,
    build,
};

settings! { "pagerduty" {
    /// The integration key of a service (Events API v2).
    routing_key: Secret = Secret::default();
    /// Where the Events API is; https://events.eu.pagerduty.com in Europe.
    url: String = "https://events.pagerduty.com".to_owned();
} }

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let routing_key = revealed("pagerduty.routing_key", &settings.routing_key)?;
    let mut url = http::url("pagerduty.url", &settings.url).map_err(|it| vec![it])?;
    url.set_path("/v2/enqueue");
    Webhook::channel(conf, url, PagerDuty { routing_key })
}

struct PagerDuty {
    routing_key: String,
}

impl std::fmt::Debug for PagerDuty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PagerDuty")
    }
}

impl Form for PagerDuty {
    fn message(&self, card: &Card, _: Option<&Record>) -> Value {
        let key = cut(&card.id, KEY);
        if card.kind == CardKind::Closed {
            return json!({ "routing_key": self.routing_key, "event_action": "resolve", "dedup_key": key });
        }
        let mut details: serde_json::Map<String, Value> =
            card.rows.iter().map(|it| (it.label.to_owned(), json!(it.value))).collect();
        if !card.details.is_empty() {
            details.insert("Details".to_owned(), json!(card.details));
        }
        let summary =
            if card.test { format!("{}: {}", card.title, card.sentence) } else { card.sentence.clone() };
        let mut message = json!({
            "routing_key": self.routing_key,
            "event_action": "trigger",
            "dedup_key": key,
            "client": "Serin",
            "payload": {
                "summary": cut(&summary, SUMMARY),
                "source": card.source.as_deref().unwrap_or(&card.node),
                "severity": severity(card.severity),
                "timestamp": card.time.rfc3339(),
                "component": card.service,
                "group": card.node,
                "class": card.title,
                "custom_details": details,
            },
        });
        if let Some(link) = &card.link {
            message["client_url"] = json!(link);
        }
        message
    }

    /// It tells incidents apart and ends them: one that nobody ends stays open for ever.
    fn resolves(&self) -> bool {
        true
    }

    fn judge(&self, answer: &Answer) -> Outcome {
        match answer.status {
            200..=299 if answered(answer).get("status") != Some(&json!("success")) => {
                not_like("PagerDuty", answer)
            }
            400 if answer.text().contains("outing key") || answer.text().contains("routing_key") => {
                Outcome::Hold(answer.told())
            }
            _ => answer.outcome(),
        }
    }

    fn confirms(&self) -> &'static str {
        "accepted by PagerDuty"
    }
}

const KEY: usize = 255;
const SUMMARY: usize = 1024;

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Informational => "info",
    }
}
