//! The engine as a whole: what a person is told, and that a crash changes nothing of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};
use serin_event::{Endpoint, Event, Intent, Kind, Record, SELFTEST, Severity, Tainted, Timestamp, kinds};

use super::engine::{Engine, Step};
use super::settings::{Settings, Threshold, Thresholds};
use super::{Change, Notice};
use crate::enrich::About;

const SECOND: i64 = 1_000_000;
const START: i64 = 1_795_305_600 * SECOND;

fn nobody() -> About {
    Arc::new(|_| Map::new())
}

/// An engine with its journal.
struct Desk {
    engine: Engine,
    settings: Arc<Settings>,
    records: Vec<Record>,
    told: Vec<Notice>,
    rows: BTreeMap<String, serin_store::Incident>,
    status: String,
    /// Up to where the last step was written.
    written: usize,
    now: i64,
}

impl Desk {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        Self {
            engine: Engine::new(settings.clone(), nobody()),
            settings,
            records: Vec::new(),
            told: Vec::new(),
            rows: BTreeMap::new(),
            status: String::new(),
            written: 0,
            now: START,
        }
    }

    /// One more event, now.
    fn event(&mut self, record: Record) {
        let seq = self.records.len() as u64 + 1;
        let record = Record { seq, time: Timestamp(self.now), ..record };
        self.engine.take(&record);
        self.records.push(record);
    }

    /// Writes what there is to write.
    fn write(&mut self) {
        let Step { notices, rows, gone } = self.engine.step(false);
        self.told.extend(notices);
        self.rows.extend(rows.into_iter().map(|it| (it.id.clone(), it)));
        for id in gone {
            assert!(self.rows.remove(&id).is_some(), "{id} was never written");
        }
        self.status = self.engine.status();
        self.written = self.records.len();
    }

    /// So many seconds later.
    fn pass(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.now += SECOND;
            self.engine.tick(Timestamp(self.now));
            if self.engine.has_news() {
                self.write();
            }
        }
    }

    /// Begins with what was written, as after a crash.
    fn crash(&mut self) {
        let rows: Vec<_> = self.rows.values().filter(|it| it.closed.is_none()).cloned().collect();
        self.engine = Engine::restore(self.settings.clone(), nobody(), &self.status, &rows);
        for record in &self.records[..self.written] {
            self.engine.remember(record);
        }
        for record in &self.records[self.written..] {
            self.engine.take(record);
        }
    }

    fn sentences(&self) -> Vec<(Change, &str)> {
        self.told.iter().map(|it| (it.change, it.sentence.as_str())).collect()
    }

    fn opened(&self) -> usize {
        self.told.iter().filter(|it| it.change == Change::Opened).count()
    }
}

fn of(kind: &'static Kind, source: &str, port: u16) -> Record {
    let record = Record::of(&Event::new(kind), Timestamp(0), 0, "nas-2");
    at(record, source, port)
}

fn at(record: Record, source: &str, port: u16) -> Record {
    let end = |host: &str, port| Endpoint { host: host.parse().ok(), port: Some(port) };
    Record { source: end(source, 40_000), target: end("10.0.0.9", port), ..record }
}

fn login(source: &str, user: &str, password: &str) -> Record {
    login_at(&kinds::SSH_LOGIN, 22, source, user, password)
}

fn login_at(kind: &'static Kind, port: u16, source: &str, user: &str, password: &str) -> Record {
    let event = Event::new(kind)
        .with("USERNAME", Tainted::new(user.as_bytes(), 200))
        .with("PASSWORD", Tainted::new(password.as_bytes(), 200));
    at(Record::of(&event, Timestamp(0), 0, "nas-2"), source, port)
}

#[test]
fn what_is_told_of_an_incident_tells_no_secret_outside_of_its_passwords() {
    let mut desk = Desk::new();
    let event = Event::new(&kinds::SNMP_REQUEST).with("COMMUNITY_STRING", "s3cret");
    for _ in 0..3 {
        desk.event(at(Record::of(&event, Timestamp(0), 0, "nas-2"), "10.0.0.5", 161));
        desk.pass(60);
    }
    assert!(!desk.told.is_empty());
    for notice in &desk.told {
        let told = format!("{} {:?}", notice.sentence, notice.samples);
        assert!(told.contains("SNMP") && !told.contains("s3cret"), "{told}");
    }
}

