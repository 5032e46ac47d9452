//! What a person reads: a title, a sentence, a table. Made once, rendered by every courier.

use serin_event::{Severity, Timestamp};

use crate::incidents::{Change, Notice};

/// One alert, ready to be put into any receiver's form. Its texts hold no control characters, but are
/// not escaped for any receiver: that is the courier's duty.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Card {
    /// The same for all cards of one incident.
    pub(crate) id: String,
    /// The same for each delivery of this card, and for no other card.
    pub(crate) key: String,
    pub(crate) change: Change,
    pub(crate) severity: Severity,
    /// A few words of our own, without anything that a peer chose: fit for a mail's subject.
    pub(crate) title: String,
    /// What happened.
    pub(crate) sentence: String,
    pub(crate) rows: Vec<Row>,
    /// More sentences: what happened one by one, or the other incidents of a digest.
    pub(crate) details: Vec<String>,
    /// When it happened.
    pub(crate) time: Timestamp,
    /// Which sensor tells it.
    pub(crate) node: String,
    pub(crate) test: bool,
}

/// One line of a card's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) label: &'static str,
    pub(crate) value: String,
}

impl Card {
    /// The card of one incident, as the sensor `node` tells it.
    pub(crate) fn of(notice: &Notice, node: &str, key: String) -> Self {
        let mut rows = Vec::new();
        let mut row = |label, value: String| {
            if !value.is_empty() {
                rows.push(Row { label, value: shown(&value) });
            }
        };
        row("Severity", notice.severity.name().to_owned());
        row("Source", notice.source.map(|it| it.to_string()).unwrap_or_default());
        row("Target", notice.targets.join(", "));
        row("Service", notice.service.clone());
        row("Events", notice.count.to_string());
        row("Users", notice.users.join(", "));
        row("Sensor", node.to_owned());
        let title = format!("{} {} on {node}", notice.severity.name(), notice.service);
        Self {
            id: notice.id.clone(),
            key,
            change: notice.change,
            severity: notice.severity,
            title,
            sentence: shown(&notice.sentence),
            rows,
            details: notice.samples.iter().map(|it| shown(it)).collect(),
            time: notice.last,
            node: node.to_owned(),
            test: notice.test,
        }
    }
}

/// Without control characters, and not too long.
fn shown(text: &str) -> String {
    const LONGEST: usize = 1000;
    text.chars().take(LONGEST).map(|it| if it.is_control() { '\u{fffd}' } else { it }).collect()
}
