//! One conversation with a mail server: RFC 5321, STARTTLS (RFC 3207), AUTH (RFC 4954).
//!
//! Every answer has a time limit and a size limit. A password goes out over TLS only, or to this
//! machine where the operator says so. Anything that the server said before TLS is forgotten with it:
//! what an attacker in between slipped in does not count as an answer afterwards.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::outputs::Outcome;
use crate::outputs::transport::stream::{self, Stream};

/// Lines and bytes of one answer; RFC 5321 wants 512 bytes a line.
const LINES_MAX: usize = 100;
const ANSWER_MAX: usize = 64 * 1024;
/// So much of an answer is shown to a person.
const SHOWN: usize = 200;

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// Code and text on one line, for a person.
    pub(super) fn told(&self) -> String {
        let text: String = self.lines.join(" ").chars().filter(|it| !it.is_control()).take(SHOWN).collect();
        format!("{} {text}", self.code)
    }

    fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }

    fn is_temporary(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// What the server offers behind this word: `AUTH PLAIN LOGIN`.
    fn offers(&self, word: &str) -> Option<Vec<String>> {
        self.lines.iter().skip(1).find_map(|line| {
            let upper = line.to_ascii_uppercase();
            // Old servers write AUTH=PLAIN.
            let mut words = upper.split([' ', '=']).map(str::to_owned);
            (words.next().as_deref() == Some(word)).then(|| words.collect())
        })
    }
}

/// When the connection becomes secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// From the first byte.
    Implicit,
    /// Before anything that matters, or not at all.
    StartTls,
    /// Where the server offers it.
    Opportunistic,
    Never,
}

/// Who we are to the server.
#[derive(Clone)]
pub(super) enum Login {
    Nobody,
    Password {
        user: String,
        password: String,
    },
    /// A token of `OAuth` 2: `XOAUTH2`.
    Token {
        user: String,
        token: String,
    },
}

/// Whom to talk to, and how.
pub(super) struct Server<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) tls: &'a Arc<ClientConfig>,
    /// Whether a password may go to this machine without TLS.
    pub(super) clear_password: bool,
    /// Our name in EHLO; empty: our address.
    pub(super) hello: &'a str,
    /// For each answer.
    pub(super) patience: Duration,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Taken,
    Later(String),
    Refused(String),
}

/// Lines to and from the server.
struct Wire<S> {
    stream: S,
    /// Read, but not yet used.
    buffer: Vec<u8>,
    patience: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, buffer: Vec::new(), patience }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Outcome> {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout(self.patience, writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Outcome::retry(format!("writing to the server: {error}"))),
            Err(_) => Err(Outcome::retry("the server does not read what is sent")),
        }
    }

    /// One answer, of one or more lines.
    async fn reply(&mut self) -> Result<Reply, Outcome> {
        match timeout(self.patience, self.lines()).await {
            Ok(reply) => reply,
            Err(_) => Err(Outcome::retry("the server does not answer")),
        }
    }

    async fn lines(&mut self) -> Result<Reply, Outcome> {
        let broken = || Outcome::retry("the server answers with what is not SMTP");
        let mut lines = Vec::new();
        let mut bytes = 0;
        loop {
            let line = self.line().await?;
            bytes += line.len();
            if lines.len() >= LINES_MAX || bytes > ANSWER_MAX {
                return Err(broken());
            }
            let code = line.get(..3).and_then(|it| it.parse::<u16>().ok()).ok_or_else(broken)?;
            let more = match line.as_bytes().get(3) {
                Some(b'-') => true,
                Some(b' ') | None => false,
                Some(_) => return Err(broken()),
            };
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if !more {
                return Ok(Reply { code, lines });
            }
        }
    }

    async fn line(&mut self) -> Result<String, Outcome> {
        loop {
            if let Some(end) = self.buffer.iter().position(|it| *it == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                // Whatever is not ASCII in it is for a person only.
                let text: String =
                    line.iter().map(|it| if it.is_ascii() { char::from(*it) } else { '?' }).collect();
                return Ok(text.trim_end().to_owned());
            }
            if self.buffer.len() > ANSWER_MAX {
                return Err(Outcome::retry("the server answers with what is not SMTP"));
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk).await {
                Ok(0) => return Err(Outcome::retry("the server closed the connection")),
                Ok(count) => self.buffer.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) => return Err(Outcome::retry(format!("reading from the server: {error}"))),
            }
        }
    }

    /// Says a line and hears the answer, whatever it is.
    async fn ask(&mut self, line: &str) -> Result<Reply, Outcome> {
        self.write(format!("{line}\r\n").as_bytes()).await?;
        self.reply().await
    }

    /// EHLO: what the server offers.
    async fn hello(&mut self, name: &str) -> Result<Reply, Outcome> {
        let reply = self.ask(&format!("EHLO {name}")).await?;
        if reply.is_positive() { Ok(reply) } else { Err(refused("EHLO", &reply)) }
    }

    async fn greeting(&mut self) -> Result<(), Outcome> {
        let reply = self.reply().await?;
        if reply.is_positive() { Ok(()) } else { Err(refused("its greeting", &reply)) }
    }
}

