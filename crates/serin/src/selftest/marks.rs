//! Which connections are the sensor's own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A port of ours may be used by somebody else after so long.
const LIFE: Duration = Duration::from_secs(30);

/// The sockets from which tests are made, while they are.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    any: AtomicBool,
    runs: Mutex<HashMap<SocketAddr, (String, Instant)>>,
}

impl Marks {
    /// From now on what comes from `own` is a test of this run. To be called while the socket is bound
    /// and before it connects.
    pub(crate) fn add(&self, own: SocketAddr, run: &str) {
        let mut runs = self.runs.lock();
        let now = Instant::now();
        runs.retain(|_, it| it.1 > now);
        runs.insert(own, (run.to_owned(), now + LIFE));
        self.any.store(true, Ordering::Release);
    }

    /// The run whose test comes from `peer`.
    pub(crate) fn of(&self, peer: SocketAddr) -> Option<String> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut runs = self.runs.lock();
        let now = Instant::now();
        runs.retain(|_, it| it.1 > now);
        self.any.store(!runs.is_empty(), Ordering::Release);
        runs.get(&peer).map(|it| it.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_socket_is_marked() {
        let marks = Marks::default();
        let own: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        assert_eq!(marks.of(own), None);
        marks.add(own, "7");
        assert_eq!(marks.of(own).as_deref(), Some("7"));
        assert_eq!(marks.of("127.0.0.1:4001".parse().unwrap()), None);
        assert_eq!(marks.of("127.0.0.2:4000".parse().unwrap()), None);
    }
}
