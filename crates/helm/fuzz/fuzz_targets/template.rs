//! Any text as a template file: parsed, and what was parsed printed.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(trees) = helm::template::parse::parse("t/templates/a.yaml", text, &helm::funcs::lookup) {
        for tree in trees {
            let _ = format!("{tree:?}");
        }
    }
});
