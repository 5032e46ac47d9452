//! Key exchanges of a connection: KEXINIT, the method's messages, NEWKEYS.

use aws_lc_rs::digest;

use super::super::cipher;
use super::super::kex::{self, Agreed, Exchange, Fault, Groups, Step};
use super::super::kexinit::{self, Chosen, NothingInCommon, Offer};
use super::super::keys::Keys;
use super::super::packet::{Direction, Protection};
use super::super::profile::Product;
use super::super::unexpected::{self, Phase};
use super::super::wire::{Message, number};
use super::{Over, Ssh};
use crate::dialogue::Actions;

/// Key exchanges of one connection: a large group costs us 40 ms of computing and a client nothing.
const EXCHANGES_MAX: u16 = 200;
/// The same before somebody has logged in, where a product takes any (Dropbear).
const EXCHANGES_BEFORE_LOGIN: u16 = 4;

/// A key exchange under way, and what is left of the last one.
#[derive(Default)]
pub(super) struct Kex {
    /// The KEXINIT that we sent; empty between exchanges.
    pub(super) ours: Vec<u8>,
    /// What the exchange hash begins with, once both have spoken: both identifications, both
    /// KEXINITs. A client's KEXINIT of 256 KiB is hashed and not kept.
    pub(super) said: Option<digest::Context>,
    /// What both agree on, once both have spoken.
    pub(super) chosen: Option<Chosen>,
    pub(super) exchange: Option<Exchange>,
    /// What the client sends under from its NEWKEYS on.
    pub(super) next: Option<Protection<cipher::Opening>>,
    /// The client's next message goes by a wrong guess.
    pub(super) drop_guess: bool,
    /// Exchanges so far.
    count: u16,
    /// Both sides promised strict order (OpenSSH's PROTOCOL file, section 1.10).
    pub(super) strict: bool,
    /// The client wants an `EXT_INFO` (RFC 8308).
    pub(super) wants_extensions: bool,
}

impl Ssh {
    pub(super) fn send_kexinit(&mut self, out: &mut Actions) {
        let message = kexinit::ours(&self.face.offered, &mut self.random);
        self.kex.ours.clone_from(&message);
        self.send(&Message(message), out);
    }

    /// The client's KEXINIT: both have spoken, so it is clear what comes.
    pub(super) fn kexinit(&mut self, payload: &[u8], fields: &[u8], out: &mut Actions) -> Result<(), Over> {
        let profile = self.face.profile;
        let offer =
            Offer::read(fields, profile.product).ok_or(Over::silently("a KEXINIT that is malformed"))?;
        let initial = !self.secured;
        if initial {
            self.offered = Some(offer.shown());
        }
        if self.kex.ours.is_empty() {
            self.send_kexinit(out);
        }
        let kexinit = self.kex.ours.clone();
        let ours = Offer::read(kexinit.get(1..).unwrap_or_default(), profile.product)
            .ok_or(Over::silently("a KEXINIT of ours that is malformed"))?;
        if initial {
            self.kex.strict =
                ours.marks("kex-strict-s-v00@openssh.com") && offer.marks("kex-strict-c-v00@openssh.com");
            self.kex.wants_extensions = offer.marks("ext-info-c");
            if self.kex.strict && self.receiving.sequence() != 0 {
                return Err(Over(unexpected::not_first(profile), "a strict key exchange that began late"));
            }
        }
        let chosen = kexinit::choose(&offer, &ours, profile.product)
            .map_err(|NothingInCommon(what)| Over::silently(what))?;
        self.kex.count = self.kex.count.saturating_add(1);
        if self.kex.count
            > if self.phase() == Phase::LoggedIn { EXCHANGES_MAX } else { EXCHANGES_BEFORE_LOGIN }
        {
            return Err(Over::silently("more key exchanges than one connection may ask for"));
        }
        let method = kex::find(chosen.kex.as_bytes()).ok_or(Over::silently("a method only in name"))?;
        self.kex.exchange = Some(Exchange::new(method, Groups::of(profile)));
        self.kex.drop_guess = chosen.drop_guess;
        let identifications = [&self.theirs, self.face.settings.version.as_bytes()];
        self.kex.said = Some(kex::said(method.hash, identifications, [payload, &kexinit]));
        self.kex.chosen = Some(chosen);
        Ok(())
    }

