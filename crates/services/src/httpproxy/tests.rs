//! The dialogue as a whole, beside the recorded sessions.

use serin_event::Value;

use super::*;
use crate::replay::opened;

struct Peer {
    dialogue: Box<dyn Dialogue>,
    out: Actions,
    held: Vec<u8>,
}

/// What came back: the text of all answers, the events, and how it ended.
#[derive(Debug, Default)]
struct Got {
    text: String,
    events: Vec<Event>,
    end: Option<Action>,
    timers: usize,
}

impl Peer {
    fn new(settings: &[(&str, &str)]) -> Self {
        let mut conf = Conf::new();
        for &(key, value) in settings {
            conf.set(key, value);
        }
        Self::of(&conf)
    }

    fn of(conf: &Conf) -> Self {
        let (dialogue, out) = opened(&build(conf).unwrap()[0], false);
        Self { dialogue, out, held: Vec::new() }
    }

    fn say(&mut self, bytes: impl AsRef<[u8]>) -> Result<Got, Broken> {
        self.held.extend_from_slice(bytes.as_ref());
        let held = std::mem::take(&mut self.held);
        self.held = self.dialogue.input(&held, &mut self.out)?.to_vec();
        Ok(self.got())
    }

    fn got(&mut self) -> Got {
        let mut got = Got::default();
        for action in self.out.drain() {
            match action {
                Action::Send(bytes) => got.text.push_str(&String::from_utf8_lossy(&bytes)),
                Action::Report(event) => got.events.push(event),
                Action::Timer(_) => got.timers += 1,
                end => got.end = Some(end),
            }
        }
        got
    }
}

impl Got {
    fn answers(&self) -> usize {
        self.text.matches("HTTP/1.1 407 ").count()
    }

    fn header(&self, name: &str) -> Vec<&str> {
        self.text.lines().filter_map(|it| it.strip_prefix(name)?.strip_prefix(": ")).collect()
    }
}

fn get(headers: &str) -> String {
    format!("GET http://a/ HTTP/1.1\r\n{headers}\r\n")
}

