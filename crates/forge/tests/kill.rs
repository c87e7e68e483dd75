//! A forge that is killed while it takes pushes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use forge::{Config, Forge, NewRepository};

/// Not a test: the server that the test below starts from this very program, and kills.
#[tokio::test]
#[ignore = "run by the test that kills it"]
async fn the_server() {
    let Some(dir) = std::env::var_os("FORGE_TEST_DIR") else { return };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let forge = Forge::open(Config::new(dir, &base)).await.expect("a forge");
    forge.create_user("owner", "The Owner", "owner@example.org", true).await.expect("a user");
    if forge.repository("acme/widgets").await.expect("reads").is_none() {
        forge.create_repository("acme", "widgets", NewRepository::default()).await.expect("a repository");
    }
    println!("\n{base} {}", forge.create_token("owner").await.expect("a token"));
    axum::serve(listener, forge.router()).await.expect("serves");
}

struct Running {
    child: Child,
    base: String,
    token: String,
}

fn start(dir: &Path) -> Running {
    let mut child = Command::new(std::env::current_exe().expect("a path"))
        .args(["--ignored", "--exact", "the_server", "--nocapture"])
        .env("FORGE_TEST_DIR", dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let line = lines.map(|line| line.expect("text")).find(|line| line.starts_with("http")).expect("an address");
    let (base, token) = line.trim().split_once(' ').expect("an address and a token");
    Running { child, base: base.to_owned(), token: token.to_owned() }
}

fn git(dir: &Path, args: &[&str]) -> bool {
    let output = Command::new("git")
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_AUTHOR_NAME", "A")
        .env("GIT_AUTHOR_EMAIL", "a@example.org")
        .env("GIT_COMMITTER_NAME", "A")
        .env("GIT_COMMITTER_EMAIL", "a@example.org")
        .output()
        .expect("git runs");
    output.status.success()
}

#[tokio::test]
async fn what_was_acknowledged_survives_and_is_told_of_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (state, work) = (dir.path().join("state"), dir.path().join("work"));
    std::fs::create_dir_all(&work).expect("a directory");
    assert!(git(&work, &["init", "-q", "-b", "main"]));
    let mut acknowledged = Vec::new();
    for round in 0..10_u32 {
        let mut server = start(&state);
        let url = server.base.replace("http://", &format!("http://x:{}@", server.token)) + "/acme/widgets.git";
        let pid = server.child.id().to_string();
        let mut killer = None;
        let mut begun = Instant::now();
        for n in 0.. {
            std::fs::write(work.join("file.txt"), format!("{round} {n}\n")).expect("a file");
            assert!(git(&work, &["add", "-A"]) && git(&work, &["commit", "-q", "-m", &format!("{round} {n}")]));
            if !git(&work, &["push", "-q", "-f", &url, "HEAD:main"]) {
                break;
            }
            let head = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(&work).output().expect("git runs");
            acknowledged.push(String::from_utf8_lossy(&head.stdout).trim().to_owned());
            // The kill strikes at another moment of a push each time, however fast this machine is.
            let (pid, whole) = (pid.clone(), std::mem::replace(&mut begun, Instant::now()).elapsed());
            killer.get_or_insert_with(|| {
                std::thread::spawn(move || {
                    std::thread::sleep(whole * round / 6);
                    Command::new("kill").args(["-9", &pid]).status().expect("kill runs")
                })
            });
        }
        killer.expect("the first push of a round arrives").join().expect("ends");
        server.child.wait().expect("ends");
    }
    let forge = Forge::open(Config::new(&state, "http://127.0.0.1:1")).await.expect("opens");
    let repository = forge.git("acme/widgets").await.expect("a repository");
    let tip = repository.rev_parse("refs/heads/main").await.expect("reads");
    let hooks = forge.webhooks();
    let mut told = Vec::new();
    while let Some(webhook) = hooks.try_next().await.expect("reads") {
        if webhook.event == "push" {
            let text = |key: &str| webhook.payload[key].as_str().expect("an id").to_owned();
            let before = told.last().cloned().unwrap_or_else(|| git::ZERO.to_owned());
            assert_eq!(text("before"), before, "each begins where the one before it ended");
            told.push(text("after"));
        }
    }
    assert_eq!(told.last().cloned(), tip);
    for commit in &acknowledged {
        assert!(told.contains(commit), "{commit} was acknowledged and nobody was told");
    }
    assert!(!acknowledged.is_empty());
}
