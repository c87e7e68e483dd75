//! Where a registry's production name leads to: the only place that knows.
//!
//! Files say `docker.io/user/app`; the map says that `docker.io` is `http://127.0.0.1:5000`. A path in the address is put in
//! front of the repository's name, so that several registries can share one mirror.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::reference::DEFAULT_REGISTRY;

/// Why a text is not an endpoint map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An item without `=`.
    #[error("endpoint {0:?} must be written HOST=URL")]
    Item(String),
    /// The address is not an HTTP URL.
    #[error("endpoint of {0:?}: {1:?} must be an http:// or https:// address without query")]
    Url(String, String),
}

/// Addresses by registry host. `*` stands for hosts without an entry of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointMap(BTreeMap<String, Endpoint>);

/// Where a registry is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Scheme and authority, `http://127.0.0.1:5000`.
    pub base_url: String,
    /// What stands before repository names: empty, or ending in a slash.
    pub prefix: String,
}

impl Endpoint {
    /// Parses an address.
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        if !matches!(scheme, "http" | "https") || rest.contains(['?', '#', '@', ' ', '\\']) {
            return None;
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        authority.parse::<http::uri::Authority>().ok()?;
        let path = path.trim_matches('/');
        let path = if path == "v2" { "" } else { path.strip_prefix("v2/").unwrap_or(path) };
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        Some(Self { base_url: format!("{scheme}://{authority}"), prefix })
    }
}

impl EndpointMap {
    /// Parses `host=url,host=url`; empty text is an empty map.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut map = Self::default();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (host, url) = item.split_once('=').ok_or_else(|| Error::Item(item.into()))?;
            map.insert(host.trim(), url.trim())?;
        }
        Ok(map)
    }

    /// Adds or replaces one host's address. Docker Hub's names are one host.
    pub fn insert(&mut self, host: &str, url: &str) -> Result<(), Error> {
        let endpoint = Endpoint::parse(url).ok_or_else(|| Error::Url(host.into(), url.into()))?;
        self.0.insert(canonical(host).into(), endpoint);
        Ok(())
    }

    /// Where `host` is reached: its entry, else the entry `*`, else the host itself, over TLS unless it is this machine.
    pub fn resolve(&self, host: &str) -> Endpoint {
        let host = canonical(host);
        if let Some(endpoint) = self.0.get(host).or_else(|| self.0.get("*")) {
            return endpoint.clone();
        }
        let base_url = match host {
            DEFAULT_REGISTRY => "https://registry-1.docker.io".to_owned(),
            _ if is_loopback(host) => format!("http://{host}"),
            _ => format!("https://{host}"),
        };
        Endpoint { base_url, prefix: String::new() }
    }

    /// Whether `host` has an entry of its own.
    pub fn contains(&self, host: &str) -> bool {
        self.0.contains_key(canonical(host))
    }
}

fn canonical(host: &str) -> &str {
    match host {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => DEFAULT_REGISTRY,
        other => other,
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.contains(']') { host } else { name });
    name == "localhost"
        || name.ends_with(".localhost")
        || name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl FromStr for EndpointMap {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for EndpointMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (host, endpoint)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            let path = endpoint.prefix.trim_end_matches('/');
            let slash = if path.is_empty() { "" } else { "/" };
            write!(f, "{comma}{host}={}{slash}{path}", endpoint.base_url)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_names() {
        let map =
            EndpointMap::parse("registry-1.docker.io=http://127.0.0.1:5000, ghcr.io=http://127.0.0.1:5000/ghcr.io/")
                .expect("map");
        let table = [
            ("docker.io", "http://127.0.0.1:5000", ""),
            ("index.docker.io", "http://127.0.0.1:5000", ""),
            ("ghcr.io", "http://127.0.0.1:5000", "ghcr.io/"),
            ("quay.io", "https://quay.io", ""),
            ("localhost:5001", "http://localhost:5001", ""),
            ("127.0.0.1:80", "http://127.0.0.1:80", ""),
            ("[::1]:80", "http://[::1]:80", ""),
        ];
        for (host, base_url, prefix) in table {
            let endpoint = map.resolve(host);
            assert_eq!((endpoint.base_url.as_str(), endpoint.prefix.as_str()), (base_url, prefix), "{host}");
        }
        assert_eq!(EndpointMap::parse(&map.to_string()), Ok(map));
        assert_eq!(EndpointMap::default().resolve("docker.io").base_url, "https://registry-1.docker.io");
        assert_eq!(EndpointMap::parse("*=http://m").expect("map").resolve("any.host").base_url, "http://m");
    }

    #[test]
    fn refuses_what_is_not_an_address() {
        for bad in ["docker.io", "a=ftp://x", "a=http://", "a=http://x?y", "a=http://u:p@x"] {
            assert!(EndpointMap::parse(bad).is_err(), "{bad}");
        }
    }
}
