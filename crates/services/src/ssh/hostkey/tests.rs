//! Keys and signatures of ssh-keygen, OpenSSL and Python's `cryptography`, read and checked; ours, as
//! those took them.

use super::*;

const FORMS: &str = include_str!("../../../sessions/ssh/keys/forms.pem");
const SIGNATURES: &str = include_str!("../../../sessions/ssh/keys/signatures.txt");
const RSA: &str = include_str!("../../../sessions/ssh/keys/ssh_host_rsa_key");
const ED25519: &str = include_str!("../../../sessions/ssh/keys/ssh_host_ed25519_key");

/// Each form of private key with what ssh-keygen says of it: `1024 SHA256:… (RSA)`.
fn forms() -> impl Iterator<Item = (&'static str, &'static str)> {
    FORMS.split("\n# ").skip(1).filter_map(|it| it.split_once('\n'))
}

fn key_of(kind: Kind) -> HostKey {
    let keys = forms().map(|(_, text)| HostKey::from_pem(text).unwrap());
    keys.into_iter().find(|it| it.kind() == kind).unwrap()
}

fn random() -> Random {
    Random::new([7; 32])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, it| text + &format!("{it:02x}"))
}

#[test]
fn every_form_is_read_as_ssh_keygen_reads_it() {
    let mut seen = 0;
    for (told, text) in forms() {
        let key = HostKey::from_pem(text).unwrap();
        let kind = match key.kind() {
            Kind::Rsa => "RSA",
            Kind::Dsa => "DSA",
            Kind::Ed25519 => "ED25519",
            _ => "ECDSA",
        };
        assert_eq!(format!("{} {} ({kind})", key.bits(), key.fingerprint()), told);
        seen += 1;
    }
    assert_eq!(seen, 17);
}

#[test]
fn what_is_written_is_read_back() {
    for (_, text) in forms() {
        let key = HostKey::from_pem(text).unwrap();
        let written = key.to_openssh("root@srv-files").unwrap();
        let again = HostKey::from_pem(&written).unwrap();
        assert_eq!((again.kind(), again.blob()), (key.kind(), key.blob()));
        assert_eq!(again.to_openssh("root@srv-files").unwrap(), written);
    }
}

/// But for the number that shows a passphrase to be right, which is random.
#[test]
fn an_ed25519_key_is_written_as_ssh_keygen_writes_it() {
    let bytes = |text: &str| {
        let lines: String = text.lines().filter(|it| !it.starts_with("---")).collect();
        let mut bytes = STANDARD.decode(lines).unwrap();
        bytes[98..106].fill(0);
        bytes
    };
    let written = HostKey::from_pem(ED25519).unwrap().to_openssh("root@srv-files").unwrap();
    assert_eq!(bytes(&written), bytes(ED25519));
    assert_eq!(written.lines().nth(1).unwrap().len(), ED25519.lines().nth(1).unwrap().len());
}

#[test]
fn what_cannot_be_used_is_told() {
    let told = |text: &str| HostKey::from_pem(text).unwrap_err().to_string();
    assert!(told("").contains("not a private key in PEM form"));
    assert!(told("ssh-ed25519 AAAA root@host").contains("not a private key"));
    let begin = |label: &str| format!("-----BEGIN {label}-----\n");
    assert!(told(&begin("RSA PRIVATE KEY")).contains("not a private key"));
    assert!(told(&format!("{}*\n-----END x-----", begin("PRIVATE KEY"))).contains("not a private key"));
    assert!(told(&begin("ENCRYPTED PRIVATE KEY")).contains("passphrase"));
    let old = format!("{}Proc-Type: 4,ENCRYPTED\n", begin("RSA PRIVATE KEY"));
    assert!(told(&old).contains("ssh-keygen -p"));
    // The beginning of what `ssh-keygen -N secret` writes: the cipher is named at once.
    let new = Message::part().raw(b"openssh-key-v1\0").string("aes256-ctr").string("bcrypt").string("");
    let new = format!("{}{}\n-----END x", begin("OPENSSH PRIVATE KEY"), STANDARD.encode(new.0));
    assert!(told(&format!("{new}-----")).contains("passphrase"), "{}", told(&new));
    let empty = |label: &str| told(&format!("{}MAA=\n-----END {label}-----\n", begin(label)));
    assert_eq!(empty("RSA PRIVATE KEY"), "this RSA key is damaged");
    assert_eq!(empty("EC PRIVATE KEY"), "this ECDSA key is damaged");
    assert_eq!(empty("DSA PRIVATE KEY"), "this DSA key is damaged");
    assert_eq!(empty("PRIVATE KEY"), "this PKCS#8 key is damaged");
    assert_eq!(empty("OPENSSH PRIVATE KEY"), "this OpenSSH key is damaged");
    assert!(empty("XMSS PRIVATE KEY").contains("XMSS keys are not known"));
}

