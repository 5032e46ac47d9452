//! The small file beside the database: who writes, and which numbers are used up.
//!
//! A sequence number that has left the sensor must never name another event, even when the database
//! is lost or SQLite silently drops the damaged end of its write-ahead log. So the highest number
//! stands a second time in `serin.db.mark`: numbers are reserved here in blocks (synced) before they
//! are used, and the last one committed is noted after each batch (not synced: the note survives
//! the death of the process, and after a power cut the reservation decides).
//!
//! The file is also the lock against a second writer, and holds its process id.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::Error;

/// Numbers reserved at a time: one synced write per so many events, and at most so large a hole in
/// the numbers after a loss.
pub(crate) const BLOCK: u64 = 10_000;

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Noted {
    /// No number above this one was ever used.
    pub(crate) reserved: u64,
    /// This number was committed.
    pub(crate) acknowledged: u64,
    /// Whether the last writer ended orderly.
    pub(crate) clean: bool,
    /// Whether the last writer synced each commit.
    pub(crate) synced: bool,
    /// Whether the machine has not been restarted since.
    pub(crate) same_boot: bool,
}

/// The open, locked file.
#[derive(Debug)]
pub(crate) struct Mark {
    file: File,
    path: PathBuf,
    boot: String,
    noted: Noted,
}

impl Mark {
    /// Takes the lock of the database at `path` and reads what the last writer noted; `None` when
    /// there was none, or nothing legible.
    pub(crate) fn lock(path: &Path, synced: bool) -> Result<(Self, Option<Noted>), Error> {
        let beside = beside(path, ".mark");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&beside)
            .map_err(Error::io("open", &beside))?;
        let mut bytes = Vec::new();
        (&mut file).take(1024).read_to_end(&mut bytes).map_err(Error::io("read", &beside))?;
        let text = String::from_utf8_lossy(&bytes);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = value(&text, "pid").and_then(|it| it.parse().ok());
                return Err(Error::Locked { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", &beside)(source)),
        }
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot = boot.trim().to_owned();
        let before = parse(&text, &boot);
        let noted = Noted { clean: false, synced, same_boot: true, ..before.unwrap_or_default() };
        Ok((Self { file, path: beside, boot, noted }, before))
    }

    /// Makes sure that numbers up to `last` are reserved.
    pub(crate) fn reserve(&mut self, last: u64) -> Result<(), Error> {
        if last <= self.noted.reserved {
            return Ok(());
        }
        let before = self.noted.reserved;
        self.noted.reserved = last.saturating_add(BLOCK);
        let written = self.write().and_then(|()| self.file.sync_data());
        written.map_err(|source| {
            self.noted.reserved = before;
            Error::io("write", &self.path)(source)
        })
    }

    /// Notes that `last` is committed. A failure is not told: the reservation covers the number,
    /// and only the exact extent of a later loss would be unknown.
    pub(crate) fn acknowledge(&mut self, last: u64) {
        self.noted.acknowledged = last;
        let _ = self.write();
    }

    fn write(&self) -> std::io::Result<()> {
        // Always the same length, so that a rewrite never moves a block of the file.
        let Noted { reserved, acknowledged, clean, synced, .. } = self.noted;
        let text = format!(
            "serin-mark 1\nreserved {reserved:020}\nacknowledged {acknowledged:020}\nclean {}\nsynced {}\npid {:010}\nboot {:<36}\n",
            u8::from(clean),
            u8::from(synced),
            std::process::id(),
            self.boot,
        );
        self.file.write_all_at(text.as_bytes(), 0)
    }
}

/// Runs after the database is closed, because the store drops its fields in order.
impl Drop for Mark {
    fn drop(&mut self) {
        self.noted.clean = true;
        if self.noted.synced {
            self.noted.reserved = self.noted.acknowledged;
        }
        let _ = self.write().and_then(|()| self.file.sync_data());
        // Closing is not enough while a forked process that has not called exec yet shares the file.
        let _ = self.file.unlock();
    }
}

fn parse(text: &str, boot: &str) -> Option<Noted> {
    let number = |name| value(text, name)?.parse::<u64>().ok();
    value(text, "serin-mark").filter(|it| *it == "1")?;
    let noted = Noted {
        reserved: number("reserved")?,
        acknowledged: number("acknowledged")?,
        clean: number("clean")? == 1,
        synced: number("synced")? == 1,
        same_boot: value(text, "boot")? == boot,
    };
    // Anything else was not written by us.
    (noted.acknowledged <= noted.reserved && noted.reserved < u64::MAX / 4).then_some(noted)
}

fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::trim)
}

/// The path of a file that belongs to the database at `path`.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_writer_noted_the_next_one_reads() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("serin.db");
        let (mut mark, before) = Mark::lock(&path, true).unwrap();
        assert_eq!(before, None);
        mark.reserve(7).unwrap();
        mark.acknowledge(7);
        let killed = std::fs::read_to_string(beside(&path, ".mark")).unwrap();
        drop(mark);
        let (mark, before) = Mark::lock(&path, false).unwrap();
        let closed = Noted { reserved: 7, acknowledged: 7, clean: true, synced: true, same_boot: true };
        assert_eq!(before, Some(closed));
        drop(mark);

        std::fs::write(beside(&path, ".mark"), &killed).unwrap();
        let (_, before) = Mark::lock(&path, true).unwrap();
        assert_eq!(before, Some(Noted { reserved: 7 + BLOCK, clean: false, ..closed }));

        let boot = killed.lines().last().unwrap().trim_start_matches("boot ").trim();
        assert!(parse(&killed, boot).unwrap().same_boot);
        assert!(!parse(&killed, "another").unwrap().same_boot);
        for length in 0..killed.len() - "boot".len() - 40 {
            assert_eq!(parse(&killed[..length], boot), None, "torn after {length} bytes");
        }
        let impossible = killed.replace("acknowledged 0", "acknowledged 9");
        assert_eq!(parse(&impossible, boot), None);
    }

    #[test]
    fn numbers_are_reserved_in_blocks() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("serin.db");
        let (mut mark, _) = Mark::lock(&path, true).unwrap();
        mark.reserve(1).unwrap();
        let first = std::fs::read(beside(&path, ".mark")).unwrap();
        mark.reserve(BLOCK).unwrap();
        assert_eq!(std::fs::read(beside(&path, ".mark")).unwrap(), first, "nothing to write yet");
        mark.reserve(BLOCK + 2).unwrap();
        assert_eq!(mark.noted.reserved, 2 * BLOCK + 2);
    }
}
