//! Any text as a file of values and as what follows `--set`, `--set-string`, `--set-json` and `--set-literal`.
#![no_main]

use helm::values::Merged;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut merged = Merged::default();
    let _ = merged.file("values.yaml", text.as_bytes()).is_ok();
    let _ = merged.set(text).is_ok();
    let _ = merged.set_string(text).is_ok();
    let _ = merged.set_json(text).is_ok();
    let _ = merged.set_literal(text).is_ok();
    let _ = merged.finish();
});
