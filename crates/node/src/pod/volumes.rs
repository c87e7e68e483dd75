//! The volumes of a pod: directories under the state directory, filled from the API where they show objects.
//!
//! A volume that shows objects is written as kubelets do: a hidden directory for each version, `..data` pointing to the
//! current one, and for each file a link through it, so that an update changes all files at once.

use super::env::{Downward, data, field, resource};
use super::{certificates, trust};
use crate::error::{Context, Error, Result};
use crate::images::{LocalImage, PullPolicy};
use crate::shared::Shared;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A volume that is ready to be mounted.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub(crate) path: PathBuf,
    pub(crate) readonly: bool,
    /// The image whose files it shows, which stays for as long as this is there.
    pub(crate) _image: Option<Arc<LocalImage>>,
}

impl Volume {
    fn new(path: impl Into<PathBuf>, readonly: bool) -> Volume {
        Volume { path: path.into(), readonly, _image: None }
    }
}

/// Files of a volume that shows objects: path to mode and content.
type Files = BTreeMap<String, (u32, Vec<u8>)>;

/// Makes all volumes of a pod below `dir`.
pub(crate) async fn prepare(
    shared: &Shared,
    pod: &Value,
    dir: &Path,
    downward: &Downward,
) -> Result<BTreeMap<String, Volume>> {
    let mut volumes = BTreeMap::new();
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let name = volume["name"].as_str().unwrap_or_default();
        let place = dir.join("volumes").join(name);
        let made = one(shared, pod, volume, &place, downward).await.map_err(|error| {
            Error::Invalid(format!("MountVolume.SetUp failed for volume \"{name}\" : {}", error.line()))
        })?;
        give_to_group(pod, volume, &made.path)?;
        volumes.insert(name.to_owned(), made);
    }
    Ok(volumes)
}

/// Whether a volume of the pod shows a ConfigMap or Secret.
pub(crate) fn shows(pod: &Value, (plural, namespace, name): &crate::shared::Source) -> bool {
    if objects::meta::namespace(pod) != namespace {
        return false;
    }
    let (kind, own_name) = if *plural == "secrets" { ("secret", "secretName") } else { ("configMap", "name") };
    pod["spec"]["volumes"].as_array().into_iter().flatten().any(|volume| {
        let mut projected = volume["projected"]["sources"].as_array().into_iter().flatten();
        volume[kind][own_name] == name.as_str() || projected.any(|source| source[kind]["name"] == name.as_str())
    })
}

/// Whether the pod's volumes or environment need a ConfigMap or Secret.
pub(crate) fn refers(pod: &Value, source: &crate::shared::Source) -> bool {
    let (plural, namespace, name) = source;
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    let mut containers = lists.iter().flat_map(|list| super::status::containers(pod, list));
    shows(pod, source)
        || (objects::meta::namespace(pod) == namespace
            && containers
                .any(|c| super::env::references(c).iter().any(|(kind, named)| kind == plural && named == name)))
}

