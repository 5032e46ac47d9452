//! Splunk's event collector: confirmed only when it is indexed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use serin_tests::{Receiver, Reply, Request, Setup, eventually};

use super::{log_in, status};

const TOKEN: &str = "5b2d4bb2-0000-4000-8000-a1b2c3d4e5f6";

/// What the double was sent, and how it behaves.
#[derive(Debug, Default)]
struct Held {
    /// Each event in the order of arrival: identity and user.
    accepted: Vec<(String, String)>,
    /// Channel and number of each accepted request.
    requests: Vec<(String, u64)>,
    /// What was asked about and is said to be indexed; each is said once.
    told: BTreeSet<(String, u64)>,
    /// Whether the token has indexer acknowledgement.
    acknowledges: bool,
    /// Whether the indexers are done with what came.
    indexed: bool,
    /// How often it was asked how it is.
    health: usize,
    /// Whether it names the event that it refuses.
    names_spoiled: bool,
}

/// A collector: checks token, channel, compression and framing.
#[derive(Debug, Clone, Default)]
struct Collector(Arc<Mutex<Held>>);

impl Collector {
    fn new(acknowledges: bool) -> Self {
        Self(Arc::new(Mutex::new(Held {
            acknowledges,
            indexed: true,
            names_spoiled: true,
            ..Held::default()
        })))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap()
    }

    fn serve(&self) -> Receiver {
        let collector = self.clone();
        Receiver::start(move |request| collector.answer(request))
    }

    /// How often each user's event was accepted.
    fn users(&self) -> BTreeMap<String, usize> {
        let mut users = BTreeMap::new();
        for (_, user) in &self.held().accepted {
            *users.entry(user.clone()).or_default() += 1;
        }
        users
    }

    fn answer(&self, request: &Request) -> Reply {
        let reply = |status, body: Value| Reply::new(status, body.to_string());
        let mut held = self.held();
        let path = request.path.split('?').next().unwrap();
        if path == "/services/collector/health" {
            held.health += 1;
            return reply(200, json!({ "text": "HEC is healthy", "code": 17 }));
        }
        if request.header("authorization") != format!("Splunk {TOKEN}") {
            return reply(403, json!({ "text": "Invalid token", "code": 4 }));
        }
        let channel = request.header("x-splunk-request-channel").to_owned();
        if channel.len() != 36 {
            return reply(400, json!({ "text": "Data channel is missing", "code": 10 }));
        }
        match path {
            "/services/collector/event" => accept(&mut held, request, channel),
            "/services/collector/ack" => {
                assert!(request.path.ends_with(&format!("?channel={channel}")), "{}", request.path);
                acknowledge(&mut held, request, &channel)
            }
            _ => reply(404, json!({ "text": "not here" })),
        }
    }
}

fn accept(held: &mut Held, request: &Request, channel: String) -> Reply {
    let refused = |code: u32, text: &str, at: Option<usize>| {
        let mut body = json!({ "text": text, "code": code });
        if let Some(at) = at {
            body["invalid-event-number"] = json!(at);
        }
        Reply::new(400, body.to_string())
    };
    assert_eq!(request.header("content-encoding"), "gzip");
    let mut text = String::new();
    flate2::read::GzDecoder::new(request.body.as_slice()).read_to_string(&mut text).unwrap();
    assert!(text.len() <= 1024 * 1024);
    let events: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&text).into_iter().collect();
    let Ok(events) = events else { return refused(6, "Invalid data format", None) };
    for (at, event) in events.iter().enumerate() {
        if event.get("index").is_some_and(|it| it != "canaries") {
            return refused(7, "Incorrect index", Some(at));
        }
        if !event["time"].is_f64() || !event["fields"]["event_id"].is_string() || user(event) == "poison" {
            return refused(12, "Event field is required", held.names_spoiled.then_some(at));
        }
    }
    held.accepted.extend(
        events.iter().map(|it| (it["fields"]["event_id"].as_str().unwrap().to_owned(), user(it).to_owned())),
    );
    let number = held.requests.iter().filter(|it| it.0 == channel).count() as u64;
    held.requests.push((channel, number));
    let mut body = json!({ "text": "Success", "code": 0 });
    if held.acknowledges {
        body["ackId"] = json!(number);
    }
    Reply::new(200, body.to_string())
}

