//! The routing table: hosts, their locations, their backends. A value that is read without a lock.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::annotations::{Canary, Policy, Protocol};
use super::endpoints::EndpointSpec;
use super::path::Matcher;

/// All routes.
#[derive(Debug, Default)]
pub struct Table {
    /// Hosts by full name, lower case.
    pub hosts: HashMap<String, Host>,
    /// Hosts by what follows `*.`.
    pub wildcards: HashMap<String, Host>,
    /// Rules without a host.
    pub any: Host,
    /// Where what no rule takes goes.
    pub default_backend: Option<Arc<Route>>,
    /// All backends.
    pub backends: HashMap<BackendKey, Arc<Backend>>,
    /// Suffixes of host names and what they stand for.
    pub aliases: Vec<(String, String)>,
}

/// The locations of a host, in the order in which they are tried.
#[derive(Debug, Default)]
pub struct Host {
    /// Locations.
    pub locations: Vec<Location>,
    /// Whether it has a certificate, so that plain requests are redirected.
    pub tls: bool,
}

/// A path of a host and where it leads.
#[derive(Debug)]
pub struct Location {
    /// Which paths.
    pub matcher: Matcher,
    /// Where to.
    pub route: Arc<Route>,
    /// Other places for part of the requests.
    pub canaries: Vec<(Canary, Arc<Route>)>,
}

/// Where requests go, and how.
#[derive(Debug)]
pub struct Route {
    /// Namespace and name of the Ingress.
    pub ingress: (String, String),
    /// The path as the rule has it.
    pub path: String,
    /// The rule's path as a regular expression, for a rewrite with groups.
    pub pattern: Option<regex::Regex>,
    /// The backend; what is wrong with it, where something is.
    pub backend: BackendKey,
    /// What the Ingress asks for.
    pub policy: Arc<Policy>,
}

/// Names a backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendKey {
    /// Namespace of the Service.
    pub namespace: String,
    /// The Service.
    pub service: String,
    /// Its port, name or number.
    pub port: String,
    /// What is spoken.
    pub protocol: Protocol,
}

impl PartialOrd for Protocol {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Protocol {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (*self as u8).cmp(&(*other as u8))
    }
}

/// The endpoints of a backend.
#[derive(Debug, Default)]
pub struct Backend {
    /// Those that take requests.
    pub endpoints: Vec<EndpointSpec>,
    /// Why there are none, when an object is missing or wrong.
    pub problem: Option<String>,
}

/// A certificate's hosts and its Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Hosts that it is for; empty for those in the certificate.
    pub hosts: Vec<String>,
    /// Namespace and name of the Secret.
    pub secret: (String, String),
}

impl Table {
    /// The host's locations: by full name, by wildcard of one label, by alias, or those without a host.
    pub fn host(&self, host: &str) -> &Host {
        self.named(host).or_else(|| self.alias(host)).unwrap_or(&self.any)
    }

    fn named(&self, host: &str) -> Option<&Host> {
        self.hosts.get(host).or_else(|| self.wildcards.get(host.split_once('.')?.1))
    }

    fn alias(&self, host: &str) -> Option<&Host> {
        self.aliases.iter().find_map(|(suffix, stands_for)| {
            let start = host.strip_suffix(suffix.as_str())?;
            self.named(&format!("{start}{stands_for}"))
        })
    }
}

impl Host {
    /// The first location that takes a normalised path.
    pub fn location(&self, path: &str) -> Option<&Location> {
        self.locations.iter().find(|location| location.matcher.matches(path))
    }
}

impl BackendKey {
    /// The key of an Ingress's `backend.service`.
    pub(super) fn of(namespace: &str, service: &Value, protocol: Protocol) -> Option<Self> {
        let port = &service["port"];
        let port = match (port["name"].as_str().filter(|n| !n.is_empty()), port["number"].as_u64()) {
            (Some(name), _) => name.to_owned(),
            (None, Some(number)) => number.to_string(),
            (None, None) => return None,
        };
        let service = service["name"].as_str().filter(|n| !n.is_empty())?;
        Some(Self { namespace: namespace.to_owned(), service: service.to_owned(), port, protocol })
    }

    /// The port as the Ingress had it.
    pub(super) fn port_value(&self) -> Value {
        match self.port.parse::<u16>() {
            Ok(number) => number.into(),
            Err(_) => self.port.clone().into(),
        }
    }
}

/// A host header without its port and without a final dot.
pub fn strip_port(host: &str) -> &str {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    name.trim_end_matches('.')
}
