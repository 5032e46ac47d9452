//! The patterns that come with the program: `rules/benign/`.

use super::Pattern;
use super::reading::parse;

macro_rules! library {
    ($($name:literal),* $(,)?) => {
        const LIBRARY: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../../rules/benign/", $name, ".toml")))),*];
    };
}

library! {
    "appspider", "censys", "cups", "expanse", "insightvm", "nagios", "nessus", "openvas", "prtg", "qualys",
    "windows-print", "zabbix", "zgrab",
}

/// All of them, by name. One that cannot be read is left out, which a test rules out.
pub(crate) fn built_in() -> Vec<Pattern> {
    LIBRARY.iter().filter_map(|(_, text)| parse(text).ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};
    use serin_event::{Endpoint, Record, Timestamp, kinds};

    use super::*;
    use crate::benign::Labeller;
    use crate::ignore::LABEL;

    /// An event as a pattern's file writes it: its kind, and its fields.
    fn record(example: &toml::Table) -> Record {
        let kind = kinds::by_name(example["kind"].as_str().unwrap()).unwrap();
        let fields: Map<String, Value> = example
            .iter()
            .filter(|it| it.0 != "kind")
            .map(|(key, it)| (key.clone(), it.as_str().unwrap().into()))
            .collect();
        assert!(fields.keys().all(|it| kind.declares(it)), "{example}");
        let event = serin_event::Event::new(kind);
        Record {
            source: Endpoint { host: "10.0.0.5".parse().ok(), port: None },
            logdata: Value::from(fields).to_string().into(),
            ..Record::of(&event, Timestamp(0), 0, "node")
        }
    }

    #[test]
    fn every_pattern_has_its_sources_and_meets_its_own_examples() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../rules/benign");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), LIBRARY.len(), "all files are built in");
        for (name, text) in LIBRARY {
            let pattern = parse(text).unwrap_or_else(|it| panic!("{name}: {it:?}"));
            assert_eq!(pattern.name, *name);
            let table: toml::Table = text.parse().unwrap();
            assert!(!table["sources"].as_array().unwrap().is_empty(), "{name}: a claim wants a source");
            for (key, wanted) in [("must_match", true), ("must_not_match", false)] {
                let examples = table[key].as_array().unwrap();
                assert!(!examples.is_empty(), "{name}: {key}");
                for example in examples {
                    let mut record = record(example.as_table().unwrap());
                    Labeller::new(vec![pattern.clone()]).label(&mut record);
                    assert_eq!(record.detail(LABEL).is_some(), wanted, "{name}: {example}");
                }
            }
        }
    }
}
