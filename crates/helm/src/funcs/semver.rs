//! Semantic versions and constraints, as Masterminds' semver has them.

use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};
use std::rc::Rc;

use super::{Func, Ty, f, s};
use crate::template::error::Fault;
use crate::value::{Object, Str, Value};

/// The functions.
pub const FUNCS: &[Func] = &[
    f("semver", &[Ty::Str], |_, a| match Version::parse(s(a, 0)) {
        Ok(version) => Ok(Value::Object(Rc::new(Object::Semver(version)))),
        Err(message) => Err(Fault::Text(message)),
    }),
    f("semverCompare", &[Ty::Str, Ty::Str], |_, a| {
        let constraint = Constraints::parse(s(a, 0)).map_err(Fault::Text)?;
        let version = Version::parse(s(a, 1)).map_err(Fault::Text)?;
        Ok(Value::Bool(constraint.check(&version)))
    }),
];

/// A version.
#[derive(Debug, Clone, Default)]
pub struct Version {
    /// The first number.
    pub major: u64,
    /// The second.
    pub minor: u64,
    /// The third.
    pub patch: u64,
    /// What stands after `-`.
    pub pre: String,
    /// What stands after `+`.
    pub metadata: String,
    /// As it was given.
    pub original: Str,
}

impl Display for Version {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

fn identifiers(text: &str) -> bool {
    text.split('.').all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
}

impl Version {
    /// Parses a version of one to three numbers, with or without `v`.
    ///
    /// # Errors
    /// Masterminds' message.
    pub fn parse(text: &str) -> Result<Version, String> {
        let invalid = || "invalid semantic version".to_owned();
        if text.len() > 256 {
            return Err("version string is too long (max 256 bytes)".to_owned());
        }
        let body = text.strip_prefix('v').unwrap_or(text);
        let (body, metadata) = body.split_once('+').map_or((body, ""), |(b, m)| (b, m));
        let (numbers, pre) = body.split_once('-').map_or((body, ""), |(b, p)| (b, p));
        if (text.contains('+') && !identifiers(metadata)) || (body.contains('-') && !identifiers(pre)) {
            return Err(invalid());
        }
        let parts: Vec<&str> = numbers.split('.').collect();
        if parts.len() > 3 || parts.iter().any(|p| p.is_empty() || !p.bytes().all(|b| b.is_ascii_digit())) {
            return Err(invalid());
        }
        let number = |i: usize| -> Result<u64, String> {
            parts.get(i).map_or(Ok(0), |p| {
                p.parse().map_err(|_| {
                    format!("error parsing version segment: strconv.ParseUint: parsing \"{p}\": value out of range")
                })
            })
        };
        if pre.split('.').any(|p| p.len() > 1 && p.starts_with('0') && p.bytes().all(|b| b.is_ascii_digit())) {
            return Err("version segment starts with 0".to_owned());
        }
        Ok(Version {
            major: number(0)?,
            minor: number(1)?,
            patch: number(2)?,
            pre: pre.to_owned(),
            metadata: metadata.to_owned(),
            original: text.into(),
        })
    }

    /// Order by precedence; build metadata does not count.
    pub fn compare(&self, other: &Version) -> Ordering {
        (self.major, self.minor, self.patch).cmp(&(other.major, other.minor, other.patch)).then_with(|| {
            match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                _ => compare_pre(&self.pre, &other.pre),
            }
        })
    }
}

