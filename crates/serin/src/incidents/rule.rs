//! What can tie events together.

use serde::{Deserialize, Serialize};
use serin_event::Severity;

/// What tied events together, the least telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Rule {
    /// One source on one service.
    Touch,
    /// A detection rule, of events that belong to no incident.
    Detection,
    /// Many logins from one source on one service.
    BruteForce,
    /// One source tries one password for many users, or logs in on many services.
    Spray,
    /// Many sources try the same user with the same password.
    Distributed,
    /// One source touches many ports of one target.
    HostScan,
    /// One source touches the same port of several targets.
    NetworkScan,
    /// Too many incidents to tell each alone.
    Flood,
}

impl Rule {
    /// The word for it in the store and in every output.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Touch => "touch",
            Self::Detection => "detection",
            Self::BruteForce => "brute-force",
            Self::Spray => "spray",
            Self::Distributed => "distributed",
            Self::HostScan => "host-scan",
            Self::NetworkScan => "network-scan",
            Self::Flood => "flood",
        }
    }

    /// An incident of this rule is at least this severe.
    pub(super) const fn severity(self) -> Severity {
        match self {
            Self::Touch | Self::Detection | Self::Flood => Severity::Informational,
            Self::HostScan => Severity::Medium,
            Self::NetworkScan | Self::BruteForce | Self::Spray | Self::Distributed => Severity::High,
        }
    }
}
