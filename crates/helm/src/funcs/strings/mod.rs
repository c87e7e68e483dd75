//! Texts.

mod words;

use sha2::Digest;

use self::words::{camel_to_lower, camelcase, wrap};
use super::{Answer, Func, Ty, f, n, s, v};
use crate::template::error::Fault;
use crate::template::exec::Exec;
use crate::value::convert::{to_text, to_texts};
use crate::value::quote::quote as go_quote;
use crate::value::{Entries, MapTy, Value, text};

const S: &[Ty] = &[Ty::Str];
const SS: &[Ty] = &[Ty::Str, Ty::Str];
const IS: &[Ty] = &[Ty::Int, Ty::Str];
const A: &[Ty] = &[Ty::Any];

fn ok(text: impl AsRef<str>) -> Answer {
    Ok(Value::str(text))
}

/// The functions.
pub const FUNCS: &[Func] = &[
    f("abbrev", IS, |_, a| ok(abbrev(0, n(a, 0), s(a, 1)))),
    f("abbrevboth", &[Ty::Int, Ty::Int, Ty::Str], |_, a| ok(abbrev(n(a, 0), n(a, 1), s(a, 2)))),
    f("trunc", IS, |_, a| trunc(n(a, 0), &a[1])),
    f("trim", S, |_, a| ok(s(a, 0).trim())),
    f("upper", S, |_, a| ok(upper(s(a, 0)))),
    f("lower", S, |_, a| ok(lower(s(a, 0)))),
    f("title", S, |_, a| ok(title(s(a, 0)))),
    f("untitle", S, |_, a| ok(untitle(s(a, 0)))),
    f("substr", &[Ty::Int, Ty::Int, Ty::Str], |_, a| substr(n(a, 0), n(a, 1), s(a, 2))),
    f("repeat", IS, |e, a| repeat(e, n(a, 0), s(a, 1))),
    f("trimall", SS, |_, a| ok(s(a, 1).trim_matches(|c| s(a, 0).contains(c)))),
    f("trimAll", SS, |_, a| ok(s(a, 1).trim_matches(|c| s(a, 0).contains(c)))),
    f("trimSuffix", SS, |_, a| ok(s(a, 1).strip_suffix(s(a, 0)).unwrap_or(s(a, 1)))),
    f("trimPrefix", SS, |_, a| ok(s(a, 1).strip_prefix(s(a, 0)).unwrap_or(s(a, 1)))),
    f("nospace", S, |_, a| ok(s(a, 0).chars().filter(|c| !c.is_whitespace()).collect::<String>())),
    f("initials", S, |_, a| ok(initials(s(a, 0)))),
    f("swapcase", S, |_, a| ok(swapcase(s(a, 0)))),
    f("snakecase", S, |_, a| ok(camel_to_lower(s(a, 0), '_'))),
    f("camelcase", S, |_, a| ok(camelcase(s(a, 0)))),
    f("kebabcase", S, |_, a| ok(camel_to_lower(s(a, 0), '-'))),
    f("wrap", IS, |_, a| ok(wrap(s(a, 1), n(a, 0), "\n", false))),
    f("wrapWith", &[Ty::Int, Ty::Str, Ty::Str], |e, a| {
        let lines = s(a, 2).len() / usize::try_from(n(a, 0)).unwrap_or(1).max(1);
        e.charge(s(a, 2).len().saturating_add(lines.saturating_mul(s(a, 1).len())))?;
        ok(wrap(s(a, 2), n(a, 0), s(a, 1), true))
    }),
    f("contains", SS, |_, a| Ok(Value::Bool(s(a, 1).contains(s(a, 0))))),
    f("hasPrefix", SS, |_, a| Ok(Value::Bool(s(a, 1).starts_with(s(a, 0))))),
    f("hasSuffix", SS, |_, a| Ok(Value::Bool(s(a, 1).ends_with(s(a, 0))))),
    v("quote", A, |_, a| ok(quoted(a, go_quote))),
    v("squote", A, |_, a| ok(quoted(a, |t| format!("'{t}'")))),
    v("cat", A, |_, a| ok(cat(a))),
    f("indent", IS, |e, a| indent(e, n(a, 0), s(a, 1), "")),
    f("nindent", IS, |e, a| indent(e, n(a, 0), s(a, 1), "\n")),
    f("replace", &[Ty::Str, Ty::Str, Ty::Str], |e, a| replace(e, s(a, 0), s(a, 1), s(a, 2))),
    f("plural", &[Ty::Str, Ty::Str, Ty::Int], |_, a| ok(if n(a, 2) == 1 { s(a, 0) } else { s(a, 1) })),
    f("sha1sum", S, |_, a| ok(hex::encode(sha1::Sha1::digest(text::to_bytes(s(a, 0)))))),
    f("sha256sum", S, |_, a| ok(hex::encode(sha2::Sha256::digest(text::to_bytes(s(a, 0)))))),
    f("sha512sum", S, |_, a| ok(hex::encode(sha2::Sha512::digest(text::to_bytes(s(a, 0)))))),
    f("adler32sum", S, |_, a| ok(adler32(&text::to_bytes(s(a, 0))).to_string())),
    f("toString", A, |_, a| ok(to_text(&a[0]))),
    f("split", SS, |e, a| splits(e, s(a, 0), s(a, 1)).map(|()| numbered(go_split(s(a, 1), s(a, 0), -1)))),
    f("splitList", SS, |e, a| splits(e, s(a, 0), s(a, 1)).map(|()| Value::strings(go_split(s(a, 1), s(a, 0), -1)))),
    f("splitn", &[Ty::Str, Ty::Int, Ty::Str], |e, a| {
        splits(e, s(a, 0), s(a, 2)).map(|()| numbered(go_split(s(a, 2), s(a, 0), n(a, 1))))
    }),
    f("toStrings", A, |_, a| Ok(Value::strings(to_texts(&a[0])))),
    f("join", &[Ty::Str, Ty::Any], |e, a| {
        let texts = to_texts(&a[1]);
        let size = texts.iter().map(String::len).sum::<usize>();
        e.charge(size.saturating_add(s(a, 0).len().saturating_mul(texts.len())))?;
        ok(texts.join(s(a, 0)))
    }),
    f("hello", &[], |_, _| ok("Hello!")),
];

