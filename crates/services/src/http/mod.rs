//! HTTP: a web server with a login page that refuses every login and reports what was tried.
//!
//! A client sees the server that the banner names: its header fields in its order, its error
//! pages, its taste in malformed requests. `/` leads to `/index.html`, the login page of a skin; a
//! skin's files are served with validators and ranges. There is no application behind it, nothing
//! is ever stored, and no request makes this host connect anywhere. RFC 9110, RFC 9112.

mod body;
mod file;
mod form;
mod lenient;
mod line;
mod product;
mod request;
mod site;
mod skin;
mod target;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use serin_event::{Kind, Timestamp, kinds};

use crate::conf::{Complaint, Conf, FolderPath, Setting};
use crate::dialogue::{Action, Actions, Broken, Closed, Dialogue, ENOUGH, Opener, Opening};
use crate::probe::{Probe, Script, Step};
use crate::{Listening, Service, settings};
use body::{Body, Progress};
use lenient::Said;
use product::{Family, Product};
use request::{Fault, Framing, Head, Reading};
use site::{Answer, Request, Site};
use skin::Skin;

/// See this module.
/// Asks for a page.
pub(crate) const PROBE: Probe = Probe {
    tls: false,
    client: |_| Script::boxed(&[Step::Say(b"GET /?serin-selftest HTTP/1.1\r\nHost: serin-selftest\r\n\r\n")]),
    proof: &[&kinds::HTTP_GET, &kinds::HTTP_REDIRECT],
};

pub(crate) static SERVICE: Service = Service {
    name: "http",
    about: "A web server with a login page",
    opencanary: Some(("CanaryHTTP", "http")),
    port: 80,
    opencanary_port: 80,
    keys: Settings::KEYS,
    events: EVENTS,
    backlog: BACKLOG,
    idle: IDLE,
    probe: PROBE,
    build,
};

settings! { "http" {
    /// The `Server` header, also of https. The server named here decides about the order of header
    /// fields, error pages and what is refused: nginx, Apache, lighttpd or Microsoft-IIS.
    banner: String = "nginx/1.22.1".into(), opencanary "Apache/2.2.22 (Ubuntu)";
    /// Which login page is shown: nasLogin or basicLogin, or any name for the one in `http.skindir`.
    skin: String = "nasLogin".into(), opencanary "basicLogin";
    /// A folder with pages of your own, for http and https: `index.html`, and where wanted
    /// `403.html`, `404.html`, `redirect.html` and `static/`.
    skindir: FolderPath = FolderPath::default();
    /// Report requests with other methods than GET and POST, also of https.
    log_unimplemented_method_requests: bool = false;
    /// Report redirects from `/` to the login page as such, also of https.
    log_redirect_request: bool = false;
    /// Taken from old configurations and not used.
    skin_list ["skin.list"]: SkinList = SkinList(json!([]));
} }

/// The list of skins in configurations of old: any list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SkinList(Value);

impl Setting for SkinList {
    const WANTS: &'static str = "a list";

    fn read(value: &Value) -> Result<Self, ()> {
        if value.is_array() { Ok(Self(value.clone())) } else { Err(()) }
    }

    fn show(&self) -> Value {
        self.0.clone()
    }

    fn schema() -> Value {
        json!({ "type": "array" })
    }
}

fn build(conf: &Conf) -> Result<Vec<Listening>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let open = site(conf, settings.skin, "http.skin", 80)?;
    Ok(Listening::tcp(&SERVICE, conf, open))
}

/// Builds the site that http and https both show; `port` is the usual one.
pub(crate) fn site(conf: &Conf, name: String, key: &str, port: u16) -> Result<Opener, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let product = Product::new(&settings.banner, &conf.identity, port);
    let complaint = |key: &str, text: String| vec![Complaint { key: key.to_owned(), text }];
    let skin = if let Some(folder) = conf.folder("http.skindir") {
        Skin::new(folder, &product, &conf.identity)
            .ok_or_else(|| complaint("http.skindir", "wants a folder with an index.html".to_owned()))?
    } else {
        skin::built_in(&name, &conf.identity)
            .and_then(|it| Skin::new(&it, &product, &conf.identity))
            .ok_or_else(|| {
                let names: Vec<_> = skin::names().collect();
                complaint(key, format!("wants {}, got {}", names.join(" or "), json!(name)))
            })?
    };
    let site = Arc::new(Site {
        product,
        skin,
        skin_name: name,
        log_methods: settings.log_unimplemented_method_requests,
        log_redirects: settings.log_redirect_request,
        date: Mutex::new((0, String::new())),
    });
    Ok(Box::new(move || Box::new(Http::new(site.clone()))))
}

