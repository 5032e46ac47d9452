//! Logins that a decoy lets in: a setting.
//!
//! The shape is that of bait credentials, but passwords stand in clear: a hash takes long to check,
//! and an operator who lets intruders in has no use for the secret.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::conf::Setting;

/// User names and passwords that are let in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logins(Vec<Login>);

#[derive(Clone, PartialEq, Eq)]
struct Login {
    /// `None`: any.
    username: Option<String>,
    /// `None`: any.
    password: Option<String>,
}

/// Never with the password: configurations end up in logs.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({:?})", self.username)
    }
}

impl Logins {
    /// Whether this user comes in with this password.
    #[must_use]
    pub fn accept(&self, username: &[u8], password: &[u8]) -> bool {
        let fits = |wanted: &Option<String>, given| wanted.as_ref().is_none_or(|it| it.as_bytes() == given);
        self.0.iter().any(|it| fits(&it.username, username) && fits(&it.password, password))
    }

    /// Whether nobody comes in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Setting for Logins {
    const WANTS: &'static str = "a list of objects with username and password";

    fn read(value: &Value) -> Result<Self, ()> {
        let list = value.as_array().ok_or(())?;
        list.iter().map(|it| login(it).map_err(|_| ())).collect::<Result<_, _>>().map(Self)
    }

    /// Says where, and never repeats what may be a password.
    fn complain(value: &Value) -> String {
        let Some(list) = value.as_array() else {
            return format!("wants {}, got {}", Self::WANTS, kind(value));
        };
        let wrong = list.iter().enumerate().filter_map(|(at, it)| Some((at, login(it).err()?)));
        wrong.map(|(at, why)| format!("entry {}: {why}", at.saturating_add(1))).collect::<Vec<_>>().join("; ")
    }

    fn show(&self) -> Value {
        let entry = |it: &Login| {
            let members = [(USERNAME, &it.username), (PASSWORD, &it.password)];
            let members =
                members.into_iter().filter_map(|(name, it)| Some((name.to_owned(), json!(it.as_ref()?))));
            Value::Object(members.collect())
        };
        self.0.iter().map(entry).collect()
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": {
            "type": "object",
            "properties": { USERNAME: { "type": "string" }, PASSWORD: { "type": "string" } },
            "additionalProperties": false,
        } })
    }
}

/// One entry, or what is wrong with it.
fn login(entry: &Value) -> Result<Login, String> {
    let Some(members) = entry.as_object() else {
        return Err(format!("wants an object with username and password, got {}", kind(entry)));
    };
    if let Some(other) = members.keys().find(|it| ![USERNAME, PASSWORD].contains(&it.as_str())) {
        return Err(format!("there is no {other}, only username and password"));
    }
    let login = Login { username: member(members, USERNAME)?, password: member(members, PASSWORD)? };
    if login.password.as_deref().is_some_and(is_hash) {
        return Err("the password is a hash; to let somebody in, write it in clear".to_owned());
    }
    Ok(login)
}

fn member(members: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("{name} wants a string, got {}", kind(other))),
    }
}

/// In one of the forms that bait credentials take.
fn is_hash(password: &str) -> bool {
    ["$pbkdf2-sha512$", "$2a$", "$2b$", "$2y$", "$6$"].iter().any(|it| password.starts_with(it))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

const USERNAME: &str = "username";
const PASSWORD: &str = "password";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_any() {
        let logins = Logins::read(&json!([
            { "username": "root", "password": "toor" },
            { "username": "guest" },
            { "password": "letmein", "username": null },
        ]))
        .unwrap();
        for (username, password, wanted) in [
            ("root", "toor", true),
            ("root", "root", false),
            ("guest", "", true),
            ("anybody", "letmein", true),
            ("Guest", "x", false),
        ] {
            assert_eq!(logins.accept(username.as_bytes(), password.as_bytes()), wanted, "{username}");
        }
        assert!(!Logins::default().accept(b"", b""));
        assert!(Logins::read(&json!([{}])).unwrap().accept(b"a", b"\xff"));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        let told = |value: Value| {
            assert!(Logins::read(&value).is_err());
            Logins::complain(&value)
        };
        assert_eq!(told(json!("root")), "wants a list of objects with username and password, got a string");
        let hash = format!("$6$salt${}", "x".repeat(86));
        let text =
            told(json!([{ "username": "a" }, { "user": "a" }, { "password": hash }, { "password": 5 }, 7]));
        assert_eq!(
            text,
            "entry 2: there is no user, only username and password; \
             entry 3: the password is a hash; to let somebody in, write it in clear; \
             entry 4: password wants a string, got a number; \
             entry 5: wants an object with username and password, got a number"
        );
    }

    #[test]
    fn what_is_shown_is_read_again_and_logs_have_no_password() {
        let value = json!([{ "username": "root", "password": "toor" }, { "password": "" }]);
        let logins = Logins::read(&value).unwrap();
        assert_eq!(logins.show(), value);
        assert!(!format!("{logins:?}").contains("toor"));
    }
}
