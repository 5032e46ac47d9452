//! Outputs that tell others about attackers. What may be told is decided in one place: `policy`.

pub(crate) mod abuseipdb;
pub(crate) mod crowdsec;
pub(crate) mod dshield;
pub(crate) mod misp;
mod own;
pub(crate) mod policy;

use std::net::IpAddr;

use reqwest::Url;
use serin_services::conf::Complaint;

use super::OutputConf;
use super::transport::{http, loopback_only};
use crate::config::{Honeycreds, Ignore};

/// Hands to the outputs that share what they must know to keep to themselves: `ip.ignorelist`, because
/// what the operator does not want to hear of, others need not hear either, also where it was recorded
/// before it stood there; and where there is bait that only a hash tells.
pub(crate) fn respect(ignore: &Ignore, honeycreds: &Honeycreds, outputs: &mut [OutputConf]) {
    let nets: Vec<_> = ignore.nets().map(ToString::to_string).collect();
    let baited: Vec<_> = honeycreds.hashed().map(|it| it.unwrap_or(policy::EVERYWHERE)).collect();
    for output in outputs.iter_mut().filter(|it| it.output.setting("admin_nets").is_some()) {
        if !nets.is_empty() {
            output.conf.set(policy::IGNORED, nets.clone());
        }
        if !baited.is_empty() {
            output.conf.set(policy::BAITED, baited.clone());
        }
    }
}

/// An address that credentials may go to: https, or this machine.
fn secure(key: &str, text: &str, complaints: &mut Vec<Complaint>) -> Option<Url> {
    match http::url(key, text) {
        Ok(url) if url.scheme() == "https" || is_local(&url) => Some(url),
        Ok(_) => {
            let text = "wants https; without it only this machine may be named".to_owned();
            complaints.push(Complaint { key: key.to_owned(), text });
            None
        }
        Err(it) => {
            complaints.push(it);
            None
        }
    }
}

/// The same for an address that reports go to: under test to this machine alone.
fn address(key: &str, text: &str, complaints: &mut Vec<Complaint>) -> Option<Url> {
    let url = secure(key, text, complaints)?;
    if loopback_only() && !is_local(&url) {
        let text = "SERIN_TEST=1 forbids to report to anybody but this machine".to_owned();
        complaints.push(Complaint { key: key.to_owned(), text });
        return None;
    }
    Some(url)
}

fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}
