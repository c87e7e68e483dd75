//! Events, what they are about, and whether a trigger takes them. Pure.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::workflow::{Filter, Trigger, event_kind};

/// Something that happened on the forge.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// `owner/name`.
    pub repository: String,
    /// The event's name: `push`, `pull_request`, `release`…
    pub name: String,
    /// The payload in GitHub's shape.
    pub payload: Json,
    /// An id under which the same event may be delivered again; it then changes nothing.
    #[serde(default)]
    pub delivery: Option<String>,
    /// Whether a job's own token caused it: such events start nothing, except dispatches.
    #[serde(default)]
    pub by_job_token: bool,
    /// How many `workflow_run` events led here.
    #[serde(default)]
    pub depth: u32,
    /// The run whose completion is the event.
    #[serde(default)]
    pub parent: Option<i64>,
    /// The commit at the beginning of the chain.
    #[serde(default)]
    pub root_sha: Option<String>,
    /// The commit that counts where the payload names only a ref: that of a working copy.
    #[serde(default)]
    pub sha: Option<String>,
}

impl Event {
    /// An event as the forge's webhooks give it.
    pub fn new(repository: impl Into<String>, name: impl Into<String>, payload: Json) -> Self {
        Self {
            repository: repository.into(),
            name: name.into(),
            payload,
            delivery: None,
            by_job_token: false,
            depth: 0,
            parent: None,
            root_sha: None,
            sha: None,
        }
    }
}

/// What an event is about: which commit is checked out, which files hold the workflows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// `github.sha`; empty where only the ref is known so far.
    pub sha: String,
    /// `github.ref`.
    pub git_ref: String,
    /// `github.head_ref`.
    pub head_ref: String,
    /// `github.base_ref`.
    pub base_ref: String,
    /// The branch that run lists show and `workflow_run.branches` filters.
    pub head_branch: String,
    /// The commit that run lists show: of a pull request its head, not its merge.
    pub head_sha: String,
    /// `github.actor`.
    pub actor: String,
    /// Activity type.
    pub action: Option<String>,
    /// The message of the head commit, for `[skip ci]`.
    pub message: String,
    /// Whether secrets are withheld and the token can only read: a pull request from a fork.
    pub from_fork: bool,
    /// The two commits between which changed files count: from, to, and whether from their merge base.
    pub compare: Option<(String, String, bool)>,
}

/// The part of a ref after `refs/heads/`, `refs/tags/` or `refs/pull/`.
pub fn short_ref(git_ref: &str) -> &str {
    ["refs/heads/", "refs/tags/", "refs/pull/", "refs/"]
        .iter()
        .find_map(|prefix| git_ref.strip_prefix(prefix))
        .unwrap_or(git_ref)
}

fn text(json: &Json, pointer: &str) -> String {
    json.pointer(pointer).and_then(Json::as_str).unwrap_or_default().to_owned()
}

const ZERO: &str = "0000000000000000000000000000000000000000";

