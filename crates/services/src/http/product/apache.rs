//! Apache: measured against 2.4.71 as Debian 12 configures it, without `mod_deflate`.
//!
//! The texts of versions before 2.4 are from its published sources and were not measured.

use std::borrow::Cow;

use super::{From, Product, Reply, Wire, html, length, line, status_line};
use crate::http::request::{Fault, Head};

pub(super) fn status(product: &Product, status: u16) -> &'static str {
    let old = product.is_old_apache();
    match status {
        200 => "200 OK",
        206 => "206 Partial Content",
        301 => "301 Moved Permanently",
        302 => "302 Found",
        304 => "304 Not Modified",
        403 => "403 Forbidden",
        404 => "404 Not Found",
        405 => "405 Method Not Allowed",
        408 if old => "408 Request Time-out",
        408 => "408 Request Timeout",
        412 => "412 Precondition Failed",
        413 => "413 Request Entity Too Large",
        414 if old => "414 Request-URI Too Large",
        414 => "414 Request-URI Too Long",
        416 => "416 Requested Range Not Satisfiable",
        417 => "417 Expectation Failed",
        501 if old => "501 Method Not Implemented",
        501 => "501 Not Implemented",
        505 => "505 HTTP Version Not Supported",
        _ => "400 Bad Request",
    }
}

pub(super) fn head(product: &Product, reply: &Reply<'_>, wire: &Wire<'_>, out: &mut Vec<u8>) {
    status_line(out, "HTTP/1.1", status(product, reply.status));
    line(out, "Date", wire.date);
    line(out, "Server", &product.banner);
    if let Some(cookie) = &reply.cookie {
        line(out, "Set-Cookie", cookie);
    }
    if let Some(location) = &reply.location {
        line(out, "Location", location);
    }
    if let Some((etag, modified)) = reply.validators {
        line(out, "Last-Modified", modified);
        line(out, "ETag", etag);
        line(out, "Accept-Ranges", "bytes");
    }
    if let Some(allow) = reply.allow {
        line(out, "Allow", allow);
    }
    // A page of its own is not measured for HEAD.
    let unmeasured = reply.from == From::Server && wire.head_only && reply.status >= 300;
    if product.is_chunked(reply, wire) {
        line(out, "Transfer-Encoding", "chunked");
    } else if !(unmeasured || reply.from == From::Hasty || reply.status == 304) {
        length(out, reply.body.len());
    }
    if let Some(range) = &reply.range {
        line(out, "Content-Range", range);
    }
    if wire.close {
        if reply.status != 417 {
            line(out, "Connection", "close");
        }
    } else if wire.keep {
        line(out, "Keep-Alive", &format!("timeout=5, max={}", wire.left));
        line(out, "Connection", "Keep-Alive");
    }
    if reply.status != 304 && !reply.content_type.is_empty() {
        line(out, "Content-Type", &reply.content_type);
    }
}

