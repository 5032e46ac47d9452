//! A pack at work: events in, detections out.

use crate::correlate::{Broken, Correlator, Name, Settings, Stats};
use crate::detection::{Detection, Hit};
use crate::event::Event;
use crate::matcher::{Matcher, Scratch};
use crate::pack::Pack;
use crate::rule::Ref;

/// Runs a pack over events in the order of their arrival.
///
/// A rule that matches is told at once; correlations wait for events that are under way, see
/// [`Settings::lateness`]. The same pack, settings, events and arrivals give the same detections.
pub struct Detector {
    pack: Pack,
    matcher: Matcher,
    scratch: Scratch,
    hits: Vec<Hit>,
    /// Of the rules, what their detections are named after.
    names: Vec<Name>,
    correlator: Correlator,
}

impl Detector {
    /// A pack before the first event.
    #[must_use]
    pub fn new(pack: Pack, settings: Settings) -> Self {
        Self {
            matcher: Matcher::new(&pack.rules),
            scratch: Scratch::default(),
            hits: Vec::new(),
            names: names(&pack),
            correlator: Correlator::new(&pack.correlations, &pack.rules, settings),
            pack,
        }
    }

    /// What [`Detection::rule`] refers to.
    #[must_use]
    pub fn pack(&self) -> &Pack {
        &self.pack
    }

    /// Takes an event that arrived at `arrived` (microseconds since 1970-01-01 00:00 UTC; in a replay
    /// the time of arrival that was recorded, or else the event's own time). Appends to `out` what it
    /// fires, and what earlier events fire for which nothing is to be waited for any longer.
    pub fn observe(&mut self, event: &Event<'_>, arrived: i64, out: &mut Vec<Detection>) {
        self.matcher.hits(event, &mut self.scratch, &mut self.hits);
        for hit in &self.hits {
            let told = self.pack.rules.get(hit.rule).is_some_and(|it| it.told);
            if let Some(name) = self.names.get(hit.rule).filter(|_| told) {
                out.push(Detection {
                    id: name.identify(&[], event.time, &[event.id]),
                    rule: Ref::Rule(hit.rule),
                    time: event.time,
                    group: Vec::new(),
                    evidence: vec![event.id],
                    figure: None,
                    late: false,
                    ahead: false,
                    saturated: false,
                });
            }
        }
        self.correlator.observe(event, &self.hits, arrived, out);
    }

    /// The rules that the event matched which was observed last, told or not.
    #[must_use]
    pub fn hits(&self) -> &[Hit] {
        &self.hits
    }

    /// The clock says `now`, and nothing that arrived before waits to be observed: call this every
    /// second or so where events are observed as they happen. A replay never calls it.
    pub fn advance(&mut self, now: i64, out: &mut Vec<Detection>) {
        self.correlator.advance(now, out);
    }

    /// There are no more events: correlations decide about all that wait.
    pub fn finish(&mut self, out: &mut Vec<Detection>) {
        self.correlator.finish(out);
    }

    /// Another pack from now on. A correlation that behaves as one before it did, and looks at rules
    /// that do, keeps its state.
    pub fn reload(&mut self, pack: Pack) {
        self.matcher = Matcher::new(&pack.rules);
        self.names = names(&pack);
        self.hits.clear();
        self.correlator.reload(&pack.correlations, &pack.rules);
        self.pack = pack;
    }

    /// All that is known of past events, for [`Detector::restore`].
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        self.correlator.snapshot()
    }

    /// Goes on from where [`Detector::snapshot`] was taken, as if nothing had happened in between; with
    /// another pack, with the state of what stayed the same.
    ///
    /// # Errors
    ///
    /// When the snapshot is damaged or of another version. Nothing is known of past events then.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), Broken> {
        self.hits.clear();
        self.correlator.restore(snapshot, &self.pack.correlations, &self.pack.rules)
    }

    /// How correlations fare.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.correlator.stats()
    }
}

