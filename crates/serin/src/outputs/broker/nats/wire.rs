//! The client's side of NATS's protocol, as far as publishing needs it.
//!
//! Lines of text; a message is a line with its sizes, then its bytes. The server speaks first (INFO),
//! TLS begins after that, then we introduce ourselves (CONNECT). A message that wants an answer names
//! a subject to answer to; the number of the message is the last level of that subject.

use std::sync::Arc;

use rustls::ClientConfig;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf,
};
use tokio::time::timeout;

use super::identity::Identity;
use crate::outputs::Outcome;
use crate::outputs::broker::Address;
use crate::outputs::encode::Format;
use crate::outputs::transport::CONNECT;
use crate::outputs::transport::stream::{self, Stream};

/// The longest line of a server: its INFO names all servers of its cluster.
const LINE_MAX: usize = 64 * 1024;
/// The largest answer to a message.
const ANSWER_MAX: usize = 64 * 1024;

/// One message on its way.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) subject: &'a str,
    /// What streams tell repeated messages by.
    pub(super) id: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) format: Format,
}

/// What came back for one message.
#[derive(Debug)]
pub(super) struct Answer {
    /// The number that [`Connection::publish`] was given.
    pub(super) to: usize,
    /// `None`: nobody listens to its subject.
    pub(super) acknowledgement: Option<Vec<u8>>,
}

/// A connection to a server, logged in.
pub(super) struct Connection {
    from: BufReader<ReadHalf<Stream>>,
    to: WriteHalf<Stream>,
    /// What subjects of answers begin with.
    inbox: String,
    /// The largest message that the server takes, with its headers.
    largest: usize,
    /// Where it goes, for messages.
    at: String,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("at", &self.at).finish_non_exhaustive()
    }
}

/// What a server says of itself.
#[derive(Debug, Deserialize)]
struct Info {
    #[serde(default)]
    headers: bool,
    #[serde(default)]
    tls_required: bool,
    #[serde(default)]
    tls_available: bool,
    #[serde(default)]
    max_payload: usize,
    #[serde(default)]
    nonce: String,
}

/// What a server says.
enum Said {
    Answer(Answer),
    Ping,
    Pong,
    Error(String),
    Other,
}

impl Connection {
    /// Connects, with TLS where either side wants that, and logs in.
    pub(super) async fn open(
        address: &Address,
        tls: &Arc<ClientConfig>,
        insist_on_tls: bool,
        identity: &Identity,
    ) -> Result<Self, Outcome> {
        let at = address.to_string();
        let socket = stream::tcp(&address.host, address.port).await?;
        let mut from = BufReader::new(socket);
        let silent = |_| Outcome::retry(format!("{at} does not answer"));
        let line = timeout(CONNECT, line(&mut from, &at)).await.map_err(silent)??;
        let info = line.strip_prefix("INFO ").and_then(|it| serde_json::from_str::<Info>(it).ok());
        let Some(info) = info else {
            return Err(Outcome::Hold(format!("{at} is no NATS server: it says {line:.100?}")));
        };
        if !info.headers {
            return Err(Outcome::Hold(format!("{at} does not know headers; NATS 2.2 and newer do")));
        }
        let encrypted = insist_on_tls || info.tls_required;
        if encrypted && !(info.tls_required || info.tls_available) {
            return Err(Outcome::Hold(format!("{at} does not speak TLS")));
        }
        let early = !from.buffer().is_empty();
        if encrypted && early {
            // Nothing that was said in clear text may count as said under TLS.
            return Err(Outcome::retry(format!("{at} speaks before TLS begins")));
        }
        let stream: Stream = if encrypted {
            stream::secure(from.into_inner(), &address.host, address.port, tls).await?
        } else if early {
            return Err(Outcome::retry(format!("{at} speaks out of turn")));
        } else {
            Box::new(from.into_inner())
        };
        let (from, to) = tokio::io::split(stream);
        let inbox = format!("_INBOX.{:016x}{:016x}", random(), random());
        let mut connection = Self { from: BufReader::new(from), to, inbox, largest: info.max_payload, at };
        let login = connection.log_in(&info.nonce, encrypted, identity);
        match timeout(CONNECT, login).await {
            Ok(done) => done.map(|()| connection),
            Err(_) => Err(Outcome::retry(format!("{} does not answer", connection.at))),
        }
    }

