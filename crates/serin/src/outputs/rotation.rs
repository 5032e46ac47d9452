//! When a log file is rotated, and what the old one is called: as Python's handlers do it.
//!
//! By size: `log.1`, `log.2`, … where 1 is the youngest. By time: `log.2026-11-21`, with more of
//! the time when the period is shorter. Where Python would destroy a file that already has the
//! name, a number is appended instead.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};
use serin_services::conf::Setting;

/// How often a file is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Every {
    /// Not by time.
    Never,
    /// At each full hour.
    Hour,
    /// At midnight, or at the time of day that is set.
    Midnight,
    /// When this weekday ends, or on this weekday at the time of day that is set; 0 is Monday.
    Weekday(u8),
    /// So many seconds after the file was last written before the start: Python's S, M, H and D.
    Seconds(u32),
}

const MINUTE: u32 = 60;
const HOUR: u32 = 60 * MINUTE;
const DAY: u32 = 24 * HOUR;

impl Every {
    /// Python's `when`, in capitals.
    pub(crate) fn python(when: &str) -> Option<Self> {
        Some(match when {
            "S" => Self::Seconds(1),
            "M" => Self::Seconds(MINUTE),
            "H" => Self::Seconds(HOUR),
            "D" => Self::Seconds(DAY),
            "MIDNIGHT" => Self::Midnight,
            _ => {
                let day = when.strip_prefix('W').filter(|it| it.len() == 1)?.parse().ok()?;
                (day <= 6).then_some(Self::Weekday(day))?
            }
        })
    }

    const fn seconds(self) -> i64 {
        match self {
            Self::Never => 0,
            Self::Hour => HOUR as i64,
            Self::Midnight => DAY as i64,
            Self::Weekday(_) => 7 * DAY as i64,
            Self::Seconds(unit) => unit as i64,
        }
    }

    /// strftime directives of the names.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Seconds(1) => "%Y-%m-%d_%H-%M-%S",
            Self::Seconds(MINUTE) => "%Y-%m-%d_%H-%M",
            Self::Hour | Self::Seconds(HOUR) => "%Y-%m-%d_%H",
            _ => "%Y-%m-%d",
        }
    }
}

impl Setting for Every {
    const WANTS: &'static str = "never, hourly, daily, weekly, or Python's S, M, H, D, midnight, W0 to W6";

    fn read(value: &Value) -> Result<Self, ()> {
        let text = value.as_str().ok_or(())?;
        match text {
            "never" => Ok(Self::Never),
            "hourly" => Ok(Self::Hour),
            "daily" => Ok(Self::Midnight),
            "weekly" => Ok(Self::Weekday(6)),
            _ => Self::python(&text.to_ascii_uppercase()).ok_or(()),
        }
    }

    fn show(&self) -> Value {
        match self {
            Self::Never => json!("never"),
            Self::Hour => json!("hourly"),
            Self::Midnight => json!("midnight"),
            Self::Weekday(day) => json!(format!("W{day}")),
            Self::Seconds(1) => json!("S"),
            Self::Seconds(MINUTE) => json!("M"),
            Self::Seconds(HOUR) => json!("H"),
            Self::Seconds(_) => json!("D"),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^(?i:never|hourly|daily|weekly|[SMHD]|midnight|W[0-6])$" })
    }
}

/// A time of day, in seconds after midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockTime(pub(crate) u32);

impl Setting for ClockTime {
    const WANTS: &'static str = "a time of day, such as 03:30";

    fn read(value: &Value) -> Result<Self, ()> {
        let mut parts = value.as_str().ok_or(())?.split(':').map(|it| match it.len() {
            1 | 2 if it.bytes().all(|it| it.is_ascii_digit()) => it.parse::<u32>().map_err(|_| ()),
            _ => Err(()),
        });
        let (hours, minutes) = (parts.next().ok_or(())??, parts.next().ok_or(())??);
        let seconds = parts.next().unwrap_or(Ok(0))?;
        let valid = hours < 24 && minutes < 60 && seconds < 60 && parts.next().is_none();
        valid.then_some(Self(hours * HOUR + minutes * MINUTE + seconds)).ok_or(())
    }