/// Writes anew what shows objects that have changed. Best effort: what cannot be read stays as it was.
pub(crate) async fn refresh(shared: &Shared, pod: &Value, dir: &Path, downward: &Downward) {
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let place = dir.join("volumes").join(volume["name"].as_str().unwrap_or_default());
        match files(shared, pod, volume, downward, &place, true).await {
            Ok(Some(files)) => {
                if let Err(error) = publish(&place, &files).and_then(|()| give_to_group(pod, volume, &place)) {
                    tracing::warn!(error = error.line(), "a volume cannot be refreshed");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(error = error.line(), "a volume is not refreshed"),
        }
    }
}

async fn one(shared: &Shared, pod: &Value, volume: &Value, place: &Path, downward: &Downward) -> Result<Volume> {
    let make = |path: &Path, mode: u32| -> Result<()> {
        std::fs::create_dir_all(path).context(|| format!("make {}", path.display()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
            .context(|| format!("open up {}", path.display()))
    };
    if let Some(files) = files(shared, pod, volume, downward, place, false).await? {
        make(place, 0o755)?;
        publish(place, &files)?;
        return Ok(Volume::new(place, true));
    }
    if let Some(empty) = volume.get("emptyDir").filter(|v| v.is_object()) {
        make(place, 0o777)?;
        if empty["medium"] == "Memory" && !is_mounted(place) {
            let data = format!("mode=777,size={}", memory_size(pod, empty, shared.machine.memory_bytes));
            let flags = nix::mount::MsFlags::MS_NOSUID | nix::mount::MsFlags::MS_NODEV;
            nix::mount::mount(Some("tmpfs"), place, Some("tmpfs"), flags, Some(data.as_str()))
                .context(|| format!("mount tmpfs on {}", place.display()))?;
        }
        return Ok(Volume::new(place, false));
    }
    if let Some(host) = volume.get("hostPath").filter(|v| v.is_object()) {
        let path = PathBuf::from(host["path"].as_str().unwrap_or_default());
        host_path(&path, host["type"].as_str().unwrap_or_default())?;
        return Ok(Volume::new(path, false));
    }
    let claim = match volume["persistentVolumeClaim"]["claimName"].as_str() {
        Some(name) => Some((name.to_owned(), volume["persistentVolumeClaim"]["readOnly"] == true)),
        None => volume
            .get("ephemeral")
            .filter(|v| v.is_object())
            .map(|_| (format!("{}-{}", objects::meta::name(pod), volume["name"].as_str().unwrap_or_default()), false)),
    };
    if let Some((claim, readonly)) = claim {
        return persistent(shared, pod, &claim, readonly).await;
    }
    if let Some(image) = volume.get("image").filter(|v| v.is_object()) {
        make(place, 0o755)?;
        let image = show_image(shared, pod, image, place).await?;
        return Ok(Volume { _image: Some(image), ..Volume::new(place, true) });
    }
    let kind = volume
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .find(|key| *key != "name")
        .unwrap_or("unknown");
    if kind == "unknown" {
        make(place, 0o777)?;
        return Ok(Volume::new(place, false));
    }
    Err(Error::Invalid(format!(
        "volumes of type {kind} are not supported here; use emptyDir, hostPath, configMap, secret, projected, downwardAPI, image or a persistentVolumeClaim"
    )))
}

/// Mounts the files of an image, read-only.
async fn show_image(shared: &Shared, pod: &Value, volume: &Value, place: &Path) -> Result<Arc<LocalImage>> {
    let name = volume["reference"].as_str().unwrap_or_default();
    let policy = PullPolicy::of(&json!({ "image": name, "imagePullPolicy": volume["pullPolicy"] }));
    let credentials = super::credentials(shared, pod, name).await;
    let image = shared.images.ensure(name, policy, credentials, || {}).await?;
    if is_mounted(place) {
        return Ok(image);
    }
    // An overlay without a writable layer takes at least two others.
    let empty = place.with_file_name("..empty");
    std::fs::create_dir_all(&empty).context(|| format!("make {}", empty.display()))?;
    let layers: Vec<String> =
        image.layers.iter().chain([&empty]).map(|layer| layer.to_string_lossy().replace(':', "\\:")).collect();
    let data = format!("lowerdir={},userxattr", layers.join(":"));
    let flags = nix::mount::MsFlags::MS_RDONLY
        | nix::mount::MsFlags::MS_NOSUID
        | nix::mount::MsFlags::MS_NODEV
        | nix::mount::MsFlags::MS_NOEXEC;
    nix::mount::mount(Some("overlay"), place, Some("overlay"), flags, Some(data.as_str()))
        .context(|| format!("mount image {name} on {}", place.display()))?;
    Ok(image)
}

/// The size of a volume in memory: what it asks for, what its pod may use, what the node has, whichever is least.
fn memory_size(pod: &Value, volume: &Value, machine: u64) -> u64 {
    let bytes = |value: &Value| objects::Quantity::from_value(value).ok().map(|q| q.units().max(0) as u64);
    let own = bytes(&volume["sizeLimit"]).filter(|size| *size > 0);
    let all = ["containers", "initContainers"].iter().flat_map(|list| super::status::containers(pod, list));
    // One container without a limit may use all there is.
    let together: Option<u64> = all.map(|c| bytes(&c["resources"]["limits"]["memory"])).sum();
    let whole = bytes(&pod["spec"]["resources"]["limits"]["memory"]).or(together).filter(|size| *size > 0);
    [own, whole].into_iter().flatten().fold(machine, u64::min)
}

fn host_path(path: &Path, kind: &str) -> Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let is = |test: fn(&std::fs::FileType) -> bool| path.metadata().is_ok_and(|found| test(&found.file_type()));
    let bad = |what: &str| Err(Error::Invalid(format!("hostPath type check failed: {} is not {what}", path.display())));
    match kind {
        "DirectoryOrCreate" => std::fs::create_dir_all(path).context(|| format!("make {}", path.display())),
        "FileOrCreate" if !path.exists() => {
            std::fs::File::create(path).map(drop).context(|| format!("make {}", path.display()))
        }
        "Socket" if !is(FileTypeExt::is_socket) => bad("a socket"),
        "CharDevice" if !is(FileTypeExt::is_char_device) => bad("a character device"),
        "BlockDevice" if !is(FileTypeExt::is_block_device) => bad("a block device"),
        "Directory" if !path.is_dir() => bad("a directory"),
        "File" | "FileOrCreate" if !path.is_file() => bad("a file"),
        _ => Ok(()),
    }
}

async fn persistent(shared: &Shared, pod: &Value, claim: &str, readonly: bool) -> Result<Volume> {
    let namespace = objects::meta::namespace(pod);
    let path = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}");
    let object = shared
        .api
        .get(&path)
        .await?
        .ok_or_else(|| Error::Invalid(format!("persistentvolumeclaim \"{claim}\" not found")))?;
    let bound = object["spec"]["volumeName"].as_str().filter(|_| object["status"]["phase"] == "Bound");
    let bound = bound.ok_or_else(|| Error::Invalid(format!("persistentvolumeclaim \"{claim}\" is not bound yet")))?;
    let volume = shared
        .api
        .get(&format!("/api/v1/persistentvolumes/{bound}"))
        .await?
        .ok_or_else(|| Error::Invalid(format!("persistentvolume \"{bound}\" not found")))?;
    let spec = &volume["spec"];
    let source = spec["hostPath"]["path"].as_str().or_else(|| spec["local"]["path"].as_str());
    let source = source.ok_or_else(|| {
        Error::Invalid(format!(
            "persistentvolume \"{bound}\" is neither hostPath nor local; no other kind is supported here"
        ))
    })?;
    let local = crate::local_volumes::place(&shared.config, &volume);
    let own = local.is_some() || !source.starts_with('/');
    // Relative to the state directory, so that a provisioner need not know where that is.
    let relative = || shared.config.state_dir.join("volumes").join(source.trim_start_matches("bigben:"));
    let place = local.unwrap_or_else(|| if source.starts_with('/') { PathBuf::from(source) } else { relative() });
    if !own && let Some(kind) = spec["hostPath"]["type"].as_str() {
        host_path(&place, kind)?;
    }
    std::fs::create_dir_all(&place).context(|| format!("make {}", place.display()))?;
    if own {
        let _ = std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o777));
    }
    Ok(Volume::new(place, readonly))
}

