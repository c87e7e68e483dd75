//! The cluster's certificate authority and the certificates that it issues.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::x509;
use crate::config::Identity;

/// The certificate authority.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
}

/// A certificate and its private key, in PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Certificate.
    pub certificate: String,
    /// Private key (PKCS #8).
    pub key: String,
}

/// A certificate authority that cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its files.
    #[error("certificate authority file {path}")]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Making or reading a certificate.
    #[error("certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
    /// TLS does not accept it.
    #[error("certificate is not usable for TLS")]
    Tls(#[from] rustls::Error),
    /// Clients cannot be verified with it.
    #[error("certificate authority is not usable to verify clients")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Writes a file that only its owner reads: to a temporary name, synced, renamed.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

const DAY: i64 = 86_400;

fn valid_for(params: &mut CertificateParams, days: i64) {
    let at = |offset: i64| {
        let day = (jiff::Timestamp::now().as_second() + offset).div_euclid(DAY);
        let date = jiff::Timestamp::from_second(day * DAY).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(i32::from(date.year()), date.month() as u8, date.day() as u8)
    };
    params.not_before = at(-DAY);
    params.not_after = at(days * DAY);
}

fn subject(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

impl Authority {
    /// Reads the authority of a directory, or makes one.
    ///
    /// # Errors
    /// Its files cannot be read or written.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let (certificate_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        let file = |path: &Path| {
            let path = path.display().to_string();
            move |source| Error::File { path, source }
        };
        let (certificate, key) = match (std::fs::read_to_string(&certificate_path), std::fs::read_to_string(&key_path))
        {
            (Ok(certificate), Ok(key)) => (certificate, KeyPair::from_pem(&key)?),
            _ => {
                let key = KeyPair::generate()?;
                let mut params = CertificateParams::new(Vec::new())?;
                params.distinguished_name = subject("kubernetes");
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.key_usages =
                    vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
                valid_for(&mut params, 3650);
                let certificate = params.self_signed(&key)?.pem();
                write_private(&key_path, key.serialize_pem().as_bytes()).map_err(file(&key_path))?;
                write_private(&certificate_path, certificate.as_bytes()).map_err(file(&certificate_path))?;
                (certificate, key)
            }
        };
        let issuer = Issuer::from_ca_cert_pem(&certificate, key)?;
        let der = rustls_pemfile::certs(&mut certificate.as_bytes()).next().and_then(Result::ok);
        let der =
            der.ok_or_else(|| Error::Tls(rustls::Error::General("the authority's certificate is damaged".into())))?;
        Ok(Self { certificate, issuer, der })
    }

    /// The authority's certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Issues a certificate for a client: the user name as common name, groups as organisations.
    ///
    /// # Errors
    /// The name cannot stand in a certificate.
    pub fn client(&self, who: &Identity) -> Result<Pair, Error> {
        let groups: Vec<String> = who.groups.iter().filter(|g| *g != "system:authenticated").cloned().collect();
        let key = KeyPair::generate()?;
        let certificate = self.sign(&x509::Certificate {
            subject: x509::subject(&who.name, &groups),
            key: &rcgen::PublicKeyData::subject_public_key_info(&key),
            names: None,
            uses: &[x509::CLIENT_AUTH],
            key_usage: x509::DIGITAL_SIGNATURE,
            lasts: std::time::Duration::from_secs(3650 * DAY as u64),
        })?;
        Ok(Pair { certificate, key: key.serialize_pem() })
    }

    /// Signs a certificate; answers it in PEM.
    ///
    /// # Errors
    /// The authority's key cannot sign.
    pub(crate) fn sign(&self, certificate: &x509::Certificate<'_>) -> Result<String, Error> {
        let damaged = || Error::Tls(rustls::Error::General("the authority's certificate is damaged".into()));
        let (_, own) = x509_parser::parse_x509_certificate(&self.der).map_err(|_| damaged())?;
        Ok(x509::pem(&x509::sign(certificate, own.subject().as_raw(), self.issuer.key())?))
    }

    /// Issues a certificate for a server with these names and addresses.
    ///
    /// # Errors
    /// A name cannot stand in a certificate.
    pub fn server(&self, name: &str, names: &[String]) -> Result<Pair, Error> {
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name = subject(name);
        self.issue(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn issue(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Result<Pair, Error> {
        let key = KeyPair::generate()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        valid_for(&mut params, 3650);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    fn roots(&self) -> Result<rustls::RootCertStore, Error> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der.clone())?;
        Ok(roots)
    }

    /// TLS for this server: its certificate, and client certificates of this authority where a client has one.
    ///
    /// # Errors
    /// TLS does not accept the certificates.
    pub fn server_tls(&self, names: &[String]) -> Result<rustls::ServerConfig, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()?), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()?;
        let pair = self.server("kube-apiserver", names)?;
        let (chain, key) = der(&pair);
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// TLS towards kubelets: this server's client certificate. A kubelet's certificate is taken as it is: it serves from
    /// inside the machine, over a connection that this process opened itself.
    ///
    /// # Errors
    /// TLS does not accept the certificates.
    pub fn kubelet_tls(&self) -> Result<rustls::ClientConfig, Error> {
        let pair = self.client(&Identity::new("kube-apiserver-kubelet-client", &[crate::config::MASTERS]))?;
        let (chain, key) = der(&pair);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(crate::tls::AnyServer(Arc::clone(&provider)));
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(chain, key)?;
        Ok(config)
    }
}

fn der(pair: &Pair) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = rustls_pemfile::certs(&mut pair.certificate.as_bytes()).filter_map(Result::ok).collect();
    let key = rustls_pemfile::pkcs8_private_keys(&mut pair.key.as_bytes()).next().and_then(Result::ok);
    let key = key.expect("a key that was just made parses");
    (chain, PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.secret_pkcs8_der().to_vec())))
}

/// Whom a verified client certificate names.
pub fn identity_of(certificate: &[u8]) -> Option<Identity> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups: Vec<&str> = parsed.subject().iter_organization().filter_map(|o| o.as_str().ok()).collect();
    Some(Identity::new(name, &groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_name_their_holder() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::open(dir.path()).unwrap();
        let pair = Authority::open(dir.path()).unwrap().client(&Identity::new("me", &["a", "b", "c"])).unwrap();
        let der = rustls_pemfile::certs(&mut pair.certificate.as_bytes()).next().unwrap().unwrap();
        assert_eq!(identity_of(&der), Some(Identity::new("me", &["a", "b", "c"])));
        authority.server_tls(&["localhost".into(), "127.0.0.1".into()]).unwrap();
        authority.kubelet_tls().unwrap();
        assert_eq!(identity_of(b"x"), None);
    }
}
