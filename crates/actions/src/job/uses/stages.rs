//! What actions run before and after the job's steps.

use std::path::PathBuf;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Executor, read_action};
use crate::action::{ActionFile, Reference, Runs};
use crate::builtin::{Builtin, Inputs, PostAction};
use crate::expr::Template;
use crate::job::docker_action::{Asked, Stage};
use crate::job::steps::{ActionPlace, Current, Frame, env_of};
use crate::model::Conclusion;
use crate::workflow::{Step, StepKind, Tree};

/// Something to run after the job's steps, last one first.
pub(crate) struct Post {
    name: String,
    id: String,
    condition: Option<Template>,
    env: Vec<(String, String)>,
    inputs: IndexMap<String, String>,
    state: IndexMap<String, String>,
    frame: Frame,
    kind: PostKind,
}

/// A [`Post`] as a checkpoint keeps it.
#[derive(Serialize, Deserialize)]
pub(crate) struct SavedPost {
    name: String,
    id: String,
    condition: Option<String>,
    env: Vec<(String, String)>,
    inputs: IndexMap<String, String>,
    state: IndexMap<String, String>,
    frame_env: Vec<(String, String)>,
    frame_inputs: Option<serde_json::Value>,
    action: Option<ActionPlace>,
    kind: PostKind,
}

impl Post {
    pub(crate) fn save(&self) -> SavedPost {
        SavedPost {
            name: self.name.clone(),
            id: self.id.clone(),
            condition: self.condition.as_ref().map(|template| template.source().to_owned()),
            env: self.env.clone(),
            inputs: self.inputs.clone(),
            state: self.state.clone(),
            frame_env: self.frame.env.clone(),
            frame_inputs: self.frame.inputs.as_ref().map(crate::expr::Value::to_json),
            action: self.frame.action.clone(),
            kind: self.kind.clone(),
        }
    }
}

impl SavedPost {
    /// `frame` is the job's own.
    pub(crate) fn restore(self, frame: &Frame) -> Result<Post, String> {
        let condition = self.condition.map(|text| {
            Template::condition(&text, crate::workflow::Place::ActionRunsIf.allowed())
                .map_err(|error| error.error.message)
        });
        Ok(Post {
            name: self.name,
            id: self.id,
            condition: condition.transpose()?,
            env: self.env,
            inputs: self.inputs,
            state: self.state,
            frame: Frame {
                steps: frame.steps.clone(),
                inputs: self.frame_inputs.as_ref().map(crate::expr::Value::from),
                env: self.frame_env,
                action: self.action,
                failed: false,
                path: String::new(),
            },
            kind: self.kind,
        })
    }
}

/// What an action runs before the job's steps.
struct Before {
    /// The step that uses the action.
    id: String,
    /// That step and those that it is part of.
    key: String,
    file: ActionFile,
    dir: PathBuf,
    with: Option<Tree>,
    env: Option<Tree>,
    /// Where the step stands.
    outer: Frame,
    /// Where its action runs.
    frame: Frame,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) enum PostKind {
    Builtin(PostAction),
    Script { node: Vec<String>, script: PathBuf },
    Container(Box<Stage>),
}

impl Executor {
    /// Notes what is to run after the job's steps, with the state that the step saved.
    #[allow(clippy::too_many_arguments, reason = "the parts of one note")]
    pub(super) fn leave(
        &mut self,
        step: &Step,
        action: &str,
        condition: Option<Template>,
        kind: PostKind,
        env: &[(String, String)],
        inputs: IndexMap<String, String>,
        frame: Frame,
        current: &mut Current,
    ) {
        self.posts.push(Post {
            name: format!("Post {}", step.name.as_ref().map_or(action, |name| name.source())),
            id: step.id.clone(),
            condition,
            env: env.to_vec(),
            inputs,
            state: std::mem::take(&mut current.state),
            frame,
            kind,
        });
    }

    /// `pre` scripts of the job's actions, and of the actions that these are made of.
    pub(crate) async fn pre_steps(&mut self, steps: &[Step]) {
        if self.failed {
            return;
        }
        for step in steps.iter().flat_map(Step::flat) {
            let StepKind::Uses { action, .. } = &step.kind else { continue };
            let stages = self.stages_before(step, &Frame::default()).await;
            if stages.is_empty() {
                continue;
            }
            let index = self.begin(&format!("Pre Run {action}"), &step.id);
            let mut worst = Conclusion::Success;
            for before in stages {
                let mut current = Current { id: before.id.clone(), echo: self.debug, ..Current::default() };
                self.action.clone_from(&before.id);
                let result = self.pre_step(&before, &mut current).await;
                let conclusion = result.unwrap_or_else(|message| {
                    self.error(&message);
                    Conclusion::Failure
                });
                let conclusion = if current.refused { Conclusion::Failure } else { conclusion };
                // What a `pre` saved, `main` and `post` see.
                self.pre_states.insert(before.key, current.state);
                if worst == Conclusion::Success {
                    worst = conclusion;
                }
                self.failed |= conclusion == Conclusion::Failure;
            }
            self.end(index, worst, None);
        }
    }

