//! Calls of an output: each has a deadline, and a panic in one is a result.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::RwLock;
use serin_event::Record;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep_until, timeout};

use super::engine::Orders;
use super::status::OutputStatus;
use super::{Delivery, Item, Later, Output};

/// How often the lag is reckoned anew while nothing else happens.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// How a call of an output ended.
pub(super) enum Call<T> {
    Done(T),
    Late(Duration),
    Panicked,
}

/// What is needed to tell how far behind an output is.
pub(super) struct Lag<'a> {
    pub(super) status: Arc<RwLock<OutputStatus>>,
    pub(super) stored: watch::Receiver<u64>,
    pub(super) front: Option<&'a Arc<Record>>,
}

impl Lag<'_> {
    pub(super) fn show(&self, low_mark: u64) {
        let behind = self.stored.borrow().saturating_sub(low_mark);
        self.status.write().lags(behind, self.front.map(|it| it.time));
    }
}

/// Delivers with a deadline, which a stop can bring nearer; tells the lag meanwhile.
pub(super) async fn deliver(
    output: &mut dyn Output,
    batch: &[Item],
    patience: Duration,
    mut orders: watch::Receiver<Orders>,
    lag: &Lag<'_>,
) -> Call<Delivery> {
    let began = Instant::now();
    let mut until = began + patience;
    let mut ticks = interval_at(began + TICK, TICK);
    let low_mark = lag.front.map_or(0, |it| it.seq.saturating_sub(1));
    // Called inside, so that a panic before the first await is caught as well.
    let mut delivery: Later<'_, Delivery> = Box::pin(async move { output.deliver(batch).await });
    let mut managed = true;
    loop {
        tokio::select! {
            biased;
            done = caught(&mut delivery) => return done,
            order = orders.changed(), if managed => match order {
                Ok(()) => until = orders.borrow_and_update().stop.map_or(until, |by| by.min(until)),
                Err(_) => managed = false,
            },
            () = sleep_until(until) => return Call::Late(began.elapsed()),
            _ = ticks.tick() => lag.show(low_mark),
        }
    }
}

/// Any call of an output, with a deadline.
pub(super) async fn guard<T>(mut call: Later<'_, T>, patience: Duration) -> Call<T> {
    timeout(patience, caught(&mut call)).await.unwrap_or(Call::Late(patience))
}

/// A panic inside becomes a result.
async fn caught<T>(call: &mut Later<'_, T>) -> Call<T> {
    poll_fn(move |context| {
        let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context)));
        polled.map_or(Poll::Ready(Call::Panicked), |it| it.map(Call::Done))
    })
    .await
}