fn user(event: &Value) -> &str {
    event["event"]["logdata"]["USERNAME"].as_str().unwrap_or_default()
}

/// `true` is said once for each request, and only about this channel's.
fn acknowledge(held: &mut Held, request: &Request, channel: &str) -> Reply {
    let mut acks = json!({});
    for number in request.json()["acks"].as_array().unwrap() {
        let key = (channel.to_owned(), number.as_u64().unwrap());
        let known = held.requests.contains(&key) && held.indexed;
        acks[number.to_string()] = json!(known && held.told.insert(key));
    }
    Reply::new(200, json!({ "acks": acks }).to_string())
}

fn output(receiver: &Receiver) -> Value {
    json!({ "type": "splunk", "url": receiver.url(""), "token": TOKEN, "index": "canaries",
            "services": ["ftp"], "min_severity": "high", "ack_every": 0.2 })
}

#[test]
fn a_token_without_acknowledgement_confirms_what_it_accepts() {
    let collector = Collector::new(false);
    let receiver = collector.serve();
    let sensor = Setup::of(&["ftp"]).output("splunk", output(&receiver)).start();
    log_in(&sensor, 3);
    let all = [("user0".to_owned(), 1), ("user1".to_owned(), 1), ("user2".to_owned(), 1)];
    eventually("three events", || (collector.users() == BTreeMap::from(all.clone())).then_some(()));
}

#[test]
fn an_answer_that_is_cut_again_and_again_repeats_an_event_once() {
    let collector = Collector::new(false);
    let receiver = collector.serve();
    let takes = collector.clone();
    receiver.answer(move |request| {
        takes.answer(request);
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"text\":")
    });
    let sensor = Setup::of(&["ftp"]).output("splunk", output(&receiver)).start();
    log_in(&sensor, 1);
    eventually("the sensor to believe it", || (status(&sensor, "splunk")["sent"] == 1).then_some(()));
    let told = status(&sensor, "splunk")["receipt"].to_string();
    assert!(told.contains("the answer was cut"), "{told}");
    assert_eq!(collector.users(), BTreeMap::from([("user0".to_owned(), 2)]));
}

#[test]
fn events_count_as_delivered_when_they_are_indexed() {
    let collector = Collector::new(true);
    collector.held().indexed = false;
    let receiver = collector.serve();
    let sensor = Setup::of(&["ftp"]).output("splunk", output(&receiver)).start();
    log_in(&sensor, 2);
    eventually("two events accepted", || (collector.users().len() == 2).then_some(()));
    // Asked, and told that nothing is indexed; more is sent meanwhile.
    let asked = || receiver.seen().iter().filter(|it| it.path.contains("/ack")).count();
    eventually("a question", || (asked() >= 1).then_some(()));
    log_in(&sensor, 3);
    eventually("another event accepted", || (collector.users().len() == 3).then_some(()));
    let status = sensor.ask(&["outputs", "status", "--json"]).out;
    assert!(status.contains("\"sent\": 0"), "{status}");
    collector.held().indexed = true;
    eventually("the sensor knows it", || {
        let status = sensor.ask(&["outputs", "status", "--json"]).out;
        status.contains("\"sent\": 5").then_some(())
    });
    assert_eq!(collector.held().accepted.len(), 5, "and none was sent twice");
}

