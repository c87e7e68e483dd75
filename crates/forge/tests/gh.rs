//! GitHub's own command line against the forge.

mod support;

use std::path::PathBuf;

use support::Server;
use support::gh::Gh;

async fn seeded(server: &Server) -> PathBuf {
    let work = server.work("one");
    server.git(&work, &["init", "-q", "-b", "main"]).await;
    server.commit(&work, "README.md", "# widgets\n", "first").await;
    server.git(&work, &["push", "-q", &server.authenticated("acme/widgets"), "main"]).await;
    server.git(&work, &["checkout", "-q", "-b", "feature"]).await;
    server.commit(&work, "a.txt", "one\n", "a feature").await;
    server.git(&work, &["push", "-q", &server.authenticated("acme/widgets"), "feature"]).await;
    work
}

#[tokio::test]
async fn pull_requests() {
    let server = Server::start().await;
    let Some(gh) = Gh::new(&server) else { return };
    let work = seeded(&server).await;
    let made = gh
        .ok(
            &work,
            &["pr", "create", "--title", "A feature", "--body", "It does.", "--head", "feature", "--base", "main"],
        )
        .await;
    assert!(made.contains("/acme/widgets/pull/1"), "{made}");
    let again =
        gh.output(&work, &["pr", "create", "--title", "A", "--body", "", "--head", "feature", "--base", "main"]).await;
    assert!(!again.0 && again.1.contains("already exists"), "{}", again.1);
    let list = gh.ok(&work, &["pr", "list", "--json", "number,title,headRefName,state,isDraft,author"]).await;
    assert!(list.contains("\"title\":\"A feature\"") && list.contains("\"login\":\"owner\""), "{list}");
    assert!(gh.ok(&work, &["pr", "list"]).await.contains("A feature"));
    let view = gh.ok(&work, &["pr", "view", "1"]).await;
    assert!(view.contains("title:\tA feature") && view.contains("It does."), "{view}");
    let json = gh
        .ok(&work, &["pr", "view", "1", "--json", "additions,deletions,changedFiles,commits,files,mergeable,mergeStateStatus,headRefOid,statusCheckRollup"])
        .await;
    assert!(json.contains("\"mergeable\":\"MERGEABLE\"") && json.contains("\"path\":\"a.txt\""), "{json}");
    let sha = server.git(&work, &["rev-parse", "feature"]).await.trim().to_owned();
    for (name, conclusion) in [("tests (a)", "success"), ("tests (b)", "failure")] {
        let run = forge::CheckRun {
            head_sha: sha.clone(),
            name: name.into(),
            conclusion: Some(conclusion.into()),
            workflow: Some("PR check".into()),
            event: Some("pull_request".into()),
            details_url: Some("http://example.test/run".into()),
            external_id: Some(name.into()),
            ..forge::CheckRun::default()
        };
        server.forge.set_check_run("acme/widgets", run).await.expect("posts");
    }
    let (ok, checks) = gh.output(&work, &["pr", "checks", "1"]).await;
    assert!(!ok && checks.contains("tests (b)\tfail") && checks.contains("tests (a)\tpass"), "{checks}");
    let status = gh.ok(&work, &["pr", "status"]).await;
    assert!(status.contains("A feature"), "{status}");
    gh.ok(&work, &["pr", "comment", "1", "--body", "Looks right"]).await;
    assert!(gh.ok(&work, &["pr", "view", "1", "--comments"]).await.contains("Looks right"));
    assert!(gh.ok(&work, &["pr", "diff", "1"]).await.contains("+one"));
    gh.ok(&work, &["pr", "edit", "1", "--title", "A better feature"]).await;
    gh.ok(&work, &["pr", "close", "1"]).await;
    gh.ok(&work, &["pr", "reopen", "1"]).await;
    gh.ok(&work, &["pr", "merge", "1", "--squash"]).await;
    let merged = gh.ok(&work, &["pr", "view", "1", "--json", "state,mergeCommit,title"]).await;
    assert!(merged.contains("\"MERGED\"") && merged.contains("A better feature"), "{merged}");
    server.git(&work, &["fetch", "-q", &server.anonymous("acme/widgets"), "main"]).await;
    let log = server.git(&work, &["log", "--format=%s", "FETCH_HEAD"]).await;
    assert_eq!(log, "A better feature (#1)\nfirst\n");
    server.git(&work, &["fetch", "-q", &server.anonymous("acme/widgets"), "refs/pull/1/head"]).await;
    assert_eq!(server.git(&work, &["rev-parse", "FETCH_HEAD"]).await.trim(), sha);
    server.stop().await;
}

