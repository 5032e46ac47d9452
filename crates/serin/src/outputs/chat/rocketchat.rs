//! Rocket.Chat's incoming webhooks: the shape of Slack's, with Markdown in it.
//! <https://docs.rocket.chat/docs/integrations>

use serde_json::{Value, json};
use serin_event::Record;
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;

use super::attachment::attachment;
use super::mattermost::escaped;
use super::webhook::{Form, Webhook, address, answered, not_like};
use crate::outputs::alert::{self, Card};
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{self, Answer};
use crate::outputs::transport::tls;
use crate::outputs::{Carries, Outcome, Output, OutputType, Passwords};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "rocketchat",
    about: "Messages in a Rocket.Chat channel, through an incoming webhook",
    keys: &[Settings::KEYS, alert::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Incidents,
    passwords: Passwords::Drop,
    batch: alert::BATCH,
    build,
};

settings! { "rocketchat" {
    /// The webhook's address. Whoever knows it can post, so it is a secret.
    webhook_url: Secret = Secret::default();
} }

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let url = address("rocketchat.webhook_url", &settings.webhook_url)?;
    Webhook::channel(conf, url, RocketChat)
}

#[derive(Debug)]
struct RocketChat;

impl Form for RocketChat {
    fn message(&self, card: &Card, _: Option<&Record>) -> Value {
        json!({ "attachments": [attachment(card, escaped)], "parseUrls": false })
    }

    fn judge(&self, answer: &Answer) -> Outcome {
        let said = answered(answer);
        match answer.status {
            200 if said.get("success") != Some(&Value::Bool(true)) => not_like("Rocket.Chat", answer),
            400 if said.get("error").is_some_and(|it| it == "invalid-channel") => {
                Outcome::Hold(answer.told())
            }
            _ => answer.outcome(),
        }
    }

    fn confirms(&self) -> &'static str {
        "accepted by Rocket.Chat"
    }
}
