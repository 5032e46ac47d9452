//! The file itself: what is in it after rotations, moves, cuts and full disks.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use flate2::read::GzDecoder;
use jiff::tz::TimeZone;
use serde_json::Value;
use serin_services::conf::Setting as _;
use tempfile::TempDir;

use super::super::rotation::{ClockTime, Every};
use super::*;

const NO_ROTATION: Rotation = Rotation { max_size: 0, schedule: None, keep: 7, compress: false };

fn lines(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|it| format!("{it}\n").into_bytes()).collect()
}

fn target(folder: &TempDir, rotation: Rotation) -> Target {
    Target::new(folder.path().join("log"), 0o640, false, rotation)
}

fn put(target: &mut Target, texts: &[&str]) -> Appended {
    let done = target.append(&lines(texts), false);
    assert_eq!((done.lines, &done.failure), (texts.len(), &None));
    done
}

fn read(folder: &TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap()
}

fn files(folder: &TempDir) -> BTreeMap<String, Vec<String>> {
    let names = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    names.map(|it| (it.clone(), read(folder, &it).lines().map(str::to_owned).collect())).collect()
}

fn mode(folder: &TempDir, name: &str) -> u32 {
    fs::metadata(folder.path().join(name)).unwrap().mode() & 0o777
}

/// `python.golden` was written by Python's own handlers, see `python_golden.py`.
#[test]
fn every_line_is_in_the_file_that_python_puts_it_into() {
    for case in include_str!("python.golden").lines() {
        let case: Value = serde_json::from_str(case).unwrap();
        let argument = |name: &str| case["arguments"].get(name);
        let number = |name: &str, default| argument(name).map_or(default, |it| it.as_u64().unwrap());
        let keep = u32::try_from(number("backupCount", 0)).unwrap();
        let schedule = argument("when").map(|when| {
            let every = Every::python(&when.as_str().unwrap().to_ascii_uppercase()).unwrap();
            let at = argument("atTime").map_or(ClockTime(0), |it| ClockTime::read(it).unwrap());
            let interval = u32::try_from(number("interval", 1)).unwrap();
            let utc = argument("utc") == Some(&Value::Bool(true));
            let mut schedule = Schedule::new(every, interval, at, utc).unwrap();
            if !utc {
                schedule.zone = TimeZone::get(case["zone"].as_str().unwrap()).unwrap();
            }
            schedule
        });
        // As `from_handler` does: Python never rolls by size when it may keep nothing.
        let max_size = if keep == 0 { 0 } else { number("maxBytes", 0) };
        let folder = TempDir::new().unwrap();
        let mut target = target(&folder, Rotation { max_size, schedule, keep, compress: false });
        for (at, line) in case["lines"].as_array().unwrap().iter().enumerate() {
            if let Some(moment) = case["moments"].get(at).and_then(Value::as_i64) {
                target.clock = Clock::Frozen(moment);
            }
            put(&mut target, &[line.as_str().unwrap()]);
        }
        let mut expected: BTreeMap<String, Vec<String>> =
            serde_json::from_value(case["files"].clone()).unwrap();
        // Where clocks go back, Python gives the lines of the 24th the name of the 23rd. We do not.
        if let Some(misnamed) = expected.remove("log.2026-10-23") {
            expected.insert("log.2026-10-24".to_owned(), misnamed);
        }
        assert_eq!(files(&folder), expected, "{}", case["arguments"]);
    }
}

