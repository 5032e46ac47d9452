//! Every algorithm that the claimed server offers works with a stock ssh(1), and none beyond.

use serin_tests::Outcome;

use super::{DENIED, debian, each, python, speaking_as, ssh};

/// What OpenSSH 9.2 of Debian 12 offers, in its order.
const KEX: &str = "sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com,curve25519-sha256,\
    curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,\
    diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,\
    diffie-hellman-group14-sha256";
const HOST_KEYS: &str = "rsa-sha2-512,rsa-sha2-256,ecdsa-sha2-nistp256,ssh-ed25519";
const CIPHERS: &str = "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,\
    aes128-gcm@openssh.com,aes256-gcm@openssh.com";
const MACS: &str = "umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,\
    hmac-sha2-512-etm@openssh.com,hmac-sha1-etm@openssh.com,umac-64@openssh.com,umac-128@openssh.com,\
    hmac-sha2-256,hmac-sha2-512,hmac-sha1";

/// Options for ssh(1) that leave one algorithm of a list to agree on.
fn one_each(option: &str, list: &str, beside: &[&str]) -> Vec<Vec<String>> {
    let set = |it: &str| ["-o".to_owned(), it.to_owned()];
    list.split(',')
        .map(|it| {
            let fixed = beside.iter().flat_map(|it| set(it));
            set(&format!("{option}={it}")).into_iter().chain(fixed).chain(set("BatchMode=yes")).collect()
        })
        .collect()
}

/// Whether this ssh(1) knows an algorithm at all: what it does not know is not ours to answer for.
fn known(outcome: &Outcome) -> bool {
    !outcome.err.contains("Bad SSH2") && !outcome.err.contains("Unsupported KEX algorithm")
}

/// Each leads to the question for a password, or rather, here, to the refusal of none.
#[test]
fn all_that_is_offered_works() {
    let sensor = debian();
    // A MAC is agreed on beside a cipher that has none of its own.
    let choices = [
        one_each("KexAlgorithms", KEX, &[]),
        one_each("HostKeyAlgorithms", HOST_KEYS, &[]),
        one_each("Ciphers", CIPHERS, &[]),
        one_each("MACs", MACS, &["Ciphers=aes256-ctr"]),
        one_each("Compression", "yes,no", &[]),
    ]
    .concat();
    let outcomes = each(&choices, |options| {
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        ssh(&sensor, &options)
    });
    let mut played = 0;
    for (options, outcome) in choices.iter().zip(outcomes) {
        if known(&outcome) {
            assert_eq!((outcome.status, outcome.err.trim_end()), (255, DENIED), "{options:?}: {outcome:?}");
            played += 1;
        }
    }
    // Of the lists above, an ssh(1) of 2018 or later lacks at most the two with sntrup761.
    assert!(played >= choices.len() - 2, "only {played} of {} were played", choices.len());
    assert_eq!(sensor.wait_for(4001, played).len(), played);
}

/// Who knows nothing in common is told the list, and the visit is in the log.
#[test]
fn nothing_else_is_agreed_on() {
    let sensor = debian();
    let strict = format!("{KEX},kex-strict-s-v00@openssh.com");
    let refusals = [
        ("KexAlgorithms=diffie-hellman-group14-sha1", "key exchange method", strict.as_str()),
        ("HostKeyAlgorithms=ssh-rsa", "host key type", HOST_KEYS),
        ("Ciphers=aes128-cbc", "cipher", CIPHERS),
        ("Ciphers=3des-cbc", "cipher", CIPHERS),
    ];
    let outcomes = each(&refusals, |(option, _, _)| ssh(&sensor, &["-o", option, "-o", "LogLevel=INFO"]));
    for ((option, what, offer), outcome) in refusals.iter().zip(outcomes) {
        let wanted = format!(
            "Unable to negotiate with 127.0.0.1 port {}: no matching {what} found. Their offer: {offer}",
            sensor.port("ssh")
        );
        assert_eq!((outcome.status, outcome.err.trim_end()), (255, wanted.as_str()), "{option}");
    }
    assert_eq!(sensor.wait_for(4000, refusals.len()).len(), refusals.len());
    let mac = ssh(&sensor, &["-o", "Ciphers=aes128-ctr", "-o", "MACs=hmac-md5", "-o", "LogLevel=INFO"]);
    assert!(mac.err.contains(&format!("no matching MAC found. Their offer: {MACS}")), "{mac:?}");
}

/// `mlkem768x25519-sha256` came with OpenSSH 9.9 and is first since 10.0. No client of Debian 12 has
/// it; Paramiko does, and prefers it.
#[test]
fn the_post_quantum_exchange_of_later_versions_works() {
    let sensor = speaking_as("SSH-2.0-OpenSSH_10.0p2 Debian-7").start();
    let script = "import paramiko, sys
t = paramiko.Transport(('127.0.0.1', int(sys.argv[1])))
t.get_security_options().kex = ('mlkem768x25519-sha256',)
t.start_client(timeout=20)
try:
  t.auth_password('root', 'later')
except Exception as e:
  print(type(e).__name__)
t.close()";
    let outcome = python(&sensor, script);
    assert_eq!(outcome.out, "AuthenticationException\n", "{outcome:?}");
    assert_eq!(super::logins(&sensor, 1), [("root".to_owned(), "later".to_owned())]);
}
