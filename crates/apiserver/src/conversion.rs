//! Custom resources of several versions: objects as they are read and written, whatever version they are stored in.
//!
//! What is stored was in order when it was written. Where the definition changed since, reading brings it into the form of
//! now: unknown fields go, defaults are filled in, and the version changes, by name only or by asking a conversion webhook.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use objects::{Status, meta};
use serde_json::{Value, json};

use crate::Api;
use crate::kinds::{Kind, Webhook, convert, custom};
use crate::store::Stored;

/// How long a webhook may take.
const TIME: Duration = Duration::from_secs(30);
/// How many converted objects are kept.
const KEPT: usize = 2048;

type Id = (Arc<str>, Box<str>, u64, u64, String);

/// What webhooks converted, so that watchers of one version do not all ask.
#[derive(Debug, Default)]
pub(crate) struct Converted {
    kept: Mutex<HashMap<Id, Value>>,
}

impl Converted {
    fn get(&self, id: &Id) -> Option<Value> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn put(&self, id: Id, value: Value) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(id, value);
    }
}

fn id(kind: &Kind, stored: &Stored, api_version: &str) -> Id {
    (Arc::clone(&kind.table), stored.key.clone(), stored.revision, kind.since, api_version.to_owned())
}

fn version_of(object: &Value) -> &str {
    let api_version = object["apiVersion"].as_str().unwrap_or("");
    api_version.rsplit('/').next().unwrap_or("")
}

/// Brings a custom object into the form of its own version.
fn refresh(kind: &Kind, object: &mut Value) {
    if let (true, Some(schema)) = (kind.custom, kind.schema(version_of(object))) {
        custom::decode(object, schema);
        custom::default(object, schema);
    }
}

impl Api {
    /// A stored object in the version that objects of its kind are stored in now.
    pub(crate) async fn load(&self, kind: &Kind, stored: &Stored) -> Result<Value, Status> {
        self.read(kind, stored, &kind.storage_api_version()).await
    }

    /// A stored object in a version.
    pub(crate) async fn read(&self, kind: &Kind, stored: &Stored, api_version: &str) -> Result<Value, Status> {
        if kind.reads_as_stored(stored, api_version) {
            return Ok(stored.value());
        }
        let mut all = self.read_slowly(kind, &[stored], api_version).await?;
        Ok(all.pop().unwrap_or_default())
    }

    /// The JSON of a stored object in a version.
    pub(crate) async fn read_bytes(&self, kind: &Kind, stored: &Stored, api_version: &str) -> Result<Bytes, Status> {
        if kind.reads_as_stored(stored, api_version) {
            return Ok(stored.data.clone());
        }
        Ok(self.read(kind, stored, api_version).await?.to_string().into())
    }

    /// Stored objects in a version.
    pub(crate) async fn read_all(
        &self,
        kind: &Kind,
        stored: &[Arc<Stored>],
        api_version: &str,
    ) -> Result<Vec<Value>, Status> {
        let stored: Vec<&Stored> = stored.iter().map(|s| &**s).collect();
        self.read_slowly(kind, &stored, api_version).await
    }

    async fn read_slowly(&self, kind: &Kind, stored: &[&Stored], api_version: &str) -> Result<Vec<Value>, Status> {
        let mut out = Vec::with_capacity(stored.len());
        let mut asked = Vec::new();
        for (i, stored) in stored.iter().enumerate() {
            let mut object = stored.value();
            if !kind.reads_as_stored(stored, api_version) {
                refresh(kind, &mut object);
                if kind.webhook.is_some() && object["apiVersion"] != *api_version {
                    match self.converted.get(&id(kind, stored, api_version)) {
                        Some(known) => object = known,
                        None => asked.push(i),
                    }
                } else {
                    object = self.renamed(kind, object, api_version);
                }
            }
            out.push(object);
        }
        if let (Some(webhook), false) = (&kind.webhook, asked.is_empty()) {
            let objects = asked.iter().map(|i| std::mem::take(&mut out[*i])).collect();
            for (i, object) in asked.into_iter().zip(self.ask_to_convert(kind, webhook, objects, api_version).await?) {
                self.converted.put(id(kind, stored[i], api_version), object.clone());
                out[i] = object;
            }
        }
        Ok(out)
    }

