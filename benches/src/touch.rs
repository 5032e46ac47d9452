//! Clients that connect, say nothing and leave: each is one event, or one in the count of a flood.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::task::LocalSet;

use crate::dialogues::connect;
use crate::{Touch, process};

pub(crate) async fn run(touch: Touch) -> Result<Value> {
    let size = usize::try_from(fs::metadata(&touch.check).context("no log")?.len())?;
    let cpu_before = process::cpu_time(touch.pid).context("no such process")?;
    let began = Instant::now();
    let touch = Rc::new(touch);
    let (next, connected) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0_u64)));
    let clients = LocalSet::new();
    for _ in 0..touch.clients {
        let (touch, next, connected) = (touch.clone(), next.clone(), connected.clone());
        clients.spawn_local(async move {
            while next.get() < touch.count {
                let nth = next.replace(next.get() + 1);
                let opening = connect(touch.target, nth, touch.sources);
                if matches!(tokio::time::timeout(PATIENCE, opening).await, Ok(Ok(_))) {
                    connected.set(connected.get() + 1);
                }
            }
        });
    }
    clients.await;
    let took = began.elapsed();
    let connected = connected.get();
    let counted = settle(&touch.check, size, touch.event, connected).await?;
    let cpu = process::cpu_time(touch.pid).context("the process has ended")?.saturating_sub(cpu_before);
    let each = u32::try_from(connected.max(1))?;
    Ok(json!({
        "connections": touch.count,
        "connected": connected,
        "events": counted.events,
        "aggregated": counted.aggregated,
        "aggregated_in": counted.floods,
        "missing": i64::try_from(connected)? - i64::try_from(counted.events + counted.aggregated)?,
        "connections_per_second": (f64::from(each) / took.as_secs_f64()).round(),
        "cpu_us_per_connection": (cpu.as_secs_f64() * 1e6 / f64::from(each)).round(),
    }))
}

/// What the log says of a flood.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    /// Events of connections, one each.
    events: u64,
    /// Events that tell of many.
    floods: u64,
    /// As many as those tell of.
    aggregated: u64,
}

/// Reads the log from byte `start` on until it tells of all connections, or has not grown for three
/// seconds.
async fn settle(log: &Path, start: usize, event: u32, connected: u64) -> Result<Counted> {
    let (mut size, mut grown) = (0, Instant::now());
    loop {
        let text = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
        let counted = count(&String::from_utf8_lossy(text.get(start..).unwrap_or_default()), event);
        if text.len() > size {
            (size, grown) = (text.len(), Instant::now());
        }
        if counted.events + counted.aggregated >= connected || grown.elapsed() > PATIENCE {
            return Ok(counted);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn count(log: &str, event: u32) -> Counted {
    let mut counted = Counted::default();
    for line in log.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let logtype = line["logtype"].as_u64();
        if logtype == Some(event.into()) {
            counted.events += 1;
        } else if logtype == Some(FLOOD) {
            counted.floods += 1;
            counted.aggregated += line["logdata"]["COUNT"].as_u64().unwrap_or(0);
        }
    }
    counted
}

/// `connection.flood`.
const FLOOD: u64 = 21_003;
const PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_themselves_and_together() {
        let log = "{\"logtype\": 4000}\n{\"logtype\": 21003, \"logdata\": {\"COUNT\": 7}}\n{\"logtype\": 4000}\n{\"log";
        assert_eq!(count(log, 4000), Counted { events: 2, floods: 1, aggregated: 7 });
    }
}
