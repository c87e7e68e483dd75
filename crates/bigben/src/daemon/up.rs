//! `bigben up`, on the daemon's side: seed, build what is missing, apply, wait until all is well.
//!
//! Every part can be repeated: what is done already is seen to be done by looking, not by remembering.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actions::Event;
use actions::model::{Conclusion, Run};
use anyhow::{Context, Result, anyhow, bail};
use gitops::health::HealthStatus;
use informer::Kind;
use objects::meta;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::images::{self, Image};
use super::{Daemon, USER};
use crate::repository;
use crate::{secrets, workflow_facts};

/// What `bigben up` hears while it waits, one JSON object a line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Progress {
    /// A part began.
    Began {
        /// Its name.
        part: String,
    },
    /// A part ended.
    Ended {
        /// Its name.
        part: String,
        /// Milliseconds.
        took_ms: i64,
        /// What it did, where there is something to say.
        note: Option<String>,
    },
    /// Something worth knowing.
    Note {
        /// The text.
        text: String,
    },
    /// How far the Applications are.
    Applications {
        /// By name: sync status, health, reason.
        states: BTreeMap<String, (String, String, String)>,
    },
    /// Everything is as it should be.
    Done {
        /// Where things answer and how long it took.
        summary: Summary,
    },
    /// Something is not as it should be.
    Failed {
        /// What, and what to do.
        error: String,
    },
}

/// What `up` prints at the end.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Application to the URLs at which it answers.
    pub urls: BTreeMap<String, Vec<String>>,
    /// The console.
    pub console: Option<String>,
    /// The user of the console.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The remote to push to.
    pub remote: String,
    /// The kubeconfig file.
    pub kubeconfig: String,
    /// Milliseconds by part.
    pub parts: Vec<(String, i64)>,
}

struct Parts {
    sender: mpsc::Sender<Progress>,
    done: Vec<(String, i64)>,
}

impl Parts {
    async fn tell(&self, progress: Progress) {
        // Whoever asked may have gone; the work goes on.
        let _ = self.sender.send(progress).await;
    }

    async fn part<T>(&mut self, name: &str, work: impl Future<Output = Result<(T, Option<String>)>>) -> Result<T> {
        self.tell(Progress::Began { part: name.to_owned() }).await;
        let started = Instant::now();
        let (value, note) = work.await?;
        let took_ms = started.elapsed().as_millis() as i64;
        self.done.push((name.to_owned(), took_ms));
        self.tell(Progress::Ended { part: name.to_owned(), took_ms, note }).await;
        Ok(value)
    }
}

/// Brings everything up; the last word is [`Progress::Done`] or [`Progress::Failed`].
pub async fn up(daemon: Arc<Daemon>, timeout: Duration, sender: mpsc::Sender<Progress>) {
    let mut parts = Parts { sender, done: Vec::new() };
    let outcome = tokio::time::timeout(timeout, bring_up(&daemon, &mut parts)).await;
    let last = match outcome {
        Ok(Ok(summary)) => Progress::Done { summary },
        Ok(Err(error)) => Progress::Failed { error: format!("{error:#}") },
        Err(_) => Progress::Failed { error: unfinished(&daemon, timeout) },
    };
    parts.tell(last).await;
}

async fn bring_up(daemon: &Arc<Daemon>, parts: &mut Parts) -> Result<Summary> {
    parts.part("seed", daemon.seed()).await?;
    parts.part("secrets", daemon.fill_secrets()).await?;
    let missing = daemon.missing_images().await?;
    if !missing.is_empty() {
        parts.part("images", daemon.build_missing(missing)).await?;
    }
    daemon.fetch_from_elsewhere().await?;
    parts.part("apply", daemon.apply()).await?;
    let wait = {
        let sender = parts.sender.clone();
        async move { daemon.all_settled(&sender).await.map(|()| ((), None)) }
    };
    parts.part("applications", wait).await?;
    Ok(daemon.summary(std::mem::take(&mut parts.done)))
}

/// What is not well when time is up.
fn unfinished(daemon: &Daemon, timeout: Duration) -> String {
    let states = daemon.follower.applications();
    let mut text = format!("not everything is well after {} s", timeout.as_secs());
    for name in daemon.delivered.application_names() {
        match states.get(&name) {
            Some(state) if state.is_settled() => {}
            Some(state) => text.push_str(&format!("; {name}: {} {} {}", state.sync, state.health, state.message)),
            None => text.push_str(&format!("; {name}: nothing is known of it yet")),
        }
    }
    text.push_str("; `bigben status` shows more, and a longer wait is --timeout DURATION");
    text
}

