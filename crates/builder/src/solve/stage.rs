//! One stage from its base to its last instruction.

use std::sync::atomic::Ordering;

use oci::Digest;

use super::Solve;
use crate::build::{Cause, Error};
use crate::cache::{Key, Known};
use crate::dockerfile::{self, Instruction, Kind};
use crate::fs::copy::Changes;
use crate::progress::Outcome;
use crate::state::{Effect, State};

/// Names a stack of layers.
pub(crate) fn chain_id(layers: &[Digest]) -> String {
    Key::new("chain").with_all(layers.iter().map(Digest::as_str)).finish()
}

/// What a step did.
pub(crate) struct Performed {
    pub known: Known,
    pub cached: bool,
    pub history: String,
    /// What it is known under: the same whether it was performed or not.
    pub key: String,
}

impl Solve<'_> {
    pub(super) fn stage(&self, at: usize, is_target: bool) -> Result<State, Error> {
        let stage = &self.file.stages[at];
        let total = 1 + stage.instructions.iter().filter(|one| makes_layer(&one.kind)).count();
        let label = match (self.file.stages.len(), &stage.name) {
            (1, _) => String::new(),
            (_, Some(name)) => format!("{name} "),
            (_, None) => format!("stage-{at} "),
        };
        let platform = self.platform(at)?;
        let label = if platform == oci::Platform::host() { label } else { format!("{platform} {label}") };
        let name = format!("[{label}1/{total}] FROM {}", stage.base);
        let step = self.report.begin(&name);
        let (mut state, triggers) = match self.begin(at, &step) {
            Ok(begun) => begun,
            Err(cause) => {
                if self.is_canceled() {
                    return Err(Error::Canceled);
                }
                step.end(Outcome::Failed(cause.to_string()));
                return Err(self.failure(name, stage.span, Vec::new(), cause));
            }
        };
        step.end(Outcome::Cached);
        for trigger in triggers {
            let mut instruction = dockerfile::parse_one(&trigger).map_err(|wrong| {
                self.failure(
                    &name,
                    stage.span,
                    Vec::new(),
                    Cause::Message(format!("ONBUILD trigger {trigger:?} of the base image: {}", wrong.message)),
                )
            })?;
            instruction.span = stage.span;
            self.start_sources(at, &instruction)?;
            self.instruction(at, &mut state, &instruction, format!("[{label}onbuild]"))?;
        }
        let mut number = 1;
        for instruction in &stage.instructions {
            number += usize::from(makes_layer(&instruction.kind));
            self.instruction(at, &mut state, instruction, format!("[{label}{number}/{total}]"))?;
        }
        if is_target {
            for (key, value) in &self.request.labels {
                state.image.config.labels.insert(key.clone(), value.clone());
            }
        }
        Ok(state)
    }

    fn instruction(
        &self,
        at: usize,
        state: &mut State,
        instruction: &Instruction,
        prefix: String,
    ) -> Result<(), Error> {
        if self.is_canceled() {
            return Err(Error::Canceled);
        }
        let known = state.names();
        self.warn(crate::dockerfile::check::undefined(
            instruction,
            self.inputs.escape,
            known.iter().map(String::as_str),
        ));
        let effect = state.apply(instruction, &self.inputs);
        let source = instruction.source.split_whitespace().collect::<Vec<_>>().join(" ");
        let name = format!("{prefix} {source}");
        let effect = match effect {
            Ok(None) => return Ok(()),
            Ok(Some(effect)) => effect,
            Err(message) => return Err(self.failure(name, instruction.span, Vec::new(), Cause::Message(message))),
        };
        let step = self.report.begin(&name);
        let mut output = Vec::new();
        let performed = match &effect {
            Effect::Copy { copy, add, shown } => self.copy(at, state, copy, *add, shown, &step),
            Effect::Workdir(path) => self.workdir(at, state, path),
            Effect::Run { .. } => self.run(at, state, &effect, &step, &mut output),
        };
        match performed {
            Ok(performed) => {
                if !performed.cached {
                    self.worked.store(true, Ordering::Relaxed);
                }
                step.end(if performed.cached { Outcome::Cached } else { Outcome::Done });
                self.carry.note(&performed.key, &performed.known);
                let empty = performed.known == Known::Nothing;
                if let Known::Layer(layer) = performed.known {
                    state.layers.push(layer);
                }
                state.history(performed.history, empty, &self.inputs);
                Ok(())
            }
            Err(_) if self.is_canceled() => Err(Error::Canceled),
            Err(cause) => {
                step.end(Outcome::Failed(crate::build::chain(&cause)));
                Err(self.failure(name, instruction.span, output, cause))
            }
        }
    }

    fn workdir(&self, at: usize, state: &State, path: &str) -> Result<Performed, Cause> {
        let key = Key::new("workdir")
            .with(chain_id(&state.layers))
            .with(path)
            .with(&state.image.config.user)
            .with(self.request.epoch.to_le_bytes())
            .finish();
        let history = format!("WORKDIR {path}");
        if path == "/" {
            return Ok(Performed { known: Known::Nothing, cached: true, history, key });
        }
        if let Some(known) = self.known(at, &key) {
            return Ok(Performed { known, cached: true, history, key });
        }
        let view = self.view(state).map_err(Cause::Files)?;
        let owner = super::users::resolve(&state.image.config.user, &|| Ok(view.clone()))?;
        let mut changes = Changes::new(&*view);
        changes.make_dirs(path.trim_start_matches('/'), Some(owner)).map_err(Cause::Files)?;
        let known = Known::Layer(changes.write(&self.builder.layers, self.request.epoch).map_err(Cause::Files)?);
        self.cache.put(&key, &known);
        Ok(Performed { known, cached: false, history, key })
    }
}

fn makes_layer(kind: &Kind) -> bool {
    matches!(kind, Kind::Run { .. } | Kind::Copy(_) | Kind::Add(_) | Kind::Workdir(_))
}
