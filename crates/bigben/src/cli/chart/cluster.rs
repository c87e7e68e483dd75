//! The cluster of a kubeconfig, as `bigben template --validate` asks it: read only.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use helm::engine::Served;
use informer::api::Api;
use informer::kinds::Kind;
use serde_json::Value;

/// A connection, with what was asked of it already.
pub struct Connected {
    runtime: tokio::runtime::Runtime,
    api: Api,
    groups: Mutex<HashMap<String, Vec<Kind>>>,
}

/// Reads the kubeconfig and makes a client. Nothing is asked yet.
pub fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Arc<Connected>> {
    // Templates ask from a thread of their own: something else must drive the connection.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let options = kube::config::KubeConfigOptions {
        context: context.map(str::to_owned),
        ..kube::config::KubeConfigOptions::default()
    };
    let client = runtime.block_on(async {
        let config = match kubeconfig {
            Some(path) => {
                let file = kube::config::Kubeconfig::read_from(path)
                    .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
                kube::Config::from_custom_kubeconfig(file, &options).await
            }
            None => kube::Config::from_kubeconfig(&options).await,
        };
        let config = config.context("no cluster to validate against: give --kubeconfig, or set KUBECONFIG")?;
        kube::Client::try_from(config).context("cannot make a client of the kubeconfig")
    })?;
    Ok(Arc::new(Connected { runtime, api: Api::new(client, "helm"), groups: Mutex::default() }))
}

/// What a cluster answers when it does not have a path.
const NO_RESOURCE: &str = "the server could not find the requested resource";

impl Connected {
    fn get(&self, path: &str) -> Result<Value, informer::error::Error> {
        self.runtime.block_on(self.api.get_path(path))
    }

    /// The kinds of a group version; `None` when the cluster does not have it.
    fn kinds(&self, api_version: &str) -> Result<Option<Vec<Kind>>, String> {
        let known = |groups: &HashMap<String, Vec<Kind>>| groups.get(api_version).cloned();
        if let Ok(groups) = self.groups.lock()
            && let Some(kinds) = known(&groups)
        {
            return Ok(Some(kinds));
        }
        let path =
            if api_version.contains('/') { format!("/apis/{api_version}") } else { format!("/api/{api_version}") };
        let list = match self.get(&path) {
            Ok(list) => list,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.message()),
        };
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kinds: Vec<Kind> = list["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|resource| {
                let plural = resource["name"].as_str().filter(|name| !name.contains('/'))?;
                let namespaced = resource["namespaced"].as_bool().unwrap_or(false);
                Some(Kind::dynamic(group, version, resource["kind"].as_str()?, plural, namespaced))
            })
            .collect();
        if let Ok(mut groups) = self.groups.lock() {
            groups.insert(api_version.to_owned(), kinds.clone());
        }
        Ok(Some(kinds))
    }

    fn kind(&self, api_version: &str, kind: &str) -> Result<Option<Kind>, String> {
        Ok(self.kinds(api_version)?.into_iter().flatten().find(|known| known.kind == kind))
    }
}

impl helm::Lookup for Connected {
    fn lookup(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<Option<Value>, String> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let Some(kinds) = self.kinds(api_version)? else {
            return Err(format!(
                "unable to get apiresource from unstructured: {group}/{version}, Kind={kind}: {NO_RESOURCE}"
            ));
        };
        let Some(found) = kinds.into_iter().find(|known| known.kind == kind) else { return Ok(None) };
        let path = if name.is_empty() { found.collection(namespace) } else { found.path(namespace, name) };
        match self.get(&path) {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.message()),
        }
    }
}

impl helm::cli::Cluster for Connected {
    fn served(&self) -> Result<Served, String> {
        let version = self.get("/version").map_err(|error| error.message())?;
        let part = |key: &str| version[key].as_str().unwrap_or_default().to_owned();
        let mut groups: Vec<String> = Vec::new();
        let core = self.get("/api").map_err(|error| error.message())?;
        let versions = core["versions"].as_array().into_iter().flatten();
        groups.extend(versions.filter_map(Value::as_str).map(str::to_owned));
        let list = self.get("/apis").map_err(|error| error.message())?;
        for group in list["groups"].as_array().into_iter().flatten() {
            let versions = group["versions"].as_array().into_iter().flatten();
            groups.extend(versions.filter_map(|v| v["groupVersion"].as_str()).map(str::to_owned));
        }
        let mut api_versions = groups.clone();
        for group in &groups {
            // A group whose server is down is left out, as Helm does.
            for kind in self.kinds(group).ok().flatten().unwrap_or_default() {
                api_versions.push(format!("{group}/{}", kind.kind));
            }
        }
        Ok(Served { version: part("gitVersion"), major: part("major"), minor: part("minor"), api_versions })
    }

    fn namespaced(&self, api_version: &str, kind: &str) -> Result<Option<bool>, String> {
        Ok(self.kind(api_version, kind)?.map(|kind| kind.namespaced))
    }
}
