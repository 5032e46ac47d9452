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

    /// So many bytes a message has at most.
    fn limit(&self) -> usize {
        usize::MAX
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
pub(super) struct Webhook<F> {
    form: F,
    url: Url,
    http: Http,
    /// Whether the receiver took anything since the start.
    accepted: bool,
    /// A success in words that are not the receiver's.
    doubt: Option<String>,
}

impl<F: Form> fmt::Debug for Webhook<F> {
    /// Without the address, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("form", &self.form).finish_non_exhaustive()
    }
}

impl<F: Form + 'static> Webhook<F> {
    /// The channel around it; the conf's other groups are checked as well.
    pub(super) fn channel(conf: &Conf, url: Url, form: F) -> Result<Box<dyn Output>, Vec<Complaint>> {
        let webhook = Self { form, url, http: Http::new(conf)?, accepted: false, doubt: None };
        Ok(Box::new(Channel::new(conf, webhook)?))
    }
}

impl<F: Form> Courier for Webhook<F> {
    fn message(&self, card: &Card, record: Option<&Record>) -> Option<Vec<u8>> {
        let render = |card: &Card| self.form.message(card, record).to_string().into_bytes();
        let limit = self.form.limit();
        let mut message = render(card);
        let mut smaller = card.clone();
        for most in [VALUES, 100, 40] {
            if message.len() <= limit {
                break;
            }
            shorten(&mut smaller, most);
            message = render(&smaller);
            while message.len() > limit && smaller.details.len() > 1 {
                smaller.details.truncate(smaller.details.len() / 2);
                smaller.details.push("\u{2026}".to_owned());
                if smaller.details.len() == 2 {
                    smaller.details.clear();
                }
                message = render(&smaller);
            }
        }
        Some(message)
    }

    fn send<'a>(&'a mut self, _: &'a Card, message: Vec<u8>) -> Later<'a, Outcome> {
        let mut request = Request::post(self.url.clone(), "application/json", message);
        for (name, value) in self.form.headers() {
            request = request.with(name, value);
        }
        Box::pin(async move {
            let answer = match self.http.send(request).await {
                Ok(answer) => answer,
                Err(outcome) => return outcome,
            };
            match self.form.judge(&answer) {
                // Sent again, it would come again and again.
                Outcome::Hold(why) if may_be_taken(&answer) => {
                    self.doubt = Some(format!("perhaps not every message arrives: {why}"));
                    Outcome::Delivered
                }
                // Who refuses the first message may refuse all of them: the wrong kind of webhook.
                Outcome::Reject(why) if !self.accepted => Outcome::Hold(why),
                Outcome::Delivered | Outcome::Duplicate => {
                    self.accepted = true;
                    self.doubt = None;
                    Outcome::Delivered
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

    fn warning(&self) -> Option<String> {
        self.doubt.clone()
    }
}

/// Whether a success that the receiver does not put so may be one all the same: the answer was cut, or
/// something in between rewrote it. A page or an error in JSON is none.
fn may_be_taken(answer: &Answer) -> bool {
    let said = answered(answer);
    let names = |name: &str| said.get(name).is_some();
    let refused =
        said.get("ok") == Some(&Value::Bool(false)) || names("error") || names("errors") || names("status");
    (200..=299).contains(&answer.status) && !refused && !answer.text().trim_start().starts_with('<')
}

/// So long is a value before it is cut, in characters; more than any card has.
const VALUES: usize = 1000;

/// Cuts every text that a peer may have had a hand in.
fn shorten(card: &mut Card, most: usize) {
    card.sentence = cut(&card.sentence, most * 2);
    for text in card.rows.iter_mut().map(|it| &mut it.value).chain(&mut card.details) {
        *text = cut(text, most);
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

/// At most `most` characters; what is missing is marked.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['\u{2026}']).collect()
}

/// The text with a backslash before each of these characters.
pub(super) fn backslashed(text: &str, special: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if special.contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// What Markdown gives a meaning.
pub(super) const MARKDOWN: &str = "\\`*_~|[]()<>#!";

/// The card as plain text of at most `most` bytes: sentence, table, link, details. `title`: with it.
pub(super) fn plain(card: &Card, title: bool, most: usize) -> String {
    const MORE: &str = "\n\u{2026}";
    let mut lines = Vec::new();
    if title {
        lines.push(format!("[{}] {}", card.label(), card.title));
    }
    lines.push(card.sentence.clone());
    lines.extend(card.link.clone());
    lines.extend(card.rows.iter().map(|it| format!("{}: {}", it.label, it.value)));
    lines.extend(card.details.iter().map(|it| format!("\u{2022} {it}")));
    let room = most.saturating_sub(MORE.len());
    let mut text = String::new();
    for line in &lines {
        let gap = if text.is_empty() { "" } else { "\n" };
        if text.len() + gap.len() + line.len() <= room {
            text.push_str(gap);
            text.push_str(line);
            continue;
        }
        if text.is_empty() {
            text.extend(line.chars().scan(0, |sum, it| {
                *sum += it.len_utf8();
                (*sum <= room).then_some(it)
            }));
        }
        text.push_str(MORE);
        break;
    }
    text
}

/// Try again, when the receiver says in so many seconds; at most in an hour.
pub(super) fn again(answer: &Answer, seconds: Option<f64>) -> Outcome {
    const MOST: f64 = 3600.0;
    let told = seconds.filter(|it| it.is_finite()).map(|it| Duration::from_secs_f64(it.clamp(0.0, MOST)));
    Outcome::Retry { why: answer.told(), after: told.or_else(|| answer.retry_after()) }
}

/// An answer's JSON; null when it is none.
pub(super) fn answered(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// Whoever answers this is not the receiver: a proxy, a login page, another service.
pub(super) fn not_like(receiver: &str, answer: &Answer) -> Outcome {
    Outcome::Hold(format!("this does not answer like {receiver}: {}", answer.told()))
}

/// A setting that must be there.
pub(super) fn required(key: &str, text: &str) -> Result<(), Vec<Complaint>> {
    let complaint = || Complaint { key: key.to_owned(), text: "is missing".to_owned() };
    if text.is_empty() { Err(vec![complaint()]) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    #[test]
    fn a_page_or_an_error_is_no_success() {
        let taken = |status, body: &str| {
            may_be_taken(&Answer { status, headers: HeaderMap::new(), body: body.into(), cut: false })
        };
        assert!([taken(200, ""), taken(200, "thanks"), taken(202, r#"{"sta"#)].into_iter().all(|it| it));
        assert!(!taken(404, "") && !taken(200, " <html>Sign in to the network</html>"));
        assert!(!taken(200, r#"{"ok":false,"description":"blocked"}"#));
        assert!(!taken(200, r#"{"status":"invalid event"}"#) && !taken(200, r#"{"error":"x"}"#));
    }
}
