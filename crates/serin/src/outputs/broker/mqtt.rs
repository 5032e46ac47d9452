//! MQTT 5: one message for each event, confirmed by the broker (`QoS` 1), and a status topic whose
//! last will tells when the sensor is gone.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rumqttc::Outgoing;
use rumqttc::tokio_rustls::rustls::ClientConfig;
use rumqttc::v5::mqttbytes::Error as PacketError;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, DisconnectReasonCode, LastWill, Packet, PubAckReason, PublishProperties,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError, TlsError};
use rumqttc::{TlsConfiguration, Transport};
use serin_event::Record;
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Address, path, token};
use crate::outputs::encode::{self, Format};
use crate::outputs::secret::Secret;
use crate::outputs::transport::{CONNECT, stream, tls};
use crate::outputs::{Batch, Carries, Delivery, Item, Later, Outcome, Output, OutputType, Passwords, trial};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "mqtt",
    about: "Messages to an MQTT 5 broker, with a status topic",
    keys: &[Settings::KEYS, encode::KEYS, tls::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Keep,
    batch: Batch { events: BATCH, bytes: 1024 * 1024, linger: Duration::ZERO },
    build,
};

const BATCH: usize = 100;

settings! { "mqtt" {
    /// Where the broker listens: HOST:PORT; 1883 unless said otherwise, 8883 with TLS.
    server: String = String::new();
    /// Whether to speak TLS.
    tls: bool = false;
    /// What topics begin with: TOPIC/NODE/SERVICE/LOGTYPE. Whether the sensor is there stands in
    /// TOPIC/NODE/status: online or offline, retained.
    topic: String = "opencanary".to_owned();
    /// The name of the user, where the broker wants one.
    user: String = String::new();
    /// The user's password.
    password: Secret = Secret::default();
    /// What the broker calls this connection; empty: serin- and the name of the node. Two connections
    /// of one name throw each other out.
    client_id: String = String::new();
    /// Seconds between signs of life. The broker tells that the sensor is gone after one and a half
    /// times as long.
    keep_alive: Duration = Duration::from_secs(30);
    /// Seconds after which the broker may throw away what no subscriber fetched; 0: never.
    expiry: Duration = Duration::ZERO;
} }

/// What separates levels of a topic, and its wildcards.
const SPECIAL: &[char] = &['/', '+', '#', '\0'];
/// How long a broker keeps our session for us when we are away.
const SESSION_SECONDS: u32 = 3600;
/// The largest packet that a broker may send us; nobody publishes to us.
const PACKET_MAX: u32 = 64 * 1024;

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let mut complaints = Vec::new();
    let port = if settings.tls { 8883 } else { 1883 };
    let address = Address::read("mqtt.server", &settings.server, port).map_err(|it| complaints.push(it)).ok();
    let password = settings.password.reveal_or_complain("mqtt.password", &mut complaints);
    let mut complain = |key: &str, text: &str| {
        complaints.push(Complaint { key: format!("mqtt.{key}"), text: text.to_owned() });
    };
    if settings.topic.is_empty() || settings.topic.contains(['+', '#', '\0']) {
        complain("topic", "wants a topic without wildcards");
    }
    if !(5..=3600).contains(&settings.keep_alive.as_secs()) {
        complain("keep_alive", "wants 5 to 3600 seconds");
    }
    let tls_config = tls::config(conf).map_err(|it| complaints.extend(it)).ok();
    let format = Format::of(conf).map_err(|it| complaints.extend(it)).ok();
    let (Some(address), Some(tls_config), Some(format), true) =
        (address, tls_config, format, complaints.is_empty())
    else {
        return Err(complaints);
    };
    let expiry = u32::try_from(settings.expiry.as_secs()).ok().filter(|it| *it > 0);
    Ok(Box::new(Mqtt {
        address,
        tls: settings.tls.then_some(tls_config),
        topic: settings.topic,
        login: (!settings.user.is_empty()).then_some((settings.user, password)),
        client_id: settings.client_id,
        keep_alive: settings.keep_alive,
        expiry,
        format,
        link: None,
        warning: tls::warning(conf).filter(|_| settings.tls),
    }))
}

