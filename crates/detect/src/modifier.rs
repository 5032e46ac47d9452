//! What `field|modifier|modifier: values` asks: modifiers, lists and placeholders become single tests.
//!
//! Modifiers change each value from left to right, as the specification wants it: `wide|base64` and
//! `base64|wide` differ. Those that concern the item as a whole (`all`, `neq`, `cased`, `expand`) may
//! stand anywhere.

use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use regex::RegexBuilder;

use crate::event::float_text;
use crate::expr::{Ask, Expr, FieldAsk, Op, Part, RegexAsk, Test, Where};
use crate::pattern::{DASHES, Pattern, Piece, pieces};
use crate::scalar::Scalar;

/// The most values of one item.
pub const VALUES_MAX: usize = 10_000;
/// The most tests that one item may come to.
pub const TESTS_MAX: usize = 30_000;
/// The most texts that one value's placeholders may come to.
pub const EXPANSIONS_MAX: usize = 200;
/// The longest value, in bytes.
pub const VALUE_BYTES: usize = 16 * 1024;
/// How large a regular expression may become when compiled, in bytes.
pub const REGEX_BYTES: usize = 2 * 1024 * 1024;
/// How deep a regular expression may be nested.
pub const REGEX_DEPTH: u32 = 64;
/// How much memory each thread may use to make one regular expression faster, in bytes.
const REGEX_CACHE: usize = 256 * 1024;

/// What an item came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Lowered {
    /// What it asks.
    pub expr: Expr,
    /// What is doubtful about it, each without a full stop.
    pub warnings: Vec<String>,
}

/// What `field|mod1|mod2: values` asks. `field` is `None` for keywords: every value of the event is
/// searched then.
///
/// # Errors
///
/// Why the item is refused and how to mend it, without a full stop.
pub fn item(
    field: Option<&str>,
    modifiers: &[&str],
    values: &[Scalar],
    placeholders: &BTreeMap<String, Vec<String>>,
) -> Result<Lowered, String> {
    let modifiers = modifiers.iter().map(|it| Modifier::read(it)).collect::<Result<Vec<_>, _>>()?;
    if values.len() > VALUES_MAX {
        return Err(format!("{} values, and {VALUES_MAX} are the most: split the rule", values.len()));
    }
    let item = Item { field, modifiers: &modifiers, placeholders };
    item.check_order()?;
    let asked = if item.has(Modifier::Exists) {
        item.test(item.exists(values)?)
    } else if values.is_empty() {
        item.test(item.nothing()?)
    } else {
        item.values(values)?
    };
    let expr = if item.has(Modifier::Neq) { Expr::Not(Box::new(asked)) } else { asked };
    Ok(Lowered { expr, warnings: item.warnings(values) })
}

/// A modifier by its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Modifier {
    Place(Where),
    All,
    Neq,
    Exists,
    Cased,
    Re,
    /// The letter that stands for it in a regular expression.
    Flag(char),
    Base64,
    Base64Offset,
    Encode(Utf16),
    Windash,
    Cidr,
    Compare(Op),
    FieldRef,
    Time(Part),
    Expand,
}

/// How UTF-16 is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Utf16 {
    Little,
    Big,
    /// Little, after a byte order mark.
    Marked,
}

impl Modifier {
    fn read(name: &str) -> Result<Self, String> {
        Ok(match name {
            "contains" => Self::Place(Where::Within),
            "startswith" => Self::Place(Where::Start),
            "endswith" => Self::Place(Where::End),
            "all" => Self::All,
            "neq" => Self::Neq,
            "exists" => Self::Exists,
            "cased" => Self::Cased,
            "re" => Self::Re,
            "i" | "ignorecase" => Self::Flag('i'),
            "m" | "multiline" => Self::Flag('m'),
            "s" | "dotall" => Self::Flag('s'),
            "base64" => Self::Base64,
            "base64offset" => Self::Base64Offset,
            "wide" | "utf16le" => Self::Encode(Utf16::Little),
            "utf16be" => Self::Encode(Utf16::Big),
            "utf16" => Self::Encode(Utf16::Marked),
            "windash" => Self::Windash,
            "cidr" => Self::Cidr,
            "lt" => Self::Compare(Op::Lt),
            "lte" => Self::Compare(Op::Lte),
            "gt" => Self::Compare(Op::Gt),
            "gte" => Self::Compare(Op::Gte),
            "fieldref" => Self::FieldRef,
            "minute" => Self::Time(Part::Minute),
            "hour" => Self::Time(Part::Hour),
            "day" => Self::Time(Part::Day),
            "week" => Self::Time(Part::Week),
            "month" => Self::Time(Part::Month),
            "year" => Self::Time(Part::Year),
            "expand" => Self::Expand,
            other => {
                return Err(format!(
                    "`{}` is no modifier; those of Sigma 2.1 are contains, startswith, endswith, all, neq, \
                     exists, cased, re with i, m and s, base64, base64offset, wide, utf16, utf16le, utf16be, \
                     windash, cidr, lt, lte, gt, gte, fieldref, minute, hour, day, week, month, year and expand",
                    short(other)
                ));
            }
        })
    }
}

