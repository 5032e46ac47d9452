//! Who is connected: bounds in total and per source, and who leaves first when there is no room.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All connections of a sensor.
pub(crate) struct Seats {
    /// Most connections at once; 0: no bound.
    total: AtomicUsize,
    /// Most connections of one address at once; 0: no bound.
    per_source: AtomicUsize,
    started: Instant,
    /// Bytes that wait: answers that peers have not read yet, and messages of theirs that are not
    /// whole yet.
    held: AtomicUsize,
    /// How many may compute for milliseconds at one time.
    laborious: Arc<Semaphore>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    seats: HashMap<u64, Arc<Place>>,
    sources: HashMap<IpAddr, usize>,
}

/// What others may know of a connection.
struct Place {
    source: IpAddr,
    port: u64,
    /// Milliseconds between the sensor's start and the peer's last bytes.
    active: AtomicU64,
    leave: AtomicBool,
    told: Mutex<(&'static str, Option<Waker>)>,
}

/// One connection's place; given back when dropped.
pub(crate) struct Seat {
    id: u64,
    place: Arc<Place>,
    seats: Arc<Seats>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// This source has as many connections as one may have.
    Source,
    /// All places are taken, and nobody leaves fast enough.
    Full,
}

impl Refusal {
    /// The limit's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Source => "more connections at once than one source may have",
            Self::Full => "more connections at once than all sources may have",
        }
    }
}

impl Seats {
    pub(crate) fn new(total: usize, per_source: usize) -> Arc<Self> {
        Arc::new(Self {
            total: total.into(),
            per_source: per_source.into(),
            started: Instant::now(),
            held: AtomicUsize::new(0),
            laborious: Arc::new(Semaphore::new(processors().saturating_sub(1).max(1))),
            taken: Mutex::default(),
        })
    }

    /// A place for a connection from `source` to the port numbered `port`. When all places are
    /// taken, whoever has been silent longest gives up theirs.
    pub(crate) fn take(self: &Arc<Self>, source: IpAddr, port: u64) -> Result<Seat, Refusal> {
        let source = host_of(source);
        let (total, per_source) =
            (self.total.load(Ordering::Relaxed), self.per_source.load(Ordering::Relaxed));
        let mut taken = self.taken.lock();
        if total > 0 && taken.seats.len() >= total {
            // Some at once: looking for them costs a walk over all.
            evict(&taken, (total / 64).clamp(1, GIVE_WAY));
            // Those who were told and have not left yet count too.
            if taken.seats.len() >= total.saturating_add(total / 8 + GIVE_WAY) {
                return Err(Refusal::Full);
            }
        }
        let count = taken.sources.entry(source).or_default();
        if per_source > 0 && *count >= per_source {
            return Err(Refusal::Source);
        }
        *count += 1;
        let id = taken.next;
        taken.next += 1;
        let place = Arc::new(Place {
            source,
            port,
            active: AtomicU64::new(self.millis()),
            leave: AtomicBool::new(false),
            told: Mutex::new(("", None)),
        });
        taken.seats.insert(id, place.clone());
        Ok(Seat { id, place, seats: self.clone() })
    }

    /// Uses other bounds from here on.
    pub(crate) fn set_bounds(&self, total: usize, per_source: usize) {
        self.total.store(total, Ordering::Relaxed);
        self.per_source.store(per_source, Ordering::Relaxed);
    }

    /// Makes room: the `count` connections that have been silent longest are told to leave.
    pub(crate) fn make_room(&self, count: usize) {
        evict(&self.taken.lock(), count);
    }

    /// Tells the connections of one port, or all, to leave.
    pub(crate) fn clear(&self, port: Option<u64>, why: &'static str) {
        let places: Vec<_> = self.taken.lock().seats.values().cloned().collect();
        for place in places {
            if port.is_none_or(|it| it == place.port) {
                place.tell(why);
            }
        }
    }

    /// Connections open now.
    pub(crate) fn count(&self) -> usize {
        self.taken.lock().seats.len()
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Whom an address stands for: an IPv6 host has a whole /64 to come from.
pub(crate) fn host_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn evict(taken: &Taken, count: usize) {
    let mut idle: Vec<_> = taken.seats.values().filter(|it| !it.leave.load(Ordering::Relaxed)).collect();
    let count = count.min(idle.len());
    if count == 0 {
        return;
    }
    idle.select_nth_unstable_by_key(count - 1, |it| it.active.load(Ordering::Relaxed));
    for place in idle.into_iter().take(count) {
        place.tell("idle longest when there was no room");
    }
}

impl Place {
    fn tell(&self, why: &'static str) {
        let mut told = self.told.lock();
        told.0 = why;
        self.leave.store(true, Ordering::Release);
        if let Some(waker) = told.1.take() {
            waker.wake();
        }
    }
}

impl Seat {
    /// Why this connection must end, if it must; otherwise `waker` is called when it must.
    pub(crate) fn told_to_leave(&self, waker: &Waker) -> Option<&'static str> {
        if !self.place.leave.load(Ordering::Acquire) {
            let mut told = self.place.told.lock();
            if told.1.as_ref().is_none_or(|it| !it.will_wake(waker)) {
                told.1 = Some(waker.clone());
            }
            // Checked again: it may have been told between the two looks.
            if !self.place.leave.load(Ordering::Acquire) {
                return None;
            }
        }
        Some(self.place.told.lock().0)
    }

    /// Returns when this connection must end.
    pub(crate) async fn told(&self) -> &'static str {
        poll_fn(|cx| self.told_to_leave(cx.waker()).map_or(Poll::Pending, Poll::Ready)).await
    }

