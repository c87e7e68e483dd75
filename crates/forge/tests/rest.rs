//! REST and webhooks over HTTP.

mod support;

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use forge::Access;
use serde_json::{Value, json};
use support::Server;

struct Api<'a> {
    server: &'a Server,
    client: reqwest::Client,
    token: String,
}

impl<'a> Api<'a> {
    fn new(server: &'a Server) -> Self {
        Self { server, client: server.client(), token: server.token.clone() }
    }

    fn with(&self, token: &str) -> Self {
        Self { server: self.server, client: self.client.clone(), token: token.to_owned() }
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}/api/v3{path}", self.server.base());
        let mut request = self.client.request(method.parse().expect("a method"), url);
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("answers");
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, value) = self.call("GET", path, None).await;
        assert_eq!(status, 200, "GET {path}: {value}");
        value
    }

    async fn send(&self, method: &str, path: &str, body: Value, expected: u16) -> Value {
        let (status, value) = self.call(method, path, Some(body)).await;
        assert_eq!(status, expected, "{method} {path}: {value}");
        value
    }
}

const R: &str = "/repos/acme/widgets";

async fn put(api: &Api<'_>, path: &str, text: &str, sha: Option<&str>, expected: u16) -> Value {
    let mut body = json!({"message": format!("write {path}"), "content": BASE64_STANDARD.encode(text)});
    if let Some(sha) = sha {
        body["sha"] = json!(sha);
    }
    api.send("PUT", &format!("{R}/contents/{path}"), body, expected).await
}

#[tokio::test]
async fn files_commits_and_refs() {
    let server = Server::start().await;
    let api = Api::new(&server);
    let made = put(&api, "docs/a.txt", "one\n", None, 201).await;
    let first = made["commit"]["sha"].as_str().expect("an id").to_owned();
    put(&api, "docs/a.txt", "two\n", None, 422).await;
    put(&api, "docs/a.txt", "two\n", Some(&"0".repeat(40)), 409).await;
    let blob = made["content"]["sha"].as_str().expect("an id");
    let made = put(&api, "docs/a.txt", "two\n", Some(blob), 200).await;
    let second = made["commit"]["sha"].as_str().expect("an id").to_owned();
    let file = api.get(&format!("{R}/contents/docs/a.txt")).await;
    assert_eq!(file["content"], "dHdvCg==\n");
    assert_eq!(api.get(&format!("{R}/contents/docs")).await[0]["path"], "docs/a.txt");
    let commits = api.get(&format!("{R}/commits")).await;
    assert_eq!((commits.as_array().map(Vec::len), &commits[0]["sha"]), (Some(2), &json!(second)));
    let one = api.get(&format!("{R}/commits/main")).await;
    assert_eq!(one["files"][0]["patch"], "@@ -1 +1 @@\n-one\n+two");
    let compared = api.get(&format!("{R}/compare/{first}...main")).await;
    assert_eq!((&compared["status"], &compared["ahead_by"]), (&json!("ahead"), &json!(1)));
    let tree = api.get(&format!("{R}/git/trees/main?recursive=1")).await;
    assert_eq!(tree["tree"].as_array().map(Vec::len), Some(2));

    // A commit made of its parts, as bots make them.
    let blob = api.send("POST", &format!("{R}/git/blobs"), json!({"content": "x", "encoding": "utf-8"}), 201).await;
    let entry = json!({"path": "bin/run", "mode": "100755", "type": "blob", "sha": blob["sha"]});
    let tree =
        api.send("POST", &format!("{R}/git/trees"), json!({"base_tree": tree["sha"], "tree": [entry]}), 201).await;
    let body = json!({"message": "made", "tree": tree["sha"], "parents": [second]});
    let commit = api.send("POST", &format!("{R}/git/commits"), body, 201).await;
    let sha = commit["sha"].as_str().expect("an id");
    api.send("POST", &format!("{R}/git/refs"), json!({"ref": "refs/heads/bots/one", "sha": sha}), 201).await;
    api.send("POST", &format!("{R}/git/refs"), json!({"ref": "refs/heads/bots/one", "sha": sha}), 422).await;
    assert_eq!(api.get(&format!("{R}/git/ref/heads/bots/one")).await["object"]["sha"], sha);
    assert_eq!(api.get(&format!("{R}/branches/bots%2Fone")).await["commit"]["sha"], sha);
    api.send("PATCH", &format!("{R}/git/refs/heads/bots/one"), json!({"sha": first}), 422).await;
    api.send("PATCH", &format!("{R}/git/refs/heads/bots/one"), json!({"sha": first, "force": true}), 200).await;
    api.send("DELETE", &format!("{R}/git/refs/heads/main"), Value::Null, 422).await;
    api.send("DELETE", &format!("{R}/git/refs/heads/bots/one"), Value::Null, 204).await;
    let body = json!({"tag": "v1", "message": "one", "object": first, "type": "commit"});
    let tag = api.send("POST", &format!("{R}/git/tags"), body, 201).await;
    api.send("POST", &format!("{R}/git/refs"), json!({"ref": "refs/tags/v1", "sha": tag["sha"]}), 201).await;
    assert_eq!(api.get(&format!("{R}/tags")).await[0]["commit"]["sha"], first.as_str());
    for (path, status) in [
        ("/contents/none", 404),
        ("/commits/none", 422),
        ("/git/trees/none", 404),
        ("/branches/none", 404),
        ("/nothing", 404),
    ] {
        assert_eq!(api.call("GET", &format!("{R}{path}"), None).await.0, status, "{path}");
    }
    // Every ref update was told of.
    let hooks = server.forge.webhooks();
    let mut pushes = Vec::new();
    while let Some(webhook) = hooks.try_next().await.expect("reads") {
        if webhook.event == "push" {
            pushes.push(webhook.payload["ref"].as_str().expect("a ref").to_owned());
        }
    }
    let bot = "refs/heads/bots/one";
    assert_eq!(pushes, ["refs/heads/main", "refs/heads/main", bot, bot, bot, "refs/tags/v1"]);
    server.stop().await;
}

