//! ZIP archives, as artifacts and logs are downloaded: written as a stream of entries, read with names checked.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path};

use flate2::{Compression, Crc, read::DeflateDecoder, write::DeflateEncoder};

/// Writes an archive into a growing buffer or file.
pub struct Writer<W: Write> {
    out: W,
    offset: u64,
    entries: Vec<Entry>,
}

/// An entry as the directory at the end names it.
struct Entry {
    name: String,
    crc: u32,
    method: u16,
    packed: u64,
    size: u64,
    offset: u64,
    mode: u32,
}

/// Where a 32-bit field holds this, the number stands in a 64-bit one elsewhere.
const WIDE: u64 = 0xffff_ffff;

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the archive is not valid: {what}"))
}

/// The low half, or the mark that the number is elsewhere.
fn narrow(n: u64) -> [u8; 4] {
    u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes()
}

/// The extra field with the 64-bit numbers of those that do not fit.
fn extra(numbers: &[u64]) -> Vec<u8> {
    let wide: Vec<u8> = numbers.iter().filter(|n| **n >= WIDE).flat_map(|n| n.to_le_bytes()).collect();
    if wide.is_empty() {
        return Vec::new();
    }
    let mut out = vec![1, 0];
    out.extend((wide.len() as u16).to_le_bytes());
    out.extend(wide);
    out
}

impl Entry {
    /// What both headers share: from the version that is needed to the length of the name.
    fn common(&self, wide: bool, name: u16) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(if wide { 45_u16 } else { 20 }.to_le_bytes());
        out.extend(0x0800_u16.to_le_bytes());
        out.extend(self.method.to_le_bytes());
        // No times: the same files give the same archive.
        out.extend([0, 0, 0x21, 0]);
        out.extend(self.crc.to_le_bytes());
        let (packed, size) = if wide { (WIDE, WIDE) } else { (self.packed, self.size) };
        out.extend(narrow(packed));
        out.extend(narrow(size));
        out.extend(name.to_le_bytes());
        out
    }

    fn wide(&self) -> bool {
        self.packed >= WIDE || self.size >= WIDE
    }
}

impl<W: Write> Writer<W> {
    /// Starts an archive.
    pub fn new(out: W) -> Self {
        Self { out, offset: 0, entries: Vec::new() }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn begin(&mut self, entry: Entry) -> io::Result<()> {
        let length = u16::try_from(entry.name.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a name is too long for an archive"))?;
        let mut head = 0x0403_4b50_u32.to_le_bytes().to_vec();
        head.extend(entry.common(entry.wide(), length));
        // Here both sizes are wide when one is.
        let extra = if entry.wide() {
            let mut extra = vec![1, 0, 16, 0];
            extra.extend(entry.size.to_le_bytes());
            extra.extend(entry.packed.to_le_bytes());
            extra
        } else {
            Vec::new()
        };
        head.extend((extra.len() as u16).to_le_bytes());
        head.extend(entry.name.as_bytes());
        head.extend(extra);
        self.entries.push(entry);
        self.put(&head)
    }

    /// Adds a deflated file.
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let mut crc = Crc::new();
        crc.update(content);
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content)?;
        let packed = encoder.finish()?;
        self.begin(Entry {
            name: name.to_owned(),
            crc: crc.sum(),
            method: 8,
            packed: packed.len() as u64,
            size: content.len() as u64,
            offset: self.offset,
            mode,
        })?;
        self.put(&packed)
    }

