//! Layers as the builder works on them: uncompressed archives by diff id, each with an index of its entries.
//!
//! Files are written under a temporary name, synced and renamed; two builds that make the same layer write the same bytes.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use oci::tar::{self, Kind};
use oci::{Descriptor, Digest, Hasher};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Content, Error, Node, NodeKind};

const BLOCK: u64 = 512;

/// One entry of a layer, as the index keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Indexed {
    #[serde(rename = "p")]
    pub path: String,
    #[serde(rename = "k")]
    pub kind: char,
    #[serde(rename = "m")]
    pub mode: u32,
    #[serde(rename = "u", default, skip_serializing_if = "zero")]
    pub uid: u32,
    #[serde(rename = "g", default, skip_serializing_if = "zero")]
    pub gid: u32,
    #[serde(rename = "s", default, skip_serializing_if = "zero64")]
    pub size: u64,
    #[serde(rename = "o", default, skip_serializing_if = "zero64")]
    pub offset: u64,
    #[serde(rename = "h", default, skip_serializing_if = "String::is_empty")]
    pub sha: String,
    #[serde(rename = "l", default, skip_serializing_if = "String::is_empty")]
    pub link: String,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub device: Option<(u32, u32)>,
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    pub xattrs: Vec<(String, String)>,
}

fn zero(n: &u32) -> bool {
    *n == 0
}

fn zero64(n: &u64) -> bool {
    *n == 0
}

/// The entries of one layer, in archive order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerIndex {
    pub(crate) entries: Vec<Indexed>,
}

/// The directory of uncompressed layers.
#[derive(Debug)]
pub struct LayerStore {
    root: PathBuf,
    loaded: Mutex<HashMap<Digest, Arc<LayerIndex>>>,
}

impl LayerStore {
    /// Opens (and creates) the store.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(root: PathBuf) -> Result<LayerStore, Error> {
        fs::create_dir_all(&root).map_err(Error::io("create", &root))?;
        Ok(LayerStore { root, loaded: Mutex::default() })
    }

    /// Where the archive of a layer is, whether it exists or not.
    pub fn tar_path(&self, layer: &Digest) -> PathBuf {
        self.root.join(format!("{}.tar", layer.hex()))
    }

    fn index_path(&self, layer: &Digest) -> PathBuf {
        self.root.join(format!("{}.index", layer.hex()))
    }

    /// Whether the layer is here. The index is renamed into place last.
    pub fn has(&self, layer: &Digest) -> bool {
        self.index_path(layer).exists() && self.tar_path(layer).exists()
    }

    /// The index of a layer that is here.
    ///
    /// # Errors
    /// When it is not, or is damaged.
    pub fn index(&self, layer: &Digest) -> Result<Arc<LayerIndex>, Error> {
        if let Some(index) = self.loaded.lock().expect("index lock is never poisoned").get(layer) {
            return Ok(index.clone());
        }
        let path = self.index_path(layer);
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let entries =
            serde_json::from_slice(&bytes).map_err(std::io::Error::other).map_err(Error::io("read", &path))?;
        let index = Arc::new(LayerIndex { entries });
        self.loaded.lock().expect("index lock is never poisoned").insert(layer.clone(), index.clone());
        Ok(index)
    }

    /// Starts a new layer.
    ///
    /// # Errors
    /// When no temporary file can be made.
    pub fn writer(&self) -> Result<LayerWriter<'_>, Error> {
        let temp = tempfile::NamedTempFile::new_in(&self.root).map_err(Error::io("create a file in", &self.root))?;
        let file = temp.reopen().map_err(Error::io("open", temp.path()))?;
        Ok(LayerWriter {
            store: self,
            temp,
            out: BufWriter::with_capacity(256 * 1024, file),
            hasher: Hasher::default(),
            at: 0,
            entries: Vec::new(),
        })
    }

    /// Brings in an image layer's blob: decompresses it, checks its diff id, indexes it.
    ///
    /// # Errors
    /// When the blob is unreadable, hostile, or not the layer that it should be.
    pub fn import(&self, blobs: &oci::blob::BlobStore, blob: &Descriptor, layer: &Digest) -> Result<(), Error> {
        if self.has(layer) {
            return Ok(());
        }
        let file = blobs.open_blob(&blob.digest)?;
        let found = self.ingest(decompress(file).map_err(Error::io("decompress", blobs.path(&blob.digest)))?)?;
        if found != *layer {
            let why = format!("has the diff id {found}, but its image says {layer}");
            return Err(Error::Entry { entry: blob.digest.to_string(), why });
        }
        Ok(())
    }

    /// Stores an uncompressed archive as it is, and indexes it.
    ///
    /// # Errors
    /// When it cannot be read or holds something unusable.
    pub fn ingest(&self, reader: impl Read) -> Result<Digest, Error> {
        let temp = tempfile::NamedTempFile::new_in(&self.root).map_err(Error::io("create a file in", &self.root))?;
        let mut out = BufWriter::with_capacity(256 * 1024, temp.reopen().map_err(Error::io("open", temp.path()))?);
        let tee = Tee { inner: reader, out: &mut out, hasher: Hasher::default(), read: 0 };
        let (digest, entries) = index_archive(tee)?;
        out.flush().map_err(Error::io("write", temp.path()))?;
        drop(out);
        self.keep(temp, &digest, entries)?;
        Ok(digest)
    }

    fn keep(&self, temp: tempfile::NamedTempFile, layer: &Digest, entries: Vec<Indexed>) -> Result<(), Error> {
        temp.as_file().sync_all().map_err(Error::io("sync", temp.path()))?;
        let tar = self.tar_path(layer);
        temp.persist(&tar).map_err(|wrong| wrong.error).map_err(Error::io("store", &tar))?;
        let path = self.index_path(layer);
        let bytes = serde_json::to_vec(&entries).map_err(std::io::Error::other).map_err(Error::io("index", &path))?;
        oci::blob::write_atomically(&path, &bytes)?;
        self.loaded
            .lock()
            .expect("index lock is never poisoned")
            .insert(layer.clone(), Arc::new(LayerIndex { entries }));
        Ok(())
    }

    /// Opens a file wherever it is.
    ///
    /// # Errors
    /// When it is gone.
    pub fn open_content(&self, content: &Content) -> Result<Box<dyn Read>, Error> {
        match content {
            Content::Layer { layer, offset, size, .. } => Ok(Box::new(self.open_at(layer, *offset, *size)?)),
            Content::Disk(path) => Ok(Box::new(File::open(path).map_err(Error::io("open", path))?)),
            Content::Bytes(bytes) => Ok(Box::new(std::io::Cursor::new(bytes.clone()))),
        }
    }

    /// Opens a file inside a layer.
    ///
    /// # Errors
    /// When the layer is gone.
    pub fn open_at(&self, layer: &Digest, offset: u64, size: u64) -> Result<impl Read + use<>, Error> {
        let path = self.tar_path(layer);
        let mut file = File::open(&path).map_err(Error::io("open", &path))?;
        file.seek(SeekFrom::Start(offset)).map_err(Error::io("read", &path))?;
        Ok(file.take(size))
    }
}

