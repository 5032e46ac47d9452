//! One login at each service, from the client's side.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::ServerName;
use serin_services::ssh::client::Offer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::{Service, ssh};

/// Most that a client takes in of one login.
const ANSWER_MAX: usize = 256 * 1024;

/// What clients need besides a socket.
pub(crate) struct Means {
    pub(crate) tls: TlsConnector,
    pub(crate) ssh: Offer,
}

/// Plays one login whose user name, path or data is `marker`.
pub(crate) async fn play(service: Service, stream: TcpStream, marker: &str, means: &Means) -> Result<()> {
    match service {
        Service::Ftp => ftp(Talk::new(stream), marker).await,
        Service::Git => git(Talk::new(stream), marker).await,
        Service::Http => web_login(Talk::new(stream), marker).await,
        Service::Httpproxy => proxy(Talk::new(stream), marker).await,
        Service::Https => {
            let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
            web_login(Talk::new(means.tls.connect(name, stream).await?), marker).await
        }
        Service::Ssh => ssh::login(stream, marker, &means.ssh).await,
        Service::Tcpbanner => banner(Talk::new(stream), marker).await,
        Service::Telnet => telnet(Talk::new(stream), marker).await,
    }
}

/// Connects from the `nth` of so many loopback addresses; from the usual one when there is only one.
pub(crate) async fn connect(target: SocketAddr, nth: u32, sources: u32) -> std::io::Result<TcpStream> {
    let (SocketAddr::V4(_), true) = (target, sources > 1) else {
        return TcpStream::connect(target).await;
    };
    let socket = TcpSocket::new_v4()?;
    let source = u32::from(Ipv4Addr::new(127, 1, 0, 1)) + nth % sources;
    socket.bind(SocketAddr::new(IpAddr::V4(source.into()), 0))?;
    socket.connect(target).await
}

async fn ftp<S: Stream>(mut talk: Talk<S>, marker: &str) -> Result<()> {
    talk.until(&[b"220 "]).await?;
    talk.say(format!("USER {marker}\r\n").as_bytes()).await?;
    talk.until(&[b"331 "]).await?;
    talk.say(b"PASS hunter2\r\n").await?;
    talk.until(&[b"530 "]).await?;
    talk.say(b"QUIT\r\n").await?;
    talk.rest().await.map(drop)
}

async fn telnet<S: Stream>(mut talk: Talk<S>, marker: &str) -> Result<()> {
    const NAME: &[&[u8]] = &[b"ogin: ", b"sername: "];
    talk.until(NAME).await?;
    talk.say(format!("{marker}\r\n").as_bytes()).await?;
    talk.until(&[b"assword: "]).await?;
    talk.say(b"hunter2\r\n").await?;
    talk.until(&[b"incorrect", b"invalid", b"failed"]).await
}

async fn web_login<S: Stream>(mut talk: Talk<S>, marker: &str) -> Result<()> {
    let body = format!("username={marker}&password=hunter2");
    let request = format!(
        "POST /index.html HTTP/1.1\r\nHost: localhost\r\nUser-Agent: serin-bench\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    talk.say(request.as_bytes()).await?;
    let answer = talk.rest().await?;
    let status = answer.get(9..12).unwrap_or_default();
    if !answer.starts_with(b"HTTP/1.1 ") || !matches!(status, b"200" | b"302" | b"401" | b"403") {
        bail!("answered {:?}", String::from_utf8_lossy(answer.get(..40).unwrap_or(&answer)));
    }
    Ok(())
}

async fn proxy<S: Stream>(mut talk: Talk<S>, marker: &str) -> Result<()> {
    let credentials = BASE64_STANDARD.encode(format!("{marker}:hunter2"));
    let request = format!(
        "GET http://files.example/ HTTP/1.1\r\nHost: files.example\r\nUser-Agent: serin-bench\r\n\
         Proxy-Authorization: Basic {credentials}\r\n\r\n"
    );
    talk.say(request.as_bytes()).await?;
    talk.until(&[b"HTTP/1.1 407"]).await?;
    talk.until(&[b"\r\n\r\n"]).await
}

async fn git<S: Stream>(mut talk: Talk<S>, marker: &str) -> Result<()> {
    let request = format!("git-upload-pack /{marker}.git\0host=localhost\0\0version=2\0");
    talk.say(format!("{:04x}{request}", request.len() + 4).as_bytes()).await?;
    let answer = talk.rest().await?;
    if !answer.windows(4).any(|it| it == b"ERR ") {
        bail!("answered {:?}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

async fn banner<S: Stream>(mut talk: Talk<S>, marker: &str) -> Result<()> {
    talk.until(&[b"\n"]).await?;
    talk.say(format!("ALERT {marker}\r\n").as_bytes()).await?;
    talk.until(&[b"\n"]).await
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// A conversation: what was heard and not used yet.
struct Talk<S> {
    stream: S,
    heard: Vec<u8>,
}

impl<S: Stream> Talk<S> {
    fn new(stream: S) -> Self {
        Self { stream, heard: Vec::with_capacity(512) }
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await.context("cannot send")?;
        self.stream.flush().await.context("cannot send")
    }

    /// Listens until one of `words` was said, and forgets everything up to it.
    async fn until(&mut self, words: &[&[u8]]) -> Result<()> {
        loop {
            let found = words.iter().filter_map(|word| {
                self.heard.windows(word.len()).position(|it| it == *word).map(|at| at + word.len())
            });
            if let Some(end) = found.min() {
                self.heard.drain(..end);
                return Ok(());
            }
            if self.heard.len() > ANSWER_MAX {
                bail!("the answer has no end");
            }
            if self.stream.read_buf(&mut self.heard).await.context("cannot listen")? == 0 {
                bail!("hung up after {:?}", String::from_utf8_lossy(&self.heard));
            }
        }
    }

    /// Listens until the server hangs up.
    async fn rest(&mut self) -> Result<Vec<u8>> {
        loop {
            match self.stream.read_buf(&mut self.heard).await {
                Ok(0) => return Ok(std::mem::take(&mut self.heard)),
                Ok(_) if self.heard.len() > ANSWER_MAX => bail!("the answer has no end"),
                Ok(_) => {}
                // A server may end TLS without saying so; what it said stands.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Ok(std::mem::take(&mut self.heard));
                }
                Err(error) => return Err(error).context("cannot listen"),
            }
        }
    }
}
