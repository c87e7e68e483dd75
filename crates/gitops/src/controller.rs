//! Keeps Applications: resolves revisions, generates manifests, compares, syncs where that is wanted, writes `status`.
//!
//! State here is a cache of what a commit says and of what the API server predicted; all of it can be lost at any moment. Truth is in
//! git and in the cluster. Whatever changes one of them puts the Application's name into a queue: a push (told by
//! [`GitOps::push`]), a change of a tracked object or of the Application itself, and the reconciliation interval
//! as a fallback.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use informer::{Api, Cluster, DeleteOptions, Kind, Propagation, Queue, Store};
use objects::meta;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::application::Spec;
use crate::charts::{self, Asked, Known, Reach};
use crate::compare::normalized;
use crate::generate::{SourceType, Target};
use crate::health::{self, HealthStatus};
use crate::repository;
use crate::resource::{self, ResourceKey, TRACKING_ID};
use crate::source::Sources;
use crate::status::{self, Compared, Comparison};
use crate::{Error, crd, plan, project, sync};

/// The field manager of everything that is synced.
pub const MANAGER: &str = "argocd-controller";
/// Asks for a refresh: `normal`, or `hard` to generate manifests anew.
pub const REFRESH: &str = "argocd.argoproj.io/refresh";
/// Deletes what an Application made when it is deleted.
const FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";
/// How many Applications are reconciled at a time.
const PARALLEL: usize = 4;

/// The kind Application.
pub fn application_kind() -> Kind {
    Kind::dynamic("argoproj.io", "v1alpha1", "Application", "applications", true)
}

/// The kind AppProject.
pub fn project_kind() -> Kind {
    Kind::dynamic("argoproj.io", "v1alpha1", "AppProject", "appprojects", true)
}

fn definition_kind() -> Kind {
    Kind::dynamic("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", false)
}

/// What the room needs to know.
pub struct Config {
    /// The cluster that holds the Applications, and to which they are synced.
    pub client: kube::Client,
    /// Copies of repositories and charts go here.
    pub dir: PathBuf,
    /// Where the URLs of repositories lead.
    pub resolve: repository::Resolve,
    /// Fetches charts.
    pub reach: Reach,
    /// Namespace of the Applications.
    pub namespace: String,
    /// `timeout.reconciliation`: how often a repository is looked at without being told of a push.
    pub reconciliation: Duration,
    /// `destination.server` values that mean this cluster.
    pub servers: Vec<String>,
    /// Told of syncs and changes of health.
    pub observer: Arc<dyn Observer>,
}

/// What happened to an Application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A sync of this revision began.
    SyncStarted {
        /// The Application.
        application: String,
        /// The commit.
        revision: String,
    },
    /// A sync of this revision ended, well when there is no error.
    SyncEnded {
        /// The Application.
        application: String,
        /// The commit.
        revision: String,
        /// What went wrong.
        error: Option<String>,
    },
    /// Sync status or health changed.
    Status {
        /// The Application.
        application: String,
        /// The commit that was compared.
        revision: String,
        /// `Synced`, `OutOfSync` or `Unknown`.
        sync: String,
        /// The health.
        health: HealthStatus,
        /// The reason for it.
        message: String,
    },
}

/// Who is told of [`Event`]s. Must not block.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn observe(&self, event: Event);
}

/// What the sources of an Application say at one commit each.
#[derive(Clone)]
pub(crate) struct Resolved {
    spec: u64,
    pub(crate) revisions: Vec<String>,
    source_types: Vec<SourceType>,
    pub(crate) objects: Arc<Vec<Value>>,
}

#[derive(Default)]
struct Memory {
    resolved: Option<Resolved>,
    resolved_at: Option<Instant>,
    /// Look at the repository again: something changed there at this moment.
    stale: Option<Instant>,
    /// Generate manifests again, even for the same commit.
    hard: bool,
}

