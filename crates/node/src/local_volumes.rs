//! Volumes on the machine's own disk: where a PersistentVolume of the local class really is, and the end of its data.
//!
//! The class names a directory that nodes have elsewhere; here each volume is a directory of `<state>/volumes`. A note beside it
//! (`.delete/<name>`) says that its data goes with the PersistentVolume, so that a volume deleted while nothing ran is removed
//! with the next start, and one that is to be kept is not.

use crate::api::{Api, Change};
use crate::config::Config;
use serde_json::Value;
use std::path::{Component, Path, PathBuf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const NOTES: &str = ".delete";

/// The directory's name of a local volume: `None` for other volumes.
fn name_of(volume: &Value, class_directory: &Path) -> Option<String> {
    let path = volume["spec"]["hostPath"]["path"].as_str().or_else(|| volume["spec"]["local"]["path"].as_str())?;
    let mut rest = Path::new(path).strip_prefix(class_directory).ok()?.components();
    match (rest.next(), rest.next()) {
        (Some(Component::Normal(name)), None) => name.to_str().filter(|name| !name.starts_with('.')).map(str::to_owned),
        _ => None,
    }
}

/// Where a local volume is; `None` for other volumes.
pub(crate) fn place(config: &Config, volume: &Value) -> Option<PathBuf> {
    name_of(volume, &config.local_volumes).map(|name| config.state_dir.join("volumes").join(name))
}

/// Whether a volume's data goes with it.
fn goes(volume: &Value) -> bool {
    volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
}

struct Keeper<'a> {
    root: PathBuf,
    config: &'a Config,
}

impl Keeper<'_> {
    fn note(&self, volume: &Value) {
        let Some(name) = name_of(volume, &self.config.local_volumes) else { return };
        let note = self.root.join(NOTES).join(name);
        let noted = if goes(volume) {
            std::fs::create_dir_all(self.root.join(NOTES)).and_then(|()| std::fs::write(&note, ""))
        } else {
            std::fs::remove_file(&note).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })
        };
        if let Err(error) = noted {
            tracing::warn!(note = %note.display(), %error, "a local volume cannot be noted");
        }
    }

    fn remove(&self, name: &str) {
        let place = self.root.join(name);
        if place.exists()
            && let Err(error) = oci::layer::remove_tree(&place)
        {
            tracing::warn!(place = %place.display(), %error, "the data of a local volume cannot be removed");
            return;
        }
        let _ = std::fs::remove_file(self.root.join(NOTES).join(name));
    }

    fn hear(&self, change: Change) {
        match change {
            Change::Reset(all) => {
                all.iter().for_each(|volume| self.note(volume));
                let there: Vec<String> =
                    all.iter().filter_map(|volume| name_of(volume, &self.config.local_volumes)).collect();
                for entry in std::fs::read_dir(self.root.join(NOTES)).into_iter().flatten().flatten() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    if !there.contains(&name) {
                        self.remove(&name);
                    }
                }
            }
            Change::Applied(volume) => self.note(&volume),
            Change::Deleted(volume) => {
                if let Some(name) = name_of(&volume, &self.config.local_volumes).filter(|_| goes(&volume)) {
                    self.remove(&name);
                }
            }
        }
    }
}

/// Follows the PersistentVolumes until cancelled.
pub(crate) async fn run(config: &Config, api: &Api, cancel: CancellationToken) {
    let (sink, mut changes) = mpsc::channel(64);
    let work = async {
        while let Some(change) = changes.recv().await {
            let keeper = Keeper { root: config.state_dir.join("volumes"), config };
            // Removing a large volume takes its time, which this runtime's other work does not wait for.
            tokio::task::block_in_place(|| keeper.hear(change));
        }
    };
    tokio::join!(api.follow("/api/v1/persistentvolumes", "", sink, cancel), work);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn volumes_of_the_class_only() {
        let class = Path::new("/var/local-path-provisioner");
        for (spec, expected) in [
            (json!({"hostPath": {"path": "/var/local-path-provisioner/pvc-1_ns_data"}}), Some("pvc-1_ns_data")),
            (json!({"local": {"path": "/var/local-path-provisioner/x"}}), Some("x")),
            (json!({"hostPath": {"path": "/var/local-path-provisioner/a/b"}}), None),
            (json!({"hostPath": {"path": "/var/local-path-provisioner/../etc"}}), None),
            (json!({"hostPath": {"path": "/var/local-path-provisioner/.delete"}}), None),
            (json!({"hostPath": {"path": "/srv"}}), None),
            (json!({"nfs": {}}), None),
        ] {
            assert_eq!(name_of(&json!({ "spec": spec }), class).as_deref(), expected, "{spec}");
        }
    }

    #[test]
    fn data_goes_with_its_volume_if_it_is_to() {
        let dir = tempfile::tempdir().expect("a directory");
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, std::io::Error>(std::io::ErrorKind::NotConnected.into())
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let _entered = runtime.enter();
        let config = Config::new(Vec::new(), dir.path().into(), kube::Client::new(service, "default"));
        let keeper = Keeper { root: dir.path().join("volumes"), config: &config };
        let volume = |name: &str, policy: &str| json!({"spec": {"hostPath": {"path": format!("/var/local-path-provisioner/{name}")}, "persistentVolumeReclaimPolicy": policy}});
        let there = |name: &str| dir.path().join("volumes").join(name).exists();
        for name in ["gone", "kept", "later"] {
            std::fs::create_dir_all(dir.path().join("volumes").join(name)).expect("made");
        }
        keeper.hear(Change::Reset(vec![volume("gone", "Delete"), volume("kept", "Retain"), volume("later", "Delete")]));
        keeper.hear(Change::Deleted(volume("gone", "Delete")));
        keeper.hear(Change::Deleted(volume("kept", "Retain")));
        assert!(!there("gone") && there("kept") && there("later"));
        keeper.hear(Change::Reset(Vec::new()));
        assert!(there("kept") && !there("later"));
    }
}
