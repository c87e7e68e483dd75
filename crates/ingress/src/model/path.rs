//! Paths of requests and of rules.

use std::borrow::Cow;

use regex::Regex;

/// How a rule's path is compared.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// The whole path.
    Exact(String),
    /// The path up to an element's end (`/a` matches `/a` and `/a/b`, not `/ab`).
    Prefix(String),
    /// The path's beginning, as nginx compares `ImplementationSpecific` paths.
    Start(String),
    /// A regular expression from the path's beginning, without regard to case.
    Regex(Box<Regex>),
}

impl Matcher {
    /// Whether a normalised path matches.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(own) => path == own,
            Self::Prefix(own) => {
                let own = own.trim_end_matches('/');
                path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Start(own) => path.starts_with(own.as_str()),
            Self::Regex(own) => own.is_match(path),
        }
    }
}

/// The path as rules see it: decoded, without empty elements and without `.` and `..`, as nginx does. Anything that is not
/// valid UTF-8 when decoded stays encoded.
pub fn normalise(path: &str) -> Cow<'_, str> {
    let plain = !path.contains('%') && !path.contains("//") && !path.contains("/.");
    if plain {
        return Cow::Borrowed(path);
    }
    let decoded = decode(path);
    let mut parts: Vec<&str> = Vec::new();
    for part in decoded.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    let mut out = String::with_capacity(decoded.len());
    for part in &parts {
        out.push('/');
        out.push_str(part);
    }
    let directory = decoded.ends_with('/') || decoded.ends_with("/.") || decoded.ends_with("/..");
    if out.is_empty() || directory {
        out.push('/');
    }
    Cow::Owned(out)
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |b: u8| char::from(b).to_digit(16);
        let pair = (bytes[at] == b'%').then(|| Some((hex(*bytes.get(at + 1)?)?, hex(*bytes.get(at + 2)?)?))).flatten();
        match pair {
            Some((high, low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn matches_like_nginx() {
        let prefix = |p: &str| Matcher::Prefix(p.into());
        let start = |p: &str| Matcher::Start(p.into());
        for (matcher, path, expected) in [
            (prefix("/"), "/", true),
            (prefix("/"), "/any/thing", true),
            (prefix("/foo"), "/foo", true),
            (prefix("/foo"), "/foo/", true),
            (prefix("/foo/"), "/foo", true),
            (prefix("/foo/"), "/foo/bar", true),
            (prefix("/foo"), "/foobar", false),
            (prefix("/aaa/bb"), "/aaa/bbb", false),
            (prefix("/foo"), "/Foo", false),
            (start("/foo"), "/foobar", true),
            (start("/foo/"), "/foo", false),
            (Matcher::Exact("/foo".into()), "/foo", true),
            (Matcher::Exact("/foo".into()), "/foo/", false),
        ] {
            assert_eq!(matcher.matches(path), expected, "{matcher:?} {path}");
        }
    }

    #[test]
    fn normalises() {
        for (path, expected) in [
            ("/a/b", "/a/b"),
            ("//a///b/", "/a/b/"),
            ("/a/../b", "/b"),
            ("/../../x", "/x"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/./b/.", "/a/b/"),
            ("/%41", "/A"),
            ("/%zz", "/%zz"),
            ("/%ff", "/%ff"),
            ("/..", "/"),
            ("/a%2Fb", "/a/b"),
        ] {
            assert_eq!(normalise(path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn never_climbs(path in "/[a-z./%2eE]{0,40}") {
            let normal = normalise(&path);
            prop_assert!(normal.starts_with('/'));
            prop_assert!(!normal.split('/').any(|p| p == ".."));
        }
    }
}
