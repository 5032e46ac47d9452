//! IIS 10: from specification and documentation; nothing here was measured against a real one.

use std::borrow::Cow;

use super::{From, Product, Reply, Wire, length, line, status_line};
use crate::http::request::Fault;

pub(super) fn status(status: u16) -> &'static str {
    match status {
        200 => "200 OK",
        206 => "206 Partial Content",
        301 => "301 Moved Permanently",
        302 => "302 Redirect",
        304 => "304 Not Modified",
        403 => "403 Forbidden",
        404 => "404 Not Found",
        405 => "405 Method Not Allowed",
        408 => "408 Request Timeout",
        412 => "412 Precondition Failed",
        413 => "413 Request Entity Too Large",
        414 => "414 Request-URI Too Long",
        416 => "416 Requested Range Not Satisfiable",
        501 => "501 Not Implemented",
        505 => "505 HTTP Version Not Supported",
        _ => "400 Bad Request",
    }
}

pub(super) fn head(product: &Product, reply: &Reply<'_>, wire: &Wire<'_>, out: &mut Vec<u8>) {
    status_line(out, "HTTP/1.1", status(reply.status));
    // Bad requests never reach IIS: the kernel's listener answers them itself.
    let kernel = reply.from == From::Hasty;
    if reply.status != 304 && !reply.content_type.is_empty() {
        line(out, "Content-Type", &reply.content_type);
    }
    if let Some(location) = &reply.location {
        line(out, "Location", location);
    }
    if let Some((etag, modified)) = reply.validators {
        line(out, "Last-Modified", modified);
        line(out, "Accept-Ranges", "bytes");
        line(out, "ETag", etag);
    }
    if let Some(allow) = reply.allow {
        line(out, "Allow", allow);
    }
    if let Some(range) = &reply.range {
        line(out, "Content-Range", range);
    }
    line(out, "Server", if kernel { "Microsoft-HTTPAPI/2.0" } else { &product.banner });
    if let Some(cookie) = &reply.cookie {
        line(out, "Set-Cookie", cookie);
    }
    if !kernel {
        line(out, "X-Powered-By", "ASP.NET");
    }
    line(out, "Date", wire.date);
    if wire.close {
        line(out, "Connection", "close");
    }
    if reply.status != 304 {
        length(out, reply.body.len());
    }
}

/// The page that IIS itself makes for a remote client.
pub(super) fn page(code: u16) -> Reply<'static> {
    let text = match code {
        403 => "You do not have permission to view this directory or page.",
        404 => {
            "The resource you are looking for has been removed, had its name changed, or is temporarily unavailable."
        }
        405 => {
            "The page you are looking for cannot be displayed because an invalid method (HTTP verb) is being used."
        }
        _ => "The page cannot be displayed because an internal server error has occurred.",
    };
    Reply {
        status: code,
        content_type: "text/html".into(),
        body: Cow::Borrowed(text.as_bytes()),
        allow: (code == 405).then_some("GET, HEAD, OPTIONS, TRACE"),
        ..Reply::default()
    }
}

pub(super) fn refuse(fault: Fault) -> Reply<'static> {
    let (code, title, text) = match fault {
        Fault::BodyTooLarge => (
            413,
            "Request Entity Too Large",
            "Request Entity Too Large</h2>\r\n<hr><p>HTTP Error 413. The request entity is too large.",
        ),
        Fault::Line
        | Fault::Coding
        | Fault::Method
        | Fault::Expectation
        | Fault::Body
        | Fault::Plain
        | Fault::Scheme
        | Fault::Length => (
            400,
            "Bad Request",
            "Bad Request - Invalid URL</h2>\r\n<hr><p>HTTP Error 400. The request URL is invalid.",
        ),
        Fault::Fields => (
            400,
            "Bad Request",
            "Bad Request - Invalid Hostname</h2>\r\n<hr><p>HTTP Error 400. The request hostname is invalid.",
        ),
        Fault::LineTooLong => (
            414,
            "URI Too Long",
            "Request URL Too Long</h2>\r\n<hr><p>HTTP Error 414. The request URL is too long.",
        ),
        Fault::FieldTooLarge | Fault::TooManyFields => (
            400,
            "Bad Request",
            "Bad Request - Request Too Long</h2>\r\n<hr><p>HTTP Error 400. The size of the request headers is too long.",
        ),
        Fault::Version => (
            505,
            "Version Not Supported",
            "Version Not Supported</h2>\r\n<hr><p>HTTP Error 505. The HTTP version is not supported.",
        ),
        Fault::Timeout => {
            (408, "Request Timeout", "Request Timeout</h2>\r\n<hr><p>HTTP Error 408. The request timed out.")
        }
    };
    let body = format!(
        "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\"\"http://www.w3.org/TR/html4/strict.dtd\">\r\n\
         <HTML><HEAD><TITLE>{title}</TITLE>\r\n\
         <META HTTP-EQUIV=\"Content-Type\" Content=\"text/html; charset=us-ascii\"></HEAD>\r\n\
         <BODY><h2>{text}</p>\r\n</BODY></HTML>\r\n"
    );
    Reply {
        status: code,
        content_type: "text/html; charset=us-ascii".into(),
        body: Cow::Owned(body.into_bytes()),
        from: From::Hasty,
        ..Reply::default()
    }
}
