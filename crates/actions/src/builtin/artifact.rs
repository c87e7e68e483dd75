//! `actions/upload-artifact` and `actions/download-artifact`: artifacts of a run, kept as trees of files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::tree::{self, How};
use super::{Inputs, glob};
use crate::job::Executor;
use crate::job::steps_api::Current;
use crate::model::now_ms;

/// Artifacts of all runs.
#[derive(Debug, Clone)]
pub struct ArtifactStore {
    dir: PathBuf,
}

/// What is known of an artifact.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Meta {
    /// Unique among all artifacts.
    pub id: i64,
    /// Its name, unique in its run.
    pub name: String,
    /// The run.
    pub run: i64,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of what a client downloads: the archive, or the one file.
    pub digest: String,
    /// When, in milliseconds since the epoch.
    pub created_ms: i64,
    /// How many days it is kept.
    pub retention_days: u32,
    /// Whether the directory holds what a client of the protocol uploaded, as one file, rather than the files of a tree.
    #[serde(default)]
    pub archive: bool,
    /// The attempt of the run that made it. A later attempt may make it anew.
    #[serde(default = "first")]
    pub attempt: i64,
    /// The media type of an artifact that is one file and no archive.
    #[serde(default)]
    pub mime: Option<String>,
}

fn first() -> i64 {
    1
}

impl Meta {
    /// A new artifact's, with an id of its own.
    pub fn new() -> Self {
        Self {
            id: next_id(),
            name: String::new(),
            run: 0,
            size: 0,
            digest: String::new(),
            created_ms: now_ms(),
            retention_days: 90,
            archive: false,
            attempt: 1,
            mime: None,
        }
    }

    /// The name of the file that a client downloads.
    pub fn file_name(&self) -> String {
        if self.mime.is_some() { self.name.clone() } else { format!("{}.zip", self.name) }
    }

    fn expired(&self) -> bool {
        now_ms() > self.created_ms + i64::from(self.retention_days) * 86_400_000
    }
}

impl Default for Meta {
    fn default() -> Self {
        Self::new()
    }
}

