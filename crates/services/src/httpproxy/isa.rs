//! The face of Microsoft's ISA Server, from specification: nobody has recorded the product yet.
//!
//! The answers are the ones that OpenCanary's `ms-isa` skin was meant to give and never could.

use std::fmt::Write as _;

/// Log in first. `challenges` are the values of `Proxy-Authenticate`.
pub(super) fn denied(host: &str, challenges: &[String], open: bool) -> Vec<u8> {
    let mut head = format!(
        "HTTP/1.1 407 Proxy Authentication Required ( The ISA Server requires authorization to fulfill the \
         request. Access to the Web Proxy service is denied.  )\r\nVia: 1.1 {host}\r\n"
    );
    let (first, others) = challenges.split_first().map_or(("Basic", challenges), |(first, others)| {
        // The product names Basic twice: bare among the schemes, and below with its realm.
        if first.starts_with("Basic ") { ("Basic", challenges) } else { (first.as_str(), others) }
    });
    let _ = write!(
        head,
        "Proxy-Authenticate: {first}\r\n{}Pragma: no-cache\r\nCache-Control: no-cache\r\nContent-Type: text/html\r\n",
        if open { "" } else { "Connection: close\r\nProxy-Connection: close\r\n" }
    );
    for challenge in others {
        let _ = write!(head, "Proxy-Authenticate: {challenge}\r\n");
    }
    head.push_str("Content-Length: 0\r\n\r\n");
    head.into_bytes()
}

/// What came in is no request.
pub(super) fn bad_request(host: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 400 Bad Request ( The data is invalid.  )\r\nVia: 1.1 {host}\r\nConnection: close\r\n\
         Proxy-Connection: close\r\nPragma: no-cache\r\nCache-Control: no-cache\r\nContent-Type: text/html\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}
