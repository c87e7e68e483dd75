//! What the owner of the process may do without a request: users, tokens, repositories, seeding, secrets, variables,
//! environments, statuses, check runs.

mod settings;

use std::collections::BTreeMap;
use std::path::Path;

use crate::auth::{ACTIONS_BOT, hash, random_token};
use crate::model::{Access, CheckRun, Environment, Job, Protection, Repo, Role, Secret, Status, Token, User, Variable};
use crate::pktline::RefChange;
use crate::push::Actor;
use crate::{Error, Forge, time};

/// A repository to make.
#[derive(Debug, Clone)]
pub struct NewRepository {
    /// One line about it.
    pub description: Option<String>,
    /// Whether only those with a role may see it.
    pub private: bool,
    /// The branch that HEAD names.
    pub default_branch: String,
}

impl Default for NewRepository {
    fn default() -> Self {
        Self { description: None, private: false, default_branch: "main".to_owned() }
    }
}

fn valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && !matches!(name, "." | ".." | ".git")
        && !name.ends_with(".git")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

impl Forge {
    /// Makes a user, or changes the one that has the login.
    ///
    /// # Errors
    /// When the login is not one.
    pub async fn create_user(&self, login: &str, name: &str, email: &str, admin: bool) -> Result<User, Error> {
        if !valid_name(login) {
            return Err(Error::invalid("login", format!("{login:?} is not a name for a user")));
        }
        let (login, name, email) = (login.to_owned(), name.to_owned(), email.to_owned());
        self.store()
            .write(move |tx| {
                let existing: Option<User> = tx.get(0, &login.to_lowercase())?;
                let id = match &existing {
                    Some(user) => user.id,
                    None => tx.next("user")?,
                };
                let created_at = existing.map_or_else(time::now, |user| user.created_at);
                let user = User { id, login, name, email, admin, organization: false, created_at };
                tx.put(0, &user)?;
                Ok(user)
            })
            .await
    }

    /// Makes a token with which a user does what that user may do. Only its hash is kept.
    ///
    /// # Errors
    /// When the user does not exist.
    pub async fn create_token(&self, login: &str) -> Result<String, Error> {
        let user = self.user(login).await?.ok_or_else(|| Error::not_found("user", login))?;
        let text = random_token("ghp_");
        self.store_token(&text, user.login, None).await?;
        Ok(text)
    }

    /// Makes a given text a user's token, for one that must stay the same over restarts.
    ///
    /// # Errors
    /// When the user does not exist or the text is too short to be a secret.
    pub async fn register_token(&self, login: &str, text: &str) -> Result<(), Error> {
        if text.len() < 16 {
            return Err(Error::invalid("token", "is shorter than 16 characters"));
        }
        let user = self.user(login).await?.ok_or_else(|| Error::not_found("user", login))?;
        self.store_token(text, user.login, None).await
    }

    /// Makes a token for a workflow run's job: it works in one repository with the permissions given (`contents`, `statuses`,
    /// `pull-requests`, ... as in workflow files), and what it causes carries the run's id.
    ///
    /// # Errors
    /// When the repository does not exist.
    pub async fn mint_job_token(
        &self,
        full_name: &str,
        permissions: BTreeMap<String, Access>,
        run: &str,
    ) -> Result<String, Error> {
        let repo = self.need_repository(full_name).await?;
        let text = random_token("ghs_");
        let job = Job { repo: repo.id, permissions, run: run.to_owned() };
        self.store_token(&text, ACTIONS_BOT.to_owned(), Some(job)).await?;
        Ok(text)
    }

    async fn store_token(&self, text: &str, login: String, job: Option<Job>) -> Result<(), Error> {
        let hash = hash(text);
        self.store()
            .write(move |tx| {
                let id = tx.next("token")?;
                tx.put(0, &Token { hash, id, login, job })
            })
            .await
    }

