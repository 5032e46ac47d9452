//! How long a service that speaks first takes from the connection to its first word, one client after
//! the other: what an attacker would notice of an output that is in trouble.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Greeting;

pub(crate) async fn run(greeting: &Greeting) -> Result<Value> {
    let mut took = Vec::new();
    for _ in 0..greeting.count {
        let began = Instant::now();
        let mut word = [0; 64];
        let heard = async {
            let mut stream = TcpStream::connect(greeting.target).await?;
            stream.read(&mut word).await
        };
        let length = timeout(PATIENCE, heard).await.context("no greeting in ten seconds")??;
        ensure!(length > 0, "the service hung up instead of greeting");
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let quantile = |permille: usize| {
        let at = took.len().saturating_sub(1) * permille / 1000;
        took.get(at).map(|it| (it.as_secs_f64() * 1e6).round())
    };
    Ok(json!({ "greetings": took.len(), "p50_us": quantile(500), "p99_us": quantile(990),
        "max_us": quantile(1000) }))
}

const PATIENCE: Duration = Duration::from_secs(10);
