//! `dependency build` and `update`: what `Chart.lock`, or else `Chart.yaml`, names into `charts/`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::obtain::{Found, Indexes, from_index, from_registry};
use super::{Fetch, lock};
use crate::chart::{Chart, Dependency};
use crate::error::Error;
use crate::funcs::semver::{Constraints, Version};
use crate::value::quote::quote;

/// A dependency with the version that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Its name.
    pub name: String,
    /// The version.
    pub version: String,
    /// Where it comes from.
    pub repository: String,
}

/// What `dependency build` did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Built {
    /// What is in `charts/` now.
    pub resolved: Vec<Resolved>,
    /// What Helm prints of it.
    pub text: String,
}

/// Files by their path in a directory.
type Files = BTreeMap<String, Vec<u8>>;

fn refuse(text: String) -> Error {
    Error::Refused(text)
}

fn io(path: &Path, e: std::io::Error) -> Error {
    Error::Io { path: path.display().to_string(), reason: e.to_string() }
}

/// A dependency as it was got.
enum Got {
    /// It is in `charts/` already.
    There,
    /// An archive to put there.
    Archive(Vec<u8>),
    /// What there is has another version.
    Unfit,
}

/// Gets what `Chart.lock` names, which must fit `Chart.yaml`; without a lock does what [`update`] does.
///
/// # Errors
/// A lock that is out of date, and a dependency that is not found, in Helm's words.
pub fn build(dir: &Path, fetch: &dyn Fetch) -> Result<Built, Error> {
    let chart = read(dir)?;
    match locked(&chart, fetch)? {
        Some(wanted) => gather(dir, &chart, wanted, fetch),
        None => resolve(dir, &chart, fetch),
    }
}

/// Adds to the files of a chart the archives of the dependencies that it lacks, as [`build`] does on a disk. `folder` gives the files
/// of a directory that `file://` names, by its path from the chart.
///
/// # Errors
/// As [`build`].
pub fn complete(files: &mut Files, folder: &dyn Fn(&str) -> Option<Files>, fetch: &dyn Fetch) -> Result<(), Error> {
    let chart = Chart::from_files(files.clone())?;
    if super::check(&chart).is_ok() {
        return Ok(());
    }
    let wanted = match locked(&chart, fetch)? {
        Some(wanted) => wanted,
        None => addressed(&chart.metadata.dependencies, fetch)?.iter().map(wish).collect(),
    };
    let folder = |path: &str| {
        let files = folder(path).ok_or_else(|| refuse(format!("directory {path} not found")))?;
        crate::load::without_ignored(files)
    };
    let (_, archives) = collect(Path::new(""), &chart, wanted, &folder, fetch)?;
    for (d, archive) in archives {
        files.retain(|path, _| !path.strip_prefix("charts/").is_some_and(|file| is_version_of(file, &d.name)));
        files.insert(format!("charts/{}-{}.tgz", d.name, d.version), archive);
    }
    Ok(())
}

/// What the lock names, where there is one; it must fit `Chart.yaml`.
fn locked(chart: &Chart, fetch: &dyn Fetch) -> Result<Option<Vec<Resolved>>, Error> {
    let Some(locked) = chart.lock.as_deref().and_then(lock::read) else { return Ok(None) };
    let old = chart.metadata.api_version == "v1";
    let asked = addressed(&chart.metadata.dependencies, fetch)?;
    let fits = locked.digest == lock::digest(&asked, &locked.dependencies)
        || old && locked.digest == lock::old_digest(&chart.metadata.dependencies);
    if !fits {
        let (lock, file) = if old { ("requirements.lock", "requirements.yaml") } else { ("Chart.lock", "Chart.yaml") };
        return Err(refuse(format!(
            "the lock file ({lock}) is out of sync with the dependencies file ({file}). Please update the dependencies with 'helm dependency update'"
        )));
    }
    Ok(Some(locked.dependencies))
}

/// Gets what fits `Chart.yaml` best, and writes `Chart.lock` when that has changed.
///
/// # Errors
/// A dependency that is not found, in Helm's words.
pub fn update(dir: &Path, fetch: &dyn Fetch) -> Result<Built, Error> {
    resolve(dir, &read(dir)?, fetch)
}

fn read(dir: &Path) -> Result<Chart, Error> {
    if !dir.is_dir() {
        return Err(refuse(match dir.exists() {
            true => "only unpacked charts can be updated".to_owned(),
            false => format!("could not find {}: stat {0}: no such file or directory", dir.display()),
        }));
    }
    crate::load::from_dir(dir)
}

