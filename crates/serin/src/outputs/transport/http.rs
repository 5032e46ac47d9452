//! Requests to receivers that speak HTTP.
//!
//! Redirects are never followed: a credential must not go where nobody configured it. Answers are
//! read up to [`ANSWER_MAX`] bytes. What an answer means unless the receiver has its own rules is
//! [`Answer::outcome`].

use std::error::Error as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Proxy, Url};
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;

use super::{CONNECT, may_reach, tls};
use crate::outputs::Outcome;
use crate::runtime::clock::now;

settings! { "http" {
    /// A proxy to go through, such as http://proxy.example:3128; without it the variables HTTPS_PROXY,
    /// HTTP_PROXY and NO_PROXY count.
    proxy: String = String::new();
    /// Seconds for a whole request.
    timeout: Duration = Duration::from_secs(10);
} }

/// The settings, for outputs that speak HTTP; [`tls::KEYS`] belong beside them.
pub(crate) const KEYS: &[serin_services::conf::Key] = Settings::KEYS;

/// Of an answer so much is read, unless a request wants more of it.
const ANSWER_MAX: usize = 64 * 1024;
/// What a receiver may ask us to wait at most.
const PATIENCE_MAX: Duration = Duration::from_hours(1);
/// So much of an answer's text is shown to a person.
const SHOWN: usize = 200;

/// A client for one receiver.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    timeout: Duration,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Names and values; a value that is no header value makes the request fail.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// So many bytes of the answer are read.
    pub(crate) answer_max: usize,
}

impl Request {
    /// A POST of this body.
    pub(crate) fn post(url: Url, content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        Self { method: Method::POST, url, headers, body, answer_max: ANSWER_MAX }
    }

    /// A GET.
    pub(crate) fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: Vec::new(), body: Vec::new(), answer_max: ANSWER_MAX }
    }

    /// The same with its body compressed.
    pub(crate) fn gzip(mut self) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // Writing to memory cannot fail; if it did, the body would go as it is.
        if encoder.write_all(&self.body).is_ok()
            && let Ok(compressed) = encoder.finish()
        {
            self.body = compressed;
            return self.with("Content-Encoding", "gzip");
        }
        self
    }

    /// The same, reading up to this many bytes of the answer.
    pub(crate) fn reading(mut self, bytes: usize) -> Self {
        self.answer_max = bytes;
        self
    }

    /// The same with one more header.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// What the receiver answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// At most as many bytes as the request wanted.
    pub(crate) body: Vec<u8>,
    /// Whether the connection ended before the body did: the status is all that is certain.
    pub(crate) cut: bool,
}

impl Http {
    /// From the settings under `http` and `tls`.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub(crate) fn new(conf: &Conf) -> Result<Self, Vec<Complaint>> {
        let settings = Settings::read(conf)?;
        let complain = |text: String| vec![Complaint { key: "http.proxy".to_owned(), text }];
        let tls = Arc::unwrap_or_clone(tls::config(conf)?);
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(settings.timeout)
            .dns_resolver(Arc::new(Resolver))
            .user_agent(concat!("Serin/", env!("CARGO_PKG_VERSION")));
        if !settings.proxy.is_empty() {
            let proxy = Proxy::all(&settings.proxy).map_err(|error| complain(cause(&error)))?;
            builder = builder.proxy(proxy);
        }
        let client = builder.build().map_err(|error| complain(cause(&error)))?;
        Ok(Self { client, timeout: settings.timeout })
    }

    /// How long a request may take, for [`Output::deadline`](crate::outputs::Output::deadline).
    pub(crate) fn deadline(&self) -> Duration {
        self.timeout + CONNECT
    }

    /// Sends a request and reads the answer, or what there is of it once its status is known: most
    /// receivers have said everything then, and would otherwise get the same once more.
    ///
    /// # Errors
    ///
    /// When there is no answer: [`Outcome::Retry`], or [`Outcome::Hold`] where waiting cannot help.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, Outcome> {
        self.attempt(request).await.or_else(|failed| failed.cut.ok_or(failed.outcome))
    }

    /// The same, for receivers to which nothing must be sent twice, and whose answers decide by every
    /// word.
    ///
    /// # Errors
    ///
    /// When there is no whole answer, and whether the receiver may have got the request.
    pub(crate) async fn attempt(&self, request: Request) -> Result<Answer, Failed> {
        if let Some(address) = literal(&request.url) {
            may_reach(address).map_err(|why| Failed {
                outcome: Outcome::Hold(why),
                maybe_sent: false,
                cut: None,
            })?;
        }
        let mut builder = self.client.request(request.method, request.url).body(request.body);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let mut response = builder.send().await.map_err(|error| Failed::of(&error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    let cut = Some(Answer { status, headers, body, cut: true });
                    return Err(Failed { cut, ..Failed::of(&error) });
                }
            };
            let room = request.answer_max.saturating_sub(body.len());
            body.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
            if body.len() >= request.answer_max {
                break;
            }
        }
        Ok(Answer { status, headers, body, cut: false })
    }
}

/// A request without a whole answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failed {
    pub(crate) outcome: Outcome,
    /// Whether the receiver may have got it all the same.
    pub(crate) maybe_sent: bool,
    /// The beginning of an answer.
    pub(crate) cut: Option<Answer>,
}

