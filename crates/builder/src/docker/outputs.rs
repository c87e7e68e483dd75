//! `--output`, `--annotation` and what else says what becomes of a finished image.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci::{Platform, Reference};

use super::{Docker, Failure};
use crate::build::Compression;
use crate::dockerfile::csv;
use crate::images::reference;

/// What happens to an image besides being kept.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Push what the tags name.
    pub push: bool,
    /// Push without a tag, to these repositories.
    pub by_digest: Vec<Reference>,
    /// Names beside those of `--tag`.
    pub names: Vec<Reference>,
    /// Files and directories to write.
    pub exports: Vec<Export>,
    /// Compression of layers, when an output says it.
    pub compression: Option<Compression>,
    /// Docker's media types instead of OCI's.
    pub docker_types: bool,
    /// Annotations, when outputs or flags say them.
    pub annotations: Vec<Annotation>,
}

/// One file or directory to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Export {
    /// What.
    pub kind: Kind,
    /// Where; none is standard output.
    pub dest: Option<PathBuf>,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What `docker load` reads.
    Docker,
    /// An OCI layout in an archive.
    Oci,
    /// An OCI layout as a directory.
    Layout,
    /// The image's files in an archive.
    Tar,
    /// The image's files as a directory.
    Local,
}

/// What is annotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Manifest,
    ManifestDescriptor,
    Index,
    IndexDescriptor,
}

/// One annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Annotation {
    pub level: Level,
    /// Only this platform's.
    pub platform: Option<Platform>,
    pub key: String,
    pub value: String,
}

fn level(text: &str) -> Option<Level> {
    Some(match text {
        "manifest" => Level::Manifest,
        "manifest-descriptor" => Level::ManifestDescriptor,
        "index" => Level::Index,
        "index-descriptor" => Level::IndexDescriptor,
        _ => return None,
    })
}

fn place(text: &str) -> Option<(Level, Option<Platform>)> {
    match text.split_once('[') {
        None => Some((level(text)?, None)),
        Some((name, platform)) => Some((level(name)?, Some(Platform::parse(platform.strip_suffix(']')?)?))),
    }
}

/// Reads `--annotation [LEVEL[[PLATFORM]],...:]KEY=VALUE`.
///
/// # Errors
/// When it has no value.
pub(super) fn annotations(text: &str) -> Result<Vec<Annotation>, Failure> {
    let (key, value) =
        text.split_once('=').ok_or_else(|| Failure::new(format!("invalid annotation {text:?}: expected key=value")))?;
    let prefixed = key.split_once(':').and_then(|(places, key)| {
        let places = places.split(',').map(place).collect::<Option<Vec<_>>>()?;
        Some((places, key))
    });
    let (places, key) = prefixed.unwrap_or_else(|| (vec![(Level::Manifest, None)], key));
    Ok(places
        .into_iter()
        .map(|(level, platform)| Annotation { level, platform, key: key.to_owned(), value: value.to_owned() })
        .collect())
}

/// Attributes of outputs that say what is so anyway.
const ALREADY: &[(&str, &[&str])] = &[
    ("rewrite-timestamp", &["true"]),
    ("force-compression", &["true", "false"]),
    ("name-canonical", &["true", "false"]),
    ("store", &["true"]),
    ("unpack", &["true", "false"]),
    ("registry.insecure", &["false"]),
    ("oci-artifact", &["true"]),
    ("context", &["default"]),
    ("platform-split", &["true"]),
];

