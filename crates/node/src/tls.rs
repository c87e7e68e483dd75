//! TLS of the kubelet API, and the client of HTTPS probes, which verifies nothing (as kubelets do).

use crate::config::KubeletTls;
use crate::error::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use std::sync::{Arc, OnceLock};

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A client that takes any certificate.
pub(crate) fn unverified_client() -> tokio_rustls::TlsConnector {
    static CLIENT: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    let config = CLIENT.get_or_init(|| {
        let builder = rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.expect("the provider has cipher suites for these versions");
        Arc::new(builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone)).with_no_client_auth())
    });
    tokio_rustls::TlsConnector::from(config.clone())
}

#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The kubelet API's side.
pub(crate) fn server(config: &KubeletTls, names: Vec<String>) -> Result<tokio_rustls::TlsAcceptor> {
    let bad = |what: &str, error: &dyn std::fmt::Display| Error::Invalid(format!("{what} of the kubelet API: {error}"));
    let (chain, key) = if config.certificate_pem.is_empty() {
        let made = rcgen::generate_simple_self_signed(names).map_err(|error| bad("certificate", &error))?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(|error| bad("key", &error))?;
        (vec![made.cert.der().clone()], key)
    } else {
        let chain = CertificateDer::pem_slice_iter(config.certificate_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| bad("certificate", &error))?;
        (chain, PrivateKeyDer::from_pem_slice(config.key_pem.as_bytes()).map_err(|error| bad("key", &error))?)
    };
    let builder = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| bad("TLS settings", &error))?;
    let builder = match &config.client_ca_pem {
        Some(pem) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                roots
                    .add(certificate.map_err(|error| bad("client CA", &error))?)
                    .map_err(|error| bad("client CA", &error))?;
            }
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                .allow_unauthenticated()
                .build();
            builder.with_client_cert_verifier(verifier.map_err(|error| bad("client CA", &error))?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut server = builder.with_single_cert(chain, key).map_err(|error| bad("certificate", &error))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tokio_rustls::TlsAcceptor::from(Arc::new(server)))
}
