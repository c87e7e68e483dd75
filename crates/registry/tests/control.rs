//! Looking at a storage and collecting in it, served or not; and guessing passwords.

#[allow(dead_code, reason = "each test file uses its part")]
mod common;

use common::{Served, expect, header};
use oci::media;
use registry::control::{Request, run};
use registry::{Access, Config, Error, Grant, Password};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_is_looked_at_while_it_is_served_and_after() {
    let dir = tempfile::tempdir().expect("tempdir");
    let served = Served::start(Config { access: Access::open(), ..Config::new(dir.path()) }).await;
    let (config, layer) = (served.push("a/b", b"{}").await, served.push("a/b", &[7; 4000]).await);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
        "config": {"mediaType": media::OCI_CONFIG, "digest": config, "size": 2},
        "layers": [{"mediaType": media::OCI_LAYER, "digest": layer, "size": 4000}],
    });
    expect(served.put_manifest("a/b", "12e4567", &manifest), 201).await;
    served.push("a/b", b"named by nothing").await;
    let path = dir.path().to_owned();
    let ask = move |request: Request| {
        let path = path.clone();
        tokio::task::spawn_blocking(move || run(&path, &request)).into_future()
    };
    let gc = |dry_run| Request::Gc { grace: 0, untagged: true, dry_run };
    let text = |joined: Result<Result<String, Error>, _>| joined.expect("joined").expect("answered");
    let shown = text(ask(Request::List).await);
    assert!(shown.starts_with(&format!("a/b:12e4567\t{}\t4.0 kB\n", common::digest_of(&manifest))), "{shown}");
    let shown = text(ask(Request::Inspect { image: "a/b:12e4567".into() }).await);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("json")["manifest"], manifest);
    let missing = ask(Request::Inspect { image: "a/b:2".into() }).await.expect("joined");
    assert_eq!(missing.expect_err("not there").to_string(), "a/b:2 is not here; bigben registry ls lists what is");
    assert!(text(ask(Request::Du).await).contains("a/b\t1\t1\t3\t"));
    assert!(text(ask(gc(true)).await).starts_with("would remove 0 manifests, 1 blobs from repositories"));
    assert!(text(ask(gc(false)).await).starts_with("removed 0 manifests, 1 blobs from repositories, 1 files (16 B)"));
    served.expect("GET", &format!("/v2/a/b/blobs/{layer}"), 200).await;
    served.stop().await;

    assert!(!dir.path().join("control.sock").exists());
    assert!(text(ask(Request::List).await).starts_with("a/b:12e4567\t"));
    assert!(text(ask(gc(false)).await).starts_with("removed 0 manifests, 0 blobs"));
    // Looking makes nothing.
    let nowhere = dir.path().join("nowhere");
    assert!(run(&nowhere, &Request::List).is_err());
    assert!(!nowhere.exists());
}

/// Guesses until that is not even looked at any more. A slow machine may be late for the first waits, which are short.
async fn guess_until_slowed(guess: impl Fn() -> reqwest::RequestBuilder) -> reqwest::Response {
    for _ in 0..100 {
        let answer = guess().send().await.expect("answer");
        match answer.status().as_u16() {
            429 => return answer,
            status => assert_eq!(status, 401, "{}", answer.text().await.unwrap_or_default()),
        }
    }
    panic!("nobody is slowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_passwords_is_slowed_and_who_knows_one_is_not() {
    let dir = tempfile::tempdir().expect("tempdir");
    let hash = "$2b$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu";
    let password = Password::from_line(hash).expect("bcrypt");
    let access = Access { anonymous: Vec::new(), ..Access::open() };
    let access = access.with_user("ann", password, vec![Grant::parse("ann/**:pull").expect("grant")]);
    let served = Served::start(Config { access, ..Config::new(dir.path()) }).await;
    let login = |password: &str| served.request("GET", "/v2/").basic_auth("ann", Some(password));
    expect(login("password"), 200).await;
    let known = std::time::Instant::now();
    for n in 0..5 {
        // People mistype.
        expect(login(&n.to_string()), 401).await;
    }
    let slowed = guess_until_slowed(|| login("password2")).await;
    assert!(header(&slowed, "retry-after").parse::<u64>().expect("seconds") >= 1);
    // Tokens by the form that newer clients send are guessed no faster.
    let form = "grant_type=password&username=ann&password=x&service=s&scope=repository:ann/a:pull";
    guess_until_slowed(|| served.request("POST", "/token").body(form)).await;
    // What was right before goes on, for half a minute; on a slow machine that is over.
    let again = login("password").send().await.expect("answer").status().as_u16();
    if again == 429 && known.elapsed() >= std::time::Duration::from_secs(30) {
        return served.stop().await;
    }
    assert_eq!(again, 200);
    // What the grant does not say, the user may not do.
    let push = served.request("POST", "/v2/ann/a/blobs/uploads/").basic_auth("ann", Some("password"));
    served.refuse(push, 403, "DENIED").await;
    let read = served.request("GET", "/v2/bob/a/tags/list").basic_auth("ann", Some("password"));
    served.refuse(read, 403, "DENIED").await;
    served.stop().await;
}
