//! The form of a mail: RFC 5322 and MIME, in seven bits, so that every server takes it.
//!
//! Bodies are encoded as Python's `email` does it, so that OpenCanary's mails keep their bytes.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Characters of a line, without its ending: Python's `max_line_length`.
const LINE_MAX: usize = 78;

/// Somebody who writes or reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mailbox {
    /// What stands before the address; may be empty.
    name: String,
    /// The address itself.
    pub(super) address: String,
}

impl Mailbox {
    /// `address` or `Name <address>`.
    ///
    /// # Errors
    ///
    /// When there is no address in it that could be written to.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("wants an address such as soc@example.org or SOC <soc@example.org>, got {text:?}");
        let (name, address) = match text.trim().strip_suffix('>').and_then(|it| it.rsplit_once('<')) {
            Some((name, address)) => (name.trim().trim_matches('"'), address),
            None => ("", text.trim()),
        };
        let odd = |it: char| !it.is_ascii_graphic() || "<>()[],;:\\\"".contains(it);
        let halves = address.split('@').count();
        if address.is_empty() || address.contains(odd) || halves > 2 || address.split('@').any(str::is_empty)
        {
            return Err(wrong());
        }
        if name.chars().any(|it| it.is_control() || "\"\\<>".contains(it)) {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), address: address.to_owned() })
    }

    fn shown(&self) -> String {
        let plain = |it: char| it.is_ascii_alphanumeric() || " -_'".contains(it);
        if self.name.is_empty() {
            self.address.clone()
        } else if self.name.chars().all(plain) {
            format!("{} <{}>", self.name, self.address)
        } else if self.name.is_ascii() {
            format!("\"{}\" <{}>", self.name, self.address)
        } else {
            format!("{} <{}>", words(&self.name), self.address)
        }
    }
}

/// The head of a mail, line by line.
#[derive(Debug, Default)]
pub(super) struct Head(String);

impl Head {
    /// Adds a header whose value is of our own making or the operator's. Control characters, line
    /// breaks above all, become blanks; what is not ASCII is encoded (RFC 2047).
    pub(super) fn text(&mut self, name: &str, value: &str) {
        let value: String = value.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
        let value = if value.is_ascii() { value } else { words(&value) };
        self.fold(name, &value, " ");
    }

    /// Adds a header of addresses.
    pub(super) fn mailboxes(&mut self, name: &str, list: &[Mailbox], between: &str) {
        let list: Vec<_> = list.iter().map(Mailbox::shown).collect();
        self.fold(name, &list.join(between), between);
    }

    /// Lines of at most [`LINE_MAX`] characters where the value has places to break.
    fn fold(&mut self, name: &str, value: &str, between: &str) {
        let mut line = format!("{name}: ");
        for (at, piece) in value.split_inclusive(between).enumerate() {
            if at > 0 && line.len() + piece.trim_end().len() > LINE_MAX {
                self.0.push_str(line.trim_end());
                self.0.push_str("\r\n");
                " ".clone_into(&mut line);
            }
            line.push_str(piece);
        }
        self.0.push_str(line.trim_end());
        self.0.push_str("\r\n");
    }

    /// The mail with a body of one part.
    pub(super) fn with(mut self, part: &Part) -> Vec<u8> {
        self.0.push_str(&part.head());
        self.0.push_str("MIME-Version: 1.0\r\n\r\n");
        self.0.push_str(&part.body);
        self.0.into_bytes()
    }

    /// The mail with several forms of one body, the plainest first. `boundary` occurs in none of them:
    /// encoded parts hold no line that begins with `--=`.
    pub(super) fn with_alternatives(mut self, parts: &[Part], boundary: &str) -> Vec<u8> {
        let boundary = format!("=_{boundary}");
        let _ = write!(
            self.0,
            "MIME-Version: 1.0\r\nContent-Type: multipart/alternative;\r\n boundary=\"{boundary}\"\r\n\r\n"
        );
        for part in parts {
            let _ = write!(self.0, "--{boundary}\r\n{}\r\n{}\r\n", part.head(), part.body);
        }
        let _ = write!(self.0, "--{boundary}--\r\n");
        self.0.into_bytes()
    }
}

/// One form of a body.
#[derive(Debug)]
pub(super) struct Part {
    content_type: &'static str,
    encoding: &'static str,
    body: String,
}

impl Part {
    /// Encoded as short as it gets: as it is, quoted-printable, or base64.
    pub(super) fn new(content_type: &'static str, text: &str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        if text.is_ascii() && !text.contains('\r') && lines.iter().all(|it| it.len() <= LINE_MAX) {
            return Self { content_type, encoding: "7bit", body: lines.join("\r\n") + "\r\n" };
        }
        let quoted = quoted_printable(&lines);
        let bytes = lines.join("\n") + "\n";
        // Only what is mostly foreign script, for which the other would be thrice as long.
        if quoted.len() > bytes.len() * 4 / 3 + 4 {
            return Self { content_type, encoding: "base64", body: base64_lines(bytes.as_bytes()) };
        }
        Self { content_type, encoding: "quoted-printable", body: quoted }
    }

    fn head(&self) -> String {
        format!(
            "Content-Type: {}; charset=\"utf-8\"\r\nContent-Transfer-Encoding: {}\r\n",
            self.content_type, self.encoding
        )
    }
}

