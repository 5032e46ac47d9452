//! Log sources, selections and conditions: what a rule or a filter looks for.

use std::sync::Arc;

use super::{Body, Filter, Placeholders, map, shown, text, texts};
use crate::canonical;
use crate::condition::{self, Condition, Quantity};
use crate::event::float_text;
use crate::expr::Expr;
use crate::modifier;
use crate::rule::LogSource;
use crate::scalar::Scalar;
use crate::yaml::{Entry, Fault, Kind, Map, Node};

/// Reads a rule's `logsource` and `detection`.
pub(super) fn rule(
    root: &Map<'_>,
    line: u32,
    placeholders: &Placeholders,
    warnings: &mut Vec<Fault>,
) -> Result<Body, Fault> {
    let source = source(root, line, warnings)?;
    let expr = Detection::read(root, "detection", &["condition", "timeframe"], placeholders, warnings)?.expr;
    Ok(Body::Rule { source, expr })
}

/// Reads a filter's `logsource` and `filter`.
pub(super) fn filter(
    root: &Map<'_>,
    line: u32,
    placeholders: &Placeholders,
    warnings: &mut Vec<Fault>,
) -> Result<Filter, Fault> {
    let source = source(root, line, warnings)?;
    let entry = root.get("filter").ok_or_else(|| Fault::new(line, "there is no `filter`"))?;
    let rules = map(entry)?.get("rules").ok_or_else(|| {
        Fault::new(entry.line, "there is no `rules`; name the rules, or write `rules: any`")
    })?;
    let rules = match &rules.value.kind {
        Kind::Scalar(_) if text(rules)?.eq_ignore_ascii_case("any") => Vec::new(),
        _ => texts(rules)?.into_iter().map(|(line, it)| (line, it.to_owned())).collect(),
    };
    let read = Detection::read(root, "filter", &["condition", "rules"], placeholders, warnings)?;
    if read.conditions > 1 {
        return Err(Fault::new(entry.line, "a filter has one condition; join them with `and` or `or`"));
    }
    Ok(Filter { source, rules, expr: read.expr })
}

fn source(root: &Map<'_>, line: u32, warnings: &mut Vec<Fault>) -> Result<LogSource, Fault> {
    let Some(entry) = root.get("logsource") else {
        return Err(Fault::new(line, "there is no `logsource`; it says which events the rule is for"));
    };
    let map = map(entry)?;
    let mut attribute = |key: &str| {
        let Some(entry) = map.get(key).filter(|it| !it.value.is_null()) else { return Ok(None) };
        let written = text(entry)?;
        let normal = written.trim().to_lowercase().replace(' ', "_");
        if normal != written {
            let why = format!("`{}` is read as `{normal}`; write it so", shown(written));
            warnings.push(Fault::new(entry.line, why));
        }
        Ok(Some(Arc::from(normal)).filter(|it: &Arc<str>| !it.is_empty()))
    };
    let source = LogSource {
        category: attribute("category")?,
        product: attribute("product")?,
        service: attribute("service")?,
    };
    if source == LogSource::default() {
        let why = "`logsource` names no category, product or service; the rule would be for nothing";
        return Err(Fault::new(entry.line, why));
    }
    Ok(source)
}

/// Selections, and a condition over them.
struct Detection {
    expr: Expr,
    conditions: usize,
}

impl Detection {
    /// Reads the map at `key` of a document; its members `but` are no selections.
    fn read(
        root: &Map<'_>,
        key: &str,
        but: &[&str],
        placeholders: &Placeholders,
        warnings: &mut Vec<Fault>,
    ) -> Result<Self, Fault> {
        let missing = || Fault::new(1, format!("there is no `{key}`"));
        let entry = root.get(key).ok_or_else(missing)?;
        let map = map(entry)?;
        let condition = map.get("condition").ok_or_else(|| {
            Fault::new(entry.line, "there is no `condition`; it says how the selections go together")
        })?;
        let conditions = texts(condition)?;
        if conditions.is_empty() {
            return Err(Fault::new(condition.line, "the condition is an empty list"));
        }
        if let Some(timeframe) = map.get("timeframe").filter(|_| but.contains(&"timeframe")) {
            let why = "`timeframe` has no effect; counting within a time is what correlation rules are for";
            warnings.push(Fault::new(timeframe.line, why));
        }
        let mut selections = Selections::read(map, but, placeholders, warnings)?;
        let mut any = Vec::new();
        for (line, text) in &conditions {
            let known = |name: &str| selections.all.iter().any(|it| it.name == name);
            let read = condition::parse(text, &known).map_err(|why| Fault::new(*line, why))?;
            any.push(selections.expression(&read).map_err(|why| Fault::new(*line, why))?);
        }
        for unused in selections.all.iter().filter(|it| !it.used) {
            let why = format!("the condition does not use `{}`", shown(unused.name));
            warnings.push(Fault::new(unused.line, why));
        }
        Ok(Self { expr: joined(any, Expr::Any), conditions: conditions.len() })
    }
}

