//! Datagrams to a receiver that never answers: UDP, or a socket in the file system.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use socket2::SockRef;
use tokio::net::{UdpSocket, UnixDatagram, lookup_host};
use tokio::time::{Instant, timeout};

use super::stream::Address;
use super::{CONNECT, may_reach};
use crate::outputs::{Delivery, Outcome};

/// A receiver on this machine has this long to take one datagram.
const WRITE: Duration = Duration::from_secs(5);
/// How long a call of [`Datagrams::send`] takes at most, but for the queue of a local receiver.
pub(crate) const DEADLINE: Duration = CONNECT.saturating_add(WRITE).saturating_add(WRITE);
/// A name is looked up again after this time: nobody would tell that its address has changed.
const LOOKED_UP: Duration = Duration::from_mins(5);

/// Sends datagrams to one receiver.
#[derive(Debug)]
pub(crate) struct Datagrams {
    address: Address,
    socket: Option<(Socket, Instant)>,
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Datagrams {
    /// Opens nothing yet.
    pub(crate) fn new(address: Address) -> Self {
        Self { address, socket: None }
    }

    /// Sends one datagram for each event. Where this machine knows that nobody listens, the rest
    /// waits; over a network it usually cannot know.
    ///
    /// # Errors
    ///
    /// [`WrongKind`]: the socket in the file system wants a stream.
    pub(crate) async fn send(&mut self, datagrams: &[Vec<u8>]) -> Result<Delivery, WrongKind> {
        let mut outcomes = Vec::with_capacity(datagrams.len());
        for datagram in datagrams {
            let outcome = match self.send_one(datagram).await {
                Ok(()) => Outcome::Delivered,
                Err(error) if error.raw_os_error() == Some(Errno::EPROTOTYPE as i32) => {
                    return Err(WrongKind);
                }
                Err(error) if error.raw_os_error() == Some(Errno::EMSGSIZE as i32) => {
                    Outcome::Reject(format!("{} bytes are too many for one datagram", datagram.len()))
                }
                Err(error) => Outcome::retry(format!("sending to {}: {error}", self.address)),
            };
            let failed = matches!(outcome, Outcome::Retry { .. });
            outcomes.push(outcome.clone());
            if failed {
                outcomes.resize(datagrams.len(), outcome);
                break;
            }
        }
        Ok(Delivery::Each(outcomes))
    }

    /// The receiver may have moved.
    pub(crate) fn reopen(&mut self) {
        self.socket = None;
    }

    async fn send_one(&mut self, datagram: &[u8]) -> io::Result<()> {
        let fresh = self.socket.as_ref().is_none_or(|it| it.1.elapsed() > LOOKED_UP);
        if fresh {
            self.socket = Some((self.open().await?, Instant::now()));
        }
        let sent = self.attempt(datagram).await;
        if sent.is_ok() || fresh || matches!(&sent, Err(error) if error.kind() == ErrorKind::TimedOut) {
            return self.forget_after(sent);
        }
        // An old socket: the receiver was restarted, or its complaint was about an earlier datagram.
        self.socket = Some((self.open().await?, Instant::now()));
        let sent = self.attempt(datagram).await;
        self.forget_after(sent)
    }

    fn forget_after(&mut self, sent: io::Result<()>) -> io::Result<()> {
        if sent.is_err() {
            self.socket = None;
        }
        sent
    }

    async fn attempt(&self, datagram: &[u8]) -> io::Result<()> {
        let late = |_| io::Error::new(ErrorKind::TimedOut, "nobody reads there");
        match &self.socket {
            Some((Socket::Udp(socket), _)) => {
                timeout(WRITE, socket.send(datagram)).await.map_err(late)??;
                // On this machine the complaint that nobody listens is there at once.
                socket.take_error()?.map_or(Ok(()), Err)
            }
            Some((Socket::Unix(socket), _)) => {
                timeout(WRITE, socket.send(datagram)).await.map_err(late)?.map(drop)
            }
            None => Err(ErrorKind::NotConnected.into()),
        }
    }

    async fn open(&self) -> io::Result<Socket> {
        match &self.address {
            Address::Tcp(host, port) => udp(host, *port).await.map(Socket::Udp),
            Address::Unix(path) => unix(path).map(Socket::Unix),
        }
    }
}

/// The socket in the file system is not one for datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrongKind;

async fn udp(host: &str, port: u16) -> io::Result<UdpSocket> {
    let found = timeout(CONNECT, lookup_host((host, port))).await;
    let mut found = found.map_err(|_| io::Error::other("the name is not answered for"))??;
    let address = found.next().ok_or_else(|| io::Error::other("the name has no address"))?;
    may_reach(address.ip()).map_err(io::Error::other)?;
    let own: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(own).await?;
    socket.connect(address).await?;
    Ok(socket)
}

fn unix(path: &Path) -> io::Result<UnixDatagram> {
    /// The largest datagram that can be sent; the kernel may allow less.
    const LARGEST: usize = 1024 * 1024;
    let socket = UnixDatagram::unbound()?;
    // Without it everything works but for large events.
    let _ = SockRef::from(&socket).set_send_buffer_size(LARGEST);
    socket.connect(path)?;
    Ok(socket)
}
