//! The client with a server made of the same parts. What it says to the genuine one is in the end to
//! end tests.

use aws_lc_rs::digest::digest;

use super::super::hostkey::{Kind, Wanted};
use super::super::kex::{self, Agreed, Step};
use super::super::kexinit;
use super::super::keys::Keys;
use super::super::packet::{Direction, Protection};
use super::super::{cipher, mac};
use super::*;
use crate::ssh::profile::Product;

const SERVER: &[u8] = b"SSH-2.0-Server";

/// As much of a server as answers one key exchange, and then says back what it hears.
struct Server {
    random: Random,
    sending: Sending,
    receiving: Receiving,
    key: HostKey,
    exchange: Option<(kex::Exchange, kexinit::Chosen)>,
    client: Option<Vec<u8>>,
    kexinits: [Vec<u8>; 2],
    next: Option<Protection<cipher::Opening>>,
    session_id: Vec<u8>,
    /// What it does to its signature.
    spoil: fn(&mut Vec<u8>),
    waiting: Vec<u8>,
}

impl Server {
    fn new() -> Self {
        Self {
            random: Random::new([3; 32]),
            sending: Sending::new(Padding::ZeroWhileClear),
            receiving: Receiving::new(&packet::OPENSSH),
            key: HostKey::generate(Wanted { kind: Kind::Ed25519, bits: 256 }).unwrap(),
            exchange: None,
            client: None,
            kexinits: Default::default(),
            next: None,
            session_id: Vec::new(),
            spoil: |_| {},
            waiting: Vec::new(),
        }
    }

    fn send(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.sending.packet(message, &mut self.random, out);
    }

    fn input(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (mut waiting, mut out) = (std::mem::take(&mut self.waiting), Vec::new());
        waiting.extend_from_slice(bytes);
        let mut rest = &waiting[..];
        if self.client.is_none() {
            let Some((line, after)) = first_line(rest) else {
                self.waiting = waiting;
                return out;
            };
            self.client = Some(line.to_vec());
            rest = after;
        }
        while let Some(payload) = self.receiving.packet(&mut rest).unwrap() {
            self.payload(&payload, &mut out);
        }
        self.waiting = rest.to_vec();
        out
    }

    fn payload(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        match payload[0] {
            number::KEXINIT => {
                let offer = kexinit::Offer::read(&payload[1..], Product::OpenSsh).unwrap();
                let chosen = kexinit::choose(&offer, &offer, Product::OpenSsh).unwrap();
                let groups = kex::Groups { min: 2048, max: 8192, old_request: false };
                let method = kex::find(chosen.kex.as_bytes()).unwrap();
                self.exchange = Some((kex::Exchange::new(method, groups), chosen));
                // It offers whatever it is offered.
                self.kexinits = [payload.to_vec(), payload.to_vec()];
                self.send(payload, out);
            }
            number::KEX_FIRST..=number::KEX_LAST => {
                let (exchange, _) = self.exchange.as_mut().unwrap();
                match exchange.message(payload[0], &payload[1..], &mut self.random).unwrap() {
                    Step::Send(message) => self.send(&message.0, out),
                    Step::Agreed(agreed) => self.agreed(&agreed, out),
                }
            }
            number::NEWKEYS => self.receiving.rekey(self.next.take().unwrap(), false),
            _ => self.send(payload, out),
        }
    }

    fn agreed(&mut self, agreed: &Agreed, out: &mut Vec<u8>) {
        let (_, chosen) = self.exchange.take().unwrap();
        let fields = Message::part()
            .string(self.client.as_ref().unwrap())
            .string(SERVER)
            .string(&self.kexinits[0])
            .string(&self.kexinits[1])
            .string(self.key.blob())
            .raw(&agreed.exchanged)
            .raw(&agreed.shared);
        let hash = digest(agreed.hash, &fields.0).as_ref().to_vec();
        let mut signature = self.key.sign("ssh-ed25519", &hash, &mut self.random).unwrap();
        (self.spoil)(&mut signature);
        let reply = Message::new(agreed.reply).string(self.key.blob()).raw(&agreed.public).string(signature);
        self.send(&reply.0, out);
        self.send(&[number::NEWKEYS], out);
        if self.session_id.is_empty() {
            self.session_id.clone_from(&hash);
        }
        let keys = Keys::new(agreed.hash, &agreed.shared, &hash, &self.session_id);
        let derive = |letter, size| keys.derive(letter, size);
        let (cipher, mac) = (cipher::find(&chosen.ciphers[0]).unwrap(), mac::find(&chosen.macs[0]));
        self.sending.rekey(Protection::new(Direction::ToClient, cipher, mac, derive).unwrap(), false);
        self.next = Protection::new(Direction::ToServer, cipher, mac, derive);
    }
}

fn offer() -> Offer {
    Offer { kex: vec!["curve25519-sha256".into()], ..Offer::default() }
}

