//! A few services to configure: the shapes that settings come in, and nothing behind them.

use std::time::Duration;

use serin_services::conf::{Complaint, Conf};
use serin_services::probe::{Probe, Script};
use serin_services::{Listening, Service};

use super::Catalogue;

/// These services, the real TCP banner, and the real outputs.
pub(super) static CATALOGUE: Catalogue =
    Catalogue { services: &[&FTP, &HTTP, &TCPBANNER, &TELNET], outputs: crate::outputs::ALL };

mod ftp {
    serin_services::settings! { "ftp" {
        /// Greeting, sent after `220 `.
        banner: String = "(vsFTPd 3.0.3)".into(), opencanary "FTP Ready.";
        /// Whether a password is an event of its own.
        log_auth_attempt_initiated: bool = false;
    } }
}

mod http {
    use serin_services::conf::FolderPath;

    serin_services::settings! { "http" {
        /// Folder of pages of one's own.
        skindir: FolderPath = FolderPath::default();
    } }
}

mod telnet {
    serin_services::settings! { "telnet" {
        /// Text before the login prompt.
        banner: String = String::new();
    } }
}

mod tcpbanner {
    serin_services::settings! { "tcpbanner_N" {
        /// Whether this slot is open.
        enabled: bool = false;
        /// The port of this slot.
        port: u16 = 8001;
        /// What is sent when a client connects.
        initbanner: String = String::new(), opencanary "old";
        /// Whether segments that hold the alert string are reported.
        alertstring_enabled ["alertstring.enabled"]: bool = false;
        /// What is looked for.
        alertstring: String = String::new();
    } }
}

static FTP: Service = Service {
    build: |conf| ftp::Settings::read(conf).map(|_| one(&FTP, conf)),
    keys: ftp::Settings::KEYS,
    ..service("ftp", 21)
};

static HTTP: Service = Service {
    build: |conf| http::Settings::read(conf).map(|_| one(&HTTP, conf)),
    keys: http::Settings::KEYS,
    ..service("http", 80)
};

static TELNET: Service = Service {
    build: |conf| telnet::Settings::read(conf).map(|_| one(&TELNET, conf)),
    keys: telnet::Settings::KEYS,
    opencanary_port: 8023,
    ..service("telnet", 23)
};

static TCPBANNER: Service =
    Service { build: slots, keys: tcpbanner::Settings::KEYS, ..service("tcpbanner", 8001) };

const fn service(name: &'static str, port: u16) -> Service {
    Service {
        name,
        about: "for tests",
        opencanary: None,
        port,
        opencanary_port: port,
        keys: &[],
        events: &[],
        backlog: 64,
        idle: Duration::from_secs(1),
        probe: Probe { tls: false, client: |_| Script::boxed(&[]), proof: &[] },
        build: |_| Ok(Vec::new()),
    }
}

fn one(service: &Service, conf: &Conf) -> Vec<Listening> {
    Listening::tcp(service, conf, Box::new(|| unreachable!("nothing connects")))
}

fn slots(conf: &Conf) -> Result<Vec<Listening>, Vec<Complaint>> {
    let mut listening = Vec::new();
    for number in 1..=10 {
        let section = format!("tcpbanner_{number}");
        let settings = tcpbanner::Settings::read_section(conf, &section)?;
        if settings.enabled {
            let key = format!("{section}.port");
            listening.extend(one(&TCPBANNER, conf).into_iter().map(|it| Listening {
                port: settings.port,
                key: key.clone(),
                ..it
            }));
        }
    }
    Ok(listening)
}
