//! Any text as a workflow file, as the file of an action, as a cron line and as a pattern. What is refused is refused with a place
//! inside of the file.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (workflow, findings) = actions::workflow::read(".github/workflows/w.yml", text);
    assert!(workflow.is_some() || !findings.0.is_empty(), "a file is neither read nor refused");
    if let Some(workflow) = workflow {
        let _ = actions::graph::stages(&workflow.jobs);
        let _ = actions::publishes(&workflow);
    }
    let _ = actions::check::check(&[("w.yml".to_owned(), text.to_owned())]);
    let _ = actions::action::ActionFile::read(text);
    let _ = actions::action::Reference::parse(text);
    let line = text.lines().next().unwrap_or_default();
    let _ = actions::cron::Cron::parse(line);
    if let Ok(pattern) = actions::filter::Pattern::parse(line) {
        let _ = pattern.matches("refs/heads/releases/v1.2/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab");
    }
});