/// Reads plain, gzip or zstd data as plain.
///
/// # Errors
/// When the first bytes cannot be read.
pub fn decompress(file: impl Read + 'static) -> std::io::Result<Box<dyn Read>> {
    let mut reader = BufReader::with_capacity(128 * 1024, file);
    let head = std::io::BufRead::fill_buf(&mut reader)?;
    Ok(match head {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
        _ => Box::new(reader),
    })
}

struct Tee<'a, R> {
    inner: R,
    out: &'a mut BufWriter<File>,
    hasher: Hasher,
    read: u64,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.out.write_all(&buffer[..n])?;
        self.read += n as u64;
        Ok(n)
    }
}

fn index_archive<R: Read>(tee: Tee<'_, R>) -> Result<(Digest, Vec<Indexed>), Error> {
    let wrong = |source| Error::Archive { layer: "archive".to_owned(), source };
    let mut reader = tar::Reader::new(tee);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().map_err(wrong)? {
        let offset = reader.inner().read;
        let mut sha = String::new();
        if entry.kind == Kind::File {
            let bytes =
                hashes_of(&mut reader).map_err(|source| wrong(tar::Error::Io { entry: entry.display(), source }))?;
            sha = hex::encode(bytes);
        }
        entries.push(indexed(&entry, offset, sha)?);
    }
    let tee = reader.inner();
    std::io::copy(tee, &mut std::io::sink())
        .map_err(|source| wrong(tar::Error::Io { entry: String::new(), source }))?;
    Ok((tee.hasher.clone().finish(), entries))
}

fn hashes_of(reader: &mut impl Read) -> std::io::Result<[u8; 32]> {
    super::hashes::sha256_reader(reader)
}

fn indexed(entry: &tar::Entry, offset: u64, sha: String) -> Result<Indexed, Error> {
    let path = clean_entry(&entry.path)
        .ok_or_else(|| Error::Entry { entry: entry.display(), why: "leads out of the tree".to_owned() })?;
    let link = match entry.kind {
        Kind::HardLink => clean_entry(&entry.link)
            .ok_or_else(|| Error::Entry { entry: entry.display(), why: "is a hard link out of the tree".to_owned() })?,
        _ => String::from_utf8_lossy(&entry.link).into_owned(),
    };
    let id = |id: u64| {
        u32::try_from(id).map_err(|_| Error::Entry { entry: entry.display(), why: format!("has an owner id of {id}") })
    };
    Ok(Indexed {
        path,
        kind: match entry.kind {
            Kind::File => 'f',
            Kind::HardLink => 'h',
            Kind::Symlink => 'l',
            Kind::Char => 'c',
            Kind::Block => 'b',
            Kind::Directory => 'd',
            Kind::Fifo => 'p',
        },
        mode: entry.mode & 0o7777,
        uid: id(entry.uid)?,
        gid: id(entry.gid)?,
        size: entry.size,
        offset,
        sha,
        link,
        device: matches!(entry.kind, Kind::Char | Kind::Block).then_some(entry.device),
        xattrs: entry.xattrs.iter().map(|(k, v)| (hex::encode(k), hex::encode(v))).collect(),
    })
}