struct Selection<'n> {
    name: &'n str,
    line: u32,
    expr: Expr,
    /// See [`canonical::weight`].
    weight: usize,
    used: bool,
}

struct Selections<'n> {
    all: Vec<Selection<'n>>,
    /// What the expressions built so far weigh.
    weight: usize,
}

impl<'n> Selections<'n> {
    fn read(
        map: &'n Map<'_>,
        but: &[&str],
        placeholders: &Placeholders,
        warnings: &mut Vec<Fault>,
    ) -> Result<Self, Fault> {
        let mut all = Vec::new();
        for entry in map.0.iter().filter(|it| !but.contains(&it.key.as_ref())) {
            if all.len() >= SELECTIONS {
                return Err(Fault::new(entry.line, format!("over {SELECTIONS} selections; split the rule")));
            }
            if entry.key.len() > NAME {
                return Err(Fault::new(entry.line, format!("the name of a selection has over {NAME} bytes")));
            }
            let expr = selection(entry, placeholders, warnings)?;
            let weight = canonical::weight(&expr);
            all.push(Selection { name: &entry.key, line: entry.line, expr, weight, used: false });
        }
        Ok(Self { all, weight: 0 })
    }

    fn expression(&mut self, condition: &Condition) -> Result<Expr, String> {
        Ok(match condition {
            Condition::Name(name) => {
                let found = self.all.iter().position(|it| *it.name == **name);
                let found = found.ok_or_else(|| {
                    format!("there is no selection `{}`; there are {}", shown(name), self.names())
                })?;
                self.take(found)?
            }
            Condition::Of(quantity, target) => {
                let meant: Vec<usize> = self
                    .all
                    .iter()
                    .enumerate()
                    .filter_map(|(at, it)| target.means(it.name).then_some(at))
                    .collect();
                if meant.is_empty() {
                    let (target, names) = (shown(&target.to_string()), self.names());
                    return Err(format!("no selection fits `{target}`; there are {names}"));
                }
                let parts = meant.into_iter().map(|it| self.take(it)).collect::<Result<_, _>>()?;
                match quantity {
                    Quantity::One => joined(parts, Expr::Any),
                    Quantity::All => joined(parts, Expr::All),
                }
            }
            Condition::All(parts) => Expr::All(self.expressions(parts)?),
            Condition::Any(parts) => Expr::Any(self.expressions(parts)?),
            Condition::Not(inner) => Expr::Not(Box::new(self.expression(inner)?)),
        })
    }

    fn expressions(&mut self, parts: &[Condition]) -> Result<Vec<Expr>, String> {
        parts.iter().map(|it| self.expression(it)).collect()
    }

    fn take(&mut self, at: usize) -> Result<Expr, String> {
        let selection = self.all.get_mut(at).ok_or("a selection is missing")?;
        selection.used = true;
        self.weight = self.weight.saturating_add(selection.weight);
        if self.weight > canonical::WEIGHT {
            return Err(
                "the condition comes to too many tests; use fewer values, or split the rule".to_owned()
            );
        }
        Ok(selection.expr.clone())
    }

    fn names(&self) -> String {
        let names: Vec<String> =
            self.all.iter().take(NAMES).map(|it| format!("`{}`", shown(it.name))).collect();
        match names.as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        }
    }
}

/// What a search identifier stands for. Sigma specification 2.1, "Detection".
fn selection(
    entry: &Entry<'_>,
    placeholders: &Placeholders,
    warnings: &mut Vec<Fault>,
) -> Result<Expr, Fault> {
    let empty = || Fault::new(entry.line, format!("the selection `{}` is empty", shown(&entry.key)));
    let mut items = Items { placeholders, warnings };
    match &entry.value.kind {
        Kind::Map(map) if map.0.is_empty() => Err(empty()),
        Kind::Map(map) => items.map(map),
        Kind::Scalar(_) if entry.value.is_null() => Err(empty()),
        Kind::Scalar(it) => items.keywords(entry.value.line, &[it.scalar()]),
        Kind::List(list) if list.is_empty() => Err(empty()),
        Kind::List(list) => {
            if let Some(scalars) = scalars(list) {
                return items.keywords(entry.line, &scalars);
            }
            let parts = list.iter().map(|it| items.alternative(it)).collect::<Result<_, _>>()?;
            Ok(joined(parts, Expr::Any))
        }
    }
}

