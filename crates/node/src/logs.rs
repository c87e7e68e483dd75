//! Container logs on disk, in the format of container runtimes: `TIME STREAM F|P LINE`, one file for each start of a container.

use crate::error::{Context, Result};
use bytes::{Bytes, BytesMut};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{broadcast, watch};

/// Size at which a log is rotated, in bytes.
const ROTATE_AT: u64 = 10 << 20;
/// How many rotated files are kept beside the current one.
const ROTATED: u32 = 4;
/// The longest piece of a line that one record holds, in bytes.
const MAX_PIECE: usize = 16 << 10;

/// A log that is being written, and what its readers need.
pub(crate) struct Log {
    path: PathBuf,
    file: Mutex<(File, u64)>,
    /// Rises with each record; closed when the container has ended.
    version: watch::Sender<u64>,
    /// Output as it comes, for `attach`: 1 for standard output, 2 for standard error.
    live: broadcast::Sender<(u8, Bytes)>,
}

/// Which part of a log is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) follow: bool,
    pub(crate) timestamps: bool,
    pub(crate) tail: Option<usize>,
    /// RFC 3339; earlier records are left out.
    pub(crate) since: Option<jiff::Timestamp>,
    pub(crate) limit_bytes: Option<u64>,
}

impl Log {
    /// Opens the log of one start of a container.
    pub(crate) fn open(path: PathBuf) -> Result<Arc<Log>> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).context(|| format!("make {}", parent.display()))?;
        }
        let file =
            File::options().create(true).append(true).open(&path).context(|| format!("open {}", path.display()))?;
        let size = file.metadata().map(|m| m.len()).unwrap_or(0);
        Ok(Arc::new(Log {
            path,
            file: Mutex::new((file, size)),
            version: watch::Sender::new(0),
            live: broadcast::Sender::new(64),
        }))
    }

    /// Its current file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Output as it comes.
    pub(crate) fn live(&self) -> broadcast::Receiver<(u8, Bytes)> {
        self.live.subscribe()
    }

    /// Tells of new records; ends with the container.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn record(&self, stream: &str, full: bool, line: &[u8], out: &mut Vec<u8>) {
        out.clear();
        let now = jiff::Timestamp::now();
        let _ = write!(out, "{now:.9} {stream} {} ", if full { 'F' } else { 'P' });
        out.extend_from_slice(line);
        out.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if file.1 > ROTATE_AT {
            match self.rotate() {
                Ok(fresh) => *file = (fresh, 0),
                Err(error) => tracing::warn!(error = error.line(), "a log cannot be rotated"),
            }
        }
        if let Err(error) = file.0.write_all(out) {
            tracing::warn!(path = %self.path.display(), %error, "a log cannot be written");
        }
        file.1 += out.len() as u64;
    }

    fn rotate(&self) -> Result<File> {
        let numbered = |n: u32| self.path.with_extension(format!("log.{n}"));
        for n in (1..ROTATED).rev() {
            let _ = std::fs::rename(numbered(n), numbered(n + 1));
        }
        std::fs::rename(&self.path, numbered(1)).context(|| format!("rotate {}", self.path.display()))?;
        File::options().create(true).append(true).open(&self.path).context(|| format!("open {}", self.path.display()))
    }

    /// Writes what comes from `fd` until its end.
    pub(crate) async fn copy(self: Arc<Self>, number: u8, fd: OwnedFd) {
        let Ok(mut pipe) = pipe::Receiver::from_owned_fd(fd) else { return };
        self.copy_from(number, &mut pipe).await;
    }

    /// Writes what comes from `source` until its end.
    pub(crate) async fn copy_from(&self, number: u8, source: &mut (impl tokio::io::AsyncRead + Unpin)) {
        let stream = if number == 1 { "stdout" } else { "stderr" };
        let (mut buffer, mut out) = (BytesMut::with_capacity(4 << 10), Vec::new());
        loop {
            buffer.reserve(4 << 10);
            let before = buffer.len();
            match source.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            if self.live.receiver_count() > 0 {
                let _ = self.live.send((number, Bytes::copy_from_slice(&buffer[before..])));
            }
            while let Some(at) = buffer.iter().position(|byte| *byte == b'\n') {
                let line = buffer.split_to(at + 1);
                let mut rest = &line[..at];
                while rest.len() > MAX_PIECE {
                    self.record(stream, false, &rest[..MAX_PIECE], &mut out);
                    rest = &rest[MAX_PIECE..];
                }
                self.record(stream, true, rest, &mut out);
            }
            while buffer.len() >= MAX_PIECE {
                let piece = buffer.split_to(MAX_PIECE);
                self.record(stream, false, &piece, &mut out);
            }
            self.version.send_modify(|version| *version += 1);
        }
        if !buffer.is_empty() {
            // A last line without its end is shown without it.
            self.record(stream, false, &buffer, &mut out);
            self.version.send_modify(|version| *version += 1);
        }
    }
}

/// One record: its time, whether a line ends with it, its text.
fn split(record: &[u8]) -> Option<(&str, bool, &[u8])> {
    let mut parts = record.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let _stream = parts.next()?;
    let full = parts.next()? == b"F";
    Some((time, full, parts.next().unwrap_or_default()))
}

/// Reads a log file from a position on.
pub(crate) struct Reader {
    file: BufReader<File>,
    options: Options,
    sent: u64,
    /// Whether the next record begins a line.
    line_start: bool,
    path: PathBuf,
    partial: Vec<u8>,
}

