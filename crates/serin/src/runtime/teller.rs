//! Records what the sensor says of itself, in order, beside whoever says it: recording may wait for the
//! disk, and neither signals nor the watchdog must.

use std::sync::Arc;
use std::time::Duration;

use serin_event::Kind;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::recorder::Recorder;
use crate::incidents::Notice;

/// What waits to be recorded.
enum Saying {
    Event(&'static Kind, String),
    Notice(Box<Notice>),
}

/// The way to the recorder for whoever must not wait.
pub(crate) struct Teller {
    queue: mpsc::Sender<Saying>,
    task: JoinHandle<()>,
}

/// It fills when the disk does nothing for hours.
const QUEUE: usize = 256;
/// At the end, this long.
const LAST: Duration = Duration::from_secs(1);

impl Teller {
    pub(crate) fn new(recorder: Arc<Recorder>) -> Self {
        Self::with(move |saying| {
            let recorder = recorder.clone();
            async move {
                match saying {
                    Saying::Event(kind, text) => recorder.tell(kind, text).await,
                    Saying::Notice(notice) => recorder.tell_notice(&notice, None).await,
                }
            }
        })
    }

    fn with<F, R>(mut record: F) -> Self
    where
        F: FnMut(Saying) -> R + Send + 'static,
        R: Future<Output = ()> + Send,
    {
        let (queue, mut said) = mpsc::channel(QUEUE);
        let task = tokio::spawn(async move {
            while let Some(saying) = said.recv().await {
                record(saying).await;
            }
        });
        Self { queue, task }
    }

    /// Something of the sensor's own.
    pub(crate) fn tell(&self, kind: &'static Kind, text: String) {
        self.say(Saying::Event(kind, text));
    }

    /// Something for people.
    pub(crate) fn tell_notice(&self, notice: Notice) {
        self.say(Saying::Notice(Box::new(notice)));
    }

    fn say(&self, saying: Saying) {
        if let Err(error) = self.queue.try_send(saying) {
            let text = match error.into_inner() {
                Saying::Event(_, text) => text,
                Saying::Notice(notice) => notice.sentence,
            };
            tracing::error!("the event store takes nothing, and this is not recorded: {text}");
        }
    }

    /// Returns when all is recorded, or cannot be.
    pub(crate) async fn finish(self) {
        drop(self.queue);
        let _ = timeout(LAST, self.task).await;
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use serin_event::kinds;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_said_is_recorded_in_order_and_nobody_waits_for_a_disk_that_hangs() {
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = said.clone();
        let teller = Teller::with(move |saying| {
            let Saying::Event(_, text) = saying else { panic!("a notice") };
            let hangs = text == "3";
            kept.lock().push(text);
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
            }
        });
        for number in 1..=QUEUE * 2 {
            teller.tell(&kinds::PING, number.to_string());
            tokio::task::yield_now().await;
        }
        teller.finish().await;
        assert_eq!(*said.lock(), ["1", "2", "3"]);
    }
}
