//! ISC's submit API: what a request looks like and what its answers mean.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use serde_json::{Value, json};

use crate::outputs::Outcome;
use crate::outputs::transport::http::{Answer, Request};

use crate::hex::hex;

/// Who reports.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(super) userid: u32,
    pub(super) apikey: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({})", self.userid)
    }
}

/// Random bytes of one request; never used twice.
pub(super) type Nonce = [u8; 8];

/// The value of `X-ISC-Authorization`, which the body repeats.
pub(super) fn authorization(account: &Account, nonce: Nonce) -> String {
    let nonce = STANDARD.encode(nonce);
    let key = hmac::Key::new(hmac::HMAC_SHA256, format!("{nonce}{}", account.userid).as_bytes());
    let credentials = STANDARD.encode(hmac::sign(&key, account.apikey.as_bytes()));
    format!("ISC-HMAC-SHA256 Credentials={credentials} Userid={} Nonce={nonce}", account.userid)
}

/// One post of rows of one type.
pub(super) fn submit(url: Url, account: &Account, nonce: Nonce, kind: &str, rows: &[Value]) -> Request {
    let header = authorization(account, nonce);
    let body = json!({ "type": kind, "logs": rows, "authheader": header });
    Request::post(url, "application/json", body.to_string().into_bytes())
        .with("X-ISC-Authorization", header)
        .with("X-ISC-LogType", kind)
}

/// What ISC's answer means for all rows of a post. `Ok` is its confirmation.
///
/// # Errors
///
/// [`Outcome::Retry`], or [`Outcome::Hold`]: ISC answers 200 to wrong credentials as well.
pub(super) fn understood(answer: &Answer) -> Result<String, Outcome> {
    const SHOWN: usize = 200;
    match answer.status {
        200..=299 => {}
        429 | 500..=599 | 408 | 425 => {
            return Err(Outcome::Retry { why: answer.told(), after: answer.retry_after() });
        }
        300..=399 => return Err(Outcome::Hold(format!("{}; redirects are not followed", answer.told()))),
        _ => return Err(Outcome::Hold(answer.told())),
    }
    let text = answer.text();
    let text = text.trim();
    let shown: String = text.chars().filter(|it| !it.is_control()).take(SHOWN).collect();
    let html = answer
        .headers
        .get("content-type")
        .and_then(|it| it.to_str().ok())
        .is_some_and(|it| it.to_ascii_lowercase().contains("html"));
    if text.starts_with("ERROR") {
        Err(Outcome::Hold(format!("ISC says: {shown}")))
    } else if text.starts_with("OK") {
        Ok(shown)
    } else if text.starts_with('<') || html {
        Err(Outcome::Hold("the address answers with a web page: it is not the submit API".to_owned()))
    } else {
        Ok(format!("unusual answer: {shown}"))
    }
}

/// The address that tells whether ISC knows the account, and when it last got something.
pub(super) fn account_check(base: &Url, email: &str, apikey: &str, nonce: &str, piid: &str) -> Option<Url> {
    let key = hmac::Key::new(hmac::HMAC_SHA512, nonce.as_bytes());
    let hash = hex(hmac::sign(&key, format!("{email}:{apikey}").as_bytes()).as_ref());
    let email: String = email.bytes().map(percent_encoded).collect();
    let version = env!("CARGO_PKG_VERSION");
    let base = base.as_str().trim_end_matches('/');
    Url::parse(&format!("{base}/{email}/{nonce}/{hash}/{version}/{piid}")).ok()
}