#[test]
fn a_thousand_logins_are_one_incident_and_three_messages() {
    let mut desk = Desk::new();
    for number in 0..1000 {
        desk.event(login("10.0.0.5", "root", &format!("pw{number}")));
        if desk.engine.has_news() {
            desk.write();
        }
    }
    desk.pass(301);
    assert_eq!(
        desk.sentences(),
        [
            (Change::Opened, "10.0.0.5 tried 1 password for root on SSH of nas-2"),
            (Change::Updated, "10.0.0.5 is guessing passwords on SSH of nas-2: 10 tries for root"),
            (Change::Closed, "10.0.0.5 is guessing passwords on SSH of nas-2: 1,000 tries for root"),
        ]
    );
    let last = &desk.told[2];
    assert_eq!((last.id.as_str(), last.count, last.severity), ("nas-2-1", 1000, Severity::High));
    assert_eq!((last.rule.as_str(), last.intent), ("brute-force", Intent::Login));
    assert!(last.events.len() <= 20 && last.passwords.len() <= 10 && last.samples.len() <= 5);
    assert_eq!(desk.rows["nas-2-1"].closed, Some(Timestamp(START + 300 * SECOND)));
    assert_eq!((desk.engine.open(), desk.engine.totals().opened), (0, 1));
}

#[test]
fn the_window_slides_and_another_begins_after_it() {
    let mut desk = Desk::new();
    for _ in 0..4 {
        desk.event(login("10.0.0.5", "root", "a"));
        desk.pass(250);
    }
    assert_eq!(
        desk.sentences(),
        [
            (Change::Opened, "10.0.0.5 tried 1 password for root on SSH of nas-2"),
            (Change::Updated, "10.0.0.5 tried 1 password for root on SSH of nas-2"),
        ],
        "it goes on for more than a quarter of an hour"
    );
    desk.pass(100);
    desk.event(login("10.0.0.5", "root", "a"));
    desk.pass(1);
    let changes: Vec<_> = desk.told.iter().map(|it| (it.id.as_str(), it.change, it.count)).collect();
    assert_eq!(
        changes,
        [
            ("nas-2-1", Change::Opened, 1),
            ("nas-2-1", Change::Updated, 4),
            ("nas-2-1", Change::Closed, 4),
            ("nas-2-5", Change::Opened, 1),
        ]
    );
}

