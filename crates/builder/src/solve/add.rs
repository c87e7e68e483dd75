//! What `ADD` can do beyond `COPY`: local archives, addresses, git repositories.

use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use futures::StreamExt;
use sha2::{Digest as _, Sha256};

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
use crate::ignore::Matcher;
use crate::progress::Step;

/// Largest file that `ADD` fetches, in bytes.
const MAX_FETCH: u64 = 4 << 30;

/// Whether a source is an address rather than a path.
pub(super) fn is_remote(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://") || is_git(source)
}

fn is_git(source: &str) -> bool {
    let plain = source.split('#').next().unwrap_or(source);
    let http = plain.starts_with("http://") || plain.starts_with("https://");
    source.starts_with("git@")
        || source.starts_with("git://")
        || source.starts_with("ssh://")
        || http && plain.ends_with(".git")
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
        if is_git(source) {
            return self.fetch_git(source, copy.keep_git_dir, step);
        }
        let wrong = |what: String| Cause::Message(format!("failed to load {source}: {what}"));
        step.note(format!("GET {source}"));
        let dir = self.builder.config.cache.join("downloads");
        std::fs::create_dir_all(&dir).map_err(|e| wrong(e.to_string()))?;
        let temp = tempfile::NamedTempFile::new_in(&dir).map_err(|e| wrong(e.to_string()))?;
        let sha = self.handle.block_on(download(source, temp.as_file())).map_err(wrong)?;
        let hex = hex::encode(sha);
        if let Some(expected) = &copy.checksum {
            let expected_hex = expected
                .strip_prefix("sha256:")
                .ok_or_else(|| wrong(format!("checksum {expected:?} must be sha256:<hex>")))?;
            if expected_hex != hex {
                return Err(wrong(format!("digest mismatch sha256:{hex}: {expected}")));
            }
        }
        let path = dir.join(&hex);
        temp.persist(&path).map_err(|e| wrong(e.error.to_string()))?;
        if copy.unpack == Some(true) {
            let open = || -> Result<Box<dyn Read>, crate::fs::Error> {
                Ok(Box::new(std::fs::File::open(&path).map_err(crate::fs::Error::io("open", &path))?))
            };
            if let Some(tree) = self.archive(&open)? {
                return Ok((Item::Archive(tree), sha.to_vec()));
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
        let mut print = sha.to_vec();
        print.extend_from_slice(name.as_bytes());
        Ok((Item::File(name.to_owned(), node), print))
    }

    fn fetch_git(&self, source: &str, keep_git_dir: bool, step: &Step<'_>) -> Result<(Item, Vec<u8>), Cause> {
        let wrong = |what: String| Cause::Message(format!("failed to fetch {source}: {what}"));
        let (url, fragment) = source.split_once('#').unwrap_or((source, ""));
        let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
        let dir = self.builder.config.cache.join("git");
        std::fs::create_dir_all(&dir).map_err(|e| wrong(e.to_string()))?;
        let checkout = tempfile::tempdir_in(&dir).map_err(|e| wrong(e.to_string()))?.keep();
        step.note(format!("git fetch {url} {reference}"));
        let git = |args: &[&str]| -> Result<(), Cause> {
            let output = std::process::Command::new("git")
                .args(args)
                .current_dir(&checkout)
                .env("GIT_TERMINAL_PROMPT", "0")
                .stdin(std::process::Stdio::null())
                .output()
                .map_err(|e| wrong(format!("cannot run git: {e}")))?;
            match output.status.success() {
                true => Ok(()),
                false => Err(wrong(format!("git {}: {}", args[0], String::from_utf8_lossy(&output.stderr).trim()))),
            }
        };
        git(&["init", "--quiet"])?;
        git(&["fetch", "--quiet", "--depth=1", "--", url, if reference.is_empty() { "HEAD" } else { reference }])?;
        git(&["checkout", "--quiet", "FETCH_HEAD"])?;
        let ignore =
            Matcher::new(if keep_git_dir { Vec::new() } else { vec![".git"] }).map_err(|e| wrong(e.to_string()))?;
        let root = match subdir.split('/').any(|part| part == "..") {
            true => return Err(wrong(format!("subdirectory {subdir:?} leads out of the repository"))),
            false => checkout.join(subdir.trim_start_matches('/')),
        };
        let tree: Arc<dyn FileTree> = Arc::new(Context::new(root, ignore, HashCache::default()));
        let whole = Selected { path: String::new(), named: String::new(), kept: None };
        let print = fingerprint(&*tree, std::slice::from_ref(&whole), &Matcher::default()).map_err(Cause::Files)?;
        Ok((Item::From(tree, whole), print.to_vec()))
    }
}

async fn download(url: &str, mut file: &std::fs::File) -> Result<[u8; 32], String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .connect_timeout(std::time::Duration::from_secs(30))
        .read_timeout(std::time::Duration::from_secs(60))
        .build()
        .map_err(|e| crate::build::chain(&e))?;
    let answer = client.get(url).send().await.map_err(|e| crate::build::chain(&e))?;
    if !answer.status().is_success() {
        return Err(format!("invalid response status {}", answer.status().as_u16()));
    }
    let mut body = answer.bytes_stream();
    let mut hasher = Sha256::new();
    let mut total = 0u64;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|e| crate::build::chain(&e))?;
        total += chunk.len() as u64;
        if total > MAX_FETCH {
            return Err(format!("larger than {MAX_FETCH} bytes"));
        }
        hasher.update(&chunk);
        file.write_all(&chunk).map_err(|e| e.to_string())?;
    }
    file.sync_all().map_err(|e| e.to_string())?;
    Ok(hasher.finalize().into())
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