/// `strings.ToUpper`: one character for one.
pub(crate) fn upper(t: &str) -> String {
    if t.is_ascii() {
        return t.to_ascii_uppercase();
    }
    t.chars().map(|c| single(c, c.to_uppercase())).collect()
}

pub(crate) fn lower(t: &str) -> String {
    if t.is_ascii() {
        return t.to_ascii_lowercase();
    }
    t.chars().map(|c| single(c, c.to_lowercase())).collect()
}

fn single(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(m), None) => m,
        _ => c,
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// `strings.Title`: the first letter of each word.
pub(crate) fn title(t: &str) -> String {
    let mut previous = ' ';
    t.chars()
        .map(|c| {
            let separator = if previous.is_ascii() {
                !is_word(previous)
            } else {
                !previous.is_alphanumeric() && previous.is_whitespace()
            };
            previous = c;
            if separator { single(c, c.to_uppercase()) } else { c }
        })
        .collect()
}

/// goutils' `Uncapitalize`: the first letter of the text and after each space.
fn untitle(t: &str) -> String {
    let mut first = true;
    t.chars()
        .map(|c| {
            if c.is_whitespace() {
                first = true;
                c
            } else if std::mem::take(&mut first) {
                single(c, c.to_lowercase())
            } else {
                c
            }
        })
        .collect()
}

/// goutils' `Initials`, which takes each byte for a character: of `été` it gives `Ã`.
fn initials(t: &str) -> String {
    let mut last_space = true;
    let mut out = String::new();
    for c in text::to_bytes(t).iter().map(|&b| char::from(b)) {
        if c.is_whitespace() {
            last_space = true;
        } else if std::mem::take(&mut last_space) {
            out.push(c);
        }
    }
    out
}

fn swapcase(t: &str) -> String {
    let mut space = true;
    t.chars()
        .map(|c| {
            let mapped = if c.is_uppercase() {
                single(c, c.to_lowercase())
            } else if c.is_lowercase() {
                // The first letter of a word becomes a title letter: the same as upper case here.
                single(c, c.to_uppercase())
            } else {
                c
            };
            space = mapped.is_whitespace();
            let _ = space;
            mapped
        })
        .collect()
}

/// goutils' `AbbreviateFull`.
fn abbrev(mut offset: i64, max: i64, t: &str) -> String {
    let whole = t.to_owned();
    let left_only = offset == 0;
    if max < 4 || (!left_only && max < 7) || t.is_empty() {
        return whole;
    }
    let bytes = text::to_bytes(t);
    let len = bytes.len() as i64;
    if len <= max {
        return whole;
    }
    let cut = |from: i64, to: i64| text::slice(t, from.clamp(0, len) as usize, to.clamp(0, len) as usize);
    if offset > len {
        offset = len;
    }
    if len - offset < max - 3 {
        offset = len - (max - 3);
    }
    if offset <= 4 {
        return format!("{}...", cut(0, max - 3));
    }
    if max < 7 {
        return whole;
    }
    if offset + max - 3 < len {
        let inner = abbrev(0, max - 3, &cut(offset, len));
        return format!("...{inner}");
    }
    format!("...{}", cut(len - (max - 3), len))
}

