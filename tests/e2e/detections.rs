//! Detection rules at work: what fires is in the store once, whatever happens in between.

use std::fs;

use serde_json::{Value, json};
use serin_store::{IncidentQuery, Query, Reader};
use serin_tests::{Sensor, Setup, Talk, binary, client_in, eventually, serin};

fn log_in(sensor: &Sensor, user: &str) {
    let mut talk = Talk::to(sensor.port("ftp"));
    talk.until("220 ");
    talk.say(format!("USER {user}\r\nPASS s3cret-pw\r\n"));
    talk.until("530 ");
}

fn connect(sensor: &Sensor) {
    let mut talk = Talk::to(sensor.port("ssh"));
    talk.until("SSH-2.0-");
}

/// What was detected so far, in order.
fn detections(sensor: &Sensor) -> Vec<Value> {
    let Ok(reader) = Reader::open(sensor.state().join("serin.db")) else { return Vec::new() };
    let records = reader.query(&Query { logtypes: vec![22101], limit: 100_000, ..Query::default() });
    let records = records.expect("a store");
    records.iter().map(|it| serde_json::from_str(&it.logdata).expect("JSON")).collect()
}

/// Waits for a detection of this title.
#[track_caller]
fn detected(sensor: &Sensor, title: &str) -> Value {
    let is_it = |it: &Value| it["TITLE"] == title;
    eventually(title, || detections(sensor).into_iter().find(is_it))
}

fn rule(title: &str, level: &str, selection: &str) -> String {
    format!(
        "title: {title}\nlogsource:\n    category: application\n    product: opencanary\nlevel: {level}\n\
         detection:\n    selection:\n        {selection}\n    condition: selection\n"
    )
}

#[test]
fn the_four_rules_of_the_mission_fire() {
    let sensor = Setup::of(&["ssh", "httpproxy"]).start();
    let started = detected(&sensor, "OpenCanary HTTPPROXY Service Started");
    assert_eq!(started["LEVEL"], "informational");
    for _ in 0..5 {
        connect(&sensor);
    }
    let one = detected(&sensor, "OpenCanary - SSH New Connection Attempt");
    assert_eq!((&one["LEVEL"], &one["CORRELATION"]), (&json!("high"), &json!(false)));
    let many = detected(&sensor, "OpenCanary - Multiple SSH connection attempts from single IP");
    assert_eq!((&many["LEVEL"], &many["CORRELATION"]), (&json!("medium"), &json!(true)));
    assert_eq!(many["GROUP"], json!({ "src_host": "127.0.0.1" }));
    assert_eq!(many["EVENTS"].as_array().map(Vec::len), Some(5), "{many}");
    assert_eq!(many["AUTHOR"], "Serin contributors");
    let mut talk = Talk::to(sensor.port("httpproxy"));
    talk.say("GET http://intranet/ HTTP/1.1\r\nHost: intranet\r\nProxy-Authorization: Basic dTpw\r\n\r\n");
    talk.until("407");
    assert_eq!(detected(&sensor, "OpenCanary HTTPPROXY Login Attempt")["LEVEL"], "high");
    // Five connections fired the first rule five times; it was told once.
    let firsts = detections(&sensor).into_iter().filter(|it| it["TITLE"] == one["TITLE"]).count();
    assert_eq!(firsts, 1);
}

#[test]
fn correlations_outlive_a_kill_and_nothing_is_told_twice() {
    let mut sensor = Setup::of(&["ssh"]).start();
    let title = "OpenCanary - Multiple SSH connection attempts from single IP";
    for _ in 0..4 {
        connect(&sensor);
    }
    let _ = sensor.wait_for(4000, 4);
    let _ = detected(&sensor, "OpenCanary - SSH New Connection Attempt");
    sensor.crash();
    sensor.start();
    assert!(detections(&sensor).iter().all(|it| it["TITLE"] != title));
    connect(&sensor);
    assert_eq!(detected(&sensor, title)["EVENTS"].as_array().map(Vec::len), Some(5));
    for _ in 0..2 {
        sensor.crash();
        sensor.start();
        connect(&sensor);
    }
    let _ = sensor.wait_for(4000, 7);
    sensor.stop();
    let mut titles: Vec<_> = detections(&sensor).iter().map(|it| it["TITLE"].to_string()).collect();
    titles.retain(|it| !it.contains("Sensor"));
    titles.sort();
    let told = titles.len();
    titles.dedup();
    assert_eq!(titles.len(), told, "something was told twice: {titles:#?}");
}

