//! A thread of its own for an output whose calls can block: a full pipe, a dead network drive.
//!
//! tokio's pool for blocking calls would do, but a runtime waits for that pool when it ends, so
//! that a terminal that stopped reading would keep the sensor from stopping. This thread is left
//! behind instead; its output's cursor says what it still owes.

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use tokio::sync::oneshot;

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// Something that is only touched by its own thread.
#[derive(Debug)]
pub(crate) struct Worker<T> {
    name: &'static str,
    /// Until the first call.
    idle: Option<T>,
    jobs: Option<SyncSender<Job<T>>>,
}

/// Why a call has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoResult {
    /// An earlier call is still going on, and another waits.
    Busy,
    /// The thread could not be started, or a call panicked; the worker is of no more use.
    Dead,
}

impl<T: Send + 'static> Worker<T> {
    pub(crate) fn new(name: &'static str, value: T) -> Self {
        Self { name, idle: Some(value), jobs: None }
    }

    /// The thing itself, as long as no thread has it.
    pub(crate) fn idle(&mut self) -> Option<&mut T> {
        self.idle.as_mut()
    }

    /// Runs `job` on the thread. A job whose caller has gone before it began is not run.
    pub(crate) async fn call<R: Send + 'static>(
        &mut self,
        job: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, NoResult> {
        let (reply, result) = oneshot::channel();
        let job: Job<T> = Box::new(move |value| {
            if !reply.is_closed() {
                // A caller that went away meanwhile misses the result, and asks again.
                let _ = reply.send(job(value));
            }
        });
        self.jobs()?.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => NoResult::Busy,
            TrySendError::Disconnected(_) => NoResult::Dead,
        })?;
        result.await.map_err(|_| NoResult::Dead)
    }

    fn jobs(&mut self) -> Result<&SyncSender<Job<T>>, NoResult> {
        if self.jobs.is_none() {
            let mut value = self.idle.take().ok_or(NoResult::Dead)?;
            let (sender, receiver) = sync_channel::<Job<T>>(1);
            let work = move || {
                while let Ok(job) = receiver.recv() {
                    job(&mut value);
                }
            };
            thread::Builder::new().name(self.name.to_owned()).spawn(work).map_err(|_| NoResult::Dead)?;
            self.jobs = Some(sender);
        }
        self.jobs.as_ref().ok_or(NoResult::Dead)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn calls_run_in_order_on_one_thread() {
        let mut worker = Worker::new("test", Vec::new());
        worker.idle().unwrap().push(0);
        for number in 1..4 {
            worker.call(move |it| it.push(number)).await.unwrap();
        }
        assert_eq!(worker.call(|it| it.clone()).await, Ok(vec![0, 1, 2, 3]));
        assert!(worker.idle().is_none());
    }

    #[tokio::test]
    async fn a_call_that_hangs_makes_the_next_ones_say_so() {
        let mut worker = Worker::new("test", 0);
        let (release, held) = channel::<()>();
        let hang = worker.call(move |it| {
            let _ = held.recv();
            *it += 1;
        });
        assert!(tokio::time::timeout(Duration::from_millis(20), hang).await.is_err());
        // This one waits in the queue, and is given up before it runs.
        assert!(tokio::time::timeout(Duration::from_millis(20), worker.call(|it| *it += 10)).await.is_err());
        assert_eq!(worker.call(|it| *it += 100).await, Err(NoResult::Busy));
        release.send(()).unwrap();
        loop {
            match worker.call(|it| *it).await {
                Err(NoResult::Busy) => tokio::task::yield_now().await,
                other => break assert_eq!(other, Ok(1)),
            }
        }
    }

    #[tokio::test]
    async fn a_panic_ends_the_worker_and_nothing_else() {
        let mut worker = Worker::new("test", 0);
        assert_eq!(worker.call(|_| -> () { panic!("on purpose") }).await, Err(NoResult::Dead));
        assert_eq!(worker.call(|it| *it).await, Err(NoResult::Dead));
    }
}
