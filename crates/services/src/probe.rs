//! How a service is tried: a small client that does just enough to be recorded.
//!
//! For the sensor's self-test. Like the dialogues, a client has no socket: bytes in, bytes out.

use serin_event::Kind;

/// How one service is tried.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// Whether the client speaks TLS from the first byte.
    pub tls: bool,
    /// A client for one conversation, with randomness of its own.
    pub client: fn([u8; 32]) -> Box<dyn Client>,
    /// One event of these kinds proves that the service heard it.
    pub proof: &'static [&'static Kind],
}

/// One conversation from the other side.
pub trait Client: Send {
    /// Takes what the service sent (nothing, when the connection opens) and appends what to answer.
    fn input(&mut self, bytes: &[u8], out: &mut Vec<u8>);
}

/// What a scripted client does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Wait until the service has said anything that ends with one of these; `&[]`: anything.
    Hear(&'static [&'static [u8]]),
    /// Say this.
    Say(&'static [u8]),
}

/// A client that follows a script.
#[derive(Debug)]
pub struct Script {
    steps: std::slice::Iter<'static, Step>,
    waits: Option<&'static [&'static [u8]]>,
    /// The end of what was heard since the last answer.
    heard: Vec<u8>,
}

/// So much of what a service says is looked at.
const HEARD_MAX: usize = 512;

impl Script {
    /// A client that does these steps in order.
    #[must_use]
    pub fn boxed(steps: &'static [Step]) -> Box<dyn Client> {
        Box::new(Self { steps: steps.iter(), waits: None, heard: Vec::new() })
    }
}

impl Client for Script {
    fn input(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.heard.extend_from_slice(bytes);
        let surplus = self.heard.len().saturating_sub(HEARD_MAX);
        self.heard.drain(..surplus);
        loop {
            if let Some(ends) = self.waits {
                let here = !self.heard.is_empty()
                    && (ends.is_empty() || ends.iter().any(|it| self.heard.ends_with(it)));
                if !here {
                    return;
                }
                self.waits = None;
                self.heard.clear();
            }
            match self.steps.next() {
                Some(Step::Hear(ends)) => self.waits = Some(ends),
                Some(Step::Say(words)) => out.extend_from_slice(words),
                None => return,
            }
        }
    }
}

/// The name with which the clients log in; nothing depends on it.
pub const USER: &str = "serin-selftest";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::Conf;
    use crate::dialogue::Action;
    use crate::replay;

    #[test]
    fn a_script_waits_and_answers() {
        let mut client =
            Script::boxed(&[Step::Hear(&[b": "]), Step::Say(b"me\n"), Step::Hear(&[]), Step::Say(b"bye\n")]);
        let mut out = Vec::new();
        client.input(b"", &mut out);
        client.input(b"Name", &mut out);
        assert!(out.is_empty());
        client.input(b": ", &mut out);
        assert_eq!(out, b"me\n");
        client.input(b"x", &mut out);
        assert_eq!(out, b"me\nbye\n");
    }

    /// Every service's own client gets the event that proves it, from the service as it is by default.
    #[test]
    fn every_service_is_proved_by_its_probe() {
        for service in crate::ALL {
            let mut conf = Conf::new();
            conf.set_host_keys(replay::host_keys());
            conf.set("tcpbanner_1.enabled", true);
            let listening = (service.build)(&conf).unwrap().remove(0);
            let (mut dialogue, mut out) = replay::opened(&listening, false);
            let mut client = (service.probe.client)([7; 32]);
            let (mut to_service, mut proved, mut timer) = (Vec::new(), false, false);
            client.input(b"", &mut to_service);
            for _ in 0..50 {
                for action in out.drain().collect::<Vec<_>>() {
                    match action {
                        Action::Send(bytes) => client.input(&bytes, &mut to_service),
                        Action::Report(event) => {
                            proved |= service.probe.proof.iter().any(|it| std::ptr::eq(*it, event.kind));
                        }
                        Action::Timer(_) => timer = true,
                        _ => {}
                    }
                }
                if proved {
                    break;
                }
                if to_service.is_empty() && std::mem::take(&mut timer) {
                    dialogue.timer(&mut out);
                }
                let said = std::mem::take(&mut to_service);
                let left = dialogue.input(&said, &mut out).unwrap().len();
                to_service = said[said.len() - left..].to_vec();
            }
            assert!(proved, "{}: its own probe leaves no event of its kinds", service.name);
        }
    }
}
