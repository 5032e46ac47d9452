//! RELP: syslog with an acknowledgement for each message, as rsyslog's imrelp takes it.
//!
//! An event counts as delivered when the receiver has answered for it; whatever is unanswered when a
//! connection ends is sent again on the next one. So nothing is lost, and at most [`WINDOW`] events
//! can arrive twice.

mod frame;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use serin_event::Record;
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::encode;
use super::shorten::fit;
use super::syslog::message::{self, Layout};
use super::transport::stream::{self, Address, Stream};
use super::transport::{CONNECT, tls};
use super::{Batch, Carries, Delivery, Item, Later, Outcome, Output, OutputType, Passwords};
use frame::{Frame, TXNR_MAX};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "relp",
    about: "A syslog receiver that acknowledges every event, over RELP",
    keys: &[Settings::KEYS, message::KEYS, encode::KEYS, tls::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Keep,
    batch: Batch { events: 256, bytes: 256 * 1024, linger: Duration::ZERO },
    build,
};

settings! { "relp" {
    /// Where the receiver listens: a host, or a host and a port (usually 2514).
    address: String = String::new();
    /// Whether to speak TLS.
    tls: bool = false;
    /// The most bytes of a message. In longer ones the longest texts are shortened.
    max_size: u32 = 8192;
} }

/// Events without an answer at one time.
const WINDOW: usize = 128;
/// The receiver has this long to answer for one more event.
const ANSWER: Duration = Duration::from_secs(15);
/// A whole batch has this long; what is unanswered then comes again.
const BATCH: Duration = Duration::from_secs(40);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_millis(300);
/// Bytes of answers that are not a whole frame yet.
const ANSWERS_MAX: usize = 64 * 1024;

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    const USUAL_PORT: u16 = 2514;
    let settings = Settings::read(conf)?;
    let complain =
        |key: &str, text: &str| vec![Complaint { key: format!("relp.{key}"), text: text.to_owned() }];
    let address = Address::parse(&settings.address, USUAL_PORT).map_err(|it| complain("address", it))?;
    let Address::Tcp(host, port) = address else {
        return Err(complain("address", "wants HOST:PORT or HOST"));
    };
    let most = usize::try_from(settings.max_size).unwrap_or(usize::MAX);
    if most < message::SIZE_MIN {
        return Err(complain("max_size", &format!("wants {} or more", message::SIZE_MIN)));
    }
    let layout = Layout::of(conf)?;
    let tls = if settings.tls { Some(tls::config(conf)?) } else { None };
    let warning = tls.as_ref().and_then(|_| tls::warning(conf));
    let shortened = AtomicU64::new(0);
    Ok(Box::new(Relp { host, port, tls, layout, most, session: None, warning, shortened, acknowledged: 0 }))
}

struct Relp {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    layout: Layout,
    most: usize,
    session: Option<Session>,
    warning: Option<String>,
    /// How many events lack something that did not fit.
    shortened: AtomicU64,
    /// How many events the receiver answered for since the start.
    acknowledged: u64,
}

impl std::fmt::Debug for Relp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relp").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Relp {
    async fn send(&mut self, batch: &[Item]) -> Delivery {
        let bodies: Vec<&[u8]> = batch.iter().map(|it| it.body.as_slice()).collect();
        let mut outcomes = vec![None; bodies.len()];
        // A session that stood idle may have ended since.
        for old in [true, false] {
            let session = match self.session.take() {
                Some(session) => Ok(session),
                None if old => continue,
                None => self.open().await,
            };
            let mut session = match session {
                Ok(session) => session,
                Err(outcome) => return Delivery::Whole(outcome),
            };
            let result = timeout(BATCH, session.exchange(&bodies, &mut outcomes)).await;
            let why = match result {
                Ok(Ok(())) => {
                    self.session = Some(session);
                    break;
                }
                Ok(Err(why)) => why,
                Err(_) => "the receiver answers too slowly".to_owned(),
            };
            if !old || outcomes.iter().any(Option::is_some) {
                let why = format!("{}:{}: {why}", self.host, self.port);
                outcomes.iter_mut().filter(|it| it.is_none()).for_each(|it| *it = Some(Outcome::retry(&why)));
                break;
            }
        }
        let count = outcomes.iter().filter(|it| **it == Some(Outcome::Delivered)).count();
        self.acknowledged = self.acknowledged.saturating_add(u64::try_from(count).unwrap_or(0));
        let unanswered = || Outcome::retry("the receiver did not answer");
        Delivery::Each(outcomes.into_iter().map(|it| it.unwrap_or_else(unanswered)).collect())
    }

    /// Connects, and agrees on a session.
    async fn open(&mut self) -> Result<Session, Outcome> {
        let at = format!("{}:{}", self.host, self.port);
        let stream = stream::connect(&self.host, self.port, self.tls.as_ref()).await?;
        let mut session = Session { stream, heard: Vec::new(), txnr: 0 };
        let offer = concat!(
            "relp_version=0\nrelp_software=serin,",
            env!("CARGO_PKG_VERSION"),
            ",https://github.com/serin-canary/serin\ncommands=syslog"
        );
        let agree = async {
            let txnr = session.next();
            session.write(&Frame::encode(txnr, "open", offer.as_bytes())).await?;
            session.frame().await
        };
        let answer = timeout(CONNECT, agree).await;
        let answer = answer.map_err(|_| Outcome::retry(format!("{at} does not answer to RELP")))?;
        let answer = answer.map_err(|why| Outcome::retry(format!("{at}: {why}")))?;
        match answer.status() {
            Some(200) if answer.txnr == 1 => Ok(session),
            Some(500) => Err(Outcome::Hold(format!("{at} refuses a session: {}", answer.told()))),
            _ => Err(Outcome::retry(format!("{at} does not speak RELP: {}", answer.told()))),
        }
    }
}

