//! What the command line asks of an engine, over a socket that only its owner can reach: nothing here is authenticated, and a stopped
//! step's environment holds secrets.

use std::collections::HashMap;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{Engine, Rerun};
use crate::error::Error;

/// The routes.
pub fn router(engine: Engine) -> Router {
    Router::new()
        .route("/runs", get(runs))
        .route("/runs/{id}", get(run))
        .route("/runs/{id}/watch", get(watch))
        .route("/runs/{id}/cancel", post(cancel))
        .route("/runs/{id}/rerun", post(rerun))
        .route("/runs/{id}/review", post(review))
        .route("/jobs/{id}/log", get(log))
        .route("/jobs/{id}/resume", post(resume))
        .with_state(engine)
}

struct Refusal(Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self.0 {
            Error::NoRun(_) | Error::NoJob(_) => StatusCode::NOT_FOUND,
            Error::NotRunning(_) | Error::StillRunning(_) | Error::Inputs(_) => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut text = crate::job::error_chain(&self.0);
        if let Some(hint) = self.0.hint() {
            text = format!("{text} ({hint})");
        }
        (status, axum::Json(json!({"error": text}))).into_response()
    }
}

type Answer = Result<axum::Json<Json>, Refusal>;

async fn runs(State(engine): State<Engine>, Query(query): Query<HashMap<String, String>>) -> Answer {
    let limit = query.get("limit").and_then(|text| text.parse().ok()).unwrap_or(30);
    Ok(axum::Json(json!(engine.runs(None, limit).await?)))
}

async fn run(State(engine): State<Engine>, Path(id): Path<i64>) -> Answer {
    Ok(axum::Json(json!({"run": engine.run(id).await?, "jobs": engine.jobs(id).await?})))
}

async fn watch(State(engine): State<Engine>, Path(id): Path<i64>) -> Result<Response, Refusal> {
    let receiver = engine.watch(id).await?;
    let lines = futures::stream::unfold(receiver, |mut receiver| async move {
        let watched = receiver.recv().await?;
        let line = serde_json::to_vec(&watched).map(|mut line| {
            line.push(b'\n');
            line
        });
        Some((line, receiver))
    });
    Ok(Body::from_stream(lines).into_response())
}

#[derive(Deserialize, Default)]
struct Cancel {
    #[serde(default)]
    force: bool,
}

async fn cancel(State(engine): State<Engine>, Path(id): Path<i64>, axum::Json(body): axum::Json<Cancel>) -> Answer {
    engine.cancel(id, body.force).await?;
    Ok(axum::Json(json!({})))
}

async fn rerun(State(engine): State<Engine>, Path(id): Path<i64>, axum::Json(body): axum::Json<Rerun>) -> Answer {
    engine.rerun_with(id, &body).await?;
    Ok(axum::Json(json!(engine.run(id).await?)))
}

#[derive(Deserialize)]
struct Review {
    environment: String,
    who: String,
    approved: bool,
}

async fn review(State(engine): State<Engine>, Path(id): Path<i64>, axum::Json(body): axum::Json<Review>) -> Answer {
    engine.review(id, &body.environment, &body.who, body.approved).await?;
    Ok(axum::Json(json!({})))
}

async fn log(State(engine): State<Engine>, Path(id): Path<i64>) -> Result<Response, Refusal> {
    let follower = engine.follow(id).await?;
    let stream = futures::stream::unfold(follower, |mut follower| async move {
        follower.next().await.map(|piece| (Ok::<_, std::convert::Infallible>(piece), follower))
    });
    Ok(Body::from_stream(stream).into_response())
}

async fn resume(State(engine): State<Engine>, Path(id): Path<i64>) -> Answer {
    engine.resume(id);
    Ok(axum::Json(json!({})))
}
