//! Runs the rules of a folder over events, and prints what happens as lines of JSON: the engine as a
//! program, for comparisons with other implementations (`tests/oracle/`).
//!
//! `match RULES EVENTS`: a folder of rule files, and a file with one event a line: when it happened, in
//! microseconds, a tab, and an object in JSON.
//!
//! Prints `{"refused", "why"}` for each rule that takes no part, and `{"matched", "event"}` for each
//! rule and each event that it matches, by its number. Every event is asked of the index and of every
//! rule by itself; that the two differ is an error.

use std::error::Error;
use std::io::{BufRead, Write};
use std::{env, fs, io};

use serde_json::json;
use serin_detect::json::read;
use serin_detect::{Event, LogSource, Matcher, Options, Pack, Rule, Scratch, View};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [rules, events] = arguments.as_slice() else {
        return Err("match RULES EVENTS".into());
    };
    let files = files(rules)?;
    let pack = Pack::read(files.iter().map(|it| (it.0.as_str(), it.1.as_slice())), &Options::default());
    let mut out = io::BufWriter::new(io::stdout().lock());
    for refusal in &pack.refused {
        writeln!(out, "{}", json!({ "refused": refusal.rule, "why": refusal.why }))?;
    }
    let source =
        LogSource { category: Some("application".into()), product: Some("opencanary".into()), service: None };
    let matcher = Matcher::new(&pack.rules);
    let (mut scratch, mut hits) = (Scratch::default(), Vec::new());
    for (line, id) in io::BufReader::new(fs::File::open(events)?).lines().zip(0..) {
        let line = line?;
        let (time, fields) = line.split_once('\t').ok_or("a line without a tab")?;
        let view = View { source: &source, fields: read(fields.as_bytes())?.fields };
        let event = Event { id, time: time.parse()?, sensor: "".into(), views: vec![view] };
        matcher.hits(&event, &mut scratch, &mut hits);
        let found: Vec<usize> = hits.drain(..).map(|it| it.rule).collect();
        if found != by_asking_all(&pack, &event) {
            return Err(format!("event {id}: the index finds {found:?}").into());
        }
        for rule in found.iter().filter_map(|it| pack.rules.get(*it)) {
            writeln!(out, "{}", json!({ "matched": rule.meta.title, "event": id }))?;
        }
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

/// The rule files of a folder, by name.
fn files(folder: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        files.push((path.display().to_string(), fs::read(path)?));
    }
    files.sort();
    Ok(files)
}
