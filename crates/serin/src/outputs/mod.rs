//! Where events go. An output encodes and delivers; the engine does everything else.
//!
//! To add one: write its file, then name it in its folder and in [`ALL`]. No output writes a loop, a
//! queue, a back-off or a cursor of its own: it says what became of each event, and `engine` acts on
//! it. What reaches over the network does so through `transport`, which knows the rules of TLS,
//! redirects, time limits and secrets. What alerts people is a courier of `alert`.

mod again;
mod alert;
mod backoff;
mod broker;
mod call;
mod chat;
mod console;
pub(crate) mod delivery;
mod encode;
mod engine;
mod feed;
mod file;
mod formatter;
mod gelf;
pub(crate) mod handlers;
pub(crate) mod health;
mod hpfeeds;
mod journald;
mod line;
mod mail;
pub(crate) mod manager;
mod relp;
mod rotation;
pub(crate) mod secret;
pub(crate) mod sharing;
mod shorten;
mod siem;
mod status;
mod syslog;
mod target;
mod tcp;
#[cfg(test)]
mod tests;
pub(crate) mod transport;
mod trial;
mod webhook;
mod window;
mod worker;

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serin_event::Record;
use serin_services::conf::{Complaint, Conf, Key, Setting as _};

pub use again::{Again, again};
pub use delivery::{Carries, Passwords};
pub use feed::Feed;
pub use formatter::Formatter;
pub(crate) use handlers::check_formatter;
pub use handlers::from_handler;
pub(crate) use sharing::dshield::account_check as dshield_account;
pub use status::{OutputStatus, State};
pub use trial::test;

/// All types of output, in alphabetical order. Everything else walks this list.
pub static ALL: &[&OutputType] = &[
    &sharing::abuseipdb::OUTPUT,
    &console::OUTPUT,
    &sharing::crowdsec::OUTPUT,
    &chat::discord::OUTPUT,
    &sharing::dshield::OUTPUT,
    &siem::elastic::OUTPUT,
    &file::OUTPUT,
    &gelf::OUTPUT,
    &chat::googlechat::OUTPUT,
    &hpfeeds::OUTPUT,
    &journald::OUTPUT,
    &broker::kafka::OUTPUT,
    &siem::loki::OUTPUT,
    &mail::OUTPUT,
    &chat::mattermost::OUTPUT,
    &sharing::misp::OUTPUT,
    &broker::mqtt::OUTPUT,
    &broker::nats::OUTPUT,
    &chat::ntfy::OUTPUT,
    &siem::otlp::OUTPUT,
    &chat::pagerduty::OUTPUT,
    &chat::pushover::OUTPUT,
    &relp::OUTPUT,
    &chat::rocketchat::OUTPUT,
    &chat::slack::OUTPUT,
    &siem::splunk::OUTPUT,
    &syslog::OUTPUT,
    &tcp::OUTPUT,
    &chat::teams::OUTPUT,
    &chat::telegram::OUTPUT,
    &webhook::OUTPUT,
];

/// The type of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static OutputType> {
    ALL.iter().copied().find(|it| it.name == name)
}

/// A type of output, as data: the counterpart of a service's registration record.
#[derive(Debug)]
pub struct OutputType {
    /// As in the configuration: `type = "file"`.
    pub name: &'static str,
    /// For a person, one line.
    pub about: &'static str,
    /// Its settings in groups, its own first: the section of these is the type's name
    /// (`file.path`), shared groups bring theirs (`tls.ca`). In a configuration the section is left
    /// out, so a name stands in one group only. Those of `delivery` belong to every type unsaid.
    pub keys: &'static [&'static [Key]],
    /// What it takes unless the operator says otherwise.
    pub carries: Carries,
    /// What it gets of passwords unless the operator says otherwise.
    pub passwords: Passwords,
    /// How much it takes at once.
    pub batch: Batch,
    /// Builds it from its settings. Opens and connects to nothing, so that it also checks settings.
    pub build: Build,
}

