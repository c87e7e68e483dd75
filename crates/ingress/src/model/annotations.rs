//! `nginx.ingress.kubernetes.io/*`: what is understood, and what is refused by name.

use std::net::IpAddr;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;

const PREFIX: &str = "nginx.ingress.kubernetes.io/";

/// What an Ingress asks for besides routes.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Redirect to TLS where the host has it; the annotation's word, or nothing said.
    pub ssl_redirect: Option<bool>,
    /// Redirect to TLS in any case.
    pub force_ssl_redirect: bool,
    /// What is spoken with endpoints.
    pub protocol: Protocol,
    /// New path, with `$1`.. for groups of the rule's regular expression.
    pub rewrite_target: Option<String>,
    /// Whether paths are regular expressions.
    pub use_regex: bool,
    /// Where `/` goes.
    pub app_root: Option<String>,
    /// Answer with a redirect instead.
    pub redirect: Option<Redirect>,
    /// Largest request body in bytes, none for any.
    pub body_size: Option<u64>,
    /// Time to connect to an endpoint.
    pub connect_timeout: Duration,
    /// Time between two reads from an endpoint.
    pub read_timeout: Duration,
    /// Whether the read timeout was asked for, so that it holds for long answers too.
    pub read_timeout_set: bool,
    /// Endpoints that are tried at most.
    pub tries: u32,
    /// Sticky sessions.
    pub affinity: Option<Affinity>,
    /// Cross-origin answers.
    pub cors: Option<Cors>,
    /// Who may come; empty for everybody.
    pub allow: Vec<Cidr>,
    /// Who may not.
    pub deny: Vec<Cidr>,
    /// Password protection.
    pub auth: Option<Auth>,
    /// `Host` for the endpoint.
    pub upstream_vhost: Option<String>,
    /// Value of `X-Forwarded-Prefix`.
    pub forwarded_prefix: Option<String>,
    /// Other names of the hosts.
    pub aliases: Vec<String>,
    /// Service for when the backend has no endpoints.
    pub default_backend: Option<String>,
    /// Requests per second and address, none for any.
    pub limit_rps: Option<u32>,
    /// The part of the traffic that is meant, when this is a canary.
    pub canary: Option<Canary>,
    /// Set when something that protects was asked for and cannot be given: nothing is served then.
    pub denied: Option<String>,
}

/// What is spoken with endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 over TLS, whatever the certificate.
    Https,
    /// HTTP/2.
    Grpc,
    /// HTTP/2 over TLS.
    Grpcs,
}

/// A redirect instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Where to.
    pub to: String,
    /// 301, 302, ...
    pub code: u16,
}

/// A cookie that leads back to the same endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// Name of the cookie.
    pub cookie: String,
    /// Its path.
    pub path: Option<String>,
    /// Its domain.
    pub domain: Option<String>,
    /// Its lifetime in seconds.
    pub max_age: Option<u64>,
    /// Its `SameSite`.
    pub same_site: Option<String>,
    /// Its `Secure`; when not set, on TLS.
    pub secure: Option<bool>,
}

/// Cross-origin answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Origins; `*` for any, `https://*.example.com` for a label.
    pub origins: Vec<String>,
    /// Methods.
    pub methods: String,
    /// Request headers.
    pub headers: String,
    /// Response headers that scripts may read.
    pub expose: Option<String>,
    /// Whether cookies may be sent.
    pub credentials: bool,
    /// Seconds for which a preflight holds.
    pub max_age: String,
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

/// Password protection with the htpasswd lines of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Namespace and name of the Secret.
    pub secret: (String, String),
    /// Whether each key of the Secret is a user, instead of `auth` holding a file.
    pub map: bool,
    /// Shown to people.
    pub realm: String,
}

