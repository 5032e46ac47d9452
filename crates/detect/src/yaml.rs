//! Rule files as trees in which every key and value knows its line.
//!
//! YAML 1.2 with the core schema. A file may be hostile: its size, its depth and what its aliases
//! expand to are bounded, and what is wrong with one document does not touch the next. Left out on
//! purpose: merge keys and `%TAG`, which no rule uses and every bomb can.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use crate::scalar::Scalar;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node<'a> {
    /// Counted from 1.
    pub(crate) line: u32,
    pub(crate) kind: Kind<'a>,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind<'a> {
    Scalar(Written<'a>),
    List(Vec<Node<'a>>),
    Map(Map<'a>),
}

/// Keys and their values, in the order of the file. No key is there twice.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Map<'a>(pub(crate) Vec<Entry<'a>>);

/// A key, its line, and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry<'a> {
    pub(crate) line: u32,
    pub(crate) key: Cow<'a, str>,
    pub(crate) value: Node<'a>,
}

/// A scalar as it was written; its type is asked for where it matters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Written<'a> {
    text: Cow<'a, str>,
    /// Whether it is a text whatever it looks like.
    quoted: bool,
}

/// What is wrong, or doubtful, in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: u32,
    pub(crate) why: String,
}

impl Fault {
    pub(crate) fn new(line: u32, why: impl Into<String>) -> Self {
        Self { line, why: why.into() }
    }
}

/// A document that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) fault: Fault,
    /// Its `title`, if that came before the trouble.
    pub(crate) title: Option<String>,
}

impl<'a> Map<'a> {
    pub(crate) fn get(&self, key: &str) -> Option<&Entry<'a>> {
        self.0.iter().find(|it| it.key == key)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// An entry whose key an earlier one has too.
    fn twice(&self) -> Option<&Entry<'a>> {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        sorted.windows(2).find_map(|it| match it {
            [first, second] => (first.key == second.key).then_some(*second),
            _ => None,
        })
    }
}

impl Node<'_> {
    /// Nothing, `null` or `~`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(it) if it.scalar() == Scalar::Null)
    }

    /// The text of a scalar as it was written, whatever its type; none for null.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(it) if it.scalar() != Scalar::Null => Some(&it.text),
            _ => None,
        }
    }
}

impl Written<'_> {
    /// Its value, typed as [`Scalar`] says.
    pub(crate) fn scalar(&self) -> Scalar {
        if self.quoted { Scalar::Text(self.text.to_string()) } else { plain(&self.text) }
    }
}

/// Types what is not quoted: YAML 1.2.2, section 10.3.2. Beyond that, numbers that a reader would not
/// take for numbers, or that would not come out as they went in, are texts: `08`, `.inf`, `.nan`, and
/// whole numbers over 64 bits.
fn plain(text: &str) -> Scalar {
    let own = || Scalar::Text(text.to_owned());
    match text.as_bytes() {
        [] => Scalar::Null,
        [b'0'..=b'9' | b'+' | b'-' | b'.', ..] => number(text).unwrap_or_else(own),
        _ => match text {
            "~" | "null" | "Null" | "NULL" => Scalar::Null,
            "true" | "True" | "TRUE" => Scalar::Bool(true),
            "false" | "False" | "FALSE" => Scalar::Bool(false),
            _ => own(),
        },
    }
}

fn number(text: &str) -> Option<Scalar> {
    let radix = |digits: &str, radix| {
        let fits = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_alphanumeric());
        fits.then(|| i64::from_str_radix(digits, radix).ok()).flatten().map(Scalar::Int)
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned.bytes().all(|it| it.is_ascii_digit()) {
        let padded = unsigned.len() > 1 && unsigned.starts_with('0');
        return (!padded).then(|| text.parse().ok()).flatten().map(Scalar::Int);
    }
    let digit = |it: u8| it.is_ascii_digit();
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let shaped = whole.bytes().all(digit)
        && fraction.bytes().all(digit)
        && exponent.bytes().all(digit)
        && !exponent.is_empty()
        && !(whole.is_empty() && fraction.is_empty());
    let value: f64 = shaped.then(|| text.parse().ok()).flatten()?;
    value.is_finite().then_some(Scalar::Float(value))
}