#[test]
fn sentences_name_who_did_what_and_never_a_password() {
    let told = |records: Vec<Record>| {
        let about: About = Arc::new(|source: IpAddr| {
            let name = if source.to_string() == "10.0.0.5" { "laptop-7\n" } else { "" };
            json!({ "name": name }).as_object().cloned().unwrap_or_default()
        });
        let mut desk = Desk::new();
        desk.engine = Engine::new(desk.settings.clone(), about);
        for record in records {
            desk.event(record);
        }
        desk.pass(4);
        desk.told.last().unwrap().sentence.clone()
    };
    let tries = |pairs: &[(&str, &str)]| told(pairs.iter().map(|it| login("10.0.0.5", it.0, it.1)).collect());
    assert_eq!(
        tries(&[("root", "a"), ("admin", "b"), ("root", "c")]),
        "10.0.0.5 (laptop-7\\n) tried 3 passwords for root, admin on SSH of nas-2"
    );
    assert_eq!(
        tries(&[("r", "a"), ("s", "b"), ("t", "c"), ("u", "d")]),
        "10.0.0.5 (laptop-7\\n) tried 4 passwords for r, s, t and others on SSH of nas-2"
    );
    assert_eq!(
        tries(&[("\u{1b}[2J", "a")]),
        "10.0.0.5 (laptop-7\\n) tried 1 password for \\u{1b}[2J on SSH of nas-2"
    );
    let long = "x".repeat(200);
    assert!(tries(&[(&long, "a")]).len() < 150);

    let bait = Record { honeycred: Some(true), ..login("10.0.0.6", "backup", "hunter2") };
    assert_eq!(told(vec![bait.clone()]), "10.0.0.6 used bait credentials of backup on SSH of nas-2");
    assert_eq!(
        told(vec![login("10.0.0.6", "root", "a"), bait]),
        "10.0.0.6 used bait credentials of backup on SSH of nas-2, 2 tries in all"
    );
    let telnet = || of(&kinds::TELNET_CONNECTION, "10.0.0.6", 23);
    assert_eq!(told(vec![telnet()]), "10.0.0.6 connected to Telnet, on nas-2");
    assert_eq!(told(vec![telnet(), telnet()]), "10.0.0.6 connected to Telnet of nas-2 twice");
    let page = || {
        let event = Event::new(&kinds::HTTP_GET).with("PATH", Tainted::new(b"/admin", 64));
        at(Record::of(&event, Timestamp(0), 0, "nas-2"), "10.0.0.6", 80)
    };
    assert_eq!(told(vec![page()]), "10.0.0.6 asked the web server for /admin, on nas-2");
    assert_eq!(
        told(vec![page(), page(), page()]),
        "10.0.0.6 touched HTTP of nas-2 3 times, first: asked the web server for /admin"
    );
    let touched = Event::new(&kinds::CONNECTION_TOUCHED).with("SERVICE", "ftp");
    let touched = at(Record::of(&touched, Timestamp(0), 0, "nas-2"), "10.0.0.6", 21);
    assert_eq!(told(vec![touched.clone(), touched]), "10.0.0.6 connected to FTP of nas-2 twice");
}

#[test]
fn a_scan_is_one_message_whatever_it_touches() {
    let mut desk = Desk::new();
    for port in [21, 22, 23, 80, 443, 8080] {
        desk.event(of(&kinds::PORTSCAN_SYN, "10.0.0.5", port));
        desk.event(of(&kinds::TELNET_CONNECTION, "10.0.0.5", port));
        desk.write();
    }
    assert_eq!(desk.told, [], "it waits a little, for company");
    desk.pass(320);
    let sentence = "10.0.0.5 scanned 6 ports (21, 22, 23, 80, 443, …) of nas-2";
    assert_eq!(desk.sentences(), [(Change::Opened, sentence), (Change::Closed, sentence)]);
    assert_eq!((desk.told[0].rule.as_str(), desk.told[0].count), ("host-scan", 12));
    assert_eq!(desk.rows.len(), 1, "what was never told is gone: {:?}", desk.rows.keys());
}

#[test]
fn a_scan_ties_together_what_was_told_before_it() {
    let mut desk = Desk::new();
    desk.event(login("10.0.0.5", "root", "a"));
    desk.event(of(&kinds::TELNET_CONNECTION, "10.0.0.5", 23));
    desk.pass(5);
    assert_eq!(desk.opened(), 2);
    for port in [80, 81, 82] {
        desk.event(of(&kinds::PORTSCAN_SYN, "10.0.0.5", port));
    }
    desk.event(login_at(&kinds::FTP_LOGIN, 21, "10.0.0.5", "ftp", "x"));
    desk.pass(5);
    let scan =
        "10.0.0.5 scanned 6 ports (22, 23, 80, 81, 82, …) of nas-2 and tried to log in twice as root, ftp";
    let goes_on = "10.0.0.5 connected to Telnet, on nas-2; goes on as incident nas-2-1";
    assert_eq!(desk.sentences()[2..], [(Change::Closed, goes_on), (Change::Updated, scan)]);
    assert_eq!(desk.engine.open(), 1);
}

