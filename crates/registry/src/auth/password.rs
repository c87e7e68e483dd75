//! Passwords: kept as they are when they come from the running program, hashed when they come from a file.

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rand::Rng;
use ring::{hmac, pbkdf2};

const ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).expect("not zero");

/// A password or its hash.
#[derive(Clone)]
pub struct Password(Kind);

#[derive(Clone)]
enum Kind {
    Plain(String),
    Hash {
        iterations: NonZeroU32,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    /// As `htpasswd -B` writes it.
    Bcrypt(String),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    /// A password that is known.
    pub fn plain(password: impl Into<String>) -> Self {
        Self(Kind::Plain(password.into()))
    }

    /// Hashes a password with a new salt.
    pub fn hash(password: &str) -> Self {
        let salt: [u8; 16] = rand::rng().random();
        let mut hash = vec![0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &salt, password.as_bytes(), &mut hash);
        Self(Kind::Hash { iterations: ITERATIONS, salt: salt.to_vec(), hash })
    }

    /// Parses `pbkdf2$iterations$salt$hash` (base64 without padding), as [`Self::to_line`] writes it, or a bcrypt hash as
    /// `htpasswd -B` does.
    pub fn from_line(line: &str) -> Option<Self> {
        if line.trim().starts_with("$2") {
            let parts: bcrypt::HashParts = line.trim().parse().ok()?;
            return (parts.get_cost() <= 16).then(|| Self(Kind::Bcrypt(line.trim().to_owned())));
        }
        let mut parts = line.trim().split('$');
        if parts.next()? != "pbkdf2" {
            return None;
        }
        let iterations = parts.next()?.parse().ok().filter(|n: &NonZeroU32| n.get() <= 10_000_000)?;
        let salt = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
        let hash = STANDARD_NO_PAD.decode(parts.next()?).ok().filter(|h| !h.is_empty())?;
        parts.next().is_none().then_some(Self(Kind::Hash { iterations, salt, hash }))
    }

    /// Writes a hash for a file. None for a plain password, which does not belong there.
    pub fn to_line(&self) -> Option<String> {
        match &self.0 {
            Kind::Plain(_) => None,
            Kind::Bcrypt(line) => Some(line.clone()),
            Kind::Hash { iterations, salt, hash } => {
                Some(format!("pbkdf2${iterations}${}${}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash)))
            }
        }
    }

    /// No password matches.
    pub(super) fn nobody() -> Self {
        Self(Kind::Hash { iterations: NonZeroU32::MIN, salt: Vec::new(), hash: Vec::new() })
    }

    /// Whether `password` is right, in a time that does not tell how wrong it is.
    pub(crate) fn matches(&self, password: &str) -> bool {
        match &self.0 {
            Kind::Plain(own) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, b"compare");
                let tag = hmac::sign(&key, own.as_bytes());
                hmac::verify(&key, password.as_bytes(), tag.as_ref()).is_ok()
            }
            Kind::Hash { iterations, salt, hash } => {
                pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, *iterations, salt, password.as_bytes(), hash).is_ok()
            }
            Kind::Bcrypt(line) => bcrypt::verify(password, line).unwrap_or(false),
        }
    }
}

/// Passwords that were found right, as keyed hashes, so that a costly hash is made once.
pub(super) struct Verified {
    key: hmac::Key,
    seen: Mutex<HashSet<Vec<u8>>>,
}

impl Default for Verified {
    fn default() -> Self {
        let key: [u8; 32] = rand::rng().random();
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &key), seen: Mutex::default() }
    }
}

impl Verified {
    pub(super) fn contains(&self, name: &str, password: &str) -> bool {
        self.seen.lock().unwrap_or_else(|e| e.into_inner()).contains(&self.tag(name, password))
    }

    pub(super) fn insert(&self, name: &str, password: &str) {
        self.seen.lock().unwrap_or_else(|e| e.into_inner()).insert(self.tag(name, password));
    }

    /// Stands for a name with this password, and tells nothing about it.
    pub(super) fn subject(&self, name: &str, password: &str) -> String {
        format!("{name}:{}", hex::encode(self.tag(name, password)))
    }

    fn tag(&self, name: &str, password: &str) -> Vec<u8> {
        hmac::sign(&self.key, format!("{}:{name}{password}", name.len()).as_bytes()).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_round_trip() {
        let password = Password::hash("pässword");
        let line = password.to_line().expect("a hash");
        let read = Password::from_line(&line).expect("parses");
        assert!(read.matches("pässword") && !read.matches("password"));
        assert!(Password::plain("x").matches("x") && !Password::plain("x").matches("y"));
        for bad in ["", "x", "pbkdf2$0$a$b", "pbkdf2$1$!$b", "pbkdf2$1$YQ$", "pbkdf2$1$YQ$YQ$"] {
            assert!(Password::from_line(bad).is_none(), "{bad}");
        }
    }
}
