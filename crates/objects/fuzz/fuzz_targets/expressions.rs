//! Any text as a CEL expression, evaluated with few steps.
#![no_main]

use std::collections::BTreeMap;

use cel::{Budget, Program, Ty, Value, Variable};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|text: &str| {
    let Ok(program) = Program::compile(text, &[Variable::new("self", Ty::Dyn)]) else { return };
    let object = json!({"a": 1, "b": [1, 2, {"c": "d"}], "s": "text", "m": {"x": 1.5}, "n": null});
    let variables = BTreeMap::from([("self".to_owned(), Value::from_json(&object))]);
    if let Ok(value) = program.eval(&variables, &mut Budget::new(20_000)) {
        let _ = (value.to_json(), value.text());
    }
});
