//! One connection: feeds a dialogue, does what it asks for, holds it to its limits.
//!
//! Buffers exist only while bytes are in flight, so that an idle peer costs little more than its
//! socket. Whatever the peer does is an event or nothing; nothing here writes to the error log.

use std::borrow::Cow;
use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use serin_event::{Event, Tainted, kinds};
use serin_services::dialogue::{Action, Actions, Broken, Closed, Dialogue, Opening, TlsPeer};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::clock;
use super::port::{Port, TlsMode};
use super::recorder::Conversation;
use super::seats::{Held, Seat};
use super::stream::Stream;
use super::tls;

/// Plays `port`'s service for one peer until either side has had enough.
pub(crate) async fn converse(port: Arc<Port>, socket: TcpStream, peer: SocketAddr, seat: Seat) {
    let local = socket.local_addr().unwrap_or(peer);
    let mut talk = Talk::new(port, peer, local, seat);
    let why = match talk.begin(socket).await {
        Ok(stream) => talk.go_on(stream).await,
        Err(why) => why,
    };
    // Boxed, here and below: what is rare must not make every idle connection larger.
    Box::pin(talk.finish(why)).await;
}

/// Why a conversation stops here.
enum End {
    /// The peer, the dialogue or a limit ended it.
    Closed(Closed),
    /// TLS could not be agreed on; in rustls's words.
    Tls(String),
    /// The dialogue panicked.
    Panicked,
}

/// What came of waiting for the peer.
enum Heard {
    Bytes,
    Nothing,
    Late,
    Told(&'static str),
}

/// Fresh random bytes.
fn secret() -> Result<[u8; 32], End> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| End::Closed(Closed::ByLimit("no random numbers to be had")))?;
    Ok(bytes)
}

/// Waits until a connection may compute for long, or must leave.
async fn turn(seat: &Seat) -> Result<Option<OwnedSemaphorePermit>, End> {
    tokio::select! {
        why = seat.told() => Err(End::Closed(Closed::ByLimit(why))),
        turn = seat.turn() => Ok(turn),
    }
}

struct Talk {
    port: Arc<Port>,
    seat: Seat,
    at: Conversation,
    dialogue: Option<Box<dyn Dialogue>>,
    out: Actions,
    /// What the dialogue could not use yet.
    held: Vec<u8>,
    /// Room for it, where it is much.
    room: Option<Held>,
    /// The first bytes, for an event about a peer that did nothing else.
    first: Vec<u8>,
    received: u64,
    opened: Instant,
    heard: Instant,
    timer: Option<Instant>,
    tls: Option<TlsPeer>,
    reported: bool,
    /// Whether bytes have come that the dialogue has not seen.
    unfed: bool,
}

impl Talk {
    fn new(port: Arc<Port>, peer: SocketAddr, local: SocketAddr, seat: Seat) -> Self {
        let now = Instant::now();
        let at = port.recorder.conversation(port.service.name, peer, local);
        Self {
            port,
            seat,
            at,
            dialogue: None,
            out: Actions::new(serin_event::Timestamp(0)),
            held: Vec::new(),
            room: None,
            first: Vec::new(),
            received: 0,
            opened: now,
            heard: now,
            timer: None,
            tls: None,
            reported: false,
            unfed: false,
        }
    }

    /// Agrees on TLS where the port speaks it from the start, and opens the dialogue.
    async fn begin(&mut self, socket: TcpStream) -> Result<Stream, End> {
        let mut stream = Stream::plain(socket);
        if let TlsMode::AtOnce(_) = self.port.tls {
            // Somebody who speaks plainly to a TLS port gets the dialogue's plain answer.
            if self.speaks_tls(&mut stream).await? {
                stream = Box::pin(self.secure(stream)).await?;
            }
        }
        let opening = Opening {
            peer: self.at.peer,
            local: self.at.local,
            seed: self.at.session,
            secret: secret()?,
            tls: self.tls.clone(),
        };
        self.call(|talk| {
            let mut dialogue = (talk.port.open)();
            dialogue.open(&opening, &mut talk.out);
            talk.dialogue = Some(dialogue);
        })?;
        Ok(stream)
    }

    /// Whether the peer's first byte starts a TLS handshake record.
    async fn speaks_tls(&mut self, stream: &mut Stream) -> Result<bool, End> {
        self.listen(stream).await?;
        Ok(self.held.first() == Some(&tls::HANDSHAKE))
    }

