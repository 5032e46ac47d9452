//! HTTP proxy: one that wants a password before it fetches anything, and accepts none.
//!
//! A client sees a forward proxy that answers `407 Proxy Authentication Required` to every request,
//! with credentials or without. It never connects anywhere and looks no name up. Credentials are
//! reported: user and password of Basic, the user of Digest, user, domain and workstation of NTLM
//! and Negotiate (which get a challenge and are heard to the end). What they reveal of an NTLM
//! password is dropped. A request without credentials is reported as such.
//!
//! By default only Basic is offered, because it shows the password; the others are taken from
//! clients that use them unasked, as Squid does under `auth_schemes basic all`. RFC 9112 (HTTP/1.1),
//! RFC 9110, section 11.7 (proxy authentication); Squid 5.7 of Debian 12 as measured.

mod credentials;
mod isa;
mod ntlm;
mod request;
mod squid;
mod target;

use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serin_event::{Event, Tainted, Value, kinds};

use crate::conf::{Complaint, Conf, wrong};
use crate::dialogue::{Action, Actions, Broken, Dialogue, Opening, random};
use crate::http_syntax::chunk_size;
use crate::probe::{Probe, Script, Step};
use crate::wire::first_line;
use crate::{Listening, Service, choices, settings};

use credentials::{Credentials, Login, Scheme};
use request::{Body, Fault, Parsed, Request, Start, Version};
use squid::{Page, Squid};
use target::Target;

pub(crate) static SERVICE: Service = Service {
    name: "httpproxy",
    about: "A web proxy that wants a password and accepts none",
    opencanary: Some(("HTTPProxy", "httpproxy")),
    port: 8080,
    opencanary_port: 8443,
    keys: Settings::KEYS,
    events: &[&kinds::HTTPPROXY_LOGIN, &kinds::HTTPPROXY_REQUEST],
    backlog: request::HEAD_MAX,
    // Squid's request_timeout.
    idle: Duration::from_mins(5),
    probe: Probe {
        tls: false,
        // serin-selftest:serin-selftest
        client: |_| {
            Script::boxed(&[Step::Say(
                b"GET http://serin-selftest.invalid/ HTTP/1.1\r\nHost: serin-selftest.invalid\r\n\
                  Proxy-Authorization: Basic c2VyaW4tc2VsZnRlc3Q6c2VyaW4tc2VsZnRlc3Q=\r\n\r\n",
            )])
        },
        proof: &[&kinds::HTTPPROXY_LOGIN, &kinds::HTTPPROXY_REQUEST],
    },
    build,
};

choices! {
    /// Which product answers.
    Skin { Squid = "squid", MsIsa = "ms-isa" } wants "squid or ms-isa"
}

settings! { "httpproxy" {
    /// Which product answers: Squid 5.7, or Microsoft's ISA Server (from specification, never recorded).
    skin: Skin = Skin::Squid;
    /// The realm that clients show when they ask for a password; empty for the product's own.
    banner: String = String::new();
    /// What clients are offered to log in with, in this order: any of basic, digest, ntlm and negotiate.
    schemes: String = "basic".into();
} }

fn build(conf: &Conf) -> Result<Vec<Listening>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let names = settings.schemes.split([' ', ',']).filter(|it| !it.is_empty());
    let schemes: Option<Vec<_>> = names.map(Scheme::named).collect();
    let Some(schemes) = schemes.filter(|it| !it.is_empty()) else {
        let text = wrong("one or more of basic, digest, ntlm and negotiate", &settings.schemes.into());
        return Err(vec![Complaint { key: "httpproxy.schemes".into(), text }]);
    };
    let host = match settings.skin {
        Skin::Squid => conf.identity.host.clone(),
        Skin::MsIsa => conf.identity.host.to_uppercase(),
    };
    let own = match settings.skin {
        Skin::Squid => "Squid proxy-caching web server",
        Skin::MsIsa => &host,
    };
    let realm = if settings.banner.is_empty() { own } else { &settings.banner };
    let realm = realm.replace(|it: char| it.is_control(), " ").replace('\\', "\\\\").replace('"', "\\\"");
    let face = Arc::new(Face { skin: settings.skin, realm, schemes, host, seed: conf.identity.seed });
    Ok(Listening::tcp(&SERVICE, conf, Box::new(move || Box::new(Proxy::new(face.clone())))))
}