    /// Adds a file of the disk as it is, read twice and held in memory never.
    pub fn stored(&mut self, name: &str, mode: u32, path: &Path) -> io::Result<()> {
        let (mut crc, mut size, mut file) = (Crc::new(), 0, File::open(path)?);
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            crc.update(&buffer[..count]);
            size += count as u64;
        }
        let offset = self.offset;
        self.begin(Entry { name: name.to_owned(), crc: crc.sum(), method: 0, packed: size, size, offset, mode })?;
        file.seek(SeekFrom::Start(0))?;
        let copied = io::copy(&mut file.take(size), &mut self.out)?;
        self.offset += copied;
        if copied == size { Ok(()) } else { Err(bad(&format!("{name} shrank while it was read"))) }
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        let start = self.offset;
        let entries = std::mem::take(&mut self.entries);
        for entry in &entries {
            let extra = extra(&[entry.size, entry.packed, entry.offset]);
            let mut head = 0x0201_4b50_u32.to_le_bytes().to_vec();
            head.extend([45, 3]);
            let mut common = entry.common(false, entry.name.len() as u16);
            if !extra.is_empty() {
                common[0] = 45;
            }
            head.extend(common);
            head.extend((extra.len() as u16).to_le_bytes());
            head.extend([0; 6]);
            head.extend(((0o100_000 | entry.mode) << 16).to_le_bytes());
            head.extend(narrow(entry.offset));
            head.extend(entry.name.as_bytes());
            head.extend(extra);
            self.put(&head)?;
        }
        let (count, size, end) = (entries.len() as u64, self.offset - start, self.offset);
        if count >= 0xffff || size >= WIDE || start >= WIDE {
            let mut wide = 0x0606_4b50_u32.to_le_bytes().to_vec();
            wide.extend(44_u64.to_le_bytes());
            wide.extend([45, 3, 45, 0]);
            wide.extend([0; 8]);
            for number in [count, count, size, start] {
                wide.extend(number.to_le_bytes());
            }
            wide.extend(0x0706_4b50_u32.to_le_bytes());
            wide.extend([0; 4]);
            wide.extend(end.to_le_bytes());
            wide.extend(1_u32.to_le_bytes());
            self.put(&wide)?;
        }
        let short = u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes();
        let mut tail = 0x0605_4b50_u32.to_le_bytes().to_vec();
        tail.extend([0; 4]);
        tail.extend(short);
        tail.extend(short);
        tail.extend(narrow(size));
        tail.extend(narrow(start));
        tail.extend([0; 2]);
        self.put(&tail)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Packs a directory, the same bytes for the same files. Nothing is compressed: it travels within one machine.
pub fn pack<W: Write>(dir: &Path, out: W) -> io::Result<W> {
    fn add<W: Write>(root: &Path, dir: &Path, writer: &mut Writer<W>) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let mut entries: Vec<_> = std::fs::read_dir(dir)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if path.is_dir() {
                add(root, &path, writer)?;
            } else if path.is_file() {
                let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                writer.stored(&name, path.metadata()?.permissions().mode() & 0o777, &path)?;
            }
        }
        Ok(())
    }
    let mut writer = Writer::new(out);
    add(dir, dir, &mut writer)?;
    writer.finish()
}

/// SHA-256 of the archive that [`pack`] makes, in hexadecimal.
pub fn digest(dir: &Path) -> io::Result<String> {
    use sha2::{Digest, Sha256};
    struct Hasher(Sha256);
    impl Write for Hasher {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    Ok(hex::encode(pack(dir, Hasher(Sha256::new()))?.0.finalize()))
}

fn u16_at(bytes: &[u8], at: usize) -> io::Result<usize> {
    bytes.get(at..at + 2).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]]))).ok_or_else(|| bad("it is cut off"))
}

fn u32_at(bytes: &[u8], at: usize) -> io::Result<u64> {
    bytes
        .get(at..at + 4)
        .map(|b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])))
        .ok_or_else(|| bad("it is cut off"))
}

fn u64_at(bytes: &[u8], at: usize) -> io::Result<u64> {
    Ok(u32_at(bytes, at)? | u32_at(bytes, at + 4)? << 32)
}

