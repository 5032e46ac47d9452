//! The face of Squid 5.7 as Debian 12 has it: heads byte for byte, pages of our own in its manner.
//!
//! Squid's pages are under the GPL, so their sentences and their style sheet are not used; the
//! headings, which tools look for, are. A page is filled up to the length of Squid's, so that
//! `Content-Length` is Squid's too. Everything that comes from the request is escaped.

use std::fmt::Write as _;

use serin_event::Timestamp;

use super::request::{Body, Fault, Request, Start};

/// Who answers, and when.
pub(super) struct Squid<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) now: Timestamp,
}

/// One error page.
pub(super) struct Page {
    status: &'static str,
    /// The name in `X-Squid-Error` and in the page.
    name: &'static str,
    title: &'static str,
    /// What is said, in HTML.
    text: String,
    /// The length of Squid's page with the same contents, without the host name in its footer.
    length: usize,
    /// The tag in `Content-Language`.
    language: &'static str,
}

impl Squid<'_> {
    /// The whole answer. `challenges` are the values of `Proxy-Authenticate`.
    pub(super) fn answer(&self, page: &Page, challenges: &[String], with_body: bool, open: bool) -> Vec<u8> {
        let (host, port, date) = (self.host, self.port, self.now.http_date());
        let body = page.render(host, &date);
        let mut head = format!(
            "HTTP/1.1 {}\r\nServer: squid/{VERSION}\r\nMime-Version: 1.0\r\nDate: {date}\r\n\
             Content-Type: text/html;charset=utf-8\r\nContent-Length: {}\r\nX-Squid-Error: {} 0\r\n\
             Vary: Accept-Language\r\nContent-Language: {}\r\n",
            page.status,
            body.len(),
            page.name,
            page.language
        );
        for challenge in challenges {
            let _ = write!(head, "Proxy-Authenticate: {challenge}\r\n");
        }
        let _ = write!(
            head,
            "X-Cache: MISS from {host}\r\nX-Cache-Lookup: NONE from {host}:{port}\r\n\
             Via: 1.1 {host} (squid/{VERSION})\r\nConnection: {}\r\n\r\n",
            if open { "keep-alive" } else { "close" }
        );
        if with_body {
            head.push_str(&body);
        }
        head.into_bytes()
    }
}

impl Page {
    /// Log in first. What is asked for is named without its query, as `strip_query_terms` has it.
    pub(super) fn denied(url: &[u8]) -> Self {
        let url = match memchr::memchr(b'?', url).and_then(|at| url.get(..=at)) {
            Some(short) => escape_url(short),
            None => escape_url(url),
        };
        let text = format!(
            "<p>This cache does not fetch <a href=\"{url}\">{url}</a> for people it does not know.</p>\n\
             <p>Log in with the name and the password that you were given for it, then ask for {url} again.</p>\n\
             <p>If they are not accepted, write to <a href=\"mailto:webmaster\">webmaster</a>.</p>\n"
        );
        let length = copies(2998, 3, &url);
        Self {
            status: "407 Proxy Authentication Required",
            name: "ERR_CACHE_ACCESS_DENIED",
            title: "Cache Access Denied",
            text,
            length,
            language: DEFAULT,
        }
    }

    /// What is asked for is no URL.
    pub(super) fn invalid_url(target: &[u8]) -> Self {
        let url = escape(target);
        let text = format!(
            "<p>This cache was asked for <a href=\"{url}\">{url}</a>, which is not a URL that it can fetch.</p>\n\
             <p><b>Invalid URL</b></p>\n\
             <p>A URL names a protocol, a host and a path, such as <q>http://www.example.com/</q>. \
             Programs that talk to a proxy have to send all three.</p>\n"
        );
        let length = copies(3206, 2, &url);
        Self {
            status: BAD_REQUEST,
            name: "ERR_INVALID_URL",
            title: NOT_RETRIEVED,
            text,
            length,
            language: DEFAULT,
        }
    }