    /// Makes a token worthless.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_token(&self, text: &str) -> Result<(), Error> {
        self.store().delete::<Token>(0, hash(text)).await.map(drop)
    }

    /// Makes a repository, and its owner where there is none yet.
    ///
    /// # Errors
    /// When it exists or its name is not one.
    pub async fn create_repository(&self, owner: &str, name: &str, new: NewRepository) -> Result<Repo, Error> {
        // What paths of the API and the pages begin with.
        let reserved = crate::router::REST.contains(&owner.to_lowercase().as_str())
            || matches!(owner.to_lowercase().as_str(), "api" | "graphql" | "login" | "assets");
        if !valid_name(owner) || !valid_name(name) || reserved {
            return Err(Error::invalid("name", format!("{owner}/{name} is not a name for a repository")));
        }
        if let Some(existing) = self.repository(&format!("{owner}/{name}")).await? {
            return Err(Error::Exists { what: "repository", name: existing.full_name() });
        }
        if self.user(owner).await?.is_none() {
            self.create_user(owner, owner, "", false).await?;
        }
        let now = time::now();
        let id = self.store().write(|tx| tx.next("repo")).await?;
        git::Repository::init_bare(self.dir_of(id), &new.default_branch).await?;
        let repo = Repo {
            id,
            owner: owner.to_owned(),
            name: name.to_owned(),
            description: new.description,
            private: new.private,
            default_branch: new.default_branch,
            collaborators: BTreeMap::new(),
            parent: None,
            created_at: now,
            pushed_at: now,
            updated_at: now,
        };
        self.store()
            .write(move |tx| {
                if tx.get::<Repo>(0, &repo.full_name().to_lowercase())?.is_some() {
                    return Err(Error::Exists { what: "repository", name: repo.full_name() });
                }
                tx.put(0, &repo)?;
                tx.make_default_labels(repo.id)?;
                Ok(repo)
            })
            .await
    }

    /// A repository as events have it: GitHub's `repository` object.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn repository_payload(&self, full_name: &str) -> Result<serde_json::Value, Error> {
        let repo = self.need_repository(full_name).await?;
        let owner = self.user_or_ghost(&repo.owner).await?;
        Ok(crate::shape::repo(self.urls(), &repo, &owner, None))
    }

    /// A user as events have it: GitHub's `sender` object.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user_payload(&self, login: &str) -> Result<serde_json::Value, Error> {
        let user = self.user_or_ghost(login).await?;
        Ok(crate::shape::user(self.urls(), &user))
    }

    /// All repositories, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn repositories(&self) -> Result<Vec<Repo>, Error> {
        self.store().list(0, "").await
    }

    /// Deletes a repository with all that belongs to it.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn delete_repository(&self, full_name: &str) -> Result<(), Error> {
        let repo = self.need_repository(full_name).await?;
        let (id, key) = (repo.id, repo.full_name().to_lowercase());
        self.store()
            .write(move |tx| {
                tx.delete::<Repo>(0, &key)?;
                tx.purge(id)
            })
            .await?;
        let dir = self.dir_of(id);
        tokio::fs::remove_dir_all(&dir).await.map_err(crate::error::io(dir))
    }

    /// Gives a user a role in a repository; `None` takes it away.
    ///
    /// # Errors
    /// When the repository does not exist.
    pub async fn set_role(&self, full_name: &str, login: &str, role: Option<Role>) -> Result<(), Error> {
        let repo = self.need_repository(full_name).await?;
        let (id, login) = (repo.id, login.to_lowercase());
        self.store()
            .write(move |tx| {
                let Some(mut repo) = tx.by_id::<Repo>(0, id)? else { return Ok(()) };
                match role {
                    Some(role) => repo.collaborators.insert(login, role),
                    None => repo.collaborators.remove(&login),
                };
                tx.put(0, &repo)
            })
            .await
    }

    /// Fetches refs from a repository on disk (or a URL) and takes them as they are: nobody is told, no workflow starts. Refspecs as
    /// git has them, such as `+refs/heads/main:refs/heads/main`.
    ///
    /// # Errors
    /// When the repository does not exist or git cannot fetch.
    pub async fn seed(&self, full_name: &str, source: &Path, refspecs: &[&str]) -> Result<(), Error> {
        let repo = self.need_repository(full_name).await?;
        let repository = self.git_of(&repo)?;
        repository.fetch(&source.to_string_lossy(), refspecs, &[]).await?;
        self.adopt_refs(&repo).await
    }

    /// Moves a ref in the name of a user, as a push would, and tells of it. `old` is where it must be (`None`: absent), `new` where it
    /// goes (`None`: deleted).
    ///
    /// # Errors
    /// [`Error::RefMoved`] when it is elsewhere.
    pub async fn update_ref(
        &self,
        full_name: &str,
        login: &str,
        name: &str,
        old: Option<&str>,
        new: Option<&str>,
    ) -> Result<Vec<i64>, Error> {
        let repo = self.need_repository(full_name).await?;
        let at = |oid: Option<&str>| oid.unwrap_or(git::ZERO).to_owned();
        let change = RefChange { name: name.to_owned(), old: at(old), new: at(new) };
        self.move_refs(&repo, &Actor { login: login.to_owned(), run: None }, &[change]).await
    }

    /// Commits files on top of a branch in the name of a user, as a push would, on top of whatever lands meanwhile: the
    /// content of each path replaces what is there (`None` deletes it). Returns the commit.
    ///
    /// # Errors
    /// When the branch does not exist or a path is not allowed.
    pub async fn commit_files(
        &self,
        full_name: &str,
        login: &str,
        branch: &str,
        files: &[(String, Option<Vec<u8>>)],
        message: &str,
    ) -> Result<String, Error> {
        let repo = self.need_repository(full_name).await?;
        let repository = self.git_of(&repo)?;
        let who = self.identity(login).await?;
        let name = format!("refs/heads/{branch}");
        for attempt in 0.. {
            let tip = self.branch_tip(&repo, branch).await?.ok_or_else(|| Error::not_found("branch", branch))?;
            let commit = repository.commit_files(Some(&tip), files, message, &who).await?;
            match self.update_ref(full_name, login, &name, Some(&tip), Some(&commit)).await {
                Ok(_) => return Ok(commit),
                Err(Error::RefMoved { .. }) if attempt < 50 => {}
                Err(error) => return Err(error),
            }
        }
        unreachable!("the loop returns")
    }

    /// Posts a commit status; its `id` and time are given by the forge. `status` events tell of it.
    ///
    /// # Errors
    /// When the repository or the commit does not exist, or the state is not one.
    pub async fn set_status(&self, full_name: &str, status: Status) -> Result<Status, Error> {
        let repo = self.need_repository(full_name).await?;
        let actor = Actor { login: status.creator.clone(), run: None };
        self.post_status(&repo, &actor, status).await
    }

    /// All statuses of a commit, newest first.
    ///
    /// # Errors
    /// When the repository does not exist.
    pub async fn statuses(&self, full_name: &str, sha: &str) -> Result<Vec<Status>, Error> {
        let repo = self.need_repository(full_name).await?;
        self.statuses_of(&repo, sha).await
    }

    /// Posts a check run, or changes the one whose `id` it has, or (with id 0) the one of the commit that has its `external_id`.
    /// Returns it with its id.
    ///
    /// # Errors
    /// When the repository or the commit does not exist.
    pub async fn set_check_run(&self, full_name: &str, run: CheckRun) -> Result<CheckRun, Error> {
        let repo = self.need_repository(full_name).await?;
        let actor = Actor { login: ACTIONS_BOT.to_owned(), run: None };
        self.post_check_run(&repo, &actor, run).await
    }

    /// The check runs of a commit, oldest first.
    ///
    /// # Errors
    /// When the repository does not exist.
    pub async fn check_runs(&self, full_name: &str, sha: &str) -> Result<Vec<CheckRun>, Error> {
        let repo = self.need_repository(full_name).await?;
        self.store().list(repo.id, format!("{sha}/")).await
    }
}

/// The name of a secret or variable, in capitals, if it is one.
pub(crate) fn setting_name(name: &str) -> Result<String, Error> {
    let upper = name.to_ascii_uppercase();
    let valid = !upper.is_empty()
        && !upper.starts_with("GITHUB_")
        && !upper.as_bytes()[0].is_ascii_digit()
        && upper.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !valid {
        return Err(Error::invalid(
            "name",
            format!("{name:?} must have only letters, digits and _, not start with a digit and not with GITHUB_"),
        ));
    }
    Ok(upper)
}
