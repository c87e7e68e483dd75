//! From a request to its answer: authenticate, limit, authorise, dispatch. One parser of paths; no route table.

mod delete;
pub(crate) mod flow;
mod paths;
mod read;
pub(crate) mod render;
mod subresource;
mod watch;
pub(crate) mod write;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use objects::Status;

use crate::Api;
use crate::auth::rbac::Ask;
use crate::config::Identity;
use crate::kinds::{Kind, Verbs, Version};
use crate::negotiate::{Accept, accept};
use crate::request::{Info, Target};

/// The largest body of a request.
const MAX_BODY: usize = 3 << 20;
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(60);

/// A request for a resource, authenticated and authorised.
pub(crate) struct Call {
    pub(crate) api: Arc<Api>,
    pub(crate) who: Identity,
    pub(crate) info: Info,
    pub(crate) target: Target,
    pub(crate) kind: Arc<Kind>,
    pub(crate) accept: Accept,
    pub(crate) headers: HeaderMap,
    /// What the client is to be told besides the answer.
    warnings: std::sync::Mutex<Vec<String>>,
}

impl Call {
    /// The version asked for.
    pub(crate) fn version(&self) -> &Version {
        self.kind.version(&self.target.version).expect("the version was looked up before")
    }

    /// The `apiVersion` asked for.
    pub(crate) fn api_version(&self) -> String {
        crate::kinds::api_version(&self.target.group, &self.target.version)
    }

    /// Tells the client something besides the answer.
    pub(crate) fn warn(&self, text: String) {
        let mut warnings = self.warnings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if warnings.len() < 16 && !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    fn add_warnings(&self, response: &mut Response<Body>) {
        let warnings = self.warnings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for text in warnings.iter() {
            render::warn(response, text);
        }
    }

    /// The name of the field manager of a write.
    pub(crate) fn manager(&self) -> String {
        if let Some(manager) = self.info.param("fieldManager") {
            return manager.to_owned();
        }
        let agent = self.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("");
        match agent.split('/').next().unwrap_or("") {
            "" => "unknown".into(),
            name => name.chars().take(128).collect(),
        }
    }
}

/// Answers a request; a fault of ours is an answer too.
pub(crate) async fn respond(api: Arc<Api>, peer: Option<Identity>, request: Request<Body>) -> Response<Body> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let outcome = AssertUnwindSafe(route(api, peer, request)).catch_unwind().await;
    let mut response = match outcome {
        Ok(Ok(response)) => response,
        Ok(Err(status)) => {
            tracing::debug!(%method, path, code = status.code, message = status.message, "refused");
            render::status(&status)
        }
        Err(_) => {
            tracing::error!(%method, path, "request handler panicked");
            render::status(&Status::internal("the server met a fault of its own; its log has the details"))
        }
    };
    if method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    response
}

async fn route(api: Arc<Api>, peer: Option<Identity>, request: Request<Body>) -> Result<Response<Body>, Status> {
    let info = Info::parse(request.method(), request.uri().path(), request.uri().query().unwrap_or(""));
    let who = api.authenticate(peer.as_ref(), request.headers())?;
    let class = api.flow.classify(&who, &info);
    let path = info.path.clone();
    let mut response = match dispatch(api, who, info, &class, request).await {
        Ok(response) => response,
        Err(status) => {
            tracing::debug!(path, code = status.code, message = status.message, "refused");
            render::status(&status)
        }
    };
    class.mark(&mut response);
    Ok(response)
}

