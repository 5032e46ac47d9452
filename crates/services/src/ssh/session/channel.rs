//! One session channel (RFC 4254 section 6).

use std::time::Duration;

use serin_event::{Event, Tainted, Value};

use super::super::Want;
use super::super::wire::{Message, number};
use super::manner::Manner;

/// A session channel, and what is behind it: a program that ends at once.
pub(super) struct Channel {
    /// Its number here and at the client.
    pub(super) ours: u32,
    pub(super) theirs: u32,
    /// What the client takes, in all and in one message.
    window: u32,
    packet: u32,
    /// What it may still send, and how far it went beyond.
    left: u32,
    beyond: u32,
    /// The terminal's kind and size.
    pub(super) terminal: Option<(Tainted, String)>,
    environment: Vec<(Tainted, Value)>,
    /// Bytes that there is room for among the variables.
    room: usize,
    pub(super) x11: bool,
    pub(super) stage: Stage,
    /// Whether something was asked for that was not reported yet.
    pub(super) unreported: bool,
    /// What the program said and the client has no room for.
    owed: Vec<u8>,
    /// What the client sent, at most [`INPUT_MAX`] bytes of it, and how much that was.
    pub(super) input: Vec<u8>,
    pub(super) sent: u64,
}

/// How far a channel has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// There was no program yet.
    Waiting,
    /// There was one, and the client has no room for what it said.
    Ran,
    /// This side is closed.
    Closed,
}

impl Channel {
    /// One that has just been opened.
    pub(super) fn new(ours: u32, theirs: u32, window: u32, packet: u32, manner: &Manner) -> Self {
        Self {
            ours,
            theirs,
            window,
            packet,
            left: manner.window,
            beyond: 0,
            terminal: None,
            environment: Vec::new(),
            room: ENVIRONMENT_MAX,
            x11: false,
            stage: Stage::Waiting,
            unreported: false,
            owed: Vec::new(),
            input: Vec::new(),
            sent: 0,
        }
    }

    /// Keeps a variable of the client's; one that was set before is set anew.
    pub(super) fn set(&mut self, name: &[u8], value: &[u8]) {
        let Some(left) = self.room.checked_sub(name.len().saturating_add(value.len())) else { return };
        self.room = left;
        let name = Tainted::new(name, ENVIRONMENT_MAX);
        self.environment.retain(|(it, _)| *it != name);
        self.environment.push((name, Tainted::new(value, ENVIRONMENT_MAX).into()));
        self.unreported |= self.stage == Stage::Waiting;
    }

    /// Answers a request, where an answer is wanted.
    pub(super) fn reply(&self, success: bool, wants: &mut Vec<Want>) {
        let number = if success { number::CHANNEL_SUCCESS } else { number::CHANNEL_FAILURE };
        wants.push(Want::Send(Message::new(number).u32(self.theirs)));
    }

    /// Starts the program that there is instead of any other. It says what it has to say, and ends.
    pub(super) fn run(
        &mut self,
        reply: bool,
        time: Duration,
        openssh: bool,
        manner: &Manner,
        wants: &mut Vec<Want>,
    ) {
        self.stage = Stage::Ran;
        if let Some(more) = manner.more {
            self.left = more;
            wants.push(Want::Send(Message::new(number::CHANNEL_WINDOW_ADJUST).u32(self.theirs).u32(more)));
        }
        if reply {
            self.reply(true, wants);
        }
        if !time.is_zero() {
            wants.push(Want::Wait(time));
        }
        let line =
            if self.terminal.is_some() { manner.says.replace('\n', "\r\n") } else { manner.says.to_owned() };
        self.owed = line.into_bytes();
        let over = self.say(wants);
        if let Some(status) = manner.status {
            let ended = Message::new(number::CHANNEL_REQUEST).u32(self.theirs).string("exit-status");
            wants.push(Want::Send(ended.boolean(false).u32(status)));
        }
        if openssh {
            let ended = Message::new(number::CHANNEL_REQUEST).u32(self.theirs).string("eow@openssh.com");
            wants.push(Want::Send(ended.boolean(false)));
        }
        if over {
            self.close(wants);
        }
    }

    /// The client takes more. False: more than it can count.
    pub(super) fn widen(&mut self, by: u32, wants: &mut Vec<Want>) -> bool {
        let Some(window) = self.window.checked_add(by) else { return false };
        self.window = window;
        if self.stage == Stage::Ran && self.say(wants) {
            self.close(wants);
        }
        true
    }

    /// The client says something, which nobody reads. False: far beyond its window, which OpenSSH
    /// puts up with for a tenth.
    pub(super) fn hear(&mut self, data: &[u8], manner: &Manner) -> bool {
        let room = INPUT_MAX.saturating_sub(self.input.len());
        self.input.extend_from_slice(data.get(..room).unwrap_or(data));
        self.sent = self.sent.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if self.stage == Stage::Waiting && manner.more.is_some() {
            return true;
        }
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        self.beyond = self.beyond.saturating_add(length.saturating_sub(self.left));
        self.left = self.left.saturating_sub(length);
        self.beyond <= manner.more.unwrap_or(manner.window) / 10
    }

    /// Adds what was asked for before to an event.
    pub(super) fn tell(&self, event: Event) -> Event {
        let mut event = event.with("CHANNEL", i64::from(self.ours));
        if let Some((terminal, size)) = &self.terminal {
            event = event.with("TERMINAL", terminal.clone()).with("WINDOW", size.clone());
        }
        if !self.environment.is_empty() {
            event = event.with("ENVIRONMENT", Value::Map(self.environment.clone()));
        }
        event
    }

    /// Closes this side.
    pub(super) fn close(&mut self, wants: &mut Vec<Want>) {
        if self.stage != Stage::Closed {
            self.stage = Stage::Closed;
            wants.push(Want::Send(Message::new(number::CHANNEL_CLOSE).u32(self.theirs)));
        }
    }

    /// Sends what is owed, as far as there is room, and EOF behind it. Whether that is all.
    fn say(&mut self, wants: &mut Vec<Want>) -> bool {
        while !self.owed.is_empty() {
            let most =
                usize::try_from(self.window.min(self.packet)).unwrap_or(usize::MAX).min(self.owed.len());
            if most == 0 {
                return false;
            }
            let rest = self.owed.split_off(most);
            let part = std::mem::replace(&mut self.owed, rest);
            self.window = self.window.saturating_sub(u32::try_from(most).unwrap_or(u32::MAX));
            wants.push(Want::Send(Message::new(number::CHANNEL_DATA).u32(self.theirs).string(part)));
        }
        wants.push(Want::Send(Message::new(number::CHANNEL_EOF).u32(self.theirs)));
        true
    }
}

/// Bytes kept of one channel's variables, names and values together: they stand beside each of its
/// requests in an event.
const ENVIRONMENT_MAX: usize = 4096;
/// Bytes kept of what a client sends to a session.
const INPUT_MAX: usize = 4096;
