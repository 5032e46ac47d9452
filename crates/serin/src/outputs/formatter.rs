//! Line formats as Python's `logging` has them: `%(asctime)s %(name)-8s %(message)s`.
//!
//! OpenCanary hands its `formatters` to Python, so every directive that makes sense for an event
//! means here what it means there: width, precision and flags included, in the styles `%`, `{` and
//! `$`. What speaks of Python's own source (`filename`, `lineno`, …) is absent, and so are the
//! conversions that only print something else (`%r`, `%e`): both are refused, by name, when the
//! configuration is read. Every event is one record of level WARNING whose logger is the node id.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{Offset, TimeZone};
use serin_event::Record;
use serin_services::choices;

choices! {
    /// Which of Python's three notations a format uses.
    Style { Percent = "%", Brace = "{", Dollar = "$" } wants "%, { or $"
}

/// A checked format, ready to write lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Formatter {
    pieces: Vec<Piece>,
    /// strftime directives for `asctime`; empty: Python's own form with milliseconds.
    datefmt: String,
    /// This process's number; the tests have a fixed one.
    process: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(Field),
}

/// One directive.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    attribute: Attribute,
    conversion: Conversion,
    align: Align,
    fill: char,
    /// `0`: zeros between the sign and the digits.
    zeros: bool,
    /// `+` or a blank before numbers that are not negative.
    plus: Option<char>,
    /// `#`: `0x` before hexadecimal, `0o` before octal.
    prefix: bool,
    width: usize,
    precision: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
    Center,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conversion {
    Text,
    Integer,
    Fixed,
    Octal,
    Hex,
    UpperHex,
}

/// What an attribute holds, which decides on the conversions that Python allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Text,
    Integer,
    Float,
}

macro_rules! attributes {
    ($($variant:ident $name:literal $holds:ident;)*) => {
        /// What a directive can name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Attribute { $($variant),* }

        impl Attribute {
            const NAMES: &'static [&'static str] = &[$($name),*];

            fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            const fn holds(self) -> Holds {
                match self { $(Self::$variant => Holds::$holds),* }
            }
        }
    };
}

attributes! {
    Asctime "asctime" Text;
    Created "created" Float;
    LevelName "levelname" Text;
    LevelNo "levelno" Integer;
    Message "message" Text;
    Msecs "msecs" Float;
    Name "name" Text;
    Process "process" Integer;
    ProcessName "processName" Text;
    Thread "thread" Integer;
    ThreadName "threadName" Text;
}

impl Default for Formatter {
    /// The event's line and nothing else, as a handler without a formatter writes it.
    fn default() -> Self {
        Self {
            pieces: vec![Piece::Field(Field::plain(Attribute::Message))],
            datefmt: String::new(),
            process: std::process::id(),
        }
    }
}

impl Formatter {
    /// Checks a format. An empty one is the message alone.
    ///
    /// # Errors
    ///
    /// What Python would raise at the first event, or what is not supported here, in words.
    pub(crate) fn new(format: &str, datefmt: &str, style: Style) -> Result<Self, String> {
        if format.is_empty() {
            return Ok(Self { datefmt: checked(datefmt)?, ..Self::default() });
        }
        let pieces = match style {
            Style::Percent => percent(format)?,
            Style::Brace => brace(format)?,
            Style::Dollar => dollar(format)?,
        };
        if !pieces.iter().any(|it| matches!(it, Piece::Field(_))) {
            return Err(format!("has no directive, such as {}", style.example()));
        }
        Ok(Self { pieces, datefmt: checked(datefmt)?, ..Self::default() })
    }

