//! One connection to a broker. What it says is read while we write: an error may come at any time,
//! and it is the reason why the connection closes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::codec::{self, Frame, HEAD};
use crate::outputs::Outcome;
use crate::outputs::transport::CONNECT;
use crate::outputs::transport::stream::{self, Stream};

/// A message by which its echo is known.
pub(super) type Message = (String, Vec<u8>);

/// Who we are to the broker.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) ident: String,
    pub(super) secret: String,
}

pub(super) struct Link {
    writer: WriteHalf<Stream>,
    heard: Arc<Heard>,
    reader: JoinHandle<()>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link")
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// What the reading side found.
#[derive(Debug, Default)]
struct Heard {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Why the connection is of no use any more.
    over: Option<Outcome>,
    /// Messages that did not come back yet, and how often they are to.
    awaited: HashMap<Message, usize>,
}

impl Link {
    /// Connects and proves who we are. The broker does not confirm that; a wrong secret shows in an
    /// error later.
    pub(super) async fn open(
        host: &str,
        port: u16,
        tls: Option<&Arc<ClientConfig>>,
        account: &Account,
        subscribed: &[String],
    ) -> Result<Self, Outcome> {
        let (mut reader, writer) = tokio::io::split(stream::connect(host, port, tls).await?);
        let late = |_| Outcome::retry(format!("{host}:{port} did not greet us in time"));
        let nonce = match timeout(CONNECT, read(&mut reader)).await.map_err(late)?? {
            Frame::Info { nonce } => nonce,
            Frame::Error(text) => return Err(classified(&text)),
            Frame::Publish { .. } => return Err(Outcome::retry("the broker did not greet us")),
        };
        let heard = Arc::<Heard>::default();
        let reader = tokio::spawn(listen(reader, heard.clone(), account.ident.clone()));
        let mut link = Self { writer, heard, reader };
        let mut hello = codec::auth(&account.ident, &nonce, &account.secret);
        for channel in subscribed {
            hello.extend(codec::subscribe(&account.ident, channel));
        }
        link.write(&hello).await?;
        Ok(link)
    }

    /// Why nothing can be sent any more, if so.
    pub(super) fn over(&self) -> Option<Outcome> {
        self.heard.state.lock().over.clone()
    }

    /// Expects these messages to come back.
    pub(super) fn await_echoes(&self, messages: impl Iterator<Item = Message>) {
        let mut state = self.heard.state.lock();
        for message in messages {
            *state.awaited.entry(message).or_default() += 1;
        }
    }

    /// Which of the awaited messages did not come back.
    pub(super) fn missing(&self) -> HashMap<Message, usize> {
        self.heard.state.lock().awaited.clone()
    }

    /// Writes, unless the broker closes the connection before that is done.
    ///
    /// # Errors
    ///
    /// Why it does not go on, in the broker's words where it has some.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Outcome> {
        let writing = async {
            self.writer.write_all(bytes).await?;
            self.writer.flush().await
        };
        tokio::select! {
            biased;
            why = ended(&self.heard) => Err(why),
            written = writing => match written {
                Ok(()) => Ok(()),
                // The reason may be on its way to the reading side.
                Err(error) => match timeout(LAST_WORDS, ended(&self.heard)).await {
                    Ok(why) => Err(why),
                    Err(_) => Err(Outcome::retry(error.to_string())),
                },
            },
        }
    }

    /// Waits whether the broker has something against what it was sent.
    pub(super) async fn quiet(&mut self, time: Duration) -> Result<(), Outcome> {
        match timeout(time, ended(&self.heard)).await {
            Ok(why) => Err(why),
            Err(_) => Ok(()),
        }
    }

    /// Waits until everything awaited came back.
    pub(super) async fn all_echoed(&mut self, time: Duration) -> Result<(), Outcome> {
        let echoed = async {
            loop {
                let changed = self.heard.changed.notified();
                {
                    let state = self.heard.state.lock();
                    if state.awaited.is_empty() {
                        return Ok(());
                    }
                    if let Some(why) = &state.over {
                        return Err(why.clone());
                    }
                }
                changed.await;
            }
        };
        timeout(time, echoed).await.unwrap_or_else(|_| Err(Outcome::retry("the broker sent no echo")))
    }
}

/// After a failed write the broker's reason is waited for so long.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Until the connection is over.
async fn ended(heard: &Heard) -> Outcome {
    loop {
        let changed = heard.changed.notified();
        if let Some(why) = heard.state.lock().over.clone() {
            return why;
        }
        changed.await;
    }
}

/// Reads until the connection ends.
async fn listen(mut reader: ReadHalf<Stream>, heard: Arc<Heard>, ident: String) {
    loop {
        let why = match read(&mut reader).await {
            Ok(Frame::Publish { ident: by, channel, payload }) if by == ident => {
                let mut state = heard.state.lock();
                let message = (channel, payload);
                match state.awaited.get_mut(&message) {
                    Some(times) if *times > 1 => *times -= 1,
                    Some(_) => drop(state.awaited.remove(&message)),
                    None => continue,
                }
                drop(state);
                heard.changed.notify_waiters();
                continue;
            }
            Ok(Frame::Publish { .. }) => continue,
            Ok(Frame::Error(text)) => classified(&text),
            Ok(Frame::Info { .. }) => Outcome::retry("the broker greeted us twice"),
            Err(why) => why,
        };
        heard.state.lock().over = Some(why);
        heard.changed.notify_waiters();
        return;
    }
}

async fn read(reader: &mut ReadHalf<Stream>) -> Result<Frame, Outcome> {
    let closed = |_| Outcome::retry("the broker closed the connection");
    let mut head = [0; HEAD];
    reader.read_exact(&mut head).await.map_err(closed)?;
    let (length, operation) = codec::head(head).map_err(Outcome::retry)?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.map_err(closed)?;
    codec::decode(operation, &body).map_err(Outcome::retry)
}

/// What the broker's words mean: who we are and what we may do is for the operator to put right.
fn classified(text: &str) -> Outcome {
    const SHOWN: usize = 200;
    let shown: String = text.chars().filter(|it| !it.is_control()).take(SHOWN).collect();
    let why = format!("the broker says: {shown}");
    let ours = ["Authentication failed", "Invalid authkey", "not allowed to", "First message was not AUTH"];
    if ours.iter().any(|it| text.contains(it)) { Outcome::Hold(why) } else { Outcome::retry(why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operator_must_put_right_is_held() {
        for text in [
            "Authentication failed for sensor1",
            "Invalid authkey in message, ident=x",
            "Authkey not allowed to pub here. ident=sensor1, chan=x",
            "Authkey not allowed to sub here. ident=sensor1, chan=x",
        ] {
            assert_eq!(classified(text), Outcome::Hold(format!("the broker says: {text}")));
        }
        let busy = "Backpressure deadline timer expired";
        assert_eq!(classified(busy), Outcome::retry(format!("the broker says: {busy}")));
    }
}
