//! The journal of systemd, in its native protocol: one datagram for each event.
//!
//! An entry that is too large for a datagram goes as a sealed file in memory, whose descriptor is
//! sent instead. See systemd's "Native Journal Protocol".

use std::fs::File;
use std::io::{self, IoSlice, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::digest;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use serde_json::Value;
use serin_event::Record;
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use super::encode::{self, Format};
use super::{Batch, Carries, Delivery, Item, Later, Outcome, Output, OutputType, Passwords, event_id};
use crate::incidents::USERS;
use crate::outputs::syslog::message::severity;

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "journald",
    about: "The journal of systemd, with a field for everything that is searched for",
    keys: &[Settings::KEYS, encode::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Keep,
    batch: Batch { events: 256, bytes: 1024 * 1024, linger: Duration::ZERO },
    build,
};

settings! { "journald" {
    /// The journal's socket.
    socket: String = "/run/systemd/journal/socket".into();
    /// The name under which entries come: `journalctl -t serin`.
    identifier: String = "serin".into();
} }

/// The journal has this long to take one entry.
const WRITE: Duration = Duration::from_secs(5);
/// Bytes of the name in `SERIN_USERNAME`.
const USER_MAX: usize = 256;

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let format = Format::of(conf)?;
    if !settings.socket.starts_with('/') {
        let text = "wants the absolute path of a socket".to_owned();
        return Err(vec![Complaint { key: "journald.socket".to_owned(), text }]);
    }
    Ok(Box::new(Journald {
        path: settings.socket.into(),
        identifier: settings.identifier,
        format,
        socket: None,
    }))
}

#[derive(Debug)]
struct Journald {
    path: PathBuf,
    identifier: String,
    format: Format,
    socket: Option<UnixDatagram>,
}

impl Journald {
    /// One entry; a journal that was restarted is found again.
    async fn send(&mut self, entry: &[u8]) -> Outcome {
        let mut old = self.socket.is_some();
        loop {
            match timeout(WRITE, self.attempt(entry)).await {
                Ok(Ok(())) => return Outcome::Delivered,
                Ok(Err(_)) if old => {}
                Ok(Err(error)) => {
                    self.socket = None;
                    return Outcome::retry(format!("writing to {}: {error}", self.path.display()));
                }
                Err(_) => return Outcome::retry("the journal does not read"),
            }
            (self.socket, old) = (None, false);
        }
    }

    async fn attempt(&mut self, entry: &[u8]) -> io::Result<()> {
        let socket = if let Some(socket) = self.socket.take() {
            socket
        } else {
            let socket = UnixDatagram::unbound()?;
            socket.connect(&self.path)?;
            socket
        };
        let socket = self.socket.insert(socket);
        let too_large = |error: &io::Error| {
            [Errno::EMSGSIZE, Errno::ENOBUFS].iter().any(|it| error.raw_os_error() == Some(*it as i32))
        };
        match socket.send(entry).await {
            Ok(_) => Ok(()),
            Err(error) if too_large(&error) => {
                let file = sealed(entry)?;
                socket.async_io(Interest::WRITABLE, || pass(socket, &file)).await
            }
            Err(error) => Err(error),
        }
    }
}

/// A file in memory that nobody can change any more: the journal takes no other.
fn sealed(entry: &[u8]) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create("serin-journal", flags)?);
    file.write_all(entry)?;
    let seals =
        SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// Sends the descriptor, and nothing else.
