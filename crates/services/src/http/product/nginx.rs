//! nginx: measured against 1.22.1 as Debian 12 ships it, with gzip off.

use std::borrow::Cow;

use super::{From, Product, Reply, Wire, length, line, status_line};
use crate::http::request::{Fault, Head};

pub(super) fn status(status: u16) -> &'static str {
    match status {
        200 => "200 OK",
        206 => "206 Partial Content",
        301 => "301 Moved Permanently",
        302 => "302 Found",
        304 => "304 Not Modified",
        403 => "403 Forbidden",
        404 => "404 Not Found",
        405 => "405 Not Allowed",
        408 => "408 Request Time-out",
        412 => "412 Precondition Failed",
        413 => "413 Request Entity Too Large",
        414 => "414 Request-URI Too Large",
        416 => "416 Requested Range Not Satisfiable",
        501 => "501 Not Implemented",
        505 => "505 HTTP Version Not Supported",
        _ => "400 Bad Request",
    }
}

pub(super) fn head(product: &Product, reply: &Reply<'_>, wire: &Wire<'_>, out: &mut Vec<u8>) {
    status_line(out, "HTTP/1.1", status(reply.status));
    line(out, "Server", &product.banner);
    line(out, "Date", wire.date);
    if reply.status != 304 {
        if !reply.content_type.is_empty() {
            line(out, "Content-Type", &reply.content_type);
        }
        length(out, reply.body.len());
    }
    if let Some((_, modified)) = reply.validators {
        line(out, "Last-Modified", modified);
    }
    // What nginx makes itself comes before the connection, what it passes on comes after.
    let location = reply.location.as_deref();
    if let Some(location) = location.filter(|_| reply.from != From::Application) {
        line(out, "Location", location);
    }
    line(out, "Connection", if wire.close { "close" } else { "keep-alive" });
    if let Some(location) = location.filter(|_| reply.from == From::Application) {
        line(out, "Location", location);
    }
    if let Some((etag, _)) = reply.validators {
        line(out, "ETag", etag);
    }
    if let Some(range) = &reply.range {
        line(out, "Content-Range", range);
    } else if reply.from == From::File && reply.status == 200 {
        line(out, "Accept-Ranges", "bytes");
    }
    if let Some(cookie) = &reply.cookie {
        line(out, "Set-Cookie", cookie);
    }
}

/// The page that nginx itself makes; `more` stands below the headline.
pub(super) fn page(product: &Product, code: u16, head: &Head<'_>, more: &str) -> Reply<'static> {
    let text = status(code);
    let title = if more.is_empty() { text.to_owned() } else { format!("400 {more}") };
    let more = if more.is_empty() { String::new() } else { format!("<center>{more}</center>\r\n") };
    let mut body = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{text}</h1></center>\r\n{more}\
         <hr><center>{}</center>\r\n</body>\r\n</html>\r\n",
        product.banner
    );
    if code >= 400 && is_padded_for(head) {
        body.push_str(&PADDING.repeat(6));
    }
    Reply {
        status: code,
        content_type: "text/html".into(),
        body: Cow::Owned(body.into_bytes()),
        ..Reply::default()
    }
}

/// `msie_padding`: Internet Explorer and Chrome replace short error pages by their own.
fn is_padded_for(head: &Head<'_>) -> bool {
    let agent = head.field("User-Agent").unwrap_or_default();
    let has = |word: &[u8]| memchr::memmem::find(agent, word).is_some();
    has(b"Chrome/") || (has(b"MSIE ") && !has(b"Opera"))
}

pub(super) fn refuse(product: &Product, fault: Fault, head: &Head<'_>) -> Reply<'static> {
    match fault {
        Fault::FieldTooLarge | Fault::TooManyFields => {
            page(product, 400, head, "Request Header Or Cookie Too Large")
        }
        Fault::Plain => page(product, 400, head, "The plain HTTP request was sent to HTTPS port"),
        Fault::LineTooLong => page(product, 414, head, ""),
        Fault::Version => page(product, 505, head, ""),
        Fault::Coding => page(product, 501, head, ""),
        Fault::Method => page(product, 405, head, ""),
        Fault::Timeout => page(product, 408, head, ""),
        Fault::BodyTooLarge => page(product, 413, head, ""),
        Fault::Line | Fault::Fields | Fault::Expectation | Fault::Body | Fault::Scheme | Fault::Length => {
            page(product, 400, head, "")
        }
    }
}

const PADDING: &str = "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n";
