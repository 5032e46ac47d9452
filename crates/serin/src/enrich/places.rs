//! Countries and networks from databases in `MaxMind`'s format, which the operator brings.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use maxminddb::Reader;
use parking_lot::RwLock;
use serde_json::{Map, Value as Json, json};

/// The databases, in order.
pub(super) struct Places {
    databases: RwLock<Vec<Database>>,
}

struct Database {
    path: PathBuf,
    /// As of this change.
    changed: Option<SystemTime>,
    /// What was last wrong with it.
    trouble: Option<String>,
    reader: Option<Arc<Reader<Vec<u8>>>>,
}

impl Places {
    /// None is read before the first [`Places::refresh`].
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        let database = |path| Database { path, changed: None, trouble: None, reader: None };
        Self { databases: RwLock::new(paths.into_iter().map(database).collect()) }
    }

    /// `country`, `asn` and `organisation`, as far as any database knows them.
    pub(super) fn about(&self, address: IpAddr) -> Map<String, Json> {
        let readers: Vec<_> = self.databases.read().iter().filter_map(|it| it.reader.clone()).collect();
        let mut facts = Map::new();
        for reader in readers {
            // A damaged entry, or an address that the database cannot have: not known.
            let Ok(found) = reader.lookup(address) else { continue };
            let Ok(Some(entry)) = found.decode::<Json>() else { continue };
            for (name, value) in facts_of(&entry) {
                facts.entry(name).or_insert(value);
            }
        }
        facts
    }

    /// Reads what is new. One that cannot be read leaves what was read before.
    pub(super) fn refresh(&self) -> Vec<String> {
        let all: Vec<_> = self.databases.read().iter().map(|it| (it.path.clone(), it.changed)).collect();
        let mut news = Vec::new();
        for (at, (path, before)) in all.into_iter().enumerate() {
            let changed = fs::metadata(&path).and_then(|it| it.modified()).ok();
            if changed.is_some() && changed == before {
                continue;
            }
            let read = open(&path);
            let mut databases = self.databases.write();
            let Some(database) = databases.get_mut(at) else { continue };
            database.changed = changed;
            match read {
                Ok(reader) => {
                    database.reader = Some(Arc::new(reader));
                    database.trouble = None;
                }
                Err(why) if database.trouble.as_ref() != Some(&why) => {
                    let kept =
                        if database.reader.is_some() { "; the one from before is still used" } else { "" };
                    news.push(format!("enrich.databases: {} cannot be used: {why}{kept}", path.display()));
                    database.trouble = Some(why);
                }
                Err(_) => {}
            }
        }
        news
    }
}

fn open(path: &Path) -> Result<Reader<Vec<u8>>, String> {
    let size = fs::metadata(path).map_err(|it| it.to_string())?.len();
    if size > LARGEST {
        return Err("it is larger than 1 GiB".to_owned());
    }
    Reader::open_readfile(path).map_err(|it| it.to_string())
}

/// What an entry says, in the words of `GeoLite2` or of `IPinfo`.
fn facts_of(entry: &Json) -> Map<String, Json> {
    let text = |paths: &[&str]| {
        let found = paths.iter().find_map(|it| entry.pointer(it)?.as_str());
        found.map(|it| it.chars().filter(|it| !it.is_control()).take(TEXT_MAX).collect::<String>())
    };
    let mut facts = Map::new();
    if let Some(country) =
        text(&["/country/iso_code", "/registered_country/iso_code", "/country_code", "/country"])
    {
        facts.insert("country".to_owned(), country.into());
    }
    let number = entry.get("autonomous_system_number").and_then(Json::as_u64);
    let number = number.or_else(|| text(&["/asn"])?.trim_start_matches("AS").parse().ok());
    if let Some(number) = number {
        facts.insert("asn".to_owned(), json!(number));
    }
    if let Some(name) = text(&["/autonomous_system_organization", "/as_name", "/organization"]) {
        facts.insert("organisation".to_owned(), name.into());
    }
    facts
}

