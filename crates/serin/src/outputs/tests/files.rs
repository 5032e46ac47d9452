//! The file output under the engine: crashes at every byte, full disks, moved files. Real time and
//! real files; nothing waits longer than it must.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::outputs::manager::Manager;
use crate::outputs::{State, by_name, file};

fn file_conf(path: &Path, settings: &[(&str, Value)]) -> OutputConf {
    let mut conf = Conf::new();
    conf.set("file.path", path.to_str().unwrap());
    for (key, value) in settings {
        conf.set(format!("file.{key}"), value.clone());
    }
    OutputConf { name: "it".to_owned(), output: by_name("file").unwrap(), conf }
}

/// Lets the output deliver what is stored, and stops it.
async fn run_to_the_end(memory: &Memory, conf: &OutputConf) {
    Bench::run(memory, conf.clone(), Seen::default()).stop().await;
    assert_eq!(memory.cursor("it"), *memory.0.stored.borrow());
}

fn encoded(memory: &Memory, conf: &OutputConf) -> Vec<Vec<u8>> {
    let output = (conf.output.build)(&conf.conf).unwrap();
    memory.records().iter().map(|it| output.encode(it).unwrap()).collect()
}

/// The log as a `kill -9` left it: everything up to byte `cut`, with the cursor at `cursor`.
async fn survives(settings: &[(&str, Value)], cursor: u64, cut: usize) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    let conf = file_conf(&path, settings);
    let memory = Memory::new();
    memory.store(6);
    memory.save("it", cursor, String::new());
    let whole = encoded(&memory, &conf).concat();
    fs::write(&path, &whole[..cut]).unwrap();
    run_to_the_end(&memory, &conf).await;
    fs::read(&path).unwrap()
}

#[tokio::test]
async fn a_kill_at_any_byte_leaves_each_line_once() {
    for form in ["json", "text"] {
        let settings = [("form", Value::from(form))];
        let memory = Memory::new();
        memory.store(6);
        let conf = file_conf(Path::new("unused"), &settings);
        let lines = encoded(&memory, &conf);
        let whole = lines.concat();
        for cursor in [0, 2, 5] {
            let confirmed: usize = lines[..cursor].iter().map(Vec::len).sum();
            // Every line ending and its neighbours, and a few places within the lines.
            let ends: Vec<usize> = lines
                .iter()
                .scan(0, |at, it| {
                    *at += it.len();
                    Some(*at)
                })
                .collect();
            let near = ends.iter().flat_map(|it| [it - 1, *it, it + 1, it + 40]);
            for cut in near.chain([confirmed]).filter(|it| (confirmed..=whole.len()).contains(it)) {
                let found = survives(&settings, cursor as u64, cut).await;
                assert_eq!(
                    String::from_utf8_lossy(&found),
                    String::from_utf8_lossy(&whole),
                    "{form}, cursor {cursor}, cut at {cut}"
                );
            }
        }
    }
}

#[tokio::test]
async fn lines_that_name_their_process_are_recognised_all_the_same() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    let format = Value::from("canary[%(process)d]: %(message)s");
    let conf = file_conf(&path, &[("format", format)]);
    let memory = Memory::read_by("it");
    memory.store(6);
    // What an earlier process wrote before it was killed in the middle of the fourth line.
    let lines: Vec<String> = memory.records().iter().map(|it| format!("canary[1]: {}", it.line())).collect();
    let before = format!("{}\n{}", lines[..3].join("\n"), &lines[3][..50]);
    fs::write(&path, &before).unwrap();
    run_to_the_end(&memory, &conf).await;
    let found = fs::read_to_string(&path).unwrap();
    let ours: String =
        encoded(&memory, &conf)[3..].iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect();
    assert_eq!(found, format!("{before}\n{ours}"));
}

#[tokio::test]
async fn a_kill_after_a_rotation_doubles_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    let memory = Memory::read_by("it");
    memory.store(3);
    let plain = file_conf(&path, &[("max_size", 700.into())]);
    run_to_the_end(&memory, &plain).await;
    // As if the last save had not happened; and the file was rotated in between.
    memory.save("it", 1, String::new());
    assert!(path.with_extension("1").exists());
    run_to_the_end(&memory, &plain).await;
    fs::rename(&path, path.with_extension("1")).unwrap();
    memory.save("it", 2, String::new());
    run_to_the_end(&memory, &plain).await;
    let lines = |it: &Path| fs::read_to_string(it).unwrap_or_default().lines().count();
    assert_eq!((lines(&path), lines(&path.with_extension("1"))), (0, 1), "the third, and nothing again");
}

#[tokio::test]
async fn what_others_write_into_the_file_is_no_reason_to_lose_anything() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    let conf = file_conf(&path, &[]);
    let memory = Memory::read_by("it");
    memory.store(4);
    let lines = encoded(&memory, &conf);
    // Another program's line stands last: what came before it cannot be told to be ours.
    fs::write(&path, [&lines[0][..], b"somebody else\n"].concat()).unwrap();
    run_to_the_end(&memory, &conf).await;
    let found = fs::read(&path).unwrap();
    for line in &lines {
        let text = String::from_utf8_lossy(line);
        assert!(String::from_utf8_lossy(&found).contains(&*text), "{text}");
    }
}