/// What the API server said an object would become.
struct Prediction {
    desired: u64,
    live: String,
    predicted: Value,
    is_synced: bool,
}

/// The room: start it with [`GitOps::start`], then let [`GitOps::run`] run.
pub struct GitOps {
    pub(crate) config: Config,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) applications: Arc<Store>,
    projects: Arc<Store>,
    sources: Sources,
    queue: Arc<Queue<String>>,
    kinds: Mutex<HashMap<(String, String), Kind>>,
    watched: Mutex<BTreeSet<Kind>>,
    memory: Mutex<HashMap<String, Memory>>,
    predictions: Mutex<HashMap<ResourceKey, Prediction>>,
    pub(crate) changed: tokio::sync::watch::Sender<u64>,
    pub(crate) shutdown: CancellationToken,
    target: Mutex<Target>,
    writer: Mutex<Option<informer::events::Writer>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

impl GitOps {
    /// Makes sure that the cluster knows the kinds, and begins to watch.
    ///
    /// # Errors
    /// When the cluster refuses the kinds or the `default` project.
    pub async fn start(config: Config, shutdown: CancellationToken) -> Result<Arc<Self>, Error> {
        std::fs::create_dir_all(&config.dir).map_err(|source| Error::Directory { path: config.dir.clone(), source })?;
        let api = Api::new(config.client.clone(), MANAGER);
        install(&api, &config.namespace).await?;
        let (events, writer) = informer::events::channel("argocd-application-controller");
        let cluster = Cluster::new(api, events, shutdown.clone());
        let applications = cluster.store(&application_kind());
        let projects = cluster.store(&project_kind());
        let sources = Sources::new(config.dir.clone(), Arc::clone(&config.resolve), Arc::clone(&config.reach));
        let gitops = Arc::new(Self {
            config,
            cluster,
            applications,
            projects,
            sources,
            queue: Arc::new(Queue::new()),
            kinds: Mutex::default(),
            watched: Mutex::default(),
            memory: Mutex::default(),
            predictions: Mutex::default(),
            changed: tokio::sync::watch::Sender::new(0),
            shutdown,
            target: Mutex::default(),
            writer: Mutex::new(Some(writer)),
        });
        gitops.watch_applications();
        // For the resource tree.
        for (kind, plural) in [("ReplicaSet", "replicasets"), ("Pod", "pods")] {
            let group = if kind == "Pod" { "" } else { "apps" };
            gitops.watch(&Kind::dynamic(group, "v1", kind, plural, true));
        }
        gitops.cluster.start();
        gitops.applications.synced().await;
        gitops.projects.synced().await;
        Ok(gitops)
    }

    fn watch_applications(self: &Arc<Self>) {
        let queue = Arc::clone(&self.queue);
        let room = Arc::downgrade(self);
        let namespace = self.config.namespace.clone();
        self.applications.subscribe(move |change| {
            let object = change.object();
            if meta::namespace(object) == namespace {
                queue.add(meta::name(object).to_owned());
            }
            if let Some(room) = room.upgrade() {
                room.changed.send_modify(|count| *count += 1);
            }
        });
    }

    /// Watches a kind, if it is not watched yet.
    pub(crate) fn watch(self: &Arc<Self>, kind: &Kind) -> Arc<Store> {
        let store = self.cluster.store(kind);
        if lock(&self.watched).insert(kind.clone()) {
            let room = Arc::downgrade(self);
            store.subscribe(move |change| {
                let Some(room) = room.upgrade() else { return };
                for object in change.states() {
                    if let Some(owner) = resource::owner(object) {
                        room.queue.add(owner);
                    }
                }
                room.changed.send_modify(|count| *count += 1);
            });
            self.cluster.start();
        }
        store
    }