#[test]
fn a_key_of_which_a_byte_is_wrong_is_refused() {
    for (told, text) in forms().filter(|(told, _)| told.ends_with("(RSA)")) {
        let key = HostKey::from_pem(text).unwrap();
        let Secret::Rsa(rsa) = &key.secret else { panic!("{told}") };
        let written = rsa.fields().0;
        // The last number is q: a factor that does not fit.
        let mut fields = written.clone();
        *fields.last_mut().unwrap() ^= 2;
        let private =
            Message::part().u32(1).u32(1).string("ssh-rsa").raw(&fields).string("").raw(&[1, 2, 3]).0;
        let file = Message::part().raw(b"openssh-key-v1\0").string("none").string("none").string("");
        let file = file.u32(1).string(key.blob()).string(private).0;
        assert!(matches!(openssh::read(&file), Err(HostKeyError::Damaged("RSA"))), "{told}");
    }
    for (_, text) in forms() {
        let middle = text.len() / 2;
        let _ = HostKey::from_pem(&text[..middle]).unwrap_err();
    }
}

#[test]
fn a_key_shows_its_fingerprint_and_never_itself() {
    let key = HostKey::from_pem(ED25519).unwrap();
    let shown = format!("{key:?}");
    assert_eq!(shown, "HostKey(ssh-ed25519 SHA256:xHAde1x4wCc7okhiTGkPsyKVA+4zGINn36bf1YP7LBQ)");
    assert!(key.public_line("root@a").ends_with(" root@a"));
    assert!(!key.public_line("").ends_with(' '));
}

#[test]
fn each_algorithm_signs_and_is_verified() {
    for (told, text) in forms() {
        let key = HostKey::from_pem(text).unwrap();
        for algorithm in key.kind().algorithms() {
            let signature = key.sign(algorithm, b"exchange hash", &mut random()).unwrap();
            let proved = verify(key.blob(), &signature, b"exchange hash");
            if key.kind() == Kind::Dsa {
                assert_eq!((proved, signature.len()), (Err(Unproved::Unknown), 4 + 7 + 4 + 40), "{told}");
                continue;
            }
            assert_eq!(proved, Ok(()), "{told} {algorithm}");
            assert_eq!(verify(key.blob(), &signature, b"another"), Err(Unproved::Wrong), "{told}");
        }
        assert_eq!(key.sign("ssh-xmss", b"", &mut random()), Err(NotSigned));
    }
}

/// With keys of 1024 bits too, and with SHA-1.
#[test]
fn what_must_always_be_the_same_signature_is() {
    let mut compared = 0;
    for [who, blob, signature, data] in signatures() {
        let algorithm = signature.get(4..).and_then(|it| it.split(|it| *it == 0).next()).unwrap();
        let algorithm = std::str::from_utf8(algorithm).unwrap();
        let keys = forms().map(|it| it.1).chain([RSA, ED25519]);
        let Some(key) = keys.map(|it| HostKey::from_pem(it).unwrap()).find(|it| it.blob() == blob) else {
            continue;
        };
        if matches!(key.kind(), Kind::Rsa | Kind::Ed25519) {
            let made = key.sign(algorithm, &data, &mut random()).unwrap();
            assert_eq!(hex(&made), hex(&signature), "{algorithm} of {}", String::from_utf8_lossy(&who));
            compared += 1;
        }
    }
    assert_eq!(compared, 9);
}

/// Python's `cryptography` 50.0.2 took it for a signature of these bytes by this key.
#[test]
fn a_dsa_signature_is_what_another_implementation_takes() {
    let signature = key_of(Kind::Dsa).sign("ssh-dss", b"what is signed", &mut random()).unwrap();
    assert_eq!(hex(&signature[15..]), DSA_SIGNATURE);
}

fn signatures() -> impl Iterator<Item = [Vec<u8>; 4]> {
    SIGNATURES.lines().filter(|it| !it.starts_with('#')).map(|line| {
        let mut words = line.split(' ');
        let who = words.next().unwrap().as_bytes().to_vec();
        let [blob, signature, data] =
            std::array::from_fn(|_| STANDARD.decode(words.next().unwrap()).unwrap());
        [who, blob, signature, data]
    })
}

