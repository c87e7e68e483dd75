//! Charts from repositories and registries.

use std::collections::BTreeMap;

use super::{Fetch, Pulled};
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
pub(in crate::cli) enum Found<T> {
    /// Nothing.
    NoChart,
    /// Other versions.
    NoVersion,
    /// What was asked for.
    Chart(T),
}

/// A chart archive as it was got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The version that was chosen.
    pub version: String,
    /// The archive.
    pub archive: Vec<u8>,
    /// What Helm prints of it.
    pub said: String,
}

/// One version of a chart in an index.
pub(in crate::cli) struct Entry {
    pub(in crate::cli) version: String,
    url: String,
    digest: Option<String>,
}

/// What an index says of a chart. `wanted` is a version or a range; empty is the newest that is no pre-release.
///
/// # Errors
/// An index that cannot be had.
pub(in crate::cli) fn entry(
    repository: &str,
    name: &str,
    wanted: &str,
    fetch: &dyn Fetch,
    indexes: &mut Indexes,
) -> Result<Found<Entry>, Error> {
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
    let url = if url.is_empty() || url.contains("://") {
        url.to_owned()
    } else {
        format!("{base}/{}", url.trim_start_matches('/'))
    };
    let digest = entry.and_then(|e| e["digest"].as_str()).map(str::to_owned);
    Ok(Found::Chart(Entry { version, url, digest }))
}

/// A chart of a repository with an index, as [`entry`] finds it.
///
/// # Errors
/// Helm's message, where the index or the archive cannot be had or the archive is not what the index says.
pub(in crate::cli) fn from_index(
    repository: &str,
    name: &str,
    wanted: &str,
    fetch: &dyn Fetch,
    indexes: &mut Indexes,
) -> Result<Found<Package>, Error> {
    let Entry { version, url, digest } = match entry(repository, name, wanted, fetch, indexes)? {
        Found::NoChart => return Ok(Found::NoChart),
        Found::NoVersion => return Ok(Found::NoVersion),
        Found::Chart(entry) => entry,
    };
    if url.is_empty() {
        let [name, version] = [name, &version].map(crate::value::quote::quote);
        return Err(refuse(format!("chart {name} version {version} has no downloadable URLs")));
    }
    // An index may lead to a registry.
    let archive = match url.strip_prefix("oci://") {
        Some(reference) => fetch.oci_chart(reference).map(|pulled| pulled.archive),
        None => fetch.get(&url),
    };
    let archive = archive.map_err(refuse)?;
    if let Some(digest) = digest {
        use sha2::Digest as _;
        let got = hex::encode(sha2::Sha256::digest(&archive));
        let want = digest.trim_start_matches("sha256:");
        if got != want {
            return Err(refuse(format!("chart {name} ({version}) has digest {got}, the index says {want}")));
        }
    }
    Ok(Found::Chart(Package { version, archive, said: String::new() }))
}

/// The version of a chart in a registry (`oci://host/path`, without the version) that `wanted` means.
///
/// # Errors
/// Helm's message, where no tag fits or the tags cannot be had.
pub(in crate::cli) fn tag(repository: &str, wanted: &str, fetch: &dyn Fetch) -> Result<String, Error> {
    let repository = bare(repository);
    if wanted.starts_with("sha256:") || is_exact(wanted) {
        return Ok(wanted.to_owned());
    }
    if !wanted.is_empty() {
        Constraints::parse(wanted).map_err(|e| refuse(e.to_string()))?;
    }
    let tags = fetch.oci_tags(repository).map_err(refuse)?;
    let tags: Vec<String> = tags.into_iter().map(|t| t.replace('_', "+")).collect();
    let found = best(tags.iter().map(String::as_str), if wanted.is_empty() { "*" } else { wanted });
    found.ok_or_else(|| {
        refuse(match wanted {
            "" => format!("unable to locate any tags in provided repository: oci://{repository}"),
            _ => format!("could not locate a version matching provided version string {wanted}"),
        })
    })
}

/// A chart of a registry, as [`tag`] finds it.
///
/// # Errors
/// As [`tag`], and where the archive cannot be had.
pub(in crate::cli) fn from_registry(repository: &str, wanted: &str, fetch: &dyn Fetch) -> Result<Package, Error> {
    pull(repository, tag(repository, wanted, fetch)?, fetch)
}

/// A chart of a registry at this very version.
///
/// # Errors
/// Where the archive cannot be had.
pub(in crate::cli) fn pull(repository: &str, version: String, fetch: &dyn Fetch) -> Result<Package, Error> {
    let repository = bare(repository);
    let reference = match version.starts_with("sha256:") {
        true => format!("{repository}@{version}"),
        false => format!("{repository}:{}", version.replace('+', "_")),
    };
    let Pulled { archive, digest } = fetch.oci_chart(&reference).map_err(refuse)?;
    let mut said = format!("Pulled: {reference}\nDigest: {digest}\n");
    if reference.contains('_') {
        said.push_str(&reference);
        said.push_str(UNDERSCORE);
    }
    Ok(Package { version, archive, said })
}

/// What Helm says of a reference whose version may have a plus sign.
const UNDERSCORE: &str = " contains an underscore.

OCI artifact references (e.g. tags) do not support the plus sign (+). To support
storing semantic versions, Helm adopts the convention of changing plus (+) to
an underscore (_) in chart version tags when pushing to a registry and back to
a plus (+) when pulling from a registry.
";

fn bare(repository: &str) -> &str {
    repository.strip_prefix("oci://").unwrap_or(repository).trim_end_matches('/')
}

/// Whether a text is one whole version and no range.
fn is_exact(text: &str) -> bool {
    let core = text.split(['-', '+']).next().unwrap_or("");
    core.starts_with(|c: char| c.is_ascii_digit()) && core.matches('.').count() == 2 && Version::parse(text).is_ok()
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
