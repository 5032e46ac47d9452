//! The conventions of this repository, each held in about ten lines.
//!
//! Every list of exceptions below may only shrink: a name that is no longer needed fails too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Most lines of a file before its tests.
const FILE_LINES: usize = 600;
/// Files that are longer, for the reason given; none may pass [`FILE_LINES_HARD`].
const LONG_FILES: &[&str] = &[];
const FILE_LINES_HARD: usize = 800;
const FILE_BYTES: u64 = 100_000;
/// Files that take a peer's bytes as they came: the whole list to review for escaping.
const RAW_BYTES: &[&str] = &["crates/event/src/tainted.rs"];
/// Files of pure crates that read this repository's own test data.
const READS_TEST_DATA: &[&str] = &["crates/services/src/replay.rs"];
const CARGO_FEATURES: usize = 3;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_owned()
}

fn git(arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "safe.directory=*"])
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All files of the repository that exist, with what is not ignored but not added yet.
fn files() -> Vec<String> {
    let files: Vec<String> = git(&["ls-files", "--cached", "--others", "--exclude-standard"])
        .lines()
        .map(str::to_owned)
        .filter(|it| root().join(it).is_file())
        .collect();
    assert!(files.len() > 20, "git ls-files lists {} files", files.len());
    files
}

fn sources() -> Vec<(String, String)> {
    files()
        .into_iter()
        .filter(|it| Path::new(it).extension().is_some_and(|end| end == "rs"))
        .map(|it| (read(&it), it))
        .map(|(text, name)| (name, text))
        .collect()
}

