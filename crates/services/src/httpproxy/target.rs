//! What a request asks a forward proxy for, as Squid 5.7 spells it out in its pages.

use crate::wire::split_once;

/// What became of a request target.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The URL in Squid's spelling: scheme and host in lower case, no port that goes without saying.
    Url(Vec<u8>),
    /// A URL of a scheme that Squid knows and does not fetch.
    NotFetched(Vec<u8>),
    /// No URL.
    Invalid,
}

impl Target {
    /// Reads the target of a request; `own` is the proxy's own name and port, `with_host` whether
    /// the request has a Host header.
    pub(super) fn parse(method: &[u8], target: &[u8], own: &str, with_host: bool) -> Self {
        let parsed = match method {
            b"CONNECT" => connect(target),
            b"OPTIONS" | b"TRACE" if target == b"*" => {
                return Self::NotFetched(if with_host {
                    b"http://:80*".to_vec()
                } else {
                    b"http://*".to_vec()
                });
            }
            _ => absolute(target, own),
        };
        match parsed {
            Some((_, url)) if url.len() >= URL_MAX => Self::Invalid,
            Some((true, url)) => Self::Url(url),
            Some((false, url)) => Self::NotFetched(url),
            None => Self::Invalid,
        }
    }
}

/// `example.com:443`; told as a URL where the port is HTTPS's.
fn connect(target: &[u8]) -> Option<(bool, Vec<u8>)> {
    let (host, port) = match target.strip_prefix(b"[").and_then(|it| split_once(it, b']')) {
        Some((_, after)) => {
            let (host, _) = target.split_at_checked(target.len().checked_sub(after.len())?)?;
            (host, after.strip_prefix(b":").unwrap_or_default())
        }
        None => split_once(target, b':').unwrap_or((target, &[])),
    };
    let digits = port.iter().take_while(|it| it.is_ascii_digit()).count();
    let port = number(port.get(..digits)?, HTTPS_PORT)?;
    let mut url = host.to_ascii_lowercase();
    if url.is_empty() {
        return None;
    }
    if port == HTTPS_PORT {
        url.splice(0..0, *b"https://");
        url.extend_from_slice(b"/*");
    } else {
        url.extend_from_slice(format!(":{port}").as_bytes());
    }
    Some((true, url))
}

/// `http://example.com/`, or a page of the proxy's own; whether Squid would fetch it, and the URL.
fn absolute(target: &[u8], own: &str) -> Option<(bool, Vec<u8>)> {
    if target.starts_with(OWN_PAGES) {
        return Some((true, [b"http://", own.as_bytes(), &without_blanks(target)].concat()));
    }
    let at = memchr::memmem::find(target, b"://")?;
    let (scheme, rest) = target.split_at_checked(at)?;
    let scheme = scheme.to_ascii_lowercase();
    let &(_, default, fetched) = SCHEMES.iter().find(|it| it.0.as_bytes() == scheme.as_slice())?;
    let rest = rest.get(3..)?;
    let end = rest.iter().position(|it| b"/?# \t\r".contains(it)).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let (user, host) = match memchr::memrchr(b'@', authority).and_then(|at| authority.split_at_checked(at)) {
        Some((user, host)) => (user, host.get(1..)?),
        None => (&[][..], authority),
    };
    let (host, port) = split_port(host)?;
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix(b".").unwrap_or(&host);
    if host.is_empty() || host.starts_with(b".") || memchr::memmem::find(host, b"..").is_some() {
        return None;
    }
    let port = number(port, default)?;
    let mut path = without_blanks(path);
    if path.first() != Some(&b'/') {
        path.insert(0, b'/');
    }
    if path.starts_with(OWN_PICTURES) {
        return Some((true, [b"http://", own.as_bytes(), &path].concat()));
    }
    let mut url = [&scheme, &b"://"[..]].concat();
    if scheme == b"ftp" && !user.is_empty() {
        url.extend_from_slice(user);
        url.push(b'@');
    }
    url.extend_from_slice(host);
    if port != default {
        url.extend_from_slice(format!(":{port}").as_bytes());
    }
    url.extend_from_slice(&path);
    Some((fetched, url))
}

