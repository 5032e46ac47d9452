//! Arbitrary bytes as packets, and what must hold of them: for fuzzing.

use super::super::cipher::{self, Keyed};
use super::super::mac;
use super::super::random::Random;
use super::{Direction, Fault, LEAST_PADDING, OPENSSH, Padding, Protection, Receiving, Sending};

/// What protects the packets: none, and one of each way to.
const WAYS: [Option<(&str, &str)>; 7] = [
    None,
    Some(("chacha20-poly1305@openssh.com", "")),
    Some(("aes256-gcm@openssh.com", "")),
    Some(("aes128-ctr", "umac-64-etm@openssh.com")),
    Some(("aes128-ctr", "hmac-sha1")),
    Some(("3des-cbc", "hmac-md5-96")),
    Some(("arcfour128", "umac-128@openssh.com")),
];

/// Takes the first two bytes for what to do, and does it with the others.
///
/// # Panics
///
/// When the same bytes mean something else in another slicing, when a payload is too long, or when a
/// changed packet passes for genuine.
pub fn drive(bytes: &[u8]) {
    let Some((&[way, what], said)) = bytes.split_first_chunk() else { return };
    let way = WAYS.iter().cycle().nth(way.into()).copied().flatten();
    match what % 3 {
        0 => in_any_slicing(way, what >= 128, said),
        1 => compressed(way, said),
        _ => changed(way, said),
    }
}

fn both(way: Option<(&str, &str)>) -> (Sending, Receiving) {
    let (mut sending, mut receiving) = (Sending::new(Padding::ZeroWhileClear), Receiving::new(&OPENSSH));
    if let (Some(seal), Some(open)) = (protection(way), protection(way)) {
        sending.rekey(seal, false);
        receiving.rekey(open, false);
    }
    (sending, receiving)
}

fn protection<C: Keyed>(way: Option<(&str, &str)>) -> Option<Protection<C>> {
    let (cipher, mac) = way?;
    let derive = |letter, size| vec![letter; size];
    Protection::new(Direction::ToServer, cipher::find(cipher)?, mac::find(mac), derive)
}

/// Every payload up to the first fault.
fn payloads(receiving: &mut Receiving, bytes: &[u8], piece: usize) -> (Vec<Vec<u8>>, Option<Fault>) {
    let (mut found, mut waiting) = (Vec::new(), Vec::new());
    for more in bytes.chunks(piece) {
        waiting.extend_from_slice(more);
        let mut rest = waiting.as_slice();
        loop {
            match receiving.packet(&mut rest) {
                Ok(Some(payload)) => found.push(payload),
                Ok(None) => break,
                Err(fault) => return (found, Some(fault)),
            }
        }
        waiting = rest.to_vec();
    }
    (found, None)
}

fn in_any_slicing(way: Option<(&str, &str)>, decompressed: bool, said: &[u8]) {
    let heard = |piece| {
        let mut receiving = both(way).1;
        if decompressed {
            receiving.decompress();
        }
        payloads(&mut receiving, said, piece)
    };
    let at_once = heard(said.len().max(1));
    assert_eq!(at_once, heard(1), "byte by byte");
    assert!(at_once.0.iter().all(|it| !it.is_empty() && it.len() <= OPENSSH.longest_payload));
}

/// Under the right keys, whatever it decompresses to.
fn compressed(way: Option<(&str, &str)>, said: &[u8]) {
    let (mut sending, mut receiving) = both(way);
    receiving.decompress();
    let mut bytes = Vec::new();
    for payload in said.chunks(1000) {
        sending.packet(payload, &mut Random::new([0; 32]), &mut bytes);
    }
    let (found, fault) = payloads(&mut receiving, &bytes, bytes.len().max(1));
    assert!(found.iter().all(|it| !it.is_empty() && it.len() <= OPENSSH.longest_payload));
    assert!(matches!(fault, None | Some(Fault::Compression | Fault::Incomplete)), "{fault:?}");
}

/// One byte of a packet is changed: that is noticed, but for packets in the clear.
fn changed(way: Option<(&str, &str)>, said: &[u8]) {
    let Some((&[place, more, mask], payload)) = said.split_first_chunk() else { return };
    let (mut sending, mut receiving) = both(way);
    let mut bytes = Vec::new();
    sending.packet(payload, &mut Random::new([0; 32]), &mut bytes);
    let place = usize::from(place).saturating_mul(256).saturating_add(more.into());
    let Some(byte) = bytes.get_mut(place) else { return };
    *byte ^= mask;
    let (found, fault) = payloads(&mut receiving, &bytes, 16);
    let genuine = mask == 0 && !payload.is_empty();
    assert!(way.is_none() || found.is_empty() != genuine, "{found:?} {fault:?}");
    assert!(found.iter().all(|it| it.len() <= bytes.len().saturating_sub(LEAST_PADDING)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the fuzz target does, in small.
    #[test]
    fn arbitrary_packets_hold_to_the_rules() {
        let mut random = Random::new([5; 32]);
        for run in 0..3000_u32 {
            let mut bytes = vec![0; usize::try_from(run % 300).unwrap()];
            random.fill(&mut bytes);
            // Lengths that could be, now and then, and changes within the packet.
            if let Some(high) = bytes.get_mut(2..4) {
                high.fill(0);
            }
            if run % 2 == 0 {
                bytes.get_mut(4).into_iter().for_each(|it| *it = 0);
            }
            drive(&bytes);
        }
    }
}
