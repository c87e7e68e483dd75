//! Who is asking, and what they may do.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, header};
use sha2::{Digest, Sha256};

use crate::api_error::ApiError;
use crate::model::{Access, Job, Repo, Role, Token, User};
use crate::{Error, Forge};

/// The login under which jobs act, as on GitHub.
pub(crate) const ACTIONS_BOT: &str = "github-actions[bot]";

/// Whoever makes a request.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    /// Empty when anonymous.
    pub login: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Anonymous,
    User { admin: bool },
    Job(Job),
}

/// What a principal needs for a request: the name of a workflow permission and how much of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need(pub &'static str, pub Access);

impl Need {
    pub const READ: Need = Need("metadata", Access::Read);
    pub const CONTENTS: Need = Need("contents", Access::Read);
    pub const CONTENTS_WRITE: Need = Need("contents", Access::Write);
    pub const PULLS: Need = Need("pull-requests", Access::Read);
    pub const PULLS_WRITE: Need = Need("pull-requests", Access::Write);
    pub const ISSUES: Need = Need("issues", Access::Read);
    pub const ISSUES_WRITE: Need = Need("issues", Access::Write);
    pub const STATUSES: Need = Need("statuses", Access::Read);
    pub const STATUSES_WRITE: Need = Need("statuses", Access::Write);
    pub const CHECKS: Need = Need("checks", Access::Read);
    pub const CHECKS_WRITE: Need = Need("checks", Access::Write);
    pub const ACTIONS_WRITE: Need = Need("actions", Access::Write);
    /// What no job's token ever has.
    pub const ADMIN: Need = Need("administration", Access::Write);
    /// Environments and variables: any member may look.
    pub const ENVIRONMENTS: Need = Need("actions", Access::Read);
}

impl Principal {
    pub fn anonymous() -> Self {
        Self { login: String::new(), kind: Kind::Anonymous }
    }

    pub fn user(user: &User) -> Self {
        Self { login: user.login.clone(), kind: Kind::User { admin: user.admin } }
    }

    pub fn is_anonymous(&self) -> bool {
        matches!(self.kind, Kind::Anonymous)
    }

    pub fn is_admin(&self) -> bool {
        matches!(self.kind, Kind::User { admin: true })
    }

    pub fn is_job(&self) -> bool {
        matches!(self.kind, Kind::Job(_))
    }

    /// The workflow run whose token this is.
    pub fn run(&self) -> Option<String> {
        match &self.kind {
            Kind::Job(job) => Some(job.run.clone()),
            _ => None,
        }
    }

    /// The role in a repository; `None` is none at all, not even looking.
    pub fn role(&self, repo: &Repo, anonymous_read: bool) -> Option<Role> {
        let public = (!repo.private).then_some(Role::Read);
        match &self.kind {
            Kind::Anonymous => public.filter(|_| anonymous_read),
            Kind::User { admin: true } => Some(Role::Admin),
            Kind::User { admin: false } if repo.owner.eq_ignore_ascii_case(&self.login) => Some(Role::Admin),
            Kind::User { admin: false } => {
                let own = repo.collaborators.get(&self.login.to_lowercase()).copied();
                own.max(public)
            }
            Kind::Job(job) if job.repo == repo.id => {
                let most = job.permissions.values().max().copied().unwrap_or(Access::None);
                Some(if most == Access::Write { Role::Write } else { Role::Read })
            }
            Kind::Job(_) => public,
        }
    }

    /// Whether the need is met.
    pub fn may(&self, repo: &Repo, need: Need, anonymous_read: bool) -> bool {
        let Some(role) = self.role(repo, anonymous_read) else { return false };
        match &self.kind {
            Kind::Job(job) if job.repo == repo.id => {
                need.0 == "metadata" || job.permissions.get(need.0).copied().unwrap_or(Access::None) >= need.1
            }
            _ if need.0 == "administration" => role == Role::Admin,
            _ => need.1 < Access::Write || role >= Role::Write,
        }
    }
}

/// Hash under which a token is kept.
pub(crate) fn hash(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// A new random token with GitHub's prefix for its kind.
pub(crate) fn random_token(prefix: &str) -> String {
    use rand::Rng;
    let mut rng = rand::rng();
    let text: String = (0..36).map(|_| char::from(rng.sample(rand::distr::Alphanumeric))).collect();
    format!("{prefix}{text}")
}

/// The token in a request's headers.
pub(crate) fn token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(rest).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(if matches!(password, "" | "x-oauth-basic") { user } else { password }.to_owned())
}

