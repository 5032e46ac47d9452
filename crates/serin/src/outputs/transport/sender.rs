//! Frames down a stream to a receiver that never answers: syslog, GELF and JSON lines over TCP.
//!
//! Such a receiver confirms nothing. What can be known without its help is known here:
//!
//! - A connection that the receiver has closed is noticed before anything is written to it.
//! - What a connection took before it broke comes again on the next one, from a window that is as
//!   large as what the kernel holds for us; where the receiver hung up in good order, and nothing
//!   crossed its farewell, nothing has to.
//! - A receiver that does not read keeps its connection. What it took of a frame is remembered, so
//!   that it gets the rest when it reads again, not everything anew.
//!
//! What cannot be known: whether the receiver's program ever read what its kernel took.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use socket2::{SockRef, Socket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};

use super::CONNECT;
use super::stream::{self, Address, Stream};
use crate::outputs::{Delivery, Outcome};

/// A receiver has this long to take a batch.
const WRITE: Duration = Duration::from_secs(10);
/// How long a call of [`Sender::send`] takes at most.
pub(crate) const DEADLINE: Duration =
    WRITE.saturating_add(CONNECT).saturating_add(CONNECT).saturating_add(GRACE_MAX);
/// Bytes that are kept for another connection, and half of what the kernel is asked to hold.
const WINDOW: usize = 64 * 1024;
/// Written at once: less than TLS keeps in memory.
const CHUNK: usize = 16 * 1024;
/// The longest wait for the news that what was written last came too late.
const GRACE_MAX: Duration = Duration::from_secs(1);
/// Data without acknowledgement breaks a connection after this time.
const UNANSWERED: Duration = Duration::from_mins(2);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_millis(300);
/// Reads of what a talkative receiver says, before each batch.
const READS_MAX: usize = 16;

