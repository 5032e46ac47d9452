//! The packets of genuine servers against what is built here.
//!
//! `golden/*.hex` were recorded from Debian's and Ubuntu's packages on loopback: the payload of KEXINIT with its
//! cookie zeroed, and that of `EXT_INFO` where it sent one. Where no package was to be had, the fingerprint of a public
//! record stands for the packet.

use super::{Padding, Product, Profile, all, nearest};
use crate::ssh::kexinit::{Offer, Offered, ours};
use crate::ssh::random::Random;
use crate::ssh::{cipher, kex, mac};

const RECORDED: &[(&str, &str)] = &[
    ("SSH-2.0-OpenSSH_7.2p2 Ubuntu-4ubuntu2.10", include_str!("golden/openssh-7.2-ubuntu-16.04.hex")),
    ("SSH-2.0-OpenSSH_7.6p1 Ubuntu-4ubuntu0.7", include_str!("golden/openssh-7.6-ubuntu-18.04.hex")),
    ("SSH-2.0-OpenSSH_8.2p1 Ubuntu-4ubuntu0.13", include_str!("golden/openssh-8.2-ubuntu-20.04.hex")),
    ("SSH-2.0-OpenSSH_8.9p1 Ubuntu-3ubuntu0.18", include_str!("golden/openssh-8.9-ubuntu-22.04.hex")),
    ("SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.20", include_str!("golden/openssh-9.6-ubuntu-24.04.hex")),
    ("SSH-2.0-OpenSSH_9.9p1 Ubuntu-3ubuntu3.2", include_str!("golden/openssh-9.9-ubuntu-25.04.hex")),
    ("SSH-2.0-OpenSSH_10.0p2 Ubuntu-5ubuntu5.4", include_str!("golden/openssh-10.0-ubuntu-25.10.hex")),
    ("SSH-2.0-OpenSSH_10.2p1 Ubuntu-2ubuntu3.8", include_str!("golden/openssh-10.2-ubuntu-26.04.hex")),
    ("SSH-2.0-OpenSSH_8.4p1 Debian-5+deb11u3", include_str!("golden/openssh-8.4-debian-11.hex")),
    ("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10", include_str!("golden/openssh-9.2-debian-12.hex")),
    ("SSH-2.0-OpenSSH_10.0p2 Debian-7+deb13u4", include_str!("golden/openssh-10.0-debian-13.hex")),
    ("SSH-2.0-OpenSSH_10.3p1 Debian-1~bpo13+1", include_str!("golden/openssh-10.3-debian-13-backports.hex")),
    ("SSH-2.0-OpenSSH_10.6p1 Debian-1", include_str!("golden/openssh-10.6-debian-sid.hex")),
    ("SSH-2.0-dropbear_2019.78", include_str!("golden/dropbear-2019.78.hex")),
    ("SSH-2.0-dropbear_2020.81", include_str!("golden/dropbear-2020.81.hex")),
    ("SSH-2.0-dropbear_2022.83", include_str!("golden/dropbear-2022.83.hex")),
    ("SSH-2.0-dropbear_2024.86", include_str!("golden/dropbear-2024.86.hex")),
    ("SSH-2.0-dropbear_2025.89", include_str!("golden/dropbear-2025.89.hex")),
    ("SSH-2.0-dropbear_2026.94", include_str!("golden/dropbear-2026.94.hex")),
];

