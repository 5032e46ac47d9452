//! Certificates that decoys show: read where the operator has some, made otherwise.
//!
//! A made one is what a small office's own CA would issue: RSA-2048, a name and SAN that fit the
//! host, a year of validity that began before today, and nothing that is the same on two
//! installations.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, RsaKeySize, SanType, SerialNumber,
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
        make(&chain, &key, &name, identity)?;
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

/// Makes a key and a certificate for `name`, signed by a CA of its own that nobody keeps.
fn make(chain: &Path, key: &Path, name: &str, identity: &Identity) -> Result<(), CertificateError> {
    let wrong = |why: &dyn std::fmt::Display| CertificateError {
        path: chain.display().to_string(),
        why: format!("could not be made: {why}"),
    };
    let (leaf_pem, key_pem) = generate(name, identity).map_err(|it| wrong(&it))?;
    for (path, text) in [(key, key_pem), (chain, leaf_pem)] {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|it| wrong(&it))?;
        }
        write_private(path, text.as_bytes()).map_err(|it| wrong(&it))?;
    }
    Ok(())
}

fn generate(name: &str, identity: &Identity) -> Result<(String, String), rcgen::Error> {
    let algorithm = &rcgen::PKCS_RSA_SHA256;
    let ca_key = KeyPair::generate_rsa_for(algorithm, RsaKeySize::_2048)?;
    let leaf_key = KeyPair::generate_rsa_for(algorithm, RsaKeySize::_2048)?;
    let today = super::clock::now().datetime(0).date();
    // Issued some months ago, as certificates found on a running host are.
    let months = 1 + i32::from(identity.seed.to_le_bytes()[2] % 7);
    let begin = today.saturating_sub(jiff::Span::new().months(months));
    let end = begin.saturating_add(jiff::Span::new().days(397));
    let date = |it: jiff::civil::Date| {
        rcgen::date_time_ymd(it.year().into(), it.month().unsigned_abs(), it.day().unsigned_abs())
    };

    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.distinguished_name = DistinguishedName::new();
    ca.distinguished_name.push(DnType::CommonName, authority(identity));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (ca.not_before, ca.not_after) = (date(begin), date(end.saturating_add(jiff::Span::new().years(5))));
    let issuer = Issuer::new(ca, ca_key);

    let mut leaf = CertificateParams::default();
    leaf.distinguished_name = DistinguishedName::new();
    leaf.distinguished_name.push(DnType::CommonName, name);
    leaf.subject_alt_names = vec![SanType::DnsName(name.try_into()?)];
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    leaf.serial_number = Some(serial());
    (leaf.not_before, leaf.not_after) = (date(begin), date(end));
    let certificate = leaf.signed_by(&leaf_key, &issuer)?;
    Ok((certificate.pem(), leaf_key.serialize_pem()))
}

/// The name that an office gives its own CA; differs between installations.
fn authority(identity: &Identity) -> String {
    let names = ["Internal CA", "Office Issuing CA", "Infrastructure CA 1", "LAN Root CA", "Services CA G2"];
    let at = usize::from(identity.seed.to_le_bytes()[3]) % names.len();
    names.get(at).copied().unwrap_or_default().to_owned()
}

/// Sixteen random bytes, positive.
fn serial() -> SerialNumber {
    let mut bytes = [0; 16];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        bytes = [0x5a; 16];
    }
    bytes[0] &= 0x7f;
    SerialNumber::from_slice(&bytes)
}

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
