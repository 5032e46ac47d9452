//! The first key exchange: messages that break its strict order, as measured against OpenSSH 9.2 sshd,
//! and what takes long.

use crate::dialogue::{Action, Actions, Dialogue};
use crate::replay::{host_keys, opened};
use crate::ssh::SERVICE;
use crate::ssh::wire::{Message, number};

/// The number of a message that no exchange with a curve has: what answers a request for a group.
const GROUP: u8 = 32;

/// A packet in clear.
fn packet(Message(payload): &Message) -> Vec<u8> {
    let padding = 4 + (8 - (payload.len() + 9) % 8) % 8;
    let length = u32::try_from(1 + payload.len() + padding).unwrap();
    [&length.to_be_bytes()[..], &[u8::try_from(padding).unwrap()], payload, &vec![0; padding]].concat()
}

fn kexinit(methods: &str) -> Message {
    let ciphers = ["aes128-ctr"; 2];
    let lists = [methods, "ssh-ed25519"].into_iter().chain(ciphers).chain(["hmac-sha2-256"; 2]);
    lists
        .chain(["none", "none", "", ""])
        .fold(Message::new(number::KEXINIT).raw(&[0; 16]), Message::string)
        .boolean(false)
        .u32(0)
}

/// What OpenSSH says in clear to an identification, a KEXINIT and this message, without its own
/// KEXINIT; and whether it then hangs up.
fn answer(methods: &str, kind: u8) -> (Vec<u8>, bool) {
    let mut conf = crate::Conf::new();
    conf.set_host_keys(host_keys());
    let server = (SERVICE.build)(&conf).unwrap().remove(0);
    let (mut talk, mut out) = opened(&server, false);
    said(talk.as_mut(), b"SSH-2.0-x\r\n", &mut out);
    said(talk.as_mut(), &packet(&kexinit(methods)), &mut out);
    said(talk.as_mut(), &packet(&Message::new(kind)), &mut out)
}

fn said(talk: &mut dyn Dialogue, bytes: &[u8], out: &mut Actions) -> (Vec<u8>, bool) {
    out.drain().for_each(drop);
    assert_eq!(talk.input(bytes, out), Ok(&b""[..]));
    let (mut sent, mut ended) = (Vec::new(), false);
    for action in out.drain() {
        match action {
            Action::Send(bytes) => sent.extend_from_slice(&bytes),
            Action::Close | Action::Reset => ended = true,
            _ => {}
        }
    }
    (sent, ended)
}

#[test]
fn a_message_that_the_chosen_method_has_not_breaks_a_strict_exchange() {
    let (sent, ended) = answer("curve25519-sha256,kex-strict-c-v00@openssh.com", GROUP);
    let text = b"strict KEX violation: unexpected packet type 32 (seqnr 1)";
    assert!(memchr::memmem::find(&sent, text).is_some(), "{}", sent.escape_ascii());
    assert!(ended);
}

#[test]
fn the_same_message_is_not_understood_where_nobody_is_strict() {
    let (sent, ended) = answer("curve25519-sha256", GROUP);
    let unimplemented = Message::new(number::UNIMPLEMENTED).u32(1);
    assert_eq!(sent.get(5..10), Some(&unimplemented.0[..]), "{}", sent.escape_ascii());
    assert!(!ended);
}

#[test]
fn what_is_not_of_the_transport_ends_every_first_exchange_without_a_word() {
    for methods in ["curve25519-sha256,kex-strict-c-v00@openssh.com", "curve25519-sha256"] {
        assert_eq!(answer(methods, number::USERAUTH_REQUEST), (Vec::new(), true), "{methods}");
    }
}

#[test]
fn what_takes_long_to_compute_is_a_call_of_its_own() {
    let mut conf = crate::Conf::new();
    conf.set_host_keys(host_keys());
    let server = (SERVICE.build)(&conf).unwrap().remove(0);
    let (mut talk, mut out) = opened(&server, false);
    let public = packet(&Message::new(number::KEX_FIRST).mpint(&[7; 1000]));
    let all = [b"SSH-2.0-x\r\n", &packet(&kexinit("diffie-hellman-group18-sha512"))[..], &public].concat();
    assert_eq!(talk.input(&all, &mut out), Ok(&public[..]));
    assert!(talk.laborious());
    let (sent, _) = said(talk.as_mut(), &public, &mut out);
    assert_eq!(sent.get(5), Some(&31));
    assert!(!talk.laborious());
}
