//! `ArtifactService`: artifacts of the job's own run.

use serde_json::{Value as Json, json};

use super::twirp::{Call, Error, Method};
use super::uploads::{self, Target};
use super::wire::{Field, Kind};
use crate::builtin::artifact::{Meta, StoreError, valid_name};
use crate::model::{iso, now_ms};

const ARTIFACT: &[Field] = &[
    Field(1, "workflow_run_backend_id", Kind::Text),
    Field(2, "workflow_job_run_backend_id", Kind::Text),
    Field(3, "database_id", Kind::Long),
    Field(4, "name", Kind::Text),
    Field(5, "size", Kind::Long),
    Field(6, "created_at", Kind::Time),
    Field(7, "digest", Kind::TextValue),
];
/// Run, job and name: what names an artifact.
const NAMED: &[Field] = &[
    Field(1, "workflow_run_backend_id", Kind::Text),
    Field(2, "workflow_job_run_backend_id", Kind::Text),
    Field(3, "name", Kind::Text),
];
const DONE: &[Field] = &[Field(1, "ok", Kind::Bool), Field(2, "artifact_id", Kind::Long)];

pub(super) const METHODS: &[Method] = &[
    Method {
        name: "CreateArtifact",
        takes: &[
            Field(1, "workflow_run_backend_id", Kind::Text),
            Field(2, "workflow_job_run_backend_id", Kind::Text),
            Field(3, "name", Kind::Text),
            Field(4, "expires_at", Kind::Time),
            Field(5, "version", Kind::Int),
            Field(6, "mime_type", Kind::TextValue),
        ],
        gives: &[Field(1, "ok", Kind::Bool), Field(2, "signed_upload_url", Kind::Text)],
        run: create,
    },
    Method {
        name: "FinalizeArtifact",
        takes: &[
            Field(1, "workflow_run_backend_id", Kind::Text),
            Field(2, "workflow_job_run_backend_id", Kind::Text),
            Field(3, "name", Kind::Text),
            Field(4, "size", Kind::Long),
            Field(5, "hash", Kind::TextValue),
        ],
        gives: DONE,
        run: finalize,
    },
    Method {
        name: "ListArtifacts",
        takes: &[
            Field(1, "workflow_run_backend_id", Kind::Text),
            Field(2, "workflow_job_run_backend_id", Kind::Text),
            Field(3, "name_filter", Kind::TextValue),
            Field(4, "id_filter", Kind::LongValue),
        ],
        gives: &[Field(1, "artifacts", Kind::Messages(ARTIFACT))],
        run: list,
    },
    Method {
        name: "GetSignedArtifactURL",
        takes: NAMED,
        gives: &[Field(1, "signed_url", Kind::Text)],
        run: signed_url,
    },
    Method { name: "DeleteArtifact", takes: NAMED, gives: DONE, run: delete },
];

/// The run that a call names must be its token's own.
fn own_run(call: &Call<'_>) -> Result<(), Error> {
    if call.required("workflow_run_backend_id")? == call.grant.run_backend_id() {
        return Ok(());
    }
    Err(Error::denied("the token is that of another run; use the REST API with a token that may read actions"))
}

fn target(call: &Call<'_>, name: &str) -> Target {
    Target::Artifact { run: call.grant.run, attempt: call.grant.attempt, name: name.to_owned() }
}

fn found(call: &Call<'_>) -> Result<Meta, Error> {
    let name = call.required("name")?;
    let all = call.services.artifacts.list(call.grant.run);
    let found = all.into_iter().map(|(_, meta)| meta).find(|meta| meta.name == name);
    found.ok_or_else(|| Error::missing(format!("artifact not found: {name}")))
}

fn refused(error: StoreError) -> Error {
    match error {
        StoreError::Taken(_) => Error::exists(error.to_string()),
        StoreError::Io { .. } => Error::internal("the artifact could not be stored", &error),
    }
}

