//! The load tool: plays clients at a sensor and says what became of each.
//!
//! `load` plays whole logins with a marker of their own each, and counts the markers in the log
//! afterwards; `greeting` is how long a service takes to say its first word meanwhile; `minimal` is the yardstick, the least that a tokio program can do for the same
//! dialogue; `idle`, `slow` and `endless` are the clients that wear a server out, as `stuck`, `touch`
//! and `wear` are for SSH. Everything is bounded in count and time, and nothing but a loopback address
//! is ever a target.

mod check;
mod dialogues;
mod greeting;
mod load;
mod minimal;
mod patience;
mod process;
mod ssh;
mod stuck;
mod tls;
mod touch;
mod wear;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Plays clients at a sensor on this machine and says what became of each.
#[derive(Debug, Parser)]
#[command(name = "serin-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays logins and counts them in the log; prints one JSON object.
    Load(Load),
    /// Measures how long a service takes from the connection to its first word.
    Greeting(Greeting),
    /// Serves the same dialogue with as little as possible: the yardstick.
    Minimal(Minimal),
    /// Opens many connections, says nothing on them, and measures what each costs the server.
    Idle(Idle),
    /// Holds SSH clients in the middle of the key exchange, and measures what each costs the server.
    Stuck(Stuck),
    /// Sends one byte a second until the server hangs up.
    Slow(Slow),
    /// Sends a line that never ends until the server hangs up.
    Endless(Endless),
    /// Connects and leaves at once, many times, and counts the events.
    Touch(Touch),
    /// Asks one SSH server for the same again and again, on one connection.
    Wear(Wear),
}

/// Whose dialogue is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Service {
    Ftp,
    Git,
    Http,
    Httpproxy,
    Https,
    Ssh,
    Tcpbanner,
    Telnet,
}

#[derive(Debug, Args)]
struct Load {
    #[arg(long)]
    service: Service,
    #[arg(long, value_parser = loopback)]
    target: SocketAddr,
    /// Clients at the same time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    clients: u32,
    /// Logins in all.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Loopback addresses that the clients come from, in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    sources: u32,
    /// What the markers begin with; another for each run that shares a log.
    #[arg(long, default_value = "bench")]
    run: String,
    /// Seconds that one login may take.
    #[arg(long, default_value_t = 10)]
    patience: u64,
    /// Process whose CPU time and memory are measured.
    #[arg(long)]
    pid: Option<u32>,
    /// Log file with one event a line, in which the markers are counted afterwards.
    #[arg(long)]
    check: Option<PathBuf>,
    #[command(flatten)]
    algorithms: Algorithms,
}

/// What an SSH client offers, one of each.
#[derive(Debug, Clone, Args)]
struct Algorithms {
    #[arg(long, default_value = "curve25519-sha256")]
    kex: String,
    #[arg(long, default_value = "ssh-ed25519")]
    host_key: String,
    #[arg(long, default_value = "chacha20-poly1305@openssh.com")]
    cipher: String,
    /// Counts where the cipher brings none of its own.
    #[arg(long, default_value = "hmac-sha2-256")]
    mac: String,
    #[arg(long, default_value = "none")]
    compression: String,
    /// Bits of the group in a group exchange.
    #[arg(long, default_value_t = 3072)]
    group: u32,
}

#[derive(Debug, Args)]
struct Minimal {
    #[arg(long)]
    service: Service,
    #[arg(long, value_parser = loopback)]
    listen: SocketAddr,
    /// Where the JSON lines go.
    #[arg(long)]
    out: PathBuf,
    /// Seconds after which it stops by itself.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
}

#[derive(Debug, Args)]
struct Idle {
    #[arg(long, value_parser = loopback)]
    target: SocketAddr,
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: u32,
    /// Loopback addresses that the connections come from, in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    sources: u32,
    /// Seconds that they are held.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    hold: u64,
    /// Process whose memory is measured.
    #[arg(long)]
    pid: u32,
}

