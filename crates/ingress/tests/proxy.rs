//! The whole ingress, from objects to answers.

#[allow(dead_code, reason = "each test file uses its part")]
mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use base64::Engine;
use common::{Api, Ingress, Server, ingress, ready, service, slice};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn json_of(answer: reqwest::Response) -> Value {
    answer.json().await.expect("json")
}

/// Asks until the ingress has seen the last change.
async fn until(client: &reqwest::Client, url: &str, wanted: impl Fn(&reqwest::Response) -> bool) -> reqwest::Response {
    let begun = std::time::Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    while begun.elapsed() < Duration::from_secs(120) {
        tick.tick().await;
        let answer = client.get(url).send().await.expect("answer");
        if wanted(&answer) {
            return answer;
        }
    }
    panic!("{url} never answered as wanted");
}

fn found(answer: &reqwest::Response) -> bool {
    answer.status() == StatusCode::OK
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_adds_headers_and_writes_status() {
    let api = Api::default();
    let server = Server::echo("one").await;
    api.put(service("one"));
    api.put(slice("one", "a", server.address, ready()));
    api.put(ingress("main", json!({"server-snippet": "return 200;"}), "dev.app.local", "/", "one"));
    let first: Arc<Mutex<Vec<ingress::FirstResponse>>> = Arc::default();
    struct Listen(Arc<Mutex<Vec<ingress::FirstResponse>>>);
    impl ingress::Observer for Listen {
        fn first_response(&self, first: &ingress::FirstResponse) {
            self.0.lock().expect("lock").push(first.clone());
        }
    }
    let listen = Arc::new(Listen(Arc::clone(&first)));
    let running = Ingress::start(&api, |config| {
        config.host_aliases = vec![(".localhost".into(), ".local".into())];
        config.observer = Some(listen);
    })
    .await;
    let client = running.client(&["dev.app.local", "dev.app.localhost", "other.test"]);
    for host in ["dev.app.local", "dev.app.localhost"] {
        let answer = client
            .get(running.url(host, "/a%20b?x=1"))
            .header("x-forwarded-for", "6.6.6.6")
            .send()
            .await
            .expect("answer");
        assert_eq!(answer.status(), StatusCode::OK);
        let seen = json_of(answer).await;
        assert_eq!((&seen["name"], &seen["path"]), (&json!("one"), &json!("/a%20b?x=1")));
        let headers = &seen["headers"];
        assert_eq!(headers["host"], format!("{host}:{}", running.http.port()));
        assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
        assert_eq!(headers["x-original-forwarded-for"], "6.6.6.6");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-port"], running.http.port().to_string());
        assert_eq!(headers["x-request-id"].as_str().expect("id").len(), 32);
    }
    assert_eq!(
        client.get(running.url("other.test", "/")).send().await.expect("answer").status(),
        StatusCode::NOT_FOUND
    );
    let told = first.lock().expect("lock").clone();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].service.as_str(), told[0].pod.as_deref()), ("one", Some("one-pod-a")));

    let ingresses = "/apis/networking.k8s.io/v1/ingresses";
    let status = api.until(|api| {
        let found = api.get(ingresses, "n", "main")?["status"]["loadBalancer"]["ingress"].clone();
        found.is_array().then_some(found)
    });
    assert_eq!(status.await, json!([{"hostname": "localhost"}]));
    assert!(api.get("/apis/networking.k8s.io/v1/ingressclasses", "", "nginx").is_some());
    let event = api.until(|api| {
        api.all("/api/v1/events")
            .into_iter()
            .find(|e| e["message"].as_str().is_some_and(|m| m.contains("server-snippet")))
    });
    assert_eq!(event.await["involvedObject"]["name"], "main");
    running.stop().await;
    server.stop().await;
}