#[tokio::test]
async fn releases_and_their_files() {
    let server = Server::start().await;
    let Some(gh) = Gh::new(&server) else { return };
    let work = seeded(&server).await;
    std::fs::write(work.join("tool.bin"), vec![7u8; 300_000]).expect("a file");
    let made = gh
        .ok(
            &work,
            &["release", "create", "v1.0.0", "tool.bin", "--title", "One", "--notes", "The first", "--target", "main"],
        )
        .await;
    assert!(made.contains("/releases/tag/v1.0.0"), "{made}");
    let list = gh.ok(&work, &["release", "list"]).await;
    assert!(list.contains("One") && list.contains("Latest"), "{list}");
    let view = gh.ok(&work, &["release", "view", "v1.0.0"]).await;
    assert!(view.contains("The first") && view.contains("tool.bin"), "{view}");
    assert!(gh.ok(&work, &["release", "view"]).await.contains("v1.0.0"), "the latest");
    let to = server.work("download");
    gh.ok(&to, &["release", "download", "v1.0.0"]).await;
    assert_eq!(std::fs::read(to.join("tool.bin")).expect("a file"), vec![7u8; 300_000]);
    gh.ok(&work, &["release", "edit", "v1.0.0", "--notes", "Better words"]).await;
    gh.ok(&work, &["release", "create", "v1.1.0", "--draft", "--generate-notes", "--target", "main"]).await;
    assert!(gh.ok(&work, &["release", "list"]).await.contains("Draft"));
    gh.ok(&work, &["release", "edit", "v1.1.0", "--draft=false"]).await;
    gh.ok(&work, &["release", "delete", "v1.0.0", "--yes"]).await;
    let (ok, _) = gh.output(&work, &["release", "view", "v1.0.0"]).await;
    assert!(!ok);
    let hooks = server.forge.webhooks();
    let mut actions = Vec::new();
    while let Some(webhook) = hooks.try_next().await.expect("reads") {
        if webhook.event == "release" {
            let tag = webhook.payload["release"]["tag_name"].as_str().expect("a tag").to_owned();
            actions.push(format!("{} {tag}", webhook.payload["action"].as_str().expect("an action")));
        }
    }
    assert!(
        actions.contains(&"published v1.0.0".to_owned()) && actions.contains(&"published v1.1.0".to_owned()),
        "{actions:?}"
    );
    server.stop().await;
}

#[tokio::test]
async fn settings_and_the_repository() {
    let server = Server::start().await;
    let Some(gh) = Gh::new(&server) else { return };
    let work = seeded(&server).await;
    gh.ok(&work, &["secret", "set", "PASSWORD", "--body", "swordfish"]).await;
    gh.ok(&work, &["api", "-X", "PUT", "repos/acme/widgets/environments/staging"]).await;
    gh.ok(&work, &["secret", "set", "PASSWORD", "--env", "staging", "--body", "other"]).await;
    assert!(gh.ok(&work, &["secret", "list"]).await.contains("PASSWORD"));
    let read = server.forge.secrets("acme/widgets", None).await.expect("reads");
    assert_eq!(read["PASSWORD"], "swordfish");
    let read = server.forge.secrets("acme/widgets", Some("staging")).await.expect("reads");
    assert_eq!(read["PASSWORD"], "other");
    gh.ok(&work, &["secret", "delete", "PASSWORD"]).await;
    gh.ok(&work, &["variable", "set", "REGION", "--body", "eu"]).await;
    gh.ok(&work, &["variable", "set", "REGION", "--body", "us"]).await;
    assert!(gh.ok(&work, &["variable", "list"]).await.contains("us"));
    assert_eq!(gh.ok(&work, &["variable", "get", "REGION"]).await.trim(), "us");
    let view = gh.ok(&work, &["repo", "view", "acme/widgets"]).await;
    assert!(view.contains("# widgets") || view.contains("widgets"), "{view}");
    let json = gh
        .ok(
            &work,
            &["repo", "view", "acme/widgets", "--json", "name,owner,defaultBranchRef,visibility,viewerPermission"],
        )
        .await;
    assert!(json.contains("\"ADMIN\"") && json.contains("\"main\""), "{json}");
    assert!(gh.ok(&work, &["api", "user", "--jq", ".login"]).await.contains("owner"));
    assert!(
        gh.ok(&work, &["api", "repos/acme/widgets/commits", "--paginate", "--jq", ".[].commit.message"])
            .await
            .contains("first")
    );
    gh.ok(&work, &["repo", "create", "owner/fresh", "--private"]).await;
    assert!(server.forge.repository("owner/fresh").await.expect("reads").expect("exists").private);
    assert!(gh.ok(&work, &["repo", "list", "owner"]).await.contains("owner/fresh"));
    server.stop().await;
}