impl Forge {
    /// Who sent a request with these headers.
    pub(crate) async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, ApiError> {
        if !headers.contains_key(header::AUTHORIZATION) {
            return Ok(Principal::anonymous());
        }
        let token = token(headers).ok_or_else(ApiError::bad_credentials)?;
        self.principal_of(&token).await?.ok_or_else(ApiError::bad_credentials)
    }

    /// What a token may do with the packages of an owner: a job's with those of its repository's owner, as far as its permission
    /// `packages` goes, a person's with their own. `None` for a token that is not valid.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn packages(&self, token: &str) -> Result<Option<(String, Access)>, Error> {
        let Some(principal) = self.principal_of(token).await? else { return Ok(None) };
        let Kind::Job(job) = &principal.kind else { return Ok(Some((principal.login, Access::Write))) };
        let Some(repo) = self.repository_by_id(job.repo).await? else { return Ok(None) };
        Ok(Some((repo.owner, job.permissions.get("packages").copied().unwrap_or(Access::None))))
    }

    pub(crate) async fn principal_of(&self, token: &str) -> Result<Option<Principal>, Error> {
        let Some(token) = self.store().get::<Token>(0, hash(token)).await? else { return Ok(None) };
        if let Some(job) = token.job {
            return Ok(Some(Principal { login: token.login, kind: Kind::Job(job) }));
        }
        let user = self.store().get::<User>(0, token.login.to_lowercase()).await?;
        Ok(user.map(|user| Principal::user(&user)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn repo(private: bool) -> Repo {
        Repo {
            id: 1,
            owner: "o".into(),
            name: "r".into(),
            description: None,
            private,
            default_branch: "main".into(),
            collaborators: BTreeMap::from([("w".to_owned(), Role::Write)]),
            parent: None,
            created_at: 0,
            pushed_at: 0,
            updated_at: 0,
        }
    }

    fn user(login: &str) -> Principal {
        Principal { login: login.into(), kind: Kind::User { admin: false } }
    }

    fn job(repo: u64, permissions: &[(&str, Access)]) -> Principal {
        let permissions = permissions.iter().map(|(name, access)| ((*name).to_owned(), *access)).collect();
        Principal { login: ACTIONS_BOT.into(), kind: Kind::Job(Job { repo, permissions, run: "1".into() }) }
    }

    #[test]
    fn permissions() {
        let reads = job(1, &[("contents", Access::Read)]);
        let writes = job(1, &[("contents", Access::Write)]);
        let elsewhere = job(2, &[("contents", Access::Write)]);
        for (who, private, need, allowed) in [
            (&Principal::anonymous(), false, Need::CONTENTS, true),
            (&Principal::anonymous(), true, Need::CONTENTS, false),
            (&Principal::anonymous(), false, Need::CONTENTS_WRITE, false),
            (&user("O"), true, Need::ADMIN, true),
            (&user("w"), true, Need::CONTENTS_WRITE, true),
            (&user("w"), true, Need::ADMIN, false),
            (&user("x"), false, Need::CONTENTS, true),
            (&user("x"), false, Need::CONTENTS_WRITE, false),
            (&user("x"), true, Need::CONTENTS, false),
            (&reads, true, Need::CONTENTS, true),
            (&reads, true, Need::CONTENTS_WRITE, false),
            (&reads, true, Need::STATUSES_WRITE, false),
            (&reads, true, Need::READ, true),
            (&writes, true, Need::CONTENTS_WRITE, true),
            (&writes, true, Need::ADMIN, false),
            (&elsewhere, true, Need::CONTENTS, false),
            (&elsewhere, false, Need::CONTENTS, true),
            (&elsewhere, false, Need::CONTENTS_WRITE, false),
        ] {
            assert_eq!(who.may(&repo(private), need, true), allowed, "{who:?} {need:?} private={private}");
        }
        assert!(!Principal::anonymous().may(&repo(false), Need::CONTENTS, false));
    }

    #[test]
    fn tokens_in_headers() {
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        for (value, expected) in [
            ("Bearer abc".to_owned(), Some("abc")),
            ("token abc".to_owned(), Some("abc")),
            (basic("x-access-token:abc"), Some("abc")),
            (basic("abc:x-oauth-basic"), Some("abc")),
            (basic("abc:"), Some("abc")),
            ("Basic ???".to_owned(), None),
            ("Digest abc".to_owned(), None),
            ("nonsense".to_owned(), None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("a header"));
            assert_eq!(token(&headers).as_deref(), expected, "{value}");
        }
    }
}