fn mode(value: &Value, fallback: u32) -> u32 {
    value.as_u64().map_or(fallback, |mode| mode as u32 & 0o777)
}

/// The files of a volume that shows objects; `None` for other volumes. With `again`, a token still good for a while is kept.
async fn files(
    shared: &Shared,
    pod: &Value,
    volume: &Value,
    downward: &Downward,
    place: &Path,
    again: bool,
) -> Result<Option<Files>> {
    let mut files = Files::new();
    let sources: Vec<(Value, u32)> = if let Some(projected) = volume.get("projected").filter(|v| v.is_object()) {
        let fallback = mode(&projected["defaultMode"], 0o644);
        projected["sources"].as_array().into_iter().flatten().map(|source| (source.clone(), fallback)).collect()
    } else if let Some(map) = volume.get("configMap").filter(|v| v.is_object()) {
        vec![(json!({ "configMap": map }), mode(&map["defaultMode"], 0o644))]
    } else if let Some(secret) = volume.get("secret").filter(|v| v.is_object()) {
        let mut named = secret.clone();
        named["name"] = secret["secretName"].clone();
        vec![(json!({ "secret": named }), mode(&secret["defaultMode"], 0o644))]
    } else if let Some(api) = volume.get("downwardAPI").filter(|v| v.is_object()) {
        vec![(json!({ "downwardAPI": api }), mode(&api["defaultMode"], 0o644))]
    } else {
        return Ok(None);
    };
    // Only the pod's group or its one user may read a secret; where there is neither, whoever the containers run as.
    let owned = pod["spec"]["securityContext"]["fsGroup"].is_u64() || one_user(pod).is_some();
    for (index, (source, fallback)) in sources.into_iter().enumerate() {
        let private = if owned { 0o600 } else { fallback };
        for (kind, plural, what) in [("configMap", "configmaps", "configmap"), ("secret", "secrets", "secret")] {
            if let Some(reference) = source.get(kind).filter(|v| v.is_object()) {
                add_object(shared, pod, reference, plural, what, fallback, &mut files).await?;
            }
        }
        if let Some(wanted) = source.get("clusterTrustBundle").filter(|v| v.is_object()) {
            let path = wanted["path"].as_str().unwrap_or_default().to_owned();
            files.insert(path, (fallback, trust::bundle(&shared.api, wanted).await?.into_bytes()));
        }
        if let Some(wanted) = source.get("podCertificate").filter(|v| v.is_object()) {
            let kept = place.with_file_name(format!(".{}-{index}.json", volume["name"].as_str().unwrap_or_default()));
            if let Some(parent) = place.parent() {
                std::fs::create_dir_all(parent).context(|| format!("make {}", parent.display()))?;
            }
            let credential = certificates::credential(&shared.api, pod, wanted, &kept).await?;
            files.extend(credential.files(wanted).into_iter().map(|(path, text)| (path, (private, text.into_bytes()))));
        }
        for item in source["downwardAPI"]["items"].as_array().into_iter().flatten() {
            let value = match item["fieldRef"]["fieldPath"].as_str() {
                Some(path) => field(pod, path, downward)
                    .ok_or_else(|| Error::Invalid(format!("unsupported fieldPath: {path}")))?,
                None => resource(pod, &Value::Null, &item["resourceFieldRef"], downward).map_err(Error::Invalid)?,
            };
            files.insert(
                item["path"].as_str().unwrap_or_default().to_owned(),
                (mode(&item["mode"], fallback), value.into_bytes()),
            );
        }
        if let Some(token) = source.get("serviceAccountToken").filter(|v| v.is_object()) {
            let path = token["path"].as_str().unwrap_or("token").to_owned();
            let text = match again.then(|| still_good(&place.join(&path))).flatten() {
                Some(text) => text,
                None => request_token(shared, pod, token).await?,
            };
            files.insert(path, (private, text.into_bytes()));
        }
    }
    Ok(Some(files))
}

