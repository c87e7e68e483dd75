//! What `COPY` and `ADD` do: choose sources in one tree, place them on another, give the changes. Pure apart from reading.
//!
//! The rules are those of BuildKit's copier: a directory gives its contents, a trailing slash makes a directory, parents are
//! made with mode 0755, links in the destination are followed inside the image.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use oci::Digest;
use oci::tar;
use sha2::{Digest as _, Sha256};

use super::chmod::Chmod;
use super::layers::{LayerStore, LayerWriter, entry};
use super::select::Selected;
use super::{Content, Error, FileTree, Node, NodeKind, base, join, parent, resolve};
use crate::ignore::Matcher;

/// A digest over everything that a copy of these sources can see: names, kinds, modes, owners, contents.
///
/// # Errors
/// When the tree cannot be read.
pub fn fingerprint(tree: &dyn FileTree, selected: &[Selected], exclude: &Matcher) -> Result<[u8; 32], Error> {
    let mut hasher = Sha256::new();
    for one in selected {
        hasher.update(b"S");
        for text in [base(&one.named), one.kept.as_deref().unwrap_or("\0")] {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
        if let Some(kept) = &one.kept {
            let mut up = parent(kept);
            while !up.is_empty() {
                let at = &one.named[..one.named.len() - (kept.len() - up.len())];
                if let Some(node) = tree.get(&resolve(tree, at, true)?)? {
                    feed(&mut hasher, tree, "^", &node)?;
                }
                up = parent(up);
            }
        }
        walk(tree, &one.path, "", exclude, &mut |relative, node| feed(&mut hasher, tree, relative, node))?;
    }
    Ok(hasher.finalize().into())
}

fn feed(hasher: &mut Sha256, tree: &dyn FileTree, relative: &str, node: &Node) -> Result<(), Error> {
    let mut text = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    text(relative.as_bytes());
    match &node.kind {
        NodeKind::Dir => text(b"dir"),
        NodeKind::File { size, content } => {
            text(b"file");
            text(&size.to_le_bytes());
            text(&tree.sha(content)?);
        }
        NodeKind::Symlink(target) => {
            text(b"link");
            text(target.as_bytes());
        }
        other => text(format!("{other:?}").as_bytes()),
    }
    for number in [node.mode, node.uid, node.gid] {
        text(&number.to_le_bytes());
    }
    for (name, value) in &node.xattrs {
        text(name);
        text(value);
    }
    Ok(())
}

type Visit<'a> = dyn FnMut(&str, &Node) -> Result<(), Error> + 'a;

/// Visits a node and what is below it, parents first, in order, without what is excluded.
pub(crate) fn walk(
    tree: &dyn FileTree,
    path: &str,
    relative: &str,
    exclude: &Matcher,
    visit: &mut Visit<'_>,
) -> Result<(), Error> {
    let Some(node) = tree.get(path)? else { return Err(Error::NotFound { path: format!("/{path}") }) };
    let excluded = !relative.is_empty() && !exclude.is_empty() && exclude.matches(relative);
    if excluded && !(node.is_dir() && exclude.may_include_below(relative)) {
        return Ok(());
    }
    visit(relative, &node)?;
    if node.is_dir() {
        for name in tree.list(path)? {
            walk(tree, &join(path, &name), &join(relative, &name), exclude, visit)?;
        }
    }
    Ok(())
}

/// How sources are placed.
#[derive(Debug, Clone)]
pub struct Placing {
    /// Absolute destination; a trailing slash matters.
    pub dest: String,
    /// `--chown`, resolved.
    pub chown: Option<(u32, u32)>,
    /// `--chmod`.
    pub chmod: Option<Chmod>,
    /// `--exclude`.
    pub exclude: Matcher,
}

/// Changes on top of a tree, in path order.
pub struct Changes<'a> {
    onto: &'a dyn FileTree,
    nodes: BTreeMap<String, Node>,
}

impl FileTree for Changes<'_> {
    fn get(&self, path: &str) -> Result<Option<Node>, Error> {
        match self.nodes.get(path) {
            Some(node) => Ok(Some(node.clone())),
            None => self.onto.get(path),
        }
    }
    fn list(&self, path: &str) -> Result<Vec<String>, Error> {
        self.onto.list(path)
    }
    fn open(&self, content: &Content) -> Result<Box<dyn Read>, Error> {
        self.onto.open(content)
    }
    fn sha(&self, content: &Content) -> Result<[u8; 32], Error> {
        self.onto.sha(content)
    }
}

