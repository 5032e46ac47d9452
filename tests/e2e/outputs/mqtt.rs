//! MQTT: a real mosquitto, with a password file, and what its subscribers see.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use serin_tests::{Sensor, Setup, certificates, client, eventually, free_port};
use tempfile::TempDir;

use super::{log_in, status};

/// A broker that knows the user `canary` with the password `s3same`; killed when dropped.
struct Broker {
    folder: TempDir,
    port: u16,
    children: Vec<Child>,
}

impl Broker {
    fn start() -> Self {
        Self::with(|_| String::new())
    }

    /// With more lines about its listener, which may name files in its folder.
    fn with(more: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::Builder::new().prefix("serin-mqtt-").tempdir().expect("a folder");
        let port = free_port();
        let passwords = folder.path().join("passwords").display().to_string();
        let made = client("mosquitto_passwd", &["-b", "-c", &passwords, "canary", "s3same"]);
        assert_eq!(made.status, 0, "{made:?}");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\nuser root\n{}",
            more(folder.path())
        );
        fs::write(folder.path().join("mosquitto.conf"), text).expect("a file");
        let mut broker = Self { folder, port, children: Vec::new() };
        broker.run();
        broker
    }

    fn run(&mut self) {
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(self.folder.path().join("mosquitto.conf"));
        self.spawn(command.stdout(Stdio::null()));
        eventually("mosquitto to listen", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    fn spawn(&mut self, command: &mut Command) {
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        self.children.push(child.expect("a program that ./test tools installs"));
    }

    fn kill(&mut self) {
        for mut child in self.children.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// A subscriber to everything, whose messages [`Broker::messages`] shows.
    fn subscribe(&mut self) {
        let file = File::create(self.folder.path().join("messages")).expect("a file");
        let mut command = Command::new("mosquitto_sub");
        command.args(["-V", "mqttv5", "-h", "127.0.0.1", "-p", &self.port.to_string(), "-u", "canary"]);
        command.args(["-P", "s3same", "-q", "1", "-t", "#", "-F", "%t|%C|%P|%r|%p"]);
        let ca = self.folder.path().join("ca.pem");
        if ca.exists() {
            command.arg("--cafile").arg(ca);
        }
        self.spawn(command.stdout(file));
    }

    /// Topic, content type, user properties, whether it was retained, and payload of each.
    fn messages(&self) -> Vec<[String; 5]> {
        let text = fs::read_to_string(self.folder.path().join("messages")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let parts = |line: &str| {
            let mut parts = line.splitn(5, '|').map(str::to_owned);
            std::array::from_fn(|_| parts.next().unwrap_or_default())
        };
        whole.lines().map(parts).collect()
    }

    fn users(&self) -> Vec<String> {
        let bodies = self.messages().into_iter().filter_map(|it| serde_json::from_str::<Value>(&it[4]).ok());
        let logins = bodies.filter(|it| it["logtype"] == 2000);
        logins.map(|it| it["logdata"]["USERNAME"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn statuses(&self) -> Vec<String> {
        let topic = "opencanary/opencanary-1/status";
        self.messages().into_iter().filter(|it| it[0] == topic).map(|it| it[4].clone()).collect()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn sensor(broker: &Broker, password: &str) -> Sensor {
    let settings = json!({ "type": "mqtt", "server": format!("127.0.0.1:{}", broker.port),
        "user": "canary", "password": password });
    Setup::of(&["ftp"]).output("bus", settings).start()
}

#[test]
fn subscribers_see_each_event_with_its_id_and_whether_the_sensor_is_there() {
    let mut broker = Broker::start();
    let mut sensor = sensor(&broker, "s3same");
    broker.subscribe();
    eventually("the status to say online", || (broker.statuses() == ["online"]).then_some(()));
    log_in(&sensor, 3);
    eventually("three logins at the subscriber", || (broker.users().len() == 3).then_some(()));
    assert_eq!(broker.users(), ["user0", "user1", "user2"]);
    let messages = broker.messages();
    let login = messages.iter().find(|it| it[0] == "opencanary/opencanary-1/ftp/2000").expect("a login");
    assert_eq!((login[1].as_str(), login[3].as_str()), ("application/json", "0"), "not retained");
    let mut ids: Vec<_> = messages.iter().filter(|it| it[0].ends_with("/2000")).map(|it| &it[2]).collect();
    assert!(ids.iter().all(|it| it.starts_with("event_id:opencanary-1-")), "{ids:?}");
    ids.dedup();
    assert_eq!(ids.len(), 3);
    sensor.crash();
    eventually("the last will", || (broker.statuses().last()? == "offline").then_some(()));
    sensor.start();
    eventually("the status to say online again", || (broker.statuses().last()? == "online").then_some(()));
}

#[test]
fn a_broker_that_was_away_gets_everything_afterwards() {
    let mut broker = Broker::start();
    broker.kill();
    let sensor = sensor(&broker, "s3same");
    log_in(&sensor, 3);
    eventually("the output to notice", || (status(&sensor, "bus")["state"] == "backing-off").then_some(()));
    broker.run();
    broker.subscribe();
    eventually("three logins at the subscriber", || (broker.users().len() >= 3).then_some(()));
    assert_eq!(broker.users(), ["user0", "user1", "user2"]);
}

#[test]
fn a_wrong_password_waits_for_the_operator() {
    let mut broker = Broker::start();
    let mut sensor = sensor(&broker, "wr0ng-one");
    broker.subscribe();
    log_in(&sensor, 1);
    let said = eventually("the output to hold", || {
        let status = status(&sensor, "bus");
        (status["state"] == "hold").then(|| status["last_error"].as_str().unwrap_or_default().to_owned())
    });
    assert!(said.contains("NotAuthorized") || said.contains("BadUserNamePassword"), "{said}");
    assert!(!sensor.said().contains("wr0ng-one"), "{}", sensor.said());
    assert!(sensor.stop().success());
    sensor.set("outputs.bus.password", "s3same");
    sensor.start();
    eventually("the login at the subscriber", || (broker.users() == ["user0"]).then_some(()));
}

#[test]
fn over_tls_only_to_a_broker_that_proves_itself() {
    let mut broker = Broker::with(|folder| {
        certificates(folder);
        let file = |name: &str| folder.join(name).display().to_string();
        format!("certfile {}\nkeyfile {}\n", file("server.pem"), file("server.key"))
    });
    broker.subscribe();
    let file = |name: &str| broker.folder.path().join(name).display().to_string();
    let settings = |more: &Value| {
        let mut settings = json!({ "type": "mqtt", "server": format!("localhost:{}", broker.port), "tls": true,
            "user": "canary", "password": "s3same" });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    };
    let sensor = Setup::of(&["ftp"]).output("bus", settings(&json!({ "ca": file("ca.pem") }))).start();
    log_in(&sensor, 2);
    eventually("two logins at the subscriber", || (broker.users().len() == 2).then_some(()));
    let stranger = Setup::of(&["ftp"]).output("bus", settings(&json!({}))).start();
    log_in(&stranger, 1);
    let said = eventually("the output to hold", || {
        let status = status(&stranger, "bus");
        (status["state"] == "hold").then(|| status["last_error"].as_str().unwrap_or_default().to_owned())
    });
    assert!(said.contains("certificate"), "{said}");
    assert_eq!(broker.users(), ["user0", "user1"], "nothing was told to a stranger");
}
