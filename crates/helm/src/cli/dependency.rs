//! `dependency list` and `dependency build`.
//!
//! Building gets each dependency from a directory (`file://`), a repository with an index (`http(s)://`) or a registry
//! (`oci://`). The network is the caller's: see [`Fetch`].

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::chart::{Chart, Dependency};
use crate::error::Error;
use crate::funcs::semver::{Constraints, Version};
use crate::values::process::is_compatible;

/// Gets things from the network.
pub trait Fetch {
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
    /// The chart archive of a reference in a registry (`host/path:tag`).
    ///
    /// # Errors
    /// Why it was not got.
    fn oci_chart(&self, reference: &str) -> Result<Vec<u8>, String>;
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

/// The table that `dependency list` prints.
///
/// # Errors
/// A chart that cannot be read.
pub fn list(path: &Path) -> Result<String, Error> {
    let chart = crate::load::from_path(path)?;
    let declared = &chart.metadata.dependencies;
    if declared.is_empty() {
        return Ok(format!("WARNING: no dependencies at {}\n", path.join("charts").display()));
    }
    let mut rows = vec![["NAME", "VERSION", "REPOSITORY", "STATUS"].map(str::to_owned)];
    for d in declared {
        rows.push([d.name.clone(), d.version.clone(), d.repository.clone(), status(path, &chart, d)]);
    }
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

/// Gets what `Chart.lock` (or else `Chart.yaml`) names into `charts/`, and writes `Chart.lock`.
///
/// # Errors
/// A dependency that is not found, in words that name it.
pub fn build(dir: &Path, fetch: &dyn Fetch) -> Result<Vec<Resolved>, Error> {
    let chart = crate::load::from_dir(dir)?;
    let mut indexes = BTreeMap::new();
    let locked = chart.lock.as_deref().map(read_lock).unwrap_or_default();
    let charts = dir.join("charts");
    let io = |path: &Path, e: std::io::Error| Error::Io { path: path.display().to_string(), reason: e.to_string() };
    let mut resolved = Vec::new();
    for d in &chart.metadata.dependencies {
        if d.repository.is_empty() {
            // The chart itself has it unpacked.
            let found = chart.dependencies.iter().find(|c| c.name() == d.name);
            let Some(found) = found else {
                return Err(Error::Refused(format!("directory {} not found", charts.join(&d.name).display())));
            };
            resolved.push(Resolved {
                name: d.name.clone(),
                version: found.metadata.version.clone(),
                repository: String::new(),
            });
            continue;
        }
        let pinned = locked.iter().find(|l| l.name == d.name && is_compatible(&d.version, &l.version));
        let wanted = pinned.map_or(d.version.as_str(), |l| l.version.as_str());
        let (version, archive) = obtain(dir, d, wanted, fetch, &mut indexes)?;
        std::fs::create_dir_all(&charts).map_err(|e| io(&charts, e))?;
        remove_old(&charts, &d.name).map_err(|e| io(&charts, e))?;
        let target = charts.join(format!("{}-{version}.tgz", d.name));
        write_file(&target, &archive).map_err(|e| io(&target, e))?;
        resolved.push(Resolved { name: d.name.clone(), version, repository: d.repository.clone() });
    }
    let lock = dir.join("Chart.lock");
    write_file(&lock, write_lock(&resolved).as_bytes()).map_err(|e| io(&lock, e))?;
    Ok(resolved)
}

fn remove_old(charts: &Path, name: &str) -> std::io::Result<()> {
    for entry in std::fs::read_dir(charts)? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let version = file.strip_prefix(&format!("{name}-")).and_then(|r| r.strip_suffix(".tgz"));
        if version.is_some_and(|v| Version::parse(v).is_ok()) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Writes beside and renames, so that no half file is ever seen.
fn write_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let mut file = std::fs::File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(part, path)
}

fn read_lock(text: &str) -> Vec<Resolved> {
    let Ok(value) = goyaml::from_str(text) else { return Vec::new() };
    let field = |d: &serde_json::Value, key: &str| d[key].as_str().unwrap_or("").to_owned();
    value["dependencies"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|d| Resolved { name: field(d, "name"), version: field(d, "version"), repository: field(d, "repository") })
        .collect()
}

fn write_lock(resolved: &[Resolved]) -> String {
    let dependencies: Vec<serde_json::Value> = resolved
        .iter()
        .map(|r| serde_json::json!({"name": r.name, "repository": r.repository, "version": r.version}))
        .collect();
    goyaml::to_string(&serde_json::json!({"dependencies": dependencies}))
}

type Indexes = BTreeMap<String, serde_json::Value>;

fn obtain(
    dir: &Path,
    d: &Dependency,
    wanted: &str,
    fetch: &dyn Fetch,
    indexes: &mut Indexes,
) -> Result<(String, Vec<u8>), Error> {
    let refuse = |text: String| Error::Refused(text);
    if let Some(path) = d.repository.strip_prefix("file://") {
        let folder = if path.starts_with('/') { PathBuf::from(path) } else { dir.join(path) };
        let chart = crate::load::from_dir(&folder)?;
        if !is_compatible(wanted, &chart.metadata.version) {
            return Err(refuse(format!(
                "can't get a valid version for dependency {} ({wanted}): the directory has {}",
                d.name, chart.metadata.version
            )));
        }
        let bytes = pack(&chart)?;
        return Ok((chart.metadata.version.clone(), bytes));
    }
    if let Some(base) = d.repository.strip_prefix("oci://") {
        let repository = format!("{}/{}", base.trim_end_matches('/'), d.name);
        let version = if Version::parse(wanted).is_ok() && wanted.matches('.').count() == 2 {
            wanted.to_owned()
        } else {
            let tags = fetch.oci_tags(&repository).map_err(&refuse)?;
            let tags: Vec<String> = tags.into_iter().map(|t| t.replace('_', "+")).collect();
            best(tags.iter().map(String::as_str), wanted).ok_or_else(|| {
                refuse(format!("could not locate a version matching provided version string {wanted}"))
            })?
        };
        let reference = format!("{repository}:{}", version.replace('+', "_"));
        return Ok((version, fetch.oci_chart(&reference).map_err(refuse)?));
    }
    if !d.repository.starts_with("http://") && !d.repository.starts_with("https://") {
        return Err(refuse(format!(
            "repository {} of dependency {} is of no kind that is known here: use file://, http(s):// or oci://",
            crate::value::quote::quote(&d.repository),
            d.name
        )));
    }
    let base = d.repository.trim_end_matches('/');
    if !indexes.contains_key(base) {
        let url = format!("{base}/index.yaml");
        let bytes = fetch.get(&url).map_err(|e| {
            refuse(format!(
                "looks like {} is not a valid chart repository or cannot be reached: {e}",
                crate::value::quote::quote(base)
            ))
        })?;
        let index = goyaml::from_str(&String::from_utf8_lossy(&bytes))
            .map_err(|e| refuse(format!("error reading {url}: {e}")))?;
        indexes.insert(base.to_owned(), index);
    }
    let entries = indexes[base]["entries"][&d.name].as_array().cloned().unwrap_or_default();
    if entries.is_empty() {
        return Err(refuse(format!("{} chart not found in repo {}", d.name, d.repository)));
    }
    let versions = entries.iter().filter_map(|e| e["version"].as_str());
    let version = best(versions, wanted)
        .ok_or_else(|| refuse(format!("can't get a valid version for dependency {} ({wanted})", d.name)))?;
    let entry = entries.iter().find(|e| e["version"].as_str() == Some(&version));
    let url = entry.and_then(|e| e["urls"][0].as_str()).unwrap_or("");
    if url.is_empty() {
        return Err(refuse(format!("chart {} ({version}) has no URL in the index of {}", d.name, d.repository)));
    }
    let absolute = if url.contains("://") { url.to_owned() } else { format!("{base}/{}", url.trim_start_matches('/')) };
    let bytes = fetch.get(&absolute).map_err(&refuse)?;
    if let Some(digest) = entry.and_then(|e| e["digest"].as_str()) {
        use sha2::Digest as _;
        let got = hex::encode(sha2::Sha256::digest(&bytes));
        let want = digest.trim_start_matches("sha256:");
        if got != want {
            return Err(refuse(format!("chart {} ({version}) has digest {got}, the index says {want}", d.name)));
        }
    }
    Ok((version, bytes))
}

/// The greatest version that satisfies a constraint.
fn best<'v>(versions: impl Iterator<Item = &'v str>, wanted: &str) -> Option<String> {
    let constraint = Constraints::parse(wanted).ok()?;
    versions
        .filter_map(|v| Some((Version::parse(v).ok()?, v)))
        .filter(|(parsed, text)| constraint.check(parsed) || *text == wanted)
        .max_by(|a, b| a.0.compare(&b.0))
        .map(|(_, text)| text.to_owned())
}

/// A chart as an archive: sorted entries and fixed times, so that the same files give the same bytes.
///
/// # Errors
/// A file that no archive can hold.
pub fn pack(chart: &Chart) -> Result<Vec<u8>, Error> {
    let fail = |e: std::io::Error| Error::Output(format!("cannot pack chart {}: {e}", chart.name()));
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut archive = tar::Builder::new(gzip);
    for (name, data) in chart.raw.iter() {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        archive.append_data(&mut header, format!("{}/{name}", chart.name()), data.as_slice()).map_err(fail)?;
    }
    archive.into_inner().map_err(fail)?.finish().map_err(fail)
}
