//! Paths, with slashes.

use super::{Func, Ty, f, s};
use crate::value::Value;

const S: &[Ty] = &[Ty::Str];

/// The functions.
pub const FUNCS: &[Func] = &[
    f("base", S, |_, a| Ok(Value::str(base(s(a, 0))))),
    f("dir", S, |_, a| Ok(Value::str(dir(s(a, 0))))),
    f("clean", S, |_, a| Ok(Value::str(clean(s(a, 0))))),
    f("ext", S, |_, a| Ok(Value::str(ext(s(a, 0))))),
    f("isAbs", S, |_, a| Ok(Value::Bool(s(a, 0).starts_with('/')))),
    f("osBase", S, |_, a| Ok(Value::str(base(s(a, 0))))),
    f("osDir", S, |_, a| Ok(Value::str(dir(s(a, 0))))),
    f("osClean", S, |_, a| Ok(Value::str(clean(s(a, 0))))),
    f("osExt", S, |_, a| Ok(Value::str(ext(s(a, 0))))),
    f("osIsAbs", S, |_, a| Ok(Value::Bool(s(a, 0).starts_with('/')))),
];

/// `path.Base`
pub fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        return "/";
    }
    trimmed.rsplit('/').next().unwrap_or(trimmed)
}

/// `path.Dir`
pub fn dir(path: &str) -> String {
    match path.rfind('/') {
        Some(at) => clean(&path[..=at]),
        None => ".".to_owned(),
    }
}

/// `path.Ext`
pub fn ext(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rfind('.').map_or("", |at| &name[at..])
}

/// `path.Clean`
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}
