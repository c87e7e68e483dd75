//! The graph of jobs that `needs` makes.

use indexmap::IndexMap;

use crate::workflow::{Findings, Job};

/// Refuses needs of unknown jobs, cycles, and a workflow in which no job can start.
pub fn check(jobs: &IndexMap<String, Job>, findings: &mut Findings) {
    for job in jobs.values() {
        for (need, at) in &job.needs {
            match find(jobs, need) {
                None => findings.error(*at, format!("Job '{}' depends on unknown job '{need}'.", job.id)),
                Some(other) if reaches(jobs, other, &job.id) => {
                    findings.error(
                        *at,
                        format!(
                            "Job '{}' depends on job '{need}' which creates a cycle in the dependency graph.",
                            job.id
                        ),
                    );
                }
                Some(_) => {}
            }
        }
    }
    if let Some(first) = jobs.values().next()
        && jobs.values().all(|job| !job.needs.is_empty())
    {
        findings.error(first.at, "The workflow must contain at least one job with no dependencies.");
    }
}

/// A job by id, in any case.
pub fn find<'a>(jobs: &'a IndexMap<String, Job>, id: &str) -> Option<&'a Job> {
    jobs.get(id).or_else(|| jobs.values().find(|job| job.id.eq_ignore_ascii_case(id)))
}

fn reaches(jobs: &IndexMap<String, Job>, from: &Job, target: &str) -> bool {
    let mut seen = vec![from.id.as_str()];
    let mut stack = vec![from];
    while let Some(job) = stack.pop() {
        if job.id.eq_ignore_ascii_case(target) {
            return true;
        }
        for next in job.needs.iter().filter_map(|(need, _)| find(jobs, need)) {
            if !seen.contains(&next.id.as_str()) {
                seen.push(&next.id);
                stack.push(next);
            }
        }
    }
    false
}

/// All jobs that a job waits for, directly and through others: what `success()` and `failure()` look at.
pub fn ancestors<'a>(jobs: &'a IndexMap<String, Job>, id: &str) -> Vec<&'a str> {
    let mut out: Vec<&str> = Vec::new();
    let mut stack: Vec<&Job> = find(jobs, id).into_iter().collect();
    while let Some(job) = stack.pop() {
        for next in job.needs.iter().filter_map(|(need, _)| find(jobs, need)) {
            if !out.contains(&next.id.as_str()) {
                out.push(&next.id);
                stack.push(next);
            }
        }
    }
    out
}

/// Jobs in stages: each stage needs only earlier ones. For drawing.
pub fn stages(jobs: &IndexMap<String, Job>) -> Vec<Vec<&str>> {
    let mut placed: Vec<&str> = Vec::new();
    let mut out = Vec::new();
    while placed.len() < jobs.len() {
        let stage: Vec<&str> = jobs
            .values()
            .filter(|job| !placed.contains(&job.id.as_str()))
            .filter(|job| job.needs.iter().all(|(need, _)| placed.iter().any(|done| done.eq_ignore_ascii_case(need))))
            .map(|job| job.id.as_str())
            .collect();
        if stage.is_empty() {
            break;
        }
        placed.extend(&stage);
        out.push(stage);
    }
    out
}
