//! What is wrong with a configuration, or worth knowing of it, and where it stands.

use std::fmt;
use std::path::PathBuf;

/// Where in a configuration something stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file, both counted from 1, columns in characters.
    At {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// In an environment variable, by name.
    Variable(String),
    /// Nowhere: something is missing.
    Nowhere,
}

/// Where the lines of a text begin: finds places without reading it from the start each time.
pub(crate) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|it| it.0 + 1)).collect();
        Self { text, starts }
    }

    /// The place of the byte at `offset`.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let offset = floor(self.text, offset);
        let line = self.starts.partition_point(|it| *it <= offset);
        let start = line.checked_sub(1).and_then(|it| self.starts.get(it)).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or_default();
        Place::At { line, column: before.chars().filter(|it| *it != '\u{feff}').count() + 1 }
    }
}

/// The last place at or before `offset` where a character of `text` begins.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// One thing that is wrong, or worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where it stands.
    pub place: Place,
    /// The key, as written; empty where it concerns the whole file.
    pub key: String,
    /// What it wants and what it got, or what became of it.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::At { line, column } => write!(f, "{line}:{column}  ")?,
            Place::Variable(name) => write!(f, "{name}  ")?,
            Place::Nowhere => {}
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)
    }
}

/// Everything that is wrong with one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaints {
    /// Which file.
    pub file: Option<PathBuf>,
    /// In the order of the file.
    pub list: Vec<Note>,
    /// What else is worth knowing of it, in the order of the file.
    pub notes: Vec<Note>,
}

impl Complaints {
    /// One complaint about the file as a whole.
    pub(crate) fn whole(file: Option<PathBuf>, text: impl Into<String>) -> Self {
        Self {
            file,
            list: vec![Note { place: Place::Nowhere, key: String::new(), text: text.into() }],
            notes: Vec::new(),
        }
    }
}

impl Complaints {
    /// In one line: how many, and the first.
    #[must_use]
    pub fn summary(&self) -> String {
        let first = self.list.first().map(ToString::to_string).unwrap_or_default();
        match self.list.len() {
            0 | 1 => first,
            more => format!("{first}; and {} more", more - 1),
        }
    }
}

impl std::error::Error for Complaints {}

/// The list under its heading, then the notes under theirs. What became of it (`Nothing was started.`) is for the caller to say.
impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = name_of(self.file.as_deref());
        let things = if self.list.len() == 1 { "thing" } else { "things" };
        writeln!(f, "{file}: {} {things} to put right\n", self.list.len())?;
        self.list.iter().try_for_each(|it| writeln!(f, "  {it}"))?;
        if !self.notes.is_empty() {
            let things = if self.notes.len() == 1 { "thing" } else { "things" };
            writeln!(f, "\nand {} {things} to know\n", self.notes.len())?;
        }
        self.notes.iter().try_for_each(|it| writeln!(f, "  {it}"))
    }
}

/// The file's name for a heading.
pub(crate) fn name_of(file: Option<&std::path::Path>) -> String {
    file.map_or_else(|| "configuration".to_owned(), |it| it.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counted_in_characters_and_a_bom_is_none() {
        let place = |text, offset| match Lines::new(text).place(offset) {
            Place::At { line, column } => (line, column),
            other => panic!("{other:?}"),
        };
        assert_eq!(place("a\nüb", 4), (2, 2));
        assert_eq!(place("a\nüb", 3), (2, 1), "inside a character");
        assert_eq!(place("a\n\nb", 1), (1, 2), "the line break is the end of its line");
        assert_eq!(place("a\n\nb", 3), (3, 1));
        assert_eq!(place("\u{feff}{", 3), (1, 1));
        assert_eq!(place("", 99), (1, 1));
    }
}