fn create(call: &Call<'_>) -> Result<Json, Error> {
    own_run(call)?;
    let (grant, name) = (call.grant, call.required("name")?);
    valid_name(name).map_err(Error::invalid)?;
    let store = &call.services.artifacts;
    store.vacant(grant.run, grant.attempt, name).map_err(refused)?;
    let days = call.text("expires_at").parse::<jiff::Timestamp>().ok().map_or(90, |at| {
        let left = (at.as_millisecond() - now_ms()).max(0);
        u32::try_from((left + 86_399_999) / 86_400_000).unwrap_or(90).clamp(1, 400)
    });
    let mime = match call.text("mime_type") {
        "" => "application/zip",
        mime => mime,
    };
    let begun = call.services.protocols.uploads.begin(grant.job, target(call, name), mime, days);
    let upload = begun
        .map_err(|error| Error::internal("the upload could not be started", &error))?
        .ok_or_else(|| Error::exists(format!("another job of the run is uploading an artifact of the name {name}")))?;
    let url = super::blob::url(call.services, call.origin, 'w', "upload", &upload.id.to_string(), "artifact");
    Ok(json!({"ok": true, "signed_upload_url": url}))
}

fn finalize(call: &Call<'_>) -> Result<Json, Error> {
    own_run(call)?;
    let (grant, name) = (call.grant, call.required("name")?);
    let upload = call
        .services
        .protocols
        .uploads
        .take(grant.job, &target(call, name))
        .ok_or_else(|| Error::missing(format!("no upload of the artifact {name} was started by this job")))?;
    let result = (|| {
        let (digest, size) = uploads::digest(&upload.content())
            .map_err(|_| Error::invalid(format!("nothing was uploaded for the artifact {name}")))?;
        let hash = call.text("hash");
        if !hash.is_empty() && hash != format!("sha256:{digest}") {
            return Err(Error::invalid(format!("the upload of {name} has the digest sha256:{digest}, not {hash}")));
        }
        if call.number("size").is_some_and(|wanted| wanted.cast_unsigned() != size) {
            return Err(Error::invalid(format!("the upload of {name} has {size} bytes, not {}", call.text("size"))));
        }
        let meta = Meta {
            name: name.to_owned(),
            run: grant.run,
            attempt: grant.attempt,
            size,
            digest: format!("sha256:{digest}"),
            retention_days: upload.days,
            archive: true,
            mime: Some(upload.mime.clone()).filter(|mime| mime != "application/zip"),
            ..Meta::new()
        };
        call.services.artifacts.adopt(meta, &upload.content()).map_err(refused)
    })();
    crate::job::workspace::remove_all(&upload.dir);
    Ok(json!({"ok": true, "artifact_id": result?.id.to_string()}))
}

fn list(call: &Call<'_>) -> Result<Json, Error> {
    own_run(call)?;
    let (name, id) = (call.text("name_filter"), call.number("id_filter"));
    let all = call.services.artifacts.list(call.grant.run);
    let chosen = all
        .iter()
        .map(|(_, meta)| meta)
        .filter(|meta| (name.is_empty() || meta.name == name) && id.is_none_or(|id| meta.id == id));
    let list: Vec<Json> = chosen
        .map(|meta| {
            json!({"workflow_run_backend_id": call.grant.run_backend_id(), "workflow_job_run_backend_id": call.grant.job_backend_id(),
                "database_id": meta.id.to_string(), "name": meta.name, "size": meta.size.to_string(), "created_at": iso(meta.created_ms),
                "digest": meta.digest})
        })
        .collect();
    Ok(json!({"artifacts": list}))
}

fn signed_url(call: &Call<'_>) -> Result<Json, Error> {
    own_run(call)?;
    Ok(json!({"signed_url": super::artifact_url(call.services, call.origin, &found(call)?)}))
}

fn delete(call: &Call<'_>) -> Result<Json, Error> {
    own_run(call)?;
    let meta = found(call)?;
    call.services.artifacts.delete(meta.id);
    Ok(json!({"ok": true, "artifact_id": meta.id.to_string()}))
}
