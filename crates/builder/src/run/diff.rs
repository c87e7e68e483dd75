//! The upper directory of an overlay to a layer that holds only what really changed.

use std::collections::BTreeMap;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use oci::layer::{Compression, Times, TreeOptions, Writer};
use oci::tar::{self, Kind};

use crate::build::Cause;
use crate::cache::Known;
use crate::fs::view::View;
use crate::fs::{FileTree, Node, parent};
use crate::solve::Solve;

/// What the container itself needed and nobody asked for.
const RUNTIME_DIRS: [&str; 3] = ["proc", "sys", "dev"];

impl Solve<'_> {
    /// Writes the changes in `upper` on top of `below` as a layer. `stubs` are mount targets; `owner` is who owns files that
    /// an ordinary user's build made.
    pub(super) fn layer_of_changes(
        &self,
        upper: &Path,
        below: &View,
        stubs: &[String],
        owner: Option<(u32, u32)>,
    ) -> Result<Known, Cause> {
        let files = |wrong: oci::layer::Error| Cause::Runtime {
            message: "read what the step changed".to_owned(),
            source: Box::new(wrong),
        };
        let io = || super::io("read what the step changed");
        let mut raw = tempfile::tempfile_in(upper.parent().unwrap_or(upper)).map_err(io())?;
        let buffered = BufWriter::with_capacity(256 * 1024, &mut raw);
        let mut writer = Writer::new(buffered, Compression::None, Times::Fixed(self.request.epoch)).map_err(files)?;
        let options = TreeOptions { overlay_upper: true, ..TreeOptions::default() };
        writer.append_tree(upper, &options).map_err(files)?;
        let (mut buffered, _) = writer.finish().map_err(files)?;
        buffered.flush().map_err(io())?;
        drop(buffered);
        let keep = self.choose(&mut raw, below, stubs)?;
        raw.seek(SeekFrom::Start(0)).map_err(io())?;
        let mut reader = tar::Reader::new(BufReader::with_capacity(256 * 1024, &mut raw));
        let mut layer = self.builder.layers.writer().map_err(Cause::Files)?;
        let archive = |source| Cause::Files(crate::fs::Error::Archive { layer: "of changes".to_owned(), source });
        while let Some(mut entry) = reader.next_entry().map_err(archive)? {
            let path = clean(&entry);
            if !keep.contains_key(&path) {
                continue;
            }
            if let Some((uid, gid)) = owner {
                // One user made everything: what was there keeps its owner, what is new belongs to the step's user.
                let (uid, gid) =
                    below.get(&path).map_err(Cause::Files)?.map_or((uid, gid), |node| (node.uid, node.gid));
                (entry.uid, entry.gid) = (u64::from(uid), u64::from(gid));
            }
            layer.append(&entry, Some(&mut reader as &mut dyn Read)).map_err(Cause::Files)?;
        }
        layer.finish().map(Known::Layer).map_err(Cause::Files)
    }

    /// Which entries of the raw archive are real changes.
    fn choose(&self, raw: &mut std::fs::File, below: &View, stubs: &[String]) -> Result<BTreeMap<String, ()>, Cause> {
        raw.seek(SeekFrom::Start(0)).map_err(super::io("read what the step changed"))?;
        let archive = |source| Cause::Files(crate::fs::Error::Archive { layer: "of changes".to_owned(), source });
        let mut entries: Vec<tar::Entry> = Vec::new();
        let mut reader = tar::Reader::new(BufReader::with_capacity(256 * 1024, raw));
        while let Some(entry) = reader.next_entry().map_err(archive)? {
            entries.push(entry);
        }
        let mut keep: BTreeMap<String, ()> = BTreeMap::new();
        let is_stub = |path: &str| stubs.iter().any(|stub| stub == path || stub.starts_with(&format!("{path}/")));
        // Children first, so that a directory knows whether something below it stays.
        for entry in entries.iter().rev() {
            let path = clean(entry);
            if path.is_empty()
                || RUNTIME_DIRS
                    .iter()
                    .any(|dir| path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
            {
                continue;
            }
            let was = below.get(&path).map_err(Cause::Files)?;
            let has_kept_child = has_below(&keep, &path);
            let drop = match (&was, entry.kind) {
                (Some(node), Kind::Directory) => same_directory(node, entry) && !is_opaque(&entries, &path),
                (None, Kind::Directory) => is_stub(&path) && !has_kept_child,
                (None, Kind::File) => entry.size == 0 && stubs.contains(&path),
                _ => false,
            };
            if !drop {
                keep.insert(path, ());
            }
        }
        Ok(keep)
    }
}

fn has_below(keep: &BTreeMap<String, ()>, path: &str) -> bool {
    let prefix = format!("{path}/");
    keep.range(prefix.clone()..).next().is_some_and(|(next, ())| next.starts_with(&prefix))
}

fn is_opaque(entries: &[tar::Entry], path: &str) -> bool {
    entries.iter().any(|entry| {
        let name = clean(entry);
        parent(&name) == path && crate::fs::base(&name) == ".wh..wh..opq"
    })
}

fn clean(entry: &tar::Entry) -> String {
    crate::fs::layers::clean_entry(&entry.path).unwrap_or_default()
}

fn same_directory(node: &Node, entry: &tar::Entry) -> bool {
    let owner =
        !rustix::process::geteuid().is_root() || (u64::from(node.uid), u64::from(node.gid)) == (entry.uid, entry.gid);
    node.is_dir() && node.mode == entry.mode & 0o7777 && owner && node.xattrs == entry.xattrs
}
