//! The pages over HTTP: who may see them, what they show, what the buttons do, how they stay live.

mod support;

use std::sync::Arc;
use std::time::Duration;

use console::{Change, Console};
use futures::StreamExt;
use support::Fake;
use tokio_util::sync::CancellationToken;

struct Browser {
    client: reqwest::Client,
    base: String,
    cookie: String,
    fake: Arc<Fake>,
    _server: tokio::task::JoinSet<()>,
}

impl Browser {
    async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let fake = Arc::new(Fake::new());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Console::new(fake.clone(), CancellationToken::new()).router();
        let mut server = tokio::task::JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.expect("serves") });
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(120))
            .build()
            .expect("a client");
        Self { client, base, cookie: String::new(), fake, _server: server }
    }

    async fn signed_in() -> Self {
        let mut browser = Self::new().await;
        let answer = browser.post("/login", &[("user", "admin"), ("password", "tower"), ("to", "/runs")]).await;
        assert_eq!(answer.status(), 303);
        assert_eq!(answer.headers()["location"], "/runs");
        let cookie = answer.headers()["set-cookie"].to_str().expect("text").to_owned();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
        browser.cookie = cookie.split(';').next().expect("a pair").to_owned();
        browser
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        let request = self.client.get(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        request.send().await.expect("answers")
    }

    async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert!(answer.headers()["content-security-policy"].to_str().expect("text").contains("script-src 'self'"));
        let text = answer.text().await.expect("text");
        assert!(!text.contains("style=\""), "{path} has a style that the policy forbids");
        text
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> reqwest::Response {
        let request = self.client.post(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        request.form(form).send().await.expect("answers")
    }

    async fn csrf(&self) -> String {
        let page = self.page("/applications").await;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a token");
        rest.split('"').next().expect("an end").to_owned()
    }
}

#[tokio::test]
async fn only_who_signed_in_sees_anything() {
    let browser = Browser::new().await;
    for path in ["/", "/applications", "/runs/12", "/applications/cart/diff"] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status(), 303, "{path}");
        assert!(answer.headers()["location"].to_str().expect("text").starts_with("/login"));
    }
    assert_eq!(browser.get("/events").await.status(), 401);
    assert_eq!(browser.post("/applications/cart/sync", &[]).await.status(), 401);
    let wrong = browser.post("/login", &[("user", "admin"), ("password", "guess")]).await;
    assert_eq!(wrong.status(), 401);
    assert!(wrong.text().await.expect("text").contains("Wrong user or password"));
    for asset in ["style.css", "console.js", "icon.svg"] {
        assert_eq!(browser.get(&format!("/assets/{asset}")).await.status(), 200);
    }
    let mut last = 0;
    for _ in 0..12 {
        last = browser.post("/login", &[("user", "admin"), ("password", "guess")]).await.status().as_u16();
    }
    assert_eq!(last, 429);
}

