//! The forge itself: opening its state, and the handle that everything else hangs on.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::io;
use crate::listener::PushListener;
use crate::maintenance::{self, Maintenance, Touched};
use crate::model::{Repo, User};
use crate::sealed::Keys;
use crate::shape::Urls;
use crate::store::Store;
use crate::{Error, push};

/// How a forge is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where its state is; made when absent.
    pub dir: PathBuf,
    /// The URL under which clients reach it, without a slash at its end, such as `http://127.0.0.1:8080`. Stands in answers and
    /// event payloads.
    pub base_url: String,
    /// Whether repositories that are not private can be read without a token.
    pub anonymous_read: bool,
    /// How long a push's side band may stay open for a [`PushListener`] after the refs were accepted.
    pub push_output_limit: Duration,
    /// When the objects of a repository are packed.
    pub maintenance: Maintenance,
}

impl Config {
    /// A configuration with anonymous reading and two hours for push output.
    pub fn new(dir: impl Into<PathBuf>, base_url: impl Into<String>) -> Self {
        Self {
            dir: dir.into(),
            base_url: base_url.into(),
            anonymous_read: true,
            push_output_limit: Duration::from_secs(2 * 60 * 60),
            maintenance: Maintenance::default(),
        }
    }
}

/// A GitHub for one machine. Cheap to clone; all clones are the same forge.
#[derive(Clone)]
pub struct Forge {
    inner: Arc<Inner>,
    /// The URLs that one request's answers show, where they are not the configured ones.
    shown: Option<Arc<Urls>>,
}

pub(crate) struct Inner {
    /// Held for as long as the state is ours.
    _lock: std::fs::File,
    pub config: Config,
    pub urls: Urls,
    pub store: Store,
    pub keys: Keys,
    /// Serialises the recording of ref updates of one repository.
    locks: Mutex<HashMap<u64, Arc<tokio::sync::Mutex<()>>>>,
    listener: RwLock<Option<Arc<dyn PushListener>>>,
    /// Requests that go on after their client has gone, such as a push that must be recorded.
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
    /// Rings when the outbox has something new.
    pub outbox: Notify,
    /// Rings when a hook delivery is due.
    pub hooks: Notify,
    /// Repositories that were written to.
    pub touched: Touched,
    /// Held while a repository is packed.
    pub packing: tokio::sync::Mutex<()>,
    /// The last webhook handed out by this process.
    pub cursor: tokio::sync::Mutex<i64>,
}

impl Forge {
    /// Opens the forge in its directory, made when absent, and repairs what a kill left behind: ref updates that git
    /// made and the outbox does not have become webhooks now.
    ///
    /// # Errors
    /// When the directory or the database cannot be used, or git cannot run.
    pub async fn open(config: Config) -> Result<Self, Error> {
        let dir = config.dir.clone();
        for sub in ["repositories", "assets", "spool", "hooks"] {
            std::fs::create_dir_all(dir.join(sub)).map_err(io(dir.join(sub)))?;
        }
        let lock = own(&dir).await?;
        if orphans_ended(&dir.join("repositories")).await {
            unlock_all(&dir)?;
        }
        write_update_hook(&dir)?;
        let store = Store::open(&dir.join("forge.db"))?;
        let keys = Keys::open(&dir.join("secrets.key"))?;
        let inner = Inner {
            _lock: lock,
            urls: Urls::new(&config.base_url),
            config,
            store,
            keys,
            locks: Mutex::default(),
            listener: RwLock::default(),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            outbox: Notify::new(),
            hooks: Notify::new(),
            touched: Touched::default(),
            packing: tokio::sync::Mutex::default(),
            cursor: tokio::sync::Mutex::new(0),
        };
        let forge = Self { inner: Arc::new(inner), shown: None };
        forge.clear_spool();
        push::repair(&forge).await?;
        Ok(forge)
    }

