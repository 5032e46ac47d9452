//! NTLM as far as a server that refuses needs it: it reads the client's first and third message and
//! writes the challenge between them. [MS-NLMP], sections 2.2.1 and 2.2.2; inside of SPNEGO:
//! RFC 4178, section 4.2.
//!
//! The answer to the challenge is not looked at, and so not kept either: it is a password in the
//! form that crackers read.

use serin_event::Timestamp;

use crate::wire::{Reader, Short};

/// A message of the client's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The first.
    Negotiate { flags: u32 },
    /// The third, its texts in UTF-8.
    Authenticate { domain: Vec<u8>, user: Vec<u8>, workstation: Vec<u8> },
}

impl Message {
    /// The message in a token, and whether SPNEGO is wrapped around it.
    pub(super) fn find(token: &[u8]) -> Option<(Self, bool)> {
        let at = memchr::memmem::find(token, SIGNATURE)?;
        let (before, message) = token.split_at_checked(at)?;
        Some((Self::parse(message).ok()?, !before.is_empty()))
    }

    fn parse(message: &[u8]) -> Result<Self, Short> {
        let mut reader = Reader(message);
        reader.take(SIGNATURE.len(), "signature")?;
        match u32::from_le_bytes(*reader.array("type")?) {
            1 => {
                // Clients leave everything out that is empty, down to the flags.
                let flags = reader.array("flags").map_or(0, |it| u32::from_le_bytes(*it));
                Ok(Self::Negotiate { flags })
            }
            3 => {
                reader.take(16, "answers")?;
                let mut text = |field| Text::read(&mut reader, field);
                let (domain, user, workstation) = (text("domain")?, text("user")?, text("workstation")?);
                reader.take(8, "key")?;
                let flags = reader.array("flags").map_or(UNICODE, |it| u32::from_le_bytes(*it));
                let wide = flags & UNICODE != 0;
                Ok(Self::Authenticate {
                    domain: domain.decode(message, wide)?,
                    user: user.decode(message, wide)?,
                    workstation: workstation.decode(message, wide)?,
                })
            }
            _ => Err(Short("known type")),
        }
    }
}

/// Where a text stands in a message.
struct Text {
    length: usize,
    offset: usize,
}

impl Text {
    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, Short> {
        let length = usize::from(u16::from_le_bytes(*reader.array(field)?));
        reader.take(2, field)?;
        let offset = u32::from_le_bytes(*reader.array(field)?);
        Ok(Self { length, offset: usize::try_from(offset).map_err(|_| Short(field))? })
    }

    fn decode(&self, message: &[u8], wide: bool) -> Result<Vec<u8>, Short> {
        let mut reader = Reader(message.get(self.offset..).unwrap_or_default());
        let bytes = reader.take(self.length, "text")?;
        if !wide {
            return Ok(bytes.to_vec());
        }
        let (units, _) = bytes.as_chunks::<2>();
        let units = units.iter().map(|it| u16::from_le_bytes(*it));
        let text: String =
            char::decode_utf16(units).map(|it| it.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        Ok(text.into_bytes())
    }
}

/// Who challenges.
pub(super) struct Challenger<'a> {
    /// The host name; a server on its own is its own domain.
    pub(super) host: &'a str,
    pub(super) now: Timestamp,
    pub(super) challenge: [u8; 8],
}

impl Challenger<'_> {
    /// The second message, in the client's wrapping.
    pub(super) fn token(&self, client: u32, wrapped: bool) -> Vec<u8> {
        let message = self.message(client);
        if wrapped { spnego(&message) } else { message }
    }

    fn message(&self, client: u32) -> Vec<u8> {
        // NetBIOS names have at most 15 characters: [MS-NBTE], section 2.2.1.
        let name: String = self.host.chars().take(15).collect::<String>().to_uppercase();
        // [MS-NLMP] has Unicode win where a client can do both; a client that says nothing can.
        let wide = client & (UNICODE | OEM) != OEM;
        let flags = FLAGS | client & ON_REQUEST | if wide { UNICODE } else { OEM };
        let target = if wide { utf16(&name) } else { name.clone().into_bytes() };
        let mut info = Vec::new();
        for (id, value) in [
            (AV_DOMAIN, utf16(&name)),
            (AV_COMPUTER, utf16(&name)),
            (AV_DNS_DOMAIN, Vec::new()),
            (AV_DNS_COMPUTER, utf16(self.host)),
            (AV_TIME, file_time(self.now).to_le_bytes().to_vec()),
            (AV_END, Vec::new()),
        ] {
            info.extend_from_slice(&id.to_le_bytes());
            info.extend_from_slice(&length16(&value));
            info.extend_from_slice(&value);
        }
        let mut message = Vec::with_capacity(HEADER.saturating_add(target.len()).saturating_add(info.len()));
        message.extend_from_slice(SIGNATURE);
        message.extend_from_slice(&2_u32.to_le_bytes());
        field(&mut message, &target, HEADER);
        message.extend_from_slice(&flags.to_le_bytes());
        message.extend_from_slice(&self.challenge);
        message.extend_from_slice(&[0; 8]);
        field(&mut message, &info, HEADER.saturating_add(target.len()));
        message.extend_from_slice(&VERSION);
        message.extend_from_slice(&target);
        message.extend_from_slice(&info);
        message
    }
}

/// Length, room and place of a part of the message.
fn field(message: &mut Vec<u8>, part: &[u8], offset: usize) {
    message.extend_from_slice(&length16(part));
    message.extend_from_slice(&length16(part));
    message.extend_from_slice(&u32::try_from(offset).unwrap_or(0).to_le_bytes());
}

