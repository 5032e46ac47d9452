//! A connection's bytes, plain or inside TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A connection's bytes.
#[derive(Default)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<Replayed>>),
    /// Moved elsewhere; reads as ended.
    #[default]
    Gone,
}

impl Stream {
    pub(crate) fn plain(socket: TcpStream) -> Self {
        Self::Plain(socket)
    }

    /// Does the server's side of a TLS handshake, of which `prefix` has been read already.
    pub(crate) async fn secure(self, config: Arc<ServerConfig>, prefix: Vec<u8>) -> io::Result<Self> {
        let Self::Plain(socket) = self else {
            return Err(io::Error::other("TLS inside TLS"));
        };
        let replayed = Replayed { prefix, socket };
        TlsAcceptor::from(config).accept(replayed).await.map(|it| Self::Tls(Box::new(it)))
    }

    /// The protocol agreed on in ALPN, or nothing.
    pub(crate) fn alpn(&self) -> String {
        match self {
            Self::Tls(tls) => tls
                .get_ref()
                .1
                .alpn_protocol()
                .map(|it| String::from_utf8_lossy(it).into_owned())
                .unwrap_or_default(),
            Self::Plain(_) | Self::Gone => String::new(),
        }
    }

    /// Says goodbye: TLS's close alert, then the end of our stream. What the peer still sends is
    /// left unread, as most servers do.
    pub(crate) async fn finish(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(5);
        // The peer may be gone already; there is nobody left to tell.
        let _ = tokio::time::timeout(PATIENCE, self.shutdown()).await;
    }

    /// Ends with a reset instead of a farewell; what was written before is on its way.
    pub(crate) fn reset(self) {
        if let Self::Plain(socket) = &self {
            let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, buffer),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, bytes),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}

/// A socket of which some bytes were read before TLS took over.
pub(crate) struct Replayed {
    prefix: Vec<u8>,
    socket: TcpStream,
}

impl AsyncRead for Replayed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buffer);
        }
        let count = self.prefix.len().min(buffer.remaining());
        buffer.put_slice(&self.prefix[..count]);
        self.prefix.drain(..count);
        if self.prefix.is_empty() {
            self.prefix = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replayed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.socket).poll_write(cx, bytes))?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
