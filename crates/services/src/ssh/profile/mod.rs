//! What each SSH server and version says: data.

use std::time::Duration;

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

/// One server in one version, as a distribution ships it.
#[derive(Debug)]
pub(crate) struct Profile {
    /// For a person: `OpenSSH 9.2p1, Debian 12`.
    pub(crate) name: &'static str,
    /// Whose it is.
    pub(crate) product: Product,
    /// Major and minor version.
    pub(crate) version: (u16, u16),
    /// What a default install says, without CR LF.
    pub(crate) identification: &'static str,
    /// Key exchange methods, in the server's order, with the markers among them.
    pub(crate) kex: &'static [&'static str],
    /// Host key algorithms.
    pub(crate) host_keys: &'static [&'static str],
    /// Ciphers, both ways.
    pub(crate) ciphers: &'static [&'static str],
    /// MACs, both ways.
    pub(crate) macs: &'static [&'static str],
    /// Compression, both ways.
    pub(crate) compression: &'static [&'static str],
    /// Authentication methods that a refusal names.
    pub(crate) methods: &'static [&'static str],
    /// Refusals after which it hangs up.
    pub(crate) max_tries: u8,
    /// Time to log in.
    pub(crate) grace: Duration,
}
