//! The commands themselves beside a real docker: the same words give the same output and the same exit code.
//!
//! Needs root, a docker client and a Docker Engine, as `docker_engine.rs` does. Run with:
//! `cargo test -p builder --test docker_verbs -- --ignored --nocapture`.

#[path = "engine/daemon.rs"]
mod daemon;
#[path = "engine/verbs.rs"]
mod verbs;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use daemon::Engine;
use verbs::{Output, VERBS};

/// A registry of ours, for both of them.
struct Served {
    address: String,
    stop: tokio_util::sync::CancellationToken,
    runtime: tokio::runtime::Runtime,
    task: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
}

impl Served {
    fn start(dir: &Path) -> Served {
        let runtime = tokio::runtime::Runtime::new().expect("runtime");
        let config = registry::Config { access: registry::Access::open(), ..registry::Config::new(dir) };
        let stop = tokio_util::sync::CancellationToken::new();
        let (address, task) = runtime.block_on(async {
            let registry = registry::Registry::open(config).expect("open");
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
            let address = listener.local_addr().expect("address").to_string();
            let token = stop.clone();
            (address, tokio::spawn(async move { registry.serve(listener, token).await }))
        });
        Served { address, stop, runtime, task: Some(task) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            let _ = self.runtime.block_on(task);
        }
    }
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Words at blanks that are not escaped.
fn words(text: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&' ') => out.last_mut().expect("a word").push(chars.next().expect("a blank")),
            ' ' => out.push(String::new()),
            c => out.last_mut().expect("a word").push(c),
        }
    }
    out
}

fn run(mut docker: Command, text: &str, registry: &str, dir: &Path) -> Said {
    let args = words(text)
        .into_iter()
        .map(|word| word.replace("@REG@", registry).replace("@DIR@", &dir.display().to_string()));
    let output = docker.args(args).current_dir(dir).stdin(Stdio::null()).output().expect("docker runs");
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).replace(&dir.display().to_string(), "@DIR@");
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    };
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn ours() -> PathBuf {
    let tests = std::env::current_exe().expect("the test has a path");
    let program = tests.parent().and_then(Path::parent).expect("target/debug/deps").join("examples/docker");
    assert!(program.exists(), "build it first: cargo build -p builder --example docker");
    program
}

#[test]
#[ignore = "needs root and a Docker Engine: cargo test -p builder --test docker_verbs -- --ignored --nocapture"]
fn commands_are_those_of_docker() {
    let engine = Engine::start("vfs");
    let home = tempfile::tempdir().expect("temporary directory");
    let served = Served::start(&home.path().join("registry"));
    let address = served.address.clone();
    let [theirs, mine] = ["theirs", "mine"].map(|name| {
        let dir = home.path().join(name);
        std::fs::create_dir_all(&dir).expect("directory");
        std::fs::copy(&engine.busybox, dir.join("busybox")).expect("busybox");
        let text = "FROM scratch\nARG FAIL\nARG LOOK\nCOPY busybox /bin/sh\nENV A=1 B=two\nCMD [\"sh\", \"-c\", \"exit\"]\nRUN [ -z \"$FAIL\" ]\n\
                    RUN [ -z \"$LOOK\" ] || [ $(ulimit -n) = 64 ]\n";
        std::fs::write(dir.join("Dockerfile"), text).expect("Dockerfile");
        std::fs::write(dir.join(".dockerignore"), "*.tar\niid\n").expect(".dockerignore");
        dir
    });
    let program = ours();
    let only = std::env::var("ONLY").ok();
    let mut failures = Vec::new();
    for (text, how) in VERBS {
        // Newer clients build with a plugin only; the engine's own client has BuildKit in it. The engine runs without a bridge.
        let building = text.starts_with("build ");
        let network = if building && !text.contains("--network") { " --network=host" } else { "" };
        let mut reference = if building { engine.docker() } else { engine.newest() };
        reference.env("DOCKER_BUILDKIT", "1");
        let a = run(reference, &format!("{text}{network}"), &address, &theirs);
        let mut command = Command::new(&program);
        command
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .env("BIGBEN_DOCKER_STATE", home.path().join("state"))
            .env("BIGBEN_ENDPOINTS", format!("{address}=http://{address}"))
            .env("HOME", home.path());
        let b = run(command, text, &address, &mine);
        let same =
            a.code == b.code && (*how == Output::Code || a.out == b.out) && (*how != Output::Both || a.err == b.err);
        println!("{} docker {text}", if same { "same " } else { "OTHER" });
        let wanted = only.as_deref().is_some_and(|only| text.contains(only));
        if !same || wanted {
            let shown = |said: &Said| format!("[{:?}]\n{}\n--\n{}", said.code, said.out, said.err);
            let report = format!("== docker {text}\n-- docker's: {}\n-- ours: {}", shown(&a), shown(&b));
            if same { println!("{report}") } else { failures.push(report) }
        }
    }
    println!("{} commands, {} differ", VERBS.len(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
