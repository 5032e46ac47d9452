//! Killed at any moment or refused by the file system, the store has everything that it said it has.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::{Dice, record};
use crate::{Error, Found, Options, Reader, Store};

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
        // The test runner may have begun the line.
        writeln!(out, "\nstored {}", store.last_seq()).unwrap();
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

/// Appends until the file system refuses, and says what is stored then.
fn append_until_full(path: &str) {
    let (mut store, _) = Store::open(&Options::new(path)).unwrap();
    for _ in 0..1_000 {
        let next = store.last_seq().cast_signed() + 1;
        let mut batch: Vec<_> = (next..next + 100).map(record).collect();
        match store.append(&mut batch, &[]) {
            Ok(()) => {}
            Err(Error::Full { .. }) => {
                assert!(batch.iter().all(|it| it.seq == 0));
                assert!(matches!(store.append(&mut batch, &[]), Err(Error::Full { .. })), "it stays so");
                let seen = Reader::open(path).unwrap().after(0, usize::MAX).unwrap();
                assert_eq!(seen.len() as u64, store.last_seq());
                // The test runner may have begun the line.
                println!("\nstored {}", store.last_seq());
                return;
            }
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the limit was never reached");
}

/// No file of the child may grow beyond 1 MB; the system then refuses the write, as a full disk does.
#[test]
fn what_was_stored_before_the_file_system_refused_is_there_afterwards() {
    if let Ok(path) = std::env::var(CHILD) {
        return append_until_full(&path);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("serin.db");
    let output = Command::new("sh")
        // Blocks of 512 bytes. Without the trap the signal would end the child.
        .args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "tests::crash::what_was_stored_before_the_file_system_refused_is_there_afterwards"])
        .arg("--nocapture")
        .env(CHILD, &path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let stored: u64 = said.lines().find_map(|it| it.strip_prefix("stored ")?.parse().ok()).unwrap();
    assert!(stored > 1_000, "{stored}");

    let (mut store, opened) = Store::open(&Options::new(&path)).unwrap();
    assert_eq!((opened.last_seq, opened.lost), (stored, 0));
    let mut next = [record(0)];
    store.append(&mut next, &[]).unwrap();
    assert_eq!(next[0].seq, stored + 1);
    let seqs = Reader::open(&path).unwrap().after(0, usize::MAX).unwrap();
    assert!(seqs.iter().map(|it| it.seq).eq(1..=stored + 1));
}