impl Reader {
    /// Opens a log; rotated files are read too as far as the options ask for them.
    pub(crate) fn open(path: &Path, options: Options) -> std::io::Result<(Reader, Vec<u8>)> {
        let mut reader = Reader {
            file: BufReader::new(File::open(path)?),
            options,
            sent: 0,
            line_start: true,
            path: path.to_owned(),
            partial: Vec::new(),
        };
        let mut old = Vec::new();
        let whole = reader.options.tail.is_none_or(|n| n > 1000);
        if whole {
            for n in (1..=ROTATED).rev() {
                if let Ok(text) = std::fs::read(path.with_extension(format!("log.{n}"))) {
                    reader.format(&text, &mut old);
                }
            }
        }
        if let Some(tail) = reader.options.tail {
            reader.seek_to_tail(tail)?;
        }
        Ok((reader, old))
    }

    fn seek_to_tail(&mut self, lines: usize) -> std::io::Result<()> {
        let file = self.file.get_mut();
        let mut at = file.metadata()?.len();
        let (mut found, mut block) = (0usize, vec![0u8; 32 << 10]);
        'blocks: while at > 0 {
            let size = at.min(block.len() as u64);
            file.seek(SeekFrom::Start(at - size))?;
            let part = &mut block[..size as usize];
            file.read_exact(part)?;
            for index in (0..part.len()).rev() {
                if part[index] == b'\n' {
                    if found == lines {
                        at = at - size + index as u64 + 1;
                        break 'blocks;
                    }
                    found += 1;
                }
            }
            at -= size;
        }
        if lines == 0 {
            at = self.file.get_ref().metadata()?.len();
        }
        self.file.seek(SeekFrom::Start(at))?;
        Ok(())
    }

    /// What has come since the last call, at most about `max` bytes. Empty at the end of what is there.
    pub(crate) fn next(&mut self, max: usize) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < max {
            let mut record = std::mem::take(&mut self.partial);
            if self.file.read_until(b'\n', &mut record)? == 0 || record.last() != Some(&b'\n') {
                self.partial = record;
                // A rotated log goes on in a new file of the same name.
                if self.partial.is_empty() && self.was_rotated() {
                    self.file = BufReader::new(File::open(&self.path)?);
                    continue;
                }
                break;
            }
            self.format(&record, &mut out);
        }
        Ok(out)
    }

    fn was_rotated(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        match (self.file.get_ref().metadata(), std::fs::metadata(&self.path)) {
            (Ok(ours), Ok(current)) => ours.ino() != current.ino(),
            _ => false,
        }
    }

    /// Whether nothing more is wanted.
    pub(crate) fn is_full(&self) -> bool {
        self.options.limit_bytes.is_some_and(|limit| self.sent >= limit)
    }

    fn format(&mut self, records: &[u8], out: &mut Vec<u8>) {
        for record in records.split(|byte| *byte == b'\n').filter(|record| !record.is_empty()) {
            let Some((time, full, text)) = split(record) else { continue };
            if let Some(since) = self.options.since
                && time.parse::<jiff::Timestamp>().is_ok_and(|time| time < since)
            {
                continue;
            }
            let before = out.len();
            if self.options.timestamps && self.line_start {
                out.extend_from_slice(time.as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(text);
            if full {
                out.push(b'\n');
            }
            self.line_start = full;
            let added = (out.len() - before) as u64;
            if let Some(limit) = self.options.limit_bytes
                && self.sent + added > limit
            {
                out.truncate(before + (limit - self.sent) as usize);
                self.sent = limit;
                return;
            }
            self.sent += added;
        }
    }
}

/// The last lines of a log, as text: for termination messages that fall back to it.
pub(crate) fn tail(path: &Path, lines: usize, max: usize) -> String {
    let options = Options { tail: Some(lines), ..Options::default() };
    let text = Reader::open(path, options).and_then(|(mut reader, _)| reader.next(1 << 20)).unwrap_or_default();
    let from = text.len().saturating_sub(max);
    String::from_utf8_lossy(&text[from..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn written(text: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("c/0.log");
        let log = Log::open(path.clone()).expect("a log");
        log.copy_from(1, &mut std::io::Cursor::new(text.to_vec())).await;
        (dir, path)
    }

    fn read(path: &Path, options: Options) -> String {
        let (mut reader, mut text) = Reader::open(path, options).expect("opens");
        text.extend(reader.next(usize::MAX).expect("reads"));
        String::from_utf8(text).expect("text")
    }

    #[tokio::test]
    async fn lines_come_back() {
        let (_dir, path) = written(b"one\ntwo\n\nfour").await;
        assert_eq!(read(&path, Options::default()), "one\ntwo\n\nfour");
        assert_eq!(read(&path, Options { tail: Some(2), ..Options::default() }), "\nfour");
        assert_eq!(read(&path, Options { tail: Some(0), ..Options::default() }), "");
        assert_eq!(read(&path, Options { tail: Some(99), ..Options::default() }), "one\ntwo\n\nfour");
        assert_eq!(read(&path, Options { limit_bytes: Some(5), ..Options::default() }), "one\nt");
        assert_eq!(read(&path, Options { since: Some(jiff::Timestamp::MAX), ..Options::default() }), "");
        let stamped = read(&path, Options { timestamps: true, tail: Some(1), ..Options::default() });
        let (time, line) = stamped.split_once(' ').expect("a time");
        assert!(time.parse::<jiff::Timestamp>().is_ok() && line == "four", "{stamped}");
    }

    #[tokio::test]
    async fn long_lines_are_split_and_joined() {
        let mut text = vec![b'x'; 40_000];
        text.push(b'\n');
        let (_dir, path) = written(&text).await;
        assert_eq!(std::fs::read_to_string(&path).expect("reads").lines().count(), 3);
        assert_eq!(read(&path, Options::default()).len(), 40_001);
    }
}
