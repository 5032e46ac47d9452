//! RELP's frames: `TXNR SP COMMAND SP DATALEN [SP DATA] LF`, numbers in decimal.

/// The highest number of a transaction; 1 follows.
pub(super) const TXNR_MAX: u32 = 999_999_999;
/// Bytes of a command's name.
const COMMAND_MAX: usize = 32;
/// Bytes of data that a receiver may say at once; answers have a line or two.
const DATA_MAX: usize = 32 * 1024;
/// Characters of an answer that are shown to a person.
const SHOWN: usize = 200;

/// One frame from the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) txnr: u32,
    pub(super) command: String,
    pub(super) data: Vec<u8>,
}

impl Frame {
    /// A frame as it is sent.
    pub(super) fn encode(txnr: u32, command: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = format!("{txnr} {command} {}", data.len()).into_bytes();
        if !data.is_empty() {
            bytes.push(b' ');
            bytes.extend_from_slice(data);
        }
        bytes.push(b'\n');
        bytes
    }

    /// The frame at the beginning and its length; `None`: more is needed.
    ///
    /// # Errors
    ///
    /// When it cannot become a frame.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let mut rest = bytes;
        let Some(txnr) = word(&mut rest, 9)? else { return Ok(None) };
        let Some(command) = word(&mut rest, COMMAND_MAX)? else { return Ok(None) };
        let Some(length) = length(&mut rest)? else { return Ok(None) };
        let txnr = number(txnr)?;
        if !command.iter().all(u8::is_ascii_alphanumeric) {
            return Err("an answer that is not RELP".to_owned());
        }
        let data = if length == 0 {
            // Some receivers put the blank before no data as well.
            rest = rest.strip_prefix(b" ").unwrap_or(rest);
            &[]
        } else {
            let Some(after) = rest.strip_prefix(b" ") else {
                return Err("an answer that is not RELP".to_owned());
            };
            let Some((data, after)) = after.split_at_checked(length) else { return Ok(None) };
            rest = after;
            data
        };
        let Some((end, after)) = rest.split_first() else { return Ok(None) };
        if *end != b'\n' {
            return Err("an answer that does not end where it says".to_owned());
        }
        let command = String::from_utf8_lossy(command).into_owned();
        let used = bytes.len().saturating_sub(after.len());
        Ok(Some((Self { txnr, command, data: data.to_vec() }, used)))
    }

    /// The status of an answer: `rsp` and data that begin with `200 OK`.
    pub(super) fn status(&self) -> Option<u16> {
        let digits = self.data.get(..3).filter(|_| self.command == "rsp")?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// What it says, for a person.
    pub(super) fn told(&self) -> String {
        let text = String::from_utf8_lossy(&self.data);
        let text: String =
            text.chars().map(|it| if it.is_control() { ' ' } else { it }).take(SHOWN).collect();
        format!("{} {}", self.command, text.trim()).trim_end().to_owned()
    }
}

/// Everything up to a blank, which is taken as well.
fn word<'a>(rest: &mut &'a [u8], most: usize) -> Result<Option<&'a [u8]>, String> {
    let seen = rest.get(..rest.len().min(most.saturating_add(1))).unwrap_or_default();
    match seen.iter().position(|it| *it == b' ') {
        Some(0) => Err("an answer that is not RELP".to_owned()),
        Some(at) => {
            let (word, after) = rest.split_at_checked(at).unwrap_or_default();
            *rest = after.get(1..).unwrap_or_default();
            Ok(Some(word))
        }
        None if seen.len() > most => Err("an answer that is not RELP".to_owned()),
        None => Ok(None),
    }
}

/// The length of the data; what ends it stays.
fn length(rest: &mut &[u8]) -> Result<Option<usize>, String> {
    const DIGITS_MAX: usize = 9;
    let digits = rest.iter().take(DIGITS_MAX + 1).take_while(|it| it.is_ascii_digit()).count();
    let Some((number_text, after)) = rest.split_at_checked(digits).filter(|it| !it.1.is_empty()) else {
        return if digits > DIGITS_MAX { Err("an answer that is too large".to_owned()) } else { Ok(None) };
    };
    let length = usize::try_from(number(number_text)?).unwrap_or(usize::MAX);
    if length > DATA_MAX {
        return Err("an answer that is too large".to_owned());
    }
    *rest = after;
    Ok(Some(length))
}

fn number(digits: &[u8]) -> Result<u32, String> {
    let text = std::str::from_utf8(digits).ok().filter(|it| it.bytes().all(|it| it.is_ascii_digit()));
    text.and_then(|it| it.parse().ok()).ok_or_else(|| "an answer that is not RELP".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(txnr: u32, command: &str, data: &[u8]) -> Frame {
        Frame { txnr, command: command.to_owned(), data: data.to_vec() }
    }

    #[test]
    fn frames_are_written_as_relp_has_them() {
        assert_eq!(Frame::encode(2, "syslog", b"<132>1 x"), b"2 syslog 8 <132>1 x\n");
        assert_eq!(Frame::encode(TXNR_MAX, "close", b""), b"999999999 close 0\n");
    }

    #[test]
    fn rsyslogs_answers_are_read_in_any_slices() {
        let open = b"1 rsp 93 200 OK\nrelp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog\n";
        let all = [open.as_slice(), b"2 rsp 6 200 OK\n4 rsp 0\n0 serverclose 0\n"].concat();
        let (mut at, mut found, mut heard) = (0, Vec::new(), Vec::new());
        while at < all.len() {
            heard.push(all[at]);
            at += 1;
            while let Some((frame, used)) = Frame::parse(&heard).unwrap() {
                heard.drain(..used);
                found.push(frame);
            }
        }
        assert!(heard.is_empty());
        let statuses: Vec<_> = found.iter().map(|it| (it.txnr, it.status())).collect();
        assert_eq!(statuses, [(1, Some(200)), (2, Some(200)), (4, None), (0, None)]);
        assert_eq!(found.last(), Some(&frame(0, "serverclose", b"")));
    }

    #[test]
    fn lies_are_refused_at_once_and_small() {
        for lie in [
            "HTTP/1.1 400 Bad Request\r\n",
            " rsp 0\n",
            "1234567890 rsp 0\n",
            "-1 rsp 0\n",
            "1 rsp 99999999999999999999 x",
            "1 rsp 999999 x",
            "1 rsp 6 200 OKAY\n",
            "1 rsp 6x200 OK\n",
            "1 r\x1bp 0\n",
            "1 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 0\n",
        ] {
            let parsed = Frame::parse(lie.as_bytes());
            let harmless = matches!(&parsed, Ok(Some((frame, _))) if frame.status().is_none());
            assert!(parsed.is_err() || harmless, "{lie}: {parsed:?}");
        }
        for endless in ["1", "a", " ", "1 ", "1 rsp 1", "1 rsp 32768 x"] {
            let mut bytes = endless.as_bytes().to_vec();
            bytes.resize(40 * 1024, *bytes.last().unwrap());
            assert!(!matches!(Frame::parse(&bytes), Ok(None)), "{endless}");
        }
    }

    #[test]
    fn what_is_said_is_safe_on_a_terminal() {
        assert_eq!(frame(1, "rsp", b"500 \x1b[31mno\n").told(), "rsp 500  [31mno");
    }
}
