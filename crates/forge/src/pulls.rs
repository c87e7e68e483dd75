//! Pull requests: opening, following their branches, merging.

mod branches;

use serde_json::{Value, json};

use crate::model::{Merged, Pull, Repo};
use crate::outbox::Emission;
use crate::pktline::RefChange;
use crate::push::Actor;
use crate::store::Tx;
use crate::{Error, Forge, shape, time};

pub(crate) use branches::Reverting;

/// How a pull request becomes part of its base branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeMethod {
    /// A merge commit.
    Merge,
    /// One commit with all of its changes.
    Squash,
    /// Its commits, one by one, on top of the base.
    Rebase,
}

/// How to merge a pull request.
#[derive(Debug, Clone)]
pub(crate) struct Merging {
    pub method: MergeMethod,
    /// The commit's title and text, where they are not the usual ones.
    pub title: Option<String>,
    pub message: Option<String>,
    /// Where the head must be.
    pub expected_head: Option<String>,
}

/// A pull request to open.
#[derive(Debug, Clone, Default)]
pub struct NewPull {
    /// The title.
    pub title: String,
    /// The text.
    pub body: Option<String>,
    /// The branch to propose: `BRANCH` or `OWNER:BRANCH`.
    pub head: String,
    /// The branch to change.
    pub base: String,
    /// Whether it is not ready yet.
    pub draft: bool,
}

impl Forge {
    /// A pull request by number.
    ///
    /// # Errors
    /// When the repository or the pull request does not exist.
    pub async fn pull(&self, full_name: &str, number: u64) -> Result<Pull, Error> {
        let repo = self.need_repository(full_name).await?;
        self.need_pull(&repo, number).await
    }

    pub(crate) async fn need_pull(&self, repo: &Repo, number: u64) -> Result<Pull, Error> {
        self.store()
            .get(repo.id, crate::model::padded(number))
            .await?
            .ok_or_else(|| Error::not_found("pull request", number.to_string()))
    }

    /// All pull requests of a repository, oldest first.
    ///
    /// # Errors
    /// When the repository does not exist.
    pub async fn pulls(&self, full_name: &str) -> Result<Vec<Pull>, Error> {
        let repo = self.need_repository(full_name).await?;
        self.store().list(repo.id, "").await
    }

    /// A pull request as REST shows it.
    pub(crate) async fn pull_value(&self, repo: &Repo, pull: &Pull) -> Result<Value, Error> {
        let owner = self.user_or_ghost(&repo.owner).await?;
        let author = self.user_or_ghost(&pull.author).await?;
        let head = self.repository_by_id(pull.head_repo).await?;
        let head_owner = self.user_or_ghost(&pull.head_owner).await?;
        let head = head.as_ref().map(|head| (head, &head_owner));
        let mut value = shape::pull(self.urls(), repo, &owner, head, &author, pull);
        value["labels"] = self.label_values(repo, &pull.labels).await?;
        value["assignees"] = self.user_values(&pull.assignees).await?;
        value["requested_reviewers"] = self.user_values(&pull.reviewers).await?;
        value["locked"] = json!(pull.locked.is_some());
        Ok(value)
    }

    /// A `pull_request` event.
    pub(crate) async fn pull_event(
        &self,
        repo: &Repo,
        pull: &Pull,
        actor: &Actor,
        action: &str,
        extra: &[(&str, Value)],
    ) -> Result<Emission, Error> {
        let sender = self.user_or_ghost(&actor.login).await?;
        let mut payload = self.envelope(repo, &sender).await?;
        payload["action"] = json!(action);
        payload["number"] = json!(pull.number);
        payload["pull_request"] = self.canonical().pull_value(repo, pull).await?;
        for (key, value) in extra {
            payload[*key] = value.clone();
        }
        Ok(Emission::new("pull_request", repo.full_name(), payload, actor.run.clone()))
    }

