//! What a mail says: a card as text and as HTML, or OpenCanary's line.

use std::fmt::Write as _;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Value, json};
use serin_event::{Record, Severity, Timestamp};

use super::mime::{Head, Mailbox, Part, id_text};
use crate::outputs::alert::{Card, CardKind};

/// Everything that writes a mail. No text of a peer's comes into a header: there the card's title is
/// all that is said, and it is of our own words.
#[derive(Debug)]
pub(super) struct Letterhead {
    pub(super) from: Mailbox,
    pub(super) to: Vec<Mailbox>,
    templates: Environment<'static>,
}

const HTML: &str = "alert.html";
const SUBJECT: &str = "subject";
/// What a subject may name.
const SUBJECT_NAMES: &[&str] = &["title", "severity", "sensor", "test"];

impl Letterhead {
    /// # Errors
    ///
    /// What is wrong with the template of the subject.
    pub(super) fn new(from: Mailbox, to: Vec<Mailbox>, subject: String) -> Result<Self, String> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        let escape = |name: &str| if name == HTML { AutoEscape::Html } else { AutoEscape::None };
        templates.set_auto_escape_callback(escape);
        templates.add_template(HTML, include_str!("alert.html")).map_err(|error| error.to_string())?;
        templates.add_template_owned(SUBJECT, subject).map_err(|error| error.to_string())?;
        let subject = templates.get_template(SUBJECT).map_err(|error| error.to_string())?;
        let unknown = subject.undeclared_variables(false).into_iter();
        if let Some(name) = unknown.filter(|it| !SUBJECT_NAMES.contains(&it.as_str())).min() {
            return Err(format!("names {name}; there are {}", SUBJECT_NAMES.join(", ")));
        }
        Ok(Self { from, to, templates })
    }

    /// The mail of a card.
    pub(super) fn card(&self, card: &Card) -> Vec<u8> {
        let badge = format!("{}{}", if card.test { "test · " } else { "" }, card.severity.name());
        let footer = format!("{} · told by Serin on {} · {}", card.when, card.node, card.key);
        let mut head = self.head(card);
        // Nobody's absence note should answer.
        head.text("Auto-Submitted", "auto-generated");
        head.text("X-Auto-Response-Suppress", "All");
        let rows: Vec<_> =
            card.rows.iter().map(|it| json!({ "label": it.label, "value": it.value })).collect();
        let html = self.render(
            HTML,
            &json!({
                "title": card.title,
                "badge": badge,
                "colour": colour(card.severity),
                "sentence": card.sentence,
                "rows": rows,
                "details": card.details,
                "link": card.link,
            "footer": footer,
            }),
        );
        let plain = Part::new("text/plain", &text(card, &footer));
        let html = Part::new("text/html", &html);
        head.with_alternatives(&[plain, html], &id_text(&card.key))
    }

    fn head(&self, card: &Card) -> Head {
        let subject = self.render(
            SUBJECT,
            &json!({
                "title": card.title,
                "severity": card.severity.name(),
                "sensor": card.node,
                "test": card.test,
            }),
        );
        let mut head = Head::default();
        head.mailboxes("From", std::slice::from_ref(&self.from), ", ");
        head.mailboxes("To", &self.to, ", ");
        head.text("Subject", &subject);
        head.text("Date", &date(card.time, 0));
        head.text("Message-ID", &message_id(&card.key, &card.node));
        if card.id != card.key && card.kind != CardKind::Digest {
            // All mails of one incident answer the same letter, which nobody wrote: so they stand together.
            let thread = message_id(&format!("{}.incident", card.id), &card.node);
            head.text("In-Reply-To", &thread);
            head.text("References", &thread);
        }
        head
    }

    /// Our own templates and what was checked at the start cannot fail; if they did, an empty text
    /// would still leave the other form.
    fn render(&self, name: &str, context: &Value) -> String {
        let template = self.templates.get_template(name);
        template.and_then(|it| it.render(Serde(context))).unwrap_or_default()
    }
}

/// `<ID@SENSOR>`.
fn message_id(id: &str, node: &str) -> String {
    format!("<{}@{}>", id_text(id), id_text(node))
}

/// The form of mail: `Sun, 22 Nov 2026 07:41:00 +0000`.
fn date(time: Timestamp, offset: i32) -> String {
    let minutes = offset / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    let zone = format!("{sign}{:02}{:02}", minutes.abs() / 60, minutes.abs() % 60);
    format!("{} {zone}", time.datetime(offset).strftime("%a, %d %b %Y %H:%M:%S"))
}

fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "#dc2626",
        Severity::High => "#ea580c",
        Severity::Medium => "#ca8a04",
        Severity::Low => "#2563eb",
        Severity::Informational => "#6b7280",
    }
}

fn text(card: &Card, footer: &str) -> String {
    let width = card.rows.iter().map(|it| it.label.len()).max().unwrap_or(0) + 1;
    let mut text = format!("{}\n", card.sentence);
    if card.test {
        text.push_str("\nThis is a test. Nothing happened.\n");
    }
    // Writing to a String cannot fail.
    for (at, row) in card.rows.iter().enumerate() {
        let label = format!("{}:", row.label);
        let _ = writeln!(text, "{}{label:<width$}  {}", if at == 0 { "\n" } else { "" }, row.value);
    }
    for (at, detail) in card.details.iter().enumerate() {
        let _ = writeln!(text, "{}- {detail}", if at == 0 { "\n" } else { "" });
    }
    if let Some(link) = &card.link {
        let _ = write!(text, "\n{link}\n");
    }
    // The separator of signatures, RFC 3676.
    let _ = write!(text, "\n-- \n{footer}\n");
    text
}

