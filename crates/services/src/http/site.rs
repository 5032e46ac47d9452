//! What stands behind the server: a login page, its files, and what is reported of each request.

use std::borrow::Cow;
use std::sync::Mutex;

use serin_event::{Event, Kind, Tainted, Timestamp, Value, kinds};

use super::file;
use super::form::{self, Credentials};
use super::lenient::Said;
use super::product::{Family, From, Product, Reply, Wire};
use super::request::{Fault, Framing, Head, Version};
use super::skin::{Found, Skin};
use super::target::{Unresolved, resolve};
use crate::dialogue::{Opening, random};

/// One web site, shared by all its connections.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) product: Product,
    pub(crate) skin: Skin,
    /// The skin's name, as configured: reported.
    pub(crate) skin_name: String,
    /// Report methods that the site does not serve.
    pub(crate) log_methods: bool,
    /// Report redirects as such.
    pub(crate) log_redirects: bool,
    /// The second of the last `Date`, and its text.
    pub(crate) date: Mutex<(i64, String)>,
}

/// One request, and where it came from.
pub(crate) struct Request<'a> {
    pub(crate) head: &'a Head<'a>,
    /// The first bytes of the body.
    pub(crate) body: &'a [u8],
    pub(crate) opening: &'a Opening,
    pub(crate) now: Timestamp,
    /// Requests before this one on the same connection.
    pub(crate) count: u32,
}

/// What to do with a request.
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) close: bool,
    pub(crate) event: Option<Event>,
}

/// Where a request leads.
enum Route {
    Root,
    Login,
    File,
    Other,
}

impl Site {
    /// Answers a request and reports it.
    pub(crate) fn answer(&self, request: &Request<'_>) -> Answer {
        let (route, reply) = self.route(request);
        let event = self.event(request, &route, Some(reply.status));
        let close = self.closes(request, &reply);
        // nginx announces that it keeps the connection after a failed condition, and drops it.
        let hang_up = close || (reply.status == 412 && self.product.family == Family::Nginx);
        Answer { bytes: self.write(request, &reply, close), close: hang_up, event }
    }

    /// Answers a request at fault, and reports what it says.
    pub(crate) fn refuse(&self, request: &Request<'_>, said: &Said<'_>) -> Answer {
        let (_, reply) = self.route(request);
        let told = Request { head: &said.head, body: &said.body, ..*request };
        let event = self.event(&told, &self.meant(told.head), Some(reply.status));
        let close = self.closes(request, &reply);
        Answer { bytes: self.write(request, &reply, close), close, event }
    }

    /// What is reported of a request that broke off before it was whole.
    pub(crate) fn unfinished(&self, request: &Request<'_>) -> Option<Event> {
        self.event(request, &self.meant(request.head), None)
    }

    /// Where a request that is not served would have led.
    fn meant(&self, head: &Head<'_>) -> Route {
        let path = resolve(head.path_and_query().0, self.product.family);
        if path.is_ok_and(|it| is_login(&it)) { Route::Login } else { Route::Other }
    }

    /// Whether this request must be answered before its body comes: nginx does not wait for a body
    /// that nobody will read, when the client asks first.
    pub(crate) fn answers_early(&self, request: &Request<'_>) -> bool {
        self.product.family == Family::Nginx && {
            let status = self.route(request).1.status;
            status >= 400 && status != 412
        }
    }

