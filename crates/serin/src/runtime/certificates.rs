//! Certificates that decoys show: read where the operator has some, made otherwise.
//!
//! A made one is what Debian makes when a web server is installed: self-signed for the host's name,
//! with an RSA-2048 key. Nothing in it is the same on two installations, and very many hosts have one
//! like it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, RsaKeySize, SerialNumber,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serin_services::Certificate;
use serin_services::conf::Identity;

use crate::state::{StateDir, write_private};

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}")]
pub(crate) struct CertificateError {
    path: String,
    why: String,
}

/// The certificates of a sensor, as rustls needs them.
pub(crate) struct Certificates {
    state: StateDir,
    identity: Identity,
    loaded: Vec<(Certificate, Arc<ServerConfig>)>,
}

impl Certificates {
    /// None yet.
    pub(crate) fn new(state: StateDir, identity: Identity) -> Self {
        Self { state, identity, loaded: Vec::new() }
    }

    /// Who the certificates speak of.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The certificate that is wanted, read anew. Where that fails, as it does with a key that only
    /// root may read once we are not root any more, the one read before serves on.
    pub(crate) fn get(&mut self, wanted: &Certificate) -> Result<Arc<ServerConfig>, CertificateError> {
        let before = self.loaded.iter().position(|it| it.0 == *wanted);
        match (server_config(wanted, &self.state, &self.identity), before) {
            (Ok(config), Some(at)) => {
                self.loaded[at].1 = config.clone();
                Ok(config)
            }
            (Ok(config), None) => {
                self.loaded.push((wanted.clone(), config.clone()));
                Ok(config)
            }
            (Err(_), Some(at)) => Ok(self.loaded[at].1.clone()),
            (Err(error), None) => Err(error),
        }
    }
}

/// What rustls needs to show this certificate; made and kept first where there is none.
fn server_config(
    wanted: &Certificate,
    state: &StateDir,
    identity: &Identity,
) -> Result<Arc<ServerConfig>, CertificateError> {
    let name = wanted.name.clone().unwrap_or_else(|| identity.host.clone());
    let (chain, key) = match &wanted.files {
        Some((chain, key)) => (PathBuf::from(chain), PathBuf::from(key)),
        None => (
            state.certificate(&format!("{}.pem", safe(&name))),
            state.certificate(&format!("{}.key", safe(&name))),
        ),
    };
    if !chain.exists() && !key.exists() {
        make(&chain, &key, &name)?;
    }
    let wrong = |path: &Path, why: &dyn std::fmt::Display| CertificateError {
        path: path.display().to_string(),
        why: why.to_string(),
    };
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(&chain).and_then(Iterator::collect).map_err(|it| wrong(&chain, &it))?;
    let private = PrivateKeyDer::from_pem_file(&key).map_err(|it| wrong(&key, &it))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|it| wrong(&chain, &it))?
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .map_err(|it| wrong(&chain, &it))?;
    config.alpn_protocols = wanted.alpn.iter().map(|it| it.to_vec()).collect();
    Ok(Arc::new(config))
}

/// Makes a key and a certificate for `name`.
fn make(chain: &Path, key: &Path, name: &str) -> Result<(), CertificateError> {
    let wrong = |why: &dyn std::fmt::Display| CertificateError {
        path: chain.display().to_string(),
        why: format!("could not be made: {why}"),
    };
    let (certificate, private) = generate(name).map_err(|it| wrong(&it))?;
    for (path, text) in [(key, private), (chain, certificate)] {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|it| wrong(&it))?;
        }
        write_private(path, text.as_bytes()).map_err(|it| wrong(&it))?;
    }
    Ok(())
}

/// What `make-ssl-cert` of Debian's ssl-cert 1.1 makes for the host when a web server is installed:
/// the same fields and extensions in the same order, made up to a year ago.
fn generate(name: &str) -> Result<(String, String), rcgen::Error> {
    const DAY: u64 = 86_400;
    let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048)?;
    let now = u64::try_from(super::clock::now().0 / 1_000_000).unwrap_or_default();
    let age = u64::from_le_bytes(random()) % (365 * DAY);
    let begin = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now.saturating_sub(age));

    let mut wanted = CertificateParams::default();
    wanted.distinguished_name = DistinguishedName::new();
    wanted.distinguished_name.push(DnType::CommonName, name);
    (wanted.not_before, wanted.not_after) = (begin, begin + Duration::from_secs(3650 * DAY));
    let mut serial: [u8; 20] = random();
    serial[0] &= 0x7f;
    wanted.serial_number = Some(SerialNumber::from_slice(&serial));
    let printable: String = name.chars().filter(char::is_ascii_graphic).take(120).collect();
    let key_id = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key.public_key_raw());
    let extension = |last, content| CustomExtension::from_oid_content(&[2, 5, 29, last], content);
    wanted.custom_extensions = vec![
        extension(BASIC_CONSTRAINTS, vec![0x30, 0]),
        extension(SUBJECT_ALT_NAME, der(0x30, &der(DNS_NAME, printable.as_bytes()))),
        extension(SUBJECT_KEY_IDENTIFIER, der(0x04, key_id.as_ref())),
    ];
    let certificate = wanted.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// One DER value shorter than 128 bytes: X.690, section 8.1.3.4.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap_or(0x7f);
    [&[tag, length][..], content].concat()
}

/// Bytes from the system's random source; fixed ones where it fails, since a decoy's certificate
/// guards nothing.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0x5a; N];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}

const SUBJECT_KEY_IDENTIFIER: u64 = 14;
const SUBJECT_ALT_NAME: u64 = 17;
const BASIC_CONSTRAINTS: u64 = 19;
const DNS_NAME: u8 = 0x82;

/// `name` as part of a file name.
fn safe(name: &str) -> String {
    name.chars()
        .map(|it| if it.is_ascii_alphanumeric() || matches!(it, '-' | '.') { it } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::choose(Some(folder.path()));
        state.create().unwrap();
        let identity = Identity { host: "srv-files03".to_owned(), seed: 77 };
        let wanted = Certificate { files: None, name: None, alpn: &[b"http/1.1"] };
        let mut certificates = Certificates::new(state.clone(), identity);
        let config = certificates.get(&wanted).unwrap();
        assert_eq!(config.alpn_protocols, [b"http/1.1".to_vec()]);
        let path = state.certificate("srv-files03.key");
        let key = std::fs::read(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        certificates.get(&wanted).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), key, "the second start made another key");
        std::fs::write(&path, "not readable any more").unwrap();
        assert!(certificates.get(&wanted).is_ok(), "the one that was read serves on");
    }

    #[test]
    fn an_unusable_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::choose(Some(folder.path()));
        let chain = folder.path().join("x.pem").display().to_string();
        std::fs::write(&chain, "no certificate").unwrap();
        let wanted = Certificate { files: Some((chain.clone(), chain.clone())), name: None, alpn: &[] };
        let error = server_config(&wanted, &state, &Identity::default()).unwrap_err().to_string();
        assert!(error.starts_with(&chain), "{error}");
    }
}
