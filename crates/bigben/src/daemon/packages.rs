//! Who may push to the registries of GitHub and others that the instance stands in for: whoever has a token of the forge.
//!
//! Workflows log in to `ghcr.io` as `${{ github.actor }}` with `${{ secrets.GITHUB_TOKEN }}`. The name says nothing, the token says
//! all: it may push packages of its repository's owner when its `permissions` say `packages: write`.

use forge::{Access, Forge};
use futures::future::BoxFuture;
use registry::{Action, Grant, Login};

use super::rooms::MIRRORED;

/// Asks the forge.
pub struct Packages(pub Forge);

impl Login for Packages {
    fn check<'a>(&'a self, _: &'a str, password: &'a str) -> BoxFuture<'a, Option<Vec<Grant>>> {
        Box::pin(async move {
            let known = self.0.packages(password).await;
            let known = known.inspect_err(|error| tracing::warn!(%error, "a token cannot be looked up")).ok()?;
            let (owner, access) = known?;
            Some(grants(&owner, access))
        })
    }
}

/// Names in a registry are in lower case (OCI distribution 1.1, section "Pulling manifests").
fn grants(owner: &str, access: Access) -> Vec<Grant> {
    let actions = match access {
        Access::None => return Vec::new(),
        Access::Read => vec![Action::Pull],
        Access::Write => vec![Action::Pull, Action::Push, Action::Delete],
    };
    let owner = owner.to_lowercase();
    MIRRORED.iter().map(|host| Grant { repository: format!("{host}/{owner}/**"), actions: actions.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reaches_its_owners_packages_as_far_as_it_may() {
        assert!(grants("Acme", Access::None).is_empty());
        let read = grants("Acme", Access::Read);
        assert_eq!(read[0].repository, "ghcr.io/acme/**");
        assert_eq!(read[0].actions, [Action::Pull]);
        assert!(grants("Acme", Access::Write)[0].actions.contains(&Action::Push));
    }
}
