//! `uses`: builtin, local, composite and JavaScript actions, and what they run before and after the job's steps.

mod stages;

use std::path::Path;

use indexmap::IndexMap;

use super::docker_action::{Asked, Stage};
use super::process::{Command, End};
use super::steps::{ActionPlace, Current, Frame, env_of};
use super::{Executor, prepare::error_chain};
use crate::action::{ActionFile, Reference, Runs};
use crate::builtin::{Builtin, Inputs};
use crate::model::Conclusion;
use crate::workflow::{Step, StepKind, Tree};

use stages::PostKind;
pub(crate) use stages::{Post, SavedPost};

/// How deep composite actions may be in each other, as on GitHub.
const DEEPEST: usize = 9;

impl Executor {
    /// Gets the files of all actions that the job names, and of those that these name, so that a missing one fails the job before its
    /// first step.
    pub(super) async fn fetch_actions(&mut self) -> Result<(), String> {
        let mut all: Vec<(usize, Step)> = self.spec.definition().steps.iter().map(|step| (0, step.clone())).collect();
        let mut seen: Vec<String> = Vec::new();
        while let Some((depth, step)) = all.pop() {
            for step in step.flat() {
                let StepKind::Uses { action, .. } = &step.kind else { continue };
                let Ok(Reference::Repository { repository, path, reference }) = Reference::parse(action) else {
                    continue;
                };
                if Builtin::find(&repository, &path).is_some() || seen.contains(action) {
                    continue;
                }
                seen.push(action.clone());
                let fetched = self.services.actions.fetch(&*self.services.host, &repository, &reference).await?;
                self.log.line(&format!("Download action repository '{repository}@{reference}' (SHA:{})", fetched.sha));
                // One that cannot be read fails the step that uses it.
                if let Ok(ActionFile { runs: Runs::Composite(steps), .. }) = read_action(&fetched.dir.join(&path))
                    && depth < DEEPEST
                {
                    all.extend(steps.into_iter().map(|step| (depth + 1, step)));
                }
            }
        }
        Ok(())
    }