#[tokio::test]
async fn job_tokens_do_what_they_may() {
    let server = Server::start().await;
    let api = Api::new(&server);
    let made = put(&api, "a.txt", "one\n", None, 201).await;
    let sha = made["commit"]["sha"].as_str().expect("an id");
    let permissions = BTreeMap::from([("contents".to_owned(), Access::Read), ("statuses".to_owned(), Access::Write)]);
    let token = server.forge.mint_job_token("acme/widgets", permissions, "9").await.expect("a token");
    let job = api.with(&token);
    job.get(&format!("{R}/contents/a.txt")).await;
    job.send("POST", &format!("{R}/statuses/{sha}"), json!({"state": "success", "context": "ci"}), 201).await;
    assert_eq!(api.get(&format!("{R}/commits/main/status")).await["state"], "success");
    let denied = job.send("PUT", &format!("{R}/contents/b.txt"), json!({"message": "m", "content": ""}), 403).await;
    assert_eq!(denied["message"], "Resource not accessible by integration");
    for (method, path) in [("POST", "/releases"), ("GET", "/actions/secrets"), ("POST", "/dispatches"), ("DELETE", "")]
    {
        job.send(method, &format!("{R}{path}"), json!({}), 403).await;
    }
    assert_eq!(api.with("ghs_nonsense").call("GET", R, None).await.0, 401);
    assert_eq!(api.with("").call("GET", R, None).await.0, 200, "anybody reads what is public");
    assert_eq!(api.with("").call("POST", &format!("{R}/releases"), Some(json!({}))).await.0, 401);
    server.stop().await;
}

