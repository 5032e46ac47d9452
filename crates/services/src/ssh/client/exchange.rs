//! Key exchanges of the client.

use super::{Agreement, Client, Failure, Heard};
use crate::ssh::cipher::Opening;
use crate::ssh::compression;
use crate::ssh::hostkey::{self, Unproved};
use crate::ssh::kex::initiator::{self, Initiator};
use crate::ssh::kex::{self, Agreed};
use crate::ssh::kexinit::{self, Chosen, Offer};
use crate::ssh::keys::Keys;
use crate::ssh::packet::{Direction, Protection};
use crate::ssh::profile::Product;
use crate::ssh::wire::{Message, number};

/// Where key exchanges stand.
#[derive(Default)]
pub(super) struct Exchange {
    /// The KEXINIT that was sent last; empty between exchanges.
    ours: Vec<u8>,
    /// The server's.
    theirs: Vec<u8>,
    method: Option<(Initiator, Chosen)>,
    /// What the server sends under from its NEWKEYS on.
    next: Option<(Protection<Opening>, Agreement)>,
    /// Both sides start counting packets anew (OpenSSH's PROTOCOL file, section 1.10).
    strict: bool,
}

impl Exchange {
    pub(super) fn is_under_way(&self) -> bool {
        !self.ours.is_empty()
    }

    pub(super) fn begin(&mut self, kexinit: Vec<u8>) {
        self.ours = kexinit;
    }
}

impl From<kex::Fault> for Failure {
    fn from(fault: kex::Fault) -> Self {
        Self::Exchange(fault.text())
    }
}

impl Client {
    pub(super) fn kexinit_message(&mut self) -> Vec<u8> {
        let Self { offer, random, .. } = self;
        let list = |names: &[String]| names.join(",");
        let mut message = Message::new(number::KEXINIT)
            .raw(&random.bytes::<16>())
            .string(list(&offer.kex))
            .string(list(&offer.host_keys));
        for names in [&offer.ciphers, &offer.macs, &offer.compression] {
            message = message.string(list(names)).string(list(names));
        }
        message.string("").string("").boolean(false).u32(0).0
    }

    /// The server's KEXINIT, after ours.
    pub(super) fn kexinit(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let (ours, theirs) = (self.exchange.ours.get(1..), payload.get(1..));
        let ours =
            ours.and_then(|it| Offer::read(it, Product::OpenSsh)).ok_or(Failure::Malformed("KEXINIT"))?;
        let theirs =
            theirs.and_then(|it| Offer::read(it, Product::OpenSsh)).ok_or(Failure::Malformed("KEXINIT"))?;
        let chosen =
            kexinit::choose(&ours, &theirs, Product::OpenSsh).map_err(|it| Failure::NothingInCommon(it.0))?;
        if self.session_id.is_empty() {
            self.exchange.strict =
                ours.marks("kex-strict-c-v00@openssh.com") && theirs.marks("kex-strict-s-v00@openssh.com");
        }
        let method = kex::find(chosen.kex.as_bytes()).ok_or_else(|| Failure::Unknown(chosen.kex.clone()))?;
        let (initiator, first) = Initiator::new(method, self.offer.group_bits, &mut self.random)?;
        self.exchange.theirs = payload.to_vec();
        self.exchange.method = Some((initiator, chosen));
        self.send_now(&first.0, out);
        Ok(())
    }

    /// A message of the method.
    pub(super) fn exchanged(&mut self, kind: u8, fields: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let Some((initiator, _)) = &mut self.exchange.method else { return Err(Failure::OutOfPlace(kind)) };
        match initiator.message(kind, fields, &mut self.random)? {
            initiator::Heard::Send(message) => self.send_now(&message.0, out),
            initiator::Heard::Reply { host_key, agreed, signature } => {
                self.agreed(host_key, &agreed, &signature, out)?;
            }
        }
        Ok(())
    }

    fn agreed(
        &mut self,
        public_key: Vec<u8>,
        agreed: &Agreed,
        signature: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let Some((_, chosen)) = self.exchange.method.take() else {
            return Err(Failure::OutOfPlace(agreed.reply));
        };
        let identifications =
            [self.offer.identification.as_bytes(), self.server.as_deref().unwrap_or_default()];
        let said = kex::said(agreed.hash, identifications, [&self.exchange.ours, &self.exchange.theirs]);
        let hash = agreed.exchange_hash(said, &public_key);
        let proved = match hostkey::verify(&public_key, signature, &hash) {
            Ok(()) => true,
            Err(Unproved::Unknown) => false,
            Err(_) => return Err(Failure::Signature),
        };
        if self.session_id.is_empty() {
            self.session_id.clone_from(&hash);
        }
        let keys = Keys::new(agreed.hash, &agreed.shared, &hash, &self.session_id);
        let unknown = || Failure::Unknown(format!("one of {:?} and {:?}", chosen.ciphers, chosen.macs));
        let sending = chosen.protection(Direction::ToServer, &keys).ok_or_else(unknown)?;
        let receiving = chosen.protection(Direction::ToClient, &keys).ok_or_else(unknown)?;
        self.send_now(&[number::NEWKEYS], out);
        self.sending.rekey(sending, self.exchange.strict);
        if compression::starts_with_keys(&chosen.compression[0], self.logged_in) {
            self.sending.compress();
        } else {
            self.sending.stop_compressing();
        }
        let Chosen { kex, host_key, ciphers, macs, compression, .. } = chosen;
        self.compression.clone_from(&compression);
        let agreement = Agreement { kex, host_key, ciphers, macs, compression, public_key, proved };
        self.exchange.next = Some((receiving, agreement));
        self.exchange.ours.clear();
        for message in std::mem::take(&mut self.held) {
            self.send_now(&message, out);
        }
        Ok(())
    }

    /// The server's NEWKEYS.
    pub(super) fn newkeys(&mut self) -> Result<Heard, Failure> {
        let Some((protection, agreement)) = self.exchange.next.take() else {
            return Err(Failure::OutOfPlace(number::NEWKEYS));
        };
        self.receiving.rekey(protection, self.exchange.strict);
        if compression::starts_with_keys(&agreement.compression[1], self.logged_in) {
            self.receiving.decompress();
        } else {
            self.receiving.stop_decompressing();
        }
        Ok(Heard::Keys(agreement))
    }
}
