//! Any output of a step: commands in its lines, the files it writes, and what masks make of it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for line in text.lines() {
        if let Some(command) = actions::commands::parse(line) {
            let _ = (command.property("name"), command.property("file"));
        }
    }
    if let Ok(entries) = actions::commands::parse_file(text) {
        assert!(entries.iter().all(|(name, _)| !name.contains('\n')), "a name has a line break");
    }
});
