//! `CacheService`, version 2 of the cache protocol.

use serde_json::{Value as Json, json};

use super::Grant;
use super::twirp::{Call, Error, Method};
use super::uploads::{Target, Upload};
use super::wire::{Field, Kind};
use crate::builtin::cache::Meta;
use crate::job::Services;

pub(super) const METHODS: &[Method] = &[
    Method {
        name: "CreateCacheEntry",
        takes: &[Field(1, "metadata", Kind::Ignored), Field(2, "key", Kind::Text), Field(3, "version", Kind::Text)],
        gives: &[
            Field(1, "ok", Kind::Bool),
            Field(2, "signed_upload_url", Kind::Text),
            Field(3, "message", Kind::Text),
        ],
        run: create,
    },
    Method {
        name: "FinalizeCacheEntryUpload",
        takes: &[
            Field(1, "metadata", Kind::Ignored),
            Field(2, "key", Kind::Text),
            Field(3, "size_bytes", Kind::Long),
            Field(4, "version", Kind::Text),
        ],
        gives: &[Field(1, "ok", Kind::Bool), Field(2, "entry_id", Kind::Long), Field(3, "message", Kind::Text)],
        run: finalize,
    },
    Method {
        name: "GetCacheEntryDownloadURL",
        takes: &[
            Field(1, "metadata", Kind::Ignored),
            Field(2, "key", Kind::Text),
            Field(3, "restore_keys", Kind::Texts),
            Field(4, "version", Kind::Text),
        ],
        gives: &[
            Field(1, "ok", Kind::Bool),
            Field(2, "signed_download_url", Kind::Text),
            Field(3, "matched_key", Kind::Text),
        ],
        run: find,
    },
];

/// Why a cache entry cannot be made.
pub(super) enum Refusal {
    /// The key cannot be.
    Invalid(String),
    /// The key is taken.
    Taken(String),
    /// It could not be stored.
    Io(std::io::Error),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(message) => Error::invalid(message),
            Refusal::Taken(message) => Error::exists(message),
            Refusal::Io(error) => Error::internal("the cache could not be stored", &error),
        }
    }
}

fn target(grant: &Grant, key: &str, version: &str) -> Target {
    Target::Cache {
        repository: grant.repository.clone(),
        key: key.to_owned(),
        version: version.to_owned(),
        scope: grant.scopes.first().cloned().unwrap_or_default(),
    }
}

/// Starts an entry in the job's own scope.
pub(super) fn reserve(services: &Services, grant: &Grant, key: &str, version: &str) -> Result<Upload, Refusal> {
    if key.is_empty() || key.len() > 512 || key.contains(',') {
        return Err(Refusal::Invalid(format!("the key '{key}' must have 1 to 512 characters and no commas")));
    }
    if version.is_empty() || version.len() > 512 {
        return Err(Refusal::Invalid("the version must have 1 to 512 characters".to_owned()));
    }
    let scope = grant.scopes.first().map(String::as_str).unwrap_or_default();
    let taken = || Refusal::Taken(format!("cache entry with the same key, version, and scope already exists: {key}"));
    if services.cache.taken(&grant.repository, key, version, scope) {
        return Err(taken());
    }
    let begun = services.protocols.uploads.begin(grant.job, target(grant, key, version), "application/octet-stream", 0);
    begun.map_err(Refusal::Io)?.ok_or_else(taken)
}

/// Ends an entry.
pub(super) fn finish(services: &Services, upload: &Upload, size: Option<i64>) -> Result<Meta, Refusal> {
    let result = (|| {
        let Target::Cache { repository, key, version, scope } = &upload.target else {
            return Err(Refusal::Invalid("the upload is not of a cache".to_owned()));
        };
        let content = upload.content();
        let length = content
            .metadata()
            .map_err(|_| Refusal::Invalid(format!("nothing was uploaded for the cache {key}")))?
            .len();
        if let Some(size) = size.filter(|size| size.cast_unsigned() != length) {
            return Err(Refusal::Invalid(format!("the upload of {key} has {length} bytes, not {size}")));
        }
        services
            .cache
            .adopt(repository, key, version, scope, &content)
            .map_err(Refusal::Io)?
            .ok_or_else(|| Refusal::Taken(format!("another job was first to save the cache {key}")))
    })();
    crate::job::workspace::remove_all(&upload.dir);
    result
}

/// The entry that serves, with the URL of its content.
pub(super) fn lookup(
    services: &Services,
    grant: &Grant,
    origin: &str,
    keys: &[String],
    version: &str,
) -> Option<(Meta, String)> {
    let (key, prefixes) = keys.split_first()?;
    let (_, meta) = services.cache.find(&grant.repository, key, prefixes, version, &grant.scopes)?;
    let url =
        super::blob::url(services, origin, 'r', "cache", &services.cache.address(&grant.repository, &meta), "archive");
    Some((meta, url))
}

fn create(call: &Call<'_>) -> Result<Json, Error> {
    let upload = reserve(call.services, call.grant, call.required("key")?, call.required("version")?)?;
    let url = super::blob::url(call.services, call.origin, 'w', "upload", &upload.id.to_string(), "cache");
    Ok(json!({"ok": true, "signed_upload_url": url}))
}

fn finalize(call: &Call<'_>) -> Result<Json, Error> {
    let (key, version) = (call.required("key")?, call.required("version")?);
    let upload = call
        .services
        .protocols
        .uploads
        .take(call.grant.job, &target(call.grant, key, version))
        .ok_or_else(|| Error::missing(format!("no upload of the cache {key} was started by this job")))?;
    let meta = finish(call.services, &upload, call.number("size_bytes"))?;
    Ok(json!({"ok": true, "entry_id": meta.id().to_string()}))
}

fn find(call: &Call<'_>) -> Result<Json, Error> {
    let mut keys = vec![call.required("key")?.to_owned()];
    keys.extend(call.texts("restore_keys").into_iter().filter(|key| !key.is_empty()));
    Ok(match lookup(call.services, call.grant, call.origin, &keys, call.required("version")?) {
        Some((meta, url)) => json!({"ok": true, "signed_download_url": url, "matched_key": meta.key}),
        None => json!({"ok": false, "signed_download_url": "", "matched_key": ""}),
    })
}
