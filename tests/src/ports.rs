//! Ports that nobody else on this machine uses.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel takes clients' ports.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that was free a moment ago, and that no other test of this process is given.
#[must_use]
pub fn free_port() -> u16 {
    // Test processes that run side by side begin at different places.
    let own = u16::try_from(std::process::id() % 199).unwrap_or(0) * 100;
    for _ in 0..COUNT {
        let port = FIRST + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free between {FIRST} and {}", FIRST + COUNT);
}
