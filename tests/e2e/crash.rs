//! Kills, restarts, damaged databases and full disks: nothing that was stored is lost, and nothing
//! comes twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serin_tests::{Sensor, Setup, Talk, client, eventually};

/// One refused login over FTP.
fn log_in(port: u16, user: &str) {
    let mut talk = Talk::to(port);
    talk.until("220 ");
    talk.say(format!("USER {user}\r\nPASS x\r\n"));
    talk.until("530 ");
}

/// User names in the lines of a log or of `serin events --json`, with how often each stands there.
fn users(text: &str) -> BTreeMap<String, usize> {
    let mut users = BTreeMap::new();
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|it| panic!("{it}: {line}"));
        if event["logtype"] == 2000 {
            let user = event["logdata"]["USERNAME"].as_str().unwrap_or_default().to_owned();
            *users.entry(user).or_default() += 1;
        }
    }
    users
}

fn stored(sensor: &Sensor) -> BTreeMap<String, usize> {
    let answer = sensor.ask(&["events", "--json", "--limit", "1000000"]);
    assert_eq!(answer.status, 0, "{answer:?}");
    users(&answer.out)
}

fn logged(sensor: &Sensor) -> BTreeMap<String, usize> {
    let text = fs::read_to_string(sensor.log()).unwrap_or_default();
    users(text.rfind('\n').map_or("", |end| &text[..=end]))
}

#[test]
fn a_kill_under_load_loses_nothing_that_was_answered_and_doubles_nothing() {
    let mut sensor = Setup::of(&["ftp"]).start();
    let port = sensor.port("ftp");
    let stop = Arc::new(AtomicBool::new(false));
    let answered: Arc<Mutex<Vec<(String, Instant)>>> = Arc::default();
    let clients: Vec<_> = (0..8)
        .map(|nth| {
            let (stop, answered) = (stop.clone(), answered.clone());
            thread::spawn(move || {
                for number in 0..20_000 {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let user = format!("kill-{nth}-{number}");
                    // The kill comes in the middle of some conversations.
                    let done = std::panic::catch_unwind(|| log_in(port, &user));
                    if done.is_err() {
                        return;
                    }
                    answered.lock().expect("a list").push((user, Instant::now()));
                }
            })
        })
        .collect();
    // Under load for two seconds: the test is about what was answered more than one before the end.
    eventually("two seconds of load", || {
        let answered = answered.lock().expect("a list");
        answered.first().is_some_and(|it| it.1.elapsed() > Duration::from_secs(2)).then_some(())
    });
    let killed = Instant::now();
    sensor.crash();
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("a client ends");
    }
    let answered = answered.lock().expect("a list").clone();
    let safe: BTreeSet<_> =
        answered.iter().filter(|it| it.1 + Duration::from_secs(1) < killed).map(|it| it.0.clone()).collect();
    assert!(safe.len() > 100, "only {} logins in a second", safe.len());

    let in_store = stored(&sensor);
    let lost: Vec<_> = safe.iter().filter(|it| !in_store.contains_key(*it)).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), safe.len());
    assert!(in_store.values().all(|it| *it == 1), "an event stands twice in the store");
    let rows = sensor.ask(&["events", "--csv", "--all", "--limit", "1000000"]).out;
    let numbers: Vec<u64> =
        rows.lines().skip(1).filter_map(|it| it.split(',').next()?.parse().ok()).collect();
    assert!(numbers.windows(2).all(|it| it[0] < it[1]), "numbers go up and come once");

    sensor.start();
    log_in(port, "after");
    eventually("the log to have what the store has", || {
        (logged(&sensor).keys().eq(stored(&sensor).keys())).then_some(())
    });
    let doubles: Vec<_> = logged(&sensor).into_iter().filter(|it| it.1 > 1).collect();
    assert!(doubles.is_empty(), "twice in the log file: {doubles:?}");
}

#[test]
fn a_restart_goes_on_where_it_stopped() {
    let mut sensor = Setup::of(&["ftp"]).start();
    log_in(sensor.port("ftp"), "before");
    let ended = sensor.stop();
    assert!(ended.success(), "{ended:?}: {}", sensor.said());
    assert_eq!(logged(&sensor), BTreeMap::from([("before".to_owned(), 1)]));
    sensor.start();
    log_in(sensor.port("ftp"), "after");
    let both = BTreeMap::from([("after".to_owned(), 1), ("before".to_owned(), 1)]);
    eventually("both logins in the log", || (logged(&sensor) == both).then_some(()));
    assert_eq!(stored(&sensor), both);
}