/// What all connections share.
struct Face {
    skin: Skin,
    /// Fit for a quoted string.
    realm: String,
    schemes: Vec<Scheme>,
    host: String,
    /// This installation's: challenges of two installations differ.
    seed: u64,
}

struct Proxy {
    face: Arc<Face>,
    stage: Stage,
    port: u16,
    seed: u64,
    /// Answers so far: no two challenges of a connection are alike.
    answers: u64,
    /// Whether nothing has come since the last answer.
    waiting: bool,
}

/// What is expected next.
enum Stage {
    Head,
    /// The rest of a body, which nobody looks at.
    Body(u64),
    Chunk(Chunk),
    Ended,
}

/// Where a chunked body stands.
#[derive(Clone, Copy)]
enum Chunk {
    Size,
    Data(u64),
    End,
    Trailer,
}

impl Dialogue for Proxy {
    fn open(&mut self, opening: &Opening, _out: &mut Actions) {
        self.port = opening.local.port();
        self.seed = opening.seed ^ self.face.seed;
    }

    fn input<'b>(&mut self, bytes: &'b [u8], out: &mut Actions) -> Result<&'b [u8], Broken> {
        self.waiting = false;
        let mut rest = bytes;
        let enough = self.answers.saturating_add(PIPELINED_MAX);
        while !rest.is_empty() {
            rest = match self.stage {
                Stage::Ended => &[],
                Stage::Head if self.answers >= enough => {
                    return Err(Broken("over 32 requests in one segment"));
                }
                Stage::Head => match Parsed::from(rest) {
                    Parsed::Partial(unused) => return Ok(unused),
                    Parsed::Bad(fault) => {
                        if let Some(said) = request::lenient(rest) {
                            report(&said, out);
                        }
                        self.refuse(&fault, out);
                        &[]
                    }
                    Parsed::Whole(request, after) => {
                        report(request.unread(rest).as_ref().unwrap_or(&request), out);
                        self.answer(&request, out);
                        after
                    }
                },
                Stage::Body(left) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let left = left.saturating_sub(taken as u64);
                    self.stage = if left == 0 { Stage::Head } else { Stage::Body(left) };
                    rest.get(taken..).unwrap_or_default()
                }
                Stage::Chunk(chunk) => match chunk.skip(rest) {
                    None => return Ok(rest),
                    Some((next, after)) => {
                        if matches!(next, Stage::Ended) {
                            out.push(Action::Reset);
                        }
                        self.stage = next;
                        after
                    }
                },
            };
        }
        Ok(rest)
    }

    fn timer(&mut self, out: &mut Actions) {
        if self.waiting {
            out.close();
        }
    }
}

impl Proxy {
    fn new(face: Arc<Face>) -> Self {
        Self { face, stage: Stage::Head, port: 0, seed: 0, answers: 0, waiting: false }
    }

    fn answer(&mut self, request: &Request<'_>, out: &mut Actions) {
        let challenges = match credentials(request) {
            Some(Credentials::Asks { scheme, flags, wrapped }) => {
                vec![self.challenge(scheme, flags, wrapped, out)]
            }
            None | Some(Credentials::Login(_)) => self.offers(),
        };
        let open = match self.face.skin {
            Skin::Squid => self.squid(request, &challenges, out),
            Skin::MsIsa if request.start.version == Version::Other => {
                out.send(isa::bad_request(&self.face.host));
                false
            }
            Skin::MsIsa => {
                out.send(isa::denied(&self.face.host, &challenges, request.keeps_open()));
                request.keeps_open()
            }
        };
        self.answers = self.answers.saturating_add(1);
        if !open {
            self.end(out);
            return;
        }
        self.stage = match request.body {
            Body::Length(0) | Body::Unknown | Body::Unreadable => Stage::Head,
            Body::Length(length) => Stage::Body(length),
            Body::Chunked => Stage::Chunk(Chunk::Size),
        };
        self.waiting = true;
        out.push(Action::Timer(PERSISTENT));
    }

