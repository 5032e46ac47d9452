//! Filters: what is added to rules with `and`, as it stands.

use std::collections::BTreeSet;

use super::{Builder, Target};
use crate::canonical;
use crate::expr::Expr;
use crate::read::Filter;
use crate::rule::{Meta, Rule};
use crate::yaml::Fault;

impl Builder<'_> {
    /// Applies all filters, in the order of the files.
    pub(super) fn apply_filters(&mut self) {
        let filters = std::mem::take(&mut self.filters);
        let mut filtered = BTreeSet::new();
        for (meta, filter) in &filters {
            let meant = self.meant(meta, filter);
            if meant.is_empty() {
                let line = meta.place.as_ref().map_or(1, |it| it.line);
                self.warn(meta, Fault::new(line, "the filter applies to no rule"));
            }
            let weight = canonical::weight(&filter.expr);
            for at in meant {
                self.apply(at, filter, weight);
                filtered.insert(at);
            }
        }
        for at in filtered {
            if let Some(Some(rule)) = self.rules.get_mut(at) {
                rule.meta.fingerprint = canonical::rule(&rule.source, &rule.expr).0;
            }
        }
        self.close_ranks();
    }

    /// The rules that a filter is for. Spec: the filter's log source must fit too if it names them.
    fn meant(&mut self, meta: &Meta, filter: &Filter) -> BTreeSet<usize> {
        let fits = |it: &Option<Rule>| it.as_ref().is_some_and(|it| filter.source.covers(&it.source));
        if filter.rules.is_empty() {
            return (0..).zip(&self.rules).filter(|it| fits(it.1)).map(|it| it.0).collect();
        }
        let mut meant = BTreeSet::new();
        for (line, name) in &filter.rules {
            let why = match self.target(name) {
                Some(Target::Rule(at)) if self.rules.get(at).is_some_and(fits) => {
                    meant.insert(at);
                    continue;
                }
                Some(Target::Rule(_)) => format!("`{name}` has another log source than the filter"),
                Some(Target::Correlation(_)) => {
                    format!("`{name}` is a correlation; filter the rules that it refers to")
                }
                Some(Target::Filter) => format!("`{name}` is a filter"),
                Some(Target::Refused) => format!("`{name}` was refused"),
                None => format!("there is no rule with the id or name `{name}`"),
            };
            self.warn(meta, Fault::new(*line, why));
        }
        meant
    }

    fn apply(&mut self, at: usize, filter: &Filter, weight: usize) {
        let Some(slot) = self.rules.get_mut(at) else { return };
        let Some(rule) = slot.take() else { return };
        self.weight = self.weight.saturating_add(weight);
        if canonical::weight(&rule.expr).saturating_add(weight) > canonical::WEIGHT
            || self.weight > super::WEIGHT
        {
            let line = rule.meta.place.as_ref().map_or(1, |it| it.line);
            let why = "with its filters the rule comes to too many tests; use fewer filters";
            self.refuse(&rule.meta, Fault::new(line, why));
            return;
        }
        let mut parts = match rule.expr {
            Expr::All(parts) => parts,
            other => vec![other],
        };
        parts.push(filter.expr.clone());
        *slot = Some(Rule { expr: Expr::All(parts), ..rule });
    }

    /// Takes out the rules that were refused, and tells the references.
    fn close_ranks(&mut self) {
        let mut next = 0_usize;
        let mut moved = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            moved.push(rule.is_some().then_some(next));
            next = next.saturating_add(usize::from(rule.is_some()));
        }
        self.rules.retain(Option::is_some);
        for (target, _) in self.taken.values_mut() {
            if let Target::Rule(at) = *target {
                *target = moved.get(at).copied().flatten().map_or(Target::Refused, Target::Rule);
            }
        }
    }

    /// What an id or a name finds.
    pub(super) fn target(&self, id_or_name: &str) -> Option<Target> {
        let found = self.taken.get(id_or_name).or_else(|| self.taken.get(&id_or_name.to_ascii_lowercase()));
        found.map(|it| it.0)
    }
}
