//! Telegram's Bot API: a message in plain text. <https://core.telegram.org/bots/api#sendmessage>

use serde_json::{Value, json};
use serin_event::Record;
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;

use super::webhook::{Form, Webhook, again, answered, not_like, plain, required, revealed};
use crate::outputs::alert::{self, Card};
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{self, Answer};
use crate::outputs::transport::tls;
use crate::outputs::{Carries, Outcome, Output, OutputType, Passwords};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "telegram",
    about: "Messages of a Telegram bot",
    keys: &[Settings::KEYS, alert::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Incidents,
    passwords: Passwords::Drop,
    batch: alert::BATCH,
    build,
};

settings! { "telegram" {
    /// The bot's token, as BotFather told it.
    token: Secret = Secret::default();
    /// Whom it tells: the number of a chat (-1001234567890), or @channel.
    chat: String = String::new();
    /// Where the Bot API is.
    url: String = "https://api.telegram.org".to_owned();
} }

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let token = revealed("telegram.token", &settings.token)?;
    required("telegram.chat", &settings.chat)?;
    let mut url = http::url("telegram.url", &settings.url).map_err(|it| vec![it])?;
    url.set_path(&format!("/bot{token}/sendMessage"));
    Webhook::channel(conf, url, Telegram { chat: settings.chat })
}

#[derive(Debug)]
struct Telegram {
    chat: String,
}

impl Form for Telegram {
    /// Without `parse_mode`: then nothing in the text is special.
    fn message(&self, card: &Card, _: Option<&Record>) -> Value {
        json!({ "chat_id": self.chat, "text": plain(card, true, TEXT), "disable_web_page_preview": true })
    }

    fn judge(&self, answer: &Answer) -> Outcome {
        let said = answered(answer);
        let told = said.get("description").and_then(Value::as_str).unwrap_or_default();
        match answer.status {
            200 if said.get("ok") != Some(&Value::Bool(true)) => not_like("Telegram", answer),
            429 => again(answer, said.pointer("/parameters/retry_after").and_then(Value::as_f64)),
            400 if told.contains("chat") || told.contains("rights") => Outcome::Hold(answer.told()),
            _ => answer.outcome(),
        }
    }

    fn confirms(&self) -> &'static str {
        "accepted by Telegram"
    }
}

/// A message has at most 4,096 characters; so have its bytes.
const TEXT: usize = 4096;
