//! Conditions: `sel1 and not 1 of filter_*`.
//!
//! `or` binds least, then `and`, `not`, `x of pattern`, parentheses. Operators are whole words in lower
//! case, so `notsel` and `sel-1` are names. The same language, without `of`, says what a temporal
//! correlation asks of its rules.

/// A condition, names not looked up yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Name(Box<str>),
    /// One of them, or each of them.
    Of(Quantity, Target),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quantity {
    One,
    All,
}

/// Which selections a quantifier means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// All that do not begin with `_`.
    Them,
    /// Those that fit; names that begin with `_` only if the pattern does so too.
    Pattern(Box<str>),
}

impl Target {
    /// Whether a selection of this name is meant.
    pub(crate) fn means(&self, name: &str) -> bool {
        match self {
            Self::Them => !name.starts_with('_'),
            Self::Pattern(it) => (it.starts_with('_') || !name.starts_with('_')) && fits(it, name),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Them => "them",
            Self::Pattern(it) => it,
        })
    }
}

/// Whether `name` fits `pattern`, in which `*` stands for any run of characters. Greedy from the left:
/// a run that has to grow never makes an earlier one grow too.
fn fits(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some((_, after)) = rest.split_once(piece) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// Reads a condition. `known` says whether a selection has this name: a selection may be called `OR`.
///
/// # Errors
/// What is wrong with it and how to mend it.
pub(crate) fn parse(text: &str, known: &dyn Fn(&str) -> bool) -> Result<Condition, String> {
    if text.len() > LENGTH {
        return Err(format!("the condition has over {LENGTH} bytes; use `1 of` and patterns"));
    }
    if let Some((_, after)) = text.split_once('|') {
        let after = after.split_whitespace().next().unwrap_or_default();
        let after = if after.is_empty() { String::new() } else { format!(" {after}") };
        return Err(format!(
            "`|{after}`: aggregations were taken out of Sigma's conditions; write a correlation rule instead"
        ));
    }
    let words = words(text)?;
    if words.is_empty() {
        return Err("the condition is empty; name a selection".to_owned());
    }
    let mut parser = Parser { words: &words, known };
    let condition = parser.any(0)?;
    match parser.words {
        [] => Ok(condition),
        [")", ..] => Err("a `)` without its `(`".to_owned()),
        [word, ..] => Err(stray(word)),
    }
}

fn words(text: &str) -> Result<Vec<&str>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '(' | ')' => 1,
            it if is_word(it) => rest.find(|it| !is_word(it)).unwrap_or(rest.len()),
            other => {
                return Err(format!(
                    "`{}` has no place in a condition; names consist of letters, digits, `_` and `-`",
                    other.escape_debug()
                ));
            }
        };
        let (word, after) = rest.split_at(length);
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

fn is_word(it: char) -> bool {
    it.is_ascii_alphanumeric() || matches!(it, '_' | '-' | '*')
}

struct Parser<'w> {
    words: &'w [&'w str],
    known: &'w dyn Fn(&str) -> bool,
}

