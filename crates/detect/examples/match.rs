//! Runs the rules of a folder over events, and prints what happens as lines of JSON: the engine as a
//! program, for comparisons with other implementations (`tests/oracle/`).
//!
//! `match RULES EVENTS [LATENESS]`: a folder of rule files; a file with one event a line, which is when
//! it happened, when it arrived, and an object in JSON, with tabs between; and how long to wait for
//! events that arrive late. All times are in microseconds.
//!
//! Prints `{"refused", "why"}` for each rule that takes no part, `{"matched", "event"}` for each rule
//! and each event that it matches, by its number, and `{"fired", "time", "group"}` for each firing of a
//! correlation. Every event is asked of the index and of every rule by itself; that the two differ is an
//! error.

use std::error::Error;
use std::io::{BufRead, Write};
use std::{env, fs, io};

use serde_json::json;
use serin_detect::json::read;
use serin_detect::rule::Ref;
use serin_detect::{Detector, Event, LogSource, Options, Pack, Rule, Settings, View};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [rules, events, rest @ ..] = arguments.as_slice() else {
        return Err("match RULES EVENTS [LATENESS]".into());
    };
    let lateness = rest.first().map_or(Ok(0), |it| it.parse())?;
    let files = files(rules)?;
    let pack = Pack::read(files.iter().map(|it| (it.0.as_str(), it.1.as_slice())), &Options::default());
    let mut out = io::BufWriter::new(io::stdout().lock());
    for refusal in &pack.refused {
        writeln!(out, "{}", json!({ "refused": refusal.rule, "why": refusal.why }))?;
    }
    let source =
        LogSource { category: Some("application".into()), product: Some("opencanary".into()), service: None };
    let mut detector = Detector::new(pack, Settings { lateness, ..Settings::default() });
    let mut found = Vec::new();
    for (line, id) in io::BufReader::new(fs::File::open(events)?).lines().zip(0..) {
        let line = line?;
        let [time, arrived, fields] = line.splitn(3, '\t').collect::<Vec<_>>()[..] else {
            return Err("a line without two tabs".into());
        };
        let view = View { source: &source, fields: read(fields.as_bytes())?.fields };
        let event = Event { id, time: time.parse()?, sensor: "".into(), views: vec![view] };
        detector.observe(&event, arrived.parse()?, &mut found);
        let hits: Vec<usize> = detector.hits().iter().map(|it| it.rule).collect();
        if hits != by_asking_all(detector.pack(), &event) {
            return Err(format!("event {id}: the index finds {hits:?}").into());
        }
        for rule in hits.iter().filter_map(|it| detector.pack().rules.get(*it)) {
            writeln!(out, "{}", json!({ "matched": rule.meta.title, "event": id }))?;
        }
    }
    detector.finish(&mut found);
    for it in found.iter().filter(|it| matches!(it.rule, Ref::Correlation(_))) {
        let title = detector.pack().meta(it.rule).map(|it| it.title.as_str());
        let group: Vec<&str> = it.group.iter().map(|it| it.1.as_str()).collect();
        writeln!(out, "{}", json!({ "fired": title, "time": it.time, "group": group }))?;
    }
    Ok(())
}

/// The rules that match, found without the index.
fn by_asking_all(pack: &Pack, event: &Event<'_>) -> Vec<usize> {
    let matches = |rule: &Rule| {
        event.views.iter().any(|it| rule.source.covers(it.source) && rule.expr.holds(&it.fields))
    };
    pack.rules.iter().enumerate().filter(|it| matches(it.1)).map(|it| it.0).collect()
}

/// The rule files below a folder.
fn files(folder: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.display().to_string();
        if path.is_dir() {
            files.extend(self::files(&name)?);
        } else if path.extension().is_some_and(|it| it == "yml") {
            files.push((name, fs::read(path)?));
        }
    }
    Ok(files)
}
