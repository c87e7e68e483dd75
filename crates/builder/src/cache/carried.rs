//! A build cache that travels: which step gave which layer, together with the layers, in a registry, a directory, or in the
//! image itself. Pure; `solve` does the moving.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci::{Descriptor, Digest, Reference};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Known;

/// Artifact type of a cache's manifest.
pub const ARTIFACT: &str = "application/vnd.bigben.buildcache.v1";
/// Media type of the records.
pub const RECORDS: &str = "application/vnd.bigben.buildcache.records.v1+json";
/// Field of an image configuration that holds the records of an inline cache.
pub const INLINE: &str = "bigben.buildcache.v1";

/// Where a cache is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Under a name in a registry: a cache of its own, or an image with an inline cache.
    Registry(Reference),
    /// In a directory, an OCI image layout.
    Local(PathBuf),
    /// In the image that is built; only to export to.
    Inline,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(reference) => write!(f, "{reference}"),
            Self::Local(dir) => write!(f, "{}", dir.display()),
            Self::Inline => f.write_str("the image"),
        }
    }
}

/// Where a cache goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Where.
    pub place: Place,
    /// `mode=max`: the steps of all stages, not only those whose layers are in the image.
    pub all: bool,
    /// `ignore-error=true`: a failed export does not fail the build.
    pub lenient: bool,
}

/// A layer that a step gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Digest of the uncompressed archive.
    pub layer: Digest,
    /// The blob, none where the image says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Descriptor>,
}

/// What the steps gave, by key; none for a step that changed nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Records {
    /// The steps.
    pub steps: BTreeMap<String, Option<Layer>>,
}

impl Records {
    /// Records whose layers are those of the image that holds them.
    pub fn inline(used: &BTreeMap<String, Known>) -> Records {
        let entry = |known: &Known| match known {
            Known::Layer(layer) => Some(Layer { layer: layer.clone(), blob: None }),
            Known::Nothing => None,
        };
        Records { steps: used.iter().map(|(key, known)| (key.clone(), entry(known))).collect() }
    }

    /// As a JSON value.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Reads records. Keys that are none are left out: they become file names.
    pub fn from_json(value: Value) -> Option<Records> {
        let mut records: Records = serde_json::from_value(value).ok()?;
        records.steps.retain(|key, _| key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit()));
        Some(records)
    }

    /// Fills in the blobs from the image's own layers, and drops records of other layers.
    pub fn with_blobs(mut self, diff_ids: &[Digest], blobs: &[Descriptor]) -> Records {
        self.steps.retain(|_, step| match step {
            None => true,
            Some(step) => {
                let at = diff_ids.iter().position(|id| *id == step.layer);
                step.blob = at.and_then(|at| blobs.get(at)).cloned();
                step.blob.is_some()
            }
        });
        self
    }
}

/// Reads `--cache-from`. None for the caches of services whose part this machine's own cache plays.
///
/// # Errors
///
/// What is wrong, or which kind is not supported.
pub fn from(text: &str, cwd: &Path) -> Result<Option<Place>, String> {
    let fields = fields(text)?;
    let known = ["type", "ref", "src", "digest", "tag", "scope", "url", "url_v2", "token", "timeout"];
    check(text, &fields, &known)?;
    place("--cache-from", &fields, "src", cwd)
}

/// Reads `--cache-to`. None as with [`from`].
///
/// # Errors
///
/// What is wrong, or which kind is not supported.
pub fn to(text: &str, cwd: &Path) -> Result<Option<Export>, String> {
    let fields = fields(text)?;
    let known = [
        "type",
        "ref",
        "dest",
        "mode",
        "ignore-error",
        "tag",
        "scope",
        "url",
        "url_v2",
        "token",
        "timeout",
        "oci-mediatypes",
        "image-manifest",
        "compression",
        "compression-level",
        "force-compression",
    ];
    check(text, &fields, &known)?;
    let all = match fields.get("mode").map(String::as_str) {
        None | Some("min") => false,
        Some("max") => true,
        Some(other) => return Err(format!("--cache-to {text}: mode {other:?} is neither min nor max")),
    };
    let lenient = fields.get("ignore-error").is_some_and(|value| value == "true");
    let place = match fields.get("type").map(String::as_str) {
        Some("inline") => Some(Place::Inline),
        _ => place("--cache-to", &fields, "dest", cwd)?,
    };
    Ok(place.map(|place| Export { place, all, lenient }))
}

