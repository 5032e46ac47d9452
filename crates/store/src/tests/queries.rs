//! Questions get the answer that a look at every record gives.

use std::net::IpAddr;

use serin_event::{Endpoint, Intent, Kind, Record, Severity, Timestamp, kinds};

use super::{Dice, NOW, record, store};
use crate::{IpNet, Query, Reader, RollupQuery, RollupSource};

const SOURCES: [&str; 6] = ["10.0.0.1", "10.0.0.2", "10.1.2.3", "192.0.2.7", "2001:db8::1", "2001:db8::2"];

fn random_record(dice: &mut Dice, n: i64) -> Record {
    let hosts: Vec<Option<IpAddr>> = SOURCES.iter().map(|it| it.parse().ok()).chain([None]).collect();
    let logdata =
        ["{\"USERNAME\": \"root\"}", "{\"USERNAME\": \"R\\u00f6\\\"t_100%\"}", "{\"msg\": null}", "{}"];
    // The clock is set back twice: by an hour after 1,200, by a day after 2,400.
    let back = [0, 3_600, 90_000][usize::try_from(n / 1_200).unwrap()];
    Record {
        time: Timestamp(NOW + (n * 7 - back) * 1_000_000),
        kind: dice.one_of(kinds::ALL),
        source: Endpoint { host: dice.one_of(&hosts), port: Some(1) },
        target: Endpoint { host: None, port: dice.one_of(&[Some(21), Some(22), Some(80), None]) },
        session: dice.below(5),
        honeycred: dice.one_of(&[None, None, None, Some(false), Some(true)]),
        logdata: dice.one_of(&logdata).into(),
        details: dice.one_of(&["{}", "{\"JA3\": \"Root\"}"]).into(),
        ..record(n)
    }
}

fn random_query(dice: &mut Dice) -> Query {
    let mut query = Query { limit: dice.one_of(&[1, 7, 100, 10_000]), ..Query::default() };
    query.newest_first = dice.below(2) == 0;
    let names: Vec<&Kind> = kinds::ALL.to_vec();
    // Each filter with one chance in six, so that most questions have one to three.
    let mut maybe = |set: &mut dyn FnMut(&mut Dice)| {
        if dice.below(6) == 0 {
            set(dice);
        }
    };
    let time =
        |dice: &mut Dice| Some(Timestamp(NOW - 100_000_000_000 + dice.below(130_000_000_000).cast_signed()));
    maybe(&mut |dice| query.since = time(dice));
    maybe(&mut |dice| query.until = time(dice));
    maybe(&mut |dice| {
        for _ in 0..=dice.below(3) {
            let nets = [
                "10.0.0.1/32",
                "10.0.0.99/24",
                "10.0.0.0/8",
                "0.0.0.0/0",
                "2001:db8::1/128",
                "2001:db8::/64",
                "::/0",
            ];
            query.sources.push(dice.one_of(&nets).parse().unwrap());
        }
    });
    maybe(&mut |dice| query.services = vec![dice.one_of(&names).service.to_owned(), "ftp".to_owned()]);
    maybe(&mut |dice| {
        query.kinds = (0..=dice.below(40)).map(|_| dice.one_of(&names).name.to_owned()).collect();
    });
    maybe(&mut |dice| query.logtypes = vec![dice.one_of(&names).logtype, 20001]);
    maybe(&mut |dice| query.target_ports = dice.one_of(&[vec![22], vec![21, 80]]));
    maybe(&mut |dice| query.session = Some(dice.below(6)));
    maybe(&mut |dice| query.honeycred = Some(dice.below(2) == 0));
    maybe(&mut |dice| {
        query.min_severity = Some(dice.one_of(&[
            Severity::Informational,
            Severity::Medium,
            Severity::High,
            Severity::Critical,
        ]));
    });
    maybe(&mut |dice| {
        query.min_intent =
            Some(dice.one_of(&[Intent::Housekeeping, Intent::Interact, Intent::Login, Intent::Bait]));
    });
    maybe(&mut |dice| {
        query.text = Some(dice.one_of(&["root", "ö", "\"t_", "_", "100%", "{}", "nothing here"]).to_owned());
    });
    maybe(&mut |dice| query.after = Some(dice.below(3_700)));
    maybe(&mut |dice| query.before = Some(dice.below(3_700)));
    query
}

#[test]
fn the_store_answers_as_a_look_at_every_record_does() {
    let (_directory, options, mut store) = store();
    let mut dice = Dice(0x5e_71_17);
    let mut all: Vec<Record> = (0..3_600).map(|n| random_record(&mut dice, n)).collect();
    for batch in all.chunks_mut(113) {
        store.append(batch, &[]).unwrap();
    }
    let reader = Reader::open(&options.path).unwrap();
    let mut answered = 0;
    for _ in 0..600 {
        let query = random_query(&mut dice);
        let meant: Vec<&Record> = all.iter().filter(|it| query.matches(it)).collect();
        assert_eq!(
            reader.count(&query).unwrap_or_else(|it| panic!("{it}: {query:?}")),
            meant.len() as u64,
            "{query:?}"
        );
        let mut expected: Vec<u64> = meant.iter().map(|it| it.seq).collect();
        if query.newest_first {
            expected.reverse();
        }
        expected.truncate(query.limit);
        let found = reader.query(&query).unwrap();
        assert_eq!(found.iter().map(|it| it.seq).collect::<Vec<_>>(), expected, "{query:?}");
        answered += usize::from(!expected.is_empty());
    }
    assert!(answered > 300, "most questions have an answer, else they test little: {answered}");
}

