//! What `ADD` can do beyond `COPY`: local archives, addresses, git repositories.

use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use super::Solve;
use super::copy::Item;
use crate::build::Cause;
use crate::dockerfile::AddCopy;
use crate::fs::context::Context;
use crate::fs::copy::fingerprint;
use crate::fs::hashes::HashCache;
use crate::fs::select::Selected;
use crate::fs::view::View;
use crate::fs::{Content, FileTree, Node, NodeKind};
use crate::git::Remote;
use crate::ignore::Matcher;
use crate::progress::Step;

/// Whether a source is an address rather than a path.
pub(super) fn is_remote(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://") || Remote::parse(source).is_some()
}

impl Solve<'_> {
    /// The tree inside a local archive; `None` when the file is not one.
    pub(super) fn unpack(&self, tree: &dyn FileTree, chosen: &Selected) -> Result<Option<Arc<dyn FileTree>>, Cause> {
        let Some(Node { kind: NodeKind::File { content, size }, .. }) = tree.get(&chosen.path).map_err(Cause::Files)?
        else {
            return Ok(None);
        };
        if size < 64 {
            return Ok(None);
        }
        self.archive(&|| tree.open(&content))
    }

    fn archive(
        &self,
        open: &dyn Fn() -> Result<Box<dyn Read>, crate::fs::Error>,
    ) -> Result<Option<Arc<dyn FileTree>>, Cause> {
        let mut head = Vec::new();
        let Some(reader) = decoder(open().map_err(Cause::Files)?).map_err(|wrong| Cause::Message(wrong.to_string()))?
        else {
            return Ok(None);
        };
        if reader.take(512).read_to_end(&mut head).is_err() || !is_tar(&head) {
            return Ok(None);
        }
        let Some(reader) = decoder(open().map_err(Cause::Files)?).map_err(|wrong| Cause::Message(wrong.to_string()))?
        else {
            return Ok(None);
        };
        let layer = self.builder.layers.ingest(reader).map_err(Cause::Files)?;
        Ok(Some(Arc::new(View::stack(&self.builder.layers, &[layer]).map_err(Cause::Files)?)))
    }

    /// Fetches an address. Gives what to place and a print of its content.
    pub(super) fn fetch(&self, source: &str, copy: &AddCopy, step: &Step<'_>) -> Result<(Item, Vec<u8>), Cause> {
        let wrong = |what: String| Cause::Message(format!("failed to load {source}: {what}"));
        if let Some(remote) = Remote::parse(source) {
            let mut remote = remote.map_err(wrong)?;
            remote.keep_git_dir |= copy.keep_git_dir;
            remote.checksum = copy.checksum.clone().or(remote.checksum);
            return self.fetch_git(&remote, step);
        }
        let expected = match &copy.checksum {
            None => None,
            Some(text) => {
                let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64);
                Some(hex.ok_or_else(|| wrong(format!("checksum {text:?} must be sha256:<hex>")))?)
            }
        };
        let dir = self.builder.config.cache.join("downloads");
        // What has the digest that is asked for is what is asked for.
        let known = expected.map(|hex| dir.join(hex)).filter(|path| path.is_file());
        let (path, sha) = match (known, expected) {
            (Some(path), Some(hex)) => (path, hex::decode(hex).map_err(|e| wrong(e.to_string()))?),
            _ => {
                step.note(format!("GET {source}"));
                std::fs::create_dir_all(&dir).map_err(|e| wrong(e.to_string()))?;
                let temp = tempfile::NamedTempFile::new_in(&dir).map_err(|e| wrong(e.to_string()))?;
                let got = crate::fetch::download(source, temp.as_file(), &self.request.secrets);
                let sha = self.handle.block_on(got).map_err(wrong)?;
                let hex = hex::encode(sha);
                if let Some(expected) = expected.filter(|expected| *expected != hex) {
                    return Err(wrong(format!("digest mismatch sha256:{hex}: sha256:{expected}")));
                }
                let path = dir.join(&hex);
                temp.persist(&path).map_err(|e| wrong(e.error.to_string()))?;
                (path, sha.to_vec())
            }
        };
        if copy.unpack == Some(true) {
            let open = || -> Result<Box<dyn Read>, crate::fs::Error> {
                Ok(Box::new(std::fs::File::open(&path).map_err(crate::fs::Error::io("open", &path))?))
            };
            if let Some(tree) = self.archive(&open)? {
                return Ok((Item::Archive(tree), sha));
            }
        }
        let size = std::fs::metadata(&path).map_err(|e| wrong(e.to_string()))?.len();
        let clean = source.split(['?', '#']).next().unwrap_or(source);
        let after_host = clean.split_once("://").map_or(clean, |(_, rest)| rest);
        let name = after_host.split_once('/').map_or("", |(_, path)| path.rsplit('/').next().unwrap_or(""));
        if name.is_empty() && (copy.dest.ends_with('/') || copy.dest == "/") {
            return Err(wrong("cannot determine a file name; name the destination file".to_owned()));
        }
        let node = Node {
            kind: NodeKind::File { size, content: Content::Disk(path) },
            mode: 0o600,
            uid: 0,
            gid: 0,
            xattrs: Default::default(),
        };
        let mut print = sha;
        print.extend_from_slice(name.as_bytes());
        Ok((Item::File(name.to_owned(), node), print))
    }

    fn fetch_git(&self, remote: &Remote, step: &Step<'_>) -> Result<(Item, Vec<u8>), Cause> {
        let (tree, commit) = self.git_tree(remote, step)?;
        let whole = Selected { path: String::new(), named: String::new(), kept: None };
        let print = match remote.keep_git_dir {
            // What git writes below `.git` has times in it; the commit says what is there.
            true => [commit.as_bytes(), b" with .git"].concat(),
            false => {
                let all = Matcher::default();
                fingerprint(&*tree, std::slice::from_ref(&whole), &all).map_err(Cause::Files)?.to_vec()
            }
        };
        Ok((Item::From(tree, whole), print))
    }

    /// A checkout as a tree, and its commit.
    pub(super) fn git_tree(&self, remote: &Remote, step: &Step<'_>) -> Result<(Arc<dyn FileTree>, String), Cause> {
        let wrong = |what: String| Cause::Message(format!("failed to fetch {}: {what}", remote.url));
        let dir = self.builder.config.cache.join("git");
        std::fs::create_dir_all(&dir).map_err(|e| wrong(e.to_string()))?;
        let checkout = tempfile::tempdir_in(&dir).map_err(|e| wrong(e.to_string()))?.keep();
        step.note(format!("git fetch {} {}", remote.url, remote.reference).trim_end().to_owned());
        let (root, commit) = remote.fetch(&checkout, &self.request.secrets).map_err(wrong)?;
        Ok((Arc::new(Context::new(root, Matcher::default(), HashCache::default())), commit))
    }
}

