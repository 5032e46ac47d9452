//! Elasticsearch and OpenSearch: every document once, through outages, crashes and poison.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use serde_json::{Value, json};
use serin_tests::{Receiver, Reply, Request, Setup, client, eventually};

use super::log_in;

/// What the double holds, and how it is to misbehave.
#[derive(Debug, Default)]
struct Shelf {
    documents: BTreeMap<String, Value>,
    duplicates: usize,
    templates: Vec<(String, Value)>,
    /// Documents of these users get this status the first time.
    once: Vec<(&'static str, u16)>,
}

/// A search engine: checks credentials, framing and types, stores each `_id` once. Two clients of
/// others are content with it: see the test about referees.
#[derive(Debug, Clone, Default)]
struct Search(Arc<Mutex<Shelf>>);

const PASSWORD: &str = "elastic-pw";

impl Search {
    fn held(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.0.lock().unwrap()
    }

    fn users(&self) -> Vec<String> {
        let held = self.held();
        let name = |it: &Value| it.pointer("/user/name").and_then(Value::as_str).map(str::to_owned);
        let mut users: Vec<_> = held.documents.values().filter_map(name).collect();
        users.sort();
        users
    }

    fn answer(&self, request: &Request) -> Reply {
        let type_of_answer = if request.header("content-type").contains("compatible-with=9") {
            "application/vnd.elasticsearch+json;compatible-with=9"
        } else {
            "application/json"
        };
        let reply = |status, body: Value| {
            Reply::new(status, body.to_string())
                .header("X-Elastic-Product", "Elasticsearch")
                .header("Content-Type", type_of_answer)
        };
        let expected = base64::engine::general_purpose::STANDARD.encode(format!("serin:{PASSWORD}"));
        if request.header("authorization") != format!("Basic {expected}") {
            let reason = "unable to authenticate user [serin]";
            return reply(401, json!({ "error": { "type": "security_exception", "reason": reason } }));
        }
        let path = request.path.split('?').next().unwrap();
        match (request.method.as_str(), path) {
            ("GET", "/") => reply(200, json!({ "version": { "number": "9.1.0" }, "tagline": "double" })),
            ("POST" | "PUT", "/_bulk") => match self.bulk(&body(request)) {
                Ok(answer) => reply(200, answer),
                Err(reason) => reply(400, json!({ "error": { "reason": reason } })),
            },
            ("PUT", path) if path.starts_with("/_index_template/") => {
                let template = serde_json::from_slice(&body(request)).unwrap();
                self.held().templates.push((path.to_owned(), template));
                reply(200, json!({ "acknowledged": true }))
            }
            _ => reply(404, json!({ "error": "no handler" })),
        }
    }

    fn bulk(&self, body: &[u8]) -> Result<Value, &'static str> {
        let text = std::str::from_utf8(body).map_err(|_| "not UTF-8")?;
        if !text.ends_with('\n') {
            return Err("The bulk request must be terminated by a newline [\\n]");
        }
        let lines: Vec<_> = text.lines().collect();
        let mut items = Vec::new();
        for pair in lines.chunks(2) {
            let [action, document] = pair else { return Err("an action without a document") };
            let action: Value = serde_json::from_str(action).map_err(|_| "Malformed action")?;
            let document: Value = serde_json::from_str(document).map_err(|_| "Malformed document")?;
            let action = action.get("create").ok_or("only create goes into a data stream")?;
            items.push(json!({ "create": self.store(action["_id"].as_str().ok_or("no _id")?, document) }));
        }
        Ok(json!({ "took": 1, "errors": true, "items": items }))
    }

    fn store(&self, id: &str, document: Value) -> Value {
        let mut held = self.held();
        let failed = |status, kind| json!({ "_id": id, "status": status, "error": { "type": kind, "reason": "said so" } });
        let user = document.pointer("/user/name").and_then(Value::as_str).unwrap_or_default();
        if let Some(at) = held.once.iter().position(|it| it.0 == user) {
            let (_, status) = held.once.remove(at);
            return failed(status, "es_rejected_execution_exception");
        }
        let address = |it: &Value| it.as_str().is_some_and(|it| it.parse::<std::net::IpAddr>().is_ok());
        let typed = document["@timestamp"].is_string()
            && document.pointer("/source/ip").is_none_or(address)
            && document.pointer("/source/port").is_none_or(Value::is_u64);
        if !typed || user == "poison" {
            return failed(400, "document_parsing_exception");
        }
        if held.documents.contains_key(id) {
            held.duplicates += 1;
            return failed(409, "version_conflict_engine_exception");
        }
        held.documents.insert(id.to_owned(), document);
        json!({ "_index": "logs", "_id": id, "status": 201 })
    }
}

