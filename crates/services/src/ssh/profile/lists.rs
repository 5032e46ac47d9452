//! What several servers have in common: lists and texts.

use super::Names;

pub(super) const KEX_10_0: Names = &[
    "mlkem768x25519-sha256",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "ext-info-s",
    "kex-strict-s-v00@openssh.com",
];

pub(super) const KEX_9_0: Names = &[
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
];

/// Since 8.2, which dropped what ends in SHA-1.
pub(super) const KEX_8_2: Names = &[
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
];

/// From 7.4 to 8.1. (7.3 has all but the first.)
pub(super) const KEX_7_3: Names = &[
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
];

/// Until 7.7.
pub(super) const KEYS_SHA1_FIRST: Names =
    &["ssh-rsa", "rsa-sha2-512", "rsa-sha2-256", "ecdsa-sha2-nistp256", "ssh-ed25519"];

/// From 7.8 to 8.7.
pub(super) const KEYS: Names =
    &["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519"];

/// Since 8.8, which dropped SHA-1.
pub(super) const KEYS_WITHOUT_SHA1: Names =
    &["rsa-sha2-512", "rsa-sha2-256", "ecdsa-sha2-nistp256", "ssh-ed25519"];

/// From 6.7 to 9.9.
pub(super) const CIPHERS: Names = &[
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
];

/// Since 6.7.
pub(super) const MACS: Names = &[
    "umac-64-etm@openssh.com",
    "umac-128-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha1-etm@openssh.com",
    "umac-64@openssh.com",
    "umac-128@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-sha1",
];

pub(super) const COMPRESSION: [Names; 2] = [&["none", "zlib@openssh.com"], &["none", "zlib@openssh.com"]];

/// Since 9.6, which names only what is accepted.
pub(super) const SIGNATURES_9_6: &str = "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,\
    sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256";

/// From 8.4 to 8.9.
pub(super) const SIGNATURES_8_4: &str = "ssh-ed25519,sk-ssh-ed25519@openssh.com,\
    ssh-rsa,rsa-sha2-256,rsa-sha2-512,ssh-dss,\
    ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,\
    sk-ecdsa-sha2-nistp256@openssh.com,webauthn-sk-ecdsa-sha2-nistp256@openssh.com";

/// From 7.6 to 8.1.
pub(super) const SIGNATURES_7_6: &str = "ssh-ed25519,ssh-rsa,rsa-sha2-256,rsa-sha2-512,ssh-dss,\
    ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521";

/// From 7.2 to 7.4.
pub(super) const SIGNATURES_7_2: &str = "rsa-sha2-256,rsa-sha2-512";

/// Since 8.9.
pub(super) const HOSTBOUND: (&str, &str) = ("publickey-hostbound@openssh.com", "0");

/// Since 9.5.
pub(super) const PING: (&str, &str) = ("ping@openssh.com", "0");

/// What the authors' default configuration has.
pub(super) const UPSTREAM_METHODS: Names = &["publickey", "password", "keyboard-interactive"];

/// Before 8.0: sshd.c's own reading of identifications, which ends its lines with LF.
pub(super) const MISMATCH: &str = "Protocol mismatch.\n";

/// The same.
pub(super) const VERSIONS_DIFFER: &str = "Protocol major versions differ.\n";

/// Since 9.8.
pub(super) const NOT_ALLOWED: &str = "Not allowed at this time\r\n";