#[test]
fn the_same_port_of_two_addresses_is_a_scan_of_the_network() {
    let mut desk = Desk::new();
    let probe = |target: &str| {
        let target = Endpoint { host: target.parse().ok(), port: Some(22) };
        Record { target, ..of(&kinds::PORTSCAN_SYN, "10.0.0.5", 22) }
    };
    desk.event(probe("10.0.0.9"));
    desk.event(probe("10.0.0.9"));
    desk.pass(5);
    assert_eq!(desk.told[0].rule, "touch", "one address is no network");
    desk.event(probe("10.0.0.10"));
    desk.pass(1);
    let last = desk.told.last().unwrap();
    assert_eq!((last.rule.as_str(), last.severity), ("network-scan", Severity::High));
    assert_eq!(last.sentence, "10.0.0.5 scanned port 22 on 2 addresses of ours (10.0.0.9, 10.0.0.10)");
}

#[test]
fn one_password_for_many_users_and_many_services_are_sprays() {
    let mut desk = Desk::new();
    for user in ["a", "b", "c", "d", "e"] {
        desk.event(login("10.0.0.5", user, "Winter2026"));
    }
    desk.pass(1);
    assert_eq!(desk.told[0].rule, "spray");
    assert_eq!(
        desk.told[0].sentence,
        "10.0.0.5 sprays 1 password over 5 users on SSH of nas-2 (a, b, c and others)"
    );

    let mut desk = Desk::new();
    for (kind, port) in [(&kinds::SSH_LOGIN, 22), (&kinds::FTP_LOGIN, 21), (&kinds::TELNET_LOGIN, 23)] {
        desk.event(login_at(kind, port, "10.0.0.5", "root", "x"));
        desk.write();
    }
    let last = desk.told.last().unwrap();
    assert_eq!((last.rule.as_str(), last.service.as_str()), ("spray", "several"));
    assert_eq!(
        last.sentence,
        "10.0.0.5 tried to log in on 3 services of nas-2 (SSH, FTP, Telnet): 3 tries for root"
    );
    desk.pass(301);
    assert_eq!(desk.engine.open(), 0);
}

#[test]
fn the_same_credentials_from_many_sources_are_one_incident() {
    let mut desk = Desk::new();
    for number in 1..=12 {
        let source = format!("198.51.100.{number}");
        // A password of its own before.
        desk.event(login(&source, "root", &source));
        desk.event(login(&source, "root", "leaked"));
        desk.write();
    }
    assert_eq!(desk.engine.open(), 1, "what else the sources tried came along");
    desk.pass(301);
    let distributed: Vec<_> = desk.told.iter().filter(|it| it.rule == "distributed").collect();
    assert_eq!(distributed.iter().filter(|it| it.change == Change::Closed).count(), 1);
    let last = distributed.last().unwrap();
    assert!(last.sentence.starts_with("12 sources (198.51.100.1, "), "{}", last.sentence);
    assert!(last.sentence.ends_with("tried the same password for root on SSH of nas-2"), "{}", last.sentence);
    assert_eq!((last.count, last.source), (24, None));
}

#[test]
fn a_flood_of_sources_is_one_incident_and_bounded() {
    let mut desk = Desk::new();
    for number in 0..100_000_u32 {
        let source = std::net::Ipv4Addr::from(0x0b00_0000 + number).to_string();
        desk.event(of(&kinds::TELNET_CONNECTION, &source, 23));
        if number % 1000 == 0 {
            desk.write();
        }
    }
    assert!(desk.engine.open() < 100, "{} are open", desk.engine.open());
    let bait = Record { honeycred: Some(true), ..login("11.0.0.77", "backup", "x") };
    desk.event(bait);
    desk.pass(310);
    let opened: Vec<_> = desk.told.iter().filter(|it| it.change == Change::Opened).collect();
    assert_eq!(opened.len(), 2, "{:#?}", desk.sentences());
    let flood = opened.iter().find(|it| it.rule == "flood").unwrap();
    assert_eq!(flood.count, 100_000);
    assert!(flood.sentence.starts_with("1,000 or more sources (11.0."), "{}", flood.sentence);
    assert!(opened.iter().any(|it| it.intent == Intent::Bait), "bait is never one of many");
    assert!(desk.told.len() < 8 && desk.engine.open() == 0);
}