fn body(request: &Request) -> Vec<u8> {
    if request.header("content-encoding") != "gzip" {
        return request.body.clone();
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(request.body.as_slice()).read_to_end(&mut plain).unwrap();
    plain
}

fn serve(search: &Search) -> Receiver {
    let search = search.clone();
    Receiver::start(move |request| search.answer(request))
}

fn output(url: &str) -> Value {
    json!({ "type": "elastic", "url": url, "user": "serin", "password": PASSWORD, "template": true,
            "services": ["ftp"] })
}

#[test]
fn each_event_becomes_one_document() {
    let search = Search::default();
    search.held().once = vec![("user1", 429)];
    let receiver = serve(&search);
    let sensor = Setup::of(&["ftp"]).output("search", output(&receiver.url(""))).start();
    log_in(&sensor, 3);
    eventually("three documents", || (search.users() == ["user0", "user1", "user2"]).then_some(()));
    let held = search.held();
    assert_eq!(held.duplicates, 0, "only what was refused came again");
    let (name, template) = &held.templates[0];
    assert_eq!(name, "/_index_template/logs-opencanary.events-default-serin");
    assert_eq!(template["index_patterns"], json!(["logs-opencanary.events-default"]));
    let (id, document) = held.documents.iter().find(|it| it.1["user"]["name"] == "user2").unwrap();
    assert!(id.starts_with("opencanary-1-"), "{id}");
    assert_eq!(document["event"]["id"], json!(id));
    assert_eq!(document["opencanary"]["logdata"]["password"], "s3cret-pw");
    assert_eq!(document["event"]["provider"], "LOG_FTP_LOGIN_ATTEMPT");
}

/// The clients of Elasticsearch and of OpenSearch insist on what a genuine server does; what they
/// store goes onto the same shelf.
#[test]
fn referees_take_the_double_for_genuine() {
    let search = Search::default();
    let receiver = serve(&search);
    for (module, class) in [("elasticsearch", "Elasticsearch"), ("opensearchpy", "OpenSearch")] {
        let login = if module == "elasticsearch" { "basic_auth" } else { "http_auth" };
        let script = format!(
            "from {module} import {class}, helpers\n\
             client = {class}('{}', {login}=('serin', '{PASSWORD}'))\n\
             action = {{'_op_type': 'create', '_index': 'logs', '_id': '{module}',\n\
                       '_source': {{'@timestamp': '2026-11-22T00:00:00Z', 'user': {{'name': '{module}'}}}}}}\n\
             print(helpers.bulk(client, [action]))\n\
             print(helpers.bulk(client, [action], raise_on_error=False)[1][0]['create']['status'])\n",
            receiver.url("")
        );
        let outcome = client("python3", &["-c", &script]);
        assert_eq!(outcome.out, "(1, [])\n409\n", "{outcome:?}; ./test e2e runs this with the right python3");
    }
    assert_eq!(search.users(), ["elasticsearch", "opensearchpy"]);
}

#[test]
fn a_wrong_password_keeps_everything_and_says_so() {
    let search = Search::default();
    let receiver = serve(&search);
    let mut settings = output(&receiver.url(""));
    settings["password"] = json!("wrong-password");
    let sensor = Setup::of(&["ftp"]).output("search", settings).start();
    log_in(&sensor, 1);
    let said = eventually("a status that tells of it", || {
        Some(sensor.ask(&["outputs", "status", "--json"]).out).filter(|it| it.contains("unable to auth"))
    });
    assert!(said.contains("hold") && !said.contains("wrong-password"), "{said}");
    assert_eq!(search.users(), [""; 0]);
}

#[test]
fn an_outage_and_a_crash_lose_and_double_nothing() {
    let search = Search::default();
    let receiver = serve(&search);
    let mut sensor = Setup::of(&["ftp"]).output("search", output(&receiver.url(""))).start();
    log_in(&sensor, 2);
    eventually("the first documents", || (search.users().len() == 2).then_some(()));
    // Stored, and the answer lost: the crash finds the cursor behind.
    let lossy = search.clone();
    receiver.answer(move |request| {
        lossy.answer(request);
        Reply::cut()
    });
    log_in(&sensor, 3);
    eventually("documents whose answers were lost", || (search.users().len() >= 4).then_some(()));
    sensor.crash();
    receiver.answer(|_| Reply::new(503, "starting"));
    sensor.start();
    log_in(&sensor, 2);
    let again = search.clone();
    receiver.answer(move |request| again.answer(request));
    let expected = ["user0", "user0", "user0", "user1", "user1", "user1", "user2"];
    eventually("all seven", || (search.users() == expected).then_some(()));
    eventually("the duplicates are known as such", || (search.held().duplicates > 0).then_some(()));
    assert_eq!(search.users(), expected, "and no document twice");
}

#[test]
fn a_poison_event_among_a_thousand_is_the_only_one_put_aside() {
    let search = Search::default();
    let receiver = serve(&search);
    receiver.answer(|_| Reply::new(503, "not yet"));
    let sensor = Setup::of(&["ftp"]).output("search", output(&receiver.url(""))).start();
    log_in(&sensor, 500);
    let mut talk = serin_tests::Talk::to(sensor.port("ftp"));
    talk.until("220 ");
    talk.say("USER poison\r\n");
    talk.until("331 ");
    talk.say("PASS x\r\n");
    talk.until("530 ");
    log_in(&sensor, 499);
    let again = search.clone();
    receiver.answer(move |request| again.answer(request));
    eventually("999 documents", || (search.users().len() == 999).then_some(()));
    let status = eventually("one dead letter", || {
        let status = sensor.ask(&["outputs", "status", "--json"]).out;
        status.contains("\"rejected\": 1").then_some(status)
    });
    assert!(!status.contains("poison"), "{status}");
}
