//! Telnet: a log-in prompt behind option negotiation, which lets nobody in.
//!
//! A client sees `BusyBox` telnetd and login, or the virtual terminal of a Cisco router: its
//! option bytes, its prompt at once, its echo, its refusal after the time it takes, and its close
//! after three. There is no shell. BusyBox 1.35 was compared byte for byte
//! (`tests/fidelity/telnet.py`); Cisco IOS is from specification and was never recorded. Unlike
//! either, no client that leaves options unanswered ever waits, and what is typed ahead is read.

mod nvt;

use std::sync::Arc;
use std::time::Duration;

use serin_event::{Event, Tainted, kinds};

use crate::conf::{Complaint, Conf};
use crate::dialogue::{Action, Actions, Broken, Closed, Dialogue, Opening, jitter};
use crate::probe::{Probe, Script, Step};
use crate::{Listening, Service, choices, settings};
use nvt::{DO, ECHO, Heard, IAC, NAWS, Nvt, SGA, TTYPE, WILL};

pub(crate) static SERVICE: Service = Service {
    name: "telnet",
    about: "A terminal that asks for a login and refuses it",
    opencanary: Some(("Telnet", "telnet")),
    port: 23,
    opencanary_port: 8023,
    keys: Settings::KEYS,
    events: &[&kinds::TELNET_LOGIN, &kinds::TELNET_CONNECTION],
    // Every byte is used at once; this is for the runtime's bookkeeping.
    backlog: 512,
    // Above the products' own time limits, which have their own words.
    idle: Duration::from_mins(2),
    probe: Probe {
        tls: false,
        client: |_| {
            Script::boxed(&[
                Step::Hear(&[b": ", b":", b"> "]),
                Step::Say(b"serin-selftest\r\n"),
                Step::Hear(&[b": ", b":", b"> "]),
                Step::Say(b"serin-selftest\r\n"),
            ])
        },
        proof: &[&kinds::TELNET_LOGIN, &kinds::TELNET_CONNECTION],
    },
    build,
};

settings! { "telnet" {
    /// A line before the log-in prompt, as in `/etc/issue.net` or a router's `banner motd`.
    banner: String = String::new();
    /// Also report each connection.
    log_tcp_connection: bool = false;
    /// Whose terminal a client sees.
    product: Face = Face::Busybox, opencanary "cisco";
    /// Seconds until a wrong password is refused, varied by a tenth; a router takes two thirds of
    /// it. 0 refuses at once.
    login_delay: Duration = Duration::from_secs(3);
} }

choices! {
    /// Whose terminal a client sees.
    Face { Busybox = "busybox", Cisco = "cisco" } wants "busybox or cisco"
}

fn build(conf: &Conf) -> Result<Vec<Listening>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let product = match settings.product {
        Face::Busybox => &BUSYBOX,
        Face::Cisco => &CISCO,
    };
    let prompt = product.name.replace("%h", &conf.identity.host);
    let shared = Arc::new(Shared {
        greeting: greeting(product, &settings.banner, &prompt),
        prompt,
        product,
        settings,
    });
    Ok(Listening::tcp(&SERVICE, conf, Box::new(move || Box::new(Telnet::new(shared.clone())))))
}

