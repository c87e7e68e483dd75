//! What `bigben registry gc|ls|inspect|du|serve` does, as functions that give text.

use std::fmt::Write;

use oci::Document;

use crate::{Error, GcReport, Registry, Usage};

/// `ls`: one line a tag, `repository:tag digest size`.
pub fn list(registry: &Registry) -> String {
    let mut out = String::new();
    for (name, tags) in registry.repositories() {
        for tag in tags {
            if let Some(descriptor) = registry.resolve(&name, &tag) {
                let size = human(total_size(registry, &descriptor));
                let _ = writeln!(out, "{name}:{tag}\t{}\t{size}", descriptor.digest);
            }
        }
    }
    out
}

/// `inspect`: the manifest of `repository[:tag|@digest]`, indented; none when it is not here.
pub fn inspect(registry: &Registry, reference: &oci::Reference) -> Result<Option<String>, Error> {
    let Some(descriptor) = registry.resolve(reference.repository(), reference.reference()) else { return Ok(None) };
    let bytes = registry.0.store.read_small(&descriptor.digest)?;
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let wrapped = serde_json::json!({"descriptor": descriptor, "manifest": value});
    Ok(Some(serde_json::to_string_pretty(&wrapped).unwrap_or_default()))
}

/// `du`: bytes by repository and in all.
pub fn du(usage: &Usage) -> String {
    let mut out = String::from("REPOSITORY\tTAGS\tMANIFESTS\tBLOBS\tSIZE\n");
    for r in &usage.repositories {
        let _ = writeln!(out, "{}\t{}\t{}\t{}\t{}", r.name, r.tags, r.manifests, r.blobs, human(r.bytes));
    }
    let _ = writeln!(out, "on disk\t\t\t{}\t{}", usage.blobs, human(usage.bytes));
    out
}

/// `gc`: what was removed.
pub fn gc(report: &GcReport, dry_run: bool) -> String {
    let verb = if dry_run { "would remove" } else { "removed" };
    format!(
        "{verb} {} manifests, {} blobs from repositories, {} files ({}); {} files stay\n",
        report.manifests,
        report.links,
        report.blobs,
        human(report.bytes),
        report.kept
    )
}

fn total_size(registry: &Registry, descriptor: &oci::Descriptor) -> u64 {
    let Ok(bytes) = registry.0.store.read_small(&descriptor.digest) else { return descriptor.size };
    match Document::parse(&bytes, Some(&descriptor.media_type)) {
        Ok(Document::Manifest(m)) => m.config.size + m.layers.iter().map(|l| l.size).sum::<u64>(),
        Ok(Document::Index(i)) => i.manifests.iter().map(|d| total_size(registry, d)).sum(),
        Err(_) => descriptor.size,
    }
}

/// Bytes as people read them, in decimal units.
fn human(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes() {
        assert_eq!(human(999), "999 B");
        assert_eq!(human(1_500), "1.5 kB");
        assert_eq!(human(2_000_000_000), "2.0 GB");
    }
}
