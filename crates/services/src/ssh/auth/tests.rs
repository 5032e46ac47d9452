//! Conversations, by the events and messages that come of them.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use serin_event::{Event, Tainted, Value, kinds};

use super::*;
use crate::conf::Conf;
use crate::ssh::Settings;
use crate::ssh::kexinit::Shown;
use crate::ssh::profile::all;
use crate::wire::Reader;

const DEBIAN: &str = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10";
const CENTOS: &str = "SSH-2.0-OpenSSH_7.4";
const DROPBEAR: &str = "SSH-2.0-dropbear_2022.83";
const CISCO: &str = "SSH-2.0-Cisco-1.25";

/// A client that has agreed on keys.
pub(in crate::ssh) fn client() -> Client {
    Client {
        identification: Tainted::new(b"SSH-2.0-Go", 64),
        offered: Shown {
            hassh: "0".repeat(32),
            kex: Tainted::new(b"a", 9),
            host_keys: Tainted::new(b"b", 9),
            ciphers: Tainted::new(b"c", 9),
            macs: Tainted::new(b"d", 9),
            compression: Tainted::new(b"e", 9),
        },
        session_id: vec![7; 32],
        session: 3,
        host_key: b"the key".to_vec(),
        late_ext_info: None,
    }
}

/// What a server of this identification shows; `set` changes its settings.
pub(in crate::ssh) fn face(version: &str, set: &[(&str, serde_json::Value)]) -> Arc<Face> {
    let mut conf = Conf::new();
    conf.set("ssh.version", version);
    for (key, value) in set {
        conf.set(*key, value.clone());
    }
    Arc::new(Face { timing_secret: 5, ..Face::new(Settings::read(&conf).unwrap(), &conf) })
}

struct Talk {
    auth: Auth,
    wants: Vec<Want>,
}

/// A conversation in which the service was asked for.
fn talk(version: &str) -> Talk {
    let mut talk = fresh(face(version, &[]));
    assert_eq!(talk.says(5, Message::part().string("ssh-userauth")), ["4001", "accept ssh-userauth"]);
    talk
}

fn fresh(face: Arc<Face>) -> Talk {
    Talk { auth: Auth::new(face, client(), 1), wants: Vec::new() }
}

impl Talk {
    /// What a message leads to.
    fn says(&mut self, number: u8, Message(payload): Message) -> Vec<String> {
        self.wants.clear();
        let known = self.auth.message(number, &payload, &mut self.wants);
        let mut seen: Vec<String> = self.wants.iter().map(shown).collect();
        if !known {
            seen.push("unknown".to_owned());
        }
        seen
    }

    /// The same without what is reported and without waits.
    fn told(&mut self, payload: Message) -> String {
        let all = self.says(50, payload);
        let told = all.iter().filter(|it| !it.starts_with(|it: char| it.is_ascii_digit() || it == '~'));
        told.cloned().collect::<Vec<_>>().join(" ")
    }

    fn closed(&mut self) -> Vec<String> {
        self.wants.clear();
        self.auth.closed(&mut self.wants);
        self.wants.iter().map(shown).collect()
    }

    fn event(&self) -> &Event {
        let found =
            self.wants.iter().find_map(|it| if let Want::Report(event) = it { Some(event) } else { None });
        found.unwrap()
    }

    fn field(&self, name: &str) -> String {
        let mut text = String::new();
        self.event().field(name).unwrap_or(&Value::Null).encode(&mut text);
        text
    }
}

/// One want for a reader: `4002`, `~8ms`, `failure publickey,password`.
pub(in crate::ssh) fn shown(want: &Want) -> String {
    match want {
        Want::Report(event) => event.kind.logtype.to_string(),
        Want::Wait(time) => format!("~{}ms", time.as_millis()),
        Want::Close => "close".to_owned(),
        Want::Disconnect(text) => format!("disconnect {}", String::from_utf8_lossy(text)),
        Want::Send(message) => {
            let (number, rest) = message.0.split_first().unwrap();
            let mut rest = Reader(rest);
            let mut text = || String::from_utf8_lossy(rest.string("text").unwrap()).into_owned();
            match *number {
                6 => format!("accept {}", text()),
                51 => format!("failure {}", text()),
                52 => "success".to_owned(),
                53 => format!("banner {:?} {:?}", text(), text()),
                60 => {
                    let head = [text(), text(), text()];
                    assert!(head.iter().all(String::is_empty), "{head:?}");
                    let (count, prompt) =
                        (rest.u32("count").unwrap(), String::from_utf8_lossy(rest.string("p").unwrap()));
                    format!("ask {count} {prompt:?} {:?}", rest.boolean("echo").unwrap())
                }
                number => format!("send {number}"),
            }
        }
    }
}

