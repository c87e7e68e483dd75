//! Service account tokens: signed statements (JWT, ES256) of who someone is, until when, and for whom.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use objects::{GroupResource, Status, meta};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};

use crate::Api;
use crate::config::Identity;

/// The issuer that tokens name.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Signs and checks tokens.
#[derive(Debug)]
pub struct Signer {
    key: EcdsaKeyPair,
    id: String,
    random: SystemRandom,
}

/// A key that cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its file.
    #[error("token key {path}")]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its content.
    #[error("token key {0} is damaged")]
    Damaged(String),
}

impl Signer {
    /// Reads the key of a directory, or makes one.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("service-account.key");
        let random = SystemRandom::new();
        let damaged = || Error::Damaged(path.display().to_string());
        let file = |source| Error::File { path: path.display().to_string(), source };
        let pkcs8 = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let fresh =
                    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|_| damaged())?;
                super::pki::write_private(&path, fresh.as_ref()).map_err(file)?;
                fresh.as_ref().to_vec()
            }
            Err(e) => return Err(file(e)),
        };
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random).map_err(|_| damaged())?;
        let digest = <sha2::Sha256 as sha2::Digest>::digest(key.public_key().as_ref());
        Ok(Self { id: URL_SAFE_NO_PAD.encode(digest), key, random })
    }

    /// Signs claims.
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": self.id, "typ": "JWT"});
        let body =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.key.sign(&self.random, body.as_bytes()).expect("the system's random source works");
        format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The claims of a token whose signature holds.
    pub fn verify(&self, token: &str) -> Option<Value> {
        let (body, signature) = token.rsplit_once('.')?;
        let (header, claims) = body.split_once('.')?;
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if header["alg"] != "ES256" {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref());
        key.verify(body.as_bytes(), &signature).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }

    /// The public keys, as OpenID Connect discovery gives them.
    pub fn jwks(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
        json!({"keys": [{"use": "sig", "kty": "EC", "kid": self.id, "alg": "ES256", "crv": "P-256", "x": x, "y": y}]})
    }
}

const DAY: i64 = 86_400;

