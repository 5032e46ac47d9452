//! Killed at any moment, the store has everything that it said it has.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::{Dice, record};
use crate::{Found, Options, Reader, Store};

const CHILD: &str = "SERIN_STORE_TEST_CHILD";

/// Appends until it is killed, and says after each batch how far it is.
fn append_for_ever(path: &str) -> ! {
    let (mut store, _) = Store::open(&Options::new(path)).unwrap();
    let mut dice = Dice(u64::from(std::process::id()));
    let mut out = std::io::stdout();
    loop {
        let next = store.last_seq().cast_signed() + 1;
        // Each event carries the number that it must get.
        let mut batch: Vec<_> = (next..=next + dice.below(60).cast_signed()).map(record).collect();
        store.append(&mut batch, &[]).unwrap();
        writeln!(out, "stored {}", store.last_seq()).unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    if let Ok(path) = std::env::var(CHILD) {
        append_for_ever(&path);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("serin.db");
    let mut dice = Dice(9);
    let mut acknowledged = 0;
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::crash::what_was_acknowledged_survives_kill_9", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = 1 + dice.below(30);
        for line in lines {
            // What it had said before it died, and we had not read yet, counts as well.
            if let Some(seq) = line.unwrap().strip_prefix("stored ") {
                acknowledged = seq.parse().unwrap();
                left = left.saturating_sub(1);
                if left == 0 {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();

        let (store, opened) = Store::open(&Options::new(&path)).unwrap();
        assert_eq!((opened.found, opened.lost), (Found::Existing { clean: false }, 0), "round {round}");
        assert!(opened.last_seq >= acknowledged);
        let records = Reader::open(&path).unwrap().after(0, usize::MAX).unwrap();
        assert_eq!(records.len() as u64, store.last_seq());
        for (record, seq) in records.iter().zip(1..) {
            assert_eq!((record.seq, record.session), (seq, seq), "round {round}");
        }
    }
    assert!(acknowledged > 1_000, "{acknowledged}");
}
