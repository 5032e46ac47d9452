//! SSH clients that stop in the middle: after connecting, after their identification, after their
//! KEXINIT, in a packet, or with keys agreed on and nothing said since.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use serin_services::ssh::client::{Heard, Offer};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::dialogues::connect;
use crate::patience::has_ended;
use crate::ssh::{Talk, offer};
use crate::{Stage, Stuck, process};

/// Clients that go on at the same time while they still move.
const MOVING: usize = 64;

/// Brings clients so far, holds them there, and measures what each costs the server.
pub(crate) async fn stuck(stuck: &Stuck) -> Result<Value> {
    let memory_before = process::resident(stuck.pid).context("no such process")?;
    let cpu_before = process::cpu_time(stuck.pid).context("no such process")?;
    let offer = Offer { eager: true, ..offer(&stuck.algorithms) };
    let began = Instant::now();
    let (mut held, mut failed, mut first_failure) = (Vec::new(), 0, None);
    let mut moving = JoinSet::new();
    let mut next = 0;
    while next < stuck.connections || !moving.is_empty() {
        while moving.len() < MOVING && next < stuck.connections {
            let (target, sources, stage, nth) = (stuck.target, stuck.sources, stuck.stage, next);
            let offer = offer.clone();
            moving.spawn(async move {
                let advance =
                    async { advance(connect(target, nth, sources).await?, stage, nth, &offer).await };
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

/// Goes as far as asked, and no step further. The server has taken in what was said, but for half a
/// packet.
async fn advance(stream: TcpStream, stage: Stage, nth: u32, offer: &Offer) -> Result<TcpStream> {
    if stage == Stage::Connected {
        return Ok(stream);
    }
    let mut talk = Talk::new(stream, &format!("stuck-{nth}"), offer);
    match stage {
        Stage::Connected | Stage::Identified | Stage::Halfpacket => {
            let end = talk.out.iter().position(|&it| it == b'\n').map_or(0, |it| it + 1);
            talk.out.truncate(end);
            talk.until(|it| matches!(it, Heard::Identification(_))).await?;
        }
        // What would follow is left unsaid.
        Stage::Kexinit => talk.until(|it| matches!(it, Heard::Identification(_))).await?,
        Stage::Exchanged => {
            // First there is its public value to say, then NEWKEYS, which is left unsaid.
            for _ in 0..2 {
                talk.exchange().await?;
                while talk.out.is_empty() {
                    talk.exchange().await?;
                }
            }
        }
        Stage::Secured => talk.ask_for_authentication().await?,
    }
    if stage == Stage::Halfpacket {
        talk.out = (LONGEST - 4).to_be_bytes().to_vec();
        talk.out.resize(usize::try_from(LONGEST / 2)?, 0);
        talk.say().await?;
    }
    Ok(talk.stream)
}

/// Bytes of the longest packet that OpenSSH takes, with its length.
const LONGEST: u32 = 256 * 1024;
