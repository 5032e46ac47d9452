//! When a rule is in force: days and hours of the host's own zone.

use serin_event::Timestamp;

/// Days of the week and a part of each: `Mon-Fri 22:00-06:00`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// Monday first.
    days: [bool; 7],
    /// Minutes since midnight.
    from: u16,
    /// The first minute that is outside; a span that ends before it begins goes over midnight, and
    /// belongs to the day on which it begins.
    to: u16,
}

/// What a schedule wants, for a person.
pub(crate) const WANTS: &str =
    "days, hours or both, such as \"Mon-Fri 22:00-06:00\", \"Sat,Sun\" or \"02:00-04:00\"";

impl Span {
    /// `None`: it is no such text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split_whitespace();
        let (first, second) = (parts.next()?, parts.next());
        if parts.next().is_some() {
            return None;
        }
        let (days, hours) = match second {
            Some(hours) => (days(first)?, Some(hours)),
            None if first.contains(':') => ([true; 7], Some(first)),
            None => (days(first)?, None),
        };
        let (from, to) = match hours {
            Some(hours) => {
                let (from, to) = hours.split_once('-')?;
                (minutes(from)?, minutes(to)?)
            }
            None => (0, DAY),
        };
        (from != to && from < DAY).then_some(Self { days, from, to })
    }

    /// Whether a moment is inside, in a zone that is so many seconds east of UTC.
    pub(crate) fn contains(&self, time: Timestamp, utc_offset: i32) -> bool {
        let civil = time.datetime(utc_offset);
        let today = usize::try_from(civil.weekday().to_monday_zero_offset()).unwrap_or(0);
        let minute = u16::try_from(i32::from(civil.hour()) * 60 + i32::from(civil.minute())).unwrap_or(0);
        let on = |day: usize| self.days.get(day % 7).copied().unwrap_or(false);
        if self.from < self.to {
            on(today) && (self.from..self.to).contains(&minute)
        } else {
            (on(today) && minute >= self.from) || (on(today + 6) && minute < self.to)
        }
    }
}

/// `Mon`, `Mon-Fri`, `Sat,Sun`, `daily`.
fn days(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    if text.eq_ignore_ascii_case("daily") {
        return Some([true; 7]);
    }
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        for it in 0..7 {
            let inside = if first <= last { (first..=last).contains(&it) } else { it >= first || it <= last };
            if let Some(day) = days.get_mut(it).filter(|_| inside) {
                *day = true;
            }
        }
    }
    Some(days)
}

fn day(text: &str) -> Option<usize> {
    const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let text = text.to_ascii_lowercase();
    NAMES.iter().position(|it| text.len() >= 3 && it.starts_with(&text))
}

/// `HH:MM`; 24:00 is the end of the day.
fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |it: &str| it.parse::<u16>().ok().filter(|_| it.len() == 2);
    let (hour, minute) = (number(hour)?, number(minute)?);
    let sum = hour.checked_mul(60)?.checked_add(minute)?;
    (minute < 60 && sum <= DAY).then_some(sum)
}

/// Minutes.
const DAY: u16 = 24 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(span: &str, time: &str) -> bool {
        let time: jiff::Timestamp = time.parse().unwrap();
        Span::parse(span).unwrap().contains(Timestamp(time.as_microsecond()), 0)
    }

    #[test]
    fn days_and_hours_are_the_hosts_own() {
        // 2026-11-20 is a Friday.
        assert!(inside("Mon-Fri 22:00-06:00", "2026-11-20T22:00:00Z"));
        assert!(inside("Mon-Fri 22:00-06:00", "2026-11-21T05:59:00Z"), "the night that began on Friday");
        assert!(!inside("Mon-Fri 22:00-06:00", "2026-11-21T22:30:00Z"));
        assert!(!inside("Mon-Fri 22:00-06:00", "2026-11-23T05:00:00Z"), "the night that began on Sunday");
        assert!(inside("sat,sun", "2026-11-21T12:00:00Z") && !inside("sat,sun", "2026-11-20T12:00:00Z"));
        assert!(inside("Fri-Mon", "2026-11-22T12:00:00Z") && !inside("Fri-Mon", "2026-11-24T12:00:00Z"));
        assert!(inside("02:00-04:00", "2026-11-20T02:00:00Z"));
        assert!(!inside("02:00-04:00", "2026-11-20T04:00:00Z"));
        let three = Span::parse("03:00-24:00").unwrap();
        let midnight: jiff::Timestamp = "2026-11-20T00:00:00Z".parse().unwrap();
        assert!(three.contains(Timestamp(midnight.as_microsecond()), 3 * 3600));
        assert!(!three.contains(Timestamp(midnight.as_microsecond()), 0));
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in
            ["", "Mo", "Mon 25:00-26:00", "22-23", "Mon Tue", "10:00-10:00", "24:00-01:00", "Mon 1:00-2:00 x"]
        {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }
}
