//! What the connections of one port share.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use rustls::ServerConfig;
use serin_services::dialogue::Opener;
use serin_services::{KeepAlive, Service};

use super::recorder::Recorder;
use super::seats::Seats;

/// What all connections of one port share.
pub(crate) struct Port {
    /// Tells ports apart among the seats.
    pub(crate) id: u64,
    pub(crate) service: &'static Service,
    pub(crate) open: Opener,
    pub(crate) tls: TlsMode,
    pub(crate) keep_alive: Option<KeepAlive>,
    pub(crate) limits: Limits,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) seats: Arc<Seats>,
    pub(crate) connections: Counter,
}

/// Bounds on one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) session_bytes: u64,
    pub(crate) session_time: Duration,
    pub(crate) first_byte: Duration,
}

/// When TLS is spoken, and with what.
#[derive(Clone)]
pub(crate) enum TlsMode {
    Never,
    OnRequest(Arc<ServerConfig>),
    AtOnce(Arc<ServerConfig>),
}

impl TlsMode {
    pub(crate) fn config(&self) -> Option<Arc<ServerConfig>> {
        match self {
            Self::Never => None,
            Self::OnRequest(config) | Self::AtOnce(config) => Some(config.clone()),
        }
    }
}
