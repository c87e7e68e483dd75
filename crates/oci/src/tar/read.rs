//! Reading tar: headers are checked, extension records are bounded, content is streamed.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::{BLOCK, Entry, Kind};

/// Largest long-name or PAX record block, in bytes.
const MAX_EXTENSION: u64 = 1024 * 1024;

/// Why an archive cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source failed, or ended too early.
    #[error("archive cannot be read after entry {entry:?}")]
    Io {
        /// Last entry seen.
        entry: String,
        /// Why.
        source: io::Error,
    },
    /// A header's checksum does not match.
    #[error("archive is damaged after entry {0:?}: header checksum does not match")]
    Checksum(String),
    /// A number in a header is malformed.
    #[error("archive is damaged after entry {entry:?}: {field} is not a number")]
    Number {
        /// Last entry seen.
        entry: String,
        /// Which field.
        field: &'static str,
    },
    /// A PAX record is malformed.
    #[error("archive is damaged after entry {0:?}: malformed PAX record")]
    Pax(String),
    /// A long name or PAX block is larger than any real one.
    #[error("archive is hostile after entry {entry:?}: extension header of {size} bytes")]
    ExtensionTooLarge {
        /// Last entry seen.
        entry: String,
        /// Announced bytes.
        size: u64,
    },
    /// Valid, but not something an image layer holds.
    #[error("archive entry {entry:?}: {what} is not supported in image layers")]
    Unsupported {
        /// The entry.
        entry: String,
        /// What it is.
        what: String,
    },
}