/// Which requests go to a canary.
#[derive(Clone, Debug, Default)]
pub struct Canary {
    /// Header that decides.
    pub header: Option<String>,
    /// Value of it that leads here; `always` and `never` when not set.
    pub header_value: Option<String>,
    /// Pattern of it that leads here.
    pub header_pattern: Option<Regex>,
    /// Cookie that decides: `always`, `never`.
    pub cookie: Option<String>,
    /// Part of the rest.
    pub weight: u32,
    /// Of so many.
    pub total: u32,
}

impl Cidr {
    /// Parses `address[/bits]`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.trim().parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = if bits.is_empty() { most } else { bits.trim().parse().ok()? };
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether an address is in the range.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let shift = |width: u32| width - u32::from(self.bits);
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                self.bits == 0 || (u32::from(own) ^ u32::from(other)).checked_shr(shift(32)) == Some(0)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                self.bits == 0 || (u128::from(own) ^ u128::from(other)).checked_shr(shift(128)) == Some(0)
            }
            _ => false,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ssl_redirect: None,
            force_ssl_redirect: false,
            protocol: Protocol::Http,
            rewrite_target: None,
            use_regex: false,
            app_root: None,
            redirect: None,
            body_size: Some(1024 * 1024),
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(60),
            read_timeout_set: false,
            tries: 3,
            affinity: None,
            cors: None,
            allow: Vec::new(),
            deny: Vec::new(),
            auth: None,
            upstream_vhost: None,
            forwarded_prefix: None,
            aliases: Vec::new(),
            default_backend: None,
            limit_rps: None,
            canary: None,
            denied: None,
        }
    }
}

/// Without effect here, and without harm: buffers, logs and tuning of nginx.
const NO_EFFECT: &[&str] = &[
    "proxy-buffering",
    "proxy-buffer-size",
    "proxy-buffers-number",
    "proxy-busy-buffers-size",
    "proxy-max-temp-file-size",
    "proxy-request-buffering",
    "proxy-http-version",
    "proxy-send-timeout",
    "proxy-next-upstream",
    "proxy-next-upstream-timeout",
    "client-body-buffer-size",
    "enable-access-log",
    "enable-rewrite-log",
    "load-balance",
    "connection-proxy-header",
    "affinity-mode",
    "affinity-canary-behavior",
    "session-cookie-change-on-failure",
    "session-cookie-hash",
    "session-cookie-conditional-samesite-none",
    "session-cookie-expires",
    "service-upstream",
    "ssl-ciphers",
    "ssl-prefer-server-ciphers",
    "http2-push-preload",
    "proxy-ssl-verify",
    "proxy-ssl-verify-depth",
    "proxy-ssl-server-name",
    "proxy-ssl-name",
    "proxy-ssl-protocols",
    "proxy-ssl-ciphers",
    "disable-proxy-intercept-errors",
    "preserve-trailing-slash",
    "enable-opentracing",
    "enable-opentelemetry",
    "opentelemetry-trust-incoming-span",
    "limit-burst-multiplier",
    "auth-cache-key",
    "auth-cache-duration",
];

/// Protects: to serve without it would be worse than not to serve.
const PROTECTS: &[&str] = &[
    "auth-url",
    "auth-signin",
    "auth-tls-secret",
    "auth-tls-verify-client",
    "auth-tls-match-cn",
    "enable-modsecurity",
    "modsecurity-snippet",
    "enable-global-auth",
    "satisfy",
    "limit-connections",
    "limit-rpm",
];

