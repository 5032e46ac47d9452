//! Channels with a courier that does what a script says, in a time that passes at once.

use std::cell::OnceCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use serin_event::{Intent, Record, Severity, Timestamp};
use serin_services::conf::{Conf, Setting as _};
use tokio::time::Instant;

use super::card::CardKind;
use super::quiet::Quiet;
use super::{BATCH, Card, Channel, Courier};
use crate::incidents::{Change, Notice};
use crate::outputs::{Delivery, Item, Later, Outcome, Output};

/// 2026-11-16, a Monday, 12:00 UTC, in microseconds.
const NOON: i64 = 1_794_830_400_000_000;
const HOUR: u64 = 3600;

thread_local! { static BEGAN: OnceCell<Instant> = const { OnceCell::new() }; }

/// The wall clock of a test: noon, plus what tokio's time says has passed.
fn clock() -> Timestamp {
    let passed = BEGAN.with(|it| *it.get_or_init(Instant::now)).elapsed();
    Timestamp(NOON + i64::try_from(passed.as_micros()).unwrap())
}

/// What the receiver saw: the cards it confirmed, and those it did not.
#[derive(Debug, Default)]
struct Seen {
    told: Vec<(Duration, Card)>,
    tried: usize,
    script: VecDeque<Outcome>,
    /// What some of the recipients lack, until this time.
    lacked: Option<(Vec<u64>, Instant)>,
}

#[derive(Debug, Clone, Default)]
struct Scripted {
    seen: Arc<Mutex<Seen>>,
    resolves: bool,
    takes: Duration,
}

impl Courier for Scripted {
    fn message(&self, card: &Card, _: Option<&Record>) -> Option<Vec<u8>> {
        Some(card.title.clone().into_bytes())
    }

    fn send<'a>(&'a mut self, card: &'a Card, message: Vec<u8>) -> Later<'a, Outcome> {
        assert_eq!(String::from_utf8(message).unwrap(), card.title);
        Box::pin(async move {
            tokio::time::sleep(self.takes).await;
            let mut seen = self.seen.lock();
            seen.tried += 1;
            let outcome = seen.script.pop_front().unwrap_or(Outcome::Delivered);
            if matches!(outcome, Outcome::Delivered | Outcome::Duplicate) {
                seen.told.push((passed(), card.clone()));
            }
            seen.lacked = match outcome {
                Outcome::Wait(time) => Some((card.events.clone(), Instant::now() + time)),
                _ => seen.lacked.take().filter(|it| it.0 != card.events),
            };
            outcome
        })
    }

    fn confirms(&self) -> &'static str {
        "seen"
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn resolves(&self) -> bool {
        self.resolves
    }

    fn partly(&self) -> Vec<(Vec<u64>, Duration)> {
        let seen = self.seen.lock();
        let rest = |it: &(Vec<u64>, Instant)| it.1.saturating_duration_since(Instant::now());
        seen.lacked.iter().map(|it| (it.0.clone(), rest(it))).collect()
    }
}

/// A channel with the smallest engine that keeps the contract.
struct World {
    channel: Channel<Scripted>,
    courier: Scripted,
    window: Vec<Item>,
    next: u64,
    settled: BTreeMap<u64, Outcome>,
}

impl World {
    fn new(settings: &[(&str, Value)]) -> Self {
        Self::with(settings, Scripted::default())
    }

    fn with(settings: &[(&str, Value)], courier: Scripted) -> Self {
        clock();
        let mut conf = Conf::new();
        for (key, value) in settings {
            let key = if key.contains('.') { (*key).to_owned() } else { format!("alerts.{key}") };
            conf.set(key, value.clone());
        }
        let channel = Channel::new(&conf, courier.clone()).unwrap().with_clock(clock);
        Self { channel, courier, window: Vec::new(), next: 1, settled: BTreeMap::new() }
    }

