//! Who is signed in: random tokens in a cookie, kept in memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, header};
use rand::RngCore;

/// The cookie's name.
const COOKIE: &str = "bigben_console";
/// How long a session lasts without being used.
const IDLE: Duration = Duration::from_secs(12 * 60 * 60);
/// How many sessions there may be; the least used goes first.
const MOST: usize = 1000;
/// How many wrong passwords are taken in [`WINDOW`].
const FAILURES: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);

/// A signed-in browser.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub user: String,
    /// What a form of this session must carry.
    pub csrf: String,
    used: Instant,
}

/// All sessions.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<String, Session>>,
    failures: Mutex<Vec<Instant>>,
}

fn random() -> String {
    let mut bytes = [0u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl Sessions {
    /// Opens a session; returns the `Set-Cookie` that carries it.
    pub fn open(&self, user: &str, secure: bool) -> String {
        let token = random();
        let session = Session { user: user.to_owned(), csrf: random(), used: Instant::now() };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MOST
            && let Some(oldest) = open.iter().min_by_key(|(_, session)| session.used).map(|(token, _)| token.clone())
        {
            open.remove(&oldest);
        }
        open.insert(token.clone(), session);
        let secure = if secure { "; Secure" } else { "" };
        format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}", IDLE.as_secs())
    }

    /// The session that a request belongs to, used now.
    pub fn of(&self, headers: &HeaderMap) -> Option<Session> {
        let token = token(headers)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let session = open.get_mut(&token)?;
        if session.used.elapsed() > IDLE {
            open.remove(&token);
            return None;
        }
        session.used = Instant::now();
        Some(session.clone())
    }

    /// Ends a request's session; returns the `Set-Cookie` that clears it.
    pub fn close(&self, headers: &HeaderMap) -> String {
        if let Some(token) = token(headers) {
            self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
        }
        format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0")
    }

    /// Whether another password may be tried now.
    pub fn may_try(&self) -> bool {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|at| at.elapsed() < WINDOW);
        failures.len() < FAILURES
    }

    /// Notes a wrong password.
    pub fn failed(&self) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
    }
}

fn token(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('=').map(str::to_owned))
}

/// Whether two texts are the same, in a time that does not tell where they differ.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_cookie(set_cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let pair = set_cookie.split(';').next().expect("a pair");
        headers.insert(header::COOKIE, format!("other=1; {pair}").parse().expect("a header"));
        headers
    }

    #[test]
    fn a_session_is_known_by_its_cookie_until_it_ends() {
        let sessions = Sessions::default();
        let cookie = sessions.open("admin", false);
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && !cookie.contains("Secure"));
        let headers = with_cookie(&cookie);
        assert_eq!(sessions.of(&headers).map(|session| session.user).as_deref(), Some("admin"));
        assert!(sessions.of(&HeaderMap::new()).is_none());
        sessions.close(&headers);
        assert!(sessions.of(&headers).is_none());
        assert!(sessions.open("admin", true).contains("; Secure"));
    }

    #[test]
    fn passwords_cannot_be_guessed_fast() {
        let sessions = Sessions::default();
        for _ in 0..FAILURES {
            assert!(sessions.may_try());
            sessions.failed();
        }
        assert!(!sessions.may_try());
    }

    #[test]
    fn texts_are_compared_whole() {
        assert!(same("abc", "abc"));
        assert!(!same("abc", "abd"));
        assert!(!same("abc", "ab"));
    }
}
