//! Real git against the forge over HTTP.

mod support;

use std::collections::BTreeMap;

use forge::Access;
use support::Server;

#[tokio::test]
async fn a_push_moves_refs_and_is_told_of() {
    let server = Server::start().await;
    let url = server.authenticated("acme/widgets");
    let work = server.work("one");
    server.git(&work, &["init", "-q", "-b", "trunk"]).await;
    server.commit(&work, "a.txt", "one\n", "first").await;
    let out = server.git(&work, &["push", &url, "trunk"]).await;
    assert!(out.contains("[new branch]"), "{out}");
    let repo = server.forge.repository("acme/widgets").await.expect("reads").expect("exists");
    assert_eq!(repo.default_branch, "trunk", "the first push decides");

    let hooks = server.forge.webhooks();
    let create = hooks.next().await.expect("a webhook");
    assert_eq!((create.event.as_str(), &create.payload["ref"]), ("create", &"trunk".into()));
    let push = hooks.next().await.expect("a webhook");
    assert_eq!(push.event, "push");
    assert_eq!(push.payload["ref"], "refs/heads/trunk");
    assert_eq!(push.payload["created"], true);
    assert_eq!(push.payload["commits"][0]["added"][0], "a.txt");
    assert_eq!(push.payload["repository"]["full_name"], "acme/widgets");
    assert_eq!(push.payload["pusher"]["name"], "owner");
    assert_eq!(push.actor_run, None);
    hooks.done(create.id).await.expect("acknowledges");

    server.commit(&work, "a.txt", "two\n", "second").await;
    server.git(&work, &["push", &url, "trunk"]).await;
    let push = hooks.next().await.expect("a webhook");
    assert_eq!(push.payload["commits"].as_array().map(Vec::len), Some(1));
    assert_eq!(push.payload["commits"][0]["modified"][0], "a.txt");
    assert_eq!(push.payload["forced"], false);

    server.git(&work, &["commit", "-q", "--amend", "-m", "rewritten"]).await;
    let refused = server.git_fails(&work, &["push", &url, "trunk"]).await;
    assert!(refused.contains("rejected"), "{refused}");
    server.git(&work, &["push", "-f", &url, "trunk"]).await;
    let push = hooks.next().await.expect("a webhook");
    assert_eq!(push.payload["forced"], true);

    let copy = server.work("copy");
    server.git(&copy, &["clone", "-q", &server.anonymous("acme/widgets"), "."]).await;
    assert_eq!(std::fs::read_to_string(copy.join("a.txt")).expect("a file"), "two\n");
    server.stop().await;
}

#[tokio::test]
async fn clones_may_be_shallow_partial_and_of_any_version() {
    let server = Server::start().await;
    let url = server.authenticated("acme/widgets");
    let work = server.work("one");
    server.git(&work, &["init", "-q", "-b", "main"]).await;
    for n in 0..20 {
        server.commit(&work, "a.txt", &format!("{n}\n"), &format!("commit {n}")).await;
    }
    server.git(&work, &["push", &url, "main"]).await;
    let source = server.anonymous("acme/widgets");
    let shallow = server.work("shallow");
    server.git(&shallow, &["clone", "-q", "--depth", "1", &source, "."]).await;
    assert_eq!(server.git(&shallow, &["rev-list", "--count", "HEAD"]).await.trim(), "1");
    server.git(&shallow, &["fetch", "-q", "--unshallow"]).await;
    assert_eq!(server.git(&shallow, &["rev-list", "--count", "HEAD"]).await.trim(), "20");
    let partial = server.work("partial");
    server.git(&partial, &["clone", "-q", "--filter=blob:none", "--no-checkout", &source, "."]).await;
    let missing = server.git(&partial, &["rev-list", "--objects", "--missing=print", "HEAD"]).await;
    assert_eq!(missing.lines().filter(|line| line.starts_with('?')).count(), 20);
    for version in ["0", "1", "2"] {
        let dir = server.work(&format!("v{version}"));
        server.git(&dir, &["-c", &format!("protocol.version={version}"), "clone", "-q", &source, "."]).await;
    }
    // A single commit by its id, as actions/checkout fetches it.
    let id = server.git(&work, &["rev-parse", "HEAD~3"]).await;
    let one = server.work("by-id");
    server.git(&one, &["init", "-q"]).await;
    server.git(&one, &["fetch", "-q", "--depth=1", &source, id.trim()]).await;
    server.stop().await;
}

