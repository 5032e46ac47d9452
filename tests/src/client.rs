//! Client programs, and a plain socket to say what no program would.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Seconds after which a client program is ended: exit status 124. The longest comparison waits for
/// three refusals of each of many guesses.
const PATIENCE: &str = "300";

/// How a client program ended, and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Exit status; 124 when it took too long.
    pub status: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Outcome {
    /// Everything it said.
    #[must_use]
    pub fn words(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// Runs a client program to its end.
#[track_caller]
#[must_use]
pub fn client(program: &str, arguments: &[&str]) -> Outcome {
    client_in(Path::new("/"), program, arguments, "")
}

/// Runs a client program in a folder, with something on its standard input.
#[track_caller]
#[must_use]
pub fn client_in(folder: &Path, program: &str, arguments: &[&str], input: &str) -> Outcome {
    let mut child = Command::new("timeout")
        .args(["-k", "5", PATIENCE, program])
        .args(arguments)
        .current_dir(folder)
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("HOME", folder)
        .env_remove("http_proxy")
        .env_remove("https_proxy")
        .env_remove("no_proxy")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("coreutils' timeout starts");
    if let Some(mut stdin) = child.stdin.take() {
        // A client may hang up before it has heard everything.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().expect("a client ends");
    let status = output.status.code().unwrap_or(-1);
    assert!(status != 127, "{program} is not installed; ./test tools installs it");
    Outcome {
        status,
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A conversation over a plain socket; nothing waits longer than ten seconds.
#[derive(Debug)]
pub struct Talk {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Talk {
    /// Connects.
    #[track_caller]
    #[must_use]
    pub fn to(port: u16) -> Self {
        Self::with(TcpStream::connect(("127.0.0.1", port)).expect("somebody listens"))
    }

    /// Speaks over this connection.
    #[must_use]
    pub fn with(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a deadline");
        stream.set_write_timeout(Some(Duration::from_secs(10))).expect("a deadline");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, heard: Vec::new() }
    }

    /// Says something. A peer that has hung up does not hear it.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Listens until `words`, and returns everything up to and with them.
    #[track_caller]
    pub fn until(&mut self, words: impl AsRef<[u8]>) -> Vec<u8> {
        let words = words.as_ref();
        loop {
            if let Some(at) = self.heard.windows(words.len()).position(|it| it == words) {
                return self.heard.drain(..at + words.len()).collect();
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("hung up; wanted {}, heard {}", shown(words), shown(&self.heard)),
                Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
                Err(error) => panic!("{error}; wanted {}, heard {}", shown(words), shown(&self.heard)),
            }
        }
    }

    /// Listens until the peer hangs up; `None` when it does not within ten seconds.
    pub fn rest(&mut self) -> Option<Vec<u8>> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(std::mem::take(&mut self.heard)),
                Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return Some(std::mem::take(&mut self.heard));
                }
                Err(_) => return None,
            }
        }
    }

    /// Everything the peer says until it hangs up or has been silent for so long.
    pub fn while_it_speaks(&mut self, patience: Duration) -> Vec<u8> {
        self.stream.set_read_timeout(Some(patience)).expect("a deadline");
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = self.stream.read(&mut buffer) {
            self.heard.extend_from_slice(&buffer[..count]);
        }
        self.stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a deadline");
        std::mem::take(&mut self.heard)
    }

    /// Our end's port: the event's `src_port`.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.stream.local_addr().expect("a connected socket").port()
    }
}

fn shown(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}
