//! Kafka: one record for each event, confirmed by all replicas that are in step.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use rskafka::BackoffConfig;
use rskafka::chrono::DateTime;
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record as Message;
use rustls::ClientConfig;
use serin_event::Record;
use serin_services::conf::{Complaint, Conf};
use serin_services::{choices, settings};
use tokio::time::timeout;

use super::{Address, Patience};
use crate::outputs::delivery::Names;
use crate::outputs::encode::{self, Format};
use crate::outputs::secret::Secret;
use crate::outputs::transport::{CONNECT, stream, tls};
use crate::outputs::{Batch, Carries, Delivery, Item, Later, Outcome, Output, OutputType, Passwords};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "kafka",
    about: "Records in a Kafka topic, confirmed by all replicas",
    keys: &[Settings::KEYS, encode::KEYS, tls::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Keep,
    batch: Batch { events: 1000, bytes: 900 * 1024, linger: Duration::from_millis(100) },
    build,
};

choices! {
    /// How a user logs in.
    Mechanism { Plain = "plain", ScramSha256 = "scram-sha-256", ScramSha512 = "scram-sha-512" }
    wants "plain, scram-sha-256 or scram-sha-512"
}

settings! { "kafka" {
    /// Some brokers of the cluster: HOST:PORT each, 9092 unless said otherwise.
    servers: Names = Names(Vec::new());
    /// Whether to speak TLS.
    tls: bool = false;
    /// The topic; {service} in it stands for the event's service.
    topic: String = "opencanary".to_owned();
    /// The name of the user, where the brokers want one (SASL).
    user: String = String::new();
    /// The user's password.
    password: Secret = Secret::default();
    /// How the user logs in: plain, scram-sha-256 or scram-sha-512.
    mechanism: Mechanism = Mechanism::Plain;
} }

/// The largest answer of a broker: it names all topics with their partitions.
const ANSWER_MAX: usize = 8 * 1024 * 1024;
/// The library tries again by itself, for that long: leaders move in such a time.
const STUBBORN: BackoffConfig = BackoffConfig {
    init_backoff: Duration::from_millis(50),
    max_backoff: Duration::from_millis(500),
    base: 2.0,
    deadline: Some(Duration::from_secs(2)),
};
/// More partitions than this of one topic are not used.
const PARTITIONS_MAX: usize = 4096;

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let mut complaints = Vec::new();
    let servers: Vec<_> = settings
        .servers
        .0
        .iter()
        .filter_map(|it| {
            Address::read("kafka.servers", it, 9092).map_err(|complaint| complaints.push(complaint)).ok()
        })
        .collect();
    let mut complain = |key: &str, text: &str| {
        complaints.push(Complaint { key: format!("kafka.{key}"), text: text.to_owned() });
    };
    if settings.servers.0.is_empty() {
        complain("servers", "wants at least one broker: HOST:PORT");
    }
    // The characters that Kafka allows, and its longest name.
    let odd = |it: char| !(it.is_ascii_alphanumeric() || "._-".contains(it));
    let topic = settings.topic.replace("{service}", "service");
    if topic.is_empty() || topic.len() > 200 || topic.contains(odd) {
        complain("topic", "wants letters, digits, dots, dashes and underscores");
    }
    let password = settings.password.reveal_or_complain("kafka.password", &mut complaints);
    let tls_config = tls::config(conf).map_err(|it| complaints.extend(it)).ok();
    let format = Format::of(conf).map_err(|it| complaints.extend(it)).ok();
    let (Some(tls_config), Some(format), true) = (tls_config, format, complaints.is_empty()) else {
        return Err(complaints);
    };
    let login = (!settings.user.is_empty()).then(|| {
        let credentials = Credentials::new(settings.user.clone(), password);
        match settings.mechanism {
            Mechanism::Plain => SaslConfig::Plain(credentials),
            Mechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
            Mechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
        }
    });
    Ok(Box::new(Kafka {
        servers,
        tls: settings.tls.then_some(tls_config),
        topic: settings.topic,
        login,
        format,
        cluster: None,
        patience: Patience::default(),
        warning: tls::warning(conf).filter(|_| settings.tls),
    }))
}

