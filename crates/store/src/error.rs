//! What can go wrong with the store, by what the caller can do about it.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{ErrorCode, ffi};

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not what was written. [`crate::Store::replace`] starts a new one.
    #[error("the event store {} is damaged: {reason}", path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// SQLite's words, or ours.
        reason: String,
    },
    /// The file system took no more bytes. Nothing of the request was stored; it can be repeated.
    #[error("no space left to write the event store {}", path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// Another process writes to this store.
    #[error("the event store {} is in use by {}", path.display(), holder(*pid))]
    Locked {
        /// The database.
        path: PathBuf,
        /// The process that holds it, if it could be read.
        pid: Option<u32>,
    },
    /// A database, but of another program.
    #[error("{} is a database of another program; move it away or choose another state directory", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// Written by a version that knows more.
    #[error(
        "the event store {} has format {found}, this version knows up to {known}; use the newer Serin",
        path.display()
    )]
    TooNew {
        /// The database.
        path: PathBuf,
        /// The file's format.
        found: i32,
        /// The newest one that is understood.
        known: i32,
    },
    /// There is no store yet.
    #[error("there is no event store at {}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A question took longer than [`crate::Reader::set_patience`] allows.
    #[error("the question to the event store took too long")]
    Slow,
    /// The file system refused something.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Anything else that SQLite reports.
    #[error("the event store {} failed: {source}", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// SQLite's answer.
        source: rusqlite::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl Error {
    /// Sorts SQLite's errors by what can be done about them.
    pub(crate) fn from_sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            // From the third on: our SQL is fixed and tested, so when a table, a column or a row that
            // it needs is not there, or has a wrong type, the list of tables or a page is damaged.
            Some(
                ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::Unknown
                | ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch,
            )
            | None => Self::Corrupt { path, reason: source.to_string() },
            Some(ErrorCode::DiskFull) => Self::Full { path },
            // A quota or a file size limit: other numbers, same meaning.
            Some(ErrorCode::SystemIoFailure)
                if matches!(
                    source.sqlite_extended_error_code(),
                    Some(ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE)
                ) =>
            {
                Self::Full { path }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { path, pid: None },
            Some(ErrorCode::OperationInterrupted) => Self::Slow,
            _ => Self::Sqlite { path, source },
        }
    }

    /// For `map_err` on a file operation.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { path }
            }
            _ => Self::Io { what, path, source },
        }
    }
}