#[test]
fn rules_of_ones_own_alarm_and_bad_ones_stop_nothing() {
    let setup = Setup::of(&["ftp"]);
    let folder = setup.folder().join("rules");
    fs::create_dir_all(folder.join("deep")).expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file");
    write("deep/crown.yml", &rule("Crown jewels", "critical", "logdata.USERNAME: crown*"));
    write("bad.yml", &rule("Half a rule", "high", "logdata.USERNAME|nosuch: x"));
    let path = folder.to_str().expect("a path");
    let sensor = setup.with("detection.rules", json!([path])).start();
    log_in(&sensor, "crown-prince");
    let found = detected(&sensor, "Crown jewels");
    assert_eq!((&found["LEVEL"], &found["SERVICE"]), (&json!("critical"), &json!("ftp")));
    let words = found["SENTENCE"].as_str().expect("a sentence");
    assert_eq!(words, "Crown jewels: 127.0.0.1 tried to log in to FTP as crown-prince");
    let incident = eventually("a critical incident", || {
        let reader = Reader::open(sensor.state().join("serin.db")).ok()?;
        let all = reader.incidents(&IncidentQuery::default()).ok()?;
        all.into_iter().find(|it| it.severity.name() == "critical")
    });
    let notice: Value = serde_json::from_str(&incident.notice).expect("JSON");
    assert!(notice.to_string().contains("Crown jewels"), "{notice}");

    let check = serin(sensor.folder(), &["rules", "check", path]);
    assert_eq!(check.status, 1, "{check:?}");
    assert!(check.out.contains("bad.yml:8: refused: "), "{check:?}");
    assert!(
        check.out.contains("1 rule and 0 correlations can be used, 1 is refused, 2 warnings"),
        "{check:?}"
    );
    assert!(sensor.said().contains("1 detection rules are not used"), "{}", sensor.said());
    fs::remove_file(folder.join("bad.yml")).expect("a file");
    assert_eq!(serin(sensor.folder(), &["rules", "check", path]).status, 0);

    // A rule that comes later is taken without a restart.
    write("later.yml", &rule("Later", "high", "logdata.USERNAME: late"));
    eventually("the later rule", || {
        log_in(&sensor, "late");
        detections(&sensor).into_iter().find(|it| it["TITLE"] == "Later")
    });
}

#[test]
fn an_output_gets_detections_where_it_asks_for_them() {
    let setup = Setup::of(&["ftp"]);
    let (with, without) = (setup.folder().join("with.log"), setup.folder().join("without.log"));
    let file = |path: &std::path::Path, detections: bool| json!({ "type": "file", "path": path.to_str().expect("a path"), "detections": detections });
    let sensor = setup.output("with", file(&with, true)).output("without", file(&without, false)).start();
    log_in(&sensor, "root");
    let line = eventually("a detection in the file", || {
        let text = fs::read_to_string(&with).ok()?;
        let lines = text.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok());
        lines.into_iter().find(|it| it["logtype"] == 22101 && it["src_host"] == "127.0.0.1")
    });
    assert_eq!(line["logdata"]["RULE_ID"].as_str().map(str::len), Some(36), "{line}");
    assert!(!line.to_string().contains("s3cret-pw"), "{line}");
    let text = fs::read_to_string(&without).expect("a log");
    assert!(text.contains("\"logtype\": 2000") && !text.contains("22101"), "{text}");
}

