//! Requests to whatever the operator names: our own JSON, a template of his, or the bodies that
//! OpenCanary's `WebhookHandler` and Python's `HTTPHandler` send.
//!
//! Every request carries `Idempotency-Key`, the same whenever one alert is sent again, and, where a
//! secret is set, `X-Signature: sha256=` and the HMAC-SHA256 of the body in hexadecimal.

mod handler;
pub(crate) mod log_record;
mod printf;
mod template;

use std::str::FromStr as _;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serin_event::{Record, Timestamp};
use serin_services::conf::{Complaint, Conf};
use serin_services::{choices, settings};

pub(crate) use handler::from_handler;

use printf::{Data, Encoding};
use template::{Template, told};

use super::alert::{self, Card, Channel, Courier};
use super::delivery::Names;
use super::formatter::{Formatter, Style};
use super::secret::{Secret, SecretTable};
use super::transport::http::{self, Answer, Http, Request};
use super::transport::tls;
use super::{Carries, Later, Outcome, Output, OutputType, Passwords};
use crate::hex::hex;
use crate::runtime::clock::now;

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "webhook",
    about: "Requests to any address: JSON, or a template, signed if wanted",
    keys: &[Settings::KEYS, alert::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Incidents,
    passwords: Passwords::Drop,
    batch: alert::BATCH,
    build,
};

choices! {
    /// What a body is.
    Layout { Native = "native", OpenCanary = "opencanary", LogRecord = "logrecord" }
    wants "native, opencanary or logrecord"
}

settings! { "webhook" {
    /// The address. It may hold a secret in its path, so it is one.
    url: Secret = Secret::default();
    /// The method of the requests.
    method: String = "POST".to_owned();
    /// Headers to send along: a table of names and texts.
    headers: SecretTable = SecretTable::default();
    /// A user name for Basic authentication.
    user: String = String::new();
    /// The password of that user.
    password: Secret = Secret::default();
    /// A template for the body, in minijinja's language; empty: everything there is, as JSON. Values
    /// are escaped as content_type wants it.
    body: String = String::new();
    /// What the body is, for the header Content-Type.
    content_type: String = "application/json".to_owned();
    /// A secret to sign bodies with: the header X-Signature holds sha256= and the HMAC-SHA256 of the
    /// body in hexadecimal.
    hmac_secret: Secret = Secret::default();
    /// The status that means success, and no other; 0: any from 200 to 299.
    status_code: u16 = 0;
    /// What a body is: our own; that of OpenCanary's WebhookHandler, made from data; or that of Python's
    /// logging.handlers.HTTPHandler, a form, which with the method GET goes into the address.
    layout: Layout = Layout::Native;
    /// For the layout opencanary: the argument data of the WebhookHandler, as JSON text. %(message)s
    /// stands for the event, and a % that stays is written %%.
    data: String = String::new();
    /// For the layout opencanary: leaves an event out when its text holds one of these.
    ignore: Names = Names(Vec::new());
    /// For the layout opencanary: a line format as in Python's logging, for the event's text.
    format: String = String::new();
    /// How `asctime` looks in the format, in strftime's directives.
    datefmt: String = String::new();
    /// The notation of the format: %, { or $.
    style: Style = Style::Percent;
} }

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let mut complaints = Vec::new();
    let webhook = Webhook::new(conf, &settings, &mut complaints);
    match webhook {
        Some(webhook) if complaints.is_empty() => Ok(Box::new(Channel::new(conf, webhook)?)),
        _ => Err(complaints),
    }
}

#[derive(Debug)]
struct Webhook {
    url: Url,
    method: Method,
    headers: Vec<(String, String)>,
    body: Body,
    key: Option<hmac::Key>,
    status_code: u16,
    http: Http,
    warning: Option<String>,
}

#[derive(Debug)]
enum Body {
    Everything,
    Template(Template),
    OpenCanary { data: Data, ignore: Vec<String>, formatter: Formatter },
    LogRecord { started: Timestamp },
}

