//! Local storage that a pod may use: sizes of `emptyDir` volumes, what containers write, their logs.

use super::status::containers;
use serde_json::Value;
use std::path::Path;

fn bytes(value: &Value) -> Option<u64> {
    objects::Quantity::from_value(value).ok().map(|q| q.units().max(0) as u64).filter(|size| *size > 0)
}

/// The disk volumes of a pod that are its own, and their limits.
fn volumes(pod: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let all = pod["spec"]["volumes"].as_array().into_iter().flatten();
    all.filter(|volume| volume["emptyDir"].is_object() && volume["emptyDir"]["medium"] != "Memory")
        .filter_map(|volume| Some((volume["name"].as_str()?, &volume["emptyDir"]["sizeLimit"])))
}

/// Whether the pod has a limit that has to be watched.
pub(crate) fn is_limited(pod: &Value) -> bool {
    volumes(pod).any(|(_, limit)| bytes(limit).is_some())
        || containers(pod, "containers").iter().any(|c| bytes(limit_of(c)).is_some())
}

fn limit_of(container: &Value) -> &Value {
    &container["resources"]["limits"]["ephemeral-storage"]
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What a pod with its directory at `dir` and its logs at `logs` uses too much of. Reads whole trees: blocks.
pub(crate) fn exceeded(pod: &Value, dir: &Path, logs: &Path) -> Option<String> {
    let mut all = 0;
    for (name, limit) in volumes(pod) {
        let used = used(&dir.join("volumes").join(name));
        all += used;
        if bytes(limit).is_some_and(|limit| used > limit) {
            return Some(format!("Usage of EmptyDir volume \"{name}\" exceeds the limit \"{}\". ", text(limit)));
        }
    }
    let mut together = Some(0u64);
    for container in containers(pod, "containers") {
        let name = container["name"].as_str().unwrap_or_default();
        let used = used(&dir.join("containers").join(name)) + used(&logs.join(name));
        all += used;
        let limit = bytes(limit_of(container));
        if limit.is_some_and(|limit| used > limit) {
            let limit = text(limit_of(container));
            return Some(format!("Container {name} exceeded its local ephemeral storage limit \"{limit}\". "));
        }
        together = together.zip(limit).map(|(sum, limit)| sum + limit);
    }
    let together = together.filter(|limit| *limit > 0 && all > *limit)?;
    Some(format!("Pod ephemeral local storage usage exceeds the total limit of containers {together}. "))
}

/// The disk space of a tree, in bytes; other file systems mounted in it do not count.
fn used(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fn walk(path: &Path, device: u64) -> u64 {
        let Ok(found) = path.symlink_metadata() else { return 0 };
        if found.dev() != device {
            return 0;
        }
        let inside = || std::fs::read_dir(path).into_iter().flatten().flatten();
        let below = if found.is_dir() { inside().map(|entry| walk(&entry.path(), device)).sum() } else { 0 };
        found.blocks() * 512 + below
    }
    path.symlink_metadata().map_or(0, |found| walk(path, found.dev()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_too_much_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let logs = dir.path().join("logs");
        for (path, size) in
            [("volumes/v/file", 200_000), ("containers/a/0/upper/file", 100_000), ("logs/a/0.log", 50_000)]
        {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, vec![1; size]).expect("written");
        }
        let pod = |size: &str, own: Value| {
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": {"sizeLimit": size}}, {"name": "m", "emptyDir": {"medium": "Memory"}}],
            "containers": [{"name": "a", "resources": {"limits": {"ephemeral-storage": own}}}]}})
        };
        for (pod, expected) in [
            (pod("1Mi", Value::Null), None),
            (pod("100k", Value::Null), Some("volume \"v\" exceeds the limit \"100k\"")),
            (pod("1Mi", json!("120k")), Some("Container a exceeded")),
            (pod("1Mi", json!("300k")), Some("total limit of containers 300000")),
            (pod("1Mi", json!("1Mi")), None),
        ] {
            let found = exceeded(&pod, dir.path(), &logs);
            assert_eq!(found.is_some(), expected.is_some(), "{found:?}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()));
            assert!(is_limited(&pod));
        }
        assert!(!is_limited(&json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{}]}})));
    }
}
