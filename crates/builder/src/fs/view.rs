//! The merged view of a stack of layers: what a container would see, without extracting anything.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use oci::Digest;

use super::layers::{LayerIndex, LayerStore};
use super::{Content, Error, FileTree, Node, NodeKind, parent};

/// All paths of an image.
#[derive(Clone)]
pub struct View {
    store: Arc<LayerStore>,
    nodes: BTreeMap<String, Node>,
}

impl View {
    /// Stacks layers, base first. All must be in the store.
    ///
    /// # Errors
    /// When an index is missing.
    pub fn stack(store: &Arc<LayerStore>, layers: &[Digest]) -> Result<View, Error> {
        let mut view = View { store: store.clone(), nodes: BTreeMap::new() };
        for layer in layers {
            let index = store.index(layer)?;
            view.apply(layer, &index)?;
        }
        Ok(view)
    }

    fn apply(&mut self, layer: &Digest, index: &LayerIndex) -> Result<(), Error> {
        for entry in &index.entries {
            let name = super::base(&entry.path);
            let dir = parent(&entry.path);
            if name == ".wh..wh..opq" {
                self.remove_below(dir);
            } else if let Some(gone) = name.strip_prefix(".wh.").filter(|name| !name.starts_with(".wh.")) {
                self.remove(&super::join(dir, gone));
            }
        }
        for entry in &index.entries {
            if super::base(&entry.path).starts_with(".wh.") || entry.path.is_empty() && entry.kind != 'd' {
                continue;
            }
            let node = if entry.kind == 'h' {
                let target = self.nodes.get(&entry.link).cloned();
                target.ok_or_else(|| Error::Entry {
                    entry: entry.path.clone(),
                    why: format!("is a hard link to {:?}, which is not there", entry.link),
                })?
            } else {
                entry.node(layer)
            };
            if !node.is_dir() {
                self.remove_below(&entry.path);
            }
            self.insert(&entry.path, node);
        }
        Ok(())
    }

    fn insert(&mut self, path: &str, node: Node) {
        let mut up = parent(path);
        while !up.is_empty() && !self.nodes.get(up).is_some_and(Node::is_dir) {
            self.nodes.insert(up.to_owned(), Node::dir());
            up = parent(up);
        }
        self.nodes.insert(path.to_owned(), node);
    }

    fn remove(&mut self, path: &str) {
        self.nodes.remove(path);
        self.remove_below(path);
    }

    fn remove_below(&mut self, dir: &str) {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let gone: Vec<String> = self
            .nodes
            .range(prefix.clone()..)
            .take_while(|(path, _)| path.starts_with(&prefix))
            .map(|(path, _)| path.clone())
            .filter(|path| !path.is_empty())
            .collect();
        for path in gone {
            self.nodes.remove(&path);
        }
    }

    /// All paths with their nodes, sorted.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// The whole text of a small file, following links; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_text(&self, path: &str) -> Result<Option<String>, Error> {
        let path = super::resolve(self, path, true)?;
        let Some(Node { kind: NodeKind::File { content, .. }, .. }) = self.nodes.get(&path) else { return Ok(None) };
        let mut text = Vec::new();
        self.open(content)?.take(4 << 20).read_to_end(&mut text).map_err(Error::io("read", &path))?;
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }
}

impl FileTree for View {
    fn get(&self, path: &str) -> Result<Option<Node>, Error> {
        if path.is_empty() {
            return Ok(Some(self.nodes.get("").cloned().unwrap_or_else(Node::dir)));
        }
        Ok(self.nodes.get(path).cloned())
    }

    fn list(&self, path: &str) -> Result<Vec<String>, Error> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        Ok(self
            .nodes
            .range(prefix.clone()..)
            .take_while(|(path, _)| path.starts_with(&prefix))
            .filter_map(|(path, _)| path.strip_prefix(&prefix))
            .filter(|rest| !rest.is_empty() && !rest.contains('/'))
            .map(str::to_owned)
            .collect())
    }

    fn open(&self, content: &Content) -> Result<Box<dyn Read>, Error> {
        self.store.open_content(content)
    }

    fn sha(&self, content: &Content) -> Result<[u8; 32], Error> {
        match content {
            Content::Layer { sha, .. } => Ok(*sha),
            Content::Bytes(bytes) => Ok(super::hashes::sha256(bytes)),
            Content::Disk(path) => {
                super::hashes::sha256_reader(std::fs::File::open(path).map_err(Error::io("open", path))?)
                    .map_err(Error::io("read", path))
            }
        }
    }
}
