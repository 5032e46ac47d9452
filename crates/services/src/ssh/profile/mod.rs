//! What each SSH server sends, by product, version and distribution: data.
//!
//! A profile is what a default install of one server shows to a client that has not logged in. Where
//! a value is from stands beside it: *measured* means against the distribution's package on
//! loopback, *seen* means in a public log or capture of such a server, *source* means in the
//! release's source. What nobody could look up is marked *assumed*.
//!
//! Absent on purpose: `PerSourcePenalties`, by which OpenSSH since 9.8 turns an address away for a
//! while that tried passwords (five seconds for each refusal, from 15 in all on): a decoy wants to
//! hear the rest.
//!
//! | file | servers |
//! |---|---|
//! | `openssh` | OpenSSH of Debian and Ubuntu, and as its authors ship it |
//! | `redhat` | OpenSSH of Red Hat and its rebuilds, and of Windows |
//! | `dropbear`, `cisco` | Dropbear, Cisco IOS |
//! | `lists` | what several of them have in common |
//! | `choice` | which of them an identification asks for |

mod choice;
mod cisco;
mod dropbear;
#[cfg(test)]
mod golden;
mod lists;
mod openssh;
mod redhat;

use std::time::Duration;

pub(crate) use super::packet::Padding;

use super::wire::{Message, number};

/// Names of algorithms or methods, the preferred first.
pub(crate) type Names = &'static [&'static str];

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Product {
    /// OpenSSH portable.
    OpenSsh,
    /// Dropbear.
    Dropbear,
    /// Cisco IOS.
    Cisco,
}

/// Who built it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distribution {
    /// Debian and Raspbian, which say so in the identification.
    Debian,
    /// Ubuntu, which says so too.
    Ubuntu,
    /// Red Hat and its rebuilds (`CentOS`, Rocky, Alma, Oracle, Amazon), which say nothing.
    RedHat,
    /// Windows, whose server says so.
    Windows,
    /// The authors' own build, or anybody's without changes.
    Upstream,
}

/// One server in one version, as a distribution ships it.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    /// For a person: `OpenSSH 9.2p1, Debian 12`.
    pub(crate) name: &'static str,
    /// Whose it is.
    pub(crate) product: Product,
    /// Who built it.
    pub(crate) distribution: Distribution,
    /// Major and minor version.
    pub(crate) version: (u16, u16),
    /// The first of the distribution's revisions that behaves so: the last number of the
    /// identification, as the 10 of `Debian-2+deb12u10`. 0 where it does not matter.
    pub(crate) revision: u16,
    /// What a default install says, without CR LF.
    pub(crate) identification: &'static str,
    /// Whether it sends its KEXINIT without waiting for the client's identification.
    pub(crate) speaks_first: bool,
    /// What the padding of unencrypted packets consists of.
    pub(crate) padding: Padding,
    /// Key exchange methods, in the server's order, with the markers among them.
    pub(crate) kex: Names,
    /// Host key algorithms, as they follow from the keys a default install has. An install offers
    /// those it has keys for, in this order.
    pub(crate) host_keys: Names,
    /// Ciphers, both ways.
    pub(crate) ciphers: Names,
    /// MACs, both ways.
    pub(crate) macs: Names,
    /// Compression: from the client to the server, and back.
    pub(crate) compression: [Names; 2],
    /// What this server does not have, and today's clients need. Empty for most.
    pub(crate) for_todays_clients: Additions,
    /// Sizes of group that it gives out in a group exchange, in bits: a client's wishes are moved
    /// between these.
    pub(crate) group_exchange: (u32, u32),
    /// `server-sig-algs` of its `EXT_INFO` (RFC 8308), which goes out right behind its first NEWKEYS to
    /// clients that say `ext-info-c`. None: it sends no `EXT_INFO`.
    pub(crate) server_sig_algs: Option<&'static str>,
    /// What its `EXT_INFO` holds besides, in this order.
    pub(crate) extensions: &'static [(&'static str, &'static str)],
    /// Whether clients that say `ext-info-in-auth@openssh.com` in an `EXT_INFO` of their own get
    /// `server-sig-algs` once more, alone, before the answer to their first authentication request.
    pub(crate) ext_info_in_auth: bool,
    /// Authentication methods that a refusal names.
    pub(crate) methods: Names,
    /// Refusals after which it hangs up: the last of them is not sent. `none` as the first request
    /// is not counted.
    pub(crate) max_tries: u8,
    /// What it says then.
    pub(crate) farewell: Farewell,
    /// Whether it asks PAM about passwords, which takes a second or more to refuse one.
    pub(crate) pam: bool,
    /// Time to log in; it hangs up then, without a word.
    pub(crate) grace: Duration,
    /// What it sends, ending included, to a line that is no identification. None: nothing.
    pub(crate) invalid: Option<&'static str>,
    /// The same to an identification of another major version.
    pub(crate) other_version: Option<&'static str>,
    /// The same to a connection that is one too many, instead of an identification.
    pub(crate) crowded: Option<&'static str>,
    /// Length of the RSA host key that an install makes, in bits.
    pub(crate) rsa_bits: u16,
}

