//! Packets: there and back in every combination, damaged, and as another implementation writes them.

use super::super::cipher::{self, Opening, Sealing};
use super::super::mac;
use super::super::random::Random;
use super::*;

/// What the packets of `packets.txt` say, and a long one.
fn payloads() -> [Vec<u8>; 3] {
    [(1..41).collect(), b"\x05\0\0\0\x0cssh-userauth".to_vec(), vec![b'x'; 5000]]
}

fn material(letter: u8, size: usize) -> Vec<u8> {
    (0..size).map(|it| u8::try_from((it * 7 + usize::from(letter)) % 256).unwrap()).collect()
}

fn sealing(cipher: &'static cipher::Algorithm, mac: Option<&'static mac::Algorithm>) -> Sending {
    let mut sending = Sending::new(Padding::ZeroWhileClear);
    sending.rekey(Protection::<Sealing>::new(Direction::ToServer, cipher, mac, material).unwrap(), true);
    sending
}

fn opening(cipher: &'static cipher::Algorithm, mac: Option<&'static mac::Algorithm>) -> Receiving {
    let mut receiving = Receiving::new(&OPENSSH);
    receiving.rekey(Protection::<Opening>::new(Direction::ToServer, cipher, mac, material).unwrap(), true);
    receiving
}

/// Every cipher with every MAC it can have.
fn combinations() -> Vec<(&'static cipher::Algorithm, Option<&'static mac::Algorithm>)> {
    let macs = |cipher: &'static cipher::Algorithm| mac::ALL.iter().map(move |mac| (cipher, Some(mac)));
    let (alone, with_mac): (Vec<_>, Vec<_>) = cipher::ALL.iter().partition(|it| it.authenticates());
    alone.into_iter().map(|it| (it, None)).chain(with_mac.into_iter().flat_map(macs)).collect()
}

/// All payloads in `bytes`, which come one at a time.
fn trickled(receiving: &mut Receiving, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let (mut payloads, mut waiting) = (Vec::new(), Vec::new());
    for byte in bytes {
        waiting.push(*byte);
        let mut rest = &waiting[..];
        payloads.extend(receiving.packet(&mut rest)?);
        let rest = rest.to_vec();
        waiting = rest;
    }
    assert_eq!(waiting, b"", "nothing is left");
    Ok(payloads)
}

fn random() -> Random {
    Random::new([7; 32])
}

#[test]
fn every_combination_comes_back_byte_by_byte() {
    for (cipher, mac) in combinations() {
        for compressed in [false, true] {
            let (mut sending, mut receiving) = (sealing(cipher, mac), opening(cipher, mac));
            if compressed {
                sending.compress();
                receiving.decompress();
            }
            let mut bytes = Vec::new();
            for payload in payloads() {
                sending.packet(&payload, &mut random(), &mut bytes);
            }
            let name = (cipher.name, mac.map(|it| it.name), compressed);
            assert_eq!(trickled(&mut receiving, &bytes), Ok(payloads().to_vec()), "{name:?}");
            assert_eq!((sending.sequence(), receiving.sequence()), (3, 2));
        }
    }
}

#[test]
fn packets_of_another_implementation_are_read() {
    let lines: Vec<Vec<&str>> = include_str!("packets.txt")
        .lines()
        .filter(|it| !it.starts_with('#'))
        .map(|it| it.split(' ').collect())
        .collect();
    for line in &lines {
        let [cipher, mac, digits] = line[..] else { panic!("{line:?}") };
        let bytes: Vec<u8> = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect();
        let mut receiving = opening(cipher::find(cipher).unwrap(), mac::find(mac));
        assert_eq!(trickled(&mut receiving, &bytes), Ok(payloads()[..2].to_vec()), "{cipher} {mac}");
    }
    let missing = |at: usize, name: &str| lines.iter().all(|it| it[at] != name);
    assert!(!cipher::ALL.iter().any(|it| missing(0, it.name)), "every cipher is among them");
    assert!(!mac::ALL.iter().any(|it| missing(1, it.name)), "every MAC is among them");
}