/// Lets both talk, in pieces of this size, until neither has more to say.
fn talk(
    client: &mut Client,
    server: &mut Server,
    piece: usize,
    greeting: &[u8],
) -> Result<Vec<Heard>, Failure> {
    let (mut heard, mut to_client) = (Vec::new(), greeting.to_vec());
    let mut to_server = client.open();
    for _ in 0..20 {
        for bytes in to_server.chunks(piece) {
            to_client.extend(server.input(bytes));
        }
        to_server.clear();
        for bytes in std::mem::take(&mut to_client).chunks(piece) {
            for it in client.input(bytes, &mut to_server)? {
                if let Heard::Keys(_) = it {
                    client.send(&service_request("ssh-userauth"), &mut to_server);
                    client.send(&password("root", "toor"), &mut to_server);
                }
                heard.push(it);
            }
        }
    }
    Ok(heard)
}

const GREETING: &[u8] = b"A word before.\r\nSSH-2.0-Server\r\n";

#[test]
fn a_conversation_is_the_same_in_pieces_of_any_size() {
    let mut before = None;
    for (piece, eager) in [(1, false), (7, false), (100_000, false), (1, true), (100_000, true)] {
        let mut server = Server::new();
        let mut client = Client::new(Offer { eager, ..offer() }, [1; 32]);
        let heard = talk(&mut client, &mut server, piece, GREETING).unwrap();
        let [line, identification, keys, service, login] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!(*line, Heard::Line(b"A word before.".to_vec()));
        assert_eq!(*identification, Heard::Identification(SERVER.to_vec()));
        let Heard::Keys(agreement) = keys else { panic!("{keys:?}") };
        assert_eq!(agreement.public_key, server.key.blob());
        assert!(agreement.proved);
        assert_eq!(*service, Heard::Message(b"\x05\0\0\0\x0cssh-userauth".to_vec()));
        assert_eq!(*login, Heard::Message(password("root", "toor")));
        let agreed = (agreement.ciphers.clone(), client.session_id().len(), client.sequence());
        assert_eq!(*before.get_or_insert_with(|| agreed.clone()), agreed);
    }
}

#[test]
fn new_keys_may_be_asked_for_and_messages_wait_for_them() {
    let (mut server, mut client) = (Server::new(), Client::new(offer(), [1; 32]));
    talk(&mut client, &mut server, 1000, GREETING).unwrap();
    let first = client.session_id().to_vec();
    let mut out = Vec::new();
    client.rekey(&mut out);
    client.send(&ping(b"held"), &mut out);
    let mut heard = Vec::new();
    while !out.is_empty() {
        let answer = server.input(&std::mem::take(&mut out));
        heard.extend(client.input(&answer, &mut out).unwrap());
    }
    assert!(matches!(&heard[..], [Heard::Keys(_), Heard::Message(it)] if *it == ping(b"held")), "{heard:?}");
    assert_eq!((client.session_id(), server.session_id.as_slice()), (&first[..], &first[..]));
}

#[test]
fn what_the_server_cannot_prove_ends_the_conversation() {
    let failure = |spoil: fn(&mut Vec<u8>)| {
        let mut server = Server { spoil, ..Server::new() };
        talk(&mut Client::new(offer(), [1; 32]), &mut server, 1000, GREETING).unwrap_err()
    };
    assert_eq!(failure(|it| *it.last_mut().unwrap() ^= 1), Failure::Signature);
    assert_eq!(failure(Vec::clear), Failure::Signature);
}

#[test]
fn what_no_server_should_say_is_a_failure() {
    let failure = |bytes: &[u8]| Client::new(offer(), [1; 32]).input(bytes, &mut Vec::new()).unwrap_err();
    assert_eq!(failure(&vec![b'x'; LINES_MAX + 1]), Failure::Identification);
    let greeted = |message: &[u8]| {
        let mut bytes = SERVER.to_vec();
        bytes.push(b'\n');
        Sending::new(Padding::Random).packet(message, &mut Random::new([0; 32]), &mut bytes);
        failure(&bytes)
    };
    assert_eq!(greeted(&[number::NEWKEYS]), Failure::OutOfPlace(number::NEWKEYS));
    assert_eq!(greeted(&[31]), Failure::OutOfPlace(31));
    assert_eq!(greeted(&[number::KEXINIT, 1]), Failure::Malformed("KEXINIT"));
    let mut other = Message::new(number::KEXINIT).raw(&[0; 16]);
    for _ in 0..10 {
        other = other.string("x");
    }
    assert_eq!(
        greeted(&other.boolean(false).u32(0).0),
        Failure::NothingInCommon("no key exchange method in common")
    );
    assert_eq!(failure(b"SSH-2.0-x\n\xff\xff\xff\xffabcd"), Failure::Packet("Length(4294967295)".into()));
}
