//! How much an append costs: `cargo run --release -p serin-store --example append [EVENTS]`.
//!
//! Prints events per second, CPU per event (user and system, of this process), how long appends took, and
//! the bytes that an event needs.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serin_event::{Endpoint, Kind, Record, Timestamp, kinds};
use serin_store::{Durability, Options, Query, Reader, Retention, RollupQuery, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let events: u64 = std::env::args().nth(1).map_or(Ok(200_000), |it| it.parse())?;
    for durability in [Durability::Full, Durability::Normal] {
        for batch in [1, 10, 100, 1000] {
            let events = events.min(batch * 2_000);
            let directory = tempfile::tempdir_in(std::env::current_dir()?)?;
            let options = Options { durability, ..Options::new(directory.path().join("serin.db")) };
            append(&options, events, batch)?;
        }
    }
    let directory = tempfile::tempdir_in(std::env::current_dir()?)?;
    let options = Options::new(directory.path().join("serin.db"));
    append(&options, events * 5, 1000)?;
    read(&options)?;
    forget(&options)
}

fn append(options: &Options, events: u64, batch: u64) -> Result<(), Box<dyn std::error::Error>> {
    let (mut store, _) = Store::open(options)?;
    let mut noise = 88_172_645_463_325_252;
    let mut took = Vec::new();
    let (started, cpu) = (Instant::now(), cpu_ticks()?);
    let mut making = Duration::ZERO;
    for first in (0..events).step_by(usize::try_from(batch)?) {
        let made = Instant::now();
        let mut records: Vec<_> = (first..first + batch).map(|n| record(n, &mut noise)).collect();
        making += made.elapsed();
        let appended = Instant::now();
        store.append(&mut records, &[])?;
        took.push(appended.elapsed());
    }
    let elapsed = started.elapsed().saturating_sub(making);
    // A tick is 10 ms on Linux. What making the records costs is taken out.
    let cpu = Duration::from_millis((cpu_ticks()? - cpu) * 10).saturating_sub(making);
    took.sort_unstable();
    let stats = Reader::open(&options.path)?.stats()?;
    println!(
        "{:?}, batches of {batch}: {events} events, {:.0}/s, {:.1} µs CPU each; append p50 {:?} p99 {:?} max {:?}; {} bytes each",
        options.durability,
        per(events, elapsed.as_secs_f64()),
        cpu.as_secs_f64() * 1e6 / per(events, 1.0),
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        took[took.len() - 1],
        stats.bytes / stats.events,
    );
    Ok(())
}

fn read(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let reader = Reader::open(&options.path)?;
    let page = Query { newest_first: true, limit: 50, ..Query::default() };
    let source: IpAddr = "10.0.0.7".parse()?;
    let middle = reader.stats()?.newest.map(|it| Timestamp(it.1.0 - 60_000_000));
    let questions = [
        ("the newest page", page.clone()),
        ("of one source", Query { sources: vec![source.into()], ..page.clone() }),
        ("of a frequent kind", Query { kinds: vec!["ftp.login".into()], ..page.clone() }),
        ("of a rare kind", Query { kinds: vec!["git.clone".into()], ..page.clone() }),
        ("severe", Query { min_severity: Some(serin_event::Severity::Critical), ..page.clone() }),
        ("in the last minute", Query { since: middle, ..page.clone() }),
        ("with a text that is not there", Query { text: Some("not there".into()), ..page }),
    ];
    for (what, query) in questions {
        let started = Instant::now();
        let found = reader.query(&query)?.len();
        println!("query {what}: {found} in {:?}", started.elapsed());
    }
    let started = Instant::now();
    let top = RollupQuery { by_source: true, top: Some(10), ..RollupQuery::default() };
    println!("top sources: {} in {:?}", reader.rollups(&top)?.len(), started.elapsed());
    let started = Instant::now();
    let (mut seq, mut seen) = (0, 0);
    loop {
        let found = reader.after(seq, 1000)?;
        let Some(last) = found.last() else { break };
        seq = last.seq;
        seen += found.len() as u64;
    }
    println!("read all in order: {:.0}/s", per(seen, started.elapsed().as_secs_f64()));
    Ok(())
}

fn forget(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let started = Instant::now();
    let (mut store, opened) = Store::open(options)?;
    println!("opened in {:?}: {:?}", started.elapsed(), opened.found);
    let half = Reader::open(&options.path)?.stats()?.bytes / 2;
    let retention = Retention { keep: Duration::MAX, keep_counts: Duration::MAX, max_bytes: half };
    let (started, mut took, mut events) = (Instant::now(), Vec::new(), 0);
    loop {
        let step = Instant::now();
        let done = store.retain(&retention, Timestamp(0), 0)?;
        took.push(step.elapsed());
        events += done.events;
        if !done.more {
            break;
        }
    }
    took.sort_unstable();
    println!(
        "forgot {events} in {:?}, {} steps: p50 {:?} p99 {:?} max {:?}",
        started.elapsed(),
        took.len(),
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        took[took.len() - 1]
    );
    Ok(())
}

/// Like an evening under attack: few kinds, some hundred sources with a few frequent ones.
fn record(n: u64, noise: &mut u64) -> Record {
    *noise ^= *noise << 13;
    *noise ^= *noise >> 7;
    *noise ^= *noise << 17;
    let kinds: [&'static Kind; 4] =
        [&kinds::FTP_LOGIN, &kinds::TELNET_LOGIN, &kinds::HTTP_GET, &kinds::CONNECTION_TOUCHED];
    let kind = if n % 50_000 == 49_999 { &kinds::GIT_CLONE } else { kinds[(*noise % 4) as usize] };
    let host = if noise.is_multiple_of(3) { 7 } else { *noise / 7 % 500 };
    Record {
        seq: 0,
        time: Timestamp(1_795_296_991_777_389 + n.cast_signed() * 1_000),
        utc_offset: 3_600,
        node_id: "opencanary-1".into(),
        session: n,
        kind,
        source: Endpoint {
            host: format!("10.0.{}.{}", host / 250, host % 250).parse().ok(),
            port: Some(42_350),
        },
        target: Endpoint { host: "192.168.1.20".parse().ok(), port: Some(21) },
        honeycred: n.is_multiple_of(10_000).then_some(true),
        logdata: format!("{{\"PASSWORD\": \"{:x}\", \"USERNAME\": \"admin{}\"}}", *noise, n % 100).into(),
        details: if n.is_multiple_of(2) { "{}" } else { "{\"COMMANDS\": [\"USER\", \"PASS\"]}" }.into(),
    }
}

/// Clock ticks of user and system time. proc(5), fields 14 and 15.
fn cpu_ticks() -> Result<u64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |field: usize| after_name.split_whitespace().nth(field - 3).unwrap_or("0").parse::<u64>();
    Ok(ticks(14)? + ticks(15)?)
}

#[allow(clippy::cast_precision_loss, reason = "counts of events are far below 2^52")]
fn per(events: u64, seconds: f64) -> f64 {
    events as f64 / seconds
}
