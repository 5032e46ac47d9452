//! Clients that do more at once than they should.

use std::time::Duration;

use super::*;
use crate::conf::Conf;
use crate::replay::{host_keys, opened};
use crate::ssh::SERVICE;
use crate::ssh::client::{self, Client as Peer, Offer};

const DEBIAN: &str = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10";
const DROPBEAR: &str = "SSH-2.0-dropbear_2022.83";

/// A client that has agreed on keys, and what it has seen of the server since.
struct Talk {
    client: Peer,
    dialogue: Box<dyn Dialogue>,
    out: Actions,
    /// The messages that came.
    heard: Vec<Vec<u8>>,
    events: Vec<Event>,
    waited: Duration,
    ended: bool,
    /// The most bytes that waited to be sent.
    queued: usize,
}

impl Talk {
    fn new(version: &str) -> Self {
        let mut talk = Self::fresh(version, Offer::default());
        let opening = talk.client.open();
        talk.say(opening);
        talk.heard.clear();
        talk
    }

    /// With nothing said yet.
    fn fresh(version: &str, offer: Offer) -> Self {
        let mut conf = Conf::new();
        conf.set("ssh.version", version);
        conf.set("ssh.accept", serde_json::json!([{ "password": "in" }]));
        conf.set_host_keys(host_keys());
        let listening = (SERVICE.build)(&conf).unwrap_or_else(|it| panic!("{it:?}"));
        let (dialogue, out) = opened(&listening[0], false);
        Self {
            client: Peer::new(offer, [2; 32]),
            dialogue,
            out,
            heard: Vec::new(),
            events: Vec::new(),
            waited: Duration::ZERO,
            ended: false,
            queued: 0,
        }
    }

    /// Says this at once, and whatever the client answers, until neither has more to say.
    fn say(&mut self, bytes: Vec<u8>) {
        let mut waiting = bytes;
        for _ in 0..10_000 {
            let had = waiting.len();
            waiting = self.dialogue.input(&waiting, &mut self.out).unwrap().to_vec();
            let used = had - waiting.len();
            self.queued = self.queued.max(self.out.queued());
            let mut said = Vec::new();
            for action in self.out.drain() {
                match action {
                    Action::Report(event) => self.events.push(event),
                    _ if self.ended => {}
                    Action::Send(bytes) => said.extend_from_slice(&bytes),
                    Action::Wait(time) => self.waited += time,
                    Action::Close | Action::Reset | Action::StartTls => self.ended = true,
                    Action::Timer(_) => {}
                }
            }
            let spoke = !said.is_empty();
            for heard in self.client.input(&said, &mut waiting).unwrap() {
                if let client::Heard::Message(message) = heard {
                    self.heard.push(message);
                }
            }
            if self.ended || !spoke && used == 0 {
                return;
            }
        }
        panic!("they never come to an end");
    }

    /// Says all of these in one segment, whether they may be said or not.
    fn say_all(&mut self, messages: impl IntoIterator<Item = Vec<u8>>) {
        let mut bytes = Vec::new();
        for message in messages {
            self.client.send_now(&message, &mut bytes);
        }
        self.say(bytes);
    }

    fn count(&self, number: u8) -> usize {
        self.heard.iter().filter(|it| it[0] == number).count()
    }

    fn events(&self, logtype: u32) -> usize {
        self.events.iter().filter(|it| it.kind.logtype == logtype).count()
    }
}

fn passwords() -> impl Iterator<Item = Vec<u8>> {
    (0..1000).map(|nth| client::password("root", format!("password {nth}")))
}

#[test]
fn of_a_thousand_passwords_at_once_a_few_are_answered_and_all_are_reported() {
    for (version, refused, parting, least) in
        [(DEBIAN, 5, Some("Too many authentication failures"), 6.0_f64), (DROPBEAR, 9, None, 2.5)]
    {
        let mut talk = Talk::new(version);
        talk.say_all([client::service_request("ssh-userauth")].into_iter().chain(passwords()));
        assert!(talk.ended, "{version}");
        assert_eq!(talk.count(number::USERAUTH_FAILURE), refused);
        let last = talk.heard.last().filter(|it| it[0] == number::DISCONNECT).cloned();
        assert_eq!(last, parting.map(|it| client::disconnect(2, it)));
        assert_eq!(talk.events(4002), 1000, "{version}: all that were shown");
        assert!(talk.waited >= Duration::from_secs_f64(least), "{version}: {:?}", talk.waited);
    }
}

