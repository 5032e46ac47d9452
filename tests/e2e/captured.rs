//! Lines that OpenCanary 0.9.9 wrote, and ours for the same visit: the same keys in the same order,
//! the same types, the same texts. Only addresses, ports and times may differ, and what stands here
//! as a correction of OpenCanary's.

use std::collections::BTreeSet;

use serin_tests::{Event, Sensor, Setup, Talk, client};

/// Puts this event's times and ports into a captured line.
fn with_times_and_ports_of(event: &Event, captured: &str) -> String {
    let mut wanted = captured.to_owned();
    for key in ["local_time", "local_time_adjusted", "utc_time"] {
        let ours = event.json[key].as_str().expect("a time");
        assert_eq!(ours.len(), "2026-11-21 21:36:31.777389".len(), "{ours}");
        wanted = replaced(&wanted, &format!("\"{key}\": \""), "\"", ours);
    }
    for key in ["src_port", "dst_port"] {
        if event.json[key] != -1 {
            wanted = replaced(&wanted, &format!("\"{key}\": "), ",", &event.json[key].to_string());
        }
    }
    wanted
}

fn replaced(text: &str, opening: &str, closing: &str, value: &str) -> String {
    let (before, after) = text.split_once(opening).expect("the captured line has this key");
    let (_, after) = after.split_once(closing).expect("the captured value ends");
    format!("{before}{opening}{value}{closing}{after}")
}

/// The first event of this kind is the captured line.
#[track_caller]
fn same(sensor: &Sensor, logtype: u64, captured: &str) {
    let event = &sensor.wait_for(logtype, 1)[0];
    assert_eq!(event.line, with_times_and_ports_of(event, captured));
    assert_eq!(event.json["dst_host"], "127.0.0.1");
}

