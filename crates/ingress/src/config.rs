//! What the ingress is started with.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::net::{TcpListener, TcpStream};

/// Another way to an address: asked first for each endpoint, `None` where it has none.
pub type Dial = Arc<dyn Fn(IpAddr, u16) -> Option<BoxFuture<'static, io::Result<TcpStream>>> + Send + Sync>;

/// How the ingress is to work.
pub struct Config {
    /// Kubernetes client.
    pub client: kube::Client,
    /// Listeners for plain HTTP.
    pub http: Vec<TcpListener>,
    /// Listeners for TLS.
    pub https: Vec<TcpListener>,
    /// Port that redirects to TLS name; none leaves it to the scheme.
    pub https_port: Option<u16>,
    /// Class of the Ingresses that are served.
    pub class: String,
    /// `spec.controller` of IngressClasses that mean this controller too.
    pub controller: String,
    /// Whether Ingresses without a class are served.
    pub without_class: bool,
    /// Suffixes of host names and what they stand for (`.localhost` for `.local`), tried when no rule names the host.
    pub host_aliases: Vec<(String, String)>,
    /// Addresses that are written to the status of Ingresses.
    pub publish: Vec<Publish>,
    /// Hears of the first response of each endpoint.
    pub observer: Option<Arc<dyn Observer>>,
    /// Another way to some addresses.
    pub dial: Option<Dial>,
    /// How long requests may go on after shutdown was asked for.
    pub drain: Duration,
    /// How long a request waits for other endpoints when none of those that are known can be reached.
    pub patience: Duration,
}

impl Config {
    /// Class `nginx`, no listeners.
    pub fn new(client: kube::Client) -> Self {
        Self {
            client,
            http: Vec::new(),
            https: Vec::new(),
            https_port: None,
            class: "nginx".into(),
            controller: "k8s.io/ingress-nginx".into(),
            without_class: false,
            host_aliases: Vec::new(),
            publish: vec![Publish::Hostname("localhost".into())],
            observer: None,
            dial: None,
            drain: Duration::from_secs(10),
            patience: Duration::from_secs(1),
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("class", &self.class)
            .field("http", &self.http)
            .field("https", &self.https)
            .finish_non_exhaustive()
    }
}

/// An address in the status of an Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publish {
    /// An address.
    Ip(IpAddr),
    /// A name.
    Hostname(String),
}

/// Hears of the first response of each endpoint. Called on the request's way: must return at once.
pub trait Observer: Send + Sync {
    /// An endpoint answered for the first time since the ingress knows it.
    fn first_response(&self, first: &FirstResponse);
}

/// Who answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstResponse {
    /// Namespace of the Service.
    pub namespace: String,
    /// The Service.
    pub service: String,
    /// The Pod behind the endpoint, where the EndpointSlice names one.
    pub pod: Option<String>,
    /// Its address.
    pub address: String,
    /// Status of the response.
    pub status: u16,
}
