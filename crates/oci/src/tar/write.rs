//! Writing tar headers: plain ustar where it suffices, one PAX header where it does not. The same entry always gives
//! the same bytes.

use std::io::{self, Write};

use super::read::checksum;
use super::{BLOCK, Entry, Kind};

/// Writes the headers of `entry`. Its content, then zeros up to a multiple of 512 bytes, must follow.
pub fn write_entry(sink: &mut impl Write, entry: &Entry) -> io::Result<()> {
    let mut records = Vec::new();
    let (prefix, name) = split_name(&entry.path).unwrap_or_else(|| {
        record(&mut records, b"path", &entry.path);
        (&[], truncate(&entry.path, 100))
    });
    let link = if entry.link.len() <= 100 {
        &entry.link[..]
    } else {
        record(&mut records, b"linkpath", &entry.link);
        truncate(&entry.link, 100)
    };
    let mut number = |key: &[u8], value: u64, digits: u32| {
        if value < 1 << (3 * digits) {
            value
        } else {
            record(&mut records, key, value.to_string().as_bytes());
            0
        }
    };
    let size = number(b"size", entry.size, 11);
    let uid = number(b"uid", entry.uid, 7);
    let gid = number(b"gid", entry.gid, 7);
    let (seconds, nanos) = entry.mtime;
    let mtime = if (0..1 << 33).contains(&seconds) && nanos == 0 {
        seconds as u64
    } else {
        record(&mut records, b"mtime", time_text(seconds, nanos).as_bytes());
        u64::try_from(seconds).unwrap_or(0).min((1 << 33) - 1)
    };
    for (key, value) in &entry.xattrs {
        record(&mut records, &[b"SCHILY.xattr.", key.as_slice()].concat(), value);
    }
    if !records.is_empty() {
        let mut header = [0u8; BLOCK];
        header[..b"PaxHeaders.0/x".len()].copy_from_slice(b"PaxHeaders.0/x");
        fill(&mut header, b'x', 0o644, [0, 0, records.len() as u64, 0], b"", b"");
        sink.write_all(&header)?;
        records.resize(records.len().next_multiple_of(BLOCK), 0);
        sink.write_all(&records)?;
    }
    let kind = match entry.kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::Char => b'3',
        Kind::Block => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    };
    let mut header = [0u8; BLOCK];
    header[..name.len()].copy_from_slice(name);
    if matches!(entry.kind, Kind::Char | Kind::Block) {
        octal(&mut header[329..337], u64::from(entry.device.0));
        octal(&mut header[337..345], u64::from(entry.device.1));
    }
    fill(&mut header, kind, entry.mode & 0o7777, [uid, gid, size, mtime], link, prefix);
    sink.write_all(&header)
}

fn fill(header: &mut [u8; BLOCK], kind: u8, mode: u32, numbers: [u64; 4], link: &[u8], prefix: &[u8]) {
    let [uid, gid, size, mtime] = numbers;
    octal(&mut header[100..108], u64::from(mode));
    octal(&mut header[108..116], uid);
    octal(&mut header[116..124], gid);
    octal(&mut header[124..136], size);
    octal(&mut header[136..148], mtime);
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link);
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[345..345 + prefix.len()].copy_from_slice(prefix);
    seal(header);
}

pub(super) fn seal(header: &mut [u8; BLOCK]) {
    let sum = format!("{:06o}\0 ", checksum(header));
    header[148..156].copy_from_slice(sum.as_bytes());
}

/// Digits with leading zeros, then a NUL.
fn octal(field: &mut [u8], value: u64) {
    let width = field.len() - 1;
    let text = format!("{value:0width$o}");
    field[..width].copy_from_slice(&text.as_bytes()[text.len() - width..]);
    field[width] = 0;
}

/// `length key=value\n`, where the length counts itself.
fn record(into: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    into.extend_from_slice(length.to_string().as_bytes());
    into.push(b' ');
    into.extend_from_slice(key);
    into.push(b'=');
    into.extend_from_slice(value);
    into.push(b'\n');
}

/// Splits a long name at a slash into ustar's prefix and name.
fn split_name(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((&[], path));
    }
    let earliest = path.len().checked_sub(101)?;
    let at = (earliest..path.len().min(156)).find(|n| path[*n] == b'/')?;
    let (prefix, name) = (&path[..at], &path[at + 1..]);
    (!prefix.is_empty() && !name.is_empty() && prefix.len() <= 155 && name.len() <= 100).then_some((prefix, name))
}

fn truncate(bytes: &[u8], to: usize) -> &[u8] {
    &bytes[..bytes.len().min(to)]
}

fn time_text(seconds: i64, nanos: u32) -> String {
    let (sign, seconds, nanos) = if seconds < 0 && nanos > 0 {
        ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanos)
    } else {
        (if seconds < 0 { "-" } else { "" }, seconds.unsigned_abs(), nanos)
    };
    if nanos == 0 {
        return format!("{sign}{seconds}");
    }
    let fraction = format!("{nanos:09}");
    format!("{sign}{seconds}.{}", fraction.trim_end_matches('0'))
}
