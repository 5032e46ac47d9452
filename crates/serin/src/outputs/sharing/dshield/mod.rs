//! Reports to DShield, ISC's collection of what attackers try. OpenCanary's `DShieldHandler` becomes
//! this.
//!
//! What reaches ISC is published and cannot be taken back, so the manners are part of the code: off
//! unless number and key are given; no private source or destination, nothing of our own; few posts, at
//! least a minute apart even across restarts; each row once; nothing older than a day.

mod check;
mod ini;
mod request;
mod rows;
mod schedule;
mod settings;
mod translation;

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use serin_event::{Record, Timestamp};
use serin_services::conf::{Complaint, Conf};

pub(crate) use self::check::account_check;
use self::rows::{Kind, Row};
use self::schedule::{Memory, POSTS_MAX, Plan, Schedule, Waiting};
pub(crate) use self::settings::from_handler;
use self::settings::{Checked, Granularity, Settings};
use super::own::Own;
use super::policy::{self, AddressPolicy};
use crate::outputs::transport::http::{self, Http, Request};
use crate::outputs::transport::tls;
use crate::outputs::{Batch, Carries, Delivery, Item, Later, Outcome, Output, OutputType, Passwords};
use crate::runtime::clock::now;

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "dshield",
    about: "Reports to DShield, which publishes them",
    keys: &[Settings::KEYS, policy::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Keep,
    batch: Batch { events: 1000, bytes: 4 * 1024 * 1024, linger: Duration::ZERO },
    build,
};

/// The setting that names a file, read whenever this is built.
pub(crate) const INI: &str = "dshield.ini";

/// Between noting that a post begins and the post: by then the note is on the disk, so that a crash
/// cannot make two posts of it within the floor.
const NOTED: Duration = Duration::from_millis(1200);
/// A later time than this cannot be our note: the clock was set back.
const AHEAD: i64 = 10_000_000;
/// Of so many sources a connection counts as the first of its minute; beyond that none is told.
const SOURCES_MAX: usize = 20_000;

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    Ok(Box::new(DShield::new(conf, AddressPolicy::new(conf)?)?))
}

#[derive(Debug)]
struct DShield {
    checked: Checked,
    policy: AddressPolicy,
    own: Own,
    http: Http,
    warning: Option<String>,
    schedule: Schedule,
    clock: fn() -> Timestamp,
    memory: Mutex<Memory>,
    first: Mutex<FirstOfMinute>,
    /// What `auto` found, and when it was asked.
    public: Option<(Ipv4Addr, Timestamp)>,
    /// A post that is noted and begins at this time.
    noted: Option<(Kind, Timestamp)>,
    hurry: bool,
}

/// Sources and ports that were seen in the current minute.
#[derive(Debug, Default)]
struct FirstOfMinute {
    minute: i64,
    seen: HashSet<(IpAddr, u16)>,
}

impl FirstOfMinute {
    fn is_first(&mut self, source: IpAddr, port: u16, time: Timestamp) -> bool {
        let minute = time.0.div_euclid(60_000_000);
        if minute != self.minute {
            *self = Self { minute, seen: HashSet::new() };
        }
        self.seen.len() < SOURCES_MAX && self.seen.insert((source, port))
    }
}

impl DShield {
    fn new(conf: &Conf, policy: AddressPolicy) -> Result<Self, Vec<Complaint>> {
        let checked = Checked::read(conf)?;
        let mut seed = [0; 8];
        // Only spreads the posts of many sensors.
        let _ = aws_lc_rs::rand::fill(&mut seed);
        Ok(Self {
            http: Http::new(conf)?,
            warning: checked.warning.clone().or_else(|| tls::warning(conf)),
            schedule: Schedule { interval: checked.settings.interval, seed: u64::from_le_bytes(seed) },
            own: Own::new(&checked.settings.own_names.0),
            checked,
            policy,
            clock: now,
            memory: Mutex::default(),
            first: Mutex::default(),
            public: None,
            noted: None,
            hurry: false,
        })
    }

    /// The event as a row, `None` where it is one of many alike.
    ///
    /// # Errors
    ///
    /// Why it is withheld.
    fn row(&self, record: &Record, kind: Kind) -> Result<Option<Row>, String> {
        let source = self.policy.source(record).map_err(|it| it.to_string())?;
        let ports = &self.checked.settings.allowed_ports.0;
        let port = record.target.port;
        if !ports.is_empty() && !port.is_some_and(|it| ports.contains(&it)) {
            return Err("port not in allowed_ports".to_owned());
        }
        if schedule::is_stale(record.time, (self.clock)()) {
            return Err("older than 24 h".to_owned());
        }
        let mut row = rows::row(record, source, kind)?;
        let hidden = |it| !self.policy.may_name_target(it) || self.policy.is_own(it);
        rows::conceal(&mut row, &self.own, &hidden);
        if let Some(target) = row.target
            && !self.checked.auto
            && self.checked.translation.of(target, &self.policy).is_none()
        {
            return Err(PRIVATE.to_owned());
        }
        let alike = kind == Kind::Firewall
            && !rows::is_packet(record)
            && !self.first.lock().is_first(source, port.unwrap_or(0), record.time);
        Ok((!alike).then_some(row))
    }