/// Reads an Ingress's annotations. `problems` gets one line for each that is not understood.
pub(super) fn parse(ingress: &Value, problems: &mut Vec<String>) -> Policy {
    let mut policy = Policy::default();
    let mut canary = Canary { total: 100, ..Canary::default() };
    let (mut is_canary, mut cors_on, mut affinity_on) = (false, false, false);
    let mut cors = Cors {
        origins: vec!["*".into()],
        methods: "GET, PUT, POST, DELETE, PATCH, OPTIONS".into(),
        headers: "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization".into(),
        expose: None,
        credentials: true,
        max_age: "1728000".into(),
    };
    let mut affinity = Affinity {
        cookie: "INGRESSCOOKIE".into(),
        path: None,
        domain: None,
        max_age: None,
        same_site: None,
        secure: None,
    };
    let (mut auth_type, mut auth_secret, mut realm, mut auth_map) =
        (None, None, "Authentication Required".to_owned(), false);
    let mut redirect_code = 301;
    let empty = serde_json::Map::new();
    let annotations = ingress["metadata"]["annotations"].as_object().unwrap_or(&empty);
    for (key, value) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let text = value.as_str().unwrap_or_default().trim();
        let mut bad = |what: &str| problems.push(format!("annotation {key}: {text:?} is not {what}"));
        macro_rules! set {
            ($place:expr, $parsed:expr, $what:literal) => {
                match $parsed {
                    Some(parsed) => $place = parsed,
                    None => bad($what),
                }
            };
        }
        match name {
            "ssl-redirect" => set!(policy.ssl_redirect, flag(text).map(Some), "true or false"),
            "force-ssl-redirect" => set!(policy.force_ssl_redirect, flag(text), "true or false"),
            "backend-protocol" => set!(policy.protocol, protocol(text), "HTTP, HTTPS, GRPC or GRPCS"),
            "rewrite-target" => policy.rewrite_target = Some(text.to_owned()).filter(|t| !t.is_empty()),
            "use-regex" => set!(policy.use_regex, flag(text), "true or false"),
            "app-root" => {
                set!(policy.app_root, Some(Some(text.to_owned())).filter(|_| text.starts_with('/')), "a path")
            }
            "permanent-redirect" => policy.redirect = Some(Redirect { to: text.to_owned(), code: 0 }),
            "temporal-redirect" => policy.redirect = Some(Redirect { to: text.to_owned(), code: 302 }),
            "permanent-redirect-code" => {
                set!(redirect_code, text.parse().ok().filter(|c| (300..=308).contains(c)), "a redirect status")
            }
            "proxy-body-size" => set!(policy.body_size, size(text), "a size such as 8m"),
            "proxy-connect-timeout" => set!(policy.connect_timeout, seconds(text), "a number of seconds"),
            "proxy-read-timeout" => {
                set!(policy.read_timeout, seconds(text), "a number of seconds");
                policy.read_timeout_set = true;
            }
            "proxy-next-upstream-tries" => {
                set!(policy.tries, text.parse().ok().map(|n: u32| if n == 0 { 10 } else { n.min(10) }), "a number")
            }
            "affinity" => set!(affinity_on, Some(text == "cookie").filter(|c| *c), "cookie"),
            "session-cookie-name" => affinity.cookie = text.to_owned(),
            "session-cookie-path" => affinity.path = Some(text.to_owned()),
            "session-cookie-domain" => affinity.domain = Some(text.to_owned()),
            "session-cookie-max-age" => set!(affinity.max_age, text.parse().ok().map(Some), "a number of seconds"),
            "session-cookie-samesite" => affinity.same_site = Some(text.to_owned()),
            "session-cookie-secure" => set!(affinity.secure, flag(text).map(Some), "true or false"),
            "enable-cors" => set!(cors_on, flag(text), "true or false"),
            "cors-allow-origin" => cors.origins = list(text),
            "cors-allow-methods" => cors.methods = text.to_owned(),
            "cors-allow-headers" => cors.headers = text.to_owned(),
            "cors-expose-headers" => cors.expose = Some(text.to_owned()),
            "cors-allow-credentials" => set!(cors.credentials, flag(text), "true or false"),
            "cors-max-age" => cors.max_age = text.to_owned(),
            "whitelist-source-range" | "allowlist-source-range" => match cidrs(text) {
                Some(ranges) => policy.allow = ranges,
                None => {
                    bad("a list of address ranges");
                    policy.denied = Some(format!("annotation {name} cannot be read"));
                }
            },
            "denylist-source-range" => match cidrs(text) {
                Some(ranges) => policy.deny = ranges,
                None => {
                    bad("a list of address ranges");
                    policy.denied = Some(format!("annotation {name} cannot be read"));
                }
            },
            "auth-type" => auth_type = Some(text.to_owned()),
            "auth-secret" => auth_secret = Some(text.to_owned()),
            "auth-secret-type" => auth_map = text == "auth-map",
            "auth-realm" => realm = text.to_owned(),
            "upstream-vhost" => policy.upstream_vhost = Some(text.to_owned()),
            "x-forwarded-prefix" => policy.forwarded_prefix = Some(text.to_owned()),
            "server-alias" => policy.aliases = list(text),
            "default-backend" => policy.default_backend = Some(text.to_owned()),
            "limit-rps" => set!(policy.limit_rps, text.parse().ok().filter(|n| *n > 0).map(Some), "a number"),
            "canary" => set!(is_canary, flag(text), "true or false"),
            "canary-weight" => set!(canary.weight, text.parse().ok(), "a number"),
            "canary-weight-total" => set!(canary.total, text.parse().ok().filter(|n| *n > 0), "a number"),
            "canary-by-header" => canary.header = Some(text.to_owned()),
            "canary-by-header-value" => canary.header_value = Some(text.to_owned()),
            "canary-by-header-pattern" => {
                set!(canary.header_pattern, Regex::new(text).ok().map(Some), "a regular expression")
            }
            "canary-by-cookie" => canary.cookie = Some(text.to_owned()),
            _ if NO_EFFECT.contains(&name) => {}
            _ if PROTECTS.contains(&name) => {
                problems
                    .push(format!("annotation {key} is not supported; its paths answer 503 rather than unprotected"));
                policy.denied = Some(format!("annotation {name} is not supported"));
            }
            _ => problems.push(format!("annotation {key} is not supported and has no effect")),
        }
    }
    if let Some(redirect) = policy.redirect.as_mut().filter(|r| r.code == 0) {
        redirect.code = redirect_code;
    }
    policy.canary = is_canary.then_some(canary);
    policy.cors = cors_on.then_some(cors);
    policy.affinity = affinity_on.then_some(affinity);
    policy.auth = auth(ingress, auth_type, auth_secret, realm, auth_map, problems, &mut policy.denied);
    policy
}

