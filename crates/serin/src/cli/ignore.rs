//! `serin ignore`: which rules there are, how often each was met, and what one would hide.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;
use serin_event::Timestamp;
use serin_store::{Query, Reader};

use super::events::{moment, readable};
use super::{Sensor, fail};
use crate::config::{Config, rules, search};
use crate::ignore::{Action, Counters, DryRun, Facts, Rule, Tally};
use crate::runtime::clock;

/// Which rules to try, and on what.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    sensor: Sensor,
    /// This rule of the configuration; without this, --toml and --file: all of them.
    #[arg(long, value_name = "NAME", group = "rules")]
    rule: Option<String>,
    /// This rule, which need not be anywhere yet: `source = "10.0.0.5"`, one key a line or separated by
    /// `;`.
    #[arg(long, value_name = "RULE", group = "rules")]
    toml: Option<String>,
    /// The rules of this file.
    #[arg(long, value_name = "FILE", group = "rules")]
    file: Option<PathBuf>,
    /// On events since then: `12h`, `30d`, or a time such as `2026-11-22 14:00` (UTC).
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = moment)]
    since: Timestamp,
}

/// Prints the rules with their hits.
pub(super) fn list(sensor: &Sensor, json: bool, out: &mut dyn Write) -> ExitCode {
    let config = match sensor.load() {
        Ok(config) => config,
        Err(complaints) => return fail(&complaints),
    };
    let tallies = Counters::read(&sensor.state().ignore_hits());
    let rows: Vec<_> = config
        .rules
        .rules()
        .iter()
        .map(|it| (it, tallies.get(&it.name).copied().unwrap_or_default()))
        .collect();
    let written = if json { print_json(&rows, out) } else { print(&rows, out) };
    finish(written)
}

fn print(rows: &[(&Rule, Tally)], out: &mut dyn Write) -> io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "no ignore rules");
    }
    writeln!(
        out,
        "{:<24} {:<9} {:>9}  {:<19}  {:<20}  comment",
        "rule", "action", "hits", "last hit", "expires"
    )?;
    for (rule, tally) in rows {
        let last = tally.last().map_or_else(|| "never".to_owned(), local);
        writeln!(
            out,
            "{:<24} {:<9} {:>9}  {last:<19}  {:<20}  {}",
            rule.name,
            rule.action.name(),
            tally.hits,
            expiry(rule),
            rule.comment.replace(char::is_control, " ")
        )?;
    }
    Ok(())
}

fn print_json(rows: &[(&Rule, Tally)], out: &mut dyn Write) -> io::Result<()> {
    let rows: Vec<_> = rows
        .iter()
        .map(|(rule, tally)| {
            json!({
                "name": rule.name,
                "action": rule.action.name(),
                "hits": tally.hits,
                "last_hit": tally.last().map(Timestamp::rfc3339),
                "expires": rule.expires.map(|it| it.to_string()),
                "expired": is_over(rule),
                "comment": rule.comment,
            })
        })
        .collect();
    serde_json::to_writer_pretty(&mut *out, &rows).map_err(io::Error::from).and_then(|()| writeln!(out))
}

/// A time in the host's own zone, to the second.
fn local(time: Timestamp) -> String {
    let text = time.civil(clock::utc_offset(time));
    text.get(..19).unwrap_or(&text).to_owned()
}

fn is_over(rule: &Rule) -> bool {
    let now = clock::now();
    rule.expires.is_some_and(|it| it.is_past(now, clock::utc_offset(now)))
}

fn expiry(rule: &Rule) -> String {
    let over = if is_over(rule) { " (over)" } else { "" };
    rule.expires.map_or_else(|| "never".to_owned(), |it| format!("{it}{over}"))
}

/// Tells what rules would have hidden of the stored events.
pub(super) fn test(arguments: &Arguments, out: &mut dyn Write) -> ExitCode {
    let rules = match wanted(arguments) {
        Ok(rules) => rules,
        Err(text) => return fail(&text),
    };
    let mut runs: Vec<_> = rules.iter().map(DryRun::new).collect();
    let seen = match replay(arguments, &mut runs) {
        Ok(seen) => seen,
        Err(error) => return fail(&error),
    };
    let written = writeln!(out, "{seen} events since {}", local(arguments.since))
        .and_then(|()| runs.iter().try_for_each(|it| tell(it, out)));
    finish(written)
}

