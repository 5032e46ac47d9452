//! What each product does for those who are let in.

use serin_event::Event;

use super::*;
use crate::ssh::auth::tests::{client, face};
use crate::ssh::hostkey::verify;
use crate::wire::Reader;

const DEBIAN: &str = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10";
const DROPBEAR: &str = "SSH-2.0-dropbear_2022.83";
const CISCO: &str = "SSH-2.0-Cisco-1.25";

struct Talk {
    session: Session,
    events: Vec<Event>,
}

/// Somebody let in, by a client of this identification.
fn talk_as(server: &str, identification: &str) -> Talk {
    let client = Client { identification: Tainted::new(identification.as_bytes(), 64), ..client() };
    let mut wants = Vec::new();
    let session = Session::new(face(server, &[]), Arc::new(client), b"admin", &mut wants);
    Talk { session, events: Vec::new() }
}

fn talk(server: &str) -> Talk {
    talk_as(server, "SSH-2.0-OpenSSH_9.2p1")
}

impl Talk {
    /// What a message leads to, without what is reported, in the words of the measured transcripts.
    fn says(&mut self, number: u8, Message(payload): Message) -> Vec<String> {
        let mut wants = Vec::new();
        if !self.session.message(number, &payload, &mut wants) {
            return vec!["unknown".to_owned()];
        }
        self.take(wants)
    }

    fn take(&mut self, wants: Vec<Want>) -> Vec<String> {
        let mut said = Vec::new();
        for want in wants {
            match want {
                Want::Report(event) => self.events.push(event),
                Want::Send(message) => said.push(shown(&message.0)),
                Want::Wait(_) => {}
                Want::Disconnect(text) => {
                    said.push(format!("DISCONNECT {}", String::from_utf8(text).unwrap()));
                }
                Want::Close => said.push("close".to_owned()),
            }
        }
        said
    }

    fn closed(&mut self) {
        let mut wants = Vec::new();
        self.session.closed(&mut wants);
        assert!(self.take(wants).is_empty());
    }

    fn opened(mut self) -> Self {
        let seen = self.says(90, session(7));
        assert!(seen[0].starts_with("OPEN_CONFIRMATION to=7 from=0"), "{seen:?}");
        self
    }

