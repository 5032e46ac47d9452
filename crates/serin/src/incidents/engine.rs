//! From events to incidents: a state machine without a clock, a store or a task.
//!
//! It is fed with records in the order of their numbers and, now and then, with the time. What it has
//! to tell, and which incidents have changed, is asked of it as a [`Step`]; who asks writes that
//! together with how far it has read, and after a crash begins with what was written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serin_event::{Intent, Record, Severity, Timestamp};

use super::clock::Clock;
use super::correlate::{Finding, Memory, Ties, credentials};
use super::incident::{Incident, Key};
use super::notice::{Change, Notice};
use super::rate::Rate;
use super::rule::Rule;
use super::settings::Settings;
use super::touch::{Found, Sort, Touch, sort};
use crate::enrich::About;

/// What is to be written, all of it together.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) notices: Vec<Notice>,
    pub(crate) rows: Vec<serin_store::Incident>,
    pub(crate) gone: Vec<String>,
}

/// How much there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    /// Incidents that were told.
    pub(crate) opened: u64,
    /// Events of which an ignore rule said that nobody is to be told.
    pub(crate) suppressed: u64,
}

/// What of the engine is not in an incident, and outlives it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    clock: Clock,
    rate: Rate,
}

/// All incidents that are going on.
pub(crate) struct Engine {
    settings: Arc<Settings>,
    about: About,
    kept: Kept,
    /// By the number of their first event.
    open: BTreeMap<u64, Incident>,
    index: HashMap<Key, u64>,
    memory: Memory,
    /// Those that have changed since the last step.
    changed: BTreeSet<u64>,
    /// What the next step has for certain.
    step: Step,
    totals: Totals,
}

impl Engine {
    /// One without incidents.
    pub(crate) fn new(settings: Arc<Settings>, about: About) -> Self {
        Self {
            settings,
            about,
            kept: Kept::default(),
            open: BTreeMap::new(),
            index: HashMap::new(),
            memory: Memory::default(),
            changed: BTreeSet::new(),
            step: Step::default(),
            totals: Totals::default(),
        }
    }

    /// The one that wrote these rows and this [`Engine::status`].
    pub(crate) fn restore(
        settings: Arc<Settings>,
        about: About,
        status: &str,
        rows: &[serin_store::Incident],
    ) -> Self {
        let mut engine = Self::new(settings, about);
        // A status that cannot be read is an older version's, or none.
        engine.kept = serde_json::from_str(status).unwrap_or_default();
        for incident in rows.iter().filter_map(Incident::from_row) {
            for key in &incident.keys {
                engine.index.insert(key.clone(), incident.seq);
            }
            engine.open.insert(incident.seq, incident);
        }
        engine
    }

    /// Keeps in mind what happened before: for correlations, after [`Engine::restore`].
    pub(crate) fn remember(&mut self, record: &Record) {
        if let Sort::Touch(touch) = sort(record)
            && self.settings.enabled
            && touch.intent >= self.settings.threshold_of(&touch.service)
        {
            let at = self.kept.clock.of_past(record.time);
            self.memory.observe(&touch, at, &self.settings);
        }
    }

    /// Since when events matter for correlations, by their own times.
    pub(crate) fn remembers_since(&self) -> Timestamp {
        self.kept.clock.before(self.settings.memory())
    }

    /// Other settings from now on, and who says what is known of an address.
    pub(crate) fn set(&mut self, settings: Arc<Settings>, about: About) {
        self.settings = settings;
        self.about = about;
    }