fn trunc(count: i64, value: &Value) -> Answer {
    let t = value.as_str().unwrap_or("");
    let len = text::len(t) as i64;
    if count < 0 && len + count > 0 {
        return ok(text::slice(t, (len + count) as usize, len as usize));
    }
    if count >= 0 && len > count {
        return ok(text::slice(t, 0, count as usize));
    }
    Ok(value.clone())
}

fn substr(start: i64, end: i64, t: &str) -> Answer {
    let len = text::len(t) as i64;
    let slice = |from: i64, to: i64| {
        if to > len {
            return Err(Fault::Text(format!("runtime error: slice bounds out of range [:{to}] with length {len}")));
        }
        if from > to {
            return Err(Fault::Text(format!("runtime error: slice bounds out of range [{from}:{to}]")));
        }
        ok(text::slice(t, from as usize, to as usize))
    };
    if start < 0 {
        if end < 0 {
            return Err(Fault::Text(format!("runtime error: slice bounds out of range [:{end}]")));
        }
        return slice(0, end);
    }
    if end < 0 || end > len {
        if start > len {
            return Err(Fault::Text(format!("runtime error: slice bounds out of range [{start}:{len}]")));
        }
        return slice(start, len);
    }
    slice(start, end)
}

fn repeat(e: &mut Exec<'_>, count: i64, t: &str) -> Answer {
    if count < 0 {
        return Err(Fault::text("strings: negative Repeat count"));
    }
    let size = (count as u64).saturating_mul(t.len() as u64);
    e.charge(usize::try_from(size).unwrap_or(usize::MAX / 2).min(usize::MAX / 2))?;
    ok(t.repeat(count as usize))
}

fn replace(e: &mut Exec<'_>, old: &str, new: &str, t: &str) -> Answer {
    let hits = if old.is_empty() { t.chars().count() + 1 } else { t.matches(old).count() };
    e.charge(t.len().saturating_add(hits.saturating_mul(new.len())))?;
    ok(t.replace(old, new))
}

fn indent(e: &mut Exec<'_>, spaces: i64, t: &str, before: &str) -> Answer {
    if spaces < 0 {
        return Err(Fault::text("strings: negative Repeat count"));
    }
    let lines = t.bytes().filter(|&b| b == b'\n').count() + 1;
    let size = (spaces as usize).saturating_mul(lines).saturating_add(t.len() + before.len());
    e.charge(size)?;
    let mut out = String::with_capacity(size);
    out.push_str(before);
    for (i, line) in t.split('\n').enumerate() {
        if i > 0 {
            out.push('\n');
        }
        out.extend(std::iter::repeat_n(' ', spaces as usize));
        out.push_str(line);
    }
    ok(out)
}

/// Asks for what a split makes: each piece is a value of its own.
fn splits(e: &mut Exec<'_>, separator: &str, t: &str) -> Result<(), Fault> {
    let pieces = if separator.is_empty() { t.len() } else { t.matches(separator).count() + 1 };
    e.charge(t.len().saturating_add(pieces.saturating_mul(PIECE)))
}

/// What a piece of a text takes besides its bytes.
const PIECE: usize = 128;

fn quoted(args: &[Value], how: impl Fn(&str) -> String) -> String {
    let out: Vec<String> = args.iter().filter(|v| !v.is_nil()).map(|v| how(&to_text(v))).collect();
    out.join(" ")
}

fn cat(args: &[Value]) -> String {
    let parts: Vec<String> = args.iter().filter(|v| !v.is_nil()).map(crate::value::fmt::to_string).collect();
    parts.join(" ")
}

/// `strings.Split` and `SplitN`.
pub(crate) fn go_split<'t>(t: &'t str, separator: &str, count: i64) -> Vec<&'t str> {
    if count == 0 {
        return Vec::new();
    }
    let limit = if count < 0 { usize::MAX } else { count as usize };
    if separator.is_empty() {
        // Every character by itself.
        let mut out = Vec::new();
        let mut rest = t;
        while let Some(c) = rest.chars().next() {
            if out.len() + 1 == limit {
                out.push(rest);
                return out;
            }
            let (head, tail) = rest.split_at(c.len_utf8());
            out.push(head);
            rest = tail;
        }
        return out;
    }
    t.splitn(limit, separator).collect()
}

fn numbered(parts: Vec<&str>) -> Value {
    let entries: Entries = parts.iter().enumerate().map(|(i, p)| (format!("_{i}").into(), Value::str(p))).collect();
    Value::map_of(MapTy::Str, entries)
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for &byte in bytes {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    (b << 16) | a
}