fn resolve(dir: &Path, chart: &Chart, fetch: &dyn Fetch) -> Result<Built, Error> {
    let asked = addressed(&chart.metadata.dependencies, fetch)?;
    if asked.is_empty() {
        return Ok(Built::default());
    }
    let mut built = gather(dir, chart, asked.iter().map(wish).collect(), fetch)?;
    built.text.insert_str(0, &looked(&chart.metadata.dependencies));
    let digest = lock::digest(&asked, &built.resolved);
    if chart.lock.as_deref().and_then(lock::read).is_none_or(|locked| locked.digest != digest) {
        let old = chart.metadata.api_version == "v1";
        let target = dir.join(if old { "requirements.lock" } else { "Chart.lock" });
        write_file(&target, lock::write(&built.resolved, &digest).as_bytes()).map_err(|e| io(&target, e))?;
    }
    Ok(built)
}

/// What Helm says of the repositories that have no name, when their indexes were got.
fn looked(asked: &[Dependency]) -> String {
    let is_index = |d: &&Dependency| d.repository.starts_with("http://") || d.repository.starts_with("https://");
    let mut text = String::new();
    for d in asked.iter().filter(is_index) {
        let line = format!("...Successfully got an update from the {} chart repository\n", quote(&d.repository));
        if text.is_empty() {
            text.push_str("Getting updates for unmanaged Helm repositories...\n");
        }
        if !text.contains(&line) {
            text.push_str(&line);
        }
    }
    text
}

/// The dependencies with the URLs of repositories that are meant by name (`@name`, `alias:name`).
fn addressed(asked: &[Dependency], fetch: &dyn Fetch) -> Result<Vec<Dependency>, Error> {
    let mut asked = asked.to_vec();
    let mut missing = Vec::new();
    for d in &mut asked {
        if d.repository.is_empty() || d.repository.contains("://") || d.repository.starts_with('/') {
            continue;
        }
        let name = d.repository.strip_prefix('@').or_else(|| d.repository.strip_prefix("alias:"));
        match name.and_then(|name| fetch.repository(name)) {
            Some(url) => d.repository = url,
            None => missing.push(d.repository.clone()),
        }
    }
    if missing.is_empty() {
        return Ok(asked);
    }
    let names = missing.join(", ");
    let mut text = format!("no repository definition for {names}. Please add them via 'helm repo add'");
    if missing.iter().any(|r| !r.contains("//") && !r.starts_with('@') && !r.starts_with("alias:")) {
        text.push_str("\nNote that repositories must be URLs or aliases. For example, to refer to the \"example\"\nrepository, use \"https://charts.example.com/\" or \"@example\" instead of\n\"example\". Don't forget to add the repo, too ('helm repo add').");
    }
    Err(refuse(text))
}

/// The archives of dependencies, with what was chosen.
type Archives = Vec<(Resolved, Vec<u8>)>;

/// The files of a directory that `file://` names.
type Folder<'f> = &'f dyn Fn(&str) -> Result<Files, Error>;

/// Gets dependencies into `charts/`. Nothing there changes before everything was got.
fn gather(dir: &Path, chart: &Chart, wanted: Vec<Resolved>, fetch: &dyn Fetch) -> Result<Built, Error> {
    let folder = |path: &str| {
        let folder = if path.starts_with('/') { PathBuf::from(path) } else { dir.join(path) };
        let folder = PathBuf::from(crate::funcs::paths::clean(&folder.to_string_lossy()));
        match folder.exists() {
            true => crate::load::dir_files(&folder),
            false => Err(refuse(format!("directory {} not found", folder.display()))),
        }
    };
    let (mut built, archives) = collect(dir, chart, wanted, &folder, fetch)?;
    built.text.push_str("Deleting outdated charts\n");
    let charts = dir.join("charts");
    std::fs::create_dir_all(&charts).map_err(|e| io(&charts, e))?;
    for (d, _) in &archives {
        remove_old(&charts, &d.name).map_err(|e| io(&charts, e))?;
    }
    for (d, bytes) in archives {
        let target = charts.join(format!("{}-{}.tgz", d.name, d.version));
        write_file(&target, &bytes).map_err(|e| io(&target, e))?;
    }
    Ok(built)
}

/// Gets dependencies, and says what Helm says meanwhile.
fn collect(
    dir: &Path,
    chart: &Chart,
    wanted: Vec<Resolved>,
    folder: Folder<'_>,
    fetch: &dyn Fetch,
) -> Result<(Built, Archives), Error> {
    let mut built = Built { resolved: Vec::new(), text: format!("Saving {} charts\n", wanted.len()) };
    let mut indexes = Indexes::new();
    let mut archives = Vec::new();
    let mut unfit = Vec::new();
    for mut d in wanted {
        match obtain(dir, chart, &mut d, folder, fetch, &mut indexes, &mut built.text)? {
            Got::There => {}
            Got::Archive(bytes) => archives.push((d.clone(), bytes)),
            Got::Unfit => {
                let [name, repository, version] = [&d.name, &d.repository, &d.version].map(|text| quote(text));
                unfit.push(format!("{name} (repository {repository}, version {version})"));
            }
        }
        built.resolved.push(d);
    }
    if unfit.is_empty() {
        return Ok((built, archives));
    }
    Err(refuse(format!(
        "can't get a valid version for {} subchart(s): {}. Make sure a matching chart version exists in the repo, or change the version constraint in Chart.yaml",
        unfit.len(),
        unfit.join(", ")
    )))
}