    pub(super) async fn uses(
        &mut self,
        step: &Step,
        action: &str,
        with: Option<&Tree>,
        env: &[(String, String)],
        frame: &mut Frame,
        current: &mut Current,
    ) -> Result<Conclusion, String> {
        let given = match with {
            // The step's own variables are there for its inputs.
            Some(tree) => env_of(tree, &self.scope_with(frame, env))?,
            None => Vec::new(),
        };
        self.log.push(&format!("##[group]Run {action}"));
        if !given.is_empty() {
            self.log.push("with:");
            for (name, value) in &given {
                self.log.push(&format!("  {name}: {value}"));
            }
        }
        self.log_env(env, frame);
        self.log.line("##[endgroup]");
        let place;
        let dir = match Reference::parse(action)? {
            Reference::Docker(image) => {
                let inputs: IndexMap<String, String> = given.into_iter().collect();
                let asked = Asked { image: &format!("docker://{image}"), entrypoint: None, args: &[], env: None };
                let stage = self.action_stage(&asked, Path::new("/"), &inputs, frame).await?;
                let end = self.docker_stage(&stage, &inputs, env, frame, current, &IndexMap::new()).await?;
                return self.conclude(end);
            }
            Reference::Local(path) => {
                let dir = self.workspace.workspace.join(path.trim_start_matches("./"));
                place = ActionPlace {
                    path: dir.clone(),
                    repository: self.spec.run.repository.clone(),
                    reference: self.spec.input.subject.git_ref.clone(),
                };
                dir
            }
            Reference::Repository { repository, path, reference } => {
                if let Some(builtin) = Builtin::find(&repository, &path) {
                    self.uses_reference.clone_from(&reference);
                    let inputs = Inputs::new(given);
                    let post = self.builtin(builtin, &inputs, env, frame, current).await;
                    return match post {
                        Ok(post) => {
                            if let Some(post) = post {
                                let (condition, kind) = (post.condition(), PostKind::Builtin(post));
                                self.leave(
                                    step,
                                    action,
                                    condition,
                                    kind,
                                    env,
                                    inputs.into_map(),
                                    frame.clone(),
                                    current,
                                );
                            }
                            Ok(Conclusion::Success)
                        }
                        Err(message) if self.cancel.is_cancelled() && !self.cancelled => {
                            self.error(&message);
                            Ok(Conclusion::Cancelled)
                        }
                        Err(message) => Err(message),
                    };
                }
                let fetched = self.services.actions.fetch(&*self.services.host, &repository, &reference).await?;
                let dir = fetched.dir.join(&path);
                place = ActionPlace { path: dir.clone(), repository, reference };
                dir
            }
        };
        let file = read_action(&dir)?;
        let inputs = self.inputs_of(&file, given, frame, &place)?;
        let key = format!("{}{}", frame.path, step.id);
        let inner = Frame { action: Some(place), path: format!("{key}/"), ..frame.clone() };
        match file.runs.clone() {
            Runs::Composite(_) if inner.path.matches('/').count() > DEEPEST + 1 => {
                Err(format!("Composite action depth exceeded max depth {DEEPEST}: does '{action}' use itself?"))
            }
            Runs::Composite(steps) => self.composite(&file, &steps, inputs, env, inner, current).await,
            Runs::Node { version, main, post, .. } => {
                let node = self.node(version).await?;
                let state = self.pre_states.swap_remove(&key).unwrap_or_default();
                let end = self.node_script(&node, &dir.join(main), &inputs, env, &inner, current, &state).await?;
                current.state = state.into_iter().chain(std::mem::take(&mut current.state)).collect();
                if let Some((script, condition)) = post {
                    let kind = PostKind::Script { node, script: dir.join(script) };
                    self.leave(step, action, condition, kind, env, inputs, inner, current);
                }
                self.conclude(end)
            }
            Runs::Docker { image, entrypoint, post, args, env: own, .. } => {
                let asked = Asked { image: &image, entrypoint: entrypoint.as_deref(), args: &args, env: own.as_ref() };
                let stage = self.action_stage(&asked, &dir, &inputs, &inner).await?;
                let state = self.pre_states.swap_remove(&key).unwrap_or_default();
                let end = self.docker_stage(&stage, &inputs, env, &inner, current, &state).await?;
                current.state = state.into_iter().chain(std::mem::take(&mut current.state)).collect();
                if let Some((script, condition)) = post {
                    let kind = PostKind::Container(Box::new(Stage { entrypoint: Some(script), ..stage }));
                    self.leave(step, action, condition, kind, env, inputs, inner, current);
                }
                self.conclude(end)
            }
        }
    }

    fn conclude(&mut self, end: End) -> Result<Conclusion, String> {
        match end.message() {
            None => Ok(Conclusion::Success),
            Some(message) if matches!(end, End::Cancelled) => {
                self.error(&message);
                Ok(Conclusion::Cancelled)
            }
            Some(message) => Err(message),
        }
    }