#[tokio::test]
async fn pull_requests_from_forks_and_into_protected_branches() {
    let server = Server::start().await;
    let owner = Api::new(&server);
    put(&owner, "a.txt", "one\n", None, 201).await;
    server.forge.create_user("guest", "A Guest", "guest@example.org", false).await.expect("a user");
    let guest = owner.with(&server.forge.create_token("guest").await.expect("a token"));
    guest.send("PUT", &format!("{R}/contents/b.txt"), json!({"message": "m", "content": ""}), 403).await;
    guest.send("POST", &format!("{R}/forks"), json!({}), 202).await;
    let body = json!({"message": "better", "content": BASE64_STANDARD.encode("two\n"), "branch": "main"});
    guest.send("PUT", "/repos/guest/widgets/contents/b.txt", body, 201).await;
    let body = json!({"title": "Better", "head": "guest:main", "base": "main"});
    let pull = guest.send("POST", &format!("{R}/pulls"), body.clone(), 201).await;
    assert_eq!(pull["head"]["repo"]["full_name"], "guest/widgets");
    assert_eq!(pull["mergeable"], true);
    let again = guest.send("POST", &format!("{R}/pulls"), body, 422).await;
    assert!(again["errors"][0]["message"].as_str().expect("text").contains("already exists"), "{again}");
    // A push to the fork moves the pull request.
    let body = json!({"message": "more", "content": BASE64_STANDARD.encode("three\n")});
    let pushed = guest.send("PUT", "/repos/guest/widgets/contents/c.txt", body, 201).await;
    let pull = guest.get(&format!("{R}/pulls/1")).await;
    assert_eq!(
        (&pull["head"]["sha"], &pull["commits"], &pull["changed_files"]),
        (&pushed["commit"]["sha"], &json!(2), &json!(2))
    );
    assert_eq!(owner.get(&format!("{R}/git/ref/pull/1/head")).await["object"]["sha"], pushed["commit"]["sha"]);
    // Protection: a check must have succeeded, even for administrators.
    let rules = json!({
        "required_status_checks": {"strict": false, "contexts": ["ci"]}, "enforce_admins": true,
        "required_pull_request_reviews": null, "restrictions": null,
    });
    owner.send("PUT", &format!("{R}/branches/main/protection"), rules, 200).await;
    let refused = owner.send("PUT", &format!("{R}/pulls/1/merge"), json!({}), 405).await;
    assert_eq!(refused["message"], "Required status check \"ci\" is expected.");
    let sha = pull["head"]["sha"].as_str().expect("an id");
    owner.send("POST", &format!("{R}/statuses/{sha}"), json!({"state": "success", "context": "ci"}), 201).await;
    guest.send("PUT", &format!("{R}/pulls/1/merge"), json!({}), 403).await;
    owner.send("PUT", &format!("{R}/pulls/1/merge"), json!({"sha": "0".repeat(40)}), 409).await;
    let merged = owner.send("PUT", &format!("{R}/pulls/1/merge"), json!({"merge_method": "rebase"}), 200).await;
    assert_eq!(merged["merged"], true);
    let log = owner.get(&format!("{R}/commits")).await;
    assert_eq!((&log[0]["commit"]["message"], &log[1]["commit"]["message"]), (&json!("more"), &json!("better")));
    owner.send("PUT", &format!("{R}/pulls/1/merge"), json!({}), 405).await;
    let hooks = server.forge.webhooks();
    let mut actions = Vec::new();
    while let Some(webhook) = hooks.try_next().await.expect("reads") {
        if webhook.event == "pull_request" {
            actions.push(webhook.payload["action"].as_str().expect("an action").to_owned());
        }
    }
    assert_eq!(actions, ["opened", "synchronize", "closed"]);
    server.stop().await;
}