/// The mail that Python's `SMTPHandler` sends of one event, and a `Message-ID`, so that the same mail
/// sent again is known as the same.
#[derive(Debug)]
pub(super) struct Handler {
    pub(super) from: Mailbox,
    pub(super) to: Vec<Mailbox>,
    pub(super) subject: String,
}

impl Handler {
    pub(super) fn mail(&self, card: &Card, record: Option<&Record>, line: &str) -> Vec<u8> {
        let mut head = Head::default();
        head.mailboxes("From", std::slice::from_ref(&self.from), ",");
        head.mailboxes("To", &self.to, ",");
        head.text("Subject", &self.subject);
        head.text("Date", &date(card.time, record.map_or(0, |it| it.utc_offset)));
        head.text("Message-ID", &message_id(&card.key, &card.node));
        head.with(&Part::new("text/plain", line))
    }
}

#[cfg(test)]
mod tests {
    use serin_event::{Event, Tainted, kinds};

    use super::*;
    use crate::incidents::{Change, Notice};

    fn letterhead() -> Letterhead {
        let mailbox = |text| Mailbox::parse(text).unwrap();
        let to = vec![mailbox("soc@example.org"), mailbox("Boss <boss@example.org>")];
        Letterhead::new(mailbox("Canary <canary@example.org>"), to, "[canary] {{ title }}".to_owned())
            .unwrap()
    }

    fn incident(change: Change, seq: u64) -> Record {
        let notice = Notice {
            id: "node-7".into(),
            change,
            severity: Severity::High,
            service: "ftp".into(),
            rule: "touch".into(),
            sentence: "10.0.0.5 tried 3 passwords on FTP".into(),
            source: "10.0.0.5".parse().ok(),
            targets: vec!["10.0.0.9".into()],
            count: 3,
            users: vec!["root".into(), "<b>".into()],
            samples: vec!["one".into(), "two & three".into()],
            test: false,
            ..Notice::test(String::new(), Timestamp(1_795_296_991_777_389))
        };
        Record { seq, ..Record::of(&notice.to_event(), Timestamp(1_795_296_991_777_389), 0, "node") }
    }

    fn mail(record: &Record) -> String {
        String::from_utf8(letterhead().card(&Card::of_record(record))).unwrap()
    }

    fn headers(mail: &str) -> Vec<&str> {
        mail.split_once("\r\n\r\n").unwrap().0.lines().collect()
    }

    #[test]
    fn an_incident_is_a_letter_with_two_forms() {
        let mail = mail(&incident(Change::Opened, 8));
        let head = headers(&mail);
        assert_eq!(
            head[..2],
            ["From: Canary <canary@example.org>", "To: soc@example.org, Boss <boss@example.org>"]
        );
        assert!(head[2].starts_with("Subject: [canary] "), "{head:?}");
        assert_eq!(
            head[3..],
            [
                "Date: Sat, 21 Nov 2026 21:36:31 +0000",
                "Message-ID: <node-8@node>",
                "In-Reply-To: <node-7.incident@node>",
                "References: <node-7.incident@node>",
                "Auto-Submitted: auto-generated",
                "X-Auto-Response-Suppress: All",
                "MIME-Version: 1.0",
                "Content-Type: multipart/alternative;",
                " boundary=\"=_node-8\"",
            ]
        );
        assert!(mail.contains("10.0.0.5 tried 3 passwords on FTP\r\n\r\nSeverity:"), "{mail}");
        assert!(mail.contains("\r\n- two & three\r\n") && mail.contains("two &amp; three"), "{mail}");
        assert!(mail.contains("&lt;b&gt;"), "{mail}");
        assert!(mail.ends_with("\r\n--=_node-8--\r\n"));
    }

    #[test]
    fn all_mails_of_one_incident_stand_together() {
        let (first, last) = (mail(&incident(Change::Opened, 8)), mail(&incident(Change::Closed, 19)));
        let thread = |mail: &str| {
            headers(mail).iter().find(|it| it.starts_with("References:")).map(|it| (*it).to_owned())
        };
        assert_eq!(thread(&first), thread(&last));
        assert!(headers(&last).contains(&"Message-ID: <node-19@node>"));
    }

    #[test]
    fn nothing_that_a_peer_typed_comes_into_the_head() {
        for user in
            [&b"x\r\nBcc: evil@example.org"[..], b"{{ 7*7 }}", b"=?utf-8?q?x?=", b"\xff\x00", &[b'a'; 900]]
        {
            let event = Event::new(&kinds::FTP_LOGIN).with("USERNAME", Tainted::new(user, 1000));
            let mail = mail(&Record { seq: 7, ..Record::of(&event, Timestamp(0), 0, "no\r\nde") });
            assert!(mail.is_ascii() && mail.split("\r\n").all(|it| it.len() <= 78), "{mail}");
            assert!(!mail.replace("\r\n", "").contains(['\r', '\n']));
            let head = headers(&mail);
            let names: Vec<_> = head
                .iter()
                .filter(|it| !it.starts_with(' '))
                .map(|it| it.split(':').next().unwrap())
                .collect();
            assert_eq!(
                names,
                [
                    "From",
                    "To",
                    "Subject",
                    "Date",
                    "Message-ID",
                    "Auto-Submitted",
                    "X-Auto-Response-Suppress",
                    "MIME-Version",
                    "Content-Type",
                ]
            );
            assert!(
                !head.join("").contains("49")
                    && !head.join("").contains("evil")
                    && !head.join("").contains("aaaa")
            );
        }
    }

    #[test]
    fn a_subject_names_what_is_ours_alone() {
        let mailbox = Mailbox::parse("a@example.org").unwrap();
        for (subject, told) in
            [("{{ sentence }}", "names sentence; there are title"), ("{{ title", "syntax error")]
        {
            let error = Letterhead::new(mailbox.clone(), Vec::new(), subject.to_owned()).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