#[tokio::test]
async fn tokens_decide_who_may_what() {
    let server = Server::start().await;
    let work = server.work("one");
    server.git(&work, &["init", "-q", "-b", "main"]).await;
    server.commit(&work, "a.txt", "one\n", "first").await;
    let anonymous = server.git_fails(&work, &["push", &server.anonymous("acme/widgets"), "main"]).await;
    assert!(anonymous.contains("could not read Username") || anonymous.contains("Authentication"), "{anonymous}");
    let wrong = server.git_fails(&work, &["push", &server.with_token("acme/widgets", "ghp_wrong"), "main"]).await;
    assert!(wrong.contains("Invalid username or token"), "{wrong}");
    let read = BTreeMap::from([("contents".to_owned(), Access::Read)]);
    let token = server.forge.mint_job_token("acme/widgets", read, "run-7").await.expect("a token");
    let denied = server.git_fails(&work, &["push", &server.with_token("acme/widgets", &token), "main"]).await;
    assert!(denied.contains("Permission to acme/widgets.git denied to github-actions[bot]."), "{denied}");
    assert!(denied.contains("403"), "{denied}");
    let write = BTreeMap::from([("contents".to_owned(), Access::Write)]);
    let token = server.forge.mint_job_token("acme/widgets", write, "run-8").await.expect("a token");
    server.git(&work, &["push", &server.with_token("acme/widgets", &token), "main"]).await;
    let hooks = server.forge.webhooks();
    let _create = hooks.next().await.expect("a webhook");
    let push = hooks.next().await.expect("a webhook");
    assert_eq!(push.actor_run.as_deref(), Some("run-8"));
    assert_eq!(push.payload["sender"]["login"], "github-actions[bot]");
    server.forge.revoke_token(&token).await.expect("revokes");
    server.commit(&work, "a.txt", "two\n", "second").await;
    server.git_fails(&work, &["push", &server.with_token("acme/widgets", &token), "main"]).await;
    server.stop().await;
}

#[tokio::test]
async fn protected_branches_keep_their_history() {
    let server = Server::start().await;
    let url = server.authenticated("acme/widgets");
    let work = server.work("one");
    server.git(&work, &["init", "-q", "-b", "main"]).await;
    server.commit(&work, "a.txt", "one\n", "first").await;
    server.git(&work, &["push", "-q", &url, "main", "main:other"]).await;
    for branch in ["main", "other"] {
        let protection = forge::Protection {
            branch: branch.into(),
            allow_force_pushes: false,
            allow_deletions: false,
            required_contexts: Vec::new(),
            require_pull_request: false,
            required_approvals: 0,
            strict: false,
            enforce_admins: false,
        };
        server.forge.protect("acme/widgets", protection).await.expect("protects");
    }
    server.commit(&work, "a.txt", "two\n", "second").await;
    server.git(&work, &["push", &url, "main"]).await;
    server.git(&work, &["commit", "-q", "--amend", "-m", "rewritten"]).await;
    let refused = server.git_fails(&work, &["push", "-f", &url, "main"]).await;
    assert!(refused.contains("GH006") && refused.contains("Cannot force-push to this branch"), "{refused}");
    let refused = server.git_fails(&work, &["push", &url, ":other"]).await;
    assert!(refused.contains("Cannot delete this branch"), "{refused}");
    let refused = server.git_fails(&work, &["push", &url, "main:refs/pull/1/head"]).await;
    assert!(refused.contains("hidden ref"), "{refused}");
    server.stop().await;
}

