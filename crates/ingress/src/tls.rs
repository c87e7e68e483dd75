//! Certificates by server name, from Secrets; a self-signed one for names that have none.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde_json::Value;

use crate::Error;
use crate::model::{Certificate, strip_port};

#[derive(Debug)]
pub(crate) struct Certificates {
    by_name: ArcSwap<HashMap<String, Arc<CertifiedKey>>>,
    fallback: Arc<CertifiedKey>,
}

impl Certificates {
    pub(crate) fn new() -> Result<Self, Error> {
        let made = rcgen::generate_simple_self_signed(vec!["ingress.local".to_owned()]).map_err(Error::Certificate)?;
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(Error::Tls)?;
        let fallback = Arc::new(CertifiedKey::new(vec![made.cert.der().clone()], key));
        Ok(Self { by_name: ArcSwap::default(), fallback })
    }

    /// Takes the certificates that are wanted now; returns those that cannot be had, and why.
    pub(crate) fn replace(
        &self,
        wanted: &[Certificate],
        find: impl Fn(&(String, String)) -> Option<Arc<Value>>,
    ) -> Vec<(Certificate, String)> {
        let mut by_name = HashMap::new();
        let mut failed = Vec::new();
        for certificate in wanted {
            let read = find(&certificate.secret).ok_or_else(|| "does not exist".to_owned()).and_then(|s| parse(&s));
            match read {
                Ok(key) => {
                    for host in &certificate.hosts {
                        by_name.entry(host.clone()).or_insert_with(|| Arc::clone(&key));
                    }
                }
                Err(problem) => failed.push((certificate.clone(), problem)),
            }
        }
        self.by_name.store(Arc::new(by_name));
        failed
    }

    fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let by_name = self.by_name.load();
        let name = strip_port(name).to_ascii_lowercase();
        by_name.get(&name).or_else(|| by_name.get(&format!("*.{}", name.split_once('.')?.1))).cloned()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.find(name));
        Some(named.unwrap_or_else(|| Arc::clone(&self.fallback)))
    }
}

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
pub(crate) fn server_config(certificates: Arc<Certificates>) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(Error::Tls)?;
    let mut config = config.with_no_client_auth().with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn parse(secret: &Value) -> Result<Arc<CertifiedKey>, String> {
    let data = |key: &str| {
        let text = secret["data"][key].as_str().ok_or_else(|| format!("has no {key}"))?;
        STANDARD.decode(text).map_err(|_| format!("{key} is not base64"))
    };
    let (chain, key) = (data("tls.crt")?, data("tls.key")?);
    let chain: Vec<_> =
        rustls_pemfile::certs(&mut &chain[..]).collect::<Result<_, _>>().map_err(|e| format!("tls.crt: {e}"))?;
    if chain.is_empty() {
        return Err("tls.crt holds no certificate".into());
    }
    let key = rustls_pemfile::private_key(&mut &key[..]).map_err(|e| format!("tls.key: {e}"))?;
    let key = key.ok_or("tls.key holds no private key")?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|e| format!("tls.key: {e}"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(Arc::new(certified)),
        Err(_) => Err("tls.key does not belong to tls.crt".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn finds_by_name_and_wildcard_and_says_what_is_wrong() {
        let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).expect("certificate");
        let data = |text: String| STANDARD.encode(text);
        let secret = Arc::new(
            json!({"data": {"tls.crt": data(made.cert.pem()), "tls.key": data(made.signing_key.serialize_pem())}}),
        );
        let other = rcgen::generate_simple_self_signed(vec!["b.test".to_owned()]).expect("certificate");
        let mixed = Arc::new(
            json!({"data": {"tls.crt": data(made.cert.pem()), "tls.key": data(other.signing_key.serialize_pem())}}),
        );
        let wanted =
            |host: &str, name: &str| Certificate { hosts: vec![host.into()], secret: ("n".into(), name.into()) };
        let certificates = Certificates::new().expect("certificates");
        let list =
            [wanted("a.test", "good"), wanted("*.w.test", "good"), wanted("c.test", "mixed"), wanted("d.test", "none")];
        let failed = certificates.replace(&list, |(_, name)| match name.as_str() {
            "good" => Some(Arc::clone(&secret)),
            "mixed" => Some(Arc::clone(&mixed)),
            _ => None,
        });
        let problems: Vec<&str> = failed.iter().map(|(_, p)| p.as_str()).collect();
        assert_eq!(problems, ["tls.key does not belong to tls.crt", "does not exist"]);
        assert!(certificates.find("A.test").is_some() && certificates.find("x.w.test").is_some());
        assert!(certificates.find("x.y.w.test").is_none() && certificates.find("c.test").is_none());
    }
}
