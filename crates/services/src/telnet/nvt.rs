//! Telnet's network virtual terminal: what is typed, told apart from what the two ends negotiate.
//!
//! RFC 854 (commands), 855 (options), 1143 (answers that never loop), 1073 (window size), 1091
//! (terminal type), 1572 and 1408 (environment), 1079 (terminal speed).

use serin_event::{Event, Tainted, Value};

/// What a byte from the peer amounts to, where it amounts to anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// A character was typed.
    Typed(u8),
    /// A line was ended: CR LF, CR NUL, a bare CR or a bare LF.
    Enter,
    /// Are you there?
    AreYouThere,
    /// Rub out a character.
    EraseCharacter,
    /// Rub out the line.
    EraseLine,
    /// Interrupt the process.
    Interrupt,
}

/// Takes the peer's stream apart, however it is cut up.
#[derive(Debug, Default)]
pub(super) struct Nvt {
    state: State,
    /// The subnegotiation being read, its option first; at most [`SUB_MAX`] bytes.
    sub: Vec<u8>,
    ours: Side,
    theirs: Side,
    /// What the peer told of itself.
    pub(super) told: Told,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Data,
    /// Behind a CR, whose LF or NUL means nothing more.
    Return,
    Command,
    /// Behind WILL, WONT, DO or DONT.
    Option(u8),
    Sub,
    SubCommand,
}

/// One end's options: a bit each for those below 64.
#[derive(Debug, Default, Clone, Copy)]
struct Side {
    on: u64,
    /// Asked for and not answered yet.
    asked: u64,
}

impl Side {
    fn has(self, option: u8) -> bool {
        (self.on | self.asked) & bit(option) != 0
    }

    /// Whether this settles a question of ours.
    fn settle(&mut self, option: u8, on: bool) -> bool {
        let asked = self.asked & bit(option) != 0;
        self.asked &= !bit(option);
        if on {
            self.on |= bit(option);
        } else {
            self.on &= !bit(option);
        }
        asked
    }
}

fn bit(option: u8) -> u64 {
    1_u64.checked_shl(option.into()).unwrap_or(0)
}

impl Nvt {
    /// Remembers the questions that a server opens with.
    pub(super) fn asked(&mut self, offers: &[u8]) {
        for offer in offers.chunks(3) {
            match offer {
                [IAC, WILL, option] => self.ours.asked |= bit(*option),
                [IAC, DO, option] => self.theirs.asked |= bit(*option),
                _ => {}
            }
        }
    }

    /// Takes one byte. What is to be answered to options goes to `say`, unless `mute`.
    pub(super) fn hear(&mut self, byte: u8, mute: bool, say: &mut Vec<u8>) -> Option<Heard> {
        let was = std::mem::replace(&mut self.state, State::Data);
        match (was, byte) {
            (State::Return, b'\n' | 0) => None,
            (State::Data | State::Return, IAC) => self.go(State::Command),
            (State::Data | State::Return, b'\r') => {
                self.state = State::Return;
                Some(Heard::Enter)
            }
            (State::Data, b'\n') => Some(Heard::Enter),
            (State::Data | State::Return, _) => Some(Heard::Typed(byte)),
            (State::Command, IAC) => Some(Heard::Typed(IAC)),
            (State::Command, WILL..=DONT) => self.go(State::Option(byte)),
            (State::Command, SB) => {
                self.sub.clear();
                self.go(State::Sub)
            }
            (State::Command, AYT) => Some(Heard::AreYouThere),
            (State::Command, EC) => Some(Heard::EraseCharacter),
            (State::Command, EL) => Some(Heard::EraseLine),
            (State::Command, IP) => Some(Heard::Interrupt),
            (State::Command, _) => None,
            (State::Option(command), option) => {
                self.told.note(command, option);
                if !mute {
                    self.answer(command, option, say);
                }
                None
            }
            (State::Sub, IAC) => self.go(State::SubCommand),
            (State::SubCommand, SE) => {
                self.told.sub(&std::mem::take(&mut self.sub));
                None
            }
            (State::Sub | State::SubCommand, _) => {
                if self.sub.len() < SUB_MAX {
                    self.sub.push(byte);
                }
                self.go(State::Sub)
            }
        }
    }

    fn go(&mut self, state: State) -> Option<Heard> {
        self.state = state;
        None
    }

    fn answer(&mut self, command: u8, option: u8, say: &mut Vec<u8>) {
        let known = if matches!(command, DO | DONT) { [ECHO, SGA] } else { [TTYPE, NAWS] };
        let side = if matches!(command, DO | DONT) { &mut self.ours } else { &mut self.theirs };
        let (yes, no) = if matches!(command, DO | DONT) { (WILL, WONT) } else { (DO, DONT) };
        let wants = matches!(command, DO | WILL);
        if wants && !known.contains(&option) {
            return say.extend([IAC, no, option]);
        }
        let had = side.has(option);
        let settled = side.settle(option, wants);
        if !settled && had != wants {
            say.extend([IAC, if wants { yes } else { no }, option]);
        }
        if command == WILL && option == TTYPE && (settled || !had) {
            say.extend([IAC, SB, TTYPE, SEND, IAC, SE]);
        }
    }
}