/// One connection.
struct Http {
    site: Arc<Site>,
    opening: Option<Opening>,
    state: State,
    /// Requests answered so far.
    count: u32,
    /// When bytes last came.
    heard: Timestamp,
}

enum State {
    /// A request's head is next; so many bytes of it hold no end.
    Head(usize),
    /// A request's body is coming.
    Body(Box<Pending>),
    /// A request is refused; the rest of it may come, for the record.
    Refused(Refused),
    /// The rest of a body that nobody reads is coming.
    Rest(Box<Body>),
    /// We have said our last word and let the peer finish: nginx after a body that is too large.
    Linger,
    /// We have hung up.
    Over,
}

/// A request that will be refused.
struct Refused {
    /// What has come of it.
    held: Vec<u8>,
    /// In so many segments.
    segments: u32,
}

struct Pending {
    /// The request's head, as it came.
    head: Vec<u8>,
    body: Body,
}

impl Http {
    fn new(site: Arc<Site>) -> Self {
        Self { site, opening: None, state: State::Head(0), count: 0, heard: Timestamp::default() }
    }

    /// Answers one whole request; `false` when the connection is over.
    fn answer(&mut self, head: &Head<'_>, body: &[u8], out: &mut Actions) -> bool {
        let Some(opening) = &self.opening else { return false };
        let answer = self.site.answer(&Request { head, body, opening, now: out.now, count: self.count });
        self.send(answer, head, out)
    }

    /// Sends an answer to a request with this head, and reports it; `false` when the connection is
    /// over.
    fn send(&mut self, answer: Answer, head: &Head<'_>, out: &mut Actions) -> bool {
        if let Some(event) = answer.event {
            out.report(event);
        }
        out.send(answer.bytes);
        self.count = self.count.saturating_add(1);
        if answer.close
            && head.fault == Some(Fault::BodyTooLarge)
            && self.site.product.family == Family::Nginx
        {
            self.state = State::Linger;
            out.push(Action::Timer(LINGER));
        } else if answer.close {
            self.state = State::Over;
            out.close();
        } else {
            self.state = State::Head(0);
        }
        !answer.close
    }

    /// Whether this is a port that wants TLS, and the peer does not speak it.
    fn speaks_plainly(&self) -> bool {
        self.opening.as_ref().is_some_and(|it| it.tls.is_none()) && self.site.is_secure()
    }