async fn add_object(
    shared: &Shared,
    pod: &Value,
    reference: &Value,
    plural: &str,
    what: &str,
    fallback: u32,
    files: &mut Files,
) -> Result<()> {
    let name = reference["name"].as_str().unwrap_or_default();
    let path = format!("/api/v1/namespaces/{}/{plural}/{name}", objects::meta::namespace(pod));
    let optional = reference["optional"] == true;
    let Some(mut object) = shared.api.get(&path).await? else {
        return if optional { Ok(()) } else { Err(Error::Invalid(format!("{what} \"{name}\" not found"))) };
    };
    if plural == "secrets" {
        object["kind"] = "Secret".into();
    }
    let content = data(&object);
    match reference["items"].as_array() {
        None => files.extend(content.into_iter().map(|(key, value)| (key, (fallback, value)))),
        Some(items) => {
            for item in items {
                let key = item["key"].as_str().unwrap_or_default();
                match content.get(key) {
                    Some(value) => drop(files.insert(
                        item["path"].as_str().unwrap_or(key).to_owned(),
                        (mode(&item["mode"], fallback), value.clone()),
                    )),
                    None if optional => {}
                    None => return Err(Error::Invalid(format!("references non-existent {what} key: {key}"))),
                }
            }
        }
    }
    Ok(())
}

