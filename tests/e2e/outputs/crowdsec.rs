//! CrowdSec: its real local API takes our alerts. The program is unpacked and never installed, has no
//! account at its makers' and is told not to look for one.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use serin_event::{Record, kinds};
use serin_tests::{Setup, client, eventually, free_port, genuine};

use super::{status, store, stranger, strangers};

const PASSWORD: &str = "s3cret-of-machine";

/// A local API; ends when dropped.
struct LocalApi {
    port: u16,
    child: Child,
}

impl Drop for LocalApi {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl LocalApi {
    fn start(folder: &Path) -> Self {
        let port = free_port();
        let at = |name: &str| folder.join(name).display().to_string();
        fs::create_dir(folder.join("data")).unwrap();
        fs::create_dir(folder.join("hub")).unwrap();
        let conf = json!({
            "common": { "daemonize": false, "log_media": "stdout", "log_level": "info" },
            "config_paths": {
                "config_dir": folder, "data_dir": at("data"), "hub_dir": at("hub"),
                "index_path": at("hub/.index.json"), "simulation_path": at("simulation.yaml"),
            },
            "db_config": { "type": "sqlite", "db_path": at("data/crowdsec.db") },
            "api": {
                "client": { "credentials_path": at("client.yaml") },
                "server": { "listen_uri": format!("127.0.0.1:{port}"), "profiles_path": at("profiles.yaml") },
            },
            "prometheus": { "enabled": false },
        });
        let profile = json!({
            "name": "default", "filters": ["Alert.Remediation == true && Alert.GetScope() == \"Ip\""],
            "decisions": [{ "type": "ban", "duration": "4h" }], "on_success": "break",
        });
        for (name, text) in [
            ("config.yaml", conf.to_string()),
            ("profiles.yaml", profile.to_string()),
            ("hub/.index.json", "{}".to_owned()),
            ("simulation.yaml", "simulation: false".to_owned()),
            ("client.yaml", format!("url: http://127.0.0.1:{port}")),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        let (conf, added) = (at("config.yaml"), at("added.yaml"));
        let cscli = genuine().join("usr/bin/cscli").display().to_string();
        let made =
            client(&cscli, &["-c", &conf, "machines", "add", "serin", "--password", PASSWORD, "-f", &added]);
        assert_eq!(made.status, 0, "{}", made.words());
        let said = File::create(folder.join("said.txt")).unwrap();
        let child = Command::new(genuine().join("usr/bin/crowdsec"))
            .args(["-c", &conf, "-no-cs", "-no-capi"])
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        let api = Self { port, child };
        eventually("the local API to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
        api
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it tells of its alerts.
    fn alerts(&self) -> Vec<Value> {
        let login = json!({ "machine_id": "serin", "password": PASSWORD, "scenarios": [] }).to_string();
        let said = client("curl", &["-s", "-d", &login, &self.url("/v1/watchers/login")]).out;
        let said: Value = serde_json::from_str(&said).unwrap_or_default();
        let token = format!("Authorization: Bearer {}", said["token"].as_str().unwrap_or_default());
        let found = client("curl", &["-s", "-H", &token, &self.url("/v1/alerts")]).out;
        serde_json::from_str(&found).ok().and_then(|it: Value| it.as_array().cloned()).unwrap_or_default()
    }
}

fn settings(api: &LocalApi, password: &str) -> Value {
    json!({
        "type": "crowdsec", "url": api.url("/"), "machine_id": "serin", "password": password, "start": "beginning",
    })
}

fn logins() -> Vec<Record> {
    let sources = [stranger(1), stranger(1), stranger(2), "10.0.0.7".to_owned()];
    sources.iter().map(|it| strangers(&kinds::SSH_LOGIN, it, "10.0.0.1")).collect()
}

#[test]
fn the_local_api_blocks_whom_we_saw() {
    let folder = tempfile::TempDir::new().unwrap();
    let api = LocalApi::start(folder.path());
    let setup = Setup::of(&["ftp"]);
    let mut records = logins();
    records.extend(
        [&kinds::PORTSCAN_SYN, &kinds::SNMP_REQUEST].map(|it| strangers(it, &stranger(3), "10.0.0.1")),
    );
    records.push(Record { honeycred: Some(true), ..strangers(&kinds::SSH_LOGIN, &stranger(4), "10.0.0.1") });
    store(&setup, records);
    let sensor = setup.output("lapi", settings(&api, PASSWORD)).start();
    // Asked once: its database is locked by whoever else writes.
    eventually("the delivery", || Some(()).filter(|()| status(&sensor, "lapi")["sent"] == 3));
    let alerts = api.alerts();
    assert_eq!(alerts.len(), 2, "{alerts:?}");
    let count = |number: usize| {
        let alert = alerts.iter().find(|it| it["source"]["value"] == stranger(number)).unwrap();
        assert_eq!((&alert["scenario"], &alert["machine_id"]), (&json!("serin/ssh-login"), &json!("serin")));
        assert_eq!(alert["decisions"][0]["type"], "ban");
        assert_eq!(alert["events_count"], json!(alert["events"].as_array().unwrap().len()));
        alert["events_count"].as_u64().unwrap()
    };
    assert_eq!((count(1), count(2)), (2, 1));
    let all = json!(alerts).to_string();
    for secret in ["10.0.0.", "pa\\\"ss", "root", "opencanary-1\""] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    let tested = sensor.ask(&["outputs", "test", "lapi", "--config", &sensor.config().display().to_string()]);
    assert!(tested.words().contains("taken by the local API"), "{}", tested.words());
    assert_eq!(api.alerts().len(), 2, "a test blocks nobody");
    assert!(!sensor.said().contains(PASSWORD));
}

#[test]
fn a_wrong_password_is_held() {
    let folder = tempfile::TempDir::new().unwrap();
    let api = LocalApi::start(folder.path());
    let setup = Setup::of(&["ftp"]);
    store(&setup, logins());
    let sensor = setup.output("lapi", settings(&api, "not-the-password")).start();
    let status = eventually("a hold", || Some(status(&sensor, "lapi")).filter(|it| it["state"] == "hold"));
    assert_eq!((&status["sent"], &status["rejected"]), (&json!(0), &json!(0)));
    assert!(status["last_error"].as_str().unwrap().starts_with("HTTP 40"), "{status}");
    assert_eq!(api.alerts().len(), 0);
}