#[tokio::test]
async fn conflicts_are_said_and_not_merged() {
    let server = Server::start().await;
    let api = Api::new(&server);
    let made = put(&api, "a.txt", "one\n", None, 201).await;
    let (sha, blob) = (&made["commit"]["sha"], &made["content"]["sha"]);
    api.send("POST", &format!("{R}/git/refs"), json!({"ref": "refs/heads/other", "sha": sha}), 201).await;
    for (branch, text) in [("main", "left\n"), ("other", "right\n")] {
        let body = json!({"message": branch, "content": BASE64_STANDARD.encode(text), "sha": blob, "branch": branch});
        api.send("PUT", &format!("{R}/contents/a.txt"), body, 200).await;
    }
    let body = json!({"title": "T", "head": "other", "base": "main"});
    let pull = api.send("POST", &format!("{R}/pulls"), body, 201).await;
    assert_eq!((&pull["mergeable"], &pull["mergeable_state"]), (&json!(false), &json!("dirty")));
    for method in ["merge", "squash", "rebase"] {
        api.send("PUT", &format!("{R}/pulls/1/merge"), json!({"merge_method": method}), 405).await;
    }
    for (head, base) in [("none", "main"), ("other", "none"), ("main", "main")] {
        api.send("POST", &format!("{R}/pulls"), json!({"title": "T", "head": head, "base": base}), 422).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn dispatches_become_events() {
    let server = Server::start().await;
    let api = Api::new(&server);
    put(&api, ".github/workflows/go.yaml", "on: workflow_dispatch\n", None, 201).await;
    let hooks = server.forge.webhooks();
    while hooks.try_next().await.expect("reads").is_some() {}
    api.send("POST", &format!("{R}/dispatches"), json!({"event_type": "go", "client_payload": {"a": 1}}), 204).await;
    let path = format!("{R}/actions/workflows/go.yaml/dispatches");
    api.send("POST", &path, json!({"ref": "main", "inputs": {"x": "y"}}), 204).await;
    api.send("POST", &path, json!({"ref": "none"}), 422).await;
    api.send("POST", &format!("{R}/actions/workflows/none.yaml/dispatches"), json!({"ref": "main"}), 404).await;
    let first = hooks.next().await.expect("a webhook");
    assert_eq!((first.event.as_str(), &first.payload["client_payload"]["a"]), ("repository_dispatch", &json!(1)));
    let second = hooks.next().await.expect("a webhook");
    assert_eq!(second.payload["workflow"], ".github/workflows/go.yaml");
    assert_eq!((&second.payload["ref"], &second.payload["inputs"]["x"]), (&json!("refs/heads/main"), &json!("y")));
    server.stop().await;
}

#[tokio::test]
async fn http_hooks_are_signed_and_tried_again() {
    use axum::extract::State;
    use tokio::sync::watch;
    type Seen = Vec<(String, String, Vec<u8>)>;
    async fn take(
        State(seen): State<watch::Sender<Seen>>,
        headers: http::HeaderMap,
        body: bytes::Bytes,
    ) -> http::StatusCode {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        let first_push = text("x-github-event") == "push" && !seen.borrow().iter().any(|(event, ..)| event == "push");
        seen.send_modify(|seen| seen.push((text("x-github-event"), text("x-hub-signature-256"), body.to_vec())));
        if first_push { http::StatusCode::SERVICE_UNAVAILABLE } else { http::StatusCode::OK }
    }
    let sender = watch::Sender::new(Seen::new());
    let mut seen = sender.subscribe();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let router = axum::Router::new().route("/hook", axum::routing::post(take)).with_state(sender);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.expect("serves") });

    let server = Server::start().await;
    let api = Api::new(&server);
    let config = json!({"url": url, "content_type": "json", "secret": "It's a Secret to Everybody"});
    let hook = api.send("POST", &format!("{R}/hooks"), json!({"config": config, "events": ["push"]}), 201).await;
    put(&api, "a.txt", "one\n", None, 201).await;
    async fn pushes(seen: &mut watch::Receiver<Seen>, count: usize) {
        let enough = |seen: &Seen| seen.iter().filter(|(event, ..)| event == "push").count() == count;
        let waited = tokio::time::timeout(std::time::Duration::from_secs(120), seen.wait_for(enough)).await;
        waited.expect("in time").expect("the receiver lives");
    }
    pushes(&mut seen, 2).await;
    // When a later one arrives, those before it are recorded.
    put(&api, "b.txt", "two\n", None, 201).await;
    pushes(&mut seen, 3).await;
    let list = api.get(&format!("{R}/hooks/{}/deliveries", hook["id"])).await;
    let done = |event: &str, again: bool| {
        let mut all = list.as_array().expect("a list").iter();
        all.any(|one| one["event"] == event && one["status"] == "OK" && one["redelivery"] == again)
    };
    assert!(done("ping", false) && done("push", true), "{list}");
    let seen = seen.borrow().clone();
    let events: Vec<&str> = seen.iter().map(|(event, ..)| event.as_str()).collect();
    assert_eq!(events.iter().filter(|event| **event == "push").count(), 3, "{events:?}");
    assert!(!events.contains(&"create"), "only what was asked for");
    // The signature by an implementation that is not ours.
    let (_, signature, body) = seen.iter().find(|(event, ..)| event == "push").expect("a push");
    let mut child = std::process::Command::new("python3")
        .args(["-c", "import sys,hmac;print('sha256='+hmac.new(b\"It's a Secret to Everybody\",sys.stdin.buffer.read(),'sha256').hexdigest())"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python runs");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), body).expect("writes");
    let output = child.wait_with_output().expect("ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), signature);
    server.stop().await;
}

#[tokio::test]
async fn many_who_push_at_once_lose_nothing() {
    let server = Server::start().await;
    let api = Api::new(&server);
    put(&api, "start.txt", "0", None, 201).await;
    let hooks = server.forge.webhooks();
    while hooks.try_next().await.expect("reads").is_some() {}
    let server = std::sync::Arc::new(server);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..4 {
        let server = server.clone();
        tasks.spawn(async move {
            let work = server.work(&format!("clone-{n}"));
            let url = server.authenticated("acme/widgets");
            server.git(&work, &["clone", "-q", &url, "."]).await;
            for round in 0..3 {
                server.commit(&work, &format!("{n}-{round}.txt"), "x", &format!("{n} {round}")).await;
                // As jobs do: on top of whatever landed, without force.
                loop {
                    let (ok, _) = server.try_git(&work, &["push", "-q", "origin", "HEAD:main"]).await;
                    if ok {
                        break;
                    }
                    server.git(&work, &["pull", "-q", "--rebase", "origin", "main"]).await;
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("ends well");
    }
    let repository = server.forge.git("acme/widgets").await.expect("a repository");
    assert_eq!(repository.count("refs/heads/main").await.expect("counts"), 13);
    // Every update was told of once, and each begins where the one before it ended.
    let mut at = None;
    let mut commits = 0;
    while let Some(webhook) = hooks.try_next().await.expect("reads") {
        assert_eq!(webhook.event, "push");
        let before = webhook.payload["before"].as_str().expect("an id").to_owned();
        if let Some(at) = &at {
            assert_eq!(&before, at);
        }
        at = webhook.payload["after"].as_str().map(str::to_owned);
        commits += webhook.payload["commits"].as_array().map_or(0, Vec::len);
    }
    assert_eq!(at, repository.rev_parse("refs/heads/main").await.expect("reads"));
    assert_eq!(commits, 12);
}