impl Api {
    /// Whom a bearer token stands for. Without audiences the server itself must be one.
    pub(crate) fn token_identity(&self, token: &str, audiences: Option<&[String]>) -> Result<Identity, &'static str> {
        if let Some(identity) = self.config.tokens.get(token) {
            return Ok(identity.clone());
        }
        let claims = self.signer.verify(token).ok_or("the token's signature does not hold")?;
        if claims["iss"] != ISSUER {
            return Err("the token is of another issuer");
        }
        let now = Timestamp::now().as_second();
        if claims["exp"].as_i64().is_some_and(|exp| exp <= now) {
            return Err("the token has expired");
        }
        if claims["nbf"].as_i64().is_some_and(|nbf| nbf > now + 10) {
            return Err("the token is not valid yet");
        }
        let own = [ISSUER.to_owned()];
        let wanted = audiences.unwrap_or(&own);
        let has =
            claims["aud"].as_array().is_none_or(|list| list.iter().any(|a| wanted.iter().any(|w| a == w.as_str())));
        if !has {
            return Err("the token is for another audience");
        }
        let private = &claims["kubernetes.io"];
        let namespace = private["namespace"].as_str().unwrap_or("");
        let (name, uid) = (
            private["serviceaccount"]["name"].as_str().unwrap_or(""),
            private["serviceaccount"]["uid"].as_str().unwrap_or(""),
        );
        let live = |table: &str, namespace: &str, name: &str, uid: &str| {
            let found = self.store.get(table, &crate::store::key(namespace, name)).map(|s| s.value());
            found.is_some_and(|o| meta::uid(&o) == uid)
        };
        if !live("serviceaccounts", namespace, name, uid) {
            return Err("the service account is gone");
        }
        let mut identity = Identity::service_account(namespace, name);
        identity.uid = uid.to_owned();
        for (claim, table, scope, extra) in [
            ("pod", "pods", namespace, "pod"),
            ("secret", "secrets", namespace, "secret"),
            ("node", "nodes", "", "node"),
        ] {
            let Some(bound) = private.get(claim) else { continue };
            let (name, uid) = (bound["name"].as_str().unwrap_or(""), bound["uid"].as_str().unwrap_or(""));
            if claim != "node" && !live(table, scope, name, uid) {
                return Err("what the token is bound to is gone");
            }
            identity.extra.insert(format!("authentication.kubernetes.io/{extra}-name"), vec![name.to_owned()]);
            identity.extra.insert(format!("authentication.kubernetes.io/{extra}-uid"), vec![uid.to_owned()]);
        }
        if let Some(id) = claims["jti"].as_str() {
            identity.extra.insert("authentication.kubernetes.io/credential-id".into(), vec![format!("JTI={id}")]);
        }
        Ok(identity)
    }

    /// Answers a TokenRequest for a service account.
    pub(crate) fn request_token(&self, account: &Value, mut request: Value) -> Result<Value, Status> {
        let (namespace, name, uid) = (meta::namespace(account), meta::name(account), meta::uid(account));
        let spec = &request["spec"];
        let mut audiences: Vec<String> =
            spec["audiences"].as_array().into_iter().flatten().filter_map(|a| a.as_str().map(str::to_owned)).collect();
        if audiences.is_empty() {
            audiences.push(ISSUER.to_owned());
        }
        let seconds = spec["expirationSeconds"].as_i64().unwrap_or(3600);
        if !(600..=1i64 << 32).contains(&seconds) {
            let cause = objects::status::Cause::invalid(
                "spec.expirationSeconds",
                &json!(seconds),
                "may not specify a duration less than 10 minutes",
            );
            return Err(Status::invalid(
                &objects::GroupKind::new("authentication.k8s.io", "TokenRequest"),
                name,
                vec![cause],
            ));
        }
        let mut private = json!({"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}});
        if let Some(bound) = spec.get("boundObjectRef").filter(|b| b.is_object()) {
            let kind = bound["kind"].as_str().unwrap_or("");
            let (table, scope) = match kind {
                "Pod" => ("pods", namespace),
                "Secret" => ("secrets", namespace),
                "Node" => ("nodes", ""),
                other => return Err(Status::bad_request(format!("cannot bind token to object of kind {other:?}"))),
            };
            let bound_name = bound["name"].as_str().unwrap_or("");
            let object = self.store.get(table, &crate::store::key(scope, bound_name)).map(|s| s.value());
            let object = object.ok_or_else(|| Status::not_found(&GroupResource::new("", table), bound_name))?;
            if bound["uid"].as_str().is_some_and(|u| !u.is_empty() && u != meta::uid(&object)) {
                return Err(Status::conflict(
                    &GroupResource::new("", table),
                    bound_name,
                    "the UID in the bound object reference does not match the UID in record",
                ));
            }
            private[kind.to_lowercase()] = json!({"name": bound_name, "uid": meta::uid(&object)});
            if let Some(node) = object.pointer("/spec/nodeName").and_then(Value::as_str).filter(|_| kind == "Pod") {
                let node_uid = self
                    .store
                    .get("nodes", &crate::store::key("", node))
                    .map(|s| meta::uid(&s.value()).to_owned())
                    .unwrap_or_default();
                private["node"] = json!({"name": node, "uid": node_uid});
            }
        }
        let now = Timestamp::now().as_second();
        let expires = now + seconds.min(365 * DAY);
        let claims = json!({
            "iss": ISSUER, "sub": format!("system:serviceaccount:{namespace}:{name}"), "aud": audiences, "iat": now, "nbf": now, "exp": expires,
            "jti": uuid::Uuid::new_v4().to_string(), "kubernetes.io": private,
        });
        let expires = Timestamp::from_second(expires).map(objects::time::format).unwrap_or_default();
        request["spec"]["audiences"] = json!(audiences);
        request["spec"]["expirationSeconds"] = seconds.into();
        request["status"] = json!({"token": self.signer.sign(&claims), "expirationTimestamp": expires});
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_checks() {
        let dir = tempfile::tempdir().unwrap();
        let signer = Signer::open(dir.path()).unwrap();
        let token = signer.sign(&json!({"a": 1}));
        assert_eq!(Signer::open(dir.path()).unwrap().verify(&token), Some(json!({"a": 1})));
        assert_eq!(signer.verify(&format!("{}x", &token[..token.len() - 1])), None);
        for nonsense in ["", ".", "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
            assert_eq!(signer.verify(nonsense), None);
        }
    }
}
