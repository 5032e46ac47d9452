//! An event in the terms of the log sources it belongs to.
//!
//! Every event is an OpenCanary record, with the names of OpenCanary's line (`src_host`,
//! `logdata.USERNAME`); what Serin keeps beside that line stands under `details`. What asked a web
//! server or a web proxy for something is a line of a web server's and of a proxy's log as well, so
//! that public rules for those apply. Field names: Sigma's taxonomy appendix, version 2.1.

use std::borrow::Cow;
use std::sync::LazyLock;

use serin_detect::json;
use serin_detect::{Event, Fields, LogSource, Value, View};
use serin_event::Record;

/// OpenCanary's own log.
pub(crate) static OPENCANARY: LazyLock<LogSource> =
    LazyLock::new(|| source(Some("application"), Some("opencanary")));
static WEBSERVER: LazyLock<LogSource> = LazyLock::new(|| source(Some("webserver"), None));
static PROXY: LazyLock<LogSource> = LazyLock::new(|| source(Some("proxy"), None));

fn source(category: Option<&str>, product: Option<&str>) -> LogSource {
    LogSource { category: category.map(Into::into), product: product.map(Into::into), service: None }
}

/// A record as a line of OpenCanary's log, with what is kept beside that line: what [`of_line`] reads.
pub(crate) fn line_of(record: &Record) -> String {
    let mut line = record.line();
    // OpenCanary's line decides the names, so that a rule finds here what it finds in a SIEM.
    if line.pop() == Some('}') {
        line.push_str(", \"details\": ");
        line.push_str(&record.details);
        line.push('}');
    }
    line
}

/// A line of OpenCanary's log as rules see it, under this number. A line without a time of its own is
/// as old as `time`.
///
/// # Errors
///
/// If it is no JSON object.
pub(crate) fn of_line(line: &[u8], id: u64, time: i64) -> Result<Event<'_>, json::Error> {
    let fields = json::read(line)?.fields;
    let sensor = text(&fields, "node_id").unwrap_or_default().to_owned();
    let time = time_of(&fields).unwrap_or(time);
    let web = Web::of(&fields);
    let mut views = vec![View { source: &OPENCANARY, fields }];
    views.extend(web.into_iter().flat_map(Web::views));
    Ok(Event { id, time, sensor: Cow::Owned(sensor), views })
}

