//! Names of API groups, versions, kinds and resources.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// An API group and version: `apps/v1`, or `v1` for the core group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GroupVersion {
    /// Group; empty for the core group.
    pub group: String,
    /// Version, such as `v1`.
    pub version: String,
}

/// A group, version and kind: `apps/v1, Deployment`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GroupVersionKind {
    /// Group; empty for the core group.
    pub group: String,
    /// Version, such as `v1`.
    pub version: String,
    /// Kind, such as `Deployment`.
    pub kind: String,
}

/// A group, version and resource (plural, lower case): `apps/v1, deployments`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GroupVersionResource {
    /// Group; empty for the core group.
    pub group: String,
    /// Version, such as `v1`.
    pub version: String,
    /// Resource, such as `deployments`.
    pub resource: String,
}

/// A group and kind, printed `Deployment.apps`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GroupKind {
    /// Group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
}

/// A group and resource, printed `deployments.apps`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GroupResource {
    /// Group; empty for the core group.
    pub group: String,
    /// Resource.
    pub resource: String,
}

/// An `apiVersion` that is not `VERSION` or `GROUP/VERSION`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("apiVersion {0:?} is neither VERSION nor GROUP/VERSION")]
pub struct ParseError(pub String);

impl GroupVersion {
    /// Builds one.
    pub fn new(group: impl Into<String>, version: impl Into<String>) -> Self {
        Self { group: group.into(), version: version.into() }
    }

    /// With a kind.
    pub fn kind(&self, kind: impl Into<String>) -> GroupVersionKind {
        GroupVersionKind { group: self.group.clone(), version: self.version.clone(), kind: kind.into() }
    }
}

impl fmt::Display for GroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(&self.version) } else { write!(f, "{}/{}", self.group, self.version) }
    }
}

impl FromStr for GroupVersion {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.split_once('/') {
            _ if text.is_empty() => Err(ParseError(text.into())),
            None => Ok(Self::new("", text)),
            Some((group, version)) if !group.is_empty() && !version.is_empty() && !version.contains('/') => {
                Ok(Self::new(group, version))
            }
            Some(_) => Err(ParseError(text.into())),
        }
    }
}

impl GroupVersionKind {
    /// Builds one.
    pub fn new(group: impl Into<String>, version: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { group: group.into(), version: version.into(), kind: kind.into() }
    }

    /// From an object's `apiVersion` and `kind`; `None` where either is missing, empty or malformed.
    pub fn of(object: &Value) -> Option<Self> {
        let gv: GroupVersion = object.get("apiVersion")?.as_str()?.parse().ok()?;
        let kind = object.get("kind")?.as_str().filter(|k| !k.is_empty())?;
        Some(gv.kind(kind))
    }

    /// The `apiVersion` text.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Without the version.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind { group: self.group.clone(), kind: self.kind.clone() }
    }
}

impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Kind={}", self.api_version(), self.kind)
    }
}

impl GroupVersionResource {
    /// Builds one.
    pub fn new(group: impl Into<String>, version: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { group: group.into(), version: version.into(), resource: resource.into() }
    }
}

impl GroupKind {
    /// Builds one.
    pub fn new(group: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { group: group.into(), kind: kind.into() }
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(&self.kind) } else { write!(f, "{}.{}", self.kind, self.group) }
    }
}

impl GroupResource {
    /// Builds one.
    pub fn new(group: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { group: group.into(), resource: resource.into() }
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(&self.resource) } else { write!(f, "{}.{}", self.resource, self.group) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions() {
        for (text, want) in
            [("v1", Some(("", "v1"))), ("apps/v1", Some(("apps", "v1"))), ("", None), ("/v1", None), ("a/b/c", None)]
        {
            let got = text.parse::<GroupVersion>().ok();
            assert_eq!(got, want.map(|(g, v)| GroupVersion::new(g, v)), "{text}");
        }
        assert_eq!(GroupKind::new("apps", "Deployment").to_string(), "Deployment.apps");
        assert_eq!(GroupResource::new("", "pods").to_string(), "pods");
    }
}
