//! Chats, push services and pagers: doubles that check what each of the receivers checks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use serin_tests::{Receiver, Reply, Request, Sensor, Setup, Talk, eventually};

use super::log_in;

/// What somebody might call himself.
const HOSTILE: &str = "@everyone <!channel> *b* ](http://x.example) <b>&amp; <users/all>";

fn hostile_log_in(sensor: &Sensor) {
    let mut talk = Talk::to(sensor.port("ftp"));
    talk.until("220 ");
    talk.say(format!("USER {HOSTILE}\r\n"));
    talk.until("331 ");
    talk.say("PASS never-to-be-told\r\n");
    talk.until("530 ");
}

/// Why a receiver refuses a request: its status and words.
type Refusal = (u16, &'static str);

/// A rule of a receiver.
fn must(holds: bool, refusal: Refusal) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(refusal) }
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What special characters a text has that no backslash disarms.
fn armed(text: &str) -> bool {
    let mut escaped = false;
    text.chars().any(|it| {
        let special = "*_[]()<>`|~#".contains(it) && !escaped;
        escaped = it == '\\' && !escaped;
        special
    })
}

fn attachments(body: &Value) -> Result<(), Refusal> {
    let all = list(body, "/attachments");
    must(!all.is_empty() || !text(body, "/text").is_empty(), (400, "no_text"))?;
    must(all.len() <= 20, (400, "too_many_attachments"))?;
    let colour = text(body, "/attachments/0/color");
    must(colour.len() == 7 && colour.starts_with('#'), (400, "invalid_attachments"))
}

fn markdown_attachments(body: &Value) -> Result<(), Refusal> {
    attachments(body)?;
    let mut texts = vec![text(body, "/attachments/0/text")];
    texts.extend(list(body, "/attachments/0/fields").iter().map(|it| text(it, "/value")));
    must(!texts.iter().any(|it| it.contains("@everyone") || armed(it)), (400, "somebody was called"))
}

fn slack(request: &Request, body: &Value) -> Result<(), Refusal> {
    must(request.path == "/services/T0/B0/hidden", (404, "no_service"))?;
    attachments(body)?;
    let called = ["<!", "<@", "<#", "<b>"].iter().any(|it| body.to_string().contains(it));
    must(!called && body.pointer("/attachments/0/mrkdwn_in") == Some(&json!([])), (400, "invalid_payload"))
}

