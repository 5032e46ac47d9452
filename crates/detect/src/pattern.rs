//! Texts with wildcards: read as Sigma writes them, and matched in time linear in the text.
//!
//! Where case does not count, both sides are [`fold`]ed one character at a time, so that folding a
//! part gives that part of the folded whole. The standard library's lower-casing does not: it writes
//! a sigma at the end of a word differently from one within.

use std::borrow::Cow;

use memchr::memmem;

/// A text with wildcards, anchored at both ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    /// Its pieces in order. Two `Any` never follow each other, nor do two texts, and no text is empty.
    pub pieces: Vec<Piece>,
    /// Whether case counts. Where it does not, texts are already folded.
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
    /// One of [`DASHES`]: what the modifier `windash` makes of a dash.
    Dash,
}

/// What Windows programs take for the dash of an option: hyphen, slash, en dash, em dash, horizontal
/// bar.
pub const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];

impl Pattern {
    /// The text that fits nothing but itself.
    #[must_use]
    pub fn literal(text: &str, cased: bool) -> Self {
        Self::of(&[Piece::Text(text.into())], cased)
    }

    /// A text as a rule writes it: `*` and `?` are wildcards unless a backslash stands before them.
    #[must_use]
    pub fn parse(text: &str, cased: bool) -> Self {
        Self::of(&pieces(text), cased)
    }

    /// Pieces in any form, brought into the one that [`Pattern::pieces`] promises.
    #[must_use]
    pub fn of(pieces: &[Piece], cased: bool) -> Self {
        let mut tidy: Vec<Piece> = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match (tidy.last_mut(), piece) {
                (Some(Piece::Any), Piece::Any) => {}
                (_, Piece::Text(text)) if text.is_empty() => {}
                (Some(Piece::Text(before)), Piece::Text(text)) => {
                    *before = format!("{before}{}", folded_unless(cased, text)).into();
                }
                (_, Piece::Text(text)) => tidy.push(Piece::Text(folded_unless(cased, text).into())),
                (_, other) => tidy.push(other.clone()),
            }
        }
        Self { pieces: tidy, cased }
    }

    /// The text, folded unless case counts, if there is no wildcard in it.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether a text fits.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        if self.cased { self.fits_folded(text) } else { self.fits_folded(&fold(text)) }
    }

    /// Whether a text fits that is folded already, if case does not count.
    #[must_use]
    pub fn fits_folded(&self, text: &str) -> bool {
        let pieces = self.pieces.as_slice();
        let is_any = |it: &Piece| *it == Piece::Any;
        let Some(first) = pieces.iter().position(is_any) else {
            return after(pieces, text) == Some("");
        };
        let last = pieces.iter().rposition(is_any).unwrap_or(first);
        let (open, tail) = pieces.split_at_checked(last.saturating_add(1)).unwrap_or_default();
        let (head, middle) = open.split_at_checked(first).unwrap_or_default();
        let Some(mut rest) = after(head, text) else { return false };
        // Each segment as far left as it goes leaves the most for those that follow.
        for segment in middle.split(is_any).filter(|it| !it.is_empty()) {
            let Some(left) = after_first(segment, rest) else { return false };
            rest = left;
        }
        before(tail, rest).is_some()
    }
}

/// The pieces of a text as a rule writes it, not folded. A backslash takes its meaning from `*`, `?`
/// and `\` and is itself before anything else and at the end: `\*` is a star, `\\*` a backslash and
/// a wildcard, `a\b` and `a\\b` are the same.
#[must_use]
pub fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut run = String::new();
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        let piece = match next {
            '*' => Piece::Any,
            '?' => Piece::One,
            '\\' => {
                let mut ahead = rest.clone();
                if let Some(escaped @ ('*' | '?' | '\\')) = ahead.next() {
                    run.push(escaped);
                    rest = ahead;
                } else {
                    run.push('\\');
                }
                continue;
            }
            other => {
                run.push(other);
                continue;
            }
        };
        if !run.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut run).into()));
        }
        pieces.push(piece);
    }
    if !run.is_empty() {
        pieces.push(Piece::Text(run.into()));
    }
    pieces
}

/// A text without its case: each character by itself, to exactly one character.
#[must_use]
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|it| it.is_ascii_uppercase()) {
            return Cow::Owned(text.to_ascii_lowercase());
        }
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(fold_char).collect())
}

/// A character without its case. The one that would become two (`İ`) stays, so that `?` keeps
/// counting; both small sigmas are one.
#[must_use]
pub fn fold_char(it: char) -> char {
    let mut lower = it.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some('ς'), None) => 'σ',
        (Some(one), None) => one,
        _ => it,
    }
}

fn folded_unless(cased: bool, text: &str) -> Cow<'_, str> {
    if cased { Cow::Borrowed(text) } else { fold(text) }
}

/// What follows `pieces`, none of them `Any`, at the beginning of `text`.
fn after<'t>(pieces: &[Piece], text: &'t str) -> Option<&'t str> {
    pieces.iter().try_fold(text, |rest, piece| match piece {
        Piece::Text(text) => rest.strip_prefix(&**text),
        Piece::One => strip_first(rest, |_| true),
        Piece::Dash => strip_first(rest, |it| DASHES.contains(&it)),
        Piece::Any => None,
    })
}