#[test]
fn what_is_never_indexed_is_sent_again() {
    let collector = Collector::new(true);
    collector.held().indexed = false;
    let receiver = collector.serve();
    let mut settings = output(&receiver);
    settings["ack_timeout"] = json!(0.5);
    let sensor = Setup::of(&["ftp"]).output("splunk", settings).start();
    log_in(&sensor, 1);
    eventually("the event again", || (collector.held().accepted.len() >= 2).then_some(()));
    let ids: BTreeSet<_> = collector.held().accepted.iter().map(|it| it.0.clone()).collect();
    assert_eq!(ids.len(), 1, "with the same identity: {ids:?}");
    // A restart of Splunk forgets channels.
    let forgetful = collector.clone();
    receiver.answer(move |request| {
        if request.path.contains("/ack") {
            return Reply::new(400, r#"{"text":"Invalid data channel","code":11}"#);
        }
        forgetful.answer(request)
    });
    let channels = || collector.held().requests.iter().map(|it| it.0.clone()).collect::<BTreeSet<_>>().len();
    eventually("the event in a channel of its own", || (channels() >= 2).then_some(()));
    collector.held().indexed = true;
    let well = collector.clone();
    receiver.answer(move |request| well.answer(request));
    eventually("the confirmation", || {
        let status = sensor.ask(&["outputs", "status", "--json"]).out;
        status.contains("\"sent\": 1").then_some(())
    });
}

#[test]
fn a_busy_server_a_wrong_token_and_a_wrong_index_keep_everything() {
    let collector = Collector::new(false);
    let receiver = collector.serve();
    let mut wrong_token = output(&receiver);
    wrong_token["token"] = json!("not-the-token");
    let mut wrong_index = output(&receiver);
    wrong_index["index"] = json!("elsewhere");
    let busy = Receiver::start(|_| Reply::new(503, r#"{"text":"Server is busy","code":9}"#));
    let sensor = Setup::of(&["ftp"])
        .output("token", wrong_token)
        .output("index", wrong_index)
        .output("busy", output(&busy))
        .start();
    log_in(&sensor, 2);
    let status = eventually("three reasons", || {
        let status = sensor.ask(&["outputs", "status", "--json"]).out;
        ["Invalid token", "Incorrect index", "Server is busy"]
            .iter()
            .all(|it| status.contains(it))
            .then_some(status)
    });
    assert!(!status.contains("not-the-token") && !status.contains("\"rejected\": 1"), "{status}");
    assert_eq!(collector.users().len(), 0);
    let well = collector.clone();
    busy.answer(move |request| well.answer(request));
    eventually("what was kept", || (collector.users().len() == 2).then_some(()));
    assert!(collector.held().health >= 1, "it asked how the server is before it sent everything");
}

#[test]
fn a_poison_event_is_found_with_and_without_its_number() {
    for names in [true, false] {
        let collector = Collector::new(true);
        collector.held().names_spoiled = names;
        let receiver = collector.serve();
        receiver.answer(|_| Reply::new(503, "{}"));
        let sensor = Setup::of(&["ftp"]).output("splunk", output(&receiver)).start();
        log_in(&sensor, 10);
        let mut talk = serin_tests::Talk::to(sensor.port("ftp"));
        talk.until("220 ");
        talk.say("USER poison\r\n");
        talk.until("331 ");
        talk.say("PASS x\r\n");
        talk.until("530 ");
        log_in(&sensor, 10);
        let well = collector.clone();
        receiver.answer(move |request| well.answer(request));
        eventually("twenty delivered and one dead letter", || {
            let status = sensor.ask(&["outputs", "status", "--json"]).out;
            (status.contains("\"rejected\": 1") && status.contains("\"sent\": 20")).then_some(())
        });
        assert_eq!(collector.held().accepted.len(), 20, "none twice");
    }
}

#[test]
fn a_crash_before_the_acknowledgement_loses_nothing() {
    let collector = Collector::new(true);
    collector.held().indexed = false;
    let receiver = collector.serve();
    let mut sensor = Setup::of(&["ftp"]).output("splunk", output(&receiver)).start();
    log_in(&sensor, 4);
    eventually("four events accepted", || (collector.users().len() == 4).then_some(()));
    // Splunk loses what it had not indexed, and so does the sensor what it knew.
    sensor.crash();
    collector.held().accepted.clear();
    collector.held().indexed = true;
    sensor.start();
    eventually("the same four again", || (collector.users().len() == 4).then_some(()));
    assert_eq!(collector.held().accepted.len(), 4);
}
