//! The settings of reports to DShield: natively, from `dshield.ini`, or as arguments of OpenCanary's
//! handler.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;
use reqwest::Url;
use serde_json::{Value, json};
use serin_services::conf::{Complaint, Conf, Setting};
use serin_services::{choices, settings};

use super::ini::Ini;
use super::request::Account;
use super::schedule::FLOOR;
use super::translation::Translation;
use crate::outputs::delivery::Names;
use crate::outputs::handlers::Reader;
use crate::outputs::secret::Secret;
use crate::outputs::sharing::{address, secure};

choices! {
    /// How many rows a session makes.
    Granularity { Attempt = "attempt", Session = "session" } wants "attempt or session"
}

settings! { "dshield" {
    /// Your number at ISC.
    userid: UserId = UserId(0);
    /// Your key at ISC.
    apikey: Secret = Secret::default();
    /// Where reports go.
    url: String = "https://www.dshield.org/submitapi/".into();
    /// A dshield.ini to take from what is not set here; auto looks where ISC's own client does.
    ini: String = String::new();
    /// Reports only what happened at these ports; empty: at all.
    allowed_ports: Ports = Ports(Vec::new());
    /// Seconds between two posts, at least 60, unless a hundred rows wait. Varied by a tenth.
    interval: Duration = Duration::from_mins(15);
    /// One row for each login, or only the last of a session.
    granularity: Granularity = Granularity::Attempt;
    /// The address or network of this sensor that is replaced in reports; empty: whatever is private.
    honeypot_ip: Network = Network(None);
    /// What replaces it: an address, auto to ask ISC for the public one, or nothing. Without it events at
    /// private addresses are not reported, except logins, whose rows name no destination.
    replace_honeypot_ip: Replacement = Replacement::None;
    /// Then addresses in this network lose the bits outside of anonymize_mask.
    anonymize_ip: Network = Network(None);
    /// The mask for anonymize_ip, such as 255.255.255.0.
    anonymize_mask: Mask = Mask(None);
    /// How many bits remain of the sensor's IPv6 addresses; 0: all.
    anonymize_v6: u16 = 0;
    /// Names of yours that are left out wherever a visitor wrote them: domains, hosts, people. This host's
    /// names, its search domains and its accounts are left out of web requests anyway.
    own_names: Names = Names(Vec::new());
    /// The mail address of your account, for `serin outputs dshield-check` only.
    email: String = String::new();
    /// Where that command asks.
    check_url: String = "https://isc.sans.edu/api/checkapikey".into();
} }

/// A number, also as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UserId(pub(super) u32);

impl Setting for UserId {
    const WANTS: &'static str = "the number of an account at ISC";

    fn read(value: &Value) -> Result<Self, ()> {
        match value {
            Value::String(text) => text.trim().parse().map(Self).map_err(|_| ()),
            other => u32::read(other).map(Self),
        }
    }

    fn show(&self) -> Value {
        json!(self.0)
    }

    fn schema() -> Value {
        json!({ "type": ["integer", "string"] })
    }
}

/// Ports, as a list or as text with commas between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ports(pub(super) Vec<u16>);

impl Setting for Ports {
    const WANTS: &'static str = "a list of ports, or a text such as \"22,23\"";

    fn read(value: &Value) -> Result<Self, ()> {
        match value {
            Value::String(text) if text.trim().is_empty() => Ok(Self::default()),
            Value::String(text) => text
                .split(',')
                .map(|it| it.trim().parse())
                .collect::<Result<_, _>>()
                .map(Self)
                .map_err(|_| ()),
            Value::Array(ports) => ports.iter().map(u16::read).collect::<Result<_, _>>().map(Self),
            other => u16::read(other).map(|it| Self(vec![it])),
        }
    }

    fn show(&self) -> Value {
        json!(self.0)
    }

    fn schema() -> Value {
        json!({ "type": ["array", "string"] })
    }
}

/// A network, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network(pub(super) Option<IpNet>);

impl Setting for Network {
    const WANTS: &'static str = "an address or network such as 10.0.0.0/8, or nothing";

    fn read(value: &Value) -> Result<Self, ()> {
        let text = value.as_str().ok_or(())?.trim();
        if text.is_empty() {
            return Ok(Self(None));
        }
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(|it| Self(Some(it))).map_err(|_| ())
    }

