//! Descriptors, image manifests and indexes, as views that keep fields they do not know.
//!
//! The digest of a manifest is that of its bytes, so whoever stores one stores the bytes and uses these types to look
//! into them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Digest, media};

/// Largest manifest that is accepted, in bytes (the distribution specification asks for at least this much).
pub const MAX_MANIFEST: usize = 4 * 1024 * 1024;

/// Why bytes are not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON, or not of the manifest's shape.
    #[error("manifest is not valid JSON of its kind")]
    Json(#[source] serde_json::Error),
    /// Over [`MAX_MANIFEST`].
    #[error("manifest has {0} bytes; at most {MAX_MANIFEST} are accepted")]
    TooLarge(usize),
    /// Media type that is not a manifest's.
    #[error("media type {0:?} is not a manifest type that is supported")]
    MediaType(String),
    /// Media type given and media type inside differ.
    #[error("manifest says mediaType {inside:?} but was sent as {outside:?}")]
    Mismatch {
        /// Type in the `mediaType` field.
        inside: String,
        /// Type it was sent as.
        outside: String,
    },
    /// Has `layers` and `manifests`, or neither.
    #[error("manifest is ambiguous: it must have either \"config\" and \"layers\" or \"manifests\"")]
    Ambiguous,
    /// `schemaVersion` is not 2.
    #[error("manifest has schemaVersion {0}; only 2 is supported")]
    SchemaVersion(u64),
}

/// Points to content by digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the content.
    pub media_type: String,
    /// Digest of the content.
    pub digest: Digest,
    /// Size of the content in bytes.
    pub size: u64,
    /// Where else the content can be downloaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_default")]
    pub annotations: BTreeMap<String, String>,
    /// The content itself, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Platform the content is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Artifact type of the manifest pointed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Fields not named above.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Descriptor {
    /// A descriptor with no optional field.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
            extra: Map::new(),
        }
    }

    /// The `org.opencontainers.image.ref.name` annotation.
    pub fn ref_name(&self) -> Option<&str> {
        self.annotations.get(REF_NAME).map(String::as_str)
    }
}

/// Annotation that names an image in a layout's index.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Operating system and processor.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Platform {
    /// Processor as Go names it (`amd64`, `arm64`).
    pub architecture: String,
    /// Operating system as Go names it.
    pub os: String,
    /// Processor variant (`v8`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Operating system version.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features of the operating system that are needed.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// Fields not named above.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Platform {
    /// The platform this program was built for.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "x86" => ("386", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Self {
            architecture: architecture.into(),
            os: "linux".into(),
            variant: variant.map(str::to_owned),
            ..Self::default()
        }
    }

    /// Parses `os/arch[/variant]`; `arch` alone means Linux. None when empty or with more parts. A variant that goes without saying
    /// (`v8` of arm64) is left out, one that must be said (`v7` of arm) is added, as other tools do.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let known_os = |os: &str| matches!(os, "linux" | "windows" | "darwin" | "freebsd");
        let (os, architecture, variant) = match parts.as_slice() {
            [os] if known_os(os) => (*os, Self::host().architecture, None),
            [arch] if !arch.is_empty() => ("linux", (*arch).to_owned(), None),
            [os, arch] if !os.is_empty() && !arch.is_empty() => (*os, (*arch).to_owned(), None),
            [os, arch, variant] if !os.is_empty() && !arch.is_empty() => {
                (*os, (*arch).to_owned(), Some(*variant).filter(|v| !v.is_empty()))
            }
            _ => return None,
        };
        let (architecture, variant) = match (architecture.as_str(), variant) {
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64".to_owned(), variant.filter(|v| *v != "v1")),
            ("aarch64" | "arm64", variant) => ("arm64".to_owned(), variant.filter(|v| !matches!(*v, "v8" | "8"))),
            ("armhf", _) => ("arm".to_owned(), Some("v7")),
            ("armel", _) => ("arm".to_owned(), Some("v6")),
            ("arm", variant) => ("arm".to_owned(), Some(variant.unwrap_or("v7"))),
            ("i386" | "i686", _) => ("386".to_owned(), None),
            (_, variant) => (architecture, variant),
        };
        Some(Self { os: os.to_owned(), architecture, variant: variant.map(str::to_owned), ..Self::default() })
    }

    /// Whether content for `self` runs on `wanted`. A missing variant matches any.
    pub fn matches(&self, wanted: &Self) -> bool {
        let variant = |p: &Self| match (p.architecture.as_str(), &p.variant) {
            ("arm64", None) => Some("v8".to_owned()),
            ("amd64", Some(v)) if v == "v1" => None,
            (_, v) => v.clone(),
        };
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && match (variant(self), variant(wanted)) {
                (Some(a), Some(b)) => a == b,
                (Some(_), None) | (None, _) => true,
            }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// An image manifest, OCI or Docker schema 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u64,
    /// Media type of this manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Type of artifact when this is not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Configuration.
    pub config: Descriptor,
    /// Layers, base first.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_default")]
    pub annotations: BTreeMap<String, String>,
    /// Fields not named above.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Manifest {
    /// An OCI image manifest.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media::OCI_MANIFEST.into()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
            extra: Map::new(),
        }
    }
}