    /// Waits for its turn to compute for milliseconds: one processor is left to everybody else.
    /// Those who ask for much then wait for each other, and no login at another service does.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.seats.laborious.clone().acquire_owned().await.ok()
    }

    /// Room for so many bytes until they are sent or used; `None`: as much waits for all peers
    /// together as is held.
    pub(crate) fn hold(&self, bytes: usize) -> Option<Held> {
        let before = self.seats.held.fetch_add(bytes, Ordering::Relaxed);
        let held = Held { seats: self.seats.clone(), bytes };
        (before.saturating_add(bytes) <= HELD_MAX || before == 0).then_some(held)
    }

    /// The peer has shown that it is alive.
    pub(crate) fn active(&self) {
        self.place.active.store(self.seats.millis(), Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        taken.seats.remove(&self.id);
        if let Some(count) = taken.sources.get_mut(&self.place.source) {
            *count -= 1;
            if *count == 0 {
                taken.sources.remove(&self.place.source);
            }
        }
    }
}

/// Bytes that wait for a peer to read, or for the rest of its message; given back when dropped.
pub(crate) struct Held {
    seats: Arc<Seats>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.seats.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Connections that give way at once when all places are taken.
const GIVE_WAY: usize = 16;
/// Most bytes that wait, over all connections.
pub(super) const HELD_MAX: usize = 128 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::Context;

    use super::*;

    fn source(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn one_source_cannot_take_every_place() {
        let seats = Seats::new(0, 2);
        let first = seats.take(source(1), 0).ok();
        let second = seats.take(source(1), 0).ok();
        assert!(first.is_some() && second.is_some());
        assert_eq!(seats.take(source(1), 0).err(), Some(Refusal::Source));
        assert!(seats.take(source(2), 0).is_ok());
        drop(first);
        assert!(seats.take(source(1), 0).is_ok());
    }

    #[test]
    fn whoever_is_silent_longest_makes_room() {
        let seats = Seats::new(2, 0);
        let old = seats.take(source(1), 0).unwrap();
        let young = seats.take(source(2), 0).unwrap();
        old.place.active.store(5, Ordering::Relaxed);
        young.place.active.store(9, Ordering::Relaxed);
        let third = seats.take(source(3), 0).unwrap();
        assert!(old.told_to_leave(Waker::noop()).is_some());
        assert!(young.told_to_leave(Waker::noop()).is_none() && third.told_to_leave(Waker::noop()).is_none());
        drop(old);
        assert_eq!(seats.count(), 2);
    }

    #[test]
    fn those_who_were_told_and_stay_do_not_let_the_number_grow() {
        let seats = Seats::new(8, 0);
        let taken: Vec<_> = (0..100).map_while(|_| seats.take(source(1), 0).ok()).collect();
        assert_eq!(taken.len(), 8 + 1 + GIVE_WAY);
        assert_eq!(seats.take(source(2), 0).err(), Some(Refusal::Full));
    }

    #[test]
    fn an_ipv6_host_is_one_source_whatever_address_it_takes() {
        let seats = Seats::new(0, 1);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let _first = seats.take(address("2001:db8::1"), 0).unwrap();
        assert_eq!(seats.take(address("2001:db8::ffff:2"), 0).err(), Some(Refusal::Source));
        assert!(seats.take(address("2001:db8:0:1::1"), 0).is_ok());
    }

    #[test]
    fn what_waits_is_bounded_over_all_peers() {
        let seats = Seats::new(0, 0);
        let seat = seats.take(source(1), 0).unwrap();
        let first = seat.hold(HELD_MAX);
        assert!(first.is_some() && seat.hold(1).is_none());
        drop(first);
        assert!(seat.hold(1).is_some());
    }

    #[test]
    fn who_computes_long_waits_until_a_processor_is_left_over() {
        let seats = Seats::new(0, 0);
        let seat = seats.take(source(1), 0).unwrap();
        let ready = |turn: Pin<&mut dyn Future<Output = _>>| match turn
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(turn) => turn,
            Poll::Pending => None,
        };
        let mut taken: Vec<_> = (1..processors().max(2)).map(|_| ready(pin!(seat.turn()))).collect();
        assert!(taken.iter().all(Option::is_some));
        let mut next = pin!(seat.turn());
        assert!(ready(next.as_mut()).is_none());
        taken.pop();
        assert!(ready(next).is_some());
    }

    #[test]
    fn the_connections_of_one_port_can_be_told() {
        let seats = Seats::new(0, 0);
        let (web, mail) = (seats.take(source(1), 80).unwrap(), seats.take(source(1), 25).unwrap());
        seats.clear(Some(80), "the service stopped");
        assert_eq!(web.told_to_leave(Waker::noop()), Some("the service stopped"));
        assert_eq!(mail.told_to_leave(Waker::noop()), None);
    }
}