#[test]
fn a_batch_is_cut_at_the_lines_where_files_end_and_nothing_is_lost() {
    let folder = TempDir::new().unwrap();
    let mut target = target(&folder, Rotation { max_size: 30, keep: 0, ..NO_ROTATION });
    let texts: Vec<String> = (0..50).map(|it| format!("line {it}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    put(&mut target, &texts);
    let files = files(&folder);
    assert_eq!(files.len(), 16, "{files:?}");
    let mut names: Vec<_> = files.keys().collect();
    names.sort_by_key(|it| {
        std::cmp::Reverse(it.rsplit_once('.').map_or(0, |it| it.1.parse::<u32>().unwrap()))
    });
    let all: Vec<_> = names.iter().flat_map(|it| files[*it].clone()).collect();
    assert_eq!(all, texts);
}

#[test]
fn a_line_longer_than_a_file_may_be_stands_alone_and_whole() {
    let folder = TempDir::new().unwrap();
    let mut target = target(&folder, Rotation { max_size: 20, keep: 9, ..NO_ROTATION });
    let long = "x".repeat(100);
    put(&mut target, &[&long, "short", &long, &long]);
    assert_eq!(read(&folder, "log.3"), format!("{long}\n"));
    assert_eq!(read(&folder, "log.2"), "short\n");
    assert_eq!((read(&folder, "log.1"), read(&folder, "log")), (format!("{long}\n"), format!("{long}\n")));
}

#[test]
fn a_file_of_that_date_is_not_overwritten() {
    let folder = TempDir::new().unwrap();
    let schedule = Schedule::new(Every::Midnight, 1, ClockTime(0), true);
    let mut target = target(&folder, Rotation { max_size: 10, schedule, ..NO_ROTATION });
    target.clock = Clock::Frozen(1_795_296_991);
    put(&mut target, &["first one", "second one", "third one"]);
    target.clock = Clock::Frozen(1_795_296_991 + 86_400);
    put(&mut target, &["tomorrow"]);
    let found = files(&folder);
    assert_eq!(found["log.2026-11-21"], ["first one"]);
    assert_eq!(found["log.2026-11-21.1"], ["second one"]);
    assert_eq!(found["log.2026-11-21.2"], ["third one"]);
    assert_eq!(found["log"], ["tomorrow"]);
    assert_eq!(target.last_lines().pop().unwrap(), b"tomorrow");
}

#[test]
fn rotated_files_are_compressed_and_still_looked_back_into() {
    let folder = TempDir::new().unwrap();
    let mut target = target(&folder, Rotation { max_size: 10, keep: 2, compress: true, ..NO_ROTATION });
    put(&mut target, &["one line.", "two lines", "three...."]);
    target.finish_compressing();
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for (name, text) in [("log.2.gz", "one line.\n"), ("log.1.gz", "two lines\n")] {
        let mut found = String::new();
        GzDecoder::new(File::open(folder.path().join(name)).unwrap()).read_to_string(&mut found).unwrap();
        assert_eq!((found.as_str(), mode(&folder, name)), (text, 0o640));
    }
    assert_eq!(target.last_lines(), [b"two lines".to_vec(), b"three....".to_vec()]);
    assert_eq!(target.warning, None);
}

#[test]
fn moved_deleted_and_truncated_files_are_followed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    let mut target = target(&folder, NO_ROTATION);
    put(&mut target, &["one"]);
    // logrotate's usual way, without a signal.
    fs::rename(&path, folder.path().join("log.old")).unwrap();
    put(&mut target, &["two"]);
    assert_eq!((read(&folder, "log.old"), read(&folder, "log")), ("one\n".into(), "two\n".into()));
    fs::remove_file(&path).unwrap();
    put(&mut target, &["three"]);
    assert_eq!((read(&folder, "log"), mode(&folder, "log")), ("three\n".into(), 0o640));
    // copytruncate: no hole of zeros at the beginning.
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    put(&mut target, &["four"]);
    assert_eq!(read(&folder, "log"), "four\n");
    // And with the signal, which makes the new file at once.
    fs::rename(&path, folder.path().join("log.older")).unwrap();
    target.reopen();
    assert_eq!((read(&folder, "log.older"), read(&folder, "log")), ("four\n".into(), String::new()));
}

#[test]
fn nobody_else_may_read_it_whatever_created_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    fs::write(&path, "from OpenCanary\n").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    put(&mut target(&folder, NO_ROTATION), &["ours"]);
    assert_eq!((mode(&folder, "log"), read(&folder, "log")), (0o640, "from OpenCanary\nours\n".into()));
    // Unless the operator wants it so.
    let mut open = Target::new(folder.path().join("open"), 0o644, false, NO_ROTATION);
    put(&mut open, &["ours"]);
    assert_eq!(mode(&folder, "open"), 0o644);
}

#[test]
fn truncating_happens_once_per_start() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    fs::write(&path, "old\n").unwrap();
    let mut target = Target::new(path.clone(), 0o640, true, NO_ROTATION);
    put(&mut target, &["one"]);
    fs::rename(&path, folder.path().join("aside")).unwrap();
    fs::write(&path, "of another program\n").unwrap();
    put(&mut target, &["two"]);
    assert_eq!(
        (read(&folder, "aside"), read(&folder, "log")),
        ("one\n".into(), "of another program\ntwo\n".into())
    );
}

#[test]
fn a_line_that_was_cut_short_is_made_whole_or_ended() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    for (before, after) in [
        ("", "abcdef\n"),
        ("first\n", "first\nabcdef\n"),
        ("first\nabc", "first\nabcdef\n"),
        ("abcdef", "abcdef\n"),
        ("first\nxyz", "first\nxyz\nabcdef\n"),
    ] {
        fs::write(&path, before).unwrap();
        put(&mut target(&folder, NO_ROTATION), &["abcdef"]);
        assert_eq!(read(&folder, "log"), after, "{before:?}");
    }
}

#[test]
fn a_missing_folder_holds_until_it_is_there() {
    let folder = TempDir::new().unwrap();
    let mut target = Target::new(folder.path().join("logs/log"), 0o640, false, NO_ROTATION);
    let done = target.append(&lines(&["one"]), false);
    let Some(Failure::Hold(why)) = done.failure else { panic!("{done:?}") };
    assert_eq!((done.lines, why), (0, format!("the folder {}/logs does not exist", folder.path().display())));
    fs::create_dir(folder.path().join("logs")).unwrap();
    put(&mut target, &["one"]);
    let done =
        Target::new(folder.path().to_owned(), 0o640, false, NO_ROTATION).append(&lines(&["one"]), false);
    assert!(matches!(done.failure, Some(Failure::Hold(_))), "{done:?}");
}

