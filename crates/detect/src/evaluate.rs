//! Whether an expression holds for an event, found by asking every test: slow, and plainly right.
//! The index is tested against this.

use std::net::IpAddr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::event::{Fields, Value};
use crate::expr::{Ask, Expr, FieldAsk, Part, RegexAsk, Test, Where};
use crate::pattern::fold;

/// How much of a text a regular expression sees, in bytes. Other tests see all of it.
pub const REGEX_SEES: usize = 64 * 1024;

impl Expr {
    /// Whether it holds for these fields.
    #[must_use]
    pub fn holds(&self, fields: &Fields<'_>) -> bool {
        match self {
            Self::Test(test) => test.holds(fields),
            Self::All(all) => all.iter().all(|it| it.holds(fields)),
            Self::Any(any) => any.iter().any(|it| it.holds(fields)),
            Self::Not(it) => !it.holds(fields),
        }
    }
}

impl Test {
    /// Whether it holds for these fields.
    #[must_use]
    pub fn holds(&self, fields: &Fields<'_>) -> bool {
        let Some(field) = self.field.as_deref() else {
            return fields.iter().any(|(_, value)| self.ask.holds(value, fields));
        };
        match &self.ask {
            Ask::Exists(asked) => fields.has(field) == *asked,
            Ask::Null => match fields.get(field) {
                Some(value) => self.ask.holds(value, fields),
                None => !fields.has(field),
            },
            ask => fields.get(field).is_some_and(|value| ask.holds(value, fields)),
        }
    }
}

impl Ask {
    /// Whether it holds for this value, or for one of its members; the fields are for comparisons with
    /// another of them.
    #[must_use]
    pub fn holds(&self, value: &Value<'_>, fields: &Fields<'_>) -> bool {
        value.each(&mut |one| self.holds_for_one(one, fields))
    }

    fn holds_for_one(&self, value: &Value<'_>, fields: &Fields<'_>) -> bool {
        match self {
            Self::Exists(asked) => *asked,
            Self::Null => *value == Value::Null,
            Self::Text(pattern) => value.text().is_some_and(|it| pattern.fits(&it)),
            Self::Bool(asked) => is_bool(value, *asked),
            Self::Compare(op, number) => number_of(value).is_some_and(|it| op.holds(it, *number)),
            Self::Regex(regex) => value.text().is_some_and(|it| regex.finds(&it)),
            Self::Cidr(net) => address_of(value).is_some_and(|it| net.contains(&it)),
            Self::Field(ask) => fields.get(&ask.other).is_some_and(|it| ask.holds(value, it)),
            Self::Time(part, op, number) => part.of(value).is_some_and(|it| op.holds(it, *number)),
        }
    }
}

impl RegexAsk {
    /// Whether it finds something in the first [`REGEX_SEES`] bytes.
    #[must_use]
    pub fn finds(&self, text: &str) -> bool {
        self.0.is_match(seen_by_regex(text))
    }
}

/// The part of a text that regular expressions see.
#[must_use]
pub fn seen_by_regex(text: &str) -> &str {
    text.get(..text.floor_char_boundary(REGEX_SEES)).unwrap_or(text)
}

impl FieldAsk {
    /// Whether one of the other field's values stands in this value as asked.
    #[must_use]
    pub fn holds(&self, value: &Value<'_>, other: &Value<'_>) -> bool {
        let Some(text) = value.text() else { return false };
        other.each(&mut |it| {
            let Some(part) = it.text() else { return false };
            if self.cased { self.place.is(&text, &part) } else { self.place.is(&fold(&text), &fold(&part)) }
        })
    }
}

impl Where {
    fn is(self, text: &str, part: &str) -> bool {
        match self {
            Self::Whole => text == part,
            Self::Within => text.contains(part),
            Self::Start => text.starts_with(part),
            Self::End => text.ends_with(part),
        }
    }
}

impl Part {
    /// This part of the point in time that a value names, in UTC: RFC 3339, a date and time without
    /// a zone, or a number counted from 1970, in seconds or so large that it must be in thousandths,
    /// millionths or billionths of one.
    #[must_use]
    pub fn of(self, value: &Value<'_>) -> Option<f64> {
        let time = moment(value)?;
        Some(match self {
            Self::Minute => time.minute().into(),
            Self::Hour => time.hour().into(),
            Self::Day => time.day().into(),
            Self::Week => time.date().iso_week_date().week().into(),
            Self::Month => time.month().into(),
            Self::Year => time.year().into(),
        })
    }
}

fn moment(value: &Value<'_>) -> Option<Zoned> {
    let time = match value {
        // No date and time is longer.
        Value::Text(text) if text.len() <= 64 => text.parse::<Timestamp>().ok().or_else(|| {
            text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|it| it.timestamp())
        })?,
        Value::Int(number) => since_1970(i128::from(*number))?,
        #[expect(clippy::cast_possible_truncation, reason = "a time needs no more than its seconds")]
        Value::Float(number) if number.is_finite() => since_1970(number.trunc() as i128)?,
        _ => return None,
    };
    Some(time.to_zoned(TimeZone::UTC))
}

fn since_1970(number: i128) -> Option<Timestamp> {
    // The year 5138 in seconds; in thousandths, a day of March 1973; and so on.
    let nanoseconds = match number.unsigned_abs() {
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1000,
        _ => 1,
    };
    Timestamp::from_nanosecond(number.checked_mul(nanoseconds)?).ok()
}

pub(crate) fn is_bool(value: &Value<'_>, asked: bool) -> bool {
    match value {
        Value::Bool(it) => *it == asked,
        Value::Int(it) => *it == i64::from(asked),
        Value::Float(it) => it.to_bits() == f64::from(u8::from(asked)).to_bits(),
        Value::Text(it) => it.eq_ignore_ascii_case(if asked { "true" } else { "false" }),
        Value::Null | Value::List(_) => false,
    }
}

/// The number that a value is or spells in decimal.
pub(crate) fn number_of(value: &Value<'_>) -> Option<f64> {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "comparisons beyond 2^53 are as exact as YAML's")]
        Value::Int(it) => Some(*it as f64),
        Value::Float(it) => Some(*it),
        Value::Text(it) => {
            // Rust also reads `inf`, `nan` and the like.
            let digits = it.bytes().all(|it| matches!(it, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
            if digits { it.parse().ok() } else { None }
        }
        Value::Null | Value::Bool(_) | Value::List(_) => None,
    }
}

pub(crate) fn address_of(value: &Value<'_>) -> Option<IpAddr> {
    match value {
        Value::Text(it) => it.parse().ok(),
        _ => None,
    }
}
