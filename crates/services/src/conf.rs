//! Settings: defined once, read with all complaints gathered, printed from a table.
//!
//! Keys are OpenCanary's flat, dotted names (`ftp.banner`). The [`settings!`](crate::settings) macro
//! turns one definition into a struct, a reader and a table; sample files, schema, reference pages
//! and the check for unknown keys are made from that table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Service;
use crate::ssh::hostkey::HostKeys;

/// One setting, as data.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The whole name; `NAME_N.what` stands for the numbered sections of a service with slots.
    pub name: &'static str,
    /// What it does: the doc comment.
    pub doc: &'static str,
    /// What values it takes, for a person: `true or false`.
    pub wants: &'static str,
    /// The default.
    pub default: fn() -> Value,
    /// What OpenCanary takes when its file does not have the key, where that differs.
    pub opencanary: Option<fn() -> Value>,
    /// JSON Schema of the values.
    pub schema: fn() -> Value,
}

/// Something that is wrong with one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The key, as written.
    pub key: String,
    /// What it wants and what it got: `wants true or false, got "yes please"`.
    pub text: String,
}

/// All settings of one configuration, by key, with the folders they name and the host keys already
/// in memory.
#[derive(Debug, Clone, Default)]
pub struct Conf {
    values: BTreeMap<String, Value>,
    folders: BTreeMap<String, Arc<Folder>>,
    host_keys: HostKeys,
    /// Who this host claims to be.
    pub identity: Identity,
}

/// Who this host claims to be: made at the first start, kept for the life of the installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The short host name.
    pub host: String,
    /// Differs between installations, the same within one: for certificates, dates, identifiers.
    pub seed: u64,
}

impl Default for Identity {
    fn default() -> Self {
        Self { host: "srv-files".to_owned(), seed: 0 }
    }
}

/// A folder of the operator's, read into memory: path below it, with `/` between, to file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folder(pub BTreeMap<String, File>);

/// One file of a [`Folder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What is in it.
    pub bytes: Arc<[u8]>,
    /// When it was changed, in seconds since the epoch.
    pub modified: i64,
}

impl Conf {
    /// No settings: every default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one key.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        self.values.insert(key.into(), value.into());
    }

    /// Takes one key back.
    pub fn remove(&mut self, key: &str) {
        self.values.remove(key);
    }

    /// Hands in the folder that the value of `key` names.
    pub fn set_folder(&mut self, key: impl Into<String>, folder: Arc<Folder>) {
        self.folders.insert(key.into(), folder);
    }

    /// Hands in the keys that this host proves its identity with.
    pub fn set_host_keys(&mut self, keys: HostKeys) {
        self.host_keys = keys;
    }

    /// The host keys that were handed in.
    #[must_use]
    pub fn host_keys(&self) -> &HostKeys {
        &self.host_keys
    }

    /// The same settings on a host of this identity.
    #[must_use]
    pub fn with_identity(self, identity: Identity) -> Self {
        Self { identity, ..self }
    }

    /// The value of `key`, where it was set.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// The folder that the value of `key` names, where there is one.
    #[must_use]
    pub fn folder(&self, key: &str) -> Option<&Arc<Folder>> {
        self.folders.get(key)
    }

    /// All keys that were set, in order, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Whether `NAME.enabled` is true.
    #[must_use]
    pub fn enabled(&self, service: &Service) -> bool {
        self.get(&format!("{}.enabled", service.name)) == Some(&Value::Bool(true))
    }

    /// `NAME.port`, or the service's usual port. The loader has checked that it is a port.
    #[must_use]
    pub fn port(&self, service: &Service) -> u16 {
        self.get(&format!("{}.port", service.name))
            .and_then(Value::as_u64)
            .and_then(|it| u16::try_from(it).ok())
            .unwrap_or(service.port)
    }

    /// Reads one key, or its default; a value of the wrong type becomes a complaint.
    pub fn read<T: Setting>(&self, key: &str, default: T, complaints: &mut Vec<Complaint>) -> T {
        let Some(value) = self.get(key) else { return default };
        T::read(value).unwrap_or_else(|()| {
            complaints.push(Complaint { key: key.to_owned(), text: T::complain(value) });
            default
        })
    }
}

/// `wants true or false, got "yes please"`.
#[must_use]
pub fn wrong(wants: &str, got: &Value) -> String {
    const LONGEST: usize = 60;
    let mut got = got.to_string();
    if got.chars().count() > LONGEST {
        got = got.chars().take(LONGEST).chain(['…']).collect();
    }
    format!("wants {wants}, got {got}")
}

