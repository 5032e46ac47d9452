//! Slack and Teams under the configuration of `OpenCanary`: its messages, one for each event.

use serde_json::json;
use serin_tests::{Receiver, Reply, Setup, eventually};

use super::log_in;

#[test]
fn opencanarys_handler_sends_every_event_as_before() {
    let slack = Receiver::start(|_| Reply::new(200, "ok"));
    let handlers = json!({ "slack": {
        "class": "opencanary.logger.SlackHandler", "webhook_url": slack.url("/services/T0/B0/hidden"),
    } });
    let setup = Setup::of(&["ftp"]);
    let log = setup.folder().join("log.json");
    let mut handlers = handlers;
    handlers["file"] = json!({ "class": "logging.FileHandler", "filename": log });
    let sensor =
        setup.with("logger", json!({ "class": "PyLogger", "kwargs": { "handlers": handlers } })).start();
    log_in(&sensor, 2);
    let seen = eventually("two messages", || Some(slack.seen()).filter(|it| it.len() == 2));
    assert_eq!(seen[0].path, "/services/T0/B0/hidden");
    assert_eq!(seen[0].header("content-type"), "application/json");
    let message = seen[1].json();
    let attachment = &message["attachments"][0];
    assert_eq!(attachment["pretext"], "OpenCanary Alert");
    let field = |title: &str| {
        let fields = attachment["fields"].as_array().unwrap();
        fields.iter().find(|it| it["title"] == title).unwrap()["value"].clone()
    };
    assert_eq!(field("logdata"), json!(r#"{"PASSWORD": "s3cret-pw", "USERNAME": "user1"}"#));
    assert_eq!((field("logtype"), field("src_host")), (json!(2000), json!("127.0.0.1")));
}

#[test]
fn teams_gets_opencanarys_card_under_its_configuration() {
    let teams = Receiver::start(|_| Reply::new(202, ""));
    let setup = Setup::of(&["ftp"]);
    let handlers = json!({
        "teams": { "class": "opencanary.logger.TeamsHandler", "webhook_url": teams.url("/workflows/hidden") },
        "file": { "class": "logging.FileHandler", "filename": setup.folder().join("log.json") },
    });
    let sensor =
        setup.with("logger", json!({ "class": "PyLogger", "kwargs": { "handlers": handlers } })).start();
    log_in(&sensor, 2);
    let seen = eventually("two messages", || Some(teams.seen()).filter(|it| it.len() == 2));
    assert_eq!(
        (seen[1].path.as_str(), seen[1].header("content-type")),
        ("/workflows/hidden", "application/json")
    );
    let message = seen[1].json();
    let card = &message["attachments"][0]["content"];
    assert_eq!(card["body"][0]["columns"][1]["items"][1]["text"], "OpenCanary Alert");
    let facts = card["body"][1]["facts"].as_array().unwrap();
    for (title, value) in
        [("logdata__username", "user1"), ("logdata__password", "s3cret-pw"), ("logtype", "2000")]
    {
        assert!(facts.contains(&json!({ "title": title, "value": value })), "{facts:?}");
    }
}
