//! One conversation of the sensor with itself.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use serin_services::probe::Probe;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::SERVICE_PATIENCE;
use crate::outputs::transport::stream::Stream;
use crate::outputs::transport::{CONNECT, tls};

/// A conversation that goes on beside; ends when dropped.
pub(super) struct Talk {
    own: SocketAddr,
    task: JoinHandle<()>,
    error: Arc<Mutex<Option<String>>>,
}

/// Connects from a socket that `mark` hears of first, and begins to talk.
pub(super) async fn begin(
    probe: Probe,
    address: IpAddr,
    port: u16,
    mark: impl FnOnce(SocketAddr),
) -> io::Result<Talk> {
    let to = reachable(address);
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind((to, 0).into())?;
    let own = socket.local_addr()?;
    mark(own);
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no answer");
    let stream = timeout(CONNECT, socket.connect((to, port).into())).await.map_err(late)??;
    let error = Arc::new(Mutex::new(None));
    let told = error.clone();
    let task = tokio::spawn(async move {
        let talk = async {
            let mut stream: Stream = if probe.tls {
                let name = ServerName::IpAddress(to.into());
                Box::new(TlsConnector::from(tls::unverified()?).connect(name, stream).await?)
            } else {
                Box::new(stream)
            };
            converse(probe, &mut stream).await
        };
        if let Ok(Err(error)) = timeout(SERVICE_PATIENCE, talk).await {
            *told.lock() = Some(error.to_string());
        }
    });
    Ok(Talk { own, task, error })
}

impl Talk {
    pub(super) fn own_port(&self) -> u16 {
        self.own.port()
    }

    /// What went wrong with the connection, as the end of a sentence.
    pub(super) fn told(&self) -> String {
        self.error.lock().as_ref().map(|it| format!(": {it}")).unwrap_or_default()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(probe: Probe, stream: &mut Stream) -> io::Result<()> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let mut client = (probe.client)(secret);
    let mut out = Vec::new();
    client.input(&[], &mut out);
    let mut buffer = vec![0; 4096];
    loop {
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        client.input(buffer.get(..read).unwrap_or_default(), &mut out);
    }
}

/// Where to find oneself on a port that is open on this address.
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(it) if it.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(it) if it.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}
