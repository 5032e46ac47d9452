//! The decisions of `appendix.txt`: what Sigma leaves open or engines disagree about.

use serin_detect::{Event, Hit, LogSource, Matcher, Options, Pack, Rule, Scratch, View, json};

/// How many detections and decisions there are: none may get lost.
const DETECTIONS: usize = 107;
const DECISIONS: usize = 239;

/// One detection and what is decided about each event.
struct Vector<'t> {
    name: &'t str,
    detection: String,
    events: Vec<(char, &'t str)>,
}

fn vectors(text: &str) -> Vec<Vector<'_>> {
    let mut vectors: Vec<Vector<'_>> = Vec::new();
    for line in text.lines().filter(|it| !it.is_empty() && !it.starts_with('#')) {
        if let Some(name) = line.strip_prefix("== ") {
            vectors.push(Vector { name, detection: String::new(), events: Vec::new() });
            continue;
        }
        let vector = vectors.last_mut().expect("a line before the first name");
        match line.split_once(' ') {
            Some(("1" | "0" | "E", event)) => vector.events.push((line.chars().next().unwrap_or(' '), event)),
            _ => vector.detection.extend(["    ", line, "\n"]),
        }
    }
    vectors
}

/// What we decide, in the notation of the file.
fn decided(vector: &Vector<'_>) -> String {
    let rule = format!("title: x\nlogsource:\n    product: p\ndetection:\n{}", vector.detection);
    let pack = Pack::read([("x.yml", rule.as_bytes())], &Options::default());
    vector
        .events
        .iter()
        .map(|(_, event)| match pack.rules.first() {
            None => {
                assert_eq!(pack.refused.len(), 1, "{}: gone without a word", vector.name);
                'E'
            }
            Some(rule) if matches(rule, event) => '1',
            Some(_) => '0',
        })
        .collect()
}

/// Asks the rule itself, and the index that was made of it.
fn matches(rule: &Rule, event: &str) -> bool {
    let fields = json::read(event.as_bytes()).expect("the event is JSON").fields;
    let holds = rule.expr.holds(&fields);
    let source = LogSource { product: Some("p".into()), ..LogSource::default() };
    let view = View { source: &source, fields };
    let event = Event { id: 1, time: 0, sensor: "".into(), views: vec![view] };
    let mut hits = Vec::new();
    Matcher::new(std::slice::from_ref(rule)).hits(&event, &mut Scratch::default(), &mut hits);
    let found = if holds { vec![Hit { rule: 0, view: 0 }] } else { Vec::new() };
    assert_eq!(hits, found, "the index and the rule disagree");
    holds
}

#[test]
fn every_decision_is_ours() {
    let vectors = vectors(include_str!("appendix.txt"));
    assert_eq!(vectors.len(), DETECTIONS);
    assert_eq!(vectors.iter().map(|it| it.events.len()).sum::<usize>(), DECISIONS);
    let mut wrong = Vec::new();
    for vector in &vectors {
        let wanted: String = vector.events.iter().map(|it| it.0).collect();
        let decided = decided(vector);
        if decided != wanted {
            wrong.push(format!("{}: {decided}, not {wanted}", vector.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