fn length16(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(0).to_le_bytes()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Ticks of 100 ns since 1601: [MS-DTYP], section 2.3.3.
fn file_time(now: Timestamp) -> u64 {
    const TO_1970: u64 = 116_444_736_000_000_000;
    u64::try_from(now.0).unwrap_or(0).saturating_mul(10).saturating_add(TO_1970)
}

/// The answer `accept-incomplete`, for NTLM, with the message in it.
fn spnego(message: &[u8]) -> Vec<u8> {
    const ACCEPT_INCOMPLETE: &[u8] = &[0xa0, 3, 0x0a, 1, 1];
    /// 1.3.6.1.4.1.311.2.2.10
    const NTLM: &[u8] = &[0xa1, 12, 6, 10, 0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 2, 10];
    let token = der(0xa2, &der(4, message));
    der(0xa1, &der(0x30, &[ACCEPT_INCOMPLETE, NTLM, &token].concat()))
}

/// One element of DER: X.690, section 8.1.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|&&it| it == 0).count();
    let length = length.get(zeros..).unwrap_or_default();
    let mut element = vec![tag];
    match length {
        [] => element.push(0),
        [short @ 0..0x80] => element.push(*short),
        long => {
            element.push(0x80 | u8::try_from(long.len()).unwrap_or(0));
            element.extend_from_slice(long);
        }
    }
    element.extend_from_slice(content);
    element
}

const SIGNATURE: &[u8] = b"NTLMSSP\0";
/// The challenge without what it points to.
const HEADER: usize = 56;
/// Samba's: Windows 6.1 without a build, NTLM revision 15.
const VERSION: [u8; 8] = [6, 1, 0, 0, 0, 0, 0, 15];

const UNICODE: u32 = 0x0000_0001;
const OEM: u32 = 0x0000_0002;
/// NTLM, a target of the kind "server" with a list of its names, a version.
const FLAGS: u32 = 0x0000_0004 | 0x0000_0200 | 0x0002_0000 | 0x0080_0000 | 0x0200_0000;
/// Signing, sealing, session security and key lengths, granted as the client asks for them.
const ON_REQUEST: u32 =
    0x0000_0010 | 0x0000_0020 | 0x0000_8000 | 0x0008_0000 | 0x2000_0000 | 0x4000_0000 | 0x8000_0000;

const AV_END: u16 = 0;
const AV_COMPUTER: u16 = 1;
const AV_DOMAIN: u16 = 2;
const AV_DNS_COMPUTER: u16 = 3;
const AV_DNS_DOMAIN: u16 = 4;
const AV_TIME: u16 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::NOW;

    fn challenge(flags: u32) -> Vec<u8> {
        Challenger { host: "srv-files", now: NOW, challenge: *b"ABCDEFGH" }.message(flags)
    }

    #[test]
    fn a_challenge_points_at_its_parts() {
        let message = challenge(0x0008_8207);
        assert_eq!(message.get(..12).unwrap(), b"NTLMSSP\0\x02\0\0\0");
        assert_eq!(message.get(12..20).unwrap(), [18, 0, 18, 0, 56, 0, 0, 0]);
        assert_eq!(message.get(20..24).unwrap(), 0x028a_8205_u32.to_le_bytes());
        assert_eq!(message.get(24..32).unwrap(), b"ABCDEFGH");
        assert_eq!(message.get(56..74).unwrap(), utf16("SRV-FILES"));
        let info = u16::from_le_bytes([message[40], message[41]]);
        assert_eq!(message.len(), 74 + usize::from(info));
        assert_eq!(message.get(message.len() - 4..).unwrap(), [0; 4]);
        assert!(challenge(OEM).get(56..65).unwrap() == b"SRV-FILES");
    }

    #[test]
    fn a_third_message_says_who_and_from_where() {
        let mut message = b"NTLMSSP\0\x03\0\0\0".to_vec();
        message.extend_from_slice(&[0; 16]);
        let (domain, user, workstation) = (utf16("CORP"), utf16("jürgen"), utf16("WS1"));
        let mut offset = 64;
        for part in [&domain, &user, &workstation] {
            field(&mut message, part, offset);
            offset += part.len();
        }
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(&UNICODE.to_le_bytes());
        for part in [&domain, &user, &workstation] {
            message.extend_from_slice(part);
        }
        let wanted = Message::Authenticate {
            domain: b"CORP".to_vec(),
            user: "jürgen".as_bytes().to_vec(),
            workstation: b"WS1".to_vec(),
        };
        assert_eq!(Message::find(&message), Some((wanted, false)));
        for end in 0..message.len() {
            assert_eq!(Message::find(&message[..end]), None, "{end}");
        }
    }

    #[test]
    fn a_first_message_may_stop_anywhere_and_be_wrapped() {
        assert_eq!(Message::find(b"NTLMSSP\0\x01\0\0\0"), Some((Message::Negotiate { flags: 0 }, false)));
        let wrapped = der(0x60, b"NTLMSSP\0\x01\0\0\0\x07\x02\0\0");
        assert_eq!(Message::find(&wrapped), Some((Message::Negotiate { flags: 0x207 }, true)));
        assert_eq!(Message::find(b"NTLMSSP\0\x09\0\0\0"), None);
    }

    #[test]
    fn lengths_are_written_as_der_has_them() {
        assert_eq!(der(4, b""), [4, 0]);
        assert_eq!(der(4, &[7; 127])[..3], [4, 127, 7]);
        assert_eq!(der(4, &[7; 128])[..4], [4, 0x81, 128, 7]);
        assert_eq!(der(4, &[7; 300])[..5], [4, 0x82, 1, 44, 7]);
    }
}
