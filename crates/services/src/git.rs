//! Git: git-daemon with no repository that anybody may have.
//!
//! A client sees what git-daemon 2.39 says of every path that does not exist: `access denied or
//! repository not exported`, then the connection closes. Fetches, pushes and archive requests are
//! reported alike; no repository is ever served, and no object is ever taken in.
//!
//! One request per connection, in one packet line: gitprotocol-pack(5), "Git Transport". What
//! git-daemon refuses without a word (a service it does not know, anything else than `host=` after
//! the path) ends without a word here. It does not read what follows the request, so the kernel
//! answers that with a reset.

use std::time::Duration;

use serin_event::{Event, Tainted, Value, kinds};

use crate::conf::{Complaint, Conf};
use crate::dialogue::{Action, Actions, Broken, Dialogue, Opening};
use crate::probe::{Probe, Script, Step};
use crate::wire::{hexadecimal, split_once};
use crate::{Listening, Service};

pub(crate) static SERVICE: Service = Service {
    name: "git",
    about: "A git daemon that exports nothing",
    opencanary: Some(("CanaryGit", "git")),
    port: 9418,
    opencanary_port: 9418,
    keys: &[],
    events: &[&kinds::GIT_CLONE],
    backlog: PACKET_MAX,
    // git-daemon itself waits for ever.
    idle: Duration::from_mins(5),
    probe: Probe {
        tls: false,
        client: |_| {
            Script::boxed(&[Step::Say(b"003cgit-upload-pack /serin-selftest.git\0host=serin-selftest\0")])
        },
        proof: &[&kinds::GIT_CLONE],
    },
    build,
};

#[allow(clippy::unnecessary_wraps, reason = "the signature of every service")]
fn build(conf: &Conf) -> Result<Vec<Listening>, Vec<Complaint>> {
    Ok(Listening::tcp(&SERVICE, conf, Box::new(|| Box::new(Git))))
}

struct Git;

impl Dialogue for Git {
    fn open(&mut self, _opening: &Opening, _out: &mut Actions) {}

    fn input<'b>(&mut self, bytes: &'b [u8], out: &mut Actions) -> Result<&'b [u8], Broken> {
        match Packet::parse(bytes) {
            Packet::Partial => return Ok(bytes),
            Packet::Bad { rest } => hang_up(rest, out),
            Packet::Line { line, rest } => {
                if let Some(request) = Request::parse(line) {
                    out.report(request.event());
                    if let Some(refusal) = request.refusal() {
                        out.wait(FORK);
                        out.send(refusal);
                    }
                }
                hang_up(rest, out);
            }
        }
        Ok(&[])
    }
}

/// What the genuine daemon takes to fork before it answers. `git archive` goes on sending meanwhile;
/// who answered at once would meet it in the middle, and it would never read the answer.
const FORK: Duration = Duration::from_millis(2);

/// Closes as a process does that has not read `rest`: with a reset where there is any.
fn hang_up(rest: &[u8], out: &mut Actions) {
    out.push(if rest.is_empty() { Action::Close } else { Action::Reset });
}

/// What stands at the beginning of the stream: gitprotocol-common(5), "pkt-line Format".
#[derive(Debug, PartialEq)]
enum Packet<'a> {
    /// No packet: its length is none, or too long.
    Bad { rest: &'a [u8] },
    /// A whole packet. The special ones (flush, delimiter, end) count as empty lines.
    Line { line: &'a [u8], rest: &'a [u8] },
    /// More has to come.
    Partial,
}

impl<'a> Packet<'a> {
    fn parse(bytes: &'a [u8]) -> Self {
        let Some((length, rest)) = bytes.split_at_checked(LENGTH_DIGITS) else { return Self::Partial };
        let Some(length) = hexadecimal(length).and_then(|it| usize::try_from(it).ok()) else {
            return Self::Bad { rest };
        };
        if length > PACKET_MAX {
            return Self::Bad { rest };
        }
        match rest.split_at_checked(length.saturating_sub(LENGTH_DIGITS)) {
            Some((line, rest)) => Self::Line { line, rest },
            None => Self::Partial,
        }
    }
}

/// What a client asks for.
#[derive(Debug, PartialEq)]
struct Request<'a> {
    command: &'static str,
    path: &'a [u8],
    host: &'a [u8],
    /// `version=2` and whatever else came after the host.
    parameters: Vec<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// `git-upload-pack /project.git\0host=example.com\0\0version=2\0`.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let (request, extra) = split_at_nul(line);
        let request = request.strip_suffix(b"\n").unwrap_or(request);
        let (command, path) = COMMANDS.iter().find_map(|&command| {
            let path = request.strip_prefix(command.as_bytes())?.strip_prefix(b" ")?;
            Some((command, path))
        })?;
        let (host, extra) = match extra.split_at_checked(HOST_IS.len()) {
            Some((name, value)) if name.eq_ignore_ascii_case(HOST_IS) => split_at_nul(value),
            _ => (&[][..], extra),
        };
        // An empty string stands between the host and the rest, so that old daemons stop there.
        if extra.first().is_some_and(|&it| it != 0) {
            return None;
        }
        let parameters = extra.split(|&it| it == 0).filter(|it| !it.is_empty());
        Some(Self { command, path, host, parameters: parameters.take(PARAMETERS_MAX).collect() })
    }

    fn event(&self) -> Event {
        // OpenCanary names a repository without the slash before it.
        let name = self.path.strip_prefix(b"/").unwrap_or(self.path);
        let event = Event::new(&kinds::GIT_CLONE)
            .with("HOST", Tainted::new(self.host, FIELD_MAX))
            .with("REPO", Tainted::new(name, FIELD_MAX))
            .with("COMMAND", self.command);
        if self.parameters.is_empty() {
            return event;
        }
        let parameters = self.parameters.iter().map(|it| Tainted::new(it, PARAMETER_MAX).into());
        event.with("PARAMETERS", Value::List(parameters.collect()))
    }

    /// The packet that says no; none where the path leaves no room for the words.
    fn refusal(&self) -> Option<Vec<u8>> {
        let length = LENGTH_DIGITS.checked_add(REFUSAL.len())?.checked_add(self.path.len())?;
        if length > ANSWER_MAX {
            return None;
        }
        let mut packet = format!("{length:04x}{REFUSAL}").into_bytes();
        packet.extend_from_slice(self.path);
        Some(packet)
    }
}

