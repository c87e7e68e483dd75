//! The forge, as the workflow engine sees it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use actions::host::{
    CheckRun, EnvironmentInfo, Host, HostError, HostResult, JobEnvironment, JobInfo, Need, RepositoryInfo,
    TokenRequest, Verdict,
};
use actions::workflow::Access;
use forge::Forge;
use serde_json::json;

use super::deliveries::now_ms;

/// Answers the engine's questions from the forge, and maps production names to where they are served here.
pub struct ForgeHost {
    /// The forge.
    pub forge: Forge,
    /// Where it answers, such as `http://127.0.0.1:4000`.
    pub forge_url: String,
    /// The host that it stands in for, such as `github.com`.
    pub production_host: String,
    /// Image registries: production name to where they are served, as `oci::EndpointMap` writes it.
    pub endpoints: String,
    /// Directory with the `docker` command.
    pub shims: PathBuf,
    /// Where that command keeps its images.
    pub docker_state: PathBuf,
}

fn failed(operation: &str, error: forge::Error) -> HostError {
    HostError::with(operation.to_owned(), error)
}

impl Host for ForgeHost {
    fn server_url(&self) -> String {
        format!("https://{}", self.production_host)
    }

    fn api_url(&self) -> String {
        format!("{}/api/v3", self.forge_url)
    }

    fn repository<'a>(&'a self, repository: &'a str) -> HostResult<'a, Option<RepositoryInfo>> {
        Box::pin(async move {
            let found =
                self.forge.repository(repository).await.map_err(|error| failed("find the repository", error))?;
            let Some(found) = found else { return Ok(None) };
            let git = self.forge.git(repository).await.map_err(|error| failed("open the repository", error))?;
            let payload = self
                .forge
                .repository_payload(repository)
                .await
                .map_err(|error| failed("describe the repository", error))?;
            Ok(Some(RepositoryInfo {
                full_name: found.full_name(),
                dir: git.dir().to_owned(),
                default_branch: found.default_branch,
                payload,
            }))
        })
    }

    fn secrets<'a>(
        &'a self,
        repository: &'a str,
        environment: Option<&'a str>,
    ) -> HostResult<'a, BTreeMap<String, String>> {
        Box::pin(async move {
            self.forge.secrets(repository, environment).await.map_err(|error| failed("read the secrets", error))
        })
    }

    fn variables<'a>(
        &'a self,
        repository: &'a str,
        environment: Option<&'a str>,
    ) -> HostResult<'a, BTreeMap<String, String>> {
        Box::pin(async move {
            self.forge.variables(repository, environment).await.map_err(|error| failed("read the variables", error))
        })
    }

    fn environment<'a>(&'a self, repository: &'a str, name: &'a str) -> HostResult<'a, EnvironmentInfo> {
        Box::pin(async move {
            let found = self
                .forge
                .environment(repository, name)
                .await
                .map_err(|error| failed("read the environment", error))?;
            let Some(found) = found else {
                self.forge
                    .create_environment(repository, name)
                    .await
                    .map_err(|error| failed("make the environment", error))?;
                return Ok(EnvironmentInfo::default());
            };
            let custom = found.deployment_branch_policy["custom_branch_policies"] == true;
            let reviewers = found.reviewers.iter().filter_map(|reviewer| {
                let named = reviewer["reviewer"]["login"].as_str().or_else(|| reviewer["login"].as_str());
                named.map(str::to_owned)
            });
            Ok(EnvironmentInfo {
                reviewers: reviewers.collect(),
                wait: Duration::from_secs(found.wait_timer * 60),
                branches: custom.then_some(found.branch_patterns),
            })
        })
    }

    fn mint_token<'a>(&'a self, request: &'a TokenRequest) -> HostResult<'a, String> {
        Box::pin(async move {
            let permissions = request.permissions.0.iter().map(|(scope, access)| {
                let access = match access {
                    Access::Write => forge::Access::Write,
                    Access::Read => forge::Access::Read,
                    Access::None => forge::Access::None,
                };
                (scope.clone(), access)
            });
            self.forge
                .mint_job_token(&request.repository, permissions.collect(), &request.run.to_string())
                .await
                .map_err(|error| failed("make the job's token", error))
        })
    }

    fn revoke_token<'a>(&'a self, token: &'a str) -> HostResult<'a, ()> {
        Box::pin(
            async move { self.forge.revoke_token(token).await.map_err(|error| failed("end the job's token", error)) },
        )
    }

    fn job_environment<'a>(&'a self, _job: &'a JobInfo) -> HostResult<'a, JobEnvironment> {
        let env = BTreeMap::from([
            ("BIGBEN_ENDPOINTS".to_owned(), self.endpoints.clone()),
            ("BIGBEN_DOCKER_STATE".to_owned(), self.docker_state.to_string_lossy().into_owned()),
        ]);
        Box::pin(async move {
            Ok(JobEnvironment {
                env,
                path: vec![self.shims.clone()],
                git_rewrites: vec![(format!("https://{}/", self.production_host), format!("{}/", self.forge_url))],
            })
        })
    }

    fn authorize<'a>(
        &'a self,
        headers: &'a http::HeaderMap,
        repository: &'a str,
        need: Need,
    ) -> HostResult<'a, Verdict> {
        let access = if need == Need::Write { forge::Access::Write } else { forge::Access::Read };
        Box::pin(async move {
            let asked = self.forge.access(headers, repository, "actions", access, need != Need::Read).await;
            Ok(match asked.map_err(|error| failed("check a token", error))? {
                forge::Verdict::Allowed { login, admin } => Verdict::Allowed { login, admin },
                forge::Verdict::Unauthenticated => Verdict::Unauthenticated,
                forge::Verdict::Forbidden => Verdict::Forbidden,
                forge::Verdict::Hidden => Verdict::Hidden,
            })
        })
    }

    fn check_run<'a>(&'a self, check: &'a CheckRun) -> HostResult<'a, ()> {
        Box::pin(async move {
            let run = forge::CheckRun {
                head_sha: check.sha.clone(),
                name: check.name.clone(),
                status: check.status.word().to_owned(),
                conclusion: check.conclusion.map(|conclusion| conclusion.word().to_owned()),
                external_id: Some(format!("{}/{}", check.run, check.job)),
                workflow: Some(check.workflow.clone()),
                output: json!({"title": check.workflow, "summary": check.summary}),
                started_at: check.started_ms.unwrap_or_else(now_ms) / 1000,
                completed_at: check.completed_ms.map(|ms| ms / 1000),
                ..forge::CheckRun::default()
            };
            let set = self.forge.set_check_run(&check.repository, run).await;
            set.map(drop).map_err(|error| failed("report a check", error))
        })
    }
}
