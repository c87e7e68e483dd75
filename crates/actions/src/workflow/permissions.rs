//! `permissions`: what the job's token may do.

use std::collections::BTreeMap;

use super::Findings;
use crate::yaml::{Kind, Node};

/// The scopes a token may have, with whether `read` and `write` exist for them.
pub const SCOPES: &[(&str, bool, bool)] = &[
    ("actions", true, true),
    ("artifact-metadata", true, true),
    ("attestations", true, true),
    ("checks", true, true),
    ("contents", true, true),
    ("copilot-requests", false, true),
    ("deployments", true, true),
    ("discussions", true, true),
    ("id-token", false, true),
    ("issues", true, true),
    ("models", true, false),
    ("packages", true, true),
    ("pages", true, true),
    ("pull-requests", true, true),
    ("repository-projects", true, true),
    ("security-events", true, true),
    ("statuses", true, true),
    ("vulnerability-alerts", true, false),
];

/// How much a token may do with one scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Nothing.
    None,
    /// Read.
    Read,
    /// Read and write.
    Write,
}

/// A `permissions` value: scopes that are not named have no access.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Permissions(pub BTreeMap<String, Access>);

impl Permissions {
    /// `read-all` or `write-all`.
    pub fn all(access: Access) -> Self {
        Self(
            SCOPES
                .iter()
                .filter_map(|(name, read, write)| match access {
                    Access::Write if *write => Some(((*name).to_owned(), Access::Write)),
                    Access::Read | Access::Write if *read => Some(((*name).to_owned(), Access::Read)),
                    _ => None,
                })
                .collect(),
        )
    }

    /// What a token has when neither workflow nor job says: reading contents and packages.
    pub fn restricted() -> Self {
        Self([("contents".to_owned(), Access::Read), ("packages".to_owned(), Access::Read)].into())
    }

    /// The access to a scope; every token may read metadata.
    pub fn get(&self, scope: &str) -> Access {
        if scope == "metadata" {
            return Access::Read;
        }
        self.0.get(scope).copied().unwrap_or(Access::None)
    }

    /// The lesser of both in every scope: what a called workflow or a fork may have at most.
    pub fn at_most(&self, limit: &Permissions) -> Self {
        Self(self.0.iter().map(|(scope, access)| (scope.clone(), (*access).min(limit.get(scope)))).collect())
    }

    /// The first scope in which this asks for more than `limit` allows.
    pub fn exceeds(&self, limit: &Permissions) -> Option<(&str, Access, Access)> {
        self.0
            .iter()
            .find(|(scope, access)| **access > limit.get(scope))
            .map(|(scope, access)| (scope.as_str(), *access, limit.get(scope)))
    }

    pub(super) fn read(node: &Node, findings: &mut Findings) -> Option<Self> {
        match &node.kind {
            Kind::Scalar { text, .. } => match text.as_str() {
                "read-all" => Some(Self::all(Access::Read)),
                "write-all" => Some(Self::all(Access::Write)),
                "" => Some(Self(BTreeMap::new())),
                other => {
                    findings.error_with_hint(
                        node.at,
                        format!("Unexpected value '{other}'"),
                        "use read-all, write-all or a mapping of scopes",
                    );
                    None
                }
            },
            Kind::Mapping(entries) => {
                let mut map = BTreeMap::new();
                for (key, value) in entries {
                    let name = key.text().unwrap_or_default();
                    let Some((scope, read, write)) = SCOPES.iter().find(|(scope, ..)| *scope == name) else {
                        findings.error(key.at, format!("Unexpected value '{name}'"));
                        continue;
                    };
                    let access = match value.text() {
                        Some("none") => Access::None,
                        Some("read") if *read => Access::Read,
                        Some("write") if *write => Access::Write,
                        other => {
                            findings.error(value.at, format!("Unexpected value '{}'", other.unwrap_or_default()));
                            continue;
                        }
                    };
                    map.insert((*scope).to_owned(), access);
                }
                Some(Self(map))
            }
            Kind::Sequence(_) => {
                findings.error(node.at, "A sequence was not expected");
                None
            }
        }
    }
}
