//! Passwords of `auth-type: basic`: htpasswd lines from Secrets.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::model::Auth;

/// Users by Secret.
#[derive(Debug, Default)]
pub(crate) struct Passwords(HashMap<(String, String, bool), HashMap<String, String>>);

impl Passwords {
    pub(crate) fn read(wanted: &[&Auth], find: impl Fn(&(String, String)) -> Option<Arc<Value>>) -> Self {
        let mut found = HashMap::new();
        for auth in wanted {
            let key = (auth.secret.0.clone(), auth.secret.1.clone(), auth.map);
            let users = find(&auth.secret).map(|secret| users(&secret, auth.map)).unwrap_or_default();
            found.insert(key, users);
        }
        Self(found)
    }

    /// Whether an `Authorization` header names a user of the Secret with the right password.
    pub(crate) fn check(&self, auth: &Auth, header: Option<&str>) -> Verdict {
        let check = || -> Option<Verdict> {
            let users = self.0.get(&(auth.secret.0.clone(), auth.secret.1.clone(), auth.map))?;
            let (scheme, encoded) = header?.split_once(' ')?;
            if !scheme.eq_ignore_ascii_case("basic") {
                return None;
            }
            let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
            let (user, password) = decoded.split_once(':')?;
            let hash = users.get(user)?;
            if is_bcrypt(hash) {
                return Some(Verdict::Bcrypt { hash: hash.clone(), password: password.to_owned() });
            }
            Some(if matches(hash, password) { Verdict::Right } else { Verdict::Wrong })
        };
        check().unwrap_or(Verdict::Wrong)
    }
}

/// What is known of a password.
pub(crate) enum Verdict {
    Right,
    Wrong,
    /// It takes a while to tell.
    Bcrypt {
        hash: String,
        password: String,
    },
}

/// Compares with bcrypt hashes, which are made to take long: on threads of their own, few at a time, and once for each
/// password that is right.
pub(crate) struct Bcrypt {
    turns: tokio::sync::Semaphore,
    key: ring::hmac::Key,
    right: std::sync::Mutex<std::collections::HashSet<Vec<u8>>>,
}

impl Default for Bcrypt {
    fn default() -> Self {
        let key: [u8; 32] = rand::random();
        let turns = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            turns: tokio::sync::Semaphore::new(turns),
            key: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key),
            right: std::sync::Mutex::default(),
        }
    }
}

impl Bcrypt {
    /// Passwords that are remembered as right.
    const MOST: usize = 10_000;

    pub(crate) async fn matches(&self, hash: String, password: String) -> bool {
        let tag = ring::hmac::sign(&self.key, format!("{hash}:{password}").as_bytes()).as_ref().to_vec();
        let right = || self.right.lock().unwrap_or_else(|e| e.into_inner());
        if right().contains(&tag) {
            return true;
        }
        let Ok(_turn) = self.turns.acquire().await else { return false };
        let checked = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false)).await;
        let is_right = checked.unwrap_or(false);
        if is_right {
            let mut right = right();
            if right.len() >= Self::MOST {
                right.clear();
            }
            right.insert(tag);
        }
        is_right
    }
}

/// `$2a$`, `$2b$` or `$2y$`, with a cost that can be waited for.
fn is_bcrypt(hash: &str) -> bool {
    let parts = ["$2a$", "$2b$", "$2y$"].iter().find_map(|kind| hash.strip_prefix(kind));
    let cost = parts.and_then(|rest| rest.get(..2)?.parse::<u32>().ok());
    cost.is_some_and(|cost| cost <= 16)
}

fn users(secret: &Value, map: bool) -> HashMap<String, String> {
    let data = secret["data"].as_object();
    let decode = |v: &Value| v.as_str().and_then(|t| STANDARD.decode(t).ok()).and_then(|b| String::from_utf8(b).ok());
    if map {
        return data
            .into_iter()
            .flatten()
            .filter_map(|(k, v)| Some((k.clone(), decode(v)?.trim().to_owned())))
            .collect();
    }
    let file = data.and_then(|d| d.get("auth")).and_then(decode).unwrap_or_default();
    let lines = file.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.filter_map(|l| l.split_once(':')).map(|(user, hash)| (user.to_owned(), hash.to_owned())).collect()
}