async fn request_token(shared: &Shared, pod: &Value, token: &Value) -> Result<String> {
    let account = pod["spec"]["serviceAccountName"].as_str().filter(|name| !name.is_empty()).unwrap_or("default");
    let path = format!("/api/v1/namespaces/{}/serviceaccounts/{account}/token", objects::meta::namespace(pod));
    let audiences: Vec<&str> = token["audience"].as_str().filter(|a| !a.is_empty()).into_iter().collect();
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {
            "audiences": audiences,
            "expirationSeconds": token["expirationSeconds"].as_u64().unwrap_or(3607),
            "boundObjectRef": { "apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"] }
        }
    });
    let answer = shared.api.create(&path, &request).await?;
    answer["status"]["token"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::Invalid(format!("the token of service account {account} is empty")))
}

/// A token on disk with more than a fifth of its life before it.
fn still_good(path: &Path) -> Option<String> {
    use base64::Engine;
    let text = std::fs::read_to_string(path).ok()?;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    let (from, to) = (claims["iat"].as_i64()?, claims["exp"].as_i64()?);
    let now = jiff::Timestamp::now().as_second();
    (now < to - (to - from) / 5).then_some(text)
}

/// Makes `files` the content of `place`, all at once. Nothing changes when they are there already.
fn publish(place: &Path, files: &Files) -> Result<()> {
    let current = place.join("..data");
    let same = current.exists()
        && files
            .iter()
            .all(|(path, (_, content))| std::fs::read(current.join(path)).is_ok_and(|there| there == *content))
        && count(&current) == files.len();
    if same {
        return Ok(());
    }
    let version = format!("..{}", uuid::Uuid::new_v4().simple());
    let fresh = place.join(&version);
    for (path, (mode, content)) in files {
        let safe = Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !safe || path.starts_with("..") || path.is_empty() {
            return Err(Error::Invalid(format!("the path {path:?} leads out of the volume")));
        }
        let file = fresh.join(path);
        let parent = file.parent().unwrap_or(&fresh);
        std::fs::create_dir_all(parent).context(|| format!("make {}", parent.display()))?;
        std::fs::write(&file, content).context(|| format!("write {}", file.display()))?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(*mode))
            .context(|| format!("set the mode of {}", file.display()))?;
    }
    std::fs::create_dir_all(&fresh).context(|| format!("make {}", fresh.display()))?;
    let old = std::fs::read_link(&current).ok();
    let next = place.join("..data_tmp");
    let _ = std::fs::remove_file(&next);
    symlink(&version, &next).context(|| format!("link {}", next.display()))?;
    std::fs::rename(&next, &current).context(|| format!("switch {}", current.display()))?;
    let tops: BTreeSet<&str> = files.keys().map(|path| path.split('/').next().unwrap_or(path)).collect();
    for top in &tops {
        let link = place.join(top);
        if link.symlink_metadata().is_err() {
            symlink(Path::new("..data").join(top), &link).context(|| format!("link {}", link.display()))?;
        }
    }
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with("..") && !tops.contains(&*name.to_string_lossy()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    if let Some(old) = old {
        let _ = std::fs::remove_dir_all(place.join(old));
    }
    Ok(())
}

fn count(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
}

fn is_mounted(path: &Path) -> bool {
    let text = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    text.lines().any(|line| line.split(' ').nth(1) == path.to_str())
}

/// The user that all containers of a pod run as, when the pod says so.
fn one_user(pod: &Value) -> Option<u32> {
    let whole = &pod["spec"]["securityContext"]["runAsUser"];
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    let mut users = lists.iter().flat_map(|list| super::status::containers(pod, list)).map(|container| {
        let own = &container["securityContext"]["runAsUser"];
        if own.is_null() { whole.as_u64() } else { own.as_u64() }
    });
    let first = users.next()??;
    users.all(|user| user == Some(first)).then_some(first as u32)
}