fn auth(
    ingress: &Value,
    kind: Option<String>,
    secret: Option<String>,
    realm: String,
    map: bool,
    problems: &mut Vec<String>,
    denied: &mut Option<String>,
) -> Option<Auth> {
    let kind = kind?;
    if kind != "basic" {
        problems
            .push(format!("annotation {PREFIX}auth-type: {kind:?} is not supported, only basic; its paths answer 503"));
        *denied = Some("this kind of authentication is not supported".into());
        return None;
    }
    let Some(secret) = secret else {
        problems.push(format!("annotation {PREFIX}auth-type needs {PREFIX}auth-secret; its paths answer 503"));
        *denied = Some("authentication without a secret".into());
        return None;
    };
    let own = ingress["metadata"]["namespace"].as_str().unwrap_or_default();
    let (namespace, name) = secret.split_once('/').unwrap_or((own, &secret));
    if namespace != own {
        problems.push(format!(
            "annotation {PREFIX}auth-secret: secrets of other namespaces are not read; its paths answer 503"
        ));
        *denied = Some("the secret is in another namespace".into());
        return None;
    }
    Some(Auth { secret: (namespace.to_owned(), name.to_owned()), map, realm: realm.replace('"', "'") })
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "t" | "T" | "1" => Some(true),
        "false" | "False" | "FALSE" | "f" | "F" | "0" => Some(false),
        _ => None,
    }
}

