//! GitHub's own command line with issues, labels, people and branches of pull requests.

mod support;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::Server;
use support::gh::Gh;

async fn seeded(server: &Server) -> PathBuf {
    let work = server.work("one");
    server.git(&work, &["init", "-q", "-b", "main"]).await;
    server.commit(&work, "README.md", "# widgets\n", "first").await;
    server.git(&work, &["push", "-q", &server.authenticated("acme/widgets"), "main"]).await;
    work
}

async fn told(server: &Server, events: &[&str]) -> Vec<String> {
    let hooks = server.forge.webhooks();
    let mut told = Vec::new();
    while let Some(webhook) = hooks.try_next().await.expect("reads") {
        if events.contains(&webhook.event.as_str()) {
            let detail = ["/label/name", "/assignee/login", "/requested_reviewer/login", "/comment/body"]
                .iter()
                .find_map(|at| webhook.payload.pointer(at).and_then(Value::as_str))
                .unwrap_or_default();
            let action = webhook.payload["action"].as_str().expect("an action");
            told.push(format!("{} {action} {detail}", webhook.event).trim().to_owned());
        }
    }
    told
}

#[tokio::test]
async fn issues() {
    let server = Server::start().await;
    let Some(gh) = Gh::new(&server) else { return };
    let work = seeded(&server).await;
    let json = async |args: &[&str]| -> Value { serde_json::from_str(&gh.ok(&work, args).await).expect("JSON") };

    let made = gh
        .ok(
            &work,
            &[
                "issue",
                "create",
                "--title",
                "It breaks",
                "--body",
                "Here, @owner",
                "--label",
                "bug",
                "--assignee",
                "@me",
            ],
        )
        .await;
    assert!(made.contains("/acme/widgets/issues/1"), "{made}");
    gh.ok(&work, &["issue", "create", "--title", "A wish", "--body", "Please"]).await;
    let list = gh.ok(&work, &["issue", "list"]).await;
    assert!(list.contains("1\tOPEN\tIt breaks\tbug") && list.contains("A wish"), "{list}");
    for (filter, wanted) in [
        (vec!["--label", "bug"], json!([1])),
        (vec!["--assignee", "owner"], json!([1])),
        (vec!["--author", "@me"], json!([2, 1])),
        (vec!["--mention", "owner"], json!([1])),
        (vec!["--search", "wish in:title"], json!([2])),
        (vec!["--search", "no:label sort:created-asc"], json!([2])),
        (vec!["--state", "closed"], json!([])),
    ] {
        let mut args = vec!["issue", "list", "--json", "number", "--jq", "[.[].number]"];
        args.extend(&filter);
        assert_eq!(json(&args).await, wanted, "{filter:?}");
    }
    gh.ok(&work, &["issue", "comment", "1", "--body", "I see it too"]).await;
    gh.ok(&work, &["issue", "comment", "1", "--edit-last", "--body", "I saw it too"]).await;
    let view = gh.ok(&work, &["issue", "view", "1", "--comments"]).await;
    assert!(view.contains("I saw it too"), "{view}");
    let view = gh.ok(&work, &["issue", "view", "1"]).await;
    assert!(
        view.contains("title:\tIt breaks") && view.contains("assignees:\towner") && view.contains("Here, @owner"),
        "{view}"
    );
    gh.ok(&work, &["issue", "comment", "1", "--delete-last", "--yes"]).await;
    gh.ok(
        &work,
        &[
            "issue",
            "edit",
            "1",
            "--title",
            "It broke",
            "--add-label",
            "question",
            "--remove-label",
            "bug",
            "--remove-assignee",
            "@me",
        ],
    )
    .await;
    let fields = ["issue", "view", "1", "--json", "title,labels,assignees,comments,state,stateReason,closed"];
    let seen = json(&fields).await;
    assert_eq!((&seen["title"], &seen["labels"][0]["name"]), (&json!("It broke"), &json!("question")), "{seen}");
    assert_eq!((&seen["assignees"], &seen["comments"]), (&json!([]), &json!([])), "{seen}");
    gh.ok(&work, &["issue", "close", "1", "--reason", "not planned", "--comment", "Enough"]).await;
    let seen = json(&fields).await;
    assert_eq!((&seen["state"], &seen["stateReason"]), (&json!("CLOSED"), &json!("NOT_PLANNED")), "{seen}");
    gh.ok(&work, &["issue", "reopen", "1"]).await;
    gh.ok(&work, &["issue", "lock", "1", "--reason", "spam"]).await;
    gh.ok(&work, &["issue", "unlock", "1"]).await;
    gh.ok(&work, &["issue", "pin", "1"]).await;
    gh.ok(&work, &["issue", "unpin", "1"]).await;
    assert!(gh.ok(&work, &["issue", "status"]).await.contains("It broke"));
    assert!(gh.ok(&work, &["search", "issues", "broke", "--repo", "acme/widgets"]).await.contains("It broke"));
    assert!(gh.ok(&work, &["search", "repos", "widgets"]).await.contains("acme/widgets"));
    assert!(gh.ok(&work, &["search", "commits", "first", "--repo", "acme/widgets"]).await.contains("first"));
    gh.ok(&work, &["issue", "delete", "2", "--yes"]).await;
    assert!(!gh.output(&work, &["issue", "view", "2"]).await.0);
    // What one call of gh asks for side by side may come in any order.
    let mut told = told(&server, &["issues", "issue_comment"]).await;
    told[4..].sort();
    assert_eq!(
        told,
        [
            "issues opened",
            "issues labeled bug",
            "issues assigned owner",
            "issues opened",
            "issue_comment created Enough",
            "issue_comment created I see it too",
            "issue_comment deleted I saw it too",
            "issue_comment edited I saw it too",
            "issues closed",
            "issues deleted",
            "issues edited",
            "issues labeled question",
            "issues locked",
            "issues pinned",
            "issues reopened",
            "issues unassigned owner",
            "issues unlabeled bug",
            "issues unlocked",
            "issues unpinned",
        ]
    );
    server.stop().await;
}

