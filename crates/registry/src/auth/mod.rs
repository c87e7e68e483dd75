//! Who may do what: users, grants, basic and token authorisation.
//!
//! Passwords are compared in constant time; failures slow the guesser down (see [`limiter`]). Tokens are signed with a key of
//! this process, so they end with it; clients then fetch another.

mod limiter;
mod login;
mod password;
mod text;
mod token;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};

pub use login::Login;
pub use password::Password;
pub use text::{AccessError, htpasswd};

use limiter::Limiter;
use login::Guests;
use token::Tokens;

/// Something done to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Read.
    Pull,
    /// Write.
    Push,
    /// Delete tags, manifests and blobs.
    Delete,
}

impl Action {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "pull" => Some(Self::Pull),
            "push" => Some(Self::Push),
            "delete" => Some(Self::Delete),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }
}

/// Permission for actions on repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Repository name; `*` stands for one part of it, `**` for any number.
    pub repository: String,
    /// What is allowed.
    pub actions: Vec<Action>,
}

impl Grant {
    /// Everything on the repositories that match.
    pub fn all(repository: impl Into<String>) -> Self {
        Self { repository: repository.into(), actions: vec![Action::Pull, Action::Push, Action::Delete] }
    }

    /// Reading of the repositories that match.
    pub fn read(repository: impl Into<String>) -> Self {
        Self { repository: repository.into(), actions: vec![Action::Pull] }
    }

    fn allows(&self, repository: &str, action: Action) -> bool {
        let pattern: Vec<&str> = self.repository.split('/').collect();
        let parts: Vec<&str> = repository.split('/').collect();
        self.actions.contains(&action) && glob(&pattern, &parts)
    }
}

fn glob(pattern: &[&str], parts: &[&str]) -> bool {
    match (pattern.split_first(), parts.split_first()) {
        (Some((&"**", rest)), _) => (0..=parts.len()).any(|n| glob(rest, &parts[n..])),
        (Some((p, rest)), Some((part, more))) => (*p == "*" || p == part) && glob(rest, more),
        (None, None) => true,
        _ => false,
    }
}

/// Someone with a password.
#[derive(Clone, Debug)]
pub struct User {
    /// Name.
    pub name: String,
    /// Password.
    pub password: Password,
    /// What they may do, besides what anyone may.
    pub grants: Vec<Grant>,
}

/// How a client is asked to authorise itself. Both are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// With a token from `/token`. Needed by Docker for reading without a user where others have one.
    Bearer,
    /// With name and password in every request.
    Basic,
}

/// Who may do what.
#[derive(Clone, Debug)]
pub struct Access {
    /// Users.
    pub users: Vec<User>,
    /// What anyone may do.
    pub anonymous: Vec<Grant>,
    /// How clients are asked.
    pub challenge: Challenge,
}

impl Access {
    /// Anyone may read, nobody may write: the default on loopback.
    pub fn anonymous_read() -> Self {
        Self { users: Vec::new(), anonymous: vec![Grant::read("**")], challenge: Challenge::Bearer }
    }

    /// Anyone may do anything.
    pub fn open() -> Self {
        Self { users: Vec::new(), anonymous: vec![Grant::all("**")], challenge: Challenge::Bearer }
    }

    /// Adds a user.
    #[must_use]
    pub fn with_user(mut self, name: impl Into<String>, password: Password, grants: Vec<Grant>) -> Self {
        self.users.push(User { name: name.into(), password, grants });
        self
    }
}

/// Who sent a request.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    Anonymous,
    User(Arc<User>),
    /// A token's holder, limited to what the token says.
    Token {
        user: Option<Arc<User>>,
        scopes: Arc<Vec<Scope>>,
    },
}

/// Actions on a repository, as a token names them.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Scope {
    pub(crate) name: String,
    pub(crate) actions: Vec<Action>,
}

impl Scope {
    /// `repository:name:pull,push`; unknown actions are left out, `*` is all.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("repository:")?;
        let (name, actions) = rest.rsplit_once(':')?;
        let all = [Action::Pull, Action::Push, Action::Delete];
        let actions = match actions {
            "*" => all.to_vec(),
            _ => actions.split(',').filter_map(Action::parse).collect(),
        };
        oci::reference::valid_repository(name).then(|| Self { name: name.to_owned(), actions })
    }
}

/// Why a request is not let in.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Name or password is wrong, or the token.
    Credentials,
    /// Too many failures; to be tried again after this time.
    Slow(Duration),
    /// Nobody, or a token too narrow: more authorisation may help.
    Unauthorized,
    /// This user may not, whatever token they have.
    Denied,
}

