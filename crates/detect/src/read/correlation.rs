//! Correlations, as far as one document says: which rules they mean is looked up in [`crate::pack`].

use super::{map, shown, text, texts};
use crate::condition::{self, Condition};
use crate::expr::Op;
use crate::rule::{Bound, Figure};
use crate::scalar::Scalar;
use crate::yaml::{Entry, Fault, Kind, Map};

/// A correlation whose rules are still words.
pub(crate) struct Draft {
    /// Ids or names with their lines, in the order of the file.
    pub(crate) rules: Vec<(u32, String)>,
    pub(crate) group_by: Vec<String>,
    pub(crate) aliases: Vec<Alias>,
    /// Microseconds.
    pub(crate) timespan: i64,
    pub(crate) kind: DraftKind,
    /// Where its condition stands.
    pub(crate) line: u32,
    pub(crate) generate: bool,
}

/// A name for fields that are called differently in different rules.
pub(crate) struct Alias {
    pub(crate) line: u32,
    pub(crate) name: String,
    /// Rules, with their lines, and what the field is called there.
    pub(crate) fields: Vec<(u32, String, String)>,
}

/// See [`crate::rule::CorrelationKind`].
pub(crate) enum DraftKind {
    EventCount(Vec<Bound>),
    ValueCount(Vec<String>, Vec<Bound>),
    /// Without bounds: each of the rules.
    Temporal(Vec<Bound>),
    TemporalOrdered(Vec<Bound>),
    TemporalExpr {
        condition: Condition,
        ordered: bool,
    },
    Figure(Figure, String, Vec<Bound>),
}

/// Reads the member `correlation` of a document, and `generate` beside it.
pub(super) fn read(root: &Map<'_>, warnings: &mut Vec<Fault>) -> Result<Draft, Fault> {
    let entry = root.get("correlation").ok_or_else(|| Fault::new(1, "there is no `correlation`"))?;
    let map = map(entry)?;
    let need = |key: &str, what: &str| {
        let missing = || Fault::new(entry.line, format!("the correlation has no `{key}`; {what}"));
        map.get(key).filter(|it| !it.value.is_null()).ok_or_else(missing)
    };
    let condition = map.get("condition").filter(|it| !it.value.is_null());
    let kind = kind(need("type", TYPES_ARE)?, condition, entry.line, warnings)?;
    let rules = match (&kind, map.get("rules").filter(|it| !it.value.is_null())) {
        (DraftKind::TemporalExpr { condition: it, .. }, None) => {
            let line = condition.map_or(entry.line, |it| it.line);
            let mut names = Vec::new();
            named(it, &mut names);
            names.into_iter().map(|it| (line, it.to_owned())).collect()
        }
        (_, None) => need("rules", "name the rules it is about by `id` or `name`").map(|_| Vec::new())?,
        (_, Some(rules)) => {
            let named = texts(rules)?;
            if named.is_empty() {
                return Err(Fault::new(rules.line, "`rules` is empty; name the rules it is about"));
            }
            if named.len() > RULES {
                return Err(Fault::new(rules.line, format!("over {RULES} rules; split the correlation")));
            }
            named.into_iter().map(|(line, it)| (line, it.to_owned())).collect()
        }
    };
    if let DraftKind::TemporalExpr { condition: it, .. } = &kind {
        same_rules(it, &rules, condition.map_or(entry.line, |it| it.line))?;
    }
    let group_by = match map.get("group-by").filter(|it| !it.value.is_null()) {
        Some(entry) => texts(entry)?.into_iter().map(|it| it.1.to_owned()).collect(),
        None => Vec::new(),
    };
    if group_by.len() > KEYS {
        return Err(Fault::new(entry.line, format!("over {KEYS} fields in `group-by`")));
    }
    for unknown in map.0.iter().filter(|it| !MEMBERS.contains(&it.key.as_ref())) {
        warnings.push(Fault::new(unknown.line, format!("`{}` means nothing here", shown(&unknown.key))));
    }
    Ok(Draft {
        rules,
        group_by,
        aliases: map.get("aliases").map_or(Ok(Vec::new()), aliases)?,
        timespan: timespan(need("timespan", "write `timespan: 5m`, say")?, warnings)?,
        kind,
        line: condition.map_or(entry.line, |it| it.line),
        generate: generate(root)? | generate(map)?,
    })
}

