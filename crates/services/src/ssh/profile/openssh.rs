//! OpenSSH as Debian and Ubuntu ship it, and its authors.
//!
//! Debian and Ubuntu leave the lists of the release as they are, but for what a security update
//! brings: `kex-strict-s-v00@openssh.com` (CVE-2023-48795, December 2023) in what was current then,
//! from the revisions on that their changelogs name.
//! They turn keyboard-interactive off in their configuration.

use std::time::Duration;

use super::lists::{
    CIPHERS, COMPRESSION, HOSTBOUND, KEX_7_3, KEX_8_2, KEX_9_0, KEX_10_0, KEYS, KEYS_SHA1_FIRST,
    KEYS_WITHOUT_SHA1, MACS, MISMATCH, NOT_ALLOWED, PING, SIGNATURES_7_2, SIGNATURES_7_6, SIGNATURES_8_4,
    SIGNATURES_9_6, UPSTREAM_METHODS, VERSIONS_DIFFER,
};
use super::{Additions, Distribution, Farewell, Padding, Product, Profile};

/// From the oldest to the newest.
pub(super) static ALL: &[&Profile] = &[
    &DEBIAN_5,
    &UBUNTU_14_04,
    &UBUNTU_16_04,
    &DEBIAN_9,
    &UBUNTU_18_04,
    &DEBIAN_10_OLD,
    &DEBIAN_10,
    &UBUNTU_20_04_OLD,
    &UBUNTU_20_04,
    &DEBIAN_11_OLD,
    &DEBIAN_11,
    &UBUNTU_22_04_OLD,
    &UBUNTU_22_04,
    &UPSTREAM_9_0,
    &DEBIAN_12_OLD,
    &DEBIAN_12_STRICT,
    &DEBIAN_12,
    &UBUNTU_23_10,
    &UBUNTU_24_04,
    &UPSTREAM_9_6,
    &UPSTREAM_9_9,
    &UBUNTU_25_04,
    &UPSTREAM_10_0,
    &DEBIAN_13,
    &UBUNTU_25_10,
    &UBUNTU_26_04,
    &DEBIAN_13_BACKPORTS,
    &DEBIAN_SID,
];