fn wish(d: &Dependency) -> Resolved {
    Resolved { name: d.name.clone(), version: d.version.clone(), repository: d.repository.clone() }
}

fn constraint(d: &Resolved) -> Result<Constraints, Error> {
    Constraints::parse(&d.version)
        .map_err(|e| refuse(format!("dependency {} has an invalid version/constraint format: {e}", quote(&d.name))))
}

fn obtain(
    dir: &Path,
    chart: &Chart,
    d: &mut Resolved,
    folder: Folder<'_>,
    fetch: &dyn Fetch,
    indexes: &mut Indexes,
    said: &mut String,
) -> Result<Got, Error> {
    let range = constraint(d)?;
    let fits = |chart: &Chart| Version::parse(&chart.metadata.version).is_ok_and(|v| range.check(&v));
    if d.repository.is_empty() {
        let place = dir.join("charts").join(&d.name);
        said.push_str(&format!(
            "Dependency {} did not declare a repository. Assuming it exists in the charts directory\n",
            d.name
        ));
        let found = chart.dependencies.iter().find(|c| c.name() == d.name);
        let Some(found) = found else { return Err(refuse(format!("directory {} not found", place.display()))) };
        if !fits(found) {
            return Err(refuse(format!(
                "dependency {} at version {} does not satisfy the constraint {}",
                quote(&d.name),
                quote(&found.metadata.version),
                quote(&d.version)
            )));
        }
        return Ok(Got::There);
    }
    if let Some(path) = d.repository.strip_prefix("file://") {
        let files = folder(path)?;
        let local = Chart::from_packed(files.clone())?;
        if !fits(&local) {
            return Ok(Got::Unfit);
        }
        d.version = local.metadata.version.clone();
        return pack(local.name(), &files).map(Got::Archive);
    }
    if d.repository.starts_with("oci://") {
        let repository = format!("{}/{}", d.repository, d.name);
        let path = repository.splitn(4, '/').nth(3).unwrap_or("");
        if path.split('/').any(str::is_empty) {
            let path = quote(path);
            return Err(refuse(format!(
                "could not download {repository}: invalid reference: invalid repository {path}"
            )));
        }
        let failed = |e: Error| refuse(format!("could not download {repository}: {e}"));
        let package = from_registry(&repository, &d.version, fetch).map_err(failed)?;
        d.version = package.version;
        said.push_str(&format!("Downloading {} from repo {}\n{}", d.name, d.repository, package.said));
        return Ok(Got::Archive(package.archive));
    }
    if !d.repository.starts_with("http://") && !d.repository.starts_with("https://") {
        return Err(refuse(format!("could not find protocol handler for: {}", scheme(&d.repository))));
    }
    match from_index(&d.repository, &d.name, &d.version, fetch, indexes)? {
        Found::NoChart => Err(refuse(format!("{} chart not found in repo {}", d.name, d.repository))),
        Found::NoVersion => Ok(Got::Unfit),
        Found::Chart(package) => {
            d.version = package.version;
            said.push_str(&format!("Downloading {} from repo {}\n", d.name, d.repository));
            Ok(Got::Archive(package.archive))
        }
    }
}

fn scheme(url: &str) -> &str {
    url.split_once("://").map_or("", |(scheme, _)| scheme)
}

fn remove_old(charts: &Path, name: &str) -> std::io::Result<()> {
    for entry in std::fs::read_dir(charts)? {
        let entry = entry?;
        if is_version_of(&entry.file_name().to_string_lossy(), name) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether a file in `charts/` is an archive of that chart.
fn is_version_of(file: &str, name: &str) -> bool {
    let version = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".tgz"));
    version.is_some_and(|version| Version::parse(version).is_ok())
}

/// Writes beside and renames, so that no half file is ever seen.
fn write_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let mut file = std::fs::File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(part, path)
}

/// The files of a chart as an archive: sorted entries and fixed times, so that the same files give the same bytes.
///
/// # Errors
/// A file that no archive can hold.
pub fn pack(name: &str, files: &Files) -> Result<Vec<u8>, Error> {
    let fail = |e: std::io::Error| Error::Output(format!("cannot pack chart {name}: {e}"));
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut archive = tar::Builder::new(gzip);
    for (path, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        archive.append_data(&mut header, format!("{name}/{path}"), data.as_slice()).map_err(fail)?;
    }
    archive.into_inner().map_err(fail)?.finish().map_err(fail)
}