fn wanted(arguments: &Arguments) -> Result<Vec<Rule>, String> {
    if let Some(text) = &arguments.toml {
        return inline(text);
    }
    if let Some(file) = &arguments.file {
        let text = search::read(file).map_err(|it| format!("{}: {it}", file.display()))?;
        return of_text(file, &text);
    }
    let config: Config = arguments.sensor.load().map_err(|it| it.to_string())?;
    let all = config.rules.rules();
    match &arguments.rule {
        None => Ok(all.to_vec()),
        Some(name) => {
            let named = all.iter().find(|it| it.name == *name).map(|it| vec![it.clone()]);
            let known = || all.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ");
            named.ok_or_else(|| format!("there is no rule {name:?}; there are: {}", known()))
        }
    }
}

/// A rule from the command line. Its name may be left out.
fn inline(text: &str) -> Result<Vec<Rule>, String> {
    let name = Path::new("--toml");
    if text.contains("[[ignore]]") {
        return of_text(name, text);
    }
    let lines = text.trim().trim_start_matches('{').trim_end_matches('}').replace(';', "\n");
    let named = lines.lines().any(|it| it.trim_start().starts_with("name"));
    let own = if named { "" } else { "\nname = \"--toml\"" };
    of_text(name, &format!("[[ignore]]\n{lines}{own}\n"))
}

fn of_text(file: &Path, text: &str) -> Result<Vec<Rule>, String> {
    let (rules, notes) = rules::parse(text);
    if notes.is_empty() {
        return Ok(rules);
    }
    let notes: Vec<_> = notes.iter().map(|it| format!("{}:{it}", file.display())).collect();
    Err(notes.join("\n"))
}

/// Shows every stored event of the time to every rule. Returns how many there were.
fn replay(arguments: &Arguments, runs: &mut [DryRun<'_>]) -> Result<u64, serin_store::Error> {
    let reader = Reader::open(arguments.sensor.state().database())?;
    let mut query = Query { since: Some(arguments.since), limit: BATCH, ..Query::default() };
    let mut seen = 0;
    loop {
        let records = reader.query(&query)?;
        let Some(last) = records.last() else { return Ok(seen) };
        query.after = Some(last.seq);
        seen += records.len() as u64;
        for record in &records {
            let facts = Facts::of(record);
            for run in &mut *runs {
                run.take(&facts);
            }
        }
    }
}

fn tell(run: &DryRun<'_>, out: &mut dyn Write) -> io::Result<()> {
    let would = match run.rule.action {
        Action::Suppress => "would have been kept quiet",
        Action::Lower => "would have counted one step less severe",
        Action::Drop => "would not have been stored",
    };
    write!(
        out,
        "\nrule {:?}: {} of these, from {} sources, {would}",
        run.rule.name,
        run.hits,
        run.sources()
    )?;
    match run.last {
        Some(last) => writeln!(out, "; the last at {}", local(last))?,
        None => writeln!(out)?,
    }
    run.samples.iter().try_for_each(|it| writeln!(out, "  {}  {}", it.seq, readable(it)))
}

fn finish(written: io::Result<()>) -> ExitCode {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(&error),
        _ => ExitCode::SUCCESS,
    }
}

/// Events read at a time.
const BATCH: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_can_be_written_on_the_command_line() {
        for text in [
            "source = \"10.0.0.5\"; service = \"ssh\"",
            "{ source = \"10.0.0.5\"; name = \"x\" }",
            "[[ignore]]\nname = \"x\"\nsource = \"10.0.0.5\"",
        ] {
            assert_eq!(inline(text).unwrap().len(), 1, "{text}");
        }
        let wrong = inline("sorce = \"10.0.0.5\"").unwrap_err();
        assert!(wrong.contains("ignore.0.sorce: no such key; did you mean source?"), "{wrong}");
    }
}