fn request(user: impl AsRef<[u8]>, method: &str) -> Message {
    Message::part().string(user).string("ssh-connection").string(method)
}

fn password(user: impl AsRef<[u8]>, word: impl AsRef<[u8]>) -> Message {
    request(user, "password").boolean(false).string(word)
}

fn ed25519() -> Vec<u8> {
    Message::part().string("ssh-ed25519").string([9; 32]).0
}

fn query(user: &str, algorithm: &str, blob: &[u8]) -> Message {
    request(user, "publickey").boolean(false).string(algorithm).string(blob)
}

#[test]
fn a_password_is_reported_before_the_wait_and_refused_after_it() {
    let mut talk = talk(DEBIAN);
    let seen = talk.says(50, password("root", "hunter2"));
    assert!(seen[1].len() == "~1234ms".len(), "{seen:?}");
    assert_eq!((seen[0].as_str(), seen[2].as_str()), ("4002", "failure publickey,password"));
    assert_eq!(
        talk.event().logdata(),
        format!(
            r#"{{"LOCALVERSION": "{DEBIAN}", "PASSWORD": "hunter2", "REMOTEVERSION": "SSH-2.0-Go", "USERNAME": "root"}}"#
        )
    );
    assert_eq!(
        talk.event().details(),
        format!(
            r#"{{"ACCEPTED": false, "HASSH": "{}", "METHOD": "password", "SESSION": "3"}}"#,
            "0".repeat(32)
        )
    );
}

