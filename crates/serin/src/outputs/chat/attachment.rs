//! A card as Slack's attachment, which Mattermost and Rocket.Chat take as well.

use serde_json::{Value, json};

use super::webhook::colour;
use crate::outputs::alert::Card;

/// `escaped` takes the power from what is special to the receiver.
pub(super) fn attachment(card: &Card, escaped: fn(&str) -> String) -> Value {
    /// Longer values have a line of their own.
    const SHORT: usize = 40;
    let fields: Vec<_> = card
        .rows
        .iter()
        .map(|it| json!({ "title": it.label, "value": escaped(&it.value), "short": it.value.len() < SHORT }))
        .collect();
    let mut text = escaped(&card.sentence);
    for detail in &card.details {
        text.push_str("\n\u{2022} ");
        text.push_str(&escaped(detail));
    }
    let mut attachment = json!({
        "color": format!("#{:06x}", colour(card.severity)),
        "fallback": escaped(&format!("{}: {}", card.title, card.sentence)),
        "title": escaped(&card.title),
        "text": text,
        "fields": fields,
        "footer": escaped(&format!("Serin, {}", card.label())),
    });
    if let Some(link) = &card.link {
        attachment["title_link"] = json!(link);
    }
    attachment
}