impl Daemon {
    /// The forge gets the repository's `main` and tags, once.
    async fn seed(&self) -> Result<((), Option<String>)> {
        let name = &self.delivered.full_name;
        let repository = self.forge.git(name).await?;
        let known = repository.rev_parse("refs/heads/main^{commit}").await?;
        let local = repository::head(&self.options.repo)?;
        if let Some(known) = known {
            let ahead = repository::git(&self.options.repo, &["merge-base", "--is-ancestor", &known, &local]).is_ok();
            let note = (known != local && ahead)
                .then(|| "your main has commits that the platform does not: git push bigben main".to_owned());
            return Ok(((), note));
        }
        let main = format!("+{local}:refs/heads/main");
        self.forge.seed(name, &self.options.repo, &[&main, "+refs/tags/*:refs/tags/*"]).await?;
        Ok(((), Some(format!("main is {} on {name}", &local[..7]))))
    }

    /// Secrets that workflows need and that follow from what is known here: the registry's user and password, and what images
    /// are called. What a person has set stays.
    async fn fill_secrets(&self) -> Result<((), Option<String>)> {
        let images: Vec<String> = self.catalogue().await?.named.into_iter().map(|image| image.reference).collect();
        let mut alternatives: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut templates = Vec::new();
        let mut environments: BTreeMap<String, BTreeSet<Option<String>>> = BTreeMap::new();
        let mut passwords = BTreeSet::new();
        for (path, text) in &self.delivered.workflows {
            let facts = workflow_facts::read(path, text);
            for (axis, values) in facts.axes {
                alternatives.entry(axis).or_default().extend(values);
            }
            for (secret, places) in facts.secrets {
                environments.entry(secret).or_default().extend(places);
            }
            passwords.extend(facts.passwords);
            templates.extend(secrets::templates(text));
        }
        let mut solution = secrets::solve(&templates, &images, &alternatives);
        for password in passwords {
            solution.entry(password).or_insert_with(|| self.instance.registry_password.clone());
        }
        let mut unknown = BTreeSet::new();
        for (secret, places) in environments {
            if secret == "GITHUB_TOKEN" {
                continue;
            }
            for environment in places {
                let known = self.forge.secrets(&self.delivered.full_name, environment.as_deref()).await?;
                if known.contains_key(&secret) {
                    continue;
                }
                match solution.get(&secret) {
                    Some(value) => {
                        self.forge
                            .set_secret(&self.delivered.full_name, environment.as_deref(), &secret, value)
                            .await?;
                    }
                    None => {
                        unknown.insert(secret.clone());
                    }
                }
            }
        }
        let note = (!unknown.is_empty()).then(|| {
            let names: Vec<String> = unknown.into_iter().collect();
            format!("workflows use secrets that are not set: {}; bigben secret set NAME", names.join(", "))
        });
        Ok(((), note))
    }

    /// Runs what builds the images that are missing: first what follows `main`, then what follows releases.
    async fn build_missing(self: &Arc<Self>, missing: Vec<Image>) -> Result<((), Option<String>)> {
        let repository = self.forge.git(&self.delivered.full_name).await?;
        let tags: BTreeSet<String> = repository
            .refs("refs/tags/")
            .await?
            .into_iter()
            .map(|(name, _)| name.trim_start_matches("refs/tags/").to_owned())
            .collect();
        let is_release =
            |image: &Image| tag_of(image).is_some_and(|tag| tags.contains(&tag) || !looks_like_commit(&tag));
        let mut notes = Vec::new();
        let releasing = images::leading_to_images(&self.delivered.workflows, "release");
        // Where nothing follows releases, every image follows main, whatever its tag looks like.
        if releasing.is_empty() || !missing.iter().all(is_release) {
            let paths = images::leading_to_images(&self.delivered.workflows, "push");
            if !paths.is_empty() {
                self.run_push(&paths).await?;
            }
        }
        let missing = self.missing_images().await?;
        let mut releases: BTreeSet<String> = missing.iter().filter_map(tag_of).collect();
        if releasing.is_empty() {
            releases.clear();
        }
        for tag in releases {
            if !tags.contains(&tag) {
                notes.push(format!("release {tag} has no tag in the repository and is built from main"));
            }
            self.run_release(&tag, &releasing).await?;
        }
        let missing = self.missing_images().await?;
        if let Some(image) = missing.first() {
            bail!(
                "no workflow built {}, which Application {} names; \
                 push it to the registry at http://127.0.0.1:{} yourself, or add a workflow that does",
                image.reference,
                image.application,
                self.instance.ports.registry
            );
        }
        Ok(((), (!notes.is_empty()).then(|| notes.join("; "))))
    }

