//! NATS: one message for each event, confirmed by a stream of `JetStream`.

mod identity;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serde::Deserialize;
use serin_event::Record;
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;

use super::{Address, Patience, path};
use crate::outputs::encode::{self, Format};
use crate::outputs::secret::Secret;
use crate::outputs::transport::tls;
use crate::outputs::{Batch, Carries, Delivery, Item, Later, Outcome, Output, OutputType, Passwords};

use identity::Identity;
use wire::{Connection, Message};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "nats",
    about: "Messages to NATS, confirmed by a JetStream stream",
    keys: &[Settings::KEYS, encode::KEYS, tls::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Keep,
    // As many as may be without an answer at a time.
    batch: Batch { events: 256, bytes: 1024 * 1024, linger: Duration::ZERO },
    build,
};

settings! { "nats" {
    /// Where the server listens: HOST:PORT, 4222 unless said otherwise.
    server: String = String::new();
    /// Whether to insist on TLS. A server that demands it gets it anyway.
    tls: bool = false;
    /// What subjects begin with: SUBJECT.NODE.SERVICE.LOGTYPE.
    subject: String = "opencanary".to_owned();
    /// Whether a JetStream stream must confirm each event. Without it nothing is known of events once
    /// the server has read them.
    jetstream: bool = true;
    /// The name of the user, where the server wants one.
    user: String = String::new();
    /// The user's password.
    password: Secret = Secret::default();
    /// A token, where the server wants that instead.
    token: Secret = Secret::default();
    /// The seed of an NKey, where the server wants that instead: it begins with SU.
    nkey: Secret = Secret::default();
    /// The contents of a credentials file (a JWT and its NKey), where the server wants that instead:
    /// file:PATH.
    credentials: Secret = Secret::default();
} }

/// What separates levels of a subject, and its wildcards.
const SPECIAL: &[char] = &['.', '*', '>'];

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let mut complaints = Vec::new();
    let address = Address::read("nats.server", &settings.server, 4222).map_err(|it| complaints.push(it)).ok();
    let identity = Identity::read(&settings, &mut complaints);
    let odd = |it: char| it.is_whitespace() || it.is_control() || it == '*' || it == '>';
    if settings.subject.is_empty()
        || settings.subject.contains(odd)
        || settings.subject.split('.').any(str::is_empty)
    {
        let text = "wants a subject without wildcards and spaces".to_owned();
        complaints.push(Complaint { key: "nats.subject".to_owned(), text });
    }
    let tls = tls::config(conf).map_err(|it| complaints.extend(it)).ok();
    let format = Format::of(conf).map_err(|it| complaints.extend(it)).ok();
    let (Some(address), Some(tls), Some(format), true) = (address, tls, format, complaints.is_empty()) else {
        return Err(complaints);
    };
    Ok(Box::new(Nats {
        address,
        tls,
        insist_on_tls: settings.tls,
        identity,
        subject: settings.subject,
        jetstream: settings.jetstream,
        format,
        connection: None,
        patience: Patience::default(),
        stream: None,
        warning: tls::warning(conf),
    }))
}

#[derive(Debug)]
struct Nats {
    address: Address,
    tls: Arc<ClientConfig>,
    insist_on_tls: bool,
    identity: Identity,
    subject: String,
    jetstream: bool,
    format: Format,
    /// Not while a delivery is going on: one that is given up leaves none behind.
    connection: Option<Connection>,
    patience: Patience,
    /// What the last confirmation said.
    stream: Option<(String, u64)>,
    warning: Option<String>,
}

impl Output for Nats {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        Some(self.format.encode(record).into_bytes())
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(async move {
            let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
            let failure = loop {
                // A connection that was idle may be gone without our knowing; a new one is not.
                let fresh = self.connection.is_none();
                let mut connection = match self.connection.take() {
                    Some(connection) => connection,
                    None => match self.connect().await {
                        Ok(connection) => connection,
                        Err(outcome) => return Delivery::Whole(outcome),
                    },
                };
                match self.publish(&mut connection, batch, &mut outcomes).await {
                    Ok(()) => {
                        self.connection = Some(connection);
                        break Outcome::retry("the server did not say what became of it");
                    }
                    Err(Outcome::Retry { .. }) if !fresh && outcomes.iter().all(Option::is_none) => {}
                    Err(outcome) => break outcome,
                }
            };
            Delivery::Each(outcomes.into_iter().map(|it| it.unwrap_or_else(|| failure.clone())).collect())
        })
    }

    fn reopen(&mut self) -> Later<'_, ()> {
        self.connection = None;
        Box::pin(std::future::ready(()))
    }

    fn receipt(&self) -> Option<String> {
        self.stream.as_ref().map(|(stream, seq)| format!("stream {stream} has it as number {seq}"))
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    fn confirms(&self) -> &'static str {
        if self.jetstream {
            "stored by a JetStream stream"
        } else {
            "read by the server, which promises no more"
        }
    }
}

