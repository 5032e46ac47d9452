//! Kafka: librdkafka's mock cluster on a real port, read back by kcat.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use serin_tests::{Setup, client, eventually};

use super::{log_in, status};

/// A cluster of one broker in a Python process; killed when dropped.
struct Cluster {
    child: Child,
    address: String,
}

impl Cluster {
    fn start() -> Self {
        // The cluster lives as long as the producer that made it.
        const PROGRAM: &str = "
import sys
from confluent_kafka import Producer
producer = Producer({'bootstrap.servers': 'unused:1', 'test.mock.num.brokers': 1})
broker, = producer.list_topics(timeout=10).brokers.values()
print(f'{broker.host}:{broker.port}', flush=True)
sys.stdin.read()
";
        let mut child = Command::new("python3")
            .args(["-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3");
        let mut address = String::new();
        let out = child.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut address).expect("the address of the broker");
        assert!(address.contains(':'), "confluent-kafka is missing; ./test tools installs it");
        Self { child, address: address.trim().to_owned() }
    }

    /// Key, headers and value of each record of a topic, over all partitions.
    fn records(&self, topic: &str) -> Vec<(String, String, Value)> {
        let format = "%k|%h|%s\n";
        let read = client(
            "kcat",
            &["-b", &self.address, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", format],
        );
        let record = |line: &str| {
            let (key, rest) = line.split_once('|')?;
            let (headers, value) = rest.split_once('|')?;
            Some((key.to_owned(), headers.to_owned(), serde_json::from_str(value).ok()?))
        };
        read.out.lines().filter_map(record).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_event_is_a_record_with_its_source_as_key() {
    let cluster = Cluster::start();
    let settings = json!({ "type": "kafka", "servers": [cluster.address], "topic": "canary.{service}" });
    let sensor = Setup::of(&["ftp"]).output("lake", settings).start();
    log_in(&sensor, 5);
    let records = eventually("five logins in the topic", || {
        let found = cluster.records("canary.ftp");
        (found.iter().filter(|it| it.2["logtype"] == 2000).count() == 5).then_some(found)
    });
    let logins: Vec<_> = records.iter().filter(|it| it.2["logtype"] == 2000).collect();
    let users: Vec<_> = logins.iter().map(|it| it.2["logdata"]["USERNAME"].clone()).collect();
    assert_eq!(users, ["user0", "user1", "user2", "user3", "user4"], "one source, one partition: in order");
    for (key, headers, _) in logins {
        assert_eq!(key, "127.0.0.1");
        assert!(headers.contains("event_id=opencanary-1-"), "{headers}");
        assert!(
            headers.contains("logtype=2000") && headers.contains("content-type=application/json"),
            "{headers}"
        );
    }
    assert_eq!(status(&sensor, "lake")["rejected"], 0);
}

#[test]
fn a_cluster_that_is_not_there_yet_does_not_matter() {
    let cluster = Cluster::start();
    let address = cluster.address.clone();
    drop(cluster);
    let settings = json!({ "type": "kafka", "servers": [address], "services": ["ftp"] });
    let mut sensor = Setup::of(&["ftp"]).output("lake", settings).start();
    log_in(&sensor, 2);
    eventually("the output to notice", || (status(&sensor, "lake")["state"] == "backing-off").then_some(()));
    let cluster = Cluster::start();
    sensor.set("outputs.lake.servers", json!([cluster.address]));
    assert!(sensor.stop().success());
    sensor.start();
    eventually("both logins in the topic", || {
        let found = cluster.records("opencanary");
        (found.iter().filter(|it| it.2["logtype"] == 2000).count() == 2).then_some(())
    });
}