    /// Works until `shutdown`.
    pub async fn run(self: Arc<Self>) {
        let queue = Arc::clone(&self.queue);
        let shutdown = self.shutdown.clone();
        let room = Arc::clone(&self);
        let work = queue.run("application", PARALLEL, shutdown, move |name| {
            let room = Arc::clone(&room);
            async move { room.reconcile(&name).await }
        });
        let writer = lock(&self.writer).take();
        let write = async {
            if let Some(writer) = writer {
                writer.run(self.cluster.api.clone(), self.shutdown.clone()).await;
            }
        };
        tokio::join!(work, write);
        self.cluster.stop().await;
    }

    /// Every Application that there is now.
    pub fn applications(&self) -> Vec<Arc<Value>> {
        self.applications.all()
    }

    /// Tells of every change of an Application or of an object of one.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// A push to this repository: every Application that has it as a source looks at it now.
    pub fn push(&self, url: &str) {
        let url = repository::normalized(url);
        // One moment for all of them, so that one fetch serves them all.
        let now = Instant::now();
        for application in self.applications.all() {
            let Ok(spec) = Spec::of(&application) else { continue };
            if spec.all_sources().iter().any(|source| repository::normalized(&source.repo_url) == url) {
                self.refresh_since(meta::name(&application), now, false);
            }
        }
    }

    /// Looks at one Application's repository now; `hard` also forgets what it said before.
    pub fn refresh(&self, name: &str, hard: bool) {
        self.refresh_since(name, Instant::now(), hard);
    }

    fn refresh_since(&self, name: &str, since: Instant, hard: bool) {
        self.mark_stale(name, since, hard);
        self.queue.add(name.to_owned());
    }

    fn mark_stale(&self, name: &str, since: Instant, hard: bool) {
        let mut memory = lock(&self.memory);
        let memory = memory.entry(name.to_owned()).or_default();
        memory.stale = memory.stale.max(Some(since));
        memory.hard |= hard;
    }