/// One terminal's manners. In a text, `%h` stands for the host's name.
struct Product {
    /// The options it opens with.
    offers: &'static [u8],
    /// Whether it answers options at all.
    negotiates: bool,
    /// Before the banner, between its lines, and behind it where there is one.
    frame: (&'static str, &'static str, &'static str),
    /// Behind that. It comes with the options where there is any, else with the prompt.
    greeting: &'static str,
    /// The prompt for a name.
    name: &'static str,
    /// How often it asks again for a name that is empty; 0: an empty name is a name.
    empty: u8,
    /// To a password.
    refused: &'static str,
    /// Refusals after which it hangs up.
    attempts: u8,
    /// The wait before a refusal, in times of the configured one.
    patience: f64,
    /// The time to log in, or to answer one prompt.
    clock: Clock,
    /// To Are You There.
    yes: &'static [u8],
    /// How it lets a line be mended.
    keys: Keys,
}

enum Clock {
    Whole(Duration, &'static str),
    /// In the words, `%p` stands for the prompt.
    Prompt(Duration, &'static str),
}

/// What keys do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// The line discipline of Linux: DEL, ^W and ^U rub out, others show as `^X`.
    Linux,
    /// Backspace and DEL rub out, ^U and ^X all; others do nothing.
    Router,
}

/// BusyBox 1.35, `telnetd` and `login`.
static BUSYBOX: Product = Product {
    offers: &[IAC, DO, ECHO, IAC, DO, NAWS, IAC, WILL, ECHO, IAC, WILL, SGA],
    negotiates: false,
    frame: ("\r\r\n", "\r\n\r", "\r\n\r"),
    greeting: "",
    name: "%h login: ",
    empty: 10,
    refused: "Login incorrect\r\n",
    attempts: 3,
    patience: 1.0,
    clock: Clock::Whole(Duration::from_mins(1), "\r\r\nLogin timed out after 60 seconds\r\r\n"),
    // It means to say NOP, and doubles the IAC like one in its output.
    yes: &[IAC, IAC, 241],
    keys: Keys::Linux,
};

/// Cisco IOS 15, from specification.
static CISCO: Product = Product {
    offers: &[IAC, WILL, ECHO, IAC, WILL, SGA, IAC, DO, TTYPE, IAC, DO, NAWS],
    negotiates: true,
    frame: ("\r\n", "\r\n", "\r\n"),
    greeting: "\r\nUser Access Verification\r\n\r\n",
    name: "Username: ",
    empty: 0,
    // As with `aaa new-model`. Without it: `% Login invalid`, which ncrack does not understand, so
    // that it tries the same for ever.
    refused: "\r\n% Authentication failed\r\n\r\n",
    attempts: 3,
    patience: 2.0 / 3.0,
    clock: Clock::Prompt(Duration::from_secs(30), "\r\n% %p timeout expired!\r\n"),
    yes: b"\r\n[Yes]\r\n",
    keys: Keys::Router,
};

const PASSWORD: &str = "Password: ";

/// What all connections share.
struct Shared {
    settings: Settings,
    product: &'static Product,
    greeting: [Vec<u8>; 2],
    prompt: String,
}

/// What comes with the options, and what comes [`START`] later.
fn greeting(product: &Product, banner: &str, prompt: &str) -> [Vec<u8>; 2] {
    let (before, between, behind) = product.frame;
    let mut text = before.to_owned();
    if !banner.is_empty() {
        text.push_str(&banner.lines().collect::<Vec<_>>().join(between));
        text.push_str(behind);
    }
    text.push_str(product.greeting);
    if product.greeting.is_empty() {
        return [product.offers.to_vec(), [text.as_bytes(), prompt.as_bytes()].concat()];
    }
    [[product.offers, text.as_bytes()].concat(), prompt.as_bytes().to_vec()]
}

struct Telnet {
    shared: Arc<Shared>,
    nvt: Nvt,
    asks: Asks,
    /// What is typed of the answer, at most [`LINE_MAX`] bytes.
    line: Vec<u8>,
    /// What goes out next.
    say: Vec<u8>,
    empty: u8,
    refused: u8,
    seed: u64,
}

/// What the peer is asked for.
enum Asks {
    Name,
    Password {
        user: Tainted,
    },
    /// Nothing any more.
    Over,
}

impl Dialogue for Telnet {
    fn open(&mut self, opening: &Opening, out: &mut Actions) {
        self.seed = opening.seed;
        self.nvt.asked(self.shared.product.offers);
        if self.shared.settings.log_tcp_connection {
            out.report(Event::new(&kinds::TELNET_CONNECTION));
        }
        let [first, then] = self.shared.greeting.clone();
        out.send(first);
        out.wait(START);
        out.send(then);
        let (Clock::Whole(limit, _) | Clock::Prompt(limit, _)) = self.shared.product.clock;
        out.push(Action::Timer(limit));
    }