/// When a line says that it happened: `utc_time`, or else `local_time`, which is UTC as well.
fn time_of(fields: &Fields<'_>) -> Option<i64> {
    let text = text(fields, "utc_time").or_else(|| text(fields, "local_time"))?;
    let time: jiff::civil::DateTime = text.parse().ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

/// A field's text; `None` where it is empty or no text.
fn text<'f>(fields: &'f Fields<'_>, name: &str) -> Option<&'f str> {
    match fields.get(name)? {
        Value::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// What was asked of a web server or of a web proxy.
struct Web {
    client: String,
    server: String,
    port: Value<'static>,
    method: String,
    /// As it was sent: a path, or a whole address.
    target: String,
    host: String,
    status: Value<'static>,
    user: Option<String>,
    headers: Vec<(String, String)>,
    /// Whether a web server was asked, not a proxy.
    serves: bool,
}

impl Web {
    fn of(fields: &Fields<'_>) -> Option<Self> {
        let Some(Value::Int(logtype)) = fields.get("logtype") else { return None };
        let serves = matches!(logtype, 3000..=3003);
        if !serves && !matches!(logtype, 7001 | 21101) {
            return None;
        }
        let first = |names: &[&str]| names.iter().find_map(|it| text(fields, it)).map(str::to_owned);
        let usual = if *logtype == 3001 { "POST" } else { "GET" };
        let method = first(&["details.METHOD", "logdata.METHOD", "logdata.REQUEST_TYPE"]);
        let mut target = first(&[if serves { "logdata.PATH" } else { "logdata.URL" }]).unwrap_or_default();
        if let Some(query) = text(fields, "details.QUERY").filter(|_| !target.contains('?')) {
            target = format!("{target}?{query}");
        }
        let mut headers = headers(fields);
        if let Some(agent) =
            text(fields, "logdata.USERAGENT").filter(|_| find(&headers, "user-agent").is_none())
        {
            headers.push(("User-Agent".to_owned(), agent.to_owned()));
        }
        let host = first(&["logdata.HOSTNAME"]).or_else(|| host_of(&target).map(str::to_owned));
        let number = |name: &str| match fields.get(name) {
            Some(Value::Int(number)) => Value::Int(*number),
            _ => Value::Null,
        };
        Some(Self {
            client: first(&["src_host"]).unwrap_or_default(),
            server: first(&["dst_host"]).unwrap_or_default(),
            port: number("dst_port"),
            method: method.unwrap_or_else(|| usual.to_owned()),
            target,
            host: host.or_else(|| find(&headers, "host").map(str::to_owned)).unwrap_or_default(),
            status: number("details.STATUS"),
            user: first(&["logdata.USERNAME"]),
            headers,
            serves,
        })
    }

    fn views<'a>(self) -> Vec<View<'a>> {
        let mut views = vec![View { source: &PROXY, fields: self.as_proxy() }];
        if self.serves {
            views.insert(0, View { source: &WEBSERVER, fields: self.as_webserver() });
        }
        views
    }

    /// As a web server logs it, in W3C's names. Most public rules ask `cs-uri-query` for the path as
    /// well, so it has both values: the query, and the whole target.
    fn as_webserver<'a>(&self) -> Fields<'a> {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let whole = owned(&self.target);
        let mut fields = self.shared();
        fields.push("c-ip", owned(&self.client));
        fields.push("s-ip", owned(&self.server));
        fields.push("s-port", self.port.clone());
        fields.push("cs-uri", whole.clone());
        fields.push("cs-uri-stem", owned(path));
        fields.push(
            "cs-uri-query",
            if query.is_empty() { whole } else { Value::List(vec![owned(query), whole]) },
        );
        fields.push("cs-user-agent", header(&self.headers, "user-agent"));
        fields
    }

    /// As a proxy logs it: with the whole address.
    fn as_proxy<'a>(&self) -> Fields<'a> {
        let url = if self.target.starts_with('/') {
            format!("http://{}{}", self.host, self.target)
        } else {
            self.target.clone()
        };
        let path_at = url.find("://").map_or(0, |it| it.saturating_add(3));
        let path = url.get(path_at..).and_then(|it| it.find('/').and_then(|at| it.get(at..))).unwrap_or("/");
        let (stem, query) = path.split_once('?').unwrap_or((path, ""));
        let extension = stem.rsplit('/').next().and_then(|it| it.rsplit_once('.')).map_or("", |it| it.1);
        let mut fields = self.shared();
        fields.push("src_ip", owned(&self.client));
        fields.push("dst_ip", owned(&self.server));
        fields.push("dst_port", self.port.clone());
        fields.push("c-uri", owned(&url));
        fields.push("c-uri-stem", owned(stem));
        fields.push("c-uri-path", owned(stem));
        fields.push("c-uri-query", owned(query));
        fields.push("c-uri-extension", owned(extension));
        fields.push("c-useragent", header(&self.headers, "user-agent"));
        fields.push("cs-user-agent", header(&self.headers, "user-agent"));
        fields
    }

    fn shared<'a>(&self) -> Fields<'a> {
        let mut fields = Fields::new();
        fields.push("cs-method", owned(&self.method));
        fields.push("cs-host", owned(&self.host));
        fields.push("cs-cookie", header(&self.headers, "cookie"));
        fields.push("cs-referer", header(&self.headers, "referer"));
        fields.push("cs-referrer", header(&self.headers, "referer"));
        fields.push("sc-status", self.status.clone());
        fields.push("cs-username", self.user.as_deref().map_or(Value::Null, owned));
        // Where a rule looks for a word anywhere, it may stand in any header.
        let lines = self.headers.iter().map(|it| owned(&format!("{}: {}", it.0, it.1)));
        fields.push("cs-headers", Value::List(lines.collect()));
        fields
    }
}

fn owned(text: &str) -> Value<'static> {
    Value::Text(Cow::Owned(text.to_owned()))
}

/// Header fields as the services keep them: lines in a list, or members of an object.
fn headers(fields: &Fields<'_>) -> Vec<(String, String)> {
    const KEPT: &str = "details.HEADERS";
    if let Some(Value::List(lines)) = fields.get(KEPT) {
        let split = |line: &Value<'_>| {
            let Value::Text(line) = line else { return None };
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        return lines.iter().filter_map(split).collect();
    }
    let member = |(name, value): (&str, &Value<'_>)| {
        let name = name.strip_prefix(KEPT)?.strip_prefix('.')?;
        let Value::Text(value) = value else { return None };
        Some((name.to_owned(), value.clone().into_owned()))
    };
    fields.iter().filter_map(member).collect()
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|it| it.0.eq_ignore_ascii_case(name)).map(|it| it.1.as_str())
}

fn header(headers: &[(String, String)], name: &str) -> Value<'static> {
    find(headers, name).map_or(Value::Null, owned)
}

