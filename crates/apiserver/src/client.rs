//! Clients: one in this process, and kubeconfigs for those outside.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};

use crate::auth::pki::Pair;
use crate::{ApiServer, Identity};

#[derive(Clone)]
struct InProcess {
    server: ApiServer,
    identity: Identity,
}

impl tower::Service<Request<kube::client::Body>> for InProcess {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.server.respond(Some(this.identity), request.map(Body::new)).await) })
    }
}

/// A client without a socket.
pub(crate) fn in_process(server: ApiServer, identity: Identity) -> kube::Client {
    kube::Client::new(InProcess { server, identity }, "default")
}

/// The text of a kubeconfig.
pub(crate) fn kubeconfig(cluster: &str, server: &str, authority: &str, user: &str, pair: &Pair) -> String {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let (cluster_name, user_name) = (quote(cluster), quote(&format!("{user}@{cluster}")));
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {cluster_name}\npreferences: {{}}\nclusters:\n- name: {cluster_name}\n  cluster:\n    \
         certificate-authority-data: {}\n    server: {}\ncontexts:\n- name: {cluster_name}\n  context:\n    cluster: {cluster_name}\n    \
         user: {user_name}\nusers:\n- name: {user_name}\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n",
        STANDARD.encode(authority),
        quote(server),
        STANDARD.encode(&pair.certificate),
        STANDARD.encode(&pair.key),
    )
}