struct Kafka {
    servers: Vec<Address>,
    tls: Option<Arc<ClientConfig>>,
    topic: String,
    login: Option<SaslConfig>,
    format: Format,
    /// Not while a delivery is going on: one that is given up leaves none behind.
    cluster: Option<Cluster>,
    patience: Patience,
    warning: Option<String>,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kafka").field("servers", &self.servers).finish_non_exhaustive()
    }
}

/// The brokers, as far as they are known.
struct Cluster {
    client: Client,
    /// The partitions of each topic, in order.
    topics: HashMap<String, Vec<i32>>,
    /// Those that were written to.
    partitions: HashMap<(String, i32), PartitionClient>,
}

impl Output for Kafka {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        Some(self.format.encode(record).into_bytes())
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(async move {
            let mut cluster = match self.cluster.take() {
                Some(cluster) => cluster,
                None => match timeout(CONNECT + CONNECT, self.connect()).await {
                    Ok(Ok(cluster)) => cluster,
                    Ok(Err(outcome)) => return Delivery::Whole(outcome),
                    Err(_) => return Delivery::Whole(Outcome::retry("the brokers do not answer")),
                },
            };
            let mut outcomes = vec![None; batch.len()];
            match self.produce(&mut cluster, batch, &mut outcomes).await {
                Ok(()) => {
                    self.patience.renew();
                    self.cluster = Some(cluster);
                }
                // What is known of the cluster may be the reason.
                Err(outcome) => {
                    for missing in outcomes.iter_mut().filter(|it| it.is_none()) {
                        *missing = Some(outcome.clone());
                    }
                }
            }
            Delivery::Each(outcomes.into_iter().flatten().collect())
        })
    }

    fn reopen(&mut self) -> Later<'_, ()> {
        self.cluster = None;
        Box::pin(std::future::ready(()))
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    fn confirms(&self) -> &'static str {
        "stored by all replicas in step"
    }
}

impl Kafka {
    async fn connect(&self) -> Result<Cluster, Outcome> {
        for server in &self.servers {
            stream::may_reach_all(&server.host, server.port).await?;
        }
        let servers = self.servers.iter().map(ToString::to_string).collect();
        let mut builder = ClientBuilder::new(servers)
            .client_id("serin")
            .max_message_size(ANSWER_MAX)
            .backoff_config(STUBBORN);
        if let Some(tls) = &self.tls {
            builder = builder.tls_config(tls.clone());
        }
        if let Some(login) = &self.login {
            builder = builder.sasl_config(login.clone());
        }
        let client = builder.build().await.map_err(|it| failed(&it))?;
        let known = client.list_topics().await.map_err(|it| failed(&it))?;
        let topics = known.into_iter().map(|topic| {
            let mut partitions: Vec<_> = topic.partitions.into_iter().take(PARTITIONS_MAX).collect();
            partitions.sort_unstable();
            (topic.name, partitions)
        });
        Ok(Cluster { client, topics: topics.collect(), partitions: HashMap::new() })
    }

