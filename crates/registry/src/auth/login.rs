//! Logging in: the registry's own users first, then whoever the one that runs it vouches for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use super::{Auth, Grant, Password, Refusal, User};

/// How long an answer of [`Login`] is good without asking again.
const FRESH: Duration = Duration::from_secs(30);
/// How long tokens of those users are valid; after that they are asked for again.
pub(super) const GUEST: Duration = Duration::from_secs(5 * 60);

/// Knows users besides those of the registry's configuration, such as the tokens of jobs.
pub trait Login: Send + Sync {
    /// What the user may do, none when name or password are wrong. Asked only for pairs that the registry does not know;
    /// an answer is kept for half a minute, and tokens made from it for five.
    fn check<'a>(&'a self, user: &'a str, password: &'a str) -> BoxFuture<'a, Option<Vec<Grant>>>;
}

/// Users that [`Login`] vouched for. Their name here is that of the person and a keyed hash of the password, so that two
/// passwords of one name stay two users.
#[derive(Default)]
pub(super) struct Guests(Mutex<HashMap<String, Guest>>);

struct Guest {
    user: Arc<User>,
    checked: Instant,
    until: Instant,
}

impl Guests {
    /// The user that a token names.
    pub(super) fn find(&self, name: &str) -> Option<Arc<User>> {
        self.lock().get(name).filter(|g| Instant::now() < g.until).map(|g| Arc::clone(&g.user))
    }

    fn fresh(&self, name: &str) -> Option<Arc<User>> {
        self.lock().get(name).filter(|g| g.checked.elapsed() < FRESH).map(|g| Arc::clone(&g.user))
    }

    fn insert(&self, name: String, grants: Vec<Grant>) -> Arc<User> {
        let now = Instant::now();
        let user = Arc::new(User { name: name.clone(), password: Password::nobody(), grants });
        let mut guests = self.lock();
        guests.retain(|_, g| now < g.until);
        // A token may be made until the answer is stale, and is then valid for its own time.
        let until = now + FRESH + GUEST;
        guests.insert(name, Guest { user: Arc::clone(&user), checked: now, until });
        user
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Guest>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Auth {
    /// Checks name and password; failures make the next attempts wait.
    pub(crate) async fn login(
        self: &Arc<Self>,
        name: &str,
        password: &str,
        peer: Option<IpAddr>,
    ) -> Result<Arc<User>, Refusal> {
        let user = self.user(name);
        // What was right before is right again, however many others guess.
        if let Some(user) = &user
            && self.verified.contains(name, password)
        {
            return Ok(Arc::clone(user));
        }
        let guest = self.verified.subject(name, password);
        if let Some(user) = self.guests.fresh(&guest) {
            return Ok(user);
        }
        if let Some(wait) = self.limiter.blocked(peer, name) {
            return Err(Refusal::Slow(wait));
        }
        // A password hash takes a while.
        let (auth, given, known) = (Arc::clone(self), password.to_owned(), user.clone());
        let hashing = tokio::task::spawn_blocking(move || auth.matches(known.as_deref(), &given));
        if let (true, Some(user)) = (hashing.await.unwrap_or(false), user) {
            self.limiter.succeeded(peer, name);
            self.verified.insert(name, password);
            return Ok(user);
        }
        if let Some(external) = &self.external
            && let Some(grants) = external.check(name, password).await
        {
            self.limiter.succeeded(peer, name);
            return Ok(self.guests.insert(guest, grants));
        }
        self.limiter.failed(peer, name);
        Err(Refusal::Credentials)
    }

    /// Takes as long for a user that does not exist as for one that does.
    fn matches(&self, user: Option<&User>, password: &str) -> bool {
        match (user, self.users.first()) {
            (Some(user), _) => user.password.matches(password),
            (None, Some(somebody)) => {
                somebody.password.matches(password);
                false
            }
            (None, None) => false,
        }
    }
}
