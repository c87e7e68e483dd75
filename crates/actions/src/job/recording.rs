//! Steps and the tape: what is recorded of a step, and how a recorded step takes effect again. And the stop at a step that failed.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Value as Json, json};

use super::Executor;
use super::breaks::Stop;
use super::steps::{Current, Frame, env_of};
use super::tape::{KEPT_LOG, StepRecord, Tape};
use crate::model::Conclusion;
use crate::workflow::{Step, StepKind};

/// The state before a step that is recorded.
pub(super) struct Before {
    env: IndexMap<String, String>,
    path: Vec<String>,
    summary: usize,
    annotations: usize,
    log: u64,
}

impl Executor {
    fn tape(&self) -> Option<&Tape> {
        self.services.config.tape.as_deref()
    }

    /// None when the step is not recorded: there is no tape, or the step belongs to a composite action.
    pub(super) fn before_recording(&mut self, frame: &Frame) -> Option<Before> {
        self.step_inputs = None;
        let tape = self.tape().filter(|tape| !tape.is_playing() && frame.action.is_none())?;
        let input = &self.spec.input;
        tape.note_github(&self.spec.run.path, &self.spec.run.event, &input.inputs, || {
            crate::expr::Value::object(self.github.clone()).to_json()
        });
        Some(Before {
            env: self.env.clone(),
            path: self.path.clone(),
            summary: self.summary.len(),
            annotations: self.annotations.len(),
            log: self.log.size(),
        })
    }

    /// Records a step that ran.
    pub(super) fn record_step(&self, step: &Step, outcome: Conclusion, current: &Current, before: Option<Before>) {
        let (Some(tape), Some(before), Some(inputs)) = (self.tape(), before, self.step_inputs.clone()) else { return };
        let masked = |text: &String| self.log.masked(text);
        let env = self.env.iter().filter(|(name, value)| before.env.get(*name) != Some(*value));
        let record = StepRecord {
            name: self.records.last().map(|record| record.name.clone()).unwrap_or_default(),
            inputs,
            outcome,
            outputs: current.outputs.iter().map(|(name, value)| (name.clone(), masked(value))).collect(),
            env: env.map(|(name, value)| (name.clone(), self.portable(&masked(value)))).collect(),
            path: self.path.iter().filter(|dir| !before.path.contains(dir)).map(|dir| self.portable(dir)).collect(),
            summary: self.summary.get(before.summary..).unwrap_or_default().to_owned(),
            annotations: self.annotations.get(before.annotations..).unwrap_or_default().to_vec(),
            log: self.log_since(before.log),
        };
        tape.add(&self.spec.job.key, &step.id, record);
    }

    fn log_since(&self, start: u64) -> String {
        use std::io::{Read, Seek, SeekFrom};
        let end = self.log.size();
        let path = self.services.config.log_path(self.spec.run.id, self.spec.job.id);
        let mut text = Vec::new();
        if let Ok(mut file) = std::fs::File::open(path) {
            let from = start.max(end.saturating_sub(KEPT_LOG));
            if file.seek(SeekFrom::Start(from)).is_ok() {
                let _ = file.take(end.saturating_sub(from)).read_to_end(&mut text);
            }
        }
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().map(|line| line.split_once(' ').map_or("", |(_, text)| text)).collect();
        self.portable(&lines.join("\n"))
    }

    /// A text without this machine's paths.
    fn portable(&self, text: &str) -> String {
        text.replace(&*self.workspace.root.to_string_lossy(), "{root}")
    }

    fn placed(&self, text: &str) -> String {
        text.replace("{root}", &self.workspace.root.to_string_lossy())
    }

