//! Certificates of Pods in projected volumes: a key is made here, a PodCertificateRequest asks a signer for its certificate, and
//! both are made anew when the signer says so.

use crate::api::{Api, Change};
use crate::error::{Context, Error, Result};
use base64::Engine;
use jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const GROUP: &str = "/apis/certificates.k8s.io/v1";
/// How long a signer may take before the volume is tried again.
const PATIENCE: Duration = Duration::from_secs(60);

/// A key with its certificates, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credential {
    key: String,
    chain: String,
    /// From when on it is to be made anew.
    refresh: Timestamp,
}

impl Credential {
    /// The files that a projection asks for: path and content.
    pub(super) fn files(&self, projection: &Value) -> Vec<(String, String)> {
        let bundle = format!("{}{}", self.key, self.chain);
        let parts = [("credentialBundlePath", &bundle), ("keyPath", &self.key), ("certificateChainPath", &self.chain)];
        parts.iter().filter_map(|(field, text)| Some((path(projection, field)?, (*text).clone()))).collect()
    }

    fn read(file: &Path) -> Option<Credential> {
        let value: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
        let text = |field: &str| value[field].as_str().map(str::to_owned);
        Some(Credential {
            key: text("key")?,
            chain: text("chain")?,
            refresh: objects::time::parse(value["refresh"].as_str()?)?,
        })
    }

    fn write(&self, file: &Path) -> std::io::Result<()> {
        let value = json!({"key": self.key, "chain": self.chain, "refresh": objects::time::format(self.refresh)});
        let mut out = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
        out.write_all(value.to_string().as_bytes())
    }
}

fn path(projection: &Value, field: &str) -> Option<String> {
    projection[field].as_str().filter(|p| !p.is_empty()).map(str::to_owned)
}

/// The paths at which a projection shows secrets.
pub(super) fn paths(projection: &Value) -> impl Iterator<Item = String> + '_ {
    ["credentialBundlePath", "keyPath", "certificateChainPath"].into_iter().filter_map(|field| path(projection, field))
}

/// The credential of a projection: the one that is kept in `file`, as long as it is good; otherwise a new one.
///
/// # Errors
/// The kind of key cannot be made here, or the signer did not issue a certificate.
pub(super) async fn credential(api: &Api, pod: &Value, projection: &Value, file: &Path) -> Result<Credential> {
    let kept = Credential::read(file);
    if let Some(kept) = kept.as_ref().filter(|kept| Timestamp::now() < kept.refresh) {
        return Ok(kept.clone());
    }
    match issue(api, pod, projection).await {
        Ok(made) => {
            made.write(file).context(|| format!("keep {}", file.display()))?;
            Ok(made)
        }
        // What is there is better than nothing, as long as it lasts.
        Err(error) => match kept {
            Some(kept) => {
                tracing::debug!(error = error.line(), "a certificate is not made anew");
                Ok(kept)
            }
            None => Err(error),
        },
    }
}

fn key(kind: &str) -> Result<KeyPair> {
    let algorithm = match kind {
        "ECDSAP256" => &rcgen::PKCS_ECDSA_P256_SHA256,
        "ECDSAP384" => &rcgen::PKCS_ECDSA_P384_SHA384,
        "ED25519" => &rcgen::PKCS_ED25519,
        other => {
            return Err(Error::Invalid(format!(
                "keys of type {other} are not made here; use ECDSAP256, ECDSAP384 or ED25519"
            )));
        }
    };
    KeyPair::generate_for(algorithm).map_err(|error| Error::Invalid(format!("make a key: {error}")))
}

/// What is asked of the signer.
fn request(pod: &Value, account: &Value, node: &Value, projection: &Value, key: &KeyPair) -> Result<Value> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let der =
        params.serialize_request(key).map_err(|error| Error::Invalid(format!("ask for a certificate: {error}")))?;
    let (name, uid) = (objects::meta::name(pod), objects::meta::uid(pod));
    let mut spec = json!({
        "signerName": projection["signerName"], "podName": name, "podUID": uid,
        "serviceAccountName": objects::meta::name(account), "serviceAccountUID": objects::meta::uid(account),
        "nodeName": objects::meta::name(node), "nodeUID": objects::meta::uid(node),
        "stubPKCS10Request": base64::engine::general_purpose::STANDARD.encode(der.der()),
    });
    for (own, theirs) in
        [("maxExpirationSeconds", "maxExpirationSeconds"), ("userAnnotations", "unverifiedUserAnnotations")]
    {
        if !projection[own].is_null() {
            spec[theirs] = projection[own].clone();
        }
    }
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
    Ok(json!({"apiVersion": "certificates.k8s.io/v1", "kind": "PodCertificateRequest", "spec": spec,
        "metadata": {"generateName": format!("req-{name}-"), "namespace": objects::meta::namespace(pod), "ownerReferences": [owner]}}))
}