#[test]
fn a_full_disk_is_tried_again() {
    let mut target = Target::new("/dev/full".into(), 0o640, false, NO_ROTATION);
    let done = target.append(&lines(&["one", "two"]), false);
    assert_eq!(done.lines, 0);
    let Some(Failure::Retry(why)) = done.failure else { panic!("{done:?}") };
    assert!(why.starts_with("/dev/full: No space left on device"), "{why}");
}

#[test]
fn what_a_caller_did_not_hear_of_is_not_written_twice() {
    let folder = TempDir::new().unwrap();
    let mut target = target(&folder, NO_ROTATION);
    put(&mut target, &["one", "two"]);
    let again = target.append(&lines(&["one", "two", "three"]), true);
    assert_eq!((again.lines, read(&folder, "log").as_str()), (3, "one\ntwo\nthree\n"));
    // Heard this time: the same text is a new line.
    put(&mut target, &["three"]);
    assert_eq!(read(&folder, "log"), "one\ntwo\nthree\nthree\n");
}

#[test]
fn symbolic_links_and_devices_work_as_for_plain_logging() {
    let folder = TempDir::new().unwrap();
    symlink(folder.path().join("real"), folder.path().join("log")).unwrap();
    put(&mut target(&folder, NO_ROTATION), &["one"]);
    assert_eq!(read(&folder, "real"), "one\n");
    put(
        &mut Target::new("/dev/null".into(), 0o640, false, Rotation { max_size: 1, ..NO_ROTATION }),
        &["one", "two"],
    );
}

#[test]
fn a_pipe_that_nobody_reads_is_tried_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let mut target = target(&folder, NO_ROTATION);
    let done = target.append(&lines(&["one"]), false);
    assert!(matches!(done.failure, Some(Failure::Retry(_))), "{done:?}");
    let mut reader =
        OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path).unwrap();
    put(&mut target, &["one", "two"]);
    let mut found = [0; 8];
    reader.read_exact(&mut found).unwrap();
    assert_eq!(&found, b"one\ntwo\n");
    drop(reader);
    let done = target.append(&lines(&["three"]), false);
    assert!(matches!(done.failure, Some(Failure::Retry(_))), "{done:?}");
}

#[test]
fn the_owner_is_the_one_that_privileges_are_dropped_to() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let folder = TempDir::new().unwrap();
    let mut target = target(&folder, NO_ROTATION);
    target.owner = Some(Owner { uid: 65534, gid: 65534 });
    target.ready().unwrap();
    let metadata = fs::metadata(folder.path().join("log")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (65534, 65534));

    // A log of before is given too, but not what somebody made the name point to.
    for (linked, wanted) in [(false, 65534), (true, 0)] {
        let folder = TempDir::new().unwrap();
        let (log, elsewhere) = (folder.path().join("log"), folder.path().join("elsewhere"));
        fs::write(if linked { &elsewhere } else { &log }, "before\n").unwrap();
        if linked {
            std::os::unix::fs::symlink(&elsewhere, &log).unwrap();
        }
        let mut target = self::target(&folder, NO_ROTATION);
        target.owner = Some(Owner { uid: 65534, gid: 65534 });
        target.ready().unwrap();
        assert_eq!(fs::metadata(&log).unwrap().uid(), wanted, "linked: {linked}");
    }
}

/// A folder in which nothing can be renamed stands for one that is not writable after privileges
/// are dropped: root, who may run this, is refused neither by permission bits nor by owners.
#[test]
fn where_rotation_is_impossible_everything_goes_on_in_the_old_file() {
    let folder = TempDir::new().unwrap();
    // A folder of that name cannot be replaced by a file.
    fs::create_dir_all(folder.path().join("log.1/in the way")).unwrap();
    let mut target = target(&folder, Rotation { max_size: 10, keep: 1, ..NO_ROTATION });
    put(&mut target, &["one line."]);
    let done = put(&mut target, &["two lines", "three...."]);
    assert_eq!(read(&folder, "log"), "one line.\ntwo lines\nthree....\n");
    let warning = done.warning.unwrap();
    assert!(warning.starts_with("cannot rotate ") && warning.ends_with("; writing on"), "{warning}");
    fs::remove_dir_all(folder.path().join("log.1")).unwrap();
    let done = put(&mut target, &["four"]);
    assert_eq!((done.warning, read(&folder, "log")), (None, "four\n".to_owned()));
    assert_eq!(read(&folder, "log.1"), "one line.\ntwo lines\nthree....\n");
}
