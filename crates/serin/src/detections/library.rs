//! The rules there are: those that come with the program (`rules/sigma/`), and the operator's.

use std::path::PathBuf;

use rust_embed::RustEmbed;

use super::files::{self, BUILT_IN, RuleFile};
use super::settings::Settings;

#[derive(RustEmbed)]
#[folder = "../../rules/sigma"]
#[include = "*.yml"]
struct Library;

/// All rule files that the settings ask for, the program's own first, and what cannot be read.
pub(crate) fn files(settings: &Settings) -> (Vec<RuleFile>, Vec<String>) {
    let mut all = if settings.builtin { built_in() } else { Vec::new() };
    let mut wrongs = Vec::new();
    for path in paths(settings) {
        let (found, wrong) = files::read(&path);
        all.extend(found);
        wrongs.extend(wrong);
    }
    (all, wrongs)
}

/// The operator's files and folders.
pub(crate) fn paths(settings: &Settings) -> Vec<PathBuf> {
    settings.rules.0.iter().map(PathBuf::from).collect()
}

/// The program's own, by name.
pub(crate) fn built_in() -> Vec<RuleFile> {
    let file = |name: &str| {
        let text = Library::get(name)?.data.into_owned();
        Some(RuleFile { name: format!("{BUILT_IN}{name}"), text })
    };
    let mut names: Vec<_> = Library::iter().collect();
    names.sort_unstable();
    names.iter().filter_map(|it| file(it)).collect()
}