    /// Delivers HTTP webhooks and packs repositories until `shutdown`, then waits for pushes under way to be recorded. Run it for as long as the
    /// router serves.
    pub async fn run(&self, shutdown: CancellationToken) {
        tokio::select! {
            () = crate::deliver::run(self) => {}
            () = maintenance::run(self) => {}
            () = shutdown.cancelled() => {}
        }
        self.inner.shutdown.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Sets who is told of accepted pushes and may write to the pusher's terminal.
    pub fn set_push_listener(&self, listener: Arc<dyn PushListener>) {
        *self.inner.listener.write().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    pub(crate) fn push_listener(&self) -> Option<Arc<dyn PushListener>> {
        self.inner.listener.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn urls(&self) -> &Urls {
        self.shown.as_deref().unwrap_or(&self.inner.urls)
    }

    /// This forge with the configured URLs: for what others than the client will read.
    pub(crate) fn canonical(&self) -> Self {
        Self { inner: self.inner.clone(), shown: None }
    }

    /// This forge as a client sees it that reached it under `host`. `gh` knows `github.localhost` as a GitHub over plain HTTP, and sends
    /// its token only there.
    pub(crate) fn seen_as(&self, host: &str) -> Self {
        let name = "github.localhost";
        let shown = (host == name || host.ends_with(&format!(".{name}")))
            .then(|| Arc::new(Urls { web: format!("http://{name}"), api: format!("http://api.{name}") }));
        Self { inner: self.inner.clone(), shown }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn lock_of(&self, repo: u64) -> Arc<tokio::sync::Mutex<()>> {
        self.inner.locks.lock().unwrap_or_else(PoisonError::into_inner).entry(repo).or_default().clone()
    }

    /// Runs a task to its end whatever becomes of the request that started it; a panic in it is reported.
    pub(crate) fn detach(&self, what: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.tasks.spawn(async move {
            if std::panic::AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!(what, "a task of the forge panicked");
            }
        });
    }

    pub(crate) fn dir_of(&self, repo: u64) -> PathBuf {
        self.inner.config.dir.join("repositories").join(format!("{repo}.git"))
    }

    pub(crate) fn asset_path(&self, asset: u64) -> PathBuf {
        self.inner.config.dir.join("assets").join(asset.to_string())
    }

    pub(crate) fn hooks_dir(&self) -> PathBuf {
        self.inner.config.dir.join("hooks")
    }

    pub(crate) fn spool_dir(&self) -> PathBuf {
        self.inner.config.dir.join("spool")
    }

    fn clear_spool(&self) {
        for entry in std::fs::read_dir(self.spool_dir()).into_iter().flatten().flatten() {
            let _ = std::fs::remove_file(entry.path());
        }
    }

    pub(crate) fn git_of(&self, repo: &Repo) -> Result<git::Repository, Error> {
        Ok(git::Repository::open(self.dir_of(repo.id))?)
    }

    /// A repository's settings by `OWNER/NAME`, whatever the case of the letters; `None` when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn repository(&self, full_name: &str) -> Result<Option<Repo>, Error> {
        self.store().get(0, full_name.trim_matches('/').trim_end_matches(".git").to_lowercase()).await
    }

    pub(crate) async fn need_repository(&self, full_name: &str) -> Result<Repo, Error> {
        self.repository(full_name).await?.ok_or_else(|| Error::not_found("repository", full_name))
    }

    pub(crate) async fn repository_by_id(&self, id: u64) -> Result<Option<Repo>, Error> {
        self.store().by_id(0, id).await
    }

    /// A repository's git repository, for reading. Change refs through the forge, so that webhooks tell of it.
    ///
    /// # Errors
    /// When there is no such repository.
    pub async fn git(&self, full_name: &str) -> Result<git::Repository, Error> {
        self.git_of(&self.need_repository(full_name).await?)
    }

    /// A user by login; jobs act as one that is not stored.
    pub(crate) async fn user(&self, login: &str) -> Result<Option<User>, Error> {
        if login == crate::auth::ACTIONS_BOT {
            return Ok(Some(actions_bot()));
        }
        self.store().get(0, login.to_lowercase()).await
    }

    /// As [`Forge::user`]; somebody unknown gets a user of their own that is not stored.
    pub(crate) async fn user_or_ghost(&self, login: &str) -> Result<User, Error> {
        Ok(self.user(login).await?.unwrap_or_else(|| User {
            id: 10137,
            login: if login.is_empty() { "ghost".to_owned() } else { login.to_owned() },
            name: login.to_owned(),
            email: String::new(),
            admin: false,
            organization: false,
            created_at: 0,
        }))
    }
}

/// How long opening waits for a predecessor that is on its way out.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes the state directory for this process alone.
async fn own(dir: &Path) -> Result<std::fs::File, Error> {
    let path = dir.join("lock");
    let file = std::fs::File::create(&path).map_err(io(&path))?;
    let start = std::time::Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(std::fs::TryLockError::WouldBlock) => return Err(Error::Locked(dir.to_owned())),
            Err(std::fs::TryLockError::Error(source)) => return Err(Error::Io { path, source }),
        }
    }
}