    /// Something is told of an incident, now.
    fn happens(&mut self, incident: &str, change: Change, severity: Severity) -> u64 {
        let notice = Notice {
            id: incident.to_owned(),
            change,
            severity,
            intent: Intent::Login,
            service: "ftp".to_owned(),
            rule: "touch".to_owned(),
            sentence: format!("{incident} tried to log in"),
            source: "10.0.0.5".parse().ok(),
            test: incident.starts_with("test"),
            ..Notice::test(String::new(), clock())
        };
        let seq = self.next;
        self.next += 1;
        let record = Record { seq, ..Record::of(&notice.to_event(), clock(), 0, "node") };
        match self.channel.encode(&record) {
            Some(body) => self.window.push(Item { record: Arc::new(record), body }),
            None => assert!(self.settled.insert(seq, Outcome::Delivered).is_none()),
        }
        seq
    }

    fn opens(&mut self, incidents: std::ops::Range<usize>) {
        for number in incidents {
            self.happens(&format!("incident-{number}"), Change::Opened, Severity::High);
        }
    }

    /// One delivery. Returns how long the engine would wait; `None`: nothing waits.
    async fn deliver(&mut self) -> Option<Duration> {
        let count = self.window.len().min(BATCH.events);
        if count == 0 {
            return None;
        }
        let deadline = self.channel.deadline();
        let delivery = tokio::time::timeout(deadline, self.channel.deliver(&self.window[..count])).await;
        let Ok(Delivery::Each(outcomes)) = delivery else { panic!("{delivery:?}") };
        assert_eq!(outcomes.len(), count, "one outcome for each");
        let (mut pause, mut trouble, mut kept) = (None::<Duration>, None::<Duration>, Vec::new());
        for (item, outcome) in self.window.drain(..count).zip(outcomes) {
            match outcome {
                Outcome::Delivered | Outcome::Duplicate | Outcome::Reject(_) => {
                    let again = self.settled.insert(item.record.seq, outcome);
                    assert!(again.is_none(), "settled twice");
                    continue;
                }
                Outcome::Wait(time) => pause = Some(pause.map_or(time, |it| it.min(time))),
                Outcome::Retry { after, .. } => trouble = trouble.max(after.or(Some(Duration::from_secs(1)))),
                Outcome::Hold(_) => trouble = Some(Duration::from_mins(5)),
                Outcome::Gone(why) => panic!("{why}"),
            }
            kept.push(item);
        }
        self.window.splice(0..0, kept);
        let rest = (!self.window.is_empty()).then_some(Duration::ZERO);
        trouble.or(pause.map(|it| it.max(Duration::from_millis(20)))).or(rest)
    }

