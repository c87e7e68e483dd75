//! Releases and their files.

use axum::body::Body;
use axum::response::IntoResponse;
use http::{Method, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::{Call, Reply, created, no_content, ok};
use crate::api_error::ApiError;
use crate::auth::Need;
use crate::model::{Asset, Release, Repo, padded};
use crate::releases::{NewRelease, latest};
use crate::shape;
use crate::store::Doc;

pub(super) async fn dispatch(call: &Call, method: &Method, owner: &str, name: &str, path: &[&str]) -> Reply {
    match (method.as_str(), path) {
        ("GET", []) => list(call, owner, name).await,
        ("POST", []) => create(call, owner, name).await,
        ("POST", ["generate-notes"]) => notes(call, owner, name).await,
        ("GET", ["latest"]) => {
            let repo = call.repo(owner, name, Need::CONTENTS).await?;
            let releases = call.forge.releases_of(&repo).await?;
            let release = latest(&releases).ok_or_else(ApiError::not_found)?;
            ok(call.forge.release_value(&repo, release).await?)
        }
        ("GET", ["tags", tag @ ..]) => {
            let repo = call.repo(owner, name, Need::CONTENTS).await?;
            let release = by_tag(call, &repo, &tag.join("/")).await?;
            ok(call.forge.release_value(&repo, &release).await?)
        }
        ("GET", ["assets", id]) => asset(call, owner, name, id).await,
        ("DELETE", ["assets", id]) => {
            let repo = call.repo(owner, name, Need::CONTENTS_WRITE).await?;
            let asset = asset_by_id(call, &repo, id).await?;
            call.forge.store().delete::<Asset>(repo.id, asset.key()).await?;
            let _ = tokio::fs::remove_file(call.forge.asset_path(asset.id)).await;
            no_content()
        }
        ("GET", [id]) => {
            let repo = call.repo(owner, name, Need::CONTENTS).await?;
            let release = by_id(call, &repo, id).await?;
            ok(call.forge.release_value(&repo, &release).await?)
        }
        ("PATCH", [id]) => edit(call, owner, name, id).await,
        ("DELETE", [id]) => {
            let repo = call.repo(owner, name, Need::CONTENTS_WRITE).await?;
            let release = by_id(call, &repo, id).await?;
            call.forge.delete_release(&repo, release, &call.actor()).await?;
            no_content()
        }
        ("GET", [id, "assets"]) => {
            let repo = call.repo(owner, name, Need::CONTENTS).await?;
            let release = by_id(call, &repo, id).await?;
            let value = call.forge.release_value(&repo, &release).await?;
            Ok(call.page(value["assets"].as_array().cloned().unwrap_or_default()))
        }
        _ => Err(ApiError::not_found()),
    }
}

/// Drafts are for those who may write.
fn visible(call: &Call, repo: &Repo, release: &Release) -> bool {
    !release.draft || call.principal.may(repo, Need::CONTENTS_WRITE, false)
}

async fn list(call: &Call, owner: &str, name: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS).await?;
    let mut values = Vec::new();
    for release in call.forge.releases_of(&repo).await? {
        if visible(call, &repo, &release) {
            values.push(call.forge.release_value(&repo, &release).await?);
        }
    }
    Ok(call.page(values))
}

pub(super) async fn by_tag(call: &Call, repo: &Repo, tag: &str) -> Result<Release, ApiError> {
    let releases = call.forge.releases_of(repo).await?;
    releases.into_iter().find(|release| !release.draft && release.tag_name == tag).ok_or_else(ApiError::not_found)
}

async fn by_id(call: &Call, repo: &Repo, id: &str) -> Result<Release, ApiError> {
    let id: u64 = id.parse().map_err(|_| ApiError::not_found())?;
    let found: Option<Release> = call.forge.store().get(repo.id, padded(id)).await?;
    found.filter(|release| visible(call, repo, release)).ok_or_else(ApiError::not_found)
}

fn exists(error: crate::Error) -> ApiError {
    match error {
        crate::Error::Exists { .. } => ApiError::validation("Release", "tag_name", "already_exists", ""),
        crate::Error::Invalid { field, reason } => ApiError::validation("Release", field, "custom", &reason),
        other => other.into(),
    }
}