/// Host and port of an authority; an IPv6 address stands in brackets.
fn split_port(authority: &[u8]) -> Option<(&[u8], &[u8])> {
    if authority.starts_with(b"[") {
        let end = memchr::memchr(b']', authority)?.checked_add(1)?;
        let (host, after) = authority.split_at_checked(end)?;
        return Some((host, after.strip_prefix(b":").unwrap_or_default()));
    }
    Some(split_once(authority, b':').unwrap_or((authority, &[])))
}

/// A port; `default` where none is written.
fn number(text: &[u8], default: u16) -> Option<u16> {
    if text.is_empty() {
        return Some(default);
    }
    std::str::from_utf8(text).ok()?.parse().ok().filter(|&it| it != 0)
}

/// Squid takes blanks out of a path.
fn without_blanks(path: &[u8]) -> Vec<u8> {
    path.iter().copied().filter(|it| !b" \t\r".contains(it)).collect()
}

/// Scheme, usual port, and whether it is fetched. Squid has more, but no client to speak of.
const SCHEMES: &[(&str, u16, bool)] = &[
    ("http", 80, true),
    ("https", HTTPS_PORT, true),
    ("ftp", 21, true),
    ("wais", 210, true),
    ("whois", 43, true),
    ("cache_object", 80, true),
    ("coap", 5683, false),
    ("coaps", 5684, false),
];
const HTTPS_PORT: u16 = 443;
const OWN_PAGES: &[u8] = b"/squid-internal-";
const OWN_PICTURES: &[u8] = b"/squid-internal-static/";
/// A URL must be shorter.
const URL_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    /// The spelling, marked where it is not fetched; empty for what is no URL.
    fn spelt(method: &str, target: &str) -> String {
        match Target::parse(method.as_bytes(), target.as_bytes(), "srv-files:3128", true) {
            Target::Url(url) => String::from_utf8(url).unwrap(),
            Target::NotFetched(url) => format!("not {}", String::from_utf8(url).unwrap()),
            Target::Invalid => String::new(),
        }
    }

    #[test]
    fn urls_are_spelt_as_squid_spells_them() {
        for (target, url) in [
            ("http://example.com", "http://example.com/"),
            ("HTTP://EXAMPLE.com:80/A?b", "http://example.com/A?b"),
            ("http://example.com:8080/x y", "http://example.com:8080/xy"),
            ("http://u:p@example.com/x", "http://example.com/x"),
            ("ftp://u:p@example.com/", "ftp://u:p@example.com/"),
            ("http://a@b@c/", "http://c/"),
            ("http://a./", "http://a/"),
            ("http://a?b", "http://a/?b"),
            ("http://[::1]:81/x", "http://[::1]:81/x"),
            ("http://exa mple.com/", "http://exa/mple.com/"),
            ("https://A:443/", "https://a/"),
            ("/squid-internal-mgr/menu", "http://srv-files:3128/squid-internal-mgr/menu"),
            (
                "http://127.0.0.1:3128/squid-internal-static/i.png",
                "http://srv-files:3128/squid-internal-static/i.png",
            ),
            ("coap://a/", "not coap://a/"),
        ] {
            assert_eq!(spelt("GET", target), url, "{target}");
        }
        for target in [
            "/",
            "*",
            "x",
            "//x/y",
            "http:/x",
            "http://",
            "http:///",
            "http://u@/",
            "gopher://x/",
            "urn:a:b",
            "http://a:0/",
            "http://a:99999/",
            "http://a:b/",
            "http://a..b/",
            "http://.a/",
            "1http://a/",
        ] {
            assert_eq!(spelt("GET", target), "", "{target}");
        }
        assert_eq!(spelt("OPTIONS", "*"), "not http://:80*");
        assert_eq!(spelt("GET", &format!("http://a/{}", "a".repeat(8182))).len(), 8191);
        assert_eq!(spelt("GET", &format!("http://a/{}", "a".repeat(8183))), "");
    }

    #[test]
    fn connect_takes_a_host_and_a_port() {
        for (target, url) in [
            ("example.com:443", "https://example.com/*"),
            ("A.b:", "https://a.b/*"),
            ("a.b:80", "a.b:80"),
            ("[::1]:443", "https://[::1]/*"),
            ("http://example.com/", "https://http/*"),
            ("/", "https:////*"),
            ("a.b:443/x", "https://a.b/*"),
            (":443", ""),
            ("a.b:0", ""),
            ("a.b:99999", ""),
        ] {
            assert_eq!(spelt("CONNECT", target), url, "{target}");
        }
    }
}
