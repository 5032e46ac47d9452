//! Which events rules are asked about: not what Serin itself tells of others, not what it does to try
//! itself, and not what an ignore rule keeps from alerting anybody.

use serin_detect::{Fields, Value};
use serin_event::Record;
use serin_event::kinds::{DETECTION_LOW, INCIDENT_LOW};

use crate::ignore::{self, Action};

/// Whether rules are asked about a record.
pub(crate) fn has_record(record: &Record) -> bool {
    let own = record.kind.is_detection() || record.kind.is_incident() || record.is_selftest();
    !own && !ignore::is_suppressed(record)
}

/// The same of a line of a log, as far as the line says it.
pub(crate) fn has_line(fields: &Fields<'_>) -> bool {
    let own = match fields.get("logtype") {
        Some(Value::Int(it)) => {
            [DETECTION_LOW.logtype, INCIDENT_LOW.logtype].iter().any(|own| i64::from(*own) == *it)
        }
        _ => false,
    };
    let trial = fields.get("selftest") == Some(&Value::Bool(true)) || fields.has("details.SELFTEST");
    let action = fields.get("details.IGNORED.action").and_then(Value::text);
    let ignored = action.and_then(|it| Action::by_name(&it)).is_some_and(|it| it != Action::Lower);
    !own && !trial && !ignored
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serin_event::{Event, SELFTEST, Timestamp, kinds};

    use super::*;
    use crate::detections::views;

    #[test]
    fn a_record_and_its_line_are_judged_alike() {
        let of = |kind, detail: Option<(&str, serde_json::Value)>| {
            let mut record = Record::of(&Event::new(kind), Timestamp(0), 0, "node");
            if let Some((name, value)) = detail {
                record.add_detail(name, value);
            }
            record
        };
        let ignored = |action: &str| Some(("IGNORED", json!({ "rule": "scanner", "action": action })));
        for (record, wanted) in [
            (of(&kinds::FTP_LOGIN, None), true),
            (of(&kinds::FTP_LOGIN, ignored("lower")), true),
            (of(&kinds::FTP_LOGIN, ignored("suppress")), false),
            (of(&kinds::FTP_LOGIN, Some((SELFTEST, json!(1)))), false),
            (of(&kinds::INCIDENT_HIGH, None), false),
            (of(&kinds::DETECTION_CRITICAL, None), false),
        ] {
            assert_eq!(has_record(&record), wanted, "{}", record.line());
            let line = views::line_of(&record);
            let event = views::of_line(line.as_bytes(), 1, 0).unwrap();
            assert_eq!(has_line(&event.views[0].fields), wanted, "{line}");
            // The line alone does not say what an ignore rule did.
            if !crate::ignore::is_suppressed(&record) {
                let line = record.line();
                let event = views::of_line(line.as_bytes(), 1, 0).unwrap();
                assert_eq!(has_line(&event.views[0].fields), wanted, "{line}");
            }
        }
    }
}
