//! Keys that clients show: all are refused, and each is in the log by its fingerprint.

use std::path::Path;

use serde_json::json;
use serin_tests::{Sensor, client_in};

use super::{DEBIAN, DENIED, apart, debian, logins, own_version, python, ssh};

/// Makes a key and returns its fingerprint as ssh-keygen(1) tells it.
fn make_key(folder: &Path, kind: &str, bits: &str) -> String {
    let name = format!("id_{kind}");
    let made =
        client_in(folder, "ssh-keygen", &["-q", "-t", kind, "-b", bits, "-N", "", "-C", "", "-f", &name], "");
    assert_eq!(made.status, 0, "{made:?}");
    let told = client_in(folder, "ssh-keygen", &["-l", "-f", &format!("{name}.pub")], "").out;
    told.split(' ').nth(1).expect("a fingerprint").to_owned()
}

/// `logdata` of the events about keys, in the order in which they came.
#[track_caller]
fn keys(sensor: &Sensor, count: usize) -> Vec<serde_json::Value> {
    let found = sensor.wait_for(21111, count);
    assert_eq!(found.len(), count, "{found:#?}");
    found.into_iter().map(|mut it| it.json["logdata"].take()).collect()
}

#[test]
fn offered_keys_are_recorded_with_their_fingerprints() {
    let sensor = debian();
    let folder = sensor.folder();
    let made = [
        ("ed25519", "256", "ED25519", "ssh-ed25519"),
        ("rsa", "2048", "RSA", "rsa-sha2-512"),
        ("ecdsa", "384", "ECDSA", "ecdsa-sha2-nistp384"),
    ]
    .map(|(kind, bits, key_type, algorithm)| (make_key(folder, kind, bits), key_type, algorithm));
    let all = ["-i", "id_ed25519", "-i", "id_rsa", "-i", "id_ecdsa", "-o", "BatchMode=yes"];
    let outcome = ssh(&sensor, &all);
    assert_eq!((outcome.status, outcome.err.trim_end()), (255, DENIED), "{outcome:?}");
    let wanted: Vec<_> = made
        .iter()
        .map(|(fingerprint, key_type, algorithm)| {
            json!({
                "ALGORITHM": algorithm, "FINGERPRINT": fingerprint, "KEYTYPE": key_type, "LOCALVERSION": DEBIAN,
                "REMOTEVERSION": own_version(), "SIGNED": false, "USERNAME": "root",
            })
        })
        .collect();
    assert_eq!(keys(&sensor, 3), wanted);
    let bits: Vec<_> = sensor.details(21111).iter().map(|it| it["BITS"].clone()).collect();
    assert_eq!(bits, [256, 2048, 384]);
}

/// Paramiko does not ask first whether a key would do.
#[test]
fn signatures_are_recorded_and_refused() {
    let sensor = debian();
    let script = "import paramiko, sys
t = paramiko.Transport(('127.0.0.1', int(sys.argv[1])))
t.connect()
for key in (paramiko.RSAKey.generate(2048), paramiko.ECDSAKey.generate()):
  print('SHA256:' + __import__('base64').b64encode(__import__('hashlib').sha256(key.asbytes()).digest()).decode().rstrip('='))
  try:
    t.auth_publickey('deploy', key)
  except Exception as e:
    print(type(e).__name__, e)
t.close()";
    let outcome = python(&sensor, script);
    let lines: Vec<_> = outcome.out.lines().collect();
    let refused = "AuthenticationException Authentication failed.";
    assert_eq!((lines.len(), lines[1], lines[3]), (4, refused, refused), "{outcome:?}");
    let found = keys(&sensor, 2);
    for (event, fingerprint) in found.iter().zip([lines[0], lines[2]]) {
        assert_eq!(event["FINGERPRINT"], fingerprint);
        assert_eq!((&event["SIGNED"], &event["USERNAME"]), (&json!(true), &json!("deploy")));
    }
    assert_eq!(found[0]["ALGORITHM"], "rsa-sha2-512");
}

#[test]
fn keys_then_a_password_are_one_visit() {
    let sensor = debian();
    let fingerprint = make_key(sensor.folder(), "ed25519", "256");
    let apart = apart(sensor.port("ssh"));
    let mut all = vec!["-p", "after-keys", "ssh", "-i", "id_ed25519"];
    all.extend(apart.iter().map(String::as_str));
    all.extend(["root@127.0.0.1", "true"]);
    let outcome = client_in(sensor.folder(), "sshpass", &all, "");
    assert_eq!(outcome.status, 255, "{outcome:?}");
    assert_eq!(keys(&sensor, 1)[0]["FINGERPRINT"], fingerprint.as_str());
    assert_eq!(logins(&sensor, 1), [("root".to_owned(), "after-keys".to_owned())]);
    // What ties them together, and what tells the client's make from its name.
    let (key, login) = (&sensor.details(21111)[0], &sensor.details(4002)[0]);
    assert_eq!((&key["SESSION"], &key["HASSH"]), (&login["SESSION"], &login["HASSH"]));
    let hassh = login["HASSH"].as_str().expect("a text");
    assert!(hassh.len() == 32 && hassh.bytes().all(|it| it.is_ascii_hexdigit()), "{hassh}");
    assert_eq!(
        sensor.wait_for(4000, 1)[0].json["logdata"]["SESSION"].to_string(),
        login["SESSION"].to_string()
    );
}

/// What a client offers is what its own debugging output says it offers.
#[test]
fn the_fingerprint_of_a_client_is_its_own() {
    let sensor = debian();
    let ciphers = "aes256-ctr,aes128-ctr";
    let macs = "hmac-sha2-256,hmac-sha2-512";
    let outcome = ssh(
        &sensor,
        &[
            "-o",
            "BatchMode=yes",
            "-o",
            "KexAlgorithms=curve25519-sha256,ecdh-sha2-nistp256",
            "-o",
            &format!("Ciphers={ciphers}"),
            "-o",
            &format!("MACs={macs}"),
        ],
    );
    assert_eq!(outcome.status, 255, "{outcome:?}");
    sensor.wait_for(4001, 1).pop().expect("an event");
    let details = &sensor.details(4001)[0];
    let offered = details["KEXALGORITHMS"].as_str().expect("a text");
    assert!(offered.starts_with("curve25519-sha256,ecdh-sha2-nistp256"), "{details}");
    assert_eq!((&details["CIPHERS"], &details["MACS"]), (&json!(ciphers), &json!(macs)));
    // https://github.com/salesforce/hassh: MD5 of kex;ciphers;MACs;compression, client to server.
    let text = format!("{offered};{ciphers};{macs};none,zlib@openssh.com,zlib");
    let sum = client_in(sensor.folder(), "md5sum", &[], &text).out;
    assert_eq!(details["HASSH"], sum.split(' ').next().expect("a sum"), "{details}");
}
