//! The yardstick: the least that a tokio program can do for the same dialogue, with one JSON line
//! for each login. No limits, no store, no care for anything; what it costs is mostly the kernel's.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpListener;

use crate::{Service, tls};

type Log = Arc<Mutex<File>>;

/// Serves until it is ended.
pub(crate) async fn serve(service: Service, listen: SocketAddr, out: &Path) -> Result<()> {
    if service == Service::Ssh {
        bail!("there is no yardstick for SSH: the least server that agrees on keys is a whole server");
    }
    let file = OpenOptions::new().create(true).append(true).open(out);
    let log: Log = Arc::new(Mutex::new(file.with_context(|| format!("cannot write {}", out.display()))?));
    let tls = tls::acceptor()?;
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (log, tls) = (log.clone(), tls.clone());
        tokio::spawn(async move {
            // A client that breaks off is no business of the yardstick's.
            let _ = match service {
                Service::Ftp => ftp(stream, peer, log).await,
                Service::Git => git(stream, peer, log).await,
                Service::Http => web(stream, peer, log).await,
                Service::Https => match tls.accept(stream).await {
                    Ok(stream) => web(stream, peer, log).await,
                    Err(error) => Err(error.into()),
                },
                Service::Httpproxy => proxy(stream, peer, log).await,
                Service::Tcpbanner => banner(stream, peer, log).await,
                Service::Telnet => telnet(stream, peer, log).await,
                Service::Ssh => unreachable!("refused before"),
            };
        });
    }
}

fn record(log: &Log, peer: SocketAddr, user: &str, password: &str) -> Result<()> {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros();
    let mut line = json!({
        "time": u64::try_from(time)?, "src_host": peer.ip().to_string(), "src_port": peer.port(),
        "USERNAME": user, "PASSWORD": password,
    })
    .to_string();
    line.push('\n');
    let mut log = log.lock().map_err(|_| anyhow::anyhow!("the log is gone"))?;
    log.write_all(line.as_bytes()).context("cannot write")
}

async fn line<S: AsyncRead + Unpin>(reader: &mut BufReader<S>) -> Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    Ok(line.trim_end().to_owned())
}

async fn ftp<S: AsyncRead + AsyncWrite + Unpin>(stream: S, peer: SocketAddr, log: Log) -> Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 (vsFTPd 3.0.3)\r\n").await?;
    let mut user = String::new();
    loop {
        let said = line(&mut stream).await?;
        let (verb, argument) = said.split_once(' ').unwrap_or((&said, ""));
        match verb {
            "USER" => {
                argument.clone_into(&mut user);
                stream.write_all(b"331 Please specify the password.\r\n").await?;
            }
            "PASS" => {
                record(&log, peer, &user, argument)?;
                stream.write_all(b"530 Login incorrect.\r\n").await?;
            }
            "QUIT" => return Ok(stream.write_all(b"221 Goodbye.\r\n").await?),
            "" => return Ok(()),
            _ => stream.write_all(b"530 Please login with USER and PASS.\r\n").await?,
        }
    }
}

async fn telnet<S: AsyncRead + AsyncWrite + Unpin>(stream: S, peer: SocketAddr, log: Log) -> Result<()> {
    let mut stream = BufReader::new(stream);
    // In two steps, as the sensor does: some clients find no prompt right behind the options.
    stream.write_all(b"\xff\xfd\x01\xff\xfd\x1f\xff\xfb\x01\xff\xfb\x03").await?;
    tokio::time::sleep(Duration::from_millis(5)).await;
    stream.write_all(b"\r\r\nhost login: ").await?;
    loop {
        let user = line(&mut stream).await?;
        stream.write_all(format!("{user}\r\nPassword: ").as_bytes()).await?;
        let password = line(&mut stream).await?;
        if user.is_empty() && password.is_empty() {
            return Ok(());
        }
        record(&log, peer, &user, &password)?;
        stream.write_all(b"\r\nLogin incorrect\r\nhost login: ").await?;
    }
}

/// The header lines of one request that matter, and its first line.
async fn head<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Result<(String, usize, String)> {
    let request = line(stream).await?;
    let (mut length, mut credentials) = (0, String::new());
    loop {
        let header = line(stream).await?;
        if header.is_empty() {
            return Ok((request, length, credentials));
        }
        if let Some(value) = header.strip_prefix("Content-Length: ") {
            length = value.parse()?;
        } else if let Some(value) = header.strip_prefix("Proxy-Authorization: Basic ") {
            credentials = String::from_utf8(BASE64_STANDARD.decode(value)?)?;
        }
    }
}

async fn web<S: AsyncRead + AsyncWrite + Unpin>(stream: S, peer: SocketAddr, log: Log) -> Result<()> {
    const PAGE: &[u8; 4096] = &[b'x'; 4096];
    let mut stream = BufReader::new(stream);
    let (_, length, _) = head(&mut stream).await?;
    let mut body = vec![0; length.min(65_536)];
    stream.read_exact(&mut body).await?;
    let body = String::from_utf8(body)?;
    let (user, password) = body.split_once('&').unwrap_or((&body, ""));
    record(&log, peer, user.trim_start_matches("username="), password.trim_start_matches("password="))?;
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nServer: minimal\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        PAGE.len()
    )
    .into_bytes();
    answer.extend_from_slice(PAGE);
    stream.write_all(&answer).await?;
    Ok(stream.shutdown().await?)
}

async fn proxy<S: AsyncRead + AsyncWrite + Unpin>(stream: S, peer: SocketAddr, log: Log) -> Result<()> {
    const PAGE: &[u8; 3500] = &[b'x'; 3500];
    let mut stream = BufReader::new(stream);
    let (_, _, credentials) = head(&mut stream).await?;
    let (user, password) = credentials.split_once(':').unwrap_or((&credentials, ""));
    record(&log, peer, user, password)?;
    let mut answer = format!(
        "HTTP/1.1 407 Proxy Authentication Required\r\nServer: minimal\r\nContent-Length: {}\r\n\
         Proxy-Authenticate: Basic realm=\"x\"\r\n\r\n",
        PAGE.len()
    )
    .into_bytes();
    answer.extend_from_slice(PAGE);
    Ok(stream.write_all(&answer).await?)
}

async fn git<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, peer: SocketAddr, log: Log) -> Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = usize::from_str_radix(std::str::from_utf8(&length)?, 16)?;
    let mut request = vec![0; length.saturating_sub(4)];
    stream.read_exact(&mut request).await?;
    let request = String::from_utf8(request)?;
    let path = request.split('\0').next().unwrap_or_default().trim_start_matches("git-upload-pack ");
    record(&log, peer, path, "")?;
    // The sensor takes as long as the genuine daemon takes to fork.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let answer = format!("ERR access denied or repository not exported: {path}");
    stream.write_all(format!("{:04x}{answer}", answer.len() + 4).as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

async fn banner<S: AsyncRead + AsyncWrite + Unpin>(stream: S, peer: SocketAddr, log: Log) -> Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"hello\r\n").await?;
    loop {
        let said = line(&mut stream).await?;
        if said.is_empty() {
            return Ok(());
        }
        if said.contains("ALERT") {
            record(&log, peer, &said, "")?;
        }
        stream.write_all(b"thanks\r\n").await?;
    }
}
