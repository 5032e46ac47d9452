use super::initiator::{Heard, Initiator};
use super::*;

/// A generator for tests.
fn random(seed: u8) -> Random {
    Random::new([seed; 32])
}

/// Both sides of a whole exchange.
fn exchange(method: &'static Method) -> (Agreed, Agreed) {
    let (mut client_random, mut server_random) = (random(1), random(2));
    let mut server = Exchange::new(method, Groups::OPENSSH);
    let (mut client, mut message) = Initiator::new(method, &mut client_random).expect("a start");
    for _ in 0..2 {
        let (number, fields) = message.0.split_first().expect("a number");
        let (number, fields) = match server.message(*number, fields, &mut server_random).expect("a step") {
            Step::Send(message) => {
                let (number, fields) = message.0.split_first().expect("a number");
                (*number, fields.to_vec())
            }
            Step::Agreed(agreed) => {
                let fields = Message::part().string("key").raw(&agreed.public).string("signature").0;
                let heard = client.message(agreed.reply, &fields).expect("an end");
                let Heard::Reply { host_key, agreed: theirs, signature } = heard else { panic!("no end") };
                assert_eq!((&host_key[..], &signature[..]), (&b"key"[..], &b"signature"[..]));
                return (agreed, theirs);
            }
        };
        let Ok(Heard::Send(next)) = client.message(number, &fields) else { panic!("no answer") };
        message = next;
    }
    panic!("{} takes too long", method.name)
}

#[test]
fn both_sides_come_to_share_a_secret() {
    for method in METHODS {
        let (server, client) = exchange(method);
        assert_eq!(server.exchanged, client.exchanged, "{}", method.name);
        assert_eq!(server.shared, client.shared, "{}", method.name);
        let (again, _) = exchange(method);
        assert_eq!(server.public, again.public, "{} does not replay", method.name);
        assert!(server.shared.len() > 32, "{}", method.name);
    }
}

#[test]
fn methods_are_found_by_name_once() {
    for method in METHODS {
        assert!(std::ptr::eq(find(method.name.as_bytes()).expect("found"), method), "{}", method.name);
    }
    for marker in ["kexguess2@matt.ucc.asn.au", "kex-strict-s-v00@openssh.com", "ext-info-c", ""] {
        assert!(find(marker.as_bytes()).is_none());
    }
}

/// What a server says to a public value.
fn refusal(method: &str, public: &[u8]) -> Fault {
    message(method, 30, &Message::part().string(public).0)
}

/// What a server says to its first message.
fn message(method: &str, number: u8, fields: &[u8]) -> Fault {
    let method = find(method.as_bytes()).expect("a method");
    match Exchange::new(method, Groups::OPENSSH).message(number, fields, &mut random(3)) {
        Err(fault) => fault,
        Ok(step) => panic!("{} took {fields:02x?}: {step:?}", method.name),
    }
}

#[test]
fn messages_are_taken_apart_as_openssh_does() {
    for method in METHODS.iter().filter(|it| !it.name.contains("exchange")).map(|it| it.name) {
        assert_eq!(message(method, 31, &[]), Fault::Unexpected, "{method}");
        assert_eq!(message(method, 30, &[]), Fault::Incomplete, "{method}");
        assert_eq!(message(method, 30, &[0, 0, 0, 9, 1]), Fault::Incomplete, "{method}");
        assert_eq!(message(method, 30, &[0xff; 8]), Fault::StringTooLarge, "{method}");
        assert_eq!(message(method, 30, &[0, 0, 0, 1, 5, 5]), Fault::Trailing, "{method}");
    }
}

#[test]
fn an_exchange_takes_one_public_value() {
    let method = find(b"curve25519-sha256").expect("a method");
    let mut exchange = Exchange::new(method, Groups::OPENSSH);
    let mut random = random(4);
    let fields = Message::part().string([9; 32]).0;
    assert_eq!(exchange.message(34, &fields, &mut random).err(), Some(Fault::Unexpected));
    assert!(matches!(exchange.message(30, &fields, &mut random), Ok(Step::Agreed(_))));
    assert_eq!(exchange.message(30, &fields, &mut random).err(), Some(Fault::Unexpected));
}

#[test]
fn bad_points_are_refused() {
    assert_eq!(refusal("curve25519-sha256", &[9; 31]), Fault::Signature);
    assert_eq!(refusal("curve25519-sha256", &[9; 33]), Fault::Signature);
    for low in [
        [0; 32],
        {
            let mut one = [0; 32];
            one[0] = 1;
            one
        },
        {
            // p: another zero.
            let mut p = [0xff; 32];
            p[0] = 0xed;
            p[31] = 0x7f;
            p
        },
    ] {
        assert_eq!(refusal("curve25519-sha256", &low), Fault::LowOrder);
    }
    for (method, size) in [("ecdh-sha2-nistp256", 32), ("ecdh-sha2-nistp384", 48), ("ecdh-sha2-nistp521", 66)]
    {
        assert_eq!(refusal(method, &[]), Fault::PointTooLarge);
        assert_eq!(refusal(method, &[4; 134]), Fault::PointTooLarge);
        // The point at infinity, a compressed point, one that is not on the curve, one of the wrong length.
        let point = |form: u8, length: usize| {
            let mut it = vec![1; length + 1];
            it[0] = form;
            it
        };
        assert_eq!(refusal(method, &[0]), Fault::Format);
        assert_eq!(refusal(method, &point(2, size)), Fault::Format);
        assert_eq!(refusal(method, &point(4, 2 * size)), Fault::Format);
        assert_eq!(refusal(method, &point(4, 2 * size - 1)), Fault::Format);
    }
}