    /// What runs before the job's steps for one of them. Local actions have no such stage: their files are not there yet.
    async fn stages_before(&mut self, step: &Step, outer: &Frame) -> Vec<Before> {
        let StepKind::Uses { action, with } = &step.kind else { return Vec::new() };
        let Ok(Reference::Repository { repository, path, reference }) = Reference::parse(action) else {
            return Vec::new();
        };
        if Builtin::find(&repository, &path).is_some() {
            return Vec::new();
        }
        let fetched = self.services.actions.fetch(&*self.services.host, &repository, &reference).await;
        let Ok(dir) = fetched.map(|fetched| fetched.dir.join(&path)) else { return Vec::new() };
        let Ok(file) = read_action(&dir) else { return Vec::new() };
        let key = format!("{}{}", outer.path, step.id);
        let place = ActionPlace { path: dir.clone(), repository, reference };
        let frame = Frame { action: Some(place), path: format!("{key}/"), ..outer.clone() };
        match &file.runs {
            Runs::Composite(steps) if frame.path.matches('/').count() <= super::DEEPEST => {
                let Ok(inputs) = self.pre_inputs(&file, with.as_ref(), outer, &frame) else { return Vec::new() };
                let inner = Frame { inputs: Some(crate::job::scope::strings(&inputs, false)), ..frame };
                let mut found = Vec::new();
                for step in steps {
                    found.extend(Box::pin(self.stages_before(step, &inner)).await);
                }
                found
            }
            Runs::Node { pre: Some((_, condition)), .. } | Runs::Docker { pre: Some((_, condition)), .. } => {
                let holds =
                    condition.as_ref().is_none_or(|condition| condition.holds(&self.scope(&frame)).unwrap_or(false));
                let (id, with, env) = (step.id.clone(), with.clone(), step.env.clone());
                let before = Before { id, key, file, dir, with, env, outer: outer.clone(), frame };
                Some(before).filter(|_| holds).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn pre_inputs(
        &mut self,
        file: &ActionFile,
        with: Option<&Tree>,
        outer: &Frame,
        frame: &Frame,
    ) -> Result<IndexMap<String, String>, String> {
        let given = match with {
            Some(tree) => env_of(tree, &self.scope(outer))?,
            None => Vec::new(),
        };
        let place = frame.action.clone().unwrap_or_default();
        self.inputs_of(file, given, frame, &place)
    }

    async fn pre_step(&mut self, before: &Before, current: &mut Current) -> Result<Conclusion, String> {
        let Before { file, dir, with, outer, frame, .. } = before;
        let inputs = self.pre_inputs(file, with.as_ref(), outer, frame)?;
        let given = before.env.as_ref().map(|tree| env_of(tree, &self.scope(outer))).transpose()?.unwrap_or_default();
        let none = IndexMap::new();
        let end = match &file.runs {
            Runs::Node { version, pre: Some((script, _)), .. } => {
                let node = self.node(*version).await?;
                self.node_script(&node, &dir.join(script), &inputs, &given, frame, current, &none).await?
            }
            Runs::Docker { image, args, env, pre: Some((script, _)), .. } => {
                let asked = Asked { image, entrypoint: Some(script), args, env: env.as_ref() };
                let stage = self.action_stage(&asked, dir, &inputs, frame).await?;
                let stage = Stage { entrypoint: Some(script.clone()), ..stage };
                self.docker_stage(&stage, &inputs, &given, frame, current, &none).await?
            }
            _ => return Ok(Conclusion::Success),
        };
        self.conclude(end)
    }

    /// What actions run after the job's steps, last one first.
    pub(crate) async fn post_steps(&mut self, _frame: &Frame) {
        while let Some(post) = self.posts.pop() {
            if self.abort.is_cancelled() {
                break;
            }
            if self.cancel.is_cancelled() {
                self.cancelled = true;
            }
            let index = self.begin(&post.name, &post.id);
            let (condition, frame) = (post.condition.as_ref(), Frame { action: None, ..post.frame.clone() });
            let mut scope = self.scope(&frame);
            let holds = condition.is_none_or(|condition| condition.holds(&scope).unwrap_or(false));
            scope.cancelled = true;
            let survives = condition.is_none_or(|condition| condition.holds(&scope).unwrap_or(false));
            drop(scope);
            self.survives = survives;
            if !holds {
                self.end(index, Conclusion::Skipped, None);
                continue;
            }
            let mut current = Current { id: post.id.clone(), echo: self.debug, ..Current::default() };
            self.action.clone_from(&post.id);
            let result = match &post.kind {
                PostKind::Builtin(action) => {
                    let inputs = Inputs::new(post.inputs.iter().map(|(n, v)| (n.clone(), v.clone())).collect());
                    self.post_builtin(action, &inputs, &post.env, &post.frame, &mut current)
                        .await
                        .map(|()| Conclusion::Success)
                }
                PostKind::Script { node, script } => {
                    let end = self
                        .node_script(node, script, &post.inputs, &post.env, &post.frame, &mut current, &post.state)
                        .await;
                    end.and_then(|end| self.conclude(end))
                }
                PostKind::Container(stage) => {
                    let end =
                        self.docker_stage(stage, &post.inputs, &post.env, &post.frame, &mut current, &post.state).await;
                    end.and_then(|end| self.conclude(end))
                }
            };
            let conclusion = result.unwrap_or_else(|message| {
                self.error(&message);
                Conclusion::Failure
            });
            let conclusion = if current.refused { Conclusion::Failure } else { conclusion };
            self.failed |= conclusion == Conclusion::Failure;
            self.end(index, conclusion, None);
        }
    }
}