/// What an event is about. None when nothing can run for it: the deletion of a branch.
pub fn subject(event: &Event, default_branch: &str) -> Option<Subject> {
    let payload = &event.payload;
    let branch = format!("refs/heads/{default_branch}");
    let mut subject = Subject {
        actor: text(payload, "/sender/login"),
        action: payload.get("action").and_then(Json::as_str).map(str::to_owned),
        git_ref: branch,
        head_branch: default_branch.to_owned(),
        ..Subject::default()
    };
    match event.name.as_str() {
        "push" => {
            let after = text(payload, "/after");
            if payload.get("deleted").and_then(Json::as_bool) == Some(true) || after == ZERO {
                return None;
            }
            subject.git_ref = text(payload, "/ref");
            subject.sha = after.clone();
            subject.message = text(payload, "/head_commit/message");
            subject.compare = Some((text(payload, "/before"), after, false));
            if subject.actor.is_empty() {
                subject.actor = text(payload, "/pusher/name");
            }
        }
        "pull_request" | "pull_request_target" | "pull_request_review" | "pull_request_review_comment" => {
            let number = payload
                .get("number")
                .or_else(|| payload.pointer("/pull_request/number"))
                .and_then(Json::as_i64)
                .unwrap_or(0);
            let (head, base) = (text(payload, "/pull_request/head/sha"), text(payload, "/pull_request/base/sha"));
            subject.head_ref = text(payload, "/pull_request/head/ref");
            subject.base_ref = text(payload, "/pull_request/base/ref");
            subject.head_sha.clone_from(&head);
            subject.from_fork = text(payload, "/pull_request/head/repo/full_name")
                != text(payload, "/pull_request/base/repo/full_name");
            subject.compare = Some((base.clone(), head, true));
            if event.name == "pull_request_target" {
                subject.git_ref = format!("refs/heads/{}", subject.base_ref);
                subject.sha = base;
                subject.head_branch.clone_from(&subject.base_ref);
                // The workflow comes from the base, so it may be trusted with secrets.
                subject.from_fork = false;
                return Some(subject);
            }
            subject.git_ref = if subject.action.as_deref() == Some("closed")
                && !text(payload, "/pull_request/merged_at").is_empty()
            {
                format!("refs/heads/{}", subject.base_ref)
            } else {
                format!("refs/pull/{number}/merge")
            };
            subject.sha = text(payload, "/pull_request/merge_commit_sha");
            subject.head_branch.clone_from(&subject.head_ref);
            return Some(subject);
        }
        "release" => {
            let tag = text(payload, "/release/tag_name");
            subject.git_ref = format!("refs/tags/{tag}");
            subject.head_branch = tag;
        }
        "create" => {
            let kind = if text(payload, "/ref_type") == "tag" { "tags" } else { "heads" };
            subject.git_ref = format!("refs/{kind}/{}", text(payload, "/ref"));
        }
        "workflow_dispatch" => {
            let given = text(payload, "/ref");
            subject.git_ref =
                if given.is_empty() || given.starts_with("refs/") { given } else { format!("refs/heads/{given}") };
        }
        "merge_group" => {
            subject.git_ref = text(payload, "/merge_group/head_ref");
            subject.sha = text(payload, "/merge_group/head_sha");
            subject.base_ref = text(payload, "/merge_group/base_ref");
        }
        "deployment" | "deployment_status" => {
            subject.sha = text(payload, "/deployment/sha");
            let git_ref = text(payload, "/deployment/ref");
            subject.git_ref = if git_ref.starts_with("refs/") || git_ref.is_empty() {
                git_ref
            } else {
                format!("refs/heads/{git_ref}")
            };
        }
        _ => {}
    }
    if let Some(sha) = event.sha.as_ref().filter(|_| subject.sha.is_empty()) {
        subject.sha.clone_from(sha);
    }
    if subject.head_branch == default_branch || subject.head_branch.is_empty() {
        subject.head_branch = short_ref(&subject.git_ref).to_owned();
    }
    subject.head_sha.clone_from(&subject.sha);
    Some(subject)
}

/// Whether the head commit asks for no runs; only pushes and pull requests heed it.
pub fn skipped_by_message(event: &str, message: &str) -> bool {
    if !matches!(event, "push" | "pull_request") {
        return false;
    }
    ["[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]"]
        .iter()
        .any(|marker| message.contains(marker))
        || message.split("\n\n").last().is_some_and(|trailers| {
            message.contains("\n\n")
                && trailers
                    .lines()
                    .any(|line| matches!(line.replace(' ', "").to_ascii_lowercase().as_str(), "skip-checks:true"))
        })
}

/// Whether a trigger takes an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It does.
    Run,
    /// It does not, because.
    Skip(String),
    /// It does when one of the changed files passes its `paths`.
    Files,
}

