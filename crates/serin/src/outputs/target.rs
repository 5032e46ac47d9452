//! The open file behind the file output: appending, reopening, rotating, looking back.
//!
//! Everything here blocks, and runs on the output's own thread.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, OFlag, fcntl};
use nix::unistd::{AccessFlags, faccessat};

use super::Owner;
use super::rotation::{self, Schedule, with};

/// When the file is rotated and what becomes of the old ones.
#[derive(Debug)]
pub(crate) struct Rotation {
    /// Bytes; 0: not by size.
    pub(crate) max_size: u64,
    /// `None`: not by time.
    pub(crate) schedule: Option<Schedule>,
    /// 0: all.
    pub(crate) keep: u32,
    pub(crate) compress: bool,
}

/// Why a line was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Space may be made, a drive may come back.
    Retry(String),
    /// The operator must put it right.
    Hold(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Retry(why) | Self::Hold(why)) = self;
        f.write_str(why)
    }
}

/// What became of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Appended {
    /// So many lines, from the first, are whole in the file.
    pub(crate) lines: usize,
    /// Why the rest is not.
    pub(crate) failure: Option<Failure>,
    pub(crate) warning: Option<String>,
}

/// A path, and the file that is open there.
#[derive(Debug)]
pub(crate) struct Target {
    path: PathBuf,
    mode: u32,
    truncate: bool,
    rotation: Rotation,
    /// Who owns what is created.
    pub(crate) owner: Option<Owner>,
    open: Option<Open>,
    /// Whether the file may end in the middle of a line.
    ragged: bool,
    /// What the last call wrote, for a caller that did not hear of it.
    last: Vec<u8>,
    warning: Option<String>,
    compressing: Option<JoinHandle<io::Result<()>>>,
    clock: Clock,
}

/// Where the time comes from.
#[derive(Debug, Clone, Copy)]
enum Clock {
    System,
    #[cfg(test)]
    Frozen(i64),
}

impl Clock {
    /// Seconds since the epoch.
    fn now(self) -> i64 {
        match self {
            Self::System => jiff::Timestamp::now().as_second(),
            #[cfg(test)]
            Self::Frozen(seconds) => seconds,
        }
    }
}

#[derive(Debug)]
struct Open {
    file: File,
    device: u64,
    inode: u64,
    /// Not a device or a pipe.
    regular: bool,
}

impl Target {
    pub(crate) fn new(path: PathBuf, mode: u32, truncate: bool, rotation: Rotation) -> Self {
        Self {
            path,
            mode,
            truncate,
            rotation,
            owner: None,
            open: None,
            ragged: false,
            last: Vec::new(),
            warning: None,
            compressing: None,
            clock: Clock::System,
        }
    }

    /// Appends whole lines, with one write for each file they go to. When `unsure`, the batch may
    /// begin with what the last call wrote.
    pub(crate) fn append(&mut self, lines: &[Vec<u8>], unsure: bool) -> Appended {
        let known = std::mem::take(&mut self.last);
        let mut done = if unsure { whole_lines(lines, &known) } else { 0 };
        let mut failure = None;
        while failure.is_none() && done < lines.len() {
            let rest = lines.get(done..).unwrap_or_default();
            match self.append_to_one_file(rest) {
                Ok(count) => done += count,
                Err((count, why)) => {
                    done += count;
                    failure = Some(why);
                }
            }
        }
        self.last = lines.get(..done).unwrap_or_default().concat();
        let warning = self.warning.clone().or_else(|| self.never_rotated());
        Appended { lines: done, failure, warning }
    }

    /// Why the file will not be rotated when that is due; so that it is known before.
    fn never_rotated(&self) -> Option<String> {
        let wanted = self.rotation.max_size > 0 || self.rotation.schedule.is_some();
        let regular = self.open.as_ref().is_some_and(|it| it.regular);
        let folder = self.path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let how = AccessFlags::W_OK | AccessFlags::X_OK;
        let may = || faccessat(AT_FDCWD, folder, how, AtFlags::AT_EACCESS) != Err(Errno::EACCES);
        (wanted && regular && !may()).then(|| {
            format!("cannot rotate {} when it is time: its folder may not be written to", self.path.display())
        })
    }

