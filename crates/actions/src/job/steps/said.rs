//! What a step says: lines of output, workflow commands, and the files through which it speaks.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use super::{Current, Executor};
use crate::commands;
use crate::job::announce;

const SUMMARY_LIMIT: usize = 1024 * 1024;

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

impl Executor {
    /// A line of a step's output.
    pub(super) fn output(&mut self, line: &str, current: &mut Current) {
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
    pub(super) fn command(&mut self, command: &commands::Command, current: &mut Current) -> bool {
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
}