/// Bytes.
const LARGEST: u64 = 1 << 30;
/// Characters.
const TEXT_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// A string of the `MaxMind` DB file format, version 2.0, section "Data Field Format".
    fn string(text: &str) -> Vec<u8> {
        let size = u8::try_from(text.len()).unwrap();
        // From 29 on, the rest of the size is in a second byte.
        let mut bytes = if size < 29 { vec![0x40 | size] } else { vec![0x5d, size - 29] };
        bytes.extend(text.as_bytes());
        bytes
    }

    fn unsigned(kind: u8, value: u32) -> Vec<u8> {
        let significant: Vec<u8> = value.to_be_bytes().into_iter().skip_while(|it| *it == 0).collect();
        let size = u8::try_from(significant.len()).unwrap();
        // Types over 7 are told in a second byte.
        let mut bytes = if kind > 7 { vec![size, kind - 7] } else { vec![kind << 5 | size] };
        bytes.extend(significant);
        bytes
    }

    fn map(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = vec![0xe0 | u8::try_from(members.len()).unwrap()];
        for (name, value) in members {
            bytes.extend(string(name));
            bytes.extend(value);
        }
        bytes
    }

    /// A database that knows one thing of all IPv4 addresses from 128.0.0.0 on, and nothing of the others.
    fn database(country: &str, asn: u32) -> Vec<u8> {
        // One node of two 24-bit records: "nothing", and the first entry of the data.
        let mut bytes = vec![0, 0, 1, 0, 0, 1 + 16];
        bytes.extend([0; 16]);
        bytes.extend(map(&[
            ("country", map(&[("iso_code", string(country))])),
            ("autonomous_system_number", unsigned(6, asn)),
            ("autonomous_system_organization", string("Example Net\u{7}")),
        ]));
        bytes.extend(b"\xab\xcd\xefMaxMind.com");
        bytes.extend(map(&[
            ("node_count", unsigned(6, 1)),
            ("record_size", unsigned(5, 24)),
            ("ip_version", unsigned(5, 4)),
            ("database_type", string("Test")),
            ("languages", vec![0, 4]),
            ("binary_format_major_version", unsigned(5, 2)),
            ("binary_format_minor_version", unsigned(5, 0)),
            ("build_epoch", unsigned(9, 1_700_000_000)),
            ("description", map(&[("en", string("test"))])),
        ]));
        bytes
    }

    #[test]
    fn databases_tell_places_are_read_again_and_may_be_broken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.mmdb");
        fs::write(&path, database("NL", 64_500)).unwrap();
        let places = Places::new(vec![folder.path().join("absent.mmdb"), path.clone()]);
        let news = places.refresh();
        assert_eq!(news.len(), 1, "{news:?}");
        assert!(news[0].contains("absent.mmdb cannot be used: No such file"), "{news:?}");
        assert!(places.refresh().is_empty(), "told once");
        let about = |host: &str| Json::from(places.about(host.parse().unwrap()));
        assert_eq!(
            about("192.0.2.1"),
            json!({ "country": "NL", "asn": 64500, "organisation": "Example Net" })
        );
        assert_eq!(about("10.0.0.1"), json!({}));
        assert_eq!(about("2001:db8::1"), json!({}));

        let touch = |bytes: &[u8], second| {
            let file = fs::File::create(&path).unwrap();
            std::io::Write::write_all(&mut &file, bytes).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second)).unwrap();
        };
        touch(b"no database", 1);
        let news = places.refresh();
        assert_eq!(news.len(), 1, "{news:?}");
        assert!(news[0].contains("the one from before is still used"), "{news:?}");
        assert_eq!(about("192.0.2.1")["country"], "NL");
        touch(&database("DE", 64_501), 2);
        assert!(places.refresh().is_empty());
        assert_eq!(about("192.0.2.1")["country"], "DE");
    }

    #[test]
    fn no_damage_to_a_database_breaks_anything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.mmdb");
        let whole = database("NL", 64_500);
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                fs::write(&path, &bytes).unwrap();
                let places = Places::new(vec![path.clone()]);
                places.refresh();
                let _ = places.about("192.0.2.1".parse().unwrap());
            }
        }
    }

    #[test]
    fn entries_of_other_makers_are_understood() {
        let entry = json!({ "country": "NL", "asn": "AS64500", "as_name": "Example" });
        assert_eq!(
            Json::from(facts_of(&entry)),
            json!({ "country": "NL", "asn": 64500, "organisation": "Example" })
        );
    }
}