    /// Opens the file if it is not open, or no longer the one at its path.
    pub(crate) fn ready(&mut self) -> Result<(), Failure> {
        if let Some(open) = &self.open {
            match fs::metadata(&self.path) {
                Ok(there) if (there.dev(), there.ino()) == (open.device, open.inode) => return Ok(()),
                _ => {}
            }
        }
        match self.open_path() {
            Ok(open) => {
                self.warning = None;
                self.adopt(open)
            }
            Err(error) => {
                let why = self.explain(&error);
                // Moved away, and no new one can be made: it still takes lines, unless it was deleted.
                let linked =
                    self.open.as_ref().is_some_and(|it| it.file.metadata().is_ok_and(|it| it.nlink() > 0));
                if linked {
                    self.warning = Some(format!("still writing to the file that was moved away: {why}"));
                    return Ok(());
                }
                self.open = None;
                Err(why)
            }
        }
    }

    /// Closes the file, so that the next line opens what is at the path then.
    pub(crate) fn reopen(&mut self) {
        // What cannot be opened must not cost the file that is open.
        let _ = self.sync();
        let _ = self.ready();
    }

    /// Makes what was written survive a power cut.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        match &self.open {
            Some(open) if open.regular => open.file.sync_data(),
            _ => Ok(()),
        }
    }

    /// The last whole lines of the log, oldest first, without their endings.
    pub(crate) fn last_lines(&mut self) -> Vec<Vec<u8>> {
        let mut text = tail_of(&self.path).unwrap_or_default();
        if text.len() < LOOK_BACK
            && let Some(before) = self.predecessor()
        {
            let mut older = tail_of(&before).unwrap_or_default();
            older.append(&mut text);
            text = older;
        }
        let Some(end) = text.iter().rposition(|it| *it == b'\n') else { return Vec::new() };
        text.truncate(end);
        text.split(|it| *it == b'\n').map(<[u8]>::to_vec).collect()
    }

    /// The youngest rotated file.
    fn predecessor(&self) -> Option<PathBuf> {
        if let Some(schedule) = &self.rotation.schedule {
            return rotation::dated_files(&self.path, schedule.every).pop();
        }
        [with(&self.path, "1"), with(&self.path, "1.gz")].into_iter().find(|it| it.exists())
    }
}

/// How much of a log is looked at to find what was written last.
const LOOK_BACK: usize = 1024 * 1024;

/// How many lines, from the first, are at the beginning of `known`.
fn whole_lines(lines: &[Vec<u8>], mut known: &[u8]) -> usize {
    lines
        .iter()
        .take_while(|line| known.strip_prefix(line.as_slice()).map(|rest| known = rest).is_some())
        .count()
}

/// The last part of a file, compressed or not.
fn tail_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(Vec::new());
    }
    let mut text = Vec::new();
    if path.extension().is_some_and(|it| it == "gz") {
        let mut reader = MultiGzDecoder::new(file);
        let mut part = vec![0; LOOK_BACK];
        loop {
            let count = reader.read(&mut part)?;
            if count == 0 {
                return Ok(text);
            }
            text.extend_from_slice(part.get(..count).unwrap_or_default());
            text.drain(..text.len().saturating_sub(LOOK_BACK));
        }
    }
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LOOK_BACK as u64)))?;
    file.take(LOOK_BACK as u64).read_to_end(&mut text)?;
    Ok(text)
}