struct Mqtt {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
    topic: String,
    login: Option<(String, String)>,
    client_id: String,
    keep_alive: Duration,
    expiry: Option<u32>,
    format: Format,
    /// Not while a delivery is going on: one that is given up leaves none behind.
    link: Option<Link>,
    warning: Option<String>,
}

impl std::fmt::Debug for Mqtt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mqtt").field("address", &self.address).finish_non_exhaustive()
    }
}

/// One connection, kept alive by a task that ends with it.
struct Link {
    client: AsyncClient,
    said: mpsc::Receiver<Said>,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What happened on the connection.
enum Said {
    Connected,
    /// The oldest message that was not sent yet went out under this number.
    Sent(u16),
    Acknowledged(u16, PubAckReason),
    /// It is over.
    Ended(Outcome),
}

/// More than one batch makes: what nobody reads between two deliveries is the status's.
const SAID_MAX: usize = 4 * BATCH;

impl Output for Mqtt {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        Some(self.format.encode(record).into_bytes())
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(async move {
            let Some(first) = batch.first() else { return Delivery::Each(Vec::new()) };
            if self.link.as_ref().is_some_and(|it| it.task.is_finished()) {
                // What ended it while nobody looked is no matter any more.
                self.link = None;
            }
            let mut link = match self.link.take() {
                Some(link) => link,
                None => match self.connect(&first.record).await {
                    Ok(link) => link,
                    Err(outcome) => return Delivery::Whole(outcome),
                },
            };
            let mut outcomes = vec![None; batch.len()];
            match self.publish(&mut link, batch, &mut outcomes).await {
                Ok(()) => self.link = Some(link),
                // The engine looks for the one that spoils it.
                Err(outcome @ Outcome::Reject(_)) if outcomes.iter().all(Option::is_none) => {
                    return Delivery::Whole(outcome);
                }
                Err(Outcome::Reject(why)) => fill(&mut outcomes, &Outcome::retry(why)),
                Err(outcome) => fill(&mut outcomes, &outcome),
            }
            Delivery::Each(outcomes.into_iter().flatten().collect())
        })
    }

    fn reopen(&mut self) -> Later<'_, ()> {
        self.link = None;
        Box::pin(std::future::ready(()))
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    fn confirms(&self) -> &'static str {
        "accepted by the broker"
    }
}

fn fill(outcomes: &mut [Option<Outcome>], with: &Outcome) {
    for outcome in outcomes.iter_mut().filter(|it| it.is_none()) {
        *outcome = Some(with.clone());
    }
}