    /// Reads a head, with all that can be said against it before its body comes.
    fn read<'b>(&self, bytes: &'b [u8], scanned: usize) -> Reading<'b> {
        let family = self.site.product.family;
        match request::read(bytes, scanned, family) {
            Reading::Whole(head, rest) => {
                let large = matches!(head.body, Framing::Length(length) if length > family.body_max());
                let fault = if self.speaks_plainly() {
                    Some(Fault::Plain)
                } else {
                    large.then_some(Fault::BodyTooLarge)
                };
                Reading::Whole(Head { fault: head.fault.or(fault), ..head }, rest)
            }
            partial @ Reading::Partial(_) => partial,
        }
    }

    /// Answers a request at fault.
    fn refuse(&mut self, head: &Head<'_>, said: &Said<'_>, out: &mut Actions) {
        let Some(opening) = &self.opening else { return };
        let request = Request { head, body: b"", opening, now: out.now, count: self.count };
        let answer = self.site.refuse(&request, said);
        self.send(answer, head, out);
    }

    /// Hangs up without an answer, and reports what was said.
    fn hang_up_on(&mut self, said: &Said<'_>, out: &mut Actions) {
        if let Some(opening) = &self.opening {
            let (head, body) = (&said.head, said.body.as_ref());
            let request = Request { head, body, opening, now: out.now, count: self.count };
            if let Some(event) = self.site.unfinished(&request) {
                out.report(event);
            }
        }
        self.state = State::Over;
        out.close();
    }

    /// Answers the refused request in `bytes`, which nothing more is expected of.
    fn refuse_now(&mut self, bytes: &[u8], out: &mut Actions) {
        if let Reading::Whole(head, _) = self.read(bytes, 0) {
            self.refuse(&head, &lenient::read(bytes), out);
        }
    }

    /// Takes more of a refused request.
    fn refused(&mut self, mut refused: Refused, bytes: &[u8], out: &mut Actions) {
        let room = BACKLOG.saturating_sub(refused.held.len());
        refused.held.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        refused.segments = refused.segments.saturating_add(1);
        let enough = refused.held.len() >= BACKLOG || refused.segments >= SEGMENTS_MAX;
        if enough || !lenient::read(&refused.held).unfinished {
            self.refuse_now(&refused.held, out);
        } else {
            self.state = State::Refused(refused);
        }
    }

    /// Takes a head and, where it is there already, its body. `None` when more must come.
    fn request<'b>(&mut self, bytes: &'b [u8], scanned: usize, out: &mut Actions) -> Option<&'b [u8]> {
        let (head, rest) = match self.read(bytes, scanned) {
            Reading::Partial(scanned) => {
                self.state = State::Head(scanned);
                return None;
            }
            Reading::Whole(head, rest) => (head, rest),
        };
        if self.speaks_plainly() && !self.site.product.answers_plain(&head) {
            self.hang_up_on(&lenient::read(bytes), out);
            return Some(b"");
        }
        if head.fault.is_some() {
            let said = lenient::read(bytes);
            if said.unfinished && bytes.len() < BACKLOG {
                self.state = State::Refused(Refused { held: bytes.to_vec(), segments: 1 });
                out.push(Action::Timer(REFUSAL));
            } else {
                self.refuse(&head, &said, out);
            }
            return Some(b"");
        }
        if head.body == Framing::None && !expects(&head) {
            self.answer(&head, b"", out);
            return Some(rest);
        }
        if expects(&head) && self.answers_early(&head, out) {
            if self.answer(&head, b"", out) {
                self.state = State::Rest(Box::new(Body::new(head.body)));
            }
            return Some(rest);
        }
        let leave = match self.site.product.family {
            Family::Nginx => true,
            // Not when the body is on its way already.
            Family::Lighttpd => head.body != Framing::None && rest.is_empty(),
            Family::Apache | Family::Iis => head.body != Framing::None,
        };
        if expects(&head) && leave {
            out.send(&b"HTTP/1.1 100 Continue\r\n\r\n"[..]);
        }
        if let Framing::Length(length) = head.body {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if let Some((body, rest)) = rest.split_at_checked(length).filter(|_| length <= body::BODY_KEPT) {
                self.answer(&head, body, out);
                return Some(rest);
            }
        } else if head.body == Framing::None {
            self.answer(&head, b"", out);
            return Some(rest);
        }
        let used = bytes.len().saturating_sub(rest.len());
        let kept = bytes.get(..used).unwrap_or_default().to_vec();
        self.state = State::Body(Box::new(Pending { body: Body::new(head.body), head: kept }));
        Some(rest)
    }

    fn answers_early(&self, head: &Head<'_>, out: &Actions) -> bool {
        self.opening.as_ref().is_some_and(|opening| {
            self.site.answers_early(&Request { head, body: b"", opening, now: out.now, count: self.count })
        })
    }

    /// The body went wrong: the request is answered as a bad one, and reported.
    fn bad_body(&mut self, pending: &Pending, out: &mut Actions, fault: Fault) {
        if let Reading::Whole(head, _) = request::read(&pending.head, 0, self.site.product.family) {
            let head = Head { fault: Some(fault), close: true, ..head };
            self.answer(&head, &pending.body.kept, out);
        }
    }

    fn body<'b>(
        &mut self,
        mut pending: Box<Pending>,
        bytes: &'b [u8],
        out: &mut Actions,
    ) -> (&'b [u8], bool) {
        match pending.body.feed(bytes) {
            Progress::More(_) if pending.body.total > self.site.product.family.body_max() => {
                self.bad_body(&pending, out, Fault::BodyTooLarge);
                (b"", false)
            }
            Progress::More(rest) => {
                self.state = State::Body(pending);
                (rest, false)
            }
            Progress::Broken => {
                self.bad_body(&pending, out, Fault::Body);
                (b"", false)
            }
            Progress::Done(rest) => {
                let going = match request::read(&pending.head, 0, self.site.product.family) {
                    Reading::Whole(head, _) => self.answer(&head, &pending.body.kept, out),
                    Reading::Partial(_) => false,
                };
                (rest, going)
            }
        }
    }

    fn keep_alive(&self) -> Duration {
        match self.site.product.family {
            Family::Nginx => Duration::from_secs(65),
            Family::Iis => Duration::from_mins(2),
            Family::Apache | Family::Lighttpd => Duration::from_secs(5),
        }
    }

    fn patience(&self) -> Duration {
        match self.site.product.family {
            Family::Apache => Duration::from_secs(20),
            _ => Duration::from_mins(1),
        }
    }
}

