//! Releases and their files.

use serde_json::{Value, json};

use crate::model::{Asset, Release, Repo, padded};
use crate::outbox::Emission;
use crate::pktline::RefChange;
use crate::push::Actor;
use crate::{Error, Forge, shape, time};

/// A release to make.
#[derive(Debug, Clone, Default)]
pub struct NewRelease {
    /// The tag, made from `target_commitish` when it does not exist.
    pub tag_name: String,
    /// A branch or commit; the default branch when absent.
    pub target_commitish: Option<String>,
    /// The title.
    pub name: Option<String>,
    /// The notes.
    pub body: Option<String>,
    /// Whether it stays unpublished.
    pub draft: bool,
    /// Whether it is not for production.
    pub prerelease: bool,
    /// Whether it must not count as the latest.
    pub not_latest: bool,
}

impl Forge {
    /// Publishes a release (or stores a draft) in the name of a user. The tag is made when it does not exist, and told of as
    /// a push; then `release` is told of.
    ///
    /// # Errors
    /// When a release of the tag exists, the tag's name is not valid, or the target names no commit.
    pub async fn create_release(&self, full_name: &str, login: &str, new: NewRelease) -> Result<Release, Error> {
        let repo = self.need_repository(full_name).await?;
        self.make_release(&repo, &Actor { login: login.to_owned(), run: None }, new).await
    }

    pub(crate) async fn make_release(&self, repo: &Repo, actor: &Actor, new: NewRelease) -> Result<Release, Error> {
        let existing = self.releases_of(repo).await?;
        if !new.draft && existing.iter().any(|release| !release.draft && release.tag_name == new.tag_name) {
            return Err(Error::Exists { what: "tag_name", name: new.tag_name });
        }
        let now = time::now();
        let mut release = Release {
            id: 0,
            target_commitish: new.target_commitish.unwrap_or_else(|| repo.default_branch.clone()),
            tag_name: new.tag_name,
            name: new.name,
            body: new.body,
            draft: new.draft,
            prerelease: new.prerelease,
            not_latest: new.not_latest,
            author: actor.login.clone(),
            created_at: now,
            published_at: None,
        };
        self.check_tag(repo, &release).await?;
        if !release.draft {
            self.make_tag(repo, actor, &release).await?;
            release.published_at = Some(now);
        }
        release.id = self.store().write(|tx| tx.next("release")).await?;
        let actions: &[&str] = match (release.draft, release.prerelease) {
            (true, _) => &["created"],
            (false, true) => &["created", "published", "prereleased"],
            (false, false) => &["created", "published", "released"],
        };
        self.put_release(repo, release, actor, actions).await
    }

    async fn check_tag(&self, repo: &Repo, release: &Release) -> Result<(), Error> {
        let name = format!("refs/tags/{}", release.tag_name);
        if release.tag_name.is_empty() || !self.git_of(repo)?.is_valid_ref(&name).await? {
            return Err(Error::invalid("tag_name", format!("{:?} is not a valid tag", release.tag_name)));
        }
        Ok(())
    }

    /// The commit that a release's target names, a branch before a commit.
    async fn target(&self, repo: &Repo, target: &str) -> Result<String, Error> {
        let repository = self.git_of(repo)?;
        for revision in [format!("refs/heads/{target}^{{commit}}"), format!("{target}^{{commit}}")] {
            if let Some(oid) = repository.rev_parse(&revision).await? {
                return Ok(oid);
            }
        }
        Err(Error::invalid("target_commitish", format!("{target:?} names no branch or commit")))
    }

    async fn make_tag(&self, repo: &Repo, actor: &Actor, release: &Release) -> Result<(), Error> {
        let name = format!("refs/tags/{}", release.tag_name);
        if self.git_of(repo)?.rev_parse(&name).await?.is_some() {
            return Ok(());
        }
        let oid = self.target(repo, &release.target_commitish).await?;
        let change = RefChange { name, old: git::ZERO.to_owned(), new: oid };
        self.move_refs(repo, actor, &[change]).await.map(drop)
    }

