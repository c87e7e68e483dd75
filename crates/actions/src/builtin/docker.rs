//! The Docker actions, by way of the `docker` command that is on the job's path.

use super::{Inputs, PostAction, tags};
use crate::job::Executor;
use crate::job::process::{Command, which};
use crate::job::steps_api::{Current, Frame};

impl Executor {
    async fn docker(
        &mut self,
        args: Vec<String>,
        stdin: Option<Vec<u8>>,
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
    ) -> Result<(), String> {
        let path = self.path_variable(env);
        if which("docker", &path).is_none() {
            return Err("there is no `docker` on the job's PATH".to_owned());
        }
        let env = self.process_env(env, frame, current)?;
        self.log.line(&format!("[command]docker {}", args.join(" ")));
        let command = Command {
            program: "docker".into(),
            args: args.into_iter().map(Into::into).collect(),
            env,
            cwd: self.workspace.workspace.clone(),
            stdin,
            on_runner: true,
        };
        let end = self.exec(&command, current).await;
        end.message().map_or(Ok(()), |message| Err(format!("docker: {message}")))
    }

    pub(super) async fn docker_login(
        &mut self,
        inputs: &Inputs,
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
    ) -> Result<Option<PostAction>, String> {
        inputs.check(&["registry", "username", "password", "ecr", "logout", "scope", "registry-auth"], &[], self)?;
        inputs.only("ecr", &["auto", "false"])?;
        inputs.only("registry-auth", &[])?;
        let (username, password) = (inputs.get("username").to_owned(), inputs.get("password").to_owned());
        if username.is_empty() || password.is_empty() {
            return Err(if username.is_empty() { "Username required" } else { "Password required" }.to_owned());
        }
        let registry = Some(inputs.get("registry")).filter(|registry| !registry.is_empty()).map(str::to_owned);
        let mut args = vec!["login".to_owned(), "--password-stdin".to_owned(), "--username".to_owned(), username];
        args.extend(registry.clone());
        self.docker(args, Some(password.into_bytes()), env, frame, current).await?;
        Ok(inputs.boolean("logout", true)?.then_some(PostAction::DockerLogout(registry)))
    }

    pub(super) async fn docker_logout(
        &mut self,
        registry: Option<&str>,
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
    ) -> Result<(), String> {
        let mut args = vec!["logout".to_owned()];
        args.extend(registry.map(str::to_owned));
        self.docker(args, None, env, frame, current).await
    }

    pub(super) async fn docker_buildx(
        &mut self,
        inputs: &Inputs,
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
    ) -> Result<(), String> {
        let harmless = [
            "install",
            "use",
            "cleanup",
            "cache-binary",
            "keep-state",
            "version",
            "buildkitd-flags",
            "buildkitd-config",
            "buildkitd-config-inline",
            "driver-opts",
        ];
        inputs.check(&["driver", "name", "endpoint", "platforms", "append"], &harmless, self)?;
        inputs.only("driver", &["docker", "docker-container"])?;
        inputs.only("append", &[])?;
        self.docker(vec!["buildx".to_owned(), "version".to_owned()], None, env, frame, current).await?;
        let arch = if std::env::consts::ARCH == "aarch64" { "linux/arm64" } else { "linux/amd64" };
        Self::outputs(
            current,
            [
                ("name", "default".to_owned()),
                ("driver", "docker".to_owned()),
                ("platforms", arch.to_owned()),
                ("status", "running".to_owned()),
            ],
        );
        Ok(())
    }

