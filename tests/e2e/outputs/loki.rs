//! Grafana Loki: lines in few streams, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use serin_tests::{Receiver, Reply, Request, Setup, eventually};

use super::log_in;

type Labels = BTreeMap<String, String>;
/// Time and line of each entry.
type Entries = BTreeSet<(u64, String)>;

/// A log store: checks tenant and password, bounds labels, refuses what is out of order within one
/// push, and stores equal entries once.
#[derive(Debug, Clone, Default)]
struct Store(Arc<Mutex<BTreeMap<Labels, Entries>>>);

impl Store {
    fn serve(&self) -> Receiver {
        let store = self.clone();
        Receiver::start(move |request| store.answer(request))
    }

    fn users(&self) -> Vec<String> {
        let streams = self.0.lock().unwrap();
        let lines = streams.values().flatten().map(|it| serde_json::from_str::<Value>(&it.1).unwrap());
        let mut users: Vec<_> =
            lines.filter_map(|it| it["logdata"]["USERNAME"].as_str().map(str::to_owned)).collect();
        users.sort();
        users
    }

    fn answer(&self, request: &Request) -> Reply {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/loki/api/v1/push"));
        // canary:loki-pw
        if request.header("authorization") != "Basic Y2FuYXJ5Omxva2ktcHc=" {
            return Reply::new(401, "invalid authentication credentials");
        }
        if request.header("x-scope-orgid") != "team-7" {
            return Reply::new(401, "no org id");
        }
        let mut text = String::new();
        flate2::read::GzDecoder::new(request.body.as_slice()).read_to_string(&mut text).unwrap();
        let Ok(body) = serde_json::from_str::<Value>(&text) else { return Reply::new(400, "parse error") };
        for stream in body["streams"].as_array().unwrap() {
            if let Err(refusal) = self.take(stream) {
                return Reply::new(400, refusal);
            }
        }
        Reply::new(204, "")
    }

    fn take(&self, stream: &Value) -> Result<(), String> {
        const LABELS_MAX: usize = 15;
        let labels: Labels = serde_json::from_value(stream["stream"].clone()).map_err(|it| it.to_string())?;
        if labels.is_empty() || labels.len() > LABELS_MAX {
            return Err(format!("stream has {} label names; limit {LABELS_MAX}", labels.len()));
        }
        let mut newest = 0;
        let mut entries = Vec::new();
        for value in stream["values"].as_array().unwrap() {
            let time: u64 = value[0].as_str().and_then(|it| it.parse().ok()).ok_or("no nanoseconds")?;
            let line = value[1].as_str().ok_or("no line")?;
            if time < newest {
                return Err("entry out of order".to_owned());
            }
            if line.contains("poison") {
                return Err("line too long".to_owned());
            }
            if value.get(2).is_some() {
                return Err("stream includes structured metadata, but this feature is disallowed".to_owned());
            }
            newest = time;
            entries.push((time, line.to_owned()));
        }
        self.0.lock().unwrap().entry(labels).or_default().extend(entries);
        Ok(())
    }
}

fn output(receiver: &Receiver) -> Value {
    json!({ "type": "loki", "url": receiver.url(""), "tenant": "team-7", "user": "canary",
            "password": "loki-pw", "labels": ["env=test"], "services": ["ftp"], "min_severity": "high" })
}

#[test]
fn lines_arrive_in_streams_of_few_labels() {
    let store = Store::default();
    let receiver = store.serve();
    receiver.answer(|_| Reply::new(429, "slow down").header("Retry-After", "0"));
    let mut sensor = Setup::of(&["ftp"]).output("loki", output(&receiver)).start();
    log_in(&sensor, 3);
    eventually("a push that was put off", || (!receiver.seen().is_empty()).then_some(()));
    // Stored, and the answer lost: what comes again is the same entry.
    let lossy = store.clone();
    receiver.answer(move |request| {
        lossy.answer(request);
        Reply::cut()
    });
    eventually("lines whose answer was lost", || (store.users().len() == 3).then_some(()));
    sensor.crash();
    let well = store.clone();
    receiver.answer(move |request| well.answer(request));
    sensor.start();
    log_in(&sensor, 1);
    eventually("all lines", || (store.users() == ["user0", "user0", "user1", "user2"]).then_some(()));
    let streams = store.0.lock().unwrap();
    let labels: Vec<_> = streams.keys().collect();
    assert_eq!(labels.len(), 1, "{labels:?}");
    assert_eq!(labels[0].keys().collect::<Vec<_>>(), ["env", "job", "node", "service", "severity"]);
    let line: Value = serde_json::from_str(&streams.values().next().unwrap().first().unwrap().1).unwrap();
    assert_eq!((&line["logtype"], &line["logdata"]["PASSWORD"]), (&json!(2000), &json!("s3cret-pw")));
}

#[test]
fn refusals_are_a_dead_letter_or_a_reason_to_wait() {
    let store = Store::default();
    let receiver = store.serve();
    let mut wrong = output(&receiver);
    wrong["password"] = json!("wrong-pw");
    let mut metadata = output(&receiver);
    metadata["structured_metadata"] = json!(true);
    let sensor = Setup::of(&["ftp"])
        .output("loki", output(&receiver))
        .output("wrong", wrong)
        .output("metadata", metadata)
        .start();
    log_in(&sensor, 2);
    let mut talk = serin_tests::Talk::to(sensor.port("ftp"));
    talk.until("220 ");
    talk.say("USER poison\r\n");
    talk.until("331 ");
    talk.say("PASS x\r\n");
    talk.until("530 ");
    log_in(&sensor, 2);
    eventually("all but the poison", || (store.users().len() == 4).then_some(()));
    let status = eventually("what became of the rest", || {
        let status = sensor.ask(&["outputs", "status", "--json"]).out;
        ["\"rejected\": 1", "invalid authentication", "set structured_metadata = false"]
            .iter()
            .all(|it| status.contains(it))
            .then_some(status)
    });
    assert!(!status.contains("wrong-pw"), "{status}");
}