    /// Answers as Squid does; whether the connection stays open.
    fn squid(&self, request: &Request<'_>, challenges: &[String], out: &mut Actions) -> bool {
        let start = &request.start;
        let with_host = request.header("Host").is_some();
        let (page, challenges, open) = match self.target(start, with_host) {
            Target::Invalid => (Page::invalid_url(&start.target), &[][..], false),
            Target::Url(url) | Target::NotFetched(url) if start.version == Version::Other => {
                (Page::version(&url), &[][..], false)
            }
            Target::NotFetched(url) => (Page::unsupported(&url).for_reader_of(request), &[][..], false),
            Target::Url(url) => match refusal(request, &url) {
                Some(page) => (page.for_reader_of(request), &[][..], false),
                None => (Page::denied(&url).for_reader_of(request), challenges, request.keeps_open()),
            },
        };
        let with_body = start.method != b"HEAD";
        out.send(self.as_squid(out).answer(&page, challenges, with_body, open));
        open
    }

    fn refuse(&mut self, fault: &Fault, out: &mut Actions) {
        match self.face.skin {
            Skin::Squid => {
                let page = Page::fault(fault, |start| match self.target(start, false) {
                    Target::Url(url) | Target::NotFetched(url) => url,
                    Target::Invalid => start.target.clone(),
                });
                let head_only = matches!(fault, Fault::BadHeader(it) if it.method == b"HEAD");
                out.send(self.as_squid(out).answer(&page, &[], !head_only, false));
            }
            Skin::MsIsa => out.send(isa::bad_request(&self.face.host)),
        }
        self.end(out);
    }

    fn end(&mut self, out: &mut Actions) {
        out.close();
        self.stage = Stage::Ended;
    }

    fn as_squid(&self, out: &Actions) -> Squid<'_> {
        Squid { host: &self.face.host, port: self.port, now: out.now }
    }

    fn target(&self, start: &Start, with_host: bool) -> Target {
        let own = format!("{}:{}", self.face.host, self.port);
        Target::parse(&start.method, &start.target, &own, with_host)
    }

    /// The second step of NTLM, as a value of `Proxy-Authenticate`.
    fn challenge(&self, scheme: Scheme, flags: u32, wrapped: bool, out: &Actions) -> String {
        let challenge = self.nonce(0).to_le_bytes();
        let challenger = ntlm::Challenger { host: &self.face.host, now: out.now, challenge };
        let token = BASE64_STANDARD.encode(challenger.token(flags, wrapped));
        format!("{} {token}", scheme.name())
    }

    /// All that is offered, as values of `Proxy-Authenticate`.
    fn offers(&self) -> Vec<String> {
        let realm = &self.face.realm;
        let offer = |scheme: &Scheme| match scheme {
            Scheme::Basic => format!("Basic realm=\"{realm}\""),
            Scheme::Digest => format!(
                "Digest realm=\"{realm}\", nonce=\"{:016x}{:016x}\", qop=\"auth\", stale=false",
                self.nonce(1),
                self.nonce(2)
            ),
            Scheme::Ntlm | Scheme::Negotiate => scheme.name().to_owned(),
        };
        self.face.schemes.iter().map(offer).collect()
    }

    /// Differs for each connection, answer and `salt`.
    fn nonce(&self, salt: u64) -> u64 {
        random(self.seed, self.answers.wrapping_mul(4).wrapping_add(salt).wrapping_add(1))
    }
}

fn credentials(request: &Request<'_>) -> Option<Credentials> {
    request.header("Proxy-Authorization").and_then(Credentials::parse)
}

/// Reports a request: as a login, or as one without credentials. The first step of NTLM is neither
/// yet.
fn report(request: &Request<'_>, out: &mut Actions) {
    match credentials(request) {
        None => out.report(
            Event::new(&kinds::HTTPPROXY_REQUEST)
                .with("METHOD", Tainted::new(&request.start.method, FIELD_MAX))
                .with("URL", Tainted::new(&request.start.target, FIELD_MAX))
                .with("HEADERS", headers(request, false)),
        ),
        Some(Credentials::Asks { .. }) => {}
        Some(Credentials::Login(login)) => out.report(event(request, &login)),
    }
}

