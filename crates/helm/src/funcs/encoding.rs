//! Base64 and base32.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Func, Ty, f, s};
use crate::value::{Value, text};

const S: &[Ty] = &[Ty::Str];

/// The functions.
pub const FUNCS: &[Func] = &[
    f("b64enc", S, |_, a| Ok(Value::str(base64(&text::to_bytes(s(a, 0)))))),
    f("b64dec", S, |_, a| {
        Ok(match decode64(s(a, 0)) {
            Ok(bytes) => Value::str(text::from_bytes(&bytes)),
            Err(message) => Value::str(message),
        })
    }),
    f("b32enc", S, |_, a| Ok(Value::str(base32(&text::to_bytes(s(a, 0)))))),
    f("b32dec", S, |_, a| {
        Ok(match decode32(s(a, 0)) {
            Ok(bytes) => Value::str(text::from_bytes(&bytes)),
            Err(message) => Value::str(message),
        })
    }),
];

/// Standard base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Go's decoder: line breaks are skipped; the message names the first bad byte.
pub(crate) fn decode64(t: &str) -> Result<Vec<u8>, String> {
    let clean: Vec<u8> = t.bytes().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    STANDARD.decode(&clean).map_err(|_| {
        let mut at = t.len();
        let mut seen = 0;
        for (i, b) in t.bytes().enumerate() {
            if matches!(b, b'\r' | b'\n') {
                continue;
            }
            let letter = b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
            let padding_ok = b == b'=' && seen % 4 >= 2;
            if !letter && !padding_ok {
                at = i;
                break;
            }
            if b == b'=' {
                let rest: Vec<u8> = t.bytes().skip(i).filter(|b| !matches!(b, b'\r' | b'\n')).collect();
                let want = 4 - seen % 4;
                if rest.len() < want {
                    at = t.len();
                } else if rest[..want].iter().any(|&b| b != b'=') {
                    at = i + rest.iter().position(|&b| b != b'=').unwrap_or(0);
                } else {
                    at = i + want;
                }
                break;
            }
            seen += 1;
        }
        if at == t.len() {
            // What is left over of the last group is where Go stops.
            at = t.len() - seen % 4;
        }
        format!("illegal base64 data at input byte {at}")
    })
}

const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn base32(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(5) {
        let mut bits = 0u64;
        for i in 0..5 {
            bits = bits << 8 | u64::from(chunk.get(i).copied().unwrap_or(0));
        }
        let used = (chunk.len() * 8).div_ceil(5);
        for i in 0..8 {
            out.push(if i < used { LETTERS[(bits >> (35 - 5 * i) & 31) as usize] as char } else { '=' });
        }
    }
    out
}

fn decode32(t: &str) -> Result<Vec<u8>, String> {
    let clean: Vec<u8> = t.bytes().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    let mut out = Vec::new();
    let bad = |at: usize| Err(format!("illegal base32 data at input byte {at}"));
    for (group, chunk) in clean.chunks(8).enumerate() {
        let mut bits = 0u64;
        let mut used = 0;
        for (i, &b) in chunk.iter().enumerate() {
            match LETTERS.iter().position(|&l| l == b) {
                Some(n) => {
                    bits = bits << 5 | n as u64;
                    used += 1;
                }
                None if b == b'=' && matches!(i, 2 | 4 | 5 | 7) && chunk[i..].iter().all(|&b| b == b'=') => break,
                None => return bad(group * 8 + i),
            }
        }
        if chunk.len() < 8 {
            return bad(group * 8);
        }
        bits <<= 5 * (8 - used);
        let bytes = used * 5 / 8;
        out.extend((0..bytes).map(|i| (bits >> (32 - 8 * i)) as u8));
    }
    Ok(out)
}
