//! Where a request's path leads, once decoded and cleared of `.`, `..` and empty segments.

use std::borrow::Cow;

use super::form::hex_pair;
use super::product::Family;

/// What a server says to a path that it does not resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unresolved {
    Bad,
    Forbidden,
    Missing,
}

/// The path as the server looks it up.
pub(crate) fn resolve(path: &[u8], family: Family) -> Result<Cow<'_, [u8]>, Unresolved> {
    let path = path.split(|it| *it == b'#').next().unwrap_or_default();
    let plain = path.windows(2).all(|it| !matches!(it, b"//" | b"/.")) && !path.contains(&b'%');
    let resolved =
        if plain { Cow::Borrowed(path) } else { Cow::Owned(normal(&decoded(path, family)?, family)?) };
    if family == Family::Apache {
        let hidden = resolved.split(|it| *it == b'/').any(|it| it.starts_with(b".ht"));
        let long = resolved.split(|it| *it == b'/').any(|it| it.len() > NAME_MAX);
        let status = resolved.starts_with(b"/server-status") || *resolved == *b"/icons/";
        if hidden || long || status {
            return Err(Unresolved::Forbidden);
        }
    }
    Ok(resolved)
}

fn decoded(path: &[u8], family: Family) -> Result<Vec<u8>, Unresolved> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    let mut missing = false;
    loop {
        rest = match rest {
            [] if missing => return Err(Unresolved::Missing),
            [] => return Ok(out),
            [b'%', high, low, after @ ..] if hex_pair(*high, *low).is_some() => {
                match hex_pair(*high, *low).unwrap_or_default() {
                    0 if family != Family::Apache => return Err(Unresolved::Bad),
                    // Apache hides what could fool a path below it.
                    0 | b'/' if family == Family::Apache => missing = true,
                    byte => out.push(byte),
                }
                after
            }
            [b'%', ..] if family != Family::Lighttpd => return Err(Unresolved::Bad),
            [byte, after @ ..] => {
                out.push(*byte);
                after
            }
        };
    }
}

fn normal(path: &[u8], family: Family) -> Result<Vec<u8>, Unresolved> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in path.split(|it| *it == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                if kept.pop().is_none() && matches!(family, Family::Nginx | Family::Apache) {
                    return Err(Unresolved::Bad);
                }
            }
            _ => kept.push(segment),
        }
    }
    let mut out = Vec::with_capacity(path.len());
    for segment in &kept {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    let folder = path.ends_with(b"/") || path.ends_with(b"/.") || path.ends_with(b"/..");
    if out.is_empty() || folder {
        out.push(b'/');
    }
    Ok(out)
}

/// What Linux's file systems take for one name.
const NAME_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn nginx(path: &str) -> Result<String, Unresolved> {
        resolve(path.as_bytes(), Family::Nginx).map(|it| String::from_utf8_lossy(&it).into_owned())
    }

    #[test]
    fn segments_are_cleared_and_none_leads_outside() {
        for (path, to) in [
            ("/", "/"),
            ("//a/./b/../c/", "/a/c/"),
            ("/a/..", "/"),
            ("/%61%2Fb#x", "/a/b"),
            ("/a..b/.c", "/a..b/.c"),
        ] {
            assert_eq!(nginx(path).as_deref(), Ok(to), "{path}");
        }
        for path in ["/..", "/a/../../b", "/%2e%2e/", "/%00", "/%zz", "/%4", "/%"] {
            assert_eq!(nginx(path), Err(Unresolved::Bad), "{path}");
        }
        assert_eq!(resolve(b"/../x%", Family::Lighttpd).unwrap(), &b"/x%"[..]);
    }

    #[test]
    fn apache_hides_what_it_hides() {
        let apache = |it: &str| resolve(it.as_bytes(), Family::Apache).map(Cow::into_owned);
        assert_eq!(apache("/a%2fb"), Err(Unresolved::Missing));
        assert_eq!(apache("/%00"), Err(Unresolved::Missing));
        assert_eq!(apache("/x/.htaccess"), Err(Unresolved::Forbidden));
        assert_eq!(apache(&format!("/{}", "a".repeat(256))), Err(Unresolved::Forbidden));
        assert_eq!(apache("/%41"), Ok(b"/A".to_vec()));
    }
}