/// Identification, `hasshServer`, packet length and padding length; 0 where the record has neither
/// or where its host keys are not a default install's.
const PUBLISHED: &[(&str, &str, u32, u32)] = &[
    // The specification of this project measured it too.
    ("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10", "425d29fe50d8e4f5e37efb6e24bcf660", 1132, 11),
    // A masscan record with the whole packet; the HASSH in reports on Shodan records of it.
    ("SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.5", "e42184b06d45385a906f0803d04c83da", 1116, 7),
    // Alpine 3.20's, in a write-up of this very packet.
    ("SSH-2.0-OpenSSH_9.7", "e42184b06d45385a906f0803d04c83da", 1116, 7),
    ("SSH-2.0-OpenSSH_8.9p1 Ubuntu-3ubuntu0.16", "41ff3ecd1458b0bf86e1b4891636213e", 0, 0),
    // Shodan records.
    ("SSH-2.0-OpenSSH_8.2p1 Ubuntu-4ubuntu0.12", "779664e66160bf75999f091fce5edb5a", 0, 0),
    // An example of the HASSH tools.
    ("SSH-2.0-OpenSSH_8.2p1 Ubuntu-4ubuntu0.1", "3ccd1778a76049721c71ad7d2bf62bbc", 0, 0),
    // The HASSH authors' example.
    ("SSH-2.0-OpenSSH_7.2p2 Ubuntu-4ubuntu2.4", "d43d91bc39d5aaed819ad9f6b57b7348", 0, 0),
    // Suricata's test capture tests/ssh-hassh/input.pcap.
    ("SSH-2.0-OpenSSH_7.4", "6832f1ce43d4397c2c0a3e2f8c94334e", 1276, 10),
];

/// The genuine lists of servers that get additions, as published logs have them; made with
/// `printf '%s' 'KEX;CIPHERS;MACS;COMPRESSION' | md5sum` from the logs' text.
const WITHOUT_ADDITIONS: &[(&str, &str)] = &[
    ("SSH-2.0-Cisco-1.25", "bf097937b3f4c4fc599e54d01e3ab594"),
    ("SSH-2.0-OpenSSH_5.1p1 Debian-5", "2270b0152ebe5afb20df3041c7f076a2"),
];

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// Our KEXINIT of a profile with all of its host keys, the cookie zeroed.
fn kexinit(profile: &Profile, host_keys: &[&'static str]) -> Vec<u8> {
    let mut payload = ours(&Offered::new(profile, host_keys.to_vec()), &mut Random::new([7; 32]));
    payload[1..17].fill(0);
    payload
}

/// MD5 of what goes to the client, as `hasshServer` is defined.
fn hassh_server(profile: &Profile) -> String {
    let host_keys: Vec<&str> = profile.offered_host_keys().collect();
    let payload = kexinit(profile, &host_keys);
    let offer = Offer::read(&payload[1..], Product::OpenSsh).unwrap();
    let [ciphers, macs, compression] = [offer.ciphers, offer.macs, offer.compression].map(|[_, it]| it);
    Offer { ciphers: [ciphers; 2], macs: [macs; 2], compression: [compression; 2], ..offer }.shown().hassh
}

#[test]
fn kexinit_is_that_of_the_genuine_server() {
    for (identification, recorded) in RECORDED {
        let profile = nearest(identification);
        assert_eq!(profile.identification, *identification);
        let genuine = bytes(recorded.lines().next().unwrap());
        let mut host_keys: Vec<&str> = profile.offered_host_keys().collect();
        if profile.version == (10, 6) {
            // What the profile leaves away because nobody here can sign with it.
            host_keys.push("ssh-mldsa44-ed25519");
        }
        let built = kexinit(profile, &host_keys);
        assert_eq!(built.escape_ascii().to_string(), genuine.escape_ascii().to_string(), "{identification}");
    }
}

#[test]
fn ext_info_is_that_of_the_genuine_server() {
    for (identification, recorded) in RECORDED {
        let text = |payload: Vec<u8>| payload.escape_ascii().to_string();
        let genuine = recorded.lines().nth(1).map(|it| text(bytes(it)));
        assert_eq!(nearest(identification).ext_info().map(|it| text(it.0)), genuine, "{identification}");
    }
}

#[test]
fn fingerprints_are_those_of_public_records() {
    for &(identification, hassh, length, padding) in PUBLISHED {
        let profile = nearest(identification);
        assert_eq!(hassh_server(profile), hassh, "{identification}");
        if length > 0 {
            let host_keys: Vec<&str> = profile.offered_host_keys().collect();
            let payload = u32::try_from(kexinit(profile, &host_keys).len()).unwrap();
            assert_eq!(payload + padding + 1, length, "{identification}");
            assert_eq!((payload + padding + 5) % 8, 0, "{identification}");
        }
    }
}

#[test]
fn behind_additions_the_lists_are_still_genuine() {
    for (identification, hassh) in WITHOUT_ADDITIONS {
        let profile = nearest(identification);
        let added = profile.for_todays_clients;
        assert!(!added.kex.is_empty() && !added.host_keys.is_empty() && !added.macs.is_empty());
        let genuine = Profile { for_todays_clients: super::Additions::NONE, ..profile.clone() };
        assert_eq!(hassh_server(&genuine), *hassh, "{identification}");
    }
}

#[test]
fn nothing_is_offered_twice() {
    for profile in all() {
        let lists: [Vec<&str>; 6] = [
            profile.offered_kex().collect(),
            profile.offered_host_keys().collect(),
            profile.offered_ciphers().collect(),
            profile.offered_macs().collect(),
            profile.compression[0].to_vec(),
            profile.methods.to_vec(),
        ];
        for list in lists {
            let mut once = list.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), list.len(), "{}: {list:?}", profile.name);
            assert!(!list.is_empty(), "{}", profile.name);
        }
    }
}