/// A value on its way through the modifiers.
#[derive(Debug, Clone)]
enum Draft {
    Null,
    Bool(bool),
    Number(f64, String),
    Text(Vec<Piece>),
    /// A text in an encoding that is not UTF-8.
    Bytes(Vec<u8>),
    Regex {
        text: String,
        flags: String,
    },
    Cidr(IpNet),
    Field(String, Where),
    Compare(Op, f64),
    Time(Part, Op, f64),
}

struct Item<'r> {
    field: Option<&'r str>,
    modifiers: &'r [Modifier],
    placeholders: &'r BTreeMap<String, Vec<String>>,
}

impl Item<'_> {
    fn has(&self, modifier: Modifier) -> bool {
        self.modifiers.contains(&modifier)
    }

    fn check_order(&self) -> Result<(), String> {
        let re = self.modifiers.first() == Some(&Modifier::Re);
        for modifier in self.modifiers.iter().skip(1) {
            if *modifier == Modifier::Re {
                return Err("`re` must be the first modifier".to_owned());
            }
        }
        if !re && self.modifiers.iter().any(|it| matches!(it, Modifier::Flag(_))) {
            return Err("the modifiers i, m and s only stand behind `re`".to_owned());
        }
        if re && self.has(Modifier::Cased) {
            return Err("`re` minds case already: take `cased` away".to_owned());
        }
        if re && self.has(Modifier::Expand) {
            return Err("placeholders in a regular expression are not supported: write them out".to_owned());
        }
        Ok(())
    }

    fn exists(&self, values: &[Scalar]) -> Result<Ask, String> {
        match (self.field, self.modifiers, values) {
            (None, ..) => Err("`exists` needs a field".to_owned()),
            (_, [_], [Scalar::Bool(asked)]) => Ok(Ask::Exists(*asked)),
            (_, [_], _) => Err("`exists` takes true or false, without quotes, and no list".to_owned()),
            _ => Err("`exists` takes no other modifier beside it".to_owned()),
        }
    }

    /// An empty list asks for a field that is missing or null.
    fn nothing(&self) -> Result<Ask, String> {
        if self.field.is_none() {
            return Err("an empty list of keywords finds nothing: name some".to_owned());
        }
        if self.modifiers.iter().all(|it| matches!(it, Modifier::All | Modifier::Neq)) {
            return Ok(Ask::Null);
        }
        Err("an empty list with a modifier asks nothing: add values, or write null".to_owned())
    }

    fn test(&self, ask: Ask) -> Expr {
        Expr::Test(Test { field: self.field.map(Into::into), ask })
    }

    fn values(&self, values: &[Scalar]) -> Result<Expr, String> {
        let mut asked = Vec::with_capacity(values.len());
        let mut tests = 0_usize;
        for value in values {
            let asks = self.value(value)?;
            tests = tests.saturating_add(asks.len());
            if tests > TESTS_MAX {
                return Err(format!("expands to more than {TESTS_MAX} tests: use fewer values"));
            }
            asked.push(any(asks.into_iter().map(|it| self.test(it)).collect()));
        }
        Ok(if self.has(Modifier::All) { all(asked) } else { any(asked) })
    }

    /// What one value asks: one of these.
    fn value(&self, value: &Scalar) -> Result<Vec<Ask>, String> {
        let mut drafts = self.begin(value)?;
        for modifier in self.modifiers {
            let mut changed = Vec::with_capacity(drafts.len());
            for draft in drafts {
                draft.change(*modifier, &mut changed)?;
            }
            drafts = changed;
        }
        drafts.into_iter().map(|it| self.finish(it)).collect()
    }

    fn begin(&self, value: &Scalar) -> Result<Vec<Draft>, String> {
        let re = self.has(Modifier::Re);
        Ok(match value {
            Scalar::Null => vec![Draft::Null],
            Scalar::Bool(it) => vec![Draft::Bool(*it)],
            Scalar::Int(it) if re => vec![Draft::Regex { text: it.to_string(), flags: String::new() }],
            #[expect(clippy::cast_precision_loss, reason = "only comparisons use it, and they are in f64")]
            Scalar::Int(it) => vec![Draft::Number(*it as f64, it.to_string())],
            Scalar::Float(it) => vec![Draft::Number(*it, float_text(*it))],
            Scalar::Text(text) if text.len() > VALUE_BYTES => {
                return Err(format!("a value of {} bytes, and {VALUE_BYTES} are the most", text.len()));
            }
            Scalar::Text(text) if re => vec![Draft::Regex { text: text.clone(), flags: String::new() }],
            Scalar::Text(text) if self.has(Modifier::Expand) => {
                expand(text, self.placeholders)?.into_iter().map(Draft::Text).collect()
            }
            Scalar::Text(text) => vec![Draft::Text(pieces(text))],
        })
    }

    fn finish(&self, draft: Draft) -> Result<Ask, String> {
        let cased = self.has(Modifier::Cased);
        let draft = match draft {
            Draft::Number(_, text) => Draft::Text(vec![Piece::Text(text.into())]),
            Draft::Bool(it) if self.field.is_none() => Draft::Text(vec![Piece::Text(it.to_string().into())]),
            Draft::Bytes(bytes) => Draft::Text(vec![Piece::Text(utf8(bytes)?.into())]),
            other => other,
        };
        Ok(match draft {
            Draft::Regex { text, flags } => Ask::Regex(regex(&text, &flags)?),
            Draft::Cidr(net) => Ask::Cidr(net),
            Draft::Text(mut pieces) => {
                if self.field.is_none() && !self.modifiers.iter().any(|it| matches!(it, Modifier::Place(_))) {
                    open(&mut pieces, Where::Within);
                }
                Ask::Text(Pattern::of(&pieces, cased))
            }
            _ if self.field.is_none() => {
                return Err("keywords are texts, regular expressions or networks: name a field".to_owned());
            }
            Draft::Null => Ask::Null,
            Draft::Bool(it) => Ask::Bool(it),
            Draft::Field(other, place) => Ask::Field(FieldAsk { other: other.into(), place, cased }),
            Draft::Compare(op, number) => Ask::Compare(op, number),
            Draft::Time(part, op, number) => Ask::Time(part, op, number),
            Draft::Number(..) | Draft::Bytes(_) => return Err("has no meaning as a value".to_owned()),
        })
    }

    fn warnings(&self, values: &[Scalar]) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.has(Modifier::All) && values.len() == 1 {
            warnings.push("`all` with a single value changes nothing".to_owned());
        }
        if values.len() > 1 && values.contains(&Scalar::Null) {
            warnings.push("null within a list is not portable: make it a selection of its own".to_owned());
        }
        let placed = self.modifiers.iter().any(|it| matches!(it, Modifier::Place(_)));
        if self.has(Modifier::Base64Offset) && !placed && self.field.is_some() {
            warnings
                .push("`base64offset` without `contains` only finds a value that is nothing else".to_owned());
        }
        warnings
    }
}