async fn create(call: &Call, owner: &str, name: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS_WRITE).await?;
    let body: Value = call.json()?;
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let tag = text("tag_name").ok_or_else(|| ApiError::validation("Release", "tag_name", "missing_field", ""))?;
    let mut new = NewRelease {
        target_commitish: text("target_commitish").filter(|text| !text.is_empty()),
        name: text("name"),
        body: text("body"),
        draft: body["draft"].as_bool().unwrap_or(false),
        prerelease: body["prerelease"].as_bool().unwrap_or(false),
        not_latest: body["make_latest"] == json!("false"),
        tag_name: tag,
    };
    if body["generate_release_notes"].as_bool() == Some(true) {
        let (title, notes) = generated(call, &repo, &new.tag_name, None).await?;
        new.name = new.name.filter(|name| !name.is_empty()).or(Some(title));
        let own = new.body.take().filter(|body| !body.is_empty());
        new.body = Some(own.map_or(notes.clone(), |own| format!("{own}\n\n{notes}")));
    }
    let release = call.forge.make_release(&repo, &call.actor(), new).await.map_err(exists)?;
    created(call.forge.release_value(&repo, &release).await?)
}

async fn edit(call: &Call, owner: &str, name: &str, id: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS_WRITE).await?;
    let release = by_id(call, &repo, id).await?;
    let body: Value = call.json()?;
    let release = call
        .forge
        .edit_release(&repo, release, &call.actor(), |release| {
            let text = |name: &str| body[name].as_str().map(str::to_owned);
            release.tag_name = text("tag_name").unwrap_or_else(|| release.tag_name.clone());
            release.target_commitish = text("target_commitish").unwrap_or_else(|| release.target_commitish.clone());
            release.name = text("name").or(release.name.take());
            release.body = text("body").or(release.body.take());
            release.draft = body["draft"].as_bool().unwrap_or(release.draft);
            release.prerelease = body["prerelease"].as_bool().unwrap_or(release.prerelease);
            match body["make_latest"].as_str() {
                Some("false") => release.not_latest = true,
                Some(_) => release.not_latest = false,
                None => {}
            }
        })
        .await
        .map_err(exists)?;
    ok(call.forge.release_value(&repo, &release).await?)
}

/// Title and text of generated notes: the commits since the release before.
async fn generated(call: &Call, repo: &Repo, tag: &str, previous: Option<&str>) -> Result<(String, String), ApiError> {
    let repository = call.forge.git_of(repo)?;
    let releases = call.forge.releases_of(repo).await?;
    let before = previous.map(str::to_owned).or_else(|| {
        releases
            .iter()
            .find(|release| !release.draft && release.tag_name != tag)
            .map(|release| release.tag_name.clone())
    });
    let end = match repository.rev_parse(&format!("refs/tags/{tag}^{{commit}}")).await? {
        Some(oid) => Some(oid),
        None => call.forge.branch_tip(repo, &repo.default_branch).await?,
    };
    let page = call.forge.urls().page(repo);
    let mut text = String::from("## What's Changed\n");
    if let Some(end) = end {
        let exclude = before.as_ref().map(|tag| format!("^refs/tags/{tag}"));
        let mut revisions = vec![end.as_str()];
        revisions.extend(exclude.as_deref());
        for commit in repository.log_of(&revisions, 100, 0, None).await? {
            text.push_str(&format!("* {} by {} in {}\n", commit.subject(), commit.author.name, &commit.id[..7]));
        }
    }
    match before {
        Some(before) => text.push_str(&format!("\n**Full Changelog**: {page}/compare/{before}...{tag}")),
        None => text.push_str(&format!("\n**Full Changelog**: {page}/commits/{tag}")),
    }
    Ok((tag.to_owned(), text))
}

async fn notes(call: &Call, owner: &str, name: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS_WRITE).await?;
    let body: Value = call.json()?;
    let tag = body["tag_name"].as_str().unwrap_or_default();
    let (name, text) = generated(call, &repo, tag, body["previous_tag_name"].as_str()).await?;
    ok(json!({"name": name, "body": text}))
}