pub(crate) struct Auth {
    users: Vec<Arc<User>>,
    anonymous: Vec<Grant>,
    challenge: Challenge,
    limiter: Limiter,
    tokens: Tokens,
    verified: password::Verified,
    external: Option<Arc<dyn Login>>,
    guests: Guests,
}

impl Auth {
    pub(crate) fn new(access: Access, external: Option<Arc<dyn Login>>) -> Self {
        Self {
            external,
            guests: Guests::default(),
            users: access.users.into_iter().map(Arc::new).collect(),
            anonymous: access.anonymous,
            challenge: access.challenge,
            limiter: Limiter::default(),
            tokens: Tokens::default(),
            verified: password::Verified::default(),
        }
    }

    /// Whether a client must be told at `/v2/` that there is something to log in to.
    pub(crate) fn has_users(&self) -> bool {
        !self.users.is_empty() || self.external.is_some()
    }

    /// Who sent a request with these headers.
    pub(crate) async fn identify(
        self: &Arc<Self>,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
    ) -> Result<Identity, Refusal> {
        let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(Identity::Anonymous) };
        let text = value.to_str().map_err(|_| Refusal::Credentials)?;
        let (scheme, rest) = text.split_once(' ').ok_or(Refusal::Credentials)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            let claims = self.tokens.verify(rest.trim()).ok_or(Refusal::Credentials)?;
            let user = match claims.sub.as_str() {
                "" => None,
                name => Some(self.user(name).or_else(|| self.guests.find(name)).ok_or(Refusal::Credentials)?),
            };
            return Ok(Identity::Token { user, scopes: Arc::new(claims.access) });
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(Refusal::Credentials);
        }
        let decoded = STANDARD.decode(rest.trim()).map_err(|_| Refusal::Credentials)?;
        let decoded = String::from_utf8(decoded).map_err(|_| Refusal::Credentials)?;
        let (name, password) = decoded.split_once(':').ok_or(Refusal::Credentials)?;
        self.login(name, password, peer).await.map(Identity::User)
    }

    /// Whether `identity` may act on the repository.
    pub(crate) fn allow(&self, identity: &Identity, repository: &str, action: Action) -> Result<(), Refusal> {
        let user = match identity {
            Identity::Anonymous => None,
            Identity::User(user) => Some(user),
            Identity::Token { user, .. } => user.as_ref(),
        };
        let granted = self.granted(user.map(Arc::as_ref), repository, action);
        let scoped = match identity {
            Identity::Token { scopes, .. } => {
                scopes.iter().any(|s| s.name == repository && s.actions.contains(&action))
            }
            _ => true,
        };
        match (granted, scoped, user) {
            (true, true, _) => Ok(()),
            // Anyone may do it: a token for something else does not take that away.
            (true, false, _) if self.granted(None, repository, action) => Ok(()),
            (true, false, _) | (false, _, None) => Err(Refusal::Unauthorized),
            (false, _, Some(_)) => Err(Refusal::Denied),
        }
    }

    /// A token for those of the wanted scopes that are granted, and its lifetime.
    pub(crate) fn token(&self, user: Option<&User>, wanted: &[Scope]) -> (String, Duration) {
        let granted = wanted.iter().map(|scope| Scope {
            name: scope.name.clone(),
            actions: scope.actions.iter().copied().filter(|a| self.granted(user, &scope.name, *a)).collect(),
        });
        let access = granted.filter(|scope| !scope.actions.is_empty()).collect();
        let name = user.map_or("", |u| u.name.as_str());
        let lifetime = if name.is_empty() || self.user(name).is_some() { token::LIFETIME } else { login::GUEST };
        (self.tokens.issue(name, access, lifetime), lifetime)
    }

    /// Value of `WWW-Authenticate`.
    pub(crate) fn challenge(&self, base_url: &str, service: &str, wanted: Option<(&str, &[Action])>) -> String {
        if self.challenge == Challenge::Basic {
            return "Basic realm=\"registry\", charset=\"UTF-8\"".into();
        }
        let mut text = format!("Bearer realm=\"{base_url}/token\",service=\"{service}\"");
        if let Some((repository, actions)) = wanted {
            let actions: Vec<&str> = actions.iter().map(|a| a.name()).collect();
            text.push_str(&format!(",scope=\"repository:{repository}:{}\"", actions.join(",")));
        }
        text
    }

    fn granted(&self, user: Option<&User>, repository: &str, action: Action) -> bool {
        let own = user.map_or(&[][..], |u| &u.grants);
        own.iter().chain(&self.anonymous).any(|grant| grant.allows(repository, action))
    }

    fn user(&self, name: &str) -> Option<Arc<User>> {
        self.users.iter().find(|u| u.name == name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Jobs;

    impl Login for Jobs {
        fn check<'a>(&'a self, user: &'a str, password: &'a str) -> futures::future::BoxFuture<'a, Option<Vec<Grant>>> {
            let grants =
                password.strip_prefix("job-of-").map(|repository| vec![Grant::all(format!("{user}/{repository}"))]);
            Box::pin(std::future::ready(grants))
        }
    }

    fn auth() -> Arc<Auth> {
        let access = Access::anonymous_read().with_user("ann", Password::plain("secret"), vec![Grant::all("ann/**")]);
        Arc::new(Auth::new(access, Some(Arc::new(Jobs))))
    }

    fn bearer(token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().expect("header"));
        headers
    }

    #[tokio::test]
    async fn others_may_vouch_for_users() {
        let auth = auth();
        for (name, repository) in [("ann", "one"), ("ann", "two"), ("bob", "one")] {
            let login = auth.identify(&basic(name, &format!("job-of-{repository}")), None).await;
            let Ok(Identity::User(user)) = login else { panic!("{name} {repository}") };
            let own = format!("{name}/{repository}");
            let scope = |name: &str| Scope::parse(&format!("repository:{name}:push")).expect("scope");
            let (token, lifetime) = auth.token(Some(&user), &[scope(&own), scope("bob/other")]);
            assert!(lifetime <= Duration::from_secs(300));
            let identity = auth.identify(&bearer(&token), None).await.expect("valid");
            assert!(auth.allow(&identity, &own, Action::Push).is_ok());
            assert!(matches!(auth.allow(&identity, "bob/other", Action::Push), Err(Refusal::Denied)));
        }
        assert!(matches!(auth.identify(&basic("bob", "secret"), None).await, Err(Refusal::Credentials)));
    }

    fn basic(user: &str, password: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        headers.insert(header::AUTHORIZATION, value.parse().expect("header"));
        headers
    }

    #[test]
    fn grants_match_by_part() {
        for (pattern, name, expected) in [
            ("**", "a/b/c", true),
            ("a/*", "a/b", true),
            ("a/*", "a/b/c", false),
            ("a/**", "a/b/c", true),
            ("a/**", "b/a", false),
            ("a", "a", true),
            ("*/b", "a/b", true),
            ("**/b", "a/x/b", true),
        ] {
            assert_eq!(Grant::all(pattern).allows(name, Action::Push), expected, "{pattern} {name}");
        }
        assert!(!Grant::read("**").allows("a", Action::Push));
    }

    #[tokio::test]
    async fn tokens_are_as_narrow_as_asked_and_granted() {
        let auth = auth();
        let Ok(Identity::User(ann)) = auth.identify(&basic("ann", "secret"), None).await else { panic!("logged in") };
        let wanted = [
            Scope::parse("repository:ann/x:pull,push").expect("scope"),
            Scope::parse("repository:bob/y:pull,push").expect("scope"),
        ];
        let (token, _) = auth.token(Some(&ann), &wanted);
        let mut headers = bearer(&token);
        let identity = auth.identify(&headers, None).await.expect("valid");
        assert!(auth.allow(&identity, "ann/x", Action::Push).is_ok());
        assert!(matches!(auth.allow(&identity, "ann/x", Action::Delete), Err(Refusal::Unauthorized)));
        assert!(matches!(auth.allow(&identity, "bob/y", Action::Push), Err(Refusal::Denied)));
        assert!(auth.allow(&identity, "other/z", Action::Pull).is_ok(), "anyone may read");
        assert!(matches!(auth.allow(&Identity::Anonymous, "ann/x", Action::Push), Err(Refusal::Unauthorized)));

        let mut forged = token.clone().into_bytes();
        forged[3] ^= 1;
        headers.insert(
            header::AUTHORIZATION,
            format!("Bearer {}", String::from_utf8_lossy(&forged)).parse().expect("header"),
        );
        assert!(matches!(auth.identify(&headers, None).await, Err(Refusal::Credentials)));
    }

    #[tokio::test]
    async fn guessing_is_slowed_but_does_not_lock_out_who_was_in() {
        let auth = auth();
        assert!(auth.identify(&basic("ann", "secret"), None).await.is_ok());
        let mut slowed = false;
        for n in 0..20 {
            match auth.identify(&basic("ann", &format!("guess{n}")), None).await {
                Err(Refusal::Slow(wait)) => {
                    assert!(wait <= Duration::from_secs(60));
                    slowed = true;
                }
                Err(Refusal::Credentials) => assert!(!slowed, "once slowed, guesses are not even checked"),
                other => panic!("{other:?}"),
            }
        }
        assert!(slowed);
        assert!(auth.identify(&basic("ann", "secret"), None).await.is_ok());
    }
}