    /// Opens a pull request in the name of a user.
    ///
    /// # Errors
    /// When a branch does not exist, nothing differs, or one for the same branches is open.
    pub async fn create_pull(&self, full_name: &str, login: &str, new: NewPull) -> Result<Pull, Error> {
        let repo = self.need_repository(full_name).await?;
        self.open_pull(&repo, &Actor { login: login.to_owned(), run: None }, new).await
    }

    pub(crate) async fn open_pull(&self, repo: &Repo, actor: &Actor, new: NewPull) -> Result<Pull, Error> {
        if new.title.trim().is_empty() {
            return Err(Error::invalid("title", "is missing"));
        }
        let (head_owner, head_ref) = match new.head.split_once(':') {
            Some((owner, branch)) => (owner.to_owned(), branch.to_owned()),
            None => (repo.owner.clone(), new.head.clone()),
        };
        let head_repo = self.head_repository(repo, &head_owner).await?;
        let head_sha =
            self.branch_tip(&head_repo, &head_ref).await?.ok_or_else(|| Error::invalid("head", "invalid"))?;
        let base_sha = self.branch_tip(repo, &new.base).await?.ok_or_else(|| Error::invalid("base", "invalid"))?;
        let repository = self.git_of(repo)?;
        self.bring(repo, &head_repo, &head_sha).await?;
        if repository.is_ancestor(&head_sha, &base_sha).await? {
            let reason = format!("No commits between {} and {}", new.base, new.head);
            return Err(Error::invalid("base", reason));
        }
        let now = time::now();
        let mut pull = Pull {
            id: 0,
            number: 0,
            title: new.title,
            body: new.body,
            author: actor.login.clone(),
            head_repo: head_repo.id,
            head_owner: head_repo.owner.clone(),
            head_ref,
            head_sha,
            base_ref: new.base,
            base_sha,
            open: true,
            draft: new.draft,
            test_merge_sha: None,
            merged: None,
            labels: Vec::new(),
            comments: Vec::new(),
            reviews: Vec::new(),
            assignees: Vec::new(),
            reviewers: Vec::new(),
            locked: None,
            created_at: now,
            updated_at: now,
            closed_at: None,
        };
        let repo_id = repo.id;
        let lock = self.lock_of(repo_id);
        let _guard = lock.lock().await;
        let wanted = pull.clone();
        pull = self
            .store()
            .write(move |tx| {
                let same = |other: &Pull| {
                    other.open
                        && (other.head_repo, &other.head_ref, &other.base_ref)
                            == (wanted.head_repo, &wanted.head_ref, &wanted.base_ref)
                };
                if let Some(other) = tx.list::<Pull>(repo_id, "")?.iter().find(|other| same(other)) {
                    return Err(Error::Exists {
                        what: "A pull request",
                        name: format!("for {}:{} (#{})", other.head_owner, other.head_ref, other.number),
                    });
                }
                let mut pull = wanted;
                pull.id = tx.next("pull")?;
                pull.number = tx.next(&format!("number/{repo_id}"))?;
                Ok(pull)
            })
            .await?;
        self.write_pull_refs(repo, &mut pull).await?;
        let emission = self.pull_event(repo, &pull, actor, "opened", &[]).await?;
        let stored = pull.clone();
        self.store()
            .write(move |tx| {
                tx.put(repo_id, &stored)?;
                tx.emit(repo_id, &emission)
            })
            .await?;
        self.ring();
        Ok(pull)
    }

    /// The repository below `owner` whose branches may be proposed to `repo`: itself or a fork of it.
    async fn head_repository(&self, repo: &Repo, owner: &str) -> Result<Repo, Error> {
        if repo.owner.eq_ignore_ascii_case(owner) {
            return Ok(repo.clone());
        }
        let related = |other: &Repo| {
            other.owner.eq_ignore_ascii_case(owner) && (other.parent == Some(repo.id) || repo.parent == Some(other.id))
        };
        let all = self.store().list::<Repo>(0, format!("{}/", owner.to_lowercase())).await?;
        all.into_iter().find(related).ok_or_else(|| Error::invalid("head", "invalid"))
    }