async fn issue(api: &Api, pod: &Value, projection: &Value) -> Result<Credential> {
    let key = key(projection["keyType"].as_str().unwrap_or_default())?;
    let namespace = objects::meta::namespace(pod);
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    let missing = |what: String| Error::Invalid(format!("{what} is not there"));
    let account = api.get(&format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}")).await?;
    let account = account.ok_or_else(|| missing("the pod's service account".into()))?;
    let node = api.get(&format!("/api/v1/nodes/{node}")).await?.ok_or_else(|| missing(format!("node {node}")))?;
    let collection = format!("{GROUP}/namespaces/{namespace}/podcertificaterequests");
    let made = api.create(&collection, &request(pod, &account, &node, projection, &key)?).await?;
    let name = objects::meta::name(&made).to_owned();
    let answer = tokio::time::timeout(PATIENCE, answer(api, &collection, &name)).await;
    let signer = projection["signerName"].as_str().unwrap_or_default();
    let outcome = match answer {
        Ok(object) => read(&object, signer, key.serialize_pem()),
        Err(_) => Err(Error::Invalid(format!("the signer {signer} has not answered PodCertificateRequest {name} yet"))),
    };
    // It has served its purpose.
    let _ = api.delete(&format!("{collection}/{name}"), &json!({})).await;
    outcome
}

/// Waits until a request has come to an end.
async fn answer(api: &Api, collection: &str, name: &str) -> Value {
    let (sender, mut changes) = mpsc::channel(4);
    let query = format!("fieldSelector=metadata.name%3D{name}");
    let end = async {
        let ended = |object: &Value| {
            ["Issued", "Denied", "Failed"].iter().any(|kind| objects::meta::condition(object, kind).is_some())
        };
        loop {
            match changes.recv().await {
                Some(Change::Reset(all)) => {
                    if let Some(object) = all.into_iter().find(ended) {
                        return object;
                    }
                }
                Some(Change::Applied(object)) if ended(&object) => return object,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    };
    tokio::select! {
        object = end => object,
        () = api.follow(collection, &query, sender, CancellationToken::new()) => std::future::pending().await,
    }
}

/// What a request that has ended says.
fn read(object: &Value, signer: &str, key: String) -> Result<Credential> {
    for (kind, word) in [("Denied", "denied"), ("Failed", "could not answer")] {
        if let Some(condition) = objects::meta::condition(object, kind) {
            let (reason, message) = (&condition["reason"], &condition["message"]);
            return Err(Error::Invalid(format!("the signer {signer} {word} the request: {reason} {message}")));
        }
    }
    let status = &object["status"];
    let chain = status["certificateChain"].as_str().unwrap_or_default().to_owned();
    let refresh = status["beginRefreshAt"].as_str().and_then(objects::time::parse);
    let refresh = refresh.filter(|_| !chain.is_empty());
    let refresh = refresh.ok_or_else(|| Error::Invalid(format!("the signer {signer} issued no certificate")))?;
    Ok(Credential { key, chain, refresh })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked() {
        let key = key("ECDSAP256").expect("a key");
        let meta = |name: &str| json!({"metadata": {"name": name, "namespace": "n", "uid": format!("uid-{name}")}});
        let projection = json!({"signerName": "example.com/pods", "userAnnotations": {"a/b": "c"}});
        let request = request(&meta("p"), &meta("default"), &meta("node"), &projection, &key).expect("a request");
        assert_eq!(request["spec"]["podUID"], "uid-p");
        assert_eq!(request["spec"]["unverifiedUserAnnotations"]["a/b"], "c");
        assert!(request["spec"]["stubPKCS10Request"].as_str().is_some_and(|text| text.len() > 100));
        assert!(super::key("RSA4096").is_err());
    }

    #[test]
    fn what_is_shown_and_kept() {
        let status = json!({"certificateChain": "CHAIN\n", "beginRefreshAt": "2026-01-01T00:00:00Z"});
        let issued = json!({"status": {"conditions": [{"type": "Issued", "status": "True"}], "certificateChain": status["certificateChain"], "beginRefreshAt": status["beginRefreshAt"]}});
        let made = read(&issued, "s", "KEY\n".into()).expect("issued");
        let files = made.files(&json!({"credentialBundlePath": "all.pem", "keyPath": "key.pem"}));
        assert_eq!(files, [("all.pem".into(), "KEY\nCHAIN\n".into()), ("key.pem".into(), "KEY\n".to_owned())]);
        let dir = tempfile::tempdir().expect("a directory");
        made.write(&dir.path().join("c")).expect("written");
        assert_eq!(Credential::read(&dir.path().join("c")), Some(made));
        let denied =
            json!({"status": {"conditions": [{"type": "Denied", "status": "True", "reason": "UnsupportedKeyType"}]}});
        let error = read(&denied, "s", String::new()).expect_err("denied").to_string();
        assert!(error.contains("UnsupportedKeyType"), "{error}");
    }
}
