//! Runs the build that a command line asked for: progress to standard error, one image or one for each platform, then push
//! or export.

use std::io::Write;
use std::sync::{Arc, Mutex};

use oci::{Index, Platform, media};

use super::export::{Finished, export};
use super::outputs::{Level, Outcome};
use super::{Docker, Failure, render, runtime};
use crate::build::{BuildRequest, BuildResult, Builder, Error};
use crate::progress::{Plain, Progress};

/// How to run it.
pub(super) struct Run<'a> {
    pub builder: &'a Builder,
    pub quiet: bool,
    pub style: Option<&'a str>,
    pub outcome: &'a Outcome,
}

impl Run<'_> {
    /// Builds for each platform (none: that of this machine), pushes and exports.
    pub fn perform(
        &self,
        docker: &mut Docker,
        mut request: BuildRequest,
        platforms: &[Platform],
    ) -> Result<BuildResult, Failure> {
        let runtime = runtime()?;
        let tags = request.tags.clone();
        let as_index = request.built_in("BUILDKIT_MULTI_PLATFORM").is_some_and(|value| matches!(value, "1" | "true"));
        if let [one] = platforms {
            request.platform = one.clone();
        }
        let one = [request.platform.clone()];
        let mut parts = Vec::new();
        let result = match platforms {
            [] | [_] if !as_index => {
                request.annotations = self.outcome.annotated(Level::Manifest, &request.platform);
                self.build(docker, &runtime, request)?
            }
            [] => self.build_many(docker, &runtime, &request, &one, &mut parts)?,
            many => self.build_many(docker, &runtime, &request, many, &mut parts)?,
        };
        let pushed = if self.outcome.push { tags.as_slice() } else { &[] };
        let by_digest = self.outcome.by_digest.iter().map(|name| name.with_digest(result.descriptor.digest.clone()));
        for name in pushed.iter().cloned().chain(by_digest) {
            let done = super::transfer::publish(docker, self.builder, &runtime, &result.descriptor, &name, &());
            let digest = done.map_err(|wrong| Failure::new(format!("ERROR: failed to push {}", wrong.message)))?;
            if !self.quiet {
                let shown = if name.digest().is_some() { name.to_string() } else { format!("{name}@{digest}") };
                docker.talk(format!("pushing manifest for {shown} done"));
            }
        }
        for to in &self.outcome.exports {
            let finished = Finished { result: &result, parts: &parts, tags: &tags };
            export(docker, self.builder, &finished, to)?;
        }
        Ok(result)
    }

    /// One image for each platform, under one index.
    fn build_many(
        &self,
        docker: &mut Docker,
        runtime: &tokio::runtime::Runtime,
        request: &BuildRequest,
        platforms: &[Platform],
        parts: &mut Vec<(Platform, BuildResult)>,
    ) -> Result<BuildResult, Failure> {
        let mut entries = Vec::new();
        for platform in platforms {
            let annotations = self.outcome.annotated(Level::Manifest, platform);
            let one = BuildRequest { platform: platform.clone(), tags: Vec::new(), annotations, ..request.clone() };
            let result = self.build(docker, runtime, one)?;
            let mut entry = result.descriptor.clone();
            entry.platform = Some(platform.clone());
            entry.annotations.extend(self.outcome.annotated(Level::ManifestDescriptor, platform));
            entries.push(entry);
            parts.push((platform.clone(), result));
        }
        let own = parts.iter().find(|(platform, _)| *platform == Platform::host()).or(parts.first());
        let mut result =
            own.map(|(_, result)| result.clone()).ok_or_else(|| Failure::new("ERROR: no platform was given"))?;
        let images = self.builder.images();
        let unnamed: Vec<String> = entries.iter().map(|entry| format!("<none>@{}", entry.digest)).collect();
        let of_docker = entries.iter().all(|entry| entry.media_type == media::DOCKER_MANIFEST);
        let mut index = Index::new(entries);
        let list =
            of_docker && !self.outcome.annotates(Level::Index) && !self.outcome.annotates(Level::ManifestDescriptor);
        let index_type = if list { media::DOCKER_LIST } else { media::OCI_INDEX };
        index.media_type = Some(index_type.to_owned());
        index.annotations = self.outcome.annotated(Level::Index, &request.platform);
        result.descriptor = images.layout().put_json(index_type, &index)?;
        result.descriptor.annotations = self.outcome.annotated(Level::IndexDescriptor, &request.platform);
        match request.tags.as_slice() {
            [] => images.keep(&result.descriptor)?,
            tags => tags.iter().try_for_each(|tag| images.tag(tag, &result.descriptor))?,
        }
        // The index leads to them now.
        for part in unnamed {
            images.untag(&part)?;
        }
        Ok(result)
    }

    fn build(
        &self,
        docker: &mut Docker,
        runtime: &tokio::runtime::Runtime,
        request: BuildRequest,
    ) -> Result<BuildResult, Failure> {
        let sink = Shared::default();
        let style = self.style.or(docker.env.get("BUILDKIT_PROGRESS").map(String::as_str)).unwrap_or("auto");
        let progress: Arc<dyn Progress> = match (self.quiet, style) {
            (true, _) | (_, "quiet") => Arc::new(()),
            (_, "tty") => Arc::new(render::Terminal::new(sink.take(docker))),
            (_, "auto") if docker.stdio.terminal && !docker.env.contains_key("NO_COLOR") => {
                Arc::new(render::Terminal::new(sink.take(docker)))
            }
            (_, "auto" | "plain") => Arc::new(Plain::new(sink.take(docker))),
            (_, "rawjson") => Arc::new(render::RawJson::new(sink.take(docker))),
            (_, other) => {
                return Err(Failure::new(format!(
                    "invalid progress mode {other:?}; use auto, plain, tty, rawjson or quiet"
                )));
            }
        };
        let text = request.dockerfile.clone();
        let name = request.dockerfile_name.clone();
        let cancel = request.cancel.clone();
        let built = runtime.block_on(async {
            let build = self.builder.build(request, progress.clone());
            tokio::pin!(build);
            tokio::select! {
                built = &mut build => built,
                () = asked_to_end() => {
                    cancel.cancel();
                    build.await
                }
            }
        });
        drop(progress);
        sink.give_back(docker);
        let result = built.map_err(|wrong| match wrong {
            Error::Canceled => {
                Failure { code: 130, ..Failure::new("ERROR: failed to solve: Canceled: context canceled") }
            }
            wrong => Failure::new(render::failure(&wrong, &name, &text)),
        })?;
        if !self.quiet && !result.warnings.is_empty() {
            docker.talk(render::warnings(&result.warnings));
        }
        Ok(result)
    }
}

/// Ends when this process is told to end by a signal.
async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Standard error, lent to a progress sink and taken back.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Option<Box<dyn Write + Send>>>>);

impl Shared {
    fn take(&self, docker: &mut Docker) -> Shared {
        let real = std::mem::replace(&mut docker.stdio.err, Box::new(std::io::sink()));
        *self.0.lock().expect("output lock is never poisoned") = Some(real);
        self.clone()
    }

    fn give_back(&self, docker: &mut Docker) {
        if let Some(real) = self.0.lock().expect("output lock is never poisoned").take() {
            docker.stdio.err = real;
        }
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match &mut *self.0.lock().expect("output lock is never poisoned") {
            Some(real) => real.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match &mut *self.0.lock().expect("output lock is never poisoned") {
            Some(real) => real.flush(),
            None => Ok(()),
        }
    }
}
