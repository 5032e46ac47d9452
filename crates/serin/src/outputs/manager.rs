//! All outputs of a sensor: started, changed with the configuration, stopped.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::delivery::Policy;
use super::engine::{GoTo, Orders, Task};
use super::feed::Feed;
use super::status::{OutputStatus, State};
use super::{Output, OutputConf, Owner};

/// How long the outputs get to hand over what is stored when the sensor stops.
const GRACE: Duration = Duration::from_secs(5);
/// A task that ended unexpectedly is started again after this time.
const RESTART: Duration = Duration::from_secs(5);

/// Outputs that are built, and open as far as that was possible.
#[derive(Debug)]
pub(crate) struct Prepared(Vec<(OutputConf, Option<Box<dyn Output>>)>);

/// The outputs at work.
#[derive(Debug, Default)]
pub(crate) struct Manager {
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    conf: OutputConf,
    status: Arc<RwLock<OutputStatus>>,
    orders: watch::Sender<Orders>,
    task: JoinHandle<()>,
}

impl Prepared {
    /// Begins the deliveries.
    pub(crate) fn start<F: Feed + Clone + 'static>(self, feed: &F) -> Manager {
        let feed: Arc<dyn Feed> = Arc::new(feed.clone());
        let running = self.0.into_iter().map(|(conf, output)| run(conf, output, &feed)).collect();
        Manager { running }
    }
}

impl Manager {
    /// Opens what needs the privileges of the start. What cannot be opened is tried again with the
    /// first delivery, and shows in the status then. May block.
    pub(crate) fn prepare(confs: &[OutputConf], owner: Option<Owner>) -> Prepared {
        Prepared(confs.iter().map(|conf| (conf.clone(), open(conf, owner))).collect())
    }

    /// How each is doing, in the order of the configuration.
    pub(crate) fn statuses(&self) -> Vec<Arc<RwLock<OutputStatus>>> {
        self.running.iter().map(|it| it.status.clone()).collect()
    }

    /// For the line that a person sees at the start: `console, file (siem)`.
    pub(crate) fn describe(&self) -> String {
        let told = self.running.iter().map(|it| {
            let (kind, name) = (it.conf.output.name, &it.conf.name);
            if kind == name { name.clone() } else { format!("{kind} ({name})") }
        });
        told.collect::<Vec<_>>().join(", ")
    }

    /// Opens all files and connections anew, and tries again what is backing off.
    pub(crate) fn reopen(&self) {
        for output in &self.running {
            output.orders.send_modify(|it| it.reopen += 1);
        }
    }

    /// Lets an output go on behind this number, wherever it stands.
    ///
    /// # Errors
    ///
    /// When no output is called so.
    pub(crate) fn go_to(&self, name: &str, cursor: u64) -> Result<(), String> {
        let output = self.running.iter().find(|it| it.conf.name == name);
        let output = output.ok_or_else(|| format!("the running sensor has no output {name:?}"))?;
        output.orders.send_modify(|it| {
            it.go_to = Some(GoTo { nth: it.go_to.map_or(1, |it| it.nth + 1), cursor });
        });
        Ok(())
    }

    /// Takes a new configuration: what has not changed goes on undisturbed.
    pub(crate) async fn reload<F: Feed + Clone + 'static>(&mut self, confs: &[OutputConf], feed: &F) {
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|it| confs.iter().any(|conf| same(conf, &it.conf)));
        let gone_names: Vec<_> = gone.iter().map(|it| it.conf.name.clone()).collect();
        stop(gone).await;
        for name in gone_names.iter().filter(|name| confs.iter().all(|it| it.name != **name)) {
            feed.forget(name);
        }
        let mut kept = kept;
        let feed: Arc<dyn Feed> = Arc::new(feed.clone());
        for conf in confs {
            let at = kept.iter().position(|it| same(conf, &it.conf));
            self.running.push(match at {
                Some(at) => kept.swap_remove(at),
                None => run(conf.clone(), open(conf, None), &feed),
            });
        }
    }

    /// Lets all hand over what is stored, for a few seconds, and saves where they stand. To be called
    /// when the journal is flushed: what is stored later may stay for the next start.
    pub(crate) async fn stop(&mut self) {
        stop(std::mem::take(&mut self.running)).await;
    }
}

fn same(one: &OutputConf, other: &OutputConf) -> bool {
    one.name == other.name && one.output.name == other.output.name && one.conf.iter().eq(other.conf.iter())
}

fn open(conf: &OutputConf, owner: Option<Owner>) -> Option<Box<dyn Output>> {
    match (conf.output.build)(&conf.conf) {
        Ok(mut output) => {
            if let Err(why) = output.prepare(owner) {
                tracing::warn!(output = conf.name, why, "an output cannot be opened yet");
            }
            Some(output)
        }
        // The configuration was checked with the same function.
        Err(complaints) => {
            tracing::error!(output = conf.name, ?complaints, "an output cannot be built");
            None
        }
    }
}

fn run(conf: OutputConf, output: Option<Box<dyn Output>>, feed: &Arc<dyn Feed>) -> Running {
    let status =
        OutputStatus { name: conf.name.clone(), output: conf.output.name.to_owned(), ..Default::default() };
    let status = Arc::new(RwLock::new(status));
    let (orders, wanted) = watch::channel(Orders::default());
    // Made here and not in the task, so that a new output misses nothing that is stored from now on.
    let first = output.and_then(|it| task(&conf, it, feed, &wanted, &status));
    let task = tokio::spawn(supervise(first, conf.clone(), feed.clone(), wanted, status.clone()));
    Running { conf, status, orders, task }
}

/// An output's task, unless its settings are wrong.
fn task(
    conf: &OutputConf,
    output: Box<dyn Output>,
    feed: &Arc<dyn Feed>,
    orders: &watch::Receiver<Orders>,
    status: &Arc<RwLock<OutputStatus>>,
) -> Option<Task> {
    match Policy::new(conf.output, &conf.conf, || feed.key()) {
        Ok(policy) => {
            Some(Task::new(conf.clone(), output, policy, feed.clone(), orders.clone(), status.clone()))
        }
        Err(complaints) => {
            tracing::error!(output = conf.name, ?complaints, "an output cannot be built");
            None
        }
    }
}

/// A task does not end by itself. Should it, it starts again from its cursor.
async fn supervise(
    mut next: Option<Task>,
    conf: OutputConf,
    feed: Arc<dyn Feed>,
    orders: watch::Receiver<Orders>,
    status: Arc<RwLock<OutputStatus>>,
) {
    loop {
        if let Some(task) = next.take() {
            // Ends the task as well when this one is ended.
            let mut tasks = JoinSet::new();
            tasks.spawn(task.run());
            if let Some(Ok(())) = tasks.join_next().await {
                return;
            }
        }
        tracing::error!(output = conf.name, "an output ended unexpectedly and starts again");
        status.write().failed(State::Hold, "the output ended unexpectedly");
        sleep(RESTART).await;
        if orders.borrow().stop.is_some() {
            return;
        }
        next = open(&conf, None).and_then(|it| task(&conf, it, &feed, &orders, &status));
    }
}

async fn stop(outputs: Vec<Running>) {
    let by = Instant::now() + GRACE;
    for output in &outputs {
        output.orders.send_modify(|it| it.stop = Some(by));
    }
    for output in outputs {
        let mut task = output.task;
        // A little more than they have, for the last sync.
        if tokio::time::timeout_at(by + Duration::from_secs(1), &mut task).await.is_err() {
            task.abort();
            let _ = task.await;
        }
    }
}
