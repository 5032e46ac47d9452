//! OpenTelemetry logs, judged by the project's own definition of the messages.

use std::io::Read as _;

use serde_json::{Value, json};
use serin_tests::{Receiver, Reply, Request, Setup, client_in, eventually};

use super::log_in;

fn body(request: &Request) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(request.body.as_slice()).read_to_string(&mut text).unwrap();
    text
}

fn output(receiver: &Receiver) -> Value {
    json!({ "type": "otlp", "url": receiver.url(""), "header": "X-Api-Key: otlp-secret",
            "services": ["ftp"], "min_severity": "high" })
}

#[test]
fn the_projects_own_parser_reads_every_record() {
    let collector = Receiver::start(|request| {
        let known = request.header("x-api-key") == "otlp-secret" && request.path == "/v1/logs";
        if known { Reply::new(200, "{}") } else { Reply::new(401, "who are you") }
    });
    let sensor = Setup::of(&["ftp"]).output("otlp", output(&collector)).start();
    log_in(&sensor, 3);
    let count =
        || collector.seen().iter().map(|it| body(it).matches("timeUnixNano\"").count()).sum::<usize>();
    eventually("three records", || (count() == 3).then_some(()));
    // Unknown names, numbers where text belongs: the strict parser refuses them all.
    let script = "import sys\n\
        from google.protobuf import json_format\n\
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest\n\
        for line in sys.stdin:\n\
        \x20   request = json_format.Parse(line, ExportLogsServiceRequest(), ignore_unknown_fields=False)\n\
        \x20   for resource in request.resource_logs:\n\
        \x20       names = {it.key: it.value.string_value for it in resource.resource.attributes}\n\
        \x20       for record in resource.scope_logs[0].log_records:\n\
        \x20           about = {it.key: it.value for it in record.attributes}\n\
        \x20           print(names['service.name'], names['service.instance.id'], record.event_name,\n\
        \x20                 record.severity_number, about['user.name'].string_value,\n\
        \x20                 about['opencanary.logtype'].int_value, record.time_unix_nano > 10 ** 18)\n";
    let input: String = collector.seen().iter().map(|it| body(it) + "\n").collect();
    let outcome = client_in(sensor.folder(), "python3", &["-c", script], &input);
    let line = |user| format!("serin opencanary-1 opencanary.ftp.login 14 {user} 2000 True\n");
    let expected = ["user0", "user1", "user2"].map(line).concat();
    assert_eq!(outcome.out, expected, "{outcome:?}; ./test e2e runs this with the right python3");
}

#[test]
fn a_partial_success_is_told_and_an_outage_survived() {
    let collector = Receiver::start(|_| Reply::new(503, "starting"));
    let mut sensor = Setup::of(&["ftp"]).output("otlp", output(&collector)).start();
    log_in(&sensor, 2);
    eventually("an attempt", || (!collector.seen().is_empty()).then_some(()));
    sensor.crash();
    sensor.start();
    let before = collector.seen().len();
    collector.answer(|_| {
        let partial = json!({ "rejectedLogRecords": "1", "errorMessage": "one was too old" });
        Reply::new(200, json!({ "partialSuccess": partial }).to_string())
    });
    eventually("a status that tells of it", || {
        let status = sensor.ask(&["outputs", "status", "--json"]).out;
        status.contains("one was too old").then_some(())
    });
    let seen = collector.seen();
    let delivered: String = seen.iter().skip(before).map(body).collect();
    for user in ["user0", "user1"] {
        let name = format!("\"stringValue\": \"{user}\"");
        assert!(delivered.contains(&name), "{user} is missing in {delivered}");
    }
}
