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
    /// SHA-256 over names and contents.
    pub digest: String,
    /// When, in milliseconds since the epoch.
    pub created_ms: i64,
    /// How many days it is kept.
    pub retention_days: u32,
    /// Whether the directory holds one archive, made by the protocol's client, rather than files.
    #[serde(default)]
    pub archive: bool,
}

fn file_name(name: &str) -> String {
    hex::encode(&Sha256::digest(name)[..12])
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
                let meta = serde_json::from_slice(&std::fs::read(entry.path().join("meta.json")).ok()?).ok()?;
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

    /// Stores files under a name. `base` is what their paths are relative to.
    pub fn store(
        &self,
        run: i64,
        name: &str,
        base: &Path,
        files: &[PathBuf],
        days: u32,
        overwrite: bool,
    ) -> Result<Meta, String> {
        let fail = |error: std::io::Error| format!("cannot store the artifact {name}: {error}");
        let dir = self.run(run).join(file_name(name));
        if dir.exists() {
            if !overwrite {
                return Err(format!(
                    "Failed to CreateArtifact: Received non-retryable error: (409) Conflict: an artifact with this name already exists on the workflow run: {name}"
                ));
            }
            crate::job::workspace::remove_all(&dir);
        }
        let temp = self.run(run).join(format!(".{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(temp.join("files")).map_err(fail)?;
        let mut digest = Sha256::new();
        let mut size = 0;
        for file in files {
            let relative = file.strip_prefix(base).unwrap_or(file);
            size += tree::transfer(file, &temp.join("files").join(relative), How::Copy, &temp, &mut Vec::new())
                .map_err(fail)?;
            digest.update(relative.to_string_lossy().as_bytes());
            digest.update(std::fs::read(file).map_err(fail)?);
        }
        let meta = Meta {
            id: self.next_id(),
            name: name.to_owned(),
            run,
            size,
            digest: format!("sha256:{}", hex::encode(digest.finalize())),
            created_ms: now_ms(),
            retention_days: days,
            archive: false,
        };
        let text = serde_json::to_vec(&meta).map_err(|error| error.to_string())?;
        crate::files::write_durably(&temp.join("meta.json"), &text).map_err(fail)?;
        std::fs::rename(&temp, &dir).map_err(fail)?;
        Ok(meta)
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

    /// Microseconds since the epoch: unique enough, and growing.
    fn next_id(&self) -> i64 {
        use std::sync::atomic::{AtomicI64, Ordering};
        static LAST: AtomicI64 = AtomicI64::new(0);
        let now = jiff::Timestamp::now().as_microsecond();
        LAST.fetch_max(now, Ordering::SeqCst);
        LAST.fetch_add(1, Ordering::SeqCst)
    }
}

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
        inputs.only("archive", &["true"])?;
        let name = inputs.or("name", "artifact").to_owned();
        if let Some(bad) = name.chars().find(|c| "\":<>|*?\r\n\\/".contains(*c)) {
            return Err(format!("The artifact name is not valid: {name}. Contains the following character: {bad:?}"));
        }
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
        let base = common_root(&workspace, &home, &paths, &files)?;
        let days = inputs.get("retention-days").parse().unwrap_or(90);
        let meta = self.services.artifacts.store(
            self.spec.run.id,
            &name,
            &base,
            &files,
            days,
            inputs.boolean("overwrite", false)?,
        )?;
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
            std::fs::create_dir_all(&to)
                .and_then(|()| {
                    if meta.archive {
                        crate::zip::unpack(&files.join("artifact.zip"), &to)
                    } else {
                        tree::transfer(files, &to, How::Copy, &to, &mut Vec::new()).map(drop)
                    }
                })
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