    pub(crate) async fn branch_tip(&self, repo: &Repo, branch: &str) -> Result<Option<String>, Error> {
        Ok(self.git_of(repo)?.rev_parse(&format!("refs/heads/{branch}^{{commit}}")).await?)
    }

    /// Makes a fork's commit known to the repository.
    async fn bring(&self, repo: &Repo, from: &Repo, sha: &str) -> Result<(), Error> {
        if repo.id == from.id {
            return Ok(());
        }
        let source = self.dir_of(from.id);
        Ok(self.git_of(repo)?.fetch(&source.to_string_lossy(), &[sha], &[]).await?)
    }

    /// Points `refs/pull/N/head` and `refs/pull/N/merge` at what they should name.
    async fn write_pull_refs(&self, repo: &Repo, pull: &mut Pull) -> Result<(), Error> {
        let repository = self.git_of(repo)?;
        let set = async |name: String, wanted: Option<&str>| -> Result<(), Error> {
            let at = repository.rev_parse(&name).await?;
            match (at.as_deref(), wanted) {
                (at, Some(wanted)) if at != Some(wanted) => {
                    repository.update_ref(&name, wanted, at).await?;
                }
                (Some(at), None) => {
                    repository.delete_ref(&name, at).await?;
                }
                _ => {}
            }
            Ok(())
        };
        set(format!("refs/pull/{}/head", pull.number), Some(&pull.head_sha)).await?;
        pull.test_merge_sha = match repository.merge_tree(&pull.base_sha, &pull.head_sha).await {
            Ok(git::MergeOutcome::Clean { tree }) => {
                let message = format!("Merge {} into {}", pull.head_sha, pull.base_sha);
                let author = self.identity(&pull.author).await?;
                // The head's own time: the same two commits always give the same test merge.
                let time = repository.commit(&pull.head_sha).await?.map(|commit| commit.time);
                let author = git::Identity { time, ..author };
                Some(repository.commit_tree(&tree, &[&pull.base_sha, &pull.head_sha], &message, &author, None).await?)
            }
            Ok(git::MergeOutcome::Conflict { .. }) => None,
            Err(error) => {
                tracing::warn!(number = pull.number, error = &error as &dyn std::error::Error, "no test merge");
                None
            }
        };
        set(format!("refs/pull/{}/merge", pull.number), pull.test_merge_sha.as_deref()).await
    }

    /// The name and address that go on commits made for a user.
    pub(crate) async fn identity(&self, login: &str) -> Result<git::Identity, Error> {
        let user = self.user_or_ghost(login).await?;
        let name = if user.name.is_empty() { user.login.clone() } else { user.name.clone() };
        let email = if user.email.is_empty() {
            format!("{}+{}@users.noreply.github.com", user.id, user.login)
        } else {
            user.email.clone()
        };
        Ok(git::Identity::new(name, email))
    }

    /// Brings open pull requests up to where their branches are, in this repository and those that it was forked from. Under the
    /// lock of `pushed`.
    pub(crate) async fn refresh_pulls(&self, pushed: u64, actor: &Actor) -> Result<(), Error> {
        let Some(repo) = self.repository_by_id(pushed).await? else { return Ok(()) };
        self.refresh_pulls_of(&repo, actor).await?;
        if let Some(parent) = repo.parent
            && let Some(parent) = self.repository_by_id(parent).await?
        {
            let lock = self.lock_of(parent.id);
            let _guard = lock.lock().await;
            self.refresh_pulls_of(&parent, actor).await?;
        }
        Ok(())
    }

