//! Steps: conditions, environment, scripts, and what a step says through commands and files.

mod environment;
mod said;
mod script_file;

use std::path::PathBuf;

use indexmap::IndexMap;
use tokio::time::Instant;

use super::Executor;
use super::process::{self, Command, End};
use super::scope::StepScope;
use super::shell::Shell;
use crate::expr::{Object, Value};
use crate::model::Conclusion;
use crate::workflow::{Step, StepKind, Tree};

pub(crate) use said::{FILE_NAMES, Files};
use script_file::SCRIPT;
pub(crate) use script_file::ScriptFile;

/// The steps of a job, or of a composite action inside it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frame {
    /// The `steps` context.
    pub steps: Object,
    /// The `inputs` of a composite action; the job's own otherwise.
    pub inputs: Option<Value>,
    /// The `env` of the step that uses the composite action.
    pub env: Vec<(String, String)>,
    /// Where the action lies: `github.action_path` and its kin.
    pub action: Option<ActionPlace>,
    /// Whether a step of this composite action has failed.
    pub failed: bool,
    /// The steps that this composite action is part of, outermost first, each with a `/` behind it.
    pub path: String,
}

/// The action that a step runs, for the `github` context.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct ActionPlace {
    pub path: PathBuf,
    pub repository: String,
    pub reference: String,
}

/// A step while it runs.
#[derive(Debug, Default)]
pub(crate) struct Current {
    pub id: String,
    pub outputs: IndexMap<String, String>,
    pub state: IndexMap<String, String>,
    pub stop_token: Option<String>,
    /// Whether commands are shown too (`::echo::on`).
    pub echo: bool,
    /// Whether `set-env` and `add-path` are allowed (`ACTIONS_ALLOW_UNSECURE_COMMANDS`).
    pub unsecure: bool,
    /// Whether a command of the step could not be carried out, which fails the step.
    pub refused: bool,
    /// How many errors, warnings and notices the step has left.
    pub announced: [usize; 3],
    pub deadline: Option<Instant>,
    pub files: Files,
}

impl Executor {
    /// What expressions see in a frame.
    pub(crate) fn scope<'a>(&'a self, frame: &'a Frame) -> StepScope<'a> {
        StepScope::new(self, frame, &[])
    }

