//! OpenSSH as Red Hat and its rebuilds ship it, and Microsoft.
//!
//! Red Hat orders the lists anew: by a patch in version 7, by its crypto policy (DEFAULT) since 8.
//! GSSAPI stands among the methods; GSSAPI's key exchanges only where there is a Kerberos keytab.

use std::time::Duration;

use super::lists::{
    CIPHERS, KEX_7_3, KEYS, KEYS_SHA1_FIRST, KEYS_WITHOUT_SHA1, MACS, MISMATCH, PING, SIGNATURES_7_2,
    SIGNATURES_7_6, SIGNATURES_8_4, UPSTREAM_METHODS, VERSIONS_DIFFER,
};
use super::{Additions, Distribution, Farewell, Names, Padding, Product, Profile};

/// From the oldest to the newest, Windows behind.
pub(super) static ALL: &[&Profile] = &[&RED_HAT_7, &RED_HAT_8, &RED_HAT_9, &WINDOWS_8_1, &WINDOWS_9_5];

/// Seen: KEXINIT in published `ssh -vvv` of 7.4 and in Suricata's test capture (HASSH
/// 6832f1ce43d4397c2c0a3e2f8c94334e, packet length 1276); `EXT_INFO` and methods in another `ssh -v`.
static RED_HAT_7: Profile = Profile {
    name: "OpenSSH 7.4p1, CentOS 7",
    product: Product::OpenSsh,
    distribution: Distribution::RedHat,
    version: (7, 4),
    revision: 0,
    identification: "SSH-2.0-OpenSSH_7.4",
    speaks_first: false,
    padding: Padding::ZeroWhileClear,
    kex: &[
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        "diffie-hellman-group-exchange-sha256",
        "diffie-hellman-group16-sha512",
        "diffie-hellman-group18-sha512",
        "diffie-hellman-group-exchange-sha1",
        "diffie-hellman-group14-sha256",
        "diffie-hellman-group14-sha1",
        "diffie-hellman-group1-sha1",
    ],
    host_keys: KEYS_SHA1_FIRST,
    ciphers: &[
        "chacha20-poly1305@openssh.com",
        "aes128-ctr",
        "aes192-ctr",
        "aes256-ctr",
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "aes128-cbc",
        "aes192-cbc",
        "aes256-cbc",
        "blowfish-cbc",
        "cast128-cbc",
        "3des-cbc",
    ],
    macs: MACS,
    compression: [&["none", "zlib@openssh.com"], &["none", "zlib@openssh.com"]],
    for_todays_clients: Additions::NONE,
    group_exchange: (2048, 8192),
    server_sig_algs: Some(SIGNATURES_7_2),
    extensions: &[],
    ext_info_in_auth: false,
    methods: &["publickey", "gssapi-keyex", "gssapi-with-mic", "password"],
    max_tries: 6,
    farewell: Farewell::Says("Too many authentication failures"),
    pam: true,
    grace: Duration::from_mins(2),
    invalid: Some(MISMATCH),
    other_version: Some(VERSIONS_DIFFER),
    crowded: None,
    rsa_bits: 2048,
};

/// Seen: the lists in a published `ssh -vvv` of 8.0, `EXT_INFO` and methods in others. Assumed: the
/// three host keys that its packages make (the log's server had RSA alone).
static RED_HAT_8: Profile = Profile {
    name: "OpenSSH 8.0p1, Red Hat Enterprise Linux 8",
    version: (8, 0),
    identification: "SSH-2.0-OpenSSH_8.0",
    kex: &[
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        "diffie-hellman-group-exchange-sha256",
        "diffie-hellman-group14-sha256",
        "diffie-hellman-group16-sha512",
        "diffie-hellman-group18-sha512",
        "diffie-hellman-group-exchange-sha1",
        "diffie-hellman-group14-sha1",
        "kex-strict-s-v00@openssh.com",
    ],
    host_keys: KEYS,
    ciphers: &[
        "aes256-gcm@openssh.com",
        "chacha20-poly1305@openssh.com",
        "aes256-ctr",
        "aes256-cbc",
        "aes128-gcm@openssh.com",
        "aes128-ctr",
        "aes128-cbc",
    ],
    macs: POLICY_MACS,
    server_sig_algs: Some(SIGNATURES_7_6),
    pam: true,
    invalid: Some("Invalid SSH identification string.\r\n"),
    other_version: Some("Protocol major versions differ.\r\n"),
    rsa_bits: 3072,
    ..RED_HAT_7
};

