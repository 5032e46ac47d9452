//! What is ours and must not leave, although it was a visitor who wrote it: addresses and names of this
//! host and its network, in clear or percent-encoded.

use std::net::IpAddr;
use std::ops::Range;

/// Names that are too common to tell anything of anybody.
const COMMON: &[&str] = &[
    "admin",
    "administrator",
    "debian",
    "guest",
    "home",
    "host",
    "internal",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "opencanary",
    "raspberrypi",
    "root",
    "sensor",
    "serin",
    "server",
    "test",
    "ubuntu",
    "user",
    "vagrant",
];
/// A shorter name stands in many a word.
const SHORTEST: usize = 3;
/// What stands in the place of what is left out.
const LEFT_OUT: &str = "…";
/// A sign may be encoded so often, one around the other.
const ENCODINGS_MAX: usize = 4;

/// Names of ours, in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Own {
    /// Those that the operator listed.
    listed: Vec<String>,
    /// Those that this host is known by, and those of its people.
    found: Vec<String>,
}

impl Own {
    /// The names that the operator listed, and those that this host knows of itself.
    pub(crate) fn new(listed: &[String]) -> Self {
        let host = nix::sys::utsname::uname().map(|it| it.nodename().to_string_lossy().into_owned());
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let mut found = names_of_host(&host.unwrap_or_default());
        found.extend(domains(&read("/etc/resolv.conf")));
        found.extend(people(&read("/etc/passwd")));
        Self::of(listed, found)
    }

    fn of(listed: &[String], found: Vec<String>) -> Self {
        let listed = listed.iter().map(|it| it.to_lowercase()).filter(|it| !it.is_empty()).collect();
        let mut found: Vec<_> = found.into_iter().map(|it| it.to_lowercase()).collect();
        found.retain(|it| it.len() >= SHORTEST && !COMMON.contains(&it.as_str()));
        Self { listed, found }
    }

    /// Takes the names that the operator listed out of a credential. The others stay: somebody who tries
    /// every name there is tries these as well.
    pub(crate) fn clean_credential(&self, text: &str) -> String {
        without(text, self.listed.iter(), &|_| false)
    }

    /// Takes all names out, and the addresses that are to be hidden.
    pub(crate) fn clean(&self, text: &str, hidden: &dyn Fn(IpAddr) -> bool) -> String {
        without(text, self.listed.iter().chain(&self.found), hidden)
    }
}

/// Its whole name, the first part, and its domain.
fn names_of_host(name: &str) -> Vec<String> {
    let (short, domain) = name.split_once('.').unwrap_or((name, ""));
    // A top-level domain alone is nobody's.
    let domain = if domain.contains('.') { domain } else { "" };
    [name, short, domain].map(str::to_owned).to_vec()
}

/// The domains that this host looks names up in.
fn domains(resolver: &str) -> Vec<String> {
    let lines = resolver.lines().map(str::split_whitespace);
    let named = lines.filter_map(|mut it| matches!(it.next()?, "search" | "domain").then_some(it));
    named.flatten().filter(|it| it.contains('.')).map(|it| it.trim_matches('.').to_owned()).collect()
}

/// The accounts of people.
fn people(passwd: &str) -> Vec<String> {
    const PEOPLE: Range<u32> = 1000..60_000;
    let name = |line: &str| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        PEOPLE.contains(&id.parse().ok()?).then(|| name.to_owned())
    };
    passwd.lines().filter_map(name).collect()
}

/// One sign as it is meant, and where it stands.
struct Sign {
    meant: char,
    at: Range<usize>,
}

fn signs(text: &str) -> Vec<Sign> {
    let mut signs = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let at = text.len() - rest.len();
        let (meant, length) = encoded(rest).unwrap_or((first, first.len_utf8()));
        signs.push(Sign { meant, at: at..at + length });
        rest = rest.get(length..).unwrap_or_default();
    }
    signs
}

/// The ASCII sign that is percent-encoded at the beginning, perhaps more than once, and how long that is.
fn encoded(text: &str) -> Option<(char, usize)> {
    let mut rest = text.strip_prefix('%')?;
    for _ in 0..ENCODINGS_MAX {
        let digits = rest.get(..2).filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()))?;
        let byte = u8::from_str_radix(digits, 16).ok()?;
        rest = rest.get(2..)?;
        if byte != b'%' {
            return byte.is_ascii_graphic().then(|| (char::from(byte), text.len() - rest.len()));
        }
    }
    None
}

fn without<'a>(
    text: &str,
    names: impl Iterator<Item = &'a String>,
    hidden: &dyn Fn(IpAddr) -> bool,
) -> String {
    let signs = signs(text);
    let mut hides = addresses(&signs, hidden);
    let lower: Vec<char> = signs.iter().map(|it| it.meant.to_ascii_lowercase()).collect();
    for name in names {
        let name: Vec<char> = name.chars().collect();
        let places = lower.windows(name.len().max(1)).enumerate().filter(|it| it.1 == name);
        let whole = |start: usize, end: usize| {
            let before = start.checked_sub(1).and_then(|it| lower.get(it));
            ![before, lower.get(end)].into_iter().flatten().any(|it| it.is_alphanumeric())
        };
        let ends = places.map(|(start, it)| start..start + it.len());
        hides.extend(ends.filter(|it| whole(it.start, it.end)));
    }
    let mut hide = vec![false; signs.len()];
    for range in hides {
        hide.get_mut(range).unwrap_or_default().fill(true);
    }
    let mut out = String::with_capacity(text.len());
    let mut skipping = false;
    for (sign, hide) in signs.iter().zip(hide) {
        if !hide {
            out.push_str(text.get(sign.at.clone()).unwrap_or_default());
        } else if !skipping {
            out.push_str(LEFT_OUT);
        }
        skipping = hide;
    }
    out
}

