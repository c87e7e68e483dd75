//! Logins: the user `admin`, and tokens as JSON Web Tokens (RFC 7519) signed with HS256.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::Semaphore;

use super::{Api, Refusal, token};

/// How long a token is good for.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How long a wrong password is made to wait for its answer.
const WRONG: Duration = Duration::from_millis(500);

/// Makes and checks tokens.
pub struct Sessions {
    key: Vec<u8>,
    password: String,
    /// One wrong password at a time: guessing is slow however many guess at once.
    wrong: Arc<Semaphore>,
}

impl Sessions {
    /// Tokens are signed with `key`, which has to stay the same for them to outlive the process.
    pub fn new(key: Vec<u8>, password: String) -> Self {
        Self { key, password, wrong: Arc::new(Semaphore::new(1)) }
    }

    /// A token for a user who gave this password; a wrong one waits.
    pub async fn login(&self, user: &str, password: &str) -> Option<String> {
        if user == "admin" && self.mac(password.as_bytes()) == self.mac(self.password.as_bytes()) {
            return Some(self.token(user, SystemTime::now()));
        }
        if let Ok(_turn) = self.wrong.acquire().await {
            tokio::time::sleep(WRONG).await;
        }
        None
    }

    /// A token for somebody who has shown by other means who they are.
    pub fn issue(&self, user: &str) -> String {
        self.token(user, SystemTime::now())
    }

    /// Whose token this is, if it is valid now.
    pub fn user(&self, token: &str) -> Option<String> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(signed.as_bytes());
        mac.verify_slice(&signature).ok()?;
        let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?;
        let claims: Value = serde_json::from_slice(&claims).ok()?;
        (claims["exp"].as_u64()? > seconds(SystemTime::now())).then(|| claims["sub"].as_str().map(str::to_owned))?
    }

    fn token(&self, user: &str, now: SystemTime) -> String {
        let now = seconds(now);
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let claims = json!({"iss": "argocd", "sub": user, "iat": now, "nbf": now, "exp": now + LIFETIME.as_secs()});
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = URL_SAFE_NO_PAD.encode(self.mac(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// Equal for equal text only, and compared in the same time for any.
    fn mac(&self, text: &[u8]) -> Vec<u8> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(text);
        mac.finalize().into_bytes().to_vec()
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[derive(Deserialize)]
pub(super) struct Login {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

pub(super) async fn create(State(api): State<Api>, Json(login): Json<Login>) -> Result<Response, Refusal> {
    match api.sessions.login(&login.username, &login.password).await {
        Some(token) => {
            let cookie = format!("argocd.token={token}; path=/; SameSite=lax; httpOnly");
            Ok(([(header::SET_COOKIE, cookie)], Json(json!({"token": token}))).into_response())
        }
        None => Err(Refusal::new(StatusCode::UNAUTHORIZED, "Invalid username or password")),
    }
}

pub(super) async fn delete() -> Response {
    let cookie = "argocd.token=; path=/; SameSite=lax; httpOnly; Max-Age=0";
    ([(header::SET_COOKIE, cookie)], Json(json!({}))).into_response()
}

pub(super) async fn user_info(State(api): State<Api>, headers: HeaderMap) -> Json<Value> {
    let user = token(&headers).and_then(|token| api.sessions.user(token));
    Json(json!({"loggedIn": user.is_some(), "username": user, "iss": "argocd"}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_token_is_for_who_knows_the_password() {
        let sessions = Sessions::new(b"key".to_vec(), "secret".to_owned());
        let token = sessions.login("admin", "secret").await.unwrap();
        assert_eq!(sessions.user(&token).as_deref(), Some("admin"));
        assert_eq!(sessions.login("admin", "Secret").await, None);
        assert_eq!(sessions.login("root", "secret").await, None);
    }

    #[test]
    fn a_token_that_was_changed_or_is_old_is_nobodys() {
        let sessions = Sessions::new(b"key".to_vec(), String::new());
        let token = sessions.token("admin", SystemTime::now());
        assert_eq!(Sessions::new(b"other".to_vec(), String::new()).user(&token), None);
        assert_eq!(sessions.user(&token.replace('.', "..")), None);
        assert_eq!(sessions.user(""), None);
        let old = sessions.token("admin", SystemTime::now() - LIFETIME - Duration::from_secs(1));
        assert_eq!(sessions.user(&old), None);
    }
}
