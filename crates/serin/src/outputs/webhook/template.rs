//! The body of our own webhooks: a template of the operator's, or everything there is as JSON.
//!
//! What a template may name, and what the default body holds, is one and the same object:
//! [`told`]. It is described in docs/outputs.md and carries a `version`, which grows when a member
//! is taken away or changes its meaning.

use minijinja::{AutoEscape, Environment, Error, State, UndefinedBehavior, Value, escape_formatter};
use serde_json::{Value as Json, json};
use serin_event::{Event, Record, Tainted, Timestamp, kinds};

use super::printf::quote_plus;
use crate::incidents::Notice;
use crate::outputs::alert::Card;

/// The form of what is told.
const VERSION: u32 = 1;

/// Everything about one alert. `incident` and `event` are null in a digest, which tells of several.
pub(super) fn told(card: &Card, record: Option<&Record>) -> Json {
    let rows: Vec<_> = card.rows.iter().map(|it| json!({ "label": it.label, "value": it.value })).collect();
    json!({
        "version": VERSION,
        "id": card.key,
        "change": card.kind.name(),
        "severity": card.severity.name(),
        "title": card.title,
        "sentence": card.sentence,
        "rows": rows,
        "details": card.details,
        "time": card.time.rfc3339(),
        "sensor": card.node,
        "test": card.test,
        "incident_id": card.id,
        "incident": record.map(|it| incident(&Notice::of(it))),
        "event": record.filter(|it| !it.kind.is_incident()).map(event),
    })
}

fn incident(notice: &Notice) -> Json {
    json!({
        "id": notice.id,
        "change": notice.change.name(),
        "severity": notice.severity.name(),
        "intent": notice.intent.name(),
        "service": notice.service,
        "rule": notice.rule,
        "sentence": notice.sentence,
        "source": notice.source.map(|it| it.to_string()),
        "about_source": notice.about_source,
        "targets": notice.targets,
        "ports": notice.ports,
        "count": notice.count,
        "first": notice.first.rfc3339(),
        "last": notice.last.rfc3339(),
        "users": notice.users,
        "passwords": notice.passwords,
        "labels": notice.labels,
        "detections": notice.detections,
        "samples": notice.samples,
        "events": notice.events,
        "test": notice.test,
    })
}

/// OpenCanary's line as an object, and what it does not say.
fn event(record: &Record) -> Json {
    let mut event: Json = serde_json::from_str(&record.line()).unwrap_or_default();
    if let Some(members) = event.as_object_mut() {
        members.insert("kind".to_owned(), record.kind.name.into());
        members.insert("service".to_owned(), record.kind.service.into());
        members.insert("details".to_owned(), serde_json::from_str(&record.details).unwrap_or_default());
    }
    event
}

/// What templates may name at the top, and below `incident`; below the rest anything.
fn known(path: &str) -> bool {
    const TOP: &[&str] = &[
        "version",
        "id",
        "change",
        "severity",
        "title",
        "sentence",
        "rows",
        "details",
        "time",
        "sensor",
        "test",
        "incident_id",
        "incident",
        "event",
    ];
    const INCIDENT: &[&str] = &[
        "id",
        "change",
        "severity",
        "intent",
        "service",
        "rule",
        "sentence",
        "source",
        "about_source",
        "targets",
        "ports",
        "count",
        "first",
        "last",
        "users",
        "passwords",
        "labels",
        "detections",
        "samples",
        "events",
        "test",
    ];
    let mut names = path.split('.');
    let top = names.next().unwrap_or_default();
    TOP.contains(&top) && (top != "incident" || names.next().is_none_or(|it| INCIDENT.contains(&it)))
}

/// A checked template.
#[derive(Debug)]
pub(super) struct Template {
    environment: Environment<'static>,
}

const NAME: &str = "body";
const FORM: &str = "form";

