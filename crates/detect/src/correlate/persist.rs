//! State across restarts and reloads: what a correlator knows is written down whole, and what belongs
//! to a correlation that is still the same is taken over.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::groups::NEVER;
use super::key::Key;
use super::kind::{Fact, Mark};
use super::reorder::{Sensor, Waiting};
use super::snapshot::{self, Broken, Reader, Writer};
use super::table::{Moment, Part};
use super::{Correlator, TIME_MAX};
use crate::rule::{Correlation, Rule};

/// Which of the new correlations stands where an old one stood.
type Moved = BTreeMap<u32, u32>;

impl Correlator {
    /// Other correlations from now on. What is the same keeps its state, also when it stands elsewhere.
    pub fn reload(&mut self, correlations: &[Correlation], rules: &[Rule]) {
        let mut new = Self::new(correlations, rules, self.settings);
        let old: Vec<_> = self.plans.iter().map(|it| it.print).collect();
        let moved = new.moved(&old);
        for (&from, &to) in &moved {
            if let (Some(from), Some(to)) =
                (self.tables.get_mut(from as usize), new.tables.get_mut(to as usize))
            {
                std::mem::swap(from, to);
            }
        }
        for waiting in self.reorder.take() {
            self.reorder.push_renumbered(waiting, |it| moved.get(&it).copied());
        }
        let Self { plans, tables, members, forward, .. } = new;
        (self.plans, self.tables, self.members, self.forward) = (plans, tables, members, forward);
    }

    /// Where the correlations with these prints stand now.
    fn moved(&self, old: &[[u8; 32]]) -> Moved {
        let mut places: BTreeMap<[u8; 32], VecDeque<u32>> = BTreeMap::new();
        for (place, plan) in (0..).zip(&self.plans) {
            places.entry(plan.print).or_default().push_back(place);
        }
        let find = |it: (u32, &[u8; 32])| Some((it.0, places.get_mut(it.1)?.pop_front()?));
        (0..).zip(old).filter_map(find).collect()
    }

    /// All that is known, for [`Correlator::restore`].
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.signed(self.now);
        to.unsigned(self.ahead);
        self.save_order(&mut to);
        to.count(self.plans.len());
        for (plan, table) in self.plans.iter().zip(&self.tables) {
            to.bytes(&plan.print);
            let mut body = Writer::default();
            table.save(&mut body);
            to.string(&body.into_bytes());
        }
        to.count(self.reorder.len());
        for waiting in self.reorder.waiting() {
            save_waiting(waiting, &mut to);
        }
        snapshot::seal(to)
    }

    /// Goes on from where [`Correlator::snapshot`] was taken, with the correlations that there are now;
    /// state of others is dropped.
    ///
    /// # Errors
    ///
    /// When it is damaged or of another version. Nothing is known then, as after [`Correlator::new`].
    pub fn restore(
        &mut self,
        bytes: &[u8],
        correlations: &[Correlation],
        rules: &[Rule],
    ) -> Result<(), Broken> {
        let mut new = Self::new(correlations, rules, self.settings);
        let read = snapshot::open(bytes).and_then(|mut from| new.load(&mut from));
        *self = if read.is_ok() { new } else { Self::new(correlations, rules, self.settings) };
        read
    }

    fn save_order(&self, to: &mut Writer) {
        let order = &self.reorder;
        to.signed(order.clock);
        to.signed(order.watermark);
        to.signed(order.last.0);
        to.string(order.last.1.as_bytes());
        to.unsigned(order.last.2);
        to.unsigned(order.late);
        to.unsigned(order.forced);
        to.count(order.sensors.len());
        for (name, sensor) in &order.sensors {
            to.string(name.as_bytes());
            to.signed(sensor.newest);
            to.signed(sensor.heard);
        }
    }

    fn load_order(&mut self, from: &mut Reader<'_>) -> Result<(), Broken> {
        let order = &mut self.reorder;
        order.clock = time(from)?;
        order.watermark = time(from)?;
        order.last = (time(from)?, text(from)?, from.unsigned()?);
        order.late = from.unsigned()?;
        order.forced = from.unsigned()?;
        for _ in 0..from.count(4 + 16)? {
            let name = text(from)?;
            let sensor = Sensor { name: name.clone(), newest: time(from)?, heard: time(from)? };
            order.sensors.insert(name, sensor);
        }
        Ok(())
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<(), Broken> {
        self.now = time(from)?;
        self.ahead = from.unsigned()?;
        self.load_order(from)?;
        let count = from.count(32 + 4)?;
        let saved = (0..count).map(|_| Ok((from.array::<32>()?, from.string()?)));
        let saved = saved.collect::<Result<Vec<_>, Broken>>()?;
        let prints: Vec<_> = saved.iter().map(|it| it.0).collect();
        let moved = self.moved(&prints);
        for (place, (_, body)) in (0..).zip(saved) {
            let Some(&to) = moved.get(&place) else { continue };
            let mut body = Reader::new(body);
            self.tables.get_mut(to as usize).ok_or(Broken)?.load(&mut body)?;
            if !body.is_at_end() {
                return Err(Broken);
            }
        }
        for _ in 0..from.count(8)? {
            let waiting = load_waiting(from)?;
            self.reorder.push_renumbered(waiting, |it| moved.get(&it).copied());
        }
        if from.is_at_end() { Ok(()) } else { Err(Broken) }
    }
}

/// A time, or [`NEVER`].
fn time(from: &mut Reader<'_>) -> Result<i64, Broken> {
    let time = from.signed()?;
    let fits = time == NEVER || (-TIME_MAX * 4..=TIME_MAX * 4).contains(&time);
    fits.then_some(time).ok_or(Broken)
}

fn text(from: &mut Reader<'_>) -> Result<Arc<str>, Broken> {
    std::str::from_utf8(from.string()?).map(Arc::from).map_err(|_| Broken)
}

fn save_waiting(waiting: &Waiting, to: &mut Writer) {
    let Moment { at, late, ahead } = waiting.moment;
    at.save(to);
    to.byte(u8::from(late) | u8::from(ahead) << 1);
    to.string(waiting.sensor.as_bytes());
    to.count(waiting.parts.len());
    for part in &waiting.parts {
        to.count(part.correlation as usize);
        to.count(part.member as usize);
        to.string(&part.key);
        part.fact.save(to);
    }
}

fn load_waiting(from: &mut Reader<'_>) -> Result<Waiting, Broken> {
    let at = Mark { time: time(from)?, id: from.unsigned()? };
    let flags = from.byte()?;
    let moment = Moment { at, late: flags & 1 != 0, ahead: flags & 2 != 0 };
    let sensor = text(from)?;
    let mut parts = Vec::new();
    for _ in 0..from.count(12 + 17)? {
        let (correlation, member) = (u32::from_le_bytes(from.array()?), u32::from_le_bytes(from.array()?));
        parts.push(Part { correlation, member, key: Key::from(from.string()?), fact: Fact::load(from)? });
    }
    Ok(Waiting { moment, sensor, parts: parts.into() })
}
