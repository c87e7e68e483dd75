//! What a step says: lines of output, workflow commands, and the files through which it speaks.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::{Current, Executor, Frame};
use crate::commands;
use crate::job::{announce, matchers};
use crate::model::Annotation;

/// The commands that there are. Any other line is shown as it is.
const KNOWN: &[&str] = &[
    "add-mask",
    "add-matcher",
    "add-path",
    "debug",
    "echo",
    "endgroup",
    "error",
    "group",
    "notice",
    "remove-matcher",
    "save-state",
    "set-env",
    "set-output",
    "stop-commands",
    "warning",
];

const SUMMARY_LIMIT: usize = 1024 * 1024;

/// What the files are called.
pub(crate) const FILE_NAMES: [&str; 5] = ["set_env", "set_output", "add_path", "save_state", "step_summary"];

/// The files through which a step speaks to the runner.
#[derive(Debug, Default, Clone)]
pub(crate) struct Files {
    dir: PathBuf,
    env: PathBuf,
    output: PathBuf,
    path: PathBuf,
    state: PathBuf,
    summary: PathBuf,
}

impl Files {
    pub(crate) fn within(dir: &Path) -> Self {
        let [env, output, path, state, summary] = FILE_NAMES.map(|name| dir.join(name));
        Self { dir: dir.to_owned(), env, output, path, state, summary }
    }

    fn all(&self) -> [&PathBuf; 5] {
        [&self.env, &self.output, &self.path, &self.state, &self.summary]
    }

    /// Whether these are the empty files that a step had, and nothing else.
    fn is_fresh(&self) -> bool {
        self.all().into_iter().all(|path| is_empty(path))
    }

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

/// Whether a step wrote nothing to a file of its.
fn is_empty(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() == 0)
}

/// Opens a step's file to read or to empty it, but not what a step may have put there instead: in a container it could name a file of
/// the runner.
fn own(empty: bool) -> std::fs::OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.read(!empty).write(empty).truncate(empty).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK);
    options
}

/// How many errors, warnings and notices of a step become annotations, as on GitHub; the log has all of them.
const MOST_ANNOTATIONS: usize = 10;

impl Executor {
    /// A line of a step's output.
    pub(super) fn output(&mut self, line: &str, current: &mut Current) {
        if let Some(command) = commands::parse(line) {
            if let Some(token) = &current.stop_token {
                if command.name == token.to_ascii_lowercase() {
                    current.stop_token = None;
                    return self.log.push(line);
                }
            } else if self.command(line, &command, current) {
                return;
            }
        }
        let annotation = self.matchers.read(line).and_then(|problem| {
            let file = self.file_of(&problem);
            Some(Annotation { file, ..announce::from_problem(&problem)? })
        });
        match annotation {
            Some(annotation) => {
                let word = if annotation.level == "failure" { "error" } else { &annotation.level };
                self.log.push(&format!("##[{word}]{}", matchers::strip_colours(line)));
                self.annotate(annotation, current);
            }
            None => self.log.push(line),
        }
    }

    fn annotate(&mut self, mut annotation: Annotation, current: &mut Current) {
        let kind = match annotation.level.as_str() {
            "failure" => 0,
            "warning" => 1,
            _ => 2,
        };
        current.announced[kind] += 1;
        if current.announced[kind] <= MOST_ANNOTATIONS {
            annotation.message = self.log.masked(&annotation.message);
            annotation.title = annotation.title.map(|title| self.log.masked(&title));
            self.annotations.push(annotation);
        }
    }

    /// The file of a problem, relative to the repository that it is in; none when there is no such file there.
    fn file_of(&self, problem: &matchers::Problem) -> Option<String> {
        let text = |value: &Option<String>| value.clone().filter(|text| !text.trim().is_empty());
        let mut file = PathBuf::from(text(&problem.file)?);
        if let Some(from) = text(&problem.from_path)
            && let Some(dir) = Path::new(&from).parent()
        {
            file = dir.join(file);
        }
        let found = self.on_runner(&file).canonicalize().ok().filter(|path| path.is_file())?;
        let workspace = self.workspace.workspace.canonicalize().ok()?;
        let inside = found.ancestors().skip(1).take_while(|dir| dir.starts_with(&workspace));
        let root = inside.filter(|dir| dir.join(".git").exists()).last().unwrap_or(&workspace);
        Some(found.strip_prefix(root).ok()?.to_string_lossy().into_owned())
    }