/// Reads all documents of a file. Empty ones are left out; what cannot be read is said, and reading
/// goes on at the next line that begins a document.
pub(crate) fn read(text: &str) -> (Vec<Node<'_>>, Vec<Unreadable>) {
    let (mut documents, mut unreadable) = (Vec::new(), Vec::new());
    if let Some(fault) = unfit(text) {
        unreadable.push(Unreadable { fault, title: None });
        return (documents, unreadable);
    }
    let mut from = Start { at: 0, line: 1 };
    let mut last = None;
    while let Some(rest) = text.get(from.at..) {
        let mut builder = Builder::new(from.line, DOCUMENTS.saturating_sub(documents.len()));
        let ended = builder.run(rest);
        documents.append(&mut builder.documents);
        let Err(mut fault) = ended else { break };
        // A mistake at the end is reported there, not behind it. Counted once: there may be many.
        let last = *last.get_or_insert_with(|| last_line(text));
        fault.line = fault.line.min(last);
        let over = documents.len() >= DOCUMENTS || unreadable.len() >= DOCUMENTS;
        unreadable.push(Unreadable { fault, title: builder.title() });
        if over {
            break;
        }
        let Some(next) = next_document(rest, from, builder.began) else { break };
        from = next;
    }
    (documents, unreadable)
}

/// What makes a whole file unreadable.
fn unfit(text: &str) -> Option<Fault> {
    if text.len() > FILE_BYTES {
        return Some(Fault::new(1, format!("over {FILE_BYTES} bytes; split it into several files")));
    }
    let line_of = |at: usize| {
        let before = text.as_bytes().iter().take(at).filter(|it| **it == b'\n').count();
        u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
    };
    if let Some(at) = text.find('\0') {
        return Some(Fault::new(line_of(at), "a NUL byte; is this a text file?"));
    }
    let begins = |at: usize| text.get(..at).is_some_and(|it| it.is_empty() || it.ends_with(LINE_BEGINS));
    let directive = text.match_indices("%TAG").find(|it| begins(it.0));
    directive.map(|it| Fault::new(line_of(it.0), "`%TAG` has no use in rules; take it out"))
}

/// The number of the last line.
fn last_line(text: &str) -> u32 {
    let ends = text.matches(['\n', '\r']).count().saturating_sub(text.matches("\r\n").count());
    let open = usize::from(!text.ends_with(['\n', '\r']));
    u32::try_from(ends.saturating_add(open)).unwrap_or(u32::MAX).max(1)
}

/// Where in a file reading begins.
#[derive(Clone, Copy)]
struct Start {
    at: usize,
    line: u32,
}

/// The first line after line `after` that begins a document: YAML 1.2.2, section 9.1.2 has `---` at the
/// beginning of a line begin one wherever it stands, even within quotes.
fn next_document(rest: &str, from: Start, after: u32) -> Option<Start> {
    let mut left = rest;
    let mut line = from.line;
    while let Some((_, end)) = left.find(['\n', '\r']).and_then(|at| left.split_at_checked(at)) {
        // A lone CR ends a line too.
        let next = end.strip_prefix("\r\n").or_else(|| end.strip_prefix(['\n', '\r']));
        left = next.unwrap_or_default();
        line = line.saturating_add(1);
        let marker =
            left.strip_prefix("---").is_some_and(|it| it.is_empty() || it.starts_with(char::is_whitespace));
        if marker && line > after {
            let passed = rest.len().saturating_sub(left.len());
            return Some(Start { at: from.at.saturating_add(passed), line });
        }
    }
    None
}

/// A list or map whose end has not come yet.
struct Open<'a> {
    line: u32,
    anchor: usize,
    /// [`Builder::weight`] before it.
    weight: usize,
    parts: Parts<'a>,
}

enum Parts<'a> {
    List(Vec<Node<'a>>),
    Map { map: Map<'a>, key: Option<(u32, Cow<'a, str>)> },
}

/// Makes trees of the parser's events.
struct Builder<'a> {
    /// What to add to the parser's lines.
    offset: u32,
    /// How many documents may yet come.
    room: usize,
    documents: Vec<Node<'a>>,
    /// The line on which the document being read began.
    began: u32,
    open: Vec<Open<'a>>,
    root: Option<Node<'a>>,
    /// What was named with `&`, and how much it weighs.
    anchors: BTreeMap<usize, (Node<'a>, usize)>,
    /// How much the document holds, see [`WEIGHT`].
    weight: usize,
}

