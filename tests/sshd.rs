//! Our own SSH client with the genuine `sshd`: every algorithm that both know, a login, a rekey in the
//! middle of data, compression. What one of them said wrong, the other would not take.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serin_services::ssh::client::{self, Agreement, Client, Heard, Offer};
use serin_services::ssh::hostkey::{HostKey, Kind, Wanted};
use serin_tests::{eventually, free_port};
use tempfile::TempDir;

/// Bytes that a command writes, half of them once it is told to go on.
const DATA: usize = 300_000;
const COMMAND: &str = "head -c 150000 /dev/zero | tr '\\0' x; read go; head -c 150000 /dev/zero | tr '\\0' x";

/// Message numbers.
const FAILURE: u8 = 51;
const SUCCESS: u8 = 52;
const ACCEPTED: u8 = 6;
const CHANNEL_OPEN: u8 = 91;
const CHANNEL_DATA: u8 = 94;
const CHANNEL_CLOSE: u8 = 97;

/// A running `sshd` that lets one key in, as whoever runs the test.
struct Sshd {
    child: Child,
    port: u16,
    user: String,
    key: HostKey,
    _folder: TempDir,
}

impl Sshd {
    fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = |name: &str| folder.path().join(name).display().to_string();
        let generate = || HostKey::generate(Wanted { kind: Kind::Ed25519, bits: 256 }).expect("a key");
        let key = generate();
        fs::write(file("host"), generate().to_openssh("").expect("a key file")).expect("written");
        fs::write(file("authorized"), key.public_line("")).expect("written");
        assert!(Command::new("chmod").args(["600", &file("host")]).status().expect("chmod").success());
        let user = Command::new("id").arg("-un").output().expect("id").stdout;
        let port = free_port();
        // The folder that its unprivileged half is locked into.
        let _ = fs::create_dir("/run/sshd");
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-f", "/dev/null", "-p", &port.to_string(), "-h", &file("host")])
            .args(["-E", &file("log"), "-o", "ListenAddress=127.0.0.1", "-o", "PidFile=none"])
            .args(["-o", &format!("AuthorizedKeysFile={}", file("authorized")), "-o", "StrictModes=no"])
            .args(["-o", "MaxStartups=100", "-o", "UsePAM=no", "-o", "PermitRootLogin=yes"])
            .args(["-o", "Ciphers=+aes128-cbc,aes192-cbc,aes256-cbc,3des-cbc"])
            .args(["-o", &format!("MACs=+{}", OLD_MACS.join(","))])
            .args(["-o", "KexAlgorithms=+diffie-hellman-group14-sha1,diffie-hellman-group-exchange-sha1"])
            .stdin(Stdio::null())
            .spawn()
            .expect("openssh-server is installed");
        eventually("sshd listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        let user = String::from_utf8_lossy(&user).trim().to_owned();
        Self { child, port, user, key, _folder: folder }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection, driven until it ends.
struct Talk<'s> {
    sshd: &'s Sshd,
    stream: TcpStream,
    client: Client,
    heard: Vec<Heard>,
}

impl<'s> Talk<'s> {
    fn start(sshd: &'s Sshd, offer: Offer) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", sshd.port)).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        let mut client = Client::new(offer, [9; 32]);
        stream.write_all(&client.open()).expect("sent");
        Self { sshd, stream, client, heard: Vec::new() }
    }

    fn send(&mut self, message: &[u8]) {
        let mut out = Vec::new();
        self.client.send(message, &mut out);
        self.stream.write_all(&out).expect("sent");
    }

    /// Reads until something of interest has come.
    #[track_caller]
    fn until<T>(&mut self, mut find: impl FnMut(&Heard) -> Option<T>) -> T {
        let mut buffer = [0; 4096];
        loop {
            while !self.heard.is_empty() {
                if let Some(found) = find(&self.heard.remove(0)) {
                    return found;
                }
            }
            let read = match self.stream.read(&mut buffer) {
                // A wait with a limit does not go on by itself after a signal.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.expect("sshd says something"),
            };
            assert_ne!(read, 0, "sshd hung up");
            let mut out = Vec::new();
            self.heard = self.client.input(&buffer[..read], &mut out).expect("what can be read");
            self.stream.write_all(&out).expect("sent");
        }
    }