    /// The workflows that follow a push to `main`, as if it had just been pushed.
    async fn run_push(&self, paths: &[String]) -> Result<()> {
        let name = &self.delivered.full_name;
        let commit = self.main().await?;
        let payload = self.push_payload(&commit).await?;
        self.follower.webhook("push", name, &payload, None, super::deliveries::now_ms());
        let mut event = Event::new(name.clone(), "push", payload);
        event.delivery = Some(format!("seed-{commit}"));
        let runs = self.engine.handle_only(event, paths).await?;
        self.succeed(&runs).await
    }

    /// The workflows that follow a release, which is made where it is not there yet.
    async fn run_release(&self, tag: &str, paths: &[String]) -> Result<()> {
        let name = &self.delivered.full_name;
        let known =
            self.forge.releases(name).await?.into_iter().find(|release| release.tag_name == tag && !release.draft);
        if let Some(release) = known {
            let payload = json!({
                "action": "published",
                "release": {"tag_name": tag, "name": release.name, "body": release.body, "draft": false,
                    "prerelease": release.prerelease, "target_commitish": release.target_commitish, "id": release.id},
                "repository": self.forge.repository_payload(name).await?,
                "sender": self.forge.user_payload(USER).await?,
            });
            let mut event = Event::new(name.clone(), "release", payload);
            event.delivery = Some(format!("seed-release-{tag}-{}", super::deliveries::now_ms()));
            let runs = self.engine.handle_only(event, paths).await?;
            return self.succeed(&runs).await;
        }
        let runs = self.release(tag, None, None).await?;
        self.succeed(&runs).await
    }

    /// The event of a push that made `main`, in GitHub's shape.
    async fn push_payload(&self, commit: &str) -> Result<Value> {
        let name = &self.delivered.full_name;
        let repository = self.forge.git(name).await?;
        let head = repository.commit(commit).await?;
        let message = head.map(|head| head.message).unwrap_or_default();
        Ok(json!({
            "ref": "refs/heads/main", "before": git::ZERO, "after": commit,
            "created": true, "deleted": false, "forced": false, "commits": [],
            "head_commit": {"id": commit, "message": message},
            "repository": self.forge.repository_payload(name).await?,
            "pusher": {"name": USER, "email": "bigben@localhost"},
            "sender": self.forge.user_payload(USER).await?,
        }))
    }

    /// Waits for runs and all that follows from them; the first that failed is the error.
    async fn succeed(&self, runs: &[i64]) -> Result<()> {
        for run in self.engine.settled(runs).await? {
            match run.conclusion {
                Some(Conclusion::Success | Conclusion::Skipped) => {}
                conclusion => bail!(
                    "workflow {} (run {}) ended with {}; its log: bigben logs {}",
                    run.workflow,
                    run.id,
                    conclusion.map_or("nothing", Conclusion::word),
                    run.id
                ),
            }
        }
        Ok(())
    }

    /// The commit of the forge's `main`.
    pub async fn main(&self) -> Result<String> {
        let repository = self.forge.git(&self.delivered.full_name).await?;
        let main = repository.rev_parse("refs/heads/main^{commit}").await?;
        main.ok_or_else(|| anyhow!("{} has no main yet", self.delivered.full_name))
    }

    /// Applies projects and Applications as the forge's `main` has them.
    async fn apply(&self) -> Result<((), Option<String>)> {
        let repository = self.forge.git(&self.delivered.full_name).await?;
        let delivered = repository::read(repository.dir(), &self.main().await?)?;
        let namespace = delivered.argo_namespace();
        let applications =
            delivered.applications.iter().map(|(_, application)| (gitops::application_kind(), application));
        let projects = delivered.projects.iter().map(|project| (gitops::project_kind(), project));
        let mut count = 0;
        for (kind, object) in projects.chain(applications) {
            let mut object = object.clone();
            if meta::namespace(&object).is_empty() {
                meta::set_text(&mut object, "namespace", namespace);
            }
            self.api
                .apply(&kind, &object, true, false)
                .await
                .with_context(|| format!("cannot apply {} {}", meta::kind(&object), meta::name(&object)))?;
            count += 1;
        }
        Ok(((), Some(format!("{count} objects"))))
    }

