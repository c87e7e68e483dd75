//! The ports of an instance: those of the control plane and those handed to the machine.

use std::net::{Ipv4Addr, TcpListener as StdListener};

use anyhow::{Context, Result};

use crate::state::Instance;

/// The listeners of the control plane and those handed to the machine.
pub struct Listeners {
    /// GitHub's.
    pub forge: StdListener,
    /// Docker Hub's.
    pub registry: StdListener,
    /// Kubernetes'.
    pub apiserver: StdListener,
    /// The ingress's, for the machine.
    pub http: Vec<StdListener>,
    /// The ingress's with TLS, for the machine.
    pub https: Vec<StdListener>,
}

/// Binds every port: the remembered one where it is free, another where it is not. The ingress's is the user's choice.
pub fn bind(instance: &mut Instance, http: Option<u16>) -> Result<Listeners> {
    let ports = &mut instance.ports;
    let forge = bind_loopback(&mut ports.forge)?;
    let registry = bind_loopback(&mut ports.registry)?;
    let apiserver = bind_loopback(&mut ports.apiserver)?;
    let candidates = match http {
        Some(port) => vec![port],
        None if ports.http != 0 => vec![ports.http, 80, 8080, 0],
        None => vec![80, 8080, 0],
    };
    let http_listeners = bind_ingress(&candidates, &mut ports.http).with_context(|| match http {
        Some(port) => format!("port {port} cannot be had; choose another with --http PORT"),
        None => "no port can be had for the ingress".to_owned(),
    })?;
    let candidates = match ports.http {
        80 => vec![443, 8443, 0],
        _ if ports.https != 0 => vec![ports.https, 0],
        port => vec![port.saturating_add(363), 0],
    };
    let https = bind_ingress(&candidates, &mut ports.https).context("no port can be had for the ingress's HTTPS")?;
    Ok(Listeners { forge, registry, apiserver, http: http_listeners, https })
}

/// A port of loopback that only this program's clients need to know.
pub fn bind_loopback(port: &mut u16) -> Result<StdListener> {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, *port))
        .or_else(|_| StdListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .context("cannot listen on loopback")?;
    listener.set_nonblocking(true).context("cannot use a listener")?;
    *port = listener.local_addr().context("a listener has an address")?.port();
    Ok(listener)
}

/// IPv4 loopback and, where there is IPv6, `::1` on the same port: names below `.localhost` resolve to either.
fn bind_ingress(candidates: &[u16], port: &mut u16) -> std::io::Result<Vec<StdListener>> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrInUse);
    for &candidate in candidates {
        match StdListener::bind((Ipv4Addr::LOCALHOST, candidate)) {
            Ok(listener) => {
                *port = listener.local_addr()?.port();
                let mut listeners = vec![listener];
                if let Ok(listener) = StdListener::bind((std::net::Ipv6Addr::LOCALHOST, *port)) {
                    listeners.push(listener);
                }
                return Ok(listeners);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
