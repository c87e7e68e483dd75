//! Steps: conditions, environment, scripts, and what a step says through commands and files.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indexmap::IndexMap;
use tokio::time::Instant;

use super::process::{self, Command, End};
use super::scope::StepScope;
use super::shell::Shell;
use super::{Executor, announce};
use crate::commands;
use crate::expr::{Contexts, Object, Value};
use crate::model::Conclusion;
use crate::workflow::{Step, StepKind, Tree};

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
    pub deadline: Option<Instant>,
    pub files: Files,
}

/// The files through which a step speaks to the runner.
#[derive(Debug, Default, Clone)]
pub(crate) struct Files {
    env: PathBuf,
    output: PathBuf,
    path: PathBuf,
    state: PathBuf,
    summary: PathBuf,
}

impl Files {
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        [
            ("GITHUB_ENV", &self.env),
            ("GITHUB_OUTPUT", &self.output),
            ("GITHUB_PATH", &self.path),
            ("GITHUB_STATE", &self.state),
            ("GITHUB_STEP_SUMMARY", &self.summary),
        ]
        .map(|(name, path)| (name.to_owned(), path.to_string_lossy().into_owned()))
        .into()
    }
}

const SUMMARY_LIMIT: usize = 1024 * 1024;

impl Executor {
    /// What expressions see in a frame.
    pub(crate) fn scope(&self, frame: &Frame) -> StepScope<'_> {
        self.scope_with(frame, &[])
    }

    fn scope_with(&self, frame: &Frame, step_env: &[(String, String)]) -> StepScope<'_> {
        let mut contexts = Contexts::new();
        let mut github = self.github.clone();
        github.insert("token", self.token.as_str());
        github.insert("workspace", self.workspace.workspace.to_string_lossy().as_ref());
        github.insert("event_path", self.event_path().to_string_lossy().as_ref());
        github.insert("job", self.spec.id.as_str());
        if let Some(action) = &frame.action {
            github.insert("action_path", action.path.to_string_lossy().as_ref());
            github.insert("action_repository", action.repository.as_str());
            github.insert("action_ref", action.reference.as_str());
            github.insert("action_status", if frame.failed { "failure" } else { "success" });
        }
        contexts.set("github", Value::object(github));
        let mut env = Object::case_sensitive();
        for (name, value) in
            self.env.iter().chain(frame.env.iter().map(|(n, v)| (n, v))).chain(step_env.iter().map(|(n, v)| (n, v)))
        {
            env.insert(name.as_str(), value.as_str());
        }
        contexts.set("env", env);
        contexts.set("vars", self.vars.clone());
        contexts.set("steps", Value::object(frame.steps.clone()));
        contexts.set("inputs", frame.inputs.clone().unwrap_or_else(|| self.spec.inputs.clone()));
        contexts.set("needs", self.spec.needs.clone());
        contexts.set("matrix", self.spec.matrix.clone());
        contexts.set("strategy", self.spec.strategy.clone());
        contexts.set("runner", self.runner_context());
        contexts.set("job", self.job_context());
        if frame.action.is_none() {
            contexts.set("secrets", super::scope::strings(&self.secrets, false));
        }
        let failed = if frame.action.is_some() { frame.failed } else { self.failed };
        StepScope {
            contexts,
            success: !failed,
            failure: failed,
            cancelled: self.cancelled,
            workspace: &self.workspace.workspace,
            tape: self.services.config.tape.as_deref().map(|tape| (tape, self.spec.job.key.as_str())),
        }
    }

    pub(crate) fn event_path(&self) -> PathBuf {
        self.workspace.temp.join("_github_workflow/event.json")
    }

    fn runner_context(&self) -> Value {
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

    fn job_context(&self) -> Value {
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
        let mut current = Current { id: step.id.clone(), ..Current::default() };
        let before = self.before_recording(frame);
        let outcome = self.guarded(step, frame, &mut current).await;
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
        match tree.evaluate(&self.scope(frame)) {
            Ok(value) if value.truthy() => Conclusion::Success,
            Ok(_) => outcome,
            Err(error) => {
                self.error(&error.to_string());
                outcome
            }
        }
    }

    async fn guarded(&mut self, step: &Step, frame: &mut Frame, current: &mut Current) -> Conclusion {
        match self.condition(step, frame) {
            Ok(true) => {}
            Ok(false) => return Conclusion::Skipped,
            Err(message) => {
                self.error(&message);
                return Conclusion::Failure;
            }
        }
        let env = match self.step_env(step, frame) {
            Ok(env) => env,
            Err(message) => {
                self.error(&message);
                return Conclusion::Failure;
            }
        };
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
        let scope = self.scope(frame);
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
        let file = self.workspace.temp.join(format!("{}{}", uuid::Uuid::new_v4(), shell.extension));
        let body = format!("{}{}{}\n", shell.prefix, script.replace("\r\n", "\n"), shell.suffix);
        std::fs::write(&file, body).map_err(|error| format!("cannot write the script of the step: {error}"))?;
        let mut words = shell.command(&file);
        let mut program = words.remove(0);
        // GitHub's machines have `python`; Debian's have only `python3`.
        if program == "python" && !self.is_inside() && process::which("python", &path).is_none() {
            program = "python3".to_owned();
        }
        let env = self.process_env(env, frame, current)?;
        let command = Command {
            program: program.into(),
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
        self.last = Some(Command { stdin: None, ..command.clone() });
        match self.launch(command).await {
            Ok((child, reader)) => self.attend(child, reader, command.stdin.clone(), current).await,
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
        let token = if self.cancelled { self.abort.clone() } else { self.cancel.clone() };
        let deadline = current.deadline;
        process::attend(child, reader, input, deadline, &token, |line| match line {
            Some(line) => self.output(line, current),
            None => self.tell_log(),
        })
        .await
    }

    /// Runs a process and gives its output instead of logging it.
    pub(crate) async fn capture(&self, command: &Command, deadline: Option<Instant>) -> (End, String) {
        let token = if self.cancelled { &self.abort } else { &self.cancel };
        let mut out = String::new();
        let (child, reader) = match self.launch(command).await {
            Ok(pair) => pair,
            Err(error) => return (End::NotStarted(error), out),
        };
        let end = process::attend(child, reader, command.stdin.clone(), deadline, token, |line| {
            if let Some(line) = line {
                out.push_str(line);
                out.push('\n');
            }
        })
        .await;
        (end, out)
    }

    /// A line of a step's output.
    fn output(&mut self, line: &str, current: &mut Current) {
        if let Some(token) = &current.stop_token {
            if line.trim_start().starts_with("::")
                && commands::parse(line).is_some_and(|command| command.name == token.to_ascii_lowercase())
            {
                current.stop_token = None;
            }
            self.log.push(line);
            return;
        }
        if let Some(command) = commands::parse(line)
            && self.command(&command, current)
        {
            return;
        }
        if let Some(annotation) = self.matchers.read(line) {
            let mut annotation = annotation;
            annotation.message = self.log.masked(&annotation.message);
            let word = if annotation.level == "failure" { "error" } else { &annotation.level };
            self.log.push(&format!("##[{word}]{line}"));
            self.annotations.push(annotation);
            return;
        }
        self.log.push(line);
    }

    /// Carries out a workflow command; false when it is none and the line is to be shown as it is.
    fn command(&mut self, command: &commands::Command, current: &mut Current) -> bool {
        match command.name.as_str() {
            "add-mask" => {
                if command.data.trim().is_empty() {
                    self.log.push("##[warning]Can't add secret mask for empty string in ##[add-mask] command.");
                } else {
                    self.log.mask([command.data.as_str()]);
                    self.added_masks.push(command.data.clone());
                    self.log.push("::add-mask::***");
                }
            }
            "error" | "warning" | "notice" => {
                let mut annotation = announce::from_command(command);
                annotation.message = self.log.masked(&annotation.message);
                self.annotations.push(annotation);
                self.log.push(&format!("##[{}]{}", command.name, command.data));
            }
            "debug" => {
                if self.debug {
                    self.log.push(&format!("##[debug]{}", command.data));
                }
            }
            "group" => self.log.push(&format!("##[group]{}", command.data)),
            "endgroup" => self.log.push("##[endgroup]"),
            "command" => self.log.push(&format!("[command]{}", command.data)),
            "stop-commands" => {
                if command.data.len() < 2
                    || ["group", "endgroup", "error", "warning", "notice", "debug", "add-mask"]
                        .contains(&command.data.as_str())
                {
                    self.error("Invalid value for 'stop-commands': use a random token.");
                } else {
                    current.stop_token = Some(command.data.clone());
                }
            }
            "set-output" | "save-state" => {
                let file = if command.name == "set-output" { "GITHUB_OUTPUT" } else { "GITHUB_STATE" };
                self.log.push(&format!(
                    "##[warning]The `{}` command is deprecated. Please upgrade to using Environment Files ({file}).",
                    command.name
                ));
                if let Some(name) = command.property("name") {
                    let slot = if command.name == "set-output" { &mut current.outputs } else { &mut current.state };
                    slot.insert(name.to_owned(), command.data.clone());
                }
            }
            "set-env" | "add-path" => {
                let file = if command.name == "set-env" { "GITHUB_ENV" } else { "GITHUB_PATH" };
                self.error(&format!(
                    "The `{}` command is disabled. Please upgrade to using Environment Files ({file}).",
                    command.name
                ));
            }
            "add-matcher" => {
                let path = self.workspace.workspace.join(command.data.trim());
                match std::fs::read_to_string(&path) {
                    Ok(text) => {
                        if let Err(problem) = self.matchers.add(&text) {
                            self.log.push(&format!("##[warning]{problem}"));
                        }
                    }
                    Err(error) => self
                        .log
                        .push(&format!("##[warning]cannot read the problem matcher {}: {error}", path.display())),
                }
            }
            "remove-matcher" => {
                if let Some(owner) = command.property("owner") {
                    self.matchers.remove(owner);
                }
            }
            "echo" => {}
            _ => return false,
        }
        true
    }

    /// Makes fresh files for a step.
    pub(crate) fn make_files(&mut self, current: &mut Current) -> Result<(), String> {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let name = |kind: &str| self.workspace.files.join(format!("{kind}_{count}"));
        let files = Files {
            env: name("set_env"),
            output: name("set_output"),
            path: name("add_path"),
            state: name("save_state"),
            summary: name("step_summary"),
        };
        for path in [&files.env, &files.output, &files.path, &files.state, &files.summary] {
            std::fs::write(path, "").map_err(|error| format!("cannot create {}: {error}", path.display()))?;
            // A container's user may be another.
            let _ = std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666));
        }
        current.files = files;
        Ok(())
    }

    /// Takes over what a step wrote to its files.
    pub(crate) fn read_files(&mut self, current: &mut Current) -> Result<(), String> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        };
        let files = current.files.clone();
        let mut problems = Vec::new();
        let mut take = |path: &PathBuf, name: &str| match commands::parse_file(&read(path)) {
            Ok(pairs) => pairs,
            Err(problem) => {
                problems.push(format!("Unable to process file command '{name}' successfully. {problem}"));
                Vec::new()
            }
        };
        let (env, outputs, state) =
            (take(&files.env, "env"), take(&files.output, "output"), take(&files.state, "state"));
        for (name, value) in env {
            if name.eq_ignore_ascii_case("NODE_OPTIONS") {
                problems.push("Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.".to_owned());
                continue;
            }
            self.env.insert(name, value);
        }
        current.outputs.extend(outputs);
        current.state.extend(state);
        for line in read(&files.path).lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.path.retain(|other| other != line);
            self.path.insert(0, line.to_owned());
        }
        let summary = read(&files.summary);
        if summary.len() > SUMMARY_LIMIT {
            self.log.line(&format!(
                "##[error]$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of 1024k, got {}k.",
                summary.len() / 1024
            ));
        } else if !summary.trim().is_empty() {
            self.summary.push_str(&self.log.masked(&summary));
            if !self.summary.ends_with('\n') {
                self.summary.push('\n');
            }
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(problems.join("\n")),
        }
    }

    /// `PATH` for a step.
    pub(crate) fn path_variable(&self, env: &[(String, String)]) -> String {
        let own = env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
        let base = own
            .or_else(|| self.env.get("PATH").cloned())
            .or_else(|| self.base_env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone()))
            .unwrap_or_default();
        let mut parts: Vec<&str> = self.path.iter().map(String::as_str).collect();
        parts.push(&base);
        parts.join(":")
    }

    /// The whole environment of a process of a step.
    pub(crate) fn process_env(
        &mut self,
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
    ) -> Result<Vec<(String, String)>, String> {
        self.make_files(current)?;
        let mut all: IndexMap<String, String> = self.base_env.iter().cloned().collect();
        all.extend(self.env.iter().map(|(n, v)| (n.clone(), v.clone())));
        all.extend(frame.env.iter().cloned());
        all.extend(env.iter().cloned());
        let path = self.path_variable(env);
        all.insert("PATH".to_owned(), path);
        all.extend(self.github_variables(frame));
        all.extend(current.files.variables());
        all.extend(self.identity_variables());
        all.insert("GITHUB_ACTION".to_owned(), current.id.clone());
        Ok(all.into_iter().collect())
    }

    /// `GITHUB_*` and `RUNNER_*`.
    fn github_variables(&self, frame: &Frame) -> Vec<(String, String)> {
        let mut out = Vec::new();
        for (name, value) in self.github.iter() {
            if matches!(name, "event" | "token" | "secret_source" | "repositoryUrl") || !value.is_primitive() {
                continue;
            }
            out.push((format!("GITHUB_{}", name.to_ascii_uppercase()), value.to_text()));
        }
        let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
        out.extend([
            ("GITHUB_WORKSPACE".to_owned(), path(&self.workspace.workspace)),
            ("GITHUB_EVENT_PATH".to_owned(), path(&self.event_path())),
            ("GITHUB_JOB".to_owned(), self.spec.id.clone()),
            ("GITHUB_ACTIONS".to_owned(), "true".to_owned()),
            ("CI".to_owned(), "true".to_owned()),
            ("RUNNER_WORKSPACE".to_owned(), self.workspace.workspace.parent().map(path).unwrap_or_default()),
            ("RUNNER_TOOL_CACHE".to_owned(), path(&self.tool_cache())),
            ("AGENT_TOOLSDIRECTORY".to_owned(), path(&self.tool_cache())),
        ]);
        if let Value::Object(runner) = self.runner_context() {
            out.extend(
                runner
                    .iter()
                    .filter(|(name, _)| !matches!(*name, "tool_cache" | "workspace"))
                    .map(|(n, v)| (format!("RUNNER_{}", n.to_ascii_uppercase()), v.to_text())),
            );
        }
        if let Some(action) = &frame.action {
            out.push(("GITHUB_ACTION_PATH".to_owned(), path(&action.path)));
            out.push(("GITHUB_ACTION_REPOSITORY".to_owned(), action.repository.clone()));
            out.push(("GITHUB_ACTION_REF".to_owned(), action.reference.clone()));
        }
        out
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