impl<'a> Changes<'a> {
    /// No change yet on top of `onto`.
    pub fn new(onto: &'a dyn FileTree) -> Changes<'a> {
        Changes { onto, nodes: BTreeMap::new() }
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Makes a directory and its parents where they are missing. Gives the real path.
    ///
    /// # Errors
    /// When a file is in the way.
    pub fn make_dirs(&mut self, path: &str, owner: Option<(u32, u32)>) -> Result<String, Error> {
        let real = resolve(self, path, true)?;
        let mut at = String::new();
        for part in real.split('/').filter(|part| !part.is_empty()) {
            at = join(&at, part);
            match self.get(&at)? {
                Some(node) if node.is_dir() => {}
                Some(_) => {
                    return Err(Error::Conflict {
                        message: format!("cannot make directory /{real}: /{at} is not a directory"),
                    });
                }
                None => {
                    let (uid, gid) = owner.unwrap_or_default();
                    self.nodes.insert(at.clone(), Node { uid, gid, ..Node::dir() });
                }
            }
        }
        Ok(real)
    }

    /// Places one chosen source.
    ///
    /// # Errors
    /// When a file and a directory are in each other's way, or a tree cannot be read.
    pub fn place(&mut self, tree: &dyn FileTree, selected: &Selected, how: &Placing) -> Result<(), Error> {
        let Some(node) = tree.get(&selected.path)? else {
            return Err(Error::NotFound { path: format!("/{}", selected.named) });
        };
        if let Some(kept) = &selected.kept {
            return self.place_kept(tree, selected, kept, how);
        }
        self.place_named(tree, &selected.path, base(&selected.named), &node, how)
    }

    fn place_kept(&mut self, tree: &dyn FileTree, selected: &Selected, kept: &str, how: &Placing) -> Result<(), Error> {
        let root = self.make_dirs(&how.dest, how.chown)?;
        let outer = &selected.named[..selected.named.len() - kept.len()];
        let mut at = root;
        let mut from = outer.trim_end_matches('/').to_owned();
        let parents: Vec<&str> = parent(kept).split('/').filter(|part| !part.is_empty()).collect();
        for part in parents {
            at = resolve(self, &join(&at, part), true)?;
            from = join(&from, part);
            if !self.get(&at)?.is_some_and(|node| node.is_dir()) {
                let node = tree.get(&resolve(tree, &from, true)?)?.unwrap_or_else(Node::dir);
                self.set(&at, node, how)?;
            }
        }
        let target = join(&at, base(kept));
        self.place_below(tree, &selected.path, &target, false, how)
    }

    /// Places a single node that is not part of a tree, under a name of its own.
    ///
    /// # Errors
    /// As [`place`](Self::place).
    pub fn place_node(&mut self, name: &str, node: &Node, how: &Placing) -> Result<(), Error> {
        self.place_named(&super::Empty, "", name, node, how)
    }

    fn place_named(
        &mut self,
        tree: &dyn FileTree,
        path: &str,
        name: &str,
        node: &Node,
        how: &Placing,
    ) -> Result<(), Error> {
        let as_directory = how.dest.ends_with('/') || how.dest.ends_with("/.");
        let cleaned = crate::ignore::clean(&how.dest);
        let wanted = cleaned.trim_start_matches('/');
        if as_directory || wanted.is_empty() {
            self.make_dirs(wanted, how.chown)?;
        } else {
            self.make_dirs(parent(wanted), how.chown)?;
        }
        let mut target = resolve(self, wanted, true)?;
        let existing = self.get(&target)?;
        if node.is_dir() {
            if existing.is_none() {
                self.make_dirs(&target, how.chown)?;
            }
            return self.place_below(tree, path, &target, true, how);
        }
        if existing.is_some_and(|node| node.is_dir()) {
            target = join(&target, name);
        }
        self.set(&target, node.clone(), how)
    }

    fn place_below(
        &mut self,
        tree: &dyn FileTree,
        path: &str,
        target: &str,
        top: bool,
        how: &Placing,
    ) -> Result<(), Error> {
        let mut seen: Vec<(String, Node)> = Vec::new();
        walk(tree, path, "", &how.exclude, &mut |relative, node| {
            if !(top && relative.is_empty()) {
                seen.push((join(target, relative), node.clone()));
            }
            Ok(())
        })?;
        if top && !self.get(target)?.is_some_and(|node| node.is_dir()) {
            return Err(Error::Conflict { message: format!("cannot copy to non-directory: /{target}") });
        }
        for (at, node) in seen {
            self.set(&at, node, how)?;
        }
        Ok(())
    }

    fn set(&mut self, target: &str, mut node: Node, how: &Placing) -> Result<(), Error> {
        let existing = self.get(target)?;
        match (&existing, node.is_dir()) {
            (Some(there), true) if !there.is_dir() => {
                return Err(Error::Conflict { message: format!("cannot copy to non-directory: /{target}") });
            }
            (Some(there), false) if there.is_dir() => {
                return Err(Error::Conflict { message: format!("cannot replace the directory /{target} with a file") });
            }
            _ => {}
        }
        if let Some((uid, gid)) = how.chown {
            (node.uid, node.gid) = (uid, gid);
        }
        if let (Some(chmod), false) = (&how.chmod, matches!(node.kind, NodeKind::Symlink(_))) {
            node.mode = chmod.apply(node.mode, node.is_dir());
        }
        self.nodes.insert(target.to_owned(), node);
        Ok(())
    }

    /// Writes the changes as a layer, all at one time. Files that were one in their layer stay hard links.
    ///
    /// # Errors
    /// When a content cannot be read, or the disk fails.
    pub fn write(&self, store: &LayerStore, time: i64) -> Result<Digest, Error> {
        let mut out: LayerWriter<'_> = store.writer()?;
        let mut linked: HashMap<(Digest, u64, u32, u32, u32), &str> = HashMap::new();
        for (path, node) in self.nodes.iter().filter(|(path, _)| !path.is_empty()) {
            if let NodeKind::File { size, content } = &node.kind {
                if let (Content::Layer { layer, offset, .. }, true) = (content, *size > 0) {
                    let same = (layer.clone(), *offset, node.mode, node.uid, node.gid);
                    if let Some(first) = linked.get(&same) {
                        let mut link = tar::Entry::hard_link(path.as_str(), *first);
                        (link.mode, link.uid, link.gid) = (node.mode, u64::from(node.uid), u64::from(node.gid));
                        link.mtime = (time, 0);
                        out.append(&link, None)?;
                        continue;
                    }
                    linked.insert(same, path);
                }
                out.append(&entry(path, node, time), Some(&mut *store.open_content(content)?))?;
            } else {
                out.append(&entry(path, node, time), None)?;
            }
        }
        out.finish()
    }
}
