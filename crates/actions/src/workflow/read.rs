//! Reads a whole workflow file.

use super::job::{concurrency, defaults, environment, read_jobs, text};
use super::{Findings, Permissions, Place, Workflow, schema, trigger};
use crate::graph;
use crate::yaml::{self, Kind};

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
    let Kind::Mapping(_) = &root.kind else {
        findings.error(root.at, "A mapping was expected");
        return None;
    };
    // First what each value may be; what values mean to each other only in a file that is well formed.
    schema::check(&root, schema::WORKFLOW, Place::None, findings);
    let on = root.get("on").map(|node| trigger::read(node, findings)).unwrap_or_default();
    let permissions = root.get("permissions").and_then(|node| Permissions::read(node, findings));
    if let Some(Kind::Mapping(jobs)) = root.get("jobs").map(|jobs| &jobs.kind) {
        for node in jobs.iter().filter_map(|(_, job)| job.get("permissions")) {
            Permissions::read(node, findings);
        }
    }
    if findings.has_errors() {
        return None;
    }
    let jobs = root.get("jobs").map(|node| read_jobs(node, findings)).unwrap_or_default();
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
        permissions,
        concurrency: root.get("concurrency").and_then(|node| concurrency(node, Place::Concurrency, findings)),
        jobs,
    })
}
