//! HTTPS: the web server of [`http`](crate::http) behind TLS, with a skin and a certificate of its
//! own.

use crate::conf::{Complaint, Conf};
use crate::probe::Probe;
use crate::{Certificate, Listening, Service, Tls, http, settings};

/// See this module.
pub(crate) static SERVICE: Service = Service {
    name: "https",
    about: "A web server with a login page, behind TLS",
    opencanary: Some(("CanaryHTTPS", "https")),
    port: 443,
    opencanary_port: 443,
    keys: Settings::KEYS,
    events: http::EVENTS,
    backlog: http::BACKLOG,
    idle: http::IDLE,
    probe: Probe { tls: true, ..http::PROBE },
    build,
};

settings! { "https" {
    /// Which login page is shown: nasLogin or basicLogin, or any name for the one in `http.skindir`.
    skin: String = "nasLogin".into(), opencanary "basicLogin";
    /// PEM file of the certificate chain; made when it and the key are missing. Empty: kept in the
    /// state directory.
    certificate: String = String::new(), opencanary "/etc/ssl/opencanary/opencanary.pem";
    /// PEM file of the certificate's key. Empty: kept in the state directory.
    key: String = String::new(), opencanary "/etc/ssl/opencanary/opencanary.key";
    /// The name that a certificate is made for. Empty: the host's own.
    domain_name: String = String::new();
} }

fn build(conf: &Conf) -> Result<Vec<Listening>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let files = match (settings.certificate.is_empty(), settings.key.is_empty()) {
        (true, true) => None,
        (false, false) => Some((settings.certificate, settings.key)),
        (given, _) => {
            let (key, other) =
                if given { ("https.certificate", "https.key") } else { ("https.key", "https.certificate") };
            let text = format!("wants a file, since {other} names one");
            return Err(vec![Complaint { key: key.to_owned(), text }]);
        }
    };
    let name = Some(settings.domain_name).filter(|it| !it.is_empty());
    let open = http::site(conf, settings.skin, "https.skin", 443)?;
    let mut listening = Listening::tcp(&SERVICE, conf, open);
    for one in &mut listening {
        one.tls = Tls::AtOnce(Certificate { files: files.clone(), name: name.clone(), alpn: &[b"http/1.1"] });
    }
    Ok(listening)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_kept_by_us_unless_files_are_named() {
        let tls = |conf: &Conf| build(conf).map(|it| it[0].tls.clone());
        let ours = Certificate { files: None, name: None, alpn: &[b"http/1.1"] };
        assert_eq!(tls(&Conf::new()), Ok(Tls::AtOnce(ours.clone())));
        let mut conf = Conf::new();
        conf.set("https.certificate", "/a.pem");
        assert_eq!(tls(&conf).unwrap_err()[0].text, "wants a file, since https.certificate names one");
        conf.set("https.key", "/a.key");
        conf.set("https.domain_name", "nas.example");
        let files = Some(("/a.pem".to_owned(), "/a.key".to_owned()));
        assert_eq!(
            tls(&conf),
            Ok(Tls::AtOnce(Certificate { files, name: Some("nas.example".to_owned()), ..ours }))
        );
    }
}