    /// A path that a step names, where the runner has it; relative ones are in the workspace.
    fn on_runner(&self, path: &Path) -> PathBuf {
        let path = self.workspace.workspace.join(path);
        match &self.containers.place {
            Some(place) => place.paths.outside(&path),
            None => path,
        }
    }

    /// Whether `set-env` and `add-path` are allowed to a step, which GitHub advises against.
    pub(super) fn allows_unsecure(&self, env: &[(String, String)], frame: &Frame) -> bool {
        const NAME: &str = "ACTIONS_ALLOW_UNSECURE_COMMANDS";
        let given = env.iter().chain(&frame.env).map(|(name, value)| (name.as_str(), value.as_str()));
        let mut all = given.chain(self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        all.find(|(name, _)| *name == NAME).is_some_and(|(_, value)| value.trim().eq_ignore_ascii_case("true"))
    }

    /// Carries out a workflow command; false when it is none and the line is to be shown as it is.
    fn command(&mut self, line: &str, command: &commands::Command, current: &mut Current) -> bool {
        let shown = !matches!(command.name.as_str(), "add-mask" | "debug" | "error" | "warning" | "notice");
        let known = KNOWN.contains(&command.name.as_str());
        if known && (command.name == "stop-commands" || shown && current.echo) {
            self.log.push(line);
        }
        if let Err(problem) = self.carry_out(command, current) {
            let shown = if shown { line } else { &command.name };
            self.error(&format!("Unable to process command '{shown}' successfully."));
            self.error(&problem);
            current.refused = true;
        }
        known
    }

    /// The error fails the step.
    fn carry_out(&mut self, command: &commands::Command, current: &mut Current) -> Result<(), String> {
        let named = || {
            let name = command.property("name").filter(|name| !name.is_empty());
            name.ok_or_else(|| format!("Required field 'name' is missing in ##[{}] command.", command.name))
        };
        match command.name.as_str() {
            "add-mask" => {
                if command.data.trim().is_empty() {
                    self.log.push("##[warning]Can't add secret mask for empty string in ##[add-mask] command.");
                } else {
                    if current.echo {
                        self.log.push("::add-mask::***");
                    }
                    self.log.mask([command.data.as_str()]);
                    self.added_masks.push(command.data.clone());
                }
            }
            "error" | "warning" | "notice" => {
                self.log.push(&format!("##[{}]{}", command.name, command.data));
                let mut annotation = announce::from_command(command);
                annotation.file = annotation.file.map(|file| {
                    let path = self.on_runner(Path::new(&file));
                    let inside = path.strip_prefix(&self.workspace.workspace);
                    inside.map_or(file, |path| path.to_string_lossy().into_owned())
                });
                self.annotate(annotation, current);
            }
            "debug" => {
                if self.debug {
                    self.log.push(&format!("##[debug]{}", command.data));
                }
            }
            "group" => self.log.push(&format!("##[group]{}", command.data)),
            "endgroup" => self.log.push("##[endgroup]"),
            "echo" => match command.data.trim().to_ascii_lowercase().as_str() {
                "on" => current.echo = true,
                "off" => current.echo = false,
                _ => {
                    return Err(format!(
                        "Invalid echo command value. Possible values can be: 'on', 'off'. Current value is: '{}'.",
                        command.data
                    ));
                }
            },
            "stop-commands" => {
                let token = command.data.to_ascii_lowercase();
                if token.is_empty() || token == "pause-logging" || KNOWN.contains(&token.as_str()) {
                    return Err(
                        "Invalid value for 'stop-commands': it must not be empty or the name of a command; use a random token."
                            .to_owned(),
                    );
                }
                current.stop_token = Some(command.data.clone());
            }
            "set-output" | "save-state" => {
                let file = if command.name == "set-output" { "GITHUB_OUTPUT" } else { "GITHUB_STATE" };
                let name = named()?.to_owned();
                self.log.push(&format!(
                    "##[warning]The `{}` command is deprecated. Please upgrade to using Environment Files ({file}).",
                    command.name
                ));
                let slot = if command.name == "set-output" { &mut current.outputs } else { &mut current.state };
                slot.insert(name, command.data.clone());
            }
            "set-env" | "add-path" => {
                let file = if command.name == "set-env" { "GITHUB_ENV" } else { "GITHUB_PATH" };
                if !current.unsecure {
                    return Err(format!(
                        "The `{}` command is disabled. Please upgrade to using Environment Files ({file}) or opt into unsecure command execution by setting the `ACTIONS_ALLOW_UNSECURE_COMMANDS` environment variable to `true`.",
                        command.name
                    ));
                }
                if command.name == "add-path" {
                    if command.data.is_empty() {
                        return Err("add-path names no directory".to_owned());
                    }
                    self.add_path(&command.data);
                } else {
                    let name = named()?.to_owned();
                    if let Err(problem) = self.set_variable(name, command.data.clone(), "::set-env::") {
                        self.error(&problem);
                    }
                }
            }
            "add-matcher" => {
                if command.data.is_empty() {
                    self.log.push("##[warning]File path must be specified.");
                    return Ok(());
                }
                let text = self.matcher_file(&command.data)?;
                for warning in self.matchers.add(&text)? {
                    self.log.push(&format!("##[warning]{warning}"));
                }
            }
            "remove-matcher" => {
                match (command.property("owner").filter(|owner| !owner.is_empty()), command.data.as_str()) {
                    (Some(owner), "") => self.matchers.remove(owner),
                    (None, file) if !file.is_empty() => {
                        let text = self.matcher_file(file)?;
                        self.matchers.remove_file(&text)?;
                    }
                    (owner, _) => self.log.push(&format!(
                        "##[warning]{} in ##[remove-matcher] command.",
                        if owner.is_some() {
                            "Either specify an owner name or a file path, not both"
                        } else {
                            "Either an owner name or a file path must be specified"
                        }
                    )),
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn matcher_file(&self, file: &str) -> Result<String, String> {
        let path = self.on_runner(Path::new(file.trim()));
        std::fs::read_to_string(&path)
            .map_err(|error| format!("cannot read the problem matcher {}: {error}", path.display()))
    }

    fn add_path(&mut self, dir: &str) {
        self.path.retain(|other| other != dir);
        self.path.insert(0, dir.to_owned());
    }

    fn set_variable(&mut self, name: String, value: String, how: &str) -> Result<(), String> {
        if name.eq_ignore_ascii_case("NODE_OPTIONS") {
            return Err(format!("Can't store NODE_OPTIONS output parameter using '{how}' command."));
        }
        self.env.insert(name, value);
        Ok(())
    }

    /// Makes fresh files for a step: new ones, or those of a step before, empty again and under another name. To make a file is
    /// what costs a short step most.
    pub(crate) fn make_files(&mut self, current: &mut Current) -> Result<(), String> {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let dir = self.workspace.files.join(count.to_string());
        let files = Files::within(&dir);
        let reused =
            self.spare_files.take().is_some_and(|spare| spare.is_fresh() && std::fs::rename(&spare.dir, &dir).is_ok());
        if !reused {
            let failed = |error: std::io::Error| format!("cannot create {}: {error}", dir.display());
            std::fs::create_dir_all(&dir).map_err(failed)?;
            for path in files.all() {
                std::fs::write(path, "").map_err(failed)?;
            }
        }
        if self.opened_up {
            // A container's user may be another.
            let _ = std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o777));
            for path in files.all() {
                let _ = std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666));
            }
        }
        current.files = files;
        Ok(())
    }

    /// Takes over what a step wrote to its files.
    pub(crate) fn read_files(&mut self, current: &mut Current) -> Result<(), String> {
        let any = std::cell::Cell::new(false);
        let read = |path: &PathBuf| {
            if is_empty(path) {
                return String::new();
            }
            any.set(true);
            let mut bytes = Vec::new();
            let read = own(false).open(path).and_then(|mut file| file.read_to_end(&mut bytes));
            read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
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
            problems.extend(self.set_variable(name, value, "$GITHUB_ENV").err());
        }
        current.outputs.extend(outputs);
        current.state.extend(state);
        for line in read(&files.path).lines().filter(|line| !line.is_empty()) {
            self.add_path(line);
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
        for path in files.all().into_iter().filter(|_| any.get()) {
            // One that a step made into something else, or that is too large to be worth it, is not used again.
            if path.symlink_metadata().is_ok_and(|meta| meta.len() > 0) {
                let _ = own(true).open(path);
            }
        }
        self.spare_files = Some(files);
        match problems.is_empty() {
            true => Ok(()),
            false => Err(problems.join("\n")),
        }
    }
}