fn kind(
    entry: &Entry<'_>,
    condition: Option<&Entry<'_>>,
    line: u32,
    warnings: &mut Vec<Fault>,
) -> Result<DraftKind, Fault> {
    let word = text(entry)?;
    let ordered = word == "temporal_ordered";
    if ordered || word == "temporal" {
        let bounds = match condition.map(|it| &it.value.kind) {
            None => Vec::new(),
            Some(Kind::Map(_)) => {
                Asked::read(condition, line, warnings)?.bounds_only(word, true, warnings)?
            }
            Some(_) => {
                let entry = condition.ok_or_else(|| Fault::new(line, "no condition"))?;
                let condition = condition::parse(text(entry)?, &|_| false);
                let condition = condition.map_err(|why| Fault::new(entry.value.line, why))?;
                if quantified(&condition) {
                    let why = "the condition of a correlation names its rules one by one, without `of`";
                    return Err(Fault::new(entry.value.line, why));
                }
                return Ok(DraftKind::TemporalExpr { condition, ordered });
            }
        };
        return Ok(if ordered { DraftKind::TemporalOrdered(bounds) } else { DraftKind::Temporal(bounds) });
    }
    let known = ["event_count", "value_count", "value_sum", "value_avg", "value_percentile", "value_median"];
    if !known.contains(&word) {
        return Err(Fault::new(
            entry.line,
            format!("`{}` is no type of correlation; {TYPES_ARE}", shown(word)),
        ));
    }
    let mut asked = Asked::read(condition, line, warnings)?;
    Ok(match word {
        "event_count" => DraftKind::EventCount(asked.bounds_only(word, true, warnings)?),
        "value_count" => {
            let fields = std::mem::take(&mut asked.fields);
            if fields.is_empty() {
                return Err(asked.no_field(word));
            }
            DraftKind::ValueCount(fields, asked.bounds_only(word, true, warnings)?)
        }
        _ => {
            let field = match asked.fields.as_slice() {
                [_] => asked.fields.pop().unwrap_or_default(),
                [] => return Err(asked.no_field(word)),
                _ => return Err(Fault::new(asked.line, format!("`{word}` takes a single field"))),
            };
            let figure = match (word, asked.percentile.take()) {
                ("value_sum", None) => Figure::Sum,
                ("value_avg", None) => Figure::Average,
                ("value_median", None) => Figure::Percentile(50.0),
                ("value_percentile", Some(share)) => Figure::Percentile(share),
                ("value_percentile", None) => {
                    let why = "the condition has no `percentile`; write `percentile: 95`, say";
                    return Err(Fault::new(asked.line, why));
                }
                _ => {
                    let why = format!("`percentile` belongs to the type `value_percentile`, not `{word}`");
                    return Err(Fault::new(asked.line, why));
                }
            };
            DraftKind::Figure(figure, field, asked.bounds_only(word, false, warnings)?)
        }
    })
}

/// A condition that is a map.
struct Asked {
    line: u32,
    bounds: Vec<Bound>,
    fields: Vec<String>,
    percentile: Option<f64>,
}

impl Asked {
    fn read(condition: Option<&Entry<'_>>, line: u32, warnings: &mut Vec<Fault>) -> Result<Self, Fault> {
        let entry = condition.ok_or_else(|| {
            Fault::new(line, "the correlation has no `condition`; write `gte: 5` into one, say")
        })?;
        let Kind::Map(map) = &entry.value.kind else {
            let why =
                "only the types temporal and temporal_ordered take a condition in words; write `gte: 5`, say";
            return Err(Fault::new(entry.line, why));
        };
        let mut asked = Self { line: entry.line, bounds: Vec::new(), fields: Vec::new(), percentile: None };
        for entry in &map.0 {
            if let Some((_, op)) = OPS.iter().find(|it| it.0 == entry.key) {
                asked.bounds.push(Bound { op: *op, number: number(entry)? });
            } else if entry.key == "field" {
                asked.fields = texts(entry)?.into_iter().map(|it| it.1.to_owned()).collect();
            } else if entry.key == "percentile" {
                let share = number(entry)?;
                if !(0.0..=100.0).contains(&share) {
                    return Err(Fault::new(entry.line, "`percentile` must be from 0 to 100"));
                }
                asked.percentile = Some(share);
            } else {
                let why = format!("`{}` is no part of a condition; there are {OPS_ARE}", shown(&entry.key));
                return Err(Fault::new(entry.line, why));
            }
        }
        if asked.fields.len() > KEYS {
            return Err(Fault::new(asked.line, format!("over {KEYS} fields to count")));
        }
        asked.check_bounds(warnings)?;
        Ok(asked)
    }