impl Webhook {
    fn new(conf: &Conf, settings: &Settings, complaints: &mut Vec<Complaint>) -> Option<Self> {
        let url = settings.url.reveal_or_complain("webhook.url", complaints);
        let url = http::url("webhook.url", &url).map_err(|it| complaints.push(it)).ok();
        let method = method(&settings.method).map_err(|it| complaints.push(it)).ok();
        let mut headers = headers(settings, complaints);
        let is = |name: &'static str| move |it: &(String, String)| it.0.eq_ignore_ascii_case(name);
        let body = body(settings, &headers).map_err(|it| complaints.push(it)).ok();
        let content_type = match &body {
            Some(Body::OpenCanary { data, .. }) if data.is_json() => Some("application/json"),
            Some(Body::OpenCanary { data, .. }) if data.is_form() => {
                Some("application/x-www-form-urlencoded")
            }
            Some(Body::OpenCanary { .. }) => None,
            Some(Body::LogRecord { .. }) if method.as_ref() == Some(&Method::GET) => None,
            Some(Body::LogRecord { .. }) => Some("application/x-www-form-urlencoded"),
            _ => Some(&settings.content_type[..]),
        };
        if let Some(content_type) = content_type
            && !headers.iter().any(is("Content-Type"))
        {
            headers.push(("Content-Type".to_owned(), content_type.to_owned()));
        }
        let key = settings.hmac_secret.reveal_or_complain("webhook.hmac_secret", complaints);
        let key = (!key.is_empty()).then(|| hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()));
        let http = Http::new(conf).map_err(|it| complaints.extend(it)).ok();
        Some(Self {
            url: url?,
            method: method?,
            headers,
            body: body?,
            key,
            status_code: settings.status_code,
            http: http?,
            warning: tls::warning(conf),
        })
    }

    fn outcome(&self, answer: &Answer) -> Outcome {
        match (answer.status, self.status_code) {
            // Python does not follow them either, and whoever answers a form with one has taken it.
            (300..=399, 0) if matches!(self.body, Body::LogRecord { .. }) => Outcome::Delivered,
            (status, wanted) if status == wanted => Outcome::Delivered,
            // The receiver took it but means something else by that: sending it again would double it.
            (200..=299, wanted) if wanted != 0 => {
                Outcome::Reject(format!("{}, where status_code is {wanted}", answer.told()))
            }
            _ => answer.outcome(),
        }
    }
}

fn method(text: &str) -> Result<Method, Complaint> {
    Method::from_bytes(text.as_bytes()).map_err(|_| Complaint {
        key: "webhook.method".to_owned(),
        text: format!("wants a method such as POST, got {text:?}"),
    })
}

/// The operator's headers.
fn headers(settings: &Settings, complaints: &mut Vec<Complaint>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, secret) in &settings.headers.0 {
        let value = secret.reveal_or_complain("webhook.headers", complaints);
        if HeaderName::from_str(name).is_err() || HeaderValue::from_str(&value).is_err() {
            let text = format!("{name:?} is no header, or its value cannot be one");
            complaints.push(Complaint { key: "webhook.headers".to_owned(), text });
        }
        headers.push((name.clone(), value));
    }
    let password = settings.password.reveal_or_complain("webhook.password", complaints);
    if !settings.user.is_empty() || !password.is_empty() {
        let credentials = STANDARD.encode(format!("{}:{password}", settings.user));
        headers.push(("Authorization".to_owned(), format!("Basic {credentials}")));
    }
    headers
}