    /// The kind of an object, from the cluster's discovery; asked again when it is not known yet.
    pub(crate) async fn kind(&self, api_version: &str, kind: &str) -> Result<Kind, Error> {
        let key = (api_version.to_owned(), kind.to_owned());
        if let Some(kind) = lock(&self.kinds).get(&key) {
            return Ok(kind.clone());
        }
        let discovered = self.cluster.api.discover_versions().await?;
        let mut kinds = lock(&self.kinds);
        for resource in discovered {
            let kind = resource.kind;
            kinds.insert((kind.api_version(), kind.kind.to_string()), kind);
        }
        kinds
            .get(&key)
            .cloned()
            .ok_or_else(|| Error::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() })
    }

    async fn reconcile(self: Arc<Self>, name: &str) -> Result<Option<Duration>, informer::Error> {
        let Some(application) = self.applications.find(&self.config.namespace, name) else {
            lock(&self.memory).remove(name);
            return Ok(None);
        };
        if meta::deletion_timestamp(&application).is_some() {
            self.delete(&application).await?;
            return Ok(None);
        }
        let refresh = meta::annotation(&application, REFRESH).map(str::to_owned);
        if let Some(refresh) = &refresh {
            self.mark_stale(name, Instant::now(), refresh == "hard");
        }
        let spec = match Spec::of(&application) {
            Ok(spec) => spec,
            Err(error) => {
                self.write_failure(&application, &error).await?;
                return Ok(None);
            }
        };
        let mut comparison = self.compare(&application, &spec).await;
        let again = match sync::wanted(&application, &spec, &comparison) {
            sync::Wanted::Now(operation) => {
                // The status says what is wrong before the sync mends it.
                let written = self.write_status(&application, &spec, &comparison, refresh.is_some()).await?;
                sync::run(&self, &written, &spec, &comparison, &operation).await?;
                comparison = self.compare(&application, &spec).await;
                None
            }
            sync::Wanted::Later(pause) => Some(pause),
            sync::Wanted::No => None,
        };
        let newest = self.applications.find(&self.config.namespace, name).unwrap_or(application);
        self.write_status(&newest, &spec, &comparison, refresh.is_some()).await?;
        let interval = self.config.reconciliation;
        Ok(Some(again.map_or(interval, |pause| pause.min(interval))))
    }

    /// Compares desired with live state. What goes wrong is part of the answer.
    pub(crate) async fn compare(self: &Arc<Self>, application: &Value, spec: &Spec) -> Comparison {
        match self.try_compare(application, spec).await {
            Ok(comparison) => comparison,
            Err(error) => Comparison {
                revisions: last_revisions(application),
                source_types: Vec::new(),
                resources: Vec::new(),
                error: Some(error.chain()),
            },
        }
    }

    async fn try_compare(self: &Arc<Self>, application: &Value, spec: &Spec) -> Result<Comparison, Error> {
        let name = meta::name(application);
        let project = self.project(application, spec)?;
        let resolved = self.resolve(application, spec).await?;
        let mut resources = Vec::new();
        let mut desired_keys = BTreeSet::new();
        for object in resolved.objects.iter() {
            if plan::is_hook(object) {
                continue;
            }
            let compared = self.compare_object(name, spec, &project, object).await?;
            desired_keys.insert(compared.key.clone());
            resources.push(compared);
        }
        // Kinds that the Application had before it was forgotten, by a restart, what they were.
        for standing in application["status"]["resources"].as_array().into_iter().flatten() {
            let text = |field: &str| standing[field].as_str().unwrap_or_default();
            let api_version = match text("group") {
                "" => text("version").to_owned(),
                group => format!("{group}/{}", text("version")),
            };
            if let Ok(kind) = self.kind(&api_version, text("kind")).await {
                self.watch(&kind).synced().await;
            }
        }
        for live in self.owned(name) {
            let key = ResourceKey::of(&live);
            if desired_keys.contains(&key) || plan::is_hook(&live) || meta::controller_of(&live).is_some() {
                continue;
            }
            let health = health::assess(&live);
            resources.push(Compared {
                key,
                desired: None,
                live: Some(live),
                predicted: None,
                is_synced: false,
                health,
            });
        }
        resources.sort_by(|a, b| {
            let order = |compared: &Compared| plan::kind_order(&compared.key.kind);
            order(a).cmp(&order(b)).then_with(|| a.key.cmp(&b.key))
        });
        let Resolved { revisions, source_types, .. } = resolved;
        Ok(Comparison { revisions, source_types, resources, error: None })
    }

    /// Every live object that says it belongs to the Application.
    pub(crate) fn owned(&self, application: &str) -> Vec<Arc<Value>> {
        let kinds: Vec<Kind> = lock(&self.watched).iter().cloned().collect();
        kinds
            .iter()
            .flat_map(|kind| self.cluster.store(kind).all())
            .filter(|live| resource::owner(live).as_deref() == Some(application))
            .collect()
    }

    async fn compare_object(
        self: &Arc<Self>,
        application: &str,
        spec: &Spec,
        project: &Value,
        object: &Value,
    ) -> Result<Compared, Error> {
        let (kind, desired) = self.place(application, spec, object).await?;
        let key = ResourceKey::of(&desired);
        if !project::allows_kind(project, &key.group, &key.kind, kind.namespaced) {
            return Err(Error::NotPermitted {
                application: application.to_owned(),
                reason: format!("resource {}:{} is not permitted in project {}", key.group, key.kind, spec.project),
            });
        }
        let store = self.watch(&kind);
        store.synced().await;
        let Some(live) = store.find(&key.namespace, &key.name) else {
            return Ok(Compared {
                key,
                desired: Some(desired),
                live: None,
                predicted: None,
                is_synced: false,
                health: None,
            });
        };
        let health = health::assess(&live);
        let fingerprint = hash(&desired);
        let revision = meta::resource_version(&live).to_owned();
        let known = lock(&self.predictions)
            .get(&key)
            .filter(|known| known.desired == fingerprint && known.live == revision)
            .map(|known| (known.predicted.clone(), known.is_synced));
        let (predicted, is_synced) = match known {
            Some(known) => known,
            None => {
                let predicted = self.cluster.api.apply(&kind, &desired, true, true).await?;
                // Both sides as the server has them now, should the store be a moment behind.
                let ignore = &spec.ignore_differences;
                let is_synced = normalized(&predicted, ignore) == normalized(&live, ignore);
                let prediction =
                    Prediction { desired: fingerprint, live: revision, predicted: predicted.clone(), is_synced };
                lock(&self.predictions).insert(key.clone(), prediction);
                (predicted, is_synced)
            }
        };
        Ok(Compared { key, desired: Some(desired), live: Some(live), predicted: Some(predicted), is_synced, health })
    }

    /// An object as it is to be applied: in its namespace, with its tracking id.
    pub(crate) async fn place(&self, application: &str, spec: &Spec, object: &Value) -> Result<(Kind, Value), Error> {
        let kind = self.kind(meta::api_version(object), meta::kind(object)).await?;
        let mut desired = object.clone();
        if kind.namespaced {
            if meta::namespace(&desired).is_empty() {
                meta::set_text(&mut desired, "namespace", &spec.destination.namespace);
            }
        } else {
            meta::metadata_mut(&mut desired).remove("namespace");
        }
        let id = ResourceKey::of(&desired).tracking_id(application);
        meta::set_annotation(&mut desired, TRACKING_ID, &id);
        Ok((kind, desired))
    }

    fn project(&self, application: &Value, spec: &Spec) -> Result<Arc<Value>, Error> {
        let name = meta::name(application).to_owned();
        let refuse = |reason| Err(Error::NotPermitted { application: name.clone(), reason });
        let server = if spec.destination.server.is_empty() {
            match spec.destination.name.as_str() {
                "in-cluster" => self.config.servers.first().map_or("", String::as_str),
                other => {
                    return refuse(format!("there are no clusters with this name: {other}"));
                }
            }
        } else {
            &spec.destination.server
        };
        if !self.config.servers.iter().any(|known| known == server) {
            return refuse(format!("cluster {server:?} is not known here; {} is", self.config.servers.join(", ")));
        }
        let Some(project) = self.projects.find(&self.config.namespace, &spec.project) else {
            return refuse(format!("application references project {} which does not exist", spec.project));
        };
        match project::refusal(&project, spec, server) {
            Some(reason) => refuse(reason),
            None => Ok(project),
        }
    }

    /// The manifests of every source, from memory where neither the commit nor the spec changed.
    pub(crate) async fn resolve(&self, application: &Value, spec: &Spec) -> Result<Resolved, Error> {
        let name = meta::name(application);
        let fingerprint = hash(&application["spec"]);
        let (known, asked) = {
            let mut memory = lock(&self.memory);
            let memory = memory.entry(name.to_owned()).or_default();
            let due = memory.resolved_at.is_none_or(|at| at.elapsed() >= self.config.reconciliation);
            let hard = std::mem::take(&mut memory.hard);
            let stale = memory.stale.take();
            let asked = Asked { since: stale.unwrap_or_else(Instant::now), told: stale.is_some(), hard };
            let known = memory.resolved.clone().filter(|known| known.spec == fingerprint && !hard);
            match known {
                Some(known) if !due && stale.is_none() => return Ok(known),
                known => (known, asked),
            }
        };
        let outcome = self.resolve_now(name, spec, fingerprint, known, asked).await;
        let mut memory = lock(&self.memory);
        let memory = memory.entry(name.to_owned()).or_default();
        match &outcome {
            Ok(resolved) => {
                memory.resolved_at = Some(Instant::now());
                memory.resolved = Some(resolved.clone());
            }
            // Tried again with the next event.
            Err(_) => memory.stale = memory.stale.max(Some(asked.since)),
        }
        outcome
    }

    async fn resolve_now(
        &self,
        name: &str,
        spec: &Spec,
        fingerprint: u64,
        known: Option<Resolved>,
        asked: Asked,
    ) -> Result<Resolved, Error> {
        let opened = self.sources.open(spec, &self.known_repositories(spec).await?, asked).await?;
        let revisions = opened.revisions();
        if let Some(known) = known
            && known.revisions == revisions
        {
            return Ok(known);
        }
        let (source_types, objects) = opened.manifests(&self.target(name, spec).await?).await?;
        Ok(Resolved { spec: fingerprint, revisions, source_types, objects: Arc::new(objects) })
    }

    /// The repositories of charts that Secrets beside the Applications describe.
    async fn known_repositories(&self, spec: &Spec) -> Result<Vec<Known>, Error> {
        let kind = Kind::dynamic("", "v1", "Secret", "secrets", true);
        let selector = format!("{} in (repository, repo-creds)", charts::SECRET_TYPE);
        let query = [("labelSelector".to_owned(), selector)];
        let listed =
            self.cluster.api.list(&kind, &self.config.namespace, &query, informer::reflector::View::Objects).await?;
        let mut secrets = listed["items"].as_array().cloned().unwrap_or_default();
        secrets.retain(|secret| charts::serves(secret, &spec.project));
        Ok(Known::all(&secrets))
    }

    async fn target(&self, name: &str, spec: &Spec) -> Result<Target, Error> {
        let known = lock(&self.target).clone();
        let mut target = known;
        if target.kube_version.is_empty() {
            let version = self.cluster.api.get_path("/version").await?;
            target.kube_version = version["gitVersion"].as_str().unwrap_or_default().to_owned();
            for resource in self.cluster.api.discover_versions().await? {
                let kind = resource.kind;
                target.api_versions.push(kind.api_version());
                target.api_versions.push(format!("{}/{}", kind.api_version(), kind.kind));
            }
            target.api_versions.sort();
            target.api_versions.dedup();
            *lock(&self.target) = target.clone();
        }
        target.application = name.to_owned();
        target.project = spec.project.clone();
        target.namespace = spec.destination.namespace.clone();
        Ok(target)
    }

    /// What the Application says at other revisions, one a source: what a rollback applies. Sources beyond them stay.
    pub(crate) async fn resolve_at(
        &self,
        application: &Value,
        spec: &Spec,
        revisions: &[String],
    ) -> Result<Resolved, Error> {
        let mut spec = spec.clone();
        for (source, revision) in spec.all_sources_mut().iter_mut().zip(revisions) {
            source.target_revision.clone_from(revision);
        }
        self.resolve_now(meta::name(application), &spec, 0, None, Asked::now()).await
    }

    /// The commit that the first source of `spec` means.
    pub(crate) async fn describe(&self, spec: &Spec) -> Result<Option<git::Commit>, Error> {
        self.sources.open(spec, &self.known_repositories(spec).await?, Asked::now()).await?.describe().await
    }

    /// Writes `status` where it changed, and takes the refresh annotation away.
    async fn write_status(
        &self,
        application: &Arc<Value>,
        spec: &Spec,
        comparison: &Comparison,
        refreshed: bool,
    ) -> Result<Arc<Value>, informer::Error> {
        let status = status::of(application, spec, comparison, &objects::time::now());
        let health = comparison.health();
        let changed = application["status"]["health"]["status"] != status["health"]["status"]
            || application["status"]["sync"] != status["sync"];
        let written = self.patch(application, &status, refreshed).await?;
        if changed {
            self.config.observer.observe(Event::Status {
                application: meta::name(application).to_owned(),
                revision: comparison.commit().to_owned(),
                sync: comparison.sync_status().to_owned(),
                health: health.status,
                message: health.message,
            });
        }
        Ok(written)
    }

    async fn write_failure(&self, application: &Arc<Value>, error: &Error) -> Result<(), informer::Error> {
        let mut status = application["status"].clone();
        let standing = status["conditions"][0]["message"] == error.chain();
        if !standing {
            status["conditions"] = json!([{"type": "InvalidSpecError", "message": error.chain(),
                "lastTransitionTime": objects::time::now()}]);
            status["sync"] = json!({"status": "Unknown"});
        }
        self.patch(application, &status, true).await.map(|_| ())
    }

    /// Brings `status` to this state with a merge patch, if it is not in it.
    pub(crate) async fn patch(
        &self,
        application: &Arc<Value>,
        status: &Value,
        refreshed: bool,
    ) -> Result<Arc<Value>, informer::Error> {
        let mut patch = json!({});
        if let Some(diff) = informer::meta::merge_diff(&application["status"], status) {
            patch["status"] = diff;
        }
        if refreshed && meta::annotation(application, REFRESH).is_some() {
            patch["metadata"] = json!({"annotations": {REFRESH: null}});
        }
        if patch == json!({}) {
            return Ok(Arc::clone(application));
        }
        self.cluster.patch(&application_kind(), application, "", patch, false).await
    }

    /// An Application that goes takes what it made with it, if it has the finalizer.
    async fn delete(self: &Arc<Self>, application: &Arc<Value>) -> Result<(), informer::Error> {
        let finalizers = meta::finalizers(application);
        let Some(finalizer) = finalizers.iter().find(|finalizer| finalizer.starts_with(FINALIZER)) else {
            return Ok(());
        };
        if let Ok(spec) = Spec::of(application)
            && let Err(error) = self.try_compare(application, &spec).await
        {
            tracing::debug!(error = %error.chain(), "comparing an application that is deleted");
        }
        let propagation =
            if finalizer.ends_with("/background") { Propagation::Background } else { Propagation::Foreground };
        let owned: Vec<_> = self
            .owned(meta::name(application))
            .into_iter()
            .filter(|live| !resource::has_option(live, resource::SYNC_OPTIONS, "Delete=false"))
            .collect();
        for live in owned.iter().filter(|live| meta::deletion_timestamp(live).is_none()) {
            if let Ok(kind) = self.kind(meta::api_version(live), meta::kind(live)).await {
                let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
                self.cluster.delete(&kind, live, options).await?;
            }
        }
        if !self.owned(meta::name(application)).is_empty() {
            // Their deletion comes back as an event.
            return Ok(());
        }
        let rest: Vec<&String> = finalizers.iter().filter(|name| *name != finalizer).collect();
        let patch = json!({"metadata": {"finalizers": rest}});
        self.cluster.patch(&application_kind(), application, "", patch, true).await.map(|_| ())
    }
}