/// What a peer told of itself in options: a bot gives itself away by their order.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// In order of appearance, at most [`OPTIONS_MAX`].
    options: Vec<(u8, u8)>,
    speed: Option<Tainted>,
    terminal: Option<Tainted>,
    window: Option<(u16, u16)>,
    /// At most [`VARIABLES_MAX`].
    environment: Vec<(Tainted, Value)>,
    /// The variable that names a user.
    pub(super) user: Option<Tainted>,
}

impl Told {
    fn note(&mut self, command: u8, option: u8) {
        if self.options.len() < OPTIONS_MAX {
            self.options.push((command, option));
        }
    }

    fn sub(&mut self, sub: &[u8]) {
        if let Some(&option) = sub.first() {
            self.note(SB, option);
        }
        match sub {
            [NAWS, a, b, c, d] => {
                self.window = Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])));
            }
            [TTYPE, IS, name @ ..] => self.terminal = Some(Tainted::new(name, WORD_MAX)),
            [TSPEED, IS, speed @ ..] => self.speed = Some(Tainted::new(speed, WORD_MAX)),
            [NEW_ENVIRON | OLD_ENVIRON, IS | INFO, variables @ ..] => self.variables(variables),
            _ => {}
        }
    }

    /// RFC 1572: VAR or USERVAR, a name, VALUE, a value; ESC before a byte that would mean one of these.
    fn variables(&mut self, mut rest: &[u8]) {
        while let [VAR | USERVAR, after @ ..] = rest {
            let (name, after) = word(after);
            let (value, after) = match after {
                [VALUE, after @ ..] => word(after),
                _ => (Vec::new(), after),
            };
            rest = after;
            if name == b"USER" {
                self.user = Some(Tainted::new(&value, WORD_MAX));
            }
            if self.environment.len() < VARIABLES_MAX {
                let value = Tainted::new(&value, WORD_MAX);
                self.environment.push((Tainted::new(&name, WORD_MAX), value.into()));
            }
        }
    }

    /// Adds what is known to an event.
    pub(super) fn tell(&self, mut event: Event) -> Event {
        if !self.options.is_empty() {
            let words = self.options.iter().map(|&(command, option)| spelled(command, option).into());
            event = event.with("OPTIONS", Value::List(words.collect()));
        }
        if let Some(terminal) = &self.terminal {
            event = event.with("TERMINAL", terminal.clone());
        }
        if let Some((columns, rows)) = self.window {
            event = event.with("WINDOW", format!("{columns}x{rows}"));
        }
        let mut environment = self.environment.clone();
        if let Some(speed) = &self.speed {
            environment.push((Tainted::new(b"TSPEED", WORD_MAX), speed.clone().into()));
        }
        if !environment.is_empty() {
            event = event.with("ENVIRONMENT", Value::Map(environment));
        }
        event
    }
}

/// A name or value, and what follows it.
fn word(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut word = Vec::new();
    let mut rest = bytes;
    loop {
        rest = match rest {
            [] | [VAR | VALUE | USERVAR, ..] => return (word, rest),
            [ESC, byte, after @ ..] | [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        };
    }
}

/// `WILL NAWS`.
fn spelled(command: u8, option: u8) -> String {
    let command = match command {
        WILL => "WILL",
        WONT => "WONT",
        DO => "DO",
        DONT => "DONT",
        _ => "SB",
    };
    let name = match option {
        0 => "BINARY",
        ECHO => "ECHO",
        SGA => "SGA",
        5 => "STATUS",
        6 => "TM",
        TTYPE => "TTYPE",
        NAWS => "NAWS",
        TSPEED => "TSPEED",
        33 => "LFLOW",
        34 => "LINEMODE",
        35 => "XDISPLOC",
        OLD_ENVIRON => "ENVIRON",
        37 => "AUTHENTICATION",
        38 => "ENCRYPT",
        NEW_ENVIRON => "NEW-ENVIRON",
        _ => return format!("{command} {option}"),
    };
    format!("{command} {name}")
}

pub(super) const IAC: u8 = 255;
const DONT: u8 = 254;
pub(super) const DO: u8 = 253;
const WONT: u8 = 252;
pub(super) const WILL: u8 = 251;
const SB: u8 = 250;
const EL: u8 = 248;
const EC: u8 = 247;
const AYT: u8 = 246;
const IP: u8 = 244;
const SE: u8 = 240;

pub(super) const ECHO: u8 = 1;
pub(super) const SGA: u8 = 3;
pub(super) const TTYPE: u8 = 24;
pub(super) const NAWS: u8 = 31;
const TSPEED: u8 = 32;
const OLD_ENVIRON: u8 = 36;
const NEW_ENVIRON: u8 = 39;

const IS: u8 = 0;
const SEND: u8 = 1;
const INFO: u8 = 2;
const VAR: u8 = 0;
const VALUE: u8 = 1;
const ESC: u8 = 2;
const USERVAR: u8 = 3;

const SUB_MAX: usize = 1024;
const OPTIONS_MAX: usize = 64;
const VARIABLES_MAX: usize = 32;
const WORD_MAX: usize = 256;
