//! Finds and reads the files: the configuration itself, and folders that it names.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serin_services::conf::{File, Folder};

use super::environment::Environment;
use super::report::{Complaints, Note, Place};

/// A configuration is text that a person wrote.
const LARGEST_CONFIG: u64 = 4 << 20;
/// Most bytes and files of one folder.
const LARGEST_FOLDER: u64 = 64 << 20;
const MOST_FILES: usize = 5000;
/// Deepest folder inside a folder.
const DEEPEST: usize = 32;

/// Which configuration to read.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// `--config FILE`: this one and no other.
    pub config: Option<PathBuf>,
}

/// A configuration that was found.
pub(crate) struct Found {
    pub(crate) file: PathBuf,
    pub(crate) text: String,
    /// What was passed over.
    pub(crate) notes: Vec<Note>,
}

/// The places that are searched, in order, when no file is named: OpenCanary's three, each with a
/// native file before it, and the native file's own folder before all.
#[must_use]
pub fn candidates(environment: &Environment) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> =
        ["/etc/serin/serin.toml", "/etc/opencanaryd/serin.toml", "/etc/opencanaryd/opencanary.conf"]
            .map(PathBuf::from)
            .to_vec();
    if let Some(home) = environment.home() {
        places.extend([home.join(".serin.toml"), home.join(".opencanary.conf")]);
    }
    places.extend(["serin.toml", "opencanary.conf"].map(PathBuf::from));
    places
}

/// Finds and reads the configuration; `None`: there is none anywhere. A file that may not be opened
/// is passed over as OpenCanary does; one with a mistake in it is not.
pub(crate) fn find(selection: &Selection, environment: &Environment) -> Result<Option<Found>, Complaints> {
    let named = selection.config.clone().or_else(|| environment.get("SERIN_CONFIG").map(PathBuf::from));
    if let Some(file) = named {
        return match read(&file) {
            Ok(text) => Ok(Some(Found { file, text, notes: Vec::new() })),
            Err(error) => Err(Complaints::whole(Some(file), format!("cannot be read: {error}"))),
        };
    }
    first_of(candidates(environment))
}

/// The first file that can be opened.
fn first_of(candidates: Vec<PathBuf>) -> Result<Option<Found>, Complaints> {
    let mut notes = Vec::new();
    for file in candidates {
        match read(&file) {
            Ok(text) => return Ok(Some(Found { file, text, notes })),
            Err(error) if missing(&error) => {}
            Err(error) if !closed(&error) => {
                return Err(Complaints::whole(Some(file), format!("cannot be read: {error}")));
            }
            Err(error) => {
                let text = format!("{} was passed over: it cannot be read: {error}", file.display());
                notes.push(Note { place: Place::Nowhere, key: String::new(), text });
            }
        }
    }
    Ok(None)
}

fn missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether the file is there and not for us.
fn closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory)
}

/// The text of a configuration file.
pub(crate) fn read(file: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(file)?.take(LARGEST_CONFIG + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_CONFIG {
        return Err(io::Error::other("it is larger than 4 MiB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(valid).filter(|it| **it == b'\n').count() + 1;
        io::Error::new(io::ErrorKind::InvalidData, format!("line {line} is not UTF-8"))
    })
}

/// Reads a folder of the operator's into memory. Links that lead out of it are left out.
pub(crate) fn folder(path: &Path) -> io::Result<Folder> {
    let root = path.canonicalize()?;
    let mut walk = Walk { root: &root, folder: Folder::default(), bytes: 0 };
    walk.enter(&root, "", 0)?;
    Ok(walk.folder)
}

/// The text of a file of rules, or of all such files in a folder, by name.
pub(crate) fn rules(path: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    if !path.is_dir() {
        return Ok(vec![(path.to_owned(), read(path)?)]);
    }
    rule_files(path)?.into_iter().map(|it| read(&it).map(|text| (it, text))).collect()
}

/// The same of a folder in memory.
pub(crate) fn rules_in(path: &Path, folder: &Folder) -> Vec<(PathBuf, String)> {
    let texts =
        folder.0.iter().map(|(name, it)| (path.join(name), String::from_utf8_lossy(&it.bytes).into()));
    texts.filter(|it: &(PathBuf, String)| holds_rules(&it.0)).collect()
}

/// When each file of rules was last changed: differs when one was changed, added or taken away.
pub(crate) fn rules_changed(paths: &[PathBuf]) -> Vec<(PathBuf, Option<SystemTime>)> {
    let inside = |path: &PathBuf| {
        if path.is_dir() { rule_files(path).unwrap_or_default() } else { vec![path.clone()] }
    };
    let modified = |path: PathBuf| {
        let time = fs::metadata(&path).and_then(|it| it.modified()).ok();
        (path, time)
    };
    paths.iter().flat_map(inside).map(modified).collect()
}

fn rule_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<_> =
        fs::read_dir(folder)?.map(|it| it.map(|it| it.path())).collect::<Result<_, _>>()?;
    files.retain(|it| holds_rules(it));
    if files.len() > MOST_FILES {
        return Err(io::Error::other(format!("it has more than {MOST_FILES} files")));
    }
    files.sort();
    Ok(files)
}

fn holds_rules(file: &Path) -> bool {
    let hidden = file.file_name().is_some_and(|it| it.as_encoded_bytes().starts_with(b"."));
    !hidden && file.extension().is_some_and(|it| it == "toml" || it == "json")
}

struct Walk<'a> {
    root: &'a Path,
    folder: Folder,
    bytes: u64,
}

