//! The patterns of `branches`, `tags` and `paths`, by GitHub's cheat sheet: `*` stops at `/`, `**` does not, `?` and `+` repeat
//! the character before them, `[]` is one of a set, `!` at the start takes back, `\` makes a character plain.

use regex::Regex;

use crate::workflow::Filter;

/// One pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: String,
    negative: bool,
    regex: Regex,
}

impl Pattern {
    /// Parses a pattern; the error says what is wrong.
    pub fn parse(source: &str) -> Result<Self, String> {
        let (negative, body) = match source.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, source),
        };
        if body.is_empty() {
            return Err("it is empty".to_owned());
        }
        let regex = Regex::new(&translate(body)?).map_err(|_| "it cannot be understood".to_owned())?;
        Ok(Self { source: source.to_owned(), negative, regex })
    }

    /// Whether it begins with `!`.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// The text as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the text matches, apart from the `!`.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

fn translate(pattern: &str) -> Result<String, String> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::from("^(?s:");
    let mut i = 0;
    // Whether something stands before, which ? and + may repeat.
    let mut repeatable = false;
    while i < chars.len() {
        let c = chars[i];
        i += 1;
        match c {
            '*' if chars.get(i) == Some(&'*') => {
                let at_segment = i < 2 || chars[i - 2] == '/';
                i += 1;
                if at_segment && chars.get(i) == Some(&'/') {
                    i += 1;
                    out.push_str("(?:.*/)?");
                } else {
                    out.push_str(".*");
                }
                repeatable = false;
            }
            '*' => {
                out.push_str("[^/]*");
                repeatable = false;
            }
            '?' | '+' if repeatable => {
                out.push(c);
                repeatable = false;
            }
            '?' | '+' => return Err(format!("'{c}' needs a character before it")),
            '[' => {
                let end = chars[i..].iter().position(|c| *c == ']').ok_or("a '[' is not closed")? + i;
                let set: String = chars[i..end].iter().collect();
                if set.is_empty() || !set.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
                    return Err(format!("'[{set}]' may hold only letters, digits and ranges of them"));
                }
                out.push('[');
                out.push_str(&set);
                out.push(']');
                i = end + 1;
                repeatable = true;
            }
            '\\' => {
                let c = chars.get(i).ok_or("it ends in a backslash")?;
                out.push_str(&regex::escape(&c.to_string()));
                i += 1;
                repeatable = true;
            }
            c => {
                out.push_str(&regex::escape(&c.to_string()));
                repeatable = true;
            }
        }
    }
    out.push_str(")$");
    Ok(out)
}

impl Filter {
    /// Whether a ref name passes.
    pub fn admits(&self, name: &str) -> bool {
        match self {
            Filter::Include(patterns) => decide(patterns, name),
            Filter::Ignore(patterns) => !decide(patterns, name),
        }
    }

    /// Whether a change of these files passes: at least one file must.
    pub fn admits_any<S: AsRef<str>>(&self, files: &[S]) -> bool {
        files.iter().any(|file| self.admits(file.as_ref()))
    }
}

/// The last pattern that matches decides.
fn decide(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().rev().find(|pattern| pattern.matches(name)).is_some_and(|pattern| !pattern.negative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn github_cheat_sheet() {
        for (pattern, yes, no) in [
            ("feature/*", &["feature/my-branch", "feature/your-branch"][..], &["feature/a/b", "feature"][..]),
            ("feature/**", &["feature/beta-a/my-branch", "feature/your-branch"], &["features/x"]),
            ("main", &["main"], &["mainline"]),
            ("releases/mona-the-octocat", &["releases/mona-the-octocat"], &[]),
            ("*", &["main", "releases"], &["all/the/branches"]),
            ("**", &["all/the/branches", "every/tag"], &[]),
            ("*feature", &["mona-feature", "feature", "ver-10-feature"], &["a/feature"]),
            ("v2*", &["v2", "v2.0", "v2.9"], &["v1"]),
            ("v[12].[0-9]+.[0-9]+", &["v1.10.1", "v2.0.0"], &["v3.0.0", "v1.10"]),
            ("*.jsx?", &["page.js", "page.jsx"], &["page.jsxx", "a/page.js"]),
            ("*.js", &["app.js", "index.js"], &["src/app.js"]),
            ("**.js", &["index.js", "js/index.js", "src/js/app.js"], &["a.ts"]),
            ("docs/*", &["docs/README.md", "docs/file.txt"], &["docs/a/b"]),
            ("docs/**", &["docs/README.md", "docs/mona/octocat.txt"], &["doc/x"]),
            (
                "docs/**/*.md",
                &["docs/README.md", "docs/mona/hello-world.md", "docs/a/markdown/file.md"],
                &["docs/a.txt"],
            ),
            ("**/docs/**", &["docs/hello.md", "dir/docs/my-file.txt", "space/docs/plan/space.doc"], &["adocs/x"]),
            ("**/README.md", &["README.md", "js/README.md"], &["XREADME.md"]),
            ("**/*src/**", &["a/src/app.js", "my-src/code/js/app.js"], &["src2/app.js"]),
            ("**/*-post.md", &["my-post.md", "path/their-post.md"], &["post.md"]),
            ("**/migrate-*.sql", &["migrate-10909.sql", "db/migrate-v1.0.sql", "db/sept/migrate-v1.sql"], &[]),
            ("app/*/src/**", &["app/a/src/main.rs", "app/b/src/x/y.rs"], &["app/src/main.rs", "app/a/b/src/x"]),
            ("a\\*b", &["a*b"], &["aab"]),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            for name in yes {
                assert!(parsed.matches(name), "{pattern} should match {name}");
            }
            for name in no {
                assert!(!parsed.matches(name), "{pattern} should not match {name}");
            }
        }
        for bad in ["", "!", "[", "[]", "?x", "x\\"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_last_match_decides() {
        let patterns = |list: &[&str]| list.iter().map(|p| Pattern::parse(p).unwrap()).collect::<Vec<_>>();
        let filter = Filter::Include(patterns(&["*.md", "!README.md", "README*"]));
        assert!(filter.admits("hello.md"));
        assert!(filter.admits("README.md"));
        let filter = Filter::Include(patterns(&["*.md", "!README.md"]));
        assert!(!filter.admits("README.md"));
        assert!(filter.admits_any(&["README.md", "hello.md"]));
        assert!(!filter.admits_any(&["README.md", "doc/a"]));
        let ignore = Filter::Ignore(patterns(&["docs/**"]));
        assert!(!ignore.admits_any(&["docs/a", "docs/b"]));
        assert!(ignore.admits_any(&["docs/a", "src/b"]));
        assert!(!ignore.admits_any::<&str>(&[]));
    }
}