fn protocol(text: &str) -> Option<Protocol> {
    match text.to_ascii_uppercase().as_str() {
        "HTTP" | "AUTO_HTTP" => Some(Protocol::Http),
        "HTTPS" => Some(Protocol::Https),
        "GRPC" => Some(Protocol::Grpc),
        "GRPCS" => Some(Protocol::Grpcs),
        _ => None,
    }
}

/// `8m`, `512k`, `1g`, `100`; `0` for no limit.
fn size(text: &str) -> Option<Option<u64>> {
    let text = text.trim();
    let (digits, factor) = match text.chars().last()?.to_ascii_lowercase() {
        'k' => (&text[..text.len() - 1], 1 << 10),
        'm' => (&text[..text.len() - 1], 1 << 20),
        'g' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let bytes = digits.parse::<u64>().ok()?.checked_mul(factor)?;
    Some(Some(bytes).filter(|n| *n > 0))
}

fn seconds(text: &str) -> Option<Duration> {
    let text = text.strip_suffix('s').unwrap_or(text);
    text.parse::<u64>().ok().filter(|n| *n > 0).map(Duration::from_secs)
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()
}

fn cidrs(text: &str) -> Option<Vec<Cidr>> {
    text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(Cidr::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(annotations: &[(&str, &str)]) -> (Policy, Vec<String>) {
        let map: serde_json::Map<String, Value> =
            annotations.iter().map(|(k, v)| (format!("{PREFIX}{k}"), json!(v))).collect();
        let mut problems = Vec::new();
        let policy = parse(&json!({"metadata": {"namespace": "n", "annotations": map}}), &mut problems);
        (policy, problems)
    }

    #[test]
    fn reads_what_it_knows() {
        let (read, problems) = policy(&[
            ("rewrite-target", "/$2"),
            ("proxy-body-size", "8m"),
            ("proxy-read-timeout", "30"),
            ("affinity", "cookie"),
            ("session-cookie-name", "route"),
            ("backend-protocol", "grpc"),
            ("permanent-redirect", "https://x"),
            ("permanent-redirect-code", "308"),
            ("whitelist-source-range", "10.0.0.0/8, ::1"),
            ("canary", "true"),
            ("canary-weight", "20"),
            ("auth-type", "basic"),
            ("auth-secret", "users"),
        ]);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(read.rewrite_target.as_deref(), Some("/$2"));
        assert_eq!(read.body_size, Some(8 << 20));
        assert_eq!(read.read_timeout, Duration::from_secs(30));
        assert_eq!(read.affinity.expect("affinity").cookie, "route");
        assert_eq!(read.protocol, Protocol::Grpc);
        assert_eq!(read.redirect, Some(Redirect { to: "https://x".into(), code: 308 }));
        assert_eq!(read.canary.expect("canary").weight, 20);
        assert_eq!(read.auth.expect("auth").secret, ("n".into(), "users".into()));
        assert_eq!(read.allow.len(), 2);
    }

    #[test]
    fn names_what_it_does_not_know() {
        let (read, problems) = policy(&[("configuration-snippet", "x"), ("proxy-body-size", "huge")]);
        assert_eq!(problems.len(), 2);
        assert!(problems[0].contains("configuration-snippet") && problems[0].contains("no effect"), "{problems:?}");
        assert!(read.denied.is_none());
        for protecting in [("auth-url", "http://x"), ("auth-type", "digest"), ("whitelist-source-range", "nonsense")] {
            assert!(policy(&[protecting]).0.denied.is_some(), "{protecting:?}");
        }
    }

    #[test]
    fn ranges_of_addresses() {
        for (range, ip, expected) in [
            ("10.0.0.0/8", "10.9.9.9", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "10.0.0.1", false),
            ("::/0", "::1", true),
        ] {
            assert_eq!(Cidr::parse(range).expect("range").contains(ip.parse().expect("ip")), expected, "{range} {ip}");
        }
        assert_eq!(Cidr::parse("10.0.0.0/33"), None);
    }
}
