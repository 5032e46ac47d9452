//! The commands around a configuration, as a person runs them.

use std::path::Path;
use std::process::{Command, Output};

/// Runs `serin` in `folder` with nothing of this process's environment but the path.
fn serin(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_serin"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .output()
        .unwrap()
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8(output.stdout.clone()).unwrap())
}

const OLD: &str = r#"{
    "device.node_id": "opencanary-1",
    "ftp.enabled": true,
    "ftp.port": 2121,
    "logger": {
        "class": "PyLogger",
        "kwargs": {"handlers": {"file": {"class": "logging.FileHandler", "filename": "events.log"}}}
    }
}
"#;

#[test]
fn check_tells_and_ends_with_a_status() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.conf"), OLD).unwrap();
    std::fs::write(folder.path().join("bad.conf"), OLD.replace("true", "\"yes\"").replace("2121", "0"))
        .unwrap();
    assert_eq!(
        said(&serin(folder.path(), &["check", "--config", "good.conf"])),
        (Some(0), "good.conf: fine\n".to_owned())
    );
    assert_eq!(
        said(&serin(folder.path(), &["check", "--config", "bad.conf"])),
        (
            Some(1),
            "bad.conf: 2 things to put right\n\n  3:20  ftp.enabled: wants true or false, got \"yes\"\n  \
             4:17  ftp.port: wants a port from 1 to 65535, got 0\n\nNothing was started.\n"
                .to_owned()
        )
    );
    let (status, text) = said(&serin(folder.path(), &["check", "--config", "none.conf"]));
    assert_eq!(status, Some(1));
    assert!(text.starts_with("none.conf: 1 thing to put right\n\n  cannot be read: "), "{text}");
}

#[test]
fn check_looks_at_log_files_and_at_what_else_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    std::fs::write(folder.path().join("plain"), "").unwrap();
    let handlers = format!(
        r#"{{"file": {{"class": "logging.FileHandler", "filename": "none/x.log", "encodin": "utf-8"}},
"folder": {{"class": "logging.FileHandler", "filename": "{path}"}},
"plain": {{"class": "logging.FileHandler", "filename": "{path}/plain/x.log"}},
"fine": {{"class": "logging.FileHandler", "filename": "{path}/x.log"}}}}"#
    );
    let old =
        OLD.replace(r#"{"file": {"class": "logging.FileHandler", "filename": "events.log"}}"#, &handlers);
    assert_ne!(old, OLD);
    std::fs::write(folder.path().join("old.conf"), old).unwrap();
    assert_eq!(
        said(&serin(folder.path(), &["check", "--config", "old.conf"])),
        (
            Some(1),
            format!(
                "old.conf: 4 things to put right\n\n  \
                 7:86  logger.kwargs.handlers.file.filename: there is no folder none\n  \
                 7:111  logger.kwargs.handlers.file.encodin: logging.FileHandler has no such argument; \
                 it takes filename, encoding, errors, delay, mode\n  \
                 8:56  logger.kwargs.handlers.folder.filename: {path} is a folder, not a file\n  \
                 9:55  logger.kwargs.handlers.plain.filename: {path}/plain is no folder\n\n\
                 Nothing was started.\n"
            )
        )
    );
    std::fs::write(
        folder.path().join("new.toml"),
        "[ftp]\nenabled = true\n[outputs.a]\ntype = 'file'\npath = '/nonexist/x.log'\n[outputs.b]\ntype = 'file'\npath = 'x.log'\n",
    )
    .unwrap();
    assert_eq!(
        said(&serin(folder.path(), &["check", "--config", "new.toml"])),
        (
            Some(1),
            "new.toml: 1 thing to put right\n\n  5:8  outputs.a.path: there is no folder /nonexist\n\n\
             Nothing was started.\n"
                .to_owned()
        )
    );
}

#[test]
fn an_empty_file_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("e.json"), "").unwrap();
    let wanted = "e.json: 1 thing to put right\n\n  is empty; nothing would listen\n\nNothing was started.\n";
    assert_eq!(said(&serin(folder.path(), &["check", "--config", "e.json"])), (Some(1), wanted.to_owned()));
    let run = serin(folder.path(), &["run", "--config", "e.json", "--state-dir", "state"]);
    assert_eq!((run.status.code(), String::from_utf8(run.stderr).unwrap()), (Some(1), wanted.to_owned()));
}

#[test]
fn a_start_that_fails_tells_what_there_is_to_know_too() {
    let folder = tempfile::tempdir().unwrap();
    let text = OLD.replace("true", "\"yes\"").replace("\"ftp.port\"", "\"ftp.bannner\": \"x\", \"ftp.port\"");
    std::fs::write(folder.path().join("bad.conf"), text).unwrap();
    let run = serin(folder.path(), &["run", "--config", "bad.conf", "--state-dir", "state"]);
    assert_eq!(
        (run.status.code(), String::from_utf8(run.stderr).unwrap()),
        (
            Some(1),
            "bad.conf: 1 thing to put right\n\n  3:20  ftp.enabled: wants true or false, got \"yes\"\n\n\
             and 1 thing to know\n\n  4:5  ftp.bannner: no such setting; did you mean ftp.banner? \
             It is ignored, as OpenCanary does\n\nNothing was started.\n"
                .to_owned()
        )
    );
}

#[test]
fn an_imported_file_is_fine_and_is_found_before_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".opencanary.conf"), OLD).unwrap();
    let (status, text) = said(&serin(folder.path(), &["import", ".opencanary.conf"]));
    assert_eq!(status, Some(0));
    std::fs::write(folder.path().join(".serin.toml"), text).unwrap();
    let named = folder.path().join(".serin.toml");
    assert_eq!(said(&serin(folder.path(), &["check"])), (Some(0), format!("{}: fine\n", named.display())));
    let (status, _) = said(&serin(folder.path(), &["import", "none.conf"]));
    assert_eq!(status, Some(1));
}

#[test]
fn init_writes_once() {
    let folder = tempfile::tempdir().unwrap();
    let init = ["init", "--persona", "nas", "--out", "new.toml"];
    assert_eq!(said(&serin(folder.path(), &init)), (Some(0), "new.toml is written.\n".to_owned()));
    assert_eq!(
        said(&serin(folder.path(), &["check", "--config", "new.toml"])),
        (Some(0), "new.toml: fine\n".to_owned())
    );
    assert_eq!(said(&serin(folder.path(), &init)).0, Some(1));
}

#[test]
fn schemas_are_json() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["schema"][..], &["schema", "--opencanary"]] {
        let (status, text) = said(&serin(folder.path(), arguments));
        let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &schema["type"]), (Some(0), &"object".into()));
    }
}