fn body(settings: &Settings, headers: &[(String, String)]) -> Result<Body, Complaint> {
    let complain = |key: &str, text: String| Complaint { key: format!("webhook.{key}"), text };
    if settings.layout == Layout::OpenCanary {
        // Its own rule: any header will do, and the value must be exactly this.
        let json = headers.iter().any(|it| it.1 == "application/json");
        let encoding = if json { Encoding::Json } else { Encoding::Form };
        let data = Data::new(&settings.data, encoding).map_err(|text| complain("data", text))?;
        let formatter = Formatter::new(&settings.format, &settings.datefmt, settings.style)
            .map_err(|text| complain("format", text))?;
        return Ok(Body::OpenCanary { data, ignore: settings.ignore.0.clone(), formatter });
    }
    if settings.layout == Layout::LogRecord {
        return Ok(Body::LogRecord { started: now() });
    }
    if settings.body.is_empty() {
        return Ok(Body::Everything);
    }
    let content_type = headers.iter().find(|it| it.0.eq_ignore_ascii_case("Content-Type"));
    let content_type = content_type.map_or(&settings.content_type, |it| &it.1);
    let template =
        Template::new(settings.body.clone(), content_type).map_err(|text| complain("body", text))?;
    Ok(Body::Template(template))
}

impl Courier for Webhook {
    fn message(&self, card: &Card, record: Option<&Record>) -> Option<Vec<u8>> {
        Some(match &self.body {
            Body::Everything => told(card, record).to_string().into_bytes(),
            Body::Template(template) => {
                let mut told = told(card, record);
                match template.render(&told) {
                    Ok(body) => body.into_bytes(),
                    // Better in another form than not at all.
                    Err(why) => {
                        if let Some(members) = told.as_object_mut() {
                            members.insert("template_error".to_owned(), why.into());
                        }
                        told.to_string().into_bytes()
                    }
                }
            }
            Body::OpenCanary { data, ignore, formatter } => {
                let message = match record {
                    Some(record) => formatter.format(record),
                    None => told(card, None).to_string(),
                };
                if ignore.iter().any(|it| message.contains(it)) {
                    return None;
                }
                data.body(&message)
            }
            Body::LogRecord { started } => {
                let (name, line, time) = match record {
                    Some(record) => (&*record.node_id, record.line(), record.time),
                    None => ("serin", told(card, None).to_string(), card.time),
                };
                log_record::form(name, &line, time, std::process::id(), *started).into_bytes()
            }
        })
    }

    fn send<'a>(&'a mut self, card: &'a Card, message: Vec<u8>) -> Later<'a, Outcome> {
        let mut headers = self.headers.clone();
        let mut add = |name: &str, value: String| {
            // What the operator set, stays.
            if !headers.iter().any(|it| it.0.eq_ignore_ascii_case(name)) {
                headers.push((name.to_owned(), value));
            }
        };
        add("Idempotency-Key", header_text(&card.key));
        if let Some(key) = &self.key {
            add("X-Signature", signature(key, &message));
        }
        if message.is_empty() && self.method != Method::GET {
            headers.push(("Content-Length".to_owned(), "0".to_owned()));
        }
        let mut url = self.url.clone();
        let in_address = matches!(self.body, Body::LogRecord { .. }) && self.method == Method::GET;
        if in_address {
            let form = String::from_utf8_lossy(&message);
            let own = url.query().map(|it| format!("{it}&")).unwrap_or_default();
            url.set_query(Some(&format!("{own}{form}")));
        }
        let mut request = Request::post(url, "", if in_address { Vec::new() } else { message });
        request.method = self.method.clone();
        request.headers = headers;
        Box::pin(async move {
            match self.http.send(request).await {
                Ok(answer) => self.outcome(&answer),
                Err(outcome) => outcome,
            }
        })
    }

    fn confirms(&self) -> &'static str {
        "accepted by the receiver"
    }

    fn deadline(&self) -> Duration {
        self.http.deadline()
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }
}

/// A sensor's name may hold anything; a header's value may not.
fn header_text(text: &str) -> String {
    text.chars().map(|it| if it.is_ascii_graphic() { it } else { '_' }).collect()
}

fn signature(key: &hmac::Key, body: &[u8]) -> String {
    format!("sha256={}", hex(hmac::sign(key, body).as_ref()))
}
