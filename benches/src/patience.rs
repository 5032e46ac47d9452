//! Clients that wear a server out: silent ones, slow ones, and one that never comes to an end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::dialogues::connect;
use crate::{Endless, Idle, Slow, process};

/// Opens connections, says nothing, and counts those that the server gave up.
pub(crate) async fn idle(idle: &Idle) -> Result<Value> {
    let before = process::resident(idle.pid).context("no such process")?;
    let began = Instant::now();
    let mut held = Vec::new();
    let mut refused = 0;
    for nth in 0..idle.connections {
        let opening = connect(idle.target, nth, idle.sources);
        match tokio::time::timeout(Duration::from_secs(5), opening).await {
            Ok(Ok(stream)) => held.push(stream),
            _ => refused += 1,
        }
    }
    let opened_in = began.elapsed();
    tokio::time::sleep(Duration::from_secs(idle.hold)).await;
    let after = process::resident(idle.pid).context("the process has ended")?;
    let dropped = held.iter().filter(|it| has_ended(it)).count();
    Ok(json!({
        "connections": idle.connections,
        "held": held.len(),
        "refused": refused,
        "dropped": dropped,
        "opened_in_seconds": opened_in.as_secs_f64(),
        "resident_before_kib": before / 1024,
        "resident_after_kib": after / 1024,
        "bytes_each": after.saturating_sub(before) / u64::try_from(held.len().max(1))?,
    }))
}

/// Whether the server has hung up; what it said before is taken in.
pub(crate) fn has_ended(stream: &TcpStream) -> bool {
    let mut greeting = [0; 4096];
    loop {
        match stream.try_read(&mut greeting) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

/// One byte a second from each client, none of which ends a line.
pub(crate) async fn slow(slow: &Slow) -> Result<Value> {
    let mut clients = JoinSet::new();
    for _ in 0..slow.clients {
        clients.spawn(one_byte_a_second(slow.target, slow.seconds));
    }
    let mut ended: Vec<f64> = Vec::new();
    let mut held_on = 0;
    while let Some(client) = clients.join_next().await {
        match client?? {
            Some(time) => ended.push((time.as_secs_f64() * 10.0).round() / 10.0),
            None => held_on += 1,
        }
    }
    ended.sort_unstable_by(f64::total_cmp);
    Ok(json!({
        "clients": slow.clients,
        "hung_up_on": ended.len(),
        "still_held_at_the_end": held_on,
        "first_after_seconds": ended.first(),
        "last_after_seconds": ended.last(),
    }))
}

/// When the server hung up; `None` when it still had not.
async fn one_byte_a_second(target: SocketAddr, seconds: u64) -> Result<Option<Duration>> {
    let mut stream = TcpStream::connect(target).await?;
    let began = Instant::now();
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if stream.write_all(b"x").await.is_err() || has_ended(&stream) {
            return Ok(Some(began.elapsed()));
        }
    }
    Ok(None)
}

/// A line without an end, as fast as the server takes it.
pub(crate) async fn endless(endless: &Endless) -> Result<Value> {
    let limit = endless.mebibytes * 1024 * 1024;
    let mut stream = TcpStream::connect(endless.target).await?;
    let began = Instant::now();
    let chunk = vec![b'A'; 16 * 1024];
    let mut sent = 0_u64;
    let mut hung_up = false;
    while sent < limit && !hung_up {
        match tokio::time::timeout(Duration::from_secs(10), stream.write(&chunk)).await {
            Ok(Ok(count)) => sent += u64::try_from(count)?,
            Ok(Err(_)) => hung_up = true,
            // Neither taken nor refused: the server holds on without reading.
            Err(_) => break,
        }
    }
    if !hung_up {
        let mut rest = [0; 512];
        let end = tokio::time::timeout(Duration::from_secs(2), stream.read(&mut rest)).await;
        hung_up = matches!(end, Ok(Ok(0) | Err(_)));
    }
    Ok(json!({ "bytes_sent": sent, "hung_up_on": hung_up, "seconds": began.elapsed().as_secs_f64() }))
}