    /// The text for one event, without a line ending.
    #[must_use]
    pub fn format(&self, record: &Record) -> String {
        let mut out = String::with_capacity(512);
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Field(field) => field.write(&self.value(field.attribute, record), &mut out),
            }
        }
        out
    }

    /// Whether the text holds the event's line whole and stays on one line, so that an event can be
    /// recognised in a file by it, whatever else the format prints.
    #[must_use]
    pub fn tells_events_apart(&self) -> bool {
        let whole = self.pieces.iter().any(|it| match it {
            Piece::Field(field) => field.attribute == Attribute::Message && field.precision.is_none(),
            Piece::Literal(_) => false,
        });
        let single = !self.datefmt.contains(['\n', '\r'])
            && !self.pieces.iter().any(|it| matches!(it, Piece::Literal(text) if text.contains('\n')));
        whole && single
    }

    fn value(&self, attribute: Attribute, record: &Record) -> Value {
        let micros = record.time.0;
        match attribute {
            Attribute::Asctime => Value::Text(self.asctime(record)),
            Attribute::Created => Value::Micros(micros),
            Attribute::LevelName => Value::Text("WARNING".to_owned()),
            Attribute::LevelNo => Value::Integer(30),
            Attribute::Message => Value::Text(record.line()),
            // Whole milliseconds, though of a floating type: Python since 3.11.
            Attribute::Msecs => Value::Micros((micros.rem_euclid(1_000_000) / 1000) * 1_000_000),
            Attribute::Name => Value::Text(record.node_id.to_string()),
            // On Linux the first thread's number is the process's.
            Attribute::Process | Attribute::Thread => Value::Integer(i64::from(self.process)),
            Attribute::ProcessName => Value::Text("MainProcess".to_owned()),
            Attribute::ThreadName => Value::Text("MainThread".to_owned()),
        }
    }

    fn asctime(&self, record: &Record) -> String {
        if !self.datefmt.is_empty() {
            return strftime(&self.datefmt, record).unwrap_or_default();
        }
        let civil = record.time.civil(record.utc_offset);
        let (seconds, fraction) = civil.split_once('.').unwrap_or((&civil, "000"));
        format!("{seconds},{}", fraction.get(..3).unwrap_or("000"))
    }
}

/// An attribute's value; floating ones are kept as millionths, which is exact.
enum Value {
    Text(String),
    Integer(i64),
    Micros(i64),
}

impl Field {
    fn plain(attribute: Attribute) -> Self {
        Self {
            attribute,
            conversion: Conversion::Text,
            align: Align::Right,
            fill: ' ',
            zeros: false,
            plus: None,
            prefix: false,
            width: 0,
            precision: None,
        }
    }

    fn write(&self, value: &Value, out: &mut String) {
        let (sign, body) = match (self.conversion, value) {
            (Conversion::Text, _) => (String::new(), self.cut(value)),
            (conversion, Value::Integer(number)) => self.number(conversion, *number, None),
            (Conversion::Fixed, Value::Micros(micros)) => self.number(Conversion::Fixed, 0, Some(*micros)),
            // Python cuts the fraction off.
            (conversion, Value::Micros(micros)) => self.number(conversion, micros / 1_000_000, None),
            (_, Value::Text(text)) => (String::new(), text.clone()),
        };
        let missing = self.width.saturating_sub(sign.chars().count() + body.chars().count());
        if self.zeros && self.conversion != Conversion::Text {
            out.push_str(&sign);
            out.extend(std::iter::repeat_n('0', missing));
            out.push_str(&body);
            return;
        }
        let before = match self.align {
            Align::Left => 0,
            Align::Right => missing,
            Align::Center => missing / 2,
        };
        out.extend(std::iter::repeat_n(self.fill, before));
        out.push_str(&sign);
        out.push_str(&body);
        out.extend(std::iter::repeat_n(self.fill, missing - before));
    }

