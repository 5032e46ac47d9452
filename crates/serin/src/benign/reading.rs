//! One pattern from the text of its file.

use serde_json::{Map, Value};
use serin_services::conf::wrong;

use super::{Burst, Mark, Pattern};
use crate::ignore::reading;

/// The keys of a pattern.
const KEYS: [&str; 7] =
    ["name", "about", "sources", "spread_seconds", "match", "must_match", "must_not_match"];
/// The keys of a burst.
const BURST: [&str; 3] = ["services", "ports", "seconds"];

/// Reads one pattern.
///
/// # Errors
///
/// Everything that is wrong with it: `match.0.sevice: no such key; did you mean service?`.
pub(crate) fn parse(text: &str) -> Result<Pattern, Vec<String>> {
    let table: Value = match toml::from_str(text) {
        Ok(table) => table,
        Err(error) => return Err(vec![format!("not TOML: {}", error.message())]),
    };
    let mut wrongs = Vec::new();
    let map = table.as_object().cloned().unwrap_or_default();
    for key in map.keys().filter(|it| !KEYS.contains(&it.as_str())) {
        wrongs.push(format!("{key}: no such key; there are {}", KEYS.join(", ")));
    }
    let name = map.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() || name.len() > NAME_MAX {
        wrongs.push("name: wants a name of at most 64 bytes".to_owned());
    }
    let sourced = map.get("sources").and_then(Value::as_array).is_some_and(|it| !it.is_empty());
    if !sourced || map.get("about").and_then(Value::as_str).is_none() {
        wrongs.push("wants about, and sources: where its fingerprints are from".to_owned());
    }
    let spread = map.get("spread_seconds").map_or(Some(SPREAD), seconds);
    if spread.is_none() {
        wrongs.push("spread_seconds: wants seconds, at most a day".to_owned());
    }
    let mut marks = Vec::new();
    let list = map.get("match").and_then(Value::as_array).cloned().unwrap_or_default();
    if list.is_empty() {
        wrongs.push("wants at least one [[match]]".to_owned());
    }
    for (index, entry) in list.iter().enumerate() {
        let path = format!("match.{index}");
        let Some(map) = entry.as_object() else {
            wrongs.push(format!("{path}: {}", wrong("a table of conditions", entry)));
            continue;
        };
        marks.extend(mark(&path, map, &mut wrongs));
    }
    if wrongs.is_empty() {
        Ok(Pattern { name: name.to_owned(), marks, spread: spread.unwrap_or(SPREAD) })
    } else {
        Err(wrongs)
    }
}

fn mark(path: &str, map: &Map<String, Value>, wrongs: &mut Vec<String>) -> Option<Mark> {
    let (conditions, complaints) = reading::conditions(map, &["burst"]);
    wrongs.extend(complaints.into_iter().map(|(below, text)| format!("{path}{below}: {text}")));
    let burst = map.get("burst").map(|it| (it, burst(it)));
    if let Some((value, None)) = burst {
        wrongs.push(format!("{path}.burst: {}", wrong("{ services = 3, seconds = 10 }", value)));
        return None;
    }
    let burst = burst.and_then(|it| it.1);
    if burst.is_none() && !conditions.asks() {
        wrongs.push(format!("{path}: wants at least one condition: it would match everything"));
    }
    Some(Mark { conditions, burst })
}

fn burst(value: &Value) -> Option<Burst> {
    let map = value.as_object().filter(|it| it.keys().all(|it| BURST.contains(&it.as_str())))?;
    let number = |name: &str| map.get(name).map_or(Some(0), |it| usize::try_from(it.as_u64()?).ok());
    let (services, ports) = (number("services")?, number("ports")?);
    let fits = services.max(ports) >= 2 && services.max(ports) <= super::TOUCHES;
    fits.then_some(Burst { services, ports, within: seconds(map.get("seconds")?)? })
}

/// Seconds as microseconds.
fn seconds(value: &Value) -> Option<i64> {
    const DAY: i64 = 86_400;
    value.as_i64().filter(|it| (1..=DAY).contains(it)).map(|it| it * 1_000_000)
}

/// Microseconds: ten minutes.
const SPREAD: i64 = 600 * 1_000_000;
const NAME_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_is_told() {
        let wrongs = parse(
            "name = ''\nbogus = 1\n[[match]]\nsevice = 'ssh'\n[[match]]\n[[match]]\nburst = { services = 1, seconds = 5 }\n",
        );
        let wrongs = wrongs.unwrap_err().join("\n");
        for part in [
            "bogus: no such key",
            "name: wants a name",
            "wants about, and sources",
            "match.0.sevice: no such key; did you mean service?",
            "match.1: wants at least one condition",
            "match.2.burst: wants { services",
        ] {
            assert!(wrongs.contains(part), "{part} is not in\n{wrongs}");
        }
    }
}
