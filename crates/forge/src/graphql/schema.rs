//! What introspection tells: clients ask which fields a type has before they use new ones.

use serde_json::{Value, json};

use super::node::Resolved;

/// Types whose fields are asked for, with the fields that this forge has. The rest of a type's fields are there as well; these are
/// the ones by which clients choose their way.
const TYPES: &[(&str, &[&str])] = &[
    (
        "PullRequest",
        &[
            "additions",
            "assignees",
            "author",
            "autoMergeRequest",
            "baseRefName",
            "body",
            "changedFiles",
            "closed",
            "closedAt",
            "comments",
            "commits",
            "createdAt",
            "deletions",
            "files",
            "headRefName",
            "headRefOid",
            "headRepository",
            "headRepositoryOwner",
            "id",
            "isCrossRepository",
            "isDraft",
            "labels",
            "latestReviews",
            "maintainerCanModify",
            "mergeCommit",
            "mergeStateStatus",
            "mergeable",
            "mergedAt",
            "mergedBy",
            "milestone",
            "number",
            "reviewDecision",
            "reviewRequests",
            "reviews",
            "state",
            "statusCheckRollup",
            "title",
            "updatedAt",
            "url",
        ],
    ),
    (
        "StatusCheckRollupContextConnection",
        &[
            "checkRunCount",
            "checkRunCountsByState",
            "nodes",
            "pageInfo",
            "statusContextCount",
            "statusContextCountsByState",
            "totalCount",
        ],
    ),
    (
        "Repository",
        &["pullRequestTemplates", "mergeCommitAllowed", "rebaseMergeAllowed", "squashMergeAllowed", "visibility"],
    ),
    (
        "Issue",
        &[
            "assignedActors",
            "assignees",
            "author",
            "body",
            "closed",
            "closedAt",
            "comments",
            "createdAt",
            "id",
            "isPinned",
            "labels",
            "milestone",
            "number",
            "state",
            "stateReason",
            "title",
            "updatedAt",
            "url",
        ],
    ),
    ("WorkflowRun", &["event", "workflow"]),
    ("Release", &["isLatest", "isDraft", "isPrerelease", "tagName", "name", "createdAt", "publishedAt"]),
    ("User", &["id", "login", "name"]),
    ("Query", &["node", "repository", "search", "user", "viewer", "organization", "repositoryOwner"]),
];

/// `__type(name: ...)`: null for a type that is not here.
pub(crate) fn a_type(name: &str) -> Resolved {
    let Some((name, fields)) = TYPES.iter().find(|(known, _)| *known == name) else { return Resolved::NULL };
    Resolved::plain("__Type", &description(name, fields))
}

fn description(name: &str, fields: &[&str]) -> Value {
    let fields: Vec<Value> =
        fields.iter().map(|field| json!({"name": field, "args": [], "isDeprecated": false})).collect();
    json!({"name": name, "kind": "OBJECT", "fields": fields, "inputFields": null, "enumValues": null})
}

/// `__schema`
pub(crate) fn whole() -> Resolved {
    let types: Vec<Value> = TYPES.iter().map(|(name, fields)| description(name, fields)).collect();
    Resolved::plain(
        "__Schema",
        &json!({"types": types, "queryType": {"name": "Query"}, "mutationType": {"name": "Mutation"}}),
    )
}
