//! What events tell of a client and of its words.

use serin_event::{Event, Tainted, Value};

use super::{Client, Face};

/// Bytes of a peer's words in an event: four times what OpenSSH takes for a password.
pub(super) const FIELD_MAX: usize = 4096;

impl Client {
    /// Adds to an event of these what is known of the client.
    pub(super) fn tell(&self, face: &Face, event: Event) -> Event {
        introduce(event, face, self.identification.clone(), self.session)
            .with("HASSH", self.offered.hassh.clone())
    }
}

/// Adds which connection an event is of, and how both sides introduced themselves where events of
/// this kind say so.
pub(super) fn introduce(event: Event, face: &Face, theirs: Tainted, session: u64) -> Event {
    let event = if event.kind.declares("LOCALVERSION") {
        event.with("LOCALVERSION", face.settings.version.clone()).with("REMOTEVERSION", theirs)
    } else {
        event
    };
    event.with("SESSION", session.to_string())
}

/// Adds a peer's words to an event, and how long those were that had to be cut.
pub(super) fn tell(event: Event, said: &[(&'static str, &[u8])]) -> Event {
    let mut cut = Vec::new();
    let mut event = event;
    for &(name, bytes) in said {
        if bytes.len() > FIELD_MAX {
            let whole = Value::Number(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
            cut.push((Tainted::new(name.as_bytes(), FIELD_MAX), whole));
        }
        event = event.with(name, Tainted::new(bytes, FIELD_MAX));
    }
    if cut.is_empty() { event } else { event.with("CUT", Value::Map(cut)) }
}