#[tokio::test]
async fn labels() {
    let server = Server::start().await;
    let Some(gh) = Gh::new(&server) else { return };
    let work = seeded(&server).await;
    let list = gh.ok(&work, &["label", "list"]).await;
    assert!(list.contains("good first issue\tGood for newcomers\t#7057ff"), "{list}");
    gh.ok(&work, &["label", "create", "urgent", "--description", "Now", "--color", "ff0000"]).await;
    let (ok, text) = gh.output(&work, &["label", "create", "Urgent"]).await;
    assert!(!ok && text.contains("already exists"), "{text}");
    gh.ok(&work, &["label", "create", "urgent", "--force", "--description", "Soon", "--color", "00ff00"]).await;
    gh.ok(&work, &["issue", "create", "--title", "One", "--body", "", "--label", "urgent"]).await;
    gh.ok(&work, &["label", "edit", "urgent", "--name", "hurry up"]).await;
    let seen = gh.ok(&work, &["issue", "view", "1", "--json", "labels"]).await;
    assert!(seen.contains("\"name\":\"hurry up\"") && seen.contains("\"color\":\"00ff00\""), "{seen}");
    assert!(gh.ok(&work, &["label", "list", "--search", "hurry"]).await.contains("Soon"));
    gh.ok(&work, &["label", "delete", "hurry up", "--yes"]).await;
    let seen = gh.ok(&work, &["issue", "view", "1", "--json", "labels"]).await;
    assert_eq!(seen.trim(), "{\"labels\":[]}");
    let told = told(&server, &["label"]).await;
    assert_eq!(
        told,
        ["label created urgent", "label edited urgent", "label edited hurry up", "label deleted hurry up"]
    );
    server.stop().await;
}