#[test]
fn ntlm_inside_of_spnego_is_challenged_in_kind_and_heard() {
    let mut peer = Peer::new(&[]);
    // As Windows begins: an initial token that lists NTLM, with the first message in it.
    let first =
        [b"\x60\x28\x06\x06\x2b\x06\x01\x05\x05\x02".as_slice(), b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\xa2"]
            .concat();
    let token = BASE64_STANDARD.encode(first);
    let got = peer.say(get(&format!("Proxy-Authorization: Negotiate {token}\r\n"))).unwrap();
    assert!(got.events.is_empty(), "nobody has said who he is yet");
    let offered = got.header("Proxy-Authenticate");
    let challenge = BASE64_STANDARD.decode(offered[0].strip_prefix("Negotiate ").unwrap()).unwrap();
    assert_eq!((offered.len(), challenge[0]), (1, 0xa1));
    assert!(challenge.windows(12).any(|it| it == b"NTLMSSP\0\x02\0\0\0"), "{challenge:x?}");

    let mut third = b"NTLMSSP\0\x03\0\0\0".to_vec();
    third.extend_from_slice(&[0; 16]);
    for (length, offset) in [(4_u8, 64_u8), (5, 68), (3, 73)] {
        third.extend_from_slice(&[length, 0, length, 0, offset, 0, 0, 0]);
    }
    third.extend_from_slice(&[0; 12]);
    third.extend_from_slice(b"CORPaliceWS1");
    let token = BASE64_STANDARD.encode([b"\xa1\x10".as_slice(), &third].concat());
    let got = peer.say(get(&format!("Proxy-Authorization: Negotiate {token}\r\n"))).unwrap();
    let event = &got.events[0];
    assert_eq!(event.field("USERNAME"), Some(&Value::Tainted(Tainted::new(b"alice", 9))));
    assert_eq!(event.field("NTLM"), Some(&Value::Tainted(Tainted::new(b"domain=CORP; workstation=WS1", 99))));
    // What the answer reveals of the password must not be kept.
    assert!(!event.details().contains(&token), "{}", event.details());
    assert_eq!(got.header("Proxy-Authenticate"), ["Basic realm=\"Squid proxy-caching web server\""]);
}

#[test]
fn challenges_differ_from_answer_to_answer_and_between_installations() {
    let ask = |peer: &mut Peer| {
        let got = peer.say(get("")).unwrap();
        got.header("Proxy-Authenticate")[0].to_owned()
    };
    let mut peer = Peer::new(&[("httpproxy.schemes", "digest")]);
    let (first, second) = (ask(&mut peer), ask(&mut peer));
    assert_ne!(first, second);
    let mut conf = Conf::new();
    conf.set("httpproxy.schemes", "digest");
    conf.identity.seed = 99;
    assert_ne!(first, ask(&mut Peer::of(&conf)));
}

#[test]
fn all_schemes_are_offered_in_the_order_of_the_setting() {
    let mut peer = Peer::new(&[
        ("httpproxy.schemes", "Negotiate, NTLM digest,basic"),
        ("httpproxy.banner", "a \"b\"\r\nX: y\\"),
    ]);
    let got = peer.say(get("")).unwrap();
    let offered = got.header("Proxy-Authenticate");
    assert_eq!(offered[..2], ["Negotiate", "NTLM"]);
    assert!(offered[2].starts_with("Digest realm=\"a \\\"b\\\"  X: y\\\\\", nonce=\""), "{}", offered[2]);
    assert_eq!(offered[3], "Basic realm=\"a \\\"b\\\"  X: y\\\\\"");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for (key, value) in
        [("httpproxy.schemes", "basic kerberos"), ("httpproxy.schemes", ""), ("httpproxy.skin", "bluecoat")]
    {
        let mut conf = Conf::new();
        conf.set(key, value);
        let complaints = build(&conf).err().unwrap();
        assert_eq!((complaints.len(), complaints[0].key.as_str()), (1, key));
    }
}

#[test]
fn bodies_are_gone_over_and_the_next_request_is_answered() {
    let mut peer = Peer::new(&[]);
    let login = get("Proxy-Authorization: Basic YTpi\r\n");
    for (body, said) in [
        ("Content-Length: 100000", "x".repeat(100_000)),
        (
            "Transfer-Encoding: chunked",
            format!("{:x};a=b\r\n{}\r\n0\r\nTrailer: x\r\n\r\n", 70_000, "y".repeat(70_000)),
        ),
    ] {
        let post = format!("POST http://a/ HTTP/1.1\r\n{body}\r\n\r\n{said}{login}");
        let (mut answers, mut events) = (0, Vec::new());
        for piece in post.as_bytes().chunks(1000) {
            let got = peer.say(piece).unwrap();
            answers += got.answers();
            events.extend(got.events.iter().map(|it| it.kind.name));
            assert!(peer.held.len() <= SERVICE.backlog && got.end.is_none());
        }
        assert_eq!((answers, events), (2, vec!["httpproxy.request", "httpproxy.login"]), "{body}");
    }
}

#[test]
fn what_is_no_chunk_ends_in_a_reset() {
    let post = "POST http://a/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["zz\r\n", "-5\r\n", "\r\n", "2\r\nabc\r\n", "ffffffffffffffff\r\n"] {
        let mut peer = Peer::new(&[]);
        assert_eq!(peer.say(post).unwrap().answers(), 1);
        assert_eq!(peer.say(body).unwrap().end, Some(Action::Reset), "{body:?}");
    }
    let mut peer = Peer::new(&[]);
    assert_eq!(peer.say(post.to_owned() + &"1".repeat(CHUNK_LINE_MAX)).unwrap().end, Some(Action::Reset));
}

#[test]
fn blank_lines_are_not_held() {
    let mut peer = Peer::new(&[]);
    for _ in 0..100 {
        let got = peer.say("\r\n".repeat(1000)).unwrap();
        assert!(got.text.is_empty() && peer.held.is_empty());
    }
    assert_eq!(peer.say(get("")).unwrap().answers(), 1);
}

#[test]
fn nobody_gets_more_answers_than_can_be_sent() {
    let mut peer = Peer::new(&[]);
    let limit = usize::try_from(PIPELINED_MAX).unwrap();
    assert_eq!(peer.say(get("").repeat(limit)).unwrap().answers(), limit);
    assert_eq!(peer.say(get("").repeat(limit)).unwrap().answers(), limit);
    assert_eq!(peer.say(get("").repeat(limit + 1)).err(), Some(Broken("over 32 requests in one segment")));
    assert_eq!(peer.got().answers(), limit);
}

