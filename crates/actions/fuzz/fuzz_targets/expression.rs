//! Any text as an expression, evaluated over contexts of every kind of value.
#![no_main]

use actions::expr::{Contexts, evaluate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut contexts = Contexts::new();
    let github = serde_json::json!({"ref": "refs/heads/main", "event": {"n": 1.5, "list": [1, "two", null, true, {"k": [5]}]}});
    contexts.set("github", &github);
    contexts.set("env", &serde_json::json!({"A": "a", "EMPTY": ""}));
    contexts.set("matrix", &serde_json::json!([[1, [2]], {"a": {"b": 1}, "c": {"b": 2}}]));
    if let Ok(value) = evaluate(text, &contexts) {
        let _ = (value.to_json_text(), value.to_text(), value.to_number(), value.truthy());
    }
});
