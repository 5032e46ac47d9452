//! TLS towards receivers: verified, unless the operator opts out for one output.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;

settings! { "tls" {
    /// A file with the certificates (PEM) of authorities to trust, instead of the system's.
    ca: String = String::new();
    /// Whether the receiver's certificate is verified. Switching this off lets anybody in between read
    /// and change what is sent.
    verify: bool = true;
    /// A file with our certificate (PEM), where the receiver asks for one.
    certificate: String = String::new();
    /// A file with the key of that certificate (PEM).
    key: String = String::new();
} }

/// The settings, for outputs that speak TLS.
pub(crate) const KEYS: &[serin_services::conf::Key] = Settings::KEYS;

/// Those among them that name files.
pub(crate) const FILES: &[&str] = &["tls.ca", "tls.certificate", "tls.key"];

/// TLS as an output's settings want it.
///
/// # Errors
///
/// Files that cannot be read or hold nothing of use.
pub(crate) fn config(conf: &Conf) -> Result<Arc<ClientConfig>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let complain = |key: &str, text: String| vec![Complaint { key: format!("tls.{key}"), text }];
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| complain("ca", error.to_string()))?;
    let builder = if settings.verify {
        let roots = roots(&settings.ca).map_err(|text| complain("ca", text))?;
        builder.with_root_certificates(roots)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    };
    let config = if settings.certificate.is_empty() && settings.key.is_empty() {
        builder.with_no_client_auth()
    } else {
        let chain = certificates(&settings.certificate).map_err(|text| complain("certificate", text))?;
        let key = PrivateKeyDer::from_pem_file(&settings.key)
            .map_err(|error| complain("key", format!("{}: {error}", settings.key)))?;
        builder.with_client_auth_cert(chain, key).map_err(|error| complain("key", error.to_string()))?
    };
    Ok(Arc::new(config))
}

/// What an operator who looks at the status should know.
pub(crate) fn warning(conf: &Conf) -> Option<String> {
    let verify = Settings::read(conf).is_ok_and(|it| it.verify);
    (!verify).then(|| "the receiver's certificate is not verified".to_owned())
}

/// TLS with whomever answers: for the sensor's visits to itself.
///
/// # Errors
///
/// Never with the provider that this is built with.
pub(crate) fn unverified() -> std::io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?;
    let verifier = Arc::new(Anybody(provider));
    Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(Path::new(path)).map_err(|error| format!("{path}: {error}"))?.collect();
    let found = found.map_err(|error| format!("{path}: {error}"))?;
    if found.is_empty() { Err(format!("{path} holds no certificate")) } else { Ok(found) }
}

fn roots(ca: &str) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    if ca.is_empty() {
        // A system without certificates is no mistake as long as no output speaks TLS.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(store);
    }
    for certificate in certificates(ca)? {
        store.add(certificate).map_err(|error| format!("{ca}: {error}"))?;
    }
    Ok(store)
}

/// Takes any certificate.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
