//! Whether ISC knows the account, and when it last got reports: asked only when the operator asks.

use aws_lc_rs::digest::{SHA256, digest};
use serin_services::conf::Conf;

use super::request::{self, element};
use super::settings::Checked;
use crate::hex::hex;
use crate::outputs::transport::http::{Http, Request};

/// ISC's word on the account of these settings, for a person.
///
/// # Errors
///
/// Why there is none, or that ISC does not know the account.
pub(crate) async fn account_check(conf: &Conf) -> Result<String, String> {
    let told = |complaints: Vec<serin_services::conf::Complaint>| {
        complaints.iter().map(|it| format!("{}: {}", it.key, it.text)).collect::<Vec<_>>().join("; ")
    };
    let checked = Checked::read(conf).map_err(told)?;
    let http = Http::new(conf).map_err(told)?;
    if checked.email.is_empty() {
        return Err("dshield.email: the check wants the mail address of the account".to_owned());
    }
    let clean = |it: String| it.replace(&checked.account.apikey, "…");
    let mut nonce = [0; 10];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| "the system gives no random numbers".to_owned())?;
    let piid = checked.piid.clone().unwrap_or_else(|| sensor(checked.account.userid));
    let url = request::account_check(
        &checked.check_url,
        &checked.email,
        &checked.account.apikey,
        &hex(&nonce),
        &piid,
    )
    .ok_or("dshield.check_url: wants an address")?;
    let request = Request::get(url);
    let answer = http.send(request).await.map_err(|it| clean(format!("{it:?}")))?;
    let xml = answer.text();
    if !(200..=299).contains(&answer.status) || element(&xml, "result") != Some("ok") {
        return Err(clean(format!("ISC does not confirm the account: {}", answer.told())));
    }
    let id = element(&xml, "id").unwrap_or_default();
    if id != checked.account.userid.to_string() {
        return Err(clean(format!("the key belongs to the account {id}, not to {}", checked.account.userid)));
    }
    let last = |name: &str| element(&xml, name).filter(|it| !it.is_empty()).unwrap_or("never").to_owned();
    Ok(clean(format!(
        "ISC knows the account {id}; last logins {}, last web requests {}, last firewall rows {}",
        last("lastssh"),
        last("last404"),
        last("lastreport")
    )))
}

/// A name for this sensor that tells nothing about it, and stays the same.
fn sensor(userid: u32) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let text = format!("serin sensor {userid} {}", host.trim());
    hex(digest(&SHA256, text.as_bytes()).as_ref()).chars().take(20).collect()
}
