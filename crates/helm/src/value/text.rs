//! Go texts in `str`: each byte that is not UTF-8 stands as one private character, and goes back to itself.

use std::borrow::Cow;

/// The character of byte 0x80; 0xFF is the last one of plane 16.
const BASE: u32 = 0x0010_FF00;

fn private(c: char) -> Option<u8> {
    let n = c as u32;
    (BASE + 0x80..=BASE + 0xFF).contains(&n).then(|| (n - BASE) as u8)
}

/// Bytes to text, without loss.
pub fn from_bytes(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let mut out = String::with_capacity(bytes.len() * 2);
            for chunk in bytes.utf8_chunks() {
                out.push_str(chunk.valid());
                out.extend(chunk.invalid().iter().filter_map(|&b| char::from_u32(BASE + u32::from(b))));
            }
            Cow::Owned(out)
        }
    }
}

fn has_private(text: &str) -> bool {
    // Every such character begins with the bytes F4 8F BE or F4 8F BF.
    text.as_bytes().contains(&0xF4) && text.chars().any(|c| private(c).is_some())
}

/// Text to the bytes it stands for.
pub fn to_bytes(text: &str) -> Cow<'_, [u8]> {
    if !has_private(text) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut buffer = [0; 4];
    for c in text.chars() {
        match private(c) {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    Cow::Owned(out)
}

/// Length in bytes, as Go's `len`.
pub fn len(text: &str) -> usize {
    if has_private(text) { to_bytes(text).len() } else { text.len() }
}

/// Text for people and JSON: stray bytes become U+FFFD.
pub fn lossy(text: &str) -> Cow<'_, str> {
    if !has_private(text) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if private(c).is_some() { '\u{fffd}' } else { c }).collect())
}

/// A slice of the bytes, as Go's `s[from..to]`.
pub fn slice(text: &str, from: usize, to: usize) -> String {
    match (has_private(text), text.get(from..to)) {
        (false, Some(piece)) => piece.to_owned(),
        _ => {
            let bytes = to_bytes(text);
            from_bytes(bytes.get(from..to).unwrap_or(&[])).into_owned()
        }
    }
}