/// How far an SSH client comes before it falls silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// It says nothing at all.
    Connected,
    /// It has said who it is, and has heard the server's KEXINIT.
    Identified,
    /// It has said half of the longest packet there is, instead of a KEXINIT.
    Halfpacket,
    /// It has sent its KEXINIT.
    Kexinit,
    /// It has the server's key and signature, and does not take the keys into use.
    Exchanged,
    /// It has taken the keys into use, and may try to log in.
    Secured,
}

#[derive(Debug, Args)]
struct Stuck {
    #[arg(long, value_parser = loopback)]
    target: SocketAddr,
    #[arg(long)]
    stage: Stage,
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: u32,
    /// Loopback addresses that the connections come from, in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    sources: u32,
    /// Seconds that they are held.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=600))]
    hold: u64,
    /// Process whose CPU time and memory are measured.
    #[arg(long)]
    pid: u32,
    #[command(flatten)]
    algorithms: Algorithms,
}

#[derive(Debug, Args)]
struct Slow {
    #[arg(long, value_parser = loopback)]
    target: SocketAddr,
    /// Clients at the same time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    clients: u32,
    /// Seconds after which they give up.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

#[derive(Debug, Args)]
struct Endless {
    #[arg(long, value_parser = loopback)]
    target: SocketAddr,
    /// Mebibytes after which it gives up.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=4096))]
    mebibytes: u64,
}

#[derive(Debug, Args)]
struct Greeting {
    #[arg(long, value_parser = loopback)]
    target: SocketAddr,
    /// Greetings in all, one after the other.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    count: u32,
}

#[derive(Debug, Args)]
struct Touch {
    #[arg(long, value_parser = loopback)]
    target: SocketAddr,
    /// Clients at the same time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    clients: u32,
    /// Connections in all.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Loopback addresses that they come from, in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    sources: u32,
    /// The number of the event that each leaves.
    #[arg(long, default_value_t = 4000)]
    event: u32,
    /// Process whose CPU time is measured.
    #[arg(long)]
    pid: u32,
    /// Log file with one event a line, to which nobody else adds meanwhile.
    #[arg(long)]
    check: PathBuf,
}

#[derive(Debug, Args)]
struct Wear {
    #[arg(long, value_parser = loopback)]
    target: SocketAddr,
    /// What is asked for.
    #[arg(long)]
    with: wear::What,
    /// How often, unless the server hangs up before.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Process whose CPU time is measured.
    #[arg(long)]
    pid: u32,
    #[command(flatten)]
    algorithms: Algorithms,
}

/// An address of this machine; any other is refused, so that the tool cannot be turned on somebody.
fn loopback(text: &str) -> Result<SocketAddr> {
    let address: SocketAddr = text.parse()?;
    if !address.ip().to_canonical().is_loopback() {
        bail!("{} is not a loopback address; this tool plays at this machine only", address.ip());
    }
    Ok(address)
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    process::raise_descriptor_limit();
    let mut builder = match cli.command {
        // The yardstick gets what the sensor has: all cores.
        Command::Minimal(_) => tokio::runtime::Builder::new_multi_thread(),
        // The clients keep to one, and leave the rest to the server.
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    builder.enable_all().build()?.block_on(async {
        let report = match cli.command {
            Command::Load(it) => load::run(it).await?,
            Command::Greeting(it) => greeting::run(&it).await?,
            Command::Minimal(it) => {
                let stop = Duration::from_secs(it.seconds.min(3600));
                return match tokio::time::timeout(stop, minimal::serve(it.service, it.listen, &it.out)).await
                {
                    Ok(ended) => ended,
                    Err(_) => Ok(()),
                };
            }
            Command::Idle(it) => patience::idle(&it).await?,
            Command::Stuck(it) => stuck::stuck(&it).await?,
            Command::Slow(it) => patience::slow(&it).await?,
            Command::Endless(it) => patience::endless(&it).await?,
            Command::Touch(it) => touch::run(it).await?,
            Command::Wear(it) => wear::run(&it).await?,
        };
        println!("{report}");
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_a_target() {
        assert!(loopback("127.0.0.1:21").is_ok() && loopback("[::1]:21").is_ok());
        assert!(loopback("192.0.2.1:21").is_err() && loopback("0.0.0.0:21").is_err());
    }
}
