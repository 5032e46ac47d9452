//! SSH: agrees on keys as the claimed server does, and refuses every login.
//!
//! A client sees the identification, the algorithms, the texts and the timing of the server that
//! `ssh.version` names (`profile/`). RFC 4251 to 4254, 4256, 4419, 5656, 8308, 8332, 8731, and what
//! OpenSSH, Dropbear and Cisco IOS add.
//!
//! | module | part |
//! |---|---|
//! | `transport` | the state of a connection: identification, key exchange, disconnects |
//! | `packet`, `cipher`, `mac`, `umac`, `compression` | binary packets in both directions |
//! | `kex`, `hostkey`, `keys` | agreeing on keys |
//! | `auth`, `session` | who a client says it is, and what it asks for once accepted |
//! | `profile` | what each product and version says: data |
//! | `client` | our own small client, for tests and load |

mod auth;
mod cipher;
pub mod client;
mod compression;
mod crowd;
mod drive;
mod fields;
pub mod hostkey;
mod identification;
mod kex;
mod kexinit;
mod keys;
mod mac;
mod packet;
mod places;
mod probe;
mod profile;
mod random;
mod session;
mod tell;
mod transport;
mod umac;
mod unexpected;
mod wire;

pub use drive::drive as drive_messages;
pub use packet::drive as drive_packets;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serin_event::{Event, Tainted, kinds};

use crate::conf::{Complaint, Conf};
use crate::logins::Logins;
use crate::probe::Probe;
use crate::{Listening, Service, settings};
use compression::Compressing;
use crowd::Crowd;
use hostkey::HostKeys;
use kexinit::{Offered, Shown};
use profile::Profile;
use transport::Ssh;
use wire::Message;

pub(crate) static SERVICE: Service = Service {
    name: "ssh",
    about: "A secure shell that refuses every login",
    opencanary: Some(("CanarySSH", "ssh")),
    port: 22,
    opencanary_port: 22,
    keys: Settings::KEYS,
    events: &[
        &kinds::SSH_CONNECTION,
        &kinds::SSH_VERSION,
        &kinds::SSH_LOGIN,
        &kinds::SSH_PUBLICKEY,
        &kinds::SSH_METHOD,
        &kinds::SSH_HANDSHAKE,
        &kinds::SSH_REQUEST,
        &kinds::SSH_INPUT,
    ],
    backlog: packet::LONGEST_WHOLE,
    // Above the time to log in of every product, which is what ends a silent connection.
    idle: Duration::from_mins(10),
    probe: Probe { tls: false, client: probe::client, proof: &[&kinds::SSH_LOGIN] },
    build,
};

settings! { "ssh" {
    /// How the server introduces itself. It also chooses the algorithms, texts and timing that a
    /// client sees, down to the revision of the package: those of the nearest that is known of
    /// OpenSSH (5.1 to 10.6; Debian, Ubuntu, Red Hat, Windows), Dropbear (2019.78 to 2026.94) and
    /// Cisco IOS, and of the newest OpenSSH for anything else. OpenSSH 5.1 and Cisco IOS also offer
    /// what today's clients need, which the genuine ones do not.
    version: String = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10".into(), opencanary "SSH-2.0-OpenSSH_5.1p1 Debian-5";
    /// A folder with host keys to take over once, such as OpenCanary's `id_rsa` and `id_dsa`. Keys
    /// live in the state directory from then on.
    key_path: String = String::new(), opencanary "/var/tmp";
    /// A text shown before the login. `\r` and `\n` in it stand for line endings.
    preauth_banner: String = String::new();
    /// Seconds until a wrong password is refused, varied as PAM does, where the claimed server lets
    /// a client wait; 0 refuses at once.
    login_delay: Duration = Duration::from_secs(2);
    /// Also ask for a password by keyboard-interactive where the claimed server does not do so by
    /// default, as one with `KbdInteractiveAuthentication yes` does.
    keyboard_interactive: bool = false;
    /// Turn some away, as a default OpenSSH does, while ten or more connections have not logged in
    /// (`MaxStartups 10:30:100`). Off, everybody is heard out.
    turn_away: bool = false;
    /// Logins that are let in: objects with username and password, in clear; without one of them,
    /// any will do. Nothing is behind it yet but a session that records what is asked and closes.
    accept: Logins = Logins::default();
} }

fn build(conf: &Conf) -> Result<Vec<Listening>, Vec<Complaint>> {
    let face = Arc::new(Face::new(Settings::read(conf)?, conf));
    Ok(Listening::tcp(&SERVICE, conf, Box::new(move || Box::new(Ssh::new(face.clone())))))
}

/// The servers that `ssh.version` can name: for a person, and as they introduce themselves.
pub fn servers() -> impl Iterator<Item = (&'static str, &'static str)> {
    profile::all().map(|it| (it.name, it.identification))
}

const KEYBOARD_INTERACTIVE: &str = "keyboard-interactive";

/// What all connections share.
struct Face {
    settings: Settings,
    profile: &'static Profile,
    host_keys: HostKeys,
    /// What every KEXINIT of ours holds.
    offered: Offered,
    /// Differs between installations and nobody can guess it: what makes the time of a refusal
    /// depend on the user's name.
    timing_secret: u64,
    /// Connections so far.
    connections: AtomicU64,
    /// Connections that have not logged in.
    waiting: Crowd,
    /// Connections that compress.
    compressing: Compressing,
}

impl Face {
    fn new(settings: Settings, conf: &Conf) -> Self {
        let profile = profile::nearest(&settings.version);
        let host_keys = HostKeys::of(conf);
        let usable = profile.offered_host_keys().filter(|it| host_keys.find(it).is_some()).collect();
        let offered = Offered::new(profile, usable);
        let timing_secret = conf.identity.seed;
        Self {
            settings,
            profile,
            host_keys,
            offered,
            timing_secret,
            connections: AtomicU64::new(0),
            waiting: Crowd::default(),
            compressing: Compressing::default(),
        }
    }

    /// The authentication methods that a refusal names.
    fn methods(&self) -> impl Iterator<Item = &'static str> {
        let asked = KEYBOARD_INTERACTIVE;
        let more = self.settings.keyboard_interactive && !self.profile.methods.contains(&asked);
        self.profile.methods.iter().copied().chain(more.then_some(asked))
    }

    /// Whether keyboard-interactive asks for anything: without PAM, OpenSSH has nobody to ask.
    fn asks(&self) -> bool {
        self.profile.pam || self.settings.keyboard_interactive
    }

    /// The number of a new connection, from 1.
    fn count(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}

/// What is known of a client once keys are agreed on.
struct Client {
    /// Its identification line, without the ending.
    identification: Tainted,
    /// What it offered in its first KEXINIT, with its HASSH.
    offered: Shown,
    /// The first exchange hash: what signatures are made over.
    session_id: Vec<u8>,
    /// `SESSION` of the event that reported the connection.
    session: u64,
    /// The blob of the host key that signed the first exchange.
    host_key: Vec<u8>,
    /// `EXT_INFO` for a client that wants to know the signature algorithms of the user it names
    /// (`ext-info-in-auth@openssh.com`).
    late_ext_info: Option<Message>,
}

/// What authentication and sessions want done, in this order.
enum Want {
    /// Send this message.
    Send(Message),
    /// Let time pass.
    Wait(Duration),
    /// Report an event.
    Report(Event),
    /// Say why (RFC 4253 section 11.1), then hang up.
    Disconnect(Vec<u8>),
    /// Hang up.
    Close,
}