    async fn go_on(&mut self, mut stream: Stream) -> End {
        loop {
            match self.act(&mut stream).await {
                Ok(None) => {}
                Ok(Some(secured)) => {
                    stream = secured;
                    continue;
                }
                Err(end) => return end,
            }
            if !self.unfed
                && let Err(end) = self.listen(&mut stream).await
            {
                return end;
            }
            if std::mem::take(&mut self.unfed)
                && let Err(end) = self.feed(&mut stream).await
            {
                return end;
            }
        }
    }

    /// Hands what is held to the dialogue. Where it uses a part, it is asked again about the rest.
    async fn feed(&mut self, stream: &mut Stream) -> Result<(), End> {
        let laborious = self.dialogue.as_ref().is_some_and(|it| it.laborious());
        let turn = if laborious { Box::pin(turn(&self.seat)).await? } else { None };
        let held = std::mem::take(&mut self.held);
        let mut outcome = Ok(0);
        self.call(|talk| {
            if let Some(dialogue) = &mut talk.dialogue {
                outcome = dialogue.input(&held, &mut talk.out).map(<[u8]>::len);
            }
        })?;
        drop(turn);
        let limit = match outcome {
            // Whole messages that are left for later are no unfinished one.
            Ok(rest) if rest <= self.port.service.backlog || rest < held.len() => {
                let used = held.len().saturating_sub(rest);
                self.unfed = used > 0 && rest > 0;
                self.held = match rest {
                    0 => Vec::new(),
                    _ if used == 0 => held,
                    _ => held.get(used..).unwrap_or_default().to_vec(),
                };
                return self.find_room();
            }
            Ok(_) => "more bytes of one message than are held",
            Err(Broken(limit)) => limit,
        };
        // What was answered before the limit is still sent.
        self.act(stream).await?;
        Err(End::Closed(Closed::ByLimit(limit)))
    }

    /// Counts what is held of this peer against what is held of all; a little is nobody's concern.
    fn find_room(&mut self) -> Result<(), End> {
        self.room = None;
        if self.held.len() > UNCOUNTED {
            self.room = self.seat.hold(self.held.len());
            if self.room.is_none() {
                let limit = "more unfinished messages than are held for all peers";
                return Err(End::Closed(Closed::ByLimit(limit)));
            }
        }
        Ok(())
    }

    /// Runs a piece of the dialogue. A panic ends this connection and nothing else.
    fn call(&mut self, step: impl FnOnce(&mut Self)) -> Result<(), End> {
        self.out.now = clock::now();
        catch_unwind(AssertUnwindSafe(|| step(self))).map_err(|_| End::Panicked)
    }

    /// Does what the dialogue wants, in order. A new stream comes back when TLS was wanted.
    async fn act(&mut self, stream: &mut Stream) -> Result<Option<Stream>, End> {
        let actions: Vec<Action> = self.out.drain().collect();
        let mut outbox: Option<Cow<'static, [u8]>> = None;
        let mut actions = actions.into_iter();
        let mut result = Ok(None);
        for action in actions.by_ref() {
            result = match action {
                Action::Report(event) => {
                    Box::pin(self.report(event)).await;
                    Ok(None)
                }
                Action::Send(bytes) => {
                    match &mut outbox {
                        Some(before) => before.to_mut().extend_from_slice(&bytes),
                        None => outbox = Some(bytes),
                    }
                    Ok(None)
                }
                Action::Timer(time) => {
                    self.timer = Some(Instant::now() + time);
                    Ok(None)
                }
                Action::Wait(time) => {
                    let sent = self.send(stream, outbox.take()).await;
                    if sent.is_ok() {
                        self.pause(time).await;
                    }
                    sent.map(|()| None)
                }
                Action::Close => self.send(stream, outbox.take()).await.and(Err(End::Closed(Closed::ByUs))),
                Action::Reset => {
                    let sent = self.send(stream, outbox.take()).await;
                    std::mem::take(stream).reset();
                    sent.and(Err(End::Closed(Closed::ByUs)))
                }
                Action::StartTls => match self.send(stream, outbox.take()).await {
                    Ok(()) => Box::pin(self.secure(std::mem::take(stream))).await.map(Some),
                    Err(end) => Err(end),
                },
            };
            if !matches!(result, Ok(None)) {
                break;
            }
        }
        // The conversation is over or starts anew, but what the peer did is told all the same.
        if actions.len() > 0 {
            Box::pin(self.report_all(actions)).await;
        }
        if matches!(result, Ok(None)) {
            self.send(stream, outbox.take()).await?;
        }
        if matches!(result, Err(End::Closed(Closed::ByUs))) {
            let farewell = Box::pin(stream.finish());
            tokio::select! {
                () = farewell => {}
                _ = self.seat.told() => {}
            }
        }
        result
    }