impl Mqtt {
    /// Connects in the name of the node that this record is from.
    async fn connect(&self, record: &Record) -> Result<Link, Outcome> {
        stream::may_reach_all(&self.address.host, self.address.port).await?;
        // A test beside the running sensor must neither throw it out nor speak for it.
        let is_trial = &*record.node_id == trial::NODE;
        let id = match self.client_id.as_str() {
            "" => format!("serin-{}", token(&record.node_id, SPECIAL)),
            id if is_trial => format!("{id}-test"),
            id => id.to_owned(),
        };
        let status = format!("{}/{}/status", self.topic, token(&record.node_id, SPECIAL));
        let mut options = MqttOptions::new(id, self.address.host.as_str(), self.address.port);
        options
            .set_keep_alive(self.keep_alive)
            .set_clean_start(is_trial)
            .set_session_expiry_interval(Some(if is_trial { 0 } else { SESSION_SECONDS }))
            .set_max_packet_size(Some(PACKET_MAX))
            .set_connection_timeout(CONNECT.as_secs());
        if !is_trial {
            options.set_last_will(LastWill::new(status.as_str(), "offline", QoS::AtLeastOnce, true, None));
        }
        if let Some((user, password)) = &self.login {
            options.set_credentials(user, password);
        }
        if let Some(tls) = &self.tls {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls.clone())));
        }
        let (client, events) = AsyncClient::new(options, BATCH + 1);
        let (tell, said) = mpsc::channel(SAID_MAX);
        let at = self.address.to_string();
        let task = tokio::spawn(drive(events, tell, at.clone()));
        let mut link = Link { client, said, task };
        match timeout(CONNECT + CONNECT, link.said.recv()).await {
            Ok(Some(Said::Connected)) => {}
            Ok(Some(Said::Ended(outcome))) => return Err(outcome),
            Ok(_) => return Err(Outcome::retry(format!("{at} says nothing of use"))),
            Err(_) => return Err(Outcome::retry(format!("{at} does not answer"))),
        }
        if !is_trial && link.client.try_publish(status, QoS::AtLeastOnce, true, "online").is_ok() {
            link.status_is_told(&at).await?;
        }
        Ok(link)
    }

    /// Publishes a batch and waits for what the broker says to each.
    async fn publish(
        &self,
        link: &mut Link,
        batch: &[Item],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Outcome> {
        let mut unsent = VecDeque::new();
        for (at, item) in batch.iter().enumerate() {
            let properties = PublishProperties {
                // The payload is text.
                payload_format_indicator: Some(1),
                message_expiry_interval: self.expiry,
                content_type: Some(self.format.content_type().to_owned()),
                user_properties: vec![("event_id".to_owned(), item.event_id())],
                ..PublishProperties::default()
            };
            let topic = path(&self.topic, &item.record, '/', SPECIAL);
            let body = item.body.clone();
            let queued =
                link.client.try_publish_with_properties(topic, QoS::AtLeastOnce, false, body, properties);
            if queued.is_err() {
                // The connection has ended, or the topic is none.
                break;
            }
            unsent.push_back(at);
        }
        let mut sent = HashMap::new();
        while !unsent.is_empty() || !sent.is_empty() {
            match link.said.recv().await {
                Some(Said::Sent(number)) => {
                    sent.extend(unsent.pop_front().map(|it| (number, it)));
                }
                Some(Said::Acknowledged(number, reason)) => {
                    let slot = sent.remove(&number).and_then(|it| outcomes.get_mut(it));
                    if let Some(slot) = slot {
                        *slot = Some(acknowledged(reason));
                    }
                }
                Some(Said::Ended(outcome)) => return Err(outcome),
                Some(Said::Connected) => {}
                None => return Err(Outcome::retry("the connection ended")),
            }
        }
        if outcomes.iter().any(Option::is_none) {
            return Err(Outcome::retry("the connection ended"));
        }
        Ok(())
    }
}

impl Link {
    async fn status_is_told(&mut self, at: &str) -> Result<(), Outcome> {
        let told = async {
            loop {
                match self.said.recv().await {
                    Some(Said::Acknowledged(..)) => return Ok(()),
                    Some(Said::Ended(outcome)) => return Err(outcome),
                    Some(_) => {}
                    None => return Err(Outcome::retry("the connection ended")),
                }
            }
        };
        timeout(CONNECT, told).await.unwrap_or_else(|_| Err(Outcome::retry(format!("{at} does not answer"))))
    }
}

/// Drives one connection to its end. The library would connect again and again; whether and when is
/// for the engine to say.
async fn drive(mut events: EventLoop, tell: mpsc::Sender<Said>, at: String) {
    loop {
        let said = match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => Said::Connected,
            Ok(Event::Outgoing(Outgoing::Publish(number))) => Said::Sent(number),
            Ok(Event::Incoming(Packet::PubAck(ack))) => Said::Acknowledged(ack.pkid, ack.reason),
            Ok(_) => continue,
            Err(error) => Said::Ended(ended(&at, error)),
        };
        let over = matches!(said, Said::Ended(_));
        if tell.send(said).await.is_err() || over {
            return;
        }
    }
}

