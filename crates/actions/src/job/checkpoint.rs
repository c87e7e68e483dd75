//! The state of a job before each of its steps, kept with its work space when the job does not succeed, so that it can go on from there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Executor;
use super::steps::Frame;
use super::uses::SavedPost;
use crate::expr::{Object, Value};
use crate::model::Step;

/// How many work spaces of jobs that did not succeed are kept.
const KEPT: usize = 4;

/// Where a job goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// The work space that was kept.
    pub dir: PathBuf,
    /// The id of the step.
    pub step: String,
}

/// The work space of a job that did not succeed.
pub fn kept_dir(engine: &Path, job: i64) -> PathBuf {
    engine.join("kept").join(job.to_string())
}

/// Deletes all but the newest work spaces that were kept.
pub(crate) fn prune(engine: &Path) {
    let mut found: Vec<(i64, PathBuf)> = std::fs::read_dir(engine.join("kept"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect();
    found.sort_by_key(|(job, _)| std::cmp::Reverse(*job));
    for (_, path) in found.into_iter().skip(KEPT) {
        super::workspace::remove_all(&path);
    }
}

/// What a job had before one of its steps. Where it only grows (steps, masks, the summary, what is to run afterwards), the length is
/// enough; what seldom changes is shared.
pub(crate) struct Before {
    step: String,
    env: Arc<IndexMap<String, String>>,
    path: Arc<Vec<String>>,
    pre_states: Arc<IndexMap<String, IndexMap<String, String>>>,
    lengths: Lengths,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Lengths {
    steps: usize,
    masks: usize,
    posts: usize,
    summary: usize,
    count: usize,
}

/// All of it as it is kept in a file.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    steps: Vec<(String, Json)>,
    masks: Vec<String>,
    posts: Vec<SavedPost>,
    summary: String,
    records: Vec<Step>,
    before: Vec<KeptBefore>,
}

/// [`Before`]; none for what is as before the step before.
#[derive(Serialize, Deserialize)]
struct KeptBefore {
    step: String,
    env: Option<Vec<(String, String)>>,
    path: Option<Vec<String>>,
    pre_states: Option<IndexMap<String, IndexMap<String, String>>>,
    lengths: Lengths,
}

/// The value that is there already, if it is the same.
fn shared<T: PartialEq + Clone>(last: Option<&Arc<T>>, now: &T) -> Arc<T> {
    last.filter(|last| ***last == *now).cloned().unwrap_or_else(|| Arc::new(now.clone()))
}

/// The value, if it is another than the last one.
fn changed<T: Clone>(last: &mut Option<Arc<T>>, now: &Arc<T>) -> Option<T> {
    let same = last.as_ref().is_some_and(|last| Arc::ptr_eq(last, now));
    *last = Some(now.clone());
    (!same).then(|| (**now).clone())
}

impl Executor {
    fn checkpoint_path(&self) -> PathBuf {
        self.workspace.root.join("_state.json")
    }

    /// Notes the state before a step.
    pub(super) fn checkpoint(&mut self, step: &str, frame: &Frame) {
        let last = self.before.last();
        let lengths = Lengths {
            steps: frame.steps.len(),
            masks: self.added_masks.len(),
            posts: self.posts.len(),
            summary: self.summary.len(),
            count: self.count.load(Ordering::Relaxed),
        };
        let before = Before {
            step: step.to_owned(),
            env: shared(last.map(|last| &last.env), &self.env),
            path: shared(last.map(|last| &last.path), &self.path),
            pre_states: shared(last.map(|last| &last.pre_states), &self.pre_states),
            lengths,
        };
        self.before.push(before);
    }

    /// What [`Executor::keep`] writes, as far as it is gone after the job's clean-up.
    pub(super) fn posts_to_keep(&self) -> Vec<SavedPost> {
        self.posts.iter().map(super::uses::Post::save).collect()
    }

    /// Writes the states of a job that did not succeed into its work space.
    pub(super) fn keep(&self, frame: &Frame, posts: Vec<SavedPost>) {
        let (mut env, mut path, mut pre_states) = (None, None, None);
        let before = self.before.iter().map(|before| KeptBefore {
            step: before.step.clone(),
            env: changed(&mut env, &before.env).map(|env| env.into_iter().collect()),
            path: changed(&mut path, &before.path),
            pre_states: changed(&mut pre_states, &before.pre_states),
            lengths: before.lengths,
        });
        let kept = Kept {
            before: before.collect(),
            steps: frame.steps.iter().map(|(id, value)| (id.to_owned(), value.to_json())).collect(),
            masks: self.added_masks.clone(),
            posts,
            summary: self.summary.clone(),
            records: self.records.clone(),
        };
        let path = self.checkpoint_path();
        let write = || -> std::io::Result<()> {
            use std::os::unix::fs::OpenOptionsExt;
            let mut options = std::fs::OpenOptions::new();
            let file = options.create(true).truncate(true).write(true).mode(0o600).open(&path)?;
            Ok(serde_json::to_writer(std::io::BufWriter::new(file), &kept)?)
        };
        if let Err(error) = write() {
            // The job itself does not need it.
            tracing::warn!(%error, path = %path.display(), "the state of a job cannot be kept");
        }
    }

    /// Takes the state before a step over from an earlier attempt.
    pub(super) fn restore(
        &mut self,
        step: &str,
        before: &[crate::workflow::Step],
        frame: &mut Frame,
    ) -> Result<(), String> {
        if let Some(running) = super::beside::left_running(before) {
            return Err(format!(
                "before the step '{step}' the step '{running}' runs in the background, and is not waited for; go on from there or from an earlier step"
            ));
        }
        let none =
            || format!("the earlier attempt did not come to the step '{step}', so there is no state to go on from");
        let path = self.checkpoint_path();
        let text = std::fs::read(&path).map_err(|_| none())?;
        let kept: Kept =
            serde_json::from_slice(&text).map_err(|error| format!("{} is damaged: {error}", path.display()))?;
        let mut env: Arc<IndexMap<String, String>> = Arc::default();
        let (mut paths, mut pre_states) = (Arc::default(), Arc::default());
        let mut found = None;
        for entry in kept.before {
            env = entry.env.map_or(env, |env| Arc::new(env.into_iter().collect()));
            paths = entry.path.map_or(paths, Arc::new);
            pre_states = entry.pre_states.map_or(pre_states, Arc::new);
            if entry.step == step {
                found = Some(entry.lengths);
                break;
            }
            // A later attempt may go on from an earlier step yet.
            self.before.push(Before {
                step: entry.step,
                env: env.clone(),
                path: paths.clone(),
                pre_states: pre_states.clone(),
                lengths: entry.lengths,
            });
        }
        let lengths = found.ok_or_else(none)?;
        let masks: Vec<String> = kept.masks.into_iter().take(lengths.masks).collect();
        self.log.mask(masks.iter().map(String::as_str));
        self.added_masks = masks;
        self.env = Arc::unwrap_or_clone(env);
        self.path = Arc::unwrap_or_clone(paths);
        self.pre_states = Arc::unwrap_or_clone(pre_states);
        self.summary = kept.summary.get(..lengths.summary).unwrap_or_default().to_owned();
        self.count.store(lengths.count, Ordering::Relaxed);
        let mut steps = Object::new();
        for (id, value) in kept.steps.into_iter().take(lengths.steps) {
            steps.insert(id, Value::from(&value));
        }
        frame.steps = steps;
        let posts = kept.posts.into_iter().take(lengths.posts);
        self.posts = posts.map(|post| post.restore(frame)).collect::<Result<_, _>>()?;
        self.log.line("The state that the earlier attempt had before this step is kept.");
        let size = self.log.size();
        let earlier = kept
            .records
            .into_iter()
            .filter(|record| !record.name.starts_with("Pre ") && before.iter().any(|step| step.id == record.id));
        for mut record in earlier {
            record.number = self.records.len() + 1;
            record.log = (size, size);
            self.records.push(record);
        }
        Ok(())
    }
}
