//! Texts with `*` and `?`, as shells have them: no regular expressions, so that no rule can be slow.

/// A pattern: `*` stands for any text, `?` for one character, everything else for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wildcard {
    pattern: Vec<char>,
    /// Whether `A` and `a` are the same.
    any_case: bool,
}

impl Wildcard {
    pub(crate) fn new(pattern: &str, any_case: bool) -> Self {
        let pattern = if any_case { pattern.to_ascii_lowercase() } else { pattern.to_owned() };
        Self { pattern: pattern.chars().collect(), any_case }
    }

    /// Whether the whole text is meant. Takes at most the product of both lengths in steps.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let same = |want: &char, got: &char| {
            *want == '?' || *want == if self.any_case { got.to_ascii_lowercase() } else { *got }
        };
        if text.len() > TEXT_MAX {
            return false;
        }
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut in_text) = (0, 0);
        // The last star, and how far into the text it was taken to reach.
        let mut star: Option<(usize, usize)> = None;
        while let Some(got) = text.get(in_text) {
            match self.pattern.get(at) {
                Some('*') => {
                    star = Some((at, in_text));
                    at += 1;
                }
                Some(want) if same(want, got) => {
                    at += 1;
                    in_text += 1;
                }
                _ => {
                    let Some((star_at, reached)) = star else { return false };
                    star = Some((star_at, reached + 1));
                    at = star_at + 1;
                    in_text = reached + 1;
                }
            }
        }
        self.pattern.iter().skip(at).all(|it| *it == '*')
    }
}

/// Bytes. A longer text is met by no pattern: it alerts rather than not.
const TEXT_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_text() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("root", "root", true),
            ("root", "root2", false),
            ("root*", "root2", true),
            ("*nessus*", "Mozilla (Nessus SOAP)", true),
            ("*a*b*", "xxbaxb", true),
            ("*a*b", "xab!", false),
            ("?", "é", true),
            ("a?c", "abbc", false),
            ("**a", "ba", true),
        ] {
            assert_eq!(Wildcard::new(pattern, true).matches(text), expected, "{pattern} {text}");
        }
        assert!(!Wildcard::new("/Admin", false).matches("/admin"));
        assert!(Wildcard::new("CORP\\*", true).matches("corp\\svc"));
    }

    #[test]
    fn a_hostile_text_is_no_slower_than_its_length_times_the_patterns() {
        let text = "a".repeat(TEXT_MAX - 1) + "b";
        let began = std::time::Instant::now();
        assert!(!Wildcard::new(&"*a".repeat(200), false).matches(&text));
        assert!(!Wildcard::new("*", false).matches(&(text + "b")), "too long to be looked at");
        assert!(began.elapsed().as_secs() < 5);
    }
}
