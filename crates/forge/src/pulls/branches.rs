//! What is done to branches for a pull request: bringing its own up to the base, and taking back what it brought.

use super::{NewPull, clean, repository_tree};
use crate::model::{Pull, Repo};
use crate::pktline::RefChange;
use crate::push::Actor;
use crate::{Error, Forge};

/// What the pull request that takes another back is to say, where that is not the usual.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reverting {
    pub title: Option<String>,
    pub body: Option<String>,
    pub draft: bool,
}

impl Forge {
    /// Brings a pull request's branch, in `head_repo`, up to its base: with a merge of it, or by putting its commits on top.
    /// Returns the branch's new commit.
    ///
    /// # Errors
    /// When it is closed or up to date, the branch is not where `expected` has it, or the two conflict.
    pub(crate) async fn update_pull_branch(
        &self,
        repo: &Repo,
        head_repo: &Repo,
        number: u64,
        actor: &Actor,
        expected: Option<String>,
        rebase: bool,
    ) -> Result<String, Error> {
        let pull = self.need_pull(repo, number).await?;
        if !pull.open {
            return Err(Error::invalid("state", "the pull request is closed"));
        }
        if let Some(expected) = expected.filter(|expected| *expected != pull.head_sha) {
            return Err(Error::RefMoved { name: pull.head_ref, expected });
        }
        let base = self.branch_tip(repo, &pull.base_ref).await?;
        let base = base.ok_or_else(|| Error::not_found("branch", pull.base_ref.clone()))?;
        self.bring(head_repo, repo, &base).await?;
        let repository = self.git_of(head_repo)?;
        if repository.is_ancestor(&base, &pull.head_sha).await? {
            return Err(Error::invalid("base", "There are no new commits on the base branch."));
        }
        let who = self.identity(&actor.login).await?;
        let new = if rebase {
            self.rebase(&repository, &base, &pull.head_sha, &who).await?
        } else {
            let tree = clean(repository.merge_tree(&pull.head_sha, &base).await?)?;
            let message = format!("Merge branch '{}' into {}", pull.base_ref, pull.head_ref);
            repository.commit_tree(&tree, &[&pull.head_sha, &base], &message, &who, None).await?
        };
        let change =
            RefChange { name: format!("refs/heads/{}", pull.head_ref), old: pull.head_sha.clone(), new: new.clone() };
        self.move_refs(head_repo, actor, &[change]).await?;
        Ok(new)
    }

    /// Points a pull request at another base branch; `changes` is what its event says of that.
    pub(crate) async fn rebase_pull(
        &self,
        repo: &Repo,
        number: u64,
        actor: &Actor,
        base: &str,
        tip: String,
        changes: serde_json::Value,
    ) -> Result<(), Error> {
        let lock = self.lock_of(repo.id);
        let _guard = lock.lock().await;
        let mut pull = self.need_pull(repo, number).await?;
        base.clone_into(&mut pull.base_ref);
        pull.base_sha = tip;
        pull.updated_at = crate::time::now();
        self.write_pull_refs(repo, &mut pull).await?;
        let emission = self.pull_event(repo, &pull, actor, "edited", &[("changes", changes)]).await?;
        self.put_pull(repo.id, pull, vec![emission]).await
    }

    /// Opens a pull request that takes back what a merged one brought.
    ///
    /// # Errors
    /// When it is not merged, what it brought cannot be taken out of the branch as it is now, or that was done already.
    pub(crate) async fn revert_pull(
        &self,
        repo: &Repo,
        number: u64,
        actor: &Actor,
        reverting: Reverting,
    ) -> Result<Pull, Error> {
        let pull = self.need_pull(repo, number).await?;
        let not_merged = || Error::invalid("state", "only a merged pull request can be reverted");
        let merged = pull.merged.clone().ok_or_else(not_merged)?;
        let repository = self.git_of(repo)?;
        let tip = self.branch_tip(repo, &pull.base_ref).await?;
        let tip = tip.ok_or_else(|| Error::not_found("branch", pull.base_ref.clone()))?;
        // What it brought is what lies between two commits: where the base was, and what the merge made of it. One that was merged by
        // a push brought its own commits.
        let (before, after) = match merged.base {
            Some(base) => (base, merged.sha.clone()),
            None => {
                let fork = repository.merge_base(&pull.base_sha, &pull.head_sha).await?;
                (fork.unwrap_or_else(|| pull.base_sha.clone()), pull.head_sha.clone())
            }
        };
        let who = self.identity(&actor.login).await?;
        // A merge of the branch as it is and of what was before, as seen from what came of it, takes the change back.
        let graft = async |tree_of: &str| -> Result<String, Error> {
            let tree = repository_tree(&repository, tree_of).await?;
            Ok(repository.commit_tree(&tree, &[&after], "graft", &who, None).await?)
        };
        let tree = clean(repository.merge_tree(&graft(&tip).await?, &graft(&before).await?).await?)?;
        let title = reverting.title.unwrap_or_else(|| format!("Revert \"{}\"", pull.title));
        let message = format!("{title}\n\nThis reverts commit {}.", merged.sha);
        let commit = repository.commit_tree(&tree, &[&tip], &message, &who, None).await?;
        let branch = format!("revert-{number}-{}", pull.head_ref);
        let change = RefChange { name: format!("refs/heads/{branch}"), old: git::ZERO.to_owned(), new: commit };
        self.move_refs(repo, actor, &[change]).await.map_err(|error| match error {
            Error::RefMoved { .. } => Error::Exists { what: "branch", name: branch.clone() },
            other => other,
        })?;
        let body = reverting.body.unwrap_or_else(|| format!("Reverts {}#{number}", repo.full_name()));
        let new = NewPull { title, body: Some(body), head: branch, base: pull.base_ref, draft: reverting.draft };
        self.open_pull(repo, actor, new).await
    }
}