#[test]
fn too_many_open_incidents_end_the_quietest() {
    let mut desk = Desk::with(Settings { max_open: 3, flood: 0, ..Settings::default() });
    for number in 1..=5 {
        desk.event(login(&format!("10.0.1.{number}"), &format!("u{number}"), "x"));
        desk.pass(1);
    }
    assert_eq!(desk.engine.open(), 3);
    let closed: Vec<_> = desk.told.iter().filter(|it| it.change == Change::Closed).collect();
    assert_eq!(closed.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["nas-2-1", "nas-2-2"]);
    assert!(closed[0].sentence.ends_with("; told no further, since too many incidents are open"));
}

#[test]
fn thresholds_and_ignore_rules_decide_who_is_told() {
    let threshold = Threshold(Intent::Login);
    let thresholds = Thresholds(vec![("telnet".into(), Intent::Connect)]);
    let mut desk = Desk::with(Settings { threshold, thresholds, ..Settings::default() });
    for port in 1..20 {
        desk.event(of(&kinds::PORTSCAN_SYN, "10.0.0.5", port));
    }
    desk.event(of(&kinds::TELNET_CONNECTION, "10.0.0.5", 23));
    desk.pass(5);
    assert_eq!(desk.told.iter().map(|it| it.service.as_str()).collect::<Vec<_>>(), ["telnet"]);

    let mut desk = Desk::new();
    let ignored = |action: &str, source: &str| {
        let mut record = login(source, "root", "x");
        record.add_detail("IGNORED", json!({ "rule": "scanner", "action": action }));
        record.add_detail("LABEL", json!(["nessus"]));
        record
    };
    desk.event(ignored("suppress", "10.0.0.5"));
    desk.event(ignored("lower", "10.0.0.6"));
    desk.event(of(&kinds::BOOT, "10.0.0.7", 1));
    desk.event(of(&kinds::INCIDENT_HIGH, "10.0.0.8", 1));
    desk.pass(5);
    assert_eq!(desk.told.len(), 1);
    assert_eq!(
        (desk.told[0].severity, desk.told[0].labels.as_slice()),
        (Severity::Medium, &["nessus".to_owned()][..])
    );
    assert_eq!(desk.engine.totals().suppressed, 1);
}

#[test]
fn a_self_test_is_no_incident() {
    let mut desk = Desk::new();
    let mut record = login("127.0.0.1", "root", "x");
    record.add_detail(SELFTEST, json!("17"));
    desk.event(record);
    desk.pass(5);
    assert_eq!((desk.told.len(), desk.engine.open(), desk.engine.has_changed()), (0, 0, false));
}

#[test]
fn what_gets_worse_is_told_at_once_and_the_rest_now_and_then() {
    let update_every = Duration::from_mins(1);
    let mut desk = Desk::with(Settings { update_every, brute_force_logins: 0, ..Settings::default() });
    desk.event(of(&kinds::SSH_CONNECTION, "10.0.0.5", 22));
    desk.pass(4);
    desk.event(login("10.0.0.5", "root", "x"));
    desk.pass(1);
    desk.event(Record { honeycred: Some(true), ..login("10.0.0.5", "backup", "y") });
    desk.pass(1);
    assert_eq!(
        desk.told.iter().map(|it| it.intent).collect::<Vec<_>>(),
        [Intent::Connect, Intent::Login, Intent::Bait]
    );
    for _ in 0..150 {
        desk.event(login("10.0.0.5", "root", "x"));
        desk.pass(1);
    }
    assert_eq!(desk.told.len(), 5, "twice in two and a half minutes");
    desk.engine.set(Arc::new(Settings { tell_close: false, ..Settings::default() }), nobody());
    desk.pass(400);
    assert_eq!(desk.engine.open(), 0);
    assert_eq!(desk.told.len(), 5);
}

#[test]
fn a_clock_set_back_neither_opens_twice_nor_keeps_open_for_ever() {
    let mut desk = Desk::new();
    desk.event(login("10.0.0.5", "root", "x"));
    desk.pass(1);
    desk.now -= 86_400 * SECOND;
    desk.event(login("10.0.0.5", "root", "x"));
    desk.pass(1);
    desk.event(login("10.0.0.5", "root", "x"));
    assert_eq!((desk.opened(), desk.engine.open()), (1, 1));
    desk.pass(301);
    assert_eq!((desk.opened(), desk.engine.open()), (1, 0));
}