/// A connection that is made when it is needed, and again when it is gone.
pub(crate) struct Sender {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
    line: Option<Line>,
    /// What was written last, oldest first; `None`: nothing is ever repeated.
    window: Option<Window>,
    /// Whether the last connection may have lost what it was given.
    unsure: bool,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Sender {
    /// Connects to nothing yet. With `replay`, what a broken connection took comes again.
    pub(crate) fn new(address: Address, tls: Option<Arc<ClientConfig>>, replay: bool) -> Self {
        Self { address, tls, line: None, window: replay.then(Window::default), unsure: false }
    }

    /// Writes one frame for each event. A frame stands for its event: when the event comes again, so
    /// does its frame, byte for byte.
    pub(crate) async fn send(&mut self, frames: Vec<Vec<u8>>) -> Delivery {
        let mut line = match self.ready().await {
            Ok(line) => line,
            Err(outcome) => return Delivery::Whole(outcome),
        };
        let mut bytes = std::mem::take(&mut line.pending);
        let (owed, begun) = (bytes.len(), line.begun.take());
        let mut ends = Vec::with_capacity(frames.len());
        for (at, frame) in frames.iter().enumerate() {
            if at > 0 || begun.as_ref() != Some(frame) {
                bytes.extend_from_slice(frame);
            }
            ends.push(bytes.len());
        }
        // Until this is over nobody knows what arrived, also when this call is given up.
        self.unsure = true;
        let mut done = 0;
        let result = timeout(WRITE, line.write(&bytes, &mut done)).await;
        line.written_at = Instant::now();
        let why = match result {
            Ok(Ok(())) => match line.look().await {
                End::Broken(why) => return Delivery::Whole(self.broke(&why)),
                End::None | End::Orderly => None,
            },
            Ok(Err(error)) => return Delivery::Whole(self.broke(&error.to_string())),
            Err(_) => Some(format!("{} does not read what it is sent", self.address)),
        };
        self.unsure = false;
        let taken = ends.iter().take_while(|it| **it <= done).count();
        let start = ends.get(..taken).and_then(<[_]>::last).copied().unwrap_or(owed);
        let mut frames = frames.into_iter();
        for frame in frames.by_ref().take(taken) {
            if let Some(window) = &mut self.window {
                window.push(frame);
            }
        }
        if done < owed {
            (line.begun, line.pending) = (begun, slice(&bytes, done, owed));
        } else if let Some(end) = ends.get(taken).filter(|_| done > start) {
            (line.begun, line.pending) = (frames.next(), slice(&bytes, done, *end));
        }
        self.line = Some(line);
        let mut outcomes = vec![Outcome::Delivered; taken];
        if let Some(why) = why {
            outcomes.resize(ends.len(), Outcome::retry(why));
        }
        Delivery::Each(outcomes)
    }

    /// Says goodbye: over TLS with `close_notify`, and never so that what is under way is lost.
    pub(crate) async fn close(&mut self) {
        let Some(mut line) = self.line.take() else { return };
        self.unsure |= !line.pending.is_empty();
        let farewell = async {
            line.stream.shutdown().await?;
            // Closing with something unread would reset the connection.
            let mut unread = [0; 1024];
            while line.stream.read(&mut unread).await? > 0 {}
            io::Result::Ok(())
        };
        // A receiver that does not answer has nevertheless been told.
        let _ = timeout(FAREWELL, farewell).await;
    }

    fn broke(&self, why: &str) -> Outcome {
        Outcome::retry(format!("the connection to {} broke: {why}", self.address))
    }

    /// The connection, if it still stands, else a new one.
    async fn ready(&mut self) -> Result<Line, Outcome> {
        if let Some(mut line) = self.line.take() {
            match line.look().await {
                End::None => return Ok(line),
                End::Orderly => self.unsure |= !line.pending.is_empty(),
                End::Broken(_) => self.unsure = true,
            }
        }
        let mut line = self.open().await?;
        if self.unsure
            && let Some(window) = &self.window
        {
            line.pending = window.frames.iter().flatten().copied().collect();
        }
        Ok(line)
    }

    async fn open(&mut self) -> Result<Line, Outcome> {
        let began = Instant::now();
        match &self.address {
            Address::Tcp(host, port) => {
                let socket = stream::tcp(host, *port).await?;
                let round_trip = began.elapsed();
                let raw = raw(&socket)?;
                // Without these everything works, only less is known.
                let _ = raw.set_send_buffer_size(WINDOW / 2);
                let _ = raw.set_tcp_user_timeout(Some(UNANSWERED));
                let stream = match &self.tls {
                    Some(tls) => stream::secure(socket, host, *port, tls).await?,
                    None => Box::new(socket),
                };
                Ok(Line::new(stream, raw, round_trip))
            }
            Address::Unix(path) => {
                let socket = stream::unix(path).await?;
                let raw = raw(&socket)?;
                Ok(Line::new(Box::new(socket), raw, Duration::ZERO))
            }
        }
    }
}

/// A second handle, to ask the kernel behind the back of whatever is layered over the socket.
fn raw(socket: &impl std::os::fd::AsFd) -> Result<Socket, Outcome> {
    SockRef::from(socket).try_clone().map_err(|error| Outcome::retry(error.to_string()))
}

fn slice(bytes: &[u8], from: usize, to: usize) -> Vec<u8> {
    bytes.get(from..to).unwrap_or_default().to_vec()
}

/// What was written last.
#[derive(Debug, Default)]
struct Window {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Window {
    fn push(&mut self, frame: Vec<u8>) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
        while self.bytes > WINDOW && self.frames.len() > 1 {
            self.bytes -= self.frames.pop_front().map_or(0, |it| it.len());
        }
    }
}

/// How a connection stands.
enum End {
    None,
    /// The receiver hung up, and had read everything that reached it.
    Orderly,
    /// What was written last may be lost.
    Broken(String),
}

/// One connection.
struct Line {
    stream: Stream,
    socket: Socket,
    /// After this time the receiver's kernel has complained about what came too late.
    grace: Duration,
    written_at: Instant,
    /// What must be written before anything else: the rest of a frame, or what is repeated.
    pending: Vec<u8>,
    /// The frame that `pending` ends; `None` while something is repeated.
    begun: Option<Vec<u8>>,
}

impl Line {
    fn new(stream: Stream, socket: Socket, round_trip: Duration) -> Self {
        let grace = (round_trip * 4 + Duration::from_millis(20)).min(GRACE_MAX);
        Self { stream, socket, grace, written_at: Instant::now(), pending: Vec::new(), begun: None }
    }

    /// Writes; `done` tells how far it came, also when it is given up.
    async fn write(&mut self, bytes: &[u8], done: &mut usize) -> io::Result<()> {
        self.stream.flush().await?;
        while *done < bytes.len() {
            let end = done.saturating_add(CHUNK).min(bytes.len());
            let count = self.stream.write(bytes.get(*done..end).unwrap_or_default()).await?;
            if count == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            *done += count;
            self.stream.flush().await?;
        }
        Ok(())
    }

    /// Whether the receiver has hung up, and how. Asks the kernel itself: the runtime may not have
    /// heard of it yet.
    async fn look(&mut self) -> End {
        for _ in 0..READS_MAX {
            match self.socket.peek(&mut [MaybeUninit::uninit()]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return End::None,
                // Asking takes the error away: nobody else will hear of it.
                Err(error) => return End::Broken(error.to_string()),
                Ok(_) => {}
            }
            // An end, or words that mean nothing to us.
            let mut unread = [0; 1024];
            match timeout(Duration::from_millis(100), self.stream.read(&mut unread)).await {
                // Half a record of TLS.
                Err(_) => return End::None,
                Ok(Ok(0)) => return self.farewell().await,
                Ok(Ok(_)) => {}
                // A peer that does not bother to close TLS before TCP.
                Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => return self.farewell().await,
                Ok(Err(error)) => return End::Broken(error.to_string()),
            }
        }
        End::None
    }

