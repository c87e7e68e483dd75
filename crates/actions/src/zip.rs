//! ZIP archives, as artifacts and logs are downloaded: written as a stream of deflated entries, read with names checked.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path};

use flate2::{Compression, Crc, read::DeflateDecoder, write::DeflateEncoder};

/// Writes an archive into a growing buffer or file.
pub struct Writer<W: Write> {
    out: W,
    offset: u64,
    entries: Vec<(String, u32, u64, u64, u64, u32)>,
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the archive is not valid: {what}"))
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

    /// Adds a file.
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let mut crc = Crc::new();
        crc.update(content);
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content)?;
        let packed = encoder.finish()?;
        let too_big = || io::Error::new(io::ErrorKind::FileTooLarge, format!("{name} is too large for an archive"));
        let (size, packed_size) =
            (u32::try_from(content.len()).map_err(|_| too_big())?, u32::try_from(packed.len()).map_err(|_| too_big())?);
        let start = self.offset;
        let mut head = Vec::new();
        head.extend(0x0403_4b50_u32.to_le_bytes());
        head.extend(20_u16.to_le_bytes());
        head.extend(0x0800_u16.to_le_bytes());
        head.extend(8_u16.to_le_bytes());
        head.extend([0, 0, 0x21, 0]);
        head.extend(crc.sum().to_le_bytes());
        head.extend(packed_size.to_le_bytes());
        head.extend(size.to_le_bytes());
        head.extend(u16::try_from(name.len()).map_err(|_| too_big())?.to_le_bytes());
        head.extend(0_u16.to_le_bytes());
        head.extend(name.as_bytes());
        self.put(&head)?;
        self.put(&packed)?;
        self.entries.push((name.to_owned(), crc.sum(), u64::from(packed_size), u64::from(size), start, mode));
        Ok(())
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        let start = self.offset;
        let entries = std::mem::take(&mut self.entries);
        let narrow = |n: u64| {
            u32::try_from(n).map_err(|_| io::Error::new(io::ErrorKind::FileTooLarge, "the archive is too large"))
        };
        for (name, crc, packed, size, offset, mode) in &entries {
            let mut head = Vec::new();
            head.extend(0x0201_4b50_u32.to_le_bytes());
            head.extend([20, 3, 20, 0]);
            head.extend(0x0800_u16.to_le_bytes());
            head.extend(8_u16.to_le_bytes());
            head.extend([0, 0, 0x21, 0]);
            head.extend(crc.to_le_bytes());
            head.extend(narrow(*packed)?.to_le_bytes());
            head.extend(narrow(*size)?.to_le_bytes());
            head.extend(u16::try_from(name.len()).unwrap_or(0).to_le_bytes());
            head.extend([0; 8]);
            head.extend(((0o100_000 | mode) << 16).to_le_bytes());
            head.extend(narrow(*offset)?.to_le_bytes());
            head.extend(name.as_bytes());
            self.put(&head)?;
        }
        let count = u16::try_from(entries.len())
            .map_err(|_| io::Error::new(io::ErrorKind::FileTooLarge, "the archive has too many files"))?;
        let mut tail = Vec::new();
        tail.extend(0x0605_4b50_u32.to_le_bytes());
        tail.extend([0; 4]);
        tail.extend(count.to_le_bytes());
        tail.extend(count.to_le_bytes());
        tail.extend(narrow(self.offset - start)?.to_le_bytes());
        tail.extend(narrow(start)?.to_le_bytes());
        tail.extend([0; 2]);
        self.put(&tail)?;
        Ok(self.out)
    }
}

/// Packs a directory.
pub fn pack(dir: &Path) -> io::Result<Vec<u8>> {
    fn add(root: &Path, dir: &Path, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let mut entries: Vec<_> = std::fs::read_dir(dir)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if path.is_dir() {
                add(root, &path, writer)?;
            } else if path.is_file() {
                let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                writer.file(&name, path.metadata()?.permissions().mode() & 0o777, &std::fs::read(&path)?)?;
            }
        }
        Ok(())
    }
    let mut writer = Writer::new(Vec::new());
    add(dir, dir, &mut writer)?;
    writer.finish()
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
    let (count, size, start) = (u16_at(&tail, end + 10)?, u32_at(&tail, end + 12)?, u32_at(&tail, end + 16)?);
    file.seek(SeekFrom::Start(start))?;
    let mut directory = Vec::new();
    Read::by_ref(&mut file).take(size).read_to_end(&mut directory)?;
    let mut at = 0;
    for _ in 0..count {
        if u32_at(&directory, at)? != 0x0201_4b50 {
            return Err(bad("an entry is missing"));
        }
        let (method, packed, offset) =
            (u16_at(&directory, at + 10)?, u32_at(&directory, at + 20)?, u32_at(&directory, at + 42)?);
        let (name_len, extra, comment) =
            (u16_at(&directory, at + 28)?, u16_at(&directory, at + 30)?, u16_at(&directory, at + 32)?);
        let mode = u32_at(&directory, at + 38)? >> 16;
        let name = directory.get(at + 46..at + 46 + name_len).ok_or_else(|| bad("it is cut off"))?;
        let name = String::from_utf8_lossy(name).into_owned();
        at += 46 + name_len + extra + comment;
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
        std::fs::write(&archive, pack(&from).unwrap()).unwrap();
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