/// Algorithms that stand behind a server's own ones, so that clients of today find one in common.
///
/// They are not genuine, and can be told from genuine lists. Without them nobody who does not
/// configure a client for it gets as far as a password.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Additions {
    pub(crate) kex: Names,
    pub(crate) host_keys: Names,
    pub(crate) ciphers: Names,
    pub(crate) macs: Names,
}

impl Additions {
    /// None.
    pub(crate) const NONE: Self = Self { kex: &[], host_keys: &[], ciphers: &[], macs: &[] };
}

/// What comes after one refusal too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// DISCONNECT with code 2 (protocol error) and this text.
    Says(&'static str),
    /// The same with the user's name behind the text, at most 100 bytes of it.
    Names(&'static str),
    /// Nothing: the connection is closed.
    Silent,
}

impl Profile {
    /// Key exchange methods to offer.
    pub(crate) fn offered_kex(&self) -> impl Iterator<Item = &'static str> {
        both(self.kex, self.for_todays_clients.kex)
    }

    /// Host key algorithms to offer, where there are keys for all of them.
    pub(crate) fn offered_host_keys(&self) -> impl Iterator<Item = &'static str> {
        both(self.host_keys, self.for_todays_clients.host_keys)
    }

    /// Ciphers to offer.
    pub(crate) fn offered_ciphers(&self) -> impl Iterator<Item = &'static str> {
        both(self.ciphers, self.for_todays_clients.ciphers)
    }

    /// MACs to offer.
    pub(crate) fn offered_macs(&self) -> impl Iterator<Item = &'static str> {
        both(self.macs, self.for_todays_clients.macs)
    }

    /// How long a connection takes to get its first byte, before chance: OpenSSH starts a process for
    /// it. Measured: 8.4 ms with 9.2.
    pub(crate) fn start(&self) -> Duration {
        Duration::from_millis(if self.product == Product::OpenSsh { 8 } else { 0 })
    }

    /// Time that one client has to log in. OpenSSH since 9.8 adds up to four seconds, by `chance`:
    /// any number.
    pub(crate) fn time_to_log_in(&self, chance: u64) -> Duration {
        const MORE_MILLIS: u64 = 4000;
        let varies = self.product == Product::OpenSsh && self.version >= (9, 8);
        self.grace.saturating_add(Duration::from_millis(if varies { chance % MORE_MILLIS } else { 0 }))
    }

    /// The `EXT_INFO` that follows the first NEWKEYS, where the client says `ext-info-c`.
    pub(crate) fn ext_info(&self) -> Option<Message> {
        let algorithms = self.server_sig_algs?;
        let count = u32::try_from(self.extensions.len()).unwrap_or(u32::MAX).saturating_add(1);
        let head = Message::new(number::EXT_INFO).u32(count).string("server-sig-algs").string(algorithms);
        Some(self.extensions.iter().fold(head, |message, (name, value)| message.string(name).string(value)))
    }

    /// The `EXT_INFO` that precedes the answer to the first authentication request, where the client
    /// says `ext-info-in-auth@openssh.com` in its own.
    pub(crate) fn ext_info_in_auth(&self) -> Option<Message> {
        let algorithms = self.server_sig_algs.filter(|_| self.ext_info_in_auth)?;
        Some(Message::new(number::EXT_INFO).u32(1).string("server-sig-algs").string(algorithms))
    }
}

fn both(genuine: Names, added: Names) -> impl Iterator<Item = &'static str> {
    genuine.iter().chain(added).copied()
}

/// The server that an identification names, or the one most like it: see `choice`.
pub(crate) fn nearest(identification: &str) -> &'static Profile {
    choice::nearest(identification)
}

/// Every profile there is.
pub(crate) fn all() -> impl Iterator<Item = &'static Profile> {
    openssh::ALL.iter().chain(redhat::ALL).chain(dropbear::ALL).chain(cisco::ALL).copied()
}