async fn asset_by_id(call: &Call, repo: &Repo, id: &str) -> Result<Asset, ApiError> {
    let id = id.parse().map_err(|_| ApiError::not_found())?;
    call.forge.store().by_id(repo.id, id).await?.ok_or_else(ApiError::not_found)
}

async fn asset(call: &Call, owner: &str, name: &str, id: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS).await?;
    let asset = asset_by_id(call, &repo, id).await?;
    let release = by_id(call, &repo, &asset.release.to_string()).await?;
    let wants_bytes = call
        .headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("application/octet-stream"));
    if wants_bytes {
        return download(call, &repo, asset).await;
    }
    ok(shape::asset(call.forge.urls(), &repo, &release, &asset))
}

/// The bytes of a release file, streamed.
pub(super) async fn download(call: &Call, repo: &Repo, mut asset: Asset) -> Reply {
    let path = call.forge.asset_path(asset.id);
    let file = tokio::fs::File::open(&path).await.map_err(|_| ApiError::not_found())?;
    asset.download_count += 1;
    let asset = call.forge.store().put(repo.id, asset).await?;
    let body = Body::from_stream(tokio_util::io::ReaderStream::new(file));
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, asset.size.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename={}", asset.name)),
    ];
    Ok((headers, body).into_response())
}

/// `POST /repos/O/R/releases/ID/assets?name=...`: streams the body to disk, hashed on the way.
pub(crate) async fn upload_asset(call: Call, owner: &str, name: &str, id: &str, body: Body) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS_WRITE).await?;
    let release = by_id(&call, &repo, id).await?;
    let file_name =
        call.param("name").ok_or_else(|| ApiError::validation("ReleaseAsset", "name", "missing_field", ""))?;
    let clean: String =
        file_name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.+@".contains(c) { c } else { '.' }).collect();
    let existing: Vec<Asset> = call.forge.store().list(repo.id, format!("{}/", padded(release.id))).await?;
    if existing.iter().any(|asset| asset.name == clean) {
        return Err(ApiError::validation("ReleaseAsset", "name", "already_exists", ""));
    }
    let asset_id = call.forge.store().write(|tx| tx.next("asset")).await?;
    let (size, digest) = store(&call, asset_id, body).await?;
    let content_type = call.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let asset = Asset {
        id: asset_id,
        release: release.id,
        name: clean,
        label: call.param("label").map(str::to_owned),
        content_type: content_type.unwrap_or("application/octet-stream").to_owned(),
        size,
        digest,
        uploader: call.principal.login.clone(),
        download_count: 0,
        created_at: crate::time::now(),
    };
    let asset = call.forge.store().put(repo.id, asset).await?;
    created(shape::asset(call.forge.urls(), &repo, &release, &asset))
}

async fn store(call: &Call, id: u64, mut body: Body) -> Result<(u64, String), ApiError> {
    let temporary = call.forge.spool_dir().join(format!("asset-{id}"));
    let failed = |error: std::io::Error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a release file cannot be stored");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Server Error")
    };
    let mut file = tokio::fs::File::create(&temporary).await.map_err(failed)?;
    let (mut hasher, mut size) = (Sha256::new(), 0u64);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            let _ = tokio::fs::remove_file(&temporary).await;
            return Err(ApiError::bad_request("the upload was cut short"));
        };
        if let Ok(data) = frame.into_data() {
            hasher.update(&data);
            size += data.len() as u64;
            file.write_all(&data).await.map_err(failed)?;
        }
    }
    file.flush().await.map_err(failed)?;
    file.sync_all().await.map_err(failed)?;
    tokio::fs::rename(&temporary, call.forge.asset_path(id)).await.map_err(failed)?;
    Ok((size, format!("sha256:{}", hex::encode(hasher.finalize()))))
}

/// `GET /OWNER/REPO/releases/download/TAG/NAME`
pub(crate) async fn download_by_name(call: &Call, owner: &str, name: &str, tag: &str, file: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS).await?;
    let release = by_tag(call, &repo, tag).await?;
    let assets: Vec<Asset> = call.forge.store().list(repo.id, format!("{}/", padded(release.id))).await?;
    let asset = assets.into_iter().find(|asset| asset.name == file).ok_or_else(ApiError::not_found)?;
    download(call, &repo, asset).await
}
