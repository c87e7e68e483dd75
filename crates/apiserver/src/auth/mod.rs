//! Who may do what: credentials, tokens, and role-based access control.

pub mod bootstrap;
pub(crate) mod levels;
pub mod pki;
pub mod rbac;
pub mod reviews;
pub(crate) mod signing;
pub mod token;
pub(crate) mod x509;

use http::{HeaderMap, header};
use objects::Status;

use crate::Api;
use crate::config::Identity;

impl Api {
    /// Who a request comes from: its connection's certificate, else its bearer token, else nobody.
    pub(crate) fn authenticate(&self, peer: Option<&Identity>, headers: &HeaderMap) -> Result<Identity, Status> {
        let identity = match (peer, bearer(headers)) {
            (Some(peer), _) => peer.clone(),
            (None, Some(token)) => self.token_identity(&token, None).map_err(|reason| {
                tracing::debug!(reason, "token refused");
                Status::unauthorized("Unauthorized")
            })?,
            (None, None) => Identity::anonymous(),
        };
        self.impersonate(identity, headers)
    }

    fn impersonate(&self, identity: Identity, headers: &HeaderMap) -> Result<Identity, Status> {
        let text = |v: &http::HeaderValue| v.to_str().unwrap_or("").to_owned();
        let Some(user) = headers.get("impersonate-user").map(text).filter(|u| !u.is_empty()) else {
            if headers.contains_key("impersonate-group") || headers.contains_key("impersonate-uid") {
                return Err(Status::bad_request("requested impersonation without a user to impersonate"));
            }
            return Ok(identity);
        };
        let groups: Vec<String> = headers.get_all("impersonate-group").iter().map(text).collect();
        let ask = |resource: &str, namespace: &str, name: &str| {
            let ask = rbac::Ask { verb: "impersonate", resource, namespace, name, ..rbac::Ask::default() };
            if self.authorised(&identity, &ask) { Ok(()) } else { Err(rbac::forbidden(&identity, &ask)) }
        };
        let mut as_whom = match user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':')) {
            Some((namespace, name)) => {
                ask("serviceaccounts", namespace, name)?;
                Identity::service_account(namespace, name)
            }
            None => {
                ask("users", "", &user)?;
                Identity::user(user)
            }
        };
        for group in &groups {
            ask("groups", "", group)?;
            if !as_whom.groups.contains(group) {
                as_whom.groups.push(group.clone());
            }
        }
        if let Some(uid) = headers.get("impersonate-uid").map(text).filter(|u| !u.is_empty()) {
            let ask = rbac::Ask {
                verb: "impersonate",
                group: "authentication.k8s.io",
                resource: "uids",
                name: &uid,
                ..rbac::Ask::default()
            };
            if !self.authorised(&identity, &ask) {
                return Err(rbac::forbidden(&identity, &ask));
            }
            as_whom.uid = uid;
        }
        for (name, value) in headers {
            let Some(key) = name.as_str().strip_prefix("impersonate-extra-") else { continue };
            let (key, value) = (crate::request::decode(key), text(value));
            let ask = rbac::Ask {
                verb: "impersonate",
                group: "authentication.k8s.io",
                resource: "userextras",
                subresource: &key,
                name: &value,
                ..rbac::Ask::default()
            };
            if !self.authorised(&identity, &ask) {
                return Err(rbac::forbidden(&identity, &ask));
            }
            as_whom.extra.entry(key).or_default().push(value);
        }
        if as_whom.name == "system:anonymous" {
            as_whom = Identity::anonymous();
        }
        Ok(as_whom)
    }
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let text = value.to_str().ok()?;
        let (scheme, token) = text.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned());
    }
    // WebSocket clients in browsers can only send it as a subprotocol.
    let protocols = headers.get("sec-websocket-protocol")?.to_str().ok()?;
    let encoded = protocols.split(',').find_map(|p| p.trim().strip_prefix("base64url.bearer.authorization.k8s.io."))?;
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, encoded).ok()?;
    String::from_utf8(bytes).ok()
}
