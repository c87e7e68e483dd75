//! `dependency list` and `dependency build`.
//!
//! Building gets each dependency from a directory (`file://`), a repository with an index (`http(s)://`) or a registry
//! (`oci://`). The network is the caller's: see [`Fetch`].

mod build;
mod lock;
mod obtain;

use std::path::{Path, PathBuf};

pub use self::build::{Built, Resolved, build, complete, pack, update};
pub use self::obtain::Package;
pub(super) use self::obtain::{Found, entry, from_index, pull, tag};
use crate::chart::{Chart, Dependency};
use crate::error::Error;
use crate::funcs::semver::{Constraints, Version};

/// Gets things from the network.
pub trait Fetch: Send + Sync {
    /// The body of a URL.
    ///
    /// # Errors
    /// Why it was not got.
    fn get(&self, url: &str) -> Result<Vec<u8>, String>;
    /// The tags of a repository in a registry (`host/path`).
    ///
    /// # Errors
    /// Why they were not got.
    fn oci_tags(&self, repository: &str) -> Result<Vec<String>, String>;
    /// The chart of a reference in a registry (`host/path:tag`).
    ///
    /// # Errors
    /// Why it was not got.
    fn oci_chart(&self, reference: &str) -> Result<Pulled, String>;
    /// The URL of a repository that has a name (`helm repo add`).
    fn repository(&self, _name: &str) -> Option<String> {
        None
    }
}

/// A chart as a registry gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The archive.
    pub archive: Vec<u8>,
    /// The digest of its manifest, `sha256:...`.
    pub digest: String,
}

/// Refuses a chart that names dependencies which are not in `charts/`.
///
/// # Errors
/// Helm's message.
pub fn check(chart: &Chart) -> Result<(), Error> {
    let missing: Vec<&str> = chart
        .metadata
        .dependencies
        .iter()
        .filter(|d| !chart.dependencies.iter().any(|c| c.name() == d.name))
        .map(|d| d.name.as_str())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "an error occurred while checking for chart dependencies. You may need to run `helm dependency build` to fetch missing dependencies: found in Chart.yaml, but missing in charts/ directory: {}",
        missing.join(", ")
    )))
}

/// The state of one dependency in `charts/`.
fn status(dir: &Path, chart: &Chart, dependency: &Dependency) -> String {
    let charts = dir.join("charts");
    let mut archives: Vec<PathBuf> = Vec::new();
    if let Ok(entries) = std::fs::read_dir(&charts) {
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let rest = name.strip_prefix(&format!("{}-", dependency.name)).and_then(|r| r.strip_suffix(".tgz"));
            if rest.is_some_and(|r| Version::parse(r).is_ok()) {
                archives.push(entry.path());
            }
        }
    }
    let judge = |chart: Result<Chart, Error>, good: &str| match chart {
        Err(_) => "corrupt".to_owned(),
        Ok(chart) if chart.name() != dependency.name => "misnamed".to_owned(),
        Ok(chart) if chart.metadata.version == dependency.version => good.to_owned(),
        Ok(chart) => match (Constraints::parse(&dependency.version), Version::parse(&chart.metadata.version)) {
            (Err(_), _) | (_, Err(_)) => "invalid version".to_owned(),
            (Ok(c), Ok(v)) if c.check(&v) => good.to_owned(),
            _ => "wrong version".to_owned(),
        },
    };
    match archives.as_slice() {
        [one] => return judge(crate::load::from_path(one), "ok"),
        [] => {}
        _ => return "too many matches".to_owned(),
    }
    match chart.dependencies.iter().find(|c| c.name() == dependency.name) {
        None => "missing".to_owned(),
        Some(found) if found.metadata.version == dependency.version => "unpacked".to_owned(),
        Some(found) => match (Constraints::parse(&dependency.version), Version::parse(&found.metadata.version)) {
            (Err(_), _) | (_, Err(_)) => "invalid version".to_owned(),
            (Ok(c), Ok(v)) if c.check(&v) => "unpacked".to_owned(),
            _ => "wrong version".to_owned(),
        },
    }
}

/// Cuts a cell that is too wide.
fn shorten(cell: &mut String, widest: usize) {
    if cell.chars().count() > widest {
        let kept: String = cell.chars().take(widest.saturating_sub(3)).collect();
        *cell = kept + "...";
    }
}

/// The table that `dependency list` prints, no column wider than `widest` characters.
///
/// # Errors
/// A chart that cannot be read.
pub fn list(path: &Path, widest: usize) -> Result<String, Error> {
    let chart = crate::load::from_path(path)?;
    let declared = &chart.metadata.dependencies;
    if declared.is_empty() {
        return Ok(format!("WARNING: no dependencies at {}\n", path.join("charts").display()));
    }
    let mut rows = vec![["NAME", "VERSION", "REPOSITORY", "STATUS"].map(str::to_owned)];
    for d in declared {
        rows.push([d.name.clone(), d.version.clone(), d.repository.clone(), status(path, &chart, d)]);
    }
    rows.iter_mut().flatten().for_each(|cell| shorten(cell, widest));
    let widths: Vec<usize> = (0..4).map(|i| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect();
        out.push_str(&cells.join("\t"));
        out.push('\n');
    }
    out.push('\n');
    let declared_names: Vec<&str> = declared.iter().map(|d| d.name.as_str()).collect();
    for sub in &chart.dependencies {
        if !declared_names.contains(&sub.name()) {
            out.push_str(&format!(
                "WARNING: {} is not in Chart.yaml.\n",
                crate::value::quote::quote(&path.join("charts").join(sub.name()).display().to_string())
            ));
        }
    }
    Ok(out)
}