/// Dropbear counts none of these.
#[test]
fn requests_that_do_not_count_come_to_an_end_and_never_pile_up() {
    let mut talk = Talk::new(DROPBEAR);
    let keys = (0..2000_u32).map(|nth| client::offer_key("root", "ssh-ed25519", &nth.to_be_bytes()));
    talk.say_all([client::service_request("ssh-userauth")].into_iter().chain(keys));
    assert!(talk.ended);
    assert_eq!(talk.count(number::USERAUTH_FAILURE), 1024);
    assert!(talk.queued <= ENOUGH + 1024, "{}", talk.queued);
}

#[test]
fn what_waits_for_new_keys_is_bounded() {
    let logged_in = || {
        let mut talk = Talk::new("SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.20");
        talk.say_all([client::service_request("ssh-userauth"), client::password("root", "in")]);
        assert_eq!(talk.count(number::USERAUTH_SUCCESS), 1);
        talk
    };
    // The client says what it should only say once the exchange is over.
    let rekeying = |talk: &mut Talk, pings: usize| {
        let mut bytes = Vec::new();
        talk.client.rekey(&mut bytes);
        for _ in 0..pings {
            talk.client.send_now(&client::ping(&vec![b'x'; 20_000]), &mut bytes);
        }
        talk.say(bytes);
    };
    let mut talk = logged_in();
    rekeying(&mut talk, 3);
    assert!(!talk.ended);
    assert_eq!(talk.count(number::PONG), 3, "what waited is sent in the end");
    let mut talk = logged_in();
    rekeying(&mut talk, 4);
    assert!(talk.ended && talk.count(number::PONG) == 0);
}

/// A long KEXINIT is taken like any other, and the keys fit: it is part of the exchange hash.
#[test]
fn a_long_kexinit_is_taken() {
    let mut kex: Vec<String> = vec!["curve25519-sha256".into()];
    kex.extend((0..15_000).map(|nth| format!("x{nth}@example")));
    let mut talk = Talk::fresh(DEBIAN, Offer { kex, ..Offer::default() });
    let opening = talk.client.open();
    talk.say(opening);
    talk.say_all([client::service_request("ssh-userauth")]);
    assert_eq!(talk.count(number::SERVICE_ACCEPT), 1);
}

#[test]
fn newer_openssh_gives_up_to_four_seconds_more() {
    let millis = |version, chance| crate::ssh::profile::nearest(version).time_to_log_in(chance).as_millis();
    assert_eq!([0, 3999, u64::MAX].map(|it| millis(DEBIAN, it)), [120_000; 3]);
    let newer = "SSH-2.0-OpenSSH_10.0p2 Debian-7+deb13u4";
    assert_eq!([0, 3999, 4000].map(|it| millis(newer, it)), [120_000, 123_999, 120_000]);
}

#[test]
fn a_password_before_its_service_is_not_understood_and_yet_reported() {
    let mut talk = Talk::new(DEBIAN);
    talk.say_all([client::password("root", "early")]);
    assert_eq!(talk.count(number::UNIMPLEMENTED), 1);
    assert_eq!(talk.events(4002), 1);
}

#[test]
fn a_password_after_a_login_is_reported() {
    for (version, unimplemented) in [(DEBIAN, 1), (DROPBEAR, 0)] {
        let mut talk = Talk::new(version);
        let passwords = ["in", "other"].map(|it| client::password("root", it));
        talk.say_all([client::service_request("ssh-userauth")].into_iter().chain(passwords));
        assert_eq!(talk.count(number::USERAUTH_SUCCESS), 1, "{version}");
        assert_eq!((talk.count(number::UNIMPLEMENTED), talk.events(4002)), (unimplemented, 2), "{version}");
        assert!(!talk.ended, "{version}");
    }
}