    fn show(&self) -> Value {
        json!(self.0.map(|it| it.to_string()).unwrap_or_default())
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

/// A dotted mask, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mask(pub(super) Option<Ipv4Addr>);

impl Setting for Mask {
    const WANTS: &'static str = "a mask such as 255.255.255.0, or nothing";

    fn read(value: &Value) -> Result<Self, ()> {
        match value.as_str().ok_or(())?.trim() {
            "" => Ok(Self(None)),
            text => text.parse().map(|it| Self(Some(it))).map_err(|_| ()),
        }
    }

    fn show(&self) -> Value {
        json!(self.0.map(|it| it.to_string()).unwrap_or_default())
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

/// What stands for the sensor's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replacement {
    None,
    /// ISC is asked for it.
    Auto,
    Address(Ipv4Addr),
}

impl Setting for Replacement {
    const WANTS: &'static str = "an IPv4 address, auto, or nothing";

    fn read(value: &Value) -> Result<Self, ()> {
        match value.as_str().ok_or(())?.trim() {
            "" => Ok(Self::None),
            "auto" => Ok(Self::Auto),
            text => text.parse().map(Self::Address).map_err(|_| ()),
        }
    }

    fn show(&self) -> Value {
        match self {
            Self::None => json!(""),
            Self::Auto => json!("auto"),
            Self::Address(it) => json!(it.to_string()),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

/// Xavier Mertens' handler: `dshield_userid`, `dshield_authkey`, `allowed_ports`. He posted each login to
/// an interface that is gone; this one goes to its successor, with its manners.
pub(crate) fn from_handler(reader: &mut Reader<'_>) {
    reader.each_event();
    reader.formatter_counts = false;
    reader.required("dshield_authkey", "dshield.apikey", "your key at ISC");
    match reader.take("dshield_userid") {
        Some(value) => reader.conf.set("dshield.userid", value.clone()),
        None => reader.complain("dshield_userid", "is missing: your number at ISC".to_owned()),
    }
    if let Some(value) = reader.take("dshield_url") {
        reader.conf.set("dshield.url", value.clone());
    }
    if let Some(value) = reader.take("allowed_ports") {
        // What he could not read meant port 22.
        let ports = Ports::read(value).unwrap_or_else(|()| Ports(vec![22]));
        reader.conf.set("dshield.allowed_ports", ports.show());
    }
    for (argument, key) in [
        ("replace_honeypot_ip", "dshield.replace_honeypot_ip"),
        ("honeypot_ip", "dshield.honeypot_ip"),
        ("interval", "dshield.interval"),
        ("email", "dshield.email"),
        ("check_url", "dshield.check_url"),
    ] {
        if let Some(value) = reader.take(argument) {
            reader.conf.set(key, value.clone());
        }
    }
}

/// Everything that the settings say, checked.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) account: Account,
    pub(super) url: Url,
    pub(super) check_url: Url,
    pub(super) email: String,
    /// The sensor's identity at ISC, where the file has one.
    pub(super) piid: Option<String>,
    pub(super) translation: Translation,
    pub(super) auto: bool,
    pub(super) settings: Settings,
    pub(super) warning: Option<String>,
}

impl Checked {
    /// # Errors
    ///
    /// Everything that is wrong with the settings.
    pub(super) fn read(conf: &Conf) -> Result<Self, Vec<Complaint>> {
        let mut complaints = Vec::new();
        let own = Settings::read(conf)?;
        let ini = if own.ini.is_empty() { Ok(Ini::default()) } else { Ini::read(&own.ini) };
        let ini = ini.unwrap_or_else(|text| {
            complaints.push(complaint("ini", text));
            Ini::default()
        });
        let settings = Settings::read(&completed(conf, &ini))?;
        let apikey = settings.apikey.reveal_or_complain("dshield.apikey", &mut complaints);
        let url = address("dshield.url", &settings.url, &mut complaints);
        let check_url = secure("dshield.check_url", &settings.check_url, &mut complaints);
        if settings.userid.0 == 0 {
            complaints.push(complaint("userid", "wants your number at ISC".to_owned()));
        }
        let fits = |it: u8| it.is_ascii_alphanumeric() || b"=+/".contains(&it);
        if !settings.apikey.is_empty() && !apikey.is_empty() && !apikey.bytes().all(fits) {
            complaints.push(complaint("apikey", "has characters that no key of ISC's has".to_owned()));
        } else if settings.apikey.is_empty() {
            complaints.push(complaint("apikey", "wants your key at ISC".to_owned()));
        }
        if settings.interval < FLOOR {
            complaints.push(complaint("interval", "wants at least 60 seconds".to_owned()));
        }
        if settings.anonymize_v6 > 128 {
            complaints.push(complaint("anonymize_v6", "wants a number of bits up to 128".to_owned()));
        }
        let (Some(url), Some(check_url), []) = (url, check_url, complaints.as_slice()) else {
            return Err(complaints);
        };
        let translation = Translation {
            honeypot: settings.honeypot_ip.0,
            replacement: match settings.replace_honeypot_ip {
                Replacement::Address(it) => Some(it),
                Replacement::None | Replacement::Auto => None,
            },
            anonymized: settings.anonymize_ip.0,
            mask: settings.anonymize_mask.0,
            prefix_v6: u8::try_from(settings.anonymize_v6).unwrap_or(0),
        };
        Ok(Self {
            account: Account { userid: settings.userid.0, apikey },
            url,
            check_url,
            email: settings.email.clone(),
            piid: ini
                .get("piid")
                .filter(|it| it.bytes().all(|it| it.is_ascii_alphanumeric()))
                .map(str::to_owned),
            translation,
            auto: settings.replace_honeypot_ip == Replacement::Auto,
            settings,
            warning: ini.warning,
        })
    }
}

/// The settings, with those of the file where the configuration says nothing.
fn completed(conf: &Conf, ini: &Ini) -> Conf {
    let mut conf = conf.clone();
    for (key, setting) in [
        ("userid", "dshield.userid"),
        ("apikey", "dshield.apikey"),
        ("email", "dshield.email"),
        ("honeypotip", "dshield.honeypot_ip"),
        ("replacehoneypotip", "dshield.replace_honeypot_ip"),
        ("anonymizeip", "dshield.anonymize_ip"),
        ("anonymizemask", "dshield.anonymize_mask"),
    ] {
        if let Some(value) = ini.get(key).filter(|_| conf.get(setting).is_none()) {
            let value = value.to_owned();
            conf.set(setting, value);
        }
    }
    conf
}

fn complaint(setting: &str, text: String) -> Complaint {
    Complaint { key: format!("dshield.{setting}"), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(more: &[(&str, Value)]) -> Conf {
        let mut conf = Conf::new();
        for (key, value) in [
            ("userid", json!(12345)),
            ("apikey", json!("secretkey")),
            ("url", json!("http://127.0.0.1:1/submitapi/")),
        ] {
            conf.set(format!("dshield.{key}"), value);
        }
        for (key, value) in more {
            conf.set(format!("dshield.{key}"), value.clone());
        }
        conf
    }

    fn wrong(more: &[(&str, Value)]) -> Vec<String> {
        let complaints = Checked::read(&conf(more)).unwrap_err();
        complaints.iter().map(|it| format!("{}: {}", it.key, it.text)).collect()
    }

    #[test]
    fn nothing_is_sent_without_number_and_key_nor_over_open_lines() {
        assert!(Checked::read(&conf(&[])).is_ok());
        assert_eq!(wrong(&[("userid", json!(0))]), ["dshield.userid: wants your number at ISC"]);
        assert_eq!(wrong(&[("apikey", json!(""))]), ["dshield.apikey: wants your key at ISC"]);
        assert_eq!(
            wrong(&[("apikey", json!("a key"))]),
            ["dshield.apikey: has characters that no key of ISC's has"]
        );
        assert_eq!(wrong(&[("interval", json!(59))]), ["dshield.interval: wants at least 60 seconds"]);
        let open = wrong(&[("url", json!("http://www.dshield.org/submitapi/"))]);
        assert_eq!(open, ["dshield.url: wants https; without it only this machine may be named"]);
    }

    #[test]
    fn a_file_of_iscs_client_completes_what_is_not_set() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("dshield.ini");
        std::fs::write(
            &path,
            "[DShield]\nuserid=777\napikey=abc=\nreplacehoneypotip=auto\nhoneypotip=10.0.0.0/8\npiid=00ff\n",
        )
        .unwrap();
        let mut conf = Conf::new();
        conf.set("dshield.ini", path.to_str().unwrap());
        conf.set("dshield.url", "http://localhost:1/submitapi/");
        let read = Checked::read(&conf).unwrap();
        assert_eq!(read.account, Account { userid: 777, apikey: "abc=".into() });
        assert!(read.auto && read.piid.as_deref() == Some("00ff"));
        assert_eq!(read.translation.honeypot, "10.0.0.0/8".parse().ok());
        assert!(read.warning.is_some(), "everybody can read it");
        conf.set("dshield.userid", 12345);
        assert_eq!(Checked::read(&conf).unwrap().account.userid, 12345);
    }

    #[test]
    fn ports_are_a_list_or_a_text() {
        for value in [json!("22,23"), json!(" 22 , 23"), json!([22, 23])] {
            assert_eq!(Ports::read(&value), Ok(Ports(vec![22, 23])), "{value}");
        }
        assert_eq!(Ports::read(&json!(22)), Ok(Ports(vec![22])));
        assert!(Ports::read(&json!("ssh")).is_err() && Ports::read(&json!([70000])).is_err());
    }
}
