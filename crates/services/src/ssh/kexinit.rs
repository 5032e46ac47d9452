//! KEXINIT (RFC 4253 section 7.1): what either side offers, and what follows from both.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use serin_event::{Event, Tainted};

use super::cipher::{self, Keyed};
use super::keys::Keys;
use super::mac;
use super::packet::{Direction, Protection};
use super::profile::{Product, Profile};
use super::random::Random;
use super::wire::{Message, names, number};
use crate::wire::{Reader, Short};

/// Bytes kept of each list of a client's.
const LIST_MAX: usize = 2048;

/// The ten lists of a KEXINIT, as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer<'a> {
    pub(crate) kex: &'a [u8],
    pub(crate) host_keys: &'a [u8],
    /// From the client to the server, and back.
    pub(crate) ciphers: [&'a [u8]; 2],
    pub(crate) macs: [&'a [u8]; 2],
    pub(crate) compression: [&'a [u8]; 2],
    pub(crate) languages: [&'a [u8]; 2],
    /// Whether a message follows for the method that this side guesses.
    pub(crate) guess_follows: bool,
}

impl<'a> Offer<'a> {
    /// Reads what follows the message number. OpenSSH takes nothing behind the last field and no NUL
    /// in a list; Dropbear does.
    pub(crate) fn read(payload: &'a [u8], product: Product) -> Option<Self> {
        let mut fields = Reader(payload);
        let offer = Self::fields(&mut fields).ok()?;
        fields.u32("reserved").ok()?;
        let lists = [offer.ciphers, offer.macs, offer.compression, offer.languages];
        let clean = |list: &[u8]| !list.contains(&0);
        let tidy = fields.0.is_empty()
            && clean(offer.kex)
            && clean(offer.host_keys)
            && lists.iter().flatten().all(|it| clean(it));
        (tidy || product == Product::Dropbear).then_some(offer)
    }

    fn fields(fields: &mut Reader<'a>) -> Result<Self, Short> {
        fields.array::<16>("cookie")?;
        let pair = |fields: &mut Reader<'a>, field| Ok([fields.string(field)?, fields.string(field)?]);
        Ok(Self {
            kex: fields.string("key exchange methods")?,
            host_keys: fields.string("host key algorithms")?,
            ciphers: pair(fields, "ciphers")?,
            macs: pair(fields, "MACs")?,
            compression: pair(fields, "compression")?,
            languages: pair(fields, "languages")?,
            guess_follows: fields.boolean("first_kex_packet_follows")?,
        })
    }

    /// Whether the client names this marker among its key exchange methods.
    pub(crate) fn marks(&self, marker: &str) -> bool {
        names(self.kex).any(|it| it == marker.as_bytes())
    }

    /// What is kept of it for events.
    pub(crate) fn shown(&self) -> Shown {
        let [cipher, mac, compression] = [self.ciphers, self.macs, self.compression].map(|it| it[0]);
        let digest = Md5::digest([self.kex, cipher, mac, compression].join(&b';'));
        let hassh = digest.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let kept = |list| Tainted::new(list, LIST_MAX);
        Shown {
            hassh,
            kex: kept(self.kex),
            host_keys: kept(self.host_keys),
            ciphers: kept(cipher),
            macs: kept(mac),
            compression: kept(compression),
        }
    }
}

/// What a client offered, for events: what goes from it to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// MD5 of the four lists (<https://github.com/salesforce/hassh>), 32 hex digits.
    pub(crate) hassh: String,
    pub(crate) kex: Tainted,
    pub(crate) host_keys: Tainted,
    pub(crate) ciphers: Tainted,
    pub(crate) macs: Tainted,
    pub(crate) compression: Tainted,
}

impl Shown {
    /// Adds it to an event, as details.
    pub(crate) fn tell(&self, event: Event) -> Event {
        event
            .with("HASSH", self.hassh.clone())
            .with("KEXALGORITHMS", self.kex.clone())
            .with("HOSTKEYALGORITHMS", self.host_keys.clone())
            .with("CIPHERS", self.ciphers.clone())
            .with("MACS", self.macs.clone())
            .with("COMPRESSION", self.compression.clone())
    }
}

/// Our KEXINIT, from the message number on.
pub(crate) fn ours(offered: &Offered, random: &mut Random) -> Vec<u8> {
    let mut message = Message::new(number::KEXINIT).raw(&random.bytes::<16>());
    let Offered { kex, host_keys, ciphers, macs, compression: [to_us, from_us] } = offered;
    for list in [kex, host_keys, ciphers, ciphers, macs, macs, to_us, from_us] {
        message = message.names(list.iter().copied());
    }
    message.string("").string("").boolean(false).u32(0).0
}

/// What we offer, in this order.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) kex: Vec<&'static str>,
    pub(crate) host_keys: Vec<&'static str>,
    pub(crate) ciphers: Vec<&'static str>,
    pub(crate) macs: Vec<&'static str>,
    /// From the client to the server, and back.
    pub(crate) compression: [Vec<&'static str>; 2],
}

impl Offered {
    /// All that the profile has, with these host key algorithms.
    pub(crate) fn new(profile: &Profile, host_keys: Vec<&'static str>) -> Self {
        Self {
            kex: profile.offered_kex().collect(),
            host_keys,
            ciphers: profile.offered_ciphers().collect(),
            macs: profile.offered_macs().collect(),
            compression: profile.compression.map(<[_]>::to_vec),
        }
    }
}

/// What both sides agree on, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) kex: String,
    pub(crate) host_key: String,
    /// From the client to the server, and back.
    pub(crate) ciphers: [String; 2],
    /// The same; empty where the cipher brings its own.
    pub(crate) macs: [String; 2],
    pub(crate) compression: [String; 2],
    /// Whether the client's guess was wrong, so that its next message is to be dropped.
    pub(crate) drop_guess: bool,
}

impl Chosen {
    /// Protects packets in this direction; `None` where an algorithm is known by name only.
    pub(crate) fn protection<C: Keyed>(&self, direction: Direction, keys: &Keys) -> Option<Protection<C>> {
        let way = usize::from(direction == Direction::ToClient);
        let cipher = cipher::find(self.ciphers.get(way)?)?;
        let mac = mac::find(self.macs.get(way)?);
        Protection::new(direction, cipher, mac, |letter, size| keys.derive(letter, size))
    }
}

/// Nothing in common; what, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NothingInCommon(pub(crate) &'static str);

/// Chooses as RFC 4253 section 7.1 says: the first of the client's that the server has.
pub(crate) fn choose(
    client: &Offer<'_>,
    server: &Offer<'_>,
    product: Product,
) -> Result<Chosen, NothingInCommon> {
    let mut ciphers = [String::new(), String::new()];
    let mut macs = ciphers.clone();
    let mut compression = ciphers.clone();
    let kex = first(client.kex, server.kex).ok_or(NothingInCommon("no key exchange method in common"))?;
    let host_key =
        first(client.host_keys, server.host_keys).ok_or(NothingInCommon("no host key type in common"))?;
    for way in 0..2 {
        let pair = |ours: &[&[u8]; 2], theirs: &[&[u8]; 2]| {
            first(theirs.get(way).copied().unwrap_or_default(), ours.get(way).copied().unwrap_or_default())
        };
        let cipher = pair(&server.ciphers, &client.ciphers).ok_or(NothingInCommon("no cipher in common"))?;
        let mac = pair(&server.macs, &client.macs);
        // Dropbear wants one in common even where the cipher brings its own.
        let mac = match mac {
            _ if has_own_mac(&cipher) && product != Product::Dropbear => String::new(),
            Some(mac) => mac,
            None => return Err(NothingInCommon("no MAC in common")),
        };
        let packed = pair(&server.compression, &client.compression)
            .ok_or(NothingInCommon("no compression in common"))?;
        for (list, value) in [(&mut ciphers, cipher), (&mut macs, mac), (&mut compression, packed)] {
            if let Some(slot) = list.get_mut(way) {
                *slot = value;
            }
        }
    }
    // Between two Dropbears a guess is right where it comes true; else both must have it first.
    let both_dropbear = [client.kex, server.kex].iter().all(|it| names(it).any(|it| it == KEXGUESS2));
    let guessed = |client, server, chosen: &String| {
        let guess = names(client).next();
        if both_dropbear { guess == Some(chosen.as_bytes()) } else { guess == names(server).next() }
    };
    let guessed =
        guessed(client.kex, server.kex, &kex) && guessed(client.host_keys, server.host_keys, &host_key);
    Ok(Chosen { kex, host_key, ciphers, macs, compression, drop_guess: client.guess_follows && !guessed })
}

/// Dropbear's (`kexalgo.h`): says that a guess is judged by what is chosen.
const KEXGUESS2: &[u8] = b"kexguess2@matt.ucc.asn.au";

/// Markers stand among the methods and are none.
fn is_marker(name: &[u8]) -> bool {
    name.starts_with(b"ext-info-") || name.starts_with(b"kex-strict-") || name == KEXGUESS2
}

fn has_own_mac(cipher: &str) -> bool {
    cipher.starts_with("chacha20-poly1305") || cipher.contains("-gcm")
}

fn first(client: &[u8], server: &[u8]) -> Option<String> {
    let found = names(client).find(|&it| !is_marker(it) && names(server).any(|ours| ours == it))?;
    // What the server has, it has in ASCII.
    String::from_utf8(found.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer<'a>(kex: &'a [u8], host_keys: &'a [u8], cipher: &'a [u8]) -> Offer<'a> {
        let pair = |it| [it, it];
        Offer {
            kex,
            host_keys,
            ciphers: pair(cipher),
            macs: pair(b"hmac-sha2-256,hmac-sha1"),
            compression: pair(b"none,zlib@openssh.com"),
            languages: pair(b""),
            guess_follows: true,
        }
    }

    #[test]
    fn the_clients_order_decides() {
        let client = offer(b"a,ext-info-c,c,b", b"y,x", b"aes128-gcm@openssh.com,aes128-ctr");
        let server = offer(b"b,c,ext-info-c", b"x,y", b"aes128-ctr,aes128-gcm@openssh.com");
        let chosen = choose(&client, &server, Product::OpenSsh).unwrap();
        assert_eq!((chosen.kex.as_str(), chosen.host_key.as_str()), ("c", "y"));
        assert_eq!((chosen.ciphers[0].as_str(), chosen.macs[0].as_str()), ("aes128-gcm@openssh.com", ""));
        assert!(chosen.drop_guess, "the first of both lists differ");
    }

    #[test]
    fn dropbears_agree_on_what_a_right_guess_is() {
        let client = offer(b"c,b,kexguess2@matt.ucc.asn.au", b"y", b"aes128-ctr");
        for (kex, drop_guess) in [
            (&b"a,c,kexguess2@matt.ucc.asn.au"[..], false),
            (b"a,b,kexguess2@matt.ucc.asn.au", true),
            (b"a,c", true),
            (b"c,a", false),
        ] {
            let chosen = choose(&client, &offer(kex, b"y", b"aes128-ctr"), Product::Dropbear).unwrap();
            assert_eq!(chosen.drop_guess, drop_guess, "{}", kex.escape_ascii());
        }
    }

    #[test]
    fn nothing_in_common_says_what() {
        let all = offer(b"a", b"x", b"aes128-ctr");
        assert_eq!(
            choose(&offer(b"b", b"x", b"aes128-ctr"), &all, Product::OpenSsh),
            Err(NothingInCommon("no key exchange method in common"))
        );
        assert_eq!(
            choose(&offer(b"a", b"y", b"aes128-ctr"), &all, Product::OpenSsh),
            Err(NothingInCommon("no host key type in common"))
        );
        assert_eq!(
            choose(&offer(b"a", b"x", b"none"), &all, Product::OpenSsh),
            Err(NothingInCommon("no cipher in common"))
        );
        assert_eq!(
            choose(
                &offer(b"ext-info-c", b"x", b"aes128-ctr"),
                &offer(b"ext-info-c", b"x", b"aes128-ctr"),
                Product::OpenSsh
            ),
            Err(NothingInCommon("no key exchange method in common"))
        );
    }

    #[test]
    fn the_fingerprint_is_the_digest_of_four_lists() {
        let offered = Offer { kex: b"curve25519-sha256", ..offer(b"", b"ssh-ed25519", b"aes128-ctr") };
        // printf 'curve25519-sha256;aes128-ctr;hmac-sha2-256,hmac-sha1;none,zlib@openssh.com' | md5sum
        assert_eq!(offered.shown().hassh, "1457620c88be155989fd29040e0cf63d");
    }
}