// Opening.
impl Target {
    fn open_path(&self) -> io::Result<Open> {
        let file = match fs::metadata(&self.path) {
            Ok(there) if !there.is_file() => open_special(&self.path, &there)?,
            Ok(_) => OpenOptions::new().read(true).append(true).open(&self.path)?,
            Err(error) if error.kind() == ErrorKind::NotFound => self.create()?,
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        self.hand_over(&file, &metadata);
        Ok(Open { device: metadata.dev(), inode: metadata.ino(), regular: metadata.is_file(), file })
    }

    /// Gives a log that was root's to the user that is about to be become, who could not open it
    /// again after a rotation. Not through a link, and not a file that has another name elsewhere.
    fn hand_over(&self, file: &File, metadata: &Metadata) {
        let Some(Owner { uid, gid }) = self.owner else { return };
        let linked = fs::symlink_metadata(&self.path).map_or(true, |it| it.is_symlink());
        if metadata.is_file() && metadata.uid() == 0 && metadata.nlink() == 1 && !linked {
            // Refused where we are not root any more; then it stays as it is.
            let _ = std::os::unix::fs::fchown(file, Some(uid), Some(gid));
        }
    }

    fn create(&self) -> io::Result<File> {
        let file =
            OpenOptions::new().read(true).append(true).create(true).mode(self.mode).open(&self.path)?;
        // Whatever the umask took or left.
        file.set_permissions(Permissions::from_mode(self.mode))?;
        Ok(file)
    }

    /// Makes a freshly opened file the one that is written to.
    fn adopt(&mut self, open: Open) -> Result<(), Failure> {
        if open.regular {
            let metadata = open.file.metadata().map_err(|it| self.explain(&it))?;
            self.narrow(&open, &metadata);
            if std::mem::take(&mut self.truncate) {
                open.file.set_len(0).map_err(|it| self.explain(&it))?;
            }
            self.ragged = true;
            let now = self.clock.now();
            if let Some(schedule) = &mut self.rotation.schedule {
                schedule.start(if metadata.len() == 0 { now } else { metadata.mtime() });
            }
        }
        // The rest of a moved file is made durable before the cursor can move past it.
        let _ = self.sync();
        self.open = Some(open);
        Ok(())
    }

    /// Captured passwords are not for everyone's eyes, whoever created the file.
    fn narrow(&mut self, open: &Open, metadata: &Metadata) {
        let mode = metadata.mode() & 0o777;
        let open_to_all = mode & 0o007 & !self.mode;
        if open_to_all != 0 && open.file.set_permissions(Permissions::from_mode(mode & !open_to_all)).is_err()
        {
            self.warning = Some(format!("everyone can read {}", self.path.display()));
        }
    }

    fn explain(&self, error: &io::Error) -> Failure {
        let path = self.path.display();
        let folder = self.path.parent().filter(|it| !it.as_os_str().is_empty());
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => match folder.filter(|it| !it.is_dir()) {
                Some(folder) => Failure::Hold(format!("the folder {} does not exist", folder.display())),
                None => Failure::Retry(format!("{path}: {error}")),
            },
            ErrorKind::PermissionDenied | ErrorKind::IsADirectory | ErrorKind::ReadOnlyFilesystem => {
                Failure::Hold(format!("{path}: {error}"))
            }
            _ => Failure::Retry(format!("{path}: {error}")),
        }
    }
}

/// A device or a pipe. A pipe that nobody reads is an error, not a wait.
fn open_special(path: &Path, metadata: &Metadata) -> io::Result<File> {
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    let nonblocking = OFlag::O_NONBLOCK;
    let file = OpenOptions::new().append(true).custom_flags(nonblocking.bits()).open(path)?;
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(file)
}

// Writing.
impl Target {
    /// Appends as many lines as belong into the present file, at least one.
    fn append_to_one_file(&mut self, lines: &[Vec<u8>]) -> Result<usize, (usize, Failure)> {
        self.ready().map_err(|it| (0, it))?;
        self.mend(lines).map_err(|it| (0, self.explain(&it)))?;
        let now = self.clock.now();
        if self.rotation.schedule.as_ref().is_some_and(|it| it.is_due(now)) {
            self.roll(now);
        }
        let fitting = match self.fitting(lines) {
            0 if self.roll(now) => self.fitting(lines).max(1),
            0 => lines.len(),
            count => count,
        };
        let lines = lines.get(..fitting).unwrap_or_default();
        self.write(&lines.concat()).map_err(|(written, error)| {
            self.ragged = true;
            if !self.open.as_ref().is_some_and(|it| it.regular) {
                // A pipe's reader may be another one next time.
                self.open = None;
            }
            let mut left = written;
            let whole = lines.iter().take_while(|it| {
                let fits = it.len() <= left;
                left = left.saturating_sub(it.len());
                fits
            });
            (whole.count(), self.explain(&error))
        })?;
        Ok(fitting)
    }