fn event(request: &Request<'_>, login: &Login) -> Event {
    let event = Event::new(&kinds::HTTPPROXY_LOGIN)
        .with("USERNAME", Tainted::new(&login.user, FIELD_MAX))
        .with("PASSWORD", Tainted::new(&login.password, FIELD_MAX))
        .with("METHOD", Tainted::new(&request.start.method, FIELD_MAX))
        .with("URL", Tainted::new(&request.start.target, FIELD_MAX))
        .with("SCHEME", Tainted::new(&login.scheme, FIELD_MAX))
        .with("HEADERS", headers(request, login.told));
    match &login.ntlm {
        Some(ntlm) => event.with("NTLM", Tainted::new(ntlm, FIELD_MAX)),
        None => event,
    }
}

/// The headers of a request, those of one name joined; without the credentials where `told`.
fn headers(request: &Request<'_>, told: bool) -> Value {
    let mut found: Vec<(&[u8], Vec<u8>)> = Vec::new();
    for header in request.headers.iter().take(HEADERS_MAX) {
        if told && header.name.eq_ignore_ascii_case(b"Proxy-Authorization") {
            continue;
        }
        match found.iter_mut().find(|it| it.0.eq_ignore_ascii_case(header.name)) {
            Some((_, value)) => value.extend_from_slice(&[b", ", header.value.as_slice()].concat()),
            None => found.push((header.name, header.value.clone())),
        }
    }
    let member = |(name, value): (&[u8], Vec<u8>)| {
        (Tainted::new(name, HEADER_MAX), Tainted::new(&value, HEADER_MAX).into())
    };
    Value::Map(found.into_iter().map(member).collect())
}

/// What Squid refuses before it asks who is there.
fn refusal(request: &Request<'_>, url: &[u8]) -> Option<Page> {
    let method = request.start.method.as_slice();
    let bodiless = matches!(method, b"GET" | b"HEAD");
    let expects = request.header("Expect").is_some_and(|it| !it.eq_ignore_ascii_case(b"100-continue"));
    match request.body {
        Body::Unknown => Some(Page::unsupported(url)),
        _ if method == b"OPTIONS" && request.header("Max-Forwards") == Some(b"0") => {
            Some(Page::unsupported(url))
        }
        Body::Unreadable => Some(Page::length_required(request, url)),
        Body::Length(1..) if bodiless => Some(Page::length_required(request, url)),
        _ if expects => Some(Page::expectation(request, url)),
        Body::Length(_) | Body::Chunked => None,
    }
}

impl Chunk {
    /// Goes over one part of a chunked body; `None` where more has to come. What is no chunk ends
    /// the connection.
    fn skip(self, bytes: &[u8]) -> Option<(Stage, &[u8])> {
        if let Self::Data(left) = self {
            let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let left = left.saturating_sub(taken as u64);
            let next = if left == 0 { Self::End } else { Self::Data(left) };
            return Some((Stage::Chunk(next), bytes.get(taken..).unwrap_or_default()));
        }
        let Some((line, rest)) = first_line(bytes) else {
            return if bytes.len() < CHUNK_LINE_MAX { None } else { Some((Stage::Ended, &[])) };
        };
        let next = match self {
            Self::Size => match chunk_size(line) {
                Some(0) => Stage::Chunk(Self::Trailer),
                Some(size) => Stage::Chunk(Self::Data(size)),
                None => Stage::Ended,
            },
            Self::End if line.is_empty() => Stage::Chunk(Self::Size),
            Self::Trailer if line.is_empty() => Stage::Head,
            Self::Trailer => Stage::Chunk(Self::Trailer),
            Self::End | Self::Data(_) => Stage::Ended,
        };
        Some((next, rest))
    }
}

/// Squid's `client_idle_pconn_timeout`.
const PERSISTENT: Duration = Duration::from_mins(2);
/// Answers are longer than requests: so many at most are made before any is sent.
const PIPELINED_MAX: u64 = 32;
const FIELD_MAX: usize = 4096;
const HEADERS_MAX: usize = 64;
const HEADER_MAX: usize = 1024;
const CHUNK_LINE_MAX: usize = 4096;

#[cfg(test)]
mod tests;