    /// Writes a batch, partition after partition.
    async fn produce(
        &mut self,
        cluster: &mut Cluster,
        batch: &[Item],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Outcome> {
        let mut groups: BTreeMap<(String, i32), Vec<usize>> = BTreeMap::new();
        for (at, item) in batch.iter().enumerate() {
            let topic = self.topic.replace("{service}", item.record.kind.service);
            let Some(partition) = cluster.partition_of(&topic, &item.record) else {
                // Asking for it makes brokers create it that create topics by themselves.
                let asked = cluster.client.partition_client(&topic, 0, UnknownTopicHandling::Error).await;
                let why = asked.err().map_or_else(String::new, |it| format!(": {it}"));
                return Err(self.patience.spent(format!("the topic {topic} is not there{why}")));
            };
            groups.entry((topic, partition)).or_default().push(at);
        }
        for (place, members) in groups {
            // Halves of what was too large come back here.
            let mut parts = vec![members];
            while let Some(mut part) = parts.pop() {
                let messages: Vec<_> =
                    part.iter().filter_map(|at| Some(self.message(batch.get(*at)?))).collect();
                let outcome = match cluster.write(&place, messages).await {
                    Ok(()) => Outcome::Delivered,
                    Err(Outcome::Reject(_)) if part.len() > 1 => {
                        let second = part.split_off(part.len() / 2);
                        // The first half first: order is kept within a partition.
                        parts.extend([second, part]);
                        continue;
                    }
                    Err(outcome @ Outcome::Reject(_)) => outcome,
                    Err(Outcome::Retry { why, .. }) if why.contains(UNKNOWN_TOPIC) => {
                        return Err(self.patience.spent(why));
                    }
                    Err(outcome) => return Err(outcome),
                };
                for at in part {
                    if let Some(slot) = outcomes.get_mut(at) {
                        *slot = Some(outcome.clone());
                    }
                }
            }
        }
        Ok(())
    }

    fn message(&self, item: &Item) -> Message {
        let header = |name: &str, value: String| (name.to_owned(), value.into_bytes());
        let headers = [
            header("event_id", item.event_id()),
            header("logtype", item.record.kind.logtype.to_string()),
            header("content-type", self.format.content_type().to_owned()),
        ];
        Message {
            key: key(&item.record),
            value: Some(item.body.clone()),
            headers: headers.into(),
            timestamp: DateTime::from_timestamp_micros(item.record.time.0).unwrap_or_default(),
        }
    }
}

impl Cluster {
    /// The partition of a record: all of one source are in one, so that their order is kept.
    fn partition_of(&self, topic: &str, record: &Record) -> Option<i32> {
        let partitions = self.topics.get(topic)?;
        let count = u64::try_from(partitions.len()).ok().filter(|it| *it > 0)?;
        let number = match key(record) {
            // As Kafka's own clients do: the hash without its sign.
            Some(key) => u64::from(murmur2(&key) & 0x7fff_ffff),
            None => record.seq,
        };
        partitions.get(usize::try_from(number % count).ok()?).copied()
    }

