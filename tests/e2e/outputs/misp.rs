//! MISP: one event a day, an attribute for each source, sightings. The double knows its events,
//! attributes and sightings by their ids, and refuses in the words of the real one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use serin_event::{Record, Timestamp, kinds};
use serin_tests::{Receiver, Reply, Request, Sensor, Setup, eventually};

use super::{status, store, store_at, stranger, strangers};

const KEY: &str = "Zq3xW8cV5bN1mK7jH4gF9dS2aP6oI0uY3tR8eWqA";
const TARGET: &str = "192.88.99.250";
/// Between an answer and the next request.
const SPACING: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Kept {
    /// By UUID.
    events: BTreeMap<String, Value>,
    /// By event and value.
    attributes: BTreeMap<(String, String), Value>,
    sightings: Vec<Value>,
    /// What was wrong with requests.
    refused: Vec<String>,
}

struct Misp {
    receiver: Receiver,
    kept: Arc<Mutex<Kept>>,
}

impl Misp {
    fn start() -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let serving = kept.clone();
        let receiver = Receiver::start(move |request| answer(request, &mut serving.lock().unwrap()));
        Self { receiver, kept }
    }

    fn settings(&self) -> Value {
        json!({ "type": "misp", "url": self.receiver.url("/"), "apikey": KEY, "start": "beginning" })
    }

    /// The numbers of events, attributes and sightings.
    fn counts(&self) -> (usize, usize, usize) {
        let kept = self.kept.lock().unwrap();
        (kept.events.len(), kept.attributes.len(), kept.sightings.len())
    }

    fn values(&self) -> Vec<String> {
        self.kept.lock().unwrap().attributes.keys().map(|it| it.1.clone()).collect()
    }

    fn asked(&self, path: &str) -> usize {
        self.receiver.seen().iter().filter(|it| it.path.starts_with(path)).count()
    }

    #[track_caller]
    fn assert_manners(&self) {
        assert_eq!(self.kept.lock().unwrap().refused, Vec::<String>::new());
        for request in self.receiver.seen() {
            let all = format!("{} {}", request.path, request.text());
            for secret in [KEY, "root", "pa\\\"ss", "10.0.0.", TARGET] {
                assert!(!all.contains(secret), "{secret} left: {all}");
            }
        }
    }
}

fn failed(status: u16, name: &str, errors: &Value) -> Reply {
    Reply::new(status, json!({ "saved": false, "name": name, "message": name, "errors": errors }).to_string())
}

