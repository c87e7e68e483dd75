//! Credentials, challenges and tokens.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::transport::Body;
use super::{Client, Error, Place, read_body};
use crate::reference::DEFAULT_REGISTRY;

/// User names and passwords by registry host.
#[derive(Clone, Default)]
pub struct Credentials(HashMap<String, (String, String)>);

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Credentials {
    /// No credentials.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces those of one registry.
    pub fn insert(&mut self, registry: &str, user: &str, password: &str) {
        self.0.insert(canonical(registry).into(), (user.into(), password.into()));
    }

    /// User and password for a registry.
    pub fn get(&self, registry: &str) -> Option<(&str, &str)> {
        self.0.get(canonical(registry)).map(|(user, password)| (user.as_str(), password.as_str()))
    }

    /// Reads Docker's `config.json` (`auths` only; helpers are programs and not run). None when it is not JSON.
    pub fn from_docker_config(text: &str) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        let mut credentials = Self::default();
        for (host, entry) in value["auths"].as_object().into_iter().flatten() {
            let decoded = entry["auth"].as_str().and_then(|a| STANDARD.decode(a.trim_end_matches('\0')).ok());
            let pair = decoded.and_then(|d| String::from_utf8(d).ok());
            match (
                pair.as_deref().and_then(|p| p.split_once(':')),
                entry["username"].as_str(),
                entry["password"].as_str(),
            ) {
                (Some((user, password)), _, _) | (None, Some(user), Some(password)) => {
                    credentials.insert(host, user, password);
                }
                _ => {}
            }
        }
        Some(credentials)
    }
}

fn canonical(registry: &str) -> &str {
    let host = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or(host);
    match host {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => DEFAULT_REGISTRY,
        other => other,
    }
}

/// Authorisation headers that worked, by registry and scope.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<(String, String), Token>>);

/// A header and when it ends.
type Token = (HeaderValue, Option<Instant>);

impl Tokens {
    pub(super) fn get(&self, registry: &str, repository: &str, actions: &str) -> Option<HeaderValue> {
        let tokens = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let valid = |scope: String| {
            let (value, until) = tokens.get(&(registry.to_owned(), scope))?;
            until.is_none_or(|until| Instant::now() < until).then(|| value.clone())
        };
        // An entry without scope is basic authorisation and good for everything.
        valid(scope(repository, actions)).or_else(|| valid(String::new()))
    }

    fn put(&self, registry: &str, scope: String, value: HeaderValue, until: Option<Instant>) {
        let mut tokens = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if tokens.len() > 1000 {
            tokens.clear();
        }
        tokens.insert((registry.to_owned(), scope), (value, until));
    }
}

fn scope(repository: &str, actions: &str) -> String {
    if actions.is_empty() { "login".into() } else { format!("repository:{repository}:{actions}") }
}

#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer(HashMap<String, String>),
}

impl Client {
    /// Gets what the challenge asks for; false when there is nothing to answer it with.
    pub(super) async fn answer_challenge(
        &self,
        place: &Place,
        actions: &str,
        headers: &HeaderMap,
    ) -> Result<bool, Error> {
        let challenges: Vec<Challenge> = headers
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .filter_map(parse_challenge)
            .collect();
        let credentials = self.credentials.get(&place.registry);
        for challenge in challenges {
            match challenge {
                Challenge::Basic => {
                    if let Some((user, password)) = credentials {
                        self.tokens.put(&place.registry, String::new(), basic(user, password), None);
                        return Ok(true);
                    }
                }
                Challenge::Bearer(parameters) => {
                    self.fetch_token(place, actions, &parameters, credentials).await?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    async fn fetch_token(
        &self,
        place: &Place,
        actions: &str,
        parameters: &HashMap<String, String>,
        credentials: Option<(&str, &str)>,
    ) -> Result<(), Error> {
        let malformed = |reason: String| Error::Malformed { url: place.endpoint.base_url.clone(), reason };
        let realm = parameters.get("realm").ok_or_else(|| malformed("bearer challenge without realm".into()))?;
        let mut url = url::Url::parse(realm).map_err(|e| malformed(format!("realm {realm:?}: {e}")))?;
        let wanted = scope(&place.repository, actions);
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = parameters.get("service") {
                query.append_pair("service", service);
            }
            if !actions.is_empty() {
                query.append_pair("scope", parameters.get("scope").map_or(wanted.as_str(), |s| widest(s, &wanted)));
            }
            if let Some((user, _)) = credentials {
                query.append_pair("account", user);
            }
        }
        let mut headers = HeaderMap::new();
        if let Some((user, password)) = credentials {
            headers.insert(header::AUTHORIZATION, basic(user, password));
        }
        let url = String::from(url);
        let answer = self.transport.request(Method::GET, &url, headers, Body::empty()).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.failure(place, Method::GET, &url, &place.repository, answer).await);
        }
        let bytes = read_body(&url, answer, 1024 * 1024).await?;
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|e| Error::Malformed { url: url.clone(), reason: e.to_string() })?;
        let token = value["token"].as_str().or_else(|| value["access_token"].as_str());
        let token = token.filter(|t| !t.is_empty());
        let header = token.and_then(|t| HeaderValue::from_str(&format!("Bearer {t}")).ok());
        let mut header = header.ok_or_else(|| Error::Malformed { url, reason: "answer holds no token".into() })?;
        header.set_sensitive(true);
        let lifetime = value["expires_in"].as_u64().unwrap_or(60).clamp(1, 86_400);
        // A token about to end would end during the request.
        let until = Instant::now() + Duration::from_secs(lifetime * 9 / 10);
        self.tokens.put(&place.registry, wanted, header, Some(until));
        Ok(())
    }
}

/// The challenge's scope, unless ours names more actions on the same repository.
fn widest<'a>(challenged: &'a str, wanted: &'a str) -> &'a str {
    let repository = |s: &'a str| s.rsplit_once(':').map(|(name, _)| name);
    if repository(challenged) == repository(wanted) && wanted.len() >= challenged.len() { wanted } else { challenged }
}

fn basic(user: &str, password: &str) -> HeaderValue {
    let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let mut value = HeaderValue::from_str(&text).expect("base64 is a valid header value");
    value.set_sensitive(true);
    value
}

fn parse_challenge(text: &str) -> Option<Challenge> {
    let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut parameters = HashMap::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        let Some((key, after)) = rest.split_once('=') else { break };
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        parameters.insert(key.trim().to_ascii_lowercase(), value.to_owned());
        rest = after;
    }
    Some(Challenge::Bearer(parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_challenges() {
        let text = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let Some(Challenge::Bearer(parameters)) = parse_challenge(text) else { panic!("bearer") };
        assert_eq!(parameters["realm"], "https://auth.docker.io/token");
        assert_eq!(parameters["scope"], "repository:a/b:pull,push");
        assert_eq!(parse_challenge("Basic realm=x"), Some(Challenge::Basic));
        assert_eq!(parse_challenge("Digest realm=x"), None);
        assert_eq!(parse_challenge("Bearer realm=\"x"), None);
    }

    #[test]
    fn reads_docker_config() {
        let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpwYTpzcw=="},"ghcr.io":{"username":"u","password":"p"}}}"#;
        let credentials = Credentials::from_docker_config(text).expect("json");
        assert_eq!(credentials.get("docker.io"), Some(("user", "pa:ss")));
        assert_eq!(credentials.get("ghcr.io"), Some(("u", "p")));
        assert!(!format!("{credentials:?}").contains("pa:ss"));
    }
}
