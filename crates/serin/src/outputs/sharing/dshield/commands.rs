//! The last command of a session, which stands in the row of its last login. Both are events of their
//! own: what a session did until the login's row is posted is told with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serin_event::{Record, kinds};

/// So many logins have their commands remembered; any more go without.
const COMMANDS_MAX: usize = 200;

/// What a visitor asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Command {
    /// In the visitor's words.
    pub(super) text: String,
    /// Where: what is sent to a program that the visitor named there is its input, and no command.
    channel: Option<i64>,
    /// Whether it is a line of what was typed.
    typed: bool,
}

impl Command {
    /// The command that an event tells: a program or a forward that was asked for, or the last line that
    /// was typed. Not yet fit to be told.
    pub(super) fn of(record: &Record) -> Option<Self> {
        let typed = record.kind.name == kinds::SSH_INPUT.name;
        if !typed && record.kind.name != kinds::SSH_REQUEST.name {
            return None;
        }
        let fields: Value = serde_json::from_str(&record.logdata).unwrap_or_default();
        let details: Value = serde_json::from_str(&record.details).unwrap_or_default();
        let said = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
        let text = if typed {
            said("DATA").split(['\r', '\n']).map(plain).rfind(|it| !it.is_empty())?
        } else {
            match (said("REQUEST"), plain(said("COMMAND"))) {
                (_, command) if command.is_empty() => return None,
                ("exec" | "subsystem", command) => command,
                (request, what) => format!("{} {what}", plain(request)),
            }
        };
        Some(Self { text, channel: details.get("CHANNEL").and_then(Value::as_i64), typed })
    }
}

/// Without signs that move a cursor or a page.
fn plain(text: &str) -> String {
    text.chars().filter(|it| !it.is_control()).collect::<String>().trim().to_owned()
}

/// Logins whose rows wait, and the last command of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Commands {
    /// Sessions by the number of the login. A restart reads what waits once more, so that this need not
    /// be remembered; but not the commands, which are dealt with.
    #[serde(skip)]
    logins: BTreeMap<u64, u64>,
    last: BTreeMap<u64, Command>,
}

impl Commands {
    /// The row of this login waits.
    pub(super) fn login(&mut self, seq: u64, session: u64) {
        if session != 0 {
            self.logins.insert(seq, session);
        }
    }

    /// What this session did now.
    pub(super) fn note(&mut self, seq: u64, session: u64, command: Command) {
        let mut logins = self.logins.range(..seq).rev();
        let Some((login, _)) = logins.find(|it| *it.1 == session) else { return };
        let room = self.last.len() < COMMANDS_MAX;
        match self.last.get_mut(login) {
            Some(last) if command.typed && !last.typed && last.channel == command.channel => {}
            Some(last) => *last = command,
            None if room => drop(self.last.insert(*login, command)),
            None => {}
        }
    }

    /// What the session did after this login and before the next.
    pub(super) fn after(&self, login: u64) -> Option<&str> {
        self.last.get(&login).map(|it| it.text.as_str())
    }

    /// The row of this login does not wait any more.
    pub(super) fn settled(&mut self, login: u64) {
        self.logins.remove(&login);
        self.last.remove(&login);
    }

    /// Nothing before this number waits.
    pub(super) fn forget_before(&mut self, seq: u64) {
        self.logins = self.logins.split_off(&seq);
        self.last = self.last.split_off(&seq);
    }
}

#[cfg(test)]
mod tests {
    use serin_event::{Event, Tainted, Timestamp};

    use super::*;

    fn command(event: Event, channel: i64) -> Option<Command> {
        Command::of(&Record::of(&event.with("CHANNEL", channel), Timestamp(0), 0, "node"))
    }

    fn request(request: &str, what: &str) -> Command {
        let event = Event::new(&kinds::SSH_REQUEST)
            .with("REQUEST", Tainted::new(request.as_bytes(), 100))
            .with("COMMAND", Tainted::new(what.as_bytes(), 100));
        command(event, 0).unwrap()
    }

    fn typed(data: &[u8], channel: i64) -> Option<Command> {
        command(Event::new(&kinds::SSH_INPUT).with("DATA", Tainted::new(data, 1000)), channel)
    }

    #[test]
    fn programs_forwards_and_typed_lines_are_commands() {
        assert_eq!(request("exec", "uname -a\n").text, "uname -a");
        assert_eq!(request("subsystem", "sftp").text, "sftp");
        assert_eq!(request("direct-tcpip", "192.0.2.1:80").text, "direct-tcpip 192.0.2.1:80");
        assert_eq!(typed(b"id\r wget x\x1b[A \r\n\n", 0).unwrap().text, "wget x[A");
        assert_eq!(typed(b"\r\n \n", 0), None);
        assert_eq!(command(Event::new(&kinds::SSH_REQUEST).with("REQUEST", "shell"), 0), None);
        let elsewhere = Record::of(&Event::new(&kinds::REDIS_COMMAND), Timestamp(0), 0, "node");
        assert_eq!(Command::of(&elsewhere), None);
    }

    #[test]
    fn the_last_login_of_a_session_has_its_last_command() {
        let mut commands = Commands::default();
        for (login, session) in [(1, 7), (2, 7), (3, 8), (4, 0)] {
            commands.login(login, session);
        }
        commands.note(5, 7, request("exec", "id"));
        commands.note(6, 9, request("exec", "none of ours"));
        commands.note(7, 0, request("exec", "nobody's"));
        commands.note(8, 7, request("exec", "cat > x"));
        commands.note(9, 7, typed(b"what x gets\n", 0).unwrap());
        let told = [1, 2, 3, 4].map(|it| commands.after(it));
        assert_eq!(told, [None, Some("cat > x"), None, None]);
        commands.note(10, 7, typed(b"in a shell\n", 1).unwrap());
        assert_eq!(commands.after(2), Some("in a shell"));
        let text = serde_json::to_string(&commands).unwrap();
        let mut commands: Commands = serde_json::from_str(&text).unwrap();
        assert_eq!(commands.after(2), Some("in a shell"), "across a restart");
        commands.settled(2);
        commands.forget_before(4);
        assert_eq!(commands, Commands::default());
    }

    #[test]
    fn a_flood_of_commands_fills_nothing() {
        let mut commands = Commands::default();
        for login in 0..1000 {
            commands.login(login, login + 1);
            commands.note(5000, login + 1, request("exec", "id"));
        }
        assert_eq!(commands.last.len(), COMMANDS_MAX);
    }
}