    /// The request is one that this proxy does not do.
    pub(super) fn unsupported(url: &[u8]) -> Self {
        let url = escape_url(url);
        let text = format!(
            "<p>This cache cannot do what it was asked to do with <a href=\"{url}\">{url}</a>.</p>\n\
             <p><b>Unsupported Request Method and Protocol</b></p>\n"
        );
        let length = copies(2999, 2, &url);
        Self {
            status: "501 Not Implemented",
            name: "ERR_UNSUP_REQ",
            title: NOT_RETRIEVED,
            text,
            length,
            language: DEFAULT,
        }
    }

    /// HTTP, but not of a version that this proxy speaks.
    pub(super) fn version(url: &[u8]) -> Self {
        let url = escape_url(url);
        let text = format!(
            "<p>The request for <a href=\"{url}\">{url}</a> came in a version of HTTP that is not spoken here.</p>\n"
        );
        Self {
            status: "505 HTTP Version not supported",
            name: "ERR_UNSUP_HTTPVERSION",
            title: "Unsupported HTTP version",
            text,
            length: copies(2938, 2, &url),
            language: DEFAULT,
        }
    }

    /// A body where none belongs, or no readable length.
    pub(super) fn length_required(request: &Request<'_>, url: &[u8]) -> Self {
        Self::invalid("411 Length Required", Some(request), url)
    }

    /// `Expect:` something else than `100-continue`.
    pub(super) fn expectation(request: &Request<'_>, url: &[u8]) -> Self {
        Self::invalid("417 Expectation Failed", Some(request), url)
    }

    /// A request that cannot be read.
    pub(super) fn fault(fault: &Fault, spell: impl Fn(&Start) -> Vec<u8>) -> Self {
        match fault {
            Fault::NotHttp => Self::unknown_protocol(),
            Fault::BadTarget => Self::invalid(BAD_REQUEST, None, NO_REQUEST),
            Fault::BadHeader(start) => Self::invalid(BAD_REQUEST, None, &spell(start)),
            Fault::LongLine => Self::too_big("414 URI Too Long"),
            Fault::LongHead => Self::too_big("431 Request Header Fields Too Large"),
        }
    }

    fn unknown_protocol() -> Self {
        let url = escape(NO_REQUEST);
        let text = format!(
            "<p>What came in is not HTTP, and is on record here as <a href=\"{url}\">{url}</a>.</p>\n\
             <p><b>Unsupported Protocol</b></p>\n"
        );
        let length = copies(2981, 2, &url);
        Self {
            status: BAD_REQUEST,
            name: "ERR_PROTOCOL_UNKNOWN",
            title: NOT_RETRIEVED,
            text,
            length,
            language: DEFAULT,
        }
    }

    fn too_big(status: &'static str) -> Self {
        let text = "<p>What was sent is on record here as <a href=\"error:request-too-large\">error:request-too-large</a>: \
                    its head has more bytes than this cache takes in.</p>\n\
                    <p><b>The request or reply is too large.</b></p>\n\
                    <p>Cookies that piled up are the usual reason. Delete those of the site that you meant to reach, \
                    then ask for it once more.</p>\n"
            .to_owned();
        Self { status, name: "ERR_TOO_BIG", title: NOT_RETRIEVED, text, length: 3267, language: DEFAULT }
    }

    fn invalid(status: &'static str, request: Option<&Request<'_>>, url: &[u8]) -> Self {
        let url = escape_url(url);
        let (shown, method, protocol) = match request {
            Some(request) => (escape(&dump(request, &url)), escape(&request.start.method), "http".to_owned()),
            None => {
                ("[no request]".to_owned(), "[unknown method]".to_owned(), "[unknown protocol]".to_owned())
            }
        };
        let text = format!(
            "<p><b>Invalid Request</b>: this cache cannot make sense of what it was sent.</p>\n\
             <blockquote id=\"data\">\n<pre>{shown}</pre>\n</blockquote>\n\
             <table>\n<tr><td>Method</td><td>{method}</td></tr>\n<tr><td>URL</td><td>{url}</td></tr>\n\
             <tr><td>Protocol</td><td>{protocol}</td></tr>\n</table>\n\
             <p>A request has a method, a URL and a version in its first line, a colon in every header, one length \
             for its body, and expects nothing that HTTP does not know. Programs that send anything else are broken \
             or do not speak HTTP at all.</p>\n"
        );
        let length = [&shown, &method, &url, &protocol]
            .iter()
            .fold(3661, |sum: usize, it| sum.saturating_add(it.len()));
        Self { status, name: "ERR_INVALID_REQ", title: NOT_RETRIEVED, text, length, language: DEFAULT }
    }

