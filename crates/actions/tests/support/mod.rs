//! A host for tests: a bare repository in a temporary directory, secrets in maps, pushes that come back as events.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it, and a test ends where it fails")]

pub mod served;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use actions::host::{
    CheckRun, EnvironmentInfo, Host, HostResult, JobEnvironment, JobInfo, Need, RepositoryInfo, TokenRequest, Verdict,
};
use actions::model::{Job, Run};
use actions::{Config, Engine, Event};
use axum::http::HeaderMap;
use serde_json::json;

pub const REPO: &str = "acme/shop";

#[derive(Default)]
pub struct TestHost {
    pub root: PathBuf,
    pub secrets: Mutex<BTreeMap<(Option<String>, String), String>>,
    pub variables: Mutex<BTreeMap<String, String>>,
    pub environments: Mutex<BTreeMap<String, EnvironmentInfo>>,
    pub tokens: Mutex<Vec<TokenRequest>>,
    pub revoked: Mutex<Vec<String>>,
    pub checks: Mutex<Vec<CheckRun>>,
    pub path: Mutex<Vec<PathBuf>>,
    /// Where the REST API answers.
    pub api: Mutex<Option<String>>,
    pub env: Mutex<BTreeMap<String, String>>,
}

impl Host for TestHost {
    fn api_url(&self) -> String {
        self.api.lock().unwrap().clone().unwrap_or_else(|| "https://api.github.com".to_owned())
    }
    /// `ghs_*` are tokens of jobs, which may do what was asked for them; `admin` may do all; `reader` may look.
    fn authorize<'a>(&'a self, headers: &'a HeaderMap, _: &'a str, need: Need) -> HostResult<'a, Verdict> {
        let text = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let token = text.rsplit(' ').next().unwrap_or_default();
        let bot = || Verdict::Allowed { login: "github-actions[bot]".to_owned(), admin: false };
        let job = token.strip_prefix("ghs_token_of_job_").and_then(|id| id.parse::<i64>().ok());
        let verdict = match (token, job) {
            ("admin", _) => Verdict::Allowed { login: "admin".to_owned(), admin: true },
            ("writer", _) => Verdict::Allowed { login: "writer".to_owned(), admin: false },
            ("reader", _) if need == Need::Write => Verdict::Forbidden,
            ("reader", _) => Verdict::Allowed { login: "reader".to_owned(), admin: false },
            (_, Some(job)) => {
                let tokens = self.tokens.lock().unwrap();
                let access = tokens.iter().find(|token| token.job == job).and_then(|t| t.permissions.0.get("actions"));
                match access {
                    Some(actions::workflow::Access::Write) => bot(),
                    Some(_) if need != Need::Write => bot(),
                    _ => Verdict::Forbidden,
                }
            }
            _ if need == Need::Read => Verdict::Allowed { login: String::new(), admin: false },
            _ => Verdict::Unauthenticated,
        };
        Box::pin(async move { Ok(verdict) })
    }
    fn repository<'a>(&'a self, repository: &'a str) -> HostResult<'a, Option<RepositoryInfo>> {
        Box::pin(async move {
            let dir = self.root.join("git").join(repository.to_lowercase());
            Ok(dir.is_dir().then(|| RepositoryInfo {
                full_name: repository.to_owned(),
                dir,
                default_branch: "main".to_owned(),
                payload: json!({"id": 7, "name": "shop", "full_name": repository, "private": false, "default_branch": "main", "owner": {"login": "acme", "id": 3}}),
            }))
        })
    }
    fn secrets<'a>(&'a self, _: &'a str, environment: Option<&'a str>) -> HostResult<'a, BTreeMap<String, String>> {
        let all = self.secrets.lock().unwrap();
        let found = all
            .iter()
            .filter(|((of, _), _)| of.is_none() || of.as_deref() == environment)
            .map(|((_, name), value)| (name.clone(), value.clone()))
            .collect();
        Box::pin(async move { Ok(found) })
    }
    fn variables<'a>(&'a self, _: &'a str, _: Option<&'a str>) -> HostResult<'a, BTreeMap<String, String>> {
        let found = self.variables.lock().unwrap().clone();
        Box::pin(async move { Ok(found) })
    }
    fn environment<'a>(&'a self, _: &'a str, name: &'a str) -> HostResult<'a, EnvironmentInfo> {
        let found = self.environments.lock().unwrap().get(name).cloned().unwrap_or_default();
        Box::pin(async move { Ok(found) })
    }
    fn mint_token<'a>(&'a self, request: &'a TokenRequest) -> HostResult<'a, String> {
        self.tokens.lock().unwrap().push(request.clone());
        Box::pin(async move { Ok(format!("ghs_token_of_job_{}", request.job)) })
    }
    fn revoke_token<'a>(&'a self, token: &'a str) -> HostResult<'a, ()> {
        self.revoked.lock().unwrap().push(token.to_owned());
        Box::pin(async { Ok(()) })
    }
    fn job_environment<'a>(&'a self, _: &'a JobInfo) -> HostResult<'a, JobEnvironment> {
        let path = self.path.lock().unwrap().clone();
        let env = self.env.lock().unwrap().clone();
        Box::pin(async move {
            Ok(JobEnvironment {
                env,
                path,
                git_rewrites: vec![("https://github.com/".to_owned(), format!("file://{}/git/", self.root.display()))],
            })
        })
    }
    fn check_run<'a>(&'a self, check: &'a CheckRun) -> HostResult<'a, ()> {
        self.checks.lock().unwrap().push(check.clone());
        Box::pin(async { Ok(()) })
    }
}