    /// Waits until every Application is Synced and Healthy.
    async fn all_settled(&self, sender: &mpsc::Sender<Progress>) -> Result<()> {
        let mut changes = self.gitops.changes();
        let mut told = BTreeMap::new();
        loop {
            let states = self.application_states();
            if states != told {
                let _ = sender.send(Progress::Applications { states: states.clone() }).await;
                told.clone_from(&states);
            }
            let well = |name: &String| {
                let healthy = HealthStatus::Healthy.as_str();
                states.get(name).is_some_and(|(sync, health, _)| sync == "Synced" && health == healthy)
                    && self.pods_are_well(name)
            };
            if self.delivered.application_names().iter().all(well) {
                return Ok(());
            }
            if changes.changed().await.is_err() {
                bail!("the daemon ends");
            }
        }
    }

    /// Whether every Pod of an Application that is to stay is ready. The Application's own status can be a moment behind its Pods.
    fn pods_are_well(&self, name: &str) -> bool {
        let tree = gitops::api::resource_tree(&self.gitops, name);
        tree["nodes"].as_array().into_iter().flatten().filter(|node| node["kind"] == "Pod").all(|pod| {
            pod["health"]["status"] == HealthStatus::Healthy.as_str() || pod["health"]["message"] == "Pending deletion"
        })
    }

    /// Sync status, health and its reason of every Application that there is.
    pub fn application_states(&self) -> BTreeMap<String, (String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or("Unknown").to_owned();
        self.gitops
            .applications()
            .iter()
            .map(|application| {
                let status = &application["status"];
                let reason = status["conditions"][0]["message"]
                    .as_str()
                    .or_else(|| {
                        let resources = status["resources"].as_array()?;
                        resources.iter().find_map(|resource| resource["health"]["message"].as_str())
                    })
                    .unwrap_or_default();
                let state = (text(&status["sync"]["status"]), text(&status["health"]["status"]), reason.to_owned());
                (meta::name(application).to_owned(), state)
            })
            .collect()
    }

    /// Application to the URLs at which it answers from this machine.
    pub fn application_urls(&self) -> BTreeMap<String, Vec<String>> {
        let mut urls = BTreeMap::new();
        for application in self.gitops.applications() {
            let listed = application["status"]["summary"]["externalURLs"].as_array().cloned().unwrap_or_default();
            let here = listed.iter().filter_map(Value::as_str).filter_map(|url| {
                let host = url.split("://").nth(1)?.trim_end_matches('/');
                Some(self.url(&local_name(host)))
            });
            urls.insert(meta::name(&application).to_owned(), here.collect());
        }
        urls
    }

    fn summary(&self, parts: Vec<(String, i64)>) -> Summary {
        Summary {
            urls: self.application_urls(),
            console: self.console_url(),
            user: "admin".to_owned(),
            password: self.instance.admin_password.clone(),
            remote: self.remote_url(),
            kubeconfig: self.options.state.join("kubeconfig").to_string_lossy().into_owned(),
            parts,
        }
    }

    /// The runs that a push started. A push of before this daemon's start is no longer told of, but its runs are known.
    async fn runs_of_push(&self, reference: &str, commit: &str) -> Result<Vec<i64>> {
        let event = format!("push {reference} {commit}");
        let is_older = self.deliveries.of(commit).is_some_and(|delivery| delivery.opened_ms < self.started_ms);
        if is_older && !self.started.borrow().contains_key(&event) {
            let runs = self.engine.runs(Some(&self.delivered.full_name), 1000).await?;
            return Ok(runs.iter().filter(|run| run.root_sha == commit && run.depth == 0).map(|run| run.id).collect());
        }
        self.started_by(&event).await
    }

