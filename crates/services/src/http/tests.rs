//! HTTP in time and at its limits: what recorded sessions cannot show.

use serin_event::{Timestamp, Value};

use super::*;
use crate::replay;

/// A connection to a server with this banner, and what it wants done.
struct Talk {
    dialogue: Box<dyn Dialogue>,
    out: Actions,
}

impl Talk {
    fn with(banner: &str) -> Self {
        let mut conf = Conf::new();
        conf.set("http.banner", banner);
        let (dialogue, out) = replay::opened(&build(&conf).unwrap()[0], false);
        Self { dialogue, out }
    }

    /// What is done, as short words: what is sent up to its first line's end, events by number.
    fn did(&mut self) -> Vec<String> {
        self.out
            .drain()
            .map(|action| match action {
                Action::Send(bytes) => {
                    String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned()
                }
                Action::Report(event) => event.kind.logtype.to_string(),
                Action::Timer(time) => format!("timer {}", time.as_secs()),
                other => format!("{other:?}").to_lowercase(),
            })
            .collect()
    }

    fn say(&mut self, bytes: &[u8]) -> Vec<String> {
        let rest = self.dialogue.input(bytes, &mut self.out).unwrap().len();
        let mut did = self.did();
        if rest > 0 {
            did.push(format!("{rest} left"));
        }
        did
    }

    fn later(&mut self, seconds: i64) -> Vec<String> {
        self.out.now = Timestamp(self.out.now.0 + seconds * 1_000_000);
        self.dialogue.timer(&mut self.out);
        self.did()
    }
}

#[test]
fn nginx_hangs_up_on_the_silent_without_a_word() {
    let mut talk = Talk::with("nginx/1.22.1");
    assert_eq!(talk.did(), ["timer 60"]);
    assert_eq!(talk.say(b"GET / HTTP/1.1\r\nHost:"), ["21 left"]);
    assert_eq!(talk.later(60), ["close"]);
}

#[test]
fn apache_tells_the_slow_that_they_are() {
    let mut talk = Talk::with("Apache/2.4.71 (Debian)");
    assert_eq!(talk.did(), ["timer 20"]);
    assert_eq!(talk.say(b"GET / HTTP/1.1\r\nHost:"), ["21 left"]);
    assert_eq!(talk.later(20), ["HTTP/1.1 408 Request Timeout", "close"]);
    let mut silent = Talk::with("Apache/2.4.71 (Debian)");
    silent.did();
    assert_eq!(silent.later(20), ["close"]);
}

