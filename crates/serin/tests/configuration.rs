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