/// Reads an uncompressed archive. [`Read`] gives the content of the entry that
/// [`next_entry`](Self::next_entry) returned last.
#[derive(Debug)]
pub struct Reader<R> {
    inner: R,
    remaining: u64,
    padding: u64,
    last: String,
    globals: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl<R: Read> Reader<R> {
    /// Starts at the archive's first byte.
    pub fn new(inner: R) -> Self {
        Self { inner, remaining: 0, padding: 0, last: String::new(), globals: BTreeMap::new() }
    }

    /// The underlying reader, to drain what follows the archive's end.
    pub fn inner(&mut self) -> &mut R {
        &mut self.inner
    }

    /// The next entry, skipping what is left of the one before. None at the end.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        let rest = self.remaining + self.padding;
        self.skip(rest)?;
        (self.remaining, self.padding) = (0, 0);
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let size = self.number(&header[124..136], "size")?;
            match header[156] {
                b'L' => extensions.path = Some(until_nul(&self.extension(size)?).to_vec()),
                b'K' => extensions.link = Some(until_nul(&self.extension(size)?).to_vec()),
                b'x' => {
                    let records = self.extension(size)?;
                    self.pax(&records, &mut extensions.pax)?;
                }
                b'g' => {
                    let records = self.extension(size)?;
                    let mut globals = std::mem::take(&mut self.globals);
                    self.pax(&records, &mut globals)?;
                    self.globals = globals;
                }
                _ => return self.entry(&header, size, extensions).map(Some),
            }
        }
    }

    fn entry(&mut self, header: &[u8; BLOCK], size: u64, extensions: Extensions) -> Result<Entry, Error> {
        let mut pax = extensions.pax;
        for (key, value) in &self.globals {
            pax.entry(key.clone()).or_insert_with(|| value.clone());
        }
        let short = || {
            let name = until_nul(&header[..100]);
            let prefix = until_nul(&header[345..500]);
            if header[257..262] == *b"ustar" && header[262] == 0 && !prefix.is_empty() {
                [prefix, b"/", name].concat()
            } else {
                name.to_vec()
            }
        };
        let path = pax.remove(&b"path"[..]).or(extensions.path).unwrap_or_else(short);
        let link = pax.remove(&b"linkpath"[..]).or(extensions.link);
        let link = link.unwrap_or_else(|| until_nul(&header[157..257]).to_vec());
        self.last = String::from_utf8_lossy(&path).chars().take(300).collect();
        let unsupported = |what: &str| Error::Unsupported { entry: self.last.clone(), what: what.into() };
        if pax.keys().any(|k| k.starts_with(b"GNU.sparse.")) {
            return Err(unsupported("a sparse file"));
        }
        let kind = match header[156] {
            0 | b'0' | b'7' if path.last() == Some(&b'/') => Kind::Directory,
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Char,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'S' => return Err(unsupported("a sparse file")),
            other => return Err(unsupported(&format!("entry type {:?}", char::from(other)))),
        };
        let size = match pax.remove(&b"size"[..]) {
            Some(text) => self.decimal(&text, "size")?,
            None => size,
        };
        let uid = match pax.remove(&b"uid"[..]) {
            Some(text) => self.decimal(&text, "uid")?,
            None => self.number(&header[108..116], "uid")?,
        };
        let gid = match pax.remove(&b"gid"[..]) {
            Some(text) => self.decimal(&text, "gid")?,
            None => self.number(&header[116..124], "gid")?,
        };
        let mtime = match pax.remove(&b"mtime"[..]) {
            Some(text) => pax_time(&text).ok_or_else(|| self.not_a_number("mtime"))?,
            None => (self.signed(&header[136..148]).ok_or_else(|| self.not_a_number("mtime"))?, 0),
        };
        let device = match kind {
            Kind::Char | Kind::Block => {
                let part = |range: std::ops::Range<usize>| {
                    let n = self.number(&header[range], "device number")?;
                    u32::try_from(n).map_err(|_| self.not_a_number("device number"))
                };
                (part(329..337)?, part(337..345)?)
            }
            _ => (0, 0),
        };
        let xattr = |(k, v): (Vec<u8>, Vec<u8>)| k.strip_prefix(b"SCHILY.xattr.").map(|k| (k.to_vec(), v.clone()));
        let xattrs = pax.into_iter().filter_map(xattr).collect();
        let mode = (self.number(&header[100..108], "mode")? & 0o7777) as u32;
        // Link entries of old writers carry the target's size without content.
        let size = if kind == Kind::File { size } else { 0 };
        self.remaining = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        Ok(Entry { path, kind, mode, uid, gid, size, mtime, link, device, xattrs })
    }

    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0u8; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.io(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.io(e)),
            }
        }
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let stored = self.number(&block[148..156], "checksum")?;
        if stored != u64::from(checksum(&block)) {
            return Err(Error::Checksum(self.last.clone()));
        }
        Ok(Some(block))
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        if size > MAX_EXTENSION {
            return Err(Error::ExtensionTooLarge { entry: self.last.clone(), size });
        }
        let mut bytes = vec![0; size as usize];
        self.inner.read_exact(&mut bytes).map_err(|e| self.io(e))?;
        self.skip((BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64)?;
        Ok(bytes)
    }

    fn pax(&self, mut bytes: &[u8], into: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), Error> {
        let bad = || Error::Pax(self.last.clone());
        while !bytes.is_empty() && bytes[0] != 0 {
            let space = bytes.iter().position(|b| *b == b' ').ok_or_else(bad)?;
            let length = std::str::from_utf8(&bytes[..space]).ok().and_then(|t| t.parse::<usize>().ok());
            let length = length.filter(|n| *n > space + 2 && *n <= bytes.len()).ok_or_else(bad)?;
            let (record, rest) = bytes.split_at(length);
            let record = record[space + 1..].strip_suffix(b"\n").ok_or_else(bad)?;
            let equals = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            if value.is_empty() && !key.starts_with(b"SCHILY.xattr.") {
                into.remove(key);
            } else {
                into.insert(key.to_vec(), value.to_vec());
            }
            bytes = rest;
        }
        Ok(())
    }

    fn skip(&mut self, n: u64) -> Result<(), Error> {
        let copied = io::copy(&mut (&mut self.inner).take(n), &mut io::sink()).map_err(|e| self.io(e))?;
        if copied < n { Err(self.io(io::ErrorKind::UnexpectedEof.into())) } else { Ok(()) }
    }

    fn number(&self, field: &[u8], name: &'static str) -> Result<u64, Error> {
        self.signed(field).and_then(|n| u64::try_from(n).ok()).ok_or_else(|| self.not_a_number(name))
    }

    /// Octal text, or base 256 when the first bit is set.
    fn signed(&self, field: &[u8]) -> Option<i64> {
        if field[0] & 0x80 != 0 {
            let negative = field[0] & 0x40 != 0;
            let mut value: i128 = if negative { -1 } else { 0 };
            for (n, byte) in field.iter().enumerate() {
                let byte = if n == 0 && !negative { byte & 0x7f } else { *byte };
                value = (value << 8) | i128::from(byte);
                if value.unsigned_abs() > u128::from(u64::MAX) {
                    return None;
                }
            }
            return i64::try_from(value).ok();
        }
        let text = std::str::from_utf8(until_nul(field)).ok()?.trim();
        if text.is_empty() { Some(0) } else { i64::from_str_radix(text, 8).ok() }
    }

    fn decimal(&self, text: &[u8], name: &'static str) -> Result<u64, Error> {
        std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or_else(|| self.not_a_number(name))
    }

    fn not_a_number(&self, field: &'static str) -> Error {
        Error::Number { entry: self.last.clone(), field }
    }

    fn io(&self, source: io::Error) -> Error {
        Error::Io { entry: self.last.clone(), source }
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        if limit == 0 {
            return Ok(0);
        }
        let n = self.inner.read(&mut buffer[..limit])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.remaining -= n as u64;
        Ok(n)
    }
}

pub(super) fn checksum(block: &[u8; BLOCK]) -> u32 {
    let outside: u32 = block[..148].iter().chain(&block[156..]).map(|b| u32::from(*b)).sum();
    outside + 8 * u32::from(b' ')
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len())]
}

/// `seconds[.fraction]`, possibly negative.
fn pax_time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: u32 = digits.parse().ok()?;
    if whole.starts_with('-') && nanos > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos));
    }
    Some((seconds, nanos))
}
