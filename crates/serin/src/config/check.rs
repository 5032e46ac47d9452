//! `serin check`: everything that is wrong with a configuration, or worth knowing of it.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serin_event::Tainted;

use super::report::name_of;
use super::{
    Catalogue, Complaints, Config, Dialect, Disk, Environment, NOTHING_STARTED, Selection, load_with, search,
};
use crate::detections::settings::Settings as Detection;
use crate::detections::{engine, library};

/// Checks the configuration that `selection` finds, and tells. Exit status 0 or 1.
pub fn check(selection: &Selection, environment: &Environment, out: &mut dyn Write) -> ExitCode {
    let disk =
        Disk { folder: &search::folder, log_file: &log_file, detection: &detection, rules: &search::rules };
    let result = load_with(Catalogue::whole(), selection, environment, &disk);
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

/// What is worth knowing of the detection rules: which cannot be read or used, and which names of rules
/// that are to take no part name none. A start does not ask: detection says it in the log when it reads
/// them.
fn detection(settings: &Detection) -> Vec<(&'static str, String)> {
    const RULES: &str = "detection.rules";
    if !settings.enabled {
        return Vec::new();
    }
    let (files, wrongs) = library::files(settings);
    let pack = engine::pack(&files, settings);
    let refused = pack.refused.iter().map(|it| format!("{}: refused: {}", it.place, it.why));
    let mut notes: Vec<_> = wrongs
        .into_iter()
        .chain(refused)
        .map(|it| (RULES, Tainted::new(it.as_bytes(), it.len()).shown(SHOWN)))
        .collect();
    if let Some(more) = notes.len().checked_sub(NAMED).filter(|it| *it > 0) {
        notes.truncate(NAMED);
        notes.push((RULES, format!("and {more} more; see `serin rules check`")));
    }
    let singles = pack.rules.iter().map(|it| &it.meta);
    let metas: Vec<_> = singles.chain(pack.correlations.iter().map(|it| &it.meta)).collect();
    for name in &settings.disable.0 {
        let is_it = |it: &String| it.eq_ignore_ascii_case(name);
        let in_use = metas.iter().any(|it| is_it(&it.title) || it.id.as_ref().is_some_and(is_it));
        let refused = pack.refused.iter().any(|it| it.rule.as_ref().is_some_and(is_it));
        if !in_use && !refused {
            notes.push(("detection.disable", format!("no rule has the id or the title {name:?}")));
        }
    }
    notes
}

/// Rules that are named with what is wrong; of SigmaHQ's thousands it may be many.
const NAMED: usize = 20;
/// Characters of what is said of one.
const SHOWN: usize = 1000;

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
