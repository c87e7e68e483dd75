//! Expressions and workflow files against GitHub's own packages, `@actions/expressions` and `@actions/workflow-parser`: generated
//! expressions must have the same value or be refused in the same phase, generated files must be accepted or refused alike.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

#[path = "judged/expressions.rs"]
mod expressions;
#[path = "judged/workflows.rs"]
mod workflows;

use std::path::Path;
use std::process::Command;

const VERSION: &str = "0.3.61";

/// What GitHub's package says to the cases. None where it cannot be installed.
fn judged(script: &str, cases: &serde_json::Value) -> Option<Vec<serde_json::Value>> {
    let packages = [format!("@actions/expressions@{VERSION}"), format!("@actions/workflow-parser@{VERSION}")];
    let modules = judges::npm(env!("CARGO_TARGET_TMPDIR"), &packages.each_ref().map(String::as_str))?;
    let scratch = tempfile::tempdir().unwrap();
    let (asked, answered) = (scratch.path().join("cases.json"), scratch.path().join("answers.json"));
    std::fs::write(&asked, cases.to_string()).unwrap();
    // A script finds packages beside itself.
    std::os::unix::fs::symlink(modules.join("node_modules"), scratch.path().join("node_modules")).unwrap();
    let copy = scratch.path().join(script);
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judged").join(script), &copy).unwrap();
    let output = Command::new("node").arg(&copy).args([&asked, &answered]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&std::fs::read(answered).unwrap()).unwrap())
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}