/// Decides all but `paths`, which need the changed files: see [`paths`].
pub fn decide(trigger: &Trigger, event: &Event, subject: &Subject) -> Decision {
    let skip = |why: String| Decision::Skip(why);
    let kind = event_kind(&event.name);
    if let Some(action) = &subject.action {
        match &trigger.types {
            Some(types) if !types.contains(action) => return skip(format!("types do not include '{action}'")),
            None if kind.is_some_and(|kind| {
                !kind.default_types.is_empty() && !kind.default_types.contains(&action.as_str())
            }) =>
            {
                return skip(format!("'{action}' is not among the activity types that count without 'types'"));
            }
            _ => {}
        }
    }
    let admits = |filter: &Option<Filter>, name: &str| filter.as_ref().is_none_or(|filter| filter.admits(name));
    match event.name.as_str() {
        "push" => {
            if let Some(tag) = subject.git_ref.strip_prefix("refs/tags/") {
                if trigger.tags.is_none() && trigger.branches.is_some() {
                    return skip(format!("only branches are named, and '{tag}' is a tag"));
                }
                if !admits(&trigger.tags, tag) {
                    return skip(format!("the tag '{tag}' does not pass the tags filter"));
                }
                return Decision::Run;
            }
            let branch = short_ref(&subject.git_ref);
            if trigger.branches.is_none() && trigger.tags.is_some() {
                return skip(format!("only tags are named, and '{branch}' is a branch"));
            }
            if !admits(&trigger.branches, branch) {
                return skip(format!("the branch '{branch}' does not pass the branches filter"));
            }
        }
        "pull_request" | "pull_request_target" if !admits(&trigger.branches, &subject.base_ref) => {
            return skip(format!("the base branch '{}' does not pass the branches filter", subject.base_ref));
        }
        "merge_group" if !admits(&trigger.branches, short_ref(&subject.base_ref)) => {
            return skip("the base branch does not pass the branches filter".to_owned());
        }
        "workflow_run" => {
            let name = text(&event.payload, "/workflow_run/name");
            if !Filter::Include(trigger.workflows.clone()).admits(&name) {
                return skip(format!("'{name}' is not among its workflows"));
            }
            let branch = text(&event.payload, "/workflow_run/head_branch");
            if !admits(&trigger.branches, &branch) {
                return skip(format!("the branch '{branch}' does not pass the branches filter"));
            }
        }
        "image_version" => {
            if !admits(&trigger.names, &text(&event.payload, "/image_version/name"))
                || !admits(&trigger.versions, &text(&event.payload, "/image_version/version"))
            {
                return skip("names or versions do not pass".to_owned());
            }
        }
        "schedule" => {
            let cron = text(&event.payload, "/schedule");
            if !cron.is_empty() && !trigger.schedules.iter().any(|schedule| schedule.cron == cron) {
                return skip(format!("'{cron}' is not among its schedules"));
            }
        }
        "repository_dispatch" => {
            let kind = text(&event.payload, "/action");
            if trigger.types.as_ref().is_some_and(|types| !types.contains(&kind)) {
                return skip(format!("types do not include '{kind}'"));
            }
        }
        _ => {}
    }
    if trigger.paths.is_some() { Decision::Files } else { Decision::Run }
}

