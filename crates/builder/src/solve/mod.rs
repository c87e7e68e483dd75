//! Performs a build: decides which stages are needed, runs each on a thread of its own, waits where one needs another.
//!
//! A stage's state is a list of layer digests and a configuration; every step is looked up by what it can see before it is
//! performed. Stages that the target does not lead to are never started.

mod add;
mod carry;
mod copy;
mod export;
mod source;
mod stage;
mod users;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use oci::{Digest, Platform};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

pub(crate) use stage::{Performed, chain_id};
pub(crate) use users::resolve as resolve_user;

use crate::build::{BuildRequest, BuildResult, Builder, Cause, Error, Source, StepFailure};
use crate::cache::StepCache;
use crate::dockerfile::check::{Settings, Warning, check};
use crate::dockerfile::words::Lex;
use crate::dockerfile::{self, Dockerfile, Kind, Span};
use crate::fs::context::Context;
use crate::fs::view::View;
use crate::progress::{Outcome, Progress, Reporter};
use crate::state::{Inputs, State};

/// Where a stage is.
enum Slot {
    Waiting,
    Ready(Arc<State>),
    Failed,
}

/// One build while it runs.
pub(crate) struct Solve<'a> {
    pub builder: &'a Builder,
    pub request: &'a BuildRequest,
    pub handle: &'a Handle,
    pub report: Reporter<'a>,
    pub file: Dockerfile,
    pub inputs: Inputs,
    pub cache: StepCache,
    /// Records from elsewhere, and those that this build used.
    pub carry: carry::Carry,
    /// Parent of the cgroups of this build's containers.
    pub cgroup: String,
    slots: Mutex<Vec<Slot>>,
    /// Stages that somebody performs, or has performed.
    started: Mutex<BTreeSet<usize>>,
    /// What the build checks found.
    pub(crate) found: Mutex<BTreeSet<Warning>>,
    checks: Settings,
    changed: Condvar,
    pub canceled: CancellationToken,
    worked: AtomicBool,
    failure: Mutex<Option<Error>>,
    contexts: Mutex<BTreeMap<String, Arc<Context>>>,
    context_lock: OnceLock<()>,
    views: Mutex<HashMap<Vec<Digest>, Arc<View>>>,
    loaded: Mutex<HashMap<(String, String), Arc<source::Loaded>>>,
    materials: Mutex<BTreeMap<String, Digest>>,
}

/// What a stage starts from, or a `--from` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Stage(usize),
    Scratch,
    Named(String),
    Image(String),
}

/// Builds. Blocks the calling thread.
/// Also tells whether any step had to be performed.
pub(crate) fn solve(
    builder: &Builder,
    request: &BuildRequest,
    progress: &dyn Progress,
    handle: &Handle,
) -> Result<(BuildResult, bool), Error> {
    let _hold = builder.images.hold()?;
    builder.sweep();
    let report = Reporter::new(progress);
    let step = report.begin(format!("[internal] load build definition from {}", request.dockerfile_name));
    step.note(format!("transferring dockerfile: {} done", crate::docker::size(request.dockerfile.len() as u64)));
    step.end(Outcome::Done);
    let file = dockerfile::parse(&request.dockerfile).map_err(Error::Parse)?;
    let mut inputs = Inputs {
        build_args: request.build_args.clone(),
        global: BTreeMap::new(),
        created: timestamp(request.epoch),
        escape: file.directives.escape,
    };
    globals(&file, request, &mut inputs)?;
    let target = target(&file, request)?;
    let checks = settings(&file, request)?;
    let count = file.stages.len();
    let mut solve = Solve {
        builder,
        request,
        handle,
        report,
        file,
        inputs,
        cache: StepCache::new(builder.config.cache.join("steps"), !request.no_cache),
        carry: carry::Carry::default(),
        cgroup: crate::run::cgroup_parent(),
        slots: Mutex::new((0..count).map(|_| Slot::Waiting).collect()),
        started: Mutex::default(),
        found: Mutex::default(),
        checks,
        changed: Condvar::new(),
        canceled: request.cancel.child_token(),
        worked: AtomicBool::new(false),
        failure: Mutex::new(None),
        contexts: Mutex::default(),
        context_lock: OnceLock::new(),
        views: Mutex::default(),
        loaded: Mutex::default(),
        materials: Mutex::default(),
    };
    solve.warn(check(&solve.file, &solve.inputs.global));
    solve.judge()?;
    let needed = solve.needed(target)?;
    *solve.started.lock().expect("no thread is there yet") = needed.clone();
    solve.import_caches();
    std::thread::scope(|scope| {
        for stage in needed {
            let solve = &solve;
            scope.spawn(move || solve.run_stage(stage, stage == target));
        }
    });
    runtime::cgroup::remove_tree(&solve.cgroup);
    for context in solve.contexts.lock().expect("no thread is left").values() {
        context.save();
    }
    if let Some(failure) = solve.failure.lock().expect("no thread is left").take() {
        return Err(failure);
    }
    solve.judge()?;
    let state = solve.wait(target).ok_or(Error::Canceled)?;
    let result = solve.export(&state)?;
    solve.export_caches(&state)?;
    Ok((result, solve.worked.load(Ordering::Relaxed)))
}