/// `key=value,...`; a text without `=` is the name of an image.
fn fields(text: &str) -> Result<BTreeMap<String, String>, String> {
    if !text.contains('=') {
        return Ok([("type", "registry"), ("ref", text)].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }
    text.split(',')
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_ascii_lowercase(), value.trim().to_owned())),
            None => Err(format!("{text}: {pair:?} is not key=value")),
        })
        .collect()
}

fn check(text: &str, fields: &BTreeMap<String, String>, known: &[&str]) -> Result<(), String> {
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("{text}: {key} is not supported; this builder knows {}", known.join(", "))),
        None => Ok(()),
    }
}

fn place(flag: &str, fields: &BTreeMap<String, String>, dir: &str, cwd: &Path) -> Result<Option<Place>, String> {
    let need = |key: &str| {
        let value = fields.get(key).filter(|value| !value.is_empty());
        value.ok_or_else(|| format!("{flag}: {key} is needed"))
    };
    match fields.get("type").map_or("", String::as_str) {
        "registry" => {
            let name = need("ref")?;
            let reference = crate::images::reference(name).map_err(|wrong| format!("{flag} {name}: {wrong}"))?;
            Ok(Some(Place::Registry(reference)))
        }
        "local" => Ok(Some(Place::Local(cwd.join(need(dir)?)))),
        // The service keeps caches from one runner to the next; here both are this machine.
        "gha" => Ok(None),
        "inline" => Err(format!("{flag}: type inline is for --cache-to; read it with type=registry,ref=IMAGE")),
        "" => Err(format!("{flag}: type is needed")),
        other => Err(format!("{flag}: type {other} is not supported; use registry, local, inline or gha")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_places() {
        let cwd = Path::new("/w");
        let image = |name: &str| Some(Place::Registry(Reference::parse(name).unwrap()));
        assert_eq!(from("me/app:1", cwd), Ok(image("me/app:1")));
        assert_eq!(from("type=registry,ref=me/app:cache", cwd), Ok(image("me/app:cache")));
        assert_eq!(from("type=local,src=c", cwd), Ok(Some(Place::Local("/w/c".into()))));
        assert_eq!(from("type=gha,scope=x", cwd), Ok(None));
        let max = to("type=registry,ref=me/app:cache,mode=max,ignore-error=true", cwd).unwrap().unwrap();
        assert!(max.all && max.lenient);
        assert_eq!(to("type=inline", cwd).unwrap().unwrap().place, Place::Inline);
        for (bad, said) in [
            ("type=s3,bucket=x", "bucket is not supported"),
            ("type=azblob", "type azblob is not supported"),
            ("type=local", "src is needed"),
            ("type=registry,ref=UPPER", "UPPER"),
            ("type=registry,x", "not key=value"),
            ("src=x", "type is needed"),
            ("type=inline", "--cache-to"),
        ] {
            let error = from(bad, cwd).unwrap_err();
            assert!(error.contains(said), "{bad}: {error}");
        }
        assert!(to("type=local,dest=c,mode=most", cwd).unwrap_err().contains("neither min nor max"));
    }

    #[test]
    fn records_survive_and_hostile_keys_do_not() {
        let key = "a".repeat(64);
        let used =
            BTreeMap::from([(key.clone(), Known::Layer(Digest::of(b"layer"))), ("b".repeat(64), Known::Nothing)]);
        let records = Records::inline(&used);
        assert_eq!(Records::from_json(records.to_json()), Some(records.clone()));
        let blob = Descriptor::new("x", Digest::of(b"blob"), 4);
        let filled = records.clone().with_blobs(&[Digest::of(b"layer")], std::slice::from_ref(&blob));
        assert_eq!(filled.steps[&key].as_ref().and_then(|l| l.blob.clone()), Some(blob));
        assert_eq!(records.with_blobs(&[], &[]).steps.len(), 1);
        let hostile = serde_json::json!({"steps": {"../../etc/passwd": null, "..": null}});
        assert_eq!(Records::from_json(hostile).unwrap().steps.len(), 0);
    }
}