/// A reader of the plain bytes of what is plain or compressed in a way that `ADD` knows; `None` when it is damaged.
fn decoder(mut reader: Box<dyn Read>) -> std::io::Result<Option<Box<dyn Read>>> {
    let mut head = Vec::new();
    reader.by_ref().take(6).read_to_end(&mut head)?;
    let bzip2 = head.starts_with(b"BZh");
    let xz = head.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]);
    let whole = std::io::Cursor::new(head).chain(reader);
    if bzip2 {
        return Ok(Some(Box::new(bzip2::read::MultiBzDecoder::new(whole))));
    }
    if xz {
        // The decoder pushes; a file without a name holds what it gives.
        let mut plain = tempfile::tempfile()?;
        let mut input = std::io::BufReader::with_capacity(128 * 1024, whole);
        let mut output = std::io::BufWriter::with_capacity(128 * 1024, &mut plain);
        if lzma_rs::xz_decompress(&mut input, &mut output).is_err() {
            return Ok(None);
        }
        output.flush()?;
        drop(output);
        plain.seek(SeekFrom::Start(0))?;
        return Ok(Some(Box::new(plain)));
    }
    crate::fs::layers::decompress(whole).map(Some)
}

fn is_tar(head: &[u8]) -> bool {
    if head.len() < 512 {
        return false;
    }
    let sum: u64 =
        head.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) }).sum();
    let text: String = head[148..156].iter().map(|byte| *byte as char).collect();
    let stored = u64::from_str_radix(text.trim_matches(['\0', ' ']), 8);
    stored == Ok(sum) && sum != 256
}