impl Template {
    /// Values are escaped for `content_type`: JSON (a text comes with its quotes), HTML or XML, or a
    /// form; in anything else they stand as they are.
    ///
    /// # Errors
    ///
    /// What is wrong with the template, in words.
    pub(super) fn new(source: String, content_type: &str) -> Result<Self, String> {
        let mut environment = Environment::new();
        // Fields that one event has and another lacks are no mistake.
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        let content_type = content_type.to_ascii_lowercase();
        let escape = if content_type.contains("json") {
            AutoEscape::Json
        } else if content_type.contains("html") || content_type.contains("xml") {
            AutoEscape::Html
        } else if content_type.contains("x-www-form-urlencoded") {
            AutoEscape::Custom(FORM.into())
        } else {
            AutoEscape::None
        };
        environment.set_auto_escape_callback(move |_| escape.clone());
        environment.set_formatter(|out, state: &mut State<'_, '_>, value: &Value| {
            match state.auto_escape() {
                AutoEscape::Json if value.is_undefined() => out.write_str("null").map_err(Error::from),
                AutoEscape::Custom(_) if !value.is_safe() => {
                    let mut text = String::new();
                    quote_plus(&mut text, &if value.is_none() { String::new() } else { value.to_string() });
                    out.write_str(&text).map_err(Error::from)
                }
                _ => escape_formatter(out, state, value),
            }
        });
        environment.add_template_owned(NAME, source).map_err(|error| told_error(&error))?;
        let template = environment.get_template(NAME).map_err(|error| told_error(&error))?;
        let functions: Vec<_> = environment.globals().map(|it| it.0).collect();
        let mut names: Vec<_> = template.undeclared_variables(true).into_iter().collect();
        names.sort();
        if let Some(name) = names.iter().find(|it| !known(it) && !functions.contains(&it.as_str())) {
            return Err(format!("names {name}, which there is not"));
        }
        let template = Self { environment };
        for (sample, digest) in [(sample(), false), (sample(), true)] {
            let card = Card::of_record(&sample);
            let body = template.render(&told(&card, (!digest).then_some(&sample)))?;
            if content_type.contains("json") {
                serde_json::from_str::<Json>(&body)
                    .map_err(|error| format!("does not make JSON: {error}"))?;
            }
        }
        Ok(template)
    }

    /// The body.
    ///
    /// # Errors
    ///
    /// What the template did that does not work with this alert.
    pub(super) fn render(&self, told: &Json) -> Result<String, String> {
        let template = self.environment.get_template(NAME).map_err(|error| told_error(&error))?;
        template.render(Value::from(minijinja::value::Serde(told))).map_err(|error| told_error(&error))
    }
}

fn told_error(error: &Error) -> String {
    error.to_string()
}

/// An event as templates may meet it.
fn sample() -> Record {
    let event = Event::new(&kinds::FTP_LOGIN)
        .with("USERNAME", Tainted::new(b"a \"user\"", 64))
        .with("PASSWORD", Tainted::new(b"secret", 64));
    Record::of(&event, Timestamp(0), 0, "sensor")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, content_type: &str, user: &[u8]) -> String {
        let event = Event::new(&kinds::FTP_LOGIN).with("USERNAME", Tainted::new(user, 256));
        let record = Record::of(&event, Timestamp(0), 0, "node");
        let card = Card::of_record(&record);
        let template = Template::new(source.to_owned(), content_type).unwrap();
        template.render(&told(&card, Some(&record))).unwrap()
    }

    const HOSTILE: &[&[u8]] = &[
        b"a\r\nX-Evil: 1",
        b"{{ 7*7 }}{% raw %}",
        b"%(message)s",
        b"</script><script>alert(1)</script>",
        b"\"},{\"x\":\"",
        b"\xff\xfe\x00",
        b"a&b=c+d",
    ];

    #[test]
    fn what_peers_typed_stays_text_in_every_form() {
        for user in HOSTILE {
            let wanted = Tainted::new(user, 256).text().into_owned();
            let json: Json = serde_json::from_str(&render(
                "{\"u\": {{ event.logdata.USERNAME }}, \"all\": {{ incident }}, \"no\": {{ event.logdata.NO.NO }}}",
                "application/json",
                user,
            ))
            .unwrap();
            assert_eq!((&json["u"], &json["all"]["users"][0]), (&json!(wanted), &json!(wanted)));
            assert_eq!(json["no"], Json::Null);
            let html = render("<b>{{ event.logdata.USERNAME }}</b>", "text/html; charset=utf-8", user);
            assert_eq!(html.matches('<').count(), 2, "{html}");
            let form = render(
                "a={{ event.logdata.USERNAME }}&b={{ severity }}",
                "application/x-www-form-urlencoded",
                user,
            );
            assert_eq!((form.matches('&').count(), form.matches('=').count()), (1, 2), "{form}");
            assert!(!form.contains(['\r', '\n', '<', '{']), "{form}");
            assert!(!render("{{ event.logdata.USERNAME }}", "text/plain", user).contains("49"));
        }
    }

    #[test]
    fn a_mistake_in_a_template_is_told_at_the_start() {
        for (source, told) in [
            ("{{ titel }}", "names titel, which there is not"),
            ("{{ incident.sevrity }}", "names incident.sevrity, which there is not"),
            ("{{ title ", "syntax error"),
            ("{{ title|nofilter }}", "unknown filter"),
            ("{\"a\": \"{{ title }}\"}", "does not make JSON"),
        ] {
            let error = Template::new(source.to_owned(), "application/json").unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        let fine = "[{% for row in rows %}{{ row.label }},{% endfor %}{% if incident %}{{ incident.count }}{% else %}0{% endif %}]";
        Template::new(fine.to_owned(), "application/json").unwrap();
    }
}