    /// What is to be found again beside the rows, as JSON text.
    pub(crate) fn status(&self) -> String {
        serde_json::to_string(&self.kept).unwrap_or_default()
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// How many incidents are open.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether anything is to be written.
    pub(crate) fn has_changed(&self) -> bool {
        !self.changed.is_empty() || !self.step.rows.is_empty() || !self.step.gone.is_empty()
    }

    /// Takes in the next record.
    pub(crate) fn take(&mut self, record: &Record) {
        self.kept.clock.event(record.time);
        if !self.settings.enabled {
            return;
        }
        match sort(record) {
            Sort::Own => {}
            Sort::Suppressed => self.totals.suppressed += 1,
            Sort::Detection(found) => self.take_detection(record, &found),
            Sort::Touch(touch) => self.take_touch(&touch),
        }
    }

    /// Puts what a detection rule found to the incident of its events, or opens one for it.
    fn take_detection(&mut self, record: &Record, found: &Found) {
        let at = self.kept.clock.now();
        let own = found.source.is_none().then_some(Key::Detection(found.print));
        let seq = match self.found_in(found, own.as_ref(), at) {
            Some(seq) => seq,
            // A rule that decides nothing, or that tells of nothing to act on, alarms nobody by itself.
            None if found.raises_to.is_none_or(|it| it == Severity::Informational) => return,
            None => {
                let touch = Touch::of_detection(record, found);
                let key = own.clone().unwrap_or_else(|| touch_key(&touch));
                self.begin(&touch, key, Rule::Detection, at)
            }
        };
        if let Some(incident) = self.open.get_mut(&seq) {
            incident.detected(&found.title, found.raises_to);
            incident.note_events(&found.events);
            incident.seen_at = incident.seen_at.max(at);
            if let Some(key) = own
                && incident.catch(key.clone())
            {
                self.index.insert(key, seq);
            }
            self.changed.insert(seq);
        }
    }

    /// The open incident that a detection is about: the one it was put to before, or the last of its
    /// sources.
    fn found_in(&self, found: &Found, own: Option<&Key>, at: i64) -> Option<u64> {
        let goes_on = |it: &&Incident| it.ends_at(&self.settings) > at;
        let before = own.and_then(|it| self.index.get(it)).and_then(|it| self.open.get(it));
        if let Some(incident) = before.filter(goes_on) {
            return Some(incident.seq);
        }
        let of_service = |it: &Incident| found.service.as_ref().is_none_or(|name| it.services.contains(name));
        let of_source = |it: &Incident| match found.source {
            Some(source) => it.source() == Some(source),
            None => found.sources.iter().any(|source| it.is_of(*source)),
        };
        let is_it = |it: &&Incident| goes_on(it) && of_source(it) && of_service(it);
        self.open.values().rfind(is_it).map(|it| it.seq)
    }

    fn take_touch(&mut self, touch: &Touch<'_>) {
        let at = self.kept.clock.now();
        let counts = touch.intent >= self.settings.threshold_of(&touch.service);
        let seq = match self.belongs_to(touch, at) {
            Some(seq) => {
                if let Some(incident) = self.open.get_mut(&seq) {
                    incident.add(touch, at);
                }
                seq
            }
            // What stays below the threshold opens nothing, and is no part of a pattern.
            None if !counts => return,
            None => self.begin(touch, touch_key(touch), Rule::Touch, at),
        };
        self.changed.insert(seq);
        if counts {
            self.brute_force(seq);
            let mut here = seq;
            for finding in self.memory.observe(touch, at, &self.settings) {
                here = self.apply(&finding, touch, here);
            }
        }
    }

    /// The incident that an event belongs to. One whose time is over ends here.
    fn belongs_to(&mut self, touch: &Touch<'_>, at: i64) -> Option<u64> {
        let mut keys = Vec::with_capacity(3);
        keys.extend(touch.source().map(Key::Source));
        keys.push(touch_key(touch));
        // Who uses bait is not one of many.
        if touch.intent != Intent::Bait {
            keys.extend(credentials(touch).map(Key::Credentials));
        }
        for key in keys {
            let Some(seq) = self.index.get(&key).copied() else { continue };
            let Some(incident) = self.open.get(&seq) else { continue };
            let of_flood = incident.has(Rule::Flood);
            if incident.ends_at(&self.settings) <= at {
                self.close(seq, None);
            } else if !(of_flood && touch.intent == Intent::Bait) {
                if matches!(key, Key::Credentials(_))
                    && let Some(incident) = self.open.get_mut(&seq)
                    && incident.catch(touch_key(touch))
                {
                    self.index.insert(touch_key(touch), seq);
                }
                return Some(seq);
            }
        }
        None
    }

    /// Opens an incident with its first event, or puts it to those that are too many.
    fn begin(&mut self, touch: &Touch<'_>, key: Key, rule: Rule, at: i64) -> u64 {
        let too_many = self.kept.rate.count(at, self.settings.flood);
        if too_many && touch.intent != Intent::Bait {
            return self.flood(touch, at);
        }
        self.insert(Incident::new(touch, id_of(touch.record), key, rule, at))
    }

    fn insert(&mut self, incident: Incident) -> u64 {
        let seq = incident.seq;
        for key in &incident.keys {
            self.index.insert(key.clone(), seq);
        }
        self.open.insert(seq, incident);
        self.changed.insert(seq);
        while self.open.len() > usize::try_from(self.settings.max_open).unwrap_or(usize::MAX).max(1) {
            let oldest = self.open.values().filter(|it| it.seq != seq).min_by_key(|it| (it.seen_at, it.seq));
            let Some(oldest) = oldest.map(|it| it.seq) else { break };
            self.close(oldest, Some("told no further, since too many incidents are open"));
        }
        seq
    }

    /// One incident for all that is too much. It takes in whatever was not told yet.
    fn flood(&mut self, touch: &Touch<'_>, at: i64) -> u64 {
        let running = self
            .index
            .get(&Key::Flood)
            .copied()
            .filter(|seq| self.open.get(seq).is_some_and(|it| it.ends_at(&self.settings) > at));
        if let Some(seq) = running {
            if let Some(incident) = self.open.get_mut(&seq) {
                incident.add(touch, at);
                if incident.catch(touch_key(touch)) {
                    self.index.insert(touch_key(touch), seq);
                }
            }
            return seq;
        }
        if let Some(over) = self.index.get(&Key::Flood).copied() {
            self.close(over, None);
        }
        let mut incident = Incident::new(touch, id_of(touch.record), Key::Flood, Rule::Flood, at);
        incident.catch(touch_key(touch));
        let seq = self.insert(incident);
        let untold =
            self.open.values().filter(|it| it.seq != seq && !it.is_told() && it.intent < Intent::Bait);
        let untold: Vec<u64> = untold.map(|it| it.seq).collect();
        self.join(seq, &untold);
        seq
    }

    fn brute_force(&mut self, seq: u64) {
        let least = u64::from(self.settings.brute_force_logins);
        if let Some(incident) = self.open.get_mut(&seq)
            && least > 0
            && incident.logins >= least
            && incident.source().is_some()
        {
            incident.tie(Rule::BruteForce);
        }
    }

    /// Acts on what a correlation found of an event, which belongs to the incident `here`. The incident
    /// that it belongs to now.
    fn apply(&mut self, finding: &Finding, touch: &Touch<'_>, here: u64) -> u64 {
        let is_many = |it: &Incident| it.has(Rule::Flood) || it.has(Rule::Distributed);
        if self.open.get(&here).is_none_or(is_many) {
            return here;
        }
        // One that this very pattern made before.
        let before = finding.catches.as_ref().and_then(|it| self.index.get(it)).copied();
        let is_part = |it: &Incident| match &finding.ties {
            Ties::This => it.seq == here,
            Ties::Source => it.source().is_some() && it.source() == touch.source() && !is_many(it),
            Ties::Logins(sources) => {
                let scans = it.has(Rule::HostScan) || it.has(Rule::NetworkScan);
                let of_them = it.source().is_some_and(|it| sources.contains(&it));
                Some(it.seq) == before || (it.logins > 0 && of_them && !scans && it.bait.is_none())
            }
        };
        let parts = self.open.values().filter(|it| is_part(it));
        let mut parts: Vec<(bool, u64)> = parts.map(|it| (!it.is_told(), it.seq)).collect();
        // What somebody was told of goes on; of several, the first.
        parts.sort_unstable();
        let Some((_, main)) = parts.first().copied() else { return here };
        let others: Vec<u64> = parts.into_iter().skip(1).map(|it| it.1).collect();
        self.join(main, &others);
        let Some(incident) = self.open.get_mut(&main) else { return here };
        incident.tie(finding.rule);
        let catches = match finding.ties {
            Ties::Source => touch.source().map(Key::Source),
            Ties::This | Ties::Logins(_) => finding.catches.clone(),
        };
        if let Some(key) = catches
            && incident.catch(key.clone())
        {
            self.index.insert(key, main);
        }
        self.changed.insert(main);
        main
    }

    /// Makes one incident of several. Those of them that somebody was told of end with a word on where
    /// they go on; the others have never been.
    fn join(&mut self, main: u64, others: &[u64]) {
        for seq in others {
            let Some(part) = self.open.get(seq).cloned() else { continue };
            let Some(whole) = self.open.get_mut(&main) else { return };
            let goes_on = format!("goes on as incident {}", whole.id);
            whole.absorb(&part);
            for key in &part.keys {
                let points_here = self.index.get(key) == Some(seq);
                if points_here && whole.keys.contains(key) {
                    self.index.insert(key.clone(), main);
                } else if points_here {
                    self.index.remove(key);
                }
            }
            self.changed.insert(main);
            if part.is_told() {
                self.close(*seq, Some(&goes_on));
                continue;
            }
            self.open.remove(seq);
            self.changed.remove(seq);
            if part.stored {
                self.step.gone.push(part.id);
            }
        }
    }

    /// Ends an incident, and tells so if anybody was told of it.
    fn close(&mut self, seq: u64, why: Option<&str>) {
        if self.open.get(&seq).is_some_and(|it| !it.is_told()) {
            self.tell(seq);
        }
        self.changed.remove(&seq);
        let Some(incident) = self.open.remove(&seq) else { return };
        for key in &incident.keys {
            if self.index.get(key) == Some(&seq) {
                self.index.remove(key);
            }
        }
        let mut notice = incident.notice(Change::Closed, &*self.about);
        if let Some(why) = why {
            notice.sentence = format!("{}; {why}", notice.sentence);
        }
        self.step.rows.push(incident.row(&notice, Some(self.kept.clock.wall())));
        if self.settings.tell_close {
            self.step.notices.push(notice);
        }
    }

    fn tell(&mut self, seq: u64) {
        let at = self.kept.clock.now();
        if let Some(incident) = self.open.get_mut(&seq) {
            self.totals.opened += u64::from(!incident.is_told());
            self.step.notices.push(incident.tell(at, &*self.about));
            self.changed.insert(seq);
        }
    }

    /// It is this late, and everything stored was taken in.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        self.kept.clock.tick(now);
        let at = self.kept.clock.now();
        let over: Vec<u64> =
            self.open.values().filter(|it| it.ends_at(&self.settings) <= at).map(|it| it.seq).collect();
        for seq in over {
            self.close(seq, None);
        }
    }

