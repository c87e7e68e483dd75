//! The events that can start a workflow, with their activity types and filters.

/// What is known about an event.
#[derive(Debug, Clone, Copy)]
pub struct EventKind {
    /// Its name in `on`.
    pub name: &'static str,
    /// The activity types it may be limited to.
    pub types: &'static [&'static str],
    /// The types that count when `types` is not given; empty means all.
    pub default_types: &'static [&'static str],
    /// The keys its mapping may have besides `types`.
    pub keys: &'static [&'static str],
}

const fn plain(name: &'static str) -> EventKind {
    EventKind { name, types: &[], default_types: &[], keys: &[] }
}

const fn typed(name: &'static str, types: &'static [&'static str]) -> EventKind {
    EventKind { name, types, default_types: &[], keys: &[] }
}

const PULL_TYPES: &[&str] = &[
    "assigned",
    "unassigned",
    "labeled",
    "unlabeled",
    "opened",
    "edited",
    "closed",
    "reopened",
    "synchronize",
    "converted_to_draft",
    "locked",
    "unlocked",
    "enqueued",
    "dequeued",
    "milestoned",
    "demilestoned",
    "ready_for_review",
    "review_requested",
    "review_request_removed",
    "auto_merge_enabled",
    "auto_merge_disabled",
];
const PULL_DEFAULT: &[&str] = &["opened", "synchronize", "reopened"];
const PULL_KEYS: &[&str] = &["branches", "branches-ignore", "paths", "paths-ignore"];
const CED: &[&str] = &["created", "edited", "deleted"];

/// Every event, as GitHub's schema names them.
pub const EVENTS: &[EventKind] = &[
    typed("branch_protection_rule", CED),
    typed("check_run", &["completed", "created", "rerequested", "requested_action"]),
    typed("check_suite", &["completed"]),
    plain("create"),
    plain("delete"),
    plain("deployment"),
    plain("deployment_status"),
    typed(
        "discussion",
        &[
            "created",
            "edited",
            "deleted",
            "transferred",
            "pinned",
            "unpinned",
            "labeled",
            "unlabeled",
            "locked",
            "unlocked",
            "category_changed",
            "answered",
            "unanswered",
        ],
    ),
    typed("discussion_comment", CED),
    plain("fork"),
    plain("gollum"),
    EventKind {
        name: "image_version",
        types: &["created", "ready", "deleted"],
        default_types: &[],
        keys: &["names", "versions"],
    },
    typed("issue_comment", CED),
    typed(
        "issues",
        &[
            "opened",
            "edited",
            "deleted",
            "transferred",
            "pinned",
            "unpinned",
            "closed",
            "reopened",
            "assigned",
            "unassigned",
            "labeled",
            "unlabeled",
            "locked",
            "unlocked",
            "milestoned",
            "demilestoned",
            "typed",
            "untyped",
        ],
    ),
    typed("label", CED),
    EventKind {
        name: "merge_group",
        types: &["checks_requested"],
        default_types: &[],
        keys: &["branches", "branches-ignore"],
    },
    typed("milestone", &["created", "closed", "opened", "edited", "deleted"]),
    plain("page_build"),
    typed("project", &["created", "closed", "reopened", "edited", "deleted"]),
    typed("project_card", &["created", "moved", "converted", "edited", "deleted"]),
    typed("project_column", &["created", "updated", "moved", "deleted"]),
    plain("public"),
    EventKind { name: "pull_request", types: PULL_TYPES, default_types: PULL_DEFAULT, keys: PULL_KEYS },
    typed("pull_request_comment", CED),
    typed("pull_request_review", &["submitted", "edited", "dismissed"]),
    typed("pull_request_review_comment", CED),
    EventKind { name: "pull_request_target", types: PULL_TYPES, default_types: PULL_DEFAULT, keys: PULL_KEYS },
    EventKind {
        name: "push",
        types: &[],
        default_types: &[],
        keys: &["branches", "branches-ignore", "tags", "tags-ignore", "paths", "paths-ignore"],
    },
    typed("registry_package", &["published", "updated"]),
    typed("release", &["published", "unpublished", "created", "edited", "deleted", "prereleased", "released"]),
    plain("repository_dispatch"),
    plain("schedule"),
    plain("status"),
    typed("watch", &["started"]),
    EventKind { name: "workflow_call", types: &[], default_types: &[], keys: &["inputs", "secrets", "outputs"] },
    EventKind { name: "workflow_dispatch", types: &[], default_types: &[], keys: &["inputs"] },
    EventKind {
        name: "workflow_run",
        types: &["requested", "completed", "in_progress"],
        default_types: &[],
        keys: &["workflows", "branches", "branches-ignore"],
    },
];

/// The event of a name.
pub fn event_kind(name: &str) -> Option<&'static EventKind> {
    EVENTS.iter().find(|event| event.name == name)
}