    async fn pause(&mut self, time: Duration) {
        tokio::select! {
            () = sleep(time) => {}
            _ = self.seat.told() => {}
        }
    }

    /// Sends, as long as the peer keeps reading and nobody tells this connection to leave.
    async fn send(&mut self, stream: &mut Stream, bytes: Option<Cow<'static, [u8]>>) -> Result<(), End> {
        let Some(bytes) = bytes else { return Ok(()) };
        let Some(_unsent) = self.seat.hold(bytes.len()) else {
            return Err(End::Closed(Closed::ByLimit("more unsent answers than are held for all peers")));
        };
        let last = self.opened + self.port.limits.session_time;
        let mut rest: &[u8] = &bytes;
        while !rest.is_empty() {
            let deadline = last.min(Instant::now() + WRITE_PATIENCE);
            let writing = timeout_at(deadline, stream.write(rest));
            let written = tokio::select! {
                biased;
                written = writing => written,
                why = self.seat.told() => return Err(End::Closed(Closed::ByLimit(why))),
            };
            match written {
                Ok(Ok(count)) if count > 0 => rest = rest.get(count..).unwrap_or_default(),
                Ok(_) => return Err(End::Closed(Closed::ByPeer)),
                Err(_) => return Err(End::Closed(Closed::ByLimit("nothing read for 30 seconds"))),
            }
        }
        stream.flush().await.map_err(|_| End::Closed(Closed::ByPeer))
    }

    /// Waits until more has come, or until one of the limits on waiting is reached.
    async fn listen(&mut self, stream: &mut Stream) -> Result<(), End> {
        let (deadline, limit) = self.deadline();
        match self.hear(stream, deadline).await {
            Heard::Bytes => {
                self.heard = Instant::now();
                self.unfed = true;
                self.seat.active();
                if self.received > self.port.limits.session_bytes {
                    return Err(End::Closed(Closed::ByLimit("more bytes than one session may send")));
                }
                Ok(())
            }
            Heard::Nothing => Err(End::Closed(Closed::ByPeer)),
            Heard::Told(why) => Err(End::Closed(Closed::ByLimit(why))),
            Heard::Late => {
                if let Some(name) = limit {
                    return Err(End::Closed(Closed::ByLimit(name)));
                }
                self.timer = None;
                self.call(|talk| {
                    if let Some(dialogue) = &mut talk.dialogue {
                        dialogue.timer(&mut talk.out);
                    }
                })
            }
        }
    }

    /// The next moment at which something happens though the peer is silent, and the limit's name;
    /// no name for the dialogue's own timer.
    fn deadline(&self) -> (Instant, Option<&'static str>) {
        let limits = &self.port.limits;
        let silent = (self.heard + self.port.service.idle, Some("silent for too long"));
        let whole = (self.opened + limits.session_time, Some("longer than one session may last"));
        let mut next = if silent.0 <= whole.0 { silent } else { whole };
        if self.received == 0 && self.opened + limits.first_byte < next.0 {
            next = (self.opened + limits.first_byte, Some("no first byte in time"));
        }
        match self.timer {
            Some(timer) if timer <= next.0 => (timer, None),
            _ => next,
        }
    }