/// What OpenSSH 10.6 offers without configuration, from its `ssh -G`.
const TODAY: &str = "mlkem768x25519-sha256,sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com,\
    curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,\
    ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,\
    diffie-hellman-group18-sha512,diffie-hellman-group14-sha256 \
    ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com,\
    ecdsa-sha2-nistp384-cert-v01@openssh.com,ecdsa-sha2-nistp521-cert-v01@openssh.com,\
    sk-ssh-ed25519-cert-v01@openssh.com,sk-ecdsa-sha2-nistp256-cert-v01@openssh.com,\
    webauthn-sk-ecdsa-sha2-nistp256-cert-v01@openssh.com,rsa-sha2-512-cert-v01@openssh.com,\
    rsa-sha2-256-cert-v01@openssh.com,ssh-mldsa44-ed25519-cert,ssh-ed25519,ecdsa-sha2-nistp256,\
    ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,sk-ssh-ed25519@openssh.com,\
    sk-ecdsa-sha2-nistp256@openssh.com,webauthn-sk-ecdsa-sha2-nistp256@openssh.com,\
    rsa-sha2-512,rsa-sha2-256,ssh-mldsa44-ed25519 \
    chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,\
    aes192-ctr,aes256-ctr \
    umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,\
    hmac-sha2-512-etm@openssh.com,hmac-sha1-etm@openssh.com,umac-64@openssh.com,\
    umac-128@openssh.com,hmac-sha2-256,hmac-sha2-512,hmac-sha1";

#[test]
fn todays_clients_have_something_in_common_with_every_server() {
    let common = |theirs: &str, mut ours: Box<dyn Iterator<Item = &'static str>>| {
        ours.any(|it| theirs.split(',').any(|their| their == it))
    };
    let [kex, host_keys, ciphers, macs] = TODAY.split(' ').collect::<Vec<_>>()[..] else { panic!() };
    for profile in all() {
        assert!(common(kex, Box::new(profile.offered_kex())), "{}: kex", profile.name);
        assert!(common(host_keys, Box::new(profile.offered_host_keys())), "{}: host keys", profile.name);
        assert!(common(ciphers, Box::new(profile.offered_ciphers())), "{}: ciphers", profile.name);
        assert!(common(macs, Box::new(profile.offered_macs())), "{}: MACs", profile.name);
    }
}

#[test]
fn only_dropbear_pads_at_random_and_speaks_first() {
    for profile in all() {
        let dropbear = profile.identification.contains("dropbear");
        assert_eq!(profile.padding == Padding::Random, dropbear, "{}", profile.name);
        assert_eq!(profile.speaks_first, dropbear, "{}", profile.name);
    }
}

#[test]
fn what_is_offered_can_be_done() {
    let markers = ["ext-info-s", "kex-strict-s-v00@openssh.com", "kexguess2@matt.ucc.asn.au"];
    let mut missing: Vec<&str> = Vec::new();
    for profile in all() {
        missing.extend(
            profile.offered_kex().filter(|it| !markers.contains(it) && kex::find(it.as_bytes()).is_none()),
        );
        missing.extend(profile.offered_ciphers().filter(|it| cipher::find(it).is_none()));
        missing.extend(profile.offered_macs().filter(|it| mac::find(it).is_none()));
    }
    missing.sort_unstable();
    missing.dedup();
    assert!(missing.is_empty(), "{missing:?}");
}