    /// What becomes of rows that cannot wait for a post any more.
    fn settled(&self, item: &Item, now: Timestamp) -> Option<Outcome> {
        if schedule::is_stale(item.record.time, now) {
            return Some(Outcome::Reject("older than 24 h: ISC wants no such rows".to_owned()));
        }
        let posts = self.memory.lock().unsure.get(&item.record.seq).copied().unwrap_or(0);
        if posts < POSTS_MAX {
            return None;
        }
        self.memory.lock().unsure.remove(&item.record.seq);
        Some(Outcome::Reject(format!("posted {posts} times without an answer; not posted again")))
    }

    /// What to do now. A post begins with a note of it, and takes place when that is saved.
    fn plan(&mut self, waiting: &[Waiting], now: Timestamp) -> Plan {
        let mut memory = self.memory.lock();
        if memory.posted.is_some_and(|it| it > now.0.saturating_add(AHEAD)) {
            memory.posted = Some(now.0);
        }
        if let Some((kind, at)) = self.noted.take()
            && waiting.iter().any(|it| it.kind == kind)
        {
            let left = u64::try_from(at.0.saturating_sub(now.0)).unwrap_or(0);
            if left == 0 || self.hurry {
                return Plan::Post(kind);
            }
            self.noted = Some((kind, at));
            return Plan::Wait(Duration::from_micros(left).min(NOTED));
        }
        match self.schedule.plan(waiting, memory.posted, now, self.hurry) {
            Plan::Post(kind) if !self.hurry => {
                let at = Timestamp(now.0.saturating_add(i64::try_from(NOTED.as_micros()).unwrap_or(0)));
                memory.posted = Some(at.0);
                self.noted = Some((kind, at));
                Plan::Wait(NOTED)
            }
            plan => plan,
        }
    }

    async fn work(&mut self, batch: &[Item]) -> Vec<Outcome> {
        let now = (self.clock)();
        let mut outcomes: Vec<Option<Outcome>> = batch.iter().map(|it| self.settled(it, now)).collect();
        let mut rows: BTreeMap<usize, Row> = BTreeMap::new();
        for (at, item) in batch.iter().enumerate() {
            match serde_json::from_slice(&item.body) {
                Ok(row) if outcomes.get(at).is_some_and(Option::is_none) => drop(rows.insert(at, row)),
                Ok(_) => {}
                Err(error) => set(&mut outcomes, at, Outcome::Reject(error.to_string())),
            }
        }
        let time = |at: usize| batch.get(at).map_or(now, |it| it.record.time);
        let waiting: Vec<_> =
            rows.iter().map(|(at, it)| Waiting { kind: it.kind, time: time(*at) }).collect();
        let wait = match self.plan(&waiting, now) {
            Plan::Wait(wait) => wait,
            Plan::Post(kind) => {
                rows.retain(|_, it| it.kind == kind);
                let chosen: Vec<_> = rows.into_iter().take(kind.rows_max()).collect();
                self.post(kind, chosen, batch, &mut outcomes).await;
                schedule::FLOOR
            }
        };
        outcomes.into_iter().map(|it| it.unwrap_or(Outcome::Wait(wait))).collect()
    }

    /// Posts these rows and notes what became of them.
    async fn post(
        &mut self,
        kind: Kind,
        mut chosen: Vec<(usize, Row)>,
        batch: &[Item],
        outcomes: &mut [Option<Outcome>],
    ) {
        self.memory.lock().posted = Some((self.clock)().0);
        if let Err(outcome) = self.find_public(&chosen).await {
            for (at, _) in &chosen {
                set(outcomes, *at, outcome.clone());
            }
            return;
        }
        chosen.retain_mut(|(at, row)| {
            let told = self.tell_target(row);
            if !told {
                self.withhold(PRIVATE);
                set(outcomes, *at, Outcome::Reject(PRIVATE.to_owned()));
            }
            told
        });
        let told = self.one_per_session(&chosen, batch);
        if told.is_empty() {
            return;
        }
        let numbers: Vec<u64> = chosen.iter().filter_map(|it| Some(batch.get(it.0)?.record.seq)).collect();
        let outcome = self.submit(kind, &told, &numbers).await;
        for (at, _) in &chosen {
            set(outcomes, *at, outcome.clone());
        }
    }

    /// The rows to send: of a session only its last, where the operator wants that.
    fn one_per_session(&self, chosen: &[(usize, Row)], batch: &[Item]) -> Vec<Value> {
        let session = |at: usize| batch.get(at).map_or(0, |it| it.record.session);
        let mut later = HashSet::new();
        let mut rows: Vec<Value> = Vec::new();
        for (at, row) in chosen.iter().rev() {
            let session = session(*at);
            let whole = self.checked.settings.granularity == Granularity::Attempt
                || row.kind != Kind::Cowrie
                || session == 0;
            if whole || later.insert(session) {
                rows.push(row.members.clone().into());
            }
        }
        rows.reverse();
        rows
    }