struct Items<'r> {
    placeholders: &'r Placeholders,
    warnings: &'r mut Vec<Fault>,
}

impl Items<'_> {
    /// A member of a list that is not all keywords.
    fn alternative(&mut self, node: &Node<'_>) -> Result<Expr, Fault> {
        match &node.kind {
            Kind::Map(map) if map.0.is_empty() => Err(Fault::new(node.line, "an empty map asks nothing")),
            Kind::Map(map) => self.map(map),
            Kind::Scalar(it) => self.keywords(node.line, &[it.scalar()]),
            Kind::List(_) => Err(Fault::new(node.line, "a list within a list; write one list")),
        }
    }

    fn map(&mut self, map: &Map<'_>) -> Result<Expr, Fault> {
        let parts = map.0.iter().map(|it| self.item(it)).collect::<Result<_, _>>()?;
        Ok(joined(parts, Expr::All))
    }

    fn item(&mut self, entry: &Entry<'_>) -> Result<Expr, Fault> {
        let values = match &entry.value.kind {
            Kind::Scalar(it) => vec![it.scalar()],
            Kind::List(list) => scalars(list).ok_or_else(|| {
                Fault::new(
                    entry.line,
                    format!("the values of `{}` must be texts and numbers", shown(&entry.key)),
                )
            })?,
            Kind::Map(_) => {
                let key = shown(&entry.key);
                let why = format!("`{key}` has a map as its value; a field within a field is written `a.b`");
                return Err(Fault::new(entry.line, why));
            }
        };
        let mut parts = entry.key.split('|');
        let field = parts.next().filter(|it| !it.is_empty());
        let modifiers: Vec<&str> = parts.collect();
        if !modifiers.iter().any(|it| matches!(*it, "lt" | "lte" | "gt" | "gte")) {
            self.lint_numbers(&entry.value, &values);
        }
        self.lowered(entry.line, field, &modifiers, &values)
    }

    /// Says where a text such as `1.10` is not what it looks like.
    fn lint_numbers(&mut self, node: &Node<'_>, values: &[Scalar]) {
        let nodes = match &node.kind {
            Kind::List(list) => list.as_slice(),
            _ => std::slice::from_ref(node),
        };
        for (node, value) in nodes.iter().zip(values) {
            let number = match value {
                Scalar::Int(it) => it.to_string(),
                Scalar::Float(it) => float_text(*it),
                _ => continue,
            };
            if let Some(written) = node.text().filter(|it| *it != number) {
                let why =
                    format!("`{}` is read as the number {number}; quote it if it is a text", shown(written));
                self.warnings.push(Fault::new(node.line, why));
            }
        }
    }

    fn keywords(&mut self, line: u32, values: &[Scalar]) -> Result<Expr, Fault> {
        self.lowered(line, None, &[], values)
    }

    fn lowered(
        &mut self,
        line: u32,
        field: Option<&str>,
        modifiers: &[&str],
        values: &[Scalar],
    ) -> Result<Expr, Fault> {
        let lowered = modifier::item(field, modifiers, values, self.placeholders);
        let lowered = lowered.map_err(|why| match field {
            Some(field) => Fault::new(line, format!("`{}`: {why}", shown(field))),
            None => Fault::new(line, why),
        })?;
        self.warnings.extend(lowered.warnings.into_iter().map(|why| Fault::new(line, why)));
        Ok(lowered.expr)
    }
}

/// The values of a list that holds nothing else.
fn scalars(list: &[Node<'_>]) -> Option<Vec<Scalar>> {
    let scalar = |it: &Node<'_>| match &it.kind {
        Kind::Scalar(it) => Some(it.scalar()),
        _ => None,
    };
    list.iter().map(scalar).collect()
}

/// Several expressions as one; a single one stays what it is.
fn joined(mut parts: Vec<Expr>, by: impl FnOnce(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            by(parts)
        }
    }
}

/// Most selections of a rule.
const SELECTIONS: usize = 1000;
/// Longest name of a selection, in bytes.
const NAME: usize = 256;
/// How many selections a message names.
const NAMES: usize = 12;