/// [`Query::matches`] is the yardstick above, so it is held against plain facts here.
#[test]
fn each_filter_means_what_it_says() {
    let ftp = Record { seq: 5, ..record(0) };
    let bait = Record { honeycred: Some(true), kind: &kinds::FTP_AUTH_INITIATED, ..ftp.clone() };
    let net = |text: &str| vec![text.parse::<IpNet>().unwrap()];
    let all = Query::default;
    let right = [
        all(),
        Query { since: Some(Timestamp(NOW)), ..all() },
        Query { until: Some(Timestamp(NOW + 1)), ..all() },
        Query { sources: net("192.0.2.0/24"), ..all() },
        Query { services: vec!["ftp".into()], ..all() },
        Query { kinds: vec!["ftp.login".into()], ..all() },
        Query { logtypes: vec![1, 2000], ..all() },
        Query { target_ports: vec![21], ..all() },
        Query { session: Some(0), ..all() },
        Query { min_severity: Some(Severity::High), ..all() },
        Query { min_intent: Some(Intent::Login), ..all() },
        Query { text: Some("ROOT".into()), ..all() },
        Query { after: Some(4), before: Some(6), ..all() },
    ];
    for query in right {
        assert!(query.matches(&ftp), "{query:?}");
    }
    let wrong = [
        Query { since: Some(Timestamp(NOW + 1)), ..all() },
        Query { until: Some(Timestamp(NOW)), ..all() },
        Query { sources: net("192.0.3.0/24"), ..all() },
        Query { services: vec!["ssh".into()], ..all() },
        Query { kinds: vec!["ftp".into()], ..all() },
        Query { logtypes: vec![1], ..all() },
        Query { target_ports: vec![22], ..all() },
        Query { session: Some(1), ..all() },
        Query { honeycred: Some(false), ..all() },
        Query { min_severity: Some(Severity::Critical), ..all() },
        Query { min_intent: Some(Intent::Bait), ..all() },
        Query { text: Some("toor".into()), ..all() },
        Query { after: Some(5), ..all() },
        Query { before: Some(5), ..all() },
    ];
    for query in wrong {
        assert!(!query.matches(&ftp), "{query:?}");
    }
    assert!(
        Query { min_severity: Some(Severity::Critical), min_intent: Some(Intent::Bait), ..all() }
            .matches(&bait)
    );
}

#[test]
fn counts_by_hour_are_those_of_the_events() {
    let (_directory, options, mut store) = store();
    let mut dice = Dice(77);
    let mut all: Vec<Record> = (0..2_000).map(|n| random_record(&mut dice, n)).collect();
    for batch in all.chunks_mut(300) {
        store.append(batch, &[]).unwrap();
    }
    let reader = Reader::open(&options.path).unwrap();
    let total = reader.rollups(&RollupQuery::default()).unwrap();
    assert_eq!(total.len(), 1);
    assert_eq!(total[0].count, 2_000);
    assert_eq!(Some(total[0].first), all.iter().map(|it| it.time).min());
    assert_eq!(Some(total[0].last), all.iter().map(|it| it.time).max());

    let per_source = RollupQuery { by_source: true, top: Some(3), ..RollupQuery::default() };
    for row in reader.rollups(&per_source).unwrap() {
        let host = match row.source.unwrap() {
            RollupSource::Host(host) => Some(host),
            RollupSource::None => None,
            RollupSource::Others => panic!("there are few sources"),
        };
        assert_eq!(row.count, all.iter().filter(|it| it.source.host == host).count() as u64);
    }

    let hour = |it: &Record| it.time.0.div_euclid(3_600_000_000) * 3_600_000_000;
    let query = RollupQuery {
        since: Some(Timestamp(NOW + 3_700_000_000)),
        kinds: vec!["ftp.login".into(), "http.get".into()],
        by_hour: true,
        by_kind: true,
        ..RollupQuery::default()
    };
    let rows = reader.rollups(&query).unwrap();
    assert!(rows.len() >= 4 && rows.is_sorted_by_key(|it| it.hour));
    for row in rows {
        assert!(row.hour >= Some(Timestamp(NOW + 3_600_000_000)));
        let same = |it: &&Record| Some(Timestamp(hour(it))) == row.hour && Some(it.kind) == row.kind;
        assert_eq!(row.count, all.iter().filter(same).count() as u64);
    }
    let none = RollupQuery { since: Some(Timestamp(i64::MAX)), ..RollupQuery::default() };
    assert_eq!(reader.rollups(&none).unwrap(), []);
}

#[test]
fn forged_sources_cannot_fill_an_hour() {
    let (_directory, options, mut store) = store();
    let flood = |n: i64| Record {
        source: Endpoint { host: Some(IpAddr::from(u32::try_from(n).unwrap().to_be_bytes())), port: None },
        time: Timestamp(NOW),
        ..record(n)
    };
    // Two batches, and a new process between them, so that the count is taken up again.
    store.append(&mut (0..30).map(flood).collect::<Vec<_>>(), &[]).unwrap();
    drop(store);
    let (mut store, _) = crate::Store::open(&options).unwrap();
    store.append(&mut (20..1_000).map(flood).collect::<Vec<_>>(), &[]).unwrap();
    let reader = Reader::open(&options.path).unwrap();
    let rows = reader.rollups(&RollupQuery { by_source: true, ..RollupQuery::default() }).unwrap();
    assert_eq!(rows.len(), 51, "50 sources and the others");
    let others = rows.iter().find(|it| it.source == Some(RollupSource::Others)).unwrap();
    assert_eq!(others.count, 950);
    assert_eq!(rows.iter().map(|it| it.count).sum::<u64>(), 1_010);
}