    /// The events so far, as their fields and then their details.
    fn told(&mut self) -> Vec<(String, String)> {
        let events = std::mem::take(&mut self.events);
        let details = |it: &Event| {
            let common = format!(r#""HASSH": "{}", "#, "0".repeat(32));
            it.details().replace(&common, "").replace(r#""SESSION": "3""#, "-")
        };
        events.iter().map(|it| (it.logdata(), details(it))).collect()
    }
}

fn shown(message: &[u8]) -> String {
    let (number, rest) = message.split_first().unwrap();
    let mut rest = Reader(rest);
    match *number {
        4 => {
            assert_eq!(rest.u8("display"), Ok(0));
            format!("DEBUG {}", text(&mut rest))
        }
        80 => format!("GLOBAL_REQUEST {} {:?}", text(&mut rest), rest.u8("reply").unwrap()),
        81 => format!("REQUEST_SUCCESS {}", rest.0.len()),
        82 => "REQUEST_FAILURE".to_owned(),
        91 => {
            let [to, from, window, packet] = [(); 4].map(|()| rest.u32("number").unwrap());
            assert!(rest.0.is_empty());
            format!("OPEN_CONFIRMATION to={to} from={from} window={window} packet={packet}")
        }
        92 => {
            let (to, reason) = (rest.u32("to").unwrap(), rest.u32("reason").unwrap());
            format!("OPEN_FAILURE {to} reason={reason} {:?} {:?}", text(&mut rest), text(&mut rest))
        }
        _ => {
            assert_eq!(rest.u32("to"), Ok(7));
            match *number {
                93 => format!("WINDOW_ADJUST by {}", rest.u32("by").unwrap()),
                94 => format!("DATA {:?}", text(&mut rest)),
                96 => "EOF".to_owned(),
                97 => "CLOSE".to_owned(),
                98 => {
                    let name = text(&mut rest);
                    assert_eq!(rest.u8("reply"), Ok(0));
                    format!("REQUEST {name} {:02x?}", rest.0)
                }
                99 => "CHANNEL_SUCCESS".to_owned(),
                100 => "CHANNEL_FAILURE".to_owned(),
                number => panic!("{number}"),
            }
        }
    }
}

fn text(rest: &mut Reader<'_>) -> String {
    String::from_utf8(rest.string("text").unwrap().to_vec()).unwrap()
}

fn session(id: u32) -> Message {
    Message::part().string("session").u32(id).u32(0x20_0000).u32(0x8000)
}

fn request(name: &str) -> Message {
    Message::part().u32(0).string(name).boolean(true)
}

fn pty() -> Message {
    request("pty-req").string("xterm").u32(80).u32(24).u32(0).u32(0).string("")
}

#[test]
fn the_host_keys_come_first() {
    let mut wants = Vec::new();
    let face = face(DEBIAN, &[]);
    let key = face.host_keys.iter().next().unwrap().blob().to_vec();
    Session::new(face, Arc::new(client()), b"admin", &mut wants);
    let Some(Want::Send(Message(message))) = wants.last() else { panic!("nothing sent") };
    assert_eq!(shown(message), "GLOBAL_REQUEST hostkeys-00@openssh.com 0");
    assert!(message.ends_with(&Message::part().string(key).0));
    wants.clear();
    Session::new(self::face(DROPBEAR, &[]), Arc::new(client()), b"admin", &mut wants);
    assert!(wants.is_empty());
}

#[test]
fn openssh_runs_nologin() {
    let mut talk = talk(DEBIAN).opened();
    let ended = ["REQUEST exit-status [00, 00, 00, 01]", "REQUEST eow@openssh.com []", "CLOSE"];
    let seen = talk.says(98, request("exec").string("rm -rf /"));
    assert_eq!(
        seen[..4],
        [
            "WINDOW_ADJUST by 2097152",
            "CHANNEL_SUCCESS",
            r#"DATA "This account is currently not available.\n""#,
            "EOF",
        ]
    );
    assert_eq!(seen[4..], ended);
    assert!(talk.says(98, request("shell")).is_empty(), "it is closing");
    assert!(talk.says(97, Message::part().u32(0)).is_empty());
    let expected = |command: &str, request: &str| {
        let fields = format!(r#"{{"COMMAND": "{command}", "REQUEST": "{request}", "USERNAME": "admin"}}"#);
        (fields, r#"{"CHANNEL": 0, -}"#.to_owned())
    };
    assert_eq!(talk.told(), [expected("rm -rf /", "exec"), expected("", "shell")]);
    let seen = talk.says(94, Message::part().u32(0).string("x"));
    assert_eq!(seen, ["DISCONNECT data packet referred to nonexistent channel 0"]);
}

#[test]
fn a_terminal_and_variables_stand_beside_the_program() {
    let mut talk = talk(DEBIAN).opened();
    assert_eq!(talk.says(98, pty()), ["CHANNEL_SUCCESS"]);
    assert_eq!(talk.says(98, request("env").string("LANG").string("C")), ["CHANNEL_SUCCESS"]);
    assert_eq!(talk.says(98, request("env").string("FOO").string("bar")), ["CHANNEL_FAILURE"]);
    assert!(talk.told().is_empty());
    let seen = talk.says(98, request("shell"));
    assert_eq!(seen[2], r#"DATA "This account is currently not available.\r\n""#);
    let details = r#"{"CHANNEL": 0, "ENVIRONMENT": {"FOO": "bar", "LANG": "C"}, -, "TERMINAL": "xterm", "WINDOW": "80x24"}"#;
    assert_eq!(talk.told()[0].1, details);
    talk.closed();
    assert!(talk.told().is_empty());
}

#[test]
fn variables_are_kept_once_each_and_as_far_as_there_is_room() {
    let mut talk = talk(DEBIAN).opened();
    for value in ["C", "de_DE.UTF-8"] {
        talk.says(98, request("env").string("LANG").string(value));
    }
    for nth in 0..100 {
        talk.says(98, request("env").string(format!("LC_{nth}")).string("x".repeat(1000)));
    }
    talk.says(98, request("shell"));
    let details = talk.told()[0].1.clone();
    assert_eq!(details.matches(r#""LANG": "de_DE.UTF-8""#).count(), 1, "{details}");
    assert_eq!((details.matches("LANG").count(), details.matches("LC_").count()), (1, 4), "{details}");
}

#[test]
fn a_command_on_a_channel_that_is_not_open_is_reported() {
    let mut talk = talk(DEBIAN);
    let seen = talk.says(98, request("exec").string("id"));
    assert_eq!(seen, ["DISCONNECT server_input_channel_req: unknown channel 0"]);
    let told = talk.told();
    assert!(told[0].0.contains(r#""COMMAND": "id""#) && told.len() == 1, "{told:?}");
}

#[test]
fn a_terminal_alone_is_reported_at_the_end() {
    let mut talk = talk(DEBIAN).opened();
    talk.says(98, pty());
    talk.closed();
    assert!(talk.told()[0].0.contains(r#""REQUEST": "pty-req""#));
    let mut talk = self::talk(DEBIAN).opened();
    talk.says(98, pty());
    assert_eq!(talk.says(98, pty()), ["DISCONNECT Protocol error: you already have a pty."]);
}

#[test]
fn other_clients_are_not_told_of_the_end_of_writing() {
    let mut talk = talk_as(DEBIAN, "SSH-2.0-PuTTY_Release_0.78").opened();
    let seen = talk.says(98, Message::part().u32(0).string("exec").boolean(false).string("id"));
    assert_eq!(
        seen,
        [
            "WINDOW_ADJUST by 2097152",
            r#"DATA "This account is currently not available.\n""#,
            "EOF",
            "REQUEST exit-status [00, 00, 00, 01]",
            "CLOSE",
        ]
    );
}

#[test]
fn subsystems_are_programs() {
    let mut talk = talk(DEBIAN).opened();
    assert_eq!(talk.says(98, request("subsystem").string("foo")), ["CHANNEL_FAILURE"]);
    assert_eq!(talk.says(98, request("subsystem").string("sftp"))[1], "CHANNEL_SUCCESS");
    assert!(talk.told()[1].0.contains(r#""COMMAND": "sftp", "REQUEST": "subsystem""#));
}

#[test]
fn a_client_without_room_is_told_later() {
    let mut talk = talk(DEBIAN);
    talk.says(90, Message::part().string("session").u32(7).u32(0).u32(30));
    let seen = talk.says(98, request("exec").string("id"));
    assert_eq!(seen.last().unwrap(), "REQUEST eow@openssh.com []");
    let widen = |by| Message::part().u32(0).u32(by);
    assert_eq!(talk.says(93, widen(5)), [r#"DATA "This ""#]);
    let seen = talk.says(93, widen(1000));
    assert_eq!(seen, [r#"DATA "account is currently not avail""#, r#"DATA "able.\n""#, "EOF", "CLOSE"]);
    assert_eq!(talk.says(93, widen(u32::MAX)), ["close"], "more than it can count");
}

#[test]
fn what_is_sent_is_counted_and_its_start_kept() {
    let mut talk = talk(DEBIAN).opened();
    talk.says(98, request("exec").string("sh"));
    talk.told();
    let part = vec![b'a'; 32_000];
    for _ in 0..72 {
        assert!(talk.says(94, Message::part().u32(0).string(&part)).is_empty());
    }
    let seen = talk.says(94, Message::part().u32(0).string(&part));
    assert_eq!(seen, ["DISCONNECT channel 0: peer ignored channel window"]);
    talk.closed();
    let (fields, _) = &talk.told()[0];
    assert!(fields.starts_with(r#"{"BYTES": 2336000, "DATA": "aaaa"#), "{}", &fields[..60]);
    assert_eq!(fields.matches('a').count(), 4096 + "admin".matches('a').count());
}

#[test]
fn ten_sessions_are_enough() {
    let mut talk = talk(DEBIAN);
    for at in 0..10 {
        let expected = format!("OPEN_CONFIRMATION to={at} from={at} window=0 packet=32768");
        assert_eq!(talk.says(90, session(at)), [expected]);
    }
    assert_eq!(talk.says(90, session(10)), [r#"OPEN_FAILURE 10 reason=2 "open failed" """#]);
    let mut talk = self::talk(DEBIAN).opened();
    assert_eq!(talk.says(97, Message::part().u32(0)), ["CLOSE"]);
    assert_eq!(talk.says(90, session(7))[0], "OPEN_CONFIRMATION to=7 from=0 window=0 packet=32768");
    assert!(talk.says(80, Message::part().string("no-more-sessions@openssh.com").boolean(false)).is_empty());
    let text = "DISCONNECT Possible attack: attempt to open a session after additional sessions disabled";
    assert_eq!(talk.says(90, session(8)), [text]);
}

#[test]
fn nothing_is_forwarded_and_everything_is_told() {
    let direct = |kind: &str| Message::part().string(kind).u32(3).u32(0).u32(0);
    let target = || direct("direct-tcpip").string("10.0.0.1").u32(80).string("::1").u32(5);
    let mut talk = talk(DEBIAN);
    assert_eq!(talk.says(90, target()), [r#"OPEN_FAILURE 3 reason=1 "open failed" """#]);
    let told = talk.told().remove(0);
    assert!(told.0.contains(r#""COMMAND": "10.0.0.1:80", "REQUEST": "direct-tcpip""#), "{told:?}");
    assert_eq!(told.1, r#"{"HOST": "10.0.0.1", "ORIGIN": "::1:5", "PORT": 80, -}"#);
    let socket = direct("direct-streamlocal@openssh.com").string("/run/docker.sock").string("").u32(0);
    assert_eq!(talk.says(90, socket), [r#"OPEN_FAILURE 3 reason=2 "open failed" """#]);
    assert!(talk.told()[0].0.contains("/run/docker.sock"));
    let forward = Message::part().string("tcpip-forward").boolean(true).string("").u32(8080);
    assert_eq!(talk.says(80, forward), ["DEBUG Server has disabled port forwarding.", "REQUEST_FAILURE"]);
    assert!(talk.told()[0].0.contains(r#""COMMAND": ":8080", "REQUEST": "tcpip-forward""#));
    assert_eq!(
        talk.says(90, direct("x11").string("h").u32(1)),
        [r#"OPEN_FAILURE 3 reason=2 "open failed" """#]
    );
    assert_eq!(talk.says(90, direct("tun@openssh.com").u32(1).u32(0)).len(), 2);
    let mut talk = self::talk(DROPBEAR);
    assert_eq!(talk.says(90, target()), [r#"OPEN_FAILURE 3 reason=1 "" """#]);
    assert_eq!(talk.says(90, direct("foo")), [r#"OPEN_FAILURE 3 reason=3 "" """#]);
}

#[test]
fn host_keys_are_proved() {
    let mut talk = talk(DEBIAN);
    let ask = || Message::part().string("hostkeys-prove-00@openssh.com").boolean(true);
    let key = talk.session.face.host_keys.iter().next().unwrap().blob().to_vec();
    let mut wants = Vec::new();
    talk.session.message(80, &ask().string(&key).0, &mut wants);
    let Want::Send(Message(message)) = &wants[0] else { panic!("nothing sent") };
    let data = Message::part().string("hostkeys-prove-00@openssh.com").string([7; 32]).string(&key);
    let signature = Reader(&message[1..]).string("signature").unwrap();
    assert_eq!((message[0], verify(&key, signature, &data.0)), (81, Ok(())));
    assert_eq!(talk.says(80, ask().string("x")), ["REQUEST_FAILURE"]);
}

#[test]
fn requests_are_answered_as_measured() {
    let mut talk = talk(DEBIAN).opened();
    let x11 = || request("x11-req").boolean(false).string("MIT-MAGIC-COOKIE-1").string("00").u32(0);
    assert_eq!(talk.says(98, x11()), ["CHANNEL_SUCCESS"]);
    assert_eq!(talk.says(98, x11()), ["CHANNEL_FAILURE"], "it is active");
    assert_eq!(talk.says(98, request("auth-agent-req@openssh.com")), ["CHANNEL_SUCCESS"]);
    assert_eq!(talk.says(98, request("window-change").u32(1).u32(2).u32(3).u32(4)), ["CHANNEL_SUCCESS"]);
    assert_eq!(talk.told().len(), 3);
    for name in ["signal", "break", "foo"] {
        assert_eq!(talk.says(98, request(name).string("INT")), ["CHANNEL_FAILURE"], "{name}");
    }
    assert!(talk.says(98, Message::part().u32(0).string("foo").boolean(false)).is_empty());
    assert_eq!(talk.told().len(), 1, "foo, once");
    let putty = request("winadj@putty.projects.tartarus.org");
    assert_eq!(talk.says(98, putty), ["CHANNEL_FAILURE"]);
    let global = |name: &str| Message::part().string(name).boolean(true);
    assert_eq!(talk.says(80, global("keepalive@openssh.com")), ["REQUEST_FAILURE"]);
    assert!(talk.told().is_empty());
    assert_eq!(talk.says(80, global("foo@example")), ["REQUEST_FAILURE"]);
    assert!(talk.says(96, Message::part().u32(0)).is_empty(), "an end of file before a program");
    for number in [50, 5, 110] {
        assert_eq!(talk.says(number, Message::part()), ["unknown"]);
    }
    let seen = talk.says(98, Message::part().u32(9).string("shell").boolean(true));
    assert_eq!(seen, ["DISCONNECT server_input_channel_req: unknown channel 9"]);
    assert!(talk.says(90, session(1)).is_empty(), "it is over");
}

#[test]
fn other_products_end_sessions_their_way() {
    let mut talk = talk(DROPBEAR).opened();
    let seen = talk.says(98, request("exec").string("id"));
    assert_eq!(seen, ["CHANNEL_SUCCESS", "EOF", "REQUEST exit-status [00, 00, 00, 01]", "CLOSE"]);
    assert_eq!(talk.says(94, Message::part().u32(5).string("x")), ["close"]);
    let mut talk = self::talk(DROPBEAR).opened();
    assert_eq!(talk.says(96, Message::part().u32(0)), ["EOF", "CLOSE"]);
    assert!(talk.says(50, Message::part()).is_empty());
    let mut talk = self::talk(CISCO).opened();
    let seen = talk.says(98, request("shell"));
    assert_eq!(seen, ["CHANNEL_SUCCESS", r#"DATA "% Authorization failed.\n""#, "EOF", "CLOSE"]);
}

#[test]
fn no_message_in_pieces_does_harm() {
    let whole = [
        (80, Message::part().string("tcpip-forward").boolean(true).string("h").u32(1)),
        (80, Message::part().string("streamlocal-forward@openssh.com").boolean(true).string("h")),
        (80, Message::part().string("hostkeys-prove-00@openssh.com").boolean(true).string("h")),
        (90, session(3)),
        (
            90,
            Message::part().string("direct-tcpip").u32(3).u32(0).u32(0).string("h").u32(1).string("o").u32(2),
        ),
        (91, Message::part().u32(0)),
        (92, Message::part().u32(0)),
        (93, Message::part().u32(0).u32(1)),
        (94, Message::part().u32(0).string("x")),
        (95, Message::part().u32(0).u32(1).string("x")),
        (96, Message::part().u32(0)),
        (97, Message::part().u32(0)),
        (98, pty()),
        (98, request("exec").string("id")),
        (98, request("env").string("a").string("b")),
        (98, request("x11-req").boolean(false).string("a").string("b").u32(0)),
        (98, request("window-change").u32(1).u32(2).u32(3).u32(4)),
    ];
    for server in [DEBIAN, DROPBEAR, CISCO] {
        for (number, message) in &whole {
            for end in 0..message.0.len() {
                let mut talk = talk(server).opened();
                let seen = talk.says(*number, Message::part().raw(&message.0[..end]));
                assert!(seen.iter().all(|it| it != "unknown"), "{number} {end}");
                assert!(server != DEBIAN || end > 3 || seen == ["close"], "{number} {end} {seen:?}");
                talk.closed();
            }
        }
    }
}
