//! The cluster of a kubeconfig, as `bigben template --validate` asks it: read only.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use helm::engine::Served;
use informer::api::Api;
use informer::kinds::Kind;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use super::args::Global;

/// A connection, with what was asked of it already.
pub struct Connected {
    runtime: tokio::runtime::Runtime,
    api: Api,
    groups: Mutex<HashMap<String, Vec<Kind>>>,
}

/// The kubeconfig that flags and environment name, if there is one.
fn kubeconfig(global: &Global) -> Result<Option<Kubeconfig>> {
    match &global.kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(path);
            read.map(Some).with_context(|| format!("cannot read the kubeconfig {}", path.display()))
        }
        None => Ok(Kubeconfig::read().ok()),
    }
}

/// The namespace that is meant: as Helm has it, that of the flag, or of the kubeconfig's context.
pub fn namespace(global: &Global) -> Option<String> {
    if global.namespace.as_deref().is_some_and(|namespace| !namespace.is_empty()) {
        return global.namespace.clone();
    }
    let config = kubeconfig(global).ok()??;
    let name = global.kube_context.as_ref().or(config.current_context.as_ref())?;
    let context = config.contexts.iter().find(|context| context.name == *name)?.context.as_ref()?;
    context.namespace.clone().filter(|namespace| !namespace.is_empty())
}

/// Reads the kubeconfig and makes a client. Nothing is asked yet.
pub fn connect(global: &Global) -> Result<Arc<Connected>> {
    // Templates ask from a thread of their own: something else must drive the connection.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let config = match kubeconfig(global)? {
        Some(config) => config,
        None if global.kube_apiserver.is_some() => Kubeconfig::default(),
        None => Kubeconfig::read().context("no cluster to validate against: give --kubeconfig, or set KUBECONFIG")?,
    };
    let config = changed(config, global)?;
    let options = KubeConfigOptions { context: global.kube_context.clone(), ..KubeConfigOptions::default() };
    let client = runtime.block_on(async {
        let config = kube::Config::from_custom_kubeconfig(config, &options).await;
        let config = config.context("cannot use the kubeconfig")?;
        kube::Client::try_from(config).context("cannot make a client of the kubeconfig")
    })?;
    Ok(Arc::new(Connected { runtime, api: Api::new(client, "helm"), groups: Mutex::default() }))
}

/// The kubeconfig with what the flags say of the cluster and the user of its context.
fn changed(mut config: Kubeconfig, global: &Global) -> Result<Kubeconfig> {
    const NAME: &str = "flags";
    let text = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let path = |value: &Option<PathBuf>| value.as_ref().map(|path| path.display().to_string());
    let cluster = json!({
        "server": text(&global.kube_apiserver),
        "certificate-authority": path(&global.kube_ca_file),
        "insecure-skip-tls-verify": global.kube_insecure_skip_tls_verify.then_some(true),
        "tls-server-name": text(&global.kube_tls_server_name),
    });
    let user = json!({
        "token": text(&global.kube_token),
        "as": text(&global.kube_as_user),
        "as-groups": (!global.kube_as_group.is_empty()).then_some(&global.kube_as_group),
    });
    if [&cluster, &user].iter().all(|map| map.as_object().is_some_and(|map| map.values().all(Value::is_null))) {
        return Ok(config);
    }
    let name = global.kube_context.clone().or(config.current_context.clone()).unwrap_or_else(|| NAME.to_owned());
    let known = config.contexts.iter().find(|context| context.name == name).and_then(|known| known.context.clone());
    let (old_cluster, old_user) = match &known {
        Some(known) => (known.cluster.clone(), known.user.clone()),
        None => (NAME.to_owned(), None),
    };
    let old_cluster = config.clusters.iter().find(|c| c.name == old_cluster).and_then(|c| c.cluster.as_ref());
    let old_user = config.auth_infos.iter().find(|u| Some(&u.name) == old_user.as_ref());
    let old_user = old_user.and_then(|u| u.auth_info.as_ref());
    let cluster = over(serde_json::to_value(old_cluster)?, cluster);
    let user = over(serde_json::to_value(old_user)?, user);
    let changes = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": cluster}],
        "users": [{"name": NAME, "user": user}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
    });
    let changes: Kubeconfig = serde_json::from_value(changes).context("cannot use the flags for the cluster")?;
    config.clusters = changes.clusters;
    config.auth_infos = changes.auth_infos;
    config.contexts = changes.contexts;
    for context in &mut config.contexts {
        context.name.clone_from(&name);
    }
    config.current_context = Some(name);
    Ok(config)
}

/// The fields of an object, with those that are given over them.
fn over(base: Value, given: Value) -> Value {
    let mut map = match base {
        Value::Object(map) => map,
        _ => serde_json::Map::new(),
    };
    if let Value::Object(given) = given {
        map.extend(given.into_iter().filter(|(_, value)| !value.is_null()));
    }
    Value::Object(map)
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
