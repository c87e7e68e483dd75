//! How a chart is rendered.

use std::sync::Arc;

use crate::Lookup;
use crate::chart::kube::KubeVersion;
use crate::template::exec::Limits;

/// How to render.
#[derive(Clone)]
pub struct RenderOptions {
    /// `.Release.Name`
    pub release_name: String,
    /// `.Release.Namespace`
    pub namespace: String,
    /// `.Release.Revision`
    pub revision: i64,
    /// `.Release.IsUpgrade`; otherwise it is an installation.
    pub is_upgrade: bool,
    /// `.Capabilities.KubeVersion`, with or without `v`; [`DEFAULT_KUBE_VERSION`] when not given.
    pub kube_version: Option<String>,
    /// Added to `.Capabilities.APIVersions`.
    pub api_versions: Vec<String>,
    /// What a cluster serves: then `kube_version` and `api_versions` count for nothing.
    pub served: Option<Served>,
    /// Whether custom resource definitions are part of the manifests.
    pub include_crds: bool,
    /// Whether the notes of subcharts are part of the notes.
    pub sub_notes: bool,
    /// Do not check values against `values.schema.json`.
    pub skip_schema_validation: bool,
    /// Answers `lookup`; without it everything is absent.
    pub lookup: Option<Arc<dyn Lookup>>,
    /// Whether `getHostByName` may ask the system.
    pub enable_dns: bool,
    /// Makes random functions and keys the same for the same seed.
    pub seed: Option<u64>,
    /// What `now` gives, in nanoseconds since 1970; the clock otherwise.
    pub now: Option<i128>,
    /// Fail on keys that are missing.
    pub strict: bool,
    /// `required` and `fail` pass.
    pub lint: bool,
    /// Bounds.
    pub limits: Limits,
}

/// What a cluster says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    /// `gitVersion`, such as `v1.33.1`.
    pub version: String,
    /// `major`
    pub major: String,
    /// `minor`
    pub minor: String,
    /// Group versions, and with a kind (`apps/v1/Deployment`) every resource.
    pub api_versions: Vec<String>,
}

/// The version of Kubernetes that Helm 4.2 assumes without a cluster.
pub const DEFAULT_KUBE_VERSION: &str = "v1.36.0";

impl Default for RenderOptions {
    fn default() -> Self {
        RenderOptions {
            release_name: "release-name".to_owned(),
            namespace: "default".to_owned(),
            revision: 1,
            is_upgrade: false,
            kube_version: None,
            api_versions: Vec::new(),
            served: None,
            include_crds: false,
            sub_notes: false,
            skip_schema_validation: false,
            lookup: None,
            enable_dns: false,
            seed: None,
            now: None,
            strict: false,
            lint: false,
            limits: Limits::default(),
        }
    }
}

impl RenderOptions {
    pub(super) fn version(&self) -> KubeVersion {
        if let Some(served) = &self.served {
            return KubeVersion {
                version: served.version.clone(),
                normalized: served.version.clone(),
                major: served.major.clone(),
                minor: served.minor.clone(),
            };
        }
        let wanted = self.kube_version.as_deref().unwrap_or(DEFAULT_KUBE_VERSION);
        // What is no version stands as it is given: the command refuses it before.
        KubeVersion::parse(wanted).unwrap_or_else(|_| KubeVersion {
            version: wanted.to_owned(),
            normalized: wanted.to_owned(),
            ..KubeVersion::default()
        })
    }
}
