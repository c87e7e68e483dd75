//! Where a chart is: a path, a URL, a registry, or a name in a repository.

use std::path::Path;

use super::dependency::{Fetch, Found, Package, entry, from_index, pull, tag};
use crate::chart::Chart;
use crate::error::Error;
use crate::funcs::semver::Version;
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

    /// The version of a chart in a repository or a registry that is meant. An exact version is not looked for.
    ///
    /// # Errors
    /// What is not found, in Helm's words; a chart that is in neither.
    pub fn version(&self, fetch: &dyn Fetch) -> Result<String, Error> {
        let wanted = self.wanted();
        match &self.repo {
            Some(repo) => match entry(repo, self.chart.trim(), wanted, fetch, &mut Default::default())? {
                Found::Chart(entry) => Ok(entry.version),
                _ => Err(self.not_found(repo)),
            },
            None => self.tag(fetch).map(|(_, version)| version),
        }
    }

    /// The archive of a chart in a repository or a registry.
    ///
    /// # Errors
    /// As [`Reference::version`], and an archive that cannot be had.
    pub fn package(&self, fetch: &dyn Fetch) -> Result<Package, Error> {
        match &self.repo {
            Some(repo) => match from_index(repo, self.chart.trim(), self.wanted(), fetch, &mut Default::default())? {
                Found::Chart(package) => Ok(package),
                _ => Err(self.not_found(repo)),
            },
            None => {
                let (repository, version) = self.tag(fetch)?;
                pull(repository, version, fetch)
            }
        }
    }

    /// The repository in a registry, and the version. What can be read as a version is one, and is not looked for.
    fn tag(&self, fetch: &dyn Fetch) -> Result<(&str, String), Error> {
        let (repository, wanted) = self.in_registry()?;
        let version = if Version::parse(wanted).is_ok() { wanted.to_owned() } else { tag(repository, wanted, fetch)? };
        Ok((repository, version))
    }

    fn wanted(&self) -> &str {
        self.version.as_deref().unwrap_or("").trim()
    }

    fn not_found(&self, repo: &str) -> Error {
        let version = self.wanted();
        let version = if version.is_empty() { String::new() } else { format!(" version {}", quote(version)) };
        Error::Refused(format!("chart {}{version} not found in {repo} repository", quote(self.chart.trim())))
    }

    /// The repository of a reference to a registry, and the version that is wanted of it: a tag may stand in the reference itself.
    fn in_registry(&self) -> Result<(&str, &str), Error> {
        let name = self.chart.trim();
        if !name.starts_with("oci://") {
            return Err(Error::Refused(format!("chart {} is in no repository and in no registry", quote(name))));
        }
        let last = name.rsplit('/').next().unwrap_or(name);
        let wanted = self.wanted();
        match last.split_once(':') {
            Some((_, tag)) if wanted.is_empty() || wanted == tag => Ok((&name[..name.len() - tag.len() - 1], tag)),
            Some((_, tag)) => {
                Err(Error::Refused(format!("chart reference and version mismatch: {wanted} is not {tag}")))
            }
            None => Ok((name, wanted)),
        }
    }

    /// Gets and reads the chart.
    ///
    /// # Errors
    /// What is not found, cannot be read, or is no chart, in Helm's words.
    pub fn load(&self, fetch: Option<&dyn Fetch>) -> Result<Chart, Error> {
        self.load_saying(fetch).map(|(chart, _)| chart)
    }

    /// As [`Reference::load`], with what Helm prints meanwhile.
    ///
    /// # Errors
    /// As [`Reference::load`].
    pub fn load_saying(&self, fetch: Option<&dyn Fetch>) -> Result<(Chart, String), Error> {
        let name = self.chart.trim();
        let version = self.version.as_deref().unwrap_or("").trim();
        let online = || {
            fetch.ok_or_else(|| {
                Error::Refused(format!("chart {} is not on this disk, and nothing is fetched here", quote(name)))
            })
        };
        if self.repo.is_some() {
            return opened(self.package(online()?)?);
        }
        if Path::new(name).exists() {
            return Ok((crate::load::from_path(name)?, String::new()));
        }
        if name.starts_with(['/', '.']) {
            return Err(Error::Refused(format!("path {} not found", quote(name))));
        }
        if name.starts_with("oci://") {
            return opened(self.package(online()?)?);
        }
        if name.starts_with("http://") || name.starts_with("https://") {
            let bytes = online()?.get(name).map_err(Error::Refused)?;
            return Ok((crate::load::from_archive(&bytes)?, String::new()));
        }
        let Some((repo, chart)) = name.split_once('/') else {
            let text = format!("non-absolute URLs should be in form of repo_name/path_to_chart, got: {name}");
            return Err(Error::Refused(text));
        };
        let url = fetch.and_then(|fetch| fetch.repository(repo));
        let url = url.ok_or_else(|| Error::Refused(format!("repo {repo} not found")))?;
        let why = match from_index(&url, chart, version, online()?, &mut Default::default())? {
            Found::Chart(package) => return opened(package),
            Found::NoChart => "no chart name found".to_owned(),
            Found::NoVersion => format!("no chart version found for {chart}-{version}"),
        };
        let chart = quote(chart);
        let text =
            format!("chart {chart} matching {version} not found in {repo} index. (try 'helm repo update'): {why}");
        Err(Error::Refused(text))
    }
}

fn opened(package: Package) -> Result<(Chart, String), Error> {
    Ok((crate::load::from_archive(&package.archive)?, package.said))
}