#[tokio::test]
async fn the_file_is_made_at_the_start_and_follows_a_move_with_the_signal() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    let memory = Memory::new();
    let mut manager = Manager::prepare(&[file_conf(&path, &[])], None).start(&memory);
    assert_eq!(fs::read(&path).unwrap(), b"");
    fs::rename(&path, folder.path().join("old")).unwrap();
    manager.reopen();
    let made = async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), made).await.unwrap();
    manager.stop().await;
    let delayed = folder.path().join("delayed");
    let mut manager =
        Manager::prepare(&[file_conf(&delayed, &[("delay", true.into())])], None).start(&memory);
    assert!(!delayed.exists());
    manager.stop().await;
}

#[tokio::test]
async fn a_full_disk_backs_off_and_loses_nothing() {
    let memory = Memory::read_by("it");
    memory.store(3);
    let manager = Manager::prepare(&[file_conf(Path::new("/dev/full"), &[])], None).start(&memory);
    let status = manager.statuses()[0].clone();
    let failed = async {
        while status.read().last_error.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), failed).await.unwrap();
    let seen = status.read().clone();
    assert_eq!((seen.state, seen.sent, seen.lag_events), (State::BackingOff, 0, 3));
    assert_eq!(memory.cursor("it"), 0);
    let mut manager = manager;
    manager.stop().await;
    // Space again: everything comes.
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    run_to_the_end(&memory, &file_conf(&path, &[])).await;
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
}

#[tokio::test]
async fn a_pipe_whose_reader_sleeps_stalls_its_own_output_alone() {
    let folder = TempDir::new().unwrap();
    let (pipe, path) = (folder.path().join("pipe"), folder.path().join("log"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let mut reader = fs::File::options().read(true).write(true).open(&pipe).unwrap();
    let memory = Memory::new();
    let stalled = OutputConf { name: "stalled".to_owned(), ..file_conf(&pipe, &[]) };
    let healthy = file_conf(&path, &[]);
    let mut manager = Manager::prepare(&[stalled, healthy], None).start(&memory);
    // More than a pipe holds.
    memory.store(3000);
    let written = async {
        while fs::read_to_string(&path).unwrap_or_default().lines().count() < 3000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), written).await.unwrap();
    assert_eq!(manager.statuses()[0].read().sent, 0);
    // The reader wakes up, and finds every line.
    let expected = fs::read(&path).unwrap();
    let size = expected.len();
    let read = std::thread::spawn(move || {
        let mut found = vec![0; size];
        reader.read_exact(&mut found).unwrap();
        found
    });
    let found = tokio::task::spawn_blocking(|| read.join().unwrap()).await.unwrap();
    assert_eq!(found.len(), expected.len());
    assert!(found == expected);
    manager.stop().await;
    assert_eq!(memory.cursor("stalled"), 3000);
}

#[test]
fn settings_that_make_no_sense_are_told_with_their_keys() {
    let mut conf = Conf::new();
    for (key, value) in [("format", "%(nam)s"), ("mode", "rw-r-----"), ("every", "noon")] {
        conf.set(format!("file.{key}"), value);
    }
    let complaints = (file::OUTPUT.build)(&conf).unwrap_err();
    let texts: Vec<_> = complaints.iter().map(|it| format!("{}: {}", it.key, it.text)).collect();
    assert_eq!(
        texts,
        [
            "file.mode: wants permissions in octal, such as \"0640\", got \"rw-r-----\"",
            "file.every: wants never, hourly, daily, weekly, or Python's S, M, H, D, midnight, W0 to W6, got \"noon\"",
        ]
    );
    let mut conf = Conf::new();
    conf.set("file.format", "%(nam)s");
    let complaints = (file::OUTPUT.build)(&conf).unwrap_err();
    assert_eq!(complaints.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), ["file.path", "file.format"]);
}

#[test]
fn every_type_is_whole() {
    use crate::outputs::ALL;
    assert!(ALL.is_sorted_by_key(|it| it.name), "keep the list in order");
    for output in ALL {
        let section = format!("{}.", output.name);
        for key in output.keys.iter().take(1).copied().flatten() {
            assert!(key.name.starts_with(&section), "{}", key.name);
        }
        let mut names: Vec<_> = output.settings().map(|it| it.name.split_once('.').unwrap().1).collect();
        names.sort_unstable();
        let shared: Vec<_> = names.windows(2).filter(|it| it[0] == it[1]).collect();
        assert!(shared.is_empty(), "{}: {shared:?} can be meant twice", output.name);
        for key in output.settings() {
            assert!(key.doc.ends_with('.'), "{}", key.name);
        }
        assert!(output.batch.events > 0 && by_name(output.name).is_some());
    }
}