    fn cut(&self, value: &Value) -> String {
        let text = match value {
            Value::Text(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Micros(micros) => float_text(*micros),
        };
        match self.precision {
            Some(most) => text.chars().take(most).collect(),
            None => text,
        }
    }

    /// Sign (or prefix) and digits.
    fn number(&self, conversion: Conversion, number: i64, micros: Option<i64>) -> (String, String) {
        let negative = micros.unwrap_or(number) < 0;
        let mut sign =
            if negative { "-".to_owned() } else { self.plus.map(String::from).unwrap_or_default() };
        let size = number.unsigned_abs();
        let mut digits = match conversion {
            Conversion::Fixed => {
                fixed(micros.unwrap_or(number.saturating_mul(1_000_000)), self.precision.unwrap_or(6))
            }
            Conversion::Octal => format!("{size:o}"),
            Conversion::Hex => format!("{size:x}"),
            Conversion::UpperHex => format!("{size:X}"),
            Conversion::Integer | Conversion::Text => size.to_string(),
        };
        if self.prefix {
            sign.push_str(match conversion {
                Conversion::Octal => "0o",
                Conversion::Hex => "0x",
                Conversion::UpperHex => "0X",
                _ => "",
            });
        }
        let least = if conversion == Conversion::Fixed { 0 } else { self.precision.unwrap_or(0) };
        if digits.len() < least {
            digits = format!("{digits:0>least$}");
        }
        (sign, digits)
    }
}

/// Millionths with `places` decimals, rounded half to even as C's `printf` does with exact values.
fn fixed(micros: i64, places: usize) -> String {
    let size = i128::from(micros.unsigned_abs());
    if places >= 6 {
        return format!("{}.{:06}{:0<rest$}", size / 1_000_000, size % 1_000_000, "", rest = places - 6);
    }
    let unit = 10_i128.pow(u32::try_from(6 - places).unwrap_or(0));
    let (mut whole, rest) = (size / unit, size % unit);
    if rest * 2 > unit || (rest * 2 == unit && whole % 2 == 1) {
        whole += 1;
    }
    let scale = 10_i128.pow(u32::try_from(places).unwrap_or(0));
    if places == 0 { whole.to_string() } else { format!("{}.{:0places$}", whole / scale, whole % scale) }
}

/// Python's shortest text of a floating number: at least one decimal.
fn float_text(micros: i64) -> String {
    let text = fixed(micros, 6);
    let text = text.trim_end_matches('0');
    let sign = if micros < 0 { "-" } else { "" };
    if text.ends_with('.') { format!("{sign}{text}0") } else { format!("{sign}{text}") }
}

impl Style {
    const fn example(self) -> &'static str {
        match self {
            Self::Percent => "%(message)s",
            Self::Brace => "{message}",
            Self::Dollar => "$message",
        }
    }
}

fn attribute(name: &str) -> Result<Attribute, String> {
    Attribute::named(name)
        .ok_or_else(|| format!("names \"{name}\"; known are {}", Attribute::NAMES.join(", ")))
}

/// Checks that Python would take this conversion for this attribute.
fn conversion(letter: char, name: &str, holds: Holds) -> Result<Conversion, String> {
    let (conversion, fits) = match letter {
        's' => (Conversion::Text, true),
        'd' | 'i' | 'u' => (Conversion::Integer, holds != Holds::Text),
        'f' | 'F' => (Conversion::Fixed, holds != Holds::Text),
        'o' => (Conversion::Octal, holds == Holds::Integer),
        'x' => (Conversion::Hex, holds == Holds::Integer),
        'X' => (Conversion::UpperHex, holds == Holds::Integer),
        _ => return Err(format!("asks for {name} as \"{letter}\"; known are s d i u f F o x X")),
    };
    if fits { Ok(conversion) } else { Err(format!("asks for {name} as \"{letter}\", which it cannot be")) }
}

fn percent(format: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Pieces::default();
    let mut chars = format.chars().peekable();
    while let Some(character) = chars.next() {
        if character != '%' {
            pieces.literal(character);
            continue;
        }
        match chars.next() {
            Some('%') => pieces.literal('%'),
            Some('(') => pieces.field(percent_field(&mut chars)?),
            _ => return Err("has a % that begins no directive; a percent sign is written %%".to_owned()),
        }
    }
    Ok(pieces.done())
}