fn base64_lines(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(LINE_MAX / 4 * 3) {
        out.push_str(&STANDARD.encode(chunk));
        out.push_str("\r\n");
    }
    out
}

/// As Python's `quoprimime.body_encode` does it with lines of [`LINE_MAX`].
fn quoted_printable(lines: &[&str]) -> String {
    let mut out = String::new();
    for line in lines {
        let encoded = quote(line);
        let bytes = encoded.as_bytes();
        let mut start = 0;
        while start + LINE_MAX < bytes.len() {
            let mut stop = start + LINE_MAX - 1;
            // An escape stays whole.
            if bytes.get(stop - 2) == Some(&b'=') {
                stop -= 2;
            } else if bytes.get(stop - 1) == Some(&b'=') {
                stop -= 1;
            }
            out.push_str(encoded.get(start..stop).unwrap_or_default());
            out.push_str("=\r\n");
            start = stop;
        }
        let rest = encoded.get(start..).unwrap_or_default();
        match rest.strip_suffix([' ', '\t']) {
            // A blank at the end of a line might get lost.
            Some(before) => {
                let last = if rest.ends_with(' ') { "=20" } else { "=09" };
                let fits = before.len() + last.len() <= LINE_MAX;
                let _ = write!(out, "{before}{}{last}", if fits { "" } else { "=\r\n" });
            }
            None => out.push_str(rest),
        }
        out.push_str("\r\n");
    }
    out
}

fn quote(line: &str) -> String {
    let mut out = String::with_capacity(line.len() + line.len() / 8);
    for byte in line.bytes() {
        match byte {
            b'=' | 0x7f.. => {
                let _ = write!(out, "={byte:02X}");
            }
            b'\t' | b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "={byte:02X}");
            }
        }
    }
    out
}

/// RFC 2047, in words so short that the name of a header fits before the first.
fn words(text: &str) -> String {
    const BYTES: usize = 39;
    let mut words = Vec::new();
    let mut word = String::new();
    for it in text.chars() {
        if word.len() + it.len_utf8() > BYTES {
            words.push(std::mem::take(&mut word));
        }
        word.push(it);
    }
    words.push(word);
    let words = words.iter().map(|it| format!("=?utf-8?b?{}?=", STANDARD.encode(it)));
    words.collect::<Vec<_>>().join(" ")
}

/// The text as one half of a message id: letters, digits and a few marks.
pub(super) fn id_text(text: &str) -> String {
    let fine = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
    let text: String = text.chars().map(|it| if fine(it) { it } else { '_' }).collect();
    // Dots stand between words only.
    let text = text.split('.').filter(|it| !it.is_empty()).collect::<Vec<_>>().join(".");
    if text.is_empty() { "serin".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        let shown = |text: &str| Mailbox::parse(text).unwrap().shown();
        assert_eq!(shown("root"), "root");
        assert_eq!(shown(" The SOC <soc@example.org>"), "The SOC <soc@example.org>");
        assert_eq!(shown("\"Doe, J.\" <j@example.org>"), "\"Doe, J.\" <j@example.org>");
        assert_eq!(shown("Zoë <z@example.org>"), "=?utf-8?b?Wm/Dqw==?= <z@example.org>");
        for wrong in
            ["", "a b", "a@", "@b", "a@b@c", "a\r\nRCPT TO:<b>", "a,b@c", "x\r\nBcc: y <a@b>", "<>", "é@b"]
        {
            assert!(Mailbox::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_value_starts_a_header_of_its_own() {
        let mut head = Head::default();
        head.text("Subject", "a\r\nBcc: evil@example.org\n\u{7f}");
        assert_eq!(head.0, "Subject: a  Bcc: evil@example.org\r\n");
        let mut head = Head::default();
        head.text("Subject", &"wörter und mehr ".repeat(20));
        assert!(head.0.is_ascii() && head.0.lines().all(|it| it.len() <= LINE_MAX), "{}", head.0);
        assert!(head.0.lines().skip(1).all(|it| it.starts_with(" =?utf-8?b?")), "{}", head.0);
    }

    #[test]
    fn bodies_are_encoded_within_bounds() {
        assert_eq!(Part::new("text/plain", "a\nb").body, "a\r\nb\r\n");
        let long = format!("{}=\u{e9} {}\nx \n", "a".repeat(74), "b".repeat(200));
        let part = Part::new("text/plain", &long);
        assert_eq!(part.encoding, "quoted-printable");
        assert!(
            part.body.split("\r\n").all(|it| it.len() <= LINE_MAX && !it.ends_with([' ', '\t'])),
            "{}",
            part.body
        );
        assert!(part.body.ends_with("x=20\r\n"));
        assert_eq!(Part::new("text/plain", &"\u{4e2d}".repeat(100)).encoding, "base64");
    }

    #[test]
    fn ids_hold_nothing_odd() {
        assert_eq!(id_text("a b>@\r\nc..d."), "a_b____c.d");
        assert_eq!(id_text("..."), "serin");
    }
}