impl<'a> Builder<'a> {
    fn new(line: u32, room: usize) -> Self {
        Self {
            offset: line.saturating_sub(1),
            room,
            documents: Vec::new(),
            began: line,
            open: Vec::new(),
            root: None,
            anchors: BTreeMap::new(),
            weight: 0,
        }
    }

    fn run(&mut self, text: &'a str) -> Result<(), Fault> {
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| {
                let hint = if error.info().contains("unknown anchor") {
                    "; a text that begins with `*` needs quotes"
                } else {
                    ""
                };
                Fault::new(self.line(error.marker().line()), format!("not YAML: {}{hint}", error.info()))
            })?;
            let line = self.line(span.start.line());
            self.take(event, line)?;
        }
        Ok(())
    }

    fn line(&self, line: usize) -> u32 {
        u32::try_from(line.max(1)).unwrap_or(u32::MAX).saturating_add(self.offset)
    }

    fn take(&mut self, event: Event<'a>, line: u32) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(_) => {
                self.began = line;
                let full = || Fault::new(line, format!("over {DOCUMENTS} documents in a file; split it"));
                self.room = self.room.checked_sub(1).ok_or_else(full)?;
                self.anchors.clear();
                self.weight = 0;
            }
            Event::DocumentEnd => self.documents.extend(self.root.take().filter(|it| !it.is_null())),
            Event::Scalar(text, style, anchor, tag) => {
                let before = self.weight;
                self.weigh((text.len() / WEIGHT_BYTES).saturating_add(1), line)?;
                let quoted = quoted(style, tag.as_deref(), line)?;
                self.put(Node { line, kind: Kind::Scalar(Written { text, quoted }) }, anchor, before)?;
            }
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor).cloned();
                let (node, weight) = known.ok_or_else(|| {
                    Fault::new(line, "an alias that refers to itself, or to another document")
                })?;
                let before = self.weight;
                self.weigh(weight, line)?;
                self.put(node, 0, before)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(Parts::List(Vec::new()), anchor, tag.as_deref(), "seq", line)?;
            }
            Event::MappingStart(anchor, tag) => {
                let parts = Parts::Map { map: Map::default(), key: None };
                self.begin(parts, anchor, tag.as_deref(), "map", line)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { line, anchor, weight, parts }) = self.open.pop() else { return Ok(()) };
                let kind = match parts {
                    Parts::List(items) => Kind::List(items),
                    Parts::Map { map, .. } => {
                        if let Some(twice) = map.twice() {
                            let why = format!("the key `{}` is there twice", twice.key);
                            return Err(Fault::new(twice.line, why));
                        }
                        Kind::Map(map)
                    }
                };
                self.put(Node { line, kind }, anchor, weight)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd => {}
        }
        Ok(())
    }

    fn weigh(&mut self, more: usize, line: u32) -> Result<(), Fault> {
        self.weight = self.weight.saturating_add(more);
        if self.weight > WEIGHT {
            return Err(Fault::new(line, format!("over {WEIGHT} values in a document, aliases included")));
        }
        Ok(())
    }

    fn begin(
        &mut self,
        parts: Parts<'a>,
        anchor: usize,
        tag: Option<&Tag>,
        is: &str,
        line: u32,
    ) -> Result<(), Fault> {
        if let Some(tag) = tag.filter(|it| !(it.is_yaml_core_schema() && it.suffix == is)) {
            return Err(unknown_tag(tag, line));
        }
        if matches!(self.open.last(), Some(Open { parts: Parts::Map { key: None, .. }, .. })) {
            return Err(Fault::new(line, NO_KEY));
        }
        if self.open.len() >= DEPTH {
            return Err(Fault::new(line, format!("nested more than {DEPTH} deep")));
        }
        let weight = self.weight;
        self.weigh(1, line)?;
        self.open.push(Open { line, anchor, weight, parts });
        Ok(())
    }

    /// Puts a finished value where it belongs. `before` is what the document weighed without it.
    fn put(&mut self, node: Node<'a>, anchor: usize, before: usize) -> Result<(), Fault> {
        if anchor > 0 {
            let weight = self.weight.saturating_sub(before);
            // The copy that is kept counts too: anchors within anchors are kept many times over.
            self.weigh(weight, node.line)?;
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        match self.open.last_mut().map(|it| &mut it.parts) {
            None => self.root = Some(node),
            Some(Parts::List(items)) => items.push(node),
            Some(Parts::Map { map, key }) => {
                if let Some((line, name)) = key.take() {
                    map.0.push(Entry { line, key: name, value: node });
                } else {
                    *key = Some((node.line, name_of(node)?));
                }
            }
        }
        Ok(())
    }

    /// The title of a document that was cut short.
    fn title(&self) -> Option<String> {
        match &self.open.first()?.parts {
            Parts::Map { map, .. } => map.get("title").and_then(|it| it.value.text()).map(str::to_owned),
            Parts::List(_) => None,
        }
    }
}

