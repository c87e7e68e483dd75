//! `RUN`.
use crate::build::Cause;
use crate::progress::Step;
use crate::solve::{Performed, Solve};
use crate::state::{Effect, State};

impl Solve<'_> {
    pub(crate) fn run(&self, _at: usize, _state: &State, _effect: &Effect, _step: &Step<'_>, _output: &mut Vec<String>) -> Result<Performed, Cause> {
        Err(Cause::Message("RUN is not supported yet by this builder".to_owned()))
    }
}