fn answer(request: &Request, kept: &mut Kept) -> Reply {
    if request.header("authorization") != KEY {
        let text = "Authentication failed. Please make sure you pass the API key of an API enabled user.";
        return Reply::new(403, json!({ "name": text, "message": text, "url": request.path }).to_string());
    }
    if request.header("accept") != "application/json" {
        return Reply::new(200, "<!DOCTYPE html><title>MISP</title>");
    }
    if request.method == "GET" && request.path == "/users/view/me" {
        return Reply::new(200, json!({ "User": { "id": "2", "email": "sensor@example.org" } }).to_string());
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    if request.method != "POST" || request.header("content-type") != "application/json" || !body.is_object() {
        kept.refused.push(format!("{} {}", request.method, request.path));
        return Reply::new(405, "");
    }
    match request.path.as_str() {
        "/events/add" => add_event(&body["Event"], kept),
        "/sightings/add" => add_sighting(body, kept),
        path => match path.strip_prefix("/attributes/add/") {
            Some(event) => add_attribute(event, &body, kept),
            None => Reply::new(404, json!({ "name": "Not Found" }).to_string()),
        },
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// Whether it is a UUID of version 5.
fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|it| it.len()).collect();
    lengths == [8, 4, 4, 4, 12]
        && text.chars().all(|it| it == '-' || it.is_ascii_hexdigit())
        && parts[2].starts_with('5')
        && parts[3].starts_with(['8', '9', 'a', 'b'])
}

fn add_event(event: &Value, kept: &mut Kept) -> Reply {
    let uuid = text(event, "uuid").to_owned();
    let date: Vec<&str> = text(event, "date").split('-').collect();
    let numbers =
        ["distribution", "threat_level_id", "analysis"].map(|it| text(event, it).parse::<u8>().is_ok());
    let tagged = event["Tag"].as_array().is_some_and(|it| it.iter().all(|it| it["name"].is_string()));
    let whole = is_uuid(&uuid) && date.len() == 3 && numbers == [true; 3] && tagged;
    if !whole || !text(event, "info").starts_with("Serin opencanary-1 20") {
        kept.refused.push(event.to_string());
        return failed(403, "Could not add Event", &json!({ "info": ["Info cannot be empty."] }));
    }
    if kept.events.contains_key(&uuid) {
        let text = "Event already exists, if you would like to edit it, use the url in the location header.";
        return Reply::new(404, json!({ "name": text, "message": text, "url": "/events/add" }).to_string());
    }
    kept.events.insert(uuid, event.clone());
    Reply::new(200, json!({ "Event": event }).to_string())
}

fn add_attribute(event: &str, attribute: &Value, kept: &mut Kept) -> Reply {
    let known: Vec<&str> = attribute.as_object().unwrap().keys().map(String::as_str).collect();
    let wanted = ["category", "comment", "first_seen", "last_seen", "to_ids", "type", "uuid", "value"];
    let value = text(attribute, "value").to_owned();
    let right = (text(attribute, "type"), text(attribute, "category")) == ("ip-src", "Network activity");
    if known != wanted
        || !right
        || value.parse::<std::net::IpAddr>().is_err()
        || !is_uuid(text(attribute, "uuid"))
    {
        kept.refused.push(attribute.to_string());
        return failed(
            403,
            "Could not add Attribute",
            &json!({ "value": ["Value not in the right type/format."] }),
        );
    }
    if !kept.events.contains_key(event) {
        return Reply::new(404, json!({ "name": "Invalid event", "message": "Invalid event" }).to_string());
    }
    let place = (event.to_owned(), value);
    if kept.attributes.contains_key(&place) {
        let text = "A similar attribute already exists for this event.";
        return failed(403, "Could not add Attribute", &json!({ "value": [text] }));
    }
    kept.attributes.insert(place, attribute.clone());
    Reply::new(200, json!({ "Attribute": attribute }).to_string())
}

fn add_sighting(sighting: Value, kept: &mut Kept) -> Reply {
    if text(&sighting, "type") != "0" || text(&sighting, "source") != "opencanary-1" {
        kept.refused.push(sighting.to_string());
    }
    if !kept.attributes.keys().any(|it| it.1 == text(&sighting, "value")) {
        let why = json!("No valid attributes found that match the criteria.");
        return failed(403, "Could not add Sighting", &why);
    }
    kept.sightings.push(sighting);
    Reply::new(
        200,
        json!({ "saved": true, "success": true, "name": "1 sighting successfully added." }).to_string(),
    )
}

fn logins(count: usize, source: &str) -> Vec<Record> {
    // Of one moment, so that midnight makes no second day of it.
    static MOMENT: OnceLock<Timestamp> = OnceLock::new();
    let login = strangers(&kinds::SSH_LOGIN, source, TARGET);
    let time = *MOMENT.get_or_init(|| login.time);
    vec![Record { time, ..login }; count]
}

fn reporting(records: Vec<Record>, settings: Value) -> Sensor {
    let setup = Setup::of(&["ftp"]);
    store(&setup, records);
    setup.output("misp", settings).start()
}

#[test]
fn a_source_is_one_attribute_of_the_day_whatever_happens_to_the_sensor() {
    let misp = Misp::start();
    let mut records = logins(20, &stranger(1));
    records.extend(logins(3, "10.0.0.7"));
    records.extend(logins(3, &stranger(8)).into_iter().map(|it| Record { honeycred: Some(true), ..it }));
    records
        .extend([&kinds::PORTSCAN_SYN, &kinds::SNMP_REQUEST].map(|it| strangers(it, &stranger(9), TARGET)));
    records.extend(logins(1, &stranger(2)));
    let mut sensor = reporting(records, misp.settings());
    eventually("two attributes", || Some(()).filter(|()| misp.counts() == (1, 2, 0)));
    let receipt = eventually("a receipt", || {
        let receipt = status(&sensor, "misp")["receipt"].as_str()?.to_owned();
        receipt.contains("2 attributes").then_some(receipt)
    });
    assert_eq!(receipt, "MISP took 2 attributes and 0 sightings");
    let config = sensor.config().display().to_string();
    let tested = sensor.ask(&["outputs", "test", "misp", "--config", &config]).words();
    assert!(tested.contains("accepted by MISP"), "{tested}");

    sensor.stop();
    store_at(sensor.folder(), [logins(5, &stranger(1)), logins(1, &stranger(3))].concat());
    sensor.start();
    eventually("a third attribute", || Some(()).filter(|()| misp.counts() == (1, 3, 0)));
    assert_eq!(misp.values(), [1, 2, 3].map(stranger));
    assert_eq!((misp.asked("/events/add"), misp.asked("/attributes/add/")), (1, 3));
    let posts: Vec<_> = misp.receiver.seen().into_iter().filter(|it| it.method == "POST").collect();
    let spaced = posts[..3].windows(2).all(|it| it[1].at.duration_since(it[0].at) >= SPACING);
    assert!(spaced, "{:?}", posts.iter().map(|it| it.at).collect::<Vec<_>>());
    misp.assert_manners();
    assert!(!sensor.said().contains(KEY));
}

#[test]
fn who_comes_again_is_sighted_and_what_was_deleted_is_made_again() {
    let misp = Misp::start();
    let mut settings = misp.settings();
    settings["sighting_every"] = json!(0);
    let mut sensor = reporting(logins(2, &stranger(1)), settings);
    eventually("a sighting", || Some(()).filter(|()| misp.counts() == (1, 1, 1)));
    sensor.stop();
    *misp.kept.lock().unwrap() = Kept::default();
    store_at(sensor.folder(), logins(1, &stranger(1)));
    sensor.start();
    eventually("the event and the attribute again", || Some(()).filter(|()| misp.counts() == (1, 1, 0)));
    eventually("the end of trouble", || Some(()).filter(|()| status(&sensor, "misp")["state"] == "ok"));
    misp.assert_manners();
}

#[test]
fn a_wrong_key_is_held() {
    let misp = Misp::start();
    let mut settings = misp.settings();
    settings["apikey"] = json!("wrong-key");
    let sensor = reporting(logins(1, &stranger(1)), settings);
    let status = eventually("a hold", || Some(status(&sensor, "misp")).filter(|it| it["state"] == "hold"));
    assert!(status["last_error"].as_str().unwrap().contains("Authentication failed"), "{status}");
    assert_eq!((misp.counts(), &status["sent"]), ((0, 0, 0), &json!(0)));
}