fn compare_pre(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(x), Some(y)) => match (x.parse::<u64>(), y.parse::<u64>()) {
                (Ok(x), Ok(y)) => x.cmp(&y),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                _ => x.cmp(y),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Op {
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Tilde,
    Caret,
}

#[derive(Debug, Clone)]
struct Constraint {
    op: Op,
    version: Version,
    minor_dirty: bool,
    patch_dirty: bool,
    dirty: bool,
}

/// Alternatives of conditions.
#[derive(Debug, Clone)]
pub struct Constraints {
    any: Vec<Vec<Constraint>>,
    /// Some condition of the alternative names a pre-release, so that pre-releases may match.
    pre: Vec<bool>,
}

impl Constraints {
    /// Parses `>=1.2 <2 || ~3.1`, `1.2 - 1.4`, `^1`, `1.x`.
    ///
    /// # Errors
    /// Masterminds' message.
    pub fn parse(text: &str) -> Result<Constraints, String> {
        let mut any = Vec::new();
        let mut pre = Vec::new();
        let text_rewritten = rewrite_range(text);
        let improper = || format!("improper constraint: {}", crate::value::quote::quote(&text_rewritten));
        if text.trim().is_empty() {
            return Err(improper());
        }
        for alternative in text_rewritten.split("||") {
            let mut all = Vec::new();
            let pieces = pieces(alternative);
            if pieces.is_empty() {
                return Err(improper());
            }
            for piece in pieces {
                let piece = piece.ok_or_else(improper)?;
                let refused = || if garbled(&piece) { "constraint parser error".to_owned() } else { improper() };
                all.push(parse_one(&piece).ok_or_else(refused)?);
            }
            pre.push(all.iter().any(|c: &Constraint| !c.version.pre.is_empty()));
            any.push(all);
        }
        Ok(Constraints { any, pre })
    }

    /// Whether a version satisfies them.
    pub fn check(&self, version: &Version) -> bool {
        self.any.iter().zip(&self.pre).any(|(all, &pre)| all.iter().all(|c| c.check(version, pre)))
    }
}

/// `1.2 - 1.4` becomes `>=1.2 <=1.4`.
fn rewrite_range(text: &str) -> String {
    const VERSION: &str = r"v?(?:[0-9|xX*]+)(?:\.[0-9|xX*]+)?(?:\.[0-9|xX*]+)?(?:-(?:[0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*))?(?:\+(?:[0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*))?";
    static RANGE: std::sync::LazyLock<Option<regex::Regex>> = std::sync::LazyLock::new(|| {
        regex::Regex::new(&format!(r"[\t\n\x0c\r ]*({VERSION})[\t\n\x0c\r ]+-[\t\n\x0c\r ]+({VERSION})[\t\n\x0c\r ]*"))
            .ok()
    });
    match RANGE.as_ref() {
        Some(range) if text.contains('-') => range.replace_all(text, ">= $1, <= $2").into_owned(),
        _ => text.to_owned(),
    }
}

/// The conditions of an alternative, divided by commas or spaces; an operator may stand apart from its version.
fn pieces(text: &str) -> Vec<Option<String>> {
    let mut out: Vec<Option<String>> = Vec::new();
    let mut pending = String::new();
    for word in text.split([',', ' ', '\t', '\n']).filter(|w| !w.is_empty()) {
        let operator_only = word.bytes().all(|b| b"<>=!~^".contains(&b));
        if operator_only {
            if !pending.is_empty() {
                out.push(None);
            }
            pending = word.to_owned();
        } else {
            out.push(Some(format!("{}{word}", std::mem::take(&mut pending))));
        }
    }
    if !pending.is_empty() {
        out.push(Some(pending));
    }
    out
}

/// Whether digits and wildcards are mixed in one number: it looks like a version, and is none.
fn garbled(piece: &str) -> bool {
    const OPERATORS: [&str; 11] = ["!=", ">=", "=>", "<=", "=<", "~>", ">", "<", "~", "^", "="];
    let body = OPERATORS.iter().find_map(|operator| piece.strip_prefix(operator)).unwrap_or(piece).trim();
    let body = body.strip_prefix('v').unwrap_or(body);
    let numbers = body.split(['-', '+']).next().unwrap_or(body);
    let parts: Vec<&str> = numbers.split('.').collect();
    parts.len() <= 3
        && parts.iter().all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit() || b"xX*|".contains(&b)))
}

