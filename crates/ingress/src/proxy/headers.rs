//! Headers on their way: what ends here, what is added, as ingress-nginx does it.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use rand::Rng;

use super::Client;
use crate::model::{Affinity, Cors, Policy};

/// Belong to one connection, not to the request.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
];

pub(super) fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|v| v.to_str().ok()).filter(|v| !v.is_empty() && v.len() <= 200);
    given.map_or_else(|| format!("{:032x}", rand::rng().random::<u128>()), str::to_owned)
}

/// Takes out what belongs to the client's connection; says which protocol it wants to change to.
pub(super) fn strip(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let connection: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let upgrade = if connection.contains(&header::UPGRADE) { headers.get(header::UPGRADE).cloned() } else { None };
    // gRPC asks for trailers, which is fine to pass on.
    let trailers = headers.get(header::TE).is_some_and(|v| v == "trailers");
    for name in connection.iter().chain(&HOP_BY_HOP) {
        // A client must not have the ingress drop what protects the endpoint.
        if !matches!(name.as_str(), "host" | "authorization" | "cookie" | "content-length") {
            headers.remove(name);
        }
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    upgrade
}

/// Adds what the endpoint should know about the client.
pub(super) fn forwarded(headers: &mut HeaderMap, client: Client, host: &str, id: &str, path: &str, policy: &Policy) {
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    let scheme = if client.tls { "https" } else { "http" };
    let address = client.address.to_string();
    set("x-request-id", id);
    set("x-real-ip", &address);
    set("x-forwarded-host", host);
    set("x-forwarded-port", &client.port.to_string());
    set("x-forwarded-proto", scheme);
    set("x-forwarded-scheme", scheme);
    set("x-scheme", scheme);
    if let Some(prefix) = &policy.forwarded_prefix {
        set("x-forwarded-prefix", prefix);
    }
    if policy.rewrite_target.is_some() {
        set("x-original-uri", path);
    }
    // What the client says of itself is kept apart: only the address that was seen can be trusted.
    if let Some(said) = headers.remove("x-forwarded-for") {
        headers.insert("x-original-forwarded-for", said);
    }
    if let Ok(value) = HeaderValue::from_str(&address) {
        headers.insert("x-forwarded-for", value);
    }
    headers.remove("proxy");
}

/// HTTP/2 may split cookies; HTTP/1 may not.
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().count() > 1 {
        let parts: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&parts.join(&b"; "[..])) {
            headers.insert(header::COOKIE, joined);
        }
    }
}

/// A cookie of the request.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
    cookies.filter_map(|c| c.trim().split_once('=')).find(|(n, _)| *n == name).map(|(_, value)| value)
}

/// The cookie that leads back to an endpoint.
pub(super) fn set_affinity(headers: &mut HeaderMap, affinity: &Affinity, value: &str, path: &str, tls: bool) {
    let mut text = format!("{}={value}; Path={}", affinity.cookie, affinity.path.as_deref().unwrap_or(path));
    if let Some(age) = affinity.max_age {
        text.push_str(&format!("; Max-Age={age}"));
    }
    if let Some(domain) = &affinity.domain {
        text.push_str(&format!("; Domain={domain}"));
    }
    if affinity.secure.unwrap_or(tls) {
        text.push_str("; Secure");
    }
    text.push_str("; HttpOnly");
    if let Some(same_site) = &affinity.same_site {
        text.push_str(&format!("; SameSite={same_site}"));
    }
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.append(header::SET_COOKIE, value);
    }
}

/// Cross-origin headers, when the origin is one that is allowed.
pub(super) fn cors(headers: &mut HeaderMap, cors: &Cors, origin: Option<&HeaderValue>) {
    let any = cors.origins.iter().any(|o| o == "*");
    let allowed = match origin {
        Some(origin) if origin.to_str().is_ok_and(|o| any || cors.origins.iter().any(|own| origin_matches(own, o))) => {
            // Browsers refuse `*` together with cookies.
            if any && !cors.credentials { HeaderValue::from_static("*") } else { origin.clone() }
        }
        None if any => HeaderValue::from_static("*"),
        _ => return,
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    if cors.credentials {
        set(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    set(header::ACCESS_CONTROL_ALLOW_METHODS, &cors.methods);
    set(header::ACCESS_CONTROL_ALLOW_HEADERS, &cors.headers);
    set(header::ACCESS_CONTROL_MAX_AGE, &cors.max_age);
    if let Some(expose) = &cors.expose {
        set(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose);
    }
}

/// `https://*.example.com` stands for one label.
fn origin_matches(own: &str, origin: &str) -> bool {
    match own.split_once("*.") {
        Some((scheme, rest)) => origin
            .strip_prefix(scheme)
            .and_then(|o| o.split_once('.'))
            .is_some_and(|(label, o)| !label.is_empty() && !label.contains('/') && o == rest),
        None => own == origin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_headers_end_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, x-own, Upgrade"),
            ("keep-alive", "5"),
            ("x-own", "1"),
            ("upgrade", "websocket"),
            ("host", "h"),
            ("te", "trailers"),
        ] {
            headers.append(name.parse::<HeaderName>().expect("name"), value.parse().expect("value"));
        }
        assert_eq!(strip(&mut headers).expect("upgrade"), "websocket");
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["host", "te"]);
    }

    #[test]
    fn origins() {
        assert!(origin_matches("https://a.test", "https://a.test"));
        assert!(origin_matches("https://*.a.test", "https://x.a.test"));
        assert!(!origin_matches("https://*.a.test", "https://x.y.a.test"));
        assert!(!origin_matches("https://*.a.test", "https://.a.test"));
        assert!(!origin_matches("https://*.a.test", "https://evil/x.a.test"));
    }

    #[test]
    fn cookies() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; b=2".parse().expect("value"));
        headers.append(header::COOKIE, "c=3".parse().expect("value"));
        assert_eq!((cookie(&headers, "b"), cookie(&headers, "c"), cookie(&headers, "d")), (Some("2"), Some("3"), None));
        join_cookies(&mut headers);
        assert_eq!(headers[header::COOKIE], "a=1; b=2; c=3");
    }
}