/// Who reviews is somebody else; what they say is kept, counts and is told of.
#[tokio::test]
async fn reviews() {
    let server = Server::start().await;
    let Some(gh) = Gh::new(&server) else { return };
    let work = seeded(&server).await;
    server.forge.create_user("second", "Another", "second@example.org", true).await.expect("a user");
    let other = Gh { token: server.forge.create_token("second").await.expect("a token"), ..gh.clone() };
    gh.ok(
        &work,
        &["pr", "create", "--title", "A feature", "--body", "It does.", "--head", "feature", "--base", "main"],
    )
    .await;
    let (ok, text) = gh.output(&work, &["pr", "review", "1", "--approve"]).await;
    assert!(!ok && text.contains("Can not approve your own pull request"), "{text}");
    other.ok(&work, &["pr", "review", "1", "--request-changes", "--body", "Not like this"]).await;
    let fields = ["pr", "view", "1", "--json", "reviews,reviewDecision,latestReviews"];
    let seen = gh.ok(&work, &fields).await;
    assert!(seen.contains("\"reviewDecision\":\"CHANGES_REQUESTED\"") && seen.contains("Not like this"), "{seen}");
    other.ok(&work, &["pr", "review", "1", "--approve"]).await;
    gh.ok(&work, &["pr", "review", "1", "--comment", "--body", "Thanks"]).await;
    let seen = gh.ok(&work, &fields).await;
    assert!(seen.contains("\"reviewDecision\":\"APPROVED\"") && seen.contains("\"login\":\"second\""), "{seen}");
    assert!(gh.ok(&work, &["pr", "view", "1"]).await.contains("second (Approved)"));
    let list = gh.ok(&work, &["api", "repos/acme/widgets/pulls/1/reviews", "--jq", ".[].state"]).await;
    assert_eq!(list.split_whitespace().collect::<Vec<_>>(), ["CHANGES_REQUESTED", "APPROVED", "COMMENTED"]);
    let id = gh.ok(&work, &["api", "repos/acme/widgets/pulls/1/reviews", "--jq", ".[1].id"]).await;
    let path = format!("repos/acme/widgets/pulls/1/reviews/{}/dismissals", id.trim());
    gh.ok(&work, &["api", "-X", "PUT", &path, "-f", "message=late"]).await;
    assert!(gh.ok(&work, &fields).await.contains("\"reviewDecision\":\"\""));
    let hooks = server.forge.webhooks();
    let mut told = Vec::new();
    while let Some(webhook) = hooks.try_next().await.expect("reads") {
        if webhook.event == "pull_request_review" {
            let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
            told.push(format!("{} {}", text(&webhook.payload["action"]), text(&webhook.payload["review"]["state"])));
        }
    }
    assert_eq!(
        told,
        ["submitted changes_requested", "submitted approved", "submitted commented", "dismissed dismissed"]
    );
    server.stop().await;
}

/// What is not there is refused by name, and changes nothing.
#[tokio::test]
async fn what_is_not_there_is_said() {
    let server = Server::start().await;
    let Some(gh) = Gh::new(&server) else { return };
    let work = seeded(&server).await;
    for (line, words) in [
        ("issue view 7", "7"),
        ("issue create --title x --body y --milestone z", "z"),
        ("search code nothing", "searching for code is not kept here"),
        ("gist list", "gists"),
        ("secret list --env staging", "404"),
        ("variable delete NONE", "404"),
        ("api /nothing/here", "Not Found"),
        ("pr view 7", "7"),
        ("pr checks 7", "7"),
        ("release view none", "release not found"),
    ] {
        let (ok, text) = gh.output(&work, &line.split(' ').collect::<Vec<_>>()).await;
        assert!(!ok && text.contains(words), "gh {line}: {text}");
    }
    for line in
        ["auth status", "issue list", "label list", "pr list --search nothing", "status", "release list", "org list"]
    {
        gh.ok(&work, &line.split(' ').collect::<Vec<_>>()).await;
    }
    std::fs::write(work.join("vars.env"), "ONE=1\nTWO=2\n").expect("a file");
    gh.ok(&work, &["variable", "set", "-f", "vars.env"]).await;
    gh.ok(&work, &["secret", "set", "-f", "vars.env"]).await;
    let read = server.forge.secrets("acme/widgets", None).await.expect("reads");
    assert_eq!((read["ONE"].as_str(), read["TWO"].as_str()), ("1", "2"));
    gh.ok(&work, &["release", "create", "v1.0.0", "--title", "One", "--notes", "x", "--target", "main"]).await;
    std::fs::write(work.join("tool.bin"), vec![7u8; 3000]).expect("a file");
    gh.ok(&work, &["release", "upload", "v1.0.0", "tool.bin"]).await;
    std::fs::write(work.join("tool.bin"), vec![8u8; 2000]).expect("a file");
    assert!(!gh.output(&work, &["release", "upload", "v1.0.0", "tool.bin"]).await.0, "it is there already");
    gh.ok(&work, &["release", "upload", "v1.0.0", "tool.bin", "--clobber"]).await;
    gh.ok(&work, &["release", "download", "v1.0.0", "--pattern", "*.bin", "--dir", "got"]).await;
    assert_eq!(std::fs::read(work.join("got/tool.bin")).expect("a file"), vec![8u8; 2000]);
    gh.ok(&work, &["release", "delete-asset", "v1.0.0", "tool.bin", "--yes"]).await;
    server.stop().await;
}