impl OutputType {
    /// All its settings.
    pub fn settings(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.keys.iter().copied().chain([delivery::KEYS]).flatten()
    }

    /// The setting of this name, as a configuration has it: without its section.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&'static Key> {
        self.settings().find(|it| it.name.split_once('.').is_some_and(|(_, own)| own == name))
    }
}

/// Makes an output of its settings, or says everything that is wrong with them.
pub type Build = fn(&Conf) -> Result<Box<dyn Output>, Vec<Complaint>>;

/// How much an output takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Most events of one batch; at least 1.
    pub events: usize,
    /// Most bytes of one batch; a single event may be larger.
    pub bytes: usize,
    /// How long the first event waits for company. Zero: a batch is what waited anyway.
    pub linger: Duration,
}

/// One configured output.
#[derive(Debug, Clone)]
pub struct OutputConf {
    /// The operator's name for it; its cursor belongs to this name.
    pub name: String,
    /// Which type of [`ALL`].
    pub output: &'static OutputType,
    /// Its settings, under the type's section.
    pub conf: Conf,
}

impl OutputConf {
    /// The file that this output writes, if any: such an output calls it `path` in its settings.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        let path = self.conf.get(&format!("{}.path", self.output.name))?.as_str()?;
        (!path.is_empty()).then(|| path.into())
    }

    /// The files that it reads whenever it is built: certificates, keys, secrets.
    #[must_use]
    pub fn reads(&self) -> Vec<PathBuf> {
        let text = |key: &Key| self.conf.get(key.name)?.as_str().map(str::to_owned);
        let named = transport::tls::FILES
            .iter()
            .chain([&sharing::dshield::INI])
            .filter_map(|it| self.conf.get(it)?.as_str().map(str::to_owned));
        let secrets = self.output.settings().filter(|it| it.wants == secret::Secret::WANTS).filter_map(text);
        let secrets = secrets.filter_map(|it| it.strip_prefix("file:").map(str::to_owned));
        named.chain(secrets).filter(|it| !it.is_empty()).map(PathBuf::from).collect()
    }
}

/// One event on its way to a receiver.
#[derive(Debug, Clone)]
pub struct Item {
    /// The event, without the passwords that the receiver must not have.
    pub record: Arc<Record>,
    /// What [`Output::encode`] made of it.
    pub body: Vec<u8>,
}

impl Item {
    /// The same for every delivery of this event and for no other event: what receivers tell
    /// repeated deliveries by.
    #[must_use]
    pub fn event_id(&self) -> String {
        event_id(&self.record)
    }
}

/// `NODE-SEQ`.
pub(crate) fn event_id(record: &Record) -> String {
    format!("{}-{}", record.node_id, record.seq)
}

/// What a receiver made of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Confirmed, as strongly as the protocol allows.
    Delivered,
    /// The receiver had it already.
    Duplicate,
    /// Try again, not before the time given.
    Retry {
        /// In the receiver's words.
        why: String,
        /// When the receiver asked for patience.
        after: Option<Duration>,
    },
    /// Not yet, and nothing is wrong: it was not even tried. It comes again after this time, or
    /// together with whatever is stored before that.
    Wait(Duration),
    /// The configuration is wrong: keep everything, tell the operator.
    Hold(String),
    /// This event can never be accepted: it goes to the dead letters.
    Reject(String),
    /// The receiver has gone for good: until the next start there is nobody to deliver to.
    Gone(String),
}

impl Outcome {
    /// Try again, with the usual back-off.
    pub fn retry(why: impl Into<String>) -> Self {
        Self::Retry { why: why.into(), after: None }
    }
}