    /// A message of the key exchange method's.
    pub(super) fn exchange(&mut self, kind: u8, fields: &[u8], out: &mut Actions) -> Result<(), Over> {
        let Some(exchange) = &mut self.kex.exchange else { return Ok(()) };
        match exchange.message(kind, fields, &mut self.random) {
            Ok(Step::Send(message)) => {
                self.send(&message, out);
                Ok(())
            }
            Ok(Step::Agreed(agreed)) => {
                self.kex.exchange = None;
                self.agreed(&agreed, out)
            }
            Err(Fault::Unexpected) if self.kex.strict && !self.secured => Err(self.violation(kind)),
            Err(Fault::Unexpected) => self.beyond(kind, fields, out),
            Err(fault) => Err(Over::silently(fault.text())),
        }
    }

    /// Both have the secret: proves who we are, and sends under the new keys from here on.
    fn agreed(&mut self, agreed: &Agreed, out: &mut Actions) -> Result<(), Over> {
        let (Some(chosen), Some(said)) = (self.kex.chosen.clone(), self.kex.said.clone()) else {
            return Ok(());
        };
        let face = self.face.clone();
        let key =
            face.host_keys.find(&chosen.host_key).ok_or(Over::silently("a host key that is not there"))?;
        let hash = agreed.exchange_hash(said, key.blob());
        if self.session_id.is_empty() {
            self.session_id.clone_from(&hash);
            self.host_key = key.blob().to_vec();
        }
        let signature = key
            .sign(&chosen.host_key, &hash, &mut self.random)
            .map_err(|_| Over::silently("a host key that does not sign"))?;
        let reply = Message::new(agreed.reply).string(key.blob()).raw(&agreed.public).string(signature);
        self.send(&reply, out);
        self.send(&Message::new(number::NEWKEYS), out);
        let keys = Keys::new(agreed.hash, &agreed.shared, &hash, &self.session_id);
        let missing = || Over::silently("a cipher only in name");
        self.kex.next = Some(chosen.protection(Direction::ToServer, &keys).ok_or_else(missing)?);
        let ours = chosen.protection(Direction::ToClient, &keys).ok_or_else(missing)?;
        self.sending.rekey(ours, self.kex.strict);
        self.compression = chosen.compression;
        if self.starts_with_keys(&self.compression[1]) {
            self.make_room_to_compress()?;
            self.sending.compress();
        } else {
            self.sending.stop_compressing();
        }
        let extensions = self.face.profile.ext_info().filter(|_| !self.secured && self.kex.wants_extensions);
        if let Some(message) = extensions {
            self.send(&message, out);
        }
        Ok(())
    }

    /// The client's NEWKEYS.
    pub(super) fn newkeys(&mut self, fields: &[u8], out: &mut Actions) -> Result<(), Over> {
        if !fields.is_empty() && self.face.profile.product != Product::Dropbear {
            return Err(Over::silently("NEWKEYS with something behind it"));
        }
        let Some(next) = self.kex.next.take() else { return Ok(()) };
        self.receiving.rekey(next, self.kex.strict);
        if self.starts_with_keys(&self.compression[0]) {
            self.make_room_to_compress()?;
            self.receiving.decompress();
        } else {
            self.receiving.stop_decompressing();
        }
        self.kex.ours.clear();
        self.kex.said = None;
        self.secured = true;
        for message in std::mem::take(&mut self.held) {
            self.send(&message, out);
        }
        Ok(())
    }
}
