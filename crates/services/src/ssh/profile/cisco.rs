//! Cisco IOS.

use std::time::Duration;

use super::{Additions, Distribution, Farewell, Padding, Product, Profile};

pub(super) static ALL: &[&Profile] = &[&IOS_15];

/// Seen: the lists in three published debug logs of Paramiko and one of ssh2 for Node, whose packet
/// length (340) and padding (5) are those of these lists; methods in two published `ssh -v`; the
/// order of messages in Cisco's own `debug ip ssh`. Three tries and 120 s are IOS's defaults.
///
/// Assumed, because nobody publishes it: zeroes as padding, what it does with other identifications
/// and after the last refusal (it hangs up).
///
/// Current OpenSSH has no method in common with it at all, in any of the lists but compression.
static IOS_15: Profile = Profile {
    name: "Cisco IOS 15",
    product: Product::Cisco,
    distribution: Distribution::Upstream,
    version: (1, 25),
    revision: 0,
    identification: "SSH-2.0-Cisco-1.25",
    speaks_first: false,
    padding: Padding::ZeroWhileClear,
    kex: &["diffie-hellman-group-exchange-sha1", "diffie-hellman-group14-sha1", "diffie-hellman-group1-sha1"],
    host_keys: &["ssh-rsa"],
    ciphers: &["aes128-cbc", "3des-cbc", "aes192-cbc", "aes256-cbc"],
    macs: &["hmac-sha1", "hmac-sha1-96", "hmac-md5", "hmac-md5-96"],
    compression: [&["none"], &["none"]],
    for_todays_clients: Additions {
        kex: &["diffie-hellman-group14-sha256", "ecdh-sha2-nistp256", "curve25519-sha256"],
        host_keys: &["rsa-sha2-512", "rsa-sha2-256"],
        ciphers: &["aes128-ctr", "aes192-ctr", "aes256-ctr"],
        macs: &["hmac-sha2-256", "hmac-sha2-512"],
    },
    group_exchange: (1024, 4096),
    server_sig_algs: None,
    extensions: &[],
    ext_info_in_auth: false,
    methods: &["publickey", "keyboard-interactive", "password"],
    max_tries: 3,
    farewell: Farewell::Silent,
    pam: false,
    grace: Duration::from_mins(2),
    invalid: None,
    other_version: None,
    crowded: None,
    rsa_bits: 2048,
};
