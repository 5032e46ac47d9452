//! What is wrong with a rule file, and where.

use std::fmt;
use std::sync::Arc;

/// A place in a rule file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The file as it was named to the reader.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Why a rule takes no part. The others do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct Refusal {
    /// Where.
    pub place: Place,
    /// The title of the rule, where it has one.
    pub rule: Option<String>,
    /// What is wrong and how to mend it, without a full stop.
    pub why: String,
}

/// What a rule should not do, though it takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// The title of the rule.
    pub rule: Option<String>,
    /// What is doubtful about it, without a full stop.
    pub why: String,
}