/// What a refusal means where it concerns the whole conversation.
fn refused(what: &str, reply: &Reply) -> Outcome {
    let why = format!("the server answers {what} with {}", reply.told());
    if reply.is_temporary() { Outcome::retry(why) } else { Outcome::Hold(why) }
}

/// A connection on which mail can be handed over.
pub(super) struct Session {
    wire: Wire<Stream>,
    /// Whether it is secret.
    secret: bool,
    /// Whether the server is this machine.
    local: bool,
}

impl Session {
    /// Connects, secures and logs in.
    ///
    /// # Errors
    ///
    /// [`Outcome::Retry`] for what passes, [`Outcome::Hold`] for what the operator must put right.
    pub(super) async fn open(server: &Server<'_>, login: &Login) -> Result<Self, Outcome> {
        let socket = stream::tcp(server.host, server.port).await?;
        let address = |it: std::io::Result<SocketAddr>| it.map(|it| it.ip().to_canonical()).ok();
        let (ours, theirs) = (address(socket.local_addr()), address(socket.peer_addr()));
        let hello = if server.hello.is_empty() { literal(ours) } else { server.hello.to_owned() };
        let local = theirs.is_some_and(|it| it.is_loopback());
        let (wire, secret, offers) = connected(server, socket, &hello).await?;
        let mut session = Self { wire, secret, local };
        session.login(&offers, login, server.clear_password).await?;
        Ok(session)
    }

    async fn login(&mut self, offers: &Reply, login: &Login, clear_password: bool) -> Result<(), Outcome> {
        if matches!(login, Login::Nobody) {
            return Ok(());
        }
        let fine = self.secret || (clear_password && self.local);
        if !fine {
            return Err(Outcome::Hold(
                "the connection is not secret, so the password was not sent: use tls = \"starttls\" or \"implicit\""
                    .to_owned(),
            ));
        }
        let known = offers.offers("AUTH").unwrap_or_default();
        let offered = |name: &str| known.iter().any(|it| it == name);
        let none = || {
            let offers =
                if known.is_empty() { "no AUTH".to_owned() } else { format!("AUTH {}", known.join(" ")) };
            Err(Outcome::Hold(format!("the server offers {offers}, which does not do for this login")))
        };
        let reply = match login {
            Login::Nobody => return Ok(()),
            Login::Token { .. } if !offered("XOAUTH2") => return none(),
            Login::Token { user, token } => {
                let text = format!("user={user}\u{1}auth=Bearer {token}\u{1}\u{1}");
                let reply = self.wire.ask(&format!("AUTH XOAUTH2 {}", STANDARD.encode(text))).await?;
                // Why not comes as a challenge, which wants an empty answer.
                if reply.code == 334 { self.wire.ask("").await? } else { reply }
            }
            Login::Password { user, password } if offered("PLAIN") => {
                let text = STANDARD.encode(format!("\0{user}\0{password}"));
                self.wire.ask(&format!("AUTH PLAIN {text}")).await?
            }
            Login::Password { user, password } if offered("LOGIN") => {
                let mut reply = self.wire.ask("AUTH LOGIN").await?;
                for text in [user, password] {
                    if reply.code == 334 {
                        reply = self.wire.ask(&STANDARD.encode(text)).await?;
                    }
                }
                reply
            }
            Login::Password { .. } => return none(),
        };
        if reply.code == 235 { Ok(()) } else { Err(refused("the login", &reply)) }
    }

    /// Hands one mail over; what became of it for each recipient, in order.
    ///
    /// # Errors
    ///
    /// When it is the same for all of them.
    pub(super) async fn mail(
        &mut self,
        from: &str,
        to: &[&str],
        message: &[u8],
    ) -> Result<Vec<Fate>, Outcome> {
        let reply = self.wire.ask(&format!("MAIL FROM:<{from}>")).await?;
        if !reply.is_positive() {
            return Err(if reply.code == 552 {
                Outcome::Reject(reply.told())
            } else {
                refused("MAIL", &reply)
            });
        }
        let mut fates = Vec::with_capacity(to.len());
        for address in to {
            let reply = self.wire.ask(&format!("RCPT TO:<{address}>")).await?;
            fates.push(fate(&reply));
        }
        if !fates.contains(&Fate::Taken) {
            return Ok(fates);
        }
        let reply = self.wire.ask("DATA").await?;
        let taken = if reply.code == 354 {
            self.wire.write(&stuffed(message)).await?;
            self.wire.reply().await?
        } else {
            reply
        };
        let taken = fate(&taken);
        for it in fates.iter_mut().filter(|it| **it == Fate::Taken) {
            it.clone_from(&taken);
        }
        Ok(fates)
    }

