//! lighttpd: measured against 1.4.69 as Debian 12 ships it, with HTTP/2 off.

use std::borrow::Cow;

use super::{From, Product, Reply, Wire, length, line, status_line};
use crate::http::request::Fault;

pub(super) fn status(status: u16) -> &'static str {
    match status {
        200 => "200 OK",
        206 => "206 Partial Content",
        301 => "301 Moved Permanently",
        302 => "302 Found",
        304 => "304 Not Modified",
        403 => "403 Forbidden",
        404 => "404 Not Found",
        405 => "405 Method Not Allowed",
        411 => "411 Length Required",
        408 => "408 Request Timeout",
        413 => "413 Payload Too Large",
        416 => "416 Range Not Satisfiable",
        431 => "431 Request Header Fields Too Large",
        501 => "501 Not Implemented",
        505 => "505 HTTP Version Not Supported",
        _ => "400 Bad Request",
    }
}

pub(super) fn status_of(fault: Fault) -> u16 {
    match fault {
        Fault::LineTooLong | Fault::FieldTooLarge | Fault::TooManyFields => 431,
        Fault::Coding => 501,
        Fault::Length => 411,
        Fault::Version => 505,
        Fault::Timeout => 408,
        Fault::BodyTooLarge => 413,
        Fault::Line
        | Fault::Fields
        | Fault::Method
        | Fault::Expectation
        | Fault::Body
        | Fault::Plain
        | Fault::Scheme => 400,
    }
}

pub(super) fn head(product: &Product, reply: &Reply<'_>, wire: &Wire<'_>, out: &mut Vec<u8>) {
    let old = wire.old || matches!(reply.status, 431 | 505);
    let application = reply.from == From::Application;
    status_line(out, if old { "HTTP/1.0" } else { "HTTP/1.1" }, status(reply.status));
    if let Some(location) = reply.location.as_ref().filter(|_| !application) {
        line(out, "Location", location);
    }
    if let Some(allow) = reply.allow {
        line(out, "Allow", allow);
    }
    if !reply.content_type.is_empty() && reply.status != 301 {
        line(out, "Content-Type", &reply.content_type);
    }
    if let Some((etag, modified)) = reply.validators {
        line(out, "ETag", etag);
        line(out, "Last-Modified", modified);
    }
    if reply.status != 304 {
        length(out, reply.body.len());
    }
    if reply.from == From::File && reply.status != 304 && !old {
        line(out, "Accept-Ranges", "bytes");
    }
    if let Some(range) = &reply.range {
        line(out, "Content-Range", range);
    }
    if let Some(location) = reply.location.as_ref().filter(|_| application) {
        line(out, "Location", location);
    }
    if let Some(cookie) = &reply.cookie {
        line(out, "Set-Cookie", cookie);
    }
    if wire.close {
        line(out, "Connection", "close");
    } else if wire.old {
        line(out, "Connection", "keep-alive");
    }
    line(out, "Date", wire.date);
    line(out, "Server", &product.banner);
}

/// The page that lighttpd itself makes.
pub(super) fn page(code: u16) -> Reply<'static> {
    let text = status(code);
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 \
         Transitional//EN\"\n         \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n\
         <html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n <head>\n  \
         <title>{text}</title>\n </head>\n <body>\n  <h1>{text}</h1>\n </body>\n</html>\n"
    );
    Reply {
        status: code,
        content_type: "text/html".into(),
        body: Cow::Owned(body.into_bytes()),
        allow: (code == 405).then_some("OPTIONS, GET, HEAD, POST"),
        ..Reply::default()
    }
}
