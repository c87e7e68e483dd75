//! What Applications name: projects, clusters, repositories.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Answer, Api, Parameters, Refusal};
use crate::application::{Source, Spec};
use crate::project_kind;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/projects", get(projects))
        .route("/api/v1/projects/{name}", get(project))
        .route("/api/v1/projects/{name}/detailed", get(detailed_project))
        .route("/api/v1/projects/{name}/syncwindows", get(sync_windows))
        .route("/api/v1/clusters", get(clusters))
        .route("/api/v1/clusters/{id}", get(cluster))
        .route("/api/v1/repositories", get(repositories))
        .route("/api/v1/repositories/{repo}", get(repository))
}

async fn projects(State(api): State<Api>) -> Answer {
    let path = project_kind().collection(&api.room.config.namespace);
    Ok(Json(api.room.cluster.api.get_path(&path).await?))
}

async fn project(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    Ok(Json(api.room.cluster.api.get(&project_kind(), &api.room.config.namespace, &name).await?))
}

async fn detailed_project(state: State<Api>, name: Path<String>) -> Answer {
    let Json(project) = project(state, name).await?;
    Ok(Json(json!({"project": project})))
}

async fn sync_windows(state: State<Api>, name: Path<String>) -> Answer {
    let Json(project) = project(state, name).await?;
    Ok(Json(json!({"windows": project["spec"]["syncWindows"]})))
}

async fn known_clusters(api: &Api) -> Result<Vec<Value>, Refusal> {
    let version = api.room.cluster.api.get_path("/version").await?;
    let version = version["gitVersion"].as_str().map_or("", |version| version.trim_start_matches('v')).to_owned();
    let state = json!({"status": "Successful"});
    let cluster = |server: &String| {
        let info = json!({"connectionState": state, "serverVersion": version,
            "applicationsCount": api.room.applications.all().len()});
        json!({"server": server, "name": "in-cluster", "connectionState": state, "serverVersion": version, "info": info})
    };
    Ok(api.room.config.servers.iter().map(cluster).collect())
}

async fn clusters(State(api): State<Api>) -> Answer {
    Ok(Json(json!({"metadata": {}, "items": known_clusters(&api).await?})))
}

async fn cluster(State(api): State<Api>, Path(id): Path<String>, Query(query): Parameters) -> Answer {
    let by = query.get("id.type").or_else(|| query.get("type")).map_or("", String::as_str);
    let field = if by == "name" || by == "name_escaped" { "name" } else { "server" };
    let found = known_clusters(&api).await?.into_iter().find(|cluster| cluster[field] == id || cluster["name"] == id);
    found.map(Json).ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, format!("cluster {id:?} not found")))
}

fn known_repositories(api: &Api) -> Vec<Value> {
    let mut urls = BTreeMap::new();
    for application in api.room.applications.all() {
        if let Ok(spec) = Spec::of(&application) {
            let kind = |source: &Source| match source.chart_reference() {
                None => "git",
                Some(_) if source.chart.is_empty() => "oci",
                Some(_) => "helm",
            };
            urls.extend(spec.all_sources().iter().map(|source| (source.repo_url.clone(), kind(source))));
        }
    }
    let state = json!({"status": "Successful"});
    urls.into_iter().map(|(url, kind)| json!({"repo": url, "type": kind, "connectionState": state})).collect()
}

async fn repositories(State(api): State<Api>) -> Json<Value> {
    Json(json!({"metadata": {}, "items": known_repositories(&api)}))
}

async fn repository(State(api): State<Api>, Path(url): Path<String>) -> Answer {
    let found = known_repositories(&api).into_iter().find(|repository| repository["repo"] == url);
    found.map(Json).ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, format!("repo '{url}' not found")))
}