fn pass(socket: &UnixDatagram, file: &OwnedFd) -> io::Result<()> {
    let descriptors = [file.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&descriptors)];
    let nothing: [IoSlice<'_>; 0] = [];
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &nothing, &control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

impl Output for Journald {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        let port = |port: Option<u16>| port.map(|it| it.to_string()).unwrap_or_default();
        let mut entry = Vec::with_capacity(1024);
        for (name, value) in [
            ("MESSAGE", self.format.encode(record)),
            ("PRIORITY", severity(record).to_string()),
            ("SYSLOG_IDENTIFIER", self.identifier.clone()),
            ("SYSLOG_FACILITY", "16".to_owned()),
            ("MESSAGE_ID", message_id(record.kind.service)),
            ("SERIN_EVENT_ID", event_id(record)),
            ("SERIN_NODE_ID", record.node_id.to_string()),
            ("SERIN_LOGTYPE", record.kind.logtype.to_string()),
            ("SERIN_KIND", record.kind.name.to_owned()),
            ("SERIN_SERVICE", record.kind.service.to_owned()),
            ("SERIN_SEVERITY", record.severity().name().to_owned()),
            ("SERIN_SRC_HOST", record.source.host_text()),
            ("SERIN_SRC_PORT", port(record.source.port)),
            ("SERIN_DST_HOST", record.target.host_text()),
            ("SERIN_DST_PORT", port(record.target.port)),
            ("SERIN_USERNAME", user(record)),
            ("SERIN_SELFTEST", if record.is_selftest() { "1".to_owned() } else { String::new() }),
        ] {
            field(&mut entry, name, &value);
        }
        Some(entry)
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(async move {
            let mut outcomes = Vec::with_capacity(batch.len());
            for item in batch {
                let outcome = self.send(&item.body).await;
                outcomes.push(outcome.clone());
                if outcome != Outcome::Delivered {
                    outcomes.resize(batch.len(), outcome);
                    break;
                }
            }
            Delivery::Each(outcomes)
        })
    }

    fn reopen(&mut self) -> Later<'_, ()> {
        self.socket = None;
        Box::pin(std::future::ready(()))
    }

    fn confirms(&self) -> &'static str {
        "taken by the journal's socket"
    }
}

/// The name somebody tried to log in with; empty where there is none.
fn user(record: &Record) -> String {
    let logdata: Value = serde_json::from_str(&record.logdata).unwrap_or_default();
    let name = USERS.iter().find_map(|it| logdata.get(*it)?.as_str()).unwrap_or_default();
    name.get(..name.floor_char_boundary(USER_MAX)).unwrap_or_default().to_owned()
}

/// The same for all events of one service, and for no others: a UUID of version 8 (RFC 9562) made of
/// the service's name.
fn message_id(service: &str) -> String {
    let hash = digest::digest(&digest::SHA256, format!("serin.event.{service}").as_bytes());
    let mut id = [0; 16];
    id.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    let id = u128::from_be_bytes(id);
    let id = id & !(0xf << 76) & !(0x3 << 62) | (0x8 << 76) | (0x2 << 62);
    format!("{id:032x}")
}

/// `NAME=value`, or the form with a length where the value has more than one line.
fn field(entry: &mut Vec<u8>, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&u64::try_from(value.len()).unwrap_or(0).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use serin_event::{Endpoint, Event, Tainted, Timestamp, kinds};

    use super::*;

    fn login(user: &[u8]) -> Record {
        let event = Event::new(&kinds::FTP_LOGIN)
            .with("USERNAME", Tainted::new(user, 64))
            .with("PASSWORD", Tainted::new(b"s3cret", 64));
        Record {
            seq: 7,
            source: Endpoint { host: "192.0.2.7".parse().ok(), port: Some(42350) },
            ..Record::of(&event, Timestamp(1_795_296_991_777_389), 0, "node")
        }
    }

    fn journald() -> Box<dyn Output> {
        build(&Conf::new()).unwrap()
    }

    #[test]
    fn an_entry_has_a_field_for_everything() {
        let record = login(b"admin");
        let entry = String::from_utf8(journald().encode(&record).unwrap()).unwrap();
        let expected = format!(
            "MESSAGE={}\nPRIORITY=4\nSYSLOG_IDENTIFIER=serin\nSYSLOG_FACILITY=16\nMESSAGE_ID={}\n\
             SERIN_EVENT_ID=node-7\nSERIN_NODE_ID=node\nSERIN_LOGTYPE=2000\nSERIN_KIND=ftp.login\n\
             SERIN_SERVICE=ftp\nSERIN_SEVERITY=high\nSERIN_SRC_HOST=192.0.2.7\nSERIN_SRC_PORT=42350\n\
             SERIN_USERNAME=admin\n",
            record.line(),
            message_id("ftp"),
        );
        assert_eq!(entry, expected.replace("\n             ", "\n"));
    }

    #[test]
    fn a_value_of_several_lines_brings_its_length() {
        let entry = journald().encode(&login(b"a\nPRIORITY=0")).unwrap();
        let forged = b"SERIN_USERNAME\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n";
        assert!(entry.ends_with(forged), "{}", String::from_utf8_lossy(&entry));
    }

    #[test]
    fn message_ids_are_fixed_and_differ() {
        let id = message_id("ftp");
        assert_eq!((id.len(), id.get(12..13)), (32, Some("8")));
        assert!(id.get(16..17).is_some_and(|it| "89ab".contains(it)), "{id}");
        assert_eq!(id, message_id("ftp"));
        assert_ne!(id, message_id("ssh"));
    }
}
