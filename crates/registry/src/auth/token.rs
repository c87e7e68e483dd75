//! Bearer tokens: claims and a signature with a key of this process.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::Scope;
use crate::store::now;

/// How long a token is valid.
pub(super) const LIFETIME: Duration = Duration::from_secs(15 * 60);

pub(super) struct Tokens(hmac::Key);

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    /// User name, empty for anyone.
    pub(super) sub: String,
    /// End, in seconds since 1970.
    exp: u64,
    pub(super) access: Vec<Scope>,
}

impl Default for Tokens {
    fn default() -> Self {
        let key: [u8; 32] = rand::rng().random();
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }
}

impl Tokens {
    pub(super) fn issue(&self, user: &str, access: Vec<Scope>, lifetime: Duration) -> String {
        let claims = Claims { sub: user.into(), exp: now() + lifetime.as_secs(), access };
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).unwrap_or_default());
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, payload.as_bytes()));
        format!("{payload}.{signature}")
    }

    pub(super) fn verify(&self, token: &str) -> Option<Claims> {
        let (payload, signature) = token.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.0, payload.as_bytes(), &signature).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        (claims.exp > now()).then_some(claims)
    }
}