/// Numbers that look random and are the same in each run. Marsaglia's xorshift64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What a few sources could do: anything.
fn anything(dice: &mut Dice) -> Record {
    let source = format!("10.0.0.{}", dice.below(6) + 1);
    let user = format!("user{}", dice.below(7));
    let password = format!("pw{}", dice.below(4));
    match dice.below(8) {
        0 => of(&kinds::TELNET_CONNECTION, &source, 23),
        1 => of(&kinds::PORTSCAN_SYN, &source, 1 + u16::try_from(dice.below(9)).unwrap()),
        2 => login_at(&kinds::FTP_LOGIN, 21, &source, &user, &password),
        3 => login_at(&kinds::TELNET_LOGIN, 23, &source, &user, &password),
        4 if dice.below(20) == 0 => Record { honeycred: Some(true), ..login(&source, &user, &password) },
        5 => Record { source: Endpoint::default(), ..of(&kinds::HTTP_GET, &source, 80) },
        _ => login(&source, &user, &password),
    }
}

/// One run over the same events; `crashes` at the places that its own dice say.
fn run(seed: u64, crashes: bool) -> Desk {
    let mut desk = Desk::with(Settings { flood: 20, max_open: 8, ..Settings::default() });
    let (mut dice, mut fate) = (Dice(seed), Dice(seed ^ 0x5eed));
    for _ in 0..600 {
        desk.event(anything(&mut dice));
        match dice.below(12) {
            0 => desk.pass(1),
            1 => desk.pass(i64::try_from(dice.below(60)).unwrap()),
            2 if dice.below(8) == 0 => desk.pass(320),
            _ => {}
        }
        // The ticks, and what was told since, are written at the same places in both runs.
        desk.write();
        if crashes && fate.below(5) == 0 {
            desk.crash();
        }
    }
    desk.pass(700);
    desk
}

#[test]
fn a_crash_between_any_two_steps_changes_nothing() {
    for seed in 1..12 {
        let (whole, crashed) = (run(seed, false), run(seed, true));
        assert_eq!(whole.told, crashed.told, "seed {seed}");
        assert_eq!(whole.rows, crashed.rows, "seed {seed}");
    }
}

#[test]
fn every_incident_opens_once_closes_once_and_no_event_is_in_two() {
    for seed in 100..112 {
        let desk = run(seed, true);
        let mut open: BTreeMap<&str, u64> = BTreeMap::new();
        let mut closed = 0;
        for notice in &desk.told {
            match notice.change {
                Change::Opened => assert_eq!(open.insert(&notice.id, notice.count), None, "{notice:?}"),
                Change::Updated => assert!(open.contains_key(&*notice.id), "{notice:?}"),
                Change::Closed => {
                    assert!(open.remove(&*notice.id).is_some(), "{notice:?}");
                    let absorbed = notice.sentence.contains("goes on as incident");
                    closed += if absorbed { 0 } else { notice.count };
                }
            }
        }
        assert!(open.is_empty(), "still open: {open:?}");
        assert_eq!(closed, desk.records.len() as u64, "seed {seed}: every event is in one incident");
        assert_eq!(desk.engine.open(), 0);
    }
}

/// `cargo test --release -p serin what_an_event_costs -- --nocapture` tells the figure of a real build.
#[test]
fn what_an_event_costs() {
    let mut desk = Desk::new();
    let mut dice = Dice(7);
    let records: Vec<Record> = (1..=20_000_u64)
        .map(|seq| Record {
            seq,
            time: Timestamp(START + i64::try_from(seq).unwrap() * 1000),
            ..anything(&mut dice)
        })
        .collect();
    let began = std::time::Instant::now();
    for page in records.chunks(100) {
        for record in page {
            desk.engine.take(record);
        }
        drop(desk.engine.step(false));
    }
    let each = began.elapsed() / 20_000;
    println!("an event costs {each:?}");
    assert!(each < Duration::from_millis(1), "{each:?}");
}