    async fn log_in(&mut self, nonce: &str, encrypted: bool, identity: &Identity) -> Result<(), Outcome> {
        let said = json!({
            "verbose": false, "pedantic": false, "tls_required": encrypted, "name": "serin", "lang": "rust",
            "version": env!("CARGO_PKG_VERSION"), "protocol": 1, "echo": false, "headers": true,
            "no_responders": true,
        });
        let Value::Object(mut said) = said else { return Ok(()) };
        identity.introduce(nonce, &mut said);
        let hello = format!("CONNECT {}\r\nSUB {}.* 1\r\nPING\r\n", Value::Object(said), self.inbox);
        self.write(hello.as_bytes()).await?;
        self.flush().await?;
        self.wait_for_pong().await
    }

    /// Sends a message, which may stay in our buffer for now; with a number when it wants an answer.
    /// `false`: it is larger than the server takes, and was not sent.
    pub(super) async fn publish(
        &mut self,
        message: &Message<'_>,
        number: Option<usize>,
    ) -> Result<bool, Outcome> {
        let content_type = message.format.content_type();
        // A node may be called anything; a header is one line.
        let id: String = message.id.chars().map(|it| if it.is_control() { '_' } else { it }).collect();
        let headers = format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\nContent-Type: {content_type}\r\n\r\n");
        let size = headers.len().saturating_add(message.payload.len());
        if self.largest > 0 && size > self.largest {
            return Ok(false);
        }
        let reply = number.map(|it| format!("{}.{it} ", self.inbox)).unwrap_or_default();
        let line = format!("HPUB {} {reply}{} {size}\r\n{headers}", message.subject, headers.len());
        let mut bytes = line.into_bytes();
        bytes.extend_from_slice(message.payload);
        bytes.extend_from_slice(b"\r\n");
        self.write(&bytes).await?;
        Ok(true)
    }

    /// The next answer to a message.
    pub(super) async fn answer(&mut self) -> Result<Answer, Outcome> {
        loop {
            match self.read().await? {
                Said::Answer(answer) => return Ok(answer),
                other => self.react(other).await?,
            }
        }
    }

    /// Waits until the server has read everything that was sent.
    pub(super) async fn flush_and_wait(&mut self) -> Result<(), Outcome> {
        self.write(b"PING\r\n").await?;
        self.flush().await?;
        self.wait_for_pong().await
    }

    async fn wait_for_pong(&mut self) -> Result<(), Outcome> {
        loop {
            match self.read().await? {
                Said::Pong => return Ok(()),
                other => self.react(other).await?,
            }
        }
    }

    async fn react(&mut self, said: Said) -> Result<(), Outcome> {
        match said {
            Said::Ping => {
                self.write(b"PONG\r\n").await?;
                self.flush().await
            }
            Said::Error(text) => Err(error(&self.at, &text)),
            Said::Answer(_) | Said::Pong | Said::Other => Ok(()),
        }
    }

    async fn read(&mut self) -> Result<Said, Outcome> {
        let line = line(&mut self.from, &self.at).await?;
        let (operation, rest) = line.split_once([' ', '\t']).unwrap_or((&line, ""));
        Ok(match operation.to_ascii_uppercase().as_str() {
            "PING" => Said::Ping,
            "PONG" => Said::Pong,
            "-ERR" => Said::Error(rest.trim().trim_matches('\'').to_owned()),
            "MSG" => self.message(rest, false).await?,
            "HMSG" => self.message(rest, true).await?,
            _ => Said::Other,
        })
    }