    pub(super) fn docker_metadata(&mut self, inputs: &Inputs, current: &mut Current) -> Result<(), String> {
        inputs.check(
            &[
                "images",
                "tags",
                "flavor",
                "labels",
                "annotations",
                "sep-tags",
                "sep-labels",
                "sep-annotations",
                "bake-target",
                "context",
                "github-token",
            ],
            &[],
            self,
        )?;
        inputs.only("context", &["workflow", "git"])?;
        let subject = &self.spec.input.subject;
        let facts = tags::Facts {
            git_ref: subject.git_ref.clone(),
            sha: subject.sha.clone(),
            event: self.spec.run.event.clone(),
            default_branch: self.spec.input.default_branch.clone(),
            base_ref: subject.base_ref.clone(),
            head_ref: subject.head_ref.clone(),
            repository: self.spec.input.repository.clone(),
            full_name: self.spec.run.repository.clone(),
            server: self.services.host.server_url(),
            now: jiff::Timestamp::now(),
        };
        let request = tags::Request {
            images: inputs.lines("images"),
            tags: inputs.lines("tags"),
            flavor: inputs.lines("flavor"),
            labels: inputs.lines("labels"),
        };
        let found = tags::compute(&request, &facts)?;
        let separator = |name: &str| inputs.or(name, "\n").to_owned();
        self.log.line("##[group]Docker tags");
        found.tags.iter().for_each(|tag| self.log.push(tag));
        self.log.line("##[endgroup]");
        self.env.insert("DOCKER_METADATA_OUTPUT_VERSION".to_owned(), found.version.clone());
        self.env.insert("DOCKER_METADATA_OUTPUT_TAGS".to_owned(), found.tags.join("\n"));
        self.env.insert("DOCKER_METADATA_OUTPUT_LABELS".to_owned(), found.labels.join("\n"));
        let labels: serde_json::Map<String, serde_json::Value> = found
            .labels
            .iter()
            .filter_map(|label| label.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let json = serde_json::json!({"tags": found.tags, "tag-names": found.names, "labels": labels}).to_string();
        self.env.insert("DOCKER_METADATA_OUTPUT_JSON".to_owned(), json.clone());
        Self::outputs(
            current,
            [
                ("version", found.version),
                ("tags", found.tags.join(&separator("sep-tags"))),
                ("tag-names", found.names.join("\n")),
                ("labels", found.labels.join(&separator("sep-labels"))),
                ("json", json),
            ],
        );
        Ok(())
    }

    pub(super) async fn docker_build_push(
        &mut self,
        inputs: &Inputs,
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
    ) -> Result<(), String> {
        const LISTS: &[(&str, &str)] = &[
            ("build-args", "--build-arg"),
            ("build-contexts", "--build-context"),
            ("labels", "--label"),
            ("annotations", "--annotation"),
            ("add-hosts", "--add-host"),
            ("cache-from", "--cache-from"),
            ("cache-to", "--cache-to"),
            ("outputs", "--output"),
            ("ulimit", "--ulimit"),
            ("ssh", "--ssh"),
            ("attests", "--attest"),
        ];
        const ONES: &[(&str, &str)] =
            &[("target", "--target"), ("network", "--network"), ("shm-size", "--shm-size"), ("builder", "--builder")];
        let mut known = vec![
            "context",
            "file",
            "tags",
            "platforms",
            "push",
            "load",
            "pull",
            "no-cache",
            "provenance",
            "sbom",
            "github-token",
            "no-cache-filters",
            "call",
            "allow",
            "cgroup-parent",
            "secret-envs",
            "secrets",
            "secret-files",
        ];
        known.extend(LISTS.iter().map(|(name, _)| name));
        known.extend(ONES.iter().map(|(name, _)| name));
        inputs.check(&known, &[], self)?;
        for name in ["call", "allow", "cgroup-parent", "no-cache-filters"] {
            inputs.only(name, &[])?;
        }
        let mut args = vec!["buildx".to_owned(), "build".to_owned()];
        for (input, flag) in LISTS {
            for line in inputs.lines(input) {
                args.extend([(*flag).to_owned(), line]);
            }
        }
        for line in inputs.lines("secrets") {
            let Some((id, value)) = line.split_once('=') else {
                return Err("a line of the input 'secrets' is not of the form ID=VALUE".to_owned());
            };
            let file = self.workspace.temp.join(format!("secret-{}", uuid::Uuid::new_v4()));
            std::fs::write(&file, value).map_err(|error| format!("cannot hand a secret to the build: {error}"))?;
            args.extend(["--secret".to_owned(), format!("id={id},src={}", file.display())]);
        }
        for line in inputs.lines("secret-files") {
            let Some((id, path)) = line.split_once('=') else {
                return Err("a line of the input 'secret-files' is not of the form ID=FILE".to_owned());
            };
            args.extend(["--secret".to_owned(), format!("id={id},src={path}")]);
        }
        for line in inputs.lines("secret-envs") {
            let (id, variable) = line.split_once('=').unwrap_or((&line, &line));
            args.extend(["--secret".to_owned(), format!("id={id},env={variable}")]);
        }
        for (input, flag) in ONES {
            let value = inputs.get(input);
            if !value.is_empty() {
                args.extend([(*flag).to_owned(), value.to_owned()]);
            }
        }
        for tag in
            inputs.lines("tags").iter().flat_map(|line| line.split(',')).map(str::trim).filter(|tag| !tag.is_empty())
        {
            args.extend(["--tag".to_owned(), tag.to_owned()]);
        }
        let platforms = inputs.lines("platforms").join(",");
        if !platforms.is_empty() {
            args.extend(["--platform".to_owned(), platforms]);
        }
        if !inputs.get("file").is_empty() {
            args.extend(["--file".to_owned(), inputs.get("file").to_owned()]);
        }
        for (input, flag) in [("pull", "--pull"), ("no-cache", "--no-cache"), ("push", "--push"), ("load", "--load")] {
            if inputs.boolean(input, false)? {
                args.push(flag.to_owned());
            }
        }
        for name in ["provenance", "sbom"] {
            if !matches!(inputs.get(name), "" | "false") {
                args.push(format!("--{name}={}", inputs.get(name)));
            }
        }
        let metadata = self.workspace.temp.join(format!("build-{}.json", uuid::Uuid::new_v4()));
        args.extend(["--metadata-file".to_owned(), metadata.to_string_lossy().into_owned()]);
        let context = match inputs.get("context") {
            "" => ".".to_owned(),
            context => context.to_owned(),
        };
        args.push(context);
        self.docker(args, None, env, frame, current).await?;
        let text = std::fs::read_to_string(&metadata).unwrap_or_default();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let pick = |name: &str| json.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        Self::outputs(
            current,
            [
                ("imageid", pick("containerimage.config.digest")),
                ("digest", pick("containerimage.digest")),
                ("metadata", text),
            ],
        );
        Ok(())
    }
}
