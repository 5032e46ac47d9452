//! Many clients at once, each with a marker of its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::task::LocalSet;

use crate::check::{Counted, settle};
use crate::dialogues::{Means, connect, play};
use crate::{Load, Service, process, ssh, tls};

/// What became of the logins so far.
#[derive(Debug, Default)]
struct Tally {
    next: u32,
    completed: Vec<u32>,
    latencies: Vec<Duration>,
    refused: usize,
    failed: usize,
    timeouts: usize,
    /// The first failure, in words.
    example: Option<String>,
}

pub(crate) async fn run(load: Load) -> Result<Value> {
    let means = Rc::new(Means { tls: tls::connector()?, ssh: ssh::offer(&load.algorithms) });
    let load = Rc::new(load);
    let tally = Rc::new(RefCell::new(Tally::default()));
    let cpu_before = load.pid.and_then(process::cpu_time);
    let began = Instant::now();
    let clients = LocalSet::new();
    for nth in 0..load.clients {
        clients.spawn_local(client(nth, load.clone(), means.clone(), tally.clone()));
    }
    clients.await;
    let took = began.elapsed();
    let tally = tally.take();
    let counted = match &load.check {
        Some(log) => Some(settle(log, &load.run, &tally.completed).await?),
        None => None,
    };
    let cpu = load
        .pid
        .and_then(process::cpu_time)
        .zip(cpu_before)
        .map(|(after, before)| after.saturating_sub(before));
    Ok(report(&load, tally, took, cpu, counted.as_ref()))
}

async fn client(nth: u32, load: Rc<Load>, means: Rc<Means>, tally: Rc<RefCell<Tally>>) {
    loop {
        let number = tally.borrow().next;
        if number == load.count {
            return;
        }
        tally.borrow_mut().next += 1;
        let began = Instant::now();
        let patience = Duration::from_secs(load.patience);
        let marker = format!("{}-{number}", load.run);
        let attempt = async {
            let stream =
                connect(load.target, nth, load.sources).await.map_err(|error| (true, error.into()))?;
            play(load.service, stream, &marker, &means).await.map_err(|error| (false, error))
        };
        let outcome: Result<_, _> = tokio::time::timeout(patience, attempt).await;
        let mut tally = tally.borrow_mut();
        match outcome {
            Ok(Ok(())) => {
                tally.completed.push(number);
                tally.latencies.push(began.elapsed());
            }
            Ok(Err((refused, error))) => {
                if refused {
                    tally.refused += 1;
                } else {
                    tally.failed += 1;
                }
                let error: anyhow::Error = error;
                tally.example.get_or_insert_with(|| format!("{error:#}"));
            }
            Err(_) => tally.timeouts += 1,
        }
    }
}

fn report(
    load: &Load,
    mut tally: Tally,
    took: Duration,
    cpu: Option<Duration>,
    counted: Option<&Counted>,
) -> Value {
    tally.latencies.sort_unstable();
    let quantile = |share: f64| {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in a list of at most a million"
        )]
        let at = (tally.latencies.len() as f64 * share) as usize;
        tally.latencies.get(at.min(tally.latencies.len().saturating_sub(1))).map(|it| millis(*it))
    };
    let logins = u32::try_from(tally.completed.len()).unwrap_or(u32::MAX);
    let mut service = format!("{:?}", load.service).to_lowercase();
    if load.service == Service::Ssh {
        service = format!("{service}, {}, {}", load.algorithms.kex, load.algorithms.cipher);
    }
    json!({
        "service": service,
        "clients": load.clients,
        "played": load.count,
        "completed": logins,
        "refused": tally.refused,
        "failed": tally.failed,
        "timeouts": tally.timeouts,
        "lost": counted.map(|it| it.lost),
        "duplicates": counted.map(|it| it.duplicates),
        "seconds": (took.as_secs_f64() * 100.0).round() / 100.0,
        "logins_per_second": (f64::from(logins) / took.as_secs_f64()).round(),
        "p50_ms": quantile(0.5),
        "p99_ms": quantile(0.99),
        "cpu_us_per_login": cpu.map(|it| (it.as_secs_f64() * 1e6 / f64::from(logins.max(1))).round()),
        "resident_kib": load.pid.and_then(process::resident).map(|it| it / 1024),
        "first_failure": tally.example,
    })
}

/// Milliseconds with two decimals.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}