/// A tree path from an archive name; `None` when it climbs out.
pub(crate) fn clean_entry(name: &[u8]) -> Option<String> {
    let name = String::from_utf8_lossy(name);
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

impl Indexed {
    /// The node, for entries that are not hard links.
    pub(crate) fn node(&self, layer: &Digest) -> Node {
        let unhex = |text: &String| hex::decode(text).unwrap_or_default();
        let (major, minor) = self.device.unwrap_or_default();
        let kind = match self.kind {
            'd' => NodeKind::Dir,
            'l' => NodeKind::Symlink(self.link.clone()),
            'c' => NodeKind::Char(major, minor),
            'b' => NodeKind::Block(major, minor),
            'p' => NodeKind::Fifo,
            _ => {
                let mut sha = [0u8; 32];
                let _ = hex::decode_to_slice(&self.sha, &mut sha);
                NodeKind::File {
                    size: self.size,
                    content: Content::Layer { layer: layer.clone(), offset: self.offset, size: self.size, sha },
                }
            }
        };
        let xattrs: BTreeMap<_, _> = self.xattrs.iter().map(|(k, v)| (unhex(k), unhex(v))).collect();
        Node { kind, mode: self.mode, uid: self.uid, gid: self.gid, xattrs }
    }
}

/// Writes one layer. Nothing is kept unless [`finish`](Self::finish) is called.
#[derive(Debug)]
pub struct LayerWriter<'a> {
    store: &'a LayerStore,
    temp: tempfile::NamedTempFile,
    out: BufWriter<File>,
    hasher: Hasher,
    at: u64,
    entries: Vec<Indexed>,
}

impl LayerWriter<'_> {
    /// Appends one entry; `data` gives exactly `entry.size` bytes.
    ///
    /// # Errors
    /// When the data is shorter or longer than announced, or the disk fails.
    pub fn append(&mut self, entry: &tar::Entry, data: Option<&mut dyn Read>) -> Result<(), Error> {
        let path = self.temp.path().to_owned();
        let mut header = Vec::with_capacity(1024);
        tar::write_entry(&mut header, entry).map_err(Error::io("write", &path))?;
        self.put(&header)?;
        let offset = self.at;
        let mut sha = String::new();
        if entry.kind == Kind::File {
            let mut hasher = Sha256::new();
            let mut left = entry.size;
            if let Some(data) = data {
                let mut buffer = vec![0u8; 128 * 1024];
                loop {
                    let n = data.read(&mut buffer).map_err(Error::io("read", entry.display()))?;
                    if n == 0 {
                        break;
                    }
                    left = left.checked_sub(n as u64).ok_or_else(|| changed(entry))?;
                    hasher.update(&buffer[..n]);
                    self.put(&buffer[..n])?;
                }
            }
            if left > 0 {
                return Err(changed(entry));
            }
            sha = hex::encode(hasher.finalize());
            let padding = (BLOCK - self.at % BLOCK) % BLOCK;
            self.put(&[0u8; BLOCK as usize][..padding as usize])?;
        }
        self.entries.push(indexed(entry, offset, sha)?);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.out.write_all(bytes).map_err(Error::io("write", self.temp.path()))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Ends the archive and keeps it. Gives the diff id.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn finish(mut self) -> Result<Digest, Error> {
        self.put(&[0u8; 2 * BLOCK as usize])?;
        let file =
            self.out.into_inner().map_err(|wrong| wrong.into_error()).map_err(Error::io("write", self.temp.path()))?;
        drop(file);
        let digest = self.hasher.finish();
        self.store.keep(self.temp, &digest, self.entries)?;
        Ok(digest)
    }
}

fn changed(entry: &tar::Entry) -> Error {
    Error::Entry { entry: entry.display(), why: "changed its size while it was copied".to_owned() }
}

/// The archive entry for a node.
pub fn entry(path: &str, node: &Node, time: i64) -> tar::Entry {
    let (kind, size, link, device) = match &node.kind {
        NodeKind::Dir => (Kind::Directory, 0, String::new(), (0, 0)),
        NodeKind::File { size, .. } => (Kind::File, *size, String::new(), (0, 0)),
        NodeKind::Symlink(target) => (Kind::Symlink, 0, target.clone(), (0, 0)),
        NodeKind::Char(major, minor) => (Kind::Char, 0, String::new(), (*major, *minor)),
        NodeKind::Block(major, minor) => (Kind::Block, 0, String::new(), (*major, *minor)),
        NodeKind::Fifo => (Kind::Fifo, 0, String::new(), (0, 0)),
    };
    let slash = if kind == Kind::Directory { "/" } else { "" };
    let mut entry = tar::Entry::new(format!("{path}{slash}"), kind, node.mode);
    entry.uid = u64::from(node.uid);
    entry.gid = u64::from(node.gid);
    entry.size = size;
    entry.link = link.into_bytes();
    entry.device = device;
    entry.mtime = (time, 0);
    entry.xattrs = node.xattrs.clone();
    entry
}