    fn check_bounds(&self, warnings: &mut Vec<Fault>) -> Result<(), Fault> {
        let lower = |it: &Bound| matches!(it.op, Op::Gt | Op::Gte);
        let upper = |it: &Bound| matches!(it.op, Op::Lt | Op::Lte);
        match self.bounds.as_slice() {
            [] => Err(Fault::new(self.line, "the condition compares with nothing; write `gte: 5`, say")),
            [_] => Ok(()),
            [a, b] if lower(a) && upper(b) || upper(a) && lower(b) => {
                let why = "a range of two comparisons is not portable; most tools take one";
                warnings.push(Fault::new(self.line, why));
                Ok(())
            }
            _ => Err(Fault::new(self.line, "a condition has one comparison, or one from each side")),
        }
    }

    /// The bounds, once everything else in the condition is taken. Counts are whole numbers.
    fn bounds_only(self, kind: &str, count: bool, warnings: &mut Vec<Fault>) -> Result<Vec<Bound>, Fault> {
        if self.percentile.is_some() {
            let why = format!("`percentile` belongs to the type `value_percentile`, not `{kind}`");
            return Err(Fault::new(self.line, why));
        }
        if !self.fields.is_empty() {
            warnings.push(Fault::new(self.line, format!("`field` has no effect on the type `{kind}`")));
        }
        if count && self.bounds.iter().any(|it| it.number < 0.0 || it.number.fract() != 0.0) {
            return Err(Fault::new(
                self.line,
                format!("`{kind}` counts; compare it with a whole number from 0"),
            ));
        }
        Ok(self.bounds)
    }

    fn no_field(&self, kind: &str) -> Fault {
        Fault::new(self.line, format!("the condition has no `field`; `{kind}` needs one"))
    }
}

#[expect(clippy::cast_precision_loss, reason = "what is compared with it is a float too")]
fn number(entry: &Entry<'_>) -> Result<f64, Fault> {
    let scalar = match &entry.value.kind {
        Kind::Scalar(it) => it.scalar(),
        _ => Scalar::Null,
    };
    match scalar {
        Scalar::Int(it) => Ok(it as f64),
        Scalar::Float(it) => Ok(it),
        _ => Err(Fault::new(entry.line, format!("`{}` needs a number, without quotes", shown(&entry.key)))),
    }
}

/// The names in a condition, each once, in their order.
fn named<'c>(condition: &'c Condition, into: &mut Vec<&'c str>) {
    match condition {
        Condition::Name(name) if !into.contains(&&**name) => into.push(name),
        Condition::Name(_) | Condition::Of(..) => {}
        Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|it| named(it, into)),
        Condition::Not(inner) => named(inner, into),
    }
}

/// Whether it says `of`: correlations list their rules instead.
fn quantified(condition: &Condition) -> bool {
    match condition {
        Condition::Of(..) => true,
        Condition::Name(_) => false,
        Condition::All(parts) | Condition::Any(parts) => parts.iter().any(quantified),
        Condition::Not(inner) => quantified(inner),
    }
}