/// The host of an absolute address, or of a CONNECT's target.
fn host_of(target: &str) -> Option<&str> {
    let rest = target.split_once("://").map_or(target, |it| it.1);
    let host = rest.split(['/', '?']).next()?;
    (!host.is_empty() && !target.starts_with('/')).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(line: &str) -> Event<'_> {
        of_line(line.as_bytes(), 7, 0).unwrap()
    }

    fn told<'a>(event: &'a Event<'_>, view: usize, field: &str) -> &'a str {
        match event.views[view].fields.get(field) {
            Some(Value::Text(text)) => text,
            other => panic!("{field}: {other:?}"),
        }
    }

    #[test]
    fn an_event_is_an_opencanary_record_with_dotted_names() {
        let event = event(
            r#"{"logtype": 4002, "node_id": "n", "src_host": "10.0.0.5", "logdata": {"USERNAME": "root",
            "LIST": [1, 2.5, "x"], "NONE": null, "IN": {"NER": true}}}"#,
        );
        assert_eq!((event.id, &*event.sensor, event.views.len()), (7, "n", 1));
        let fields = &event.views[0].fields;
        assert_eq!(fields.get("logtype"), Some(&Value::Int(4002)));
        assert_eq!(told(&event, 0, "logdata.USERNAME"), "root");
        assert_eq!(fields.get("logdata.NONE"), Some(&Value::Null));
        assert_eq!(fields.get("logdata.IN.NER"), Some(&Value::Bool(true)));
        let list = vec![Value::Int(1), Value::Float(2.5), Value::Text("x".into())];
        assert_eq!(fields.get("logdata.LIST"), Some(&Value::List(list)));
        assert_eq!(fields.get("logdata"), None);
    }

    #[test]
    fn a_web_request_is_a_line_of_a_web_server_and_of_a_proxy() {
        let event = event(
            r#"{"logtype": 3000, "dst_host": "10.0.0.9", "dst_port": 80, "src_host": "10.0.0.5",
            "logdata": {"HOSTNAME": "intranet", "PATH": "/a/b.php", "USERAGENT": "sqlmap/1.8"},
            "details": {"QUERY": "id=1", "METHOD": "HEAD", "STATUS": 404,
                        "HEADERS": ["Host: intranet", "Cookie: a=b", "Referer: http://x/"]}}"#,
        );
        let sources: Vec<_> = event.views.iter().map(|it| it.source.category.as_deref().unwrap()).collect();
        assert_eq!(sources, ["application", "webserver", "proxy"]);
        for (field, wanted) in [
            ("c-ip", "10.0.0.5"),
            ("cs-method", "HEAD"),
            ("cs-uri-stem", "/a/b.php"),
            ("cs-uri", "/a/b.php?id=1"),
            ("cs-user-agent", "sqlmap/1.8"),
            ("cs-host", "intranet"),
            ("cs-cookie", "a=b"),
            ("cs-referer", "http://x/"),
        ] {
            assert_eq!(told(&event, 1, field), wanted, "{field}");
        }
        let both = ["id=1", "/a/b.php?id=1"].map(owned).to_vec();
        assert_eq!(event.views[1].fields.get("cs-uri-query"), Some(&Value::List(both)));
        assert_eq!(event.views[1].fields.get("sc-status"), Some(&Value::Int(404)));
        for (field, wanted) in [
            ("c-uri", "http://intranet/a/b.php?id=1"),
            ("c-uri-query", "id=1"),
            ("c-uri-extension", "php"),
            ("c-useragent", "sqlmap/1.8"),
            ("src_ip", "10.0.0.5"),
        ] {
            assert_eq!(told(&event, 2, field), wanted, "{field}");
        }
    }

    #[test]
    fn what_is_asked_of_the_proxy_is_a_proxys_line_alone() {
        let event = event(
            r#"{"logtype": 7001, "src_host": "10.0.0.5", "logdata": {"METHOD": "GET", "USERNAME": "u",
            "URL": "http://example.test/x?y"}, "details": {"HEADERS": {"User-Agent": "curl/8"}}}"#,
        );
        assert_eq!(event.views.len(), 2);
        assert_eq!(told(&event, 1, "c-uri"), "http://example.test/x?y");
        assert_eq!(told(&event, 1, "cs-host"), "example.test");
        assert_eq!(told(&event, 1, "c-useragent"), "curl/8");
        assert_eq!(told(&event, 1, "cs-username"), "u");
    }
}