    async fn refresh_pulls_of(&self, repo: &Repo, actor: &Actor) -> Result<(), Error> {
        let open: Vec<Pull> = self.store().list::<Pull>(repo.id, "").await?.into_iter().filter(|p| p.open).collect();
        let repository = self.git_of(repo)?;
        for mut pull in open {
            let head_repo = self.repository_by_id(pull.head_repo).await?;
            let head = match &head_repo {
                Some(head_repo) => self.branch_tip(head_repo, &pull.head_ref).await?,
                None => None,
            };
            let Some(base) = self.branch_tip(repo, &pull.base_ref).await? else {
                self.close_pull(repo, &mut pull, actor, None).await?;
                continue;
            };
            let before = pull.head_sha.clone();
            let moved = head.as_ref().is_some_and(|head| *head != pull.head_sha);
            if let (true, Some(head), Some(head_repo)) = (moved, &head, &head_repo) {
                self.bring(repo, head_repo, head).await?;
                pull.head_sha = head.clone();
            }
            if !moved && base == pull.base_sha {
                if head.is_none() {
                    self.close_pull(repo, &mut pull, actor, None).await?;
                }
                continue;
            }
            let merged = base != pull.base_sha && repository.is_ancestor(&pull.head_sha, &base).await?;
            if merged {
                let merged = Merged { sha: base.clone(), by: actor.login.clone(), at: time::now(), base: None };
                self.close_pull(repo, &mut pull, actor, Some(merged)).await?;
                continue;
            }
            if head.is_none() {
                self.close_pull(repo, &mut pull, actor, None).await?;
                continue;
            }
            pull.base_sha = base;
            self.write_pull_refs(repo, &mut pull).await?;
            let mut emissions = Vec::new();
            if moved {
                pull.updated_at = time::now();
                let extra = [("before", json!(before)), ("after", json!(pull.head_sha))];
                emissions.push(self.pull_event(repo, &pull, actor, "synchronize", &extra).await?);
            }
            self.put_pull(repo.id, pull, emissions).await?;
        }
        Ok(())
    }

    async fn put_pull(&self, repo: u64, pull: Pull, emissions: Vec<Emission>) -> Result<(), Error> {
        self.store()
            .write(move |tx: &Tx| {
                tx.put(repo, &pull)?;
                emissions.iter().try_for_each(|emission| tx.emit(repo, emission).map(drop))
            })
            .await?;
        self.ring();
        Ok(())
    }

    async fn close_pull(
        &self,
        repo: &Repo,
        pull: &mut Pull,
        actor: &Actor,
        merged: Option<Merged>,
    ) -> Result<(), Error> {
        pull.open = false;
        pull.closed_at = Some(time::now());
        pull.updated_at = time::now();
        pull.merged = merged;
        let emission = self.pull_event(repo, pull, actor, "closed", &[]).await?;
        self.put_pull(repo.id, pull.clone(), vec![emission]).await
    }

    /// Changes what of a pull request can be changed, with the event that says so.
    pub(crate) async fn edit_pull(
        &self,
        repo: &Repo,
        number: u64,
        actor: &Actor,
        edit: impl FnOnce(&mut Pull) -> Option<&'static str>,
    ) -> Result<Pull, Error> {
        let lock = self.lock_of(repo.id);
        let _guard = lock.lock().await;
        let mut pull = self.need_pull(repo, number).await?;
        let base = pull.base_sha.clone();
        let Some(action) = edit(&mut pull) else { return Ok(pull) };
        pull.updated_at = time::now();
        match action {
            "closed" => pull.closed_at = Some(time::now()),
            "reopened" => {
                pull.closed_at = None;
                self.write_pull_refs(repo, &mut pull).await?;
            }
            _ if base != pull.base_sha => self.write_pull_refs(repo, &mut pull).await?,
            _ => {}
        }
        let emission = self.pull_event(repo, &pull, actor, action, &[]).await?;
        self.put_pull(repo.id, pull.clone(), vec![emission]).await?;
        Ok(pull)
    }

