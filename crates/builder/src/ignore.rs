//! `.dockerignore` and `--exclude` patterns, with the exact rules of Moby's `patternmatcher`. Pure.

use regex::Regex;

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("illegal exclusion pattern: {pattern:?}")]
pub struct BadPattern {
    /// As written.
    pub pattern: String,
}

#[derive(Debug, Clone)]
struct Pattern {
    exclusion: bool,
    cleaned: String,
    regex: Regex,
}

/// An ordered list of patterns; the last that matches decides.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    patterns: Vec<Pattern>,
    exclusions: bool,
}

/// The pattern lines of a `.dockerignore` text: comments and blanks dropped, paths cleaned.
pub fn read(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut out = Vec::new();
    for line in text.lines() {
        // Only a `#` in the very first column is a comment.
        if line.starts_with('#') {
            continue;
        }
        let mut pattern = line.trim();
        if pattern.is_empty() {
            continue;
        }
        let invert = pattern.starts_with('!');
        if invert {
            pattern = pattern[1..].trim();
        }
        let mut cleaned = String::new();
        if !pattern.is_empty() {
            cleaned = clean(pattern);
            if cleaned.len() > 1 && cleaned.starts_with('/') {
                cleaned.remove(0);
            }
        }
        out.push(if invert { format!("!{cleaned}") } else { cleaned });
    }
    out
}

/// Go's `path.Clean`.
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
            other => parts.push(other),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

impl Matcher {
    /// Compiles patterns, in order.
    ///
    /// # Errors
    /// The first malformed pattern.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Matcher, BadPattern> {
        let mut out = Matcher::default();
        for written in patterns {
            let written = written.as_ref();
            let bad = || BadPattern { pattern: written.to_owned() };
            let trimmed = written.trim();
            if trimmed.is_empty() {
                continue;
            }
            let mut cleaned = clean(trimmed);
            let exclusion = cleaned.starts_with('!');
            if exclusion {
                if cleaned.len() == 1 {
                    return Err(bad());
                }
                cleaned.remove(0);
                out.exclusions = true;
            }
            let regex = Regex::new(&to_regex(&cleaned).ok_or_else(bad)?).map_err(|_| bad())?;
            out.patterns.push(Pattern { exclusion, cleaned, regex });
        }
        Ok(out)
    }

    /// Whether there is nothing to match.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether `path` (slash separated, relative) or one of its parents is matched, last match wins.
    pub fn matches(&self, path: &str) -> bool {
        let mut matched = false;
        for pattern in &self.patterns {
            if pattern.exclusion == matched && pattern.matches_tree(path) {
                matched = !pattern.exclusion;
            }
        }
        matched
    }

    /// Whether something below a matched directory may still be wanted, because of a `!` pattern.
    pub fn may_include_below(&self, directory: &str) -> bool {
        self.exclusions
            && self.patterns.iter().any(|pattern| {
                pattern.exclusion
                    && (pattern.cleaned.contains(['*', '?', '[', '\\'])
                        || pattern.cleaned.starts_with(&format!("{directory}/"))
                        || directory.starts_with(&format!("{}/", pattern.cleaned))
                        || directory == pattern.cleaned)
            })
    }
}

impl Pattern {
    fn matches_tree(&self, path: &str) -> bool {
        if self.regex.is_match(path) {
            return true;
        }
        let mut parent = path;
        while let Some((head, _)) = parent.rsplit_once('/') {
            parent = head;
            if self.regex.is_match(parent) {
                return true;
            }
        }
        false
    }
}