fn percent_encoded(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// One element of ISC's short XML answers.
pub(super) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = xml.split_once(&format!("<{name}>"))?;
    Some(after.split_once(&format!("</{name}>"))?.0.trim())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    fn account(userid: u32, apikey: &str) -> Account {
        Account { userid, apikey: apikey.to_owned() }
    }

    #[test]
    fn credentials_are_those_of_the_known_answers() {
        let nonce: Nonce = STANDARD.decode("ADOUf58prEY=").unwrap().try_into().unwrap();
        assert_eq!(
            authorization(&account(12345, "secretkey"), nonce),
            "ISC-HMAC-SHA256 Credentials=1y5abGdvi8l691fBHtBjHicFThimxHSvZq4JN4Fagz0= Userid=12345 \
             Nonce=ADOUf58prEY="
        );
        assert_eq!(
            authorization(&account(123_456, "abcDEF123="), [0, 1, 2, 3, 4, 5, 6, 7]),
            "ISC-HMAC-SHA256 Credentials=vJq78ZYD+LFlwdv6Qmh/9xnbHl+S1/76nkG4QjS7HDM= Userid=123456 \
             Nonce=AAECAwQFBgc="
        );
    }

    #[test]
    fn a_post_says_its_credentials_twice_and_its_key_never() {
        let url = Url::parse("https://www.dshield.org/submitapi/").unwrap();
        let account = account(12345, "secretkey");
        let request = submit(url, &account, [7; 8], "cowrie", &[json!({ "user": "root" })]);
        let header = |name: &str| request.headers.iter().find(|it| it.0 == name).unwrap().1.clone();
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["authheader"], header("X-ISC-Authorization"));
        assert_eq!((&body["type"], &body["logs"]), (&json!("cowrie"), &json!([{ "user": "root" }])));
        assert_eq!(body.as_object().unwrap().len(), 3);
        assert_eq!(header("X-ISC-LogType"), "cowrie");
        assert_eq!(header("Content-Type"), "application/json");
        assert_eq!(request.url.path(), "/submitapi/");
        assert!(!format!("{request:?} {account:?}").contains("secretkey"));
    }

    fn answer(status: u16, kind: &str, body: &str) -> Result<String, Outcome> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", kind.parse().unwrap());
        headers.insert("retry-after", "120".parse().unwrap());
        understood(&Answer { status, headers, body: body.as_bytes().to_vec(), cut: false })
    }

    #[test]
    fn a_refusal_is_no_confirmation_although_its_status_is_200() {
        let text = "text/plain";
        assert_eq!(answer(200, text, "OK 217 Bytes received\n").unwrap(), "OK 217 Bytes received");
        assert_eq!(
            answer(200, text, "ERROR: no authinfo").unwrap_err(),
            Outcome::Hold("ISC says: ERROR: no authinfo".into())
        );
        for (kind, body) in [(text, "<!DOCTYPE html>"), ("text/html; charset=utf-8", "Welcome")] {
            assert!(matches!(answer(200, kind, body).unwrap_err(), Outcome::Hold(_)), "{body}");
        }
        assert_eq!(answer(200, text, "thanks").unwrap(), "unusual answer: thanks");
        for status in [429, 500, 503] {
            let Outcome::Retry { after, .. } = answer(status, text, "").unwrap_err() else {
                panic!("{status}")
            };
            assert_eq!(after.unwrap().as_secs(), 120);
        }
        for status in [301, 302, 400, 401, 403, 404] {
            assert!(matches!(answer(status, text, "OK").unwrap_err(), Outcome::Hold(_)), "{status}");
        }
    }

    #[test]
    fn the_account_check_is_that_of_the_known_answer() {
        let base = Url::parse("https://isc.sans.edu/api/checkapikey").unwrap();
        let url =
            account_check(&base, "me@example.com", "abcDEF123=", "0123456789abcdef0123", "00ff").unwrap();
        assert_eq!(
            url.as_str(),
            format!(
                "https://isc.sans.edu/api/checkapikey/me%40example.com/0123456789abcdef0123/eff63dcaf836b164e5f1\
                 ece252bf9400094529480ecd229306fb458c80314f52f69d500a60af81eb9bdb52b68944fde429004dafcf76d605477612\
                 ad81fedf45/{}/00ff",
                env!("CARGO_PKG_VERSION")
            )
        );
        let xml = "<?xml version=\"1.0\"?><apikey><result>ok</result><id>12345</id></apikey>";
        assert_eq!(
            (element(xml, "result"), element(xml, "id"), element(xml, "no")),
            (Some("ok"), Some("12345"), None)
        );
    }
}