fn names(pack: &Pack) -> Vec<Name> {
    pack.rules.iter().map(|it| Name::new(&it.meta)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{Fields, Value, View};
    use crate::pack::Options;
    use crate::rule::LogSource;

    const RULES: &str = r"
title: Connection
name: connection
logsource: {product: opencanary}
detection:
    selection: {logtype: 4000}
    condition: selection
---
title: Login
name: login
logsource: {product: opencanary}
detection:
    selection: {logtype: 4002}
    condition: selection
---
title: Many connections
correlation:
    type: event_count
    rules: [connection]
    group-by: [src_host]
    timespan: 5m
    condition: {gte: 3}
    generate: true
---
title: Connection, then login
correlation:
    type: temporal_ordered
    rules: [connection, login]
    group-by: [src_host]
    timespan: 5m
";

    const SECOND: i64 = 1_000_000;

    fn pack(text: &str) -> Pack {
        let pack = Pack::read([("rules.yml", text.as_bytes())], &Options::default());
        assert_eq!(pack.refused, []);
        pack
    }

    fn observe(detector: &mut Detector, id: u64, seconds: i64, logtype: i64) -> Vec<String> {
        let source = LogSource { product: Some(Arc::from("opencanary")), ..LogSource::default() };
        let mut fields = Fields::new();
        fields.push("logtype", Value::Int(logtype));
        fields.push("src_host", Value::Text("10.0.0.1".into()));
        let views = vec![View { source: &source, fields }];
        let event = Event { id, time: seconds * SECOND, sensor: "one".into(), views };
        let mut out = Vec::new();
        detector.observe(&event, event.time, &mut out);
        titles(detector, &out)
    }

    fn titles(detector: &Detector, found: &[Detection]) -> Vec<String> {
        let title = |it: &Detection| detector.pack().meta(it.rule).unwrap().title.clone();
        found.iter().map(|it| format!("{} {:?}", title(it), it.evidence)).collect()
    }

    #[test]
    fn rules_are_told_at_once_and_correlations_when_their_turn_has_come() {
        let mut detector = Detector::new(pack(RULES), Settings::default());
        assert_eq!(observe(&mut detector, 1, 0, 4000), ["Connection [1]"]);
        assert_eq!(observe(&mut detector, 2, 1, 4000), ["Connection [2]"]);
        assert_eq!(observe(&mut detector, 3, 2, 4000), ["Connection [3]"]);
        assert_eq!(observe(&mut detector, 4, 3, 4002), [""; 0], "only a correlation refers to it");
        assert_eq!(detector.hits(), [Hit { rule: 1, view: 0 }]);
        let mut out = Vec::new();
        detector.advance(8 * SECOND, &mut out);
        assert_eq!(titles(&detector, &out), ["Many connections [1, 2, 3]", "Connection, then login [3, 4]"]);
        assert_eq!(out[0].time, 2 * SECOND);
        assert_eq!(out[0].group, [(Arc::from("src_host"), "10.0.0.1".to_owned())]);
    }

    #[test]
    fn it_can_be_handed_to_another_thread() {
        fn is_send<T: Send>(_: &T) {}
        is_send(&Detector::new(Pack::default(), Settings::default()));
    }

    #[test]
    fn a_restart_and_a_reload_go_on_where_it_was() {
        let mut detector = Detector::new(pack(RULES), Settings::default());
        observe(&mut detector, 1, 0, 4000);
        observe(&mut detector, 2, 1, 4000);
        let snapshot = detector.snapshot();
        let mut restarted = Detector::new(pack(RULES), Settings::default());
        restarted.restore(&snapshot).expect("it was just written");
        // Words may change; the state is that of the behaviour.
        restarted.reload(pack(&RULES.replace("title: Many connections", "title: Far too many")));
        observe(&mut restarted, 3, 2, 4000);
        let mut out = Vec::new();
        restarted.finish(&mut out);
        assert_eq!(titles(&restarted, &out), ["Far too many [1, 2, 3]"]);
        restarted.reload(pack(&RULES.replace("logtype: 4000", "logtype: 4001")));
        assert_eq!(restarted.stats().correlations[0].groups, 0, "its rule is another one");
        assert_eq!(restarted.restore(b"nonsense"), Err(Broken));
    }
}
