//! Actions that every workflow uses, built in: they work offline, without Node, and use links where the originals pack archives.
//! Names, inputs, outputs and effects are those of the originals; an input that would be ignored is refused.

pub mod artifact;
pub mod cache;
mod checkout;
mod docker;
pub mod glob;
pub(crate) mod index;
mod setup;
mod tags;
pub mod tree;

use indexmap::IndexMap;

use crate::expr::Template;
use crate::job::Executor;
use crate::job::steps_api::{Current, Frame};
use crate::workflow::Place;

/// A builtin action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builtin {
    Checkout,
    Cache,
    CacheRestore,
    CacheSave,
    UploadArtifact,
    DownloadArtifact,
    SetupNode,
    SetupPython,
    SetupGo,
    SetupJava,
    RustToolchain,
    SetupRustToolchain,
    DockerLogin,
    DockerBuildx,
    DockerMetadata,
    DockerBuildPush,
}

const TABLE: &[(&str, Builtin)] = &[
    ("actions/checkout", Builtin::Checkout),
    ("actions/cache", Builtin::Cache),
    ("actions/cache/restore", Builtin::CacheRestore),
    ("actions/cache/save", Builtin::CacheSave),
    ("actions/upload-artifact", Builtin::UploadArtifact),
    ("actions/download-artifact", Builtin::DownloadArtifact),
    ("actions/setup-node", Builtin::SetupNode),
    ("actions/setup-python", Builtin::SetupPython),
    ("actions/setup-go", Builtin::SetupGo),
    ("actions/setup-java", Builtin::SetupJava),
    ("dtolnay/rust-toolchain", Builtin::RustToolchain),
    ("actions-rust-lang/setup-rust-toolchain", Builtin::SetupRustToolchain),
    ("docker/login-action", Builtin::DockerLogin),
    ("docker/setup-buildx-action", Builtin::DockerBuildx),
    ("docker/metadata-action", Builtin::DockerMetadata),
    ("docker/build-push-action", Builtin::DockerBuildPush),
];

impl Builtin {
    /// The builtin of an action's repository and path.
    pub(crate) fn find(repository: &str, path: &str) -> Option<Self> {
        let name = if path.is_empty() { repository.to_owned() } else { format!("{repository}/{path}") };
        TABLE.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name)).map(|(_, builtin)| *builtin)
    }
}

/// The names of the builtin actions.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// What a builtin does after the job's steps.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) enum PostAction {
    /// Takes the credentials out of the checkout.
    Checkout(std::path::PathBuf),
    /// Saves the cache.
    Cache(cache::Pending),
    /// Logs out of registries.
    DockerLogout(Option<String>),
}

impl PostAction {
    pub(crate) fn condition(&self) -> Option<Template> {
        let text = match self {
            PostAction::Cache(_) => "success()",
            _ => "always()",
        };
        Template::condition(text, Place::ActionRunsIf.allowed()).ok()
    }
}

/// The `with` of a step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inputs(IndexMap<String, String>);

impl Inputs {
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect())
    }

    pub(crate) fn into_map(self) -> IndexMap<String, String> {
        self.0
    }

    /// An input, trimmed; empty when it is not given.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.trim())
    }

    pub(crate) fn or<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        Some(self.get(name)).filter(|value| !value.is_empty()).unwrap_or(default)
    }

    pub(crate) fn boolean(&self, name: &str, default: bool) -> Result<bool, String> {
        match self.get(name) {
            "" => Ok(default),
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" => Ok(false),
            other => Err(format!("the input '{name}' is '{other}', not true or false")),
        }
    }

    /// The lines of an input that are not blank.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        self.get(name).lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// Refuses inputs that the builtin cannot honour, and warns of those that the original does not know.
    pub(crate) fn check(&self, known: &[&str], ignorable: &[&str], executor: &Executor) -> Result<(), String> {
        for name in self.0.keys() {
            if !known.contains(&name.as_str()) && !ignorable.contains(&name.as_str()) {
                executor.log.line(&format!(
                    "##[warning]Unexpected input(s) '{name}', valid inputs are ['{}']",
                    known.join("', '")
                ));
            }
        }
        Ok(())
    }

    /// Refuses an input unless it has one of these values.
    pub(crate) fn only(&self, name: &str, values: &[&str]) -> Result<(), String> {
        let value = self.get(name);
        if value.is_empty() || values.contains(&value) {
            return Ok(());
        }
        Err(format!("the input '{name}: {value}' is not supported by the builtin action"))
    }
}

impl Executor {
    /// Runs a builtin; gives what is to be done after the job's steps.
    pub(crate) async fn builtin(
        &mut self,
        builtin: Builtin,
        inputs: &Inputs,
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
    ) -> Result<Option<PostAction>, String> {
        match builtin {
            Builtin::Checkout => self.checkout(inputs, env, frame, current).await,
            Builtin::Cache => self.cache_restore(inputs, current, true),
            Builtin::CacheRestore => self.cache_restore(inputs, current, false),
            Builtin::CacheSave => self.cache_save_now(inputs).map(|()| None),
            Builtin::UploadArtifact => self.upload_artifact(inputs, current).map(|()| None),
            Builtin::DownloadArtifact => self.download_artifact(inputs, current).map(|()| None),
            Builtin::SetupNode | Builtin::SetupPython | Builtin::SetupGo | Builtin::SetupJava => {
                self.setup(builtin, inputs, env, frame, current).await.map(|()| None)
            }
            Builtin::RustToolchain | Builtin::SetupRustToolchain => {
                self.setup_rust(builtin, inputs, env, frame, current).await.map(|()| None)
            }
            Builtin::DockerLogin => self.docker_login(inputs, env, frame, current).await,
            Builtin::DockerBuildx => self.docker_buildx(inputs, env, frame, current).await.map(|()| None),
            Builtin::DockerMetadata => self.docker_metadata(inputs, current).map(|()| None),
            Builtin::DockerBuildPush => self.docker_build_push(inputs, env, frame, current).await.map(|()| None),
        }
    }

    /// Runs what a builtin left for after the steps.
    pub(crate) async fn post_builtin(
        &mut self,
        action: &PostAction,
        inputs: &Inputs,
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
    ) -> Result<(), String> {
        match action {
            PostAction::Checkout(dir) => {
                checkout::forget_credentials(dir);
                Ok(())
            }
            PostAction::Cache(pending) => self.cache_save(pending),
            PostAction::DockerLogout(registry) => {
                let _ = inputs;
                self.docker_logout(registry.as_deref(), env, frame, current).await
            }
        }
    }
}

/// A short digest of a text.
pub(crate) fn short_digest(text: &str) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(&Sha256::digest(text)[..6])
}
