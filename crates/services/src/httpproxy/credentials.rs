//! What a client says in `Proxy-Authorization`: RFC 7617 (Basic), RFC 7616 (Digest), RFC 4559
//! (Negotiate) and Microsoft's NTLM over HTTP.

use super::ntlm;
use crate::http_syntax::{auth_parameter, base64_decoded, basic};

/// What a client can be offered to log in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Basic,
    Digest,
    Ntlm,
    Negotiate,
}

impl Scheme {
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Basic, Self::Digest, Self::Ntlm, Self::Negotiate]
            .into_iter()
            .find(|it| it.name().eq_ignore_ascii_case(name))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Basic => "Basic",
            Self::Digest => "Digest",
            Self::Ntlm => "NTLM",
            Self::Negotiate => "Negotiate",
        }
    }
}

/// What came of a `Proxy-Authorization` header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    /// The first step of NTLM: the client wants a challenge.
    Asks { scheme: Scheme, flags: u32, wrapped: bool },
    /// A login. `scheme` is what the client calls it.
    Login(Login),
}

/// What a client tried to log in with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) scheme: Vec<u8>,
    pub(super) user: Vec<u8>,
    /// Empty where the scheme hides it.
    pub(super) password: Vec<u8>,
    /// NTLM: domain and workstation.
    pub(super) ntlm: Option<Vec<u8>>,
    /// Whether everything of worth is in the other fields, so that the header need not be kept.
    pub(super) told: bool,
}

impl Credentials {
    /// Reads the header's value; `None` where it has no token, as OpenCanary has it.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let (scheme, rest) = word(value);
        let (token, _) = word(rest);
        if token.is_empty() {
            return None;
        }
        let login = |user: &[u8], password: &[u8], ntlm, told| {
            let (scheme, user, password) = (scheme.to_vec(), user.to_vec(), password.to_vec());
            Some(Self::Login(Login { scheme, user, password, ntlm, told }))
        };
        let known = std::str::from_utf8(scheme).ok().and_then(Scheme::named);
        match known {
            Some(Scheme::Basic) => {
                let Some((user, password)) = basic(token) else { return login(UNREADABLE, b"", None, false) };
                login(&user, &password.unwrap_or_default(), None, true)
            }
            Some(Scheme::Digest) => match auth_parameter(rest, b"username") {
                Some(user) => login(&user, b"", None, false),
                None => login(UNREADABLE, b"", None, false),
            },
            Some(it @ (Scheme::Ntlm | Scheme::Negotiate)) => {
                match base64_decoded(token).as_deref().and_then(ntlm::Message::find) {
                    Some((ntlm::Message::Negotiate { flags }, wrapped)) => {
                        Some(Self::Asks { scheme: it, flags, wrapped })
                    }
                    Some((ntlm::Message::Authenticate { domain, user, workstation }, _)) => {
                        let more = [b"domain=", domain.as_slice(), b"; workstation=", &workstation].concat();
                        login(&user, b"", Some(more), true)
                    }
                    None => login(UNREADABLE, b"", None, false),
                }
            }
            None => login(UNREADABLE, b"", None, false),
        }
    }
}

/// The first word, and what follows it.
fn word(bytes: &[u8]) -> (&[u8], &[u8]) {
    let bytes = bytes.trim_ascii_start();
    let end = bytes.iter().position(u8::is_ascii_whitespace).unwrap_or(bytes.len());
    bytes.split_at_checked(end).unwrap_or((bytes, &[]))
}

/// What OpenCanary writes for the user of every login.
const UNREADABLE: &[u8] = b"Invalid auth-token submitted";

#[cfg(test)]
mod tests {
    use super::*;

    fn login(value: &str) -> Option<(String, String, bool)> {
        match Credentials::parse(value.as_bytes())? {
            Credentials::Login(it) => Some((
                String::from_utf8_lossy(&it.user).into_owned(),
                String::from_utf8_lossy(&it.password).into_owned(),
                it.told,
            )),
            other @ Credentials::Asks { .. } => panic!("{value}: {other:?}"),
        }
    }

    fn said(user: &str, password: &str, told: bool) -> (String, String, bool) {
        (user.to_owned(), password.to_owned(), told)
    }

    #[test]
    fn basic_is_decoded_and_split_at_the_first_colon() {
        assert_eq!(login("Basic YWxpY2U6YTpi"), Some(said("alice", "a:b", true)));
        assert_eq!(login("basic   YWxpY2U6YTpi  x"), Some(said("alice", "a:b", true)));
        assert_eq!(login("BASIC YWxpY2U"), Some(said("alice", "", true)));
        assert_eq!(login("Basic OnA="), Some(said("", "p", true)));
    }

    #[test]
    fn what_cannot_be_read_keeps_opencanarys_words() {
        for value in ["Basic !!!!", "Bearer abc", "Digest realm=\"x\"", "NTLM xx", "Negotiate YIIabc=="] {
            assert_eq!(login(value), Some(said("Invalid auth-token submitted", "", false)), "{value}");
        }
        for value in ["", "Basic", "Basic  "] {
            assert_eq!(login(value), None, "{value}");
        }
    }

    #[test]
    fn a_digest_names_its_user() {
        let value = r#"Digest realm="a, username=b", username="al\"ice", nonce="n", qop=auth"#;
        assert_eq!(login(value), Some(said("al\"ice", "", false)));
        assert_eq!(login("Digest nonce=n, username=bob"), Some(said("bob", "", false)));
    }
}