    /// Lets time pass, with deliveries as the engine makes them.
    async fn passes(&mut self, time: Duration) {
        let until = Instant::now() + time;
        let mut deliveries = 0;
        while let Some(pause) = self.deliver().await {
            deliveries += 1;
            assert!(deliveries < 100_000, "a busy loop");
            if Instant::now() + pause >= until {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        tokio::time::sleep_until(until).await;
    }

    fn script(&self, outcomes: impl IntoIterator<Item = Outcome>) {
        self.courier.seen.lock().script.extend(outcomes);
    }

    /// Seconds and titles of what was told so far.
    fn told(&self) -> Vec<(u64, String)> {
        self.courier.seen.lock().told.iter().map(|(at, card)| (at.as_secs(), card.title.clone())).collect()
    }

    fn cards(&self) -> Vec<Card> {
        self.courier.seen.lock().told.iter().map(|it| it.1.clone()).collect()
    }
}

const ONE: &str = "Login attempts on FTP, high, on node";

fn down() -> Outcome {
    Outcome::retry("down")
}

#[tokio::test(start_paused = true)]
async fn a_crowd_becomes_a_burst_and_one_message_for_the_rest() {
    let mut world = World::new(&[]);
    world.opens(0..50);
    world.deliver().await;
    let told = world.told();
    assert_eq!(told.len(), 5, "{told:?}");
    assert_eq!(told[..4], vec![(0, ONE.to_owned()); 4]);
    assert_eq!(told[4].1, "And 46 more incidents, up to high, on node");
    assert_eq!(world.settled.len(), 50);
    // From then on one message for whatever came meanwhile.
    world.opens(50..60);
    world.passes(Duration::from_secs(1)).await;
    assert_eq!((world.told().len(), world.settled.len()), (5, 50));
    world.passes(Duration::from_secs(5)).await;
    assert_eq!(world.told()[5..], [(5, "10 incidents, up to high, on node".to_owned())]);
    assert_eq!(world.settled.len(), 60);
}

#[tokio::test(start_paused = true)]
async fn the_most_severe_of_a_crowd_are_told_alone() {
    let mut world = World::new(&[("burst", 3.into())]);
    for (number, severity) in
        [Severity::Low, Severity::High, Severity::Low, Severity::Critical].into_iter().enumerate()
    {
        world.happens(&format!("incident-{number}"), Change::Opened, severity);
    }
    world.deliver().await;
    let told: Vec<_> = world.cards().iter().map(|it| (it.severity, it.kind)).collect();
    assert_eq!(
        told,
        [
            (Severity::High, CardKind::Opened),
            (Severity::Critical, CardKind::Opened),
            (Severity::Low, CardKind::Digest)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_happened_to_one_incident_meanwhile_is_one_message() {
    let mut world = World::new(&[("closed", true.into())]);
    world.script([down(), down()]);
    for change in [Change::Opened, Change::Updated, Change::Updated] {
        world.happens("incident-1", change, Severity::High);
    }
    world.passes(Duration::from_secs(5)).await;
    world.happens("incident-1", Change::Closed, Severity::High);
    world.passes(Duration::from_secs(5)).await;
    let kinds: Vec<_> = world.cards().iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [CardKind::Opened, CardKind::Closed]);
    assert_eq!(world.settled.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn changes_that_nobody_wants_are_not_told() {
    let mut world = World::new(&[("updates", false.into())]);
    for change in [Change::Opened, Change::Updated, Change::Closed] {
        world.happens("incident-1", change, Severity::High);
    }
    world.passes(Duration::from_mins(1)).await;
    assert_eq!((world.told().len(), world.settled.len()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends_in_a_handful_of_messages_and_nothing_is_missing() {
    let mut world = World::new(&[]);
    world.script(std::iter::repeat_n(down(), 20_000));
    for hour in 0..3 {
        world.opens(hour * 100..(hour + 1) * 100);
        world.passes(Duration::from_secs(HOUR)).await;
    }
    world.courier.seen.lock().script.clear();
    world.passes(Duration::from_mins(1)).await;
    let told = world.told();
    assert!(told.len() <= 6, "{told:?}");
    assert_eq!(told[0].1, "200 incidents, up to high, on node");
    assert_eq!(world.settled.len(), 300);
    assert!(world.settled.values().all(|it| *it == Outcome::Delivered));
}

#[tokio::test(start_paused = true)]
async fn nights_are_quiet_except_for_what_is_critical() {
    let mut world = World::new(&[("quiet", "11:00-13:00".into())]);
    world.opens(0..3);
    world.happens("incident-9", Change::Opened, Severity::Critical);
    world.happens("test-1", Change::Opened, Severity::Informational);
    world.passes(Duration::from_secs(HOUR / 2)).await;
    let told: Vec<_> = world.told().into_iter().map(|it| it.1).collect();
    assert_eq!(
        told,
        ["Test: Login attempts on FTP, informational, on node", &ONE.replace("high", "critical")]
    );
    assert_eq!(world.settled.keys().copied().collect::<Vec<_>>(), [4, 5], "the others stay in the journal");
    // Nor at a stop.
    world.channel.hurry();
    world.deliver().await;
    assert_eq!(world.settled.len(), 2);
    world.passes(Duration::from_secs(HOUR)).await;
    let told = world.told();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[2].1, "3 incidents, up to high, on node");
    assert!((HOUR..HOUR + 31).contains(&told[2].0), "{told:?}");
    assert_eq!(world.settled.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_full_night_goes_as_one_message_so_that_what_is_critical_gets_through() {
    let mut world = World::new(&[("quiet", "11:00-13:00".into())]);
    world.opens(0..BATCH.events);
    world.happens("incident-c", Change::Opened, Severity::Critical);
    world.passes(Duration::from_mins(1)).await;
    let told: Vec<_> = world.told().into_iter().map(|it| it.1).collect();
    assert_eq!(told, ["1000 incidents, up to high, on node", &ONE.replace("high", "critical")]);
}

#[tokio::test(start_paused = true)]
async fn a_digest_gathers_and_goes_at_once_when_the_sensor_stops() {
    let mut world = World::new(&[("digest", 600.into())]);
    world.opens(0..2);
    world.passes(Duration::from_mins(5)).await;
    world.opens(2..4);
    world.happens("test-1", Change::Opened, Severity::Informational);
    world.passes(Duration::from_secs(330)).await;
    let told = world.told();
    assert_eq!(told[0].0, 300, "tests do not wait");
    assert_eq!(told[1..], [(600, "4 incidents, up to high, on node".to_owned())]);
    world.opens(4..6);
    assert_eq!(world.deliver().await, Some(Duration::from_secs(30)));
    world.channel.hurry();
    world.deliver().await;
    assert_eq!((world.told().len(), world.settled.len()), (3, 7));
}

#[tokio::test(start_paused = true)]
async fn every_event_alone_unless_a_rate_is_set() {
    let settings = ("delivery.send", Value::from("events"));
    let mut world = World::new(std::slice::from_ref(&settings));
    world.opens(0..200);
    world.script([down()]);
    world.deliver().await;
    world.deliver().await;
    assert_eq!(world.told().len(), 32, "so many at once, so that a crash repeats little");
    world.passes(Duration::from_mins(1)).await;
    let told: Vec<_> = world.told().into_iter().map(|it| it.1).collect();
    assert_eq!(told, vec![ONE.to_owned(); 200]);
    let mut world = World::new(&[settings, ("rate", 60.into())]);
    world.opens(0..200);
    world.deliver().await;
    assert_eq!(world.told().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_ends_follows_what_it_ends() {
    let courier = Scripted { resolves: true, ..Scripted::default() };
    let mut world = World::with(&[("quiet", "11:00-13:00".into())], courier);
    world.happens("incident-1", Change::Opened, Severity::High);
    world.happens("incident-1", Change::Closed, Severity::High);
    world.happens("incident-0", Change::Closed, Severity::High);
    world.passes(Duration::from_mins(1)).await;
    let told = |world: &World| world.cards().into_iter().map(|it| (it.id, it.kind)).collect::<Vec<_>>();
    assert_eq!(told(&world), [("incident-0".to_owned(), CardKind::Closed)], "an old one is over");
    world.passes(Duration::from_secs(2 * HOUR)).await;
    let rest = [CardKind::Opened, CardKind::Closed].map(|it| ("incident-1".to_owned(), it));
    assert_eq!(told(&world)[1..], rest);
}

#[tokio::test(start_paused = true)]
async fn what_spoils_a_message_is_found_and_the_others_are_told() {
    let mut world = World::new(&[("rate", 1.into()), ("burst", 1.into())]);
    world.opens(0..8);
    let no = || Outcome::Reject("no".to_owned());
    // All eight, four, two, the first alone; then the others go.
    world.script([no(), no(), no(), no()]);
    world.passes(Duration::from_secs(HOUR)).await;
    let rejected: Vec<_> = world.settled.iter().filter(|it| *it.1 == no()).map(|it| *it.0).collect();
    assert_eq!((rejected, world.settled.len()), (vec![1], 8));
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_delivery_repeats_nothing_that_was_confirmed() {
    let courier = Scripted { takes: Duration::from_millis(200), ..Scripted::default() };
    let mut world = World::with(&[], courier);
    world.opens(0..3);
    let window = world.window.clone();
    let interrupted = tokio::time::timeout(Duration::from_millis(300), world.channel.deliver(&window)).await;
    assert!(interrupted.is_err());
    world.passes(Duration::from_mins(1)).await;
    let ids: Vec<_> = world.cards().into_iter().map(|it| it.id).collect();
    assert_eq!(ids, ["incident-0", "incident-1", "incident-2"]);
}

#[tokio::test(start_paused = true)]
async fn what_some_recipients_lack_goes_again_as_it_is_and_others_wait_for_nobody() {
    let mut world = World::new(&[("digest", 60.into())]);
    world.opens(0..3);
    world.script([Outcome::Wait(Duration::from_mins(5))]);
    world.passes(Duration::from_secs(90)).await;
    assert!(world.told().is_empty() && world.settled.is_empty());
    world.opens(3..5);
    world.passes(Duration::from_secs(90)).await;
    assert_eq!(world.cards().iter().map(|it| it.events.clone()).collect::<Vec<_>>(), [[4, 5]]);
    world.passes(Duration::from_mins(5)).await;
    assert_eq!(world.cards().last().unwrap().events, [1, 2, 3]);
    assert_eq!((world.cards().len(), world.settled.len()), (2, 5));
}

/// Whatever the receiver does and however things happen: each change is told, in its own message or in
/// one with others, once; nothing is settled that no confirmed message told of; nights are quiet.
#[tokio::test(start_paused = true)]
async fn whatever_happens_everything_is_told_and_only_that_is_settled() {
    for seed in 1..40_u64 {
        let mut dice = Dice(seed);
        let mut story = Story::new(&mut dice);
        for _ in 0..dice.below(40) {
            story.goes_on(&mut dice);
            story.world.passes(Duration::from_secs(dice.below(400))).await;
            story.check();
        }
        story.world.passes(Duration::from_secs(24 * HOUR)).await;
        story.check();
        assert!(story.world.window.is_empty(), "seed {seed}");
    }
}

struct Story {
    world: World,
    /// What is to be told: number, when, and of which incident.
    happened: Vec<(u64, Duration, String)>,
    quiet: bool,
}

impl Story {
    fn new(dice: &mut Dice) -> Self {
        let courier = Scripted { resolves: dice.below(3) == 0, ..Scripted::default() };
        let quiet = dice.below(3) == 0;
        let mut settings = vec![
            ("rate", Value::from(dice.below(20))),
            ("closed", Value::from(dice.below(2) == 0)),
            ("max_age", Value::from(dice.below(3) * 600)),
        ];
        if quiet {
            settings.push(("quiet", Value::from(HOURS)));
        }
        if dice.below(3) == 0 {
            settings.push(("digest", Value::from(30 + dice.below(300))));
        }
        Self { world: World::with(&settings, courier), happened: Vec::new(), quiet }
    }

    /// Something happens, and perhaps the receiver has a bad time.
    fn goes_on(&mut self, dice: &mut Dice) {
        let id = format!("incident-{}.", dice.below(12));
        let change =
            [Change::Opened, Change::Updated, Change::Closed][usize::try_from(dice.below(3)).unwrap()];
        let severity = Severity::ALL[usize::try_from(dice.below(5)).unwrap()];
        let seq = self.world.happens(&id, change, severity);
        if !self.world.settled.contains_key(&seq) {
            self.happened.push((seq, passed(), id));
        }
        if dice.below(3) == 0 {
            let outcomes: Vec<_> = (0..dice.below(4))
                .map(|_| match dice.below(5) {
                    0 => Outcome::Hold("forbidden".to_owned()),
                    1 => Outcome::Retry { why: "slow down".to_owned(), after: Some(Duration::from_secs(7)) },
                    2 => Outcome::Duplicate,
                    3 => Outcome::Wait(Duration::from_secs(3)),
                    _ => down(),
                })
                .collect();
            self.world.script(outcomes);
        }
    }

    fn check(&self) {
        let seen = self.world.courier.seen.lock();
        let text = |card: &Card| format!("{}\n{}", card.sentence, card.details.join("\n"));
        let names = |card: &Card, id: &str| text(card).contains(id);
        for (seq, at, id) in self.happened.iter().filter(|it| self.world.settled.contains_key(&it.0)) {
            let told = seen.told.iter().any(|(then, card)| then >= at && names(card, id));
            assert!(told, "{seq} of {id} is settled, and nobody was told");
        }
        for (_, _, id) in &self.happened {
            let told = seen.told.iter().filter(|it| names(&it.1, id)).count();
            let settled =
                self.happened.iter().filter(|it| it.2 == *id && self.world.settled.contains_key(&it.0));
            assert!(told <= settled.count(), "{id} was told again");
        }
        let hours = Quiet::read(&HOURS.into()).unwrap();
        for (at, card) in seen.told.iter().filter(|_| self.quiet) {
            let then = Timestamp(NOON + i64::try_from(at.as_micros()).unwrap());
            let may = card.severity == Severity::Critical || card.kind == CardKind::Closed;
            assert!(may || !hours.holds(then.datetime(0)), "{} at {then:?}", card.title);
        }
    }
}

const HOURS: &str = "12:10-12:40, 13:00-14:00";

fn passed() -> Duration {
    Duration::from_micros(u64::try_from(clock().0 - NOON).unwrap())
}

/// A small generator of numbers (xorshift), so that each seed is one story.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