    #[track_caller]
    fn message(&mut self, number: u8) -> Vec<u8> {
        self.until(|heard| match heard {
            Heard::Message(it) if it[0] == number => Some(it.clone()),
            Heard::Message(it) => {
                assert!(!matches!(it[0], 1 | 3), "{:?}", it.escape_ascii().to_string());
                None
            }
            _ => None,
        })
    }

    #[track_caller]
    fn keys(&mut self) -> Agreement {
        self.until(|heard| if let Heard::Keys(it) = heard { Some(it.clone()) } else { None })
    }

    /// What sshd says beyond what is understood: its bytes are not looked at.
    fn rest(&mut self) -> std::io::Result<usize> {
        let mut buffer = [0; 4096];
        let mut out = Vec::new();
        loop {
            match self.stream.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(read) if read > 0 => {
                    // EXT_INFO may come late; anything else is a word too many.
                    for heard in self.client.input(&buffer[..read], &mut out).expect("packets") {
                        let Heard::Message(message) = heard else { continue };
                        assert_eq!(message[0], 7, "{:?}", message.escape_ascii().to_string());
                    }
                }
                done => return done,
            }
        }
    }

    /// Logs in, has a command write, and agrees on new keys in the middle of it.
    #[track_caller]
    fn whole(&mut self) -> Agreement {
        let agreement = self.keys();
        self.send(&client::service_request("ssh-userauth"));
        self.message(ACCEPTED);
        let sshd = self.sshd;
        self.send(&client::none(&sshd.user));
        let methods = self.message(FAILURE);
        assert!(methods.windows(9).any(|it| it == b"publickey"));
        self.send(&client::offer_key(&sshd.user, "ssh-ed25519", b"no key"));
        self.message(FAILURE);
        let login = self.client.sign_in(&sshd.user, "ssh-ed25519", &sshd.key).expect("a signature");
        self.send(&login);
        self.message(SUCCESS);
        self.send(&client::open_session(7));
        let opened = self.message(CHANNEL_OPEN);
        let theirs = u32::from_be_bytes(opened[5..9].try_into().unwrap());
        let mut command = u32::try_from(COMMAND.len()).unwrap().to_be_bytes().to_vec();
        command.extend(COMMAND.as_bytes());
        self.send(&client::channel_request(theirs, "exec", &command));
        let mut data = self.message(CHANNEL_DATA)[9..].to_vec();
        let mut out = Vec::new();
        self.client.rekey(&mut out);
        self.stream.write_all(&out).expect("sent");
        self.until(|heard| match heard {
            Heard::Keys(_) => Some(()),
            Heard::Message(it) if it[0] == CHANNEL_DATA => {
                data.extend(&it[9..]);
                None
            }
            _ => None,
        });
        self.send(&client::channel_data(theirs, b"go\n"));
        self.until(|heard| match heard {
            Heard::Message(it) if it[0] == CHANNEL_DATA => {
                data.extend(&it[9..]);
                None
            }
            Heard::Message(it) if it[0] == CHANNEL_CLOSE => Some(()),
            _ => None,
        });
        assert!(data.len() == DATA && data.iter().all(|&it| it == b'x'), "{} bytes", data.len());
        agreement
    }
}

