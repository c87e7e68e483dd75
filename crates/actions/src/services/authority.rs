//! Who may use the services: tokens of running jobs, and signatures of URLs.
//!
//! The key lives as long as the process, as jobs do: after a restart they run again and get new tokens.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use crate::model::now_ms;

/// How long a token is good for at most, in seconds; the job's end comes first.
const LIFETIME: i64 = 24 * 3600;
/// How long a signed URL is good for, in seconds: an upload may be long.
const URL_LIFETIME: i64 = 3600;

/// What a running job may ask for.
#[derive(Debug, Clone, Default)]
pub struct Grant {
    /// `owner/name`.
    pub repository: String,
    /// The run.
    pub run: i64,
    /// Its attempt.
    pub attempt: i64,
    /// The job.
    pub job: i64,
    /// The refs whose caches it may read, nearest first; it writes to the first.
    pub scopes: Vec<String>,
    /// The claims of its identity tokens; none without the permission `id-token: write`.
    pub identity: Option<Map<String, Json>>,
}

/// The tokens of a job.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// `ACTIONS_RUNTIME_TOKEN`.
    pub runtime: String,
    /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
    pub identity: Option<String>,
}

/// Makes and checks tokens and signatures.
pub struct Authority {
    key: [u8; 32],
    live: RwLock<HashMap<i64, Arc<Grant>>>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

/// Names that look like GitHub's, which are UUIDs.
fn backend_id(kind: &str, parts: &[i64]) -> String {
    let mut text = kind.to_owned();
    for part in parts {
        text.push_str(&format!("/{part}"));
    }
    let digest = Sha256::digest(text);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

impl Grant {
    /// What the results service calls the run.
    pub fn run_backend_id(&self) -> String {
        backend_id("run", &[self.run, self.attempt])
    }

    /// What the results service calls the job.
    pub fn job_backend_id(&self) -> String {
        backend_id("job", &[self.job])
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// With a new random key and no jobs.
    pub fn new() -> Self {
        let mut key = [0; 32];
        for half in key.chunks_mut(16) {
            half.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        }
        Self { key, live: RwLock::default() }
    }

    fn mac(&self, text: &str) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(text.as_bytes());
        mac
    }

    /// Takes a job in and makes its tokens, which are JSON Web Tokens (RFC 7519) signed with HS256.
    pub fn admit(&self, grant: Grant) -> Tokens {
        let caches: Vec<Json> = grant
            .scopes
            .iter()
            .enumerate()
            .map(|(i, scope)| json!({"Scope": scope, "Permission": if i == 0 { 3 } else { 1 }}))
            .collect();
        let runtime = json!({
            "use": "runtime", "job_id": grant.job, "run_id": grant.run, "repository": grant.repository,
            "ac": Json::Array(caches).to_string(),
            "scp": format!(
                "Actions.GenericRead:00000000-0000-0000-0000-000000000000 Actions.UploadArtifacts:00000000-0000-0000-0000-000000000000/1:Build/Build/{} Actions.Results:{}:{}",
                grant.run, grant.run_backend_id(), grant.job_backend_id()
            ),
        });
        let tokens = Tokens {
            runtime: self.token(runtime),
            identity: grant.identity.as_ref().map(|_| self.token(json!({"use": "identity", "job_id": grant.job}))),
        };
        self.live.write().unwrap_or_else(PoisonError::into_inner).insert(grant.job, Arc::new(grant));
        tokens
    }

    /// The tokens of a job stop working.
    pub fn dismiss(&self, job: i64) {
        self.live.write().unwrap_or_else(PoisonError::into_inner).remove(&job);
    }

    fn token(&self, mut claims: Json) -> String {
        let now = now_ms() / 1000;
        claims["iat"] = now.into();
        claims["nbf"] = (now - 60).into();
        claims["exp"] = (now + LIFETIME).into();
        claims["jti"] = uuid::Uuid::new_v4().to_string().into();
        let encode = |value: &Json| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", encode(&json!({"alg": "HS256", "typ": "JWT"})), encode(&claims));
        let signature = URL_SAFE_NO_PAD.encode(self.mac(&text).finalize().into_bytes());
        format!("{text}.{signature}")
    }

    /// The job that a bearer token in these headers belongs to: a `runtime` token, or one for `identity`.
    pub(crate) fn bearer(&self, headers: &HeaderMap, kind: &str) -> Option<Arc<Grant>> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (text, signature) = token.trim().rsplit_once('.')?;
        self.mac(text).verify_slice(&URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        let claims = URL_SAFE_NO_PAD.decode(text.split_once('.')?.1).ok()?;
        let claims: Json = serde_json::from_slice(&claims).ok()?;
        if claims["use"] != kind || claims["exp"].as_i64()? < now_ms() / 1000 {
            return None;
        }
        self.live.read().unwrap_or_else(PoisonError::into_inner).get(&claims["job_id"].as_i64()?).cloned()
    }

    /// The query that makes a path good for `permission` (`r` or `w`) for a while, with the names that a blob store's clients know.
    pub(crate) fn sign(&self, path: &str, permission: char) -> String {
        let expires = jiff::Timestamp::from_second(now_ms() / 1000 + URL_LIFETIME).unwrap_or_default();
        let expires = expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let signature = self.mac(&format!("{permission}\n{expires}\n{path}")).finalize().into_bytes();
        let expires = expires.replace(':', "%3A");
        // Hexadecimal, so that nobody has to escape it.
        format!("se={expires}&sp={permission}&sr=b&sv=2025-05-05&sig={}", hex::encode(signature))
    }

    /// Whether a query is what [`Authority::sign`] made for this path and permission.
    pub(crate) fn signed(&self, path: &str, permission: char, query: &HashMap<String, String>) -> bool {
        let (Some(expires), Some(signature)) = (query.get("se"), query.get("sig")) else { return false };
        let fresh = expires.parse::<jiff::Timestamp>().is_ok_and(|at| at > jiff::Timestamp::now());
        let Ok(signature) = hex::decode(signature) else { return false };
        fresh && self.mac(&format!("{permission}\n{expires}\n{path}")).verify_slice(&signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(token: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
    }

    #[test]
    fn tokens_open_what_they_are_for_while_the_job_runs() {
        let authority = Authority::new();
        let tokens = authority.admit(Grant { job: 5, identity: Some(Map::new()), ..Grant::default() });
        let identity = tokens.identity.unwrap();
        assert_eq!(authority.bearer(&headers(&tokens.runtime), "runtime").unwrap().job, 5);
        assert!(authority.bearer(&headers(&tokens.runtime), "identity").is_none());
        assert!(authority.bearer(&headers(&identity), "runtime").is_none());
        assert!(authority.bearer(&headers(&identity), "identity").is_some());
        assert!(Authority::new().bearer(&headers(&tokens.runtime), "runtime").is_none());
        let (head, signature) = tokens.runtime.rsplit_once('.').unwrap();
        assert!(authority.bearer(&headers(&format!("{head}x.{signature}")), "runtime").is_none());
        assert!(authority.bearer(&headers("nonsense"), "runtime").is_none());
        assert!(authority.bearer(&HeaderMap::new(), "runtime").is_none());
        authority.dismiss(5);
        assert!(authority.bearer(&headers(&tokens.runtime), "runtime").is_none());
        // Without the permission there is no token for identities.
        assert!(authority.admit(Grant::default()).identity.is_none());
    }

    #[test]
    fn signatures_hold_for_one_path_and_permission() {
        let authority = Authority::new();
        let query: HashMap<String, String> =
            url_query(&authority.sign("/_services/blob/upload/1/a.zip", 'w')).into_iter().collect();
        assert!(authority.signed("/_services/blob/upload/1/a.zip", 'w', &query));
        assert!(!authority.signed("/_services/blob/upload/1/a.zip", 'r', &query));
        assert!(!authority.signed("/_services/blob/upload/2/a.zip", 'w', &query));
        let mut late = query.clone();
        late.insert("se".into(), "2020-01-01T00:00:00Z".into());
        assert!(!authority.signed("/_services/blob/upload/1/a.zip", 'w', &late));
        assert!(!authority.signed("/_services/blob/upload/1/a.zip", 'w', &HashMap::new()));
    }

    fn url_query(text: &str) -> Vec<(String, String)> {
        text.split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.replace("%3A", ":")))
            .collect()
    }
}
