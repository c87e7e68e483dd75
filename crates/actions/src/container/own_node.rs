//! The runner's Node in a job's container, whatever the image has: with the libraries and the loader that it needs on the runner.

use std::path::{Path, PathBuf};

use runtime::container::{Mount, Source};

const PLACE: &str = "/__e/node";

/// What a container needs to run the runner's Node.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnNode {
    /// What is mounted into it.
    pub mounts: Vec<Mount>,
    /// How Node is called there; empty where the runner has none.
    pub command: Vec<String>,
}

impl OwnNode {
    /// For this program of the runner.
    pub async fn of(node: &Path) -> Self {
        let node = node.canonicalize().unwrap_or_else(|_| node.to_owned());
        let listed = tokio::process::Command::new("ldd").arg(&node).kill_on_drop(true).output().await;
        let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let mount = |source: PathBuf, target: String| Mount {
            source: Source::Bind(source.canonicalize().unwrap_or(source)),
            target: target.into(),
            readonly: true,
        };
        let own = format!("{PLACE}/bin/node");
        let mut found = Self { mounts: vec![mount(node, own.clone())], command: vec![own.clone()] };
        for (name, path) in libraries(&listed) {
            let target = format!("{PLACE}/lib/{name}");
            if name.starts_with("ld-") {
                let libraries = format!("{PLACE}/lib");
                found.command = vec![target.clone(), "--library-path".to_owned(), libraries, own.clone()];
            }
            found.mounts.push(mount(path, target));
        }
        found
    }
}

/// Name and file of each library in what `ldd` prints; the loader is among them.
fn libraries(listed: &str) -> Vec<(String, PathBuf)> {
    let file = |line: &str| {
        // `libm.so.6 => /lib/libm.so.6 (0x7f)`, `/lib64/ld-linux-x86-64.so.2 (0x7f)`; the kernel's own has no file.
        let line = line.trim();
        let path = line.split_once("=> ").map_or(line, |(_, path)| path).split(" (").next()?;
        let path = Path::new(path).is_absolute().then(|| PathBuf::from(path))?;
        Some((path.file_name()?.to_str()?.to_owned(), path))
    };
    listed.lines().filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ldd_prints() {
        let found = libraries(
            "\tlinux-vdso.so.1 (0x7fc6)\n\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x7fc6)\n\tgone.so => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x7fc6)\n",
        );
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["libm.so.6", "ld-linux-x86-64.so.2"]);
        assert!(libraries("\tnot a dynamic executable\n").is_empty());
    }
}
