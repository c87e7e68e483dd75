//! Charts that Applications name: of Helm repositories (`http(s)://`) and of OCI registries.
//!
//! A revision is a version or a range. An exact version is taken from the disk once it was fetched; what a range means is asked
//! again now and then. How things are fetched, and where names lead, is the caller's: see [`Reach`]. Repositories' names and
//! credentials are Secrets beside the Applications, as Argo CD has them: see [`Known`].

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use helm::cli::{Fetch, Reference};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::Error;

/// The label of Secrets that describe repositories: `repository` or `repo-creds`.
pub const SECRET_TYPE: &str = "argocd.argoproj.io/secret-type";

/// How long the meaning of a range stands when nobody asks to look again.
const STANDS: Duration = Duration::from_secs(60);

/// What is known of a repository, from a Secret with the label [`SECRET_TYPE`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The name by which charts mean it (`@name`).
    pub name: String,
    /// Its URL; of a registry without a scheme.
    pub url: String,
    /// Whether the URL stands for every repository whose URL begins with it.
    pub is_template: bool,
    /// The user that it knows; empty for none.
    pub username: String,
    /// That user's password.
    pub password: String,
    /// Whether its certificate is not looked at.
    pub insecure: bool,
    /// PEM of the certificate that is shown to it, and of its key; empty for none.
    pub certificate: (String, String),
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

impl Known {
    /// Reads a Secret; `None` for one that describes no repository of charts.
    pub fn of(secret: &Value) -> Option<Self> {
        let text = |field: &str| {
            let bytes = secret["data"][field].as_str().and_then(|data| BASE64.decode(data).ok()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).trim().to_owned()
        };
        let is_template = match objects::meta::labels(secret).get(SECRET_TYPE)?.as_str() {
            "repository" => false,
            "repo-creds" => true,
            _ => return None,
        };
        // Repositories of git are those that say nothing; templates may serve both.
        if !is_template && text("type") != "helm" && text("type") != "oci" {
            return None;
        }
        let url = text("url");
        Some(Self {
            name: text("name"),
            url: url.strip_prefix("oci://").unwrap_or(&url).to_owned(),
            is_template,
            username: text("username"),
            password: text("password"),
            insecure: text("insecure") == "true",
            certificate: (text("tlsClientCertData"), text("tlsClientCertKey")),
        })
        .filter(|known| !known.url.is_empty())
    }

    /// Repositories that say nothing of who asks get that from the template whose URL fits best.
    pub fn all(secrets: &[Value]) -> Vec<Self> {
        let (templates, mut all): (Vec<_>, Vec<_>) =
            secrets.iter().filter_map(Self::of).partition(|known| known.is_template);
        for known in all.iter_mut().filter(|known| known.username.is_empty() && known.password.is_empty()) {
            let fits = templates.iter().filter(|template| known.url.starts_with(&template.url));
            if let Some(template) = fits.max_by_key(|template| template.url.len()) {
                known.username.clone_from(&template.username);
                known.password.clone_from(&template.password);
            }
        }
        all.extend(templates);
        all
    }
}

/// Whether a Secret of a repository is for Applications of this project: it may name one.
pub(crate) fn serves(secret: &Value, project: &str) -> bool {
    let named = secret["data"]["project"].as_str().and_then(|data| BASE64.decode(data).ok()).unwrap_or_default();
    named.is_empty() || named == project.as_bytes()
}

const BASE64: base64::engine::GeneralPurpose = base64::engine::general_purpose::STANDARD;

/// Who fetches, given what is known of repositories. What it gives may block: it is called where that does no harm.
pub type Reach = Arc<dyn Fn(&[Known]) -> Result<Arc<dyn Fetch>, String> + Send + Sync>;

/// How new an answer has to be.
#[derive(Clone, Copy)]
pub struct Asked {
    /// What repositories were at this moment, or later.
    pub since: Instant,
    /// Whether somebody asked to look again, and not only the clock.
    pub told: bool,
    /// Whether what is on the disk does not count either.
    pub hard: bool,
}

impl Asked {
    /// As things are now.
    pub fn now() -> Self {
        Self { since: Instant::now(), told: true, hard: false }
    }
}

/// One chart, fetched.
#[derive(Clone)]
pub struct Package {
    /// What it is called: its name, or the registry's reference of it.
    pub chart: String,
    /// Where it is from.
    pub url: String,
    /// Its version.
    pub version: String,
    /// Its files by their path in it.
    pub files: Arc<BTreeMap<String, Vec<u8>>>,
}

/// The version that a range meant, and when; locked while it is asked for.
type Meaning = Arc<tokio::sync::Mutex<Option<(String, Instant)>>>;

/// Every chart that was asked for.
pub struct Charts {
    dir: PathBuf,
    /// By repository, chart and range.
    meanings: Mutex<HashMap<[String; 3], Meaning>>,
}

