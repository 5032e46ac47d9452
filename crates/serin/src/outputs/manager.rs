//! provisional
use super::OutputConf;
use crate::runtime::journal::Journal;
use parking_lot::RwLock;
use serde::Serialize;
use std::sync::Arc;
#[derive(Debug, Clone, Default, Serialize)]
pub struct OutputStatus {
    pub name: String,
    pub lag_events: u64,
}
impl OutputStatus {
    pub fn is_well(&self) -> bool {
        true
    }
}
pub(crate) struct Manager {
    tasks: Vec<tokio::task::JoinHandle<()>>,
}
impl Manager {
    pub(crate) fn start(_c: &[OutputConf], journal: &Journal) -> Self {
        let j = journal.clone();
        let t = tokio::spawn(async move {
            let mut seen = *j.stored().borrow();
            let mut w = j.stored();
            while w.changed().await.is_ok() {
                for r in j.after(seen, 1000).await {
                    println!("{}", r.line());
                    seen = r.seq;
                }
            }
        });
        Self { tasks: vec![t] }
    }
    pub(crate) fn statuses(&self) -> Vec<Arc<RwLock<OutputStatus>>> {
        vec![]
    }
    pub(crate) fn describe(&self) -> String {
        "standard output".into()
    }
    pub(crate) fn reopen(&self) {}
    pub(crate) async fn reload(&mut self, _c: &[OutputConf], _j: &Journal) {}
    pub(crate) async fn stop(&mut self) {
        for t in &self.tasks {
            t.abort()
        }
    }
}
