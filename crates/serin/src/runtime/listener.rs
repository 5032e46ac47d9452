//! Listening: opens a socket, accepts, and starts a conversation for each who comes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use super::connection::converse;
use super::port::Port;

/// Opens a listening socket. `::` also takes IPv4, unless `only_v6`.
pub(crate) fn bind(address: IpAddr, port: u16, only_v6: bool) -> io::Result<std::net::TcpListener> {
    let domain = if address.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6 || !address.is_unspecified())?;
    }
    // A restart must not wait for old connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(address, port).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts until the task is ended. `port` may be exchanged under way: who comes later gets the new
/// one.
pub(crate) async fn serve(listener: TcpListener, port: Arc<RwLock<Arc<Port>>>) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => welcome(socket, peer, &port.read()),
            Err(error) if is_out_of_descriptors(&error) => {
                port.read().seats.make_room(MADE_ROOM);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // The peer gave up between its handshake and our accept.
            Err(_) => {}
        }
    }
}

fn welcome(socket: TcpStream, peer: SocketAddr, port: &Arc<Port>) {
    let source = peer.ip().to_canonical();
    port.connections.inc();
    let seat = match port.seats.take(source, port.id) {
        Ok(seat) => seat,
        Err(refusal) => {
            port.recorder.metrics.refused.inc();
            port.recorder.floods.refused(source, port.service.name, refusal.name());
            return;
        }
    };
    let _ = socket.set_nodelay(true);
    if let Some(keep_alive) = port.keep_alive {
        let probes = TcpKeepalive::new()
            .with_time(keep_alive.idle)
            .with_interval(keep_alive.interval)
            .with_retries(keep_alive.probes);
        // What the system refuses (an interval of zero, say) leaves its own default.
        let _ = SockRef::from(&socket).set_tcp_keepalive(&probes);
    }
    tokio::spawn(converse(port.clone(), socket, peer, seat));
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(nix::libc::EMFILE | nix::libc::ENFILE | nix::libc::ENOBUFS | nix::libc::ENOMEM)
    )
}

/// Connections that wait to be accepted; the system caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Connections that give way at once when descriptors run out.
const MADE_ROOM: usize = 64;