/// What stands before `pieces`, none of them `Any`, at the end of `text`.
fn before<'t>(pieces: &[Piece], text: &'t str) -> Option<&'t str> {
    pieces.iter().rev().try_fold(text, |rest, piece| match piece {
        Piece::Text(text) => rest.strip_suffix(&**text),
        Piece::One => strip_last(rest, |_| true),
        Piece::Dash => strip_last(rest, |it| DASHES.contains(&it)),
        Piece::Any => None,
    })
}

/// What follows the first place in `text` where `pieces`, none of them `Any`, stand.
fn after_first<'t>(pieces: &[Piece], text: &'t str) -> Option<&'t str> {
    let lead = match pieces.first() {
        Some(Piece::Text(text)) => text.as_bytes(),
        _ => b"",
    };
    let lead = memmem::Finder::new(lead);
    let mut rest = text;
    loop {
        rest = rest.get(lead.find(rest.as_bytes())?..)?;
        if let Some(left) = after(pieces, rest) {
            return Some(left);
        }
        rest = strip_first(rest, |_| true)?;
    }
}

fn strip_first(text: &str, fits: impl Fn(char) -> bool) -> Option<&str> {
    let mut rest = text.chars();
    rest.next().filter(|it| fits(*it)).map(|_| rest.as_str())
}

fn strip_last(text: &str, fits: impl Fn(char) -> bool) -> Option<&str> {
    let mut rest = text.chars();
    rest.next_back().filter(|it| fits(*it)).map(|_| rest.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern, false).fits(text)
    }

    #[test]
    fn a_backslash_escapes_wildcards_and_itself_alone() {
        let literal = |it: &str| Pattern::parse(it, true).as_literal().map(str::to_owned);
        for (written, meant) in [
            (r"foo\*bar", r"foo*bar"),
            (r"fo\?", r"fo?"),
            (r"a\b", r"a\b"),
            (r"a\\b", r"a\b"),
            (r"a\\\\b", r"a\\b"),
            (r"foo\\\*", r"foo\*"),
            (r"foo\", r"foo\"),
            ("", ""),
        ] {
            assert_eq!(literal(written).as_deref(), Some(meant), "{written}");
        }
        let two = Pattern::parse(r"foo\\*", true);
        assert_eq!(two.pieces, [Piece::Text(r"foo\".into()), Piece::Any]);
        assert!(two.fits(r"foo\x") && !two.fits("foox") && !two.fits("foo*"));
    }

    #[test]
    fn wildcards_are_anchored_at_both_ends() {
        assert!(fits("foo*bar", "foobar") && fits("foo*bar", "FOO\n123bar") && !fits("foo*bar", "xfoobar"));
        assert!(
            fits("Sec?rity", "security") && !fits("Sec?rity", "a security b") && !fits("Sec?rity", "secrity")
        );
        assert!(
            fits("*", "")
                && fits("**", "x")
                && !fits("?", "")
                && fits("*a*b*", "xaxbx")
                && !fits("*a*b*", "ba")
        );
        assert!(fits("ab*ba", "abba") && !fits("ab*ba", "aba"), "head and tail do not share characters");
        assert!(fits("*aa?b*", "aaaxb"), "places where a segment might stand overlap");
        assert!(fits("*?b", "xb") && !fits("*?b", "b") && fits("a?*", "ab") && !fits("a?*", "a"));
    }

    #[test]
    fn a_question_mark_is_one_code_point() {
        assert!(
            fits("fo?", "foä") && fits("fo?", "fo\u{1f600}") && !fits("fo?", "fooo") && fits("fo?", "foİ")
        );
    }

    #[test]
    fn case_is_folded_one_character_at_a_time() {
        assert!(fits("äPFEL", "Äpfel") && fits("ΟΔΟΣ", "οδος") && fits("οδος", "ΟΔΟΣ") && fits("*ς", "ΣΣ"));
        assert!(!Pattern::parse("Foo", true).fits("foo") && Pattern::parse("F*", true).fits("Foo"));
        for text in ["ΑΣ", "Straße", "İI", "K\u{212a}"] {
            let parts: String = text.chars().map(|it| fold(&it.to_string()).into_owned()).collect();
            assert_eq!(fold(text), parts);
            assert_eq!(fold(text).chars().count(), text.chars().count());
        }
    }

    #[test]
    fn a_dash_is_any_of_the_five() {
        let pattern = Pattern::of(&[Piece::Any, Piece::Dash, Piece::Text("f".into()), Piece::Any], false);
        assert!(DASHES.iter().all(|it| pattern.fits(&format!("x {it}F y"))) && !pattern.fits("x +f y"));
    }

    /// Against the regular expression that says the same, over short texts of few letters.
    #[test]
    fn fits_what_the_same_regular_expression_matches() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut fitting = 0;
        for _ in 0..3_000 {
            let pattern: String =
                (0..random.usize(0..7)).map(|_| random.choice(['a', 'b', '*', '?']).unwrap()).collect();
            let text: String =
                (0..random.usize(0..9)).map(|_| random.choice(['a', 'b', 'ä']).unwrap()).collect();
            let regex: String = pattern
                .chars()
                .map(|it| match it {
                    '*' => ".*".into(),
                    '?' => ".".into(),
                    it => it.to_string(),
                })
                .collect();
            let expected = regex::Regex::new(&format!("^(?s:{regex})$")).unwrap().is_match(&text);
            assert_eq!(fits(&pattern, &text), expected, "{pattern} {text}");
            fitting += u32::from(expected);
        }
        assert!(fitting > 200, "{fitting} of 3,000 fit: the texts are too unlike the patterns");
    }
}