/// Checks an output's settings by building it: what is wrong with its own and with the shared ones.
///
/// # Errors
///
/// Everything that is wrong, at once.
pub(crate) fn check(output: &OutputType, conf: &Conf) -> Result<(), Vec<Complaint>> {
    let mut complaints = delivery::Policy::new(output, conf, Vec::new).err().unwrap_or_default();
    complaints.extend((output.build)(conf).err().unwrap_or_default());
    if complaints.is_empty() { Ok(()) } else { Err(complaints) }
}

/// What keeps an output from being built, for a person.
fn built(complaints: &[Complaint]) -> String {
    let texts = complaints.iter().map(|it| format!("{}: {}", it.key, it.text));
    texts.collect::<Vec<_>>().join("; ")
}

/// What a receiver made of one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// One outcome for each event, in order.
    Each(Vec<Outcome>),
    /// One for all of them. After a [`Outcome::Reject`] the engine halves the batch until the
    /// event that spoils it stands alone; that is also the answer to "too large".
    Whole(Outcome),
}

/// Something that is still going on.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who owns the files that an output creates, once privileges are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What an output is to the engine.
pub trait Output: Send + fmt::Debug {
    /// One record in the receiver's form. Pure; `None`: the receiver does not want it.
    fn encode(&self, record: &Record) -> Option<Vec<u8>>;

    /// Hands a batch over. Never blocks the thread it is called on. When it takes longer than
    /// [`Output::deadline`], it is dropped and the same events come again.
    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery>;

    /// The sensor stops: what waits ([`Outcome::Wait`]) should go now if it may.
    fn hurry(&mut self) {}

    /// The folder of the sensor's state, and the operator's name for this output: for what must outlive
    /// it and is nothing for [`Output::memory`], such as secrets. Told before anything is delivered.
    fn keep_in(&mut self, _folder: &Path, _name: &str) {}

    /// What [`Output::memory`] said before this start, if it ever said something; told once, at the start.
    fn recall(&mut self, _memory: Option<&str>) {}

    /// What it must know after a restart, such as when it may come again. It is saved whenever it
    /// changes, within about a second.
    fn memory(&self) -> Option<String> {
        None
    }

    /// What the receiver confirmed, for a person: shown by `serin outputs status`.
    fn receipt(&self) -> Option<String> {
        None
    }

    /// Opens what needs the privileges of the start. May block. A failure is no reason to stop:
    /// the first delivery meets it again.
    ///
    /// # Errors
    ///
    /// What went wrong, in words.
    fn prepare(&mut self, _owner: Option<Owner>) -> Result<(), String> {
        Ok(())
    }

    /// What is the same whenever this record is delivered, also by another process; for outputs
    /// that can look up what they delivered last ([`Output::latest`]).
    fn identity(&self, _record: &Record) -> Option<Vec<u8>> {
        None
    }

    /// The identities of what the receiver got last, oldest first, as far as it can be looked up.
    /// The engine asks once, at the start, so that a crash after a delivery doubles nothing.
    fn latest(&mut self) -> Later<'_, Vec<Vec<u8>>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Makes what was delivered survive a power cut. The engine calls it before it saves the
    /// cursor, at most twice a second.
    fn sync(&mut self) -> Later<'_, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// After so many events at the latest it is on the disk that they were delivered; what this allows
    /// is also saved after each delivery. For receivers that tell people, and cannot tell that they told
    /// the same before.
    fn unsaved_max(&self) -> usize {
        usize::MAX
    }

    /// The operator moved files or rotated keys: open everything anew.
    fn reopen(&mut self) -> Later<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Nothing more comes: say goodbye where the receiver expects that. Half a second at most.
    fn close(&mut self) -> Later<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// What the operator should put right, although events still get through.
    fn warning(&self) -> Option<String> {
        None
    }

    /// How strongly it confirms, for `serin outputs test`: `written and synced`.
    fn confirms(&self) -> &'static str;

    /// How long one delivery may take.
    fn deadline(&self) -> Duration {
        Duration::from_secs(30)
    }
}