fn percent_field(chars: &mut Peekable<Chars<'_>>) -> Result<Field, String> {
    let name = until(chars, ')')?;
    let mut field = Field::plain(attribute(&name)?);
    while let Some(flag) = chars.next_if(|it| "#0- +".contains(*it)) {
        match flag {
            '#' => field.prefix = true,
            '0' => field.zeros = true,
            '-' => field.align = Align::Left,
            '+' => field.plus = Some('+'),
            _ => field.plus = field.plus.or(Some(' ')),
        }
    }
    field.width = size(chars)?.unwrap_or(0);
    if chars.next_if_eq(&'.').is_some() {
        field.precision = Some(size(chars)?.unwrap_or(0));
    }
    // C's length modifiers, which Python reads over.
    while chars.next_if(|it| "hlL".contains(*it)).is_some() {}
    let letter = chars.next().ok_or_else(|| format!("ends inside the directive for {name}"))?;
    field.conversion = conversion(letter, &name, field.attribute.holds())?;
    field.zeros &= field.align != Align::Left;
    Ok(field)
}

fn brace(format: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Pieces::default();
    let mut chars = format.chars().peekable();
    while let Some(character) = chars.next() {
        match character {
            '{' if chars.next_if_eq(&'{').is_some() => pieces.literal('{'),
            '{' => pieces.field(brace_field(&until(&mut chars, '}')?)?),
            '}' if chars.next_if_eq(&'}').is_some() => pieces.literal('}'),
            '}' => return Err("has a } that ends nothing; a brace is written }}".to_owned()),
            _ => pieces.literal(character),
        }
    }
    Ok(pieces.done())
}

/// `name:fill align sign # 0 width .precision type`: Python's format specification.
fn brace_field(text: &str) -> Result<Field, String> {
    let (name, specification) = text.split_once(':').unwrap_or((text, ""));
    let mut field = Field::plain(attribute(name)?);
    if field.attribute.holds() == Holds::Text {
        field.align = Align::Left;
    }
    let mut chars = specification.chars().peekable();
    let mut ahead = specification.chars();
    if let (Some(fill), Some('<' | '>' | '^')) = (ahead.next(), ahead.next()) {
        field.fill = fill;
        chars.next();
    }
    if let Some(align) = chars.next_if(|it| "<>^".contains(*it)) {
        field.align = match align {
            '<' => Align::Left,
            '>' => Align::Right,
            _ => Align::Center,
        };
    }
    if let Some(sign) = chars.next_if(|it| "+- ".contains(*it)) {
        field.plus = (sign != '-').then_some(sign);
    }
    field.prefix = chars.next_if_eq(&'#').is_some();
    if chars.next_if_eq(&'0').is_some() {
        (field.zeros, field.fill) = (true, '0');
    }
    field.width = size(&mut chars)?.unwrap_or(0);
    if chars.next_if_eq(&'.').is_some() {
        field.precision = Some(size(&mut chars)?.unwrap_or(0));
    }
    let holds = field.attribute.holds();
    field.conversion = match chars.next() {
        None => natural(holds, field.precision.is_some() || field.plus.is_some()),
        // Here Python is stricter than with %: text takes only s, integers not s, floats only f.
        Some(letter)
            if (letter == 's') == (holds == Holds::Text) && !(letter == 'd' && holds == Holds::Float) =>
        {
            conversion(letter, name, holds)?
        }
        Some(letter) => return Err(format!("asks for {name} as \"{letter}\", which it cannot be")),
    };
    if chars.next().is_some() {
        return Err(format!("has \"{specification}\" for {name}, which is no format"));
    }
    Ok(field)
}

/// What Python prints when no type is asked for.
fn natural(holds: Holds, exact: bool) -> Conversion {
    match holds {
        Holds::Integer => Conversion::Integer,
        Holds::Float if exact => Conversion::Fixed,
        Holds::Float | Holds::Text => Conversion::Text,
    }
}

