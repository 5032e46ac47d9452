//! Counts markers in a log file: each completed login must stand there once.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// What the log says of the logins that were played.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Completed logins that the log does not have.
    pub(crate) lost: usize,
    /// Events beyond the first for one login.
    pub(crate) duplicates: usize,
}

/// Reads `log` until it has all `completed` logins, or has not grown for three seconds.
pub(crate) async fn settle(log: &Path, run: &str, completed: &[u32]) -> Result<Counted> {
    const PATIENCE: Duration = Duration::from_secs(3);
    const AT_MOST: Duration = Duration::from_mins(2);
    let began = Instant::now();
    let mut size = 0;
    let mut grown = Instant::now();
    loop {
        let text = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
        let counted = count(&String::from_utf8_lossy(&text), run, completed);
        if text.len() > size {
            size = text.len();
            grown = Instant::now();
        }
        if counted.lost == 0 || grown.elapsed() > PATIENCE || began.elapsed() > AT_MOST {
            return Ok(counted);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn count(log: &str, run: &str, completed: &[u32]) -> Counted {
    let prefix = format!("{run}-");
    let mut seen: HashMap<u32, usize> = HashMap::new();
    for line in log.lines() {
        let Some((before, after)) = line.split_once(&prefix) else { continue };
        // `bench-7` is not within `workbench-7`.
        if before.ends_with(|it: char| it.is_ascii_alphanumeric()) {
            continue;
        }
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        if let Ok(number) = digits.parse() {
            *seen.entry(number).or_default() += 1;
        }
    }
    Counted {
        lost: completed.iter().filter(|it| !seen.contains_key(it)).count(),
        duplicates: seen.values().map(|it| it - 1).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_double_is_counted() {
        let log = "{\"U\": \"r-1\"}\n{\"U\": \"r-2\"}\n{\"U\": \"r-2\"}\n{\"U\": \"other-3\"}\n";
        assert_eq!(count(log, "r", &[1, 2, 3]), Counted { lost: 1, duplicates: 1 });
    }
}