impl Dialogue for Http {
    fn open(&mut self, opening: &Opening, out: &mut Actions) {
        self.opening = Some(opening.clone());
        self.heard = out.now;
        out.push(Action::Timer(self.patience()));
    }

    fn input<'b>(&mut self, bytes: &'b [u8], out: &mut Actions) -> Result<&'b [u8], Broken> {
        self.heard = out.now;
        let before = self.count;
        let mut rest = bytes;
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Ok(b""),
                State::Linger => {
                    self.state = State::Linger;
                    return Ok(b"");
                }
                State::Head(scanned) => {
                    self.state = State::Head(scanned);
                    if rest.is_empty() || out.queued() >= ENOUGH {
                        break;
                    }
                    let Some(after) = self.request(rest, scanned, out) else { break };
                    rest = after;
                }
                State::Refused(refused) => {
                    self.refused(refused, rest, out);
                    return Ok(b"");
                }
                State::Body(pending) => {
                    let (after, going) = self.body(pending, rest, out);
                    rest = after;
                    if !going {
                        break;
                    }
                }
                State::Rest(mut body) => match body.feed(rest) {
                    Progress::Done(after) => {
                        rest = after;
                        self.state = State::Head(0);
                    }
                    Progress::More(after) => {
                        rest = after;
                        self.state = State::Rest(body);
                        break;
                    }
                    Progress::Broken => {
                        out.close();
                        return Ok(b"");
                    }
                },
            }
        }
        if matches!(self.state, State::Over | State::Linger | State::Refused(_)) {
            return Ok(b"");
        }
        if self.count > before {
            out.push(Action::Timer(self.keep_alive()));
        }
        Ok(rest)
    }

    fn timer(&mut self, out: &mut Actions) {
        if let State::Refused(refused) = &mut self.state {
            let held = std::mem::take(&mut refused.held);
            self.refuse_now(&held, out);
            return;
        }
        let quiet =
            Duration::from_micros(u64::try_from(out.now.0.saturating_sub(self.heard.0)).unwrap_or_default());
        let patience = self.patience();
        let body = matches!(self.state, State::Body(_) | State::Rest(_));
        if body && quiet < patience {
            out.push(Action::Timer(patience.saturating_sub(quiet)));
            return;
        }
        let begun = matches!(self.state, State::Head(scanned) if scanned > 0);
        if begun && self.site.product.family == Family::Apache {
            let head = Head { fault: Some(Fault::Timeout), ..Head::default() };
            self.answer(&head, b"", out);
        } else {
            out.close();
        }
    }

    fn closed(&mut self, _why: Closed, out: &mut Actions) {
        let Some(opening) = &self.opening else { return };
        let request = |head, body| Request { head, body, opening, now: out.now, count: self.count };
        let event = match &self.state {
            State::Body(pending) => match request::read(&pending.head, 0, self.site.product.family) {
                Reading::Whole(head, _) => self.site.unfinished(&request(&head, &pending.body.kept)),
                Reading::Partial(_) => None,
            },
            State::Refused(refused) => {
                let said = lenient::read(&refused.held);
                self.site.unfinished(&request(&said.head, &said.body))
            }
            _ => None,
        };
        self.state = State::Over;
        if let Some(event) = event {
            out.report(event);
        }
    }
}

/// Whether the client waits for leave to send its body. RFC 9110, section 10.1.1.
fn expects(head: &Head<'_>) -> bool {
    head.version == request::Version::V11
        && head.field("Expect").is_some_and(|it| it.eq_ignore_ascii_case(b"100-continue"))
}

/// What http and https report.
pub(crate) const EVENTS: &[&Kind] =
    &[&kinds::HTTP_GET, &kinds::HTTP_LOGIN, &kinds::HTTP_METHOD, &kinds::HTTP_REDIRECT];
/// Most bytes of an unfinished head; what comes of a body is taken as it comes.
pub(crate) const BACKLOG: usize = request::HEAD_MAX + 1;
/// How long a refusal waits for the rest of the request: as long as two segments of one request may
/// lie apart.
const REFUSAL: Duration = Duration::from_millis(500);
/// A refused request is read anew with every segment: no honest one has so many.
const SEGMENTS_MAX: u32 = 1024;
/// nginx's `lingering_timeout`.
const LINGER: Duration = Duration::from_secs(5);
/// Longer than any product's own patience, which the dialogue itself keeps.
pub(crate) const IDLE: Duration = Duration::from_secs(130);
