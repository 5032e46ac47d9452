//! What differs between products once somebody is logged in.

use super::super::profile::{Distribution, Product, Profile};

/// One server's sessions, for an account that has no shell.
pub(super) struct Manner {
    /// What a session may be sent at first, and in one message.
    pub(super) window: u32,
    pub(super) packet: u32,
    /// How much more it may be sent once a program runs.
    pub(super) more: Option<u32>,
    /// Sessions at a time.
    pub(super) sessions: usize,
    /// What is there instead of a shell says so, and ends with this status.
    pub(super) says: &'static str,
    pub(super) status: Option<u32>,
    /// Why a port is not forwarded, or a channel of an unknown kind not opened.
    pub(super) refusal: &'static str,
    pub(super) unknown: u32,
    pub(super) too_many: u32,
}

/// OpenSSH 9.2, measured; the account's shell is `/usr/sbin/nologin`.
static OPENSSH: Manner = Manner {
    window: 0,
    packet: 32768,
    more: Some(2_097_152),
    sessions: 10,
    says: "This account is currently not available.\n",
    status: Some(1),
    refusal: "open failed",
    unknown: CONNECT_FAILED,
    too_many: CONNECT_FAILED,
};

/// Dropbear 2022.83, measured with another shell: it lets in only shells that `/etc/shells` names, so
/// this one is `/bin/false`, which says nothing.
static DROPBEAR: Manner = Manner {
    window: 24576,
    packet: 32759,
    more: None,
    sessions: 20,
    says: "",
    status: Some(1),
    refusal: "",
    unknown: UNKNOWN_TYPE,
    too_many: SHORTAGE,
};

/// Cisco IOS where AAA authorizes no EXEC, from documents.
static CISCO: Manner = Manner {
    window: 8192,
    packet: 4096,
    more: None,
    sessions: 1,
    says: "% Authorization failed.\n",
    status: None,
    refusal: "",
    unknown: PROHIBITED,
    too_many: PROHIBITED,
};

impl Manner {
    /// Those of this server.
    pub(super) fn of(profile: &Profile) -> &'static Self {
        match profile.product {
            Product::OpenSsh => &OPENSSH,
            Product::Dropbear => &DROPBEAR,
            Product::Cisco => &CISCO,
        }
    }
}

/// Whether the server takes this variable from a client: `AcceptEnv LANG LC_*` of the distributions.
pub(super) fn takes_variable(profile: &Profile, name: &[u8]) -> bool {
    let distributed = !matches!(profile.distribution, Distribution::Upstream | Distribution::Windows);
    profile.product == Product::OpenSsh && distributed && (name == b"LANG" || name.starts_with(b"LC_"))
}

/// Whether it forwards X11: `X11Forwarding yes` of the distributions.
pub(super) fn forwards_x11(profile: &Profile) -> bool {
    takes_variable(profile, b"LANG")
}

/// Reasons for not opening a channel (RFC 4254 section 5.1).
pub(super) const PROHIBITED: u32 = 1;
const CONNECT_FAILED: u32 = 2;
const UNKNOWN_TYPE: u32 = 3;
const SHORTAGE: u32 = 4;
