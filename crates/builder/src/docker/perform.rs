//! Runs the build that a command line asked for: progress to standard error, one image or one for each platform, then push
//! or export.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use oci::{Index, Platform, media};

use super::{Docker, Failure, render, runtime};
use crate::build::{BuildRequest, BuildResult, Builder, Error};
use crate::progress::{Plain, Progress};

/// What happens to the image besides being kept.
pub(super) struct Outcome {
    pub push: bool,
    pub dest: Option<(String, PathBuf)>,
}

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
        let result = match platforms {
            [] => self.build(docker, &runtime, request)?,
            [one] => {
                request.platform = one.clone();
                self.build(docker, &runtime, request)?
            }
            many => {
                if self.outcome.dest.is_some() {
                    return Err(Failure::new("ERROR: exporting to a file or directory takes one --platform at a time"));
                }
                self.build_many(docker, &runtime, &request, many)?
            }
        };
        if self.outcome.push {
            for tag in &tags {
                let pushed = super::transfer::publish(docker, self.builder, &runtime, &result.descriptor, tag, &());
                let digest =
                    pushed.map_err(|wrong| Failure::new(format!("ERROR: failed to push {}", wrong.message)))?;
                if !self.quiet {
                    docker.talk(format!("pushing manifest for {tag}@{digest} done"));
                }
            }
        }
        if let Some((kind, dest)) = &self.outcome.dest {
            super::archive::export(docker, self.builder, &result, &tags, kind, dest)?;
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
    ) -> Result<BuildResult, Failure> {
        let mut entries = Vec::new();
        let mut shown = None;
        for platform in platforms {
            let one = BuildRequest { platform: platform.clone(), tags: Vec::new(), ..request.clone() };
            let result = self.build(docker, runtime, one)?;
            let mut entry = result.descriptor.clone();
            entry.platform = Some(platform.clone());
            entries.push(entry);
            if shown.is_none() || *platform == Platform::host() {
                shown = Some(result);
            }
        }
        let mut result = shown.ok_or_else(|| Failure::new("ERROR: no platform was given"))?;
        let images = self.builder.images();
        let parts: Vec<String> = entries.iter().map(|entry| format!("<none>@{}", entry.digest)).collect();
        let mut index = Index::new(entries);
        index.media_type = Some(media::OCI_INDEX.to_owned());
        result.descriptor = images.layout().put_json(media::OCI_INDEX, &index)?;
        match request.tags.as_slice() {
            [] => images.keep(&result.descriptor)?,
            tags => tags.iter().try_for_each(|tag| images.tag(tag, &result.descriptor))?,
        }
        // The index leads to them now.
        for part in parts {
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
        if !self.quiet {
            for (span, warning) in &result.warnings {
                docker.talk(format!("WARN: {warning} ({name}:{})", span.start));
            }
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