/// What stands before the first NUL, and what after it; all where there is none.
fn split_at_nul(bytes: &[u8]) -> (&[u8], &[u8]) {
    split_once(bytes, 0).unwrap_or((bytes, &[]))
}

const COMMANDS: [&str; 3] = ["git-upload-pack", "git-receive-pack", "git-upload-archive"];
/// Written in any case, as git-daemon takes it.
const HOST_IS: &[u8] = b"host=";
/// The same words for a path that is missing, outside, or not exported.
const REFUSAL: &str = "ERR access denied or repository not exported: ";
const LENGTH_DIGITS: usize = 4;
/// The longest request git-daemon 2.39 waits for, measured: 65,519 bytes and their length.
const PACKET_MAX: usize = 0xfff3;
/// The longest packet git writes.
const ANSWER_MAX: usize = 65_520;
/// The longest path that Linux knows.
const FIELD_MAX: usize = 4096;
const PARAMETERS_MAX: usize = 16;
const PARAMETER_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay;

    fn packet(line: &str) -> String {
        format!(">> {:04x}{}\n", line.len() + 4, line.replace('\0', "\\x00").replace('\n', "\\n"))
    }

    /// What a request must lead to, sent in one piece.
    #[track_caller]
    fn asked(request: &str, then: &str) {
        replay::check(&SERVICE, "inline", &format!("@ segments\n{request}{then}"));
    }

    #[test]
    fn requests_that_git_daemon_drops_end_without_a_word() {
        for line in [
            "git-upload-pack",
            "git-upload-packs /a",
            "git-upload-pack\t/a",
            "GIT-UPLOAD-PACK /a",
            "git-foo /a\0host=h\0",
            "git-upload-pack /a\0version=2\0",
            "git-upload-pack /a\0host=b\0host=c\0",
            "git-upload-pack \0/nope\0host=a\0",
        ] {
            asked(&packet(line), "= closed\n");
        }
        for start in ["0000", "0001", "0004", "ffff", "fff4", "000g", "+005", "-001", "00 5"] {
            asked(&format!(">> {start}\n"), "= closed\n");
        }
    }

    #[test]
    fn what_git_daemon_leaves_unread_is_answered_with_a_reset() {
        asked("> GET / HTTP/1.0\n>\n", "= reset\n");
        asked(">> 0000003bgit-upload-pack /nope.git\n", "= reset\n");
        asked(
            ">> 0016git-upload-pack /a\\n\n",
            "! 16001 HOST=\"\" REPO=\"a\"\n~ 0.002s\n<< 0034ERR access denied or repository not exported: /a\n= reset\n",
        );
    }

    #[test]
    fn odd_paths_come_back_as_they_are() {
        for (path, repo) in
            [("nope.git", "nope.git"), ("", ""), ("/../etc/passwd", "../etc/passwd"), (" /a", " /a")]
        {
            let answer = format!("{REFUSAL}{path}");
            asked(
                &packet(&format!("git-upload-pack {path}\n\0HOST=x:99\0\0version=1\0object-format=sha256\0")),
                &format!(
                    "! 16001 HOST=\"x:99\" REPO=\"{repo}\"\n+ COMMAND=\"git-upload-pack\" PARAMETERS=[\"version=1\", \"object-format=sha256\"]\n~ 0.002s\n<< {:04x}{answer}\n= closed\n",
                    answer.len() + 4
                ),
            );
        }
    }

    #[test]
    fn a_path_that_leaves_no_room_for_the_words_gets_none() {
        for (length, answered) in [(65_470, true), (65_471, false)] {
            let path = vec![b'a'; length];
            let request = Request { command: COMMANDS[0], path: &path, host: b"", parameters: vec![] };
            assert_eq!(request.refusal().is_some(), answered, "{length}");
        }
    }

    #[test]
    fn the_longest_request_is_waited_for() {
        let mut bytes = b"fff3git-upload-pack /".to_vec();
        bytes.resize(PACKET_MAX - 1, b'a');
        assert_eq!(Packet::parse(&bytes), Packet::Partial);
        bytes.push(b'a');
        assert!(matches!(Packet::parse(&bytes), Packet::Line { line, rest: b"" } if line.len() == 65_519));
    }
}