    /// For a reader whose `Accept-Language` names a kind of English; Debian's pages for them are a
    /// little longer than the built-in ones. Other languages get the default: we have no such pages.
    pub(super) fn for_reader_of(mut self, request: &Request<'_>) -> Self {
        let wish = request.header("Accept-Language").unwrap_or_default().to_ascii_lowercase();
        let tags = wish
            .split(|&it| it == b',')
            .map(|it| it.split(|&it| it == b';').next().unwrap_or_default().trim_ascii());
        let known = |tag: &[u8]| {
            let same = |it: &&&str| it.bytes().eq(tag.iter().map(|&it| if it == b'_' { b'-' } else { it }));
            ENGLISH.iter().find(same).copied()
        };
        if let Some(tag) = tags.take_while(|&it| it != b"*").find_map(known) {
            self.language = tag;
            self.length = self.length.saturating_add(2);
        }
        self
    }

    fn render(&self, host: &str, date: &str) -> String {
        let Self { name, title, text, .. } = self;
        let before = format!("{HEAD}<title>ERROR: {title}</title>\n{STYLE}/*");
        let after = format!(
            "*/\n--></style>\n</head><body id={name}>\n<div id=\"titles\">\n<h1>ERROR</h1>\n<h2>{title}</h2>\n</div>\n\
             <div id=\"content\">\n{text}</div>\n\
             <div id=\"footer\">\n<p>Generated {date} by {host} (squid/{VERSION})</p>\n<!-- {name} -->\n</div>\n\
             </body></html>\n"
        );
        let wanted = self.length.saturating_add(host.len());
        let fill = wanted.saturating_sub(before.len()).saturating_sub(after.len());
        [before, "=".repeat(fill), after].concat()
    }
}

/// The request as Squid repeats it: the path instead of the URL, no credentials, no length that
/// cannot be read, and Host last.
fn dump(request: &Request<'_>, url: &str) -> Vec<u8> {
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    let mut text = [request.start.method.as_slice(), b" /", path.as_bytes(), b" HTTP/1.1\r\n"].concat();
    let (hosts, others): (Vec<_>, Vec<_>) =
        request.headers.iter().partition(|it| it.name.eq_ignore_ascii_case(b"Host"));
    for header in others.into_iter().chain(hosts) {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name.as_bytes());
        if request.body == Body::Unreadable && is("Content-Length") {
            continue;
        }
        let hidden = is("Proxy-Authorization") || is("Authorization");
        let value = if hidden { b"** NOT DISPLAYED **" } else { header.value.as_slice() };
        text.extend_from_slice(&[header.name, b": ", value, b"\r\n"].concat());
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// `fixed`, and so many times the URL.
fn copies(fixed: usize, count: usize, url: &str) -> usize {
    fixed.saturating_add(url.len().saturating_mul(count))
}

/// The peer's bytes as HTML, in the way Squid escapes them: ASCII comes out, whatever comes in.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        let _ = match byte {
            b'<' => write!(text, "&lt;"),
            b'>' => write!(text, "&gt;"),
            b'"' => write!(text, "&quot;"),
            b'\'' => write!(text, "&#39;"),
            b'&' => write!(text, "&amp;"),
            b'\r' | b'\n' | b'\t' | 0x20..0x7f => {
                text.push(char::from(byte));
                Ok(())
            }
            // Squid has three places for the number.
            _ => write!(text, "&#{byte:3};"),
        };
    }
    text
}

