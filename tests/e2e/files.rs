//! The log file: moved away, deleted, rotated, and beside it the other handlers of OpenCanary.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use serin_tests::{Sensor, Setup, client, eventually};

fn visit(sensor: &Sensor, user: &str) {
    let url = format!("ftp://{user}:x@127.0.0.1:{}/", sensor.port("ftp"));
    assert_eq!(client("curl", &["-sS", &url]).status, 67);
}

fn handlers(handlers: &Value) -> Value {
    json!({ "class": "PyLogger", "kwargs": {
        "formatters": { "plain": { "format": "%(message)s" }, "long": { "format": "%(levelname)s %(name)s: %(message)s" } },
        "handlers": handlers,
    } })
}

/// Waits until this user stands in the file.
#[track_caller]
fn arrives(file: &std::path::Path, user: &str) {
    let wanted = format!("\"USERNAME\": \"{user}\"");
    eventually(&format!("{user} in {}", file.display()), || {
        fs::read_to_string(file).unwrap_or_default().contains(&wanted).then_some(())
    });
}

#[test]
fn a_log_that_is_moved_away_is_opened_anew() {
    let sensor = Setup::of(&["ftp"]).start();
    visit(&sensor, "one");
    arrives(&sensor.log(), "one");
    let aside = sensor.folder().join("log.json.1");
    fs::rename(sensor.log(), &aside).expect("a rename");
    visit(&sensor, "two");
    arrives(&sensor.log(), "two");
    assert!(!fs::read_to_string(&aside).expect("the old log").contains("two"));
}

#[test]
fn a_log_that_is_deleted_is_made_anew() {
    let sensor = Setup::of(&["ftp"]).start();
    visit(&sensor, "one");
    arrives(&sensor.log(), "one");
    fs::remove_file(sensor.log()).expect("a file");
    visit(&sensor, "two");
    arrives(&sensor.log(), "two");
    let mode = fs::metadata(sensor.log()).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode, 0o640, "{mode:o}");
}

#[test]
fn a_log_rotates_by_size_and_loses_no_line() {
    let setup = Setup::of(&["ftp"]);
    let rotated = setup.folder().join("rotated.log");
    let marker = setup.folder().join("log.json");
    let sensor = setup
        .with(
            "logger",
            handlers(&json!({
                "marker": { "class": "logging.FileHandler", "filename": marker },
                "rotating": { "class": "logging.handlers.RotatingFileHandler", "filename": rotated,
                    "maxBytes": 1500, "backupCount": 50, "formatter": "plain" },
            })),
        )
        .start();
    for number in 0..20 {
        visit(&sensor, &format!("r{number}"));
    }
    let all = || {
        let mut text = String::new();
        for entry in fs::read_dir(sensor.folder()).expect("a folder") {
            let entry = entry.expect("an entry");
            if entry.file_name().to_string_lossy().starts_with("rotated.log") {
                text.push_str(&fs::read_to_string(entry.path()).unwrap_or_default());
            }
        }
        text
    };
    eventually("twenty logins in the files", || {
        let text = all();
        (0..20).all(|it| text.matches(&format!("\"USERNAME\": \"r{it}\"")).count() == 1).then_some(())
    });
    assert!(rotated.with_extension("log.1").is_file());
    assert!(fs::metadata(&rotated).expect("a file").len() <= 1500);
}

#[test]
fn the_console_handler_writes_to_the_stream_that_is_named() {
    let setup = Setup::of(&["ftp"]);
    let marker = setup.folder().join("log.json");
    let sensor = setup
        .with(
            "logger",
            handlers(&json!({
                "marker": { "class": "logging.FileHandler", "filename": marker },
                "console": { "class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "long" },
            })),
        )
        .start();
    visit(&sensor, "onscreen");
    let line = eventually("the login on standard output", || {
        sensor.said().lines().find(|it| it.contains("onscreen")).map(str::to_owned)
    });
    assert!(line.starts_with("WARNING opencanary-1: {\"dst_host\": "), "{line}");
}

#[test]
fn a_handler_that_nobody_knows_is_named_at_the_start() {
    let setup = Setup::of(&["ftp"]);
    let file = setup.folder().join("x.conf");
    let conf = json!({ "device.node_id": "x", "ftp.enabled": true,
        "logger": handlers(&json!({ "mine": { "class": "my.own.Handler" } })) });
    fs::write(&file, conf.to_string()).expect("a file");
    let outcome = serin_tests::serin(setup.folder(), &["check", "--config", &file.display().to_string()]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.words().contains("mine") && outcome.words().contains("my.own.Handler"), "{outcome:?}");
}
