//! Payloads in GitHub's shape that the engine itself makes.

use serde_json::{Value as Json, json};

use crate::event::Event;
use crate::model::{Input, Job, Run, iso};

/// A run as `workflow_run` in events and in the REST API.
pub fn run(run: &Run, repository: &Json, head_commit: &Json, server: &str, api: &str) -> Json {
    let base = format!("{server}/{}", run.repository);
    let api = format!("{}/repos/{}", api.trim_end_matches('/'), run.repository);
    let own = format!("{api}/actions/runs/{}", run.id);
    let updated = run.completed_ms.or(run.started_ms).unwrap_or(run.created_ms);
    json!({
        "id": run.id, "name": run.workflow, "node_id": format!("WFR_{}", run.id), "head_branch": run.head_branch, "head_sha": run.head_sha,
        "path": run.path, "display_title": run.title, "run_number": run.number, "event": run.event, "status": run.status.word(),
        "conclusion": run.conclusion.map(crate::model::Conclusion::word), "workflow_id": workflow_id(&run.repository, &run.path),
        "check_suite_id": run.id, "check_suite_node_id": format!("CS_{}", run.id),
        "url": own, "html_url": format!("{base}/actions/runs/{}", run.id), "pull_requests": [],
        "created_at": iso(run.created_ms), "updated_at": iso(updated), "run_started_at": iso(run.started_ms.unwrap_or(run.created_ms)),
        "actor": user(&run.actor), "triggering_actor": user(run.triggered_by()), "run_attempt": run.attempt, "referenced_workflows": [],
        "jobs_url": format!("{own}/jobs"), "logs_url": format!("{own}/logs"), "artifacts_url": format!("{own}/artifacts"),
        "cancel_url": format!("{own}/cancel"), "rerun_url": format!("{own}/rerun"), "previous_attempt_url": null,
        "workflow_url": format!("{api}/actions/workflows/{}", workflow_id(&run.repository, &run.path)), "check_suite_url": format!("{api}/check-suites/{}", run.id),
        "head_commit": head_commit, "repository": repository, "head_repository": repository,
    })
}

/// A user as far as runs know them.
pub fn user(login: &str) -> Json {
    json!({"login": login, "id": 0, "type": if login.ends_with("[bot]") { "Bot" } else { "User" }, "site_admin": false})
}

/// A number for a workflow file that stays the same.
pub fn workflow_id(repository: &str, path: &str) -> i64 {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{}\n{path}", repository.to_lowercase()));
    // 31 bits, so that every client's integer holds it.
    i64::from(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) >> 1)
}

/// A workflow as the REST API and events show it.
pub fn workflow(repository: &str, path: &str, name: &str, server: &str) -> Json {
    let id = workflow_id(repository, path);
    let file = path.rsplit('/').next().unwrap_or(path);
    json!({
        "id": id, "node_id": format!("W_{id}"), "name": name, "path": path, "state": "active",
        "created_at": "2020-01-01T00:00:00.000Z", "updated_at": "2020-01-01T00:00:00.000Z",
        "url": format!("https://api.github.com/repos/{repository}/actions/workflows/{id}"),
        "html_url": format!("{server}/{repository}/blob/main/{path}"),
        "badge_url": format!("{server}/{repository}/workflows/{file}/badge.svg"),
    })
}

/// The `workflow_run` event of a run.
pub fn workflow_run(record: &Run, input: &Input, action: &str, head_commit: &Json, server: &str, api: &str) -> Event {
    let payload = json!({
        "action": action,
        "workflow_run": run(record, &input.repository, head_commit, server, api),
        "workflow": workflow(&record.repository, &record.path, &record.workflow, server),
        "repository": input.repository,
        "sender": user(&record.actor),
    });
    Event {
        depth: record.depth + 1,
        parent: Some(record.id),
        root_sha: Some(record.root_sha.clone()),
        ..Event::new(record.repository.clone(), "workflow_run", payload)
    }
}

/// A job as the REST API shows it.
pub fn job(record: &Job, run: &Run, api: &str, server: &str) -> Json {
    let steps: Vec<Json> = record
        .steps
        .iter()
        .map(|step| {
            json!({"name": step.name, "status": step.status.word(), "conclusion": step.conclusion.map(crate::model::Conclusion::word),
                "number": step.number, "started_at": step.started_ms.map(iso), "completed_at": step.completed_ms.map(iso)})
        })
        .collect();
    json!({
        "id": record.id, "run_id": record.run, "run_url": format!("{api}/repos/{}/actions/runs/{}", run.repository, run.id), "run_attempt": record.attempt,
        "node_id": format!("CR_{}", record.id), "head_sha": run.head_sha, "head_branch": run.head_branch, "workflow_name": run.workflow,
        "url": format!("{api}/repos/{}/actions/jobs/{}", run.repository, record.id),
        "html_url": format!("{server}/{}/actions/runs/{}/job/{}", run.repository, run.id, record.id),
        "status": record.status.word(), "conclusion": record.conclusion.map(crate::model::Conclusion::word),
        "created_at": iso(record.created_ms), "started_at": iso(record.started_ms.unwrap_or(record.created_ms)), "completed_at": record.completed_ms.map(iso),
        "name": record.name, "steps": steps, "check_run_url": format!("{api}/repos/{}/check-runs/{}", run.repository, record.id),
        "labels": record.labels, "runner_id": 1, "runner_name": "Big Ben", "runner_group_id": 1, "runner_group_name": "Default",
    })
}