    fn show(&self) -> Value {
        let (hours, minutes, seconds) = (self.0 / HOUR, self.0 / MINUTE % 60, self.0 % 60);
        json!(if seconds == 0 {
            format!("{hours:02}:{minutes:02}")
        } else {
            format!("{hours:02}:{minutes:02}:{seconds:02}")
        })
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?$" })
    }
}

/// When the next rotation by time is due.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) every: Every,
    /// So many periods at once.
    pub(crate) interval: u32,
    /// Instead of midnight.
    pub(crate) at: ClockTime,
    pub(crate) zone: TimeZone,
    /// Seconds since the epoch; not known before a file is open.
    due: Option<i64>,
}

impl Schedule {
    pub(crate) fn new(every: Every, interval: u32, at: ClockTime, utc: bool) -> Option<Self> {
        let zone = if utc { TimeZone::UTC } else { TimeZone::system() };
        (every != Every::Never).then_some(Self { every, interval: interval.max(1), at, zone, due: None })
    }

    /// Starts the clock with the time at which the file was last written, or now.
    pub(crate) fn start(&mut self, from: i64) {
        if self.due.is_none() {
            self.due = Some(self.after(from));
        }
    }

    pub(crate) fn is_due(&self, now: i64) -> bool {
        self.due.is_some_and(|it| now >= it)
    }

    /// Moves on to the next period.
    pub(crate) fn turn(&mut self, now: i64) {
        self.due = Some(self.after(now));
    }

    /// The first moment after `from` at which a period ends.
    fn after(&self, from: i64) -> i64 {
        let length = self.every.seconds() * i64::from(self.interval);
        let weekday = match self.every {
            Every::Never | Every::Seconds(_) => return from + length,
            Every::Hour => return (from.div_euclid(i64::from(HOUR)) + 1) * i64::from(HOUR),
            Every::Midnight => None,
            Every::Weekday(day) => Weekday::from_monday_zero_offset(i8::try_from(day).unwrap_or(0)).ok(),
        };
        let today = self.civil(from).date();
        // Midnight ends a day; any other time is within it.
        let past = if self.at.0 == 0 { DAY } else { self.at.0 };
        (0_i64..9)
            .filter_map(|ahead| today.checked_add(ahead.days()).ok())
            .filter(|date| weekday.is_none_or(|it| date.weekday() == it))
            .filter_map(|date| {
                let moment =
                    date.to_datetime(jiff::civil::Time::midnight()).checked_add(i64::from(past).seconds());
                Some(moment.ok()?.to_zoned(self.zone.clone()).ok()?.timestamp().as_second())
            })
            .find(|it| *it > from)
            .unwrap_or(from + length)
    }

    fn civil(&self, seconds: i64) -> DateTime {
        let instant = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
        self.zone.to_datetime(instant)
    }

    /// What is appended to the name of the file whose period ends now: the time it began.
    pub(crate) fn stamp(&self, now: i64) -> String {
        let end = self.due.unwrap_or(now);
        let begin = match self.every {
            // Days may have 23 or 25 hours.
            Every::Midnight | Every::Weekday(_) => {
                let days = self.every.seconds() / i64::from(DAY) * i64::from(self.interval);
                let end = self.civil(end);
                end.checked_sub(days.days()).unwrap_or(end)
            }
            _ => self.civil(end - self.every.seconds() * i64::from(self.interval)),
        };
        begin.strftime(self.every.suffix()).to_string()
    }
}

/// `log` and `.1` as `log.1`.
pub(crate) fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes `log.1` free: `log.1` becomes `log.2` and so on; the oldest of `keep` goes (0: none goes).
/// Compressed ones move along.
pub(crate) fn shift(path: &Path, keep: u32) -> io::Result<PathBuf> {
    let first = with(path, "1");
    let mut free = 1;
    while exists(path, free) && (keep == 0 || free < keep) {
        free += 1;
    }
    for number in (1..=free).rev() {
        for ending in ["", ".gz"] {
            let from = with(path, &format!("{number}{ending}"));
            if !from.try_exists()? {
                continue;
            }
            if number == free {
                fs::remove_file(from)?;
            } else {
                fs::rename(from, with(path, &format!("{}{ending}", number + 1)))?;
            }
        }
    }
    Ok(first)
}

