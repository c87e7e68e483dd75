//! For others who serve paths of the same API: who sends a request, and whether they may.

use http::HeaderMap;

use crate::auth::Need;
use crate::model::Role;
use crate::{Access, Error, Forge};

/// The answer to [`Forge::access`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// They may.
    Allowed {
        /// The login; empty for nobody in particular.
        login: String,
        /// Whether they administer the repository.
        admin: bool,
    },
    /// The token is not one of this forge, or nobody is named where somebody must be.
    Unauthenticated,
    /// They see the repository and may not do this.
    Forbidden,
    /// For them there is no such repository.
    Hidden,
}

impl Forge {
    /// Whether whoever sends these headers may do something in a repository: `permission` is the name of a workflow permission such
    /// as `actions`, `access` how much of it. With `known`, nobody in particular may not, however public the repository is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn access(
        &self,
        headers: &HeaderMap,
        full_name: &str,
        permission: &'static str,
        access: Access,
        known: bool,
    ) -> Result<Verdict, Error> {
        let principal = match crate::auth::token(headers) {
            None if headers.contains_key(http::header::AUTHORIZATION) => return Ok(Verdict::Unauthenticated),
            None => crate::auth::Principal::anonymous(),
            Some(token) => match self.principal_of(&token).await? {
                Some(principal) => principal,
                None => return Ok(Verdict::Unauthenticated),
            },
        };
        let anonymous_read = self.config().anonymous_read;
        let Some(repo) = self.repository(full_name).await? else { return Ok(Verdict::Hidden) };
        if principal.role(&repo, anonymous_read).is_none() {
            return Ok(if principal.is_anonymous() && !repo.private {
                Verdict::Unauthenticated
            } else {
                Verdict::Hidden
            });
        }
        if principal.is_anonymous() && (known || access > Access::Read) {
            return Ok(Verdict::Unauthenticated);
        }
        // What everybody may see of a public repository, a job of it may see without being given the permission.
        let public = !repo.private && access <= Access::Read;
        if public || principal.may(&repo, Need(permission, access), anonymous_read) {
            let admin = principal.role(&repo, anonymous_read) == Some(Role::Admin);
            return Ok(Verdict::Allowed { login: principal.login, admin });
        }
        Ok(Verdict::Forbidden)
    }
}
