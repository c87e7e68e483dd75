//! Charts from repositories and registries.

use std::collections::BTreeMap;

use super::Fetch;
use crate::error::Error;
use crate::funcs::semver::{Constraints, Version};

/// Indexes already read, by the URL of their repository.
pub(in crate::cli) type Indexes = BTreeMap<String, serde_json::Value>;

fn refuse(text: String) -> Error {
    Error::Refused(text)
}

/// The index of a repository.
fn index<'i>(base: &str, fetch: &dyn Fetch, indexes: &'i mut Indexes) -> Result<&'i serde_json::Value, Error> {
    if !indexes.contains_key(base) {
        let url = format!("{base}/index.yaml");
        let unreachable = |e: String| {
            let shown = crate::value::quote::quote(base);
            refuse(format!("looks like {shown} is not a valid chart repository or cannot be reached: {e}"))
        };
        let bytes = fetch.get(&url).map_err(unreachable)?;
        let index = goyaml::from_str(&String::from_utf8_lossy(&bytes))
            .map_err(|e| unreachable(format!("error converting YAML to JSON: {e}")))?;
        indexes.insert(base.to_owned(), index);
    }
    Ok(&indexes[base])
}

/// What a repository with an index has of a chart.
pub(in crate::cli) enum Found {
    /// Nothing.
    NoChart,
    /// Other versions.
    NoVersion,
    /// A version, and its archive.
    Chart(String, Vec<u8>),
}

/// A chart of a repository with an index. `wanted` is a version or a range; empty is the newest
/// that is no pre-release.
///
/// # Errors
/// Helm's message, where the chart or its version is not there.
pub(in crate::cli) fn from_index(
    repository: &str,
    name: &str,
    wanted: &str,
    fetch: &dyn Fetch,
    indexes: &mut Indexes,
) -> Result<Found, Error> {
    let base = repository.trim_end_matches('/');
    let index = index(base, fetch, indexes)?;
    let entries = index["entries"][name].as_array().map(Vec::as_slice).unwrap_or_default();
    if entries.is_empty() {
        return Ok(Found::NoChart);
    }
    let versions = entries.iter().filter_map(|e| e["version"].as_str());
    let Some(version) = best(versions, if wanted.is_empty() { "*" } else { wanted }) else {
        return Ok(Found::NoVersion);
    };
    let entry = entries.iter().find(|e| e["version"].as_str() == Some(&version));
    let url = entry.and_then(|e| e["urls"][0].as_str()).unwrap_or("");
    if url.is_empty() {
        let [name, version] = [name, &version].map(crate::value::quote::quote);
        return Err(refuse(format!("chart {name} version {version} has no downloadable URLs")));
    }
    let absolute = if url.contains("://") { url.to_owned() } else { format!("{base}/{}", url.trim_start_matches('/')) };
    let bytes = fetch.get(&absolute).map_err(refuse)?;
    if let Some(digest) = entry.and_then(|e| e["digest"].as_str()) {
        use sha2::Digest as _;
        let got = hex::encode(sha2::Sha256::digest(&bytes));
        let want = digest.trim_start_matches("sha256:");
        if got != want {
            return Err(refuse(format!("chart {name} ({version}) has digest {got}, the index says {want}")));
        }
    }
    Ok(Found::Chart(version, bytes))
}

/// A chart of a registry (`oci://host/path`, without the version): its version and its archive.
///
/// # Errors
/// As [`from_index`].
pub(in crate::cli) fn from_registry(
    repository: &str,
    wanted: &str,
    fetch: &dyn Fetch,
) -> Result<(String, Vec<u8>), Error> {
    let repository = repository.strip_prefix("oci://").unwrap_or(repository).trim_end_matches('/');
    let exact =
        Version::parse(wanted).is_ok() && wanted.split(['-', '+']).next().unwrap_or("").matches('.').count() == 2;
    let version = if exact {
        wanted.to_owned()
    } else {
        let tags = fetch.oci_tags(repository).map_err(refuse)?;
        let tags: Vec<String> = tags.into_iter().map(|t| t.replace('_', "+")).collect();
        let found = best(tags.iter().map(String::as_str), if wanted.is_empty() { "*" } else { wanted });
        found.ok_or_else(|| {
            refuse(match wanted {
                "" => format!("unable to locate any tags in provided repository: oci://{repository}"),
                _ => format!("could not locate a version matching provided version string {wanted}"),
            })
        })?
    };
    let reference = format!("{repository}:{}", version.replace('+', "_"));
    Ok((version, fetch.oci_chart(&reference).map_err(refuse)?))
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
