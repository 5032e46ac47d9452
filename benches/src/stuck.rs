//! SSH clients that stop in the middle: after connecting, after their identification, after their
//! KEXINIT, or with keys agreed on and nothing said since.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::dialogues::connect;
use crate::patience::has_ended;
use crate::ssh::{KEX_ECDH_REPLY, KEXINIT, Peer, ecdh_init, kexinit};
use crate::{Stage, Stuck, process};

/// Clients that go on at the same time while they still move.
const MOVING: usize = 64;

/// Brings clients so far, holds them there, and measures what each costs the server.
pub(crate) async fn stuck(stuck: &Stuck) -> Result<Value> {
    let memory_before = process::resident(stuck.pid).context("no such process")?;
    let cpu_before = process::cpu_time(stuck.pid).context("no such process")?;
    let began = Instant::now();
    let (mut held, mut failed, mut first_failure) = (Vec::new(), 0, None);
    let mut moving = JoinSet::new();
    let mut next = 0;
    while next < stuck.connections || !moving.is_empty() {
        while moving.len() < MOVING && next < stuck.connections {
            let (target, sources, stage, nth) = (stuck.target, stuck.sources, stuck.stage, next);
            moving.spawn(async move {
                let advance = async { advance(connect(target, nth, sources).await?, stage).await };
                tokio::time::timeout(Duration::from_secs(10), advance).await?
            });
            next += 1;
        }
        match moving.join_next().await {
            Some(Ok(Ok(stream))) => held.push(stream),
            Some(Ok(Err(error))) => {
                failed += 1;
                first_failure.get_or_insert_with(|| format!("{error:#}"));
            }
            Some(Err(error)) => bail!(error),
            None => {}
        }
    }
    let moved_in = began.elapsed();
    tokio::time::sleep(Duration::from_secs(stuck.hold)).await;
    let memory = process::resident(stuck.pid).context("the process has ended")?;
    let cpu = process::cpu_time(stuck.pid).context("the process has ended")?;
    let count = u64::try_from(held.len().max(1))?;
    Ok(json!({
        "stage": format!("{:?}", stuck.stage).to_lowercase(),
        "connections": stuck.connections,
        "held": held.len(),
        "failed": failed,
        "first_failure": first_failure,
        "dropped": held.iter().filter(|it| has_ended(it)).count(),
        "seconds": (moved_in.as_secs_f64() * 100.0).round() / 100.0,
        "resident_before_kib": memory_before / 1024,
        "resident_kib": memory / 1024,
        "bytes_each": memory.saturating_sub(memory_before) / count,
        "cpu_us_each": u64::try_from(cpu.saturating_sub(cpu_before).as_micros())? / count,
    }))
}

/// Goes as far as asked, and no step further.
async fn advance(stream: TcpStream, stage: Stage) -> Result<TcpStream> {
    let mut peer = Peer::new(stream);
    if stage >= Stage::Identified {
        peer.introduce().await?;
        peer.expect(KEXINIT).await?;
    }
    if stage >= Stage::Kexinit {
        peer.send(&kexinit()).await?;
    }
    if stage >= Stage::Exchanged {
        // The base point is a public key like any other. RFC 7748 section 4.1.
        let mut point = [0; 32];
        point[0] = 9;
        peer.send(&ecdh_init(&point)).await?;
        peer.expect(KEX_ECDH_REPLY).await?;
    }
    Ok(peer.into_stream())
}
