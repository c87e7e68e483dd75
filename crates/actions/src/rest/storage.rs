//! Artifacts and caches.

use super::*;

pub(super) fn artifact_json(meta: &Meta, run: Option<&Run>, urls: &Urls, repository: &str) -> Json {
    let url = format!("{}/repos/{repository}/actions/artifacts/{}", urls.api, meta.id);
    let expires = meta.created_ms + i64::from(meta.retention_days) * 86_400_000;
    json!({"id": meta.id, "node_id": format!("A_{}", meta.id), "name": meta.name, "size_in_bytes": meta.size, "url": url, "archive_download_url": format!("{url}/zip"),
        "expired": false, "digest": meta.digest, "created_at": iso(meta.created_ms), "updated_at": iso(meta.created_ms), "expires_at": iso(expires),
        "workflow_run": run.map(|run| json!({"id": run.id, "head_branch": run.head_branch, "head_sha": run.head_sha}))})
}

pub(super) async fn run_artifacts(State(engine): State<Engine>, Path(params): Params, Query(query): Queries) -> Answer {
    let run = run_of(&engine, &params).await?;
    let urls = urls(&engine);
    let list = engine
        .artifacts()
        .list(run.id)
        .iter()
        .filter(|(_, meta)| query.get("name").is_none_or(|name| *name == meta.name))
        .map(|(_, meta)| artifact_json(meta, Some(&run), &urls, &run.repository))
        .collect();
    Ok(page(list, &query, "artifacts"))
}

pub(super) async fn all_artifacts(State(engine): State<Engine>, Path(params): Params, Query(query): Queries) -> Answer {
    let (name, urls) = (repository(&params), urls(&engine));
    let mut list = Vec::new();
    for run in engine.runs(Some(&name), 1000).await? {
        list.extend(
            engine
                .artifacts()
                .list(run.id)
                .iter()
                .filter(|(_, meta)| query.get("name").is_none_or(|name| *name == meta.name))
                .map(|(_, meta)| artifact_json(meta, Some(&run), &urls, &name)),
        );
    }
    Ok(page(list, &query, "artifacts"))
}

pub(super) async fn artifact_of(
    engine: &Engine,
    params: &HashMap<String, String>,
) -> Result<(std::path::PathBuf, Meta, Run), Problem> {
    let (files, meta) = engine.artifacts().by_id(number(params, "id")?).ok_or_else(missing)?;
    let run = engine.run(meta.run).await?;
    if run.repository.eq_ignore_ascii_case(&repository(params)) { Ok((files, meta, run)) } else { Err(missing()) }
}

pub(super) async fn get_artifact(State(engine): State<Engine>, Path(params): Params) -> Answer {
    let (_, meta, run) = artifact_of(&engine, &params).await?;
    Ok(axum::Json(artifact_json(&meta, Some(&run), &urls(&engine), &run.repository)))
}

pub(super) async fn delete_artifact(State(engine): State<Engine>, Path(params): Params) -> Result<StatusCode, Problem> {
    let (_, meta, _) = artifact_of(&engine, &params).await?;
    engine.artifacts().delete(meta.id);
    Ok(StatusCode::NO_CONTENT)
}

/// GitHub answers with the place of the archive, which some clients insist on; where the services are not served, with the archive.
pub(super) async fn artifact_zip(
    State(engine): State<Engine>,
    Path(params): Params,
    headers: axum::http::HeaderMap,
) -> Result<Response, Problem> {
    let (files, meta, _) = artifact_of(&engine, &params).await?;
    let services = engine.inner().services.clone();
    if services.config.services_url.is_some() {
        let origin = crate::services::origin(&services, &headers);
        let url = crate::services::artifact_url(&services, &origin, &meta);
        return Ok((StatusCode::FOUND, [(header::LOCATION, url)]).into_response());
    }
    let kind = meta.mime.clone().unwrap_or_else(|| "application/zip".to_owned());
    let path = tokio::task::spawn_blocking(move || services.artifacts.content(&files, &meta)).await;
    let path = path.map_err(|_| Problem::from(Error::Stopped))?;
    let file = async { tokio::fs::File::open(path?).await }.await;
    let file = file.map_err(|error| Problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(tokio_util::io::ReaderStream::new(file))).into_response())
}

pub(super) fn cache_json(meta: &crate::builtin::cache::Meta) -> Json {
    json!({"id": meta.id(), "ref": meta.scope, "key": meta.key, "version": meta.version,
        "last_accessed_at": iso(meta.created_ms), "created_at": iso(meta.created_ms), "size_in_bytes": meta.size})
}

/// The entries of a repository that a query names.
pub(super) fn caches(
    engine: &Engine,
    repository: &str,
    query: &HashMap<String, String>,
    exact: bool,
) -> Vec<crate::builtin::cache::Meta> {
    let given = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let (key, of) = (given("key"), given("ref"));
    let all = engine.caches().list(repository).into_iter().map(|(_, meta)| meta);
    all.filter(|meta| if exact { meta.key == key } else { meta.key.starts_with(key) })
        .filter(|meta| of.is_empty() || meta.scope == of)
        .collect()
}

pub(super) async fn list_caches(State(engine): State<Engine>, Path(params): Params, Query(query): Queries) -> Answer {
    let mut found = caches(&engine, &repository(&params), &query, false);
    match query.get("sort").map(String::as_str) {
        Some("size_in_bytes") => found.sort_by_key(|meta| meta.size),
        _ => found.sort_by_key(|meta| meta.created_ms),
    }
    if query.get("direction").is_none_or(|direction| direction == "desc") {
        found.reverse();
    }
    Ok(page(found.iter().map(cache_json).collect(), &query, "actions_caches"))
}

pub(super) async fn delete_caches(State(engine): State<Engine>, Path(params): Params, Query(query): Queries) -> Answer {
    if !query.contains_key("key") {
        return Err(Problem(StatusCode::UNPROCESSABLE_ENTITY, "key wasn't supplied".to_owned()));
    }
    let repository = repository(&params);
    let gone = caches(&engine, &repository, &query, true);
    if gone.is_empty() {
        return Err(missing());
    }
    for meta in &gone {
        engine.caches().remove(&repository, meta);
    }
    Ok(axum::Json(
        json!({"total_count": gone.len(), "actions_caches": gone.iter().map(cache_json).collect::<Vec<_>>()}),
    ))
}

pub(super) async fn delete_cache(State(engine): State<Engine>, Path(params): Params) -> Result<StatusCode, Problem> {
    let (repository, id) = (repository(&params), number(&params, "id")?);
    let found = engine.caches().list(&repository).into_iter().find(|(_, meta)| meta.id() == id).ok_or_else(missing)?;
    engine.caches().remove(&repository, &found.1);
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn cache_usage(State(engine): State<Engine>, Path(params): Params) -> Answer {
    let repository = repository(&params);
    let all = engine.caches().list(&repository);
    let size: u64 = all.iter().map(|(_, meta)| meta.size).sum();
    Ok(axum::Json(
        json!({"full_name": repository, "active_caches_count": all.len(), "active_caches_size_in_bytes": size}),
    ))
}
