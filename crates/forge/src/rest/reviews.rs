//! Reviews of pull requests: said, listed, dismissed.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::pulls::pull;
use super::{Call, Reply, ok};
use crate::api_error::ApiError;
use crate::auth::Need;
use crate::model::{Pull, Repo, Review, padded};
use crate::outbox::Emission;
use crate::{Error, shape, time};

pub(super) async fn dispatch(call: &Call, method: &Method, owner: &str, name: &str, path: &[&str]) -> Reply {
    let (number, rest) = match path {
        ["pulls", number, "reviews", rest @ ..] => (*number, rest),
        _ => return Err(ApiError::not_found()),
    };
    let (repo, pull) = pull(call, owner, name, number, Need::PULLS).await?;
    let one = |id: &str| {
        let found = pull.reviews.iter().find(|review| review.id.to_string() == id);
        found.ok_or_else(ApiError::not_found)
    };
    match (method.as_str(), rest) {
        ("GET", []) => {
            let mut values = Vec::new();
            for review in &pull.reviews {
                values.push(value(call, &repo, &pull, review).await?);
            }
            Ok(call.page(values))
        }
        ("POST", []) => {
            let body: Value = call.json()?;
            let event = body["event"].as_str().unwrap_or_default();
            let text = body["body"].as_str().unwrap_or_default();
            let review = submit(call, &repo, &pull, event, text).await?;
            ok(value(call, &repo, &pull, &review).await?)
        }
        ("GET", [id]) => ok(value(call, &repo, &pull, one(id)?).await?),
        ("PUT", [id, "dismissals"]) => {
            call.repo(owner, name, Need::PULLS_WRITE).await?;
            let review = Review { state: "DISMISSED".to_owned(), ..one(id)?.clone() };
            put(call, &repo, &pull, &review, "dismissed").await?;
            ok(value(call, &repo, &pull, &review).await?)
        }
        _ => Err(ApiError::not_found()),
    }
}

/// Adds a review. `event` is `APPROVE`, `REQUEST_CHANGES` or `COMMENT`.
pub(crate) async fn submit(call: &Call, repo: &Repo, pull: &Pull, event: &str, text: &str) -> Result<Review, ApiError> {
    if call.principal.is_anonymous() {
        return Err(ApiError::unauthenticated());
    }
    if call.principal.is_job() {
        call.repo(&repo.owner, &repo.name, Need::PULLS_WRITE).await?;
    }
    let refused = |message: &str| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, message);
    let own = call.principal.login.eq_ignore_ascii_case(&pull.author);
    let state = match event {
        "APPROVE" if own => return Err(refused("Can not approve your own pull request")),
        "REQUEST_CHANGES" if own => return Err(refused("Can not request changes on your own pull request")),
        "APPROVE" => "APPROVED",
        "REQUEST_CHANGES" | "COMMENT" if text.trim().is_empty() => return Err(refused("Body cannot be blank")),
        "REQUEST_CHANGES" => "CHANGES_REQUESTED",
        "COMMENT" => "COMMENTED",
        "" | "PENDING" => return Err(refused("reviews that wait to be sent are not kept here: name an event")),
        other => {
            return Err(refused(&format!("'{other}' is no event of a review: APPROVE, REQUEST_CHANGES or COMMENT")));
        }
    };
    let review = Review {
        id: call.forge.store().write(|tx| tx.next("review")).await?,
        author: call.principal.login.clone(),
        state: state.to_owned(),
        body: text.to_owned(),
        commit: pull.head_sha.clone(),
        submitted_at: time::now(),
    };
    put(call, repo, pull, &review, "submitted").await?;
    Ok(review)
}

async fn put(call: &Call, repo: &Repo, pull: &Pull, review: &Review, action: &str) -> Result<(), ApiError> {
    let sender = call.forge.user_or_ghost(&call.principal.login).await?;
    let mut payload = call.forge.envelope(repo, &sender).await?;
    payload["action"] = json!(action);
    payload["number"] = json!(pull.number);
    payload["pull_request"] = call.forge.pull_value(repo, pull).await?;
    payload["review"] = value(call, repo, pull, review).await?;
    payload["review"]["state"] = json!(review.state.to_lowercase());
    let emission = Emission::new("pull_request_review", repo.full_name(), payload, call.principal.run());
    // Others write a whole pull request back that they read before.
    let lock = call.forge.lock_of(repo.id);
    let _guard = lock.lock().await;
    let (id, number, review, answered) = (repo.id, pull.number, review.clone(), action == "submitted");
    call.forge
        .store()
        .write(move |tx| {
            let missing = || Error::not_found("pull request", number.to_string());
            let mut pull = tx.get::<Pull>(id, &padded(number))?.ok_or_else(missing)?;
            pull.reviews.retain(|known| known.id != review.id);
            if answered {
                pull.reviewers.retain(|login| *login != review.author);
            }
            pull.reviews.push(review);
            pull.reviews.sort_by_key(|review| review.id);
            pull.updated_at = time::now();
            tx.put(id, &pull)?;
            tx.emit(id, &emission).map(drop)
        })
        .await?;
    call.forge.ring();
    Ok(())
}

async fn value(call: &Call, repo: &Repo, pull: &Pull, review: &Review) -> Result<Value, ApiError> {
    let author = call.forge.user_or_ghost(&review.author).await?;
    let page = call.forge.urls().page(repo);
    Ok(json!({
        "id": review.id,
        "node_id": shape::node_id("PullRequestReview", review.id),
        "user": shape::user(call.forge.urls(), &author),
        "body": review.body,
        "state": review.state,
        "html_url": format!("{page}/pull/{}#pullrequestreview-{}", pull.number, review.id),
        "submitted_at": time::rfc3339(review.submitted_at),
        "commit_id": review.commit,
        "author_association": "COLLABORATOR",
    }))
}

/// The last review with an opinion of each reviewer.
pub(crate) fn opinions(pull: &Pull) -> Vec<&Review> {
    let mut latest: Vec<&Review> = Vec::new();
    for review in pull.reviews.iter().filter(|review| review.state != "COMMENTED") {
        latest.retain(|known| known.author != review.author);
        latest.push(review);
    }
    latest
}

/// What the reviews come to: `APPROVED`, `CHANGES_REQUESTED`, or nothing yet.
pub(crate) fn decision(pull: &Pull) -> &'static str {
    let opinions = opinions(pull);
    let any = |state: &str| opinions.iter().any(|review| review.state == state);
    match (any("CHANGES_REQUESTED"), any("APPROVED")) {
        (true, _) => "CHANGES_REQUESTED",
        (false, true) => "APPROVED",
        (false, false) => "",
    }
}
