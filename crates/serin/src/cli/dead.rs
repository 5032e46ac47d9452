//! `serin outputs dead`, `retry-dead` and `reset`: events that were put aside, and outputs that should
//! go on elsewhere.
//!
//! A running sensor is the only one who writes to its store, so it is asked; without one the store is
//! opened here.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::json;
use serin_event::Timestamp;
use serin_store::{DeadLetter, Options, Reader, ReaderState, Store};

use super::{Sensor, fail};
use crate::outputs::{self, OutputConf, OutputStatus};
use crate::runtime::control::{self, Request};
use crate::state::StateDir;

/// Where an output is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// With the oldest event that is stored.
    Begin,
    /// With what is stored from now on.
    End,
    /// With the event of this number.
    Event(u64),
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "begin" | "beginning" => Ok(Self::Begin),
            "end" => Ok(Self::End),
            number => number.parse().map(Self::Event).map_err(|_| "wants begin, end or a number".to_owned()),
        }
    }
}

/// All of them that are kept are shown.
const MOST: usize = 10_000;
/// So many numbers fit into one request to the sensor.
const NUMBERS: usize = 100;

/// Prints what the receiver of an output refused, and why.
pub(super) fn list(sensor: &Sensor, name: &str, json: bool, out: &mut dyn Write) -> ExitCode {
    match read(sensor, name) {
        Ok((reader, letters)) => told(show(&reader, &letters, json, out)),
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn told(written: io::Result<()>) -> ExitCode {
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn read(sensor: &Sensor, name: &str) -> anyhow::Result<(Reader, Vec<DeadLetter>)> {
    let reader = Reader::open(sensor.state().database())?;
    let known = reader.readers()?.iter().any(|it| it.name == name);
    anyhow::ensure!(known, "this sensor has never had an output {name:?}");
    let letters = reader.dead_letters(name, MOST)?;
    Ok((reader, letters))
}

fn show(reader: &Reader, letters: &[DeadLetter], json: bool, out: &mut dyn Write) -> io::Result<()> {
    for letter in letters {
        let event = reader.get(letter.seq).ok().flatten();
        let sentence = event.as_ref().map(serin_event::Record::sentence);
        if json {
            let line = json!({ "seq": letter.seq, "time": letter.time.rfc3339(), "reason": letter.reason,
                "event": sentence });
            writeln!(out, "{line}")?;
        } else {
            let sentence = sentence.as_deref().unwrap_or("not stored any more");
            writeln!(out, "{:>8}  {}  {sentence}", letter.seq, letter.time.rfc3339())?;
            writeln!(out, "          {}", letter.reason)?;
        }
    }
    if letters.is_empty() && !json {
        writeln!(out, "nothing was put aside")?;
    }
    Ok(())
}

fn configured(sensor: &Sensor, name: &str) -> Result<OutputConf, String> {
    let mut config = sensor.load().map_err(|it| it.to_string())?;
    let at = config.outputs.iter().position(|it| it.name == name);
    at.map(|it| config.outputs.swap_remove(it)).ok_or_else(|| {
        let known: Vec<_> = config.outputs.iter().map(|it| it.name.as_str()).collect();
        format!("no output is called {name:?}; configured are: {}", known.join(", "))
    })
}

/// Offers what was put aside again, and forgets what the receiver takes now.
pub(super) fn retry(sensor: &Sensor, name: &str, out: &mut dyn Write) -> ExitCode {
    match try_again(sensor, name, out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => fail(&why),
    }
}

fn try_again(sensor: &Sensor, name: &str, out: &mut dyn Write) -> Result<bool, String> {
    let conf = configured(sensor, name)?;
    let (reader, letters) = read(sensor, name).map_err(|it| format!("{it:#}"))?;
    let mut records = Vec::new();
    let mut gone = Vec::new();
    for letter in &letters {
        match reader.get(letter.seq).map_err(|it| it.to_string())? {
            Some(record) => records.push(record),
            None => gone.push(letter.seq),
        }
    }
    let state = sensor.state();
    let key = std::fs::read(state.path().join("pseudonyms.key")).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let again =
        runtime.map_err(|it| it.to_string())?.block_on(outputs::again(&conf, key, state.path(), records))?;
    let delivered: Vec<_> = again.each.iter().filter(|it| it.1.is_ok()).map(|it| it.0).collect();
    forget(&state, name, &[delivered.as_slice(), &gone].concat())?;
    let refused: Vec<_> =
        again.each.iter().filter_map(|it| it.1.as_ref().err().map(|why| (it.0, why))).collect();
    let write = |out: &mut dyn Write| {
        writeln!(out, "{name}: {} delivered, {} refused again", delivered.len(), refused.len())?;
        if !gone.is_empty() {
            writeln!(out, "{} are not stored any more", gone.len())?;
        }
        for (seq, why) in &refused {
            writeln!(out, "{seq:>8}  {why}")?;
        }
        match &again.stopped {
            Some(why) => writeln!(out, "the others were not tried: {why}"),
            None => Ok(()),
        }
    };
    write(out).map_err(|it| it.to_string())?;
    Ok(refused.is_empty() && again.stopped.is_none())
}

/// Nothing more is known of these dead letters.
fn forget(state: &StateDir, name: &str, seqs: &[u64]) -> Result<(), String> {
    if seqs.is_empty() {
        return Ok(());
    }
    match open(state)? {
        Some(mut store) => store.unbury(name, seqs).map(drop).map_err(|it| it.to_string()),
        None => seqs.chunks(NUMBERS).try_for_each(|seqs| {
            let request = Request::ForgetDead { output: name.to_owned(), seqs: seqs.to_vec() };
            control::ask(state.path(), &request).map(drop)
        }),
    }
}

/// The store; `None`: a sensor has it, and is to be asked.
fn open(state: &StateDir) -> Result<Option<Store>, String> {
    match Store::open(&Options::new(state.database())) {
        Ok((store, _)) => Ok(Some(store)),
        Err(serin_store::Error::Locked { .. }) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Lets an output go on elsewhere.
pub(super) fn reset(sensor: &Sensor, name: &str, to: Place, out: &mut dyn Write) -> ExitCode {
    match go_to(sensor, name, to) {
        Ok(cursor) => told(writeln!(out, "{name}: goes on with event {}", cursor + 1)),
        Err(why) => fail(&why),
    }
}

fn go_to(sensor: &Sensor, name: &str, to: Place) -> Result<u64, String> {
    configured(sensor, name)?;
    let state = sensor.state();
    let reader = Reader::open(state.database()).map_err(|it| it.to_string())?;
    let stored = reader.stats().map_err(|it| it.to_string())?;
    let last = stored.last_seq;
    let first = stored.oldest.map_or(last, |it| it.0.saturating_sub(1));
    let cursor = match to {
        Place::Begin => first,
        Place::End => last,
        Place::Event(number) => number.saturating_sub(1).clamp(first, last),
    };
    match open(&state)? {
        Some(mut store) => {
            let known = reader.readers().map_err(|it| it.to_string())?;
            let status = known
                .into_iter()
                .find(|it| it.name == name)
                .map_or_else(String::new, |it| everything(it.status));
            let updated = Timestamp(jiff::Timestamp::now().as_microsecond());
            let moved = ReaderState { name: name.to_owned(), cursor, status, updated };
            store.save_readers(&[moved]).map_err(|it| it.to_string())?;
        }
        None => {
            control::ask(state.path(), &Request::MoveOutput { output: name.to_owned(), cursor })?;
        }
    }
    Ok(cursor)
}

/// An output's status without what it was done with beyond its cursor: whoever moves that wants
/// everything that follows.
fn everything(status: String) -> String {
    let Ok(known) = serde_json::from_str::<OutputStatus>(&status) else { return status };
    serde_json::to_string(&OutputStatus { ahead: None, ..known }).unwrap_or(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_words_or_numbers() {
        assert_eq!("begin".parse(), Ok(Place::Begin));
        assert_eq!("end".parse(), Ok(Place::End));
        assert_eq!("17".parse(), Ok(Place::Event(17)));
        assert!("middle".parse::<Place>().is_err() && "-1".parse::<Place>().is_err());
    }
}