/// Why an artifact cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The run has one of that name.
    #[error("(409) Conflict: an artifact with this name already exists on the workflow run: {0}")]
    Taken(String),
    /// The disk says no.
    #[error("cannot store the artifact {name}")]
    Io {
        /// Its name.
        name: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Refuses names that not every file system takes.
pub fn valid_name(name: &str) -> Result<(), String> {
    match name.chars().find(|c| "\":<>|*?\r\n\\/".contains(*c)) {
        Some(bad) => Err(format!("The artifact name is not valid: {name}. Contains the following character: {bad:?}")),
        None if name.is_empty() => Err("The artifact name is empty".to_owned()),
        None => Ok(()),
    }
}

fn file_name(name: &str) -> String {
    hex::encode(&Sha256::digest(name)[..12])
}

/// Microseconds since the epoch: unique enough, and growing.
fn next_id() -> i64 {
    use std::sync::atomic::{AtomicI64, Ordering};
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = jiff::Timestamp::now().as_microsecond();
    LAST.fetch_max(now, Ordering::SeqCst);
    LAST.fetch_add(1, Ordering::SeqCst)
}

impl ArtifactStore {
    /// Keeps artifacts below `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn run(&self, run: i64) -> PathBuf {
        self.dir.join(run.to_string())
    }

    /// The artifacts of a run, with the directories of their files.
    pub fn list(&self, run: i64) -> Vec<(PathBuf, Meta)> {
        let mut out: Vec<(PathBuf, Meta)> = std::fs::read_dir(self.run(run))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
            .filter_map(|entry| {
                let meta: Meta = serde_json::from_slice(&std::fs::read(entry.path().join("meta.json")).ok()?).ok()?;
                if meta.expired() {
                    crate::job::workspace::remove_all(&entry.path());
                    return None;
                }
                Some((entry.path().join("files"), meta))
            })
            .collect();
        out.sort_by(|(_, a): &(PathBuf, Meta), (_, b)| {
            a.created_ms.cmp(&b.created_ms).then_with(|| a.name.cmp(&b.name))
        });
        out
    }

    /// An artifact by id, of any run.
    pub fn by_id(&self, id: i64) -> Option<(PathBuf, Meta)> {
        std::fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .find_map(|run| self.list(run).into_iter().find(|(_, meta)| meta.id == id))
    }

    /// Fails when the attempt of the run has an artifact of this name; one of an earlier attempt does not count.
    pub fn vacant(&self, run: i64, attempt: i64, name: &str) -> Result<(), StoreError> {
        let meta = self.run(run).join(file_name(name)).join("meta.json");
        let meta = std::fs::read(meta).ok().and_then(|bytes| serde_json::from_slice::<Meta>(&bytes).ok());
        match meta {
            Some(meta) if meta.attempt >= attempt && !meta.expired() => Err(StoreError::Taken(name.to_owned())),
            _ => Ok(()),
        }
    }

    /// Puts an artifact in place that `fill` writes into a directory.
    fn place(
        &self,
        mut meta: Meta,
        overwrite: bool,
        fill: impl FnOnce(&Path, &mut Meta) -> std::io::Result<()>,
    ) -> Result<Meta, StoreError> {
        if !overwrite {
            self.vacant(meta.run, meta.attempt, &meta.name)?;
        }
        let fail = |source: std::io::Error| StoreError::Io { name: meta.name.clone(), source };
        let dir = self.run(meta.run).join(file_name(&meta.name));
        let temp = self.run(meta.run).join(format!(".{}", uuid::Uuid::new_v4()));
        let write = |meta: &mut Meta| {
            std::fs::create_dir_all(temp.join("files"))?;
            fill(&temp.join("files"), meta)?;
            crate::files::write_durably(&temp.join("meta.json"), &serde_json::to_vec(meta)?)?;
            crate::job::workspace::remove_all(&dir);
            std::fs::rename(&temp, &dir)
        };
        let mut done = meta.clone();
        write(&mut done).map_err(|error| {
            crate::job::workspace::remove_all(&temp);
            fail(error)
        })?;
        meta = done;
        Ok(meta)
    }

    /// Stores files. `base` is what their paths are relative to.
    pub fn store(&self, meta: Meta, base: &Path, files: &[PathBuf], overwrite: bool) -> Result<Meta, StoreError> {
        self.place(meta, overwrite, |to, meta| {
            for file in files {
                let target = to.join(file.strip_prefix(base).unwrap_or(file));
                // What a link leads to is stored, and every file is an ordinary one: GitHub keeps no permissions.
                meta.size += tree::transfer(&file.canonicalize()?, &target, How::Copy, to, &mut Vec::new())?;
                std::fs::set_permissions(&target, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
            }
            meta.digest = format!("sha256:{}", crate::zip::digest(to)?);
            Ok(())
        })
    }

    /// Stores one file as it is, to be downloaded as it is.
    pub fn store_file(&self, mut meta: Meta, file: &Path, overwrite: bool) -> Result<Meta, StoreError> {
        meta.archive = true;
        self.place(meta, overwrite, |to, meta| {
            meta.size = std::fs::copy(file, to.join(CONTENT))?;
            meta.digest = format!("sha256:{}", crate::services::file_digest(&to.join(CONTENT))?);
            Ok(())
        })
    }

    /// Takes over a file that a client uploaded, whose size and digest are in `meta`.
    pub fn adopt(&self, meta: Meta, content: &Path) -> Result<Meta, StoreError> {
        self.place(meta, false, |to, _| std::fs::rename(content, to.join(CONTENT)))
    }

    /// The file that a client downloads; the archive of a tree is made when it is first asked for.
    pub fn content(&self, files: &Path, meta: &Meta) -> std::io::Result<PathBuf> {
        if meta.archive {
            return Ok(files.join(CONTENT));
        }
        let path = files.with_file_name("artifact.zip");
        if !path.is_file() {
            let temp = files.with_file_name(format!(".{}", uuid::Uuid::new_v4()));
            let made =
                std::fs::File::create(&temp).and_then(|file| crate::zip::pack(files, std::io::BufWriter::new(file)));
            made.and_then(|_| std::fs::rename(&temp, &path)).inspect_err(|_| drop(std::fs::remove_file(&temp)))?;
        }
        Ok(path)
    }

    /// Puts an artifact's files below a directory.
    pub fn restore(&self, files: &Path, meta: &Meta, to: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(to)?;
        match (&meta.mime, meta.archive) {
            (Some(_), _) => std::fs::copy(files.join(CONTENT), to.join(&meta.name)).map(drop),
            (None, true) => crate::zip::unpack(&files.join(CONTENT), to),
            (None, false) => tree::transfer(files, to, How::Copy, to, &mut Vec::new()).map(drop),
        }
    }

    /// Deletes an artifact.
    pub fn delete(&self, id: i64) -> bool {
        match self.by_id(id) {
            Some((files, _)) => {
                if let Some(dir) = files.parent() {
                    crate::job::workspace::remove_all(dir);
                }
                true
            }
            None => false,
        }
    }
}

/// What a client uploaded, in an artifact's directory of files.
const CONTENT: &str = "artifact.zip";

const UPLOAD: &[&str] = &[
    "name",
    "path",
    "if-no-files-found",
    "retention-days",
    "compression-level",
    "overwrite",
    "include-hidden-files",
    "archive",
];
const DOWNLOAD: &[&str] = &[
    "name",
    "artifact-ids",
    "path",
    "pattern",
    "merge-multiple",
    "github-token",
    "repository",
    "run-id",
    "skip-decompress",
    "digest-mismatch",
];

impl Executor {
    pub(super) fn upload_artifact(&mut self, inputs: &Inputs, current: &mut Current) -> Result<(), String> {
        inputs.check(UPLOAD, &[], self)?;
        let archive = inputs.boolean("archive", true)?;
        let mut name = inputs.or("name", "artifact").to_owned();
        valid_name(&name)?;
        let paths = inputs.lines("path");
        if paths.is_empty() {
            return Err("Input required and not supplied: path".to_owned());
        }
        let (workspace, home) = (self.workspace.workspace.clone(), self.workspace.home.clone());
        let hidden = inputs.boolean("include-hidden-files", false)?;
        let mut files: Vec<PathBuf> =
            glob::find(&workspace, Some(&home), &paths, true)?.into_iter().filter(|path| path.is_file()).collect();
        if !hidden {
            files.retain(|path| {
                let relative = path.strip_prefix(&workspace).unwrap_or(path);
                !relative.components().any(|part| part.as_os_str().to_string_lossy().starts_with('.'))
            });
        }
        if files.is_empty() {
            let message = format!(
                "No files were found with the provided path: {}. No artifacts will be uploaded.",
                paths.join("\n")
            );
            return match inputs.or("if-no-files-found", "warn") {
                "error" => Err(message),
                "ignore" => {
                    self.log.line(&message);
                    Ok(())
                }
                _ => {
                    self.log.line(&format!("##[warning]{message}"));
                    Ok(())
                }
            };
        }
        let overwrite = inputs.boolean("overwrite", false)?;
        let mut meta = Meta {
            run: self.spec.run.id,
            attempt: self.spec.run.attempt,
            retention_days: inputs.get("retention-days").parse().ok().filter(|days| *days > 0).unwrap_or(90),
            ..Meta::new()
        };
        let stored = if archive {
            meta.name.clone_from(&name);
            let base = common_root(&workspace, &home, &paths, &files)?;
            self.services.artifacts.store(meta, &base, &files, overwrite)
        } else {
            let [file] = files.as_slice() else {
                return Err(format!(
                    "'archive: false' uploads a single file, and the path matches {}: {}",
                    files.len(),
                    paths.join(", ")
                ));
            };
            // As the original: the artifact is called what the file is called.
            name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            meta.name.clone_from(&name);
            meta.mime = Some("application/octet-stream".to_owned());
            self.services.artifacts.store_file(meta, file, overwrite)
        };
        let meta = stored.map_err(|error| match error {
            StoreError::Taken(_) => format!("Failed to CreateArtifact: Received non-retryable error: {error}"),
            StoreError::Io { .. } => crate::job::error_chain(&error),
        })?;
        self.log.line(&format!(
            "Artifact {name} has been successfully uploaded! {} files, {} bytes. Artifact ID {}",
            files.len(),
            meta.size,
            meta.id
        ));
        let url = format!(
            "{}/{}/actions/runs/{}/artifacts/{}",
            self.services.host.server_url(),
            self.spec.run.repository,
            self.spec.run.id,
            meta.id
        );
        Self::outputs(
            current,
            [
                ("artifact-id", meta.id.to_string()),
                ("artifact-url", url),
                ("artifact-digest", meta.digest.trim_start_matches("sha256:").to_owned()),
            ],
        );
        Ok(())
    }

    pub(super) fn download_artifact(&mut self, inputs: &Inputs, current: &mut Current) -> Result<(), String> {
        inputs.check(DOWNLOAD, &[], self)?;
        inputs.only("skip-decompress", &["false"])?;
        if !inputs.get("repository").is_empty()
            && !inputs.get("repository").eq_ignore_ascii_case(&self.spec.run.repository)
        {
            return Err(format!(
                "download-artifact from another repository ({}) is not supported here",
                inputs.get("repository")
            ));
        }
        let run = match inputs.get("run-id") {
            "" => self.spec.run.id,
            text => text.parse().map_err(|_| format!("run-id '{text}' is not a number"))?,
        };
        let workspace = &self.workspace.workspace;
        let target = match inputs.get("path") {
            "" => workspace.clone(),
            path if path.starts_with('~') => self.workspace.home.join(path.trim_start_matches(['~', '/'])),
            path => workspace.join(path),
        };
        let all = self.services.artifacts.list(run);
        let (name, pattern, ids) = (inputs.get("name"), inputs.get("pattern"), inputs.get("artifact-ids"));
        let merge = inputs.boolean("merge-multiple", false)?;
        let one = !name.is_empty();
        let chosen: Vec<&(PathBuf, Meta)> = if one {
            let found: Vec<_> = all.iter().filter(|(_, meta)| meta.name == name).collect();
            if found.is_empty() {
                return Err(format!("Unable to download artifact(s): Artifact not found for name: {name}"));
            }
            found
        } else if !ids.is_empty() {
            let ids: Vec<i64> = ids.split([',', '\n']).filter_map(|id| id.trim().parse().ok()).collect();
            all.iter().filter(|(_, meta)| ids.contains(&meta.id)).collect()
        } else if pattern.is_empty() {
            all.iter().collect()
        } else {
            let pattern = crate::filter::Pattern::parse(pattern)
                .map_err(|problem| format!("the pattern is not valid: {problem}"))?;
            all.iter().filter(|(_, meta)| pattern.matches(&meta.name) != pattern.is_negative()).collect()
        };
        let flat = one || merge || (!ids.is_empty() && chosen.len() == 1);
        for (files, meta) in &chosen {
            let to = if flat { target.clone() } else { target.join(&meta.name) };
            self.services
                .artifacts
                .restore(files, meta, &to)
                .map_err(|error| format!("cannot restore the artifact {}: {error}", meta.name))?;
            self.log.line(&format!("Artifact download completed: {} ({} bytes)", meta.name, meta.size));
        }
        self.log.line(&format!("Total of {} artifact(s) downloaded", chosen.len()));
        Self::outputs(current, [("download-path", target.to_string_lossy().into_owned())]);
        Ok(())
    }
}

/// What the paths in an artifact are relative to: the directory that all search paths share, as the original has it.
fn common_root(workspace: &Path, home: &Path, paths: &[String], files: &[PathBuf]) -> Result<PathBuf, String> {
    let roots = glob::roots(workspace, home, paths)?;
    if let [root] = roots.as_slice() {
        if root.is_file() {
            return Ok(root.parent().unwrap_or(root).to_owned());
        }
        return Ok(root.clone());
    }
    let all: Vec<&PathBuf> = if roots.is_empty() { files.iter().collect() } else { roots.iter().collect() };
    let mut common: Option<PathBuf> = None;
    for path in all {
        let dir = if path.is_file() { path.parent().unwrap_or(path).to_owned() } else { path.clone() };
        common = Some(match common {
            None => dir,
            Some(common) => {
                common.components().zip(dir.components()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
            }
        });
    }
    Ok(common.unwrap_or_else(|| workspace.to_owned()))
}