#[test]
fn the_sensors_own_lines() {
    let sensor = Setup::of(&["ftp", "git", "telnet"]).start();
    let lines = sensor.lines();
    let captured = r#"{"dst_host": "", "dst_port": -1, "local_time": "T", "local_time_adjusted": "T", "logdata": {"msg": {"logdata": "Added service from class CanaryFTP in opencanary.modules.ftp to fake"}}, "logtype": 1001, "node_id": "opencanary-1", "src_host": "", "src_port": -1, "utc_time": "T"}"#;
    let ftp = lines.iter().find(|it| it.line.contains("CanaryFTP")).expect("a line about FTP");
    assert_eq!(ftp.line, with_times_and_ports_of(ftp, captured));
    let texts: Vec<_> = lines
        .iter()
        .filter(|it| it.logtype() == 1001)
        .map(|it| it.json["logdata"]["msg"]["logdata"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        texts,
        [
            "Added service from class CanaryFTP in opencanary.modules.ftp to fake",
            "Added service from class CanaryGit in opencanary.modules.git to fake",
            "Added service from class Telnet in opencanary.modules.telnet to fake",
            "Canary running!!!",
        ]
    );
    let running = lines.last().expect("a line");
    let captured = r#"{"dst_host": "", "dst_port": -1, "local_time": "T", "local_time_adjusted": "T", "logdata": {"msg": {"logdata": "Canary running!!!"}}, "logtype": 1001, "node_id": "opencanary-1", "src_host": "", "src_port": -1, "utc_time": "T"}"#;
    assert_eq!(running.line, with_times_and_ports_of(running, captured));
}

#[test]
fn ftp_lines() {
    let sensor = Setup::of(&["ftp"]).with("ftp.log_auth_attempt_initiated", true).start();
    let mut talk = Talk::to(sensor.port("ftp"));
    // What OpenCanary greets with when its file does not say.
    talk.until("220 FTP Ready.\r\n");
    talk.say("USER admin\r\n");
    talk.until("331 ");
    talk.say("PASS s3cret\r\n");
    talk.until("530 ");
    same(
        &sensor,
        2000,
        r#"{"dst_host": "127.0.0.1", "dst_port": 21021, "local_time": "2026-11-21 21:36:31.777389", "local_time_adjusted": "2026-11-21 21:36:31.777406", "logdata": {"PASSWORD": "s3cret", "USERNAME": "admin"}, "logtype": 2000, "node_id": "opencanary-1", "src_host": "127.0.0.1", "src_port": 42350, "utc_time": "2026-11-21 21:36:31.777402"}"#,
    );
    same(
        &sensor,
        2001,
        r#"{"dst_host": "127.0.0.1", "dst_port": 21021, "local_time": "2026-11-21 21:36:31.777101", "local_time_adjusted": "2026-11-21 21:36:31.777136", "logdata": {}, "logtype": 2001, "node_id": "opencanary-1", "src_host": "127.0.0.1", "src_port": 42350, "utc_time": "2026-11-21 21:36:31.777130"}"#,
    );
    let order: Vec<_> = sensor.events().iter().map(Event::logtype).collect();
    assert_eq!(order, [2001, 2000]);
    assert_eq!(sensor.events()[0].json["src_port"], talk.port());
}

#[test]
fn http_lines() {
    let sensor = Setup::of(&["http"])
        .with("http.skin", "nasLogin")
        .with("http.log_unimplemented_method_requests", true)
        .with("http.log_redirect_request", true)
        .start();
    let base = format!("http://127.0.0.1:{}", sensor.port("http"));
    let page = format!("{base}/index.html");
    let root = format!("{base}/");
    let visit = |arguments: &[&str]| {
        let who = ["-sS", "-A", "curl/8", "-H", "Host: nas.local"];
        let outcome = client("curl", &[&who[..], arguments].concat());
        assert_eq!(outcome.status, 0, "{outcome:?}");
    };
    visit(&[&page]);
    visit(&["-d", "username=admin&password=p%26w%C3%A9x", &page]);
    visit(&["-X", "PUT", &page]);
    visit(&[&root]);
    same(
        &sensor,
        3000,
        r#"{"dst_host": "127.0.0.1", "dst_port": 21080, "local_time": "2026-11-21 21:38:02.097375", "local_time_adjusted": "2026-11-21 21:38:02.097403", "logdata": {"HOSTNAME": "nas.local", "PATH": "/index.html", "SKIN": "nasLogin", "USERAGENT": "curl/8"}, "logtype": 3000, "node_id": "opencanary-1", "src_host": "127.0.0.1", "src_port": 34862, "utc_time": "2026-11-21 21:38:02.097398"}"#,
    );
    same(
        &sensor,
        3001,
        r#"{"dst_host": "127.0.0.1", "dst_port": 21080, "local_time": "2026-11-21 21:38:05.628615", "local_time_adjusted": "2026-11-21 21:38:05.628642", "logdata": {"HOSTNAME": "nas.local", "PASSWORD": "p&w\u00e9x", "PATH": "/index.html", "SKIN": "nasLogin", "USERAGENT": "curl/8", "USERNAME": "admin"}, "logtype": 3001, "node_id": "opencanary-1", "src_host": "127.0.0.1", "src_port": 34922, "utc_time": "2026-11-21 21:38:05.628637"}"#,
    );
    same(
        &sensor,
        3002,
        r#"{"dst_host": "127.0.0.1", "dst_port": 21080, "local_time": "2026-11-21 21:38:08.905207", "local_time_adjusted": "2026-11-21 21:38:08.905236", "logdata": {"HOSTNAME": "nas.local", "PATH": "/index.html", "REQUEST_TYPE": "PUT", "SKIN": "nasLogin", "USERAGENT": "curl/8"}, "logtype": 3002, "node_id": "opencanary-1", "src_host": "127.0.0.1", "src_port": 34976, "utc_time": "2026-11-21 21:38:08.905230"}"#,
    );
    same(
        &sensor,
        3003,
        r#"{"dst_host": "127.0.0.1", "dst_port": 21080, "local_time": "2026-11-21 21:38:01.435742", "local_time_adjusted": "2026-11-21 21:38:01.435773", "logdata": {"HOSTNAME": "nas.local", "PATH": "/", "USERAGENT": "curl/8"}, "logtype": 3003, "node_id": "opencanary-1", "src_host": "127.0.0.1", "src_port": 34852, "utc_time": "2026-11-21 21:38:01.435767"}"#,
    );
}

#[test]
fn https_line() {
    let sensor = Setup::of(&["https"]).with("https.skin", "nasLogin").start();
    let page = format!("https://127.0.0.1:{}/index.html", sensor.port("https"));
    let form = "username=admin&password=pass1";
    let outcome = client("curl", &["-sSk", "-A", "curl/8", "-H", "Host: nas.local", "-d", form, &page]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    same(
        &sensor,
        3001,
        r#"{"dst_host": "127.0.0.1", "dst_port": 21443, "local_time": "2026-11-21 21:39:01.830940", "local_time_adjusted": "2026-11-21 21:39:01.830968", "logdata": {"HOSTNAME": "nas.local", "PASSWORD": "pass1", "PATH": "/index.html", "SKIN": "nasLogin", "USERAGENT": "curl/8", "USERNAME": "admin"}, "logtype": 3001, "node_id": "opencanary-1", "src_host": "127.0.0.1", "src_port": 51938, "utc_time": "2026-11-21 21:39:01.830963"}"#,
    );
}

#[test]
fn telnet_lines() {
    let sensor = Setup::of(&["telnet"])
        .with("telnet.log_tcp_connection", true)
        .with("telnet.honeycreds", serde_json::json!([{ "username": "admin", "password": "admin1" }]))
        .start();
    let mut talk = Talk::to(sensor.port("telnet"));
    talk.until("sername: ");
    talk.say("admin\r\n");
    talk.until("assword: ");
    talk.say("admin1\r\n");
    // A client that answers no option is answered all the same; OpenCanary falls silent here.
    talk.until("sername: ");
    same(
        &sensor,
        6001,
        r#"{"dst_host": "127.0.0.1", "dst_port": 21023, "honeycred": true, "local_time": "2026-11-21 21:36:50.000940", "local_time_adjusted": "2026-11-21 21:36:50.000985", "logdata": {"PASSWORD": "admin1", "USERNAME": "admin"}, "logtype": 6001, "node_id": "opencanary-1", "src_host": "127.0.0.1", "src_port": 58860, "utc_time": "2026-11-21 21:36:50.000979"}"#,
    );
    same(
        &sensor,
        6002,
        r#"{"dst_host": "127.0.0.1", "dst_port": 21023, "local_time": "2026-11-21 21:36:44.850367", "local_time_adjusted": "2026-11-21 21:36:44.850401", "logdata": {}, "logtype": 6002, "node_id": "opencanary-1", "src_host": "127.0.0.1", "src_port": 58852, "utc_time": "2026-11-21 21:36:44.850395"}"#,
    );
}

#[test]
fn honeycreds_say_no_as_well() {
    // With a user name in the entry, OpenCanary's FTP never matches: corrected.
    let bait = serde_json::json!([{ "username": "admin", "password": "hunter2" }]);
    let sensor = Setup::of(&["ftp"]).with("ftp.honeycreds", bait).start();
    for password in ["hunter2", "other"] {
        let url = format!("ftp://admin:{password}@127.0.0.1:{}/", sensor.port("ftp"));
        assert_eq!(client("curl", &["-sS", &url]).status, 67);
    }
    let events = sensor.wait_for(2000, 2);
    let marks: BTreeSet<_> = events
        .iter()
        .map(|it| (it.json["logdata"]["PASSWORD"].to_string(), it.json["honeycred"].to_string()))
        .collect();
    let wanted = [("\"hunter2\"", "true"), ("\"other\"", "false")];
    assert_eq!(marks, wanted.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect());
}

#[test]
fn proxy_line() {
    let sensor = Setup::of(&["httpproxy"]).start();
    let mut talk = Talk::to(sensor.port("httpproxy"));
    talk.say("GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nProxy-Authorization: Basic !!!\r\n\r\n");
    talk.until("HTTP/1.1 407 ");
    // Corrected: which method and address were asked for stands in the line.
    same(
        &sensor,
        7001,
        r#"{"dst_host": "127.0.0.1", "dst_port": 21088, "local_time": "2026-11-21 21:39:06.310123", "local_time_adjusted": "2026-11-21 21:39:06.310152", "logdata": {"METHOD": "GET", "PASSWORD": "", "URL": "http://a.example/", "USERNAME": "Invalid auth-token submitted"}, "logtype": 7001, "node_id": "opencanary-1", "src_host": "127.0.0.1", "src_port": 50408, "utc_time": "2026-11-21 21:39:06.310147"}"#,
    );
}

#[test]
fn git_line() {
    let sensor = Setup::of(&["git"]).start();
    let mut talk = Talk::to(sensor.port("git"));
    talk.say(b"003dgit-upload-pack /project.git\0host=example.com\0\0version=2\0");
    let answer = talk.rest().expect("a genuine daemon hangs up");
    assert_eq!(answer, b"003eERR access denied or repository not exported: /project.git");
    // Corrected: the host ends where it ends.
    same(
        &sensor,
        16001,
        r#"{"dst_host": "127.0.0.1", "dst_port": 21418, "local_time": "2026-11-21 21:37:04.279470", "local_time_adjusted": "2026-11-21 21:37:04.279501", "logdata": {"HOST": "example.com", "REPO": "project.git"}, "logtype": 16001, "node_id": "opencanary-1", "src_host": "127.0.0.1", "src_port": 47098, "utc_time": "2026-11-21 21:37:04.279496"}"#,
    );
}

#[test]
fn banner_lines() {
    let plain = Setup::of(&["tcpbanner"]).with("tcpbanner_1.initbanner", "Welcome\\r\\n").start();
    Talk::to(plain.port("tcpbanner")).until("Welcome\r\n");
    same(
        &plain,
        18001,
        r#"{"dst_host": "127.0.0.1", "dst_port": 21801, "local_time": "2026-11-21 21:42:12.532507", "local_time_adjusted": "2026-11-21 21:42:12.532540", "logdata": {"BANNER_ID": "1", "DATA": "b'Welcome\\r\\n'", "FUNCTION": "CONNECTION_MADE"}, "logtype": 18001, "node_id": "opencanary-1", "src_host": "127.0.0.1", "src_port": 46526, "utc_time": "2026-11-21 21:42:12.532536"}"#,
    );

    let port = serin_tests::free_port();
    let kept = Setup::of(&["tcpbanner"])
        .with("tcpbanner_4.enabled", true)
        .with("tcpbanner_4.port", port)
        .with("tcpbanner_4.initbanner", "ka\\n")
        .with("tcpbanner_4.datareceivedbanner", "ok\\n")
        .with("tcpbanner_4.keep_alive.enabled", true)
        .with("tcpbanner_4.keep_alive_secret", "s3cret")
        .start();
    let mut talk = Talk::to(port);
    talk.until("ka\n");
    talk.say("anything\n");
    talk.until("ok\n");
    talk.say("the s3cret is");
    talk.until("ok\n");
    same(
        &kept,
        18002,
        r#"{"dst_host": "127.0.0.1", "dst_port": 21804, "local_time": "2026-11-21 21:42:18.923595", "local_time_adjusted": "2026-11-21 21:42:18.923631", "logdata": {"BANNER_ID": "4", "DATA": "b'ka\\n'", "FUNCTION": "CONNECTION_MADE"}, "logtype": 18002, "node_id": "opencanary-1", "src_host": "127.0.0.1", "src_port": 57094, "utc_time": "2026-11-21 21:42:18.923626"}"#,
    );
    same(
        &kept,
        18003,
        r#"{"dst_host": "127.0.0.1", "dst_port": 21804, "local_time": "2026-11-21 21:42:19.729004", "local_time_adjusted": "2026-11-21 21:42:19.729042", "logdata": {"BANNER_ID": "4", "DATA": "the s3cret is", "FUNCTION": "DATA_RECEIVED", "SECRET_STRING": "s3cret"}, "logtype": 18003, "node_id": "opencanary-1", "src_host": "127.0.0.1", "src_port": 57094, "utc_time": "2026-11-21 21:42:19.729037"}"#,
    );
    same(
        &kept,
        18004,
        r#"{"dst_host": "127.0.0.1", "dst_port": 21804, "local_time": "2026-11-21 21:42:19.327861", "local_time_adjusted": "2026-11-21 21:42:19.327898", "logdata": {"BANNER_ID": "4", "DATA": "anything", "FUNCTION": "DATA_RECEIVED"}, "logtype": 18004, "node_id": "opencanary-1", "src_host": "127.0.0.1", "src_port": 57094, "utc_time": "2026-11-21 21:42:19.327894"}"#,
    );
}

#[test]
fn the_hosts_zone_shows_in_one_key_only() {
    let sensor = Setup::of(&["ftp"]).env("TZ", "America/New_York").start();
    let line = sensor.lines().pop().expect("a line");
    let hour = |key: &str| {
        let text = line.json[key].as_str().expect("a time");
        text[11..13].parse::<u32>().expect("an hour")
    };
    assert_eq!(line.json["local_time"], line.json["utc_time"]);
    let behind = (24 + hour("utc_time") - hour("local_time_adjusted")) % 24;
    assert!(behind == 4 || behind == 5, "{}", line.line);
}
