//! The line that one event becomes on a console or in a file.

use serin_event::{Record, Severity};
use serin_services::choices;
use serin_services::conf::Complaint;

use super::formatter::{Formatter, Style};

choices! {
    /// What a line looks like.
    Form { Json = "json", Text = "text" } wants "json or text"
}

/// How events become lines.
#[derive(Debug, Clone)]
pub(crate) enum Line {
    /// OpenCanary's JSON.
    Json,
    /// A sentence with time, severity and service.
    Text {
        /// With the terminal's colours.
        coloured: bool,
    },
    /// A format of the operator's.
    Formatted(Formatter),
}

impl Line {
    /// From the settings `form`, `format`, `datefmt` and `style` of `section`; a format outranks
    /// the form.
    pub(crate) fn from_settings(
        section: &str,
        form: Form,
        (format, datefmt, style): (&str, &str, Style),
    ) -> Result<Self, Vec<Complaint>> {
        let formatter = Formatter::new(format, datefmt, style).map_err(|text| {
            let part = if text.contains("datefmt") { "datefmt" } else { "format" };
            vec![Complaint { key: format!("{section}.{part}"), text }]
        })?;
        Ok(match form {
            _ if !format.is_empty() => Self::Formatted(formatter),
            Form::Json => Self::Json,
            Form::Text => Self::Text { coloured: false },
        })
    }

    /// The line, with its ending.
    pub(crate) fn encode(&self, record: &Record) -> Vec<u8> {
        let mut line = match self {
            Self::Json => record.line(),
            Self::Text { coloured } => text(record, *coloured),
            Self::Formatted(formatter) => formatter.format(record),
        };
        line.push('\n');
        line.into_bytes()
    }

    /// What is the same whenever this event is encoded, also by another process; `None` when lines
    /// of this form do not tell events apart.
    pub(crate) fn identity(&self, record: &Record) -> Option<Vec<u8>> {
        match self {
            Self::Json => Some(record.line().into_bytes()),
            Self::Text { .. } => Some(text(record, false).into_bytes()),
            Self::Formatted(formatter) => formatter.tells_events_apart().then(|| record.line().into_bytes()),
        }
    }

    /// The identity in a line that was written earlier.
    pub(crate) fn recognise<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        const START: &[u8] = b"{\"dst_host\": ";
        if !matches!(self, Self::Formatted(_)) {
            return line;
        }
        let start = line.windows(START.len()).position(|it| it == START).unwrap_or(0);
        let end = line.iter().rposition(|it| *it == b'}').map_or(line.len(), |it| it + 1);
        line.get(start..end).unwrap_or(line)
    }
}

/// `2026-11-21 21:36:31.777389 high ftp: 192.0.2.7 tried to log in to FTP as admin`, in the host's
/// own time. The microseconds tell repeated attempts apart.
fn text(record: &Record, coloured: bool) -> String {
    let time = record.time.civil(record.utc_offset);
    let severity = record.severity();
    let (before, after) = if coloured { (colour(severity), "\x1b[0m") } else { ("", "") };
    let (name, service) = (severity.name(), record.kind.service);
    format!("{time} {before}{name}{after} {service}: {}", record.sentence())
}

/// From the sixteen colours that every terminal has; readable on dark and light grounds.
const fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Informational => "\x1b[2m",
        Severity::Low => "\x1b[36m",
        Severity::Medium => "\x1b[33m",
        Severity::High => "\x1b[31m",
        Severity::Critical => "\x1b[1;35m",
    }
}