impl Walk<'_> {
    fn enter(&mut self, path: &Path, name: &str, depth: usize) -> io::Result<()> {
        if depth > DEEPEST {
            return Err(io::Error::other(format!("it is deeper than {DEEPEST} folders")));
        }
        let mut inside: Vec<_> = fs::read_dir(path)?.collect::<Result<_, _>>()?;
        inside.sort_by_key(fs::DirEntry::file_name);
        for entry in inside {
            let Ok(own) = entry.file_name().into_string() else { continue };
            let name = if name.is_empty() { own } else { format!("{name}/{own}") };
            // A dangling link, or one that leads out, is not part of the folder.
            let Ok(real) = entry.path().canonicalize() else { continue };
            if !real.starts_with(self.root) {
                continue;
            }
            let meta = fs::metadata(&real)?;
            if meta.is_dir() {
                self.enter(&real, &name, depth + 1)?;
            } else if meta.is_file() {
                self.file(&real, name, &meta)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, name: String, meta: &fs::Metadata) -> io::Result<()> {
        let mut bytes = Vec::new();
        let left = LARGEST_FOLDER - self.bytes;
        fs::File::open(path)?.take(left + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > left {
            return Err(io::Error::other("its files are larger than 64 MiB together"));
        }
        if self.folder.0.len() == MOST_FILES {
            return Err(io::Error::other(format!("it has more than {MOST_FILES} files")));
        }
        self.bytes += bytes.len() as u64;
        let modified = meta.modified().ok().and_then(|it| it.duration_since(UNIX_EPOCH).ok());
        let modified = modified.and_then(|it| i64::try_from(it.as_secs()).ok()).unwrap_or(0);
        self.folder.0.insert(name, File { bytes: Arc::from(bytes), modified });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_without_what_leads_out_of_it() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("img/deep")).unwrap();
        fs::write(root.path().join("index.html"), "<p>").unwrap();
        fs::write(root.path().join("img/deep/a.png"), "png").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), root.path().join("leak")).unwrap();
        std::os::unix::fs::symlink("index.html", root.path().join("same.html")).unwrap();
        let folder = folder(root.path()).unwrap();
        let names: Vec<_> = folder.0.keys().map(String::as_str).collect();
        assert_eq!(names, ["img/deep/a.png", "index.html", "same.html"]);
        assert_eq!(&*folder.0["same.html"].bytes, b"<p>");
        assert!(folder.0["index.html"].modified > 0);
    }

    #[test]
    fn a_folder_that_loops_ends() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(".", root.path().join("again")).unwrap();
        let error = folder(root.path()).unwrap_err().to_string();
        assert_eq!(error, "it is deeper than 32 folders");
    }

    #[test]
    fn the_native_file_comes_before_the_old_one_in_each_place() {
        let environment = Environment { variables: [("HOME".to_owned(), "/home/me".to_owned())].into() };
        let places: Vec<_> = candidates(&environment).iter().map(|it| it.display().to_string()).collect();
        assert_eq!(
            places,
            [
                "/etc/serin/serin.toml",
                "/etc/opencanaryd/serin.toml",
                "/etc/opencanaryd/opencanary.conf",
                "/home/me/.serin.toml",
                "/home/me/.opencanary.conf",
                "serin.toml",
                "opencanary.conf",
            ]
        );
    }

    #[test]
    fn the_first_file_that_can_be_read_is_taken_even_with_a_mistake_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let [missing, odd, broken, good] =
            ["missing", "odd", "broken.conf", "good.toml"].map(|it| folder.path().join(it));
        fs::create_dir(&odd).unwrap();
        fs::write(&broken, "{\"a\": 1").unwrap();
        fs::write(&good, "").unwrap();
        let found = first_of(vec![missing, odd, broken.clone(), good.clone()]).unwrap().unwrap();
        assert_eq!((found.file, found.text.as_str()), (broken.clone(), "{\"a\": 1"));
        assert_eq!(found.notes.len(), 1);
        assert!(found.notes[0].text.contains("odd was passed over: it cannot be read"), "{:?}", found.notes);
        fs::write(&broken, b"{\n\xff").unwrap();
        let error = first_of(vec![broken.clone(), good]).err().unwrap();
        assert_eq!(error.summary(), "cannot be read: line 2 is not UTF-8");
        fs::write(&broken, "{\"a\": 1").unwrap();
        let named = [("SERIN_CONFIG".to_owned(), broken.display().to_string())];
        let environment = Environment { variables: named.into() };
        let error = super::super::load(&Selection::default(), &environment).unwrap_err();
        assert_eq!(error.summary(), "1:7  the file ends too early: a } or ] is missing");
        assert_eq!(error.file, Some(broken));
    }

    #[test]
    fn a_named_file_that_is_not_there_stops() {
        let selection = Selection { config: Some("/nowhere/serin.toml".into()) };
        let complaints = find(&selection, &Environment::default()).err().unwrap();
        assert_eq!(
            complaints.to_string(),
            "/nowhere/serin.toml: 1 thing to put right\n\n  cannot be read: No such file or directory (os error 2)\n"
        );
    }
}
