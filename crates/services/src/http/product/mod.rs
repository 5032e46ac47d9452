//! Which web server answers: what it refuses, how its answers look, what its own pages say.

mod apache;
mod iis;
mod lighttpd;
mod nginx;

use std::borrow::Cow;

use super::request::{Fault, Head};
use crate::conf::Identity;

/// The servers whose manners are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Measured against 1.22.1; also every banner that names none of the others.
    Nginx,
    /// Measured against 2.4.71 of Debian.
    Apache,
    /// Measured against 1.4.69.
    Lighttpd,
    /// From specification and documentation, not measured.
    Iis,
}

impl Family {
    /// Longest request line, without its ending.
    pub(crate) fn line_max(self) -> usize {
        match self {
            Self::Nginx => 8190,
            Self::Apache => 8189,
            Self::Lighttpd => 8180,
            Self::Iis => 16_384,
        }
    }

    /// Longest header line, without its ending.
    pub(crate) fn field_max(self) -> usize {
        match self {
            Self::Iis => 16_384,
            _ => 8190,
        }
    }

    /// Most header fields.
    pub(crate) fn fields_max(self) -> usize {
        match self {
            Self::Apache => 100,
            _ => 1000,
        }
    }

    /// Empty lines that may come before a request.
    pub(crate) fn blank_lines(self) -> usize {
        match self {
            Self::Nginx => usize::MAX,
            Self::Apache => 10,
            Self::Lighttpd => 0,
            Self::Iis => 1,
        }
    }

    /// Longest head.
    pub(crate) fn head_max(self) -> usize {
        match self {
            Self::Lighttpd => 8191,
            _ => super::request::HEAD_MAX,
        }
    }

    /// Largest body that is let pass, in bytes.
    pub(crate) fn body_max(self) -> u64 {
        match self {
            Self::Nginx => 1 << 20,
            Self::Apache => 1 << 30,
            Self::Lighttpd => u64::MAX,
            Self::Iis => 30_000_000,
        }
    }
}

/// The server that the banner names.
#[derive(Debug, Clone)]
pub(crate) struct Product {
    /// Whose manners.
    pub(crate) family: Family,
    /// The `Server` field.
    pub(crate) banner: String,
    /// Major, minor and patch, as far as the banner tells.
    pub(crate) version: (u16, u16, u16),
    /// Its own idea of its name, in Apache's signature.
    pub(crate) host: String,
    /// Its usual port, in Apache's signature.
    pub(crate) port: u16,
    /// The methods it allows, in the order of Apache's hash table, which differs by installation.
    pub(crate) allow: &'static str,
}

/// An answer, before it takes the shape that this server gives it.
#[derive(Debug, Default)]
pub(crate) struct Reply<'a> {
    /// The status code.
    pub(crate) status: u16,
    /// `Content-Type`; none when empty.
    pub(crate) content_type: Cow<'a, str>,
    /// The content, also of an answer to HEAD.
    pub(crate) body: Cow<'a, [u8]>,
    /// `ETag` and `Last-Modified`.
    pub(crate) validators: Option<(&'a str, &'a str)>,
    /// `Content-Range`.
    pub(crate) range: Option<String>,
    /// `Location`.
    pub(crate) location: Option<String>,
    /// `Set-Cookie`.
    pub(crate) cookie: Option<String>,
    /// `Allow`.
    pub(crate) allow: Option<&'static str>,
    /// Who made this answer: that decides which fields it has.
    pub(crate) from: From,
    /// The connection ends after this answer.
    pub(crate) close: bool,
}

/// Who made an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum From {
    /// The server itself: an error page, a redirect to a folder.
    #[default]
    Server,
    /// The server, too early to say more: Apache leaves the length out.
    Hasty,
    /// A file.
    File,
    /// The application behind the server.
    Application,
}

/// What the connection and the request say about the shape of an answer.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "five independent facts, each named")]
pub(crate) struct Wire<'a> {
    /// `Date`.
    pub(crate) date: &'a str,
    /// HTTP/0.9: no head.
    pub(crate) bare: bool,
    /// HEAD: no body.
    pub(crate) head_only: bool,
    /// The request was HTTP/1.0.
    pub(crate) old: bool,
    /// The connection ends after this answer.
    pub(crate) close: bool,
    /// The client asked in so many words that it be kept.
    pub(crate) keep: bool,
    /// Requests that this connection may still bring.
    pub(crate) left: u32,
}