fn dollar(format: &str) -> Result<Vec<Piece>, String> {
    let word = |it: &char| it.is_ascii_alphanumeric() || *it == '_';
    let mut pieces = Pieces::default();
    let mut chars = format.chars().peekable();
    while let Some(character) = chars.next() {
        if character != '$' {
            pieces.literal(character);
        } else if chars.next_if_eq(&'$').is_some() {
            pieces.literal('$');
        } else {
            let name = if chars.next_if_eq(&'{').is_some() {
                until(&mut chars, '}')?
            } else {
                std::iter::from_fn(|| chars.next_if(word)).collect()
            };
            pieces.field(Field::plain(attribute(&name)?));
        }
    }
    Ok(pieces.done())
}

/// The characters before `end`, which is taken too.
fn until(chars: &mut Peekable<Chars<'_>>, end: char) -> Result<String, String> {
    let name: String = std::iter::from_fn(|| chars.next_if(|it| *it != end)).collect();
    chars.next().map(|_| name).ok_or_else(|| format!("opens a directive that no \"{end}\" closes"))
}

/// A width or precision.
fn size(chars: &mut Peekable<Chars<'_>>) -> Result<Option<usize>, String> {
    /// A wider line than this is a slip of the finger.
    const WIDEST: usize = 1000;
    let digits: String = std::iter::from_fn(|| chars.next_if(char::is_ascii_digit)).collect();
    if digits.is_empty() {
        return Ok(None);
    }
    let size = digits.parse().ok().filter(|it| *it <= WIDEST);
    size.map(Some).ok_or_else(|| format!("has a width of {digits}; at most {WIDEST}"))
}

#[derive(Default)]
struct Pieces(Vec<Piece>, String);

impl Pieces {
    fn literal(&mut self, character: char) {
        self.1.push(character);
    }

    fn field(&mut self, field: Field) {
        if !self.1.is_empty() {
            self.0.push(Piece::Literal(std::mem::take(&mut self.1)));
        }
        self.0.push(Piece::Field(field));
    }

    fn done(mut self) -> Vec<Piece> {
        if !self.1.is_empty() {
            self.0.push(Piece::Literal(self.1));
        }
        self.0
    }
}

/// Spells out what depends on a locale as the C locale has it, and keeps what C's strftime prints
/// as it stands. Refuses what the calendar library does not know.
fn checked(datefmt: &str) -> Result<String, String> {
    let mut spelled = String::with_capacity(datefmt.len());
    let mut chars = datefmt.chars();
    while let Some(character) = chars.next() {
        if character != '%' {
            spelled.push(character);
            continue;
        }
        match chars.next() {
            Some('c') => spelled.push_str("%a %b %e %H:%M:%S %Y"),
            Some('x') => spelled.push_str("%m/%d/%y"),
            Some('X') => spelled.push_str("%H:%M:%S"),
            Some('r') => spelled.push_str("%I:%M:%S %p"),
            // Not C's: a fraction of a second, which Python's time.strftime does not print either.
            Some(letter @ ('f' | 'N' | 'Q' | 'q' | ':' | '.')) => {
                let _ = write!(spelled, "%%{letter}");
            }
            Some(other) => spelled.extend(['%', other]),
            None => spelled.push_str("%%"),
        }
    }
    match date(jiff::Timestamp::UNIX_EPOCH, TimeZone::UTC).to_string(&spelled) {
        Ok(_) => Ok(spelled),
        Err(error) => Err(format!("has a datefmt that cannot be used: {error}")),
    }
}

fn strftime(datefmt: &str, record: &Record) -> Option<String> {
    let instant = jiff::Timestamp::from_microsecond(record.time.0).ok()?;
    let offset = Offset::from_seconds(record.utc_offset).ok()?;
    // The host's own zone knows its abbreviation, where it still has the offset of the record.
    let system = TimeZone::system();
    let zone = if system.to_offset(instant) == offset { system } else { TimeZone::fixed(offset) };
    date(instant, zone).to_string(datefmt).ok()
}

fn date(instant: jiff::Timestamp, zone: TimeZone) -> BrokenDownTime {
    BrokenDownTime::from(&instant.to_zoned(zone))
}

#[cfg(test)]
mod tests;
