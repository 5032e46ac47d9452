//! Slack: cards for people, and OpenCanary's messages under its configuration.

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
