//! A forge on a port of its own, and real clients against it.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod gh;

use std::path::{Path, PathBuf};

use forge::{Config, Forge, NewRepository};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

pub struct Server {
    pub forge: Forge,
    pub token: String,
    pub dir: tempfile::TempDir,
    address: std::net::SocketAddr,
    shutdown: CancellationToken,
    tasks: tokio::task::JoinSet<()>,
}

impl Server {
    /// A server with the repository `acme/widgets` and the administrator `owner`.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// As [`Server::start`], with another configuration.
    pub async fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let server = Self::open(dir, String::new(), adjust).await;
        server.forge.create_user("owner", "The Owner", "owner@example.org", true).await.expect("a user");
        server.forge.create_repository("acme", "widgets", NewRepository::default()).await.expect("a repository");
        let token = server.forge.create_token("owner").await.expect("a token");
        Self { token, ..server }
    }

    async fn open(dir: tempfile::TempDir, token: String, adjust: impl FnOnce(&mut Config)) -> Self {
        let _ = std::fs::remove_file(dir.path().join("socket"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut config = Config::new(dir.path().join("forge"), format!("http://{address}"));
        adjust(&mut config);
        let forge = Forge::open(config).await.expect("a forge");
        let shutdown = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        let (router, stop) = (forge.router(), shutdown.clone());
        tasks.spawn(async move {
            let serve = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
            serve.await.expect("serves");
        });
        let socket = tokio::net::UnixListener::bind(dir.path().join("socket")).expect("a socket");
        let (router, stop) = (forge.router(), shutdown.clone());
        tasks.spawn(async move {
            let serve = axum::serve(socket, router).with_graceful_shutdown(async move { stop.cancelled().await });
            serve.await.expect("serves");
        });
        let (running, stop) = (forge.clone(), shutdown.clone());
        tasks.spawn(async move { running.run(stop).await });
        Self { forge, token, dir, address, shutdown, tasks }
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn client(&self) -> reqwest::Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::new()
    }

    pub async fn stop(mut self) {
        self.shutdown.cancel();
        self.tasks.shutdown().await;
    }

    /// Ends this forge and opens another on the same state.
    pub async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// As [`Server::restart`], with another configuration.
    pub async fn restart_with(mut self, adjust: impl FnOnce(&mut Config)) -> Self {
        self.shutdown.cancel();
        self.tasks.shutdown().await;
        let Self { dir, token, forge, .. } = self;
        drop(forge);
        Self::open(dir, token, adjust).await
    }

    pub fn anonymous(&self, repo: &str) -> String {
        format!("http://{}/{repo}.git", self.address)
    }

    pub fn with_token(&self, repo: &str, token: &str) -> String {
        format!("http://x-access-token:{token}@{}/{repo}.git", self.address)
    }

    pub fn authenticated(&self, repo: &str) -> String {
        self.with_token(repo, &self.token)
    }

    pub fn work(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join("work").join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        dir
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    async fn run_git(&self, dir: &Path, args: &[&str]) -> (bool, String) {
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
            .env("LC_ALL", "C")
            .output()
            .await
            .expect("git runs");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }

    pub async fn git(&self, dir: &Path, args: &[&str]) -> String {
        let (ok, text) = self.run_git(dir, args).await;
        assert!(ok, "git {args:?} failed: {text}");
        text
    }

    pub async fn try_git(&self, dir: &Path, args: &[&str]) -> (bool, String) {
        self.run_git(dir, args).await
    }

    pub async fn git_fails(&self, dir: &Path, args: &[&str]) -> String {
        let (ok, text) = self.run_git(dir, args).await;
        assert!(!ok, "git {args:?} succeeded: {text}");
        text
    }

    pub async fn commit(&self, dir: &Path, file: &str, text: &str, message: &str) {
        let path = dir.join(file);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
        self.git(dir, &["add", "-A"]).await;
        self.git(dir, &["commit", "-q", "-m", message]).await;
    }
}
