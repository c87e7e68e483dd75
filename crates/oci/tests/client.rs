//! The client against servers that misbehave.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::TryStreamExt;
use futures::future::BoxFuture;
use oci::client::{Client, Connect, Credentials, Error};
use oci::{Descriptor, Digest, EndpointMap, Reference, media};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers each request's head with what `answer` makes of it, then closes.
async fn server(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            if !head.is_empty() {
                let _ = stream.write_all(&answer(&String::from_utf8_lossy(&head))).await;
            }
        }
    });
    (address, task)
}

fn client(address: &str) -> Client {
    let mut map = EndpointMap::default();
    map.insert("docker.io", &format!("http://{address}")).expect("address");
    Client::new(map)
}

fn reference() -> Reference {
    Reference::parse("user/app:1").expect("reference")
}

#[tokio::test]
async fn an_interrupted_blob_is_continued_and_verified() {
    let data: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    let descriptor = Descriptor::new(media::OCI_LAYER, Digest::of(&data), data.len() as u64);
    let served = data.clone();
    let (address, task) = server(move |head| {
        let from = head
            .lines()
            .find_map(|l| l.to_ascii_lowercase().strip_prefix("range: bytes=")?.trim_end_matches('-').parse().ok());
        let from: usize = from.unwrap_or(0);
        let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
        // Promises all that is left, gives a part.
        let mut answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", served.len() - from).into_bytes();
        answer.extend_from_slice(&served[from..(from + 30_000).min(served.len())]);
        answer
    })
    .await;
    let blob = client(&address).blob(&reference(), &descriptor).await.expect("opened");
    let got: Vec<u8> = blob
        .stream
        .try_fold(Vec::new(), |mut all, bytes| async move {
            all.extend_from_slice(&bytes);
            Ok(all)
        })
        .await
        .expect("whole");
    assert_eq!(got, data);

    let wrong = Descriptor { digest: Digest::of(b"other"), ..descriptor };
    let blob = client(&address).blob(&reference(), &wrong).await.expect("opened");
    let end = blob.stream.try_for_each(|_| async { Ok(()) }).await;
    assert!(matches!(end, Err(Error::Mismatch { .. })), "{end:?}");
    task.abort();
}

#[tokio::test]
async fn answers_become_errors_that_say_what_to_do() {
    let answer = |status: &str, headers: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
            .into_bytes()
    };
    let (address, task) = server(move |head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        match path.rsplit('/').next().unwrap_or_default() {
            "limited" => answer(
                "429 Too Many Requests",
                "retry-after: 7\r\n",
                r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#,
            ),
            "denied" => answer("403 Forbidden", "", r#"{"errors":[{"code":"DENIED","message":"not yours"}]}"#),
            "broken" => answer("500 Internal Server Error", "", "<html>"),
            "large" => answer("200 OK", "", &"x".repeat(5 << 20)),
            _ => answer("404 Not Found", "", ""),
        }
    })
    .await;
    let ask = async |tag: &str| {
        client(&address).manifest(&reference().with_tag(tag).expect("tag")).await.expect_err("refused")
    };
    let limited = ask("limited").await;
    assert!(
        matches!(&limited, Error::RateLimited { retry_after: Some(after), .. } if after.as_secs() == 7),
        "{limited:?}"
    );
    assert_eq!(limited.hint().as_deref(), Some("try again in 7 s"));
    let denied = ask("denied").await;
    assert_eq!(denied.to_string(), "docker.io refused access to docker.io/user/app:denied: not yours (DENIED)");
    assert_eq!(denied.hint().as_deref(), Some("log in with: docker login docker.io"));
    assert!(matches!(ask("missing").await, Error::NotFound(_)));
    assert!(matches!(ask("broken").await, Error::Status { .. }));
    assert!(matches!(ask("large").await, Error::Malformed { .. }));
    task.abort();
    let nobody = client("127.0.0.1:1").manifest(&reference()).await.expect_err("refused");
    assert!(matches!(nobody, Error::Unreachable { .. }), "{nobody:?}");
}

#[tokio::test]
async fn tokens_are_fetched_once_and_connections_come_from_the_caller() {
    let tokens = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tokens);
    let (address, task) = server(move |head| {
        let reply = |status: &str, headers: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
        };
        let lower = head.to_ascii_lowercase();
        if head.starts_with("GET /token") {
            counted.fetch_add(1, Ordering::Relaxed);
            assert!(lower.contains("authorization: basic dxnlcjpwyxnz"), "{head}");
            assert!(head.contains("scope=repository%3Auser%2Fapp%3Apull"), "{head}");
            return reply("200 OK", "", r#"{"token":"abc","expires_in":300}"#);
        }
        if lower.contains("authorization: bearer abc") {
            return reply("200 OK", "content-type: application/json\r\n", r#"{"name":"user/app","tags":["1"]}"#);
        }
        let challenge = "www-authenticate: Bearer realm=\"http://registry.test/token\",service=\"s\",scope=\"repository:user/app:pull\"\r\n";
        reply("401 Unauthorized", challenge, "")
    })
    .await;
    struct Always(String);
    impl Connect for Always {
        fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<TcpStream>> {
            assert_eq!((host, port), ("registry.test", 80));
            let address = self.0.clone();
            Box::pin(async move { TcpStream::connect(address).await })
        }
    }
    let mut credentials = Credentials::new();
    credentials.insert("docker.io", "user", "pass");
    let client = client("registry.test").credentials(credentials).connector(Arc::new(Always(address)));
    for _ in 0..3 {
        assert_eq!(client.tags(&reference()).await.expect("tags"), ["1"]);
    }
    assert_eq!(tokens.load(Ordering::Relaxed), 1);
    task.abort();
}