impl Charts {
    /// Archives go below `dir`, which is made when the first is.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, meanings: Mutex::default() }
    }

    /// The chart that `reference` means; its repository is called `url` in errors.
    ///
    /// # Errors
    /// [`Error::Chart`], when it is not found, cannot be fetched, or is none.
    pub async fn package(
        &self,
        reference: &Reference,
        url: &str,
        fetch: &Arc<dyn Fetch>,
        asked: Asked,
    ) -> Result<Package, Error> {
        let key = [
            reference.repo.clone().unwrap_or_default(),
            reference.chart.clone(),
            reference.version.clone().unwrap_or_default(),
        ];
        let failed = |reason: String| Error::Chart { chart: reference.chart.clone(), url: url.to_owned(), reason };
        let slot = {
            let mut meanings = self.meanings.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(meanings.entry(key).or_default())
        };
        let mut slot = slot.lock().await;
        let stands = slot.as_ref().filter(|(_, at)| *at >= asked.since || (!asked.told && at.elapsed() < STANDS));
        let version = match stands {
            Some((version, _)) => version.clone(),
            None => {
                let began = Instant::now();
                let version = match reference.version.as_deref() {
                    Some(version) if is_exact(version) => version.to_owned(),
                    _ => {
                        blocking(reference, fetch, |reference, fetch| reference.version(fetch)).await.map_err(failed)?
                    }
                };
                *slot = Some((version.clone(), began));
                version
            }
        };
        let exact = Reference { version: Some(version.clone()), ..reference.clone() };
        let path = self.dir.join(format!("{}.tgz", cache_name(&exact)));
        let kept = if asked.hard { None } else { tokio::fs::read(&path).await.ok() };
        let (archive, is_new) = match kept {
            Some(archive) => (archive, false),
            None => {
                let package = blocking(&exact, fetch, |reference, fetch| reference.package(fetch));
                (package.await.map_err(failed)?.archive, true)
            }
        };
        let files = helm::load::archive_files(&archive).map_err(|error| failed(error.to_string()))?;
        if is_new {
            keep(&path, &archive).await.map_err(|source| Error::Directory { path, source })?;
        }
        Ok(Package { chart: reference.chart.clone(), url: url.to_owned(), version, files: Arc::new(files) })
    }
}

/// A whole version, which means one chart for ever.
fn is_exact(text: &str) -> bool {
    let core = text.strip_prefix('v').unwrap_or(text).split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = core.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

async fn blocking<T: Send + 'static>(
    reference: &Reference,
    fetch: &Arc<dyn Fetch>,
    ask: fn(&Reference, &dyn Fetch) -> Result<T, helm::Error>,
) -> Result<T, String> {
    let (reference, fetch) = (reference.clone(), Arc::clone(fetch));
    let answer = tokio::task::spawn_blocking(move || ask(&reference, fetch.as_ref())).await;
    answer.map_err(|error| format!("fetching broke off: {error}"))?.map_err(|error| error.to_string())
}

/// Writes beside and renames, so that no half archive is ever read.
async fn keep(path: &std::path::Path, archive: &[u8]) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        tokio::fs::create_dir_all(dir).await?;
    }
    let part = path.with_extension("part");
    tokio::fs::write(&part, archive).await?;
    tokio::fs::rename(part, path).await
}

fn cache_name(reference: &Reference) -> String {
    let Reference { chart, repo, version } = reference;
    let key = format!("{}\n{chart}\n{}", repo.as_deref().unwrap_or_default(), version.as_deref().unwrap_or_default());
    hex::encode(&Sha256::digest(key.as_bytes())[..12])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(kind: &str, fields: &[(&str, &str)]) -> Value {
        let data: serde_json::Map<_, _> =
            fields.iter().map(|(name, text)| ((*name).to_owned(), json!(BASE64.encode(text)))).collect();
        json!({"metadata": {"name": "s", "labels": {SECRET_TYPE: kind}}, "data": data})
    }

    #[test]
    fn a_repository_that_says_no_user_has_that_of_the_longest_template() {
        let secrets = [
            secret("repository", &[("type", "helm"), ("url", "https://h/charts/a"), ("name", "a")]),
            secret("repository", &[("type", "helm"), ("url", "https://h/b"), ("username", "own"), ("password", "p")]),
            secret("repository", &[("url", "https://h/git.git")]),
            secret("repo-creds", &[("url", "https://h"), ("username", "short")]),
            secret("repo-creds", &[("url", "https://h/charts"), ("username", "long")]),
            secret("cluster", &[("server", "https://h")]),
        ];
        let known = Known::all(&secrets);
        let users: Vec<_> = known.iter().map(|known| (known.url.as_str(), known.username.as_str())).collect();
        assert_eq!(
            users,
            [
                ("https://h/charts/a", "long"),
                ("https://h/b", "own"),
                ("https://h", "short"),
                ("https://h/charts", "long")
            ]
        );
    }

    #[test]
    fn whole_versions_are_no_ranges() {
        for (text, exact) in
            [("1.2.3", true), ("v1.2.3-rc.1+b", true), ("1.2", false), ("^1.2.3", false), ("1.2.x", false), ("", false)]
        {
            assert_eq!(is_exact(text), exact, "{text}");
        }
    }
}
