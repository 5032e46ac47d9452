//! The rules there are: those that come with the program (`rules/sigma/`), and the operator's.

use std::path::PathBuf;

use rust_embed::RustEmbed;

use super::files::{self, BUILT_IN, RuleFile};
use super::settings::Settings;

#[derive(RustEmbed)]
#[folder = "../../rules/sigma"]
#[include = "*.yml"]
struct Library;

/// What other systems can use: the rules as their queries, and how sigma-cli maps our fields to theirs.
#[derive(RustEmbed)]
#[folder = "../../rules/export"]
struct Queries;

/// Everything that can be handed on, by its path: the rules (`sigma/`), pipelines for sigma-cli
/// (`pipelines/`), and a folder of queries for each system.
pub(crate) fn exports() -> Vec<(String, Vec<u8>)> {
    let of_rules = Library::iter().filter_map(|it| Some((format!("sigma/{it}"), Library::get(&it)?)));
    let of_queries = Queries::iter().filter_map(|it| Some((it.to_string(), Queries::get(&it)?)));
    let all = of_rules.chain(of_queries).map(|(path, file)| (path, file.data.into_owned()));
    all.collect::<std::collections::BTreeMap<_, _>>().into_iter().collect()
}

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
