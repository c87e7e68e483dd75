//! What people ask of a running daemon: releases, pull requests, rollbacks, logs.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use futures::AsyncBufReadExt;
use gitops::application::Spec;
use objects::meta;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Daemon, USER};
use crate::text::duration;

impl Daemon {
    /// Notes which runs an event started; see [`Daemon::started_by`].
    pub fn started(&self, event: String, runs: Vec<i64>) {
        self.started.send_modify(|started| {
            started.insert(event, runs);
        });
    }

    /// The runs that an event started, once the engine has taken it: `push REF COMMIT`, `release ACTION TAG`, `pull_request ACTION NUMBER COMMIT`.
    ///
    /// # Errors
    /// When the daemon ends first.
    pub async fn started_by(&self, event: &str) -> Result<Vec<i64>> {
        let mut started = self.started.subscribe();
        let known =
            started.wait_for(|started| started.contains_key(event)).await.map_err(|_| anyhow!("the daemon ends"))?;
        Ok(known.get(event).cloned().unwrap_or_default())
    }

    /// Runs a task that ends with the daemon.
    pub fn own(&self, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.shutdown.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Where the console answers.
    pub fn console_url(&self) -> Option<String> {
        self.delivered.argo_ingresses.iter().find_map(|ingress| {
            let host = ingress["spec"]["rules"][0]["host"].as_str()?;
            Some(self.url(&super::up::local_name(host)))
        })
    }

    /// Publishes a release and gives the runs that it started.
    ///
    /// # Errors
    /// When it exists already, its tag is not valid, or the target names no commit.
    pub async fn release(&self, tag: &str, notes: Option<String>, target: Option<String>) -> Result<Vec<i64>> {
        let new = forge::NewRelease {
            tag_name: tag.to_owned(),
            target_commitish: target,
            name: Some(tag.to_owned()),
            body: notes,
            ..forge::NewRelease::default()
        };
        self.forge.create_release(&self.delivered.full_name, USER, new).await?;
        self.started_by(&format!("release published {tag}")).await
    }

    /// Opens a pull request and gives it with the runs that check it.
    ///
    /// # Errors
    /// When a branch does not exist, nothing differs, or it is open already.
    pub async fn create_pull(
        &self,
        head: String,
        base: String,
        title: Option<String>,
        body: Option<String>,
    ) -> Result<Value> {
        let name = &self.delivered.full_name;
        let title = match title {
            Some(title) => title,
            None => {
                let repository = self.forge.git(name).await?;
                let commit = repository.commit(&format!("refs/heads/{head}")).await?;
                commit.map_or_else(|| head.clone(), |commit| commit.subject().to_owned())
            }
        };
        let new = forge::NewPull { title, body, head, base, draft: false };
        let pull = self.forge.create_pull(name, USER, new).await?;
        let runs = self.started_by(&format!("pull_request opened {} {}", pull.number, pull.head_sha)).await?;
        Ok(json!({"number": pull.number, "title": pull.title, "head": pull.head_sha, "runs": runs}))
    }

    /// Goes back to an earlier deployment by a commit that restores what the Application read then, so that automatic syncs agree. `id` is
    /// an entry of its history; the one before the last where `None`. Says what was done.
    ///
    /// # Errors
    /// When there is no such Application or entry, or nothing would change.
    pub async fn rollback(&self, name: &str, id: Option<i64>) -> Result<String> {
        let applications = self.gitops.applications();
        let Some(application) = applications.iter().find(|application| meta::name(application) == name) else {
            let names: Vec<&str> = applications.iter().map(|application| meta::name(application)).collect();
            bail!("there is no Application {name}; there are {}", names.join(", "));
        };
        let spec = Spec::of(application)?;
        let repository = self.forge.git(&self.delivered.full_name).await?;
        let main = self.main().await?;
        let history = application["status"]["history"].as_array().map_or(&[][..], Vec::as_slice);
        let files = |revision: String| {
            let repository = repository.clone();
            let spec = spec.clone();
            async move { files_of(&repository, &spec, &revision).await }
        };
        let now = files(main.clone()).await?;
        let candidates: Vec<&Value> = match id {
            Some(id) => history.iter().filter(|entry| entry["id"] == id).collect(),
            None => history.iter().rev().collect(),
        };
        for entry in candidates {
            // Of several sources, the one that is the repository.
            let revisions = entry["revisions"].as_array().into_iter().flatten().chain([&entry["revision"]]);
            let revision =
                revisions.filter_map(Value::as_str).find(|revision| git::is_oid(revision)).unwrap_or_default();
            let Ok(then) = files(revision.to_owned()).await else { continue };
            let mut changes: Vec<(String, Option<Vec<u8>>)> = Vec::new();
            for path in now.keys().chain(then.keys().filter(|path| !now.contains_key(*path))) {
                if now.get(path) != then.get(path) {
                    changes.push((path.clone(), then.get(path).cloned()));
                }
            }
            if changes.is_empty() {
                continue;
            }
            let short = revision.get(..7).unwrap_or(revision);
            let paths: Vec<&str> = changes.iter().map(|(path, _)| path.as_str()).collect();
            let message = format!("Roll {name} back to {short}\n\nRestores {} as of {revision}.\n", paths.join(", "));
            let commit = self
                .forge
                .commit_files(&self.delivered.full_name, USER, "main", &changes, &message)
                .await
                .context("cannot commit the rollback")?;
            return Ok(format!("{name} goes back to {short}: commit {} on main", commit.get(..7).unwrap_or(&commit)));
        }
        match id {
            Some(id) if !history.iter().any(|entry| entry["id"] == id) => {
                bail!("{name} has no deployment {id}; its history has {}", ids(history))
            }
            _ => bail!("{name} has no earlier deployment that differs from what is on main now"),
        }
    }

    /// The log of every Pod of an Application, line by line.
    ///
    /// # Errors
    /// When there is no such Application or it has no Pods.
    pub async fn application_logs(self: &Arc<Self>, name: &str, follow: bool) -> Result<mpsc::Receiver<String>> {
        if !self.delivered.application_names().iter().any(|known| known == name) {
            bail!("there is no Application {name}; `bigben status` lists them, `bigben runs` lists runs");
        }
        let tree = gitops::api::resource_tree(&self.gitops, name);
        let pods: Vec<(String, String)> = tree["nodes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|node| node["kind"] == "Pod")
            .map(|node| (meta_text(node, "namespace"), meta_text(node, "name")))
            .collect();
        if pods.is_empty() {
            bail!("{name} has no Pods");
        }
        let (sender, receiver) = mpsc::channel(64);
        let several = pods.len() > 1;
        for (namespace, pod) in pods {
            let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log?follow={follow}");
            let request = http::Request::get(path).body(Vec::new()).context("a path of names is a URI")?;
            let (client, sender) = (self.client.clone(), sender.clone());
            self.own(async move {
                let prefix = if several { format!("{pod}  ") } else { String::new() };
                match client.request_stream(request).await {
                    Ok(stream) => {
                        let stream = std::pin::pin!(stream);
                        let mut lines = stream.lines();
                        while let Some(Ok(line)) = futures::StreamExt::next(&mut lines).await {
                            if sender.send(format!("{prefix}{line}\n")).await.is_err() {
                                return;
                            }
                        }
                    }
                    Err(error) => {
                        let _ = sender.send(format!("{prefix}no log: {error}\n")).await;
                    }
                }
            });
        }
        Ok(receiver)
    }

    /// The logs of a run's jobs, or of one of them.
    ///
    /// # Errors
    /// When there is no such run or job.
    pub async fn run_logs(
        self: &Arc<Self>,
        run: i64,
        job: Option<i64>,
        follow: bool,
    ) -> Result<mpsc::Receiver<String>> {
        self.engine.run(run).await.with_context(|| format!("there is no run {run}; `bigben runs` lists them"))?;
        let mut jobs = self.engine.jobs(run).await?;
        if let Some(job) = job {
            jobs.retain(|known| known.id == job);
            if jobs.is_empty() {
                bail!("run {run} has no job {job}");
            }
        }
        let (sender, receiver) = mpsc::channel(64);
        let daemon = Arc::clone(self);
        self.own(async move {
            for job in jobs {
                let took = job.completed_ms.zip(job.started_ms).map_or(0, |(end, start)| end - start);
                let state = job.conclusion.map_or(job.status.word(), actions::model::Conclusion::word);
                let title = format!("== {} ({state}, {}), job {}\n", job.name, duration(took), job.id);
                if sender.send(title).await.is_err() || daemon.send_log(job.id, follow, &sender).await.is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    async fn send_log(&self, job: i64, follow: bool, sender: &mpsc::Sender<String>) -> Result<()> {
        let mut events = self.engine.subscribe();
        let mut from = 0;
        loop {
            let (text, next, ended) = self.log_chunk(job, from).await?;
            if !text.is_empty() {
                sender.send(text).await?;
            }
            if ended || (!follow && next == from) {
                return Ok(());
            }
            if next == from {
                // More comes with an event; one that was missed is as good.
                let _ = events.recv().await;
            }
            from = next;
        }
    }

    /// A job's log from an offset: text, the next offset, and whether that was all.
    ///
    /// # Errors
    /// When there is no such job.
    pub async fn log_chunk(&self, job: i64, from: u64) -> Result<(String, u64, bool)> {
        const MOST: u64 = 256 * 1024;
        let state = self.engine.job(job).await?;
        let ended = state.status == actions::model::Status::Completed;
        let path = self.engine.log_path(&state);
        let bytes = tokio::task::spawn_blocking(move || read_from(&path, from, MOST)).await??;
        let next = from + bytes.len() as u64;
        let all = ended && (bytes.len() as u64) < MOST;
        Ok((String::from_utf8_lossy(&bytes).into_owned(), next, all))
    }
}

/// At most `most` bytes of a file from an offset, cut at the end of a line where there is one; none where there is no file yet.
fn read_from(path: &std::path::Path, from: u64, most: u64) -> std::io::Result<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    let mut bytes = Vec::new();
    match std::fs::File::open(path) {
        Ok(mut file) => {
            file.seek(SeekFrom::Start(from))?;
            file.take(most).read_to_end(&mut bytes)?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if bytes.len() as u64 == most
        && let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n')
    {
        bytes.truncate(end + 1);
    }
    Ok(bytes)
}

fn ids(history: &[Value]) -> String {
    let ids: Vec<String> = history.iter().map(|entry| entry["id"].to_string()).collect();
    if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
}

fn meta_text(node: &Value, field: &str) -> String {
    node[field].as_str().unwrap_or_default().to_owned()
}

/// The files that belong to one Application alone: its value files from outside of the chart, or its directory of manifests.
async fn files_of(repository: &git::Repository, spec: &Spec, revision: &str) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for source in spec.all_sources() {
        let is_chart = source.chart_reference().is_some();
        let outside: Vec<&str> = source
            .helm
            .iter()
            .flat_map(|helm| &helm.value_files)
            .filter_map(|file| {
                file.strip_prefix('/').or_else(|| file.strip_prefix('$')?.split_once('/').map(|(_, path)| path))
            })
            .collect();
        for path in &outside {
            if let Some(content) = repository.read_file(revision, path).await? {
                files.insert((*path).to_owned(), content);
            }
        }
        if outside.is_empty() && !is_chart {
            let entries = repository.tree(revision, source.path.trim_matches('/')).await?;
            let blobs: Vec<_> = entries.into_iter().filter(|entry| entry.kind == git::Kind::Blob).collect();
            let ids: Vec<&str> = blobs.iter().map(|entry| entry.oid.as_str()).collect();
            let contents = repository.read_blobs(&ids).await?;
            files.extend(blobs.iter().map(|entry| entry.path.clone()).zip(contents));
        }
    }
    Ok(files)
}