    /// Waits until a push's delivery is over: its runs ended, what they bumped was synced, and it answered.
    ///
    /// # Errors
    /// When the daemon ends first.
    pub async fn settled(self: &Arc<Self>, reference: &str, commit: &str) -> Result<()> {
        let runs = self.runs_of_push(reference, commit).await?;
        let ended = self.engine.settled(&runs).await?;
        let well = |run: &Run| matches!(run.conclusion, Some(Conclusion::Success | Conclusion::Skipped));
        if reference != "refs/heads/main" || !ended.iter().all(well) {
            return Ok(());
        }
        let mut changes = self.deliveries.subscribe();
        let mut applications = self.gitops.changes();
        loop {
            changes.borrow_and_update();
            applications.borrow_and_update();
            // Where another push came on top, what is live next is that one's business.
            let main = self.main().await?;
            if self.deliveries.of(&main).is_none_or(|delivery| delivery.commit != commit) {
                return Ok(());
            }
            let running = self
                .deliveries
                .of(commit)
                .is_none_or(|delivery| delivery.spans.iter().any(|span| span.state == delivery::SpanState::Running));
            if self.is_compared(&main) && !running && !self.follower.expects(&main) {
                return Ok(());
            }
            tokio::select! {
                changed = changes.changed() => changed.map_err(|_| anyhow!("the daemon ends"))?,
                changed = applications.changed() => changed.map_err(|_| anyhow!("the daemon ends"))?,
            }
        }
    }
}

impl Daemon {
    /// Whether every Application that follows `main` was compared with this commit, and needs or can have no sync.
    fn is_compared(&self, main: &str) -> bool {
        let ours = gitops::repository::normalized(&format!(
            "https://{}/{}",
            self.delivered.forge_host, self.delivered.full_name
        ));
        self.gitops.applications().iter().all(|application| {
            let Ok(spec) = gitops::application::Spec::of(application) else { return true };
            let follows = |source: &gitops::application::Source| {
                gitops::repository::normalized(&source.repo_url) == ours && matches!(source.revision(), "main" | "HEAD")
            };
            if !spec.all_sources().iter().any(follows) {
                return true;
            }
            let status = &application["status"];
            let revisions = status["sync"]["revisions"].as_array().into_iter().flatten();
            let newest = revisions.chain([&status["sync"]["revision"]]).any(|revision| *revision == *main);
            let over = status["sync"]["status"] == "Synced"
                || status["operationState"]["phase"] == "Failed"
                || status["conditions"].as_array().is_some_and(|conditions| !conditions.is_empty())
                || spec.sync_policy.automated.is_none();
            newest && over
        })
    }
}

/// `.localhost` resolves by itself where `.local` needs an entry in a hosts file.
pub fn local_name(host: &str) -> String {
    match host.strip_suffix(".local") {
        Some(name) => format!("{name}.localhost"),
        None => host.to_owned(),
    }
}

fn tag_of(image: &Image) -> Option<String> {
    oci::Reference::parse(&image.reference).ok()?.tag().map(str::to_owned)
}

fn looks_like_commit(tag: &str) -> bool {
    (7..=40).contains(&tag.len()) && tag.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The console as the Service that Argo CD's Ingress names: no selector, one endpoint on the host.
pub async fn publish_console(daemon: &Daemon, port: u16) -> Result<()> {
    let namespace = daemon.delivered.argo_namespace();
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "argocd-server", "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "argocd"}},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": i64::from(port)}, {"name": "https", "port": 443, "targetPort": i64::from(port)}]},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "argocd-server-host", "namespace": namespace,
            "labels": {"kubernetes.io/service-name": "argocd-server", "endpointslice.kubernetes.io/managed-by": "bigben"}},
        "endpoints": [{"addresses": [crate::machine::HOST_ADDRESS], "conditions": {"ready": true}}],
        "ports": [{"name": "http", "port": i64::from(port), "protocol": "TCP"}, {"name": "https", "port": i64::from(port), "protocol": "TCP"}],
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "argocd-initial-admin-secret", "namespace": namespace},
        "stringData": {"password": daemon.instance.admin_password},
    });
    let kind =
        |group: &'static str, kind: &'static str, plural: &'static str| Kind::dynamic(group, "v1", kind, plural, true);
    daemon.api.apply(&kind("", "Service", "services"), &service, true, false).await?;
    daemon.api.apply(&kind("discovery.k8s.io", "EndpointSlice", "endpointslices"), &slice, true, false).await?;
    daemon.api.apply(&kind("", "Secret", "secrets"), &secret, true, false).await?;
    for ingress in &daemon.delivered.argo_ingresses {
        daemon.api.apply(&kind("networking.k8s.io", "Ingress", "ingresses"), ingress, true, false).await?;
    }
    Ok(())
}
