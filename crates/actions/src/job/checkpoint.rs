//! The state of a job before each of its steps, kept with its work space when the job does not succeed, so that it can go on from there.

use std::path::{Path, PathBuf};
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

#[derive(Serialize, Deserialize)]
struct Checkpoint {
    env: Vec<(String, String)>,
    path: Vec<String>,
    steps: Json,
    summary: String,
    masks: Vec<String>,
    posts: Vec<SavedPost>,
    records: Vec<Step>,
    pre_states: IndexMap<String, IndexMap<String, String>>,
    count: usize,
}

impl Executor {
    fn checkpoint_path(&self, step: &str) -> PathBuf {
        self.workspace.root.join("_state").join(format!("{step}.json"))
    }

    /// Notes the state before a step.
    pub(super) fn checkpoint(&self, step: &str, frame: &Frame) {
        let state = Checkpoint {
            env: self.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            path: self.path.clone(),
            steps: Value::object(frame.steps.clone()).to_json(),
            summary: self.summary.clone(),
            masks: self.added_masks.clone(),
            posts: self.posts.iter().map(super::uses::Post::save).collect(),
            records: self.records.clone(),
            pre_states: self.pre_states.clone(),
            count: self.count.load(Ordering::Relaxed),
        };
        let path = self.checkpoint_path(step);
        let write = || -> std::io::Result<()> {
            if let Some(parent) = path.parent()
                && !parent.is_dir()
            {
                use std::os::unix::fs::DirBuilderExt;
                std::fs::DirBuilder::new().mode(0o700).create(parent)?;
            }
            std::fs::write(&path, serde_json::to_vec(&state)?)
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
        let path = self.checkpoint_path(step);
        let text = std::fs::read(&path).map_err(|_| {
            format!("the earlier attempt did not come to the step '{step}', so there is no state to go on from")
        })?;
        let state: Checkpoint =
            serde_json::from_slice(&text).map_err(|error| format!("{} is damaged: {error}", path.display()))?;
        self.log.mask(state.masks.iter().map(String::as_str));
        self.added_masks = state.masks;
        self.env = state.env.into_iter().collect();
        self.path = state.path;
        self.summary = state.summary;
        self.pre_states = state.pre_states;
        self.count.store(state.count, Ordering::Relaxed);
        if let Value::Object(steps) = Value::from(&state.steps) {
            let mut all = Object::new();
            for (name, value) in steps.iter() {
                all.insert(name, value.clone());
            }
            frame.steps = all;
        }
        self.posts = state.posts.into_iter().map(|post| post.restore(frame)).collect::<Result<_, _>>()?;
        self.log.line("The state that the earlier attempt had before this step is kept.");
        let size = self.log.size();
        let earlier = state
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