/// A type that settings can have.
pub trait Setting: Sized {
    /// For a person: `true or false`.
    const WANTS: &'static str;

    /// Takes the value from a configuration file.
    ///
    /// # Errors
    ///
    /// When it is not of this type.
    #[allow(clippy::result_unit_err, reason = "the caller words the complaint from WANTS and the value")]
    fn read(value: &Value) -> Result<Self, ()>;

    /// What is wrong with a value that [`Setting::read`] did not take.
    #[must_use]
    fn complain(value: &Value) -> String {
        wrong(Self::WANTS, value)
    }

    /// The value as a configuration file has it.
    fn show(&self) -> Value;

    /// JSON Schema.
    fn schema() -> Value;
}

impl Setting for bool {
    const WANTS: &'static str = "true or false";

    fn read(value: &Value) -> Result<Self, ()> {
        value.as_bool().ok_or(())
    }

    fn show(&self) -> Value {
        json!(self)
    }

    fn schema() -> Value {
        json!({ "type": "boolean" })
    }
}

impl Setting for String {
    const WANTS: &'static str = "a string";

    fn read(value: &Value) -> Result<Self, ()> {
        value.as_str().map(str::to_owned).ok_or(())
    }

    fn show(&self) -> Value {
        json!(self)
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

/// A folder of the operator's. Whoever reads a configuration knows these keys by
/// [`FolderPath::WANTS`](Setting::WANTS) and hands the files in with [`Conf::set_folder`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FolderPath(pub String);

impl Setting for FolderPath {
    const WANTS: &'static str = "a folder";

    fn read(value: &Value) -> Result<Self, ()> {
        value.as_str().map(|it| Self(it.to_owned())).ok_or(())
    }

    fn show(&self) -> Value {
        json!(self.0)
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

impl Setting for u16 {
    const WANTS: &'static str = "a whole number from 0 to 65535";

    fn read(value: &Value) -> Result<Self, ()> {
        value.as_u64().and_then(|it| Self::try_from(it).ok()).ok_or(())
    }

    fn show(&self) -> Value {
        json!(self)
    }

    fn schema() -> Value {
        json!({ "type": "integer", "minimum": 0, "maximum": 65535 })
    }
}

impl Setting for u32 {
    const WANTS: &'static str = "a whole number, 0 or more";

    fn read(value: &Value) -> Result<Self, ()> {
        value.as_u64().and_then(|it| Self::try_from(it).ok()).ok_or(())
    }

    fn show(&self) -> Value {
        json!(self)
    }

    fn schema() -> Value {
        json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX })
    }
}

impl Setting for Duration {
    const WANTS: &'static str = "a number of seconds, at most a day";

    fn read(value: &Value) -> Result<Self, ()> {
        const DAY: f64 = 86_400.0;
        let seconds = value.as_f64().filter(|it| (0.0..=DAY).contains(it)).ok_or(())?;
        Duration::try_from_secs_f64(seconds).map_err(|_| ())
    }

    fn show(&self) -> Value {
        let seconds = self.as_secs_f64();
        if self.subsec_nanos() == 0 { json!(self.as_secs()) } else { json!(seconds) }
    }

    fn schema() -> Value {
        json!({ "type": "number", "minimum": 0, "maximum": 86_400 })
    }
}

/// Defines the settings of one section: doc comment, name, type and default of each.
///
/// ```text
/// settings! { "ftp" {
///     /// Greeting, sent after `220 `.
///     banner: String = "(vsFTPd 3.0.3)".into(), opencanary "FTP Ready.";
///     /// Seconds until a wrong password is refused.
///     login_delay: Duration = Duration::from_secs(3);
///     /// Where a name has more dots, it stands in brackets.
///     alertstring_enabled ["alertstring.enabled"]: bool = false;
/// } }
/// ```
///
/// gives `struct Settings` with these fields, `Settings::KEYS`, `Settings::read(conf)` and, for a
/// service with numbered sections (`"tcpbanner_N"`), `Settings::read_section(conf, "tcpbanner_3")`.
#[macro_export]
macro_rules! settings {
    ($section:literal { $(
        $(#[doc = $doc:literal])+
        $field:ident $([$dotted:literal])? : $type:ty = $default:expr $(, opencanary $old:expr)? ;
    )* }) => {
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) struct Settings {
            $( $(#[doc = $doc])+ pub(crate) $field: $type, )*
        }

        impl Settings {
            /// The settings, as data.
            pub(crate) const KEYS: &'static [$crate::conf::Key] = &[ $( $crate::conf::Key {
                name: $crate::settings!(@name $section, $field $(, $dotted)?),
                doc: concat!($($doc, "\n"),+).trim_ascii(),
                wants: <$type as $crate::conf::Setting>::WANTS,
                default: || {
                    let value: $type = $default;
                    $crate::conf::Setting::show(&value)
                },
                opencanary: $crate::settings!(@old $($old)?),
                schema: <$type as $crate::conf::Setting>::schema,
            } ),* ];

            /// Reads this section, gathering everything that is wrong with it.
            #[allow(dead_code, reason = "sections with a number are read with read_section")]
            pub(crate) fn read(
                conf: &$crate::conf::Conf,
            ) -> Result<Self, Vec<$crate::conf::Complaint>> {
                Self::read_section(conf, $section)
            }

            /// Reads the section of this name.
            pub(crate) fn read_section(
                conf: &$crate::conf::Conf,
                section: &str,
            ) -> Result<Self, Vec<$crate::conf::Complaint>> {
                let mut complaints = Vec::new();
                let settings = Self { $(
                    $field: conf.read(
                        &format!("{section}{}", $crate::settings!(@name "", $field $(, $dotted)?)),
                        $default,
                        &mut complaints,
                    ),
                )* };
                if complaints.is_empty() { Ok(settings) } else { Err(complaints) }
            }
        }
    };
    (@name $section:literal, $field:ident) => { concat!($section, ".", stringify!($field)) };
    (@name $section:literal, $field:ident, $dotted:literal) => { concat!($section, ".", $dotted) };
    (@old) => { None };
    (@old $old:expr) => { Some(|| serde_json::json!($old)) };
}

/// Defines a setting with a few named values.
///
/// ```text
/// choices! {
///     /// Whose error pages a client sees.
///     Skin { Squid = "squid", MsIsa = "ms-isa" } wants "squid or ms-isa"
/// }
/// ```
#[macro_export]
macro_rules! choices {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? } wants $wants:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $(
            #[doc = concat!("`", $text, "`")]
            $variant,
        )+ }

        impl $crate::conf::Setting for $name {
            const WANTS: &'static str = $wants;

            fn read(value: &serde_json::Value) -> Result<Self, ()> {
                match value.as_str() {
                    $( Some($text) => Ok(Self::$variant), )+
                    _ => Err(()),
                }
            }

            fn show(&self) -> serde_json::Value {
                serde_json::json!(match self { $( Self::$variant => $text, )+ })
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({ "enum": [$($text),+] })
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    choices! {
        /// A face.
        Face { Kind = "kind", Grim = "grim" } wants "kind or grim"
    }

    settings! { "sample" {
        /// Whether it is loud.
        loud: bool = false;
        /// What it says.
        words ["words.said"]: String = "hello".into(), opencanary "HELLO";
        /// How long it thinks.
        pause: Duration = Duration::from_millis(1500);
        /// How it looks.
        face: Face = Face::Kind;
    } }

    #[test]
    fn one_definition_gives_struct_reader_and_table() {
        let mut conf = Conf::new();
        conf.set("sample.words.said", "bye");
        conf.set("sample.face", "grim");
        let settings = Settings::read(&conf).unwrap();
        assert_eq!((settings.words.as_str(), settings.loud, settings.face), ("bye", false, Face::Grim));
        let names: Vec<_> = Settings::KEYS.iter().map(|it| it.name).collect();
        assert_eq!(names, ["sample.loud", "sample.words.said", "sample.pause", "sample.face"]);
        assert_eq!((Settings::KEYS[2].default)(), json!(1.5));
        assert_eq!(Settings::KEYS[1].opencanary.unwrap()(), json!("HELLO"));
        assert_eq!(Settings::KEYS[0].doc, "Whether it is loud.");
    }

    #[test]
    fn all_complaints_come_at_once() {
        let mut conf = Conf::new();
        conf.set("sample.loud", "yes please");
        conf.set("sample.pause", -1);
        let complaints = Settings::read(&conf).unwrap_err();
        let texts: Vec<_> = complaints.iter().map(|it| format!("{}: {}", it.key, it.text)).collect();
        assert_eq!(
            texts,
            [
                r#"sample.loud: wants true or false, got "yes please""#,
                "sample.pause: wants a number of seconds, at most a day, got -1",
            ]
        );
    }
}
