//! Tries a password, for the self-test.

use super::client::{Client, Heard, Offer, password, service_request};
use crate::probe::{self, USER};

/// A client that logs in once, with a password that is wrong.
pub(super) fn client(secret: [u8; 32]) -> Box<dyn probe::Client> {
    Box::new(Attempt { client: Client::new(Offer::default(), secret), opened: false })
}

struct Attempt {
    client: Client,
    opened: bool,
}

impl probe::Client for Attempt {
    fn input(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.opened {
            self.opened = true;
            out.extend(self.client.open());
        }
        // A server that cannot be understood leaves no event, which is what the test then tells.
        let Ok(heard) = self.client.input(bytes, out) else { return };
        for heard in heard {
            match heard {
                Heard::Keys(_) => self.client.send(&service_request("ssh-userauth"), out),
                Heard::Message(message) if message.first() == Some(&SERVICE_ACCEPT) => {
                    self.client.send(&password(USER, USER), out);
                }
                _ => {}
            }
        }
    }
}

/// RFC 4250, section 4.1.2.
const SERVICE_ACCEPT: u8 = 6;