impl Product {
    /// Takes the banner apart.
    pub(crate) fn new(banner: &str, identity: &Identity, port: u16) -> Self {
        let lower = banner.to_ascii_lowercase();
        let family = match lower.split(['/', ' ']).next().unwrap_or_default() {
            "apache" => Family::Apache,
            "lighttpd" => Family::Lighttpd,
            "microsoft-iis" => Family::Iis,
            _ => Family::Nginx,
        };
        let mut numbers = lower
            .split_once('/')
            .map_or("", |it| it.1)
            .split([' ', '.'])
            .map_while(|it| it.parse::<u16>().ok());
        let mut next = || numbers.next().unwrap_or_default();
        let version = (next(), next(), next());
        // Header values cannot carry line endings.
        let banner = banner.chars().filter(|it| !it.is_control()).collect();
        let allow = match identity.seed % 4 {
            0 => "GET,POST,OPTIONS,HEAD",
            1 => "POST,OPTIONS,HEAD,GET",
            2 => "OPTIONS,HEAD,GET,POST",
            _ => "HEAD,GET,POST,OPTIONS",
        };
        Self { family, banner, version, host: identity.host.clone(), port, allow }
    }

    /// An Apache of the time before 2.4, whose texts differ.
    pub(crate) fn is_old_apache(&self) -> bool {
        self.family == Family::Apache && self.version.0 > 0 && self.version < (2, 4, 0)
    }