    fn input<'b>(&mut self, bytes: &'b [u8], out: &mut Actions) -> Result<&'b [u8], Broken> {
        for &byte in bytes {
            if matches!(self.asks, Asks::Over) {
                break;
            }
            match self.nvt.hear(byte, !self.shared.product.negotiates, &mut self.say) {
                Some(Heard::Typed(byte)) => self.typed(byte, out),
                Some(Heard::Enter) => self.enter(out),
                Some(Heard::AreYouThere) => self.say.extend_from_slice(self.shared.product.yes),
                Some(Heard::EraseCharacter) if self.shared.product.negotiates => {
                    self.erase(|left| left.saturating_sub(1));
                }
                Some(Heard::EraseLine) if self.shared.product.negotiates => self.erase(|_| 0),
                Some(Heard::Interrupt) if self.shared.product.negotiates => self.line.clear(),
                _ => {}
            }
        }
        self.flush(out);
        Ok(&[])
    }

    fn timer(&mut self, out: &mut Actions) {
        match self.shared.product.clock {
            Clock::Whole(_, words) => self.say.extend_from_slice(words.as_bytes()),
            Clock::Prompt(_, words) => {
                let prompt = if matches!(self.asks, Asks::Name) { &self.shared.prompt } else { PASSWORD };
                self.say.extend_from_slice(words.replace("%p", prompt).as_bytes());
            }
        }
        self.over(out);
    }

    /// Clients of other telnet servers can log in by an environment variable alone.
    fn closed(&mut self, _why: Closed, out: &mut Actions) {
        if self.refused == 0
            && let Some(user) = self.nvt.told.user.take()
        {
            self.report(user, &[], out);
        }
    }
}

