//! Every protocol that Serin plays, as pure state machines: bytes in, actions out.
//!
//! Nothing here has a socket, a clock, a file or an environment; the runtime hands in what a
//! dialogue needs and does what it asks for. To add a protocol: write its file (start from
//! `template.rs`), then name it twice below. Tests ask for the rest.

// Bytes from the network must not be able to stop us.
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

pub mod conf;
pub mod dialogue;
mod ftp;
mod git;
mod http;
mod http_syntax;
mod httpproxy;
mod https;
pub mod logins;
pub mod probe;
pub mod replay;
pub mod ssh;
mod tcpbanner;
mod telnet;
#[cfg(test)]
mod template;
pub mod wire;

use std::time::Duration;

use serin_event::Kind;

use conf::{Complaint, Conf, Key};
use dialogue::Opener;

/// All services, in alphabetical order. Everything else walks this list.
pub static ALL: &[&Service] = &[
    &ftp::SERVICE,
    &git::SERVICE,
    &http::SERVICE,
    &httpproxy::SERVICE,
    &https::SERVICE,
    &ssh::SERVICE,
    &tcpbanner::SERVICE,
    &telnet::SERVICE,
];

/// What the daemon must know of a protocol. The rest is the protocol's own business.
#[derive(Debug)]
pub struct Service {
    /// As in the configuration: `NAME.enabled`, `NAME.port`.
    pub name: &'static str,
    /// For a person, one line.
    pub about: &'static str,
    /// OpenCanary's class and module file, for its start-up lines: `("CanaryFTP", "ftp")`.
    pub opencanary: Option<(&'static str, &'static str)>,
    /// The usual port: the default of `NAME.port`.
    pub port: u16,
    /// The port that OpenCanary takes when its configuration names none, where that differs.
    pub opencanary_port: u16,
    /// The service's settings beside `NAME.enabled`, `NAME.port` and `NAME.honeycreds`.
    pub keys: &'static [Key],
    /// What it reports.
    pub events: &'static [&'static Kind],
    /// Most bytes of one unfinished message that are held for one peer.
    pub backlog: usize,
    /// A peer that has been silent for so long is hung up on.
    pub idle: Duration,
    /// How the sensor tries it: the self-test's client.
    pub probe: probe::Probe,
    /// Reads the settings once, at start, and says where to listen and how to open a dialogue.
    pub build: fn(&Conf) -> Result<Vec<Listening>, Vec<Complaint>>,
}

/// One port that a service wants, and what to do with those who come.
pub struct Listening {
    /// The port.
    pub port: u16,
    /// `NAME.port`, or the slot's key where a service has several.
    pub key: String,
    /// Whether TLS is spoken, and from when.
    pub tls: Tls,
    /// TCP keep-alive probes, where the protocol asks for them.
    pub keep_alive: Option<KeepAlive>,
    /// Opens a dialogue for one connection.
    pub open: Opener,
}

/// Whether and when a listener speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// Never.
    No,
    /// When the dialogue asks for it ([`dialogue::Action::StartTls`]).
    OnRequest(Certificate),
    /// From the first byte.
    AtOnce(Certificate),
}

/// Which certificate a listener shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// PEM file of the chain, and of its key. Made when both are missing; `None`: kept in the
    /// state directory.
    pub files: Option<(String, String)>,
    /// The name a made certificate is for; `None`: the host name of the persona.
    pub name: Option<String>,
    /// Protocols offered in ALPN, in the server's order.
    pub alpn: &'static [&'static [u8]],
}

/// TCP keep-alive: `tcpbanner_N.keep_alive_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// Unanswered probes after which the connection is dead.
    pub probes: u32,
    /// Between probes.
    pub interval: Duration,
    /// Silence before the first probe.
    pub idle: Duration,
}

impl Listening {
    /// The common case: one plain TCP port from `NAME.port`.
    #[must_use]
    pub fn tcp(service: &Service, conf: &Conf, open: Opener) -> Vec<Self> {
        vec![Self {
            port: conf.port(service),
            key: format!("{}.port", service.name),
            tls: Tls::No,
            keep_alive: None,
            open,
        }]
    }
}

/// The service of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Service> {
    ALL.iter().copied().find(|it| it.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_is_whole() {
        assert!(ALL.iter().map(|it| it.name).is_sorted(), "keep the list in order");
        for service in ALL {
            let section = service.name;
            for key in service.keys {
                let first = key.name.split('.').next().unwrap();
                assert!(
                    first == section || first == format!("{section}_N"),
                    "{} is outside {section}",
                    key.name
                );
                assert!(key.doc.ends_with('.'), "{}: a setting without a sentence", key.name);
            }
            if let Err(complaints) = (service.build)(&Conf::new()) {
                panic!("{section} refuses its own defaults: {complaints:?}");
            }
            assert!(!service.events.is_empty(), "{section} reports nothing");
            assert!(service.backlog >= 64 && service.idle >= Duration::from_secs(1), "{section}: limits");
            let sessions = replay::sessions_of(section);
            assert!(
                sessions.len() >= 3,
                "{section} wants at least three recorded sessions, has {}",
                sessions.len()
            );
        }
    }

    #[test]
    fn every_recorded_session_replays() {
        for service in ALL {
            for (name, text) in replay::sessions_of(service.name) {
                replay::check(service, &name, &text);
            }
        }
    }

    #[test]
    fn no_recorded_session_breaks_what_must_hold_of_every_service() {
        for service in ALL {
            for (name, text) in replay::sessions_of(service.name) {
                let (conf, said) = (replay::settings_of(&text), replay::client_bytes(&text));
                replay::drive_with(service, &conf, &said);
                // Cut short, and with a byte turned over in each place: what fuzzing would try first.
                for at in 0..said.len().min(600) {
                    replay::drive_with(service, &conf, said.get(..at).unwrap_or_default());
                    let mut flipped = said.clone();
                    flipped[at] ^= 0x80;
                    replay::drive_with(service, &conf, &flipped);
                }
                let _ = name;
            }
        }
    }
}