    /// The receiver has closed its direction. If it closed both, what reaches it after that is
    /// answered with a reset, one round trip later.
    async fn farewell(&mut self) -> End {
        sleep(self.grace.saturating_sub(self.written_at.elapsed())).await;
        match self.socket.take_error() {
            Ok(None) => End::Orderly,
            Ok(Some(error)) | Err(error) => End::Broken(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn receiver() -> (TcpListener, Sender) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sender = Sender::new(Address::Tcp("127.0.0.1".to_owned(), port), None, true);
        (listener, sender)
    }

    fn lines(numbers: std::ops::Range<usize>) -> Vec<Vec<u8>> {
        numbers.map(|it| format!("line {it}\n").into_bytes()).collect()
    }

    async fn accept(listener: &TcpListener) -> BufReader<TcpStream> {
        BufReader::new(listener.accept().await.unwrap().0)
    }

    async fn read(socket: &mut BufReader<TcpStream>, count: usize) -> String {
        let mut text = String::new();
        for _ in 0..count {
            assert!(socket.read_line(&mut text).await.unwrap() > 0, "ended after {text:?}");
        }
        text
    }

    fn delivered(delivery: &Delivery, count: usize) -> bool {
        *delivery == Delivery::Each(vec![Outcome::Delivered; count])
    }

    #[tokio::test]
    async fn a_farewell_in_good_order_loses_and_repeats_nothing() {
        let (listener, mut sender) = receiver().await;
        assert!(delivered(&sender.send(lines(0..2)).await, 2));
        let mut socket = accept(&listener).await;
        assert_eq!(read(&mut socket, 2).await, "line 0\nline 1\n");
        drop(socket);
        assert!(delivered(&sender.send(lines(2..3)).await, 1));
        let mut socket = accept(&listener).await;
        assert_eq!(read(&mut socket, 1).await, "line 2\n");
        // Half closed: it would still read, but nobody can know that.
        socket.get_mut().shutdown().await.unwrap();
        assert!(delivered(&sender.send(lines(3..4)).await, 1));
        let mut text = String::new();
        assert_eq!(socket.read_line(&mut text).await.unwrap(), 0, "{text}");
        assert_eq!(read(&mut accept(&listener).await, 1).await, "line 3\n");
    }

    #[tokio::test]
    async fn what_a_reset_connection_took_comes_again() {
        let (listener, mut sender) = receiver().await;
        assert!(delivered(&sender.send(lines(0..2)).await, 2));
        // Closed with something unread: a reset.
        drop(accept(&listener).await);
        assert!(delivered(&sender.send(lines(2..3)).await, 1));
        assert_eq!(read(&mut accept(&listener).await, 3).await, "line 0\nline 1\nline 2\n");

        let Sender { address, .. } = sender;
        let mut forgetful = Sender::new(address, None, false);
        assert!(delivered(&forgetful.send(lines(0..2)).await, 2));
        drop(accept(&listener).await);
        assert!(delivered(&forgetful.send(lines(2..3)).await, 1));
        assert_eq!(read(&mut accept(&listener).await, 1).await, "line 2\n");
    }

    #[tokio::test]
    async fn a_receiver_that_reads_again_gets_every_frame_once() {
        let (listener, mut sender) = receiver().await;
        let frame =
            |number: usize| [format!("{number} ").into_bytes(), vec![b'x'; 9000], vec![b'\n']].concat();
        let all: Vec<_> = (0..1500).map(frame).collect();
        // As the engine does it: what was not taken comes again, in order.
        let (mut sent, mut stalled) = (0, None);
        let mut socket = None;
        while sent < all.len() {
            tokio::time::pause();
            let batch = all.get(sent..(sent + 100).min(all.len())).unwrap().to_vec();
            let Delivery::Each(outcomes) = sender.send(batch).await else { panic!("the connection broke") };
            tokio::time::resume();
            sent += outcomes.iter().filter(|it| **it == Outcome::Delivered).count();
            if outcomes.iter().any(|it| *it != Outcome::Delivered) && stalled.is_none() {
                stalled = Some(sent);
                let mut reader = accept(&listener).await;
                socket = Some(tokio::spawn(async move {
                    let mut numbers = Vec::new();
                    let mut line = String::new();
                    while numbers.len() < 1500 && reader.read_line(&mut line).await.unwrap() > 0 {
                        let (number, rest) = line.split_once(' ').unwrap();
                        assert_eq!(rest.len(), 9001, "a torn frame");
                        numbers.push(number.parse::<usize>().unwrap());
                        line.clear();
                    }
                    numbers
                }));
            }
        }
        assert!(stalled.is_some_and(|it| it < 1500), "the receiver's kernel took everything");
        assert_eq!(socket.unwrap().await.unwrap(), (0..1500).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_receiver_that_is_not_there_is_a_retry() {
        let (listener, mut sender) = receiver().await;
        drop(listener);
        let Delivery::Whole(Outcome::Retry { why, .. }) = sender.send(lines(0..1)).await else { panic!() };
        assert!(why.starts_with("connecting to 127.0.0.1:") && why.contains("refused"), "{why}");
    }
}
