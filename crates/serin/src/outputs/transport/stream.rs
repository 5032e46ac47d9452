//! A stream to a receiver: TCP, TLS over it, or a Unix socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{CONNECT, may_reach};
use crate::outputs::Outcome;

/// Both directions of a connection.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection to a receiver.
pub(crate) type Stream = Box<dyn Duplex>;

/// Where a receiver listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A name or an address, and a port.
    Tcp(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// `HOST`, `HOST:PORT`, `[IPV6]:PORT` or the absolute path of a socket.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub(crate) fn parse(text: &str, usual_port: u16) -> Result<Self, &'static str> {
        const WANTS: &str = "wants HOST:PORT, HOST, or the absolute path of a socket";
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let bracketed = text.strip_prefix('[').and_then(|it| it.split_once(']'));
        let (host, port) = match bracketed {
            Some((host, port)) => (host, port.strip_prefix(':').or(port.is_empty().then_some(""))),
            // More than one colon without brackets: an IPv6 address.
            None if text.matches(':').count() > 1 => (text, Some("")),
            None => text.split_once(':').map_or((text, Some("")), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            Some("") if !text.ends_with(':') || host == text => usual_port,
            Some(port) => port.parse().ok().filter(|it| *it > 0).ok_or(WANTS)?,
            None => return Err(WANTS),
        };
        let odd = |it: char| it.is_whitespace() || it.is_control() || "/[]".contains(it);
        if host.is_empty() || host.contains(odd) {
            return Err(WANTS);
        }
        Ok(Self::Tcp(host.to_owned(), port))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Connects to `host`:`port`, with TLS where a configuration is given. The connection is kept alive,
/// so that a receiver that vanished is noticed within half a minute.
///
/// # Errors
///
/// [`Outcome::Hold`] when the receiver's certificate is not what it should be, else
/// [`Outcome::Retry`].
pub(crate) async fn connect(
    host: &str,
    port: u16,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<Stream, Outcome> {
    let socket = tcp(host, port).await?;
    match tls {
        Some(tls) => secure(socket, host, port, tls).await,
        None => Ok(Box::new(socket)),
    }
}

/// TLS over a connection to `host`:`port`, also after a greeting in clear text.
///
/// # Errors
///
/// As [`connect`].
pub(crate) async fn secure(
    socket: TcpStream,
    host: &str,
    port: u16,
    tls: &Arc<ClientConfig>,
) -> Result<Stream, Outcome> {
    let at = format!("{host}:{port}");
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Outcome::Hold(format!("{host} is neither a host name nor an address")))?;
    match timeout(CONNECT, TlsConnector::from(tls.clone()).connect(name, socket)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(tls_failure(&at, &error)),
        Err(_) => Err(Outcome::retry(format!("{at} does not answer to TLS"))),
    }
}

/// Whether all that a name stands for may be contacted, for libraries that connect by themselves.
///
/// # Errors
///
/// [`Outcome::Retry`] when the name is not known or stands for what must not be contacted.
pub(crate) async fn may_reach_all(host: &str, port: u16) -> Result<(), Outcome> {
    let retry =
        |error: &dyn std::fmt::Display| Outcome::retry(format!("connecting to {host}:{port}: {error}"));
    let addresses = match timeout(CONNECT, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(retry(&error)),
        Err(_) => return Err(retry(&"the name is not resolved in time")),
    };
    for address in addresses {
        may_reach(address.ip()).map_err(|why| retry(&why))?;
    }
    Ok(())
}

/// A plain TCP connection.
///
/// # Errors
///
/// [`Outcome::Retry`] with what went wrong.
pub(crate) async fn tcp(host: &str, port: u16) -> Result<TcpStream, Outcome> {
    let at = format!("{host}:{port}");
    let retry = |error: &dyn std::fmt::Display| Outcome::retry(format!("connecting to {at}: {error}"));
    let connecting = async {
        let mut last = None;
        for address in lookup_host((host, port)).await? {
            if let Err(why) = may_reach(address.ip()) {
                last = Some(std::io::Error::other(why));
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(socket) => return Ok(socket),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| std::io::Error::other("the name has no address")))
    };
    let socket = match timeout(CONNECT, connecting).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return Err(retry(&error)),
        Err(_) => return Err(retry(&"no answer")),
    };
    let alive = TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    // Without it everything works, only later.
    let _ = SockRef::from(&socket).set_tcp_keepalive(&alive);
    let _ = socket.set_nodelay(true);
    Ok(socket)
}

/// A stream socket in the file system.
///
/// # Errors
///
/// [`Outcome::Retry`] with what went wrong.
pub(crate) async fn unix(path: &Path) -> Result<UnixStream, Outcome> {
    let retry =
        |error: &dyn std::fmt::Display| Outcome::retry(format!("connecting to {}: {error}", path.display()));
    match timeout(CONNECT, UnixStream::connect(path)).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(error)) => Err(retry(&error)),
        Err(_) => Err(retry(&"no answer")),
    }
}

/// A certificate that does not convince us waits for the operator; a connection that breaks does not.
pub(crate) fn tls_failure(at: &str, error: &std::io::Error) -> Outcome {
    let why = format!("TLS with {at}: {error}");
    let cause = error.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>());
    if matches!(cause, Some(rustls::Error::InvalidCertificate(_))) {
        Outcome::Hold(why)
    } else {
        Outcome::retry(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_usual_port() {
        let parsed = |text| Address::parse(text, 514).map(|it| it.to_string());
        for (text, address) in [
            ("log.example", "log.example:514"),
            ("log.example:6514", "log.example:6514"),
            ("192.0.2.1:1", "192.0.2.1:1"),
            ("::1", "[::1]:514"),
            ("[::1]", "[::1]:514"),
            ("[::1]:6514", "[::1]:6514"),
            ("/dev/log", "/dev/log"),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(address), "{text}");
        }
        for wrong in ["", ":514", "a:0", "a:", "a:b", "a:70000", "[::1]x", "[::1", "a b", "http://x/"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