/// Seen: KEXINIT, `EXT_INFO` and methods in published `ssh -vvv` of 8.7 of 2024.
static RED_HAT_9: Profile = Profile {
    name: "OpenSSH 8.7p1, Red Hat Enterprise Linux 9",
    version: (8, 7),
    identification: "SSH-2.0-OpenSSH_8.7",
    kex: &[
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        "diffie-hellman-group-exchange-sha256",
        "diffie-hellman-group14-sha256",
        "diffie-hellman-group16-sha512",
        "diffie-hellman-group18-sha512",
        "kex-strict-s-v00@openssh.com",
    ],
    host_keys: KEYS_WITHOUT_SHA1,
    ciphers: &[
        "aes256-gcm@openssh.com",
        "chacha20-poly1305@openssh.com",
        "aes256-ctr",
        "aes128-gcm@openssh.com",
        "aes128-ctr",
    ],
    server_sig_algs: Some(SIGNATURES_8_4),
    crowded: Some("Exceeded MaxStartups\r\n"),
    ..RED_HAT_8
};

/// Seen: KEXINIT, `EXT_INFO` and methods in a published `ssh -vvv`. Assumed: its length of RSA keys.
static WINDOWS_8_1: Profile = Profile {
    name: "OpenSSH 8.1, Windows Server 2022",
    distribution: Distribution::Windows,
    version: (8, 1),
    identification: "SSH-2.0-OpenSSH_for_Windows_8.1",
    kex: KEX_7_3,
    ciphers: CIPHERS,
    macs: MACS,
    methods: UPSTREAM_METHODS,
    pam: false,
    ..RED_HAT_8
};

/// Seen: KEXINIT, `EXT_INFO` and methods in a published `ssh -vvv`.
static WINDOWS_9_5: Profile = Profile {
    name: "OpenSSH 9.5, Windows Server 2025",
    version: (9, 5),
    identification: "SSH-2.0-OpenSSH_for_Windows_9.5",
    kex: &[
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        "diffie-hellman-group-exchange-sha256",
        "diffie-hellman-group16-sha512",
        "diffie-hellman-group18-sha512",
        "diffie-hellman-group14-sha256",
        "kex-strict-s-v00@openssh.com",
    ],
    host_keys: KEYS_WITHOUT_SHA1,
    macs: &[
        "umac-64-etm@openssh.com",
        "umac-128-etm@openssh.com",
        "hmac-sha2-256-etm@openssh.com",
        "hmac-sha2-512-etm@openssh.com",
        "umac-64@openssh.com",
        "umac-128@openssh.com",
        "hmac-sha2-256",
        "hmac-sha2-512",
    ],
    server_sig_algs: Some(
        "ssh-ed25519,sk-ssh-ed25519@openssh.com,\
         ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,\
         sk-ecdsa-sha2-nistp256@openssh.com,webauthn-sk-ecdsa-sha2-nistp256@openssh.com,\
         ssh-dss,ssh-rsa,rsa-sha2-256,rsa-sha2-512",
    ),
    extensions: &[("publickey-hostbound@openssh.com", "0"), PING],
    crowded: Some("Exceeded MaxStartups\r\n"),
    ..WINDOWS_8_1
};

/// Red Hat's DEFAULT policy since version 8.
const POLICY_MACS: Names = &[
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha1-etm@openssh.com",
    "umac-128-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha1",
    "umac-128@openssh.com",
    "hmac-sha2-512",
];