/// A URL as HTML. Where it has a control character, Squid first writes everything that is unsafe in
/// a URL (RFC 1738, section 2.2) as `%XX`.
fn escape_url(url: &[u8]) -> String {
    if !url.iter().any(|it| matches!(it, 0..0x20 | 0x7f..0xa0)) {
        return escape(url);
    }
    let mut safe = Vec::with_capacity(url.len());
    for &byte in url {
        if matches!(byte, 0..=b' ' | 0x7f..) || b"\"#'<>[\\]^`{|}~".contains(&byte) {
            safe.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            safe.push(byte);
        }
    }
    escape(&safe)
}

const VERSION: &str = "5.7";
const BAD_REQUEST: &str = "400 Bad Request";
const NOT_RETRIEVED: &str = "The requested URL could not be retrieved";
/// What Squid calls a request without a URL.
const NO_REQUEST: &[u8] = b"error:invalid-request";
/// Without negotiation.
const DEFAULT: &str = "en";
/// The English of Debian's squid-langpack.
const ENGLISH: [&str; 17] = [
    "en", "en-au", "en-bz", "en-ca", "en-cn", "en-gb", "en-ie", "en-in", "en-jm", "en-nz", "en-ph", "en-sg",
    "en-tt", "en-uk", "en-us", "en-za", "en-zw",
];
const HEAD: &str =
    "<!DOCTYPE html PUBLIC \"-//W3C//DTD HTML 4.01//EN\" \"http://www.w3.org/TR/html4/strict.dtd\">
