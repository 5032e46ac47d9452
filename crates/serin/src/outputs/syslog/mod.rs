//! Syslog: RFC 5424 or RFC 3164 over UDP, TCP, TLS or a socket in the file system. OpenCanary's
//! `logging.handlers.SysLogHandler` becomes this.
//!
//! Syslog has no acknowledgement; what that means over TCP stands at `transport::sender`. RELP is
//! the form of syslog that has one, and the output of that name.

mod handler;
pub(super) mod message;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serin_event::Record;
use serin_services::conf::{Complaint, Conf};
use serin_services::{choices, settings};

use super::encode::{self, Format};
use super::formatter::{Formatter, Style};
use super::shorten::fit;
use super::transport::datagrams::{self, Datagrams, WrongKind};
use super::transport::sender::{self, Sender};
use super::transport::stream::Address;
use super::transport::tls;
use super::{Batch, Carries, Delivery, Item, Later, Output, OutputType, Passwords};
pub(crate) use handler::from_handler;
use message::{Layout, Payload};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "syslog",
    about: "A syslog receiver, over UDP, TCP, TLS or a local socket",
    keys: &[Settings::KEYS, message::KEYS, encode::KEYS, tls::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Keep,
    batch: Batch { events: 256, bytes: 64 * 1024, linger: Duration::ZERO },
    build,
};

choices! {
    /// Which form messages have.
    Protocol { Rfc5424 = "rfc5424", Rfc3164 = "rfc3164", OpenCanary = "opencanary" }
    wants "rfc5424, rfc3164 or opencanary"
}

choices! {
    /// What messages travel over.
    Transport { Udp = "udp", Tcp = "tcp", Tls = "tls", Unix = "unix" } wants "udp, tcp, tls or unix"
}

choices! {
    /// How messages are told apart on a stream.
    Framing { Auto = "auto", Octets = "octet-counting", Newline = "newline" }
    wants "auto, octet-counting or newline"
}

settings! { "syslog" {
    /// Where the receiver listens: a host, a host and a port, or the path of a socket. The usual ports
    /// are 514 and, with TLS, 6514; the usual socket is /dev/log.
    address: String = String::new();
    /// What messages travel over: udp, tcp, tls or unix. An address that is a path is always unix, and
    /// whether that socket takes datagrams or a stream is found out.
    transport: Transport = Transport::Udp;
    /// The form of messages: rfc5424, rfc3164 for old receivers, or opencanary for the bare text with
    /// the NUL byte that OpenCanary's SysLogHandler sends.
    protocol: Protocol = Protocol::Rfc5424;
    /// How messages are told apart over tcp and tls: octet-counting, or newline for receivers that
    /// cannot count. auto counts octets, and ends messages with a newline on a unix stream.
    framing: Framing = Framing::Auto;
    /// The most bytes of a message; 0 takes 1400 over UDP, 8192 otherwise, 1024 for rfc3164, and 65000
    /// for opencanary. In longer ones the longest texts are shortened.
    max_size: u32 = 0;
    /// Whether what a broken connection took is sent again, since it may be lost. Receivers can get some
    /// messages twice.
    replay: bool = true;
    /// A line format as in Python's logging, instead of `format`.
    template: String = String::new();
    /// How `asctime` looks in the template, in strftime's directives.
    datefmt: String = String::new();
    /// The notation of the template: %, { or $.
    style: Style = Style::Percent;
} }

/// An IPv4 datagram has at most so much room.
const UDP_MAX: usize = 65_507;

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let mut complaints = Vec::new();
    let address = address(&settings, &mut complaints);
    let payload = payload(&settings, conf, &mut complaints);
    if settings.protocol == Protocol::OpenCanary && settings.framing != Framing::Auto {
        complain(
            &mut complaints,
            "framing",
            "has no meaning with protocol opencanary, which ends messages with NUL",
        );
    }
    if settings.transport == Transport::Tls && settings.framing == Framing::Newline {
        complain(&mut complaints, "framing", "is octet-counting over TLS (RFC 5425); newline is for tcp");
    }
    let unix = matches!(address, Some(Address::Unix(_)));
    let most = size(&settings, unix, &mut complaints);
    let tls = match settings.transport {
        Transport::Tls if !unix => tls::config(conf).map(Some),
        _ => Ok(None),
    };
    let tls = tls.unwrap_or_else(|more| {
        complaints.extend(more);
        None
    });
    let (Some(address), Some(payload), true) = (address, payload, complaints.is_empty()) else {
        return Err(complaints);
    };
    let route = match settings.transport {
        _ if unix => Route::Datagrams(Datagrams::new(address.clone())),
        Transport::Udp | Transport::Unix => Route::Datagrams(Datagrams::new(address.clone())),
        Transport::Tcp | Transport::Tls => Route::Stream(Sender::new(address.clone(), tls, settings.replay)),
    };
    let warning = (settings.transport == Transport::Tls).then(|| tls::warning(conf)).flatten();
    let layout = Layout { protocol: settings.protocol, local: unix, payload, ..Layout::of(conf)? };
    let shortened = AtomicU64::new(0);
    let (framing, replay) = (settings.framing, settings.replay);
    Ok(Box::new(Syslog { layout, address, framing, replay, most, route, warning, shortened }))
}