impl Outcome {
    /// Reads one `--output`.
    ///
    /// # Errors
    /// A kind or an attribute that is not known.
    pub fn read(&mut self, docker: &Docker, text: &str) -> Result<(), Failure> {
        if !text.contains('=') && !matches!(text, "cacheonly") {
            self.exports.push(match text {
                "-" => Export { kind: Kind::Tar, dest: None },
                dir => Export { kind: Kind::Local, dest: Some(docker.cwd.join(dir)) },
            });
            return Ok(());
        }
        let fields = csv(text).map_err(|wrong| Failure::new(format!("ERROR: invalid output: {wrong}")))?;
        let fields: BTreeMap<&str, &str> =
            fields.iter().map(|field| field.split_once('=').unwrap_or((field, "true"))).collect();
        let on = |name: &str| fields.get(name).is_some_and(|value| *value == "true");
        self.compression = compression(&fields)?.or(self.compression);
        match fields.get("oci-mediatypes").copied() {
            None => {}
            Some("true") => self.docker_types = false,
            Some("false") => self.docker_types = true,
            Some(other) => {
                return Err(Failure::new(format!("ERROR: oci-mediatypes={other}: non-bool value specified")));
            }
        }
        let kind = if text == "cacheonly" { text } else { fields.get("type").copied().unwrap_or("local") };
        for (key, value) in &fields {
            let annotation = key.strip_prefix("annotation").and_then(|rest| {
                let (place, name) = rest.split_once('.')?;
                Some(format!("{}:{name}={value}", if place.is_empty() { "manifest" } else { &place[1..] }))
            });
            if let Some(annotation) = annotation {
                self.annotations.extend(annotations(&annotation)?);
                continue;
            }
            let known = matches!(
                *key,
                "type"
                    | "name"
                    | "dest"
                    | "push"
                    | "push-by-digest"
                    | "tar"
                    | "compression"
                    | "compression-level"
                    | "oci-mediatypes"
                    | "cacheonly"
            );
            let as_it_is = ALREADY.iter().any(|(name, values)| name == key && values.contains(value));
            if !known && !as_it_is {
                return Err(Failure::new(format!("ERROR: {key}={value} is not supported in --output type={kind}")));
            }
        }
        let names = fields.get("name").into_iter().flat_map(|names| names.split(',')).filter(|name| !name.is_empty());
        let names = names.map(|name| reference(name.trim())).collect::<Result<Vec<_>, _>>()?;
        let push = kind == "registry" || on("push");
        match kind {
            "image" | "registry" if push && on("push-by-digest") => {
                if names.is_empty() {
                    return Err(Failure::new("ERROR: push-by-digest needs name=REPOSITORY"));
                }
                self.by_digest.extend(names);
            }
            "image" | "registry" => {
                self.push |= push;
                self.names.extend(names);
            }
            "docker" | "oci" | "tar" | "local" => {
                self.names.extend(names);
                let dest = fields.get("dest").filter(|dest| **dest != "-").map(|dest| docker.cwd.join(dest));
                let unpacked = fields.get("tar").is_some_and(|value| *value == "false");
                let kind = match kind {
                    // Into the local images, where it is anyway.
                    "docker" if !fields.contains_key("dest") => return Ok(()),
                    "docker" => Kind::Docker,
                    "oci" if unpacked => Kind::Layout,
                    "oci" => Kind::Oci,
                    "tar" => Kind::Tar,
                    _ => Kind::Local,
                };
                if dest.is_none() && matches!(kind, Kind::Local | Kind::Layout) {
                    return Err(Failure::new(format!("ERROR: --output {text}: dest= must name a directory")));
                }
                self.exports.push(Export { kind, dest });
            }
            "cacheonly" => {}
            other => {
                return Err(Failure::new(format!(
                    "output type {other:?} is not supported; use image, registry, docker, oci, tar, local or cacheonly"
                )));
            }
        }
        Ok(())
    }

    /// The annotations of one level, for one platform.
    pub fn annotated(&self, level: Level, platform: &Platform) -> BTreeMap<String, String> {
        self.annotations
            .iter()
            .filter(|one| one.level == level && one.platform.as_ref().is_none_or(|only| platform.matches(only)))
            .map(|one| (one.key.clone(), one.value.clone()))
            .collect()
    }

    /// Whether something at this level is annotated.
    pub fn annotates(&self, level: Level) -> bool {
        self.annotations.iter().any(|one| one.level == level)
    }
}

fn compression(fields: &BTreeMap<&str, &str>) -> Result<Option<Compression>, Failure> {
    let level = fields
        .get("compression-level")
        .map(|text| text.parse::<u32>().map_err(|_| Failure::new(format!("invalid compression-level {text:?}"))))
        .transpose()?;
    Ok(Some(match fields.get("compression").copied() {
        None => return Ok(None),
        Some("uncompressed") => Compression::None,
        Some("gzip") => Compression::Gzip(level.unwrap_or(6).min(9)),
        Some("zstd") => Compression::Zstd(level.unwrap_or(3).clamp(1, 22) as i32),
        Some(other) => {
            return Err(Failure::new(format!(
                "unsupported layer compression type: {other:?}; use uncompressed, gzip or zstd"
            )));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_name_what_they_are_on() {
        let read = |text: &str| annotations(text).unwrap();
        let one = read("org.example=a=b");
        assert_eq!((one[0].level, one[0].key.as_str(), one[0].value.as_str()), (Level::Manifest, "org.example", "a=b"));
        assert_eq!(read("manifest:a=b")[0].key, "a");
        assert_eq!(read("index,manifest-descriptor:a=b").len(), 2);
        let one = read("manifest[linux/arm64]:a=b");
        assert_eq!(one[0].platform, Platform::parse("linux/arm64"));
        assert_eq!(read("odd:a=b")[0].key, "odd:a");
        assert!(annotations("a").is_err());
    }
}
