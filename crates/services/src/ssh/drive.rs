//! Arbitrary messages at our own server from behind the keys, and what must hold of it: for fuzzing.

use std::sync::LazyLock;

use super::SERVICE;
use super::client::{self, Client, Heard, Offer};
use crate::Listening;
use crate::conf::Conf;
use crate::dialogue::{Action, Actions, Closed, Dialogue, ENOUGH};
use crate::replay::{host_keys, is_declared, opened};

/// Bytes that one message may make the server say beyond [`ENOUGH`].
const ANSWER_MAX: usize = 64 * 1024;
/// Messages of one run.
const MESSAGES_MAX: usize = 64;

/// Servers of each product, which let in everybody whose password is `in`.
static SERVERS: LazyLock<Vec<Listening>> = LazyLock::new(|| {
    let versions =
        ["SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10", "SSH-2.0-dropbear_2022.83", "SSH-2.0-Cisco-1.25"];
    let listening = versions.map(|version| {
        let mut conf = Conf::new();
        conf.set("ssh.version", version);
        conf.set_host_keys(host_keys());
        conf.set("ssh.accept", serde_json::json!([{ "password": "in" }]));
        (SERVICE.build)(&conf).unwrap_or_default()
    });
    listening.into_iter().flatten().collect()
});

/// Takes the first byte for how to begin, and the others for messages, each with its length in two
/// bytes before it.
///
/// # Panics
///
/// When the server panics, queues too much, or reports a field that its kind does not declare.
pub fn drive(bytes: &[u8]) {
    let Some((&how, mut rest)) = bytes.split_first() else { return };
    let Some(server) = SERVERS.iter().cycle().nth(how.into()) else { return };
    let mut talk = Talk::new(server, how);
    talk.pump();
    for message in beginning(how) {
        talk.say(&message);
    }
    for _ in 0..MESSAGES_MAX {
        let Some((length, after)) = rest.split_first_chunk() else { break };
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (message, after) = after.split_at_checked(length).unwrap_or_default();
        talk.say(message);
        rest = after;
    }
    talk.end();
}

/// What stands before the arbitrary messages: nothing, a service, a refused login, an accepted one.
fn beginning(how: u8) -> Vec<Vec<u8>> {
    let login =
        |password: &str| vec![client::service_request("ssh-userauth"), client::password("root", password)];
    match how / 64 {
        0 => Vec::new(),
        1 => vec![client::service_request("ssh-userauth")],
        2 => login("out"),
        _ => [login("in"), vec![client::open_session(0)]].concat(),
    }
}

/// Both sides of a conversation.
struct Talk {
    client: Client,
    dialogue: Box<dyn Dialogue>,
    out: Actions,
    to_server: Vec<u8>,
    ended: bool,
}

impl Talk {
    fn new(server: &Listening, how: u8) -> Self {
        let (dialogue, out) = opened(server, false);
        let kex = vec!["curve25519-sha256".into(), "diffie-hellman-group14-sha1".into()];
        let compression = vec![if how & 32 == 0 { "none" } else { "zlib@openssh.com" }.into(), "none".into()];
        let mut client = Client::new(Offer { kex, compression, ..Offer::default() }, [2; 32]);
        let to_server = client.open();
        Self { client, dialogue, out, to_server, ended: false }
    }

    /// Says this, whether it may be said or not, and hears the answer.
    fn say(&mut self, message: &[u8]) {
        if !self.ended {
            self.client.send_now(message, &mut self.to_server);
            self.pump();
        }
    }

    /// Until neither has more to say.
    fn pump(&mut self) {
        while !self.ended {
            let mut to_client = Vec::new();
            let taken = std::mem::take(&mut self.to_server);
            match self.dialogue.input(&taken, &mut self.out) {
                Ok(rest) => self.to_server = rest.to_vec(),
                Err(_) => self.ended = true,
            }
            let waiting = self.to_server.len();
            self.act(&mut to_client);
            // What comes after a message that must not come, the client need not understand.
            let heard = self.client.input(&to_client, &mut self.to_server).unwrap_or_else(|_| {
                self.ended = true;
                Vec::new()
            });
            assert!(heard.len() <= ANSWER_MAX && !heard.contains(&Heard::Message(Vec::new())));
            if to_client.is_empty() && self.to_server.len() == waiting && waiting == taken.len() {
                break;
            }
        }
    }

    /// Does what the server wants.
    fn act(&mut self, to_client: &mut Vec<u8>) {
        let queued = self.out.queued();
        assert!(queued <= ENOUGH.saturating_add(ANSWER_MAX), "{queued} bytes queued at once");
        for action in self.out.drain() {
            match action {
                Action::Close | Action::Reset | Action::StartTls => self.ended = true,
                Action::Send(bytes) => to_client.extend_from_slice(&bytes),
                Action::Report(event) => is_declared(&SERVICE, &event),
                Action::Timer(_) | Action::Wait(_) => {}
            }
        }
    }

    fn end(mut self) {
        self.dialogue.closed(Closed::ByPeer, &mut self.out);
        self.act(&mut Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::random::Random;

    #[test]
    fn the_beginnings_lead_where_they_should() {
        for how in 0..=255 {
            let server = SERVERS.iter().cycle().nth(how.into()).unwrap();
            let mut talk = Talk::new(server, how);
            talk.pump();
            assert!(!talk.client.session_id().is_empty(), "{how}: keys are agreed on");
            for message in beginning(how) {
                talk.say(&message);
            }
            assert!(!talk.ended, "{how}");
        }
        assert_eq!(SERVERS.len(), 3);
    }

    /// What the fuzz target does, in small: true messages, cut, joined and overwritten.
    #[test]
    fn arbitrary_messages_do_no_harm() {
        let pool: Vec<Vec<u8>> = [
            client::service_request("ssh-userauth"),
            client::none("root"),
            client::password("root", "in"),
            client::offer_key("root", "ssh-ed25519", b"\0\0\0\x0bssh-ed25519\0\0\0\x20"),
            client::interactive("root"),
            client::answers([&b"in"[..]]),
            client::open_session(1),
            client::channel_request(0, "exec", b"\0\0\0\x02id"),
            client::channel_data(0, b"exit\n"),
            client::global_request("tcpip-forward", b"\0\0\0\0\0\0\0\x16"),
            client::ping(b"x"),
            client::disconnect(11, "bye"),
            vec![20; 60],
            vec![21],
            vec![30, 0, 0, 0, 32],
        ]
        .to_vec();
        let mut random = Random::new([8; 32]);
        for run in 0..400_u32 {
            let [how, count, ..] = random.bytes::<4>();
            let mut bytes = vec![how];
            for _ in 0..count % 6 {
                let [which, place, value, change] = random.bytes::<4>();
                let mut message = pool[usize::from(which) % pool.len()].clone();
                let place = usize::from(place) % message.len();
                match change % 4 {
                    0 => message[place] = value,
                    1 => message.truncate(place),
                    _ => {}
                }
                bytes.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
                bytes.extend(message);
            }
            if run % 7 == 0 {
                bytes.extend(random.bytes::<40>());
            }
            drive(&bytes);
        }
    }
}