fn complain(complaints: &mut Vec<Complaint>, key: &str, text: impl Into<String>) {
    complaints.push(Complaint { key: format!("syslog.{key}"), text: text.into() });
}

fn address(settings: &Settings, complaints: &mut Vec<Complaint>) -> Option<Address> {
    let text = match settings.address.as_str() {
        "" if settings.transport == Transport::Unix => "/dev/log",
        text => text,
    };
    let usual = if settings.transport == Transport::Tls { 6514 } else { 514 };
    match Address::parse(text, usual) {
        Ok(Address::Tcp(..)) if settings.transport == Transport::Unix => {
            complain(complaints, "address", "wants the path of a socket when the transport is unix");
            None
        }
        Ok(address) => Some(address),
        Err(why) => {
            complain(complaints, "address", why);
            None
        }
    }
}

fn payload(settings: &Settings, conf: &Conf, complaints: &mut Vec<Complaint>) -> Option<Payload> {
    let format = match Format::of(conf) {
        Ok(format) => format,
        Err(more) => {
            complaints.extend(more);
            return None;
        }
    };
    if settings.template.is_empty() {
        return Some(Payload::Shape(format));
    }
    match Formatter::new(&settings.template, &settings.datefmt, settings.style) {
        Ok(formatter) => Some(Payload::Text(formatter)),
        Err(why) => {
            complain(complaints, if why.contains("datefmt") { "datefmt" } else { "template" }, why);
            None
        }
    }
}

fn size(settings: &Settings, unix: bool, complaints: &mut Vec<Complaint>) -> usize {
    let udp = settings.transport == Transport::Udp && !unix;
    let most = usize::try_from(settings.max_size).unwrap_or(usize::MAX);
    if most != 0 && most < message::SIZE_MIN {
        complain(complaints, "max_size", format!("wants 0, or {} or more", message::SIZE_MIN));
    }
    if udp && most > UDP_MAX {
        complain(complaints, "max_size", format!("wants at most {UDP_MAX} over UDP"));
    }
    match settings.protocol {
        _ if most != 0 => most,
        Protocol::OpenCanary => 65_000,
        Protocol::Rfc3164 => 1024,
        Protocol::Rfc5424 if udp => 1400,
        Protocol::Rfc5424 => 8192,
    }
}

#[derive(Debug)]
struct Syslog {
    layout: Layout,
    address: Address,
    framing: Framing,
    replay: bool,
    most: usize,
    route: Route,
    warning: Option<String>,
    /// How many events lack something that did not fit.
    shortened: AtomicU64,
}

#[derive(Debug)]
enum Route {
    Datagrams(Datagrams),
    Stream(Sender),
}

impl Syslog {
    /// A message as a stream carries it.
    fn frame(&self, message: &[u8]) -> Vec<u8> {
        let newline = match self.framing {
            Framing::Auto => matches!(self.address, Address::Unix(_)),
            Framing::Octets => false,
            Framing::Newline => true,
        };
        match self.layout.protocol {
            // It brings its own end.
            Protocol::OpenCanary => message.to_vec(),
            // RFC 6587, section 3.4.2.
            _ if newline => [message, b"\n"].concat(),
            // RFC 6587, section 3.4.1.
            _ => [format!("{} ", message.len()).as_bytes(), message].concat(),
        }
    }

    async fn send(&mut self, batch: &[Item]) -> Delivery {
        if let Route::Datagrams(datagrams) = &mut self.route {
            let messages: Vec<_> = batch.iter().map(|it| it.body.clone()).collect();
            match datagrams.send(&messages).await {
                Ok(delivery) => return delivery,
                Err(WrongKind) => {
                    self.route = Route::Stream(Sender::new(self.address.clone(), None, self.replay));
                }
            }
        }
        let frames = batch.iter().map(|it| self.frame(&it.body)).collect();
        match &mut self.route {
            Route::Stream(sender) => sender.send(frames).await,
            Route::Datagrams(_) => Delivery::Each(Vec::new()),
        }
    }
}

impl Output for Syslog {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        let (body, cut) = fit(record, self.most, |it| self.layout.encode(it));
        self.shortened.fetch_add(u64::from(cut), Ordering::Relaxed);
        Some(body)
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(self.send(batch))
    }

    fn receipt(&self) -> Option<String> {
        let count = self.shortened.load(Ordering::Relaxed);
        (count > 0).then(|| format!("{count} messages were shortened to {} bytes", self.most))
    }

    fn reopen(&mut self) -> Later<'_, ()> {
        self.close()
    }

    fn close(&mut self) -> Later<'_, ()> {
        Box::pin(async {
            match &mut self.route {
                Route::Datagrams(datagrams) => datagrams.reopen(),
                Route::Stream(sender) => sender.close().await,
            }
        })
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    fn confirms(&self) -> &'static str {
        match (&self.route, &self.address) {
            (Route::Datagrams(_), Address::Tcp(..)) => {
                "sent as a datagram; syslog over UDP confirms nothing, so look for it at the receiver"
            }
            (Route::Datagrams(_), Address::Unix(_)) => "taken by the local socket",
            (Route::Stream(_), _) => {
                "written to the connection; syslog over TCP confirms nothing, so look for it at the receiver"
            }
        }
    }

    fn deadline(&self) -> Duration {
        sender::DEADLINE.max(datagrams::DEADLINE)
    }
}