#[test]
fn a_kept_connection_has_the_patience_of_the_product() {
    for (banner, patience) in [("nginx/1.22.1", "timer 65"), ("Apache/2.4.71 (Debian)", "timer 5")] {
        let mut talk = Talk::with(banner);
        talk.did();
        let did = talk.say(b"GET /index.html HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(did, ["3000", "HTTP/1.1 200 OK", patience], "{banner}");
    }
}

#[test]
fn a_body_that_comes_slowly_is_waited_for_while_it_comes() {
    let mut talk = Talk::with("nginx/1.22.1");
    talk.did();
    let head = b"POST /index.html HTTP/1.1\r\nHost: a\r\nContent-Length: 21\r\n\r\n";
    assert_eq!(talk.say(head), Vec::<String>::new());
    talk.out.now = Timestamp(talk.out.now.0 + 50_000_000);
    assert_eq!(talk.say(b"username=a&"), Vec::<String>::new());
    assert_eq!(talk.later(10), ["timer 50"]);
    assert_eq!(talk.later(50), ["close"]);
    talk.dialogue.closed(Closed::ByUs, &mut talk.out);
    assert_eq!(talk.did(), ["3001"], "half a login is still an attempt");
}

#[test]
fn an_endless_body_is_refused_and_reported_once() {
    let mut talk = Talk::with("nginx/1.22.1");
    talk.did();
    assert!(
        talk.say(b"POST /index.html HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").is_empty()
    );
    let mut did = talk.say(b"fffffff\r\n");
    for _ in 0..200 {
        did.extend(talk.say(&[b'a'; 10_000]));
    }
    assert_eq!(did, ["3001", "HTTP/1.1 413 Request Entity Too Large", "timer 5"]);
    assert_eq!(talk.later(5), ["close"]);
}

#[test]
fn a_head_cannot_grow_without_end() {
    for banner in ["nginx/1.22.1", "Apache/2.4.71 (Debian)", "lighttpd/1.4.69", "Microsoft-IIS/10.0"] {
        let mut talk = Talk::with(banner);
        talk.did();
        let mut head = b"GET /x HTTP/1.1\r\n".to_vec();
        let mut did = Vec::new();
        while !did.iter().any(|it: &String| it == "close") {
            head.extend_from_slice(b"X-Some: thing that fills the line a little\r\n");
            assert!(head.len() < 2 * BACKLOG, "{banner} takes it all");
            did = talk.say(&head);
        }
        assert_eq!(did[0], "3000", "{banner}: {did:?}");
    }
}

#[test]
fn what_a_request_says_is_kept_bounded() {
    let mut talk = Talk::with("nginx/1.22.1");
    talk.did();
    let long = "p".repeat(20_000);
    let body = format!("username=a&password={long}");
    let request =
        format!("POST /index.html HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let _ = talk.dialogue.input(request.as_bytes(), &mut talk.out).unwrap();
    let Some(Action::Report(event)) = talk.out.drain().next() else { panic!("an event") };
    let size = |name: &str| match event.field(name) {
        Some(Value::Tainted(bytes)) => bytes.text().len(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!((size("PASSWORD"), size("BODY")), (4096, 8192));
}

/// The products whose manners differ.
const BANNERS: [&str; 4] =
    ["nginx/1.22.1", "Apache/2.4.71 (Debian)", "lighttpd/1.4.69", "Microsoft-IIS/10.0"];

/// What is reported of a connection that sends this and waits: the kind's number and these fields.
fn told(banner: &str, bytes: &[u8], names: &[&str]) -> Vec<String> {
    let mut talk = Talk::with(banner);
    let _ = talk.dialogue.input(bytes, &mut talk.out).unwrap();
    talk.dialogue.timer(&mut talk.out);
    talk.dialogue.closed(Closed::ByUs, &mut talk.out);
    let mut told = Vec::new();
    for action in talk.out.drain() {
        let Action::Report(event) = action else { continue };
        told.push(event.kind.logtype.to_string());
        told.extend(names.iter().map(|it| match event.field(it) {
            Some(Value::Tainted(bytes)) => bytes.text().into_owned(),
            other => format!("{other:?}"),
        }));
    }
    told
}

#[test]
fn what_is_refused_is_told_as_it_was_sent() {
    let names = ["HOSTNAME", "USERAGENT", "USERNAME", "PASSWORD"];
    for banner in BANNERS {
        for (host, agent, as_text) in [
            (&b"nas.local"[..], &b"c\x7f"[..], ["nas.local", "c\x7f"]),
            (b"nas.local", b"c\x1b", ["nas.local", "c\x1b"]),
            (b"nas.local", b"c\x00", ["nas.local", "c\0"]),
            (b"nas.local", b"c\rd", ["nas.local", "c\rd"]),
            (b"nas.local", b"c\xff", ["nas.local", "c\\xff"]),
            (b"h\xff", b"c", ["h\\xff", "c"]),
            (b"h h", b"c", ["h h", "c"]),
        ] {
            let head: [&[u8]; 5] = [
                b"POST /index.html HTTP/1.1\r\nUser-Agent: ",
                agent,
                b"\r\nHost: ",
                host,
                b"\r\nContent-Length: 21\r\n\r\nusername=u&password=p",
            ];
            let [host, agent] = as_text;
            assert_eq!(told(banner, &head.concat(), &names), ["3001", host, agent, "u", "p"], "{banner}");
        }
        let names = ["HOSTNAME", "PATH", "USERAGENT"];
        for (target, path) in [(&b"/\xff"[..], "/\\xff"), (b"/\x7f", "/\x7f"), (b"x", "x")] {
            let request =
                [b"GET ", target, b" HTTP/1.1\r\nHost: nas.local\r\nUser-Agent: c\r\n\r\n"].concat();
            assert_eq!(told(banner, &request, &names), ["3000", "nas.local", path, "c"], "{banner}");
        }
        let bare = b"GET /index.html HTTP/1.1\nHost: nas.local\nUser-Agent: c\n\n";
        assert_eq!(told(banner, bare, &names), ["3000", "nas.local", "/index.html", "c"], "{banner}");
    }
}

#[test]
fn a_target_of_any_length_is_told_bounded() {
    for banner in BANNERS {
        for ending in ["", " HTTP/1.1\r\n", " HTTP/1.1\r\nHost: nas.local\r\n\r\n"] {
            let request = format!("GET /{}{ending}", "a".repeat(20_000));
            let got = told(banner, request.as_bytes(), &["PATH"]);
            assert_eq!((got[0].as_str(), got[1].len(), got.len()), ("3000", 8192, 2), "{banner}{ending:?}");
        }
        let request = format!("GET /{}", "a".repeat(4 * BACKLOG));
        assert_eq!(told(banner, request.as_bytes(), &["PATH"])[0], "3000", "{banner}");
    }
}

#[test]
fn a_refusal_waits_for_the_rest_of_the_request() {
    let head = b"POST /index.html HTTP/1.1\r\nUser-Agent: c\x00\r\nHost: a\r\nContent-Length: 21\r\n\r\n";
    for banner in BANNERS {
        let mut talk = Talk::with(banner);
        talk.did();
        assert_eq!(talk.say(head), ["timer 0"], "{banner}");
        assert_eq!(talk.say(b"username=u&"), Vec::<String>::new());
        let did = talk.say(b"password=p");
        assert!(did[0] == "3001" && did[1].contains(" 400 ") && did[2] == "close", "{banner}: {did:?}");
        assert!(talk.say(b"username=u&password=p").is_empty());

        let mut slow = Talk::with(banner);
        slow.did();
        slow.say(head);
        let did = slow.later(1);
        assert!(did[0] == "3001" && did[1].contains(" 400 ") && did[2] == "close", "{banner}: {did:?}");

        let mut gone = Talk::with(banner);
        gone.did();
        gone.say(head);
        gone.dialogue.closed(Closed::ByPeer, &mut gone.out);
        assert_eq!(gone.did(), ["3001"], "{banner}");
    }
    // Whoever sends it byte by byte is not listened to forever.
    let mut talk = Talk::with("nginx/1.22.1");
    talk.did();
    talk.say(b"GET /\x01 HTTP/1.1\r\n");
    let segments = (0..5000).take_while(|_| talk.say(b"a").is_empty()).count();
    assert!((1000..1100).contains(&segments), "{segments}");
    // What is no request is refused at once.
    let mut talk = Talk::with("nginx/1.22.1");
    talk.did();
    assert_eq!(talk.say(b"HELP\r\n"), ["HTTP/1.1 400 Bad Request", "close"]);
}

#[test]
fn apache_counts_down_and_ends_at_a_hundred() {
    let mut talk = Talk::with("Apache/2.4.71 (Debian)");
    let request = b"GET /index.html HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
    for left in (1..=100).rev() {
        let _ = talk.dialogue.input(request, &mut talk.out).unwrap();
        let sent = talk
            .out
            .drain()
            .find_map(|it| if let Action::Send(bytes) = it { Some(bytes) } else { None })
            .expect("an answer");
        let text = String::from_utf8_lossy(&sent).into_owned();
        assert!(text.contains(&format!("Keep-Alive: timeout=5, max={left}\r\n")), "{left}: {text}");
    }
    let _ = talk.dialogue.input(request, &mut talk.out).unwrap();
    assert!(talk.did().contains(&"close".to_owned()));
}

#[test]
fn two_logins_get_two_sessions() {
    let mut talk = Talk::with("nginx/1.22.1");
    let request = b"POST /index.html HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nusername=a";
    let mut cookies = Vec::new();
    for _ in 0..2 {
        let _ = talk.dialogue.input(request, &mut talk.out).unwrap();
        for action in talk.out.drain() {
            if let Action::Send(bytes) = action {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                cookies.extend(text.lines().find(|it| it.starts_with("Set-Cookie: sid=")).map(str::to_owned));
            }
        }
    }
    assert_eq!(cookies.len(), 2);
    assert_ne!(cookies[0], cookies[1]);
}

#[test]
fn a_skin_must_be_there() {
    let mut conf = Conf::new();
    conf.set("http.skin", "fancy");
    let complaint = build(&conf).err().expect("a complaint");
    assert_eq!(complaint[0].text, "wants basicLogin or nasLogin, got \"fancy\"");
    let mut own = Conf::new();
    own.set_folder("http.skindir", Arc::default());
    let complaint = build(&own).err().expect("a complaint");
    assert_eq!(complaint[0].text, "wants a folder with an index.html");
}