    /// Given inputs over the action's defaults.
    fn inputs_of(
        &mut self,
        file: &ActionFile,
        given: Vec<(String, String)>,
        frame: &Frame,
        place: &ActionPlace,
    ) -> Result<IndexMap<String, String>, String> {
        let mut inputs: IndexMap<String, String> = IndexMap::new();
        let unknown: Vec<&str> = given
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !file.inputs.keys().any(|known| known.eq_ignore_ascii_case(name)))
            .collect();
        if !unknown.is_empty() {
            let valid: Vec<&str> = file.inputs.keys().map(String::as_str).collect();
            self.log.line(&format!(
                "##[warning]Unexpected input(s) '{}', valid inputs are ['{}']",
                unknown.join("', '"),
                valid.join("', '")
            ));
        }
        let inner = Frame { action: Some(place.clone()), ..frame.clone() };
        let scope = self.scope(&inner);
        let mut notes = Vec::new();
        for (name, input) in &file.inputs {
            let value =
                given.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone());
            if let (Some(note), Some(_)) = (&input.deprecation, &value) {
                notes.push(format!("##[warning]Input '{name}' has been deprecated with message: {note}"));
            }
            let value = match (value, &input.default) {
                (Some(value), _) => value,
                (None, Some(default)) => default.text(&scope).map_err(|error| error.to_string())?,
                // An action checks its required inputs by itself: GitHub does not.
                (None, None) => String::new(),
            };
            inputs.insert(name.clone(), value);
        }
        for (name, value) in given {
            if !inputs.keys().any(|known| known.eq_ignore_ascii_case(&name)) {
                inputs.insert(name, value);
            }
        }
        drop(scope);
        for note in notes {
            self.log.line(&note);
        }
        Ok(inputs)
    }

    async fn composite(
        &mut self,
        file: &ActionFile,
        steps: &[Step],
        inputs: IndexMap<String, String>,
        env: &[(String, String)],
        frame: Frame,
        current: &mut Current,
    ) -> Result<Conclusion, String> {
        let mut inner = Frame {
            steps: crate::expr::Object::new(),
            inputs: Some(super::scope::strings(&inputs, false)),
            env: frame.env.iter().chain(env).cloned().collect(),
            action: frame.action,
            failed: false,
            path: frame.path,
        };
        let mut worst = Conclusion::Success;
        for step in steps {
            let (_, conclusion) = Box::pin(self.step_body(step, &mut inner)).await;
            if conclusion == Conclusion::Failure {
                inner.failed = true;
                worst = Conclusion::Failure;
            }
            if self.cancel.is_cancelled() && !self.cancelled {
                self.cancelled = true;
                if !self.survives {
                    worst = Conclusion::Cancelled;
                }
            }
        }
        for (name, tree) in &file.outputs {
            if let Some(tree) = tree {
                let value = tree.evaluate(&self.scope(&inner)).map_err(|error| error.to_string())?;
                current.outputs.insert(name.clone(), value.to_text());
            }
        }
        Ok(worst)
    }

    /// How Node of at least a version is called, where steps run.
    pub(crate) async fn node(&self, version: u32) -> Result<Vec<String>, String> {
        let path = self.path_variable(&[]);
        // GitHub's runner brings its own Node into containers; the image's is not asked.
        let own = self.is_inside() && !self.containers.own_node.is_empty();
        let found = if own { None } else { self.find_program("node", &path).await };
        let node = match found {
            Some(node) => vec![node.to_string_lossy().into_owned()],
            None if own => self.containers.own_node.clone(),
            None if self.is_inside() => return Err("this action needs Node.js: neither the job's image nor this machine has one".to_owned()),
            None => return Err("this action needs Node.js, and there is no `node` on PATH; install Node.js or put it on PATH with actions/setup-node".to_owned()),
        };
        let command = Command {
            program: node[0].clone().into(),
            args: node[1..].iter().map(Into::into).chain(["--version".into()]).collect(),
            env: vec![("PATH".to_owned(), path)],
            cwd: self.workspace.workspace.clone(),
            ..Command::default()
        };
        let (end, text) = self.capture(&command, None).await;
        if !end.success() {
            return Err(match self.is_inside() {
                true => format!(
                    "this action needs Node.js, and this machine's own does not run in the job's image: {}",
                    text.trim()
                ),
                false => format!("cannot run {}: {}", node.join(" "), text.trim()),
            });
        }
        let text = text.trim();
        let major: u32 =
            text.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
        if major < version {
            self.log.line(&format!("##[warning]The action asks for Node {version}; here is {text}."));
        }
        Ok(node)
    }

    #[allow(clippy::too_many_arguments, reason = "one call for main, pre and post")]
    async fn node_script(
        &mut self,
        node: &[String],
        script: &Path,
        inputs: &IndexMap<String, String>,
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
        state: &IndexMap<String, String>,
    ) -> Result<End, String> {
        let mut all = self.process_env(env, frame, current)?;
        all.extend(input_variables(inputs));
        all.extend(state.iter().map(|(name, value)| (format!("STATE_{name}"), value.clone())));
        all.extend(self.service_variables());
        let command = Command {
            program: node[0].clone().into(),
            args: node[1..].iter().map(Into::into).chain([script.as_os_str().to_owned()]).collect(),
            env: all,
            cwd: self.workspace.workspace.clone(),
            ..Command::default()
        };
        let end = self.exec(&command, current).await;
        self.read_files(current)?;
        Ok(end)
    }

    /// Sets outputs as an action would.
    pub(crate) fn outputs(current: &mut Current, pairs: impl IntoIterator<Item = (&'static str, String)>) {
        for (name, value) in pairs {
            current.outputs.insert(name.to_owned(), value);
        }
    }

    /// Where JavaScript and Docker actions find the services, and what opens them. Scripts of `run` get none of it, as on GitHub.
    pub(super) fn service_variables(&self) -> Vec<(String, String)> {
        let (Some(url), Some(tokens)) = (&self.services.config.services_url, &self.tokens) else { return Vec::new() };
        let base = format!("{}/", url.trim_end_matches('/'));
        vec![
            ("ACTIONS_RUNTIME_URL".to_owned(), base.clone()),
            ("ACTIONS_RUNTIME_TOKEN".to_owned(), tokens.runtime.clone()),
            ("ACTIONS_RESULTS_URL".to_owned(), base.clone()),
            ("ACTIONS_CACHE_URL".to_owned(), base),
            ("ACTIONS_CACHE_SERVICE_V2".to_owned(), "true".to_owned()),
        ]
    }

    /// Where every step of a job with `id-token: write` gets identity tokens.
    pub(super) fn identity_variables(&self) -> Vec<(String, String)> {
        let Some(token) = self.tokens.as_ref().and_then(|tokens| tokens.identity.as_ref()) else { return Vec::new() };
        let url = self.services.config.services_url.as_deref().unwrap_or_default().trim_end_matches('/');
        vec![
            ("ACTIONS_ID_TOKEN_REQUEST_URL".to_owned(), format!("{url}/_services/token?api-version=2.0")),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN".to_owned(), token.clone()),
        ]
    }
}

