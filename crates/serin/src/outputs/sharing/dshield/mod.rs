//! Reports to DShield, ISC's collection of what attackers try. OpenCanary's `DShieldHandler` becomes
//! this.
//!
//! What reaches ISC is published and cannot be taken back, so the manners are part of the code: off
//! unless number and key are given; no private source or destination, nothing of our own; few posts, at
//! least a minute apart even across restarts; each row once; nothing older than a day.

mod check;
mod commands;
mod first;
mod ini;
mod request;
mod rows;
mod schedule;
mod settings;
mod translation;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use serin_event::{Record, Timestamp};
use serin_services::conf::{Complaint, Conf};

pub(crate) use self::check::account_check;
use self::commands::Command;
use self::first::{Connection, FirstOfMinute};
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

/// One row on its way, and its event, which may have another.
struct Part<'a> {
    /// The event's place in the batch.
    at: usize,
    item: &'a Item,
    row: Row,
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

    /// Whose event it is, where it may be told at all.
    ///
    /// # Errors
    ///
    /// Why it is withheld.
    fn source(&self, record: &Record) -> Result<IpAddr, String> {
        let source = self.policy.source(record).map_err(|it| it.to_string())?;
        let ports = &self.checked.settings.allowed_ports.0;
        if !ports.is_empty() && !record.target.port.is_some_and(|it| ports.contains(&it)) {
            return Err("port not in allowed_ports".to_owned());
        }
        if schedule::is_stale(record.time, (self.clock)()) {
            return Err("older than 24 h".to_owned());
        }
        Ok(source)
    }

    /// The event as a row of this type, `None` where it is one of many alike.
    ///
    /// # Errors
    ///
    /// Why it is withheld.
    fn row(&self, record: &Record, source: IpAddr, kind: Kind) -> Result<Option<Row>, String> {
        let alike = kind == Kind::Firewall
            && !rows::is_packet(record)
            && !self.first.lock().is_first(Connection::of(record, source), record.seq);
        if alike {
            return Ok(None);
        }
        let mut row = rows::row(record, source, kind)?;
        rows::conceal(&mut row, &self.own, &|it| self.hides(it));
        if let Some(target) = row.target
            && !self.checked.auto
            && self.checked.translation.of(target, &self.policy).is_none()
        {
            return Err(PRIVATE.to_owned());
        }
        Ok(Some(row))
    }

    /// Whether an address must not leave in what a visitor wrote.
    fn hides(&self, address: IpAddr) -> bool {
        !self.policy.may_name_target(address) || self.policy.is_own(address)
    }

    /// Remembers what a session did, for the row of its login.
    fn note_command(&self, record: &Record) {
        let Some(mut command) = Command::of(record) else { return };
        let hidden = |it| self.hides(it) || record.target.host == Some(it);
        let clean = self.own.clean(&rows::cut(&command.text, rows::LINE_MAX), &hidden);
        command.text = rows::cut(&clean, rows::LINE_MAX);
        self.memory.lock().commands.note(record.seq, record.session, command);
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
        let mut outcomes = vec![None; batch.len()];
        let mut rows = self.waiting(batch, &mut outcomes, now);
        let waiting: Vec<_> =
            rows.iter().map(|it| Waiting { kind: it.row.kind, time: it.item.record.time }).collect();
        let wait = match self.plan(&waiting, now) {
            Plan::Wait(wait) => wait,
            Plan::Post(kind) => {
                let mut room = kind.rows_max();
                let chosen = rows.extract_if(.., |it| {
                    let chosen = it.row.kind == kind && room > 0;
                    room -= usize::from(chosen);
                    chosen
                });
                let chosen = chosen.collect();
                let others = rows.iter().map(|it| it.at).collect();
                self.post(kind, chosen, &others, &mut outcomes).await;
                schedule::FLOOR
            }
        };
        outcomes.into_iter().map(|it| it.unwrap_or(Outcome::Wait(wait))).collect()
    }

    /// The rows that are still to be posted. What cannot wait any more is settled.
    fn waiting<'a>(
        &self,
        batch: &'a [Item],
        outcomes: &mut [Option<Outcome>],
        now: Timestamp,
    ) -> Vec<Part<'a>> {
        let mut waiting = Vec::new();
        let mut memory = self.memory.lock();
        if let Some(first) = batch.first() {
            memory.forget_before(first.record.seq);
        }
        let oldest = batch.iter().map(|it| it.record.time).min().unwrap_or(now);
        first::forget(&mut memory.connections, oldest, now);
        for (at, item) in batch.iter().enumerate() {
            let seq = item.record.seq;
            let rows: Vec<Row> = match serde_json::from_slice(&item.body) {
                _ if schedule::is_stale(item.record.time, now) => {
                    memory.settled(seq);
                    let why = "older than 24 h: ISC wants no such rows".to_owned();
                    set(outcomes, at, Outcome::Reject(why));
                    continue;
                }
                Ok(rows) => rows,
                Err(error) => {
                    set(outcomes, at, Outcome::Reject(error.to_string()));
                    continue;
                }
            };
            let undone = rows.into_iter().filter(|it| memory.partly.get(&seq) != Some(&it.kind));
            let (rows, given_up): (Vec<_>, Vec<_>) =
                undone.partition(|it| memory.unanswered(it.kind, seq) < POSTS_MAX);
            for (nth, row) in given_up.iter().enumerate() {
                let why = format!("posted {POSTS_MAX} times without an answer; not posted again");
                let last = rows.is_empty() && nth + 1 == given_up.len();
                let outcome = self.concluded(&mut memory, item, row.kind, Outcome::Reject(why), !last);
                set(outcomes, at, outcome);
            }
            if rows.is_empty() && given_up.is_empty() {
                memory.settled(seq);
                set(outcomes, at, Outcome::Duplicate);
            }
            waiting.extend(rows.into_iter().map(|row| Part { at, item, row }));
        }
        waiting
    }

    /// Notes what became of one row of an event. The outcome for the event; `None` while another row of
    /// it is to be posted.
    fn concluded(
        &self,
        memory: &mut Memory,
        item: &Item,
        kind: Kind,
        outcome: Outcome,
        others: bool,
    ) -> Option<Outcome> {
        if !matches!(outcome, Outcome::Delivered | Outcome::Reject(_)) {
            return Some(outcome);
        }
        let record = &item.record;
        if kind == Kind::Firewall
            && !rows::is_packet(record)
            && let Ok(source) = self.policy.source(record)
        {
            first::note(&mut memory.connections, Connection::of(record, source), record.seq);
        }
        if !others {
            memory.settled(record.seq);
            return Some(outcome);
        }
        if let Outcome::Reject(why) = outcome {
            *memory.withheld.entry(why).or_default() += 1;
        }
        memory.answered(kind, &[record.seq]);
        memory.partly.insert(record.seq, kind);
        None
    }

    /// Posts these rows and notes what became of them. `others` are the places of events that have
    /// another row to be posted.
    async fn post(
        &mut self,
        kind: Kind,
        mut chosen: Vec<Part<'_>>,
        others: &HashSet<usize>,
        outcomes: &mut [Option<Outcome>],
    ) {
        self.memory.lock().posted = Some((self.clock)().0);
        if let Err(outcome) = self.find_public(&chosen).await {
            for part in &chosen {
                set(outcomes, part.at, outcome.clone());
            }
            return;
        }
        let conclude = |this: &Self, part: &Part<'_>, outcome: Outcome, outcomes: &mut [Option<Outcome>]| {
            let others = others.contains(&part.at);
            let outcome = this.concluded(&mut this.memory.lock(), part.item, kind, outcome, others);
            set(outcomes, part.at, outcome);
        };
        chosen.retain_mut(|part| {
            let told = self.tell_target(&mut part.row);
            if !told {
                if !others.contains(&part.at) {
                    self.withhold(PRIVATE);
                }
                conclude(self, part, Outcome::Reject(PRIVATE.to_owned()), outcomes);
            }
            told
        });
        let told = self.one_per_session(&mut chosen);
        if told.is_empty() {
            return;
        }
        let numbers: Vec<u64> = chosen.iter().map(|it| it.item.record.seq).collect();
        let outcome = self.submit(kind, &told, &numbers).await;
        for part in &chosen {
            conclude(self, part, outcome.clone(), outcomes);
        }
    }

    /// The rows to send: of a session only its last, where the operator wants that. Logins get what the
    /// session did after them.
    fn one_per_session(&self, chosen: &mut [Part<'_>]) -> Vec<Value> {
        let memory = self.memory.lock();
        let mut later = HashSet::new();
        let mut rows: Vec<Value> = Vec::new();
        for Part { item, row, .. } in chosen.iter_mut().rev() {
            if row.kind == Kind::Cowrie
                && let Some(command) = memory.commands.after(item.record.seq)
            {
                row.members.insert("lastcommand".to_owned(), command.into());
            }
            let session = item.record.session;
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
        self.memory.lock().post(kind, numbers);
        let account = &self.checked.account;
        let request = request::submit(self.checked.url.clone(), account, nonce, kind.name(), rows);
        let answer = self.http.attempt(request).await;
        let mut memory = self.memory.lock();
        if !matches!(&answer, Err(failed) if failed.maybe_sent) {
            memory.answered(kind, numbers);
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
    async fn find_public(&mut self, rows: &[Part<'_>]) -> Result<(), Outcome> {
        const DAY: i64 = 86_400_000_000;
        let now = (self.clock)();
        let known = self.public.is_some_and(|it| now.0.saturating_sub(it.1.0) < DAY);
        let needed =
            |row: &Row| row.target.is_some_and(|it| self.checked.translation.of(it, &self.policy).is_none());
        if !self.checked.auto || known || !rows.iter().any(|it| needed(&it.row)) {
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

/// Notes the outcome of one event, if there is one yet.
fn set(outcomes: &mut [Option<Outcome>], at: usize, outcome: impl Into<Option<Outcome>>) {
    if let (Some(slot), Some(outcome)) = (outcomes.get_mut(at), outcome.into()) {
        *slot = Some(outcome);
    }
}

impl Output for DShield {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        let kinds = rows::kinds(record);
        if kinds.is_empty() {
            return None;
        }
        let source = self.source(record).map_err(|why| self.withhold(&why)).ok()?;
        self.note_command(record);
        let row = |kind: &Kind| self.row(record, source, *kind).map_err(|why| self.withhold(&why)).ok()?;
        let rows: Vec<Row> = kinds.iter().filter_map(row).collect();
        if rows.iter().any(|it| it.kind == Kind::Cowrie) {
            self.memory.lock().commands.login(record.seq, record.session);
        }
        if rows.is_empty() { None } else { serde_json::to_vec(&rows).ok() }
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(async move { Delivery::Each(self.work(batch).await) })
    }

    fn recall(&mut self, memory: Option<&str>) {
        if let Some(memory) = memory.and_then(|it| serde_json::from_str::<Memory>(it).ok()) {
            *self.first.lock() = FirstOfMinute::recall(&memory.connections);
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