/// Starts on a damaged database: runs, says so, and keeps the damaged one.
fn survives(damage: impl FnOnce(&std::path::Path)) {
    let mut sensor = Setup::of(&["ftp"]).start();
    log_in(sensor.port("ftp"), "before");
    eventually("the login in the store", || stored(&sensor).contains_key("before").then_some(()));
    assert!(sensor.stop().success());
    for beside in ["serin.db-wal", "serin.db-shm"] {
        // Gone after a clean end already, unless the program keeps them.
        let _ = fs::remove_file(sensor.state().join(beside));
    }
    damage(&sensor.state().join("serin.db"));
    sensor.start();
    log_in(sensor.port("ftp"), "after");
    eventually("the login in the new store", || stored(&sensor).contains_key("after").then_some(()));
    let told = sensor.wait_for(1003, 1);
    assert!(told.iter().any(|it| it.line.contains("serin.db")), "{told:#?}");
    let aside: Vec<_> = fs::read_dir(sensor.state())
        .expect("a state folder")
        .map(|it| it.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|it| {
            it.starts_with("serin.db") && !["serin.db", "serin.db-wal", "serin.db-shm"].contains(&it.as_str())
        })
        .collect();
    assert!(!aside.is_empty(), "the damaged database is gone");
}

#[test]
fn a_database_of_garbage_is_moved_aside() {
    survives(|database| fs::write(database, vec![0x5a; 40_000]).expect("a file"));
}

#[test]
fn a_database_cut_in_the_middle_is_moved_aside() {
    survives(|database| {
        let bytes = fs::read(database).expect("a database");
        // The first page says that there are more.
        fs::write(database, &bytes[..4096.min(bytes.len() / 2)]).expect("a file");
    });
}

/// An FTP sensor whose state folder is a small disk of its own, in a mount namespace of its own: gone
/// with the process. `mount` is the shell's part before the sensor starts, told where the folder is.
fn on_a_small_disk(mount: impl Fn(&str) -> String) -> Option<(Sensor, PathBuf)> {
    if !nix::unistd::geteuid().is_root() {
        println!("not run: only root can mount a small disk");
        return None;
    }
    let setup = Setup::of(&["ftp"]);
    let state = setup.folder().join("state");
    fs::create_dir(&state).expect("a folder");
    let script = format!("{} exec \"$@\"", mount(&state.display().to_string()));
    Some((setup.inside(&["unshare", "-m", "sh", "-c", &script, "sh"]).start(), state))
}

#[test]
fn a_full_disk_stops_nothing_and_loses_nothing() {
    let mount = |state: &str| format!("mount -t tmpfs -o size=3m,mode=0777 none '{state}' &&");
    let Some((sensor, state)) = on_a_small_disk(mount) else { return };
    let pid = sensor.pid().to_string();
    let within = |command: &str| {
        let outcome = client("nsenter", &["-t", &pid, "-m", "sh", "-c", command]);
        assert_ne!(outcome.status, 127, "{outcome:?}");
    };
    log_in(sensor.port("ftp"), "before");
    eventually("the first login", || logged(&sensor).contains_key("before").then_some(()));
    let fill = format!(
        "dd if=/dev/zero of='{0}/fill' bs=4096 2>/dev/null; dd if=/dev/zero of='{0}/fill2' bs=1 2>/dev/null",
        state.display()
    );
    within(&fill);
    for number in 0..500 {
        log_in(sensor.port("ftp"), &format!("full-{number}"));
    }
    let health = format!("http://127.0.0.1:{}/health", sensor.port("console"));
    eventually("the full disk to show in /health", || {
        let answer = client("curl", &["-sS", "-w", "%{http_code}", &health]).out;
        answer.ends_with("503").then_some(())
    });
    within(&format!("rm -f '{0}/fill' '{0}/fill2'", state.display()));
    eventually("all logins in the log", || {
        let logged = logged(&sensor);
        (0..500).all(|it| logged.get(&format!("full-{it}")) == Some(&1)).then_some(())
    });
    log_in(sensor.port("ftp"), "after");
    eventually("the last login", || logged(&sensor).contains_key("after").then_some(()));
}

#[test]
fn a_disk_that_is_full_at_the_start_stops_nothing_either() {
    // The log says that it runs only when that can be stored, so room is made a little later.
    let mount = |state: &str| {
        format!(
            "mount -t tmpfs -o size=1m,mode=0777 none '{state}' && mkdir '{state}/certificates' '{state}/panics' && \
             touch '{state}/serin.db' && dd if=/dev/zero of='{state}/fill' bs=4096 2>/dev/null; \
             (sleep 2; rm -f '{state}/fill'; mount -o remount,size=9m '{state}') &"
        )
    };
    let Some((mut sensor, _)) = on_a_small_disk(mount) else { return };
    assert!(sensor.said().contains("events wait in memory"), "{}", sensor.said());
    let told = sensor.wait_for(1003, 1);
    assert!(told.iter().any(|it| it.line.contains("could not be opened")), "{told:#?}");
    log_in(sensor.port("ftp"), "after");
    eventually("the login", || logged(&sensor).contains_key("after").then_some(()));
    let health = format!("http://127.0.0.1:{}/health", sensor.port("console"));
    let answer = client("curl", &["-sS", "-w", "%{http_code}", &health]).out;
    assert!(answer.ends_with("200"), "{answer}");
    assert!(sensor.stop().success());
}