    /// The server's own page for `status`.
    pub(crate) fn page(&self, status: u16, head: &Head<'_>) -> Reply<'static> {
        match self.family {
            Family::Nginx => nginx::page(self, status, head, ""),
            Family::Apache => apache::page(self, status, head, ""),
            Family::Lighttpd => lighttpd::page(status),
            Family::Iis => iis::page(status),
        }
    }

    /// The answer to a request that is refused before anybody asks what it wants.
    pub(crate) fn refuse(&self, fault: Fault, head: &Head<'_>) -> Reply<'static> {
        let mut reply = match self.family {
            Family::Nginx => nginx::refuse(self, fault, head),
            Family::Apache => apache::refuse(self, fault, head),
            Family::Lighttpd => lighttpd::page(lighttpd::status_of(fault)),
            Family::Iis => iis::refuse(fault),
        };
        reply.close = true;
        reply
    }

    /// The redirect to a folder's address with its slash; `to` is path and query, `port` where we
    /// listen.
    pub(crate) fn moved(&self, head: &Head<'_>, to: &str, port: u16) -> Reply<'static> {
        let host = head.host().map(|it| String::from_utf8_lossy(it).to_ascii_lowercase());
        let scheme = if self.port == 443 { "https" } else { "http" };
        let named = host.unwrap_or_else(|| self.host.clone());
        let location = match self.family {
            Family::Lighttpd => to.to_owned(),
            // nginx takes the name from the client, and the port from where it listens.
            Family::Nginx => {
                let name = match named.rsplit_once(':') {
                    Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
                    _ => &named,
                };
                let port = if port == self.port { String::new() } else { format!(":{port}") };
                format!("{scheme}://{name}{port}{to}")
            }
            _ => format!("{scheme}://{named}{to}"),
        };
        let reply = match self.family {
            Family::Apache => apache::moved(self, head, &location),
            Family::Lighttpd => Reply { status: 301, ..Reply::default() },
            _ => self.page(301, head),
        };
        Reply { location: Some(location), ..reply }
    }

    /// Whether a request that came without TLS to a port that wants it gets an answer: OpenSSL
    /// knows a request by its first letters, nginx reads it all.
    pub(crate) fn answers_plain(&self, head: &Head<'_>) -> bool {
        let known = matches!(head.method, b"GET" | b"POST" | b"HEAD" | b"PUT");
        match self.family {
            Family::Nginx => true,
            Family::Apache => known && head.fault == Some(Fault::Plain),
            Family::Lighttpd | Family::Iis => false,
        }
    }

    /// The answer as bytes.
    pub(crate) fn write(&self, reply: &Reply<'_>, wire: &Wire<'_>) -> Vec<u8> {
        let body = reply.body.as_ref();
        let mut out = Vec::with_capacity(body.len().saturating_add(512));
        if !wire.bare {
            match self.family {
                Family::Nginx => nginx::head(self, reply, wire, &mut out),
                Family::Apache => apache::head(self, reply, wire, &mut out),
                Family::Lighttpd => lighttpd::head(self, reply, wire, &mut out),
                Family::Iis => iis::head(self, reply, wire, &mut out),
            }
            out.extend_from_slice(b"\r\n");
        }
        if !wire.head_only && reply.status != 304 {
            if self.is_chunked(reply, wire) {
                out.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
                out.extend_from_slice(body);
                out.extend_from_slice(b"\r\n0\r\n\r\n");
            } else {
                out.extend_from_slice(body);
            }
        }
        out
    }

    /// Apache sends its page about a wrong range in chunks.
    fn is_chunked(&self, reply: &Reply<'_>, wire: &Wire<'_>) -> bool {
        self.family == Family::Apache && reply.status == 416 && !wire.old && !wire.head_only
    }

    /// The entity tag of a file of this size and age.
    pub(crate) fn etag(&self, path: &str, size: usize, modified: i64) -> String {
        let micros = modified.saturating_mul(1_000_000);
        match self.family {
            Family::Nginx => format!("\"{modified:x}-{size:x}\""),
            // Apache before 2.4 put the inode first.
            Family::Apache if self.is_old_apache() => {
                format!("\"{:x}-{size:x}-{micros:x}\"", hash(path, modified) % 0xf_ffff)
            }
            Family::Apache => format!("\"{size:x}-{micros:x}\""),
            Family::Lighttpd => {
                let size = i64::try_from(size).unwrap_or_default();
                format!("\"{}\"", hash(path, modified.wrapping_add(size)) % 4_294_967_296)
            }
            // Ticks of 100 ns since 1601.
            Family::Iis => {
                let ticks = modified.saturating_add(11_644_473_600).saturating_mul(10_000_000);
                format!("\"{ticks:x}:0\"")
            }
        }
    }

    /// `Content-Type` of a file, by its ending.
    pub(crate) fn content_type(&self, path: &str) -> &'static str {
        let name = path.rsplit('/').next().unwrap_or_default();
        let end = name.rsplit_once('.').map_or("", |it| it.1).to_ascii_lowercase();
        let nginx = self.family == Family::Nginx;
        match end.as_str() {
            "html" | "htm" => "text/html",
            "css" => "text/css",
            "js" if nginx || self.family == Family::Iis || self.is_old_apache() => "application/javascript",
            "js" | "mjs" => "text/javascript",
            "json" => "application/json",
            "txt" => "text/plain",
            "xml" if nginx || self.family == Family::Iis => "text/xml",
            "xml" => "application/xml",
            "svg" => "image/svg+xml",
            "png" => "image/png",
            "gif" => "image/gif",
            "jpg" | "jpeg" => "image/jpeg",
            "webp" => "image/webp",
            "ico" if self.family == Family::Apache => "image/vnd.microsoft.icon",
            "ico" => "image/x-icon",
            "woff" => "font/woff",
            "woff2" => "font/woff2",
            "pdf" => "application/pdf",
            _ if self.family == Family::Apache => "",
            _ => "application/octet-stream",
        }
    }
}

/// FNV-1a of a path, with a salt.
fn hash(path: &str, salt: i64) -> u64 {
    path.bytes()
        .chain(salt.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Appends `Name: value` and a line ending.
fn line(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends `Content-Length`.
fn length(out: &mut Vec<u8>, length: usize) {
    line(out, "Content-Length", &length.to_string());
}

/// Appends the status line.
fn status_line(out: &mut Vec<u8>, version: &str, status: &str) {
    for part in [version, " ", status, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// `&`, `<`, `>`, `"` and `'` as entities; bytes that are no UTF-8 as they are.
pub(crate) fn html(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            _ => out.push(byte),
        }
    }
}
