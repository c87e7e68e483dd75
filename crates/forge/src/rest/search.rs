//! Searches over everything that the caller may see.

use serde_json::{Value, json};

use super::meta::repo_value;
use super::{Call, Reply};
use crate::api_error::ApiError;
use crate::auth::Need;
use crate::search;

pub(super) async fn dispatch(call: &Call, path: &[&str]) -> Reply {
    let text = call.param("q").unwrap_or_default();
    if text.trim().is_empty() {
        return Err(ApiError::validation("Search", "q", "missing", ""));
    }
    let ascending = call.param("order") == Some("asc");
    match path {
        ["issues"] => {
            let found = crate::graphql::found(call, text, call.param("sort"), ascending).await?;
            let mut values = Vec::new();
            for (repo, thread) in &found {
                values.push(call.forge.thread_value(repo, thread).await?);
            }
            answer(call, values)
        }
        ["repositories"] => {
            let query = search::parse(text);
            let mut found = call.forge.repositories().await?;
            found.retain(|repo| {
                call.principal.may(repo, Need::READ, call.forge.config().anonymous_read) && query.finds_repository(repo)
            });
            if call.param("sort") == Some("updated") {
                found.sort_by_key(|repo| repo.updated_at.max(repo.pushed_at));
                if !ascending {
                    found.reverse();
                }
            }
            let mut values = Vec::new();
            for repo in &found {
                values.push(repo_value(call, repo).await?);
            }
            answer(call, values)
        }
        ["commits"] => commits(call, text).await,
        [what, ..] => {
            let text = format!("searching for {what} is not kept here: issues, commits and repositories are");
            Err(ApiError::new(http::StatusCode::NOT_FOUND, text))
        }
        [] => Err(ApiError::not_found()),
    }
}

fn answer(call: &Call, values: Vec<Value>) -> Reply {
    Ok(call.counted_with("items", values, json!({"incomplete_results": false})))
}

/// How many commits of a repository are looked at.
const MOST_COMMITS: usize = 10_000;

/// Commits of the default branches by words of their messages, `repo:`, `author:`, `author-name:`, `author-email:`, `hash:`.
async fn commits(call: &Call, text: &str) -> Reply {
    let query = search::parse(text);
    let mut values = Vec::new();
    for repo in call.forge.repositories().await? {
        if !call.principal.may(&repo, Need::CONTENTS, call.forge.config().anonymous_read) || !query.is_within(&repo) {
            continue;
        }
        let git = call.forge.git_of(&repo)?;
        let branch = format!("refs/heads/{}", repo.default_branch);
        if git.rev_parse(&branch).await?.is_none() {
            continue;
        }
        for commit in git.log_of(&[&branch], MOST_COMMITS, 0, None).await? {
            if query.finds_commit(&repo, &commit) {
                let mut value = crate::shape::commit(call.forge.urls(), &repo, &commit);
                value["repository"] = repo_value(call, &repo).await?;
                value["score"] = json!(1.0);
                values.push((commit.committer.time, value));
            }
        }
    }
    values.sort_by_key(|(time, _)| *time);
    if call.param("order") != Some("asc") {
        values.reverse();
    }
    answer(call, values.into_iter().map(|(_, value)| value).collect())
}
