//! Charts from directories and archives: the only part that reads a disk.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::chart::Chart;
use crate::error::Error;

pub mod ignore;

/// Bytes that an archive may hold unpacked. Helm's own bound is 100 MiB.
const MAX_TOTAL: u64 = 100 << 20;
/// Bytes that one file may have. Helm's own bound is 5 MiB.
const MAX_FILE: u64 = 5 << 20;

/// The chart in a directory, without what its `.helmignore` names.
///
/// # Errors
/// What cannot be read, and what is no chart.
pub fn from_dir(path: impl AsRef<Path>) -> Result<Chart, Error> {
    Chart::from_files(dir_files(path.as_ref())?)
}

/// A chart by path: a directory or an archive.
///
/// # Errors
/// As [`from_dir`] and [`from_archive`].
pub fn from_path(path: impl AsRef<Path>) -> Result<Chart, Error> {
    let path = path.as_ref();
    let io = |e: std::io::Error| Error::Io { path: path.display().to_string(), reason: e.to_string() };
    if std::fs::metadata(path).map_err(io)?.is_dir() {
        return from_dir(path);
    }
    from_archive(&std::fs::read(path).map_err(io)?)
}

/// The chart in a `.tgz`.
///
/// # Errors
/// An archive that is damaged, too large, or no chart.
pub fn from_archive(bytes: &[u8]) -> Result<Chart, Error> {
    Chart::from_packed(archive_files(bytes)?)
}

/// The files of a chart directory by their path in it.
///
/// # Errors
/// What cannot be read.
pub fn dir_files(root: &Path) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let io = |path: &Path, e: std::io::Error| Error::Io { path: path.display().to_string(), reason: e.to_string() };
    let rules = match std::fs::read_to_string(root.join(".helmignore")) {
        Ok(text) => ignore::Rules::parse(&text).map_err(Error::Load)?,
        Err(_) => ignore::Rules::default(),
    };
    let mut files = BTreeMap::new();
    let mut pending = vec![(root.to_path_buf(), String::new(), 0)];
    let mut total = 0u64;
    while let Some((dir, prefix, depth)) = pending.pop() {
        if depth > 64 {
            return Err(Error::Load(format!("{} is nested too deep", dir.display())));
        }
        let entries = std::fs::read_dir(&dir).map_err(|e| io(&dir, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| io(&dir, e))?;
            let path = entry.path();
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            // Links are followed, as Helm does; a link that leads in a circle ends by the depth.
            let meta = std::fs::metadata(&path).map_err(|e| io(&path, e))?;
            if rules.ignores(&name, meta.is_dir()) {
                continue;
            }
            if meta.is_dir() {
                pending.push((path, format!("{name}/"), depth + 1));
                continue;
            }
            if !meta.is_file() {
                return Err(Error::Load(format!(
                    "cannot load irregular file {} as it has file mode type bits set",
                    path.display()
                )));
            }
            if meta.len() > MAX_FILE {
                return Err(Error::Load(format!(
                    "chart file {} is larger than the maximum file size {MAX_FILE}",
                    crate::value::quote::quote(&entry.file_name().to_string_lossy())
                )));
            }
            total += meta.len();
            if total > MAX_TOTAL {
                return Err(Error::Load(format!("chart is larger than the maximum size {MAX_TOTAL}")));
            }
            let data = std::fs::read(&path).map_err(|e| io(&path, e))?;
            files.insert(name, without_bom(data));
        }
    }
    Ok(files)
}

fn without_bom(data: Vec<u8>) -> Vec<u8> {
    match data.strip_prefix("\u{feff}".as_bytes()) {
        Some(rest) => rest.to_vec(),
        None => data,
    }
}

/// Leaves out what the `.helmignore` among the files names, and hidden files in `templates/`.
///
/// # Errors
/// A rule that Helm does not support.
pub fn without_ignored(files: BTreeMap<String, Vec<u8>>) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let rules = match files.get(".helmignore") {
        Some(text) => ignore::Rules::parse(&String::from_utf8_lossy(text)).map_err(Error::Load)?,
        None => ignore::Rules::default(),
    };
    Ok(files
        .into_iter()
        .filter(|(path, _)| {
            let dirs = path.match_indices('/').map(|(at, _)| &path[..at]);
            !dirs.into_iter().any(|d| rules.ignores(d, true)) && !rules.ignores(path, false)
        })
        .collect())
}

/// The files of a chart archive by their path in the chart.
///
/// # Errors
/// An archive that is damaged, too large, or reaches outside itself.
pub fn archive_files(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let load = |m: String| Error::Load(m);
    if bytes.len() >= 2 && bytes[..2] != [0x1f, 0x8b] {
        return Err(load("file does not appear to be a gzipped archive".to_owned()));
    }
    let limited = flate2::read::MultiGzDecoder::new(bytes).take(MAX_TOTAL + (16 << 20));
    let mut archive = tar::Archive::new(limited);
    let mut files = BTreeMap::new();
    let mut total = 0u64;
    for entry in archive.entries().map_err(|e| load(e.to_string()))? {
        let mut entry = entry.map_err(|e| load(e.to_string()))?;
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() || kind.is_pax_local_extensions() {
            continue;
        }
        let raw = entry.path_bytes().into_owned();
        let raw = String::from_utf8_lossy(&raw).replace('\\', "/");
        let name = match raw.split_once('/') {
            Some((_, rest)) => rest.to_owned(),
            None if raw == "Chart.yaml" => {
                return Err(load("chart yaml not in base directory".to_owned()));
            }
            None => continue,
        };
        let name = crate::funcs::paths::clean(&name);
        if name == "." || name.starts_with("../") || name == ".." {
            return Err(load(if name == "." {
                format!(
                    "chart illegally contains content outside the base directory: {}",
                    crate::value::quote::quote(&raw)
                )
            } else {
                "chart illegally references parent directory".to_owned()
            }));
        }
        if name.starts_with('/') {
            return Err(load("chart contains illegally named files".to_owned()));
        }
        if raw.as_bytes().get(1) == Some(&b':') {
            return Err(load("chart contains illegally named files".to_owned()));
        }
        let size = entry.header().size().unwrap_or(0);
        if size > MAX_FILE {
            return Err(load(format!(
                "decompressed chart file {} is larger than the maximum file size {MAX_FILE}",
                crate::value::quote::quote(&raw)
            )));
        }
        total += size;
        if total > MAX_TOTAL {
            return Err(load(format!("decompressed chart is larger than the maximum size {MAX_TOTAL}")));
        }
        let mut data = Vec::new();
        (&mut entry).take(MAX_FILE + 1).read_to_end(&mut data).map_err(|e| load(e.to_string()))?;
        files.insert(name, without_bom(data));
    }
    if files.is_empty() {
        return Err(load("no files in chart archive".to_owned()));
    }
    Ok(files)
}