    /// How many of the lines the file takes before it has to be rotated.
    fn fitting(&self, lines: &[Vec<u8>]) -> usize {
        let most = self.rotation.max_size;
        let Some(open) = self.open.as_ref().filter(|it| it.regular && most > 0) else { return lines.len() };
        let mut size = open.file.metadata().map_or(0, |it| it.len());
        // As in Python, which rotates before a line that would fill the file to the last byte. An
        // empty file is never rotated: a line that is too long for any file stands alone in one.
        let mut fits = |line: &Vec<u8>| {
            let before = size;
            size = size.saturating_add(line.len() as u64);
            before == 0 || size < most
        };
        lines.iter().take_while(|it| fits(it)).count()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let Some(open) = &mut self.open else { return Err((0, ErrorKind::NotConnected.into())) };
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|it| !it.is_empty()) {
            match open.file.write(rest) {
                Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }

    /// Ends a line that a crash or a full disk cut short: with the rest of it where it is the next
    /// one to be written, else with a line ending.
    fn mend(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        let Some(open) = self.open.as_mut().filter(|it| self.ragged && it.regular) else { return Ok(()) };
        let size = open.file.metadata()?.len();
        open.file.seek(SeekFrom::Start(size.saturating_sub(LOOK_BACK as u64)))?;
        let mut tail = Vec::new();
        (&open.file).take(LOOK_BACK as u64).read_to_end(&mut tail)?;
        let start = tail.iter().rposition(|it| *it == b'\n').map_or(0, |it| it + 1);
        let fragment = tail.get(start..).unwrap_or_default();
        if !fragment.is_empty() {
            let ours = lines.first().is_some_and(|it| it.starts_with(fragment));
            if ours {
                // Cut here, written whole in a moment.
                open.file.set_len(size.saturating_sub(fragment.len() as u64))?;
            } else {
                open.file.write_all(b"\n")?;
            }
        }
        self.ragged = false;
        Ok(())
    }
}

// Rotating.
impl Target {
    /// Gives the file its old name and opens a new one. When that is not allowed, everything goes
    /// on in the present file and the operator is told.
    fn roll(&mut self, now: i64) -> bool {
        let result = self.try_roll(now);
        if let Some(schedule) = &mut self.rotation.schedule {
            schedule.turn(now);
        }
        if let Err(error) = &result {
            self.warning = Some(format!("cannot rotate {}: {error}; writing on", self.path.display()));
        }
        result.is_ok()
    }

    fn try_roll(&mut self, now: i64) -> io::Result<()> {
        let Some(open) = self.open.as_ref().filter(|it| it.regular) else { return Ok(()) };
        if open.file.metadata()?.len() == 0 {
            return Ok(());
        }
        self.finish_compressing();
        self.sync()?;
        let old = match &self.rotation.schedule {
            Some(schedule) => rotation::dated(&self.path, &schedule.stamp(now)),
            None => rotation::shift(&self.path, self.rotation.keep)?,
        };
        fs::rename(&self.path, &old)?;
        match self.open_path() {
            Ok(open) => {
                self.open = Some(open);
                self.warning = None;
            }
            Err(error) => {
                // Under its own name again, or else it is found to be moved with the next batch.
                let _ = fs::rename(&old, &self.path);
                return Err(error);
            }
        }
        if self.rotation.compress {
            self.compressing = std::thread::Builder::new()
                .name("compress-log".to_owned())
                .spawn(move || compress(&old))
                .map(Some)?;
        }
        self.prune()
    }

    /// Removes the oldest files rotated by time; those by size have gone while shifting.
    fn prune(&self) -> io::Result<()> {
        let Some(schedule) = self.rotation.schedule.as_ref().filter(|_| self.rotation.keep > 0) else {
            return Ok(());
        };
        let files = rotation::dated_files(&self.path, schedule.every);
        let surplus = files.len().saturating_sub(usize::try_from(self.rotation.keep).unwrap_or(usize::MAX));
        files.iter().take(surplus).try_for_each(fs::remove_file)
    }

    fn finish_compressing(&mut self) {
        if let Some(thread) = self.compressing.take()
            && !matches!(thread.join(), Ok(Ok(())))
        {
            self.warning = Some(format!("a rotated file of {} could not be compressed", self.path.display()));
        }
    }
}

/// Replaces a file by a compressed one.
fn compress(path: &Path) -> io::Result<()> {
    let part = with(path, "gz.part");
    let mut from = File::open(path)?;
    let permissions = from.metadata()?.permissions();
    let _ = fs::remove_file(&part);
    let to = OpenOptions::new().write(true).create_new(true).mode(permissions.mode()).open(&part)?;
    let mut encoder = GzEncoder::new(to, Compression::default());
    io::copy(&mut from, &mut encoder)?;
    let to = encoder.finish()?;
    to.set_permissions(permissions)?;
    to.sync_all()?;
    fs::rename(&part, with(path, "gz"))?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests;
