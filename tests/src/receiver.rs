//! An HTTP receiver that keeps everything it is sent, and misbehaves when it is told to.
//!
//! The double of every web service that events and alerts go to. What is special about one of them
//! (credentials, limits, what it silently throws away) belongs into the closure that answers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// When its body was there.
    pub at: Instant,
    /// `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of this name (in lower case); empty when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|it| it.0 == name).map_or("", |it| &it.1)
    }

    /// The body as JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(&self.body)))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    delay: Duration,
    cut: bool,
    /// Instead of a reply in HTTP's form.
    raw: Option<Vec<u8>>,
}

impl Reply {
    /// This status and text.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), delay: Duration::ZERO, cut: false, raw: None }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Only after this time.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// These bytes, whatever they are, and then the connection is cut.
    #[must_use]
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { raw: Some(bytes.into()), ..Self::new(0, "") }
    }

    /// Nothing: the connection is cut although the request was read to its end.
    #[must_use]
    pub fn cut() -> Self {
        Self { cut: true, ..Self::new(0, "") }
    }
}

type Answer = Box<dyn FnMut(&Request) -> Reply + Send>;

struct Shared {
    seen: Mutex<Vec<Request>>,
    answer: Mutex<Answer>,
    over: AtomicBool,
}

/// A listening receiver; ends when dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Receiver {
    /// Listens on a free port of 127.0.0.1 and answers each request with what the closure says.
    #[must_use]
    pub fn start(answer: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        Self::on(0, answer)
    }

    /// The same on a port of the caller's choice: a receiver that comes back.
    #[track_caller]
    #[must_use]
    pub fn on(port: u16, answer: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            answer: Mutex::new(Box::new(answer)),
            over: AtomicBool::new(false),
        });
        let serving = shared.clone();
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if serving.over.load(Ordering::SeqCst) {
                    break;
                }
                let serving = serving.clone();
                thread::spawn(move || serving.serve(&socket));
            }
        });
        Self { address, shared }
    }

    /// `http://127.0.0.1:PORT` and this path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// All requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Request> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers otherwise from now on.
    pub fn answer(&self, answer: impl FnMut(&Request) -> Reply + Send + 'static) {
        *self.shared.answer.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(answer);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the listener up.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    /// One connection, request after request.
    fn serve(&self, socket: &TcpStream) {
        let mut reader = BufReader::new(socket);
        while let Some(request) = read(&mut reader) {
            if self.over.load(Ordering::SeqCst) {
                break;
            }
            let reply = (self.answer.lock().unwrap_or_else(PoisonError::into_inner))(&request);
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            thread::sleep(reply.delay);
            if let Some(bytes) = &reply.raw {
                let mut socket = socket;
                // Whoever does not want to hear it may have gone.
                let _ = socket.write_all(bytes);
                break;
            }
            if reply.cut || write(socket, &reply).is_err() {
                break;
            }
        }
        let _ = socket.shutdown(Shutdown::Both);
    }
}

/// One request; `None` at the end of the connection.
fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|it| *it > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|it| *it > 0)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|it| it.0 == "content-length").and_then(|it| it.1.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Request { at: Instant::now(), method, path, headers, body })
}

fn write(mut socket: &TcpStream, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Said\r\nContent-Length: {}\r\n", reply.status, reply.body.len());
    for (name, value) in &reply.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    socket.write_all(&[head.as_bytes(), &reply.body].concat())
}
