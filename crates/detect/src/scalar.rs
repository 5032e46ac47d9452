//! Single values in rule files.

/// What stands for a value in a rule, typed as YAML 1.2's core schema types it: `yes` and `on` are
/// texts, `0x17` and `1e3` are numbers, `08` is a text, and what is quoted is a text always.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Everything else.
    Text(String),
}
