//! What a protocol is to the rest of Serin: bytes in, actions out.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use serin_event::{Event, Timestamp};

/// What a dialogue wants done. The runtime does it, in order, within its limits.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Hang up, once everything before this is sent. What follows is dropped, except reports.
    Close,
    /// Something happened.
    Report(Event),
    /// Hang up with a TCP reset.
    Reset,
    /// Bytes for the peer.
    Send(Cow<'static, [u8]>),
    /// Speak TLS from here on; what the peer has sent and the dialogue has not used is TLS.
    StartTls,
    /// Call [`Dialogue::timer`] after so long, unless another timer is set before. Input does not
    /// stop it.
    Timer(Duration),
    /// Do nothing for so long, then go on with the next action. No input is handed in meanwhile.
    Wait(Duration),
}

/// Collects what a dialogue wants done.
#[derive(Debug)]
pub struct Actions {
    /// The moment of this call; set by the runtime.
    pub now: Timestamp,
    list: Vec<Action>,
    /// Bytes in the list.
    queued: usize,
}

impl Actions {
    /// None yet, at the moment `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { now, list: Vec::new(), queued: 0 }
    }

    /// Adds any action.
    pub fn push(&mut self, action: Action) {
        if let Action::Send(bytes) = &action {
            self.queued = self.queued.saturating_add(bytes.len());
        }
        self.list.push(action);
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl Into<Cow<'static, [u8]>>) {
        self.push(Action::Send(bytes.into()));
    }

    /// Sends text.
    pub fn text(&mut self, text: impl Into<String>) {
        self.send(text.into().into_bytes());
    }

    /// Reports an event.
    pub fn report(&mut self, event: Event) {
        self.list.push(Action::Report(event));
    }

    /// Hangs up.
    pub fn close(&mut self) {
        self.list.push(Action::Close);
    }

    /// Lets time pass before the next action.
    pub fn wait(&mut self, time: Duration) {
        if !time.is_zero() {
            self.list.push(Action::Wait(time));
        }
    }

    /// Bytes that are to be sent and have not been taken yet. A dialogue whose answers are larger
    /// than what asks for them stops at [`ENOUGH`] and leaves the rest of its input for later.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Takes all that was collected, leaving none.
    pub fn drain(&mut self) -> impl Iterator<Item = Action> + '_ {
        self.queued = 0;
        self.list.drain(..)
    }
}

/// What is known of a connection when it opens.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The peer's address, IPv4 unwrapped.
    pub peer: SocketAddr,
    /// Our address, as the peer reached it.
    pub local: SocketAddr,
    /// Differs for each connection: for challenges, nonces, jitter. A replay gives the same.
    pub seed: u64,
    /// Differs for each connection and nobody can guess it: what keys are made from. A replay gives
    /// the same.
    pub secret: [u8; 32],
    /// What TLS said, where the listener speaks it from the first byte.
    pub tls: Option<TlsPeer>,
}

/// What a TLS handshake tells of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsPeer {
    /// JA3 digest, 32 hex digits.
    pub ja3: String,
    /// JA4 fingerprint.
    pub ja4: String,
    /// The host name the client asked for.
    pub sni: String,
    /// The protocol agreed on in ALPN.
    pub alpn: String,
}

/// The peer broke a limit of this name: `a command line over 4096 bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken(pub &'static str);

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The peer hung up.
    ByPeer,
    /// The dialogue did.
    ByUs,
    /// A limit of this name was reached.
    ByLimit(&'static str),
}

/// One connection's side of a protocol.
///
/// A dialogue never awaits, sends, sleeps, reads a clock or draws a random number.
pub trait Dialogue: Send {
    /// The connection is there. For protocols whose server speaks first.
    fn open(&mut self, opening: &Opening, out: &mut Actions);

    /// Takes what has arrived and not been used yet; returns the part it could not use yet. While
    /// it uses some of what is there, it is called again with the rest once its actions are done;
    /// when it uses nothing, once more has come.
    ///
    /// # Errors
    ///
    /// When the peer broke a limit; the connection ends and an event names the limit.
    fn input<'b>(&mut self, bytes: &'b [u8], out: &mut Actions) -> Result<&'b [u8], Broken>;

    /// Whether taking more input may mean milliseconds of computing. Of such calls only so many run at
    /// once that other services stay quick; a dialogue that says so takes one message per call.
    fn laborious(&self) -> bool {
        false
    }

    /// TLS, asked for with [`Action::StartTls`], is now spoken.
    fn secured(&mut self, _tls: &TlsPeer, _out: &mut Actions) {}

    /// The time set with [`Action::Timer`] is over.
    fn timer(&mut self, out: &mut Actions) {
        out.close();
    }

    /// The conversation is over: the last chance to report what was half finished. Other actions
    /// than reports have no effect any more.
    fn closed(&mut self, _why: Closed, _out: &mut Actions) {}
}

/// Answers waiting to be sent at which a dialogue should rather wait than go on: so much is held for
/// a peer that sends many requests at once and reads nothing.
pub const ENOUGH: usize = 16 * 1024;

/// Opens a dialogue for one connection.
pub type Opener = Box<dyn Fn() -> Box<dyn Dialogue> + Send + Sync>;

/// The `nth` random number that follows from `seed`, counted from 1: for nonces, session names,
/// jitter.
#[must_use]
pub fn random(seed: u64, nth: u64) -> u64 {
    // SplitMix64: https://prng.di.unimi.it/splitmix64.c (public domain).
    let mut mixed = seed.wrapping_add(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A number between 0 and 1 that differs by `seed` and `salt`.
fn fraction(seed: u64, salt: u64) -> f64 {
    let top = random(seed, salt.wrapping_add(1)) >> 32;
    f64::from(u32::try_from(top).unwrap_or(0)) / f64::from(u32::MAX)
}

/// `base`, varied by up to `spread` of itself either way.
#[must_use]
pub fn jitter(base: Duration, spread: f64, seed: u64, salt: u64) -> Duration {
    base.mul_f64((1.0 + spread * (2.0 * fraction(seed, salt) - 1.0)).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_are_those_of_splitmix64() {
        assert_eq!((random(0, 1), random(0, 2)), (0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4));
    }

    #[test]
    fn jitter_stays_within_its_spread() {
        let base = Duration::from_secs(4);
        for seed in 0..100 {
            let varied = jitter(base, 0.25, seed, 1);
            assert!((3.0..=5.0).contains(&varied.as_secs_f64()), "{varied:?}");
        }
    }
}
