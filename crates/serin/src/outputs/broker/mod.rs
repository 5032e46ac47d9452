//! Message brokers: every event as one message, confirmed by the broker before the cursor moves.

pub(crate) mod kafka;
pub(crate) mod mqtt;
pub(crate) mod nats;

use serin_event::Record;
use serin_services::conf::Complaint;

use super::Outcome;

/// Where a broker listens: `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    host: String,
    port: u16,
}

impl Address {
    fn read(key: &str, text: &str, default_port: u16) -> Result<Self, Complaint> {
        let complain = || Complaint { key: key.to_owned(), text: "wants HOST:PORT of the broker".to_owned() };
        let (host, port) = match text.strip_prefix('[').and_then(|it| it.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => match text.split_once(':') {
                // An IPv6 address without brackets has more than one colon.
                Some((_, port)) if port.contains(':') => (text, None),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = port.map_or(Ok(default_port), str::parse).map_err(|_| complain())?;
        let odd = |it: char| it.is_whitespace() || it.is_control() || it == '/' || it == '@';
        if host.is_empty() || port == 0 || host.contains(odd) {
            return Err(complain());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// One level of a subject or topic: without the characters that mean something there.
fn token(text: &str, special: &[char]) -> String {
    let harmless = |it: char| !(special.contains(&it) || it.is_whitespace() || it.is_control());
    let clean: String = text.chars().map(|it| if harmless(it) { it } else { '_' }).collect();
    if clean.is_empty() { "_".to_owned() } else { clean }
}

/// `PREFIX/NODE/SERVICE/LOGTYPE` with the separator of the broker.
fn path(prefix: &str, record: &Record, separator: char, special: &[char]) -> String {
    let levels = [
        prefix.to_owned(),
        token(&record.node_id, special),
        token(record.kind.service, special),
        record.kind.logtype.to_string(),
    ];
    levels.join(&separator.to_string())
}

/// What is retried at first because it may only be late (a stream or topic that somebody is about to
/// create), and then waits for the operator.
#[derive(Debug, Default)]
struct Patience(u32);

impl Patience {
    const TRIES: u32 = 5;

    fn spent(&mut self, why: String) -> Outcome {
        self.0 = self.0.saturating_add(1);
        if self.0 < Self::TRIES { Outcome::retry(why) } else { Outcome::Hold(why) }
    }

    fn renew(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_form() {
        let read = |text| Address::read("nats.server", text, 4222).map(|it| it.to_string());
        assert_eq!(read("nats.example").unwrap(), "nats.example:4222");
        assert_eq!(read("nats.example:5222").unwrap(), "nats.example:5222");
        assert_eq!(read("[::1]:5222").unwrap(), "[::1]:5222");
        assert_eq!(read("::1").unwrap(), "[::1]:4222");
        for wrong in ["", ":4222", "a:b", "nats://a:4222", "a:0", "user@a", "a:99999", "a b"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn names_cannot_add_levels_or_wildcards() {
        assert_eq!(token("a.b*c>d e\r\nf", &['.', '*', '>']), "a_b_c_d_e__f");
        assert_eq!(token("", &[]), "_");
    }

    #[test]
    fn patience_ends() {
        let mut patience = Patience::default();
        let mut try_it = || matches!(patience.spent("no stream".into()), Outcome::Hold(_));
        assert_eq!([0; 6].map(|_| try_it()), [false, false, false, false, true, true]);
        patience.renew();
        assert_eq!(patience.spent("no stream".into()), Outcome::retry("no stream"));
    }
}