fn discord(request: &Request, body: &Value) -> Result<(), Refusal> {
    must(request.path == "/api/webhooks/1/hidden?wait=true", (404, r#"{"code": 10015}"#))?;
    must(body.pointer("/allowed_mentions/parse") == Some(&json!([])), (400, "somebody was called"))?;
    let embeds = list(body, "/embeds");
    must((1..=10).contains(&embeds.len()), (400, "embeds"))?;
    let mut total = 0;
    let mut within = |value: &str, most: usize| {
        total += value.chars().count();
        must(!value.is_empty() && value.chars().count() <= most, (400, "BASE_TYPE_BAD_LENGTH"))
    };
    for embed in embeds {
        within(text(embed, "/title"), 256)?;
        within(text(embed, "/description"), 4096)?;
        within(text(embed, "/footer/text"), 2048)?;
        must(embed["color"].as_u64().is_some_and(|it| it < 1 << 24), (400, "color"))?;
        must(list(embed, "/fields").len() <= 25, (400, "fields"))?;
        for field in list(embed, "/fields") {
            within(text(field, "/name"), 256)?;
            within(text(field, "/value"), 1024)?;
            must(!armed(text(field, "/value")), (400, "armed"))?;
        }
        must(!armed(text(embed, "/description")), (400, "armed"))?;
    }
    must(total <= 6000, (400, "MAX_EMBED_SIZE_EXCEEDED"))
}

fn teams(request: &Request, body: &Value) -> Result<(), Refusal> {
    must(request.path == "/workflows/hidden?sig=x", (401, "DirectApiAuthorizationRequired"))?;
    must(request.body.len() <= 28 * 1024, (413, "too large"))?;
    must(text(body, "/type") == "message", (400, "no message"))?;
    let kind = text(body, "/attachments/0/contentType");
    must(kind == "application/vnd.microsoft.card.adaptive", (400, "no card"))?;
    let card = &body["attachments"][0]["content"];
    must(text(card, "/type") == "AdaptiveCard" && text(card, "/version") == "1.5", (400, "version"))?;
    for item in list(card, "/body") {
        let known = ["Container", "TextBlock", "FactSet"].contains(&text(item, "/type"));
        must(known && !armed(text(item, "/text")), (400, "an element"))?;
        must(!list(item, "/facts").iter().any(|it| armed(text(it, "/value"))), (400, "a fact"))?;
    }
    must(!request.text().contains("canary.tools"), (400, "a foreign image"))
}

fn telegram(request: &Request, body: &Value) -> Result<(), Refusal> {
    must(request.path == "/bot12:hidden/sendMessage", (401, r#"{"ok":false,"description":"Unauthorized"}"#))?;
    must(body["chat_id"] == "-100", (400, r#"{"ok":false,"description":"Bad Request: chat not found"}"#))?;
    let length = text(body, "/text").encode_utf16().count();
    must(
        (1..=4096).contains(&length),
        (400, r#"{"ok":false,"description":"Bad Request: message is too long"}"#),
    )?;
    must(body.get("parse_mode").is_none(), (400, r#"{"ok":false,"description":"can't parse entities"}"#))
}

fn ntfy(request: &Request, body: &Value) -> Result<(), Refusal> {
    must(request.header("authorization") == "Bearer hidden-token", (403, r#"{"code":40301}"#))?;
    must(request.path == "/" && text(body, "/topic") == "alerts", (404, "no topic"))?;
    must(text(body, "/message").len() <= 4096, (400, "too long"))?;
    must(body["priority"].as_u64().is_some_and(|it| (1..=5).contains(&it)), (400, r#"{"code":40007}"#))?;
    must(list(body, "/tags").iter().all(Value::is_string), (400, r#"{"code":40024}"#))
}

fn pushover(request: &Request, body: &Value) -> Result<(), Refusal> {
    must(request.path == "/1/messages.json", (404, "not found"))?;
    must(body["token"] == "hidden-app", (400, r#"{"token":"invalid","status":0}"#))?;
    must(body["user"] == "hidden-user", (400, r#"{"user":"invalid","status":0}"#))?;
    let length = text(body, "/message").chars().count();
    must((1..=1024).contains(&length), (400, r#"{"message":"invalid","status":0}"#))?;
    must(
        text(body, "/title").chars().count() <= 250 && body.get("html").is_none(),
        (400, r#"{"status":0}"#),
    )?;
    must(body["priority"].as_i64().is_some_and(|it| (-2..=1).contains(&it)), (400, r#"{"status":0}"#))
}

fn googlechat(request: &Request, body: &Value) -> Result<(), Refusal> {
    must(request.path == "/v1/spaces/A/messages?key=k&token=hidden", (401, "UNAUTHENTICATED"))?;
    must(request.body.len() <= 32_000 && body.get("text").is_none(), (400, "INVALID_ARGUMENT"))?;
    let widgets = list(body, "/cardsV2/0/card/sections/0/widgets");
    must((1..=100).contains(&widgets.len()), (400, "INVALID_ARGUMENT"))?;
    let texts =
        || widgets.iter().flat_map(|it| [text(it, "/textParagraph/text"), text(it, "/decoratedText/text")]);
    must(!texts().any(|it| it.contains("<b>") || it.contains("<users")), (400, "markup"))
}

fn pagerduty(request: &Request, body: &Value) -> Result<(), Refusal> {
    must(request.path == "/v2/enqueue", (404, "not found"))?;
    must(
        body["routing_key"] == "hidden-routing",
        (400, r#"{"status":"invalid event","errors":["routing key"]}"#),
    )?;
    let key = text(body, "/dedup_key");
    must((1..=255).contains(&key.len()) && request.body.len() < 512 * 1024, (400, "invalid event"))?;
    must(["trigger", "resolve"].contains(&text(body, "/event_action")), (400, "invalid event"))?;
    if body["event_action"] == "trigger" {
        let payload = &body["payload"];
        must((1..=1024).contains(&text(payload, "/summary").chars().count()), (400, "invalid event"))?;
        must(!text(payload, "/source").is_empty(), (400, "invalid event"))?;
        let known = ["critical", "error", "warning", "info"].contains(&text(payload, "/severity"));
        must(known, (400, "invalid event"))?;
    }
    Ok(())
}

/// One kind of receiver: the settings that lead to it, its rules, its yes, and its word for "too fast".
struct Kind {
    name: &'static str,
    settings: fn(&Receiver) -> Value,
    rules: fn(&Request, &Value) -> Result<(), Refusal>,
    yes: (u16, &'static str),
    too_fast: fn() -> Reply,
}

fn patience() -> Reply {
    Reply::new(429, "slow down").header("Retry-After", "1")
}

fn kinds() -> Vec<Kind> {
    chats().into_iter().chain(pagers()).collect()
}

/// What has a webhook for each channel.
fn chats() -> Vec<Kind> {
    fn at(receiver: &Receiver, path: &str) -> Value {
        json!({ "webhook_url": receiver.url(path) })
    }
    vec![
        Kind {
            name: "discord",
            settings: |it| at(it, "/api/webhooks/1/hidden"),
            rules: discord,
            yes: (200, r#"{"id": "1", "type": 0}"#),
            too_fast: || {
                Reply::new(
                    429,
                    r#"{"message": "You are being rate limited.", "retry_after": 1.05, "global": false}"#,
                )
            },
        },
        Kind {
            name: "googlechat",
            settings: |it| at(it, "/v1/spaces/A/messages?key=k&token=hidden"),
            rules: googlechat,
            yes: (200, r#"{"name": "spaces/A/messages/1"}"#),
            too_fast: patience,
        },
        Kind {
            name: "mattermost",
            settings: |it| at(it, "/hooks/hidden"),
            rules: |_, body| markdown_attachments(body),
            yes: (200, "ok"),
            too_fast: patience,
        },
        Kind {
            name: "rocketchat",
            settings: |it| at(it, "/hooks/1/hidden"),
            rules: |_, body| markdown_attachments(body),
            yes: (200, r#"{"success": true}"#),
            too_fast: patience,
        },
        Kind {
            name: "slack",
            settings: |it| at(it, "/services/T0/B0/hidden"),
            rules: slack,
            yes: (200, "ok"),
            too_fast: patience,
        },
        Kind {
            name: "teams",
            settings: |it| at(it, "/workflows/hidden?sig=x"),
            rules: teams,
            yes: (202, ""),
            too_fast: patience,
        },
    ]
}

/// What has one address for all, and a key.
fn pagers() -> Vec<Kind> {
    vec![
        Kind {
            name: "ntfy",
            settings: |it| json!({ "url": it.url(""), "topic": "alerts", "token": "hidden-token" }),
            rules: ntfy,
            yes: (200, r#"{"id": "xE73Iyuabi", "event": "message"}"#),
            too_fast: patience,
        },
        Kind {
            name: "pagerduty",
            settings: |it| json!({ "url": it.url(""), "routing_key": "hidden-routing" }),
            rules: pagerduty,
            yes: (202, r#"{"status": "success", "message": "Event processed", "dedup_key": "x"}"#),
            too_fast: patience,
        },
        Kind {
            name: "pushover",
            settings: |it| json!({ "url": it.url(""), "token": "hidden-app", "user": "hidden-user" }),
            rules: pushover,
            yes: (200, r#"{"status": 1, "request": "647d2300"}"#),
            too_fast: patience,
        },
        Kind {
            name: "telegram",
            settings: |it| json!({ "url": it.url(""), "token": "12:hidden", "chat": "-100" }),
            rules: telegram,
            yes: (200, r#"{"ok": true, "result": {}}"#),
            too_fast: || Reply::new(429, r#"{"ok": false, "parameters": {"retry_after": 1}}"#),
        },
    ]
}

/// What a receiver took and what it refused.
#[derive(Default)]
struct Account {
    taken: Vec<Value>,
    refused: Vec<String>,
}

/// A receiver with its rules; `faults` are answered first.
fn double(kind: &Kind, faults: Vec<Reply>) -> (Receiver, Arc<Mutex<Account>>) {
    let account = Arc::new(Mutex::new(Account::default()));
    let (kept, rules, yes, mut faults) = (account.clone(), kind.rules, kind.yes, faults.into_iter());
    let receiver = Receiver::start(move |request| {
        if let Some(fault) = faults.next() {
            return fault;
        }
        let mut kept = kept.lock().unwrap();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let json = must(
            request.method == "POST" && request.header("content-type").starts_with("application/json"),
            (415, "no JSON"),
        );
        match json.and_then(|()| rules(request, &body)) {
            Ok(()) => {
                kept.taken.push(body);
                Reply::new(yes.0, yes.1)
            }
            Err((status, why)) => {
                kept.refused.push(format!("{status} {why}: {}", request.text()));
                Reply::new(status, why)
            }
        }
    });
    (receiver, account)
}

type Doubles = BTreeMap<&'static str, (Receiver, Arc<Mutex<Account>>)>;

/// A sensor that tells every event to all of them, with the cards for people.
fn sensor_with(faults: impl Fn(&Kind) -> Vec<Reply>, more: &Value) -> (Sensor, Doubles) {
    let mut setup = Setup::of(&["ftp"]);
    let mut doubles = Doubles::new();
    for kind in kinds() {
        let (receiver, account) = double(&kind, faults(&kind));
        let mut settings = json!({ "type": kind.name, "send": "events" });
        for extra in [&(kind.settings)(&receiver), more] {
            settings.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        }
        setup = setup.output(&format!("to-{}", kind.name), settings);
        doubles.insert(kind.name, (receiver, account));
    }
    (setup.start(), doubles)
}

fn taken(doubles: &Doubles, name: &str, count: usize) -> Vec<Value> {
    let account = &doubles[name].1;
    eventually(&format!("{count} messages at {name}"), || {
        let account = account.lock().unwrap();
        assert!(account.refused.is_empty(), "{name} refused {:#?}", account.refused);
        (account.taken.len() >= count).then(|| account.taken.clone())
    })
}

#[test]
fn every_receiver_takes_its_card_and_nobody_is_called() {
    let (sensor, doubles) = sensor_with(|_| Vec::new(), &json!({}));
    hostile_log_in(&sensor);
    for name in doubles.keys() {
        let message = taken(&doubles, name, 1).remove(0).to_string();
        assert!(message.contains("everyone") && message.contains("FTP"), "{name}: {message}");
        assert!(!message.contains("never-to-be-told"), "{name} learned a password");
    }
    let status = sensor.ask(&["outputs", "status"]).out;
    assert!(!status.contains("hidden"), "a secret in {status}");
}

#[test]
fn each_is_waited_for_as_long_as_it_says() {
    let (sensor, doubles) = sensor_with(|kind| vec![(kind.too_fast)()], &json!({}));
    log_in(&sensor, 1);
    for (name, (receiver, _)) in &doubles {
        taken(&doubles, name, 1);
        let seen = receiver.seen();
        let waited = seen[1].at - seen[0].at;
        assert!(waited >= Duration::from_millis(950), "{name} was asked again after {waited:?}");
        assert_eq!(seen[0].body, seen[1].body, "{name}");
    }
}

#[test]
fn trouble_delays_a_message_and_loses_and_doubles_none() {
    let faults = |_: &Kind| {
        vec![
            Reply::cut(),
            Reply::new(404, "no such hook"),
            Reply::new(200, "<html>Sign in to the network</html>"),
        ]
    };
    let (sensor, doubles) = sensor_with(faults, &json!({ "timeout": 2 }));
    log_in(&sensor, 2);
    for (name, (receiver, account)) in &doubles {
        taken(&doubles, name, 2);
        let messages = &account.lock().unwrap().taken;
        assert_eq!(messages.len(), 2, "{name}");
        let both = messages.iter().map(ToString::to_string).collect::<String>();
        assert!(both.contains("user0") && both.contains("user1"), "{name}: {both}");
        assert_eq!(receiver.seen().len(), 5, "{name}");
    }
}

#[test]
fn what_does_not_answer_quite_like_itself_gets_each_message_once() {
    let answers = || {
        vec![
            Reply::new(200, ""),
            Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ok\":t"),
            Reply::new(200, "thanks"),
        ]
    };
    let (sensor, doubles) = sensor_with(|_| answers(), &json!({}));
    let status = |name: &str| super::status(&sensor, &format!("to-{name}"));
    log_in(&sensor, 3);
    for (name, (receiver, _)) in &doubles {
        eventually(name, || (status(name)["sent"] == 3).then_some(()));
        assert_eq!(receiver.seen().len(), 3, "{name}");
    }
    // With those success is more than a status.
    for name in ["slack", "telegram"] {
        let warning = status(name)["warning"].to_string();
        assert!(warning.contains("perhaps not every message arrives"), "{name}: {warning}");
    }
    log_in(&sensor, 1);
    taken(&doubles, "slack", 1);
    eventually("the doubt to end", || status("slack")["warning"].is_null().then_some(()));
}

#[test]
fn after_an_outage_a_handful_of_messages_tells_everything() {
    let kind = kinds().into_iter().find(|it| it.name == "telegram").unwrap();
    let (receiver, account) = double(&kind, Vec::new());
    receiver.answer(|_| Reply::new(503, "down"));
    let mut settings = json!({ "type": "telegram", "send": "events", "rate": 60 });
    settings.as_object_mut().unwrap().extend((kind.settings)(&receiver).as_object().unwrap().clone());
    let sensor = Setup::of(&["ftp"]).output("ops", settings).start();
    log_in(&sensor, 40);
    eventually("an attempt", || (!receiver.seen().is_empty()).then_some(()));
    let (rules, kept) = (kind.rules, account.clone());
    receiver.answer(move |request| {
        let body = request.json();
        if rules(request, &body).is_err() {
            return Reply::new(400, "no");
        }
        kept.lock().unwrap().taken.push(body);
        Reply::new(200, r#"{"ok": true}"#)
    });
    let told = || -> usize {
        let account = account.lock().unwrap();
        let texts = account.taken.iter().map(|it| text(it, "/text"));
        texts.map(|it| more_events(it).unwrap_or(1)).sum()
    };
    eventually("all of them", || (told() >= 40).then_some(()));
    let messages = account.lock().unwrap().taken.len();
    assert_eq!(told(), 40);
    assert!(messages <= 6, "{messages} messages");
}

/// Of how many events a digest tells.
fn more_events(text: &str) -> Option<usize> {
    let (before, _) = text.split_once(" more events").or_else(|| text.split_once(" events,"))?;
    before.rsplit(' ').next()?.parse().ok()
}