fn parse_one(piece: &str) -> Option<Constraint> {
    let ops = [
        ("!=", Op::NotEqual),
        (">=", Op::GreaterEqual),
        ("=>", Op::GreaterEqual),
        ("<=", Op::LessEqual),
        ("=<", Op::LessEqual),
        ("~>", Op::Tilde),
        (">", Op::Greater),
        ("<", Op::Less),
        ("~", Op::Tilde),
        ("^", Op::Caret),
        ("=", Op::Equal),
    ];
    let (op, rest) =
        ops.iter().find_map(|(t, op)| piece.strip_prefix(t).map(|rest| (*op, rest))).unwrap_or((Op::Equal, piece));
    let rest = rest.trim();
    let body = rest.strip_prefix('v').unwrap_or(rest);
    let (numbers, suffix) = match body.find(['-', '+']) {
        Some(at) => body.split_at(at),
        None => (body, ""),
    };
    let wild = |p: &str| matches!(p, "x" | "X" | "*");
    let parts: Vec<&str> = numbers.split('.').collect();
    if parts.len() > 3 || parts.iter().any(|p| !wild(p) && (p.is_empty() || !p.bytes().all(|b| b.is_ascii_digit()))) {
        return None;
    }
    let (mut minor_dirty, mut patch_dirty, mut dirty) = (false, false, false);
    let text = if wild(parts[0]) {
        dirty = true;
        format!("0.0.0{suffix}")
    } else if parts.len() < 2 || wild(parts[1]) {
        minor_dirty = true;
        dirty = true;
        format!("{}.0.0{suffix}", parts[0])
    } else if parts.len() < 3 || wild(parts[2]) {
        dirty = true;
        patch_dirty = true;
        format!("{}.{}.0{suffix}", parts[0], parts[1])
    } else {
        body.to_owned()
    };
    let op = if wild(parts[0]) { Op::GreaterEqual } else { op };
    let version = Version::parse(&text).ok()?;
    Some(Constraint { op, version, minor_dirty, patch_dirty, dirty })
}

impl Constraint {
    fn check(&self, v: &Version, pre: bool) -> bool {
        let c = &self.version;
        // A pre-release matches only where a constraint names one.
        let refused = !v.pre.is_empty() && !pre;
        match self.op {
            Op::Equal => {
                if refused {
                    return false;
                }
                if self.dirty { self.tilde(v) } else { v.compare(c).is_eq() }
            }
            Op::NotEqual => {
                if refused {
                    return false;
                }
                if self.dirty {
                    if c.major != v.major {
                        return true;
                    }
                    if c.minor != v.minor && !self.minor_dirty {
                        return true;
                    }
                    if self.minor_dirty {
                        return false;
                    }
                    if c.patch != v.patch && !self.patch_dirty {
                        return true;
                    }
                    if self.patch_dirty {
                        return false;
                    }
                }
                !v.compare(c).is_eq()
            }
            Op::Greater => {
                if refused {
                    return false;
                }
                if !self.dirty {
                    return v.compare(c).is_gt();
                }
                if v.major != c.major {
                    return v.major > c.major;
                }
                if self.minor_dirty {
                    return false;
                }
                if self.patch_dirty { v.minor > c.minor } else { v.compare(c).is_gt() }
            }
            Op::GreaterEqual => !refused && v.compare(c).is_ge(),
            Op::Less => !refused && v.compare(c).is_lt(),
            Op::LessEqual => {
                if refused {
                    return false;
                }
                if !self.dirty {
                    return v.compare(c).is_le();
                }
                if v.major > c.major {
                    return false;
                }
                !(v.major == c.major && v.minor > c.minor && !self.minor_dirty)
            }
            Op::Tilde => !refused && self.tilde(v),
            Op::Caret => {
                if refused || v.compare(c).is_lt() {
                    return false;
                }
                if c.major > 0 || self.minor_dirty {
                    return v.major == c.major;
                }
                if v.major > c.major {
                    return false;
                }
                if c.minor > 0 || self.patch_dirty {
                    return v.minor == c.minor;
                }
                if v.minor > c.minor {
                    return false;
                }
                v.patch == c.patch
            }
        }
    }

    fn tilde(&self, v: &Version) -> bool {
        let c = &self.version;
        if v.compare(c).is_lt() {
            return false;
        }
        // ~0.0.0 means any version.
        if c.major == 0 && c.minor == 0 && c.patch == 0 && !self.minor_dirty && !self.patch_dirty {
            return true;
        }
        v.major == c.major && (v.minor == c.minor || self.minor_dirty)
    }
}