fn exists(path: &Path, number: u32) -> bool {
    ["", ".gz"].iter().any(|ending| with(path, &format!("{number}{ending}")).exists())
}

/// `log.2026-11-21`, or with a number where that is taken.
pub(crate) fn dated(path: &Path, stamp: &str) -> PathBuf {
    let taken = |it: &PathBuf| it.exists() || with(it, "gz").exists();
    let plain = with(path, stamp);
    if !taken(&plain) {
        return plain;
    }
    (1_u32..100_000).map(|number| with(&plain, &number.to_string())).find(|it| !taken(it)).unwrap_or(plain)
}

/// Everything that was rotated by time, oldest first.
pub(crate) fn dated_files(path: &Path, every: Every) -> Vec<PathBuf> {
    let Some((folder, name)) = path.parent().zip(path.file_name()) else { return Vec::new() };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let prefix = format!("{}.", name.to_string_lossy());
    // A year has four digits, everything else two, as many as its directive.
    let length = every.suffix().len() + 2;
    let mut found: Vec<((String, u32), PathBuf)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let rest = name.strip_prefix(&prefix)?;
            let rest = rest.strip_suffix(".gz").unwrap_or(rest);
            let (stamp, number) = rest.split_once('.').unwrap_or((rest, "0"));
            let plain =
                stamp.len() == length && stamp.bytes().all(|it| it.is_ascii_digit() || b"-_".contains(&it));
            Some(((plain.then(|| stamp.to_owned())?, number.parse().ok()?), entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter().map(|it| it.1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_read_as_they_are_shown() {
        for (text, shown) in [
            ("never", "never"),
            ("hourly", "hourly"),
            ("daily", "midnight"),
            ("weekly", "W6"),
            ("s", "S"),
            ("M", "M"),
            ("h", "H"),
            ("D", "D"),
            ("MIDNIGHT", "midnight"),
            ("w3", "W3"),
        ] {
            let every = Every::read(&text.into()).unwrap();
            assert_eq!(every.show(), shown, "{text}");
            assert_eq!(Every::read(&every.show()), Ok(every));
        }
        for text in ["", "W", "W7", "W10", "noon", "HOURLY "] {
            assert_eq!(Every::read(&text.into()), Err(()), "{text}");
        }
        for (text, seconds) in [("03:30", 12_600), ("3:30", 12_600), ("23:59:59", 86_399)] {
            assert_eq!(ClockTime::read(&text.into()), Ok(ClockTime(seconds)));
        }
        for text in ["24:00", "3", "03:60", "03:30:00:00", "+3:30", "003:30"] {
            assert_eq!(ClockTime::read(&text.into()), Err(()), "{text}");
        }
    }

    #[test]
    fn hours_end_where_the_clock_says_so() {
        let mut schedule = Schedule::new(Every::Hour, 1, ClockTime(0), true).unwrap();
        // 21:36:31.
        schedule.start(1_795_296_991);
        assert!(!schedule.is_due(1_795_298_399));
        assert!(schedule.is_due(1_795_298_400));
        assert_eq!(schedule.stamp(1_795_298_400), "2026-11-21_21");
        schedule.turn(1_795_298_400);
        assert!(!schedule.is_due(1_795_298_400 + 3599));
    }

    #[test]
    fn only_our_own_names_are_found_and_in_order() {
        let folder = tempfile::TempDir::new().unwrap();
        let ours = ["log.2026-11-20.gz", "log.2026-11-21", "log.2026-11-21.2", "log.2026-11-21.10.gz"];
        let others =
            ["log", "log.1", "log.backup", "log.2026-11-21.old", "log.2026-11-21_21", "xlog.2026-11-21"];
        for name in ours.iter().chain(&others) {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = dated_files(&folder.path().join("log"), Every::Midnight);
        let names: Vec<_> = found.iter().map(|it| it.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ours);
    }
}
