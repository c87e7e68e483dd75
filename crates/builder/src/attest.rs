//! What an image says about itself: an SPDX bill of materials and SLSA provenance, as in-toto statements that refer to it.
//!
//! Pure: both are functions of the image and the request, without times or random ids, so that they are reproducible too.

use oci::{Descriptor, Digest};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::build::BuildRequest;
use crate::fs::view::View;
use crate::fs::{Content, Error, NodeKind};

/// Media type of a statement.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// Predicate type of a bill of materials.
pub const SPDX: &str = "https://spdx.dev/Document";
/// Predicate type of provenance.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// Annotation that names the predicate type of a layer.
pub const PREDICATE: &str = "in-toto.io/predicate-type";
/// More files than this are not listed one by one.
const MAX_FILES: usize = 5000;

/// A package that was found in an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// `deb`, `apk`, `pypi`, `npm`.
    pub kind: &'static str,
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Licence as the package says it, when it does.
    pub license: Option<String>,
}

/// Finds packages by what package managers leave in an image.
///
/// # Errors
/// When a file of the image cannot be read.
pub fn packages(view: &View) -> Result<Vec<Package>, Error> {
    let mut found = Vec::new();
    if let Some(text) = view.read_text("var/lib/dpkg/status")? {
        for paragraph in text.split("\n\n") {
            let field = |name: &str| {
                paragraph.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
            };
            if let (Some(name), Some(version)) = (field("Package:"), field("Version:"))
                && field("Status:").is_none_or(|status| status.ends_with(" installed"))
            {
                found.push(Package { kind: "deb", name, version, license: None });
            }
        }
    }
    if let Some(text) = view.read_text("lib/apk/db/installed")? {
        for paragraph in text.split("\n\n") {
            let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            if let (Some(name), Some(version)) = (field("P:"), field("V:")) {
                found.push(Package { kind: "apk", name, version, license: field("L:") });
            }
        }
    }
    let single: Vec<String> = view
        .nodes()
        .map(|(path, _)| path)
        .filter(|path| {
            path.ends_with(".dist-info/METADATA") || path.contains("node_modules/") && path.ends_with("/package.json")
        })
        .map(str::to_owned)
        .collect();
    for path in single {
        let Some(text) = view.read_text(&path)? else { continue };
        if path.ends_with("METADATA") {
            let head = text.split("\n\n").next().unwrap_or_default();
            let field =
                |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
            if let (Some(name), Some(version)) = (field("Name:"), field("Version:")) {
                found.push(Package {
                    kind: "pypi",
                    name,
                    version,
                    license: field("License-Expression:").or(field("License:")),
                });
            }
        } else if let Ok(value) = serde_json::from_str::<Value>(&text)
            && let (Some(name), Some(version)) = (value["name"].as_str(), value["version"].as_str())
        {
            found.push(Package {
                kind: "npm",
                name: name.to_owned(),
                version: version.to_owned(),
                license: value["license"].as_str().map(str::to_owned),
            });
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn identifier(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hex::encode(&hasher.finalize()[..8])
}

/// An SPDX 2.3 document for an image.
///
/// # Errors
/// When a file of the image cannot be read.
pub fn spdx(name: &str, digest: &Digest, created: &str, view: &View) -> Result<Value, Error> {
    let found = packages(view)?;
    let mut list = vec![json!({
        "SPDXID": "SPDXRef-image", "name": name, "versionInfo": digest, "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
        "primaryPackagePurpose": "CONTAINER", "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
        "checksums": [{"algorithm": "SHA256", "checksumValue": digest.hex()}],
    })];
    let mut relations = vec![
        json!({"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-image"}),
    ];
    for package in &found {
        let id = format!("SPDXRef-package-{}", identifier(&[package.kind, &package.name, &package.version]));
        let declared = package.license.as_deref().filter(|text| is_expression(text)).unwrap_or("NOASSERTION");
        list.push(json!({
            "SPDXID": id, "name": package.name, "versionInfo": package.version, "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION", "licenseDeclared": declared, "copyrightText": "NOASSERTION",
            "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl(package)}],
        }));
        relations
            .push(json!({"spdxElementId": "SPDXRef-image", "relationshipType": "CONTAINS", "relatedSpdxElement": id}));
    }
    let mut files = Vec::new();
    let regular = view.nodes().filter_map(|(path, node)| match &node.kind {
        NodeKind::File { content: Content::Layer { sha, .. }, .. } => Some((path, sha)),
        _ => None,
    });
    for (path, sha) in regular.take(MAX_FILES) {
        let id = format!("SPDXRef-file-{}", identifier(&[path]));
        files.push(json!({
            "SPDXID": id, "fileName": format!("/{path}"), "checksums": [{"algorithm": "SHA256", "checksumValue": hex::encode(sha)}],
            "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION",
        }));
        relations
            .push(json!({"spdxElementId": "SPDXRef-image", "relationshipType": "CONTAINS", "relatedSpdxElement": id}));
    }
    Ok(json!({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": name,
        "documentNamespace": format!("https://spdx.org/spdxdocs/{}-{}", identifier(&[name]), digest.hex()),
        "creationInfo": {"created": created, "creators": [format!("Tool: bigben-builder-{}", env!("CARGO_PKG_VERSION"))]},
        "packages": list, "files": files, "relationships": relations,
    }))
}

/// Whether a licence text can stand where SPDX wants an expression.
fn is_expression(text: &str) -> bool {
    !text.is_empty()
        && text.split_whitespace().all(|word| {
            matches!(word, "AND" | "OR" | "WITH")
                || word.chars().all(|c| c.is_ascii_alphanumeric() || "-.+()".contains(c))
        })
        && (text.split_whitespace().count() == 1
            || text.contains(" AND ")
            || text.contains(" OR ")
            || text.contains(" WITH "))
}

fn purl(package: &Package) -> String {
    let encode = |text: &str| {
        text.replace('%', "%25").replace('@', "%40").replace('+', "%2B").replace(':', "%3A").replace('~', "%7E")
    };
    let namespace = match package.kind {
        "deb" => "debian/",
        "apk" => "alpine/",
        _ => "",
    };
    format!("pkg:{}/{namespace}{}@{}", package.kind, encode(&package.name), encode(&package.version))
}

/// A SLSA v1 provenance predicate for a build.
pub fn provenance(request: &BuildRequest, materials: &[(String, Digest)]) -> Value {
    let args: serde_json::Map<String, Value> =
        request.build_args.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    let dependencies: Vec<Value> = materials
        .iter()
        .map(|(name, digest)| {
            let (name, version) = name.rsplit_once(':').unwrap_or((name, "latest"));
            json!({"uri": format!("pkg:docker/{name}@{version}"), "digest": {digest.algorithm().name(): digest.hex()}})
        })
        .collect();
    json!({
        "buildDefinition": {
            "buildType": "https://github.com/big-ben/big-ben/builder@v1",
            "externalParameters": {
                "dockerfile": {"name": request.dockerfile_name, "digest": {"sha256": Digest::of(request.dockerfile.as_bytes()).hex()}},
                "target": request.target, "platform": request.platform.to_string(), "args": args, "labels": request.labels,
                "secrets": request.secrets.keys().collect::<Vec<_>>(),
            },
            "internalParameters": {"sourceDateEpoch": request.epoch},
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": {"id": "https://github.com/big-ben/big-ben/builder", "version": {"bigben": env!("CARGO_PKG_VERSION")}},
            "metadata": {},
        },
    })
}

/// An in-toto statement about an image.
pub fn statement(names: &[String], image: &Descriptor, predicate_type: &str, predicate: Value) -> Value {
    let digest = json!({image.digest.algorithm().name(): image.digest.hex()});
    let subject: Vec<Value> = match names {
        [] => vec![json!({"name": "_", "digest": digest})],
        names => names.iter().map(|name| json!({"name": format!("pkg:docker/{name}"), "digest": digest})).collect(),
    };
    json!({"_type": "https://in-toto.io/Statement/v1", "subject": subject, "predicateType": predicate_type, "predicate": predicate})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::Source;

    #[test]
    fn provenance_is_a_function_of_the_request() {
        let mut request = BuildRequest::new("FROM x\n", Source::Empty);
        request.build_args.insert("A".to_owned(), Some("1".to_owned()));
        request.secrets.insert("k".to_owned(), crate::build::Secret { value: b"hidden".to_vec() });
        let one = provenance(&request, &[("docker.io/library/x:1".to_owned(), Digest::of(b"x"))]);
        assert_eq!(one, provenance(&request, &[("docker.io/library/x:1".to_owned(), Digest::of(b"x"))]));
        assert!(!one.to_string().contains("hidden"));
        assert_eq!(one["buildDefinition"]["resolvedDependencies"][0]["uri"], "pkg:docker/docker.io/library/x@1");
    }

    #[test]
    fn licences_that_are_no_expressions_are_not_claimed() {
        assert!(is_expression("MIT"));
        assert!(is_expression("GPL-2.0-only AND MIT"));
        assert!(!is_expression("BSD 3-Clause License"));
        assert_eq!(
            purl(&Package { kind: "deb", name: "libstdc++6".to_owned(), version: "1:2".to_owned(), license: None }),
            "pkg:deb/debian/libstdc%2B%2B6@1%3A2"
        );
    }
}
