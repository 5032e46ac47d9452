//! The fields that rules name, as one event has them: looked up and folded at most once.

use std::fmt::Write as _;

use crate::event::{Fields, Value, float_text, name_hash};
use crate::pattern::fold_char;

/// The fields that rules name, by number.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<(Box<str>, u32)>);

impl Names {
    /// Adds a name that is not there yet, and gives its number.
    pub(super) fn add(&mut self, name: &str) -> u32 {
        self.0.push((name.into(), name_hash(name)));
        u32::try_from(self.0.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value of a field by its number.
    pub(super) fn get<'f, 'e>(&self, field: u32, fields: &'f Fields<'e>) -> Option<&'f Value<'e>> {
        let (name, hash) = self.0.get(usize::try_from(field).ok()?)?;
        fields.get_hashed(name, *hash)
    }
}

/// The folded texts of one view's fields, made when first asked for. Keeps its memory.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// Counts views, so that nothing needs to be cleared between them.
    view: u32,
    by_field: Vec<Text>,
    /// All texts in one.
    all: String,
}

/// Stands between texts that are looked at as one.
pub(super) const BETWEEN_TEXTS: char = '\0';

#[derive(Debug, Default, Clone)]
struct Text {
    /// The view that this is of.
    view: u32,
    folded: String,
}

/// The longest text that is kept from one event to the next, in bytes.
const KEPT_BYTES: usize = 4096;

impl Texts {
    /// For so many fields.
    pub(super) fn new(fields: usize) -> Self {
        Self { view: 0, by_field: vec![Text::default(); fields], all: String::new() }
    }

    /// Forgets the texts of the view before.
    pub(super) fn next_view(&mut self) {
        let Some(view) = self.view.checked_add(1) else {
            *self = Self::new(self.by_field.len());
            return self.next_view();
        };
        self.view = view;
    }

    /// All values folded, one behind the other; not the numbers unless asked for.
    pub(super) fn all(&mut self, fields: &Fields<'_>, numbers: bool) -> &str {
        self.all.clear();
        self.all.shrink_to(KEPT_BYTES);
        for (_, value) in fields.iter() {
            value.each(&mut |one| {
                match one {
                    Value::Text(it) => self.all.push_str(it),
                    Value::Null | Value::List(_) => return false,
                    Value::Int(_) | Value::Float(_) if !numbers => return false,
                    other => self.all.push_str(&other.text().unwrap_or_default()),
                }
                self.all.push(BETWEEN_TEXTS);
                false
            });
        }
        if self.all.is_ascii() {
            self.all.make_ascii_lowercase();
        } else {
            self.all = self.all.chars().map(fold_char).collect();
        }
        &self.all
    }

    #[cfg(test)]
    pub(super) fn near_the_end(&mut self) {
        self.view = u32::MAX - 1;
    }

    /// The folded text of a field's value; a list has none.
    pub(super) fn folded(&mut self, field: u32, value: &Value<'_>) -> Option<&str> {
        let text = self.by_field.get_mut(usize::try_from(field).ok()?)?;
        if text.view != self.view {
            text.view = self.view;
            text.folded.clear();
            text.folded.shrink_to(KEPT_BYTES);
            match value {
                Value::Text(it) => fold_into(it, &mut text.folded),
                // Writing to a string does not fail.
                Value::Int(it) => write!(text.folded, "{it}").unwrap_or_default(),
                Value::Float(it) => text.folded.push_str(&float_text(*it)),
                Value::Bool(it) => text.folded.push_str(if *it { "true" } else { "false" }),
                Value::Null | Value::List(_) => {}
            }
        }
        match value {
            Value::Null | Value::List(_) => None,
            _ => Some(&text.folded),
        }
    }
}

/// Writes the folded form of a text.
fn fold_into(text: &str, folded: &mut String) {
    if text.is_ascii() {
        folded.push_str(text);
        folded.make_ascii_lowercase();
    } else {
        folded.extend(text.chars().map(fold_char));
    }
}