    /// An object in another version of its kind.
    pub(crate) async fn to_version(&self, kind: &Kind, object: Value, api_version: &str) -> Result<Value, Status> {
        if object.is_null() || object["apiVersion"] == *api_version {
            return Ok(object);
        }
        match &kind.webhook {
            Some(webhook) => {
                let mut all = self.ask_to_convert(kind, webhook, vec![object], api_version).await?;
                Ok(all.pop().unwrap_or_default())
            }
            None => Ok(self.renamed(kind, object, api_version)),
        }
    }

    /// An object in the version that is stored.
    pub(crate) async fn to_storage(&self, kind: &Kind, object: &mut Value) -> Result<(), Status> {
        let wanted = kind.storage_api_version();
        if object["apiVersion"] != *wanted {
            *object = self.to_version(kind, object.take(), &wanted).await?;
        }
        Ok(())
    }

    fn renamed(&self, kind: &Kind, mut object: Value, api_version: &str) -> Value {
        if object["apiVersion"] != *api_version {
            convert(&mut object, api_version);
            refresh(kind, &mut object);
        }
        object
    }

    async fn ask_to_convert(
        &self,
        kind: &Kind,
        webhook: &Webhook,
        objects: Vec<Value>,
        api_version: &str,
    ) -> Result<Vec<Value>, Status> {
        let failed = |why: String| {
            let gvk = format!("{}, Kind={}", kind.storage_api_version(), kind.kind);
            Status::internal_error(format!("conversion webhook for {gvk} failed: {why}"))
        };
        let review_version = webhook.review_version();
        let uid = uuid::Uuid::new_v4().to_string();
        let review = json!({
            "kind": "ConversionReview", "apiVersion": format!("apiextensions.k8s.io/{review_version}"),
            "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": objects},
        });
        let asked = crate::admission::webhook::post(self, &webhook.client, &review, TIME).await;
        let answer = asked.map_err(|e| failed(e.to_string()))?;
        let mut response = answer.get("response").cloned().unwrap_or_default();
        if response["uid"] != *uid {
            return Err(failed("the answer is not for the question: expected response.uid of the request".into()));
        }
        if response.pointer("/result/status") != Some(&json!("Success")) {
            let why = response.pointer("/result/message").and_then(Value::as_str).unwrap_or("without a reason");
            return Err(failed(why.to_owned()));
        }
        let Value::Array(mut converted) = response["convertedObjects"].take() else {
            return Err(failed("response.convertedObjects is not a list".into()));
        };
        if converted.len() != objects.len() {
            let (have, want) = (converted.len(), objects.len());
            return Err(failed(format!("returned {have} objects, expected {want}")));
        }
        for (new, old) in converted.iter_mut().zip(&objects) {
            if new["apiVersion"] != *api_version || new["kind"] != old["kind"] {
                let have = format!("{}, Kind={}", version_text(new), new["kind"].as_str().unwrap_or(""));
                return Err(failed(format!("returned invalid converted object: {have}, expected {api_version}")));
            }
            if ["name", "namespace", "uid"].iter().any(|f| meta::text(new, f) != meta::text(old, f)) {
                return Err(failed("returned an object of another identity".into()));
            }
            keep_metadata(new, old);
            refresh(kind, new);
        }
        Ok(converted)
    }
}

fn version_text(object: &Value) -> &str {
    object["apiVersion"].as_str().unwrap_or("")
}

/// Of metadata, a conversion changes labels and annotations only.
fn keep_metadata(new: &mut Value, old: &Value) {
    let mut metadata = old["metadata"].clone();
    for field in ["labels", "annotations"] {
        match new.pointer(&format!("/metadata/{field}")) {
            Some(value) if value.is_object() => metadata[field] = value.clone(),
            _ => {
                if let Some(map) = metadata.as_object_mut() {
                    map.remove(field);
                }
            }
        }
    }
    new["metadata"] = metadata;
}