    /// What is to be written now. `hurry`: nothing waits for company, since the sensor stops.
    pub(crate) fn step(&mut self, hurry: bool) -> Step {
        let at = self.kept.clock.now();
        let due = |it: &Incident| it.told_at(&self.settings) <= at || (hurry && !it.is_told());
        let due: Vec<u64> = self.open.values().filter(|it| due(it)).map(|it| it.seq).collect();
        for seq in due {
            self.tell(seq);
        }
        let mut step = std::mem::take(&mut self.step);
        for seq in std::mem::take(&mut self.changed) {
            if let Some(incident) = self.open.get_mut(&seq) {
                incident.stored = true;
                let change = if incident.is_told() { Change::Updated } else { Change::Opened };
                step.rows.push(incident.row(&incident.notice(change, &*self.about), None));
            }
        }
        step
    }

    /// Whether there is something to tell at this moment.
    pub(crate) fn has_news(&self) -> bool {
        let at = self.kept.clock.now();
        !self.step.notices.is_empty() || self.open.values().any(|it| it.told_at(&self.settings) <= at)
    }

    /// How long until there is something to tell or to close; `None`: not before something happens.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        let next = |it: &Incident| it.told_at(&self.settings).min(it.ends_at(&self.settings));
        let next = self.open.values().map(next).min()?;
        let micros = next.saturating_sub(self.kept.clock.now()).max(0);
        Some(Duration::from_micros(micros.unsigned_abs()))
    }
}

fn touch_key(touch: &Touch<'_>) -> Key {
    Key::Touch(touch.source(), touch.service.as_ref().to_owned())
}

fn id_of(record: &Record) -> String {
    crate::outputs::event_id(record)
}
