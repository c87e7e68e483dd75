//! The sources of an Application, opened: each a commit of a repository or a chart that was fetched.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use helm::cli::Fetch;
use serde_json::Value;

use crate::Error;
use crate::application::{Source, Spec};
use crate::charts::{Asked, Charts, Known, Package, Reach};
use crate::generate::{self, SourceType, Target};
use crate::repository::{Checkout, Repositories, Resolve};

/// What a source holds.
#[derive(Clone)]
pub enum Contents {
    /// A repository at a commit.
    Commit(Checkout),
    /// A chart at a version.
    Chart(Package),
}

impl Contents {
    /// The commit, or the version.
    pub fn revision(&self) -> &str {
        match self {
            Self::Commit(checkout) => &checkout.commit,
            Self::Chart(package) => &package.version,
        }
    }

    /// The URL in the Application.
    pub fn url(&self) -> &str {
        match self {
            Self::Commit(checkout) => &checkout.url,
            Self::Chart(package) => &package.url,
        }
    }

    /// The content of one file; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Read`], when the repository cannot be read.
    pub async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        match self {
            Self::Commit(checkout) => checkout.read(path).await,
            Self::Chart(package) => Ok(package.files.get(path).cloned()),
        }
    }

    /// Every file below a directory, by its path relative to that directory. `None` when there is no such directory.
    ///
    /// # Errors
    /// [`Error::Read`], when the repository cannot be read.
    pub async fn files(&self, path: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>, Error> {
        let package = match self {
            Self::Commit(checkout) => return checkout.files(path).await,
            Self::Chart(package) => package,
        };
        let path = path.trim_start_matches("./").trim_matches('/');
        if path.is_empty() || path == "." {
            return Ok(Some(BTreeMap::clone(&package.files)));
        }
        let below = |name: &String| Some(name.strip_prefix(path)?.strip_prefix('/')?.to_owned());
        let files: BTreeMap<_, _> =
            package.files.iter().filter_map(|(name, content)| Some((below(name)?, content.clone()))).collect();
        Ok(Some(files).filter(|files| !files.is_empty()))
    }
}

/// Where sources are opened.
pub struct Sources {
    repositories: Repositories,
    charts: Charts,
    reach: Reach,
}

impl Sources {
    /// Copies of repositories and charts go below `dir`.
    pub fn new(dir: PathBuf, resolve: Resolve, reach: Reach) -> Self {
        Self { charts: Charts::new(dir.join("charts")), repositories: Repositories::new(dir, resolve), reach }
    }

    /// Opens every source of an Application. `known` are the repositories of charts that have names or credentials.
    ///
    /// # Errors
    /// The first source that cannot be had.
    pub async fn open<'s>(&self, spec: &'s Spec, known: &[Known], asked: Asked) -> Result<Opened<'s>, Error> {
        let fetch = (self.reach)(known).map_err(|reason| Error::Reach { reason })?;
        let mut sources = Vec::new();
        for source in spec.all_sources() {
            let contents = match source.chart_reference() {
                Some(reference) => {
                    Contents::Chart(self.charts.package(&reference, &source.repo_url, &fetch, asked).await?)
                }
                None => Contents::Commit(
                    self.repositories.checkout(&source.repo_url, source.revision(), asked.since).await?,
                ),
            };
            sources.push((source, contents));
        }
        Ok(Opened { sources, fetch })
    }
}

/// The sources of one Application.
pub struct Opened<'s> {
    sources: Vec<(&'s Source, Contents)>,
    fetch: Arc<dyn Fetch>,
}

impl Opened<'_> {
    /// The commit or version of each source.
    pub fn revisions(&self) -> Vec<String> {
        self.sources.iter().map(|(_, contents)| contents.revision().to_owned()).collect()
    }

    /// The commit of the first source; `None` of a chart.
    ///
    /// # Errors
    /// [`Error::Read`], when the repository cannot be read.
    pub async fn describe(&self) -> Result<Option<git::Commit>, Error> {
        match self.sources.first() {
            Some((_, Contents::Commit(checkout))) => checkout.describe().await,
            _ => Ok(None),
        }
    }

    /// The manifests of all sources, and how each that has some was read.
    ///
    /// # Errors
    /// Names what cannot be read or rendered.
    pub async fn manifests(&self, target: &Target) -> Result<(Vec<SourceType>, Vec<Value>), Error> {
        let named = self.sources.iter().filter(|(source, _)| !source.reference.is_empty());
        let references = named.map(|(source, contents)| (source.reference.clone(), contents.clone())).collect();
        let around = generate::Around { references: &references, is_one: self.sources.len() == 1, fetch: &self.fetch };
        let mut source_types = Vec::new();
        let mut objects = Vec::new();
        for (source, contents) in &self.sources {
            // One that only lends its files to others.
            if !source.reference.is_empty() && source.path.is_empty() && source.chart.is_empty() {
                continue;
            }
            let (source_type, manifests) = generate::manifests(source, contents, &around, target).await?;
            source_types.push(source_type);
            objects.extend(manifests);
        }
        Ok((source_types, objects))
    }
}