/// `INPUT_*`.
pub(super) fn input_variables(inputs: &IndexMap<String, String>) -> impl Iterator<Item = (String, String)> {
    inputs.iter().map(|(name, value)| (format!("INPUT_{}", name.replace(' ', "_").to_uppercase()), value.clone()))
}

/// Reads `action.yml` or `action.yaml` of a directory.
fn read_action(dir: &Path) -> Result<ActionFile, String> {
    for name in ["action.yml", "action.yaml"] {
        let path = dir.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let (action, findings) = ActionFile::read(&text);
                return action.ok_or_else(|| {
                    let list: Vec<String> =
                        findings.0.iter().map(|finding| format!("{} {finding}", path.display())).collect();
                    list.join("\n")
                });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("cannot read {}: {}", path.display(), error_chain(&error))),
        }
    }
    if dir.join("Dockerfile").is_file() {
        return Ok(ActionFile {
            name: String::new(),
            inputs: IndexMap::new(),
            outputs: IndexMap::new(),
            runs: Runs::Docker {
                image: "Dockerfile".to_owned(),
                entrypoint: None,
                pre: None,
                post: None,
                args: Vec::new(),
                env: None,
            },
        });
    }
    Err(format!(
        "Can't find 'action.yml', 'action.yaml' or 'Dockerfile' under '{}'. Did you forget to run actions/checkout before running your local action?",
        dir.display()
    ))
}