impl Draft {
    /// Applies one modifier; most values stay one.
    fn change(self, modifier: Modifier, into: &mut Vec<Self>) -> Result<(), String> {
        let changed = match (modifier, self) {
            // The item's own business, and seen to elsewhere; and a regular expression finds what it looks
            // for anywhere as it is.
            (Modifier::All | Modifier::Neq | Modifier::Cased | Modifier::Expand | Modifier::Exists, it)
            | (Modifier::Re | Modifier::Place(Where::Within), it @ Self::Regex { .. }) => it,
            (Modifier::Flag(flag), Self::Regex { text, mut flags }) => {
                flags.push(flag);
                Self::Regex { text, flags }
            }
            (Modifier::Place(_), Self::Regex { .. }) => {
                return Err("a regular expression is anchored with ^ and $, not with a modifier".to_owned());
            }
            (Modifier::Place(place), Self::Field(other, _)) => Self::Field(other, place),
            (Modifier::Compare(op), Self::Number(number, _)) => Self::Compare(op, number),
            (Modifier::Compare(op), Self::Time(part, _, number))
            | (Modifier::Time(part), Self::Compare(op, number)) => Self::Time(part, op, number),
            (Modifier::Compare(_), _) => return Err("a comparison needs a number, without quotes".to_owned()),
            (Modifier::Time(part), Self::Number(number, _)) => Self::Time(part, Op::Eq, number),
            (Modifier::Time(_), _) => {
                return Err("a part of a time needs a number, without quotes".to_owned());
            }
            (modifier, Self::Text(pieces)) => return text(modifier, pieces, into),
            (modifier, Self::Number(_, number)) => {
                return text(modifier, vec![Piece::Text(number.into())], into);
            }
            (modifier, Self::Bool(it)) => {
                return text(modifier, vec![Piece::Text(it.to_string().into())], into);
            }
            (Modifier::Base64, Self::Bytes(bytes)) => Self::text(STANDARD.encode(bytes)),
            (Modifier::Base64Offset, Self::Bytes(bytes)) => return base64_offsets(&bytes, into),
            (_, Self::Null) => return Err("null takes no modifier but `neq`".to_owned()),
            (_, Self::Bytes(_)) => {
                return Err(
                    "only `base64` or `base64offset` can follow an encoding such as `wide`".to_owned()
                );
            }
            _ => return Err("these modifiers do not go together".to_owned()),
        };
        into.push(changed);
        Ok(())
    }