    /// Stores a release and tells of it, in one transaction.
    pub(crate) async fn put_release(
        &self,
        repo: &Repo,
        release: Release,
        actor: &Actor,
        actions: &[&str],
    ) -> Result<Release, Error> {
        let mut emissions = Vec::new();
        for action in actions {
            emissions.push(self.release_event(repo, &release, actor, action).await?);
        }
        let id = repo.id;
        let release = self
            .store()
            .write(move |tx| {
                tx.put(id, &release)?;
                emissions.iter().try_for_each(|emission| tx.emit(id, emission).map(drop))?;
                Ok(release)
            })
            .await?;
        self.ring();
        Ok(release)
    }

    async fn release_event(
        &self,
        repo: &Repo,
        release: &Release,
        actor: &Actor,
        action: &str,
    ) -> Result<Emission, Error> {
        let sender = self.user_or_ghost(&actor.login).await?;
        let mut payload = self.envelope(repo, &sender).await?;
        payload["action"] = json!(action);
        payload["release"] = self.canonical().release_value(repo, release).await?;
        Ok(Emission::new("release", repo.full_name(), payload, actor.run.clone()))
    }

    pub(crate) async fn release_value(&self, repo: &Repo, release: &Release) -> Result<Value, Error> {
        let assets: Vec<Asset> = self.store().list(repo.id, format!("{}/", padded(release.id))).await?;
        let author = self.user_or_ghost(&release.author).await?;
        Ok(shape::release(self.urls(), repo, release, &author, &assets))
    }

    /// Applies an edit; publishing a draft makes its tag and tells of it.
    pub(crate) async fn edit_release(
        &self,
        repo: &Repo,
        mut release: Release,
        actor: &Actor,
        edit: impl FnOnce(&mut Release),
    ) -> Result<Release, Error> {
        let was_draft = release.draft;
        edit(&mut release);
        self.check_tag(repo, &release).await?;
        let others = self.releases_of(repo).await?;
        let taken =
            others.iter().any(|r| r.id != release.id && !r.draft && !release.draft && r.tag_name == release.tag_name);
        if taken {
            return Err(Error::Exists { what: "tag_name", name: release.tag_name });
        }
        let publishes = was_draft && !release.draft;
        if publishes {
            self.make_tag(repo, actor, &release).await?;
            release.published_at = Some(time::now());
        }
        let actions: &[&str] = match (publishes, release.prerelease) {
            (false, _) => &["edited"],
            (true, true) => &["published", "prereleased"],
            (true, false) => &["published", "released"],
        };
        self.put_release(repo, release, actor, actions).await
    }

    pub(crate) async fn delete_release(&self, repo: &Repo, release: Release, actor: &Actor) -> Result<(), Error> {
        let emission = self.release_event(repo, &release, actor, "deleted").await?;
        let id = repo.id;
        let files = self
            .store()
            .write(move |tx| {
                let assets = tx.list::<Asset>(id, &format!("{}/", padded(release.id)))?;
                for asset in &assets {
                    tx.delete::<Asset>(id, &crate::store::Doc::key(asset))?;
                }
                tx.delete::<Release>(id, &padded(release.id))?;
                tx.emit(id, &emission)?;
                Ok(assets)
            })
            .await?;
        for asset in files {
            let _ = tokio::fs::remove_file(self.asset_path(asset.id)).await;
        }
        self.ring();
        Ok(())
    }

    /// All releases of a repository, newest first, drafts among them.
    ///
    /// # Errors
    /// When the repository does not exist.
    pub async fn releases(&self, full_name: &str) -> Result<Vec<Release>, Error> {
        let repo = self.need_repository(full_name).await?;
        self.releases_of(&repo).await
    }

    pub(crate) async fn releases_of(&self, repo: &Repo) -> Result<Vec<Release>, Error> {
        let mut releases: Vec<Release> = self.store().list(repo.id, "").await?;
        releases.reverse();
        Ok(releases)
    }
}

/// The release that counts as the latest: the newest published one that is neither a prerelease nor marked as not the latest.
pub(crate) fn latest(releases: &[Release]) -> Option<&Release> {
    let published = |release: &&Release| !release.draft && !release.prerelease;
    let ranked = |release: &&Release| (release.published_at, release.id);
    releases
        .iter()
        .filter(published)
        .filter(|release| !release.not_latest)
        .max_by_key(ranked)
        .or_else(|| releases.iter().filter(published).max_by_key(ranked))
}