    async fn write(&mut self, place: &(String, i32), messages: Vec<Message>) -> Result<(), Outcome> {
        if !self.partitions.contains_key(place) {
            let (topic, partition) = place;
            let opened = self.client.partition_client(topic, *partition, UnknownTopicHandling::Error).await;
            self.partitions.insert(place.clone(), opened.map_err(|it| failed(&it))?);
        }
        let Some(partition) = self.partitions.get(place) else {
            return Err(Outcome::retry("the partition is gone"));
        };
        partition.produce(messages, Compression::Gzip).await.map(drop).map_err(|it| failed(&it))
    }
}

/// The source's address; nothing where there is none.
fn key(record: &Record) -> Option<Vec<u8>> {
    Some(record.source.host_text().into_bytes()).filter(|it| !it.is_empty())
}

/// How the reason begins when a topic or partition is not there.
const UNKNOWN_TOPIC: &str = "the topic or partition is not there";

/// What a failure means, by Kafka's error codes.
fn failed(error: &Error) -> Outcome {
    use ProtocolError as Code;
    let why = error.to_string();
    match error {
        Error::ServerError { protocol_error, error_message, .. } => {
            let said = error_message.as_deref().unwrap_or_default();
            let why = format!("the broker answers {protocol_error:?} {said}").trim_end().to_owned();
            match protocol_error {
                Code::MessageTooLarge | Code::RecordListTooLarge | Code::InvalidRecord => {
                    Outcome::Reject(why)
                }
                Code::UnknownTopicOrPartition | Code::UnknownTopicId => {
                    Outcome::retry(format!("{UNKNOWN_TOPIC}: {why}"))
                }
                Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::SaslAuthenticationFailed
                | Code::UnsupportedSaslMechanism
                | Code::IllegalSaslState
                | Code::SecurityDisabled
                | Code::InvalidTopicException
                | Code::InvalidConfig
                | Code::PolicyViolation
                | Code::InvalidRequiredAcks
                | Code::UnsupportedVersion
                | Code::UnsupportedForMessageFormat
                | Code::UnsupportedCompressionType => Outcome::Hold(why),
                _ => Outcome::retry(why),
            }
        }
        // The library tells what went wrong with each broker in words alone.
        _ if wants_the_operator(&why) => Outcome::Hold(why),
        _ => Outcome::Retry { why: with_cause(error, why), after: None },
    }
}

fn wants_the_operator(why: &str) -> bool {
    ["Sasl handshake failed", "sasl mechanism", "invalid peer certificate", "Invalid Hostname"]
        .iter()
        .any(|it| why.contains(it))
        // A broker that closes the connection or breaks it during the login may only be down.
        && !why.contains("Request error")
}

fn with_cause(error: &Error, why: String) -> String {
    match error.source().map(ToString::to_string) {
        Some(cause) if !why.contains(&cause) => format!("{why}: {cause}"),
        _ => why,
    }
}

/// The hash by which Kafka's Java client chooses partitions (`MurmurHash2`, seed 0x9747b28c).
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mix = |word: u32| {
        let word = word.wrapping_mul(M);
        (word ^ (word >> 24)).wrapping_mul(M)
    };
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let (words, rest) = bytes.as_chunks::<4>();
    let mut hash = words
        .iter()
        .fold(0x9747_b28c ^ length, |hash, word| hash.wrapping_mul(M) ^ mix(u32::from_le_bytes(*word)));
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use rskafka::client::error::RequestContext;

    use super::*;
    use crate::outputs;

    #[test]
    fn partitions_are_those_of_kafkas_own_client() {
        // From the unit tests of Kafka's Java client (UtilsTest.testMurmur2), as signed numbers.
        let known: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (text, hash) in known {
            assert_eq!(murmur2(text.as_bytes()), hash.cast_unsigned(), "{text}");
        }
    }

    #[test]
    fn the_brokers_code_decides() {
        let judge = |protocol_error| {
            failed(&Error::ServerError {
                protocol_error,
                error_message: None,
                request: RequestContext::Topic("opencanary".to_owned()),
                response: None,
                is_virtual: false,
            })
        };
        assert!(matches!(judge(ProtocolError::MessageTooLarge), Outcome::Reject(_)));
        assert!(matches!(judge(ProtocolError::TopicAuthorizationFailed), Outcome::Hold(_)));
        assert!(matches!(judge(ProtocolError::NotEnoughReplicas), Outcome::Retry { .. }));
        assert!(matches!(judge(ProtocolError::NotLeaderOrFollower), Outcome::Retry { .. }));
        let unknown = judge(ProtocolError::UnknownTopicOrPartition);
        assert!(matches!(unknown, Outcome::Retry { why, .. } if why.starts_with(UNKNOWN_TOPIC)));
        assert!(matches!(failed(&Error::Timeout), Outcome::Retry { .. }));
    }

    #[test]
    fn settings_are_checked() {
        let complaints = |servers: serde_json::Value, topic: &str| {
            let mut conf = Conf::new();
            conf.set("kafka.servers", servers);
            conf.set("kafka.topic", topic);
            let complaints = outputs::check(&OUTPUT, &conf).err().unwrap_or_default();
            complaints.into_iter().map(|it| it.key).collect::<Vec<_>>()
        };
        assert_eq!(complaints(serde_json::json!([]), "a"), ["kafka.servers"]);
        assert_eq!(complaints(serde_json::json!(["a:b"]), "a b"), ["kafka.servers", "kafka.topic"]);
        assert!(complaints(serde_json::json!(["a", "b:9093"]), "canary.{service}").is_empty());
    }
}