    fn text(text: String) -> Self {
        Self::Text(vec![Piece::Text(text.into())])
    }
}

/// Applies a modifier that works on texts.
fn text(modifier: Modifier, mut pieces: Vec<Piece>, into: &mut Vec<Draft>) -> Result<(), String> {
    let plain = |pieces: &[Piece], what: &str| {
        let pattern = Pattern::of(pieces, true);
        pattern.as_literal().map(str::to_owned).ok_or_else(|| format!("{what} takes no wildcards"))
    };
    into.push(match modifier {
        Modifier::Place(place) => {
            open(&mut pieces, place);
            Draft::Text(pieces)
        }
        Modifier::Base64 => Draft::text(STANDARD.encode(plain(&pieces, "`base64`")?)),
        Modifier::Base64Offset => {
            return base64_offsets(plain(&pieces, "`base64offset`")?.as_bytes(), into);
        }
        Modifier::Encode(how) => Draft::Bytes(how.encode(&plain(&pieces, "an encoding such as `wide`")?)),
        Modifier::Windash => Draft::Text(windash(&pieces)),
        Modifier::Cidr => Draft::Cidr(network(&plain(&pieces, "`cidr`")?)?),
        Modifier::FieldRef => {
            let other = plain(&pieces, "`fieldref` stands before `contains` and the like, and")?;
            Draft::Field(other, Where::Whole)
        }
        _ => return Err("these modifiers do not go together".to_owned()),
    });
    Ok(())
}

impl Utf16 {
    fn encode(self, text: &str) -> Vec<u8> {
        let mark = (self == Self::Marked).then_some(0xfeff);
        mark.into_iter()
            .chain(text.encode_utf16())
            .flat_map(|it| if self == Self::Big { it.to_be_bytes() } else { it.to_le_bytes() })
            .collect()
    }
}

fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| {
        "what this encoding gives is not text: put `base64` or `base64offset` behind it".to_owned()
    })
}

/// Wildcards where a text may go on.
fn open(pieces: &mut Vec<Piece>, place: Where) {
    if matches!(place, Where::Within | Where::End) && pieces.first() != Some(&Piece::Any) {
        pieces.insert(0, Piece::Any);
    }
    if matches!(place, Where::Within | Where::Start) && pieces.last() != Some(&Piece::Any) {
        pieces.push(Piece::Any);
    }
}

/// What every encoding that holds these bytes holds of them: they may begin at any place within the
/// three bytes that Base64 takes at once, and what shares a letter with a neighbour is cut off.
fn base64_offsets(bytes: &[u8], into: &mut Vec<Draft>) -> Result<(), String> {
    if bytes.len() < 2 {
        return Err("a value this short leaves nothing to find with `base64offset`".to_owned());
    }
    for (offset, cut) in [(0_usize, 0_usize), (1, 2), (2, 3)] {
        let encoded = STANDARD.encode([vec![b' '; offset].as_slice(), bytes].concat());
        let end = match bytes.len().wrapping_add(offset) % 3 {
            0 => 0,
            1 => 3,
            _ => 2,
        };
        let whole = encoded.get(cut..encoded.len().saturating_sub(end)).unwrap_or_default();
        into.push(Draft::text(whole.to_owned()));
    }
    Ok(())
}