impl Nats {
    async fn connect(&mut self) -> Result<Connection, Outcome> {
        Connection::open(&self.address, &self.tls, self.insist_on_tls, &self.identity).await
    }

    /// Publishes what has no outcome yet. After an error the connection is of no more use.
    async fn publish(
        &mut self,
        connection: &mut Connection,
        batch: &[Item],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Outcome> {
        let mut waiting = 0;
        for (at, (item, outcome)) in batch.iter().zip(outcomes.iter_mut()).enumerate() {
            if outcome.is_some() {
                continue;
            }
            let subject = path(&self.subject, &item.record, '.', SPECIAL);
            let message =
                Message { subject: &subject, id: &item.event_id(), payload: &item.body, format: self.format };
            if connection.publish(&message, self.jetstream.then_some(at)).await? {
                waiting += 1;
            } else {
                let size = item.body.len();
                *outcome = Some(Outcome::Reject(format!("{size} bytes are too much for the server")));
            }
        }
        if !self.jetstream {
            connection.flush_and_wait().await?;
            for outcome in outcomes.iter_mut().filter(|it| it.is_none()) {
                *outcome = Some(Outcome::Delivered);
            }
            return Ok(());
        }
        connection.flush().await?;
        // Those that no stream takes: one matter, however many they are.
        let mut homeless: Option<(String, Vec<usize>)> = None;
        while waiting > 0 {
            let answer = connection.answer().await?;
            let (Some(slot), Some(item)) = (outcomes.get_mut(answer.to), batch.get(answer.to)) else {
                continue;
            };
            if slot.is_some() {
                continue;
            }
            waiting -= 1;
            if let Some(payload) = answer.acknowledgement {
                *slot = Some(self.judge(&payload));
                continue;
            }
            let subject = || path(&self.subject, &item.record, '.', SPECIAL);
            homeless.get_or_insert_with(|| (subject(), Vec::new())).1.push(answer.to);
            // Decided below; no second answer counts.
            *slot = Some(Outcome::retry(""));
        }
        match homeless {
            None => self.patience.renew(),
            Some((subject, all)) => {
                let outcome = self.patience.spent(format!("no stream takes the subject {subject}"));
                for at in all {
                    if let Some(slot) = outcomes.get_mut(at) {
                        *slot = Some(outcome.clone());
                    }
                }
            }
        }
        Ok(())
    }

    /// What a stream's acknowledgement says.
    fn judge(&mut self, payload: &[u8]) -> Outcome {
        match serde_json::from_slice(payload) {
            Ok(Acknowledgement { error: Some(error), .. }) => error.outcome(),
            Ok(Acknowledgement { stream: Some(stream), seq: Some(seq), duplicate, .. }) => {
                self.stream = Some((stream, seq));
                if duplicate { Outcome::Duplicate } else { Outcome::Delivered }
            }
            // Somebody else answers to that subject.
            Ok(_) | Err(_) => Outcome::Hold("the answer is not that of a stream".to_owned()),
        }
    }
}

/// What a stream answers to a message that is published to it.
#[derive(Debug, Deserialize)]
struct Acknowledgement {
    stream: Option<String>,
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
    error: Option<Refusal>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

impl Refusal {
    /// By the server's error codes (server/errors.json of nats-server).
    fn outcome(self) -> Outcome {
        const LARGER_THAN_THE_STREAM_TAKES: u32 = 10054;
        const NOT_ENABLED: [u32; 2] = [10039, 10076];
        let why = format!("the stream refuses it: {} ({})", self.description, self.err_code);
        match (self.code, self.err_code) {
            (_, LARGER_THAN_THE_STREAM_TAKES) => Outcome::Reject(why),
            (_, code) if NOT_ENABLED.contains(&code) => Outcome::Hold(why),
            (408 | 429 | 500.., _) => Outcome::retry(why),
            _ => Outcome::Hold(why),
        }
    }
}

#[cfg(test)]
mod tests;