/// Measured: Debian 12's openssh-server 1:9.2p1-2+deb12u10, KEXINIT and `EXT_INFO` byte for byte.
/// `sntrup761x25519-sha512` without a suffix is Debian's addition (its changelog: 2+deb12u4).
static DEBIAN_12: Profile = Profile {
    name: "OpenSSH 9.2p1, Debian 12",
    product: Product::OpenSsh,
    distribution: Distribution::Debian,
    version: (9, 2),
    revision: 4,
    identification: "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10",
    speaks_first: false,
    padding: Padding::ZeroWhileClear,
    kex: &[
        "sntrup761x25519-sha512",
        "sntrup761x25519-sha512@openssh.com",
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
    ciphers: CIPHERS,
    macs: MACS,
    compression: COMPRESSION,
    for_todays_clients: Additions::NONE,
    group_exchange: (2048, 8192),
    server_sig_algs: Some(
        "ssh-ed25519,sk-ssh-ed25519@openssh.com,\
         ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,\
         sk-ecdsa-sha2-nistp256@openssh.com,webauthn-sk-ecdsa-sha2-nistp256@openssh.com,\
         ssh-dss,ssh-rsa,rsa-sha2-256,rsa-sha2-512",
    ),
    extensions: &[HOSTBOUND],
    ext_info_in_auth: false,
    methods: &["publickey", "password"],
    max_tries: 6,
    farewell: Farewell::Says("Too many authentication failures"),
    pam: true,
    grace: Duration::from_mins(2),
    invalid: Some("Invalid SSH identification string.\r\n"),
    other_version: Some("Protocol major versions differ.\r\n"),
    crowded: Some("Exceeded MaxStartups\r\n"),
    rsa_bits: 3072,
};

/// Debian's changelog: strict key exchange since 2+deb12u2.
static DEBIAN_12_STRICT: Profile = Profile {
    name: "OpenSSH 9.2p1, Debian 12 before 2025",
    revision: 2,
    identification: "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3",
    kex: &[
        "sntrup761x25519-sha512@openssh.com",
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
    ..DEBIAN_12
};

static DEBIAN_12_OLD: Profile = Profile {
    name: "OpenSSH 9.2p1, Debian 12 before 2024",
    revision: 0,
    identification: "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u1",
    kex: KEX_9_0,
    ..DEBIAN_12
};

/// Source: the release notes and `myproposal.h`. From 9.0 to 9.5 the lists are the same.
static UPSTREAM_9_0: Profile = Profile {
    name: "OpenSSH 9.0",
    distribution: Distribution::Upstream,
    version: (9, 0),
    revision: 0,
    identification: "SSH-2.0-OpenSSH_9.0",
    kex: KEX_9_0,
    methods: UPSTREAM_METHODS,
    pam: false,
    ..DEBIAN_12
};

/// Assumed: the release's lists, with the update of December 2023 as in 22.04.
static UBUNTU_23_10: Profile = Profile {
    name: "OpenSSH 9.3p1, Ubuntu 23.10",
    distribution: Distribution::Ubuntu,
    version: (9, 3),
    revision: 0,
    identification: "SSH-2.0-OpenSSH_9.3p1 Ubuntu-1ubuntu3.6",
    ..DEBIAN_12_STRICT
};

/// Measured: Ubuntu 24.04's 1:9.6p1-3ubuntu13.20, KEXINIT and `EXT_INFO` byte for byte.
static UBUNTU_24_04: Profile = Profile {
    name: "OpenSSH 9.6p1, Ubuntu 24.04",
    distribution: Distribution::Ubuntu,
    version: (9, 6),
    revision: 0,
    identification: "SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.20",
    kex: &[
        "sntrup761x25519-sha512@openssh.com",
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        "diffie-hellman-group-exchange-sha256",
        "diffie-hellman-group16-sha512",
        "diffie-hellman-group18-sha512",
        "diffie-hellman-group14-sha256",
        "ext-info-s",
        "kex-strict-s-v00@openssh.com",
    ],
    server_sig_algs: Some(SIGNATURES_9_6),
    extensions: &[HOSTBOUND, PING],
    ext_info_in_auth: true,
    ..DEBIAN_12
};

/// Seen: Alpine 3.20's 9.7, KEXINIT in a published terminal log. 9.6 to 9.8 have the same lists.
static UPSTREAM_9_6: Profile = Profile {
    name: "OpenSSH 9.6",
    distribution: Distribution::Upstream,
    identification: "SSH-2.0-OpenSSH_9.6",
    methods: UPSTREAM_METHODS,
    pam: false,
    ..UBUNTU_24_04
};

/// Assumed: Ubuntu's lists, which it does not change.
static UPSTREAM_9_9: Profile = Profile {
    name: "OpenSSH 9.9",
    distribution: Distribution::Upstream,
    identification: "SSH-2.0-OpenSSH_9.9",
    methods: UPSTREAM_METHODS,
    pam: false,
    ..UBUNTU_25_04
};

/// Measured: Ubuntu 25.04's 1:9.9p1-3ubuntu3.2, KEXINIT and `EXT_INFO` byte for byte.
static UBUNTU_25_04: Profile = Profile {
    name: "OpenSSH 9.9p1, Ubuntu 25.04",
    version: (9, 9),
    identification: "SSH-2.0-OpenSSH_9.9p1 Ubuntu-3ubuntu3.2",
    kex: &[
        "sntrup761x25519-sha512",
        "sntrup761x25519-sha512@openssh.com",
        "mlkem768x25519-sha256",
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        "diffie-hellman-group-exchange-sha256",
        "diffie-hellman-group16-sha512",
        "diffie-hellman-group18-sha512",
        "diffie-hellman-group14-sha256",
        "ext-info-s",
        "kex-strict-s-v00@openssh.com",
    ],
    crowded: Some(NOT_ALLOWED),
    ..UBUNTU_24_04
};

/// Measured: Debian 13's openssh-server 1:10.0p1-7+deb13u4, which calls itself 10.0p2. KEXINIT and
/// `EXT_INFO` byte for byte.
static DEBIAN_13: Profile = Profile {
    name: "OpenSSH 10.0p2, Debian 13",
    distribution: Distribution::Debian,
    version: (10, 0),
    revision: 0,
    identification: "SSH-2.0-OpenSSH_10.0p2 Debian-7+deb13u4",
    kex: KEX_10_0,
    ciphers: &[
        "chacha20-poly1305@openssh.com",
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "aes128-ctr",
        "aes192-ctr",
        "aes256-ctr",
    ],
    crowded: Some(NOT_ALLOWED),
    ..UBUNTU_24_04
};

/// Measured: Ubuntu 25.10's 1:10.0p1-5ubuntu5.4, KEXINIT and `EXT_INFO` byte for byte.
static UBUNTU_25_10: Profile = Profile {
    name: "OpenSSH 10.0p2, Ubuntu 25.10",
    distribution: Distribution::Ubuntu,
    identification: "SSH-2.0-OpenSSH_10.0p2 Ubuntu-5ubuntu5.4",
    ..DEBIAN_13
};

/// Measured: Ubuntu 26.04's 1:10.2p1-2ubuntu3.8, KEXINIT and `EXT_INFO` byte for byte.
static UBUNTU_26_04: Profile = Profile {
    name: "OpenSSH 10.2p1, Ubuntu 26.04",
    version: (10, 2),
    identification: "SSH-2.0-OpenSSH_10.2p1 Ubuntu-2ubuntu3.8",
    ..UBUNTU_25_10
};

/// Source: `myproposal.h` of 10.0, which Debian does not change.
static UPSTREAM_10_0: Profile = Profile {
    name: "OpenSSH 10.0",
    distribution: Distribution::Upstream,
    identification: "SSH-2.0-OpenSSH_10.0",
    methods: UPSTREAM_METHODS,
    pam: false,
    ..DEBIAN_13
};

/// Measured: 1:10.3p1-1~bpo13+1 from trixie-backports, KEXINIT and `EXT_INFO` byte for byte.
static DEBIAN_13_BACKPORTS: Profile = Profile {
    name: "OpenSSH 10.3p1, Debian 13 backports",
    version: (10, 3),
    identification: "SSH-2.0-OpenSSH_10.3p1 Debian-1~bpo13+1",
    server_sig_algs: Some(
        "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,\
         sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,\
         rsa-sha2-512,rsa-sha2-256,webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
    ),
    extensions: &[HOSTBOUND, PING, ("agent-forward", "0")],
    ..DEBIAN_13
};

/// Measured: 1:10.6p1-1 from sid, `EXT_INFO` byte for byte. Its KEXINIT has one host key algorithm
/// more, `ssh-mldsa44-ed25519`: there are no such keys here, so that a server is shown which has none.
static DEBIAN_SID: Profile = Profile {
    name: "OpenSSH 10.6p1, Debian sid",
    version: (10, 6),
    identification: "SSH-2.0-OpenSSH_10.6p1 Debian-1",
    server_sig_algs: Some(
        "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,\
         sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,\
         rsa-sha2-512,rsa-sha2-256,ssh-mldsa44-ed25519,webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
    ),
    ..DEBIAN_13_BACKPORTS
};

/// Measured: Ubuntu 22.04's 1:8.9p1-3ubuntu0.18, KEXINIT and `EXT_INFO` byte for byte.
static UBUNTU_22_04: Profile = Profile {
    name: "OpenSSH 8.9p1, Ubuntu 22.04",
    distribution: Distribution::Ubuntu,
    version: (8, 9),
    revision: 5,
    identification: "SSH-2.0-OpenSSH_8.9p1 Ubuntu-3ubuntu0.18",
    kex: &[
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        "sntrup761x25519-sha512@openssh.com",
        "diffie-hellman-group-exchange-sha256",
        "diffie-hellman-group16-sha512",
        "diffie-hellman-group18-sha512",
        "diffie-hellman-group14-sha256",
        "kex-strict-s-v00@openssh.com",
    ],
    server_sig_algs: Some(SIGNATURES_8_4),
    ..DEBIAN_12
};

/// Measured: the release's 1:8.9p1-3.
static UBUNTU_22_04_OLD: Profile = Profile {
    name: "OpenSSH 8.9p1, Ubuntu 22.04 before 2024",
    revision: 0,
    identification: "SSH-2.0-OpenSSH_8.9p1 Ubuntu-3",
    kex: &[
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        "sntrup761x25519-sha512@openssh.com",
        "diffie-hellman-group-exchange-sha256",
        "diffie-hellman-group16-sha512",
        "diffie-hellman-group18-sha512",
        "diffie-hellman-group14-sha256",
    ],
    ..UBUNTU_22_04
};

/// Measured: Debian 11's openssh-server 1:8.4p1-5+deb11u3, KEXINIT and `EXT_INFO` byte for byte.
static DEBIAN_11: Profile = Profile {
    name: "OpenSSH 8.4p1, Debian 11",
    distribution: Distribution::Debian,
    version: (8, 4),
    revision: 3,
    identification: "SSH-2.0-OpenSSH_8.4p1 Debian-5+deb11u3",
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
    host_keys: KEYS,
    server_sig_algs: Some(SIGNATURES_8_4),
    extensions: &[],
    ..DEBIAN_12
};

static DEBIAN_11_OLD: Profile = Profile {
    name: "OpenSSH 8.4p1, Debian 11 before 2024",
    revision: 0,
    identification: "SSH-2.0-OpenSSH_8.4p1 Debian-5",
    kex: KEX_8_2,
    ..DEBIAN_11
};

/// Measured: Ubuntu 20.04's 1:8.2p1-4ubuntu0.13, KEXINIT and `EXT_INFO` byte for byte.
static UBUNTU_20_04: Profile = Profile {
    name: "OpenSSH 8.2p1, Ubuntu 20.04",
    distribution: Distribution::Ubuntu,
    version: (8, 2),
    revision: 10,
    identification: "SSH-2.0-OpenSSH_8.2p1 Ubuntu-4ubuntu0.13",
    server_sig_algs: Some(
        "ssh-ed25519,sk-ssh-ed25519@openssh.com,ssh-rsa,rsa-sha2-256,rsa-sha2-512,ssh-dss,\
         ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,sk-ecdsa-sha2-nistp256@openssh.com",
    ),
    ..DEBIAN_11
};

/// Measured: the release's 1:8.2p1-4. Its changelog: strict key exchange since 4ubuntu0.10.
static UBUNTU_20_04_OLD: Profile = Profile {
    name: "OpenSSH 8.2p1, Ubuntu 20.04 before 2024",
    revision: 0,
    identification: "SSH-2.0-OpenSSH_8.2p1 Ubuntu-4",
    kex: KEX_8_2,
    ..UBUNTU_20_04
};

/// Seen: `EXT_INFO` and methods in a published `ssh -v` of 10+deb10u2. Assumed: 7.6's methods of key
/// exchange, as no release between the two changed them, and the update of December 2023.
static DEBIAN_10: Profile = Profile {
    name: "OpenSSH 7.9p1, Debian 10",
    distribution: Distribution::Debian,
    version: (7, 9),
    revision: 4,
    identification: "SSH-2.0-OpenSSH_7.9p1 Debian-10+deb10u4",
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
        "diffie-hellman-group14-sha1",
        "kex-strict-s-v00@openssh.com",
    ],
    server_sig_algs: Some(SIGNATURES_7_6),
    invalid: Some(MISMATCH),
    other_version: Some(VERSIONS_DIFFER),
    crowded: None,
    ..DEBIAN_11
};

static DEBIAN_10_OLD: Profile = Profile {
    name: "OpenSSH 7.9p1, Debian 10 before 2024",
    revision: 0,
    identification: "SSH-2.0-OpenSSH_7.9p1 Debian-10+deb10u2",
    kex: KEX_7_3,
    ..DEBIAN_10
};

/// Measured: Ubuntu 18.04's 1:7.6p1-4ubuntu0.7, KEXINIT and `EXT_INFO` byte for byte, and the texts.
static UBUNTU_18_04: Profile = Profile {
    name: "OpenSSH 7.6p1, Ubuntu 18.04",
    distribution: Distribution::Ubuntu,
    version: (7, 6),
    revision: 0,
    identification: "SSH-2.0-OpenSSH_7.6p1 Ubuntu-4ubuntu0.7",
    kex: KEX_7_3,
    host_keys: KEYS_SHA1_FIRST,
    pam: true,
    rsa_bits: 2048,
    ..DEBIAN_10
};

/// Seen: the lists in a published log of another system's unchanged 7.4 (paramiko issue 1818); the
/// keys are Debian's.
static DEBIAN_9: Profile = Profile {
    name: "OpenSSH 7.4p1, Debian 9",
    distribution: Distribution::Debian,
    version: (7, 4),
    identification: "SSH-2.0-OpenSSH_7.4p1 Debian-10+deb9u7",
    server_sig_algs: Some(SIGNATURES_7_2),
    ..UBUNTU_18_04
};

/// Measured: Ubuntu 16.04's 1:7.2p2-4ubuntu2.10, KEXINIT and `EXT_INFO` byte for byte, and the texts.
static UBUNTU_16_04: Profile = Profile {
    name: "OpenSSH 7.2p2, Ubuntu 16.04",
    distribution: Distribution::Ubuntu,
    version: (7, 2),
    identification: "SSH-2.0-OpenSSH_7.2p2 Ubuntu-4ubuntu2.10",
    kex: &[
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        "diffie-hellman-group-exchange-sha256",
        "diffie-hellman-group14-sha1",
    ],
    ..DEBIAN_9
};

/// Seen: KEXINIT in a published `ssh -vvv` of 6.6.1p1 Ubuntu-2ubuntu2.6.
static UBUNTU_14_04: Profile = Profile {
    name: "OpenSSH 6.6.1p1, Ubuntu 14.04",
    version: (6, 6),
    identification: "SSH-2.0-OpenSSH_6.6.1p1 Ubuntu-2ubuntu2.13",
    kex: &[
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        "diffie-hellman-group-exchange-sha256",
        "diffie-hellman-group-exchange-sha1",
        "diffie-hellman-group14-sha1",
        "diffie-hellman-group1-sha1",
    ],
    host_keys: &["ssh-rsa", "ssh-dss", "ecdsa-sha2-nistp256", "ssh-ed25519"],
    ciphers: &[
        "aes128-ctr",
        "aes192-ctr",
        "aes256-ctr",
        "arcfour256",
        "arcfour128",
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "chacha20-poly1305@openssh.com",
        "aes128-cbc",
        "3des-cbc",
        "blowfish-cbc",
        "cast128-cbc",
        "aes192-cbc",
        "aes256-cbc",
        "arcfour",
        "rijndael-cbc@lysator.liu.se",
    ],
    macs: &[
        "hmac-md5-etm@openssh.com",
        "hmac-sha1-etm@openssh.com",
        "umac-64-etm@openssh.com",
        "umac-128-etm@openssh.com",
        "hmac-sha2-256-etm@openssh.com",
        "hmac-sha2-512-etm@openssh.com",
        "hmac-ripemd160-etm@openssh.com",
        "hmac-sha1-96-etm@openssh.com",
        "hmac-md5-96-etm@openssh.com",
        "hmac-md5",
        "hmac-sha1",
        "umac-64@openssh.com",
        "umac-128@openssh.com",
        "hmac-sha2-256",
        "hmac-sha2-512",
        "hmac-ripemd160",
        "hmac-ripemd160@openssh.com",
        "hmac-sha1-96",
        "hmac-md5-96",
    ],
    group_exchange: (1024, 8192),
    server_sig_algs: None,
    farewell: Farewell::Names("Too many authentication failures for "),
    ..UBUNTU_16_04
};

/// Seen: KEXINIT in a published `ssh -vvv` of 5.1p1 Debian-5ubuntu1, the same source package.
///
/// OpenCanary's default claims to be this one. Today's clients have no host key algorithm in common
/// with it and hardened ones no key exchange and no MAC: hence what stands behind its lists.
static DEBIAN_5: Profile = Profile {
    name: "OpenSSH 5.1p1, Debian 5",
    distribution: Distribution::Debian,
    version: (5, 1),
    identification: "SSH-2.0-OpenSSH_5.1p1 Debian-5",
    kex: &[
        "diffie-hellman-group-exchange-sha256",
        "diffie-hellman-group-exchange-sha1",
        "diffie-hellman-group14-sha1",
        "diffie-hellman-group1-sha1",
    ],
    host_keys: &["ssh-rsa", "ssh-dss"],
    ciphers: &[
        "aes128-cbc",
        "3des-cbc",
        "blowfish-cbc",
        "cast128-cbc",
        "arcfour128",
        "arcfour256",
        "arcfour",
        "aes192-cbc",
        "aes256-cbc",
        "rijndael-cbc@lysator.liu.se",
        "aes128-ctr",
        "aes192-ctr",
        "aes256-ctr",
    ],
    macs: &[
        "hmac-md5",
        "hmac-sha1",
        "umac-64@openssh.com",
        "hmac-ripemd160",
        "hmac-ripemd160@openssh.com",
        "hmac-sha1-96",
        "hmac-md5-96",
    ],
    for_todays_clients: Additions {
        kex: &["diffie-hellman-group14-sha256", "curve25519-sha256", "ecdh-sha2-nistp256"],
        host_keys: &["rsa-sha2-512", "rsa-sha2-256", "ecdsa-sha2-nistp256", "ssh-ed25519"],
        ciphers: &["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"],
        macs: &["hmac-sha2-256", "hmac-sha2-512"],
    },
    ..UBUNTU_14_04
};

/// What a server gets that nobody knows here.
pub(super) fn newest() -> &'static Profile {
    &DEBIAN_SID
}