/// The revisions that were compared last.
fn last_revisions(application: &Value) -> Vec<String> {
    let sync = &application["status"]["sync"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match sync["revisions"].as_array() {
        Some(revisions) => revisions.iter().map(text).collect(),
        None => vec![text(&sync["revision"])],
    }
}

/// Applies the kinds and the default project, and waits until the kinds are served.
async fn install(api: &Api, namespace: &str) -> Result<(), Error> {
    let kind = definition_kind();
    for definition in crd::definitions() {
        api.apply(&kind, &definition, true, false).await?;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let live = api.get(&kind, "", meta::name(&definition)).await?;
            if meta::condition_is_true(&live, "Established") {
                break;
            }
            if Instant::now() > deadline {
                let kind = live["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned();
                return Err(Error::UnknownKind { api_version: "argoproj.io/v1alpha1".to_owned(), kind });
            }
            // A cluster of another make establishes kinds in its own time and tells by condition only.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let namespaces = Kind::dynamic("", "v1", "Namespace", "namespaces", false);
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    api.apply(&namespaces, &object, true, false).await?;
    let projects = project_kind();
    match api.get(&projects, namespace, "default").await {
        Err(error) if error.is_not_found() => {
            api.create(&projects, &crd::default_project(namespace)).await?;
        }
        other => {
            other?;
        }
    }
    Ok(())
}
