//! Measures detection on one core, by the processor time of the one thread that does it: parsed
//! records, JSON lines under thousands of rules, and HTTP events with three views.
//!
//! What is measured is checked first: for a sample of each stream, the hits are those of asking every
//! rule.

mod events;
mod rules;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use serin_detect::{Event, Hit, Matcher, Options, Pack, Scratch, json};

/// Measures detection on one core and prints Markdown tables.
#[derive(Debug, Parser)]
#[command(name = "speed")]
struct Cli {
    /// The folder of Serin's own rules.
    #[arg(long, default_value = "rules/sigma")]
    rules: PathBuf,
    /// Rounds of each measurement.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long a round takes, in milliseconds.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    round_ms: u64,
    /// Measures only the rows with this in their name.
    #[arg(long, default_value = "")]
    only: String,
}

/// Lines of the stream; they repeat after that.
const LINES: usize = 4096;
/// Parsed events of each stream: few, since an event has just been made when it is matched, and is not
/// fetched from main memory.
const EVENTS: usize = 256;

fn main() -> Result<()> {
    let cli = Cli::parse();
    let mut files = own_rules(&cli.rules)?;
    files.extend(rules::opencanary());
    let few = Loaded::new(&files)?;
    files.extend(rules::public());
    let many = Loaded::new(&files)?;

    let lines = events::lines(LINES);
    let parsed = lines.iter().take(EVENTS).map(|it| events::opencanary(it)).collect::<Result<Vec<_>>>()?;
    let requests = events::requests(EVENTS);
    println!("| what | rules | million/s, median (range) | ns each | hits each | target |");
    println!("|---|---|---|---|---|---|");
    cli.matching("parsed records, one view", &few, &parsed, "5")?;
    cli.matching("parsed records under many rules", &many, &parsed, "-")?;
    cli.reading("JSON lines, read and matched", &many, &lines, "0.5")?;
    cli.matching("HTTP requests, three views", &many, &requests, "1")?;
    println!();
    println!("| rules | read, ms | compiled, ms | target, ms |");
    println!("|---|---|---|---|");
    for (loaded, target) in [(&few, "-"), (&many, "500 together")] {
        let ms = |it: Duration| it.as_secs_f64() * 1000.0;
        println!(
            "| {} | {:.0} | {:.0} | {target} |",
            loaded.pack.rules.len(),
            ms(loaded.read),
            ms(loaded.compiled)
        );
    }
    Ok(())
}

/// A rule file: its name and its text.
type File = (String, String);

fn own_rules(folder: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(own_rules(&path)?);
        } else if path.extension().is_some_and(|it| it == "yml") {
            files.push((path.display().to_string(), std::fs::read_to_string(&path)?));
        }
    }
    Ok(files)
}

/// Rules, and how long they took to load.
struct Loaded {
    pack: Pack,
    matcher: Matcher,
    read: Duration,
    compiled: Duration,
}

impl Loaded {
    fn new(files: &[File]) -> Result<Self> {
        let start = Instant::now();
        let files = files.iter().map(|it| (it.0.as_str(), it.1.as_bytes()));
        let pack = Pack::read(files, &Options::default());
        let read = start.elapsed();
        ensure!(pack.refused.is_empty(), "refused: {}", pack.refused[0]);
        let start = Instant::now();
        let matcher = Matcher::new(&pack.rules);
        Ok(Self { pack, matcher, read, compiled: start.elapsed() })
    }

    /// What asking every rule gives.
    fn scan(&self, event: &Event<'_>) -> Vec<Hit> {
        let rules = self.pack.rules.iter().enumerate();
        rules
            .filter_map(|(rule, it)| {
                let holds = |view: &serin_detect::View<'_>| {
                    it.source.covers(view.source) && it.expr.holds(&view.fields)
                };
                Some(Hit { rule, view: event.views.iter().position(holds)? })
            })
            .collect()
    }
}

/// Memory of the matcher, and what it found.
#[derive(Default)]
struct State {
    scratch: Scratch,
    hits: Vec<Hit>,
    total: u32,
}

impl Cli {
    fn matching(&self, what: &str, rules: &Loaded, events: &[Event<'_>], target: &str) -> Result<()> {
        let mut state = State::default();
        for event in events {
            rules.matcher.hits(event, &mut state.scratch, &mut state.hits);
            ensure!(state.hits == rules.scan(event), "{what}: the index differs for {event:#?}");
        }
        self.measure(what, rules, target, events, |state, event| {
            rules.matcher.hits(event, &mut state.scratch, &mut state.hits);
            state.total += u32::try_from(state.hits.len()).unwrap_or(0);
        })
    }

    fn reading(&self, what: &str, rules: &Loaded, lines: &[String], target: &str) -> Result<()> {
        let mut refused = 0_usize;
        self.measure(what, rules, target, lines, |state, line| {
            // What `events::opencanary` does, without an error that has a text.
            let Ok(json::Line { fields, .. }) = json::read(line.as_bytes()) else {
                refused += 1;
                return;
            };
            let event = events::event(fields);
            rules.matcher.hits(&event, &mut state.scratch, &mut state.hits);
            state.total += u32::try_from(state.hits.len()).unwrap_or(0);
        })?;
        ensure!(refused == 0, "{refused} lines were refused");
        Ok(())
    }

    /// Measures and prints one row.
    fn measure<T>(
        &self,
        what: &str,
        rules: &Loaded,
        target: &str,
        events: &[T],
        mut one: impl FnMut(&mut State, &T),
    ) -> Result<()> {
        if !what.contains(&self.only) {
            return Ok(());
        }
        let mut state = State::default();
        for event in events {
            one(&mut state, event);
        }
        let mut rates = Vec::new();
        let mut hits = 0.0;
        for _ in 0..self.rounds {
            state.total = 0;
            let (wall, busy) = (Instant::now(), thread_time()?);
            let mut passes = 0_u32;
            while wall.elapsed() < Duration::from_millis(self.round_ms) {
                for event in events {
                    one(&mut state, event);
                }
                passes += 1;
            }
            let busy = thread_time()?.saturating_sub(busy);
            let count = f64::from(passes) * f64::from(u32::try_from(events.len())?);
            rates.push(count / busy.as_secs_f64());
            hits = f64::from(state.total) / count;
        }
        rates.sort_by(f64::total_cmp);
        let median = rates[rates.len() / 2];
        let (low, high) = (rates[0] / 1e6, rates[rates.len() - 1] / 1e6);
        println!(
            "| {what} | {} | {:.2} ({low:.2} to {high:.2}) | {:.0} | {hits:.2} | {target} |",
            rules.pack.rules.len(),
            median / 1e6,
            1e9 / median
        );
        Ok(())
    }
}

/// The processor time that this thread has had.
fn thread_time() -> Result<Duration> {
    let stat =
        std::fs::read_to_string("/proc/thread-self/schedstat").context("the kernel keeps no schedstat")?;
    let nanoseconds = stat.split_whitespace().next().context("an empty schedstat")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}