    async fn submit(&mut self, kind: Kind, rows: &[Value], numbers: &[u64]) -> Outcome {
        let mut nonce = request::Nonce::default();
        if aws_lc_rs::rand::fill(&mut nonce).is_err() {
            return Outcome::retry("the system gives no random numbers");
        }
        // Before the post: should it be cut off, nobody knows what became of it.
        for number in numbers {
            *self.memory.lock().unsure.entry(*number).or_default() += 1;
        }
        let account = &self.checked.account;
        let request = request::submit(self.checked.url.clone(), account, nonce, kind.name(), rows);
        let answer = self.http.attempt(request).await;
        let mut memory = self.memory.lock();
        if !matches!(&answer, Err(failed) if failed.maybe_sent) {
            memory.unsure.retain(|it, _| !numbers.contains(it));
        }
        let clean = |it: String| it.replace(&account.apikey, "…");
        match answer.map(|it| request::understood(&it)) {
            Ok(Ok(said)) => {
                *memory.confirmed.entry(kind).or_default() += rows.len() as u64;
                memory.said = clean(said);
                memory.said_at = Some((self.clock)().0);
                Outcome::Delivered
            }
            Ok(Err(Outcome::Hold(why))) => Outcome::Hold(clean(why)),
            Ok(Err(Outcome::Retry { why, after })) => Outcome::Retry { why: clean(why), after },
            Ok(Err(other)) => other,
            Err(failed) => failed.outcome,
        }
    }

    /// Asks ISC for our public address where rows need it, at most once a day.
    async fn find_public(&mut self, rows: &[(usize, Row)]) -> Result<(), Outcome> {
        const DAY: i64 = 86_400_000_000;
        let now = (self.clock)();
        let known = self.public.is_some_and(|it| now.0.saturating_sub(it.1.0) < DAY);
        let needed =
            |row: &Row| row.target.is_some_and(|it| self.checked.translation.of(it, &self.policy).is_none());
        if !self.checked.auto || known || !rows.iter().any(|it| needed(&it.1)) {
            return Ok(());
        }
        let mut url = self.checked.url.clone();
        url.set_path("/api/myip");
        url.set_query(Some("json"));
        let request = Request::get(url);
        let answer = self.http.send(request).await?;
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let address = said.get("ip").and_then(Value::as_str).and_then(|it| it.parse().ok());
        match address {
            Some(address) if self.policy.may_name_target(IpAddr::V4(address)) => {
                self.public = Some((address, now));
                Ok(())
            }
            _ => Err(Outcome::retry(format!("ISC does not tell our public address: {}", answer.told()))),
        }
    }

    /// Puts the address of the visited host into its row; `false`: there is none that may be told.
    fn tell_target(&self, row: &mut Row) -> bool {
        let Some(target) = row.target else { return true };
        let mut translation = self.checked.translation.clone();
        if self.checked.auto {
            translation.replacement = self.public.map(|it| it.0);
        }
        let Some(told) = translation.of(target, &self.policy) else { return false };
        row.members.insert("dip".to_owned(), told.to_string().into());
        true
    }

    fn withhold(&self, why: &str) {
        *self.memory.lock().withheld.entry(why.to_owned()).or_default() += 1;
    }
}

const PRIVATE: &str = "private destination without replace_honeypot_ip";

fn set(outcomes: &mut [Option<Outcome>], at: usize, outcome: Outcome) {
    if let Some(slot) = outcomes.get_mut(at) {
        *slot = Some(outcome);
    }
}

impl Output for DShield {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        let kind = rows::kind(record)?;
        match self.row(record, kind) {
            Ok(row) => serde_json::to_vec(&row?).ok(),
            Err(why) => {
                self.withhold(&why);
                None
            }
        }
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(async move { Delivery::Each(self.work(batch).await) })
    }

    fn recall(&mut self, memory: Option<&str>) {
        if let Some(memory) = memory.and_then(|it| serde_json::from_str(it).ok()) {
            *self.memory.lock() = memory;
            return;
        }
        tracing::warn!(
            url = %self.checked.url,
            "reports to DShield are on: addresses, ports, web requests, user names and passwords of whoever \
             touches this sensor are sent; ISC may publish them, and they cannot be taken back"
        );
    }

    fn memory(&self) -> Option<String> {
        serde_json::to_string(&*self.memory.lock()).ok()
    }

    fn hurry(&mut self) {
        self.hurry = true;
    }

    fn receipt(&self) -> Option<String> {
        Some(self.memory.lock().told())
    }

    fn warning(&self) -> Option<String> {
        let private = self.memory.lock().withheld.get(PRIVATE).copied().unwrap_or(0);
        let withheld = (private > 0 && self.checked.translation.replacement.is_none() && !self.checked.auto)
            .then(|| format!("{private} rows were withheld: {PRIVATE}"));
        self.warning.clone().or(withheld)
    }

    fn confirms(&self) -> &'static str {
        "OK from ISC"
    }

    fn deadline(&self) -> Duration {
        // Perhaps a question for our address before the post.
        self.http.deadline() * 2 + Duration::from_secs(1)
    }
}

#[cfg(test)]
mod tests;
