//! Recording a run's steps, and playing them back: a pipeline runs with everything that its steps once gave, and none of what they did.
//!
//! A record holds, for each step of each job, what went in (script or action, inputs, environment) and what came out (outputs, changes of
//! the environment and the path, summary, annotations, log, how it ended). Secrets are hidden in it as in a log. When it is played back, conditions,
//! matrices, `needs` and outputs are evaluated anew; a step whose input differs from the record fails and says how.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::model::{Annotation, Conclusion};

/// What a step was given and what it gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step's name.
    pub name: String,
    /// What went in.
    pub inputs: Json,
    /// How it ended, before `continue-on-error`.
    pub outcome: Conclusion,
    /// Its outputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// Variables that it set for later steps.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Directories that it put on the path, first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// What it added to the summary.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// What it announced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Annotation>,
    /// The end of its log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
}

/// The record of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The workflow file.
    #[serde(default)]
    pub workflow: String,
    /// The event that started the run.
    #[serde(default)]
    pub event: String,
    /// The `inputs` of a dispatch.
    #[serde(default)]
    pub inputs: Json,
    /// The `github` context.
    #[serde(default)]
    pub github: Json,
    /// Steps, by job (`test[0]`) and step (its id, or `__run_2`).
    #[serde(default)]
    pub steps: BTreeMap<String, BTreeMap<String, StepRecord>>,
    /// What `hashFiles` gave, by job and patterns.
    #[serde(default)]
    pub hashes: BTreeMap<String, BTreeMap<String, String>>,
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// When the file cannot be read or is no record.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        serde_json::from_slice(&text).map_err(|error| format!("{} is not a record of a run: {error}", path.display()))
    }

    /// Writes it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| error.to_string())?;
        text.push(b'\n');
        crate::files::write_durably(path, &text).map_err(|error| format!("cannot write {}: {error}", path.display()))
    }
}

/// A record that is written, or played back.
#[derive(Debug)]
pub enum Tape {
    /// Steps run and are recorded.
    Recording(Mutex<Record>),
    /// Steps do not run.
    Playing(Record),
}

/// The longest end of a step's log that is kept, in bytes.
pub(crate) const KEPT_LOG: u64 = 64 << 10;

impl Tape {
    /// An empty record to be filled.
    pub fn recording() -> Self {
        Self::Recording(Mutex::default())
    }

    /// What was recorded so far, or is played.
    pub fn record(&self) -> Record {
        match self {
            Tape::Recording(record) => record.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Tape::Playing(record) => record.clone(),
        }
    }

    pub(crate) fn is_playing(&self) -> bool {
        matches!(self, Tape::Playing(_))
    }

    pub(crate) fn add(&self, job: &str, step: &str, found: StepRecord) {
        if let Tape::Recording(record) = self {
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            record.steps.entry(job.to_owned()).or_default().insert(step.to_owned(), found);
        }
    }

    /// What a step gave when it was recorded. The error says why there is nothing to play.
    pub(crate) fn play(&self, job: &str, step: &str, inputs: &Json) -> Result<StepRecord, String> {
        let Tape::Playing(record) = self else { return Err("nothing is played back".to_owned()) };
        let found = record
            .steps
            .get(job)
            .ok_or_else(|| format!("the record has no job '{job}'; record the run anew"))?
            .get(step)
            .ok_or_else(|| format!("the record has no step '{step}' in the job '{job}'; record the run anew"))?;
        if found.inputs == *inputs {
            return Ok(found.clone());
        }
        let mut lines = vec!["the step's input is not the one that was recorded:".to_owned()];
        difference("", &found.inputs, inputs, &mut lines);
        Err(lines.join("\n"))
    }

    /// `hashFiles`, through the record.
    pub(crate) fn hash(
        &self,
        job: &str,
        patterns: &[String],
        compute: impl FnOnce() -> Result<String, String>,
    ) -> Result<String, String> {
        let key = patterns.join("\n");
        match self {
            Tape::Playing(record) => {
                Ok(record.hashes.get(job).and_then(|all| all.get(&key)).cloned().unwrap_or_default())
            }
            Tape::Recording(record) => {
                let found = compute()?;
                let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
                record.hashes.entry(job.to_owned()).or_default().insert(key, found.clone());
                Ok(found)
            }
        }
    }

    pub(crate) fn note_github(&self, workflow: &str, event: &str, inputs: &Json, github: impl FnOnce() -> Json) {
        if let Tape::Recording(record) = self {
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            if record.workflow.is_empty() {
                workflow.clone_into(&mut record.workflow);
                event.clone_into(&mut record.event);
                record.inputs = inputs.clone();
                record.github = github();
            }
        }
    }
}

/// What differs between two documents, a line each.
fn difference(at: &str, recorded: &Json, now: &Json, lines: &mut Vec<String>) {
    match (recorded, now) {
        (Json::Object(a), Json::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let place = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                difference(&place, a.get(key).unwrap_or(&Json::Null), b.get(key).unwrap_or(&Json::Null), lines);
            }
        }
        _ if recorded == now => {}
        _ => lines.push(format!("  {at}: {recorded} was recorded, now it is {now}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_recorded_is_played() {
        let tape = Tape::recording();
        let step = StepRecord {
            name: "Run x".into(),
            inputs: json!({"run": "x", "env": {"A": "1"}}),
            outcome: Conclusion::Success,
            outputs: BTreeMap::from([("o".into(), "1".into())]),
            env: BTreeMap::new(),
            path: Vec::new(),
            summary: String::new(),
            annotations: Vec::new(),
            log: String::new(),
        };
        tape.add("j[0]", "__run", step.clone());
        assert_eq!(tape.hash("j[0]", &["*".into()], || Ok("abc".into())).unwrap(), "abc");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.json");
        tape.record().write(&path).unwrap();
        let tape = Tape::Playing(Record::read(&path).unwrap());
        assert_eq!(tape.play("j[0]", "__run", &step.inputs).unwrap(), step);
        assert_eq!(tape.hash("j[0]", &["*".into()], || Err("not asked".into())).unwrap(), "abc");
        let error = tape.play("j[0]", "__run", &json!({"run": "y", "env": {"A": "1"}})).unwrap_err();
        assert!(error.contains("run: \"x\" was recorded, now it is \"y\"") && !error.contains("env"), "{error}");
        assert!(tape.play("k[0]", "__run", &json!({})).unwrap_err().contains("no job 'k[0]'"));
        assert!(Record::read(Path::new("/none")).unwrap_err().contains("cannot read"));
    }
}