#[test]
fn a_log_of_opencanary_is_replayed_with_evidence() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = |second: u32, more: &str| {
        format!(
            r#"{{"dst_host": "10.0.0.9", "dst_port": 22, "local_time": "x", "logdata": {{"SESSION": "1"}}, "logtype": 4000, "node_id": "n", "src_host": "10.0.0.5", "src_port": 4, "utc_time": "2026-11-22 10:00:{second:02}.000000"{more}}}"#
        )
    };
    let mut log: Vec<_> = (0..5).map(|it| line(it, "")).collect();
    log.insert(2, "no event".to_owned());
    log.push(line(59, r#", "ticket": "T-1""#));
    fs::write(folder.path().join("canary.log"), log.join("\n")).expect("a file");
    let outcome = serin(folder.path(), &["rules", "test", "canary.log", "--json"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let found: Vec<Value> =
        outcome.out.lines().map(|it| serde_json::from_str(it).expect("an object")).collect();
    let single: Vec<_> = found.iter().filter(|it| it["correlation"] == false).collect();
    assert_eq!(single.len(), 6, "{found:#?}");
    assert_eq!(single[0]["event_ids"], json!([1]));
    assert_eq!(single[5]["ticket"], "T-1");
    let many: Vec<_> =
        found.iter().filter(|it| it["level"] == "medium" && it["correlation"] == true).collect();
    assert_eq!(many.len(), 2, "at the fifth and at the sixth: {found:#?}");
    assert_eq!(many[0]["event_ids"], json!([1, 2, 4, 5, 6]));
    assert_eq!(many[0]["group"], json!({ "src_host": "10.0.0.5" }));
    assert_eq!(
        (&many[1]["ticket"], &many[1]["time"]),
        (&json!("T-1"), &json!("2026-11-22T10:00:59.000000Z"))
    );
    assert!(outcome.err.contains("canary.log:3: this is no event"), "{outcome:?}");
    let explained = serin(folder.path(), &["rules", "test", "canary.log", "--explain", "--all"]).out;
    assert!(explained.contains("    event 6: {"), "{explained}");
    // A person is shown each once, and how often it was.
    let told = serin(folder.path(), &["rules", "test", "canary.log"]).out;
    assert_eq!(told.matches("  OpenCanary - SSH New Connection Attempt  10.0.0.5\n").count(), 1, "{told}");
    assert!(told.contains("        6  OpenCanary - SSH New Connection Attempt\n"), "{told}");
    // The same log gives the same answer.
    assert_eq!(serin(folder.path(), &["rules", "test", "canary.log", "--json"]).out, outcome.out);
}

/// A connection to OpenCanary's SSH, so many seconds after ten, with other members.
fn connection(seconds: u32, more: &str) -> String {
    let (minute, second) = (seconds / 60, seconds % 60);
    format!(
        r#"{{"dst_host": "10.0.0.9", "dst_port": 22, "logdata": {{"SESSION": "1"}}, "logtype": 4000, "node_id": "n", "src_host": "10.0.0.5", "src_port": 4, "utc_time": "2026-11-22 10:{minute:02}:{second:02}.000000"{more}}}"#
    )
}

/// The numbers of the events that one rule fired at.
fn fired_at(out: &str, title: &str) -> Vec<Value> {
    let found = out.lines().map(|it| serde_json::from_str::<Value>(it).expect("an object"));
    found.filter(|it| it["title"] == title).map(|it| it["event_ids"][0].clone()).collect()
}

const CONNECTION: &str = "OpenCanary - SSH New Connection Attempt";

#[test]
fn a_replay_takes_logs_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = connection(2, "").replace("4000", "22101");
    let huge = connection(3, &format!(r#", "more": "{}""#, "x".repeat(17 << 20)));
    let trial = connection(4, r#", "selftest": true"#);
    let log =
        ["\u{feff}".to_owned() + &connection(1, ""), own, huge, trial, connection(5, "")].join("\n") + "\n";
    fs::write(folder.path().join("canary.log"), &log).expect("a file");
    let outcome = serin(folder.path(), &["rules", "test", "canary.log", "--json"]);
    assert_eq!(
        (outcome.status, fired_at(&outcome.out, CONNECTION)),
        (0, vec![json!(1), json!(5)]),
        "{outcome:?}"
    );
    assert!(outcome.err.contains("canary.log:3: this line is too long, and is left out"), "{}", outcome.err);
    assert!(outcome.err.contains("2 events in "), "{}", outcome.err);
    assert!(outcome.err.contains(", 1 line left out, 2 records of Serin itself"), "{}", outcome.err);
    // From a pipe, and compressed.
    let program = binary().display().to_string();
    let piped = client_in(folder.path(), &program, &["rules", "test", "-", "--json"], &log);
    assert_eq!((piped.status, &piped.out), (0, &outcome.out), "{}", piped.err);
    assert!(piped.err.contains("standard input:3: this line is too long"), "{}", piped.err);
    assert_eq!(client_in(folder.path(), "gzip", &["-k", "canary.log"], "").status, 0);
    let zipped = serin(folder.path(), &["rules", "test", "canary.log.gz", "--json"]);
    assert_eq!((zipped.status, &zipped.out), (0, &outcome.out), "{}", zipped.err);
    // One that breaks off gives what it has, and is no success.
    let bytes = fs::read(folder.path().join("canary.log.gz")).expect("a file");
    fs::write(folder.path().join("half.gz"), bytes.get(..bytes.len() - 6).expect("a file")).expect("a file");
    let half = serin(folder.path(), &["rules", "test", "half.gz", "--json"]);
    assert_eq!((half.status, &half.out), (1, &outcome.out), "{}", half.err);
    assert!(half.err.contains("serin: half.gz: "), "{}", half.err);
}

#[test]
fn a_replay_says_what_came_late_and_counts_in_whole_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log: Vec<_> = (0..5).map(|it| connection(1200 + it, "")).collect();
    // Too late for any window of five minutes that is still open.
    log.extend([connection(1300, ""), connection(1, "")]);
    fs::write(folder.path().join("canary.log"), log.join("\n")).expect("a file");
    let outcome = serin(folder.path(), &["rules", "test", "canary.log", "--json"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let many = "OpenCanary - Multiple SSH connection attempts from single IP";
    let found = outcome.out.lines().find(|it| it.contains(many)).expect("a correlation");
    assert!(found.contains(r#""figure":5,"#), "{found}");
    assert!(
        outcome.err.contains("1 event came after others that are more than 5 seconds younger"),
        "{outcome:?}"
    );
    let late = format!("{many}: 1 event too late for any window that was still open");
    assert!(outcome.err.contains(&late), "{outcome:?}");
}

#[test]
fn a_replay_without_rules_is_a_mistake_and_one_that_nobody_reads_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let log: Vec<_> = (0..2000).map(|it| connection(it, "")).collect();
    fs::write(folder.path().join("canary.log"), log.join("\n")).expect("a file");
    let nowhere = serin(folder.path(), &["rules", "test", "canary.log", "--rules", "nowhere"]);
    assert_eq!((nowhere.status, nowhere.out.as_str()), (1, ""));
    assert!(nowhere.err.contains("serin: nowhere: No such file"), "{nowhere:?}");
    fs::write(folder.path().join("bad.yml"), rule("Half a rule", "high", "logdata.USERNAME|nosuch: x"))
        .expect("a file");
    let bad = serin(folder.path(), &["rules", "test", "canary.log", "--rules", "bad.yml"]);
    assert_eq!((bad.status, bad.out.as_str()), (1, ""));
    assert!(bad.err.contains("of the rules 1 is refused, the first: bad.yml:8: "), "{bad:?}");
    assert!(bad.err.contains("serin: there is no rule that can be used"), "{bad:?}");
    // Whoever reads it has seen enough after a line; the error channel goes the same way.
    let script = "\"$1\" rules test canary.log --json 2>&1 | head -n 1; echo \"${PIPESTATUS[0]}\"";
    let cut = client_in(folder.path(), "bash", &["-c", script, "bash", &binary().display().to_string()], "");
    assert_eq!(cut.out.lines().count(), 2, "{cut:?}");
    assert_eq!(cut.out.lines().last(), Some("0"), "{cut:?}");
}

#[test]
fn a_replay_of_the_store_leaves_out_what_the_sensor_leaves_out() {
    let ignore = json!([{ "name": "scanner", "action": "suppress", "user": "scanner" }]);
    let mut sensor = Setup::of(&["ftp"]).with("ignore", ignore).start();
    log_in(&sensor, "scanner");
    log_in(&sensor, "root");
    let selftest = sensor.ask(&["selftest", "ftp"]);
    assert_eq!(selftest.status, 0, "{selftest:?}");
    let title = "OpenCanary - FTP Login Attempt";
    let _ = detected(&sensor, title);
    let _ = sensor.wait_for(2000, 2);
    sensor.stop();
    let tested = sensor.ask(&["rules", "test", "--json"]);
    assert_eq!((tested.status, fired_at(&tested.out, title).len()), (0, 1), "{tested:?}");
    assert!(tested.err.contains(" of Serin itself, of self-tests or ignored passed over"), "{tested:?}");
}

#[test]
fn a_check_tells_of_rules_and_a_start_goes_on_without_them() {
    let setup = Setup::of(&["ftp"]);
    let folder = setup.folder().join("rules");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("bad.yml"), rule("Half a rule", "high", "logdata.USERNAME|nosuch: x"))
        .expect("a file");
    let missing = setup.folder().join("nowhere");
    let disable = ["No such rule", "Half a rule", "opencanary - ftp login attempt"];
    let sensor = setup
        .with("detection.rules", json!([folder, missing]))
        .with("detection.disable", json!(disable))
        .start();
    let nowhere = format!("detection.rules: {}: No such file", missing.display());
    eventually("a warning", || sensor.said().contains(&nowhere).then_some(()));
    let check = sensor.ask(&["check", "--config", &sensor.config().display().to_string()]);
    assert_eq!((check.status, check.out.matches("detection.").count()), (0, 3), "{check:?}");
    assert!(check.out.contains(&nowhere), "{check:?}");
    assert!(check.out.contains("rules/bad.yml:8: refused: "), "{check:?}");
    assert!(
        check.out.contains("detection.disable: no rule has the id or the title \"No such rule\""),
        "{check:?}"
    );
}

#[test]
fn the_rules_and_queries_made_of_them_are_handed_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let outcome = serin(folder.path(), &["rules", "export", "out"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let read = |path: &str| fs::read_to_string(folder.path().join("out").join(path)).expect(path);
    for (path, words) in [
        ("splunk/queries.spl", "src_host"),
        ("esql/queries.esql", "OpenCanary - SSH New Connection Attempt"),
        ("eql/queries.eql", "sequence by"),
        ("loki/queries.logql", "count_over_time"),
        ("sentinel/queries.kql", "4002"),
        ("pipelines/ecs.yml", "source.ip"),
    ] {
        assert!(read(path).contains(words), "{path} lacks {words}");
    }
    let check = serin(folder.path(), &["rules", "check", "out/sigma"]);
    assert_eq!(check.status, 0, "{check:?}");
    // What is handed out is what is in use.
    let listed = serin(folder.path(), &["rules", "list", "--json"]).out;
    let listed: Vec<Value> = serde_json::from_str(&listed).expect("a list");
    let (rules, correlations) = listed.iter().partition::<Vec<_>, _>(|it| it["kind"] == "rule");
    let counts = format!("{} rules and {} correlations can be used", rules.len(), correlations.len());
    assert!(check.out.contains(&counts), "{counts}: {check:?}");
    let titles: Vec<_> = listed.iter().filter_map(|it| it["title"].as_str()).collect();
    for (title, level) in [
        ("OpenCanary - SSH New Connection Attempt", "high"),
        ("OpenCanary - Multiple SSH connection attempts from single IP", "medium"),
        ("OpenCanary HTTPPROXY Login Attempt", "high"),
        ("OpenCanary HTTPPROXY Service Started", "informational"),
    ] {
        assert!(titles.contains(&title), "{titles:#?}");
        assert!(listed.iter().any(|it| it["title"] == title && it["level"] == level), "{title}");
    }
}