/// Every dash before a word and not within one may be any dash.
fn windash(before: &[Piece]) -> Vec<Piece> {
    let is_word = |it: &char| it.is_alphanumeric() || *it == '_';
    let mut after = Vec::with_capacity(before.len());
    for piece in before {
        let Piece::Text(text) = piece else {
            after.push(piece.clone());
            continue;
        };
        let mut run = String::new();
        let mut last = None;
        let mut rest = text.chars().peekable();
        while let Some(next) = rest.next() {
            let opens = !last.as_ref().is_some_and(is_word) && rest.peek().is_some_and(is_word);
            if DASHES.contains(&next) && opens {
                after.push(Piece::Text(std::mem::take(&mut run).into()));
                after.push(Piece::Dash);
            } else {
                run.push(next);
            }
            last = Some(next);
        }
        after.push(Piece::Text(run.into()));
    }
    after
}

fn network(text: &str) -> Result<IpNet, String> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => return Err(format!("`{}` is no network such as 192.0.2.0/24", short(text))),
        },
    };
    if net.addr() != net.network() {
        return Err(format!("`{text}` is an address in a network: write {}", net.trunc()));
    }
    Ok(net)
}

fn regex(text: &str, flags: &str) -> Result<RegexAsk, String> {
    // In the text itself, so that two are equal only if their flags are.
    let whole = if flags.is_empty() { text.to_owned() } else { format!("(?{flags}){text}") };
    RegexBuilder::new(&whole)
        .size_limit(REGEX_BYTES)
        .dfa_size_limit(REGEX_CACHE)
        .nest_limit(REGEX_DEPTH)
        .build()
        .map(RegexAsk)
        .map_err(|error| {
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("`{}` is no regular expression that can always be matched fast: {why}", short(text))
        })
}

/// The texts that a text with placeholders stands for.
fn expand(text: &str, placeholders: &BTreeMap<String, Vec<String>>) -> Result<Vec<Vec<Piece>>, String> {
    let mut texts: Vec<Vec<Piece>> = vec![Vec::new()];
    for part in spans(text) {
        let choices: Vec<Vec<Piece>> = match part {
            Span::Text(text) => vec![pieces(&text)],
            Span::Placeholder(name) => placeholders
                .get(name)
                .filter(|it| !it.is_empty())
                .ok_or_else(|| format!("nothing is known for the placeholder %{name}%: give it values"))?
                .iter()
                .map(|it| pieces(it))
                .collect(),
        };
        if texts.len().saturating_mul(choices.len()) > EXPANSIONS_MAX {
            return Err(format!(
                "its placeholders come to more than {EXPANSIONS_MAX} texts: use fewer values"
            ));
        }
        texts = texts
            .iter()
            .flat_map(|before| choices.iter().map(|it| [before.as_slice(), it.as_slice()].concat()))
            .collect();
    }
    Ok(texts)
}

/// A part of a text with placeholders.
enum Span<'t> {
    /// As a rule writes it.
    Text(String),
    /// The name between two percent signs.
    Placeholder(&'t str),
}

/// Cuts `a%name%b` apart. `\%` is a percent sign, and so is one that opens no name.
fn spans(text: &str) -> Vec<Span<'_>> {
    let mut spans = Vec::new();
    let mut run = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let after = rest.get(next.len_utf8()..).unwrap_or_default();
        rest = after;
        if let ('\\', Some(escaped)) = (next, after.chars().next()) {
            if escaped != '%' {
                run.push('\\');
            }
            run.push(escaped);
            rest = after.get(escaped.len_utf8()..).unwrap_or_default();
            continue;
        }
        let name = if next == '%' { after.split_once('%') } else { None };
        if let Some((name, after)) = name.filter(|it| is_placeholder(it.0)) {
            spans.push(Span::Text(std::mem::take(&mut run)));
            spans.push(Span::Placeholder(name));
            rest = after;
        } else {
            run.push(next);
        }
    }
    spans.push(Span::Text(run));
    spans
}

fn is_placeholder(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|it| it.is_alphanumeric() || matches!(it, '_' | '-' | '.'))
}

fn any(mut exprs: Vec<Expr>) -> Expr {
    if exprs.len() == 1 { exprs.remove(0) } else { Expr::Any(exprs) }
}

fn all(mut exprs: Vec<Expr>) -> Expr {
    if exprs.len() == 1 { exprs.remove(0) } else { Expr::All(exprs) }
}

/// So much of a rule's text as a message repeats.
fn short(text: &str) -> &str {
    text.get(..text.floor_char_boundary(60)).unwrap_or(text)
}

#[cfg(test)]
mod tests;
