//! Layers unpacked to directories that an overlay can use, each once, and working directories.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci::Digest;
use oci::layer::{OverlayXattr, UnpackOptions, Whiteouts};

use crate::build::Cause;
use crate::solve::Solve;
use crate::state::State;

/// A directory that is removed when dropped. Its name carries the process, so that what a killed process left can be told.
pub(super) struct WorkDir(PathBuf);

impl WorkDir {
    pub fn new(parent: &Path) -> io::Result<WorkDir> {
        std::fs::create_dir_all(parent)?;
        let dir = tempfile::Builder::new().prefix(&format!("{}-", std::process::id())).tempdir_in(parent)?;
        Ok(WorkDir(dir.keep()))
    }

    /// Writes down below which cgroup this directory's container is, for whoever finds it after a crash.
    pub fn note_cgroup(&self, parent: &str) -> io::Result<()> {
        std::fs::write(self.0.join("cgroup"), parent)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if let Err(wrong) = oci::layer::remove_tree(&self.0) {
            tracing::warn!(dir = %self.0.display(), error = %wrong, "a build's working directory was not removed");
        }
    }
}

/// Removes what builds left that were killed: their directories and cgroups.
pub(crate) fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.split('-').next().and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| pid != std::process::id() && !Path::new(&format!("/proc/{pid}")).exists()) {
            if let Ok(cgroup) = std::fs::read_to_string(entry.path().join("cgroup"))
                && cgroup.starts_with("bigben-build-")
                && !cgroup.contains(['/', '.'])
            {
                runtime::cgroup::remove_tree(&cgroup);
            }
            let _ = oci::layer::remove_tree(&entry.path());
        }
    }
}

impl Solve<'_> {
    /// The state's layers as directories, topmost first. An empty one stands in for no layers.
    pub(super) fn unpack_layers(&self, state: &State, work: &Path) -> Result<Vec<PathBuf>, Cause> {
        self.import(state).map_err(Cause::Files)?;
        let mut dirs: Vec<PathBuf> = Vec::new();
        for (at, layer) in state.layers.iter().enumerate() {
            // An overlay takes a directory only once. A layer that comes again further up decides there about everything that
            // it would decide here, and an empty one decides nothing.
            let empty = self.builder.layers.index(layer).map_err(Cause::Files)?.entries.is_empty();
            if empty || state.layers[at + 1..].contains(layer) {
                continue;
            }
            // Files made by this build get the time of unpacking: tools that compare times (make, cargo) must see them as new.
            let fresh = !state.blobs.contains_key(layer);
            let dir = self.unpack_layer(layer, &dirs, fresh)?;
            dirs.insert(0, dir);
        }
        if dirs.is_empty() {
            let empty = work.join("empty");
            std::fs::create_dir(&empty).map_err(super::io("make a working directory"))?;
            dirs.push(empty);
        }
        Ok(dirs)
    }

    /// One layer as a directory.
    pub(super) fn unpack_layer(&self, layer: &Digest, below: &[PathBuf], fresh: bool) -> Result<PathBuf, Cause> {
        let roots = self.builder.config.cache.join("roots");
        let dir = crate::trim::root(&self.builder.config.cache, layer);
        if dir.exists() {
            return Ok(dir);
        }
        std::fs::create_dir_all(&roots).map_err(super::io(format!("make {}", roots.display())))?;
        let temp =
            WorkDir::new(&self.builder.config.cache.join("work")).map_err(super::io("make a working directory"))?;
        let target = temp.path().join("layer");
        std::fs::create_dir(&target).map_err(super::io("make a working directory"))?;
        std::fs::set_permissions(&target, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(super::io("make a working directory"))?;
        let path = self.builder.layers.tar_path(layer);
        let file = std::fs::File::open(&path).map_err(super::io(format!("open {}", path.display())))?;
        let options = UnpackOptions {
            whiteouts: Whiteouts::Overlay(OverlayXattr::User),
            parents: below.to_vec(),
            ..UnpackOptions::default()
        };
        oci::layer::unpack(file, &target, &options)
            .map_err(|source| Cause::Runtime { message: format!("unpack layer {layer}"), source: Box::new(source) })?;
        if fresh {
            touch(&target, SystemTime::now()).map_err(super::io(format!("set times in layer {layer}")))?;
        }
        match std::fs::rename(&target, &dir) {
            Ok(()) => Ok(dir),
            // Another build was first; its directory is the same.
            Err(_) if dir.exists() => Ok(dir),
            Err(wrong) => Err(super::io(format!("store {}", dir.display()))(wrong)),
        }
    }
}

fn touch(dir: &Path, now: SystemTime) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            touch(&entry.path(), now)?;
        } else if kind.is_file() {
            // A file that may not be opened keeps its time.
            if let Ok(file) = std::fs::File::open(entry.path()) {
                file.set_modified(now)?;
            }
        }
    }
    Ok(())
}