#[test]
fn no_changed_byte_goes_unnoticed() {
    // What follows: for a length that became larger, and for what is read on.
    let enough = vec![0; 300_000];
    let telling = |cipher: &str, mac: Option<&str>| {
        cipher == "aes128-ctr" || mac.is_none_or(|it| it.starts_with("hmac-sha1"))
    };
    for (cipher, mac) in combinations().into_iter().filter(|it| telling(it.0.name, it.1.map(|it| it.name))) {
        let mut bytes = Vec::new();
        let mut sending = sealing(cipher, mac);
        for payload in &payloads()[..2] {
            sending.packet(payload, &mut random(), &mut bytes);
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            let mut receiving = opening(cipher, mac);
            let mut rest = &changed[..];
            let mut found = Ok(None);
            for _ in 0..2 {
                found = found.and_then(|_| receiving.packet(&mut rest));
            }
            if found == Ok(None) {
                let more = [rest, &enough].concat();
                found = receiving.packet(&mut &more[..]);
            }
            assert!(found.is_err(), "{} {mac:?} {at}: {found:?}", cipher.name);
        }
    }
}

#[test]
fn openssh_pads_clear_packets_with_zeroes_to_eight_bytes() {
    let (mut sending, mut bytes) = (Sending::new(Padding::ZeroWhileClear), Vec::new());
    sending.packet(&[21], &mut random(), &mut bytes);
    assert_eq!(bytes, [0, 0, 0, 12, 10, 21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.clear();
    sending.packet(b"abcdefg", &mut random(), &mut bytes);
    assert_eq!(bytes, *b"\0\0\0\x0c\x04abcdefg\0\0\0\0");
}

#[test]
fn what_has_its_length_apart_is_padded_without_it() {
    let chacha = cipher::find("chacha20-poly1305@openssh.com").unwrap();
    let sizes = |padding| {
        let mut sending = Sending::new(padding);
        sending
            .rekey(Protection::<Sealing>::new(Direction::ToServer, chacha, None, material).unwrap(), false);
        [1, 3, 4].map(|payload| {
            let mut bytes = Vec::new();
            sending.packet(&vec![0; payload], &mut random(), &mut bytes);
            bytes.len() - cipher::TAG
        })
    };
    assert_eq!(sizes(Padding::ZeroWhileClear), [12, 12, 20]);
    assert_eq!(sizes(Padding::Random), [20, 20, 20]);
}

#[test]
fn wrong_clear_packets_are_told_apart() {
    let packet = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes.resize(64, 0);
        Receiving::new(&OPENSSH).packet(&mut &bytes[..])
    };
    assert_eq!(packet(&[0, 4, 0, 1]), Err(Fault::Length(262_145)));
    assert_eq!(packet(&[0xff; 4]), Err(Fault::Length(u32::MAX)));
    assert_eq!(packet(&[0, 0, 0, 4]), Err(Fault::Length(4)));
    assert_eq!(packet(&[0, 0, 0, 13]), Err(Fault::Alignment(13)));
    assert_eq!(packet(&[0, 0, 0, 12, 3]), Err(Fault::Padding(3)));
    assert_eq!(packet(&[0, 0, 0, 12, 200]), Err(Fault::Incomplete));
    assert_eq!(packet(&[0, 0, 0, 12, 11]), Err(Fault::Incomplete));
    assert_eq!(packet(&[0, 0, 0, 12, 10, 21]), Ok(Some(vec![21])));
    assert_eq!(packet(&[0, 4, 0, 0]), Err(Fault::Alignment(262_144)), "the largest length fits no block");
    assert_eq!(packet(&[0, 3, 0xff, 0xfc]), Ok(None));
}

#[test]
fn dropbear_takes_any_padding_but_no_large_packet() {
    let mut receiving = Receiving::new(&DROPBEAR);
    assert_eq!(receiving.packet(&mut &[0, 0, 0, 4, 0, 2, 3, 4][..]), Err(Fault::Length(4)));
    assert_eq!(
        receiving
            .packet(&mut &[0, 0, 0, 12, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12][..])
            .unwrap()
            .unwrap()
            .len(),
        11
    );
    assert_eq!(receiving.packet(&mut &[0, 0, 0x88, 0xb4, 4, 0, 0, 0][..]), Ok(None), "35,000 in all");
    let mut receiving = Receiving::new(&DROPBEAR);
    assert_eq!(receiving.packet(&mut &[0, 0, 0x88, 0xbc, 4, 0, 0, 0][..]), Err(Fault::Length(35_004)));
}

/// OpenSSH 9.2 (packet.c, `ssh_packet_start_discard`): 256 KiB in all, counted from the packet's
/// first byte, before it hangs up; other ciphers and MACs are told at once.
#[test]
fn a_wrong_packet_in_cbc_is_read_on_from() {
    let read = |cipher: &str, mac: &str| {
        let (cipher, mac) = (cipher::find(cipher).unwrap(), mac::find(mac));
        let mut receiving = opening(cipher, mac);
        let mut read = 0;
        loop {
            match receiving.packet(&mut &[0x55; 64][..]) {
                Ok(None) => read += 64,
                Ok(Some(payload)) => panic!("{payload:?}"),
                Err(fault) => return (read + 64, fault),
            }
        }
    };
    assert_eq!(read("aes128-cbc", "hmac-sha1"), (262_144, Fault::ReadOn));
    assert_eq!(read("3des-cbc", "hmac-md5"), (262_144, Fault::ReadOn));
    assert!(matches!(read("aes128-ctr", "hmac-sha1"), (64, Fault::Length(_))));
    let etm = read("aes128-cbc", "hmac-sha1-etm@openssh.com");
    assert_eq!(etm, (64, Fault::Length(0x5555_5555)));

    let mac = mac::find("hmac-sha1");
    let (mut bytes, mut receiving) = (Vec::new(), opening(cipher::find("aes128-cbc").unwrap(), mac));
    sealing(cipher::find("aes128-cbc").unwrap(), mac).packet(b"hello", &mut random(), &mut bytes);
    bytes[20] ^= 1;
    bytes.resize(262_143, 0);
    assert_eq!(receiving.packet(&mut &bytes[..]), Ok(None));
    assert_eq!(receiving.packet(&mut &[][..]), Ok(None));
    assert_eq!(receiving.packet(&mut &[0][..]), Err(Fault::ReadOn));
}

#[test]
fn numbers_of_packets_go_round_and_start_anew_where_agreed() {
    let (cipher, mac) = (cipher::find("aes128-ctr").unwrap(), mac::find("umac-64-etm@openssh.com"));
    let (mut sending, mut receiving) = (sealing(cipher, mac), opening(cipher, mac));
    (sending.sequence, receiving.sequence) = (u32::MAX, u32::MAX);
    for number in [u32::MAX, 0, 1] {
        let mut bytes = Vec::new();
        sending.packet(b"x", &mut random(), &mut bytes);
        assert_eq!(receiving.packet(&mut &bytes[..]), Ok(Some(b"x".to_vec())));
        assert_eq!(receiving.sequence(), number);
    }
    let new = || Protection::new(Direction::ToClient, cipher, mac, material).unwrap();
    sending.rekey(new(), false);
    assert_eq!(sending.sequence(), 2);
    sending.rekey(new(), true);
    assert_eq!(sending.sequence(), 0);
}

#[test]
fn keys_of_a_wrong_size_protect_nothing() {
    let aes = cipher::find("aes128-ctr").unwrap();
    let new = |mac, material: fn(u8, usize) -> Vec<u8>| {
        Protection::<Sealing>::new(Direction::ToServer, aes, mac, material).is_some()
    };
    let mac = mac::find("hmac-sha1");
    assert!(new(mac, material));
    assert!(!new(mac, |letter, size| material(letter, size + 1)));
    assert!(!new(None, material));
    assert!(cipher::find("none").is_none() && mac::find("none").is_none());
}

#[test]
fn a_peer_that_compresses_too_well_is_stopped() {
    let (cipher, mac) = (cipher::find("aes128-gcm@openssh.com").unwrap(), None);
    let (mut sending, mut receiving) = (sealing(cipher, mac), opening(cipher, mac));
    sending.compress();
    receiving.decompress();
    let mut bytes = Vec::new();
    sending.packet(&vec![0; 262_145], &mut random(), &mut bytes);
    assert!(bytes.len() < 1000);
    assert_eq!(receiving.packet(&mut &bytes[..]), Err(Fault::Compression));
}