/// The pattern as a regular expression, as Moby compiles it; `None` for a malformed one.
fn to_regex(pattern: &str) -> Option<String> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::from("(?s)^");
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        at += 1;
        match c {
            '*' if chars.get(at) == Some(&'*') => {
                at += 1;
                if chars.get(at) == Some(&'/') {
                    at += 1;
                }
                if at == chars.len() {
                    out.push_str(".*");
                } else {
                    out.push_str("(.*/)?");
                }
            }
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '[' => {
                out.push('[');
                if chars.get(at) == Some(&'^') {
                    out.push('^');
                    at += 1;
                }
                let mut count = 0;
                loop {
                    let c = *chars.get(at)?;
                    at += 1;
                    match c {
                        ']' if count > 0 => break,
                        ']' => return None,
                        '-' => out.push('-'),
                        '\\' => {
                            out.push_str(&regex::escape(&chars.get(at)?.to_string()));
                            at += 1;
                        }
                        '[' | '&' | '~' | '^' => {
                            out.push('\\');
                            out.push(c);
                        }
                        c => out.push(c),
                    }
                    count += 1;
                }
                out.push(']');
            }
            '\\' => {
                out.push_str(&regex::escape(&chars.get(at)?.to_string()));
                at += 1;
            }
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    out.push('$');
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn matches_as_moby_does() {
        // Cases from moby/patternmatcher's own suite.
        let cases = [
            ("**", "file", true),
            ("**", "file/", true),
            ("**/", "file", true),
            ("**/", "file/", true),
            ("**", "/", true),
            ("**/", "dir/file", true),
            ("**", "dir/file", true),
            ("**/**", "dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir/dir2/file", true),
            ("dir/**", "dir/dir2/file/", true),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/*", "dir/dir2/file/", true),
            ("**/dir2/**", "dir/dir2/dir2/file", true),
            ("**file", "file", true),
            ("**file", "dir/file", true),
            ("**/file", "dir/file", true),
            ("**file", "dir/dir/file", true),
            ("**/file*", "dir/dir/file", true),
            ("**/file*", "dir/dir/file.txt", true),
            ("**/file*txt", "dir/dir/file.txt", true),
            ("**/file*.txt", "dir/dir/file.txt", true),
            ("**/file*.txt*", "dir/dir/file.txt", true),
            ("**/**/*.txt", "dir/dir/file.txt", true),
            ("**/**/*.txt2", "dir/dir/file.txt", false),
            ("**/*.txt", "file.txt", true),
            ("**/**/*.txt", "file.txt", true),
            ("a**/*.txt", "a/file.txt", true),
            ("a**/*.txt", "a/dir/file.txt", true),
            ("a**/*.txt", "a/dir/dir/file.txt", true),
            ("a/*.txt", "a/dir/file.txt", false),
            ("a/*.txt", "a/file.txt", true),
            ("a/*.txt**", "a/file.txt", true),
            ("a[b-d]e", "ae", false),
            ("a[b-d]e", "ace", true),
            ("a[b-d]e", "aae", false),
            ("a[^b-d]e", "aze", true),
            (".*", ".foo", true),
            (".*", "foo", false),
            ("abc.def", "abcdef", false),
            ("abc.def", "abc.def", true),
            ("abc.def", "abcZdef", false),
            ("abc?def", "abcZdef", true),
            ("abc?def", "abcdef", false),
            ("a\\\\", "a\\", true),
            ("**/foo/bar", "foo/bar", true),
            ("**/foo/bar", "dir/foo/bar", true),
            ("**/foo/bar", "dir/dir2/foo/bar", true),
            ("abc/**", "abc", false),
            ("abc/**", "abc/def", true),
            ("abc/**", "abc/def/ghi", true),
            ("**/.foo", ".foo", true),
            ("**/.foo", "bar.foo", false),
            ("a(b)c/def", "a(b)c/def", true),
            ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
            (
                "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
                "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
                true,
            ),
            ("dir", "dir/a/b", true),
            ("*/x", "a/x/deep", true),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(Matcher::new([pattern]).unwrap().matches(path), expected, "{pattern} on {path}");
        }
        for wrong in ["[", "[^", "[^]", "a\\", "[a", "[]", "!"] {
            assert!(Matcher::new([wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_last_match_wins() {
        let matcher = Matcher::new(["docs", "!docs/README.md", "*.md"]).unwrap();
        assert!(matcher.matches("docs/a"));
        assert!(!matcher.matches("docs/README.md"));
        assert!(matcher.matches("x.md"));
        assert!(matcher.may_include_below("docs"));
        assert!(!Matcher::new(["docs"]).unwrap().may_include_below("docs"));
        let all_but = Matcher::new(["*", "!src/**/*.rs"]).unwrap();
        assert!(!all_but.matches("src/a/b.rs"));
        assert!(all_but.matches("src/a/b.txt"));
    }

    #[test]
    fn reads_lines_as_docker_does() {
        let read = read("\u{feff}# comment\n\n /a/../b/ \n!  c//d\n/\n #not a comment\n!\n");
        assert_eq!(read, ["b", "!c/d", "/", "#not a comment", "!"]);
    }

    proptest! {
        #[test]
        fn never_panics(pattern in "\\PC{0,20}", path in "[a-z/.*]{0,20}") {
            if let Ok(matcher) = Matcher::new([pattern]) {
                let _ = matcher.matches(&path);
                let _ = matcher.may_include_below(&path);
            }
        }
    }
}