/// Compares with one htpasswd hash. Kinds that are not known never match.
fn matches(hash: &str, password: &str) -> bool {
    if let Some(plain) = hash.strip_prefix("{PLAIN}") {
        return equal(plain.as_bytes(), password.as_bytes());
    }
    if let Some(encoded) = hash.strip_prefix("{SHA}") {
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        return STANDARD.decode(encoded).is_ok_and(|stored| equal(&stored, digest.as_ref()));
    }
    if let Some(rest) = hash.strip_prefix("$apr1$") {
        let Some((salt, _)) = rest.split_once('$') else { return false };
        return equal(hash.as_bytes(), apr1::hash(password, salt).as_bytes());
    }
    false
}

/// In a time that does not tell where they differ.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y)) == 0
}

/// Apache's variant of MD5-crypt, what `htpasswd` writes by default.
mod apr1 {
    use md5::{Digest, Md5};

    const ITOA64: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    pub(super) fn hash(password: &str, salt: &str) -> String {
        let (key, salt) = (password.as_bytes(), &salt.as_bytes()[..salt.len().min(8)]);
        let mut alternate = Md5::new();
        alternate.update(key);
        alternate.update(salt);
        alternate.update(key);
        let alternate = alternate.finalize();
        let mut context = Md5::new();
        context.update(key);
        context.update(b"$apr1$");
        context.update(salt);
        let mut left = key.len();
        while left > 0 {
            context.update(&alternate[..left.min(16)]);
            left = left.saturating_sub(16);
        }
        let mut bits = key.len();
        while bits > 0 {
            context.update(if bits & 1 == 1 { &[0][..] } else { &key[..1] });
            bits >>= 1;
        }
        let mut digest = context.finalize();
        for round in 0..1000 {
            let mut context = Md5::new();
            if round & 1 == 1 {
                context.update(key)
            } else {
                context.update(digest)
            }
            if round % 3 != 0 {
                context.update(salt);
            }
            if round % 7 != 0 {
                context.update(key);
            }
            if round & 1 == 1 {
                context.update(digest)
            } else {
                context.update(key)
            }
            digest = context.finalize();
        }
        let mut out = format!("$apr1${}$", String::from_utf8_lossy(salt));
        let mut put = |mut value: u32, count: usize| {
            for _ in 0..count {
                out.push(char::from(ITOA64[(value & 0x3f) as usize]));
                value >>= 6;
            }
        };
        for (a, b, c) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
            put(u32::from(digest[a]) << 16 | u32::from(digest[b]) << 8 | u32::from(digest[c]), 4);
        }
        put(u32::from(digest[11]), 2);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_htpasswd_writes() {
        // Written by htpasswd -m, -s and -p.
        assert!(matches("$apr1$xxxxxxxx$dxHfLAsjHkDRmG83UXe8K0", "password"));
        assert!(!matches("$apr1$xxxxxxxx$dxHfLAsjHkDRmG83UXe8K0", "Password"));
        assert!(matches("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "password"));
        assert!(!matches("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "other"));
        assert!(matches("{PLAIN}x", "x"));
        assert!(is_bcrypt("$2y$05$unknown") && !is_bcrypt("$2y$31$x") && !is_bcrypt("$1$x"));
        assert!(!matches("", ""));
    }

    #[tokio::test]
    async fn bcrypt_is_understood_and_remembered() {
        let bcrypt = Bcrypt::default();
        let hash = "$2b$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu";
        for (password, expected) in [("password", true), ("Password", false), ("password", true), ("", false)] {
            assert_eq!(bcrypt.matches(hash.to_owned(), password.to_owned()).await, expected, "{password}");
        }
        assert_eq!(bcrypt.right.lock().expect("lock").len(), 1);
        assert!(!bcrypt.matches("$2y$05$torn".to_owned(), "x".to_owned()).await);
    }
}
