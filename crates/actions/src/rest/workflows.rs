//! Workflows: the files, whether they are enabled, starting them.

use super::*;

pub(super) async fn workflow_list(engine: &Engine, repository: &str) -> Result<Vec<(String, String)>, Problem> {
    let (_, _, files) = engine.inner().workflow_files(repository, None).await?;
    Ok(files
        .iter()
        .map(|file| {
            (
                file.path.clone(),
                file.workflow.as_ref().map_or_else(|| file.path.clone(), |workflow| workflow.name.clone()),
            )
        })
        .collect())
}

/// A workflow by number or by file name.
pub(super) async fn workflow_of(
    engine: &Engine,
    params: &HashMap<String, String>,
) -> Result<(String, String), Problem> {
    let repository = repository(params);
    let wanted = params.get("id").map(String::as_str).unwrap_or_default();
    workflow_list(engine, &repository)
        .await?
        .into_iter()
        .find(|(path, _)| {
            payload::workflow_id(&repository, path).to_string() == wanted
                || path.rsplit('/').next() == Some(wanted)
                || path == wanted
        })
        .ok_or_else(missing)
}

pub(super) async fn workflow_json(
    engine: &Engine,
    repository: &str,
    list: &[(String, String)],
) -> Result<Vec<Json>, Problem> {
    let (urls, disabled) = (urls(engine), engine.inner().store.disabled(repository.to_owned()).await?);
    Ok(list
        .iter()
        .map(|(path, name)| {
            let mut workflow = payload::workflow(repository, path, name, &urls.server);
            if disabled.contains(path) {
                workflow["state"] = "disabled_manually".into();
            }
            workflow
        })
        .collect())
}

pub(super) async fn list_workflows(
    State(engine): State<Engine>,
    Path(params): Params,
    Query(query): Queries,
) -> Answer {
    let repository = repository(&params);
    let list = workflow_list(&engine, &repository).await?;
    Ok(page(workflow_json(&engine, &repository, &list).await?, &query, "workflows"))
}

pub(super) async fn get_workflow(State(engine): State<Engine>, Path(params): Params) -> Answer {
    let found = workflow_of(&engine, &params).await?;
    let mut list = workflow_json(&engine, &repository(&params), &[found]).await?;
    Ok(axum::Json(list.pop().unwrap_or_default()))
}

pub(super) async fn set_enabled(
    State(engine): State<Engine>,
    Path(params): Params,
    enabled: bool,
) -> Result<StatusCode, Problem> {
    let (path, _) = workflow_of(&engine, &params).await?;
    engine.inner().store.set_enabled(repository(&params), path, enabled).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn workflow_runs(State(engine): State<Engine>, Path(params): Params, Query(query): Queries) -> Answer {
    let (path, _) = workflow_of(&engine, &params).await?;
    runs_json(&engine, &repository(&params), &query, |run| run.path == path).await
}

pub(super) async fn dispatch(
    State(engine): State<Engine>,
    Path(params): Params,
    Extension(caller): Extension<Caller>,
    axum::Json(body): axum::Json<Json>,
) -> Result<StatusCode, Problem> {
    let (path, name) = workflow_of(&engine, &params).await?;
    let repository = repository(&params);
    let git_ref = body.get("ref").and_then(Json::as_str).unwrap_or_default().to_owned();
    if git_ref.is_empty() {
        return Err(Problem(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid request.\n\n\"ref\" wasn't supplied.".to_owned(),
        ));
    }
    // A branch, or else a tag of that name.
    let candidates = match git_ref.starts_with("refs/") {
        true => vec![git_ref.clone()],
        false => vec![format!("refs/heads/{git_ref}"), format!("refs/tags/{git_ref}")],
    };
    let mut found = None;
    for full in candidates {
        match engine.inner().workflow_files(&repository, Some(&full)).await {
            Ok((_, _, files)) => {
                found = Some((full, files));
                break;
            }
            Err(Error::NoCommit { .. } | Error::Git { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (full, files) =
        found.ok_or_else(|| Problem(StatusCode::UNPROCESSABLE_ENTITY, format!("No ref found for: {git_ref}")))?;
    let has = files
        .iter()
        .find(|file| file.path == path)
        .and_then(|file| file.workflow.clone())
        .is_some_and(|workflow| workflow.trigger("workflow_dispatch").is_some());
    if !has {
        return Err(Problem(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("Workflow does not have 'workflow_dispatch' trigger: {name}"),
        ));
    }
    if engine.inner().store.disabled(repository.clone()).await?.contains(&path) {
        return Err(Problem(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Cannot trigger a 'workflow_dispatch' on a disabled workflow".to_owned(),
        ));
    }
    let inputs = body.get("inputs").cloned().filter(|inputs| !inputs.is_null()).unwrap_or_else(|| json!({}));
    let event = Event::new(
        repository.clone(),
        "workflow_dispatch",
        json!({"ref": full, "workflow": path, "inputs": inputs, "repository": {"full_name": repository},
            "sender": payload::user(&caller.login)}),
    );
    engine.run_workflow(event, &path, inputs).await?;
    Ok(StatusCode::NO_CONTENT)
}