#[tokio::test]
async fn pages_show_what_the_backend_has() {
    let browser = Browser::signed_in().await;
    for (path, expected) in [
        ("/", &["Lead time", "cart", "Greet people by their name", "acme/shop", "Registry"][..]),
        ("/applications", &["2 of 4 healthy", "OutOfSync", "exceeded its progress deadline", "shop-checkout:1234567"]),
        ("/applications/cart", &["ReplicaSet", "CrashLoopBackOff", "1/1", "APP_PORT is not a port", "absent"]),
        (
            "/applications/checkout/diff",
            &["- ", "replicas: 1", "replicas: 2", "not in the cluster", "2 of 3 resources"],
        ),
        ("/applications/cart/history", &["12e4567", "current", "Roll back", "by admin"]),
        ("/applications/cart/manifest", &["kind: Application", "targetRevision: main"]),
        ("/deliveries", &["Revert: round prices", "46.9 s", "Change failures"]),
        (&format!("/deliveries/{}", support::COMMIT), &["tests (checkout)", "/runs/11", "b0b0b0b"]),
        (&format!("/deliveries/{}", support::BUMP), &["Greet people by their name"]),
        ("/deliveries/feedfee", &["test totals::rounds failed"]),
        ("/runs", &["Build and publish", "release", "Cancelled"]),
        ("/runs/10", &["Re-run failed jobs", "cargo test --locked", "tests (checkout)"]),
        ("/runs/12", &["Cancel", "/runs/12/jobs/31"]),
        ("/runs/12/jobs/31", &["02:52:49", "FAILED", "&lt;script&gt;", "data-log=\"/jobs/31/log?from="]),
    ] {
        let page = browser.page(path).await;
        for text in expected {
            assert!(page.contains(text), "{path} lacks {text:?}:\n{page}");
        }
        assert!(!page.contains("<script>alert"), "{path}");
    }
    for path in ["/applications/none", "/deliveries/none", "/runs/99", "/runs/12/jobs/99"] {
        assert_eq!(browser.get(path).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn buttons_act_only_with_the_sessions_token() {
    let browser = Browser::signed_in().await;
    let csrf = browser.csrf().await;
    for (path, form) in
        [("/applications/cart/sync", vec![]), ("/runs/12/cancel", vec![("csrf", "guess")]), ("/logout", vec![])]
    {
        assert_eq!(browser.post(path, &form).await.status(), 409, "{path}");
    }
    assert!(browser.fake.done.lock().expect("not poisoned").is_empty());
    let token = ("csrf", csrf.as_str());
    for (path, form) in [
        ("/applications/cart/sync", vec![token, ("prune", "1")]),
        ("/applications/cart/refresh", vec![token, ("hard", "1")]),
        ("/runs/10/rerun", vec![token, ("failed", "1")]),
        ("/runs/12/cancel", vec![token]),
    ] {
        assert_eq!(browser.post(path, &form).await.status(), 303, "{path}");
    }
    let rolled = browser.post("/applications/cart/rollback", &[token, ("id", "0")]).await;
    assert!(rolled.text().await.expect("text").contains("Commit b0b0b0b reverts cart to 12e4567."));
    let done = browser.fake.done.lock().expect("not poisoned").clone();
    assert_eq!(
        done,
        ["sync cart prune=true", "refresh cart hard=true", "rerun 10 failed=true", "cancel 12", "rollback cart 0"]
    );
    let refused = browser.post("/runs/9/cancel", &[token]).await;
    assert_eq!(refused.status(), 409);
    assert!(refused.text().await.expect("text").contains("is completed"));
    let elsewhere = browser
        .client
        .post(format!("{}/runs/12/cancel", browser.base))
        .header("cookie", &browser.cookie)
        .header("sec-fetch-site", "cross-site")
        .form(&[token])
        .send()
        .await
        .expect("answers");
    assert_eq!(elsewhere.status(), 409);
    assert_eq!(browser.post("/logout", &[token]).await.status(), 303);
    assert_eq!(browser.get("/").await.status(), 303);
}

async fn until(
    stream: &mut (impl futures::Stream<Item = reqwest::Result<bytes::Bytes>> + Unpin),
    wanted: &str,
) -> String {
    let mut seen = String::new();
    while !seen.contains(wanted) {
        let chunk = tokio::time::timeout(Duration::from_secs(120), stream.next()).await.expect("in time");
        seen.push_str(&String::from_utf8_lossy(&chunk.expect("more").expect("bytes")));
    }
    seen
}

#[tokio::test]
async fn changes_and_logs_stream() {
    let browser = Browser::signed_in().await;
    let mut events = browser.get("/events").await.bytes_stream();
    browser.fake.changes.send(Change::Log(31)).expect("heard");
    browser.fake.changes.send(Change::Run(12)).expect("heard");
    let seen = until(&mut events, "run:12").await;
    assert!(seen.contains("event: change") && !seen.contains("log:31"), "{seen}");

    let length = browser.fake.log.lock().expect("not poisoned").0.len();
    let mut log = browser.get(&format!("/jobs/31/log?from={length}")).await.bytes_stream();
    browser.fake.append("2026-11-23T02:53:00.0Z one <more>\n", false);
    let seen = until(&mut log, "&lt;more&gt;").await;
    assert!(seen.contains("event: lines"), "{seen}");
    browser.fake.append("2026-11-23T02:53:01.0Z last\n", true);
    let seen = until(&mut log, "event: end").await;
    assert!(seen.contains("last"), "{seen}");
}
