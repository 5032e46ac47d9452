//! The management address: health and metrics, for machines. Never the decoys' business.

use std::sync::Arc;

use std::fmt::Write as _;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::RwLock;
use serde::Serialize;

use super::journal::Journal;
use super::metrics::{Metrics, Now};
use super::seats::Seats;
use crate::outputs::OutputStatus;

/// What the management pages show.
pub(crate) struct View {
    pub(crate) journal: Journal,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) seats: Arc<Seats>,
    pub(crate) facts: RwLock<Facts>,
}

/// What changes only with the configuration.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Facts {
    pub(crate) node_id: String,
    /// Service, address, port.
    pub(crate) services: Vec<(&'static str, String)>,
    /// What the configuration wants and could not be had.
    pub(crate) unavailable: Vec<String>,
    /// What the operator must look at.
    pub(crate) alarms: Vec<String>,
    #[serde(skip)]
    pub(crate) outputs: Vec<Arc<RwLock<OutputStatus>>>,
}

#[derive(Serialize)]
struct Health<'a> {
    status: &'a str,
    version: &'a str,
    #[serde(flatten)]
    facts: &'a Facts,
    connections: usize,
    events: u64,
    store: StoreHealth,
    outputs: Vec<OutputStatus>,
}

#[derive(Serialize)]
struct StoreHealth {
    trouble: Option<String>,
    waiting: usize,
    lost: u64,
}

/// The pages: `/health` (JSON; 503 while something is wrong), `/metrics` (`OpenMetrics` text), `/`.
pub(crate) fn router(view: Arc<View>) -> Router {
    Router::new()
        .route("/", get(overview))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .with_state(view)
}

async fn health(State(view): State<Arc<View>>) -> Response {
    let facts = view.facts.read().clone();
    let store = view.journal.health();
    let shown = |it: &Arc<RwLock<OutputStatus>>| OutputStatus { memory: None, ..it.read().clone() };
    let outputs: Vec<OutputStatus> = facts.outputs.iter().map(shown).collect();
    let quiet = facts.unavailable.is_empty() && facts.alarms.is_empty();
    let well = store.trouble.is_none() && quiet && outputs.iter().all(OutputStatus::is_well);
    let health = Health {
        status: if well { "ok" } else { "degraded" },
        version: env!("CARGO_PKG_VERSION"),
        facts: &facts,
        connections: view.seats.count(),
        events: *view.journal.stored().borrow(),
        store: StoreHealth { trouble: store.trouble, waiting: store.waiting, lost: store.lost },
        outputs,
    };
    let code = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::to_string_pretty(&health).unwrap_or_default();
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn metrics(State(view): State<Arc<View>>) -> Response {
    let stored = *view.journal.stored().borrow();
    let outputs = view.facts.read().outputs.clone();
    let lag = outputs.iter().map(|it| it.read().clone()).map(|it| (it.name.clone(), it.lag_events)).collect();
    let now = Now { open: view.seats.count(), stored, health: view.journal.health(), lag };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], view.metrics.text(&now)).into_response()
}

async fn overview(State(view): State<Arc<View>>) -> String {
    let facts = view.facts.read().clone();
    let mut text = format!("Serin {} as {}\n\n", env!("CARGO_PKG_VERSION"), facts.node_id);
    // Writing to a String cannot fail.
    for (service, address) in &facts.services {
        let _ = writeln!(text, "{service:<12} {address}");
    }
    for problem in &facts.unavailable {
        let _ = writeln!(text, "not served   {problem}");
    }
    for alarm in &facts.alarms {
        let _ = writeln!(text, "look here    {alarm}");
    }
    let stored = *view.journal.stored().borrow();
    let _ = writeln!(text, "\n{stored} events stored. See /health and /metrics.");
    text
}