/// Clients that never stop asking, while one endpoint after the other is replaced.
async fn rollout(abrupt: bool, ask: fn(&reqwest::Client, String) -> reqwest::RequestBuilder) {
    let api = Api::default();
    api.put(service("app"));
    let mut old = Server::echo("0").await;
    api.put(slice("app", "0", old.address, ready()));
    api.put(ingress("app", json!({}), "app.test", "/", "app"));
    // What is tested is that requests wait for the next table, not how long a slow machine takes to make it.
    let running = Arc::new(Ingress::start(&api, |config| config.patience = Duration::from_secs(120)).await);
    let client = running.client(&["app.test"]);
    until(&client, &running.url("app.test", "/"), found).await;
    let stop = Arc::new(AtomicBool::new(false));
    let counts: Vec<Arc<AtomicU64>> = (0..8).map(|_| Arc::default()).collect();
    let askers: Vec<_> = counts
        .iter()
        .map(|count| {
            let (stop, count, running) = (Arc::clone(&stop), Arc::clone(count), Arc::clone(&running));
            tokio::spawn(async move {
                let client = running.client(&["app.test"]);
                while !stop.load(Ordering::Relaxed) {
                    let answer = ask(&client, running.url("app.test", "/")).send().await.expect("answer");
                    assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap_or_default());
                    answer.bytes().await.expect("whole");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    // So many more for each of them.
    let answers = async |more: u64| {
        let now = |count: &Arc<AtomicU64>| count.load(Ordering::Relaxed);
        let before: Vec<u64> = counts.iter().map(now).collect();
        while counts.iter().zip(&before).any(|(count, before)| now(count) < before + more) {
            tokio::task::yield_now().await;
            assert!(askers.iter().all(|a| !a.is_finished()), "an asker failed");
        }
    };
    for n in 1..=10 {
        let new = Server::echo(&n.to_string()).await;
        // It is still asked while there is no other.
        let ending = json!({"ready": false, "serving": true, "terminating": true});
        api.put(slice("app", &(n - 1).to_string(), old.address, ending));
        api.put(slice("app", &n.to_string(), new.address, ready()));
        if !abrupt {
            // The new table is in use, and every request of before is over, when the old server is told to end.
            let name = json!(n.to_string());
            while json_of(client.get(running.url("app.test", "/")).send().await.expect("answer")).await["name"] != name
            {
            }
            answers(2).await;
        }
        old.stop().await;
        api.delete("/apis/discovery.k8s.io/v1/endpointslices", "n", &format!("app-{}", n - 1));
        old = new;
        answers(5).await;
    }
    stop.store(true, Ordering::Relaxed);
    for asker in askers {
        asker.await.expect("no request failed");
    }
    old.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_loses_no_request() {
    // Even when the server ends before the ingress has heard of it.
    rollout(true, |client, url| client.get(url)).await;
    rollout(false, |client, url| client.post(url).body(vec![1u8; 100_000])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_apart() {
    let api = Api::default();
    let good = Server::echo("good").await;
    // Bound, so that nobody else gets it, and not listening.
    let closed = tokio::net::TcpSocket::new_v4().expect("socket");
    closed.bind("127.0.0.1:0".parse().expect("address")).expect("bind");
    let gone = closed.local_addr().expect("address");
    for name in ["mixed", "empty", "dead", "slow"] {
        api.put(service(name));
        let patience = if name == "slow" { "1" } else { "120" };
        api.put(ingress(
            name,
            json!({"proxy-read-timeout": patience, "proxy-body-size": "1k"}),
            &format!("{name}.test"),
            "/",
            name,
        ));
    }
    api.put(ingress("missing", json!({}), "missing.test", "/", "missing"));
    api.put(slice("mixed", "good", good.address, ready()));
    api.put(slice("mixed", "gone", gone, ready()));
    api.put(slice("empty", "a", gone, json!({"ready": false, "serving": false})));
    api.put(slice("dead", "a", gone, ready()));
    let slow = Server::start(Router::new().route("/", get(std::future::pending::<()>))).await;
    api.put(slice("slow", "a", slow.address, ready()));
    let running = Ingress::start(&api, |_| {}).await;
    let client = running.client(&["mixed.test", "empty.test", "dead.test", "slow.test", "missing.test"]);
    until(&client, &running.url("mixed.test", "/"), found).await;
    for _ in 0..20 {
        // One of two endpoints cannot be reached: the other is taken, bodies included.
        let answer = client.post(running.url("mixed.test", "/")).body("x".repeat(900)).send().await.expect("answer");
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(json_of(answer).await["body"], 900);
    }
    for (host, status, words) in [
        ("empty.test", 503, "no endpoint that is ready"),
        ("missing.test", 503, "does not exist"),
        ("dead.test", 502, "could be reached"),
        ("slow.test", 504, "Gateway Timeout"),
    ] {
        let answer = client.get(running.url(host, "/")).send().await.expect("answer");
        assert_eq!(answer.status().as_u16(), status, "{host}");
        let text = answer.text().await.expect("text");
        assert!(text.contains(words), "{host}: {text}");
    }
    let large = client.post(running.url("mixed.test", "/")).body("x".repeat(2000)).send().await.expect("answer");
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let chunks = futures::stream::iter((0..20).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 100])));
    let large = client
        .post(running.url("mixed.test", "/"))
        .body(reqwest::Body::wrap_stream(chunks))
        .send()
        .await
        .expect("answer");
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_was_closed_is_not_seen_by_the_client() {
    // Answers one request a connection, then closes it without a word.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        }
    });
    let api = Api::default();
    api.put(service("s"));
    api.put(slice("s", "a", address, ready()));
    api.put(ingress("s", json!({}), "s.test", "/", "s"));
    let running = Ingress::start(&api, |_| {}).await;
    let client = running.client(&["s.test"]);
    for _ in 0..50 {
        assert_eq!(client.get(running.url("s.test", "/")).send().await.expect("answer").status(), StatusCode::OK);
    }
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_upgrades() {
    let (sender, receiver) = tokio::sync::mpsc::channel::<String>(4);
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    let events = move || {
        let receiver = receiver.lock().expect("lock").take().expect("one client");
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let frames = futures::StreamExt::map(stream, |text| Ok::<_, std::io::Error>(format!("data: {text}\n\n")));
        async move { ([("content-type", "text/event-stream")], axum::body::Body::from_stream(frames)).into_response() }
    };
    let echo = |upgrade: axum::extract::WebSocketUpgrade| async move {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                if socket.send(message).await.is_err() {
                    break;
                }
            }
        })
    };
    let server = Server::start(Router::new().route("/events", get(events)).route("/ws", get(echo))).await;
    let api = Api::default();
    api.put(service("s"));
    api.put(slice("s", "a", server.address, ready()));
    api.put(ingress("s", json!({}), "s.test", "/", "s"));
    let running = Ingress::start(&api, |_| {}).await;
    let client = running.client(&["s.test"]);

    // Each event comes when it is sent, not when the answer ends.
    let mut answer = until(&client, &running.url("s.test", "/events"), found).await;
    for n in 0..3 {
        sender.send(n.to_string()).await.expect("sent");
        assert_eq!(answer.chunk().await.expect("chunk").expect("event"), format!("data: {n}\n\n").into_bytes());
    }
    drop(sender);
    assert!(answer.chunk().await.expect("end").is_none());

    let mut stream = tokio::net::TcpStream::connect(running.http).await.expect("connect");
    let request = "GET /ws HTTP/1.1\r\nHost: s.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("head"));
    }
    let head = String::from_utf8(head).expect("text");
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    // A masked text frame with "hi", and its echo.
    stream.write_all(&[0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]).await.expect("written");
    let mut echoed = [0; 4];
    stream.read_exact(&mut echoed).await.expect("echo");
    assert_eq!(&echoed, &[0x81, 2, b'h', b'i']);
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_do_what_they_say() {
    let api = Api::default();
    let server = Server::echo("main").await;
    let other = Server::echo("other").await;
    for name in ["main", "other"] {
        api.put(service(name));
    }
    api.put(slice("main", "a", server.address, ready()));
    api.put(slice("main", "b", other.address, ready()));
    api.put(slice("other", "a", other.address, ready()));
    let encoded = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    api.put(
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "n", "name": "users"}, "type": "Opaque",
                   "data": {"auth": encoded("ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\nbob:$2b$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu\n")}}),
    );
    api.put(ingress("rewrite", json!({"rewrite-target": "/$2"}), "rewrite.test", "/api(/|$)(.*)", "main"));
    api.put(ingress(
        "auth",
        json!({"auth-type": "basic", "auth-secret": "users", "auth-realm": "Here"}),
        "auth.test",
        "/",
        "main",
    ));
    api.put(ingress(
        "cors",
        json!({"enable-cors": "true", "cors-allow-origin": "https://*.a.test"}),
        "cors.test",
        "/",
        "main",
    ));
    api.put(ingress(
        "sticky",
        json!({"affinity": "cookie", "session-cookie-name": "route"}),
        "sticky.test",
        "/",
        "main",
    ));
    api.put(ingress("stable", json!({}), "canary.test", "/", "main"));
    api.put(ingress("canary", json!({"canary": "true", "canary-by-header": "x-canary"}), "canary.test", "/", "other"));
    api.put(ingress("private", json!({"whitelist-source-range": "10.0.0.0/8"}), "private.test", "/", "main"));
    api.put(ingress("moved", json!({"permanent-redirect": "https://new.test/x"}), "moved.test", "/", "main"));
    api.put(ingress("denied", json!({"auth-url": "http://auth"}), "denied.test", "/", "main"));
    let running = Ingress::start(&api, |_| {}).await;
    let hosts = [
        "rewrite.test",
        "auth.test",
        "cors.test",
        "sticky.test",
        "canary.test",
        "private.test",
        "moved.test",
        "denied.test",
    ];
    let client = running.client(&hosts);
    until(&client, &running.url("sticky.test", "/"), found).await;
    let get = |host: &str, path: &str| client.get(running.url(host, path));

    let seen = json_of(get("rewrite.test", "/api/v1/x?q=1").send().await.expect("answer")).await;
    assert_eq!(seen["path"], "/v1/x?q=1");

    let refused = get("auth.test", "/").send().await.expect("answer");
    assert_eq!(
        (refused.status().as_u16(), refused.headers()["www-authenticate"].to_str().expect("text")),
        (401, "Basic realm=\"Here\"")
    );
    for user in ["ann", "bob"] {
        for (password, expected) in [("wrong", StatusCode::UNAUTHORIZED), ("password", StatusCode::OK)] {
            let answer = get("auth.test", "/").basic_auth(user, Some(password)).send().await.expect("answer");
            assert_eq!(answer.status(), expected, "{user} {password}");
        }
    }

    let preflight =
        client.request(reqwest::Method::OPTIONS, running.url("cors.test", "/")).header("origin", "https://x.a.test");
    let preflight = preflight.send().await.expect("answer");
    assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "https://x.a.test");
    let foreign = get("cors.test", "/").header("origin", "https://evil.test").send().await.expect("answer");
    assert!(foreign.headers().get("access-control-allow-origin").is_none());

    let first = get("sticky.test", "/").send().await.expect("answer");
    let cookie = first.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("cookie").to_owned();
    let name = json_of(first).await["name"].clone();
    for _ in 0..10 {
        let again = get("sticky.test", "/").header("cookie", &cookie).send().await.expect("answer");
        assert!(again.headers().get("set-cookie").is_none());
        assert_eq!(json_of(again).await["name"], name);
    }

    let canary = get("canary.test", "/").header("x-canary", "always").send().await.expect("answer");
    assert_eq!(json_of(canary).await["name"], "other");
    assert_eq!(get("private.test", "/").send().await.expect("answer").status(), StatusCode::FORBIDDEN);
    let moved = get("moved.test", "/").send().await.expect("answer");
    assert_eq!(
        (moved.status().as_u16(), &moved.headers()["location"]),
        (301, &http::HeaderValue::from_static("https://new.test/x"))
    );
    assert_eq!(get("denied.test", "/").send().await.expect("answer").status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_by_name_with_redirect_and_h2() {
    let api = Api::default();
    let server = Server::echo("secure").await;
    api.put(service("s"));
    api.put(slice("s", "a", server.address, ready()));
    let made = rcgen::generate_simple_self_signed(vec!["tls.test".to_owned()]).expect("certificate");
    let encoded = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "n", "name": "cert"}, "type": "kubernetes.io/tls",
                        "data": {"tls.crt": encoded(made.cert.pem()), "tls.key": encoded(made.signing_key.serialize_pem())}});
    api.put(secret);
    let mut secure = ingress("s", json!({}), "tls.test", "/", "s");
    secure["spec"]["tls"] = json!([{"hosts": ["tls.test"], "secretName": "cert"}]);
    api.put(secure);
    api.put(ingress("plain", json!({}), "plain.test", "/", "s"));
    let running = Ingress::start(&api, |config| config.https_port = Some(8443)).await;
    let client = running.client(&["tls.test", "plain.test"]);
    until(&client, &running.url("plain.test", "/"), found).await;

    let redirected = client.get(running.url("tls.test", "/x?y=1")).send().await.expect("answer");
    assert_eq!(
        (redirected.status().as_u16(), &redirected.headers()["location"]),
        (308, &http::HeaderValue::from_static("https://tls.test:8443/x?y=1"))
    );

    // Only the right certificate is trusted here, so the name chose it.
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).expect("certificate");
    let strict = reqwest::Client::builder()
        .add_root_certificate(root)
        .resolve("tls.test", running.https)
        .resolve("plain.test", running.https);
    let strict = strict.build().expect("client");
    let answer = strict.get(format!("https://tls.test:{}/", running.https.port())).send().await.expect("trusted");
    assert_eq!(answer.version(), http::Version::HTTP_2);
    let seen = json_of(answer).await;
    assert_eq!(
        (&seen["headers"]["x-forwarded-proto"], &seen["headers"]["host"]),
        (&json!("https"), &json!(format!("tls.test:{}", running.https.port())))
    );
    assert!(
        strict.get(format!("https://plain.test:{}/", running.https.port())).send().await.is_err(),
        "the fallback is not trusted"
    );
}
