//! What chats and pagers have in common: one message is one POST of one JSON document.

use std::fmt;
use std::time::Duration;

use reqwest::Url;
use serde_json::Value;
use serin_event::{Record, Severity};
use serin_services::conf::{Complaint, Conf};

use crate::outputs::alert::{Card, Channel, Courier};
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{self, Answer, Http, Request};
use crate::outputs::{Later, Outcome, Output};

/// What is special about one receiver.
pub(super) trait Form: Send + fmt::Debug {
    /// The card in the receiver's form. Pure; `record` as in [`Courier::message`].
    fn message(&self, card: &Card, record: Option<&Record>) -> Value;

    /// What the receiver wants to see beside the message.
    fn headers(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What an answer means.
    fn judge(&self, answer: &Answer) -> Outcome {
        answer.outcome()
    }

    /// As in [`Courier::resolves`].
    fn resolves(&self) -> bool {
        false
    }

    /// How strongly the receiver confirms.
    fn confirms(&self) -> &'static str;
}

/// A courier to a receiver of this form.
#[derive(Debug)]
pub(super) struct Webhook<F> {
    form: F,
    url: Url,
    http: Http,
    /// Whether the receiver took anything since the start.
    accepted: bool,
}

impl<F: Form + 'static> Webhook<F> {
    /// The channel around it; the conf's other groups are checked as well.
    pub(super) fn channel(conf: &Conf, url: Url, form: F) -> Result<Box<dyn Output>, Vec<Complaint>> {
        let webhook = Self { form, url, http: Http::new(conf)?, accepted: false };
        Ok(Box::new(Channel::new(conf, webhook)?))
    }
}

impl<F: Form> Courier for Webhook<F> {
    fn message(&self, card: &Card, record: Option<&Record>) -> Option<Vec<u8>> {
        Some(self.form.message(card, record).to_string().into_bytes())
    }

    fn send<'a>(&'a mut self, _: &'a Card, message: Vec<u8>) -> Later<'a, Outcome> {
        let mut request = Request::post(self.url.clone(), "application/json", message);
        for (name, value) in self.form.headers() {
            request = request.with(name, value);
        }
        Box::pin(async move {
            let outcome = match self.http.send(request).await {
                Ok(answer) => self.form.judge(&answer),
                Err(outcome) => outcome,
            };
            match outcome {
                // Who refuses the first message may refuse all of them: the wrong kind of webhook.
                Outcome::Reject(why) if !self.accepted => Outcome::Hold(why),
                Outcome::Delivered | Outcome::Duplicate => {
                    self.accepted = true;
                    outcome
                }
                other => other,
            }
        })
    }

    fn resolves(&self) -> bool {
        self.form.resolves()
    }

    fn confirms(&self) -> &'static str {
        self.form.confirms()
    }

    fn deadline(&self) -> Duration {
        self.http.deadline()
    }
}

/// The address that a secret setting holds.
pub(super) fn address(key: &str, secret: &Secret) -> Result<Url, Vec<Complaint>> {
    http::url(key, &revealed(key, secret)?).map_err(|it| vec![it])
}

/// A secret that must be there.
pub(super) fn revealed(key: &str, secret: &Secret) -> Result<String, Vec<Complaint>> {
    let mut complaints = Vec::new();
    let text = secret.reveal_or_complain(key, &mut complaints);
    if !complaints.is_empty() {
        return Err(complaints);
    }
    if text.is_empty() {
        return Err(vec![Complaint { key: key.to_owned(), text: "is missing".to_owned() }]);
    }
    Ok(text)
}

/// A severity's colour: red, orange, yellow, blue, grey.
pub(super) const fn colour(severity: Severity) -> u32 {
    match severity {
        Severity::Critical => 0x00b3_1d28,
        Severity::High => 0x00d9_5f02,
        Severity::Medium => 0x00e0_a800,
        Severity::Low => 0x002f_81b7,
        Severity::Informational => 0x0080_8890,
    }
}
