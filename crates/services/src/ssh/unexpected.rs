//! What a server answers to a message that has no place where it comes, as measured against OpenSSH
//! 7.6, 8.2, 8.4, 8.9, 9.2, 9.6 and 10.0, and Dropbear 2022.83.

use super::profile::{Product, Profile};
use super::wire::number;

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client's first KEXINIT is awaited.
    Start,
    /// The first key exchange is under way.
    FirstKeys,
    /// Keys are agreed on; nobody has logged in.
    LoggingIn,
    /// Somebody was let in.
    LoggedIn,
}

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// That it was not understood.
    Unimplemented,
    /// Nothing.
    Nothing,
    /// This, on leaving; the code is always 2, a protocol error.
    Disconnect(String),
    /// Leaving without a word.
    Close,
}

/// The first number that OpenSSH keeps for itself (`SSH2_MSG_LOCAL_MIN`).
const LOCAL_MIN: u8 = 192;

/// Whether a message of this number is refused before anything is looked at.
pub(super) fn invalid(profile: &Profile, kind: u8) -> Option<Answer> {
    if profile.product != Product::OpenSsh {
        return None;
    }
    match kind {
        0 => Some(Answer::Disconnect("Invalid ssh2 packet type: 0".to_owned())),
        number::PING if pings(profile) => None,
        LOCAL_MIN.. if pings(profile) => Some(Answer::Close),
        LOCAL_MIN.. => Some(Answer::Disconnect(format!("Invalid ssh2 packet type: {kind}"))),
        _ => None,
    }
}

/// The answer to a message that nothing expects.
pub(super) fn answer(profile: &Profile, phase: Phase, kind: u8) -> Answer {
    match (profile.product, phase, kind) {
        (Product::OpenSsh, Phase::FirstKeys, number::KEXINIT) if profile.version < (8, 0) => Answer::Close,
        (Product::OpenSsh, Phase::Start | Phase::FirstKeys, 50..)
        | (Product::Dropbear, Phase::Start | Phase::FirstKeys, 0 | 5 | 6 | 50..)
        | (Product::Dropbear, Phase::LoggingIn, number::NEWKEYS | number::KEX_FIRST | 61..) => Answer::Close,
        (Product::Dropbear, Phase::LoggedIn, number::USERAUTH_REQUEST) => Answer::Nothing,
        _ => Answer::Unimplemented,
    }
}

/// The answer to a message that breaks a strict key exchange. OpenSSH has words for those of the
/// transport alone, since nothing waits for the others yet.
pub(super) fn violation(profile: &Profile, kind: u8, sequence: u32) -> Answer {
    match profile.product {
        Product::OpenSsh if kind < number::USERAUTH_REQUEST => Answer::Disconnect(format!(
            "strict KEX violation: unexpected packet type {kind} (seqnr {sequence})"
        )),
        _ => Answer::Close,
    }
}

/// The answer to a strict key exchange whose KEXINIT was not the first message.
pub(super) fn not_first(profile: &Profile) -> Answer {
    match profile.product {
        Product::OpenSsh => {
            Answer::Disconnect("strict KEX violation: KEXINIT was not the first packet".to_owned())
        }
        _ => Answer::Close,
    }
}

/// Whether the product answers PING (OpenSSH's PROTOCOL file, section 1.9).
pub(super) fn pings(profile: &Profile) -> bool {
    profile.extensions.iter().any(|(name, _)| *name == "ping@openssh.com")
}
