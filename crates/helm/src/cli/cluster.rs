//! What `template` does with a cluster at hand, as Helm's dry run on the server does: templates see the cluster's own
//! capabilities and objects, and the manifests are checked against it. Nothing is changed there.

use serde_json::Value;

use crate::Lookup;
use crate::engine::{Rendered, Served};
use crate::error::Error;
use crate::value::quote::quote;

/// A cluster, read only.
pub trait Cluster: Lookup {
    /// Its version and what it serves.
    ///
    /// # Errors
    /// Why it cannot be reached.
    fn served(&self) -> Result<Served, String>;

    /// Whether objects of a kind live in a namespace; `None` when it does not serve the kind.
    ///
    /// # Errors
    /// Why it could not be asked.
    fn namespaced(&self, api_version: &str, kind: &str) -> Result<Option<bool>, String>;
}

/// What the cluster serves, or that it is not reached.
pub(super) fn reach(cluster: &dyn Cluster) -> Result<Served, Error> {
    cluster.served().map_err(|e| Error::Refused(format!("kubernetes cluster unreachable: {e}")))
}

/// Refuses manifests of kinds that the cluster does not serve, and, where an owner is named (a release and its namespace), those
/// that would take over what is not theirs.
///
/// # Errors
/// Helm's message.
pub(super) fn check(
    cluster: &dyn Cluster,
    rendered: &Rendered,
    owner: Option<(&str, &str)>,
    namespace: &str,
) -> Result<(), Error> {
    let mut objects = Vec::new();
    for manifest in &rendered.manifests {
        let parsed = goyaml::from_str(&manifest.text)
            .map_err(|e| Error::Output(format!("YAML parse error on {}: {e}", manifest.path)))?;
        match parsed {
            Value::Null => {}
            Value::Object(list) if list.get("kind").and_then(Value::as_str) == Some("List") => {
                objects.extend(list.get("items").and_then(Value::as_array).into_iter().flatten().cloned());
            }
            object => objects.push(object),
        }
    }
    let mut unknown: Vec<String> = Vec::new();
    let mut known = Vec::new();
    for object in &objects {
        match build(cluster, object)? {
            Ok(namespaced) => known.push((object, namespaced)),
            Err(message) if unknown.contains(&message) => {}
            Err(message) => unknown.push(message),
        }
    }
    match unknown.as_slice() {
        [] => {}
        [one] => return Err(refused(one)),
        many => return Err(refused(&format!("[{}]", many.join(", ")))),
    }
    let Some((release, release_namespace)) = owner else { return Ok(()) };
    for (object, namespaced) in known {
        let place = namespaced.then(|| match text(object, "/metadata/namespace") {
            "" => namespace,
            own => own,
        });
        let name = text(object, "/metadata/name");
        let live = cluster
            .lookup(text(object, "/apiVersion"), text(object, "/kind"), place.unwrap_or(""), name)
            .map_err(|e| {
                Error::Refused(format!(
                    "unable to continue with install: could not get information about the resource {}: {e}",
                    shown(object, name, place)
                ))
            })?;
        let Some(live) = live else { continue };
        if let Err(why) = ownership(&live, release, release_namespace) {
            return Err(Error::Refused(format!(
                "unable to continue with install: {} exists and cannot be imported into the current release: invalid ownership metadata; {why}",
                shown(object, name, place)
            )));
        }
    }
    Ok(())
}

fn refused(message: &str) -> Error {
    Error::Refused(format!("unable to build kubernetes objects from release manifest: {message}"))
}

fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn shown(object: &Value, name: &str, namespace: Option<&str>) -> String {
    format!("{} {} in namespace {}", text(object, "/kind"), quote(name), quote(namespace.unwrap_or("")))
}

/// Whether the object's kind lives in a namespace, or why it cannot be built.
fn build(cluster: &dyn Cluster, object: &Value) -> Result<Result<bool, String>, Error> {
    let (api_version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
    let unset: Vec<&str> = [("apiVersion not set", api_version), ("kind not set", kind)]
        .iter()
        .filter(|(_, v)| v.is_empty())
        .map(|(m, _)| *m)
        .collect();
    match unset.as_slice() {
        [] => {}
        [one] => return Ok(Err(format!("error validating \"\": error validating data: {one}"))),
        both => return Ok(Err(format!("error validating \"\": error validating data: [{}]", both.join(", ")))),
    }
    let found = cluster.namespaced(api_version, kind).map_err(|e| refused(&e))?;
    Ok(found.ok_or_else(|| {
        format!(
            "resource mapping not found for name: {} namespace: {} from \"\": no matches for kind {} in version {}\nensure CRDs are installed first",
            quote(text(object, "/metadata/name")),
            quote(text(object, "/metadata/namespace")),
            quote(kind),
            quote(api_version)
        )
    }))
}

/// Whether a live object belongs to the release.
fn ownership(live: &Value, release: &str, namespace: &str) -> Result<(), String> {
    let check = |map: &str, key: &str, wanted: &str| {
        let found = live.pointer(map).and_then(|m| m.get(key)).and_then(Value::as_str);
        match found {
            Some(value) if value == wanted => None,
            Some(value) => {
                Some(format!("key {} must equal {}: current value is {}", quote(key), quote(wanted), quote(value)))
            }
            None => Some(format!("missing key {}: must be set to {}", quote(key), quote(wanted))),
        }
    };
    let problems = [
        ("label", "/metadata/labels", "app.kubernetes.io/managed-by", "Helm"),
        ("annotation", "/metadata/annotations", "meta.helm.sh/release-name", release),
        ("annotation", "/metadata/annotations", "meta.helm.sh/release-namespace", namespace),
    ]
    .into_iter()
    .filter_map(|(what, map, key, wanted)| Some(format!("{what} validation error: {}", check(map, key, wanted)?)))
    .collect::<Vec<_>>();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}
