//! `serin check`: everything that is wrong with a configuration, or worth knowing of it.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::report::name_of;
use super::{Catalogue, Complaints, Config, Dialect, Environment, NOTHING_STARTED, Selection, load_with};

/// Checks the configuration that `selection` finds, and tells. Exit status 0 or 1.
pub fn check(selection: &Selection, environment: &Environment, out: &mut dyn Write) -> ExitCode {
    let result = load_with(Catalogue::whole(), selection, environment, &log_file);
    let status = if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    match tell(&result, out) {
        Ok(()) => status,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What is wrong with the path of a log file. A start does not ask: the folder may come later, and
/// detection does not wait for it.
fn log_file(path: &Path) -> Option<String> {
    if path.is_dir() {
        return Some(format!("{} is a folder, not a file", path.display()));
    }
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty())?;
    match std::fs::metadata(folder) {
        Ok(it) if it.is_dir() => None,
        Ok(_) => Some(format!("{} is no folder", folder.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(format!("there is no folder {}", folder.display()))
        }
        // Whoever checks may not be who runs.
        Err(_) => None,
    }
}

pub(crate) fn tell(result: &Result<Config, Complaints>, out: &mut dyn Write) -> io::Result<()> {
    let config = match result {
        Ok(config) => config,
        Err(complaints) => return writeln!(out, "{complaints}\n{NOTHING_STARTED}"),
    };
    let file = match config.dialect {
        Dialect::Demo => "no configuration found, the demo profile".to_owned(),
        Dialect::Native | Dialect::OpenCanary => name_of(config.file.as_deref()),
    };
    match config.notes.len() {
        0 => writeln!(out, "{file}: fine"),
        count => {
            let things = if count == 1 { "thing" } else { "things" };
            writeln!(out, "{file}: fine, with {count} {things} to know\n")?;
            config.notes.iter().try_for_each(|it| writeln!(out, "  {it}"))
        }
    }
}
