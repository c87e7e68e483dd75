//! Tokens of OpenID Connect: who a job is, signed, for others to check. The issuer is this engine itself, at
//! `ORIGIN/_services/token`, as it is on a GitHub Enterprise server; what GitHub's own issuer signs nobody else can.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey};
use rsa::traits::PublicKeyParts;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use super::origin;
use crate::job::{JobSpec, Services};
use crate::model::now_ms;
use crate::workflow::Access;

/// How long a token is good for, in seconds; GitHub's is, too.
const LIFETIME: i64 = 300;
const BITS: usize = 2048;
/// `DigestInfo` of SHA-256 (RFC 8017, 9.2).
const SHA256_PREFIX: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];

/// Signs identities. Its key is made when it is first needed and then kept.
pub(crate) struct Signer {
    path: PathBuf,
    key: Mutex<Option<Arc<RsaPrivateKey>>>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[error("the key of identity tokens could not be made or kept")]
pub(crate) struct NoKey(#[source] Box<dyn std::error::Error + Send + Sync>);

impl Signer {
    pub fn new(path: PathBuf) -> Self {
        Self { path, key: Mutex::new(None) }
    }

    fn key(&self) -> Result<Arc<RsaPrivateKey>, NoKey> {
        let mut slot = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &*slot {
            return Ok(key.clone());
        }
        let stored = std::fs::read(&self.path).ok().and_then(|bytes| RsaPrivateKey::from_pkcs1_der(&bytes).ok());
        let key = match stored {
            Some(key) => key,
            None => {
                let key = RsaPrivateKey::new(&mut rand_core::OsRng, BITS).map_err(|error| NoKey(error.into()))?;
                let bytes = key.to_pkcs1_der().map_err(|error| NoKey(error.into()))?;
                crate::files::write_privately(&self.path, bytes.as_bytes()).map_err(|error| NoKey(error.into()))?;
                key
            }
        };
        let key = Arc::new(key);
        *slot = Some(key.clone());
        Ok(key)
    }

    fn public(&self) -> Result<Json, NoKey> {
        let key = self.key()?;
        let encode = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        let (n, e) = (encode(key.n().to_bytes_be()), encode(key.e().to_bytes_be()));
        // RFC 7638: the thumbprint names the key.
        let kid = encode(Sha256::digest(format!("{{\"e\":\"{e}\",\"kty\":\"RSA\",\"n\":\"{n}\"}}")).to_vec());
        Ok(json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid, "n": n, "e": e}))
    }

