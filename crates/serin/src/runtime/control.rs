//! What another process of the operator's may ask of the running sensor, through a socket in the state
//! folder: one request, one answer, each a line of JSON.
//!
//! Whoever may open the socket may do everything with the sensor that its own user may: it is as
//! private as the folder.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader as AsyncReader};
use tokio::net::{UnixListener, UnixStream as AsyncStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Try all services, or those that are named.
    Selftest {
        #[serde(default)]
        services: Vec<String>,
    },
    /// Let an output go on behind this number.
    MoveOutput { output: String, cursor: u64 },
    /// Forget these dead letters of an output.
    ForgetDead { output: String, seqs: Vec<u64> },
}

/// A request, and where the answer goes: JSON, or why there is none.
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) answer: oneshot::Sender<Result<serde_json::Value, String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Done(serde_json::Value),
    Failed(String),
}

/// Requests are short.
const REQUEST_MAX: u64 = 4096;
/// So much is read of an answer.
const ANSWER_MAX: u64 = 4 * 1024 * 1024;
/// Whoever connects must ask within this time.
const PATIENCE: Duration = Duration::from_secs(5);
/// No answer takes longer.
const ANSWER_PATIENCE: Duration = Duration::from_mins(10);

/// Where the socket of the sensor with this state folder is.
pub(crate) fn path(state: &Path) -> PathBuf {
    state.join("control.sock")
}

/// Listens for requests. They come out of the channel.
///
/// # Errors
///
/// When the socket cannot be made; a path beyond 107 bytes is too long for the system.
pub(crate) fn listen(state: &Path) -> io::Result<mpsc::Receiver<Asked>> {
    let path = path(state);
    // What a sensor left that was killed. A running one holds the state folder's lock.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let (asking, asked) = mpsc::channel(4);
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(serve(stream, asking.clone()));
                }
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    });
    Ok(asked)
}

async fn serve(stream: AsyncStream, asking: mpsc::Sender<Asked>) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = AsyncReader::new(read.take(REQUEST_MAX));
    let Ok(Ok(_)) = timeout(PATIENCE, reader.read_line(&mut line)).await else { return };
    let answer = match serde_json::from_str(&line) {
        Ok(request) => {
            let (answer, answered) = oneshot::channel();
            let gone = || "the sensor is stopping".to_owned();
            match asking.send(Asked { request, answer }).await {
                Ok(()) => answered.await.unwrap_or_else(|_| Err(gone())),
                Err(_) => Err(gone()),
            }
        }
        Err(error) => Err(format!("this sensor does not understand that: {error}")),
    };
    let answer = match answer {
        Ok(value) => Answer::Done(value),
        Err(why) => Answer::Failed(why),
    };
    let mut text = serde_json::to_string(&answer).unwrap_or_default();
    text.push('\n');
    // Whoever asked may have gone.
    let _ = write.write_all(text.as_bytes()).await;
}

/// Asks the running sensor.
///
/// # Errors
///
/// That none runs, or what it says.
pub(crate) fn ask(state: &Path, request: &Request) -> Result<serde_json::Value, String> {
    let path = path(state);
    let stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            format!("no sensor is running with the state folder {}", state.display())
        }
        _ => format!("{}: {error}", path.display()),
    })?;
    let told = |error: io::Error| format!("the sensor does not answer: {error}");
    stream.set_read_timeout(Some(ANSWER_PATIENCE)).map_err(told)?;
    let mut line = serde_json::to_string(request).unwrap_or_default();
    line.push('\n');
    (&stream).write_all(line.as_bytes()).map_err(told)?;
    let mut text = String::new();
    BufReader::new(stream.take(ANSWER_MAX)).read_line(&mut text).map_err(told)?;
    match serde_json::from_str(&text) {
        Ok(Answer::Done(value)) => Ok(value),
        Ok(Answer::Failed(why)) => Err(why),
        Err(_) => Err("the sensor ended before it answered".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_asked_is_answered_and_nonsense_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut asked = listen(folder.path()).unwrap();
        let state = folder.path().to_owned();
        let request = Request::Selftest { services: vec!["ssh".to_owned()] };
        let asking = tokio::task::spawn_blocking({
            let (state, request) = (state.clone(), request.clone());
            move || ask(&state, &request)
        });
        let got = asked.recv().await.unwrap();
        assert_eq!(got.request, request);
        got.answer.send(Ok(serde_json::json!({ "fine": true }))).unwrap();
        assert_eq!(asking.await.unwrap().unwrap(), serde_json::json!({ "fine": true }));

        let mut stream = AsyncStream::connect(path(&state)).await.unwrap();
        stream.write_all(b"{\"do\": \"dance\"}\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(
            text.starts_with("{\"failed\":\"this sensor does not understand that: unknown variant"),
            "{text}"
        );

        let nowhere = ask(Path::new("/nowhere"), &request).unwrap_err();
        assert_eq!(nowhere, "no sensor is running with the state folder /nowhere");
    }
}