/// The page that Apache itself makes; `more` follows the first sentence.
pub(super) fn page(product: &Product, code: u16, head: &Head<'_>, more: &str) -> Reply<'static> {
    let status = status(product, code);
    let title = status.split_once(' ').map_or(status, |it| it.1);
    let mut body = Vec::with_capacity(512);
    let old_type = product.version > (0, 0, 0) && product.version < (2, 4, 64);
    body.extend_from_slice(if old_type { OLD_TYPE } else { TYPE }.as_bytes());
    body.extend_from_slice(
        format!("<html><head>\n<title>{status}</title>\n</head><body>\n<h1>{title}</h1>\n").as_bytes(),
    );
    sentence(product, code, head, more, &mut body);
    signature(product, head, &mut body);
    Reply {
        status: code,
        content_type: "text/html; charset=iso-8859-1".into(),
        body: Cow::Owned(body),
        allow: match code {
            405 if head.method == b"TRACE" => Some(""),
            405 | 501 if product.is_old_apache() => Some("GET,HEAD,POST,OPTIONS"),
            405 | 501 => Some(product.allow),
            _ => None,
        },
        close: matches!(code, 400 | 408 | 413 | 414 | 417 | 501),
        ..Reply::default()
    }
}

fn sentence(product: &Product, code: u16, head: &Head<'_>, more: &str, out: &mut Vec<u8>) {
    let old = product.is_old_apache();
    let path = head.path_and_query().0;
    let mut say = |parts: [&[u8]; 3]| {
        out.extend_from_slice(b"<p>");
        out.extend_from_slice(parts[0]);
        html(parts[1], out);
        out.extend_from_slice(parts[2]);
        out.extend_from_slice(b"</p>\n");
    };
    match code {
        404 if old => say([b"The requested URL ", path, b" was not found on this server."]),
        404 => say([b"The requested URL was not found on this server.", b"", b""]),
        403 if old => say([b"You don't have permission to access ", path, b"\non this server."]),
        403 => say([b"You don't have permission to access this resource.", b"", b""]),
        405 if old => {
            let what = [head.method, b" is not allowed for the URL ", path].concat();
            say([b"The requested method ", &what, b"."]);
        }
        405 => say([b"The requested method ", head.method, b" is not allowed for this URL."]),
        408 => say([b"Server timeout waiting for the HTTP request from the client.", b"", b""]),
        412 => say([b"The precondition on the request for the URL ", path, b" evaluated to false."]),
        413 => out.extend_from_slice(
            [
                b"The requested resource does not allow request data with ",
                head.method,
                b" requests, or the amount of data provided in\nthe request exceeds the capacity limit.\n",
            ]
            .concat()
            .as_slice(),
        ),
        414 => say([b"The requested URL's length exceeds the capacity\nlimit for this server.<br />\n", b"", b""]),
        416 => say([
            b"None of the range-specifier values in the Range\nrequest-header field overlap the current extent\nof the selected resource.",
            b"",
            b"",
        ]),
        417 => {
            let value = head.field("Expect").unwrap_or_default();
            out.extend_from_slice(
                b"<p>The expectation given in the Expect request-header\nfield could not be met by this server.\nThe client sent<pre>\n    Expect: ",
            );
            html(value, out);
            out.extend_from_slice(b"\n</pre>\n</p><p>Only the 100-continue expectation is supported.</p>\n");
        }
        501 if old => {
            let what = [head.method, b" to ", path].concat();
            say([b"", &what, b" not supported.<br />\n"]);
        }
        501 => say([b"", head.method, b" not supported for current URL.<br />\n"]),
        _ => say([
            b"Your browser sent a request that this server could not understand.<br />\n",
            b"",
            more.as_bytes(),
        ]),
    }
}

/// `<address>`: the host as the client named it, the port from there too.
fn signature(product: &Product, head: &Head<'_>, out: &mut Vec<u8>) {
    let named = head.host().filter(|_| head.fault.is_none_or(is_late));
    // Before TLS is spoken it does not know that it speaks it.
    let usual = if head.fault == Some(Fault::Plain) { 80 } else { product.port }.to_string();
    let (host, port) = match named {
        Some(named) => {
            let digits = named.iter().rev().take_while(|it| it.is_ascii_digit()).count();
            let (front, port) =
                named.split_at_checked(named.len().saturating_sub(digits)).unwrap_or((named, b""));
            match front.strip_suffix(b":") {
                Some(host) if !port.is_empty() && !host.is_empty() => (host, port),
                _ => (named, usual.as_bytes()),
            }
        }
        None => (product.host.as_bytes(), usual.as_bytes()),
    };
    let host = host.strip_prefix(b"[").and_then(|it| it.strip_suffix(b"]")).unwrap_or(host);
    let host = host.strip_suffix(b".").unwrap_or(host);
    out.extend_from_slice(b"<hr>\n<address>");
    html(product.banner.as_bytes(), out);
    out.extend_from_slice(b" Server at ");
    html(&host.to_ascii_lowercase(), out);
    out.extend_from_slice(b" Port ");
    out.extend_from_slice(port);
    out.extend_from_slice(b"</address>\n</body></html>\n");
}

/// Whether the host was known when this went wrong.
fn is_late(fault: Fault) -> bool {
    matches!(fault, Fault::Expectation | Fault::Body | Fault::BodyTooLarge | Fault::Scheme)
}

/// Where a redirect of Apache's own leads.
pub(super) fn moved(product: &Product, head: &Head<'_>, location: &str) -> Reply<'static> {
    let mut reply = page(product, 301, head, "");
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    let (front, back) = text.split_once("</h1>\n").unwrap_or((&text, ""));
    let back = back.split_once("<hr>").map_or("", |it| it.1);
    let mut body = front.as_bytes().to_vec();
    body.extend_from_slice(b"</h1>\n<p>The document has moved <a href=\"");
    html(location.as_bytes(), &mut body);
    body.extend_from_slice(b"\">here</a>.</p>\n<hr>");
    body.extend_from_slice(back.as_bytes());
    reply.body = Cow::Owned(body);
    reply
}

pub(super) fn refuse(product: &Product, fault: Fault, head: &Head<'_>) -> Reply<'static> {
    match fault {
        Fault::Plain => page(product, 400, head, PLAIN),
        Fault::LineTooLong => page(product, 414, head, ""),
        Fault::FieldTooLarge => {
            page(product, 400, head, "Size of a request header field exceeds server limit.")
        }
        Fault::TooManyFields => {
            page(product, 400, head, "The number of request header fields exceeds this server's limit.")
        }
        Fault::Expectation => page(product, 417, head, ""),
        Fault::Timeout => page(product, 408, head, ""),
        // By then the filter that measures pages is gone.
        Fault::BodyTooLarge => Reply { from: From::Hasty, ..page(product, 413, head, "") },
        Fault::Body => Reply { from: From::Hasty, ..page(product, 400, head, "") },
        Fault::Line
        | Fault::Fields
        | Fault::Coding
        | Fault::Version
        | Fault::Method
        | Fault::Scheme
        | Fault::Length => page(product, 400, head, ""),
    }
}

const PLAIN: &str = "Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />\n Instead use the \
                     HTTPS scheme to access this URL, please.<br />\n";
const TYPE: &str =
    "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\" \"http://www.w3.org/TR/html4/strict.dtd\">\n";
const OLD_TYPE: &str = "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\n";
