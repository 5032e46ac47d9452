//! Texts with wildcards.

/// A text with wildcards, anchored at both ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    /// Its pieces in order. Two `Any` never follow each other, nor do two texts.
    pub pieces: Vec<Piece>,
    /// Whether case counts. Where it does not, texts are already lower-cased.
    pub cased: bool,
}

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Piece {
    /// Exactly this.
    Text(Box<str>),
    /// `?`: one character.
    One,
    /// `*`: any number of characters, also none, also line ends.
    Any,
}