/// What a condition in words names must be what `rules` lists.
fn same_rules(condition: &Condition, rules: &[(u32, String)], line: u32) -> Result<(), Fault> {
    let mut names = Vec::new();
    named(condition, &mut names);
    if names.len() > RULES {
        return Err(Fault::new(line, format!("over {RULES} rules; split the correlation")));
    }
    if let Some(name) = names.iter().find(|it| !rules.iter().any(|rule| rule.1 == **it)) {
        let why = format!("the condition names `{}`, which `rules` does not list", shown(name));
        return Err(Fault::new(line, why));
    }
    if let Some((line, rule)) = rules.iter().find(|it| !names.contains(&it.1.as_str())) {
        return Err(Fault::new(*line, format!("the condition does not use `{}`", shown(rule))));
    }
    Ok(())
}

fn aliases(entry: &Entry<'_>) -> Result<Vec<Alias>, Fault> {
    if entry.value.is_null() {
        return Ok(Vec::new());
    }
    let mut aliases = Vec::new();
    for alias in &map(entry)?.0 {
        let fields = map(alias)?.0.iter();
        let fields = fields.map(|it| Ok((it.line, it.key.to_string(), text(it)?.to_owned())));
        let fields = fields.collect::<Result<_, Fault>>()?;
        aliases.push(Alias { line: alias.line, name: alias.key.to_string(), fields });
    }
    if aliases.len() > KEYS {
        return Err(Fault::new(entry.line, format!("over {KEYS} aliases")));
    }
    Ok(aliases)
}

fn timespan(entry: &Entry<'_>, warnings: &mut Vec<Fault>) -> Result<i64, Fault> {
    let written = text(entry)?;
    let wrong = || {
        let why = format!("`{}` is no time span such as 30s, 5m, 2h or 7d", shown(written));
        Fault::new(entry.line, why)
    };
    let digits = written.trim_end_matches(|it: char| !it.is_ascii_digit());
    let unit = written.get(digits.len()..).unwrap_or_default();
    let (_, seconds) = UNITS.iter().find(|it| it.0 == unit).ok_or_else(wrong)?;
    if !matches!(unit, "s" | "m" | "h" | "d") {
        let why = format!("the unit `{unit}` is not portable; s, m, h and d are");
        warnings.push(Fault::new(entry.line, why));
    }
    let unsigned = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    let count: i64 = unsigned.then(|| digits.parse().ok()).flatten().ok_or_else(wrong)?;
    let span = count.checked_mul(*seconds).and_then(|it| it.checked_mul(1_000_000)).unwrap_or(i64::MAX);
    match span {
        0 => Err(Fault::new(entry.line, "a time span must be longer than nothing")),
        SPAN.. => Err(Fault::new(entry.line, "a time span must be shorter than 100 years")),
        span => Ok(span),
    }
}

fn generate(map: &Map<'_>) -> Result<bool, Fault> {
    let Some(entry) = map.get("generate").filter(|it| !it.value.is_null()) else { return Ok(false) };
    match &entry.value.kind {
        Kind::Scalar(it) if it.scalar() == Scalar::Bool(true) => Ok(true),
        Kind::Scalar(it) if it.scalar() == Scalar::Bool(false) => Ok(false),
        _ => Err(Fault::new(entry.line, "`generate` must be true or false")),
    }
}

const TYPES_ARE: &str = "there are event_count, value_count, temporal, temporal_ordered, value_sum, value_avg, \
                         value_percentile and value_median";
const OPS_ARE: &str = "gt, gte, lt, lte, eq, neq, field and percentile";
const OPS: &[(&str, Op)] =
    &[("gt", Op::Gt), ("gte", Op::Gte), ("lt", Op::Lt), ("lte", Op::Lte), ("eq", Op::Eq), ("neq", Op::Neq)];
const MEMBERS: &[&str] = &["type", "rules", "group-by", "timespan", "condition", "aliases", "generate"];
/// Units of a time span and their seconds. The last three are what other readers take.
const UNITS: &[(&str, i64)] =
    &[("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 604_800), ("M", 2_629_746), ("y", 31_556_952)];
/// 100 years of 365 days.
const SPAN: i64 = 100 * 365 * 86_400 * 1_000_000;
/// Most rules that a correlation refers to.
const RULES: usize = 1000;
/// Most fields of a group, or of a count, and most aliases.
const KEYS: usize = 16;