/// One connection on which a session was agreed.
struct Session {
    stream: Stream,
    /// What came and is not a whole frame yet.
    heard: Vec<u8>,
    /// The number of the last transaction.
    txnr: u32,
}

impl Session {
    fn next(&mut self) -> u32 {
        self.txnr = if self.txnr >= TXNR_MAX { 1 } else { self.txnr + 1 };
        self.txnr
    }

    /// Sends what has no outcome yet, and waits for all answers.
    async fn exchange(&mut self, bodies: &[&[u8]], outcomes: &mut [Option<Outcome>]) -> Result<(), String> {
        // Transactions without an answer, and the event of each.
        let mut open: HashMap<u32, usize> = HashMap::new();
        let mut bodies = bodies.iter().enumerate().peekable();
        while bodies.peek().is_some() || !open.is_empty() {
            let mut frames = Vec::new();
            while open.len() < WINDOW
                && let Some((at, body)) = bodies.next()
            {
                let txnr = self.next();
                frames.extend(Frame::encode(txnr, "syslog", body));
                open.insert(txnr, at);
            }
            let turn = async {
                self.write(&frames).await?;
                self.frame().await
            };
            let answer =
                timeout(ANSWER, turn).await.map_err(|_| "the receiver does not answer".to_owned())??;
            if answer.command == "serverclose" {
                return Err("the receiver ended the session".to_owned());
            }
            let status = answer.status().ok_or_else(|| format!("not an answer: {}", answer.told()))?;
            let at = open.remove(&answer.txnr).ok_or("an answer to nothing that was sent")?;
            let outcome = match status {
                200 => Outcome::Delivered,
                // The protocol's only refusal of a message.
                500 => Outcome::Reject(answer.told()),
                _ => Outcome::retry(answer.told()),
            };
            if let Some(slot) = outcomes.get_mut(at) {
                *slot = Some(outcome);
            }
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        written.await.map_err(|error| error.to_string())
    }

    /// The next frame from the receiver.
    async fn frame(&mut self) -> Result<Frame, String> {
        loop {
            if let Some((frame, length)) = Frame::parse(&self.heard)? {
                self.heard.drain(..length);
                return Ok(frame);
            }
            if self.heard.len() >= ANSWERS_MAX {
                return Err("an answer without end".to_owned());
            }
            let mut buffer = [0; 4096];
            let count = self.stream.read(&mut buffer).await.map_err(|error| error.to_string())?;
            if count == 0 {
                return Err("the receiver hung up".to_owned());
            }
            self.heard.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
    }

    async fn close(&mut self) -> Result<(), String> {
        let txnr = self.next();
        self.write(&Frame::encode(txnr, "close", b"")).await?;
        self.frame().await?;
        self.stream.shutdown().await.map_err(|error| error.to_string())
    }
}

impl Output for Relp {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        let (body, cut) = fit(record, self.most, |it| self.layout.encode(it));
        self.shortened.fetch_add(u64::from(cut), Ordering::Relaxed);
        Some(body)
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(self.send(batch))
    }

    fn receipt(&self) -> Option<String> {
        let shortened = self.shortened.load(Ordering::Relaxed);
        let cut = if shortened > 0 { format!(", {shortened} of them shortened") } else { String::new() };
        (self.acknowledged > 0)
            .then(|| format!("{} events acknowledged since the start{cut}", self.acknowledged))
    }

    fn reopen(&mut self) -> Later<'_, ()> {
        self.close()
    }

    fn close(&mut self) -> Later<'_, ()> {
        Box::pin(async {
            if let Some(mut session) = self.session.take() {
                // A receiver that does not answer has nevertheless been told.
                let _ = timeout(FAREWELL, session.close()).await;
            }
        })
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    fn confirms(&self) -> &'static str {
        "acknowledged by the receiver"
    }

    fn deadline(&self) -> Duration {
        BATCH + BATCH + CONNECT * 3
    }
}