#[tokio::test]
async fn the_listener_writes_to_the_pushers_terminal() {
    use futures::FutureExt;
    struct Tells;
    impl forge::PushListener for Tells {
        fn pushed(&self, push: forge::Push, output: forge::PushOutput) -> futures::future::BoxFuture<'static, ()> {
            async move {
                output.line(format!("{} refs by {}", push.updates.len(), push.actor)).await;
                output.line("job tests failed: bigben logs 7").await;
            }
            .boxed()
        }
    }
    let server = Server::start().await;
    server.forge.set_push_listener(std::sync::Arc::new(Tells));
    let work = server.work("one");
    server.git(&work, &["init", "-q", "-b", "main"]).await;
    server.commit(&work, "a.txt", "one\n", "first").await;
    let out = server.git(&work, &["push", &server.authenticated("acme/widgets"), "main"]).await;
    assert!(out.contains("remote: 1 refs by owner"), "{out}");
    assert!(out.contains("remote: job tests failed: bigben logs 7"), "{out}");
    assert!(out.contains("[new branch]"), "{out}");
    server.stop().await;
}

#[tokio::test]
async fn what_git_moved_before_a_kill_is_told_of_on_opening() {
    let server = Server::start().await;
    let work = server.work("one");
    server.git(&work, &["init", "-q", "-b", "main"]).await;
    server.commit(&work, "a.txt", "one\n", "first").await;
    server.git(&work, &["push", "-q", &server.authenticated("acme/widgets"), "main"]).await;
    let hooks = server.forge.webhooks();
    for _ in 0..2 {
        let webhook = hooks.next().await.expect("a webhook");
        hooks.done(webhook.id).await.expect("acknowledges");
    }
    // Git moves a ref and the process dies before it can say so.
    let repository = server.forge.git("acme/widgets").await.expect("a repository");
    let old = repository.rev_parse("refs/heads/main").await.expect("reads").expect("exists");
    let who = git::Identity::new("a", "a@example.org");
    let file = [("b.txt".to_owned(), Some(b"b".to_vec()))];
    let new = repository.commit_files(Some(&old), &file, "unseen", &who).await.expect("commits");
    assert!(repository.update_ref("refs/heads/main", &new, Some(&old)).await.expect("moves"));
    drop(hooks);
    let server = server.restart().await;
    let webhook = server.forge.webhooks().next().await.expect("a webhook");
    assert_eq!(webhook.event, "push");
    assert_eq!(webhook.payload["before"], old.as_str());
    assert_eq!(webhook.payload["after"], new.as_str());
    // Not acknowledged: given again after another restart, and only once.
    let server = server.restart().await;
    let hooks = server.forge.webhooks();
    let again = hooks.next().await.expect("a webhook");
    assert_eq!(again.id, webhook.id);
    assert_eq!(hooks.try_next().await.expect("reads"), None);
    server.stop().await;
}

#[tokio::test]
async fn hostile_requests_are_refused() {
    let server = Server::start().await;
    let client = server.client();
    let base = server.base();
    let push = format!("{base}/acme/widgets.git/git-receive-pack");
    for (body, expected) in [
        (&b"not a pkt-line"[..], 400),
        (b"0003", 400),
        (b"ffff", 400),
        (b"", 400),
        (b"00100000000000000000000000000000", 400),
    ] {
        let response =
            client.post(&push).basic_auth("x", Some(&server.token)).body(body.to_vec()).send().await.expect("answers");
        assert_eq!(response.status().as_u16(), expected, "{:?}", String::from_utf8_lossy(body));
    }
    let response = client
        .post(&push)
        .basic_auth("x", Some(&server.token))
        .header("content-encoding", "gzip")
        .body("not gzip")
        .send()
        .await
        .expect("answers");
    assert_eq!(response.status().as_u16(), 400);
    for path in ["/acme/widgets/info/refs", "/acme/widgets/info/refs?service=git-shell"] {
        assert_eq!(client.get(format!("{base}{path}")).send().await.expect("answers").status().as_u16(), 403);
    }
    for path in
        ["/acme/..%2f..%2fetc/info/refs?service=git-upload-pack", "/acme/none/info/refs?service=git-upload-pack"]
    {
        let status = client.get(format!("{base}{path}")).send().await.expect("answers").status().as_u16();
        assert_eq!(status, 401, "{path}");
    }
    server.stop().await;
}