#[test]
fn nothing_that_a_client_sends_loses_the_event() {
    let long = vec![b'x'; 100_000];
    let odd: [&[u8]; 4] = [b"\xff\xfe", b"a\0b", b"", &long];
    for word in odd {
        let mut talk = talk(DEBIAN);
        assert_eq!(talk.says(50, password(word, "pw"))[0], "4002");
        let mut talk = self::talk(DEBIAN);
        assert_eq!(talk.says(50, password("root", word))[0], "4002");
        assert_eq!(talk.event().kind, &kinds::SSH_LOGIN);
    }
    let mut talk = talk(DEBIAN);
    talk.says(50, password("root", &long));
    assert_eq!(talk.field("PASSWORD").len(), FIELD_MAX + 2);
    assert_eq!(talk.field("CUT"), r#"{"PASSWORD": 100000}"#);
    let mut talk = self::talk(DEBIAN);
    assert_eq!(talk.says(50, password("root", "a\0b"))[1..], ["close"]);
    assert_eq!(talk.field("PASSWORD"), r#""a\u0000b""#);
}

#[test]
fn what_needs_no_looking_up_is_refused_at_once() {
    let quick = |message: Message| {
        let seen = talk(DEBIAN).says(50, message);
        assert!(seen[1].len() == "~5ms".len(), "{seen:?}");
        assert_eq!(seen[2], "failure publickey,password");
    };
    quick(password("root", ""));
    quick(password("root", vec![b'x'; 1025]));
    quick(request("root", "password").boolean(true).string("old").string("new"));
    quick(request("root", "hostbased"));
    quick(request("root", "keyboard-interactive").string("").string(""));
    quick(query("root", "ssh-ed25519", &ed25519()));
    let seen = talk(DEBIAN).says(50, password("root", vec![b'x'; 1024]));
    assert!(seen[1].len() > "~5ms".len(), "{seen:?}");
}

#[test]
fn a_change_of_password_tells_both() {
    let mut talk = talk(DEBIAN);
    talk.says(50, request("root", "password").boolean(true).string("old").string("new"));
    assert_eq!((talk.field("PASSWORD"), talk.field("NEWPASSWORD")), (r#""old""#.into(), r#""new""#.into()));
}

#[test]
fn six_failures_end_it() {
    let mut talk = talk(DEBIAN);
    assert_eq!(talk.told(request("root", "none")), "failure publickey,password", "not counted");
    assert_eq!(talk.told(query("root", "ssh-ed25519", &ed25519())), "failure publickey,password");
    assert_eq!(talk.told(request("root", "none")), "failure publickey,password");
    for _ in 0..3 {
        assert_eq!(talk.told(password("root", "x")), "failure publickey,password");
    }
    assert_eq!(talk.told(password("root", "x")), "disconnect Too many authentication failures");
    assert!(talk.says(50, password("root", "x")).is_empty(), "it is over");
}

#[test]
fn dropbear_counts_ten_passwords_and_ends_without_a_word() {
    let mut talk = talk(DROPBEAR);
    for _ in 0..20 {
        assert_eq!(talk.told(request("root", "none")), "failure publickey,password");
        assert_eq!(talk.told(query("root", "ssh-ed25519", &ed25519())), "failure publickey,password");
    }
    for _ in 0..9 {
        assert_eq!(talk.told(password("root", "x")), "failure publickey,password");
    }
    assert_eq!(talk.told(password("root", "x")), "close");
}

#[test]
fn another_name_is_reported_and_ends_it() {
    let mut talk = talk(DEBIAN);
    talk.says(50, password("a", "1"));
    let seen = talk.says(50, password("b", "2"));
    let text =
        "disconnect Change of username or service not allowed: (a,ssh-connection) -> (b,ssh-connection)";
    assert_eq!(seen, ["4002", text]);
    assert_eq!(talk.field("USERNAME"), r#""b""#);
    let mut talk = self::talk(DROPBEAR);
    talk.says(50, password("a", "1"));
    assert_eq!(talk.told(password("b", "2")), "close");
    let mut talk = self::talk(DEBIAN);
    talk.says(50, password("a:style", "1"));
    assert!(talk.told(password("a:other", "1")).starts_with("failure"), "a style is no part of the name");
    let mut talk = self::talk(DEBIAN);
    talk.says(50, password(vec![b'\xff'; 5000], "1"));
    talk.says(50, password("b", "2"));
    let Some(Want::Disconnect(text)) = talk.wants.into_iter().nth(1) else { panic!("no text") };
    assert_eq!(text.len(), 1023, "as long as OpenSSH's longest");
}

#[test]
fn services_are_those_of_the_product() {
    let service =
        |version: &str, name: &[u8]| fresh(face(version, &[])).says(5, Message::part().string(name));
    assert_eq!(service(DEBIAN, b"ssh-userauth\0")[1], "accept ssh-userauth");
    assert_eq!(service(DEBIAN, b"ssh-connection"), ["disconnect bad service request ssh-connection"]);
    assert_eq!(service(DROPBEAR, b"foo"), ["close"]);
    assert_eq!(fresh(face(DEBIAN, &[])).says(5, Message::part().string("ssh-userauth").byte(0)), ["close"]);
    let mut talk = talk(DEBIAN);
    let again = || Message::part().string("ssh-userauth");
    assert_eq!(talk.says(5, again()), ["accept ssh-userauth"], "no event for asking alone");
    talk.says(50, Message::part().string("root").string("ssh-connection").string("none"));
    assert_eq!(talk.says(5, again()), ["4001", "accept ssh-userauth"], "one before each login");
    assert!(talk.event().details().contains(r#""KEXALGORITHMS": "a""#));
}

#[test]
fn a_request_without_a_service_is_still_reported() {
    let seen = fresh(face(DEBIAN, &[])).says(50, password("root", "x"));
    assert_eq!(seen, ["4002", "unknown"]);
    let mut talk = fresh(face(DROPBEAR, &[]));
    assert_eq!(talk.told(password("root", "x")), "failure publickey,password");
}

#[test]
fn the_banner_comes_with_the_first_answer() {
    let mut talk = fresh(face(DEBIAN, &[("ssh.preauth_banner", r"one\ntwo\r".into())]));
    talk.says(5, Message::part().string("ssh-userauth"));
    let seen = talk.says(50, password("root", "x"));
    assert_eq!(seen[2..], [r#"banner "one\ntwo\r\r\n" """#, "failure publickey,password"], "{seen:?}");
    assert_eq!(talk.says(50, password("root", "x")).len(), 3, "once");
    let mut talk = fresh(face(DROPBEAR, &[("ssh.preauth_banner", "hi".into())]));
    assert_eq!(talk.says(50, request("root", "none"))[0], r#"banner "hi\r\n" "en""#);
}

#[test]
fn ext_info_waits_for_the_users_name() {
    let client = Client { late_ext_info: Some(Message::new(7)), ..client() };
    let mut auth = Auth::new(face("SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13", &[]), client, 1);
    let mut wants = Vec::new();
    auth.message(5, &Message::part().string("ssh-userauth").0, &mut wants);
    for _ in 0..2 {
        auth.message(50, &request("root", "none").0, &mut wants);
    }
    let sent: Vec<_> = wants.iter().map(shown).filter(|it| it.starts_with(['s', 'f'])).collect();
    assert_eq!(sent, ["send 7", "failure publickey,password", "failure publickey,password"]);
}

#[test]
fn none_is_reported_where_nothing_else_was_tried() {
    let mut talk = talk(DEBIAN);
    assert_eq!(talk.says(50, request("root", "none")).len(), 2);
    assert_eq!(talk.closed(), ["21112"]);
    assert_eq!((talk.field("METHOD"), talk.field("USERNAME")), (r#""none""#.into(), r#""root""#.into()));
    assert!(talk.closed().is_empty(), "once");
    let mut talk = self::talk(DEBIAN);
    talk.says(50, request("root", "none"));
    talk.says(50, password("root", "x"));
    talk.says(50, request("root", "none"));
    assert!(talk.closed().is_empty());
    let mut talk = self::talk(DEBIAN);
    talk.says(50, request("root", "none"));
    talk.says(50, password("admin", "x"));
    assert_eq!(talk.closed(), ["21112"], "somebody else's password says nothing of root");
}

#[test]
fn other_methods_are_reported_once() {
    let mut talk = talk(DEBIAN);
    assert_eq!(talk.says(50, request("root", "hostbased"))[0], "21112");
    assert_eq!(talk.field("METHOD"), r#""hostbased""#);
    assert_eq!(talk.says(50, request("root", "hostbased")).len(), 2, "the wait and the refusal");
    assert_eq!(talk.says(50, request("root", "gssapi-with-mic"))[0], "21112");
    assert!(talk.closed().is_empty());
}

#[test]
fn every_key_is_reported_once_and_its_signature_once() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let blob = Message::part().string("ssh-ed25519").string(pair.public_key()).0;
    let mut talk = talk(DEBIAN);
    assert_eq!(talk.says(50, query("root", "ssh-ed25519", &blob))[0], "21111");
    assert_eq!((talk.field("SIGNED"), talk.field("PROVED")), ("false".into(), "null".into()));
    assert_eq!((talk.field("KEYTYPE"), talk.field("BITS")), (r#""ED25519""#.into(), "256".into()));
    assert_eq!(talk.field("FINGERPRINT"), r#""SHA256:fe85JkIjo8VPe+XqXJGH5Mau1EMFdK1OdKvJUFicyA8""#);
    assert_eq!(talk.says(50, query("root", "ssh-ed25519", &blob)).len(), 2, "known");
    let said = request("root", "publickey").boolean(true).string("ssh-ed25519").string(&blob);
    let signed = |id: &[u8]| {
        let data = Message::part().string(id).byte(50).raw(&said.0).0;
        Message::part().string("ssh-ed25519").string(pair.sign(&data)).0
    };
    assert_eq!(talk.says(50, said.clone().string(signed(&[7; 32])))[0], "21111");
    assert_eq!((talk.field("SIGNED"), talk.field("PROVED")), ("true".into(), "true".into()));
    let mut talk = self::talk(DEBIAN);
    talk.says(50, said.clone().string(signed(&[8; 32])));
    assert_eq!(talk.field("PROVED"), "false", "a signature of another session");
}

/// A client can ask for as many checks as it likes where the product does not count keys.
#[test]
fn signatures_are_checked_a_number_of_times_and_keys_always_reported() {
    let mut talk = talk(DROPBEAR);
    let proved: Vec<_> = (0..100_u8)
        .map(|nth| {
            let blob = Message::part().string("ssh-ed25519").string([nth; 32]).0;
            let said = request("root", "publickey").boolean(true).string("ssh-ed25519").string(&blob);
            let signature = Message::part().string("ssh-ed25519").string([nth; 64]).0;
            assert_eq!(talk.says(50, said.string(signature))[0], "21111");
            talk.field("PROVED")
        })
        .collect();
    assert!(proved[..64].iter().all(|it| it == "false") && proved[64..].iter().all(|it| it == "null"));
}

#[test]
fn keys_are_refused_however_they_look() {
    for (algorithm, blob, end) in [
        ("ssh-ed25519", ed25519(), "close"),
        ("foo", ed25519(), "failure publickey,password"),
        ("ssh-rsa", ed25519(), "failure publickey,password"),
        ("ssh-ed25519", b"junk".to_vec(), "failure publickey,password"),
        ("ssh-ed25519", vec![0; 100_000], "failure publickey,password"),
    ] {
        let message = query("root", algorithm, &blob);
        assert_eq!(talk(DEBIAN).told(message.clone()), "failure publickey,password", "{algorithm}");
        // OpenSSH looks behind a key only when it can read it.
        assert_eq!(talk(DEBIAN).told(message.byte(0)), end, "{algorithm}");
    }
    let unsigned = request("root", "publickey").boolean(true).string("ssh-ed25519").string(ed25519());
    assert_eq!(talk(DEBIAN).told(unsigned), "close", "no signature");
}

#[test]
fn keys_may_be_bound_to_the_servers() {
    let bound = |version: &str, key: &str| {
        let method = "publickey-hostbound-v00@openssh.com";
        let message = request("root", method).boolean(false).string("ssh-ed25519").string(ed25519());
        talk(version).told(message.string(key))
    };
    assert_eq!(bound(DEBIAN, "the key"), "failure publickey,password");
    assert_eq!(bound(DEBIAN, "another"), "close");
    assert!(bound(CENTOS, "another").starts_with("failure"), "no such method yet");
}

/// CVE-2018-15473, which Red Hat 7 mended in 7.4p1-21.
#[test]
fn openssh_7_4_does_not_tell_who_exists() {
    let broken = |user: &str| talk(CENTOS).told(query(user, "ssh-ed25519", &ed25519()).byte(0));
    assert_eq!([broken("root"), broken("nobody-here")], ["close", "close"]);
}

#[test]
fn openssh_before_8_has_words_for_a_request_that_is_too_long() {
    let long = |version: &str| {
        let mut talk = fresh(face(version, &[]));
        talk.says(5, Message::part().string("ssh-userauth").byte(0))
    };
    assert_eq!(long(CENTOS), ["disconnect Packet integrity error."]);
    assert_eq!(long(DEBIAN), ["close"]);
}

#[test]
fn a_question_is_asked_where_it_is_offered() {
    let mut talk = talk(CISCO);
    let ask = || request("admin", "keyboard-interactive").string("").string("");
    assert_eq!(talk.told(ask()), r#"ask 1 "Password: " false"#);
    let seen = talk.says(61, Message::part().u32(1).string("cisco"));
    assert_eq!((seen[0].as_str(), seen.len()), ("4002", 3), "{seen:?}");
    assert_eq!(talk.field("PASSWORD"), r#""cisco""#);
    assert!(talk.event().details().contains("keyboard-interactive"));
    assert_eq!(talk.says(61, Message::part().u32(1).string("x")), ["unknown"], "nobody asked");
    talk.says(50, ask());
    assert_eq!(talk.closed(), ["21112"], "a question without an answer");
}

#[test]
fn each_name_that_only_none_was_tried_for_is_reported() {
    let mut talk = talk(DEBIAN);
    talk.says(50, request("root", "none"));
    assert_eq!(talk.says(50, request("admin", "none"))[0], "21112");
    assert_eq!(talk.field("USERNAME"), r#""root""#);
    assert_eq!(talk.closed(), ["21112"]);
    assert_eq!(talk.field("USERNAME"), r#""admin""#);
}

#[test]
fn who_is_not_asked_after_all_is_reported_at_once() {
    let asks = || {
        let mut talk = fresh(face(DEBIAN, &[("ssh.keyboard_interactive", true.into())]));
        talk.says(5, Message::part().string("ssh-userauth"));
        talk
    };
    let ask = |user, device: &str| request(user, "keyboard-interactive").string("").string(device);
    let mut talk = asks();
    let seen = talk.says(50, ask("root", "skey"));
    assert!(seen.contains(&"21112".to_owned()), "a device that is not there: {seen:?}");
    talk.says(50, ask("root", "pam"));
    talk.says(50, ask("admin", "pam"));
    let users = talk.wants.iter().filter_map(|it| match it {
        Want::Report(event) => Some(event.logdata()),
        _ => None,
    });
    let users: Vec<_> = users.collect();
    assert!(
        users[0].contains("root") && users[1].contains("admin"),
        "whose question stood, and another: {users:?}"
    );
    assert!(talk.closed().is_empty());
}

#[test]
fn answers_are_recorded_however_many_there_are() {
    let ask = |talk: &mut Talk| talk.says(50, request("admin", "keyboard-interactive").string("").string(""));
    let mut talk = talk(CISCO);
    ask(&mut talk);
    let seen = talk.says(61, Message::part().u32(2).string("a").string("b"));
    assert_eq!(seen, ["4002", "4002", "close"]);
    for broken in [Message::part(), Message::part().u32(0), Message::part().u32(u32::MAX).u32(9)] {
        let mut talk = self::talk(CISCO);
        ask(&mut talk);
        assert_eq!(talk.says(61, broken), ["21112", "close"]);
    }
}

#[test]
fn messages_of_other_stages_are_answered_as_the_product_does() {
    let mut talk = talk(DEBIAN);
    for number in [51, 60, 61, 63, 80, 90, 127] {
        assert_eq!(talk.says(number, Message::part()), ["unknown"], "{number}");
    }
    talk.says(50, request("root", "none"));
    assert_eq!(talk.says(90, Message::part()), ["unknown"]);
    assert_eq!(talk.says(61, Message::part()), ["close"], "no handler any more");
    assert_eq!(self::talk(DROPBEAR).says(60, Message::part()), ["unknown"]);
    assert_eq!(self::talk(DROPBEAR).says(80, Message::part()), ["close"]);
}

#[test]
fn no_message_in_pieces_does_harm() {
    let key = request("root", "publickey").boolean(true).string("ssh-ed25519").string(ed25519());
    let whole = [
        (5, Message::part().string("ssh-userauth")),
        (50, password("root", "secret")),
        (50, request("root", "password").boolean(true).string("old").string("new")),
        (50, key.clone().string(Message::part().string("ssh-ed25519").string([1; 64]).0)),
        (
            50,
            request("root", "publickey-hostbound-v00@openssh.com")
                .boolean(false)
                .string("a")
                .string("b")
                .string("c"),
        ),
        (50, request("root", "keyboard-interactive").string("").string("pam")),
        (61, Message::part().u32(1).string("secret")),
    ];
    for profile in all() {
        for (number, message) in &whole {
            for end in 0..message.0.len() {
                let mut talk = talk(profile.identification);
                talk.says(50, request("root", "keyboard-interactive").string("").string(""));
                let seen = talk.says(*number, Message::part().raw(&message.0[..end]));
                let kept =
                    seen.iter().any(|it| it.starts_with("210") || it.starts_with("211") || it == "4002");
                assert!(kept || *number != 50, "{} {number} {end} {seen:?}", profile.name);
            }
        }
    }
}

#[test]
fn what_is_let_in_is_told() {
    let open = || {
        let logins = serde_json::json!([{ "username": "admin", "password": "let me in" }]);
        let mut talk = fresh(face(DEBIAN, &[("ssh.accept", logins)]));
        talk.says(5, Message::part().string("ssh-userauth"));
        talk
    };
    let mut talk = open();
    assert_eq!(talk.told(password("admin", "wrong")), "failure publickey,password");
    assert!(!talk.auth.accepted());
    let seen = talk.says(50, password("admin", "let me in"));
    assert_eq!((seen[0].as_str(), seen[2].as_str()), ("4002", "success"), "{seen:?}");
    assert_eq!(talk.field("ACCEPTED"), "true");
    assert!(talk.auth.accepted());
    let mut talk = open();
    talk.says(50, password("admin", "wrong"));
    let seen = talk.told(password("root", "let me in"));
    assert!(seen.starts_with("disconnect Change"), "{seen}");
    assert_eq!(open().told(password("admin", "let me in").byte(0)), "close", "broken");
    let elsewhere = Message::part().string("admin").string("elsewhere").string("password").boolean(false);
    assert!(open().told(elsewhere.string("let me in")).starts_with("failure"));
}