    /// What goes into a step: with its expressions evaluated, secrets hidden.
    fn inputs_of_step(&self, step: &Step, frame: &Frame, env: &[(String, String)]) -> Json {
        let scope = self.scope(frame);
        let text = |text: &str| Json::from(self.portable(&self.log.masked(text)));
        let pairs = |pairs: &[(String, String)]| {
            Json::Object(pairs.iter().map(|(name, value)| (name.clone(), text(value))).collect())
        };
        let template =
            |template: &crate::expr::Template| template.text(&scope).map_or(Json::Null, |found| text(&found));
        let mut out = match &step.kind {
            StepKind::Run { script, shell, working_directory } => json!({
                "run": template(script),
                "shell": shell.as_ref().map(template),
                "working-directory": working_directory.as_ref().map(template),
            }),
            StepKind::Uses { action, with } => {
                let with = with.as_ref().and_then(|tree| env_of(tree, &scope).ok()).unwrap_or_default();
                json!({"uses": action, "with": pairs(&with)})
            }
            _ => json!({}),
        };
        out["env"] = pairs(env);
        if let Json::Object(fields) = &mut out {
            fields.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|inner| !inner.is_empty()));
        }
        out
    }

    /// With a tape: notes what goes into the step, and when the tape is played back gives how it ended instead of running it.
    pub(super) fn play_step(
        &mut self,
        step: &Step,
        frame: &Frame,
        env: &[(String, String)],
        current: &mut Current,
    ) -> Option<Conclusion> {
        if frame.action.is_some() {
            return None;
        }
        let tape = self.services.config.tape.clone()?;
        let inputs = self.inputs_of_step(step, frame, env);
        self.step_inputs = Some(inputs.clone());
        if !tape.is_playing() {
            return None;
        }
        match tape.play(&self.spec.job.key, &step.id, &inputs) {
            Ok(record) => {
                if !record.log.is_empty() {
                    self.log.push(&self.placed(&record.log));
                }
                current.outputs.extend(record.outputs);
                let env: BTreeMap<String, String> =
                    record.env.iter().map(|(name, value)| (name.clone(), self.placed(value))).collect();
                self.env.extend(env);
                for dir in record.path.iter().rev() {
                    let dir = self.placed(dir);
                    self.path.retain(|known| *known != dir);
                    self.path.insert(0, dir);
                }
                self.summary.push_str(&record.summary);
                self.annotations.extend(record.annotations);
                Some(record.outcome)
            }
            Err(problem) => {
                for line in problem.lines() {
                    self.error(line);
                }
                Some(Conclusion::Failure)
            }
        }
    }

    /// Waits at a step that failed, when the run asked for it.
    pub(super) async fn stop_here(&mut self, name: &str) {
        let breaks = &self.services.breaks;
        if !breaks.armed(self.spec.run.id) || self.cancelled || self.cancel.is_cancelled() {
            return;
        }
        let place = self.containers.place.clone();
        let command = match self.last.clone() {
            Some(command) => command,
            None => {
                // The step ran nothing; a shell then has what a step without an environment of its own would have.
                let env = self.process_env(&[], &Frame::default(), &mut Current::default()).unwrap_or_default();
                super::process::Command { env, cwd: self.workspace.workspace.clone(), ..Default::default() }
            }
        };
        let inside = place.filter(|_| !command.on_runner);
        let (mut words, env, cwd) = match &inside {
            Some(place) => self.translated(&place.paths, &place.env, &command),
            None => {
                let words = std::iter::once(&command.program).chain(&command.args);
                let words = words.map(|word| word.to_string_lossy().into_owned()).collect();
                (words, command.env.clone(), command.cwd.clone())
            }
        };
        words.retain(|word| !word.is_empty());
        let errors: Vec<String> = self.annotations.iter().rev().take(5).rev().map(|a| a.message.clone()).collect();
        let stop = Stop {
            run: self.spec.run.id,
            job: self.spec.job.id,
            job_name: self.spec.job.name.clone(),
            step: name.to_owned(),
            errors,
            command: words,
            env,
            cwd,
            in_container: inside.is_some(),
            container: inside.map(|place| place.container),
        };
        self.log.line("The run stops here until it is let go on.");
        let cancel = self.cancel.clone();
        tokio::select! {
            () = self.services.breaks.wait(stop) => {}
            () = cancel.cancelled() => {}
        }
    }
}