/// Waits for git processes that a killed predecessor left at work in the repositories: what they still do to refs must be done before
/// refs are compared with the record. Gives whether none is left.
async fn orphans_ended(repositories: &Path) -> bool {
    let Ok(repositories) = repositories.canonicalize() else { return false };
    let start = std::time::Instant::now();
    while maintenance::at_work(|cwd| cwd.starts_with(&repositories)) {
        if start.elapsed() > PATIENCE {
            tracing::warn!(dir = %repositories.display(), "a git is still at work in the repositories; going on without waiting");
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}

/// Removes the lock files of killed gits from all repositories.
fn unlock_all(dir: &Path) -> Result<(), Error> {
    // Where a git that packs stands.
    let stand = dir.canonicalize().map_err(io(dir))?;
    let packing = maintenance::at_work(|cwd| cwd == stand);
    let repositories = dir.join("repositories");
    for repository in std::fs::read_dir(&repositories).map_err(io(&repositories))?.flatten() {
        maintenance::unlock(&repository.path(), packing).map_err(io(repository.path()))?;
    }
    Ok(())
}

/// The user that jobs act as, with the number and address that it has on GitHub.
pub(crate) fn actions_bot() -> User {
    User {
        id: 41_898_282,
        login: crate::auth::ACTIONS_BOT.to_owned(),
        name: "github-actions[bot]".to_owned(),
        email: "41898282+github-actions[bot]@users.noreply.github.com".to_owned(),
        admin: false,
        organization: false,
        created_at: 0,
    }
}

/// The `update` hook that keeps the rules of protected branches where objects must be looked at: it runs for each ref, after
/// the objects arrived and before the ref moves. What is protected comes in its environment.
const UPDATE_HOOK: &str = r#"#!/bin/sh
# update REF OLD NEW. Each variable holds refs, one a line; FORGE_REFUSED with a tab and the reason behind each.
ref=$1 old=$2 new=$3
zero=0000000000000000000000000000000000000000
listed() { printf '%s\n' "$1" | grep -Fqx -- "$ref"; }
refuse() {
  echo "error: GH006: Protected branch update failed for $ref." >&2
  echo "" >&2
  echo "- $1" >&2
  exit 1
}
while IFS='	' read -r name reason; do
  if [ "$name" = "$ref" ]; then refuse "$reason"; fi
done <<REFUSED
$FORGE_REFUSED
REFUSED
if [ "$new" = "$zero" ] || [ "$old" = "$zero" ]; then exit 0; fi
if listed "$FORGE_NO_FORCE"; then
  git merge-base --is-ancestor "$old" "$new" || refuse "Cannot force-push to this branch"
fi
if listed "$FORGE_LINEAR"; then
  [ -z "$(git rev-list --merges -n 1 "$old..$new")" ] || refuse "This branch must not contain merge commits."
fi
exit 0
"#;

fn write_update_hook(dir: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join("hooks").join("update");
    if std::fs::read_to_string(&path).is_ok_and(|text| text == UPDATE_HOOK) {
        return Ok(());
    }
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, UPDATE_HOOK).map_err(io(&temporary))?;
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o755)).map_err(io(&temporary))?;
    std::fs::rename(&temporary, &path).map_err(io(&path))
}