<html><head>
<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\">
";
const STYLE: &str = r#"<style type="text/css"><!--
body {
	background: #f4f4f2;
	color: #222222;
	font: 13px/1.5 verdana, "DejaVu Sans", sans-serif;
	margin: 3em auto;
	width: 44em;
}
#titles {
	border-bottom: 3px solid #7a1f1f;
	margin-bottom: 1.5em;
}
#titles h1 {
	color: #7a1f1f;
	font-size: 26px;
	letter-spacing: 2px;
	margin: 0;
}
#titles h2 {
	font-size: 15px;
	font-weight: normal;
	margin: 0 0 8px 0;
}
#content {
	background: #ffffff;
	border: 1px solid #d8d8d4;
	overflow-wrap: break-word;
	padding: 6px 18px;
}
#content a {
	color: #204a87;
}
#content table td {
	padding-right: 2em;
	vertical-align: top;
}
#content ul {
	padding-left: 1.4em;
}
pre {
	background: #f4f4f2;
	font-family: "DejaVu Sans Mono", monospace;
	font-size: 12px;
	overflow: auto;
	padding: 8px;
}
#footer {
	color: #777777;
	font-size: 10px;
	margin-top: 1em;
	text-align: right;
}
@media print {
	body { background: #ffffff; margin: 0; width: auto; }
	#content { border: 0; padding: 0; }
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::httpproxy::request::{Parsed, Version};
    use crate::replay::NOW;

    const SQUID: Squid<'_> = Squid { host: "srv-files", port: 3128, now: NOW };

    fn request(text: &str) -> Request<'_> {
        match Parsed::from(text.as_bytes()) {
            Parsed::Whole(request, _) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pages_are_as_long_as_squids() {
        let start = Start { method: b"GET".to_vec(), target: vec![], version: Version::Http11 };
        let url = b"http://example.com/";
        let spell = |_: &Start| url.to_vec();
        let expect = request(
            "POST http://example.com/ HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\nExpect: foo\r\n\r\n",
        );
        let body =
            request("GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\n");
        let unreadable = request(
            "POST http://example.com/ HTTP/1.1\r\nContent-Length: x\r\nHost: example.com\r\nX: <y>\r\n\
             Proxy-Authorization: Basic YTpi\r\n\r\n",
        );
        // Measured beside Squid 5.7 of Debian 12, with the same host name.
        for (page, length) in [
            (Page::denied(url), 3064),
            (Page::denied(b"http://example.com/a?b=c"), 3070),
            (Page::denied(b"http://example.com/<script>\"'&"), 3154),
            (Page::denied(b"http://example.com/\xff\xfe"), 3100),
            (Page::denied(b"http://a/\xff\xfe\x80"), 3061),
            (Page::invalid_url(b"/"), 3217),
            (Page::invalid_url(b"/<script>alert(1)</script>?a"), 3295),
            (Page::unsupported(url), 3046),
            (Page::version(url), 2985),
            (Page::expectation(&expect, url), 3767),
            (Page::length_required(&body, url), 3752),
            (Page::fault(&Fault::NotHttp, spell), 3032),
            (Page::fault(&Fault::BadTarget, spell), 3737),
            (Page::fault(&Fault::BadHeader(start), spell), 3735),
            (Page::length_required(&unreadable, url), 3791),
            (Page::fault(&Fault::LongLine, spell), 3276),
            (Page::fault(&Fault::LongHead, spell), 3276),
        ] {
            let rendered = page.render("srv-files", &NOW.http_date());
            assert_eq!(rendered.len(), length, "{}: {}", page.name, page.status);
            assert!(rendered.contains("/*="), "{}: no room to fill", page.name);
        }
    }

    #[test]
    fn english_readers_get_their_tag() {
        for (wish, tag, length) in [
            ("en-US,en;q=0.9", "en-us", 3066),
            ("en_GB", "en-gb", 3066),
            ("xx, en;q=0.1", "en", 3066),
            ("*, en-us", "en", 3064),
            ("en-xx", "en", 3064),
            ("de", "en", 3064),
        ] {
            let text = format!("GET http://example.com/ HTTP/1.1\r\nAccept-Language: {wish}\r\n\r\n");
            let page = Page::denied(b"http://example.com/").for_reader_of(&request(&text));
            assert_eq!(
                (page.language, page.render("srv-files", &NOW.http_date()).len()),
                (tag, length),
                "{wish}"
            );
        }
    }

    #[test]
    fn nothing_of_the_request_comes_back_as_html() {
        let hostile = b"http://a/\"><script>alert('x')</script>\x00\x80\xff&";
        let odd = request("POST http://a/ HTTP/1.1\r\nX: <script>\r\nExpect: <b>\r\n\r\n");
        for page in [
            Page::denied(hostile),
            Page::invalid_url(hostile),
            Page::unsupported(hostile),
            Page::version(hostile),
            Page::expectation(&odd, hostile),
        ] {
            let answer = SQUID.answer(&page, &[], true, false);
            let text = String::from_utf8(answer).unwrap();
            assert!(!text.contains("<script>") && !text.contains("<b>\r"), "{text}");
            assert!(text.is_ascii() && !text.contains('\0'), "{text}");
        }
    }

    #[test]
    fn a_head_alone_names_the_length_of_the_page() {
        let answer = SQUID.answer(
            &Page::denied(b"http://a/"),
            &["NTLM".into(), "Basic realm=\"x\"".into()],
            false,
            true,
        );
        let text = String::from_utf8(answer).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 407 Proxy Authentication Required\r\nServer: squid/5.7\r\nMime-Version: 1.0\r\n\
             Date: Sun, 22 Nov 2026 00:00:00 GMT\r\nContent-Type: text/html;charset=utf-8\r\nContent-Length: 3034\r\n\
             X-Squid-Error: ERR_CACHE_ACCESS_DENIED 0\r\nVary: Accept-Language\r\nContent-Language: en\r\n\
             Proxy-Authenticate: NTLM\r\nProxy-Authenticate: Basic realm=\"x\"\r\nX-Cache: MISS from srv-files\r\n\
             X-Cache-Lookup: NONE from srv-files:3128\r\nVia: 1.1 srv-files (squid/5.7)\r\nConnection: keep-alive\r\n\r\n"
        );
    }
}
