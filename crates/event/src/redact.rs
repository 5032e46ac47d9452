//! Passwords taken out of a record, for receivers that must not have them.

use serde_json::{Map, Value};

use crate::json::python_json;
use crate::record::Record;

/// Fields whose whole text is a secret, in `logdata`, in details, and in incidents.
const SECRETS: &[&str] = &[
    "COMMUNITY_STRING",
    "NEWPASSWORD",
    "PASSWORD",
    "PASSWORDS",
    "Password",
    "VNC Client Response",
    "VNC Password",
    "auth_data",
];
/// Fields in which a secret may stand somewhere: for receivers that want none they are taken out.
const CARRIERS: &[&str] = &["BODY", "NTLM", "QUERY"];
/// HTTP headers that carry secrets, in lower case.
const HEADERS: &[&str] = &["authorization", "cookie", "proxy-authorization", "x-api-key"];

/// Fields of other log sources in which a secret may stand somewhere.
const VIEWS: &[&str] = &["c-uri", "c-uri-query", "cs-cookie", "cs-headers", "cs-uri", "cs-uri-query"];

/// Whether a field of this name, or of this dotted path, may hold a secret.
#[must_use]
pub fn is_secret(path: &str) -> bool {
    let mut names = path.split('.');
    let name = path.rsplit('.').next().unwrap_or(path);
    let known = |it: &str| SECRETS.contains(&it) || CARRIERS.contains(&it) || VIEWS.contains(&it);
    known(name) || name == "ARGS" || names.any(|it| it == "HEADERS")
}

impl Record {
    /// The same record with each secret replaced by what `conceal` makes of it; `None` empties it.
    /// Its fields stay, as consumers expect them.
    #[must_use]
    pub fn concealed(&self, conceal: &dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            logdata: concealed(&self.logdata, conceal).unwrap_or_else(|| self.logdata.clone()),
            details: concealed(&self.details, conceal).unwrap_or_else(|| self.details.clone()),
            ..self.clone()
        }
    }
}

fn concealed(text: &str, conceal: &dyn Fn(&str) -> Option<String>) -> Option<Box<str>> {
    let mut members: Map<String, Value> = serde_json::from_str(text).ok()?;
    let authenticates = members
        .get("CMD")
        .and_then(Value::as_str)
        .is_some_and(|it| ["AUTH", "HELLO"].iter().any(|command| it.eq_ignore_ascii_case(command)));
    for (name, value) in &mut members {
        let name = name.as_str();
        if SECRETS.contains(&name) || (name == "ARGS" && authenticates) {
            conceal_all(value, conceal);
        } else if CARRIERS.contains(&name) {
            conceal_all(value, &|_| None);
        } else if name == "HEADERS" {
            conceal_headers(value);
        } else if let ("GROUP", Value::Object(group)) = (name, &mut *value) {
            // What a detection's group is made of, by the paths of fields.
            for (_, value) in group.iter_mut().filter(|it| is_secret(it.0)) {
                conceal_all(value, conceal);
            }
        }
    }
    Some(python_json(&members.into()).into())
}

/// Every text in a value.
fn conceal_all(value: &mut Value, conceal: &dyn Fn(&str) -> Option<String>) {
    match value {
        Value::String(text) if text.is_empty() => {}
        Value::String(text) => *text = conceal(text).unwrap_or_default(),
        Value::Array(values) => values.iter_mut().for_each(|it| conceal_all(it, conceal)),
        Value::Object(members) => members.values_mut().for_each(|it| conceal_all(it, conceal)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn conceal_headers(value: &mut Value) {
    let secret = |name: &str| HEADERS.contains(&name.to_ascii_lowercase().as_str());
    match value {
        Value::Object(headers) => {
            for (_, value) in headers.iter_mut().filter(|it| secret(it.0)) {
                conceal_all(value, &|_| None);
            }
        }
        // Pairs of name and value, or lines.
        Value::Array(headers) => {
            for header in headers {
                match header {
                    Value::Array(pair) if pair.first().and_then(Value::as_str).is_some_and(secret) => {
                        pair.iter_mut().skip(1).for_each(|it| conceal_all(it, &|_| None));
                    }
                    Value::String(line) => {
                        if let Some((name, _)) = line.split_once(':')
                            && secret(name.trim())
                        {
                            *line = format!("{name}:");
                        }
                    }
                    _ => {}
                }
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Tainted, Timestamp, kinds};

    #[test]
    fn secrets_are_replaced_or_emptied_and_everything_else_stays() {
        let event = Event::new(&kinds::HTTP_LOGIN)
            .with("USERNAME", Tainted::new(b"admin", 64))
            .with("PASSWORD", Tainted::new("s\u{e9}cret".as_bytes(), 64))
            .with("BODY", Tainted::new(b"user=admin&pass=hidden", 64));
        let record = Record::of(&event, Timestamp(0), 0, "node");
        let dropped = record.concealed(&|_| None);
        assert_eq!(&*dropped.logdata, r#"{"PASSWORD": "", "USERNAME": "admin"}"#);
        assert_eq!(&*dropped.details, r#"{"BODY": ""}"#);
        let replaced = record.concealed(&|it| Some(format!("<{}>", it.len())));
        assert_eq!(&*replaced.logdata, r#"{"PASSWORD": "<7>", "USERNAME": "admin"}"#);
    }

    #[test]
    fn headers_lose_their_credentials_alone() {
        let mut value = serde_json::json!({ "Cookie": "a=1", "Host": "x" });
        conceal_headers(&mut value);
        assert_eq!(value, serde_json::json!({ "Cookie": "", "Host": "x" }));
        let mut value = serde_json::json!(["Authorization: Basic eDp5", ["cookie", "z"], "Host: x"]);
        conceal_headers(&mut value);
        assert_eq!(value, serde_json::json!(["Authorization:", ["cookie", ""], "Host: x"]));
    }
}
