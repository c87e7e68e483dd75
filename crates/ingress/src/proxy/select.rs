//! Choices: canary or not, and how fast one address may ask.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http::Request;
use rand::Rng;

use super::headers;
use crate::model::{Canary, Location, Route};

/// The location's route, or that of a canary which this request goes to.
pub(super) fn route<'a, B>(location: &'a Location, request: &Request<B>) -> &'a Arc<Route> {
    for (canary, route) in &location.canaries {
        if chosen(canary, request) {
            return route;
        }
    }
    &location.route
}

/// Header first, then cookie, then weight.
fn chosen<B>(canary: &Canary, request: &Request<B>) -> bool {
    if let Some(name) = &canary.header
        && let Some(value) = request.headers().get(name).and_then(|v| v.to_str().ok())
    {
        if let Some(wanted) = &canary.header_value {
            if value == wanted {
                return true;
            }
        } else if let Some(pattern) = &canary.header_pattern {
            if pattern.is_match(value) {
                return true;
            }
        } else {
            match value {
                "always" => return true,
                "never" => return false,
                _ => {}
            }
        }
    }
    if let Some(name) = &canary.cookie {
        match headers::cookie(request.headers(), name) {
            Some("always") => return true,
            Some("never") => return false,
            _ => {}
        }
    }
    canary.weight > 0 && rand::rng().random_range(0..canary.total) < canary.weight
}

type Bucket = ((String, String), IpAddr);

/// Requests per second, by Ingress and address, with bursts of five seconds' worth.
#[derive(Default)]
pub(super) struct Limits(Mutex<HashMap<Bucket, (f64, Instant)>>);

impl Limits {
    pub(super) fn allow(&self, ingress: &(String, String), address: IpAddr, rps: u32) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let now = Instant::now();
        let most = f64::from(rps) * 5.0;
        if buckets.len() > 50_000 {
            buckets.retain(|_, (_, at)| now.duration_since(*at).as_secs() < 10);
        }
        let (tokens, at) = buckets.entry((ingress.clone(), address)).or_insert((most, now));
        *tokens = (*tokens + now.duration_since(*at).as_secs_f64() * f64::from(rps)).min(most);
        *at = now;
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_by_header_cookie_and_weight() {
        let canary =
            Canary { header: Some("x-canary".into()), cookie: Some("canary".into()), total: 100, ..Canary::default() };
        let request = |name: &str, value: &str| Request::builder().header(name, value).body(()).expect("request");
        assert!(chosen(&canary, &request("x-canary", "always")));
        assert!(!chosen(&canary, &request("x-canary", "never")));
        assert!(chosen(&canary, &request("cookie", "canary=always")));
        assert!(!chosen(&canary, &request("x-other", "always")));
        assert!(chosen(&Canary { weight: 100, ..canary.clone() }, &request("x-other", "1")));
        assert!(!chosen(&Canary { weight: 100, ..canary }, &request("x-canary", "never")));
    }

    #[test]
    fn limits_are_by_address() {
        let limits = Limits::default();
        let ingress = ("n".to_owned(), "i".to_owned());
        let (one, two) = ("10.0.0.1".parse().expect("ip"), "10.0.0.2".parse().expect("ip"));
        let passed = (0..20).filter(|_| limits.allow(&ingress, one, 1)).count();
        assert!((5..=6).contains(&passed), "{passed}");
        assert!(limits.allow(&ingress, two, 1));
    }
}