/// A list of manifests, OCI index or Docker manifest list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u64,
    /// Media type of this index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Type of artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests.
    #[serde(deserialize_with = "null_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this index refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_default")]
    pub annotations: BTreeMap<String, String>,
    /// Fields not named above.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Index {
    /// An OCI image index.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media::OCI_INDEX.into()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
            extra: Map::new(),
        }
    }

    /// The first manifest for `platform`; an entry without a platform counts when no other matches.
    pub fn select(&self, platform: &Platform) -> Option<&Descriptor> {
        let exact = |d: &&Descriptor| d.platform.as_ref() == Some(platform);
        let fits = |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| p.matches(platform));
        let any = |d: &&Descriptor| d.platform.is_none();
        let mut entries = self.manifests.iter();
        entries.find(exact).or_else(|| self.manifests.iter().find(fits)).or_else(|| self.manifests.iter().find(any))
    }
}

/// A manifest of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// One image or artifact.
    Manifest(Box<Manifest>),
    /// A list of manifests.
    Index(Box<Index>),
}

impl Document {
    /// Parses manifest bytes. `media_type` is what the bytes were sent or stored as; it must agree with the
    /// `mediaType` inside, and the fields must be those of that kind.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, Error> {
        if bytes.len() > MAX_MANIFEST {
            return Err(Error::TooLarge(bytes.len()));
        }
        let shape: Shape = serde_json::from_slice(bytes).map_err(Error::Json)?;
        let outside = media_type.map(media::essence).filter(|m| !m.is_empty());
        if let (Some(outside), Some(inside)) = (outside, shape.media_type.as_deref())
            && outside != inside
        {
            return Err(Error::Mismatch { inside: inside.into(), outside: outside.into() });
        }
        let is_index = match outside.or(shape.media_type.as_deref()) {
            Some(m) if media::is_index(m) => true,
            Some(m) if media::is_manifest(m) => false,
            Some(other) => return Err(Error::MediaType(other.into())),
            None => shape.manifests.is_some(),
        };
        match shape.schema_version {
            Some(2) => {}
            other => return Err(Error::SchemaVersion(other.unwrap_or(0))),
        }
        if is_index {
            if shape.layers.is_some() || shape.config.is_some() {
                return Err(Error::Ambiguous);
            }
            Ok(Self::Index(Box::new(serde_json::from_slice(bytes).map_err(Error::Json)?)))
        } else {
            if shape.manifests.is_some() {
                return Err(Error::Ambiguous);
            }
            Ok(Self::Manifest(Box::new(serde_json::from_slice(bytes).map_err(Error::Json)?)))
        }
    }

    /// The media type it declares, or the OCI one of its kind.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Manifest(m) => m.media_type.as_deref().unwrap_or(media::OCI_MANIFEST),
            Self::Index(i) => i.media_type.as_deref().unwrap_or(media::OCI_INDEX),
        }
    }

    /// The manifest that this one refers to.
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Manifest(m) => m.subject.as_ref(),
            Self::Index(i) => i.subject.as_ref(),
        }
    }

    /// Annotations.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Manifest(m) => &m.annotations,
            Self::Index(i) => &i.annotations,
        }
    }

    /// The artifact type as the referrers API gives it: `artifactType`, else the configuration's media type.
    pub fn artifact_type(&self) -> Option<&str> {
        match self {
            Self::Manifest(m) => {
                Some(m.artifact_type.as_deref().filter(|t| !t.is_empty()).unwrap_or(&m.config.media_type))
            }
            Self::Index(i) => i.artifact_type.as_deref(),
        }
    }

    /// Content that must exist for this manifest to be whole: configuration and layers, or manifests. Not the
    /// subject, which may come later or never.
    pub fn children(&self) -> Vec<&Descriptor> {
        match self {
            Self::Manifest(m) => std::iter::once(&m.config).chain(&m.layers).collect(),
            Self::Index(i) => i.manifests.iter().collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape<'a> {
    schema_version: Option<u64>,
    media_type: Option<String>,
    #[serde(borrow)]
    manifests: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow)]
    layers: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow)]
    config: Option<&'a serde_json::value::RawValue>,
}