/// Unpacks an archive below `to`; names that lead out of it are refused.
pub fn unpack(archive: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut file = File::open(archive)?;
    let length = file.metadata()?.len();
    let tail_length = length.min(65_557);
    file.seek(SeekFrom::Start(length - tail_length))?;
    let mut tail = Vec::new();
    Read::by_ref(&mut file).take(tail_length).read_to_end(&mut tail)?;
    let end = (0..=tail.len().saturating_sub(22))
        .rev()
        .find(|at| tail[*at..].starts_with(&[0x50, 0x4b, 5, 6]))
        .ok_or_else(|| bad("it has no end"))?;
    let (mut count, mut size, mut start) =
        (u16_at(&tail, end + 10)? as u64, u32_at(&tail, end + 12)?, u32_at(&tail, end + 16)?);
    if let Some(locator) = end.checked_sub(20).filter(|at| tail[*at..].starts_with(&[0x50, 0x4b, 6, 7])) {
        let mut wide = [0; 56];
        file.seek(SeekFrom::Start(u64_at(&tail, locator + 8)?))?;
        file.read_exact(&mut wide)?;
        (count, size, start) = (u64_at(&wide, 32)?, u64_at(&wide, 40)?, u64_at(&wide, 48)?);
    }
    if start.checked_add(size).is_none_or(|end| end > length) {
        return Err(bad("its directory is cut off"));
    }
    file.seek(SeekFrom::Start(start))?;
    let mut directory = Vec::new();
    Read::by_ref(&mut file).take(size).read_to_end(&mut directory)?;
    let mut at = 0;
    for _ in 0..count {
        if u32_at(&directory, at)? != 0x0201_4b50 {
            return Err(bad("an entry is missing"));
        }
        let method = u16_at(&directory, at + 10)?;
        let (mut packed, size, mut offset) =
            (u32_at(&directory, at + 20)?, u32_at(&directory, at + 24)?, u32_at(&directory, at + 42)?);
        let (name_len, extra, comment) =
            (u16_at(&directory, at + 28)?, u16_at(&directory, at + 30)?, u16_at(&directory, at + 32)?);
        let mode = u32_at(&directory, at + 38)? >> 16;
        let name = directory.get(at + 46..at + 46 + name_len).ok_or_else(|| bad("it is cut off"))?;
        let name = String::from_utf8_lossy(name).into_owned();
        let mut field = at + 46 + name_len;
        at += 46 + name_len + extra + comment;
        while field + 4 <= at - comment {
            let (kind, mut place) = (u16_at(&directory, field)?, field + 4);
            field = place + u16_at(&directory, field + 2)?;
            if kind == 1 {
                if size == WIDE {
                    place += 8;
                }
                for number in [&mut packed, &mut offset] {
                    if *number == WIDE {
                        *number = u64_at(&directory, place)?;
                        place += 8;
                    }
                }
            }
        }
        let relative = Path::new(&name);
        if !relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(bad(&format!("the name '{name}' leads out of it")));
        }
        let target = to.join(relative);
        if name.ends_with('/') {
            std::fs::create_dir_all(&target)?;
            continue;
        }
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)?;
        }
        file.seek(SeekFrom::Start(offset))?;
        let mut head = [0; 30];
        file.read_exact(&mut head)?;
        let skip = u16_at(&head, 26)? + u16_at(&head, 28)?;
        file.seek(SeekFrom::Current(skip as i64))?;
        let data = Read::by_ref(&mut file).take(packed);
        let mut out = File::create(&target)?;
        match method {
            0 => io::copy(&mut { data }, &mut out)?,
            8 => io::copy(&mut DeflateDecoder::new(data), &mut out)?,
            other => return Err(bad(&format!("'{name}' is packed by the unknown method {other}"))),
        };
        if mode & 0o777 != 0 {
            std::fs::set_permissions(&target, std::fs::Permissions::from_mode((mode & 0o777) as u32))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        std::fs::create_dir_all(from.join("a/b")).unwrap();
        std::fs::write(from.join("a/b/c.txt"), "hello ".repeat(1000)).unwrap();
        std::fs::write(from.join("empty"), "").unwrap();
        let archive = dir.path().join("x.zip");
        let packed = pack(&from, Vec::new()).unwrap();
        assert_eq!(digest(&from).unwrap(), hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&packed)));
        std::fs::write(&archive, packed).unwrap();
        let to = dir.path().join("to");
        unpack(&archive, &to).unwrap();
        assert_eq!(std::fs::read_to_string(to.join("a/b/c.txt")).unwrap(), "hello ".repeat(1000));
        assert!(to.join("empty").is_file());
        let mut writer = Writer::new(Vec::new());
        writer.file("../out", 0o644, b"x").unwrap();
        std::fs::write(&archive, writer.finish().unwrap()).unwrap();
        assert!(unpack(&archive, &to).unwrap_err().to_string().contains("leads out"));
        std::fs::write(&archive, b"not a zip").unwrap();
        assert!(unpack(&archive, &to).is_err());
    }
}
