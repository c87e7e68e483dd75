//! Event payloads in GitHub's shape.

use serde_json::{Value, json};

use crate::model::{Repo, User};
use crate::outbox::Emission;
use crate::pktline::RefChange;
use crate::push::Actor;
use crate::shape;
use crate::{Error, Forge};

/// How many commits a `push` payload lists at most.
const MOST_COMMITS: usize = 2048;

impl Forge {
    /// `repository` and `sender`, which every payload has.
    pub(crate) async fn envelope(&self, repo: &Repo, sender: &User) -> Result<Value, Error> {
        let owner = self.user_or_ghost(&repo.owner).await?;
        Ok(json!({
            "repository": shape::repo(&self.inner().urls, repo, &owner, None),
            "sender": shape::user(&self.inner().urls, sender),
        }))
    }

    /// The events that one ref update causes: `push`, and `create` or `delete`.
    pub(crate) async fn push_events(
        &self,
        repo: &Repo,
        repository: &git::Repository,
        change: &RefChange,
        actor: &Actor,
    ) -> Result<Vec<Emission>, Error> {
        let sender = self.user_or_ghost(&actor.login).await?;
        let envelope = self.envelope(repo, &sender).await?;
        let (created, deleted) = (change.old == git::ZERO, change.new == git::ZERO);
        let short = change.name.strip_prefix("refs/heads/").or_else(|| change.name.strip_prefix("refs/tags/"));
        let ref_type = if change.name.starts_with("refs/tags/") { "tag" } else { "branch" };
        let emission = |event: &str, payload: Value| Emission::new(event, repo.full_name(), payload, actor.run.clone());
        let mut events = Vec::new();
        if let (Some(short), true) = (short, created) {
            let mut payload = envelope.clone();
            payload["ref"] = json!(short);
            payload["ref_type"] = json!(ref_type);
            payload["master_branch"] = json!(repo.default_branch);
            payload["description"] = json!(repo.description);
            payload["pusher_type"] = json!("user");
            events.push(emission("create", payload));
        }
        let mut payload = self.push_payload(repo, repository, change, &sender).await?;
        payload["repository"] = envelope["repository"].clone();
        payload["sender"] = envelope["sender"].clone();
        events.push(emission("push", payload));
        if let (Some(short), true) = (short, deleted) {
            let mut payload = envelope;
            payload["ref"] = json!(short);
            payload["ref_type"] = json!(ref_type);
            payload["pusher_type"] = json!("user");
            events.push(emission("delete", payload));
        }
        Ok(events)
    }

    /// The commits of a push as its payload lists them, from a log: oldest first.
    async fn push_commits(
        &self,
        repo: &Repo,
        repository: &git::Repository,
        mut log: Vec<git::Commit>,
    ) -> Result<Vec<Value>, Error> {
        log.reverse();
        let ids: Vec<&str> = log.iter().map(|commit| commit.id.as_str()).collect();
        let changes = repository.changes_of(&ids).await?;
        let shaped = log.iter().zip(&changes);
        Ok(shaped
            .map(|(commit, changes)| shape::push_commit(&self.inner().urls, repo, commit, changes, true))
            .collect())
    }

    /// The new head of a branch and the commits up to it, when the branch went on from where it was: what pushes mostly are, and what
    /// two calls of git tell. None for all else.
    async fn forward(
        &self,
        repo: &Repo,
        repository: &git::Repository,
        change: &RefChange,
    ) -> Result<Option<(git::Commit, Vec<Value>)>, Error> {
        let (created, deleted) = (change.old == git::ZERO, change.new == git::ZERO);
        if created || deleted || !change.name.starts_with("refs/heads/") {
            return Ok(None);
        }
        let exclude = format!("^{}", change.old);
        // The old commit may be gone after a rewrite.
        let Ok(log) = repository.log_of(&[&change.new, &exclude], MOST_COMMITS, 0, None).await else { return Ok(None) };
        let Some(head) = log.iter().find(|commit| commit.id == change.new).cloned() else { return Ok(None) };
        if !log.iter().any(|commit| commit.parents.contains(&change.old)) {
            return Ok(None);
        }
        Ok(Some((head, self.push_commits(repo, repository, log).await?)))
    }

    async fn push_payload(
        &self,
        repo: &Repo,
        repository: &git::Repository,
        change: &RefChange,
        sender: &User,
    ) -> Result<Value, Error> {
        let (created, deleted) = (change.old == git::ZERO, change.new == git::ZERO);
        let forward = self.forward(repo, repository, change).await?;
        let mut forced = false;
        let mut commits = Vec::new();
        let head = match &forward {
            Some((head, _)) => Some(head.clone()),
            None if deleted => None,
            None => repository.commit(&change.new).await?,
        };
        if let Some((_, values)) = forward {
            commits = values;
        } else if let Some(head) = &head {
            let default = format!("refs/heads/{}", repo.default_branch);
            let old = if created { None } else { repository.commit(&change.old).await?.map(|commit| commit.id) };
            if let Some(old) = &old {
                forced = !repository.is_ancestor(old, &head.id).await?;
            }
            // A new branch brings what the default branch lacks; a new tag or the first default branch brings what is new at all.
            let exclude = match old {
                Some(old) => Some(old),
                None if change.name != default => repository.rev_parse(&format!("{default}^{{commit}}")).await?,
                None => None,
            };
            let exclude = exclude.map(|oid| format!("^{oid}"));
            let is_branch = change.name.starts_with("refs/heads/");
            if is_branch || !created {
                let mut revisions = vec![head.id.as_str()];
                revisions.extend(exclude.as_deref());
                let log = repository.log_of(&revisions, MOST_COMMITS, 0, None).await?;
                commits = self.push_commits(repo, repository, log).await?;
            }
        }
        let head_commit = match (&head, commits.last()) {
            (None, _) => Value::Null,
            (Some(head), Some(last)) if last["id"] == json!(head.id) => last.clone(),
            (Some(head), _) => {
                let changes = repository.changes_of(&[&head.id]).await?;
                let own = changes.first().map(Vec::as_slice).unwrap_or_default();
                shape::push_commit(&self.inner().urls, repo, head, own, created)
            }
        };
        let page = self.inner().urls.page(repo);
        let compare = match (created, deleted) {
            (false, false) => format!("{page}/compare/{}...{}", &change.old[..12], &change.new[..12]),
            (true, _) => format!("{page}/commit/{}", &change.new[..12]),
            (_, true) => format!("{page}/compare/{}...{}", &change.old[..12], &git::ZERO[..12]),
        };
        Ok(json!({
            "ref": change.name,
            "before": change.old,
            "after": change.new,
            "base_ref": null,
            "created": created,
            "deleted": deleted,
            "forced": forced,
            "compare": compare,
            "commits": commits,
            "head_commit": head_commit,
            "pusher": {"name": sender.login, "email": sender.email},
        }))
    }
}
