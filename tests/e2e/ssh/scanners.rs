//! What looks at an SSH server without wanting in: what it finds is what it finds on Debian 12.

use serin_tests::{Sensor, Talk, client_in};

use super::{debian, each};

/// The lines about the port of an `nmap` that runs these scripts.
fn nmap(sensor: &Sensor, more: &[&str]) -> String {
    let port = sensor.port("ssh").to_string();
    let all = [&["-n", "-Pn", "-p", &port], more, &["127.0.0.1"]].concat();
    let outcome = client_in(sensor.folder(), "nmap", &all, "");
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(!outcome.words().contains("ERROR"), "{outcome:?}");
    let lines = outcome.out.lines().filter(|it| it.starts_with(&port) || it.starts_with('|'));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn nmap_names_the_version() {
    let sensor = debian();
    let found = nmap(&sensor, &["-sV"]);
    let line = found.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    assert_eq!(line, "open ssh OpenSSH 9.2p1 Debian 2+deb12u10 (protocol 2.0)");
}

#[test]
fn nmaps_scripts_find_what_debian_shows() {
    let sensor = debian();
    let scripts = [
        &["--script", "+ssh2-enum-algos"][..],
        &["--script", "+ssh-auth-methods,+sshv1"],
        &["--script", "+ssh-hostkey", "--script-args", "ssh_hostkey=sha256"],
    ];
    let found = each(&scripts, |it| nmap(&sensor, it));
    for words in [
        "kex_algorithms: (12)",
        "sntrup761x25519-sha512\n",
        "kex-strict-s-v00@openssh.com",
        "server_host_key_algorithms: (4)",
        "encryption_algorithms: (6)",
        "mac_algorithms: (10)",
        "compression_algorithms: (2)",
        "zlib@openssh.com",
    ] {
        assert!(found[0].contains(words), "{words}: {}", found[0]);
    }
    let methods: Vec<_> = found[1].lines().skip(1).map(|it| it.trim_start_matches(['|', '_', ' '])).collect();
    assert_eq!(
        methods,
        ["ssh-auth-methods: ", "Supported authentication methods: ", "publickey", "password"]
    );
    // The script cannot agree on RSA with SHA-2, so that it sees two of three keys.
    let keys: Vec<_> = found[2].lines().filter(|it| it.contains("SHA256:")).collect();
    assert_eq!(keys.len(), 2, "{}", found[2]);
    assert!(keys[0].ends_with("(ECDSA)") && keys[1].ends_with("(ED25519)"), "{keys:?}");
}

#[test]
fn keyscan_collects_every_host_key() {
    let sensor = debian();
    let port = sensor.port("ssh").to_string();
    let types = ["-t", "rsa,ecdsa,ed25519", "-p", &port, "127.0.0.1"];
    let outcome = client_in(sensor.folder(), "ssh-keyscan", &types, "");
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let mut kinds: Vec<_> = outcome.out.lines().filter(|it| !it.starts_with('#')).collect();
    kinds.sort_unstable();
    assert_eq!(kinds.len(), 3, "{outcome:?}");
    for (line, kind) in kinds.iter().zip(["ecdsa-sha2-nistp256", "ssh-ed25519", "ssh-rsa"]) {
        assert!(line.starts_with(&format!("[127.0.0.1]:{port} {kind} AAAA")), "{line}");
    }
    assert_eq!(sensor.wait_for(4000, 3).len(), 3);
}

/// What `ssh-audit -M` wrote of a genuine Debian 12, but for the address.
const POLICY: &str = "name = \"Debian 12\"
version = 1
banner = \"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\"
compressions = none, zlib@openssh.com
allow_algorithm_subset_and_reordering = false
allow_hostkey_subset_and_reordering = false
allow_larger_keys = false
host_key_sizes = {\"rsa-sha2-256\": {\"hostkey_size\": 3072}, \"ssh-rsa\": {\"hostkey_size\": 3072}, \
    \"rsa-sha2-512\": {\"hostkey_size\": 3072}, \"ssh-ed25519\": {\"hostkey_size\": 256}, \
    \"ecdsa-sha2-nistp256\": {\"hostkey_size\": 512}}
dh_modulus_sizes = {\"diffie-hellman-group-exchange-sha256\": 3072}
host keys = rsa-sha2-512, rsa-sha2-256, ecdsa-sha2-nistp256, ssh-ed25519
key exchanges = sntrup761x25519-sha512, sntrup761x25519-sha512@openssh.com, curve25519-sha256, \
    curve25519-sha256@libssh.org, ecdh-sha2-nistp256, ecdh-sha2-nistp384, ecdh-sha2-nistp521, \
    diffie-hellman-group-exchange-sha256, diffie-hellman-group16-sha512, diffie-hellman-group18-sha512, \
    diffie-hellman-group14-sha256, kex-strict-s-v00@openssh.com
ciphers = chacha20-poly1305@openssh.com, aes128-ctr, aes192-ctr, aes256-ctr, aes128-gcm@openssh.com, \
    aes256-gcm@openssh.com
macs = umac-64-etm@openssh.com, umac-128-etm@openssh.com, hmac-sha2-256-etm@openssh.com, \
    hmac-sha2-512-etm@openssh.com, hmac-sha1-etm@openssh.com, umac-64@openssh.com, umac-128@openssh.com, \
    hmac-sha2-256, hmac-sha2-512, hmac-sha1
";

#[test]
fn ssh_audit_finds_debian() {
    let sensor = debian();
    let policy = sensor.folder().join("policy");
    std::fs::write(&policy, POLICY).expect("a file");
    let port = sensor.port("ssh").to_string();
    let policy = policy.display().to_string();
    let all = ["--skip-rate-test", "-n", "-P", &policy, "-p", &port, "127.0.0.1"];
    let outcome = client_in(sensor.folder(), "ssh-audit", &all, "");
    assert_eq!(outcome.status, 0, "{}", outcome.words());
    assert!(outcome.out.contains("Passed"), "{}", outcome.words());
}

/// Nothing that is not SSH goes by unseen.
#[test]
fn what_speaks_another_language_is_in_the_log() {
    let sensor = debian();
    let invalid: &[u8] = b"Invalid SSH identification string.\r\n";
    let hello: &[u8] = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03\r\n";
    let probes: [(&[u8], &[u8]); 5] = [
        (b"GET / HTTP/1.0\r\n\r\n", invalid),
        // nuclei's template for Cowrie.
        (b"SSH-1337-OpenSSH_9.0\r\n", invalid),
        (b"\n\n\n\n\n\n\n\n", invalid),
        (hello, invalid),
        (b"SSH-1.5-x\r\n", b"Protocol major versions differ.\r\n"),
    ];
    let heard = each(&probes, |(said, _)| {
        let mut talk = Talk::to(sensor.port("ssh"));
        talk.say(said);
        talk.rest()
    });
    for ((said, wanted), heard) in probes.iter().zip(heard) {
        let wanted = [super::DEBIAN.as_bytes(), b"\r\n", wanted].concat();
        let heard = heard.unwrap_or_default();
        assert_eq!(
            heard.escape_ascii().to_string(),
            wanted.escape_ascii().to_string(),
            "{}",
            said.escape_ascii()
        );
    }
    assert_eq!(sensor.wait_for(4000, probes.len()).len(), probes.len());
}

#[test]
fn who_connects_and_leaves_is_in_the_log_each_time() {
    let sensor = debian();
    let ports: Vec<_> = (0..40).map(|_| Talk::to(sensor.port("ssh")).port()).collect();
    let mut seen: Vec<_> = sensor.wait_for(4000, 40).iter().map(|it| it.json["src_port"].clone()).collect();
    seen.sort_by_key(serde_json::Value::as_u64);
    let mut ports = ports;
    ports.sort_unstable();
    assert_eq!(seen, ports);
}

/// Who is turned away is in the log like everybody else.
#[test]
fn a_crowd_is_turned_away_where_that_is_asked_for() {
    let sensor = super::speaking_as(super::DEBIAN).with("ssh.turn_away", true).start();
    let hear = |crowd: &mut [Talk]| -> Vec<String> {
        crowd.iter_mut().map(|it| String::from_utf8_lossy(&it.until("\r\n")).into_owned()).collect()
    };
    let connect = |count: usize| -> Vec<_> { (0..count).map(|_| Talk::to(sensor.port("ssh"))).collect() };
    // Those who come at once are not served in the order in which they came.
    let mut crowd = connect(10);
    let mut heard = hear(&mut crowd);
    crowd.extend(connect(110));
    assert_eq!(sensor.wait_for(4000, 120).len(), 120);
    heard.extend(hear(&mut crowd[10..]));
    let away = heard.iter().filter(|it| *it == "Exceeded MaxStartups\r\n").count();
    let identification = format!("{}\r\n", super::DEBIAN);
    assert!(heard[..10].iter().all(|it| *it == identification), "the first ten: {heard:?}");
    assert_eq!(heard.iter().filter(|it| **it == identification).count(), 120 - away);
    assert!((20..=110).contains(&away), "{away} turned away");
}