async fn dispatch(
    api: Arc<Api>,
    who: Identity,
    info: Info,
    class: &flow::Class,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let Some(target) = info.resource.clone() else {
        api.require(&who, &Ask { verb: &info.verb, path: &info.path, ..Ask::default() })?;
        // Discovery of an aggregated server is that server's.
        if let ["apis", group, version] = info.path.trim_matches('/').split('/').collect::<Vec<_>>().as_slice()
            && *group != crate::metrics::GROUP
            && !api.kinds.kinds().has_version(group, version)
        {
            let target = Target { group: (*group).into(), version: (*version).into(), ..Target::default() };
            return crate::proxy::aggregated(&api, &who, &target, request).await;
        }
        return paths::answer(&api, &who, &info, request.headers());
    };
    let only = the_one_selected(&info);
    let ask = Ask {
        verb: &info.verb,
        group: &target.group,
        resource: &target.resource,
        subresource: &target.subresource,
        namespace: &target.namespace,
        name: only.as_deref().unwrap_or(&target.name),
        path: "",
    };
    api.require(&who, &ask)?;
    if target.group == crate::metrics::GROUP {
        return crate::metrics::answer(&api, &info, &target, request.headers()).await;
    }
    let kinds = api.kinds.kinds();
    let kind =
        kinds.resource(&target.group, &target.resource).filter(|k| k.version(&target.version).is_some()).cloned();
    let Some(kind) = kind else { return crate::proxy::aggregated(&api, &who, &target, request).await };
    if !target.namespace.is_empty() && !kind.namespaced && &*kind.resource != "namespaces" {
        return Err(Status::no_such_path());
    }
    // Long-running requests are not counted against the limit.
    let long = info.verb == "watch"
        || matches!(target.subresource.as_str(), "log" | "exec" | "attach" | "portforward" | "proxy");
    let _permit = if long { None } else { api.flow.enter(class).await? };
    if matches!(target.subresource.as_str(), "log" | "exec" | "attach" | "portforward" | "proxy")
        && kind.subresources.contains(&target.subresource.as_str())
    {
        if matches!(target.subresource.as_str(), "exec" | "attach" | "portforward" | "proxy") {
            let query = request.uri().query().unwrap_or("").to_owned();
            let accept = Accept { format: crate::negotiate::Format::Json, form: crate::negotiate::Form::Object };
            let (api, info, target) = (Arc::clone(&api), info.clone(), target.clone());
            let headers = request.headers().clone();
            let call = Call { api, who, info, target, kind, accept, headers, warnings: std::sync::Mutex::default() };
            call.api.permit_connection(&call, &query).await?;
        }
        return crate::proxy::subresource(&api, &info, &target, request).await;
    }
    let (parts, body) = request.into_parts();
    let accept = accept(&parts.headers)?;
    let mut call =
        Call { api, who, info, target, kind, accept, headers: parts.headers, warnings: std::sync::Mutex::default() };
    if let Some(warning) = call.version().deprecated.clone() {
        let version = call.api_version();
        call.warn(if warning.is_empty() { format!("{version} {} is deprecated", call.kind.kind) } else { warning });
    }
    match call.info.verb.as_str() {
        "get" | "list" | "watch" => {
            if call.kind.verbs != Verbs::All {
                return Err(not_allowed(&call.info.verb));
            }
            let subresource = call.target.subresource.clone();
            let mut response = match (call.info.verb.as_str(), subresource.as_str()) {
                ("get", "") => read::get(&call).await,
                ("get", _) => subresource::get(&call).await,
                ("list", _) => read::list(&call).await,
                _ => watch::watch(&call).await,
            }?;
            call.add_warnings(&mut response);
            Ok(response)
        }
        "create" | "update" | "patch" | "delete" | "deletecollection" => {
            let body = read_body(body, &call.headers).await?;
            let mut response = match write_verb(&mut call, &body).await {
                Ok(response) => response,
                Err(status) => {
                    tracing::debug!(path = call.info.path, code = status.code, message = status.message, "refused");
                    render::status(&status)
                }
            };
            call.add_warnings(&mut response);
            Ok(response)
        }
        _ => Err(not_allowed(parts.method.as_str())),
    }
}

async fn write_verb(call: &mut Call, body: &Bytes) -> Result<Response<Body>, Status> {
    let (verb, subresource) = (call.info.verb.clone(), call.target.subresource.clone());
    if call.kind.verbs == Verbs::Review && (verb != "create" || !call.target.name.is_empty()) {
        return Err(not_allowed(&verb));
    }
    match (verb.as_str(), subresource.as_str()) {
        ("create", "") if !call.target.name.is_empty() => Err(not_allowed("POST")),
        ("create", "") if call.kind.namespaced && call.target.namespace.is_empty() => Err(not_allowed("POST")),
        ("create", "") => write::create(call, body).await,
        ("create", _) => subresource::create(call, body).await,
        ("update" | "patch", _) if call.target.name.is_empty() => Err(not_allowed(&verb)),
        ("update", "scale") | ("patch", "scale") => subresource::scale(call, body).await,
        ("update", _) => write::update(call, body).await,
        ("patch", _) => write::patch(call, body).await,
        ("delete", "") => delete::one(call, body).await,
        ("deletecollection", "") => delete::many(call, body).await,
        _ => Err(not_allowed(&verb)),
    }
}

/// The name of the object when a list or watch selects just that: then a rule for the object of this name is enough.
fn the_one_selected(info: &Info) -> Option<String> {
    if !matches!(info.verb.as_str(), "list" | "watch" | "deletecollection") {
        return None;
    }
    let fields = objects::fields::FieldSelector::parse(info.param("fieldSelector")?).ok()?;
    fields.requires("metadata.name").filter(|name| !name.is_empty()).map(str::to_owned)
}

fn not_allowed(verb: &str) -> Status {
    Status::method_not_allowed(format!("the server does not allow this method on the requested resource ({verb})"))
}

/// Reads a body: bounded in size and time.
pub(crate) async fn read_body(body: Body, headers: &HeaderMap) -> Result<Bytes, Status> {
    let too_large = || Status::too_large(format!("limit is {MAX_BODY} bytes"));
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    if announced.is_some_and(|n| n > MAX_BODY) {
        return Err(too_large());
    }
    let limited = http_body_util::Limited::new(body, MAX_BODY);
    match tokio::time::timeout(BODY_TIME, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Status::bad_request("the body could not be read")),
        Err(_) => Err(Status::timeout("the body did not arrive in time")),
    }
}

/// An answer with a body.
pub(crate) fn answer(code: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}
