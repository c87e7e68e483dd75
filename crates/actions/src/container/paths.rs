//! Where the runner's directories are in a container: under GitHub's names (`/__w`, `/github/home`), and at their own paths too. Pure.

use std::path::{Path, PathBuf};

use runtime::container::{Mount, Source};

/// Directories of the runner and their names in a container.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paths(Vec<(PathBuf, String)>);

impl Paths {
    /// The longest directory that holds a path decides, so the order does not matter.
    pub(crate) fn new(pairs: Vec<(PathBuf, String)>) -> Self {
        let mut pairs = pairs;
        pairs.sort_by_key(|(host, _)| std::cmp::Reverse(host.as_os_str().len()));
        Self(pairs)
    }

    /// A path of the runner as the container has it; itself when it is none of the runner's directories.
    pub(crate) fn inside(&self, path: &Path) -> String {
        for (host, inside) in &self.0 {
            if let Ok(rest) = path.strip_prefix(host) {
                return match rest.to_str() {
                    Some("") => inside.clone(),
                    _ => format!("{}/{}", inside.trim_end_matches('/'), rest.display()),
                };
            }
        }
        path.to_string_lossy().into_owned()
    }

    /// A value of an environment variable: translated when it is a path of the runner's directories.
    pub(crate) fn value(&self, value: &str) -> String {
        if value.starts_with('/') && !value.contains(['\n', ':']) {
            self.inside(Path::new(value))
        } else {
            value.to_owned()
        }
    }

    /// A path in the container as the runner has it.
    pub(crate) fn outside(&self, path: &Path) -> PathBuf {
        self.0
            .iter()
            .filter_map(|(host, inside)| Some((inside.len(), host.join(path.strip_prefix(inside).ok()?))))
            .max_by_key(|(length, _)| *length)
            .map_or_else(|| path.to_owned(), |(_, path)| path)
    }

    /// The mounts: each directory under both names.
    pub(crate) fn mounts(&self) -> Vec<Mount> {
        let mut out: Vec<Mount> = Vec::new();
        // Outer directories first: an inner one may lie in an outer one.
        for (host, inside) in self.0.iter().rev() {
            for target in [PathBuf::from(inside), host.clone()] {
                if !out.iter().any(|mount| mount.target == target) {
                    out.push(Mount { source: Source::Bind(host.clone()), target, readonly: false });
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        let paths = Paths::new(vec![
            ("/r/shop".into(), "/__w/shop".into()),
            ("/r/_temp".into(), "/__w/_temp".into()),
            ("/r/_temp/_github_workflow".into(), "/github/workflow".into()),
        ]);
        for (host, inside) in [
            ("/r/shop/shop/a b", "/__w/shop/shop/a b"),
            ("/r/_temp/x", "/__w/_temp/x"),
            ("/r/_temp/_github_workflow/event.json", "/github/workflow/event.json"),
            ("/usr/bin", "/usr/bin"),
        ] {
            assert_eq!(paths.inside(Path::new(host)), inside);
            assert_eq!(paths.outside(Path::new(inside)), Path::new(host));
        }
        assert_eq!(paths.value("/r/shop"), "/__w/shop");
        assert_eq!(paths.value("x /r/shop"), "x /r/shop");
        assert_eq!(paths.mounts().len(), 6);
    }
}
