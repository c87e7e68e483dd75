//! Any text as `.dockerignore`, matched against any path.
#![no_main]

use builder::ignore::{Matcher, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    if let Ok(matcher) = Matcher::new(read(input.0)) {
        let _ = matcher.matches(input.1);
        let _ = matcher.may_include_below(input.1);
    }
});
