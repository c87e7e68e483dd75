//! `COPY` and `ADD` on layers.

use std::sync::Arc;

use super::Solve;
use super::stage::{Performed, chain_id};
use crate::build::Cause;
use crate::cache::{Key, Known};
use crate::dockerfile::AddCopy;
use crate::fs::chmod::Chmod;
use crate::fs::copy::{Changes, Placing, fingerprint};
use crate::fs::select::{Selected, select};
use crate::fs::view::View;
use crate::fs::{Empty, Error, FileTree, Node};
use crate::ignore::Matcher;
use crate::progress::Step;
use crate::state::State;

/// Something to place.
pub(super) enum Item {
    /// Chosen in a tree.
    From(Arc<dyn FileTree>, Selected),
    /// A file of its own.
    File(String, Node),
    /// The contents of an unpacked archive.
    Archive(Arc<dyn FileTree>),
}

impl Solve<'_> {
    pub(super) fn copy(
        &self,
        at: usize,
        state: &State,
        copy: &AddCopy,
        add: bool,
        shown: &str,
        step: &Step<'_>,
    ) -> Result<Performed, Cause> {
        let exclude = Matcher::new(&copy.exclude).map_err(|wrong| Cause::Message(wrong.to_string()))?;
        let chmod = match &copy.chmod {
            None => None,
            Some(text) => Some(Chmod::parse(text).ok_or_else(|| Cause::Message(format!("invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777, or a symbolic mode")))?),
        };
        if add && copy.checksum.is_some() {
            let one = copy.sources.len() == 1 && copy.heredocs.is_empty();
            if !one {
                return Err(Cause::Message("checksum can't be specified for multiple sources".to_owned()));
            }
            if !super::add::is_remote(&copy.sources[0]) {
                return Err(Cause::Message(
                    "checksum can't be specified for non-HTTP(S) and non-git sources".to_owned(),
                ));
            }
        }
        let parent = if copy.link { "link".to_owned() } else { chain_id(&state.layers) };
        let base = |kind: &str| {
            Key::new(kind)
                .with(&parent)
                .with(&copy.dest)
                .with(copy.chown.as_deref().unwrap_or("-"))
                .with(copy.chmod.as_deref().unwrap_or("-"))
                .with_all(&copy.exclude)
                .with([
                    u8::from(copy.parents),
                    u8::from(add),
                    copy.unpack.map_or(2, u8::from),
                    u8::from(copy.keep_git_dir),
                ])
                .with(self.request.epoch.to_le_bytes())
                .with_all(copy.heredocs.iter().flat_map(|doc| [&doc.name, &doc.content]))
        };
        let history = shown.to_owned();
        let remote = add && copy.sources.iter().any(|source| super::add::is_remote(source));
        let from = self.tree(at, copy.from.as_deref(), step)?;
        // A whole tree that is known by its identity needs no look inside.
        let quick = from
            .identity
            .as_ref()
            .filter(|_| !remote)
            .map(|identity| base("copy").with(identity).with_all(&copy.sources).finish());
        if let Some(key) = &quick
            && let Some(known) = self.known(at, key)
        {
            return Ok(Performed { known, cached: true, history, key: key.clone() });
        }
        let mut items = Vec::new();
        let mut key = base("copy-content");
        for source in &copy.sources {
            if add && super::add::is_remote(source) {
                let (item, print) = self.fetch(source, copy, step)?;
                key = key.with("remote").with(print);
                items.push(item);
                continue;
            }
            let chosen = select(&*from.tree, source, copy.parents).map_err(Cause::Files)?;
            key = key.with(fingerprint(&*from.tree, &chosen, &exclude).map_err(Cause::Files)?);
            items.extend(chosen.into_iter().map(|one| Item::From(from.tree.clone(), one)));
        }
        let key = key.finish();
        let found = self.known(at, &key);
        let cached = found.is_some();
        let known = match found {
            Some(known) => known,
            None => self.place(state, copy, add, exclude, chmod, items)?,
        };
        self.cache.put(&key, &known);
        if let Some(quick) = &quick {
            self.cache.put(quick, &known);
        }
        Ok(Performed { known, cached, history, key: quick.unwrap_or(key) })
    }

    fn place(
        &self,
        state: &State,
        copy: &AddCopy,
        add: bool,
        exclude: Matcher,
        chmod: Option<Chmod>,
        items: Vec<Item>,
    ) -> Result<Known, Cause> {
        // What is linked knows nothing of what lies below it, names of users included.
        let view = if copy.link { None } else { Some(self.view(state).map_err(Cause::Files)?) };
        let onto: &dyn FileTree = match &view {
            Some(view) => &**view,
            None => &Empty,
        };
        let chown = match &copy.chown {
            None => None,
            Some(text) if (copy.link || state.layers.is_empty()) && super::users::has_names(text) => {
                return Err(Cause::Message(format!(
                    "invalid user index: -1: {text} names a user, and there is no image below that knows any; use numbers"
                )));
            }
            Some(text) => Some(super::users::resolve(text, &|| match &view {
                Some(view) => Ok(view.clone()),
                None => Ok(Arc::new(View::stack(&self.builder.layers, &[])?)),
            })?),
        };
        let how = Placing { dest: copy.dest.clone(), chown, chmod, exclude };
        let mut changes = Changes::new(onto);
        for item in items {
            match item {
                Item::From(tree, chosen) => {
                    let archive = match (add, copy.unpack) {
                        (true, None | Some(true)) => self.unpack(&*tree, &chosen)?,
                        _ => None,
                    };
                    match archive {
                        Some(archive) => place_archive(&mut changes, &archive, &how),
                        None => changes.place(&*tree, &chosen, &how),
                    }
                }
                Item::File(name, node) => changes.place_node(&name, &node, &how),
                Item::Archive(tree) => place_archive(&mut changes, &tree, &how),
            }
            .map_err(Cause::Files)?;
        }
        for doc in &copy.heredocs {
            let node = Node::file(doc.content.clone().into_bytes(), 0o644);
            changes.place_node(&doc.name, &node, &how).map_err(Cause::Files)?;
        }
        changes.write(&self.builder.layers, self.request.epoch).map(Known::Layer).map_err(Cause::Files)
    }
}

fn place_archive(changes: &mut Changes<'_>, archive: &Arc<dyn FileTree>, how: &Placing) -> Result<(), Error> {
    // The directory is made as any other; what is inside keeps its owners and modes.
    changes.make_dirs(how.dest.trim_matches('/'), how.chown)?;
    let chosen = Selected { path: String::new(), named: String::new(), kept: None };
    let inside = Placing { dest: how.dest.clone(), chown: None, chmod: None, exclude: Matcher::default() };
    changes.place(&**archive, &chosen, &inside)
}
