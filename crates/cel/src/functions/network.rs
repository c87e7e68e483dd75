//! URLs, IP addresses and ranges of them.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Answer, argument};
use crate::eval::Fault;
use crate::value::Value;

pub(super) fn function(name: &str, args: &[Value]) -> Answer {
    let [Value::String(text)] = args else {
        return match (name, args) {
            ("ip", [Value::Ip(_)]) | ("cidr", [Value::Cidr(..)]) | ("url", [Value::Url(..)]) => {
                Some(Ok(args[0].clone()))
            }
            _ => None,
        };
    };
    Some(match name {
        "url" => url(text).ok_or_else(|| argument(format!("URL parse error during conversion from string: {text:?}"))),
        "isURL" => Ok(Value::Bool(url(text).is_some())),
        "ip" => ip(text).map(Value::Ip),
        "isIP" => Ok(Value::Bool(ip(text).is_ok())),
        "ip.isCanonical" => ip(text).map(|ip| Value::Bool(ip.to_string() == **text)),
        "cidr" => cidr(text).map(|(ip, prefix)| Value::Cidr(ip, prefix)),
        "isCIDR" => Ok(Value::Bool(cidr(text).is_ok())),
        _ => return None,
    })
}

/// An absolute URL, or an absolute path.
fn url(text: &str) -> Option<Value> {
    if text.starts_with('/') {
        let base = url::Url::parse("path://none").ok()?;
        return base.join(text).ok().map(|u| Value::Url(Arc::new(u), false));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return None;
    }
    url::Url::parse(text).ok().map(|u| Value::Url(Arc::new(u), true))
}

fn ip(text: &str) -> Result<IpAddr, Fault> {
    let bad = |why: &str| argument(format!("IP Address {text:?} parse error during conversion from string: {why}"));
    let ip: IpAddr = text.parse().map_err(|_| bad("it is no address"))?;
    match ip {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Err(bad("IPv4-mapped IPv6 address is not allowed")),
        ip => Ok(ip),
    }
}

fn cidr(text: &str) -> Result<(IpAddr, u8), Fault> {
    let bad = || argument(format!("network address parse error during conversion from string: {text:?}"));
    let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
    let address = ip(address).map_err(|_| bad())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length: u8 = prefix.parse().map_err(|_| bad())?;
    if length > most || (prefix.len() > 1 && prefix.starts_with(['0', '+'])) {
        return Err(bad());
    }
    Ok((address, length))
}

fn bits(ip: IpAddr) -> (u128, u8) {
    match ip {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    }
}

fn mask(ip: IpAddr, prefix: u8) -> u128 {
    let (value, size) = bits(ip);
    let host = size.saturating_sub(prefix);
    if host >= 128 { 0 } else { value >> host << host }
}

fn masked(ip: IpAddr, prefix: u8) -> IpAddr {
    let value = mask(ip, prefix);
    match ip {
        IpAddr::V4(_) => IpAddr::V4(u32::try_from(value).unwrap_or(0).into()),
        IpAddr::V6(_) => IpAddr::V6(value.into()),
    }
}

pub(super) fn method(name: &str, target: &Value, args: &[Value]) -> Answer {
    match target {
        Value::Url(url, absolute) => match args {
            [] => url_part(name, url, *absolute).map(Ok),
            _ => None,
        },
        Value::Ip(ip) => match args {
            [] => ip_part(name, *ip).map(Ok),
            _ => None,
        },
        Value::Cidr(ip, prefix) => range(name, *ip, *prefix, args),
        _ => None,
    }
}

fn url_part(name: &str, url: &url::Url, absolute: bool) -> Option<Value> {
    let text = |text: &str| Some(Value::from(if absolute { text } else { "" }));
    match name {
        "getScheme" => text(url.scheme()),
        "getHost" => match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => text(&format!("{host}:{port}")),
            (host, _) => text(host.unwrap_or("")),
        },
        "getHostname" => text(url.host_str().unwrap_or("").trim_matches(['[', ']'])),
        "getPort" => text(&url.port().map(|p| p.to_string()).unwrap_or_default()),
        "getEscapedPath" => Some(Value::from(url.path())),
        "getQuery" => {
            let mut query: std::collections::BTreeMap<String, Vec<Value>> = std::collections::BTreeMap::new();
            for (key, value) in url.query_pairs() {
                query.entry(key.into_owned()).or_default().push(Value::from(value.into_owned()));
            }
            Some(Value::map(query.into_iter().map(|(k, v)| (k, Value::list(v)))))
        }
        _ => None,
    }
}

fn ip_part(name: &str, ip: IpAddr) -> Option<Value> {
    let local = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0], v4.is_broadcast()),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02, false),
    };
    Some(match name {
        "family" => Value::Int(if ip.is_ipv4() { 4 } else { 6 }),
        "isUnspecified" => Value::Bool(ip.is_unspecified()),
        "isLoopback" => Value::Bool(ip.is_loopback()),
        "isLinkLocalUnicast" => Value::Bool(local.0),
        "isLinkLocalMulticast" => Value::Bool(local.1),
        "isGlobalUnicast" => {
            Value::Bool(!ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast() && !local.0 && !local.2)
        }
        _ => return None,
    })
}

fn range(name: &str, base: IpAddr, prefix: u8, args: &[Value]) -> Answer {
    let contains = |other: IpAddr| base.is_ipv4() == other.is_ipv4() && mask(base, prefix) == mask(other, prefix);
    Some(match (name, args) {
        ("containsIP", [Value::Ip(other)]) => Ok(Value::Bool(contains(*other))),
        ("containsIP", [Value::String(text)]) => ip(text).map(|other| Value::Bool(contains(other))),
        ("containsCIDR", [Value::Cidr(other, length)]) => Ok(Value::Bool(*length >= prefix && contains(*other))),
        ("containsCIDR", [Value::String(text)]) => {
            cidr(text).map(|(other, length)| Value::Bool(length >= prefix && contains(other)))
        }
        ("ip", []) => Ok(Value::Ip(base)),
        ("masked", []) => Ok(Value::Cidr(masked(base, prefix), prefix)),
        ("prefixLength", []) => Ok(Value::Int(i64::from(prefix))),
        _ => return None,
    })
}
