//! Frames of hpfeeds version 1: a length (4 bytes, big-endian, of the whole frame), an operation, a
//! body.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

/// Length and operation.
pub(super) const HEAD: usize = 5;
/// The longest body of an error or a message.
pub(super) const BODY_MAX: usize = 1_048_576;
/// The longest body of the broker's greeting.
const INFO_MAX: usize = 256 + 20;

const ERROR: u8 = 0;
const INFO: u8 = 1;
const AUTH: u8 = 2;
const PUBLISH: u8 = 3;
const SUBSCRIBE: u8 = 4;

/// What a broker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// What went wrong; it closes the connection after that.
    Error(String),
    /// Its greeting.
    Info {
        /// What the answer to it is made of.
        nonce: Vec<u8>,
    },
    /// A message that somebody published.
    Publish { ident: String, channel: String, payload: Vec<u8> },
}

/// The body's length and the operation, from the head of a frame.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn head(bytes: [u8; HEAD]) -> Result<(usize, u8), String> {
    let [a, b, c, d, operation] = bytes;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let most = match operation {
        ERROR | PUBLISH => BODY_MAX,
        INFO => INFO_MAX,
        _ => return Err(format!("the broker sent a frame with the unknown operation {operation}")),
    };
    match length.checked_sub(HEAD) {
        Some(body) if body <= most => Ok((body, operation)),
        _ => Err(format!("the broker sent a frame of {length} bytes, which hpfeeds does not have")),
    }
}

/// A frame of its operation and body.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn decode(operation: u8, body: &[u8]) -> Result<Frame, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let short = || "the broker sent a frame that is too short".to_owned();
    match operation {
        ERROR => Ok(Frame::Error(text(body))),
        INFO => {
            let (_, nonce) = prefixed(body).ok_or_else(short)?;
            Ok(Frame::Info { nonce: nonce.to_vec() })
        }
        PUBLISH => {
            let (ident, rest) = prefixed(body).ok_or_else(short)?;
            let (channel, payload) = prefixed(rest).ok_or_else(short)?;
            Ok(Frame::Publish { ident: text(ident), channel: text(channel), payload: payload.to_vec() })
        }
        other => Err(format!("the broker sent a frame with the unknown operation {other}")),
    }
}

/// A text with one byte of length before it, and what follows.
fn prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// Proves that we know the secret: SHA-1 of nonce and secret.
pub(super) fn auth(ident: &str, nonce: &[u8], secret: &str) -> Vec<u8> {
    let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(nonce);
    hash.update(secret.as_bytes());
    frame(AUTH, &[short(ident).as_slice(), hash.finish().as_ref()])
}

/// Asks for what is published on a channel.
pub(super) fn subscribe(ident: &str, channel: &str) -> Vec<u8> {
    frame(SUBSCRIBE, &[short(ident).as_slice(), channel.as_bytes()])
}

/// Publishes one message.
pub(super) fn publish(ident: &str, channel: &str, payload: &[u8]) -> Vec<u8> {
    frame(PUBLISH, &[short(ident).as_slice(), short(channel).as_slice(), payload])
}

/// Whether a message of this length fits into a frame.
pub(super) fn fits(ident: &str, channel: &str, payload: usize) -> bool {
    ident.len() + channel.len() + 2 + payload <= BODY_MAX
}

/// The text with its length before it; settings keep it shorter than 256 bytes.
fn short(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    let bytes = text.as_bytes().get(..usize::from(length)).unwrap_or_default();
    [&[length], bytes].concat()
}

fn frame(operation: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = HEAD + parts.iter().map(|it| it.len()).sum::<usize>();
    let mut bytes = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    bytes.push(operation);
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn read(hex: &str) -> Result<Frame, String> {
        let frame = bytes(hex);
        let (length, operation) = head(frame[..HEAD].try_into().unwrap())?;
        assert_eq!(length, frame.len() - HEAD);
        decode(operation, &frame[HEAD..])
    }

    /// Recorded from the reference broker and its clients.
    #[test]
    fn frames_are_those_of_the_reference_broker() {
        let info = read("0000001101076870666565647300010203").unwrap();
        assert_eq!(info, Frame::Info { nonce: vec![0, 1, 2, 3] });
        assert_eq!(
            hex(&auth("sensor1", &[0, 1, 2, 3], "s3cret")),
            "00000021020773656e736f7231a0665a5256d50a7d691f6bf72d7a21e394714343"
        );
        assert_eq!(hex(&subscribe("sensor1", "oc.events")), "00000016040773656e736f72316f632e6576656e7473");
        let published = "0000001e030773656e736f7231096f632e6576656e74737b2261223a317d";
        assert_eq!(hex(&publish("sensor1", "oc.events", br#"{"a":1}"#)), published);
        assert_eq!(
            read(published).unwrap(),
            Frame::Publish {
                ident: "sensor1".into(),
                channel: "oc.events".into(),
                payload: br#"{"a":1}"#.to_vec()
            }
        );
        assert_eq!(
            read("000000260041757468656e7469636174696f6e206661696c656420666f722073656e736f7231").unwrap(),
            Frame::Error("Authentication failed for sensor1".into())
        );
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for wrong in ["0000000401", "ffffffff00", "0010000600", "0000011a01", "0000000509", "0000000502"] {
            assert!(head(bytes(wrong).try_into().unwrap()).is_err(), "{wrong}");
        }
        for (operation, wrong) in [(INFO, ""), (INFO, "05ab"), (PUBLISH, "0161"), (PUBLISH, "016102ff")] {
            assert!(decode(operation, &bytes(wrong)).is_err(), "{operation} {wrong}");
        }
        assert_eq!(decode(INFO, &[0]), Ok(Frame::Info { nonce: Vec::new() }));
    }

    #[test]
    fn a_message_fits_up_to_the_brokers_limit() {
        assert!(fits("me", "chan", BODY_MAX - 8) && !fits("me", "chan", BODY_MAX - 7));
    }
}