    /// `SUBJECT SID [REPLY] [HEADERS] SIZE`, then so many bytes and a line ending.
    async fn message(&mut self, line: &str, headers: bool) -> Result<Said, Outcome> {
        let nonsense = || Outcome::retry(format!("{} sends something that is not NATS", self.at));
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let size: usize = words.last().and_then(|it| it.parse().ok()).ok_or_else(nonsense)?;
        let before: usize = match words.iter().rev().nth(1).filter(|_| headers) {
            Some(word) => word.parse().map_err(|_| nonsense())?,
            None => 0,
        };
        if size > ANSWER_MAX || before > size {
            return Err(nonsense());
        }
        let number = words.first().and_then(|it| it.strip_prefix(self.inbox.as_str()));
        let number = number.and_then(|it| it.strip_prefix('.')?.parse().ok());
        let mut bytes = vec![0; size + 2];
        self.from.read_exact(&mut bytes).await.map_err(|it| broken(&self.at, &it))?;
        bytes.truncate(size);
        let payload = bytes.split_off(before);
        let nobody = payload.is_empty() && bytes.starts_with(b"NATS/1.0 503");
        Ok(match number {
            Some(to) => Said::Answer(Answer { to, acknowledgement: (!nobody).then_some(payload) }),
            None => Said::Other,
        })
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Outcome> {
        self.to.write_all(bytes).await.map_err(|it| broken(&self.at, &it))
    }

    pub(super) async fn flush(&mut self) -> Result<(), Outcome> {
        self.to.flush().await.map_err(|it| broken(&self.at, &it))
    }
}

/// One line without its ending.
async fn line(from: &mut (impl AsyncBufRead + Unpin), at: &str) -> Result<String, Outcome> {
    let mut line = Vec::new();
    let most = u64::try_from(LINE_MAX).unwrap_or(u64::MAX);
    from.take(most).read_until(b'\n', &mut line).await.map_err(|it| broken(at, &it))?;
    if line.pop() != Some(b'\n') {
        let why =
            if line.len() + 1 >= LINE_MAX { "sends a line without end" } else { "closed the connection" };
        return Err(Outcome::retry(format!("{at} {why}")));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn broken(at: &str, error: &std::io::Error) -> Outcome {
    Outcome::retry(format!("the connection to {at} broke: {error}"))
}

/// What `-ERR` means. It ends the connection, except for missing permissions.
fn error(at: &str, text: &str) -> Outcome {
    let why = format!("{at} says: {text}");
    let lower = text.to_ascii_lowercase();
    let is = |words: &[&str]| words.iter().any(|it| lower.contains(it));
    if is(&["authorization", "authentication", "permissions violation", "invalid subject"]) {
        Outcome::Hold(why)
    } else {
        Outcome::retry(why)
    }
}

fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_complaint_decides_who_must_act() {
        for text in [
            "Authorization Violation",
            "User Authentication Expired",
            "Permissions Violation for Publish to \"x\"",
        ] {
            assert!(matches!(error("a:1", text), Outcome::Hold(_)), "{text}");
        }
        for text in ["Stale Connection", "maximum connections exceeded", "Slow Consumer Detected"] {
            assert!(matches!(error("a:1", text), Outcome::Retry { .. }), "{text}");
        }
    }

    #[tokio::test]
    async fn a_line_has_an_end() {
        let read = |bytes: Vec<u8>| async move { line(&mut bytes.as_slice(), "a:1").await };
        assert_eq!(read(b"PONG\r\nrest".to_vec()).await.unwrap(), "PONG");
        assert_eq!(
            read(vec![b'x'; LINE_MAX * 2]).await.unwrap_err(),
            Outcome::retry("a:1 sends a line without end")
        );
        assert_eq!(read(b"PO".to_vec()).await.unwrap_err(), Outcome::retry("a:1 closed the connection"));
        assert_eq!(read(Vec::new()).await.unwrap_err(), Outcome::retry("a:1 closed the connection"));
    }
}
