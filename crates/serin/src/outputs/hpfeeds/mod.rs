//! hpfeeds version 1: messages on the channels of a broker, as honeypot networks use them.
//! OpenCanary's `HpfeedsHandler` becomes this.
//!
//! The protocol has no acknowledgement. Without an echo, a delivery counts when it was written and the
//! broker said nothing against it for [`QUIET`]; when it did, what was written in that time is written
//! again. With `confirm = "echo"` we subscribe to our own channels, and a delivery counts when the
//! message came back.

mod codec;
mod link;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serin_event::Record;
use serin_services::conf::{Complaint, Conf};
use serin_services::{choices, settings};

use self::link::{Account, Link, Message};
use super::delivery::Names;
use super::handlers::Reader;
use super::secret::Secret;
use super::transport::tls;
use super::{Batch, Carries, Delivery, Item, Later, Outcome, Output, OutputType, Passwords};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "hpfeeds",
    about: "Messages on the channels of an hpfeeds broker",
    keys: &[Settings::KEYS, tls::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Keep,
    batch: Batch { events: 500, bytes: 1024 * 1024, linger: Duration::ZERO },
    build,
};

choices! {
    /// What makes a delivery sure.
    Confirm { None = "none", Echo = "echo" } wants "none or echo"
}

settings! { "hpfeeds" {
    /// The broker's host.
    host: String = String::new();
    /// The broker's port.
    port: u16 = 10000;
    /// The name that the broker knows this sensor by.
    ident: String = String::new();
    /// What proves that name.
    secret: Secret = Secret::default();
    /// The channels; each event is published on all of them.
    channels: Names = Names(Vec::new());
    /// What makes a delivery sure: none relies on the broker to complain; echo subscribes to the
    /// channels, which the broker must allow, and waits for each message to come back.
    confirm: Confirm = Confirm::None;
    /// Whether the broker speaks TLS from the first byte.
    tls: bool = false;
} }

/// So long the broker may say something against what was written.
const QUIET: Duration = Duration::from_secs(2);
/// So long echoes are waited for.
const ECHO: Duration = Duration::from_secs(10);

/// Every event, as OpenCanary's handler should have sent it; it sent the first one only.
pub(crate) fn from_handler(reader: &mut Reader<'_>) {
    reader.each_event();
    reader.formatter_counts = false;
    reader.required("host", "hpfeeds.host", "the broker's host");
    reader.required("ident", "hpfeeds.ident", "the name that the broker knows this sensor by");
    reader.required("secret", "hpfeeds.secret", "what proves that name");
    for (argument, key) in [
        ("port", "hpfeeds.port"),
        ("channels", "hpfeeds.channels"),
        ("confirm", "hpfeeds.confirm"),
        ("tls", "hpfeeds.tls"),
    ] {
        if let Some(value) = reader.take(argument) {
            reader.conf.set(key, value.clone());
        }
    }
}

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let mut complaints = Vec::new();
    let secret = settings.secret.reveal_or_complain("hpfeeds.secret", &mut complaints);
    let mut complain = |key: &str, text: &str| {
        complaints.push(Complaint { key: format!("hpfeeds.{key}"), text: text.to_owned() });
    };
    let short = |text: &str| !text.is_empty() && u8::try_from(text.len()).is_ok();
    if settings.host.is_empty() {
        complain("host", "wants the broker's host");
    }
    if !short(&settings.ident) {
        complain("ident", "wants the name that the broker knows this sensor by, up to 255 bytes");
    }
    let channels = settings.channels.0;
    if channels.is_empty() || !channels.iter().all(|it| short(it)) {
        complain("channels", "wants at least one channel; names have up to 255 bytes");
    }
    if !complaints.is_empty() {
        return Err(complaints);
    }
    let tls = if settings.tls { Some(tls::config(conf)?) } else { None };
    Ok(Box::new(Hpfeeds {
        host: settings.host,
        port: settings.port,
        account: Account { ident: settings.ident, secret },
        channels,
        echo: settings.confirm == Confirm::Echo,
        warning: tls.as_ref().and_then(|_| tls::warning(conf)),
        tls,
        link: None,
    }))
}

#[derive(Debug)]
struct Hpfeeds {
    host: String,
    port: u16,
    account: Account,
    channels: Vec<String>,
    echo: bool,
    tls: Option<Arc<ClientConfig>>,
    warning: Option<String>,
    link: Option<Link>,
}

impl Hpfeeds {
    /// The connection, or a new one.
    async fn link(&mut self) -> Result<Link, Outcome> {
        if let Some(link) = self.link.take().filter(|it| it.over().is_none()) {
            return Ok(link);
        }
        let subscribed = if self.echo { self.channels.as_slice() } else { &[] };
        Link::open(&self.host, self.port, self.tls.as_ref(), &self.account, subscribed).await
    }

    fn fits(&self, item: &Item) -> bool {
        self.channels.iter().all(|it| codec::fits(&self.account.ident, it, item.body.len()))
    }

    fn messages<'a>(&'a self, item: &'a Item) -> impl Iterator<Item = Message> + 'a {
        self.channels.iter().map(|channel| (channel.clone(), item.body.clone()))
    }

    async fn publish(&mut self, link: &mut Link, items: &[&Item]) -> Result<(), Outcome> {
        if self.echo {
            link.await_echoes(items.iter().flat_map(|it| self.messages(it)));
        }
        let mut frames = Vec::new();
        for item in items {
            for channel in &self.channels {
                frames.extend(codec::publish(&self.account.ident, channel, &item.body));
            }
        }
        link.write(&frames).await?;
        if self.echo { link.all_echoed(ECHO).await } else { link.quiet(QUIET).await }
    }
}

impl Output for Hpfeeds {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        Some(record.line().into_bytes())
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(async move {
            let mut link = match self.link().await {
                Ok(link) => link,
                Err(outcome) => return Delivery::Whole(outcome),
            };
            let fitting: Vec<&Item> = batch.iter().filter(|it| self.fits(it)).collect();
            let published = self.publish(&mut link, &fitting).await;
            // What came back did arrive, whatever became of the rest.
            let mut missing = if self.echo { link.missing() } else { HashMap::new() };
            if published.is_ok() {
                self.link = Some(link);
            }
            let outcomes = batch.iter().map(|item| {
                if !self.fits(item) {
                    return Outcome::Reject("it is too large for hpfeeds".to_owned());
                }
                let Err(why) = &published else { return Outcome::Delivered };
                // The same text may have been published more than once: count them.
                let lacks = self.messages(item).any(|it| {
                    missing
                        .get_mut(&it)
                        .is_some_and(|left| std::mem::replace(left, left.saturating_sub(1)) > 0)
                });
                if self.echo && !lacks { Outcome::Delivered } else { why.clone() }
            });
            Delivery::Each(outcomes.collect())
        })
    }

    fn confirms(&self) -> &'static str {
        if self.echo { "echoed by the broker" } else { "written, and the broker did not complain" }
    }

    fn reopen(&mut self) -> Later<'_, ()> {
        self.link = None;
        Box::pin(std::future::ready(()))
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }
}