    pub(super) fn scope_with<'a>(&'a self, frame: &'a Frame, step_env: &'a [(String, String)]) -> StepScope<'a> {
        StepScope::new(self, frame, step_env)
    }

    pub(super) fn github_context(&self, frame: &Frame) -> Value {
        let mut github = self.github.clone();
        github.insert("token", self.token.as_str());
        github.insert("workspace", self.workspace.workspace.to_string_lossy().as_ref());
        github.insert("event_path", self.event_path().to_string_lossy().as_ref());
        github.insert("job", self.spec.id.as_str());
        if !self.action.is_empty() {
            github.insert("action", self.action.as_str());
        }
        if let Some(action) = &frame.action {
            github.insert("action_path", action.path.to_string_lossy().as_ref());
            github.insert("action_repository", action.repository.as_str());
            github.insert("action_ref", action.reference.as_str());
            github.insert("action_status", if frame.failed { "failure" } else { "success" });
        }
        Value::object(github)
    }

    pub(crate) fn event_path(&self) -> PathBuf {
        self.workspace.temp.join("_github_workflow/event.json")
    }

    pub(super) fn runner_context(&self) -> Value {
        let mut runner = Object::new();
        let arch = if std::env::consts::ARCH == "aarch64" { "ARM64" } else { "X64" };
        for (name, value) in [
            ("os", "Linux".to_owned()),
            ("arch", arch.to_owned()),
            ("name", "Big Ben".to_owned()),
            ("environment", "self-hosted".to_owned()),
            ("temp", self.workspace.temp.to_string_lossy().into_owned()),
            ("tool_cache", self.tool_cache().to_string_lossy().into_owned()),
            (
                "workspace",
                self.workspace.workspace.parent().map(|p| p.to_string_lossy().into_owned()).unwrap_or_default(),
            ),
        ] {
            runner.insert(name, value);
        }
        if self.debug {
            runner.insert("debug", "1");
        }
        Value::object(runner)
    }

    pub(crate) fn tool_cache(&self) -> PathBuf {
        self.services.config.dir.join("tools")
    }

    pub(super) fn job_context(&self) -> Value {
        let mut job = Object::new();
        job.insert(
            "status",
            if self.cancelled {
                "cancelled"
            } else if self.failed {
                "failure"
            } else {
                "success"
            },
        );
        job.insert("check_run_id", Value::Number(self.spec.job.id as f64));
        self.container_context(&mut job);
        Value::object(job)
    }

    /// Runs a step of the job itself, with its record.
    pub(crate) async fn step(&mut self, step: &Step, frame: &mut Frame) {
        if self.cancel.is_cancelled() {
            self.cancelled = true;
        }
        self.refresh_services().await;
        match &step.kind {
            StepKind::Wait(_) | StepKind::WaitAll | StepKind::Cancel(_) | StepKind::Parallel(_) => {
                return self.control(step, frame).await;
            }
            StepKind::Run { .. } | StepKind::Uses { .. } => {}
        }
        if step.background && self.condition(step, frame) == Ok(true) {
            return self.start_beside(step, frame);
        }
        let name = self.display_name(step, frame);
        let index = self.begin(&name, &step.id);
        self.last = None;
        let (outcome, conclusion) = self.step_body(step, frame).await;
        if conclusion == Conclusion::Failure {
            self.stop_here(&name).await;
        }
        self.end(index, conclusion, Some(outcome));
        if conclusion == Conclusion::Failure {
            self.failed = true;
        }
        if self.cancel.is_cancelled() {
            self.cancelled = true;
        }
    }

    /// Runs a step and enters it into the `steps` context; gives outcome and conclusion.
    pub(crate) async fn step_body(&mut self, step: &Step, frame: &mut Frame) -> (Conclusion, Conclusion) {
        let mut current = Current { id: step.id.clone(), echo: self.debug, ..Current::default() };
        let before = self.before_recording(frame);
        let outer = (std::mem::replace(&mut self.action, step.id.clone()), self.survives);
        self.survives = self.cancelled || !self.is_view && self.would_survive(step, frame);
        let mut outcome = self.guarded(step, frame, &mut current).await;
        (self.action, self.survives) = outer;
        if current.refused && outcome == Conclusion::Success {
            outcome = Conclusion::Failure;
        }
        self.record_step(step, outcome, &current, before);
        let conclusion = self.forgiven(step, frame, outcome);
        if step.named_id {
            let mut entry = Object::new();
            entry.insert("outputs", super::scope::strings(&current.outputs, false));
            entry.insert("outcome", outcome.result());
            entry.insert("conclusion", conclusion.result());
            frame.steps.insert(step.id.as_str(), entry);
        }
        (outcome, conclusion)
    }

    /// The conclusion of a step after its `continue-on-error`.
    pub(super) fn forgiven(&mut self, step: &Step, frame: &Frame, outcome: Conclusion) -> Conclusion {
        let Some(tree) = step.continue_on_error.as_ref().filter(|_| outcome == Conclusion::Failure) else {
            return outcome;
        };
        let env = self.step_env(step, frame).unwrap_or_default();
        match tree.evaluate(&self.scope_with(frame, &env)) {
            Ok(value) if value.truthy() => Conclusion::Success,
            Ok(_) => outcome,
            Err(error) => {
                self.error(&error.to_string());
                outcome
            }
        }
    }

    async fn guarded(&mut self, step: &Step, frame: &mut Frame, current: &mut Current) -> Conclusion {
        // The step's own variables are there for its condition, as on GitHub.
        let env = self.step_env(step, frame);
        let holds = env.as_ref().map_err(Clone::clone).and_then(|env| self.condition_with(step, frame, env));
        let env = match (env, holds) {
            (Ok(env), Ok(true)) => env,
            (_, Ok(false)) => return Conclusion::Skipped,
            (Err(message), _) | (_, Err(message)) => {
                self.error(&message);
                return Conclusion::Failure;
            }
        };
        current.unsecure = self.allows_unsecure(&env, frame);
        if let Some(played) = self.play_step(step, frame, &env, current) {
            return played;
        }
        if let Some(tree) = &step.timeout_minutes {
            match tree.evaluate(&self.scope_with(frame, &env)).map(|value| value.to_number()) {
                Ok(minutes) if minutes > 0.0 => current.deadline = Some(Instant::now() + super::span(minutes)),
                Ok(_) => {}
                Err(error) => {
                    self.error(&error.to_string());
                    return Conclusion::Failure;
                }
            }
        }
        let result = match &step.kind {
            StepKind::Run { script, shell, working_directory } => {
                let (scope, default) = (self.scope_with(frame, &env), self.defaults(frame));
                let text =
                    |template: &Option<crate::expr::Template>| template.as_ref().map(|t| t.text(&scope)).transpose();
                let parts = script.text(&scope).and_then(|script| Ok((script, text(shell)?, text(working_directory)?)));
                drop(scope);
                match (parts, default) {
                    (Ok((script, shell, directory)), Ok((default_shell, default_directory))) => {
                        // A composite action's steps take nothing from the job's defaults.
                        let (default_shell, default_directory) =
                            if frame.action.is_some() { (None, None) } else { (default_shell, default_directory) };
                        self.script(
                            &script,
                            shell.or(default_shell),
                            directory.or(default_directory),
                            &env,
                            frame,
                            current,
                        )
                        .await
                    }
                    (Err(error), _) => Err(error.to_string()),
                    (_, Err(message)) => Err(message),
                }
            }
            StepKind::Uses { action, with } => {
                Box::pin(self.uses(step, action, with.as_ref(), &env, frame, current)).await
            }
            // The reader lets these stand among the steps of a job only.
            StepKind::Wait(_) | StepKind::WaitAll | StepKind::Cancel(_) | StepKind::Parallel(_) => {
                Err("steps that run beside others are for jobs only".to_owned())
            }
        };
        match result {
            Ok(conclusion) => conclusion,
            Err(message) => {
                self.error(&message);
                Conclusion::Failure
            }
        }
    }

    pub(super) fn condition(&self, step: &Step, frame: &Frame) -> Result<bool, String> {
        let own = step.condition.as_ref().is_some_and(|template| template.uses("env"));
        let env = if own { self.step_env(step, frame)? } else { Vec::new() };
        self.condition_with(step, frame, &env)
    }

    fn condition_with(&self, step: &Step, frame: &Frame, env: &[(String, String)]) -> Result<bool, String> {
        let scope = self.scope_with(frame, env);
        match &step.condition {
            None => Ok(scope.success && !scope.cancelled),
            Some(template) => template.holds(&scope).map_err(|error| {
                format!(
                    "The condition of the step at (Line: {}, Col: {}) has no value: {error}",
                    step.at.line, step.at.column
                )
            }),
        }
    }

    /// Whether a step that runs goes on when the job is cancelled: its condition is asked again then.
    fn would_survive(&self, step: &Step, frame: &Frame) -> bool {
        let Some(template) = &step.condition else { return false };
        if !template.calls(&["always", "cancelled"]) {
            return false;
        }
        let env = if template.uses("env") { self.step_env(step, frame).unwrap_or_default() } else { Vec::new() };
        let mut scope = self.scope_with(frame, &env);
        scope.cancelled = true;
        template.holds(&scope).unwrap_or(false)
    }

    fn step_env(&self, step: &Step, frame: &Frame) -> Result<Vec<(String, String)>, String> {
        let Some(tree) = &step.env else { return Ok(Vec::new()) };
        env_of(tree, &self.scope(frame))
    }

    fn defaults(&self, frame: &Frame) -> Result<(Option<String>, Option<String>), String> {
        let workflow = self.spec.workflow.defaults.as_ref();
        let job = self.spec.definition().defaults.as_ref();
        let (mut shell, mut directory) = (None, None);
        for tree in [workflow, job].into_iter().flatten() {
            let value = tree.evaluate(&self.scope(frame)).map_err(|error| error.to_string())?;
            let pick = |key: &str| Some(value.get(key).to_text()).filter(|text| !text.is_empty());
            shell = pick("shell").or(shell);
            directory = pick("working-directory").or(directory);
        }
        Ok((shell, directory))
    }

    /// The name that logs and run lists show.
    pub(super) fn display_name(&self, step: &Step, frame: &Frame) -> String {
        if let Some(template) = &step.name
            && let Ok(name) = template.text(&self.scope(frame))
            && !name.trim().is_empty()
        {
            return name;
        }
        match &step.kind {
            StepKind::Run { script, .. } => {
                let text = script.text(&self.scope(frame)).unwrap_or_else(|_| script.source().to_owned());
                format!("Run {}", text.trim().lines().next().unwrap_or_default())
            }
            StepKind::Uses { action, .. } => format!("Run {action}"),
            StepKind::Wait(_) => "Wait".to_owned(),
            StepKind::WaitAll => "Wait for all".to_owned(),
            StepKind::Cancel(_) => "Cancel".to_owned(),
            StepKind::Parallel(_) => "Parallel group".to_owned(),
        }
    }

    async fn script(
        &mut self,
        script: &str,
        shell: Option<String>,
        directory: Option<String>,
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
    ) -> Result<Conclusion, String> {
        let path = self.path_variable(env);
        // In a container the default is its `sh`, as on GitHub.
        let shell = Shell::named(shell.as_deref().or(self.is_inside().then_some("sh")), &path)?;
        let cwd = match (directory, &self.containers.place) {
            (Some(directory), Some(place)) => place.paths.outside(&self.workspace.workspace.join(directory)),
            (Some(directory), None) => self.workspace.workspace.join(directory),
            (None, _) => self.workspace.workspace.clone(),
        };
        let mut title = script.trim().lines();
        self.log.push(&format!("##[group]Run {}", title.next().unwrap_or_default()));
        for line in script.trim_end().lines() {
            self.log.push(&format!("\u{1b}[36;1m{line}\u{1b}[0m"));
        }
        self.log.push(&format!("shell: {}", shell.template));
        self.log_env(env, frame);
        self.log.push("##[endgroup]");
        if !cwd.is_dir() && (!self.is_inside() || cwd.starts_with(&self.workspace.root)) {
            return Err(format!("The working directory '{}' does not exist.", cwd.display()));
        }
        let body = format!("{}{}{}\n", shell.prefix, script.replace("\r\n", "\n"), shell.suffix);
        let file = ScriptFile::take(&mut self.spare_script, &self.workspace.temp, shell.extension)
            .and_then(|file| file.write(&body))
            .map_err(|error| format!("cannot write the script of the step: {error}"))?;
        let mut words = shell.command(&file);
        let mut program = words.remove(0);
        // GitHub's machines have `python`; Debian's have only `python3`.
        if program == "python" && !self.is_inside() && process::which("python", &path).is_none() {
            program = "python3".to_owned();
        }
        let env = self.process_env(env, frame, current)?;
        let command = Command {
            program: shell.program.map_or_else(|| program.into(), Into::into),
            args: words.into_iter().map(Into::into).collect(),
            env,
            cwd,
            ..Command::default()
        };
        let end = self.exec(&command, current).await;
        let files = self.read_files(current);
        match end.message() {
            None => files.map(|()| Conclusion::Success),
            Some(message) => {
                if let Err(problem) = files {
                    self.error(&problem);
                }
                self.error(&message);
                Ok(if matches!(end, End::Cancelled) { Conclusion::Cancelled } else { Conclusion::Failure })
            }
        }
    }

    pub(crate) fn log_env(&self, env: &[(String, String)], frame: &Frame) {
        let mut all: IndexMap<&str, &str> = self.env.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        all.extend(frame.env.iter().chain(env).map(|(n, v)| (n.as_str(), v.as_str())));
        if all.is_empty() {
            return;
        }
        self.log.push("env:");
        for (name, value) in all {
            self.log.push(&format!("  {name}: {value}"));
        }
    }

    /// Runs a process of a step; its output goes to the log, its commands take effect.
    pub(crate) async fn exec(&mut self, command: &Command, current: &mut Current) -> End {
        self.log.flush();
        // A tool's output begins anew.
        self.matchers.reset();
        self.last = Some(Command { stdin: None, ..command.clone() });
        match self.launch(command).await {
            Ok((child, reader)) => {
                if self.more_steps && self.spare_script.is_none() {
                    self.spare_script = ScriptFile::make(&self.workspace.temp, SCRIPT).ok();
                }
                self.attend(child, reader, command.stdin.clone(), current).await
            }
            Err(error) => End::NotStarted(error),
        }
    }

    /// Follows a process of a step to its end.
    pub(crate) async fn attend(
        &mut self,
        child: process::Child,
        reader: tokio::net::unix::pipe::Receiver,
        input: Option<Vec<u8>>,
        current: &mut Current,
    ) -> End {
        let token = if self.cancelled || self.survives { self.abort.clone() } else { self.cancel.clone() };
        let deadline = current.deadline;
        let mut unheard = std::mem::take(&mut self.unheard);
        let end = process::attend(child, reader, input, deadline, &token, Some(&mut unheard), |line| match line {
            Some(line) => self.output(line, current),
            None => self.tell_log(),
        })
        .await;
        self.unheard = unheard;
        end
    }

    /// Runs a process and gives its output instead of logging it.
    pub(crate) async fn capture(&self, command: &Command, deadline: Option<Instant>) -> (End, String) {
        let token = if self.cancelled || self.survives { &self.abort } else { &self.cancel };
        let mut out = String::new();
        let (child, reader) = match self.launch(command).await {
            Ok(pair) => pair,
            Err(error) => return (End::NotStarted(error), out),
        };
        let end = process::attend(child, reader, command.stdin.clone(), deadline, token, None, |line| {
            if let Some(line) = line {
                out.push_str(line);
                out.push('\n');
            }
        })
        .await;
        (end, out)
    }
}

/// An `env` mapping as pairs.
pub(crate) fn env_of(tree: &Tree, scope: &dyn crate::expr::Scope) -> Result<Vec<(String, String)>, String> {
    match tree.evaluate(scope).map_err(|error| error.to_string())? {
        Value::Object(object) => Ok(object.iter().map(|(name, value)| (name.to_owned(), value.to_text())).collect()),
        Value::Null => Ok(Vec::new()),
        other => Err(format!(
            "(Line: {}, Col: {}): env must be a mapping, not {}",
            tree.at.line,
            tree.at.column,
            other.kind()
        )),
    }
}