/// Decides `paths` with the changed files; none when they could not be found, in which case a workflow runs.
pub fn paths(trigger: &Trigger, files: Option<&[String]>) -> Decision {
    match (&trigger.paths, files) {
        (Some(filter), Some(files)) if !filter.admits_any(files) => {
            Decision::Skip("no changed file passes the paths filter".to_owned())
        }
        _ => Decision::Run,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::read;

    fn decision(on: &str, name: &str, payload: Json) -> Decision {
        let (workflow, findings) =
            read("x.yml", &format!("on: {on}\njobs: {{a: {{runs-on: x, steps: [{{run: a}}]}}}}"));
        let workflow = workflow.unwrap_or_else(|| panic!("{on}: {:?}", findings.0));
        let event = Event::new("o/r", name, payload);
        let subject = subject(&event, "main").unwrap();
        match workflow.trigger(name) {
            Some(trigger) => decide(trigger, &event, &subject),
            None => Decision::Skip("no trigger".into()),
        }
    }

    #[test]
    fn triggers() {
        let push = |git_ref: &str| serde_json::json!({"ref": git_ref, "before": "1", "after": "2"});
        let pr = |action: &str, base: &str| serde_json::json!({"action": action, "number": 7, "pull_request": {"number": 7, "base": {"ref": base}, "head": {"ref": "x"}}});
        let run = |name: &str, branch: &str| serde_json::json!({"action": "completed", "workflow_run": {"name": name, "head_branch": branch, "conclusion": "failure"}});
        let runs = |decision: Decision| decision == Decision::Run;
        for (on, name, payload, expected) in [
            ("push", "push", push("refs/heads/x"), true),
            ("{push: {branches: [main]}}", "push", push("refs/heads/main"), true),
            ("{push: {branches: [main]}}", "push", push("refs/heads/x"), false),
            ("{push: {branches: [main]}}", "push", push("refs/tags/main"), false),
            ("{push: {tags: ['v*']}}", "push", push("refs/tags/v1"), true),
            ("{push: {tags: ['v*']}}", "push", push("refs/heads/v1"), false),
            ("{push: {branches: [a], tags: ['v*']}}", "push", push("refs/tags/v1"), true),
            ("{push: {paths: [a]}}", "push", push("refs/tags/v1"), true),
            ("{push: {branches-ignore: ['wip/**']}}", "push", push("refs/heads/wip/a/b"), false),
            ("pull_request", "pull_request", pr("opened", "main"), true),
            ("pull_request", "pull_request", pr("closed", "main"), false),
            ("{pull_request: {types: [closed]}}", "pull_request", pr("closed", "main"), true),
            ("{pull_request: {branches: [main]}}", "pull_request", pr("opened", "dev"), false),
            (
                "{release: {types: [published]}}",
                "release",
                serde_json::json!({"action": "created", "release": {"tag_name": "v1"}}),
                false,
            ),
            (
                "{release: {types: [published]}}",
                "release",
                serde_json::json!({"action": "published", "release": {"tag_name": "v1"}}),
                true,
            ),
            (
                "{workflow_run: {workflows: [CI], types: [completed], branches: [main]}}",
                "workflow_run",
                run("CI", "main"),
                true,
            ),
            (
                "{workflow_run: {workflows: [CI], types: [completed], branches: [main]}}",
                "workflow_run",
                run("CI", "x"),
                false,
            ),
            ("{workflow_run: {workflows: [CI], types: [requested]}}", "workflow_run", run("CI", "main"), false),
            ("{workflow_run: {workflows: [Other]}}", "workflow_run", run("CI", "main"), false),
            ("{repository_dispatch: {types: [go]}}", "repository_dispatch", serde_json::json!({"action": "go"}), true),
            (
                "{repository_dispatch: {types: [go]}}",
                "repository_dispatch",
                serde_json::json!({"action": "stop"}),
                false,
            ),
        ] {
            assert_eq!(runs(decision(on, name, payload.clone())), expected, "{on} {payload}");
        }
        assert_eq!(decision("{push: {paths: [a]}}", "push", push("refs/heads/x")), Decision::Files);
    }

    #[test]
    fn skip_ci() {
        for (message, expected) in [
            ("fix [skip ci]", true),
            ("[no ci] x", true),
            ("fix\n\nskip-checks: true", true),
            ("fix\n\nbody\n\nReviewed-by: x\nskip-checks:true", true),
            ("skip-checks: true", false),
            ("plain", false),
        ] {
            assert_eq!(skipped_by_message("push", message), expected, "{message}");
        }
        assert!(!skipped_by_message("release", "[skip ci]"));
    }

    #[test]
    fn subjects() {
        let event = Event::new(
            "o/r",
            "pull_request",
            serde_json::json!({"action": "opened", "number": 3, "pull_request": {
            "number": 3, "merge_commit_sha": "mm", "head": {"ref": "feat", "sha": "hh", "repo": {"full_name": "fork/r"}},
            "base": {"ref": "main", "sha": "bb", "repo": {"full_name": "o/r"}}}, "sender": {"login": "me"}}),
        );
        let found = subject(&event, "main").unwrap();
        assert_eq!(
            (found.git_ref.as_str(), found.sha.as_str(), found.head_sha.as_str()),
            ("refs/pull/3/merge", "mm", "hh")
        );
        assert!(found.from_fork);
        let deleted =
            Event::new("o/r", "push", serde_json::json!({"ref": "refs/heads/x", "deleted": true, "after": ZERO}));
        assert_eq!(subject(&deleted, "main"), None);
        let release =
            Event::new("o/r", "release", serde_json::json!({"action": "published", "release": {"tag_name": "v1"}}));
        assert_eq!(subject(&release, "main").unwrap().git_ref, "refs/tags/v1");
    }
}