#[test]
fn a_kept_connection_is_closed_when_nothing_more_comes() {
    let mut peer = Peer::new(&[]);
    assert_eq!(peer.say(get("")).unwrap().timers, 1);
    // The next request has begun: only the service's own patience counts.
    peer.say("GET ").unwrap();
    peer.dialogue.timer(&mut peer.out);
    assert_eq!(peer.got().end, None);
    peer.say("http://a/ HTTP/1.1\r\n\r\n").unwrap();
    peer.dialogue.timer(&mut peer.out);
    assert_eq!(peer.got().end, Some(Action::Close));
}

/// What is reported of these bytes: names of kinds, with user or URL.
fn reported(bytes: &[u8]) -> Vec<(&'static str, String)> {
    let got = Peer::new(&[]).say(bytes).unwrap();
    let tells = |it: &Event| match it.field("USERNAME").or(it.field("URL")) {
        Some(Value::Tainted(text)) => (it.kind.name, text.text().into_owned()),
        other => panic!("{other:?}"),
    };
    got.events.iter().map(tells).collect()
}

#[test]
fn a_request_without_usable_credentials_is_one_event() {
    for (request, url) in [
        (&b"GET http://a/ HTTP/1.1\r\n\r\n"[..], "http://a/"),
        (b"GET http://a/ HTTP/1.1\r\nProxy-Authorization: Basic\r\n\r\n", "http://a/"),
        (b"CONNECT a:443 HTTP/1.1\r\n\r\n", "a:443"),
        (b"PROPFIND http://a/\xff HTTP/1.0\r\n\r\n", "http://a/\\xff"),
        (b"GET http://a/\r\n", "http://a/"),
        (b"GET http://a/ HTTP/2.0\r\n", "http://a/"),
        (b"GET http://a/\x01 HTTP/1.1\r\n", "http://a/\x01"),
        (b"GET http://a/ HTTP/1.1\r\nX: a\0b\r\n\r\n", "http://a/"),
    ] {
        let wanted = [("httpproxy.request", url.to_owned())];
        assert_eq!(reported(request), wanted, "{}", request.escape_ascii());
    }
    assert_eq!(reported(b"HELP\r\n"), []);
    assert_eq!(reported(b"EHLO a.example\r\n"), []);
    let long = format!("GET http://a/{}", "a".repeat(request::HEAD_MAX));
    assert_eq!(reported(long.as_bytes())[0].1.len(), FIELD_MAX);
}

#[test]
fn credentials_beside_what_is_refused_are_not_lost() {
    for (line, header) in [
        ("GET http://a/ HTTP/1.1", "X: a\0b"),
        ("GET http://a/ HTTP/1.1", "no header"),
        ("GET http://a/ HTTP/1.1", "X : a"),
        ("GET http://a/\x01 HTTP/1.1", "X: a"),
        ("GET http://a/ HTTP/2.0", "X: a"),
        ("GET http://a/", "X: a"),
    ] {
        let request = format!("{line}\r\n{header}\r\nProxy-Authorization: Basic YTpi\r\n\r\n");
        assert_eq!(reported(request.as_bytes()), [("httpproxy.login", "a".to_owned())], "{request:?}");
    }
}

#[test]
fn the_isa_face_closes_and_refuses_in_its_own_words() {
    let mut peer = Peer::new(&[("httpproxy.skin", "ms-isa"), ("httpproxy.schemes", "ntlm basic")]);
    let got = peer.say("GET http://a/ HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(got.header("Proxy-Authenticate"), ["NTLM", "Basic realm=\"SRV-FILES\""]);
    assert_eq!(got.header("Connection"), ["close"]);
    assert_eq!(got.end, Some(Action::Close));
    for nonsense in ["HELP\r\n", "GET http://a/ HTTP/2.0\r\n"] {
        let mut peer = Peer::new(&[("httpproxy.skin", "ms-isa")]);
        let got = peer.say(nonsense).unwrap();
        assert!(
            got.text.starts_with("HTTP/1.1 400 Bad Request ( The data is invalid.  )\r\n"),
            "{}",
            got.text
        );
        assert_eq!(got.end, Some(Action::Close));
    }
}