    fn sign(&self, claims: &Map<String, Json>) -> Result<String, NoKey> {
        let (key, public) = (self.key()?, self.public()?);
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": public["kid"], "x5t": public["kid"]});
        let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
        let text = format!("{}.{}", encode(header.to_string()), encode(Json::Object(claims.clone()).to_string()));
        let padding = Pkcs1v15Sign { hash_len: Some(32), prefix: SHA256_PREFIX.into() };
        let signature = key.sign(padding, &Sha256::digest(&text)).map_err(|error| NoKey(error.into()))?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn failed(error: &NoKey) -> Response {
    tracing::error!(error = error as &dyn std::error::Error, "no identity token");
    (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(json!({"message": error.to_string()}))).into_response()
}

/// What is said of a job in its identity tokens, but for audience, issuer and times; none without `id-token: write`.
pub fn claims(spec: &JobSpec, github: &crate::expr::Object) -> Option<Map<String, Json>> {
    if spec.permissions.0.get("id-token") != Some(&Access::Write) {
        return None;
    }
    let text = |name: &str| github.get(name).map(crate::expr::Value::to_text).unwrap_or_default();
    let (repository, environment) = (&spec.run.repository, spec.job.environment.as_deref());
    let subject = match environment {
        Some(environment) => format!("repo:{repository}:environment:{}", environment.replace(':', "%3A")),
        None if spec.run.event.starts_with("pull_request") => format!("repo:{repository}:pull_request"),
        None => format!("repo:{repository}:ref:{}", text("ref")),
    };
    let path = &spec.workflow.path;
    // A called workflow's path is its own repository's when it has one.
    let job_workflow = match path.split_once('@') {
        Some(_) => path.clone(),
        None => format!("{repository}/{path}@{}", text("ref")),
    };
    let mut claims = Map::new();
    for name in [
        "ref",
        "sha",
        "repository",
        "repository_owner",
        "repository_owner_id",
        "run_id",
        "run_number",
        "run_attempt",
        "repository_visibility",
        "repository_id",
        "actor_id",
        "actor",
        "workflow",
        "head_ref",
        "base_ref",
        "event_name",
        "ref_protected",
        "ref_type",
        "workflow_ref",
        "workflow_sha",
    ] {
        claims.insert(name.to_owned(), text(name).into());
    }
    claims.insert("sub".to_owned(), subject.into());
    claims.insert("job_workflow_ref".to_owned(), job_workflow.into());
    claims.insert("job_workflow_sha".to_owned(), text("workflow_sha").into());
    claims.insert("runner_environment".to_owned(), "self-hosted".into());
    if let Some(environment) = environment {
        claims.insert("environment".to_owned(), environment.into());
    }
    Some(claims)
}

pub(super) async fn issue(
    State(services): State<Arc<Services>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let grant = services.protocols.authority.bearer(&headers, "identity");
    let Some((grant, mut claims)) = grant.and_then(|grant| grant.identity.clone().map(|claims| (grant, claims))) else {
        let message = "the token is not that of a running job with the permission 'id-token: write'";
        return (StatusCode::UNAUTHORIZED, axum::Json(json!({"message": message}))).into_response();
    };
    let owner = grant.repository.split('/').next().unwrap_or_default();
    let audience = query.get("audience").filter(|audience| !audience.is_empty()).cloned();
    let audience = audience.unwrap_or_else(|| format!("{}/{owner}", services.host.server_url()));
    let now = now_ms() / 1000;
    claims.insert("aud".to_owned(), audience.into());
    claims.insert("iss".to_owned(), format!("{}/_services/token", origin(&services, &headers)).into());
    claims.insert("jti".to_owned(), uuid::Uuid::new_v4().to_string().into());
    claims.insert("iat".to_owned(), now.into());
    claims.insert("nbf".to_owned(), (now - 300).into());
    claims.insert("exp".to_owned(), (now + LIFETIME).into());
    let signed = tokio::task::spawn_blocking(move || services.protocols.signer.sign(&claims)).await;
    match signed.unwrap_or_else(|error| Err(NoKey(error.into()))) {
        Ok(token) => axum::Json(json!({"count": token.len(), "value": token})).into_response(),
        Err(error) => failed(&error),
    }
}

pub(super) async fn discovery(State(services): State<Arc<Services>>, headers: HeaderMap) -> axum::Json<Json> {
    let issuer = format!("{}/_services/token", origin(&services, &headers));
    axum::Json(json!({
        "issuer": issuer, "jwks_uri": format!("{issuer}/.well-known/jwks"),
        "subject_types_supported": ["public", "pairwise"], "response_types_supported": ["id_token"],
        "claims_supported": ["sub", "aud", "exp", "iat", "iss", "jti", "nbf", "ref", "sha", "repository", "repository_id",
            "repository_owner", "repository_owner_id", "run_id", "run_number", "run_attempt", "actor", "actor_id", "workflow",
            "workflow_ref", "workflow_sha", "head_ref", "base_ref", "event_name", "ref_type", "ref_protected", "environment",
            "job_workflow_ref", "job_workflow_sha", "repository_visibility", "runner_environment"],
        "id_token_signing_alg_values_supported": ["RS256"], "scopes_supported": ["openid"],
    }))
}

pub(super) async fn keys(State(services): State<Arc<Services>>) -> Response {
    let made = tokio::task::spawn_blocking(move || services.protocols.signer.public()).await;
    match made.unwrap_or_else(|error| Err(NoKey(error.into()))) {
        Ok(key) => axum::Json(json!({"keys": [key]})).into_response(),
        Err(error) => failed(&error),
    }
}