pub struct Bench {
    pub dir: tempfile::TempDir,
    pub host: Arc<TestHost>,
    pub engine: Engine,
    pub work: PathBuf,
}

pub fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .args([] as [&str; 0])
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub fn config(dir: &Path) -> Config {
    let mut config = Config::new(dir.join("engine"));
    config.environment = std::env::vars().filter(|(name, _)| name == "PATH").collect();
    config.home = dir.join("user-home");
    config.max_parallel = 4;
    config
}

impl Bench {
    /// A repository with these files, and an engine.
    pub async fn new(files: &[(&str, &str)]) -> Self {
        Self::with(files, |_| {}).await
    }

    /// As [`Bench::new`], with another configuration.
    pub async fn with(files: &[(&str, &str)], adjust: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bare = dir.path().join("git").join(REPO);
        std::fs::create_dir_all(&bare).unwrap();
        git(&bare, &["init", "--quiet", "--bare", "--initial-branch=main"]);
        let work = dir.path().join("work-copy");
        std::fs::create_dir_all(&work).unwrap();
        git(&work, &["init", "--quiet", "--initial-branch=main"]);
        git(&work, &["config", "user.name", "Tester"]);
        git(&work, &["config", "user.email", "tester@example.org"]);
        git(&work, &["remote", "add", "origin", &bare.to_string_lossy()]);
        let host = Arc::new(TestHost { root: dir.path().to_owned(), ..TestHost::default() });
        let mut config = config(dir.path());
        adjust(&mut config);
        let engine = Engine::open(config, host.clone()).await.unwrap();
        let bench = Self { dir, host, engine, work };
        bench.write(files);
        bench.commit("first");
        bench
    }

    pub fn write(&self, files: &[(&str, &str)]) {
        use std::os::unix::fs::PermissionsExt;
        for (path, text) in files {
            let path = self.work.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            if text.starts_with("#!") {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
    }

    /// Commits and pushes all; gives the commit.
    pub fn commit(&self, message: &str) -> String {
        git(&self.work, &["add", "-A"]);
        git(&self.work, &["commit", "--quiet", "--allow-empty", "-m", message]);
        git(&self.work, &["push", "--quiet", "origin", "HEAD"]);
        git(&self.work, &["rev-parse", "HEAD"])
    }

    /// The event of the last push.
    pub fn push_event(&self) -> Event {
        let after = git(&self.work, &["rev-parse", "HEAD"]);
        let before = if git(&self.work, &["rev-list", "--count", "HEAD"]) == "1" {
            "0".repeat(40)
        } else {
            git(&self.work, &["rev-parse", "HEAD~1"])
        };
        let branch = git(&self.work, &["rev-parse", "--abbrev-ref", "HEAD"]);
        let message = git(&self.work, &["log", "-1", "--format=%B"]);
        Event::new(
            REPO,
            "push",
            json!({"ref": format!("refs/heads/{branch}"), "before": before, "after": after,
            "head_commit": {"id": after, "message": message}, "sender": {"login": "tester", "id": 9}, "repository": {"full_name": REPO}}),
        )
    }

    /// Sends the event of the last push and waits for all that follows.
    pub async fn push(&self) -> Vec<Run> {
        let ids = self.engine.handle(self.push_event()).await.unwrap();
        self.engine.settled(&ids).await.unwrap()
    }

    pub async fn log(&self, job: &Job) -> String {
        let text = std::fs::read_to_string(self.engine.log_path(job)).unwrap_or_default();
        text.lines().map(|line| line.split_once(' ').map_or("", |(_, rest)| rest)).collect::<Vec<_>>().join("\n")
    }

    /// All jobs of a run with their logs, for messages of failing tests.
    pub async fn story(&self, run: &Run) -> String {
        let mut out = format!("run {} {}: {:?} {:?}\n", run.id, run.workflow, run.conclusion, run.message);
        for job in self.engine.jobs(run.id).await.unwrap() {
            out.push_str(&format!(
                "--- {} {:?} {:?}\n{}\n",
                job.name,
                job.conclusion,
                job.annotations,
                self.log(&job).await
            ));
        }
        out
    }
}
