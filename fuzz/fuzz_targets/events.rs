//! Arbitrary bytes as lines of JSON under rules of every shape: the index finds what asking each rule
//! finds.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serin_detect::{Event, Hit, LogSource, Matcher, Options, Pack, Scratch, View, json};

static RULES: LazyLock<(Pack, Matcher)> = LazyLock::new(|| {
    let pack = Pack::read([("events.yml", include_bytes!("../events.yml").as_slice())], &Options::default());
    assert!(pack.refused.is_empty(), "{:?}", pack.refused);
    let matcher = Matcher::new(&pack.rules);
    (pack, matcher)
});

static SOURCE: LazyLock<LogSource> = LazyLock::new(|| LogSource {
    category: Some("application".into()),
    product: Some("opencanary".into()),
    service: None,
});

fuzz_target!(|bytes: &[u8]| {
    let (pack, matcher) = &*RULES;
    let (mut scratch, mut hits) = (Scratch::default(), Vec::new());
    for line in bytes.split(|it| *it == b'\n') {
        let Ok(line) = json::read(line) else { continue };
        let views = vec![View { source: &SOURCE, fields: line.fields }];
        let event = Event { id: 0, time: 0, sensor: "".into(), views };
        matcher.hits(&event, &mut scratch, &mut hits);
        let scanned = pack.rules.iter().enumerate().filter(|it| it.1.expr.holds(&event.views[0].fields));
        let scanned: Vec<_> = scanned.map(|it| Hit { rule: it.0, view: 0 }).collect();
        assert_eq!(hits, scanned, "{event:#?}");
    }
});