/// How build checks are to be judged: by the Dockerfile, or by `BUILDKIT_DOCKERFILE_CHECK` over it.
pub(crate) fn settings(file: &Dockerfile, request: &BuildRequest) -> Result<Settings, Error> {
    let text = request.built_in("BUILDKIT_DOCKERFILE_CHECK").or(file.directives.check.as_deref());
    Settings::parse(text.unwrap_or_default())
        .map_err(|wrong| Error::Parse(dockerfile::ParseError::new(Span { start: 1, end: 1 }, wrong)))
}

/// RFC 3339 for seconds since 1970.
pub(crate) fn timestamp(epoch: i64) -> String {
    jiff::Timestamp::from_second(epoch).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

pub(crate) fn globals(file: &Dockerfile, request: &BuildRequest, inputs: &mut Inputs) -> Result<(), Error> {
    let build = Platform::host();
    for (prefix, platform) in [("TARGET", &request.platform), ("BUILD", &build)] {
        let mut set = |name: &str, value: String| {
            let key = format!("{prefix}{name}");
            let value = request.build_args.get(&key).cloned().flatten().unwrap_or(value);
            inputs.global.insert(key, value);
        };
        set("PLATFORM", platform.to_string());
        set("OS", platform.os.clone());
        set("ARCH", platform.architecture.clone());
        set("VARIANT", platform.variant.clone().unwrap_or_default());
    }
    inputs.global.insert("TARGETSTAGE".to_owned(), request.target.clone().unwrap_or_else(|| "default".to_owned()));
    let lex = Lex::new(inputs.escape);
    for (span, list) in &file.meta_args {
        for pair in list {
            let word = |text: &str| {
                lex.word(text, &|name| inputs.global.get(name).cloned())
                    .map_err(|message| Error::Parse(dockerfile::ParseError::new(*span, message)))
            };
            let key = word(&pair.key)?;
            let default = pair.value.as_deref().map(word).transpose()?;
            let value = match request.build_args.get(&key) {
                Some(given) => given.clone(),
                None => default.or_else(|| inputs.global.get(&key).cloned()),
            };
            if let Some(value) = value {
                inputs.global.insert(key, value);
            }
        }
    }
    Ok(())
}

pub(crate) fn target(file: &Dockerfile, request: &BuildRequest) -> Result<usize, Error> {
    let Some(wanted) = &request.target else { return Ok(file.stages.len() - 1) };
    let lower = wanted.to_ascii_lowercase();
    file.stages
        .iter()
        .rposition(|stage| stage.name.as_deref() == Some(&lower))
        .ok_or_else(|| Error::Request(format!("failed to solve: target stage {wanted:?} could not be found")))
}

/// What an instruction reads besides its context: the names of `--from`.
fn sources(kind: &Kind) -> Vec<&str> {
    match kind {
        Kind::Copy(copy) => copy.from.as_deref().into_iter().collect(),
        Kind::Run { mounts, .. } => mounts.iter().filter_map(|mount| mount.from.as_deref()).collect(),
        _ => Vec::new(),
    }
}

impl<'a> Solve<'a> {
    /// What stage `at` starts from.
    pub fn origin(&self, at: usize) -> Result<Origin, Error> {
        let stage = &self.file.stages[at];
        let lex = Lex::new(self.inputs.escape);
        let wrong = |message: String| Error::Parse(dockerfile::ParseError::new(stage.span, message));
        let base = lex.word(&stage.base, &|name| self.inputs.global.get(name).cloned()).map_err(wrong)?;
        if base.is_empty() {
            return Err(wrong(format!("base name ({}) should not be blank", stage.base)));
        }
        if self.request.contexts.contains_key(&base) {
            return Ok(Origin::Named(base));
        }
        let by_name = self.file.stages[..at]
            .iter()
            .rposition(|earlier| earlier.name.as_deref() == Some(&base.to_ascii_lowercase()));
        Ok(match by_name {
            Some(stage) => Origin::Stage(stage),
            None if base == "scratch" => Origin::Scratch,
            None => Origin::Image(base),
        })
    }

    /// What a `--from` in stage `at` names.
    pub fn from(&self, at: usize, name: &str) -> Origin {
        if self.request.contexts.contains_key(name) {
            return Origin::Named(name.to_owned());
        }
        match self.file.stage(name, at) {
            Some(stage) => Origin::Stage(stage),
            None if name == "scratch" => Origin::Scratch,
            None => Origin::Image(name.to_owned()),
        }
    }

    /// The platform of stage `at`.
    pub fn platform(&self, at: usize) -> Result<Platform, Error> {
        let stage = &self.file.stages[at];
        let Some(text) = &stage.platform else { return Ok(self.request.platform.clone()) };
        let wrong = |message: String| Error::Parse(dockerfile::ParseError::new(stage.span, message));
        let text =
            Lex::new(self.inputs.escape).word(text, &|name| self.inputs.global.get(name).cloned()).map_err(wrong)?;
        Platform::parse(&text).ok_or_else(|| wrong(format!("failed to parse platform {text:?}")))
    }

    fn needed(&self, target: usize) -> Result<BTreeSet<usize>, Error> {
        let mut needed = BTreeSet::new();
        let mut todo = vec![target];
        while let Some(at) = todo.pop() {
            if !needed.insert(at) {
                continue;
            }
            if let Origin::Stage(base) = self.origin(at)? {
                todo.push(base);
            }
            for instruction in &self.file.stages[at].instructions {
                for name in sources(&instruction.kind) {
                    if let Origin::Stage(stage) = self.from(at, name) {
                        todo.push(stage);
                    }
                }
            }
        }
        Ok(needed)
    }

    /// Waits for a stage; `None` when the build failed.
    pub fn wait(&self, stage: usize) -> Option<Arc<State>> {
        let mut slots = self.slots.lock().expect("slot lock is never poisoned");
        loop {
            match &slots[stage] {
                Slot::Ready(state) => return Some(state.clone()),
                Slot::Failed => return None,
                Slot::Waiting => slots = self.changed.wait(slots).expect("slot lock is never poisoned"),
            }
        }
    }

    fn settle(&self, stage: usize, slot: Slot) {
        self.slots.lock().expect("slot lock is never poisoned")[stage] = slot;
        self.changed.notify_all();
    }

    fn run_stage(&self, at: usize, is_target: bool) {
        // A panic must not leave other stages waiting for ever.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.stage(at, is_target)));
        let outcome = outcome.unwrap_or_else(|_| Err(Error::Request("internal error: a stage panicked".to_owned())));
        match outcome {
            Ok(state) => self.settle(at, Slot::Ready(Arc::new(state))),
            Err(wrong) => {
                let mut failure = self.failure.lock().expect("failure lock is never poisoned");
                if failure.is_none() || matches!(*failure, Some(Error::Canceled)) {
                    *failure = Some(wrong);
                }
                drop(failure);
                self.canceled.cancel();
                self.settle(at, Slot::Failed);
            }
        }
    }

    /// Starts the stages that a trigger of a base image reads: the text of the Dockerfile does not show them.
    fn start_sources(&self, at: usize, trigger: &dockerfile::Instruction) -> Result<(), Error> {
        for name in sources(&trigger.kind) {
            let Origin::Stage(stage) = self.from(at, name) else { continue };
            for one in self.needed(stage)? {
                // Stages come before those that read them.
                if self.started.lock().expect("stage lock is never poisoned").insert(one) {
                    self.run_stage(one, false);
                }
            }
        }
        Ok(())
    }

    /// Notes what build checks found, as far as it is wanted.
    pub fn warn(&self, found: Vec<Warning>) {
        let wanted = found.into_iter().filter(|one| self.checks.wants(one.rule));
        self.found.lock().expect("warning lock is never poisoned").extend(wanted);
    }

    /// Fails when something was found and nothing may be.
    fn judge(&self) -> Result<(), Error> {
        let found = self.found.lock().expect("warning lock is never poisoned");
        match self.checks.error && !found.is_empty() {
            true => Err(Error::Checks(found.iter().cloned().collect())),
            false => Ok(()),
        }
    }

    /// Whether stage `at` is to be built anew.
    pub fn is_uncached(&self, at: usize) -> bool {
        let stage = &self.file.stages[at];
        let named = |wanted: &String| stage.name.as_ref() == Some(wanted) || *wanted == at.to_string();
        self.request.no_cache || self.request.no_cache_stages.iter().any(named)
    }

    /// Whether another stage failed.
    pub fn is_canceled(&self) -> bool {
        self.canceled.is_cancelled()
    }

    /// The merged view of a state's layers.
    pub fn view(&self, state: &State) -> Result<Arc<View>, crate::fs::Error> {
        if let Some(view) = self.views.lock().expect("view lock is never poisoned").get(&state.layers) {
            return Ok(view.clone());
        }
        self.import(state)?;
        let view = Arc::new(View::stack(&self.builder.layers, &state.layers)?);
        self.views.lock().expect("view lock is never poisoned").insert(state.layers.clone(), view.clone());
        Ok(view)
    }

    /// Makes sure that all layers of a state are in the layer store.
    pub fn import(&self, state: &State) -> Result<(), crate::fs::Error> {
        for layer in &state.layers {
            if self.builder.layers.has(layer) {
                continue;
            }
            let Some(blob) = state.blobs.get(layer) else {
                return Err(crate::fs::Error::NotFound {
                    path: format!("layer {layer} (the build cache was emptied while building)"),
                });
            };
            self.builder.layers.import(self.builder.images.layout().blobs(), blob, layer)?;
        }
        Ok(())
    }

    /// The main context or a named one, as a directory.
    pub fn context(&self, name: Option<&str>, dir: &std::path::Path) -> Result<Arc<Context>, Cause> {
        let key = name.unwrap_or("").to_owned();
        let mut contexts = self.contexts.lock().expect("context lock is never poisoned");
        if let Some(context) = contexts.get(&key) {
            return Ok(context.clone());
        }
        let _ = self.context_lock.set(());
        let text = match name {
            None => self.request.ignore.clone(),
            Some(_) => std::fs::read_to_string(dir.join(".dockerignore")).ok(),
        };
        let step_name = match name {
            None => "[internal] load .dockerignore".to_owned(),
            Some(name) => format!("[context {name}] load .dockerignore"),
        };
        let patterns = crate::ignore::read(text.as_deref().unwrap_or_default());
        let matcher = crate::ignore::Matcher::new(&patterns)
            .map_err(|wrong| Cause::Message(format!("error reading .dockerignore: {wrong}")))?;
        let step = self.report.begin(step_name);
        step.note(format!(
            "transferring context: {} done",
            crate::docker::size(text.as_deref().unwrap_or_default().len() as u64)
        ));
        step.end(Outcome::Done);
        let digest = crate::cache::Key::new("context").with(dir.to_string_lossy().as_bytes()).finish();
        let hashes = crate::fs::hashes::HashCache::load(self.builder.config.cache.join("contexts").join(digest));
        let context = Arc::new(Context::new(dir.to_owned(), matcher, hashes));
        contexts.insert(key, context.clone());
        Ok(context)
    }

    /// A failure of an instruction.
    pub fn failure(&self, step: impl Into<String>, span: Span, output: Vec<String>, cause: Cause) -> Error {
        Error::Step(Box::new(StepFailure { step: step.into(), span, output, cause }))
    }

    /// The request's main context.
    pub fn main_source(&self) -> &'a Source {
        &self.request.context
    }

    pub(crate) fn material(&self, name: &str, digest: &Digest) {
        self.materials.lock().expect("material lock is never poisoned").insert(name.to_owned(), digest.clone());
    }
}