    /// Merges a pull request.
    ///
    /// # Errors
    /// When it is closed, conflicts, moved, or its base branch moved at the same moment.
    pub(crate) async fn merge_pull(
        &self,
        repo: &Repo,
        number: u64,
        actor: &Actor,
        merging: Merging,
    ) -> Result<Merged, Error> {
        let Merging { method, title, message, expected_head } = merging;
        let pull = self.need_pull(repo, number).await?;
        if !pull.open || pull.draft {
            return Err(Error::invalid("state", "Pull Request is not mergeable"));
        }
        if let Some(expected) = expected_head
            && expected != pull.head_sha
        {
            return Err(Error::RefMoved { name: pull.head_ref, expected });
        }
        let repository = self.git_of(repo)?;
        let base = self
            .branch_tip(repo, &pull.base_ref)
            .await?
            .ok_or_else(|| Error::not_found("branch", pull.base_ref.clone()))?;
        let who = self.identity(&actor.login).await?;
        let new = match method {
            MergeMethod::Merge => {
                let tree = clean(repository.merge_tree(&base, &pull.head_sha).await?)?;
                let title = title.unwrap_or_else(|| {
                    format!("Merge pull request #{number} from {}/{}", pull.head_owner, pull.head_ref)
                });
                let body = message.unwrap_or_else(|| pull.title.clone());
                let text = joined(&title, &body);
                repository.commit_tree(&tree, &[&base, &pull.head_sha], &text, &who, None).await?
            }
            MergeMethod::Squash => {
                let tree = clean(repository.merge_tree(&base, &pull.head_sha).await?)?;
                let title = title.unwrap_or_else(|| format!("{} (#{number})", pull.title));
                let text = joined(&title, &message.or(pull.body.clone()).unwrap_or_default());
                let author = self.identity(&pull.author).await?;
                repository.commit_tree(&tree, &[&base], &text, &author, Some(&who)).await?
            }
            MergeMethod::Rebase => self.rebase(&repository, &base, &pull.head_sha, &who).await?,
        };
        let change = RefChange { name: format!("refs/heads/{}", pull.base_ref), old: base.clone(), new: new.clone() };
        let merged = Merged { sha: new, by: actor.login.clone(), at: time::now(), base: Some(base) };
        // Closed first in memory, stored after the ref moved: a kill in between is repaired by the comparison of the next push,
        // which finds the head in the base.
        self.move_refs(repo, actor, &[change]).await?;
        let lock = self.lock_of(repo.id);
        let _guard = lock.lock().await;
        let mut pull = self.need_pull(repo, number).await?;
        if pull.merged.is_none() {
            self.close_pull(repo, &mut pull, actor, Some(merged.clone())).await?;
        } else {
            pull.merged = Some(merged.clone());
            self.put_pull(repo.id, pull, Vec::new()).await?;
        }
        Ok(merged)
    }

    /// Replays the commits of `head` that `base` lacks on top of `base`.
    async fn rebase(
        &self,
        repository: &git::Repository,
        base: &str,
        head: &str,
        committer: &git::Identity,
    ) -> Result<String, Error> {
        let exclude = format!("^{base}");
        let mut commits = repository.log_of(&[head, &exclude], 1000, 0, None).await?;
        commits.reverse();
        let mut tip = base.to_owned();
        for commit in commits.iter().filter(|commit| commit.parents.len() == 1) {
            // A merge of the tip and the commit, as seen from the commit's parent, is what cherry-picking is.
            let grafted = repository
                .commit_tree(&repository_tree(repository, &tip).await?, &[&commit.parents[0]], "graft", committer, None)
                .await?;
            let tree = clean(repository.merge_tree(&grafted, &commit.id).await?)?;
            let author = git::Identity {
                name: commit.author.name.clone(),
                email: commit.author.email.clone(),
                time: Some(commit.author.time),
            };
            tip = repository.commit_tree(&tree, &[&tip], &commit.message, &author, Some(committer)).await?;
        }
        Ok(tip)
    }
}

async fn repository_tree(repository: &git::Repository, commit: &str) -> Result<String, Error> {
    repository.rev_parse(&format!("{commit}^{{tree}}")).await?.ok_or_else(|| Error::not_found("commit", commit))
}

fn clean(outcome: git::MergeOutcome) -> Result<String, Error> {
    match outcome {
        git::MergeOutcome::Clean { tree } => Ok(tree),
        git::MergeOutcome::Conflict { paths } => Err(Error::Conflict { paths }),
    }
}

fn joined(title: &str, body: &str) -> String {
    if body.trim().is_empty() { title.to_owned() } else { format!("{title}\n\n{body}") }
}