/// The key that a value is.
fn name_of(node: Node<'_>) -> Result<Cow<'_, str>, Fault> {
    match node.kind {
        Kind::Scalar(Written { text, quoted: false }) if text == "<<" => {
            Err(Fault::new(node.line, "merge keys (`<<`) are not YAML 1.2; write them out"))
        }
        Kind::Scalar(Written { text, .. }) => Ok(text),
        Kind::List(_) | Kind::Map(_) => Err(Fault::new(node.line, NO_KEY)),
    }
}

/// Whether a scalar is a text whatever it looks like.
fn quoted(style: ScalarStyle, tag: Option<&Tag>, line: u32) -> Result<bool, Fault> {
    let Some(tag) = tag else { return Ok(style != ScalarStyle::Plain) };
    match tag.suffix.as_str() {
        "str" if tag.is_yaml_core_schema() => Ok(true),
        "int" | "float" | "bool" | "null" if tag.is_yaml_core_schema() => Ok(false),
        // `!` alone asks for a text.
        "!" | "" if matches!(tag.handle.as_str(), "" | "!") => Ok(true),
        _ => Err(unknown_tag(tag, line)),
    }
}

fn unknown_tag(tag: &Tag, line: u32) -> Fault {
    Fault::new(line, format!("the tag `{tag}` has no meaning in a rule; take it out, or quote the text"))
}

const NO_KEY: &str = "a key must be a text, not a list or a map";
/// What a line may begin after, as the parser has it.
const LINE_BEGINS: [char; 3] = ['\n', '\r', '\u{feff}'];
/// Most bytes of a file. The largest public rule has 60 KB.
pub(crate) const FILE_BYTES: usize = 4 << 20;
/// Most documents of a file.
const DOCUMENTS: usize = 10_000;
/// Deepest nesting.
const DEPTH: usize = 64;
/// Most values of a document; a long text counts as one for each [`WEIGHT_BYTES`], and an alias as all
/// that it stands for.
const WEIGHT: usize = 200_000;
const WEIGHT_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Node<'_> {
        let (mut documents, unreadable) = read(text);
        assert_eq!(unreadable, []);
        assert_eq!(documents.len(), 1, "{text}");
        documents.remove(0)
    }

    fn map<'n>(node: &'n Node<'_>) -> &'n Map<'n> {
        match &node.kind {
            Kind::Map(map) => map,
            other => panic!("{other:?}"),
        }
    }

    fn faults(text: &str) -> Vec<(u32, String)> {
        read(text).1.into_iter().map(|it| (it.fault.line, it.fault.why)).collect()
    }

    #[test]
    fn every_key_and_value_knows_its_line() {
        let root =
            one("# a comment\ntitle: x\na:\n    b|contains:\n        - one\n        - two\n    c: {d: e}\n");
        let a = map(&root).get("a").unwrap();
        assert_eq!((root.line, a.line), (2, 3));
        let b = map(&a.value).get("b|contains").unwrap();
        let Kind::List(items) = &b.value.kind else { panic!("{b:?}") };
        assert_eq!((b.line, items.iter().map(|it| it.line).collect::<Vec<_>>()), (4, vec![5, 6]));
        assert_eq!(map(&a.value).get("c").unwrap().value.line, 7);
    }

    #[test]
    fn scalars_have_the_types_of_the_core_schema() {
        let typed = |text: &str| match &one(&format!("k: {text}")).kind {
            Kind::Map(map) => match &map.0[0].value.kind {
                Kind::Scalar(it) => it.scalar(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        let text = |it: &str| Scalar::Text(it.to_owned());
        for it in ["", "~", "null", "NULL", "!!null ''"] {
            assert_eq!(typed(it), Scalar::Null, "{it}");
        }
        for (it, number) in [("22", 22), ("-1", -1), ("+5", 5), ("0x17", 23), ("0o17", 15), ("0", 0)] {
            assert_eq!(typed(it), Scalar::Int(number), "{it}");
        }
        for (it, number) in [("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("5.", 5.0), ("-1.5E-1", -0.15)] {
            assert_eq!(typed(it), Scalar::Float(number), "{it}");
        }
        assert_eq!([typed("true"), typed("False")], [Scalar::Bool(true), Scalar::Bool(false)]);
        for it in ["yes", "no", "on", "off", "08", "007", "2024-03-08", "1_000", "1:30", ".inf", ".nan", "0x"]
        {
            assert_eq!(typed(it), text(it));
        }
        for it in ["18446744073709551616", "1e999", "+-1", "0x-1", "e5", ".", "1.2.3.4", "1e", "+.e1"] {
            assert_eq!(typed(it), text(it));
        }
        for it in ["'22'", "\"22\"", "!!str 22", "! 22"] {
            assert_eq!(typed(it), text("22"), "{it}");
        }
        assert_eq!(typed("!!int '22'"), Scalar::Int(22));
        assert_eq!(typed("'null'"), text("null"));
    }

    #[test]
    fn a_bad_document_leaves_the_others_alone() {
        let text = "a: 1\n---\ntitle: Broken\nb: [1\n---\nc: 3\n---\nd: \"open\n---\ne: 5\n---\ne: 1\ne: 2\n---\nf: 6\n";
        let (documents, unreadable) = read(text);
        let keys: Vec<_> = documents.iter().map(|it| map(it).0[0].key.to_string()).collect();
        assert_eq!(keys, ["a", "c", "e", "f"]);
        assert_eq!(documents.iter().map(|it| it.line).collect::<Vec<_>>(), [1, 6, 10, 15]);
        assert_eq!(unreadable.len(), 3, "{unreadable:?}");
        assert_eq!(unreadable[0].title.as_deref(), Some("Broken"));
        assert_eq!(unreadable[2].fault, Fault::new(13, "the key `e` is there twice"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line, why) in [
            ("a: *b\n", 1, "needs quotes"),
            ("a: 1\nb: &x [*x]\n", 2, "refers to itself"),
            ("a: 1\n? [b]\n: c\n", 2, "a key must be a text"),
            ("a: 1\n<<: {b: 1}\n", 2, "merge keys"),
            ("a: !!binary aGk=\n", 1, "the tag `tag:yaml.org,2002:!binary`"),
            ("a: 1\nb: \0\n", 2, "NUL"),
            ("%TAG ! tag:x,2000:\n---\na: 1\n", 1, "%TAG"),
            ("a: 1\n  b: 2\n", 2, "not YAML"),
        ] {
            let found = faults(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].0 == line && found[0].1.contains(why), "{text}: {found:?}");
        }
    }

    #[test]
    fn anchors_stand_for_what_they_name_and_bombs_are_refused() {
        let root = one("a: &x [1, 2]\nb: *x\n");
        assert_eq!(map(&root).0[0].value, map(&root).0[1].value);
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            bomb = format!("{bomb}a{level}: &a{level} [{before}]\n");
        }
        assert!(faults(&bomb)[0].1.contains("values in a document"));
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a, ".repeat(1000));
        assert!(faults(&long)[0].1.contains("values in a document"));
        assert!(faults(&format!("a: {}{}", "[".repeat(64), "]".repeat(64)))[0].1.contains("deep"));
        assert!(faults(&"[".repeat(100_000))[0].1.contains("not YAML"));
        assert!(faults(&format!("a: {}", "- ".repeat(100_000))).len() == 1);
        let nested = (0..60).map(|it| format!("&n{it} [")).collect::<Vec<_>>().concat();
        let nested = format!("a: {nested}{}{}", "x,\n  ".repeat(50_000), "]".repeat(60));
        assert!(faults(&nested)[0].1.contains("values in a document"));
        assert!(faults(&"---\n\"\n".repeat(100_000)).len() <= DOCUMENTS + 1);
        assert!(faults(&"x".repeat(FILE_BYTES + 1))[0].1.contains("bytes"));
    }

    #[test]
    fn line_ends_and_byte_order_marks_are_taken_as_they_come() {
        assert_eq!(map(&one("\u{feff}a: 1\r\nb: 2\r\n")).0[1].line, 2);
        let (documents, unreadable) = read("a: [\r\n---\r\nb: 1\r\n");
        assert_eq!((documents[0].line, unreadable.len()), (3, 1));
        assert_eq!(read("").0, []);
        assert_eq!(read("# nothing\n---\n...\n").0, []);
    }
}
