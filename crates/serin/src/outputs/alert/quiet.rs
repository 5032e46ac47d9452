//! The hours in which people are left alone.

use std::fmt;

use jiff::civil::{DateTime, Weekday};
use serde_json::{Value, json};
use serin_services::conf::Setting;

/// Quiet hours as a setting: `22:00-07:00`, `Mon-Fri 22:00-07:00, Sat-Sun 00:00-24:00`; none when
/// empty. Hours that reach past midnight belong to the day on which they begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Quiet {
    spans: Vec<Span>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    /// First and last day, Monday is 0; the first may be later in the week than the last.
    days: (i8, i8),
    /// First minute of the day, and the first one that is no longer quiet: up to 24:00.
    minutes: (i16, i16),
}

const DAY: i16 = 24 * 60;
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// More than anybody needs.
const SPANS_MAX: usize = 32;

impl Quiet {
    /// Whether this moment of local time is quiet.
    pub(crate) fn holds(&self, now: DateTime) -> bool {
        let minute = i16::from(now.hour()) * 60 + i16::from(now.minute());
        let today = now.weekday();
        self.spans.iter().any(|it| it.holds(today, minute))
    }
}

impl Span {
    fn holds(&self, today: Weekday, minute: i16) -> bool {
        let (from, until) = self.minutes;
        if from < until {
            return self.begins_on(today) && (from..until).contains(&minute);
        }
        (self.begins_on(today) && minute >= from) || (self.begins_on(today.previous()) && minute < until)
    }

    fn begins_on(&self, day: Weekday) -> bool {
        let (first, last) = self.days;
        let day = day.to_monday_zero_offset();
        if first <= last { (first..=last).contains(&day) } else { day >= first || day <= last }
    }

    fn read(text: &str) -> Option<Self> {
        let (days, hours) = match text.split_once(char::is_whitespace) {
            Some((days, hours)) => (days_of(days)?, hours.trim()),
            None => ((0, 6), text),
        };
        let (from, until) = hours.split_once('-')?;
        let minutes = (minute(from.trim())?, minute(until.trim())?);
        (minutes.0 < DAY && minutes.0 != minutes.1).then_some(Self { days, minutes })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            |day: i8| usize::try_from(day).ok().and_then(|it| WEEKDAYS.get(it)).copied().unwrap_or("?");
        match self.days {
            (0, 6) => {}
            (first, last) if first == last => write!(f, "{} ", name(first))?,
            (first, last) => write!(f, "{}-{} ", name(first), name(last))?,
        }
        let (from, until) = self.minutes;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
    }
}

/// `Mon` or `Mon-Fri`.
fn days_of(text: &str) -> Option<(i8, i8)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((weekday(first)?, weekday(last)?))
}

fn weekday(text: &str) -> Option<i8> {
    let at = WEEKDAYS.iter().position(|it| it.eq_ignore_ascii_case(text))?;
    i8::try_from(at).ok()
}

/// Minutes since midnight of `07:30`; `24:00` is the end of the day.
fn minute(text: &str) -> Option<i16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |it: &str| if it.len() == 2 { it.parse::<u8>().ok() } else { None };
    let (hours, minutes) = (i16::from(number(hours)?), i16::from(number(minutes)?));
    let all = hours * 60 + minutes;
    (minutes < 60 && all <= DAY).then_some(all)
}

impl Setting for Quiet {
    const WANTS: &'static str =
        "hours such as 22:00-07:00 or Mon-Fri 22:00-07:00, several with commas between";

    fn read(value: &Value) -> Result<Self, ()> {
        let text = value.as_str().ok_or(())?.trim();
        if text.is_empty() {
            return Ok(Self::default());
        }
        let spans: Option<Vec<_>> = text.split(',').take(SPANS_MAX).map(|it| Span::read(it.trim())).collect();
        spans.map(|spans| Self { spans }).ok_or(())
    }

    fn show(&self) -> Value {
        json!(self.spans.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(text: &str) -> Quiet {
        Quiet::read(&text.into()).unwrap()
    }

    /// 2026-11-16 is a Monday.
    fn at(day: i8, hour: i8, minute: i8) -> DateTime {
        jiff::civil::date(2026, 11, 16 + day).at(hour, minute, 0, 0)
    }

    #[test]
    fn a_night_reaches_past_midnight() {
        let nights = quiet("22:00-07:00");
        assert!(nights.holds(at(0, 22, 0)) && nights.holds(at(1, 6, 59)) && nights.holds(at(3, 0, 0)));
        assert!(!nights.holds(at(0, 21, 59)) && !nights.holds(at(0, 7, 0)));
        assert!(!Quiet::default().holds(at(0, 0, 0)));
    }

    #[test]
    fn nights_belong_to_the_day_on_which_they_begin() {
        let week = quiet("Mon-Fri 22:00-07:00, Sun 00:00-24:00");
        assert!(!week.holds(at(0, 6, 0)), "the night before Monday began on Sunday");
        assert!(week.holds(at(4, 23, 0)) && week.holds(at(5, 6, 59)) && !week.holds(at(5, 23, 0)));
        assert!(week.holds(at(6, 0, 0)) && week.holds(at(6, 23, 59)));
        let turn = quiet("sat-mon 08:00-09:00");
        assert_eq!([5, 6, 0, 1].map(|day| turn.holds(at(day, 8, 30))), [true, true, true, false]);
    }

    #[test]
    fn what_is_no_time_is_refused_and_what_is_comes_back() {
        for text in ["22-7", "22:00", "25:00-01:00", "07:00-07:00", "Someday 01:00-02:00", "24:00-01:00", ","]
        {
            assert!(Quiet::read(&text.into()).is_err(), "{text}");
        }
        for text in ["", "22:00-07:00", "Mon-Fri 22:00-07:00, Sat 00:00-24:00"] {
            assert_eq!(quiet(text).show(), json!(text));
        }
    }
}