/// Where addresses stand that are to be hidden.
fn addresses(signs: &[Sign], hidden: &dyn Fn(IpAddr) -> bool) -> Vec<Range<usize>> {
    let of_address = |it: &Sign| it.meant.is_ascii_hexdigit() || matches!(it.meant, '.' | ':');
    let mut found = Vec::new();
    let mut start = 0;
    for token in signs.chunk_by(|a, b| of_address(a) == of_address(b)) {
        let end = start + token.len();
        let beside = [start.checked_sub(1).and_then(|it| signs.get(it)), signs.get(end)];
        let in_word = beside.into_iter().flatten().any(|it| it.meant.is_alphabetic());
        let text: String = token.iter().map(|it| it.meant).collect();
        if token.first().is_some_and(of_address) && address(&text, in_word).is_some_and(hidden) {
            found.push(start..end);
        }
        start = end;
    }
    found
}

/// An address, with or without a port. In a word it is none of IPv6, and a short one is more often of a
/// program: `Foo::ba`.
fn address(token: &str, in_word: bool) -> Option<IpAddr> {
    const SHORTEST_V6: usize = 6;
    let token = token.trim_end_matches(['.', ':']);
    let host = || token.split_once(':').map_or(token, |it| it.0).parse().ok().map(IpAddr::V4);
    let v6 = || token.parse().ok().filter(|_| !in_word && token.len() >= SHORTEST_V6).map(IpAddr::V6);
    v6().or_else(host)
}

/// All addresses that a text names.
pub(crate) fn named(text: &str) -> Vec<IpAddr> {
    let found = std::cell::RefCell::new(Vec::new());
    addresses(&signs(text), &|it| {
        found.borrow_mut().push(it);
        false
    });
    found.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Own {
        let listed = ["jsmith".to_owned(), "Corp.example".to_owned()];
        Own::of(&listed, ["web-02", "alice", "pi", "ubuntu"].map(str::to_owned).to_vec())
    }

    fn cleaned(text: &str) -> String {
        own().clean(text, &|it| it.to_string().starts_with("10.") || it.is_ipv6())
    }

    #[test]
    fn addresses_are_found_in_clear_and_encoded() {
        for (text, left) in [
            ("http://10.0.0.5:8080/a", "http://…/a"),
            ("to=10%2E0%2e0%2E5&x", "to=…&x"),
            ("to=http%3A%2F%2F10.0.0.5%3A80%2Fa", "to=http%3A%2F%2F…%2Fa"),
            ("%252E 10%252E0%25252E0.5", "%252E …"),
            ("%31%30%2e%30%2e%30%2e%35", "…"),
            ("[fd00%3A%3A12]:80", "[…]:80"),
            ("9.9.9.9 at 12:30:45, v1.2.3.4.5, std::face", "9.9.9.9 at 12:30:45, v1.2.3.4.5, std::face"),
            ("100%, 5%2", "100%, 5%2"),
        ] {
            assert_eq!(cleaned(text), left);
        }
    }

    #[test]
    fn names_are_found_as_whole_words_in_any_spelling() {
        for (text, left) in [
            ("https://mail.corp.EXAMPLE/", "https://mail.…/"),
            ("/home/alice/.ssh", "/home/…/.ssh"),
            ("malice alices", "malice alices"),
            ("u=%6asmith@web-02", "u=…@…"),
            ("pi and ubuntu", "pi and ubuntu"),
            ("ä\u{df}jsmith jsmith\u{e4}", "ä\u{df}jsmith jsmith\u{e4}"),
        ] {
            assert_eq!(cleaned(text), left);
        }
        assert_eq!(own().clean_credential("JSmith"), "…");
        assert_eq!(own().clean_credential("alice 10.0.0.5"), "alice 10.0.0.5");
    }

    #[test]
    fn a_host_knows_its_names() {
        assert_eq!(names_of_host("web-02.corp.example"), ["web-02.corp.example", "web-02", "corp.example"]);
        assert_eq!(names_of_host("web-02"), ["web-02", "web-02", ""]);
        assert_eq!(
            domains("nameserver 9.9.9.9\nsearch corp.example lan\ndomain a.b.\n"),
            ["corp.example", "a.b"]
        );
        let passwd = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nnobody:x:65534:1::/:/\nbroken";
        assert_eq!(people(passwd), ["alice"]);
        assert_eq!(Own::of(&[], vec!["Localhost".into(), "ab".into(), "Alice".into()]).found, ["alice"]);
    }

    #[test]
    fn all_addresses_of_a_text_are_named() {
        let found: Vec<_> =
            named("198.51.100.9:8080, x 2001:db8::1").iter().map(ToString::to_string).collect();
        assert_eq!(found, ["198.51.100.9", "2001:db8::1"]);
    }
}