/// Go writes empty maps and lists as `null`.
pub(crate) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn descriptor(media_type: &str) -> Value {
        serde_json::json!({"mediaType": media_type, "digest": Digest::of(b"x"), "size": 1})
    }

    #[test]
    fn keeps_unknown_fields() {
        let mut config = descriptor(media::OCI_CONFIG);
        config["x-note"] = "kept".into();
        let value = serde_json::json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": config,
            "layers": [descriptor(media::OCI_LAYER_GZIP)], "annotations": {"a": "b"}, "later": [1, 2],
        });
        let document = Document::parse(value.to_string().as_bytes(), Some(media::OCI_MANIFEST)).expect("manifest");
        let Document::Manifest(manifest) = document else { panic!("a manifest") };
        assert_eq!(serde_json::to_value(&manifest).expect("json"), value);
    }

    #[test]
    fn refuses_confusion_of_kinds() {
        let both = serde_json::json!({"schemaVersion": 2, "config": descriptor(media::OCI_CONFIG), "layers": [], "manifests": []});
        for media_type in [media::OCI_MANIFEST, media::OCI_INDEX] {
            assert!(matches!(Document::parse(both.to_string().as_bytes(), Some(media_type)), Err(Error::Ambiguous)));
        }
        let inside =
            serde_json::json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": []}).to_string();
        assert!(matches!(Document::parse(inside.as_bytes(), Some(media::OCI_MANIFEST)), Err(Error::Mismatch { .. })));
        assert!(matches!(Document::parse(b"{}", Some("text/plain")), Err(Error::MediaType(_))));
        assert!(matches!(Document::parse(b"{}", None), Err(Error::SchemaVersion(0))));
    }

    #[test]
    fn selects_a_platform() {
        let entry = |platform: &str| {
            let mut d = Descriptor::new(media::OCI_MANIFEST, Digest::of(platform.as_bytes()), 1);
            d.platform = Platform::parse(platform);
            d
        };
        let index = Index::new(vec![entry("linux/amd64"), entry("linux/arm64"), entry("linux/arm/v7")]);
        for (wanted, found) in [
            ("linux/amd64", Some("linux/amd64")),
            ("x86_64", Some("linux/amd64")),
            ("linux/arm64/v8", Some("linux/arm64")),
            ("linux/arm/v7", Some("linux/arm/v7")),
            ("linux/arm/v6", None),
            ("windows/amd64", None),
        ] {
            let platform = Platform::parse(wanted).expect("platform");
            assert_eq!(
                index.select(&platform).map(|d| &d.digest),
                found.map(|f| Digest::of(f.as_bytes())).as_ref(),
                "{wanted}"
            );
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Document::parse(&bytes, None);
        }
    }
}