    async fn hear(&mut self, stream: &mut Stream, deadline: Instant) -> Heard {
        let Self { held, first, received, seat, .. } = self;
        let reading = poll_fn(|cx| {
            if let Some(why) = seat.told_to_leave(cx.waker()) {
                return Poll::Ready(Heard::Told(why));
            }
            SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                        let bytes = buffer.filled();
                        *received = received.saturating_add(bytes.len() as u64);
                        let room = FIRST_BYTES.saturating_sub(first.len());
                        first.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
                        held.extend_from_slice(bytes);
                        Poll::Ready(Heard::Bytes)
                    }
                    Poll::Ready(_) => Poll::Ready(Heard::Nothing),
                }
            })
        });
        timeout_at(deadline, reading).await.unwrap_or(Heard::Late)
    }

    /// Speaks TLS from here on; what is held is the beginning of the peer's side of it.
    async fn secure(&mut self, stream: Stream) -> Result<Stream, End> {
        let Some(config) = self.port.tls.config() else {
            return Err(End::Tls("this port has no certificate".to_owned()));
        };
        let mut stream = stream;
        while !tls::hello_is_whole(&self.held) {
            self.listen(&mut stream).await?;
        }
        let mut peer = tls::fingerprint(&self.held);
        if !tls::is_recent(&self.held) {
            let alert = tls::too_old(&self.held);
            self.tls = Some(peer);
            self.send(&mut stream, Some(alert.into())).await?;
            return Err(End::Tls("the client is older than TLS 1.2".to_owned()));
        }
        let prefix = std::mem::take(&mut self.held);
        let handshake = timeout(TLS_PATIENCE, stream.secure(config, prefix));
        let agreed = tokio::select! {
            agreed = handshake => agreed,
            why = self.seat.told() => {
                self.tls = Some(peer);
                return Err(End::Closed(Closed::ByLimit(why)));
            }
        };
        let secured = match agreed {
            Ok(Ok(secured)) => secured,
            Ok(Err(error)) => {
                self.tls = Some(peer);
                return Err(End::Tls(error.to_string()));
            }
            Err(_) => {
                self.tls = Some(peer);
                return Err(End::Closed(Closed::ByLimit("a TLS handshake longer than 20 seconds")));
            }
        };
        peer.alpn = secured.alpn();
        self.tls = Some(peer.clone());
        self.heard = Instant::now();
        self.unfed = false;
        self.call(|talk| {
            if let Some(dialogue) = &mut talk.dialogue {
                dialogue.secured(&peer, &mut talk.out);
            }
        })?;
        Ok(secured)
    }

    async fn report(&mut self, event: Event) {
        self.reported = true;
        self.port.recorder.record(event, &self.at).await;
    }

    /// Tells how it ended, so that no touch is without an event.
    async fn finish(&mut self, mut end: End) {
        // What was reported in a call that then panicked, too.
        self.report_rest().await;
        if let (Some(mut dialogue), false) = (self.dialogue.take(), matches!(end, End::Panicked)) {
            let why = if let End::Closed(why) = end { why } else { Closed::ByPeer };
            if let Err(panicked) = self.call(|talk| dialogue.closed(why, &mut talk.out)) {
                end = panicked;
            }
            self.report_rest().await;
        }
        let reason = match end {
            End::Panicked => {
                self.port.recorder.panicked(&self.at, &self.first).await;
                "our mistake; the first bytes are kept for the report".to_owned()
            }
            End::Tls(error) => format!("TLS: {error}"),
            End::Closed(Closed::ByLimit(limit)) => limit.to_owned(),
            End::Closed(Closed::ByPeer | Closed::ByUs) => String::new(),
        };
        // A peer that has left its event and then falls silent has broken nothing.
        if self.reported && (reason.is_empty() || reason == "silent for too long" || reason == STOPPING) {
            return;
        }
        let event = self.ending(&reason);
        self.report(event).await;
    }

    /// Records the reports among actions that are not done any more.
    async fn report_all(&mut self, undone: impl IntoIterator<Item = Action>) {
        for action in undone {
            if let Action::Report(event) = action {
                self.report(event).await;
            }
        }
    }

    /// The same for what the dialogue wanted last.
    async fn report_rest(&mut self) {
        let rest: Vec<Action> = self.out.drain().collect();
        self.report_all(rest).await;
    }

    fn ending(&self, reason: &str) -> Event {
        let kind = if reason.is_empty() { &kinds::CONNECTION_TOUCHED } else { &kinds::CONNECTION_BROKEN };
        let millis = i64::try_from(self.opened.elapsed().as_millis()).unwrap_or(i64::MAX);
        let mut event = Event::new(kind)
            .with("BYTES", i64::try_from(self.received).unwrap_or(i64::MAX))
            .with("DATA", Tainted::new(&self.first, FIRST_BYTES))
            .with("DURATION_MS", millis)
            .with("SERVICE", self.port.service.name);
        if !reason.is_empty() {
            event = event.with("REASON", reason.to_owned());
        }
        if let Some(tls) = &self.tls {
            event = event
                .with("JA3", tls.ja3.clone())
                .with("JA4", tls.ja4.clone())
                .with("SNI", Tainted::new(tls.sni.as_bytes(), 255));
        }
        event
    }
}

/// What a connection is told when the sensor stops or its service is switched off.
pub(crate) const STOPPING: &str = "the service stopped";

/// A peer that reads nothing for so long is hung up on.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
const TLS_PATIENCE: Duration = Duration::from_secs(20);
/// As much as OpenCanary's banner service shows of what it was sent.
const FIRST_BYTES: usize = 255;
/// Bytes of an unfinished message that count as nothing.
pub(super) const UNCOUNTED: usize = 4096;

thread_local! {
    /// One read's worth, shared by all connections of a worker thread.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 16 * 1024].into_boxed_slice());
}