#[test]
fn signatures_of_others_are_verified() {
    let mut names = Vec::new();
    for [_, blob, signature, data] in signatures() {
        assert_eq!(verify(&blob, &signature, &data), Ok(()));
        let mut other = data.clone();
        other[0] ^= 1;
        assert_eq!(verify(&blob, &signature, &other), Err(Unproved::Wrong));
        for end in 0..signature.len() {
            assert_ne!(verify(&blob, &signature[..end], &data), Ok(()));
        }
        for end in 0..blob.len() {
            assert_ne!(verify(&blob[..end], &signature, &data), Ok(()));
        }
        let mut reader = crate::wire::Reader(&blob);
        names.push(String::from_utf8_lossy(reader.string("name").unwrap()).into_owned());
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(
        names,
        [
            "ecdsa-sha2-nistp256",
            "ecdsa-sha2-nistp384",
            "ecdsa-sha2-nistp521",
            "sk-ecdsa-sha2-nistp256@openssh.com",
            "sk-ssh-ed25519@openssh.com",
            "ssh-ed25519",
            "ssh-rsa",
        ]
    );
}

#[test]
fn a_signature_of_another_kind_of_key_proves_nothing() {
    let all: Vec<_> = signatures().collect();
    for [_, blob, ..] in &all {
        for [_, other, signature, data] in &all {
            if blob != other {
                assert_ne!(verify(blob, signature, data), Ok(()));
            }
        }
    }
}

#[test]
fn sizes_are_known_of_whole_keys_only() {
    assert_eq!(bits(key_of(Kind::Dsa).blob()), Some(1024));
    assert_eq!(bits(b""), None);
    assert_eq!(bits(&Message::part().string("ssh-rsa").string([0xff; 9000]).string([0x7f; 2]).0), Some(15));
    assert_eq!(bits(&Message::part().string("ssh-rsa").string("").string("").0), Some(0));
    assert_eq!(bits(&Message::part().string("ssh-new").string("").0), None);
    let certificate =
        Message::part().string("ssh-ed25519-cert-v01@openssh.com").string([0; 32]).string([1; 32]).0;
    assert_eq!(bits(&certificate), Some(256));
    assert_eq!(bits(&Message::part().string("ssh-ed25519").string([1; 31]).0), None);
    let point = |first: u8, length| {
        let point = [&[first][..], &vec![1; length]].concat();
        bits(&Message::part().string("ecdsa-sha2-nistp256").string("nistp256").string(point).0)
    };
    assert_eq!((point(4, 64), point(3, 32), point(4, 65)), (Some(256), None, None));
}

#[test]
fn keys_are_made_of_every_kind() {
    for kind in [Kind::Rsa, Kind::Dsa, Kind::EcdsaP256, Kind::EcdsaP384, Kind::EcdsaP521, Kind::Ed25519] {
        let key = HostKey::generate(Wanted { kind, bits: 2048 }).unwrap();
        let again = HostKey::from_pem(&key.to_openssh("").unwrap()).unwrap();
        assert_eq!((again.kind(), again.blob()), (kind, key.blob()));
    }
    assert_eq!(HostKey::generate(Wanted { kind: Kind::Rsa, bits: 2049 }).unwrap().bits(), 3072);
}

#[test]
fn keys_are_found_by_what_they_sign_with() {
    let keys = HostKeys::new(vec![Arc::new(key_of(Kind::Rsa)), Arc::new(key_of(Kind::Ed25519))]);
    assert_eq!(keys.find("rsa-sha2-256").unwrap().kind(), Kind::Rsa);
    assert_eq!(keys.find("ssh-rsa").unwrap().kind(), Kind::Rsa);
    assert!(keys.find("ssh-dss").is_none());
}

#[test]
fn a_server_wants_the_keys_that_it_is_installed_with() {
    let wanted = |version: &str| {
        let mut conf = Conf::new();
        conf.set("ssh.version", version);
        let wanted = super::wanted(&conf);
        wanted.iter().map(|it| (it.kind, it.bits)).collect::<Vec<_>>()
    };
    let (ecdsa, ed25519) = ((Kind::EcdsaP256, 256), (Kind::Ed25519, 256));
    assert_eq!(wanted("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10"), [(Kind::Rsa, 3072), ecdsa, ed25519]);
    assert_eq!(wanted("SSH-2.0-OpenSSH_7.4"), [(Kind::Rsa, 2048), ecdsa, ed25519]);
    let old = [(Kind::Rsa, 2048), (Kind::Dsa, 1024), ecdsa, ed25519];
    assert_eq!(wanted("SSH-2.0-OpenSSH_5.1p1 Debian-5"), old, "the last two for clients of today");
    assert_eq!(wanted("SSH-2.0-Cisco-1.25"), [(Kind::Rsa, 2048)]);
    assert_eq!(super::wanted(&Conf::new()).len(), 3);
}

#[test]
fn without_keys_there_is_one_that_follows_from_the_host() {
    let of = |seed| {
        let identity = crate::conf::Identity { seed, ..Default::default() };
        HostKeys::of(&Conf::new().with_identity(identity)).find("ssh-ed25519").unwrap().fingerprint()
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    let mut conf = Conf::new();
    conf.set_host_keys(HostKeys::new(vec![Arc::new(key_of(Kind::Rsa))]));
    assert!(HostKeys::of(&conf).find("ssh-ed25519").is_none());
}

const DSA_SIGNATURE: &str =
    "c670253c12e0371739058f8750b152056bdf587c7e7cfc214e3fec37127b152bf685dd4bd66399fc";
