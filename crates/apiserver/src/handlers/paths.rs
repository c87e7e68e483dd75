//! Paths that are no resources: discovery, OpenAPI, version, health, token keys.

use axum::body::Body;
use http::{HeaderMap, Response, StatusCode};
use objects::Status;
use serde_json::json;

use super::render;
use crate::Api;
use crate::config::Identity;
use crate::discovery;
use crate::negotiate::Format;
use crate::request::Info;

/// The commit that this is built from, where who builds it says so; else the id that git gives to none. Clients want a number.
const COMMIT: &str = match option_env!("BIGBEN_COMMIT") {
    Some(commit) => commit,
    None => "0000000000000000000000000000000000000000",
};

/// Answers a path.
pub(super) fn answer_path(api: &Api, info: &Info, headers: &HeaderMap) -> Result<Response<Body>, Status> {
    let ok = |value: serde_json::Value| Ok(render::value(Format::Json, StatusCode::OK, &value));
    let parts: Vec<&str> = info.path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["version"] => ok(version()),
        ["healthz" | "livez" | "readyz", ..] => Ok(health(api, info)),
        ["api"] => discovery::core(api, headers),
        ["apis"] => discovery::groups(api, headers),
        ["api", version] => discovery::resources(api, "", version),
        ["apis", group] => discovery::group(api, group),
        ["apis", group, version] => discovery::resources(api, group, version),
        ["openapi", "v2"] => crate::openapi::v2(api, headers),
        ["openapi", "v3"] => crate::openapi::v3_root(api),
        ["openapi", "v3", rest @ ..] => crate::openapi::v3(api, &rest.join("/")),
        [".well-known", "openid-configuration"] => ok(json!({
            "issuer": crate::auth::token::ISSUER, "jwks_uri": format!("{}/openid/v1/jwks", crate::auth::token::ISSUER),
            "response_types_supported": ["id_token"], "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
        })),
        ["openid", "v1", "jwks"] => ok(api.signer.jwks()),
        ["metrics"] => Ok(super::answer(StatusCode::OK, "text/plain; version=0.0.4", metrics(api))),
        [""] => ok(json!({"paths": discovery::paths(api)})),
        _ => Err(Status::no_such_path()),
    }
}

pub(super) fn answer(api: &Api, _who: &Identity, info: &Info, headers: &HeaderMap) -> Result<Response<Body>, Status> {
    if info.verb != "get" && info.verb != "head" {
        return Err(Status::method_not_allowed("the server does not allow this method on the requested resource"));
    }
    answer_path(api, info, headers)
}

fn version() -> serde_json::Value {
    json!({
        "major": "1", "minor": "37", "gitVersion": crate::VERSION, "gitCommit": COMMIT, "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc", "platform": format!("linux/{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }),
        "emulationMajor": "1", "emulationMinor": "37", "minCompatibilityMajor": "1", "minCompatibilityMinor": "36",
    })
}

fn health(api: &Api, info: &Info) -> Response<Body> {
    let shutting = api.shutdown.is_cancelled() && info.path.starts_with("/readyz");
    let (code, word) = if shutting { (StatusCode::INTERNAL_SERVER_ERROR, "failed") } else { (StatusCode::OK, "ok") };
    let text = if info.query.contains_key("verbose") {
        let name = info.path.trim_matches('/').split('/').next().unwrap_or("healthz");
        format!("[+]ping ok\n[+]store ok\n{name} check {}\n", if shutting { "failed" } else { "passed" })
    } else {
        word.to_owned()
    };
    answer_text(code, text)
}

fn answer_text(code: StatusCode, text: String) -> Response<Body> {
    super::answer(code, "text/plain; charset=utf-8", text)
}

fn metrics(api: &Api) -> String {
    let mut out = String::from(
        "# HELP apiserver_storage_objects Number of stored objects by resource.\n# TYPE apiserver_storage_objects gauge\n",
    );
    let mut counts = api.store.counts();
    counts.sort();
    for (resource, count) in counts {
        let (group, resource) = resource.split_once('/').map_or(("", &*resource), |(g, r)| (g, r));
        out.push_str(&format!("apiserver_storage_objects{{group={group:?},resource={resource:?}}} {count}\n"));
    }
    out.push_str("# HELP apiserver_flowcontrol_request_concurrency_limit Requests in flight that a priority level may have.\n# TYPE apiserver_flowcontrol_request_concurrency_limit gauge\n");
    for (level, seats) in api.flow.limits() {
        let labels = format!("{{priority_level={level:?}}} {seats}\n");
        out.push_str(&format!("apiserver_flowcontrol_request_concurrency_limit{labels}"));
    }
    out.push_str(&format!("# HELP apiserver_storage_revision Newest revision.\n# TYPE apiserver_storage_revision counter\napiserver_storage_revision {}\n", api.store.revision()));
    out
}