impl Failed {
    fn of(error: &reqwest::Error) -> Self {
        Self { outcome: failure(error), maybe_sent: !error.is_connect() && !error.is_builder(), cut: None }
    }
}

impl Answer {
    /// What an answer means where the receiver has no rules of its own.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.status {
            200..=299 => Outcome::Delivered,
            408 | 425 | 429 | 500..=599 => Outcome::Retry { why: self.told(), after: self.retry_after() },
            300..=399 => Outcome::Hold(format!("{}; redirects are not followed", self.told())),
            400 | 409 | 413 | 415 | 422 => Outcome::Reject(self.told()),
            _ => Outcome::Hold(self.told()),
        }
    }

    /// Status and the beginning of the text, for a person.
    pub(crate) fn told(&self) -> String {
        let text = self.text();
        let shown: String = text.trim().chars().take(SHOWN).filter(|it| !it.is_control()).collect();
        let cut = if self.cut { " (the answer was cut)" } else { "" };
        if shown.is_empty() {
            format!("HTTP {}{cut}", self.status)
        } else {
            format!("HTTP {}{cut}: {shown}", self.status)
        }
    }

    /// The answer's text; what is not UTF-8 in it is replaced.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `Retry-After`, in seconds or as a date; at most an hour.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        Some(self.asks_for()?.min(PATIENCE_MAX))
    }

    /// `Retry-After` as it was said, however long that is.
    pub(crate) fn asks_for(&self) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        match text.parse::<u64>() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => until_date(text),
        }
    }
}

/// From now until an HTTP date.
fn until_date(text: &str) -> Option<Duration> {
    let time = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let micros = time.as_microsecond().checked_sub(now().0)?;
    Some(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}

/// The address in a URL that names none by name.
fn literal(url: &Url) -> Option<std::net::IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

fn failure(error: &reqwest::Error) -> Outcome {
    let why = cause(error);
    if why.contains("invalid peer certificate") || error.is_builder() || why.contains("SERIN_TEST") {
        Outcome::Hold(why)
    } else {
        Outcome::retry(why)
    }
}

/// The whole chain of causes, without the address, which may hold a secret.
fn cause(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { String::new() };
    let mut source = error.source();
    while let Some(it) = source {
        let told = it.to_string();
        if !text.contains(&told) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&told);
        }
        source = it.source();
    }
    if text.is_empty() { "the request failed".to_owned() } else { text }
}

/// The system's resolver; in tests names must lead to this machine.
#[derive(Debug)]
struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            for address in &found {
                may_reach(address.ip())?;
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

/// A setting that is an address of a receiver.
///
/// # Errors
///
/// When it is none, or none with http or https.
pub(crate) fn url(key: &str, text: &str) -> Result<Url, Complaint> {
    let complain = |text: &str| Complaint { key: key.to_owned(), text: text.to_owned() };
    let url = Url::parse(text).map_err(|_| complain("wants an address such as https://siem.example/path"))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(url)
    } else {
        Err(complain("wants an address that begins with https:// or http://"))
    }
}

/// An address below another one: `https://siem.example/prefix/` and `a/b` give
/// `https://siem.example/prefix/a/b`.
pub(crate) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path.split('/'));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&str>) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(RETRY_AFTER, text.parse().unwrap());
        }
        Answer { status, headers, body: b"said\n".to_vec(), cut: false }
    }

    #[test]
    fn statuses_have_their_classes() {
        let class = |status| match answer(status, None).outcome() {
            Outcome::Delivered => "delivered",
            Outcome::Retry { .. } => "retry",
            Outcome::Hold(_) => "hold",
            Outcome::Reject(_) => "reject",
            _ => "other",
        };
        assert_eq!([200, 202, 204].map(class), ["delivered"; 3]);
        assert_eq!([408, 425, 429, 500, 502, 503, 504].map(class), ["retry"; 7]);
        assert_eq!([301, 307, 401, 402, 403, 404, 407].map(class), ["hold"; 7]);
        assert_eq!([400, 409, 413, 415, 422].map(class), ["reject"; 5]);
        assert_eq!(answer(403, None).outcome(), Outcome::Hold("HTTP 403: said".to_owned()));
    }

    #[test]
    fn the_receivers_patience_counts_up_to_an_hour() {
        assert_eq!(answer(429, Some("7")).retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(answer(429, Some("999999")).retry_after(), Some(PATIENCE_MAX));
        assert_eq!(answer(503, Some("Sun, 06 Nov 1994 08:49:37 GMT")).retry_after(), Some(Duration::ZERO));
        assert_eq!(answer(503, Some("Fri, 31 Dec 2100 23:59:59 GMT")).retry_after(), Some(PATIENCE_MAX));
        assert_eq!(answer(503, Some("soon")).retry_after(), None);
    }

    #[test]
    fn paths_are_put_below_an_address() {
        for base in ["https://siem.example", "https://siem.example/"] {
            assert_eq!(below(&url("x", base).unwrap(), "a/b").as_str(), "https://siem.example/a/b");
        }
        assert_eq!(below(&url("x", "http://h:1/p/").unwrap(), "a").as_str(), "http://h:1/p/a");
    }

    #[test]
    fn only_web_addresses_are_addresses() {
        assert!(url("x.url", "https://siem.example:8088/x").is_ok());
        for wrong in ["", "siem.example", "ftp://x/", "file:///etc/passwd", "http://"] {
            assert!(url("x.url", wrong).is_err(), "{wrong}");
        }
    }
}
