//! OpenCanary's handlers, by the names of their Python classes.
//!
//! Python imports whatever class a configuration names. This is the closed set of those in use;
//! anything else is a complaint that lists what is known. Where Python would fail at the first
//! event (an unknown directive, a `when` that does not exist), the complaint comes at the start.

mod logging;
mod reader;

use serde_json::{Map, Value};
use serin_services::conf::Complaint;

pub(crate) use reader::Reader;

use super::chat::{slack, teams};
use super::sharing::dshield;
use super::{OutputConf, OutputType, console, file, hpfeeds, mail, syslog, tcp, webhook};

/// A handler of OpenCanary's configuration as an output. `kwargs` is the whole definition, `name`
/// its key in `logger.kwargs.handlers`; `formatter` is the definition it refers to, looked up in
/// `logger.kwargs.formatters`; `in_order` gives the JSON text of an argument with its members as the
/// file has them.
///
/// # Errors
///
/// Everything that is wrong with it, at once.
pub fn from_handler(
    name: &str,
    class: &str,
    kwargs: &Map<String, Value>,
    formatter: Option<&Map<String, Value>>,
    in_order: &dyn Fn(&str) -> Option<String>,
) -> Result<OutputConf, Vec<Complaint>> {
    let mut reader = Reader::new(name, kwargs, in_order);
    let Some(Class { becomes: (output, convert), .. }) = KNOWN.iter().find(|it| it.name == class) else {
        reader.complain("class", not_a_handler(class));
        reader.complaints.extend(formatter.map(|it| check_formatter(name, it)).unwrap_or_default());
        return Err(reader.complaints);
    };
    convert(&mut reader);
    if reader.formatter_counts {
        let key = reader.format_key;
        reader.formatter(output.name, key, formatter);
    }
    reader.shared(output);
    reader.leftovers(class);
    if reader.complaints.is_empty() {
        Ok(OutputConf { name: name.to_owned(), output, conf: reader.conf })
    } else {
        Err(reader.complaints)
    }
}

/// What is wrong with a formatter to which a handler refers, whose class says nothing.
pub(crate) fn check_formatter(name: &str, formatter: &Map<String, Value>) -> Vec<Complaint> {
    let none = Map::new();
    let mut reader = Reader::new(name, &none, &|_| None);
    reader.formatter("console", "format", Some(formatter));
    reader.complaints
}

/// Which class was meant, and which there are.
fn not_a_handler(class: &str) -> String {
    const FARTHEST: usize = 2;
    let last = |it: &str| it.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let nearest = KNOWN
        .iter()
        .map(|it| (strsim::damerau_levenshtein(&last(it.name), &last(class)), it.name))
        .min_by_key(|it| it.0)
        .filter(|it| it.0 <= FARTHEST);
    let here = classes();
    match nearest {
        Some((_, name)) => format!("{class} is not a handler; did you mean {name}? This version has {here}"),
        None => format!("{class} is not a handler; this version has {here}"),
    }
}

/// The classes that this version has, by their whole names.
pub(crate) fn classes() -> String {
    let here = KNOWN.iter().filter(|it| it.name.contains('.'));
    here.map(|it| it.name).collect::<Vec<_>>().join(", ")
}