impl Parser<'_> {
    fn any(&mut self, depth: usize) -> Result<Condition, String> {
        let mut parts = vec![self.all(depth)?];
        while self.next_is("or") {
            parts.push(self.all(depth)?);
        }
        Ok(alone(parts).unwrap_or_else(Condition::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Condition, String> {
        let mut parts = vec![self.not(depth)?];
        while self.next_is("and") {
            parts.push(self.not(depth)?);
        }
        Ok(alone(parts).unwrap_or_else(Condition::All))
    }

    fn not(&mut self, depth: usize) -> Result<Condition, String> {
        if depth >= DEPTH {
            return Err(format!("the condition is nested more than {DEPTH} deep"));
        }
        if self.next_is("not") {
            return Ok(Condition::Not(Box::new(self.not(depth.saturating_add(1))?)));
        }
        if self.next_is("(") {
            let inner = self.any(depth.saturating_add(1))?;
            return match self.words.first() {
                Some(&")") => {
                    self.next_is(")");
                    Ok(inner)
                }
                Some(word) => Err(stray(word)),
                None => Err("a `(` without its `)`".to_owned()),
            };
        }
        self.operand()
    }

    fn operand(&mut self) -> Result<Condition, String> {
        let (word, rest) = match self.words {
            [] => return Err("the condition ends where a selection should stand".to_owned()),
            [word, rest @ ..] => (*word, rest),
        };
        match rest {
            ["of", target, rest @ ..] if is_name(target) || target.contains('*') => {
                let quantity = match word {
                    "1" | "any" => Quantity::One,
                    "all" => Quantity::All,
                    _ => return Err(format!("`{word} of`: only `1 of`, `any of` and `all of` exist")),
                };
                self.words = rest;
                let target = if *target == "them" { Target::Them } else { Target::Pattern((*target).into()) };
                return Ok(Condition::Of(quantity, target));
            }
            ["of", ..] => return Err(format!("`{word} of` what? `them`, or a pattern such as `sel*`")),
            _ => {}
        }
        if word.contains('*') {
            return Err(format!("the pattern `{word}` needs `1 of` or `all of` before it"));
        }
        if !is_name(word) {
            return Err(format!("`{word}` stands where a selection should stand"));
        }
        if let Some(lower) = shouted(word).filter(|_| !(self.known)(word)) {
            return Err(format!("`{word}` must be written `{lower}`"));
        }
        self.words = rest;
        Ok(Condition::Name(word.into()))
    }

    fn next_is(&mut self, word: &str) -> bool {
        match self.words {
            [first, rest @ ..] if *first == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }
}

/// What to say of a word that stands where an operator should stand.
fn stray(word: &str) -> String {
    match shouted(word) {
        Some(lower) => format!("`{word}` must be written `{lower}`"),
        None => format!("`{word}` stands where `and`, `or` or the end should stand"),
    }
}

/// Whether it can name something: no parenthesis, operator or pattern.
fn is_name(word: &str) -> bool {
    !matches!(word, "(" | ")" | "and" | "or" | "not" | "of") && !word.contains('*')
}

/// The operator that somebody wrote in capitals.
fn shouted(word: &str) -> Option<&'static str> {
    ["and", "or", "not", "of"].into_iter().find(|it| *it != word && it.eq_ignore_ascii_case(word))
}

/// The only one of several parts, or all of them back.
fn alone(mut parts: Vec<Condition>) -> Result<Condition, Vec<Condition>> {
    if parts.len() == 1 { parts.pop().ok_or(parts) } else { Err(parts) }
}

/// Most bytes of a condition. The longest public one has about 900.
const LENGTH: usize = 16 << 10;
/// Deepest nesting of parentheses and `not`.
const DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// A condition with all its parentheses.
    fn shown(it: &Condition) -> String {
        let joined = |parts: &[Condition], word: &str| {
            let parts: Vec<_> = parts.iter().map(shown).collect();
            format!("({})", parts.join(word))
        };
        match it {
            Condition::Name(name) => name.to_string(),
            Condition::Of(Quantity::One, target) => format!("1:{target}"),
            Condition::Of(Quantity::All, target) => format!("all:{target}"),
            Condition::All(parts) => joined(parts, " & "),
            Condition::Any(parts) => joined(parts, " | "),
            Condition::Not(inner) => format!("!{}", shown(inner)),
        }
    }

    #[track_caller]
    fn reads(text: &str, as_this: &str) {
        assert_eq!(parse(text, &|_| false).map(|it| shown(&it)).as_deref(), Ok(as_this), "{text}");
    }

    #[track_caller]
    fn refused(text: &str, why: &str) {
        let error = parse(text, &|_| false).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }

    #[test]
    fn operators_bind_as_the_specification_says() {
        reads("a or b and c", "(a | (b & c))");
        reads("not a and b", "(!a & b)");
        reads("not not a", "!!a");
        reads("not (a or b) and c", "(!(a | b) & c)");
        reads("a and b and c or d", "((a & b & c) | d)");
        reads("((a))", "a");
        reads("not 1 of sel*", "!1:sel*");
        reads("all of them and any of s*1", "(all:them & 1:s*1)");
        reads("a\n  and\tb", "(a & b)");
    }

    #[test]
    fn names_may_look_like_operators() {
        reads("notsel and orange or sel-1", "((notsel & orange) | sel-1)");
        reads("_x and 1sel and all and 1", "(_x & 1sel & all & 1)");
        assert_eq!(parse("OR or a", &|it| it == "OR").map(|it| shown(&it)), Ok("(OR | a)".into()));
    }

    #[test]
    fn mistakes_are_explained() {
        refused("a AND b", "`AND` must be written `and`");
        refused("NOT a", "`NOT` must be written `not`");
        refused("1 OF sel*", "`OF` must be written `of`");
        refused("sel | count() by x > 5", "`| count()`: aggregations were taken out");
        refused("sel |", "correlation rule");
        refused("2 of sel*", "`2 of`: only `1 of`");
        refused("1 of", "what? `them`");
        refused("1 of (a)", "what? `them`");
        refused("sel*", "needs `1 of`");
        refused("", "is empty");
        refused("a and", "ends where");
        refused("(a", "without its `)`");
        refused("a)", "without its `(`");
        refused("a b", "`b` stands where");
        refused("and a", "`and` stands where");
        refused("a == b", "`=` has no place");
        refused("ä", "`ä` has no place");
        refused(&"(".repeat(5000), "nested");
        refused(&"not ".repeat(3000), "nested");
        refused(&"a or ".repeat(9000), "bytes");
    }

    #[test]
    fn patterns_fit_whole_names_and_respect_underscores() {
        let means = |pattern: &str, name: &str| Target::Pattern(pattern.into()).means(name);
        assert!(means("sel*", "sel") && means("sel*", "sel1") && means("s*1", "sel1") && means("*", "a"));
        assert!(means("*a*b*", "xaxbx") && means("a*a", "aa") && means("sel", "sel"));
        assert!(
            !means("sel*", "xsel") && !means("s*1", "sel2") && !means("a*a", "a") && !means("sel", "sel1")
        );
        assert!(!means("*", "_a") && !means("*_a", "_a") && means("_*", "_a"));
        assert!(Target::Them.means("a") && !Target::Them.means("_a"));
    }
}