    /// Says good-bye. What was handed over stays so whatever comes of it.
    pub(super) async fn quit(mut self) {
        let _ = timeout(GOODBYE, self.wire.ask("QUIT")).await;
    }
}

/// A good-bye is not worth more waiting than this.
const GOODBYE: Duration = Duration::from_secs(1);

/// Up to what the server offers once the connection is as secret as it gets.
async fn connected(
    server: &Server<'_>,
    socket: TcpStream,
    hello: &str,
) -> Result<(Wire<Stream>, bool, Reply), Outcome> {
    if server.security == Security::Implicit {
        let stream = stream::secure(socket, server.host, server.port, server.tls).await?;
        let mut wire = Wire::new(stream, server.patience);
        wire.greeting().await?;
        let offers = wire.hello(hello).await?;
        return Ok((wire, true, offers));
    }
    let mut wire = Wire::new(socket, server.patience);
    wire.greeting().await?;
    let offers = wire.hello(hello).await?;
    let offered = offers.offers("STARTTLS").is_some();
    if server.security == Security::StartTls && !offered {
        return Err(Outcome::Hold("the server does not offer STARTTLS".to_owned()));
    }
    if server.security == Security::Never || !offered {
        let wire =
            Wire { stream: Box::new(wire.stream) as Stream, buffer: wire.buffer, patience: wire.patience };
        return Ok((wire, false, offers));
    }
    let reply = wire.ask("STARTTLS").await?;
    if !reply.is_positive() {
        return Err(refused("STARTTLS", &reply));
    }
    // What is in the buffer came before TLS, and nobody knows from whom: it goes with the old wire.
    let stream = stream::secure(wire.stream, server.host, server.port, server.tls).await?;
    let mut wire = Wire::new(stream, server.patience);
    let offers = wire.hello(hello).await?;
    Ok((wire, true, offers))
}

fn fate(reply: &Reply) -> Fate {
    if reply.is_positive() {
        Fate::Taken
    } else if reply.is_temporary() {
        Fate::Later(reply.told())
    } else {
        Fate::Refused(reply.told())
    }
}

/// RFC 5321, section 4.1.3.
fn literal(address: Option<IpAddr>) -> String {
    match address {
        Some(IpAddr::V4(address)) => format!("[{address}]"),
        Some(IpAddr::V6(address)) => format!("[IPv6:{address}]"),
        None => "localhost".to_owned(),
    }
}

/// The message with a second dot before each line that begins with one, and the dot that ends it.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 16);
    for line in message.split_inclusive(|it| *it == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, lines: &[&str]) -> Reply {
        Reply { code, lines: lines.iter().map(|it| (*it).to_owned()).collect() }
    }

    async fn read(bytes: &[u8]) -> Result<Reply, Outcome> {
        let (mut server, ours) = tokio::io::duplex(1 << 20);
        server.write_all(bytes).await.unwrap();
        drop(server);
        Wire::new(ours, Duration::from_secs(1)).reply().await
    }

    #[tokio::test]
    async fn answers_have_lines_and_limits() {
        assert_eq!(read(b"250-a\r\n250 b\r\n").await, Ok(reply(250, &["a", "b"])));
        assert_eq!(read(b"354\n").await, Ok(reply(354, &[""])));
        for wrong in [&b"hello\r\n"[..], b"250+x\r\n", b"25", b"\xff\xff\xff x\r\n", b"250-a\r\n"] {
            assert!(matches!(read(wrong).await, Err(Outcome::Retry { .. })), "{wrong:?}");
        }
        assert!(read(&b"250-more\r\n".repeat(200)).await.is_err());
        assert!(read(&b"x".repeat(200_000)).await.is_err());
    }

    #[test]
    fn offers_are_found_whatever_their_case() {
        let offers = reply(250, &["mail.example AUTH", "auth plain LOGIN", "StartTls", "SIZE 100"]);
        assert_eq!(offers.offers("AUTH"), Some(vec!["PLAIN".to_owned(), "LOGIN".to_owned()]));
        assert_eq!(offers.offers("STARTTLS"), Some(vec![]));
        assert_eq!(offers.offers("PIPELINING"), None);
        assert_eq!(reply(550, &["a\u{1b}[2J", "b"]).told(), "550 a[2J b");
    }

    #[test]
    fn a_dot_at_the_beginning_of_a_line_is_doubled() {
        assert_eq!(stuffed(b".a\r\nb.\r\n..\r\n"), b"..a\r\nb.\r\n...\r\n.\r\n");
        assert_eq!(stuffed(b"x"), b"x\r\n.\r\n");
    }
}
