//! Any text as a Dockerfile, and what its instructions do to a configuration.
#![no_main]

use builder::dockerfile::parse;
use builder::state::{Inputs, State};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(file) = parse(text) else { return };
    let inputs = Inputs { escape: file.directives.escape, ..Inputs::default() };
    for stage in &file.stages {
        let mut state = State::default();
        for instruction in &stage.instructions {
            let _ = state.apply(instruction, &inputs);
        }
    }
});
