//! Dropbear.
//!
//! It speaks first: identification and KEXINIT together. Nothing that is wrong gets an answer: it
//! hangs up without a word on a line that does not begin with `SSH-`, on another major version and
//! after ten refusals. Measured on Debian's and Ubuntu's packages, and in their source.

use std::time::Duration;

use super::{Additions, Distribution, Farewell, Names, Padding, Product, Profile};

/// From the oldest to the newest.
pub(super) static ALL: &[&Profile] = &[&V2019_78, &V2020_81, &V2022_83, &V2024_86, &V2025_89, &V2026_94];

/// Measured: Debian 12's dropbear-bin 2022.83-1+deb12u3, KEXINIT and `EXT_INFO` byte for byte.
static V2022_83: Profile = Profile {
    name: "Dropbear 2022.83, Debian 12",
    product: Product::Dropbear,
    distribution: Distribution::Upstream,
    version: (2022, 83),
    revision: 0,
    identification: "SSH-2.0-dropbear_2022.83",
    speaks_first: true,
    padding: Padding::Random,
    kex: &[
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp521",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp256",
        "diffie-hellman-group14-sha256",
        "diffie-hellman-group14-sha1",
        "kexguess2@matt.ucc.asn.au",
        "kex-strict-s-v00@openssh.com",
    ],
    host_keys: &["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-256", "ssh-rsa"],
    ciphers: &["chacha20-poly1305@openssh.com", "aes128-ctr", "aes256-ctr"],
    macs: &["hmac-sha1", "hmac-sha2-256"],
    compression: [&["zlib@openssh.com", "none"], &["zlib@openssh.com", "none"]],
    for_todays_clients: Additions::NONE,
    // It has no group exchange.
    group_exchange: (2048, 2048),
    server_sig_algs: Some(
        "ssh-ed25519,sk-ssh-ed25519@openssh.com,\
         ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,\
         sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-256,ssh-rsa,ssh-dss",
    ),
    extensions: &[],
    ext_info_in_auth: false,
    methods: &["publickey", "password"],
    max_tries: 10,
    farewell: Farewell::Silent,
    pam: false,
    grace: Duration::from_mins(5),
    invalid: None,
    other_version: None,
    crowded: None,
    rsa_bits: 2048,
};

/// Measured: Debian 11's 2020.81-3+deb11u2, KEXINIT and `EXT_INFO` byte for byte.
static V2020_81: Profile = Profile {
    name: "Dropbear 2020.81, Debian 11",
    version: (2020, 81),
    identification: "SSH-2.0-dropbear_2020.81",
    server_sig_algs: Some(
        "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,\
         rsa-sha2-256,ssh-rsa,ssh-dss",
    ),
    ..V2022_83
};

/// Measured: Ubuntu 20.04's 2019.78-2build1, KEXINIT byte for byte; it sends no `EXT_INFO`.
static V2019_78: Profile = Profile {
    name: "Dropbear 2019.78",
    version: (2019, 78),
    identification: "SSH-2.0-dropbear_2019.78",
    kex: &[
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp521",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp256",
        "diffie-hellman-group14-sha256",
        "diffie-hellman-group14-sha1",
        "kexguess2@matt.ucc.asn.au",
    ],
    host_keys: &["ecdsa-sha2-nistp256", "ssh-rsa", "ssh-dss"],
    ciphers: &["aes128-ctr", "aes256-ctr", "aes128-cbc", "aes256-cbc", "3des-ctr", "3des-cbc"],
    macs: &["hmac-sha1-96", "hmac-sha1", "hmac-sha2-256"],
    server_sig_algs: None,
    ..V2020_81
};

/// Measured: Ubuntu 25.04's 2024.86-2, KEXINIT and `EXT_INFO` byte for byte.
static V2024_86: Profile = Profile {
    name: "Dropbear 2024.86",
    version: (2024, 86),
    identification: "SSH-2.0-dropbear_2024.86",
    server_sig_algs: Some(
        "ssh-ed25519,sk-ssh-ed25519@openssh.com,\
         ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,\
         sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-256,ssh-rsa",
    ),
    ..V2022_83
};

/// Measured: Debian 13's 2025.89-1~deb13u1, KEXINIT and `EXT_INFO` byte for byte. Compression is
/// offered in one direction only.
static V2025_89: Profile = Profile {
    name: "Dropbear 2025.89, Debian 13",
    version: (2025, 89),
    identification: "SSH-2.0-dropbear_2025.89",
    kex: POST_QUANTUM,
    host_keys: &["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-256"],
    ciphers: &["chacha20-poly1305@openssh.com", "aes256-ctr", "aes128-ctr"],
    macs: &["hmac-sha2-256"],
    compression: [&["none"], &["zlib@openssh.com", "zlib", "none"]],
    server_sig_algs: Some(
        "ssh-ed25519,sk-ssh-ed25519@openssh.com,\
         ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,\
         sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-256",
    ),
    ..V2022_83
};

/// Measured: Debian sid's 2026.94-1, KEXINIT and `EXT_INFO` byte for byte.
static V2026_94: Profile = Profile {
    name: "Dropbear 2026.94, Debian sid",
    version: (2026, 94),
    identification: "SSH-2.0-dropbear_2026.94",
    ..V2025_89
};

const POST_QUANTUM: Names = &[
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp521",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp256",
    "diffie-hellman-group14-sha256",
    "kexguess2@matt.ucc.asn.au",
    "kex-strict-s-v00@openssh.com",
];