    /// Whether this is the site behind TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.product.port == 443
    }

    fn closes(&self, request: &Request<'_>, reply: &Reply<'_>) -> bool {
        // lighttpd does not read a body that nobody wants.
        let unread = self.product.family == Family::Lighttpd
            && reply.from != From::Application
            && request.head.body != Framing::None;
        reply.close || request.head.close || unread || self.left(request) == 0
    }

    fn left(&self, request: &Request<'_>) -> u32 {
        let most: u32 = if self.product.family == Family::Apache { 100 } else { 1000 };
        most.saturating_sub(request.count)
    }

    fn write(&self, request: &Request<'_>, reply: &Reply<'_>, close: bool) -> Vec<u8> {
        let head = request.head;
        let date = self.date(request.now);
        // Apache answers this one in place of another request.
        let other = head.fault == Some(Fault::Plain) && self.product.family == Family::Apache;
        self.product.write(
            reply,
            &Wire {
                date: &date,
                bare: head.version == Version::V09 && !other,
                head_only: !head.wants_body() && !other,
                // lighttpd answers what it cannot read as if it were old.
                old: head.version < Version::V11
                    || (head.fault == Some(Fault::Line) && self.product.family == Family::Lighttpd),
                close,
                keep: head.keep,
                left: self.left(request),
            },
        )
    }

    fn date(&self, now: Timestamp) -> String {
        let second = now.0.div_euclid(1_000_000);
        // A panic elsewhere cannot have left a half-written date.
        let mut cached = self.date.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if cached.0 != second || cached.1.is_empty() {
            *cached = (second, now.http_date());
        }
        cached.1.clone()
    }

    fn route<'s>(&'s self, request: &Request<'_>) -> (Route, Reply<'s>) {
        let head = request.head;
        let product = &self.product;
        if let Some(fault) = head.fault {
            return (self.meant(head), product.refuse(fault, head));
        }
        if let Some(reply) = self.refused_method(head) {
            return (Route::Other, reply);
        }
        let path = match resolve(head.path_and_query().0, product.family) {
            Ok(path) => path,
            Err(Unresolved::Bad) => {
                return (Route::Other, Reply { close: true, ..product.page(400, head) });
            }
            Err(Unresolved::Forbidden) => return (Route::Other, self.page(403, head)),
            Err(Unresolved::Missing) => return (Route::Other, self.page(404, head)),
        };
        let nowhere = product.family == Family::Lighttpd && !self.has(&path) && *path != *b"*";
        if head.method == b"OPTIONS" && !nowhere {
            return (Route::Other, self.options(&path));
        }
        if *path == *b"/" {
            return (Route::Root, self.root());
        }
        let now = request.now.0.div_euclid(1_000_000);
        if is_login(&path) {
            let reply = match head.method {
                b"POST" => self.login(request),
                method if !is_plain(method) => return (Route::Other, product.page(501, head)),
                _ => file::serve(&self.skin.login, head, product, now),
            };
            return (Route::Login, reply);
        }
        match self.lookup(&path) {
            Found::File(_) if !is_plain(head.method) => (Route::Other, product.page(501, head)),
            Found::File(_) if head.method == b"POST" && product.family == Family::Nginx => {
                (Route::Other, product.page(405, head))
            }
            // lighttpd offers no ranges of what was posted to.
            Found::File(page) if head.method == b"POST" && product.family == Family::Lighttpd => {
                (Route::File, Reply { from: From::Server, ..file::serve(page, head, product, now) })
            }
            Found::File(page) => (Route::File, file::serve(page, head, product, now)),
            Found::Folder if path.ends_with(b"/") => (Route::Other, self.page(403, head)),
            Found::Folder => (Route::Other, self.moved(request, &path)),
            Found::Nothing => (Route::Other, self.page(404, head)),
        }
    }

    /// The answer to methods other than GET, HEAD and POST.
    fn refused_method(&self, head: &Head<'_>) -> Option<Reply<'static>> {
        if matches!(head.method, b"GET" | b"HEAD" | b"POST") {
            return None;
        }
        let product = &self.product;
        match product.family {
            Family::Nginx => Some(product.page(405, head)),
            _ if head.method == b"OPTIONS" => None,
            Family::Apache if !KNOWN_METHODS.contains(&head.method) => Some(product.page(501, head)),
            Family::Lighttpd if head.method == b"CONNECT" => {
                Some(Reply { allow: None, ..product.page(405, head) })
            }
            Family::Lighttpd if KNOWN_METHODS.contains(&head.method) => None,
            Family::Lighttpd => Some(Reply { close: true, ..product.page(501, head) }),
            Family::Apache | Family::Iis => Some(product.page(405, head)),
        }
    }

    fn options(&self, path: &[u8]) -> Reply<'static> {
        let product = &self.product;
        let allow = match product.family {
            Family::Lighttpd => "OPTIONS, GET, HEAD, POST",
            Family::Iis => "OPTIONS, TRACE, GET, HEAD, POST",
            _ if product.is_old_apache() => "GET,HEAD,POST,OPTIONS",
            _ => product.allow,
        };
        let typed = product.family == Family::Apache && self.has(path);
        Reply {
            status: 200,
            content_type: if typed { "text/html".into() } else { "".into() },
            allow: (path != b"*" || product.family == Family::Lighttpd).then_some(allow),
            ..Reply::default()
        }
    }

    /// What a path leads to; lighttpd takes what follows a file's name for something to hand on.
    fn lookup(&self, path: &[u8]) -> Found<'_> {
        match (self.skin.find(path), path.strip_suffix(b"/")) {
            (Found::Nothing, Some(file)) if self.product.family == Family::Lighttpd => self.skin.find(file),
            (found, _) => found,
        }
    }

    /// Whether there is something at this path.
    fn has(&self, path: &[u8]) -> bool {
        is_login(path) || *path == *b"/" || !matches!(self.skin.find(path), Found::Nothing)
    }

    /// `/`: the application sends everybody to its page.
    fn root(&self) -> Reply<'_> {
        Reply {
            status: 302,
            content_type: Cow::Borrowed("text/html; charset=utf-8"),
            body: Cow::Borrowed(self.skin.redirect.as_deref().unwrap_or(REDIRECT)),
            location: Some("/index.html".to_owned()),
            from: From::Application,
            ..Reply::default()
        }
    }

    fn login(&self, request: &Request<'_>) -> Reply<'_> {
        let found = credentials(request);
        let empty = found.username.is_none_or(|it| it.is_empty());
        let page = if empty { &self.skin.empty } else { &self.skin.refused };
        let secure = if request.opening.tls.is_some() { "; Secure" } else { "" };
        let id = session_id(request.opening.seed, request.count);
        Reply {
            status: 200,
            content_type: Cow::Borrowed("text/html; charset=utf-8"),
            body: Cow::Borrowed(page),
            cookie: Some(format!("sid={id}; Path=/; HttpOnly; SameSite=Lax{secure}")),
            from: From::Application,
            ..Reply::default()
        }
    }

    /// The skin's page for 403 and 404, or the server's.
    fn page(&self, status: u16, head: &Head<'_>) -> Reply<'static> {
        let own = if status == 403 { &self.skin.forbidden } else { &self.skin.missing };
        match own {
            Some(template) => Reply {
                status,
                content_type: Cow::Borrowed("text/html; charset=utf-8"),
                body: Cow::Owned(template.fill(head.path_and_query().0)),
                ..Reply::default()
            },
            None => self.product.page(status, head),
        }
    }

    /// A folder asked for without its slash.
    fn moved(&self, request: &Request<'_>, path: &[u8]) -> Reply<'static> {
        // The path is the name of one of our folders, so it holds nothing odd; the query may.
        let mut to = String::from_utf8_lossy(path).into_owned();
        to.push('/');
        let query = request.head.path_and_query().1;
        if !query.is_empty() {
            to.push('?');
            to.extend(query.iter().filter(|it| it.is_ascii_graphic()).map(|it| char::from(*it)));
        }
        self.product.moved(request.head, &to, request.opening.local.port())
    }

    /// What is reported of a request, if anything.
    fn event(&self, request: &Request<'_>, route: &Route, status: Option<u16>) -> Option<Event> {
        let head = request.head;
        let post = head.method == b"POST";
        let get = head.method == b"GET";
        if head.method.is_empty() || head.target.is_empty() {
            return None;
        }
        let authorization = head.field("Authorization");
        let offered = authorization.map(form::in_authorization).unwrap_or_default();
        let in_form = if post { credentials(request) } else { Credentials::default() };
        let attempt = !offered.is_empty() || (post && !in_form.is_empty());
        if attempt || (post && matches!(route, Route::Login)) {
            return Some(self.login_event(request, in_form.or(offered), status));
        }
        let kind = match route {
            Route::Root if self.log_redirects => &kinds::HTTP_REDIRECT,
            // A page view is one event: its pictures and styles are none.
            Route::File if authorization.is_none() => return None,
            _ if get => &kinds::HTTP_GET,
            _ if self.log_methods => &kinds::HTTP_METHOD,
            _ => return None,
        };
        let mut event = self.common(kind, request, status);
        if kind.declares("REQUEST_TYPE") {
            event = event.with("REQUEST_TYPE", Tainted::new(head.method, METHOD_KEPT));
        }
        Some(event)
    }

    fn login_event(&self, request: &Request<'_>, found: Credentials, status: Option<u16>) -> Event {
        let value = |it: Option<Vec<u8>>| match it {
            Some(bytes) => Value::from(Tainted::new(&bytes, VALUE_KEPT)),
            None => Value::from(NOT_SUPPLIED),
        };
        let mut event = self
            .common(&kinds::HTTP_LOGIN, request, status)
            .with("USERNAME", value(found.username))
            .with("PASSWORD", value(found.password));
        if !request.body.is_empty() {
            event = event.with("BODY", Tainted::new(request.body, BODY_KEPT));
        }
        event
    }

    /// The fields that all events of a request have.
    fn common(&self, kind: &'static Kind, request: &Request<'_>, status: Option<u16>) -> Event {
        let head = request.head;
        let (path, query) = head.path_and_query();
        let agent = match head.field("User-Agent") {
            Some(agent) => Value::from(Tainted::new(agent, VALUE_KEPT)),
            None => Value::from(NOT_SUPPLIED),
        };
        let mut event = Event::new(kind);
        event.fields.reserve(14);
        event = event
            .with("HOSTNAME", hostname(request))
            .with("PATH", Tainted::new(path, PATH_KEPT))
            .with("USERAGENT", agent);
        if kind.declares("SKIN") {
            event = event.with("SKIN", self.skin_name.clone());
        }
        if kind.declares("METHOD") {
            event = event.with("METHOD", Tainted::new(head.method, METHOD_KEPT));
        }
        if !query.is_empty() {
            event = event.with("QUERY", Tainted::new(query, PATH_KEPT));
        }
        if !head.fields.is_empty() {
            event = event.with("HEADERS", headers(head));
        }
        if let Some(status) = status {
            event = event.with("STATUS", i64::from(status));
        }
        if let Some(tls) = &request.opening.tls {
            for (name, text) in [("JA3", &tls.ja3), ("JA4", &tls.ja4), ("SNI", &tls.sni)] {
                if !text.is_empty() {
                    event = event.with(name, Tainted::new(text.as_bytes(), VALUE_KEPT));
                }
            }
        }
        event
    }
}

/// What a form or the query offers.
fn credentials(request: &Request<'_>) -> Credentials {
    let head = request.head;
    let kind = head.field("Content-Type").unwrap_or_default();
    let in_body =
        if request.body.is_empty() { Credentials::default() } else { form::in_body(kind, request.body) };
    let query = head.path_and_query().1;
    if query.is_empty() { in_body } else { in_body.or(form::in_pairs(query)) }
}

/// The methods that every page answers.
fn is_plain(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"POST")
}

/// The login page, and whatever is asked for below it.
fn is_login(path: &[u8]) -> bool {
    path.strip_prefix(b"/index.html").is_some_and(|it| it.is_empty() || it.starts_with(b"/"))
}

/// The host asked for, without port and brackets; else our address.
fn hostname(request: &Request<'_>) -> Value {
    let Some(host) = request.head.field("Host").filter(|it| !it.is_empty()) else {
        return Value::from(request.opening.local.ip().to_canonical().to_string());
    };
    let digits = host.iter().rev().take_while(|it| it.is_ascii_digit()).count();
    let (front, _) = host.split_at_checked(host.len().saturating_sub(digits)).unwrap_or((host, b""));
    let host = match front.strip_suffix(b":") {
        Some(front) if digits > 0 && (front.ends_with(b"]") || !front.contains(&b':')) => front,
        _ => host,
    };
    let host = host.strip_prefix(b"[").and_then(|it| it.strip_suffix(b"]")).unwrap_or(host);
    Value::from(Tainted::new(host, VALUE_KEPT))
}

/// All header fields in order, as `Name: value`, as far as they are kept.
fn headers(head: &Head<'_>) -> Value {
    let mut left = HEADERS_KEPT;
    let mut list = Vec::with_capacity(head.fields.len());
    for field in &head.fields {
        let line = [field.name, b": ", field.value.as_ref()].concat();
        list.push(Value::from(Tainted::new(&line, left)));
        left = left.saturating_sub(line.len());
        if left == 0 {
            break;
        }
    }
    Value::List(list)
}

/// A session's name: 32 hexadecimal digits, different for each login.
fn session_id(seed: u64, count: u32) -> String {
    let used = u64::from(count).wrapping_mul(2);
    format!("{:016x}{:016x}", random(seed, used.wrapping_add(1)), random(seed, used.wrapping_add(2)))
}

/// What OpenCanary logs where a client sent nothing.
const NOT_SUPPLIED: &str = "<not supplied>";
const METHOD_KEPT: usize = 64;
const PATH_KEPT: usize = 8192;
const VALUE_KEPT: usize = 4096;
const HEADERS_KEPT: usize = 8192;
const BODY_KEPT: usize = 8192;

/// For a skin without a redirect page.
const REDIRECT: &[u8] = b"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Redirecting</title></head>\n<body><p>Continue to <a href=\"/index.html\">the login page</a>.</p></body></html>\n";

/// The methods that Apache's core knows: others are "not implemented", these "not allowed".
const KNOWN_METHODS: &[&[u8]] = &[
    b"BASELINE-CONTROL",
    b"CHECKIN",
    b"CHECKOUT",
    b"CONNECT",
    b"COPY",
    b"DELETE",
    b"LABEL",
    b"LOCK",
    b"MERGE",
    b"MKACTIVITY",
    b"MKCOL",
    b"MKWORKSPACE",
    b"MOVE",
    b"PATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"PUT",
    b"REPORT",
    b"TRACE",
    b"UNCHECKOUT",
    b"UNLOCK",
    b"UPDATE",
    b"VERSION-CONTROL",
];