fn read(path: &str) -> String {
    let bytes = std::fs::read(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The part of a file before its tests.
fn production(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

#[track_caller]
fn none(what: &str, sinners: &[String]) {
    assert!(sinners.is_empty(), "{what}:\n  {}", sinners.join("\n  "));
}

/// Compares who breaks a rule with the list of those who may.
#[track_caller]
fn exactly(what: &str, found: &BTreeSet<String>, allowed: &[&str]) {
    let allowed: BTreeSet<String> = allowed.iter().map(|it| (*it).to_owned()).collect();
    none(what, &found.difference(&allowed).cloned().collect::<Vec<_>>());
    none("on the list without need; take it off", &allowed.difference(found).cloned().collect::<Vec<_>>());
}

#[test]
fn every_file_opens_with_a_module_comment() {
    let sinners: Vec<_> =
        sources().into_iter().filter(|it| !it.1.starts_with("//! ")).map(|it| it.0).collect();
    none("does not open with a `//!` comment", &sinners);
}

#[test]
fn files_stay_short() {
    let lengths: Vec<_> =
        sources().into_iter().map(|(name, text)| (production(&text).lines().count(), name)).collect();
    let long = lengths.iter().filter(|it| it.0 > FILE_LINES).map(|it| it.1.clone()).collect();
    exactly("over 600 lines without its tests: make it a folder", &long, LONG_FILES);
    let hard: Vec<_> = lengths.into_iter().filter(|it| it.0 > FILE_LINES_HARD).map(|it| it.1).collect();
    none("over 800 lines without its tests", &hard);
}

#[test]
fn nothing_is_put_off_or_switched_off() {
    // Spelled apart, so that this file does not hold them.
    let words = [["TO", "DO"], ["FIX", "ME"], ["to", "do!("], ["unimplement", "ed!("], ["#[ig", "nore"]];
    let words: Vec<String> = words.iter().map(|it| it.concat()).collect();
    let mut sinners = Vec::new();
    for (name, text) in sources() {
        for (at, line) in text.lines().enumerate() {
            if words.iter().any(|it| line.contains(it.as_str())) {
                sinners.push(format!("{name}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    none("is put off", &sinners);
}

#[test]
fn every_exception_from_a_lint_has_a_reason() {
    let mut sinners = Vec::new();
    for (name, text) in sources() {
        for opening in ["#[allow(", "#![allow(", "#[expect(", "#![expect("] {
            for attribute in text.split(opening).skip(1) {
                let attribute = attribute.split(")]").next().unwrap_or_default();
                if !attribute.contains("reason = \"") && !attribute.starts_with('"') {
                    sinners.push(format!("{name}: {opening}{attribute}"));
                }
            }
        }
    }
    none("has no reason", &sinners);
}

#[test]
fn nothing_names_a_machine_a_registry_or_a_tool_of_the_author() {
    let words = [
        ["/wo", "rk/"],
        ["/tmp", "/wt"],
        ["/tmp/tar", "get-"],
        ["crates", ".io"],
        ["py", "pi.org"],
        ["npm", "js.org"],
        ["deb.deb", "ian"],
        ["cla", "ude"],
        ["anthr", "opic"],
        ["chat", "gpt"],
        ["agent ses", "sion"],
        ["coding a", "gent"],
        ["ai assis", "tant"],
        ["language mo", "del"],
    ];
    let words: Vec<String> = words.iter().map(|it| it.concat()).collect();
    let mut sinners = Vec::new();
    // The lock files name the registry in each entry.
    for name in files().into_iter().filter(|it| !it.ends_with("Cargo.lock")) {
        for (at, line) in read(&name).lines().enumerate() {
            let line = line.to_lowercase();
            sinners.extend(
                words
                    .iter()
                    .filter(|it| line.contains(it.as_str()))
                    .map(|it| format!("{name}:{}: {it}", at + 1)),
            );
        }
    }
    none("must not be named", &sinners);
}

#[test]
fn no_file_is_large() {
    let size = |it: &String| std::fs::metadata(root().join(it)).map_or(0, |it| it.len());
    let sinners: Vec<_> =
        files().into_iter().filter(|it| !it.ends_with("Cargo.lock") && size(it) > FILE_BYTES).collect();
    none("over 100 KB", &sinners);
}

fn manifests() -> Vec<(String, toml::Table)> {
    files()
        .into_iter()
        .filter(|it| it.ends_with("Cargo.toml"))
        .map(|it| {
            let table = read(&it).parse().unwrap_or_else(|error| panic!("{it}: {error}"));
            (it, table)
        })
        .collect()
}

#[test]
fn layers_import_only_downwards() {
    // What each crate may use of the others.
    let layers: [(&str, &[&str]); 6] = [
        ("crates/event/", &[]),
        ("crates/services/", &["serin-event"]),
        ("crates/store/", &["serin-event"]),
        ("crates/detect/", &["serin-event"]),
        ("crates/serin/", &["serin-event", "serin-services", "serin-store", "serin-detect"]),
        // The load tool speaks SSH through our own client.
        ("benches/", &["serin-services"]),
    ];
    let mut sinners = Vec::new();
    for (name, manifest) in manifests() {
        let Some((_, allowed)) = layers.iter().find(|it| name.starts_with(it.0)) else { continue };
        let own = manifest["package"]["name"].as_str().unwrap_or_default();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let used = manifest.get(section).and_then(toml::Value::as_table);
            let used = used.into_iter().flat_map(|it| it.keys()).filter(|it| it.starts_with("serin"));
            sinners.extend(
                used.filter(|it| !allowed.contains(&it.as_str())).map(|it| format!("{own} uses {it}")),
            );
        }
    }
    none("is not below", &sinners);
}

#[test]
fn protocols_know_no_socket_clock_file_or_environment() {
    let banned = [
        "tokio",
        "std::fs",
        "std::env::",
        "std::process",
        "std::thread",
        "std::io",
        "net::TcpStream",
        "net::TcpListener",
        "net::UdpSocket",
        "Instant::now",
        "SystemTime",
    ];
    let mut found = BTreeSet::new();
    for (name, text) in sources() {
        if !name.starts_with("crates/services/src") && !name.starts_with("crates/event/src") {
            continue;
        }
        let code = production(&text).lines().filter(|it| !it.trim_start().starts_with("//"));
        if code.into_iter().any(|line| banned.iter().any(|it| line.contains(it))) {
            found.insert(name);
        }
    }
    exactly("reaches into the world", &found, READS_TEST_DATA);
}

#[test]
fn every_service_has_sessions_and_a_page() {
    let mut sinners = Vec::new();
    for service in serin_services::ALL {
        let name = service.name;
        if serin_services::replay::sessions_of(name).len() < 3 {
            sinners.push(format!("{name}: fewer than three sessions"));
        }
        if !root().join(format!("docs/services/{name}.md")).is_file() {
            sinners.push(format!("{name}: no docs/services/{name}.md; UPDATE=1 makes it"));
        }
    }
    none("is not whole", &sinners);
}

#[test]
fn uses_of_raw_bytes_are_counted() {
    let found = sources()
        .into_iter()
        .filter(|it| it.0.starts_with("crates/") && it.1.contains(".raw()"))
        .map(|it| it.0)
        .collect();
    exactly("takes a peer's bytes as they came", &found, RAW_BYTES);
}

#[test]
fn there_are_few_cargo_features() {
    let features: Vec<_> = manifests()
        .iter()
        .filter_map(|it| it.1.get("features").and_then(toml::Value::as_table).cloned())
        .flat_map(|it| it.keys().cloned().collect::<Vec<_>>())
        .collect();
    assert!(features.len() <= CARGO_FEATURES, "{features:?}");
}

#[test]
fn the_documents_name_only_what_exists() {
    let mut sinners = Vec::new();
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"] {
        if !root().join(document).is_file() {
            continue;
        }
        for word in read(document).split(|it: char| it.is_whitespace() || "`()[]\"',;".contains(it)) {
            let path = word.trim_start_matches("./").trim_end_matches(['.', ':']);
            let ours = ["crates/", "tests/", "docs/", "benches/", "fuzz/", "rules/", "packaging/", "web/"]
                .iter()
                .any(|it| path.starts_with(it));
            // Capitals stand for something to fill in: `docs/services/NAME.md`.
            let pattern = path.contains(['*', '{', '<', '…'])
                || path
                    .split(['/', '.'])
                    .any(|it| it.len() > 2 && it.chars().all(|it| it.is_ascii_uppercase()));
            if ours && !pattern && !root().join(path).exists() {
                sinners.push(format!("{document}: {path}"));
            }
        }
    }
    none("does not exist", &sinners);
}

#[test]
fn the_licence_and_the_changelog_are_there() {
    assert!(read("LICENSE").contains("Apache License") && read("LICENSE").contains("Version 2.0"));
    assert!(read("CHANGELOG.md").starts_with("# Changelog"));
    for (name, manifest) in manifests() {
        let licence = manifest.get("package").and_then(|it| it.get("license"));
        let shared = licence.and_then(|it| it.get("workspace")).is_some();
        let stated = licence.and_then(toml::Value::as_str) == Some("Apache-2.0");
        assert!(shared || stated || manifest.get("package").is_none(), "{name}: no licence");
    }
}

#[test]
fn commit_subjects_say_where_and_what() {
    let fits = |subject: &str| {
        let Some((area, what)) = subject.split_once(": ") else { return false };
        let area_fits = !area.is_empty()
            && area.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || " ,/_.-".contains(it));
        area_fits && subject.chars().count() <= 72 && !what.is_empty() && !what.ends_with('.')
    };
    assert!(fits("ssh: refuse a second kexinit") && !fits("Fixed it.") && !fits("ssh: refuse."));
    let subjects = git(&["log", "--no-merges", "--format=%s"]);
    let sinners: Vec<_> = subjects.lines().filter(|it| !fits(it)).map(str::to_owned).collect();
    none("is not `area: what` in at most 72 characters", &sinners);
}

/// Whether a licence expression can be met with the licences in `allowed`: SPDX, annex D.
fn can_be_met(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (met, rest) = any_of(&words, allowed);
    assert!(rest.is_empty(), "{expression}: stopped before {rest:?}");
    met
}

fn any_of<'w>(words: &'w [&'w str], allowed: &BTreeSet<&str>) -> (bool, &'w [&'w str]) {
    let (mut met, mut rest) = all_of(words, allowed);
    while rest.first() == Some(&"OR") {
        let (other, after) = all_of(&rest[1..], allowed);
        (met, rest) = (met | other, after);
    }
    (met, rest)
}

fn all_of<'w>(words: &'w [&'w str], allowed: &BTreeSet<&str>) -> (bool, &'w [&'w str]) {
    let (mut met, mut rest) = one(words, allowed);
    while rest.first() == Some(&"AND") {
        let (other, after) = one(&rest[1..], allowed);
        (met, rest) = (met & other, after);
    }
    (met, rest)
}

fn one<'w>(words: &'w [&'w str], allowed: &BTreeSet<&str>) -> (bool, &'w [&'w str]) {
    match words {
        ["(", rest @ ..] => {
            let (met, rest) = any_of(rest, allowed);
            assert_eq!(rest.first(), Some(&")"), "a bracket is not closed");
            (met, &rest[1..])
        }
        [name, "WITH", exception, rest @ ..] => {
            (allowed.contains(format!("{name} WITH {exception}").as_str()), rest)
        }
        [name, rest @ ..] => (allowed.contains(name), rest),
        [] => panic!("the expression ends early"),
    }
}

#[test]
fn every_dependency_has_a_licence_that_deny_toml_allows() {
    let deny: toml::Table = read("deny.toml").parse().expect("deny.toml is TOML");
    let allowed = deny["licenses"]["allow"].as_array().expect("a list of licences");
    let allowed: BTreeSet<&str> = allowed.iter().filter_map(toml::Value::as_str).collect();
    assert!(!can_be_met("MIT AND GPL-3.0", &allowed) && can_be_met("GPL-3.0 OR (MIT AND ISC)", &allowed));
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
    let packages = metadata["packages"].as_array().expect("a list of packages");
    assert!(packages.len() > 50, "cargo metadata names {} packages", packages.len());
    let sinners: Vec<_> = packages
        .iter()
        .filter(|it| !it["license"].as_str().is_some_and(|it| can_be_met(it, &allowed)))
        .map(|it| format!("{}: {}", it["name"], it["license"]))
        .collect();
    none("its licence is not on the list in deny.toml", &sinners);
}
