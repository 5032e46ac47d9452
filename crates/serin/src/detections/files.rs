//! The files that rules come from: those of the program, and the operator's.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::OFlag;

/// A file with rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuleFile {
    /// As the operator would name it.
    pub(crate) name: String,
    /// Whatever is in it.
    pub(crate) text: Vec<u8>,
}

/// How the names of the program's own rule files begin.
pub(crate) const BUILT_IN: &str = "built-in/";

/// What is in a file or in the files of a folder, by name. A file that cannot be read is named with the
/// reason; what is no rule file by its name is left out, and so is what is hidden.
pub(crate) fn read(path: &Path) -> (Vec<RuleFile>, Vec<String>) {
    let (paths, mut wrongs) = list(path);
    let mut files = Vec::with_capacity(paths.len());
    let mut left = BYTES;
    for path in paths {
        match read_one(&path, left) {
            Ok(text) => {
                left = left.saturating_sub(text.len() as u64);
                files.push(RuleFile { name: path.display().to_string(), text });
            }
            Err(error) => wrongs.push(format!("{}: {error}", path.display())),
        }
    }
    (files, wrongs)
}

fn read_one(path: &Path, left: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let most = LARGEST.min(left);
    // A pipe or a device by such a name would be waited for without end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let file = fs::File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    file.take(most.saturating_add(1)).read_to_end(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::other(if left < LARGEST {
            "there are more than 64 MiB of rules before it"
        } else {
            "it is larger than 1 MiB"
        }));
    }
    Ok(text)
}

/// When each file was last changed: differs when one was changed, added or taken away.
pub(crate) fn changed(paths: &[PathBuf]) -> Vec<(PathBuf, Option<SystemTime>)> {
    let files = paths.iter().flat_map(|it| list(it).0);
    files.map(|it| (it.clone(), fs::metadata(&it).and_then(|it| it.modified()).ok())).collect()
}

/// The rule files at a path, and what is wrong with it. Links to folders are not followed.
fn list(path: &Path) -> (Vec<PathBuf>, Vec<String>) {
    let mut wrongs = Vec::new();
    if !path.is_dir() {
        return match fs::metadata(path) {
            Ok(_) => (vec![path.to_owned()], wrongs),
            Err(error) => (Vec::new(), vec![format!("{}: {error}", path.display())]),
        };
    }
    let mut files = Vec::new();
    let mut folders = vec![(path.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                wrongs.push(format!("{}: {error}", folder.display()));
                continue;
            }
        };
        for entry in entries.filter_map(Result::ok) {
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let is_folder = entry.file_type().is_ok_and(|it| it.is_dir());
            if hidden {
                continue;
            }
            if is_folder && depth < DEPTH {
                folders.push((entry.path(), depth + 1));
            } else if !is_folder && holds_rules(&entry.path()) {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    if files.len() > FILES {
        wrongs.push(format!("{}: of {} files the first {FILES} are read", path.display(), files.len()));
        files.truncate(FILES);
    }
    (files, wrongs)
}

fn holds_rules(path: &Path) -> bool {
    path.extension().is_some_and(|it| it.eq_ignore_ascii_case("yml") || it.eq_ignore_ascii_case("yaml"))
}

/// SigmaHQ's whole repository has 4,000.
const FILES: usize = 20_000;
const DEPTH: usize = 16;
/// A rule has 2 KiB.
const LARGEST: u64 = 1 << 20;
const BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_whole_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("web/b.yml", "b");
        write("a.yaml", "a");
        write("README.md", "no rule");
        write(".github/workflow.yml", "no rule");
        let (files, wrongs) = read(folder.path());
        let texts: Vec<_> = files.iter().map(|it| it.text.as_slice()).collect();
        assert_eq!((texts, wrongs), (vec![&b"a"[..], b"b"], vec![]));
        let before = changed(&[folder.path().to_owned()]);
        write("web/c.yml", "c");
        assert_ne!(changed(&[folder.path().to_owned()]), before);
    }

    #[test]
    fn what_cannot_be_read_is_named_and_the_rest_is_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yml"), "a").unwrap();
        fs::write(folder.path().join("big.yml"), vec![b'#'; (1 << 20) + 1]).unwrap();
        let (files, wrongs) = read(folder.path());
        assert_eq!(files.len(), 1);
        assert!(wrongs.iter().any(|it| it.ends_with("big.yml: it is larger than 1 MiB")), "{wrongs:?}");
        let (files, wrongs) = read(&folder.path().join("nowhere"));
        assert!(files.is_empty() && wrongs.len() == 1, "{wrongs:?}");
    }

    #[test]
    fn what_is_no_regular_file_is_named_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.yml"), "a").unwrap();
        nix::unistd::mkfifo(&at("pipe.yml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket.yml")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("zero.yml")).unwrap();
        std::os::unix::fs::symlink(at("a.yml"), at("z.yml")).unwrap();
        let (files, wrongs) = read(folder.path());
        assert_eq!(files.len(), 2, "the file, and the link to it: {files:?}");
        let wanted = ["pipe.yml", "socket.yml", "zero.yml"]
            .map(|it| format!("{}: it is no regular file", at(it).display()));
        assert_eq!(wrongs, wanted);
        assert_eq!(read(&at("pipe.yml")).1, wanted[..1]);
    }
}