#[tokio::test]
async fn people_labels_and_branches_of_pull_requests() {
    let server = Server::start().await;
    let Some(gh) = Gh::new(&server) else { return };
    let work = seeded(&server).await;
    let there = server.authenticated("acme/widgets");
    server.forge.create_user("second", "Another", "second@example.org", true).await.expect("a user");
    let other = Gh { token: server.forge.create_token("second").await.expect("a token"), ..gh.clone() };
    server.git(&work, &["checkout", "-q", "-b", "feature"]).await;
    server.commit(&work, "a.txt", "one\n", "a feature").await;
    server.git(&work, &["push", "-q", &there, "feature"]).await;
    gh.ok(
        &work,
        &[
            "pr",
            "create",
            "--title",
            "A feature",
            "--body",
            "",
            "--head",
            "feature",
            "--base",
            "main",
            "--label",
            "bug",
        ],
    )
    .await;
    gh.ok(
        &work,
        &[
            "pr",
            "edit",
            "1",
            "--add-label",
            "enhancement",
            "--remove-label",
            "bug",
            "--add-reviewer",
            "second",
            "--add-assignee",
            "@me",
        ],
    )
    .await;
    let fields = ["pr", "view", "1", "--json", "labels,reviewRequests,assignees,headRefOid"];
    let seen: Value = serde_json::from_str(&gh.ok(&work, &fields).await).expect("JSON");
    assert_eq!(seen["labels"][0]["name"], "enhancement", "{seen}");
    assert_eq!(
        (&seen["reviewRequests"][0]["login"], &seen["assignees"][0]["login"]),
        (&json!("second"), &json!("owner"))
    );
    let (ok, text) = gh.output(&work, &["pr", "edit", "1", "--add-reviewer", "owner"]).await;
    assert!(!ok && text.contains("author"), "{text}");
    assert!(gh.ok(&work, &["pr", "list", "--label", "enhancement", "--assignee", "@me"]).await.contains("A feature"));
    assert!(other.ok(&work, &["pr", "list", "--search", "review-requested:@me"]).await.contains("A feature"));
    other.ok(&work, &["pr", "review", "1", "--approve"]).await;
    let seen: Value = serde_json::from_str(&gh.ok(&work, &fields).await).expect("JSON");
    assert_eq!(seen["reviewRequests"], json!([]), "an answered request is over");

    server.git(&work, &["checkout", "-q", "main"]).await;
    server.commit(&work, "b.txt", "two\n", "meanwhile").await;
    server.git(&work, &["push", "-q", &there, "main"]).await;
    gh.ok(&work, &["pr", "update-branch", "1"]).await;
    let (_, text) = gh.output(&work, &["pr", "update-branch", "1"]).await;
    assert!(text.contains("already up-to-date"), "{text}");
    server.git(&work, &["fetch", "-q", &there, "feature"]).await;
    let log = server.git(&work, &["log", "--format=%s", "-1", "FETCH_HEAD"]).await;
    assert_eq!(log, "Merge branch 'main' into feature\n");
    gh.ok(&work, &["pr", "merge", "1", "--merge"]).await;
    let made = gh.ok(&work, &["pr", "revert", "1"]).await;
    assert!(made.contains("/acme/widgets/pull/2"), "{made}");
    let seen = gh.ok(&work, &["pr", "view", "2", "--json", "title,headRefName,body,files"]).await;
    assert!(seen.contains("Revert \\\"A feature\\\"") && seen.contains("Reverts acme/widgets#1"), "{seen}");
    gh.ok(&work, &["pr", "merge", "2", "--squash"]).await;
    server.git(&work, &["fetch", "-q", &there, "main"]).await;
    assert_eq!(server.git(&work, &["ls-tree", "--name-only", "FETCH_HEAD"]).await, "README.md\nb.txt\n");
    let told = told(&server, &["pull_request"]).await;
    for wanted in [
        "pull_request labeled bug",
        "pull_request labeled enhancement",
        "pull_request unlabeled bug",
        "pull_request assigned owner",
        "pull_request review_requested second",
        "pull_request synchronize",
    ] {
        assert!(told.iter().any(|line| line == wanted), "{wanted} is not in {told:?}");
    }
    server.stop().await;
}