/// `fsGroup`: the volume belongs to that group, and tokens to the user. Only where there are several, which is as root.
fn give_to_group(pod: &Value, volume: &Value, path: &Path) -> Result<()> {
    let context = &pod["spec"]["securityContext"];
    let shows = ["configMap", "secret", "downwardAPI", "projected"].iter().any(|kind| volume[kind].is_object());
    if let (Some(user), true) = (one_user(pod), volume["projected"].is_object()) {
        for source in volume["projected"]["sources"].as_array().into_iter().flatten() {
            let token = source["serviceAccountToken"]
                .as_object()
                .map(|token| token.get("path").and_then(Value::as_str).unwrap_or("token").to_owned());
            for secret in token.into_iter().chain(certificates::paths(&source["podCertificate"])) {
                let _ = std::os::unix::fs::chown(path.join(secret), Some(user), None);
            }
        }
    }
    let Some(group) = context["fsGroup"].as_u64() else { return Ok(()) };
    if volume.get("hostPath").is_some() || volume.get("image").is_some() {
        return Ok(());
    }
    let root = || path.symlink_metadata();
    if context["fsGroupChangePolicy"] == "OnRootMismatch" && !shows && root().is_ok_and(|root| is_given(&root, group)) {
        return Ok(());
    }
    // What shows objects can only be read.
    let mask = if shows { 0o440 } else { 0o660 };
    walk(path, group as u32, mask).context(|| format!("give {} to group {group}", path.display()))
}

fn is_given(root: &std::fs::Metadata, group: u64) -> bool {
    use std::os::unix::fs::MetadataExt;
    u64::from(root.gid()) == group && root.mode() & 0o2770 == 0o2770
}

fn walk(path: &Path, group: u32, mask: u32) -> std::io::Result<()> {
    let kind = path.symlink_metadata()?;
    if std::os::unix::fs::lchown(path, None, Some(group)).is_err() || kind.is_symlink() {
        return Ok(());
    }
    let extra = if kind.is_dir() { mask | 0o2110 } else { mask };
    let mode = kind.permissions().mode() & 0o7777 | extra;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    if kind.is_dir() {
        for entry in std::fs::read_dir(path)?.flatten() {
            walk(&entry.path(), group, mask)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_memory() {
        let limit = |memory: &str| json!({"resources": {"limits": {"memory": memory}}});
        for (pod, volume, expected) in [
            (json!({}), json!({}), 1 << 30),
            (json!({}), json!({"sizeLimit": "1Mi"}), 1 << 20),
            (json!({"spec": {"containers": [limit("1Mi"), limit("2Mi")]}}), json!({"sizeLimit": "1Gi"}), 3 << 20),
            (json!({"spec": {"containers": [limit("1Mi"), {}]}}), json!({}), 1 << 30),
        ] {
            assert_eq!(memory_size(&pod, &volume, 1 << 30), expected, "{pod} {volume}");
        }
    }

    #[test]
    fn users_of_tokens() {
        let pod = |own: Value| json!({"spec": {"securityContext": {"runAsUser": 5}, "containers": [{}, {"securityContext": own}]}});
        assert_eq!(one_user(&pod(json!({}))), Some(5));
        assert_eq!(one_user(&pod(json!({"runAsUser": 6}))), None);
        assert_eq!(one_user(&json!({"spec": {"containers": [{}]}})), None);
    }

    #[test]
    fn files_change_all_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = |entries: &[(&str, &str)]| {
            entries
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (0o644, text.as_bytes().to_vec())))
                .collect::<Files>()
        };
        publish(dir.path(), &files(&[("a", "1"), ("d/b", "2")])).expect("published");
        let first = std::fs::read_link(dir.path().join("..data")).expect("a link");
        assert_eq!(std::fs::read_to_string(dir.path().join("d/b")).expect("reads"), "2");
        publish(dir.path(), &files(&[("a", "1"), ("d/b", "2")])).expect("published");
        assert_eq!(std::fs::read_link(dir.path().join("..data")).expect("a link"), first);
        publish(dir.path(), &files(&[("a", "3")])).expect("published");
        assert_eq!(std::fs::read_to_string(dir.path().join("a")).expect("reads"), "3");
        assert!(!dir.path().join("d").exists() && !dir.path().join(first).exists());
        assert!(publish(dir.path(), &files(&[("../evil", "x")])).is_err());
    }
}