/// What an acknowledgement means: MQTT 5, section 3.4.2.1.
fn acknowledged(reason: PubAckReason) -> Outcome {
    let why = format!("the broker answers {reason:?}");
    match reason {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Outcome::Delivered,
        PubAckReason::NotAuthorized | PubAckReason::TopicNameInvalid => Outcome::Hold(why),
        PubAckReason::PayloadFormatInvalid => Outcome::Reject(why),
        PubAckReason::UnspecifiedError
        | PubAckReason::ImplementationSpecificError
        | PubAckReason::PacketIdentifierInUse
        | PubAckReason::QuotaExceeded => Outcome::retry(why),
    }
}

/// What the end of a connection means: MQTT 5, sections 3.2.2.2 and 3.14.2.1.
fn ended(at: &str, error: ConnectionError) -> Outcome {
    use {ConnectReturnCode as Refused, DisconnectReasonCode as Sent};
    let why = format!("{at}: {error}");
    match error {
        ConnectionError::Tls(TlsError::Io(error)) => stream::tls_failure(at, &error),
        ConnectionError::ConnectionRefused(code)
        | ConnectionError::MqttState(StateError::ConnFail { reason: code }) => match code {
            Refused::ServerUnavailable
            | Refused::ServiceUnavailable
            | Refused::ServerBusy
            | Refused::UnspecifiedError
            | Refused::ImplementationSpecificError
            | Refused::QuotaExceeded
            | Refused::ConnectionRateExceeded => Outcome::retry(why),
            _ => Outcome::Hold(why),
        },
        ConnectionError::MqttState(
            StateError::OutgoingPacketTooLarge { .. }
            | StateError::Deserialization(PacketError::OutgoingPacketTooLarge { .. })
            | StateError::ServerDisconnect {
                reason_code: Sent::PacketTooLarge | Sent::PayloadFormatInvalid,
                ..
            },
        ) => Outcome::Reject(why),
        ConnectionError::Tls(TlsError::DNSName(_))
        | ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code:
                Sent::NotAuthorized | Sent::TopicNameInvalid | Sent::AdministrativeAction | Sent::QoSNotSupported,
            ..
        }) => Outcome::Hold(why),
        _ => Outcome::retry(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outputs;

    #[test]
    fn what_the_broker_says_decides() {
        assert_eq!(acknowledged(PubAckReason::NoMatchingSubscribers), Outcome::Delivered);
        assert!(matches!(acknowledged(PubAckReason::NotAuthorized), Outcome::Hold(_)));
        assert!(matches!(acknowledged(PubAckReason::QuotaExceeded), Outcome::Retry { .. }));
        assert!(matches!(acknowledged(PubAckReason::PayloadFormatInvalid), Outcome::Reject(_)));
        let refused = |code| ended("a:1883", ConnectionError::ConnectionRefused(code));
        assert!(matches!(refused(ConnectReturnCode::NotAuthorized), Outcome::Hold(_)));
        assert!(matches!(refused(ConnectReturnCode::BadUserNamePassword), Outcome::Hold(_)));
        assert!(matches!(refused(ConnectReturnCode::ServerBusy), Outcome::Retry { .. }));
        let large = StateError::from(PacketError::OutgoingPacketTooLarge { pkt_size: 9, max: 8 });
        assert!(matches!(ended("a:1883", ConnectionError::MqttState(large)), Outcome::Reject(_)));
        let cut = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(matches!(ended("a:1883", ConnectionError::Io(cut)), Outcome::Retry { .. }));
    }

    #[test]
    fn settings_are_checked() {
        let complaints = |settings: &[(&str, &str)]| {
            let mut conf = Conf::new();
            for (key, value) in settings {
                conf.set((*key).to_owned(), *value);
            }
            let complaints = outputs::check(&OUTPUT, &conf).err().unwrap_or_default();
            complaints.into_iter().map(|it| it.key).collect::<Vec<_>>()
        };
        assert_eq!(complaints(&[]), ["mqtt.server"]);
        assert_eq!(complaints(&[("mqtt.server", "a"), ("mqtt.topic", "a/#")]), ["mqtt.topic"]);
        assert_eq!(
            complaints(&[("mqtt.server", "a"), ("mqtt.password", "file:/nowhere")]),
            ["mqtt.password"]
        );
    }
}