impl Telnet {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            nvt: Nvt::default(),
            asks: Asks::Name,
            line: Vec::new(),
            say: Vec::new(),
            empty: 0,
            refused: 0,
            seed: 0,
        }
    }

    fn flush(&mut self, out: &mut Actions) {
        if !self.say.is_empty() {
            out.send(std::mem::take(&mut self.say));
        }
    }

    fn over(&mut self, out: &mut Actions) {
        self.flush(out);
        out.close();
        self.asks = Asks::Over;
    }

    /// Whether what is typed is shown: also to a client that wants no echo, since ncrack says so and
    /// waits for it all the same.
    fn echoes(&self) -> bool {
        matches!(self.asks, Asks::Name)
    }

    fn typed(&mut self, byte: u8, out: &mut Actions) {
        let name = matches!(self.asks, Asks::Name);
        match (self.shared.product.keys, byte) {
            (Keys::Linux, DEL) | (Keys::Router, DEL | BACKSPACE) => self.erase(|left| left.saturating_sub(1)),
            (_, CONTROL_U) | (Keys::Router, CONTROL_X) => self.erase(|_| 0),
            (Keys::Linux, CONTROL_W) => self.erase_word(),
            (Keys::Linux, CONTROL_D) if name && self.line.is_empty() => self.over(out),
            (Keys::Linux, CONTROL_C) if !name => self.enter(out),
            (Keys::Linux, CONTROL_C | CONTROL_BACKSLASH) => {
                self.show(byte);
                self.over(out);
            }
            (Keys::Linux, CONTROL_Z) => {
                self.line.clear();
                self.show(byte);
            }
            (Keys::Linux, CONTROL_D) | (Keys::Router, 0..0x20) => {}
            _ if self.line.len() < LINE_MAX => {
                self.show(byte);
                self.line.push(byte);
            }
            _ => {}
        }
    }

    fn show(&mut self, byte: u8) {
        if !self.echoes() {
            return;
        }
        match byte {
            b'\t' => {
                self.say.extend(std::iter::repeat_n(b' ', width(b'\t', self.column())));
            }
            0..0x20 => self.say.extend([b'^', byte | 0x40]),
            IAC => self.say.extend([IAC, IAC]),
            _ => self.say.push(byte),
        }
    }

    /// The terminal's column behind the prompt and what is typed of the name.
    fn column(&self) -> usize {
        let prompt = self.shared.prompt.len();
        self.line.iter().fold(prompt, |at, &it| width(it, at).saturating_add(at))
    }

    /// Rubs out the line's end, down to the length that `left` makes of the present one.
    fn erase(&mut self, left: fn(usize) -> usize) {
        let keep = left(self.line.len());
        self.erase_to(keep);
    }

    fn erase_word(&mut self) {
        let word = self.line.trim_ascii_end();
        let start = word.iter().rposition(u8::is_ascii_whitespace).map_or(0, |at| at.saturating_add(1));
        self.erase_to(start);
    }

    fn erase_to(&mut self, keep: usize) {
        let echoes = self.echoes();
        while self.line.len() > keep {
            let Some(byte) = self.line.pop() else { break };
            if echoes {
                for _ in 0..width(byte, self.column()) {
                    self.say.extend_from_slice(b"\x08 \x08");
                }
            }
        }
    }

    fn enter(&mut self, out: &mut Actions) {
        let product = self.shared.product;
        self.say.extend_from_slice(b"\r\n");
        let line = std::mem::take(&mut self.line);
        match std::mem::replace(&mut self.asks, Asks::Name) {
            Asks::Name => {
                let name = if product.keys == Keys::Linux { line.trim_ascii_start() } else { &line };
                if name.is_empty() && product.empty > 0 {
                    self.empty = self.empty.saturating_add(1);
                    if self.empty == product.empty {
                        return self.over(out);
                    }
                    self.ask(&self.shared.clone().prompt, out);
                } else {
                    self.asks = Asks::Password { user: Tainted::new(name, LINE_MAX) };
                    self.ask(PASSWORD, out);
                }
            }
            Asks::Password { user } => self.refuse(user, &line, out),
            Asks::Over => self.asks = Asks::Over,
        }
        // What was typed needs no second buffer: the next answer is read into the same.
        self.line = line;
        self.line.clear();
    }

    fn ask(&mut self, prompt: &str, out: &mut Actions) {
        self.say.extend_from_slice(prompt.as_bytes());
        if let Clock::Prompt(limit, _) = self.shared.product.clock {
            self.flush(out);
            out.push(Action::Timer(limit));
        }
    }

    fn refuse(&mut self, user: Tainted, password: &[u8], out: &mut Actions) {
        let shared = self.shared.clone();
        self.flush(out);
        self.report(user, password, out);
        let wait = shared.settings.login_delay.mul_f64(shared.product.patience);
        out.wait(jitter(wait, 0.1, self.seed, self.refused.into()));
        self.say.extend_from_slice(shared.product.refused.as_bytes());
        self.refused = self.refused.saturating_add(1);
        if self.refused == shared.product.attempts {
            return self.over(out);
        }
        self.empty = 0;
        self.ask(&shared.prompt, out);
    }

    fn report(&self, user: Tainted, password: &[u8], out: &mut Actions) {
        let event = Event::new(&kinds::TELNET_LOGIN)
            .with("PASSWORD", Tainted::new(password, LINE_MAX))
            .with("USERNAME", user);
        out.report(self.nvt.told.tell(event));
    }
}

/// How many columns a character takes on a terminal, at this one.
fn width(byte: u8, column: usize) -> usize {
    const TAB: usize = 8;
    match byte {
        b'\t' => TAB.saturating_sub(column % TAB),
        0..0x20 => 2,
        _ => 1,
    }
}

/// What it takes to start the program that prompts. Hydra and ncrack lose a prompt that they read
/// together with options, and then wait for seconds, or for ever.
const START: Duration = Duration::from_millis(5);

const CONTROL_C: u8 = 0x03;
const CONTROL_D: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CONTROL_U: u8 = 0x15;
const CONTROL_W: u8 = 0x17;
const CONTROL_X: u8 = 0x18;
const CONTROL_Z: u8 = 0x1a;
const CONTROL_BACKSLASH: u8 = 0x1c;
const DEL: u8 = 0x7f;

/// As long as a line of Linux's terminals can be.
const LINE_MAX: usize = 4095;

#[cfg(test)]
mod tests;