const CIPHERS: &[&str] = &[
    "chacha20-poly1305@openssh.com",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes128-cbc",
    "aes192-cbc",
    "aes256-cbc",
    "3des-cbc",
];
const OLD_MACS: &[&str] = &[
    "hmac-sha1-96",
    "hmac-sha1-96-etm@openssh.com",
    "hmac-md5",
    "hmac-md5-96",
    "hmac-md5-etm@openssh.com",
    "hmac-md5-96-etm@openssh.com",
];
const MACS: &[&str] = &[
    "umac-64-etm@openssh.com",
    "umac-128-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha1-etm@openssh.com",
    "umac-64@openssh.com",
    "umac-128@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-sha1",
];
const KEX: &[&str] = &[
    "sntrup761x25519-sha512@openssh.com",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group14-sha1",
];

fn one(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

#[test]
fn every_cipher_is_understood() {
    let sshd = Sshd::start();
    for cipher in CIPHERS {
        for mac in ["hmac-sha2-256", "hmac-sha2-256-etm@openssh.com"] {
            let offer = Offer { ciphers: one(cipher), macs: one(mac), ..Offer::default() };
            let agreement = Talk::start(&sshd, offer).whole();
            assert_eq!(agreement.ciphers, [*cipher, *cipher]);
            assert!(agreement.proved);
        }
    }
}

#[test]
fn every_mac_is_understood() {
    let sshd = Sshd::start();
    for mac in MACS.iter().chain(OLD_MACS) {
        for cipher in ["aes128-ctr", "aes256-cbc"] {
            let offer = Offer { ciphers: one(cipher), macs: one(mac), ..Offer::default() };
            let agreement = Talk::start(&sshd, offer).whole();
            assert_eq!(agreement.macs, [*mac, *mac]);
        }
    }
}

#[test]
fn every_key_exchange_is_understood_with_and_without_strict_order() {
    let sshd = Sshd::start();
    for kex in KEX {
        for marker in ["kex-strict-c-v00@openssh.com", "ext-info-c"] {
            let offer =
                Offer { kex: vec![(*kex).to_owned(), marker.to_owned()], eager: true, ..Offer::default() };
            assert_eq!(Talk::start(&sshd, offer).whole().kex, *kex);
        }
    }
}

/// What our packets take for OpenSSH's way is its way: a wrong packet in CBC is read on from for
/// 256 KiB, counted from its first byte; with any other protection it hangs up at once. It never says
/// why.
#[test]
fn a_wrong_packet_ends_the_connection_when_we_say() {
    let sshd = Sshd::start();
    for (cipher, mac, bytes) in [
        ("aes128-cbc", "hmac-sha1", 256 * 1024),
        ("3des-cbc", "umac-64@openssh.com", 256 * 1024),
        ("aes128-cbc", "hmac-sha1-etm@openssh.com", 4),
        ("aes128-ctr", "hmac-sha1", 16),
        ("chacha20-poly1305@openssh.com", "", 4),
        ("aes128-gcm@openssh.com", "", 4),
    ] {
        let offer = Offer { ciphers: one(cipher), macs: one(mac), ..Offer::default() };
        let mut talk = Talk::start(&sshd, offer);
        talk.keys();
        // Lengths that decrypt to nonsense, and one that is nonsense as it stands.
        talk.stream.write_all(&vec![0xff; bytes - 1]).expect("sent");
        talk.stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a limit");
        let read = talk.rest();
        assert_eq!(read.map_err(|it| it.kind()), Err(ErrorKind::WouldBlock), "{cipher} {mac}: too early");
        talk.stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        talk.stream.write_all(&[0xff]).expect("sent");
        assert!(matches!(talk.rest(), Ok(0)), "{cipher} {mac}: a word, or none");
    }
}

#[test]
fn compression_starts_with_the_login() {
    let sshd = Sshd::start();
    for cipher in ["chacha20-poly1305@openssh.com", "aes128-ctr", "3des-cbc"] {
        let offer = Offer { ciphers: one(cipher), compression: one("zlib@openssh.com"), ..Offer::default() };
        let agreement = Talk::start(&sshd, offer).whole();
        assert_eq!(agreement.compression, ["zlib@openssh.com", "zlib@openssh.com"]);
    }
}
