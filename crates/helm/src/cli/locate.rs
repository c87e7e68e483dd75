//! Where a chart is: a path, a URL, a registry, or a name in a repository.

use std::path::Path;

use super::dependency::{Fetch, Found, from_index, from_registry};
use crate::chart::Chart;
use crate::error::Error;
use crate::value::quote::quote;

/// Which chart is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reference {
    /// A path, an URL of an archive, `oci://host/path`, or with a repository a name in it.
    pub chart: String,
    /// `--repo`: the repository's URL.
    pub repo: Option<String>,
    /// `--version`: a version or a range; the newest when not given. A path has only one.
    pub version: Option<String>,
}

impl Reference {
    /// A chart by its path.
    pub fn path(path: impl AsRef<Path>) -> Reference {
        Reference { chart: path.as_ref().display().to_string(), ..Reference::default() }
    }

    /// Gets and reads the chart.
    ///
    /// # Errors
    /// What is not found, cannot be read, or is no chart, in Helm's words.
    pub fn load(&self, fetch: Option<&dyn Fetch>) -> Result<Chart, Error> {
        let name = self.chart.trim();
        let version = self.version.as_deref().unwrap_or("").trim();
        let online = || {
            fetch.ok_or_else(|| {
                Error::Refused(format!("chart {} is not on this disk, and nothing is fetched here", quote(name)))
            })
        };
        if let Some(repo) = &self.repo {
            let Found::Chart(_, bytes) = from_index(repo, name, version, online()?, &mut Default::default())? else {
                let version = if version.is_empty() { String::new() } else { format!(" version {}", quote(version)) };
                return Err(Error::Refused(format!("chart {}{version} not found in {repo} repository", quote(name))));
            };
            return crate::load::from_archive(&bytes);
        }
        if Path::new(name).exists() {
            return crate::load::from_path(name);
        }
        if name.starts_with(['/', '.']) {
            return Err(Error::Refused(format!("path {} not found", quote(name))));
        }
        if name.starts_with("oci://") {
            // A tag may stand in the reference itself.
            let last = name.rsplit('/').next().unwrap_or(name);
            let (repository, tag) = match last.split_once(':') {
                Some((_, tag)) if version.is_empty() => (&name[..name.len() - tag.len() - 1], tag),
                _ => (name, version),
            };
            let (_, bytes) = from_registry(repository, tag, online()?)?;
            return crate::load::from_archive(&bytes);
        }
        if name.starts_with("http://") || name.starts_with("https://") {
            let bytes = online()?.get(name).map_err(Error::Refused)?;
            return crate::load::from_archive(&bytes);
        }
        let Some((repo, chart)) = name.split_once('/') else {
            let text = format!("non-absolute URLs should be in form of repo_name/path_to_chart, got: {name}");
            return Err(Error::Refused(text));
        };
        let url = fetch.and_then(|fetch| fetch.repository(repo));
        let url = url.ok_or_else(|| Error::Refused(format!("repo {repo} not found")))?;
        let why = match from_index(&url, chart, version, online()?, &mut Default::default())? {
            Found::Chart(_, bytes) => return crate::load::from_archive(&bytes),
            Found::NoChart => "no chart name found".to_owned(),
            Found::NoVersion => format!("no chart version found for {chart}-{version}"),
        };
        let chart = quote(chart);
        let text =
            format!("chart {chart} matching {version} not found in {repo} index. (try 'helm repo update'): {why}");
        Err(Error::Refused(text))
    }
}
