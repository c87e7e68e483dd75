//! File patterns of actions (`actions/glob`): `*`, `**`, `?`, `[]`, lines that begin with `!` take back, `#` comments, `~` is the
//! home. And `hashFiles`, which is built on them.

use std::io::Read;
use std::path::{Path, PathBuf};

use regex::Regex;
use sha2::{Digest, Sha256};

struct Pattern {
    negative: bool,
    /// The directory below which everything it matches lies.
    root: PathBuf,
    regex: Regex,
    /// Without a wildcard, a directory stands for all below it.
    literal: bool,
    /// Whether it names a directory only (`a/`).
    implicit: bool,
}

fn compile(pattern: &str, base: &Path, home: Option<&Path>) -> Result<Option<Pattern>, String> {
    let pattern = pattern.trim();
    if pattern.is_empty() || pattern.starts_with('#') {
        return Ok(None);
    }
    let mut negative = false;
    let mut body = pattern;
    while let Some(rest) = body.strip_prefix('!') {
        negative = !negative;
        body = rest.trim_start();
    }
    let absolute = match (body.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => format!("{}{rest}", home.display()),
        _ if body.starts_with('/') => body.to_owned(),
        _ => format!("{}/{}", base.display(), body.strip_prefix("./").unwrap_or(body)),
    };
    let mut segments: Vec<&str> = Vec::new();
    for segment in absolute.split('/').filter(|segment| !segment.is_empty() && *segment != ".") {
        if segment == ".." {
            segments.pop();
        } else {
            segments.push(segment);
        }
    }
    let wild = |segment: &str| segment.contains(['*', '?', '[']);
    let fixed = segments.iter().take_while(|segment| !wild(segment)).count();
    let literal = fixed == segments.len();
    let root = PathBuf::from(format!("/{}", segments[..fixed].join("/")));
    let mut regex = String::from("^");
    for (i, segment) in segments.iter().enumerate() {
        if *segment == "**" {
            // Zero or more directories; at the end, everything below.
            regex.push_str(if i + 1 == segments.len() { "(?:/.+)?" } else { "(?:/[^/]+)*" });
        } else {
            regex.push('/');
            regex.push_str(&segment_regex(segment));
        }
    }
    regex.push('$');
    let regex = Regex::new(&regex).map_err(|_| format!("'{pattern}' is not a file pattern"))?;
    Ok(Some(Pattern { negative, root, regex, literal, implicit: true }))
}

fn segment_regex(segment: &str) -> String {
    let mut out = String::new();
    let mut chars = segment.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '[' => {
                let rest: String = chars.clone().collect();
                match rest.find(']') {
                    Some(end) if end > 0 => {
                        let set = rest[..end].replace('\\', "\\\\");
                        let set = set.strip_prefix('!').map_or(set.clone(), |set| format!("^{set}"));
                        out.push_str(&format!("[{set}]"));
                        for _ in 0..=rest[..end].chars().count() {
                            chars.next();
                        }
                    }
                    _ => out.push_str("\\["),
                }
            }
            '\\' => {
                if let Some(next) = chars.next() {
                    out.push_str(&regex::escape(&next.to_string()));
                }
            }
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    out
}

/// What patterns find, sorted, each path once. A directory that is named stands for everything below it; with `implicit` false
/// only for itself.
pub fn find(base: &Path, home: Option<&Path>, patterns: &[String], implicit: bool) -> Result<Vec<PathBuf>, String> {
    let mut compiled = Vec::new();
    for pattern in patterns.iter().flat_map(|pattern| pattern.lines()) {
        if let Some(mut pattern) = compile(pattern, base, home)? {
            pattern.implicit = implicit;
            compiled.push(pattern);
        }
    }
    let mut roots: Vec<&Path> =
        compiled.iter().filter(|pattern| !pattern.negative).map(|pattern| pattern.root.as_path()).collect();
    roots.sort();
    roots.dedup();
    let mut found = Vec::new();
    let mut last: Option<&Path> = None;
    for root in roots {
        if last.is_some_and(|last| root.starts_with(last)) {
            continue;
        }
        last = Some(root);
        walk(root, &compiled, &mut found);
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The directories or files below which each pattern looks.
pub fn roots(base: &Path, home: &Path, patterns: &[String]) -> Result<Vec<PathBuf>, String> {
    let mut out = Vec::new();
    for pattern in patterns {
        if let Some(pattern) = compile(pattern, base, Some(home))?
            && !pattern.negative
        {
            out.push(pattern.root);
        }
    }
    Ok(out)
}

fn selected(path: &Path, patterns: &[Pattern]) -> bool {
    let text = path.to_string_lossy();
    let mut included = false;
    for pattern in patterns {
        let below = || {
            pattern.implicit
                && path
                    .ancestors()
                    .skip(1)
                    .any(|above| above.starts_with(&pattern.root) && pattern.regex.is_match(&above.to_string_lossy()))
        };
        if pattern.regex.is_match(&text)
            || (pattern.literal && pattern.implicit && path.starts_with(&pattern.root))
            || below()
        {
            included = !pattern.negative;
        }
    }
    included
}

fn walk(path: &Path, patterns: &[Pattern], found: &mut Vec<PathBuf>) {
    let Ok(meta) = path.symlink_metadata() else { return };
    if selected(path, patterns) {
        found.push(path.to_owned());
    }
    if !meta.is_dir() {
        return;
    }
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        walk(&entry.path(), patterns, found);
    }
}

/// `hashFiles`: the SHA-256 of the SHA-256 of each file found, in order; empty when none is.
pub fn hash_files(workspace: &Path, patterns: &[String]) -> Result<String, String> {
    let mut total = Sha256::new();
    let mut any = false;
    for path in find(workspace, None, patterns, true)? {
        if !path.starts_with(workspace) || !path.is_file() {
            continue;
        }
        let mut file = std::fs::File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut one = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = file.read(&mut buffer).map_err(|error| format!("{}: {error}", path.display()))?;
            if n == 0 {
                break;
            }
            one.update(&buffer[..n]);
        }
        total.update(one.finalize());
        any = true;
    }
    Ok(if any { hex::encode(total.finalize()) } else { String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        for file in ["a.txt", "b/c.txt", "b/d/e.txt", "b/d/f.md", "Cargo.lock", "app/x/Cargo.lock"] {
            let path = base.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        let files = |patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
            find(&base, None, &patterns, true)
                .unwrap()
                .into_iter()
                .filter(|p| p.is_file())
                .map(|p| p.strip_prefix(&base).unwrap().to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(files(&["*.txt"]), ["a.txt"]);
        assert_eq!(files(&["**/*.txt"]), ["a.txt", "b/c.txt", "b/d/e.txt"]);
        assert_eq!(files(&["b"]), ["b/c.txt", "b/d/e.txt", "b/d/f.md"]);
        assert_eq!(files(&["b/**", "!b/d/**"]), ["b/c.txt"]);
        assert_eq!(files(&["**/Cargo.lock"]), ["Cargo.lock", "app/x/Cargo.lock"]);
        assert_eq!(files(&["b/?.txt\nb/d/[ef].md"]), ["b/c.txt", "b/d/f.md"]);
        assert_eq!(files(&["nothing/**"]), Vec::<String>::new());
        assert_eq!(hash_files(&base, &["none".into()]).unwrap(), "");
        // sha256(sha256("a.txt"))
        let expected = hex::encode(Sha256::digest(Sha256::digest(b"a.txt")));
        assert_eq!(hash_files(&base, &["a.txt".into()]).unwrap(), expected);
    }
}
