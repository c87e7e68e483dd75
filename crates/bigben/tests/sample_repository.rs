//! A second repository, different in every name from this one, is delivered by the same program: nothing in it knows the first.
//!
//! One service compiled by a workflow, one Application of plain manifests, a forge that is not github.com, a namespace of Argo CD
//! that is not `argocd`. Up, a push, down, and nothing is left.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use common::{bigben, commit_all, git, said, without_configuration};
use serde_json::Value;
use tempfile::TempDir;

/// Where each file of the sample goes. They are not named `.yml` here: this repository's own delivery must not see them.
const FILES: [(&str, &str); 7] = [
    ("till/till.rs", include_str!("sample/till.rs")),
    ("till/Containerfile", include_str!("sample/Containerfile.in")),
    (".github/workflows/ship.yml", include_str!("sample/ship.yml.in")),
    ("counter/till.yml", include_str!("sample/till.yml.in")),
    ("ops/delivery/corner.yml", include_str!("sample/application.yml.in")),
    ("ops/delivery/cd.yml", include_str!("sample/cd-ingress.yml.in")),
    ("ops/street.yml", include_str!("sample/cluster.yml.in")),
];

/// The sample and an instance of the platform for it; taken down at the end in any case.
struct Shop {
    dir: TempDir,
    port: u16,
}

impl Shop {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in FILES {
            let path = dir.path().join("shop").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        commit_all(&dir.path().join("shop"));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { dir, port }
    }

    fn repo(&self) -> PathBuf {
        self.dir.path().join("shop")
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn bigben(&self, args: &[&str]) -> Output {
        let mut command = Command::new(bigben());
        without_configuration(&mut command).env("BIGBEN_STATE", self.state()).env_remove("RUST_LOG");
        command.current_dir(self.repo()).args(args).output().unwrap()
    }

    /// As [`Self::bigben`], for what must go well.
    fn well(&self, args: &[&str]) -> String {
        let output = self.bigben(args);
        assert!(output.status.success(), "bigben {args:?}: {}\n{}", said(&output), self.logs());
        String::from_utf8(output.stdout).unwrap()
    }

    /// The ends of the logs, for messages.
    fn logs(&self) -> String {
        let mut text = String::new();
        for name in ["daemon.log", "machine.log"] {
            let log = fs::read_to_string(self.state().join(name)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            text.push_str(&format!("-- {name}\n{}\n", lines[lines.len().saturating_sub(20)..].join("\n")));
        }
        text
    }

    /// Asks the ingress: status and body.
    fn ask(&self, host: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// What the till says where it runs what was built of `commit`.
    fn says(&self, greeting: &str, commit: &str) {
        for host in ["shop.example.localhost", "shop.example.local"] {
            let (status, body) = self.ask(host);
            assert_eq!(status, 200, "{host}: {body}");
            assert_eq!(body, format!("{greeting} {}\n", &commit[..10]), "{host}");
        }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if self.state().exists() {
            let _ = self.bigben(&["down", "--purge"]);
        }
    }
}

/// Processes and mounts of this machine that have to do with a directory.
fn traces(dir: &Path) -> Vec<String> {
    let name = dir.to_str().unwrap();
    let mut traces = Vec::new();
    for process in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let path = process.path();
        if process.file_name().to_string_lossy().parse::<u32>().is_err() {
            continue;
        }
        let text =
            |file: &str| String::from_utf8_lossy(&fs::read(path.join(file)).unwrap_or_default()).replace('\0', " ");
        let command = text("cmdline");
        if command.contains(name) {
            traces.push(format!("process {}: {command}", path.display()));
        }
        for line in text("mountinfo").lines().filter(|line| line.contains(name)) {
            traces.push(format!("mount of {}: {line}", path.display()));
        }
    }
    traces
}

#[test]
fn another_repository_is_delivered_too() {
    let shop = Shop::new();
    let first = git(&shop.repo(), &["rev-parse", "HEAD"]);

    let summary = shop.well(&["up", "--http", &shop.port.to_string(), "--timeout", "3m", "--output", "json"]);
    let summary: Value = serde_json::from_str(&summary).unwrap();
    eprintln!("measured: parts of up, in ms: {}", summary["parts"]);
    let url = format!("http://shop.example.localhost:{}", shop.port);
    assert!(summary["urls"]["corner"][0].as_str().unwrap().starts_with(&url), "{summary}");
    assert!(summary["remote"].as_str().unwrap().contains("/grocers/corner-shop"), "{summary}");

    let status: Value = serde_json::from_str(&shop.well(&["status", "--output", "json"])).unwrap();
    let applications = status["applications"].as_array().unwrap();
    assert_eq!(applications.len(), 1, "{status}");
    let corner = &applications[0];
    assert_eq!(
        (&corner["name"], &corner["sync"], &corner["health"]),
        (&"corner".into(), &"Synced".into(), &"Healthy".into())
    );
    shop.says("open", &first);
    let (console, _) = shop.ask("cd.shop.example.localhost");
    assert!((200..400).contains(&console), "the console answers {console}");
    let (nobody, _) = shop.ask("offerfit.localhost");
    assert_eq!(nobody, 404);

    // The manifest's new tag came back as a commit; on top of it comes a change.
    git(&shop.repo(), &["pull", "--quiet", "--rebase", "bigben", "main"]);
    let source = shop.repo().join("till/till.rs");
    let text = fs::read_to_string(&source).unwrap().replace("\"open\"", "\"open till nine\"");
    fs::write(&source, text).unwrap();
    git(&shop.repo(), &["commit", "--quiet", "--all", "--message", "open longer"]);
    let second = git(&shop.repo(), &["rev-parse", "HEAD"]);
    git(&shop.repo(), &["push", "--quiet", "bigben", "HEAD:main"]);
    shop.says("open till nine", &second);
    eprintln!("{}", shop.well(&["delivery", &second[..10]]));

    // Measured in an instance of its own, beside this one, which goes on.
    let figures = shop.well(&["bench", "--pushes", "1", "--output", "json"]);
    let figures: Value = serde_json::from_str(&figures).unwrap();
    let pushes = figures["pushes"].as_array().unwrap();
    assert_eq!(pushes.len(), 1, "{figures}");
    let of = |name: &str| figures[name].as_i64().unwrap();
    assert!(of("toLiveMs") > 0 && of("idleBytes") > 1_000_000 && of("secondUpMs") > 0, "{figures}");
    assert_eq!(pushes[0]["toLiveMs"], of("ownMs") + of("platformMs"), "{figures}");
    eprintln!("measured: {figures}");
    shop.says("open till nine", &second);
    assert_eq!(git(&shop.repo(), &["rev-parse", "HEAD"]), second);

    let output = shop.bigben(&["rollback", "shop"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("there is no Application shop; there are corner"), "{}", said(&output));
    let output = shop.bigben(&["up", "--http", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains(&format!("the platform is up on port {}", shop.port)), "{}", said(&output));

    shop.well(&["down", "--purge"]);
    assert_eq!(traces(&shop.state()), Vec::<String>::new());
    assert!(!shop.state().exists());
    assert_eq!(git(&shop.repo(), &["remote"]), "");
    assert!(TcpStream::connect(("127.0.0.1", shop.port)).is_err(), "something listens still");
}