/// One class, and what it becomes.
struct Class {
    name: &'static str,
    becomes: (&'static OutputType, Convert),
}

/// Turns the arguments of one class into settings.
type Convert = fn(&mut Reader<'_>);

static KNOWN: &[Class] = &[
    Class { name: "logging.FileHandler", becomes: (&file::OUTPUT, logging::plain_file) },
    Class { name: "logging.StreamHandler", becomes: (&console::OUTPUT, logging::stream) },
    Class {
        name: "logging.handlers.HTTPHandler",
        becomes: (&webhook::OUTPUT, webhook::log_record::from_handler),
    },
    Class { name: "logging.handlers.RotatingFileHandler", becomes: (&file::OUTPUT, logging::rotating) },
    Class { name: "logging.handlers.TimedRotatingFileHandler", becomes: (&file::OUTPUT, logging::timed) },
    Class { name: "logging.handlers.WatchedFileHandler", becomes: (&file::OUTPUT, logging::plain_file) },
    Class { name: "logging.handlers.SMTPHandler", becomes: (&mail::OUTPUT, mail::from_handler) },
    Class { name: "logging.handlers.SysLogHandler", becomes: (&syslog::OUTPUT, syslog::from_handler) },
    Class { name: "opencanary.logger.DShieldHandler", becomes: (&dshield::OUTPUT, dshield::from_handler) },
    Class { name: "opencanary.logger.HpfeedsHandler", becomes: (&hpfeeds::OUTPUT, hpfeeds::from_handler) },
    Class { name: "opencanary.logger.SlackHandler", becomes: (&slack::OUTPUT, slack::from_handler) },
    Class { name: "opencanary.logger.SocketJSONHandler", becomes: (&tcp::OUTPUT, tcp::from_handler) },
    Class { name: "opencanary.logger.TeamsHandler", becomes: (&teams::OUTPUT, teams::from_handler) },
    Class { name: "opencanary.logger.WebhookHandler", becomes: (&webhook::OUTPUT, webhook::from_handler) },
    // Without the package, as some instructions on the web have them.
    Class { name: "DShieldHandler", becomes: (&dshield::OUTPUT, dshield::from_handler) },
    Class { name: "HpfeedsHandler", becomes: (&hpfeeds::OUTPUT, hpfeeds::from_handler) },
    Class { name: "SMTPHandler", becomes: (&mail::OUTPUT, mail::from_handler) },
    Class { name: "SlackHandler", becomes: (&slack::OUTPUT, slack::from_handler) },
    Class { name: "SocketJSONHandler", becomes: (&tcp::OUTPUT, tcp::from_handler) },
    Class { name: "SysLogHandler", becomes: (&syslog::OUTPUT, syslog::from_handler) },
    Class { name: "TeamsHandler", becomes: (&teams::OUTPUT, teams::from_handler) },
    Class { name: "WebhookHandler", becomes: (&webhook::OUTPUT, webhook::from_handler) },
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn handler(definition: &Value, formatter: &Value) -> Result<OutputConf, Vec<String>> {
        let kwargs = definition.as_object().unwrap();
        let class = kwargs["class"].as_str().unwrap();
        let in_order = |argument: &str| kwargs.get(argument).map(Value::to_string);
        from_handler("it", class, kwargs, formatter.as_object(), &in_order)
            .map_err(|it| it.iter().map(|it| format!("{}: {}", it.key, it.text)).collect())
    }

    fn settings(definition: &Value) -> (&'static str, Vec<String>) {
        let made = handler(definition, &Value::Null).unwrap();
        assert_eq!(made.name, "it");
        assert!((made.output.build)(&made.conf).is_ok());
        (made.output.name, made.conf.iter().map(|(key, value)| format!("{key}={value}")).collect())
    }

    #[test]
    fn the_shipped_handlers_become_console_and_file() {
        assert_eq!(
            settings(&json!({ "class": "logging.StreamHandler", "stream": "ext://sys.stdout" })),
            ("console", vec!["console.form=\"json\"".into(), "console.stream=\"stdout\"".into()])
        );
        assert_eq!(
            settings(&json!({ "class": "logging.FileHandler", "filename": "/var/tmp/opencanary.log" })),
            (
                "file",
                vec![
                    "file.delay=false".into(),
                    "file.form=\"json\"".into(),
                    "file.path=\"/var/tmp/opencanary.log\"".into()
                ]
            )
        );
        let (_, keys) =
            settings(&json!({ "class": "logging.StreamHandler", "level": "ERROR", "filters": [] }));
        assert!(keys.contains(&"console.stream=\"stderr\"".to_owned()), "{keys:?}");
    }

    #[test]
    fn rotating_handlers_keep_pythons_meaning() {
        let (_, keys) = settings(&json!({
            "class": "logging.handlers.RotatingFileHandler", "filename": "a", "maxBytes": 1000, "backupCount": 3,
            "mode": "w", "encoding": "UTF-8", "delay": true, "errors": "replace",
        }));
        for key in ["file.max_size=1000", "file.keep=3", "file.delay=true", "file.truncate=false"] {
            assert!(keys.contains(&key.to_owned()), "{key} in {keys:?}");
        }
        let (_, keys) = settings(&json!({
            "class": "logging.handlers.RotatingFileHandler", "filename": "a", "maxBytes": 1000,
        }));
        assert!(!keys.iter().any(|it| it.starts_with("file.max_size")), "{keys:?}");

        let (_, keys) = settings(&json!({
            "class": "logging.handlers.TimedRotatingFileHandler", "filename": "a", "when": "w6", "interval": 2,
            "backupCount": 9, "utc": true, "atTime": "03:30",
        }));
        for key in
            ["file.every=\"W6\"", "file.interval=2", "file.keep=9", "file.utc=true", "file.at_time=\"03:30\""]
        {
            assert!(keys.contains(&key.to_owned()), "{key} in {keys:?}");
        }
        let (_, keys) =
            settings(&json!({ "class": "logging.handlers.TimedRotatingFileHandler", "filename": "a" }));
        assert!(keys.contains(&"file.every=\"H\"".to_owned()) && keys.contains(&"file.keep=0".to_owned()));
    }

    #[test]
    fn pythons_http_handler_becomes_a_webhook() {
        let (output, keys) = settings(&json!({
            "class": "logging.handlers.HTTPHandler", "host": "log.example:8080", "url": "/log?a=b", "method": "post",
            "secure": true, "credentials": ["me", "s3cret"],
        }));
        assert_eq!(output, "webhook");
        for key in [
            "webhook.url=\"https://log.example:8080/log?a=b\"",
            "webhook.method=\"POST\"",
            "webhook.layout=\"logrecord\"",
            "webhook.user=\"me\"",
            "delivery.send=\"events\"",
            "delivery.passwords=\"keep\"",
        ] {
            assert!(keys.contains(&key.to_owned()), "{key} in {keys:?}");
        }
        let wrong = json!({
            "class": "logging.handlers.HTTPHandler", "host": "http://log.example", "url": "log", "method": "PUT",
            "credentials": "me:s3cret", "context": 1,
        });
        assert_eq!(
            handler(&wrong, &Value::Null).unwrap_err(),
            [
                "logger.kwargs.handlers.it.host: wants a host, or HOST:PORT, got \"http://log.example\"",
                "logger.kwargs.handlers.it.url: wants the path of a page, such as /log, got \"log\"",
                "logger.kwargs.handlers.it.method: wants GET or POST",
                "logger.kwargs.handlers.it.credentials: wants a list of a user and a password",
                "logger.kwargs.handlers.it.context: cannot be given in a file; use ca, certificate and key",
            ]
        );
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let complaints = handler(
            &json!({
                "class": "logging.handlers.TimedRotatingFileHandler", "filename": 7, "when": "noon", "interval": 0,
                "maxBytes": 5, "atTime": "25:00", "encoding": "utf-16",
            }),
            &json!({ "format": "%(nam)s", "colour": "red" }),
        )
        .unwrap_err();
        assert_eq!(
            complaints,
            [
                "logger.kwargs.handlers.it.filename: wants the path of a file, got 7",
                "logger.kwargs.handlers.it.encoding: wants utf-8 or another name that begins with ASCII, got \"utf-16\"",
                "logger.kwargs.handlers.it.when: wants S, M, H, D, midnight or W0 to W6, got \"noon\"",
                "logger.kwargs.handlers.it.interval: wants a whole number, 1 or more, got 0",
                "logger.kwargs.handlers.it.atTime: wants a time of day, such as 03:30, got \"25:00\"",
                "logger.kwargs.handlers.it.formatter: has \"colour\", which is not known; known are format, datefmt and style",
                "logger.kwargs.handlers.it.formatter: names \"nam\"; known are asctime, created, levelname, levelno, \
                 message, msecs, name, process, processName, thread, threadName",
                "logger.kwargs.handlers.it.maxBytes: logging.handlers.TimedRotatingFileHandler has no such argument; \
                 it takes filename, encoding, errors, delay, when, interval, backupCount, utc, atTime",
            ]
        );
        let complaints =
            handler(&json!({ "class": "logging.StreamHandler", "stream": "ext://sys.stdin" }), &Value::Null);
        assert_eq!(
            complaints.unwrap_err(),
            [
                "logger.kwargs.handlers.it.stream: wants ext://sys.stdout or ext://sys.stderr, got \"ext://sys.stdin\""
            ]
        );
    }

    #[test]
    fn other_classes_are_complained_of_with_what_was_meant() {
        let complaints = handler(&json!({ "class": "logging.NullHandler" }), &Value::Null).unwrap_err();
        assert_eq!(complaints.len(), 1);
        assert!(
            complaints[0].starts_with(
                "logger.kwargs.handlers.it.class: logging.NullHandler is not a handler; this version has logging.FileHandler, "
            ),
            "{complaints:?}"
        );
        let here = classes();
        for (class, known) in [
            ("logging.RotatingFileHandler", "logging.handlers.RotatingFileHandler"),
            ("logging.Filehandlr", "logging.FileHandler"),
            ("opencanary.logger.SlakHandler", "opencanary.logger.SlackHandler"),
        ] {
            let wanted = format!("{class} is not a handler; did you mean {known}? This version has {here}");
            assert_eq!(not_a_handler(class), wanted);
        }
    }

    #[test]
    fn a_formatter_becomes_settings_of_the_section() {
        let made = handler(
            &json!({ "class": "logging.FileHandler", "filename": "a", "formatter": "syslog_rfc" }),
            &json!({
                "format": "opencanaryd[%(process)-5s:%(thread)d]: %(name)s %(levelname)-5s %(message)s",
                "datefmt": "%H:%M", "class": "logging.Formatter", "validate": true,
            }),
        )
        .unwrap();
        assert_eq!(
            made.conf.get("file.format"),
            Some(&json!("opencanaryd[%(process)-5s:%(thread)d]: %(name)s %(levelname)-5s %(message)s"))
        );
        assert_eq!(made.conf.get("file.datefmt"), Some(&json!("%H:%M")));
        assert!((made.output.build)(&made.conf).is_ok());
    }
}
