//! Reads a whole workflow file.

use super::job::{concurrency, defaults, environment, read_jobs, text};
use super::{Findings, Permissions, Place, Workflow, trigger};
use crate::graph;
use crate::yaml::{self, Kind};

const KEYS: &[&str] =
    &["on", "name", "description", "run-name", "defaults", "env", "permissions", "concurrency", "jobs"];

/// Reads a workflow file. The workflow is there only when no finding is an error.
pub fn read(path: &str, source: &str) -> (Option<Workflow>, Findings) {
    let mut findings = Findings::default();
    let workflow = read_into(path, source, &mut findings);
    findings.0.sort_by_key(|finding| finding.at);
    let workflow = if findings.has_errors() { None } else { workflow };
    (workflow, findings)
}

fn read_into(path: &str, source: &str, findings: &mut Findings) -> Option<Workflow> {
    let root = match yaml::parse(source) {
        Ok(root) => root,
        Err(error) => {
            findings.error(error.at, error.message);
            return None;
        }
    };
    let Kind::Mapping(entries) = &root.kind else {
        findings.error(root.at, "A mapping was expected");
        return None;
    };
    for (key, _) in entries {
        let name = key.text().unwrap_or_default();
        if !KEYS.contains(&name) {
            findings.error(key.at, format!("Unexpected value '{name}'"));
        }
    }
    let mut require = |name: &str| {
        let node = root.get(name);
        if node.is_none() {
            findings.error(root.at, format!("Required property is missing: {name}"));
        }
        node
    };
    let (on, jobs) = (require("on"), require("jobs"));
    let on = on.map(|node| trigger::read(node, findings)).unwrap_or_default();
    let jobs = jobs.map(|node| read_jobs(node, findings)).unwrap_or_default();
    graph::check(&jobs, findings);
    let name = match root.get("name") {
        Some(node) => text(node, Place::None, findings).map(|name| name.source().to_owned()),
        None => None,
    };
    Some(Workflow {
        path: path.to_owned(),
        name: name.filter(|name| !name.is_empty()).unwrap_or_else(|| path.to_owned()),
        run_name: root.get("run-name").and_then(|node| text(node, Place::RunName, findings)),
        on,
        env: root.get("env").and_then(|node| environment(node, Place::WorkflowEnv, findings)),
        defaults: root.get("defaults").and_then(|node| defaults(node, Place::None, findings)),
        permissions: root.get("permissions").and_then(|node| Permissions::read(node, findings)),
        concurrency: root.get("concurrency").and_then(|node| concurrency(node, Place::Concurrency, findings)),
        jobs,
    })
}
